"""``aivora venues``: what venues define and leave unsaid, what that is worth, how marks lag."""

from __future__ import annotations

import textwrap
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aivora_core import _core, demo, scorecard
from aivora_core.cli.answer import Answer
from aivora_core.errors import CardError
from aivora_core.frames import read_table
from aivora_core.portfolio import Portfolio
from aivora_core.render import grouped, progress, table

if TYPE_CHECKING:
    import argparse

    from aivora_core._core import Venue
    from aivora_core.lag import Lag, Path
    from aivora_core.scorecard import Spread

__all__ = ["diff", "lag", "listed", "scored", "show"]

WIDTH = 100
ROWS_MAX = 20
#: The account that a card is priced on when none is given: a long of so many dollars.
NOTIONAL = 10_000
LEVERAGE = 10


def listed(_: argparse.Namespace) -> Answer:
    """All built-in cards, with how much of each is written down."""
    rows, data = [], []
    for name in _core.Venue.builtin_names():
        venue = _core.Venue.load(name)
        found = scorecard.score(venue) if venue.definitions else None
        counts = [len(getattr(found, state)) if found else "-" for state in _STATES]
        rows.append((name, venue.title, *counts, len(venue)))
        data.append(
            {
                "name": name,
                "title": venue.title,
                "version": venue.version,
                "hash": venue.hash,
                "instruments": [i.symbol for i in venue.instruments],
                **dict(zip(_STATES, counts, strict=True)),
            }
        )
    header = ("card", "title", *_STATES, "instruments")
    text = (
        table(rows, header, left=2)
        + "\n\nNext\n  aivora venues show NAME\n  aivora venues score NAME"
    )
    return Answer({"venues": data}, text)


_STATES = ("defined", "contradictory", "unsaid")


def _wrapped(text: str, indent: int = 4) -> str:
    pad = " " * indent
    return textwrap.fill(text, WIDTH, initial_indent=pad, subsequent_indent=pad)


def _statement(row: dict[str, Any], indent: int = 4) -> list[str]:
    lines = [_wrapped(row["says"], indent)] if row["says"] else []
    if row["formula"]:
        lines.append(_wrapped(row["formula"], indent + 2))
    if row["parameters"]:
        shown = ", ".join(f"{name} = {value}" for name, value in row["parameters"].items())
        lines.append(_wrapped(shown, indent + 2))
    if row["source"]:
        lines.append(_wrapped(f"[{row['sure']}] {row['source']} ({row['date']})", indent + 2))
    return lines


def show(a: argparse.Namespace) -> Answer:
    """A card, figure by figure."""
    venue = _core.Venue.load(a.name)
    found = venue.definitions
    names = [a.figure] if a.figure else list(found)
    for name in names:
        if name not in found:
            limit = f"must be one of {', '.join(found) or 'none: the card is of version 0'}"
            raise _core._error("out_of_range", "figure", name, limit, None)
    lines = [f"{venue.title}, version {venue.version or '-'}, card {venue.hash[:12]}"]
    floor = ""
    for name in names:
        row = found[name]
        if row["floor"] != floor:
            floor = row["floor"]
            lines += ["", floor.upper()]
        lines += ["", f"  {name} ({row['state']}): {row['asks']}"]
        if row["state"] == "unsaid":
            lines.append(_wrapped(f"unsaid: {row['unsaid'] or 'nothing was looked for'}"))
        lines += _statement(row)
        for reading in row["readings"]:
            lines += ["    or:", *_statement(reading, 6)]
            if reading["rules"]:
                shown = ", ".join(f"{key} = {value}" for key, value in reading["rules"].items())
                lines.append(_wrapped(f"runs with {shown}", 8))
    rules = {key: value if _plain(value) else str(value) for key, value in venue.rules.items()}
    if not a.figure:
        lines += ["", "RULES", *(_wrapped(f"{key} = {value}", 2) for key, value in rules.items())]
        lines += ["", "INSTRUMENTS", table(*_instruments(venue))]
    data = {
        "name": venue.name,
        "title": venue.title,
        "version": venue.version,
        "hash": venue.hash,
        "sources": venue.sources,
        "definitions": {name: found[name] for name in names},
        "rules": rules,
    }
    return Answer(data, "\n".join(lines))


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, dict, list))


def _instruments(venue: Venue) -> tuple[list[tuple[Any, ...]], tuple[str, ...]]:
    rows = [
        (i.symbol, i.kind, i.settlement, f"{i.price_tick:f}", f"{i.lot:f}", len(i.tiers) or "slope")
        for i in venue.instruments
    ]
    return rows, ("symbol", "kind", "settles in", "price tick", "lot", "brackets")


# --- score -------------------------------------------------------------------------------------


def _given(a: argparse.Namespace, venue: Venue) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Tables and marks: those given, or one position of a standard size."""
    marks: dict[str, Any] = dict(demo.marks(venue))
    marks |= dict(mark.partition("=")[::2] for mark in a.mark)
    if a.positions:
        names = ("positions", "collateral", "orders", "pools")
        given = {name: read_table(getattr(a, name)) for name in names if getattr(a, name)}
        return given, marks, "the accounts given"
    instrument = venue.instruments[0]
    if instrument.symbol not in marks:
        limit = f"give --mark {instrument.symbol}=PRICE"
        raise _core._error("missing_price", "mark", instrument.symbol, limit, None)
    price = Decimal(str(marks[instrument.symbol]))
    coin = demo.coin_price(venue.settlement) or Decimal(1)
    unit = instrument.multiplier * (1 if instrument.kind == "inverse" else price)
    unit *= coin if instrument.kind == "quanto" else 1
    lots = max(1, int(Decimal(a.notional) / unit / instrument.lot))
    quantity = lots * instrument.lot
    amount = quantity * unit / coin / Decimal(a.leverage)
    amount = amount // venue.quantum * venue.quantum
    signed = quantity if a.side == "long" else -quantity
    entry = price // instrument.price_tick * instrument.price_tick
    row = {"account": "standard", "instrument": instrument.symbol}
    tables: dict[str, Any] = {
        "positions": [row | {"quantity": f"{signed:f}", "entry": f"{entry:f}"}],
        "collateral": [{"account": "standard", "amount": f"{amount:f}"}],
        "pools": [{"account": "standard", "leverage": str(a.leverage)}],
    }
    note = (
        f"a {a.side} of {quantity:f} {instrument.symbol} at {entry:f}, {a.leverage}x: "
        f"{grouped(f'{amount:f}')} {venue.settlement}"
    )
    return tables, marks, note


def _shown(price: Decimal | None) -> str:
    return "none" if price is None else f"{price:f}"


def _spread_lines(row: Spread, said: str) -> list[str]:
    def line(label: str, price: Decimal | None, by: tuple[str, ...]) -> tuple[str, ...]:
        found = row.leverage(price)
        far = None if not found else 100 / found
        return (
            label,
            _shown(price),
            "-" if far is None else f"{float(far):.3f}%",
            "-" if found is None else f"{float(found):.2f}x",
            ", ".join(by) or said,
        )

    rows = [
        line("as said", row.said, ()),
        line("nearest", row.nearest, row.nearest_by),
        line("farthest", row.farthest, row.farthest_by),
    ]
    header = ("reading", "liquidation", "distance", "leverage by distance", "read otherwise")
    return [table(rows, header)]


def scored(a: argparse.Namespace) -> Answer:
    """What a card defines, what happens on failure, and what its silence is worth."""
    venue = _core.Venue.load(a.name)
    found = scorecard.score(venue)
    tables, marks, note = _given(a, venue)
    spreads = scorecard.ambiguity(venue, tables, marks, entry_rounding="against_account")
    lines = [f"{venue.title}, card {venue.hash[:12]}", ""]
    for state in _STATES:
        names = getattr(found, state)
        lines.append(_wrapped(f"{state:<14}{len(names):>3}  {', '.join(names) or '-'}", 2))
    lines += ["", "When something fails"]
    for name, says in found.failures.items():
        lines.append(_wrapped(f"{name}: {says or 'UNSAID'}", 2))
    other = scorecard.readings(venue)
    lines += ["", f"Ambiguity, priced on {note}"]
    if not other:
        lines.append("  nothing that runs can be read otherwise")
    for row in spreads[:ROWS_MAX] if other else []:
        lines += ["", f"  {row.account} {row.pool}: {row.instrument} at a mark of {row.mark:f},"]
        lines += [f"  {row.count} ways to read the card", *_spread_lines(row, "nothing")]
        if row.hidden:
            lines.append(f"  hidden leverage: {float(row.hidden):.3f}x more than as said")
    data = found.to_dict() | {
        "readings": [vars(own) for own in other],
        "priced_on": note,
        "spreads": [row.to_dict() for row in spreads],
    }
    return Answer(data, "\n".join(lines))


# --- diff --------------------------------------------------------------------------------------


def _cell(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def diff(a: argparse.Namespace) -> Answer:
    """What two cards have differently, in words and in effect."""
    old, new = _core.Venue.load(a.old), _core.Venue.load(a.new)
    found = scorecard.differences(old, new)
    lines = [f"{a.old} (card {old.hash[:12]}) to {a.new} (card {new.hash[:12]}):", ""]
    if not found:
        lines.append("  nothing differs")
    for row in found:
        lines += [f"  {row.where}", f"    - {_cell(row.old)}", f"    + {_cell(row.new)}"]
    data: dict[str, Any] = {
        "old": old.hash,
        "new": new.hash,
        "differences": [vars(row) for row in found],
        "effect": None,
    }
    if found:
        told, data["effect"] = _effect(a, old, new)
        lines += ["", *told]
    return Answer(data, "\n".join(lines))


def _effect(a: argparse.Namespace, old: Venue, new: Venue) -> tuple[list[str], dict[str, Any]]:
    marks: dict[str, Any] = dict(demo.marks(old))
    marks |= dict(mark.partition("=")[::2] for mark in a.mark)
    prices = _core.Prices(old, mark=marks)
    if a.positions:
        names = ("positions", "collateral", "orders", "pools")
        tables = [read_table(getattr(a, n)) if getattr(a, n) else None for n in names]
        portfolio = Portfolio.from_tables(old, *tables, entry_rounding="against_account")
        whose = "your"
    else:
        portfolio = demo.with_prices(old, prices, a.accounts, a.seed).portfolio
        whose = "made-up"
    pools = len(portfolio)
    try:
        changes = scorecard.effect(new, portfolio, prices)
    except CardError as error:
        told = [f"In effect: not comparable, the same holdings are not possible ({error})"]
        return told, {"comparable": False, "why": str(error)}
    bad, safe = len(changes.liquidatable), len(changes.safe)
    told = [f"In effect: this change makes {bad:,} of {whose} {_count(pools, 'pool')} liquidatable"]
    if safe:
        told.append(f"  and {safe:,} safe again")
    told += [f"  {account} {pool}" for account, pool in changes.liquidatable[:ROWS_MAX]]
    if bad > ROWS_MAX:
        told.append(f"  … and {bad - ROWS_MAX:,} more (--json has all)")
    return told, {"comparable": True, "pools": pools, **changes.to_dict()}


# --- lag ---------------------------------------------------------------------------------------


def _percent(text: str, field: str) -> int:
    try:
        parts = Decimal(text) * 10_000
        if parts == int(parts):
            return int(parts)
    except ArithmeticError:
        pass
    limit = "must be percent with at most four decimals: 10, 2.5"
    raise _core._error("not_a_number", field, text, limit, None)


def _path(a: argparse.Namespace, venue: Venue, symbol: str) -> Path:
    from aivora_core.lag import crash, recorded

    if a.feed or a.index_feed:
        if not (a.feed and a.index_feed):
            limit = "needs both: the own book, and another that stands in for the index"
            raise _core._error("out_of_range", "--feed", "one recording", limit, None)
        return recorded(a.feed, a.index_feed, venue, symbol)
    marks: dict[str, Any] = dict(demo.marks(venue))
    start = _core.Prices(venue, mark={symbol: marks[symbol]}).mark_ticks(symbol) or 1
    return crash(
        start,
        drop_ppm=_percent(a.drop, "--drop"),
        fall_s=a.fall,
        back_ppm=_percent(a.back, "--back"),
        bounce_s=a.bounce,
        overshoot_ppm=_percent(a.overshoot, "--overshoot"),
        seed=a.seed,
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def lag(a: argparse.Namespace) -> Answer:
    """Who is liquidated under which mark rule, when, and how many after the index has bounced."""
    from aivora_core.adapters import plots
    from aivora_core.lag import lag as measure
    from aivora_core.lag import rules

    if a.plot:
        plots.check(a.plot)
    venue = _core.Venue.load(a.venue)
    symbol = a.instrument or venue.instruments[0].symbol
    found = measure(
        venue,
        symbol,
        _path(a, venue, symbol),
        rules(a.rule),
        accounts=a.accounts,
        seed=a.seed,
        watched=lambda items: progress(items, "mark rules"),
    )
    data = found.to_dict()
    if a.plot:
        plots.lag(found, a.plot)
    return Answer(data, _told(found, data, venue, symbol, a.plot))


def _told(found: Lag, data: dict[str, Any], venue: Venue, symbol: str, plot: str | None) -> str:
    rows = [
        (
            row["rule"],
            row["liquidated"] if row["known"] else "-",
            _number(row["first_s"]),
            _number(row["last_s"]),
            _number(row["late_s"]),
            row["after_the_bounce"] if row["known"] else "-",
            row["spared"] if row["known"] else "-",
        )
        for row in data["rules"]
    ]
    header = ("mark rule", "liquidated", "first s", "last s", "late s", "after bounce", "spared")
    lines = [
        f"{found.path.title}",
        f"{found.accounts:,} made-up accounts in {symbol}, margin rules of {venue.name}",
        "",
        table(rows, header),
        "",
        "  late: seconds after the index would have, in the middle of those liquidated by both",
        "  after bounce: liquidated after the low, though the index would not have done it then",
        "  spared: liquidated by the index, not by this rule; -: the path is too short for it",
    ]
    if plot:
        lines += ["", f"Drawn to {plot}"]
    return "\n".join(lines)

"""``aivora venues``: what venues define and leave unsaid, what that is worth, how marks lag."""

from __future__ import annotations

import re
import textwrap
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from aivora_core import _core, demo, scorecard
from aivora_core.cli.answer import Answer
from aivora_core.errors import CardError
from aivora_core.frames import read_table
from aivora_core.portfolio import Portfolio
from aivora_core.render import grouped, progress, table

if TYPE_CHECKING:
    import argparse

    from aivora_core._core import Instrument, Venue
    from aivora_core.lag import Lag, Path, Scale
    from aivora_core.scorecard import Difference, Effect, Spread

__all__ = ["diff", "lag", "listed", "scored", "show"]

WIDTH = 100
ROWS_MAX = 20
#: The most accounts that `lag` makes up.
ACCOUNTS_MAX = 1_000_000
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


def _tables(a: argparse.Namespace) -> dict[str, Any]:
    names = ("positions", "collateral", "orders", "pools")
    return {name: read_table(getattr(a, name)) for name in names if getattr(a, name)}


def _marks(a: argparse.Namespace, venue: Venue) -> dict[str, Any]:
    """Made-up marks, and those given."""
    found: dict[str, Any] = dict(demo.marks(venue))
    return found | dict(mark.partition("=")[::2] for mark in a.mark)


def _given(a: argparse.Namespace, venue: Venue) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Tables and marks: those given, or one position of a standard size."""
    marks = _marks(a, venue)
    if a.positions:
        return _tables(a), marks, "the accounts given"
    tables, note, _ = _standard(a, venue, marks, a.side or "long")
    return tables, marks, note


def _most(venue: Venue, instrument: Instrument, quantity: Decimal, value: Decimal) -> int:
    """The highest whole leverage that a card allows at a size."""
    rows = instrument.tiers
    if "initial" in rows[0]:
        size = value if rows[0]["by"] == "notional" else quantity
        rate = [row["initial"] for row in rows if row["floor"] <= size][-1]
    else:  # rates that grow with the position: what the card requires of it, a fee included
        price = demo.marks(venue)[instrument.symbol]
        row = {"account": "a", "instrument": instrument.symbol, "entry": f"{price:f}"}
        state = Portfolio.from_tables(
            venue,
            positions=[row | {"quantity": f"{quantity:f}"}],
            entry_rounding="against_account",
        )
        found = state.check(_core.Prices(venue, mark={instrument.symbol: price}))
        rate = int(found.initial[0]) * Fraction(instrument.quantum) / Fraction(value)
    return max(1, int(1 / rate))


def _standard(
    a: argparse.Namespace, venue: Venue, marks: dict[str, Any], side: str
) -> tuple[dict[str, Any], str, int]:
    """One position of a standard size in the first instrument, how it is told, its leverage."""
    for field in ("notional", "leverage"):
        if getattr(a, field) < 1:
            limit = "must be a whole number of at least 1"
            raise _core._error("out_of_range", f"--{field}", str(getattr(a, field)), limit, None)
    instrument = venue.instruments[0]
    if instrument.symbol not in marks:
        limit = f"give --mark {instrument.symbol}=PRICE"
        raise _core._error("missing_price", "mark", instrument.symbol, limit, None)
    price = Decimal(str(marks[instrument.symbol]))
    coin = demo.coin_price(instrument.settlement) or Decimal(1)
    unit = instrument.multiplier * (1 if instrument.kind == "inverse" else price)
    unit *= coin if instrument.kind == "quanto" else 1
    lots = max(1, int(Decimal(a.notional) / unit / instrument.lot))
    quantity = lots * instrument.lot
    value = quantity * unit / coin
    leverage = min(a.leverage, _most(venue, instrument, quantity, value))
    amount = value / leverage // instrument.quantum * instrument.quantum
    signed = quantity if side == "long" else -quantity
    entry = price // instrument.price_tick * instrument.price_tick
    row = {"account": "standard", "instrument": instrument.symbol}
    tables: dict[str, Any] = {
        "positions": [row | {"quantity": f"{signed:f}", "entry": f"{entry:f}"}],
        "collateral": [
            {
                "account": "standard",
                "amount": f"{amount:f}",
                "asset": instrument.settlement,
            }
        ],
        "pools": [{"account": "standard", "leverage": str(leverage)}],
    }
    note = (
        f"a {side} of {quantity:f} {instrument.symbol} at {entry:f}, {leverage}x: "
        f"{grouped(f'{amount:f}')} {instrument.settlement}"
    )
    if leverage < a.leverage:
        note += f" ({a.leverage}x was asked for: more than the card allows at that size)"
    return tables, note, leverage


def _price(price: Decimal | None) -> str:
    return "none" if price is None else f"{price:f}"


def _spread_lines(row: Spread) -> list[str]:
    def line(label: str, price: Decimal | None, by: tuple[str, ...]) -> tuple[str, ...]:
        found = row.leverage(price)
        far = None if not found else 100 / found
        return (
            label,
            _price(price),
            "-" if far is None else f"{float(far):.3f}%",
            _times(found, 2) if found else "-",
            ", ".join(by) or "nothing",
        )

    ways = f"{_count(row.count, 'way')} to read the card"
    lines = [f"  {row.account} {row.pool}: {row.instrument} at a mark of {row.mark:f}, {ways}"]
    if row.fires:
        return [*lines, "  the check fires at this mark already, as the card says"]
    rows = [line("as said", row.said, ())]
    if row.said == row.nearest == row.farthest:
        rows[0] = ("in every way", *rows[0][1:])
    else:
        rows.append(line("nearest", row.nearest, row.nearest_by))
        rows.append(line("farthest", row.farthest, row.farthest_by))
    header = ("reading", "liquidation", "distance", "leverage by distance", "read otherwise")
    lines.append(table(rows, header))
    if row.fires_by:
        otherwise = ", ".join(row.fires_by)
        lines.append(f"  read otherwise ({otherwise}) the check fires at this mark already")
    elif row.hidden:
        lines.append(f"  hidden leverage: {_times(row.hidden)} more than as said")
    return lines


def scored(a: argparse.Namespace) -> Answer:
    """What a card defines, what happens on failure, and what its silence is worth."""
    if a.all or not a.name:
        return _all_scored(a)
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
    for row in spreads[:ROWS_MAX]:
        lines += ["", *_spread_lines(row)]
    if len(spreads) > ROWS_MAX:
        lines += ["", f"  … and {_count(len(spreads) - ROWS_MAX, 'leg')} more (--json has all)"]
    data = found.to_dict() | {
        "readings": [vars(own) for own in other],
        "priced_on": note,
        "spreads": [row.to_dict() for row in spreads],
    }
    return Answer(data, "\n".join(lines))


def _all_scored(a: argparse.Namespace) -> Answer:
    """Every built-in card that has definitions, on the same standard accounts."""
    if not a.all:
        limit = "needs the name of a card, or --all"
        raise _core._error("out_of_range", "VENUE", "nothing", limit, None)
    for option in ("name", "side", "mark", "positions", "collateral", "orders", "pools"):
        value = getattr(a, option)
        if value:
            field = "VENUE" if option == "name" else f"--{option}"
            limit = "cannot be given with --all, which prices the same accounts on every card"
            raise _core._error("out_of_range", field, str(value), limit, None)
    found, without = [], []
    for name in _core.Venue.builtin_names():
        venue = _core.Venue.load(name)
        if venue.definitions:
            found.append(_line(a, venue))
        else:
            without.append(name)
    found.sort(key=lambda own: (-own["failures_said"], len(own["unsaid"]), own["venue"]))
    rows = [
        (
            own["venue"],
            *(len(own[state]) for state in _STATES),
            f"{own['failures_said']} of {len(scorecard.FAILURES)}",
            f"{own['leverage']}x",
            *(text for side in _SIDES for text in own["shown"][side]),
        )
        for own in found
    ]
    sides = ("long", "hidden", "by", "short", "hidden", "by")
    header = ("card", *_STATES, "failures", "at", *sides)
    lines = [
        table(rows, header),
        "",
        _wrapped(f"failures: what is said of {', '.join(scorecard.FAILURES)}", 2),
        _wrapped(
            f"long, short: a position of about ${a.notional:,} at {a.leverage}x, or the most that"
            " the card allows, in its first instrument at a made-up price: the leverage by distance"
            " of its liquidation price. hidden: how much more the worst reading means; by: what is"
            " read otherwise then. The same for all cards, and no more than that: nothing is said"
            " of other instruments, sizes and modes.",
            2,
        ),
    ]
    if without:
        lines.append(f"  without definitions, so not here: {', '.join(without)}")
    data = [{key: value for key, value in own.items() if key != "shown"} for own in found]
    return Answer({"venues": data, "without_definitions": without}, "\n".join(lines))


_SIDES = ("long", "short")


def _line(a: argparse.Namespace, venue: Venue) -> dict[str, Any]:
    """What `--all` tells of one card."""
    own = scorecard.score(venue)
    said = sum(says is not None for says in own.failures.values())
    line = own.to_dict() | {"failures_said": said, "shown": {}}
    for side in _SIDES:
        tables, note, leverage = _standard(a, venue, dict(demo.marks(venue)), side)
        marks = demo.marks(venue)
        (spread,) = scorecard.ambiguity(venue, tables, marks, entry_rounding="against_account")
        line |= {"instrument": spread.instrument, "leverage": leverage}
        line[side] = {"priced_on": note} | spread.to_dict()
        line["shown"][side] = _worth(spread)
    return line


def _times(leverage: Fraction, places: int = 3) -> str:
    """A leverage for people: what is there is never shown as nothing."""
    least = Fraction(1, 10**places)
    if 0 < leverage < least:
        return f"<{float(least):g}x"
    return f"{float(leverage):.{places}f}x"


def _worth(spread: Spread) -> tuple[str, str, str]:
    """Leverage by distance as said, what is hidden, and what is read otherwise then."""
    if spread.fires:
        return "fires", "-", "-"
    said = spread.leverage(spread.said)
    shown = "none" if said is None else _times(said, 2)
    if spread.fires_by is not None:
        return shown, "fires", ", ".join(spread.fires_by)
    hidden = spread.hidden or Fraction()
    return shown, _times(hidden) if hidden else "0", ", ".join(spread.nearest_by) or "-"


# --- diff --------------------------------------------------------------------------------------

_PARTS = {
    "rules": "Rules",
    "asset": "Assets",
    "instrument": "Instruments",
    "definition": "Definitions",
}
#: A sentence is told so far; ``--json`` has all of it.
SAID_MAX = 300


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _rest(count: int, rows: int) -> list[str]:
    return [f"  … and {count - rows:,} more (--rows {count}, or --json)"] if count > rows else []


def diff(a: argparse.Namespace) -> Answer:
    """What two cards have differently, in words and in effect."""
    if a.rows < 0:
        raise _core._error("out_of_range", "--rows", str(a.rows), "must be 0 or more", None)
    old, new = _core.Venue.load(a.old), _core.Venue.load(a.new)
    found = scorecard.differences(old, new)
    head = f"{a.old} (card {old.hash[:12]}) to {a.new} (card {new.hash[:12]})"
    data: dict[str, Any] = {
        "old": old.hash,
        "new": new.hash,
        "differences": [row.to_dict() for row in found],
        "effect": None,
    }
    if not found:
        same = "nothing differs" if old.hash == new.hash else "written otherwise, nothing differs"
        return Answer(data, f"{head}: {same}")
    sure = [sum(row.direction == name for row in found) for name in ("stricter", "looser")]
    count = f"{_count(len(found), 'difference')}, {sure[0]:,} stricter, {sure[1]:,} looser"
    lines = [f"{head}:", f"{count}, {len(found) - sum(sure):,} of no certain direction"]
    by_part: dict[str, list[Difference]] = {}
    for row in found:
        by_part.setdefault(_PARTS.get(row.where.partition(".")[0], "The card"), []).append(row)
    for part, rows in by_part.items():
        lines += ["", part, *(_sentence(str(row)) for row in rows[: a.rows])]
        lines += _rest(len(rows), a.rows)
    told, data["effect"] = _effect(a, old, new)
    return Answer(data, "\n".join([*lines, "", *told]))


def _sentence(text: str) -> str:
    text = text if len(text) <= SAID_MAX else text[: SAID_MAX - 1] + "…"
    return textwrap.fill(text, WIDTH, initial_indent="  - ", subsequent_indent="    ")


def _effect(a: argparse.Namespace, old: Venue, new: Venue) -> tuple[list[str], dict[str, Any]]:
    prices = _core.Prices(old, mark=_marks(a, old))
    if a.positions:
        portfolio = Portfolio.from_tables(old, **_tables(a), entry_rounding="against_account")
    else:
        portfolio = demo.with_prices(old, prices, a.accounts, a.seed).portfolio
    try:
        found = scorecard.effect(new, portfolio, prices)
    except CardError as error:
        told = [f"In effect: not comparable, the same holdings are not possible ({error})"]
        return told, {"comparable": False, "why": str(error)}
    return _effect_lines(a, found), {"comparable": True, **found.to_dict()}


def _effect_lines(a: argparse.Namespace, found: Effect) -> list[str]:
    count, noun = found.of
    whose = "your" if a.positions else "the made-up"
    of = f"{whose} {count:,} {noun}" + (
        f" ({_count(found.accounts, 'account')})" if noun == "pools" else ""
    )
    bad, below = found.liquidatable, found.below_initial
    told = [f"In effect: this change makes {len(bad):,} of {of} liquidatable"]
    told += [f"  {account} {pool}" for account, pool in bad[: a.rows]] + _rest(len(bad), a.rows)
    if found.safe:
        told.append(f"  and {len(found.safe):,} no longer so")
    told.append(f"  {len(below):,} more, safe until now, have less than initial margin")
    for asset, (old, new) in found.maintenance.items():
        pair = [grouped(f"{total:f}") for total in (old, new)]
        told.append(f"  maintenance of all together: {pair[0]} -> {pair[1]} {asset}")
    return told


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


def _path(a: argparse.Namespace, venue: Venue, symbol: str, calm_s: int) -> Path:
    from aivora_core.lag import Crash, recorded

    if a.feed or a.index_feed:
        if not (a.feed and a.index_feed):
            limit = "needs both: the own book, and another that stands in for the index"
            raise _core._error("out_of_range", "--feed", "one recording", limit, None)
        return recorded(a.feed, a.index_feed, venue, symbol)
    marks = demo.marks(venue)
    if symbol not in marks:
        limit = "the coin has no made-up price: choose another with --instrument"
        raise _core._error("missing_price", "--instrument", symbol, limit, None)
    start = _core.Prices(venue, mark={symbol: marks[symbol]}).mark_ticks(symbol) or 1
    shape = Crash(
        drop_ppm=_percent(a.drop, "--drop"),
        fall_s=a.fall,
        back_ppm=_percent(a.back, "--back"),
        bounce_s=a.bounce,
        overshoot_ppm=_percent(a.overshoot, "--overshoot"),
        close_s=a.close,
        calm_s=calm_s,
        seed=a.seed,
    )
    return shape.path(start)


def lag(a: argparse.Namespace) -> Answer:
    """Who is liquidated under which mark rule, when, and how many after the index has bounced."""
    from aivora_core import lag as marks
    from aivora_core.adapters import plots

    if a.plot:
        plots.check(a.plot)
    if not 1 <= a.accounts <= ACCOUNTS_MAX:
        limit = f"must be 1 to {ACCOUNTS_MAX:,}"
        raise _core._error("out_of_range", "--accounts", str(a.accounts), limit, None)
    venue = _core.Venue.load(a.venue)
    symbol = a.instrument or venue.instruments[0].symbol
    instrument = venue[symbol]
    all_cards = not (a.rule or a.window)
    chosen = marks.rules(None if all_cards else a.rule)
    chosen |= marks.windows(instrument, marks.WINDOWS if all_cards else a.window)
    calm_s = max(marks.CALM_S, marks.longest_s(chosen.values()) + marks.SPARE_S)
    scale = marks.scale(a.scale, _coin(symbol), a.scale_day) if a.scale else None
    found = marks.lag(
        venue,
        symbol,
        _path(a, venue, symbol, calm_s),
        chosen,
        accounts=a.accounts,
        seed=a.seed,
        watched=lambda items: progress(items, "mark rules"),
    )
    data = found.to_dict() | {"scale": scale and scale.to_dict()}
    if a.plot:
        plots.lag(found, a.plot)
    lines = _told(found, data, f"{symbol}, margin rules of {venue.name}")
    if scale:
        lines += ["", _wrapped(_scaled(scale, found.path), 2)]
    if a.plot:
        lines += ["", f"Drawn to {a.plot}"]
    return Answer(data, "\n".join(lines))


def _coin(symbol: str) -> str:
    """The coin that an instrument is named after, as files of candles have it."""
    found = re.match(r"(?:P[A-Z]_)?([A-Z]+?)(?=USD|[^A-Z]|$)", symbol.upper().replace("XBT", "BTC"))
    return found[1] if found else symbol


def _scaled(scale: Scale, path: Path) -> str:
    """How large the fall of a path is beside a day that happened."""
    part = path.fall / scale.range if scale.range else None
    kind = "made-up" if path.title.startswith("synthetic") else "recorded"
    beside = "there was none" if part is None else f"{float(part):.2f} times that"
    others = ", ".join(f"{name} {_hundredths(own)}" for name, own in scale.by_venue.items())
    return (
        f"for scale: {scale.coin}'s hourly candles of {scale.day} go at most"
        f" {_hundredths(scale.range)} from high to low within an hour ({scale.venue},"
        f" {scale.hour:02}:00 UTC), in which order they do not say; by venue {others}. The"
        f" {kind} fall of {_hundredths(path.fall)} is {beside}"
    )


def _hundredths(part: Fraction) -> str:
    """A part as percent with two decimals."""
    return f"{float(part * 100):.2f}%"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _told(found: Lag, data: dict[str, Any], whose: str) -> list[str]:
    rows = []
    for row in data["rules"]:
        times = [_number(row[name]) for name in ("first_s", "last_s", "late_s")]
        counts = [row[name] for name in ("after_the_bounce", "extra", "spared")]
        cells = [row["liquidated"], *times, *counts, f"{row['gap_bps']:.1f}"]
        rows.append((row["rule"], *(cells if row["known"] else "-" * len(cells))))
    names = ("first s", "last s", "late s", "after bounce", "extra", "spared", "off bps")
    way = found.path
    made = way.title.startswith("synthetic")
    fall = f"the index falls {_hundredths(way.fall)} to its low at second {data['low_s']:g},"
    since = f", from second {data['from_s']:g} of it on" if data["from_s"] and not made else ""
    lines = [
        _wrapped(way.title, 0),
        f"{found.accounts:,} made-up accounts in {whose}",
        f"looked at for {data['seconds']:,} s{since}: {fall}",
        f"the last trade is at most {data['book_gap_bps']:.1f} bps off it",
        "",
        table(rows, ("mark rule", "liquidated", *names)),
        "",
        "  late: seconds after the index would have (-: before), in the middle of those liquidated",
        "    by both",
        "  after bounce: liquidated after the low, though the index would not have done it then",
        "  extra: liquidated by this rule, never by the index; spared: the other way round",
        "  off: the largest distance of the mark from the index",
    ]
    if not all(row["known"] for row in data["rules"]):
        lines.append("  -: the path is too short to fill its average")
    return lines

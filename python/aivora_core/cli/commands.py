"""What each command of the command line does: read input, ask the library, say what came out."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from aivora_core import _core, demo
from aivora_core.cli.answer import Answer
from aivora_core.explain import amount, ratio
from aivora_core.frames import read_table
from aivora_core.portfolio import Portfolio
from aivora_core.render import grouped, table

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from aivora_core._core import Book, Prices, Venue, Walk
    from aivora_core.portfolio import Account, BankruptcyPrice, LiquidationPrice, Report

__all__ = ["bench", "case_run", "check", "explain", "run", "walk"]


@dataclass(frozen=True)
class _Input:
    """What a command looks at."""

    venue: Venue
    portfolio: Portfolio
    prices: Prices
    books: dict[str, Book] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    again: str = ""

    def book(self, symbol: str, seed: int) -> Book:
        """The book of an instrument: the one given, or a made-up one."""
        return self.books.get(symbol) or demo.book(self.venue, symbol, self.prices, seed=seed)


# --- input -------------------------------------------------------------------------------------


def _load(a: argparse.Namespace) -> _Input:
    """The state that the input options name; a made-up one without any."""
    if getattr(a, "feed", None):
        return _from_feed(a)
    if not (a.positions or a.collateral or a.orders or a.pools):
        return _made_up(a)
    venue = _core.Venue.load(a.venue or "demo")
    files = (a.positions, a.collateral, a.orders, a.pools)
    tables = [read_table(path) if path else None for path in files]
    portfolio = Portfolio.from_tables(venue, *tables, entry_rounding=a.entry_rounding)
    names = ("positions", "collateral", "orders", "pools", "venue", "prices", "entry_rounding")
    given = [(f"--{n.replace('_', '-')}", getattr(a, n)) for n in names if getattr(a, n)]
    given += [("--mark", mark) for mark in a.mark]
    again = " ".join(f"{name} {shlex.quote(value)}" for name, value in given)
    return _Input(venue, portfolio, _prices(a, venue), again=again)


def _made_up(a: argparse.Namespace) -> _Input:
    if a.accounts < 1:
        raise _core._error("out_of_range", "accounts", str(a.accounts), "must be at least 1", None)
    venue = _core.Venue.load(a.venue or "demo")
    made = demo.with_prices(venue, _prices(a, venue), a.accounts, a.seed)
    note = f"The portfolio and the books are made up (seed {a.seed}); no figure is anybody's."
    given = [("--venue", a.venue), ("--prices", a.prices), *(("--mark", m) for m in a.mark)]
    again = " ".join(f"{name} {shlex.quote(value)}" for name, value in given if value)
    return _Input(made.venue, made.portfolio, made.prices, notes=(note,), again=again)


def _from_feed(a: argparse.Namespace) -> _Input:
    """The positions given, at the mid that a recorded feed ends with."""
    from aivora_core.adapters.feeds import replay

    venue = _core.Venue.load(a.venue or "hyperliquid")
    found = replay(a.feed, venue, symbol=a.symbol, on_gap=a.on_gap)
    marks, notes = {}, []
    for symbol, book in found.books.items():
        instrument = venue[symbol]
        if book.mid is None:
            limit = "the last book needs both sides"
            raise _core._error("no_mid", f"{a.feed} {symbol}", "one side", limit, None)
        marks[symbol] = int(book.mid / instrument.mark_tick)
        shown = amount(marks[symbol], instrument.mark_tick)
        notes.append(
            f"{found.messages} messages read; the mark of {symbol} is the last book's mid,\n"
            f"cut to the mark tick: {shown}. (The feed carries no mark: this is a stand-in.)"
        )
    prices = _core.Prices(venue, mark_ticks=marks)
    files = (a.positions, a.collateral, a.orders, a.pools)
    tables = [read_table(path) if path else None for path in files]
    portfolio = Portfolio.from_tables(venue, *tables, entry_rounding=a.entry_rounding)
    again = f"--venue {venue.name} --mark " + " --mark ".join(
        f"{s}={amount(t, venue[s].mark_tick)}" for s, t in marks.items()
    )
    return _Input(venue, portfolio, prices, dict(found.books), tuple(notes), again)


def _prices(a: argparse.Namespace, venue: Venue) -> Prices:
    made_up = not (a.positions or a.collateral or a.orders or a.pools)
    marks: dict[str, Any] = dict(demo.marks(venue)) if made_up else {}
    if a.prices:
        rows = read_table(a.prices)
        if "instrument" in rows and "mark" in rows:
            columns: list[Any] = [rows["instrument"], rows["mark"]]
            marks.update(zip(*columns, strict=True))
        else:
            limit = "must have the columns instrument and mark"
            raise _core._error("bad_column", str(a.prices), ", ".join(rows), limit, None)
    for given in a.mark:
        symbol, equals, price = given.partition("=")
        if not equals:
            raise _core._error("not_a_number", "--mark", given, "must be SYMBOL=PRICE", None)
        marks[symbol] = price
    return _core.Prices(venue, mark=marks)


# --- run ---------------------------------------------------------------------------------------


def run(a: argparse.Namespace) -> Answer:
    """The main job: check all, explain the worst, walk the book for its forced exit.

    With a feed and no positions: replay the feed, and price forced exits through it.
    """
    if a.journal:
        from aivora_core.cli.journal import run_journal

        return run_journal(a)
    if a.feed and not (a.positions or a.collateral or a.orders or a.pools):
        from aivora_core.cli.feed import run_feed

        return Answer(*run_feed(a))
    given = _load(a)
    report = given.portfolio.check(given.prices, distance=True)
    assert report.distance_ppm is not None  # noqa: S101 - asked for
    counts = report.counts()
    buffers = _buffers(report)
    worst = _worst_first(report, buffers)
    firing = [place for place in worst if report.liquidatable[place]]
    nearest = sorted(
        np.flatnonzero((report.status < 2) & (report.distance_ppm < 2**62)).tolist(),  # noqa: PLR2004
        key=lambda place: (int(report.distance_ppm[place]), place),  # type: ignore[index]
    )
    data: dict[str, Any] = {
        "venue": given.venue.name,
        "card": given.venue.hash,
        "pools": len(report),
        "legs": given.portfolio.leg_count,
        "counts": counts,
        "liquidatable": [_row(report, place) for place in firing],
        "nearest": [_row(report, place) for place in nearest[:5]],
    }
    lines = [
        f"{given.venue.title}, card {given.venue.hash[:12]}",
        *given.notes,
        "",
        f"Checked {len(report):,} pools with {given.portfolio.leg_count:,} legs:",
        table(
            [(name.replace("_", " "), f"{n:,}") for name, n in counts.items()], ("status", "pools")
        ),
    ]
    if firing:
        units = ", ".join(sorted(set(report.asset)))
        lines += ["", f"Liquidatable: {len(firing)} pools, the furthest below first ({units})"]
        lines.append(_rows(report, firing[:5]))
    lines += ["", "Nearest to it among the others"]
    lines.append(_rows(report, nearest[:5]))
    if worst:
        key = (report.account[worst[0]], report.pool[worst[0]])
        story, told = _exit(given, given.portfolio[key], a.seed)
        data["worst"] = story
        lines += ["", *told]
        lines += ["", *_next(given, key)]
    return Answer(data, "\n".join(lines))


def _buffers(report: Report) -> list[int]:
    pairs = zip(report.equity.tolist(), report.maintenance.tolist(), strict=True)
    return [equity - maintenance for equity, maintenance in pairs]


def _worst_first(report: Report, buffers: list[int]) -> list[int]:
    """Places of all pools that hold something, liquidatable ones first, then by buffer."""
    held = np.flatnonzero(report.maintenance > 0).tolist()
    # Amounts of several assets do not compare: there the distance to the line does.
    short = buffers if len(report.quanta) == 1 else report.distance_ppm
    assert short is not None  # noqa: S101 - asked for
    return sorted(held, key=lambda p: (not report.liquidatable[p], short[p], p))


def _row(report: Report, place: int) -> dict[str, Any]:
    row = report.at(place)
    buffer = row["equity"] - row["maintenance"]
    for name in ("equity", "initial", "maintenance"):
        row[name] = amount(row[name], report.quanta[row["asset"]])
    return row | {"buffer": amount(buffer, report.quanta[row["asset"]])}


def _rows(report: Report, places: list[int]) -> str:
    rows = []
    for place in places:
        row = _row(report, place)
        cells = [f"{row['account']}/{row['pool']}", row["status"].replace("_", " ")]
        cells += [grouped(row[name], 2) for name in ("equity", "maintenance", "buffer")]
        if "distance_ppm" in row:
            cells.append(ratio(row["distance_ppm"], 10_000) + "%")
        rows.append(cells)
    header = ["pool", "status", "equity", "maintenance", "buffer"]
    if report.distance_ppm is not None:
        header.append("distance")
    return table(rows, header, left=2)


def _exit(given: _Input, account: Account, seed: int) -> tuple[dict[str, Any], list[str]]:
    """The worst pool: its explanation, its prices, and the forced exit of its largest leg."""
    why = account.explain(given.prices)
    leg = max(why.raw["legs"], key=lambda row: row["notional"])
    symbol, venue = leg["instrument"], given.venue
    liquidation = account.liquidation_price(symbol, given.prices)
    bankruptcy = account.bankruptcy_price(symbol, given.prices, leg=leg["leg"])
    side: Literal["buy", "sell"] = "sell" if leg["lots"] > 0 else "buy"
    size = amount(abs(leg["lots"]), venue[symbol].lot)
    walk = given.book(symbol, seed).walk(side, size)
    story = {
        "explanation": why.to_dict(),
        "liquidation_price": _liquidation(liquidation),
        "bankruptcy_price": bankruptcy.price and f"{bankruptcy.price:f}",
        "forced_exit": walk.to_dict(),
    }
    lines = ["The worst of all, line by line", "", why.text(), ""]
    lines += _price_lines(liquidation, bankruptcy)
    lines += [
        "",
        f"Its forced exit: {side} {size} {symbol} into the book",
        *_walk_lines(walk, venue),
    ]
    lines += _against(walk, bankruptcy, side)
    return story, lines


def _liquidation(found: LiquidationPrice) -> dict[str, Any]:
    sides: dict[str, Any] = {"mark": f"{found.mark:f}"}
    for name in ("below", "above"):
        flip = getattr(found, name)
        sides[name] = flip and {
            "mark": f"{flip.mark:f}",
            "price": f"{flip.price:f}",
            "becomes": flip.becomes,
        }
        if not flip:
            sides[f"reason_{name}"] = getattr(found, f"reason_{name}")
    return sides


def _price_lines(found: LiquidationPrice, bankruptcy: BankruptcyPrice) -> list[str]:
    lines = []
    for name in ("below", "above"):
        flip = getattr(found, name)
        if flip:
            verb = "is liquidatable from" if flip.becomes == "liquidatable" else "is safe again at"
            lines.append(f"  with {found.instrument} {name} {found.mark:f}: {verb} {flip.mark:f}")
    if not lines:
        lines.append(f"  no price of {found.instrument} alone changes the verdict")
    if bankruptcy.price is None:
        lines.append(f"  bankruptcy price: none ({bankruptcy.reason})")
    else:
        lines.append(
            f"  bankruptcy price of the leg: {bankruptcy.price:f} (equity allotted to it:"
            f" {grouped(f'{bankruptcy.allotted:f}', 2)})"
        )
    return lines


def _walk_lines(walk: Walk, venue: Venue) -> list[str]:
    def shown(value: Any, places: int | None = None) -> str:
        return "unknown" if value is None else grouped(f"{value:f}", places)

    rows = [
        ("filled", shown(walk.filled)),
        ("unfilled", shown(walk.unfilled)),
        ("levels touched", str(walk.levels)),
        ("average price", shown(walk.vwap, 6)),
        ("worst price", shown(walk.worst)),
        (f"cost ({venue.settlement})", shown(walk.cost, 2)),
        (f"fee ({venue.settlement})", shown(walk.fee, 2)),
        ("slippage against mid (bps)", shown(walk.slippage_bps, 2)),
    ]
    return [f"  {name:<28}{value:>24}" for name, value in rows]


def _against(walk: Walk, bankruptcy: BankruptcyPrice, side: str) -> list[str]:
    if bankruptcy.price is None or walk.vwap is None:
        return []
    good = walk.vwap >= bankruptcy.price if side == "sell" else walk.vwap <= bankruptcy.price
    if walk.unfilled:
        return ["  the book does not hold the whole size: the rest needs another way out"]
    if good:
        return ["  the average beats the bankruptcy price: the leg pays for itself"]
    return ["  the average is past the bankruptcy price: somebody else pays the difference"]


def _next(given: _Input, key: tuple[str, str]) -> list[str]:
    again = f" {given.again}" if given.again else ""
    return [
        "Next",
        f"  aivora explain {shlex.quote(key[0])}{again}",
        f"  aivora check --rows 40{again}",
        "  aivora check --positions FILE --collateral FILE --mark BTC=64000",
        "  aivora run --feed FILE          (a recorded order-book feed)",
        "  every command takes --json",
    ]


# --- check, explain, walk ----------------------------------------------------------------------


def check(a: argparse.Namespace) -> Answer:
    """Check every pool, worst first."""
    given = _load(a)
    report = given.portfolio.check(given.prices, threads=a.threads, ratio=True, distance=True)
    order = _worst_first(report, _buffers(report))
    rest = sorted(set(range(len(report))) - set(order))
    places = (order + rest)[: max(a.rows, 0)]
    data = {
        "venue": given.venue.name,
        "card": given.venue.hash,
        "portfolio": given.portfolio.digest,
        "prices": given.prices.digest,
        "counts": report.counts(),
        "pools": [_row(report, place) for place in order + rest],
    }
    text = f"{report!r}\n\n{_rows(report, places)}"
    if len(places) < len(report):
        text += f"\n  ... {len(report) - len(places):,} more; --rows N shows N"
    notes = "".join(f"\n{note}" for note in given.notes)
    return Answer(data, text + notes)


def explain(a: argparse.Namespace) -> Answer:
    """Explain one pool, with its prices."""
    given = _load(a)
    account = given.portfolio[(a.account, a.pool) if a.pool else a.account]
    why = account.explain(given.prices)
    data = why.to_dict() | {"liquidation_prices": {}}
    lines = [why.text(), ""]
    for symbol in dict.fromkeys(leg["instrument"] for leg in why.raw["legs"] if leg["lots"]):
        found = account.liquidation_price(symbol, given.prices)
        data["liquidation_prices"][symbol] = _liquidation(found)
        held = next(leg for leg in why.raw["legs"] if leg["instrument"] == symbol and leg["lots"])
        bankruptcy = account.bankruptcy_price(symbol, given.prices, leg=held["leg"])
        lines += _price_lines(found, bankruptcy)
    why.verify()
    data["verified"] = True
    lines += ["", "  verified: the oracle finds the same numbers, bit for bit"]
    return Answer(data, "\n".join(lines))


def walk(a: argparse.Namespace) -> Answer:
    """Walk an order book, or ask how much it takes."""
    venue, book = _book(a)
    size = a.quantity
    if a.slippage_bps is not None:
        size = book.max_quantity(a.side, slippage_bps=a.slippage_bps)
    if a.notional is not None:
        found = book.walk_notional(a.side, a.notional, limit=a.limit)
    else:
        found = book.walk(a.side, size, limit=a.limit)
    head = f"{a.side} {found.filled:f} {a.instrument} on {venue.name}"
    lines = [head, *_walk_lines(found, venue)]
    return Answer(
        found.to_dict() | {"venue": venue.name, "instrument": a.instrument}, "\n".join(lines)
    )


def _book(a: argparse.Namespace) -> tuple[Venue, Book]:
    if a.feed:
        from aivora_core.adapters.feeds import replay

        venue = _core.Venue.load(a.venue or "hyperliquid")
        books = replay(a.feed, venue).books
        if a.instrument not in books:
            limit = f"the feed has {', '.join(books) or 'no book'}"
            raise _core._error("unknown_instrument", "instrument", a.instrument, limit, None)
        return venue, books[a.instrument]
    venue = _core.Venue.load(a.venue or "demo")
    if a.book:
        rows = read_table(a.book)
        sides = [[tuple(row) for row in rows.get(side, [])] for side in ("bids", "asks")]
        return venue, _core.Book(venue[a.instrument], bids=sides[0], asks=sides[1])
    return venue, demo.book(venue, a.instrument, _prices(a, venue), seed=a.seed)


# --- case, bench -------------------------------------------------------------------------------


def case_run(a: argparse.Namespace) -> Answer:
    """Run case files; print each mismatch; exit 1 where there is one."""
    from aivora_core.cases import find_cases, run_case
    from aivora_core.render import progress

    paths: list[Path] = find_cases(*a.files)
    results = [run_case(path, engine=a.engine) for path in progress(paths, "cases")]
    failed = [result for result in results if not result.passed]
    lines = []
    for result in failed:
        lines += [f"FAILED {result.id}", *(f"  {mismatch}" for mismatch in result.failures)]
    lines.append(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    data = {
        "engine": a.engine,
        "passed": len(results) - len(failed),
        "failed": [{"id": r.id, "failures": [str(m) for m in r.failures]} for r in failed],
    }
    return Answer(data, "\n".join(lines), 1 if failed else 0)


def bench(a: argparse.Namespace) -> Answer:
    """Measure ratios to pure Python on this machine."""
    from aivora_core.bench import measure

    if a.what == "watch":
        return _bench_watch(a)
    data = measure(a.accounts, a.seed)
    rows = [(r["job"], f"{r['ratio']:.1f}x", r["exact"]) for r in data["rows"]]
    text = table(rows, ("job", "faster than pure Python float", "same answer"))
    note = f"  {data['machine']}, Python {data['python']}; medians, interleaved, one thread"
    return Answer(data, f"{text}\n{note}")


def _bench_watch(a: argparse.Namespace) -> Answer:
    """Measure the watch beside a scan on each tick, and show what a later check costs."""
    from aivora_core.bench import later_checks, measure_watch

    data = measure_watch(a.accounts, a.seed)
    later = later_checks(min(a.accounts, 2_000), a.seed)
    job = f"a tick, {data['accounts']:,} accounts, calm, in bulk"
    rows = [(job, f"{data['ratio']:,.0f}x", data["exact"])]
    text = table(rows, ("job", "faster than a scan on each tick", "same answer"))
    each = f"{data['bytes_an_account']:.0f} bytes an account"
    note = f"  {data['machine']}, Python {data['python']}; {each}"
    seconds = later["time_ms"] / 1_000
    heading = (
        f"What a later check costs: {later['accounts']:,} generated accounts, a generated path of"
        f" {later['ticks']:,} ticks in {seconds:.0f} s"
    )
    costs = [
        (r["check"], f"{r['told']}", f"{r['never']}", f"{r['late_ms']:.0f}", f"{r['lost_bps']:.1f}")
        for r in later["rows"]
    ]
    head = ("check on", "told", "never told", "later by, ms", "further below the line, bps")
    lines = [text, note, "", heading, table(costs, head)]
    return Answer({"tick": data, "later_checks": later}, "\n".join(lines))

"""``aivora bench``: ratios to what a good user would write, measured here and now."""

from __future__ import annotations

import platform
import statistics
import time
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import numpy as np

from aivora_core import demo
from aivora_core.render import progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from aivora_core._core import Prices
    from aivora_core.portfolio import Portfolio
    from aivora_core.watch import Watch

__all__ = ["later_checks", "measure", "measure_watch"]

_ROUNDS = 5
_SAMPLE = 5_000


def _seconds(job: Callable[[], object]) -> float:
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def _check_in_python(
    made: demo.Demo, positions: Any, collateral: Any
) -> tuple[list[tuple[float, float, float, bool]], float]:
    """The check in floats over plain Python lists, all its outputs, and the seconds it took."""
    tiers, marks, lots = {}, {}, {}
    for instrument in made.venue.instruments:
        symbol = instrument.symbol
        rows = instrument.tiers
        tiers[symbol] = (
            [float(row["floor"]) for row in rows],
            [float(row["maintenance"]) for row in rows],
            [float(row["deduction"]) for row in rows],
            [float(row["initial"]) for row in rows],
        )
        marks[symbol] = float(made.prices.mark(symbol) or 0)
        lots[symbol] = float(instrument.lot)
    held: dict[str, list[tuple[str, float, float]]] = {name: [] for name in collateral[0]}
    for account, symbol, size, cost in positions:
        held[account].append((symbol, size * lots[symbol], cost))
    began = time.perf_counter()
    found = []
    for account, cash in zip(*collateral, strict=True):
        equity, maintenance, initial = cash, 0.0, 0.0
        for symbol, quantity, cost in held[account]:
            value = quantity * marks[symbol]
            equity += value - cost
            notional = abs(value)
            floors, rates, deductions, opening = tiers[symbol]
            tier = bisect_right(floors, notional) - 1
            maintenance += notional * rates[tier] - deductions[tier]
            initial += notional * opening[tier]
        found.append((equity, initial, maintenance, equity < maintenance))
    return found, time.perf_counter() - began


def _scan(accounts: int, seed: int) -> dict[str, Any]:
    made = demo.demo(accounts, seed)
    ticks = {i.symbol: made.prices.mark_ticks(i.symbol) or 1 for i in made.venue.instruments}
    sample = min(accounts, _SAMPLE)
    table, cash = demo.tables(made.venue, ticks, sample, seed)
    quantum = float(made.venue.quantum)
    costs = [int(c) * quantum for c in table["cost_quanta"]]
    rows = list(
        zip(
            table["account"],
            table["instrument"],
            table["quantity_lots"].tolist(),
            costs,
            strict=True,
        )
    )
    collateral = (cash["account"], [int(c) * quantum for c in cash["amount_quanta"]])
    small = demo.demo(sample, seed)
    exact = small.portfolio.check(small.prices).liquidatable.tolist()
    ratios, same = [], True
    for _ in progress(range(_ROUNDS), "scan"):
        found, seconds = _check_in_python(made, rows, collateral)
        same &= [row[-1] for row in found] == exact
        fast = _seconds(lambda: made.portfolio.check(made.prices)) / accounts
        ratios.append(seconds / sample / fast)
    return _result(f"check of {accounts:,} pools", ratios, same=same)


def _walk(seed: int) -> dict[str, Any]:
    made = demo.demo(1, seed)
    book = demo.book(made.venue, "BTC", made.prices, levels=1000, seed=seed)
    levels = [(float(price), float(size)) for price, size in book.depth(1000)["asks"]]
    sizes = [f"{n}.5" for n in range(1, 400, 7)]

    def plain(size: str) -> tuple[float, float]:
        left, cost = float(size), 0.0
        for price, held in levels:
            taken = min(left, held)
            cost += taken * price
            left -= taken
            if left <= 0:
                break
        return cost, left

    same = all(
        abs(plain(size)[0] - float(book.walk("buy", size).cost)) < 1e-9 * plain(size)[0]
        for size in sizes
    )
    ratios = []
    for _ in progress(range(_ROUNDS), "walk"):
        slow = _seconds(lambda: [plain(size) for size in sizes for _ in range(5)])
        fast = _seconds(lambda: [book.walk("buy", size) for size in sizes for _ in range(5)])
        ratios.append(slow / fast)
    return _result("walk of one book of 1,000 levels, call by call", ratios, same=same)


def _result(job: str, ratios: list[float], *, same: bool) -> dict[str, Any]:
    return {"job": job, "ratio": statistics.median(ratios), "exact": "yes" if same else "NO"}


def measure(accounts: int, seed: int) -> dict[str, Any]:
    """Measure; each row has a job, the median ratio and whether both gave the same answer."""
    return {
        "machine": f"{platform.machine()} {platform.system()}",
        "python": platform.python_version(),
        "accounts": accounts,
        "seed": seed,
        "rows": [_scan(accounts, seed), _walk(seed)],
    }


# --- the watch ---------------------------------------------------------------------------------

_CALM = 3
_STEP = 8
_JUMP = 200
_EVERY_MS = (100, 1_000, 10_000)
_CHUNKS = 200


def _watch(pf: Portfolio, prices: Prices) -> Watch:
    """A watch whose accounts are all safe, or the venue's."""
    report = pf.check(prices)
    watch = pf.watch(prices)
    for place in np.flatnonzero(report.liquidatable):
        watch.hand_over(report.account[place], report.pool[place])
    return watch


def measure_watch(accounts: int, seed: int, ticks: int = 200_000) -> dict[str, Any]:
    """Measure a tick of the watch beside a scan of all accounts on each tick.

    Each tick is one of the demo's instruments, 3 basis points up or down. A few hundred of them
    also go through the scan, which must find the same verdicts.
    """
    made = demo.demo(accounts, seed)
    watch = _watch(made.portfolio, made.prices)
    rng = np.random.default_rng(seed)
    symbols = [instrument.symbol for instrument in made.venue.instruments]
    marks = [made.prices.mark_ticks(symbol) or 1 for symbol in symbols]

    def draw(count: int) -> tuple[Any, Any]:
        places, now = rng.integers(0, len(symbols), count), np.empty(count, np.int64)
        steps = rng.choice((-_CALM, _CALM), count).tolist()
        for row, (place, step) in enumerate(zip(places.tolist(), steps, strict=True)):
            marks[place] = max(marks[place] + marks[place] * step // 10_000, 1)
            now[row] = marks[place]
        return places, now

    theirs = watch.liquidatable  # taken over by the venue: neither tells of them
    same, scans, ours = True, 0.0, 0.0
    for number in progress(range(_CHUNKS), "ticks, some also scanned"):
        places, now = draw(ticks // _CHUNKS)
        began = time.perf_counter()
        hits = watch.ticks({"instrument": places, "mark_ticks": now})
        ours += time.perf_counter() - began
        began = time.perf_counter()
        scanned = made.portfolio.liquidatable(watch.prices)
        scans += time.perf_counter() - began
        same &= bool((scanned == watch.liquidatable)[~theirs].all())
        if number == 0:
            # The first ticks once more, one by one, each with its scan.
            for place, ticked in zip(places[:100].tolist(), now[:100].tolist(), strict=True):
                watch.tick(symbols[place], mark_ticks=ticked)
                scanned = made.portfolio.liquidatable(watch.prices)
                same &= bool((scanned == watch.liquidatable)[~theirs].all())
        last = dict(zip(hits, hits.index.tolist(), strict=True))
        verdicts = watch.liquidatable
        for (_, account, pool, _), index in last.items():
            if verdicts[index] and not theirs[index]:
                theirs[index] = True
                watch.hand_over(account, pool)
    return {
        "machine": f"{platform.machine()} {platform.system()}",
        "python": platform.python_version(),
        "accounts": accounts,
        "seed": seed,
        "ticks": ticks,
        "ratio": scans / _CHUNKS / (ours / ticks),
        "exact": "yes" if same else "NO",
        "bytes_an_account": watch.memory / accounts,
    }


def later_checks(accounts: int, seed: int, ticks: int = 20_000) -> dict[str, Any]:
    """Show what it costs to check later than on every mark, on one generated path of prices.

    Each account that is told is taken over. ``told``: how many are; ``never``: how many of those
    that a check on every mark tells are not, as they came back in between; ``late_ms``: how much
    later than their first crossing the others are told, on average; ``lost_bps``: how much further
    below the line they are by then, in basis points of their notional, on average.

    Returns
    -------
    dict
        ``rows``: one for each event of the check; the path's figures.

    Examples
    --------
    >>> from aivora_core.bench import later_checks
    >>> found = later_checks(accounts=50, seed=1, ticks=200)
    >>> [row["check"] for row in found["rows"]]
    ['every mark', 'every 100 ms', 'every 1000 ms', 'every 10000 ms']
    """
    rng = np.random.default_rng(seed)
    made = demo.demo(accounts, seed)
    symbols = [instrument.symbol for instrument in made.venue.instruments]
    marks = {symbol: made.prices.mark_ticks(symbol) or 1 for symbol in symbols}
    path, now = [], 0
    for _ in range(ticks):
        now += int(rng.integers(1, 20))
        symbol = symbols[int(rng.integers(0, len(symbols)))]
        most = _JUMP if rng.integers(0, 50) == 0 else _STEP
        step = int(rng.integers(-most, most + 1))
        marks[symbol] = max(marks[symbol] + marks[symbol] * step // 10_000, 1)
        path.append((now, symbol, marks[symbol]))
    first: dict[tuple[str, str], tuple[int, float]] = {}
    rows = []
    for every in (0, *_EVERY_MS):
        told = _told(accounts, seed, path, every)
        first = first or told
        both = [(told[key], first[key]) for key in told if key in first]
        rows.append(
            {
                "check": f"every {every} ms" if every else "every mark",
                "told": len(told),
                "never": len(first.keys() - told.keys()),
                "late_ms": statistics.fmean([a[0] - b[0] for a, b in both] or [0.0]),
                "lost_bps": statistics.fmean([b[1] - a[1] for a, b in both] or [0.0]),
            }
        )
    return {"accounts": accounts, "seed": seed, "ticks": ticks, "time_ms": now, "rows": rows}


def _told(
    accounts: int, seed: int, path: list[tuple[int, str, int]], every: int
) -> dict[tuple[str, str], tuple[int, float]]:
    """Who is told, when, and how far from the line in basis points of the notional."""
    made = demo.demo(accounts, seed)
    pf, prices = made.portfolio, made.prices
    report = pf.check(prices)
    keys = zip(report.account, report.pool, strict=True)
    places = {key: place for place, key in enumerate(keys)}
    told: dict[tuple[str, str], tuple[int, float]] = {}
    checked = 0
    with _watch(pf, prices) as watch:
        for now, symbol, ticks in path:
            if every and now // every > checked:
                checked = now // every
                changes, when = watch.reprice(prices), checked * every
                _take_over(watch, changes.liquidatable, prices, places, told, when)
            prices.update(mark_ticks={symbol: ticks})
            if not every:
                changes = watch.tick(symbol, mark_ticks=ticks)
                _take_over(watch, changes.liquidatable, prices, places, told, now)
    return told


def _take_over(
    watch: Watch,
    keys: list[tuple[str, str]],
    prices: Prices,
    places: dict[tuple[str, str], int],
    told: dict[tuple[str, str], tuple[int, float]],
    when: int,
) -> None:
    if not keys:
        return
    distance = watch.portfolio.check(prices, distance=True).distance_ppm
    for key in keys:
        told[key] = (when, float(distance[places[key]]) / 100 if distance is not None else 0.0)
        watch.hand_over(*key)

"""``aivora bench``: ratios to pure Python as a good user would write it, measured here and now."""

from __future__ import annotations

import platform
import statistics
import time
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from aivora_core import demo
from aivora_core.render import progress

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["measure"]

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

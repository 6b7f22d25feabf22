"""Walks as a user would write them: whole ticks and lots, no more work than the answer needs.

Every baseline answers what the core answers: lots filled, cost in quanta, the last price touched
and how many levels were, for an order that takes the levels from the best on. Sums that depend on
the book alone are made beforehand wherever the name says so.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Answer = tuple[Ints, Ints, Ints, Ints]
    Row = tuple[int, int, int, int]

NAMES = ("filled_lots", "cost_quanta", "worst_ticks", "levels")


def linear(prices: list[int], lots: list[int], unit: int, asked: int) -> Row:
    """One walk, level by level, in plain Python."""
    left, value, worst, levels = asked, 0, 0, 0
    for price, there in zip(prices, lots, strict=True):
        if not left:
            break
        taken = there if there < left else left  # noqa: FURB136 - min() is a call
        value += price * taken
        left -= taken
        worst = price
        levels += 1
    return asked - left, value * unit, worst, levels


def python_bisect(
    prices: list[int], lots: list[int], unit: int
) -> Callable[[list[int]], list[Row]]:
    """Sums beforehand, and a bisection a walk."""
    sums = [0, *accumulate(lots)]
    values = [0, *accumulate(p * q for p, q in zip(prices, lots, strict=True))]
    ends = [0, *prices]
    there = sums[-1]

    def run(asked: list[int]) -> list[Row]:
        answer = []
        for wanted in asked:
            filled = wanted if wanted < there else there  # noqa: FURB136 - min() is a call
            level = bisect_left(sums, filled)
            price = ends[level]
            value = values[level] - (sums[level] - filled) * price
            answer.append((filled, value * unit, price, level))
        return answer

    return run


def numpy_sums(prices: Ints, lots: Ints, unit: int) -> Callable[[Ints], Answer]:
    """Sums beforehand, and one search for all walks."""
    sums = np.concatenate(([0], lots.cumsum()))
    values = np.concatenate(([0], (prices * lots).cumsum()))
    ends = np.concatenate(([0], prices))

    def run(asked: Ints) -> Answer:
        filled = np.minimum(asked, sums[-1])
        level = np.searchsorted(sums, filled)
        worst = ends[level]
        value = values[level] - (sums[level] - filled) * worst
        return filled, value * unit, worst, level

    return run


def numpy_books(offsets: Ints, prices: Ints, lots: Ints, unit: int) -> Callable[[Ints], Answer]:
    """Books of one depth as a table: what is left before each level, and what is taken of it."""
    depth = int(offsets[1])
    prices, lots = prices.reshape(-1, depth), lots.reshape(-1, depth)

    def run(asked: Ints) -> Answer:
        before = lots.cumsum(axis=1) - lots
        taken = np.clip(asked[:, None] - before, 0, lots)
        levels = np.count_nonzero(taken, axis=1)
        last = np.maximum(levels - 1, 0)[:, None]
        worst = np.where(levels > 0, np.take_along_axis(prices, last, axis=1)[:, 0], 0)
        return taken.sum(axis=1), (taken * prices).sum(axis=1) * unit, worst, levels

    return run


def numba_sums(prices: Ints, lots: Ints, unit: int) -> Callable[[Ints], Answer]:
    """Sums beforehand, and a search without branches a walk; needs numba."""
    import numba

    def loop(sums: Ints, values: Ints, ends: Ints, asked: Ints) -> Answer:
        rows = len(asked)
        filled = np.empty(rows, np.int64)
        cost = np.empty(rows, np.int64)
        worst = np.empty(rows, np.int64)
        levels = np.empty(rows, np.int64)
        for row in range(rows):
            wanted = min(asked[row], sums[-1])
            level, width = 0, len(sums)
            while width > 1:
                half = width >> 1
                level += half if sums[level + half - 1] < wanted else 0
                width -= half
            filled[row] = wanted
            cost[row] = (values[level] - (sums[level] - wanted) * ends[level]) * unit
            worst[row] = ends[level]
            levels[row] = level
        return filled, cost, worst, levels

    compiled: Any = numba.njit(loop)
    sums = np.concatenate(([0], lots.cumsum()))
    values = np.concatenate(([0], (prices * lots).cumsum()))
    ends = np.concatenate(([0], prices))
    return lambda asked: compiled(sums, values, ends, asked)


def numba_linear(offsets: Ints, prices: Ints, lots: Ints, unit: int) -> Callable[[Ints], Answer]:
    """Level by level, each walk its own book, or all of them the one there is; needs numba."""
    import numba

    many = len(offsets) > 2

    def loop(offsets: Ints, prices: Ints, lots: Ints, asked: Ints) -> Answer:
        rows = len(asked)
        filled = np.empty(rows, np.int64)
        cost = np.empty(rows, np.int64)
        worst = np.empty(rows, np.int64)
        levels = np.empty(rows, np.int64)
        for row in range(rows):
            book = row if many else 0
            left, value, last, count = asked[row], 0, 0, 0
            for level in range(offsets[book], offsets[book + 1]):
                if left == 0:
                    break
                taken = min(left, lots[level])
                value += prices[level] * taken
                left -= taken
                last = prices[level]
                count += 1
            filled[row] = asked[row] - left
            cost[row] = value * unit
            worst[row] = last
            levels[row] = count
        return filled, cost, worst, levels

    compiled: Any = numba.njit(loop)
    return lambda asked: compiled(offsets, prices, lots, asked)

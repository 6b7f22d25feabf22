"""An index and a mark as one writes them in plain Python, in floats.

The same algorithm as the core: sources with their ages, the median, outliers left out, the median
again; a mark of the fair price by funding, of the index with an average basis of samples, and of
the last trade; the class of validity of what comes out.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Float"]


def median(ordered: list[float]) -> float:
    """Give the middle of an ordered list."""
    count = len(ordered)
    half = count // 2
    return ordered[half] if count % 2 else (ordered[half - 1] + ordered[half]) / 2


class Float:
    """Index, mark and validity of one instrument."""

    def __init__(self, sources: int, outlier: float, samples: int, every: int) -> None:
        self.told: list[tuple[float, int] | None] = [None] * sources
        self.outlier, self.every = outlier, every
        self.index = self.bid = self.ask = self.last = 0.0
        self.rate, self.paid_at = 0.0, 0
        self.basis: deque[float] = deque(maxlen=samples)
        self.total = 0.0
        self.time: int | None = None
        self.impact: tuple[float, float] | None = None
        self.oldest = self.live = 0

    def step(self, kind: int, first: int, second: int, time: int) -> tuple[float, float, str]:
        """Take one row, and give the mark, the premium and the class of the mark."""
        self.advance(time)
        if kind == 0:
            self.told[first] = (float(second), time)
            self.blend(time)
        elif kind == 2:
            self.last = float(first)
        elif kind == 4:
            self.bid, self.ask = float(first), float(second)
        elif kind == 5:
            self.impact = (float(first), float(second))
        elif kind == 6:
            self.rate, self.paid_at = first / 1e12, second
        mark = self.mark(time)
        return mark, self.premium(), self.validity(mark, self.index, time - self.oldest)

    def blend(self, now: int) -> None:
        """Work out the index."""
        fresh = [own for own in self.told if own and own[0] > 0 and now - own[1] <= 10_000]
        live = sorted(own[0] for own in fresh)
        self.oldest = min(own[1] for own in fresh)
        middle = median(live)
        most = self.outlier * middle
        near = [price for price in live if abs(price - middle) <= most]
        self.live = len(near)
        if len(near) >= 3:
            self.index = median(near)

    def advance(self, now: int) -> None:
        """Take the samples that fell due."""
        if self.time is not None and self.index and self.bid:
            due = now // self.every - self.time // self.every
            for _ in range(min(due, self.basis.maxlen or 0)):
                if len(self.basis) == self.basis.maxlen:
                    self.total -= self.basis[0]
                basis = (self.bid + self.ask) / 2 - self.index
                self.basis.append(basis)
                self.total += basis
        self.time = now

    def mark(self, now: int) -> float:
        """Give the median of three prices."""
        if not (self.index and self.bid and self.last and self.paid_at):
            return 0.0
        left = min(max(self.paid_at - now, 0), 28_800_000)
        fair = self.index * (1 + self.rate * left / 28_800_000)
        if self.basis:
            average = self.total / len(self.basis)
        else:
            average = (self.bid + self.ask) / 2 - self.index
        return median(sorted((fair, self.index + average, self.last)))

    def premium(self) -> float:
        """Give how far the impact prices are beyond the index."""
        if self.impact is None or not self.index:
            return 0.0
        bid, ask = self.impact
        return (max(0.0, bid - self.index) - max(0.0, self.index - ask)) / self.index

    def validity(self, price: float, average: float, age: int) -> str:
        """Give the class of a price."""
        if price <= 0:
            return "non_positive"
        if max(price, average) > 5 * min(price, average):
            return "too_volatile"
        if self.live < 3:
            return "too_few_sources"
        return "stale" if age > 5_000 else "valid"

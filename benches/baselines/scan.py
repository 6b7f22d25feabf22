"""What a user would otherwise write: the same check in floats, written as well as they would.

The model is that of the populations: profit is (mark - entry) x quantity x multiplier, requirements
are rounded up to the quantum, and each baseline answers what the core answers: equity, initial,
maintenance and the status of every account. Amounts are dollars in floats.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from population import PPM, USD

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from population import Population

    Floats = NDArray[np.float64]
    Answer = tuple[Floats, Floats, Floats, NDArray[np.int8]]
    Row = tuple[float, float, float, int]

LOT = TICK = 0.001


@dataclass(slots=True)
class Position:
    """A position as a user would write it."""

    symbol: str
    quantity: float
    entry: float


@dataclass(slots=True)
class Instrument:
    """Multiplier and brackets of one instrument."""

    multiplier: float
    floors: list[float]
    maintenance: list[float]
    initial: list[float]
    deductions: list[float]


@dataclass(slots=True)
class Account:
    """An account with its positions."""

    name: str
    cash: float
    rate: float
    positions: list[Position]


def status(equity: float, initial: float, maintenance: float) -> int:
    """Return 3 bankrupt, 2 liquidatable, 1 below initial, 0 safe."""
    if equity < 0:
        return 3
    if equity < maintenance:
        return 2
    return 1 if equity < initial else 0


class PurePython:
    """Small classes, dictionaries, floats and `bisect`: the readable way, no package needed."""

    def __init__(self, p: Population) -> None:
        floors = (p.floors / USD).tolist()
        columns = (p.maintenance_ppm / PPM, p.initial_ppm / PPM, p.deductions / USD)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self.instruments = {
            symbol: Instrument(1.0, floors, *row)
            for symbol, row in zip(p.symbols, rows, strict=True)
        }
        self.marks: dict[str, float] = dict(zip(p.symbols, (p.marks * TICK).tolist(), strict=True))
        positions = [
            Position(p.symbols[instrument], quantity, entry)
            for instrument, quantity, entry in zip(
                p.instrument.tolist(),
                (p.quantity * LOT).tolist(),
                (p.cost // p.quantity * TICK).tolist(),
                strict=True,
            )
        ]
        ends = p.offsets.tolist()
        money = zip(p.accounts, (p.collateral / USD).tolist(), p.leverage.tolist(), strict=True)
        self.accounts = [
            Account(name, cash, 1 / leverage, positions[ends[n] : ends[n + 1]])
            for n, (name, cash, leverage) in enumerate(money)
        ]

    def check(self) -> list[Row]:
        """Check every account."""
        answer = []
        for account in self.accounts:
            equity = account.cash
            initial = maintenance = 0.0
            for position in account.positions:
                instrument = self.instruments[position.symbol]
                mark = self.marks[position.symbol]
                equity += (mark - position.entry) * position.quantity * instrument.multiplier
                notional = abs(position.quantity) * mark * instrument.multiplier
                tier = bisect_right(instrument.floors, notional) - 1
                maintenance += notional * instrument.maintenance[tier] - instrument.deductions[tier]
                initial += notional * max(instrument.initial[tier], account.rate)
            initial = ceil(initial * USD) / USD
            maintenance = ceil(maintenance * USD) / USD
            answer.append((equity, initial, maintenance, status(equity, initial, maintenance)))
        return answer


class PurePythonTuned:
    """The same for speed only: tuples and local names instead of classes and dictionaries."""

    def __init__(self, p: Population) -> None:
        plain = PurePython(p)
        index = {symbol: n for n, symbol in enumerate(p.symbols)}
        self.marks = list(plain.marks.values())
        self.floors = plain.instruments[p.symbols[0]].floors
        self.tables = [
            (i.multiplier, i.maintenance, i.initial, i.deductions)
            for i in plain.instruments.values()
        ]
        self.accounts = [
            (a.cash, a.rate, [(index[x.symbol], x.quantity, x.entry) for x in a.positions])
            for a in plain.accounts
        ]

    def check(self) -> list[Row]:
        """Check every account."""
        marks, floors, tables = self.marks, self.floors, self.tables
        answer = []
        for cash, chosen, positions in self.accounts:
            equity = cash
            initial = maintenance = 0.0
            for instrument, quantity, entry in positions:
                multiplier, maintenance_rates, initial_rates, deductions = tables[instrument]
                mark = marks[instrument]
                size = quantity * multiplier
                equity += (mark - entry) * size
                notional = abs(mark * size)
                tier = bisect_right(floors, notional) - 1
                maintenance += notional * maintenance_rates[tier] - deductions[tier]
                rate = initial_rates[tier]
                initial += notional * (rate if rate > chosen else chosen)  # noqa: FURB136 - max() is a call
            initial = ceil(initial * USD) / USD
            maintenance = ceil(maintenance * USD) / USD
            verdict = (
                3 if equity < 0 else 2 if equity < maintenance else 1 if equity < initial else 0
            )
            answer.append((equity, initial, maintenance, verdict))
        return answer


def columns(rows: list[Row]) -> Answer:
    """Turn rows into columns, to be compared."""
    equity, initial, maintenance, verdict = zip(*rows, strict=True)
    return np.array(equity), np.array(initial), np.array(maintenance), np.array(verdict)


class Numpy:
    """float64 columns, one pass over all positions."""

    def __init__(self, p: Population) -> None:
        self.marks = p.marks * TICK
        self.floors = p.floors / USD
        self.maintenance = p.maintenance_ppm / PPM
        self.initial = p.initial_ppm / PPM
        self.deductions = p.deductions / USD
        self.instrument = p.instrument
        self.quantity = p.quantity * LOT
        self.entry = p.cost // p.quantity * TICK
        self.starts = p.offsets[:-1]
        self.collateral = p.collateral / USD
        self.chosen = np.repeat(1 / p.leverage, np.diff(p.offsets))

    def check(self) -> Answer:
        """Check every account."""
        mark = self.marks[self.instrument]
        notional = np.abs(self.quantity) * mark
        tier = np.searchsorted(self.floors, notional, side="right") - 1
        where = (self.instrument, tier)
        equity = self.collateral + np.add.reduceat((mark - self.entry) * self.quantity, self.starts)
        maintenance = np.add.reduceat(
            notional * self.maintenance[where] - self.deductions[where], self.starts
        )
        initial = np.add.reduceat(
            notional * np.maximum(self.initial[where], self.chosen), self.starts
        )
        initial, maintenance = np.ceil(initial * USD) / USD, np.ceil(maintenance * USD) / USD
        verdict = (equity < initial) + np.int8(0)
        verdict[equity < maintenance] = 2
        verdict[equity < 0] = 3
        return equity, initial, maintenance, verdict


def numba_check(p: Population) -> Callable[[], Any]:
    """Return the check as one compiled loop over accounts; needs numba."""
    import numba

    table = Numpy(p)
    arrays = (
        table.marks,
        table.floors,
        table.maintenance,
        table.initial,
        table.deductions,
        table.instrument,
        table.quantity,
        table.entry,
        p.offsets,
        table.collateral,
        1 / p.leverage,
    )

    def loop(
        marks: Floats,
        floors: Floats,
        maintenance_rates: Floats,
        initial_rates: Floats,
        deductions: Floats,
        instruments: NDArray[np.int64],
        quantities: Floats,
        entries: Floats,
        offsets: NDArray[np.int64],
        collateral: Floats,
        chosen: Floats,
    ) -> Answer:
        count = len(collateral)
        equity = np.empty(count)
        initial = np.empty(count)
        maintenance = np.empty(count)
        verdict = np.empty(count, dtype=np.int8)
        for account in range(count):
            e, i, m = collateral[account], 0.0, 0.0
            for row in range(offsets[account], offsets[account + 1]):
                instrument = instruments[row]
                mark = marks[instrument]
                e += (mark - entries[row]) * quantities[row]
                notional = abs(quantities[row]) * mark
                tier = 0
                while tier + 1 < len(floors) and floors[tier + 1] <= notional:
                    tier += 1
                m += notional * maintenance_rates[instrument, tier] - deductions[instrument, tier]
                i += notional * max(initial_rates[instrument, tier], chosen[account])
            i, m = np.ceil(i * USD) / USD, np.ceil(m * USD) / USD
            equity[account], initial[account], maintenance[account] = e, i, m
            verdict[account] = 3 if e < 0 else 2 if e < m else 1 if e < i else 0
        return equity, initial, maintenance, verdict

    compiled: Any = numba.njit(loop)
    compiled(*arrays)
    return lambda: compiled(*arrays)

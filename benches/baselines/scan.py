"""The same check in floats: plain Python, numpy, numba and polars, written as a good user would.

Amounts are dollars in float64, profit is (mark - entry) x quantity, each position's requirement is
rounded up to a millionth of a dollar, and the answer is equity, initial, maintenance and status of
every account. Inputs are prepared once, in the constructor; `check` is what is timed, its outputs
written anew each time. Where there is a readable form and a faster one, both are here.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from population import BRACKETS, INSTRUMENTS, PPM, USD, requirement

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from population import Columns, Population

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Answer = tuple[Floats, Floats, Floats, NDArray[np.uint8]]
    Row = tuple[float, float, float, int]

PER_UNIT = 1_000  # ticks a dollar, lots a unit


@dataclass(slots=True)
class Position:
    """A position as a user would write it."""

    symbol: str
    quantity: float
    entry: float


@dataclass(slots=True)
class Instrument:
    """Brackets of one instrument."""

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
            symbol: Instrument(floors, *row) for symbol, row in zip(p.symbols, rows, strict=True)
        }
        marks = (p.marks / PER_UNIT).tolist()
        self.marks: dict[str, float] = dict(zip(p.symbols, marks, strict=True))
        positions = [
            Position(p.symbols[instrument], quantity, entry)
            for instrument, quantity, entry in zip(
                p.instrument.tolist(),
                (p.quantity / PER_UNIT).tolist(),
                (p.entry / PER_UNIT).tolist(),
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
                equity += (mark - position.entry) * position.quantity
                notional = abs(position.quantity) * mark
                tier = bisect_right(instrument.floors, notional) - 1
                needed = notional * instrument.maintenance[tier] - instrument.deductions[tier]
                opening = notional * max(instrument.initial[tier], account.rate)
                maintenance += ceil(needed * USD) / USD
                initial += ceil(opening * USD) / USD
            answer.append((equity, initial, maintenance, status(equity, initial, maintenance)))
        return answer


class PurePythonTuned:
    """The same for speed only: tuples and local names instead of classes and dictionaries."""

    def __init__(self, p: Population) -> None:
        plain = PurePython(p)
        index = {symbol: n for n, symbol in enumerate(p.symbols)}
        self.marks = list(plain.marks.values())
        self.floors = plain.instruments[p.symbols[0]].floors
        self.tables = [(i.maintenance, i.initial, i.deductions) for i in plain.instruments.values()]
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
            initial = maintenance = 0
            for instrument, quantity, entry in positions:
                maintenance_rates, initial_rates, deductions = tables[instrument]
                mark = marks[instrument]
                equity += (mark - entry) * quantity
                notional = abs(mark * quantity)
                tier = bisect_right(floors, notional) - 1
                maintenance += ceil(
                    (notional * maintenance_rates[tier] - deductions[tier]) * 1_000_000
                )
                rate = initial_rates[tier]
                initial += ceil(notional * (rate if rate > chosen else chosen) * 1_000_000)  # noqa: FURB136 - max() is a call
            opening, needed = initial / 1_000_000, maintenance / 1_000_000
            verdict = 3 if equity < 0 else 2 if equity < needed else 1 if equity < opening else 0
            answer.append((equity, opening, needed, verdict))
        return answer


class Numpy:
    """float64 columns, one pass over all positions: `searchsorted`, `[row, column]`, `reduceat`."""

    def __init__(self, p: Population) -> None:
        self.marks = p.marks / PER_UNIT
        self.floors = p.floors / USD
        self.maintenance = p.maintenance_ppm / PPM
        self.initial = p.initial_ppm / PPM
        self.deductions = p.deductions / USD
        self.instrument = p.instrument
        self.quantity = p.quantity / PER_UNIT
        self.entry = p.entry / PER_UNIT
        self.starts = p.offsets[:-1]
        self.collateral = p.collateral / USD
        self.chosen = np.repeat(1 / p.leverage, np.diff(p.offsets))

    def check(self) -> Answer:
        """Check every account."""
        mark = self.marks[self.instrument]
        notional = np.abs(self.quantity) * mark
        tier = np.searchsorted(self.floors, notional, side="right") - 1
        where = (self.instrument, tier)
        needed = np.ceil((notional * self.maintenance[where] - self.deductions[where]) * USD)
        opening = np.ceil(notional * np.maximum(self.initial[where], self.chosen) * USD)
        equity = self.collateral + np.add.reduceat((mark - self.entry) * self.quantity, self.starts)
        maintenance = np.add.reduceat(needed, self.starts) / USD
        initial = np.add.reduceat(opening, self.starts) / USD
        verdict = (equity < initial).astype(np.uint8)
        verdict[equity < maintenance] = 2
        verdict[equity < 0] = 3
        return equity, initial, maintenance, verdict

    def mask(self) -> Flags:
        """Tell only who is liquidatable."""
        mark = self.marks[self.instrument]
        notional = np.abs(self.quantity) * mark
        tier = np.searchsorted(self.floors, notional, side="right") - 1
        where = (self.instrument, tier)
        needed = np.ceil((notional * self.maintenance[where] - self.deductions[where]) * USD)
        equity = self.collateral + np.add.reduceat((mark - self.entry) * self.quantity, self.starts)
        flags: Flags = equity < np.add.reduceat(needed, self.starts) / USD
        return flags


class NumpyTuned:
    """The same for speed only: brackets by counting, `take` from flat tables, `bincount`."""

    def __init__(self, p: Population) -> None:
        plain = Numpy(p)
        self.marks, self.quantity, self.entry = plain.marks, plain.quantity, plain.entry
        self.maintenance, self.initial, self.deductions = (
            table.ravel() for table in (plain.maintenance, plain.initial, plain.deductions)
        )
        self.floors: list[float] = plain.floors[1:].tolist()
        self.instrument, self.chosen = p.instrument, plain.chosen
        self.first = p.instrument * BRACKETS
        self.account = np.repeat(np.arange(len(p)), np.diff(p.offsets))
        self.collateral = plain.collateral

    def _positions(self) -> tuple[Floats, Floats, NDArray[np.int64], Floats]:
        mark = self.marks.take(self.instrument)
        notional = np.abs(self.quantity * mark)
        where = self.first.copy()
        for floor in self.floors:
            where += notional >= floor
        needed = notional * self.maintenance.take(where) - self.deductions.take(where)
        return mark, notional, where, np.ceil(needed * USD)

    def check(self) -> Answer:
        """Check every account."""
        mark, notional, where, needed = self._positions()
        count = len(self.collateral)
        opening = np.ceil(notional * np.maximum(self.initial.take(where), self.chosen) * USD)
        pnl = (mark - self.entry) * self.quantity
        equity = self.collateral + np.bincount(self.account, pnl, count)
        maintenance = np.bincount(self.account, needed, count) / USD
        initial = np.bincount(self.account, opening, count) / USD
        verdict = (equity < initial).astype(np.uint8)
        verdict[equity < maintenance] = 2
        verdict[equity < 0] = 3
        return equity, initial, maintenance, verdict

    def mask(self) -> Flags:
        """Tell only who is liquidatable."""
        mark, _, _, needed = self._positions()
        count = len(self.collateral)
        pnl = (mark - self.entry) * self.quantity
        equity = self.collateral + np.bincount(self.account, pnl, count)
        flags: Flags = equity < np.bincount(self.account, needed, count) / USD
        return flags


class NumpyExact:
    """int64 columns in ticks, lots and quanta: exact as long as nothing passes 2^63."""

    def __init__(self, p: Population) -> None:
        self.p = p
        self.starts = p.offsets[:-1]
        self.chosen = np.repeat(p.leverage, np.diff(p.offsets))
        self.deductions, self.floors, self.initial = p.deductions, p.floors, p.initial_ppm

    def check(self) -> Columns:
        """Check every account."""
        p = self.p
        value = p.quantity * p.marks[p.instrument]
        notional = np.abs(value)
        tier = np.searchsorted(self.floors, notional, side="right") - 1
        where = (p.instrument, tier)
        needed = requirement(notional, p.maintenance_ppm[where], self.deductions[where])
        opening = requirement(notional, self.initial[where])
        opening = np.maximum(opening, -(-notional // self.chosen))
        equity = p.collateral + np.add.reduceat(value - p.cost, self.starts)
        initial = np.add.reduceat(opening, self.starts)
        maintenance = np.add.reduceat(needed, self.starts)
        verdict = (equity < initial).astype(np.uint8)
        verdict[equity < maintenance] = 2
        verdict[equity < 0] = 3
        return {
            "equity": equity,
            "initial": initial,
            "maintenance": maintenance,
            "status": verdict,
        }


def numba_check(
    p: Population, *, fastmath: bool = False, parallel: bool = False, mask: bool = False
) -> Callable[[], Any]:
    """Return the check as one compiled loop over accounts; needs numba.

    The form is the fastest of those tried: brackets by counting without a branch, unsigned indices.
    """
    import numba

    table = Numpy(p)
    arrays = (
        table.marks,
        table.floors,
        table.maintenance,
        table.initial,
        table.deductions,
        table.instrument.astype(np.uint32),
        table.quantity,
        table.entry,
        p.offsets.astype(np.uint64),
        table.collateral,
        1 / p.leverage,
    )
    prange = numba.prange

    def check(
        marks: Any,
        floors: Any,
        maintenance_rates: Any,
        initial_rates: Any,
        deductions: Any,
        instruments: Any,
        quantities: Any,
        entries: Any,
        offsets: Any,
        collateral: Any,
        chosen: Any,
    ) -> Any:
        count = len(collateral)
        equity = np.empty(count)
        initial = np.empty(count)
        maintenance = np.empty(count)
        verdict = np.empty(count, dtype=np.uint8)
        for account in prange(count):
            e, i, m = collateral[account], 0.0, 0.0
            rate = chosen[account]
            for row in range(offsets[account], offsets[account + 1]):
                instrument = instruments[row]
                mark = marks[instrument]
                e += (mark - entries[row]) * quantities[row]
                notional = abs(quantities[row]) * mark
                tier = 0
                for k in range(1, BRACKETS):
                    tier += floors[k] <= notional
                needed = (
                    notional * maintenance_rates[instrument, tier] - deductions[instrument, tier]
                )
                m += np.ceil(needed * USD)
                i += np.ceil(notional * max(initial_rates[instrument, tier], rate) * USD)
            i, m = i / USD, m / USD
            equity[account], initial[account], maintenance[account] = e, i, m
            verdict[account] = 3 if e < 0 else 2 if e < m else 1 if e < i else 0
        return equity, initial, maintenance, verdict

    def only_mask(
        marks: Any,
        floors: Any,
        maintenance_rates: Any,
        initial_rates: Any,  # noqa: ARG001 - the same columns as above
        deductions: Any,
        instruments: Any,
        quantities: Any,
        entries: Any,
        offsets: Any,
        collateral: Any,
        chosen: Any,  # noqa: ARG001
    ) -> Any:
        count = len(collateral)
        flags = np.empty(count, dtype=np.bool_)
        for account in prange(count):
            e, m = collateral[account], 0.0
            for row in range(offsets[account], offsets[account + 1]):
                instrument = instruments[row]
                mark = marks[instrument]
                e += (mark - entries[row]) * quantities[row]
                notional = abs(quantities[row]) * mark
                tier = 0
                for k in range(1, BRACKETS):
                    tier += floors[k] <= notional
                needed = (
                    notional * maintenance_rates[instrument, tier] - deductions[instrument, tier]
                )
                m += np.ceil(needed * USD)
            flags[account] = e < m / USD
        return flags

    loop = only_mask if mask else check
    compiled: Any = numba.njit(loop, fastmath=fastmath, parallel=parallel)
    compiled(*arrays)
    return lambda: compiled(*arrays)


class Polars:
    """Lazy frames: join marks and brackets, group by account. Needs polars."""

    def __init__(self, p: Population) -> None:
        import polars as pl

        table = Numpy(p)
        numbers = np.arange(INSTRUMENTS, dtype=np.uint32)
        account = np.arange(len(p), dtype=np.uint32)
        self.accounts = pl.DataFrame(
            {"account": account, "cash": table.collateral, "chosen": 1 / p.leverage}
        )
        self.positions = pl.DataFrame(
            {
                "account": np.repeat(account, np.diff(p.offsets)),
                "instrument": p.instrument.astype(np.uint32),
                "quantity": table.quantity,
                "entry": table.entry,
            }
        )
        self.marks = pl.DataFrame({"instrument": numbers, "mark": table.marks})
        self.floors = pl.Series(table.floors)
        self.brackets = pl.DataFrame(
            {
                "instrument": np.repeat(numbers, BRACKETS),
                "tier": np.tile(np.arange(BRACKETS, dtype=np.uint32), INSTRUMENTS),
                "maintenance_rate": table.maintenance.ravel(),
                "initial_rate": table.initial.ravel(),
                "deduction": table.deductions.ravel(),
            }
        )

    def check(self) -> Any:
        """Check every account."""
        import polars as pl

        col = pl.col
        needed = col("notional") * col("maintenance_rate") - col("deduction")
        opening = col("notional") * pl.max_horizontal("initial_rate", "chosen")
        sums = (
            self.positions.lazy()
            .join(self.marks.lazy(), on="instrument", how="left")
            .join(self.accounts.lazy().select("account", "chosen"), on="account", how="left")
            .with_columns(notional=col("quantity").abs() * col("mark"))
            .with_columns(tier=pl.lit(self.floors).search_sorted(col("notional"), "right") - 1)
            .join(self.brackets.lazy(), on=["instrument", "tier"], how="left")
            .group_by("account")
            .agg(
                pnl=((col("mark") - col("entry")) * col("quantity")).sum(),
                maintenance=(needed * USD).ceil().sum() / USD,
                initial=(opening * USD).ceil().sum() / USD,
            )
        )
        return self._verdicts(sums)

    def _verdicts(self, sums: Any) -> Any:
        import polars as pl

        equity, initial, maintenance = (pl.col(n) for n in ("equity", "initial", "maintenance"))
        verdict = pl.when(equity < 0).then(3).when(equity < maintenance).then(2)
        verdict = verdict.when(equity < initial).then(1).otherwise(0).cast(pl.UInt8)
        return (
            self.accounts.lazy()
            .join(sums, on="account", how="left", maintain_order="left")
            .with_columns(equity=pl.col("cash") + pl.col("pnl"))
            .select(equity, initial, maintenance, status=verdict)
            .collect()
        )


class PolarsTuned(Polars):
    """The same for speed only: gathers from small columns instead of joins."""

    def __init__(self, p: Population) -> None:
        import polars as pl

        super().__init__(p)
        chosen = np.repeat(1 / p.leverage, np.diff(p.offsets))
        self.positions = self.positions.with_columns(chosen=pl.Series(chosen))

    def check(self) -> Any:
        """Check every account."""
        import polars as pl

        col = pl.col

        def of_bracket(name: str) -> Any:
            return pl.lit(self.brackets[name]).gather(col("where"))

        tier = pl.lit(self.floors).search_sorted(col("notional"), "right") - 1
        needed = col("notional") * of_bracket("maintenance_rate") - of_bracket("deduction")
        opening = col("notional") * pl.max_horizontal(of_bracket("initial_rate"), "chosen")
        sums = (
            self.positions.lazy()
            .with_columns(mark=pl.lit(self.marks["mark"]).gather(col("instrument")))
            .with_columns(notional=col("quantity").abs() * col("mark"))
            .with_columns(where=col("instrument") * BRACKETS + tier)
            .with_columns(
                pnl=(col("mark") - col("entry")) * col("quantity"),
                needed=(needed * USD).ceil(),
                opening=(opening * USD).ceil(),
            )
            .group_by("account")
            .agg(
                pnl=col("pnl").sum(),
                maintenance=col("needed").sum() / USD,
                initial=col("opening").sum() / USD,
            )
        )
        return self._verdicts(sums)


def in_quanta(answer: Any) -> Columns:
    """Columns of a float answer in quanta, to be compared; still floats."""
    if isinstance(answer, np.ndarray):
        return {"liquidatable": answer}
    if isinstance(answer, list):
        answer = [np.array(column) for column in zip(*answer, strict=True)]
    elif not isinstance(answer, tuple):
        answer = answer.to_dict(as_series=False).values()
        answer = [np.array(column) for column in answer]
    equity, initial, maintenance, verdict = answer
    amounts = {"equity": equity, "initial": initial, "maintenance": maintenance}
    return {name: np.rint(column * USD) for name, column in amounts.items()} | {"status": verdict}

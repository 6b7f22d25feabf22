"""What a tick costs without a watch: exact answers by delta rescans in numpy and numba, and lrvx.

A delta rescan keeps each account's gap (equity less maintenance). A tick moves the gap of every
holder of its instrument by what that one position's value and requirement move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from population import FLOORS_USD, INSTRUMENTS, PPM, USD, requirement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from population import Ints, Population

FLAT_PPM = 5_000
STEP = 3e-4


class Walk:
    """Ticks of one instrument each, drawn evenly, 3 basis points up or down."""

    def __init__(self, marks: Ints, seed: int, instruments: int = INSTRUMENTS) -> None:
        self.marks = marks.copy()
        self.rng = np.random.default_rng([seed, ord("w")])
        self.instruments = instruments

    def draw(self, count: int) -> tuple[Ints, Ints]:
        """Instruments and marks of the next so many ticks."""
        of = self.rng.integers(0, self.instruments, count)
        steps = 1 + STEP * self.rng.choice((-1.0, 1.0), count)
        ticks = np.empty(count, np.int64)
        for row, (place, step) in enumerate(zip(of.tolist(), steps.tolist(), strict=True)):
            self.marks[place] = max(1, round(float(self.marks[place]) * step))
            ticks[row] = self.marks[place]
        return of, ticks


class Holders:
    """Positions by instrument, each with what it adds to its account's gap, and the gaps."""

    def __init__(self, p: Population, taken: np.ndarray[Any, Any]) -> None:
        account = np.repeat(np.arange(len(p)), np.diff(p.offsets))
        order = np.argsort(p.instrument, kind="stable")
        order = order[~taken[account[order]]]
        self.ptr = np.searchsorted(p.instrument[order], np.arange(INSTRUMENTS + 1))
        self.account = account[order]
        self.quantity = p.quantity[order]
        self.p = p
        self.gaps = p.collateral - np.add.reduceat(p.cost, p.offsets[:-1])
        self.adds = np.zeros(len(order), np.int64)

    def at(self, marks: Ints) -> Holders:
        """Bring all of it to these marks."""
        for place in range(INSTRUMENTS):
            self.numpy_tick(place, int(marks[place]))
        return self

    def numpy_tick(self, place: int, mark: int) -> Ints:
        """One tick: accounts whose gap falls below zero, in int64, exactly."""
        rows = slice(self.ptr[place], self.ptr[place + 1])
        account, p = self.account[rows], self.p
        value = self.quantity[rows] * mark
        notional = np.abs(value)
        bracket = np.searchsorted(p.floors, notional, side="right") - 1
        rates, deductions = p.maintenance_ppm[place], p.deductions[place]
        adds = value - requirement(notional, rates[bracket], deductions[bracket])
        before = self.gaps[account]
        after = before + adds - self.adds[rows]
        self.gaps[account] = after
        self.adds[rows] = adds
        fallen: Ints = account[(after < 0) & (before >= 0)]
        return fallen

    def numba_tick(self) -> Callable[[int, int], Ints]:
        """The same in one compiled loop of floats, as a quant would write it."""
        import numba

        floors = np.array(FLOORS_USD, np.float64) * USD
        rates = self.p.maintenance_ppm / PPM
        deductions = self.p.deductions.astype(np.float64)
        state = (self.ptr, self.account, self.quantity.astype(np.float64))
        gaps, added = self.gaps.astype(np.float64), self.adds.astype(np.float64)

        @numba.njit  # type: ignore[untyped-decorator]
        def tick(
            place: int, mark: float, ptr: Any, account: Any, quantity: Any, gaps: Any, added: Any
        ) -> Any:
            found = []
            for row in range(ptr[place], ptr[place + 1]):
                value = quantity[row] * mark
                notional = abs(value)
                bracket = 0
                for n in range(1, len(floors)):
                    bracket += notional >= floors[n]
                rate, deduction = rates[place, bracket], deductions[place, bracket]
                adds = value - np.ceil(notional * rate - deduction)
                who = account[row]
                before = gaps[who]
                after = before + adds - added[row]
                gaps[who] = after
                added[row] = adds
                if after < 0 and before >= 0:
                    found.append(who)
            return np.array(found, np.int64) if found else np.empty(0, np.int64)

        return lambda place, mark: tick(place, float(mark), *state, gaps, added)


def flat_card(p: Population) -> str:
    """Return the card of a population whose requirement is one rate of the notional."""
    head, *_ = p.card().partition("\n[[instrument]]")
    row = f'{{ floor = "0", maintenance = "{FLAT_PPM}/{PPM}", initial = "{2 * FLAT_PPM}/{PPM}" }}'
    tiers = f'[instrument.tiers]\nby = "notional"\nbrackets = [{row}]\n'
    grid = 'kind = "linear"\nprice_tick = "0.001"\nmark_tick = "0.001"\nlot = "0.001"\n'
    return head + "".join(f'\n[[instrument]]\nsymbol = "{s}"\n{grid}{tiers}' for s in p.symbols)


def flat_gaps(p: Population, marks: Ints) -> Ints:
    """Equity less maintenance of each account under the one rate."""
    value = p.quantity * marks[p.instrument]
    adds = value - p.cost - requirement(np.abs(value), np.full(len(value), FLAT_PPM, np.int64))
    gaps: Ints = p.collateral + np.add.reduceat(adds, p.offsets[:-1])
    return gaps


class Lrvx:
    """The liquidation engine of lrvx with the same cross accounts, in dollars."""

    def __init__(self, p: Population, accounts: Iterable[int]) -> None:
        import lrvx

        self.engine = lrvx.LiquidationEngine()
        self.engine.add_tier(0.0, FLAT_PPM / PPM)
        self.engine.set_adl_enabled(enabled=False)
        self.engine.set_insurance_fund_capital(1e15)
        self.engine.set_liquidation_slippage_bps(0.0)
        self.kept = []
        for number in accounts:
            account = lrvx.Account(int(number), float(p.collateral[number]) / USD)
            account.set_margin_mode("cross")
            for row in range(p.offsets[number], p.offsets[number + 1]):
                of = int(p.instrument[row])
                entry = float(p.entry[row]) / 1e3
                account.open_position(of, float(p.quantity[row]) / 1e3, entry)
                account.set_mark(of, float(p.marks[of]) / 1e3)
            self.engine.attach_account(account)
            self.kept.append(account)

    def tick(self, place: int, ticks: int) -> set[int]:
        """One mark: whom it liquidates."""
        return set(self.engine.on_mark(place, ticks / 1e3)["liquidated"])

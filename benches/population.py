"""Synthetic accounts with the shape of a perpetual-futures venue, and their exact answers.

200 linear instruments, ten brackets each; one to eight positions an account, on instruments drawn
by Zipf weight; lognormal gross notional and effective leverage. Population `a` has median leverage
4, `h` 15; `on_the_line`, `thousandfold`, `past_the_lanes` and `Multi` are made from them.
Everything is drawn from one seed, so a size and a seed name a population. The unit is the quantum,
0.000001 USD; one tick times one lot is one quantum.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Columns = dict[str, NDArray[Any]]

FULL_SIZE = 1_000_000  # the bars hold here
SIZE = int(os.environ.get("SIZE", "1000000"))
SEED = int(os.environ.get("SEED", "20251010"))

INSTRUMENTS = 200
USD = 1_000_000  # quanta
PPM = 1_000_000
FLOORS_USD = (0, 5_000, 25_000, 100_000, 250_000, 10**6, 2_500_000, 5 * 10**6, 10**7, 25 * 10**6)
BRACKETS = len(FLOORS_USD)
STEPS_X100 = (100, 125, 200, 250, 500, 1_000, 1_250, 1_500, 2_500, 5_000)
BASE_PPM = (4_000, 5_000, 10_000)
LEVERAGES = (5, 10, 20, 25, 50, 100)
MEDIAN_LEVERAGE = {"a": 4.0, "h": 15.0}
MOST_POSITIONS = 8
LIQUIDATABLE_AT_START = 0.001
NEAR_THE_LINE = 0.009
POSITION_BELOW = 2.0**57
COLLATERAL_BELOW = 2.0**62
ON_THE_LINE = 100_000
PAST_LANES = 2**61


@dataclass(frozen=True)
class Population:
    """Columns of one population; positions of account `i` are rows `offsets[i]:offsets[i + 1]`."""

    name: str
    marks: Ints  # ticks, per instrument
    maintenance_ppm: Ints  # instruments x brackets
    offsets: Ints  # accounts + 1
    instrument: Ints  # per position
    quantity: Ints  # lots, signed
    cost: Ints  # quanta, signed
    collateral: Ints  # quanta, per account
    leverage: Ints  # chosen by the account

    def __len__(self) -> int:
        """Return the number of accounts."""
        return len(self.collateral)

    @property
    def entry(self) -> Ints:
        """Average entry in ticks; costs are whole multiples of it."""
        return self.cost // self.quantity

    @cached_property
    def answer(self) -> Columns:
        """What the check must say, in quanta."""
        equity, initial, maintenance = self.sums()
        status = (equity < initial).astype(np.uint8)
        status[equity < maintenance] = 2
        status[equity < 0] = 3
        return {
            "equity": equity,
            "initial": initial,
            "maintenance": maintenance,
            "status": status,
            "liquidatable": equity < maintenance,  # all hold something, so all require something
        }

    def sums(self) -> tuple[Ints, Ints, Ints]:
        """Equity, initial and maintenance of each account, exactly."""
        return exact(self)

    @property
    def floors(self) -> Ints:
        """Bracket floors in quanta, the same for every instrument."""
        return np.array(FLOORS_USD, dtype=np.int64) * USD

    @property
    def initial_ppm(self) -> Ints:
        """Initial rates: twice the maintenance rates."""
        return 2 * self.maintenance_ppm

    @cached_property
    def deductions(self) -> Ints:
        """Deductions in quanta that make the requirement continuous at each floor."""
        steps = np.diff(self.maintenance_ppm, axis=1) * (self.floors[1:] // PPM)
        return np.concatenate(
            [np.zeros((INSTRUMENTS, 1), dtype=np.int64), np.cumsum(steps, axis=1)], axis=1
        )

    @cached_property
    def symbols(self) -> list[str]:
        """Instrument names, most traded first."""
        return [f"I{n:03d}" for n in range(INSTRUMENTS)]

    @cached_property
    def accounts(self) -> list[str]:
        """Account names; their order is the order of the columns."""
        return [f"acct{n:07d}" for n in range(len(self))]

    def card(self) -> str:
        """Return the venue card of the population."""
        head = (
            'schema = "aivora-card/0"\nname = "population"\n\n[asset.USD]\nquantum = "0.000001"\n'
            '\n[rules]\nsettlement = "USD"\n'
        )
        return head + "".join(self._instrument(n) for n in range(INSTRUMENTS))

    def _instrument(self, number: int) -> str:
        rows = "".join(
            f'  {{ floor = "{floor}", maintenance = "{m}/{PPM}", initial = "{i}/{PPM}" }},\n'
            for floor, m, i in zip(
                FLOORS_USD, self.maintenance_ppm[number], self.initial_ppm[number], strict=True
            )
        )
        return (
            f'\n[[instrument]]\nsymbol = "{self.symbols[number]}"\nkind = "linear"\n'
            'price_tick = "0.001"\nmark_tick = "0.001"\nlot = "0.001"\n'
            f'[instrument.tiers]\nby = "notional"\ndeduction = "derived"\nbrackets = [\n{rows}]\n'
        )

    def asset_prices(self) -> dict[str, str]:
        """Return prices of collateral assets, where there are several."""
        return {}

    def tables(self) -> dict[str, dict[str, Any]]:
        """Return the keyword arguments of `Portfolio.from_tables`, names coded."""
        each = np.arange(len(self))
        accounts = (each, self.accounts)
        return {
            "positions": {
                "account": (np.repeat(each, np.diff(self.offsets)), self.accounts),
                "instrument": (self.instrument, self.symbols),
                "quantity_lots": self.quantity,
                "cost_quanta": self.cost,
            },
            "collateral": {"account": accounts, "amount_quanta": self.collateral},
            "pools": {"account": accounts, "leverage": self.leverage},
        }

    def mark_ticks(self) -> dict[str, int]:
        """Return the marks in ticks by instrument."""
        return dict(zip(self.symbols, self.marks.tolist(), strict=True))

    def first(self, accounts: int) -> Population:
        """Return the first `accounts` accounts as a population of its own."""
        end = int(self.offsets[accounts])
        return replace(
            self,
            offsets=self.offsets[: accounts + 1],
            instrument=self.instrument[:end],
            quantity=self.quantity[:end],
            cost=self.cost[:end],
            collateral=self.collateral[:accounts],
            leverage=self.leverage[:accounts],
        )


def distinct_instruments(rng: np.random.Generator, counts: Ints) -> Ints:
    """Draw distinct instruments for each account, one row each, by weight 1/rank; -1 where none."""
    weights = np.cumsum(1.0 / np.arange(1, INSTRUMENTS + 1))
    weights /= weights[-1]
    drawn = np.full((len(counts), MOST_POSITIONS), -1, dtype=np.int64)
    for slot in range(MOST_POSITIONS):
        open_rows = np.flatnonzero(counts > slot)
        while len(open_rows):
            drawn[open_rows, slot] = np.searchsorted(weights, rng.random(len(open_rows)))
            again = (drawn[open_rows, :slot] == drawn[open_rows, slot : slot + 1]).any(axis=1)
            open_rows = open_rows[again]
    return drawn


def requirement(value: Ints, rate_ppm: Ints, deduction: Ints | int = 0) -> Ints:
    """`ceil(value x rate - deduction)` in int64; the product is split and never overflows."""
    whole, rest = np.divmod(value, PPM)
    return whole * rate_ppm - (-(rest * rate_ppm) // PPM) - deduction


def exact(p: Population) -> tuple[Ints, Ints, Ints]:
    """Equity, initial and maintenance of each account in exact integers, plainly.

    int64 holds all of it: values and costs of positions are refused past 2^57 quanta, collateral
    past 2^62, an account has at most eight positions, and rates are at most 1.
    """
    starts = p.offsets[:-1]
    sizes = np.abs(p.quantity.astype(np.float64))
    largest = max(float((sizes * p.marks[p.instrument]).max()), float(np.abs(p.cost).max()))
    if largest >= POSITION_BELOW or float(np.abs(p.collateral).max()) >= COLLATERAL_BELOW:
        raise OverflowError(largest)
    value = p.quantity * p.marks[p.instrument]
    notional = np.abs(value)
    bracket = np.searchsorted(p.floors, notional, side="right") - 1
    where = (p.instrument, bracket)
    maintenance = requirement(notional, p.maintenance_ppm[where], p.deductions[where])
    tier = requirement(notional, p.initial_ppm[where])
    chosen = -(-notional // np.repeat(p.leverage, np.diff(p.offsets)))
    return (
        p.collateral + np.add.reduceat(value - p.cost, starts),
        np.add.reduceat(np.maximum(tier, chosen), starts),
        np.add.reduceat(maintenance, starts),
    )


def population(name: str, size: int = SIZE, seed: int = SEED) -> Population:
    """Draw population `name` (`a` or `h`) with `size` accounts."""
    rng = np.random.default_rng([seed, ord(name)])
    marks = np.exp(rng.uniform(np.log(2e4), np.log(2e6), INSTRUMENTS)).astype(np.int64)
    base = rng.choice(np.array(BASE_PPM, dtype=np.int64), INSTRUMENTS)
    rates = base[:, None] * np.array(STEPS_X100, dtype=np.int64) // 100

    counts = 1 + rng.binomial(MOST_POSITIONS - 1, 2 / 7, size)
    drawn = distinct_instruments(rng, counts)
    held = drawn >= 0
    instrument = drawn[held]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    starts = offsets[:-1]

    gross = np.clip(2_000 * np.exp(2.0 * rng.standard_normal(size)), 20, 5e7) * USD
    shares = rng.exponential(size=len(instrument))
    shares /= np.repeat(np.add.reduceat(shares, starts), counts)
    mark = marks[instrument]
    lots = np.maximum(1, np.rint(shares * np.repeat(gross, counts) / mark)).astype(np.int64)
    mostly_long = np.where(rng.random(size) < 0.6, 0.85, 0.15)  # the chance that a position is long
    side = np.where(rng.random(len(lots)) < np.repeat(mostly_long, counts), 1, -1)
    entry = np.rint(mark * rng.uniform(0.97, 1.03, len(lots))).astype(np.int64)

    draft = Population(
        name=name,
        marks=marks,
        maintenance_ppm=rates,
        offsets=offsets,
        instrument=instrument,
        quantity=lots * side,
        cost=lots * side * entry,
        collateral=np.zeros(size, dtype=np.int64),
        leverage=rng.choice(np.array(LEVERAGES, dtype=np.int64), size),
    )
    pnl, _, maintenance = exact(draft)
    held_gross = np.add.reduceat(lots * mark, starts)
    effective = MEDIAN_LEVERAGE[name] * np.exp(0.9 * rng.standard_normal(size))
    buffer = held_gross / effective - maintenance
    near = held_gross * NEAR_THE_LINE * rng.uniform(0.01, 1.0, size)
    buffer = np.where(buffer > 0, buffer, near)
    buffer = np.where(rng.random(size) < LIQUIDATABLE_AT_START, -near, buffer)
    equity = maintenance + np.rint(buffer).astype(np.int64)
    return replace(draft, collateral=equity - pnl)


def on_the_line(size: int, beside: tuple[int, ...], seed: int = SEED) -> Population:
    """Population a, the equity of every account so many quanta beside its maintenance."""
    draft = population("a", size, seed)
    off = np.random.default_rng([seed, ord("l")]).choice(np.array(beside, dtype=np.int64), size)
    now = draft.answer
    collateral = draft.collateral + now["maintenance"] + off - now["equity"]
    return replace(draft, name="on the line", collateral=collateral)


def thousandfold(p: Population) -> Population:
    """Every position and all collateral a thousand times as large."""
    amounts = {"quantity": p.quantity, "cost": p.cost, "collateral": p.collateral}
    larger = {name: column * 1_000 for name, column in amounts.items()}
    return replace(p, name="1000x", **larger)


def past_the_lanes(p: Population) -> Population:
    """The same positions with 2^61 quanta more of cash each, which no 64-bit lane holds."""
    return replace(p, name="wide", collateral=p.collateral + PAST_LANES)


@dataclass(frozen=True)
class Asset:
    """A collateral asset: its price in dollars, and haircuts in percent from amounts on."""

    name: str
    price: int
    haircuts: tuple[tuple[int, int], ...]  # floor in whole units, percent

    def card(self) -> str:
        """Return its part of the card; one tick of its price is 0.01 USD."""
        rows = "".join(
            f'  {{ floor = "{floor}", haircut = "0.{percent:02d}" }},\n'
            for floor, percent in self.haircuts
        )
        return (
            f'[asset.{self.name}]\nquantum = "0.00000001"\nprice_tick = "0.01"\n'
            f"haircuts = [\n{rows}]\n\n"
        )

    def value(self, balance: Ints) -> Ints:
        """What balances of it (quanta, not negative) count, in quanta of the dollar, rounded down.

        `floor(t x u x sum of s_i (1 - h_i))` of docs/spec/collateral.md with `t` = 100 x price and
        `u` = 1/10,000. The product is split, so that int64 holds it.
        """
        counted = np.zeros_like(balance)
        ends = [floor * COIN for floor, _ in self.haircuts[1:]]
        for (floor, percent), end in zip(self.haircuts, [*ends, None], strict=True):
            part = np.clip(balance - floor * COIN, 0, None if end is None else end - floor * COIN)
            counted += part * (100 - percent)
        whole, rest = np.divmod(counted, 10_000)
        value: Ints = whole * self.price + rest * self.price // 10_000
        return value


COIN = 10**8  # quanta
ASSETS = (
    Asset("BTC", 60_000, ((0, 5), (1, 10), (10, 20))),
    Asset("ETH", 3_000, ((0, 10), (10, 15), (100, 25))),
)


@dataclass(frozen=True)
class Multi(Population):
    """A population whose collateral is in three assets, two of them with haircuts by slices."""

    balances: tuple[Ints, ...]  # of `ASSETS`, in quanta; `collateral` is the dollars

    def card(self) -> str:
        """Return the venue card: pools of several assets, valued in dollars."""
        rules = '[rules]\nsettlement = "USD"\n'
        several = 'valuation = "USD"\nmargin_mode = "multi"\n'
        coins = "".join(asset.card() for asset in ASSETS)
        return super().card().replace(rules, coins + rules + several)

    def asset_prices(self) -> dict[str, str]:
        """Return the prices of the coins."""
        return {asset.name: str(asset.price) for asset in ASSETS}

    def tables(self) -> dict[str, dict[str, Any]]:
        """Return the keyword arguments of `Portfolio.from_tables`."""
        held = (self.collateral, *self.balances)
        names = ("USD", *(asset.name for asset in ASSETS))
        each = np.arange(len(self))
        collateral = {
            "account": (np.tile(each, len(held)), self.accounts),
            "asset": (np.repeat(np.arange(len(held)), len(self)), list(names)),
            "amount_quanta": np.concatenate(held),
        }
        return super().tables() | {"collateral": collateral}

    def sums(self) -> tuple[Ints, Ints, Ints]:
        """Equity, initial and maintenance of each account, exactly."""
        equity, initial, maintenance = exact(self)
        for asset, balance in zip(ASSETS, self.balances, strict=True):
            equity = equity + asset.value(balance)
        return equity, initial, maintenance

    def first(self, accounts: int) -> Multi:
        """Return the first `accounts` accounts as a population of its own."""
        plain = super().first(accounts)
        assert isinstance(plain, Multi)
        return replace(plain, balances=tuple(held[:accounts] for held in self.balances))


def several_assets(p: Population, seed: int = SEED) -> Multi:
    """Split the collateral of each account over three assets of the same worth."""
    rng = np.random.default_rng([seed, ord("m")])
    shares = rng.dirichlet(np.ones(1 + len(ASSETS)), len(p))
    left, balances = p.collateral, []
    for asset, share in zip(ASSETS, shares.T, strict=False):
        worth = np.maximum(0, p.collateral * share)
        balance = (worth * (COIN // USD) / asset.price).astype(np.int64)
        left = left - balance * asset.price // (COIN // USD)
        balances.append(balance)
    parts = {f.name: getattr(p, f.name) for f in fields(Population)}
    return Multi(**parts | {"name": "multi", "collateral": left}, balances=tuple(balances))

"""Seeded venues, portfolios and books: random ones, and ones that sit exactly on an edge.

Everything comes out as plain tables (rows of strings and integers) and marks in ticks, so that
the core and the oracle read the same input through their own front doors.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

from aivora_core.audit import oracle

Row = dict[str, Any]
Levels = list[tuple[int, int]]

QUANTUM_DIGITS = (0, 2, 6, 8, 18)
LEVERAGES = ("1", "2", "3", "5", "7", "10", "12.5", "20", "50", "100", "125")
MAX_LEVERAGES = (125, 100, 75, 62, 50, 40, 31, 25, 20, 15, 12, 10, 6, 5, 4, 3, 2, 1)
FEES = ("0", "0.0002", "0.0004", "0.0005", "0.00075", "0.001", "1/3000", "0.05")
ACCOUNTS = ("alice", "bob", "carol-", "Zoë", "é", "e\u0301", "山田", "\U0001f600", "\uffee", "a")
POOLS = ("cross", "iso-1", "sub/2", "é", "Cross", "x")


@dataclass(frozen=True)
class Scale:
    """What the generator keeps in mind of an instrument: ticks, lots and quanta."""

    symbol: str
    k: int
    mark: int
    lots_max: int
    floors: tuple[int, ...]
    by: str
    lot: Fraction
    mark_tick: Fraction
    maintenance: tuple[Fraction, ...]


@dataclass
class Case:
    """One venue with its marks and four tables."""

    tree: dict[str, Any]
    marks: dict[str, int]
    scales: list[Scale]
    positions: list[Row] = field(default_factory=list)
    collateral: list[Row] = field(default_factory=list)
    orders: list[Row] = field(default_factory=list)
    pools: list[Row] = field(default_factory=list)

    def tables(self) -> dict[str, list[Row]]:
        """Give the four tables by name."""
        return {
            "positions": self.positions,
            "collateral": self.collateral,
            "orders": self.orders,
            "pools": self.pools,
        }


def text(value: Fraction) -> str:
    """Write a terminating decimal exactly, without an exponent."""
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
    whole = abs((value * 10**digits).numerator)
    sign = "-" if value < 0 else ""
    if digits == 0:
        return f"{sign}{whole}"
    return f"{sign}{whole // 10**digits}.{whole % 10**digits:0{digits}d}"


def rate_text(value: Fraction) -> str:
    """Write a rate as a decimal where it terminates, as a fraction otherwise."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return text(value) if rest == 1 else f"{value.numerator}/{value.denominator}"


def log_uniform(rng: random.Random, low: int, high: int) -> int:
    """Draw a whole number, every order of magnitude about equally likely."""
    bits = rng.randint(low.bit_length(), high.bit_length())
    return max(low, min(high, rng.getrandbits(bits)))


# --- cards ------------------------------------------------------------------------------------


def make_rules(rng: random.Random) -> Row:
    """Draw the rules; every combination is reachable."""
    rules: Row = {"settlement": "USD"}
    choices = {
        "trigger": ("strict", "non_strict"),
        "maintenance_basis": ("mark", "mark", "entry"),
        "initial_basis": ("mark", "mark", "entry"),
        "maintenance_from": ("explicit", "explicit", "half_initial"),
        "closing_fee": ("none", "mark", "bankruptcy"),
        "bankruptcy_fee": ("none", "taker"),
    }
    for key, values in choices.items():
        rules[key] = rng.choice(values)
    needs_fee = rules["closing_fee"] != "none" or rules["bankruptcy_fee"] != "none"
    if needs_fee or rng.random() < 0.5:
        rules["taker_fee"] = rng.choice(FEES)
    return rules


def make_rates(rng: random.Random, rules: Row, count: int) -> list[Row]:
    """Draw ``count`` rising pairs of rates, as a card would write them."""
    if rules["maintenance_from"] == "half_initial":
        levels = sorted(rng.sample(MAX_LEVERAGES[:-1], count), reverse=True)
        if rng.random() < 0.3:
            return [{"initial": rate_text(Fraction(1, level))} for level in levels]
        return [{"max_leverage": str(level)} for level in levels]
    lonely = count == 1 and rules["closing_fee"] == "none"
    if lonely and rng.random() < 0.2:  # a denominator as large as allowed
        return [{"maintenance": "1/999999937", "initial": "999999936/999999937"}]
    grain = rng.choice((1000, 10_000, 1_000_000, 75, 1024, 3000))
    least = max(1, grain // 1000)
    steps = sorted(rng.randint(least, max(least, grain // 2)) for _ in range(count))
    rates: list[Row] = []
    initial = Fraction(0)
    for step in steps:
        maintenance = Fraction(step, grain)
        stretch = Fraction(rng.choice((100, 125, 150, 200)), 100)
        initial = max(initial, min(Fraction(1), maintenance * stretch))
        rates.append({"maintenance": rate_text(maintenance), "initial": rate_text(initial)})
    if count == 1 and rng.random() < 0.05:  # maintenance plus fee is exactly one
        fee = oracle.rational(rules.get("taker_fee", "0"), "taker_fee")
        return [{"maintenance": rate_text(1 - fee), "initial": "1"}]
    return rates


def make_floors(rng: random.Random, unit: int, top: int, count: int) -> list[int]:
    """Draw ``count`` rising floors from 0; multiples of ``unit`` can be hit exactly."""
    found = {0}
    for _ in range(20 * count):
        if len(found) == count:
            break
        drawn = log_uniform(rng, 1, max(1, top))
        found.add(max(1, drawn // unit) * unit if rng.random() < 0.7 else drawn)
    return sorted(found)


def make_slope(rng: random.Random, lot: Fraction, lots_max: int) -> tuple[Row, Fraction]:
    """Draw a ``size_slope`` whose rates stay below one up to ``lots_max`` lots."""
    maintenance = Fraction(rng.randint(1, 200), 1000)
    initial = maintenance + Fraction(rng.randint(0, 200), 1000)
    room = Fraction(1, 4) / (lots_max * lot)
    slope = Fraction(0)
    for digits in range(3, 8):
        most = min(10**digits, (room * 10**digits).__floor__())
        if most >= 1:
            slope = Fraction(rng.randint(1, most), 10**digits)
            break
    tiers = {
        "by": "size_slope",
        "maintenance_base": text(maintenance),
        "initial_base": text(initial),
        "slope": text(slope),
    }
    return tiers, maintenance


def make_tiers(
    rng: random.Random, rules: Row, grids: tuple[Fraction, Fraction], size: tuple[int, int]
) -> tuple[Row, tuple[int, ...], tuple[Fraction, ...]]:
    """Draw tiers; ``grids`` are quantum and lot, ``size`` quanta per lot and most lots."""
    quantum, lot = grids
    per_lot, lots_max = size
    by = rng.choice(("notional", "notional", "notional", "size", "size_slope"))
    if by == "size_slope" and rules["maintenance_from"] == "explicit":
        tiers, maintenance = make_slope(rng, lot, lots_max)
        return tiers, (), (maintenance,)
    if by == "size_slope":
        by = "notional"
    count = rng.choice((1, 2, 3, 4, 6))
    if by == "notional":
        grid, floors = quantum, make_floors(rng, per_lot, per_lot * lots_max, count)
    else:
        grid, floors = lot, make_floors(rng, 1, lots_max, count)
    rates = make_rates(rng, rules, len(floors))
    derived = by == "notional" and rng.random() < 0.6
    brackets: list[Row] = []
    maintenances = [_maintenance_of(row) for row in rates]
    deduction = Fraction(0)
    for i, floor in enumerate(floors):
        row: Row = {"floor": text(floor * grid), **rates[i]}
        if i + 1 < len(floors) and rng.random() < 0.7:
            row["cap"] = text(floors[i + 1] * grid)
        if i:
            deduction += floor * grid * (maintenances[i] - maintenances[i - 1])
        if derived and "/" not in rate_text(deduction) and rng.random() < 0.5:
            row["amount"] = text(deduction)
        brackets.append(row)
    tiers = {"by": by, "brackets": brackets}
    if derived or rng.random() < 0.5:
        tiers["deduction"] = "derived" if derived else "none"
    return tiers, tuple(floors), tuple(maintenances)


def _maintenance_of(row: Row) -> Fraction:
    if "maintenance" in row:
        return oracle.rational(row["maintenance"], "maintenance")
    if "initial" in row:
        return oracle.rational(row["initial"], "initial") / 2
    return Fraction(1, 2 * int(row["max_leverage"]))


def make_instrument(
    rng: random.Random, rules: Row, quantum: Fraction, at: int, *, extreme: bool
) -> tuple[Row, Scale]:
    """Draw one instrument; the extreme ones reach 10^30 quanta."""
    symbol = rng.choice(("BTC", "ETH", "SOL", "1000PEPE", "X")) + f"-{at}"
    mark_tick = Fraction(rng.choice((1, 1, 1, 5, 25)), 10 ** rng.randint(0, 6))
    k = rng.choice((1, 1, 2, 5, 10, 100, 10**4, 10**6 if extreme else 125))
    lot = Fraction(1, 10 ** rng.randint(0, 5))
    multiplier = k * quantum / mark_tick / lot
    while multiplier.denominator not in {1, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 1000}:
        multiplier *= 10
        k *= 10
    if k > 10**10:  # K would pass its bound: start from a plainer grid
        mark_tick, lot, multiplier, k = Fraction(1), Fraction(1), quantum, 1
    per_price_tick = rng.choice((1, 1, 2, 5, 10, 100))
    mark = log_uniform(rng, 1, 10 ** rng.choice((1, 3, 5, 7, 12 if extreme else 7)))
    lots_max = 10 ** (12 if extreme else rng.randint(1, 6))
    tiers, floors, maintenance = make_tiers(rng, rules, (quantum, lot), (mark * k, lots_max))
    row: Row = {
        "symbol": symbol,
        "kind": "linear",
        "price_tick": text(mark_tick * per_price_tick),
        "mark_tick": text(mark_tick),
        "lot": text(lot),
        "tiers": tiers,
    }
    if multiplier != 1 or rng.random() < 0.5:
        row["multiplier"] = text(multiplier)
    scale = Scale(symbol, k, mark, lots_max, floors, tiers["by"], lot, mark_tick, maintenance)
    return row, scale


def make_venue(rng: random.Random, *, extreme: bool = False) -> Case:
    """Draw a venue with one to five instruments and a mark for each."""
    rules = make_rules(rng)
    quantum = Fraction(1, 10 ** rng.choice(QUANTUM_DIGITS))
    rows: list[Row] = []
    scales: list[Scale] = []
    for at in range(rng.randint(1, 5)):
        row, scale = make_instrument(rng, rules, quantum, at, extreme=extreme)
        rows.append(row)
        scales.append(scale)
    tree = {
        "schema": "aivora-card/0",
        "name": "made-up",
        "version": "1",
        "sources": ["made by the generator"],
        "asset": {"USD": {"quantum": text(quantum)}},
        "rules": rules,
        "instrument": rows,
    }
    return Case(tree, {scale.symbol: scale.mark for scale in scales}, scales)


# --- legs -------------------------------------------------------------------------------------


def make_lots(rng: random.Random, scale: Scale, basis: str) -> int:
    """Draw a size in lots; a third of them sit on a bracket's floor or one lot beside it."""
    most = max(1, scale.lots_max // 3)
    if len(scale.floors) > 1 and rng.random() < 0.35:
        floor = rng.choice(scale.floors[1:])
        if scale.by == "notional" and basis == "mark":
            floor = ceil(Fraction(floor, scale.mark * scale.k))
        if scale.by == "size" or basis == "mark":
            return max(1, floor + rng.choice((-1, 0, 1)))
    return log_uniform(rng, 1, most)


def make_cost(rng: random.Random, scale: Scale, lots: int, basis: str) -> int:
    """Draw a cost basis, signed like the size; with basis entry often on a floor."""
    size = abs(lots)
    on_floor = basis == "entry" and scale.by == "notional" and len(scale.floors) > 1
    if on_floor and rng.random() < 0.35:
        cost = max(0, rng.choice(scale.floors[1:]) + rng.choice((-1, 0, 1)))
        return cost if lots > 0 else -cost
    value = size * scale.mark * scale.k
    cost = value + value * rng.randint(-300, 300) // 1000
    if rng.random() < 0.5:
        cost += rng.randint(-3, 3)
    return max(1, cost) if lots > 0 else -max(1, cost)


def make_sides(rng: random.Random, scale: Scale, basis: str) -> list[tuple[str, int]]:
    """Draw the legs of one instrument: net, one hedge leg, or a pair."""
    lots = make_lots(rng, scale, basis)
    kind = rng.random()
    if kind < 0.65:
        return [("net", lots if rng.random() < 0.5 else -lots)]
    if kind < 0.75:
        return [("long", lots) if rng.random() < 0.5 else ("short", -lots)]
    if kind < 0.85:
        return [("long", lots), ("short", -lots)]
    if kind < 0.92:
        return [("long", lots), ("short", -make_lots(rng, scale, basis))]
    rate = rng.choice(scale.maintenance)  # the pair whose slack hardly moves with the mark
    return [("long", lots), ("short", -max(1, int(lots * (1 - rate) / (1 + rate))))]


@dataclass
class Columns:
    """Which of the spellings of a number a case uses."""

    quantity: str
    cost: str
    accrued: str | None
    amount: str

    @classmethod
    def draw(cls, rng: random.Random) -> Columns:
        """Draw one spelling for each column."""
        return cls(
            quantity=rng.choice(("quantity", "quantity_lots")),
            cost=rng.choice(("cost", "cost_quanta", "cost_quanta", "entry")),
            accrued=rng.choice((None, "accrued", "accrued_quanta")),
            amount=rng.choice(("amount", "amount_quanta")),
        )


def spelled(name: str, whole: int, grid: Fraction) -> str | int:
    """Write a whole number of the grid as its column asks: an integer or a decimal text."""
    if name.endswith(("_lots", "_quanta")):
        return whole
    return text(whole * grid)


class Builder:
    """Adds pools to a case, row by row."""

    def __init__(self, rng: random.Random, case: Case) -> None:
        self.rng = rng
        self.case = case
        self.columns = Columns.draw(rng)
        self.card = oracle.Card.from_tree(case.tree)
        self.quantum = self.card.assets[self.card.rules.settlement].quantum

    def add(self, account: str, pool: str) -> None:
        """Add one pool without its collateral."""
        rng = self.rng
        kind = rng.choice(("cross", "cross", "isolated", "sub_account"))
        most = 1 if kind == "isolated" else len(self.case.scales)
        count = rng.randint(1 if rng.random() < 0.97 else 0, most)
        held = rng.sample(self.case.scales, count)
        self._settings(account, pool, kind, held)
        for scale in held:
            for leg, lots in make_sides(rng, scale, self.card.rules.maintenance_basis):
                self._position(account, pool, scale, (leg, lots))
                self._orders(account, pool, scale, leg)

    def _settings(self, account: str, pool: str, kind: str, held: list[Scale]) -> None:
        rng = self.rng
        row: Row = {"account": account, "pool": pool, "kind": kind}
        row["instrument"] = row["leverage"] = None
        if rng.random() < 0.4:
            row["leverage"] = rng.choice(LEVERAGES)
        self.case.pools.append(row)
        for scale in held:
            if rng.random() < 0.2:
                own = {"instrument": scale.symbol, "leverage": rng.choice(LEVERAGES)}
                self.case.pools.append({**row, **own})

    def _position(self, account: str, pool: str, scale: Scale, side: tuple[str, int]) -> None:
        rng, columns = self.rng, self.columns
        leg, lots = side
        row: Row = {"account": account, "pool": pool, "instrument": scale.symbol, "leg": leg}
        if rng.random() < 0.03:  # nothing held: an order, or an amount owed, keeps the leg
            lots = 0
        row[columns.quantity] = spelled(columns.quantity, lots, scale.lot)
        if columns.cost == "entry":
            off = scale.mark * rng.randint(-300, 300) // 1000 + rng.randint(-2, 2)
            row["entry"] = text(max(1, scale.mark + off) * scale.mark_tick)
        else:
            basis = self.card.rules.maintenance_basis
            cost = make_cost(rng, scale, lots, basis) if lots else 0
            row[columns.cost] = spelled(columns.cost, cost, self.quantum)
        if columns.accrued is not None:
            owed = 0
            if rng.random() < 0.5:
                owed = rng.choice((-1, 1)) * log_uniform(rng, 1, scale.mark * scale.k)
            row[columns.accrued] = spelled(columns.accrued, owed, self.quantum)
        self.case.positions.append(row)

    def _orders(self, account: str, pool: str, scale: Scale, leg: str) -> None:
        rng = self.rng
        for side in ("buy", "sell", "buy"):
            if rng.random() < 0.15:
                lots = log_uniform(rng, 1, max(1, scale.lots_max // 6))
                row: Row = {"account": account, "pool": pool, "instrument": scale.symbol}
                row |= {"leg": leg, "side": side}
                row[self.columns.quantity] = spelled(self.columns.quantity, lots, scale.lot)
                self.case.orders.append(row)

    def fund(self, *, extreme: bool) -> None:
        """Give every pool its collateral; half of them exactly on a line or one quantum off."""
        bare = oracle.pools_from_tables(
            self.card, self.case.positions, (), self.case.orders, self.case.pools
        )
        for pool in bare:
            amount = self._collateral(pool, extreme=extreme)
            if amount is None:
                continue
            row: Row = {"account": pool.account, "pool": pool.name}
            row[self.columns.amount] = spelled(self.columns.amount, amount, self.quantum)
            self.case.collateral.append(row)

    def _collateral(self, pool: oracle.Pool, *, extreme: bool) -> int | None:
        rng = self.rng
        scales = {scale.symbol: scale for scale in self.case.scales}
        if rng.random() < 0.5:
            size = 1000 + sum(
                abs(leg.quantity) * scales[leg.instrument].mark * scales[leg.instrument].k
                for leg in pool.legs
            )
            kind = rng.random()
            if kind < 0.05:
                return None
            if kind < 0.1:
                return -log_uniform(rng, 1, size)
            return log_uniform(rng, 1, 2 * size)
        own = oracle.assess(self.card, pool, self._marks_of_the_line(pool, scales))
        lines = [own.maintenance, own.maintenance, own.initial, 0]
        if extreme:
            lines += [2**63 - 1, -(2**63)]
        return rng.choice(lines) - own.equity + rng.choice((-1, 0, 1))

    def _marks_of_the_line(self, pool: oracle.Pool, scales: dict[str, Scale]) -> dict[str, int]:
        """Draw where the pool meets its line: mostly here, else at another mark of one leg."""
        rng, marks = self.rng, dict(self.case.marks)
        if not pool.legs or rng.random() < 0.6:
            return marks
        leg = rng.choice(pool.legs)
        scale = scales[leg.instrument]
        per_tick = abs(leg.quantity) * scale.k
        mark = scale.mark * rng.randint(300, 2500) // 1000
        if scale.by == "notional" and per_tick and len(scale.floors) > 1 and rng.random() < 0.5:
            edge = ceil(Fraction(rng.choice(scale.floors[1:]), per_tick))
            mark = edge + rng.choice((-1, 0, 1))
        marks[leg.instrument] = max(1, min(mark, 10 * scale.mark))
        return marks


def make_case(seed: int, pools: int, *, extreme: bool = False) -> Case:
    """Make one venue with ``pools`` pools; the same seed gives the same tables."""
    rng = random.Random(seed)  # noqa: S311 - seeded on purpose, nothing is secret
    case = make_venue(rng, extreme=extreme)
    builder = Builder(rng, case)
    for at in range(pools):
        account = f"{rng.choice(ACCOUNTS)}{at // 2}"
        builder.add(account, f"{rng.choice(POOLS)}{at}" if at % 2 else "cross")
    builder.fund(extreme=extreme)
    for table in (case.positions, case.collateral, case.orders, case.pools):
        rng.shuffle(table)
    return case


def as_columns(rows: list[Row]) -> dict[str, list[Any]]:
    """Turn rows that all have the same keys into columns."""
    if not rows:
        return {}
    return {key: [row[key] for row in rows] for key in rows[0]}


# --- books ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BookCase:
    """One book in price ticks and lots, best first, on a one-instrument venue."""

    tree: dict[str, Any]
    bids: Levels
    asks: Levels

    @property
    def instrument(self) -> oracle.Instrument:
        """The instrument, as the oracle reads it."""
        (own,) = oracle.Card.from_tree(self.tree).instruments.values()
        return own


def make_side(rng: random.Random, start: int, step: int, lots_max: int) -> Levels:
    """Draw one side from its best price outward; sometimes empty, never below one tick."""
    levels: Levels = []
    price = start
    count = rng.choice((0, 1, 1, 2, 5, 20, 60))
    while len(levels) < count and price >= 1:
        levels.append((price, log_uniform(rng, 1, lots_max)))
        price += step * rng.choice((1, 1, 1, 2, 3, rng.randint(1, 1000)))
    return levels


def make_book(seed: int) -> BookCase:
    """Make a book: deep, thin, one-sided, empty, near tick one, or very large."""
    rng = random.Random(seed)  # noqa: S311 - seeded on purpose, nothing is secret
    quantum = Fraction(1, 10 ** rng.choice(QUANTUM_DIGITS))
    rules: Row = {"settlement": "USD"}
    fee = rng.choice((None, *FEES))
    if fee is not None:
        rules["taker_fee"] = fee
    row, _ = make_instrument(
        rng, {**make_rules(rng), "closing_fee": "none"}, quantum, 0, extreme=False
    )
    row["tiers"] = {
        "by": "size",
        "brackets": [{"floor": 0, "maintenance": "0.01", "initial": "0.02"}],
    }
    tree = {
        "schema": "aivora-card/0",
        "name": "book",
        "asset": {"USD": {"quantum": text(quantum)}},
        "rules": rules,
        "instrument": [row],
    }
    best_bid = log_uniform(rng, 1, 10 ** rng.choice((1, 4, 7, 10)))
    best_ask = best_bid + rng.choice((1, 1, 2, 5, 1000))
    lots_max = 10 ** rng.choice((1, 3, 6, 12))
    bids = make_side(rng, best_bid, -1, lots_max)
    return BookCase(tree, bids, make_side(rng, best_ask, 1, lots_max))

"""Seeded venues, portfolios and books: random ones, and ones that sit exactly on an edge.

Everything comes out as plain tables (rows of strings and integers) and marks in ticks, so that
the core and the oracle read the same input through their own front doors.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, isqrt
from typing import Any

from aivora_core.audit import oracle

Row = dict[str, Any]
Levels = list[tuple[int, int]]

QUANTUM_DIGITS = (0, 2, 6, 8, 18)
LEVERAGES = ("1", "2", "3", "5", "7", "10", "12.5", "20", "50", "100", "125")
UGLY_LEVERAGES = ("7/3", "1.000001", "999999937/999983", "123456789/1000", "1000000000/999999999")
EDGES = tuple(2**bits for bits in (31, 32, 51, 52, 53, 56, 57, 58, 60, 62, 63, 64, 95, 96))
LOTS_EDGES = (2**31, 2**32, 2**52)
WEIGHTS = ("1", "1.1", "4/3", "1000000000/999999999", "1000")
CUTS = ("0", "0.05", "0.1", "1/3", "0.3", "0.999", "1")
MAX_LEVERAGES = (125, 100, 75, 62, 50, 40, 31, 25, 20, 15, 12, 10, 6, 5, 4, 3, 2, 1)
FEES = ("0", "0.0002", "0.0004", "0.0005", "0.00075", "0.001", "1/3000", "0.05")
ACCOUNTS = ("alice", "bob", "carol-", "Zoë", "é", "e\u0301", "山田", "\U0001f600", "\uffee", "a")
POOLS = ("cross", "iso-1", "sub/2", "é", "Cross", "x")


@dataclass(frozen=True)
class Scale:
    """What the generator keeps in mind of an instrument: ticks, lots and quanta.

    ``per_lot`` is what a lot is worth at the mark in quanta of ``settlement``, before any rounding.
    """

    symbol: str
    inverse: bool
    settlement: str
    quantum: Fraction
    per_lot: Fraction
    mark: int
    lots_max: int
    floors: tuple[int, ...]
    by: str
    lot: Fraction
    mark_tick: Fraction
    maintenance: tuple[Fraction, ...]

    @property
    def unit(self) -> int:
        """The value of a lot in whole quanta, at least one."""
        return max(1, int(self.per_lot))

    def mark_worth(self, lots: int, quanta: int) -> int:
        """Give about the mark at which ``lots`` are worth ``quanta``."""
        ratio = quanta / (lots * self.per_lot)
        return ceil(self.mark / ratio) if self.inverse else ceil(self.mark * ratio)


@dataclass
class Case:
    """One venue with its marks, the prices of its assets, and four tables."""

    tree: dict[str, Any]
    marks: dict[str, int]
    scales: list[Scale]
    positions: list[Row] = field(default_factory=list)
    collateral: list[Row] = field(default_factory=list)
    orders: list[Row] = field(default_factory=list)
    pools: list[Row] = field(default_factory=list)
    prices: dict[str, int] = field(default_factory=dict)
    entry_rounding: str | None = None

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


@dataclass(frozen=True)
class Coin:
    """One asset as the generator keeps it in mind; its price is in ticks."""

    name: str
    quantum: Fraction
    price: int


def make_assets(rng: random.Random, *, extreme: bool) -> tuple[Row, Row, list[Coin]]:
    """Draw one to four assets, the first of them mostly one that others are valued in."""
    names = ("USD", "BTC", "ETH", "EUR")[: rng.choice((1, 1, 2, 3, 4))]
    digits = [rng.choice(QUANTUM_DIGITS if len(names) == 1 else (0, 2, 6, 8)) for _ in names]
    if rng.random() < 0.5 and len(names) > 1:
        digits[0] = rng.choice((2, 6, 8))
    rules: Row = {}
    if len(names) > 1 or rng.random() < 0.3:
        rules["valuation"] = "USD"
        rules["withdrawal_profit"] = rng.choice(("0", "0", "0.5", "1", "1/3"))
        if rng.random() < 0.5:
            rules["margin_mode"] = rng.choice(("single", "multi"))
    table: Row = {}
    coins: list[Coin] = []
    for name, places in zip(names, digits, strict=True):
        quantum = Fraction(1, 10**places)
        row: Row = {"quantum": text(quantum)}
        price = log_uniform(rng, 1, 10 ** rng.choice((1, 3, 5, 12 if extreme else 6)))
        if name != "USD":
            shift = places - digits[0] + rng.randint(-9, 2 if extreme else 0)
            tick = Fraction(10) ** max(-18, min(6, shift)) * rng.choice((1, 1, 5, 25, 7))
            row["price_tick"] = text(tick)
            row |= make_haircuts(rng, quantum)
        coins.append(Coin(name, quantum, price))
        table[name] = row
    return table, rules, coins


def make_haircuts(rng: random.Random, quantum: Fraction) -> Row:
    """Draw a flat haircut or up to five slices, and what a debt counts."""
    row: Row = {}
    if rng.random() < 0.5:
        row["liability_weight"] = rng.choice(WEIGHTS)
    if rng.random() < 0.3:
        row["haircut"] = rng.choice(CUTS)
        return row
    count = rng.randint(1, 5)
    cuts = sorted((rng.choice(CUTS) for _ in range(count)), key=Fraction)
    floors = make_floors(rng, 1, 10 ** rng.choice((2, 6, 12, 20)), count)
    rows = zip(floors, cuts, strict=False)
    row["haircuts"] = [{"floor": text(low * quantum), "haircut": cut} for low, cut in rows]
    return row


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


def make_growing(
    rng: random.Random, by: str, grids: tuple[Fraction, Fraction], size: tuple[int, int]
) -> tuple[Row, Fraction]:
    """Draw tiers without brackets; pools whose rates they take past one are dropped again."""
    quantum, lot = grids
    per_lot, lots_max = size
    whole = 10_000 if by == "size_root" and rng.random() < 0.8 else 1000
    maintenance = Fraction(rng.randint(1, 200), whole)
    initial = maintenance + Fraction(rng.randint(0, 200), whole)
    tiers = {"by": by, "maintenance_base": text(maintenance), "initial_base": text(initial)}
    if by == "size_root":
        root = isqrt(10 * int(lots_max * lot * 10**9) + 1)
        most = min(10**6, rng.choice((5000, 10_000, 40_000)) * 10**7 // root)
        tiers["factor"] = text(Fraction(rng.randint(most // 10, most), 10**6))
    elif by == "size_slope":
        tiers["slope"] = text(make_slope(rng, Fraction(1, 4) / (lots_max * lot), 7))
    else:
        # Entries at other prices and orders beside them: some times what the largest is worth.
        largest = (20 if lots_max > 2**40 else 4) * lots_max * (per_lot + lot + 1) * quantum
        growth = Fraction(rng.choice((1, 1, 8)), 2)
        places = 17 - len(str(quantum.denominator)) + 1
        tiers["slope"] = text(make_slope(rng, growth / largest, min(9, places)))
    return tiers, maintenance


def make_slope(rng: random.Random, most: Fraction, digits_max: int) -> Fraction:
    """Draw a slope up to ``most``, of few digits; 0 where it would need too many."""
    for digits in range(3, digits_max + 1):
        top = min(10**digits, int(most * 10**digits))
        if top >= 1:
            return Fraction(rng.randint(1, top), 10**digits)
    return Fraction(0)


def make_tiers(
    rng: random.Random, rules: Row, grids: tuple[Fraction, Fraction], size: tuple[int, int]
) -> tuple[Row, tuple[int, ...], tuple[Fraction, ...]]:
    """Draw tiers; ``grids`` are quantum and lot, ``size`` quanta per lot and most lots."""
    quantum, lot = grids
    per_lot, lots_max = size
    growing = ("size_slope", "value_slope", "value_slope", "size_root")
    by = rng.choice(("notional", "notional", "notional", "notional", "size", "size", *growing))
    if by in growing and rules["maintenance_from"] == "explicit":
        tiers, maintenance = make_growing(rng, by, grids, size)
        return tiers, (), (maintenance,)
    if by in growing:
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


def make_linear(rng: random.Random, quantum: Fraction, *, extreme: bool) -> tuple[Row, int]:
    """Draw the grids of a linear contract whose value is exact, and its ``k``."""
    mark_tick = Fraction(rng.choice((1, 1, 1, 5, 25)), 10 ** rng.randint(0, 6))
    k = rng.choice((1, 1, 2, 5, 10, 100, 10**4, 10**6 if extreme else 125))
    lot = Fraction(1, 10 ** rng.randint(0, 5))
    multiplier = k * quantum / mark_tick / lot
    while multiplier.denominator not in {1, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 1000}:
        multiplier *= 10
        k *= 10
    if k > 10**10:  # K would pass its bound: start from a plainer grid
        mark_tick, lot, multiplier, k = Fraction(1), Fraction(1), quantum, 1
    return {"mark_tick": mark_tick, "lot": lot, "multiplier": multiplier}, k


def make_inverse(rng: random.Random, quantum: Fraction, mark: int) -> tuple[Row, int]:
    """Draw the grids of an inverse contract, and its ``k``; a lot is worth ``k / mark``."""
    mark_tick = Fraction(rng.choice((1, 1, 1, 5, 25)), 10 ** rng.randint(0, 6))
    lot = Fraction(1, 10 ** rng.randint(0, 3))
    k = max(1, mark * log_uniform(rng, 1, 10**5) // rng.choice((1, 1, 7, 1000)))
    k = min(10**18, k)
    return {"mark_tick": mark_tick, "lot": lot, "multiplier": k * mark_tick * quantum / lot}, k


def make_rounded(
    rng: random.Random, quantum: Fraction, mark: int, *, inverse: bool
) -> tuple[Row, Fraction]:
    """Draw the grids of a contract that is rounded by itself, and what a lot is then worth."""
    mark_tick = Fraction(rng.choice((1, 1, 1, 5, 25)), 10 ** rng.randint(0, 6))
    lot = rng.choice((1, 1, 10, 100))
    value = Fraction(log_uniform(rng, 1, 10**6), rng.choice((1, 2, 10, 1000)))
    if inverse:
        contract = Fraction(max(1, int(value * mark * 1000)), 1000)
        multiplier = contract * mark_tick * quantum
        worth = round(contract / mark)
    else:
        grain = rng.choice((2, 10, 10**3, 10**9))
        contract = Fraction(max(1, int(value * grain / mark)), grain)
        multiplier = contract * quantum / mark_tick
        while rate_text(multiplier).count("/"):  # a tick of 5 or 25 may leave thirds: it cannot
            multiplier *= 3
        worth = round(multiplier * mark_tick / quantum * mark)
    grids = {"mark_tick": mark_tick, "lot": Fraction(lot), "multiplier": multiplier}
    return grids, Fraction(lot * worth)


def make_instrument(
    rng: random.Random, rules: Row, coin: Coin, at: int, *, extreme: bool, kind: str | None = None
) -> tuple[Row, Scale]:
    """Draw one instrument; the extreme ones reach 10^30 quanta."""
    symbol = rng.choice(("BTC", "ETH", "SOL", "1000PEPE", "X")) + f"-{at}"
    quantum = coin.quantum
    kind = kind or rng.choice(("linear", "linear", "linear", "quanto", "inverse", "inverse"))
    rounded = at >= 0 and rng.random() < 0.2
    mark = log_uniform(rng, 1, 10 ** rng.choice((1, 3, 5, 7, 12 if extreme else 7)))
    if rounded:
        grids, per_lot = make_rounded(rng, quantum, mark, inverse=kind == "inverse")
    elif kind == "inverse":
        grids, k = make_inverse(rng, quantum, mark)
        per_lot = Fraction(k, mark)
    else:
        grids, k = make_linear(rng, quantum, extreme=extreme)
        per_lot = Fraction(k * mark)
    lots_max = 10 ** (12 if extreme else rng.randint(1, 6))
    unit = max(1, int(per_lot))
    tiers, floors, maintenance = make_tiers(rng, rules, (quantum, grids["lot"]), (unit, lots_max))
    row: Row = {
        "symbol": symbol,
        "kind": kind,
        "price_tick": text(grids["mark_tick"] * rng.choice((1, 1, 2, 5, 10, 100))),
        "mark_tick": text(grids["mark_tick"]),
        "lot": text(grids["lot"]),
        "tiers": tiers,
    }
    if coin.name != rules["settlement"] or rng.random() < 0.2:
        row["settlement"] = coin.name
    if rounded or rng.random() < 0.1:
        row["value_rounding"] = "per_contract" if rounded else "position"
    if grids["multiplier"] != 1 or rng.random() < 0.5:
        row["multiplier"] = text(grids["multiplier"])
    scale = Scale(
        symbol, kind == "inverse", coin.name, quantum, per_lot, mark, lots_max, floors,
        tiers["by"], grids["lot"], grids["mark_tick"], maintenance,
    )  # fmt: skip
    return row, scale


def make_venue(rng: random.Random, *, extreme: bool = False) -> Case:
    """Draw a venue with one to five instruments and a mark for each."""
    table, more, coins = make_assets(rng, extreme=extreme)
    rules = make_rules(rng) | more
    if rng.random() < 0.2:
        rules["settlement"] = rng.choice(coins).name
    rows: list[Row] = []
    scales: list[Scale] = []
    for at in range(rng.randint(1, 5)):
        row, scale = make_instrument(rng, rules, rng.choice(coins), at, extreme=extreme)
        rows.append(row)
        scales.append(scale)
    tree = {
        "schema": "aivora-card/0",
        "name": "made-up",
        "version": "1",
        "sources": ["made by the generator"],
        "asset": table,
        "rules": rules,
        "instrument": rows,
    }
    case = Case(tree, {scale.symbol: scale.mark for scale in scales}, scales)
    case.prices = {coin.name: coin.price for coin in coins if coin.name != "USD"}
    if "valuation" not in rules:
        case.prices = {}
    case.entry_rounding = rng.choice((None, "against_account"))
    return case


# --- legs -------------------------------------------------------------------------------------


def make_lots(rng: random.Random, scale: Scale, basis: str) -> int:
    """Draw a size in lots; a third of them sit on a bracket's floor or one lot beside it."""
    most = max(1, scale.lots_max // 3)
    if len(scale.floors) > 1 and rng.random() < 0.35:
        floor = rng.choice(scale.floors[1:])
        if scale.by == "notional" and basis == "mark":
            floor = ceil(floor / scale.per_lot) if scale.per_lot else 1
        if scale.by == "size" or basis == "mark":
            return max(1, floor + rng.choice((-1, 0, 1)))
    if scale.lots_max > 2**40 and rng.random() < 0.2:
        edge = rng.choice(EDGES)
        lots = ceil(edge / scale.per_lot) if scale.per_lot and rng.random() < 0.6 else 0
        return max(1, min(10**13, lots or rng.choice(LOTS_EDGES)) + rng.choice((-1, 0, 1)))
    return log_uniform(rng, 1, most)


def make_cost(rng: random.Random, scale: Scale, lots: int, basis: str) -> int:
    """Draw a cost basis, signed like the size; with basis entry often on a floor."""
    size = abs(lots)
    on_floor = basis == "entry" and scale.by == "notional" and len(scale.floors) > 1
    if on_floor and rng.random() < 0.35:
        cost = max(0, rng.choice(scale.floors[1:]) + rng.choice((-1, 0, 1)))
        return cost if (lots > 0) != scale.inverse else -cost
    value = int(size * scale.per_lot)
    cost = value + value * rng.randint(-300, 300) // 1000
    if rng.random() < 0.5:
        cost += rng.randint(-3, 3)
    if scale.lots_max > 2**40 and scale.by != "value_slope" and rng.random() < 0.1:
        cost = rng.choice(EDGES) + rng.choice((-1, 0, 1))
    return max(1, cost) if (lots > 0) != scale.inverse else -max(1, cost)


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
    interest: str | None

    @classmethod
    def draw(cls, rng: random.Random) -> Columns:
        """Draw one spelling for each column."""
        return cls(
            quantity=rng.choice(("quantity", "quantity_lots")),
            cost=rng.choice(("cost", "cost_quanta", "cost_quanta", "entry")),
            accrued=rng.choice((None, "accrued", "accrued_quanta")),
            amount=rng.choice(("amount", "amount_quanta")),
            interest=rng.choice((None, "interest", "interest_quanta")),
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

    def add(self, account: str, pool: str) -> None:
        """Add one pool without its collateral."""
        rng = self.rng
        kind = rng.choice(("cross", "cross", "isolated", "sub_account"))
        mode = None
        if self.card.rules.valuation is not None and rng.random() < 0.7:
            mode = rng.choice(("single", "multi", "multi"))
        scales = self.case.scales
        if (mode or self.card.rules.margin_mode) == "single":  # all of one settlement asset
            asset = rng.choice(scales).settlement
            scales = [scale for scale in scales if scale.settlement == asset]
        most = 1 if kind == "isolated" else len(scales)
        count = rng.randint(1 if rng.random() < 0.97 else 0, most)
        held = rng.sample(scales, count)
        self._settings({"account": account, "pool": pool, "kind": kind, "mode": mode}, held)
        for scale in held:
            for leg, lots in make_sides(rng, scale, self.card.rules.maintenance_basis):
                self._position(account, pool, scale, (leg, lots))
                self._orders(account, pool, scale, leg)

    def _leverage(self) -> str:
        rng = self.rng
        return rng.choice(UGLY_LEVERAGES if rng.random() < 0.2 else LEVERAGES)

    def _settings(self, row: Row, held: list[Scale]) -> None:
        rng = self.rng
        row["instrument"] = row["leverage"] = None
        if rng.random() < 0.4:
            row["leverage"] = self._leverage()
        self.case.pools.append(row)
        for scale in held:
            if rng.random() < 0.2:
                own = {"instrument": scale.symbol, "leverage": self._leverage()}
                self.case.pools.append({**row, **own})

    def _position(self, account: str, pool: str, scale: Scale, side: tuple[str, int]) -> None:
        rng, columns = self.rng, self.columns
        leg, lots = side
        row: Row = {"account": account, "pool": pool, "instrument": scale.symbol, "leg": leg}
        if rng.random() < 0.03:  # nothing held: an order, or an amount owed, keeps the leg
            lots = 0
        row[columns.quantity] = spelled(columns.quantity, lots, scale.lot)
        if columns.cost == "entry":
            off = Fraction(scale.mark * rng.randint(-300, 300) // 1000 + rng.randint(-2, 2))
            if self.case.entry_rounding and rng.random() < 0.5:
                off += Fraction(rng.randint(1, 999), 1000)
            row["entry"] = text(max(Fraction(1), scale.mark + off) * scale.mark_tick)
        else:
            basis = self.card.rules.maintenance_basis
            cost = make_cost(rng, scale, lots, basis) if lots else 0
            row[columns.cost] = spelled(columns.cost, cost, scale.quantum)
        if columns.accrued is not None:
            owed = 0
            if rng.random() < 0.5:
                owed = rng.choice((-1, 1)) * log_uniform(rng, 1, scale.unit)
            row[columns.accrued] = spelled(columns.accrued, owed, scale.quantum)
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
        """Give every pool its balances; half of them exactly on a line or one quantum off."""
        for pool in self._bare():
            names = [pool.asset]
            if pool.mode == "multi":
                coins = [name for name in self.card.assets if name != pool.asset]
                names = [*rng_some(self.rng, coins), pool.asset]
            for name in names:
                self._balance(pool, name, self._other(pool, name) if name != pool.asset else 0)
        for pool in self._bare():
            try:
                amount = self._collateral(pool, extreme=extreme)
            except oracle.OracleError as error:
                if error.code not in {"overflow", "limit_exceeded"}:
                    raise
                continue
            if amount is not None:
                self._balance(pool, pool.asset, amount)

    def _bare(self) -> list[oracle.Pool]:
        return oracle.pools_from_tables(
            self.card, **self.case.tables(), entry_rounding=self.case.entry_rounding
        )

    def _balance(self, pool: oracle.Pool, name: str, amount: int | None) -> None:
        """Write or replace the balance of one asset."""
        rng, quantum = self.rng, self.card.assets[name].quantum
        key = {"account": pool.account, "pool": pool.name, "asset": name}
        interest = 0
        for at, row in enumerate(self.case.collateral):
            if all(row[column] == own for column, own in key.items()):
                kept = self.case.collateral.pop(at)
                if self.columns.interest is not None:
                    owed = oracle.number(kept[self.columns.interest], "interest")
                    interest = int(
                        owed if self.columns.interest.endswith("quanta") else owed / quantum
                    )
                break
        else:
            if self.columns.interest is not None and rng.random() < 0.3:
                interest = log_uniform(rng, 1, 10**6)
        if amount is None:
            return
        row = {**key, self.columns.amount: spelled(self.columns.amount, amount, quantum)}
        if self.columns.interest is not None:
            row[self.columns.interest] = spelled(self.columns.interest, interest, quantum)
        self.case.collateral.append(row)

    def _other(self, pool: oracle.Pool, name: str) -> int:
        """Draw a balance of an asset beside the valuation asset, often on a slice's floor."""
        rng = self.rng
        floors = [own.floor for own in self.card.assets[name].slices]
        units = [scale.unit for scale in self.case.scales if scale.settlement == name]
        size = 10 * max(units, default=10**6)
        kind = rng.random()
        if kind < 0.3:
            near: int = rng.choice(floors) + rng.choice((-1, 0, 1))
            return near
        if kind < 0.4:
            edge: int = rng.choice(EDGES) + rng.choice((-1, 0, 1))
            return edge if rng.random() < 0.5 else -edge
        if kind < 0.5:  # what the asset comes to is zero, or one quantum beside it
            found = oracle.assess(self.card, pool, self.case.marks, self.case.prices).assets
            own = sum(row.equity for row in found if row.asset == name)
            beside: int = rng.choice((-1, 0, 1, *floors))
            return beside - own
        sign: int = rng.choice((1, 1, 1, -1))
        return sign * log_uniform(rng, 1, size * 100)

    def _collateral(self, pool: oracle.Pool, *, extreme: bool) -> int | None:
        """Draw the balance of the asset that the pool is checked in."""
        rng = self.rng
        scales = {scale.symbol: scale for scale in self.case.scales}
        if rng.random() < 0.5:
            size = 1000 + sum(
                int(abs(leg.quantity) * scales[leg.instrument].per_lot) for leg in pool.legs
            )
            kind = rng.random()
            if kind < 0.05:
                return None
            if kind < 0.1:
                return -log_uniform(rng, 1, size)
            return log_uniform(rng, 1, 2 * size)
        marks = self._marks_of_the_line(pool, scales)
        own = oracle.assess(self.card, pool, marks, self.case.prices)
        held = sum(row.balance for row in own.assets if row.asset == pool.asset)
        lines = [own.maintenance, own.maintenance, own.initial, 0]
        if extreme:
            lines += [2**63 - 1, -(2**63), *rng.sample(EDGES, 2), -rng.choice(EDGES)]
        line: int = rng.choice(lines)
        return held + line - own.equity + rng.choice((-1, 0, 1))

    def _marks_of_the_line(self, pool: oracle.Pool, scales: dict[str, Scale]) -> dict[str, int]:
        """Draw where the pool meets its line: mostly here, else at another mark of one leg."""
        rng, marks = self.rng, dict(self.case.marks)
        if not pool.legs or rng.random() < 0.6:
            return marks
        leg = rng.choice(pool.legs)
        scale = scales[leg.instrument]
        lots = abs(leg.quantity)
        mark = scale.mark * rng.randint(300, 2500) // 1000
        worth = lots * scale.per_lot
        if scale.by == "notional" and worth and len(scale.floors) > 1 and rng.random() < 0.5:
            edge = scale.mark_worth(lots, rng.choice(scale.floors[1:]))
            mark = edge + rng.choice((-1, 0, 1))
        marks[leg.instrument] = max(1, min(mark, 10 * scale.mark))
        return marks

    def drop(self) -> None:
        """Drop the pools that leave a bound: what both refuse is tested by itself."""
        for pool in self._bare():
            try:
                oracle.assess(self.card, pool, self.case.marks, self.case.prices)
            except oracle.OracleError as error:
                if error.code not in {"overflow", "limit_exceeded"}:
                    raise
                for table in self.case.tables().values():
                    table[:] = [
                        row
                        for row in table
                        if (row["account"], row["pool"]) != (pool.account, pool.name)
                    ]


def rng_some(rng: random.Random, names: list[str]) -> list[str]:
    """Draw some of the names, maybe none, maybe all."""
    return rng.sample(names, rng.randint(0, len(names)))


def make_case(seed: int, pools: int, *, extreme: bool = False) -> Case:
    """Make one venue with ``pools`` pools; the same seed gives the same tables."""
    rng = random.Random(seed)  # noqa: S311 - seeded on purpose, nothing is secret
    case = make_venue(rng, extreme=extreme)
    builder = Builder(rng, case)
    for at in range(pools):
        account = f"{rng.choice(ACCOUNTS)}{at // 2}"
        builder.add(account, f"{rng.choice(POOLS)}{at}" if at % 2 else "cross")
    builder.drop()  # a rate past 1 is so whatever the balances
    builder.fund(extreme=extreme)
    builder.drop()
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
    coin = Coin("USD", quantum, 1)
    plain = {**make_rules(rng), "closing_fee": "none"}
    kind = rng.choice(("linear", "linear", "quanto", "inverse"))
    row, _ = make_instrument(rng, plain, coin, 0, extreme=False, kind=kind)
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

"""The shipped oracle: the margin specification once more, in plain fractions.

This module is the independent second implementation of ``docs/spec`` (numbers, card, margin,
book). It is written from that text, it imports nothing of ``aivora_core``, and it is slow on
purpose: every rate is a `fractions.Fraction`, every amount an ``int``, and every line is meant
to be read beside the sentence it comes from. The core must agree with it bit for bit.

Units, everywhere below: a quantity is in lots, a mark in mark ticks, an order price in price
ticks, an amount in quanta of the settlement asset.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, lcm
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = [
    "Assessment",
    "Bankruptcy",
    "Bracket",
    "Card",
    "Flip",
    "Instrument",
    "Leg",
    "LegAssessment",
    "OracleError",
    "Pool",
    "Rules",
    "Tiers",
    "Walk",
    "assess",
    "bankruptcy_price",
    "check_book",
    "liquidation_price",
    "max_quantity_cost",
    "max_quantity_limit",
    "max_quantity_slippage",
    "mid_price",
    "number",
    "pools_from_tables",
    "rate",
    "verdict",
    "walk",
    "walk_notional",
]

TICKS_MAX = 10**17
LOTS_MAX = 10**18
QUANTA_MAX = 10**36
RATE_TERM_MAX = 10**9
QUANTA_PER_TICK_LOT_MAX = 10**12
DENOMINATOR_MAX = 10**9
DENOMINATOR_SLOPE_MAX = 10**12
EXPONENT_MAX = 1000
INSTRUMENTS_MAX = 4096
BRACKETS_MAX = 64
LEGS_MAX = 4096
EVALUATIONS_MAX = 4_194_304
INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)

SAFE, BELOW_INITIAL, LIQUIDATABLE, BANKRUPT = 0, 1, 2, 3


class OracleError(ValueError):
    """A refusal, with the code that the specification gives it.

    Parameters
    ----------
    code : str
        The stable code, for example ``off_grid``.
    field : str
        What the refused value was given for.
    value : object
        The refused value.
    limit : object
        The bound that it passed, where there is one.
    """

    def __init__(self, code: str, field: str, value: object = None, limit: object = None) -> None:
        self.code = code
        self.field = field
        self.value = value
        self.limit = limit
        bound = "" if limit is None else f" (limit {limit})"
        super().__init__(f"{code}: {field} = {value!r}{bound}")


# --- numbers.md: reading a number -------------------------------------------------------------

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?")
_RATIO = re.compile(r"([0-9]+)/([0-9]+)")


def number(value: object, field: str) -> Fraction:
    """Read an exact number: an integer, a string or a `Decimal`.

    Parameters
    ----------
    value : object
        What was given.
    field : str
        What it was given for; named in the error.

    Returns
    -------
    Fraction
        The number itself, in the unit it was given in.

    Raises
    ------
    OracleError
        ``float_given`` for a float, ``bad_number`` for anything else that is not a number.

    Examples
    --------
    >>> number("-12.50", "price")
    Fraction(-25, 2)
    """
    if isinstance(value, float):
        raise OracleError("float_given", field, value)
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value)
    text = str(value) if isinstance(value, Decimal) else value
    if not isinstance(text, str):
        raise OracleError("bad_number", field, value)
    match = _NUMBER.fullmatch(text)
    if match is None or abs(int(match.group(1) or 0)) > EXPONENT_MAX:
        raise OracleError("bad_number", field, value)
    return Fraction(text)


def rational(value: object, field: str) -> Fraction:
    """Read a number that may also be written as a fraction (``1/75``).

    Parameters
    ----------
    value : object
        What was given.
    field : str
        What it was given for; named in the error.

    Returns
    -------
    Fraction
        The number itself.
    """
    match = _RATIO.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return number(value, field)
    if int(match.group(2)) == 0:
        raise OracleError("bad_number", field, value)
    return Fraction(int(match.group(1)), int(match.group(2)))


def rate(value: object, field: str) -> Fraction:
    """Read a rate: 0 to 1, numerator and denominator at most 10^9.

    Parameters
    ----------
    value : object
        What was given.
    field : str
        What it was given for; named in the error.

    Returns
    -------
    Fraction
        The rate, reduced, without unit.
    """
    return _check_rate(rational(value, field), field)


def _check_rate(given: Fraction, field: str) -> Fraction:
    if not 0 <= given <= 1:
        raise OracleError("out_of_range", field, given, "0 to 1")
    if given.numerator > RATE_TERM_MAX or given.denominator > RATE_TERM_MAX:
        raise OracleError("out_of_range", field, given, RATE_TERM_MAX)
    return given


def _leverage(value: object, field: str) -> Fraction:
    """Read a leverage: rational, at least 1, and its inverse is a rate."""
    given = rational(value, field)
    if given < 1:
        raise OracleError("out_of_range", field, value, 1)
    _check_rate(1 / given, field)
    return given


def _positive(value: object, field: str) -> Fraction:
    given = number(value, field)
    if given <= 0:
        raise OracleError("out_of_range", field, value, "above 0")
    return given


def _whole(value: Fraction, field: str) -> int:
    """Give ``value`` as a whole number of its grid; off the grid is an error."""
    if value.denominator != 1:
        raise OracleError("off_grid", field, value)
    return value.numerator


def _bounded(value: int, limit: int, field: str) -> int:
    if abs(value) > limit:
        raise OracleError("overflow", field, value, limit)
    return value


def _given(value: int, limit: int, field: str) -> int:
    """Check a number as it was given: outside its bound it is out of range, not an overflow."""
    if abs(value) > limit:
        raise OracleError("out_of_range", field, value, limit)
    return value


def _amount(value: int, field: str) -> int:
    return _bounded(value, QUANTA_MAX, field)


def _lots(value: int, field: str) -> int:
    return _bounded(value, LOTS_MAX, field)


def _ticks(value: object, field: str) -> int:
    """Check a price in ticks: a whole number from 1 to 10^17."""
    given = _whole(number(value, field), field)
    if given < 1:
        raise OracleError("out_of_range", field, value, 1)
    return _given(given, TICKS_MAX, field)


def _saturated(value: int) -> int:
    return max(INT64_MIN, min(INT64_MAX, value))


# --- card.md ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rules:
    """The rules of a venue, as the card's ``[rules]`` names them."""

    settlement: str
    quantum: Fraction
    trigger: str
    maintenance_basis: str
    initial_basis: str
    maintenance_from: str
    closing_fee: str
    bankruptcy_fee: str
    equity_allotment: str


@dataclass(frozen=True)
class Bracket:
    """One bracket.

    ``floor`` and ``cap`` are in quanta (by notional) or lots (by size); ``deduction`` is in
    quanta and need not be whole.
    """

    floor: int
    cap: int | None
    maintenance: Fraction
    initial: Fraction
    deduction: Fraction


@dataclass(frozen=True)
class Tiers:
    """The tiers of an instrument.

    ``by`` is ``notional``, ``size`` or ``size_slope``. The three slope numbers serve
    ``size_slope`` only; ``slope_per_lot`` is the growth of both rates per lot.
    """

    by: str
    brackets: tuple[Bracket, ...] = ()
    maintenance_base: Fraction = Fraction(0)
    initial_base: Fraction = Fraction(0)
    slope_per_lot: Fraction = Fraction(0)

    def index(self, value: int, lots: int) -> int | None:
        """Find the last bracket whose floor is at most ``value`` quanta (or ``lots``)."""
        if self.by == "size_slope":
            return None
        measure = value if self.by == "notional" else lots
        held = [i for i, bracket in enumerate(self.brackets) if bracket.floor <= measure]
        return held[-1]


@dataclass(frozen=True)
class Instrument:
    """One linear instrument.

    ``price_tick`` and ``mark_tick`` are prices, ``lot`` a quantity; ``k`` is in quanta per mark
    tick and lot; ``taker_fee`` is a rate, or None when it is unknown.
    """

    symbol: str
    price_tick: Fraction
    mark_tick: Fraction
    lot: Fraction
    multiplier: Fraction
    k: int
    taker_fee: Fraction | None
    tiers: Tiers

    @property
    def known_fee(self) -> Fraction:
        """The taker fee where a rule needs it; a card without it was refused."""
        if self.taker_fee is None:
            raise OracleError("missing_key", f"{self.symbol}.taker_fee")
        return self.taker_fee

    @property
    def mark_ticks_per_price_tick(self) -> int:
        """How many mark ticks make one price tick."""
        return (self.price_tick / self.mark_tick).numerator

    @property
    def quanta_per_price_tick_lot(self) -> int:
        """``K`` of the specification: quanta per price tick and lot."""
        return self.k * self.mark_ticks_per_price_tick


_CARD_KEYS = {
    "schema": True,
    "name": True,
    "title": False,
    "version": False,
    "sources": False,
    "asset": True,
    "rules": True,
    "instrument": True,
}
_RULE_VALUES = {
    "trigger": ("strict", "non_strict"),
    "maintenance_basis": ("mark", "entry"),
    "initial_basis": ("mark", "entry"),
    "maintenance_from": ("explicit", "half_initial"),
    "closing_fee": ("none", "mark", "bankruptcy"),
    "bankruptcy_fee": ("none", "taker"),
    "equity_allotment": ("maintenance_share",),
}  # the first of each is the default
_RULE_KEYS = {"settlement": True, "taker_fee": False, **dict.fromkeys(_RULE_VALUES, False)}
_INSTRUMENT_KEYS = {
    "symbol": True,
    "kind": True,
    "price_tick": True,
    "mark_tick": True,
    "lot": True,
    "multiplier": False,
    "taker_fee": False,
    "tiers": True,
}
_TIER_KEYS = {"by": True, "deduction": False, "brackets": True}
_SLOPE_KEYS = {"by": True, "maintenance_base": True, "initial_base": True, "slope": True}
_BRACKET_KEYS = {
    "floor": True,
    "cap": False,
    "maintenance": False,
    "initial": False,
    "max_leverage": False,
    "amount": False,
}


@dataclass(frozen=True)
class Card:
    """A venue card: its rules and its instruments by symbol."""

    name: str
    rules: Rules
    instruments: Mapping[str, Instrument]

    @classmethod
    def from_tree(cls, tree: Mapping[str, object]) -> Card:
        """Read and check the tree of a card, as parsed from TOML or JSON.

        Parameters
        ----------
        tree : Mapping[str, object]
            Tables, lists, strings and integers.

        Returns
        -------
        Card
            The card; deductions are derived.

        Raises
        ------
        OracleError
            ``float_given``, ``unknown_key``, ``missing_key``, ``bad_value``, ``bad_number``,
            ``out_of_range``, ``off_grid``, ``bad_tiers`` or ``limit_exceeded``.
        """
        _no_floats(tree, "card")
        table = _table(tree, "card", _CARD_KEYS)
        _one_of(table["schema"], "schema", ("aivora-card/0",))
        name = _text(table["name"], "name")
        if re.fullmatch(r"[a-z0-9_-]+", name) is None:
            raise OracleError("bad_value", "name", name)
        rules, venue_fee = _read_rules(table)
        rows = _list(table["instrument"], "instrument")
        if len(rows) > INSTRUMENTS_MAX:
            raise OracleError("limit_exceeded", "instrument", len(rows), INSTRUMENTS_MAX)
        instruments: dict[str, Instrument] = {}
        for row in rows:
            instrument = _read_instrument(row, rules, venue_fee)
            if instrument.symbol in instruments:
                raise OracleError("duplicate", "symbol", instrument.symbol)
            instruments[instrument.symbol] = instrument
        return cls(name=name, rules=rules, instruments=instruments)


def _no_floats(node: object, field: str) -> None:
    """Refuse a float anywhere in the tree (a `Decimal` there was a TOML float)."""
    if isinstance(node, float | Decimal):
        raise OracleError("float_given", field, node)
    if isinstance(node, dict):
        for key, child in node.items():
            _no_floats(child, str(key))
    if isinstance(node, list):
        for child in node:
            _no_floats(child, field)


def _table(node: object, field: str, keys: Mapping[str, bool]) -> dict[str, object]:
    """Check that ``node`` is a table with the required and no unknown keys."""
    if not isinstance(node, dict):
        raise OracleError("bad_value", field, node)
    for key in node:
        if key not in keys:
            raise OracleError("unknown_key", f"{field}.{key}", node[key])
    for key, required in keys.items():
        if required and key not in node:
            raise OracleError("missing_key", f"{field}.{key}")
    return node


def _list(node: object, field: str) -> list[object]:
    if not isinstance(node, list) or not node:
        raise OracleError("bad_value", field, node)
    return node


def _text(node: object, field: str) -> str:
    if not isinstance(node, str) or not node:
        raise OracleError("bad_value", field, node)
    return node


def _one_of(node: object, field: str, allowed: Sequence[str]) -> str:
    if node not in allowed:
        raise OracleError("bad_value", field, node, list(allowed))
    return str(node)


def _read_rules(table: Mapping[str, object]) -> tuple[Rules, Fraction | None]:
    """Read ``[rules]``, the settlement asset's quantum and the venue's taker fee."""
    row = _table(table["rules"], "rules", _RULE_KEYS)
    settlement = _text(row["settlement"], "settlement")
    assets = table["asset"]
    if not isinstance(assets, dict) or settlement not in assets:
        raise OracleError("missing_key", f"asset.{settlement}")
    quanta: dict[str, Fraction] = {}
    for name, node in assets.items():
        asset = _table(node, f"asset.{name}", {"quantum": True})
        quanta[name] = _positive(asset["quantum"], "quantum")
    chosen = {
        key: _one_of(row.get(key, allowed[0]), key, allowed)
        for key, allowed in _RULE_VALUES.items()
    }
    fee = rate(row["taker_fee"], "taker_fee") if "taker_fee" in row else None
    return Rules(settlement=settlement, quantum=quanta[settlement], **chosen), fee


def _read_instrument(node: object, rules: Rules, venue_fee: Fraction | None) -> Instrument:
    row = _table(node, "instrument", _INSTRUMENT_KEYS)
    symbol = _text(row["symbol"], "symbol")
    _one_of(row["kind"], "kind", ("linear",))
    price_tick = _positive(row["price_tick"], "price_tick")
    mark_tick = _positive(row["mark_tick"], "mark_tick")
    lot = _positive(row["lot"], "lot")
    multiplier = _positive(row.get("multiplier", 1), "multiplier")
    marks_per_price = _whole(price_tick / mark_tick, "price_tick")
    k = _whole(mark_tick * lot * multiplier / rules.quantum, "k")
    if k * marks_per_price > QUANTA_PER_TICK_LOT_MAX:  # K, and so k as well
        raise OracleError("out_of_range", "k", k, QUANTA_PER_TICK_LOT_MAX)
    per_price_tick = k * (price_tick / mark_tick)
    if per_price_tick > QUANTA_PER_TICK_LOT_MAX:
        raise OracleError("out_of_range", "K", per_price_tick, QUANTA_PER_TICK_LOT_MAX)
    fee = rate(row["taker_fee"], "taker_fee") if "taker_fee" in row else venue_fee
    if fee is None and (rules.closing_fee != "none" or rules.bankruptcy_fee != "none"):
        raise OracleError("missing_key", f"{symbol}.taker_fee")
    tiers = _read_tiers(row["tiers"], rules, lot, fee)
    return Instrument(symbol, price_tick, mark_tick, lot, multiplier, k, fee, tiers)


def _read_tiers(node: object, rules: Rules, lot: Fraction, fee: Fraction | None) -> Tiers:
    by = node.get("by") if isinstance(node, dict) else None
    if by == "size_slope":
        return _read_slope(node, rules, lot, fee)
    row = _table(node, "tiers", _TIER_KEYS)
    _one_of(by, "by", ("notional", "size", "size_slope"))
    deduction = _one_of(row.get("deduction", "none"), "deduction", ("none", "derived"))
    if deduction == "derived" and by != "notional":
        raise OracleError("bad_tiers", "deduction", deduction)
    nodes = _list(row["brackets"], "brackets")
    if len(nodes) > BRACKETS_MAX:
        raise OracleError("limit_exceeded", "brackets", len(nodes), BRACKETS_MAX)
    rows = [_table(n, "bracket", _BRACKET_KEYS) for n in nodes]
    grid = rules.quantum if by == "notional" else lot
    brackets: list[Bracket] = []
    for i, bracket_row in enumerate(rows):
        bracket = _read_bracket(bracket_row, rules, grid, fee)
        _check_cap(bracket, rows[i + 1] if i + 1 < len(rows) else None, grid)
        previous = brackets[-1] if brackets else None
        bracket = _follow(bracket, previous, derived=deduction == "derived")
        _check_published(bracket_row, bracket, rules.quantum)
        brackets.append(bracket)
    rates = [bracket.maintenance for bracket in brackets]
    _check_denominator(rates, rules, fee, DENOMINATOR_MAX)
    return Tiers(by=str(by), brackets=tuple(brackets))


def _grid(value: object, grid: Fraction, field: str) -> int:
    """Read a floor or cap: a whole number of quanta or lots, at least zero."""
    given = _whole(number(value, field) / grid, field)
    if given < 0:
        raise OracleError("bad_tiers", field, value, 0)
    return _bounded(given, QUANTA_MAX, field)


def _read_bracket(
    row: Mapping[str, object], rules: Rules, grid: Fraction, fee: Fraction | None
) -> Bracket:
    """Read one bracket alone; its deduction is filled in by `_follow`."""
    low = _grid(row["floor"], grid, "floor")
    cap = _grid(row["cap"], grid, "cap") if "cap" in row else None
    if ("initial" in row) == ("max_leverage" in row):
        raise OracleError("bad_tiers", "initial", "exactly one of initial and max_leverage")
    if "initial" in row:
        initial = rate(row["initial"], "initial")
    else:
        initial = 1 / _leverage(row["max_leverage"], "max_leverage")
    if rules.maintenance_from == "half_initial":
        if "maintenance" in row:
            raise OracleError("bad_tiers", "maintenance", row["maintenance"])
        maintenance = initial / 2
    else:
        if "maintenance" not in row:
            raise OracleError("missing_key", "maintenance")
        maintenance = rate(row["maintenance"], "maintenance")
    _check_pair(maintenance, initial, fee)
    return Bracket(low, cap, maintenance, initial, Fraction(0))


def _check_pair(maintenance: Fraction, initial: Fraction, fee: Fraction | None) -> None:
    """No rate is zero, maintenance at most initial, maintenance plus taker fee at most 1."""
    if maintenance == 0 or initial == 0:
        raise OracleError("bad_tiers", "maintenance", maintenance, "above 0")
    if maintenance > initial:
        raise OracleError("bad_tiers", "maintenance", maintenance, initial)
    if maintenance + (fee or 0) > 1:
        raise OracleError("bad_tiers", "maintenance", maintenance + (fee or 0), 1)


def _check_cap(bracket: Bracket, following: Mapping[str, object] | None, grid: Fraction) -> None:
    """Check that a cap equals the next floor; on the last bracket it is only recorded."""
    if bracket.cap is None:
        return
    if following is None:
        if bracket.cap <= bracket.floor:
            raise OracleError("bad_tiers", "cap", bracket.cap, bracket.floor)
        return
    next_floor = _grid(following["floor"], grid, "floor")
    if bracket.cap != next_floor:
        raise OracleError("bad_tiers", "cap", bracket.cap, next_floor)


def _follow(bracket: Bracket, previous: Bracket | None, *, derived: bool) -> Bracket:
    """Check a bracket against the one before it and derive its deduction."""
    if previous is None:
        if bracket.floor != 0:
            raise OracleError("bad_tiers", "floor", bracket.floor, 0)
        return bracket
    if bracket.floor <= previous.floor:
        raise OracleError("bad_tiers", "floor", bracket.floor, previous.floor)
    if bracket.maintenance < previous.maintenance:
        raise OracleError("bad_tiers", "maintenance", bracket.maintenance, previous.maintenance)
    if bracket.initial < previous.initial:
        raise OracleError("bad_tiers", "initial", bracket.initial, previous.initial)
    if not derived:
        return bracket
    step = bracket.floor * (bracket.maintenance - previous.maintenance)
    deduction = previous.deduction + step
    return Bracket(bracket.floor, bracket.cap, bracket.maintenance, bracket.initial, deduction)


def _check_published(row: Mapping[str, object], bracket: Bracket, quantum: Fraction) -> None:
    """Check a published deduction against the one in force, exactly."""
    if "amount" not in row:
        return
    published = number(row["amount"], "amount") / quantum
    if published != bracket.deduction:
        raise OracleError("bad_tiers", "amount", row["amount"], bracket.deduction * quantum)


def _check_denominator(
    rates: Iterable[Fraction], rules: Rules, fee: Fraction | None, limit: int
) -> None:
    """All maintenance rates, and the fee where it is added to them, share a denominator."""
    terms = list(rates)
    if rules.closing_fee == "mark" and fee is not None:
        terms.append(fee)
    common = lcm(*(term.denominator for term in terms))
    if common > limit:
        raise OracleError("limit_exceeded", "tiers", common, limit)


def _read_slope(node: object, rules: Rules, lot: Fraction, fee: Fraction | None) -> Tiers:
    row = _table(node, "tiers", _SLOPE_KEYS)
    if rules.maintenance_from != "explicit":
        raise OracleError("bad_tiers", "maintenance_from", rules.maintenance_from, "explicit")
    maintenance = rate(row["maintenance_base"], "maintenance_base")
    initial = rate(row["initial_base"], "initial_base")
    _check_pair(maintenance, initial, fee)
    per_lot = rate(row["slope"], "slope") * lot
    _check_denominator([maintenance, per_lot], rules, fee, DENOMINATOR_SLOPE_MAX)
    return Tiers(
        by="size_slope",
        maintenance_base=maintenance,
        initial_base=initial,
        slope_per_lot=per_lot,
    )


# --- margin.md: keys and tables ---------------------------------------------------------------


@dataclass(frozen=True)
class Leg:
    """One leg of a pool.

    ``quantity``, ``bids`` and ``asks`` are in lots, ``cost`` and ``accrued`` in quanta.
    ``leg`` is ``net``, ``long`` or ``short``; ``leverage`` is the chosen one, if any.
    """

    instrument: str
    leg: str
    quantity: int
    cost: int
    accrued: int = 0
    bids: int = 0
    asks: int = 0
    leverage: Fraction | None = None

    @property
    def sign(self) -> int:
        """``s`` of the specification: +1 for a long leg, -1 for a short one."""
        if self.leg == "net":
            return 1 if self.quantity >= 0 else -1
        return 1 if self.leg == "long" else -1


@dataclass(frozen=True)
class Pool:
    """One pool: the unit that is checked. ``collateral`` is in quanta."""

    account: str
    name: str
    kind: str
    collateral: int
    legs: tuple[Leg, ...]


_ROW_KEYS = {
    "positions": {
        "account": True,
        "pool": False,
        "instrument": True,
        "leg": False,
        "quantity": False,
        "quantity_lots": False,
        "entry": False,
        "cost": False,
        "cost_quanta": False,
        "accrued": False,
        "accrued_quanta": False,
    },
    "collateral": {
        "account": True,
        "pool": False,
        "asset": False,
        "amount": False,
        "amount_quanta": False,
    },
    "orders": {
        "account": True,
        "pool": False,
        "instrument": True,
        "leg": False,
        "side": True,
        "quantity": False,
        "quantity_lots": False,
    },
    "pools": {
        "account": True,
        "pool": False,
        "kind": False,
        "instrument": False,
        "leverage": False,
    },
}
_LEGS = ("net", "long", "short")
_KINDS = ("cross", "isolated", "sub_account")

Row = dict[str, object]
PoolKey = tuple[str, str]


def _rows(name: str, rows: Iterable[Mapping[str, object]]) -> Iterator[tuple[PoolKey, Row]]:
    """Give each row with its pool's key; an absent (None) value is left out."""
    for given in rows:
        row = _table(
            {key: value for key, value in given.items() if value is not None},
            name,
            _ROW_KEYS[name],
        )
        account = row["account"]
        pool = row.get("pool", "cross")
        if not isinstance(account, str) or not isinstance(pool, str):
            raise OracleError("bad_value", name, (account, pool))
        yield (account, pool), row


def _either(row: Row, names: Sequence[str]) -> str:
    """Name the one column of ``names`` that the row has."""
    found = [name for name in names if name in row]
    if len(found) != 1:
        raise OracleError("missing_key" if not found else "duplicate", names[0], found)
    return found[0]


def _scaled(row: Row, name: str, unit: str, grid: Fraction) -> int:
    """Read ``name`` in units, or ``name_unit`` in whole units of the grid."""
    key = _either(row, (name, f"{name}_{unit}"))
    value = number(row[key], key)
    return _whole(value if key.endswith(unit) else value / grid, key)


def _cost(row: Row, card: Card, instrument: Instrument, lots: int, rounding: str | None) -> int:
    """Read the cost basis in quanta, or work it out from the average entry price."""
    if _either(row, ("entry", "cost", "cost_quanta")) != "entry":
        return _given(_scaled(row, "cost", "quanta", card.rules.quantum), QUANTA_MAX, "cost")
    entry = _positive(row["entry"], "entry") / instrument.mark_tick
    cost = lots * entry * instrument.k
    if rounding == "against_account":
        return _amount(ceil(cost), "cost")
    return _amount(_whole(cost, "entry"), "cost")


@dataclass
class _Draft:
    """A pool while its rows are gathered."""

    kind: str | None = None
    collateral: int | None = None
    leverage: Fraction | None = None
    leverages: dict[str, Fraction | None] = field(default_factory=dict)
    positions: dict[tuple[str, str], tuple[int, int, int]] = field(default_factory=dict)
    orders: dict[tuple[str, str], list[int]] = field(default_factory=dict)


def pools_from_tables(
    card: Card,
    positions: Iterable[Mapping[str, object]],
    collateral: Iterable[Mapping[str, object]],
    orders: Iterable[Mapping[str, object]] = (),
    pools: Iterable[Mapping[str, object]] = (),
    entry_rounding: str | None = None,
) -> list[Pool]:
    """Gather rows into pools, sorted by (account, pool) as UTF-8 bytes.

    Parameters
    ----------
    card : Card
        The venue.
    positions : Iterable[Mapping[str, object]]
        ``account``, ``pool`` ("cross"), ``instrument``, ``leg`` ("net"), ``quantity`` or
        ``quantity_lots``, one of ``entry``, ``cost``, ``cost_quanta``, and optionally
        ``accrued`` or ``accrued_quanta``.
    collateral : Iterable[Mapping[str, object]]
        ``account``, ``pool``, ``asset`` (the settlement asset), ``amount`` or
        ``amount_quanta``.
    orders : Iterable[Mapping[str, object]]
        ``account``, ``pool``, ``instrument``, ``leg``, ``side`` (buy or sell), ``quantity`` or
        ``quantity_lots``.
    pools : Iterable[Mapping[str, object]]
        ``account``, ``pool``, ``kind`` ("cross"), ``instrument``, ``leverage``.
    entry_rounding : str or None
        ``against_account``, or None: a cost that is not whole is then ``off_grid``.

    Returns
    -------
    list[Pool]
        Every pool that a row names.

    Raises
    ------
    OracleError
        ``off_grid``, ``overflow``, ``float_given``, ``bad_number``, ``duplicate``,
        ``unknown_instrument``, ``bad_value``, ``bad_leg``, ``bad_pool`` or ``limit_exceeded``.
    """
    if entry_rounding not in {None, "exact", "against_account"}:
        raise OracleError("bad_value", "entry_rounding", entry_rounding)
    drafts: dict[PoolKey, _Draft] = {}
    for key, row in _rows("pools", pools):
        _gather_pool(card, drafts.setdefault(key, _Draft()), row)
    for key, row in _rows("positions", positions):
        _gather_position(card, drafts.setdefault(key, _Draft()), row, entry_rounding)
    for key, row in _rows("orders", orders):
        _gather_order(card, drafts.setdefault(key, _Draft()), row)
    for key, row in _rows("collateral", collateral):
        _gather_collateral(card, drafts.setdefault(key, _Draft()), row)
    ordered = sorted(drafts, key=lambda key: (key[0].encode(), key[1].encode()))
    return [_finish(key, drafts[key]) for key in ordered]


def _symbol(card: Card, row: Row) -> str:
    symbol = row["instrument"]
    if not isinstance(symbol, str) or symbol not in card.instruments:
        raise OracleError("unknown_instrument", "instrument", symbol)
    return symbol


def _gather_pool(card: Card, draft: _Draft, row: Row) -> None:
    if "kind" in row:
        kind = _one_of(row["kind"], "kind", _KINDS)
        if draft.kind not in {None, kind}:
            raise OracleError("bad_pool", "kind", kind, draft.kind)
        draft.kind = kind
    chosen = _leverage(row["leverage"], "leverage") if "leverage" in row else None
    if "instrument" in row:
        symbol = _symbol(card, row)
        if symbol in draft.leverages:
            raise OracleError("duplicate", "pools", symbol)
        draft.leverages[symbol] = chosen
    elif chosen is not None:
        if draft.leverage is not None:
            raise OracleError("duplicate", "leverage", chosen)
        draft.leverage = chosen


def _gather_position(card: Card, draft: _Draft, row: Row, rounding: str | None) -> None:
    symbol = _symbol(card, row)
    instrument = card.instruments[symbol]
    leg = _one_of(row.get("leg", "net"), "leg", _LEGS)
    lots = _given(_scaled(row, "quantity", "lots", instrument.lot), LOTS_MAX, "quantity")
    if (leg == "long" and lots < 0) or (leg == "short" and lots > 0):
        raise OracleError("bad_leg", "quantity", lots, leg)
    cost = _cost(row, card, instrument, lots, rounding)
    if cost * lots < 0 or (cost != 0 and lots == 0):  # signed like the quantity
        raise OracleError("bad_leg", "cost", cost, lots)
    accrued = 0
    if "accrued" in row or "accrued_quanta" in row:
        owed = _scaled(row, "accrued", "quanta", card.rules.quantum)
        accrued = _given(owed, QUANTA_MAX, "accrued")
    if (symbol, leg) in draft.positions:
        raise OracleError("duplicate", "positions", (symbol, leg))
    draft.positions[symbol, leg] = (lots, cost, accrued)


def _gather_order(card: Card, draft: _Draft, row: Row) -> None:
    symbol = _symbol(card, row)
    leg = _one_of(row.get("leg", "net"), "leg", _LEGS)
    side = _one_of(row["side"], "side", ("buy", "sell"))
    given = _scaled(row, "quantity", "lots", card.instruments[symbol].lot)
    lots = _given(given, LOTS_MAX, "quantity")
    if lots < 0:
        raise OracleError("out_of_range", "quantity", lots, 0)
    open_lots = draft.orders.setdefault((symbol, leg), [0, 0])
    at = 0 if side == "buy" else 1
    open_lots[at] = _lots(open_lots[at] + lots, "orders")


def _gather_collateral(card: Card, draft: _Draft, row: Row) -> None:
    asset = row.get("asset", card.rules.settlement)
    if asset != card.rules.settlement:
        raise OracleError("bad_value", "asset", asset, card.rules.settlement)
    given = _scaled(row, "amount", "quanta", card.rules.quantum)
    amount = _given(given, QUANTA_MAX, "collateral")
    if draft.collateral is not None:
        raise OracleError("duplicate", "collateral", amount)
    draft.collateral = amount


def _finish(key: PoolKey, draft: _Draft) -> Pool:
    """Make the pool of a draft: legs that exist, with the leverage that holds for each."""
    legs: list[Leg] = []
    for symbol, side in sorted({*draft.positions, *draft.orders}):
        quantity, cost, accrued = draft.positions.get((symbol, side), (0, 0, 0))
        bids, asks = draft.orders.get((symbol, side), (0, 0))
        own = draft.leverages.get(symbol)
        leverage = draft.leverage if own is None else own
        leg = Leg(symbol, side, quantity, cost, accrued, bids, asks, leverage)
        if quantity or cost or accrued or bids or asks:
            legs.append(leg)
    kind = draft.kind or "cross"
    held = {leg.instrument for leg in legs}
    for symbol in held:
        sides = {leg.leg for leg in legs if leg.instrument == symbol}
        if "net" in sides and len(sides) > 1:
            raise OracleError("bad_leg", "leg", symbol)
    if kind == "isolated" and len(held) > 1:
        raise OracleError("bad_pool", "isolated", sorted(held), 1)
    if len(legs) > LEGS_MAX:
        raise OracleError("limit_exceeded", "legs", len(legs), LEGS_MAX)
    return Pool(key[0], key[1], kind, draft.collateral or 0, tuple(legs))


# --- margin.md: requirements of one leg -------------------------------------------------------


@dataclass(frozen=True)
class LegAssessment:
    """What one leg comes to at one mark.

    ``value``, ``pnl``, ``notional``, ``maintenance_value`` (``V_m``), ``initial_value``
    (``V_i``), ``fee`` (``F``), ``initial`` and ``maintenance`` are quanta, ``exposure`` (``W``)
    is lots; ``initial_exact`` and ``maintenance_exact`` are the quanta before rounding, without
    ``F``. The bracket indices count from 0 and are None for ``size_slope``.
    """

    leg: Leg
    mark: int
    value: int
    pnl: int
    notional: int
    exposure: int
    maintenance_value: int
    maintenance_bracket: int | None
    maintenance_rate: Fraction
    deduction: Fraction
    maintenance_exact: Fraction
    maintenance: int
    initial_value: int
    initial_bracket: int | None
    initial_rate: Fraction
    initial_exact: Fraction
    initial: int
    fee: int


class _Requirement(NamedTuple):
    """The maintenance of one leg at one mark: ``ceil(exact) + fee``, in quanta."""

    value: int
    bracket: int | None
    rate: Fraction
    deduction: Fraction
    exact: Fraction
    fee: int
    total: int


def _notional(instrument: Instrument, leg: Leg, mark: int) -> int:
    return _amount(abs(leg.quantity) * mark * instrument.k, "notional")


def _pnl(instrument: Instrument, leg: Leg, mark: int) -> int:
    value = _amount(leg.quantity * mark * instrument.k, "value")
    return _amount(value - leg.cost, "pnl")


def _exposure(leg: Leg) -> int:
    """``W``: the larger of "all bids fill" and "all asks fill", in lots."""
    quantity = leg.quantity
    if leg.leg == "long":
        exposure = abs(quantity) + leg.bids
    elif leg.leg == "short":
        exposure = abs(quantity) + leg.asks
    else:
        exposure = max(abs(quantity + leg.bids), abs(quantity - leg.asks))
    return _lots(exposure, "exposure")


def _initial_rate(instrument: Instrument, leg: Leg, value: int, lots: int) -> Fraction:
    """Take the larger of the bracket's initial rate and ``1/L``."""
    tiers = instrument.tiers
    at = tiers.index(value, lots)
    if at is None:
        own = tiers.initial_base + tiers.slope_per_lot * lots
        if own > 1:
            raise OracleError("limit_exceeded", "initial_rate", own, 1)
    else:
        own = tiers.brackets[at].initial
    if leg.leverage is None:
        return own
    return max(own, 1 / leg.leverage)


def _maintenance_terms(
    rules: Rules, instrument: Instrument, value: int, lots: int
) -> tuple[int | None, Fraction, Fraction]:
    """Bracket, maintenance rate and deduction for a value in quanta and a size in lots."""
    tiers = instrument.tiers
    at = tiers.index(value, lots)
    if at is not None:
        bracket = tiers.brackets[at]
        return at, bracket.maintenance, bracket.deduction
    own = tiers.maintenance_base + tiers.slope_per_lot * lots
    with_fee = own
    if rules.closing_fee == "mark":
        with_fee += instrument.taker_fee or 0
    if with_fee > 1:
        raise OracleError("limit_exceeded", "maintenance_rate", with_fee, 1)
    return None, own, Fraction(0)


def _closing_fee(rules: Rules, instrument: Instrument, leg: Leg, notional: int) -> int:
    """``F``: the closing fee at bankruptcy, in quanta; 0 unless the card asks for it."""
    if rules.closing_fee != "bankruptcy":
        return 0
    cost = abs(leg.cost)
    value = notional if rules.initial_basis == "mark" else cost
    rate_q = _initial_rate(instrument, leg, value, abs(leg.quantity))
    return ceil(cost * (1 - leg.sign * rate_q) * instrument.known_fee)


def _maintenance(rules: Rules, instrument: Instrument, leg: Leg, mark: int) -> _Requirement:
    notional = _notional(instrument, leg, mark)
    value = notional if rules.maintenance_basis == "mark" else abs(leg.cost)
    bracket, own, deduction = _maintenance_terms(rules, instrument, value, abs(leg.quantity))
    exact = value * own - deduction
    if rules.closing_fee == "mark":
        exact += notional * instrument.known_fee
    fee = _closing_fee(rules, instrument, leg, notional)
    total = _amount(max(0, ceil(exact) + fee), "maintenance")
    return _Requirement(value, bracket, own, deduction, exact, fee, total)


def _assess_leg(rules: Rules, instrument: Instrument, leg: Leg, mark: int) -> LegAssessment:
    notional = _notional(instrument, leg, mark)
    need = _maintenance(rules, instrument, leg, mark)
    exposure = _exposure(leg)
    if rules.initial_basis == "mark":
        initial_value = exposure * mark * instrument.k
    else:
        added = exposure - abs(leg.quantity)
        initial_value = abs(leg.cost) + added * mark * instrument.k
    _amount(initial_value, "initial_value")
    initial_rate = _initial_rate(instrument, leg, initial_value, exposure)
    initial_exact = initial_value * initial_rate
    return LegAssessment(
        leg=leg,
        mark=mark,
        value=leg.quantity * mark * instrument.k,
        pnl=_pnl(instrument, leg, mark),
        notional=notional,
        exposure=exposure,
        maintenance_value=need.value,
        maintenance_bracket=need.bracket,
        maintenance_rate=need.rate,
        deduction=need.deduction,
        maintenance_exact=need.exact,
        maintenance=need.total,
        initial_value=initial_value,
        initial_bracket=instrument.tiers.index(initial_value, exposure),
        initial_rate=initial_rate,
        initial_exact=initial_exact,
        initial=_amount(ceil(initial_exact) + need.fee, "initial"),
        fee=need.fee,
    )


# --- margin.md: the check ---------------------------------------------------------------------


@dataclass(frozen=True)
class Assessment:
    """What a pool comes to: amounts in quanta, ``status`` 0 to 3, display columns in ppm."""

    equity: int
    initial: int
    maintenance: int
    status: int
    liquidatable: bool
    ratio_ppm: int
    distance_ppm: int
    legs: tuple[LegAssessment, ...]


def _mark(marks: Mapping[str, int], symbol: str) -> int:
    if symbol not in marks:
        raise OracleError("missing_price", "mark", symbol)
    return _ticks(marks[symbol], "mark")


def _is_liquidatable(rules: Rules, equity: int, maintenance: int) -> bool:
    if maintenance <= 0:
        return False
    if rules.trigger == "strict":
        return equity < maintenance
    return equity <= maintenance


def _ratio_ppm(equity: int, maintenance: int) -> int:
    if maintenance == 0:
        return 0
    if equity <= 0:
        return INT64_MAX
    return _saturated(ceil(Fraction(maintenance * 10**6, equity)))


def _distance_ppm(equity: int, maintenance: int, notional: int) -> int:
    if notional == 0:
        return INT64_MAX
    return _saturated(floor(Fraction((equity - maintenance) * 10**6, notional)))


def assess(card: Card, pool: Pool, marks: Mapping[str, int]) -> Assessment:
    """Check one pool at the given marks.

    Parameters
    ----------
    card : Card
        The venue.
    pool : Pool
        The pool.
    marks : Mapping[str, int]
        Mark of each instrument, in mark ticks.

    Returns
    -------
    Assessment
        Equity, requirements, status and every step of each leg.

    Raises
    ------
    OracleError
        ``missing_price``, ``overflow`` or ``limit_exceeded``.
    """
    rules = card.rules
    legs = tuple(
        _assess_leg(rules, card.instruments[leg.instrument], leg, _mark(marks, leg.instrument))
        for leg in pool.legs
    )
    pnl = sum(leg.pnl for leg in legs)
    accrued = sum(leg.accrued for leg in pool.legs)
    equity = _amount(pool.collateral + pnl - accrued, "equity")
    initial = _amount(sum(leg.initial for leg in legs), "initial")
    maintenance = _amount(sum(leg.maintenance for leg in legs), "maintenance")
    notional = _amount(sum(leg.notional for leg in legs), "notional")
    liquidatable = _is_liquidatable(rules, equity, maintenance)
    if equity < 0:
        status = BANKRUPT
    elif liquidatable:
        status = LIQUIDATABLE
    elif equity < initial:
        status = BELOW_INITIAL
    else:
        status = SAFE
    return Assessment(
        equity=equity,
        initial=initial,
        maintenance=maintenance,
        status=status,
        liquidatable=liquidatable,
        ratio_ppm=_ratio_ppm(equity, maintenance),
        distance_ppm=_distance_ppm(equity, maintenance, notional),
        legs=legs,
    )


# --- margin.md: liquidation price -------------------------------------------------------------


@dataclass(frozen=True)
class Flip:
    """Where the verdict changes.

    ``mark`` is the first tick with the other verdict and ``price`` the safe price beside it,
    both in mark ticks; ``becomes`` is ``liquidatable`` or ``safe``.
    """

    mark: int
    price: int
    becomes: str


class _Stretch(NamedTuple):
    """Ticks ``low`` to ``high`` whose verdict is known (or None: rounding decides)."""

    low: int
    high: int
    verdict: bool | None


@dataclass
class _Scene:
    """One pool seen as a function of one instrument's mark, all others held."""

    rules: Rules
    instrument: Instrument
    legs: tuple[Leg, ...]
    equity_rest: int
    maintenance_rest: int
    evaluations_max: int
    evaluations: int = 0

    def sums(self, mark: int) -> tuple[int, int]:
        """Equity and maintenance at a mark, in quanta."""
        equity = self.equity_rest
        maintenance = self.maintenance_rest
        for leg in self.legs:
            equity += _pnl(self.instrument, leg, mark) - leg.accrued
            maintenance += _maintenance(self.rules, self.instrument, leg, mark).total
        return _amount(equity, "equity"), _amount(maintenance, "maintenance")

    def slack(self, mark: int) -> Fraction:
        """Equity less maintenance *before* the rounding of the legs' requirements."""
        slack = Fraction(self.equity_rest - self.maintenance_rest)
        for leg in self.legs:
            need = _maintenance(self.rules, self.instrument, leg, mark)
            slack += _pnl(self.instrument, leg, mark) - leg.accrued
            slack -= need.exact + need.fee
        return slack

    def verdict(self, mark: int) -> bool:
        """Tell whether the pool is liquidatable at this mark."""
        self.evaluations += 1
        if self.evaluations > self.evaluations_max:
            raise OracleError(
                "limit_exceeded", "evaluations", self.evaluations, self.evaluations_max
            )
        equity, maintenance = self.sums(mark)
        return _is_liquidatable(self.rules, equity, maintenance)

    def within_bounds(self, mark: int) -> bool:
        """Tell whether every amount at this mark is inside the bounds of floor 0."""
        try:
            self.sums(mark)
        except OracleError as error:
            if error.code != "overflow":
                raise
            return False
        return True


def _scene(
    card: Card, pool: Pool, marks: Mapping[str, int], symbol: str, evaluations_max: int
) -> _Scene:
    equity = pool.collateral
    maintenance = 0
    moving: list[Leg] = []
    for leg in pool.legs:
        if leg.instrument == symbol:
            moving.append(leg)
            continue
        instrument = card.instruments[leg.instrument]
        mark = _mark(marks, leg.instrument)
        equity += _pnl(instrument, leg, mark) - leg.accrued
        maintenance += _maintenance(card.rules, instrument, leg, mark).total
    return _Scene(
        card.rules,
        card.instruments[symbol],
        tuple(moving),
        equity,
        maintenance,
        evaluations_max,
    )


def verdict(card: Card, pool: Pool, marks: Mapping[str, int], instrument: str, mark: int) -> bool:
    """Tell whether the pool is liquidatable with one instrument's mark at ``mark``.

    Parameters
    ----------
    card : Card
        The venue.
    pool : Pool
        The pool.
    marks : Mapping[str, int]
        Mark of each instrument, in mark ticks.
    instrument : str
        The symbol whose mark is replaced.
    mark : int
        Its mark, in mark ticks.

    Returns
    -------
    bool
        The ``liquidatable`` of the check.
    """
    return _scene(card, pool, marks, instrument, EVALUATIONS_MAX).verdict(_ticks(mark, "mark"))


def _last(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """Bisect: the last number from ``low`` to ``high`` that holds; ``low`` must hold.

    ``holds`` is true up to some number and false after it.
    """
    while low < high:
        middle = (low + high + 1) // 2
        if holds(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _price_range(scene: _Scene, current: int) -> tuple[int, int]:
    """Bound the ticks around ``current`` at which no bound is passed.

    Every bound is on a quantity that is convex or monotone in the mark, so these ticks are one
    interval and its ends can be bisected.
    """
    if scene.within_bounds(TICKS_MAX):
        high = TICKS_MAX
    else:
        high = _last(current, TICKS_MAX, scene.within_bounds)
    if scene.within_bounds(1):
        return 1, high
    down = _last(0, current - 1, lambda step: scene.within_bounds(current - step))
    return current - down, high


def _pieces(scene: _Scene, low: int, high: int) -> list[tuple[int, int]]:
    """Split ``low`` to ``high`` so that no leg changes its bracket inside a piece."""
    starts = {low}
    for leg in scene.legs:
        per_tick = abs(leg.quantity) * scene.instrument.k
        if scene.instrument.tiers.by != "notional" or per_tick == 0:
            continue
        for bracket in scene.instrument.tiers.brackets:
            first = ceil(Fraction(bracket.floor, per_tick))  # first tick with N >= floor
            if low < first <= high:
                starts.add(first)
    ordered = sorted(starts)
    ends = [start - 1 for start in ordered[1:]] + [high]
    return list(zip(ordered, ends, strict=True))


def _stretches(scene: _Scene, low: int, high: int) -> list[_Stretch]:
    """Split a piece, in ascending order, into safe, liquidatable and "rounding decides".

    Inside a piece the slack before rounding is a straight line, so two points give it exactly.
    Each of the n legs' requirements is rounded up by less than one quantum. So slack < 0 is
    liquidatable, slack >= n is safe under either trigger, and between them rounding decides.
    """
    if scene.sums(low)[1] == scene.sums(high)[1] == 0:  # nothing is required in the piece
        return [_Stretch(low, high, verdict=False)]
    legs = len(scene.legs)
    at_low = scene.slack(low)
    slope = (scene.slack(high) - at_low) / (high - low) if high > low else Fraction(0)
    if slope == 0:
        known = True if at_low < 0 else False if at_low >= legs else None
        return [_Stretch(low, high, known)]
    root_zero = low - at_low / slope
    root_legs = low + (legs - at_low) / slope
    if slope > 0:
        cuts = (ceil(root_zero), ceil(root_legs))
        order: tuple[bool | None, ...] = (True, None, False)
    else:
        cuts = (floor(root_legs) + 1, floor(root_zero) + 1)
        order = (False, None, True)
    first, second = (min(max(cut, low), high + 1) for cut in cuts)
    bounds = ((low, first - 1), (first, second - 1), (second, high))
    return [
        _Stretch(start, end, known)
        for (start, end), known in zip(bounds, order, strict=True)
        if start <= end
    ]


def _first_change(scene: _Scene, near: int, far: int, *, now: bool) -> int | None:
    """Find the first tick from ``near`` to ``far`` whose verdict is not ``now``.

    With one leg that moves, equity less maintenance never turns inside a piece (a step of the
    mark moves equity by q k and the rounded requirement by no more), so it may be bisected.
    With two legs the ticks are tried one by one.
    """
    step = 1 if far >= near else -1
    moving = [leg for leg in scene.legs if leg.quantity != 0]
    if len(moving) > 1:
        for mark in range(near, far + step, step):
            if scene.verdict(mark) != now:
                return mark
        return None
    if scene.verdict(near) != now:
        return near
    if scene.verdict(far) == now:
        return None
    same = _last(0, abs(far - near), lambda d: scene.verdict(near + step * d) == now)
    return near + step * (same + 1)


def _find(scene: _Scene, stretches: Iterable[_Stretch], *, now: bool, down: bool) -> int | None:
    """Find the nearest tick with the other verdict; stretches come nearest first."""
    for stretch in stretches:
        near, far = (stretch.high, stretch.low) if down else (stretch.low, stretch.high)
        if stretch.verdict is None:
            found = _first_change(scene, near, far, now=now)
            if found is not None:
                return found
        elif stretch.verdict != now:
            return near
    return None


def _below(scene: _Scene, current: int, low: int, *, now: bool) -> int | None:
    scene.evaluations = 0
    for start, end in reversed(_pieces(scene, low, current - 1)):
        found = _find(scene, reversed(_stretches(scene, start, end)), now=now, down=True)
        if found is not None:
            return found
    return None


def _above(scene: _Scene, current: int, high: int, *, now: bool) -> int | None:
    scene.evaluations = 0
    for start, end in _pieces(scene, current + 1, high):
        found = _find(scene, _stretches(scene, start, end), now=now, down=False)
        if found is not None:
            return found
    return None


def _flip(scene: _Scene, mark: int, current: int, bounds: tuple[int, int]) -> Flip:
    """Give a flip its order price: the safe tick beside it, rounded toward safety."""
    grid = scene.instrument.mark_ticks_per_price_tick
    below = mark < current
    becomes = scene.verdict(mark)
    if becomes:
        safe = mark + 1 if below else mark - 1
        toward = ceil(Fraction(safe, grid)) if below else floor(Fraction(safe, grid))
        price = toward * grid
        past = price > current if below else price < current
        return Flip(mark, safe if past else price, "liquidatable")
    away = floor(Fraction(mark, grid)) if below else ceil(Fraction(mark, grid))
    price = away * grid
    if not bounds[0] <= price <= bounds[1] or scene.verdict(price):
        price = mark
    return Flip(mark, price, "safe")


def liquidation_price(
    card: Card,
    pool: Pool,
    marks: Mapping[str, int],
    instrument: str,
    evaluations_max: int = EVALUATIONS_MAX,
) -> tuple[Flip | str, Flip | str]:
    """Find the nearest marks below and above at which the verdict changes.

    Parameters
    ----------
    card : Card
        The venue.
    pool : Pool
        The pool.
    marks : Mapping[str, int]
        Mark of each instrument, in mark ticks; all but the one asked for are held.
    instrument : str
        The symbol asked for.
    evaluations_max : int
        The bound on evaluations for each direction.

    Returns
    -------
    tuple[Flip | str, Flip | str]
        Below and above; each a `Flip` (mark ticks), or ``no_flip_below`` / ``no_flip_above``.

    Raises
    ------
    OracleError
        ``limit_exceeded`` past the number of evaluations, ``missing_price``, ``overflow``.
    """
    current = _mark(marks, instrument)
    scene = _scene(card, pool, marks, instrument, evaluations_max)
    now = scene.verdict(current)
    below: Flip | str = "no_flip_below"
    above: Flip | str = "no_flip_above"
    if not scene.legs:
        return below, above
    low, high = _price_range(scene, current)
    mark = _below(scene, current, low, now=now) if current > low else None
    if mark is not None:
        below = _flip(scene, mark, current, (low, high))
    mark = _above(scene, current, high, now=now) if current < high else None
    if mark is not None:
        above = _flip(scene, mark, current, (low, high))
    return below, above


# --- margin.md: bankruptcy price --------------------------------------------------------------


@dataclass(frozen=True)
class Bankruptcy:
    """The bankruptcy price of a leg.

    ``price`` is in price ticks (None with a ``reason``); ``quote`` and ``allotted`` in quanta.
    """

    price: int | None
    reason: str | None
    quote: int
    allotted: int


def bankruptcy_price(
    card: Card, pool: Pool, marks: Mapping[str, int], instrument: str, leg: str = "net"
) -> Bankruptcy:
    """Find the price at which closing the full leg loses its allotted equity.

    Parameters
    ----------
    card : Card
        The venue.
    pool : Pool
        The pool.
    marks : Mapping[str, int]
        Mark of each instrument, in mark ticks.
    instrument : str
        Symbol of the leg.
    leg : str
        ``net``, ``long`` or ``short``.

    Returns
    -------
    Bankruptcy
        The price in price ticks, or the reason why there is none.

    Raises
    ------
    OracleError
        ``no_position`` without such a leg, ``no_requirement`` when the pool requires nothing,
        ``overflow`` when the price would pass the bound of prices.
    """
    assessment = assess(card, pool, marks)
    found = [
        own
        for own in assessment.legs
        if (own.leg.instrument, own.leg.leg) == (instrument, leg) and own.leg.quantity != 0
    ]
    if not found:
        raise OracleError("no_position", "leg", (instrument, leg))
    if assessment.maintenance == 0:
        raise OracleError("no_requirement", "maintenance", 0)
    own = found[0]
    share = Fraction(own.maintenance, assessment.maintenance)
    allotted = floor(assessment.equity * share)
    quote = _amount(own.leg.sign * own.notional - allotted, "quote")
    price = _bankruptcy_ticks(card, own.leg, quote)
    return Bankruptcy(
        price=price,
        reason="no_positive_price" if price is None else None,
        quote=quote,
        allotted=allotted,
    )


def _bankruptcy_ticks(card: Card, leg: Leg, quote: int) -> int | None:
    """Bisect for the price; what closing pays (or costs) never falls as the price rises."""
    instrument = card.instruments[leg.instrument]
    lots = abs(leg.quantity)
    per_tick = lots * instrument.quanta_per_price_tick_lot
    fee_rate = Fraction(0)
    if card.rules.bankruptcy_fee == "taker":
        fee_rate = instrument.known_fee

    def fee(x: int) -> int:
        return ceil(x * per_tick * fee_rate)

    last = TICKS_MAX // instrument.mark_ticks_per_price_tick
    if leg.sign > 0:
        if quote <= 0:
            return None
        too_low = _last(0, last, lambda x: x == 0 or x * per_tick - fee(x) < quote)
        if too_low == last:
            raise OracleError("overflow", "price", quote, last)
        return too_low + 1
    paid = _last(0, last + 1, lambda x: x == 0 or x * per_tick + fee(x) <= -quote)
    if paid > last:
        raise OracleError("overflow", "price", quote, last)
    return paid or None


# --- book.md ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Walk:
    """What a market order would take.

    ``filled`` and ``unfilled`` are lots, ``cost`` and ``fee`` quanta, ``worst`` price ticks,
    ``levels`` a count; ``vwap`` is in price ticks and exact, ``slippage_bps`` exact.
    """

    filled: int
    unfilled: int
    cost: int
    fee: int | None
    worst: int | None
    levels: int
    vwap: Fraction | None
    slippage_bps: Fraction | None


Levels = list[tuple[int, int]]


def check_book(bids: Levels, asks: Levels) -> None:
    """Check a snapshot: both sides strictly sorted, best first, and not crossed.

    Parameters
    ----------
    bids, asks : list[tuple[int, int]]
        Levels as (price ticks, lots), best first.

    Raises
    ------
    OracleError
        ``unsorted_book``, ``crossed_book``, ``out_of_range`` or ``overflow``.
    """
    for side, levels in (("bids", bids), ("asks", asks)):
        for price, lots in levels:
            _ticks(price, side)
            if lots < 1:
                raise OracleError("out_of_range", side, lots, 1)
            _given(lots, LOTS_MAX, side)
    for (better, _), (worse, _) in pairwise(bids):
        if better <= worse:
            raise OracleError("unsorted_book", "bids", worse, better)
    for (better, _), (worse, _) in pairwise(asks):
        if better >= worse:
            raise OracleError("unsorted_book", "asks", worse, better)
    if bids and asks and bids[0][0] >= asks[0][0]:
        raise OracleError("crossed_book", "bids", bids[0][0], asks[0][0])


def mid_price(bids: Levels, asks: Levels) -> Fraction | None:
    """Give the mid in price ticks, exact; None unless both sides exist.

    Parameters
    ----------
    bids, asks : list[tuple[int, int]]
        Levels as (price ticks, lots), best first.

    Returns
    -------
    Fraction or None
        (best bid + best ask) / 2.
    """
    if not bids or not asks:
        return None
    return Fraction(bids[0][0] + asks[0][0], 2)


def _taken(bids: Levels, asks: Levels, side: str, limit: int | None) -> Levels:
    """Give the levels a taker of ``side`` may touch, best first, up to ``limit``."""
    _one_of(side, "side", ("buy", "sell"))
    if side == "buy":
        return [level for level in asks if limit is None or level[0] <= limit]
    return [level for level in bids if limit is None or level[0] >= limit]


def walk(
    bids: Levels,
    asks: Levels,
    per_tick_lot: int,
    side: str,
    quantity: int,
    limit: int | None = None,
    fee: Fraction | None = None,
) -> Walk:
    """Walk the book as a market order would; nothing is changed.

    Parameters
    ----------
    bids, asks : list[tuple[int, int]]
        Levels as (price ticks, lots), best first.
    per_tick_lot : int
        ``K``: quanta per price tick and lot.
    side : str
        ``buy`` walks the asks, ``sell`` the bids.
    quantity : int
        Lots to take, at least 0.
    limit : int or None
        The last price that may be touched, in price ticks.
    fee : Fraction or None
        The taker fee, a rate; None when it is unknown.

    Returns
    -------
    Walk
        Lots, quanta and price ticks; see there.
    """
    check_book(bids, asks)
    if quantity < 0:
        raise OracleError("out_of_range", "quantity", quantity, 0)
    _given(quantity, LOTS_MAX, "quantity")
    filled = cost = levels = 0
    worst: int | None = None
    for price, lots in _taken(bids, asks, side, limit):
        taken = min(lots, quantity - filled)
        if taken == 0:
            break
        filled += taken
        cost += price * taken * per_tick_lot
        worst = price
        levels += 1
    _amount(cost, "cost")
    mid = mid_price(bids, asks)
    vwap = Fraction(cost, filled * per_tick_lot) if filled else None
    slippage: Fraction | None = None
    if vwap is not None and mid is not None:
        slippage = 10**4 * (vwap - mid) / mid
        if side == "sell":
            slippage = -slippage
    return Walk(
        filled=filled,
        unfilled=quantity - filled,
        cost=cost,
        fee=None if fee is None else ceil(cost * fee),
        worst=worst,
        levels=levels,
        vwap=vwap,
        slippage_bps=slippage,
    )


def _available(bids: Levels, asks: Levels, side: str, limit: int | None) -> int:
    return sum(lots for _, lots in _taken(bids, asks, side, limit))


def _largest(available: int, fits: Callable[[int], bool]) -> int:
    """Bisect for the largest number of lots that fits; nothing at all always fits."""
    return _last(0, available, lambda lots: lots == 0 or fits(lots))


def walk_notional(
    bids: Levels,
    asks: Levels,
    per_tick_lot: int,
    side: str,
    notional: int,
    limit: int | None = None,
    fee: Fraction | None = None,
) -> Walk:
    """Walk the largest quantity whose cost is at most ``notional`` quanta.

    Parameters
    ----------
    bids, asks : list[tuple[int, int]]
        Levels as (price ticks, lots), best first.
    per_tick_lot : int
        ``K``: quanta per price tick and lot.
    side : str
        ``buy`` or ``sell``.
    notional : int
        The most that the walk may cost, in quanta, fee not included; at least 0.
    limit : int or None
        The last price that may be touched, in price ticks.
    fee : Fraction or None
        The taker fee, a rate; None when it is unknown.

    Returns
    -------
    Walk
        The walk of that quantity; nothing of it is unfilled.
    """
    lots = max_quantity_cost(bids, asks, per_tick_lot, side, notional, limit)
    return walk(bids, asks, per_tick_lot, side, lots, limit, fee)


def max_quantity_slippage(
    bids: Levels, asks: Levels, per_tick_lot: int, side: str, slippage_bps: Fraction
) -> int:
    """Find the most lots whose slippage against the mid is at most ``slippage_bps``.

    Parameters
    ----------
    bids, asks : list[tuple[int, int]]
        Levels as (price ticks, lots), best first.
    per_tick_lot : int
        ``K``: quanta per price tick and lot.
    side : str
        ``buy`` or ``sell``.
    slippage_bps : Fraction
        Basis points, at least 0.

    Returns
    -------
    int
        Lots.

    Raises
    ------
    OracleError
        ``no_mid`` when a side is empty.
    """
    if slippage_bps < 0:
        raise OracleError("out_of_range", "slippage_bps", slippage_bps, 0)
    if mid_price(bids, asks) is None:
        raise OracleError("no_mid", "slippage_bps", slippage_bps)

    def fits(lots: int) -> bool:
        own = walk(bids, asks, per_tick_lot, side, lots).slippage_bps
        return own is not None and own <= slippage_bps

    return _largest(_available(bids, asks, side, None), fits)


def max_quantity_cost(
    bids: Levels,
    asks: Levels,
    per_tick_lot: int,
    side: str,
    cost: int,
    limit: int | None = None,
) -> int:
    """Find the most lots whose cost, fee not included, is at most ``cost`` quanta.

    Parameters
    ----------
    bids, asks : list[tuple[int, int]]
        Levels as (price ticks, lots), best first.
    per_tick_lot : int
        ``K``: quanta per price tick and lot.
    side : str
        ``buy`` or ``sell``.
    cost : int
        Quanta, at least 0.
    limit : int or None
        The last price that may be touched, in price ticks.

    Returns
    -------
    int
        Lots.
    """
    if cost < 0:
        raise OracleError("out_of_range", "cost", cost, 0)
    return _largest(
        _available(bids, asks, side, limit),
        lambda lots: walk(bids, asks, per_tick_lot, side, lots, limit).cost <= cost,
    )


def max_quantity_limit(bids: Levels, asks: Levels, side: str, limit: int) -> int:
    """Find the most lots that touch no level beyond ``limit``.

    Parameters
    ----------
    bids, asks : list[tuple[int, int]]
        Levels as (price ticks, lots), best first.
    side : str
        ``buy`` or ``sell``.
    limit : int
        The last price that may be touched, in price ticks.

    Returns
    -------
    int
        Lots.
    """
    check_book(bids, asks)
    return _available(bids, asks, side, limit)

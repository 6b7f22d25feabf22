"""The shipped oracle: the margin specification once more, in plain fractions.

This module is the independent second implementation of ``docs/spec`` (numbers, card, margin,
collateral, book). It is written from that text, it imports nothing of ``aivora_core``, and it is
slow on purpose: every rate is a `fractions.Fraction`, every amount an ``int``, and every line is
meant to be read beside the sentence it comes from. The core must agree with it bit for bit.

Units, everywhere below: a quantity is in lots, a mark in mark ticks, an order price in price
ticks, the price of an asset in its own ticks, an amount in quanta of its asset.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import pairwise
from math import ceil, floor, isqrt, lcm
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = [
    "Assessment",
    "Asset",
    "AssetAssessment",
    "Balance",
    "Bankruptcy",
    "Bracket",
    "Card",
    "Fill",
    "Flip",
    "Instrument",
    "Leg",
    "LegAssessment",
    "OpenInterest",
    "OracleError",
    "Pool",
    "Rules",
    "Slice",
    "Tiers",
    "Walk",
    "Withdrawal",
    "assess",
    "bankruptcy_price",
    "check_book",
    "closing_ticks",
    "liquidation_price",
    "max_quantity_cost",
    "max_quantity_limit",
    "max_quantity_slippage",
    "mid_price",
    "number",
    "open_interest",
    "pools_from_tables",
    "rate",
    "verdict",
    "walk",
    "walk_notional",
    "withdrawable",
]

TICKS_MAX = 10**17
LOTS_MAX = 10**18
QUANTA_MAX = 10**36
RATE_TERM_MAX = 10**9
QUANTA_PER_TICK_LOT_MAX = 10**12
QUANTA_TICKS_PER_LOT_MAX = 10**18  # k of an inverse contract
UNIT_VALUE_TERM_MAX = 10**18
DENOMINATOR_MAX = 10**9
DENOMINATOR_SLOPE_MAX = 10**12
DENOMINATOR_VALUE_MAX = 10**18
EXPONENT_MAX = 1000
CHECK_EVERY_MAX = 86_400_000
ASSETS_MAX = 256
SLICES_MAX = 16
INSTRUMENTS_MAX = 4096
BRACKETS_MAX = 64
LEGS_MAX = 4096
WHOLE_BPS = 10_000
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
    valuation: str | None
    margin_mode: str
    withdrawal_profit: Fraction
    trigger: str
    maintenance_basis: str
    initial_basis: str
    maintenance_from: str
    closing_fee: str
    bankruptcy_fee: str
    equity_allotment: str


@dataclass(frozen=True)
class Slice:
    """A part of a positive balance with its haircut: from ``floor`` quanta to the next slice."""

    floor: int
    haircut: Fraction


@dataclass(frozen=True)
class Asset:
    """One asset of a card.

    ``unit_value`` is the value of one quantum for each tick of its price, in quanta of the
    valuation asset: 1 for the valuation asset itself, None on a card without one.
    """

    name: str
    quantum: Fraction
    price_tick: Fraction | None
    slices: tuple[Slice, ...]
    liability_weight: Fraction
    unit_value: Fraction | None


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

    ``by`` is ``notional`` or ``size``, with brackets, or ``size_slope``, ``value_slope`` or
    ``size_root``, without. The bases serve the three without; ``slope_per_lot`` is the growth of
    both rates per lot, ``slope_per_quantum`` that per quantum of value, ``factor`` that of
    ``size_root``, in whole millionths, and ``nano_per_lot`` a lot in 10^-9 of quantity.
    """

    by: str
    brackets: tuple[Bracket, ...] = ()
    maintenance_base: Fraction = Fraction(0)
    initial_base: Fraction = Fraction(0)
    slope_per_lot: Fraction = Fraction(0)
    slope_per_quantum: Fraction = Fraction(0)
    factor: int = 0
    nano_per_lot: int = 0

    def grown(self, base: Fraction, value: Fraction | int, lots: int) -> Fraction:
        """Let a base rate grow to a value in quanta (for a whole value: `ceil`) or a size."""
        if self.by == "size_slope":
            return base + self.slope_per_lot * lots
        if self.by == "value_slope":
            return base + self.slope_per_quantum * ceil(value)
        whole = _whole(base * WHOLE_BPS, "base")
        root = isqrt(10 * self.nano_per_lot * lots + 1)
        whole = max(whole, whole - whole // 5 + root * self.factor // 10**7)
        return Fraction(whole, WHOLE_BPS)

    def index(self, value: Fraction | int, lots: int) -> int | None:
        """Find the last bracket whose floor is at most ``value`` quanta (or ``lots``)."""
        if self.by in _GROWING:
            return None
        measure = value if self.by == "notional" else lots
        held = [i for i, bracket in enumerate(self.brackets) if bracket.floor <= measure]
        return held[-1]


@dataclass(frozen=True)
class Instrument:
    """One instrument.

    ``price_tick`` and ``mark_tick`` are prices, ``lot`` a quantity, ``quantum`` that of the
    asset ``settlement``; ``k`` is in quanta per mark tick and lot (for an inverse contract
    quanta times mark ticks per lot) and whole unless the value is rounded by contract;
    ``taker_fee`` is a rate, or None when it is unknown.
    """

    symbol: str
    kind: str
    settlement: str
    quantum: Fraction
    value_rounding: str
    price_tick: Fraction
    mark_tick: Fraction
    lot: Fraction
    multiplier: Fraction
    k: Fraction
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
        """``K`` of the specification: quanta per price tick and lot (linear and quanto)."""
        return _whole(self.k * self.mark_ticks_per_price_tick, "k")

    @property
    def fill(self) -> Terms:
        """How the cost of lots filled at one price follows: ``K``, or the terms of the rounding."""
        marks = self.mark_ticks_per_price_tick
        contracts = _whole(self.lot, "lot") if self.is_per_contract else None
        if self.is_inverse:
            return Fill(self.k / marks, inverse=True, contracts=contracts, marks=marks)
        if self.is_per_contract:
            return Fill(self.k * marks, contracts=contracts, marks=marks)
        return self.quanta_per_price_tick_lot

    @property
    def is_inverse(self) -> bool:
        """Whether the contract is worth a fixed amount of quote currency, paid in the coin."""
        return self.kind == "inverse"

    @property
    def is_per_contract(self) -> bool:
        """Whether the value of one contract is rounded, not that of the position."""
        return self.value_rounding == "per_contract"

    def contract_value(self, price: Fraction) -> int:
        """Value one contract (1.0 of quantity) at a price in units: nearest, ties to even."""
        if self.is_inverse:
            return round(self.multiplier / (price * self.quantum))
        return round(price * self.multiplier / self.quantum)

    def exact_value(self, lots: int, mark: int) -> Fraction:
        """Value a position before any rounding, signed, in quanta."""
        if self.is_inverse:
            return -lots * self.k / mark
        return lots * mark * self.k

    def rounded_value(self, lots: int, mark: int) -> int:
        """Value a position at a mark in ticks: signed, in quanta, rounded as its card says."""
        if self.is_per_contract:
            value = _whole(lots * self.lot, "lot") * self.contract_value(mark * self.mark_tick)
            return -value if self.is_inverse else value
        return floor(self.exact_value(lots, mark))

    def value(self, lots: int, mark: int) -> int:
        """Value a position as `rounded_value` does; past the bound of amounts is an overflow."""
        return _amount(self.rounded_value(lots, mark), "value")

    def measure(self, lots: int, mark: int) -> Fraction:
        """Size up ``lots`` for the choice of a bracket: the value before one division rounds."""
        if self.is_per_contract:
            return Fraction(abs(self.value(lots, mark)))
        return abs(self.exact_value(lots, mark))

    def added_value(self, lots: int, mark: int) -> int:
        """``R``: what ``lots`` of open orders are valued at, rounded up."""
        if self.is_per_contract:
            return abs(self.value(lots, mark))
        return _amount(ceil(abs(self.exact_value(lots, mark))), "orders")


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
#: What a card of version 1 has beside: words, and rules of prices, none of which the check reads.
_SAID_KEYS = {"definition": True}
# Rules that decide no requirement: of prices, and of the path. They are read where they are used.
_PRICE_KEYS = dict.fromkeys(
    (
        *("index", "mark", "funding", "validity", "fees", "liquidation", "step", "adl", "band"),
        *("throttle", "outflow", "open_interest", "rounding", "failure"),
    ),
    False,
)
_RULE_VALUES = {
    "trigger": ("strict", "non_strict"),
    "maintenance_basis": ("mark", "entry"),
    "initial_basis": ("mark", "entry"),
    "maintenance_from": ("explicit", "half_initial"),
    "closing_fee": ("none", "mark", "bankruptcy"),
    "bankruptcy_fee": ("none", "taker"),
    "equity_allotment": ("maintenance_share",),
    "margin_mode": ("single", "multi"),
}  # the first of each is the default
_RULE_KEYS = {
    "settlement": True,
    "valuation": False,
    "withdrawal_profit": False,
    "taker_fee": False,
    "check_on": False,
    **dict.fromkeys(_RULE_VALUES, False),
}
_ASSET_KEYS = {
    "quantum": True,
    "price_tick": False,
    "haircut": False,
    "haircuts": False,
    "liability_weight": False,
}
_SLICE_KEYS = {"floor": True, "haircut": True}
_INSTRUMENT_KEYS = {
    "symbol": True,
    "kind": True,
    "settlement": False,
    "value_rounding": False,
    "price_tick": True,
    "mark_tick": True,
    "lot": True,
    "multiplier": False,
    "taker_fee": False,
    "tiers": True,
}
_TIER_KEYS = {"by": True, "deduction": False, "brackets": True}
#: Tiers without brackets.
_GROWING = ("size_slope", "value_slope", "size_root")
_SLOPE_KEYS = {"by": True, "maintenance_base": True, "initial_base": True, "slope": True}
_ROOT_KEYS = {"by": True, "maintenance_base": True, "initial_base": True, "factor": True}
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
    """A venue card: its rules, its assets by name and its instruments by symbol."""

    name: str
    rules: Rules
    assets: Mapping[str, Asset]
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
        said = isinstance(tree, dict) and tree.get("schema") == "aivora-card/1"
        table = _table(tree, "card", {**_CARD_KEYS, **(_SAID_KEYS if said else {})})
        _one_of(table["schema"], "schema", ("aivora-card/0", "aivora-card/1"))
        name = _text(table["name"], "name")
        if re.fullmatch(r"[a-z0-9_-]+", name) is None:
            raise OracleError("bad_value", "name", name)
        rules, venue_fee = _read_rules(table)
        assets = _read_assets(table["asset"], rules)
        rows = _list(table["instrument"], "instrument")
        if len(rows) > INSTRUMENTS_MAX:
            raise OracleError("limit_exceeded", "instrument", len(rows), INSTRUMENTS_MAX)
        instruments: dict[str, Instrument] = {}
        for row in rows:
            instrument = _read_instrument(row, rules, assets, venue_fee)
            if instrument.symbol in instruments:
                raise OracleError("duplicate", "symbol", instrument.symbol)
            instruments[instrument.symbol] = instrument
        return cls(name=name, rules=rules, assets=assets, instruments=instruments)

    def asset(self, name: object) -> Asset:
        """Give an asset by name; ``unknown_asset`` where the card has none."""
        if not isinstance(name, str) or name not in self.assets:
            raise OracleError("unknown_asset", "asset", name)
        return self.assets[name]


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
    """Read ``[rules]`` and the venue's taker fee; the assets they name must be there."""
    said = table["schema"] == "aivora-card/1"
    keys = {**_RULE_KEYS, **(_PRICE_KEYS | {"trigger": True, "check_on": True} if said else {})}
    row = _table(table["rules"], "rules", keys)
    settlement = _text(row["settlement"], "settlement")
    valuation = _text(row["valuation"], "valuation") if "valuation" in row else None
    for name in (settlement, valuation):
        if name is not None and (
            not isinstance(table["asset"], dict) or name not in table["asset"]
        ):
            raise OracleError("bad_value", f"asset.{name}", name)
    chosen = {
        key: _one_of(row.get(key, allowed[0]), key, allowed)
        for key, allowed in _RULE_VALUES.items()
    }
    if chosen["margin_mode"] == "multi" and valuation is None:
        raise OracleError("missing_key", "valuation")
    _check_event(row.get("check_on", "mark"))
    profit = rate(row.get("withdrawal_profit", 0), "withdrawal_profit")
    fee = rate(row["taker_fee"], "taker_fee") if "taker_fee" in row else None
    own = Rules(settlement=settlement, valuation=valuation, withdrawal_profit=profit, **chosen)
    return own, fee


def _check_event(node: object) -> None:
    """Refuse what names no event of a check: when it is made changes no number here."""
    text = _text(node, "check_on")
    every = text.removesuffix("ms")
    known = text in ("mark", "block") or (
        text.endswith("ms") and every.isascii() and every.isdigit()
    )
    if not known or (every.isdigit() and not 1 <= int(every) <= CHECK_EVERY_MAX):
        raise OracleError("bad_value", "check_on", text)


def _read_assets(node: object, rules: Rules) -> dict[str, Asset]:
    """Read ``[asset.NAME]``: what a balance of each counts in the valuation asset."""
    if not isinstance(node, dict):
        raise OracleError("bad_value", "asset", node)
    if len(node) > ASSETS_MAX:
        raise OracleError("limit_exceeded", "asset", len(node), ASSETS_MAX)
    rows = {name: _table(row, f"asset.{name}", _ASSET_KEYS) for name, row in node.items()}
    quanta = {name: _positive(row["quantum"], "quantum") for name, row in rows.items()}
    base = None if rules.valuation is None else quanta[rules.valuation]
    assets: dict[str, Asset] = {}
    for name, row in rows.items():
        if base is None or name == rules.valuation:
            for key in row:
                if key != "quantum":
                    raise OracleError("unknown_key", f"asset.{name}.{key}", row[key])
            one = None if base is None else Fraction(1)
            assets[name] = Asset(name, quanta[name], None, (), Fraction(1), one)
        else:
            assets[name] = _read_valued_asset(name, row, quanta[name], base)
    return assets


def _read_valued_asset(
    name: str, row: Mapping[str, object], quantum: Fraction, base: Fraction
) -> Asset:
    """Read an asset that is valued in another one; ``base`` is the quantum of that one."""
    if "price_tick" not in row:
        raise OracleError("missing_key", f"asset.{name}.price_tick")
    if ("haircut" in row) == ("haircuts" in row):
        raise OracleError("missing_key", f"asset.{name}.haircut")
    tick = _positive(row["price_tick"], "price_tick")
    weight = rational(row.get("liability_weight", 1), "liability_weight")
    if weight < 1:
        raise OracleError("out_of_range", "liability_weight", weight, 1)
    if weight.numerator > RATE_TERM_MAX or weight.denominator > RATE_TERM_MAX:
        raise OracleError("out_of_range", "liability_weight", weight, RATE_TERM_MAX)
    unit = tick * quantum / base
    if unit.numerator > UNIT_VALUE_TERM_MAX or unit.denominator > UNIT_VALUE_TERM_MAX:
        raise OracleError("out_of_range", "price_tick", unit, UNIT_VALUE_TERM_MAX)
    if "haircut" in row:
        slices = [Slice(0, rate(row["haircut"], "haircut"))]
    else:
        slices = _read_slices(row["haircuts"], quantum)
    common = lcm(*(one.haircut.denominator for one in slices))
    if common > DENOMINATOR_MAX:
        raise OracleError("limit_exceeded", "haircuts", common, DENOMINATOR_MAX)
    return Asset(name, quantum, tick, tuple(slices), weight, unit)


def _read_slices(node: object, quantum: Fraction) -> list[Slice]:
    """Read haircuts by slice: the first floor is 0, floors rise, haircuts do not fall."""
    rows = _list(node, "haircuts")
    if len(rows) > SLICES_MAX:
        raise OracleError("limit_exceeded", "haircuts", len(rows), SLICES_MAX)
    slices: list[Slice] = []
    for given in rows:
        row = _table(given, "haircuts", _SLICE_KEYS)
        low = _whole(number(row["floor"], "floor") / quantum, "floor")
        own = Slice(low, rate(row["haircut"], "haircut"))
        if not slices and own.floor != 0:
            raise OracleError("bad_value", "floor", own.floor, 0)
        if slices and own.floor <= slices[-1].floor:
            raise OracleError("bad_value", "floor", own.floor, slices[-1].floor)
        if slices and own.haircut < slices[-1].haircut:
            raise OracleError("bad_value", "haircut", own.haircut, slices[-1].haircut)
        slices.append(own)
    return slices


def _read_instrument(
    node: object, rules: Rules, assets: Mapping[str, Asset], venue_fee: Fraction | None
) -> Instrument:
    row = _table(node, "instrument", _INSTRUMENT_KEYS)
    symbol = _text(row["symbol"], "symbol")
    kind = _one_of(row["kind"], "kind", ("linear", "quanto", "inverse"))
    settlement = _text(row.get("settlement", rules.settlement), "settlement")
    if settlement not in assets:
        raise OracleError("bad_value", "settlement", settlement)
    quantum = assets[settlement].quantum
    price_tick = _positive(row["price_tick"], "price_tick")
    mark_tick = _positive(row["mark_tick"], "mark_tick")
    lot = _positive(row["lot"], "lot")
    multiplier = _positive(row.get("multiplier", 1), "multiplier")
    marks_per_price = _whole(price_tick / mark_tick, "price_tick")
    roundings = ("position", "per_contract")
    rounding = _one_of(row.get("value_rounding", "position"), "value_rounding", roundings)
    k = mark_tick * lot * multiplier / quantum
    if kind == "inverse":
        k = lot * multiplier / (mark_tick * quantum)
    if rounding == "per_contract":  # the value of one contract is whole, k need not be
        _whole(lot, "lot")
    elif kind == "inverse":
        if _whole(k, "k") > QUANTA_TICKS_PER_LOT_MAX:
            raise OracleError("out_of_range", "k", k, QUANTA_TICKS_PER_LOT_MAX)
    elif _whole(k, "k") * marks_per_price > QUANTA_PER_TICK_LOT_MAX:  # K, and so k as well
        raise OracleError("out_of_range", "K", k * marks_per_price, QUANTA_PER_TICK_LOT_MAX)
    fee = rate(row["taker_fee"], "taker_fee") if "taker_fee" in row else venue_fee
    if fee is None and (rules.closing_fee != "none" or rules.bankruptcy_fee != "none"):
        raise OracleError("missing_key", f"{symbol}.taker_fee")
    return Instrument(
        symbol=symbol,
        kind=kind,
        settlement=settlement,
        quantum=quantum,
        value_rounding=rounding,
        price_tick=price_tick,
        mark_tick=mark_tick,
        lot=lot,
        multiplier=multiplier,
        k=k,
        taker_fee=fee,
        tiers=_read_tiers(row["tiers"], rules, (quantum, lot), fee),
    )


def _read_tiers(
    node: object, rules: Rules, grids: tuple[Fraction, Fraction], fee: Fraction | None
) -> Tiers:
    """Read tiers; ``grids`` are the settlement asset's quantum and the lot."""
    quantum, lot = grids
    by = node.get("by") if isinstance(node, dict) else None
    if by in _GROWING:
        return _read_growing(node, str(by), rules, grids, fee)
    row = _table(node, "tiers", _TIER_KEYS)
    _one_of(by, "by", ("notional", "size", *_GROWING))
    deduction = _one_of(row.get("deduction", "none"), "deduction", ("none", "derived"))
    if deduction == "derived" and by != "notional":
        raise OracleError("bad_tiers", "deduction", deduction)
    nodes = _list(row["brackets"], "brackets")
    if len(nodes) > BRACKETS_MAX:
        raise OracleError("limit_exceeded", "brackets", len(nodes), BRACKETS_MAX)
    rows = [_table(n, "bracket", _BRACKET_KEYS) for n in nodes]
    grid = quantum if by == "notional" else lot
    brackets: list[Bracket] = []
    for i, bracket_row in enumerate(rows):
        bracket = _read_bracket(bracket_row, rules, grid, fee)
        _check_cap(bracket, rows[i + 1] if i + 1 < len(rows) else None, grid)
        previous = brackets[-1] if brackets else None
        bracket = _follow(bracket, previous, derived=deduction == "derived")
        _check_published(bracket_row, bracket, quantum)
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


def _read_growing(
    node: object, by: str, rules: Rules, grids: tuple[Fraction, Fraction], fee: Fraction | None
) -> Tiers:
    """Read tiers without brackets; ``grids`` as for `_read_tiers`."""
    quantum, lot = grids
    row = _table(node, "tiers", _ROOT_KEYS if by == "size_root" else _SLOPE_KEYS)
    if rules.maintenance_from != "explicit":
        raise OracleError("bad_tiers", "maintenance_from", rules.maintenance_from, "explicit")
    maintenance = rate(row["maintenance_base"], "maintenance_base")
    initial = rate(row["initial_base"], "initial_base")
    _check_pair(maintenance, initial, fee)
    tiers = Tiers(by=by, maintenance_base=maintenance, initial_base=initial)
    if by == "size_root":
        for base in (maintenance, initial):
            _in_parts(base, WHOLE_BPS, "base")
        _check_denominator([Fraction(1, WHOLE_BPS)], rules, fee, DENOMINATOR_MAX)
        factor = _in_parts(rate(row["factor"], "factor"), 10**6, "factor")
        return replace(tiers, factor=factor, nano_per_lot=_in_parts(lot, 10**9, "lot"))
    slope = rate(row["slope"], "slope")
    if by == "value_slope":
        rates = [maintenance, initial, slope * quantum]
        _check_denominator(rates, rules, fee, DENOMINATOR_VALUE_MAX)
        return replace(tiers, slope_per_quantum=slope * quantum)
    _check_denominator([maintenance, slope * lot], rules, fee, DENOMINATOR_SLOPE_MAX)
    return replace(tiers, slope_per_lot=slope * lot)


def _in_parts(value: Fraction, parts: int, field: str) -> int:
    """Count the parts of one that a value of these tiers is made of, all of them whole."""
    if (value * parts).denominator != 1:
        raise OracleError("bad_tiers", field, value, Fraction(1, parts))
    return (value * parts).numerator


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
class Balance:
    """What a pool holds of one asset, and the interest it owes on it, in quanta."""

    asset: str
    amount: int
    interest: int = 0


@dataclass(frozen=True)
class Pool:
    """One pool: the unit that is checked.

    ``asset`` is the one it is checked in: its own in mode ``single``, the valuation asset in
    mode ``multi``. Each asset has at most one of the ``balances``.
    """

    account: str
    name: str
    kind: str
    mode: str
    asset: str
    balances: tuple[Balance, ...]
    legs: tuple[Leg, ...]

    def balance(self, asset: str) -> Balance:
        """Give the balance of an asset; nothing where the pool has none."""
        return next((own for own in self.balances if own.asset == asset), Balance(asset, 0))


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
        "interest": False,
        "interest_quanta": False,
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
        "mode": False,
        "instrument": False,
        "leverage": False,
    },
}
_LEGS = ("net", "long", "short")
_KINDS = ("cross", "isolated", "sub_account")
_MODES = ("single", "multi")

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


def _cost(row: Row, instrument: Instrument, lots: int, rounding: str | None) -> int:
    """Read the cost basis in quanta, or work it out from the average entry price."""
    if _either(row, ("entry", "cost", "cost_quanta")) != "entry":
        return _given(_scaled(row, "cost", "quanta", instrument.quantum), QUANTA_MAX, "cost")
    entry = _positive(row["entry"], "entry")
    if instrument.is_per_contract:
        value = _whole(lots * instrument.lot, "lot") * instrument.contract_value(entry)
        return _amount(-value if instrument.is_inverse else value, "cost")
    if instrument.is_inverse:
        return _amount(ceil(-lots * instrument.k * instrument.mark_tick / entry), "cost")
    cost = lots * entry / instrument.mark_tick * instrument.k
    if rounding == "against_account":
        return _amount(ceil(cost), "cost")
    return _amount(_whole(cost, "entry"), "cost")


@dataclass
class _Draft:
    """A pool while its rows are gathered."""

    kind: str | None = None
    mode: str | None = None
    balances: dict[str, Balance] = field(default_factory=dict)
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
        ``account``, ``pool``, ``asset`` (the card's settlement asset), ``amount`` or
        ``amount_quanta``, and optionally ``interest`` or ``interest_quanta``.
    orders : Iterable[Mapping[str, object]]
        ``account``, ``pool``, ``instrument``, ``leg``, ``side`` (buy or sell), ``quantity`` or
        ``quantity_lots``.
    pools : Iterable[Mapping[str, object]]
        ``account``, ``pool``, ``kind`` ("cross"), ``mode`` (the card's ``margin_mode``),
        ``instrument``, ``leverage``.
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
        ``unknown_instrument``, ``unknown_asset``, ``bad_value``, ``bad_leg``, ``bad_pool``,
        ``bad_collateral`` or ``limit_exceeded``.
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
    return [_finish(card, key, drafts[key]) for key in ordered]


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
    if "mode" in row:
        mode = _one_of(row["mode"], "mode", _MODES)
        if draft.mode not in {None, mode}:
            raise OracleError("duplicate", "mode", mode, draft.mode)
        draft.mode = mode
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
    cost = _cost(row, instrument, lots, rounding)
    direction = -lots if instrument.is_inverse else lots
    if cost * direction < 0 or (cost != 0 and lots == 0):  # signed like the value
        raise OracleError("bad_leg", "cost", cost, lots)
    accrued = 0
    if "accrued" in row or "accrued_quanta" in row:
        owed = _scaled(row, "accrued", "quanta", instrument.quantum)
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
    asset = card.asset(row.get("asset", card.rules.settlement))
    amount = _given(_scaled(row, "amount", "quanta", asset.quantum), QUANTA_MAX, "collateral")
    interest = 0
    if "interest" in row or "interest_quanta" in row:
        interest = _scaled(row, "interest", "quanta", asset.quantum)
        if interest < 0:
            raise OracleError("out_of_range", "interest", interest, 0)
        _given(interest, QUANTA_MAX, "interest")
    if asset.name in draft.balances:
        raise OracleError("duplicate", "collateral", asset.name)
    draft.balances[asset.name] = Balance(asset.name, amount, interest)


def _pool_asset(card: Card, draft: _Draft, legs: Iterable[Leg]) -> tuple[str, str]:
    """Give a pool's mode and the asset it is checked in; a leg that does not exist names none."""
    mode = draft.mode or card.rules.margin_mode
    if mode == "multi":
        if card.rules.valuation is None:
            raise OracleError("bad_collateral", "mode", mode, "valuation")
        return mode, card.rules.valuation
    named = {*draft.balances, *(card.instruments[leg.instrument].settlement for leg in legs)}
    if len(named) > 1:
        raise OracleError("bad_collateral", "asset", sorted(named), 1)
    return mode, next(iter(named), card.rules.settlement)


def _finish(card: Card, key: PoolKey, draft: _Draft) -> Pool:
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
    mode, asset = _pool_asset(card, draft, legs)
    balances = tuple(draft.balances[name] for name in sorted(draft.balances))
    return Pool(key[0], key[1], kind, mode, asset, balances, tuple(legs))


# --- margin.md: requirements of one leg -------------------------------------------------------


@dataclass(frozen=True)
class LegAssessment:
    """What one leg comes to at one mark.

    ``value``, ``pnl``, ``notional``, ``maintenance_value`` (``V_m``), ``initial_value``
    (``V_i``), ``fee`` (``F``), ``initial`` and ``maintenance`` are quanta, ``exposure`` (``W``)
    is lots; ``initial_exact`` and ``maintenance_exact`` are the quanta before rounding, without
    ``F``. The bracket indices count from 0 and are None where tiers have no brackets.
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
    return abs(instrument.value(leg.quantity, mark))


def _pnl(instrument: Instrument, leg: Leg, mark: int) -> int:
    return _amount(instrument.value(leg.quantity, mark) - leg.cost, "pnl")


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


def _initial_rate(instrument: Instrument, leg: Leg, value: Fraction | int, lots: int) -> Fraction:
    """Take the larger of the bracket's initial rate and ``1/L``."""
    tiers = instrument.tiers
    at = tiers.index(value, lots)
    if at is None:
        own = tiers.grown(tiers.initial_base, value, lots)
        if own > 1:
            raise OracleError("limit_exceeded", "initial_rate", own, 1)
    else:
        own = tiers.brackets[at].initial
    if leg.leverage is None:
        return own
    return max(own, 1 / leg.leverage)


def _maintenance_terms(
    rules: Rules, instrument: Instrument, value: Fraction | int, lots: int
) -> tuple[int | None, Fraction, Fraction]:
    """Bracket, maintenance rate and deduction for a value in quanta and a size in lots."""
    tiers = instrument.tiers
    at = tiers.index(value, lots)
    if at is not None:
        bracket = tiers.brackets[at]
        return at, bracket.maintenance, bracket.deduction
    own = tiers.grown(tiers.maintenance_base, value, lots)
    with_fee = own
    if rules.closing_fee == "mark":
        with_fee += instrument.taker_fee or 0
    if with_fee > 1:
        raise OracleError("limit_exceeded", "maintenance_rate", with_fee, 1)
    return None, own, Fraction(0)


def _closing_fee(rules: Rules, instrument: Instrument, leg: Leg, mark: int) -> int:
    """``F``: the closing fee at bankruptcy, in quanta; 0 unless the card asks for it."""
    if rules.closing_fee != "bankruptcy":
        return 0
    cost, size = abs(leg.cost), abs(leg.quantity)
    value = instrument.measure(size, mark) if rules.initial_basis == "mark" else cost
    rate_q = _initial_rate(instrument, leg, value, size)
    sign = -leg.sign if instrument.is_inverse else leg.sign
    return ceil(cost * (1 - sign * rate_q) * instrument.known_fee)


def _maintenance(rules: Rules, instrument: Instrument, leg: Leg, mark: int) -> _Requirement:
    notional, size = _notional(instrument, leg, mark), abs(leg.quantity)
    if rules.maintenance_basis == "mark":
        value, measure = notional, instrument.measure(size, mark)
    else:
        value, measure = abs(leg.cost), Fraction(abs(leg.cost))
    bracket, own, deduction = _maintenance_terms(rules, instrument, measure, size)
    exact = value * own - deduction
    if rules.closing_fee == "mark":
        exact += notional * instrument.known_fee
    fee = _closing_fee(rules, instrument, leg, mark)
    total = _amount(max(0, ceil(exact) + fee), "maintenance")
    return _Requirement(value, bracket, own, deduction, exact, fee, total)


def _assess_leg(rules: Rules, instrument: Instrument, leg: Leg, mark: int) -> LegAssessment:
    notional = _notional(instrument, leg, mark)
    need = _maintenance(rules, instrument, leg, mark)
    exposure = _exposure(leg)
    added = instrument.added_value(exposure - abs(leg.quantity), mark)
    if rules.initial_basis == "mark":
        initial_value = notional + added
        measure = instrument.measure(leg.quantity, mark) + added
    else:
        initial_value = abs(leg.cost) + added
        measure = Fraction(initial_value)
    _amount(initial_value, "initial_value")
    if instrument.tiers.by in {"size_slope", "size_root"}:
        _maintenance_terms(rules, instrument, 0, exposure)  # at all of the size, orders included
    initial_rate = _initial_rate(instrument, leg, measure, exposure)
    initial_exact = initial_value * initial_rate
    return LegAssessment(
        leg=leg,
        mark=mark,
        value=instrument.value(leg.quantity, mark),
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
        initial_bracket=instrument.tiers.index(measure, exposure),
        initial_rate=initial_rate,
        initial_exact=initial_exact,
        initial=_amount(ceil(initial_exact) + need.fee, "initial"),
        fee=need.fee,
    )


# --- collateral.md: what an asset counts ------------------------------------------------------


def _worth(asset: Asset, price: int) -> Fraction:
    """``t u``: what one quantum counts before any haircut, in quanta of the valuation asset."""
    if asset.unit_value is None:
        raise OracleError("bad_collateral", "valuation", asset.name)
    return price * asset.unit_value


def _exact_value(asset: Asset, price: int, equity: Fraction | int) -> Fraction:
    """Value an equity in one asset before the rounding, haircuts and weight included."""
    worth = _worth(asset, price)
    if equity < 0:
        return worth * equity * asset.liability_weight
    if not asset.slices:
        return worth * equity
    counted = Fraction(0)
    for at, own in enumerate(asset.slices):
        rest = equity - own.floor
        if at + 1 < len(asset.slices):
            rest = min(rest, asset.slices[at + 1].floor - own.floor)
        counted += max(Fraction(0), Fraction(rest)) * (1 - own.haircut)
    return worth * counted


def _value_of(asset: Asset, price: int, equity: int) -> int:
    """Value an equity in one asset: down, and so a liability up; in the valuation's quanta."""
    return _amount(floor(_exact_value(asset, price, equity)), "value")


def _price_of(asset: Asset, assets: Mapping[str, int]) -> int:
    """Give the price of an asset in ticks; 1 for the valuation asset itself."""
    if asset.price_tick is None and asset.unit_value is not None:
        return 1
    if asset.name not in assets:
        raise OracleError("missing_price", "asset", asset.name)
    return _ticks(assets[asset.name], "asset")


@dataclass(frozen=True)
class AssetAssessment:
    """What a pool holds and owes in one asset.

    ``balance`` to ``notional`` are quanta of the asset (``equity`` is ``e_A``), ``price`` its
    price in ticks (None where none is needed), and the four ``..._value`` and ``value`` are
    quanta of the asset that the pool is checked in.
    """

    asset: str
    balance: int
    interest: int
    pnl: int
    accrued: int
    equity: int
    initial: int
    maintenance: int
    notional: int
    price: int | None
    value: int
    initial_value: int
    maintenance_value: int
    notional_value: int


# --- margin.md: the check ---------------------------------------------------------------------


@dataclass(frozen=True)
class Assessment:
    """What a pool comes to, in quanta of ``asset``; ``status`` 0 to 3, display columns in ppm."""

    asset: str
    equity: int
    initial: int
    maintenance: int
    notional: int
    status: int
    liquidatable: bool
    ratio_ppm: int
    distance_ppm: int
    assets: tuple[AssetAssessment, ...]
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


def _held(card: Card, pool: Pool) -> list[str]:
    """Name the assets that a pool has to do with, in alphabetical order."""
    names = {own.asset for own in pool.balances}
    names |= {card.instruments[leg.instrument].settlement for leg in pool.legs}
    return sorted(names)


def _assess_asset(
    card: Card,
    pool: Pool,
    legs: Sequence[LegAssessment],
    name: str,
    assets: Mapping[str, int],
) -> AssetAssessment:
    """Add up what a pool holds in one asset and value it in the asset of the check."""
    own = [leg for leg in legs if card.instruments[leg.leg.instrument].settlement == name]
    held, asset = pool.balance(name), card.asset(name)
    pnl = _amount(sum(leg.pnl for leg in own), "pnl")
    accrued = _amount(sum(leg.leg.accrued for leg in own), "accrued")
    equity = _amount(held.amount - held.interest + pnl - accrued, "equity")
    initial = _amount(sum(leg.initial for leg in own), "initial")
    maintenance = _amount(sum(leg.maintenance for leg in own), "maintenance")
    notional = _amount(sum(leg.notional for leg in own), "notional")
    price: int | None = None
    values = (equity, initial, maintenance, notional)
    if pool.mode == "multi" and (equity != 0 or own):
        price = _price_of(asset, assets)
        worth = _worth(asset, price)
        values = (
            _value_of(asset, price, equity),
            _amount(ceil(worth * initial), "initial"),
            _amount(ceil(worth * maintenance), "maintenance"),
            _amount(ceil(worth * notional), "notional"),
        )
    return AssetAssessment(
        name,
        held.amount,
        held.interest,
        pnl,
        accrued,
        equity,
        initial,
        maintenance,
        notional,
        price,
        *values,
    )


def assess(
    card: Card, pool: Pool, marks: Mapping[str, int], assets: Mapping[str, int] | None = None
) -> Assessment:
    """Check one pool at the given marks and prices of assets.

    Parameters
    ----------
    card : Card
        The venue.
    pool : Pool
        The pool.
    marks : Mapping[str, int]
        Mark of each instrument, in mark ticks.
    assets : Mapping[str, int] or None
        Price of each asset in its own ticks; pools of one asset need none.

    Returns
    -------
    Assessment
        Equity, requirements, status, every step of each leg and of each asset.

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
    rows = tuple(_assess_asset(card, pool, legs, name, assets or {}) for name in _held(card, pool))
    equity = _amount(sum(row.value for row in rows), "equity")
    initial = _amount(sum(row.initial_value for row in rows), "initial")
    maintenance = _amount(sum(row.maintenance_value for row in rows), "maintenance")
    notional = _amount(sum(row.notional_value for row in rows), "notional")
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
        asset=pool.asset,
        equity=equity,
        initial=initial,
        maintenance=maintenance,
        notional=notional,
        status=status,
        liquidatable=liquidatable,
        ratio_ppm=_ratio_ppm(equity, maintenance),
        distance_ppm=_distance_ppm(equity, maintenance, notional),
        assets=rows,
        legs=legs,
    )


@dataclass(frozen=True)
class OrderAnswer:
    """What opening an order would take, in quanta of the asset the pool is checked in."""

    reserve: int
    free: int
    initial: int
    reduces: bool

    @property
    def passes(self) -> bool:
        """Whether it may be opened."""
        return self.reduces or self.free >= self.initial


def check_order(
    card: Card,
    pool: Pool,
    marks: Mapping[str, int],
    assets: Mapping[str, int] | None = None,
    *,
    order: tuple[str, str, int],
    worst: int,
    taker_fee: Fraction,
    reserved: int,
) -> OrderAnswer:
    """Say whether an order may be opened: ``docs/spec/engine.md``, "Orders".

    Parameters
    ----------
    card : Card
        The venue.
    pool : Pool
        The pool **with** the order among its legs' bids or asks.
    marks, assets : Mapping[str, int]
        As for `assess`.
    order : (str, str, int)
        Instrument, leg and signed lots.
    worst : int
        The worst price it may be filled at, in mark ticks.
    taker_fee : Fraction
        The fee rate.
    reserved : int
        What is kept for the orders that were open before.

    Returns
    -------
    OrderAnswer
        What is kept for it, and whether the rest covers the initial requirement.

    Raises
    ------
    OracleError
        As `assess`.
    """
    symbol, side, lots = order
    instrument = card.instruments[symbol]
    leg = next(own for own in pool.legs if (own.instrument, own.leg) == (symbol, side))
    against = leg.quantity * lots < 0
    open_lots = leg.bids if lots > 0 else leg.asks
    found = assess(card, pool, marks, assets)
    if against and open_lots <= abs(leg.quantity):
        free = found.equity - reserved
        return OrderAnswer(0, free, found.initial, reduces=True)
    paid = -instrument.value(-lots, worst)
    value = instrument.value(lots, _mark(marks, symbol))
    own = max(0, paid - value) + ceil(abs(paid) * taker_fee)
    asset = card.assets[instrument.settlement]
    if pool.asset != asset.name:
        own = ceil(own * _worth(asset, _price_of(asset, assets or {})))
    return OrderAnswer(own, found.equity - reserved - own, found.initial, reduces=False)


@dataclass(frozen=True)
class OpenInterest:
    """What all pools hold of one instrument: positive sums in lots, and counts of legs."""

    long: int
    short: int
    long_legs: int
    short_legs: int


def open_interest(card: Card, pools: Iterable[Pool]) -> dict[str, OpenInterest]:
    """Add up the positions of all pools, by instrument.

    Parameters
    ----------
    card : Card
        The venue.
    pools : Iterable[Pool]
        Every pool of it.

    Returns
    -------
    dict[str, OpenInterest]
        One entry for every instrument of the card, by symbol.
    """
    sizes: dict[str, list[int]] = {symbol: [] for symbol in card.instruments}
    for pool in pools:
        for leg in pool.legs:
            sizes[leg.instrument].append(leg.quantity)
    return {
        symbol: OpenInterest(
            long=_amount(sum(lots for lots in own if lots > 0), "open_interest"),
            short=_amount(-sum(lots for lots in own if lots < 0), "open_interest"),
            long_legs=sum(lots > 0 for lots in own),
            short_legs=sum(lots < 0 for lots in own),
        )
        for symbol, own in sizes.items()
    }


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


class _Point(NamedTuple):
    """One instrument's legs at one mark: signed values, and requirements, in quanta."""

    values: tuple[int, ...]
    needs: tuple[int, ...]


@dataclass
class _Scene:
    """One pool seen as a function of one instrument's mark, all other prices held.

    ``legs`` are those that move; all settle in one asset. ``equity_asset`` and
    ``maintenance_asset`` are the rest in that asset (costs and accruals of ``legs`` taken off),
    ``equity_rest`` and ``maintenance_rest`` the values of all other assets. ``price`` is the
    asset's, and None in a pool of one asset: nothing is valued there.
    """

    rules: Rules
    instrument: Instrument
    asset: Asset
    legs: tuple[Leg, ...]
    price: int | None
    equity_asset: int
    maintenance_asset: int
    equity_rest: int
    maintenance_rest: int
    evaluations_max: int
    evaluations: int = 0
    points: dict[int, _Point] = field(default_factory=dict)

    def point(self, mark: int) -> _Point:
        """Evaluate the legs that move; each new mark counts as one evaluation."""
        if mark not in self.points:
            self.evaluations += 1
            if self.evaluations > self.evaluations_max:
                raise OracleError(
                    "limit_exceeded", "evaluations", self.evaluations, self.evaluations_max
                )
            self.points[mark] = self._point(mark)
        return self.points[mark]

    def _point(self, mark: int) -> _Point:
        own = self.instrument
        return _Point(
            tuple(own.value(leg.quantity, mark) for leg in self.legs),
            tuple(_maintenance(self.rules, own, leg, mark).total for leg in self.legs),
        )

    def equity(self, values: int) -> int:
        """Equity of the pool when the legs that move are worth ``values`` together."""
        equity = _amount(self.equity_asset + values, "equity")
        if self.price is not None:
            equity = _value_of(self.asset, self.price, equity)
        return _amount(self.equity_rest + equity, "equity")

    def maintenance(self, needs: int) -> int:
        """Maintenance of the pool when the legs that move require ``needs`` together."""
        maintenance = _amount(self.maintenance_asset + needs, "maintenance")
        if self.price is not None:
            maintenance = ceil(_worth(self.asset, self.price) * maintenance)
        return _amount(self.maintenance_rest + maintenance, "maintenance")

    def verdict(self, mark: int) -> bool:
        """Tell whether the pool is liquidatable at this mark."""
        at = self.point(mark)
        equity, maintenance = self.equity(sum(at.values)), self.maintenance(sum(at.needs))
        return _is_liquidatable(self.rules, equity, maintenance)

    def within_bounds(self, mark: int) -> bool:
        """Tell whether every amount at this mark is inside the bounds of floor 0.

        So must be both rates that grow with the value: at most 1.
        """
        growing = self.instrument.tiers.by == "value_slope"
        try:
            at = self._point(mark)
            for leg, value in zip(self.legs, at.values, strict=True):
                _amount(value - leg.cost, "pnl")
                if growing:
                    _assess_leg(self.rules, self.instrument, leg, mark)
            self.equity(sum(at.values))
            self.maintenance(sum(at.needs))
        except OracleError as error:
            if error.code != "overflow" and not growing:
                raise
            return False
        return True

    def exact_equity(self, mark: int) -> Fraction:
        """Equity in the legs' asset with every value before its rounding."""
        values = (self.instrument.exact_value(leg.quantity, mark) for leg in self.legs)
        return self.equity_asset + sum(values, Fraction(0))

    def exact_slack(self, mark: int) -> Fraction:
        """Equity less maintenance of the pool with nothing rounded at all."""
        own, rules = self.instrument, self.rules
        needs = Fraction(self.maintenance_asset)
        for leg in self.legs:
            at = _maintenance(rules, own, leg, mark)
            exact = abs(own.exact_value(leg.quantity, mark))
            by_mark = rules.maintenance_basis == "mark"
            of_value = own.tiers.by == "value_slope" and by_mark
            grown = own.tiers.maintenance_base + own.tiers.slope_per_quantum * exact
            taken = grown if of_value else at.rate
            needs += (exact if by_mark else abs(leg.cost)) * taken - at.deduction + at.fee
            if rules.closing_fee == "mark":
                needs += exact * own.known_fee
        equity = self.exact_equity(mark)
        if self.price is not None:
            equity = _exact_value(self.asset, self.price, equity)
            needs *= _worth(self.asset, self.price)
        return self.equity_rest - self.maintenance_rest + equity - needs

    @property
    def turns(self) -> bool:
        """Whether the slack with nothing rounded is bent: up to one tick it rises, then falls."""
        return self.instrument.tiers.by == "value_slope"

    @property
    def exact_bounds(self) -> bool:
        """Whether the slack with nothing rounded goes one way in a piece, and tells enough.

        A fee at bankruptcy takes the rate that grows, and bends it the other way, too; and a
        value rounded by contract may be so far off that its rate tells nothing.
        """
        rules = self.rules
        bent_twice = (rules.closing_fee, rules.initial_basis) == ("bankruptcy", "mark")
        return not (self.turns and (bent_twice or self.instrument.is_per_contract))

    def rounding(self) -> Fraction:
        """Bound how far roundings can move equity less maintenance, either way, in quanta."""
        total = Fraction(0)
        for leg in self.legs:
            value = Fraction(0)  # how far a rounded value can be from the exact one
            if self.instrument.is_per_contract:
                value = abs(leg.quantity) * self.instrument.lot / 2
            elif self.instrument.is_inverse:
                value = Fraction(1)
            total += value * self.asset.liability_weight  # in equity
            # In the requirement: its rates add up to at most 2, or one at most 1 grows, by at most
            # as much, with a value that is as far off.
            total += 2 * value + 1
        if self.price is None:
            return total
        return total * _worth(self.asset, self.price) + 2


def _scene(
    card: Card,
    pool: Pool,
    prices: tuple[Mapping[str, int], Mapping[str, int]],
    symbol: str,
    evaluations_max: int,
) -> _Scene:
    """Look at a pool as a function of one mark; ``prices`` are marks and prices of assets."""
    marks, assets = prices
    instrument = card.instruments[symbol]
    asset = card.asset(instrument.settlement)
    moving = tuple(leg for leg in pool.legs if leg.instrument == symbol)
    others = [
        _assess_leg(card.rules, card.instruments[leg.instrument], leg, _mark(marks, leg.instrument))
        for leg in pool.legs
        if leg.instrument != symbol
    ]
    equity_rest = maintenance_rest = 0
    for name in _held(card, pool):
        if name != asset.name:
            row = _assess_asset(card, pool, others, name, assets)
            equity_rest += row.value
            maintenance_rest += row.maintenance_value
    held = pool.balance(asset.name)
    beside = [
        leg for leg in others if card.instruments[leg.leg.instrument].settlement == asset.name
    ]
    equity_asset = held.amount - held.interest
    equity_asset += sum(leg.pnl - leg.leg.accrued for leg in beside)
    equity_asset -= sum(leg.cost + leg.accrued for leg in moving)
    return _Scene(
        rules=card.rules,
        instrument=instrument,
        asset=asset,
        legs=moving,
        price=_price_of(asset, assets) if pool.mode == "multi" and moving else None,
        equity_asset=equity_asset,
        maintenance_asset=sum(leg.maintenance for leg in beside),
        equity_rest=equity_rest,
        maintenance_rest=maintenance_rest,
        evaluations_max=evaluations_max,
    )


def verdict(
    card: Card,
    pool: Pool,
    marks: Mapping[str, int],
    instrument: str,
    mark: int,
    assets: Mapping[str, int] | None = None,
) -> bool:
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
    assets : Mapping[str, int] or None
        Price of each asset in its own ticks; pools of one asset need none.

    Returns
    -------
    bool
        The ``liquidatable`` of the check.
    """
    return assess(card, pool, {**marks, instrument: mark}, assets).liquidatable


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
    interval around the current mark and its ends can be bisected.
    """
    if scene.within_bounds(TICKS_MAX):
        high = TICKS_MAX
    else:
        high = _last(current, TICKS_MAX, scene.within_bounds)
    if scene.within_bounds(1):
        return 1, high
    down = _last(0, current - 1, lambda step: scene.within_bounds(current - step))
    return current - down, high


def _edge(low: int, high: int, holds: Callable[[int], bool]) -> int | None:
    """Give the first tick of (low, high] at which ``holds`` is no longer as at ``low``.

    ``holds`` changes at most once from ``low`` to ``high``.
    """
    first = holds(low)
    if holds(high) == first:
        return None
    return _last(low, high, lambda mark: holds(mark) == first) + 1


def _at_least(of: Callable[[int], Fraction], floor: int) -> Callable[[int], bool]:
    return lambda mark: of(mark) >= floor


def _pieces(scene: _Scene, low: int, high: int) -> list[tuple[int, int]]:
    """Split ``low`` to ``high`` where a leg changes its bracket or equity its slice.

    Inside a piece the slack with nothing rounded is a straight line in the mark (for an inverse
    contract in one over the mark), and each leg's requirement is monotone. Where a rate grows
    with the value it is a parabola instead, and parted where it turns.
    """
    own, starts = scene.instrument, {low}
    edges: list[int | None] = []
    for leg in scene.legs:
        size = abs(leg.quantity)
        brackets = own.tiers.brackets if own.tiers.by == "notional" and size else ()
        for bracket in brackets[1:]:
            at = bracket.floor
            edges.append(_edge(low, high, _at_least(partial(own.measure, size), at)))
    if scene.price is not None:
        floors = {0, *(one.floor for one in scene.asset.slices)}
        edges += [_edge(low, high, _at_least(scene.exact_equity, at)) for at in floors]
    starts |= {edge for edge in edges if edge is not None}
    ordered = sorted(starts)
    ends = [start - 1 for start in ordered[1:]] + [high]
    if scene.turns and scene.exact_bounds:
        turns = (_turn(scene, *piece) for piece in zip(ordered, ends, strict=True))
        ordered = sorted({*ordered, *(turn for turn in turns if turn is not None)})
        ends = [start - 1 for start in ordered[1:]] + [high]
    return list(zip(ordered, ends, strict=True))


def _turn(scene: _Scene, low: int, high: int) -> int | None:
    """Find the tick of a piece from which the slack falls, where it has risen up to there."""
    if high == low:
        return None
    slack = scene.exact_slack
    return _edge(low, high - 1, lambda mark: slack(mark + 1) >= slack(mark))


def _known(scene: _Scene, one: int, other: int) -> bool | None:
    """Tell the verdict that holds at every tick from ``one`` to ``other``, both in one piece.

    None where that is not certain; never for a single tick. Two bounds on equity less
    maintenance are used. Each leg's value and requirement is monotone, so both sums lie between
    sums of what they are at the two ends. And the slack with nothing rounded is monotone, so it
    lies between its values at the ends, and the rounded one at most `_Scene.rounding` away.
    """
    try:
        least, most, least_need, most_need = _bounds(scene, one, other)
    except OracleError as error:
        if error.code != "overflow" or one == other:
            raise
        return None  # the bounds mix both ends: what they come to may be past what either does
    if most_need == 0:
        return False
    strict = scene.rules.trigger == "strict"
    if least > 0 or (least == 0 and strict):
        return False
    if least_need > 0 and (most < 0 or (most == 0 and not strict)):
        return True
    if one == other:
        return scene.verdict(one)
    return None


def _bounds(scene: _Scene, one: int, other: int) -> tuple[Fraction, Fraction, int, int]:
    """Bound equity less maintenance, and maintenance, between two ticks: least and most of each."""
    first, last = scene.point(one), scene.point(other)
    values = [sorted(pair) for pair in zip(first.values, last.values, strict=True)]
    needs = [sorted(pair) for pair in zip(first.needs, last.needs, strict=True)]
    least_need = scene.maintenance(sum(pair[0] for pair in needs))
    most_need = scene.maintenance(sum(pair[1] for pair in needs))
    least = Fraction(scene.equity(sum(pair[0] for pair in values)) - most_need)
    most = Fraction(scene.equity(sum(pair[1] for pair in values)) - least_need)
    if one != other and scene.exact_bounds:
        ends = (scene.exact_slack(one), scene.exact_slack(other))
        least = max(least, min(ends) - scene.rounding())
        most = min(most, max(ends) + scene.rounding())
    return least, most, least_need, most_need


def _first_change(scene: _Scene, near: int, far: int, *, now: bool) -> int | None:
    """Find the first tick from ``near`` to ``far``, in one piece, whose verdict is not ``now``.

    Stretches whose verdict is certain are taken whole, the others are halved, nearest half
    first, down to single ticks.
    """
    step = 1 if far >= near else -1
    waiting = [(near, far)]
    while waiting:
        one, other = waiting.pop()
        known = _known(scene, one, other)
        if known is None:
            middle = (one + other) // 2 if step > 0 else (one + other + 1) // 2
            waiting += [(middle + step, other), (one, middle)]
        elif known != now:
            return one
    return None


def _below(scene: _Scene, current: int, low: int, *, now: bool) -> int | None:
    scene.evaluations = 0
    for start, end in reversed(_pieces(scene, low, current - 1)):
        found = _first_change(scene, end, start, now=now)
        if found is not None:
            return found
    return None


def _above(scene: _Scene, current: int, high: int, *, now: bool) -> int | None:
    scene.evaluations = 0
    for start, end in _pieces(scene, current + 1, high):
        found = _first_change(scene, start, end, now=now)
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
    assets: Mapping[str, int] | None = None,
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
    assets : Mapping[str, int] or None
        Price of each asset in its own ticks, held too; pools of one asset need none.
    evaluations_max : int
        The bound on evaluations for each direction.

    Returns
    -------
    tuple[Flip | str, Flip | str]
        Below and above; each a `Flip` (mark ticks), or ``no_flip_below`` / ``no_flip_above``.

    Raises
    ------
    OracleError
        ``limit_exceeded`` past the number of evaluations, ``no_position`` without a leg,
        ``missing_price``, ``overflow``.
    """
    current = _mark(marks, instrument)
    scene = _scene(card, pool, (marks, assets or {}), instrument, evaluations_max)
    if not scene.legs:
        raise OracleError("no_position", "leg", instrument)
    now = scene.verdict(current)
    below: Flip | str = "no_flip_below"
    above: Flip | str = "no_flip_above"
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

    ``price`` is in price ticks (None with a ``reason``); ``quote`` and ``allotted`` are in
    quanta of the leg's settlement asset.
    """

    price: int | None
    reason: str | None
    quote: int
    allotted: int


def bankruptcy_price(
    card: Card,
    pool: Pool,
    marks: Mapping[str, int],
    instrument: str,
    leg: str = "net",
    assets: Mapping[str, int] | None = None,
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
    assets : Mapping[str, int] or None
        Price of each asset in its own ticks; pools of one asset need none.

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
    assessment = assess(card, pool, marks, assets)
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
    allotted = _amount(floor(assessment.equity * share), "allotted")
    quote = _amount(own.value - allotted, "quote")
    price, reason = closing_ticks(card, own.leg, quote)
    return Bankruptcy(price=price, reason=reason, quote=quote, allotted=allotted)


def closing_ticks(card: Card, leg: Leg, quote: int) -> tuple[int | None, str | None]:
    """Bisect for the worst price at which closing a leg brings in ``quote``, or say why none is.

    What closing a long brings in never falls as the price rises, and that of a short never rises.

    Parameters
    ----------
    card : Card
        The venue.
    leg : Leg
        The leg, closed in full.
    quote : int
        What it must bring in, in quanta of its settlement asset.

    Returns
    -------
    tuple[int | None, str | None]
        The price in price ticks, or None and the reason.

    Raises
    ------
    OracleError
        ``overflow`` when the price would pass the bound of prices.
    """
    instrument = card.instruments[leg.instrument]
    grid = instrument.mark_ticks_per_price_tick
    last = TICKS_MAX // grid
    fee_rate = instrument.known_fee if card.rules.bankruptcy_fee == "taker" else Fraction(0)

    def pays(x: int) -> bool:
        value = instrument.rounded_value(leg.quantity, x * grid)
        return value - ceil(abs(value) * fee_rate) >= quote

    if leg.sign > 0:
        least = 0 if instrument.is_per_contract else 1  # what is owed at any price, rounded
        if instrument.is_inverse and quote > -least - ceil(least * fee_rate):
            return None, "no_finite_price"
        if not instrument.is_inverse and quote <= 0:
            return None, "no_positive_price"
        too_low = _last(0, last, lambda x: x == 0 or not pays(x))
        if too_low == last:
            raise OracleError("overflow", "price", quote, last)
        return too_low + 1, None
    if instrument.is_inverse and quote <= 0:  # a short is never worth less than nothing
        return None, "no_finite_price"
    paid = _last(0, last + 1, lambda x: x == 0 or pays(x))
    if paid > last:
        raise OracleError("overflow", "price", quote, last)
    return (paid, None) if paid else (None, "no_positive_price")


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


@dataclass(frozen=True)
class Fill:
    """How the cost of lots at one price follows, where it is not price x lots x ``K``.

    ``lot`` is what one lot is worth before rounding, in quanta at a price of one price tick; for an
    ``inverse`` contract it is divided by the price. With ``contracts`` a lot is that many
    contracts, and each is rounded to whole quanta, half to even. ``marks`` is mark ticks per price
    tick.
    """

    lot: Fraction
    inverse: bool = False
    contracts: int | None = None
    marks: int = 1

    def exact(self, price: int) -> Fraction:
        """Give what one lot is worth at a price, before rounding."""
        return self.lot / price if self.inverse else self.lot * price

    def cost(self, side: str, price: int, lots: int) -> int:
        """Give what ``lots`` taken at one price cost, in quanta."""
        _bounded(price * self.marks, TICKS_MAX, "price")
        if self.contracts is not None:
            return lots * self.contracts * round(self.exact(price) / self.contracts)
        paid = lots * self.exact(price)
        return floor(paid) if side == "buy" else ceil(paid)

    def average(self, cost: int, lots: int) -> Fraction | None:
        """Give the price in price ticks at which ``lots`` cost exactly ``cost``; none for 0."""
        if cost == 0:
            return None
        return lots * self.lot / cost if self.inverse else cost / (lots * self.lot)


Terms = int | Fill


def _level_cost(terms: Terms, side: str, price: int, lots: int) -> int:
    if isinstance(terms, Fill):
        return terms.cost(side, price, lots)
    return price * lots * terms


def _average(terms: Terms, cost: int, lots: int) -> Fraction | None:
    if isinstance(terms, Fill):
        return terms.average(cost, lots)
    return Fraction(cost, lots * terms) if lots else None


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
    terms: Terms,
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
    terms : int or Fill
        ``K``, quanta per price tick and lot; or how the cost follows where there is no ``K``.
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
        cost += _level_cost(terms, side, price, taken)
        worst = price
        levels += 1
    _amount(cost, "cost")
    mid = mid_price(bids, asks)
    vwap = _average(terms, cost, filled)
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


def _largest_inverse(
    bids: Levels,
    asks: Levels,
    terms: Fill,
    side: str,
    slippage_bps: Fraction,
    evaluations_max: int,
    fits: Callable[[int], bool],
) -> int:
    """Bisect for the last number of lots that fits before rounding, and try downward from there.

    Rounding is against the taker and the exact average only gets worse, so no more can fit.
    """
    mid = Fraction(bids[0][0] + asks[0][0], 2)
    bound = mid * (1 + slippage_bps / 10**4 * (1 if side == "buy" else -1))

    def fits_exactly(lots: int) -> bool:
        paid, left = Fraction(0), lots
        for price, there in _taken(bids, asks, side, None):
            paid += min(left, there) * terms.exact(price)
            left -= min(left, there)
        average = lots * terms.lot / paid
        return average <= bound if side == "buy" else average >= bound

    last = _largest(_available(bids, asks, side, None), fits_exactly)
    stop = max(0, last - evaluations_max)
    found = next((lots for lots in range(last, stop, -1) if fits(lots)), 0)
    if found == 0 and stop > 0:
        raise OracleError("limit_exceeded", "slippage_bps", last, evaluations_max)
    return found


def walk_notional(
    bids: Levels,
    asks: Levels,
    terms: Terms,
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
    terms : int or Fill
        ``K``, quanta per price tick and lot; or how the cost follows where there is no ``K``.
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
    lots = max_quantity_cost(bids, asks, terms, side, notional, limit)
    return walk(bids, asks, terms, side, lots, limit, fee)


def max_quantity_slippage(
    bids: Levels,
    asks: Levels,
    terms: Terms,
    side: str,
    slippage_bps: Fraction,
    evaluations_max: int = EVALUATIONS_MAX,
) -> int:
    """Find the most lots whose slippage against the mid is at most ``slippage_bps``.

    Parameters
    ----------
    bids, asks : list[tuple[int, int]]
        Levels as (price ticks, lots), best first.
    terms : int or Fill
        ``K``, quanta per price tick and lot; or how the cost follows where there is no ``K``.
    side : str
        ``buy`` or ``sell``.
    slippage_bps : Fraction
        Basis points, at least 0.
    evaluations_max : int
        How many quantities to try one by one where rounding makes slippage step.

    Returns
    -------
    int
        Lots.

    Raises
    ------
    OracleError
        ``no_mid`` when a side is empty; ``limit_exceeded`` past the evaluations.
    """
    if slippage_bps < 0:
        raise OracleError("out_of_range", "slippage_bps", slippage_bps, 0)
    if mid_price(bids, asks) is None:
        raise OracleError("no_mid", "slippage_bps", slippage_bps)

    def fits(lots: int) -> bool:
        own = walk(bids, asks, terms, side, lots)
        if own.slippage_bps is None:  # costs nothing: at most what it is worth, not at least
            inverse = isinstance(terms, Fill) and terms.inverse
            free = side == ("sell" if inverse else "buy")
            return lots == 0 or free or (not inverse and slippage_bps >= WHOLE_BPS)
        return own.slippage_bps <= slippage_bps

    if isinstance(terms, Fill) and terms.contracts is None:
        return _largest_inverse(bids, asks, terms, side, slippage_bps, evaluations_max, fits)
    return _largest(_available(bids, asks, side, None), fits)


def max_quantity_cost(
    bids: Levels,
    asks: Levels,
    terms: Terms,
    side: str,
    cost: int,
    limit: int | None = None,
) -> int:
    """Find the most lots whose cost, fee not included, is at most ``cost`` quanta.

    Parameters
    ----------
    bids, asks : list[tuple[int, int]]
        Levels as (price ticks, lots), best first.
    terms : int or Fill
        ``K``, quanta per price tick and lot; or how the cost follows where there is no ``K``.
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
        lambda lots: walk(bids, asks, terms, side, lots, limit).cost <= cost,
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


# --- collateral.md: withdrawal ----------------------------------------------------------------


@dataclass(frozen=True)
class Withdrawal:
    """How much of an asset may leave a pool.

    ``amount`` and ``balance`` (less the interest owed, not below zero) are quanta of the asset,
    ``equity`` (before anything leaves) and ``initial`` quanta of the one the pool is checked in.
    ``binding`` is ``balance``, ``initial``, ``exit_unfilled`` or ``unknown_fee``.
    """

    asset: str
    amount: int
    balance: int
    binding: str
    equity: int
    initial: int


def _exit_cost(
    instrument: Instrument, leg: LegAssessment, books: Mapping[str, tuple[Levels, Levels]]
) -> int | str:
    """Cost of closing a leg against its book, fee included, or why it has no price."""
    if instrument.symbol not in books:
        raise OracleError("missing_price", "books", instrument.symbol)
    bids, asks = books[instrument.symbol]
    size, side = abs(leg.leg.quantity), "sell" if leg.leg.quantity > 0 else "buy"
    taken = walk(bids, asks, instrument.fill, side, size, fee=instrument.taker_fee)
    if taken.unfilled:
        return "exit_unfilled"
    if taken.fee is None:
        return "unknown_fee"
    # What is sold brings in money; an inverse contract that is sold is paid for in the coin.
    brings_in = taken.cost if (side == "sell") != instrument.is_inverse else -taken.cost
    return max(0, leg.value - brings_in) + taken.fee


def withdrawable(
    card: Card,
    pool: Pool,
    marks: Mapping[str, int],
    asset: str,
    assets: Mapping[str, int] | None = None,
    books: Mapping[str, tuple[Levels, Levels]] | None = None,
    kept: Mapping[str, int] | None = None,
) -> Withdrawal:
    """Find the most of an asset that may leave, so that what stays covers the initial margin.

    Parameters
    ----------
    card : Card
        The venue.
    pool : Pool
        The pool.
    marks : Mapping[str, int]
        Mark of each instrument, in mark ticks.
    asset : str
        The asset that leaves.
    assets : Mapping[str, int] or None
        Price of each asset in its own ticks; pools of one asset need none.
    books : Mapping[str, tuple[list, list]] or None
        Bids and asks by symbol, as (price ticks, lots), best first: what closing every position
        against them costs is taken off first.
    kept : Mapping[str, int] or None
        Quanta by asset that are kept for open orders: they are taken off first.

    Returns
    -------
    Withdrawal
        The largest amount that fits, and what binds.

    Raises
    ------
    OracleError
        ``unknown_asset``, ``missing_price`` (for a position without a book too), ``overflow``.
    """
    card.asset(asset)
    prices = assets or {}
    own = assess(card, pool, marks, prices)
    held = pool.balance(asset)
    balance = max(0, held.amount - held.interest)
    reason: str | None = None
    cuts: dict[str, int] = {}
    for row in own.assets:
        barred = ceil((1 - card.rules.withdrawal_profit) * max(0, row.pnl))
        cuts[row.asset] = barred + (kept or {}).get(row.asset, 0)
    for leg in own.legs if books is not None else ():
        instrument = card.instruments[leg.leg.instrument]
        if leg.leg.quantity == 0:
            continue
        cost = _exit_cost(instrument, leg, books or {})
        if isinstance(cost, str):
            reason = reason or cost
        else:
            cuts[instrument.settlement] += cost

    def equity(leaving: int) -> int:
        total = 0
        for row in own.assets:
            rest = row.equity - cuts[row.asset] - (leaving if row.asset == asset else 0)
            _amount(rest, "equity")
            if pool.mode == "multi" and (rest != 0 or row.price is not None):
                named = card.asset(row.asset)
                rest = _value_of(named, _price_of(named, prices), rest)
            total += rest
        return _amount(total, "equity")

    now = equity(0)
    amount = 0
    if reason is not None:
        binding = reason
    elif now < own.initial:
        binding = "initial"
    else:
        amount = _last(0, balance, lambda leaving: equity(leaving) >= own.initial)
        binding = "balance" if amount == balance else "initial"
    return Withdrawal(asset, amount, balance, binding, now, own.initial)

"""The formulas of a card, once more, in exact fractions: ``docs/spec/formulas.md``.

Like the oracle of the margin it imports nothing of the core, and is slow on purpose: a formula is
a function that asks for its inputs and for the parameters of the card, and the table at the end
says which inputs there are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, trunc
from typing import TYPE_CHECKING, Any, NamedTuple

from aivora_core.audit import oracle
from aivora_core.audit.oracle import OracleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FORMULAS", "Formula", "formula"]

TEXT_MAX = 80
PPM = 10**6
YEAR_MS = 365 * 86_400_000
#: Inputs that are words; all others are numbers, and read as such whether they count or not.
WORDS = frozenset({"instrument", "closes", "liquidity", "window"})

_RATIO = re.compile(r"([+-]?[0-9]+)/([0-9]+)")
_SPAN = re.compile(r"([0-9]+)(ms|s|min|h|d)")
_UNIT_MS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


def _away_from_zero(value: Fraction) -> int:
    return ceil(value) if value > 0 else floor(value)


def _exact(value: Fraction) -> int:
    if value.denominator != 1:
        raise OracleError("off_grid", "rounding", value)
    return value.numerator


ROUNDINGS: Mapping[str, Callable[[Fraction], int]] = {
    "floor": floor,
    "ceil": ceil,
    "toward_zero": trunc,
    "away_from_zero": _away_from_zero,
    "half_even": round,
    "exact": _exact,
}


def _read(text: object, field: str) -> Fraction:
    """Read a number or a fraction, of either sign."""
    if isinstance(text, str) and len(text) > TEXT_MAX:
        raise OracleError("bad_number", field, text, TEXT_MAX)
    match = _RATIO.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return oracle.number(text, field)
    if int(match[2]) == 0:
        raise OracleError("out_of_range", field, text, "a fraction of something")
    return Fraction(int(match[1]), int(match[2]))


def _span(text: str) -> int:
    """Read a time of a card, in milliseconds."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise OracleError("bad_number", "time", text)
    return int(match[1]) * _UNIT_MS[match[2]]


def _clamp(value: Fraction, low: Fraction, high: Fraction) -> Fraction:
    return min(max(value, low), high)


def _over(value: Fraction, by: Fraction, field: str) -> Fraction:
    """Divide; by nothing is out of range."""
    if by == 0:
        raise OracleError("out_of_range", field, by, "not 0")
    return value / by


@dataclass(frozen=True)
class Asked:
    """What is asked: the rules and instruments of a card, and the inputs of a formula."""

    rules: Mapping[str, Any]
    card: oracle.Card
    inputs: Mapping[str, str]

    def text(self, name: str) -> str:
        """Give an input as it is; ``bad_input`` where it is missing."""
        if name not in self.inputs:
            raise OracleError("bad_input", name)
        return self.inputs[name]

    def word(self, name: str, *allowed: str) -> str:
        """Give an input that is one of some words."""
        given = self.text(name)
        if given not in allowed:
            raise OracleError("bad_input", name, given, allowed)
        return given

    def number(self, name: str, default: int | None = None) -> Fraction:
        """Give an input, of either sign."""
        if default is not None and name not in self.inputs:
            return Fraction(default)
        return _read(self.text(name), name)

    def above(self, name: str) -> Fraction:
        """Give an input that is above 0: a price, what is divided by."""
        given = self.number(name)
        if given <= 0:
            raise OracleError("out_of_range", name, given, "above 0")
        return given

    def least(self, name: str) -> Fraction:
        """Give an input that is not below 0."""
        given = self.number(name)
        if given < 0:
            raise OracleError("out_of_range", name, given, "not below 0")
        return given

    def table(self, name: str) -> Any:
        """Give a table, or a list of tables, of ``[rules]``; ``unsaid`` where there is none."""
        if name not in self.rules:
            raise OracleError("unsaid", f"rules.{name}")
        return self.rules[name]

    def word_of(self, table: str, key: str) -> str:
        """Give a parameter of the card that is a word or a time."""
        row = self.rules.get(table, {})
        if key not in row:
            raise OracleError("unsaid", f"rules.{table}.{key}")
        return str(row[key])

    def said(self, table: str, key: str) -> Fraction:
        """Give a parameter of the card that is a number."""
        return _read(self.word_of(table, key), f"rules.{table}.{key}")

    def parameter(self, key: str, table: str = "step") -> Fraction:
        """Give a parameter: an input of its name, not below 0, or else that of the card."""
        return self.least(key) if key in self.inputs else self.said(table, key)

    def instrument(self) -> oracle.Instrument:
        """Give the instrument of the input of that name."""
        symbol = self.text("instrument")
        if symbol not in self.card.instruments:
            raise OracleError("unknown_instrument", "instrument", symbol)
        return self.card.instruments[symbol]


def _value(instrument: oracle.Instrument, quantity: Fraction, price: Fraction) -> Fraction:
    """Give ``value(q, P)``, signed like the quantity."""
    worth = quantity * instrument.multiplier
    return worth / price if instrument.is_inverse else worth * price


def _first_rates(instrument: oracle.Instrument) -> tuple[Fraction, Fraction]:
    """Give the initial and the maintenance rate of the first bracket, or at size zero."""
    tiers = instrument.tiers
    if tiers.brackets:
        return tiers.brackets[0].initial, tiers.brackets[0].maintenance
    return tiers.initial_base, tiers.maintenance_base


# --- prices and funding ---------------------------------------------------------------------------


def _fair_price(asked: Asked) -> Fraction:
    """The time that is left counts in whole steps, up, and then from 0 to the interval."""
    terms = [term for term in asked.table("mark")["terms"] if term["rule"] == "fair"]
    if not terms:
        raise OracleError("unsaid", "rules.mark.terms.fair")
    interval, step = _span(terms[0]["interval"]), _span(terms[0].get("step", "1ms"))
    index, rate = asked.above("index"), asked.number("rate")
    left = Fraction(ceil(asked.number("left_ms") / step) * step)
    return index * (1 + rate * _clamp(left, Fraction(0), Fraction(interval)) / interval)


def _fair_basis(asked: Asked) -> Fraction:
    return _fair_price(asked) - asked.number("index")


def _premium(asked: Asked) -> Fraction:
    index = asked.above("index")
    if asked.rules.get("funding", {}).get("premium", "impact") == "mark":
        return (asked.above("mark") - index) / index
    bid, ask = asked.above("impact_bid"), asked.above("impact_ask")
    return (max(Fraction(0), bid - index) - max(Fraction(0), index - ask)) / index


def _cap(asked: Asked) -> Fraction:
    initial, maintenance = _first_rates(asked.instrument())
    if "initial" in asked.inputs:
        initial = asked.least("initial")
    if "maintenance" in asked.inputs:
        maintenance = asked.least("maintenance")
    return asked.parameter("cap_factor", "funding") * (initial - maintenance)


def _funding_rate(asked: Asked) -> Fraction:
    rule = asked.table("funding")
    average = asked.number("average")
    if not rule.keys() & {"interest", "clamp", "dead_band"}:
        raise OracleError("unsaid", "rules.funding.interest")
    interest = _read(rule.get("interest", 0), "interest")
    if "dead_band" in rule:
        limit = _read(rule["dead_band"], "dead_band")
        rate = average - _clamp(average, -limit, limit)
    elif "clamp" in rule:
        limit = _read(rule["clamp"], "clamp")
        rate = average + _clamp(interest - average, -limit, limit)
    else:
        rate = average + interest
    if "floor" in rule:
        rate = max(rate, _read(rule["floor"], "floor"))
    if "cap" in rule:
        rate = min(rate, _read(rule["cap"], "cap"))
    if "cap_factor" in rule:
        cap = _cap(asked)
        rate = _clamp(rate, -cap, cap)
    unit = Fraction(1, 10 ** int(rule.get("decimals", 12)))
    scaled = rate * _read(rule.get("scale", 1), "scale") / unit
    return ROUNDINGS[rule.get("rounding", "half_even")](scaled) * unit


def _funding_rate_per_year(asked: Asked) -> Fraction:
    return asked.number("rate") * YEAR_MS / _span(asked.word_of("funding", "interval"))


def _quoted(rule: Mapping[str, Any]) -> int:
    """For how long a rate is quoted, in milliseconds."""
    return _span(rule.get("quoted", rule["interval"]))


def _funding_payment(asked: Asked) -> Fraction:
    rule = asked.table("funding")
    instrument = asked.instrument()
    value = _value(instrument, asked.number("quantity"), asked.above("price"))
    paid = -value * asked.number("rate")
    if "opened_ms" in asked.inputs:
        opened, time = asked.number("opened_ms"), asked.number("time_ms")
        grace = _span(rule.get("grace", "0ms"))
        if opened >= time + grace if grace else opened > time:
            return Fraction(0)
    if rule["timing"] == "continuous":
        return paid * asked.least("elapsed_ms") / _quoted(rule)
    return paid


def _funding_index(asked: Asked) -> Fraction:
    rule = asked.table("funding")
    instrument = asked.instrument()
    lot = _value(instrument, instrument.lot, asked.above("price")) / instrument.quantum
    seconds = asked.least("elapsed_ms") / 1_000
    moved = trunc(lot * asked.number("rate") * PPM * seconds)
    return Fraction(trunc(Fraction(moved * 1_000, _quoted(rule))))


def _funding_settlement(asked: Asked) -> Fraction:
    instrument = asked.instrument()
    lots = asked.number("quantity") / instrument.lot
    moved = asked.number("index") - asked.number("since")
    return -moved * lots / PPM * instrument.quantum


def _funding_divergence(asked: Asked) -> Fraction:
    return asked.said("funding", "divergence") * asked.above("index_average")


def _funding_per_unit(asked: Asked) -> Fraction:
    most = _funding_divergence(asked)
    apart = asked.above("mark_average") - asked.number("index_average")
    return _clamp(apart, -most, most) * _read(asked.rules["funding"].get("scale", 1), "scale")


def _band(asked: Asked, side: int) -> Fraction:
    """One end of the band: ``side`` is -1 for the low one, 1 for the high one."""
    instrument = asked.instrument()
    rule = asked.table("band")
    rule = rule.get("instrument", {}).get(instrument.symbol, rule)
    if rule.get("rule") == "premium":
        index, premium = asked.above("index"), asked.number("premium")
        inner, outer = _read(rule["inner"], "inner"), _read(rule["outer"], "outer")
        if side < 0:
            return max(min(index, index * (1 - inner) + premium), index * (1 - outer))
        return min(max(index, index * (1 + inner) + premium), index * (1 + outer))
    price, tick = asked.above(rule["of"]), instrument.price_tick
    if side < 0:
        return floor(price * (1 - _read(rule["down"], "down")) / tick) * tick
    return ceil(price * (1 + _read(rule["up"], "up")) / tick) * tick


def _band_low(asked: Asked) -> Fraction:
    return _band(asked, -1)


def _band_high(asked: Asked) -> Fraction:
    return _band(asked, 1)


# --- margin ---------------------------------------------------------------------------------------


def _scaled_initial_rate(asked: Asked) -> Fraction:
    instrument = asked.instrument()
    own = asked.rules.get("open_interest", {}).get(instrument.symbol, {})

    def of(key: str) -> Fraction:
        if key in asked.inputs:
            return asked.least(key)
        if key not in own:
            raise OracleError("unsaid", f"rules.open_interest.{instrument.symbol}.{key}")
        return _read(own[key], key)

    rate = asked.least("initial") if "initial" in asked.inputs else _first_rates(instrument)[0]
    held, lower, upper = asked.least("open_interest"), of("lower"), of("upper")
    if upper == 0 or held <= lower:
        return rate
    if held >= upper:
        return Fraction(1)
    return rate + Fraction(floor((1 - rate) * (held - lower) / (upper - lower) * PPM), PPM)


def _sign(value: Fraction) -> int:
    return (value > 0) - (value < 0)


def _risk_order(asked: Asked) -> Fraction:
    equity, other_equity = asked.number("equity"), asked.number("other_equity")
    required, other = asked.least("maintenance"), asked.least("other_maintenance")
    found = _sign(other_equity * required - equity * other) or _sign(required - other)
    if not found and required == other == 0:
        found = _sign(other_equity - equity)
    return Fraction(found)


def _may_become(asked: Asked) -> Fraction:
    equity, after = asked.number("equity"), asked.number("next_equity")
    required, later = asked.least("maintenance"), asked.least("next_maintenance")
    if required == 0 or later == 0:
        return Fraction(required == later and after > equity)
    return Fraction(later <= required and after / later >= equity / required)


# --- liquidation ----------------------------------------------------------------------------------


def _limit_price(asked: Asked) -> Fraction:
    """Where the card's limit is the bankruptcy price, what is given up is the equity allotted."""
    equity, required = asked.number("equity"), asked.above("maintenance")
    value, own = asked.number("value"), asked.least("leg_maintenance")
    quantity = asked.number("quantity")
    if asked.word_of("step", "limit") == "bankruptcy":
        return _over(value - equity * own / required, quantity, "quantity")
    part = asked.parameter("bankruptcy_adjustment") * (1 - equity / required)
    given_up = _clamp(part, Fraction(0), Fraction(1)) * asked.parameter("spread_to_maintenance")
    return _over(value - given_up * own, quantity, "quantity")


def _limit_order(asked: Asked) -> Fraction:
    tick = asked.instrument().price_tick
    cut = ceil if asked.word("closes", "long", "short") == "long" else floor
    return max(cut(asked.least("price") / tick), 1) * tick


def _bankruptcy_quote(asked: Asked) -> Fraction:
    quantum = asked.instrument().quantum
    required, own = asked.above("maintenance"), asked.least("leg_maintenance")
    allotted = floor(asked.number("equity") * own / required / quantum) * quantum
    return asked.number("value") - allotted


def _insurance_delta(asked: Asked) -> Fraction:
    quantum = asked.instrument().quantum
    value = asked.number("value")
    left = value - asked.number("bankruptcy_quote")
    if left <= 0:
        return left
    most = asked.parameter("insurance_fee_max") * abs(value)
    return min(left, floor(most / quantum) * quantum)


def _step_value_least(asked: Asked) -> Fraction:
    return min(asked.parameter("least"), abs(asked.number("value")))


def _step_value_most(asked: Asked) -> Fraction:
    size = abs(asked.number("value"))
    return min(max(asked.parameter("least"), asked.parameter("portion") * size), size)


def _freed(asked: Asked) -> Fraction:
    """What closing frees of a value: the rate and the buffer, less what the liquidator gets."""
    return asked.least("rate") + asked.parameter("buffer") - asked.parameter("liquidator_fee")


def _quantity_to_cover(asked: Asked) -> Fraction:
    shortage, price = asked.least("shortage"), asked.above("price")
    quote = asked.above("quote_price") if "quote_price" in asked.inputs else 1
    frees = price * quote * _freed(asked)
    frees -= price * asked.number("insurance_fee", 0)
    if frees <= 0:
        raise OracleError("out_of_range", "rate", frees, "above what fees take")
    return shortage / frees


def _insurance_fee_rate(asked: Asked) -> Fraction:
    size = abs(asked.number("quantity")) * asked.above("price")
    short = _over(asked.least("shortage"), size, "quantity")
    rate = asked.parameter("insurance_share") * (_freed(asked) - short)
    return _clamp(rate, Fraction(0), asked.parameter("insurance_fee_max"))


def _liquidator_fee_rate(asked: Asked) -> Fraction:
    slots, fee = asked.least("slots"), asked.parameter("liquidator_fee")
    if slots <= asked.parameter("fee_grace_slots"):
        return fee
    ramp = asked.parameter("fee_ramp") * slots
    return min(fee + ramp, asked.parameter("liquidator_fee_max"))


def _socialised_per_unit(asked: Asked) -> Fraction:
    units = abs(asked.number("long")) + abs(asked.number("short"))
    return _over(asked.least("loss"), units, "long")


def _adl_drawdown(asked: Asked) -> Fraction:
    return (asked.number("pnl") - asked.number("peak_pnl")) / asked.above("peak_balance")


def _adl_excess(asked: Asked) -> Fraction:
    beyond = -_adl_drawdown(asked) - asked.parameter("trigger", "adl")
    return max(Fraction(0), beyond) * asked.number("peak_balance")


def _adl_score(asked: Asked) -> Fraction:
    if asked.word_of("adl", "score") == "mark_over_entry":
        grown = asked.above("mark") / asked.above("entry")
        return grown * abs(asked.number("value")) / asked.above("equity")
    value, entry = asked.number("value"), asked.number("entry_value")
    profit = _over(value - entry, abs(entry), "entry_value")
    apart = abs(value - asked.number("bankruptcy_value"))
    leverage = _over(abs(value), apart, "bankruptcy_value")
    return profit * leverage if profit > 0 else _over(profit, leverage, "value")


# --- fees and outflow -----------------------------------------------------------------------------


def _fee_rate(asked: Asked) -> Fraction:
    liquidity = asked.word("liquidity", "maker", "taker")
    volume = asked.number("volume", 0)
    levels = asked.table("fees")["levels"]
    reached = [row for row in levels if _read(row.get("volume", 0), "volume") <= volume]
    return _read((reached or levels[:1])[-1][liquidity], liquidity)


def _fee(asked: Asked) -> Fraction:
    quantum = asked.instrument().quantum
    return ceil(abs(asked.number("value")) * _fee_rate(asked) / quantum) * quantum


def _outflow_capacity(asked: Asked) -> Fraction:
    rows = {row["window"]: row for row in asked.table("outflow")}
    row = rows[asked.word("window", *rows)]
    quantum = asked.card.assets[asked.card.rules.settlement].quantum
    share = _read(row["share"], "share") * asked.least("total")
    base = max(_read(row["least"], "least"), floor(share / quantum) * quantum)
    capacity = asked.number("capacity")
    speed = max(base, capacity - base) * asked.least("elapsed_ms") / _span(row["every"])
    step = floor(speed / quantum) * quantum
    return min(capacity + step, base) if capacity < base else max(capacity - step, base)


# --- the table ------------------------------------------------------------------------------------


class Formula(NamedTuple):
    """A formula: how it is computed, the inputs that it always needs, and those that it may."""

    of: Callable[[Asked], Fraction]
    needs: tuple[str, ...]
    may: tuple[str, ...] = ()


_POOL = ("equity", "maintenance")
_LEG = (*_POOL, "value", "leg_maintenance")
_PEAK = ("pnl", "peak_pnl", "peak_balance")
_FREED = ("buffer", "liquidator_fee")
_RAMP = ("liquidator_fee", "liquidator_fee_max", "fee_ramp", "fee_grace_slots")
_SCORED = ("entry_value", "bankruptcy_value", "mark", "entry", "equity")
_BAND = Formula(_band_low, ("instrument",), ("mark", "index", "premium"))
_FEE = Formula(_fee_rate, ("liquidity",), ("volume",))

FORMULAS: Mapping[str, Formula] = {
    "fair_price": Formula(_fair_price, ("index", "rate", "left_ms")),
    "fair_basis": Formula(_fair_basis, ("index", "rate", "left_ms")),
    "premium": Formula(_premium, ("index",), ("impact_bid", "impact_ask", "mark")),
    "funding_rate": Formula(_funding_rate, ("average",), ("instrument",)),
    "funding_cap": Formula(_cap, ("instrument",), ("cap_factor", "initial", "maintenance")),
    "funding_rate_per_year": Formula(_funding_rate_per_year, ("rate",)),
    "funding_payment": Formula(
        _funding_payment,
        ("instrument", "quantity", "price", "rate"),
        ("opened_ms", "time_ms", "elapsed_ms"),
    ),
    "funding_index": Formula(_funding_index, ("instrument", "price", "rate", "elapsed_ms")),
    "funding_settlement": Formula(
        _funding_settlement, ("instrument", "quantity", "index", "since")
    ),
    "funding_per_unit": Formula(_funding_per_unit, ("mark_average", "index_average")),
    "funding_divergence": Formula(_funding_divergence, ("index_average",)),
    "band_low": _BAND,
    "band_high": _BAND._replace(of=_band_high),
    "scaled_initial_rate": Formula(
        _scaled_initial_rate, ("instrument", "open_interest"), ("initial", "lower", "upper")
    ),
    "risk_order": Formula(_risk_order, (*_POOL, "other_equity", "other_maintenance")),
    "may_become": Formula(_may_become, (*_POOL, "next_equity", "next_maintenance")),
    "limit_price": Formula(
        _limit_price, (*_LEG, "quantity"), ("bankruptcy_adjustment", "spread_to_maintenance")
    ),
    "limit_order": Formula(_limit_order, ("instrument", "price", "closes")),
    "bankruptcy_quote": Formula(_bankruptcy_quote, ("instrument", *_LEG)),
    "insurance_delta": Formula(
        _insurance_delta, ("instrument", "value", "bankruptcy_quote"), ("insurance_fee_max",)
    ),
    "step_value_least": Formula(_step_value_least, ("value",), ("least",)),
    "step_value_most": Formula(_step_value_most, ("value",), ("least", "portion")),
    "quantity_to_cover": Formula(
        _quantity_to_cover,
        ("shortage", "price", "rate"),
        ("quote_price", "insurance_fee", *_FREED),
    ),
    "insurance_fee_rate": Formula(
        _insurance_fee_rate,
        ("shortage", "quantity", "price", "rate"),
        (*_FREED, "insurance_share", "insurance_fee_max"),
    ),
    "liquidator_fee_rate": Formula(_liquidator_fee_rate, ("slots",), _RAMP),
    "socialised_per_unit": Formula(_socialised_per_unit, ("loss", "long", "short")),
    "adl_drawdown": Formula(_adl_drawdown, _PEAK),
    "adl_excess": Formula(_adl_excess, _PEAK, ("trigger",)),
    "adl_score": Formula(_adl_score, ("value",), _SCORED),
    "fee_rate": _FEE,
    "fee": Formula(_fee, ("instrument", "value", "liquidity"), _FEE.may),
    "outflow_capacity": Formula(_outflow_capacity, ("window", "capacity", "total", "elapsed_ms")),
}


def formula(card: Mapping[str, Any], name: str, inputs: Mapping[str, str]) -> Fraction:
    """Find what a formula of a card answers.

    Parameters
    ----------
    card : Mapping[str, Any]
        The tree of a card, as parsed from TOML or JSON.
    name : str
        Of the page.
    inputs : Mapping[str, str]
        Texts by name.

    Returns
    -------
    Fraction
        Exact, or rounded as the card says for this formula.

    Raises
    ------
    OracleError
        ``unknown_formula``, ``bad_input``, ``unsaid``, ``unknown_instrument``, ``out_of_range``
        or ``bad_number``.

    Examples
    --------
    >>> card = {
    ...     "schema": "aivora-card/1",
    ...     "name": "small",
    ...     "asset": {"USD": {"quantum": "0.01"}},
    ...     "rules": {"settlement": "USD", "trigger": "strict", "check_on": "mark"},
    ...     "definition": {},
    ...     "instrument": [
    ...         {
    ...             "symbol": "A",
    ...             "kind": "linear",
    ...             "price_tick": "1",
    ...             "mark_tick": "1",
    ...             "lot": "1",
    ...             "tiers": {
    ...                 "by": "size",
    ...                 "brackets": [{"floor": "0", "maintenance": "0.05", "initial": "0.1"}],
    ...             },
    ...         }
    ...     ],
    ... }
    >>> formula(card, "socialised_per_unit", {"loss": "1", "long": "2", "short": "-1"})
    Fraction(1, 3)
    """
    if name not in FORMULAS:
        raise OracleError("unknown_formula", "formula", name)
    own = FORMULAS[name]
    for key in inputs:
        if key not in own.needs + own.may:
            raise OracleError("bad_input", key, inputs[key])
    for key in own.needs:
        if key not in inputs:
            raise OracleError("bad_input", key)
    for key in inputs.keys() - WORDS:
        _read(inputs[key], key)
    rules: Mapping[str, Any] = card["rules"]
    found = own.of(Asked(rules, oracle.Card.from_tree(card), inputs))
    grid = rules.get("rounding", {}).get(name)
    if grid is None:
        return found
    step = oracle.number(grid["to"], "to")
    return ROUNDINGS[grid["mode"]](found / step) * step

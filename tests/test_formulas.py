"""Formulas of cards against the oracle, which is written from ``docs/spec/formulas.md``."""

from __future__ import annotations

import copy
import tomllib
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aivora_core as ac
from aivora_core import formulas
from aivora_core.audit import formulas as audit
from aivora_core.audit.oracle import OracleError

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Tree = dict[str, Any]
Question = tuple[Tree, dict[str, str]]

CODES = dict.fromkeys(("not_a_number", "not_finite", "overflow"), "bad_number")
SYMBOLS = ("linear", "quanto", "inverse")

TREE: Tree = {
    "schema": "aivora-card/1",
    "name": "small",
    "asset": {"USD": {"quantum": "0.01"}},
    "rules": {"settlement": "USD", "trigger": "strict", "check_on": "mark"},
    "definition": {"trigger": {"says": "so", "source": "here", "date": "now", "sure": "own"}},
    "instrument": [
        {
            "symbol": "A",
            "kind": "linear",
            "price_tick": "0.5",
            "mark_tick": "0.1",
            "lot": "0.1",
            "tiers": {
                "by": "size",
                "brackets": [{"floor": "0", "maintenance": "0.05", "initial": "0.1"}],
            },
        }
    ],
}
PAID: Tree = {"interval": "8h", "timing": "discrete", "paid_on": "mark"}


def tree(**rules: Any) -> Tree:
    card = copy.deepcopy(TREE)
    card["rules"] |= rules
    return card


def core(card: Tree, name: str, inputs: dict[str, str]) -> Fraction | str:
    try:
        return ac.Venue.from_tree(card).formula(name, **inputs)
    except ac.AivoraError as error:
        return CODES.get(error.code, error.code)


def oracle(card: Tree, name: str, inputs: dict[str, str]) -> Fraction | str:
    try:
        return audit.formula(card, name, inputs)
    except OracleError as error:
        return error.code


# --- cards ----------------------------------------------------------------------------------------


def words(*given: str) -> SearchStrategy[str]:
    return st.sampled_from(given)


def decimals(low: str, high: str, places: int) -> SearchStrategy[str]:
    drawn = st.decimals(low, high, allow_nan=False, places=places)
    return drawn.map(lambda value: f"{value:f}")


def some(tables: Tree, *optional: str) -> SearchStrategy[Tree]:
    """A table of which keys that are optional are mostly there."""
    needed = {key: own for key, own in tables.items() if key not in optional}
    maybe = {key: tables[key] for key in optional}
    whole = st.fixed_dictionaries({**needed, **maybe})
    return st.one_of(whole, whole, st.fixed_dictionaries(needed, optional=maybe))


PART = st.one_of(words("0", "1", "1/3", "0.5", "1/24"), decimals("0", "1", 4))
SMALL = st.one_of(words("0", "1/75"), decimals("0", "0.1", 6))
AMOUNT = st.one_of(words("0", "1"), decimals("0", "100000", 2))
TIME = words("1ms", "7ms", "90s", "1min", "1h", "8h", "1d")
MODE = words("floor", "ceil", "toward_zero", "away_from_zero", "half_even")
PAIR = st.tuples(decimals("-0.01", "0", 6), decimals("0", "0.01", 6))


@st.composite
def tiers(draw: st.DrawFn, half: bool) -> Tree:  # noqa: FBT001
    initial = draw(words("0.02", "1/75", "0.1", "1/3", "0.123456"))
    maintenance = draw(words("0.01", "1/150", "0.0133"))
    if not half and draw(st.booleans()):
        slope = draw(words("0.00005", "0"))
        rates = {"maintenance_base": maintenance, "initial_base": initial}
        return {"by": "size_slope", "slope": slope, **rates}
    rates = {"initial": initial} if half else {"initial": initial, "maintenance": maintenance}
    rows = [{"floor": "0", **rates}, {"floor": "100", **rates, "initial": "0.5"}]
    return {"by": draw(words("notional", "size")), "brackets": rows[: draw(st.integers(1, 2))]}


@st.composite
def instruments(draw: st.DrawFn, half: bool) -> list[Tree]:  # noqa: FBT001
    return [
        {
            "symbol": kind,
            "kind": kind,
            "settlement": "BTC" if kind == "inverse" else "USD",
            "price_tick": draw(words("0.5", "0.1", "10")),
            "mark_tick": draw(words("0.1", "0.05")),
            "lot": draw(words("1", "0.1", "0.02")),
            "multiplier": draw(words("1", "100", "7")),
            "tiers": draw(tiers(half)),
        }
        for kind in SYMBOLS
    ]


@st.composite
def funding(draw: st.DrawFn) -> Tree:
    found: Tree = draw(
        some(
            {
                "interval": words("1h", "8h", "24h"),
                "timing": words("discrete", "continuous"),
                "paid_on": words("mark", "index"),
                "premium": words("impact", "mark"),
                "scale": PART,
                "decimals": st.integers(0, 12),
                "rounding": MODE,
                "grace": words("0ms", "15s", "3ms"),
                "quoted": words("1h", "8h", "1d"),
                "divergence": PART,
                "cap_factor": words("0", "6", "1/3", "0.02"),
            },
            *("premium", "scale", "decimals", "rounding", "grace", "quoted", "divergence"),
            "cap_factor",
        )
    )
    shape = draw(words("band", "clamp", "interest", "both", "none"))
    if shape == "band":
        found["dead_band"] = draw(decimals("0", "0.01", 12))
    if shape in ("clamp", "both"):
        found["clamp"] = draw(decimals("0", "0.01", 6))
    if shape in ("interest", "both"):
        found["interest"] = draw(decimals("-0.01", "0.01", 12))
    if draw(st.booleans()):
        found["floor"], found["cap"] = draw(PAIR)
    return found


@st.composite
def bands(draw: st.DrawFn) -> Tree:
    fixed = st.fixed_dictionaries({"of": words("mark", "index"), "down": PART, "up": PART})
    ends = st.tuples(decimals("0", "0.2", 3), decimals("0", "0.2", 3)).map(sorted)
    wide = ends.map(lambda own: {"rule": "premium", "inner": own[0], "outer": own[1]})
    found = draw(st.one_of(fixed, wide))
    own = draw(st.dictionaries(words(*SYMBOLS), st.one_of(fixed, wide), max_size=2))
    return found | ({"instrument": own} if own else {})


@st.composite
def levels(draw: st.DrawFn) -> Tree:
    volumes = sorted(draw(st.sets(st.integers(1, 2_000), max_size=3)))
    rate = decimals("-0.001", "0.001", 6)
    rows = [
        {"name": f"l{volume}", "maker": draw(rate), "taker": draw(SMALL), "volume": str(volume)}
        for volume in [0, *volumes]
    ]
    if draw(st.booleans()):
        del rows[0]["volume"]
    return {"levels": rows}


STEP = {
    "limit": words("fillable", "fillable", "bankruptcy"),
    "bankruptcy_adjustment": words("1", "0", "1.5", "10"),
    "spread_to_maintenance": PART,
    "least": AMOUNT,
    "portion": PART,
    "buffer": SMALL,
    "liquidator_fee": SMALL,
    "liquidator_fee_max": SMALL,
    "fee_ramp": decimals("0", "0.001", 6),
    "fee_grace_slots": st.integers(0, 30),
    "insurance_share": PART,
    "insurance_fee_max": SMALL,
}
OUTFLOW = st.fixed_dictionaries({"every": TIME, "least": AMOUNT, "share": PART})


@st.composite
def cards(draw: st.DrawFn, name: str) -> Tree:
    half = draw(st.booleans())
    fair = {"rule": st.just("fair"), "interval": TIME, "step": TIME}
    terms = st.one_of(some(fair, "step"), some(fair, "step"), st.just({"rule": "index"}))
    limits = st.tuples(AMOUNT, st.one_of(st.none(), decimals("0.01", "1000", 2)))
    held = limits.map(
        lambda own: {
            "lower": own[0],
            "upper": "0" if own[1] is None else f"{Decimal(own[0]) + Decimal(own[1]):f}",
        }
    )
    score = words("profit_leverage", "mark_over_entry")
    rules = {
        "mark": st.fixed_dictionaries({"terms": st.lists(terms, min_size=1, max_size=1)}),
        "funding": funding(),
        "step": some(STEP, *STEP),
        "adl": some({"score": score, "trigger": PART}, "score", "trigger"),
        "band": bands(),
        "open_interest": st.dictionaries(words(*SYMBOLS), held, min_size=1),
        "fees": levels(),
        "outflow": OUTFLOW.map(lambda row: [{"window": "1h", **row}, {**row, "window": "24h"}]),
        "rounding": st.fixed_dictionaries(
            {
                name: st.fixed_dictionaries(
                    {"to": words("1", "0.01", "0.000001", "3", "0.5"), "mode": MODE}
                )
            }
        ),
    }
    card = copy.deepcopy(TREE)
    card["rules"] |= draw(some(rules, *rules))
    card["asset"] = {
        "USD": {"quantum": draw(words("0.01", "0.001"))},
        "BTC": {"quantum": draw(words("0.00000001", "0.000001"))},
    }
    if half:
        card["rules"]["maintenance_from"] = "half_initial"
    card["instrument"] = draw(instruments(half))
    for row in card["instrument"]:
        if row["kind"] != "inverse":
            row["lot"] = "1"  # whole quanta a tick and lot
    return card


# --- inputs ---------------------------------------------------------------------------------------


def text(value: Fraction | int | Decimal) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


ABOVE = st.one_of(
    st.integers(1, 100_000),
    st.fractions(Fraction(1, 50), 2_000, max_denominator=50),
    st.decimals("0.01", 2_000, places=2),
).map(text)
SIGNED = st.one_of(
    st.integers(-2_000, 2_000),
    st.fractions(-20, 20, max_denominator=30),
    st.decimals(-2_000, 2_000, places=3),
    st.just(0),
).map(text)
RATE = st.one_of(
    st.fractions(Fraction(-1, 10), Fraction(1, 10), max_denominator=500),
    st.decimals("-0.02", "0.02", places=12),
    SIGNED,
).map(text)
SPAN = st.one_of(
    st.integers(0, 60), st.integers(0, 200_000_000), st.fractions(0, 9, max_denominator=9)
).map(text)
SIGNED_NAMES = frozenset({"equity", "value", "quantity", "long", "short", "since", "pnl"})
RATES = frozenset({"rate", "average", "premium", *STEP} - {"least", "fee_grace_slots"})
WRONG = words("", "x", "nan", "inf", "1_0", "1/", "1" * 81, "--1", "1e1001")


def inputs_of(key: str) -> SearchStrategy[str]:
    named: dict[str, SearchStrategy[str]] = {
        "instrument": words(*SYMBOLS, *SYMBOLS, *SYMBOLS, "other"),
        "closes": words("long", "short", "long", "short", "both"),
        "liquidity": words("maker", "taker", "maker", "taker", "both"),
        "window": words("1h", "24h", "1h", "24h", "2h"),
    }
    if key in named:
        return named[key]
    if key.endswith("_ms") or key in ("slots", "fee_grace_slots"):
        return st.one_of(SPAN, SPAN, SPAN, SIGNED)
    if key in RATES:
        return RATE
    if any(name in key for name in SIGNED_NAMES):
        return SIGNED
    return st.one_of(ABOVE, ABOVE, ABOVE, ABOVE, SIGNED)


@st.composite
def questions(draw: st.DrawFn, name: str) -> Question:
    card = draw(cards(name))
    own = formulas.FORMULAS[name]
    keys = list(own.needs) + [
        key for key in own.inputs[len(own.needs) :] if draw(st.integers(0, 2))
    ]
    inputs = {key: draw(inputs_of(key)) for key in keys}
    change = draw(st.integers(0, 30))
    place = draw(st.sampled_from(keys))
    if change == 0:
        del inputs[place]
    elif change == 1:
        inputs["other"] = "1"
    elif change == 2 and place not in ("instrument", "closes", "liquidity", "window"):
        inputs[place] = draw(WRONG)
    return card, inputs


def test_there_are_the_formulas_of_the_oracle() -> None:
    assert list(formulas.FORMULAS) == list(audit.FORMULAS)
    for name, own in formulas.FORMULAS.items():
        mine = audit.FORMULAS[name]
        assert set(own.needs) == set(mine.needs), name
        assert set(own.may + own.parameters) == set(mine.may), name


@pytest.mark.parametrize("name", audit.FORMULAS)
def test_the_answer_is_that_of_the_oracle(name: str) -> None:
    @settings(max_examples=50)
    @given(questions(name))
    def check(question: Question) -> None:
        one, other = (of(question[0], name, question[1]) for of in (core, oracle))
        # Where two things are wrong, which of them is told first is not defined.
        assert one == other or (isinstance(one, str) and isinstance(other, str))

    check()


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "inputs", "code", "field", "limit"),
    [
        ("limit_prise", {}, "unknown_formula", "formula", "nearest: limit_price"),
        ("fee_rate", {}, "bad_input", "liquidity", "needs it"),
        ("fee_rate", {"liquidty": "maker"}, "bad_input", "liquidty", "nearest: liquidity"),
        ("fee_rate", {"liquidity": "makr"}, "bad_input", "liquidity", "nearest: maker"),
        ("fee_rate", {"liquidity": "maker"}, "unsaid", "rules.fees.levels", "does not say"),
        ("premium", {"index": "0", "impact_bid": "1"}, "out_of_range", "index", "above 0"),
        ("premium", {"index": "1/0"}, "out_of_range", "index", "not be 0"),
        ("premium", {"index": "one"}, "not_a_number", "index", "decimal"),
        (
            "limit_order",
            {"instrument": "B", "price": 1, "closes": "long"},
            "unknown_instrument",
            "instrument",
            "A",
        ),
        (
            "quantity_to_cover",
            {"shortage": 1, "price": 1, "rate": "0.1", "buffer": 0, "liquidator_fee": "0.1"},
            "out_of_range",
            "rate",
            "no quantity",
        ),
        (
            "outflow_capacity",
            dict.fromkeys(("capacity", "total", "elapsed_ms"), 1) | {"window": "1h"},
            "unsaid",
            "rules.outflow",
            "does not say",
        ),
    ],
)
def test_a_question_that_is_none_says_why(
    name: str, inputs: dict[str, Any], code: str, field: str, limit: str
) -> None:
    with pytest.raises(ac.AivoraError) as caught:
        ac.Venue.from_tree(tree()).formula(name, **inputs)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert limit in str(caught.value)


def test_a_float_is_no_input() -> None:
    with pytest.raises(ac.FloatGivenError, match="index"):
        ac.Venue.from_tree(tree()).formula("premium", index=1.5, impact_bid=1, impact_ask=1)


LEVEL = {"name": "a", "maker": "0", "taker": "0.0005"}


@pytest.mark.parametrize(
    ("rules", "field", "limit"),
    [
        (
            {"rounding": {"fees": {"to": "1", "mode": "ceil"}}},
            "rules.rounding.fees",
            "nearest: fee",
        ),
        ({"rounding": {"fee": {"to": "0", "mode": "ceil"}}}, "rules.rounding.fee.to", "above 0"),
        ({"fees": {"levels": [LEVEL, LEVEL]}}, "rules.fees.levels[1].volume", "rise"),
        ({"fees": {"levels": [LEVEL | {"volume": "1"}]}}, "rules.fees.levels[0].volume", "from 0"),
        (
            {"fees": {"levels": [LEVEL]}, "taker_fee": "0.001"},
            "rules.fees.levels[0].taker",
            "1/1000",
        ),
        ({"fees": {"levels": [LEVEL | {"maker": "-2"}]}}, "rules.fees.levels[0].maker", "-1 to 1"),
        (
            {
                "band": {
                    "of": "mark",
                    "down": "0.1",
                    "up": "0.1",
                    "instrument": {"B": {"of": "mark", "down": "0", "up": "0"}},
                }
            },
            "rules.band.instrument",
            "A",
        ),
        ({"band": {"rule": "premium", "inner": "0.2", "outer": "0.1"}}, "rules.band.outer", "1/5"),
        ({"open_interest": {"B": {"lower": "1", "upper": "2"}}}, "rules.open_interest.B", "A"),
        (
            {"open_interest": {"A": {"lower": "2", "upper": "2"}}},
            "rules.open_interest.A.upper",
            "2",
        ),
        ({"outflow": [{"every": "1h", "least": "1", "share": "0"}]}, "rules.outflow[0].window", ""),
        ({"adl": {"trigger": "0.2", "stop": "0.3"}}, "rules.adl.stop", "trigger"),
        (
            {"liquidation": {"close": "ful", "fee": "0", "adl": "size"}},
            "rules.liquidation.close",
            "nearest: full",
        ),
        (
            {"liquidation": {"schema": "x", "close": "full", "fee": "0", "adl": "size"}},
            "rules.liquidation.schema",
            "no place",
        ),
        (
            {"throttle": [{"what": "orders", "by": "account", "most": 0, "every": "1s"}]},
            "rules.throttle[0].most",
            "at least 1",
        ),
        ({"failure": {"outage": "resum"}}, "rules.failure.outage", "nearest: resume"),
        ({"funding": PAID | {"quoted": "0s"}}, "rules.funding.quoted", "above 0"),
    ],
)
def test_a_rule_that_is_none_names_its_place(rules: Tree, field: str, limit: str) -> None:
    with pytest.raises(ac.AivoraError) as caught:
        ac.Venue.from_tree(tree(**rules))
    assert caught.value.field == field
    assert limit in str(caught.value)


def test_a_leg_gives_its_inputs() -> None:
    dydx = ac.Venue.load("dydx-v4")
    rows: dict[str, Any] = {
        "positions": [
            {"account": "a", "instrument": "BTC-USD", "quantity": "-0.1", "entry": 50_000}
        ],
        "collateral": [{"account": "a", "amount": "75"}],
    }
    account = ac.Portfolio.from_tables(dydx, **rows)["a"]
    prices = ac.Prices(dydx, mark={"BTC-USD": 50_000})
    # Half below a maintenance of 150: half of a tenth of it beyond the mark, for a tenth of a coin.
    assert account.formula("limit_price", "BTC-USD", prices) == 50_000 + Fraction(1, 2) * 15 * 10
    assert account.formula("limit_price", "BTC-USD", prices, equity=0) == 50_150
    assert account.formula("bankruptcy_quote", "BTC-USD", prices) == -5_075
    with pytest.raises(ac.AivoraError) as caught:
        account.formula("limit_price", "BTC-USD", prices, leg="long")
    assert caught.value.code == "unknown_leg"
    with pytest.raises(ac.AivoraError) as caught:
        account.formula("limit_prise", "BTC-USD", prices)
    assert caught.value.code == "unknown_formula"


def test_what_a_card_lacks_is_told_by_formula() -> None:
    missing = formulas.unsaid(ac.Venue.from_tree(tree(funding=PAID)))
    assert missing["limit_price"] == "rules.step.limit"
    assert missing["funding_rate"] == "rules.funding.interest"
    assert "funding_payment" not in missing
    assert all(key.startswith("rules.") for key in missing.values())


DEFAULT = 'schema = "aivora-liquidation/0"\nclose = "full"\nfee = "0"\nadl = "size"\n'


def test_a_card_liquidates_as_it_says() -> None:
    rules = {"close": "staged", "share": "1/5", "above": "100000", "cooldown_ms": 30000}
    rules |= {"fee": "0", "adl": "size"}
    venue = ac.Venue.from_tree(tree(liquidation=rules))
    assert venue.policy is not None
    policy = tomllib.loads(venue.policy)
    assert policy == {"schema": "aivora-liquidation/0", **rules}
    assert ac.Engine(venue).hash == ac.Engine(venue, policy=venue.policy).hash
    assert ac.Engine(venue).hash != ac.Engine(venue, policy=DEFAULT).hash

"""Formulas of cards against the oracle, which is written from ``docs/spec/formulas.md``."""

from __future__ import annotations

import copy
import tomllib
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aivora_core as ac
from aivora_core import formulas
from aivora_core.audit import formulas as audit
from aivora_core.audit.oracle import OracleError

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Tree = dict[str, Any]
Question = tuple[Tree, dict[str, str]]

CODES = {"not_a_number": "bad_number", "not_finite": "bad_number"}

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
    venue = ac.Venue.from_tree(card)
    try:
        return venue.formula(name, **inputs)
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
    unit = 10**places
    ends = int(Decimal(low) * unit), int(Decimal(high) * unit)
    return st.integers(*ends).map(lambda whole: f"{Decimal(whole) / unit:f}")


PART = st.one_of(words("0", "1", "1/3", "0.5", "1/24"), decimals("0", "1", 4))
SMALL = st.one_of(words("0", "1/75"), decimals("0", "0.1", 6))
AMOUNT = st.one_of(words("0", "1"), decimals("0", "100000", 2))
TIME = words("1ms", "7ms", "90s", "1min", "1h", "8h", "1d")
MODE = words("floor", "ceil", "toward_zero", "away_from_zero", "half_even")
PAIR = st.tuples(decimals("-0.01", "0", 6), decimals("0", "0.01", 6))
FAIR = {"rule": st.just("fair"), "interval": TIME}
MARK = st.one_of(st.fixed_dictionaries(FAIR), st.fixed_dictionaries({**FAIR, "step": TIME})).map(
    lambda term: {"terms": [term]}
)
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
OUTFLOW = st.fixed_dictionaries({"every": TIME, "least": AMOUNT, "share": PART}).map(
    lambda row: [{**row, "window": "1h"}, {**row, "window": "24h", "least": "3.333"}]
)
ADL = st.fixed_dictionaries({"score": words("profit_leverage", "mark_over_entry"), "trigger": PART})


@st.composite
def instruments(draw: st.DrawFn, half: bool) -> list[Tree]:  # noqa: FBT001
    kind = draw(words("linear", "quanto", "inverse"))
    initial = draw(words("0.02", "1/75", "0.1", "1/3", "0.123456"))
    maintenance = draw(words("0.01", "1/150", "0.0133"))
    if draw(st.booleans()) and not half:
        bases = {"maintenance_base": maintenance, "initial_base": initial}
        tiers: Tree = {"by": "size_slope", "slope": draw(words("0.00005", "0")), **bases}
    else:
        rates = {"initial": initial} | ({} if half else {"maintenance": maintenance})
        rows = [{"floor": "0", **rates}, {"floor": "100", **rates, "initial": "0.5"}]
        tiers = {"by": draw(words("notional", "size")), "brackets": rows[: draw(st.integers(1, 2))]}
    own = {
        "symbol": "A",
        "kind": kind,
        "settlement": "BTC" if kind == "inverse" else "USD",
        "price_tick": draw(words("0.5", "0.1", "10")),
        "mark_tick": draw(words("0.1", "0.05")),
        "lot": draw(words("1", "0.1", "0.02")) if kind == "inverse" else draw(words("1", "2")),
        "multiplier": draw(words("1", "100", "7")),
        "tiers": tiers,
    }
    other = copy.deepcopy(own) | {"symbol": "B", "price_tick": "0.2", "mark_tick": "0.2"}
    return [own, other]


@st.composite
def funding(draw: st.DrawFn) -> Tree:
    found: Tree = draw(
        st.fixed_dictionaries(
            {
                "interval": words("1h", "8h", "24h"),
                "timing": words("discrete", "continuous"),
                "paid_on": words("mark", "index"),
                "divergence": PART,
                "cap_factor": words("0", "6", "1/3", "0.02"),
            },
            optional={
                "premium": words("impact", "mark"),
                "scale": PART,
                "decimals": st.integers(0, 12),
                "rounding": MODE,
                "grace": words("0ms", "15s", "3ms"),
                "quoted": words("1h", "8h", "1d"),
            },
        )
    )
    shape = draw(words("band", "clamp", "interest", "both"))
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
    ends = st.tuples(decimals("0", "0.2", 3), decimals("0", "0.2", 3)).map(
        lambda own: sorted(own, key=Decimal)
    )
    wide = ends.map(lambda own: {"rule": "premium", "inner": own[0], "outer": own[1]})
    own = draw(st.dictionaries(words("A", "B"), st.one_of(fixed, wide), max_size=2))
    return draw(st.one_of(fixed, wide)) | ({"instrument": own} if own else {})


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


@st.composite
def held(draw: st.DrawFn) -> Tree:
    lower = draw(st.integers(0, 1_000))
    upper = draw(st.one_of(st.just(0), st.integers(lower + 1, 2_000)))
    return {symbol: {"lower": str(lower), "upper": str(upper)} for symbol in ("A", "B")}


TABLES: dict[str, SearchStrategy[Any]] = {
    "mark": MARK,
    "funding": funding(),
    "step": st.fixed_dictionaries(STEP),
    "adl": ADL,
    "band": bands(),
    "open_interest": held(),
    "fees": levels(),
    "outflow": OUTFLOW,
}
TABLE_OF = {"fair": "mark", "premium": "funding", "scaled": "open_interest", "fee": "fees"}
OPTIONAL = {"funding": ("divergence", "cap_factor"), "adl": ("score", "trigger"), "step": STEP}


def table_of(name: str) -> str:
    first = name.split("_", maxsplit=1)[0]
    return TABLE_OF.get(first, first if first in TABLES else "step")


@st.composite
def cards(draw: st.DrawFn, name: str) -> Tree:
    card = copy.deepcopy(TREE)
    table = table_of(name)
    card["rules"][table] = draw(TABLES[table])
    if draw(st.booleans()):
        to = draw(words("1", "0.01", "0.000001", "3", "0.5"))
        card["rules"]["rounding"] = {name: {"to": to, "mode": draw(MODE)}}
    if "instrument" in formulas.FORMULAS[name].inputs:
        half = draw(st.booleans())
        if half:
            card["rules"]["maintenance_from"] = "half_initial"
        card["instrument"] = draw(instruments(half))
    card["asset"]["USD"]["quantum"] = draw(words("0.01", "0.001"))
    card["asset"]["BTC"] = {"quantum": draw(words("0.00000001", "0.000001"))}
    return card


# --- inputs ---------------------------------------------------------------------------------------


def drawn(low: int, high: int) -> SearchStrategy[str]:
    wholes = st.integers(low, high).map(str)
    parts = st.builds("{}/{}".format, st.integers(low, high), st.integers(1, 50))
    return st.one_of(wholes, parts, decimals(str(low), str(high), 3))


ABOVE = drawn(1, 2_000)
SIGNED = st.one_of(drawn(-2_000, 2_000), words("0", "1", "-1"))
RATE = st.one_of(
    decimals("-0.02", "0.02", 12), st.builds("{}/{}".format, st.integers(-9, 9), st.integers(9, 99))
)
FREED = st.one_of(
    decimals("0", "0.1", 9), st.builds("{}/{}".format, st.integers(0, 9), st.integers(9, 99))
)
SPAN = st.one_of(st.integers(0, 60).map(str), st.integers(0, 200_000_000).map(str), drawn(0, 60))
TIMES = frozenset({"slots", "fee_grace_slots", "opened_ms", "time_ms", "elapsed_ms", "left_ms"})
SIGNED_OF = {
    "adl_score": {"value", "entry_value", "bankruptcy_value"},
    "funding_settlement": {"index", "since", "quantity"},
}
WRONG = words("", "x", "nan", "inf", "1_0", "1/", "/2", "1" * 81, "--1", " 1", "1,5")
WORDS = {"instrument": ("A", "B"), "closes": ("long", "short"), "liquidity": ("maker", "taker")}
WORDS["window"] = ("1h", "24h")


def good(name: str, key: str) -> SearchStrategy[str]:  # noqa: PLR0911 - a line each
    """What an input may be without being out of range."""
    if key in WORDS:
        return words(*WORDS[key])
    if key in TIMES:
        return SPAN
    if name in ("risk_order", "may_become"):  # few values: ties, and pools without maintenance
        return words("-1", "0", "1", "2", "1/2") if "equity" in key else words("0", "1", "2", "1/2")
    if key == "premium":
        return SIGNED
    if key in ("rate", "average"):
        return decimals("0", "1", 6) if table_of(name) == "step" else RATE
    if key == "insurance_fee" or (key in STEP and key != "least"):
        return FREED
    signed = SIGNED_OF.get(name, {"equity", "value", "long", "short", "pnl", "peak_pnl"})
    if key in signed or key.endswith("_equity"):
        return SIGNED
    return ABOVE


@st.composite
def questions(draw: st.DrawFn, name: str) -> Question:
    """A card and inputs with one fault at most: a card lacks, an input is none, or is beyond."""
    own = formulas.FORMULAS[name]
    table = table_of(name)
    fault = draw(st.sampled_from(["none", "none", "none", "value", "value", "card", "input"]))
    card = draw(cards(name))
    optional = {*own.parameters, "volume", "quote_price", "insurance_fee"}
    inputs = {
        key: draw(good(name, key))
        for key in own.inputs
        if key not in optional or draw(st.booleans())
    }
    key = draw(st.sampled_from(sorted(inputs)))
    if fault == "value":
        for other in [
            other for other in inputs if other not in WORDS
        ]:  # in order: the same each run
            if other == key or draw(st.integers(0, 3)) == 0:
                inputs[other] = draw(SIGNED)
    elif fault == "card":
        lacking = draw(st.sampled_from(["", *OPTIONAL.get(table, ())]))
        if lacking:
            del card["rules"][table][lacking]
        else:
            del card["rules"][table]
    elif fault == "input":
        change = draw(words("drop", "add", "wrong", "wrong"))
        if change == "drop":
            del inputs[key]
        elif change == "add":
            inputs["other"] = "1"
        else:
            inputs[key] = "none" if key in WORDS else draw(WRONG)
    return card, inputs


def test_there_are_the_formulas_of_the_oracle() -> None:
    assert list(formulas.FORMULAS) == list(audit.FORMULAS)
    for name, own in formulas.FORMULAS.items():
        mine = audit.FORMULAS[name]
        assert set(own.needs) == set(mine.needs), name
        assert set(own.inputs) == {*mine.needs, *mine.may}, name


@pytest.mark.parametrize("name", audit.FORMULAS)
def test_the_answer_is_that_of_the_oracle(name: str) -> None:
    @given(questions(name))
    def check(question: Question) -> None:
        assert core(question[0], name, question[1]) == oracle(question[0], name, question[1])

    check()


# --- by hand --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "inputs", "code", "field", "limit"),
    [
        ("limit_prise", {}, "unknown_formula", "formula", "nearest: limit_price"),
        ("risk", {"equity": 1}, "unknown_formula", "formula", "there are fair_price"),
        ("step_value_least", {}, "bad_input", "value", "needs it"),
        ("step_value_least", {"valu": 1}, "bad_input", "valu", "nearest: value"),
        ("step_value_least", {"value": 1}, "unsaid", "rules.step.least", "does not say"),
        ("funding_divergence", {"index_average": 1}, "unsaid", "rules.funding", "does not say"),
        ("band_low", {"instrument": "A", "mark": 1}, "unsaid", "rules.band", "does not say"),
        (
            "limit_order",
            {"instrument": "A", "price": 1, "closes": "lng"},
            "bad_input",
            "closes",
            "",
        ),
        (
            "limit_order",
            {"instrument": "Z", "price": 1, "closes": "long"},
            "unknown_instrument",
            "instrument",
            "A",
        ),
        (
            "quantity_to_cover",
            dict.fromkeys(("shortage", "price", "liquidator_fee"), 1)
            | {"quote_price": -1, "rate": 0, "buffer": 0},
            "out_of_range",
            "quote_price",
            "above 0",
        ),
        ("step_value_least", {"value": "1_0"}, "not_a_number", "value", "a decimal"),
        ("step_value_least", {"value": True}, "not_a_number", "value", "an int"),
        ("step_value_least", {"value": "1" * 81}, "not_a_number", "value", "80 characters"),
        (
            "adl_drawdown",
            {"pnl": 1, "peak_pnl": 2, "peak_balance": 0},
            "out_of_range",
            "peak_balance",
            "",
        ),
    ],
)
def test_a_question_that_is_none_is_refused(
    name: str, inputs: dict[str, Any], code: str, field: str, limit: str
) -> None:
    with pytest.raises(ac.AivoraError) as found:
        ac.Venue.from_tree(tree()).formula(name, **inputs)
    assert (found.value.code, found.value.field) == (code, field)
    assert limit in found.value.limit


def test_a_float_is_no_input() -> None:
    with pytest.raises(ac.FloatGivenError) as found:
        ac.Venue.load("dydx-v4").formula("step_value_least", value=1.5)
    assert found.value.field == "value"


LEVEL = {"name": "first", "maker": "0.0002", "taker": "0.0005"}
HIGHER = {"name": "next", "maker": "-0.0001", "taker": "0.0004", "volume": "100"}
FIXED = {"of": "mark", "down": "0.1", "up": "0.1"}
CLOSED = {"close": "full", "fee": "0", "adl": "size"}


@pytest.mark.parametrize(
    ("rules", "code", "field", "limit"),
    [
        (
            {"rounding": {"fare_price": {"to": "1", "mode": "ceil"}}},
            "unknown_formula",
            "rules.rounding.fare_price",
            "nearest: fair_price",
        ),
        (
            {"rounding": {"fee": {"to": "1", "mode": "up"}}},
            "bad_card",
            "rules.rounding.fee.mode",
            "half_even",
        ),
        (
            {"rounding": {"fee": {"to": "0", "mode": "ceil"}}},
            "out_of_range",
            "rules.rounding.fee.to",
            "above 0",
        ),
        (
            {"fees": {"levels": [LEVEL, {**HIGHER, "volume": "0"}]}},
            "out_of_range",
            "rules.fees.levels[1].volume",
            "rise",
        ),
        (
            {"fees": {"levels": [{**LEVEL, "volume": "5"}]}},
            "out_of_range",
            "rules.fees.levels[0].volume",
            "from 0",
        ),
        (
            {"fees": {"levels": [LEVEL]}, "taker_fee": "0.0004"},
            "out_of_range",
            "rules.fees.levels[0].taker",
            "rules.taker_fee",
        ),
        ({"band": {**FIXED, "instrument": {"Z": FIXED}}}, "bad_card", "rules.band.instrument", "A"),
        (
            {"band": {"rule": "premium", "inner": "0.1", "outer": "0.05"}},
            "out_of_range",
            "rules.band.outer",
            "inner",
        ),
        (
            {"open_interest": {"Z": {"lower": "1", "upper": "2"}}},
            "bad_card",
            "rules.open_interest.Z",
            "A",
        ),
        (
            {"open_interest": {"A": {"lower": "2", "upper": "1"}}},
            "out_of_range",
            "rules.open_interest.A.upper",
            "above the lower",
        ),
        (
            {"outflow": [{"every": "1h", "least": "1", "share": "0.1"}]},
            "bad_card",
            "rules.outflow[0].window",
            "required",
        ),
        ({"adl": {"trigger": "0.3", "stop": "0.35"}}, "out_of_range", "rules.adl.stop", "trigger"),
        (
            {"fees": {"levels": [LEVEL | {"maker": "-2"}]}},
            "out_of_range",
            "rules.fees.levels[0].maker",
            "-1 to 1",
        ),
        (
            {"throttle": [{"what": "orders", "by": "account", "most": 0, "every": "1s"}]},
            "out_of_range",
            "rules.throttle[0].most",
            "at least 1",
        ),
        ({"failure": {"outage": "resum"}}, "bad_card", "rules.failure.outage", "nearest: resume"),
        ({"funding": PAID | {"quoted": "0s"}}, "out_of_range", "rules.funding.quoted", "above 0"),
        (
            {"liquidation": {**CLOSED, "close": "half"}},
            "bad_card",
            "rules.liquidation.close",
            "full",
        ),
        (
            {"liquidation": {**CLOSED, "schema": "aivora-liquidation/0"}},
            "bad_card",
            "rules.liquidation.schema",
            "no place",
        ),
    ],
)
def test_a_card_whose_rules_are_wrong_does_not_load(
    rules: Tree, code: str, field: str, limit: str
) -> None:
    with pytest.raises(ac.AivoraError) as found:
        ac.Venue.from_tree(tree(**rules))
    assert (found.value.code, found.value.field) == (code, field)
    assert limit in found.value.limit


@pytest.mark.parametrize(
    ("name", "rules", "inputs", "answer"),
    [
        (
            "fee_rate",
            {"fees": {"levels": [LEVEL, HIGHER]}},
            {"liquidity": "maker", "volume": "99"},
            "1/5000",
        ),
        (
            "fee_rate",
            {"fees": {"levels": [LEVEL, HIGHER]}},
            {"liquidity": "maker", "volume": "100"},
            "-1/10000",
        ),
        (
            "fee",
            {"fees": {"levels": [HIGHER | {"volume": "0"}]}},
            {"instrument": "A", "value": "-199", "liquidity": "maker"},
            "-1/100",
        ),
        ("limit_order", {}, {"instrument": "A", "price": "0.1", "closes": "short"}, "1/2"),
        (
            "funding_payment",
            {"funding": PAID},
            {
                "instrument": "A",
                "quantity": "2",
                "price": "50",
                "rate": "0.01",
                "opened_ms": "7",
                "time_ms": "7",
            },
            "-1",
        ),
        (
            "funding_payment",
            {"funding": PAID | {"grace": "1ms"}},
            {
                "instrument": "A",
                "quantity": "2",
                "price": "50",
                "rate": "0.01",
                "opened_ms": "8",
                "time_ms": "7",
            },
            "0",
        ),
        # Read strictly, a parameter of a card may be given instead of the card's table too.
        ("funding_cap", {}, {"instrument": "A", "cap_factor": "2"}, "1/10"),
        # A bound of one side is a bound.
        (
            "funding_rate",
            {"funding": PAID | {"interest": "0", "cap": "0.01"}},
            {"average": "0.1"},
            "1/100",
        ),
        (
            "funding_rate",
            {"funding": PAID | {"interest": "0", "floor": "-0.01"}},
            {"average": "-0.1"},
            "-1/100",
        ),
    ],
)
def test_an_answer_by_hand(name: str, rules: Tree, inputs: dict[str, str], answer: str) -> None:
    assert str(oracle(tree(**rules), name, inputs)) == answer
    assert str(core(tree(**rules), name, inputs)) == answer


def test_a_parameter_that_is_not_said_is_never_zero() -> None:
    card = tree(step={"liquidator_fee": "0.01"})
    asked = {"shortage": "1", "price": "100", "rate": "0.05"}
    assert oracle(card, "quantity_to_cover", asked) == "unsaid"
    assert core(card, "quantity_to_cover", asked) == "unsaid"


def test_the_fair_price_of_a_payload() -> None:
    """BitMEX's XBTUSD at 23:33:19, funding at 04:00: the clock goes in whole minutes."""
    inputs = {"index": "97843.77", "rate": "0.00011", "left_ms": "16001000"}
    found = ac.Venue.load("bitmex").formula("fair_price", **inputs)
    assert round(found, 2) == Fraction("97849.76")


# --- of a card, and of an account -----------------------------------------------------------------


def plain(venue: ac.Venue, name: str) -> dict[str, str]:
    """Inputs of a formula without the parameters that a card may say."""
    own = formulas.FORMULAS[name]
    named = {"instrument": venue.instruments[0].symbol, "closes": "long", "liquidity": "taker"}
    outflow = venue.rules.get("outflow", [{"window": "any"}])
    named["window"] = outflow[0]["window"]
    return {key: named.get(key, "1") for key in own.needs + own.may}


@pytest.mark.parametrize("name", ac.Venue.builtin_names())
def test_what_a_card_does_not_say_is_told(name: str) -> None:
    venue = ac.Venue.load(name)
    card = tomllib.loads(venue.text)
    mine = [key for key in audit.FORMULAS if oracle(card, key, plain(venue, key)) == "unsaid"]
    found = formulas.unsaid(venue)
    assert list(found) == mine
    assert all(key.startswith("rules.") for key in found.values())


def test_a_card_liquidates_as_it_says() -> None:
    rules = {"close": "staged", "share": "1/5", "above": "100000", "cooldown_ms": 30_000}
    rules |= {"fee": "0", "adl": "size"}
    venue = ac.Venue.from_tree(tree(liquidation=rules))
    assert venue.policy is not None
    assert tomllib.loads(venue.policy) == {"schema": "aivora-liquidation/0", **rules}
    other = 'schema = "aivora-liquidation/0"\nclose = "full"\nfee = "0"\nadl = "size"\n'
    assert ac.Engine(venue).hash == ac.Engine(venue, policy=venue.policy).hash
    assert ac.Engine(venue).hash != ac.Engine(venue, policy=other).hash


def test_a_formula_says_what_it_takes() -> None:
    own = formulas.FORMULAS["limit_price"]
    assert (own.name, own.floor) == ("limit_price", "execution")
    assert own.needs == ("equity", "maintenance", "value", "leg_maintenance", "quantity")
    assert set(own.inputs) - set(own.needs) == {"bankruptcy_adjustment", "spread_to_maintenance"}
    floors = [own.floor for own in formulas.FORMULAS.values()]
    assert sorted(floors, key=["pricing", "margin", "execution"].index) == floors
    assert all(own.says for own in formulas.FORMULAS.values())


@pytest.fixture(scope="module")
def account() -> tuple[ac.Account, ac.Prices]:
    """A pool one dollar short of its maintenance, short 0.1 BTC on dYdX."""
    venue = ac.Venue.load("dydx-v4")
    position = {"account": "a", "instrument": "BTC-USD", "quantity": "-0.1", "entry": 50_000}
    rows = {"positions": [position], "collateral": [{"account": "a", "amount": 149}]}
    prices = ac.Prices(venue, mark={"BTC-USD": 50_000})
    return ac.Portfolio.from_tables(venue, **rows)["a"], prices


@pytest.mark.parametrize(
    ("name", "more", "answer"),
    [
        # A = 1 - 149/150, and a tenth of 150 times that is given up.
        ("limit_price", {}, "50001"),
        ("limit_price", {"equity": 151}, "50000"),
        ("limit_price", {"spread_to_maintenance": "0.2"}, "50002"),
        ("bankruptcy_quote", {}, "-5149"),
        ("insurance_delta", {"bankruptcy_quote": -5_149}, "25"),
        ("insurance_delta", {"bankruptcy_quote": -4_999}, "-1"),
        ("step_value_most", {"least": 10}, "5000"),
        ("quantity_to_cover", {"liquidator_fee": 0, "buffer": "0.01"}, "1/2000"),
        ("risk_order", {"other_equity": 150, "other_maintenance": 150}, "1"),
    ],
)
def test_a_leg_gives_the_inputs(
    account: tuple[ac.Account, ac.Prices], name: str, more: dict[str, Any], answer: str
) -> None:
    own, prices = account
    assert str(own.formula(name, "BTC-USD", prices, **more)) == answer


@pytest.mark.parametrize(
    ("name", "symbol", "more", "code", "field"),
    [
        ("limit_price", "BTC-USD", {"leg": "long"}, "unknown_leg", "leg"),
        ("limit_price", "ETH-USD", {}, "unknown_leg", "leg"),
        ("limit_prise", "BTC-USD", {}, "unknown_formula", "formula"),
        ("limit_price", "BTC-USD", {"equity": 1.5}, "float_given", "equity"),
        ("limit_price", "BTC-USD", {"equty": 1}, "bad_input", "equty"),
        ("insurance_delta", "BTC-USD", {}, "bad_input", "bankruptcy_quote"),
        ("quantity_to_cover", "BTC-USD", {"buffer": 0}, "unsaid", "rules.step.liquidator_fee"),
    ],
)
def test_a_question_to_a_leg_that_is_none_is_refused(
    account: tuple[ac.Account, ac.Prices],
    name: str,
    symbol: str,
    more: dict[str, Any],
    code: str,
    field: str,
) -> None:
    own, prices = account
    with pytest.raises(ac.AivoraError) as found:
        own.formula(name, symbol, prices, **more)
    assert (found.value.code, found.value.field) == (code, field)

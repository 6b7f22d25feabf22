"""Formulas of cards against the oracle, which is written from ``docs/spec/formulas.md``."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aivora_core as ac
from aivora_core import formulas
from aivora_core.audit import formulas as audit
from aivora_core.audit.oracle import OracleError

if TYPE_CHECKING:
    from fractions import Fraction

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
SIGNED_NAMES = frozenset({"equity", "value", "quantity", "long", "short", "index", "pnl"})
SIGNED_OF = {"adl_score": {"value"}, "funding_settlement": {"index", "since", "quantity"}}
WRONG = words("", "x", "nan", "inf", "1_0", "1/", "/2", "1" * 81, "--1", " 1", "1,5")
WORDS = {"instrument": ("A", "B"), "closes": ("long", "short"), "liquidity": ("maker", "taker")}
WORDS["window"] = ("1h", "24h")


def good(name: str, key: str) -> SearchStrategy[str]:
    """What an input may be without being out of range."""
    if key in WORDS:
        return words(*WORDS[key])
    if key in TIMES:
        return SPAN
    if key in ("rate", "average", "premium"):
        return decimals("0", "1", 6) if table_of(name) == "step" else RATE
    if key in STEP and key != "least":
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
    overriding = set(own.may) & {*STEP, "cap_factor", "initial", "maintenance", "lower", "upper"}
    overriding |= set(own.may) & {"trigger", "volume", "quote_price", "insurance_fee"}
    inputs = {
        key: draw(good(name, key))
        for key in own.inputs
        if key not in overriding or draw(st.booleans())
    }
    key = draw(st.sampled_from(sorted(inputs)))
    if fault == "value":
        for other in inputs.keys() - WORDS.keys():
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
        assert set(own.may) == set(mine.may), name


@pytest.mark.parametrize("name", audit.FORMULAS)
def test_the_answer_is_that_of_the_oracle(name: str) -> None:
    @given(questions(name))
    def check(question: Question) -> None:
        assert core(question[0], name, question[1]) == oracle(question[0], name, question[1])

    check()

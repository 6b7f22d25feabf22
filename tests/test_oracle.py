"""The oracle alone, against numbers worked by hand from the specification and venues' papers."""

from __future__ import annotations

import ast
import inspect
import random
import sys
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

import pytest

from aivora_core.audit import oracle
from aivora_core.audit.oracle import Balance, Card, Flip, Leg, OracleError, Pool

Row = dict[str, Any]
FLAT = {"by": "notional", "brackets": [{"floor": 0, "maintenance": "0.1", "initial": "0.2"}]}
SPEC_BRACKETS = [
    {"floor": "0", "cap": "50000", "maintenance": "0.004", "max_leverage": "125", "amount": "0"},
    {
        "floor": "50000",
        "cap": "600000",
        "maintenance": "0.005",
        "max_leverage": "100",
        "amount": "50",
    },
    {"floor": "600000", "maintenance": "0.0065", "initial": "1/75"},
]
FREQTRADE_XRP = ((0, "0.025"), (100_000, "0.05"), (500_000, "0.1"), (1_000_000, "0.15"))


def instrument(symbol: str = "BTC", tiers: Row = FLAT, **changes: object) -> Row:
    row = {"symbol": symbol, "kind": "linear", "price_tick": "0.1", "mark_tick": "0.01"}
    return {**row, "lot": "0.001", "tiers": tiers, **changes}


def tree(*instruments: Row, **rules: object) -> Row:
    return {
        "schema": "aivora-card/0",
        "name": "example",
        "asset": {"USDT": {"quantum": "0.000001"}},
        "rules": {"settlement": "USDT", **rules},
        "instrument": list(instruments) or [instrument()],
    }


def plain(tiers: Row = FLAT, **rules: object) -> Card:
    """One tick, one lot and one quantum are all 1: amounts can be read off."""
    ones = dict.fromkeys(("price_tick", "mark_tick", "lot"), "1")
    own = tree(instrument("A", tiers, **ones), instrument("B", tiers, **ones), **rules)
    return Card.from_tree({**own, "asset": {"USDT": {"quantum": 1}}})


def pool(collateral: int, *legs: Leg) -> Pool:
    balances = (Balance("USDT", collateral),)
    return Pool("alice", "cross", "cross", "single", "USDT", balances, legs)


def brackets(*rows: tuple[int, str], **tiers: object) -> Row:
    made = [{"floor": low, "maintenance": rate, "initial": "1"} for low, rate in rows]
    return {"by": "notional", "brackets": made, **tiers}


def refusal(call: Any, *args: Any) -> str:
    with pytest.raises(OracleError) as caught:
        call(*args)
    return caught.value.code


# --- the module -------------------------------------------------------------------------------


def test_imports_the_standard_library_only() -> None:
    parsed = ast.parse(inspect.getsource(oracle))
    roots: set[str] = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            roots.add((node.module or "").split(".")[0])
    assert roots <= sys.stdlib_module_names | {"__future__"}


def test_uses_no_float() -> None:
    parsed = ast.parse(inspect.getsource(oracle))
    constants = [node.value for node in ast.walk(parsed) if isinstance(node, ast.Constant)]
    assert not [value for value in constants if isinstance(value, float)]
    names = [node.id for node in ast.walk(parsed) if isinstance(node, ast.Name)]
    assert names.count("float") == 2  # the two places that refuse one


# --- numbers.md -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ("-12.50", Fraction(-25, 2)),
        ("1e-8", Fraction(1, 10**8)),
        ("+1.5E+3", Fraction(1500)),
        (7, Fraction(7)),
        (Decimal("1E-3"), Fraction(1, 1000)),
    ],
)
def test_reads_exact_numbers(given: object, want: Fraction) -> None:
    assert oracle.number(given, "x") == want


@pytest.mark.parametrize(
    "given",
    ["nan", "inf", "", "1_000", " 1", "1 ", "1/2", "1e", "0x1", "٣", None, True,
     Decimal("NaN"), b"1"],
)  # fmt: skip
def test_nothing_else_is_a_number(given: object) -> None:
    assert refusal(oracle.number, given, "x") == "bad_number"


def test_a_float_is_refused_everywhere() -> None:
    assert refusal(oracle.number, 1.0, "x") == "float_given"
    assert refusal(Card.from_tree, tree(taker_fee=0.0005)) == "float_given"
    assert refusal(Card.from_tree, tree(taker_fee=Decimal("0.0005"))) == "float_given"
    row = {"account": "a", "instrument": "BTC", "quantity": 1.0, "cost": "1"}
    card = Card.from_tree(tree())
    assert refusal(oracle.pools_from_tables, card, [row], []) == "float_given"


def test_k_is_a_whole_number_of_quanta() -> None:
    card = Card.from_tree(tree())
    assert card.instruments["BTC"].k == 10  # 0.01 x 0.001 / 0.000001
    assert card.instruments["BTC"].quanta_per_price_tick_lot == 100
    assert refusal(Card.from_tree, tree(instrument(lot="0.00001"))) == "off_grid"
    assert refusal(Card.from_tree, tree(instrument(price_tick="0.015"))) == "off_grid"
    assert refusal(Card.from_tree, tree(instrument(multiplier="1e12"))) == "out_of_range"
    assert Card.from_tree(tree(instrument(multiplier="1e10"))).instruments["BTC"].k == 10**11
    wide = instrument(multiplier="1e10", price_tick="0.2")  # K = 2 x 10^12
    assert refusal(Card.from_tree, tree(wide)) == "out_of_range"


# --- card.md ----------------------------------------------------------------------------------


def test_the_deductions_of_the_specification() -> None:
    tiers = {"by": "notional", "deduction": "derived", "brackets": SPEC_BRACKETS}
    own = Card.from_tree(tree(instrument(tiers=tiers))).instruments["BTC"].tiers.brackets
    in_units = [bracket.deduction / 10**6 for bracket in own]
    assert in_units == [0, 50, 950]  # 50 + 600000 x (0.0065 - 0.005)
    assert [bracket.initial for bracket in own] == [Fraction(1, n) for n in (125, 100, 75)]


@pytest.mark.parametrize(
    ("at", "change", "code"),
    [
        (1, {"amount": "50.000001"}, "bad_tiers"),
        (1, {"cap": "599999"}, "bad_tiers"),
        (1, {"cap": "600001"}, "bad_tiers"),
        (1, {"floor": "0"}, "bad_tiers"),
        (0, {"floor": "1"}, "bad_tiers"),
        (1, {"maintenance": "0.003"}, "bad_tiers"),
        (1, {"max_leverage": "126"}, "bad_tiers"),
        (0, {"maintenance": "0"}, "bad_tiers"),
        (0, {"maintenance": "0.009"}, "bad_tiers"),
        (2, {"max_leverage": "50"}, "bad_tiers"),
        (2, {"initial": "1.1"}, "out_of_range"),
        (2, {"floor": "600000.0000001"}, "off_grid"),
        (2, {"floors": "600000"}, "unknown_key"),
        (2, {"maintenance": "1/1000000007"}, "out_of_range"),
        (2, {"maintenance": "999983/99999989"}, "limit_exceeded"),
    ],
)
def test_tiers_are_checked(at: int, change: Row, code: str) -> None:
    rows = [dict(row) for row in SPEC_BRACKETS]
    rows[at] |= change
    tiers = {"by": "notional", "deduction": "derived", "brackets": rows}
    assert refusal(Card.from_tree, tree(instrument(tiers=tiers))) == code


def test_rules_are_checked() -> None:
    assert refusal(Card.from_tree, tree(trigger="sometimes")) == "bad_value"
    assert refusal(Card.from_tree, tree(triger="strict")) == "unknown_key"
    assert refusal(Card.from_tree, tree(closing_fee="mark")) == "missing_key"
    assert refusal(Card.from_tree, tree(maintenance_from="half_initial")) == "bad_tiers"
    assert refusal(Card.from_tree, tree(taker_fee="0.91")) == "bad_tiers"
    assert refusal(Card.from_tree, tree(instrument(), instrument())) == "duplicate"
    by_size = {**FLAT, "by": "size", "deduction": "derived"}
    assert refusal(Card.from_tree, tree(instrument(tiers=by_size))) == "bad_tiers"


@pytest.mark.parametrize(
    ("rows", "notional", "rate", "amount"),
    [
        # Binance FAQ, as in shared vectors: 264,000 -> 1%; 500,000 -> 1% less 1,300
        (((0, "0.004"), (50_000, "0.005"), (250_000, "0.01")), 264_000, "0.01", 1300),
        (((0, "0.004"), (50_000, "0.005"), (250_000, "0.01")), 500_000, "0.01", 1300),
        (FREQTRADE_XRP, 0, "0.025", 0),
        (FREQTRADE_XRP, 999_999, "0.1", 27_500),
        (FREQTRADE_XRP, 1_000_000, "0.15", 77_500),  # 27500 + 1000000 x 0.05
        (FREQTRADE_XRP, 499_999, "0.05", 2_500),
    ],
)
def test_binance_bracket_recursion(
    rows: tuple[tuple[int, str], ...], notional: int, rate: str, amount: int
) -> None:
    card = plain(brackets(*rows, deduction="derived"))
    legs = (Leg("A", "net", notional, 0, accrued=1),)
    (leg,) = oracle.assess(card, pool(0, *legs), {"A": 1}).legs
    assert leg.maintenance_rate == Fraction(rate)
    assert leg.deduction == amount
    assert leg.maintenance == ceil(notional * Fraction(rate) - amount)


@pytest.mark.parametrize(
    ("notional", "want"),
    [(100_000_000, 1_250_000), (150_000_000, 1_875_000), (200_000_000, 3_125_000)],
)
def test_hyperliquid_tiers(notional: int, want: int) -> None:
    tiers = {
        "by": "notional",
        "deduction": "derived",
        "brackets": [
            {"floor": 0, "max_leverage": 40},
            {"floor": 150_000_000, "max_leverage": 20},
        ],
    }
    card = plain(tiers, maintenance_from="half_initial")
    own = oracle.assess(card, pool(0, Leg("A", "net", -notional, 0)), {"A": 1})
    assert own.maintenance == want


# --- margin.md: tables ------------------------------------------------------------------------


def position(**row: object) -> Row:
    return {"account": "a", "instrument": "BTC", "quantity": "1.5", "cost": "96000", **row}


def test_tables_become_pools() -> None:
    card = Card.from_tree(tree(instrument(), instrument("ETH")))
    made = oracle.pools_from_tables(
        card,
        positions=[
            position(account="b", leg="short", quantity="-2", cost="-1", accrued="0.5"),
            position(pool="iso", quantity_lots=1500, quantity=None, cost=None, entry="64000.5"),
            position(instrument="ETH", quantity=0, cost=0),
        ],
        collateral=[{"account": "c", "amount": "-1.25"}, {"account": "a", "amount_quanta": 3}],
        orders=[
            {"account": "b", "instrument": "BTC", "leg": "short", "side": side, "quantity": 1}
            for side in ("sell", "sell", "buy")
        ],
        pools=[
            {"account": "a", "pool": "iso", "kind": "isolated", "leverage": "10"},
            {"account": "a", "pool": "iso", "kind": "isolated", "instrument": "BTC",
             "leverage": "12.5"},
        ],
    )  # fmt: skip
    short = Leg("BTC", "short", -2000, -(10**6), 500_000, bids=1000, asks=2000)
    chosen = Leg("BTC", "net", 1500, 96_000_750_000, leverage=Fraction(25, 2))
    assert made == [
        Pool("a", "cross", "cross", "single", "USDT", (Balance("USDT", 3),), ()),
        Pool("a", "iso", "isolated", "single", "USDT", (), (chosen,)),
        Pool("b", "cross", "cross", "single", "USDT", (), (short,)),
        Pool("c", "cross", "cross", "single", "USDT", (Balance("USDT", -1_250_000),), ()),
    ]


def test_an_entry_price_may_be_rounded_against_the_account() -> None:
    card = plain()
    row = {"account": "a", "instrument": "A", "quantity": 3, "entry": "10.1"}
    assert refusal(oracle.pools_from_tables, card, [row], []) == "off_grid"
    for quantity, cost in ((3, 31), (-3, -30)):  # 30.3 up, -30.3 up
        rows = [{**row, "quantity": quantity}]
        (made,) = oracle.pools_from_tables(card, rows, [], entry_rounding="against_account")
        assert made.legs[0].cost == cost


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([position(quantity="0.0001")], "off_grid"),
        ([position(), position()], "duplicate"),
        ([position(), position(leg="long")], "bad_leg"),
        ([position(leg="long", quantity=-1)], "bad_leg"),
        ([position(leg="short")], "bad_leg"),
        ([position(cost="-1")], "bad_leg"),
        ([position(quantity=0, cost="1")], "bad_leg"),
        ([position(cost=None, entry="0")], "out_of_range"),
        ([position(instrument="DOGE")], "unknown_instrument"),
        ([position(quantity_lots=1)], "duplicate"),
        ([position(price="1")], "unknown_key"),
        ([position(quantity_lots=10**18 + 1, quantity=None)], "out_of_range"),
    ],
)
def test_rows_are_checked(rows: list[Row], code: str) -> None:
    card = Card.from_tree(tree())
    assert refusal(oracle.pools_from_tables, card, rows, []) == code


def test_an_isolated_pool_holds_one_instrument() -> None:
    card = Card.from_tree(tree(instrument(), instrument("ETH")))
    rows = [position(), position(instrument="ETH")]
    kinds = [{"account": "a", "kind": "isolated"}]
    assert refusal(oracle.pools_from_tables, card, rows, [], [], kinds) == "bad_pool"


# --- margin.md: requirements and the check ----------------------------------------------------


def test_requirements_by_hand() -> None:
    # q = -7, p = 143: N = 1001. Maintenance 100.1 -> 101. W = 7 + 5, V_i = 1716, 343.2 -> 344.
    card = plain()
    own = oracle.assess(card, pool(900, Leg("A", "net", -7, -900, 4, 1, 5)), {"A": 143})
    (leg,) = own.legs
    assert (leg.value, leg.pnl, leg.notional, leg.exposure) == (-1001, -101, 1001, 12)
    assert leg.maintenance_exact == Fraction(1001, 10)
    assert (own.equity, own.maintenance, own.initial) == (795, 101, 344)
    assert (own.status, own.liquidatable) == (0, False)
    assert own.ratio_ppm == 127_045  # 101 x 10^6 / 795 = 127044.02...
    assert own.distance_ppm == 693_306  # 694 x 10^6 / 1001 = 693306.69...


def test_a_chosen_leverage_raises_the_initial_requirement_only() -> None:
    for leverage, want in ((2, 500), (10, 200)):
        leg = Leg("A", "net", 10, 1000, leverage=Fraction(leverage))
        own = oracle.assess(plain(), pool(0, leg), {"A": 100})
        assert (own.initial, own.maintenance) == (want, 100)


def test_basis_entry() -> None:
    # C = 900, N = 1000, W = 12: V_i = 900 + 2 x 100.
    card = plain(maintenance_basis="entry", initial_basis="entry")
    own = oracle.assess(card, pool(0, Leg("A", "net", 10, 900, 0, 2)), {"A": 100})
    assert (own.maintenance, own.initial) == (90, 220)


def test_closing_fee_at_the_mark() -> None:
    card = plain(closing_fee="mark", taker_fee="0.0005")
    own = oracle.assess(card, pool(0, Leg("A", "net", 10, 900)), {"A": 101})
    assert own.maintenance == 102  # ceil(101 + 0.505)
    assert own.initial == 202


@pytest.mark.parametrize(
    ("sign", "leverage", "fee"), [(1, 10, 5), (1, 2, 3), (-1, 10, 8), (-1, 2, 9)]
)
def test_closing_fee_at_bankruptcy(sign: int, leverage: int, fee: int) -> None:
    # C = 10000. Leverage 10 asks 1/10 but the bracket 1/5: long 10000 x 0.8 x 0.0006 = 4.8,
    # short 10000 x 1.2 x 0.0006 = 7.2. At leverage 2 the rate is 1/2: 3 and 9.
    card = plain(closing_fee="bankruptcy", taker_fee="0.0006")
    own = Leg("A", "net", sign * 100, sign * 10_000, leverage=Fraction(leverage))
    made = oracle.assess(card, pool(0, own), {"A": 100})
    assert made.legs[0].fee == fee
    assert made.maintenance == 1000 + fee
    assert made.initial == 10_000 // min(leverage, 5) + fee


def test_size_slope() -> None:
    tiers = {"by": "size_slope", "maintenance_base": "0.01", "initial_base": "0.02",
             "slope": "0.00005"}  # fmt: skip
    card = plain(tiers)
    own = oracle.assess(card, pool(0, Leg("A", "net", 1000, 0, 0, 200)), {"A": 100})
    assert own.maintenance == 6000  # 100000 x (0.01 + 0.05)
    assert own.initial == 9600  # 120000 x (0.02 + 0.06)
    large = pool(0, Leg("A", "net", 19_601, 0))
    assert refusal(oracle.assess, card, large, {"A": 1}) == "limit_exceeded"


def test_value_slope() -> None:
    tiers = {"by": "value_slope", "maintenance_base": "0.01", "initial_base": "0.02",
             "slope": "0.0000005"}  # fmt: skip
    card = plain(tiers)
    own = oracle.assess(card, pool(0, Leg("A", "net", 1000, 0, 0, 200)), {"A": 100})
    assert own.maintenance == 6000  # 100000 x (0.01 + 0.05)
    assert own.initial == 9600  # 120000 x (0.02 + 0.06)
    large = pool(0, Leg("A", "net", 19_601, 0))
    assert refusal(oracle.assess, card, large, {"A": 100}) == "limit_exceeded"
    own = oracle.assess(
        plain(tiers, initial_basis="entry"), pool(0, Leg("A", "net", 1000, 200_000)), {"A": 100}
    )
    assert (own.maintenance, own.initial) == (6000, 24_000)  # 200000 x (0.02 + 0.1)


@pytest.mark.parametrize(
    ("lots", "maintenance", "initial"), [(1, 500, 1000), (10**6, 900, 1300), (3000, 500, 1000)]
)
def test_size_root(lots: int, maintenance: int, initial: int) -> None:
    # The root of 10^16 + 1 is 10^8: 10^8 x 50 / 10^7 = 500 parts of 10,000, a fifth of each less.
    tiers = {"by": "size_root", "maintenance_base": "0.05", "initial_base": "0.1",
             "factor": "0.00005"}  # fmt: skip
    own = oracle.assess(plain(tiers), pool(0, Leg("A", "net", lots, 0)), {"A": 10_000})
    assert (own.maintenance, own.initial) == (lots * maintenance, lots * initial)


@pytest.mark.parametrize(
    ("trigger", "equity", "status", "liquidatable"),
    [
        ("strict", 100, 1, False),
        ("non_strict", 100, 2, True),
        ("strict", 99, 2, True),
        ("strict", 0, 2, True),
        ("strict", -1, 3, True),
        ("strict", 199, 1, False),
        ("strict", 200, 0, False),
        ("non_strict", 101, 1, False),
    ],
)
def test_the_line(trigger: str, equity: int, status: int, *, liquidatable: bool) -> None:
    own = oracle.assess(plain(trigger=trigger), pool(equity, Leg("A", "net", 10, 1000)), {"A": 100})
    assert (own.maintenance, own.initial, own.equity) == (100, 200, equity)
    assert (own.status, own.liquidatable) == (status, liquidatable)


def test_no_requirement_is_never_liquidatable() -> None:
    for collateral, status in ((-1, 3), (0, 0)):
        own = oracle.assess(plain(trigger="non_strict"), pool(collateral), {})
        assert (own.status, own.liquidatable) == (status, False)
        assert (own.ratio_ppm, own.distance_ppm) == (0, 2**63 - 1)


def test_the_display_columns_saturate() -> None:
    leg = Leg("A", "net", 10**18, 10**18)
    own = oracle.assess(plain(), pool(1, leg), {"A": 1})
    assert own.ratio_ppm == 2**63 - 1
    one = Leg("A", "net", 1, 1)
    assert oracle.assess(plain(), pool(10**30, one), {"A": 1}).distance_ppm == 2**63 - 1
    assert oracle.assess(plain(), pool(-(10**30), one), {"A": 1}).distance_ppm == -(2**63)


def test_what_passes_a_bound_is_an_overflow() -> None:
    leg = Leg("A", "net", 10**18, 10**18)
    assert oracle.assess(plain(), pool(0, leg), {"A": 10**17}).maintenance == 10**34
    assert refusal(oracle.assess, plain(), pool(0, leg), {"A": 10**17 + 1}) == "out_of_range"
    assert refusal(oracle.assess, plain(), pool(10**36, leg), {"A": 2}) == "overflow"
    assert refusal(oracle.assess, plain(), pool(0, leg), {"B": 2}) == "missing_price"


# --- margin.md: liquidation price -------------------------------------------------------------


def fine(tiers: Row, **rules: object) -> Card:
    """Ticks and lots of 0.000001 and quanta of 10^-12, for venues' worked examples."""
    steps = dict.fromkeys(("price_tick", "mark_tick", "lot"), "0.000001")
    own = tree(instrument("A", tiers, **steps), **rules)
    return Card.from_tree({**own, "asset": {"USDT": {"quantum": "1e-12"}}})


def test_hyperliquid_worked_liquidation_price() -> None:
    # equity(p) = 1000 + p - 10000 and maintenance p / 40 meet at 120000 / 13 = 9230.769230...
    tiers = {"by": "notional", "brackets": [{"floor": 0, "max_leverage": 20}]}
    card = fine(tiers, maintenance_from="half_initial")
    own = pool(1000 * 10**12, Leg("A", "net", 10**6, 10**16))
    below, above = oracle.liquidation_price(card, own, {"A": 10**10}, "A")
    assert below == Flip(9_230_769_230, 9_230_769_231, "liquidatable")
    assert above == "no_flip_above"


def test_okx_worked_liquidation_price() -> None:
    # shared vector freqtrade-okx-short-4: (10 + 3.333333) / (1 + 0.01 + 0.0006) = 13.193482...
    tiers = brackets((0, "0.01"))
    card = fine(tiers, closing_fee="mark", taker_fee="0.0006")
    own = pool(3_333_333_333_333, Leg("A", "net", -(10**6), -(10**13)))
    below, above = oracle.liquidation_price(card, own, {"A": 10**7}, "A")
    assert below == "no_flip_below"
    assert isinstance(above, Flip)
    assert abs(above.mark - 13_193_482) <= 1
    assert above.mark == int(Fraction(13_333_333_333_333, 1_010_600)) + 1


def test_a_jump_can_liquidate_a_long_on_a_rise() -> None:
    # 10 lots, C = 1000. At p = 150 the value 1500 enters the bracket of 60%: 900 > 400 + 500 - 1.
    card = plain(brackets((0, "0.1"), (1500, "0.6")))
    own = pool(399, Leg("A", "net", 10, 1000))
    below, above = oracle.liquidation_price(card, own, {"A": 100}, "A")
    assert above == Flip(150, 149, "liquidatable")
    # 399 + 10 p - 1000 < p: p = 66 gives 59 < 66, p = 67 gives 69 >= 67
    assert below == Flip(66, 67, "liquidatable")


def test_the_price_keeps_to_the_order_grid_toward_safety() -> None:
    row = instrument("A", FLAT, price_tick="7", mark_tick="1", lot="1")
    card = Card.from_tree({**tree(row), "asset": {"USDT": {"quantum": 1}}})
    own = pool(399, Leg("A", "net", 10, 1000))
    flips = {mark: oracle.liquidation_price(card, own, {"A": mark}, "A") for mark in (69, 100, 50)}
    assert flips[100][0] == Flip(66, 70, "liquidatable")  # up to the next multiple of 7
    assert flips[69][0] == Flip(66, 67, "liquidatable")  # 70 is past the mark: the tick itself
    assert flips[50][1] == Flip(67, 70, "safe")  # safe again, the multiple on the far side


def test_a_price_that_is_not_safe_falls_back_to_the_tick() -> None:
    # From 150 on all of the value is required, 10 p > 10 p - 601: safe from 67 to 149 only.
    steps = {"price_tick": "200", "mark_tick": "1", "lot": "1"}
    row = instrument("A", brackets((0, "0.1"), (1500, "1")), **steps)
    card = Card.from_tree({**tree(row), "asset": {"USDT": {"quantum": 1}}})
    own = pool(399, Leg("A", "net", 10, 1000))
    assert oracle.liquidation_price(card, own, {"A": 50}, "A")[1] == Flip(67, 67, "safe")
    assert oracle.liquidation_price(card, own, {"A": 160}, "A")[0] == Flip(149, 149, "safe")


def test_a_balanced_hedge_has_no_liquidation_price() -> None:
    legs = (Leg("A", "long", 5, 500), Leg("A", "short", -5, -500))
    tiers = {"by": "size_slope", "maintenance_base": "0.1", "initial_base": "0.1", "slope": "0"}
    card = plain(tiers, maintenance_basis="entry")
    found = oracle.liquidation_price(card, pool(1000, *legs), {"A": 100}, "A")
    assert found == ("no_flip_below", "no_flip_above")


def test_the_search_is_bounded() -> None:
    # Long 11 and short 9 at 10%: 11 p - 9 p = 0.1 x 20 p, so the slack is flat. At 1 the two
    # roundings (none or one quantum together) decide at every tick, and none of them flips it.
    legs = (Leg("A", "long", 11, 1100), Leg("A", "short", -9, -900))
    at = {"A": 105}
    need = oracle.assess(plain(), pool(0, *legs), at)
    own = pool(need.maintenance - need.equity, *legs)
    with pytest.raises(OracleError) as caught:
        oracle.liquidation_price(plain(), own, at, "A", evaluations_max=5000)
    assert (caught.value.code, caught.value.limit) == ("limit_exceeded", 5000)


def brute(
    card: Card,
    own: Pool,
    marks: dict[str, int],
    symbol: str,
    prices: dict[str, int] | None = None,
) -> list[Flip | None]:
    """Try every tick, outward from the mark; the price is looked for tick by tick too."""
    ticks_max, current = 300, marks[symbol]

    def at(mark: int) -> bool:
        return oracle.assess(card, own, {**marks, symbol: mark}, prices).liquidatable

    def first(ticks: range, *conditions: Any) -> int | None:
        return next((mark for mark in ticks if all(holds(mark) for holds in conditions)), None)

    def on_grid(mark: int) -> bool:
        return mark % card.instruments[symbol].mark_ticks_per_price_tick == 0

    flips: list[Flip | None] = []
    for outward, end in ((-1, 0), (1, ticks_max + 1)):
        mark = first(range(current + outward, end, outward), lambda p: at(p) != at(current))
        if mark is None:
            flips.append(None)
        elif at(mark):
            safe = mark - outward
            price = first(range(safe, current - outward, -outward), on_grid)
            flips.append(Flip(mark, safe if price is None else price, "liquidatable"))
        else:
            price = first(range(mark, end, outward), on_grid)
            if price is None or at(price):
                price = mark
            flips.append(Flip(mark, price, "safe"))
    return flips


def random_card(rng: random.Random) -> Card:
    count = rng.randint(1, 4)
    by = rng.choice(("notional", "notional", "size"))
    floors = sorted(rng.sample(range(1, 5000 if by == "notional" else 50), count - 1))
    rates = sorted(rng.randint(1, 80) for _ in range(count))
    rows = [
        {"floor": low, "maintenance": f"{rate}/100", "initial": f"{max(rates)}/100"}
        for low, rate in zip([0, *floors], rates, strict=True)
    ]
    tiers: Row = {"by": by, "brackets": rows}
    if by == "notional" and rng.random() < 0.5:
        tiers["deduction"] = "derived"
    steps = {"price_tick": rng.choice((1, 3, 7)), "mark_tick": 1, "lot": 1}
    rules = {
        "trigger": rng.choice(("strict", "non_strict")),
        "maintenance_basis": rng.choice(("mark", "mark", "mark", "entry")),
        "initial_basis": rng.choice(("mark", "entry")),
        "closing_fee": rng.choice(("none", "mark", "bankruptcy")),
        "taker_fee": rng.choice(("0", "0.01", "1/7")),
    }
    own = tree(instrument("A", tiers, **steps), **rules)
    return Card.from_tree({**own, "asset": {"USDT": {"quantum": 1}}})


def random_legs(rng: random.Random) -> tuple[Leg, ...]:
    lots = rng.randint(0, 60)
    other = rng.choice((lots, rng.randint(0, 60), lots * 9 // 10, lots * 7 // 10))
    leverage = rng.choice((None, Fraction(3)))
    cost = rng.randint(1, 300)
    if rng.random() < 0.4:
        sign = rng.choice((1, -1))
        return (Leg("A", "net", sign * lots, sign * lots * cost, leverage=leverage),)
    short = Leg("A", "short", -other, -other * rng.randint(1, 300), rng.randint(-3, 3))
    return Leg("A", "long", lots, lots * cost, leverage=leverage), short


@pytest.mark.parametrize("seed", range(40))
def test_liquidation_price_against_every_tick(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "TICKS_MAX", 300)
    rng = random.Random(seed)  # noqa: S311 - seeded on purpose
    for _ in range(5):
        card, legs = random_card(rng), random_legs(rng)
        marks = {"A": rng.randint(1, 300)}
        line = oracle.assess(card, pool(0, *legs), {"A": rng.randint(1, 300)})
        own = pool(line.maintenance - line.equity + rng.randint(-3, 3), *legs)
        found = oracle.liquidation_price(card, own, marks, "A")
        assert [flip if isinstance(flip, Flip) else None for flip in found] == brute(
            card, own, marks, "A"
        )


# --- margin.md: bankruptcy price --------------------------------------------------------------


@pytest.mark.parametrize(
    ("equity", "legs", "marks", "want"),
    [
        # dYdX TestGetBankruptcyPriceInQuoteQuantums, in whole dollars; price = quote / size
        (499, [("A", -1)], {"A": 5000}, (-5499, 499, 5499)),
        (0, [("A", 1)], {"A": 5000}, (5000, 0, 5000)),
        (0, [("A", -1)], {"A": 5000}, (-5000, 0, 5000)),
        (10, [("A", 1), ("B", 1)], {"A": 300, "B": 200}, (294, 6, 294)),
        (10, [("A", -1), ("B", -1)], {"A": 300, "B": 200}, (-306, 6, 306)),
        (50_001, [("A", 1)], {"A": 50_000}, (-1, 50_001, None)),
        (-7, [("A", 1), ("B", 1)], {"A": 300, "B": 200}, (305, -5, 305)),  # floor(-4.2) = -5
        (10, [("A", 7)], {"A": 100}, (690, 10, 99)),  # 690 / 7 = 98.57: up for a long
        (10, [("A", -7)], {"A": 100}, (-710, 10, 101)),  # 710 / 7 = 101.43: down for a short
        (-701, [("A", -7)], {"A": 100}, (1, -701, None)),
    ],
)
def test_bankruptcy_prices(
    equity: int,
    legs: list[tuple[str, int]],
    marks: dict[str, int],
    want: tuple[int, int, int | None],
) -> None:
    own = pool(equity, *(Leg(symbol, "net", q, q * marks[symbol]) for symbol, q in legs))
    found = oracle.bankruptcy_price(plain(), own, marks, "A")
    assert (found.quote, found.allotted, found.price) == want
    assert found.reason == (None if want[2] is not None else "no_positive_price")


@pytest.mark.parametrize(("lots", "want"), [(7, 100), (-7, 100)])
def test_bankruptcy_price_with_its_fee(lots: int, want: int) -> None:
    # long: 7 x - ceil(0.07 x) >= 690 first at 100 (700 - 7 = 693; 99: 693 - 7 = 686)
    # short: 7 x + ceil(0.07 x) <= 710 last at 100 (707; 101: 707 + 8 = 715)
    card = plain(bankruptcy_fee="taker", taker_fee="0.01")
    own = pool(10, Leg("A", "net", lots, lots * 100))
    assert oracle.bankruptcy_price(card, own, {"A": 100}, "A").price == want


def test_a_bankruptcy_price_past_the_last_price_tick_is_an_overflow() -> None:
    # Marks end at 10^17, so with price ticks of 10 marks the last one is 10^16.
    row = instrument("A", FLAT, price_tick="10", mark_tick="1", lot="1")
    card = Card.from_tree({**tree(row), "asset": {"USDT": {"quantum": 1}}})
    for beyond, want in ((-1, 10**16), (10, "overflow")):
        own = pool(10**17 + beyond, Leg("A", "net", -1, -1))
        if want == "overflow":
            assert refusal(oracle.bankruptcy_price, card, own, {"A": 1}, "A") == want
        else:
            assert oracle.bankruptcy_price(card, own, {"A": 1}, "A").price == want


def test_bankruptcy_price_needs_a_position() -> None:
    own = pool(10, Leg("A", "net", 0, 0, 5))
    assert refusal(oracle.bankruptcy_price, plain(), own, {"A": 1}, "A") == "no_position"


# --- several kinds, several assets: margin.md and collateral.md by hand -----------------------


def valued(**btc: object) -> Row:
    """A dollar of cents, valued in itself, and a coin of 10^-8 beside it."""
    coin = {"quantum": "1e-8", "price_tick": "0.01", "haircut": "0.05"}
    return {"USD": {"quantum": "0.01"}, "BTC": {**coin, **btc}}


def coins(*instruments: Row, assets: Row | None = None, **rules: object) -> Card:
    plainest = instrument(multiplier="1000")
    own = tree(*(instruments or [plainest]), **{"settlement": "USD", "valuation": "USD", **rules})
    return Card.from_tree({**own, "asset": assets or valued()})


def coin_margined(**changes: object) -> Row:
    """A hundred dollars a contract, paid in the coin; mark ticks of half a dollar."""
    steps = {"price_tick": "0.5", "mark_tick": "0.5", "lot": "1", "multiplier": "100"}
    return instrument("I", **{"kind": "inverse", "settlement": "BTC", **steps, **changes})


def several(legs: tuple[Leg, ...], **amounts: object) -> Pool:
    balances = tuple(
        Balance(name, *(given if isinstance(given, tuple) else (given,)))
        for name, given in sorted(amounts.items())
    )
    return Pool("alice", "cross", "cross", "multi", "USD", balances, legs)


def alone(amount: int, *legs: Leg) -> Pool:
    return Pool("alice", "cross", "cross", "single", "BTC", (Balance("BTC", amount),), legs)


@pytest.mark.parametrize(
    ("lots", "mark", "value"),
    [
        (3, 80_000, -750_000),  # 3 x 100 / 40000 = 0.0075 coins
        (-3, 80_000, 750_000),
        (1, 140_001, -142_857),  # k = 100 / (0.5 x 1e-8) = 2 x 10^10; / 140001 = 142856.12 down
        (-1, 140_001, 142_856),
    ],
)
def test_an_inverse_contract_is_worth_less_coin_as_it_rises(
    lots: int, mark: int, value: int
) -> None:
    own = coins(coin_margined()).instruments["I"]
    assert own.k == 2 * 10**10
    assert own.value(lots, mark) == value


@pytest.mark.parametrize(
    ("kind", "multiplier", "mark", "value"),
    [
        ("linear", "0.5", 3, 2),  # 1.5 and 2.5 are ties: to the even quantum
        ("linear", "0.5", 5, 2),
        ("linear", "0.4", 3, 1),
        ("inverse", "5", 2, 2),
        ("inverse", "7", 2, 4),
        ("inverse", "7", 3, 2),
    ],
)
def test_a_contract_may_be_rounded_by_itself(
    kind: str, multiplier: str, mark: int, value: int
) -> None:
    ones = {"price_tick": "1", "mark_tick": "1", "lot": "10", "multiplier": multiplier}
    row = instrument("P", kind=kind, value_rounding="per_contract", **ones)
    card = Card.from_tree({**tree(row), "asset": {"USDT": {"quantum": 1}}})
    own = card.instruments["P"]
    sign = -1 if kind == "inverse" else 1
    assert own.value(3, mark) == sign * 30 * value  # 3 lots are 30 contracts
    assert own.value(-3, mark) == -sign * 30 * value


def test_per_contract_needs_lots_of_whole_contracts() -> None:
    row = instrument("P", value_rounding="per_contract", lot="0.5")
    assert refusal(Card.from_tree, tree(row)) == "off_grid"


def test_an_inverse_pool_by_hand() -> None:
    # Long 3 of 100 at 50000: c = -0.006 coins. At 40000 the value is -0.0075: pnl -0.0015.
    # N = 750000: maintenance 75000. Bids of 2 more: R = 500000, V_i = 1250000, initial 250000.
    card = coins(coin_margined())
    own = oracle.assess(card, alone(10**6, Leg("I", "net", 3, -600_000, 7, bids=2)), {"I": 80_000})
    (leg,) = own.legs
    assert (own.asset, leg.value, leg.pnl, leg.notional) == ("BTC", -750_000, -150_000, 750_000)
    assert (own.equity, own.maintenance, own.initial) == (849_993, 75_000, 250_000)
    assert own.assets[0].price is None  # a pool of one asset needs no price


def test_the_bracket_of_an_inverse_contract_is_that_of_its_value_before_rounding() -> None:
    # One lot at 140001 is worth 142856.12: a long rounds to 142857 and is not yet in its bracket.
    floor = {"floor": "0.00142857", "maintenance": "0.2", "initial": "0.5"}
    rows = [{"floor": 0, "maintenance": "0.1", "initial": "0.2"}, floor]
    card = coins(coin_margined(tiers={"by": "notional", "brackets": rows}))
    leg = Leg("I", "net", 1, -142_857)
    (own,) = oracle.assess(card, alone(0, leg), {"I": 140_001}).legs
    assert (own.notional, own.maintenance_bracket, own.maintenance) == (142_857, 0, 14_286)
    (own,) = oracle.assess(card, alone(0, leg), {"I": 140_000}).legs  # 142857.14
    assert (own.notional, own.maintenance_bracket, own.maintenance) == (142_858, 1, 28_572)


@pytest.mark.parametrize(("lots", "fee"), [(1, 86), (-1, 58)])
def test_the_closing_fee_of_an_inverse_contract_at_bankruptcy(lots: int, fee: int) -> None:
    # C = 142857, rate 1/5, fee 0.0005: a long loses as its value grows, 142857 x 1.2 x 0.0005.
    card = coins(coin_margined(), closing_fee="bankruptcy", taker_fee="0.0005")
    own = oracle.assess(card, alone(0, Leg("I", "net", lots, -lots * 142_857)), {"I": 140_000})
    assert own.legs[0].fee == fee  # 85.71 and 57.14, up


def test_an_inverse_entry_is_always_rounded_against_the_account() -> None:
    card = coins(coin_margined())
    for lots, cost in ((1, -142_856), (-1, 142_857)):  # 142856.12...
        row = {"account": "a", "instrument": "I", "quantity": lots, "entry": "70000.5"}
        (made,) = oracle.pools_from_tables(card, [row], [])
        assert made.legs[0].cost == cost
        assert (made.mode, made.asset) == ("single", "BTC")


def test_the_worked_pool_of_two_assets() -> None:
    slices = [{"floor": "0", "haircut": "0.05"}, {"floor": "1", "haircut": "0.1"}]
    assets = valued(haircuts=slices, liability_weight="1.1")
    del assets["BTC"]["haircut"]
    card = coins(assets=assets, margin_mode="multi")
    pools = oracle.pools_from_tables(
        card,
        [],
        [
            {"account": "a", "amount": "10000"},
            {"account": "a", "asset": "BTC", "amount": "1.5"},
        ],
    )
    prices = {"BTC": 6_000_000}
    found = oracle.assess(card, pools[0], {}, prices)
    assert found.equity == 94_000 * 100
    # owed 0.25 coins, 0.05 of interest: 0.3 x 60000 x 1.1 = 19800
    debt = several((), USD=2_000_000, BTC=(-25_000_000, 5_000_000))
    assert oracle.assess(card, debt, {}, prices).equity == (20_000 - 19_800) * 100
    assert refusal(oracle.assess, card, debt, {}) == "missing_price"
    assert oracle.assess(card, several((), USD=1, BTC=(5, 5)), {}).equity == 1  # none is needed


def test_one_rounding_an_asset_against_the_account() -> None:
    # u t = 0.01 x 1e-8 / 0.01 x 6000050 = 0.0600005 quanta; 1001 x 0.95: 57.05... and 60.06...
    card = coins()
    prices = {"BTC": 6_000_050}
    for amount, value in ((1001, 57), (-1001, -61)):
        (row,) = oracle.assess(card, several((), BTC=amount), {}, prices).assets
        assert row.value == value


def test_a_coin_loss_is_a_debt_and_requirements_are_valued() -> None:
    # -0.0015 of pnl less 0.001 held is -0.0005 coins: 500 quanta... at 40000, -20.00 dollars.
    card = coins(coin_margined())
    own = several((Leg("I", "net", 3, -600_000),), USD=10_000, BTC=100_000)
    found = oracle.assess(card, own, {"I": 80_000}, {"BTC": 4_000_000})
    assert [row.value for row in found.assets] == [-2000, 10_000]
    assert (found.equity, found.maintenance, found.initial) == (8000, 3000, 6000)
    assert found.distance_ppm == 166_666  # 5000 / 30000
    # allotted: 8000 x 75000 / 3000 = 200000 quanta of the coin
    price = oracle.bankruptcy_price(card, own, {"I": 80_000}, "I", assets={"BTC": 4_000_000})
    assert (price.allotted, price.quote) == (200_000, -950_000)
    # 3 x 2 x 10^10 / 950000 = 63157.89: at 63158 closing costs 949999 and no more
    assert (price.price, price.reason) == (63_158, None)


@pytest.mark.parametrize(
    ("lots", "equity", "reason"),
    [
        (1, -300_000, "no_finite_price"),  # closing a long always costs coins
        (-1, 300_000, "no_finite_price"),  # a short cannot lose more than its value
        (-1, -(10**12), "no_positive_price"),
    ],
)
def test_an_inverse_bankruptcy_price_may_not_exist(lots: int, equity: int, reason: str) -> None:
    card = coins(coin_margined())
    own = alone(equity, Leg("I", "net", lots, -lots * 250_000))
    found = oracle.bankruptcy_price(card, own, {"I": 80_000}, "I")
    assert (found.price, found.reason) == (None, reason)


def test_withdrawals_by_hand() -> None:
    # pnl +10 quanta each, half of it backs a withdrawal. Initial 20 of N = 100.
    card = plain(withdrawal_profit="0.5")
    own = pool(60, Leg("A", "net", 1, 90))
    found = oracle.withdrawable(card, own, {"A": 100}, "USDT")
    assert found == oracle.Withdrawal("USDT", 45, 60, "initial", 65, 20)
    none = oracle.withdrawable(card, pool(14, Leg("A", "net", 1, 90)), {"A": 100}, "USDT")
    assert none == oracle.Withdrawal("USDT", 0, 14, "initial", 19, 20)
    free = oracle.withdrawable(card, pool(14), {}, "USDT")
    assert free == oracle.Withdrawal("USDT", 14, 14, "balance", 14, 0)
    # 1001 quanta of the coin count 57 of 30 needed at 0.057 each: 527 of them must stay
    other = Leg("U", "net", 1, 150)
    valued_card = coins(instrument("U", price_tick=1, mark_tick=1, lot=1, multiplier="0.01"))
    held = several((other,), BTC=1001)
    left = oracle.withdrawable(valued_card, held, {"U": 150}, "BTC", {"BTC": 6_000_050})
    assert left == oracle.Withdrawal("BTC", 474, 1001, "initial", 57, 30)


def test_open_interest_adds_up_both_sides() -> None:
    pools = [
        pool(0, Leg("A", "net", 5, 5), Leg("B", "short", -2, -2)),
        pool(0, Leg("A", "net", -3, -3)),
    ]
    found = oracle.open_interest(plain(), pools)
    assert found["A"] == oracle.OpenInterest(5, 3, 1, 1)
    assert found["B"] == oracle.OpenInterest(0, 2, 0, 1)


@pytest.mark.parametrize(
    ("assets", "rules", "code"),
    [
        (valued(), {"valuation": "EUR"}, "bad_value"),
        (valued(), {"valuation": None}, "bad_value"),
        (valued(haircut="1.1"), {}, "out_of_range"),
        (valued(haircuts=[{"floor": "0", "haircut": "0"}]), {}, "missing_key"),
        (valued(liability_weight="0.99"), {}, "out_of_range"),
        (valued(liability_weight="1000000008/1000000007"), {}, "out_of_range"),
        (valued(price_tick="1e-13"), {}, "out_of_range"),
        (valued(colour="red"), {}, "unknown_key"),
        ({**valued(), "USD": {"quantum": "1", "haircut": "0"}}, {}, "unknown_key"),
        ({"USD": {"quantum": "1"}, "BTC": {"quantum": "1", "haircut": "0"}}, {}, "missing_key"),
        ({"USD": {"quantum": "1"}, "BTC": {"quantum": "1", "price_tick": "1"}}, {}, "missing_key"),
        ({"USD": {"quantum": "1"}}, {"margin_mode": "both"}, "bad_value"),
        ({"USD": {"quantum": "1"}}, {"withdrawal_profit": "2"}, "out_of_range"),
    ],
)
def test_assets_are_checked(assets: Row, rules: Row, code: str) -> None:
    own = tree(instrument(multiplier="1000"), settlement="USD", **{"valuation": "USD", **rules})
    assert refusal(Card.from_tree, {**own, "asset": assets}) == code


@pytest.mark.parametrize(
    ("slices", "code"),
    [
        ([("1", "0")], "bad_value"),
        ([("0", "0.1"), ("0", "0.2")], "bad_value"),
        ([("0", "0.1"), ("1", "0.05")], "bad_value"),
        ([("0", "1/999983"), ("1", "2/100003")], "limit_exceeded"),
        ([(str(at), "0.1") for at in range(17)], "limit_exceeded"),
        ([("0", "0.1"), ("0.000000001", "0.2")], "off_grid"),
    ],
)
def test_slices_are_checked(slices: list[tuple[str, str]], code: str) -> None:
    assets = valued(haircuts=[{"floor": low, "haircut": cut} for low, cut in slices])
    del assets["BTC"]["haircut"]
    own = tree(instrument(multiplier="1000"), settlement="USD", valuation="USD")
    assert refusal(Card.from_tree, {**own, "asset": assets}) == code


def test_a_venue_without_a_valuation_has_no_pools_of_several_assets() -> None:
    assets = {"USDT": {"quantum": "0.000001"}, "BTC": {"quantum": "1e-8"}}
    card = Card.from_tree({**tree(), "asset": assets})
    held = [{"account": "a", "amount": 1}, {"account": "a", "asset": "BTC", "amount": 1}]
    assert refusal(oracle.pools_from_tables, card, [], held) == "bad_collateral"
    multi = [{"account": "a", "mode": "multi"}]
    assert refusal(oracle.pools_from_tables, card, [], [], [], multi) == "bad_collateral"
    assert refusal(Card.from_tree, tree(margin_mode="multi")) == "missing_key"
    (own,) = oracle.pools_from_tables(card, [], held[1:])
    assert (own.mode, own.asset) == ("single", "BTC")
    owed = [{**held[0], "interest": "-1"}]
    assert refusal(oracle.pools_from_tables, card, [], owed) == "out_of_range"


def seeded_pool(rng: random.Random) -> tuple[Card, Pool, dict[str, int], dict[str, int]]:
    """Draw a pool of an inverse, a linear and a rounded contract on small ticks."""
    by = rng.choice(("notional", "size"))
    floors = sorted(rng.sample(range(1, 3000 if by == "notional" else 40), 2))
    quantum = Fraction(1, 10**8) if by == "notional" else 1
    unit = {"price_tick": str(rng.choice((1, 3))), "mark_tick": "1", "lot": "1"}

    def tiers(of: Fraction | int) -> Row:
        rates = sorted(rng.sample(range(1, 60), 3))
        rows = [
            {"floor": format(Decimal(low) * (Decimal("1e-8") if of != 1 else 1), "f"),
             "maintenance": f"{rate}/100", "initial": "1"}
            for low, rate in zip([0, *floors], rates, strict=True)
        ]  # fmt: skip
        return {"by": by, "brackets": rows}

    rounding = rng.choice(("position", "per_contract"))
    inverse = instrument(
        "A", tiers(quantum), kind="inverse", settlement="BTC", value_rounding=rounding,
        multiplier=rng.choice(("0.00000010", "0.00002", "0.0007")), **unit,
    )  # fmt: skip
    linear = instrument("B", FLAT, kind="quanto", multiplier="0.01", **unit)
    slices = [{"floor": "0", "haircut": "0"}, {"floor": "0.00000500", "haircut": "1/3"}]
    assets = valued(haircuts=slices, liability_weight=rng.choice(("1", "1.25")))
    assets["BTC"]["price_tick"] = rng.choice(("100", "700000", "3000000"))
    del assets["BTC"]["haircut"]
    card = coins(inverse, linear, assets=assets, trigger=rng.choice(("strict", "non_strict")))
    lots = rng.randint(1, 60)
    legs = [Leg("A", "net", rng.choice((-lots, lots)), 0)]
    if rng.random() < 0.4:
        legs = [Leg("A", "long", lots, 0), Leg("A", "short", -rng.choice((lots, 7)), 0)]
    marks = {"A": rng.randint(1, 300), "B": 50}
    entry = rng.randint(1, 300)
    legs = [
        Leg(leg.instrument, leg.leg, leg.quantity,
            card.instruments["A"].value(leg.quantity, entry)) for leg in legs
    ]  # fmt: skip
    held = (*legs, Leg("B", "net", 3, 150))
    prices = {"BTC": rng.randint(1, 5)}
    at = {**marks, "A": rng.randint(1, 300)}
    found = oracle.assess(card, several(held), at, prices)
    need = found.maintenance - found.equity + rng.randint(-2, 2)
    return card, several(held, USD=need, BTC=rng.choice((0, 0, 500, -300))), marks, prices


@pytest.mark.parametrize("seed", range(40))
def test_flips_of_pools_of_several_assets_against_every_tick(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oracle, "TICKS_MAX", 300)
    rng = random.Random(seed)  # noqa: S311 - seeded on purpose
    for _ in range(5):
        card, own, marks, prices = seeded_pool(rng)
        found = oracle.liquidation_price(card, own, marks, "A", prices)
        assert [flip if isinstance(flip, Flip) else None for flip in found] == brute(
            card, own, marks, "A", prices
        )


# --- book.md ----------------------------------------------------------------------------------

BIDS = [(99, 5), (97, 5)]
ASKS = [(101, 5), (104, 10)]


def test_walk_by_hand() -> None:
    taken = oracle.walk(BIDS, ASKS, 10, "buy", 7, fee=Fraction(1, 1000))
    assert (taken.filled, taken.unfilled, taken.worst, taken.levels) == (7, 0, 104, 2)
    assert taken.cost == 7130  # (101 x 5 + 104 x 2) x 10
    assert taken.fee == 8
    assert taken.vwap == Fraction(713, 7)
    assert taken.slippage_bps == Fraction(1300, 7)  # (713 / 7 - 100) / 100
    sold = oracle.walk(BIDS, ASKS, 10, "sell", 20)
    assert (sold.filled, sold.unfilled, sold.cost, sold.fee) == (10, 10, 9800, None)
    assert sold.slippage_bps == 200


def test_walk_stops_at_its_limit_and_on_an_empty_side() -> None:
    assert oracle.walk(BIDS, ASKS, 1, "buy", 9, limit=103).filled == 5
    assert oracle.walk(BIDS, ASKS, 1, "sell", 9, limit=97).filled == 9
    nothing = oracle.walk(BIDS, [], 1, "buy", 9)
    assert (nothing.filled, nothing.unfilled, nothing.worst) == (0, 9, None)
    assert (nothing.vwap, nothing.slippage_bps, nothing.levels) == (None, None, 0)


def test_inverse_questions_by_hand() -> None:
    assert oracle.walk_notional(BIDS, ASKS, 1, "buy", 713).filled == 7
    assert oracle.walk_notional(BIDS, ASKS, 1, "buy", 712).filled == 6
    assert oracle.max_quantity_cost(BIDS, ASKS, 1, "sell", 10**6) == 10
    assert oracle.max_quantity_slippage(BIDS, ASKS, 1, "buy", Fraction(1300, 7)) == 7
    assert oracle.max_quantity_slippage(BIDS, ASKS, 1, "buy", Fraction(1299, 7)) == 6
    assert oracle.max_quantity_slippage(BIDS, ASKS, 1, "buy", Fraction(99)) == 0
    assert oracle.max_quantity_limit(BIDS, ASKS, "buy", 103) == 5
    assert oracle.max_quantity_limit(BIDS, ASKS, "sell", 97) == 10


def test_rounded_walks_by_hand() -> None:
    coin = oracle.Fill(Fraction(1000), inverse=True)
    bought = oracle.walk(BIDS, ASKS, coin, "buy", 7, fee=Fraction(1, 10))
    assert (bought.cost, bought.fee) == (49 + 19, 7)  # 5000 / 101 = 49.5, 2000 / 104 = 19.2
    assert (bought.vwap, bought.slippage_bps) == (Fraction(7000, 68), Fraction(5000, 17))
    sold = oracle.walk(BIDS, ASKS, coin, "sell", 6)
    assert sold.cost == 51 + 11  # 5000 / 99 = 50.5, 1000 / 97 = 10.3
    assert oracle.max_quantity_cost(BIDS, ASKS, coin, "sell", 61) == 5
    assert oracle.max_quantity_slippage(BIDS, ASKS, coin, "buy", Fraction(5000, 17)) == 7
    # 8000 / 77 and 9000 / 87 are further from the mid than 10000 / 97: the largest counts.
    assert oracle.walk(BIDS, ASKS, coin, "buy", 8).slippage_bps == Fraction(30000, 77)
    assert oracle.max_quantity_slippage(BIDS, ASKS, coin, "buy", Fraction(310)) == 10
    one = oracle.Fill(Fraction(1000), inverse=True, contracts=10)
    assert oracle.walk(BIDS, ASKS, one, "buy", 6).cost == 6 * 10 * 1  # 100 / 101, 100 / 104
    half = oracle.Fill(Fraction(1, 2), contracts=1)
    assert oracle.walk(BIDS, ASKS, half, "buy", 6).cost == 5 * 50 + 52  # 50.5 to even
    dust = oracle.Fill(Fraction(1), inverse=True)
    nothing = oracle.walk(BIDS, ASKS, dust, "buy", 3)
    assert (nothing.cost, nothing.vwap, nothing.slippage_bps) == (0, None, None)
    far = [(oracle.TICKS_MAX, 1)]
    assert refusal(oracle.walk, far, [], oracle.Fill(Fraction(1), marks=2), "sell", 1) == "overflow"


@pytest.mark.parametrize(
    ("bids", "asks", "code"),
    [
        ([(1, 1), (2, 1)], [], "unsorted_book"),
        ([(2, 1), (2, 1)], [], "unsorted_book"),
        ([], [(2, 1), (1, 1)], "unsorted_book"),
        ([(2, 1)], [(2, 1)], "crossed_book"),
        ([(2, 0)], [], "out_of_range"),
        ([(0, 1)], [], "out_of_range"),
    ],
)
def test_books_are_checked(
    bids: list[tuple[int, int]], asks: list[tuple[int, int]], code: str
) -> None:
    assert refusal(oracle.check_book, bids, asks) == code

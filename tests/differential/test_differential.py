"""The core against the oracle: every number of every pool, and the prices and walks of some."""

from __future__ import annotations

import copy
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aivora_core as ac
from aivora_core.audit import oracle

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.differential import generators
else:
    import generators  # beside this file; its conftest puts the directory on the path

Row = dict[str, Any]

POOLS_PER_VENUE = 250
EVALUATIONS = 20_000  # the oracle is slow: past this it gives up and the core's answer is probed
COLUMNS = (
    "equity",
    "initial",
    "maintenance",
    "status",
    "liquidatable",
    "ratio_ppm",
    "distance_ppm",
)


@dataclass
class Sides:
    """One case read by both: the core's objects and the oracle's."""

    case: generators.Case
    venue: Any
    portfolio: Any
    prices: Any
    card: oracle.Card
    pools: list[oracle.Pool]


def given_tables(case: generators.Case, *, columns: bool) -> dict[str, Any]:
    """Give the tables as rows, or as columns where there are rows to take them from."""
    tables = case.tables()
    if not columns:
        return dict(tables)
    return {name: generators.as_columns(rows) or [] for name, rows in tables.items()}


def read(case: generators.Case, *, columns: bool = False) -> Sides:
    venue = ac.Venue.from_tree(case.tree)
    card = oracle.Card.from_tree(case.tree)
    rounding = {"entry_rounding": case.entry_rounding}
    return Sides(
        case=case,
        venue=venue,
        portfolio=ac.Portfolio.from_tables(
            venue, **given_tables(case, columns=columns), **rounding
        ),
        prices=ac.Prices(venue, mark_ticks=case.marks, asset_ticks=case.prices),
        card=card,
        pools=oracle.pools_from_tables(card, **case.tables(), **rounding),
    )


def compare_report(sides: Sides, where: str) -> Counter[Any]:
    """Compare every pool; return how many there were of each status."""
    report = sides.portfolio.check(sides.prices, ratio=True, distance=True)
    keys = list(zip(report.account, report.pool, strict=True))
    assert keys == [(pool.account, pool.name) for pool in sides.pools], where
    assert list(report.asset) == [pool.asset for pool in sides.pools], where
    case = sides.case
    wanted = [oracle.assess(sides.card, pool, case.marks, case.prices) for pool in sides.pools]
    for column in COLUMNS:
        got = list(getattr(report, column).tolist())
        want = [getattr(assessment, column) for assessment in wanted]
        if got != want:
            at = next(i for i, pair in enumerate(zip(got, want, strict=True)) if len({*pair}) > 1)
            pytest.fail(f"{where}: {column} of {keys[at]}: {got[at]} but {want[at]}\n"
                        f"{sides.pools[at]}\n{wanted[at]}\n"
                        f"{case.marks} {case.prices}\n{case.tree}")  # fmt: skip
    return Counter(assessment.status for assessment in wanted)


def flip_of(core: Any, reason: str, instrument: oracle.Instrument) -> Any:
    """Give one direction of the core's answer as the oracle writes it."""
    if core is None:
        return reason
    assert Fraction(core.mark) == core.mark_ticks * instrument.mark_tick
    price = Fraction(core.price) / instrument.mark_tick
    assert price.denominator == 1
    return oracle.Flip(core.mark_ticks, price.numerator, core.becomes)


def probe(sides: Sides, pool: oracle.Pool, symbol: str, flip: oracle.Flip) -> None:
    """Check what can be checked of a flip without a search: both ticks beside it."""
    current = sides.case.marks[symbol]
    inner = flip.mark + (1 if flip.mark < current else -1)
    marks = sides.case.marks

    def at(mark: int) -> bool:
        return oracle.verdict(sides.card, pool, marks, symbol, mark, sides.case.prices)

    now = at(current)
    assert at(flip.mark) != now
    assert at(inner) == now
    assert flip.becomes == ("safe" if now else "liquidatable")
    assert not at(flip.price)


def compare_liquidation(sides: Sides, pool: oracle.Pool, symbol: str, where: str) -> str:
    """Compare both directions; return what kind of answer it was."""
    own = sides.portfolio[pool.account, pool.name]
    instrument = sides.card.instruments[symbol]
    core: list[Any] | None = None
    try:
        found = own.liquidation_price(symbol, sides.prices)
    except ac.AivoraError as error:
        assert error.code == "limit_exceeded", where  # noqa: PT017 - compared below
    else:
        core = [
            flip_of(found.below, found.reason_below, instrument),
            flip_of(found.above, found.reason_above, instrument),
        ]
    try:
        want = oracle.liquidation_price(
            sides.card, pool, sides.case.marks, symbol, sides.case.prices, EVALUATIONS
        )
    except oracle.OracleError as error:
        assert error.code == "limit_exceeded", where  # noqa: PT017 - nothing else may happen
        for flip in core or []:
            if isinstance(flip, oracle.Flip):
                probe(sides, pool, symbol, flip)
        return "probed" if core else "limit_exceeded"
    if core is None:  # the oracle may take fewer evaluations than the core
        return "core_limit"
    assert core == list(want), (
        f"{where}: {symbol}: {core} but {want}\n{pool}\n{sides.case.marks} {sides.case.prices}\n"
        f"{sides.case.tree}"
    )
    return "/".join(f if isinstance(f, str) else f.becomes for f in want)


def compare_bankruptcy(sides: Sides, pool: oracle.Pool, leg: oracle.Leg, where: str) -> str:
    """Compare the bankruptcy price of one leg; return what kind of answer it was."""
    own = sides.portfolio[pool.account, pool.name]
    marks, prices = sides.case.marks, sides.case.prices
    wanted = outcome(
        lambda: oracle.bankruptcy_price(sides.card, pool, marks, leg.instrument, leg.leg, prices)
    )
    found = outcome(lambda: own.bankruptcy_price(leg.instrument, sides.prices, leg=leg.leg))
    message = f"{where}: {leg}\n{pool}\n{marks} {prices}\n{sides.case.tree}\n{wanted}\n{found}"
    if isinstance(wanted, str) or isinstance(found, str):
        assert isinstance(wanted, str), message
        assert isinstance(found, str), message
        return "refused"
    assert found.price_ticks == wanted.price, message
    assert found.reason == wanted.reason, message
    assert found.quote_quanta == wanted.quote, message
    assert found.allotted_quanta == wanted.allotted, message
    if wanted.price is not None:
        tick = sides.card.instruments[leg.instrument].price_tick
        assert Fraction(found.price) == wanted.price * tick, message
    return str(wanted.reason)


def compare_withdrawals(sides: Sides, pool: oracle.Pool, where: str) -> Counter[str]:
    """Compare how much of each asset may leave; return what binds."""
    own = sides.portfolio[pool.account, pool.name]
    case = sides.case
    seen: Counter[str] = Counter()
    for asset in sides.card.assets:
        call = partial(oracle.withdrawable, sides.card, pool, case.marks, asset, case.prices)
        want = outcome(call)
        found = outcome(partial(own.withdrawable, asset, sides.prices))
        if not isinstance(want, str) and not isinstance(found, str):
            found = (
                found.asset,
                found.amount_quanta,
                found.balance_quanta,
                found.binding,
                found.equity_quanta,
                found.initial_quanta,
            )
            want = (want.asset, want.amount, want.balance, want.binding, want.equity, want.initial)
        seen[str(want if isinstance(want, str) else want[3])] += 1
        message = f"{where}: {asset}: {found} but {want}\n{pool}\n{case.marks} {case.prices}"
        assert found == want, f"{message}\n{case.tree}"
    return seen


def compare_open_interest(sides: Sides, where: str) -> None:
    """Compare what all pools hold of each instrument."""
    want = oracle.open_interest(sides.card, sides.pools)
    found = {
        symbol: oracle.OpenInterest(own.long_lots, own.short_lots, own.long_legs, own.short_legs)
        for symbol, own in sides.portfolio.open_interest().items()
    }
    assert found == want, f"{where}\n{sides.case.tree}"


def outcome(call: Callable[[], Any]) -> Any:
    """Give the result of a call, or the code of its refusal."""
    try:
        return call()
    except (ac.AivoraError, oracle.OracleError) as error:
        return str(error.code)


def venue_seeds(pools: int) -> list[tuple[int, bool]]:
    """Give the seed of each venue, every eighth one extreme."""
    return [(seed, seed % 8 == 7) for seed in range(max(1, pools // POOLS_PER_VENUE))]


@pytest.mark.nightly
def test_every_pool_agrees(pools: int) -> None:
    seen: Counter[Any] = Counter()
    for seed, extreme in venue_seeds(pools):
        case = generators.make_case(seed, POOLS_PER_VENUE, extreme=extreme)
        seen += compare_report(read(case, columns=seed % 2 == 0), f"seed {seed}")
    least = pools // 50
    assert all(seen[status] > least for status in range(4)), seen


@pytest.mark.nightly
def test_prices_agree(pools: int) -> None:
    liquidation: Counter[str] = Counter()
    bankruptcy: Counter[str] = Counter()
    withdrawals: Counter[str] = Counter()
    for seed in range(max(1, min(4000, pools // 200))):
        case = generators.make_case(1_000_000 + seed, 8, extreme=seed % 8 == 7)
        sides = read(case)
        where = f"seed {1_000_000 + seed}"
        compare_open_interest(sides, where)
        for pool in sides.pools:
            withdrawals += compare_withdrawals(sides, pool, where)
            for symbol in sorted({leg.instrument for leg in pool.legs}):
                liquidation[compare_liquidation(sides, pool, symbol, where)] += 1
            for leg in pool.legs:
                bankruptcy[compare_bankruptcy(sides, pool, leg, where)] += 1
    total = sum(liquidation.values())
    gave_up = sum(liquidation[kind] for kind in ("probed", "limit_exceeded", "core_limit"))
    assert gave_up <= total // 20, liquidation
    kinds = {"liquidatable/no_flip_above", "no_flip_below/liquidatable"}
    assert kinds <= set(liquidation), liquidation
    assert bankruptcy["None"] > 0, bankruptcy
    assert bankruptcy["no_positive_price"] > 0, bankruptcy
    assert bankruptcy["no_finite_price"] > 0, bankruptcy
    assert {"balance", "initial"} <= set(withdrawals), withdrawals


def numbers_of(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], int]]:
    """Give every number of a trace with the way to it; text and flags are left out."""
    if isinstance(node, bool) or not isinstance(node, dict | list | int):
        return []
    if isinstance(node, int):
        return [(path, node)]
    children = node.items() if isinstance(node, dict) else enumerate(node)
    return [found for key, child in children for found in numbers_of(child, (*path, key))]


def test_a_changed_number_of_a_trace_is_found() -> None:
    found: Counter[Any] = Counter()
    missed: Counter[Any] = Counter()
    for seed in range(8):
        sides = read(generators.make_case(4_000_000 + seed, 3))
        for pool in sides.pools:
            why = sides.portfolio[pool.account, pool.name].explain(sides.prices)
            assert why.verify()
            for path, number in numbers_of(why.raw):
                raw = copy.deepcopy(why.raw)
                at = raw
                for key in path[:-1]:
                    at = at[key]
                at[path[-1]] = number + 1
                try:
                    ac.Explanation(sides.venue, raw).verify()
                except (ac.InvariantBroken, oracle.OracleError):
                    found[path[-1]] += 1
                else:
                    missed[path[-1]] += 1
    # what changes no step may pass: an order that is not the larger side, a leverage that does
    # not bind (its two terms are at 0 and 1), a price at which everything rounds to the same
    assert set(missed) <= {"bids", "asks", 0, 1, "mark_ticks", "price_ticks"}, missed
    assert all(found[name] > missed[name] for name in ("mark_ticks", "price_ticks")), missed
    assert {"balance", "interest", "value", "initial_num", "notional_value"} <= set(found), found


ON_A_PATH = """
import sys
sys.path.insert(0, sys.argv[1])
import generators
import aivora_core as ac
for seed in range(int(sys.argv[2])):
    case = generators.make_case(5_000_000 + seed, 100, extreme=seed % 3 == 2)
    venue = ac.Venue.from_tree(case.tree)
    portfolio = ac.Portfolio.from_tables(
        venue, **case.tables(), entry_rounding=case.entry_rounding
    )
    prices = ac.Prices(venue, mark_ticks=case.marks, asset_ticks=case.prices)
    report = portfolio.check(prices, ratio=True, distance=True)
    shown = [report.ratio_ppm.tolist(), report.distance_ppm.tolist()]
    sums = [report.equity.tolist(), report.initial.tolist(), report.maintenance.tolist()]
    print(portfolio.report_digest(prices), hash((str(sums), str(shown), report.status.tobytes())))
"""


def test_every_path_gives_the_same_reports() -> None:
    here = str(Path(__file__).resolve().parent)
    answers = [
        subprocess.run(
            [sys.executable, "-c", ON_A_PATH, here, "12"],
            env={**os.environ, "AIVORA_SIMD": path, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for path in ("scalar", "avx2")
    ]
    assert len(answers[0].splitlines()) == 12
    assert answers[0] == answers[1]


def test_the_order_of_rows_changes_nothing() -> None:
    case = generators.make_case(77, 60)
    sides = read(case)
    first = sides.portfolio.check(sides.prices)
    for table in case.tables().values():
        table.reverse()
    sides = read(case, columns=True)
    second = sides.portfolio.check(sides.prices)
    assert list(first.asset) == list(second.asset)
    assert list(first.account) == list(second.account)
    assert first.equity.tolist() == second.equity.tolist()
    assert first.initial.tolist() == second.initial.tolist()


# --- what leaves the bounds is refused by both ------------------------------------------------


def one_instrument(**changes: Any) -> Row:
    row: Row = {"symbol": "A", "kind": "linear", "price_tick": "1", "mark_tick": "1", "lot": "1"}
    row["tiers"] = {
        "by": "notional",
        "brackets": [{"floor": "0", "maintenance": "0.1", "initial": "0.2"}],
    }
    return {
        "schema": "aivora-card/0",
        "name": "small",
        "asset": {"USD": {"quantum": "1"}},
        "rules": {"settlement": "USD"},
        "instrument": [{**row, **changes}],
    }


SLOPE = {"by": "size_slope", "maintenance_base": "0.1", "initial_base": "0.2", "slope": "0.001"}
STEEP = {**SLOPE, "initial_base": "0.1"}  # with a fee of one half, maintenance is the first past 1
VALUE = {**SLOPE, "by": "value_slope"}
STEEP_VALUE = {**STEEP, "by": "value_slope"}
ROOT = {"by": "size_root", "maintenance_base": "0.05", "initial_base": "0.05", "factor": "0.01"}
FEE_HALF = {"taker_fee": "0.5"}


@pytest.mark.parametrize(
    ("changes", "position", "mark", "code"),
    [
        ({}, {"quantity_lots": 10**18, "cost_quanta": 0}, 10**17, None),
        ({"multiplier": "1000"}, {"quantity_lots": 10**18, "cost_quanta": 0}, 10**17, "overflow"),
        ({}, {"quantity_lots": 1, "cost_quanta": 10**37}, 1, "out_of_range"),
        ({}, {"quantity_lots": 10**19, "cost_quanta": 1}, 1, "out_of_range"),
        ({}, {"quantity_lots": 1, "cost_quanta": 1}, 10**18, "out_of_range"),
        ({}, {"quantity": "0.5", "cost_quanta": 1}, 1, "off_grid"),
        ({}, {"quantity": 1, "entry": "1.5"}, 1, "off_grid"),
        ({}, {"quantity": 1.0, "cost_quanta": 1}, 1, "float_given"),
        ({}, {"quantity_lots": 1, "cost_quanta": 1}, None, "missing_price"),
        ({"tiers": SLOPE}, {"quantity_lots": 800, "cost_quanta": 1}, 1, None),
        ({"tiers": SLOPE}, {"quantity_lots": 801, "cost_quanta": 1}, 1, "limit_exceeded"),
        ({"tiers": STEEP, **FEE_HALF}, {"quantity_lots": 400, "cost_quanta": 1}, 1, None),
        (
            {"tiers": STEEP, **FEE_HALF},
            {"quantity_lots": 401, "cost_quanta": 1},
            1,
            "limit_exceeded",
        ),
        ({"tiers": VALUE}, {"quantity_lots": 100, "cost_quanta": 1}, 8, None),
        ({"tiers": VALUE}, {"quantity_lots": 89, "cost_quanta": 1}, 9, "limit_exceeded"),
        ({"tiers": VALUE}, {"quantity_lots": 10**18, "cost_quanta": 1}, 10**17, "limit_exceeded"),
        ({"tiers": STEEP_VALUE, **FEE_HALF}, {"quantity_lots": 200, "cost_quanta": 1}, 2, None),
        (
            {"tiers": STEEP_VALUE, **FEE_HALF},
            {"quantity_lots": 401, "cost_quanta": 1},
            1,
            "limit_exceeded",
        ),
        # A test of Drift has 10,001 of base, at 1.04; 1 is where isqrt(10 S + 1) is 9.6 x 10^6.
        ({"tiers": ROOT}, {"quantity_lots": 9216, "cost_quanta": 1}, 1, None),
        ({"tiers": ROOT}, {"quantity_lots": 10_001, "cost_quanta": 1}, 1, "limit_exceeded"),
        ({"tiers": ROOT}, {"quantity_lots": 10**18, "cost_quanta": 1}, 1, "limit_exceeded"),
    ],
)
def test_both_refuse_for_the_same_reason(
    changes: Row, position: Row, mark: int | None, code: str | None
) -> None:
    tree = one_instrument(**changes)
    if "taker_fee" in changes:
        tree["rules"]["closing_fee"] = "mark"
    rows = [{"account": "a", "instrument": "A", **position}]
    marks = {} if mark is None else {"A": mark}

    def core() -> None:
        venue = ac.Venue.from_tree(tree)
        portfolio = ac.Portfolio.from_tables(venue, positions=rows, collateral=[])
        portfolio.check(ac.Prices(venue, mark_ticks=marks))

    def slow() -> None:
        card = oracle.Card.from_tree(tree)
        for pool in oracle.pools_from_tables(card, rows, []):
            oracle.assess(card, pool, marks)

    assert outcome(slow) == code
    try:
        assert outcome(core) == code
    except TypeError:  # a float scalar is a TypeError on the way into the core
        assert code == "float_given"


@pytest.mark.parametrize(("bids", "code"), [(100, None), (101, "limit_exceeded")])
def test_orders_count_in_the_size_of_both_rates(bids: int, code: str | None) -> None:
    tree = one_instrument(tiers=STEEP)
    tree["rules"] |= {"closing_fee": "mark", "taker_fee": "0.5"}
    rows = [{"account": "a", "instrument": "A", "quantity_lots": 300, "cost_quanta": 1}]
    orders = [{"account": "a", "instrument": "A", "side": "buy", "quantity_lots": bids}]

    def core() -> None:
        ac.Portfolio.from_tables(ac.Venue.from_tree(tree), positions=rows, orders=orders)

    def slow() -> None:
        card = oracle.Card.from_tree(tree)
        for pool in oracle.pools_from_tables(card, rows, [], orders):
            oracle.assess(card, pool, {"A": 1})

    assert (outcome(core), outcome(slow)) == (code, code)


@pytest.mark.parametrize("jump", ["0.6", "1"])  # liquidatable at 150 only, or from 150 on
@pytest.mark.parametrize("price_tick", ["1", "7", "50", "150", "200"])
@pytest.mark.parametrize("mark", [1, 50, 66, 67, 70, 100, 149, 150, 160, 1000])
def test_a_jump_agrees_from_every_side(mark: int, price_tick: str, jump: str) -> None:
    rows = [("0", "0.1"), ("1500", jump)]
    brackets = [{"floor": low, "maintenance": rate, "initial": "1"} for low, rate in rows]
    tiers = {"by": "notional", "brackets": brackets}
    tree = one_instrument(tiers=tiers, price_tick=price_tick)
    row = {"account": "a", "instrument": "A", "quantity_lots": 10, "cost_quanta": 1000}
    case = generators.Case(tree, {"A": mark}, [], [row], [{"account": "a", "amount_quanta": 399}])
    sides = read(case)
    compare_liquidation(sides, sides.pools[0], "A", f"mark {mark}, price tick {price_tick}")


# --- found by hypothesis, and made small by it ------------------------------------------------


@st.composite
def small_cases(draw: st.DrawFn) -> generators.Case:
    """One pool on one instrument, every number drawn alone so that it can shrink."""
    by = draw(st.sampled_from(("notional", "size")))
    floors = draw(st.lists(st.integers(1, 2000), max_size=3, unique=True).map(sorted))
    rates = draw(st.lists(st.integers(1, 60), min_size=4, max_size=4).map(sorted))
    rows = [
        {"floor": str(low), "maintenance": f"{rate}/100", "initial": f"{min(100, 2 * rate)}/100"}
        for low, rate in zip([0, *floors], rates, strict=False)
    ]
    tiers: Row = {"by": by, "brackets": rows}
    if by == "notional" and draw(st.booleans()):
        tiers["deduction"] = "derived"
    tree = one_instrument(tiers=tiers, price_tick=str(draw(st.sampled_from((1, 3, 10, 100)))))
    tree["rules"] |= {
        "trigger": draw(st.sampled_from(("strict", "non_strict"))),
        "maintenance_basis": draw(st.sampled_from(("mark", "entry"))),
        "initial_basis": draw(st.sampled_from(("mark", "entry"))),
        "closing_fee": draw(st.sampled_from(("none", "mark", "bankruptcy"))),
        "bankruptcy_fee": draw(st.sampled_from(("none", "taker"))),
        "taker_fee": draw(st.sampled_from(("0", "0.001", "1/7"))),
    }
    case = generators.Case(tree, {"A": draw(st.integers(1, 500))}, [])
    key = {"account": "a", "instrument": "A"}
    for leg in draw(st.sampled_from((("net",), ("long",), ("short",), ("long", "short")))):
        lots, entry = draw(st.integers(0, 300)), draw(st.integers(1, 500))
        if leg == "short" or (leg == "net" and draw(st.booleans())):
            lots = -lots
        accrued = draw(st.integers(-100, 100))
        row: Row = {**key, "leg": leg, "quantity_lots": lots, "accrued_quanta": accrued}
        case.positions.append({**row, "cost_quanta": lots * entry})
        for side in draw(st.lists(st.sampled_from(("buy", "sell")), max_size=2)):
            order = {**key, "leg": leg, "side": side}
            case.orders.append({**order, "quantity_lots": draw(st.integers(1, 50))})
    leverage = draw(st.sampled_from((None, "1", "3", "50")))
    case.pools.append({"account": "a", "kind": "cross", "leverage": leverage})
    case.collateral.append({"account": "a", "amount_quanta": draw(st.integers(-2000, 20_000))})
    return case


@given(small_cases())
@settings(max_examples=300)
def test_small_pools_agree(case: generators.Case) -> None:
    sides = read(case)
    compare_report(sides, "hypothesis")
    (pool,) = sides.pools
    if pool.legs:
        compare_liquidation(sides, pool, "A", "hypothesis")
    for leg in pool.legs:
        compare_bankruptcy(sides, pool, leg, "hypothesis")


@given(small_cases(), st.integers(-1, 1), st.sampled_from(("maintenance", "initial", "zero")))
@settings(max_examples=300)
def test_pools_on_the_line_agree(case: generators.Case, beside: int, line: str) -> None:
    card = oracle.Card.from_tree(case.tree)
    (pool,) = oracle.pools_from_tables(card, **case.tables())
    own = oracle.assess(card, pool, case.marks)
    target = 0 if line == "zero" else int(getattr(own, line))
    case.collateral[0]["amount_quanta"] += target - own.equity + beside
    sides = read(case)
    compare_report(sides, f"{line} {beside:+d}")
    (pool,) = sides.pools
    assert oracle.assess(card, pool, case.marks).equity == target + beside
    if pool.legs:
        compare_liquidation(sides, pool, "A", f"{line} {beside:+d}")


# --- books ------------------------------------------------------------------------------------


@dataclass
class Books:
    """One book read by both."""

    case: generators.BookCase
    own: oracle.Instrument
    book: Any
    quantum: Fraction

    def price(self, ticks: int) -> str:
        """Write a price in units."""
        return generators.text(ticks * self.own.price_tick)

    def lots(self, lots: int) -> str:
        """Write a quantity in units."""
        return generators.text(lots * self.own.lot)


SEARCHED_LOTS = 200


def read_book(case: generators.BookCase) -> Books:
    venue = ac.Venue.from_tree(case.tree)
    own = case.instrument
    sides = [
        [(generators.text(p * own.price_tick), generators.text(q * own.lot)) for p, q in levels]
        for levels in (case.bids, case.asks)
    ]
    book = ac.Book(venue[own.symbol], bids=sides[0], asks=sides[1])
    return Books(case, own, book, own.quantum)


def same_walk(books: Books, found: Any, want: oracle.Walk, where: str) -> None:
    core = (
        found.filled_lots,
        found.unfilled_lots,
        found.cost_quanta,
        found.fee_quanta,
        found.worst_ticks,
        found.levels,
    )
    slow = (want.filled, want.unfilled, want.cost, want.fee, want.worst, want.levels)
    message = f"{where}\n{books.case}"
    assert core == slow, message
    vwap = None if want.vwap is None else want.vwap * books.own.price_tick
    assert found.vwap_exact == vwap, message
    assert found.slippage_bps_exact == want.slippage_bps, message


def compare_book(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - seeded on purpose
    books = read_book(generators.make_book(seed))
    own, bids, asks = books.own, books.case.bids, books.case.asks
    terms = own.fill
    for side, levels in (("buy", asks), ("sell", bids)):
        held = sum(lots for _, lots in levels)
        edges = {1, held, held + 1, max(1, held - 1), rng.randint(1, held + 2)}
        edges |= {levels[0][1], levels[0][1] + 1} if levels else set()
        limits = [None, rng.choice(levels)[0] + rng.choice((-1, 0, 1)) if levels else None]
        for limit in limits:
            bound = limit if limit is None or limit >= 1 else 1
            text = None if bound is None else books.price(bound)
            for lots in sorted(edges):
                found = books.book.walk(side, books.lots(lots), limit=text)
                want = oracle.walk(bids, asks, terms, side, lots, bound, own.taker_fee)
                same_walk(books, found, want, f"seed {seed}: walk {side} {lots} {bound}")
            full = oracle.walk(bids, asks, terms, side, max(edges), bound).cost
            for cost in {0, 1, full, max(0, full - 1), full + 1, rng.randint(0, 2 * full)}:
                amount = generators.text(cost * books.quantum)
                found = books.book.walk_notional(side, amount, limit=text)
                want = oracle.walk_notional(bids, asks, terms, side, cost, bound, own.taker_fee)
                same_walk(books, found, want, f"seed {seed}: notional {side} {cost} {bound}")
        compare_questions(books, side, rng, f"seed {seed}: {side}")


def compare_questions(books: Books, side: str, rng: random.Random, where: str) -> None:
    bids, asks, own = books.case.bids, books.case.asks, books.own
    terms = own.fill
    held = sum(lots for _, lots in (asks if side == "buy" else bids))
    some = oracle.walk(bids, asks, terms, side, rng.randint(0, held))
    for cost in {0, some.cost, some.cost + 1, max(0, some.cost - 1)}:
        found = books.book.max_quantity(side, cost=generators.text(cost * books.quantum))
        want = oracle.max_quantity_cost(bids, asks, terms, side, cost)
        assert Fraction(found) == want * own.lot, (where, cost, books.case)
    for limit in {some.worst or 1, (some.worst or 1) + 1, max(1, (some.worst or 1) - 1)}:
        found = books.book.max_quantity(side, limit=books.price(limit))
        want = oracle.max_quantity_limit(bids, asks, side, limit)
        assert Fraction(found) == want * own.lot, (where, limit, books.case)
    if isinstance(terms, oracle.Fill) and held > SEARCHED_LOTS:
        return  # the slippage of what is rounded has no order: the oracle looks at every size
    near = max(0, int(some.slippage_bps * 10**6)) if some.slippage_bps is not None else 0
    for millionths in {0, near, near + 1, rng.randint(0, 10**9)}:
        bps = Fraction(millionths, 10**6)
        text = generators.text(bps)
        if oracle.mid_price(bids, asks) is None:
            with pytest.raises(ac.AivoraError):
                books.book.max_quantity(side, slippage_bps=text)
            continue
        found = books.book.max_quantity(side, slippage_bps=Decimal(text))
        want = oracle.max_quantity_slippage(bids, asks, terms, side, bps)
        assert Fraction(found) == want * own.lot, (where, text, books.case)


@pytest.mark.nightly
def test_books_agree(pools: int) -> None:
    for seed in range(max(1, min(5000, pools // 50))):
        compare_book(seed)


@given(st.integers(0, 2**32))
@settings(max_examples=200)
def test_any_book_agrees(seed: int) -> None:
    compare_book(seed)


@pytest.mark.parametrize(
    ("bids", "asks"),
    [
        ([(1, 1), (2, 1)], []),
        ([(2, 1), (2, 1)], []),
        ([], [(2, 1), (1, 1)]),
        ([(2, 1)], [(2, 1)]),
        ([(3, 1)], [(2, 1)]),
    ],
)
def test_both_refuse_the_same_books(
    bids: list[tuple[int, int]], asks: list[tuple[int, int]]
) -> None:
    venue = ac.Venue.from_tree(one_instrument())
    refused = outcome(lambda: oracle.check_book(bids, asks))
    assert refused in {"unsorted_book", "crossed_book"}
    assert outcome(lambda: ac.Book(venue["A"], bids=bids, asks=asks)) == refused

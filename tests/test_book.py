"""Books and walks from Python: exact numbers, and a book that a bad message leaves as it was."""

from __future__ import annotations

import copy
import pickle
import threading
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aivora_core as ac

VENUE = ac.Venue.load("demo")
BTC = VENUE["BTC"]
BIDS = [("64000.5", "1.2"), ("63999", "3")]
ASKS = [("64001", "0.7"), ("64002.5", "2")]
NAN, INF = float("nan"), float("inf")


def made(sequence: int | None = None) -> ac.Book:
    return ac.Book(BTC, BIDS, ASKS, sequence)


def refused(book: ac.Book, code: str, step: Any) -> ac.AivoraError:
    """Require that ``step`` fails with ``code`` and leaves the book as it was."""
    before = (book.digest, book.sequence, book.depth())
    with pytest.raises(ac.AivoraError) as caught:
        step(book)
    assert caught.value.code == code, caught.value
    assert (book.digest, book.sequence, book.depth()) == before
    return caught.value


def test_a_walk_is_exact() -> None:
    walk = made().walk("buy", "1.5")
    cost = Decimal("0.7") * 64001 + Decimal("0.8") * Decimal("64002.5")
    assert (walk.filled, walk.unfilled, walk.cost) == (Decimal("1.5"), Decimal(0), cost)
    assert walk.fee == (cost * Decimal("0.0005")).quantize(Decimal("0.000001"), "ROUND_CEILING")
    assert (walk.worst, walk.levels, walk.side) == (Decimal("64002.5"), 2, "buy")
    assert walk.vwap_exact == Fraction(cost) / Fraction(3, 2)
    mid = Fraction(640005 + 640010, 20)
    assert walk.slippage_bps_exact == (Fraction(cost) / Fraction(3, 2) - mid) / mid * 10_000
    assert (walk.filled_lots, walk.cost_quanta) == (1500, int(cost * 10**6))
    assert (walk.worst_ticks, walk.mid_half_ticks) == (640025, 1280015)


def test_averages_round_against_the_taker() -> None:
    book = ac.Book(BTC, [("1.1", "1"), ("1", "2")], [("1.2", "1"), ("1.3", "2")])
    buy, sell = book.walk("buy", 3), book.walk("sell", 3)
    assert (buy.vwap, sell.vwap) == (Decimal("1.266666666667"), Decimal("1.033333333333"))
    assert buy.slippage_bps == Decimal("1014.4928")  # 1014.49275...
    assert sell.slippage_bps == Decimal("1014.4928")


@pytest.mark.parametrize("quantity", ["1.5", Decimal("1.5"), "1.500", "15e-1", "+1.5"])
def test_exact_quantities_are_read_alike(quantity: str | Decimal) -> None:
    assert made().walk("buy", quantity) == made().walk("buy", "1.5")


def test_whole_quantities_are_read_alike() -> None:
    for quantity in (1, np.int64(1), "1", Decimal(1), "1.000"):
        assert made().walk("sell", quantity).filled_lots == 1000


@pytest.mark.parametrize(
    ("quantity", "code"),
    [
        (1.5, "float_given"),
        (NAN, "float_given"),
        (INF, "float_given"),
        (np.float64(1), "float_given"),
        (np.float32(1), "float_given"),
        ("nan", "not_finite"),
        ("-inf", "not_finite"),
        (Decimal("NaN"), "not_finite"),
        (Decimal("Infinity"), "not_finite"),
        ("", "not_a_number"),
        ("1_000", "not_a_number"),
        ("1,5", "not_a_number"),
        (" 1", "not_a_number"),
        ("\ud800", "not_a_number"),
        ("٣", "not_a_number"),
        (True, "not_a_number"),
        (None, "not_a_number"),
        (b"1", "not_a_number"),
        ([1], "not_a_number"),
        ("0.0005", "off_grid"),
        ("1.0000000000000000001", "off_grid"),
        (-1, "out_of_range"),
        ("-0.001", "out_of_range"),
        (10**16, "out_of_range"),
        (10**40, "overflow"),
        ("1e60", "overflow"),
    ],
)
def test_a_bad_quantity_is_named(quantity: object, code: str) -> None:
    error = refused(made(), code, lambda book: book.walk("buy", quantity))
    assert error.field == "quantity"
    assert error.value
    assert error.limit
    assert error.row is None


@pytest.mark.parametrize(
    ("limit", "code"),
    [("64001.05", "off_grid"), (0, "bad_price"), ("-1", "bad_price"), (64001.0, "float_given")],
)
def test_a_bad_limit_is_named(limit: object, code: str) -> None:
    book = made()
    for step in (
        lambda b: b.walk("buy", 1, limit),
        lambda b: b.walk_notional("buy", 1, limit),
        lambda b: b.max_quantity("buy", limit=limit),
        lambda b: b.walk_many("buy", np.array([1]), limit),
    ):
        assert refused(book, code, step).field.startswith("limit")


def test_a_bad_side_is_named() -> None:
    assert refused(made(), "out_of_range", lambda b: b.walk("bid", 1)).field == "side"
    with pytest.raises(TypeError):
        made().walk(1, 1)


def test_a_thin_side_leaves_a_remainder() -> None:
    book = ac.Book(BTC, asks=ASKS)
    walk = book.walk("buy", 5)
    assert (walk.filled, walk.unfilled) == (Decimal("2.7"), Decimal("2.3"))
    assert (walk.slippage_bps, walk.slippage_bps_exact, book.mid) == (None, None, None)
    walk = book.walk("sell", 5)
    zero = Decimal(0)
    assert (walk.filled, walk.cost, walk.fee, walk.levels) == (zero, zero, zero, 0)
    assert (walk.vwap, walk.vwap_exact, walk.worst) == (None, None, None)
    assert book.walk("buy", 5, limit="64001").filled == Decimal("0.7")
    assert book.walk("buy", 0).filled == 0


def test_an_unknown_fee_is_not_zero() -> None:
    book = ac.Book(ac.Venue.load("hyperliquid")["BTC"], asks=[("64001", 1)])
    assert book.walk("buy", 1).fee is None
    assert book.walk("buy", 1).fee_quanta is None
    assert book.walk_many("buy", np.array([1]), fee=True)["fee_quanta"] is None


def test_inverse_questions() -> None:
    book = made()
    assert book.max_quantity("buy", limit="64001") == Decimal("0.7")
    assert book.max_quantity("buy", cost="64001.00000") == Decimal("0.999")
    assert book.max_quantity("sell", slippage_bps=10_000) == Decimal("4.2")
    for bps in ("0", "0.03", "0.1", "0.15", "0.2", "100"):
        lots = int(book.max_quantity("buy", slippage_bps=bps) / BTC.lot)
        for n, fits in ((lots, True), (lots + 1, False)):
            walk = book.walk("buy", n * BTC.lot)
            if n and walk.unfilled == 0:
                assert walk.slippage_bps_exact is not None
                assert (walk.slippage_bps_exact <= Fraction(bps)) is fits
    both = book.max_quantity("buy", slippage_bps=100, cost=1000)
    assert both == book.max_quantity("buy", cost=1000)
    assert book.walk_notional("buy", "64001").filled == Decimal("0.999")
    refused(book, "out_of_range", lambda b: b.max_quantity("buy"))
    refused(book, "out_of_range", lambda b: b.max_quantity("buy", slippage_bps=-1))
    refused(book, "out_of_range", lambda b: b.max_quantity("buy", cost=-1))
    refused(book, "off_grid", lambda b: b.max_quantity("buy", cost="0.0000001"))
    refused(book, "overflow", lambda b: b.max_quantity("buy", slippage_bps="1e-37"))
    refused(ac.Book(BTC, bids=BIDS), "no_mid", lambda b: b.max_quantity("buy", slippage_bps=1))


levels = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 3000)), max_size=8)


@given(levels, levels, st.sampled_from(["buy", "sell"]), st.integers(0, 20_000))
def test_walks_and_their_inverses_agree_with_fractions(
    down: list[tuple[int, int]],
    up: list[tuple[int, int]],
    side: Literal["buy", "sell"],
    lots: int,
) -> None:
    bids, asks, bid, ask = [], [], 1000, 1000
    for gap, size in down:
        bids.append(((bid := bid - gap), size))
    for gap, size in up:
        asks.append(((ask := ask + gap), size))
    scaled = [[(p * BTC.price_tick, q * BTC.lot) for p, q in s] for s in (bids, asks)]
    book = ac.Book(BTC, scaled[0], scaled[1])
    left, cost, touched = lots, 0, 0
    for price, size in asks if side == "buy" else bids:
        taken = min(left, size)
        cost, left, touched = cost + price * taken, left - taken, touched + (taken > 0)
    walk = book.walk(side, lots * BTC.lot)
    assert (walk.filled_lots, walk.unfilled_lots, walk.levels) == (lots - left, left, touched)
    assert walk.cost_quanta == cost * 100  # 0.1 x 0.001 in millionths
    assert pickle.loads(pickle.dumps(walk)) == walk
    found = book.walk_many(side, np.array([lots]), fee=True)
    assert found["cost_quanta"] == [walk.cost_quanta]
    assert found["fee_quanta"] == [walk.fee_quanta]
    again = book.max_quantity(side, cost=walk.cost)
    assert again == walk.filled


def test_many_are_the_single_calls() -> None:
    book, other = made(), ac.Book(VENUE["ETH"], asks=[("3000", 5)])
    sizes = np.array([0, 1, 700, 701, 2700, 9999])
    found: Any = book.walk_many("buy", sizes, fee=True)
    for row, lots in enumerate(sizes.tolist()):
        walk = book.walk("buy", lots * BTC.lot)
        assert found["filled_lots"][row] == walk.filled_lots
        assert found["cost_quanta"][row] == walk.cost_quanta
        assert found["fee_quanta"][row] == walk.fee_quanta
        assert found["worst_ticks"][row] == (walk.worst_ticks or 0)
        assert found["levels"][row] == walk.levels
    found = ac.walk_many([book, other, book], "buy", np.array([1, 1000, 701]))
    assert found["cost_quanta"].tolist() == [64_001_000, 3_000_000_000, 44_864_702_500]
    assert found["levels"].tolist() == [1, 1, 2]


def test_columns_wider_than_64_bits_are_lists_of_int() -> None:
    book = ac.Book(BTC, asks=[("9000000000000", "100000000000000")])
    found = book.walk_many("buy", np.array([10**17]))
    assert found["cost_quanta"] == [9 * 10**32]
    assert book.walk("buy", 10**14).cost_quanta == 9 * 10**32


def test_bad_columns_are_named() -> None:
    book, good = made(), np.arange(6)
    read_only = good.copy()
    read_only.flags.writeable = False
    assert len(book.walk_many("buy", read_only)["levels"]) == 6
    for column, code in [
        (good[::2], "bad_column"),
        (good.reshape(2, 3), "bad_column"),
        (good.astype(np.int32), "bad_column"),
        (good.astype(object), "bad_column"),
        ([1, 2], "bad_column"),
        (good.astype(float), "float_given"),
    ]:
        error = refused(book, code, lambda b, c=column: b.walk_many("buy", c))
        assert error.field == "quantity_lots"
        refused(book, code, lambda b, c=column: ac.walk_many([b] * 6, "buy", c))
    error = refused(book, "out_of_range", lambda b: b.walk_many("buy", np.array([1, 2, -3])))
    assert (error.row, error.field, error.value) == (2, "quantity_lots", "-3")
    error = refused(book, "out_of_range", lambda b: b.walk_many("buy", np.array([1, 10**18 + 1])))
    assert error.row == 1
    refused(book, "length_mismatch", lambda b: ac.walk_many([b, b], "buy", np.array([1])))


@pytest.mark.parametrize(
    "case",
    [
        ([("2", "1"), ("3", "1")], [], "unsorted_book", "bids.price", 1),
        ([("2", "1"), ("2", "1")], [], "unsorted_book", "bids.price", 1),
        ([], [("3", "1"), ("2", "1")], "unsorted_book", "asks.price", 1),
        ([("3", "1")], [("3", "1")], "crossed_book", "book", None),
        ([("4", "1")], [("3", "1")], "crossed_book", "book", None),
        ([("3", "0")], [], "out_of_range", "bids.quantity", 0),
        ([], [("3", "1"), ("4", "-1")], "out_of_range", "asks.quantity", 1),
        ([("0", "1")], [], "bad_price", "bids.price", 0),
        ([("-3", "1")], [], "bad_price", "bids.price", 0),
        ([("3.05", "1")], [], "off_grid", "bids.price", 0),
        ([("3", "0.0001")], [], "off_grid", "bids.quantity", 0),
        ([(3.0, "1")], [], "float_given", "bids.price", 0),
        ([("3", 1.0)], [], "float_given", "bids.quantity", 0),
        ([("3", NAN)], [], "float_given", "bids.quantity", 0),
        ([("nan", "1")], [], "not_finite", "bids.price", 0),
        ([("3", "inf")], [], "not_finite", "bids.quantity", 0),
        ([("x", "1")], [], "not_a_number", "bids.price", 0),
        ([("3",)], [], "bad_column", "bids", 0),
        ([("3", "1", "2")], [], "bad_column", "bids", 0),
        (["31"], [], "bad_column", "bids", 0),
        (7, [], "bad_column", "bids", None),
        ([("1e17", "1")], [], "out_of_range", "bids.price", 0),
        ([("3", "1e16")], [], "out_of_range", "bids.quantity", 0),
        ([("3", "9e14"), ("2", "9e14")], [], "overflow", "bids", None),
    ],
)
@pytest.mark.parametrize("how", ["snapshot", "new"])
def test_a_bad_snapshot_is_named(case: tuple[Any, Any, str, str, int | None], how: str) -> None:
    bids, asks, code, field, row = case

    def step(book: ac.Book) -> None:
        if how == "new":
            ac.Book(BTC, bids, asks)
        else:
            book.snapshot(bids, asks, 5)

    error = refused(made(7), code, step)
    assert error.field.split(" ")[0] == field
    assert error.row == row
    assert f"(row {row})" in str(error) or row is None


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"bids": [("64001", "1")]}, "crossed_book"),
        ({"bids": [("64000", "1"), ("64000.5", 0)], "asks": [("63999", "1")]}, "crossed_book"),
        ({"asks": [("64003", "1"), ("64004", "-1")]}, "out_of_range"),
        ({"asks": [("64003", "1"), ("64003.01", "1")]}, "off_grid"),
        ({"asks": [("64003", "1"), (64004.5, "1")]}, "float_given"),
        ({"asks": [("64003", "1"), ("64004", "1e15")]}, "overflow"),
        ({"asks": [("64003", "1")], "previous": 6}, "sequence_gap"),
        ({"asks": [("64003", "1")], "previous": None}, "sequence_gap"),
        ({"asks": [("64003", "1")], "sequence": 7}, "sequence_gap"),
        ({"asks": [("64003", "1")], "sequence": None}, "sequence_gap"),
    ],
)
def test_a_bad_delta_changes_nothing(message: dict[str, Any], code: str) -> None:
    refused(made(7), code, lambda b: b.delta(**{"sequence": 8, "previous": 7} | message))


def test_deltas_follow_snapshots() -> None:
    refused(ac.Book(BTC), "no_snapshot", lambda b: b.delta(bids=BIDS))
    refused(made(), "sequence_gap", lambda b: b.delta(sequence=1, previous=None))
    book = made(7)
    book.delta([("64000", "2"), ("64000.5", 0), ("64000", "1")], sequence=9, previous=7)
    assert book.depth() == {
        "bids": [(64000, 1), (63999, 3)],
        "asks": [(Decimal(p), Decimal(q)) for p, q in ASKS],
    }
    assert book.sequence == 9
    assert (book.best_bid, book.best_ask) == (Decimal(64000), Decimal(64001))
    assert book.mid == Decimal("64000.5")
    book.snapshot([], [])
    found = [book.sequence, book.best_bid, book.mid]
    assert found == [None, None, None]


def test_levels_are_read_from_any_pairs() -> None:
    want = ac.Book(BTC, [("3", "1"), ("2", "4")]).digest
    for bids in (
        [[3, 1], [2, 4]],
        ((Decimal(3), 1), ("2", Decimal("4.000"))),
        iter([("3", "1"), ("2", "4")]),
        np.array([[3, 1], [2, 4]]),
    ):
        assert ac.Book(BTC, bids).digest == want


def test_depth_and_repr() -> None:
    book = made(7)
    assert book.depth(1)["asks"] == [(Decimal(64001), Decimal("0.7"))]
    assert book.depth(0) == {"bids": [], "asks": []}
    assert repr(book) == "<Book of BTC: 2 bids, 2 asks, sequence 7>"
    assert book.instrument == BTC


def test_a_walk_is_a_value() -> None:
    walk = made().walk("buy", "1.5")
    assert walk == made().walk("buy", "1.5")
    assert walk != made().walk("buy", "1.4")
    assert walk != ac.Book(VENUE["ETH"], BIDS, ASKS).walk("buy", "1.5")
    assert walk != "walk"
    assert {walk, copy.deepcopy(walk)} == {walk}
    assert walk.digest == made().walk("buy", "1.5").digest
    kwargs = dict(part.split("=") for part in repr(walk)[:-1].split(", ")[2:])
    again = ac.Walk(BTC, "buy", **{name: int(value) for name, value in kwargs.items()})
    assert again == walk
    with pytest.raises(ac.NumberError, match="cost_quanta"):
        ac.Walk(BTC, "buy", 1, 0, 7, worst_ticks=5, levels=1)
    with pytest.raises(ac.NumberError, match="worst_ticks"):
        ac.Walk(BTC, "buy", 1, 0, 100)
    with pytest.raises(AttributeError):
        walk.levels = 3  # type: ignore[misc]


def test_a_walk_as_a_dict() -> None:
    walk = made().walk("sell", 1)
    found = walk.to_dict()
    assert found.pop("instrument") == "BTC"
    assert found == {name: getattr(walk, name) for name in found}
    assert {"vwap", "fee", "cost_quanta", "mid_half_ticks"} <= found.keys()


def test_a_book_refuses_to_be_pickled() -> None:
    for step in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot pickle 'Book'"):
            step(made())


def test_a_number_that_calls_back_does_not_block() -> None:
    book = made()

    class Calling:
        def __index__(self) -> int:
            return int(book.walk("buy", 1).filled)

    assert book.walk("buy", Calling()).filled == 1


def test_threads_share_a_book() -> None:
    book = made()
    costs = {book.walk("buy", "1.5").cost}
    seen: set[Decimal] = set()

    def reads() -> None:
        seen.update(book.walk("buy", "1.5").cost for _ in range(2000))

    def writes() -> None:
        for n in range(2000):
            book.delta(bids=[("63000", 1 + n % 2)])

    threads = [threading.Thread(target=step) for step in (reads, writes, reads, writes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == costs


# --- many deltas, and what lies near the mid -----------------------------------------------------

TICKS = {"price_ticks": [640000, 639995, 640020], "quantity_lots": [0, 2000, 5000]}
COUNTS = {"bid_counts": [2, 0], "ask_counts": [0, 1]}


def columns(**changed: Any) -> dict[str, Any]:
    named: dict[str, Any] = TICKS | COUNTS | changed
    return {name: np.array(column, dtype=np.int64) for name, column in named.items()}


def test_many_deltas_are_each_as_one() -> None:
    many, one = made(7), made(7)
    assert many.delta_many(**columns(sequence=[9, 12], previous=[7, 9])) == 2
    one.delta([("64000", 0), ("63999.5", "2")], [], 9, 7)
    one.delta([], [("64002", "5")], 12, 9)
    assert (many.digest, many.sequence) == (one.digest, 12)
    assert many.walk("sell", 3) == one.walk("sell", 3)


def test_many_deltas_stop_at_the_one_that_fails() -> None:
    book, want = made(7), made(7)
    want.delta([("64000", 0), ("63999.5", "2")], [], 9, 7)
    for changed, code in (
        ({"sequence": [9, 12], "previous": [7, 8]}, "sequence_gap"),
        ({"sequence": [9, 9], "previous": [7, 9]}, "sequence_gap"),
        ({"sequence": [9, -1], "previous": [7, 9]}, "out_of_range"),
    ):
        with pytest.raises(ac.AivoraError) as caught:
            book.delta_many(**columns(**changed))
        assert (caught.value.code, caught.value.row) == (code, 1)
        assert book.digest == want.digest
        book = made(7)
    bare = made()
    for price, lots, code, name in (
        (640005, 1, "crossed_book", "book"),
        (0, 1, "out_of_range", "asks[0].price"),
        (640020, -1, "out_of_range", "asks[0].quantity"),
    ):
        with pytest.raises(ac.AivoraError) as caught:
            bare.delta_many(
                **columns(price_ticks=[640000, 639995, price], quantity_lots=[0, 2000, lots])
            )
        assert (caught.value.code, caught.value.row, caught.value.field) == (code, 1, name)
        bare = made()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"sequence": np.array([9, 12])}, "length_mismatch"),
        ({"previous": np.array([9, 12])}, "length_mismatch"),
        ({"ask_counts": np.array([0])}, "length_mismatch"),
        ({"ask_counts": np.array([0, 2])}, "length_mismatch"),
        ({"ask_counts": np.array([0, -1])}, "out_of_range"),
        ({"quantity_lots": np.array([0, 2000])}, "length_mismatch"),
        ({"quantity_lots": np.array([0, 2000, 5.0])}, "float_given"),
        ({"price_ticks": [640000, 639995, 640020]}, "bad_column"),
        ({"price_ticks": np.array([[640000, 639995, 640020]])}, "bad_column"),
        ({"price_ticks": np.array([640000, 639995, 640020], dtype=np.int32)}, "bad_column"),
    ],
)
def test_columns_of_deltas_that_do_not_fit_change_nothing(changed: Any, code: str) -> None:
    refused(made(), code, lambda book: book.delta_many(**(columns() | changed)))


def test_many_deltas_need_a_snapshot() -> None:
    refused(ac.Book(BTC), "no_snapshot", lambda book: book.delta_many(**columns()))


def test_quantity_within_counts_levels_by_distance() -> None:
    book = ac.Book(BTC, [("9999", "1"), ("9998", "2")], [("10001", "4"), ("10002", "8")])
    for bps, bids, asks in ((0, 0, 0), ("0.99", 0, 0), (1, 1, 4), (Decimal("2.0"), 3, 12)):
        assert book.quantity_within("sell", bps) == bids
        assert book.quantity_within("buy", bps) == asks
    wrong: list[Any] = [(-1, "out_of_range"), (1.0, "float_given"), ("x", "not_a_number")]
    for far, code in wrong:
        refused(book, code, lambda b, far=far: b.quantity_within("buy", far))
    refused(ac.Book(BTC, [("1", "1")]), "no_mid", lambda b: b.quantity_within("buy", 1))


# --- contracts whose cost is rounded ----------------------------------------------------------

COIN_CARD = """schema = "aivora-card/0"
name = "coin"
[asset.BTC]
quantum = "0.00000001"
[rules]
settlement = "BTC"
taker_fee = "0.0005"
[[instrument]]
symbol = "USD100"
kind = "inverse"
price_tick = "0.1"
mark_tick = "0.01"
lot = "1"
multiplier = "100"
[instrument.tiers]
by = "size"
brackets = [{ floor = "0", maintenance = "0.005", initial = "0.01" }]
[[instrument]]
symbol = "XBT"
kind = "inverse"
value_rounding = "per_contract"
price_tick = "0.5"
mark_tick = "0.01"
lot = "100"
[instrument.tiers]
by = "size"
brackets = [{ floor = "0", maintenance = "0.005", initial = "0.01" }]
"""
COIN = ac.Venue.from_toml(COIN_CARD)
COIN_BIDS = [("63999.9", 3), ("63990", 50)]
COIN_ASKS = [("64000.1", 2), ("64100", 50)]


def coin_book(symbol: str = "USD100") -> ac.Book:
    return ac.Book(COIN[symbol], COIN_BIDS, COIN_ASKS)


def test_an_inverse_walk_is_rounded_by_level_against_the_taker() -> None:
    buy, sell = coin_book().walk("buy", 5), coin_book().walk("sell", 5)
    # 2 x 10^10 / 64000.1 = 312499.51 and 3 x 10^10 / 64100 = 468018.72, both down
    assert buy.cost_quanta == 312_499 + 468_018
    # 3 x 10^10 / 63999.9 = 468750.73 and 2 x 10^10 / 63990 = 312548.83, both up
    assert sell.cost_quanta == 468_751 + 312_549
    assert (buy.cost, buy.fee) == (Decimal("0.00780517"), Decimal("0.00000391"))  # 390.26, up
    assert buy.vwap_exact == Fraction(500 * 10**8, 780_517)
    assert sell.vwap_exact == Fraction(500 * 10**8, 781_300)
    assert (buy.vwap, sell.vwap) == (
        Decimal("64060.103751744037"),  # 64060.103751744036...
        Decimal("63995.904262127223"),  # 63995.904262127223...
    )
    assert buy.slippage_bps_exact == (buy.vwap_exact - 64_000) / 64_000 * 10_000
    assert sell.slippage_bps_exact == (64_000 - sell.vwap_exact) / 64_000 * 10_000
    assert (buy.worst, buy.levels, buy.unfilled) == (Decimal(64100), 2, 0)


def test_a_walk_by_contract_costs_what_each_contract_does() -> None:
    book = ac.Book(COIN["XBT"], [("67268", 500)], [("67268.5", 300), ("67300", 900)])
    # 10^8 / 67268 = 1486.59 and 10^8 / 67268.5 = 1486.58, to 1487; 10^8 / 67300 = 1485.88, to 1486
    assert book.walk("sell", 500).cost_quanta == 500 * 1487
    buy = book.walk("buy", 500)
    assert buy.cost_quanta == 300 * 1487 + 200 * 1486
    assert buy.vwap_exact == Fraction(500 * 10**8, buy.cost_quanta)
    # By this rounding the average is better than the best ask: the venue's rule, not a mistake.
    assert buy.slippage_bps_exact is not None
    assert buy.slippage_bps_exact < 0
    assert book.max_quantity("buy", cost=buy.cost) == 500
    assert book.max_quantity("buy", cost=buy.cost - Decimal("0.00000001")) == 400


@pytest.mark.parametrize("symbol", ["USD100", "XBT"])
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_rounded_walks_are_values(symbol: str, side: Literal["buy", "sell"]) -> None:
    book = ac.Book(COIN[symbol], [("64000", 300), ("63000", 500)], [("65000", 100), ("65001", 400)])
    walk = book.walk(side, 400)
    again = pickle.loads(pickle.dumps(walk))
    assert (again, again.digest, hash(again)) == (walk, walk.digest, hash(walk))
    assert again.to_dict() == walk.to_dict()
    assert walk.digest != book.walk(side, 300).digest
    many: Any = book.walk_many(
        side, np.array([0, 400 // int(walk.instrument.lot), 10**6]), fee=True
    )
    assert many["cost_quanta"][1] == walk.cost_quanta
    assert many["fee_quanta"][1] == walk.fee_quanta
    assert many["cost_quanta"][2] == book.walk(side, 10**8).cost_quanta
    both: Any = ac.walk_many([book, made()], side, np.array([3, 1500]), fee=True)
    three = 3 * walk.instrument.lot
    assert both["cost_quanta"].tolist() == [
        book.walk(side, three).cost_quanta,
        made().walk(side, "1.5").cost_quanta,
    ]
    found = {"worst_ticks": walk.worst_ticks, "levels": 2, "mid_half_ticks": walk.mid_half_ticks}
    wrong = walk.cost_quanta * 2 if side == "sell" else walk.cost_quanta // 2
    with pytest.raises(ac.NumberError, match="cost_quanta"):
        ac.Walk(walk.instrument, side, walk.filled_lots, 0, wrong, **found)
    # A change near the touch sums only what is behind it.
    book.delta(bids=[("64000", 200)], asks=[("65000", 0), ("65000.5", 100)])
    fresh = ac.Book(
        COIN[symbol], [("64000", 200), ("63000", 500)], [("65000.5", 100), ("65001", 400)]
    )
    assert book.digest == fresh.digest
    assert book.walk(side, 400) == fresh.walk(side, 400)


def test_what_an_inverse_fill_is_worth_has_not_gained() -> None:
    book, prices = coin_book(), ac.Prices(COIN, mark={"USD100": "64000.1"})
    for side, sign, asks in (("buy", 1, COIN_ASKS), ("sell", -1, [("64000.2", 1)])):
        bids = COIN_BIDS if side == "buy" else [("64000.1", 2)]
        book = ac.Book(COIN["USD100"], bids, asks)
        for lots in (1, 2):
            walk = book.walk(side, lots)
            cost = -sign * walk.cost
            row = {"account": "a", "instrument": "USD100", "quantity": sign * lots, "cost": cost}
            pf = ac.Portfolio.from_tables(COIN, positions=[row])
            assert pf.check(prices).row("a")["equity"] in {0, -1}


def test_inverse_questions_of_rounded_books() -> None:
    book = coin_book()
    n = book.max_quantity("buy", cost="0.005")
    assert book.walk("buy", n).cost_quanta <= 500_000 < book.walk("buy", n + 1).cost_quanta
    assert book.walk_notional("sell", "0.00468751").filled == 3
    assert book.walk_notional("sell", "0.0046875").filled == 2
    # The best ask is 0.1 of 64,000 away, 0.015625 basis points, and costs a part of a quantum.
    assert book.walk("buy", 1).slippage_bps_exact > Fraction("0.015625")  # type: ignore[operator]
    assert book.max_quantity("buy", slippage_bps="0.015625") == 0
    assert book.max_quantity("buy", slippage_bps="0.04") == 2
    for side in ("buy", "sell"):
        for bps in ("0", "0.02", "0.05", "1", "10.5", "15"):
            lots = book.max_quantity(side, slippage_bps=bps)
            fits = [
                n
                for n in range(1, 54)
                if (walk := book.walk(side, n)).unfilled == 0
                and walk.slippage_bps_exact is not None
                and walk.slippage_bps_exact <= Fraction(bps)
            ]
            assert lots == max(fits, default=0)

"""Packed books: each row is what its book alone answers, and what a sum over its levels says."""

from __future__ import annotations

import threading
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aivora_core as ac

VENUE = ac.Venue.load("demo")
BTC, ETH = VENUE["BTC"], VENUE["ETH"]
UNIT = 100  # 0.1 x 0.001 in millionths: quanta per price tick and lot of BTC
NAMES = ["filled_lots", "cost_quanta", "worst_ticks", "levels"]

Side = Literal["buy", "sell"]
Levels = list[tuple[int, int]]


def columns(sides: list[Levels]) -> Any:
    """Columns of one side of many books."""
    flat = [level for side in sides for level in side]
    return {
        "offsets": np.cumsum([0, *map(len, sides)], dtype=np.int64),
        "price_ticks": np.array([price for price, _ in flat], dtype=np.int64),
        "quantity_lots": np.array([lots for _, lots in flat], dtype=np.int64),
    }


def oracle(levels: Levels, asked: int, unit: int = UNIT) -> tuple[int, int, int, int]:
    """Filled, cost, worst and levels, as the specification defines them: level by level."""
    left, cost, worst, touched = asked, 0, 0, 0
    for price, lots in levels:
        taken = min(left, lots)
        if taken:
            cost, worst, touched = cost + price * taken * unit, price, touched + 1
        left -= taken
    return asked - left, cost, worst, touched


def rows(found: Any) -> list[tuple[int, ...]]:
    return list(zip(*(map(int, found[name]) for name in NAMES), strict=True))


def one_side(toward: int, most: int) -> st.SearchStrategy[Levels]:
    """Levels from the best on: asks with `toward` 1 above, bids with -1 below a price between."""

    def made(steps: Levels) -> Levels:
        price, levels = 10**9, []
        for gap, lots in steps:
            price += toward * gap
            levels.append((price, lots))
        return levels

    gap = st.one_of(st.integers(1, 5), st.integers(1, 10**7))
    return st.lists(st.tuples(gap, st.integers(1, most)), max_size=30).map(made)


# Lots of 32 bits and more, costs of 64 bits and more: every width a column can have.
WIDTHS = [50, 2**32 + 5, 10**16]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), most=st.sampled_from(WIDTHS), threads=st.integers(1, 3))
def test_rows_are_the_walks_of_each_book(data: st.DataObject, most: int, threads: int) -> None:
    pair = st.tuples(one_side(-1, most), one_side(1, most))
    pairs = data.draw(st.lists(pair, min_size=1, max_size=12))
    bids, asks = [bid for bid, _ in pairs], [ask for _, ask in pairs]
    books = ac.Books.from_columns(BTC, bids=columns(bids), asks=columns(asks))
    assert len(books) == len(pairs)
    assert books.depths()["asks"].tolist() == [len(side) for side in asks]
    for side, taken in (("buy", asks), ("sell", bids)):
        asked = []
        for levels in taken:
            sums = np.cumsum([0, *(lots for _, lots in levels)], dtype=object)
            near = st.sampled_from(sums.tolist()).flatmap(
                lambda n: st.integers(max(n - 2, 0), n + 2)
            )
            asked.append(data.draw(near))
        found = books.walk(side, np.array(asked), threads, fee=True)
        want = [oracle(levels, lots) for levels, lots in zip(taken, asked, strict=True)]
        assert rows(found) == want
        for row, lots in enumerate(asked):
            walk = books[row].walk(side, lots * BTC.lot)
            assert (walk.filled_lots, walk.cost_quanta, walk.levels) == (
                want[row][0],
                want[row][1],
                want[row][3],
            )
            assert found["fee_quanta"][row] == walk.fee_quanta == -(-walk.cost_quanta // 2000)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), levels=one_side(1, 10**6), most=st.sampled_from([1, 10**3, 10**11]))
def test_one_book_for_many_sizes(data: st.DataObject, levels: Levels, most: int) -> None:
    levels = [(price, lots * most) for price, lots in levels]
    book = ac.Books.from_columns(BTC, asks=columns([levels]))[0]
    total = sum(lots for _, lots in levels)
    sums = np.cumsum([0, *(lots for _, lots in levels)], dtype=object).tolist()
    near = st.sampled_from(sums).flatmap(lambda n: st.integers(max(n - 2, 0), n + 2))
    size = st.one_of(near, st.integers(0, total + 5))
    asked = data.draw(st.lists(size, max_size=60))
    found = book.walk_many("buy", np.array(asked, dtype=np.int64))
    assert rows(found) == [oracle(levels, lots) for lots in asked]
    limit = data.draw(st.integers(10**9 - 1, 10**9 + 10**8))
    within = [(price, lots) for price, lots in levels if price <= limit]
    found = book.walk_many("buy", np.array(asked, dtype=np.int64), limit * BTC.price_tick)
    assert rows(found) == [oracle(within, lots) for lots in asked]


def test_a_deep_book_whose_levels_differ_much() -> None:
    # Half of all lots in one level, and a thousand levels of one lot at either end of it.
    lots = [1] * 1000 + [10**11] + [1] * 1000
    levels = [(640_000 + n, q) for n, q in enumerate(lots)]
    book = ac.Books.from_columns(BTC, asks=columns([levels]))[0]
    near = [0, 1, 2, 999, 1000, 1001, 1002, 10**10, 10**11 + 999, 10**11 + 1000, 10**11 + 1001]
    asked = np.array([*near, 10**11 + 1999, 10**11 + 2000, 10**11 + 2001, 10**18] * 40)
    found = book.walk_many("buy", asked)
    assert found["cost_quanta"].dtype == np.int64
    assert rows(found) == [oracle(levels, n) for n in asked.tolist()]


def test_books_of_several_instruments() -> None:
    made = [
        ac.Book(BTC, [("63999", "2")], [("64001", "0.7"), ("64002.5", "2")]),
        ac.Book(ETH, asks=[("3000", "5")]),
        ac.Book(VENUE["BTC"]),
    ]
    books = ac.Books([*made, made[0]])
    asked = np.array([1500, 1000, 5, 1])
    assert books.walk("buy", asked)["cost_quanta"].tolist() == [
        96_002_700_000,
        3_000_000_000,
        0,
        64_001_000,
    ]
    want = ac.walk_many([*made, made[0]], "buy", asked, fee=True)
    found = books.walk("buy", asked, fee=True)
    for name in [*NAMES, "fee_quanta"]:
        np.testing.assert_array_equal(found[name], want[name])
    assert [books[n].digest for n in range(2)] != [books[n + 1].digest for n in range(2)]
    assert books[0].depth() == books[-1].depth() == made[0].depth()
    assert (books[1].instrument, books[-1].instrument) == (ETH, BTC)
    assert repr(books).startswith("<Books: 4 of ")
    with pytest.raises(IndexError):
        books[4]


def test_fees_that_are_not_known() -> None:
    unknown = ac.Venue.load("hyperliquid")["BTC"]
    asks = columns([[(640_000, 5)]])
    books = ac.Books.from_columns(unknown, asks=asks)
    assert books.walk("buy", 1, fee=True)["fee_quanta"] is None
    assert "fee_quanta" not in books.walk("buy", 1)
    two = ac.Books([books[0], ac.Book(BTC, asks=[("1", "1")])])
    assert two.walk("buy", 1, fee=True)["fee_quanta"].tolist() == [-1, 1]


def test_columns_wider_than_64_bits_are_lists_of_int() -> None:
    levels = [(9 * 10**13, 10**17)]
    books = ac.Books.from_columns(BTC, asks=columns([levels, [(1, 1)]]))
    assert books.walk("buy", 10**17)["cost_quanta"] == [9 * 10**32, UNIT]
    assert books.walk("buy", 1)["cost_quanta"].tolist() == [9 * 10**15, UNIT]


GOOD: list[Levels] = [[(640_010, 700), (640_025, 2_000)], [(640_011, 50)]]


def refused(code: str, step: Any) -> ac.AivoraError:
    with pytest.raises(ac.AivoraError) as caught:
        step()
    assert caught.value.code == code, caught.value
    return caught.value


@pytest.mark.parametrize(
    ("level", "code", "field"),
    [
        ((640_010, 5), "unsorted_book", "asks[1].price"),
        ((640_025, 0), "out_of_range", "asks[1].quantity"),
        ((640_025, -1), "out_of_range", "asks[1].quantity"),
        ((640_025, 10**18 + 1), "out_of_range", "asks[1].quantity"),
        ((0, 5), "bad_price", "asks[1].price"),
        ((-5, 5), "bad_price", "asks[1].price"),
        ((10**17 + 1, 5), "out_of_range", "asks[1].price"),
        ((640_025, 10**18), "overflow", "asks"),
    ],
)
def test_a_bad_level_is_named(level: tuple[int, int], code: str, field: str) -> None:
    sides = [GOOD[1], [GOOD[0][0], level]]
    error = refused(code, lambda: ac.Books.from_columns(BTC, asks=columns(sides)))
    assert (error.row, error.field) == (1, field)


def test_bad_columns_are_named() -> None:
    def asks(**changed: Any) -> Any:
        return lambda: ac.Books.from_columns(BTC, asks=columns(GOOD) | changed)

    for offsets, row in [([1, 2, 3], 0), ([0, 2, 1], 2), ([0, 2, 4], 2), ([0, 4, 3], 2)]:
        error = refused("out_of_range", asks(offsets=np.array(offsets)))
        assert (error.row, error.field) == (row, "asks.offsets")
    empty = np.array([], dtype=np.int64)
    refused("length_mismatch", asks(offsets=empty))
    refused("length_mismatch", asks(quantity_lots=np.array([1])))
    refused("bad_column", asks(price_ticks=[1, 2, 3]))
    refused("float_given", asks(price_ticks=np.array([1.0, 2.0, 3.0])))
    refused("bad_column", asks(prices=empty))
    for bid in (640_011, 640_012):
        bids = columns([[], [(bid, 1)]])
        error = refused("crossed_book", lambda b=bids: ac.Books.from_columns(BTC, b, columns(GOOD)))
        assert error.row == 1
    refused("length_mismatch", lambda: ac.Books.from_columns(BTC, columns([[]]), columns(GOOD)))
    refused("length_mismatch", lambda: ac.Books.from_columns([BTC] * 3, asks=columns(GOOD)))


def test_bad_quantities_are_named() -> None:
    books = ac.Books.from_columns(BTC, asks=columns(GOOD))
    for asked, row in [([1, -1], 1), ([10**18 + 1, 1], 0)]:
        error = refused("out_of_range", lambda a=asked: books.walk("buy", np.array(a)))
        assert (error.row, error.field) == (row, "quantity_lots")
    refused("out_of_range", lambda: books.walk("buy", 10**30))
    refused("out_of_range", lambda: books.walk("buy", -1))
    refused("length_mismatch", lambda: books.walk("buy", np.array([1])))
    refused("float_given", lambda: books.walk("buy", np.array([1.0, 2.0])))
    for threads in (0, -1, 257):
        error = refused("out_of_range", lambda n=threads: books.walk("buy", 1, n))
        assert error.field == "threads"
    refused("out_of_range", lambda: books.walk("hold", 1))


def test_only_linear_contracts_are_packed() -> None:
    venue = ac.Venue.from_toml("""
schema = "aivora-card/0"
name = "coin"
[asset.BTC]
quantum = "0.00000001"
[rules]
settlement = "BTC"
[[instrument]]
symbol = "BTCUSD"
kind = "inverse"
price_tick = "0.5"
mark_tick = "0.01"
lot = "1"
[instrument.tiers]
by = "notional"
brackets = [{ floor = "0", maintenance = "0.005", max_leverage = "100" }]
""")
    inverse = venue["BTCUSD"]
    error = refused("bad_column", lambda: ac.Books.from_columns([BTC, inverse], asks=columns(GOOD)))
    assert (error.field, error.row, error.value) == ("instrument", 1, "BTCUSD, inverse")


def test_replacing_in_place() -> None:
    books = ac.Books.from_columns(BTC, asks=columns(GOOD))
    thin = ac.Book(BTC, asks=[("64005", "0.1")])
    books.replace(0, thin)
    assert rows(books.walk("buy", 120)) == [oracle([(640_050, 100)], 120), oracle(GOOD[1], 120)]
    assert books.depths()["asks"].tolist() == [1, 1]
    books.replace(0, ac.Book(BTC, asks=[("64000", "0.1"), ("64001", "3")]))  # there is room again
    want = [oracle([(640_000, 100), (640_010, 3_000)], 2_000), oracle(GOOD[1], 2_000)]
    assert rows(books.walk("buy", 2_000)) == want
    error = refused("limit_exceeded", lambda: books.replace(1, books[0]))
    assert (error.row, error.field, error.value) == (1, "asks", "2 levels")
    refused("limit_exceeded", lambda: books.replace(0, ac.Book(BTC, bids=[("1", "1")])))
    refused("bad_column", lambda: books.replace(0, ac.Book(ETH, asks=[("64005", "0.1")])))
    with pytest.raises(IndexError):
        books.replace(2, thin)
    assert rows(books.walk("buy", 2_000)) == want
    books.replace(-1, ac.Book(BTC))
    assert rows(books.walk("buy", 2_000)) == [want[0], (0, 0, 0, 0)]
    # A level past 32 bits widens the columns: the other rows stay what they were.
    books.replace(1, ac.Book(BTC, asks=[("9000000000000", "100000000000000")]))
    assert rows(books.walk("buy", 10**17))[1] == (10**17, 9 * 10**32, 9 * 10**13, 1)
    assert rows(books.walk("buy", 2_000))[0] == want[0]


def test_walks_while_rows_are_replaced() -> None:
    books = ac.Books.from_columns(BTC, asks=columns([GOOD[0]] * 20_000))
    other: Levels = [(640_000, 100), (640_010, 3_000)]
    book = ac.Books.from_columns(BTC, asks=columns([other]))[0]
    allowed = {oracle(GOOD[0], 900), oracle(other, 900)}
    seen: set[Any] = set()

    def walk() -> None:
        for _ in range(20):
            seen.update(rows(books.walk("buy", 900, threads=2)))

    walkers = [threading.Thread(target=walk) for _ in range(2)]
    for walker in walkers:
        walker.start()
    for row in range(200):
        books.replace(row, book)
    for walker in walkers:
        walker.join()
    assert seen <= allowed
    assert rows(books.walk("buy", 900))[0] == oracle(other, 900)

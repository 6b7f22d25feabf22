"""Walks from Python: single calls against an empty call and a peer, columns against baselines.

Quantities are log-uniform from one lot to the whole side, so that most queries end near the
top, as orders do, and some sweep the book. In columns they are uniform over the side, so that
every level is as likely as another to be the last. The same quantities go to all.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import aivora_core as ac
from aivora_core import _core
from baselines import walk as baselines
from population import SEED

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

LEVELS = 1_000
QUERIES = 2_000
ROUNDS = 15
BAR_EMPTY = 5
BAR_PEER = 3
SIZES = 1_000_000
BOOKS = 100_000
DEPTH = 50
UNIT = 100  # quanta per price tick and lot of the card below
PLAIN = 20_000  # rows of the baselines in plain Python

CARD = """
schema = "aivora-card/0"
name = "bench"
[asset.USD]
quantum = "0.000001"
[rules]
settlement = "USD"
taker_fee = "0.0005"
[[instrument]]
symbol = "BTC"
kind = "linear"
price_tick = "0.1"
mark_tick = "0.1"
lot = "0.001"
[instrument.tiers]
by = "notional"
brackets = [{ floor = "0", maintenance = "0.005", max_leverage = "100" }]
"""


def decimal(whole: int, digits: int) -> str:
    """Write `whole` units of the last digit as a decimal."""
    text = f"{whole:0{digits + 1}d}"
    return f"{text[:-digits]}.{text[-digits:]}"


class Sides:
    """A book's levels as exact text, and the quantities asked of it."""

    def __init__(self) -> None:
        rng = np.random.default_rng(SEED)
        steps = rng.integers(1, 4, (2, LEVELS)).cumsum(axis=1)
        lots = rng.integers(1, 5_000, (2, LEVELS))
        self.bids = self.text((640_000 - steps[0]).tolist(), lots[0].tolist())
        self.asks = self.text((640_000 + steps[1]).tolist(), lots[1].tolist())
        most = np.log(lots.sum(axis=1).min())
        asked = np.exp(rng.uniform(0, most, QUERIES)).astype(np.int64).tolist()
        self.quantities = [decimal(lots_asked, 3) for lots_asked in asked]

    @staticmethod
    def text(prices: list[int], lots: list[int]) -> list[tuple[str, str]]:
        """Pairs of price and quantity."""
        return [(decimal(p, 1), decimal(q, 3)) for p, q in zip(prices, lots, strict=True)]


@pytest.fixture(scope="module")
def sides() -> Sides:
    return Sides()


@pytest.fixture(scope="module")
def book(sides: Sides) -> ac.Book:
    return ac.Book(ac.Venue.from_toml(CARD)["BTC"], bids=sides.bids, asks=sides.asks)


def each(call: Callable[..., object], first: object, others: list[Any]) -> Callable[[], None]:
    """One run of all queries, with as little Python around the call as there can be."""

    def run() -> None:
        for _ in map(call, itertools.repeat(first), others):
            pass

    return run


def test_walk_against_an_empty_call(
    sides: Sides,
    book: ac.Book,
    benchmark: BenchmarkFixture,
    interleaved: Callable[..., dict[str, float]],
    record: Callable[..., None],
) -> None:
    walk = each(book.walk, "buy", sides.quantities)
    empty = each(_core._empty, "buy", sides.quantities)
    seconds = interleaved({"walk": walk, "empty": empty}, ROUNDS)
    cost = seconds["walk"] / seconds["empty"]
    record("book.walk, 1,000 levels", "empty call", cost, at_most=BAR_EMPTY)
    benchmark.extra_info["ratio"] = cost
    benchmark.pedantic(walk, rounds=ROUNDS)


def peer_book(sides: Sides) -> Any:
    """Build the same book in nautilus_trader."""
    from nautilus_trader.model.book import OrderBook
    from nautilus_trader.model.data import BookOrder
    from nautilus_trader.model.enums import BookType, OrderSide
    from nautilus_trader.model.identifiers import InstrumentId
    from nautilus_trader.model.objects import Price, Quantity

    peer = OrderBook(InstrumentId.from_str("BTC-PERP.SIM"), BookType.L2_MBP)
    for side, levels in ((OrderSide.BUY, sides.bids), (OrderSide.SELL, sides.asks)):
        for number, (price, quantity) in enumerate(levels):
            order = BookOrder(side, Price.from_str(price), Quantity.from_str(quantity), number)
            peer.add(order, 0)
    return peer


def test_walk_against_nautilus_trader(
    sides: Sides,
    book: ac.Book,
    interleaved: Callable[..., dict[str, float]],
    record: Callable[..., None],
) -> None:
    nautilus = pytest.importorskip("nautilus_trader", reason="nautilus_trader is not installed")
    from nautilus_trader.model.enums import OrderSide
    from nautilus_trader.model.objects import Quantity

    peer = peer_book(sides)
    for text in sides.quantities[:200]:
        theirs = peer.get_avg_px_for_quantity(Quantity.from_str(text), OrderSide.BUY)
        ours = book.walk("buy", text).vwap
        assert ours is not None
        assert float(ours) == pytest.approx(theirs, rel=1e-9)

    depth = [book.walk("buy", text).levels for text in sides.quantities]
    cuts = {
        "all": range(QUERIES),
        "first level": [n for n in range(QUERIES) if depth[n] == 1],
        "past 100 levels": [n for n in range(QUERIES) if depth[n] > 100],
    }
    against = f"nautilus_trader {nautilus.__version__}"
    for name, rows in cuts.items():
        texts = [sides.quantities[n] for n in rows]
        # Their quantities are built beforehand; ours are read from text in the call.
        built = [Quantity.from_str(text) for text in texts]

        def theirs_all(built: list[Any] = built) -> None:
            for quantity in built:
                peer.get_avg_px_for_quantity(quantity, OrderSide.BUY)

        def ours_all(texts: list[str] = texts) -> None:
            for text in texts:
                book.walk("buy", text)

        seconds = interleaved({"ours": ours_all, "theirs": theirs_all}, ROUNDS)
        bar = BAR_PEER if name == "all" else None
        record(f"book.walk, {name}", against, seconds["theirs"] / seconds["ours"], at_least=bar)


def sides_of(books: int, depth: int) -> dict[str, Any]:
    """Asks of many books, as columns."""
    rng = np.random.default_rng(SEED)
    prices = 640_000 + rng.integers(1, 4, (books, depth)).cumsum(axis=1)
    lots = rng.integers(1, 5_000, (books, depth))
    offsets = np.arange(books + 1, dtype=np.int64) * depth
    return {"offsets": offsets, "price_ticks": prices.ravel(), "quantity_lots": lots.ravel()}


def same(ours: Any, theirs: Any) -> None:
    """Require equal columns; a baseline in plain Python may answer the first rows only."""
    if isinstance(theirs, list):
        theirs = [np.array(column) for column in zip(*theirs, strict=True)]
    for name, column in zip(baselines.NAMES, theirs, strict=True):
        np.testing.assert_array_equal(ours[name][: len(column)], column, err_msg=name)


@pytest.mark.parametrize("spread", ["uniform", "as orders"])
def test_one_book_many_sizes(
    spread: str,
    interleaved: Callable[..., dict[str, float]],
    record: Callable[..., None],
) -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    asks = sides_of(1, LEVELS)
    book = ac.Books.from_columns(ac.Venue.from_toml(CARD)["BTC"], asks=asks)[0]  # type: ignore[arg-type]
    offsets, prices, lots = asks.values()
    rng = np.random.default_rng(SEED + 1)
    most = int(lots.sum())
    if spread == "uniform":
        asked = rng.integers(0, most + most // 50, SIZES)  # some are more than there is
    else:
        asked = np.exp(rng.uniform(0, np.log(most), SIZES)).astype(np.int64)
    columns = prices.tolist(), lots.tolist()
    few = asked[:PLAIN].tolist()
    by_bisect = baselines.python_bisect(*columns, UNIT)
    by_numpy = baselines.numpy_sums(prices, lots, UNIT)
    by_numba = baselines.numba_sums(prices, lots, UNIT)
    level_by_level = baselines.numba_linear(offsets, prices, lots, UNIT)
    bars = {"numba, sums": 1, "numpy, sums": 2, "Python, bisect": 15}
    calls: dict[str, Callable[[], Any]] = {
        "ours": lambda: book.walk_many("buy", asked),
        "numba, sums": lambda: by_numba(asked),
        "numba, linear": lambda: level_by_level(asked),
        "numpy, sums": lambda: by_numpy(asked),
        "Python, bisect": lambda: by_bisect(few),
        "Python, linear": lambda: [baselines.linear(*columns, UNIT, n) for n in few[:500]],
    }
    rows = {"Python, bisect": PLAIN, "Python, linear": 500}
    ours = calls["ours"]()
    for name, call in calls.items():
        if name != "ours":
            same(ours, call())
    seconds = interleaved(calls, 7)
    each = {name: taken / rows.get(name, SIZES) for name, taken in seconds.items()}
    for name in [name for name in calls if name != "ours"]:
        bar = bars.get(name) if spread == "uniform" else None
        what = f"walk_many, {LEVELS:,} levels, {SIZES:,} sizes {spread}"
        record(what, name, each[name] / each["ours"], at_least=bar)


def test_many_books_one_size_each(
    interleaved: Callable[..., dict[str, float]],
    record: Callable[..., None],
) -> None:
    pytest.importorskip("numba", reason="numba is not installed")
    asks = sides_of(BOOKS, DEPTH)
    books = ac.Books.from_columns(ac.Venue.from_toml(CARD)["BTC"], asks=asks)  # type: ignore[arg-type]
    offsets, prices, lots = asks.values()
    totals = lots.reshape(BOOKS, DEPTH).sum(axis=1)
    asked = np.random.default_rng(SEED + 1).integers(0, totals + totals // 50)
    by_numpy = baselines.numpy_books(offsets, prices, lots, UNIT)
    by_numba = baselines.numba_linear(offsets, prices, lots, UNIT)
    tables = (
        prices.reshape(BOOKS, DEPTH)[:PLAIN].tolist(),
        lots.reshape(BOOKS, DEPTH)[:PLAIN].tolist(),
    )
    few = asked[:PLAIN].tolist()
    calls: dict[str, Callable[[], Any]] = {
        "ours": lambda: books.walk("buy", asked),
        "ours, 2 threads": lambda: books.walk("buy", asked, threads=2),
        "numba, linear": lambda: by_numba(asked),
        "numpy": lambda: by_numpy(asked),
        "Python, linear": lambda: [
            baselines.linear(p, q, UNIT, n) for p, q, n in zip(*tables, few, strict=True)
        ],
    }
    ours = calls["ours"]()
    same(ours, tuple(calls["ours, 2 threads"]()[name] for name in baselines.NAMES))
    for name in ("numba, linear", "numpy", "Python, linear"):
        same(ours, calls[name]())
    seconds = interleaved(calls, 9)
    what = f"Books.walk, {BOOKS:,} books of {DEPTH} levels"
    each = {name: taken / BOOKS for name, taken in seconds.items()}
    each["Python, linear"] = seconds["Python, linear"] / PLAIN
    bars = {"numba, linear": 1.3, "numpy": 15}
    for name in [name for name in calls if name != "ours"]:
        record(what, name, each[name] / each["ours"], at_least=bars.get(name))

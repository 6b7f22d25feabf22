"""Replay of a recorded feed into its book: level updates of Binance USD-M, JSON not counted.

Every side has the messages parsed beforehand, in the form it likes best, keeps the message
boundaries, and is checked to end with the same book (the peers: with the same best bid and ask).
What differs is said at each.
"""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import aivora_core as ac
from aivora_core.adapters.feeds import inferred
from baselines.feed import FeedBook

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

ROUNDS = 9
BAR = 20
ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("AIVORA_DATA", ROOT.parent / "shared" / "data"))
RECORDING = DATA / "l2" / "binance_usdm_btcusdt_20240808.gz"
TICK, LOT = "0.1", "0.001"
JOB = "replay of 443,262 level updates"

Pairs = list[tuple[int, int]]


def whole(text: str, decimals: int) -> int:
    """Whole ticks or lots of a price or a quantity as text."""
    units, _, part = text.partition(".")
    assert not part[decimals:].strip("0")
    return int(units + part[:decimals].ljust(decimals, "0"))


@dataclass
class Recording:
    """The snapshot and the deltas behind it, in the forms that the books ask for."""

    snapshot: tuple[list[Any], list[Any], int]
    text: list[tuple[list[Any], list[Any], int, int]] = field(default_factory=list)
    whole: list[tuple[Pairs, Pairs, int, int]] = field(default_factory=list)

    @classmethod
    def read(cls) -> Recording:
        """Read the file; deltas that the snapshot holds are left out, by the venue's rule."""
        events, found = [], None
        with gzip.open(RECORDING, "rb") as lines:
            for line in lines:
                frame = json.loads(line.partition(b" ")[2])
                if "lastUpdateId" in frame:
                    sides = [[tuple(row) for row in frame[name]] for name in ("bids", "asks")]
                    found = cls((sides[0], sides[1], frame["lastUpdateId"]))
                elif frame["data"]["e"] == "depthUpdate":
                    events.append(frame["data"])
        assert found is not None
        previous = found.snapshot[2]
        for event in events:
            if event["u"] < found.snapshot[2]:
                continue
            sides = [[tuple(row) for row in event[name]] for name in "ba"]
            found.text.append((sides[0], sides[1], event["u"], previous))
            found.whole.append((cls.ticks(sides[0]), cls.ticks(sides[1]), event["u"], previous))
            previous = event["u"]
        return found

    @staticmethod
    def ticks(levels: list[Any]) -> Pairs:
        """Levels in ticks and lots."""
        return [(whole(price, 1), whole(quantity, 3)) for price, quantity in levels]

    def columns(self) -> dict[str, Any]:
        """The deltas packed for `Book.delta_many`."""
        levels = [level for bids, asks, _, _ in self.whole for level in (*bids, *asks)]
        named = {
            "price_ticks": [price for price, _ in levels],
            "quantity_lots": [lots for _, lots in levels],
            "bid_counts": [len(bids) for bids, _, _, _ in self.whole],
            "ask_counts": [len(asks) for _, asks, _, _ in self.whole],
            "sequence": [sequence for _, _, sequence, _ in self.whole],
            "previous": [previous for _, _, _, previous in self.whole],
        }
        return {name: np.array(column, dtype=np.int64) for name, column in named.items()}


@pytest.fixture(scope="module")
def recording() -> Recording:
    if not RECORDING.is_file():
        pytest.skip("no real data: set AIVORA_DATA, or put it in ../shared/data")
    return Recording.read()


BTC = inferred("BTCUSDT", TICK, LOT)


def started(recording: Recording) -> ac.Book:
    return ac.Book(BTC, *recording.snapshot)


def levels_of(book: ac.Book) -> tuple[Pairs, Pairs]:
    depth = book.depth()
    bids, asks = (
        [(int(price * 10), int(quantity * 1000)) for price, quantity in depth[name]]
        for name in ("bids", "asks")
    )
    return bids, asks


def touch(recording: Recording) -> tuple[float, float]:
    book = started(recording)
    book.delta_many(**recording.columns())
    assert book.best_bid is not None
    assert book.best_ask is not None
    return float(book.best_bid), float(book.best_ask)


def in_one_call(recording: Recording) -> Callable[[], ac.Book]:
    columns = recording.columns()

    def replay() -> ac.Book:
        book = started(recording)
        assert book.delta_many(**columns) == len(recording.text)
        return book

    return replay


def test_replay_against_sortedcontainers(
    recording: Recording,
    benchmark: BenchmarkFixture,
    interleaved: Callable[..., dict[str, float]],
    record: Callable[..., None],
) -> None:
    pytest.importorskip("sortedcontainers", reason="sortedcontainers is not installed")
    many = in_one_call(recording)

    def each() -> ac.Book:
        book = started(recording)
        for message in recording.text:
            book.delta(*message)
        return book

    bids, asks = (recording.ticks(side) for side in recording.snapshot[:2])

    def theirs() -> FeedBook:
        book = FeedBook(bids, asks, recording.snapshot[2])
        for message in recording.whole:
            book.delta(*message)
        return book

    assert many().digest == each().digest
    assert levels_of(many()) == theirs().levels()
    assert sum(len(b) + len(a) for b, a, _, _ in recording.whole) == 443_262
    seconds = interleaved({"many": many, "each": each, "theirs": theirs}, ROUNDS)
    ratio = seconds["theirs"] / seconds["many"]
    against = "sortedcontainers, integers"
    record(f"{JOB}, packed, one call", against, ratio, at_least=BAR)
    # Here reading the text is ours, and sums for walks stand after each message.
    record(f"{JOB}, text, a call a message", against, seconds["theirs"] / seconds["each"])
    benchmark.extra_info["ratio"] = ratio
    benchmark.extra_info["ns_per_update"] = seconds["many"] / 443_262 * 1e9
    benchmark.pedantic(many, rounds=ROUNDS)


def test_replay_against_order_book(
    recording: Recording,
    interleaved: Callable[..., dict[str, float]],
    record: Callable[..., None],
) -> None:
    """The C package sets level by level from Python and checks no sequence and no crossing."""
    order_book = pytest.importorskip("order_book", reason="order-book is not installed")
    snapshot = [recording.ticks(side) for side in recording.snapshot[:2]]

    def theirs() -> Any:
        book = order_book.OrderBook()
        book.bids, book.asks = (dict(side) for side in snapshot)
        bids, asks = book.bids, book.asks
        for bid_levels, ask_levels, _, _ in recording.whole:
            for side, levels in ((bids, bid_levels), (asks, ask_levels)):
                for price, lots in levels:
                    if lots:
                        side[price] = lots
                    elif price in side:
                        del side[price]
        return book

    ours = in_one_call(recording)
    book, peer = ours(), theirs()
    assert levels_of(book)[0] == [tuple(row) for row in peer.bids.to_list()]
    assert levels_of(book)[1] == [tuple(row) for row in peer.asks.to_list()]
    seconds = interleaved({"ours": ours, "theirs": theirs}, 3)
    record(f"{JOB}, packed, one call", "order-book (C)", seconds["theirs"] / seconds["ours"])


def test_replay_against_hftbacktest(
    recording: Recording,
    interleaved: Callable[..., dict[str, float]],
    record: Callable[..., None],
) -> None:
    """Floats in a hash map, one event a level, and nothing checked.

    It simulates an exchange too, which has no event here: all are for the local book. Building
    its event queue is not counted.
    """
    hft = pytest.importorskip("hftbacktest", reason="hftbacktest is not installed")
    rows: list[tuple[int, int, int, float, float]] = []
    flags = {name: hft.LOCAL_EVENT | side for name, side in zip("ba", sides_of(hft), strict=True)}
    for name, side in zip("ba", recording.snapshot[:2], strict=True):
        kind = flags[name] | hft.DEPTH_SNAPSHOT_EVENT
        rows += [(kind, 1, 1, float(price), float(quantity)) for price, quantity in side]
    for at, (bids, asks, _, _) in enumerate(recording.text, 2):
        for name, side in (("b", bids), ("a", asks)):
            kind = flags[name] | hft.DEPTH_EVENT
            rows += [(kind, at, at, float(price), float(quantity)) for price, quantity in side]
    events = np.zeros(len(rows), hft.event_dtype)
    for place, name in enumerate(("ev", "exch_ts", "local_ts", "px", "qty")):
        events[name] = [row[place] for row in rows]
    end = len(recording.text) + 10

    def queue() -> Any:
        asset = hft.BacktestAsset().data([events]).linear_asset(1.0).constant_order_latency(0, 0)
        asset = asset.risk_adverse_queue_model().no_partial_fill_exchange()
        asset = asset.trading_value_fee_model(0, 0).tick_size(0.1).lot_size(0.001)
        return hft.HashMapMarketDepthBacktest([asset])

    waiting: list[Any] = []

    def theirs() -> Any:
        peer = waiting.pop()
        peer.elapse(end)
        return peer

    waiting.append(queue())
    depth = theirs().depth(0)
    assert (depth.best_bid, depth.best_ask) == pytest.approx(touch(recording), rel=1e-12)
    waiting += [queue() for _ in range(6)]
    seconds = interleaved({"ours": in_one_call(recording), "theirs": theirs}, 5)
    record(f"{JOB}, packed, one call", "hftbacktest", seconds["theirs"] / seconds["ours"])


def sides_of(hft: Any) -> tuple[int, int]:
    """Flags of bids and asks."""
    return hft.BUY_EVENT, hft.SELL_EVENT

"""Six venues' raw frames against books kept by hand, and the venues' own checks of them.

The reference books here are plain dicts filled straight from the JSON, by each venue's published
rule; they share nothing with the readers under test but the files.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import aivora_core as ac
from aivora_core.adapters.exits import QuoteCheck, Watch
from aivora_core.adapters.feeds import Feed, pack, replay, survey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.data

USDM = "l2/binance_usdm_btcusdt_20240808.gz"
COINM = "l2/binance_coinm_btcusd_perp_20240808.gz"
VENUES = ["BITMEX.ws.1.0", "BYBIT.ws.25.0", "DYDX.ws.1.0", "KRAKEN_FUTURES.ws.1.0", "OKX.ws.1.0"]

Side = dict[Decimal, Decimal]


def raw(path: Path) -> Iterator[tuple[int, Any]]:
    """Line number and JSON of each received frame."""
    with gzip.open(path, "rt") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip() and not line.startswith("wss:"):
                yield number, json.loads(line.partition(" ")[2], parse_float=Decimal)


def put(side: Side, price: object, quantity: object) -> None:
    key, size = Decimal(str(price)), Decimal(str(quantity))
    if size:
        side[key] = size
    else:
        side.pop(key, None)


class _Book:
    """Books as two dicts a symbol, in whatever order the levels came."""

    def __init__(self) -> None:
        self.books: dict[str, tuple[Side, Side]] = {}

    def fresh(self, symbol: str) -> tuple[Side, Side]:
        """Begin anew, as a snapshot does."""
        self.books[symbol] = ({}, {})
        return self.books[symbol]

    def same(self, symbol: str, book: ac.Book) -> bool:
        """Tell whether a book holds the same levels."""
        bids, asks = self.books[symbol]
        depth = book.depth()
        return depth["bids"] == sorted(bids.items(), reverse=True) and depth["asks"] == sorted(
            asks.items()
        )


class _BinanceBook(_Book):
    """The page *How to manage a local order book correctly*, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[dict[str, Any]] = []
        self.last: int | None = None
        self.joined = False
        self.dropped = self.gaps = 0

    def frame(self, frame: dict[str, Any]) -> str | None:
        """Apply a frame, and name the instrument whose book it touched."""
        if "lastUpdateId" in frame:
            bids, asks = self.fresh("")
            for side, name in ((bids, "bids"), (asks, "asks")):
                for price, quantity in frame[name]:
                    put(side, price, quantity)
            self.last = frame["lastUpdateId"]
            for event in self.waiting:
                self.event(event)
            return ""
        if frame["data"]["e"] != "depthUpdate":
            return None
        if self.last is None:
            self.waiting.append(frame["data"])
            return None
        self.event(frame["data"])
        return ""

    def event(self, event: dict[str, Any]) -> None:
        """Apply a depth event."""
        assert self.last is not None
        if event["u"] < self.last:
            self.dropped += 1
            return
        good = event["pu"] == self.last if self.joined else event["U"] <= self.last <= event["u"]
        self.gaps += not good
        self.joined, self.last = True, event["u"]
        bids, asks = self.books[""]
        for side, name in ((bids, "b"), (asks, "a")):
            for price, quantity in event[name]:
                put(side, price, quantity)


class _BitmexBook(_Book):
    def __init__(self) -> None:
        super().__init__()
        self.prices: dict[tuple[str, int], object] = {}

    def frame(self, frame: dict[str, Any]) -> str | None:
        """Apply a frame, and name the instrument whose book it touched."""
        if frame.get("table") != "orderBookL2":
            return None
        if frame["action"] == "partial":
            self.fresh(frame["filter"]["symbol"])
        for row in frame["data"]:
            key = (row["symbol"], row["id"])
            if "price" in row:
                self.prices[key] = row["price"]
            side = self.books[row["symbol"]][row["side"] == "Sell"]
            put(side, self.prices[key], row.get("size", 0))
        return str(frame["data"][0]["symbol"])


class _BybitBook(_Book):
    def frame(self, frame: dict[str, Any]) -> str | None:
        """Apply a frame, and name the instrument whose book it touched."""
        topic, _, symbol = frame.get("topic", "").partition(".")
        if not topic.startswith("orderBookL2"):
            return None
        if frame["type"] == "snapshot":
            self.fresh(symbol)
            rows = frame["data"]["order_book"]
        else:
            rows = [row for name in ("delete", "update", "insert") for row in frame["data"][name]]
        for row in rows:
            put(self.books[symbol][row["side"] == "Sell"], row["price"], row.get("size", 0))
        return str(symbol)


class _DydxBook(_Book):
    def __init__(self) -> None:
        super().__init__()
        self.offsets: dict[tuple[str, int, Decimal], int] = {}
        self.older = 0

    def frame(self, frame: dict[str, Any]) -> str | None:
        """Apply a frame, and name the instrument whose book it touched."""
        if frame.get("channel") != "v3_orderbook":
            return None
        symbol, said = frame["id"], frame["contents"]
        if frame["type"] == "subscribed":
            self.fresh(symbol)
        for place, name in enumerate(("bids", "asks")):
            for row in said[name]:
                named = isinstance(row, dict)
                price, size = (row["price"], row["size"]) if named else row
                offset = int(row["offset"] if named else said["offset"])
                key = (symbol, place, Decimal(price))
                if offset < self.offsets.get(key, 0):
                    self.older += 1
                    continue
                self.offsets[key] = offset
                put(self.books[symbol][place], price, size)
        bids, asks = self.books[symbol]
        assert max(bids) < min(asks)  # in this recording offsets alone keep it uncrossed
        return str(symbol)


class _KrakenBook(_Book):
    def __init__(self) -> None:
        super().__init__()
        self.seq: dict[str, int] = {}

    def frame(self, frame: dict[str, Any]) -> str | None:
        """Apply a frame, and name the instrument whose book it touched."""
        if frame.get("feed") not in {"book", "book_snapshot"} or "event" in frame:
            return None
        symbol = str(frame["product_id"])
        if frame["feed"] == "book_snapshot":
            for side, name in zip(self.fresh(symbol), ("bids", "asks"), strict=True):
                for row in frame[name]:
                    put(side, row["price"], row["qty"])
        else:
            assert frame["seq"] == self.seq[symbol] + 1
            put(self.books[symbol][frame["side"] == "sell"], frame["price"], frame["qty"])
        self.seq[symbol] = frame["seq"]
        return symbol


class _OkxBook(_Book):
    """The venue's own test of a book: CRC-32 of the best 25 levels, as text."""

    def __init__(self) -> None:
        super().__init__()
        self.text: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
        self.checked = 0

    def frame(self, frame: dict[str, Any]) -> str | None:
        """Apply a frame, and name the instrument whose book it touched."""
        if "action" not in frame:
            return None
        symbol, (data,) = frame["arg"]["instId"], frame["data"]
        if frame["action"] == "snapshot":
            self.fresh(symbol)
            self.text[symbol] = ({}, {})
        for side, text, name in zip(
            self.books[symbol], self.text[symbol], ("bids", "asks"), strict=True
        ):
            for price, quantity, *_ in data[name]:
                put(side, price, quantity)
                text[price] = quantity
                if not Decimal(quantity):
                    del text[price]
        best = [
            sorted(written.items(), key=lambda row: Decimal(row[0]), reverse=not place)[:25]
            for place, written in enumerate(self.text[symbol])
        ]
        parts: list[str] = []
        for place in range(25):
            for rows in best:
                parts += rows[place] if place < len(rows) else ()
        crc = zlib.crc32(":".join(parts).encode())
        assert crc - (crc >> 31 << 32) == data["checksum"]
        self.checked += 1
        return str(symbol)


BOOKS: dict[str, type[Any]] = {
    "BITMEX.ws.1.0": _BitmexBook,
    "BYBIT.ws.25.0": _BybitBook,
    "DYDX.ws.1.0": _DydxBook,
    "KRAKEN_FUTURES.ws.1.0": _KrakenBook,
    "OKX.ws.1.0": _OkxBook,
}


@pytest.mark.parametrize(
    ("name", "messages", "deltas", "updates", "deletions", "stale", "grid"),
    [
        (USDM, 93_954, 6_551, 443_521, 96_007, 4, ("0.1", "0.001")),
        (COINM, 48_270, 26_847, 296_013, 126_543, 23, ("0.1", "1")),
    ],
)
def test_binance_is_in_step_with_a_book_kept_by_the_venues_page(
    name: str,
    messages: int,
    deltas: int,
    updates: int,
    deletions: int,
    stale: int,
    grid: tuple[str, str],
    data_dir: Path,
) -> None:
    feed, (symbol,) = Feed(data_dir / name), survey(data_dir / name).symbols
    reference, frames = _BinanceBook(), raw(data_dir / name)
    seen = compared = 0
    book = None
    for message, changed in feed:
        seen += 1
        number, frame = next(frames)
        assert number == message.line
        touched = reference.frame(frame)
        assert (touched is None) == (changed is None)
        if changed is not None:
            book = changed
            if not feed.streams[symbol].counts.applied % 1_000:
                assert reference.same("", changed), message.line
                compared += 1
    assert seen == messages
    assert book is not None
    assert compared >= 5
    assert reference.same("", book)
    assert book.sequence == reference.last
    assert (reference.dropped, reference.gaps) == (stale, 0)
    counts = feed.streams[symbol].counts.to_dict()
    assert counts.pop("applied") == deltas - stale
    assert {k: v for k, v in counts.items() if v} == {"snapshots": 1, "stale": stale}
    seen_of = survey(data_dir / name).symbols[symbol]
    assert (seen_of.deltas, seen_of.snapshots) == (deltas, 1)
    assert (seen_of.updates, seen_of.deletions) == (updates, deletions)
    assert (seen_of.price_tick, seen_of.lot) == grid


@pytest.mark.parametrize(
    ("name", "symbol", "books", "compared"),
    [(USDM, "BTCUSDT", 6_546, 6_544), (COINM, "BTCUSD_PERP", 26_823, 26_806)],
)
def test_the_venues_quotes_are_the_books_best_prices(
    name: str, symbol: str, books: int, compared: int, data_dir: Path
) -> None:
    check = QuoteCheck()
    for message, book in Feed(data_dir / name, symbol=symbol):
        if book is not None:
            check.book(book)
        elif message.kind == "quote":
            check.quote(message)
    check.finish()
    assert check.agreed == check.compared == compared
    # The rest stands behind the last quote of the recording: nothing says what it had to be.
    assert check.compared + check.unmatched == books


@pytest.mark.parametrize("venue", VENUES)
def test_every_book_of_a_venue_is_the_reference_after_every_message(
    venue: str, data_dir: Path
) -> None:
    path = data_dir / "l2" / f"cryptofeed_{venue}.gz"
    feed = Feed(path)
    reference = BOOKS[venue]()
    frames = raw(path)
    touched: dict[str, int] = defaultdict(int)
    for message, book in feed:
        if message.symbol == "" and message.kind == "other" and message.line < 30:
            continue  # sent by the recorder, or a greeting
        number, frame = next((n, f) for n, f in frames if n == message.line)
        assert number == message.line
        symbol = reference.frame(frame)
        assert (symbol is None) == (book is None), message
        if symbol is not None and book is not None:
            assert symbol == message.symbol
            touched[symbol] += 1
            if book.best_bid is not None and touched[symbol] % 10 < 2:
                assert reference.same(symbol, book), message.line
    assert touched
    for symbol, stream in feed.streams.items():
        assert stream.book is not None
        assert reference.same(symbol, stream.book)
        counts = stream.counts
        lost = counts.gaps + counts.crossed + counts.mismatches + counts.early + counts.stale
        assert (counts.snapshots, lost) == (1, 0), symbol
        assert counts.snapshots + counts.applied == touched[symbol]
    assert set(feed.streams) == set(reference.books)


def test_every_checksum_of_okx_is_the_books(data_dir: Path) -> None:
    path = data_dir / "l2" / "cryptofeed_OKX.ws.1.0.gz"
    found = replay(path, on_gap="error")
    assert {symbol: c.checksums for symbol, c in found.counts.items()} == {
        "BTC-USD-220527": 99,
        "UNI-USD-SWAP": 93,
        "BTC-USDT": 98,
    }
    assert sum(c.mismatches for c in found.counts.values()) == 0
    reference = _OkxBook()
    assert sum(reference.frame(frame) is not None for _, frame in raw(path)) == 290
    assert reference.checked == 290


def test_a_changed_digit_breaks_the_checksum(data_dir: Path, tmp_path: Path) -> None:
    text = gzip.decompress((data_dir / "l2" / "cryptofeed_OKX.ws.1.0.gz").read_bytes()).decode()
    changed = tmp_path / "feed"
    changed.write_text(text.replace('["30261","4","0","1"]', '["30261","5","0","1"]', 1))
    with pytest.raises(ac.BookError) as caught:
        replay(changed, on_gap="error")
    assert (caught.value.code, caught.value.row) == ("bad_checksum", 32)
    assert caught.value.value == "-914047754"
    found = replay(changed)
    assert found.counts["BTC-USD-220527"].mismatches == 1
    assert found.counts["BTC-USD-220527"].early == 97  # no other snapshot comes
    assert found.counts["BTC-USDT"].mismatches == 0


def test_deltas_alone_have_no_snapshot(data_dir: Path) -> None:
    path = data_dir / "l2" / "cryptofeed_BINANCE_FUTURES.ws.1.0.gz"
    assert survey(path).busiest == "SUSHIUSDT"
    for symbol, deltas in ((None, 255), ("AKROUSDT", 189)):
        with pytest.raises(ac.BookError) as caught:
            replay(path, symbol=symbol)
        assert caught.value.code == "no_snapshot"
        assert caught.value.value == f"{deltas} deltas and no snapshot"


@pytest.mark.parametrize(
    ("name", "in_base"), [(USDM, {"BTCUSDT": True}), (COINM, {"BTCUSD_PERP": False})]
)
def test_what_a_quantity_is_worth_is_said_or_unknown(
    name: str, in_base: dict[str, bool], data_dir: Path
) -> None:
    assert survey(data_dir / name).in_base == in_base


def test_a_watch_prices_exits_each_second(data_dir: Path) -> None:
    feed = Feed(data_dir / USDM, symbol="BTCUSDT")
    watch = Watch(feed, "BTCUSDT", sizes=["0.5", "30", "100000"]).run()
    assert (watch.messages, watch.seen.updates, len(watch.instants)) == (93_954, 443_521, 345)
    assert (watch.quotes.compared, watch.quotes.agreed) == (6_544, 6_544)
    elapsed = [instant.elapsed_ns for instant in watch.instants]
    assert elapsed[:-1] == [10**9 * n for n in range(1, 345)]
    assert elapsed[-1] == watch.last_ns - watch.first_ns

    # The book of second 100 again, from the file, by hand.
    reference, start = _BinanceBook(), None
    with gzip.open(data_dir / USDM, "rt") as lines:
        for line in lines:
            at, _, body = line.partition(" ")
            start = start or int(at)
            if int(at) > start + 100 * 10**9:
                break
            reference.frame(json.loads(body))
    bids, asks = (sorted(side.items(), reverse=not n) for n, side in enumerate(reference.books[""]))
    instant = watch.instants[99]
    assert (instant.best_bid, instant.best_ask) == (bids[0][0], asks[0][0])
    mid = (bids[0][0] + asks[0][0]) / 2
    for bps, depth in instant.depth.items():
        near = tuple(
            sum((q for p, q in side if abs(p - mid) * 10_000 <= mid * int(bps)), Decimal(0))
            for side in (bids, asks)
        )
        assert depth == near, bps
    for place, walk in enumerate(instant.exits):
        levels = bids if place < 3 else asks
        left = wanted = Decimal(["0.5", "30", "100000"][place % 3])
        cost = Decimal(0)
        for price, quantity in levels:
            taken = min(left, quantity)
            cost, left = cost + price * taken, left - taken
        assert (walk.side, walk.filled, walk.unfilled) == (
            "sell" if place < 3 else "buy",
            wanted - left,
            left,
        )
        assert walk.cost == cost


@pytest.mark.parametrize(("name", "decimals"), [(USDM, 3), (COINM, 0)])
def test_packed_deltas_are_the_same_book(name: str, decimals: int, data_dir: Path) -> None:
    (found,) = replay(data_dir / name).books.values()
    book = ac.Book(found.instrument)
    columns: dict[str, list[int]] = defaultdict(list)
    events = []
    for _, frame in raw(data_dir / name):
        if "lastUpdateId" in frame:
            last = frame["lastUpdateId"]
            book.snapshot(frame["bids"], frame["asks"], last)
        elif frame["data"]["e"] == "depthUpdate":
            events.append(frame["data"])
    for event in events:
        if event["u"] < last:
            continue
        for side, counts in (("b", "bid_counts"), ("a", "ask_counts")):
            columns[counts].append(len(event[side]))
            columns["price_ticks"] += [int(Decimal(p).scaleb(1)) for p, _ in event[side]]
            columns["quantity_lots"] += [int(Decimal(q).scaleb(decimals)) for _, q in event[side]]
        columns["sequence"].append(event["u"])
        columns["previous"].append(event["pu"])
    columns["previous"][0] = last
    arrays = {key: np.array(column) for key, column in columns.items()}
    half = len(arrays["sequence"]) // 2
    levels = int(arrays["bid_counts"][:half].sum() + arrays["ask_counts"][:half].sum())
    parts = (slice(None, half), slice(half, None)), (slice(None, levels), slice(levels, None))
    for messages, rows in zip(*parts, strict=True):
        book.delta_many(
            **{
                k: a[rows if k in {"price_ticks", "quantity_lots"} else messages]
                for k, a in arrays.items()
            }
        )
    assert (book.digest, book.sequence) == (found.digest, found.sequence)


@pytest.mark.parametrize("name", [USDM, COINM, *(f"l2/cryptofeed_{v}.gz" for v in VENUES)])
def test_what_is_packed_replays_to_the_same_book(name: str, data_dir: Path) -> None:
    symbol = survey(data_dir / name).busiest
    (stretch,) = pack(data_dir / name)
    found = replay(data_dir / name, symbol=symbol)
    assert len(stretch.columns["bid_counts"]) == found.counts[symbol].applied
    book = stretch.replay()
    assert (book.digest, book.sequence) == (
        found.books[symbol].digest,
        found.books[symbol].sequence,
    )

"""Resynchronisation on streams made by hand: what is dropped, what is a gap, what comes back."""

from __future__ import annotations

import json
import zlib
from contextlib import suppress
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import aivora_core as ac
from aivora_core.adapters import synchronise
from aivora_core.adapters.feeds import FORMATS, Feed, inferred, read_feed, replay, survey
from aivora_core.adapters.formats import FeedMessage, Rule
from aivora_core.adapters.synchronise import Synchroniser

if TYPE_CHECKING:
    from pathlib import Path

BTC = ac.Venue.load("demo")["BTC"]
LINE = count(1)
BESIDE = FORMATS["binance_futures"].rule
COUNTED = FORMATS["kraken_futures"].rule
RISING = FORMATS["bybit"].rule
OFFSETS = FORMATS["dydx"].rule
CHECKED = FORMATS["okx"].rule
PLAIN = Rule()


def message(kind: Any, bids: str = "", asks: str = "", **rest: Any) -> FeedMessage:
    """A message with levels as ``price:quantity price:quantity``."""
    sides = [
        tuple((p, q) for p, _, q in (level.partition(":") for level in side.split()))
        for side in (bids, asks)
    ]
    return FeedMessage(next(LINE), 0, kind, "BTC", *sides, **rest)


def snap(sequence: int | None = None, bids: str = "99:1", asks: str = "101:1", **rest: Any) -> Any:
    return message("snapshot", bids, asks, sequence=sequence, **rest)


def event(first: int, last: int, previous: int, bids: str = "", asks: str = "") -> FeedMessage:
    """A delta as Binance futures sends it."""
    return message("delta", bids, asks, first=first, sequence=last, previous=previous)


def step(sequence: int | None, bids: str = "", asks: str = "", **rest: Any) -> FeedMessage:
    """A delta that names its own number only."""
    return message("delta", bids, asks, sequence=sequence, **rest)


def sides(stream: Synchroniser) -> tuple[str, str] | None:
    """The levels of a book in step, in the form that `message` takes."""
    if stream.book is None:
        return None
    depth = stream.book.depth()
    bids, asks = (" ".join(f"{p:f}:{q:f}" for p, q in depth[s]) for s in ("bids", "asks"))
    return bids, asks


def counted(stream: Synchroniser) -> dict[str, int]:
    return {name: number for name, number in stream.counts.to_dict().items() if number}


# --- a snapshot from beside the stream -----------------------------------------------------------


def test_deltas_wait_and_the_snapshot_drops_what_it_holds() -> None:
    stream = Synchroniser(BTC, BESIDE)
    waiting = [
        event(1, 4, 0, "50:9"),
        event(5, 6, 4, "51:9"),
        event(7, 9, 6, "98:2"),
        event(10, 12, 9, "97:3"),
    ]
    assert [stream.take(m) for m in waiting] == [False] * 4
    assert sides(stream) is None
    assert stream.take(snap(8))
    assert sides(stream) == ("99:1 98:2 97:3", "101:1")  # 4 and 6 are below 8 and are gone
    assert counted(stream) == {"snapshots": 1, "stale": 2, "applied": 2}
    assert stream.book is not None
    assert stream.book.sequence == 12
    assert stream.take(event(13, 13, 12, "97:0"))
    assert sides(stream) == ("99:1 98:2", "101:1")


@pytest.mark.parametrize("order", ["delta first", "snapshot first"])
@pytest.mark.parametrize(
    ("first", "last", "gaps"), [(7, 9, 0), (8, 9, 0), (7, 8, 0), (8, 8, 0), (9, 9, 1), (9, 12, 1)]
)
def test_the_first_delta_must_cover_the_snapshots_number(
    first: int, last: int, gaps: int, order: str
) -> None:
    stream = Synchroniser(BTC, BESIDE)
    delta = event(first, last, 3, "98:2")
    for m in (delta, snap(8)) if order == "delta first" else (snap(8), delta):
        stream.take(m)
    if not gaps:
        assert sides(stream) == ("99:1 98:2", "101:1")
        assert stream.book is not None
        assert stream.book.sequence == last
        assert stream.take(event(last + 1, last + 5, last, "98:0"))
        assert counted(stream) == {"snapshots": 1, "applied": 2}
        return
    assert stream.book is None
    assert stream.counts.gaps == 1
    assert stream.counts.applied == 0
    stream.take(snap(last))  # a newer snapshot finds the delta still waiting
    assert sides(stream) == ("99:1 98:2", "101:1")


def test_a_stale_delta_behind_the_snapshot_is_dropped() -> None:
    stream = Synchroniser(BTC, BESIDE)
    assert stream.take(snap(8))
    assert not stream.take(event(5, 7, 4, "50:9"))
    assert stream.take(event(8, 9, 7, "98:2"))
    assert counted(stream) == {"snapshots": 1, "stale": 1, "applied": 1}
    assert sides(stream) == ("99:1 98:2", "101:1")


def test_a_gap_drops_the_book_until_the_next_snapshot() -> None:
    stream = Synchroniser(BTC, BESIDE)
    for m in (snap(8), event(8, 9, 7), event(12, 13, 11, "98:2")):
        stream.take(m)
    assert stream.book is None
    assert not stream.take(event(14, 15, 13, "97:2"))
    assert stream.take(snap(12, "90:1", "102:1"))
    assert sides(stream) == ("98:2 97:2 90:1", "102:1")
    want = {"snapshots": 2, "applied": 3, "gaps": 1, "resyncs": 1}
    assert counted(stream) == want


def test_a_gap_among_what_waits_is_a_gap_too() -> None:
    stream = Synchroniser(BTC, BESIDE)
    for m in (event(7, 9, 6), event(12, 13, 11, "98:2"), event(14, 15, 13, "97:1")):
        stream.take(m)
    stream.take(snap(8))
    assert stream.book is None
    assert stream.counts.gaps == 1
    assert stream.take(snap(14))
    assert sides(stream) == ("99:1 97:1", "101:1")


def test_duplicates_are_counted_and_dropped() -> None:
    stream = Synchroniser(BTC, BESIDE)
    same = event(8, 9, 7, "98:2")
    for m in (snap(8), same, same, event(5, 6, 4)):
        stream.take(m)
    assert counted(stream) == {"snapshots": 1, "applied": 1, "duplicates": 1, "stale": 1}
    assert not stream.take(snap(8, "1:1", "200:1"))  # in step without it
    assert stream.counts.surplus == 1
    assert sides(stream) == ("99:1 98:2", "101:1")


def test_a_snapshot_must_come_before_too_many_deltas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synchronise, "WAITING_MAX", 3)
    stream = Synchroniser(BTC, BESIDE)
    stream.take(event(1, 1, 0))
    stream.take(event(2, 2, 1))
    with pytest.raises(ac.BookError, match="3 deltas") as caught:
        stream.take(event(3, 3, 2))
    assert caught.value.code == "no_snapshot"


# --- a snapshot inside the stream ----------------------------------------------------------------


def test_numbers_that_count_up() -> None:
    stream = Synchroniser(BTC, COUNTED)
    assert not stream.take(step(4, "98:1", previous=3))
    for m in (snap(5), step(6, "98:2", previous=5), step(6, "98:3", previous=5)):
        stream.take(m)
    assert not stream.take(step(2, "98:9", previous=1))
    assert sides(stream) == ("99:1 98:2", "101:1")
    assert not stream.take(step(8, "97:1", previous=7))
    assert stream.book is None
    assert not stream.take(step(9, "97:1", previous=8))
    assert stream.take(snap(9, "90:1"))
    want = {"early": 2, "applied": 1, "duplicates": 1, "stale": 1, "gaps": 1}
    assert counted(stream) == want | {"snapshots": 2, "resyncs": 1}


def test_numbers_that_only_rise() -> None:
    stream = Synchroniser(BTC, RISING)
    for m in (snap(5), step(60, "98:2"), step(60, "98:3"), step(7, "98:4"), step(61, "98:5")):
        stream.take(m)
    assert sides(stream) == ("99:1 98:5", "101:1")
    assert counted(stream) == {"snapshots": 1, "applied": 2, "duplicates": 1, "stale": 1}


def test_a_delta_that_crosses_shows_a_loss_where_nothing_else_can() -> None:
    for rule, number in ((PLAIN, None), (RISING, 6)):
        stream = Synchroniser(BTC, rule)
        stream.take(snap(5 if number else None))
        assert not stream.take(step(number, "101:1"))
        assert stream.book is None
        assert counted(stream) == {"snapshots": 1, "crossed": 1}


def test_what_a_message_shows_to_be_missing_is_a_gap() -> None:
    stream = Synchroniser(BTC, PLAIN)
    stream.take(snap())
    assert not stream.take(step(None, "98:1", missing="update of id 7, which is new"))
    assert (stream.book, stream.counts.gaps) == (None, 1)


@pytest.mark.parametrize(
    ("rule", "messages", "code", "says"),
    [
        (BESIDE, [snap(8), event(8, 9, 7), event(12, 13, 11)], "sequence_gap", "got 11"),
        (BESIDE, [snap(8), event(9, 9, 8)], "sequence_gap", "got 9; must be at most 8"),
        (BESIDE, [event(9, 9, 8), snap(8)], "sequence_gap", "got 8; must be at least 9"),
        (COUNTED, [snap(5), step(7, previous=6)], "sequence_gap", "got 6; must be the book's"),
        (PLAIN, [snap(), step(None, "102:1")], "crossed_book", "must be below"),
        (PLAIN, [snap(), step(None, missing="a row")], "sequence_gap", "got a row"),
    ],
)
def test_on_gap_error_names_line_expected_and_got(
    rule: Rule, messages: list[FeedMessage], code: str, says: str
) -> None:
    stream = Synchroniser(BTC, rule, on_gap="error")
    for m in messages[:-1]:
        stream.take(m)
    before = stream.book and stream.book.digest
    with pytest.raises(ac.BookError) as caught:
        stream.take(messages[-1])
    assert (caught.value.code, caught.value.row) == (code, messages[-1].line)
    assert says in str(caught.value)
    assert (stream.book and stream.book.digest) == before


def test_bad_numbers_are_never_a_gap() -> None:
    for bad, code in (("98.05:1", "off_grid"), ("x:1", "not_a_number"), ("sNaN:1", "not_a_number")):
        for rule in (PLAIN, OFFSETS):
            stream = Synchroniser(BTC, rule)
            stream.take(snap(offsets=(1, 1) if rule.offsets else ()))
            with pytest.raises(ac.NumberError) as caught:
                stream.take(step(7, bad))
            assert caught.value.code in {code, "not_finite"}
            assert sides(stream) == ("99:1", "101:1")
    with pytest.raises(ac.NumberError, match="resync"):
        Synchroniser(BTC, PLAIN, on_gap="ignore")


# --- levels with numbers, books with checksums ---------------------------------------------------


def test_an_older_level_never_replaces_a_newer_one() -> None:
    stream = Synchroniser(BTC, OFFSETS)
    stream.take(snap(None, "99:1 98:1", "101:1", offsets=(10, 20, 30)))
    for m in (step(15, "99:5 98:5"), step(40, "99:0"), step(39, "99:7"), step(41, "99:8")):
        stream.take(m)
    assert sides(stream) == ("99:8 98:1", "101:1")
    assert stream.counts.stale_levels == 2
    stream.take(step(42, "99:6 99:7"))  # of two for one price in one message the last counts
    assert sides(stream) == ("99:7 98:1", "101:1")
    assert stream.counts.stale_levels == 2


@pytest.mark.parametrize(
    ("delta", "bids", "asks", "removed"),
    [
        (step(40, "101:2"), "101:2 99:1", "103:1", 1),  # the newer bid takes the older ask away
        (step(40, "104:2"), "104:2 99:1", "", 2),
        (step(25, "101:2"), "99:1", "101:1 103:1", 1),  # the ask at 101 is of 30: the bid is older
        (step(35, "103:2"), "103:2 99:1", "", 2),
        (step(40, "", "99:5"), "", "99:5 101:1 103:1", 1),
        (step(40, "102:2", "102:1"), "102:2 99:1", "103:1", 2),  # one number: the larger stays
        (step(40, "102:1", "102:2"), "99:1", "102:2 103:1", 2),
    ],
)
def test_where_levels_cross_the_older_goes(
    delta: FeedMessage, bids: str, asks: str, removed: int
) -> None:
    stream = Synchroniser(BTC, OFFSETS)
    stream.take(snap(None, "99:1", "101:1 103:1", offsets=(10, 30, 5)))
    assert stream.take(delta)
    assert sides(stream) == (bids, asks)
    assert stream.counts.uncrossed == removed


def signed(text: str) -> int:
    crc = zlib.crc32(text.encode())
    return crc - (crc >> 31 << 32)


def test_checksums_are_of_the_text_as_written() -> None:
    stream = Synchroniser(BTC, CHECKED)
    text = "99.0:1:101:2.50:98:3"
    stream.take(snap(None, "99.0:1 98:3", "101:2.50", checksum=signed(text)))
    assert stream.book is not None
    stream.take(step(None, "99:1.0", checksum=signed("99:1.0:101:2.50:98:3")))
    stream.take(step(None, "99:0", checksum=signed("98:3:101:2.50")))
    assert counted(stream) == {"snapshots": 1, "applied": 2, "checksums": 3}
    stream.take(step(None, "97:1", checksum=signed("98:3:101:2.50")))
    assert (stream.book, stream.counts.mismatches) == (None, 1)
    stream.take(snap(None, "99.0:1 98:3", "101:2.50", checksum=signed(text)))
    assert (stream.book is not None, stream.counts.resyncs) == (True, 1)

    strict = Synchroniser(BTC, CHECKED, on_gap="error")
    with pytest.raises(ac.BookError) as caught:
        strict.take(snap(None, checksum=5))
    assert (caught.value.code, caught.value.value) == ("bad_checksum", "5")
    assert strict.book is None  # the venue says it is wrong: nobody shall use it


def test_only_25_levels_are_in_a_checksum() -> None:
    bids = [f"{1000 - n}:1" for n in range(30)]
    asks = [f"{1001 + n}:1" for n in range(30)]
    text = ":".join(f"{b}:{a}" for b, a in zip(bids[:25], asks[:25], strict=True))
    stream = Synchroniser(BTC, CHECKED, on_gap="error")
    assert stream.take(snap(None, " ".join(bids), " ".join(asks), checksum=signed(text)))


# --- files ----------------------------------------------------------------------------------------


def depth(symbol: str, first: int, last: int, previous: int, bids: str = "[]") -> str:
    data = f'"e":"depthUpdate","E":1,"s":"{symbol}","U":{first},"u":{last},"pu":{previous}'
    return f'17 {{"stream":"x","data":{{{data},"b":{bids},"a":[]}}}}\n'


REST = '18 {"lastUpdateId":8,"E":1,"bids":[["99.5","1.5"]],"asks":[["101.0","2"]]}\n'


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_snapshot_without_a_name_is_of_the_only_instrument(tmp_path: Path) -> None:
    one = write(tmp_path / "one", depth("A", 7, 9, 6, '[["98.5","2"]]') + REST)
    found = replay(one)
    assert found.books["A"].depth()["bids"] == [
        (Decimal("99.5"), Decimal("1.5")),
        (Decimal("98.5"), Decimal(2)),
    ]
    assert (found.books["A"].instrument.price_tick, found.books["A"].instrument.lot) == (
        Decimal("0.5"),
        Decimal("0.5"),
    )
    two = write(tmp_path / "two", depth("A", 7, 9, 6) + depth("B", 7, 9, 6) + REST)
    with pytest.raises(ac.BookError, match="names no instrument") as caught:
        replay(two)
    assert (caught.value.code, caught.value.row) == ("corrupt_line", 3)
    venue = ac.Venue.load("demo")
    assert replay(two, venue=venue, symbol="BTC").counts["BTC"].snapshots == 1
    btc = Feed(two, symbol="A", instrument=venue["BTC"])
    assert [book is not None for _, book in btc] == [False, False, True]


def test_what_has_no_book_says_so(tmp_path: Path) -> None:
    trades = '17 {"stream":"x","data":{"e":"trade","s":"A","p":"1","q":"1"}}\n'
    for text in ("", trades):
        with pytest.raises(ac.BookError) as caught:
            survey(write(tmp_path / "feed", text))
        assert caught.value.code == "no_snapshot"
    path = write(tmp_path / "feed", trades + depth("A", 7, 9, 6) + REST)
    with pytest.raises(ac.UnknownNameError, match="the feed has books of A"):
        survey(path).instrument("B")


@pytest.mark.parametrize(
    ("prices", "quantities", "tick", "lot"),
    [
        (["61800.20", "61800.30"], ["0.013", "1.000"], "0.1", "0.001"),
        (["32180", "32180.5"], ["100", "600000"], "0.5", "100"),
        (["0.00001814", "0.00010699"], ["3e3", "15"], "0.00000001", "5"),
        (["7.25", "7.5"], ["0", "0.000"], "0.05", "1"),
        (["1e2", "x", "NaN", "1e999"], ["250"], "100", "50"),
        (["7.50"], [], "0.5", "1"),
    ],
)
def test_a_grid_is_the_largest_plain_step_that_divides_all(
    prices: list[str], quantities: list[str], tick: str, lot: str, tmp_path: Path
) -> None:
    rows = json.dumps([[p, q] for p in prices for q in quantities or ["0"]])
    seen = survey(write(tmp_path / "feed", depth("A", 7, 9, 6, rows))).symbols["A"]
    assert (seen.price_tick, seen.lot) == (tick, lot)
    made = inferred("A", seen.price_tick, seen.lot, "0.0005")
    assert (made.price_tick, made.lot) == (Decimal(tick), Decimal(lot))
    assert made.taker_fee is not None


def test_seconds_with_a_point_are_read_exactly(tmp_path: Path) -> None:
    frame = '{"feed":"book","product_id":"A","side":"buy","seq":2,"price":1,"qty":1,"timestamp":1}'
    lines = [
        f"1626994928.037677: {frame}",
        f"1626994928.03: {frame}",
        f"1626994928: {frame}",
        f"1626994928.0376771239: {frame}",
        "wss://venue/ws <- 1626994927.5: {not json",
        "wss://venue/ws <-> 1626994927.5",
        f"1626994928037677000 {frame}",
    ]
    path = write(tmp_path / "feed", "\n".join(lines))
    assert [m.received_ns - 1_626_994_927 * 10**9 for m in read_feed(path)] == [
        1_037_677_000,
        1_030_000_000,
        1_000_000_000,
        1_037_677_123,
        500_000_000,
        500_000_000,
        1_037_677_000,
    ]


BITMEX = '17 {{"table":"orderBookL2","action":"{}",{}"data":[{}]}}\n'


def test_bitmex_rows_are_followed_by_id(tmp_path: Path) -> None:
    row = '{{"symbol":"X","id":{},"side":"{}"{}}}'
    text = BITMEX.format("insert", "", row.format(1, "Buy", ',"size":5,"price":9'))  # too early
    text += BITMEX.format(
        "partial",
        '"filter":{"symbol":"X"},',
        row.format(7, "Sell", ',"size":5,"price":11.5')
        + ","
        + row.format(8, "Sell", ',"size":4,"price":11')
        + ","
        + row.format(9, "Buy", ',"size":3,"price":10'),
    )
    text += BITMEX.format("update", "", row.format(9, "Buy", ',"size":2'))
    text += BITMEX.format("update", "", row.format(8, "Buy", ',"size":6'))  # it changes sides
    text += BITMEX.format("delete", "", row.format(7, "Sell", ""))
    text += BITMEX.format("insert", "", row.format(6, "Sell", ',"size":1,"price":12'))
    found = replay(write(tmp_path / "feed", text))
    depth_of = found.books["X"].depth()
    assert depth_of["bids"] == [(Decimal(11), Decimal(6)), (Decimal(10), Decimal(2))]
    assert depth_of["asks"] == [(Decimal(12), Decimal(1))]
    assert (found.counts["X"].early, found.counts["X"].gaps) == (1, 0)
    for lost in (
        BITMEX.format("update", "", row.format(5, "Buy", ',"size":2')),
        BITMEX.format("delete", "", row.format(5, "Buy", "")),
        BITMEX.format("insert", "", row.format(6, "Sell", ',"size":1,"price":12')),
    ):
        found = replay(write(tmp_path / "feed", text + lost))
        assert found.counts["X"].gaps == 1


GARBAGE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**70)
    | st.sampled_from(["X", "1", "0", "-1", "1e5", "sNaN", "99.5", "BTC", "buy", "Sell", "", "é"]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)
KEYS = """stream data e s u U pu b a E lastUpdateId bids asks symbol table action filter id side
size price topic type order_book delete update insert cross_seq timestamp_e6 channel contents offset
connection_id feed product_id seq qty timestamp arg instId checksum ts levels coin time px sz event
ps"""
WORDS = """depthUpdate bookTicker orderBookL2 partial insert update delete snapshot delta subscribed
channel_data v3_orderbook book book_snapshot books l2Book orderBookL2_25.X"""


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(KEYS.split())
    return st.dictionaries(keys, inner, max_size=8) | st.lists(inner, max_size=3)


FRAMES = st.recursive(GARBAGE | st.sampled_from(WORDS.split()), nested, max_leaves=25)


@pytest.mark.parametrize("name", sorted(FORMATS))
@settings(max_examples=150)
@given(frames=st.lists(FRAMES, min_size=1, max_size=4))
@example(frames=[{"lastUpdateId": 2**64, "bids": [], "asks": []}])
@example(frames=[{"arg": {"channel": "books", "instId": "X"}, "action": "update", "data": []}])
def test_garbage_is_a_typed_error(
    name: str, frames: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"garbage-{name}"
    write(path, "".join(f"17 {json.dumps(frame)}\n" for frame in frames))
    for given_format in (name, None):
        for on_gap in ("resync", "error"):
            with suppress(ac.AivoraError):
                replay(path, None, given_format, on_gap=on_gap)


REAL = {
    "binance_futures": '{"e":"depthUpdate","E":1,"s":"X","U":1,"u":2,"pu":0,"a":[],'
    '"b":[["9","1"]]}',
    "bitmex": BITMEX.format("partial", '"filter":{"symbol":"X"},', "")[3:-1],
    "bybit": '{"topic":"orderBookL2_25.X","type":"snapshot","data":{"order_book":[{"price":"9",'
    '"side":"Buy","size":1}]},"cross_seq":"5","timestamp_e6":"5"}',
    "dydx": '{"type":"subscribed","connection_id":"c","id":"X","channel":"v3_orderbook",'
    '"contents":{"bids":[{"price":"9","size":"1","offset":"5"}],"asks":[]}}',
    "hyperliquid": '{"channel":"l2Book","data":{"coin":"X","time":5,"levels":'
    '[[{"px":"9","sz":"1"}],[]]}}',
    "kraken_futures": '{"feed":"book_snapshot","product_id":"X","seq":5,"timestamp":5,'
    '"bids":[{"price":9.0,"qty":1.0}],"asks":[]}',
    "okx": '{"arg":{"channel":"books","instId":"X"},"action":"snapshot","data":[{"asks":[],'
    '"bids":[["9","1","0","1"]],"ts":"5","checksum":-1}]}',
}


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if not isinstance(tree, (dict, list)):
        return [path]
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return [path, *(leaf for key, value in items for leaf in leaves(value, (*path, key)))]


EXPECTED = {
    "",
    "bad_card",
    "bad_price",
    "corrupt_line",
    "no_snapshot",
    "not_a_number",
    "not_finite",
    "off_grid",
    "out_of_range",
    "overflow",
    "unsorted_book",
}


def code_of(path: Path, name: str) -> str:
    try:
        replay(path, None, name)
    except ac.AivoraError as error:
        return error.code
    return ""


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_part_of_a_frame_may_be_wrong(name: str, tmp_path: Path) -> None:
    assert [m.kind for m in read_feed(write(tmp_path / "good", f"17 {REAL[name]}\n"))]
    refused: set[str] = set()
    for path in leaves(json.loads(REAL[name]))[1:]:
        for bad in (None, True, -1, 2**64, "", "x", [], {}, [[]], [[1]], "sNaN", 1e300):
            frame = json.loads(REAL[name])
            inner = frame
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = bad
            feed = write(tmp_path / "feed", f"17 {json.dumps(frame)}\n" * 2)
            refused.add(code_of(feed, name))
    assert "corrupt_line" in refused
    assert refused <= EXPECTED, refused - EXPECTED

"""Recorded feeds: read as written, and a damaged line is named without loss of what came before."""

from __future__ import annotations

import doctest
import gzip
import importlib
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

import aivora_core as ac
from aivora_core.adapters.exits import Watch
from aivora_core.adapters.feeds import Feed, FeedMessage, read_feed, replay

ADAPTERS = ["exits", "feeds", "formats", "plots", "synchronise"]

if TYPE_CHECKING:
    from pathlib import Path

RECORDING = "l2/hyperliquid_btc_20250126.gz"
BOOK = (
    '{{"channel":"l2Book","data":{{"coin":"BTC","time":5,"levels":'
    '[[{{"n":1,"px":"{bid}","sz":"1.5"}}],[{{"n":1,"px":"{ask}","sz":"2"}}]]}}}}'
)
TRADES = '{"channel":"trades","data":[{"coin":"BTC","px":"3","sz":"1"}]}'


def line(bid: str = "100.0", ask: str = "101.0") -> str:
    return f"17 {BOOK.format(bid=bid, ask=ask)}\n"


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.data
def test_the_recording_is_read_whole(data_dir: Path) -> None:
    messages = list(read_feed(data_dir / RECORDING))
    assert [m.line for m in messages] == list(range(1, 56))
    assert sum(m.kind == "snapshot" for m in messages) == 46
    assert sum(m.kind == "other" for m in messages) == 9
    first = messages[0]
    assert (first.symbol, first.received_ns) == ("BTC", 1737918843893903000)
    assert (first.bids[0], first.asks[0]) == (("105055.0", "3.03622"), ("105056.0", "6.34472"))
    assert {len(m.bids) for m in messages if m.kind == "snapshot"} == {20}


@pytest.mark.data
def test_the_recording_fills_a_book_exactly(data_dir: Path) -> None:
    venue = ac.Venue.load("hyperliquid")
    found = replay(data_dir / RECORDING, venue)
    assert (found.messages, list(found.books)) == (55, ["BTC"])
    book = found.books["BTC"]
    last = [m for m in read_feed(data_dir / RECORDING, "hyperliquid") if m.kind == "snapshot"][-1]
    for found_side, side in ((book.depth()["bids"], last.bids), (book.depth()["asks"], last.asks)):
        assert found_side == [(Decimal(p), Decimal(q)) for p, q in side]
    walk = book.walk("buy", 10)
    left, cost = Decimal(10), Decimal(0)
    for price, size in book.depth()["asks"]:
        taken = min(left, size)
        cost, left = cost + taken * price, left - taken
    assert (walk.cost, walk.unfilled) == (cost, left)


@pytest.mark.data
def test_a_cut_off_recording_is_used_up_to_the_cut(data_dir: Path, tmp_path: Path) -> None:
    packed = (data_dir / RECORDING).read_bytes()
    path = written(tmp_path / "cut.gz", packed[: len(packed) // 2])
    books: dict[str, ac.Book] = {}
    read: list[int] = []
    with pytest.raises(ac.BookError) as caught:
        read.extend(m.line for m, _ in Feed(path, ac.Venue.load("hyperliquid"), books=books))
    assert caught.value.code == "corrupt_line"
    whole = list(read_feed(data_dir / RECORDING))
    row = caught.value.row
    assert row is not None
    assert 1 < row < len(whole)
    last = [m for m in whole[: row - 1] if m.kind == "snapshot"][-1]
    assert books["BTC"].depth(1)["bids"] == [tuple(Decimal(x) for x in last.bids[0])]


def test_plain_and_packed_are_read_alike(tmp_path: Path) -> None:
    text = line() + f"18 {TRADES}\n" + "\n" + line(bid="99.5")
    plain = written(tmp_path / "feed", text)
    packed = written(tmp_path / "feed.gz", gzip.compress(text.encode()))
    assert list(read_feed(plain)) == list(read_feed(packed))
    assert [(m.line, m.kind) for m in read_feed(plain)] == [
        (1, "snapshot"),
        (2, "other"),
        (4, "snapshot"),
    ]
    assert list(read_feed(written(tmp_path / "empty", ""))) == []


@pytest.mark.parametrize(
    "bad",
    [
        line()[:60],
        "17\n",
        BOOK.format(bid="1", ask="2") + "\n",
        "x " + BOOK.format(bid="1", ask="2") + "\n",
        "17 {}\n",
        "17 []\n",
        "17 NaN\n",
        "17 null\n",
        "17: {}\n",
        "1.7 {}\n",
        "1" * 30 + " {}\n",
        "wss://venue <- x: {}\n",
        "wss://venue 17: {}\n",
        '17 {"channel":"l2Book","data":{"coin":"BTC","time":5,"levels":[[]]}}\n',
        '17 {"channel":"l2Book","data":{"coin":"BTC","time":5,"levels":7}}\n',
        '17 {"channel":"l2Book","data":{"coin":1,"time":5,"levels":[[],[]]}}\n',
        '17 {"channel":"l2Book","data":{"coin":"BTC","time":"x","levels":[[],[]]}}\n',
        '17 {"channel":"l2Book","data":{"coin":"BTC","time":5,"levels":[[{"px":1}],[]]}}\n',
        "17 " + "[" * 100_000 + "\n",
        "\x00\xff\n",
    ],
)
def test_a_corrupt_line_is_named_and_what_came_before_stays(bad: str, tmp_path: Path) -> None:
    path = written(tmp_path / "feed", line() + line(bid="99.0") + bad + line(bid="98.0"))
    books: dict[str, ac.Book] = {}
    with pytest.raises(ac.BookError) as caught:
        replay(path, ac.Venue.load("hyperliquid"), books=books)
    assert (caught.value.code, caught.value.row, caught.value.field) == ("corrupt_line", 3, "line")
    assert len(caught.value.value) < 80
    assert books["BTC"].best_bid == 99


def test_a_bad_archive_is_named(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress((line() * 3).encode()))
    packed[-8] ^= 1  # the checksum
    seen: list[int] = []
    with pytest.raises(ac.BookError) as caught:
        seen.extend(m.line for m in read_feed(written(tmp_path / "sum.gz", bytes(packed))))
    assert caught.value.code == "corrupt_line"
    assert seen == list(range(1, caught.value.row or 0))
    with pytest.raises(ac.BookError) as caught:
        list(read_feed(written(tmp_path / "head.gz", b"\x1f\x8bgarbage")))
    assert caught.value.row == 1


def test_what_the_book_refuses_names_the_line(tmp_path: Path) -> None:
    venue = ac.Venue.load("hyperliquid")
    path = written(tmp_path / "feed", line() + line(bid="102.0"))
    books: dict[str, ac.Book] = {}
    with pytest.raises(ac.BookError) as caught:
        replay(path, venue, books=books)
    assert caught.value.code == "crossed_book"
    assert caught.value.__notes__ == ["in line 2 of the feed"]
    assert books["BTC"].best_bid == 100
    path = written(tmp_path / "feed", line().replace("BTC", "XYZ"))
    with pytest.raises(ac.UnknownNameError, match="XYZ"):
        replay(path, venue)
    path = written(tmp_path / "feed", line(bid="100.05"))
    with pytest.raises(ac.NumberError) as off:
        replay(path, venue)
    assert (off.value.code, off.value.row) == ("off_grid", 0)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    for lines in (1, 63, 64, 500):
        path = written(tmp_path / "feed", '17 {"type":"l2update"}\n' * lines)
        with pytest.raises(ac.BookError, match="hyperliquid") as caught:
            list(read_feed(path))
        assert (caught.value.code, caught.value.row) == ("corrupt_line", 1)
    with pytest.raises(ac.NumberError, match="hyperliquid") as named:
        read_feed(path, "binance")
    assert (named.value.code, named.value.field) == ("out_of_range", "format")
    with pytest.raises(FileNotFoundError):
        list(read_feed(tmp_path / "none"))


def test_messages_apply_to_books() -> None:
    book = ac.Book(ac.Venue.load("demo")["BTC"])
    assert not FeedMessage(1, 0, "other", "BTC").apply(book)
    assert FeedMessage(1, 0, "snapshot", "BTC", bids=(("5", "1"),), sequence=3).apply(book)
    step = FeedMessage(2, 0, "delta", "BTC", asks=(("6", "1"),), sequence=4, previous=3)
    assert step.apply(book)
    assert (book.best_bid, book.best_ask, book.sequence) == (Decimal(5), Decimal(6), 4)
    with pytest.raises(ac.BookError):
        step.apply(book)


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_examples_of_the_adapters_run(name: str) -> None:
    module = importlib.import_module(f"aivora_core.adapters.{name}")
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0


def test_a_leap_of_the_clock_is_refused_at_once(tmp_path: Path) -> None:
    path = written(tmp_path / "feed", line() + line().replace("17 ", f"{10**19} ", 1))
    with pytest.raises(ac.LimitExceeded, match="look less often"):
        Watch(Feed(path), "BTC").run()
    watch = Watch(Feed(path), "BTC", every_ns=10**18).run()
    assert [instant.best_bid for instant in watch.instants] == [100] * 10
    with pytest.raises(ac.NumberError, match="above 0"):
        Watch(Feed(path), "BTC", every_ns=0)


def test_one_side_has_no_mid_and_no_exit(tmp_path: Path) -> None:
    text = line().replace('[{"n":1,"px":"101.0","sz":"2"}]', "[]")
    watch = Watch(Feed(written(tmp_path / "feed", text)), "BTC").run()
    (instant,) = watch.instants
    assert (instant.best_bid, instant.best_ask, instant.exits) == (100, None, ())
    assert instant.to_dict()["spread_bps"] is None

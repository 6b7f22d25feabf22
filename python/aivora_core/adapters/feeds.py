"""Recorded market data feeds: read line by line, numbers as they were written.

A recording is a text file, plain or gzip, with one message a line: the time of receipt in
nanoseconds, a space, and the venue's own JSON. Prices and sizes stay strings from the file to the
book, so that nothing is rounded on the way.

>>> from aivora_core.adapters.feeds import FORMATS
>>> sorted(FORMATS)
['hyperliquid']
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol

from aivora_core._core import Book, _error

if TYPE_CHECKING:
    import gzip
    import os
    from collections.abc import Iterator, Mapping
    from io import BufferedReader

    from aivora_core._core import Venue

__all__ = [
    "FORMATS",
    "FeedFormat",
    "FeedMessage",
    "Level",
    "Replay",
    "follow",
    "read_feed",
    "replay",
]

LINE_BYTES_MAX = 1 << 26
GZIP_MAGIC = b"\x1f\x8b"

Level = tuple[str, str]
"""A price and a quantity, as the venue wrote them."""


@dataclass(frozen=True, slots=True)
class FeedMessage:
    """One message of a feed.

    Attributes
    ----------
    line : int
        Its line in the file, from 1.
    received_ns : int
        When it was received, in nanoseconds since 1970.
    kind : {"snapshot", "delta", "other"}
        What it does to the book; trades and the like are ``"other"``.
    symbol : str
        The instrument, as the venue names it.
    bids, asks : tuple of (str, str)
        Price and quantity of each level, best first in a snapshot.
    sequence, previous : int or None
        Its sequence number and that of the message before it, where the venue gives them.
    venue_ms : int or None
        The venue's own time, in milliseconds since 1970.
    """

    line: int
    received_ns: int
    kind: Literal["snapshot", "delta", "other"]
    symbol: str
    bids: tuple[Level, ...] = ()
    asks: tuple[Level, ...] = ()
    sequence: int | None = None
    previous: int | None = None
    venue_ms: int | None = None

    def apply(self, book: Book) -> bool:
        """Apply the message to a book, and answer whether it concerned the book at all.

        Examples
        --------
        >>> import aivora_core as ac
        >>> from aivora_core.adapters.feeds import FeedMessage
        >>> book = ac.Book(ac.Venue.load("demo")["BTC"])
        >>> FeedMessage(1, 0, "snapshot", "BTC", bids=(("64000", "1"),)).apply(book)
        True
        >>> book.best_bid
        Decimal('64000')
        """
        if self.kind == "snapshot":
            book.snapshot(self.bids, self.asks, self.sequence)
        elif self.kind == "delta":
            book.delta(self.bids, self.asks, self.sequence, self.previous)
        return self.kind != "other"


class FeedFormat(Protocol):
    """What a venue's format has to say; a new one is entered in `FORMATS`."""

    def recognises(self, payload: Any) -> bool:
        """Tell whether a line's JSON is of this format."""
        ...

    def message(self, line: int, received_ns: int, payload: Any) -> FeedMessage:
        """Turn a line's JSON into a message; anything but `FeedMessage` is a corrupt line."""
        ...


class Hyperliquid:
    """The public websocket of Hyperliquid: ``l2Book`` snapshots, trades and the rest."""

    CHANNELS = frozenset({"l2Book", "trades"})

    def recognises(self, payload: Any) -> bool:
        """Tell whether a line's JSON is of this format."""
        return isinstance(payload, dict) and payload.get("channel") in self.CHANNELS

    def message(self, line: int, received_ns: int, payload: Any) -> FeedMessage:
        """Turn a line's JSON into a message."""
        channel, data = payload["channel"], payload["data"]
        if channel != "l2Book":
            symbol = data[0]["coin"] if isinstance(data, list) and data else ""
            return FeedMessage(line, received_ns, "other", _text(symbol))
        bids, asks = (tuple((_text(x["px"]), _text(x["sz"])) for x in s) for s in data["levels"])
        return FeedMessage(
            line,
            received_ns,
            "snapshot",
            _text(data["coin"]),
            bids,
            asks,
            venue_ms=int(data["time"]),
        )


FORMATS: Mapping[str, FeedFormat] = {"hyperliquid": Hyperliquid()}
"""The formats of feeds by name."""


def read_feed(
    path: str | os.PathLike[str],
    format: str | None = None,  # noqa: A002 -- the word for it
) -> Iterator[FeedMessage]:
    """Read the messages of a recorded feed, in order.

    Parameters
    ----------
    path : str or path
        The recording, plain or gzip.
    format : str, optional
        A name in `FORMATS`; without it the first line tells.

    Yields
    ------
    FeedMessage
        One for each line.

    Raises
    ------
    BookError
        ``corrupt_line`` naming the line: not a time and JSON, not of this format, or cut off.
        What came before it has been yielded and stays good.
    NumberError
        ``out_of_range`` for a format that is not known.

    Examples
    --------
    >>> from aivora_core.adapters.feeds import read_feed
    >>> feed = read_feed("../shared/data/l2/hyperliquid_btc_20250126.gz")  # doctest: +SKIP
    >>> next(feed).bids[0]  # doctest: +SKIP
    ('105055.0', '3.03622')
    """
    if format is not None and format not in FORMATS:
        names = ", ".join(sorted(FORMATS))
        raise _error("out_of_range", "format", repr(format), f"must be one of {names}")
    return _messages(path, None if format is None else FORMATS[format])


def _messages(path: str | os.PathLike[str], known: FeedFormat | None) -> Iterator[FeedMessage]:
    for line, raw in _lines(path):
        received_ns, payload = _split(line, raw)
        if known is None:
            known = _recognise(line, payload)
        try:
            yield known.message(line, received_ns, payload)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            _corrupt(line, raw, f"must be a message of this format ({error!r})", error)


@dataclass(frozen=True, slots=True)
class Replay:
    """What a feed leaves behind.

    Attributes
    ----------
    books : dict of str to Book
        The book of each instrument as its last message left it.
    messages : int
        How many messages were read, those included that change no book.
    """

    books: dict[str, Book]
    messages: int


def replay(
    path: str | os.PathLike[str],
    venue: Venue,
    format: str | None = None,  # noqa: A002
    *,
    books: dict[str, Book] | None = None,
) -> Replay:
    """Replay a whole feed into books.

    Parameters
    ----------
    path : str or path
        The recording.
    venue : Venue
        The card that has the feed's instruments.
    format : str, optional
        A name in `FORMATS`; without it the first line tells.
    books : dict of str to Book, optional
        Books to change, by symbol; others are added to it. When a line is corrupt, they are as
        the lines before it left them.

    Returns
    -------
    Replay
        The books, and the number of messages.

    Raises
    ------
    AivoraError
        As `follow`.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core.adapters.feeds import replay
    >>> path = "../shared/data/l2/hyperliquid_btc_20250126.gz"
    >>> replay(path, ac.Venue.load("hyperliquid")).books["BTC"].mid  # doctest: +SKIP
    Decimal('105050.5')
    """
    books = {} if books is None else books
    messages = sum(1 for _ in follow(path, venue, format, books=books))
    return Replay(books, messages)


def follow(
    path: str | os.PathLike[str],
    venue: Venue,
    format: str | None = None,  # noqa: A002
    *,
    books: dict[str, Book] | None = None,
) -> Iterator[tuple[FeedMessage, Book | None]]:
    """Follow a feed message by message.

    Parameters
    ----------
    path, venue, format, books
        As `replay`.

    Yields
    ------
    FeedMessage, Book or None
        The message, and the book that it changed, as it left it: one object for each instrument.

    Raises
    ------
    AivoraError
        As `read_feed`, and as a book refuses a message, with a note that names the line.
    UnknownNameError
        ``unknown_instrument`` for a symbol that is not on the card.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core.adapters.feeds import follow
    >>> path = "../shared/data/l2/hyperliquid_btc_20250126.gz"
    >>> for message, book in follow(path, ac.Venue.load("hyperliquid")):  # doctest: +SKIP
    ...     print(message.line, book and book.mid)
    """
    books = {} if books is None else books
    for message in read_feed(path, format):
        if message.kind == "other":
            yield message, None
            continue
        try:
            book = books.get(message.symbol) or Book(venue[message.symbol])
            message.apply(book)
        except Exception as error:
            error.add_note(f"in line {message.line} of the feed")
            raise
        books[message.symbol] = book
        yield message, book


def _text(value: object) -> str:
    if not isinstance(value, str):
        msg = f"{value!r} is not a string"
        raise TypeError(msg)
    return value


def _corrupt(line: int, seen: object, limit: str, cause: Exception | None = None) -> NoReturn:
    shown = seen.decode("utf-8", "replace") if isinstance(seen, bytes) else str(seen)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."  # noqa: PLR2004 -- one line of a terminal
    raise _error("corrupt_line", "line", repr(shown), limit, line) from cause


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, bytes]]:
    """Yield numbered lines; a damaged archive ends in an error that names the line."""
    import zlib

    with _open(path) as stream:
        line = 0
        while True:
            line += 1
            try:
                raw = stream.readline(LINE_BYTES_MAX)
            except (EOFError, OSError, zlib.error) as error:
                _corrupt(line, error, "the archive must be whole", error)
            if not raw:
                return
            if not raw.endswith(b"\n") and len(raw) == LINE_BYTES_MAX:
                _corrupt(line, raw[:60], f"a line must be at most {LINE_BYTES_MAX} bytes")
            if raw.strip():
                yield line, raw


def _open(path: str | os.PathLike[str]) -> gzip.GzipFile | BufferedReader:
    import gzip
    from pathlib import Path

    with Path(path).open("rb") as probe:
        packed = probe.read(2) == GZIP_MAGIC
    return gzip.open(path, "rb") if packed else Path(path).open("rb")


def _split(line: int, raw: bytes) -> tuple[int, Any]:
    import json

    head, _, body = raw.partition(b" ")
    if not (head.isdigit() and head.isascii()):
        _corrupt(line, raw, "must begin with the time of receipt in nanoseconds")
    try:
        # A number in the JSON keeps its digits; NaN and the infinities are no JSON.
        payload = json.loads(body, parse_float=str, parse_constant=_refuse)
        return int(head), payload
    except (ValueError, RecursionError) as error:
        _corrupt(line, raw, "must be JSON behind the time", error)


def _refuse(name: str) -> NoReturn:
    msg = f"{name} is no number"
    raise ValueError(msg)


def _recognise(line: int, payload: Any) -> FeedFormat:
    for known in FORMATS.values():
        if known.recognises(payload):
            return known
    _corrupt(line, payload, f"no format recognises it; known are {', '.join(sorted(FORMATS))}")

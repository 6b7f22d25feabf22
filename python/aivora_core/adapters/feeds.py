"""Recorded market data feeds: read line by line, numbers as they were written.

A recording is a text file, plain or gzip, with one message a line: the time of receipt, a space,
and the venue's own JSON. The time is nanoseconds since 1970, or seconds with a point and a colon
behind it; a line that begins with a websocket's address is one that the recorder sent. Prices and
sizes stay strings from the file to the book, so that nothing is rounded on the way.

>>> from aivora_core.adapters.feeds import FORMATS
>>> FORMATS["okx"].title
'OKX'
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from aivora_core._core import Book, Venue, _error, _pack_deltas
from aivora_core.adapters.formats import FORMATS, FeedFormat, FeedMessage, Level, Rule
from aivora_core.adapters.synchronise import Counts, Synchroniser
from aivora_core.errors import AivoraError, BookError

if TYPE_CHECKING:
    import gzip
    import os
    from collections.abc import Iterator
    from io import BufferedReader

    from aivora_core._core import Instrument
    from aivora_core.adapters.synchronise import OnGap

__all__ = [
    "FORMATS",
    "Counts",
    "Feed",
    "FeedFormat",
    "FeedMessage",
    "Level",
    "Packed",
    "Replay",
    "Rule",
    "Seen",
    "Survey",
    "Synchroniser",
    "inferred",
    "pack",
    "read_feed",
    "replay",
    "survey",
]

LINE_BYTES_MAX = 1 << 26
UNRECOGNISED_MAX = 64
"""Lines at the head of a recording that no format has to recognise."""
EXPONENT_MAX = 30
GZIP_MAGIC = b"\x1f\x8b"
GREETING = b"wss://"
TIME_DIGITS_MAX = 20


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
        A name in `FORMATS`; without it the first lines tell.

    Yields
    ------
    FeedMessage
        One for each line that is not empty.

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
    return iter(_Reader(path, format))


class _Reader:
    """The messages of a recording, and afterwards the format that read them."""

    def __init__(self, path: str | os.PathLike[str], format: str | None) -> None:  # noqa: A002
        if format is not None and format not in FORMATS:
            names = ", ".join(sorted(FORMATS))
            raise _error("out_of_range", "format", repr(format), f"must be one of {names}")
        self.path = path
        self.format: FeedFormat | None = None if format is None else FORMATS[format]()

    def __iter__(self) -> Iterator[FeedMessage]:
        strange: list[tuple[int, int, Any]] = []
        for line, raw in _lines(self.path):
            received_ns, payload = _split(line, raw)
            if payload is None:
                yield FeedMessage(line, received_ns, "other", "")
                continue
            if self.format is None:
                self.format = _recognise(payload)
                if self.format is None:
                    strange.append((line, received_ns, payload))
                    if len(strange) == UNRECOGNISED_MAX:
                        break
                    continue
                for before, at, _ in strange:
                    yield FeedMessage(before, at, "other", "")
                strange = []
            try:
                yield self.format.message(line, received_ns, payload)
            except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
                limit = f"must be a message of {self.format.title} ({error!r})"
                _corrupt(line, raw, limit, error)
        if strange:
            names = ", ".join(sorted(FORMATS))
            _corrupt(strange[0][0], strange[0][2], f"no format recognises it; known are {names}")


@dataclass(slots=True)
class Seen:
    """What a recording says of one instrument.

    Attributes
    ----------
    deltas, snapshots, quotes, others : int
        How many messages of each kind.
    updates, deletions : int
        Levels in its deltas, and those of them with quantity zero.
    prices, quantities : set of str
        The different prices and quantities of its levels, as they were written.
    """

    deltas: int = 0
    snapshots: int = 0
    quotes: int = 0
    others: int = 0
    updates: int = 0
    deletions: int = 0
    prices: set[str] = field(default_factory=set)
    quantities: set[str] = field(default_factory=set)

    def add(self, message: FeedMessage, *, values: bool = True) -> None:
        """Count a message; with ``values`` remember its prices and quantities too.

        Examples
        --------
        >>> from aivora_core.adapters.feeds import FeedMessage, Seen
        >>> seen = Seen()
        >>> seen.add(FeedMessage(1, 0, "delta", "X", bids=(("5", "0"), ("4", "1"))))
        >>> seen.updates, seen.deletions, sorted(seen.prices)
        (2, 1, ['4', '5'])
        """
        setattr(self, name := f"{message.kind}s", getattr(self, name) + 1)
        if message.kind not in {"snapshot", "delta"}:
            return
        for side in (message.bids, message.asks):
            quantities = [quantity for _, quantity in side]
            if message.kind == "delta":
                self.updates += len(side)
                # Zero in any form: no digit but 0.
                self.deletions += sum(not quantity.strip("0.") for quantity in quantities)
            if values:
                self.prices.update([price for price, _ in side])
                self.quantities.update(quantities)

    @property
    def price_tick(self) -> str:
        """The largest step of 1, 2 or 5 times a power of ten that divides every price seen."""
        return _step(self.prices)

    @property
    def lot(self) -> str:
        """The same of the quantities."""
        return _step(self.quantities)


def _step(texts: set[str]) -> str:
    """The largest 1, 2 or 5 times a power of ten that divides all numbers; 1 without any."""
    parts = []
    for text in texts:
        try:
            _sign, digits, exponent = Decimal(text).as_tuple()
        except ArithmeticError:  # the book will say which line has it
            continue
        if isinstance(exponent, int) and abs(exponent) <= EXPONENT_MAX and any(digits):
            parts.append((int("".join(map(str, digits))), exponent))
    if not parts:
        return "1"
    scale = min(exponent for _, exponent in parts)
    divisor = math.gcd(*(whole * 10 ** (exponent - scale) for whole, exponent in parts))
    power = 0
    while divisor % 10 == 0:
        divisor, power = divisor // 10, power + 1
    lead = 5 if divisor % 5 == 0 else 2 if divisor % 2 == 0 else 1
    return f"{Decimal((0, (lead,), scale + power)):f}"


@dataclass(frozen=True, slots=True)
class Survey:
    """What a recording holds.

    Attributes
    ----------
    format : str
        The name of its format in `FORMATS`.
    messages : int
        Its lines, empty ones not counted.
    first_ns, last_ns : int
        When the first and the last were received.
    symbols : dict of str to Seen
        What it says of each instrument that has a book.
    in_base : dict of str to bool
        Whether the venue counts an instrument in units of the base asset; if not, a quantity is
        a number of contracts whose value the feed does not say.
    """

    format: str
    messages: int
    first_ns: int
    last_ns: int
    symbols: dict[str, Seen]
    in_base: dict[str, bool]

    @property
    def busiest(self) -> str:
        """The instrument with the most level updates; with snapshots only, the most of them."""
        return max(self.symbols, key=lambda s: (self.symbols[s].updates, self.symbols[s].snapshots))

    def instrument(self, symbol: str, taker_fee: str | None = None) -> Instrument:
        """An instrument with the grid inferred from the values seen; see `inferred`.

        Raises
        ------
        UnknownNameError
            ``unknown_instrument`` when the recording has no book of it.
        """
        if symbol not in self.symbols:
            limit = f"the feed has books of {', '.join(self.symbols)}"
            raise _error("unknown_instrument", "symbol", symbol, limit)
        seen = self.symbols[symbol]
        return inferred(symbol, seen.price_tick, seen.lot, taker_fee)


def survey(path: str | os.PathLike[str], format: str | None = None) -> Survey:  # noqa: A002
    """Read a recording through and say what it holds, without applying anything.

    Parameters
    ----------
    path : str or path
        The recording, plain or gzip.
    format : str, optional
        A name in `FORMATS`; without it the first lines tell.

    Returns
    -------
    Survey
        Counts for each instrument, and the grid that its values lie on.

    Raises
    ------
    BookError
        As `read_feed`; ``no_snapshot`` for a recording without any message of a book.

    Examples
    --------
    >>> from aivora_core.adapters.feeds import survey
    >>> found = survey("../shared/data/l2/binance_usdm_btcusdt_20240808.gz")  # doctest: +SKIP
    >>> found.symbols["BTCUSDT"].updates  # doctest: +SKIP
    443521
    """
    reader = _Reader(path, format)
    symbols: dict[str, Seen] = {}
    messages = first = last = 0
    for message in reader:
        messages += 1
        first = first or message.received_ns
        last = message.received_ns
        if message.symbol or message.kind == "snapshot":
            symbols.setdefault(message.symbol, Seen()).add(message)
    nameless = symbols.pop("", None)
    books = {symbol: seen for symbol, seen in symbols.items() if seen.deltas or seen.snapshots}
    if not books or reader.format is None:
        limit = "a feed needs messages of an order book"
        raise _error("no_snapshot", str(path), f"{messages:,} messages", limit)
    if nameless is not None and len(books) == 1:
        seen = next(iter(books.values()))
        seen.snapshots += nameless.snapshots
        seen.prices |= nameless.prices
        seen.quantities |= nameless.quantities
    known = reader.format
    name = next(name for name, kind in FORMATS.items() if isinstance(known, kind))
    in_base = {symbol: known.in_base(symbol) for symbol in books}
    return Survey(name, messages, first, last, books, in_base)


def inferred(symbol: str, price_tick: str, lot: str, taker_fee: str | None = None) -> Instrument:
    """An instrument of which only the grid is known: good for a book, not for margin.

    Parameters
    ----------
    symbol : str
        Its name.
    price_tick, lot : str
        Its grid.
    taker_fee : str, optional
        A fee rate to price exits with; unknown without it.

    Returns
    -------
    Instrument
        Linear, one unit of quantity worth its price. A card must have a margin schedule; this one
        asks for the whole value to open and for half of it to stay.

    Examples
    --------
    >>> from aivora_core.adapters.feeds import inferred
    >>> inferred("BTCUSDT", "0.1", "0.001").lot
    Decimal('0.001')
    """
    import json

    quantum = f"{Decimal(price_tick) * Decimal(lot):f}"
    fee = "" if taker_fee is None else f"taker_fee = {json.dumps(taker_fee)}"
    return Venue.from_toml(
        _CARD.format(
            symbol=json.dumps(symbol), price_tick=price_tick, lot=lot, quantum=quantum, fee=fee
        )
    )[symbol]


_CARD = """schema = "aivora-card/0"
name = "inferred"
title = "Grid inferred from a feed; margin rules unknown"
sources = ["the values of a recorded feed, not a venue's statement"]
[asset.QUOTE]
quantum = "{quantum}"
[rules]
settlement = "QUOTE"
trigger = "strict"
maintenance_basis = "mark"
initial_basis = "mark"
maintenance_from = "explicit"
closing_fee = "none"
bankruptcy_fee = "none"
{fee}
[[instrument]]
symbol = {symbol}
kind = "linear"
price_tick = "{price_tick}"
mark_tick = "{price_tick}"
lot = "{lot}"
[instrument.tiers]
by = "notional"
brackets = [{{ floor = "0", maintenance = "0.5", initial = "1" }}]
"""


class Feed:
    """The books of a recording, each kept in step by the venue's rule.

    Parameters
    ----------
    path : str or path
        The recording, plain or gzip.
    venue : Venue, optional
        The card that has its instruments. Without it their grids are inferred from all the values
        of the recording, which is then read twice; see `survey`.
    format : str, optional
        A name in `FORMATS`; without it the first lines tell.
    symbol : str, optional
        The one instrument to follow, as the feed names it; all without it.
    instrument : Instrument, optional
        What ``symbol`` is called on a card, instead of ``venue[symbol]``.
    on_gap : {"resync", "error"}
        Where a message was lost, drop the book and wait for the next snapshot, or raise.
    books : dict of str to Book, optional
        Books to change, by symbol; others are added to it when they get their first snapshot.

    Attributes
    ----------
    streams : dict of str to Synchroniser
        The books by symbol, with what became of their messages.

    Examples
    --------
    >>> from aivora_core.adapters.feeds import Feed
    >>> feed = Feed("../shared/data/l2/binance_usdm_btcusdt_20240808.gz")  # doctest: +SKIP
    >>> for message, book in feed:  # doctest: +SKIP
    ...     print(message.line, book and book.best_bid)
    >>> feed.streams["BTCUSDT"].counts.gaps  # doctest: +SKIP
    0
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        venue: Venue | None = None,
        format: str | None = None,  # noqa: A002
        *,
        symbol: str | None = None,
        instrument: Instrument | None = None,
        on_gap: OnGap = "resync",
        books: dict[str, Book] | None = None,
    ) -> None:
        self._reader = _Reader(path, format)
        self._survey = survey(path, format) if venue is None and instrument is None else None
        self._venue = venue
        self._symbol = symbol
        self._instrument = instrument
        self._on_gap: OnGap = on_gap
        self.books: dict[str, Book] = {} if books is None else books
        self.streams: dict[str, Synchroniser] = {}

    def __iter__(self) -> Iterator[tuple[FeedMessage, Book | None]]:
        """Yield each message with the book that it changed, as it left it; None for the others.

        Raises
        ------
        AivoraError
            As `read_feed`, and as a book or a rule refuses a message, with a note that names the
            line. At the end ``no_snapshot``, when no book could be built.
        """
        for message in self.messages():
            yield message, self.take(message)
        self.finish()

    def messages(self) -> Iterator[FeedMessage]:
        """Read the messages without applying them; see `take`.

        Raises
        ------
        BookError
            As `read_feed`.
        """
        return iter(self._reader)

    @property
    def format(self) -> FeedFormat | None:
        """The format that reads it, once a line has told."""
        return self._reader.format

    def take(self, message: FeedMessage) -> Book | None:
        """Apply one message, and give the book that it changed, or None.

        Raises
        ------
        AivoraError
            As a book or a rule refuses it, with a note that names the line.
        """
        if message.kind not in {"snapshot", "delta"}:
            return None
        try:
            return self._take(message)
        except AivoraError as error:
            error.add_note(f"in line {message.line} of the feed")
            raise

    def _take(self, message: FeedMessage) -> Book | None:
        symbol = message.symbol or self._nameless(message)
        if self._symbol is not None and symbol != self._symbol:
            return None
        stream = self.streams.get(symbol)
        if stream is None:
            assert self._reader.format is not None  # noqa: S101 - a message was read
            instrument, known = self._instrument_of(symbol), self.books.get(symbol)
            stream = Synchroniser(instrument, self._reader.format.rule, self._on_gap, known)
            self.streams[symbol] = stream
        changed = stream.take(message)
        if not changed or stream.book is None:
            return None
        self.books[symbol] = stream.book
        return stream.book

    def _nameless(self, message: FeedMessage) -> str:
        """The instrument of a snapshot that names none: the one asked for, or the only one."""
        if self._symbol is not None:
            return self._symbol
        known = list(self.streams if self._survey is None else self._survey.symbols)
        if len(known) == 1:
            return known[0]
        limit = f"names no instrument, and the feed has {len(known)}: say which symbol"
        raise _error("corrupt_line", "line", "a snapshot", limit, message.line)

    def _instrument_of(self, symbol: str) -> Instrument:
        if self._instrument is not None:
            return self._instrument
        if self._venue is not None:
            return self._venue[symbol]
        assert self._survey is not None  # noqa: S101 - surveyed without a card
        return self._survey.instrument(symbol)

    def finish(self) -> None:
        """Say that the recording has ended.

        Raises
        ------
        BookError
            ``no_snapshot`` when it had deltas and no book could be built from them.
        """
        refusals = []
        for stream in self.streams.values():
            try:
                stream.finish()
            except BookError as error:
                refusals.append(error)
        if refusals and len(refusals) == len(self.streams):
            raise refusals[0]


@dataclass(frozen=True, slots=True)
class Replay:
    """What a feed leaves behind.

    Attributes
    ----------
    books : dict of str to Book
        The book of each instrument as its last message left it.
    messages : int
        How many messages were read, those included that change no book.
    counts : dict of str to Counts
        What became of the messages of each instrument.
    """

    books: dict[str, Book]
    messages: int
    counts: dict[str, Counts] = field(default_factory=dict)


def replay(
    path: str | os.PathLike[str],
    venue: Venue | None = None,
    format: str | None = None,  # noqa: A002
    *,
    symbol: str | None = None,
    on_gap: OnGap = "resync",
    books: dict[str, Book] | None = None,
) -> Replay:
    """Replay a whole feed into books.

    Parameters
    ----------
    path, venue, format, symbol, on_gap
        As `Feed`.
    books : dict of str to Book, optional
        Books to change, by symbol; others are added to it. When a line is corrupt, they are as
        the lines before it left them.

    Returns
    -------
    Replay
        The books, the number of messages, and what became of them.

    Raises
    ------
    AivoraError
        As `Feed`.

    Examples
    --------
    >>> from aivora_core.adapters.feeds import replay
    >>> path = "../shared/data/l2/hyperliquid_btc_20250126.gz"
    >>> replay(path).books["BTC"].mid  # doctest: +SKIP
    Decimal('105050.5')
    """
    feed = Feed(path, venue, format, symbol=symbol, on_gap=on_gap, books=books)
    messages = sum(1 for _ in feed)
    counts = {symbol: stream.counts for symbol, stream in feed.streams.items()}
    return Replay(feed.books, messages, counts)


@dataclass(frozen=True, slots=True)
class Packed:
    """A stretch of a recording in which one book was in step: a snapshot and all deltas behind it.

    Attributes
    ----------
    instrument : Instrument
        What is traded.
    bids, asks : tuple of (str, str)
        The snapshot, best first.
    sequence : int or None
        Its number.
    columns : dict of str to array of int64
        The deltas that were applied, as `Book.delta_many` takes them.
    """

    instrument: Instrument
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    sequence: int | None
    columns: dict[str, Any]

    def replay(self) -> Book:
        """Replay the stretch into a new book, every check made again.

        Examples
        --------
        >>> from aivora_core.adapters.feeds import pack
        >>> path = "../shared/data/l2/binance_usdm_btcusdt_20240808.gz"
        >>> pack(path)[0].replay().best_bid  # doctest: +SKIP
        Decimal('61659.7')
        """
        book = Book(self.instrument, self.bids, self.asks, self.sequence)
        book.delta_many(**self.columns)
        return book


class _Recorded:
    """A book that remembers what it took."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self.taken: list[tuple[tuple[Any, Any, Any], list[tuple[Any, Any, Any, Any]]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._book, name)

    def snapshot(self, bids: Any, asks: Any, sequence: int | None = None) -> None:
        self._book.snapshot(bids, asks, sequence)
        if self.taken and not self.taken[-1][1]:  # the same one, a number earlier
            self.taken.pop()
        self.taken.append(((bids, asks, sequence), []))

    def delta(
        self, bids: Any, asks: Any, sequence: int | None = None, previous: int | None = None
    ) -> None:
        self._book.delta(bids, asks, sequence, previous)
        self.taken[-1][1].append((bids, asks, sequence, previous))


def pack(
    path: str | os.PathLike[str],
    venue: Venue | None = None,
    format: str | None = None,  # noqa: A002
    *,
    symbol: str | None = None,
    on_gap: OnGap = "resync",
) -> list[Packed]:
    """Read one instrument of a recording into columns, to be replayed again and again.

    Parameters
    ----------
    path, venue, format, on_gap
        As `Feed`.
    symbol : str, optional
        The instrument, as the feed names it; the busiest without it.

    Returns
    -------
    list of Packed
        One for each snapshot that was taken: a single one where nothing was lost. Whole ticks and
        lots, so that ``numpy.savez`` keeps them exactly.

    Raises
    ------
    AivoraError
        As `Feed`.

    Examples
    --------
    >>> from aivora_core.adapters.feeds import pack
    >>> path = "../shared/data/l2/binance_usdm_btcusdt_20240808.gz"
    >>> len(pack(path)[0].columns["price_ticks"])  # doctest: +SKIP
    443262
    """
    held = survey(path, format)
    symbol = held.busiest if symbol is None else symbol
    instrument = held.instrument(symbol) if venue is None else venue[symbol]
    recorded: Any = _Recorded(Book(instrument))
    feed = Feed(
        path,
        None,
        held.format,
        symbol=symbol,
        instrument=instrument,
        on_gap=on_gap,
        books={symbol: recorded},
    )
    for message in feed.messages():
        feed.take(message)
    feed.finish()
    stretches = []
    for (bids, asks, sequence), deltas in recorded.taken:
        columns = _pack_deltas(instrument, [(b, a) for b, a, _, _ in deltas])
        if sequence is not None:
            for place, name in ((2, "sequence"), (3, "previous")):
                columns[name] = np.array([delta[place] for delta in deltas], dtype=np.int64)
        stretches.append(Packed(instrument, bids, asks, sequence, columns))
    return stretches


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
    """Time and JSON of a line; no JSON for a line that the recorder itself sent."""
    import json

    head, _, body = raw.partition(b" ")
    sent = head.startswith(GREETING)
    if sent:
        arrow, _, body = body.partition(b" ")
        head, _, body = body.partition(b" ")
        if arrow not in {b"<-", b"<->"}:
            _corrupt(line, raw, "must have <- or <-> behind the address")
    received_ns = _time(head.strip())
    if received_ns is None:
        limit = "must begin with the time of receipt: nanoseconds, or seconds and a colon"
        _corrupt(line, raw, limit)
    if sent:
        return received_ns, None
    try:
        # A number in the JSON keeps its digits; NaN and the infinities are no JSON.
        payload = json.loads(body, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        _corrupt(line, raw, "must be JSON behind the time", error)
    if payload is None:
        _corrupt(line, raw, "must be JSON that says something behind the time")
    return received_ns, payload


def _time(head: bytes) -> int | None:
    """Nanoseconds, from nanoseconds or from seconds with a point."""
    if head.isdigit():
        return int(head) if len(head) <= TIME_DIGITS_MAX else None
    whole, point, part = head.removesuffix(b":").partition(b".")
    if not (whole + part).isdigit() or not whole or len(whole) > TIME_DIGITS_MAX - 9:
        return None
    if not point and not head.endswith(b":"):
        return None
    return int(whole + part[:9].ljust(9, b"0"))


def _refuse(name: str) -> NoReturn:
    msg = f"{name} is no number"
    raise ValueError(msg)


def _recognise(payload: Any) -> FeedFormat | None:
    for kind in FORMATS.values():
        known = kind()
        if known.recognises(payload):
            return known
    return None

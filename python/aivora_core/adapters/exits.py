"""Forced exits through a recorded feed: what selling or buying would have cost, second by second.

A `Watch` follows one instrument of a feed, looks at its book at regular times of receipt, and
asks the book for each exit: cost, average and slippage come from `Book.walk`, nothing is
computed here.

>>> from aivora_core.adapters.exits import BANDS
>>> BANDS
('5', '25', '100')
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from aivora_core._core import _error
from aivora_core.adapters.feeds import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from aivora_core._core import Book, Walk
    from aivora_core.adapters.feeds import Feed
    from aivora_core.adapters.formats import FeedMessage

__all__ = ["BANDS", "Instant", "QuoteCheck", "Timings", "Watch", "default_sizes"]

BANDS = ("5", "25", "100")
"""Distances from the mid, in basis points, within which depth is told."""
SIZES_WITHIN_BPS = "25"
SIZES_OF_DEPTH = (100, 10, 1)
INSTANTS_MAX = 1 << 20
WAITING_MAX = 1 << 16
QUOTES_KEPT = 1 << 12
NS = 1_000_000_000
SIDES: tuple[Literal["sell", "buy"], ...] = ("sell", "buy")


@dataclass(frozen=True, slots=True)
class Instant:
    """The book at one time of receipt.

    Attributes
    ----------
    elapsed_ns : int
        Time since the first message of the feed.
    best_bid, best_ask : Decimal or None
        The touch; None without a book in step, or without a side.
    spread_bps : Decimal or None
        The spread over the mid, cut to 4 decimals.
    depth : dict of str to (Decimal, Decimal)
        By distance from the mid in basis points: what the bids and the asks hold within it.
    exits : tuple of Walk
        The forced exits, sells before buys, in the order of the sizes.
    """

    elapsed_ns: int
    best_bid: Decimal | None = None
    best_ask: Decimal | None = None
    spread_bps: Decimal | None = None
    depth: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    exits: tuple[Walk, ...] = ()

    def to_dict(self, *, priced: bool = True) -> dict[str, Any]:
        """All of it as text, for ``--json``; without ``priced`` no cost and no fee.

        Examples
        --------
        >>> from aivora_core.adapters.exits import Instant
        >>> Instant(1_500_000_000).to_dict()["second"]
        '1.5'
        """
        text = ((n, v if v is None else f"{v:f}") for n, v in self._prices())
        exits = [walk.to_dict() for walk in self.exits]
        if not priced:
            exits = [row | {"cost": None, "fee": None} for row in exits]
        return {
            "second": f"{(Decimal(self.elapsed_ns) / NS).normalize():f}",
            **dict(text),
            "depth": {
                bps: {"bids": f"{bids:f}", "asks": f"{asks:f}"}
                for bps, (bids, asks) in self.depth.items()
            },
            "exits": exits,
        }

    def _prices(self) -> Iterator[tuple[str, Decimal | None]]:
        for name in ("best_bid", "best_ask", "spread_bps"):
            yield name, getattr(self, name)


_Touch = tuple[int, tuple[tuple[Decimal, Decimal], ...]]


@dataclass(slots=True)
class QuoteCheck:
    """The venue's own best prices against the book's, where both carry an update number.

    A quote holds from its number to the next quote's. A book at a number in between must show the
    same best bid and ask, price and quantity.

    Attributes
    ----------
    compared, agreed : int
        Books that stood between two quotes, and those that showed the same.
    unmatched : int
        Books before the first quote or after the last: nothing to compare with.
    """

    compared: int = 0
    agreed: int = 0
    unmatched: int = 0
    _waiting: deque[_Touch] = field(default_factory=deque)
    _quotes: deque[_Touch] = field(default_factory=lambda: deque(maxlen=QUOTES_KEPT))

    def book(self, book: Book) -> None:
        """Hold a book's touch to the quote of its number, or remember it until that is known."""
        if book.sequence is None:
            return
        depth = book.depth(1)
        touch = (book.sequence, (*depth["bids"], *depth["asks"]))
        if self._quotes and self._quotes[-1][0] > book.sequence:
            # Quotes come over a stream of their own, which may be ahead.
            self._compare(touch)
            return
        self._waiting.append(touch)
        if len(self._waiting) > WAITING_MAX:  # a feed without quotes
            self._waiting.popleft()
            self.unmatched += 1

    def quote(self, message: FeedMessage) -> None:
        """Take a quote: every book before its number is held to the quote before it."""
        number = message.sequence or 0
        while self._waiting and self._waiting[0][0] < number:
            self._compare(self._waiting.popleft())
        levels = ((Decimal(p), Decimal(q)) for p, q in (*message.bids, *message.asks))
        self._quotes.append((number, tuple(levels)))

    def _compare(self, touch: _Touch) -> None:
        quote = next((quote for quote in reversed(self._quotes) if quote[0] <= touch[0]), None)
        if quote is None:
            self.unmatched += 1
            return
        self.compared += 1
        self.agreed += touch[1] == quote[1]

    def finish(self) -> None:
        """Count the books that no later quote speaks of."""
        self.unmatched += len(self._waiting)
        self._waiting.clear()


@dataclass(slots=True)
class Timings:
    """Seconds that the parts of a run took here; never a promise.

    Attributes
    ----------
    read, applied, observed : float
        Reading and parsing lines; keeping the book in step, from text to book; looking at it.
    """

    read: float = 0.0
    applied: float = 0.0
    observed: float = 0.0


def default_sizes(book: Book) -> list[Decimal]:
    """Three sizes to exit with: about 1%, 10% and all of the depth near the mid.

    Depth is that of the thinner side within 25 basis points, or all of it where that is nothing;
    each size is cut to its first digit, and is at least one lot.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core.adapters.exits import default_sizes
    >>> book = ac.Book(ac.Venue.load("demo")["BTC"], [("64000", "4.5")], [("64001", "7")])
    >>> [str(size) for size in default_sizes(book)]
    ['0.04', '0.4', '4']
    """
    lot = book.instrument.lot
    held = min(book.quantity_within(side, SIZES_WITHIN_BPS) for side in SIDES)
    if not held:
        most = 1_000_000
        held = min(book.quantity_within(side, most) for side in SIDES)
    lots = int(held / lot)
    sizes = []
    for share in SIZES_OF_DEPTH:
        part = max(lots // share, 1)
        digit = 10 ** (len(str(part)) - 1)
        sizes.append(part // digit * digit * lot)
    # Written out: 30, never 3E+1.
    return [Decimal(f"{size.normalize():f}") for size in dict.fromkeys(sizes)]


class Watch:
    """One instrument of a feed, looked at in regular steps of the time of receipt.

    Parameters
    ----------
    feed : Feed
        Made for ``symbol`` alone.
    symbol : str
        The instrument, as the feed names it.
    every_ns : int
        The step, above zero.
    sizes : sequence of (int, str or Decimal), optional
        Quantities to exit with; `default_sizes` of the first book without it.
    bands : sequence of str
        Distances from the mid in basis points.

    Attributes
    ----------
    instants : list of Instant
        One at each step, and one at the end.
    seen : Seen
        Messages and level updates of the instrument.
    messages : int
        All messages of the feed.
    quotes : QuoteCheck
        The venue's quotes against the book.
    timings : Timings
        What took how long.

    Examples
    --------
    >>> from aivora_core.adapters.feeds import Feed
    >>> from aivora_core.adapters.exits import Watch
    >>> feed = Feed("../shared/data/l2/hyperliquid_btc_20250126.gz")  # doctest: +SKIP
    >>> watch = Watch(feed, "BTC", 10**9).run()  # doctest: +SKIP
    >>> watch.instants[-1].exits[0].vwap  # doctest: +SKIP
    """

    def __init__(
        self,
        feed: Feed,
        symbol: str,
        every_ns: int = NS,
        sizes: Sequence[int | str | Decimal] | None = None,
        bands: Sequence[str] = BANDS,
    ) -> None:
        if every_ns <= 0:
            raise _error("out_of_range", "every", str(every_ns), "must be above 0")
        self.feed = feed
        self.symbol = symbol
        self.every_ns = every_ns
        self.sizes = list(sizes) if sizes else []
        self.bands = tuple(bands)
        self.instants: list[Instant] = []
        self.seen = Seen()
        self.messages = 0
        self.first_ns = self.last_ns = 0
        self.quotes = QuoteCheck()
        self.timings = Timings()

    def run(self, through: Callable[[Iterable[Any]], Iterable[Any]] = iter) -> Watch:
        """Follow the feed to its end.

        Parameters
        ----------
        through : callable, optional
            What messages pass through on the way, for a display of progress.

        Returns
        -------
        Watch
            Itself.

        Raises
        ------
        AivoraError
            As `Feed`; ``limit_exceeded`` past 2^20 instants.
        """
        clock, timings = time.perf_counter, self.timings
        began, due = clock(), 0
        for message in through(self.feed.messages()):
            if not self.messages:
                self.first_ns = message.received_ns
                due = self.first_ns + self.every_ns
            self.messages += 1
            if message.received_ns > due:
                self._room((message.received_ns - due) // self.every_ns)
            while message.received_ns > due:
                self._observe(due)
                due += self.every_ns
            self.last_ns = max(self.last_ns, message.received_ns)
            if message.symbol in {self.symbol, ""}:
                self._take(message)
        if self.messages:
            self._observe(self.last_ns)  # later than all before it, or the only one
        self.quotes.finish()
        timings.read = clock() - began - timings.applied - timings.observed
        self.feed.finish()
        return self

    def _take(self, message: FeedMessage) -> None:
        start = time.perf_counter()
        book = self.feed.take(message)
        done = time.perf_counter()
        self.timings.applied += done - start
        if book is not None:
            self.quotes.book(book)
        elif message.kind == "quote":
            self.quotes.quote(message)
        if message.symbol or message.kind == "snapshot":
            self.seen.add(message, values=False)
        self.timings.observed += time.perf_counter() - done

    def _room(self, more: int) -> None:
        """A leap of the clock is refused before it is walked through."""
        if len(self.instants) + more >= INSTANTS_MAX:
            limit = f"at most {INSTANTS_MAX:,} instants: look less often"
            raise _error("limit_exceeded", "every", f"{self.every_ns} ns", limit)

    def _observe(self, at_ns: int) -> None:
        start = time.perf_counter()
        stream = self.feed.streams.get(self.symbol)
        book = None if stream is None else stream.book
        self.instants.append(self._look(at_ns - self.first_ns, book))
        self.timings.observed += time.perf_counter() - start

    def _look(self, elapsed_ns: int, book: Book | None) -> Instant:
        if book is None:
            return Instant(elapsed_ns)
        bid, ask, mid = book.best_bid, book.best_ask, book.mid
        if bid is None or ask is None or mid is None:
            return Instant(elapsed_ns, bid, ask)
        if not self.sizes:
            self.sizes = [*default_sizes(book)]
        sell, buy = SIDES
        depth = {
            bps: (book.quantity_within(sell, bps), book.quantity_within(buy, bps))
            for bps in self.bands
        }
        exits = tuple(book.walk(side, size) for side in SIDES for size in self.sizes)
        spread = ((ask - bid) / mid * 10_000).quantize(Decimal("0.0001"), "ROUND_DOWN")
        return Instant(elapsed_ns, bid, ask, spread, depth, exits)

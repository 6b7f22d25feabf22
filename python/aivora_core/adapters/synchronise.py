"""Keeping a book in step with its feed: the resynchronisation rules of venues.

A `Synchroniser` holds one instrument's book. It knows when a delta may be applied, when it comes
too late, and when one before it was lost; what a level means is the book's own business.

>>> import aivora_core as ac
>>> from aivora_core.adapters.formats import BinanceFutures, FeedMessage
>>> from aivora_core.adapters.synchronise import Synchroniser
>>> stream = Synchroniser(ac.Venue.load("demo")["BTC"], BinanceFutures.rule)
>>> bids, asks = (("64000", "1"),), (("64001", "1"),)
>>> stream.take(FeedMessage(1, 0, "delta", "BTC", bids, sequence=9, previous=5, first=6))
False
>>> stream.take(FeedMessage(2, 0, "snapshot", "BTC", bids, asks, sequence=7))
True
>>> stream.book.sequence, stream.counts.applied
(9, 1)
"""

from __future__ import annotations

import zlib
from collections import deque
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal

from aivora_core._core import Book, _error
from aivora_core.errors import BookError

if TYPE_CHECKING:
    from aivora_core._core import Instrument
    from aivora_core.adapters.formats import FeedMessage, Level, Rule
    from aivora_core.errors import AivoraError

__all__ = ["Counts", "OnGap", "Synchroniser"]

OnGap = Literal["resync", "error"]
"""What to do where a delta was lost: wait for the next snapshot, or stop."""

WAITING_MAX = 1 << 16
"""Deltas that wait for a snapshot; a stream without one is given up there."""
CHECKED_LEVELS = 25


@dataclass(slots=True)
class Counts:
    """What became of the messages of one instrument.

    Attributes
    ----------
    snapshots, applied : int
        Snapshots and deltas that the book took.
    stale : int
        Deltas dropped because the snapshot, or a newer delta, already held them.
    duplicates : int
        Deltas dropped because they came twice.
    early : int
        Deltas that were dropped while there was no snapshot to apply them to.
    surplus : int
        Snapshots dropped because the book was in step without them.
    gaps : int
        Places where a delta was lost, or a snapshot came too early for the deltas at hand.
    crossed : int
        Deltas that would have crossed the book: what was before them cannot be right.
    checksums, mismatches : int
        Checksums that were compared, and those that differed.
    stale_levels, uncrossed : int
        Levels dropped for their number, and levels removed because a newer one crossed them.
    resyncs : int
        Snapshots that brought the book back into step after it had been lost.
    """

    snapshots: int = 0
    applied: int = 0
    stale: int = 0
    duplicates: int = 0
    early: int = 0
    surplus: int = 0
    gaps: int = 0
    crossed: int = 0
    checksums: int = 0
    mismatches: int = 0
    stale_levels: int = 0
    uncrossed: int = 0
    resyncs: int = 0

    def to_dict(self) -> dict[str, int]:
        """All counts by name.

        Examples
        --------
        >>> from aivora_core.adapters.synchronise import Counts
        >>> Counts(gaps=1).to_dict()["gaps"]
        1
        """
        return asdict(self)


class Synchroniser:
    """One instrument's book, kept in step by its venue's rule.

    Parameters
    ----------
    instrument : Instrument
        What is traded: its grids are those of the feed.
    rule : Rule
        The venue's rule.
    on_gap : {"resync", "error"}
        Where a delta was lost, drop the book and wait for the next snapshot, or raise.
    book : Book, optional
        A book to fill instead of a new one.
    """

    def __init__(
        self,
        instrument: Instrument,
        rule: Rule,
        on_gap: OnGap = "resync",
        book: Book | None = None,
    ) -> None:
        if on_gap not in {"resync", "error"}:
            limit = "must be resync or error"
            raise _error("out_of_range", "on_gap", repr(on_gap), limit)
        self.rule = rule
        self.on_gap = on_gap
        self.counts = Counts()
        self._book = Book(instrument) if book is None else book
        self._in_step = False
        self._lost = False
        self._waiting: deque[FeedMessage] = deque()
        self._snapshot: FeedMessage | None = None  # until the first delta has straddled it
        self._numbers: dict[tuple[str, Decimal | str], int] = {}
        self._written: dict[str, dict[Decimal, str]] = {"bids": {}, "asks": {}}

    @property
    def book(self) -> Book | None:
        """The book while it is in step, else None."""
        return self._book if self._in_step else None

    def take(self, message: FeedMessage) -> bool:
        """Take a message in order of receipt.

        Parameters
        ----------
        message : FeedMessage
            Of this instrument.

        Returns
        -------
        bool
            Whether the book changed.

        Raises
        ------
        BookError
            With ``on_gap="error"``: ``sequence_gap``, ``crossed_book`` or ``bad_checksum``, the row
            being the line of the feed. ``no_snapshot`` when 65,536 deltas have waited for one.
        NumberError
            As `Book.snapshot` and `Book.delta`; the book stays as it was.
        """
        if message.kind == "snapshot":
            return self._take_snapshot(message)
        return message.kind == "delta" and self._take_delta(message)

    def finish(self) -> None:
        """Say that the feed has ended.

        Raises
        ------
        BookError
            ``no_snapshot`` when it had deltas and no snapshot they could be applied to.
        """
        if not self.counts.snapshots and (self._waiting or self.counts.early):
            self._no_snapshot(len(self._waiting) + self.counts.early)

    def _no_snapshot(self, deltas: int) -> None:
        symbol = self._book.instrument.symbol
        limit = "a book needs a snapshot to apply them to"
        raise _error("no_snapshot", symbol, f"{deltas:,} deltas and no snapshot", limit)

    # --- snapshots ------------------------------------------------------------------------------

    def _take_snapshot(self, message: FeedMessage) -> bool:
        if self.rule.snapshot == "inside":
            self._enter(message, message.sequence if self.rule.link != "none" else None)
            self._check_sum(message)
            return self._in_step
        if self._in_step:
            self.counts.surplus += 1
            return False
        number = message.sequence or 0
        while self._waiting and _number(self._waiting[0].sequence) < number:
            self._waiting.popleft()
            self.counts.stale += 1
        first = self._waiting[0] if self._waiting else None
        if first is not None and _number(first.first) > number:
            # Too old for the deltas at hand, which stay for a newer one.
            limit = f"must be at least {first.first}, the first number of the deltas at hand"
            self._gap(message, "snapshot", number, limit)
            return False
        self._enter(message, number)
        self._snapshot = message
        while self._waiting and self.book is not None:
            self._take_delta(self._waiting.popleft())
        return True

    def _enter(self, message: FeedMessage, sequence: int | None) -> None:
        self._book.snapshot(message.bids, message.asks, sequence)
        self.counts.snapshots += 1
        self.counts.resyncs += self._lost
        self._in_step, self._lost = True, False
        if self.rule.offsets:
            levels = [("bids", p) for p, _ in message.bids] + [("asks", p) for p, _ in message.asks]
            pairs = zip(levels, message.offsets, strict=True)
            self._numbers = {(side, _value(price)): n for (side, price), n in pairs}
        if self.rule.checksum:
            for side, levels_of in (("bids", message.bids), ("asks", message.asks)):
                self._written[side] = {Decimal(p): f"{p}:{q}" for p, q in levels_of}

    # --- deltas ---------------------------------------------------------------------------------

    def _take_delta(self, message: FeedMessage) -> bool:
        if not self._in_step:
            self._wait(message)
            return False
        if message.missing:
            self._gap(message, "delta", message.missing, "every row before it must be there")
            return False
        own, number = self._book.sequence, message.sequence
        if self._snapshot is not None and not self._straddle(message, _number(own)):
            return False
        if self.rule.link != "none" and self._snapshot is None:
            if _number(number) <= _number(own):
                if number == own:
                    self.counts.duplicates += 1
                else:
                    self.counts.stale += 1
                return False
            if self.rule.link == "previous" and message.previous != own:
                self._gap(
                    message, "previous", message.previous, f"must be the book's number: {own}"
                )
                if self.rule.snapshot == "beside":
                    self._wait(message)
                return False
        self._snapshot = None
        return self._apply(message)

    def _wait(self, message: FeedMessage) -> None:
        if self.rule.snapshot == "inside":
            self.counts.early += 1
            return
        self._waiting.append(message)
        if len(self._waiting) >= WAITING_MAX:
            self._no_snapshot(len(self._waiting))

    def _straddle(self, message: FeedMessage, own: int) -> bool:
        """The first delta behind a snapshot from beside: first <= number <= last, or no start."""
        if _number(message.sequence) < own:
            self.counts.stale += 1
            return False
        if _number(message.first) > own:
            limit = f"must be at most {own}, the snapshot's number"
            self._gap(message, "first", message.first, limit)
            self._wait(message)
            return False
        if message.sequence == own and self._snapshot is not None:
            # It ends where the snapshot was taken. A book's number must rise, so step back one.
            self._book.snapshot(self._snapshot.bids, self._snapshot.asks, own - 1)
        return True

    def _apply(self, message: FeedMessage) -> bool:
        bids, asks = message.bids, message.asks
        number, own = message.sequence, self._book.sequence
        if self.rule.offsets:
            bids, asks = (self._newer(side, message) for side in ("bids", "asks"))
        if self.rule.link == "none":
            number = None
        try:
            self._book.delta(bids, asks, number, own)
        except BookError as error:
            if error.code != "crossed_book":
                raise
            if self.rule.offsets:
                bids, asks = self._uncross(bids, asks)
                self._book.delta(bids, asks)
            else:
                self.counts.crossed += 1
                self._lose(error, message)
                return False
        self.counts.applied += 1
        for side, levels in (("bids", bids), ("asks", asks)) if self.rule.checksum else ():
            for price, quantity in levels:
                self._written[side][Decimal(price)] = f"{price}:{quantity}"
                if not Decimal(quantity):
                    del self._written[side][Decimal(price)]
        self._check_sum(message)
        return self._in_step

    # --- what was lost --------------------------------------------------------------------------

    def _gap(self, message: FeedMessage, field: str, value: object, limit: str) -> None:
        field = f"{message.symbol or self._book.instrument.symbol}.{field}"
        self.counts.gaps += 1
        self._lose(_error("sequence_gap", field, str(value), limit, message.line), message)

    def _lose(self, error: AivoraError, message: FeedMessage) -> None:
        if self.on_gap == "error":
            error.row = message.line
            raise error
        self._lost = self._lost or self._in_step
        self._in_step, self._snapshot = False, None

    # --- checksums ------------------------------------------------------------------------------

    def _check_sum(self, message: FeedMessage) -> None:
        if not self.rule.checksum or message.checksum is None:
            return
        depth = self._book.depth(CHECKED_LEVELS)
        bids = [self._written["bids"][price] for price, _ in depth["bids"]]
        asks = [self._written["asks"][price] for price, _ in depth["asks"]]
        parts = (part for pair in zip_longest(bids, asks) for part in pair if part is not None)
        unsigned = zlib.crc32(":".join(parts).encode())
        found = unsigned - (1 << 32) if unsigned >> 31 else unsigned
        self.counts.checksums += 1
        if found == message.checksum:
            return
        self.counts.mismatches += 1
        self._in_step, self._lost = False, True  # wrong already: no policy keeps it
        limit = f"the book's own is {found}"
        field = f"{message.symbol}.checksum"
        self._lose(
            _error("bad_checksum", field, str(message.checksum), limit, message.line), message
        )

    # --- levels with numbers --------------------------------------------------------------------

    def _newer(self, side: str, message: FeedMessage) -> tuple[Level, ...]:
        """The levels of a side that are newer than what is known of their prices."""
        number, kept = _number(message.sequence), []
        for price, quantity in getattr(message, side):
            key = (side, _value(price))
            if number < self._numbers.get(key, 0):
                self.counts.stale_levels += 1
                continue
            self._numbers[key] = number
            kept.append((price, quantity))
        return tuple(kept)

    def _uncross(
        self, bids: tuple[Level, ...], asks: tuple[Level, ...]
    ) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """The message with the older of each crossing pair removed; of equals the smaller."""
        depth = self._book.depth()
        sides: dict[str, dict[Decimal, Decimal]] = {}
        changes: dict[str, dict[Decimal, Decimal]] = {}
        for side, levels in (("bids", bids), ("asks", asks)):
            changes[side] = {Decimal(price): Decimal(quantity) for price, quantity in levels}
            merged = dict(depth[side]) | changes[side]  # type: ignore[literal-required]
            sides[side] = {price: quantity for price, quantity in merged.items() if quantity}
        while sides["bids"] and sides["asks"]:
            bid, ask = max(sides["bids"]), min(sides["asks"])
            if bid < ask:
                break
            newer = self._numbers.get(("bids", bid), 0) - self._numbers.get(("asks", ask), 0)
            newer = newer or (1 if sides["bids"][bid] > sides["asks"][ask] else -1)
            side, price = ("asks", ask) if newer > 0 else ("bids", bid)
            del sides[side][price]
            changes[side][price] = Decimal(0)
            self.counts.uncrossed += 1
        told = ({f"{p:f}": f"{q:f}" for p, q in changes[s].items()} for s in ("bids", "asks"))
        out_bids, out_asks = (tuple(levels.items()) for levels in told)
        return out_bids, out_asks


def _value(price: str) -> Decimal | str:
    """A price as a key; what is no number stays text, for the book to refuse."""
    try:
        value = Decimal(price)
    except ArithmeticError:
        return price
    return price if value.is_nan() else value


def _number(value: Any) -> int:
    """A sequence number that the rule promises; below all without one."""
    return -1 if value is None else int(value)

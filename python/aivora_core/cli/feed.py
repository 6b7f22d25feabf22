"""``aivora run --feed``: what a recording holds, whether its book holds, and what exits cost."""

from __future__ import annotations

import statistics
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aivora_core import _core
from aivora_core.render import grouped, progress, table

if TYPE_CHECKING:
    import argparse

    from aivora_core._core import Instrument, Walk
    from aivora_core.adapters.exits import Instant, Watch
    from aivora_core.adapters.feeds import Feed, Survey
    from aivora_core.adapters.formats import FeedFormat

__all__ = ["run_feed"]

ROWS_MAX = 20
PLACES_MAX = 3
SIDES = ("sell", "buy")
NS = 1_000_000_000
DASH = "-"


def _every(text: str) -> int:
    """Seconds as text, in nanoseconds."""
    limit = "must be seconds above 0, to the nanosecond: 1, 0.5, 60"
    try:
        ns = Decimal(text) * NS
        if ns > 0 and ns == int(ns) and ns < 1 << 62:
            return int(ns)
    except (InvalidOperation, ValueError, OverflowError):
        pass
    raise _core._error("out_of_range", "--every", text, limit)


def _instrument(a: argparse.Namespace, held: Survey, symbol: str) -> Instrument:
    """The card's instrument, where a card was named; else one with the grid of the feed."""
    if a.venue:
        if a.taker_fee:
            limit = "the card says the fee"
            raise _core._error("out_of_range", "--taker-fee", a.taker_fee, limit)
        return _core.Venue.load(a.venue)[a.instrument or symbol]
    if a.instrument:
        limit = "names an instrument of a card: give --venue too, or --symbol"
        raise _core._error("unknown_instrument", "--instrument", a.instrument, limit)
    return held.instrument(symbol, a.taker_fee)


def run_feed(a: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Replay a recording, price exits through it, and tell: data for programs, text for people."""
    from aivora_core.adapters import plots
    from aivora_core.adapters.exits import Watch
    from aivora_core.adapters.feeds import Feed, survey

    if a.plot:
        plots.check(a.plot)
    every_ns, sizes = _every(a.every), a.sizes.split(",") if a.sizes else None
    held = survey(a.feed)
    symbol = a.symbol or held.busiest
    if symbol not in held.symbols:
        limit = f"the feed has books of {', '.join(held.symbols)}"
        raise _core._error("unknown_instrument", "--symbol", symbol, limit)
    instrument = _instrument(a, held, symbol)
    inferred = not a.venue
    # Without a card nothing says what a contract is worth.
    priced = held.in_base[symbol] if inferred else True
    feed = Feed(a.feed, None, held.format, symbol=symbol, instrument=instrument, on_gap=a.on_gap)
    watch = Watch(feed, symbol, every_ns, sizes)
    watch.run(lambda messages: progress(messages, "replaying", held.messages))
    assert feed.format is not None  # noqa: S101 - the survey read it
    if a.plot:
        title = f"{Path(a.feed).name}: {feed.format.title} {symbol}"
        plots.plot(watch, a.plot, title=title, priced=priced)
    told = _Told(feed, feed.format, watch, symbol, instrument, inferred, priced, list(held.symbols))
    return told.data(a), told.text(a)


class _Told:
    """What a run found, as data and as text."""

    def __init__(
        self,
        feed: Feed,
        known: FeedFormat,
        watch: Watch,
        symbol: str,
        instrument: Instrument,
        inferred: bool,  # noqa: FBT001
        priced: bool,  # noqa: FBT001
        symbols: list[str],
    ) -> None:
        self.known, self.watch, self.symbol = known, watch, symbol
        self.instrument, self.inferred, self.priced = instrument, inferred, priced
        self.symbols = symbols
        self.stream = feed.streams[symbol]
        self.counts = self.stream.counts
        decimals = f"{instrument.lot:f}".partition(".")[2]
        self.places = min(len(decimals), PLACES_MAX)

    def data(self, a: argparse.Namespace) -> dict[str, Any]:
        """All of it, every instant included."""
        watch, seen, book = self.watch, self.watch.seen, self.stream.book
        return {
            "feed": str(a.feed),
            "format": self.known.title,
            "rule": self.known.rule.source,
            "symbol": self.symbol,
            "symbols": self.symbols,
            "grid": {
                "inferred": self.inferred,
                "price_tick": f"{self.instrument.price_tick:f}",
                "lot": f"{self.instrument.lot:f}",
            },
            "priced": self.priced,
            "messages": watch.messages,
            "seconds": f"{Decimal(watch.last_ns - watch.first_ns) / NS:f}",
            "deltas": seen.deltas,
            "snapshots": seen.snapshots,
            "quotes": seen.quotes,
            "others": seen.others,
            "updates": seen.updates,
            "deletions": seen.deletions,
            "sync": self.counts.to_dict(),
            "quotes_compared": watch.quotes.compared,
            "quotes_agreed": watch.quotes.agreed,
            "book": book and {"digest": book.digest, "sequence": book.sequence},
            "measured_here": {
                "read_seconds": watch.timings.read,
                "apply_seconds": watch.timings.applied,
                "observe_seconds": watch.timings.observed,
                "messages_per_second": _rate(watch.messages, watch.timings.read),
                "updates_per_second": _rate(seen.updates, watch.timings.applied),
            },
            "sizes": [_text(size) for size in watch.sizes],
            "instants": [instant.to_dict(priced=self.priced) for instant in watch.instants],
        }

    def text(self, a: argparse.Namespace) -> str:
        """What fits a terminal."""
        lines = [*self._head(a), "", *self._counted(), "", *self._books(), "", *self._slippage()]
        lines += ["", *self._last()]
        if a.plot:
            lines += ["", f"Plot: {a.plot}"]
        return "\n".join(lines)

    def _head(self, a: argparse.Namespace) -> list[str]:
        more = [symbol for symbol in self.symbols if symbol != self.symbol]
        chosen = "asked for" if a.symbol else "the busiest" if more else "the only one"
        lines = [f"{Path(a.feed).name}: {self.known.title}, {self.symbol} ({chosen})"]
        if more:
            shown = ", ".join(more[:6]) + (f" and {len(more) - 6} more" if len(more) > 6 else "")  # noqa: PLR2004
            lines.append(f"  also there: {shown}")
        grid = f"price tick {self.instrument.price_tick:f}, lot {self.instrument.lot:f}"
        if self.inferred:
            lines += [
                f"  {grid}: inferred, the largest step of 1, 2 or 5",
                "  that divides every value seen; the feed itself states no grid",
            ]
        else:
            lines.append(f"  {grid}: as the card says")
        if not self.priced and self.inferred:
            lines += [
                "  sizes are contracts; the feed does not say what one is worth, so exits have",
                "  an average price and a slippage, and no cost",
            ]
        elif not self.priced:
            lines += [
                "  an inverse contract: exits have an average price, each contract counted once,",
                "  and a slippage; their cost in coins is not priced",
            ]
        return lines

    def _counted(self) -> list[str]:
        seen, counts, watch, rule = self.watch.seen, self.counts, self.watch, self.known.rule
        seconds = f"{Decimal(watch.last_ns - watch.first_ns) / NS:.1f}"
        kinds = f"{_count(seen.deltas, 'delta')}, {_count(seen.snapshots, 'snapshot')}"
        others = f"{_count(seen.quotes, 'quote')}, {_count(seen.others, 'other')}"
        applied = f"{_count(counts.applied, 'delta')}, {_count(counts.snapshots, 'snapshot')}"
        dropped = f"{counts.stale:,} stale, {counts.duplicates:,} twice"
        lost = f"{_count(counts.gaps, 'gap')}, {_count(counts.crossed, 'crossing')}"
        rows = [
            ("messages", f"{watch.messages:,} in {seconds} s of receipt"),
            ("of this book", f"{kinds}, {others}"),
            ("level updates", f"{seen.updates:,}, of them {seen.deletions:,} deletions"),
            ("applied", applied),
            ("dropped", f"{dropped}, {counts.early:,} without a book"),
            ("lost", f"{lost}, {_count(counts.resyncs, 'resync')}"),
        ]
        if rule.link == "none" and not rule.checksum and seen.deltas:
            rows.append(("", "nothing in this feed ties a delta to the one before it"))
        if rule.checksum:
            good = counts.checksums - counts.mismatches
            rows.append(("checksums", f"{good:,} of {counts.checksums:,} are the book's"))
        if rule.offsets:
            older = f"{counts.stale_levels:,} older levels dropped"
            rows.append(("offsets", f"{older}, {counts.uncrossed:,} crossed ones removed"))
        if watch.quotes.compared:
            agreed = f"{watch.quotes.agreed:,} of {watch.quotes.compared:,}"
            rows.append(("best prices", f"{agreed} books show the venue's own quote"))
        read = _per_second(watch.messages, watch.timings.read, "messages")
        taken = _per_second(seen.updates, watch.timings.applied, "level updates")
        rows.append(("this run", f"read {read}; applied {taken}"))
        return [f"  {name:<14}{text}" for name, text in rows]

    def _rows(self) -> tuple[list[Instant], str]:
        instants = self.watch.instants
        step = -(-len(instants) // ROWS_MAX)
        shown = instants[step - 1 :: step] if step else []
        if step > 1 and instants[-1] is not shown[-1]:
            shown.append(instants[-1])
        what = f"{len(shown)} of {len(instants):,} instants" if step > 1 else "every instant"
        return shown, f"{what}; --json has all"

    def _books(self) -> list[str]:
        shown, what = self._rows()
        bands = self.watch.bands
        header = ["second", "best bid", "best ask", "spread"]
        header += [f"{side} {bps}" for bps in bands[:2] for side in ("bids", "asks")]
        rows = []
        for instant in shown:
            cells = [_second(instant), _plain(instant.best_bid), _plain(instant.best_ask)]
            cells.append(_cut(instant.spread_bps, 3))
            depth = instant.depth
            cells += [
                _cut(held, self.places)
                for bps in bands[:2]
                for held in depth.get(bps, (None, None))
            ]
            rows.append(cells)
        head = f"The book ({what})"
        note = "  spread in basis points; bids 5: the quantity within 5 basis points of the mid"
        return [head, table(rows, header, left=0), note]

    def _slippage(self) -> list[str]:
        shown, _ = self._rows()
        sizes = [_text(size) for size in self.watch.sizes]
        header = ["second"] + [f"{side} {size}" for side in SIDES for size in sizes]
        rows = []
        for instant in shown:
            walks = instant.exits or (None,) * (2 * len(sizes))
            rows.append([_second(instant), *map(_slip, walks)])
        head = "Forced exits: slippage against the mid, in basis points (+ where not all fills)"
        return [head, table(rows, header, left=0)]

    def _last(self) -> list[str]:
        instants = [instant for instant in self.watch.instants if instant.exits]
        if not instants:
            return ["No instant had a book with both sides: no exit could be priced"]
        last = instants[-1]
        rows = []
        for place, walk in enumerate(last.exits):
            slips = [i.exits[place].slippage_bps for i in instants]
            known = sorted(slip for slip in slips if slip is not None)
            cells = [walk.side, f"{walk.filled + walk.unfilled:f}"]
            cells += [
                _cut(walk.unfilled, self.places),
                _cut(walk.vwap, 4),
                _cut(walk.slippage_bps, 3),
            ]
            cells += [_cut(statistics.median(known) if known else None, 3)]
            cells += [_cut(known[-1] if known else None, 3)]
            if self.priced:
                cells += [_cut(walk.cost, 2), "unknown" if walk.fee is None else _cut(walk.fee, 2)]
            rows.append(cells)
        header = ["side", "size", "unfilled", "average", "slippage", "median", "worst"]
        header += ["cost", "fee"] if self.priced else []
        head = f"At {_second(last)} s; median and worst slippage are of {len(instants):,} instants"
        return [head, table(rows, header)]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _text(size: int | str | Decimal) -> str:
    return f"{size:f}" if isinstance(size, Decimal) else str(size)


def _second(instant: Instant) -> str:
    return f"{Decimal(instant.elapsed_ns) / NS:.1f}"


def _plain(value: Decimal | None) -> str:
    return DASH if value is None else f"{value:f}"


def _cut(value: Decimal | None, places: int) -> str:
    return DASH if value is None else grouped(f"{value:f}", places)


def _slip(walk: Walk | None) -> str:
    if walk is None or walk.slippage_bps is None:
        return DASH
    return f"{walk.slippage_bps:.2f}" + ("+" if walk.unfilled else "")


def _rate(count: int, seconds: float) -> float | None:
    return count / seconds if seconds > 0 else None


def _per_second(count: int, seconds: float, what: str) -> str:
    rate = _rate(count, seconds)
    return f"{rate:,.0f} {what}/s" if rate is not None else f"{count:,} {what}"

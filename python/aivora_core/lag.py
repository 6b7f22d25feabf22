"""Who is liquidated under which mark rule, when, and how many after the index has bounced.

The accounts and the rules of margin are the same; only the mark is made otherwise. See
``docs/guide/venues.md``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path as FilePath
from statistics import median
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from aivora_core import _core, demo, pricing
from aivora_core.portfolio import Portfolio
from aivora_core.scorecard import readings, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from aivora_core._core import Instrument, Venue
    from aivora_core.watch import Hits

    Int64 = NDArray[np.int64]

__all__ = [
    "WINDOWS",
    "Crash",
    "Lag",
    "Outcome",
    "Path",
    "Scale",
    "lag",
    "longest_s",
    "recorded",
    "rules",
    "scale",
    "window_ms",
    "windows",
]

SECOND = 1_000
#: Nanoseconds of a millisecond.
NS_PER_MS = 1_000_000
HOUR = 3_600 * SECOND
DAY_S = 86_400
PPM = 1_000_000
#: How long a calm comes before the fall, unless an average needs longer: half an hour and more.
CALM_S = 1_860
#: How much longer than the longest average the calm is.
SPARE_S = 60
#: Windows of averages that are shown where none is asked for.
WINDOWS = ("10s", "1min", "150s", "10min", "30min")
#: The longest window.
WINDOW_MAX_MS = 12 * HOUR
#: Small orders that make the noise, in millionths.
NOISE = 40


@dataclass(frozen=True)
class Path:
    """Prices of one instrument, second by second, in mark ticks.

    Attributes
    ----------
    title : str
        Where it comes from; of a made-up one its parameters.
    time : array of int64
        In milliseconds.
    index, bid, ask, last, outside : array of int64
        The index, the own book's best prices and last trade, the median of marks elsewhere.
    start : int
        The first row that is looked at; those before fill the averages.
    """

    title: str
    time: Int64
    index: Int64
    bid: Int64
    ask: Int64
    last: Int64
    outside: Int64
    start: int = 0

    def __len__(self) -> int:
        """How many rows."""
        return len(self.time)

    @property
    def low(self) -> int:
        """The row at which the index is lowest."""
        return self.start + int(np.argmin(self.index[self.start :]))

    @property
    def fall(self) -> Fraction:
        """How far the index falls to its low, from its highest before that, as a part of it."""
        before = int(self.index[self.start : self.low + 1].max())
        return Fraction(before - int(self.index[self.low]), before)

    def gap(self, prices: Int64) -> Fraction:
        """The largest distance of known prices from the index, as a part of it."""
        rows = zip(prices[self.start :].tolist(), self.index[self.start :].tolist(), strict=True)
        # Few of them are the largest so far; only those are made fractions of.
        most, of = 0, 1
        for price, index in rows:
            off = abs(price - index)
            if price and off * of > most * index:
                most, of = off, index
        return Fraction(most, of)

    def marks(self, mark: pricing.Mark) -> Int64:
        """Give the mark at each row; 0 where too little is known.

        A rate of 0.01%, paid at the end of eight hours, is in force; impact prices are the best.
        """
        index = pricing.Index(mark.instrument, [pricing.Source("index")])
        rows: list[tuple[str, Int64, Int64 | int]] = [
            ("index", self.index, 0),
            ("best", self.bid, self.ask),
            ("last", self.last, 0),
        ]
        rows += [("impact", self.bid, self.ask), ("outside", self.outside, 0)]
        places = [pricing.SEEN.index(name) for name, _, _ in rows]
        count, each = len(self), len(rows)
        first = np.empty((count, each), dtype=np.int64)
        second = np.zeros((count, each), dtype=np.int64)
        for place, (_, one, other) in enumerate(rows):
            first[:, place], second[:, place] = one, other
        funding = [100_000_000, int(self.time[0]) + 8 * HOUR]
        seen = np.array([pricing.SEEN.index("funding"), *(places * count)], dtype=np.uint8)
        found = mark.run(
            index,
            {
                "seen": seen,
                "first": np.concatenate([funding[:1], first.ravel()]),
                "second": np.concatenate([funding[1:], second.ravel()]),
                "time": np.concatenate([self.time[:1], np.repeat(self.time, each)]),
            },
        )
        return found[1:].reshape(count, each)[:, -1]


def _held(values: Sequence[int], low: int) -> Int64:
    return np.maximum(np.array(values, dtype=np.int64), low)


@dataclass(frozen=True)
class Crash:
    """A made-up crash: calm, a fall in a straight line, a bounce, rest. Whole numbers throughout.

    The own book goes further down than the index, and comes back to it in a time of its own.

    Attributes
    ----------
    drop_ppm : int
        How far the index falls, in millionths.
    fall_s, bounce_s, rest_s : int
        How long it falls, comes back, and rests.
    back_ppm : int
        How much of the fall it takes back.
    overshoot_ppm : int
        How far the own book is below the index at the low.
    close_s : int
        How long after the low it is back at the index.
    calm_s : int
        How long nothing happens before the fall, so that averages are full.
    seed : int
        Of the noise.

    Raises
    ------
    NumberError
        ``out_of_range``.

    Examples
    --------
    >>> from aivora_core.lag import Crash
    >>> path = Crash(drop_ppm=100_000).path(6_400_000)
    >>> len(path), int(path.index[path.low]), int(path.index[-1])
    (2821, 5759974, 6015961)
    """

    drop_ppm: int = 100_000
    fall_s: int = 60
    back_ppm: int = 400_000
    bounce_s: int = 300
    overshoot_ppm: int = 60_000
    close_s: int = 240
    calm_s: int = CALM_S
    rest_s: int = 600
    seed: int = demo.SEED

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        ends = {"drop_ppm": PPM - 1, "back_ppm": PPM, "overshoot_ppm": PPM - 1}
        ends |= dict.fromkeys(("fall_s", "bounce_s", "close_s", "calm_s", "rest_s"), DAY_S)
        for name, most in ends.items():
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise _core._error("out_of_range", name, str(value), f"must be 1 to {most}", None)

    def __str__(self) -> str:
        """Say what is made up."""
        return (
            f"synthetic: after {self.calm_s} s of calm the index falls {self.drop_ppm / 10_000:g}%"
            f" in {self.fall_s} s and takes back {self.back_ppm / 10_000:g}% of it in"
            f" {self.bounce_s} s; the own book goes {self.overshoot_ppm / 10_000:g}% further and is"
            f" back at the index {self.close_s} s after the low (seed {self.seed})"
        )

    def path(self, start_ticks: int) -> Path:
        """Give the path from an index in mark ticks."""
        length = self.calm_s + 1 + self.fall_s + max(self.bounce_s, self.close_s) + self.rest_s
        index, mid = [], []
        for second, noise in enumerate(demo.draws(self.seed, 41, length)):
            into = min(max(second - self.calm_s, 0), self.fall_s)
            after = max(second - self.calm_s - self.fall_s, 0)
            back, closed = min(after, self.bounce_s), min(after, self.close_s)
            fallen = self.drop_ppm * into // self.fall_s
            fallen -= self.drop_ppm * self.back_ppm // PPM * back // self.bounce_s
            over = self.overshoot_ppm * into // self.fall_s
            over -= self.overshoot_ppm * closed // self.close_s
            noisy = int(noise) % (2 * NOISE + 1) - NOISE
            index.append(start_ticks * (PPM - fallen + noisy) // PPM)
            mid.append(index[-1] * (PPM - over) // PPM)
        half = np.maximum(1, np.array(mid) // 20_000)
        middle, whole = _held(mid, 2), _held(index, 1)
        times = np.arange(length, dtype=np.int64) * SECOND
        bid, ask = middle - half, middle + half
        return Path(str(self), times, whole, bid, ask, middle, whole, self.calm_s)


def recorded(path: str, other: str, venue: Venue, symbol: str) -> Path:
    """Make a path of two recordings of books, second by second, as far as both go.

    The other book's middle stands in for the index and for marks elsewhere, the own one's for the
    last trade: recordings of books carry none of them.

    Parameters
    ----------
    path, other : str
        Recordings, as `aivora_core.adapters.feeds.Feed` reads them; of each the busiest symbol.
    venue : Venue
        Of the instrument.
    symbol : str
        In whose mark ticks the path is, cut to them.

    Raises
    ------
    AivoraError
        ``out_of_range`` where they share no second; those of `Feed`.
    """
    tick = venue[symbol].mark_tick
    (own, name), (index, elsewhere) = (_books(which, tick) for which in (path, other))
    seconds = sorted(own.keys() & index.keys())
    if not seconds:
        raise _core._error("out_of_range", "feeds", "no second in common", "must share one", None)
    both = np.array([own[second] for second in seconds], dtype=np.int64)
    bid, ask = np.ascontiguousarray(both.T)
    middle = np.array([sum(index[second]) // 2 for second in seconds], dtype=np.int64)
    title = (
        f"recorded: {name}, {len(seconds)} seconds; {elsewhere} stands in for the index and for"
        " marks elsewhere, middles for trades"
    )
    time = np.array(seconds, dtype=np.int64) * SECOND
    return Path(title, time, middle, bid, ask, (bid + ask) // 2, middle)


def _books(path: str, tick: Decimal) -> tuple[dict[int, tuple[int, int]], str]:
    """Best bid and ask at the end of each second, in ticks."""
    from aivora_core.adapters.exits import Watch
    from aivora_core.adapters.feeds import Feed, survey

    held = survey(path)
    symbol = held.busiest
    instrument = held.instrument(symbol)
    feed = Feed(path, None, held.format, symbol=symbol, instrument=instrument, on_gap="resync")
    watch = Watch(feed, symbol, 1_000 * NS_PER_MS, None)
    watch.run()
    found = {}
    for instant in watch.instants:
        if instant.best_bid is not None and instant.best_ask is not None:
            second = (watch.first_ns + instant.elapsed_ns) // (1_000 * NS_PER_MS)
            found[second] = (int(instant.best_bid / tick), int(instant.best_ask / tick))
    assert feed.format is not None  # noqa: S101 - the survey read it
    return found, f"{feed.format.title} {symbol}"


def rules(names: Iterable[str] | None = None) -> dict[str, pricing.Mark]:
    """Give the index, the last trade, and the mark rules of cards, with other readings of them.

    Of rules that are alike only the first is given.

    Parameters
    ----------
    names : iterable of str, optional
        Of cards; all built-in ones that have a rule if not given.

    Raises
    ------
    CardError
        ``unsaid`` for a card that was named and has no rule.

    Examples
    --------
    >>> from aivora_core.lag import rules
    >>> list(rules(["bitmex", "binance-coinm"]))
    ['index', 'last', 'bitmex', 'binance-coinm', 'binance-coinm, as read otherwise']
    """
    own = _core.Venue.load("reference")["BTC-PERP"]
    found = {name: pricing.Mark(own, [pricing.Term(name)]) for name in ("index", "last")}
    seen = {repr(mark.terms) for mark in found.values()}
    for name in _core.Venue.builtin_names() if names is None else names:
        venue = _core.Venue.load(name)
        if "mark" not in venue.rules and names is None:
            continue
        variants = [(venue.name, venue)]
        for reading in readings(venue):
            if "mark" in reading.rules:
                label = f"{venue.name}, as read otherwise"
                variants.append((label, venue.read_so(reading.rules)))
        for label, card in variants:
            mark = pricing.Mark.of(card, card.instruments[0].symbol)
            if repr(mark.terms) not in seen:
                seen.add(repr(mark.terms))
                found[label] = mark
    return found


_UNITS = {"s": SECOND, "min": 60 * SECOND, "h": HOUR}


def longest_s(marks: Iterable[pricing.Mark]) -> int:
    """Give how many seconds the longest average of marks goes back, cut to whole ones.

    Examples
    --------
    >>> from aivora_core.lag import longest_s, rules
    >>> longest_s(rules(["hyperliquid"]).values())
    150
    """
    terms = [term for mark in marks for term in mark.terms]
    spans = [term.window_ms or (term.samples or 0) * (term.every_ms or 0) for term in terms]
    return max(spans, default=0) // SECOND


def window_ms(text: str) -> int:
    """Read a window: a whole number of seconds, minutes or hours, in milliseconds.

    Raises
    ------
    NumberError
        ``not_a_number``; ``out_of_range`` beyond 12 hours.

    Examples
    --------
    >>> from aivora_core.lag import window_ms
    >>> window_ms("150s"), window_ms("30min")
    (150000, 1800000)
    """
    parts = re.fullmatch(r"([0-9]{1,6})(s|min|h)", text.strip())
    if parts is None:
        limit = "must be a whole number of seconds, minutes or hours: 10s, 30min, 1h"
        raise _core._error("not_a_number", "window", text, limit, None)
    found = int(parts[1]) * _UNITS[parts[2]]
    if not SECOND <= found <= WINDOW_MAX_MS:
        raise _core._error("out_of_range", "window", text, "must be 1s to 12h", None)
    return found


def windows(instrument: Instrument, given: Iterable[str] = WINDOWS) -> dict[str, pricing.Mark]:
    """Give marks by window: the index and the basis of the middle, averaged over it.

    Once the mean of samples a second apart, once the average that forgets.

    Parameters
    ----------
    instrument : Instrument
        Whose.
    given : iterable of str
        Windows, as `window_ms` reads them.

    Raises
    ------
    NumberError
        As `window_ms`.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core.lag import windows
    >>> list(windows(ac.Venue.load("reference")["BTC-PERP"], ["150s"]))
    ['mean of 150s', 'ema of 150s']
    """
    found = {}
    for text in given:
        window = window_ms(text)
        terms = {
            "mean": pricing.Term("basis", samples=window // SECOND, every_ms=SECOND),
            "ema": pricing.Term("ema", window_ms=window, every_ms=SECOND),
        }
        for name, term in terms.items():
            found[f"{name} of {text.strip()}"] = pricing.Mark(instrument, [term])
    return found


@dataclass(frozen=True)
class Outcome:
    """What one mark rule did on a path.

    Attributes
    ----------
    rule : str
        Its name.
    marks : array of int64
        Row by row, in mark ticks.
    first : dict of int to int
        By the place of an account, the row of its first liquidation.
    late_s : float or None
        How many seconds later than under the index, in the middle of those liquidated by both.
    bounced : int
        How many were liquidated after the low although the index would not have done it then.
    spared : int
        How many the index liquidates and this rule does not.
    extra : int
        How many this rule liquidates and the index never does.
    gap : Fraction
        The largest distance of the mark from the index, as a part of the index.
    known : bool
        Whether the mark is known on the path, with its averages full.
    """

    rule: str
    marks: Int64
    first: dict[int, int]
    late_s: float | None
    bounced: int
    spared: int
    extra: int
    gap: Fraction
    known: bool


@dataclass(frozen=True)
class Lag:
    """Mark rules on one path: see `lag`.

    Attributes
    ----------
    path : Path
        The path.
    accounts : int
        How many there were.
    outcomes : list of Outcome
        One a rule; that of the index first.
    """

    path: Path
    accounts: int
    outcomes: list[Outcome] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """All of it, without the prices of each second."""
        start = int(self.path.time[self.path.start])
        rows = []
        for own in self.outcomes:
            times = [int(self.path.time[row]) - start for row in own.first.values()]
            rows.append(
                {
                    "rule": own.rule,
                    "liquidated": len(own.first),
                    "first_s": min(times) / SECOND if times else None,
                    "last_s": max(times) / SECOND if times else None,
                    "late_s": own.late_s,
                    "after_the_bounce": own.bounced,
                    "spared": own.spared,
                    "extra": own.extra,
                    "gap_bps": round(float(own.gap * 10_000), 2),
                    "known": own.known,
                }
            )
        way = self.path
        return {
            "path": way.title,
            "from_s": (start - int(way.time[0])) / SECOND,
            "seconds": len(way) - way.start,
            "fall": round(float(way.fall), 6),
            "low_s": (int(way.time[way.low]) - start) / SECOND,
            "book_gap_bps": round(float(way.gap(way.last) * 10_000), 2),
            "accounts": self.accounts,
            "rules": rows,
        }


def _one(venue: Venue, symbol: str) -> Venue:
    """The venue with one instrument."""
    card = tree(venue)
    card["instrument"] = [card["instrument"][symbol]]
    return _core.Venue.from_tree(card)


@dataclass(frozen=True)
class _Verdicts:
    """By the place of a pool: the row of the first liquidation, and all changes of the verdict."""

    first: dict[int, int]
    changes: list[list[tuple[int, bool]]]

    def fires(self, place: int, row: int) -> bool:
        """Whether the check fires at a row."""
        changes = reversed(self.changes[place])
        return next((fires for at, fires in changes if at <= row), False)


def _verdicts(hits: Hits, pools: int, rows: Int64, left_out: frozenset[int]) -> _Verdicts:
    first: dict[int, int] = {}
    changes: list[list[tuple[int, bool]]] = [[] for _ in range(pools)]
    for tick, place, fires in zip(
        hits.row.tolist(), hits.index.tolist(), hits.liquidatable.tolist(), strict=True
    ):
        row = int(rows[max(tick, 0)])
        changes[place].append((row, fires))
        if fires and place not in left_out:
            first.setdefault(place, row)
    return _Verdicts(first, changes)


def lag(
    venue: Venue,
    symbol: str,
    path: Path,
    marks: Mapping[str, pricing.Mark],
    *,
    accounts: int = 2_000,
    seed: int = demo.SEED,
    watched: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Lag:
    """Take the same accounts down a path under several mark rules.

    All are looked at from the first row on at which every average that the path is long enough
    for is full; accounts that the index liquidates there already are left out.

    Parameters
    ----------
    venue : Venue
        Whose margin rules hold, on each mark.
    symbol : str
        The instrument.
    path : Path
        In its mark ticks.
    marks : mapping of str to Mark
        The rules.
    accounts : int
        How many to make up, with a position each.
    seed : int
        What to make them up from.
    watched : callable
        The rules are passed through it: a place for a progress bar.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core.lag import Crash, lag, rules
    >>> path = Crash().path(6_400_000)
    >>> found = lag(ac.Venue.load("reference"), "BTC-PERP", path, rules(["bitmex"]), accounts=500)
    >>> [(own.rule, len(own.first) > 0) for own in found.outcomes]
    [('index', True), ('last', True), ('bitmex', True)]
    """
    chosen = {"index": pricing.Mark(venue[symbol], [pricing.Term("index")])} | dict(marks)
    filled = {name: _filled(path, mark) for name, mark in chosen.items()}
    path = replace(path, start=max(row for row in filled.values() if row is not None))
    alone = _one(venue, symbol)
    before = {symbol: int(path.index[path.start])}
    positions, collateral = demo.tables(alone, before, accounts, seed)
    portfolio = Portfolio.from_tables(alone, positions=positions, collateral=collateral)
    prices = _core.Prices(alone, mark_ticks=before)
    already = frozenset(np.flatnonzero(portfolio.liquidatable(prices)).tolist())
    found = Lag(path, accounts - len(already))
    by_index: _Verdicts | None = None
    for name, mark in watched(list(chosen.items())):
        known = filled[name] is not None
        made = path.marks(mark) if known else np.zeros_like(path.index)
        rows = path.start + np.flatnonzero(made[path.start :])
        table = {"instrument": np.zeros(len(rows), dtype=np.int64), "mark_ticks": made[rows]}
        with portfolio.watch(prices) as watch:
            verdicts = _verdicts(watch.ticks(table), len(portfolio), rows, already)
        by_index = by_index or verdicts
        found.outcomes.append(_outcome(name, path, made, verdicts, by_index))
    return found


def _outcome(name: str, path: Path, made: Int64, own: _Verdicts, by_index: _Verdicts) -> Outcome:
    """What a rule did, beside the index."""
    first, of_index = own.first, by_index.first
    both = first.keys() & of_index.keys()
    seconds = [int(path.time[first[p]] - path.time[of_index[p]]) / SECOND for p in both]
    bounced = [
        place for place, row in first.items() if row > path.low and not by_index.fires(place, row)
    ]
    return Outcome(
        name,
        made,
        first,
        median(seconds) if seconds else None,
        len(bounced),
        len(of_index.keys() - first.keys()),
        len(first.keys() - of_index.keys()),
        path.gap(made),
        known=bool(made[path.start :].any()),
    )


def _filled(path: Path, mark: pricing.Mark) -> int | None:
    """The first row that is looked at and at which the longest average of a mark is full."""
    full = int(path.time[0]) + longest_s([mark]) * SECOND
    row = max(path.start, int(np.searchsorted(path.time, full)))
    return row if row < len(path) else None


@dataclass(frozen=True)
class Scale:
    """How far a day went by hourly candles: see `scale`.

    Attributes
    ----------
    coin, day : str
        Of what, and when.
    venue : str
        Where an hour went furthest from high to low.
    hour : int
        Which one, UTC.
    range : Fraction
        How far, as a part of the high.
    by_venue : dict of str to Fraction
        The same of the furthest hour of each venue.
    """

    coin: str
    day: str
    venue: str
    hour: int
    range: Fraction
    by_venue: dict[str, Fraction]

    def to_dict(self) -> dict[str, Any]:
        """All of it, parts rounded for people."""
        return {
            "coin": self.coin,
            "day": self.day,
            "venue": self.venue,
            "hour": self.hour,
            "range": round(float(self.range), 6),
            "by_venue": {name: round(float(part), 6) for name, part in self.by_venue.items()},
        }


_CANDLES = ("timestamp", "venue", "coin", "h", "l")


def scale(path: str, coin: str, day: str = "2025-10-10") -> Scale:
    """Read how far a coin went within an hour of a day, from high to low, by hourly candles.

    In which order high and low came a candle does not say: they are for scale, and no path.

    Parameters
    ----------
    path : str
        A Parquet file with columns ``timestamp`` (UTC), ``venue``, ``coin``, ``h`` and ``l``.
    coin : str
        As in the file.
    day : str
        ``2025-10-10``.

    Raises
    ------
    UnknownNameError
        ``missing_extra`` without pyarrow.
    TableError
        ``bad_column`` for a file of another kind, or with other columns.
    NumberError
        ``out_of_range`` for a day or a coin that is not in it.
    """
    whole = _day(day)
    table = _candles(path)
    rows = [row for row in table if row["coin"] == coin]
    if not rows:
        coins = sorted({str(row["coin"]) for row in table})
        limit = f"the file has {', '.join(coins) or 'none'}"
        raise _core._error("out_of_range", "coin", coin, limit, None)
    end = whole + timedelta(days=1)
    hours = [row for row in rows if whole <= _utc(row["timestamp"]) < end]
    if not hours:
        times = sorted(_utc(row["timestamp"]).date() for row in rows)
        limit = f"the file has {coin} from {times[0]} to {times[-1]}"
        raise _core._error("out_of_range", "--scale-day", day, limit, None)
    # A float of the file stands for the decimal it is printed as.
    parts = [1 - Fraction(str(row["l"])) / Fraction(str(row["h"])) for row in hours]
    by_venue: dict[str, Fraction] = {}
    for row, part in zip(hours, parts, strict=True):
        by_venue[row["venue"]] = max(part, by_venue.get(row["venue"], part))
    most = parts.index(max(parts))
    hour = _utc(hours[most]["timestamp"]).hour
    return Scale(coin, day, hours[most]["venue"], hour, parts[most], by_venue)


def _day(text: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        limit = "must be a day: 2025-10-10"
        raise _core._error("not_a_number", "--scale-day", text, limit, None) from None


def _utc(stamp: datetime) -> datetime:
    """A time of the file; one without a zone is UTC."""
    return stamp.astimezone(UTC) if stamp.tzinfo else stamp.replace(tzinfo=UTC)


def _candles(path: str) -> list[dict[str, Any]]:
    with FilePath(path).open("rb") as file:
        rows = _rows(file, path)
    for place, row in enumerate(rows):
        numbers = all(isinstance(row[key], (int, float, Decimal)) for key in ("h", "l"))
        if not (isinstance(row["timestamp"], datetime) and numbers and 0 < row["l"] <= row["h"]):
            limit = "must have a time, and prices above 0, the high at least the low"
            raise _core._error("bad_column", "--scale", str(row)[:200], limit, place)
    return rows


def _rows(file: BinaryIO, path: str) -> list[dict[str, Any]]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        limit = "pip install 'aivora-core[arrow]'"
        raise _core._error("missing_extra", "--scale", "no pyarrow", limit, None) from None
    try:
        names = parquet.read_schema(file).names
        for name in _CANDLES:
            if name not in names:
                limit = f"must have columns {', '.join(_CANDLES)}"
                raise _core._error("bad_column", "--scale", ", ".join(names), limit, None)
        rows: list[dict[str, Any]] = parquet.read_table(file, columns=list(_CANDLES)).to_pylist()
    except pa.ArrowInvalid as error:
        limit = "must be a Parquet file"
        raise _core._error("bad_column", "--scale", f"{path}: {error}"[:200], limit, None) from None
    return rows

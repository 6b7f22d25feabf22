"""Who is liquidated under which mark rule, when, and how many after the index has bounced.

The accounts and the rules of margin are the same; only the mark is made otherwise. See
``docs/guide/venues.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from aivora_core import _core, demo, pricing
from aivora_core.portfolio import Portfolio
from aivora_core.scorecard import readings, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from decimal import Decimal

    from numpy.typing import NDArray

    from aivora_core._core import Venue
    from aivora_core.watch import Hits

    Int64 = NDArray[np.int64]

__all__ = ["Lag", "Outcome", "Path", "crash", "lag", "recorded", "rules"]

SECOND = 1_000
#: Nanoseconds of a millisecond.
NS_PER_MS = 1_000_000
HOUR = 3_600 * SECOND
PPM = 1_000_000
#: How long a calm comes before the fall: as long as the slowest average needs.
CALM_S = 1_860
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


def crash(
    start_ticks: int,
    *,
    drop_ppm: int = 100_000,
    fall_s: int = 60,
    back_ppm: int = 600_000,
    bounce_s: int = 60,
    overshoot_ppm: int = 30_000,
    rest_s: int = 600,
    seed: int = demo.SEED,
) -> Path:
    """Make up a crash: calm, a fall in a straight line, a bounce, rest. Whole numbers throughout.

    The own book overshoots the index in the fall and comes back with the bounce.

    Parameters
    ----------
    start_ticks : int
        The index before it, in mark ticks.
    drop_ppm : int
        How far the index falls, in millionths.
    fall_s, bounce_s, rest_s : int
        How long it falls, comes back, and rests.
    back_ppm : int
        How much of the fall it takes back.
    overshoot_ppm : int
        How far the own book is below the index at the low.
    seed : int
        Of the noise.

    Examples
    --------
    >>> from aivora_core.lag import crash
    >>> path = crash(6_400_000)
    >>> len(path), int(path.index[path.low]), int(path.index[-1])
    (2581, 5759971, 6144043)
    """
    given = {"drop_ppm": (drop_ppm, PPM - 1), "back_ppm": (back_ppm, PPM)}
    given |= {"overshoot_ppm": (overshoot_ppm, PPM - 1)}
    given |= {"fall_s": (fall_s, 86_400), "bounce_s": (bounce_s, 86_400)}
    for name, (value, most) in given.items():
        if not 1 <= value <= most:
            raise _core._error("out_of_range", name, str(value), f"must be 1 to {most}", None)
    draw = demo.draws(seed, 41, CALM_S + 1 + fall_s + bounce_s + rest_s)
    index, mid = [], []
    for second, noise in enumerate(draw):
        into = min(max(second - CALM_S, 0), fall_s)
        back = min(max(second - CALM_S - fall_s, 0), bounce_s)
        fallen = drop_ppm * into // fall_s
        fallen -= drop_ppm * back_ppm // PPM * back // bounce_s
        over = overshoot_ppm * into // fall_s - overshoot_ppm * back // bounce_s
        noisy = int(noise) % (2 * NOISE + 1) - NOISE
        index.append(start_ticks * (PPM - fallen + noisy) // PPM)
        mid.append(index[-1] * (PPM - over) // PPM)
    half = np.maximum(1, np.array(mid) // 20_000)
    title = (
        f"synthetic: the index falls {drop_ppm / 10_000:g}% in {fall_s} s and takes back"
        f" {back_ppm / 10_000:g}% of it in {bounce_s} s; the own book goes"
        f" {overshoot_ppm / 10_000:g}% further (seed {seed})"
    )
    middle = _held(mid, 2)
    time = np.arange(len(mid), dtype=np.int64) * SECOND
    whole = _held(index, 1)
    return Path(title, time, whole, middle - half, middle + half, middle, whole, CALM_S)


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


def rules(names: Iterable[str] = ()) -> dict[str, pricing.Mark]:
    """Give the mark rules of cards, and other readings of them: one of each kind.

    Parameters
    ----------
    names : iterable of str
        Of cards; all built-in ones that have a rule without any.

    Examples
    --------
    >>> from aivora_core.lag import rules
    >>> list(rules(["bitmex", "binance-coinm"]))
    ['index', 'last', 'bitmex', 'binance-coinm', 'binance-coinm, as read otherwise']
    """
    own = _core.Venue.load("reference")["BTC-PERP"]
    found = {name: pricing.Mark(own, [pricing.Term(name)]) for name in ("index", "last")}
    given = list(names)
    seen = {repr(mark.terms) for mark in found.values()}
    for name in given or _core.Venue.builtin_names():
        venue = _core.Venue.load(name)
        if "mark" not in venue.rules and not given:
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
    """

    rule: str
    marks: Int64
    first: dict[int, int]
    late_s: float | None
    bounced: int
    spared: int


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
                    "known": bool(own.marks.any()),
                }
            )
        return {"path": self.path.title, "accounts": self.accounts, "rules": rows}


def _one(venue: Venue, symbol: str) -> Venue:
    """The venue with one instrument."""
    card = tree(venue)
    card["instrument"] = [card["instrument"][symbol]]
    return _core.Venue.from_tree(card)


def _verdicts(
    hits: Hits, pools: int, rows: Int64
) -> tuple[dict[int, int], list[list[tuple[int, bool]]]]:
    """By pool: the row of the first liquidation, and all changes of the verdict."""
    first: dict[int, int] = {}
    changes: list[list[tuple[int, bool]]] = [[] for _ in range(pools)]
    for tick, place, fires in zip(
        hits.row.tolist(), hits.index.tolist(), hits.liquidatable.tolist(), strict=True
    ):
        row = int(rows[max(tick, 0)])
        changes[place].append((row, fires))
        if fires:
            first.setdefault(place, row)
    return first, changes


def _fires(changes: list[tuple[int, bool]], row: int) -> bool:
    """Whether the check fires at a row."""
    return next((fires for at, fires in reversed(changes) if at <= row), False)


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
    >>> from aivora_core.lag import crash, lag, rules
    >>> found = lag(ac.Venue.load("reference"), "BTC-PERP", crash(6_400_000), rules(["bitmex"]),
    ...             accounts=500)
    >>> [(own.rule, len(own.first) > 0) for own in found.outcomes]
    [('index', True), ('last', True), ('bitmex', True)]
    """
    alone = _one(venue, symbol)
    before = {symbol: int(path.index[path.start])}
    positions, collateral = demo.tables(alone, before, accounts, seed)
    portfolio = Portfolio.from_tables(alone, positions=positions, collateral=collateral)
    prices = _core.Prices(alone, mark_ticks=before)
    already = set(np.flatnonzero(portfolio.liquidatable(prices)).tolist())
    found = Lag(path, accounts - len(already))
    index = {"index": pricing.Mark(alone[symbol], [pricing.Term("index")])}
    of_index: list[list[tuple[int, bool]]] = []
    under_index: dict[int, int] = {}
    for name, mark in watched(list((index | dict(marks)).items())):
        made = path.marks(mark)
        rows = path.start + np.flatnonzero(made[path.start :])
        table = {"instrument": np.zeros(len(rows), dtype=np.int64), "mark_ticks": made[rows]}
        with portfolio.watch(prices) as watch:
            first, changes = _verdicts(watch.ticks(table), len(portfolio), rows)
        first = {place: row for place, row in first.items() if place not in already}
        if not found.outcomes:
            of_index, under_index = changes, first
        both = first.keys() & under_index.keys()
        seconds = [int(path.time[first[p]] - path.time[under_index[p]]) / SECOND for p in both]
        bounced = [
            place
            for place, row in first.items()
            if row > path.low and not _fires(of_index[place], row)
        ]
        late = median(seconds) if seconds else None
        spared = len(under_index.keys() - first.keys())
        found.outcomes.append(Outcome(name, made, first, late, len(bounced), spared))
    return found

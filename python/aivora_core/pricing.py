"""Which price counts for what: index, mark, premium and funding rate, by rules given or a card's.

What each state, blend and average means stands in ``docs/spec/pricing.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aivora_core import _core

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from aivora_core._core import Instrument, Venue

    Number = int | str | Decimal

__all__ = [
    "CLASSES",
    "PERMITS",
    "SEEN",
    "Funding",
    "Index",
    "IndexValue",
    "Limits",
    "Mark",
    "RestartGate",
    "Source",
    "Term",
    "funding_rates",
    "permits",
    "premium",
]

#: What a row of a path may be.
SEEN = ("source", "index", "last", "outside", "best", "impact", "funding", "clock")
#: A premium and a rate are whole numbers of this.
_UNIT = "0.000000000001"


@dataclass(frozen=True)
class Source:
    """One source of an index.

    Attributes
    ----------
    name : str
        Its name.
    weight : int
        What it counts, at least 1.
    max_age_ms : int
        How old its price may be.
    frozen_ms : int, optional
        For how long its price may be told without a change.
    floor, cap : int, str or Decimal, optional
        The lowest and the highest price that it can tell: one that is there tells nothing.
    """

    name: str
    weight: int = 1
    max_age_ms: int = 10_000
    frozen_ms: int | None = None
    floor: Number | None = None
    cap: Number | None = None


@dataclass(frozen=True)
class IndexValue:
    """An index, and what it was made of.

    Attributes
    ----------
    price : Decimal or None
        The index; None with too few sources.
    ticks : int or None
        The same in mark ticks.
    live : int
        How many sources count.
    oldest : int or None
        The time of the oldest price that might count, an outlier's too, in milliseconds.
    states : dict of str to str
        The state of each source.
    """

    price: Decimal | None
    ticks: int | None
    live: int
    oldest: int | None
    states: dict[str, str]

    def __bool__(self) -> bool:
        """Whether there is an index."""
        return self.price is not None


class Index:
    """The index of an instrument, as its sources tell their prices.

    Parameters
    ----------
    instrument : Instrument
        Whose mark tick the prices are whole numbers of.
    sources : iterable of Source
        Of what it is made: 1 to 64.
    blend : str
        ``median``, ``weighted_median`` or ``weighted_mean``.
    outlier : int, str or Decimal, optional
        How far from the median, as a part of it, is too far.
    on_outlier : str
        What becomes of a source that is: ``exclude`` or ``clamp``.
    min_live : int
        The fewest sources.

    Raises
    ------
    AivoraError
        ``out_of_range``, ``duplicate_key``, ``off_grid``, ``float_given``.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core import pricing
    >>> sources = [pricing.Source(name) for name in "abc"]
    >>> btc = ac.Venue.load("demo")["BTC"]
    >>> index = pricing.Index(btc, sources, outlier="0.03", min_live=2)
    >>> for name, price in (("a", "64000"), ("b", "64003"), ("c", "90000")):
    ...     index.observe(name, price, time=1_000)
    >>> found = index.value(2_000)
    >>> str(found.price), found.states["c"]
    ('64001.50', 'outlier')
    >>> [str(price) for price in index.reach("b", 2_000)]
    ['62725.32', '65275.16']
    """

    __slots__ = ("_native", "instrument", "sources")

    def __init__(
        self,
        instrument: Instrument,
        sources: Iterable[Source],
        *,
        blend: str = "median",
        outlier: Number | None = None,
        on_outlier: str = "exclude",
        min_live: int = 1,
    ) -> None:
        self.instrument = instrument
        self.sources = tuple(sources)
        rows = [self._row(own) for own in self.sources]
        given = None if outlier is None else (str(outlier), on_outlier)
        self._native = _core._Index(rows, blend, given, min_live)

    @classmethod
    def of(cls, venue: Venue, symbol: str, names: Iterable[str] = ()) -> Index:
        """Give the index of an instrument as the card of its venue has it.

        Parameters
        ----------
        venue : Venue
            With ``[rules.index]``.
        symbol : str
            Of an instrument.
        names : iterable of str
            The sources, where the card names none: all of weight 1.

        Raises
        ------
        AivoraError
            ``unknown_instrument``; ``unsaid`` where the card has no such rule; ``out_of_range``
            with no sources, or fewer than must be live.

        Examples
        --------
        >>> import aivora_core as ac
        >>> from aivora_core import pricing
        >>> reference = ac.Venue.load("reference")
        >>> pricing.Index.of(reference, "BTC-PERP", names=["a", "b", "c"])
        Index(BTC-PERP of a, b, c)
        """
        own = cls.__new__(cls)
        own.instrument = venue[symbol]
        native = _core._Index.of(venue, [str(name) for name in names])
        own._native, own.sources = native, tuple(Source(*row) for row in native.sources())  # noqa: SLF001 - of this class
        return own

    def __repr__(self) -> str:
        """Name the instrument and the sources."""
        names = ", ".join(own.name for own in self.sources)
        return f"Index({self.instrument.symbol} of {names})"

    def _row(self, own: Source) -> tuple[str, int, int, int | None, int | None, int | None]:
        floor = None if own.floor is None else self._ticks(own.floor, "floor")
        cap = None if own.cap is None else self._ticks(own.cap, "cap")
        return own.name, own.weight, own.max_age_ms, own.frozen_ms, floor, cap

    def _ticks(self, price: Number, field: str) -> int:
        return _core._whole(price, self.instrument.mark_tick, field)

    def _price(self, ticks: int) -> Decimal:
        return ticks * self.instrument.mark_tick

    def _place(self, name: str) -> int:
        for place, own in enumerate(self.sources):
            if own.name == name:
                return place
        limit = f"must be one of {', '.join(own.name for own in self.sources)}"
        raise _core._error("unknown_source", "source", name, limit, None)

    def observe(self, source: str, price: Number, *, time: int) -> None:
        """Tell the price of a source.

        Parameters
        ----------
        source : str
            Its name.
        price : int, str or Decimal
            A whole number of mark ticks. One that is not above 0 is kept, and does not count.
        time : int
            Its time in milliseconds.

        Raises
        ------
        AivoraError
            ``unknown_source``, ``off_grid``, ``float_given``, ``out_of_range``; ``stale_event``
            for a time before that of its last price. Nothing is changed then.
        """
        self._native.observe(self._place(source), self._ticks(price, "price"), time)

    def value(self, now: int) -> IndexValue:
        """Give the index at a time.

        Parameters
        ----------
        now : int
            In milliseconds.

        Returns
        -------
        IndexValue
            With the state of each source.
        """
        ticks, live, oldest = self._native.value(now)
        names = (own.name for own in self.sources)
        states = dict(zip(names, self._native.states(now), strict=True))
        price = None if ticks is None else self._price(ticks)
        return IndexValue(price, ticks, live, oldest, states)

    def reach(self, source: str, now: int) -> tuple[Decimal, Decimal] | None:
        """Give between what and what the index is, whatever one source tells.

        Parameters
        ----------
        source : str
            Its name.
        now : int
            In milliseconds.

        Returns
        -------
        tuple of Decimal, or None
            The lowest and the highest index; None where there may be none.
        """
        found = self._native.reach(self._place(source), now)
        return None if found is None else (self._price(found[0]), self._price(found[1]))


@dataclass(frozen=True)
class Term:
    """One price that a mark may be made of.

    Attributes
    ----------
    rule : str
        ``index``, ``last``, ``mid``, ``impact_mid``, ``book_median``, ``outside``, ``fair``,
        ``basis`` or ``ema``.
    of : str
        Of ``basis`` and ``ema``: of which price, ``mid``, ``impact_mid`` or ``last``.
    samples : int, optional
        Of ``basis``: of how many.
    every_ms : int, optional
        Of ``basis`` and ``ema``: how far apart.
    window_ms : int, optional
        Of ``ema``: how long it remembers.
    interval_ms : int, optional
        Of ``fair``: between two payments of funding.
    step_ms : int
        Of ``fair``: in what steps time goes.
    """

    rule: str
    of: str = "mid"
    samples: int | None = None
    every_ms: int | None = None
    window_ms: int | None = None
    interval_ms: int | None = None
    step_ms: int = 1

    def _row(self) -> tuple[str, str, int, int]:
        first, second = {
            "fair": (self.interval_ms, self.step_ms),
            "basis": (self.every_ms, self.samples),
            "ema": (self.every_ms, self.window_ms),
        }.get(self.rule, (None, None))
        return self.rule, self.of, first or 0, second or 0


class Mark:
    """The mark of an instrument, as its market goes on.

    Parameters
    ----------
    instrument : Instrument
        Whose mark tick the prices are whole numbers of.
    terms : iterable of Term
        One price, or several of which the median counts.
    min_terms : int, optional
        The fewest that must be known; all without it.
    step : int, str or Decimal, optional
        How far it may move with one update, as a part of it.

    Raises
    ------
    AivoraError
        ``out_of_range``.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core import pricing
    >>> fair = pricing.Term("fair", interval_ms=28_800_000)
    >>> basis = pricing.Term("basis", samples=30, every_ms=5_000)
    >>> btc = ac.Venue.load("demo")["BTC"]
    >>> mark = pricing.Mark(btc, [fair, basis, pricing.Term("last")])
    >>> mark.see(0, index=64_000, best=(64_009, 64_011), last=64_020)
    >>> mark.see(0, funding=("0.0001", 28_800_000))
    >>> str(mark.update(10_000))
    '64010.00'
    """

    __slots__ = ("_native", "instrument", "terms")

    def __init__(
        self,
        instrument: Instrument,
        terms: Iterable[Term],
        *,
        min_terms: int | None = None,
        step: Number | None = None,
    ) -> None:
        self.instrument = instrument
        self.terms = tuple(terms)
        rows = [own._row() for own in self.terms]  # noqa: SLF001 - of this module
        least = max(1, len(rows)) if min_terms is None else min_terms
        self._native = _core._Mark(rows, least, None if step is None else str(step))

    @classmethod
    def of(cls, venue: Venue, symbol: str) -> Mark:
        """Give the mark of an instrument as the card of its venue has it.

        Parameters
        ----------
        venue : Venue
            With ``[rules.mark]``.
        symbol : str
            Of an instrument.

        Raises
        ------
        AivoraError
            ``unknown_instrument``; ``unsaid`` where the card has no such rule.

        Examples
        --------
        >>> import aivora_core as ac
        >>> from aivora_core import pricing
        >>> mark = pricing.Mark.of(ac.Venue.load("binance-usdm"), "BTCUSDT")
        >>> mark, mark.terms[1].samples, mark.terms[1].every_ms
        (Mark(BTCUSDT of fair, basis, last), 30, 5000)
        """
        own = cls.__new__(cls)
        own.instrument = venue[symbol]
        native = _core._Mark.of(venue)
        own._native = native  # noqa: SLF001 - of this class
        own.terms = tuple(Term(*row[:6], row[6] or 1) for row in native.rows())
        return own

    def __repr__(self) -> str:
        """Name the instrument and the terms."""
        names = ", ".join(own.rule for own in self.terms)
        return f"Mark({self.instrument.symbol} of {names})"

    def _ticks(self, price: Number, field: str) -> int:
        return _core._whole(price, self.instrument.mark_tick, field)

    def see(
        self,
        time: int,
        *,
        index: Number | None = None,
        best: tuple[Number, Number] | None = None,
        impact: tuple[Number, Number] | None = None,
        last: Number | None = None,
        outside: Number | None = None,
        funding: tuple[Number, int] | None = None,
    ) -> None:
        """Tell what is seen of the market.

        Parameters
        ----------
        time : int
            In milliseconds.
        index, last, outside : int, str or Decimal, optional
            The index, the last trade, the median of marks elsewhere.
        best, impact : (bid, ask), optional
            Best prices, and those at which the book would fill a given size.
        funding : (rate, time), optional
            The rate of the interval, and when it is paid.

        Raises
        ------
        AivoraError
            ``off_grid``, ``float_given``, ``out_of_range``; ``stale_event`` for a time before the
            last. What was read before it is told.
        """
        rows: list[tuple[str, int, int]] = []
        for name, price in (("index", index), ("last", last), ("outside", outside)):
            if price is not None:
                rows.append((name, self._ticks(price, name), 0))
        for name, both in (("best", best), ("impact", impact)):
            if both is not None:
                rows.append((name, self._ticks(both[0], "bid"), self._ticks(both[1], "ask")))
        if funding is not None:
            rows.append(("funding", _core._whole(funding[0], _UNIT, "rate"), funding[1]))
        for row in rows:
            self._native.see(*row, time)

    def update(self, now: int) -> Decimal | None:
        """Give the mark at a time; the next is at most a step from it.

        Parameters
        ----------
        now : int
            In milliseconds.

        Returns
        -------
        Decimal or None
            None where too little is known.

        Raises
        ------
        AivoraError
            ``stale_event`` for a time before the last.
        """
        ticks = self._native.update(now)
        return None if ticks is None else ticks * self.instrument.mark_tick

    def run(self, index: Index, columns: Mapping[str, ArrayLike]) -> NDArray[np.int64]:
        """Take a path: what is seen, row by row, and the mark after each.

        Where a source of the index tells a price, the index is worked out again and seen; where
        there is none then, the last stands.

        Parameters
        ----------
        index : Index
            Of which the mark is made.
        columns : mapping
            ``seen``: names, or their places in `SEEN` as uint8. ``first`` and ``second``, int64:
            of ``source`` its place and its price; a price; bid and ask; a rate in parts of 10^-12
            and a time. ``time``, int64, in milliseconds. Prices in mark ticks.

        Returns
        -------
        array of int64
            The mark after each row, in mark ticks; 0 where too little is known.

        Raises
        ------
        AivoraError
            ``bad_column``; those of `Index.observe` and `see`, naming the row: rows before it are
            taken.

        Examples
        --------
        >>> import aivora_core as ac
        >>> from aivora_core import pricing
        >>> btc = ac.Venue.load("demo")["BTC"]
        >>> index = pricing.Index(btc, [pricing.Source("a"), pricing.Source("b")])
        >>> mark = pricing.Mark(btc, [pricing.Term("index"), pricing.Term("last")], min_terms=1)
        >>> mark.run(index, {
        ...     "seen": ["source", "source", "last"],
        ...     "first": [0, 1, 6_400_900],
        ...     "second": [6_400_000, 6_400_200, 0],
        ...     "time": [0, 10, 20],
        ... })
        array([6400000, 6400100, 6400500])
        """
        return self._native.run(index._native, *_path(columns))  # noqa: SLF001 - of this module

    def trace(
        self, index: Index, columns: Mapping[str, ArrayLike], limits: Limits
    ) -> dict[str, NDArray[Any]]:
        """Take a path, as `run` does, and give premiums and classes beside the marks.

        A mark is classed by the sources as they were when the index was made last: how many
        counted, and how old the oldest is by now; its average is the index.

        Parameters
        ----------
        index : Index
            Of which the mark is made.
        columns : mapping
            As of `run`.
        limits : Limits
            From where on a mark is not believed.

        Returns
        -------
        dict of arrays
            ``mark``: int64, in mark ticks, 0 where too little is known. ``premium``: int64, in
            parts of 10^-12, the lowest int64 where no impact prices or no index are known.
            ``validity``: uint8, places in `CLASSES`.

        Raises
        ------
        AivoraError
            Those of `run`; ``overflow`` for a premium past a hundred times the index.

        Examples
        --------
        >>> import aivora_core as ac
        >>> from aivora_core import pricing
        >>> btc = ac.Venue.load("demo")["BTC"]
        >>> index = pricing.Index(btc, [pricing.Source("a")])
        >>> mark = pricing.Mark(btc, [pricing.Term("index")])
        >>> path = {
        ...     "seen": ["source", "impact", "clock"],
        ...     "first": [0, 6_406_400, 0],
        ...     "second": [6_400_000, 6_406_500, 0],
        ...     "time": [0, 10, 9_000],
        ... }
        >>> found = mark.trace(index, path, pricing.Limits(stale_ms=5_000))
        >>> found["premium"].tolist()[1:], [pricing.CLASSES[at] for at in found["validity"]]
        ([1000000000, 1000000000], ['valid', 'valid', 'stale'])
        """
        native, row = index._native, limits._row()  # noqa: SLF001 - of this module
        found = self._native.trace(native, row, *_path(columns))
        return dict(zip(("mark", "premium", "validity"), found, strict=True))

    @property
    def parts(self) -> list[Decimal | None]:
        """What each term is at the last time; None where it is not known."""
        tick = self.instrument.mark_tick
        return [None if ticks is None else ticks * tick for ticks in self._native.terms()]


def _path(columns: Mapping[str, ArrayLike]) -> tuple[NDArray[Any], ...]:
    """Check the columns of a path: names as places, whole numbers, as long as each other."""
    seen = np.asarray(columns["seen"])
    if seen.dtype != np.uint8:
        places = {name: place for place, name in enumerate(SEEN)}
        unknown = next((str(name) for name in seen.tolist() if name not in places), None)
        if unknown is not None:
            limit = f"must be one of {', '.join(SEEN)}"
            raise _core._error("bad_column", "seen", unknown, limit, None)
        seen = np.array([places[name] for name in seen.tolist()], dtype=np.uint8)
    elif seen.size and int(seen.max()) >= len(SEEN):
        limit = f"must be below {len(SEEN)}"
        raise _core._error("bad_column", "seen", str(seen.max()), limit, None)
    numbers = []
    for name in ("first", "second", "time"):
        own = np.ascontiguousarray(columns[name])
        if own.dtype != np.int64 or own.shape != seen.shape or own.ndim != 1:
            limit = f"must be int64, {len(seen)} rows"
            raise _core._error("bad_column", name, f"{own.dtype}, {own.shape}", limit, None)
        numbers.append(own)
    return np.ascontiguousarray(seen), *numbers


@dataclass(frozen=True)
class Limits:
    """From where on a price is not believed. What is left out is not asked.

    Attributes
    ----------
    volatile : int, str or Fraction, optional
        The largest ratio of a price to its average, or of that to it: ``5``, ``"5/2"``.
    uncertain : int, str or Decimal, optional
        The widest confidence, as a part of the price.
    stale_for_margin_ms : int, optional
        The age from which no margin is required by it.
    min_live : int, optional
        The fewest sources.
    stale_ms : int, optional
        The age from which it is old.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core import pricing
    >>> limits = pricing.Limits(volatile=5, uncertain="0.02", stale_for_margin_ms=60_000)
    >>> btc = ac.Venue.load("demo")["BTC"]
    >>> limits.validity(btc, 64_000, average=63_900, confidence=10, age_ms=61_000)
    'stale_for_margin'
    >>> "stale_for_margin" in pricing.PERMITS["liquidate"]
    True
    >>> limits.validity(btc, 0, average=0, confidence=10)
    'non_positive'
    """

    volatile: int | str | Fraction | None = None
    uncertain: Number | None = None
    stale_for_margin_ms: int | None = None
    min_live: int | None = None
    stale_ms: int | None = None

    @classmethod
    def of(cls, venue: Venue) -> Limits:
        """Give the limits of a venue's prices as its card has them.

        Raises
        ------
        AivoraError
            ``unsaid`` where the card has no ``[rules.validity]``.

        Examples
        --------
        >>> import aivora_core as ac
        >>> from aivora_core import pricing
        >>> pricing.Limits.of(ac.Venue.load("drift-v2")).volatile
        Fraction(5, 1)
        """
        volatile, uncertain, stale_for_margin, min_live, stale = _core._limits(venue)
        ratio = None if volatile is None else Fraction(*volatile)
        return cls(ratio, uncertain, stale_for_margin, min_live, stale)

    def validity(
        self,
        instrument: Instrument,
        price: Number,
        *,
        average: Number | None = None,
        confidence: Number | None = None,
        age_ms: int = 0,
        live: int | None = None,
    ) -> str:
        """Give the class of a price: the first that holds; nothing is divided.

        Parameters
        ----------
        instrument : Instrument
            Whose mark tick the prices are whole numbers of.
        price, average, confidence : int, str or Decimal
            The price, its average over a while, and how far off it may be.
        age_ms : int
            How old it is.
        live : int, optional
            How many sources tell it.

        Returns
        -------
        str
            By the names of ``docs/spec/pricing.md``.

        Raises
        ------
        AivoraError
            ``off_grid``, ``float_given``, ``not_a_number``, ``out_of_range``.
        """
        tick = instrument.mark_tick
        given = (("price", price), ("average", average), ("confidence", confidence))
        ticks = [None if own is None else _core._whole(own, tick, name) for name, own in given]
        return _core._validity((ticks[0] or 0, ticks[1], ticks[2], age_ms, live), self._row())

    def _row(
        self,
    ) -> tuple[tuple[int, int] | None, str | None, int | None, int | None, int | None]:
        ratio = None if self.volatile is None else _ratio(self.volatile)
        uncertain = None if self.uncertain is None else str(self.uncertain)
        return ratio, uncertain, self.stale_for_margin_ms, self.min_live, self.stale_ms


def _ratio(value: int | str | Fraction) -> tuple[int, int]:
    """Read a ratio of at least 1."""
    try:
        found = None if isinstance(value, float) else Fraction(str(value))
    except ValueError:
        found = None
    if found is None or found < 1 or found.numerator >= 1 << 32:
        limit = "must be a ratio from 1 to 2^32, exact: 5, '5/2', '2.5'"
        raise _core._error("out_of_range", "volatile", str(value), limit, None)
    return found.numerator, found.denominator


#: The classes of a price, the worst first.
CLASSES: Final[tuple[str, ...]] = (
    "non_positive",
    "too_volatile",
    "too_uncertain",
    "stale_for_margin",
    "too_few_sources",
    "stale",
    "valid",
)

#: The classes of a price that each action allows, unless a card says otherwise.
PERMITS: Final[dict[str, frozenset[str]]] = {
    action: frozenset(classes) for action, classes in _core._permits(None)
}


def permits(venue: Venue) -> dict[str, frozenset[str]]:
    """Give the classes of a price that each action allows on a venue: its table, or the default.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core import pricing
    >>> "stale" in pricing.permits(ac.Venue.load("reference"))["liquidate"]
    True
    """
    return {action: frozenset(classes) for action, classes in _core._permits(venue)}


class RestartGate:
    """Holds actions back after a restart, until every price in use is of after it, and fresh.

    Parameters
    ----------
    names : iterable of str
        The prices in use.
    fresh_ms : int
        How old a price may be.

    Raises
    ------
    AivoraError
        ``out_of_range`` for no price or an age not above 0; ``duplicate_key``.

    Examples
    --------
    >>> from aivora_core import pricing
    >>> gate = pricing.RestartGate(["BTC", "ETH"], fresh_ms=5_000)
    >>> gate.permits("fill")
    True
    >>> gate.restart(100_000)
    >>> gate.observe("BTC", time=100_200)
    >>> gate.permits("liquidate"), gate.waiting(100_300)
    (False, ['ETH'])
    >>> gate.observe("ETH", time=100_400)
    >>> gate.permits("liquidate")
    True
    """

    __slots__ = ("_native", "names")

    def __init__(self, names: Iterable[str], *, fresh_ms: int) -> None:
        self.names = tuple(names)
        for place, name in enumerate(self.names):
            if name in self.names[:place]:
                raise _core._error("duplicate_key", "names", name, "is a price before it", None)
        self._native = _core._RestartGate(len(self.names), fresh_ms)

    @classmethod
    def of(cls, venue: Venue) -> RestartGate:
        """Give the gate of a venue: all its instruments, and the age of its card.

        Raises
        ------
        AivoraError
            ``unsaid`` where the card has no ``rules.failure.restart_fresh``.

        Examples
        --------
        >>> import aivora_core as ac
        >>> from aivora_core import pricing
        >>> pricing.RestartGate.of(ac.Venue.load("reference"))
        RestartGate(BTC-PERP, ETH-PERP)
        """
        fresh = _core._restart_fresh(venue)
        return cls((own.symbol for own in venue.instruments), fresh_ms=fresh)

    def __repr__(self) -> str:
        """Name the prices."""
        return f"RestartGate({', '.join(self.names)})"

    def restart(self, time: int) -> None:
        """Tell that trading stopped, and goes on from this time, in milliseconds."""
        self._native.restart(time)

    def observe(self, name: str, *, time: int) -> None:
        """Tell that a price came in.

        Raises
        ------
        AivoraError
            ``unknown_source``; ``stale_event`` for a time before its last.
        """
        if name not in self.names:
            limit = f"must be one of {', '.join(self.names)}"
            raise _core._error("unknown_source", "name", name, limit, None)
        self._native.observe(self.names.index(name), time)

    def waiting(self, now: int) -> list[str]:
        """Give the prices that the gate waits for."""
        return [self.names[place] for place in self._native.waiting(now)]

    def permits(self, action: str) -> bool:
        """Tell whether an action of `PERMITS` may be taken."""
        return self._native.permits(action)


def premium(
    instrument: Instrument, *, impact_bid: Number, impact_ask: Number, index: Number
) -> Decimal:
    """Give the premium of one sample: how far the book is beyond the index, as a part of it.

    Parameters
    ----------
    instrument : Instrument
        Whose mark tick the prices are whole numbers of.
    impact_bid, impact_ask : int, str or Decimal
        The average prices at which the book would fill a given size.
    index : int, str or Decimal
        The index.

    Returns
    -------
    Decimal
        Twelve decimals, rounded ``half_even``.

    Raises
    ------
    AivoraError
        ``off_grid``, ``float_given``, ``out_of_range``; ``overflow`` past a hundred times it.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core import pricing
    >>> btc = ac.Venue.load("demo")["BTC"]
    >>> str(pricing.premium(btc, impact_bid=64064, impact_ask=64065, index=64000))
    '0.001000000000'
    """
    named = (("impact_bid", impact_bid), ("impact_ask", impact_ask), ("index", index))
    ticks = [_core._whole(price, instrument.mark_tick, name) for name, price in named]
    return _core._premium(*ticks) * Decimal(_UNIT)


def funding_rates(  # noqa: PLR0913 - a rule has so many parts
    premiums: ArrayLike,
    interval: int,
    *,
    average: str = "rising",
    interest: Number = 0,
    clamp: Number | None = None,
    dead_band: Number | None = None,
    bounds: tuple[Number, Number] | None = None,
    scale: Number = 1,
    decimals: int = 12,
    rounding: str = "half_even",
    threads: int = 1,
) -> NDArray[np.int64]:
    """Give the funding rates of intervals that follow one another.

    Parameters
    ----------
    premiums : array of int64, shape (..., samples)
        Premiums of samples in parts of 10^-12, oldest first; each row by itself.
    interval : int
        How many samples an interval has. A rest that fills none is left out.
    average : str
        ``rising``: the n-th sample weighs n times the first; or ``mean``.
    interest : int, str or Decimal
        The interest of an interval.
    clamp : int, str or Decimal, optional
        The most by which the interest moves the average.
    dead_band : int, str or Decimal, optional
        Instead of interest: the part of the average that is not paid.
    bounds : (low, high), optional
        Between what the rate is.
    scale : int, str or Decimal
        What part of it one payment is; ``"1/8"`` too.
    decimals : int
        How many it has; it is exact until it is rounded to them.
    rounding : str
        How, by the names of ``docs/spec/numbers.md``.
    threads : int
        How many share the rows; the rates are the same.

    Returns
    -------
    array of int64, shape (..., intervals)
        Rates in parts of 10^-12.

    Raises
    ------
    AivoraError
        ``out_of_range``, ``off_grid``, ``float_given``; ``bad_column`` for another array.

    Examples
    --------
    >>> import numpy as np
    >>> from aivora_core import pricing
    >>> flat = np.zeros(480, dtype=np.int64)
    >>> pricing.funding_rates(flat, 480, interest="0.0001", clamp="0.0005", decimals=8)
    array([100000000])
    """
    given = np.ascontiguousarray(premiums)
    if given.dtype != np.int64 or given.ndim == 0:
        limit = "must be int64, in parts of 10^-12, samples along the last axis"
        raise _core._error("bad_column", "premiums", str(given.dtype), limit, None)

    def parts(value: Any, field: str) -> int:
        return _core._whole(value, _UNIT, field)

    pulled = None
    if dead_band is None:
        most = None if clamp is None else parts(clamp, "clamp")
        pulled = (parts(interest, "interest"), most)
    band = 0 if dead_band is None else parts(dead_band, "dead_band")
    ends = None if bounds is None else (parts(bounds[0], "floor"), parts(bounds[1], "cap"))
    rule = (interval, average, pulled, band, ends, str(scale), decimals, rounding, threads)
    found = _core._funding_rates(given.ravel(), given.shape[-1], *rule)
    count = given.shape[-1] // interval if interval > 0 else 0
    return found.reshape(*given.shape[:-1], count)


@dataclass(frozen=True)
class Funding:
    """The funding of a venue, as its card has it.

    Attributes
    ----------
    average : str, optional
        ``rising`` or ``mean``; None where it is unsaid how samples are taken.
    interest, clamp, dead_band : Decimal, optional
        What of the average and the interest is the rate: see `funding_rates`.
    bounds : tuple of Decimal, optional
        The lowest and the highest rate, before it is scaled.
    scale : Fraction
        What part of it one payment is.
    decimals : int
        How many it has.
    rounding : str
        How the others are rounded.
    interval_ms : int
        The time that a rate is made of.
    sample_ms : int, optional
        The time between two samples of it; None where it is unsaid.
    lag : int
        How many intervals later it is paid.
    timing : str
        ``discrete``: who has a position at the end of an interval pays; ``continuous``: by time.
    paid_on : str
        ``mark`` or ``index``: of which price.
    premium : str
        ``impact`` or ``mark``: what a premium is of.
    shaped : bool
        Whether the card says what of an average premium is the rate, by interest or a band.
    quoted_ms : int
        The time that a rate is quoted for.
    grace_ms : int
        How much later than the instant of a payment one may open, and still pay.
    order : str, optional
        ``before_check`` or ``after_check``: what comes first at one instant; None where it is
        unsaid.
    cap_factor : Fraction, optional
        The largest rate either way, in parts of the initial less the maintenance rate.
    divergence : Fraction, optional
        How far apart the averages of mark and index may count, as a part of the index.
    """

    average: str | None
    interest: Decimal
    clamp: Decimal | None
    dead_band: Decimal | None
    bounds: tuple[Decimal, Decimal] | None
    scale: Fraction
    decimals: int
    rounding: str
    interval_ms: int
    sample_ms: int | None
    lag: int
    timing: str
    paid_on: str
    premium: str
    shaped: bool
    quoted_ms: int
    grace_ms: int
    order: str | None
    cap_factor: Fraction | None
    divergence: Fraction | None

    @classmethod
    def of(cls, venue: Venue) -> Funding:
        """Read the card of a venue.

        Raises
        ------
        AivoraError
            ``unsaid`` where the card has no ``[rules.funding]``.

        Examples
        --------
        >>> import aivora_core as ac
        >>> from aivora_core import pricing
        >>> paid = pricing.Funding.of(ac.Venue.load("hyperliquid"))
        >>> str(paid.scale), paid.paid_on, paid.samples
        ('1/8', 'index', 720)
        """
        terms = _core._funding_terms(venue)
        unit = Decimal(_UNIT)
        for key in ("interest", "clamp", "dead_band"):
            terms[key] = None if terms[key] is None else terms[key] * unit
        if terms["bounds"] is not None:
            terms["bounds"] = tuple(end * unit for end in terms["bounds"])
        for key in ("scale", "cap_factor", "divergence"):
            terms[key] = None if terms[key] is None else Fraction(terms[key])
        return cls(**terms)

    @property
    def samples(self) -> int:
        """How many samples an interval has."""
        if self.sample_ms is None:
            limit = "the card does not say how premiums are sampled"
            raise _core._error("unsaid", "rules.funding.sample", "nothing", limit, None)
        return self.interval_ms // self.sample_ms

    def rates(self, premiums: ArrayLike) -> NDArray[np.int64]:
        """Give the rates of intervals that follow one another, as `funding_rates` does.

        Raises
        ------
        AivoraError
            ``unsaid`` where the card does not say how premiums are sampled, or what of their
            average is the rate; those of `funding_rates`.

        Examples
        --------
        >>> import aivora_core as ac
        >>> import numpy as np
        >>> from aivora_core import pricing
        >>> bybit = pricing.Funding.of(ac.Venue.load("bybit-linear"))
        >>> bybit.rates(np.zeros(960, dtype=np.int64))
        array([100000000, 100000000])
        """
        if not self.shaped:
            limit = "the card does not say what of an average premium is the rate"
            raise _core._error("unsaid", "rules.funding.interest", "nothing", limit, None)
        return funding_rates(
            premiums,
            self.samples,
            average=self.average or "mean",
            interest=self.interest,
            clamp=self.clamp,
            dead_band=self.dead_band,
            bounds=self.bounds,
            scale=str(self.scale),
            decimals=self.decimals,
            rounding=self.rounding,
        )

    def payments(self, premiums: ArrayLike, *, start: int) -> list[tuple[int, int]]:
        """Give when each rate is paid: at the end of its interval, and so many intervals later.

        Parameters
        ----------
        premiums : array of int64
            Premiums of samples in parts of 10^-12, of one instrument, oldest first.
        start : int
            When the first interval begins, in milliseconds.

        Returns
        -------
        list of (int, int)
            The time in milliseconds, and the rate in parts of 10^-12.

        Examples
        --------
        >>> import aivora_core as ac
        >>> import numpy as np
        >>> from aivora_core import pricing
        >>> bybit = pricing.Funding.of(ac.Venue.load("bybit-linear"))
        >>> bybit.lag, bybit.payments(np.zeros(480, dtype=np.int64), start=0)
        (0, [(28800000, 100000000)])
        """
        rates = self.rates(premiums).tolist()
        return [
            (start + (place + 1 + self.lag) * self.interval_ms, rate)
            for place, rate in enumerate(rates)
        ]

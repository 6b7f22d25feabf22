"""The watch: whose verdict a price changes, without looking at the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from aivora_core import _core
from aivora_core.frames import columns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from numpy.typing import NDArray

    from aivora_core._core import Prices, Venue
    from aivora_core.portfolio import Portfolio

__all__ = ["Changes", "Hits", "Watch"]

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Changes:
    """Whose verdict became the other one; true where there is anybody.

    Attributes
    ----------
    liquidatable : list of (str, str)
        Account and pool name of those for which the liquidation check has begun to fire, sorted.
    safe : list of (str, str)
        Those for which it no longer does.

    Examples
    --------
    >>> import aivora_core as ac
    >>> bool(ac.Changes()), bool(ac.Changes([("alice", "cross")]))
    (False, True)
    """

    liquidatable: list[Key] = field(default_factory=list)
    safe: list[Key] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether anybody's verdict changed."""
        return bool(self.liquidatable or self.safe)

    def to_dict(self) -> dict[str, list[list[str]]]:
        """Both lists, for ``--json`` and logs."""
        return {
            "liquidatable": [list(key) for key in self.liquidatable],
            "safe": [list(key) for key in self.safe],
        }


@dataclass(frozen=True, eq=False)
class Hits:
    """What many ticks changed: one row a changed verdict, in order of ticks, then of pools.

    Attributes
    ----------
    row : numpy.ndarray of int64
        Which tick it was; -1 for what a change of holdings before the first had changed.
    index : numpy.ndarray of int64
        The pool's place in the portfolio, as in the rows of `Portfolio.check`.
    liquidatable : numpy.ndarray of bool
        Whether the check fires from then on, or no longer does.

    Examples
    --------
    >>> import aivora_core as ac
    >>> venue = ac.Venue.load("demo")
    >>> pf = ac.Portfolio.from_tables(
    ...     venue,
    ...     positions=[{"account": "a", "instrument": "BTC", "quantity": "1", "entry": "64000"}],
    ...     collateral=[{"account": "a", "amount": "2000"}],
    ... )
    >>> with pf.watch(ac.Prices(venue, mark={"BTC": "64000"})) as watch:
    ...     hits = watch.ticks({"instrument": ["BTC"] * 3, "mark": ["63000", "62200", "63000"]})
    >>> hits
    Hits(2 changes: 1 liquidatable, 1 safe)
    >>> [(tick, account, liquidatable) for tick, account, pool, liquidatable in hits]
    [(1, 'a', True), (2, 'a', False)]
    """

    row: NDArray[np.int64]
    index: NDArray[np.int64]
    liquidatable: NDArray[np.bool_]
    _keys: _core.Portfolio

    def __len__(self) -> int:
        """How many verdicts changed."""
        return len(self.row)

    def __iter__(self) -> Iterator[tuple[int, str, str, bool]]:
        """Tick, account, pool and verdict of each."""
        for row, index, verdict in zip(self.row, self.index, self.liquidatable, strict=True):
            account, pool = self._keys.key(int(index))
            yield int(row), account, pool, bool(verdict)

    def to_dict(self) -> dict[str, list[Any]]:
        """All columns."""
        names = ("row", "account", "pool", "liquidatable")
        rows = list(self)
        return {name: [row[place] for row in rows] for place, name in enumerate(names)}

    def __repr__(self) -> str:
        """Count them."""
        fires = int(self.liquidatable.sum())
        return f"Hits({len(self)} changes: {fires} liquidatable, {len(self) - fires} safe)"


class Watch:
    """A portfolio whose verdicts are known after every price. Made by `Portfolio.watch`.

    Its answer after each price is that of `Portfolio.liquidatable` at the prices in force, proven
    in the specification page of the watch; its cost does not grow with the portfolio but with the
    few pools that the price concerns. The portfolio stays usable: what is changed through
    ``pf["alice"].set_position(...)`` the watch knows at once, and `update` tells what it changed.

    Attributes
    ----------
    portfolio : Portfolio
        What is watched.

    Examples
    --------
    >>> import aivora_core as ac
    >>> venue = ac.Venue.load("demo")
    >>> pf = ac.Portfolio.from_tables(
    ...     venue,
    ...     positions=[
    ...         {"account": "alice", "instrument": "BTC", "quantity": "1", "entry": "64000"},
    ...         {"account": "bob", "instrument": "BTC", "quantity": "-1", "entry": "64000"},
    ...     ],
    ...     collateral=[
    ...         {"account": "alice", "amount": "2000"},
    ...         {"account": "bob", "amount": "3000"},
    ...     ],
    ... )
    >>> watch = pf.watch(ac.Prices(venue, mark={"BTC": "64000"}))
    >>> watch
    Watch(demo: 2 pools, 0 liquidatable)
    >>> bool(watch.tick("BTC", "63990.5"))
    False
    >>> watch.tick("BTC", "62200").liquidatable
    [('alice', 'cross')]
    >>> pf["alice"].set_balance("USDT", "4000")
    >>> watch.update("alice").safe
    [('alice', 'cross')]
    """

    def __init__(self, portfolio: Portfolio, core: _core.Watch, keys: _core.Portfolio) -> None:
        self.portfolio = portfolio
        self._core = core
        self._keys = keys
        self._code(portfolio.venue)

    def _code(self, venue: Venue) -> None:
        symbols = [instrument.symbol for instrument in venue.instruments]
        self._instruments = {symbol: place for place, symbol in enumerate(symbols)}
        first = len(symbols)
        self._assets = {name: first + place for place, name in enumerate(sorted(venue.assets))}

    def _place(self, instrument: str) -> int:
        place = self._instruments.get(instrument)
        if place is None:
            self.portfolio.venue[instrument]  # raises, with the names there are
            raise AssertionError(instrument)
        return place

    def _changes(self, found: tuple[list[int], list[int]]) -> Changes:
        fires, safe = found
        if not fires and not safe:
            return Changes()
        key = self._keys.key
        return Changes([key(place) for place in fires], [key(place) for place in safe])

    def _pool(self, account: str, pool: str | None) -> int:
        if pool is not None:
            return self._keys.find(account, pool)
        places = self._keys.of_account(account)
        if len(places) != 1:
            self.portfolio[account]  # raises, with the pools there are
            raise AssertionError(account)
        return places[0]

    def tick(
        self,
        instrument: str,
        mark: int | str | Decimal | None = None,
        *,
        mark_ticks: int | None = None,
    ) -> Changes:
        """A new mark; where the card checks on each (``check_on = "mark"``), what it changes.

        Parameters
        ----------
        instrument : str
            Its symbol.
        mark : int, str or Decimal
            The mark in units, a whole number of mark ticks; or give ``mark_ticks``.
        mark_ticks : int
            The mark in mark ticks.

        Raises
        ------
        UnknownNameError
            ``unknown_instrument``.
        NumberError, PriceError, FloatGivenError
            A mark that is none; ``overflow`` for a pool it takes past the bounds. The prices and
            all verdicts are as they were then.
        """
        place = self._place(instrument)
        if (mark is None) == (mark_ticks is None):
            limit = "give mark or mark_ticks, one of them"
            raise _core._error("bad_column", "mark", "both or none", limit, None)
        return self._changes(self._core.tick(place, mark, mark_ticks))

    def tick_asset(self, asset: str, price: int | str | Decimal) -> Changes:
        """A new price of an asset, in the card's valuation asset: as `tick`.

        Raises
        ------
        UnknownNameError
            ``unknown_asset``, also for one that the card gives no price.
        """
        place = self._assets.get(asset)
        if place is None:
            limit = f"assets of {self.portfolio.venue.name}: {', '.join(self._assets)}"
            raise _core._error("unknown_asset", "asset", asset, limit, None)
        return self._changes(self._core.tick(place, price, None))

    def ticks(self, table: Any) -> Hits:
        """Many marks, one after the other, each with its check.

        Parameters
        ----------
        table : dict of columns, list of rows, or data frame
            ``instrument`` (symbols, a column of codes and names, or an integer array of places
            in the card), ``mark`` (exact, in units) or ``mark_ticks`` (whole numbers), and
            optionally ``time`` in milliseconds: time goes on to it before the tick, as by
            `advance`. Integer arrays are read as they are, without a Python object a row.

        Returns
        -------
        Hits
            One row a changed verdict.

        Raises
        ------
        TableError
            ``bad_column``, ``length_mismatch``.
        UnknownNameError, NumberError, PriceError, FloatGivenError
            As `tick`, with the row; all prices and verdicts are those before the first row then.
        """
        given = columns(table, "ticks") or {}
        known = {"instrument", "mark", "mark_ticks", "time"}
        for name in given.keys() - known:
            limit = f"must be one of {', '.join(sorted(known))}"
            raise _core._error("bad_column", f"ticks.{name}", "a column", limit, None)
        if "instrument" not in given or ("mark" in given) == ("mark_ticks" in given):
            limit = "needs instrument, and mark or mark_ticks, one of them"
            raise _core._error("bad_column", "ticks", ", ".join(given) or "nothing", limit, None)
        places = self._places(given["instrument"])
        name = "mark" if "mark" in given else "mark_ticks"
        for other in (name, "time"):
            if other in given and len(given[other]) != len(places):
                limit = f"must have a row for each of the {len(places)} instruments"
                field, count = f"ticks.{other}", str(len(given[other]))
                raise _core._error("length_mismatch", field, count, limit, None)
        if name == "mark":
            ticks = self._core.ticks_of_rows(places, list(given["mark"]))
        else:
            ticks = _whole(given["mark_ticks"], "ticks.mark_ticks")
        times = _whole(given["time"], "ticks.time") if "time" in given else None
        return Hits(*self._core.ticks(places, ticks, times), self._keys)

    def _places(self, values: Any) -> NDArray[np.int64]:
        if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
            return values
        if isinstance(values, tuple):
            codes, names = values
            return np.array([self._place(name) for name in names], np.int64)[codes]
        return np.array([self._place(name) for name in values], np.int64)

    def reprice(self, prices: Prices) -> Changes:
        """All prices at once, those of each instrument and asset that has one, with one check.

        Where many pools have to be looked at, a scan finds the verdicts, and certificates are made
        again before the next check, or by `settle` in between.

        Raises
        ------
        UnknownNameError
            ``unknown_venue`` for prices of another card.
        """
        return self._changes(self._core.reprice(prices))

    def check(self) -> Changes:
        """The check of all prices and payments since the last: the end of a block.

        Needed only where the card does not check on each mark (``check_on``).
        """
        return self._changes(self._core.check())

    def advance(self, time: int) -> Changes:
        """Time goes on, to so many milliseconds: funding and checks that fall due are made.

        Raises
        ------
        NumberError
            ``out_of_range`` for a time that has passed.
        """
        return self._changes(self._core.advance(time))

    def update(self, account: str, pool: str | None = None) -> Changes:
        """What changes of a pool's holdings have changed, and look at the pool once more.

        After ``set_position``, ``set_balance``, ``set_orders`` or ``set_leverage`` of the pool the
        verdict is the new one at once; this tells it, as does the next `tick` if nobody asks
        before.

        Raises
        ------
        UnknownNameError
            ``unknown_account``.
        """
        return self._changes(self._core.update(self._pool(account, pool)))

    def hand_over(self, account: str, pool: str | None = None) -> None:
        """Say that the venue has taken a pool over, to liquidate it.

        Nothing is told of it any more, and its verdict stays what it is, until something of it
        changes or `update` asks for it.
        """
        self._core.hand_over(self._pool(account, pool))

    def settle_funding(
        self,
        instrument: str,
        rate: str | Decimal,
        *,
        price: int | str | Decimal | None = None,
        time: int | None = None,
    ) -> Changes:
        """Settle funding: each position pays ``ceil(value x rate)``, now or when a time has come.

        Parameters
        ----------
        instrument : str
            Whose holders pay.
        rate : str or Decimal
            The rate of this one interval: positive where longs pay shorts, else negative.
        price : int, str or Decimal, optional
            What positions are valued at; the mark in force if not given.
        time : int, optional
            In milliseconds: `advance` makes the settlement when it gets there.

        Raises
        ------
        NumberError
            ``out_of_range`` for a time that has passed; ``overflow``. Nothing is paid then.
        """
        given: Any = rate
        if isinstance(given, float):
            limit = "a float is not exact; give an int, a str or a Decimal"
            raise _core._error("float_given", "rate", repr(rate), limit, None)
        text = str(rate)
        size = text.removeprefix("-")
        place = self._place(instrument)
        return self._changes(self._core.funding(place, price, size, size == text, time))

    def set_card(self, venue: Venue) -> Changes:
        """Another card comes into force: other brackets, haircuts, fees or rules.

        Raises
        ------
        CardError
            ``bad_card`` where instruments, assets or their grids are others. Nothing is changed.
        """
        changes = self._changes(self._core.set_card(venue))
        self.portfolio.venue = venue
        self._code(venue)
        return changes

    def settle(self) -> None:
        """Make again the certificates that a scan left, when there is time."""
        self._core.settle()

    @property
    def liquidatable(self) -> NDArray[np.bool_]:
        """The verdict on every pool at the last check, copied."""
        return self._core.liquidatable()

    @property
    def prices(self) -> Prices:
        """The prices in force, copied."""
        return self._core.prices()

    @property
    def touched(self) -> int:
        """How many pools the last check looked at: all of them where it was a scan."""
        return self._core.state()[0]

    @property
    def memory(self) -> int:
        """Bytes held beside the portfolio."""
        return self._core.state()[1]

    @property
    def now(self) -> int | None:
        """The time that was last told, in milliseconds."""
        return self._core.state()[2]

    def close(self) -> None:
        """End it; the portfolio goes on alone. A watch that is no longer used ends by itself."""
        self._core.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def __repr__(self) -> str:
        """Say what is watched."""
        name = self.portfolio.venue.name
        if not self._core.is_open:
            return f"Watch({name}: closed)"
        return f"Watch({name}: {len(self.portfolio)} pools, {self.liquidatable.sum()} liquidatable)"

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse: a watch is a handle on packed memory."""
        return self._core.__reduce__()


def _whole(values: Any, field: str) -> NDArray[np.int64]:
    """A column of whole numbers that fit 64 bits."""
    if isinstance(values, np.ndarray) and values.dtype == np.int64:
        return values
    for row, value in enumerate(values):
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
            code = "float_given" if isinstance(value, (float, np.floating)) else "not_a_number"
            raise _core._error(code, field, repr(value), "must be a whole number", row)
    try:
        return np.array(values, np.int64)
    except OverflowError:
        raise _core._error("overflow", field, "a number", "must fit 64 bits", None) from None

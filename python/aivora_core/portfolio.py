"""Pools, accounts and the check: the comfortable half of the margin floor."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from aivora_core import _core
from aivora_core.explain import STATUSES, Explanation, amount
from aivora_core.formulas import FORMULAS
from aivora_core.frames import columns
from aivora_core.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from aivora_core._core import Book, Prices, Venue

__all__ = [
    "Account",
    "BankruptcyPrice",
    "Flip",
    "LiquidationPrice",
    "OpenInterest",
    "Portfolio",
    "Report",
    "Withdrawal",
]


@dataclass(frozen=True, slots=True)
class Flip:
    """A mark at which the verdict on a pool becomes the other one.

    Attributes
    ----------
    mark : Decimal
        The first mark with the other verdict.
    price : Decimal
        The safe price next to it, on the order grid toward safety.
    becomes : str
        ``"liquidatable"`` or ``"safe"``: the verdict at ``mark``.
    mark_ticks, price_ticks : int
        Both in mark ticks.

    Examples
    --------
    >>> from decimal import Decimal
    >>> import aivora_core as ac
    >>> ac.Flip(Decimal("60000.4"), Decimal("60000.5"), "liquidatable", 600004, 600005).becomes
    'liquidatable'
    """

    mark: Decimal
    price: Decimal
    becomes: str
    mark_ticks: int
    price_ticks: int


@dataclass(frozen=True, slots=True)
class LiquidationPrice:
    """The nearest marks of one instrument at which the verdict on a pool changes.

    All other marks are held.

    Attributes
    ----------
    instrument : str
        The instrument whose mark moves.
    mark : Decimal
        Its current mark.
    liquidatable : bool
        The verdict there.
    below, above : Flip or None
        The nearest flips; None where no lower (higher) price changes the verdict.
    reason_below, reason_above : str or None
        Why there is none: ``"no_flip_below"``, ``"no_flip_above"``.

    Examples
    --------
    >>> from decimal import Decimal
    >>> import aivora_core as ac
    >>> ac.LiquidationPrice("BTC", Decimal(100), False, None, None).reason_below
    'no_flip_below'
    """

    instrument: str
    mark: Decimal
    liquidatable: bool
    below: Flip | None
    above: Flip | None

    @property
    def reason_below(self) -> str | None:
        """Why there is no flip below, if there is none."""
        return None if self.below else "no_flip_below"

    @property
    def reason_above(self) -> str | None:
        """Why there is no flip above, if there is none."""
        return None if self.above else "no_flip_above"

    @property
    def nearest(self) -> Flip | None:
        """The flip nearest to the current mark, or None; the lower one of two equally near."""
        flips = [flip for flip in (self.below, self.above) if flip]
        return min(flips, key=lambda flip: abs(flip.mark - self.mark), default=None)


@dataclass(frozen=True, slots=True)
class BankruptcyPrice:
    """The price at which closing a leg in full uses up the equity allotted to it.

    Attributes
    ----------
    instrument, leg : str
        The leg.
    price : Decimal or None
        On the order grid, rounded so that closing there loses at most what is allotted.
    asset : str
        The asset the leg settles in; the amounts are in it.
    price_ticks : int or None
        The same in price ticks.
    quote_quanta, allotted_quanta : int
        What closing must bring in (negative: may cost), and the equity allotted, in quanta.
    quote, allotted : Decimal
        The same in units of the settlement asset.
    reason : str or None
        Where there is no price: ``"no_positive_price"``, or ``"no_finite_price"`` where it would
        have to be past any price (inverse contracts).

    Examples
    --------
    >>> from decimal import Decimal
    >>> import aivora_core as ac
    >>> amounts = (-5, 105, Decimal("-0.000005"), Decimal("0.000105"))
    >>> ac.BankruptcyPrice("BTC", "net", None, None, "USDT", *amounts, "no_positive_price").reason
    'no_positive_price'
    """

    instrument: str
    leg: str
    price: Decimal | None
    price_ticks: int | None
    asset: str
    quote_quanta: int
    allotted_quanta: int
    quote: Decimal
    allotted: Decimal
    reason: str | None


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """How much of an asset may leave a pool, and why not more.

    Attributes
    ----------
    asset : str
        The asset asked for.
    amount, balance : Decimal
        The most of it that may leave, and what there is of it (less the interest owed).
    binding : str
        What keeps more from leaving: ``"balance"``, ``"initial"`` (the initial requirement),
        ``"exit_unfilled"`` (a book too thin for the exit) or ``"unknown_fee"``.
    amount_quanta, balance_quanta : int
        The same in quanta of the asset.
    equity_quanta, initial_quanta : int
        The equity that counts before anything leaves, and the requirement it must cover, in quanta
        of the asset the pool is checked in.

    Examples
    --------
    >>> import aivora_core as ac
    >>> venue = ac.Venue.load("demo")
    >>> pf = ac.Portfolio.from_tables(
    ...     venue,
    ...     positions=[{"account": "a", "instrument": "BTC", "quantity": "1", "entry": "63000"}],
    ...     collateral=[{"account": "a", "amount": "1000"}],
    ... )
    >>> may = pf["a"].withdrawable("USDT", ac.Prices(venue, mark={"BTC": "63500"}))
    >>> may
    Withdrawal(365 of 1000 USDT, bound by initial)
    >>> may.allows("365"), may.allows("365.000001")
    (True, False)
    """

    asset: str
    amount: Decimal
    balance: Decimal
    binding: str
    amount_quanta: int
    balance_quanta: int
    equity_quanta: int
    initial_quanta: int

    def allows(self, amount: str | int | Decimal) -> bool:
        """Whether so much of the asset may leave.

        Raises
        ------
        FloatGivenError
            A float, which is not exact.
        NumberError
            ``not_a_number``, ``out_of_range`` below zero.
        """
        if isinstance(amount, float):
            limit = "a float is not exact; give an int, a str or a Decimal"
            raise _core._error("float_given", "amount", repr(amount), limit, None)
        try:
            asked = Decimal(amount)
        except ArithmeticError:
            limit = "must be a number"
            raise _core._error("not_a_number", "amount", repr(amount), limit, None) from None
        if not asked >= 0:
            limit = "must be at least 0"
            raise _core._error("out_of_range", "amount", str(amount), limit, None)
        return asked <= self.amount

    def __repr__(self) -> str:
        """Say how much of what."""
        return (
            f"Withdrawal({self.amount:f} of {self.balance:f} {self.asset}, bound by {self.binding})"
        )


@dataclass(frozen=True, slots=True)
class OpenInterest:
    """What all pools hold of one instrument.

    Attributes
    ----------
    instrument : str
        The instrument.
    long, short : Decimal
        The sums of the long and of the short positions, both as positive quantities.
    long_lots, short_lots : int
        The same in lots.
    long_legs, short_legs : int
        How many legs each has.

    Examples
    --------
    >>> from decimal import Decimal
    >>> import aivora_core as ac
    >>> ac.OpenInterest("BTC", Decimal("2.5"), Decimal(2), 2500, 2000, 3, 1).imbalance
    Decimal('0.5')
    """

    instrument: str
    long: Decimal
    short: Decimal
    long_lots: int
    short_lots: int
    long_legs: int
    short_legs: int

    @property
    def imbalance(self) -> Decimal:
        """Long less short: zero where every counterparty is loaded."""
        return self.long - self.short


@dataclass(frozen=True, eq=False)
class Report:
    """What a batch check found: one row a pool, sorted by account and pool.

    Attributes
    ----------
    keys : tuple of three lists of str, or the packed portfolio that has them
        Accounts, pool names and the assets the pools are checked in; read them as ``account``,
        ``pool`` and ``asset``.
    equity, initial, maintenance : numpy.ndarray of int64, or of Python ints where a row needs more
        In quanta of the asset the pool is checked in.
    status : numpy.ndarray of uint8
        0 safe, 1 below_initial, 2 liquidatable, 3 bankrupt.
    liquidatable : numpy.ndarray of bool
        Whether the liquidation check fires.
    ratio_ppm, distance_ppm : numpy.ndarray of int64, or None
        On request; see the specification of the margin floor. Both saturate.
    quanta : dict of str to Decimal
        The quantum of each asset.

    Examples
    --------
    >>> import aivora_core as ac
    >>> venue = ac.Venue.load("demo")
    >>> pf = ac.Portfolio.from_tables(
    ...     venue,
    ...     positions=[
    ...         {"account": "alice", "instrument": "BTC", "quantity": "1", "entry": "64000"},
    ...     ],
    ...     collateral=[{"account": "alice", "amount": "700"}],
    ... )
    >>> report = pf.check(ac.Prices(venue, mark={"BTC": "63500"}))
    >>> report
    Report(1 pools: 0 safe, 0 below initial, 1 liquidatable, 0 bankrupt)
    >>> int(report.equity[0]), int(report.maintenance[0])
    (200000000, 267500000)
    """

    keys: tuple[list[str], list[str], list[str]] | _core.Portfolio
    equity: NDArray[Any]
    initial: NDArray[Any]
    maintenance: NDArray[Any]
    status: NDArray[np.uint8]
    liquidatable: NDArray[np.bool_]
    ratio_ppm: NDArray[np.int64] | None
    distance_ppm: NDArray[np.int64] | None
    quanta: dict[str, Decimal]

    def __len__(self) -> int:
        """How many pools."""
        return len(self.status)

    @cached_property
    def _names(self) -> tuple[list[str], list[str], list[str]]:
        # Asked for late: a million Python strings cost more than the check itself.
        return self.keys if isinstance(self.keys, tuple) else self.keys.keys()

    @property
    def account(self) -> list[str]:
        """The account of each row."""
        return self._names[0]

    @property
    def pool(self) -> list[str]:
        """The pool's name of each row."""
        return self._names[1]

    @property
    def asset(self) -> list[str]:
        """The asset that the amounts of each row are in."""
        return self._names[2]

    def row(self, account: str, pool: str = "cross") -> dict[str, Any]:
        """One pool's row, amounts as Python ints in quanta.

        Raises
        ------
        UnknownNameError
            ``unknown_account``.
        """
        place = self._places.get((account, pool))
        if place is None:
            limit = "no such pool in this report"
            raise _core._error("unknown_account", "account", f"{account}/{pool}", limit, None)
        return self.at(place)

    @cached_property
    def _places(self) -> dict[tuple[str, str], int]:
        return {key: place for place, key in enumerate(zip(self.account, self.pool, strict=True))}

    def at(self, place: int) -> dict[str, Any]:
        """The row at a place, amounts as Python ints in quanta."""
        row = {
            "account": self.account[place],
            "pool": self.pool[place],
            "asset": self.asset[place],
            "equity": int(self.equity[place]),
            "initial": int(self.initial[place]),
            "maintenance": int(self.maintenance[place]),
            "status": STATUSES[int(self.status[place])],
            "liquidatable": bool(self.liquidatable[place]),
        }
        for name in ("ratio_ppm", "distance_ppm"):
            column = getattr(self, name)
            if column is not None:
                row[name] = int(column[place])
        return row

    def counts(self) -> dict[str, int]:
        """How many pools have each status."""
        found = np.bincount(self.status, minlength=len(STATUSES))
        return {name: int(count) for name, count in zip(STATUSES, found, strict=True)}

    def to_dict(self) -> dict[str, list[Any]]:
        """All columns; amounts as text in units of the row's asset."""
        table: dict[str, list[Any]] = {
            "account": self.account,
            "pool": self.pool,
            "asset": self.asset,
        }
        quanta = [self.quanta[asset] for asset in self.asset]
        for name in ("equity", "initial", "maintenance"):
            pairs = zip(getattr(self, name), quanta, strict=True)
            table[name] = [amount(int(value), quantum) for value, quantum in pairs]
        table["status"] = [STATUSES[code] for code in self.status]
        table["liquidatable"] = self.liquidatable.tolist()
        for name in ("ratio_ppm", "distance_ppm"):
            column = getattr(self, name)
            if column is not None:
                table[name] = column.tolist()
        return table

    def columns(self) -> tuple[Any, ...] | None:
        """The five columns; None where amounts need more than 64 bits."""
        amounts = (self.equity, self.initial, self.maintenance)
        narrow = all(column.dtype == np.int64 for column in amounts)
        return (*amounts, self.status, self.liquidatable) if narrow else None

    def _parts(self) -> tuple[Any, ...]:
        columns = (self.equity, self.initial, self.maintenance, self.status, self.liquidatable)
        return (self._names, *columns, self.ratio_ppm, self.distance_ppm, self.quanta)

    def __eq__(self, other: object) -> bool:
        """Equal where every column is."""
        if not isinstance(other, Report):
            return NotImplemented
        pairs = zip(self._parts(), other._parts(), strict=True)
        return all(
            np.array_equal(mine, theirs)
            if isinstance(mine, np.ndarray) and isinstance(theirs, np.ndarray)
            else type(mine) is type(theirs) and mine == theirs
            for mine, theirs in pairs
        )

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[type[Report], tuple[Any, ...]]:
        """Pickle through the constructor."""
        return Report, self._parts()

    def __repr__(self) -> str:
        """Count the pools by status."""
        parts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in self.counts().items())
        return f"Report({len(self)} pools: {parts})"


class Portfolio:
    """Every pool of every account of one venue, packed once and checked many times.

    Made by `from_tables` or `from_floats`.

    Attributes
    ----------
    venue : Venue
        The venue it belongs to.

    Examples
    --------
    >>> import aivora_core as ac
    >>> venue = ac.Venue.load("demo")
    >>> pf = ac.Portfolio.from_tables(
    ...     venue,
    ...     positions=[
    ...         {"account": "alice", "instrument": "BTC", "quantity": "0.5", "entry": "64000"},
    ...     ],
    ...     collateral=[{"account": "alice", "amount": "2000"}],
    ... )
    >>> pf
    Portfolio(demo: 1 pools, 1 legs)
    >>> pf["alice"].liquidation_price("BTC", ac.Prices(venue, mark={"BTC": 64000})).below.price
    Decimal('60241')
    """

    __slots__ = ("_core", "venue")

    venue: Venue

    def __init__(self, venue: Venue, core: _core.Portfolio) -> None:
        self.venue = venue
        self._core = core

    @classmethod
    def from_tables(
        cls,
        venue: Venue,
        positions: Any = None,
        collateral: Any = None,
        orders: Any = None,
        pools: Any = None,
        *,
        entry_rounding: str | None = None,
    ) -> Portfolio:
        """Build a portfolio from exact tables.

        Parameters
        ----------
        venue : Venue
            The venue.
        positions : table
            ``account``, ``instrument``, ``quantity`` (or ``quantity_lots``) and ``entry`` (or
            ``cost``, ``cost_quanta``); optionally ``pool`` (``"cross"``), ``leg`` (``"net"``),
            ``accrued`` (or ``accrued_quanta``; positive when owed).
        collateral : table
            ``account``, ``amount`` (or ``amount_quanta``); optionally ``pool``, ``asset``,
            ``interest`` (or ``interest_quanta``; what is owed on the balance). One row a pool and
            asset.
        orders : table, optional
            Open orders: ``account``, ``instrument``, ``side`` (``"buy"``/``"sell"``), ``quantity``;
            optionally ``pool``, ``leg``.
        pools : table, optional
            ``account``, ``pool``, ``kind`` (``cross``, ``isolated``, ``sub_account``), ``mode``
            (``single``: one asset; ``multi``: several, valued in one), ``leverage``; a row with an
            ``instrument`` chooses the leverage for it alone.
        entry_rounding : {"against_account"}, optional
            Accept average entries that give no whole cost, and round the cost up: less than one
            quantum a leg against the account.

        A column of names may be a pair ``(codes, names)``, or categorical: each distinct name is
        read once.

        Returns
        -------
        Portfolio

        Raises
        ------
        TableError
            ``duplicate_key``, ``length_mismatch``, ``bad_column``, ``bad_leg``,
            ``bad_collateral``.
        NumberError
            ``off_grid``, ``not_a_number``, ``not_finite``, ``out_of_range``, ``overflow``.
        FloatGivenError
            A float; see `from_floats`.
        UnknownNameError
            ``unknown_instrument``, ``unknown_asset``.

        Examples
        --------
        >>> import aivora_core as ac
        >>> ac.Portfolio.from_tables(
        ...     ac.Venue.load("demo"),
        ...     positions=[{"account": "a", "instrument": "BTC", "quantity": 0.5, "entry": "1"}],
        ... )
        Traceback (most recent call last):
        ...
        aivora_core.errors.FloatGivenError: [float_given] positions.quantity (row 0): got 0.5; ...
        """
        return cls._build(venue, (positions, collateral, orders, pools), entry_rounding, None)

    @classmethod
    def from_floats(
        cls,
        venue: Venue,
        positions: Any = None,
        collateral: Any = None,
        orders: Any = None,
        pools: Any = None,
        *,
        rounding: str,
        entry_rounding: str | None = None,
    ) -> Portfolio:
        """Build a portfolio from tables that may hold floats, rounded as named.

        A float means the shortest decimal that reads back as it. A value off its grid is rounded by
        ``rounding`` and listed in `off_grid`; NaN and infinities are refused.

        Parameters
        ----------
        rounding : {"floor", "ceil", "toward_zero", "away_from_zero", "half_even", "exact"}
            Where a float off its grid goes; ``"exact"`` refuses it.
        venue, positions, collateral, orders, pools, entry_rounding
            As in `from_tables`.

        Examples
        --------
        >>> import aivora_core as ac
        >>> pf = ac.Portfolio.from_floats(
        ...     ac.Venue.load("demo"),
        ...     positions=[
        ...         {"account": "a", "instrument": "BTC", "quantity": 0.1234, "entry": 64000.0},
        ...     ],
        ...     rounding="toward_zero",
        ... )
        >>> pf.off_grid
        [{'table': 'positions', 'row': 0, 'column': 'quantity', 'value': '0.1234', 'used': '0.123'}]
        """
        return cls._build(venue, (positions, collateral, orders, pools), entry_rounding, rounding)

    @classmethod
    def _build(
        cls,
        venue: Venue,
        tables: tuple[Any, Any, Any, Any],
        entry_rounding: str | None,
        float_rounding: str | None,
    ) -> Portfolio:
        names = ("positions", "collateral", "orders", "pools")
        positions, collateral, orders, pools = (
            columns(table, name) for table, name in zip(tables, names, strict=True)
        )
        entry = _entry_rounding(entry_rounding)
        core = _core.Portfolio(venue, positions, collateral, orders, pools, entry, float_rounding)
        return cls(venue, core)

    def __len__(self) -> int:
        """How many pools it holds."""
        return len(self._core)

    @property
    def leg_count(self) -> int:
        """How many legs it holds."""
        return self._core.leg_count

    @property
    def off_grid(self) -> list[dict[str, Any]]:
        """The floats that were off their grid: table, row, column, value and what was used."""
        names = ("table", "row", "column", "value", "used")
        return [dict(zip(names, row, strict=True)) for row in self._core.off_grid()]

    @property
    def digest(self) -> str:
        """SHA-256 of the card's hash and all that is held; no order of insertion reaches it."""
        return self._core.digest()

    def report_digest(self, prices: Prices) -> str:
        """SHA-256 of the report of `check` at these prices and of all it comes from, in hex."""
        return self._core.report_digest(prices)

    @property
    def memory(self) -> dict[str, int]:
        """Bytes held, by part: ``names``, ``pools`` and their sum, ``total``."""
        names, pools = self._core.memory()
        return {"names": names, "pools": pools, "total": names + pools}

    def liquidatable(self, prices: Prices, *, threads: int = 1) -> NDArray[np.bool_]:
        """Only the verdict of every pool: `Report.liquidatable` of `check`, for less.

        Parameters
        ----------
        prices, threads
            As in `check`.

        Returns
        -------
        numpy.ndarray of bool
            One a pool, sorted by account and pool.

        Raises
        ------
        PriceError
            ``missing_price``: nothing is assumed.
        """
        return self._core.liquidatable(prices, threads)

    def check(
        self,
        prices: Prices,
        *,
        threads: int = 1,
        ratio: bool = False,
        distance: bool = False,
        out: Report | None = None,
    ) -> Report:
        """Check every pool.

        Parameters
        ----------
        prices : Prices
            A mark for every held instrument.
        threads : int
            Threads to use; the result does not depend on it.
        ratio, distance : bool
            Whether to give `Report.ratio_ppm` and `Report.distance_ppm`, which cost a second pass.
        out : Report, optional
            An earlier report of this portfolio whose memory is used again: its columns hold the
            new numbers afterwards. After an error they mean nothing.

        Returns
        -------
        Report
            One row a pool, sorted by account and pool.

        Raises
        ------
        PriceError
            ``missing_price``: nothing is assumed.
        TableError
            ``length_mismatch`` or ``bad_column`` for a report that cannot be used again.
        """
        amounts, status, liquidatable, shown = self._core.check(
            prices, threads, ratio, distance, None if out is None else out.columns()
        )
        equity, initial, maintenance = (
            column if isinstance(column, np.ndarray) else np.array(column, dtype=object)
            for column in amounts
        )
        return Report(
            self._core,
            equity,
            initial,
            maintenance,
            status,
            liquidatable,
            ratio_ppm=shown[0],
            distance_ppm=shown[1],
            quanta={name: of["quantum"] for name, of in self.venue.assets.items()},
        )

    def watch(self, prices: Prices) -> Watch:
        """Watch it from these prices on: who becomes liquidatable by each price, at once.

        Parameters
        ----------
        prices : Prices
            A mark for every held instrument; the watch goes on from a copy.

        Returns
        -------
        Watch
            It shares this portfolio: what is changed here, it knows.

        Raises
        ------
        PriceError
            ``missing_price``: nothing is assumed.
        TableError
            ``duplicate_key`` while another watch is open.
        """
        return Watch(self, self._core.watch(prices), self._core)

    def open_interest(self) -> dict[str, OpenInterest]:
        """The open interest of every instrument, over all pools.

        Examples
        --------
        >>> import aivora_core as ac
        >>> pf = ac.Portfolio.from_tables(
        ...     ac.Venue.load("demo"),
        ...     positions=[
        ...         {"account": "a", "instrument": "BTC", "quantity": "2", "entry": "64000"},
        ...         {"account": "b", "instrument": "BTC", "quantity": "-1.5", "entry": "64000"},
        ...     ],
        ... )
        >>> open_interest = pf.open_interest()["BTC"]
        >>> open_interest.long, open_interest.short, open_interest.imbalance
        (Decimal('2'), Decimal('1.5'), Decimal('0.5'))
        """
        found = {}
        for symbol, *sums in self._core.open_interest():
            lot = self.venue[symbol].lot
            long, short = (Decimal(amount(lots, lot)) for lots in sums[:2])
            found[symbol] = OpenInterest(symbol, long, short, *sums)
        return found

    def __getitem__(self, key: str | tuple[str, str]) -> Account:
        """The pool of an account: ``pf["alice"]`` (its only one) or ``pf["alice", "cross"]``."""
        if isinstance(key, tuple):
            return self._account(self._core.find(*key))
        places = self._core.of_account(key)
        if len(places) == 1:
            return self._account(places[0])
        if places:
            names = ", ".join(self._core.key(place)[1] for place in places)
            limit = f"this account has several pools, name one of {names}"
            raise _core._error("unknown_account", "account", key, limit, None)
        return self._account(self._core.find(key, "cross"))

    def _account(self, place: int) -> Account:
        return Account(self.venue, self._core, place)

    def __iter__(self) -> Iterator[Account]:
        """Every pool, sorted by account and pool."""
        return (self._account(place) for place in range(len(self)))

    def __repr__(self) -> str:
        """Say the venue and how much is held."""
        return f"Portfolio({self.venue.name}: {len(self)} pools, {self.leg_count} legs)"

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse: a portfolio is a handle on packed memory."""
        return self._core.__reduce__()


class Account:
    """One pool of an account. Made by ``pf["alice"]``.

    Examples
    --------
    >>> import aivora_core as ac
    >>> venue = ac.Venue.load("demo")
    >>> pf = ac.Portfolio.from_tables(venue, collateral=[{"account": "alice", "amount": "5"}])
    >>> pf["alice"]
    <Account alice/cross of venue demo>
    """

    __slots__ = ("_core", "_place", "_venue")

    def __init__(self, venue: Venue, core: _core.Portfolio, place: int) -> None:
        self._venue = venue
        self._core = core
        self._place = place

    @property
    def account(self) -> str:
        """The account's name."""
        return self._core.key(self._place)[0]

    @property
    def pool(self) -> str:
        """The pool's name."""
        return self._core.key(self._place)[1]

    def explain(self, prices: Prices) -> Explanation:
        """Why the pool's row is what it is, line by line, with the numbers put in.

        Returns
        -------
        Explanation
            Its sums equal the pool's row of `Portfolio.check`, bit for bit.
        """
        raw = self._core.explain(self._place, prices)
        return Explanation(self._venue, raw)

    def liquidation_price(self, instrument: str, prices: Prices) -> LiquidationPrice:
        """The nearest marks of one instrument at which the verdict changes, all other marks held.

        Raises
        ------
        UnknownNameError
            ``unknown_leg`` when the pool has no position in it.
        LimitExceeded
            A hedged pair whose rounding would take too many evaluations.
        """
        core = self._core
        ticks, now, *flips = core.liquidation_price(self._place, instrument, prices)
        below, above = (
            flip and Flip(flip[1], flip[3], _verdict(flip[4]), flip[0], flip[2]) for flip in flips
        )
        mark = Decimal(amount(ticks, self._venue[instrument].mark_tick))
        return LiquidationPrice(instrument, mark, now, below, above)

    def bankruptcy_price(
        self, instrument: str, prices: Prices, *, leg: str = "net"
    ) -> BankruptcyPrice:
        """The price at which closing the leg in full uses up the equity allotted to it.

        Raises
        ------
        UnknownNameError
            ``unknown_leg`` when the pool has no such position.
        """
        core = self._core
        ticks, price, quote, allotted, unbounded = core.bankruptcy_price(
            self._place, instrument, leg, prices
        )
        of = self._venue[instrument]
        in_units = (Decimal(amount(quote, of.quantum)), Decimal(amount(allotted, of.quantum)))
        reason = "no_finite_price" if unbounded else "no_positive_price"
        return BankruptcyPrice(
            instrument,
            leg,
            price,
            ticks,
            of.settlement,
            quote,
            allotted,
            *in_units,
            reason=reason if price is None else None,
        )

    def formula(
        self,
        name: str,
        instrument: str,
        prices: Prices,
        *,
        leg: str = "net",
        **inputs: int | str | Decimal | Fraction,
    ) -> Fraction:
        """Give what a formula of the card answers for a leg of this pool.

        Inputs of the formula that are not given are the pool's and the leg's: ``equity``,
        ``maintenance``, ``shortage`` (what equity is below it), ``value`` and ``quantity``, signed,
        ``leg_maintenance``, ``rate`` (of its bracket), ``price`` and ``mark``.

        Parameters
        ----------
        name : str
            Of ``docs/spec/formulas.md``.
        instrument : str
            The symbol.
        prices : Prices
            A mark for every held instrument.
        leg : str
            ``net``, ``long`` or ``short``.
        **inputs
            Others, or other values of those.

        Raises
        ------
        UnknownNameError
            ``unknown_leg`` where the pool has no such leg; those of `Venue.formula`.

        Examples
        --------
        >>> import aivora_core as ac
        >>> dydx = ac.Venue.load("dydx-v4")
        >>> rows = {
        ...     "positions": [{"account": "a", "instrument": "BTC-USD", "quantity": "0.1",
        ...                    "entry": "50000"}],
        ...     "collateral": [{"account": "a", "amount": "149"}],
        ... }
        >>> account = ac.Portfolio.from_tables(dydx, **rows)["a"]
        >>> prices = ac.Prices(dydx, mark={"BTC-USD": 50000})
        >>> float(account.formula("limit_price", "BTC-USD", prices))
        49999.0
        """
        found = self.explain(prices).to_dict()
        legs = [own for own in found["legs"] if own["instrument"] == instrument]
        own = next((own for own in legs if own["leg"] == leg), None)
        if own is None:
            held = ", ".join(f"{own['instrument']} {own['leg']}" for own in found["legs"])
            raise _core._error("unknown_leg", "leg", f"{instrument} {leg}", held or "none", None)
        known: dict[str, Any] = {}
        if name in FORMULAS:
            of_leg = _formula_inputs(found, own)
            known = {key: of_leg[key] for key in FORMULAS[name].inputs if key in of_leg}
        return self._venue.formula(name, **(known | inputs))

    def set_position(
        self,
        instrument: str,
        quantity: int | str | Decimal,
        *,
        entry: int | str | Decimal | None = None,
        cost: int | str | Decimal | None = None,
        accrued: int | str | Decimal = 0,
        leg: str = "net",
        entry_rounding: str | None = None,
    ) -> None:
        """Set what is held on a leg, in place; a quantity of 0 takes it away.

        A change of size writes a few numbers; a new leg packs the pool's neighbourhood anew. Open
        orders and the chosen leverage stay as they are.

        Parameters
        ----------
        instrument, quantity, entry, cost, accrued, leg
            As in the positions table, in units; one of ``entry`` and ``cost``.
        entry_rounding : {"against_account"}, optional
            As in `Portfolio.from_tables`.

        Raises
        ------
        TableError, NumberError, FloatGivenError, UnknownNameError
            As in `Portfolio.from_tables`. The portfolio is as it was then.

        Examples
        --------
        >>> import aivora_core as ac
        >>> venue = ac.Venue.load("demo")
        >>> pf = ac.Portfolio.from_tables(venue, collateral=[{"account": "a", "amount": "900"}])
        >>> pf["a"].set_position("BTC", "1", entry="64000")
        >>> pf.check(ac.Prices(venue, mark={"BTC": "63500"})).liquidatable.tolist()
        [False]
        """
        rounding = _entry_rounding(entry_rounding)
        self._core.set_position(
            self._place, instrument, leg, quantity, entry, cost, accrued, rounding
        )

    def set_balance(
        self,
        asset: str,
        amount: int | str | Decimal,
        *,
        interest: int | str | Decimal = 0,
    ) -> None:
        """Set the balance in an asset and the interest owed on it, in place.

        Raises
        ------
        TableError
            ``bad_collateral`` for another asset than the one of a pool of one asset.
        NumberError, FloatGivenError, UnknownNameError
            As in `Portfolio.from_tables`. The portfolio is as it was then.

        Examples
        --------
        >>> import aivora_core as ac
        >>> venue = ac.Venue.load("demo")
        >>> pf = ac.Portfolio.from_tables(venue, collateral=[{"account": "a", "amount": "1"}])
        >>> pf["a"].set_balance("USDT", "2.5")
        >>> pf.check(ac.Prices(venue)).equity.tolist()
        [2500000]
        """
        self._core.set_balance(self._place, asset, amount, interest)

    def set_orders(
        self,
        instrument: str,
        bids: int | str | Decimal,
        asks: int | str | Decimal,
        *,
        leg: str = "net",
    ) -> None:
        """Set the open orders of a leg, in place: the quantity of all its bids, and of its asks.

        Raises
        ------
        TableError, NumberError, FloatGivenError, UnknownNameError
            As in `Portfolio.from_tables`. The portfolio is as it was then.

        Examples
        --------
        >>> import aivora_core as ac
        >>> venue = ac.Venue.load("demo")
        >>> pf = ac.Portfolio.from_tables(venue, collateral=[{"account": "a", "amount": "900"}])
        >>> pf["a"].set_orders("BTC", bids="1", asks=0)
        >>> pf.check(ac.Prices(venue, mark={"BTC": "64000"})).initial.tolist()
        [640000000]
        """
        self._core.set_orders(self._place, instrument, leg, bids, asks)

    def set_leverage(
        self, leverage: int | str | Decimal | None, *, instrument: str | None = None
    ) -> None:
        """Choose a leverage for the pool, or for one instrument of it; None takes it back.

        A leverage that nobody in the portfolio has chosen before packs all of it anew.

        Raises
        ------
        NumberError
            ``out_of_range`` below 1.
        UnknownNameError
            ``unknown_instrument``.

        Examples
        --------
        >>> import aivora_core as ac
        >>> venue = ac.Venue.load("demo")
        >>> pf = ac.Portfolio.from_tables(
        ...     venue,
        ...     positions=[
        ...         {"account": "a", "instrument": "BTC", "quantity": "1", "entry": "64000"},
        ...     ],
        ... )
        >>> pf["a"].set_leverage(2)
        >>> pf.check(ac.Prices(venue, mark={"BTC": "64000"})).initial.tolist()
        [32000000000]
        """
        self._core.set_leverage(self._place, leverage, instrument)

    def withdrawable(
        self, asset: str, prices: Prices, *, books: dict[str, Book] | None = None
    ) -> Withdrawal:
        """How much of an asset may leave, so that what is left covers the initial requirement.

        Parameters
        ----------
        asset : str
            The asset.
        prices : Prices
            A mark for every held instrument and, in a pool of several assets, a price for each.
        books : dict of str to Book, optional
            By symbol, a book for every position: what its exit costs is then taken off first.

        Raises
        ------
        UnknownNameError
            ``unknown_asset``; ``unknown_instrument`` for a book of another instrument.
        PriceError
            ``missing_price``, also for a position without a book where books are given.
        """
        numbers = self._core.withdrawable(self._place, asset, prices, books)
        most, balance, binding, equity, initial = numbers
        quantum = self._venue.assets[asset]["quantum"]
        units = (Decimal(amount(most, quantum)), Decimal(amount(balance, quantum)))
        return Withdrawal(asset, *units, binding, most, balance, equity, initial)

    def __repr__(self) -> str:
        """Name the pool."""
        return f"<Account {self.account}/{self.pool} of venue {self._venue.name}>"


def _formula_inputs(pool: dict[str, Any], leg: dict[str, Any]) -> dict[str, Any]:
    """What a formula may be asked of a leg, from its explanation."""
    short = -min(Fraction(pool["buffer"]), Fraction(0))
    sign = "-" if leg["quantity"].startswith("-") else ""
    return {
        "instrument": leg["instrument"],
        "equity": pool["equity"],
        "maintenance": pool["maintenance"],
        "shortage": short,
        "value": sign + leg["notional"],
        "quantity": leg["quantity"],
        "leg_maintenance": leg["maintenance"],
        "rate": leg["maintenance_rate"],
        "price": leg["mark"],
        "mark": leg["mark"],
    }


def _entry_rounding(name: str | None) -> str | None:
    """The core's name of how an average entry that gives no whole cost is rounded."""
    if name not in (None, "against_account"):
        limit = "must be 'against_account' or None"
        raise _core._error("out_of_range", "entry_rounding", repr(name), limit, None)
    return "ceil" if name else None


def _verdict(liquidatable: bool) -> str:  # noqa: FBT001 - a column of the native row
    return "liquidatable" if liquidatable else "safe"

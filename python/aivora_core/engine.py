"""The engine: told what happened, it answers what follows, and keeps a journal of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from aivora_core import _core
from aivora_core.decision import Decision
from aivora_core.portfolio import Portfolio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from os import PathLike
    from types import TracebackType

    from numpy.typing import NDArray

    from aivora_core._core import Answer, Answers, Event, OrderCheck, Prices, Venue
    from aivora_core.errors import AivoraError

__all__ = ["Engine", "Journal", "OrderChecks", "Recovery", "Source"]

Number = int | str | Decimal
Pool = str | int

E = TypeVar("E", bound="Engine")

_TAGS = {name: tag for name, tag, _ in _core._kinds()}


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found when a journal was opened again.

    Attributes
    ----------
    events : int
        How many events it holds.
    snapshot : int or None
        After how many the snapshot was taken that the engine went on from.
    torn : str or None
        The end of the journal that was cut, as it was not whole: nobody was answered for it.
    left_out : list of str
        Snapshots that are damaged, or not of this journal.

    Examples
    --------
    >>> import aivora_core as ac
    >>> ac.Recovery(12, None, None, [])
    Recovery(events=12, snapshot=None, torn=None, left_out=[])
    """

    events: int
    snapshot: int | None
    torn: str | None
    left_out: list[str]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class OrderChecks:
    """What orders would do, each alone: columns, a row an order.

    Attributes
    ----------
    passes : numpy.ndarray
        bool: whether it may be opened.
    reduces : numpy.ndarray
        bool: it only takes risk away, so that nothing is required for it.
    equity_quanta, initial_quanta : numpy.ndarray
        int64: the pool with the order open beside those that are.
    reserved_quanta, reserve_quanta : numpy.ndarray
        int64: what is kept back for those that are open, and for this one.
    free_quanta : numpy.ndarray
        int64: equity less both: must cover ``initial_quanta``.
    errors : dict of int to AivoraError
        Rows that are no order that could be opened, and why; their other columns are false and 0.

    Examples
    --------
    >>> import aivora_core as ac
    >>> ac.Engine("demo").check_orders({"pool": [], "instrument": [], "side": [], "lots": []})
    OrderChecks(0 orders, 0 pass, 0 errors)
    """

    passes: NDArray[np.bool_]
    reduces: NDArray[np.bool_]
    equity_quanta: NDArray[np.int64]
    initial_quanta: NDArray[np.int64]
    reserved_quanta: NDArray[np.int64]
    reserve_quanta: NDArray[np.int64]
    free_quanta: NDArray[np.int64]
    errors: dict[int, AivoraError]

    def __len__(self) -> int:
        """How many orders there were."""
        return len(self.passes)

    def __repr__(self) -> str:
        """How many there are, pass, and are none."""
        passed = int(self.passes.sum())
        return f"OrderChecks({len(self):,} orders, {passed:,} pass, {len(self.errors):,} errors)"


class Source:
    """Makes events of one source, numbered one after the other. Made by `Engine.source`.

    Instruments, assets and pools stand by their names (``"alice/cross"``, or ``"alice"`` for the
    pool ``cross``); amounts are exact: int, str or Decimal, in units. Whole numbers of ticks, lots
    and quanta are given as ``price_ticks``, ``lots`` and ``amount_quanta`` instead.

    Examples
    --------
    >>> import aivora_core as ac
    >>> eng = ac.Engine("demo")
    >>> gateway = eng.source(7)
    >>> event = gateway.event("pool_open", time=5, account="alice", pool="cross")
    >>> (event.source, event.sequence, event.time)
    (7, 1, 5)
    """

    def __init__(self, engine: Engine, number: int, sequence: int = 0) -> None:
        self._engine = engine
        self.number = number
        self.sequence = sequence

    def __repr__(self) -> str:
        """Name its number and how far it is."""
        return f"Source({self.number}, at {self.sequence})"

    def event(self, name: str, *, time: int, **fields: Any) -> Event:
        """Make the next event.

        Parameters
        ----------
        name : str
            Its name; those there are stand in the reference page of events.
        time : int
            When, in milliseconds.
        **fields
            Its fields by name.

        Returns
        -------
        Event
            Checked, and in whole numbers: `Engine.apply` converts nothing.

        Raises
        ------
        AivoraError
            For a field that is missing, unknown, off its grid or not exact; the number is not
            used up.

        Examples
        --------
        >>> import aivora_core as ac
        >>> gateway = ac.Engine("demo").source(1)
        >>> gateway.event("mark", time=0, instrument="BTC", mark="64000").fields()
        {'instrument': 0, 'mark': 6400000}
        """
        event = self._engine.native.event(name, self.number, self.sequence + 1, time, fields)
        self.sequence += 1
        return event

    def pool_open(
        self,
        account: str,
        pool: str = "cross",
        *,
        time: int,
        kind: str = "cross",
        multi: bool = False,
        asset: str | None = None,
    ) -> Event:
        """Open a pool.

        Parameters
        ----------
        account, pool : str
            Its account, and its name there.
        time : int
            In milliseconds.
        kind : str
            ``cross``, ``isolated`` or ``sub_account``.
        multi : bool
            It holds several assets.
        asset : str, optional
            The asset of a pool that holds one; that of the card without it.

        Returns
        -------
        Event
            ``pool_open``.
        """
        fields = {"account": account, "pool": pool, "kind": kind, "multi": multi, "asset": asset}
        return self.event("pool_open", time=time, **fields)

    def mark(self, instrument: str, mark: Number, *, time: int) -> Event:
        """Tell a new mark.

        Parameters
        ----------
        instrument : str
            Its symbol.
        mark : int, str or Decimal
            The mark, on its grid.
        time : int
            In milliseconds.

        Returns
        -------
        Event
            ``mark``.
        """
        return self.event("mark", time=time, instrument=instrument, mark=mark)

    def deposit(self, pool: Pool, asset: str, amount: Number, *, time: int) -> Event:
        """Tell that money came in.

        Parameters
        ----------
        pool : str or int
            To which pool.
        asset : str
            In which asset.
        amount : int, str or Decimal
            How much, above 0.
        time : int
            In milliseconds.

        Returns
        -------
        Event
            ``deposit``.
        """
        return self.event("deposit", time=time, pool=pool, asset=asset, amount=amount)

    def withdrawal(self, pool: Pool, asset: str, amount: Number, *, time: int) -> Event:
        """Tell that money leaves: refused where the pool's requirements need it.

        Parameters
        ----------
        pool : str or int
            From which pool.
        asset : str
            In which asset.
        amount : int, str or Decimal
            How much, above 0.
        time : int
            In milliseconds.

        Returns
        -------
        Event
            ``withdrawal``.
        """
        return self.event("withdrawal", time=time, pool=pool, asset=asset, amount=amount)

    def fees(
        self, instrument: str, *, taker: Number, maker: Number, time: int, rebate: bool = False
    ) -> Event:
        """Set the fees of an instrument.

        Parameters
        ----------
        instrument : str
            Its symbol.
        taker, maker : int, str or Decimal
            What each pays of the value.
        time : int
            In milliseconds.
        rebate : bool
            The maker is paid instead.

        Returns
        -------
        Event
            ``fees``.
        """
        fields = {"instrument": instrument, "taker": taker, "maker": maker, "rebate": rebate}
        return self.event("fees", time=time, **fields)

    def order_open(  # noqa: PLR0913 - one argument a field of the event
        self,
        order: int,
        pool: Pool,
        instrument: str,
        side: str,
        quantity: Number,
        *,
        time: int,
        limit: Number | None = None,
        leg: str = "net",
        reduce_only: bool = False,
    ) -> Event:
        """Open an order.

        Parameters
        ----------
        order : int
            Its number.
        pool : str or int
            Whose pool.
        instrument : str
            Its symbol.
        side : str
            ``buy`` or ``sell``.
        quantity : int, str or Decimal
            How much.
        time : int
            In milliseconds.
        limit : int, str or Decimal, optional
            The worst price it accepts; a market order without it.
        leg : str
            ``net``, ``long`` or ``short``.
        reduce_only : bool
            It may only reduce the leg.

        Returns
        -------
        Event
            ``order_open``.
        """
        return self.event(
            "order_open",
            time=time,
            order=order,
            pool=pool,
            instrument=instrument,
            leg=leg,
            side=side,
            quantity=quantity,
            limit=limit,
            reduce_only=reduce_only,
        )

    def order_cancel(self, order: int, *, time: int) -> Event:
        """Cancel an order.

        Parameters
        ----------
        order : int
            Its number.
        time : int
            In milliseconds.

        Returns
        -------
        Event
            ``order_cancel``.
        """
        return self.event("order_cancel", time=time, order=order)

    def fill(
        self,
        instrument: str,
        price: Number,
        quantity: Number,
        *,
        buyer: Pool,
        seller: Pool,
        taker: str,
        time: int,
        **fields: Any,
    ) -> Event:
        """Tell a trade between two pools.

        Parameters
        ----------
        instrument : str
            Its symbol.
        price, quantity : int, str or Decimal
            At which price, and how much.
        buyer, seller : str or int
            The pools.
        taker : str
            Which of them took: ``buy`` or ``sell``.
        time : int
            In milliseconds.
        **fields
            ``buyer_order``, ``seller_order``, ``buyer_leg``, ``seller_leg``.

        Returns
        -------
        Event
            ``fill``.
        """
        return self.event(
            "fill",
            time=time,
            instrument=instrument,
            price=price,
            quantity=quantity,
            buyer=buyer,
            seller=seller,
            taker=taker,
            **fields,
        )

    def clock(self, *, time: int) -> Event:
        """Tell that time goes on.

        Parameters
        ----------
        time : int
            In milliseconds.

        Returns
        -------
        Event
            ``clock``.
        """
        return self.event("clock", time=time)


class Engine:
    """A deterministic state machine of one venue: told what happened, it answers what follows.

    Two engines that were told the same are in the same state, to the last bit. Nothing reads a
    clock: time comes with the events. With a journal each event is written down before it changes
    anything; `Engine.open` goes on where the journal ends, and `Journal` reads it.

    Parameters
    ----------
    venue : Venue, str or path
        The card, or a name or path of one.
    policy : str or path, optional
        How the venue liquidates: the text of a liquidation policy, or a path of one. Without it as
        the card says (``rules.liquidation``); where it does not, a leg is closed in full, without a
        fee.
    journal : path, optional
        A directory for a new journal.
    fsync : str
        When what was written is made to last: ``always`` (before each answer), ``batch:N`` (every
        N events) or ``none`` (when flushed).
    segment_bytes : int
        How large a file of the journal grows.

    Raises
    ------
    AivoraError
        For a card or policy that is wrong; `JournalError` for a directory that cannot be written.

    Attributes
    ----------
    native : aivora_core._core.Engine
        The native half.
    path : pathlib.Path or None
        The directory of the journal.
    recovery : Recovery or None
        What was found when it was opened again.

    Examples
    --------
    >>> import aivora_core as ac
    >>> eng = ac.Engine("demo")
    >>> gateway = eng.source(1)
    >>> for event in [
    ...     gateway.mark("BTC", "64000", time=0),
    ...     gateway.fees("BTC", taker="0.0005", maker="0.0002", time=0),
    ...     gateway.pool_open("alice", time=1),
    ...     gateway.pool_open("bob", time=1),
    ... ]:
    ...     assert eng.apply(event)
    >>> for name in ("alice", "bob"):
    ...     assert eng.apply(gateway.deposit(name, "USDT", "2000", time=2))
    >>> trade = gateway.fill("BTC", 64000, 1, buyer="alice", seller="bob", taker="buy", time=3)
    >>> eng.apply(trade).names
    ['traded', 'traded']
    >>> fall = eng.apply(gateway.mark("BTC", "62000", time=4))
    >>> fall.names
    ['liquidatable', 'liquidation_started', 'forced_order']
    >>> fall.outcomes[2]["pool"], fall.outcomes[2]["side"], fall.outcomes[2]["quantity"]
    ('alice/cross', 'sell', '1')
    """

    def __init__(
        self,
        venue: Venue | str | PathLike[str],
        *,
        policy: str | PathLike[str] | None = None,
        journal: str | PathLike[str] | None = None,
        fsync: str = "always",
        segment_bytes: int = 64 << 20,
    ) -> None:
        if not isinstance(venue, _core.Venue):
            venue = _core.Venue.load(str(venue))
        text = (venue.policy or "") if policy is None else _policy_text(policy)
        where = None if journal is None else Path(journal)
        self.native = _core.Engine(venue, text, where, fsync, segment_bytes)
        self.path = where
        self.recovery: Recovery | None = None

    @classmethod
    def open(
        cls,
        journal: str | PathLike[str],
        *,
        fsync: str = "always",
        segment_bytes: int = 64 << 20,
    ) -> Self:
        """Go on where a journal ends; ``recovery`` says what was found.

        Parameters
        ----------
        journal : path
            The directory of the journal.
        fsync, segment_bytes
            As of a new engine.

        Returns
        -------
        Engine
            In the state after the last whole event.

        Raises
        ------
        JournalError
            For a journal that is damaged anywhere but at its very end.

        Examples
        --------
        >>> import tempfile
        >>> import aivora_core as ac
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with ac.Engine("demo", journal=root) as eng:
        ...         taken = eng.apply(eng.source(1).pool_open("alice", time=0))
        ...         before = eng.hash
        ...     with ac.Engine.open(root) as again:
        ...         again.hash == before, again.recovery.events
        (True, 1)
        """
        where = Path(journal)
        native, events, snapshot, torn, left_out = _core.Engine.open(where, fsync, segment_bytes)
        engine = cls.__new__(cls)
        engine.native, engine.path = native, where
        engine.recovery = Recovery(events, snapshot, torn, left_out)
        return engine

    def __enter__(self) -> Self:
        """Itself; the journal is closed at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write down what is kept back, and let the journal go."""
        self.close()

    def __repr__(self) -> str:
        """Name the venue, the events and the journal."""
        where = "no journal" if self.path is None else f"journal {self.path}"
        return f"Engine({self.venue.name}, {self.events:,} events, {where})"

    def source(self, number: int, *, after: int = 0) -> Source:
        """Make a source of events.

        Parameters
        ----------
        number : int
            Its number, 0 to 65535.
        after : int
            The last sequence number it has used.

        Returns
        -------
        Source
            Numbers its events one after the other.
        """
        return Source(self, number, after)

    def apply(self, event: Event) -> Answer:
        """Take an event.

        Parameters
        ----------
        event : Event
            What happened.

        Returns
        -------
        Answer
            True where it was taken; ``refused`` says why not, ``outcomes`` what followed. One that
            is refused changes nothing but the time.

        Raises
        ------
        JournalError
            Where it could not be written down: it has changed nothing then.
        InvariantBroken
            For a defect of the engine, which takes nothing more after it.
        """
        return self.native.apply(event)

    def apply_all(self, events: Iterable[Event]) -> Answers:
        """Take many events, one after the other.

        Parameters
        ----------
        events : iterable of Event
            In order.

        Returns
        -------
        Answers
            Those that were refused or that something followed from: a sequence of their rows and
            answers. ``refused`` says how many were.

        Raises
        ------
        AivoraError
            As `apply`; the events before it have been taken.
        """
        return self.native.apply_all(list(events))

    def apply_columns(self, columns: Mapping[str, Any]) -> Answers:
        """Take many events in columns of whole numbers: the same as `apply_all`, without objects.

        Parameters
        ----------
        columns : mapping of str to sequence
            ``event`` (names, or their tags as uint8), ``source``, ``sequence``, ``time``, and one
            int64 column for each field of the events there are, all of one length; a single
            number stands for all rows. The reference page of events names them. Instruments,
            assets and pools stand by their places. What is not of a row's event is not looked
            at; the least int64 stands for nothing.

        Returns
        -------
        Answers
            As `apply_all`.

        Raises
        ------
        AivoraError
            ``bad_column``, ``out_of_range`` or ``float_given`` for a column or a row that is
            wrong: nothing has been taken then. Otherwise as `apply_all`.

        Examples
        --------
        >>> import aivora_core as ac
        >>> eng = ac.Engine("demo")
        >>> assert eng.apply(eng.source(0).pool_open("alice", time=0))
        >>> columns = {"event": ["deposit"] * 3, "source": 1, "sequence": [1, 2, 3], "time": 5}
        >>> columns |= {"pool": 0, "asset": 0, "amount_quanta": [100, 200, 300]}
        >>> eng.apply_columns(columns)
        Answers(0 of 3 events, 0 refused)
        >>> eng.pool("alice")["balances"]
        {'USDT': 600}
        """
        return self.native.apply_columns(*_columns(columns))

    def check_orders(self, columns: Mapping[str, Any]) -> OrderChecks:
        """Ask of many orders what each would do, were it alone and opened now.

        Parameters
        ----------
        columns : mapping of str to sequence
            ``pool``, ``instrument``, ``side`` (0 buy, 1 sell), ``lots``; ``limit_ticks``, ``leg``
            and ``reduce_only`` where there are any: columns of ``order_open``, as of
            `apply_columns`.

        Returns
        -------
        OrderChecks
            A row an order.

        Raises
        ------
        AivoraError
            For a column that is wrong. An order that is none has its error in ``errors``.

        Examples
        --------
        >>> import aivora_core as ac
        >>> eng = ac.Engine("demo")
        >>> gateway = eng.source(1)
        >>> for event in (gateway.mark("BTC", 64000, time=0), gateway.pool_open("alice", time=0)):
        ...     assert eng.apply(event)
        >>> assert eng.apply(gateway.deposit("alice", "USDT", 2000, time=0))
        >>> orders = {"pool": 0, "instrument": 0, "side": 0, "lots": [1000, 5000]}
        >>> eng.check_orders(orders | {"limit_ticks": 640000}).passes.tolist()
        [True, False]
        """
        rows = max((np.size(column) for column in columns.values()), default=0)
        opening = {"event": np.full(rows, _TAGS["order_open"], np.uint8)}
        return OrderChecks(**self.native.check_orders(*_columns(opening | dict(columns))))

    def check_order(self, order: Event) -> OrderCheck:
        """Ask what an order would do, were it opened now. Nothing is changed or reserved.

        Parameters
        ----------
        order : Event
            An ``order_open``.

        Returns
        -------
        OrderCheck
            True where it passes.

        Raises
        ------
        AivoraError
            Where it is no order: an instrument that does not trade, a pool that is locked, ...

        Examples
        --------
        >>> import aivora_core as ac
        >>> eng = ac.Engine("demo")
        >>> gateway = eng.source(1)
        >>> for event in (gateway.mark("BTC", 64000, time=0), gateway.pool_open("alice", time=0)):
        ...     assert eng.apply(event)
        >>> assert eng.apply(gateway.deposit("alice", "USDT", 2000, time=0))
        >>> order = gateway.order_open(1, "alice", "BTC", "buy", 1, limit=64000, time=1)
        >>> found = eng.check_order(order)
        >>> bool(found), found.initial, found.reserve
        (True, 640000000, 32000000)
        """
        return self.native.check_order(order)

    def decide(self, event: Event) -> Decision:
        """Say why an event may be done, or may not, with everything that decides.

        Slower than `check_order`, which gives the numbers alone. Nothing is changed or reserved.

        Parameters
        ----------
        event : Event
            An ``order_open``, ``withdrawal``, ``transfer`` or ``fill``.

        Returns
        -------
        Decision
            True where it passes; ``text()``, ``to_dict()``, ``verify()``.

        Raises
        ------
        AivoraError
            ``bad_column`` for any other event.

        Examples
        --------
        >>> import aivora_core as ac
        >>> eng = ac.Engine("demo")
        >>> gateway = eng.source(1)
        >>> assert eng.apply(gateway.pool_open("alice", time=0))
        >>> assert eng.apply(gateway.deposit("alice", "USDT", 700, time=0))
        >>> why = eng.decide(gateway.withdrawal("alice", "USDT", 701, time=1))
        >>> why, why.turn("amount"), why.verify()
        (<Decision withdrawal refused: withdrawable>, [700000000], True)
        """
        return Decision(self.venue, self.native.decide(event))

    def decide_liquidation(self, pool: Pool) -> Decision:
        """Say why a pool is liquidated at the prices in force, or is safe.

        Parameters
        ----------
        pool : str or int
            ``account/pool``, the account of a pool ``cross``, or a place.

        Returns
        -------
        Decision
            True where it is safe. `Decision.turns` has the deposit, the marks and, for each leg,
            the lots to close that would turn that.

        Raises
        ------
        AivoraError
            ``unknown_account``, ``missing_price``, ``overflow``.

        Examples
        --------
        >>> import aivora_core as ac
        >>> eng = ac.Engine("demo")
        >>> gateway = eng.source(1)
        >>> assert eng.apply(gateway.pool_open("alice", time=0))
        >>> assert eng.decide_liquidation("alice")
        """
        return Decision(self.venue, self.native.decide_liquidation(self._place(pool)))

    def fork(self, policy: str | PathLike[str] | None = None) -> Self:
        """Copy the engine, under another liquidation policy, without a journal.

        Parameters
        ----------
        policy : str or path, optional
            As of a new engine.

        Returns
        -------
        Engine
            In the same state; what either is told the other does not know.

        Examples
        --------
        >>> import aivora_core as ac
        >>> eng = ac.Engine("demo")
        >>> other = eng.fork()
        >>> assert other.apply(other.source(1).pool_open("alice", time=0))
        >>> eng.events, other.events
        (0, 1)
        """
        text = "" if policy is None else _policy_text(policy)
        return _around(type(self), self.native.fork(text))

    def execute(self, source: Source, counterparty: Pool, *, time: int) -> list[Answer]:
        """Answer every forced order from the engine's own book, until none is out.

        For simulations: each level within the limit is a fill with the counterparty, and is taken
        out of the book; what the book does not take comes back as ``forced_end``.

        Parameters
        ----------
        source : Source
            Whose events the answers are.
        counterparty : str or int
            The pool that takes the other side; it needs the margin for it.
        time : int
            In milliseconds.

        Returns
        -------
        list of Answer
            What followed from each.

        Raises
        ------
        AivoraError
            Where the counterparty could not take a fill.
        """
        place = self._place(counterparty)
        found: list[Answer] = []
        while out := self.forced_orders:
            order = out[0]["order"]
            for event in self.native.answers(order, place, source.number, source.sequence, time):
                source.sequence = event.sequence
                answer = self.apply(event)
                if answer.refused is not None:
                    raise answer.refused
                found.append(answer)
        return found

    def _place(self, name: Pool) -> int:
        """The place of a pool."""
        if not isinstance(name, str):
            return name
        account, _, pool = name.partition("/")
        place = self.native.find(account, pool or "cross")
        if place is None:
            raise _core._error("unknown_account", "pool", name, "no such pool is open")
        return place

    @property
    def venue(self) -> Venue:
        """The card in force."""
        return self.native.venue()

    @property
    def time(self) -> int | None:
        """The time of the last event, in milliseconds."""
        return self.native.status()[0]

    @property
    def events(self) -> int:
        """How many events it was told."""
        return self.native.status()[1]

    @property
    def lasting(self) -> int:
        """How many of them outlive a crash of the machine."""
        return self.native.status()[2]

    @property
    def head(self) -> str | None:
        """The head of the journal's chain: kept elsewhere, it pins all that came before."""
        return self.native.status()[3]

    @property
    def stopped(self) -> str | None:
        """Why the journal takes nothing more, if that is so."""
        return self.native.status()[4]

    @property
    def hash(self) -> str:
        """The hash of the state."""
        return self.native.hash()

    @property
    def liquidatable(self) -> NDArray[np.bool_]:
        """The verdict on each pool at the last check, in the order in which they were opened."""
        return self.native.liquidatable()

    @property
    def forced_orders(self) -> list[dict[str, Any]]:
        """The forced orders that are out."""
        return self.native.forced_orders()

    @property
    def funds(self) -> dict[str, dict[str, int]]:
        """What the venue has in each asset: deposits, insurance, fees, ..., in quanta."""
        return self.native.funds()

    @property
    def prices(self) -> Prices:
        """The prices in force."""
        return self.native.prices()

    @property
    def portfolio(self) -> Portfolio:
        """The pools as they are now, packed: for scans, explanations and liquidation prices."""
        return Portfolio(self.venue, self.native.packed(self.venue))

    def pool(self, name: Pool) -> dict[str, Any]:
        """Show a pool, in whole numbers.

        Parameters
        ----------
        name : str or int
            ``account/pool``, the account alone for its pool ``cross``, or the place.

        Returns
        -------
        dict
            What it holds and requires.

        Raises
        ------
        UnknownNameError
            Where no such pool is open.

        Examples
        --------
        >>> import aivora_core as ac
        >>> eng = ac.Engine("demo")
        >>> assert eng.apply(eng.source(1).pool_open("alice", time=0))
        >>> eng.pool("alice")["balances"]
        {'USDT': 0}
        """
        return self.native.pool_state(self._place(name))

    def flush(self) -> None:
        """Make everything last that was told."""
        self.native.flush()

    def mark_state(self) -> str:
        """Write the hash of the state into the journal: who verifies it must come to the same.

        Returns
        -------
        str
            The hash.
        """
        return self.native.mark()

    def snapshot(self) -> None:
        """Write a snapshot beside the journal: the next start goes on from it."""
        self.native.snapshot()

    def close(self) -> None:
        """Write down what is kept back, and let the journal go; with one, nothing more is taken."""
        self.native.close()


class Journal:
    """A journal to read: each time from its start, every byte checked and every event taken again.

    Parameters
    ----------
    path : path
        Its directory.

    Examples
    --------
    >>> import tempfile
    >>> import aivora_core as ac
    >>> with tempfile.TemporaryDirectory() as root:
    ...     with ac.Engine("demo", journal=root) as eng:
    ...         taken = eng.apply(eng.source(1).pool_open("alice", time=0))
    ...         head = eng.head
    ...     found = ac.Journal(root).verify(head)
    >>> found["events"], found["head"] == head
    (1, True)
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        """Name the directory."""
        return f"Journal({str(self.path)!r})"

    @property
    def card(self) -> str:
        """The card it began with, as it is written."""
        return _core._journal_of(self.path)[0]

    @property
    def policy(self) -> str:
        """Its liquidation policy, as it is written; empty for the default one."""
        return _core._journal_of(self.path)[1]

    def verify(
        self,
        head: str | None = None,
        *,
        each: Callable[[dict[str, Any]], None] | None = None,
        recount: bool = False,
    ) -> dict[str, Any]:
        """Check every byte, take every event again, and compare every hash of the state.

        Without a head that was kept elsewhere this shows corruption; somebody who writes a whole
        new journal is not seen.

        Parameters
        ----------
        head : str, optional
            A head of the chain that was kept elsewhere: it must come up.
        each : callable, optional
            Called with each event and its answer.
        recount : bool
            Decide every event once more with the shipped oracle, which knows nothing of the core:
            refusals, amounts, verdicts, forced orders, deleveraging, and every pool at the end
            (`aivora_core.audit.recount`). Some thousand events a second.

        Returns
        -------
        dict
            ``events``, ``refused``, ``head``, ``roots`` of sealed segments, ``states`` compared,
            ``state`` at the end, ``torn``; ``recounted`` with a recount: how many events, outcomes
            and pools agree, and how often the oracle looked at a pool.

        Raises
        ------
        JournalError
            Naming the file, the byte and what is wrong.
        InvariantBroken
            Where the oracle finds something else than the core: both are named.

        Examples
        --------
        >>> import tempfile
        >>> import aivora_core as ac
        >>> from aivora_core.day import day
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with ac.Engine("demo", journal=root, fsync="none") as eng:
        ...         for answer in day(eng, 100, accounts=5):
        ...             pass
        ...     ac.Journal(root).verify(recount=True)["recounted"]["pools"]
        6
        """
        if not recount:
            return _core._journal(self.path, head, each)[1]
        from aivora_core.audit.recount import Mismatch, Recount

        own = Recount(self.card, self.policy)

        def both(row: dict[str, Any]) -> None:
            own.take(row)
            if each is not None:
                each(row)

        try:
            native, found = _core._journal(self.path, head, both)
            pools = [native.pool_state(place) for place in range(native.pool_count())]
            own.compare(found["events"], pools, native.funds())
        except Mismatch as wrong:
            field, limit = f"{wrong.where}: {wrong.what}", f"the oracle finds {wrong.found}"
            raise _core._error("invariant_broken", field, str(wrong.told), limit) from wrong
        counts = {"events": own.events, "refused": own.refused, "outcomes": own.outcomes}
        return found | {"recounted": counts | {"pools": len(pools), "checks": own.looks}}

    def replay(self) -> Engine:
        """Take every event again, as `verify` does.

        Returns
        -------
        Engine
            In the state that the journal ends with. It keeps no journal: what it is told is not
            written down.

        Raises
        ------
        JournalError
            As `verify`.

        Examples
        --------
        >>> import tempfile
        >>> import aivora_core as ac
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with ac.Engine("demo", journal=root) as eng:
        ...         taken = eng.apply(eng.source(1).pool_open("alice", time=0))
        ...     ac.Journal(root).replay().pool("alice")["balances"]
        {'USDT': 0}
        """
        native, _ = _core._journal(self.path, None, None)
        return _around(Engine, native)

    def rows(self) -> list[dict[str, Any]]:
        """List all events with names and units, and what followed from each.

        Returns
        -------
        list of dict
            ``position``, ``source``, ``sequence``, ``time``, ``event``, ``fields``, ``refused``,
            ``outcomes``.

        Raises
        ------
        JournalError
            As `verify`.
        """
        found: list[dict[str, Any]] = []
        self.verify(each=found.append)
        return found


def _around(of: type[E], native: _core.Engine) -> E:
    """An engine without a journal around its native half."""
    engine = of.__new__(of)
    engine.native, engine.path, engine.recovery = native, None, None
    return engine


def _columns(
    columns: Mapping[str, Any],
) -> tuple[NDArray[np.uint8], list[tuple[str, NDArray[np.int64]]]]:
    """Tags and int64 columns of one length, a single number repeated."""
    given = dict(columns)
    kinds = np.asarray(given.pop("event", ()))
    if kinds.dtype.kind == "U":
        names = set(kinds.tolist()) - set(_TAGS)
        if names:
            limit = "must be the name of an event"
            raise _core._error("bad_column", "event", min(names), limit)
        kinds = np.array([_TAGS[name] for name in kinds.tolist()], np.uint8)
    rows = max((np.size(column) for column in (kinds, *given.values())), default=0)
    tags = np.ascontiguousarray(np.broadcast_to(kinds, rows) if kinds.ndim == 0 else kinds)
    if tags.dtype != np.uint8 and tags.size:
        limit = "must be names of events, or their tags as uint8"
        raise _core._error("bad_column", "event", str(tags.dtype), limit)
    whole = [(name, _whole(name, column, rows)) for name, column in given.items()]
    return tags.astype(np.uint8, copy=False), whole


def _whole(name: str, column: Any, rows: int) -> NDArray[np.int64]:
    """A contiguous column of int64."""
    values = np.asarray(column)
    if values.size == 0:
        return np.empty(0, np.int64)
    if values.dtype.kind == "f":
        limit = "a float is not exact; give whole numbers of the grid"
        raise _core._error("float_given", name, str(values.dtype), limit)
    wide = values.dtype.kind == "u" and int(values.max()) > np.iinfo(np.int64).max
    if values.dtype.kind not in "iub" or wide or values.ndim > 1:
        limit = "must be one column of whole numbers that fit int64"
        raise _core._error("bad_column", name, f"{values.dtype}, {values.ndim} dims", limit)
    if values.ndim == 0:
        values = np.full(rows, values)
    return np.ascontiguousarray(values, dtype=np.int64)


def _policy_text(policy: str | PathLike[str]) -> str:
    """A policy as text: itself, or what is in a file."""
    if isinstance(policy, str) and "\n" in policy:
        return policy
    try:
        return Path(policy).read_text("utf-8")
    except OSError as error:
        limit = "must be a liquidation policy, or a path of one"
        raise _core._error("bad_card", "policy", str(policy), f"{limit}: {error}") from error

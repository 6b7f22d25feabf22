"""A made-up day of a venue, event by event: accounts trade, marks move, liquidations are answered.

Drawn with integers from a seed: the same seed gives the same events on every machine. No figure is
any venue's or any person's.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aivora_core import _core, demo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aivora_core._core import Answer, Event, Venue
    from aivora_core.engine import Engine, Source

__all__ = ["MAKER", "day", "shocked"]

#: The pool that takes the other side of forced orders.
MAKER = "maker"


class _Dice:
    """SplitMix64, one draw at a time."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, bound: int) -> int:
        mask = (1 << 64) - 1
        self._state = (self._state + 0x9E3779B97F4A7C15) & mask
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return (z ^ (z >> 31)) % bound


class _Day:
    """What the day knows of the engine that it drives."""

    def __init__(self, engine: Engine, source: Source, accounts: int, seed: int) -> None:
        self.engine = engine
        self.source = source
        self.dice = _Dice(seed)
        self.venue = engine.venue
        self.names = [f"account-{n:04}" for n in range(accounts)]
        made_up = demo.marks(self.venue)
        self.symbols = list(made_up)[:4]
        marks = _core.Prices(self.venue, mark={s: made_up[s] for s in self.symbols})
        self.coin = demo.coin_price(self.venue.settlement) or Decimal(1)
        self.ticks = {s: marks.mark_ticks(s) or 1 for s in self.symbols}
        self.time = 0
        self.forced: list[dict[str, Any]] = []

    def opening(self) -> Iterator[Event]:
        """Marks, fees, pools, deposits."""
        for symbol in self.symbols:
            yield self.mark(symbol, 0)
            yield self.source.fees(symbol, taker="0.0005", maker="0.0002", time=self.time)
        for name in [MAKER, *self.names]:
            yield self.source.pool_open(name, time=self.time)
            amount = 10_000_000 if name == MAKER else 500 + self.dice.below(4_500)
            asset = self.venue.settlement
            yield self.source.deposit(name, asset, self.paid(amount), time=self.time)
        yield self.source.event(
            "insurance_top_up",
            time=self.time,
            asset=self.venue.settlement,
            amount=self.paid(10_000),
        )

    def paid(self, dollars: int) -> Decimal:
        """An amount of the settlement asset that is worth so many dollars."""
        quantum = self.venue.quantum
        return Decimal(int(dollars / self.coin / quantum)) * quantum

    def mark(self, symbol: str, most: int) -> Event:
        """A mark that moves by at most so many parts in 10,000."""
        step = self.dice.below(2 * most + 1) - most if most else 0
        self.ticks[symbol] += self.ticks[symbol] * step // 10_000
        fields = {"instrument": symbol, "mark_ticks": self.ticks[symbol]}
        return self.source.event("mark", time=self.time, **fields)

    def price(self, symbol: str) -> int:
        """The mark in price ticks."""
        instrument = self.venue[symbol]
        return self.ticks[symbol] // int(instrument.price_tick / instrument.mark_tick)

    def trade(self) -> Event:
        """Two accounts trade a size that a few thousand dollars carry."""
        symbol = self.symbols[self.dice.below(len(self.symbols))]
        buyer = self.names[self.dice.below(len(self.names))]
        seller = self.names[self.dice.below(len(self.names))]
        instrument = self.venue[symbol]
        price = 1 if instrument.kind == "inverse" else self.ticks[symbol] * instrument.mark_tick
        if instrument.kind == "quanto":
            price *= self.coin
        worth = int(instrument.lot * instrument.multiplier * price * 1_000) or 1
        lots = 1 + self.dice.below(30_000_000) // worth
        return self.source.event(
            "fill",
            time=self.time,
            instrument=symbol,
            price_ticks=self.price(symbol),
            lots=lots,
            buyer=buyer,
            seller=seller if seller != buyer else MAKER,
            taker="buy",
        )

    def reply(self) -> Event:
        """The market maker takes a forced order at the mark, where its limit allows that."""
        order = self.forced.pop(0)
        symbol = order["instrument"]
        ticks = self.price(symbol)
        price, limit = ticks * self.venue[symbol].price_tick, Decimal(order["limit"])
        sells = order["side"] == "sell"
        if (price < limit) if sells else (price > limit):
            fields = {"order": order["order"], "reason": "expired"}
            return self.source.event("forced_end", time=self.time, **fields)
        own, other = ("seller", "buyer") if sells else ("buyer", "seller")
        fields = {own: order["pool"], f"{own}_order": order["order"], other: MAKER}
        return self.source.event(
            "fill",
            time=self.time,
            instrument=symbol,
            price_ticks=ticks,
            quantity=order["quantity"],
            taker=order["side"],
            **fields,
        )

    def learn(self, answer: Answer) -> None:
        """Note which forced orders are out."""
        if "forced_order" in answer.names:
            found = [o for o in answer.outcomes if o["outcome"] == "forced_order"]
            self.forced.extend(found)
        if self.forced and len(answer):
            out = {order["order"] for order in self.engine.forced_orders}
            self.forced = [order for order in self.forced if order["order"] in out]


def shocked(
    venue: Venue | str, accounts: int, drop: int, seed: int = demo.SEED
) -> tuple[Engine, dict[str, Decimal]]:
    """Make up a state with open positions and books, and marks that have fallen from there.

    Parameters
    ----------
    venue : Venue or str
        A venue with the instruments of the demo card.
    accounts : int
        How many accounts trade.
    drop : int
        By how many percent the marks fall; books are made around them.
    seed : int
        What to draw from.

    Returns
    -------
    Engine
        Before the fall.
    dict of str to Decimal
        The marks after it.

    Examples
    --------
    >>> from aivora_core.day import shocked
    >>> engine, marks = shocked("demo", 10, 5)
    >>> str(marks["BTC"]), engine.liquidatable.any()
    ('60800.00', np.False_)
    """
    from aivora_core.engine import Engine

    engine = Engine(venue)
    own = _Day(engine, engine.source(1), accounts, seed)
    for event in own.opening():
        engine.apply(event)
    for _ in range(4 * accounts):
        own.time += 1_000
        engine.apply(own.trade())
    fallen = {s: ticks - ticks * drop // 100 for s, ticks in own.ticks.items()}
    prices = _core.Prices(engine.venue, mark_ticks=fallen)
    for symbol in own.symbols:
        book = demo.book(engine.venue, symbol, prices, seed=seed)
        sides: dict[str, Any] = {**book.depth()}
        engine.apply(own.source.event("book_snapshot", time=own.time, instrument=symbol, **sides))
    return engine, {s: ticks * engine.venue[s].mark_tick for s, ticks in fallen.items()}


def day(
    engine: Engine, events: int, *, accounts: int = 200, seed: int = demo.SEED
) -> Iterator[Answer]:
    """Drive an engine through a made-up day.

    Parameters
    ----------
    engine : Engine
        A new one, of a venue with the instruments of the demo card.
    events : int
        How many events after the opening.
    accounts : int
        How many accounts trade.
    seed : int
        What to draw from.

    Yields
    ------
    Answer
        What followed from each event.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core.day import day
    >>> eng = ac.Engine("demo")
    >>> sum(bool(answer) for answer in day(eng, 100, accounts=10)) > 100
    True
    """
    own = _Day(engine, engine.source(1), accounts, seed)
    for event in own.opening():
        yield engine.apply(event)
    for number in range(events):
        own.time += 1_000
        draw = own.dice.below(100)
        if own.forced and draw < 60:  # noqa: PLR2004 - parts of a hundred
            event = own.reply()
        elif draw < 70:  # noqa: PLR2004
            crash = 60 if events // 2 < number < events * 3 // 5 else 25
            event = own.mark(own.symbols[own.dice.below(len(own.symbols))], crash)
        else:
            event = own.trade()
        answer = engine.apply(event)
        own.learn(answer)
        yield answer

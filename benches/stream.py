"""A made-up day of a venue as events: accounts that deposit, orders, cancels, fills, marks.

The shape of rust/core/benches/stream: orders of both sides rest at the mark as it was first, so
that any two of them meet. Each event stands as the engine's own, as a plain tuple for engines in
Python, and as a row of columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

import aivora_core as ac
from population import FULL_SIZE, SEED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from baselines.engine import Event

    Resting = list[list[int]]  # number, pool, lots left

ACCOUNTS, EVENTS = 10_000, 200_000  # at full size
USD = 1_000_000
SOURCE = 1
NONE = np.iinfo(np.int64).min
# In ticks, at first.
MARKS = (
    *(6_400_000, 3_000_000, 150_000, 600_000, 60_000, 200_000),
    *(50_000, 400_000, 180_000, 80_000, 120_000, 1_000_000),
)
TAGS = {"mark": 2, "deposit": 10, "order_open": 18, "order_cancel": 20, "fill": 21}


@dataclass(frozen=True)
class Told:
    """One event: the engine's own, and its fields in whole numbers."""

    native: ac.Event
    name: str
    fields: dict[str, Any]


def number_of(  # noqa: PLR0911 - one a kind of event
    number: Callable[..., Any], name: str, fields: dict[str, Any]
) -> tuple[Any, ...]:
    """Fields as the engine in Python takes them, amounts as its kind of number."""
    f = fields
    match name:
        case "mark":
            return f["instrument"], number(f["mark_ticks"])
        case "fees":
            taker, maker = (Fraction(f[which]) for which in ("taker", "maker"))
            rates = [number(rate.numerator) / number(rate.denominator) for rate in (taker, maker)]
            return f["instrument"], *rates, False
        case "pool_open":
            return f["account"], f["pool"]
        case "deposit" | "withdrawal":
            return f["pool"], number(f["amount_quanta"])
        case "order_cancel":
            return (f["order"],)
        case "order_open":
            limit = None if f["limit_ticks"] is None else number(f["limit_ticks"])
            of = f["order"], f["pool"], f["instrument"], f["side"] == "buy"
            return *of, number(f["lots"]), limit, f["reduce_only"]
        case _:
            head = f["instrument"], number(f["price_ticks"]), number(f["lots"])
            sides = f["buyer"], f["buyer_order"], f["seller"], f["seller_order"]
            return *head, *sides, f["taker"] == "buy"


def plain(told: Iterable[Told], number: Callable[..., Any]) -> list[Event]:
    """Events for an engine in Python."""
    return [
        (
            own.name,
            own.native.source,
            own.native.sequence,
            own.native.time,
            number_of(number, own.name, own.fields),
        )
        for own in told
    ]


WORDS = {"buy": 0, "sell": 1, "net": 0, "USDT": 0, None: NONE}


def columns(told: list[Told]) -> dict[str, Any]:
    """Events as columns: of what an event has no field for, a zero."""
    names = sorted({name for own in told for name in own.fields})
    rows = {
        name: np.array(
            [WORDS.get(value, value) for value in (own.fields.get(name, 0) for own in told)]
        )
        for name in names
    }
    head = {
        "event": np.array([TAGS[own.name] for own in told], np.uint8),
        "source": SOURCE,
        "sequence": np.array([own.native.sequence for own in told], np.int64),
        "time": np.array([own.native.time for own in told], np.int64),
    }
    return head | {name: column.astype(np.int64) for name, column in rows.items()}


class Stream:
    """Events to start with, and events of a day.

    Parameters
    ----------
    accounts, count : int
        How many accounts there are, and events to measure.
    step : float
        By how much of itself a mark moves at a time.
    dollars : int
        The most that an account deposits, beside 500.
    lots : int
        The most that an order is of.
    """

    def __init__(
        self,
        accounts: int,
        count: int,
        *,
        seed: int = SEED,
        step: float = 0.0003,
        dollars: int = 100_000,
        lots: int = 40,
    ) -> None:
        self.accounts, self.step, self.dollars, self.lots = accounts, step, dollars, lots
        self.rng = np.random.default_rng(seed)
        self.engine = ac.Engine("demo")
        self.symbols = [own.symbol for own in self.engine.venue.instruments]
        per_price = [int(own.price_tick / own.mark_tick) for own in self.engine.venue.instruments]
        self.prices = [mark // per for mark, per in zip(MARKS, per_price, strict=True)]
        self.marks = list(MARKS)
        self.source = self.engine.source(SOURCE)
        self.told: list[Told] = []
        self.resting: dict[tuple[int, bool], Resting] = {}
        self.orders: list[tuple[int, int, bool]] = []
        self.number = 0
        self._open()
        self.start = self.told
        self.told = []
        while len(self.told) < count:
            self._next()
        self.day = self.told

    def tell(self, name: str, /, **fields: Any) -> bool:
        """Make an event and take it; whether it passed."""
        places = fields | (
            {"instrument": self.symbols[fields["instrument"]]} if "instrument" in fields else {}
        )
        native = self.source.event(name, time=self.source.sequence + 1, **places)
        self.told.append(Told(native, name, fields))
        return bool(self.engine.apply(native))

    def below(self, bound: int) -> int:
        """Draw a whole number."""
        return int(self.rng.random() * bound)

    def _open(self) -> None:
        for at in range(len(MARKS)):
            self._mark(at)
            self.tell("fees", instrument=at, taker="0.0005", maker="0.0002")
        for account in range(self.accounts):
            self.tell("pool_open", account=f"account-{account:07}", pool="cross")
            amount = USD * (500 + self.below(self.dollars))
            self.tell("deposit", pool=account, asset="USDT", amount_quanta=amount)
        for _ in range(2 * self.accounts):
            self._order()
        for _ in range(self.accounts):
            self._fill()

    def _next(self) -> None:
        drawn = self.below(100)
        if drawn < 40:
            self._order()
        elif drawn < 68:
            self._cancel()
        elif drawn < 80:
            self._fill()
        elif drawn < 98:
            self._mark(self.below(len(MARKS)))
        else:
            pool = self.below(self.accounts)
            self.tell("deposit", pool=pool, asset="USDT", amount_quanta=USD)

    def _mark(self, at: int) -> None:
        moved = self.marks[at] * math.exp(self.step * self.rng.standard_normal())
        self.marks[at] = round(moved)
        self.tell("mark", instrument=at, mark_ticks=self.marks[at])

    def order(self) -> dict[str, Any]:
        """Draw an order."""
        self.number += 1
        return {
            "order": self.number,
            "pool": self.below(self.accounts),
            "instrument": (at := self.below(len(MARKS))),
            "leg": "net",
            "side": "buy" if self.below(2) else "sell",
            "lots": 1 + self.below(self.lots),
            "limit_ticks": self.prices[at],
            "reduce_only": False,
        }

    def _order(self) -> None:
        own = self.order()
        if self.tell("order_open", **own):
            at, buy = own["instrument"], own["side"] == "buy"
            held = [own["order"], own["pool"], own["lots"]]
            self.resting.setdefault((at, buy), []).append(held)
            self.orders.append((own["order"], at, buy))

    def _cancel(self) -> None:
        if not self.orders:
            return
        place = self.below(len(self.orders))
        self.orders[place], self.orders[-1] = self.orders[-1], self.orders[place]
        number, at, buy = self.orders.pop()
        resting = self.resting[at, buy]
        found = [place for place, own in enumerate(resting) if own[0] == number]
        if found:
            resting[found[0]] = resting[-1]
            resting.pop()
            self.tell("order_cancel", order=number)

    def _fill(self) -> None:
        at = self.below(len(MARKS))
        bids, asks = self.resting.get((at, True)), self.resting.get((at, False))
        if not bids or not asks:
            return
        bid, ask = self.below(len(bids)), self.below(len(asks))
        buyer, seller = bids[bid], asks[ask]
        if buyer[1] == seller[1]:
            return
        lots = min(buyer[2], seller[2])
        self.tell(
            "fill",
            instrument=at,
            price_ticks=self.prices[at],
            lots=lots,
            buyer=buyer[1],
            buyer_leg="net",
            buyer_order=buyer[0],
            seller=seller[1],
            seller_leg="net",
            seller_order=seller[0],
            taker="buy",
        )
        for side, place in ((bids, bid), (asks, ask)):
            side[place][2] -= lots
            if not side[place][2]:
                side[place] = side[-1]
                side.pop()


def at_size(size: int) -> Stream:
    """Make the stream of a run of the benches: at full size 10,000 accounts, 200,000 events."""
    accounts = max(300, ACCOUNTS * size // FULL_SIZE)
    return Stream(accounts, max(6_000, EVENTS * size // FULL_SIZE))


def crowd(accounts: int, seed: int = SEED) -> tuple[ac.Engine, list[int]]:
    """Make an engine of so many accounts, with two positions and an order each; and its marks."""
    engine, at_first = ac.Engine("demo"), Stream(2, 0, seed=seed)
    engine.apply_all([own.native for own in at_first.start if own.name in {"mark", "fees"}])
    make = partial(engine.source(SOURCE + 1).event, time=10**9)
    names = (f"account-{place:07}" for place in range(accounts))
    # A pool is open before an event names it.
    take(engine, (make("pool_open", account=name, pool="cross") for name in names))
    take(engine, _crowd(make, at_first, accounts, np.random.default_rng(seed)))
    return engine, at_first.marks


def take(engine: ac.Engine, events: Iterator[ac.Event]) -> None:
    """Take events as they are made, keeping none."""
    while batch := list(islice(events, 200_000)):
        engine.apply_all(batch)


def _crowd(
    make: Callable[..., ac.Event], at_first: Stream, accounts: int, rng: np.random.Generator
) -> Iterator[ac.Event]:
    symbols, prices = at_first.symbols, at_first.prices
    first = rng.integers(0, len(symbols), accounts).tolist()
    sizes = rng.integers(1, 40, accounts).tolist()
    dollars = rng.integers(500, 100_000, accounts).tolist()
    for place, (at, lots) in enumerate(zip(first, sizes, strict=True)):
        yield make("deposit", pool=place, asset="USDT", amount_quanta=USD * dollars[place])
        parties = {"buyer": place, "seller": place - 1, "taker": "buy"}
        for own in (at, (at + 5) % len(symbols)) if place % 2 else ():
            terms = {"instrument": symbols[own], "price_ticks": prices[own], "lots": lots}
            yield make("fill", **terms, **parties)
        own = (at + 3 * (place % 3)) % len(symbols)
        terms = {"instrument": symbols[own], "limit_ticks": prices[own], "lots": lots}
        side = "sell" if lots % 2 else "buy"
        yield make("order_open", order=place + 1, pool=place, side=side, **terms)

"""A small price-time matching engine that embeds the core, and a generated day on it."""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aivora_core as ac

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNTS = 60
STEPS = 6_000
MASK = (1 << 64) - 1
BOOKS = (("BTC", 640_000, 6_400_000), ("ETH", 320_000, 3_200_000))


class Dice:
    """SplitMix64."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def below(self, bound: int) -> int:
        """Draw a number from 0 to the bound, which it does not reach."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return (z ^ (z >> 31)) % bound


@dataclass
class Resting:
    """An order in the book."""

    order: int
    pool: int
    lots: int


@dataclass
class Book:
    """Orders by price, each price a queue."""

    symbol: str
    mark: int
    per_price: int
    sides: dict[str, dict[int, deque[Resting]]] = field(
        default_factory=lambda: {"buy": {}, "sell": {}}
    )

    def crossing(self, side: str, limit: int) -> Iterator[int]:
        """Give the prices that an order may trade at, the best first."""
        other = self.sides["sell" if side == "buy" else "buy"]
        prices = sorted(other, reverse=side == "sell")
        return (p for p in prices if (p <= limit if side == "buy" else p >= limit))

    def remove(self, order: int) -> None:
        """Take an order out."""
        for side in self.sides.values():
            for price, queue in list(side.items()):
                kept = deque(own for own in queue if own.order != order)
                if not kept:
                    del side[price]
                elif len(kept) != len(queue):
                    side[price] = kept


class Exchange:
    """Books, and the core that is told everything."""

    def __init__(self, seed: int) -> None:
        self.core = ac.Engine("demo")
        self.source = self.core.source(1)
        self.dice = Dice(seed)
        self.time = 0
        self.next = 0
        self.open: list[tuple[int, int]] = []
        self.trades = self.liquidated = 0
        self.books = [Book(s, mark, mark // price) for s, price, mark in BOOKS]

    def tell(self, name: str, **fields: Any) -> Any:
        """Tell the core, and follow what comes of it."""
        answer = self.core.apply(self.source.event(name, time=self.time, **fields))
        self.follow(answer)
        return answer

    def follow(self, answer: Any) -> None:
        """Bring the books up to what the core has answered."""
        for outcome in answer.outcomes:
            if outcome["outcome"] == "order_cancelled":
                for book in self.books:
                    book.remove(outcome["order"])
            elif outcome["outcome"] == "forced_order":
                self.liquidated += 1
                place = [book.symbol for book in self.books].index(outcome["instrument"])
                self.forced(place, outcome)

    def forced(self, place: int, outcome: dict[str, Any]) -> None:
        """Match a forced order at once; what is left of it goes back."""
        book = self.books[place]
        tick, lot = self.core.venue[book.symbol].price_tick, self.core.venue[book.symbol].lot
        limit = _whole(outcome["limit"], tick)
        lots = _whole(outcome["quantity"], lot)
        pool = self.core.native.find(*outcome["pool"].split("/"))
        left = self.take(place, outcome["order"], pool or 0, outcome["side"], lots, limit)
        if left:
            self.tell("forced_end", order=outcome["order"], reason="expired")

    def take(self, place: int, order: int, pool: int, side: str, lots: int, limit: int) -> int:
        """Trade an order against the book; what is left of it."""
        book = self.books[place]
        for price in book.crossing(side, limit):
            queue = book.sides["sell" if side == "buy" else "buy"].get(price, deque())
            while lots and queue:
                other = queue[0]
                if other.pool == pool:
                    return lots
                size = min(lots, other.lots)
                lots -= size
                other.lots -= size
                if other.lots == 0:
                    queue.popleft()
                    if not queue:
                        del book.sides["sell" if side == "buy" else "buy"][price]
                self.trades += 1
                own, theirs = ("buyer", "seller") if side == "buy" else ("seller", "buyer")
                fields = {own: pool, f"{own}_order": order}
                fields |= {theirs: other.pool, f"{theirs}_order": other.order}
                self.tell(
                    "fill",
                    instrument=book.symbol,
                    price_ticks=price,
                    lots=size,
                    taker=side,
                    **fields,
                )
                queue = book.sides["sell" if side == "buy" else "buy"].get(price, deque())
            if not lots:
                break
        return lots

    def opening(self) -> None:
        """Marks, fees, accounts and their money."""
        for book in self.books:
            self.tell("mark", instrument=book.symbol, mark_ticks=book.mark)
            self.tell("fees", instrument=book.symbol, taker="0.0005", maker="0.0002")
        for number in range(ACCOUNTS):
            self.tell("pool_open", account=f"account-{number:03}", pool="cross")
            amount = 300_000_000 + self.dice.below(3_000_000_000)
            self.tell("deposit", pool=number, asset="USDT", amount_quanta=amount)

    def on_order(self) -> None:
        """Open an order near the mark, and match it."""
        place = self.dice.below(len(self.books))
        book = self.books[place]
        pool = self.dice.below(ACCOUNTS)
        side = "buy" if self.dice.below(2) == 0 else "sell"
        lots = 1 + self.dice.below(400)
        near = book.mark // book.per_price
        limit = near - near // 1_000 + self.dice.below(near // 500)
        self.next += 1
        order = self.next
        answer = self.tell(
            "order_open", order=order, pool=pool, instrument=book.symbol, side=side, lots=lots,
            limit_ticks=limit,
        )  # fmt: skip
        if not answer:
            return
        left = self.take(place, order, pool, side, lots, limit)
        if left and self.core.pool(pool)["orders"].count(order):
            book.sides[side].setdefault(limit, deque()).append(Resting(order, pool, left))
            self.open.append((order, place))

    def step(self) -> None:
        """One thing happens."""
        self.time += 250
        draw = self.dice.below(100)
        if draw < 30:  # noqa: PLR2004 - parts of a hundred
            book = self.books[self.dice.below(len(self.books))]
            book.mark += book.mark * (self.dice.below(61) - 30) // 10_000
            self.tell("mark", instrument=book.symbol, mark_ticks=book.mark)
        elif draw < 40 and self.open:  # noqa: PLR2004
            order, _ = self.open.pop(self.dice.below(len(self.open)))
            self.tell("order_cancel", order=order)
        else:
            self.on_order()


def _whole(text: str, unit: Any) -> int:
    from decimal import Decimal

    return int(Decimal(text) / unit)


def main() -> None:
    """Run the day, and say where it ended."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    exchange = Exchange(seed)
    exchange.opening()
    for _ in range(STEPS):
        exchange.step()
    core = exchange.core
    print(f"{core.events} events, {exchange.trades} trades, {exchange.liquidated} forced orders")
    print(core.hash)


if __name__ == "__main__":
    main()

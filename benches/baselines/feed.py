"""The order book of a feed, as a good user would write it without this project."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Pairs = list[tuple[int, int]]


class FeedBook:
    """An order book over `sortedcontainers`, prices and quantities as integers.

    The same checks at the same message boundaries: the sequence, and that bids stay below asks.
    """

    def __init__(
        self, bids: list[tuple[int, int]], asks: list[tuple[int, int]], number: int
    ) -> None:
        from sortedcontainers import SortedDict

        self.bids, self.asks = SortedDict(bids), SortedDict(asks)
        self.number = number

    def delta(self, bids: Pairs, asks: Pairs, number: int, previous: int) -> None:
        """Set levels; zero deletes."""
        if previous != self.number or number <= previous:
            msg = f"{previous} does not follow {self.number}"
            raise ValueError(msg)
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for price, quantity in levels:
                if quantity:
                    side[price] = quantity
                else:
                    side.pop(price, None)
        if self.bids and self.asks and self.bids.peekitem(-1)[0] >= self.asks.peekitem(0)[0]:
            msg = "crossed"
            raise ValueError(msg)
        self.number = number

    def levels(self) -> tuple[Pairs, Pairs]:
        """Both sides, best first."""
        return list(reversed(self.bids.items())), list(self.asks.items())

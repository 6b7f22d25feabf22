"""The risk core of a perpetual-futures venue: exact, deterministic, explainable.

>>> import aivora_core as ac
>>> venue = ac.Venue.load("demo")
>>> pf = ac.Portfolio.from_tables(
...     venue,
...     positions=[{"account": "alice", "instrument": "BTC", "quantity": "1", "entry": "64000"}],
...     collateral=[{"account": "alice", "amount": "700"}],
... )
>>> pf.check(ac.Prices(venue, mark={"BTC": "63500"})).liquidatable
array([ True])
"""

from __future__ import annotations

from aivora_core._core import Book, Books, Instrument, Prices, Venue, Walk, __version__, walk_many
from aivora_core.errors import (
    AivoraError,
    BookError,
    CardError,
    FloatGivenError,
    InvariantBroken,
    LimitExceeded,
    NumberError,
    PriceError,
    TableError,
    UnknownNameError,
)
from aivora_core.explain import Explanation
from aivora_core.portfolio import (
    Account,
    BankruptcyPrice,
    Flip,
    LiquidationPrice,
    OpenInterest,
    Portfolio,
    Report,
    Withdrawal,
)
from aivora_core.watch import Changes, Hits, Watch

__all__ = [
    "Account",
    "AivoraError",
    "BankruptcyPrice",
    "Book",
    "BookError",
    "Books",
    "CardError",
    "Changes",
    "Explanation",
    "Flip",
    "FloatGivenError",
    "Hits",
    "Instrument",
    "InvariantBroken",
    "LimitExceeded",
    "LiquidationPrice",
    "NumberError",
    "OpenInterest",
    "Portfolio",
    "PriceError",
    "Prices",
    "Report",
    "TableError",
    "UnknownNameError",
    "Venue",
    "Walk",
    "Watch",
    "Withdrawal",
    "__version__",
    "walk_many",
]

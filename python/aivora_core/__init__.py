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

from aivora_core._core import (
    Answer,
    Answers,
    Book,
    Books,
    Event,
    Instrument,
    OrderCheck,
    Prices,
    Venue,
    Walk,
    __version__,
    walk_many,
)
from aivora_core.decision import Decision
from aivora_core.engine import Engine, Journal, OrderChecks, Recovery, Source
from aivora_core.errors import (
    AivoraError,
    BookError,
    CardError,
    FloatGivenError,
    InvariantBroken,
    JournalError,
    LimitExceeded,
    NumberError,
    PriceError,
    Refused,
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
    "Answer",
    "Answers",
    "BankruptcyPrice",
    "Book",
    "BookError",
    "Books",
    "CardError",
    "Changes",
    "Decision",
    "Engine",
    "Event",
    "Explanation",
    "Flip",
    "FloatGivenError",
    "Hits",
    "Instrument",
    "InvariantBroken",
    "Journal",
    "JournalError",
    "LimitExceeded",
    "LiquidationPrice",
    "NumberError",
    "OpenInterest",
    "OrderCheck",
    "OrderChecks",
    "Portfolio",
    "PriceError",
    "Prices",
    "Recovery",
    "Refused",
    "Report",
    "Source",
    "TableError",
    "UnknownNameError",
    "Venue",
    "Walk",
    "Watch",
    "Withdrawal",
    "__version__",
    "walk_many",
]

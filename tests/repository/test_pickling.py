"""Values pickle and compare by value; handles refuse, with a reason."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import aivora_core as ac

CARD = """
schema = "aivora-card/0"
name = "pickling"

[asset.USD]
quantum = "0.000001"

[rules]
settlement = "USD"
bankruptcy_fee = "taker"
taker_fee = "0.0005"

[[instrument]]
symbol = "BTC"
kind = "linear"
price_tick = "0.1"
mark_tick = "0.01"
lot = "0.001"
[instrument.tiers]
by = "notional"
deduction = "derived"
brackets = [
  { floor = "0", cap = "50000", maintenance = "0.004", max_leverage = "125" },
  { floor = "50000", maintenance = "0.005", max_leverage = "100" },
]
"""


def everything() -> dict[str, Any]:
    venue = ac.Venue.from_toml(CARD)
    prices = ac.Prices(venue, mark={"BTC": "64000.5"})
    book = ac.Book(venue["BTC"], bids=[("64000.5", "1.2")], asks=[("64001", "0.7")])
    portfolio = ac.Portfolio.from_tables(
        venue,
        positions={
            "account": ["alice"],
            "instrument": ["BTC"],
            "quantity_lots": np.array([1_500], dtype=np.int64),
            "cost_quanta": np.array([96_000_000_000], dtype=np.int64),
        },
        collateral={"account": ["alice"], "amount_quanta": np.array([2_000_000_000])},
    )
    account = portfolio["alice"]
    return {
        "Instrument": venue["BTC"],
        "Venue": venue,
        "Walk": book.walk("buy", "0.5"),
        "Report": portfolio.check(prices),
        "LiquidationPrice": account.liquidation_price("BTC", prices),
        "BankruptcyPrice": account.bankruptcy_price("BTC", prices),
        "Explanation": account.explain(prices),
        "Book": book,
        "Books": ac.Books([book]),
        "Prices": prices,
        "Portfolio": portfolio,
    }


VALUES = [
    "BankruptcyPrice",
    "Explanation",
    "Instrument",
    "LiquidationPrice",
    "Report",
    "Venue",
    "Walk",
]
HANDLES = ["Book", "Books", "Portfolio", "Prices"]


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_value_pickles(name: str, protocol: int) -> None:
    value = everything()[name]
    assert type(value).__name__ == name
    twin = pickle.loads(pickle.dumps(value, protocol))
    assert type(twin) is type(value)
    assert twin == value
    if name != "Report":  # whole columns: compared by value, named by digest, not hashed
        assert hash(twin) == hash(value)
    assert repr(twin) == repr(value)


@pytest.mark.parametrize("name", VALUES)
def test_a_value_copies(name: str) -> None:
    value = everything()[name]
    assert copy.copy(value) == value
    assert copy.deepcopy(value) == value


@pytest.mark.parametrize("name", HANDLES)
def test_a_handle_refuses_with_a_reason(name: str) -> None:
    with pytest.raises(TypeError, match=r"pickle") as caught:
        pickle.dumps(everything()[name])
    assert len(str(caught.value)) > len("cannot pickle 'aivora_core.Portfolio' object")

"""Changes in place: a portfolio changed step by step is the one built from the final tables."""

from __future__ import annotations

import random
from typing import Any

import pytest

import aivora_core as ac

Tables = dict[str, dict[tuple[str, ...], dict[str, Any]]]

SYMBOLS = ("BTCUSDT", "BTCUSD")


def built(venue: ac.Venue, held: Tables, pools: list[dict[str, str]]) -> ac.Portfolio:
    """Build from the tables as they stand."""
    return ac.Portfolio.from_tables(
        venue,
        positions=list(held["positions"].values()),
        collateral=list(held["collateral"].values()),
        pools=pools,
    )


@pytest.mark.parametrize("seed", range(6))
def test_steps_lead_to_the_same_portfolio(venue: ac.Venue, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - no secret
    accounts = [f"a{n}" for n in range(40)]
    pools = [
        {
            "account": a,
            "mode": rng.choice(("single", "multi")),
            "leverage": rng.choice(("5", "7.3")),
        }
        for a in accounts
    ]
    multi = {row["account"] for row in pools if row["mode"] == "multi"}
    held: Tables = {"positions": {}, "collateral": {}}
    for a in accounts:
        held["collateral"][a, "USDT"] = {"account": a, "asset": "USDT", "amount": "1000"}
    pf = built(venue, held, pools)
    prices = ac.Prices(
        venue, mark={"BTCUSDT": "60000", "BTCUSD": "60100.1"}, asset={"BTC": "60050"}
    )
    for step in range(300):
        account = rng.choice(accounts)
        if rng.random() < 0.3:
            asset = rng.choice(("USDT", "BTC")) if account in multi else "USDT"
            amount = str(rng.choice((0, 1, -3, 12, 10**13)))
            interest = rng.choice(("0", "0.5"))
            row = {"account": account, "asset": asset, "amount": amount, "interest": interest}
            held["collateral"][account, asset] = row
            pf[account].set_balance(asset, amount, interest=interest)
        else:
            symbol = rng.choice(SYMBOLS) if account in multi else "BTCUSDT"
            lots = rng.choice((0, 1, -1, 5, -70, 10**7, 10**13))
            cost = str(rng.randint(1, 9)) if lots else "0"
            if (lots > 0) == (symbol == "BTCUSD") and lots:
                cost = f"-{cost}"
            quantity = str(lots)
            accrued = rng.choice(("0", "0", "0.25"))
            row = {"account": account, "instrument": symbol, "quantity": quantity, "cost": cost}
            held["positions"][account, symbol] = row | {"accrued": accrued}
            pf[account].set_position(symbol, quantity, cost=cost, accrued=accrued)
        if step % 60 == 0:
            fresh = built(venue, held, pools)
            assert pf.digest == fresh.digest
            assert pf.check(prices) == fresh.check(prices)
    fresh = built(venue, held, pools)
    assert pf.digest == fresh.digest
    assert pf.report_digest(prices) == fresh.report_digest(prices)
    assert pf.open_interest() == fresh.open_interest()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda a: a.set_position("BTCUSD", "1", cost="-1"), "bad_collateral"),
        (lambda a: a.set_position("BTCUSDT", "1", cost="-1"), "bad_leg"),
        (lambda a: a.set_position("BTCUSDT", "1", cost="1", leg="long"), "bad_leg"),
        (lambda a: a.set_position("BTCUSDT", "0.0001", cost="1"), "off_grid"),
        (lambda a: a.set_position("BTCUSDT", "1"), "bad_column"),
        (lambda a: a.set_position("BTCUSDT", 1.5, cost="1"), "float_given"),
        (lambda a: a.set_position("X", "1", cost="1"), "unknown_instrument"),
        (lambda a: a.set_balance("BTC", "1"), "bad_collateral"),
        (lambda a: a.set_balance("ETH", "1"), "unknown_asset"),
        (lambda a: a.set_balance("USDT", "1", interest="-1"), "out_of_range"),
    ],
)
def test_a_refused_change_changes_nothing(venue: ac.Venue, change: Any, code: str) -> None:
    pf = ac.Portfolio.from_tables(
        venue,
        positions=[{"account": "a", "instrument": "BTCUSDT", "quantity": "1", "entry": "60000"}],
        collateral=[{"account": "a", "amount": "700"}],
    )
    before = pf.digest
    with pytest.raises(ac.AivoraError) as caught:
        change(pf["a"])
    assert caught.value.code == code
    assert pf.digest == before

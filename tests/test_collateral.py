"""Pools of several assets, inverse contracts, withdrawals: each number is worked by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import aivora_core as ac


def multi(venue: ac.Venue, balances: dict[str, str], **tables: Any) -> ac.Portfolio:
    """One pool of several assets."""
    collateral = [{"account": "a", "asset": k, "amount": v} for k, v in balances.items()]
    pools = [{"account": "a", "mode": "multi"}]
    return ac.Portfolio.from_tables(venue, collateral=collateral, pools=pools, **tables)


def test_each_slice_has_its_own_haircut(venue: ac.Venue) -> None:
    pf = multi(venue, {"USDT": "10000", "BTC": "1.5"})
    prices = ac.Prices(venue, asset={"BTC": "60000"})
    row = pf.check(prices).row("a")
    # 10,000 + 60,000 x (1 x 0.95 + 0.5 x 0.9), the page's own numbers
    assert (row["asset"], row["equity"], row["status"]) == ("USDT", 94_000_000_000, "safe")


def test_a_debt_weighs_more_and_owes_its_interest(venue: ac.Venue) -> None:
    pf = ac.Portfolio.from_tables(
        venue,
        collateral=[
            {"account": "a", "asset": "BTC", "amount": "-0.1", "interest": "0.00000001"},
            {"account": "a", "amount": "10000"},
        ],
        pools=[{"account": "a", "mode": "multi"}],
    )
    prices = ac.Prices(venue, asset={"BTC": "60000.01"})
    # 10^10 - ceil(10,000,001 x 6,000,001 x 0.0001 x 1.1): 0.01 USDT x 10^-8 BTC is 10^-4 quanta
    debt = -10_000_001 * 6_000_001 * 11 // 100_000
    assert pf.check(prices).row("a")["equity"] == 10_000_000_000 + debt


def test_coin_profit_and_its_requirement_are_valued(venue: ac.Venue) -> None:
    pf = multi(
        venue,
        {"USDT": "5000"},
        positions=[
            # 300 contracts of 100 USD bought at 50,000: 0.6 BTC
            {"account": "a", "instrument": "BTCUSD", "quantity": "300", "cost": "-0.6"},
        ],
    )
    prices = ac.Prices(venue, mark={"BTCUSD": "60000"}, asset={"BTC": "59000"})
    why = pf["a"].explain(prices)
    (btc, usdt) = why.raw["assets"]
    assert btc["pnl"] == 10_000_000  # 0.6 - 0.5 BTC
    assert btc["value"] == 5_605_000_000  # 0.1 x 59,000 x 0.95
    assert usdt["value"] == 5_000_000_000
    assert why.raw["maintenance"] == 295_000_000  # 0.5 x 1% x 59,000
    assert why.raw["equity"] == 10_605_000_000
    assert "less its haircut" in why.text()


def test_an_inverse_pool_in_its_coin_needs_no_asset_price(venue: ac.Venue) -> None:
    pf = ac.Portfolio.from_tables(
        venue,
        positions=[
            {"account": "long", "instrument": "BTCUSD", "quantity": "3", "entry": "63000"},
            {"account": "short", "instrument": "BTCUSD", "quantity": "-3", "entry": "63000"},
        ],
        collateral=[
            {"account": "long", "asset": "BTC", "amount": "0.001"},
            {"account": "short", "asset": "BTC", "amount": "0.001"},
        ],
    )
    report = pf.check(ac.Prices(venue, mark={"BTCUSD": "61000"}))
    long, short = report.row("long"), report.row("short")
    # 300 / 61,000 = 491,803.27... quanta, 300 / 63,000 = 476,190.47...
    assert long["equity"] == 100_000 - 491_804 + 476_190
    assert short["equity"] == 100_000 + 491_803 - 476_191
    assert (long["asset"], long["maintenance"], long["initial"]) == ("BTC", 4_919, 9_837)
    assert (short["maintenance"], short["initial"]) == (4_919, 9_837)
    assert long["equity"] + short["equity"] == 2 * 100_000 - 2


def test_liquidation_and_bankruptcy_of_the_published_inverse_long(venue: ac.Venue) -> None:
    """Kraken's Equity Protection page: 1,000 USD long at 8,000 on 0.01 BTC: 7,481 and 7,407."""
    pf = ac.Portfolio.from_tables(
        venue,
        positions=[{"account": "a", "instrument": "BTCUSD", "quantity": "10", "entry": "8000"}],
        collateral=[{"account": "a", "asset": "BTC", "amount": "0.01"}],
    )
    prices = ac.Prices(venue, mark={"BTCUSD": "8000"})
    flip = pf["a"].liquidation_price("BTCUSD", prices).below
    assert flip is not None
    # 1,000 x 1.01 / (1,000 / 8,000 + 0.01) = 7,481.48...
    assert (flip.mark, flip.price) == (Decimal("7481.4"), Decimal("7481.5"))
    found = pf["a"].bankruptcy_price("BTCUSD", prices)
    assert found.price == Decimal("7407.5")  # 7,407.407... up to the tick
    assert found.asset == "BTC"
    above = pf["a"].liquidation_price("BTCUSD", prices)
    assert above.reason_above == "no_flip_above"


def test_an_inverse_short_that_cannot_lose_its_equity(venue: ac.Venue) -> None:
    pf = ac.Portfolio.from_tables(
        venue,
        positions=[{"account": "a", "instrument": "BTCUSD", "quantity": "-10", "entry": "8000"}],
        collateral=[{"account": "a", "asset": "BTC", "amount": "1"}],
    )
    prices = ac.Prices(venue, mark={"BTCUSD": "8000"})
    found = pf["a"].bankruptcy_price("BTCUSD", prices)
    assert (found.price, found.reason) == (None, "no_finite_price")
    flips = pf["a"].liquidation_price("BTCUSD", prices)
    assert flips.below is None
    assert flips.above is None


@pytest.mark.parametrize(
    ("rows", "pools", "code"),
    [
        ([{"asset": "BTC", "amount": "1"}, {"asset": "USDT", "amount": "1"}], [], "bad_collateral"),
        ([{"asset": "BTC", "amount": "1"}, {"asset": "BTC", "amount": "1"}], [], "duplicate_key"),
        ([{"asset": "ETH", "amount": "1"}], [], "unknown_asset"),
        ([{"asset": "BTC", "amount": "1", "interest": "-1"}], [], "out_of_range"),
        ([{"asset": "BTC", "amount": "0.000000001"}], [], "off_grid"),
        ([], [{"mode": "both"}], "out_of_range"),
        ([], [{"mode": "multi"}, {"mode": "single"}], "duplicate_key"),
    ],
)
def test_what_is_wrong_is_named(
    venue: ac.Venue, rows: list[dict[str, str]], pools: list[dict[str, str]], code: str
) -> None:
    with pytest.raises(ac.AivoraError) as caught:
        ac.Portfolio.from_tables(
            venue,
            collateral=[{"account": "a"} | row for row in rows],
            pools=[{"account": "a"} | row for row in pools],
        )
    assert caught.value.code == code
    assert caught.value.field


def test_a_held_asset_without_a_price_is_an_error(venue: ac.Venue) -> None:
    pf = multi(venue, {"BTC": "1"})
    with pytest.raises(ac.PriceError, match="BTC"):
        pf.check(ac.Prices(venue))
    assert multi(venue, {"USDT": "1"}).check(ac.Prices(venue)).row("a")["equity"] == 1_000_000


def test_withdrawals_stop_where_the_requirement_binds(venue: ac.Venue) -> None:
    pf = multi(
        venue,
        {"USDT": "3000", "BTC": "1"},
        positions=[
            {"account": "a", "instrument": "BTCUSDT", "quantity": "10", "entry": "59000"},
        ],
    )
    prices = ac.Prices(venue, mark={"BTCUSDT": "60000"}, asset={"BTC": "60000"})
    account = pf["a"]
    # Of 10,000 profit half counts: 3,000 + 5,000 + 57,000 against 6,000.
    tether = account.withdrawable("USDT", prices)
    assert (tether.amount, tether.binding) == (3000, "balance")
    coin = account.withdrawable("BTC", prices)
    # 8,000 cover 6,000 without any coin.
    assert (coin.amount, coin.binding) == (1, "balance")
    # Selling 10 at 59,990 costs 100 less than the mark and 299.95 of fee.
    book = ac.Book(venue["BTCUSDT"], bids=[("59990", "20")], asks=[("60010", "1")])
    stressed = account.withdrawable("BTC", prices, books={"BTCUSDT": book})
    assert stressed.binding == "balance"
    assert stressed.equity_quanta == (3000 + 5000 + 57_000) * 10**6 - 399_950_000
    thin = ac.Book(venue["BTCUSDT"], bids=[("59990", "9")], asks=[("60010", "1")])
    barred = account.withdrawable("BTC", prices, books={"BTCUSDT": thin})
    assert (barred.amount, barred.binding) == (0, "exit_unfilled")
    with pytest.raises(ac.PriceError, match="BTCUSDT"):
        account.withdrawable("BTC", prices, books={})


def test_withdrawable_is_exact(venue: ac.Venue) -> None:
    rows = [{"account": "a", "instrument": "BTCUSDT", "quantity": "10", "entry": "60000"}]
    balances = {"USDT": "1000", "BTC": "1"}
    pf = multi(venue, balances, positions=rows)
    prices = ac.Prices(venue, mark={"BTCUSDT": "60000"}, asset={"BTC": "60000.01"})
    found = pf["a"].withdrawable("BTC", prices)
    assert found.binding == "initial"
    for extra, status in ((0, "safe"), (1, "below_initial")):
        left = Decimal(1) - found.amount - extra * Decimal("0.00000001")
        after = multi(venue, {"USDT": "1000", "BTC": str(left)}, positions=rows)
        assert after.check(prices).row("a")["status"] == status


@pytest.mark.parametrize(
    ("quantity", "quote", "lost"),
    [
        # Worth -50000000 at the mark; the sale pays 50050050.05 back, up; fee 25025.03, up.
        (300, {"bids": [("59940", 500)], "asks": []}, 50_050_051 - 50_000_000 + 25_026),
        # Two levels, each up: 33377837.12 and 16694490.82; fee 25036.16.
        (
            300,
            {"bids": [("59920", 200), ("59900", 100)], "asks": []},
            33_377_838 + 16_694_491 - 50_000_000 + 25_037,
        ),
        # A short is worth 50000000; buying it back credits 49958368.03, down; fee 24979.18.
        (-300, {"bids": [], "asks": [("60050", 300)]}, 50_000_000 - 49_958_368 + 24_980),
        # Better than the mark gains nothing: only the fee, ceil(50083472 x 0.0005).
        (-300, {"bids": [], "asks": [("59900", 300)]}, 25_042),
    ],
)
def test_exits_of_inverse_positions(
    venue: ac.Venue, quantity: int, quote: dict[str, Any], lost: int
) -> None:
    cost = "-0.5" if quantity > 0 else "0.5"
    pf = ac.Portfolio.from_tables(
        venue,
        positions=[{"account": "a", "instrument": "BTCUSD", "quantity": quantity, "cost": cost}],
        collateral=[{"account": "a", "asset": "BTC", "amount": "1"}],
    )
    prices = ac.Prices(venue, mark={"BTCUSD": "60000"})
    book = ac.Book(venue["BTCUSD"], **quote)
    plain = pf["a"].withdrawable("BTC", prices)
    exited = pf["a"].withdrawable("BTC", prices, books={"BTCUSD": book})
    assert (plain.equity_quanta, exited.equity_quanta) == (10**8, 10**8 - lost)
    assert plain.amount - exited.amount == lost * Decimal("0.00000001")
    thin = ac.Book(venue["BTCUSD"], bids=[("59940", 299)], asks=[("60050", 299)])
    barred = pf["a"].withdrawable("BTC", prices, books={"BTCUSD": thin})
    assert (barred.amount, barred.binding) == (0, "exit_unfilled")

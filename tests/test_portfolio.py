"""Portfolios: every way in, every refusal, and that a refusal changes nothing."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import aivora_core as ac
from aivora_core import demo
from aivora_core.frames import read_table

if TYPE_CHECKING:
    from pathlib import Path

VENUE = ac.Venue.load("demo")
PRICES = ac.Prices(VENUE, mark={"BTC": "63500", "ETH": 3200})


def position(**changes: Any) -> dict[str, Any]:
    row = {"account": "alice", "instrument": "BTC", "quantity": "1", "entry": "64000"}
    return row | changes


def build(*rows: dict[str, Any], **tables: Any) -> ac.Portfolio:
    return ac.Portfolio.from_tables(VENUE, positions=list(rows), **tables)


def refused(error: type[ac.AivoraError], code: str, *rows: dict[str, Any], **tables: Any) -> Any:
    with pytest.raises(error) as caught:
        build(*rows, **tables)
    assert caught.value.code == code
    assert caught.value.value
    assert caught.value.limit
    return caught.value


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"quantity": "nan"}, ac.NumberError, "not_finite"),
        ({"quantity": "-inf"}, ac.NumberError, "not_finite"),
        ({"quantity": Decimal("NaN")}, ac.NumberError, "not_finite"),
        ({"quantity": float("nan")}, ac.FloatGivenError, "float_given"),
        ({"quantity": 1.0}, ac.FloatGivenError, "float_given"),
        ({"quantity": np.float32(1)}, ac.FloatGivenError, "float_given"),
        ({"quantity": True}, ac.NumberError, "not_a_number"),
        ({"quantity": None}, ac.NumberError, "not_a_number"),
        ({"quantity": "one"}, ac.NumberError, "not_a_number"),
        ({"quantity": "0.0005"}, ac.NumberError, "off_grid"),
        ({"quantity": "1e15", "entry": "1e16"}, ac.NumberError, "overflow"),
        ({"quantity": "1e16", "entry": "1"}, ac.NumberError, "out_of_range"),
        ({"quantity": 10**40}, ac.NumberError, "overflow"),
        ({"entry": "64000.0000000001"}, ac.NumberError, "off_grid"),
        ({"entry": "0"}, ac.PriceError, "bad_price"),
        ({"entry": "-5"}, ac.PriceError, "bad_price"),
        ({"entry": 64000.0}, ac.FloatGivenError, "float_given"),
        ({"instrument": "DOGECOIN"}, ac.UnknownNameError, "unknown_instrument"),
        ({"leg": "both"}, ac.TableError, "bad_leg"),
        ({"leg": "short"}, ac.TableError, "bad_leg"),
        ({"account": ""}, ac.TableError, "bad_column"),
        ({"account": 1.5}, ac.TableError, "bad_column"),
        ({"accrued": 0.5}, ac.FloatGivenError, "float_given"),
        ({"accrued": "0.0000001"}, ac.NumberError, "off_grid"),
        ({"quantitty": "1"}, ac.TableError, "bad_column"),
    ],
)
def test_a_bad_row_is_named(
    changes: dict[str, Any], error: type[ac.AivoraError], code: str
) -> None:
    found = refused(error, code, position(account="bob"), position(**changes))
    name = next(iter(changes))
    assert name in found.field or code in {"overflow", "bad_price", "bad_leg"}
    assert found.row == (None if name == "quantitty" else 1)  # an unknown column is no row's


def test_a_cost_must_be_signed_like_its_quantity() -> None:
    row = position(cost="-5")
    del row["entry"]
    assert refused(ac.TableError, "bad_leg", row).field == "positions.cost"


def test_what_may_stand_once_is_refused_twice() -> None:
    assert refused(ac.TableError, "duplicate_key", position(), position()).row == 1
    mixed = refused(ac.TableError, "bad_leg", position(), position(leg="long"))
    assert "alice/cross BTC long" in mixed.value
    twice = [{"account": "a", "amount": 1}, {"account": "a", "amount": 2}]
    assert (
        refused(ac.TableError, "duplicate_key", collateral=twice).field == "collateral.collateral"
    )
    kinds = [{"account": "a", "kind": kind} for kind in ("cross", "isolated")]
    refused(ac.TableError, "duplicate_key", pools=kinds)
    leverages = [{"account": "a", "leverage": 5}, {"account": "a", "leverage": 6}]
    refused(ac.TableError, "duplicate_key", pools=leverages)


def test_tables_are_checked_as_a_whole() -> None:
    columns = {"account": ["a", "b"], "instrument": ["BTC"], "quantity": ["1"], "entry": ["1"]}
    with pytest.raises(ac.TableError, match=r"instrument: got 1; all columns .* 2 rows") as caught:
        ac.Portfolio.from_tables(VENUE, positions=columns)
    assert caught.value.code == "length_mismatch"
    refused(ac.TableError, "bad_column", position(cost="1"))
    refused(ac.TableError, "bad_column", {"account": "a", "instrument": "BTC", "quantity": 1})
    refused(
        ac.UnknownNameError,
        "unknown_asset",
        collateral=[{"account": "a", "asset": "EUR", "amount": 1}],
    )
    refused(ac.NumberError, "out_of_range", pools=[{"account": "a", "leverage": "0.5"}])
    order = {"account": "a", "instrument": "BTC", "side": "hold", "quantity": 1}
    refused(ac.NumberError, "out_of_range", orders=[order])
    refused(ac.NumberError, "out_of_range", orders=[order | {"side": "buy", "quantity": 0}])
    isolated = [{"account": "alice", "kind": "isolated"}]
    other = position(instrument="ETH", entry="3000")
    refused(ac.TableError, "bad_leg", position(), other, pools=isolated)
    for nonsense in ("text", 5, [1, 2]):
        with pytest.raises((ac.TableError, TypeError)):
            ac.Portfolio.from_tables(VENUE, positions=nonsense)


def arrays() -> dict[str, Any]:
    return {
        "account": ["a", "b", "c", "d"],
        "instrument": ["BTC", "ETH", "BTC", "ETH"],
        "quantity_lots": np.array([1000, -2000, 5, 7]),
        "cost_quanta": np.array([64_000_000_000, -6_000_000_000, 320_000_000, 21_000_000]),
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda a: np.repeat(a, 2)[::2],  # strided
        lambda a: a[::-1].copy()[::-1],  # backwards in memory
        lambda a: np.asfortranarray(a.astype(">i8")),  # the other byte order
        lambda a: a.tolist(),
        lambda a: np.array(a.tolist(), dtype=object),
        lambda a: np.broadcast_to(a, a.shape),  # read-only
    ],
)
def test_arrays_of_any_layout_give_the_same_portfolio(change: Any) -> None:
    plain = ac.Portfolio.from_tables(VENUE, positions=arrays())
    table = arrays()
    for name in ("quantity_lots", "cost_quanta"):
        table[name] = change(table[name])
    before = [np.array(table[name]).tolist() for name in ("quantity_lots", "cost_quanta")]
    assert ac.Portfolio.from_tables(VENUE, positions=table).digest == plain.digest
    assert [np.array(table[name]).tolist() for name in ("quantity_lots", "cost_quanta")] == before


def test_arrays_that_are_no_column_are_refused() -> None:
    for column in (np.zeros((2, 2), dtype=np.int64), np.array(["1"] * 4, dtype=object)[:3]):
        with pytest.raises(ac.TableError):
            ac.Portfolio.from_tables(VENUE, positions=arrays() | {"quantity_lots": column})
    with pytest.raises(ac.FloatGivenError) as caught:
        ac.Portfolio.from_tables(VENUE, positions=arrays() | {"quantity_lots": np.ones(4)})
    assert caught.value.row == 0


def test_floats_are_read_only_where_the_rounding_is_named() -> None:
    table = {"account": ["a", "b"], "instrument": ["BTC", "BTC"]}
    table |= {"quantity": np.array([0.1, 0.1234]), "entry": np.array([64000.5, 64000.0])}
    pf = ac.Portfolio.from_floats(VENUE, positions=table, rounding="toward_zero")
    assert [row["row"] for row in pf.off_grid] == [1]
    assert pf["b"].explain(PRICES).to_dict()["legs"][0]["quantity"] == "0.123"
    with pytest.raises(ac.NumberError, match="off_grid"):
        ac.Portfolio.from_floats(VENUE, positions=table, rounding="exact")
    with pytest.raises(ac.NumberError, match="rounding: got nearest"):
        ac.Portfolio.from_floats(VENUE, positions=table, rounding="nearest")
    for bad in (float("nan"), float("inf")):
        table["quantity"] = np.array([0.1, bad])  # type: ignore[assignment]
        with pytest.raises(ac.NumberError) as caught:
            ac.Portfolio.from_floats(VENUE, positions=table, rounding="floor")
        assert (caught.value.code, caught.value.row) == ("not_finite", 1)


def test_an_average_entry_needs_its_rounding_named() -> None:
    row = position(quantity="0.003", entry="64000.123456789")
    refused(ac.NumberError, "off_grid", row)
    pf = build(row, entry_rounding="against_account")
    assert pf["alice"].explain(PRICES).raw["legs"][0]["cost"] == 192_000_371  # 192.000370370367
    short = build(row | {"quantity": "-0.003"}, entry_rounding="against_account")
    assert short["alice"].explain(PRICES).raw["legs"][0]["cost"] == -192_000_370
    with pytest.raises(ac.NumberError, match="entry_rounding"):
        build(row, entry_rounding="ceil")


def test_a_missing_price_is_never_a_zero() -> None:
    pf = build(position(), position(account="bob", instrument="ETH", entry="3000"))
    with pytest.raises(ac.PriceError, match="pool bob/cross holds it") as caught:
        pf.check(ac.Prices(VENUE, mark={"BTC": 1}))
    assert (caught.value.code, caught.value.value) == ("missing_price", "ETH")
    pf["alice"].explain(ac.Prices(VENUE, mark={"BTC": 1}))  # bob's ETH is not alice's


def test_bad_prices_change_nothing() -> None:
    prices = ac.Prices(VENUE, mark={"BTC": 1, "ETH": 2})
    before = prices.digest
    for bad, code in [
        ("0", "bad_price"),
        ("-1", "bad_price"),
        ("0.001", "off_grid"),
        ("nan", "not_finite"),
        (1.5, "float_given"),
        ("1e30", "out_of_range"),
    ]:
        with pytest.raises(ac.AivoraError) as caught:
            prices.update(mark={"ETH": 3, "BTC": bad})
        assert caught.value.code == code
        assert prices.digest == before
    with pytest.raises(ac.UnknownNameError):
        prices.update(mark={"ETH": 3, "NOPE": 1})
    assert (prices.digest, prices.mark("ETH")) == (before, Decimal(2))
    other = ac.Prices(ac.Venue.load("hyperliquid"), mark={"BTC": 1})
    with pytest.raises(ac.UnknownNameError, match="another card"):
        build(position()).check(other)


def test_unknown_keys_say_what_there_is() -> None:
    pools = [{"account": "alice", "pool": name} | {"kind": "cross"} for name in ("one", "two")]
    pf = build(position(pool="one"), pools=pools)
    with pytest.raises(ac.UnknownNameError, match="name one of one, two"):
        pf["alice"]
    with pytest.raises(ac.UnknownNameError, match="has the pools one, two"):
        pf["alice", "three"]
    with pytest.raises(ac.UnknownNameError, match="no row of any table"):
        pf["nobody"]
    account = pf["alice", "one"]
    with pytest.raises(ac.UnknownNameError) as caught:
        account.liquidation_price("ETH", PRICES)
    assert caught.value.code == "unknown_leg"
    with pytest.raises(ac.UnknownNameError, match="BTC long"):
        account.bankruptcy_price("BTC", PRICES, leg="long")


def test_insertion_order_and_threads_reach_no_result() -> None:
    made = demo.demo(accounts=300)
    ticks = {i.symbol: made.prices.mark_ticks(i.symbol) or 1 for i in made.venue.instruments}
    positions, collateral = demo.tables(made.venue, ticks, accounts=300)
    order = np.random.default_rng(3).permutation(len(positions["account"]))
    shuffled = {
        name: column[order] if isinstance(column, np.ndarray) else [column[i] for i in order]
        for name, column in positions.items()
    }
    again = ac.Portfolio.from_tables(made.venue, shuffled, collateral)
    assert again.digest == made.portfolio.digest
    report = made.portfolio.check(made.prices, ratio=True, distance=True)
    for threads in (2, 5):
        assert again.check(made.prices, threads=threads, ratio=True, distance=True) == report
    assert pickle.loads(pickle.dumps(report)) == report
    for threads in (0, -1, 100_000):
        with pytest.raises(ac.NumberError, match=r"threads: .* must be 1 to 256"):
            made.portfolio.check(made.prices, threads=threads)


def test_every_explanation_is_its_row_and_the_oracle_agrees() -> None:
    made = demo.demo(accounts=200)
    report = made.portfolio.check(made.prices, ratio=True, distance=True)
    for place, account in enumerate(made.portfolio):
        why, row = account.explain(made.prices), report.at(place)
        assert {name: why.raw[name] for name in row} == row
        assert why.verify()
        assert max(map(len, why.text().splitlines())) < 100
    damaged = why.raw | {"equity": why.raw["equity"] + 1}
    with pytest.raises(ac.InvariantBroken, match="the oracle finds"):
        ac.Explanation(made.venue, damaged).verify()


def test_amounts_past_64_bits_are_exact_integers() -> None:
    row = {"account": "a", "instrument": "BTC", "quantity_lots": 10**18, "cost_quanta": 10**30}
    pf = ac.Portfolio.from_tables(VENUE, positions=[row])
    report = pf.check(ac.Prices(VENUE, mark_ticks={"BTC": 10**16}))
    assert report.equity.dtype == object
    assert int(report.equity[0]) == 10**18 * 10**16 * 10 - 10**30
    with pytest.raises(ac.NumberError) as caught:
        pf.check(ac.Prices(VENUE, mark_ticks={"BTC": 10**18}))
    assert caught.value.code == "out_of_range"


def test_files_keep_their_digits(tmp_path: Path) -> None:
    path = tmp_path / "positions.json"
    path.write_text('[{"account": "a", "instrument": "BTC", "quantity": 0.1, "entry": 64000}]')
    assert read_table(path)["quantity"] == ["0.1"]
    assert len(ac.Portfolio.from_tables(VENUE, read_table(path))) == 1
    for text, name, line in [("a,b\n1,2\n3\n", "t.csv", 3), ("{,}", "t.json", 1), ("", "t.csv", 1)]:
        (tmp_path / name).write_text(text)
        with pytest.raises(ac.BookError) as caught:
            read_table(tmp_path / name)
        assert (caught.value.code, caught.value.row) == ("corrupt_line", line)
    with pytest.raises(ac.TableError, match="must end in"):
        read_table(tmp_path / "t.xlsx")

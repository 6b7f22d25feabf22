"""Coded columns: the same portfolio as from plain ones, and every refusal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import aivora_core as ac

VENUE = ac.Venue.load("demo")
NAMES = ("account", "pool", "instrument", "leg", "side", "kind", "asset")
POSITIONS = {
    "account": ["b", "a", "b", "c", "a"],
    "pool": ["cross", "iso", "cross", "sub", "cross"],
    "instrument": ["BTC", "BTC", "ETH", "ETH", "ETH"],
    "leg": ["net", "short", "net", "long", "net"],
    "quantity_lots": [10, -20, -30, 40, 0],
    "cost_quanta": [1_000, -2_000, -3_000, 4_000, 0],
}
COLLATERAL = {
    "account": ["a", "c", "b", "a"],
    "pool": ["cross", "sub", "cross", "iso"],
    "amount_quanta": [5_000_000, 6_000_000, 2**80, -7],
}
ORDERS = {
    "account": ["c", "a"],
    "pool": ["sub", "iso"],
    "instrument": ["ETH", "BTC"],
    "leg": ["long", "short"],
    "side": ["buy", "sell"],
    "quantity_lots": [3, 4],
}
POOLS = {
    "account": ["a", "c"],
    "pool": ["iso", "sub"],
    "kind": ["isolated", "sub_account"],
    "leverage": [20, 5],
}
TABLES = {"positions": POSITIONS, "collateral": COLLATERAL, "orders": ORDERS, "pools": POOLS}
PLAIN = ac.Portfolio.from_tables(VENUE, **TABLES).digest


def pair(values: list[str]) -> tuple[Any, Any]:
    names, codes = np.unique(np.array(values), return_inverse=True)
    return codes, names.tolist()


def pandas_categorical(values: list[str]) -> Any:
    return pytest.importorskip("pandas").Categorical(values)


def pandas_series(values: list[str]) -> Any:
    return pytest.importorskip("pandas").Series(values, dtype="category")


def arrow(values: list[str]) -> Any:
    return pytest.importorskip("pyarrow").array(values).dictionary_encode()


def polars_categorical(values: list[str]) -> Any:
    polars = pytest.importorskip("polars")
    return polars.Series(values, dtype=polars.Categorical)


def polars_enum(values: list[str]) -> Any:
    polars = pytest.importorskip("polars")
    return polars.Series(values, dtype=polars.Enum(["unused", *sorted(set(values) - {None})]))


CODERS = [pair, pandas_categorical, pandas_series, arrow, polars_categorical, polars_enum]


def coded(table: dict[str, Any], code: Any, keys: tuple[str, ...] = NAMES) -> dict[str, Any]:
    return {key: code(column) if key in keys else column for key, column in table.items()}


@pytest.mark.parametrize("code", CODERS)
def test_coded_is_uncoded(code: Any) -> None:
    tables = {name: coded(table, code) for name, table in TABLES.items()}
    assert ac.Portfolio.from_tables(VENUE, **tables).digest == PLAIN


@pytest.mark.parametrize("keys", [("account",), ("pool",), ("account", "pool"), ("instrument",)])
def test_columns_are_coded_one_by_one(keys: tuple[str, ...]) -> None:
    tables = {name: coded(table, pair, keys) for name, table in TABLES.items()}
    assert ac.Portfolio.from_tables(VENUE, **tables).digest == PLAIN


def test_tables_may_share_a_list_of_names() -> None:
    """The pools are known by it; a table with a pool column, or another list, is not mixed up."""
    names = ["x", "a", "b"]
    collateral = {"account": (np.array([2, 1]), names), "amount": ["1", "2"]}
    pools = {"account": (np.array([1, 2], dtype=np.uint8), names), "leverage": [3, 4]}
    row = {"instrument": ["BTC"], "quantity_lots": [1], "cost_quanta": [5]}
    for account, pool in (("b", "cross"), ("b", "own")):
        shared = {"account": (np.array([2]), names), "pool": [pool], **row}
        own = {"account": (np.array([0]), ["b"]), "pool": (np.array([0]), [pool]), **row}
        plain = {"account": [account], "pool": [pool], **row}
        digests = {
            ac.Portfolio.from_tables(
                VENUE, positions=positions, collateral=collateral, pools=pools
            ).digest
            for positions in (shared, own, plain)
        }
        assert len(digests) == 1
    coded = ac.Portfolio.from_tables(VENUE, collateral=collateral, pools=pools)
    listed = ac.Portfolio.from_tables(
        VENUE,
        collateral=[{"account": "b", "amount": 1}, {"account": "a", "amount": 2}],
        pools=[{"account": "a", "leverage": 3}, {"account": "b", "leverage": 4}],
    )
    assert coded.digest == listed.digest


@pytest.mark.parametrize("key", ["account", "pool", "instrument", "leg"])
@pytest.mark.parametrize("code", [-1, 9])
def test_a_code_must_be_a_place(key: str, code: int) -> None:
    codes, names = pair(POSITIONS[key])
    codes = codes.copy()
    codes[3] = code
    with pytest.raises(ac.NumberError) as caught:
        ac.Portfolio.from_tables(VENUE, positions=POSITIONS | {key: (codes, names)})
    error = caught.value
    assert (error.code, error.field, error.row) == ("out_of_range", f"positions.{key}", 3)
    assert error.value == str(code)


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("account", (np.array([0.0]), ["a"])),
        ("account", (np.array([0], dtype=np.uint64), ["a"])),
        ("account", (np.array([[0]]), ["a"])),
        ("account", (np.array([0]), "a")),
        ("account", (np.array([0]), ["a"], ["b"])),
        ("amount", (np.array([0]), ["1"])),
    ],
)
def test_a_pair_is_codes_and_names(key: str, given: Any) -> None:
    table = {"account": ["a"], "amount": ["1"]} | {key: given}
    with pytest.raises(ac.TableError) as caught:
        ac.Portfolio.from_tables(VENUE, collateral=table)
    assert caught.value.code == "bad_column"
    assert caught.value.field == f"collateral.{key}"


def test_an_unknown_name_is_named_at_its_first_row() -> None:
    table = POSITIONS | {"instrument": (np.array([0, 0, 1, 2, 2]), ["BTC", "ETH", "NONE"])}
    with pytest.raises(ac.UnknownNameError) as caught:
        ac.Portfolio.from_tables(VENUE, positions=table)
    assert (caught.value.code, caught.value.row) == ("unknown_instrument", 3)


def test_a_coded_row_given_twice_is_refused_at_the_row() -> None:
    table = {"account": (np.array([0, 1, 0]), ["a", "b"]), "amount": ["1", "2", "3"]}
    with pytest.raises(ac.TableError) as caught:
        ac.Portfolio.from_tables(VENUE, collateral=table)
    assert (caught.value.code, caught.value.row) == ("duplicate_key", 2)


@pytest.mark.parametrize("code", CODERS[1:])
def test_what_is_missing_is_absent(code: Any) -> None:
    table = {"account": ["a", "b"], "pool": code(["own", None]), "amount": ["1", "2"]}
    plain = table | {"pool": ["own", "cross"]}
    digests = {ac.Portfolio.from_tables(VENUE, collateral=t).digest for t in (table, plain)}
    assert len(digests) == 1

"""Venue cards from Python: what they say, and an error for each way to get one wrong."""

from __future__ import annotations

import copy
import json
import pickle
import tomllib
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

import aivora_core as ac

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CARD = """
schema = "aivora-card/0"
name = "test"
title = "A card for tests"
version = "3"
sources = ["invented"]

[asset.USD]
quantum = "0.000001"

[rules]
settlement = "USD"
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
  { floor = "0", cap = "50000", maintenance = "0.004", max_leverage = "125", amount = "0" },
  { floor = "50000", cap = "600000", maintenance = "0.005", max_leverage = "100", amount = "50" },
  { floor = "600000", maintenance = "0.0065", initial = "1/75" },
]
"""


def tree() -> dict[str, Any]:
    return tomllib.loads(CARD)


def instrument(card: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = card["instrument"][0]
    return found


def brackets(card: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = instrument(card)["tiers"]["brackets"]
    return found


def test_a_card_says_what_it_says() -> None:
    venue = ac.Venue.from_toml(CARD)
    assert (venue.name, venue.title, venue.version) == ("test", "A card for tests", "3")
    assert (list(venue.sources), venue.settlement, venue.quantum) == (
        ["invented"],
        "USD",
        Decimal("0.000001"),
    )
    assert venue.text == CARD
    assert len(venue.hash) == 64
    assert [i.symbol for i in venue.instruments] == ["BTC"]
    assert len(venue) == 1
    assert "BTC" in venue
    assert "ETH" not in venue
    assert venue.rules == {
        "settlement": "USD",
        "valuation": None,
        "margin_mode": "single",
        "withdrawal_profit": 0,
        "trigger": "strict",
        "check_on": "mark",
        "maintenance_basis": "mark",
        "initial_basis": "mark",
        "maintenance_from": "explicit",
        "closing_fee": "none",
        "bankruptcy_fee": "none",
        "equity_allotment": "maintenance_share",
        "taker_fee": Fraction(1, 2000),
    }


def test_an_instrument_says_what_it_says() -> None:
    btc = ac.Venue.from_toml(CARD)["BTC"]
    assert (btc.symbol, btc.kind) == ("BTC", "linear")
    grids = (btc.price_tick, btc.mark_tick, btc.lot, btc.multiplier, btc.quantum)
    assert grids == tuple(map(Decimal, ("0.1", "0.01", "0.001", "1", "0.000001")))
    assert btc.quanta_per_mark_tick_and_lot == 10
    assert btc.taker_fee == Fraction(1, 2000)
    assert [tier["deduction"] for tier in btc.tiers] == [0, 50, 950]
    assert btc.tiers[2]["initial"] == Fraction(1, 75)
    assert btc.tiers[1]["floor"] == 50_000


def test_tiers_of_each_kind() -> None:
    card = tree()
    instrument(card)["tiers"] = {
        "by": "size_slope",
        "maintenance_base": "0.01",
        "initial_base": "0.02",
        "slope": "0.00005",
    }
    (tier,) = ac.Venue.from_tree(card)["BTC"].tiers
    assert (tier["maintenance_base"], tier["initial_base"]) == (Fraction(1, 100), Fraction(1, 50))
    assert tier["slope_per_lot"] == Fraction(5, 10**8)
    instrument(card)["tiers"] |= {"by": "value_slope"}
    (value,) = ac.Venue.from_tree(card)["BTC"].tiers
    slope = value.pop("slope_per_quantum")
    assert (slope, value.pop("by")) == (Fraction(5, 10**11), "value_slope")
    assert (tier.pop("slope_per_lot"), tier.pop("by")) == (Fraction(5, 10**8), "size_slope")
    assert value == tier
    root = {"by": "size_root", "maintenance_base": "0.01", "initial_base": "0.02"}
    instrument(card)["tiers"] = {**root, "factor": "0.00005"}
    (tier,) = ac.Venue.from_tree(card)["BTC"].tiers
    assert (tier["by"], tier["factor"]) == ("size_root", Fraction(1, 20_000))
    assert (tier["maintenance_base"], tier["initial_base"]) == (Fraction(1, 100), Fraction(1, 50))
    card = tree()
    instrument(card)["tiers"] = {
        "by": "size",
        "brackets": [
            {"floor": "0", "maintenance": "0.01", "initial": "0.02"},
            {"floor": "1.5", "maintenance": "0.02", "initial": "0.02"},
        ],
    }
    tiers = ac.Venue.from_tree(card)["BTC"].tiers
    assert [(t["by"], t["floor"], t["deduction"]) for t in tiers] == [
        ("size", 0, 0),
        ("size", Decimal("1.5"), 0),
    ]


@pytest.mark.parametrize("name", ac.Venue.builtin_names())
def test_built_in_cards(name: str) -> None:
    venue = ac.Venue.load(name)
    assert venue.name == name
    assert repr(venue) == f"Venue.load({name!r})"
    assert venue.sources


def test_a_card_is_a_value(tmp_path: Path) -> None:
    venue = ac.Venue.from_toml(CARD)
    path = tmp_path / "card.toml"
    path.write_text(CARD, "utf-8")
    same = [
        ac.Venue.from_tree(tree()),
        ac.Venue.from_tree(json.loads(json.dumps(tree()))),
        ac.Venue.from_toml("# a comment\n" + CARD),
        ac.Venue.load(path),
        ac.Venue.load(str(path)),
        pickle.loads(pickle.dumps(venue)),
        pickle.loads(pickle.dumps(ac.Venue.from_tree(tree()))),
        copy.deepcopy(venue),
    ]
    for other in same:
        assert (other, hash(other), other.hash) == (venue, hash(venue), venue.hash)
        assert (other["BTC"], hash(other["BTC"])) == (venue["BTC"], hash(venue["BTC"]))
    btc = venue["BTC"]
    assert pickle.loads(pickle.dumps(btc)) == btc
    changed = tree()
    changed["version"] = "4"
    assert ac.Venue.from_tree(changed) != venue
    assert ac.Venue.from_tree(changed)["BTC"] != btc
    assert venue != "test"


def test_unknown_names(tmp_path: Path) -> None:
    venue = ac.Venue.from_toml(CARD)
    with pytest.raises(ac.UnknownNameError, match="BTC") as caught:
        venue["ETH"]
    assert (caught.value.code, caught.value.value) == ("unknown_instrument", "ETH")
    with pytest.raises(ac.UnknownNameError, match="demo") as caught:
        ac.Venue.load("nowhere")
    assert caught.value.code == "unknown_venue"
    with pytest.raises(ac.AivoraError):
        ac.Venue.load(tmp_path / "none.toml")
    path = tmp_path / "bytes.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ac.CardError):
        ac.Venue.load(path)


def test_text_that_is_no_card() -> None:
    for text in ("", "x", "schema = ", "[instrument", 'schema = "aivora-card/9"', "\x00"):
        with pytest.raises(ac.CardError) as caught:
            ac.Venue.from_toml(text)
        assert caught.value.code == "bad_card"


def test_a_float_in_a_card_is_named_by_its_path() -> None:
    for value in ("0.1", "1e3", "nan", "inf"):
        text = CARD.replace('mark_tick = "0.01"', f"mark_tick = {value}")
        with pytest.raises(ac.AivoraError) as caught:
            ac.Venue.from_toml(text)
        assert caught.value.field == "instrument[0].mark_tick"
        card = tree()
        instrument(card)["mark_tick"] = float(value)
        with pytest.raises(ac.AivoraError) as caught:
            ac.Venue.from_tree(card)
        assert caught.value.field == "instrument[0].mark_tick"


def put(card: dict[str, Any], path: tuple[str | int, ...], value: object) -> None:
    place: Any = card
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value


I = ("instrument", 0)  # noqa: E741 -- the place of the one instrument
B = (*I, "tiers", "brackets")


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (("schema",), None, "bad_card"),
        (("name",), None, "bad_card"),
        (("name",), "A B", "bad_card"),
        (("extra",), "1", "bad_card"),
        (("asset",), None, "bad_card"),
        (("asset", "USD"), {"quantum": "1", "haircut": "0"}, "bad_card"),
        (("asset", "EUR"), {"quantum": "1", "price_tick": "1", "haircut": "0"}, "bad_card"),
        (("rules", "valuation"), "EUR", "bad_card"),
        (("rules", "margin_mode"), "multi", "bad_card"),
        (("rules", "withdrawal_profit"), "1.1", "out_of_range"),
        (("asset", "USD", "quantum"), "0", "out_of_range"),
        (("asset", "USD", "quantum"), "-1", "out_of_range"),
        (("rules", "trigger"), "sometimes", "bad_card"),
        (("rules", "unknown"), "x", "bad_card"),
        (("rules", "settlement"), None, "bad_card"),
        (("rules", "taker_fee"), "1.5", "out_of_range"),
        (("rules", "taker_fee"), "-0.1", "out_of_range"),
        (("rules", "taker_fee"), "x", "not_a_number"),
        (("instrument",), [], "bad_card"),
        (("instrument",), "BTC", "bad_card"),
        ((*I, "symbol"), "", "bad_card"),
        ((*I, "symbol"), None, "bad_card"),
        ((*I, "kind"), "option", "bad_card"),
        ((*I, "settlement"), "EUR", "bad_card"),
        ((*I, "value_rounding"), "per_contract", "off_grid"),
        ((*I, "note"), "x", "bad_card"),
        ((*I, "price_tick"), "0", "out_of_range"),
        ((*I, "price_tick"), "nan", "not_finite"),
        ((*I, "price_tick"), "0.015", "off_grid"),
        ((*I, "mark_tick"), "0.0000001", "off_grid"),
        ((*I, "lot"), "-0.001", "out_of_range"),
        ((*I, "lot"), "1e30", "out_of_range"),
        ((*I, "lot"), "1e37", "overflow"),
        ((*I, "multiplier"), "0", "out_of_range"),
        ((*I, "tiers"), None, "bad_card"),
        ((*I, "tiers", "by"), "mood", "bad_card"),
        ((*I, "tiers", "by"), "size", "bad_tiers"),
        (B, [], "bad_tiers"),
        ((*B, 0, "floor"), "1", "bad_tiers"),
        ((*B, 0, "cap"), "49999", "bad_tiers"),
        ((*B, 0, "cap"), "50001", "bad_tiers"),
        ((*B, 1, "floor"), "0", "bad_tiers"),
        ((*B, 1, "floor"), "0.0000001", "off_grid"),
        ((*B, 1, "maintenance"), "0.003", "bad_tiers"),
        ((*B, 1, "maintenance"), "0", "bad_tiers"),
        ((*B, 1, "maintenance"), "0.02", "bad_tiers"),
        ((*B, 1, "maintenance"), None, "bad_card"),
        ((*B, 1, "max_leverage"), "126", "bad_tiers"),
        ((*B, 1, "max_leverage"), "0.5", "out_of_range"),
        ((*B, 1, "max_leverage"), None, "bad_tiers"),
        ((*B, 1, "initial"), "0.1", "bad_tiers"),
        ((*B, 1, "amount"), "51", "bad_tiers"),
        ((*B, 1, "amount"), "50.000001", "bad_tiers"),
        ((*B, 2, "cap"), "600000", "bad_tiers"),
        ((*B, 2, "note"), "x", "bad_card"),
    ],
)
@pytest.mark.parametrize("read", [ac.Venue.from_tree, lambda c: ac.Venue.from_toml(toml(c))])
def test_a_bad_card_is_named(
    path: tuple[str | int, ...],
    value: object,
    code: str,
    read: Callable[[dict[str, Any]], ac.Venue],
) -> None:
    card = tree()
    put(card, path, value)
    with pytest.raises(ac.AivoraError) as caught:
        read(card)
    error = caught.value
    assert error.code == code, error
    assert error.field
    assert error.limit
    assert error.field in str(error)


SLOPE = {"maintenance_base": "0.01", "initial_base": "0.02", "slope": "0.00005"}
ROOT = {"maintenance_base": "0.01", "initial_base": "0.02", "factor": "0.00005"}


@pytest.mark.parametrize(
    ("by", "changes", "code"),
    [
        *(
            (by, change, code)
            for by in ("size_slope", "value_slope", "size_root")
            for change, code in (
                ({"maintenance_base": None}, "bad_card"),
                ({"initial_base": None}, "bad_card"),
                ({"maintenance_base": "0"}, "bad_tiers"),
                ({"initial_base": "0.009"}, "bad_tiers"),
                ({"maintenance_base": "0.9996", "initial_base": "1"}, "bad_tiers"),  # and the fee
                ({"initial_base": "1.1"}, "out_of_range"),
                ({"maintenance_base": "-0.01"}, "out_of_range"),
                ({"maintenance_base": "x"}, "not_a_number"),
                ({"maintenance_base": 0.01}, "float_given"),
                ({"deduction": "none"}, "bad_card"),
                ({"brackets": []}, "bad_card"),
            )
        ),
        *(
            (by, change, code)
            for by in ("size_slope", "value_slope")
            for change, code in (
                ({"slope": None}, "bad_card"),
                ({"slope": "1.5"}, "out_of_range"),
                ({"slope": "-0.1"}, "out_of_range"),
                ({"slope": "1/2000000001"}, "out_of_range"),
                ({"factor": "0.1"}, "bad_card"),
            )
        ),
        ("size_slope", {"slope": "1/999999937", "initial_base": "1/7"}, "bad_tiers"),
        ("value_slope", {"maintenance_base": "1/999999937"}, "bad_tiers"),
        ("value_slope", {"slope": "1/999999937", "initial_base": "1/999983"}, "bad_tiers"),
        ("size_root", {"factor": None}, "bad_card"),
        ("size_root", {"factor": "1.5"}, "out_of_range"),
        ("size_root", {"factor": "-0.1"}, "out_of_range"),
        ("size_root", {"factor": "0.0000001"}, "bad_tiers"),
        ("size_root", {"slope": "0.1"}, "bad_card"),
        ("size_root", {"maintenance_base": "0.00001"}, "bad_tiers"),
        ("size_root", {"initial_base": "1/3"}, "bad_tiers"),
    ],
)
def test_bad_tiers_without_brackets_are_named(
    by: str, changes: dict[str, object], code: str
) -> None:
    card = tree()
    rows = {"by": by, **(ROOT if by == "size_root" else SLOPE), **changes}
    instrument(card)["tiers"] = {key: value for key, value in rows.items() if value is not None}
    with pytest.raises(ac.AivoraError) as caught:
        ac.Venue.from_tree(card)
    error = caught.value
    assert error.code == code, error
    assert error.field
    assert error.limit
    assert error.field in str(error)


def test_tiers_without_brackets_and_the_rest_of_the_card() -> None:
    card = tree()
    card["rules"]["maintenance_from"] = "half_initial"
    for by, rows in (("size_slope", SLOPE), ("value_slope", SLOPE), ("size_root", ROOT)):
        instrument(card)["tiers"] = {"by": by, **rows}
        with pytest.raises(ac.CardError, match=by) as caught:
            ac.Venue.from_tree(card)
        assert caught.value.code == "bad_tiers"
    card = tree()
    instrument(card)["tiers"] = {"by": "size_root", **ROOT}
    grids = {"lot": "0.0000000001", "mark_tick": "1", "price_tick": "1", "multiplier": "10000"}
    instrument(card).update(grids)
    with pytest.raises(ac.CardError, match="lot") as caught:
        ac.Venue.from_tree(card)
    assert caught.value.code == "bad_tiers"


def toml(value: object) -> str:
    """Write a tree as one TOML document of inline tables."""
    if isinstance(value, dict):
        return "\n".join(f"{key} = {inline(item)}" for key, item in value.items())
    raise TypeError


def inline(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value)


def test_a_symbol_stands_once() -> None:
    card = tree()
    card["instrument"] *= 2
    with pytest.raises(ac.TableError) as caught:
        ac.Venue.from_tree(card)
    assert (caught.value.code, caught.value.field) == ("duplicate_key", "instrument[1].symbol")


def test_limits_are_errors() -> None:
    card = tree()
    card["instrument"] = [dict(instrument(card), symbol=str(n)) for n in range(4097)]
    with pytest.raises(ac.CardError, match="4097"):
        ac.Venue.from_tree(card)
    card = tree()
    row = {"maintenance": "0.01", "initial": "0.02"}
    instrument(card)["tiers"]["brackets"] = [{"floor": str(n), **row} for n in range(65)]
    with pytest.raises(ac.CardError, match="65"):
        ac.Venue.from_tree(card)


def test_nothing_of_a_card_can_be_assigned() -> None:
    venue = ac.Venue.from_toml(CARD)
    for thing, name in ((venue, "name"), (venue["BTC"], "lot")):
        with pytest.raises(AttributeError):
            setattr(thing, name, "x")


ASSETS = """schema = "aivora-card/0"
name = "assets"
[asset.USDT]
quantum = "0.000001"
[asset.BTC]
quantum = "0.00000001"
price_tick = "0.01"
haircuts = [{ floor = "0", haircut = "0.05" }, { floor = "1", haircut = "1/3" }]
liability_weight = "1.1"
[asset.USDC]
quantum = "0.000001"
price_tick = "0.0001"
haircut = "0"
[rules]
settlement = "USDT"
valuation = "USDT"
margin_mode = "multi"
withdrawal_profit = "0.5"
[[instrument]]
symbol = "BTCUSD"
kind = "inverse"
settlement = "BTC"
price_tick = "0.1"
mark_tick = "0.01"
lot = "1"
multiplier = "100"
[instrument.tiers]
by = "notional"
brackets = [{ floor = "0", maintenance = "0.004", max_leverage = "125" }]
"""


def test_assets_and_contracts_say_what_they_say() -> None:
    venue = ac.Venue.from_toml(ASSETS)
    assert list(venue.assets) == ["BTC", "USDC", "USDT"]
    assert venue.assets["USDT"] == {"quantum": Decimal("0.000001")}
    assert venue.assets["BTC"] == {
        "quantum": Decimal("0.00000001"),
        "price_tick": Decimal("0.01"),
        "haircuts": [
            {"floor": 0, "haircut": Fraction(1, 20)},
            {"floor": 1, "haircut": Fraction(1, 3)},
        ],
        "liability_weight": Fraction(11, 10),
    }
    assert venue.rules["valuation"] == "USDT"
    assert venue.rules["withdrawal_profit"] == Fraction(1, 2)
    inverse = venue["BTCUSD"]
    assert (inverse.kind, inverse.settlement, inverse.value_rounding) == (
        "inverse",
        "BTC",
        "position",
    )
    assert inverse.quantum == Decimal("0.00000001")
    assert inverse.quanta_per_mark_tick_and_lot is None


@pytest.mark.parametrize(
    ("line", "wrong", "code"),
    [
        ('haircut = "0"', "", "bad_card"),
        ('haircut = "0"', 'haircut = "1.1"', "out_of_range"),
        ('haircut = "0"', 'haircut = "0"\nhaircuts = []', "bad_card"),
        ('price_tick = "0.0001"', "", "bad_card"),
        ('{ floor = "1", haircut', '{ floor = "0", haircut', "bad_card"),
        ('{ floor = "0", haircut', '{ floor = "0.5", haircut', "bad_card"),
        ('haircut = "1/3"', 'haircut = "0.01"', "bad_card"),
        ('haircut = "1/3"', 'haircut = "1/999999937"', "bad_card"),
        ('floor = "1"', 'floor = "1.000000001"', "off_grid"),
        ('liability_weight = "1.1"', 'liability_weight = "0.9"', "out_of_range"),
        ('price_tick = "0.01"\nhaircuts', 'price_tick = "1e30"\nhaircuts', "out_of_range"),
        ('multiplier = "100"', 'multiplier = "1e12"', "out_of_range"),
        ('multiplier = "100"', 'multiplier = "0.00000000000001"', "off_grid"),
    ],
)
def test_a_bad_asset_or_contract_is_named(line: str, wrong: str, code: str) -> None:
    assert line in ASSETS
    with pytest.raises(ac.AivoraError) as caught:
        ac.Venue.from_toml(ASSETS.replace(line, wrong))
    assert caught.value.code == code, caught.value
    assert caught.value.field
    assert caught.value.limit

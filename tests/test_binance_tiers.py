"""Every bracket list that Binance published is derived: each maintenance amount, exactly."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

import aivora_core as ac

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def published(data_dir: Path) -> dict[str, list[dict[str, Any]]]:
    text = (data_dir / "binance_leverage_tiers_2024-10.json").read_text("utf-8")
    symbols: dict[str, list[dict[str, Any]]] = json.loads(text)
    return {symbol: [tier["info"] for tier in tiers] for symbol, tiers in symbols.items()}


def bracket(info: dict[str, str], *, amount: bool) -> dict[str, str]:
    found = {
        "floor": info["notionalFloor"],
        "cap": info["notionalCap"],
        "maintenance": info["maintMarginRatio"],
        "max_leverage": info["initialLeverage"],
    }
    return found | ({"amount": info["cum"]} if amount else {})


def card(symbols: dict[str, list[dict[str, str]]], *, amount: bool = True) -> dict[str, Any]:
    """Write a card of these bracket lists; its grids are made up, and fine enough for all."""
    return {
        "schema": "aivora-card/0",
        "name": "binance",
        "asset": {"USD": {"quantum": "0.000001"}},
        "rules": {"settlement": "USD"},
        "instrument": [
            {
                "symbol": symbol,
                "kind": "linear",
                "price_tick": "0.01",
                "mark_tick": "0.01",
                "lot": "0.001",
                "tiers": {
                    "by": "notional",
                    "deduction": "derived",
                    "brackets": [bracket(info, amount=amount) for info in infos],
                },
            }
            for symbol, infos in symbols.items()
        ],
    }


def test_every_published_amount_is_derived(published: dict[str, list[dict[str, str]]]) -> None:
    assert len(published) == 349
    venue = ac.Venue.from_tree(card(published, amount=False))
    checked = 0
    for symbol, infos in published.items():
        tiers = venue[symbol].tiers
        assert len(tiers) == len(infos)
        for tier, info in zip(tiers, infos, strict=True):
            assert Fraction(tier["deduction"]) == Fraction(info["cum"]), (symbol, info)
            assert Fraction(tier["maintenance"]) == Fraction(info["maintMarginRatio"])
            assert Fraction(tier["initial"]) == 1 / Fraction(info["initialLeverage"])
            assert Fraction(tier["floor"]) == Fraction(info["notionalFloor"])
            checked += 1
    assert checked == 2805


def test_the_published_amounts_load_as_they_stand(
    published: dict[str, list[dict[str, str]]],
) -> None:
    assert len(ac.Venue.from_tree(card(published))) == 349


def test_one_wrong_amount_is_found(published: dict[str, list[dict[str, str]]]) -> None:
    for symbol in list(published)[::50]:
        infos = [dict(info) for info in published[symbol]]
        infos[-1]["cum"] = str(Fraction(infos[-1]["cum"]) + 1)
        with pytest.raises(ac.CardError) as caught:
            ac.Venue.from_tree(card({symbol: infos}))
        assert caught.value.code == "bad_tiers"
        assert caught.value.field == f"instrument[0].tiers.brackets[{len(infos) - 1}].amount"

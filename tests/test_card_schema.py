"""The schema of cards says what the reader says: the same keys, the same words, the same cards."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import aivora_core as ac
from aivora_core.formulas import FORMULAS

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = json.loads((ROOT / "docs" / "reference" / "card.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
NAMES = ac.Venue.builtin_names()
RULES = SCHEMA["$defs"]["rules"]["properties"]


def tree(name: str) -> dict[str, Any]:
    return tomllib.loads(ac.Venue.load(name).text)


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", NAMES)
def test_built_in_cards_keep_to_it(name: str) -> None:
    found = [f"{own.json_path}: {own.message}" for own in VALIDATOR.iter_errors(tree(name))]
    assert found == []


FULL: dict[str, Any] = {
    "index": {"blend": "median", "max_age": "5s", "sources": [{"name": "a"}]},
    "mark": {"terms": [{"rule": "fair", "interval": "8h"}]},
    "funding": {"interval": "8h", "timing": "discrete", "paid_on": "mark"},
    "validity": {"refuses": {"fill": []}},
    "fees": {"levels": [{"name": "all", "maker": "-0.0001", "taker": "0.0005"}]},
    "liquidation": {"close": "full", "fee": "0", "adl": "size"},
    "step": {"limit": "fillable"},
    "adl": {"trigger": "0.3"},
    "band": {"of": "mark", "down": "0.1", "up": "0.1"},
    "throttle": [{"what": "orders", "by": "account", "most": 1, "every": "1s"}],
    "outflow": [{"window": "h", "every": "1h", "least": "1", "share": "0.1"}],
    "open_interest": {"BTC-PERP": {"lower": "1", "upper": "2"}},
    "rounding": {"fee": {"to": "0.01", "mode": "ceil"}},
    "failure": {"outage": "resume"},
}

PLACES: list[tuple[tuple[str | int, ...], Any]] = [
    ((), SCHEMA),
    (("rules",), SCHEMA["$defs"]["rules"]),
    (("definition",), SCHEMA["properties"]["definition"]),
    (("definition", "mark"), SCHEMA["$defs"]["definition"]["oneOf"]),
    (("definition", "mark", "reading", 0), SCHEMA["$defs"]["reading"]),
    (("asset", "USDT"), SCHEMA["$defs"]["asset"]),
    (("instrument", 0), SCHEMA["$defs"]["instrument"]),
    (("instrument", 0, "tiers"), SCHEMA["$defs"]["tiers"]["oneOf"][0]),
    (("instrument", 0, "tiers", "brackets", 0), SCHEMA["$defs"]["bracket"]),
    (("rules", "index", "sources", 0), RULES["index"]["properties"]["sources"]["items"]),
    (("rules", "mark", "terms", 0), SCHEMA["$defs"]["term"]["oneOf"][1]),
    (("rules", "validity", "refuses"), RULES["validity"]["properties"]["refuses"]),
    (("rules", "fees", "levels", 0), RULES["fees"]["properties"]["levels"]["items"]),
    (("rules", "throttle", 0), RULES["throttle"]["items"]),
    (("rules", "outflow", 0), RULES["outflow"]["items"]),
    (("rules", "open_interest", "BTC-PERP"), RULES["open_interest"]["additionalProperties"]),
    (("rules", "rounding", "fee"), SCHEMA["$defs"]["formula_rounding"]),
    (("rules", "band"), RULES["band"]["oneOf"][0]),
    *[
        (("rules", key), RULES[key])
        for key in ("index", "mark", "funding", "validity", "fees", "step", "adl", "failure")
    ],
]


def keys(schema: Any) -> set[str]:
    """All keys of a table: of one schema, or of several that it may keep to."""
    several = schema if isinstance(schema, list) else [schema]
    return {key for own in several for key in own["properties"]}


@pytest.mark.parametrize(("path", "schema"), PLACES, ids=[".".join(map(str, p)) for p, _ in PLACES])
def test_the_reader_allows_the_keys_of_the_schema(path: tuple[str | int, ...], schema: Any) -> None:
    card = tree("reference")
    card["rules"] |= copy.deepcopy(FULL)
    card["definition"]["mark"]["reading"] = [{"says": "otherwise"}]
    assert ac.Venue.from_tree(card).name == "reference"
    assert list(VALIDATOR.iter_errors(card)) == []
    node: Any = card
    for key in path:
        node = node[key]
    node["zzz"] = "1"
    with pytest.raises(ac.CardError) as caught:
        ac.Venue.from_tree(card)
    allowed = re.search(r"allowed are (.*)$", str(caught.value.limit))
    assert allowed, caught.value
    assert set(allowed.group(1).split(", ")) == keys(schema)
    assert list(VALIDATOR.iter_errors(card)) != []


def test_the_schema_knows_every_formula() -> None:
    assert list(RULES["rounding"]["properties"]) == list(FORMULAS)


@pytest.mark.parametrize("key", [*FULL, "definition"])
def test_a_card_of_version_0_has_none_of_these(key: str) -> None:
    card = tree("demo")
    where = card if key == "definition" else card["rules"]
    where[key] = {"trigger": {}} if key == "definition" else FULL[key]
    assert list(VALIDATOR.iter_errors(card)) != []
    with pytest.raises(ac.CardError, match="aivora-card/1"):
        ac.Venue.from_tree(card)


WRONG: list[tuple[tuple[str | int, ...], Any]] = [
    (("rules", "funding", "interval"), "8"),
    (("rules", "funding", "timing"), "sometimes"),
    (("rules", "step", "limit"), "none"),
    (("rules", "throttle", 0, "every"), 5),
    (("rules", "throttle"), []),
    (("rules", "rounding", "fee", "mode"), "up"),
    (("rules", "rounding", "fees"), {"to": "1", "mode": "ceil"}),
    (("rules", "liquidation", "close"), "half"),
    (("rules", "liquidation", "share"), "0.5"),
    (("rules", "validity", "refuses", "fill"), ["old"]),
    (("rules", "taker_fee"), 0.0005),
    (("definition", "mark", "sure"), "perhaps"),
    (("instrument", 0, "tiers", "by"), "mood"),
    (("instrument", 0, "tiers", "brackets", 0, "initial"), "0.01"),
]


@pytest.mark.parametrize(("path", "value"), WRONG, ids=[".".join(map(str, p)) for p, _ in WRONG])
def test_what_the_schema_refuses_the_reader_does(path: tuple[str | int, ...], value: Any) -> None:
    card = tree("reference")
    card["rules"] |= copy.deepcopy(FULL)
    node: Any = card
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    assert list(VALIDATOR.iter_errors(card)) != []
    with pytest.raises(ac.AivoraError) as caught:
        ac.Venue.from_tree(card)
    assert caught.value.field
    assert caught.value.limit

"""The built-in cards: each loads, round-trips, runs, and says where it knows something from."""

from __future__ import annotations

import copy
import json
import tomllib
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

import aivora_core as ac
from aivora_core import pricing, scorecard
from aivora_core.audit import oracle
from aivora_core.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = [name for name in ac.Venue.builtin_names() if name != "demo"]


def tree(name: str = "reference") -> dict[str, Any]:
    return copy.deepcopy(tomllib.loads(ac.Venue.load(name).text))


@pytest.mark.parametrize("name", NAMES)
def test_a_card_round_trips_to_the_same_hash(name: str) -> None:
    venue = ac.Venue.load(name)
    assert ac.Venue.from_tree(tree(name)).hash == venue.hash
    assert ac.Venue.from_tree(json.loads(json.dumps(tree(name)))).hash == venue.hash
    assert oracle.Card.from_tree(tree(name)).name == name


@pytest.mark.parametrize("name", NAMES)
def test_a_card_runs_on_generated_accounts(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--venue", name, "--accounts", "300", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["venue"] == name


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_said_says_what_was_looked_for(name: str) -> None:
    for figure, row in ac.Venue.load(name).definitions.items():
        if row["state"] == "unsaid":
            assert row["unsaid"], figure
            assert row["says"] is None
        else:
            assert row["says"], figure
            assert row["source"], figure
            assert row["date"], figure
            assert row["sure"], figure


@pytest.mark.parametrize("name", NAMES)
def test_no_venues_figure_is_our_own(name: str) -> None:
    own = {row["sure"] for row in ac.Venue.load(name).definitions.values()} - {None}
    assert own == {"own"} if name == "reference" else "own" not in own


def without(path: str) -> Callable[[dict[str, Any]], None]:
    *way, last = path.split(".")

    def change(card: dict[str, Any]) -> None:
        for key in way:
            card = card[key]
        del card[last]

    return change


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    *way, last = path.split(".")

    def change(card: dict[str, Any]) -> None:
        for key in way:
            card = card[key]
        card[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "code", "field", "limit"),
    [
        (without("definition"), "bad_card", "definition", "required"),
        (without("definition.trigger"), "bad_card", "definition.trigger", "required"),
        (without("rules.trigger"), "bad_card", "rules.trigger", "required"),
        (without("rules.check_on"), "bad_card", "rules.check_on", "required"),
        (put("rules.triger", "strict"), "bad_card", "rules.triger", "nearest: trigger"),
        (put("definition.marc", {}), "bad_card", "definition.marc", "nearest: mark"),
        (put("rules.index.max_age", 10), "bad_card", "rules.index.max_age", "with a unit"),
        (put("rules.index.max_age", "10"), "bad_card", "rules.index.max_age", "with a unit"),
        (put("rules.index.max_age", "13d"), "out_of_range", "rules.index.max_age", "at most"),
        (put("rules.index.outlier", "1.5"), "out_of_range", "rules.index.outlier", "at most 1"),
        (put("rules.index.blend", "medain"), "bad_card", "rules.index.blend", "nearest: median"),
        (
            put("rules.mark.terms", [{"rule": "fare", "interval": "8h"}]),
            "bad_card",
            "rules.mark.terms[0].rule",
            "nearest: fair",
        ),
        (
            put("rules.mark.terms", [{"rule": "fair"}]),
            "bad_card",
            "rules.mark.terms[0].interval",
            "required",
        ),
        (put("rules.mark.min_terms", 4), "out_of_range", "rules.mark.min_terms", "1 to"),
        (put("rules.funding.interval", "90s"), "out_of_range", "rules.funding.interval", "samples"),
        (put("rules.funding.dead_band", "0.1"), "bad_card", "rules.funding.dead_band", "instead"),
        (put("rules.validity.volatile", "1/2"), "out_of_range", "rules.validity.volatile", "1"),
        (put("definition.mark.sure", "maybe"), "bad_card", "definition.mark.sure", "official"),
        (put("definition.mark.unsaid", "it"), "bad_card", "definition.mark.says", "beside"),
        (without("definition.mark.source"), "bad_card", "definition.mark.source", "required"),
        (
            put("definition.mark.parameters", {"window": [1]}),
            "bad_card",
            "definition.mark.parameters.window",
            "text",
        ),
        (
            put("definition.mark.reading", [{"says": "so", "rules": {"trigger": "never"}}]),
            "bad_card",
            "definition.mark.reading[0].rules.trigger",
            "strict",
        ),
        (put("schema", "aivora-card/0"), "bad_card", "rules.index", "aivora-card/1"),
    ],
)
def test_a_wrong_card_names_place_value_and_what_is_allowed(
    change: Callable[[dict[str, Any]], None], code: str, field: str, limit: str
) -> None:
    card = tree()
    change(card)
    with pytest.raises(ac.AivoraError) as caught:
        ac.Venue.from_tree(card)
    error = caught.value
    assert (error.code, error.field) == (code, field)
    assert limit in str(error)


def test_a_definition_changes_the_hash_and_nothing_that_runs() -> None:
    card = tree()
    card["definition"]["mark"]["says"] += " "
    other = ac.Venue.from_tree(card)
    reference = ac.Venue.load("reference")
    assert other.hash != reference.hash
    assert [row.where for row in scorecard.differences(reference, other)] == [
        "definition.mark.says"
    ]


def test_a_card_that_says_nothing_of_a_price_gives_none() -> None:
    for make in (pricing.Mark.of, pricing.Index.of):
        with pytest.raises(ac.CardError, match="unsaid"):
            make(ac.Venue.load("gate"), "ETH_USDT")
    with pytest.raises(ac.CardError, match="unsaid"):
        pricing.Funding.of(ac.Venue.load("okx-swap"))
    with pytest.raises(ac.CardError, match="unsaid"):
        pricing.Limits.of(ac.Venue.load("bitmex"))


def test_funding_of_a_card_is_its_rule() -> None:
    # Hyperliquid's example: a premium of 1% and an interest of 0.01% give 0.95% in eight hours.
    paid = pricing.Funding.of(ac.Venue.load("hyperliquid"))
    found = paid.rates([10**10] * paid.samples)
    assert Fraction(int(found[0]), 10**12) == Fraction(95, 10_000) / 8
    # Deribit's dead band is in words only; that of a rule leaves what is beyond it.
    assert pricing.funding_rates([198_000_000], 1, dead_band="0.00025").tolist() == [0]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["venues", "show", "nowhere"], "unknown_venue"),
        (["venues", "show", "gate", "marc"], "out_of_range"),
    ],
)
def test_bad_input_of_the_command(
    arguments: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["code"] == code


def test_the_commands_tell(capsys: pytest.CaptureFixture[str]) -> None:
    def told(*arguments: str) -> dict[str, Any]:
        assert main([*arguments, "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    assert [row["name"] for row in told("venues", "list")["venues"]][1:] == NAMES
    assert told("venues", "show", "bitmex", "mark")["definitions"]["mark"]["sure"] == "payload"

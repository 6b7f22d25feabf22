"""What cards leave open is priced, what two of them have differently is said, and what it does."""

from __future__ import annotations

import copy
import doctest
import json
import tomllib
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

import aivora_core as ac
from aivora_core import demo, scorecard
from aivora_core.cli import main

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [name for name in ac.Venue.builtin_names() if ac.Venue.load(name).definitions]
GONE = object()
REFERENCE = ac.Venue.load("reference").text
REGULAR = {"name": "regular", "maker": "0.0002", "taker": "0.0005"}
VIP = {"name": "vip", "volume": "1000000", "maker": "-0.0001", "taker": "0.0003"}
BTC_ETH = 'maintenance = "0.005", max_leverage = "100"'


def tree(text: str = REFERENCE) -> dict[str, Any]:
    return copy.deepcopy(tomllib.loads(text))


def changed(way: tuple[str | int, ...], value: Any, text: str = REFERENCE) -> ac.Venue:
    """A card with another value at one place, or nothing there."""
    card: Any = tree(text)
    part = card
    for key in way[:-1]:
        part = part[key]
    if value is GONE:
        del part[way[-1]]
    else:
        part[way[-1]] = value
    return ac.Venue.from_tree(card)


def told(old: ac.Venue, new: ac.Venue) -> list[str]:
    return [str(row) for row in scorecard.differences(old, new)]


# --- score ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_score_counts_the_definitions_of_the_card(name: str) -> None:
    venue = ac.Venue.load(name)
    found = scorecard.score(venue)
    for state in ("defined", "contradictory", "unsaid"):
        listed = [figure for figure, row in venue.definitions.items() if row["state"] == state]
        assert list(getattr(found, state)) == listed
    assert all((says is None) == (name in found.unsaid) for name, says in found.failures.items())


def liquidation(mmr: Fraction, fee: Fraction, at_entry: bool) -> Fraction:  # noqa: FBT001
    """A long of 10 at 3000 with 3000: where 3000 + 10 (P - 3000) is what it must have."""
    need = (mmr + fee) if not at_entry else fee
    fixed = 30_000 * mmr if at_entry else 0
    return Fraction(27_000 + fixed) / (10 * (1 - need))


def position(quantity: int, amount: int) -> dict[str, Any]:
    row = {"account": "a", "instrument": "ETH_USDT", "quantity": quantity, "entry": 3000}
    return {"positions": [row], "collateral": [{"account": "a", "amount": amount}]}


def test_ambiguity_is_the_spread_over_all_readings() -> None:
    gate = ac.Venue.load("gate")
    (found,) = scorecard.ambiguity(gate, position(10, 3000), {"ETH_USDT": 3000})
    mmr, fee = Fraction(5, 1_000), Fraction(75, 100_000)
    said, entry = liquidation(mmr, fee, at_entry=False), liquidation(mmr, fee, at_entry=True)
    for price, exact in ((found.said, said), (found.nearest, max(said, entry))):
        assert price is not None
        assert abs(Fraction(price) - exact) <= Fraction(1, 100)
    assert found.nearest is not None
    assert found.hidden == 3000 / (3000 - Fraction(found.nearest)) - 3000 / (
        3000 - Fraction(found.said or 0)
    )
    assert found.hidden > 0
    figures = {own.figure for own in scorecard.readings(gate)}
    assert found.count <= 3 ** len(figures)
    assert (found.fires, found.fires_by) == (False, None)


def test_past_liquidation_there_is_no_hidden_leverage() -> None:
    (found,) = scorecard.ambiguity(ac.Venue.load("gate"), position(10, 10), {"ETH_USDT": 3000})
    assert found.fires
    assert found.fires_by == ()
    assert (found.said, found.nearest, found.hidden) == (None, None, None)


def at_entry() -> ac.Venue:
    """A card of which it is also said that maintenance is taken of the entry."""
    reading = {
        "says": "Maintenance is taken of the entry.",
        "rules": {"maintenance_basis": "entry"},
    }
    return changed(("definition", "maintenance", "reading"), [reading])


def long(entry: int, amount: str) -> dict[str, Any]:
    row = {"account": "a", "instrument": "BTC-PERP", "quantity": 1, "entry": entry}
    return {"positions": [row], "collateral": [{"account": "a", "amount": amount}]}


def test_an_account_that_only_a_reading_liquidates_now_is_said_to_be_so() -> None:
    # Equity is 365; of the mark 320 are required and of the entry 350, with a fee of 32.
    (found,) = scorecard.ambiguity(at_entry(), long(70_000, "6365"), {"BTC-PERP": 64_000})
    assert not found.fires
    assert found.fires_by == ("maintenance",)
    assert found.hidden is None
    assert found.said is not None
    assert found.said == found.nearest == found.farthest


def test_where_no_price_liquidates_a_fall_to_nothing_stands_for_it() -> None:
    (found,) = scorecard.ambiguity(at_entry(), long(64_000, "64000"), {"BTC-PERP": 64_000})
    assert found.said is None
    assert found.farthest is None
    assert found.nearest is not None
    assert found.hidden == 64_000 / (64_000 - Fraction(found.nearest)) - 1
    # A cent of collateral less, and there is a price, next to nothing: no jump.
    (other,) = scorecard.ambiguity(at_entry(), long(64_000, "63999.99"), {"BTC-PERP": 64_000})
    assert other.said is not None
    assert other.hidden is not None
    assert abs(other.hidden - found.hidden) < Fraction(1, 1_000)


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("leverage", [1, 5, 25, 100])
@pytest.mark.parametrize("name", NAMES)
def test_the_standard_account_is_one_that_the_card_allows(
    name: str, leverage: int, side: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["venues", "score", name, "--side", side, "--leverage", str(leverage), "--json"]
    assert main(words) == 0
    (spread,) = json.loads(capsys.readouterr().out)["spreads"]
    assert not spread["fires"]
    assert (spread["hidden"] is None) == (spread["fires_by"] is not None)
    assert (spread["hidden"] or 0) >= 0
    below = side == "long"
    for price in (spread["said"], spread["nearest"], spread["farthest"]):
        assert price is None or (Decimal(price) < Decimal(spread["mark"])) == below


# --- differences ---------------------------------------------------------------------------------

BRACKETS = ("instrument", 0, "tiers", "brackets")
MARK, FUNDING = ("rules", "mark"), ("rules", "funding")


@pytest.mark.parametrize(
    ("way", "value", "says"),
    [
        (
            ("rules", "trigger"),
            "non_strict",
            "rules.trigger: a tie now liquidates (was: strict) (stricter)",
        ),
        (
            ("rules", "closing_fee"),
            "none",
            (
                "rules.closing_fee: no fee of closing stands in the requirement now (was: mark) "
                "(looser)"
            ),
        ),
        (
            ("rules", "closing_fee"),
            "bankruptcy",
            (
                "rules.closing_fee: the taker fee at the bankruptcy price now stands in the "
                "requirement (was: mark)"
            ),
        ),
        (
            ("rules", "maintenance_basis"),
            "entry",
            "rules.maintenance_basis: maintenance is now taken of the entry (was: mark)",
        ),
        (("rules", "check_on"), "block", "rules: the check is made on mark -> block"),
        (("rules", "taker_fee"), "0.00050", None),
        (
            ("rules", "withdrawal_profit"),
            "0.5",
            "rules: part of profit that backs a withdrawal 0% -> 50%",
        ),
        (("rules", "withdrawal_profit"), GONE, None),
        ((*MARK, "step"), "0.01", "rules.mark: step 2% -> 1% (moves less with an update)"),
        ((*MARK, "step"), "0.025", "rules.mark: step 2% -> 2.5% (moves more with an update)"),
        ((*MARK, "step"), GONE, "rules.mark: step 2% -> none"),
        (
            (*MARK, "terms", 1, "samples"),
            60,
            "rules.mark.terms, basis: samples 30 -> 60",
        ),
        (
            (*MARK, "terms", 2),
            {"rule": "last"},
            "rules.mark.terms, book_median: no longer there|rules.mark.terms, last: added",
        ),
        (
            ("rules", "fees"),
            {"levels": [REGULAR | {"maker": "0.0001"}]},
            "rules.fees.levels, regular: maker fee 0.02% -> 0.01% (looser)",
        ),
        (
            ("rules", "fees"),
            {"levels": [REGULAR, VIP]},
            "rules.fees.levels, vip: added: maker -0.01%, taker 0.03%, volume 1000000",
        ),
        (("rules", "band", "down"), "0.03", "rules.band: down 2% -> 3%"),
        (
            ("rules", "band", "instrument"),
            {"ETH-PERP": {"of": "mark", "down": "0.1", "up": "0.1"}},
            "rules.band.instrument: now said: ETH-PERP of mark, down 10%, up 10%",
        ),
        (("rules", "liquidation", "fee"), "0.01", "rules.liquidation: fee 0.5% -> 1% (stricter)"),
        (("rules", "mark"), GONE, "rules.mark: no longer in the card"),
        ((*FUNDING, "cap"), "0.003", "rules.funding: cap 0.5% -> 0.3%"),
        (("rules", "index", "outlier"), "0.05", "rules.index: distance of an outlier 3% -> 5%"),
        (("rules", "index", "max_age"), "5s", "rules.index: greatest age of a source 10s -> 5s"),
        (
            (*BRACKETS, 0, "maintenance"),
            "0.009",
            "BTC-PERP, bracket from 0: maintenance 0.5% -> 0.9% (stricter)",
        ),
        (
            (*BRACKETS, 1, "maintenance"),
            "0.0075",
            "BTC-PERP, bracket from 1,000,000: maintenance 1% -> 0.75% (looser)",
        ),
        (
            (*BRACKETS, 1, "max_leverage"),
            "40",
            "BTC-PERP, bracket from 1,000,000: max leverage 50 -> 40 (stricter)",
        ),
        (
            (*BRACKETS, 3),
            {"floor": "50000000", "maintenance": "0.05", "initial": "0.15"},
            "BTC-PERP, bracket from 50,000,000: initial 10% -> 15% (stricter)",
        ),
        (
            (*BRACKETS, 3),
            {"floor": "50000000", "maintenance": "0.05", "initial": "1/9"},
            "BTC-PERP, bracket from 50,000,000: max leverage 10 -> 9 (stricter)",
        ),
        ((*BRACKETS, 3), {"floor": "50000000", "maintenance": "0.05", "initial": "0.1"}, None),
        (
            (*BRACKETS, 3),
            {"floor": "50000000", "maintenance": "0.05", "max_leverage": "10", "cap": "90000000"},
            "BTC-PERP: the cap of the last bracket, which is only recorded: None -> 90000000",
        ),
        (
            ("instrument", 0, "tiers", "deduction"),
            GONE,
            (
                "BTC-PERP: a bracket's rate now holds for the whole position, without deductions "
                "(stricter)"
            ),
        ),
        (("instrument", 0, "lot"), "0.01", "BTC-PERP: lot 0.001 -> 0.01"),
        (("instrument", 0, "taker_fee"), "0.0004", "BTC-PERP: taker fee none -> 0.04%"),
        (("instrument", 1), GONE, "instrument ETH-PERP: no longer in the card"),
        (
            ("definition", "mark", "says"),
            "Another.",
            "definition.mark: the sentence changed: Another. (was: ",
        ),
        (("definition", "mark", "source"), "a page", "definition.mark: the source changed: "),
        (("definition", "outage"), {"unsaid": "what then"}, "definition.outage: no longer said: "),
        (
            ("definition", "fees", "parameters", "maker"),
            "0.0001",
            "definition.fees: maker 0.0002 -> 0.0001",
        ),
        (
            ("definition", "mark", "reading"),
            [{"says": "So."}],
            "definition.mark: another reading added: So.",
        ),
        (("version",), "next", "version: "),
        (("sources",), ["a page"], "sources: no longer "),
    ],
)
def test_a_difference_is_a_sentence(
    way: tuple[str | int, ...], value: Any, says: str | None
) -> None:
    old, new = ac.Venue.load("reference"), changed(way, value)
    found = told(old, new)
    if says is None:
        assert found == []
        return
    for sentence, own in zip(says.split("|"), found, strict=way[0] != "sources"):
        assert own.startswith(sentence) if sentence.endswith(" ") else own == sentence
    back = scorecard.differences(new, old)
    turned = {None: None, "stricter": "looser", "looser": "stricter"}
    pairs = zip(back, scorecard.differences(old, new), strict=True)
    assert way[0] == "sources" or all(b.direction == turned[f.direction] for b, f in pairs)


def test_the_taker_fee_of_a_venue_and_of_an_instrument() -> None:
    text = ac.Venue.load("demo").text
    old, less = ac.Venue.from_toml(text), text.replace("0.0005", "0.0004")
    assert told(old, ac.Venue.from_toml(less)) == ["rules: taker fee 0.05% -> 0.04% (looser)"]
    own = text.replace('kind = "linear"', 'kind = "linear"\ntaker_fee = "0.001"', 1)
    more = own.replace('"0.001"\nprice_tick', '"0.00125"\nprice_tick', 1)
    found = told(ac.Venue.from_toml(own), ac.Venue.from_toml(more))
    assert found == ["BTC: taker fee 0.1% -> 0.125% (stricter)"]
    without = text.replace('taker_fee = "0.0005"', "").replace('"taker"', '"none"')
    assert "rules: taker fee none -> 0.05%" in told(ac.Venue.from_toml(without), old)


def test_brackets_that_come_and_go_are_told_by_what_held_there() -> None:
    old = ac.Venue.load("reference")
    rows = tree()["instrument"][0]["tiers"]["brackets"]
    rows[0]["cap"] = "250000"
    middle = {"floor": "250000", "cap": "1000000", "maintenance": "0.0075", "max_leverage": "75"}
    new = changed(BRACKETS, [rows[0], middle, *rows[1:]])
    at = "BTC-PERP, bracket from 250,000"
    assert told(old, new) == [
        f"{at} added: maintenance 0.5% -> 0.75%, max leverage 100 -> 75 (stricter)"
    ]
    assert told(new, old) == [
        f"{at} no longer there: maintenance 0.75% -> 0.5%, max leverage 75 -> 100 (looser)"
    ]
    middle |= {"maintenance": "0.005", "max_leverage": "100"}
    same = changed(BRACKETS, [rows[0], middle, *rows[1:]])
    assert told(old, same) == [
        f"{at} added: maintenance 0.5% as before, max leverage 100 as before"
    ]


def test_rates_that_go_both_ways_have_no_direction() -> None:
    rows = tree()["instrument"][0]["tiers"]["brackets"]
    rows[0]["cap"] = "250000"
    middle = {"floor": "250000", "cap": "1000000", "maintenance": "0.0075", "max_leverage": "100"}
    old = changed(BRACKETS, [rows[0], middle | {"max_leverage": "60"}, *rows[1:]])
    rows[0] |= {"cap": "1000000", "maintenance": "0.0080"}
    new = changed(BRACKETS, rows)
    found = told(old, new)
    assert found[0].endswith("maintenance 0.5% -> 0.8% (stricter)")
    # At 250,000 maintenance rises from 0.75% to 0.8% while leverage rises from 60 to 100.
    assert found[1].endswith("maintenance 0.75% -> 0.8%, max leverage 60 -> 100")


def test_tiers_of_another_kind_are_another_table() -> None:
    slope = {
        "by": "size_slope",
        "maintenance_base": "0.01",
        "initial_base": "0.02",
        "slope": "0.01",
    }
    new = changed(("instrument", 0, "tiers"), slope)
    assert told(ac.Venue.load("reference"), new) == [
        "BTC-PERP: tiers are now a slope by size (were: by value): another table"
    ]
    steeper = changed(("instrument", 0, "tiers"), slope | {"slope": "0.02"})
    assert told(new, steeper) == [
        "BTC-PERP: both rates, for each unit more, by 1% -> 2% (stricter)"
    ]


def test_half_the_initial_rate_is_a_rate_in_force() -> None:
    card = tree()
    card["rules"]["maintenance_from"] = "half_initial"
    for instrument in card["instrument"]:
        for row in instrument["tiers"]["brackets"]:
            del row["maintenance"]
    # In every bracket of the card maintenance is half of one over the leverage.
    assert told(ac.Venue.load("reference"), ac.Venue.from_tree(card)) == [
        "rules.maintenance_from: maintenance rates are now half the initial ones (was: explicit)"
    ]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            'liability_weight = "1.1"',
            'liability_weight = "1.2"',
            "asset BTC: liability weight 1.1 -> 1.2 (stricter)",
        ),
        ('liability_weight = "1.1"', "", "asset BTC: liability weight 1.1 -> 1 (looser)"),
        (
            'haircut = "0.1"',
            'haircut = "0.125"',
            "asset BTC, slice from 1: haircut 10% -> 12.5% (stricter)",
        ),
        (
            '{ floor = "1", ',
            '{ floor = "1", haircut = "0.07" }, { floor = "2", ',
            (
                "asset BTC, slice from 1: haircut 10% -> 7% (looser)|asset BTC, slice from 2 "
                "added: haircut 7%"
            ),
        ),
        (
            'haircuts = [{ floor = "0", haircut = "0.05" }, { floor = "1", haircut = "0.1" }]',
            'haircut = "0.05"',
            "asset BTC, slice from 1 no longer there: haircut 10% -> 5% (looser)",
        ),
        ('price_tick = "0.01"', 'price_tick = "0.1"', "asset BTC: price tick 0.01 -> 0.1"),
    ],
)
def test_haircuts_and_weights_of_assets(venue: ac.Venue, old: str, new: str, says: str) -> None:
    found = told(venue, ac.Venue.from_toml(venue.text.replace(old, new)))
    if "added" in says:  # the slice from 2 has what held from 1 before
        says = says.replace("added: haircut 7%", "added: haircut 10% as before")
    assert found == says.split("|")


def test_sources_of_an_index_are_matched_by_name() -> None:
    sources = [{"name": "a", "weight": 2}, {"name": "b"}, {"name": "c"}]
    old = changed(("rules", "index", "sources"), sources)
    new = changed(
        ("rules", "index", "sources"), [sources[1], {"name": "a", "weight": 3}, {"name": "d"}]
    )
    assert told(old, new) == [
        "rules.index.sources, a: weight 2 -> 3",
        "rules.index.sources, c: no longer there",
        "rules.index.sources, d: added",
    ]


def test_throttles_are_matched_by_place() -> None:
    rows = [{"what": "orders", "by": "account", "most": n, "every": "1s"} for n in (10, 20)]
    old, new = changed(("rules", "throttle"), rows[:1]), changed(("rules", "throttle"), rows[1:])
    assert told(old, new) == ["rules.throttle, 1: most 10 -> 20"]


def test_terms_that_share_a_name_are_matched_by_place() -> None:
    terms = [{"rule": "basis", "of": "mid", "samples": n, "every": "1s"} for n in (30, 60)]
    old = changed((*MARK, "terms"), [*terms, {"rule": "last"}])
    new = changed((*MARK, "terms"), [terms[0], terms[1] | {"samples": 90}, {"rule": "last"}])
    (found,) = scorecard.differences(old, new)
    assert found.where == "rules.mark.terms[2].samples"
    assert found.says == "rules.mark.terms, 2: samples 60 -> 90"


@pytest.mark.parametrize("name", ac.Venue.builtin_names())
def test_a_card_differs_from_all_but_itself(name: str) -> None:
    for other in ac.Venue.builtin_names():
        found = scorecard.differences(ac.Venue.load(name), ac.Venue.load(other))
        assert bool(found) == (name != other)
        assert all(row.says and "None" not in row.says.split(": ")[0] for row in found)
        json.dumps([row.to_dict() for row in found])


def test_shares_are_exact() -> None:
    old = changed((*BRACKETS, 3), {"floor": "50000000", "maintenance": "0.05", "initial": "2/15"})
    new = changed(
        (*BRACKETS, 3), {"floor": "50000000", "maintenance": "0.050000001", "initial": "2/13"}
    )
    assert told(old, new) == [
        "BTC-PERP, bracket from 50,000,000: maintenance 5% -> 5.0000001% (stricter)",
        "BTC-PERP, bracket from 50,000,000: initial 2/15 -> 2/13 (stricter)",
    ]


# --- effect --------------------------------------------------------------------------------------


def test_effect_is_that_of_two_checks() -> None:
    made = demo.demo(accounts=3_000)
    stricter = made.venue.read_so({"closing_fee": "mark"})
    before = made.portfolio.check(made.prices)
    found = scorecard.effect(stricter, made.portfolio, made.prices)
    after = made.portfolio.check(ac.Prices(stricter, mark=demo.MARKS))
    assert len(found.liquidatable) == int((after.liquidatable & ~before.liquidatable).sum()) > 0
    assert found.safe == []
    assert found.of == (3_000, "accounts")
    sums = [sum(report.maintenance.tolist()) for report in (before, after)]
    assert found.maintenance == {
        "USDT": tuple(Decimal(total) / 10**6 for total in sums),
    }
    back = scorecard.effect(made.venue, made.portfolio, ac.Prices(stricter, mark=demo.MARKS))
    assert (back.liquidatable, back.safe) == ([], found.liquidatable)
    assert back.maintenance["USDT"] == found.maintenance["USDT"][::-1]


def test_who_was_safe_and_is_below_initial_margin_is_counted() -> None:
    old, new = ac.Venue.load("reference"), changed((*BRACKETS, 0, "max_leverage"), "60")
    rows = [
        {"account": name, "instrument": "BTC-PERP", "quantity": "1", "entry": "60000"}
        for name in ("a", "b")
    ]
    amounts = [{"account": "a", "amount": "900"}, {"account": "b", "amount": "5000"}]
    state = ac.Portfolio.from_tables(old, positions=rows, collateral=amounts)
    found = scorecard.effect(new, state, ac.Prices(old, mark={"BTC-PERP": "60000"}))
    assert [key[0] for key in found.below_initial] == ["a"]
    assert found.liquidatable == []
    assert found.maintenance == {"USDT": (Decimal(660), Decimal(660))}


def test_pools_are_not_called_accounts() -> None:
    venue = ac.Venue.load("reference")
    rows = [
        {"account": "a", "pool": pool, "instrument": "BTC-PERP", "quantity": 1, "entry": 60_000}
        for pool in ("one", "two")
    ]
    amounts = [{"account": "a", "pool": pool, "amount": 1_000} for pool in ("one", "two")]
    state = ac.Portfolio.from_tables(venue, positions=rows, collateral=amounts)
    prices = ac.Prices(venue, mark={"BTC-PERP": 60_000})
    found = scorecard.effect(venue.read_so({"trigger": "non_strict"}), state, prices)
    assert (found.of, found.accounts) == ((2, "pools"), 1)


# --- the command ---------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main([*words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def text(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 0
    return capsys.readouterr().out


def test_the_diff_tells_words_and_effect(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    card = tmp_path / "next.toml"
    card.write_text(REFERENCE.replace(BTC_ETH, 'maintenance = "0.009", max_leverage = "50"'))
    found = run(capsys, "venues", "diff", "reference", str(card))
    row = found["differences"][0]
    assert row["says"] == "BTC-PERP, bracket from 0: maintenance 0.5% -> 0.9%"
    assert (row["old"], row["new"], row["direction"]) == ("0.005", "0.009", "stricter")
    bad = len(found["effect"]["liquidatable"])
    assert found["effect"]["comparable"]
    assert bad > 10
    printed = text(capsys, "venues", "diff", "reference", str(card))
    assert "  - BTC-PERP, bracket from 0: max leverage 100 -> 50 (stricter)" in printed
    assert f"makes {bad:,} of the made-up 10,000 accounts liquidatable" in printed
    assert printed.count("\n  acct-") == 10
    assert f"… and {bad - 10:,} more" in printed
    assert f"{len(found['effect']['below_initial']):,} more, safe until now" in printed
    assert "maintenance of all together: " in printed
    assert not run(capsys, "venues", "diff", "gate", "bitget")["effect"]["comparable"]
    assert text(capsys, "venues", "diff", "gate", "gate").endswith("nothing differs\n")


def test_the_diff_counts_the_accounts_given(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    card = tmp_path / "next.toml"
    gate = ac.Venue.load("gate").text
    card.write_text(gate.replace('trigger = "strict"', 'trigger = "non_strict"'))
    tables = ["--positions", "docs/guide/data/gate.csv"]
    tables += ["--collateral", "docs/guide/data/gate-collateral.csv"]
    printed = text(capsys, "venues", "diff", "gate", str(card), *tables, "--mark", "ETH_USDT=3000")
    assert "makes 0 of your 2 accounts liquidatable" in printed


def test_all_cards_in_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "venues", "score", "--all")
    rows = found["venues"]
    assert sorted(row["venue"] for row in rows) == sorted(NAMES)
    assert found["without_definitions"] == ["demo"]
    keys = [(-row["failures_said"], len(row["unsaid"])) for row in rows]
    assert keys == sorted(keys)
    for row in rows:
        own = scorecard.score(ac.Venue.load(row["venue"]))
        assert row["failures_said"] == sum(says is not None for says in own.failures.values())
        assert {row["long"]["instrument"]} == {row["short"]["instrument"], row["instrument"]}
        assert not row["long"]["fires"]
    printed = text(capsys, "venues", "score", "--all", "--leverage", "100")
    assert all(f"\n  {name} " in printed for name in NAMES)


@pytest.mark.parametrize(
    ("words", "code", "field"),
    [
        (["score"], "out_of_range", "VENUE"),
        (["score", "gate", "--all"], "out_of_range", "VENUE"),
        (["score", "--all", "--side", "long"], "out_of_range", "--side"),
        (["score", "demo"], "unsaid", "definition"),
        (["score", "gate", "--leverage", "0"], "out_of_range", "--leverage"),
        (["score", "gate", "--notional", "-1"], "out_of_range", "--notional"),
        (["diff", "gate", "nowhere"], "unknown_venue", "venue"),
        (["diff", "gate", "gate", "--rows", "-1"], "out_of_range", "--rows"),
    ],
)
def test_bad_input_of_score_and_diff(
    words: list[str], code: str, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["venues", *words, "--json"]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["code"], error["field"]) == (code, field)


def test_examples_run() -> None:
    assert doctest.testmod(scorecard).failed == 0


def test_more_readings_than_are_tried_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorecard, "COMBINED_MAX", 1)
    with pytest.raises(ac.LimitExceeded, match="readings"):
        scorecard.ambiguity(ac.Venue.load("gate"), position(10, 3000), {"ETH_USDT": 3000})

"""Every case file, on the core and on the oracle; and a runner that really fails."""

from __future__ import annotations

import copy
import json
import re
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

import aivora_core as ac
import truth
from aivora_core.cases import Case, CaseError, Expectation, find_cases, load_case, run_case

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
CASES = ROOT / "tests" / "cases"
FILES = find_cases(CASES)
NAMES = [path.name.removesuffix(".case.json") for path in FILES]
ENGINES = ("core", "oracle")
SCHEMA = json.loads((ROOT / "docs" / "reference" / "case.schema.json").read_text("utf-8"))
PAGE = ROOT / "docs" / "reference" / "case-file.md"
VECTORS = 211
SCHEMA_WHATS = [
    what
    for kind in (*SCHEMA["$defs"]["expectation"]["oneOf"], SCHEMA["$defs"]["error"])
    for what in kind["properties"]["what"]["enum"]
]

Tree = dict[str, Any]

files = pytest.mark.parametrize("path", FILES, ids=NAMES)
engines = pytest.mark.parametrize("engine", ENGINES)


def tree_of(path: Path) -> Tree:
    tree: Tree = json.loads(path.read_text("utf-8"))
    return tree


# --- the files --------------------------------------------------------------------------------


@files
@engines
def test_a_case_holds(path: Path, engine: str) -> None:
    result = run_case(path, engine=engine)
    assert result.failures == ()
    assert result.passed
    assert result.id == path.name.removesuffix(".case.json")


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@files
def test_a_file_keeps_to_the_schema(path: Path) -> None:
    errors = jsonschema.Draft202012Validator(SCHEMA).iter_errors(tree_of(path))
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_there_are_files_of_each_kind() -> None:
    assert len(FILES) > 100
    assert len(set(NAMES)) == len(NAMES)
    asked = {one.what for path in FILES for one in load_case(path).expect}
    assert asked == set(SCHEMA_WHATS)


def test_the_index_names_every_file_and_vector() -> None:
    text = (CASES / "INDEX.md").read_text("utf-8")
    links = re.findall(r"\]\(([^)]+\.case\.json)\)", text)
    assert sorted(links) == sorted(str(path.relative_to(CASES).as_posix()) for path in FILES)
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", text, flags=re.MULTILINE)
    assert len({vector for vector, _ in rows}) == len(rows) == VECTORS
    for vector, answer in rows:
        assert answer.startswith((f"[{answer[1:].partition(']')[0]}](", "- ")), vector
    assert sum(not answer.startswith("- ") for _, answer in rows) + sum(
        name.startswith("spec.") for name in NAMES
    ) == len(FILES)


def test_the_truth_page_counts_the_files() -> None:
    text = truth.PAGE.read_text("utf-8")
    assert truth.filled(text) == text, "python tests/support/truth.py"
    assert all(case.kind for case in map(load_case, FILES) if not case.id.startswith("spec."))


@engines
def test_the_case_of_the_page_holds(engine: str) -> None:
    flags = re.DOTALL | re.MULTILINE
    (block,) = re.findall(r"^```json\n(.*?)^```$", PAGE.read_text("utf-8"), flags)
    tree = json.loads(block)
    jsonschema.validate(tree, SCHEMA)
    assert run_case(tree, engine=engine).failures == ()


# --- a wrong expectation fails ----------------------------------------------------------------


def wrong(one: Expectation) -> Expectation:
    """Give the same question a value that is not the answer, by as little as possible."""
    words = {
        "error": ("no_such_code",),
        "asset": ("no such asset",),
        "status": ("safe", "liquidatable"),
        "liquidation_becomes_below": ("safe", "liquidatable"),
        "liquidation_becomes_above": ("safe", "liquidatable"),
        "withdrawal_binding": ("initial", "balance"),
        "bankruptcy_reason": ("no_positive_price", "no_finite_price"),
    }
    if isinstance(one.value, bool):
        value: str | bool | None = not one.value
    elif one.what in words:
        value = next(word for word in words[one.what] if word != one.value)
    elif one.value is None:
        value = "1"
    else:
        step = 3 * Fraction(one.tolerance or 0) or Fraction(1, 10**30)
        value = str(Fraction(one.value) + step)
    return Expectation(one.what, one.of, value, one.tolerance, one.why)


@files
@engines
def test_every_wrong_expectation_is_found(path: Path, engine: str) -> None:
    case = load_case(path)
    expect = tuple(map(wrong, case.expect))
    twin = Case(case.id, case.title, case.source, case.note, case.fitted, case.given, expect)
    result = run_case(twin, engine=engine)
    assert not result.passed
    asked = [(one.what, one.of, one.value) for one in expect]
    assert [(miss.what, miss.of, miss.expected) for miss in result.failures] == asked


def cash(**changes: Any) -> Tree:
    tree: Tree = {
        "schema": "aivora-case/0",
        "id": "cash",
        "title": "Cash",
        "source": "this test",
        "note": "",
        "fitted": [],
        "given": {"venue": "demo", "collateral": [{"account": "alice", "amount": "5.5"}]},
        "when": [],
        "expect": [{"what": "equity", "of": {"account": "alice"}, "value": "5.5"}],
    }
    return tree | changes


@engines
def test_a_mismatch_says_what_came_out(engine: str) -> None:
    expect = [{"what": "equity", "of": {"account": "alice"}, "value": "5"}]
    (miss,) = run_case(cash(expect=expect), engine=engine).failures
    assert (miss.what, miss.of, miss.expected) == ("equity", {"account": "alice"}, "5")
    assert (miss.actual, miss.tolerance) == ("5.5", None)


@engines
def test_a_tolerance_reaches_as_far_as_it_says(engine: str) -> None:
    one = {"what": "equity", "of": {"account": "alice"}, "value": "5.4", "why": "rounded"}
    assert run_case(cash(expect=[one | {"tolerance": "0.1"}]), engine=engine).passed
    assert not run_case(cash(expect=[one | {"tolerance": "0.0999"}]), engine=engine).passed


@engines
def test_an_input_that_is_refused_fails_a_case_that_expects_numbers(engine: str) -> None:
    given = {"venue": "demo", "collateral": [{"account": "alice", "amount": "0.0000005"}]}
    (miss,) = run_case(cash(given=given), engine=engine).failures
    assert (miss.what, miss.of) == ("error", {"stage": "portfolio"})
    assert (miss.expected, miss.actual) == (None, "off_grid")


@engines
@pytest.mark.parametrize(
    ("of", "value", "expected", "actual"),
    [
        ({"stage": "card"}, "off_grid", "off_grid", None),
        ({"stage": "check"}, "missing_price", "missing_price", None),
    ],
)
def test_an_error_that_does_not_come_fails(
    engine: str, of: dict[str, str], value: str, expected: str, actual: str | None
) -> None:
    expect = [{"what": "error", "of": of, "value": value}]
    (miss,) = run_case(cash(expect=expect), engine=engine).failures
    assert (miss.expected, miss.actual) == (expected, actual)


@engines
def test_an_error_at_another_stage_fails(engine: str) -> None:
    given = {"venue": "demo", "collateral": [{"account": "alice", "amount": "0.0000005"}]}
    expect = [{"what": "error", "of": {"stage": "card"}, "value": "off_grid"}]
    (miss,) = run_case(cash(given=given, expect=expect), engine=engine).failures
    assert (miss.expected, miss.actual) == ("card", "portfolio")


@engines
@pytest.mark.parametrize(
    ("what", "of", "actual"),
    [
        ("equity", {"account": "bob"}, "refused: unknown_account"),
        ("pnl", {"account": "alice", "instrument": "BTC"}, "refused: unknown_leg"),
        ("allotted", {"account": "alice", "instrument": "BTC"}, "refused: unknown_leg"),
        ("asset_equity", {"account": "alice", "asset": "BTC"}, "refused: unknown_asset"),
        ("withdrawable", {"account": "alice", "asset": "BTC"}, "refused: unknown_asset"),
        ("withdrawable", {"account": "bob", "asset": "USDT"}, "refused: unknown_account"),
        ("open_interest_long", {"instrument": "NONE"}, "refused: unknown_instrument"),
    ],
)
def test_a_question_that_is_refused_fails(
    engine: str, what: str, of: dict[str, str], actual: str
) -> None:
    given = cash()["given"] | {"prices": {"mark": {"BTC": "100"}}}
    expect = [{"what": what, "of": of, "value": "0"}]
    (miss,) = run_case(cash(given=given, expect=expect), engine=engine).failures
    assert miss.actual == actual


# --- what is not in the format is refused -----------------------------------------------------


def put(*path: str | int, value: Any) -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        node: Any = tree
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    return change


def drop(*path: str | int) -> Callable[[Tree], None]:
    def change(tree: Tree) -> None:
        node: Any = tree
        for key in path[:-1]:
            node = node[key]
        del node[path[-1]]

    return change


SIDE = {"instrument": "BTC", "side": "buy"}
WALK: Tree = {"what": "walk_cost", "of": SIDE, "value": "0"}
POSITION = {"account": "alice", "instrument": "BTC", "quantity": "1"}
LEG = {"account": "alice", "instrument": "BTC"}
LEAVE: Tree = {
    "what": "withdrawable",
    "of": {"account": "alice", "asset": "USDT"},
    "value": "0",
}
OPEN: Tree = {"what": "open_interest_long", "of": {"instrument": "BTC"}, "value": "0"}
TOLERANT = {"what": "equity", "of": {"account": "alice"}, "value": "5", "tolerance": "1"}
ERROR = {"what": "error", "of": {"stage": "card"}, "value": "bad_tiers"}
BROKEN: list[tuple[str, Callable[[Tree], None]]] = [
    ("schema", put("schema", value="aivora-case/1")),
    ("case.title", drop("title")),
    ("case.extra", put("extra", value=1)),
    ("id", put("id", value="a/b")),
    ("fitted[0]", put("fitted", value=[1])),
    ("when[0]", put("when", value=[{"event": "fill"}])),
    ("given", drop("given", "venue")),
    ("given", put("given", "card", value={})),
    ("given.venue", put("given", "venue", value=1)),
    ("given.event", put("given", "event", value=[])),
    ("given.entry_rounding", put("given", "entry_rounding", value="up")),
    ("given.collateral[0].amount", put("given", "collateral", 0, "amount", value=5)),
    ("given.collateral[0].asset", put("given", "collateral", 0, "asset", value=5)),
    ("given.collateral[0].interest", put("given", "collateral", 0, "interest", value=5)),
    ("given.collateral[0].account", drop("given", "collateral", 0, "account")),
    ("given.positions[0]", put("given", "positions", value=[POSITION])),
    (
        "given.positions[1]",
        put(
            "given",
            "positions",
            value=[POSITION | {"entry": "1"}, POSITION | {"cost": "1", "leg": "long"}],
        ),
    ),
    ("given.orders[0].side", put("given", "orders", value=[POSITION | {"side": "bid"}])),
    ("given.pools[0].kind", put("given", "pools", value=[{"account": "a", "kind": "hedge"}])),
    ("given.pools[0].mode", put("given", "pools", value=[{"account": "a", "mode": "both"}])),
    ("given.prices.mark", put("given", "prices", value={"asset": {}})),
    ("given.prices.asset.BTC", put("given", "prices", value={"mark": {}, "asset": {"BTC": 5}})),
    ("given.prices.index", put("given", "prices", value={"mark": {}, "index": {}})),
    ("given.prices.mark.BTC", put("given", "prices", value={"mark": {"BTC": 5}})),
    ("given.books.BTC.asks", put("given", "books", value={"BTC": {"bids": []}})),
    (
        "given.books.BTC.bids[0]",
        put("given", "books", value={"BTC": {"bids": [["1"]], "asks": []}}),
    ),
    ("expect", put("expect", value=[])),
    ("expect", put("expect", value=[TOLERANT | {"why": "x"}, ERROR])),
    ("expect[0].what", put("expect", 0, "what", value="price")),
    ("expect[0].because", put("expect", 0, "because", value="x")),
    ("expect[0].of.instrument", put("expect", 0, "of", "instrument", value="BTC")),
    ("expect[0].of.account", drop("expect", 0, "of", "account")),
    ("expect[0].value", put("expect", 0, "value", value=5)),
    ("expect[0].value", put("expect", 0, "value", value=None)),
    ("expect[0].value", put("expect", 0, "value", value="5,5")),
    ("expect[0].value", put("expect", 0, "value", value="nan")),
    ("expect[0].why", put("expect", value=[TOLERANT])),
    ("expect[0].tolerance", put("expect", value=[TOLERANT | {"tolerance": "-1", "why": "x"}])),
    (
        "expect[0].tolerance",
        put("expect", value=[TOLERANT | {"what": "status", "value": "safe", "why": "x"}]),
    ),
    ("expect[0].value", put("expect", value=[TOLERANT | {"what": "status", "why": "x"}])),
    ("expect[0].of", put("expect", value=[WALK])),
    ("expect[0].of.asset", put("expect", value=[LEAVE | {"of": {"account": "alice"}}])),
    ("expect[0].of.exit", put("expect", value=[LEAVE | {"of": LEAVE["of"] | {"exit": "mark"}}])),
    ("expect[0].of.account", put("expect", value=[OPEN | {"of": LEAVE["of"]}])),
    ("expect[0].value", put("expect", value=[LEAVE | {"what": "withdrawal_binding"}])),
    (
        "expect[0].value",
        put("expect", value=[TOLERANT | {"what": "bankruptcy_reason", "of": LEG, "why": "x"}]),
    ),
    (
        "expect[0].tolerance",
        put("expect", value=[TOLERANT | {"what": "asset", "value": "USDT", "why": "x"}]),
    ),
    ("expect[0].of.stage", put("expect", value=[ERROR | {"of": LEAVE["of"] | {"stage": "book"}}])),
    (
        "expect[0].of.asset",
        put("expect", value=[ERROR | {"of": {"stage": "check", "account": "alice"}}]),
    ),
    (
        "expect[0].of.instrument",
        put("expect", value=[WALK | {"of": SIDE | {"quantity": "1"}}]),
    ),
    (
        "expect[0].of.stage",
        put("expect", value=[ERROR | {"of": {"stage": "engine"}}]),
    ),
    (
        "expect[0].of.instrument",
        put("expect", value=[ERROR | {"of": SIDE | {"stage": "book", "limit": "1"}}]),
    ),
]


@pytest.mark.parametrize(("key", "change"), BROKEN, ids=[key for key, _ in BROKEN])
def test_what_is_not_in_the_format_is_refused_by_key(
    key: str, change: Callable[[Tree], None], tmp_path: Path
) -> None:
    tree = copy.deepcopy(cash())
    change(tree)
    path = tmp_path / "broken.case.json"
    path.write_text(json.dumps(tree), "utf-8")
    with pytest.raises(CaseError) as caught:
        load_case(path)
    assert caught.value.field == key
    assert caught.value.code == "bad_case"
    assert isinstance(caught.value, ac.AivoraError)
    assert str(path) in str(caught.value)
    # That a book is asked for and not given is the one thing a schema cannot see.
    if key != "expect[0].of.instrument" or "side" not in tree["expect"][0]["of"]:
        assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(tree)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"a": 1, "a": 2}', '{"a": 1.5}', '{"a": NaN}', "[" * 100_000, "\udcff"],
)
def test_what_is_not_json_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.case.json"
    path.write_text(text, "utf-8", errors="surrogateescape")
    with pytest.raises(CaseError, match=re.escape(str(path))):
        load_case(path)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.case.json"
    path.write_text(" " * 1_000_001, "utf-8")
    with pytest.raises(CaseError, match="at most 1000000 bytes"):
        load_case(path)


def test_a_place_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="nowhere"):
        find_cases(tmp_path / "nowhere")
    with pytest.raises(CaseError, match="nowhere"):
        load_case(tmp_path / "nowhere")


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(CaseError, match="engine"):
        run_case(cash(), engine="abacus")


def test_files_are_found_once_and_sorted() -> None:
    assert find_cases(CASES / "spec", CASES / "spec", FILES[0])[-1] == FILES[0]
    found = find_cases(CASES)
    assert found == sorted(found)

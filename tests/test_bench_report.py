"""The bench itself: bars, contests that catch a wrong answer, the report and what stands of it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import pairwise
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import pytest

import instructions
import report as reporting
from baselines import scan
from contest import (
    Bar,
    Contestant,
    Difference,
    Job,
    NotThereError,
    Ratio,
    Row,
    Seconds,
    Verdict,
    hold,
    in_turn,
)
from packed import Unpacked, judge
from population import (
    ASSETS,
    PPM,
    exact,
    on_the_line,
    past_the_lanes,
    population,
    several_assets,
    thousandfold,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from population import Population

ACCOUNTS = 400


@pytest.fixture(scope="module")
def drawn() -> Population:
    return population("a", ACCOUNTS, 3)


# --- bars and ratios --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "met", "missed"),
    [("at least 1.35", 1.35, 1.349), ("at most 20", 20.0, 20.01), ("at most 0", 0.0, 1.0)],
)
def test_bars_are_read_written_and_kept(text: str, met: float, missed: float) -> None:
    bar = Bar.parse(text)
    assert str(bar) == text
    assert bar.met(met)
    assert not bar.met(missed)


@pytest.mark.parametrize("text", ["", "1.35", "at least", "at least x", "over 3", "at most -1"])
def test_nothing_else_is_a_bar(text: str) -> None:
    with pytest.raises(ValueError, match="not a bar"):
        Bar.parse(text)


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    """The machine slows down tenfold half-way: no round's own ratio notices."""
    ours, theirs = Seconds([1, 1, 10, 10, 10]), Seconds([2, 2, 20, 20, 30])
    ratio = theirs / ours
    assert isinstance(ratio, Ratio)
    assert (float(ratio), ratio.quartiles) == (2.0, (2.0, 2.0))
    assert float(ours * 3 / theirs) == 1.5
    assert ours / 2.0 == 5


def test_contestants_run_in_turn_after_one_round_that_warms_up() -> None:
    order: list[str] = []
    calls = {name: partial(order.append, name) for name in "abc"}
    times = in_turn(calls, 2)
    assert "".join(order) == "abcabcabc"
    assert [len(taken.rounds) for taken in times.values()] == [2, 2, 2]


# --- contests ---------------------------------------------------------------------------------


def contestant(name: str, answer: Any, bar: str | None = None, **more: Any) -> Contestant:
    """One who always gives that answer."""
    found = Bar.parse(bar) if bar else None
    return Contestant(name, lambda _: lambda: answer, lambda given: given, found, **more)


def rows_of(p: Population, *others: Contestant, size: bool = True) -> dict[str, Row]:
    job = Job("job", (contestant("core", p.answer), *others), judge, rounds=3)
    return {row.contestant: row for row in hold(job, Unpacked(p), in_turn, at_full_size=size)}


def test_a_wrong_contestant_is_reported_as_wrong(drawn: Population) -> None:
    answer = dict(drawn.answer)
    answer["maintenance"] = answer["maintenance"].copy()
    answer["maintenance"][7] += 1  # an integer answer has no excuse
    row = rows_of(drawn, contestant("off by one", answer, "at least 0"))["off by one"]
    assert row.note == f"WRONG on 1 of {ACCOUNTS} accounts"
    assert row.met is False
    assert row.details["wrong"] == 1


def test_a_bar_against_a_wrong_core_is_not_met(drawn: Population) -> None:
    wrong = drawn.answer | {"equity": drawn.answer["equity"] + 1}
    job = Job(
        "job", (contestant("core", wrong), contestant("peer", drawn.answer, "at least 0")), judge
    )
    rows = hold(job, Unpacked(drawn), in_turn, at_full_size=True)
    assert [row.met for row in rows] == [False, False]
    assert rows[0].note == f"WRONG on {ACCOUNTS} of {ACCOUNTS} accounts"


def test_floats_may_end_in_another_digit_and_not_further_off(drawn: Population) -> None:
    floats = {n: c.astype(np.float64) for n, c in drawn.answer.items() if n in scan_amounts()}
    rest = {"status": drawn.answer["status"]}
    rounded = floats | rest | {"initial": floats["initial"] + 1}
    far = floats | rest | {"initial": floats["initial"] * 1.001 + 20}
    rows = rows_of(drawn, contestant("rounded", rounded, "at least 0"), contestant("far", far))
    assert rows["rounded"].met is True
    assert rows["rounded"].note == f"differs: {ACCOUNTS} last digits of {ACCOUNTS}"
    assert rows["far"].note == f"WRONG on {ACCOUNTS} of {ACCOUNTS} accounts"


def scan_amounts() -> tuple[str, ...]:
    return ("equity", "initial", "maintenance")


def test_a_turned_verdict_is_counted_near_the_line_and_wrong_elsewhere(drawn: Population) -> None:
    mask = drawn.answer["liquidatable"].copy()
    mask[0] ^= True
    far = rows_of(drawn, contestant("mask", {"liquidatable": mask}))["mask"]
    assert far.note == f"WRONG on 1 of {ACCOUNTS} accounts"
    ties = on_the_line(ACCOUNTS, (0,), 3)
    near = rows_of(ties, contestant("mask", {"liquidatable": ~ties.answer["liquidatable"]}))["mask"]
    assert near.note == f"differs: {ACCOUNTS} decisions of {ACCOUNTS}"


def test_what_is_missing_is_said(drawn: Population) -> None:
    def absent(_: Any) -> Callable[[], Any]:
        raise NotThereError("not there: that call")

    later = Contestant("later", absent, dict)
    peer = contestant("peer", drawn.answer, "at least 2", needs="no_such_package")
    rows = rows_of(drawn, later, peer)
    assert rows["later"].note == "not there: that call"
    assert rows["peer"].note == "no_such_package is not installed"
    assert (rows["peer"].value, rows["peer"].met, rows["peer"].bar) == (None, None, "at least 2")
    job = Job("job", (later, contestant("peer", drawn.answer, "at least 2")), judge)
    (row,) = hold(job, Unpacked(drawn), in_turn, at_full_size=True)
    assert (row.contestant, row.note) == ("peer", "later: not there: that call")


def test_both_kinds_of_bar_and_samples_are_timed(drawn: Population) -> None:
    def sleeps(seconds: float) -> Callable[[Any], Callable[[], Any]]:
        def setup(case: Unpacked) -> Callable[[], Any]:
            def call() -> Any:
                time.sleep(seconds)
                return case.population.answer

            return call

        return setup

    contestants = (
        Contestant("core", sleeps(0.004), dict),
        Contestant("slow", sleeps(0.02), dict, Bar.parse("at least 2")),
        Contestant("quick", sleeps(0.001), dict, Bar.parse("at most 2")),
        Contestant("sample", sleeps(0.004), dict, most=ACCOUNTS // 4),
    )
    job = Job("job", contestants, judge, rounds=3)
    rows = hold(job, Unpacked(drawn), in_turn, at_full_size=True)
    slow, quick, sample = rows
    assert slow.value is not None
    assert quick.value is not None
    assert sample.value is not None
    assert slow.value > 2
    assert slow.met is True
    assert quick.value > 2  # we take more than twice its time
    assert quick.met is False
    assert sample.value > 2  # a quarter of the accounts in the same time
    small = hold(job, Unpacked(drawn), in_turn, at_full_size=False)
    assert [row.met for row in small] == [None, None, None]


# --- populations and their answers ------------------------------------------------------------


def test_the_exact_answer_in_fractions(drawn: Population) -> None:
    equity, initial, maintenance = exact(drawn)
    for account in range(0, ACCOUNTS, 7):
        worth = Fraction(int(drawn.collateral[account]))
        opening = staying = 0
        for row in range(drawn.offsets[account], drawn.offsets[account + 1]):
            i, quantity = int(drawn.instrument[row]), int(drawn.quantity[row])
            value = Fraction(quantity * int(drawn.marks[i]))
            worth += value - int(drawn.cost[row])
            size = abs(value)
            bracket = max(n for n, low in enumerate(drawn.floors.tolist()) if low <= size)
            rates = drawn.maintenance_ppm[i].tolist()
            # Continuous brackets: each part of the value at its own bracket's rate.
            cuts: list[Fraction] = [*map(Fraction, drawn.floors.tolist()[: bracket + 1]), size]
            parts = [(b - a) * r for (a, b), r in zip(pairwise(cuts), rates, strict=False)]
            staying += ceil(sum(parts, Fraction(0)) / PPM)
            chosen = Fraction(1, int(drawn.leverage[account]))
            opening += ceil(size * max(Fraction(2 * rates[bracket], PPM), chosen))
        found = (equity[account], initial[account], maintenance[account])
        assert found == (worth, opening, staying)


def test_several_assets_in_fractions(drawn: Population) -> None:
    multi = several_assets(drawn, 3)
    equity, initial, maintenance = multi.sums()
    alone = exact(drawn)
    np.testing.assert_array_equal(initial, alone[1])
    np.testing.assert_array_equal(maintenance, alone[2])
    assert all((held >= 0).all() for held in multi.balances)
    dollars = exact(multi)[0]
    for account in range(ACCOUNTS):
        counted = 0
        for asset, held in zip(ASSETS, multi.balances, strict=True):
            balance = Fraction(int(held[account]), 10**8)
            ends = [low for low, _ in asset.haircuts[1:]]
            value = Fraction(0)
            for (low, percent), end in zip(asset.haircuts, [*ends, None], strict=True):
                top: Fraction = balance if end is None else min(balance, Fraction(end))
                part = max(Fraction(0), top - low)
                value += part * Fraction(100 - percent, 100)
            counted += floor(value * asset.price * 10**6)
        assert equity[account] == dollars[account] + counted
        assert counted <= max(0, int(drawn.collateral[account]))
    wide = several_assets(thousandfold(drawn), 3)
    assert (wide.balances[0] >= 100 * 10**8).any()  # the last slice is reached


def test_populations_are_what_they_say(drawn: Population) -> None:
    line = on_the_line(ACCOUNTS, (-1, 1), 3)
    off = line.answer["equity"] - line.answer["maintenance"]
    assert set(off.tolist()) == {-1, 1}
    past = past_the_lanes(drawn)
    assert past.collateral.min() > 2**60
    assert (past.answer["equity"] - 2**61 == drawn.answer["equity"]).all()
    assert (past.answer["maintenance"] == drawn.answer["maintenance"]).all()
    assert (thousandfold(drawn).answer["equity"] == 1000 * drawn.answer["equity"]).all()
    same = population("a", ACCOUNTS, 3)
    np.testing.assert_array_equal(same.collateral, drawn.collateral)
    assert (population("a", ACCOUNTS, 4).collateral != drawn.collateral).any()
    with pytest.raises(OverflowError):
        exact(replace(drawn, cost=np.full_like(drawn.cost, 2**60)))


@pytest.mark.parametrize(
    "baseline", [scan.PurePython, scan.PurePythonTuned, scan.Numpy, scan.NumpyTuned]
)
def test_float_baselines_are_right_up_to_rounding(baseline: Any, drawn: Population) -> None:
    verdict = judge(Unpacked(drawn), scan.in_quanta(baseline(drawn).check()))
    assert verdict.wrong == 0
    assert verdict.decisions == 0


def test_the_integer_baseline_is_exact(drawn: Population) -> None:
    found = judge(Unpacked(drawn), scan.NumpyExact(drawn).check())
    assert found == Verdict(ACCOUNTS)


# --- the report -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def schema(request: pytest.FixtureRequest) -> dict[str, Any]:
    root: Path = request.getfixturevalue("root")
    text = (root / "benches" / "report.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(loaded)
    return loaded


@pytest.fixture
def made(drawn: Population) -> dict[str, Any]:
    rows = rows_of(
        drawn,
        contestant("peer", drawn.answer, "at least 0"),
        contestant("absent", drawn.answer, "at least 2", needs="no_such_package"),
    )
    memory = Row("memory", "growth", 36.5, "bytes", bar="at most 100", met=True)
    point = {
        "accounts": 10,
        "legs": 30,
        "ns_per_account": {"1 thread": 20.5, "2 threads": 11.25},
        "packing_seconds": 0.5,
        "bytes_held": None,
        "bytes_grown": 1000,
    }
    differences = [Difference("on the line", "numpy", Verdict(10, 0, 5, 1))]
    everything = [*rows.values(), memory]
    found = reporting.gather(everything, differences, [point], size=ACCOUNTS, seed=3)
    again: dict[str, Any] = json.loads(json.dumps(found))
    return again


def test_the_report_keeps_its_schema(made: dict[str, Any], schema: dict[str, Any]) -> None:
    jsonschema.validate(made, schema)
    assert made["rows"][0]["details"]["ours"]["rounds"] == 3
    for broken in ({"commit": ""}, {"rows": [{}]}, {"size": 0}, {"surprise": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(made | broken, schema)


def test_the_printed_report_says_everything(made: dict[str, Any]) -> None:
    text = "\n".join(reporting.plain(made))
    for said in (
        "no_such_package is not installed",
        "36.5 bytes",
        "at most 100",
        "5 / 1",
        "seed 3",
        f"accounts {ACCOUNTS}",
        made["machine"]["processor"],
        "11.2",
        "here they do not apply",
    ):
        assert said in text


def test_a_page_gets_its_tables(made: dict[str, Any]) -> None:
    page = f"# P\n\n{reporting.BEGIN}of long ago\n{reporting.END}\nafter\n"
    written = reporting.into_page(page, reporting.markdown(made))
    assert "of long ago" not in written
    assert written.startswith("# P\n")
    assert written.endswith("\nafter\n")
    assert reporting.into_page(written, reporting.markdown(made)) == written
    with pytest.raises(ValueError, match="lacks"):
        reporting.into_page("# P\n", "tables")


def test_what_is_kept_is_of_one_run(root: Path, schema: dict[str, Any]) -> None:
    """The report in the tree keeps its schema, and the page shows it."""
    kept = json.loads((root / "benches" / "report.json").read_text("utf-8"))
    jsonschema.validate(kept, schema)
    page = (root / "docs" / "guide" / "performance.md").read_text("utf-8")
    assert reporting.into_page(page, reporting.markdown(kept)) == page
    page = (root / "docs" / "guide" / "watch.md").read_text("utf-8")
    assert reporting.into_page(page, reporting.watch_markdown(kept)) == page
    for name in ("ratios.svg", "scaling.svg", "watch.svg"):
        assert kept["commit"] in (root / "docs" / "plots" / name).read_text("utf-8")


def test_plots_are_the_same_bytes_each_time(made: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from plots import POPULATION, draw

    made["rows"][0]["job"] = POPULATION
    first, second = (draw(made, tmp_path / n) for n in "ab")
    assert [path.name for path in first] == ["ratios.svg", "scaling.svg"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


# --- instruction counts -----------------------------------------------------------------------


def test_instruction_counts_are_compared() -> None:
    kept = {"rustc": "1.90.0", "kernels": {"scan": 100.0, "walk": 100.0, "gone": 1.0}}
    _, wrong = instructions.compare(kept, {"scan": 104.0, "walk": 106.0, "new": 1.0}, "1.90.0")
    assert [line.split(" ")[0] for line in wrong] == ["gone", "new", "walk"]
    found = {"scan": 119.0, "walk": 121.0, "gone": 1.0}
    _, wrong = instructions.compare(kept, found, "1.91.0")
    assert [line.split(" ")[0] for line in wrong] == ["walk"]
    rows, wrong = instructions.compare(kept, {"scan": 50.0, "walk": 100.0, "gone": 1.0}, "1.90.0")
    assert not wrong
    assert "make instructions" in {row[0]: row[3] for row in rows}["scan"]


def test_every_kernel_is_kept(root: Path) -> None:
    kept = json.loads((root / "benches" / "instructions.json").read_text("utf-8"))
    source = (root / "rust" / "core" / "benches" / "instructions.rs").read_text("utf-8")
    assert kept["schema"] == instructions.SCHEMA
    for name in kept["kernels"]:
        assert f'("{name.partition(",")[0]}", ' in source

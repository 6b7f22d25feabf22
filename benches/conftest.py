"""Fixtures that hold contests and collect their rows; one table and one file at the end."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

with contextlib.suppress(ImportError):
    import lrvx  # noqa: F401 - first of all: later there may be no room for what it keeps a thread

import pytest

import report as reporting
from contest import Bar, Ratio, Row, hold, in_turn, in_turn_by
from population import FULL_SIZE, SEED, SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_benchmark.fixture import BenchmarkFixture

    from contest import Difference, Job, Seconds

# Read by polars when it is first imported: the contests are of one thread, unless a row says two.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

ROWS: list[Row] = []
DIFFERENCES: list[Difference] = []
SCALING: list[dict[str, Any]] = []
WATCH: list[dict[str, Any]] = []
# `BARS=report` prints a missed bar and goes on: for machines whose weather is not ours to choose.
HOLD = os.environ.get("BARS", "hold") != "report"


class Recorder:
    """Adds rows to the table, and holds those with a bar to it when the test ends."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def __call__(
        self,
        what: str,
        against: str,
        ratio: float,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        unit: str = "x",
        at_any_size: bool = True,
    ) -> None:
        """Add a row; `ratio` should be at least, or at most, the bar.

        A quotient of two medians of `interleaved` brings its quartiles along. A bar that holds
        only for the full population is not `at_any_size`.
        """
        bar = Bar(at_least, at_most) if at_least is not None or at_most is not None else None
        spread = ratio.quartiles if isinstance(ratio, Ratio) else None
        applies = at_any_size or SIZE == FULL_SIZE
        self.add(
            Row(
                what,
                against,
                float(ratio),
                unit,
                spread,
                bar=str(bar) if bar else None,
                met=bar.met(ratio) if bar and applies else None,
            )
        )

    def differs(self, difference: Difference) -> None:
        """Add to the table of answers that differ."""
        DIFFERENCES.append(difference)

    def scales(self, point: dict[str, Any]) -> None:
        """Add to the measurements at several sizes."""
        SCALING.append(point)

    def watches(self, case: dict[str, Any]) -> None:
        """Add to the cases of the watch."""
        WATCH.append(case)

    def add(self, *rows: Row) -> None:
        """Add finished rows."""
        ROWS.extend(rows)
        self.missed += [
            f"{r.job} against {r.contestant}: {r.value}, {r.bar or r.note}"
            for r in rows
            if r.met is False
        ]


@pytest.fixture
def record() -> Iterator[Recorder]:
    """Add rows to the table; a missed bar fails the test after all its rows are in."""
    recorder = Recorder()
    yield recorder
    assert not (HOLD and recorder.missed), recorder.missed


@pytest.fixture
def interleaved() -> Callable[..., Any]:
    """Median seconds of each call: run in turn, in one process, so that all share the weather."""
    return in_turn


@pytest.fixture
def contest(request: pytest.FixtureRequest, record: Recorder) -> Callable[[Job, Any], list[Row]]:
    """Hold a contest under pytest-benchmark and put its rows into the table."""

    def timer(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Seconds]:
        # Asked for late: a contest that cannot be held times nothing, and an idle fixture warns.
        benchmark: BenchmarkFixture = request.getfixturevalue("benchmark")
        times = in_turn_by(benchmark, calls, rounds)
        benchmark.extra_info |= {name: float(median) for name, median in times.items()}
        return times

    def run(job: Job, case: Any) -> list[Row]:
        rows = hold(job, case, timer, at_full_size=SIZE == FULL_SIZE)
        record.add(*rows)
        return rows

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the report and write it: a whole run at full size into the tree, others into target."""
    if not ROWS:
        return
    found = reporting.gather(ROWS, DIFFERENCES, SCALING, WATCH, size=SIZE, seed=SEED)
    whole = found["bars_apply"] and os.environ.get("BENCH_WRITE") == "tree"
    terminalreporter.section("bench report")
    for line in reporting.plain(found):
        terminalreporter.write_line(line)
    for path in reporting.publish(found, whole=whole):
        terminalreporter.write_line(f"written: {path.relative_to(reporting.ROOT)}")

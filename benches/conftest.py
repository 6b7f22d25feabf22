"""One table of ratios at the end: what was compared, on which machine, commit and seed."""

from __future__ import annotations

import os
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from population import SEED, SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Timings = dict[str, list[float]]


@dataclass(frozen=True)
class Ratio:
    """One row: how many times the baseline's time is ours, and the bar it must reach."""

    what: str
    against: str
    ratio: float
    bar: str = ""


ROWS: list[Ratio] = []
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
    ) -> None:
        """Add a row; `ratio` should be at least, or at most, the bar."""
        bar = ""
        if at_least is not None:
            bar = f"at least {at_least:g}x: {'met' if ratio >= at_least else 'MISSED'}"
        elif at_most is not None:
            bar = f"at most {at_most:g}x: {'met' if ratio <= at_most else 'MISSED'}"
        ROWS.append(Ratio(what, against, ratio, bar))
        if bar.endswith("MISSED"):
            self.missed.append(f"{what} against {against}: {ratio:.1f}x, {bar}")


@pytest.fixture
def record() -> Iterator[Recorder]:
    """Add rows to the table; a missed bar fails the test after all its rows are in."""
    recorder = Recorder()
    yield recorder
    assert not (HOLD and recorder.missed), recorder.missed


@pytest.fixture
def interleaved() -> Callable[..., dict[str, float]]:
    """Median seconds of each call: run in turn, in one process, so that all share the weather."""

    def measure(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
        times: Timings = {name: [] for name in calls}
        for number in range(rounds + 1):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                took = time.perf_counter() - start
                if number:  # the first round warms up
                    times[name].append(took)
        return {name: statistics.median(taken) for name, taken in times.items()}

    return measure


def processor() -> str:
    """Name of the processor, as the system gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def lines() -> Iterator[str]:
    width = max(len(row.what) for row in ROWS)
    other = max(len(row.against) for row in ROWS)
    for row in ROWS:
        ratio = f"{row.ratio:9.1f}x" if row.ratio >= 1 else f"{row.ratio:9.3f}x"
        yield f"{row.what:<{width}}  {row.against:<{other}} {ratio}  {row.bar}".rstrip()
    yield ""
    system = f"{platform.system()} {platform.machine()}"
    yield f"machine  {processor()}, {os.cpu_count()} cores, {system}"
    yield f"python   {platform.python_version()}   commit {os.environ.get('AIVORA_COMMIT') or '-'}"
    yield f"accounts {SIZE:,}   seed {SEED}"
    yield "A ratio is the median time of the second over that of the first, run in turn. Higher is"
    yield "better, except where the bar says at most: there it is the first over the second."


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if ROWS:
        terminalreporter.section("ratios")
        for line in lines():
            terminalreporter.write_line(line)

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


@pytest.fixture
def record() -> Callable[..., None]:
    """Add a row to the table."""

    def add(what: str, against: str, ratio: float, bar: str = "") -> None:
        ROWS.append(Ratio(what, against, ratio, bar))

    return add


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
    yield f"accounts {SIZE:,}   seed {SEED}   (ratios of interleaved medians; higher is better"
    yield "         except where the bar says at most)"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if ROWS:
        terminalreporter.section("ratios")
        for line in lines():
            terminalreporter.write_line(line)

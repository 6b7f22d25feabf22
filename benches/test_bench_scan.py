"""The batch check of every account, against the same check in floats."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import aivora_core as ac
from baselines.scan import Numpy, PurePython, PurePythonTuned, columns, numba_check
from population import SIZE, USD, exact, population

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

    from population import Population

SAMPLE = 200_000  # accounts of the pure Python run: past the caches, scaled per account
BAR_PYTHON = 50
ROUNDS = 9


class Packed:
    """A population and the portfolio packed from it."""

    def __init__(self, name: str) -> None:
        self.population: Population = population(name, SIZE)
        venue = ac.Venue.from_toml(self.population.card())
        self.prices = ac.Prices(venue, mark_ticks=self.population.mark_ticks())
        tables = self.population.tables()
        self.portfolio = ac.Portfolio.from_tables(
            venue,
            positions=tables["positions"],
            collateral=tables["collateral"],
            pools=tables["pools"],
        )

    def check(self, threads: int = 1) -> ac.Report:
        """Check every account, all outputs."""
        return self.portfolio.check(self.prices, threads=threads)


@pytest.fixture(scope="module", params=["a", "h"])
def packed(request: pytest.FixtureRequest) -> Packed:
    return Packed(request.param)


def test_core_agrees_with_plain_integers(packed: Packed) -> None:
    """Every account, bit for bit, before anything is timed."""
    report = packed.check()
    equity, initial, maintenance = exact(packed.population)
    np.testing.assert_array_equal(report.equity, equity)
    np.testing.assert_array_equal(report.initial, initial)
    np.testing.assert_array_equal(report.maintenance, maintenance)
    np.testing.assert_array_equal(report.liquidatable, equity < maintenance)


def test_baselines_agree_with_core(packed: Packed) -> None:
    """A fast wrong baseline proves nothing: floats may differ by rounding, one quantum a leg."""
    count = min(SIZE, 20_000)
    sample = packed.population.first(count)
    report = packed.check()
    ours = [np.asarray(c[:count]) for c in (report.equity, report.initial, report.maintenance)]
    answers = [
        columns(PurePython(sample).check()),
        columns(PurePythonTuned(sample).check()),
        Numpy(sample).check(),
    ]
    for answer in answers:
        for exact_column, float_column in zip(ours, answer[:3], strict=True):
            error = np.abs(float_column * USD - exact_column)
            assert np.all(error <= 8 + 1e-9 * np.abs(exact_column))
        lines = (ours[1], ours[2], np.zeros_like(ours[0]))
        clear = np.all([np.abs(ours[0] - line) > 16 for line in lines], axis=0)
        np.testing.assert_array_equal(answer[3][clear], report.status[:count][clear])


def test_scan_against_floats(
    packed: Packed,
    benchmark: BenchmarkFixture,
    interleaved: Callable[..., dict[str, float]],
    record: Callable[..., None],
) -> None:
    sample = packed.population.first(min(SIZE, SAMPLE))
    calls: dict[str, Callable[[], Any]] = {
        "core": packed.check,
        "core, 2 threads": lambda: packed.check(threads=2),
        "pure Python float": PurePython(sample).check,
        "pure Python float, tuned": PurePythonTuned(sample).check,
        "numpy float64": Numpy(packed.population).check,
    }
    with contextlib.suppress(ImportError):  # optional; its row is left out
        calls["numba float64"] = numba_check(packed.population)
    seconds = interleaved(calls, ROUNDS)
    for name in calls:
        if name.startswith("pure Python"):
            seconds[name] *= len(packed.population) / len(sample)
    what = f"check, population {packed.population.name}"
    for name in list(calls)[2:]:
        bar = BAR_PYTHON if name == "pure Python float" else None
        record(what, name, seconds[name] / seconds["core"], at_least=bar)
    record(what + ", 2 threads", "1 thread", seconds["core"] / seconds["core, 2 threads"])
    benchmark.extra_info["ratios"] = {n: s / seconds["core"] for n, s in seconds.items()}
    benchmark.pedantic(packed.check, rounds=ROUNDS)

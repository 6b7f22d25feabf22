"""The batch check of every account: against floats, its own slower ways, and what it stands on."""

from __future__ import annotations

import tomllib
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import packed as core
from aivora_core.audit import oracle
from baselines import scan
from contest import Bar, Contestant, Job
from packed import Packed, Unpacked, judge, read
from population import SEED, SIZE, past_the_lanes, population

if TYPE_CHECKING:
    from collections.abc import Callable

    from contest import Row

    Hold = Callable[[Job, Any], list[Row]]

SAMPLE = 200_000  # accounts of the pure Python runs: past the caches, scaled per account
TO_THE_ORACLE = 300


@pytest.fixture(scope="module", params=["a", "h"])
def packed(request: pytest.FixtureRequest) -> Packed:
    return Packed(population(request.param))


def peer(
    name: str,
    prepare: Callable[[Any], Callable[[], Any]],
    bar: str | None = None,
    needs: str | None = None,
    most: int | None = None,
) -> Contestant:
    """One who works on the bare columns and answers in floats."""

    def setup(case: Packed | Unpacked) -> Callable[[], Any]:
        return prepare(case.population)

    found = Bar.parse(bar) if bar else None
    return Contestant(name, setup, scan.in_quanta, found, needs, most)


def ours(name: str, setup: Callable[[Any], Callable[[], Any]], bar: str | None = None) -> Contestant:
    """Return a way of the core."""
    return Contestant(name, setup, read, Bar.parse(bar) if bar else None)


CORE = ours("core", core.check)


def exactly(p: Any) -> Callable[[], Any]:
    return scan.NumpyExact(p).check


FOUR_OUTPUTS = (
    CORE,
    peer("numba float64", scan.numba_check, "at least 1.35", "numba"),
    peer("numba float64, fastmath", partial(scan.numba_check, fastmath=True), needs="numba"),
    peer("numpy float64", lambda p: scan.Numpy(p).check, "at least 7.5"),
    peer("numpy float64, tuned", lambda p: scan.NumpyTuned(p).check),
    Contestant("numpy int64, exact", lambda case: exactly(case.population), dict),
    peer("polars", lambda p: scan.Polars(p).check, "at least 20", "polars"),
    peer("polars, tuned", lambda p: scan.PolarsTuned(p).check, needs="polars"),
    peer("pure Python float", lambda p: scan.PurePython(p).check, "at least 100", most=SAMPLE),
    peer("pure Python float, tuned", lambda p: scan.PurePythonTuned(p).check, most=SAMPLE),
)
ONLY_THE_MASK = (
    Contestant("core", core.mask, read),
    peer("numba float64", partial(scan.numba_check, mask=True), "at least 1.8", "numba"),
    peer("numpy float64", lambda p: scan.Numpy(p).mask),
    peer("numpy float64, tuned", lambda p: scan.NumpyTuned(p).mask),
    ours("core, all outputs", core.check),
)
TWO_THREADS = (
    ours("core, 2 threads", partial(core.check, threads=2)),
    ours("core, 1 thread", core.check, "at least 1.7"),
    peer("numba float64, parallel", partial(scan.numba_check, parallel=True), needs="numba"),
)


def test_the_exact_answer_is_the_oracles(packed: Packed) -> None:
    """Everything below is compared with `exact`; that is compared with the shipped oracle."""
    p = packed.population
    rng = np.random.default_rng(SEED)
    picked = rng.choice(SIZE, min(SIZE, TO_THE_ORACLE), replace=False).tolist()
    card = oracle.Card.from_tree(tomllib.loads(p.card()))
    for account in picked:
        name = p.accounts[account]
        rows = [
            {
                "account": name,
                "instrument": p.symbols[p.instrument[row]],
                "quantity_lots": int(p.quantity[row]),
                "cost_quanta": int(p.cost[row]),
            }
            for row in range(p.offsets[account], p.offsets[account + 1])
        ]
        cash = [{"account": name, "amount_quanta": int(p.collateral[account])}]
        chosen = [{"account": name, "leverage": int(p.leverage[account])}]
        (pool,) = oracle.pools_from_tables(card, rows, cash, (), chosen)
        found = oracle.assess(card, pool, p.mark_ticks())
        for column in ("equity", "initial", "maintenance", "status", "liquidatable"):
            assert getattr(found, column) == p.answer[column][account], (name, column)


def test_scan(packed: Packed, contest: Hold) -> None:
    rows = contest(Job(f"scan, {packed.population.name}", FOUR_OUTPUTS, judge), packed)
    assert ours_is_right(rows)


def test_mask(packed: Packed, contest: Hold) -> None:
    rows = contest(Job(f"mask, {packed.population.name}", ONLY_THE_MASK, judge), packed)
    assert ours_is_right(rows)


def test_two_threads(packed: Packed, contest: Hold) -> None:
    job = Job(f"scan, {packed.population.name}, 2 threads", TWO_THREADS, judge, rounds=15)
    assert ours_is_right(contest(job, packed))


def test_wide_path(packed: Packed, contest: Hold) -> None:
    """The same accounts with numbers that no lane holds."""
    past = Packed(past_the_lanes(packed.population))

    def lanes(_: Any) -> Callable[[], Any]:
        return core.check(packed)

    contestants = (ours("core, wide", core.wide), ours("core, lanes", lanes, "at most 2.5"))
    job = Job(f"scan, {packed.population.name}, wide path", contestants, judge)
    assert ours_is_right(contest(job, past))


def test_packing(packed: Packed, contest: Hold) -> None:
    def pack(case: Packed) -> Callable[[], Any]:
        return case.pack

    def check_it(portfolio: Any) -> Any:
        return read(portfolio.check(packed.prices))

    contestants = (Contestant("core, packing", pack, check_it), ours("core", core.check, "at most 20"))
    job = Job(f"packing, {packed.population.name}", contestants, judge, rounds=3)
    assert ours_is_right(contest(job, packed))


def ours_is_right(rows: list[Row]) -> bool:
    """Whether every answer of the core was right, whatever the bars say."""
    return not any(row.note.startswith("WRONG") and row.contestant[:4] == "core" for row in rows)

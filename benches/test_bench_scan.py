"""The batch check of every account: against floats, its own slower ways, and what it stands on."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aivora_core.audit import oracle
from contest import Job, NotThereError, Row
from contestants import (
    FOUR_OUTPUTS,
    ONLY_THE_MASK,
    TWO_THREADS,
    TWO_THREADS_PEERS,
    packing,
    several_assets,
    wide_path,
)
from packed import Packed, judge, of_several_assets
from population import SEED, SIZE, past_the_lanes, population

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Recorder
    from contest import Contestant

    Hold = Callable[..., None]

TO_THE_ORACLE = 300


@pytest.fixture(scope="module", params=["a", "h"])
def packed(request: pytest.FixtureRequest) -> Packed:
    return Packed(population(request.param))


@pytest.fixture
def held(contest: Callable[[Job, Any], list[Row]], packed: Packed) -> Hold:
    """Hold a contest on the population; an answer of the core that is wrong fails it at once."""

    def hold(
        what: str, contestants: tuple[Contestant, ...], case: Any = None, rounds: int = 11
    ) -> None:
        name = f"{what}, {packed.population.name}"
        rows = contest(Job(name, contestants, judge, rounds), case or packed)
        core = [row for row in rows if row.contestant.startswith("core")]
        assert not [row for row in core if row.note.startswith("WRONG")]

    return hold


def test_the_exact_answer_is_the_oracles(packed: Packed) -> None:
    """Everything below is compared with plain integers; those with the shipped oracle."""
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


def test_scan(held: Hold) -> None:
    held("scan", FOUR_OUTPUTS)


def test_mask(held: Hold) -> None:
    held("mask alone", ONLY_THE_MASK)


def test_two_threads(held: Hold) -> None:
    held("scan, 2 threads", TWO_THREADS, rounds=21)


def test_two_threads_of_others(held: Hold) -> None:
    held("scan, 2 threads", TWO_THREADS_PEERS)


def test_wide_path(held: Hold, packed: Packed) -> None:
    """The same accounts with numbers that no lane holds."""
    held("scan, wide path", wide_path(packed), Packed(past_the_lanes(packed.population)))


def test_several_assets(held: Hold, packed: Packed, record: Recorder) -> None:
    contestants = several_assets(packed)
    try:
        case = of_several_assets(packed)
    except NotThereError as why:
        bar = str(contestants[1].bar)
        name = f"scan, 3 collateral assets, {packed.population.name}"
        record.add(Row(name, contestants[1].name, bar=bar, note=str(why)))
        return
    held("scan, 3 collateral assets", contestants, case)


def test_packing(held: Hold, packed: Packed) -> None:
    held("packing", packing(packed), rounds=3)

"""A tick of the watch: against exact delta rescans in Rust, numba and numpy, and lrvx."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import aivora_core as ac
from contest import Ratio, Seconds, in_turn
from packed import Packed
from population import FULL_SIZE, SEED, SIZE, population
from watch_peers import Holders, Lrvx, Walk, flat_card, flat_gaps

if TYPE_CHECKING:
    from conftest import Recorder

ROOT = Path(__file__).resolve().parent.parent
AT_ONCE = 200_000
LRVX_ACCOUNTS = min(SIZE, 100_000)


def rust_bench() -> dict[str, dict[str, Any]]:
    """The cases of rust/core/benches/watch.rs, by name."""
    done = subprocess.run(
        ["cargo", "bench", "--quiet", "-p", "aivora-core", "--bench", "watch"],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"SIZE": str(SIZE), "TICKS": str(10 * SIZE)},
    )
    lines = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    return {line["case"]: line for line in lines}


def test_one_tick_in_rust(record: Recorder) -> None:
    found = rust_bench()
    for case in found.values():
        record.watches(case)
    sizes = (SIZE // 100, SIZE // 10, SIZE)
    bars = {("a", SIZE): 5_000, ("h", SIZE): 500, ("a", sizes[0]): 15, ("h", sizes[0]): 15}
    against = "exact delta rescan of the holders, Rust"
    for name in ("a", "h"):
        for size in sizes:
            case = found[f"calm {name} {size}"]
            bar = bars.get((name, size))
            record(
                f"one tick, calm, {size:,} accounts, {name}",
                against,
                case["ratio"],
                at_least=bar,
                at_any_size=False,
            )
    record(
        "one tick, -10% crash, h",
        against,
        found["crash h"]["ratio"],
        at_least=30,
        at_any_size=False,
    )
    growth = found[f"calm a {SIZE}"]["watch_ns"] / found[f"calm a {sizes[0]}"]["watch_ns"]
    record(
        "growth of a calm tick, a hundred times the accounts",
        "itself",
        growth,
        at_most=10,
        at_any_size=False,
    )
    gap = found["gap h"]
    named = gap["liquidations"] / SIZE
    record(
        "a -5% gap in all prices, h: the answer",
        "one full scan",
        gap["answer"],
        at_most=1.5,
        at_any_size=False,
    )
    record(
        f"the same with certificates made again ({named:.0%} are liquidated)",
        "one full scan",
        gap["certified"],
        at_most=4,
        at_any_size=False,
    )
    for name in ("a", "h"):
        part = found[f"calm {name} {SIZE}"]["delta_ns"] / found[f"recertify {name}"]["watch_ns"]
        record(
            f"certifying one account again, {name}",
            "one delta rescan",
            part,
            at_least=100,
            at_any_size=False,
        )
        bytes_each = found[f"alone {name}"]["bytes"]
        record(
            f"index and records, {name}",
            "-",
            bytes_each,
            at_most=140,
            unit="bytes",
            at_any_size=False,
        )
    plain = found["variant plain"]
    for name, what in (("hedged", "hedged pairs"), ("assets", "three collateral assets")):
        ratio = found[f"variant {name}"]["watch_ns"] / plain["watch_ns"]
        record(f"one tick, calm, {what}", "plain accounts", ratio, at_most=5, at_any_size=False)
    looked = found["variant hedged"]["looked"] / found["variant netted"]["looked"]
    record(
        "hedged pools looked at", "the same net positions", looked, at_most=1.05, at_any_size=False
    )


def watched(packed: Packed, walk: Walk) -> tuple[ac.Watch, np.ndarray[Any, Any]]:
    """A watch some time after it began; who was liquidated since is the venue's."""
    watch = packed.pack().watch(packed.prices)
    taken = watch.liquidatable
    accounts = packed.population.accounts
    for account in np.flatnonzero(taken):
        watch.hand_over(accounts[account])
    for _ in range(20):
        of, ticks = walk.draw(2_000)
        take_over(watch, packed, watch.ticks({"instrument": of, "mark_ticks": ticks}), taken)
    return watch, taken


def take_over(watch: ac.Watch, packed: Packed, hits: ac.Hits, taken: np.ndarray[Any, Any]) -> None:
    """The venue takes over whom the ticks have named, whatever came after."""
    for place in set(hits.index.tolist()):
        if not taken[place]:
            taken[place] = True
            watch.hand_over(packed.population.accounts[place])


def test_ticks_in_bulk_from_python(record: Recorder) -> None:
    packed = Packed(population("a"))
    walk = Walk(packed.population.marks, SEED)
    watch, taken = watched(packed, walk)
    holders = Holders(packed.population, taken).at(walk.marks)
    compiled = holders.numba_tick()
    # The same ticks for all three first: they must name the same accounts.
    of, ticks = walk.draw(600)
    hits = watch.ticks({"instrument": of, "mark_ticks": ticks})
    told = sorted(hits.index[hits.liquidatable].tolist())
    rows = list(zip(of.tolist(), ticks.tolist(), strict=True))
    by_numba = sorted(who for place, mark in rows for who in compiled(place, mark).tolist())
    by_numpy = sorted(who for p, mark in rows for who in holders.numpy_tick(p, mark).tolist())
    assert set(told) == set(by_numpy)
    assert len(set(told) ^ set(by_numba)) <= len(told) // 100, "floats turn ties only"

    few = iter(np.tile(np.arange(len(rows)), 20).reshape(-1, 50).tolist())
    taken_times: dict[str, list[float]] = {"core": [], "numba": [], "numpy": []}
    for _ in range(9):
        of, ticks = walk.draw(AT_ONCE)
        began = time.perf_counter()
        hits = watch.ticks({"instrument": of, "mark_ticks": ticks})
        taken_times["core"].append(time.perf_counter() - began)
        take_over(watch, packed, hits, taken)
        some = [rows[n] for n in next(few)]
        for name, tick in (("numba", compiled), ("numpy", holders.numpy_tick)):
            began = time.perf_counter()
            for place, mark in some:
                tick(place, mark)
            taken_times[name].append(time.perf_counter() - began)
    times = {name: Seconds(taken) for name, taken in taken_times.items()}
    ours = times["core"] * (1 / AT_ONCE)
    for name, bar in (("numba", 2_000), ("numpy", 5_000)):
        theirs = times[name] * (1 / 50)
        what = f"{name}, delta rescan" + (" in float64" if name == "numba" else " in int64")
        job = f"ticks from Python, in bulk, {SIZE:,} accounts, a"
        record(job, what, theirs / ours, at_least=bar, at_any_size=False)


def test_beside_lrvx(record: Recorder) -> None:
    pytest.importorskip("lrvx")
    p = population("h", LRVX_ACCOUNTS)
    # Both begin with those that are safe under the one rate; a negative balance is zero to lrvx.
    both = (flat_gaps(p, p.marks) >= 0) & (p.collateral >= 0)
    alive = np.flatnonzero(both)
    venue = ac.Venue.from_toml(flat_card(p))
    tables = p.tables()
    pf = ac.Portfolio.from_tables(
        venue, positions=tables["positions"], collateral=tables["collateral"]
    )
    watch = pf.watch(ac.Prices(venue, mark_ticks=p.mark_ticks()))
    assert (watch.liquidatable == (flat_gaps(p, p.marks) < 0)).all()
    for account in np.flatnonzero(~both):
        watch.hand_over(p.accounts[account])
    theirs = Lrvx(p, alive.tolist())
    walk = Walk(p.marks, SEED)
    of, ticks = walk.draw(60)
    ticks = np.where(np.arange(60) % 3 == 0, ticks * 99 // 100, ticks)  # some fall by a hundredth
    ours: set[int] = set()
    rows = list(zip(of.tolist(), ticks.tolist(), strict=True))
    liquidated: set[int] = set()
    for place, mark in rows:
        hits = watch.ticks({"instrument": np.array([place]), "mark_ticks": np.array([mark])})
        ours |= set(hits.index.tolist())
        for index in hits.index.tolist():
            watch.hand_over(p.accounts[index])
        liquidated |= theirs.tick(place, mark)
    differ = ours ^ liquidated
    job = f"accounts that only one of the two liquidates, of {len(ours)}"
    record(job, "lrvx LiquidationEngine.on_mark", len(differ), unit="accounts")
    assert len(ours) > 20 * LRVX_ACCOUNTS // 100_000
    assert len(differ) <= len(ours) // 100, "floats turn ties only"
    calls = iter(rows * 50)
    bulk = iter([walk.draw(20_000) for _ in range(8)])

    def many() -> object:
        of, ticks = next(bulk)
        return watch.ticks({"instrument": of, "mark_ticks": ticks})

    times = in_turn(
        {"core": many, "lrvx": lambda: [theirs.tick(*next(calls)) for _ in range(5)]}, 5
    )
    ratio = (times["lrvx"] * (1 / 5)) / (times["core"] * (1 / 20_000))
    assert isinstance(ratio, Ratio)
    what = f"one mark, {LRVX_ACCOUNTS:,} cross accounts, one rate"
    record(what, "lrvx LiquidationEngine.on_mark", ratio, at_least=100, at_any_size=False)


assert FULL_SIZE >= LRVX_ACCOUNTS

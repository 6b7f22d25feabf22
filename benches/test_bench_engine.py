"""The engine from Python: a mixed stream, columns, single calls, order checks, replay.

The day of the stream is cut into parts. In each round every contestant takes the same part, and so
goes on from the same state: the ratios are of the same events.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import deque
from decimal import Decimal
from functools import cache, partial
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import aivora_core as ac
from aivora_core import _core
from baselines.engine import Engine as Plain
from contest import Row, Seconds, in_turn, young_collections_only
from engine_peers import CASH, MARGIN, Flat, Nautilus
from population import SEED, SIZE
from stream import at_size, columns, crowd, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from conftest import Recorder
    from stream import Stream, Told

ROOT = Path(__file__).resolve().parent.parent
PARTS = 10
ORDERS = 2_000
ROUNDS = 11
EMPTY = "empty call"
PER_EVENT: dict[str, float] = {}  # nanoseconds


@cache
def made() -> Stream:
    return at_size(SIZE)


def consume(calls: Iterable[object]) -> None:
    """Go through all, keeping nothing."""
    deque(calls, maxlen=0)


def one_by_one(call: Callable[[Any], object], whole: list[Any]) -> None:
    """Call with each, one after the other."""
    consume(map(call, whole))


def natives(told: Iterable[Told]) -> list[ac.Event]:
    return [own.native for own in told]


def started() -> ac.Engine:
    """An engine at the start of the day."""
    engine = ac.Engine("demo")
    assert not engine.apply_all(natives(made().start)).refused
    return engine


def plain_started(number: Callable[..., Any]) -> Plain:
    engine = Plain(ac.Venue.load("demo"), number)
    consume(map(engine.apply, plain(made().start, number)))
    return engine


def parts(whole: list[Any]) -> list[list[Any]]:
    """The day in parts; the first warms up."""
    size = len(whole) // PARTS
    return [whole[start : start + size] for start in range(0, size * PARTS, size)]


def by_parts(calls: Mapping[str, tuple[Callable[[Any], object], list[Any]]]) -> dict[str, Seconds]:
    """Time each call on one part after the other, all on the same part in turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    with young_collections_only():
        for round_ in range(PARTS):
            for name, (call, own) in calls.items():
                began = time.perf_counter()
                call(own[round_])
                times[name].append(time.perf_counter() - began)
    return {name: Seconds(taken[1:]) for name, taken in times.items()}


def shape(what: str) -> str:
    """Name a job on the stream."""
    stream = made()
    return f"{what}, {len(stream.day):,} events, {stream.accounts:,} accounts"


def test_mixed_stream(record: Recorder) -> None:
    day = parts(made().day)
    core = started()
    calls: dict[str, tuple[Callable[[Any], object], list[Any]]] = {
        "core": (core.apply_all, [natives(part) for part in day])
    }
    others = {"float": float, "Decimal": Decimal}
    engines = {name: plain_started(number) for name, number in others.items()}
    for name, number in others.items():
        own = [plain(part, number) for part in day]
        calls[name] = (partial(one_by_one, engines[name].apply), own)
    times = by_parts(calls)
    assert not core.liquidatable.any(), "liquidation is not the baseline's to do"
    for place in range(0, made().accounts, 7):
        state, exact = core.pool(place), engines["Decimal"].pools[place]
        assert (state["balances"]["USDT"], state["reserved"]) == (exact.balance, exact.reserved)
        close = engines["float"].pools[place]
        assert close.balance == pytest.approx(float(exact.balance), rel=1e-6)
    job = shape("mixed stream, no journal, one thread")
    for name, bar in (("float", 50), ("Decimal", 200)):
        ratio = times[name] / times["core"]
        record(job, f"pure Python {name}", ratio, at_least=bar, at_any_size=False)
    for name, taken in times.items():
        PER_EVENT[name] = float(taken) * 1e9 / len(day[0])
    record(f"{job}: apply_all", "-", PER_EVENT["core"], unit="ns an event")


def rust_bench() -> dict[str, dict[str, Any]]:
    """The cases of rust/core/benches/engine.rs, by name."""
    stream = made()
    size = {"SIZE": str(stream.accounts), "EVENTS": str(len(stream.day))}
    done = subprocess.run(
        ["cargo", "bench", "--quiet", "-p", "aivora-core", "--bench", "engine"],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | size,
    )
    lines = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    return {line["case"]: line for line in lines}


def test_events_a_second_in_rust(record: Recorder) -> None:
    found = rust_bench()
    names = {
        "off": "no journal",
        "none": "journal, fsync none",
        "batch:256": "journal, fsync batch:256",
        "always": "journal, fsync always",
    }
    for policy, name in names.items():
        rate = 1e9 / found[f"journal {policy}"]["ns"]
        record(f"mixed stream in Rust, {name}", "-", rate, unit="events/s")
    for name in ("float", "Decimal"):
        if name in PER_EVENT:
            ratio = PER_EVENT[name] / found["journal off"]["ns"]
            against = f"pure Python {name}, in another process"
            record("mixed stream in Rust, no journal", against, ratio)


def test_columns_from_python(record: Recorder) -> None:
    job, against, bar = shape("mixed stream in columns"), "apply_all of prebuilt events", 1.3
    take: Any = getattr(ac.Engine, "apply_columns", None)
    if take is None:
        row = Row(job, against, bar=f"at most {bar}", note="core: no Engine.apply_columns yet")
        record.add(row)
        return
    day = parts(made().day)
    ours, other = started(), started()
    times = by_parts(
        {
            "columns": (partial(take, ours), [columns(part) for part in day]),
            "events": (other.apply_all, [natives(part) for part in day]),
        }
    )
    assert ours.hash == other.hash
    record(job, against, times["columns"] / times["events"], at_most=bar, at_any_size=False)


def test_one_event_at_a_time(record: Recorder) -> None:
    day = [natives(part) for part in parts(made().day)]
    ours, native = started(), started()
    inner = native.native
    times = by_parts(
        {
            "ours": (partial(one_by_one, ours.apply), day),
            "native": (partial(one_by_one, inner.apply), day),
            "empty": (lambda events: consume(map(_core._empty, repeat(ours), events)), day),
        }
    )
    job = shape("one event at a time, no journal")
    record(job, EMPTY, times["ours"] / times["empty"], at_most=12, at_any_size=False)
    ratio = times["native"] / times["empty"]
    record(f"{job}, without the Python layer", EMPTY, ratio)


@pytest.fixture(scope="module")
def orders() -> list[Told]:
    found = [own for own in made().day if own.name == "order_open"]
    return found[:ORDERS]


def test_check_order(orders: list[Told], record: Recorder) -> None:
    core, other = started(), plain_started(float)
    ours, theirs = natives(orders), [event[-1] for event in plain(orders, float)]
    for order, fields in zip(ours, theirs, strict=True):
        assert core.check_order(order).passes == (other.check_order(fields)[0] is None)
    calls = {
        "core": partial(one_by_one, core.check_order, ours),
        "float": partial(one_by_one, other.check_order, theirs),
        "empty": partial(one_by_one, partial(_core._empty, core), ours),
    }
    peers = {}
    try:
        for kind in (MARGIN, CASH):
            peers[kind] = Nautilus(core.venue, kind, 100_000)
            peers[kind].hold([5, -3, 0, 7, 0, 0, 1, 2, -9, 0, 0, 3], made().prices)
            commands = peers[kind].commands(orders)
            consume(map(peers[kind].engine.execute, commands))
            assert len(peers[kind].passed) + len(peers[kind].denied) == len(orders)
            assert peers[kind].passed, "some go all the way"
            calls[kind] = partial(one_by_one, peers[kind].engine.execute, commands)
    except ImportError:
        peers.clear()
    with young_collections_only():
        times = in_turn(calls, ROUNDS)
    job = "check_order, one by one, prebuilt, no journal"
    record(job, "pure Python float", times["float"] / times["core"], at_least=8, at_any_size=False)
    record(job, EMPTY, times["core"] / times["empty"])
    if not peers:
        record.add(Row(job, "nautilus_trader", note="nautilus_trader is not installed"))
        return
    what = "nautilus_trader 1.221 RiskEngine.execute, {} account"
    against = what.format("margin") + " (asks for no margin)"
    record(job, against, times[MARGIN] / times["core"], at_least=8, at_any_size=False)
    against = what.format("cash") + " (checks the balance)"
    record(job, against, times[CASH] / times["core"])


def test_check_orders_in_a_batch(record: Recorder) -> None:
    job = f"check_orders, {SIZE:,} accounts, an order each"
    against, bar = "numba float64, flat arrays", 1.5
    asked: Any = getattr(ac.Engine, "check_orders", None)
    if asked is None:
        row = Row(job, against, bar=f"at least {bar}", note="core: no Engine.check_orders yet")
        record.add(row)
        return
    pytest.importorskip("numba")
    engine, marks = crowd(SIZE)
    check = Flat(engine, marks).check
    rng = np.random.default_rng(SEED + 1)
    prices = np.array(made().prices)
    at = rng.integers(0, len(prices), SIZE)
    rows = {
        "pool": np.arange(SIZE),
        "instrument": at,
        "side": rng.integers(0, 2, SIZE),
        "lots": np.exp(rng.uniform(0, np.log(10_000), SIZE)).astype(np.int64),
        "limit_ticks": prices[at],
        "reduce_only": np.zeros(SIZE, np.int64),
    }
    plain_rows = [column for name, column in rows.items() if name != "reduce_only"]
    ours, theirs = asked(engine, rows), check(*plain_rows)
    assert (ours.passes == theirs[0]).mean() > 1 - 1e-6
    for name, floats in zip(("free", "reserve", "initial", "equity"), theirs[1:], strict=True):
        np.testing.assert_allclose(getattr(ours, f"{name}_quanta"), floats, rtol=1e-6, atol=16)
    times = in_turn(
        {"core": lambda: asked(engine, rows), "numba": lambda: check(*plain_rows)}, ROUNDS
    )
    record(job, against, times["numba"] / times["core"], at_least=bar, at_any_size=False)


def test_replay(record: Recorder, tmp_path: Path) -> None:
    whole = natives(made().start) + natives(made().day)
    times: dict[str, list[float]] = {"live": [], "verify": [], "open": []}
    for round_ in range(5):
        where = tmp_path / str(round_)
        with ac.Engine("demo", journal=where, fsync="batch:256") as engine:
            began = time.perf_counter()
            consume(map(engine.apply, whole))
            engine.flush()
            times["live"].append(time.perf_counter() - began)
            head, state = engine.head, engine.hash
        began = time.perf_counter()
        found = ac.Journal(where).verify(head)
        times["verify"].append(time.perf_counter() - began)
        began = time.perf_counter()
        with ac.Engine.open(where) as again:
            times["open"].append(time.perf_counter() - began)
            assert (found["events"], found["state"], again.hash) == (len(whole), state, state)
    seconds = {name: Seconds(taken) for name, taken in times.items()}
    against = "live, Engine.apply one by one, fsync batch:256"
    job = f"replay of {len(whole):,} events, Journal.verify"
    ratio = seconds["live"] / seconds["verify"]
    record(job, against, ratio, at_least=3, at_any_size=False)
    ratio = seconds["live"] / seconds["open"]
    record(f"replay of {len(whole):,} events, Engine.open", against, ratio)

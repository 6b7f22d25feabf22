"""What no source can do: an index is bounded by its live sources, and the order of them is nothing.

One broken source cannot move a mark by more than the card states.
"""

from __future__ import annotations

import tomllib
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aivora_core as ac
from aivora_core import pricing

REFERENCE = ac.Venue.load("reference")
BTC = REFERENCE["BTC-PERP"]
NAMES = ("a", "b", "c", "d", "e", "f", "g")

PRICE = st.integers(1, 10**9)
BLENDS = st.sampled_from(["median", "weighted_median", "weighted_mean"])


def index_of(
    rows: list[tuple[int, int, int]], order: list[int], **rule: Any
) -> tuple[int | None, dict[str, str]]:
    """The index of rows of weight, price and time, its sources in an order."""
    sources = [pricing.Source(NAMES[at], weight=rows[at][0], max_age_ms=50) for at in order]
    index = pricing.Index(BTC, sources, **rule)
    for at in order:
        _, price, time = rows[at]
        index.observe(NAMES[at], price * BTC.mark_tick, time=time)
    found = index.value(60)
    return found.ticks, found.states


@given(
    st.lists(
        st.tuples(st.integers(1, 9), PRICE | st.integers(6_390_000, 6_410_000), st.integers(0, 60)),
        min_size=1,
        max_size=7,
    ),
    st.permutations(range(7)),
    BLENDS,
    st.none() | st.integers(0, 100).map(lambda part: f"{part}/100"),
    st.sampled_from(["exclude", "clamp"]),
)
def test_an_index_is_bounded_by_its_live_sources_and_their_order_is_nothing(
    rows: list[tuple[int, int, int]],
    drawn: list[int],
    blend: str,
    outlier: str | None,
    on_outlier: str,
) -> None:
    rule = {"blend": blend, "outlier": outlier, "on_outlier": on_outlier}
    found, states = index_of(rows, list(range(len(rows))), **rule)
    shuffled, others = index_of(rows, [at for at in drawn if at < len(rows)], **rule)
    assert (found, states) == (shuffled, {name: others[name] for name in states})
    if found is not None:
        counted = {"live"} if on_outlier == "exclude" else {"live", "outlier"}
        used = [row[1] for name, row in zip(NAMES, rows, strict=False) if states[name] in counted]
        assert min(used) <= found <= max(used)


def rows_of(
    drawn: list[tuple[int, int, list[int], int]], broken: list[int | None]
) -> tuple[dict[str, Any], list[int]]:
    """A path of seconds: the broken source and four others, the book, a trade; medians of four."""
    seen: list[str] = ["funding"]
    first, second, time = [100_000_000], [28_800_000], [0]
    medians = []
    for second_, ((move, half, offsets, trade), price) in enumerate(
        zip(drawn, broken, strict=True)
    ):
        base = 6_400_000 + move
        others = [base + offset for offset in offsets]
        ordered = sorted(others)
        medians.append((ordered[1] + ordered[2]) // 2)
        told = [(at + 1, other) for at, other in enumerate(others)]
        told += [] if price is None else [(0, price)]
        for source, ticks in told:
            seen.append("source")
            first.append(source)
            second.append(ticks)
        seen += ["best", "impact", "last"]
        first += [base - half, base - half, base + trade]
        second += [base + half, base + half, 0]
        time += [second_ * 1_000] * (len(told) + 3)
    columns = {"first": first, "second": second, "time": time}
    arrays: dict[str, Any] = {k: np.array(own, dtype=np.int64) for k, own in columns.items()}
    return arrays | {"seen": seen}, medians


def marks(columns: dict[str, Any]) -> Any:
    index = pricing.Index.of(REFERENCE, "BTC-PERP", names=["x", "a", "b", "c", "d"])
    found = pricing.Mark.of(REFERENCE, "BTC-PERP").run(index, columns)
    last = [own == "last" for own in columns["seen"]]
    return found[np.array(last)]


SPREAD, BOUND = Fraction(1, 100), Fraction(5, 100)
SECOND = st.tuples(
    st.integers(-300_000, 300_000),
    st.integers(0, 2_000),
    st.lists(st.integers(-25_000, 25_000), min_size=4, max_size=4),  # within 0.8% of their median
    st.integers(-400_000, 400_000),
)


@settings(max_examples=150)
@given(st.data())
def test_one_broken_source_moves_the_mark_by_no_more_than_the_card_states(
    data: st.DataObject,
) -> None:
    drawn = data.draw(st.lists(SECOND, min_size=2, max_size=60))
    wild = st.none() | st.integers(1, 10**9) | st.integers(6_000_000, 6_800_000)
    broken = data.draw(st.lists(wild, min_size=len(drawn), max_size=len(drawn)))
    silent = [None] * len(drawn)
    (with_it, medians), (without, _) = rows_of(drawn, broken), rows_of(drawn, silent)
    for row, (move, _, offsets, _) in enumerate(drawn):
        far = max(abs(6_400_000 + move + own - medians[row]) for own in offsets)
        assert far <= SPREAD * medians[row]
    one, other = marks(with_it), marks(without)
    highest = 0
    for row, median in enumerate(medians):
        highest = max(highest, median)
        assert (one[row] == 0) == (other[row] == 0)
        assert abs(int(one[row]) - int(other[row])) <= BOUND * highest + 2


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"index": {"blend": "weighted_mean"}}, "median"),
        ({"index": {"min_live": 2}}, "min_live"),
        ({"index": {"spread": "0.02"}}, "outlier"),
        ({"index": {"spread": None}}, "spread"),
        ({"mark": {"one_source": "0.0499"}}, "5 x spread"),
    ],
)
def test_a_bound_that_does_not_follow_is_refused(changes: dict[str, Any], limit: str) -> None:
    card = tomllib.loads(REFERENCE.text)
    for table, keys in changes.items():
        for key, value in keys.items():
            if value is None:
                del card["rules"][table][key]
            else:
                card["rules"][table][key] = value
    with pytest.raises(ac.CardError) as caught:
        ac.Venue.from_tree(card)
    assert limit in str(caught.value)


@pytest.mark.parametrize(
    "term",
    [
        pricing.Term("basis", samples=3, every_ms=1),
        pricing.Term("ema", window_ms=10, every_ms=1),
        pricing.Term("fair", interval_ms=1_000, step_ms=7),
    ],
)
def test_the_ends_of_time_are_times(term: pricing.Term) -> None:
    mark = pricing.Mark(BTC, [term])
    mark.see(-(2**63), index=100, best=(99, 101), funding=("0.0001", 2**63 - 1))
    assert mark.update(2**63 - 1) == 100


def test_an_average_remembers_so_many_samples() -> None:
    with pytest.raises(ac.AivoraError) as caught:
        pricing.Mark(BTC, [pricing.Term("ema", window_ms=10_001, every_ms=1)])
    assert (caught.value.code, caught.value.field) == ("out_of_range", "terms[0].window_ms")


def test_the_restart_gate_of_a_card() -> None:
    gate = pricing.RestartGate.of(REFERENCE)
    gate.restart(1_000)
    gate.observe("BTC-PERP", time=1_000)
    assert not gate.permits("withdraw")
    assert gate.permits("average")
    gate.observe("ETH-PERP", time=11_001)
    assert gate.waiting(11_001) == ["BTC-PERP"]
    gate.observe("BTC-PERP", time=11_002)
    assert all(gate.permits(action) for action in pricing.PERMITS)
    for name, time, code in (
        ("XRP", 12_000, "unknown_source"),
        ("ETH-PERP", 11_000, "stale_event"),
    ):
        with pytest.raises(ac.AivoraError) as caught:
            gate.observe(name, time=time)
        assert caught.value.code == code
    with pytest.raises(ac.AivoraError, match="out_of_range"):
        gate.permits("dance")
    with pytest.raises(ac.AivoraError, match="unsaid"):
        pricing.RestartGate.of(ac.Venue.load("gate"))
    with pytest.raises(ac.AivoraError, match="duplicate_key"):
        pricing.RestartGate(["a", "a"], fresh_ms=1)


def test_a_card_writes_rows_of_its_own_table() -> None:
    card = tomllib.loads(REFERENCE.text)
    card["rules"]["validity"]["refuses"] = {"liquidate": ["non_positive", "stale"]}
    own = pricing.permits(ac.Venue.from_tree(card))
    assert own["liquidate"] == frozenset(
        {"too_volatile", "too_uncertain", "stale_for_margin", "too_few_sources", "valid"}
    )
    assert own["withdraw"] == pricing.PERMITS["withdraw"] == {"valid"}

"""Prices: a path through index and mark against plain Python, funding against pandas.

A path: 200,000 rows, six sources in turn (one of them far off now and then), best and impact
prices, trades, a funding rate; with each row the index, a mark, the premium and the class of the
mark. The mark in floats must be within two ticks of ours, whose index, term and median are each
rounded, the premium within what half a tick of the index makes, the classes the same.

Funding: a premium a minute of 300 instruments for 30 days; eight-hour rates with rising weights,
clamp and caps. pandas gets the premiums as a frame of floats, an instrument a column, and does what
one would write: weights by broadcasting, sums by group. Ours is exact, in parts of 10^-12; pandas
must agree to a part in 10^9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import aivora_core as ac
from aivora_core import pricing
from baselines import pricing as baselines
from population import SEED

if TYPE_CHECKING:
    from collections.abc import Callable

INSTRUMENTS = 300
MINUTES = 30 * 24 * 60
INTERVAL = 480
UNIT = 10**12
ROUNDS = 7


def test_a_month_of_funding(
    interleaved: Callable[..., dict[str, float]], record: Callable[..., None]
) -> None:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    rng = np.random.default_rng(SEED)
    steps = rng.normal(0, 2e-5, (INSTRUMENTS, MINUTES)).cumsum(axis=1) * 0.1
    premiums = np.round(np.clip(steps, -0.02, 0.02) * UNIT).astype(np.int64)
    frame = pd.DataFrame(premiums.T / UNIT)
    weights = np.tile(np.arange(1, INTERVAL + 1), MINUTES // INTERVAL)[:, None]
    groups = np.repeat(np.arange(MINUTES // INTERVAL), INTERVAL)
    total = INTERVAL * (INTERVAL + 1) / 2

    def by_pandas() -> Any:
        average = (frame * weights).groupby(groups).sum() / total
        return (average + (0.0001 - average).clip(-0.0005, 0.0005)).clip(-0.0075, 0.0075)

    def ours(threads: int = 1) -> Any:
        return pricing.funding_rates(
            premiums,
            INTERVAL,
            interest="0.0001",
            clamp="0.0005",
            bounds=("-0.0075", "0.0075"),
            threads=threads,
        )

    def exact(row: int, interval: int) -> int:
        own = premiums[row, interval * INTERVAL : (interval + 1) * INTERVAL].tolist()
        return sum(weight * premium for weight, premium in enumerate(own, 1))

    found = ours()
    assert found.shape == (INSTRUMENTS, MINUTES // INTERVAL)
    for row, interval in ((0, 0), (7, 41), (299, 89)):
        # Without a bound or a clamp in the way: average + interest - average is the interest.
        average = exact(row, interval) * 2 / (INTERVAL * (INTERVAL + 1)) / UNIT
        rate = min(max(average + min(max(1e-4 - average, -5e-4), 5e-4), -0.0075), 0.0075)
        assert abs(int(found[row, interval]) - rate * UNIT) < 1_000
    assert np.abs(found / UNIT - by_pandas().to_numpy().T).max() < 1e-9
    jobs = {"one": ours, "two": lambda: ours(2), "pandas": by_pandas}
    seconds = interleaved(jobs, ROUNDS)
    what = f"funding rates, {INSTRUMENTS} instruments, 30 days of minutes"
    record(what, "pandas", seconds["pandas"] / seconds["one"], at_least=10)
    record(f"{what}, two threads", "pandas", seconds["pandas"] / seconds["two"])


ROWS = 200_000
SOURCES = 6


def path() -> dict[str, Any]:
    """A walk of a price, seen by all."""
    rng = np.random.default_rng(SEED)
    price = 6_400_000 + rng.integers(-300, 301, ROWS).cumsum()
    seen = rng.choice(np.array([0, 0, 0, 0, 2, 4, 5, 7], dtype=np.uint8), ROWS)
    first = np.where(seen == 0, np.arange(ROWS) % SOURCES, price - 50)
    far = rng.random(ROWS) < 0.01
    second = np.where(seen == 0, price + rng.integers(-400, 401, ROWS), price + 50)
    second = np.where(far & (seen == 0), second * 2, second)
    time = rng.integers(0, 60, ROWS).cumsum()
    head = {"seen": [6, 4, 2, 0, 0, 0], "first": [10**8, 6_399_950, 6_400_000, 0, 1, 2]}
    head |= {"second": [28_800_000, 6_400_050, 0, *[6_400_000] * 3], "time": [0] * 6}
    columns = {"seen": seen, "first": first, "second": second, "time": time}
    kinds = {name: np.uint8 if name == "seen" else np.int64 for name in columns}
    return {
        name: np.concatenate([np.array(head[name]), own]).astype(kinds[name])
        for name, own in columns.items()
    }


def test_a_path_through_index_and_mark(
    interleaved: Callable[..., dict[str, float]], record: Callable[..., None]
) -> None:
    btc = ac.Venue.load("demo")["BTC"]
    columns = path()
    rows = list(zip(*(own.tolist() for own in columns.values()), strict=True))

    limits = pricing.Limits(volatile=5, min_live=3, stale_ms=5_000)

    def ours() -> Any:
        sources = [pricing.Source(f"s{place}") for place in range(SOURCES)]
        index = pricing.Index(btc, sources, outlier="0.03", min_live=3)
        fair = pricing.Term("fair", interval_ms=28_800_000)
        basis = pricing.Term("basis", samples=30, every_ms=5_000)
        mark = pricing.Mark(btc, [fair, basis, pricing.Term("last")])
        return mark.trace(index, columns, limits)

    def plain() -> list[tuple[float, float, str]]:
        market = baselines.Float(SOURCES, 0.03, 30, 5_000)
        return [market.step(*row) for row in rows]

    exact, floats = ours(), plain()
    marks, premiums = (np.array([row[at] for row in floats]) for at in (0, 1))
    assert (exact["mark"] > 0).sum() > 0.99 * len(marks)
    assert np.abs(exact["mark"] - marks).max() <= 2
    known = exact["premium"] != np.iinfo(np.int64).min
    assert known.sum() > 0.99 * len(marks)
    assert np.abs(exact["premium"][known] / UNIT - premiums[known]).max() < 0.6 / 6_000_000
    assert [pricing.CLASSES[at] for at in exact["validity"]] == [row[2] for row in floats]
    seconds = interleaved({"ours": ours, "plain Python": plain}, 5)
    what = f"{ROWS:,} rows: index of {SOURCES} sources, mark of three terms, premium, validity"
    record(what, "plain Python float", seconds["plain Python"] / seconds["ours"], at_least=50)

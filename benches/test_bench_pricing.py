"""Funding of many instruments over a month, against pandas with the same algorithm.

A premium a minute of 300 instruments for 30 days; eight-hour rates with rising weights, clamp and
caps. pandas gets the premiums as a frame of floats, an instrument a column, and does what one would
write: weights by broadcasting, sums by group. Ours is exact, in parts of 10^-12; pandas must agree
to a part in 10^9 of a rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aivora_core import pricing
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

    def ours() -> Any:
        return pricing.funding_rates(
            premiums, INTERVAL, interest="0.0001", clamp="0.0005", bounds=("-0.0075", "0.0075")
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
    seconds = interleaved({"ours": ours, "pandas": by_pandas}, ROUNDS)
    what = f"funding rates, {INSTRUMENTS} instruments, 30 days of minutes"
    record(what, "pandas", seconds["pandas"] / seconds["ours"], at_least=10)

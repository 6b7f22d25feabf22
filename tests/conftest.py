"""What every test may ask for: the project's root, the real data, the size of a random run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import aivora_core as ac

ROOT = Path(__file__).resolve().parent.parent

# Same input, same run: CI searches the same examples each time, a longer run draws new ones.
settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("nightly", parent=settings.get_profile("default"), derandomize=False)
settings.load_profile("nightly" if "AIVORA_POOLS" in os.environ else "default")


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the project's root directory."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the directory of real market data; skip, with a reason, where there is none."""
    path = Path(os.environ.get("AIVORA_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip("no real data: set AIVORA_DATA, or put it in ../shared/data")
    return path


@pytest.fixture(scope="session")
def pools() -> int:
    """Return how many random pools a differential run compares: AIVORA_POOLS, or 20,000."""
    return int(os.environ.get("AIVORA_POOLS", "20000"))


ASSETS_CARD = """schema = "aivora-card/0"
name = "assets"
[asset.USDT]
quantum = "0.000001"
[asset.BTC]
quantum = "0.00000001"
price_tick = "0.01"
haircuts = [{ floor = "0", haircut = "0.05" }, { floor = "1", haircut = "0.1" }]
liability_weight = "1.1"
[rules]
settlement = "USDT"
valuation = "USDT"
withdrawal_profit = "0.5"
taker_fee = "0.0005"
[[instrument]]
symbol = "BTCUSDT"
kind = "linear"
price_tick = "0.1"
mark_tick = "0.1"
lot = "0.001"
[instrument.tiers]
by = "notional"
brackets = [{ floor = "0", maintenance = "0.005", max_leverage = "100" }]
[[instrument]]
symbol = "BTCUSD"
kind = "inverse"
settlement = "BTC"
price_tick = "0.1"
mark_tick = "0.1"
lot = "1"
multiplier = "100"
[instrument.tiers]
by = "notional"
brackets = [{ floor = "0", maintenance = "0.01", max_leverage = "50" }]
"""


@pytest.fixture(scope="session")
def venue() -> ac.Venue:
    """Return a venue of two assets: a linear instrument in one, an inverse one in the other."""
    return ac.Venue.from_toml(ASSETS_CARD)

"""What every test may ask for: the project's root, the real data, the size of a random run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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

"""Time and memory from a hundredth of the population to five times it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from contestants import BYTES_AN_ACCOUNT
from population import SEED, SIZE

if TYPE_CHECKING:
    from conftest import Recorder

HERE = Path(__file__).resolve().parent
SIZES = (max(1, SIZE // 100), max(1, SIZE // 10), SIZE, 5 * SIZE)


@pytest.mark.parametrize("size", SIZES)
def test_time_and_memory(size: int, record: Recorder) -> None:
    done = subprocess.run(
        [sys.executable, "scaling.py", str(size), str(SEED)],
        cwd=HERE,
        check=True,
        capture_output=True,
        text=True,
    )
    point: dict[str, Any] = json.loads(done.stdout)
    record.scales(point)
    assert point["legs"] > 2 * size
    if size != SIZE:
        return
    said = point["bytes_held"]
    held = said if said is not None else point["bytes_grown"]
    how = "Portfolio.memory" if said is not None else "growth of the process"
    if held is None:
        pytest.skip("neither Portfolio.memory nor /proc/self/statm is there")
    each = held / size
    bar = BYTES_AN_ACCOUNT
    record(
        "memory of the packed portfolio", how, each, at_most=bar, unit="bytes", at_any_size=False
    )

"""What `import aivora_core` adds to `import numpy`."""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 9
LIMIT_MS = 50

PROGRAM = """
import time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import aivora_core
print((middle - start) * 1e3, (time.perf_counter() - middle) * 1e3)
"""


def test_import_beside_numpy(record: Callable[..., None]) -> None:
    pairs = []
    for _ in range(RUNS):
        done = subprocess.run(
            [sys.executable, "-I", "-c", PROGRAM], check=True, capture_output=True, text=True
        )
        pairs.append([float(part) for part in done.stdout.split()])
    _, ours_ms = (statistics.median(column) for column in zip(*pairs, strict=True))
    record("import aivora_core, beside numpy", "limit", ours_ms, at_most=LIMIT_MS, unit="ms")

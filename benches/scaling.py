"""Time and memory of the scan at one size, in a process of its own: `python scaling.py SIZE SEED`.

Prints one JSON object. Memory is what the portfolio says it holds, and beside it how much the
process grew by packing it, after the allocator gave back what it could.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

from contest import NotThereError, in_turn
from packed import Packed, check, memory
from population import population

PAGE_BYTES = 4096
ROUNDS = 9
WARM_UP = 100


def resident() -> int | None:
    """Bytes of this process that are in memory, where the system says it."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    except (AttributeError, OSError):
        return None
    return int(pages) * PAGE_BYTES


def measure(size: int, seed: int) -> dict[str, Any]:
    """Measure at one size."""
    drawn = population("a", size, seed)
    _ = Packed(drawn.first(min(size, WARM_UP))).portfolio  # what is made once is not counted
    packed = Packed(drawn)
    before, began = resident(), time.perf_counter()
    portfolio = packed.portfolio
    seconds, after = time.perf_counter() - began, resident()
    try:
        said: int | None = memory(portfolio)
    except NotThereError:
        said = None
    one, two = check(packed), check(packed, 2)
    times = in_turn({"1 thread": one, "2 threads": two}, ROUNDS)
    return {
        "accounts": size,
        "legs": portfolio.leg_count,
        "ns_per_account": {name: float(t) * 1e9 / size for name, t in times.items()},
        "packing_seconds": seconds,
        "bytes_held": said,
        "bytes_grown": None if before is None or after is None else after - before,
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))  # noqa: T201 - its answer

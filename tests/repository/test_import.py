"""The import is light: what is heavy is imported by the function that needs it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

LIMIT_MS = 50
RUNS = 7

TIMED = """
import time, numpy
start = time.perf_counter()
import aivora_core
print((time.perf_counter() - start) * 1e3)
"""

LISTED = """
import sys, numpy
before = set(sys.modules)
import aivora_core
after = set(sys.modules) - before
import json
print(json.dumps(sorted(after)))
"""

HEAVY = {
    "argparse",
    "asyncio",
    "concurrent",
    "csv",
    "gzip",
    "html",
    "http",
    "json",
    "multiprocessing",
    "pandas",
    "polars",
    "pyarrow",
    "rich",
    "socket",
    "sqlite3",
    "subprocess",
    "tomllib",
    "unittest",
    "urllib.request",
}


def fresh(program: str) -> str:
    command = [sys.executable, "-I", "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_import_costs_at_most_50_ms_beside_numpy() -> None:
    times = [float(fresh(TIMED)) for _ in range(RUNS)]
    assert statistics.median(times) <= LIMIT_MS, times


def test_import_loads_nothing_heavy() -> None:
    loaded = json.loads(fresh(LISTED))
    assert "aivora_core" in loaded
    assert [name for name in loaded if HEAVY & {name, name.split(".")[0]}] == []

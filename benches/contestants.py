"""The registry: every contestant of every job of the scan, with the bars.

One entry says who (`name`), how its inputs are prepared and what is timed (`setup`), how its answer
is read, and what it must reach. Bars hold at the full size, in one run, one thread unless said.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import packed as core
from baselines import scan
from contest import Bar, Contestant
from packed import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from packed import Packed, Unpacked

    Setup = Callable[[Any], Callable[[], Any]]

SAMPLE = 200_000  # accounts of the pure Python runs: past the caches, scaled per account
BYTES_AN_ACCOUNT = 100  # the bar on memory


def peer(
    name: str,
    prepare: Setup,
    bar: str | None = None,
    needs: str | None = None,
    most: int | None = None,
) -> Contestant:
    """One who works on the bare columns and answers in floats."""

    def setup(case: Unpacked) -> Callable[[], Any]:
        return prepare(case.population)

    found = Bar.parse(bar) if bar else None
    return Contestant(name, setup, scan.in_quanta, found, needs, most)


def ours(name: str, setup: Setup, bar: str | None = None) -> Contestant:
    """Return a way of the core."""
    return Contestant(name, setup, read, Bar.parse(bar) if bar else None)


def other(case: Packed, name: str, bar: str) -> Contestant:
    """Return the plain scan of another case, to compare ours with."""
    return Contestant(name, core.check, read, Bar.parse(bar), on=case)


FOUR_OUTPUTS = (
    ours("core", core.check),
    peer("numba float64", scan.numba_check, "at least 1.35", "numba"),
    peer("numba float64, fastmath", partial(scan.numba_check, fastmath=True), needs="numba"),
    peer("numpy float64", lambda p: scan.Numpy(p).check, "at least 7.5"),
    peer("numpy float64, tuned", lambda p: scan.NumpyTuned(p).check),
    Contestant("numpy int64, exact", lambda c: scan.NumpyExact(c.population).check, dict),
    peer("polars", lambda p: scan.Polars(p).check, "at least 20", "polars"),
    peer("polars, tuned", lambda p: scan.PolarsTuned(p).check, needs="polars"),
    peer("pure Python float", lambda p: scan.PurePython(p).check, "at least 100", most=SAMPLE),
    peer("pure Python float, tuned", lambda p: scan.PurePythonTuned(p).check, most=SAMPLE),
)
ONLY_THE_MASK = (
    ours("core, mask", core.mask),
    peer("numba float64", partial(scan.numba_check, mask=True), "at least 1.8", "numba"),
    peer("numpy float64", lambda p: scan.Numpy(p).mask),
    peer("numpy float64, tuned", lambda p: scan.NumpyTuned(p).mask),
    ours("core, four outputs", core.check),
)
TWO_THREADS = (
    ours("core, 2 threads", partial(core.check_again, threads=2)),
    ours("core, 1 thread", core.check_again, "at least 1.7"),
)
# A contest of its own: numba's idle threads go on spinning, on the core that the other would use.
TWO_THREADS_PEERS = (
    ours("core, 2 threads", partial(core.check, threads=2)),
    peer("numba float64, 2 threads", partial(scan.numba_check, parallel=True), needs="numba"),
)


def wide_path(lanes: Packed) -> tuple[Contestant, ...]:
    """Numbers that no lane holds, against the same accounts in the lanes."""
    return ours("core, wide", core.wide), other(lanes, "core, lanes", "at most 2.5")


def several_assets(plain: Packed) -> tuple[Contestant, ...]:
    """Collateral of three assets, against the same accounts with one."""
    return ours("core, 3 assets", core.check), other(plain, "core, 1 asset", "at most 2")


def packing(packed: Packed) -> tuple[Contestant, ...]:
    """Packing from tables, against one scan."""

    def answer(portfolio: Any) -> Any:
        return read(portfolio.check(packed.prices))

    pack = Contestant("core, packing", lambda case: case.pack, answer)
    return pack, ours("core, one scan", core.check, "at most 20")

"""Pictures of a watched feed and of mark rules on a path (extra ``plot``).

>>> from aivora_core.adapters.plots import SUFFIXES
>>> ".svg" in SUFFIXES
True
"""

from __future__ import annotations

import textwrap
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aivora_core._core import _error

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from matplotlib.figure import Figure

    from aivora_core._core import Walk
    from aivora_core.adapters.exits import Instant, Watch
    from aivora_core.lag import Lag

__all__ = ["SUFFIXES", "check", "lag", "plot"]

SUFFIXES = (".svg", ".png", ".pdf")


def check(path: str | os.PathLike[str]) -> None:
    """Refuse what could not be drawn, before any work is done.

    Raises
    ------
    UnknownNameError
        ``missing_extra`` without matplotlib.
    NumberError
        ``out_of_range`` for a file that ends in something else than `SUFFIXES`.
    """
    from importlib.util import find_spec

    if Path(path).suffix.lower() not in SUFFIXES:
        limit = f"must end in one of {', '.join(SUFFIXES)}"
        raise _error("out_of_range", "plot", str(path), limit)
    if find_spec("matplotlib") is None:
        limit = "install the extra: pip install 'aivora-core[plot]'"
        raise _error("missing_extra", "plot", "no matplotlib", limit)


def plot(watch: Watch, path: str | os.PathLike[str], *, title: str, priced: bool = True) -> None:
    """Draw depth, slippage and what the walks cost over time, and write it to a file.

    Parameters
    ----------
    watch : Watch
        After its run.
    path : str or path
        Ends in ``.svg``, ``.png`` or ``.pdf``.
    title : str
        What stands above.
    priced : bool
        Whether the cost of a walk means an amount; without it the third panel shows how much of
        each exit the book could not fill.

    Raises
    ------
    AivoraError
        As `check`.
    """
    check(path)
    with _figure(path, title) as figure:
        top, middle, bottom = figure.subplots(3, 1, sharex=True)
        instants = watch.instants
        seconds = [instant.elapsed_ns / 1e9 for instant in instants]
        _depth(top, seconds, instants, watch.bands)
        _exits(middle, seconds, watch, "slippage_bps")
        middle.set_ylabel("slippage against mid, bps")
        middle.set_yscale("symlog", linthresh=1)
        _exits(bottom, seconds, watch, "premium" if priced else "unfilled")
        bottom.set_ylabel("walk cost against mid, quote" if priced else "unfilled, contracts")
        bottom.set_yscale("symlog", linthresh=1)
        bottom.set_xlabel("seconds of receipt")
        for axes in (top, middle, bottom):
            axes.grid(visible=True, alpha=0.3)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=7)


def lag(found: Lag, path: str | os.PathLike[str]) -> None:
    """Draw marks and liquidations by rule over a path, and write it to a file.

    Parameters
    ----------
    found : Lag
        What was measured.
    path : str or path
        Ends in ``.svg``, ``.png`` or ``.pdf``.

    Raises
    ------
    AivoraError
        As `check`.
    """
    check(path)
    way = found.path
    seconds = (way.time - way.time[way.start]) / 1_000
    with _figure(path, way.title) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True)
        at = int(way.index[way.start])
        for own in found.outcomes:
            shown = [m / at * 100 if m else NOTHING for m in own.marks[way.start :].tolist()]
            top.plot(seconds[way.start :], shown, linewidth=1, label=own.rule)
            rows = sorted(own.first.values())
            steps = [float(seconds[row]) for row in rows]
            end = float(seconds[-1])
            counts = [*range(1, len(steps) + 1), len(steps)]
            bottom.step([*steps, end], counts, where="post", label=f"{own.rule}: {len(steps)}")
        top.set_ylabel("mark, percent of the index at the start")
        bottom.set_ylabel(f"liquidated, of {found.accounts}")
        bottom.set_xlabel("seconds")
        for axes in (top, bottom):
            axes.axvline(float(seconds[way.low]), color="grey", linewidth=0.5)
            axes.grid(visible=True, alpha=0.3)
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=7)


@contextmanager
def _figure(path: str | os.PathLike[str], title: str) -> Iterator[Figure]:
    """Give a figure to draw on; the same input gives the same file: no clock, no random ids."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "aivora", "font.size": 9}):
        figure = Figure(figsize=(10, 9), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        figure.suptitle("\n".join(textwrap.wrap(title, 100)))
        kind = Path(path).suffix.lower()[1:]
        stamp: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
        figure.savefig(path, format=kind, metadata=stamp)


NOTHING = float("nan")


def _depth(
    axes: Any, seconds: list[float], instants: list[Instant], bands: tuple[str, ...]
) -> None:
    for number, bps in enumerate(bands):
        for side, name in enumerate(("bids", "asks")):
            held = [float(i.depth[bps][side]) if i.depth else NOTHING for i in instants]
            style = {"color": f"C{number}", "linestyle": "-" if side == 0 else "--", "lw": 1}
            axes.plot(seconds, held, label=f"{name} within {bps} bps", **style)
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylabel("depth, units of quantity")


def _premium(walk: Walk) -> float:
    """What a walk costs above the mid, or brings in below it."""
    if walk.slippage_bps is None:
        return NOTHING
    slip = float(walk.slippage_bps) / 1e4
    return float(walk.cost) * slip / (1 + slip if walk.side == "buy" else 1 - slip)


def _exits(axes: Any, seconds: list[float], watch: Watch, what: str) -> None:
    """A line for each exit; floats are for the eye only."""
    count = 2 * len(watch.sizes)
    for place in range(count):
        drawn = []
        for instant in watch.instants:
            walk = instant.exits[place] if instant.exits else None
            if walk is None:
                drawn.append(NOTHING)
            elif what == "premium":
                drawn.append(_premium(walk))
            else:
                value = getattr(walk, what)
                drawn.append(NOTHING if value is None else float(value))
        side = "sell" if place < len(watch.sizes) else "buy"
        size = watch.sizes[place % len(watch.sizes)]
        style = {"color": f"C{place % len(watch.sizes)}", "lw": 1}
        axes.plot(
            seconds,
            drawn,
            label=f"{side} {size}",
            linestyle="-" if side == "sell" else "--",
            **style,
        )

"""A picture of a watched feed: depth, slippage and the cost of walks over time (extra ``plot``).

>>> from aivora_core.adapters.plots import SUFFIXES
>>> ".svg" in SUFFIXES
True
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aivora_core._core import _error

if TYPE_CHECKING:
    import os

    from aivora_core._core import Walk
    from aivora_core.adapters.exits import Instant, Watch

__all__ = ["SUFFIXES", "check", "plot"]

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
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Same input, same file: no clock and no random ids in it.
    with mpl.rc_context({"svg.hashsalt": "aivora", "font.size": 9}):
        figure = Figure(figsize=(10, 9), layout="constrained")
        FigureCanvasAgg(figure)
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
        figure.suptitle(title)
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

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
    rows = slice(way.start, _end(found))
    start_ms, at = int(way.time[way.start]), int(way.index[way.start])
    seconds = [(ms - start_ms) / 1_000 for ms in way.time[rows].tolist()]
    index = way.index[rows].tolist()
    low_s = (int(way.time[way.low]) - start_ms) / 1_000
    with _figure(path, way.title) as figure:
        axes = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 4))
        for own, style in zip(found.outcomes, _styles(found), strict=True):
            if not own.known:
                continue
            pairs = list(zip(own.marks[rows].tolist(), index, strict=True))
            level = [mark / at * 100 if mark else NOTHING for mark, _ in pairs]
            off = [
                (mark - own_index) / own_index * 1e4 if mark else NOTHING
                for mark, own_index in pairs
            ]
            hits = [(int(way.time[row]) - start_ms) / 1_000 for row in sorted(own.first.values())]
            counts = range(len(hits) + 1)
            axes[0].plot(seconds, level, **style)
            axes[1].plot(seconds, off, **style)
            label = f"{own.rule}: {len(hits):,}" + (
                f", {own.bounced:,} after the bounce" if own.bounced else ""
            )
            axes[2].step(
                [seconds[0], *hits, seconds[-1]],
                [*counts, len(hits)],
                where="post",
                label=label,
                **style,
            )
        axes[0].set_ylabel("mark, % of the first index")
        axes[1].set_ylabel("mark off the index, bps")
        axes[2].set_ylabel(f"liquidated, of {found.accounts:,}")
        axes[2].set_xlabel("seconds; shaded: after the low of the index")
        for each in axes:
            each.axvline(low_s, color="black", linewidth=0.8, linestyle=":")
            each.axvspan(low_s, seconds[-1], color="black", alpha=0.04, linewidth=0)
            each.margins(x=0)
            each.grid(visible=True, alpha=0.3)
        axes[0].annotate(
            "the index turns",
            (low_s, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -4),
            textcoords="offset points",
            va="top",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8},
        )
        axes[2].yaxis.get_major_locator().set_params(integer=True)
        figure.legend(loc="outside lower center", ncols=3, fontsize=8)


def _end(found: Lag) -> int:
    """The row after which nothing is left to see: the book is back, nobody is liquidated."""
    way = found.path
    off = abs(way.last - way.index)
    off[: way.start] = 0
    far = (off * TAIL > off.max()).nonzero()[0]
    hits = [row for own in found.outcomes for row in own.first.values()]
    last = max([way.low, *hits, *far[-1:].tolist()])
    return int(min(len(way), last + (last - way.start) // TAIL + 2))


#: A distance of less than this part of the largest one is nothing to see.
TAIL = 10


def _styles(found: Lag) -> list[dict[str, Any]]:
    """How each rule is drawn: the index black, averages by window from dark to light."""
    import matplotlib as mpl

    windows = [own.rule for own in found.outcomes if own.rule.startswith("mean of ")]
    others = [own.rule for own in found.outcomes if " of " not in own.rule]
    shades = mpl.colormaps["plasma"]
    styles: list[dict[str, Any]] = []
    for own in found.outcomes:
        kind, _, window = own.rule.partition(" of ")
        if own.rule == "index":
            styles.append({"color": "black", "lw": 2, "zorder": 3})
        elif f"mean of {window}" in windows:
            shade = shades(0.9 * windows.index(f"mean of {window}") / max(1, len(windows) - 1))
            styles.append({"color": shade, "lw": 1.3, "ls": "-" if kind == "mean" else ":"})
        else:
            styles.append({"color": f"C{others.index(own.rule) % 10}", "lw": 1, "ls": "--"})
    return styles


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

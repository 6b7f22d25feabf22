"""Plain text for terminals: tables that fit, and progress that stays out of the way."""

from __future__ import annotations

import sys
import time
from collections.abc import Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["counting", "grouped", "progress", "table"]


def grouped(text: str, places: int | None = None) -> str:
    """A decimal as text with its thousands set apart, cut (not rounded) to so many places.

    Examples
    --------
    >>> from aivora_core.render import grouped
    >>> grouped("-1234567.8912", 2)
    '-1,234,567.89'
    """
    whole, _, part = text.lstrip("-").partition(".")
    if places is not None:
        part = part[:places].ljust(places, "0")
    sign = "-" if text.startswith("-") else ""
    return f"{sign}{int(whole or '0'):,}{'.' + part if part else ''}"


def table(rows: Iterable[Sequence[Any]], header: Sequence[str], left: int = 1) -> str:
    """Rows under a header: the first ``left`` columns to the left, the others to the right.

    Examples
    --------
    >>> from aivora_core.render import table
    >>> print(table([("a", 1), ("bb", 20)], ("name", "n")))
      name   n
      a      1
      bb    20
    """
    lines = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  " + "  ".join(padded).rstrip()

    return "\n".join(line(cells) for cells in lines)


@contextmanager
def counting(label: str, total: int | None = None) -> Iterator[Callable[[], None]]:
    """Count steps, with a bar on standard error where that is a terminal and the work takes long.

    Examples
    --------
    >>> from aivora_core.render import counting
    >>> with counting("events") as step:
    ...     step()
    """
    if not sys.stderr.isatty():
        yield lambda: None
        return
    done, shown = 0, time.monotonic() + 0.4  # what takes less needs no bar

    def step() -> None:
        nonlocal done, shown
        if time.monotonic() - shown > 0.1:  # noqa: PLR2004 - ten times a second
            shown = time.monotonic()
            bar = f"{done:,}"
            if total:
                filled = min(30 * done // total, 30)
                bar = f"[{'#' * filled}{'.' * (30 - filled)}] {done:,}/{total:,}"
            print(f"\r{label} {bar}", end="", file=sys.stderr, flush=True)
        done += 1

    try:
        yield step
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def progress(items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
    """Pass items on, with a bar on standard error where that is a terminal and the work takes long.

    Without ``total``, and for items that have no length, it counts.

    Examples
    --------
    >>> from aivora_core.render import progress
    >>> list(progress([1, 2], "counting"))
    [1, 2]
    """
    total = len(items) if total is None and isinstance(items, Sized) else total
    with counting(label, total) as step:
        for item in items:
            step()
            yield item

"""What the benches found: rows, the machine they ran on, a table, `report.json`."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plots import draw
from population import FULL_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from contest import Difference, Row

    Table = list[tuple[str, ...]]

SCHEMA = "aivora-bench/0"
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SCRATCH = ROOT / "target" / "bench"
PLOTS = ROOT / "docs" / "plots"
PAGE = ROOT / "docs" / "guide" / "performance.md"
WATCH_PAGE = ROOT / "docs" / "guide" / "watch.md"
BEGIN, END = "<!-- begin: written by make bench -->\n", "<!-- end -->\n"
PEERS = ("numpy", "numba", "polars", "nautilus_trader")
FEATURES = ("sse4_2", "avx2", "avx512f", "avx512vl", "asimd", "sve")
NOTES = (
    "A ratio with `at least` is how many times our time the other takes; with `at most`, how many",
    "times its time we take; without a bar, as with `at least`. Median of the rounds (quartiles).",
)


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _said(*command: str) -> str:
    """First line that a command says, or a dash."""
    try:
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "-"
    return done.stdout.strip().split("\n")[0] or "-"


def machine() -> dict[str, Any]:
    """Processor, cores, features, system."""
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return {
        "processor": info.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "features": [name for name in FEATURES if name in flags],
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Versions of what took part."""
    found = {"python": platform.python_version(), "rust": _said("rustc", "-V").split(" (")[0]}
    for name in ("aivora-core", *PEERS):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit() -> str:
    """Return the commit of the tree, and whether it was changed since."""
    given = os.environ.get("AIVORA_COMMIT")
    return given or _said("git", "describe", "--always", "--dirty", "--abbrev=12")


def gather(
    rows: Iterable[Row],
    differences: Iterable[Difference] = (),
    scaling: Iterable[dict[str, Any]] = (),
    watch: Iterable[dict[str, Any]] = (),
    *,
    size: int,
    seed: int,
) -> dict[str, Any]:
    """Everything that `report.json` holds."""
    return {
        "schema": SCHEMA,
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "size": size,
        "seed": seed,
        "bars_apply": size == FULL_SIZE,
        "rows": [asdict(row) for row in rows],
        "differences": [
            {"where": d.where, "contestant": d.contestant, **asdict(d.verdict)} for d in differences
        ],
        "scaling": list(scaling),
        "watch": list(watch),
    }


def _value(row: dict[str, Any]) -> str:
    value, unit = row["value"], row["unit"]
    if value is None:
        return "-"
    if unit != "x":
        return f"{value:,.0f} {unit}" if value == int(value) else f"{value:,.1f} {unit}"
    text = _short(value) + "x"
    if row["quartiles"] and row["quartiles"][0] != row["quartiles"][1]:
        text += " ({} to {})".format(*(_short(q) for q in row["quartiles"]))
    return text


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _met(row: dict[str, Any]) -> str:
    if row["bar"] is None:
        return ""
    if row["met"] is None:
        return "n/a" if row["value"] is not None else "-"
    return "yes" if row["met"] else "NO"


def cells(report: dict[str, Any]) -> Table:
    """Rows of the table of ratios as text, the heading first."""
    head = ("job", "against", "ratio or amount", "bar", "met", "")
    rows = report["rows"]
    body = [
        (r["job"], r["contestant"], _value(r), r["bar"] or "", _met(r), r["note"]) for r in rows
    ]
    return [head, *body]


def differences(report: dict[str, Any]) -> Table:
    """Return the table of answers that differ from the exact one, in accounts."""
    found = {(d["where"], d["contestant"]): d for d in report["differences"]}
    places = list(dict.fromkeys(where for where, _ in found))
    head = ["decisions / last digits that differ"]
    for where in places:
        of = next(d["of"] for (place, _), d in found.items() if place == where)
        head.append(f"{where}, of {of:,}")
    body = []
    for name in dict.fromkeys(name for _, name in found):
        row = [name]
        for where in places:
            d = found.get((where, name))
            row.append(f"{d['decisions']:,} / {d['digits']:,}" if d else "-")
            if d and d["wrong"]:
                row[-1] += f" WRONG {d['wrong']:,}"
        body.append(tuple(row))
    return [tuple(head), *body] if body else []


def scaling(report: dict[str, Any]) -> Table:
    """Return time and memory at several sizes, the heading first."""
    head = ("accounts", "ns, 1 thread", "ns, 2 threads", "bytes held", "packing, s")
    body = []
    for point in sorted(report["scaling"], key=lambda p: int(p["accounts"])):
        size = point["accounts"]
        held = point["bytes_grown"] if point["bytes_held"] is None else point["bytes_held"]
        times = (f"{ns:.1f}" for ns in point["ns_per_account"].values())
        each = "-" if held is None else f"{held / size:.0f}"
        body.append((f"{size:,}", *times, each, f"{point['packing_seconds']:.2f}"))
    return [head, *body] if body else []


def _number(case: dict[str, Any], key: str) -> str:
    value = case.get(key)
    return "-" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def watch_costs(report: dict[str, Any]) -> Table:
    """Return what a tick costs with and without the watch, and how many pools it looks at."""
    keys = ("watch_ns", "delta_ns", "ratio", "looked", "looked_each")
    head = ("ticks", "watch, ns", "delta rescan, ns", "ratio", "looked at a tick", "a liquidation")
    cases = [case for case in report["watch"] if "looked" in case]
    body = [(case["case"], *(_number(case, key) for key in keys)) for case in cases]
    return [head, *body] if body else []


def watch_tails(report: dict[str, Any]) -> Table:
    """Return the tails of single ticks in nanoseconds, the clock's own time among them."""
    head = ("one tick, ns", "p50", "p99", "p99.9", "max", "the clock")
    keys = ("p50", "p99", "p999", "max")
    body = []
    for case in report["watch"]:
        if "p50" not in case:
            continue
        clock = _number(case, "clock")
        name = f"{case['case']}, {case['ticks']:,.0f} ticks"
        body.append((f"watch, {name}", *(_number(case, key) for key in keys), clock))
        theirs = (_number(case, f"delta_{key}") for key in keys)
        body.append((f"delta rescan, {case['case']}", *theirs, clock))
    return [head, *body] if body else []


def about(report: dict[str, Any]) -> Iterator[str]:
    """Yield where and on what it was measured, in lines."""
    m = report["machine"]
    features = ", ".join(m["features"])
    cores = f"{m['cores']} cores ({features}), {m['system']}"
    yield f"machine   {m['processor']}, {cores}, load {m['load']:.2f}"
    yield "versions  " + ", ".join(f"{name} {v}" for name, v in report["versions"].items())
    yield f"commit    {report['commit']}   seed {report['seed']}   accounts {report['size']:,}"
    if not report["bars_apply"]:
        yield f"The bars of the scan hold at SIZE={FULL_SIZE}; here they do not apply (n/a)."


def _plain(table: Table) -> Iterator[str]:
    widths = [max(len(row[n]) for row in table) for n in range(len(table[0]))]
    for number, row in enumerate(table):
        padded = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()
        if number == 0:
            yield "  ".join("-" * width for width in widths).rstrip()
    yield ""


def plain(report: dict[str, Any]) -> Iterator[str]:
    """Yield the whole report as text."""
    yield from _plain(cells(report))
    if table := differences(report):
        yield from _plain(table)
    for table in (scaling(report), watch_costs(report), watch_tails(report)):
        if table:
            yield from _plain(table)
    yield from about(report)
    yield from NOTES


def _markdown(table: Table) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in table]
    return [lines[0], "|" + "---|" * len(table[0]), *lines[1:], ""]


def markdown(report: dict[str, Any]) -> str:
    """Write the tables and where they were measured, for the docs page."""
    lines = _markdown(cells(report))
    if table := differences(report):
        lines += _markdown(table)
    if table := scaling(report):
        lines += _markdown(table)
    return "\n".join([*lines, "```text", *about(report), "```", ""])


def watch_markdown(report: dict[str, Any]) -> str:
    """Write the tables of the watch, for its docs page."""
    lines = _markdown(watch_costs(report)) + _markdown(watch_tails(report))
    return "\n".join([*lines, "```text", *about(report), "```", ""])


def into_page(page: str, text: str) -> str:
    """Return a docs page with its tables replaced."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN!r} or {END!r}")
    return before + begin + text + end + after


def publish(report: dict[str, Any], *, whole: bool) -> list[Path]:
    """Write `report.json`, the plots, and for a whole run the docs page.

    A run of the whole bench at full size is kept in the tree; any other goes to target/bench.
    """
    folder, plots = (HERE, PLOTS) if whole else (SCRATCH, SCRATCH)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.json"
    path.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    written = [path]
    if importlib.util.find_spec("matplotlib") is not None:
        written += draw(report, plots)
    if whole:
        for page, text in ((PAGE, markdown(report)), (WATCH_PAGE, watch_markdown(report))):
            page.write_text(into_page(page.read_text("utf-8"), text), "utf-8")
            written.append(page)
    return written

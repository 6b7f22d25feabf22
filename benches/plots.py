"""Draw the report: `ratios.svg`, `scaling.svg` and `watch.svg`, the same bytes for the same report.

Needs matplotlib, from the extra `bench`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {
    "svg.hashsalt": "aivora-core",  # element ids do not change from run to run
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "figure.dpi": 100,
}
OURS, PEER, BAR = "#1f5fa8", "#9aa5b1", "#b3261e"
POPULATION = "scan, a"


def caption(report: dict[str, Any]) -> str:
    """Say on what it was measured, and that it promises nothing."""
    m = report["machine"]
    return (
        f"{m['processor']}, {m['cores']} cores, {m['system']}; commit {report['commit']}, "
        f"seed {report['seed']}. One run: compare ratios; times are not promises."
    )


def ratios(report: dict[str, Any]) -> Any:
    """How many times our time each other takes for the whole check of population a."""
    from matplotlib.figure import Figure

    rows = [r for r in report["rows"] if r["job"] == POPULATION and r["value"] is not None]
    rows.sort(key=lambda r: float(r["value"]))
    figure = Figure(figsize=(7.2, 0.6 + 0.34 * (len(rows) + 1)), layout="constrained")
    axes = figure.subplots()
    names = ["core", *(r["contestant"] for r in rows)]
    values = [1.0, *(float(r["value"]) for r in rows)]
    axes.barh(names, values, color=[OURS] + [PEER] * len(rows), height=0.62)
    for place, value in enumerate(values):
        axes.text(value * 1.05, place, f"{value:.3g}x", va="center")
    for place, row in enumerate(rows, 1):
        if row["bar"]:
            bar = float(row["bar"].rsplit(" ", 1)[1])
            axes.plot([bar, bar], [place - 0.4, place + 0.4], color=BAR, linewidth=1.5)
    axes.set_xscale("log")
    axes.set_xlim(0.5, max(values) * 2)
    axes.invert_yaxis()
    axes.set_xlabel(
        f"time over the core's, {report['size']:,} accounts, four outputs, one thread (red: bar)"
    )
    return figure


def scaling(report: dict[str, Any]) -> Any:
    """Time and memory an account, by the number of accounts."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    points = sorted(report["scaling"], key=lambda p: int(p["accounts"]))
    sizes = [p["accounts"] for p in points]
    figure = Figure(figsize=(7.2, 3.1), layout="constrained")
    time, memory = figure.subplots(1, 2)
    for name, color in (("1 thread", OURS), ("2 threads", PEER)):
        times = [p["ns_per_account"][name] for p in points]
        time.plot(sizes, times, marker="o", color=color, label=name)
    time.set_title("scan, ns an account", loc="left", fontsize=9)
    time.set_yscale("log")
    for which in ("major", "minor"):
        getattr(time.yaxis, f"set_{which}_formatter")(FuncFormatter(lambda y, _: f"{y:g}"))
    time.legend(frameon=False)
    held = [p["bytes_grown"] if p["bytes_held"] is None else p["bytes_held"] for p in points]
    kept = [(size, h / size) for size, h in zip(sizes, held, strict=True) if h is not None]
    memory.plot([s for s, _ in kept], [h for _, h in kept], marker="o", color=OURS)
    memory.set_title("packed portfolio, bytes an account", loc="left", fontsize=9)
    memory.set_ylim(0, 1.15 * max(h for _, h in kept))
    for axes in (time, memory):
        axes.set_xscale("log")
        axes.set_xlabel("accounts")
    return figure


def watch(report: dict[str, Any]) -> Any:
    """What a calm tick costs, by the number of accounts, with the watch and without."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.1), layout="constrained")
    axes = figure.subplots()
    for name, style in (("a", "-"), ("h", "--")):
        cases = [c for c in report["watch"] if str(c["case"]).startswith(f"calm {name} ")]
        sizes = [int(str(c["case"]).split()[-1]) for c in cases]
        for key, color, who in (("delta_ns", PEER, "delta rescan"), ("watch_ns", OURS, "watch")):
            costs = [float(c[key]) for c in cases]
            axes.plot(sizes, costs, style, marker="o", color=color, label=f"{who}, {name}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("accounts")
    axes.set_title("one calm tick, ns", loc="left", fontsize=9)
    axes.legend(frameon=False)
    return figure


def draw(report: dict[str, Any], folder: Path) -> list[Path]:
    """Draw what the report has rows for."""
    import matplotlib as mpl

    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    with mpl.rc_context(SETTINGS):
        for name, plot, there in (
            ("ratios", ratios, any(row["job"] == POPULATION for row in report["rows"])),
            ("scaling", scaling, bool(report["scaling"])),
            ("watch", watch, any(str(c["case"]).startswith("calm ") for c in report["watch"])),
        ):
            if there:
                figure = plot(report)
                figure.supxlabel(caption(report), fontsize=6.5, color="#555555")
                path = folder / f"{name}.svg"
                figure.savefig(path, metadata={"Date": None, "Creator": None})
                text = path.read_text("utf-8")
                path.write_text("\n".join(map(str.rstrip, text.splitlines())) + "\n", "utf-8")
                drawn.append(path)
    return drawn

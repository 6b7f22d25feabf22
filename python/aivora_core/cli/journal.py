"""Commands on a journal: write one, replay it, verify it, show and export it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aivora_core import _core
from aivora_core.cli.answer import Answer
from aivora_core.day import day, shocked
from aivora_core.engine import Engine, Journal
from aivora_core.errors import InvariantBroken, JournalError, Refused
from aivora_core.explain import amount
from aivora_core.liquidation import POLICIES, compare
from aivora_core.render import counting, grouped, progress, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

__all__ = ["export", "liquidate", "replay", "run_journal", "show", "verify"]


# --- writing -----------------------------------------------------------------------------------


def run_journal(a: argparse.Namespace) -> Answer:
    """Drive an engine through a day, with a journal: events of a file, or a made-up day."""
    where = Path(a.journal)
    with Engine(a.venue or "demo", policy=a.policy, journal=where, fsync=a.fsync) as engine:
        answers = _given(engine, a.events) if a.events else day(engine, a.count, seed=a.seed)
        names: Counter[str] = Counter()
        refused: Counter[str] = Counter()
        for answer in progress(answers, "events"):
            names.update(answer.names)
            if answer.refused is not None:
                refused[answer.refused.code] += 1
        engine.snapshot()
        data = {
            "journal": str(where),
            "venue": engine.venue.name,
            "fsync": a.fsync,
            "events": engine.events,
            "refused": dict(sorted(refused.items())),
            "outcomes": dict(sorted(names.items())),
            "forced_orders": engine.forced_orders,
            "funds": engine.funds,
            "state": engine.hash,
            "head": engine.head,
        }
    made = "" if a.events else f" (made up, seed {a.seed}; no figure is anybody's)"
    lines = [
        f"{data['events']:,} events of {data['venue']}{made} into {where}",
        f"  {sum(refused.values()):,} refused: {_counts(refused)}",
        "",
        table(sorted(names.items()), ("outcome", "count")),
        "",
        f"  state {data['state']}",
        f"  head  {data['head']}",
        "",
        "Next",
        f"  aivora verify {where} --head {data['head']}",
        f"  aivora journal show {where}",
    ]
    return Answer(data, "\n".join(lines))


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "none"


def _given(engine: Engine, path: str) -> Iterator[Any]:
    """The events of a file of JSON lines, as ``journal export`` writes them."""
    with Path(path).open("r", encoding="utf-8") as lines:
        for row, line in enumerate(lines, 1):
            try:
                given = json.loads(line, parse_float=str)
                name = given["event"]
                source, sequence, time = (given[key] for key in ("source", "sequence", "time"))
            except (ValueError, KeyError, TypeError) as error:
                limit = "must be an object with event, source, sequence, time and fields"
                raise _core._error("corrupt_line", path, str(error), limit, row) from None
            fields = given.get("fields", {})
            yield engine.apply(engine.native.event(name, source, sequence, time, fields))


# --- comparing ---------------------------------------------------------------------------------


def liquidate(a: argparse.Namespace) -> Answer:
    """Run every liquidation policy on the same state and books, after the same fall."""
    if a.journal:
        engine = Journal(a.journal).replay()
        known = {
            own.symbol: engine.prices.mark_ticks(own.symbol) for own in engine.venue.instruments
        }
        marks = {
            symbol: (ticks - ticks * a.drop // 100) * engine.venue[symbol].mark_tick
            for symbol, ticks in known.items()
            if ticks is not None
        }
        what = f"{engine.native.pool_count():,} pools at the end of {a.journal}"
    else:
        engine, marks = shocked(a.venue or "demo", a.accounts, a.drop, a.seed)
        what = f"{a.accounts:,} accounts (made up, seed {a.seed}; no figure is anybody's)"
    policies = dict(POLICIES)
    for path in a.policy:
        policies[Path(path).stem] = Path(path).read_text("utf-8")
    rows = compare(engine, marks, a.counterparty, policies=policies)
    quantum = engine.venue.assets[engine.venue.settlement]["quantum"]

    def shown(row: dict[str, Any], name: str) -> str:
        return grouped(amount(row[name], quantum), 2)

    money = ("closed", "left", "fees", "insurance", "socialised")
    counts = ("started", "orders", "deleveraged")
    cells = [
        (row["policy"], *(row[name] for name in counts), *(shown(row, name) for name in money))
        for row in rows
    ]
    head = ("policy", "pools", "orders", "adl", "closed", "left", "fees", "insured", "shared")
    lines = [
        f"{what}, marks down by {a.drop}%",
        f"the same state and books for each; in {engine.venue.settlement}, with a fee of 0.5%",
        "",
        table(cells, head),
        "",
        "  closed: by forced orders, at the mark; left: to the pools when it was over;",
        "  insured: paid by the fund; shared: borne by others' profits",
    ]
    state = {"journal": a.journal, "state": engine.hash}
    made = {"accounts": a.accounts, "seed": a.seed}
    data = (state if a.journal else made) | {"drop_percent": a.drop, "policies": rows}
    return Answer(data, "\n".join(lines))


# --- reading -----------------------------------------------------------------------------------


def replay(a: argparse.Namespace) -> Answer:
    """Take every event of a journal again, and tell what followed."""
    names: Counter[str] = Counter()
    refused: Counter[str] = Counter()

    def note(row: dict[str, Any]) -> None:
        names.update(outcome["outcome"] for outcome in row["outcomes"])
        if isinstance(row["refused"], Refused):
            refused[row["refused"].code] += 1

    found = Journal(a.journal).verify(each=note)
    data = found | {"outcomes": dict(sorted(names.items()))}
    lines = [
        f"{found['events']:,} events, {found['refused']:,} refused",
        table(sorted(names.items()), ("outcome", "count")),
        f"  state {found['state']}",
    ]
    return Answer(data, "\n".join(lines))


def verify(a: argparse.Namespace) -> Answer:
    """Check every byte, decide every event again; exit 1 where anything is not as it was told."""
    journal = Journal(a.journal)
    try:
        if a.hashes:
            found = journal.verify(a.head)
        else:
            with counting("events") as step:
                found = journal.verify(a.head, each=lambda _: step(), recount=True)
    except (JournalError, InvariantBroken) as error:
        if error.code not in {"journal_corrupt", "journal_version", "invariant_broken"}:
            raise
        return Answer({"verified": False, "error": error.to_dict()}, f"NOT VERIFIED: {error}", 1)
    kept = "the head that was kept came up" if a.head else "no head that was kept elsewhere"
    torn = f"\n  torn: {found['torn']} (never answered for)" if found["torn"] else ""
    lines = [
        f"verified: {found['events']:,} events in {len(found['roots']) + 1} segments",
        f"  {found['states']} hashes of the state came up again; {kept}",
    ]
    if "recounted" in found:
        own = found["recounted"]
        lines += [
            "  decided once more by the oracle, which shares no code with the core: it agrees on",
            f"  {own['events']:,} events ({own['refused']:,} refused) and {own['outcomes']:,}",
            f"  outcomes, {own['pools']:,} pools and the funds, after {own['checks']:,} checks",
        ]
    else:
        lines.append("  what followed was not decided once more: leave --hashes out")
    lines += [f"  state {found['state']}", f"  head  {found['head']}{torn}"]
    if not a.head:
        lines.append("  without --head a journal written anew would verify too")
    return Answer({"verified": True, "anchored": bool(a.head)} | found, "\n".join(lines))


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """A row as plain data."""
    refused = row["refused"]
    return row | {"refused": None if refused is None else refused.to_dict()}


def _line(row: dict[str, Any]) -> str:
    fields = " ".join(f"{name}={_shown(value)}" for name, value in row["fields"].items())
    lines = [f"{row['position']:>8}  {row['time']:>12}  {row['event']:<18}  {fields}"]
    if row["refused"] is not None:
        lines.append(f"{'':>24}refused: {row['refused']}")
    for outcome in row["outcomes"]:
        parts = " ".join(f"{k}={_shown(v)}" for k, v in outcome.items() if k != "outcome")
        lines.append(f"{'':>24}-> {outcome['outcome']} {parts}")
    return "\n".join(lines)


def _shown(value: object) -> str:
    return "-" if value is None else str(value)


def show(a: argparse.Namespace) -> Answer:
    """Show the events of a journal with what followed."""
    kept: list[dict[str, Any]] = []

    def note(row: dict[str, Any]) -> None:
        wanted = not a.outcome or any(o["outcome"] == a.outcome for o in row["outcomes"])
        if row["position"] >= a.start and len(kept) < a.rows and wanted:
            kept.append(row)

    found = Journal(a.journal).verify(each=note)
    text = "\n".join(_line(row) for row in kept)
    rest = found["events"] - len(kept)
    more = f"\n  ... {rest:,} others; --rows, --start and --outcome choose" if rest else ""
    return Answer({"rows": [_row(row) for row in kept], "events": found["events"]}, text + more)


def export(a: argparse.Namespace) -> Answer:
    """Write all events to a file: JSON lines, or Parquet with the extra ``arrow``."""
    target = Path(a.to)
    if target.suffix == ".parquet":
        rows = [_row(row) for row in Journal(a.journal).rows()]
        _parquet(rows, target)
        count = len(rows)
    else:
        with target.open("w", encoding="utf-8") as lines:
            found = Journal(a.journal).verify(
                each=lambda row: print(json.dumps(_row(row), default=str), file=lines)
            )
        count = found["events"]
    return Answer({"events": count, "file": str(target)}, f"{count:,} events written to {target}")


def _parquet(rows: list[dict[str, Any]], target: Path) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        limit = "pip install 'aivora-core[arrow]'"
        raise _core._error("missing_extra", "journal export", "pyarrow", limit, None) from None
    names = ("position", "source", "sequence", "time", "event")
    columns = {name: [row[name] for row in rows] for name in names}
    for name in ("fields", "refused", "outcomes"):
        columns[name] = [json.dumps(row[name], default=str) for row in rows]
    parquet.write_table(pa.table(columns), target)

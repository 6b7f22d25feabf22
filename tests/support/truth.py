"""The tables of ``docs/guide/truth.md``, from the case files and their index.

``python tests/support/truth.py`` writes them into the page.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
CASES = ROOT / "tests" / "cases"
PAGE = ROOT / "docs" / "guide" / "truth.md"

KINDS = ("payload", "official", "venue_test", "third_party")
#: Folders, the name of each, and its cards.
VENUES = {
    "binance": ("Binance", "`binance-usdm`, `binance-coinm`"),
    "bybit": ("Bybit", "`bybit-linear`, `bybit-inverse`"),
    "okx": ("OKX", "`okx-swap`"),
    "bitmex": ("BitMEX", "`bitmex`"),
    "deribit": ("Deribit", "`deribit`"),
    "kraken": ("Kraken Futures", "`kraken-futures`"),
    "gate": ("Gate", "`gate`"),
    "bitget": ("Bitget", "`bitget`"),
    "hyperliquid": ("Hyperliquid", "`hyperliquid`"),
    "dydx": ("dYdX v4", "`dydx-v4`"),
    "drift": ("Drift v2", "`drift-v2`"),
    "kucoin": ("KuCoin", "-"),
    "generic": ("no venue named", "-"),
    "dango": ("dango", "-"),
    "mango": ("Mango v4", "-"),
    "vega": ("Vega", "-"),
    "flox": ("FLOX", "-"),
    "nautilus": ("nautilus_trader", "-"),
    "cross-margin-engine": ("cross-margin-engine", "-"),
}
HEADER: tuple[str, ...] = ("venue", "cards", "published", "hold as cases", "of them: payloads", "official examples")
HEADER += ("the venue's own tests", "tests of others", "with a fitted parameter", "not entered")


def _cases() -> list[tuple[str, dict[str, Any]]]:
    """Each published case with its folder."""
    paths = (path for path in sorted(CASES.rglob("*.case.json")) if path.parent.name != "spec")
    return [(path.parent.name, json.loads(path.read_text("utf-8"))) for path in paths]


def _absent() -> list[tuple[str, str, str]]:
    """Vectors that are no case: folder, name, reason."""
    text = (CASES / "INDEX.md").read_text("utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| - (.+) \|$", text, flags=re.MULTILINE)
    return [(re.split(r"[.-]", name)[0], name, reason) for name, reason in rows]


def _row(cells: tuple[object, ...]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def counts() -> str:
    """Give the table by venue."""
    cases, absent = _cases(), Counter(folder for folder, _, _ in _absent())
    lines = [_row(HEADER), "|" + "---|" * len(HEADER)]
    total = [0] * (len(HEADER) - 2)
    for folder, (name, cards) in VENUES.items():
        own = [case for where, case in cases if where == folder]
        kinds = Counter(case["kind"] for case in own)
        fitted = sum(bool(case["fitted"]) for case in own)
        numbers = [len(own) + absent[folder], len(own), *(kinds[kind] for kind in KINDS)]
        numbers += [fitted, absent[folder]]
        total = [one + more for one, more in zip(total, numbers, strict=True)]
        lines.append(_row((name, cards, *numbers)))
    lines.append(_row(("**all**", "", *total)))
    return "\n".join(lines)


def fitted() -> str:
    """Give the cases that prove less, as a parameter was taken from their own figures."""
    rows = [
        _row((f"`{case['id']}`", ", ".join(case["fitted"])))
        for _, case in _cases()
        if case["fitted"]
    ]
    return "\n".join([_row(("case", "fitted")), "|---|---|", *rows])


def differing() -> str:
    """Give the cases in which ours and the published figure are not the same number."""
    rows = []
    for _, case in _cases():
        why = {one["why"]: one["tolerance"] for one in case["expect"] if "tolerance" in one}
        reasons = "; ".join(f"{reason} ({tolerance})" for reason, tolerance in why.items())
        if reasons:
            rows.append(_row((f"`{case['id']}`", reasons.replace("|", "/"))))
    return "\n".join([_row(("case", "why, and the tolerance")), "|---|---|", *rows])


def absent() -> str:
    """Give what is no case, and why."""
    rows = [_row((f"`{name}`", reason)) for _, name, reason in _absent()]
    return "\n".join([_row(("vector", "why it is none")), "|---|---|", *rows])


TABLES = {"counts": counts, "fitted": fitted, "differing": differing, "absent": absent}


def filled(text: str) -> str:
    """Give the page with its tables made anew."""
    for name, of in TABLES.items():
        start = text.index(f"<!-- {name} -->\n") + len(f"<!-- {name} -->\n")
        text = f"{text[:start]}{of()}\n{text[text.index('<!-- end -->', start) :]}"
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")

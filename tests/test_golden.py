"""Golden digests: one changes only with a line in CHANGELOG.md under "Numbers"."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aivora_core as ac
from aivora_core import demo

if TYPE_CHECKING:
    from pathlib import Path


def digests() -> dict[str, str]:
    made = demo.demo()
    book = demo.book(made.venue, "BTC", made.prices)
    return {
        **{f"card {name}": ac.Venue.load(name).hash for name in ac.Venue.builtin_names()},
        "portfolio of the demo": made.portfolio.digest,
        "prices of the demo": made.prices.digest,
        "report of the demo": made.portfolio.report_digest(made.prices),
        "book of the demo": book.digest,
        "walk of the demo": book.walk("sell", "1.5").digest,
    }


def test_golden_digests(root: Path) -> None:
    assert digests() == json.loads((root / "tests" / "golden.json").read_text())

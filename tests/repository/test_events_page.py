"""The page of events names every event that there is, in their order, with the fields of each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import aivora_core as ac

if TYPE_CHECKING:
    from pathlib import Path


def test_every_event_stands_on_its_page(root: Path) -> None:
    with pytest.raises(ac.TableError) as error:
        ac.Engine("demo").source(1).event("no_such_event", time=0)
    known = error.value.limit.removeprefix("must be one of ").split(", ")
    page = (root / "docs" / "reference" / "events.md").read_text("utf-8")
    table = page[page.index("| event |") : page.index("## What follows")]
    shown = re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)
    assert shown == known

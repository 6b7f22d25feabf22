"""The page of errors names every code with its class, and nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aivora_core import _core

if TYPE_CHECKING:
    from pathlib import Path


def test_the_page_lists_every_error(root: Path) -> None:
    page = (root / "docs" / "reference" / "errors.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", page, flags=re.MULTILINE)
    assert sorted(listed) == sorted(_core._error_kinds())

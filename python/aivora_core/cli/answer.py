"""What every command gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Answer"]


@dataclass(frozen=True)
class Answer:
    """What a command found: for programs, for people, and the exit code."""

    data: dict[str, Any]
    text: str
    code: int = 0

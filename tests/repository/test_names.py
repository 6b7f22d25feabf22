"""The public names: pinned, documented, and those of the wheel rather than of the tree."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import aivora_core as ac

PINNED = [
    "Account",
    "AivoraError",
    "Answer",
    "Answers",
    "BankruptcyPrice",
    "Book",
    "BookError",
    "Books",
    "CardError",
    "Changes",
    "Decision",
    "Engine",
    "Event",
    "Explanation",
    "Flip",
    "FloatGivenError",
    "Hits",
    "Instrument",
    "InvariantBroken",
    "Journal",
    "JournalError",
    "LimitExceeded",
    "LiquidationPrice",
    "NumberError",
    "OpenInterest",
    "OrderCheck",
    "OrderChecks",
    "Portfolio",
    "PriceError",
    "Prices",
    "Recovery",
    "Refused",
    "Report",
    "Source",
    "TableError",
    "UnknownNameError",
    "Venue",
    "Walk",
    "Watch",
    "Withdrawal",
    "__version__",
    "walk_many",
]


def public() -> list[str]:
    return [name for name in ac.__all__ if not name.startswith("__")]


def is_plain_class(name: str) -> bool:
    thing = getattr(ac, name)
    return inspect.isclass(thing) and not issubclass(thing, Exception)


def test_the_installed_wheel_is_tested(root: Path) -> None:
    assert ac.__file__ is not None
    assert not Path(ac.__file__).resolve().is_relative_to(root / "python")


def test_public_names_are_pinned() -> None:
    assert sorted(ac.__all__) == PINNED


def test_public_names_exist() -> None:
    assert [name for name in ac.__all__ if not hasattr(ac, name)] == []


@pytest.mark.parametrize("name", public())
def test_a_public_name_is_documented(name: str) -> None:
    thing = getattr(ac, name)
    doc = inspect.getdoc(thing) or ""
    assert doc.strip(), f"{name} has no docstring"
    if inspect.ismodule(thing) or (inspect.isclass(thing) and issubclass(thing, Exception)):
        return
    assert ">>> " in doc, f"{name} has no example"


@pytest.mark.parametrize("name", [name for name in public() if is_plain_class(name)])
def test_public_members_are_documented(name: str) -> None:
    thing = getattr(ac, name)
    listed = re.findall(r"^(\w[\w, ]*) :", inspect.getdoc(thing) or "", flags=re.MULTILINE)
    attributes = {name for line in listed for name in line.split(", ")}
    bare = [
        member
        for member, value in vars(thing).items()
        if not member.startswith("_")
        and member not in attributes
        and not (inspect.getdoc(value) or "").strip()
    ]
    assert bare == []


def test_the_package_is_typed() -> None:
    assert ac.__file__ is not None
    package = Path(ac.__file__).parent
    assert (package / "py.typed").is_file()
    assert (package / "_core.pyi").is_file()

"""The floors: each module uses the floors below it and never one above, on both sides."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLOORS = [
    "numbers",
    "data",
    "pricing",
    "margin",
    "execution",
    "monitoring",
    "guard",
    "engine",
    "roof",  # what uses every floor and is used by none: the crate's root, commands, reports
]
RANK = {floor: rank for rank, floor in enumerate(FLOORS)}

# A new Python module is entered here, by the floor of what it decides or shows.
PYTHON = {
    "aivora_core": "roof",
    "aivora_core._core": "numbers",  # the binding of all floors: its own order is held in Rust
    "aivora_core.adapters": "data",
    "aivora_core.adapters.exits": "execution",
    "aivora_core.adapters.feeds": "data",
    "aivora_core.adapters.formats": "data",
    "aivora_core.adapters.plots": "roof",
    "aivora_core.adapters.synchronise": "data",
    "aivora_core.audit": "numbers",  # what checks from outside imports nothing: it is below all
    "aivora_core.audit.deciding": "numbers",
    "aivora_core.audit.formulas": "numbers",
    "aivora_core.audit.liquidating": "numbers",
    "aivora_core.audit.oracle": "numbers",
    "aivora_core.audit.pricing": "numbers",
    "aivora_core.audit.recount": "numbers",
    "aivora_core.audit.state": "numbers",
    "aivora_core.bench": "roof",
    "aivora_core.cases": "roof",
    "aivora_core.cli": "roof",
    "aivora_core.cli.answer": "roof",
    "aivora_core.cli.commands": "roof",
    "aivora_core.cli.feed": "roof",
    "aivora_core.cli.formula": "roof",
    "aivora_core.cli.journal": "roof",
    "aivora_core.cli.venues": "roof",
    "aivora_core.day": "roof",
    "aivora_core.decision": "engine",
    "aivora_core.demo": "roof",
    "aivora_core.engine": "engine",
    "aivora_core.errors": "numbers",
    "aivora_core.explain": "margin",
    "aivora_core.formulas": "data",
    "aivora_core.frames": "data",
    "aivora_core.lag": "roof",
    "aivora_core.liquidation": "engine",
    "aivora_core.portfolio": "margin",
    "aivora_core.pricing": "pricing",
    "aivora_core.render": "roof",
    "aivora_core.scorecard": "roof",
    "aivora_core.watch": "margin",
}


def without_comments(source: str) -> str:
    """Rust source with comments and the contents of plain strings blanked."""
    pattern = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"'
    return re.sub(pattern, lambda m: '""' if m[0][0] == '"' else " ", source, flags=re.DOTALL)


def roots_of(source: str) -> Iterator[str]:
    """First names behind ``crate::``, those of a grouped ``crate::{a::X, b::Y}`` too."""
    for match in re.finditer(r"\bcrate::(?:([a-z_]\w*)|\{)", source):
        if match[1]:
            yield match[1]
            continue
        depth, name = 1, ""
        for char in source[match.end() :]:
            depth += (char == "{") - (char == "}")
            if depth == 0 or (depth == 1 and char == ","):
                yield name.strip().split("::")[0].split(" ")[0]
                name = ""
            elif depth == 1:
                name += char
            if depth == 0:
                break


def rust_floor(path: Path, src: Path) -> str:
    name = path.relative_to(src).parts[0].removesuffix(".rs")
    return "roof" if name in {"lib", "main"} else name


def test_every_rust_module_stands_on_a_floor(root: Path) -> None:
    src = root / "rust" / "core" / "src"
    strays = {rust_floor(path, src) for path in src.rglob("*.rs")} - RANK.keys()
    assert not strays, f"not a floor: {sorted(strays)}"


def test_rust_uses_go_down(root: Path) -> None:
    src = root / "rust" / "core" / "src"
    files = sorted(src.rglob("*.rs"))
    assert files
    upward = [
        f"{path.relative_to(src)} uses crate::{used}"
        for path in files
        for used in roots_of(without_comments(path.read_text("utf-8")))
        if used in RANK and RANK[used] > RANK.get(rust_floor(path, src), -1)
    ]
    assert not upward


@pytest.mark.parametrize(
    ("source", "roots"),
    [
        ("use crate::margin::Pool;", ["margin"]),
        ("use crate::{data::{Card, x::Y}, margin};", ["data", "margin"]),
        ("fn f() -> crate::engine::State {}", ["engine"]),
        ("/// [`crate::engine`] in a comment\nuse super::x;", []),
        ('let s = "crate::engine";', []),
    ],
)
def test_the_rust_scan_sees_uses(source: str, roots: list[str]) -> None:
    assert list(roots_of(without_comments(source))) == roots


def python_modules(root: Path) -> dict[str, Path]:
    base = root / "python"
    names = {}
    for path in sorted(base.rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports_of(path: Path, module: str) -> Iterator[str]:
    """Modules of this package that a file imports, those inside functions too."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")
            base = ".".join(up[: len(up) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, [base, node.module or ""]))
            for alias in node.names:
                full = f"{origin}.{alias.name}"
                yield full if full in PYTHON else origin


def test_every_python_module_has_a_floor(root: Path) -> None:
    modules = python_modules(root)
    assert modules
    assert set(modules) | {"aivora_core._core"} == set(PYTHON)
    assert set(PYTHON.values()) <= set(FLOORS)


def test_python_imports_go_down(root: Path) -> None:
    upward = [
        f"{module} ({PYTHON[module]}) imports {used} ({PYTHON[used]})"
        for module, path in python_modules(root).items()
        for used in imports_of(path, module)
        if used in PYTHON and RANK[PYTHON[used]] > RANK[PYTHON[module]]
    ]
    assert not upward


@pytest.mark.parametrize("name", ["oracle", "formulas"])
def test_the_oracle_imports_nothing_of_the_project(root: Path, name: str) -> None:
    module = f"aivora_core.audit.{name}"
    used = {own for own in imports_of(python_modules(root)[module], module) if "aivora" in own}
    assert used <= {"aivora_core.audit", "aivora_core.audit.oracle"}
    assert name != "oracle" or not used

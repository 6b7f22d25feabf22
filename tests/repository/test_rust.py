"""Promises about the Rust sources that no compiler holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

DECIDING = ["numbers", "data", "pricing", "margin", "execution", "guard", "engine"]
PANICS = re.compile(r"\.unwrap\(\)|\.expect\(|\b(?:panic|todo|unimplemented|unreachable)!")
FLOATS = re.compile(r"\bf(?:32|64)\b")


def block_end(source: str, start: int) -> int:
    """Index behind the brace that closes the first one at or after ``start``."""
    depth = 0
    for index in range(source.index("{", start), len(source)):
        depth += (source[index] == "{") - (source[index] == "}")
        if depth == 0:
            return index + 1
    return len(source)


def shipped(source: str) -> str:
    """Rust source without comments, string contents, char literals and test items."""
    pattern = r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])'"
    code = re.sub(pattern, '""', source, flags=re.DOTALL)
    while (at := code.find("#[cfg(test)]")) >= 0:
        semicolon, brace = code.find(";", at), code.find("{", at)
        outside = brace < 0 or 0 <= semicolon < brace
        code = code[:at] + code[(semicolon + 1 if outside else block_end(code, at)) :]
    return code


def core_files(root: Path) -> list[Path]:
    src = root / "rust" / "core" / "src"
    return [
        path
        for path in sorted(src.rglob("*.rs"))
        if not re.search(r"(^|_)tests?(\.rs)?$", path.name) and "tests" not in path.parts
    ]


def found(root: Path, files: list[Path], pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(root)}: {line.strip()}"
        for path in files
        for line in shipped(path.read_text("utf-8")).splitlines()
        if pattern.search(line)
    ]


def test_core_never_panics(root: Path) -> None:
    files = core_files(root)
    assert files
    assert found(root, files, PANICS) == []


def test_no_float_in_a_decision(root: Path) -> None:
    src = root / "rust" / "core" / "src"
    deciding = [p for p in core_files(root) if p.relative_to(src).parts[0] in DECIDING]
    # The one door: it takes the shortest decimal that reads back as the float, and nothing else.
    door = "rust/core/src/numbers/decimal.rs: pub fn from_float("
    # And one that proposes how far prices may go, which integers then verify.
    proposes = src / "margin" / "watch" / "split.rs"
    deciding.remove(proposes)
    assert [line for line in found(root, deciding, FLOATS) if not line.startswith(door)] == []


def test_core_is_pure_rust(root: Path) -> None:
    core = root / "rust" / "core"
    assert "#![forbid(unsafe_code)]" in (core / "src" / "lib.rs").read_text("utf-8")
    assert "pyo3" not in (core / "Cargo.toml").read_text("utf-8")


def pyclass_attributes(source: str) -> list[str]:
    """Each ``#[pyclass...]`` attribute with the name of the item it stands on."""
    attributes = []
    for match in re.finditer(r"#\[(?:pyo3::)?pyclass\b", source):
        depth = 0
        for index in range(match.start() + 1, len(source)):
            depth += (source[index] == "[") - (source[index] == "]")
            if depth == 0:
                break
        item = re.compile(r"\b(?:struct|enum)\s+(\w+)").search(source, index)
        attributes.append(f"{item[1] if item else '?'}: {source[match.start() : index + 1]}")
    return attributes


def test_every_pyclass_is_frozen(root: Path) -> None:
    files = sorted((root / "rust" / "py" / "src").rglob("*.rs"))
    classes = [a for path in files for a in pyclass_attributes(path.read_text("utf-8"))]
    assert classes
    assert [a for a in classes if not re.search(r"\bfrozen\b", a)] == []


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("fn f() { x.unwrap() }", True),
        ("/// x.unwrap()\nfn f() {}", False),
        ('fn f() { g("a.unwrap()") }', False),
        ("#[cfg(test)]\nmod tests { fn f() { x.unwrap() } }\nfn g() {}", False),
        ("#[cfg(test)]\nmod tests;\nfn f() { x.unwrap() }", True),
    ],
)
def test_the_scan_sees_what_is_shipped(source: str, *, kept: bool) -> None:
    assert bool(PANICS.search(shipped(source))) is kept

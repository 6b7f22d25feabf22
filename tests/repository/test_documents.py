"""Promises about the documents and about every file that is handed out."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Paths of somebody's machine; each is split so that this file does not find itself.
FOREIGN = re.compile("|".join([r"(?<![\w.<])/wo" + "rk/", "/ho" + "me/", "/ro" + "ot/"]))
SKIPPED = {".git", ".venv", "target", "__pycache__", ".hypothesis", ".benchmarks", "node_modules"}
BINARY = {".gz", ".png", ".parquet", ".whl", ".so"}


def documents(root: Path) -> list[Path]:
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]


def shipped_files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        caches = any(part in SKIPPED or part.endswith("_cache") for part in parts)
        if path.is_file() and not caches and path.suffix not in BINARY:
            yield path


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_relative_links_resolve(root: Path) -> None:
    broken = []
    for page in documents(root):
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            if not target.exists():
                broken.append(f"{page.relative_to(root)}: {link}")
            elif anchor and anchor not in anchors(target.read_text("utf-8")):
                broken.append(f"{page.relative_to(root)}: {link} (no such heading)")
    assert broken == []


def test_decision_records_are_numbered_listed_and_short(root: Path) -> None:
    folder = root / "docs" / "design"
    records = sorted(folder.glob("[0-9]*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    index = (folder / "README.md").read_text("utf-8")
    for path in records:
        text = path.read_text("utf-8")
        assert len(text.splitlines()) <= 25, path.name
        assert text.startswith(f"# {path.name[:4]}. "), path.name
        assert f"({path.name})" in index


def test_no_file_names_a_path_of_a_machine(root: Path) -> None:
    named = [
        f"{path.relative_to(root)}:{number}: {line.strip()[:80]}"
        for path in shipped_files(root)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if FOREIGN.search(line)
    ]
    assert named == []


def test_one_version_one_licence(root: Path) -> None:
    import aivora_core

    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    workspace = tomllib.loads((root / "Cargo.toml").read_text("utf-8"))["workspace"]["package"]
    assert project["dynamic"] == ["version"]
    assert project["license"] == workspace["license"] == "Apache-2.0"
    assert aivora_core.__version__ == workspace["version"]
    assert [item.partition(">")[0] for item in project["dependencies"]] == ["numpy"]


def test_the_changelog_has_its_sections(root: Path) -> None:
    text = (root / "CHANGELOG.md").read_text("utf-8")
    assert re.search(r"^## \[", text, flags=re.MULTILINE)
    assert "### Numbers" in text


@pytest.mark.parametrize("name", ["ci", "nightly", "release"])
def test_actions_are_pinned(root: Path, name: str) -> None:
    text = (root / ".github" / "workflows" / f"{name}.yml").read_text("utf-8")
    uses = re.findall(r"uses: (\S+)( # v[\d.]+)?$", text, flags=re.MULTILINE)
    assert len(uses) == text.count("uses:") > 0
    assert [
        action for action, tag in uses if not re.search(r"@[0-9a-f]{40}$", action) or not tag
    ] == []


def test_make_prints_each_target(root: Path) -> None:
    text = (root / "Makefile").read_text("utf-8")
    printed = set(re.findall(r"^([a-z-]+):.*## ", text, flags=re.MULTILINE))
    assert printed >= {"run", "test", "lint", "fmt", "bench", "docs", "wheel", "nightly", "clean"}

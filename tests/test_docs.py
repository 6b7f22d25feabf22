"""The documents run: Python blocks, console blocks, cards, and the examples of every docstring.

A page is one namespace and its ``python`` blocks run in order. ``python no-run`` is shown only.
A block with prompts is a doctest. In a ``console`` block each ``$ aivora ...`` is run in the
project's root; it exits with 0, or with N where the line ends in ``# exit N``, and what is shown
below it is what it prints (``...`` stands for anything).
"""

from __future__ import annotations

import doctest
import inspect
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import aivora_core as ac

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("AIVORA_DATA", ROOT.parent / "shared" / "data"))
SHOWN_AS = "../shared/data"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```\s*$", flags=re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    info: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands, as a link that an editor opens."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    return [
        Block(page, text.count("\n", 0, m.start()) + 1, m[1].strip(), m[2])
        for m in FENCE.finditer(text)
    ]


ALL = [block for page in PAGES for block in blocks(page)]
PYTHON_PAGES = [page for page in PAGES if any(b.info == "python" for b in blocks(page))]
COMMANDS = [
    (block.place, chunk)
    for block in ALL
    if block.info == "console"
    for chunk in re.findall(r"^\$ (aivora\b(?:.|\n(?!\$ ))*)", block.text, flags=re.MULTILINE)
]
CARDS = [b for b in ALL if b.info == "toml" and b.text.startswith('schema = "aivora-card/')]


def run_examples(text: str, names: dict[str, Any], place: str, line: int) -> None:
    """Run the prompts of ``text`` as a doctest in ``names``."""
    test = doctest.DocTestParser().get_doctest(text, names, place, place, line)
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(
        test, out=report.append, clear_globs=False
    )
    names.update(test.globs)
    assert result.failed == 0, "".join(report)


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_python_blocks_run(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.info != "python":
            continue
        if SHOWN_AS in block.text and not DATA.is_dir():
            pytest.skip(f"{block.place} reads real data and there is none: set AIVORA_DATA")
        text = block.text.replace(SHOWN_AS, str(DATA))
        if re.search(r"^\s*>>> ", text, flags=re.MULTILINE):
            run_examples(text, names, block.place, block.line)
        else:
            # Blank lines before it, so that a traceback names the page's own line.
            exec(compile("\n" * block.line + text, page, "exec"), names)


@pytest.mark.parametrize(("place", "chunk"), COMMANDS, ids=[place for place, _ in COMMANDS])
def test_console_commands_run(place: str, chunk: str) -> None:
    command, _, shown = re.sub(r"\\\n\s*", "", chunk).partition("\n")
    command, _, comment = command.partition("  #" if "  #" in command else " # ")
    expected = re.search(r"exit (\d+)", comment)
    if SHOWN_AS in command and not DATA.is_dir():
        pytest.skip(f"{place} reads real data and there is none: set AIVORA_DATA")
    words = shlex.split(command.replace(SHOWN_AS, str(DATA)))
    assert not {"|", ">", "<", "&&", ";"} & set(words), f"{place}: one plain command a line"
    words[0] = str(Path(sys.executable).parent / "aivora")
    done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == int(expected[1] if expected else 0), f"{place}: {command}\n{said}"
    if shown.strip():
        real = said.replace(str(DATA), SHOWN_AS)
        same = doctest.OutputChecker().check_output(
            shown.strip() + "\n", real.strip() + "\n", FLAGS
        )
        assert same, f"{place}: {command}\n--- shown\n{shown}\n--- printed\n{real}"


@pytest.mark.parametrize("card", CARDS, ids=lambda b: b.place)
def test_cards_of_the_documents_load(card: Block) -> None:
    assert ac.Venue.from_toml(card.text) == ac.Venue.from_toml(card.text)


def docstrings() -> dict[str, str]:
    """Docstrings with examples, of the public names and of their public members."""
    found: dict[str, str] = {"aivora_core": inspect.getdoc(ac) or ""}
    for name in ac.__all__:
        thing = getattr(ac, name)
        if isinstance(thing, str):
            continue
        found[name] = inspect.getdoc(thing) or ""
        holder = inspect.isclass(thing) or inspect.ismodule(thing)
        for member, value in vars(thing).items() if holder else ():
            if not member.startswith("_") and not inspect.ismodule(value):
                found[f"{name}.{member}"] = inspect.getdoc(value) or ""
    return {name: doc for name, doc in found.items() if ">>> " in doc}


DOCSTRINGS = docstrings()


@pytest.mark.parametrize("name", sorted(DOCSTRINGS))
def test_docstring_examples_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run_examples(DOCSTRINGS[name], {"ac": ac}, name, 0)


def test_the_readme_has_something_to_run() -> None:
    readme = [block for block in ALL if block.page == ROOT / "README.md"]
    assert any(block.info == "python" for block in readme)
    assert any(block.info == "console" for block in readme)

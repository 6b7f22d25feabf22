"""Count the kernels' instructions under callgrind and hold them to `instructions.json`.

    python benches/instructions.py            compare; exit 1 where a kernel needs more
    python benches/instructions.py --update   write the counts of this commit

A kernel is run once and then several times more, and the difference is divided by what those runs
handled: preparation cancels out. Counts do not depend on load or clock, so they can be held tightly
in CI where seconds cannot. Each path is forced by AIVORA_SIMD.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
KEPT = HERE / "instructions.json"
SCHEMA = "aivora-instructions/0"
MORE_RUNS = 3
TOLERANCE = 0.05
OTHER_COMPILER = 0.20  # another compiler generates other code; a kernel gone slow is still found
PATHS = ("scalar", "avx2")
FORCED = ("scan", "mask")  # kernels that exist once a path


def build() -> Path:
    """Build the program that runs the kernels, as the benches are built."""
    command = (
        "cargo bench --no-run --package aivora-core --bench instructions --message-format json"
    )
    done = subprocess.run(
        command.split(), cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "instructions":
            return Path(message["executable"])
    raise SystemExit("cargo built no program named instructions")


def valgrind() -> str:
    """Return where valgrind is; empty when it is not installed."""
    return shutil.which("valgrind") or ""


def collected(program: Path, kernel: str, times: int, path: str) -> int:
    """Instructions of a whole run of the program."""
    run = [str(program), kernel, str(times)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [valgrind(), "--tool=callgrind", f"--callgrind-out-file={folder}/out", *run],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | ({"AIVORA_SIMD": path} if path else {}),
        )
    match = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or match is None:
        raise SystemExit(f"{kernel} {path}: valgrind failed\n{done.stderr}")
    return int(match[1])


def count(program: Path) -> dict[str, float]:
    """Instructions of each kernel, for each thing it handles."""
    listed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    found = {}
    for line in listed.splitlines():
        kernel, units = line.split()
        for path in PATHS if kernel in FORCED else ("",):
            once = collected(program, kernel, 1, path)
            more = collected(program, kernel, 1 + MORE_RUNS, path)
            name = f"{kernel}, {path}" if path else kernel
            found[name] = round((more - once) / MORE_RUNS / int(units), 2)
    return found


def compiler() -> str:
    """Return the compiler's version."""
    command = "rustc --version"
    done = subprocess.run(command.split(), check=True, capture_output=True, text=True)
    return done.stdout.split()[1]


def compare(
    kept: dict[str, Any], found: dict[str, float], version: str
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Rows to print, and what is wrong."""
    same = kept["rustc"] == version
    room = TOLERANCE if same else OTHER_COMPILER
    rows: list[tuple[str, ...]] = [("kernel", "kept", "found", "change")]
    wrong = []
    for name in sorted(kept["kernels"].keys() | found.keys()):
        before, now = kept["kernels"].get(name), found.get(name)
        if before is None or now is None:
            rows.append((name, f"{before or '-'}", f"{now or '-'}", "new" if now else "gone"))
            wrong.append(f"{name} is {'new' if now else 'gone'}: run make instructions")
            continue
        change = now / before - 1
        rows.append((name, f"{before:.2f}", f"{now:.2f}", f"{change:+.1%}"))
        if change > room:
            why = f"{name} needs {change:.1%} more instructions; {room:.0%} is allowed"
            wrong.append(why if same else f"{why} (rustc {version}, kept with {kept['rustc']})")
        elif change < -room:
            rows[-1] = (*rows[-1][:3], f"{change:+.1%}, better: run make instructions to keep it")
    return rows, wrong


def main() -> int:
    """Compare, or update."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--update", action="store_true", help="write the counts of this commit")
    update = parser.parse_args().update
    if not valgrind():
        print("=== INSTRUCTIONS ARE NOT COUNTED: valgrind is not installed ===", file=sys.stderr)
        return 1 if os.environ.get("CI") == "true" or update else 0
    found, version = count(build()), compiler()
    if update:
        kept = {"schema": SCHEMA, "rustc": version, "kernels": found}
        KEPT.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
        print(f"{len(found)} kernels written to {KEPT.relative_to(ROOT)}")
        return 0
    rows, wrong = compare(json.loads(KEPT.read_text("utf-8")), found, version)
    for row in rows:
        print("{:<16} {:>10} {:>10}  {}".format(*row))
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""The command line as a stranger uses it: the installed program, its output and its exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aivora_core.cli import main

INPUT = [
    "--positions=docs/guide/data/positions.csv",
    "--collateral=docs/guide/data/collateral.csv",
    "--mark=BTC=63500",
    "--mark=ETH=3200",
]


@pytest.fixture(autouse=True)
def _at_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_program_is_installed_and_runs_in_80_columns() -> None:
    program = shutil.which("aivora", path=str(Path(sys.executable).parent))
    assert program
    done = subprocess.run([program, "run"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert "Checked 10,000 pools" in done.stdout
    assert max(map(len, lines)) <= 80
    assert done.stderr == ""


def test_run_tells_the_same_story_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "run")
    assert found["pools"] == 10_000
    assert (
        len(found["liquidatable"]) == found["counts"]["liquidatable"] + found["counts"]["bankrupt"]
    )
    worst = found["worst"]["explanation"]
    assert worst["account"] == found["liquidatable"][0]["account"]
    assert worst["equity"] == found["liquidatable"][0]["equity"]
    assert float(worst["buffer"]) == min(float(row["buffer"]) for row in found["liquidatable"])
    distances = [row["distance_ppm"] for row in found["nearest"]]
    assert distances == sorted(distances)
    assert all(row["status"] in {"safe", "below_initial"} for row in found["nearest"])
    assert found["worst"]["forced_exit"]["unfilled"] == "0"


@pytest.mark.data
def test_run_on_a_real_feed(capsys: pytest.CaptureFixture[str], data_dir: Path) -> None:
    feed = str(data_dir / "l2" / "hyperliquid_btc_20250126.gz")
    found = answer(capsys, "run", "--feed", feed, "--venue", "hyperliquid", "--sizes", "1,500")
    assert (found["format"], found["symbol"], found["messages"]) == ("Hyperliquid", "BTC", 55)
    assert found["grid"] == {"inferred": False, "price_tick": "0.1", "lot": "0.00001"}
    assert (found["snapshots"], found["others"], len(found["instants"])) == (46, 9, 26)
    sell, _, _, buy = found["instants"][-1]["exits"]
    assert 100_000 < float(sell["vwap"]) < 110_000
    assert sell["fee"] is None  # the card knows no fee: unknown, not zero
    assert (buy["side"], float(buy["unfilled"]) > 0) == ("buy", True)
    inferred = answer(capsys, "run", "--feed", feed, "--taker-fee", "0.00045", "--every", "10")
    assert inferred["grid"] == {"inferred": True, "price_tick": "1", "lot": "0.00001"}
    assert [instant["second"] for instant in inferred["instants"][:2]] == ["10", "20"]
    exit_ = inferred["instants"][0]["exits"][0]
    assert float(exit_["fee"]) == pytest.approx(float(exit_["cost"]) * 0.00045, abs=1e-4)
    held = ["--positions=docs/guide/data/positions.csv", "--collateral"]
    held += ["docs/guide/data/collateral.csv"]
    assert main(["run", "--feed", feed, *held]) == 2  # an ETH position, and no ETH on that card
    assert "ETH" in capsys.readouterr().err
    walked = answer(
        capsys,
        "walk",
        "--feed",
        feed,
        "--side",
        "buy",
        "--slippage-bps",
        "1",
        "--instrument",
        "BTC",
    )
    assert float(walked["slippage_bps"]) <= 1


@pytest.mark.data
def test_run_on_a_feed_of_many_instruments(
    capsys: pytest.CaptureFixture[str], data_dir: Path
) -> None:
    feed = str(data_dir / "l2" / "cryptofeed_OKX.ws.1.0.gz")
    found = answer(capsys, "run", "--feed", feed)
    assert (found["symbol"], found["updates"]) == ("BTC-USDT", 4168)  # the busiest
    assert (found["sync"]["checksums"], found["sync"]["mismatches"]) == (98, 0)
    swap = answer(capsys, "run", "--feed", feed, "--symbol", "UNI-USD-SWAP")
    assert (swap["symbol"], swap["priced"]) == ("UNI-USD-SWAP", False)
    exits = [exit_ for instant in swap["instants"] for exit_ in instant["exits"]]
    assert exits
    assert all(e["cost"] is None and e["fee"] is None and e["vwap"] for e in exits)
    assert main(["run", "--feed", feed]) == 0
    text = capsys.readouterr().out
    assert "98 of 98 are the book's" in text
    assert "inferred" in text
    assert max(map(len, text.splitlines())) <= 100
    mapped = ["--symbol=BTC-USDT", "--venue=demo", "--instrument=BTC"]
    assert main(["run", "--feed", feed, *mapped]) == 2  # sizes finer than that card's lot
    assert "off_grid" in capsys.readouterr().err


@pytest.mark.data
def test_a_plot_is_drawn_where_matplotlib_is(
    capsys: pytest.CaptureFixture[str],
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    feed = str(data_dir / "l2" / "cryptofeed_OKX.ws.1.0.gz")
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda _: None)
        path = str(tmp_path / "none.svg")
        assert main(["run", "--feed", feed, "--plot", path, "--json"]) == 2
        error = json.loads(capsys.readouterr().err)["error"]
        assert (error["code"], "aivora-core[plot]" in error["limit"]) == ("missing_extra", True)
        assert not Path(path).exists()
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    drawn = []
    for name in ("a.svg", "b.svg"):
        assert main(["run", "--feed", feed, "--plot", str(tmp_path / name)]) == 0
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0] == drawn[1]
    assert drawn[0].startswith(b"<?xml")
    assert drawn[0].count(b"<path") > 50


def test_check_of_files_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "check", *INPUT)
    alice, bob = found["pools"]
    # 700 + 63500 - 64000; 63500 x 0.005 - 50
    assert (alice["equity"], alice["maintenance"], alice["status"]) == (
        "200",
        "267.5",
        "liquidatable",
    )
    # 5000 - 20 x (3200 - 3150.25) + 0.5 x (63500 - 61250.5); 64000 x 0.005 - 50 + 31750 x 0.004
    assert (bob["equity"], bob["maintenance"], bob["status"]) == ("5129.75", "397", "safe")


def test_explain_is_verified(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "explain", "bob", *INPUT)
    assert found["verified"] is True
    assert set(found["liquidation_prices"]) == {"BTC", "ETH"}
    assert main(["explain", "bob", *INPUT]) == 0
    assert "bit for bit" in capsys.readouterr().out


def test_walk_of_a_book_file(capsys: pytest.CaptureFixture[str]) -> None:
    book = "--book=docs/guide/data/book.json"
    found = answer(capsys, "walk", "--side", "sell", "--quantity", "1.5", book)
    # 0.4 x 63690 + 1.1 x 63680
    assert (found["cost"], found["worst"]) == ("95524", "63680")
    assert main(["walk", "--side=sell", "--notional=50000", book]) == 0
    assert main(["walk", "--side=sell", "--slippage-bps=1", "--limit=63690", book]) == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["check", *INPUT, "--mark=BTC=63500.001"], "off_grid"),
        (["check", *INPUT, "--mark=BTC"], "not_a_number"),
        (["check", *INPUT[:3]], "missing_price"),
        (["check", *INPUT, "--venue=nowhere"], "unknown_venue"),
        (["check", "--positions=docs/nothing.csv"], "no_such_file"),
        (["check", "--positions=README.md"], "bad_column"),
        (["check", "--accounts=0"], "out_of_range"),
        (["check", "--threads=0"], "out_of_range"),
        (["check", "--venue=hyperliquid", "--mark=DOGE=1"], "unknown_instrument"),
        (["run", "--feed=docs"], "no_such_file"),
        (["explain", "nobody", *INPUT], "unknown_account"),
        (["walk", "--side=buy", "--quantity=0.00001"], "off_grid"),
        (["walk", "--side=buy", "--quantity=1", "--instrument=NOPE"], "unknown_instrument"),
        (["run", "--feed=README.md"], "corrupt_line"),
        (["run", "--feed=docs/guide/data/feed.txt", "--symbol=NOPE"], "unknown_instrument"),
        (["run", "--feed=docs/guide/data/feed.txt", "--instrument=BTC"], "unknown_instrument"),
        (["run", "--feed=docs/guide/data/feed.txt", "--every=0"], "out_of_range"),
        (["run", "--feed=docs/guide/data/feed.txt", "--every=x"], "out_of_range"),
        (["run", "--feed=docs/guide/data/feed.txt", "--sizes=0.0001"], "off_grid"),
        (["run", "--feed=docs/guide/data/feed.txt", "--taker-fee=x"], "not_a_number"),
        (["run", "--feed=docs/guide/data/feed.txt", "--plot=a.txt"], "out_of_range"),
        (["run", "--feed=docs/guide/data/feed.txt", "--on-gap=error"], "sequence_gap"),
        (
            ["run", "--feed=docs/guide/data/feed.txt", "--venue=demo", "--taker-fee=0"],
            "out_of_range",
        ),
    ],
)
def test_bad_input_exits_2_with_its_code(
    arguments: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--json"]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["code"] == code
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("aivora: ")


def test_case_run_exits_1_on_a_mismatch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next(iter(sorted(Path("tests/cases/dydx").glob("*.case.json"))))
    assert main(["case", "run", str(path)]) == 0
    assert main(["case", "run", str(path), "--engine", "oracle"]) == 0
    case = json.loads(path.read_text())
    value = case["expect"][0]["value"]
    case["expect"][0]["value"] = "12345678" if isinstance(value, str) else "wrong"
    wrong = tmp_path / "wrong.case.json"
    wrong.write_text(json.dumps(case))
    capsys.readouterr()
    assert main(["case", "run", str(path), str(wrong)]) == 1
    told = capsys.readouterr().out
    assert "FAILED" in told
    assert "1 passed, 1 failed" in told


def test_a_made_up_portfolio_takes_other_marks(capsys: pytest.CaptureFixture[str]) -> None:
    plain = answer(capsys, "check", "--accounts=50")
    moved = answer(capsys, "check", "--accounts=50", "--mark=PEPE=0.00000001", "--mark=BTC=0.01")
    assert moved["card"] == plain["card"]
    assert moved["prices"] != plain["prices"]
    assert len(moved["pools"]) == 50


def test_text_that_is_not_utf8_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "collateral.csv"
    path.write_bytes(b"account,amount\n\xff,1\n")
    assert main(["check", f"--collateral={path}"]) == 2
    assert "must be UTF-8 text" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error() -> None:
    program = Path(sys.executable).parent / "aivora"
    command = f"{program} check --json | head -c 1"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("{", "")


def test_bench_measures_and_checks_its_baselines(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "bench", "--accounts", "2000")
    assert [row["exact"] for row in found["rows"]] == ["yes", "yes"]
    assert all(row["ratio"] > 1 for row in found["rows"])


def test_bench_watch_compares_and_shows_what_a_later_check_costs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = answer(capsys, "bench", "watch", "--accounts", "500")
    tick, later = found["tick"], found["later_checks"]
    assert tick["exact"] == "yes"
    assert tick["ratio"] > 0
    first, *others = later["rows"]
    assert (first["late_ms"], first["lost_bps"], first["never"]) == (0, 0, 0)
    assert all(row["late_ms"] > 0 for row in others)
    assert [row["never"] for row in others] == sorted(row["never"] for row in others)
    assert all(row["told"] <= first["told"] for row in others)

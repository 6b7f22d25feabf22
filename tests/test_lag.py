"""Mark rules on a path: each verdict is that of a check, and each count that of the verdicts."""

from __future__ import annotations

import datetime as dt
import doctest
import json
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import aivora_core as ac
from aivora_core import demo, lag, pricing, scorecard
from aivora_core.cli import main

if TYPE_CHECKING:
    from pathlib import Path

REFERENCE = ac.Venue.load("reference")
BTC = REFERENCE["BTC-PERP"]
OWN, OTHER = "binance_usdm_btcusdt_20240808.gz", "binance_coinm_btcusd_perp_20240808.gz"
CANDLES = "multivenue_candles_1h.parquet"


def outcomes(path: lag.Path, marks: dict[str, Any], accounts: int = 500) -> dict[str, lag.Outcome]:
    found = lag.lag(REFERENCE, "BTC-PERP", path, marks, accounts=accounts)
    return {own.rule: own for own in found.outcomes}


def test_the_verdicts_and_counts_are_those_of_a_check_of_each_second() -> None:
    path = lag.Crash(rest_s=30).path(6_400_000)
    marks = lag.rules(["binance-usdm"]) | lag.windows(BTC, ["1min"])
    found = lag.lag(REFERENCE, "BTC-PERP", path, marks, accounts=600)
    card = scorecard.tree(REFERENCE)
    card["instrument"] = [card["instrument"]["BTC-PERP"]]
    alone = ac.Venue.from_tree(card)
    positions, collateral = demo.tables(alone, {"BTC-PERP": int(path.index[path.start])}, 600)
    state = ac.Portfolio.from_tables(alone, positions=positions, collateral=collateral)

    def fires(ticks: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        prices = [ac.Prices(alone, mark_ticks={"BTC-PERP": tick}) for tick in ticks.tolist()]
        return np.array([state.liquidatable(price) for price in prices])

    index = fires(path.index[path.start :])
    whose = np.flatnonzero(~index[0])
    assert found.accounts == len(whose)
    low = path.low - path.start
    bounced_by_any = 0
    for own in found.outcomes:
        fired = fires(own.marks[path.start :])
        first = {place: int(np.argmax(fired[:, place])) for place in whose if fired[:, place].any()}
        assert own.first == {place: path.start + row for place, row in first.items()}
        late = [p for p, row in first.items() if row > low and not index[row, p]]
        by_index = {place for place in whose if index[:, place].any()}
        assert own.bounced == len(late)
        assert (own.extra, own.spared) == (
            len(first.keys() - by_index),
            len(by_index - first.keys()),
        )
        bounced_by_any += own.bounced
    assert bounced_by_any > 0


def test_the_largest_distance_from_the_index_is_exact() -> None:
    path = lag.Crash(rest_s=30).path(6_400_000)
    rows = zip(path.last[path.start :].tolist(), path.index[path.start :].tolist(), strict=True)
    assert path.gap(path.last) == max(abs(Fraction(last - index, index)) for last, index in rows)
    assert path.gap(np.zeros_like(path.last)) == 0
    assert path.fall == 1 - Fraction(int(path.index[path.low]), int(path.index[path.start :].max()))


def test_the_default_crash_tells_rules_apart() -> None:
    found = outcomes(lag.Crash().path(6_400_000), lag.rules() | lag.windows(BTC), accounts=1_000)
    assert found["index"].extra == found["index"].bounced == found["index"].spared == 0
    means = [found[f"mean of {window}"] for window in lag.WINDOWS]
    extra = [own.extra for own in means]
    assert extra == sorted(extra, reverse=True)
    assert found["last"].extra >= extra[0] > extra[-1]
    late_s = found["last"].late_s
    assert late_s is not None
    assert late_s < 0
    assert max(own.bounced for own in means) == max(means[1].bounced, means[2].bounced) > 0
    assert means[-1].bounced == 0
    assert all(own.known for own in found.values())


def test_the_calm_is_a_calm() -> None:
    path = lag.Crash().path(6_400_000)
    calm = path.index[: path.start]
    assert path.start == lag.CALM_S
    assert abs(calm - 6_400_000).max() * 1_000_000 <= 6_400_000 * (lag.NOISE + 1)


def test_a_path_that_is_too_short_fills_no_average() -> None:
    path = lag.Crash(calm_s=10, rest_s=30).path(6_400_000)
    found = lag.lag(REFERENCE, "BTC-PERP", path, lag.windows(BTC, ["1min", "1h"]), accounts=50)
    known = {own.rule: own.known for own in found.outcomes}
    assert known == {name: " 1h" not in name for name in known}
    assert len(known) == 5
    assert found.path.start == 60
    (row,) = [row for row in found.to_dict()["rules"] if row["rule"] == "mean of 1h"]
    assert (row["known"], row["liquidated"], row["gap_bps"]) == (False, 0, 0)


def test_windows_are_the_rules_that_they_are_called_after() -> None:
    path = lag.Crash(calm_s=60, rest_s=30).path(6_400_000)
    made = path.marks(lag.windows(BTC, ["10s"])["mean of 10s"])
    basis = ((path.bid + path.ask) - 2 * path.index).tolist()
    for row in range(path.start, len(path)):
        # Samples are what was known before each second: those of the ten seconds before this one.
        mean = round(Fraction(sum(basis[row - 10 : row]), 20))
        assert made[row] == int(path.index[row]) + mean


@pytest.mark.parametrize(
    ("text", "found"), [("1s", 1_000), ("90s", 90_000), ("30min", 1_800_000), (" 12h ", 43_200_000)]
)
def test_windows_are_read_with_their_unit(text: str, found: int) -> None:
    assert lag.window_ms(text) == found


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *((text, "not_a_number") for text in ("10", "1.5s", "", "-1s", "2d", "s")),
        *((text, "out_of_range") for text in ("0s", "13h", "999999h")),
    ],
)
def test_a_window_that_is_none_names_what_is(text: str, code: str) -> None:
    with pytest.raises(ac.NumberError) as caught:
        lag.window_ms(text)
    assert (caught.value.code, caught.value.field) == (code, "window")


def test_the_longest_average_of_rules() -> None:
    basis = pricing.Term("basis", samples=30, every_ms=60_000)
    marks = [pricing.Mark(BTC, [basis]), pricing.Mark(BTC, [pricing.Term("last")])]
    assert lag.longest_s(marks) == 1_800
    assert lag.longest_s([]) == 0


def test_a_slower_basis_lags_more() -> None:
    path = lag.Crash(bounce_s=20, close_s=20).path(6_400_000)
    found = outcomes(path, lag.rules(["binance-usdm"]))
    low = {name: int(own.marks[path.start :].min()) for name, own in found.items()}
    assert low["last"] < low["binance-usdm"] < low["binance-usdm, as read otherwise"]


def test_a_card_without_a_mark_rule_cannot_be_named() -> None:
    with pytest.raises(ac.CardError, match="unsaid"):
        lag.rules(["gate"])


# --- recorded books ------------------------------------------------------------------------------


@pytest.mark.data
def test_recorded_books_are_a_path(data_dir: Path) -> None:
    own, other = (str(data_dir / "l2" / name) for name in (OWN, OTHER))
    path = lag.recorded(own, other, REFERENCE, "BTC-PERP")
    assert len(path) > 300
    assert (path.bid < path.ask).all()
    assert path.gap(path.last) < Fraction(1, 1_000)  # two books of one coin on a calm day
    found = lag.lag(REFERENCE, "BTC-PERP", path, lag.rules() | lag.windows(BTC), accounts=500)
    by = {own.rule: own for own in found.outcomes}
    assert not by["mean of 30min"].known
    assert by["mean of 150s"].known
    assert found.path.start >= 150
    # Nothing falls by much, so that nearly nobody is liquidated, whatever the rule.
    assert found.path.fall < Fraction(1, 100)
    for own_rule in found.outcomes:
        if own_rule.known:
            assert own_rule.gap < Fraction(1, 1_000)
            assert abs(len(own_rule.first) - len(by["index"].first)) <= 5
            assert own_rule.bounced <= 1


@pytest.mark.data
def test_recorded_books_are_told(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--feed", str(data_dir / "l2" / OWN), "--index-feed", str(data_dir / "l2" / OTHER)]
    words = ["venues", "lag", *files, "--accounts", "50", "--window", "1min", "--window", "10min"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("recorded: ")
    assert "stands in for the index" in printed
    assert ", from second 60 of it on: the index falls 0." in printed
    assert "-: the path is too short to fill its average" in printed


# --- scale ---------------------------------------------------------------------------------------


def parquet(folder: Path, rows: list[dict[str, Any]]) -> str:
    pa = pytest.importorskip("pyarrow", exc_type=ImportError)
    from pyarrow import parquet as files

    target = folder / "candles.parquet"
    files.write_table(pa.Table.from_pylist(rows), target)
    return str(target)


def candle(hour: int, high: float, low: float, venue: str = "a", day: int = 10) -> dict[str, Any]:
    at = dt.datetime(2025, 10, day, hour, tzinfo=dt.UTC)
    return {"timestamp": at, "venue": venue, "coin": "BTC", "h": high, "l": low}


def test_scale_is_the_widest_hour_of_the_day(tmp_path: Path) -> None:
    rows = [candle(0, 100.0, 95.0), candle(21, 110.1, 99.3), candle(22, 200.0, 1.0, day=11)]
    rows += [candle(20, 100.0, 90.0, "b"), candle(23, 50.0, 49.0, "b")]
    found = lag.scale(parquet(tmp_path, rows), "BTC")
    assert (found.venue, found.hour) == ("b", 20)
    assert found.range == Fraction(1, 10)
    assert found.by_venue == {"a": 1 - Fraction(993, 1101), "b": Fraction(1, 10)}
    assert lag.scale(parquet(tmp_path, rows), "BTC", "2025-10-11").range == Fraction(199, 200)


@pytest.mark.parametrize(
    ("coin", "day", "code", "limit"),
    [
        ("DOGE", "2025-10-10", "out_of_range", "the file has BTC"),
        ("BTC", "2025-10-12", "out_of_range", "from 2025-10-10 to 2025-10-10"),
        ("BTC", "yesterday", "not_a_number", "2025-10-10"),
    ],
)
def test_scale_names_what_the_file_has(
    tmp_path: Path, coin: str, day: str, code: str, limit: str
) -> None:
    with pytest.raises(ac.NumberError) as caught:
        lag.scale(parquet(tmp_path, [candle(0, 100.0, 95.0)]), coin, day)
    assert caught.value.code == code
    assert limit in str(caught.value)


def test_a_file_without_the_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ac.TableError, match="must have columns timestamp"):
        lag.scale(parquet(tmp_path, [{"coin": "BTC", "h": 1.0}]), "BTC")
    for wrong in ({"h": "1"}, {"l": 0.0}, {"l": 101.0}, {"h": None}, {"timestamp": 1}):
        with pytest.raises(ac.TableError, match="the high at least the low") as caught:
            lag.scale(parquet(tmp_path, [candle(0, 100.0, 95.0) | wrong]), "BTC")
        assert caught.value.row == 0
    other = tmp_path / "other.parquet"
    other.write_text("no such file")
    with pytest.raises(ac.TableError, match="Parquet"):
        lag.scale(str(other), "BTC")


def test_scale_without_pyarrow_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "candles.parquet"
    file.write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ac.UnknownNameError, match=r"aivora-core\[arrow\]") as caught:
        lag.scale(str(file), "BTC")
    assert caught.value.code == "missing_extra"


@pytest.mark.data
def test_the_tenth_of_october_for_scale(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow", exc_type=ImportError)
    file = str(data_dir / "oct10" / CANDLES)
    words = ["venues", "lag", "--accounts", "50", "--rule", "bitmex", "--scale", file]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["scale"]
    assert (found["venue"], found["hour"]) == ("bybit", 21)
    # 115,073.3 to 101,045.9
    assert abs(found["range"] - 0.1219) < 0.0001
    assert main(words) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "BTC's hourly candles of 2025-10-10 go at most 12.19% from high to low" in printed
    assert "The made-up fall of 10.00% is 0.82 times that" in printed


# --- the command ---------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["venues", "lag", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_what_is_asked_for_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    def rules(*words: str) -> list[str]:
        return [row["rule"] for row in run(capsys, "--accounts", "50", *words)["rules"]]

    assert rules("--rule", "bitmex") == ["index", "last", "bitmex"]
    assert rules("--window", "10s") == ["index", "last", "mean of 10s", "ema of 10s"]
    both = rules("--window", "2h", "--rule", "bitmex")
    assert both == ["index", "last", "bitmex", "mean of 2h", "ema of 2h"]
    every = [f"{kind} of {window}" for window in lag.WINDOWS for kind in ("mean", "ema")]
    assert rules()[-10:] == every


def test_the_calm_fills_the_longest_window(capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "--accounts", "50", "--window", "1h")
    assert found["from_s"] == 3_600 + lag.SPARE_S
    assert all(row["known"] for row in found["rules"])
    assert "after 3660 s of calm" in found["path"]


def test_the_table_tells_what_its_columns_mean(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["venues", "lag", "--accounts", "100", "--window", "1min"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("synthetic: ")
    for word in ("late", "after bounce", "extra", "spared", "off"):
        assert f" {word}:" in printed
    assert "its low at second 60" in printed


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_picture_is_the_same_each_time(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    files = [tmp_path / f"{name}.{kind}" for name in "ab"]
    for file in files:
        run(capsys, "--accounts", "50", "--window", "1min", "--plot", str(file))
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "code", "field"),
    [
        (["--drop", "abc"], "not_a_number", "--drop"),
        (["--drop", "100"], "out_of_range", "drop_ppm"),
        (["--fall", "0"], "out_of_range", "fall_s"),
        (["--close", "0"], "out_of_range", "close_s"),
        (["--window", "10"], "not_a_number", "window"),
        (["--feed", "README.md"], "out_of_range", "--feed"),
        (["--plot", "x.bmp"], "out_of_range", "plot"),
        (["--rule", "gate"], "unsaid", "rules.mark"),
        (["--accounts", "0"], "out_of_range", "--accounts"),
        (["--scale-day", "x", "--scale", "nowhere.parquet"], "not_a_number", "--scale-day"),
        (["--scale", "nowhere.parquet"], "no_such_file", "nowhere.parquet"),
        (["--instrument", "nothing"], "unknown_instrument", "instrument"),
    ],
)
def test_bad_input_of_lag(
    words: list[str], code: str, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["venues", "lag", *words, "--json"]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["code"], error["field"]) == (code, field)


@pytest.mark.parametrize(
    ("symbol", "coin"),
    [
        *((text, "BTC") for text in ("BTC-PERP", "PI_XBTUSD", "BTCUSDT", "BTC-USDT-SWAP", "BTC")),
        *((text, "BTC") for text in ("BTCUSD_PERP", "XBTUSD", "BTC-USD", "BTC_USDC-PERPETUAL")),
        ("ETH_USDT", "ETH"),
        ("SOL-PERP", "SOL"),
        ("DOGE", "DOGE"),
    ],
)
def test_the_coin_of_an_instrument(symbol: str, coin: str) -> None:
    from aivora_core.cli.venues import _coin

    assert _coin(symbol) == coin


def test_examples_run() -> None:
    assert doctest.testmod(lag).failed == 0

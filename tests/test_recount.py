"""The recount of a journal: a second engine, from the specification alone, agrees with the core.

The streams here are drawn in Python, by other rules than those of the core's own tests, and many
of their events are meant to be refused.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import aivora_core as ac
from aivora_core import _core
from aivora_core.audit.recount import Mismatch, Recount
from aivora_core.cli import main
from aivora_core.day import day
from wild import BACKSTOP, CARDS, CHECKS, LINEAR, OWN, written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("policy", OWN)
@pytest.mark.parametrize("card", CARDS)
def test_the_oracle_agrees_on_every_event(
    tmp_path: Path, card: str, policy: str, check: str
) -> None:
    text = CARDS[card].replace('"mark"', f'"{check}"', 1)
    seed = sum(map(ord, card + policy + check))
    engine = written(tmp_path, text, OWN[policy], seed, 1_500)
    found = ac.Journal(tmp_path / "journal").verify(engine.head, recount=True)
    own = found["recounted"]
    assert (own["events"], found["state"]) == (1_500, engine.hash)
    assert 50 < own["refused"] < 1_200, "events that are taken, and some that are not"
    assert own["outcomes"] > 50


@pytest.mark.parametrize("policy", OWN)
def test_the_oracle_agrees_on_a_day(tmp_path: Path, policy: str) -> None:
    root = tmp_path / "day"
    rows: list[dict[str, Any]] = []
    with ac.Engine("demo", policy=OWN[policy], journal=root, fsync="none") as engine:
        outcomes = sum(map(len, day(engine, 2_000, accounts=40)))
    found = ac.Journal(root).verify(engine.head, recount=True, each=rows.append)
    own = found["recounted"]
    counts = (engine.events, engine.events, outcomes)
    assert (len(rows), own["events"], own["outcomes"]) == counts
    assert own["pools"] == 41


# --- what it would not be worth without --------------------------------------------------------


class Told:
    """The rows of a journal and what the core holds at its end, to be altered."""

    def __init__(self, root: Path) -> None:
        self.engine = written(root, LINEAR, BACKSTOP, 6, 1_200)
        self.of = _core._journal_of(root / "journal")
        self.rows = ac.Journal(root / "journal").rows()
        native = self.engine.native
        self.pools = [native.pool_state(place) for place in range(native.pool_count())]
        self.funds = native.funds()

    def recount(self) -> None:
        """Decide all of it once more."""
        own = Recount(*self.of)
        for row in self.rows:
            own.take(row)
        own.compare(len(self.rows), self.pools, self.funds)

    def first(self, which: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """The first row that is so."""
        return next(row for row in self.rows if which(row))

    def outcome(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The first outcome of a name, and its row."""
        found = self.first(lambda row: any(o["outcome"] == name for o in row["outcomes"]))
        return found, next(o for o in found["outcomes"] if o["outcome"] == name)


def less(figure: str) -> str:
    """A figure that is another by its last digit."""
    return figure[:-1] + ("1" if figure[-1] != "1" else "2")


def of_outcome(name: str, field: str) -> Callable[[Told], int]:
    def change(told: Told) -> int:
        row, found = told.outcome(name)
        found[field] = less(found[field])
        return int(row["position"])

    return change


def refused_as_taken(told: Told) -> int:
    row = told.first(lambda row: row["refused"] is not None)
    row["refused"] = None
    return int(row["position"])


def taken_as_refused(told: Told) -> int:
    row = told.first(lambda row: row["event"] == "fill" and row["refused"] is None)
    row["refused"] = {"code": "insufficient_margin"}
    return int(row["position"])


def another_code(told: Told) -> int:
    row = told.first(lambda row: row["refused"] is not None and row["event"] == "order_open")
    row["refused"] = {"code": "overflow"}
    return int(row["position"])


def one_missing(told: Told) -> int:
    row, found = told.outcome("liquidatable")
    row["outcomes"].remove(found)
    return int(row["position"])


def one_too_many(told: Told) -> int:
    row, found = told.outcome("traded")
    row["outcomes"].append(found)
    return int(row["position"])


def another_order(told: Told) -> int:
    row = told.first(lambda row: len(row["outcomes"]) > 1)
    row["outcomes"].reverse()
    return int(row["position"])


def at_the_end(change: Callable[[Told], object]) -> Callable[[Told], int]:
    def changed(told: Told) -> int:
        change(told)
        return len(told.rows)

    return changed


def add_quantum(told: Told) -> None:
    told.pools[3]["balances"]["USDT"] += 1


def add_lot(told: Told) -> None:
    next(leg for pool in told.pools for leg in pool["legs"])["lots"] += 1


def add_reserve(told: Told) -> None:
    told.pools[2]["reserved"] += 1


def unlock(told: Told) -> None:
    told.pools[1]["locked"] = not told.pools[1]["locked"]


def add_fund(told: Told) -> None:
    told.funds["USDT"]["insurance"] += 1


@pytest.mark.parametrize(
    "change",
    [
        of_outcome("traded", "realised"),
        of_outcome("traded", "fee"),
        of_outcome("forced_order", "limit"),
        of_outcome("forced_order", "quantity"),
        refused_as_taken,
        taken_as_refused,
        another_code,
        one_missing,
        one_too_many,
        another_order,
        *map(at_the_end, (add_quantum, add_lot, add_reserve, unlock, add_fund)),
    ],
)
def test_a_figure_that_is_another_is_found(tmp_path: Path, change: Callable[[Told], int]) -> None:
    told = Told(tmp_path)
    position = change(told)
    with pytest.raises(Mismatch) as found:
        told.recount()
    assert found.value.position == position


def test_what_was_not_altered_agrees(tmp_path: Path) -> None:
    Told(tmp_path).recount()


def test_the_command_says_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, LINEAR, None, 3, 600)
    where = str(tmp_path / "journal")
    assert main(["verify", where]) == 0
    assert "decided once more by the oracle" in capsys.readouterr().out
    assert main(["verify", where, "--hashes"]) == 0
    assert "not decided once more" in capsys.readouterr().out
    # An oracle that takes each amount for a quantum more.
    honest = Recount.quanta
    monkeypatch.setattr(Recount, "quanta", lambda *given: honest(*given) + 1)
    assert main(["verify", where, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["verified"], found["error"]["code"]) == (False, "invariant_broken")
    assert main(["verify", where]) == 1
    assert "the oracle finds" in capsys.readouterr().out


def test_a_journal_is_replayed_into_an_engine(tmp_path: Path) -> None:
    engine = written(tmp_path, LINEAR, None, 4, 600)
    journal = ac.Journal(tmp_path / "journal")
    again = journal.replay()
    assert (again.hash, again.events, again.head) == (engine.hash, 600, None)
    assert (journal.card, journal.policy) == ((tmp_path / "card.toml").read_text("utf-8"), "")
    source = again.source(2)
    assert again.apply(source.clock(time=10**9)), "and it may be told more"
    assert journal.verify()["events"] == 600, "which the journal knows nothing of"

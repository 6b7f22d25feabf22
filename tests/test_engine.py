"""The engine from Python: a stranger's session, what is refused, and its journal."""

from __future__ import annotations

import json
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aivora_core as ac
from aivora_core.cli import main
from aivora_core.day import day

if TYPE_CHECKING:
    from pathlib import Path

HYPERLIQUID = """
schema = "aivora-liquidation/0"
close = "staged"
share = "0.2"
above = "100000"
cooldown_ms = 30000
fee = "0.01"
adl = "profit_leverage"
[backstop]
account = "venue"
pool = "backstop"
below = "2/3"
"""
MINIMAL = """
schema = "aivora-liquidation/0"
close = "minimal"
target = "maintenance"
fee = "0.01"
adl = "size"
"""


def opened(policy: str | None = None, **options: Any) -> tuple[ac.Engine, ac.Source]:
    """BTC at 64,000, fees known, alice and bob with 2,000, and a venue pool."""
    engine = ac.Engine("demo", policy=policy, **options)
    source = engine.source(1)
    for event in (
        source.mark("BTC", 64_000, time=0),
        source.fees("BTC", taker="0.0005", maker="0.0002", time=0),
        source.pool_open("alice", time=0),
        source.pool_open("bob", time=0),
        source.pool_open("venue", "backstop", time=0),
    ):
        assert engine.apply(event)
    for name, amount in (("alice", 2_000), ("bob", 200_000), ("venue/backstop", 1_000_000)):
        assert engine.apply(source.deposit(name, "USDT", amount, time=0))
    return engine, source


def trade(
    source: ac.Source,
    buyer: str,
    seller: str,
    quantity: Any,
    price: Any = 64_000,
    **more: Any,
) -> Any:
    fields = {"buyer": buyer, "seller": seller, "taker": "buy", "time": 1} | more
    return source.fill("BTC", price, quantity, **fields)


def outcome(answer: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(o for o in answer.outcomes if o["outcome"] == name)
    return found


def test_a_fill_is_exact_to_the_quantum() -> None:
    engine, source = opened()
    answer = engine.apply(trade(source, "alice", "bob", "0.333", "64000.1"))
    assert answer.names == ["traded", "traded"]
    # 0.333 of 64000.1 is 21312.0333; 0.05% of that 10.65601665, up to the next quantum; the
    # maker's 0.02% is 4.26240666.
    assert [o["fee"] for o in answer.outcomes] == ["10.656017", "4.262407"]
    alice = engine.pool("alice")
    assert alice["legs"] == [
        {
            "instrument": "BTC",
            "leg": "net",
            "lots": 333,
            "cost": 21_312_033_300,
            "bids": 0,
            "asks": 0,
        }
    ]
    assert alice["balances"] == {"USDT": 2_000_000_000 - 10_656_017}
    # Half of it back at another price: cost is released pro rata, and the difference is realised.
    answer = engine.apply(trade(source, "bob", "alice", "0.111", "65000"))
    released = Fraction(21_312_033_300 * 111, 333)
    realised = 111 * 65_000 * 1_000 - int(released)
    assert Decimal(outcome(answer, "traded")["realised"]) != 0
    assert answer.outcomes[1]["realised"] == str(Decimal(realised).scaleb(-6).normalize())
    assert engine.pool("alice")["legs"][0]["cost"] == 21_312_033_300 - int(released)
    funds = engine.funds["USDT"]
    held = sum(
        engine.pool(name)["balances"]["USDT"]
        - sum(leg["cost"] for leg in engine.pool(name)["legs"])
        for name in ("alice", "bob", "venue/backstop")
    )
    assert held + funds["fees"] + funds["insurance"] + funds["dust"] == funds["deposits"]


def test_an_order_keeps_its_worst_fill_and_its_fee() -> None:
    engine, source = opened()
    order = source.order_open(7, "alice", "BTC", "buy", "1", limit=64_100, time=1)
    found = engine.check_order(order)
    # 100 above the mark, and 0.05% of 64,100; initial margin of 64,000 in the second bracket.
    assert (found.reserve, found.initial) == (100_000_000 + 32_050_000, 640_000_000)
    assert found.free == 2_000_000_000 - found.reserve
    before = engine.hash
    assert found.passes
    assert engine.hash == before, "nothing is reserved by asking"
    assert engine.apply(order)
    assert (engine.pool("alice")["reserved"], engine.pool("alice")["orders"]) == (132_050_000, [7])
    # Filled in two parts, the reserve goes with them.
    assert engine.apply(trade(source, "alice", "bob", "0.4", buyer_order=7))
    assert engine.pool("alice")["reserved"] == 132_050_000 - 132_050_000 * 2 // 5
    assert engine.apply(trade(source, "alice", "bob", "0.6", buyer_order=7))
    assert (engine.pool("alice")["reserved"], engine.pool("alice")["orders"]) == (0, [])
    # What is left covers no second one, but anything that reduces passes.
    refused = engine.apply(source.order_open(8, "alice", "BTC", "buy", "9", limit=64_000, time=2))
    assert not refused
    assert refused.refused.code == "insufficient_margin"
    assert isinstance(refused.refused, ac.Refused)
    assert engine.apply(source.order_open(9, "alice", "BTC", "sell", "1", limit=64_000, time=2))


@pytest.mark.parametrize(
    ("event", "fields", "code"),
    [
        ("deposit", {"pool": "carol", "asset": "USDT", "amount": 1}, "unknown_account"),
        ("deposit", {"pool": "alice", "asset": "BTC", "amount": 1}, "unknown_asset"),
        ("deposit", {"pool": "alice", "asset": "USDT", "amount": 1.5}, "float_given"),
        ("deposit", {"pool": "alice", "asset": "USDT", "amount": "0.0000001"}, "off_grid"),
        ("deposit", {"pool": "alice", "asset": "USDT"}, "bad_column"),
        ("deposit", {"pool": "alice", "asset": "USDT", "amount": 1, "to": "bob"}, "bad_column"),
        ("mark", {"instrument": "BTC", "mark": "64000.001"}, "off_grid"),
        ("mark", {"instrument": "BTX", "mark": "64000"}, "unknown_instrument"),
        ("order_open", {"pool": "alice", "order": -1, "instrument": "BTC"}, "out_of_range"),
        ("no_such_event", {}, "bad_column"),
        ("forced_end", {"order": 1, "reason": "tired"}, "out_of_range"),
    ],
)
def test_an_event_that_is_none_is_refused_when_it_is_made(
    event: str, fields: dict[str, Any], code: str
) -> None:
    engine, source = opened()
    before = engine.hash
    with pytest.raises(ac.AivoraError) as error:
        source.event(event, time=1, **fields)
    assert error.value.code == code
    assert engine.hash == before
    assert source.event("clock", time=1).sequence == 9, "no number was used up"


def test_what_is_stale_or_cannot_be_changes_nothing() -> None:
    engine, source = opened()
    late = engine.source(1, after=3).deposit("alice", "USDT", 1, time=9)
    before = engine.hash
    assert engine.apply(late).refused.code == "stale_event"
    past = source.deposit("alice", "USDT", 1, time=-1)
    assert engine.apply(past).refused.code == "stale_event"
    assert engine.hash == before
    for event, code in [
        (source.withdrawal("alice", "USDT", "2000.000001", time=1), "insufficient_margin"),
        (source.order_cancel(5, time=1), "unknown_order"),
        (trade(source, "alice", "bob", 1, buyer_order=5), "unknown_order"),
        (trade(source, "alice", "alice", 1), "bad_fill"),
        (trade(source, "alice", "bob", 40), "insufficient_margin"),
        (source.event("funding_settlement", time=1, instrument="BTC"), "missing_price"),
        (source.event("halt", time=1), None),
        (trade(source, "alice", "bob", 1), "not_trading"),
    ]:
        answer = engine.apply(event)
        assert (answer.refused and answer.refused.code) == code, event
    gap = engine.apply(engine.source(1, after=99).clock(time=2))
    assert outcome(gap, "sequence_gap")["missing"] > 80


def fallen(policy: str | None, quantity: str = "1") -> tuple[ac.Engine, ac.Source, Any]:
    engine, source = opened(policy)
    assert engine.apply(trade(source, "alice", "bob", quantity))
    return engine, source, engine.apply(source.mark("BTC", "62270", time=2))


def test_a_forced_order_is_limited_by_the_bankruptcy_price() -> None:
    engine, source, answer = fallen(None)
    forced = outcome(answer, "forced_order")
    portfolio = engine.portfolio
    own = portfolio["alice"].bankruptcy_price("BTC", engine.prices)
    assert Decimal(forced["limit"]) == own.price
    assert engine.pool("alice")["locked"]
    assert engine.apply(source.withdrawal("alice", "USDT", 1, time=3)).refused.code == "pool_locked"
    below = trade(
        source, "bob", "alice", 1, own.price - Decimal("0.1"), seller_order=forced["order"], time=3
    )
    assert engine.apply(below).refused.code == "bad_fill"
    done = engine.apply(
        trade(source, "bob", "alice", 1, own.price, seller_order=forced["order"], time=3)
    )
    assert "liquidation_finished" in done.names
    equity = Decimal(outcome(done, "liquidation_finished")["equity"])
    assert 0 <= equity < 64, "closing at the limit loses at most what was there"
    assert not engine.pool("alice")["locked"]


def test_the_fewest_lots_are_the_fewest() -> None:
    engine, source, answer = fallen(MINIMAL)
    forced = outcome(answer, "forced_order")
    lots = int(Decimal(forced["quantity"]) * 1_000)
    balance = engine.pool("alice")["balances"]["USDT"]
    cost = engine.pool("alice")["legs"][0]["cost"]

    def is_safe(closed: int) -> bool:
        """From the specification: what is left after closing at the mark, and the fee of 1%."""
        value = 62_270 * 1_000 * closed
        equity = balance + value - Fraction(cost * closed, 1_000) - Fraction(value, 100)
        held = 62_270 * 1_000 * (1_000 - closed)
        equity += held - Fraction(cost * (1_000 - closed), 1_000)
        # Brackets of the demo card: 0.4% to 50,000, then 0.5% less 50.
        rate, off = (
            (Fraction(1, 200), 50_000_000) if held >= 50_000_000_000 else (Fraction(1, 250), 0)
        )
        return bool(equity >= held * rate - off)

    # The fee costs more than the requirement frees: no part is enough, and all of it is closed.
    assert not any(is_safe(closed) for closed in range(1, 1_000))
    assert lots == 1_000
    free = MINIMAL.replace('fee = "0.01"', 'fee = "0"')
    engine, source, answer = fallen(free)
    lots = int(Decimal(outcome(answer, "forced_order")["quantity"]) * 1_000)
    assert 0 < lots < 1_000
    done = engine.apply(
        trade(
            source,
            "bob",
            "alice",
            Decimal(lots) / 1_000,
            62_270,
            seller_order=outcome(answer, "forced_order")["order"],
            time=3,
        )
    )
    assert "liquidation_finished" in done.names
    assert not engine.liquidatable.any()


def test_a_share_first_and_then_all_within_the_cooldown() -> None:
    alone = HYPERLIQUID[: HYPERLIQUID.index("[backstop]")].replace('"0.01"', '"0.0001"')
    engine, source = opened(alone)
    assert engine.apply(source.deposit("alice", "USDT", 4_000, time=0))
    assert engine.apply(trade(source, "alice", "bob", 3))
    # 6,000 less 96 and 5,550 are left; 0.5% of 186,450 less 50 are required, and after a fifth
    # is closed still 696.
    answer = engine.apply(source.mark("BTC", "62150", time=2))
    first = outcome(answer, "forced_order")
    assert first["quantity"] == "0.6", "a fifth of three"
    done = engine.apply(
        trade(source, "bob", "alice", "0.6", 62_150, seller_order=first["order"], time=3)
    )
    assert "liquidation_fee" in done.names
    second = outcome(done, "forced_order")
    assert second["quantity"] == "2.4", "all of it within thirty seconds"


def test_the_backstop_takes_over_below_two_thirds() -> None:
    engine, source = opened(HYPERLIQUID)
    assert engine.apply(trade(source, "alice", "bob", 1))
    answer = engine.apply(source.mark("BTC", "62120", time=2))
    # Equity is 2,000 less 32 and 1,880: 88; maintenance 0.5% of 62,120 less 50: 260.6.
    assert answer.names == [
        "liquidatable",
        "liquidation_started",
        "backstop_took_over",
        "liquidation_finished",
        "safe",
    ]
    assert engine.pool("alice")["legs"] == []
    assert engine.pool("alice")["balances"] == {"USDT": 0}
    taken = engine.pool("venue/backstop")
    assert taken["legs"][0]["lots"] == 1_000
    assert taken["balances"]["USDT"] == 1_000_000_000_000 + 88_000_000


def test_what_the_book_does_not_take_is_deleveraged_and_covered() -> None:
    engine, source = opened()
    assert engine.apply(source.event("insurance_top_up", time=0, asset="USDT", amount=50))
    assert engine.apply(trade(source, "alice", "bob", 1))
    answer = engine.apply(source.mark("BTC", "61900", time=2))
    forced = outcome(answer, "forced_order")
    # Equity is 2,000 less 32 and 2,100: 132 are missing. The fund bears 50 of them: the worst
    # price is 82 above the mark, and the fee.
    assert Decimal(forced["limit"]) >= 61_982
    ended = engine.apply(
        source.event("forced_end", time=3, order=forced["order"], reason="expired")
    )
    found = outcome(ended, "deleveraged")
    assert (found["counterparty"], found["quantity"]) == ("bob/cross", "1")
    # At the bankruptcy price of the leg: the account ends with what a tick rounds.
    left = Decimal(outcome(ended, "liquidation_finished")["equity"])
    assert 0 <= left <= 62
    assert engine.pool("bob")["legs"] == []
    assert engine.funds["USDT"]["insurance"] == 50_000_000


def test_a_journal_goes_on_where_it_ended(tmp_path: Path) -> None:
    engine = ac.Engine("demo", journal=tmp_path, fsync="batch:16", policy=HYPERLIQUID)
    taken = sum(bool(answer) for answer in day(engine, 400, accounts=20))
    assert taken > 400
    engine.snapshot()
    state, head, events = engine.hash, engine.head, engine.events
    assert head
    engine.close()
    with pytest.raises(ac.JournalError) as error:
        engine.apply(engine.source(2).clock(time=10**9))
    assert error.value.code == "read_only"
    with ac.Engine.open(tmp_path) as again:
        assert (again.hash, again.events) == (state, events)
        assert again.recovery == ac.Recovery(events, events, None, [])
        assert again.apply(again.source(2).clock(time=10**9))
        assert again.lasting == events + 1
        with pytest.raises(ac.JournalError, match="only this process writes"):
            ac.Engine.open(tmp_path)
    found = ac.Journal(tmp_path).verify(head)
    assert (found["events"], found["states"]) == (events + 1, 1)
    with pytest.raises(ac.JournalError, match="never has this head"):
        ac.Journal(tmp_path).verify("0" * 64)
    rows = ac.Journal(tmp_path).rows()
    assert len(rows) == events + 1
    assert rows[0]["fields"] == {"instrument": "BTC", "mark": "64000"}


def test_the_last_record_may_be_torn_and_no_other(tmp_path: Path) -> None:
    with ac.Engine("demo", journal=tmp_path) as engine:
        for answer in day(engine, 60, accounts=5):
            assert answer.position >= 0
        events = engine.events
    segment = tmp_path / "0000000000.journal"
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-3])
    with ac.Engine.open(tmp_path) as again:
        assert again.recovery is not None
        assert again.recovery.torn
        assert again.events == events
    segment.write_bytes(whole[: len(whole) // 2] + b"\x00" + whole[len(whole) // 2 + 1 :])
    with pytest.raises(ac.JournalError) as error:
        ac.Engine.open(tmp_path)
    assert error.value.code == "journal_corrupt"
    assert "0000000000.journal, byte" in error.value.field


def test_the_commands_tell_one_story(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*arguments: str, code: int = 0) -> dict[str, Any]:
        assert main([*arguments, "--json"]) == code
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    first = str(tmp_path / "first")
    run = told("run", "--journal", first, "--count", "1500")
    assert run["outcomes"]["liquidation_finished"] > 0
    verified = told("verify", first, "--head", run["head"])
    assert (verified["verified"], verified["anchored"], verified["state"]) == (
        True,
        True,
        run["state"],
    )
    assert told("replay", first)["outcomes"] == run["outcomes"]
    rows = told("journal", "show", first, "--rows", "1", "--outcome", "liquidation_started")["rows"]
    assert [o["outcome"] for o in rows[0]["outcomes"]][:2] == [
        "liquidatable",
        "liquidation_started",
    ]
    lines = str(tmp_path / "day.jsonl")
    assert told("journal", "export", first, "--to", lines)["events"] == run["events"]
    again = told("run", "--journal", str(tmp_path / "second"), "--events", lines, "--fsync", "none")
    assert (again["state"], again["head"]) == (run["state"], run["head"])
    segment = tmp_path / "first" / "0000000000.journal"
    damaged = bytearray(segment.read_bytes())
    damaged[5_000] ^= 1
    segment.write_bytes(damaged)
    assert told("verify", first, code=1)["error"]["code"] == "journal_corrupt"
    assert main(["run", "--journal", first]) == 2
    assert main(["verify", str(tmp_path / "nowhere")]) == 2


def test_events_are_values() -> None:
    engine, source = opened()
    event = source.deposit("alice", "USDT", "1.5", time=3)
    other = engine.source(1, after=event.sequence - 1).deposit("alice", "USDT", "1.500000", time=3)
    assert (event, hash(event)) == (other, hash(other))
    assert pickle.loads(pickle.dumps(event)) == event
    assert event.fields() == {"pool": 0, "asset": 0, "amount": 1_500_000}
    with pytest.raises(TypeError, match="handle"):
        pickle.dumps(engine.native)


def test_many_events_at_once() -> None:
    engine, source = opened()
    other, same = opened()
    events = [source.deposit("alice", "USDT", n, time=n) for n in range(50)]
    found = engine.apply_all(events)
    assert (found.refused, found.events, found.rows.tolist()) == (1, 50, [0])
    assert [(row, bool(answer)) for row, answer in found] == [(0, False)], "nothing is no deposit"
    assert repr(found) == "Answers(1 of 50 events, 1 refused)"
    with pytest.raises(IndexError):
        found[1]
    for event in events:
        other.apply(event)
    assert other.hash == engine.hash
    assert same.number == 1


class Noting(ac.Engine):
    """An engine that remembers what it was told."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.told: list[Any] = []

    def apply(self, event: Any) -> Any:
        """Note it, and take it."""
        self.told.append(event)
        return super().apply(event)


NOTHING = np.iinfo(np.int64).min
WORDS = {"buy": 0, "sell": 1, "net": 0, "long": 1, "short": 2, "expired": 0, "timed_out": 1}
COLUMNS = {name: columns for name, _, columns in ac._core._kinds()}
UNITS = {"price": "price_ticks", "limit": "limit_ticks", "amount": "amount_quanta"}


def row_of(event: Any) -> dict[str, int]:
    """An event as a row of columns."""
    row = {"source": event.source, "sequence": event.sequence, "time": event.time}
    flat: dict[str, Any] = {}
    for name, value in event.fields().items():
        if name in ("buyer", "seller"):
            flat |= {name: value[0], f"{name}_leg": value[1], f"{name}_order": value[2]}
        elif name in ("mark", "index"):
            flat[f"{name}_ticks"] = value
        else:
            flat[UNITS.get(name, name)] = value
    whole = {n: NOTHING if v is None else WORDS.get(v, v) for n, v in flat.items()}
    return row | {name: int(value) for name, value in whole.items()}


def in_columns(events: list[Any]) -> dict[str, Any]:
    """Events as columns."""
    rows = [row_of(event) for event in events]
    names = {name for row in rows for name in row}
    columns = {name: np.array([row.get(name, 0) for row in rows], np.int64) for name in names}
    return columns | {"event": [event.name for event in events]}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([None, MINIMAL]))
def test_columns_are_the_events_that_they_are_of(seed: int, policy: str | None) -> None:
    engine = Noting("demo", policy=policy)
    answers = list(day(engine, 150, accounts=8, seed=seed))
    events = engine.told
    other, parts = ac.Engine("demo", policy=policy), []
    for event in events:
        if parts and (COLUMNS[event.name] is None) != (COLUMNS[parts[-1][-1].name] is None):
            parts.append([event])
        elif parts:
            parts[-1].append(event)
        else:
            parts.append([event])
    told: dict[int, Any] = {}
    done = 0
    for part in parts:
        forced = any(n >= 2**63 for event in part for n in numbers_of(event))
        by_row = COLUMNS[part[0].name] is None or forced
        found = other.apply_all(part) if by_row else other.apply_columns(in_columns(part))
        assert found.events == len(part)
        told |= {done + row: answer for row, answer in found}
        done += len(part)
    assert other.hash == engine.hash
    for place, answer in enumerate(answers):
        if place in told:
            assert told[place].names == answer.names
            assert bool(told[place]) == bool(answer)
        else:
            assert answer
            assert not answer.names


def numbers_of(event: Any) -> list[int]:
    """The numbers of the orders that an event names."""
    fields = event.fields()
    own = [fields.get("order"), *(fields.get(side, [0, 0, 0])[2] for side in ("buyer", "seller"))]
    return [number for number in own if number is not None]


def test_columns_that_are_wrong_change_nothing() -> None:
    engine, _ = opened()
    before = engine.hash
    good: dict[str, Any] = {
        "event": ["deposit"] * 2,
        "source": 9,
        "sequence": [1, 2],
        "time": 9,
        "pool": 0,
    }
    good |= {"asset": 0, "amount_quanta": [5, 6]}
    for change, code, words in [
        ({"amount_quanta": [5, 2.5]}, "float_given", "amount_quanta"),
        ({"sequence": [1, -2]}, "bad_column", "row 1"),
        ({"amount": 7}, "bad_column", "no event has a column"),
        ({"event": ["deposit", "depost"]}, "bad_column", "depost"),
        ({"event": ["deposit", "book_delta"]}, "bad_column", "does not stand in columns"),
        ({"event": [10, 11]}, "bad_column", "uint8"),
        ({"sequence": [1, 2, 3]}, "bad_column", "2 rows"),
        ({"pool": [0, -1]}, "bad_column", "place"),
        ({"amount_quanta": np.array([5, 2**63], np.uint64)}, "bad_column", "int64"),
        ({"amount_quanta": [[5], [6]]}, "bad_column", "2 dims"),
    ]:
        with pytest.raises(ac.AivoraError, match=words) as error:
            engine.apply_columns({**good, **change})
        assert error.value.code == code, change
        assert engine.hash == before
    with pytest.raises(ac.AivoraError, match="deposit needs this column"):
        engine.apply_columns({name: good[name] for name in good if name != "asset"})
    with pytest.raises(ac.AivoraError, match="must be the tag of an event"):
        engine.apply_columns(good | {"event": np.array([10, 200], np.uint8)})
    assert engine.apply_columns(good | {"pool": [0, 77]}).refused == 1, "known when it is applied"


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_orders_in_columns_are_checked_as_each_alone(seed: int) -> None:
    engine = ac.Engine("demo")
    for _ in day(engine, 100, accounts=8, seed=seed):
        pass
    source = engine.source(99)
    rng = np.random.default_rng(seed)
    count = 60
    columns: dict[str, Any] = {
        "pool": rng.integers(0, engine.native.pool_count() + 1, count),
        "instrument": rng.integers(0, 3, count),
        "side": rng.integers(0, 2, count),
        "lots": rng.integers(0, 4_000, count),
        "reduce_only": rng.integers(0, 2, count),
    }
    ticks = [engine.prices.mark_ticks(name) for name in ("BTC", "ETH", "SOL")]
    per = [
        int(engine.venue[n].price_tick / engine.venue[n].mark_tick) for n in ("BTC", "ETH", "SOL")
    ]
    limit = [ticks[i] // per[i] + int(rng.integers(-50, 50)) for i in columns["instrument"]]
    columns["limit_ticks"] = np.where(rng.integers(0, 3, count) == 0, NOTHING, limit)
    found = engine.check_orders(columns)
    assert len(found) == count
    for row in range(count):
        if int(columns["pool"][row]) == engine.native.pool_count():
            assert found.errors[row].row == row
            continue
        limit_ticks = int(columns["limit_ticks"][row])
        order = source.event(
            "order_open",
            time=10**9,
            order=1,
            pool=int(columns["pool"][row]),
            instrument=int(columns["instrument"][row]),
            side=["buy", "sell"][columns["side"][row]],
            lots=int(columns["lots"][row]),
            limit_ticks=None if limit_ticks == NOTHING else limit_ticks,
            reduce_only=bool(columns["reduce_only"][row]),
        )
        if row in found.errors:
            with pytest.raises(ac.AivoraError) as error:
                engine.check_order(order)
            assert found.errors[row].code == error.value.code
            assert not found.passes[row]
            continue
        alone = engine.check_order(order)
        assert (found.passes[row], found.reduces[row]) == (alone.passes, alone.reduces)
        for name in ("equity", "initial", "reserved", "reserve", "free"):
            assert getattr(found, f"{name}_quanta")[row] == getattr(alone, name)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([None, HYPERLIQUID, MINIMAL]))
def test_the_engine_says_what_a_scan_of_its_pools_says(seed: int, policy: str | None) -> None:
    engine = ac.Engine("demo", policy=policy)
    for number, _ in enumerate(day(engine, 120, accounts=12, seed=seed)):
        if number % 40 == 39:
            portfolio = engine.portfolio
            scan = portfolio.liquidatable(engine.prices)
            names = [engine.pool(place) for place in range(engine.native.pool_count())]
            by_name = np.argsort(
                [f"{own['account']}/{own['pool']}" for own in names], kind="stable"
            )
            assert (scan == engine.liquidatable[by_name]).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from(["buy", "sell"]),
    st.integers(1, 40_000),
    st.one_of(st.none(), st.integers(-300, 300)),
    st.booleans(),
)
def test_a_decision_recomputes_from_its_record(
    seed: int,
    side: str,
    lots: int,
    away: int | None,
    reduce_only: bool,  # noqa: FBT001
) -> None:
    engine = ac.Engine("demo")
    source = engine.source(2)
    for _ in day(engine, 60, accounts=6, seed=seed):
        pass
    now = engine.time or 0
    mark = engine.prices.mark_ticks("BTC") or 1
    held = source.order_open(1, "account-0001", "BTC", "buy", "0.001", limit=64_000, time=now)
    engine.apply(held)
    fields: dict[str, Any] = {} if away is None else {"limit_ticks": mark // 10 + away}
    order = source.event(
        "order_open", time=now, order=2, pool="account-0001", instrument="BTC", side=side,
        lots=lots, reduce_only=reduce_only, **fields,
    )  # fmt: skip
    before = engine.hash
    why = engine.decide(order)
    assert engine.hash == before
    assert why.verify()
    assert why.text()
    assert json.dumps(why.to_dict(), default=str)
    assert bool(engine.apply(order)) == bool(why), "the event is decided by the same rules"
    if not why and why.binding == "initial_margin" and why.turn("lots"):
        less = source.event(
            "order_open", time=now, order=3, pool="account-0001", instrument="BTC", side=side,
            lots=why.turn("lots")[0], reduce_only=reduce_only, **fields,
        )  # fmt: skip
        assert engine.apply(less), "the most that pass do pass"


def test_a_decision_names_the_rule_that_decides() -> None:
    engine, source = opened()
    order = source.order_open(1, "alice", "BTC", "buy", 1, limit=64_000, time=1)
    assert engine.decide(order).binding == "initial_margin"
    assert engine.apply(order)
    assert engine.decide(order).binding == "number"
    other = source.order_open(2, "alice", "BTC", "buy", 0, limit=64_000, time=1)
    why = engine.decide(other)
    assert (why.binding, why.explanations, why.verify()) == ("order", {}, True)
    assert engine.apply(source.event("halt", time=1, instrument="BTC"))
    halted = engine.decide(source.order_open(2, "alice", "BTC", "buy", 1, limit=64_000, time=1))
    assert halted.binding == "trading"
    assert "halted" in halted.text()


def test_policies_are_compared_on_one_state(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["liquidate", "--compare", "--accounts", "80", "--drop", "6", "--json"]) == 0
    rows = {row["policy"]: row for row in json.loads(capsys.readouterr().out)["policies"]}
    assert set(rows) == {"full", "staged", "minimal", "minimal, initial", "step down"}
    for row in rows.values():
        assert row["started"] == row["finished"] > 0
        assert row["orders"] >= row["started"] - row["taken_over"]
    assert rows["staged"]["orders"] > rows["full"]["orders"]
    assert rows["minimal"]["closed"] <= rows["full"]["closed"]


def test_policies_are_compared_on_what_a_journal_ends_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(tmp_path / "day")
    with ac.Engine("demo", journal=root, fsync="none") as engine:
        for _ in day(engine, 400, accounts=30):
            pass
    assert main(["liquidate", "--compare", "--journal", root, "--drop", "9", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["journal"]) == (engine.hash, root)
    rows = {row["policy"]: row for row in found["policies"]}
    # The day has no books: who is liquidated is deleveraged.
    assert all(row["started"] == row["finished"] > 0 for row in rows.values())
    assert rows["full"]["deleveraged"] > 0
    assert main(["liquidate", "--journal", root, "--counterparty", "nobody"]) == 2
    assert "no such pool" in capsys.readouterr().err


def test_a_fork_is_told_nothing_of_the_other() -> None:
    engine, source = opened()
    before = engine.hash
    other = engine.fork(MINIMAL)
    assert other.hash != before, "another policy is another state"
    assert engine.fork().hash == before
    assert other.apply(source.mark("BTC", "60000", time=1))
    assert engine.hash == before


def test_the_book_answers_within_the_limit_and_loses_what_it_gave() -> None:
    engine, source, answer = fallen(None)
    forced = outcome(answer, "forced_order")
    bids = [["62200", "0.3"], ["62100", "0.4"], ["61000", "9"]]
    book = source.event("book_snapshot", time=3, instrument="BTC", bids=bids, asks=[])
    assert engine.apply(book)
    answers = engine.execute(source, "bob", time=3)
    names = [name for answer in answers for name in answer.names]
    assert names.count("forced_filled") == 2
    # 0.7 within the limit of 62,031.1; what is left covers its requirement, and stays.
    assert Decimal(forced["limit"]) > Decimal(61_000)
    assert "liquidation_finished" in names
    assert engine.pool("alice")["legs"][0]["lots"] == 300
    # 2,000 less 32, less 0.3 of 1,800, 0.4 of 1,900 and 0.3 of 1,730.
    assert engine.pool("alice")["equity"] == 2_000_000_000 - 32_000_000 - 1_819_000_000
    assert engine.native.book("BTC")["bids"] == [(610_000, 9_000)]
    assert engine.forced_orders == []


def test_instruments_are_listed_while_others_trade(tmp_path: Path) -> None:
    engine, source = opened(journal=tmp_path, fsync="none")
    assert engine.apply(trade(source, "alice", "bob", "0.5"))
    before = engine.pool("alice")
    listing = """
[[instrument]]
symbol = "NEW"
kind = "linear"
price_tick = "0.01"
mark_tick = "0.01"
lot = "1"
[instrument.tiers]
by = "notional"
brackets = [{ floor = "0", maintenance = "0.05", max_leverage = "10" }]
"""
    card = engine.venue.text + listing
    refused = engine.apply(source.event("card", time=2, scope="rules", card=card)).refused
    assert refused is not None
    assert (refused.code, refused.field) == ("bad_card", "instrument")
    other = card.replace('maintenance = "0.004"', 'maintenance = "0.003"', 1)
    assert not engine.apply(source.event("card", time=2, scope="listing", card=other))
    assert engine.apply(source.event("card", time=2, scope="listing", card=card))
    assert [own.symbol for own in engine.venue.instruments][-1] == "NEW"
    assert engine.pool("alice") == before
    assert engine.apply(source.mark("NEW", 10, time=3))
    assert engine.apply(source.fees("NEW", taker=0, maker=0, time=3))
    fields = {"buyer": "alice", "seller": "bob", "taker": "buy", "time": 4}
    assert engine.apply(source.fill("NEW", 10, 100, **fields))
    engine.snapshot()
    assert engine.apply(source.mark("BTC", 60_000, time=5)), "the marks of both are kept apart"
    assert engine.prices.mark_ticks("NEW") == 1_000
    told = engine.hash
    engine.close()
    with ac.Engine.open(tmp_path) as again:
        assert again.hash == told
    assert ac.Journal(tmp_path).verify(recount=True)["state"] == told

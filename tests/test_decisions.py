"""Decisions: what the record says is what the engine does, and the oracle recomputes all of it."""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import aivora_core as ac
from wild import CARDS, OWN, Wild

if TYPE_CHECKING:
    from collections.abc import Callable

DECIDED = ("order_open", "withdrawal", "transfer", "fill")


class Asking(Wild):
    """A wild stream that asks before each event, and of a pool after it."""

    def __init__(self, engine: ac.Engine, card: str, seed: int) -> None:
        super().__init__(engine, card, seed)
        self.found: Counter[str] = Counter()

    def apply(self, event: Any) -> Any:
        """Ask what will be done, and compare."""
        why = None
        if event.name in DECIDED:
            before = self.engine.hash
            why = self.or_none(lambda: self.engine.decide(event))
            assert self.engine.hash == before
        answer = super().apply(event)
        stale = answer.refused is not None and answer.refused.code == "stale_event"
        if why is not None and not stale:
            assert why.passes == bool(answer), (why.raw, answer.refused)
            self.look(why)
        if self.engine.events % 7 == 0 and self.engine.native.pool_count() == len(self.pools):
            self.ask()
        return answer

    def or_none(self, ask: Callable[[], ac.Decision]) -> ac.Decision | None:
        """Ask; a pool whose prices are not known yet cannot be told of."""
        try:
            return ask()
        except ac.PriceError as error:
            self.found[error.code] += 1
            return None

    def ask(self) -> None:
        """Ask whether a pool is liquidated."""
        out = [order["pool"] for order in self.engine.forced_orders]
        name = self.one(out) if out and self.one(0, 1) else self.one(self.pools)
        why = self.or_none(lambda: self.engine.decide_liquidation(name))
        if why is None:
            return
        # Pools are opened in this order; the card checks on each mark.
        assert why.passes != self.engine.liquidatable[self.pools.index(name)]
        self.look(why)

    def look(self, why: ac.Decision) -> None:
        """Recompute it, and show it."""
        assert why.verify()
        assert why.text().count("\n") > 1
        assert json.dumps(why.to_dict(), default=str)
        name = f"{why.raw['decision']} {why.binding} {'passes' if why else 'no'}"
        self.found[name] += 1
        self.found.update(f"{why.raw['decision']} turned by {turn['change']}" for turn in why.turns)


def test_what_is_decided_is_done_and_recomputes() -> None:
    found: Counter[str] = Counter()
    for card in CARDS.values():
        for seed, policy in enumerate((None, OWN["backstop"])):
            engine = ac.Engine(ac.Venue.from_toml(card), policy=policy)
            wild = Asking(engine, card, seed)
            wild.run(1_500)
            found += wild.found
    for name in (
        "order_open initial_margin passes",
        "order_open initial_margin no",
        "withdrawal withdrawable passes",
        "withdrawal withdrawable no",
        "fill seller_margin passes",
        "fill buyer_margin no",
        "liquidation maintenance_margin passes",
        "liquidation maintenance_margin no",
        "order_open turned by lots",
        "withdrawal turned by amount",
        "fill turned by lots",
        "fill turned by mark",
        "fill turned by deposit",
        "liquidation turned by deposit",
        "liquidation turned by mark",
        "liquidation turned by close",
    ):
        assert found[name] > 1, (name, found)


def fallen() -> ac.Engine:
    """One long of alice that is short of its requirement."""
    engine = ac.Engine("demo")
    source = engine.source(1)
    assert engine.apply(source.mark("BTC", 64_000, time=0))
    assert engine.apply(source.fees("BTC", taker="0.0005", maker="0.0002", time=0))
    for name, amount in (("alice", 2_000), ("bob", 100_000)):
        assert engine.apply(source.pool_open(name, time=0))
        assert engine.apply(source.deposit(name, "USDT", amount, time=0))
    fields: dict[str, Any] = {"buyer": "alice", "seller": "bob", "taker": "buy", "time": 1}
    assert engine.apply(source.fill("BTC", 64_000, 1, **fields))
    assert engine.apply(source.mark("BTC", 62_200, time=2))
    return engine


def test_why_a_pool_is_liquidated() -> None:
    """Equity 2,000 - 32 - 1,800 = 168; maintenance 0.5% of 62,200 less 50 = 261."""
    why = fallen().decide_liquidation("alice")
    assert (why.passes, why.binding) == (False, "maintenance_margin")
    assert why.raw["figures"]["equity"] == 168_000_000
    assert why.raw["figures"]["maintenance"] == 261_000_000
    assert why.turn("deposit") == [93_000_000]
    # Safe where 2,000 - 32 + p - 64,000 >= 0.005 p - 50, that is from p = 61,982 / 0.995 on.
    assert why.turn("mark") == [-(-61_982 * 100 * 1_000 // 995)]
    # At 0.4% below 50,000: 168 >= 0.004 x 62,200 x q gives q = 0.675; 0.325 are closed.
    assert why.turn("close") == [325]
    assert why.text().splitlines()[0] == "alice/cross on demo: LIQUIDATABLE"
    assert "with 0.325 BTC (net) closed at the mark" in why.text()
    assert why.verify()


def test_what_may_leave() -> None:
    engine = fallen()
    source = engine.source(2)
    why = engine.decide(source.withdrawal("bob", "USDT", 150_000, time=3))
    assert (why.passes, why.binding) == (False, "withdrawable")
    most = why.turn("amount")[0]
    assert not engine.apply(source.withdrawal("bob", "USDT", "150000", time=3))
    fields = {"pool": "bob", "asset": "USDT"}
    assert not engine.apply(source.event("withdrawal", time=3, amount_quanta=most + 1, **fields))
    assert engine.apply(source.event("withdrawal", time=3, amount_quanta=most, **fields))
    locked = engine.decide(source.withdrawal("alice", "USDT", 1, time=3))
    assert locked.binding == "unlocked"
    assert "is being liquidated" in locked.text()
    assert locked.verify()


@pytest.mark.parametrize("name", ["equity", "maintenance"])
def test_a_record_that_was_altered_does_not_verify(name: str) -> None:
    why = fallen().decide_liquidation("alice")
    raw = copy.deepcopy(why.raw)
    raw["figures"][name] += 1
    with pytest.raises(ac.InvariantBroken, match=name):
        ac.Decision(why.venue, raw).verify()


@pytest.mark.parametrize("change", ["deposit", "mark", "close"])
@pytest.mark.parametrize("by", [-1, 1])
def test_a_turn_that_was_altered_does_not_verify(change: str, by: int) -> None:
    why = fallen().decide_liquidation("alice")
    raw = copy.deepcopy(why.raw)
    for turn in raw["turns"]:
        if turn["change"] == change:
            turn["turned"] += by
            turn["stays"] += by
    with pytest.raises(ac.InvariantBroken, match=change):
        ac.Decision(why.venue, raw).verify()


def test_what_is_not_decided_is_said() -> None:
    engine = ac.Engine("demo")
    with pytest.raises(ac.TableError, match="order_open, withdrawal, transfer, fill") as found:
        engine.decide(engine.source(1).clock(time=0))
    assert found.value.code == "bad_column"

"""Decisions, once more: the oracle answers what was asked, at the figures of the record.

It answers too at each figure that would turn the answer, and at the one beside it. From
``docs/spec/engine.md``, "Why"; like the oracle it imports nothing of the core.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from aivora_core.audit import oracle
from aivora_core.audit.state import Position, fee_of, is_safer, traded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["QUESTIONS", "Question", "Seen"]


@dataclass(frozen=True)
class Seen:
    """A pool of the record, what is kept for its orders, and the prices it is looked at with."""

    label: str
    pool: oracle.Pool
    reserved: int
    marks: Mapping[str, int]
    assets: Mapping[str, int]

    def with_deposit(self, quanta: int) -> Seen:
        """Give the same with more of the asset that it is checked in."""
        own = self.pool.balance(self.pool.asset)
        others = tuple(held for held in self.pool.balances if held.asset != own.asset)
        balances = (*others, replace(own, amount=own.amount + quanta))
        return replace(self, pool=replace(self.pool, balances=balances))

    def with_leg(self, leg: oracle.Leg, brings: int, asset: str) -> Seen:
        """Give the same with one leg another, and more of the asset that it settles in."""
        key = (leg.instrument, leg.leg)
        legs = tuple(own for own in self.pool.legs if (own.instrument, own.leg) != key)
        own = self.pool.balance(asset)
        others = tuple(held for held in self.pool.balances if held.asset != asset)
        balances = (*others, replace(own, amount=own.amount + brings))
        return replace(self, pool=replace(self.pool, legs=(*legs, leg), balances=balances))

    def leg(self, symbol: str, side: str) -> oracle.Leg:
        """Give a leg, or an empty one."""
        legs = self.pool.legs
        found = (own for own in legs if (own.instrument, own.leg) == (symbol, side))
        return next(found, oracle.Leg(symbol, side, 0, 0))

    def assess(self, card: oracle.Card) -> oracle.Assessment:
        """Ask the oracle."""
        return oracle.assess(card, self.pool, self.marks, self.assets)


@dataclass
class Question:
    """What was asked, and the pools that it concerns."""

    card: oracle.Card
    raw: Mapping[str, Any]
    seen: Sequence[Seen]

    def figures(self) -> dict[str, Any]:
        """Find figures of the record, by their names there."""
        raise NotImplementedError

    def answer(self, seen: Sequence[Seen], size: int | None = None) -> bool:
        """Say whether it passes with these pools, and this size."""
        raise NotImplementedError

    def passes(self, turn: Mapping[str, Any] | None = None, value: int = 0) -> bool:
        """Say whether it passes, with one figure another."""
        if turn is None:
            return self._answer(self.seen, None)
        if turn["change"] in {"lots", "amount"}:
            return self._answer(self.seen, value)
        return self._answer([self._changed(own, turn, value) for own in self.seen], None)

    def _answer(self, seen: Sequence[Seen], size: int | None) -> bool:
        try:
            return self.answer(seen, size)
        except oracle.OracleError:  # what cannot be worked out does not pass
            return False

    def _changed(self, own: Seen, turn: Mapping[str, Any], value: int) -> Seen:
        change, of = turn["change"], turn["of"]
        if change == "mark":
            return replace(own, marks={**own.marks, of: value})
        if change == "deposit":
            return own.with_deposit(value) if own.label == of else own
        return self._closed(own, of, turn["leg"], value)

    def _closed(self, own: Seen, symbol: str, side: str, lots: int) -> Seen:
        """Close lots of a leg at the mark, without a fee."""
        signed = lots if own.leg(symbol, side).quantity < 0 else -lots
        after, _, brings, _ = self.trade(own, (symbol, side), signed, own.marks[symbol])
        return own.with_leg(after, brings, self.card.instruments[symbol].settlement)

    def trade(
        self, own: Seen, key: tuple[str, str], lots: int, mark: int
    ) -> tuple[oracle.Leg, oracle.Leg, int, int]:
        """Trade lots of a leg: the leg then and before, what it brings in, what the lots cost."""
        leg = own.leg(*key)
        held = Position(leg.quantity, leg.cost, leg.accrued, leg.bids, leg.asks)
        new, brings, paid = traded(self.card.instruments[key[0]], held, lots, mark)
        return replace(leg, quantity=new.quantity, cost=new.cost), leg, brings, paid


class Order(Question):
    """Whether an order may be opened. Its pool is seen with the order open."""

    def _ask(self, own: Seen, size: int | None) -> oracle.OrderAnswer:
        asked, figures = self.raw["asked"], self.raw["figures"]
        key, lots = (asked["instrument"], asked["leg"]), figures["lots"]
        buys = lots > 0
        more = 0 if size is None else size - abs(lots)
        leg = own.leg(*key)
        leg = replace(leg, bids=leg.bids + more) if buys else replace(leg, asks=leg.asks + more)
        asset = self.card.instruments[key[0]].settlement
        return oracle.check_order(
            self.card,
            own.with_leg(leg, 0, asset).pool if more else own.pool,
            own.marks,
            own.assets,
            order=(*key, lots + (more if buys else -more)),
            worst=figures["worst_mark_ticks"] or 1,
            taker_fee=Fraction(*(figures["taker_fee"] or (0, 1))),
            reserved=own.reserved,
        )

    def figures(self) -> dict[str, Any]:
        """Give what is kept for it, and what it must leave."""
        found = self._ask(self.seen[0], None)
        return {name: getattr(found, name) for name in ("reserve", "free", "initial", "reduces")}

    def answer(self, seen: Sequence[Seen], size: int | None = None) -> bool:
        """Say whether it may be opened."""
        asked, lots = self.raw["asked"], self.raw["figures"]["lots"]
        held = seen[0].leg(asked["instrument"], asked["leg"]).quantity
        wanted = abs(lots) if size is None else size
        if asked["reduce_only"] and (held * lots >= 0 or wanted > abs(held)):
            return False
        return self._ask(seen[0], size).passes


class Money(Question):
    """Whether money may leave a pool."""

    def _most(self, own: Seen) -> oracle.Withdrawal:
        kept, asset = {own.pool.asset: own.reserved}, self.raw["figures"]["asset"]
        return oracle.withdrawable(self.card, own.pool, own.marks, asset, own.assets, None, kept)

    def figures(self) -> dict[str, Any]:
        """Give the most that may leave, and what binds."""
        found = self._most(self.seen[0])
        names = ("balance", "binding", "equity", "initial")
        return {"most": found.amount} | {name: getattr(found, name) for name in names}

    def answer(self, seen: Sequence[Seen], size: int | None = None) -> bool:
        """Say whether it may leave."""
        wanted: int = self.raw["figures"]["amount"] if size is None else size
        return self._most(seen[0]).amount >= wanted


class Fill(Question):
    """Whether two pools may trade: the pool of each side without an order must be able to."""

    def _side(self, at: int, own: Seen, size: int | None) -> dict[str, Any]:
        asked, told = self.raw["asked"], self.raw["figures"]["sides"][at]
        symbol, role = asked["instrument"], ("buyer", "seller")[at]
        instrument = self.card.instruments[symbol]
        mark = int(Fraction(str(asked["price"])) / instrument.mark_tick)
        lots = told["lots"] if size is None else (size if told["lots"] > 0 else -size)
        key = (symbol, asked[f"{role}_leg"])
        if told["chosen"] is not None:  # of a leg that is not held yet, too
            leverage = 1 / Fraction(*told["chosen"])
            own = own.with_leg(replace(own.leg(*key), leverage=leverage), 0, instrument.settlement)
        after, before, brings, paid = self.trade(own, key, lots, mark)
        found = {"lots": lots, "paid": paid, "realised": brings, "fee": told["fee"]}
        found |= {name: told[name] for name in ("rate", "chosen")}
        if told["rate"] is not None:
            num, den, rebate = told["rate"]
            found["fee"] = fee_of(Fraction(num, den), paid, rebate=rebate)
        if "after" not in told:
            return found
        then = own.with_leg(after, brings - found["fee"], instrument.settlement)
        was, will = own.assess(self.card), then.assess(self.card)
        safer = abs(after.quantity) <= abs(before.quantity) and is_safer(was, will)
        found |= {"before": _margin(was), "after": _margin(will)}
        return found | {"free": will.equity - own.reserved, "safer": safer}

    def figures(self) -> dict[str, Any]:
        """Give both sides, as far as they can be told."""
        told = self.raw["figures"]["sides"]
        sides = [
            None if side is None else self._side(at, own, None)
            for at, (own, side) in enumerate(zip(self.seen, told, strict=True))
        ]
        return {"sides": sides}

    def answer(self, seen: Sequence[Seen], size: int | None = None) -> bool:
        """Say whether both sides cover what they must, or are no riskier."""
        for at, own in enumerate(seen):
            if self.raw["figures"]["sides"][at] is None:
                continue  # refused by another rule
            found = self._side(at, own, size)
            short = "after" in found and found["free"] < found["after"]["initial"]
            if short and not found["safer"]:
                return False
        return True


class Liquidation(Question):
    """Whether a pool is safe."""

    def figures(self) -> dict[str, Any]:
        """Give its margin."""
        return _margin(self.seen[0].assess(self.card))

    def answer(self, seen: Sequence[Seen], size: int | None = None) -> bool:  # noqa: ARG002
        """Say whether the check does not fire."""
        return not seen[0].assess(self.card).liquidatable


def _margin(found: oracle.Assessment) -> dict[str, Any]:
    names = ("equity", "initial", "maintenance")
    return {name: getattr(found, name) for name in names}


QUESTIONS: dict[str, type[Question]] = {
    "order_open": Order,
    "withdrawal": Money,
    "transfer": Money,
    "fill": Fill,
    "liquidation": Liquidation,
}

"""The liquidation path, once more: ``docs/spec/liquidation.md``, over `aivora_core.audit.state`."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from aivora_core.audit import oracle
from aivora_core.audit.state import (
    FIRST_FORCED,
    Forced,
    Liquidation,
    Refusal,
    State,
    traded,
)

if TYPE_CHECKING:
    from aivora_core.audit.state import (
        Key,
        Outcome,
        Pool,
        Position,
    )

__all__ = ["Liquidator"]

PARTS = 64
STEPS_MAX = 10_000


class Liquidator(State):
    """A state that liquidates."""

    def follow(self) -> None:
        """Tell verdicts that have turned, begin liquidations, and go on with those that wait."""
        while True:
            turned, self.turned = self.turned, []
            turned.sort(key=lambda own: (own[0].account, own[0].name))
            for pool, fires in turned:
                self.out.append(
                    {"outcome": "liquidatable" if fires else "safe", "pool": pool.label}
                )
                if fires and pool.label not in self.liquidations and not self.is_backstop(pool):
                    self.begin(pool)
            self.go_on()
            if not self.turned:
                return

    def is_backstop(self, pool: Pool) -> bool:
        """Whether it is the pool that takes over."""
        own = self.policy.backstop
        return own is not None and (pool.account, pool.name) == own[:2]

    def begin(self, pool: Pool) -> None:
        """Step 1: cancel its orders, and lock it."""
        self.out.append({"outcome": "liquidation_started", "pool": pool.label})
        for order in self.orders_of(pool):
            self.drop(order, "liquidation")
        self.liquidations[pool.label] = Liquidation()

    def go_on(self) -> None:
        """Make the steps that are due, pool by pool."""
        waiting = [
            (own.missed is None, self.pools[label].account, self.pools[label].name, label)
            for label, own in self.liquidations.items()
            if own.order is None
        ]
        for *_, label in sorted(waiting):
            pool = self.pools[label]
            for _ in range(STEPS_MAX):
                own = self.liquidations.get(pool.label)
                if own is None or own.order is not None:
                    break
                step = self.step(pool, own)
                if step == "done":
                    self.finish(pool)
                if step != "again":
                    break

    def step(self, pool: Pool, own: Liquidation) -> str:
        """Steps 2 to 5."""
        found = self.assess(pool)
        key = self.heaviest(pool, found)
        if key is None or (not found.liquidatable and found.equity >= 0):
            return "done"
        try:
            self.trading(key[0] if own.missed is None else own.missed[0][0])
        except Refusal:
            return self.held(pool, "halted")
        missed, own.missed = own.missed, None
        if missed is not None:
            lots = min(missed[1], abs(pool.leg(missed[0]).quantity))
            if lots > 0:
                return self.deleverage(pool, missed[0], lots)
        if self.backstop_takes(pool, found) and self.take_over(pool):
            return "done"
        return self.force(pool, key, own)

    def held(self, pool: Pool, gate: str) -> str:
        """A gate holds it back; told once an event."""
        told = {"outcome": "liquidation_held", "pool": pool.label, "gate": gate}
        if told not in self.out:
            self.out.append(told)
        return "waits"

    def heaviest(self, pool: Pool, found: oracle.Assessment) -> Key | None:
        """The leg that requires the most; of equal ones the first."""
        required = {
            (own.leg.instrument, own.leg.leg): own.maintenance
            for own in found.legs
            if own.leg.quantity
        }
        keys = [key for key, _ in self.in_order(pool) if key in required]
        return max(keys, key=lambda key: required[key]) if keys else None

    # --- closing outside -----------------------------------------------------------------------

    def force(self, pool: Pool, key: Key, own: Liquidation) -> str:
        """Step 4: a forced order leaves."""
        leg, instrument = pool.legs[key], self.card.instruments[key[0]]
        lots = self.close_size(pool, key)
        borne = self.to_bear(pool, key)
        limit = self.closing_price(pool, key, borne)
        number, side = FIRST_FORCED + self.forced_count, -1 if leg.quantity > 0 else 1
        self.forced_count += 1
        self.forced[number] = Forced(number, pool, key, side, lots, limit)
        own.order, own.committed = number, borne
        told: dict[str, Any] = {"order": number, "pool": pool.label, "instrument": key[0]}
        told |= {"leg": key[1], "side": "sell" if side < 0 else "buy"}
        told |= {"quantity": lots * instrument.lot, "limit": limit * instrument.price_tick}
        self.out.append({"outcome": "forced_order", **told})
        return "waits"

    def allotted(self, pool: Pool, key: Key) -> tuple[int, int, int] | None:
        """Equity allotted to a leg, its value and requirement; None where nothing is required."""
        found = self.assess(pool)
        if found.maintenance == 0:
            return None
        own = next(leg for leg in found.legs if (leg.leg.instrument, leg.leg.leg) == key)
        part = Fraction(own.maintenance, found.maintenance)
        return floor(found.equity * part), own.value, own.maintenance

    def closing_price(self, pool: Pool, key: Key, borne: int = 0) -> int:
        """Give the limit: closing all of the leg there loses what is allotted and borne."""
        instrument, leg = self.card.instruments[key[0]], pool.legs[key]
        found = self.allotted(pool, key)
        if found is not None:
            allotted, value, _ = found
            try:
                price, _ = oracle.closing_ticks(
                    self.card, oracle.Leg(*key, leg.quantity, leg.cost), value - allotted - borne
                )
            except oracle.OracleError:
                price = None
            if price is not None:
                return price
        last = oracle.TICKS_MAX // instrument.mark_ticks_per_price_tick
        return 1 if leg.quantity > 0 else last

    def to_bear(self, pool: Pool, key: Key) -> int:
        """What the insurance fund stands behind."""
        found = self.allotted(pool, key)
        if found is None or self.card.instruments[key[0]].settlement != pool.asset:
            return 0
        allotted, _, required = found
        if allotted >= 0:
            return 0
        behind = sum(
            own.committed
            for label, own in self.liquidations.items()
            if self.pools[label].asset == pool.asset
        )
        free = max(0, self.funds[pool.asset].insurance - behind)
        return min(free, required - allotted)

    def close_size(self, pool: Pool, key: Key) -> int:
        """How much of a leg a step closes."""
        leg, policy = pool.legs[key], self.policy
        size = abs(leg.quantity)
        match policy.close:
            case "staged":
                worth = abs(self.card.instruments[key[0]].value(leg.quantity, self.marks[key[0]]))
                quantum = self.card.assets[pool.asset].quantum
                now = self.time or 0
                recent = pool.staged is not None and now - pool.staged < policy.cooldown_ms
                if worth * quantum <= policy.above or recent:
                    return size
                pool.staged = now
                return min(size, max(1, ceil(policy.share * size)))
            case "minimal":
                return self.fewest(pool, key, size)
            case "step_down":
                return self.stepped(key[0], size)
            case _:
                return size

    def fewest(self, pool: Pool, key: Key, size: int) -> int:
        """The fewest lots found after which the pool covers the target at the mark, fee paid."""
        instrument, leg = self.card.instruments[key[0]], pool.legs[key]

        def enough(lots: int) -> bool:
            signed = -lots if leg.quantity > 0 else lots
            left, brings, paid = traded(instrument, leg, signed, self.marks[key[0]])
            fee = ceil(abs(paid) * self.policy.fee)
            after = self.assess(pool, {key: left}, {instrument.settlement: brings - fee})
            if self.policy.target == "initial":
                return after.equity >= after.initial
            return not after.liquidatable and after.equity >= 0

        few, many = 0, None
        for part in range(1, PARTS + 1):
            lots = max(1, size * part // PARTS)
            if enough(lots):
                many = lots
                break
            few = lots
        if many is None:
            return size
        while many - few > 1:
            middle = (few + many) // 2
            few, many = (few, middle) if enough(middle) else (middle, many)
        return many

    def stepped(self, symbol: str, size: int) -> int:
        """As many lots as take a leg so many brackets down."""
        instrument = self.card.instruments[symbol]
        tiers, down, mark = instrument.tiers, self.policy.brackets, self.marks[symbol]
        if not tiers.brackets:
            return size

        def measure(lots: int) -> int:
            return lots if tiers.by == "size" else abs(instrument.value(lots, mark))

        at = sum(own.floor <= measure(size) for own in tiers.brackets) - 1
        if at < down:
            return size
        bar = tiers.brackets[at + 1 - down].floor
        fits, too_many = 0, size
        while too_many - fits > 1:
            middle = (fits + too_many) // 2
            fits, too_many = (middle, too_many) if measure(middle) < bar else (fits, middle)
        return size - fits

    def end_forced(self, forced: Forced, missed: tuple[Key, int] | None) -> None:
        """A forced order is out no longer."""
        del self.forced[forced.number]
        self.liquidations[forced.pool.label] = Liquidation(missed=missed)

    # --- deleveraging --------------------------------------------------------------------------

    def deleverage(self, pool: Pool, key: Key, lots: int) -> str:
        """Step 5: close against the other side, at the bankruptcy price."""
        price = self.closing_price(pool, key)
        instrument, sign = self.card.instruments[key[0]], 1 if pool.legs[key].quantity > 0 else -1
        asked = self.counterparties(pool, key)
        closed = [own for own in self.shares(asked, lots) if own[1] > 0]
        for (other, its), part in closed:
            sides = [(pool, key, -sign * part), (other, its, sign * part)]
            self.cross(price, sides if sign < 0 else sides[::-1])
            told: Outcome = {"pool": pool.label, "counterparty": other.label}
            told |= {"instrument": key[0]}
            told |= {"quantity": part * instrument.lot, "price": price * instrument.price_tick}
            self.out.append({"outcome": "deleveraged", **told})
        return "again" if closed else self.held(pool, "no_counterparty")

    def counterparties(self, pool: Pool, key: Key) -> list[tuple[Pool, Key, Position]]:
        """The legs of the other side that may be deleveraged, in the order they are asked."""
        long = pool.legs[key].quantity > 0
        found = []
        for other in self.pools.values():
            own = self.liquidations.get(other.label)
            if other is pool or (own is not None and own.order is not None):
                continue
            found += [
                (other, its, leg)
                for its, leg in self.in_order(other)
                if its[0] == key[0] and leg.quantity and (leg.quantity > 0) != long
            ]
        by_name = {"net": 0, "long": 1, "short": 2}
        found.sort(key=lambda own: (own[0].account, own[0].name, by_name[own[1][1]]))
        if self.policy.adl == "size":
            found.sort(key=lambda own: -abs(own[2].quantity))
        if self.policy.adl == "profit_leverage":
            found.sort(key=self.rank)
        return found

    def rank(self, asked: tuple[Pool, Key, Position]) -> tuple[int, Fraction]:
        """Profit times leverage, the largest first; of losses the smallest first."""
        other, its, leg = asked
        found = self.assess(other)
        own = next(row for row in found.legs if (row.leg.instrument, row.leg.leg) == its)
        backing = max(1, found.equity * own.maintenance // max(1, found.maintenance))
        entry, value = max(1, abs(leg.cost)), max(1, own.notional)
        if own.pnl > 0:
            return 0, -Fraction(own.pnl * value, entry * backing)
        return 1, Fraction(-own.pnl * backing, entry * value)

    def shares(
        self, asked: list[tuple[Pool, Key, Position]], lots: int
    ) -> list[tuple[tuple[Pool, Key], int]]:
        """How many lots each closes."""
        rest = lots
        found: list[tuple[tuple[Pool, Key], int]] = []
        if self.policy.adl != "pro_rata":
            for other, its, leg in asked:
                part = min(rest, abs(leg.quantity))
                rest -= part
                found.append(((other, its), part))
            return found
        sizes = [abs(leg.quantity) for *_, leg in asked]
        most = [min(floor(self.policy.adl_share * own), own) for own in sizes]
        whole = max(1, sum(sizes))
        parts = [min(lots * own // whole, cap) for own, cap in zip(sizes, most, strict=True)]
        rest -= sum(parts)
        for at, (other, its, _) in enumerate(asked):
            more = int(rest > 0 and parts[at] < most[at])
            rest -= more
            found.append(((other, its), parts[at] + more))
        return found

    def cross(self, price: int, sides: list[tuple[Pool, Key, int]]) -> None:
        """Trade between two pools outside any order, without fees."""
        instrument = self.card.instruments[sides[0][1][0]]
        mark = price * instrument.mark_ticks_per_price_tick
        done = [
            (pool, key, lots, traded(instrument, pool.leg(key), lots, mark))
            for pool, key, lots in sides
        ]
        for pool, key, _, (leg, brings, paid) in done:
            self.set_leg(pool, key, leg)
            self.add(pool, instrument.settlement, brings)
            self.funds[instrument.settlement].dust += paid
        for pool, *_ in done:
            self.look(pool)
        for pool, key, lots, (_, brings, _) in done:
            self.out.append(self.told_trade(pool, key, lots, brings, 0))
        for pool, key, *_ in done:
            self.drop_idle(pool, key)

    def told_trade(self, pool: Pool, key: Key, lots: int, brings: int, fee: int) -> Outcome:
        """A leg has traded."""
        instrument = self.card.instruments[key[0]]
        told: Outcome = {
            "outcome": "traded",
            "pool": pool.label,
            "instrument": key[0],
            "leg": key[1],
        }
        told |= {"quantity": lots * instrument.lot, "realised": brings * instrument.quantum}
        return told | {"fee": fee * instrument.quantum}

    def drop_idle(self, pool: Pool, key: Key) -> None:
        """Cancel orders that may only reduce a leg where they could do more than that."""
        for order in self.orders_of(pool):
            quantity = pool.leg(key).quantity
            idle = order.lots > abs(quantity) or (quantity > 0) == (order.side > 0)
            if order.key == key and order.reduce_only and idle:
                self.drop(order, "nothing_to_reduce")

    # --- the backstop, and the end -------------------------------------------------------------

    def backstop_takes(self, pool: Pool, found: oracle.Assessment) -> bool:
        """Whether step 3 applies."""
        own = self.policy.backstop
        if own is None or self.is_backstop(pool) or f"{own[0]}/{own[1]}" not in self.pools:
            return False
        return 0 <= found.equity < floor(found.maintenance * own[2])

    def take_over(self, pool: Pool) -> bool:
        """Move all to the backstop, positions at the mark; whether it may hold them."""
        own = self.policy.backstop
        assert own is not None  # noqa: S101 - was asked for
        to = self.pools[f"{own[0]}/{own[1]}"]
        before = [(each, dict(each.legs), dict(each.balances)) for each in (pool, to)]
        dust = {name: funds.dust for name, funds in self.funds.items()}
        keys = [key for key, _ in self.in_order(pool)]
        try:
            for key in keys:
                self.move(pool, to, key)
            for asset, quanta in list(pool.balances.items()):
                self.check_money(to, asset)
                self.add(pool, asset, -quanta)
                self.add(to, asset, quanta)
        except Refusal:
            for each, legs, balances in before:
                each.legs, each.balances = legs, balances
            for name, funds in self.funds.items():
                funds.dust = dust[name]
            return False
        self.look(pool)
        self.look(to)
        self.out.append({"outcome": "backstop_took_over", "pool": pool.label, "backstop": to.label})
        for key in keys:
            self.drop_idle(to, (key[0], "net"))
        return True

    def move(self, pool: Pool, to: Pool, key: Key) -> None:
        """Move one leg at the mark."""
        instrument, leg = self.card.instruments[key[0]], pool.legs[key]
        asset, mark = instrument.settlement, self.marks[key[0]]
        left, brings, paid = traded(instrument, leg, -leg.quantity, mark)
        new, gained, taken = traded(instrument, to.leg((key[0], "net")), leg.quantity, mark)
        self.check_leg(to, (key[0], "net"), new)
        self.check_money(to, asset)
        self.set_leg(pool, key, replace(left, cost=0, accrued=0))
        self.add(pool, asset, brings - leg.accrued)
        self.set_leg(to, (key[0], "net"), new)
        self.add(to, asset, gained)
        self.funds[asset].dust += paid + taken

    def finish(self, pool: Pool) -> None:
        """Step 6: the insurance fund pays what is owed, the rest is socialised."""
        equity = self.assess(pool).equity
        if equity < 0 and not any(leg.quantity for leg in pool.legs.values()):
            self.cover(pool, -equity)
        equity = self.assess(pool).equity
        del self.liquidations[pool.label]
        quantum = self.card.assets[pool.asset].quantum
        told = {"pool": pool.label, "equity": equity * quantum}
        self.out.append({"outcome": "liquidation_finished", **told})
        if pool.fires:
            self.look(pool)

    def cover(self, pool: Pool, loss: int) -> None:
        """Pay a loss: from the fund, then by those who profit, then nobody."""
        asset, funds = pool.asset, self.funds[pool.asset]
        quantum = self.card.assets[asset].quantum
        paid = min(loss, max(0, funds.insurance))
        if paid:
            self.charge(asset, [(pool, -paid)])
            funds.insurance -= paid
            told = {"pool": pool.label, "asset": asset, "amount": paid * quantum}
            self.out.append({"outcome": "insurance_paid", **told})
        loss -= paid
        if loss <= 0:
            return
        profits = [(other, self.profit(other, asset)) for other in self.pools.values()]
        profits = [
            (other, profit)
            for other, profit in profits
            if profit > 0 and other is not pool and other.label not in self.liquidations
        ]
        profits.sort(key=lambda own: (own[0].account, own[0].name))
        whole, rest = sum(profit for _, profit in profits), loss
        for other, profit in profits:
            part = min(ceil(Fraction(profit * min(loss, whole), whole)), rest, profit)
            if part > 0:
                self.charge(asset, [(other, part)])
                rest -= part
                told = {"pool": pool.label, "payer": other.label, "asset": asset}
                self.out.append({"outcome": "socialised", **told, "amount": part * quantum})
        self.charge(asset, [(pool, -loss)])
        funds.uncovered += rest

    def profit(self, pool: Pool, asset: str) -> int:
        """The unrealised profit of a pool in legs that settle in an asset."""
        total = 0
        for (symbol, _), leg in pool.legs.items():
            instrument = self.card.instruments[symbol]
            if leg.quantity and instrument.settlement == asset:
                total += instrument.value(leg.quantity, self.marks[symbol]) - leg.cost
        return total

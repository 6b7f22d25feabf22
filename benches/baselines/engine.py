"""The engine as a good user would write it in Python, over `float` or `Decimal`.

The same incremental algorithm as the core's: an order looks at its own pool, a fill at two, and a
mark at those whose verdict it may turn. The buffer of a pool is split over its positions, each part
becomes an end that the price must pass, and ends wait in a heap of their instrument.

For `cross` pools of one asset and linear contracts in brackets. Money is in quanta, prices are in
quanta a lot. What is rounded becomes an `int`, which both kinds of number add up with.
"""

from __future__ import annotations

from bisect import bisect_right
from decimal import Decimal
from fractions import Fraction
from heapq import heapify, heappop, heappush
from itertools import pairwise
from math import ceil, floor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import aivora_core as ac

    Number = Any  # float or Decimal
    Fields = tuple[Any, ...]
    Event = tuple[str, int, int, int, Fields]
    Outcome = tuple[Any, ...]
    Check = tuple[str | None, Number, Number, Number]

FIRST_FORCED = 1 << 63
LOTS_MAX = 10**18
FEW = 1_024
INWARD = 1e-15  # ends are floats: they stay within what was proved


def exactly(value: Fraction, number: Callable[..., Number]) -> Number:
    """A fraction as a number; as a decimal it must have an end."""
    found = number(value.numerator) / number(value.denominator)
    if isinstance(found, Decimal):
        assert Fraction(found) == value
    return found


class Market:
    """An instrument: its rules, its price, and the ends that its price may pass."""

    __slots__ = (
        "deductions",
        "delisted",
        "floors",
        "halted",
        "highs",
        "last",
        "leverages",
        "long",
        "lows",
        "maker",
        "most",
        "near",
        "order_unit",
        "price",
        "rates",
        "rebate",
        "shares",
        "short",
        "steps",
        "taker",
        "unit",
    )

    def __init__(self, instrument: ac.Instrument, number: Callable[..., Number]) -> None:
        per_tick = instrument.quanta_per_mark_tick_and_lot
        assert instrument.kind == "linear"
        assert per_tick is not None
        self.unit = number(per_tick)
        self.order_unit = number(per_tick * int(instrument.price_tick / instrument.mark_tick))
        tiers, quantum = instrument.tiers, Fraction(instrument.quantum)
        rates = [tier["maintenance"] for tier in tiers]
        deductions = [tier["deduction"] for tier in tiers]
        for (low, high), (before, after), tier in zip(
            pairwise(rates), pairwise(deductions), tiers[1:], strict=True
        ):
            # Continuous and convex: the ends stand on it.
            assert low < high
            assert after - before == Fraction(tier["floor"]) * (high - low)
        assert all(tier["initial"].numerator == 1 for tier in tiers)
        self.floors = [number(int(Fraction(tier["floor"]) / quantum)) for tier in tiers[1:]]
        self.rates = [exactly(rate, number) for rate in rates]
        self.deductions = [exactly(each / quantum, number) for each in deductions]
        self.leverages = [number(tier["initial"].denominator) for tier in tiers]
        self.shares = [float(rate) for rate in rates]
        self.steps = [float(each) for each in self.floors]
        self.taker = exactly(Fraction(instrument.taker_fee or 0), number)
        self.maker: Number = None
        self.rebate = self.halted = self.delisted = False
        self.price: Number = None
        self.near = 0.0  # the same as a float
        self.last: Number = None
        self.long = self.short = number(0)
        self.lows: list[tuple[float, int, int]] = []  # ends without their sign: the highest first
        self.highs: list[tuple[float, int, int]] = []
        self.most = FEW


class Leg:
    """A position, and what rests beside it."""

    __slots__ = ("asks", "bids", "cost", "exposure", "lots")

    def __init__(self, zero: Number) -> None:
        self.lots = self.cost = self.bids = self.asks = self.exposure = zero


class Order:
    """An open order."""

    __slots__ = ("at", "buy", "limit", "lots", "pool", "reduce_only", "reserve")

    def __init__(self, fields: Fields, pool: Pool, reserve: Number) -> None:
        _, _, self.at, self.buy, self.lots, self.limit, self.reduce_only = fields
        self.pool, self.reserve = pool, reserve


class Pool:
    """A pool; `cash` is its balance less the costs of its legs."""

    __slots__ = (
        "cash",
        "legs",
        "liquidatable",
        "locked",
        "name",
        "orders",
        "place",
        "reducing",
        "reserved",
        "version",
    )

    def __init__(self, place: int, name: tuple[str, str], zero: Number) -> None:
        self.place, self.name = place, name
        self.cash = self.reserved = zero
        self.legs: dict[int, Leg] = {}
        self.orders: set[int] = set()
        self.liquidatable = self.locked = False
        self.reducing = self.version = 0

    @property
    def balance(self) -> Number:
        """Its balance."""
        return self.cash + sum(leg.cost for leg in self.legs.values())


Side = tuple[Pool, Leg, tuple[Any, Any, Any, Any]]  # and lots, cost, profit, fee after a fill


def swept(heap: list[tuple[float, int, int]], pools: list[Pool]) -> int:
    """Forget what is no longer in force; how long the heap may grow before the next time."""
    heap[:] = [each for each in heap if pools[each[1]].version == each[2]]
    heapify(heap)
    return max(FEW, 2 * len(heap))


class Engine:
    """A risk engine: told what happened, it says what follows.

    `apply` gives why the event was refused, or None, and a list of what followed.
    """

    def __init__(self, venue: ac.Venue, number: Callable[..., Number]) -> None:
        self.number = number
        self.zero = number(0)
        self.markets = [Market(instrument, number) for instrument in venue.instruments]
        self.pools: list[Pool] = []
        self.names: dict[tuple[str, str], int] = {}
        self.orders: dict[int, Order] = {}
        self.sources: dict[int, int] = {}
        self.time: int | None = None
        self.halted = False
        self.funds = dict.fromkeys(("deposits", "insurance", "fees", "dust"), self.zero)
        self.turned: list[Pool] = []
        self.handlers = {
            "clock": self._clock,
            "deposit": self._deposit,
            "fees": self._fees,
            "fill": self._fill,
            "mark": self._mark,
            "order_cancel": self._order_cancel,
            "order_open": self._order_open,
            "pool_open": self._pool_open,
            "withdrawal": self._withdrawal,
        }

    def apply(self, event: Event) -> tuple[str | None, list[Outcome]]:
        """Take an event."""
        name, source, sequence, time, fields = event
        out: list[Outcome] = []
        if self.time is not None and time < self.time:
            return "stale_event", out
        last = self.sources.get(source)
        if last is not None:
            if sequence <= last:
                return "stale_event", out
            if sequence > last + 1:
                out.append(("sequence_gap", source, sequence - last - 1))
        self.time = time
        self.sources[source] = sequence
        refused = self.handlers[name](fields, out)
        if self.turned:
            self._follow(out)
        return refused, out

    def _follow(self, out: list[Outcome]) -> None:
        """Tell verdicts that have changed; who is liquidatable is locked, without its orders."""
        turned, self.turned = self.turned, []
        turned.sort(key=lambda pool: pool.name)
        for pool in turned:
            if not pool.liquidatable:
                out.append(("safe", pool.place))
                continue
            out.append(("liquidatable", pool.place))
            if not pool.locked:
                out.append(("liquidation_started", pool.place))
                for number in sorted(pool.orders):
                    self._drop(number, "liquidation", out)
                pool.locked = True

    def _clock(self, fields: Fields, out: list[Outcome]) -> None:
        """Time goes on, and nothing else."""

    def _mark(self, fields: Fields, _: list[Outcome]) -> str | None:
        """Look again at those pools alone whose end the price passes."""
        at, ticks = fields
        if at >= len(self.markets):
            return "unknown_instrument"
        market = self.markets[at]
        if market.delisted:
            return "not_trading"
        market.price = price = ticks * market.unit
        pools, left = self.pools, []
        market.near = high = float(price)
        low, lows, highs = -high, market.lows, market.highs
        while lows and lows[0][0] < low:
            _end, place, version = heappop(lows)
            if pools[place].version == version:
                left.append(pools[place])
        while highs and highs[0][0] < high:
            _end, place, version = heappop(highs)
            if pools[place].version == version:
                left.append(pools[place])
        for pool in left:
            self._look(pool)
        return None

    def _fees(self, fields: Fields, _: list[Outcome]) -> str | None:
        at, taker, maker, rebate = fields
        if taker > 1 or maker > 1:
            return "out_of_range"
        if at >= len(self.markets):
            return "unknown_instrument"
        market = self.markets[at]
        if market.delisted:
            return "not_trading"
        market.taker, market.maker, market.rebate = taker, maker, rebate
        return None

    def _pool_open(self, fields: Fields, out: list[Outcome]) -> str | None:
        name = fields
        if name in self.names:
            return "duplicate_key"
        place = len(self.pools)
        self.names[name] = place
        self.pools.append(Pool(place, name, self.zero))
        out.append(("pool_opened", place))
        return None

    def _deposit(self, fields: Fields, _: list[Outcome]) -> str | None:
        place, amount = fields
        if place >= len(self.pools):
            return "unknown_account"
        if amount <= 0:
            return "out_of_range"
        pool = self.pools[place]
        pool.cash += amount
        self.funds["deposits"] += amount
        if pool.liquidatable:  # who is safe stays so, within the same ends
            self._look(pool)
        return None

    def _withdrawal(self, fields: Fields, _: list[Outcome]) -> str | None:
        place, amount = fields
        if amount <= 0:
            return "out_of_range"
        if place >= len(self.pools):
            return "unknown_account"
        pool = self.pools[place]
        if pool.locked:
            return "pool_locked"
        if self.halted:
            return "not_trading"
        equity, initial, _maintenance = self.assess(pool)
        balance = pool.balance
        # Profit that is not realised does not leave.
        free = min(equity, balance) - pool.reserved - initial
        if amount > min(max(balance, 0), free):
            return "insufficient_margin"
        pool.cash -= amount
        self.funds["deposits"] -= amount
        self._look(pool)
        return None

    def assess(self, pool: Pool) -> tuple[Number, Number, Number]:
        """Equity, initial and maintenance requirement of a pool at the marks."""
        equity, initial, maintenance = pool.cash, 0, 0
        for at, leg in pool.legs.items():
            market = self.markets[at]
            price = market.price
            equity += leg.lots * price
            value = leg.exposure * price
            initial += ceil(value / market.leverages[bisect_right(market.floors, value)])
            size = abs(leg.lots * price)
            bracket = bisect_right(market.floors, size)
            maintenance += ceil(size * market.rates[bracket] - market.deductions[bracket])
        return equity, initial, maintenance

    def check_order(self, fields: Fields) -> Check:  # noqa: C901, PLR0911, PLR0912 - calls cost
        """Why an order may not be opened, or None; its reserve, equity, initial requirement."""
        _, place, at, buy, lots, limit, reduce_only = fields
        why = self._no_order(place, at, lots)
        if why is not None:
            return why, 0, 0, 0
        pool, market = self.pools[place], self.markets[at]
        leg = pool.legs.get(at)
        if leg is None:
            held = bids = asks = self.zero
        else:
            held, bids, asks = leg.lots, leg.bids, leg.asks
        if buy:
            bids += lots
            resting, opposite = bids, held < 0
        else:
            asks += lots
            resting, opposite = asks, held > 0
        if resting > LOTS_MAX:
            return "overflow", 0, 0, 0
        if reduce_only and not (opposite and lots <= abs(held)):
            return "bad_leg", 0, 0, 0
        equity, initial = pool.cash, 0
        markets = self.markets
        for other, own in pool.legs.items():
            if other != at:
                its = markets[other]
                price = its.price
                equity += own.lots * price
                value = own.exposure * price
                initial += ceil(value / its.leverages[bisect_right(its.floors, value)])
        price = market.price
        if price is None:
            return "missing_price", 0, 0, 0
        equity += held * price
        value = max(held + bids, asks - held) * price
        initial += ceil(value / market.leverages[bisect_right(market.floors, value)])
        if opposite and resting <= abs(held):
            return None, 0, equity, initial
        worst = price if limit is None else limit * market.order_unit
        lost = lots * (worst - price if buy else price - worst)
        reserve = ceil(lots * worst * market.taker)
        if lost > 0:
            reserve += lost
        if equity - pool.reserved - reserve < initial:
            return "insufficient_margin", reserve, equity, initial
        return None, reserve, equity, initial

    def _no_order(self, place: int, at: int, lots: Number) -> str | None:
        """Why it is none, before its margin is looked at."""
        if not 1 <= lots <= LOTS_MAX:
            return "out_of_range"
        why = self._not_trading(at)
        if why is not None:
            return why
        if place >= len(self.pools):
            return "unknown_account"
        return "pool_locked" if self.pools[place].locked else None

    def _order_open(self, fields: Fields, _: list[Outcome]) -> str | None:
        number, place, at, buy, lots, _limit, reduce_only = fields
        if number >= FIRST_FORCED:
            return "out_of_range"
        if number in self.orders:
            return "duplicate_key"
        why, reserve, _equity, _initial = self.check_order(fields)
        if why is not None:
            return why
        pool = self.pools[place]
        leg = pool.legs.get(at)
        if leg is None:
            leg = pool.legs[at] = Leg(self.zero)
        if buy:
            leg.bids += lots
        else:
            leg.asks += lots
        leg.exposure = max(leg.lots + leg.bids, leg.asks - leg.lots)
        self.orders[number] = Order(fields, pool, reserve)
        pool.orders.add(number)
        pool.reserved += reserve
        pool.reducing += reduce_only
        return None

    def _order_cancel(self, fields: Fields, out: list[Outcome]) -> str | None:
        (number,) = fields
        if number not in self.orders:
            return "unknown_order"
        self._drop(number, "asked", out)
        return None

    def _drop(self, number: int, why: str, out: list[Outcome]) -> None:
        """Take an order out of its leg, and give its reserve back."""
        order = self.orders.pop(number)
        pool, at = order.pool, order.at
        leg = pool.legs[at]
        if order.buy:
            leg.bids -= order.lots
        else:
            leg.asks -= order.lots
        if leg.lots or leg.bids or leg.asks:
            leg.exposure = max(leg.lots + leg.bids, leg.asks - leg.lots)
        else:
            del pool.legs[at]
        pool.orders.remove(number)
        pool.reserved -= order.reserve
        pool.reducing -= order.reduce_only
        out.append(("order_cancelled", number, pool.place, why))

    def _fill(self, fields: Fields, out: list[Outcome]) -> str | None:
        at, price, lots, buyer, bid, seller, ask, taker_buys = fields
        if lots < 1:
            return "out_of_range"
        why = self._not_trading(at)
        if why is not None:
            return why
        if buyer == seller:
            return "bad_fill"
        value = price * self.markets[at].order_unit
        bought = self._side(at, buyer, bid, (lots, price, value, taker_buys))
        if isinstance(bought, str):
            return bought
        sold = self._side(at, seller, ask, (-lots, price, value, not taker_buys))
        if isinstance(sold, str):
            return sold
        self.markets[at].last = price
        for number, signed, side in ((bid, lots, bought), (ask, -lots, sold)):
            self._exchange(at, number, (signed, value), side, out)
        for pool, leg, _ in (bought, sold):
            self._look(pool)
            if pool.reducing:
                self._drop_idle(pool, leg, at, out)
        return None

    def _exchange(
        self,
        at: int,
        number: int | None,
        trade: tuple[Number, Number],
        side: Side,
        out: list[Outcome],
    ) -> None:
        """Change a leg, the cash beside it, the funds and the open interest."""
        signed, value = trade
        pool, leg, (new, cost, realised, fee) = side
        market, funds, old = self.markets[at], self.funds, leg.lots
        market.long += max(new, 0) - max(old, 0)
        market.short += max(-new, 0) - max(-old, 0)
        paid = signed * value
        funds["dust"] += paid
        funds["fees"] += fee
        pool.cash -= paid + fee
        leg.lots, leg.cost = new, cost
        if number is not None:
            self._filled(number, pool, leg, abs(signed))
        leg.exposure = max(new + leg.bids, leg.asks - new)
        if new or leg.bids or leg.asks:
            pool.legs[at] = leg
        else:
            del pool.legs[at]
        out.append(("traded", pool.place, at, signed, realised, fee))

    def _not_trading(self, at: int) -> str | None:
        if at >= len(self.markets):
            return "unknown_instrument"
        market = self.markets[at]
        return "not_trading" if market.delisted or market.halted or self.halted else None

    def _side(
        self, at: int, place: int, number: int | None, trade: tuple[Number, Number, Number, bool]
    ) -> str | Side:
        """One side of a fill, worked out before anything is changed: its leg after it."""
        signed, price, value, takes = trade
        market = self.markets[at]
        if market.price is None:
            return "missing_price"
        if place >= len(self.pools):
            return "unknown_account"
        pool = self.pools[place]
        leg = pool.legs.get(at)
        if leg is None:
            leg = Leg(self.zero)
        rate = market.taker if takes else market.maker
        if rate is None:
            return "unknown_fee"
        after = self._traded(leg, signed, value)
        paid = abs(signed) * value
        rebate = market.rebate and not takes
        fee = -floor(paid * rate) if rebate else ceil(paid * rate)
        if number is None:
            why = self._may_trade(pool, leg, at, (*after, fee))
        else:
            why = self._fits(number, pool, leg, (at, signed, price))
        return why or (pool, leg, (*after, fee))

    @staticmethod
    def _traded(leg: Leg, signed: Number, value: Number) -> tuple[Number, Number, Number]:
        """Lots and cost after a trade, and what it brings into the balance."""
        old, before = leg.lots, leg.cost
        new, paid = old + signed, signed * value
        if not old or (old > 0) == (signed > 0):
            return new, before + paid, 0
        if not new:
            cost = new
        elif (new > 0) == (old > 0):
            released = abs(before) * abs(signed) // abs(old)
            cost = before - released if before > 0 else before + released
        else:
            cost = new * value
        return new, cost, cost - before - paid

    def _fits(
        self, number: int, pool: Pool, leg: Leg, trade: tuple[int, Number, Number]
    ) -> str | None:
        """Why an order does not allow a fill."""
        at, signed, price = trade
        order = self.orders.get(number)
        if order is None:
            return "unknown_order"
        buy, size = signed > 0, abs(signed)
        if order.pool is not pool or order.at != at or order.buy != buy or size > order.lots:
            return "bad_fill"
        limit = order.limit
        if limit is not None and (price > limit if buy else price < limit):
            return "bad_fill"
        held = leg.lots
        if order.reduce_only and (not held or size > abs(held) or (held > 0) == buy):
            return "bad_fill"
        return None

    def _may_trade(
        self, pool: Pool, leg: Leg, at: int, after: tuple[Number, Number, Number, Number]
    ) -> str | None:
        """Why a trade without an order is not allowed."""
        if pool.locked:
            return "pool_locked"
        before = self.assess(pool)
        new, cost, realised, fee = after
        old, old_cost, exposure, cash = leg.lots, leg.cost, leg.exposure, pool.cash
        known = at in pool.legs
        leg.lots, leg.cost, leg.exposure = new, cost, max(new + leg.bids, leg.asks - new)
        pool.cash += realised - fee - (cost - old_cost)
        pool.legs[at] = leg
        equity, initial, maintenance = self.assess(pool)
        leg.lots, leg.cost, leg.exposure, pool.cash = old, old_cost, exposure, cash
        if not known:
            del pool.legs[at]
        if equity - pool.reserved >= initial:
            return None
        safer = maintenance <= before[2] and (
            equity * before[2] >= before[0] * maintenance
            if before[2] and maintenance
            else equity >= min(before[0], 0)
        )
        return None if safer and abs(new) <= abs(old) else "insufficient_margin"

    def _filled(self, number: int, pool: Pool, leg: Leg, lots: Number) -> None:
        """Take a part of an order out of its leg; its reserve goes with it."""
        order = self.orders[number]
        released = order.reserve * lots // order.lots
        order.lots -= lots
        order.reserve -= released
        pool.reserved -= released
        if order.buy:
            leg.bids -= lots
        else:
            leg.asks -= lots
        if not order.lots:
            pool.reducing -= order.reduce_only
            pool.orders.remove(number)
            del self.orders[number]

    def _drop_idle(self, pool: Pool, leg: Leg, at: int, out: list[Outcome]) -> None:
        """Cancel what may only reduce a leg, and could do more than that to what is left of it."""
        for number in sorted(pool.orders):
            order = self.orders[number]
            idle = order.lots > abs(leg.lots) or (leg.lots > 0) == order.buy
            if order.reduce_only and order.at == at and idle:
                self._drop(number, "nothing_to_reduce", out)

    def _look(self, pool: Pool) -> None:
        """The verdict on a pool, and the ends between which it stays."""
        equity, maintenance = pool.cash, 0
        markets, held, total = self.markets, [], 0.0
        for at, leg in pool.legs.items():
            lots = leg.lots
            if lots:
                market = markets[at]
                value = lots * market.price
                size = abs(value)
                bracket = bisect_right(market.floors, size)
                equity += value
                maintenance += ceil(size * market.rates[bracket] - market.deductions[bracket])
                about = float(size)
                weight = about ** (2 / 3)  # the ends are passed least often so
                total += weight
                held.append((market, lots > 0, bracket, about, weight))
        gap = equity - maintenance
        liquidatable = maintenance > 0 and gap < 0
        if liquidatable != pool.liquidatable:
            pool.liquidatable = liquidatable
            self.turned.append(pool)
        pool.version += 1
        if held:
            # Each requirement is rounded up by less than a quantum.
            room = float(-gap - 1 if liquidatable else gap) - len(held)
            self._certify(pool, held, max(room, 0.0) / total)

    def _certify(
        self, pool: Pool, held: list[tuple[Market, bool, int, float, float]], part: float
    ) -> None:
        """Put an end of each position into the heap of its instrument.

        Requirements are convex in the price: what is gained or lost on the way is bounded by the
        rate here, the lowest, or that of twice the size.
        """
        place, version = pool.place, pool.version
        for market, long, bracket, size, weight in held:
            price, share = market.near, part * weight / size
            if pool.liquidatable:
                rate = market.shares[bracket]
                move = share / (1 - rate) if long else share / (1 + rate)
                rises = long
            else:
                if long:
                    move = share / (1 - market.shares[0])
                else:
                    twice = market.shares[bisect_right(market.steps, size + size)]
                    move = min(share / (1 + twice), 1.0)
                rises = not long
            if rises:
                heap, end = market.highs, price * (1 + (move - INWARD))
            else:
                heap, end = market.lows, price * ((move - INWARD) - 1)
            heappush(heap, (end, place, version))
            if len(heap) > market.most:
                market.most = swept(heap, self.pools)

"""A journal, recounted: every event decided once more, from the specification, in fractions.

`Recount` takes the rows of a journal (`aivora_core.Journal`, or the JSON lines that
``aivora journal export`` writes) one after the other. Of each it works out anew whether the event
was to be refused, and with which code; every amount that followed; every verdict that turned; every
forced order with its size and limit, and who was deleveraged. It stands on the shipped oracle
and imports nothing of the core: `Mismatch` says what does not agree.

Taken as told: refusals of book messages and of cards (they are decided before any money is), and
that text is written as it was read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any

from aivora_core.audit import oracle
from aivora_core.audit.liquidating import Liquidator
from aivora_core.audit.state import (
    FIRST_FORCED,
    LOTS_MAX,
    Liquidation,
    Market,
    Order,
    Pool,
    Position,
    Refusal,
    check_on,
    is_safer,
    read_card,
    traded,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aivora_core.audit.state import Forced, Key, Outcome

__all__ = ["Mismatch", "Recount"]

Fields = dict[str, Any]
_LEG = ("lots", "cost", "bids", "asks")
_AMOUNTS = {"quantity", "realised", "fee", "paid", "limit", "equity", "amount", "price"}


@dataclass(eq=False)
class Mismatch(Exception):  # noqa: N818 - it is what was found
    """What the journal says, and what the oracle finds instead."""

    position: int
    event: str
    what: str
    told: object
    found: object

    @property
    def where(self) -> str:
        """Which event it is about."""
        return f"event {self.position} ({self.event})"

    def __str__(self) -> str:
        """Say both."""
        return f"{self.where}: {self.what} is {self.told}; the oracle finds {self.found}"


@dataclass
class _Side:
    """One side of a fill, worked out before anything is changed."""

    pool: Pool
    key: Key
    lots: int
    leg: Position
    brings: int
    paid: int
    fee: int = 0
    order: Order | None = None
    forced: Forced | None = None


class Recount(Liquidator):
    """A second engine, for one journal.

    Parameters
    ----------
    card, policy : str
        The texts that the journal is of.

    Attributes
    ----------
    events, refused, outcomes, looks : int
        How many were recounted: events, refusals among them, what followed, checks of a pool.
    """

    def __init__(self, card: str, policy: str) -> None:
        super().__init__(card, policy)
        self.events = self.refused = self.outcomes = 0

    def take(self, row: Mapping[str, Any]) -> None:
        """Recount one row.

        Parameters
        ----------
        row : mapping
            ``position``, ``source``, ``sequence``, ``time``, ``event``, ``fields``, ``refused``
            (an error, or a dict with its ``code``, or None) and ``outcomes``.

        Raises
        ------
        Mismatch
            Where the oracle does not find the same.
        """
        told = row["refused"]
        code = told["code"] if isinstance(told, dict) else getattr(told, "code", None)
        out = self.out = []
        found: str | None = None
        try:
            self.event(row, code)
        except Refusal as why:
            found = why.code
        except oracle.OracleError as why:
            found = why.code
        at = (int(row["position"]), str(row["event"]))
        if found != code:
            raise Mismatch(*at, "the refusal", code, found)
        given = [_as_numbers(own) for own in row["outcomes"]]
        for number, (mine, theirs) in enumerate(zip(out, given, strict=False)):
            if mine != theirs:
                raise Mismatch(*at, f"outcome {number}", theirs, mine)
        if len(out) != len(given):
            raise Mismatch(*at, "the number of outcomes", len(given), len(out))
        self.events += 1
        self.refused += code is not None
        self.outcomes += len(out)

    def compare(
        self,
        position: int,
        pools: Sequence[Mapping[str, Any]],
        funds: Mapping[str, Mapping[str, int]],
    ) -> None:
        """Compare every pool and the funds, and look at every pool at the prices in force.

        Parameters
        ----------
        position : int
            After how many events.
        pools : list of mapping
            ``account``, ``pool``, ``balances``, ``legs`` (``instrument``, ``leg``, ``lots``,
            ``cost``, ``bids``, ``asks``), ``reserved``, ``locked``, ``orders``, in quanta and lots.
        funds : mapping
            Of each asset ``deposits``, ``insurance``, ``fees``, ``dust``, ``uncovered``.

        Raises
        ------
        Mismatch
            Naming the first figure that differs.
        """

        def same(what: str, told: object, found: object) -> None:
            if told != found:
                raise Mismatch(position, "the end", what, told, found)

        labels = [f"{told['account']}/{told['pool']}" for told in pools]
        same("the list of pools", labels, list(self.pools))
        for told, pool in zip(pools, self.pools.values(), strict=True):
            name = f"pool {pool.label}"
            legs = {
                (leg["instrument"], leg["leg"]): tuple(leg[each] for each in _LEG)
                for leg in told["legs"]
            }
            mine = {
                key: (leg.quantity, leg.cost, leg.bids, leg.asks) for key, leg in pool.legs.items()
            }
            balances = {asset: quanta for asset, quanta in told["balances"].items() if quanta}
            own = {asset: quanta for asset, quanta in pool.balances.items() if quanta}
            same(f"{name}, balances", balances, own)
            same(f"{name}, legs", legs, mine)
            same(f"{name}, kept for orders", told["reserved"], pool.reserved)
            same(f"{name}, locked", told["locked"], pool.label in self.liquidations)
            same(f"{name}, orders", told["orders"], [o.number for o in self.orders_of(pool)])
            if self.check_on == "mark":
                fires = self.assess(pool).liquidatable
                same(f"{name}, whether the check fires", pool.fires, fires)
        for asset, told in funds.items():
            found = self.funds[asset]
            same(f"funds of {asset}", dict(told), {each: getattr(found, each) for each in told})

    def event(self, row: Mapping[str, Any], told: str | None) -> None:
        """``docs/spec/engine.md``, "Taking an event"."""
        source, sequence, time = int(row["source"]), int(row["sequence"]), int(row["time"])
        last = self.sources.get(source)
        if (self.time is not None and time < self.time) or (last is not None and sequence <= last):
            raise Refusal("stale_event")
        if isinstance(self.check_on, int):
            before = self.time
            due = (
                time % self.check_on == 0
                if before is None
                else time // self.check_on > before // self.check_on
            )
            if due:
                self.look_at_all()
        self.time = time
        self.sources[source] = sequence
        if last is not None and sequence > last + 1:
            missing = {"source": source, "missing": sequence - last - 1}
            self.out.append({"outcome": "sequence_gap", **missing})
        if self.turned:
            self.follow()
        try:
            self.decide(str(row["event"]), dict(row["fields"]), told)
        finally:
            self.follow()

    def decide(self, name: str, f: Fields, told: str | None) -> None:
        """Step 3."""
        if name in {"book_snapshot", "book_delta"} and told is not None:
            self.listed(f["instrument"])
            raise Refusal(told)
        handler = getattr(self, f"on_{name}", None)
        if handler is None:
            raise Refusal("unknown_event")
        if name == "card" and told is not None:
            raise Refusal(told)
        handler(f)

    # --- numbers -------------------------------------------------------------------------------

    def ticks(self, f: Fields, name: str, grid: Fraction) -> int:
        """A number in whole units of its grid."""
        return _whole(Fraction(str(f[name])) / grid)

    def quanta(self, f: Fields, name: str = "amount") -> int:
        """An amount above 0."""
        found = self.ticks(f, name, self.card.assets[f["asset"]].quantum)
        if found <= 0:
            raise Refusal("out_of_range")
        return found

    def lots(self, f: Fields, symbol: str) -> int:
        """A quantity in lots."""
        return self.ticks(f, "quantity", self.card.instruments[symbol].lot)

    # --- prices --------------------------------------------------------------------------------

    def on_clock(self, _: Fields) -> None:
        """Time alone."""

    def on_block(self, _: Fields) -> None:
        """A block ends."""
        if self.check_on == "block":
            self.look_at_all()

    def on_mark(self, f: Fields) -> None:
        """A new mark."""
        self.listed(f["instrument"])
        symbol = f["instrument"]
        before = self.marks.get(symbol)
        self.marks[symbol] = self.ticks(f, "mark", self.card.instruments[symbol].mark_tick)
        if self.check_on == "mark":
            self.look_after(symbol, before)

    def on_asset_price(self, f: Fields) -> None:
        """A new price of an asset."""
        own = self.card.assets[self.known_asset(f["asset"])]
        if own.price_tick is None:
            raise Refusal("unknown_asset")
        self.assets[own.name] = self.ticks(f, "price", own.price_tick)
        if self.check_on == "mark":
            for pool in self.pools.values():
                if pool.multi:
                    self.look(pool)

    def on_index(self, f: Fields) -> None:
        """A new index: no decision hangs on it yet."""
        self.listed(f["instrument"])

    on_source_price = on_trade = on_index

    def on_book_snapshot(self, f: Fields) -> None:
        """A whole book."""
        market = self.listed(f["instrument"])
        market.bids, market.asks = {}, {}
        self.on_book_delta(f)

    def on_book_delta(self, f: Fields) -> None:
        """Levels that changed."""
        market, own = self.listed(f["instrument"]), self.card.instruments[f["instrument"]]
        for side, levels in ((market.bids, f["bids"]), (market.asks, f["asks"])):
            for price, quantity in levels or ():
                ticks = _whole(Fraction(str(price)) / own.price_tick)
                side[ticks] = _whole(Fraction(str(quantity)) / own.lot)
                if not side[ticks]:
                    del side[ticks]

    # --- accounts ------------------------------------------------------------------------------

    def on_pool_open(self, f: Fields) -> None:
        """A pool is opened."""
        rules = self.card.rules
        asset = f["asset"]
        if asset is not None:
            self.known_asset(asset)
        if f["multi"] and rules.valuation is None:
            raise Refusal("bad_collateral")
        held = rules.valuation if f["multi"] else asset or rules.settlement
        pool = Pool(f["account"], f["pool"], f["kind"], f["multi"], str(held), len(self.pools))
        if pool.label in self.pools:
            raise Refusal("duplicate_key")
        self.pools[pool.label] = pool
        self.out.append({"outcome": "pool_opened", "pool": pool.label})

    def on_deposit(self, f: Fields) -> None:
        """Money comes in."""
        pool = self.pool(f["pool"])
        asset = self.known_asset(f["asset"])
        quanta = self.quanta(f)
        self.charge(asset, [(pool, -quanta)])
        self.funds[asset].deposits += quanta

    def on_withdrawal(self, f: Fields) -> None:
        """Money leaves."""
        asset, pool = f["asset"], self._leaving(f, "pool")
        quanta = self.quanta(f)
        self.charge(asset, [(pool, quanta)])
        self.funds[asset].deposits -= quanta

    def on_transfer(self, f: Fields) -> None:
        """Money moves between two pools of one account."""
        pool = self._leaving(f, "from", f["to"])
        to = self.pool(f["to"])
        quanta = self.quanta(f)
        both = sorted([(pool, quanta), (to, -quanta)], key=lambda own: own[0].place)
        self.charge(f["asset"], both)

    def _leaving(self, f: Fields, name: str, to: object = None) -> Pool:
        """Refuse to let more leave a pool than it may spare."""
        if isinstance(f["asset"], str) and f["asset"] in self.card.assets:
            self.quanta(f)
        if to is not None:
            self._same_account(f[name], to)
        pool = self.unlocked(f[name])
        asset = self.known_asset(f["asset"])
        if self.halted:
            raise Refusal("not_trading")
        found = oracle.withdrawable(
            self.card,
            self.as_asked(pool),
            self.marks,
            asset,
            self.assets,
            kept={pool.asset: pool.reserved},
        )
        if self.quanta(f) > found.amount:
            raise Refusal("insufficient_margin")
        return pool

    def _same_account(self, one: object, other: object) -> None:
        """Refuse pools of different accounts, and one that is locked to move to."""
        pool, to = self.pool(one), self.pool(other)
        if pool is to or pool.account != to.account:
            raise Refusal("unknown_account")
        self.unlocked(other)

    def _covered(self, pool: Pool) -> None:
        """Refuse a pool that does not cover its initial requirement."""
        found = self.assess(pool)
        if found.equity - pool.reserved < found.initial:
            raise Refusal("insufficient_margin")

    def on_leverage(self, f: Fields) -> None:
        """A leverage is chosen, or the choice taken back."""
        pool = self.unlocked(f["pool"])
        symbol = f["instrument"]
        if symbol is not None:
            self.instrument(symbol)
        chosen = None if f["leverage"] is None else Fraction(str(f["leverage"]))
        if chosen is not None and chosen < 1:
            raise Refusal("out_of_range")
        before, old = self.assess(pool).initial, (pool.leverage, dict(pool.leverages))
        if symbol is None:
            pool.leverage = chosen
        elif chosen is None:
            pool.leverages.pop(symbol, None)
        else:
            pool.leverages[symbol] = chosen
        try:
            if self.assess(pool).initial > before:
                self._covered(pool)
        except Refusal:
            pool.leverage, pool.leverages = old
            raise
        self.look(pool)

    def on_margin_mode(self, f: Fields) -> None:
        """A leg moves to another pool of the account, at its cost."""
        self.trading(f["instrument"])
        self._same_account(f["from"], f["to"])
        pool, to = self.unlocked(f["from"]), self.pool(f["to"])
        key = (f["instrument"], f["leg"])
        leg = pool.legs.get(key)
        if leg is None:
            raise Refusal("unknown_leg")
        if leg.bids or leg.asks or key in to.legs:
            raise Refusal("bad_leg")
        self.check_leg(to, key, leg)
        to.legs[key] = leg
        del pool.legs[key]
        try:
            self._covered(pool)
            self._covered(to)
        except (Refusal, oracle.OracleError):
            pool.legs[key] = leg
            del to.legs[key]
            raise
        self.look(pool)
        self.look(to)

    def on_account_link(self, f: Fields) -> None:
        """No decision hangs on it yet."""
        self.pool(f["pool"])

    on_advice = on_account_link

    def on_throttle(self, f: Fields) -> None:
        """An account is throttled, or no longer."""
        account = self.pool(f["pool"]).account
        (self.throttled.add if f["on"] else self.throttled.discard)(account)

    def on_session_lost(self, f: Fields) -> None:
        """Its orders are cancelled."""
        account = self.pool(f["pool"]).account
        for pool in self.pools.values():
            if pool.account == account:
                for order in self.orders_of(pool):
                    self.drop(order, "session_lost")

    # --- orders --------------------------------------------------------------------------------

    def on_order_open(self, f: Fields) -> None:
        """An order is opened."""
        number = int(f["order"])
        if number >= FIRST_FORCED:
            raise Refusal("out_of_range")
        if number in self.orders:
            raise Refusal("duplicate_key")
        instrument = self.instrument(f["instrument"])
        limit = None if f["limit"] is None else self.ticks(f, "limit", instrument.price_tick)
        lots, symbol = self.lots(f, instrument.symbol), instrument.symbol
        if lots < 1:
            raise Refusal("out_of_range")
        self.trading(symbol)
        pool = self.unlocked(f["pool"])
        side = 1 if f["side"] == "buy" else -1
        self.admit(Order(number, pool, (symbol, f["leg"]), side, lots, limit, f["reduce_only"]))

    def admit(self, order: Order) -> None:
        """Check an order, and put it in."""
        order.reserve = self._reserve(order)
        self.put_in(order)

    def _reserve(self, order: Order) -> int:
        """What is kept for an order that passes."""
        if order.lots < 1:
            raise Refusal("out_of_range")
        pool, (symbol, _) = order.pool, order.key
        market = self.trading(symbol)
        self.unlocked(pool.label)
        leg, instrument = pool.leg(order.key), self.card.instruments[symbol]
        self.check_leg(pool, order.key, Position(bids=1))
        beside = leg.bids if order.side > 0 else leg.asks
        if beside + order.lots > LOTS_MAX:
            raise Refusal("overflow")
        against = leg.quantity * order.side < 0
        if order.reduce_only and not (against and order.lots <= abs(leg.quantity)):
            raise Refusal("bad_leg")
        reduces = against and beside + order.lots <= abs(leg.quantity)
        if not reduces and pool.account in self.throttled:
            raise Refusal("not_trading")
        if not reduces and market.taker is None:
            raise Refusal("unknown_fee")
        mark = self.mark(symbol)
        worst = mark
        if order.limit is not None:
            worst = order.limit * instrument.mark_ticks_per_price_tick
        elif not reduces:
            worst = self._worst(order, market, mark)
        more = (
            {"bids": leg.bids + order.lots} if order.side > 0 else {"asks": leg.asks + order.lots}
        )
        found = oracle.check_order(
            self.card,
            self.as_asked(pool, {order.key: replace(leg, **more)}),
            self.marks,
            self.assets,
            order=(*order.key, order.side * order.lots),
            worst=worst,
            taker_fee=market.taker or Fraction(0),
            reserved=pool.reserved,
        )
        if not found.passes:
            raise Refusal("insufficient_margin")
        return found.reserve

    def _worst(self, order: Order, market: Market, mark: int) -> int:
        """The worst price that a market order would get, no better than the mark; mark ticks."""
        instrument = self.card.instruments[order.key[0]]
        bids = sorted(market.bids.items(), reverse=True)
        asks = sorted(market.asks.items())
        side = "buy" if order.side > 0 else "sell"
        found = oracle.walk(bids, asks, instrument.fill, side, order.lots).worst
        if found is None:
            return mark
        worst = found * instrument.mark_ticks_per_price_tick
        return max(worst, mark) if order.side > 0 else min(worst, mark)

    def on_order_amend(self, f: Fields) -> None:
        """An open order is changed: it must pass as a new one does."""
        order = self.orders.get(int(f["order"]))
        if order is None:
            raise Refusal("unknown_order")
        instrument = self.card.instruments[order.key[0]]
        limit = None if f["limit"] is None else self.ticks(f, "limit", instrument.price_tick)
        lots = self.lots(f, instrument.symbol)
        self.take_out(order)
        try:
            self.admit(replace(order, lots=lots, limit=limit, reserve=0))
        except (Refusal, oracle.OracleError):
            self.put_in(order)
            raise

    def on_order_cancel(self, f: Fields) -> None:
        """An open order is cancelled."""
        order = self.orders.get(int(f["order"]))
        if order is None:
            raise Refusal("unknown_order")
        self.drop(order, "asked")

    # --- fills ---------------------------------------------------------------------------------

    def on_fill(self, f: Fields) -> None:
        """A trade between two pools."""
        instrument = self.instrument(f["instrument"])
        lots = self.lots(f, instrument.symbol)
        if lots < 1:
            raise Refusal("out_of_range")
        if (f["buyer"], f["buyer_leg"]) == (f["seller"], f["seller_leg"]):
            raise Refusal("bad_fill")
        self.trading(instrument.symbol)
        sides = [self._side(f, name, lots, instrument) for name in ("buyer", "seller")]
        for side in sides:
            self.check_leg(side.pool, side.key, side.leg)
            self.check_money(side.pool, instrument.settlement)
        asset = instrument.settlement
        funds = self.funds[asset]
        for side in sides:
            self.set_leg(side.pool, side.key, side.leg)
            self.add(side.pool, asset, side.brings - side.fee)
            funds.dust += side.paid
            if side.forced is None:
                funds.fees += side.fee
            else:
                funds.insurance += side.fee
        for side in sides:
            self.look(side.pool)
        for side in sides:
            self._filled(side, lots)
            self.out.append(self.told_trade(side.pool, side.key, side.lots, side.brings, side.fee))
        for side in sides:
            self.drop_idle(side.pool, side.key)

    def _side(self, f: Fields, name: str, lots: int, instrument: oracle.Instrument) -> _Side:
        """Work out one side, and refuse it where its order or its margin does."""
        signed = lots if name == "buyer" else -lots
        symbol, market = instrument.symbol, self.markets[instrument.symbol]
        self.mark(symbol)
        pool, key = self.pool(f[name]), (symbol, f[f"{name}_leg"])
        price = self.ticks(f, "price", instrument.price_tick)
        old = pool.leg(key)
        mark = price * instrument.mark_ticks_per_price_tick
        leg, brings, paid = traded(instrument, old, signed, mark)
        side = _Side(pool, key, signed, leg, brings, paid)
        number = f[f"{name}_order"]
        if number is not None and number >= FIRST_FORCED:
            return self._forced_side(side, int(number), price, instrument)
        takes = (f["taker"] == "buy") == (signed > 0)
        rate = market.taker if takes else market.maker
        side.fee = self.cover_of(rate, paid, rebate=market.rebate and not takes)
        if number is None:
            self._may_trade(side, old, instrument.settlement)
            return side
        order = self.orders.get(int(number))
        if order is None:
            raise Refusal("unknown_order")
        self._fits(side, price, (order.pool, order.key, order.side), order.lots, order.limit)
        if order.reduce_only and not (old.quantity * signed < 0 and lots <= abs(old.quantity)):
            raise Refusal("bad_fill")
        resting = {"bids": leg.bids - lots} if signed > 0 else {"asks": leg.asks - lots}
        side.leg, side.order = replace(leg, **resting), order
        return side

    def _forced_side(
        self, side: _Side, number: int, price: int, instrument: oracle.Instrument
    ) -> _Side:
        """A part of a forced order: its fee is at most the equity that is left."""
        forced = self.forced.get(number)
        if forced is None:
            raise Refusal("unknown_order")
        whose = (forced.pool, forced.key, forced.side)
        self._fits(side, price, whose, forced.left, forced.limit)
        after = self.assess(side.pool, {side.key: side.leg}, {instrument.settlement: side.brings})
        fee = ceil(abs(side.paid) * self.policy.fee)
        side.fee, side.forced = max(0, min(fee, after.equity)), forced
        return side

    def _fits(
        self,
        side: _Side,
        price: int,
        whose: tuple[Pool, Key, int],
        left: int,
        limit: int | None,
    ) -> None:
        """Refuse a fill that its order does not allow."""
        buys = 1 if side.lots > 0 else -1
        beyond = limit is not None and (price - limit) * buys > 0
        if whose != (side.pool, side.key, buys) or abs(side.lots) > left or beyond:
            raise Refusal("bad_fill")

    def _may_trade(self, side: _Side, old: Position, asset: str) -> None:
        """Refuse a trade without an order that leaves a pool short, unless it is no riskier."""
        pool = side.pool
        self.unlocked(pool.label)
        after = self.assess(pool, {side.key: side.leg}, {asset: side.brings - side.fee})
        if after.equity - pool.reserved >= after.initial:
            return
        before = self.assess(pool)
        if not (is_safer(before, after) and abs(side.leg.quantity) <= abs(old.quantity)):
            raise Refusal("insufficient_margin")

    def _filled(self, side: _Side, lots: int) -> None:
        """A part of an order is filled: its reserve goes with it."""
        if side.order is not None:
            order = side.order
            released = order.reserve * lots // order.lots
            order.lots -= lots
            order.reserve -= released
            order.pool.reserved -= released
            if not order.lots:
                order.pool.reserved -= order.reserve
                del self.orders[order.number]
        if side.forced is None:
            return
        forced, instrument = side.forced, self.card.instruments[side.key[0]]
        forced.left -= lots
        told: Outcome = {"order": forced.number, "pool": side.pool.label}
        told |= {"instrument": side.key[0], "quantity": lots * instrument.lot}
        self.out.append({"outcome": "forced_filled", **told})
        if side.fee:
            told = {"pool": side.pool.label, "asset": instrument.settlement}
            told |= {"amount": side.fee * instrument.quantum}
            self.out.append({"outcome": "liquidation_fee", **told})
        if not forced.left:
            self.end_forced(forced, None)

    def on_forced_end(self, f: Fields) -> None:
        """Nothing more will be filled of a forced order."""
        forced = self.forced.get(int(f["order"]))
        if forced is None:
            raise Refusal("unknown_order")
        self.end_forced(forced, (forced.key, forced.left))

    # --- the venue -----------------------------------------------------------------------------

    def on_funding_rate(self, f: Fields) -> None:
        """The funding rate in force."""
        self.listed(f["instrument"]).funding = (Fraction(str(f["rate"])), bool(f["longs_pay"]))

    def on_funding_settlement(self, f: Fields) -> None:
        """Funding is settled: one rounding a leg, against the account."""
        market = self.trading(f["instrument"])
        instrument = self.card.instruments[f["instrument"]]
        if market.funding is None:
            raise Refusal("missing_price")
        if f["price"] is None:
            price = self.mark(instrument.symbol)
        else:
            price = self.ticks(f, "price", instrument.mark_tick)
        rate, longs_pay = market.funding
        if instrument.is_per_contract:
            worth = Fraction(abs(instrument.rounded_value(1, price)))
        else:
            worth = abs(instrument.exact_value(1, price))
        payments = []
        for pool in self.pools.values():
            lots = [leg.quantity for key, leg in pool.legs.items() if key[0] == instrument.symbol]
            signs = [own if longs_pay else -own for own in lots]
            paid = sum(ceil(own * worth * rate) for own in signs)
            if paid:
                payments.append((pool, paid))
        total = sum(paid for _, paid in payments)
        self.charge(instrument.settlement, payments)
        self.funds[instrument.settlement].dust += total
        told = {"instrument": instrument.symbol, "pools": len(payments)}
        self.out.append({"outcome": "funding_settled", **told, "paid": total * instrument.quantum})

    def on_fees(self, f: Fields) -> None:
        """Fees from now on."""
        rates = [Fraction(str(f[name])) for name in ("taker", "maker")]
        if max(rates) > 1:
            raise Refusal("out_of_range")
        market = self.listed(f["instrument"])
        market.taker, market.maker = rates
        market.rebate = bool(f["rebate"])

    def on_insurance_top_up(self, f: Fields) -> None:
        """The insurance fund gets money."""
        funds = self.funds[self.known_asset(f["asset"])]
        quanta = self.quanta(f)
        funds.insurance += quanta
        funds.deposits += quanta

    def on_halt(self, f: Fields, *, on: bool = True) -> None:
        """Trading halts, in one instrument or in all."""
        if f["instrument"] is None:
            self.halted = on
        else:
            self.listed(f["instrument"]).halted = on

    def on_resume(self, f: Fields) -> None:
        """Trading goes on."""
        self.on_halt(f, on=False)

    def on_delist(self, f: Fields) -> None:
        """Positions are settled at a price, and orders cancelled."""
        market = self.listed(f["instrument"])
        instrument = self.card.instruments[f["instrument"]]
        symbol, asset = instrument.symbol, instrument.settlement
        price = self.ticks(f, "price", instrument.mark_tick)
        by_name = sorted(self.pools.values(), key=lambda own: (own.account, own.name))
        holders = [pool for pool in by_name if any(key[0] == symbol for key in pool.legs)]
        told: list[Outcome] = []
        for pool in holders:
            for key, leg in [own for own in self.in_order(pool) if own[0][0] == symbol]:
                value = instrument.value(leg.quantity, price)
                brings = value - leg.cost - leg.accrued
                self.funds[asset].dust -= value
                self.set_leg(pool, key, replace(leg, quantity=0, cost=0, accrued=0))
                self.add(pool, asset, brings)
                row = {"pool": pool.label, "instrument": symbol}
                told.append({"outcome": "settled", **row, "realised": brings * instrument.quantum})
        for pool in holders:
            self.look(pool)
        for _, order in sorted(self.orders.items()):
            if order.key[0] == symbol:
                self.drop(order, "delisted")
        self.out += told
        market.delisted = True
        for forced in [own for own in self.forced.values() if own.key[0] == symbol]:
            self.end_forced(forced, None)
        for pool in holders:
            flat = not any(leg.quantity for leg in pool.legs.values())
            if flat and self.assess(pool).equity < 0:
                self.liquidations.setdefault(pool.label, Liquidation())

    def on_card(self, f: Fields) -> None:
        """Another card comes into force."""
        old, self.card = self.card, read_card(f["card"])
        self.check_on = check_on(f["card"])
        for symbol, instrument in self.card.instruments.items():
            if symbol not in old.instruments:
                self.markets[symbol] = Market(instrument.taker_fee)
            elif self.markets[symbol].taker == old.instruments[symbol].taker_fee:
                self.markets[symbol].taker = instrument.taker_fee
        self.look_at_all()


def _whole(value: Fraction) -> int:
    """A number that is on its grid."""
    if value.denominator != 1:
        raise Refusal("off_grid")
    return value.numerator


def _as_numbers(outcome: Mapping[str, Any]) -> Outcome:
    """An outcome with its numbers as fractions."""
    return {
        name: Fraction(str(value)) if name in _AMOUNTS and value is not None else value
        for name, value in outcome.items()
    }

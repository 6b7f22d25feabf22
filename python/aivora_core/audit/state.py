"""What an engine holds, once more: pools, orders, funds, verdicts. Written from ``docs/spec``.

Part of the recount of a journal (`aivora_core.audit.recount`). Like the oracle that it asks, it
imports nothing of the core, keeps amounts as whole quanta and rates as fractions, and is slow on
purpose.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from aivora_core.audit import oracle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["FIRST_FORCED", "Order", "Policy", "Pool", "Position", "Refusal", "State"]

FIRST_FORCED = 1 << 63
LOTS_MAX = oracle.LOTS_MAX
_SIDES = ("net", "long", "short")

Key = tuple[str, str]  # instrument and leg
Outcome = dict[str, Any]


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault
    """Why an event is refused: one of the codes of the reference page of errors."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Position:
    """One leg: lots and quanta."""

    quantity: int = 0
    cost: int = 0
    accrued: int = 0
    bids: int = 0
    asks: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on it."""
        return not (self.quantity or self.cost or self.accrued or self.bids or self.asks)


@dataclass(slots=True)
class Order:
    """An open order; ``side`` is +1 for a buy, ``limit`` in price ticks."""

    number: int
    pool: Pool
    key: Key
    side: int
    lots: int
    limit: int | None
    reduce_only: bool
    reserve: int = 0


@dataclass(slots=True, eq=False)
class Pool:
    """A pool: its holdings, what is kept for its orders, the verdict on it."""

    account: str
    name: str
    kind: str
    multi: bool
    asset: str
    place: int
    balances: dict[str, int] = field(default_factory=dict)
    legs: dict[Key, Position] = field(default_factory=dict)
    leverage: Fraction | None = None
    leverages: dict[str, Fraction] = field(default_factory=dict)
    reserved: int = 0
    staged: int | None = None
    fires: bool = False
    spare: int = 0  # what prices may still take before the verdict could turn

    @property
    def label(self) -> str:
        """Its account and its name."""
        return f"{self.account}/{self.name}"

    def leg(self, key: Key) -> Position:
        """A leg, or an empty one that is not kept."""
        return self.legs.get(key) or Position()


@dataclass(frozen=True, slots=True)
class Policy:
    """How a venue liquidates: ``docs/spec/liquidation.md``."""

    close: str = "full"
    fee: Fraction = Fraction(0)
    adl: str = "profit_leverage"
    adl_share: Fraction = Fraction(0)
    share: Fraction = Fraction(0)
    above: Fraction = Fraction(0)
    cooldown_ms: int = 0
    target: str = "maintenance"
    brackets: int = 1
    backstop: tuple[str, str, Fraction] | None = None

    @classmethod
    def read(cls, text: str) -> Policy:
        """Read the text of a policy; the default one where there is none."""
        if not text:
            return cls()
        tree = tomllib.loads(text, parse_float=Decimal)
        words = ("close", "adl", "target")
        given: dict[str, Any] = {name: tree[name] for name in words if name in tree}
        for name in ("fee", "adl_share", "share", "above"):
            if name in tree:
                given[name] = oracle.rational(tree[name], name)
        for name in ("cooldown_ms", "brackets"):
            if name in tree:
                given[name] = int(tree[name])
        if given.get("close") == "step_down":
            given["brackets"] = max(1, given["brackets"])
        own = tree.get("backstop")
        if own is not None:
            below = oracle.rational(own["below"], "below")
            given["backstop"] = (own["account"], own["pool"], below)
        return cls(**given)


@dataclass(slots=True)
class Market:
    """What is known of an instrument beside its rules."""

    taker: Fraction | None
    maker: Fraction | None = None
    rebate: bool = False
    funding: tuple[Fraction, bool] | None = None
    halted: bool = False
    delisted: bool = False
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Funds:
    """What the venue has in one asset, in quanta."""

    deposits: int = 0
    insurance: int = 0
    fees: int = 0
    dust: int = 0
    uncovered: int = 0


@dataclass(slots=True)
class Forced:
    """A forced order that is out."""

    number: int
    pool: Pool
    key: Key
    side: int
    left: int
    limit: int


@dataclass(slots=True)
class Liquidation:
    """A liquidation that has begun."""

    order: int | None = None
    committed: int = 0
    missed: tuple[Key, int] | None = None


def read_card(text: str) -> oracle.Card:
    """Read a card, as TOML or JSON."""
    if text.lstrip().startswith("{"):
        return oracle.Card.from_tree(json.loads(text, parse_float=Decimal))
    return oracle.Card.from_tree(tomllib.loads(text, parse_float=Decimal))


def check_on(text: str) -> int | str:
    """What triggers the check: ``mark``, ``block``, or every so many milliseconds."""
    loads = json.loads if text.lstrip().startswith("{") else tomllib.loads
    given = str(loads(text).get("rules", {}).get("check_on", "mark"))
    return int(given.removesuffix("ms")) if given.endswith("ms") else given


def traded(
    instrument: oracle.Instrument, old: Position, lots: int, mark: int
) -> tuple[Position, int, int]:
    """Trade lots (signed) at a price in mark ticks: the leg then, what it brings in, its cost.

    ``docs/spec/engine.md``, "A trade of one leg".
    """
    paid = -instrument.value(-lots, mark)
    left = old.quantity + lots
    if old.quantity * lots >= 0:
        cost = old.cost + paid
    elif abs(lots) <= abs(old.quantity):
        released = abs(old.cost) * abs(lots) // abs(old.quantity)
        cost = old.cost - (released if old.cost > 0 else -released)
    else:
        cost = -instrument.value(-left, mark)
    return replace(old, quantity=left, cost=cost), cost - old.cost - paid, paid


class State:
    """All that events change."""

    def __init__(self, card: str, policy: str) -> None:
        self.card = read_card(card)
        self.check_on = check_on(card)
        self.policy = Policy.read(policy)
        self.markets = {
            symbol: Market(own.taker_fee) for symbol, own in self.card.instruments.items()
        }
        self.funds = {name: Funds() for name in self.card.assets}
        self.pools: dict[str, Pool] = {}
        self.orders: dict[int, Order] = {}
        self.throttled: set[str] = set()
        self.marks: dict[str, int] = {}
        self.assets: dict[str, int] = {}
        self.halted = False
        self.sources: dict[int, int] = {}
        self.time: int | None = None
        self.liquidations: dict[str, Liquidation] = {}
        self.forced: dict[int, Forced] = {}
        self.forced_count = 0
        self.turned: list[tuple[Pool, bool]] = []
        self.out: list[Outcome] = []  # what follows from the event that is being decided
        self.looks = 0

    # --- what is there -------------------------------------------------------------------------

    def pool(self, label: object) -> Pool:
        """An open pool."""
        found = self.pools.get(label) if isinstance(label, str) else None
        if found is None:
            raise Refusal("unknown_account")
        return found

    def unlocked(self, label: object) -> Pool:
        """A pool that is not being liquidated."""
        pool = self.pool(label)
        if pool.label in self.liquidations:
            raise Refusal("pool_locked")
        return pool

    def instrument(self, symbol: object) -> oracle.Instrument:
        """An instrument of the card."""
        found = self.card.instruments.get(symbol) if isinstance(symbol, str) else None
        if found is None:
            raise Refusal("unknown_instrument")
        return found

    def listed(self, symbol: object) -> Market:
        """A market that has not been delisted."""
        market = self.markets[self.instrument(symbol).symbol]
        if market.delisted:
            raise Refusal("not_trading")
        return market

    def trading(self, symbol: object) -> Market:
        """A market in which trading goes on."""
        market = self.listed(symbol)
        if market.halted or self.halted:
            raise Refusal("not_trading")
        return market

    def known_asset(self, name: object) -> str:
        """An asset of the card."""
        if not isinstance(name, str) or name not in self.card.assets:
            raise Refusal("unknown_asset")
        return name

    def mark(self, symbol: str) -> int:
        """The mark in force."""
        if symbol not in self.marks:
            raise Refusal("missing_price")
        return self.marks[symbol]

    def orders_of(self, pool: Pool) -> list[Order]:
        """The open orders of a pool, ascending."""
        return [own for _, own in sorted(self.orders.items()) if own.pool is pool]

    def in_order(self, pool: Pool) -> list[tuple[Key, Position]]:
        """The legs of a pool, by instrument and side."""
        place = {symbol: at for at, symbol in enumerate(self.card.instruments)}
        return sorted(
            pool.legs.items(), key=lambda leg: (place[leg[0][0]], _SIDES.index(leg[0][1]))
        )

    # --- what the oracle says ------------------------------------------------------------------

    def as_asked(
        self, pool: Pool, legs: Mapping[Key, Position] | None = None, paid: Mapping[str, int] = {}
    ) -> oracle.Pool:
        """A pool for the oracle, with some legs in place of its own and some money added."""
        held = pool.legs if legs is None else {**pool.legs, **legs}
        money = {name: pool.balances.get(name, 0) for name in {*pool.balances, *paid}}
        for name, quanta in paid.items():
            money[name] += quanta
        return oracle.Pool(
            pool.account,
            pool.name,
            pool.kind,
            "multi" if pool.multi else "single",
            pool.asset,
            tuple(oracle.Balance(name, quanta) for name, quanta in money.items()),
            tuple(
                oracle.Leg(
                    symbol,
                    side,
                    leg.quantity,
                    leg.cost,
                    leg.accrued,
                    leg.bids,
                    leg.asks,
                    pool.leverages.get(symbol, pool.leverage),
                )
                for (symbol, side), leg in held.items()
                if not leg.is_empty
            ),
        )

    def assess(
        self, pool: Pool, legs: Mapping[Key, Position] | None = None, paid: Mapping[str, int] = {}
    ) -> oracle.Assessment:
        """Check a pool at the prices in force."""
        self.looks += 1
        return oracle.assess(self.card, self.as_asked(pool, legs, paid), self.marks, self.assets)

    def look(self, pool: Pool) -> None:
        """Find the verdict on a pool, and note it where it has turned."""
        self.note(pool, self.assess(pool))

    def note(self, pool: Pool, found: oracle.Assessment) -> None:
        """Note the verdict on a pool where it has turned."""
        pool.spare = found.equity - found.maintenance - 1
        if found.liquidatable != pool.fires:
            pool.fires = found.liquidatable
            self.turned.append((pool, pool.fires))

    def look_after(self, symbol: str, before: int | None) -> None:
        """Look at who holds an instrument whose mark has moved, and might have turned by that.

        A gap moves by at most what the position does and what is required of it, and rates are
        at most 1 where requirements join: until that could be all that is spare, the verdict of
        a safe pool stands.
        """
        instrument, now = self.card.instruments[symbol], self.marks[symbol]
        rules = self.card.rules
        plain = (
            before is not None
            and instrument.kind == "linear"
            and instrument.tiers.by == "notional"
            and _joined(instrument)
            and rules.maintenance_basis == "mark"
            and rules.closing_fee != "bankruptcy"
        )
        for pool in self.pools.values():
            own = [leg for (name, _), leg in pool.legs.items() if name == symbol]
            if not own:
                continue
            if plain and before is not None and not (pool.fires or pool.multi):
                moved = sum(abs(instrument.exact_value(leg.quantity, now - before)) for leg in own)
                pool.spare -= 2 * ceil(moved) + len(own)
                if pool.spare > 0:
                    continue
            self.look(pool)

    def look_at_all(self) -> None:
        """Find all verdicts anew."""
        for pool in self.pools.values():
            self.look(pool)

    # --- what changes --------------------------------------------------------------------------

    def check_leg(self, pool: Pool, key: Key, leg: Position) -> None:
        """Refuse a leg that a pool may not have."""
        instrument, (symbol, side) = self.card.instruments[key[0]], key
        sign = -1 if instrument.is_inverse else 1
        if (side == "long" and leg.quantity < 0) or (side == "short" and leg.quantity > 0):
            raise Refusal("bad_leg")
        if leg.cost and (leg.cost > 0) != (leg.quantity * sign > 0):
            raise Refusal("bad_leg")
        if max(leg.bids, leg.asks) > LOTS_MAX:
            raise Refusal("overflow")
        if key in pool.legs or leg.is_empty:
            return
        if not pool.multi and instrument.settlement != pool.asset:
            raise Refusal("bad_collateral")
        for other, its in pool.legs:
            if other != symbol:
                if pool.kind == "isolated":
                    raise Refusal("bad_leg")
            elif "net" in {its, side}:
                raise Refusal("bad_leg")

    def set_leg(self, pool: Pool, key: Key, leg: Position) -> None:
        """Set a leg; one with nothing on it is gone."""
        if leg.is_empty:
            pool.legs.pop(key, None)
        else:
            pool.legs[key] = leg

    def check_money(self, pool: Pool, asset: str) -> None:
        """Refuse another asset than a pool's one."""
        if not pool.multi and asset != pool.asset:
            raise Refusal("bad_collateral")

    def add(self, pool: Pool, asset: str, quanta: int) -> None:
        """Add to a balance."""
        pool.balances[asset] = pool.balances.get(asset, 0) + quanta
        if pool.multi and not pool.balances[asset]:
            del pool.balances[asset]

    def charge(self, asset: str, payments: Iterable[tuple[Pool, int]]) -> None:
        """Take payments out of balances, where the pools can be valued then.

        Where the card checks on each price they are looked at.
        """
        paid = list(payments)
        for pool, _ in paid:
            self.check_money(pool, asset)
        for pool, quanta in paid:
            self.add(pool, asset, -quanta)
        try:
            found = [(pool, self.assess(pool)) for pool, _ in paid]
        except oracle.OracleError:
            for pool, quanta in paid:
                self.add(pool, asset, quanta)
            raise
        for pool, assessment in found if self.check_on == "mark" else ():
            self.note(pool, assessment)

    def drop(self, order: Order, why: str) -> None:
        """An order is open no longer."""
        self.take_out(order)
        name = {"order": order.number, "pool": order.pool.label, "why": why}
        self.out.append({"outcome": "order_cancelled", **name})

    def take_out(self, order: Order) -> None:
        """Take an order out of its leg, and give its reserve back."""
        self.book_order(order, -order.lots)
        order.pool.reserved -= order.reserve
        del self.orders[order.number]

    def put_in(self, order: Order) -> None:
        """Put an order into its leg, and keep its reserve."""
        self.book_order(order, order.lots)
        order.pool.reserved += order.reserve
        self.orders[order.number] = order

    def book_order(self, order: Order, lots: int) -> None:
        """Add lots to the side of its leg that an order is on."""
        old = order.pool.leg(order.key)
        more = {"bids": old.bids + lots} if order.side > 0 else {"asks": old.asks + lots}
        new = replace(old, **more)
        self.check_leg(order.pool, order.key, new)
        self.set_leg(order.pool, order.key, new)

    def cover_of(self, rate: Fraction | None, paid: int, *, rebate: bool = False) -> int:
        """A fee: rounded against the account."""
        if rate is None:
            raise Refusal("unknown_fee")
        return fee_of(rate, paid, rebate=rebate)


def fee_of(rate: Fraction, paid: int, *, rebate: bool = False) -> int:
    """Find a fee, rounded against the account; below 0 for a rebate."""
    return -floor(abs(paid) * rate) if rebate else ceil(abs(paid) * rate)


def is_safer(before: oracle.Assessment, after: oracle.Assessment) -> bool:
    """Say whether a pool is no riskier: ``docs/spec/engine.md``, "Fills"."""
    if after.maintenance > before.maintenance:
        return False
    if not (before.maintenance and after.maintenance):
        return after.equity >= min(before.equity, 0)
    return after.equity * before.maintenance >= before.equity * after.maintenance


def _joined(instrument: oracle.Instrument) -> bool:
    """Whether requirements join at each floor."""
    brackets = instrument.tiers.brackets
    return all(
        after.floor * after.maintenance - after.deduction
        == after.floor * before.maintenance - before.deduction
        for before, after in pairwise(brackets)
    )

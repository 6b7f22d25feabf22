"""Others who check orders: nautilus_trader's `RiskEngine`, and a compiled loop in float64."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import aivora_core as ac
    from stream import Told

MARGIN, CASH = "MARGIN", "CASH"
VENUE = "DEMO"


class Nautilus:
    """A `RiskEngine` with one account, the venue's instruments, and a sink behind it.

    What passes is sent to `ExecEngine.execute`, what is denied to `ExecEngine.process`. In 1.221
    the engine asks a margin account for no margin: it checks price, quantity and the trading state.
    Of a cash account it checks the notional against the free balance too.

    Parameters
    ----------
    venue : Venue
        Whose linear instruments.
    account : str
        ``MARGIN`` or ``CASH``.
    dollars : int
        What the account holds.
    """

    def __init__(self, venue: ac.Venue, account: str, dollars: int) -> None:
        from nautilus_trader.cache.cache import Cache
        from nautilus_trader.common.component import MessageBus, TestClock
        from nautilus_trader.model.identifiers import TraderId
        from nautilus_trader.portfolio.portfolio import Portfolio
        from nautilus_trader.risk.config import RiskEngineConfig
        from nautilus_trader.risk.engine import RiskEngine

        self.trader = TraderId("BENCH-001")
        clock = TestClock()
        bus = MessageBus(trader_id=self.trader, clock=clock)
        self.cache = Cache()
        self.passed: list[Any] = []
        self.denied: list[Any] = []
        bus.register(endpoint="ExecEngine.execute", handler=self.passed.append)
        bus.register(endpoint="ExecEngine.process", handler=self.denied.append)
        self.engine = RiskEngine(
            portfolio=Portfolio(msgbus=bus, cache=self.cache, clock=clock),
            msgbus=bus,
            cache=self.cache,
            clock=clock,
            config=RiskEngineConfig(max_order_submit_rate="1000000000/00:00:01"),
        )
        self.kept = (bus, clock)
        self.own = venue.instruments
        self.instruments = [perpetual(instrument) for instrument in self.own]
        for instrument in self.instruments:
            self.cache.add_instrument(instrument)
        self.cache.add_account(funded(account, dollars))

    def hold(self, lots: list[int], prices: list[int]) -> None:
        """Put a position in each instrument into the cache."""
        from nautilus_trader.model.enums import OmsType
        from nautilus_trader.model.position import Position

        for at, (size, price) in enumerate(zip(lots, prices, strict=True)):
            if size:
                fill = self._fill(at, size, price)
                self.cache.add_position(Position(self.instruments[at], fill), OmsType.NETTING)

    def _fill(self, at: int, lots: int, price: int) -> Any:
        from nautilus_trader.core.uuid import UUID4
        from nautilus_trader.model.enums import LiquiditySide, OrderSide, OrderType
        from nautilus_trader.model.events import OrderFilled
        from nautilus_trader.model.identifiers import (
            AccountId,
            ClientOrderId,
            PositionId,
            StrategyId,
            TradeId,
            VenueOrderId,
        )
        from nautilus_trader.model.objects import Currency, Money

        instrument, own = self.instruments[at], self.own[at]
        return OrderFilled(
            trader_id=self.trader,
            strategy_id=StrategyId("S-001"),
            instrument_id=instrument.id,
            client_order_id=ClientOrderId(f"F-{at}"),
            venue_order_id=VenueOrderId(f"V-{at}"),
            account_id=AccountId(f"{VENUE}-001"),
            trade_id=TradeId(f"T-{at}"),
            order_side=OrderSide.BUY if lots > 0 else OrderSide.SELL,
            order_type=OrderType.LIMIT,
            last_qty=instrument.make_qty(abs(lots) * own.lot),
            last_px=instrument.make_price(price * own.price_tick),
            currency=instrument.quote_currency,
            commission=Money(0, Currency.from_str("USDT")),
            liquidity_side=LiquiditySide.TAKER,
            position_id=PositionId(f"P-{at}"),
            event_id=UUID4(),
            ts_event=0,
            ts_init=0,
        )

    def commands(self, orders: list[Told]) -> list[Any]:
        """Orders as the engine takes them, made beforehand."""
        from nautilus_trader.core.uuid import UUID4
        from nautilus_trader.execution.messages import SubmitOrder
        from nautilus_trader.model.enums import OrderSide
        from nautilus_trader.model.identifiers import ClientOrderId, StrategyId
        from nautilus_trader.model.orders import LimitOrder

        found = []
        for told in orders:
            fields = told.fields
            instrument = self.instruments[fields["instrument"]]
            own = self.own[fields["instrument"]]
            order = LimitOrder(
                trader_id=self.trader,
                strategy_id=StrategyId("S-001"),
                instrument_id=instrument.id,
                client_order_id=ClientOrderId(f"O-{fields['order']}"),
                order_side=OrderSide.BUY if fields["side"] == "buy" else OrderSide.SELL,
                quantity=instrument.make_qty(fields["lots"] * own.lot),
                price=instrument.make_price(fields["limit_ticks"] * own.price_tick),
                init_id=UUID4(),
                ts_init=0,
            )
            found.append(
                SubmitOrder(
                    trader_id=self.trader,
                    strategy_id=StrategyId("S-001"),
                    order=order,
                    command_id=UUID4(),
                    ts_init=0,
                )
            )
        return found


def perpetual(own: ac.Instrument) -> Any:
    """An instrument as nautilus_trader knows it."""
    from nautilus_trader.model.currencies import USDT
    from nautilus_trader.model.enums import CurrencyType
    from nautilus_trader.model.identifiers import InstrumentId, Symbol
    from nautilus_trader.model.instruments import CryptoPerpetual
    from nautilus_trader.model.objects import Currency, Price, Quantity

    base = Currency(own.symbol, 8, 0, own.symbol, CurrencyType.CRYPTO)
    tier = own.tiers[0]
    rates = {
        "margin_init": Fraction(tier["initial"]),
        "margin_maint": Fraction(tier["maintenance"]),
        "taker_fee": Fraction(own.taker_fee or 0),
        "maker_fee": Fraction(1, 5_000),
    }
    return CryptoPerpetual(
        instrument_id=InstrumentId.from_str(f"{own.symbol}USDT-PERP.{VENUE}"),
        raw_symbol=Symbol(f"{own.symbol}USDT"),
        base_currency=base,
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=max(0, -int(own.price_tick.as_tuple().exponent)),
        size_precision=max(0, -int(own.lot.as_tuple().exponent)),
        price_increment=Price.from_str(str(own.price_tick)),
        size_increment=Quantity.from_str(str(own.lot)),
        ts_event=0,
        ts_init=0,
        **{name: Decimal(rate.numerator) / rate.denominator for name, rate in rates.items()},
    )


def funded(kind: str, dollars: int) -> Any:
    """An account with so much in it."""
    from nautilus_trader.accounting.factory import AccountFactory
    from nautilus_trader.core.uuid import UUID4
    from nautilus_trader.model.currencies import USDT
    from nautilus_trader.model.enums import AccountType
    from nautilus_trader.model.events import AccountState
    from nautilus_trader.model.identifiers import AccountId
    from nautilus_trader.model.objects import AccountBalance, Money

    amount = Money(dollars, USDT)
    state = AccountState(
        account_id=AccountId(f"{VENUE}-001"),
        account_type=AccountType[kind],
        base_currency=USDT,
        reported=True,
        balances=[AccountBalance(amount, Money(0, USDT), amount)],
        margins=[],
        info={},
        event_id=UUID4(),
        ts_event=0,
        ts_init=0,
    )
    return AccountFactory.create(state)


class Flat:
    """The pools of an engine as flat arrays, for a compiled loop in float64.

    Parameters
    ----------
    engine : Engine
        Whose pools.
    marks : list of int
        Its marks, in ticks.
    """

    def __init__(self, engine: ac.Engine, marks: list[int]) -> None:
        own = engine.venue.instruments
        tiers, quantum = [each.tiers for each in own], engine.venue.quantum
        floors = np.array([[float(tier["floor"] / quantum) for tier in each] for each in tiers])
        rates = np.array([[float(tier["initial"]) for tier in each] for each in tiers])
        ticks = np.array([each.quanta_per_mark_tick_and_lot or 0 for each in own])
        per_price = np.array([int(each.price_tick / each.mark_tick) for each in own])
        taker = np.array([float(each.taker_fee or 0) for each in own])
        self.tables = floors, rates
        self.market = (ticks * np.array(marks)).astype(float), (ticks * per_price) * 1.0, taker
        self.held = self._held(engine)
        self.compiled = kernel()

    @staticmethod
    def _held(engine: ac.Engine) -> tuple[Any, ...]:
        """Cash, and legs `offsets[i]` to `offsets[i + 1]`: instrument, lots, bids, asks."""
        symbols = {own.symbol: place for place, own in enumerate(engine.venue.instruments)}
        accounts = engine.native.pool_count()
        cash, reserved, offsets = np.empty(accounts), np.empty(accounts), [0]
        rows: list[tuple[int, int, int, int]] = []
        for place in range(accounts):
            pool = engine.pool(place)
            legs = pool["legs"]
            cash[place] = pool["balances"]["USDT"] - sum(leg["cost"] for leg in legs)
            reserved[place] = pool["reserved"]
            rows += [
                (symbols[leg["instrument"]], leg["lots"], leg["bids"], leg["asks"]) for leg in legs
            ]
            offsets.append(len(rows))
        at, *sizes = (np.ascontiguousarray(column) for column in np.array(rows).T)
        return cash, reserved, np.array(offsets), at, *(size.astype(float) for size in sizes)

    def check(self, *orders: Any) -> tuple[Any, ...]:
        """Whether each order passes; free equity, reserve, initial requirement, equity.

        Of columns: pool, instrument, side (0 buy), lots, limit in ticks.
        """
        rows = len(orders[0])
        out = (np.empty(rows, np.bool_), *(np.empty(rows) for _ in range(4)))
        self.compiled(orders, self.held, self.tables, self.market, out)
        return out


def kernel() -> Callable[..., None]:
    """Compile the loop over orders: the same formula as the core's, in float64."""
    from numba import njit

    @njit  # type: ignore[untyped-decorator]
    def bracket(floors: Any, value: float) -> int:
        found = 0
        while found + 1 < len(floors) and floors[found + 1] <= value:
            found += 1
        return found

    @njit  # type: ignore[untyped-decorator]
    def check(orders: Any, held: Any, tables: Any, market: Any, out: Any) -> None:
        pools, instruments, sides, sizes, limits = orders
        cash, reserved, offsets, at, lots, bids, asks = held
        floors, rates = tables
        prices, units, taker = market
        passes, free, reserves, initials, equities = out
        for row in range(len(pools)):
            pool, instrument, size = pools[row], instruments[row], float(sizes[row])
            buy = sides[row] == 0
            equity, initial = cash[pool], 0.0
            own, resting, other = 0.0, size, 0.0
            for leg in range(offsets[pool], offsets[pool + 1]):
                place = at[leg]
                price = prices[place]
                equity += lots[leg] * price
                if place == instrument:
                    own = lots[leg]
                    resting += bids[leg] if buy else asks[leg]
                    other = asks[leg] if buy else bids[leg]
                else:
                    exposure = max(lots[leg] + bids[leg], asks[leg] - lots[leg])
                    value = exposure * price
                    rate = rates[place, bracket(floors[place], value)]
                    initial += np.ceil(value * rate)
            price = prices[instrument]
            exposure = max(own + resting, other - own) if buy else max(own + other, resting - own)
            value = exposure * price
            rate = rates[instrument, bracket(floors[instrument], value)]
            initial += np.ceil(value * rate)
            worst = limits[row] * units[instrument]
            lost = size * (worst - price) if buy else size * (price - worst)
            reserve = max(lost, 0.0) + np.ceil(size * worst * taker[instrument])
            reduces = (own < 0.0) == buy and own != 0.0 and resting <= abs(own)
            if reduces:
                reserve = 0.0
            free[row] = equity - reserved[pool] - reserve
            passes[row] = reduces or free[row] >= initial
            reserves[row], initials[row], equities[row] = reserve, initial, equity

    return check  # type: ignore[no-any-return]

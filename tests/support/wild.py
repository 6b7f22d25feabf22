"""A venue where many things happen that should not: events, taken and refused, from a seed.

Drawn by other rules than the streams of the core's own tests.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import aivora_core as ac
from aivora_core.liquidation import POLICIES

if TYPE_CHECKING:
    from pathlib import Path

LINEAR = """
schema = "aivora-card/0"
name = "made-up"
[asset.USDT]
quantum = "0.000001"
[rules]
settlement = "USDT"
trigger = "strict"
taker_fee = "0.0005"
check_on = "mark"
[[instrument]]
symbol = "AAA"
kind = "linear"
price_tick = "0.1"
mark_tick = "0.01"
lot = "0.001"
[instrument.tiers]
by = "notional"
deduction = "derived"
brackets = [
  { floor = "0", maintenance = "0.005", max_leverage = "100" },
  { floor = "20000", maintenance = "0.02", max_leverage = "20" },
  { floor = "90000", maintenance = "0.06", max_leverage = "8" },
]
[[instrument]]
symbol = "BBB"
kind = "linear"
price_tick = "0.05"
mark_tick = "0.05"
lot = "0.01"
[instrument.tiers]
by = "notional"
brackets = [{ floor = "0", maintenance = "0.01", max_leverage = "25" }]
"""
COINS = """
schema = "aivora-card/0"
name = "made-up"
[asset.BTC]
quantum = "0.00000001"
price_tick = "0.01"
haircuts = [{ floor = "0", haircut = "0.05" }, { floor = "2", haircut = "0.1" }]
liability_weight = "1.1"
[asset.USDT]
quantum = "0.000001"
[rules]
settlement = "USDT"
valuation = "USDT"
margin_mode = "multi"
withdrawal_profit = "0.5"
taker_fee = "0.0005"
check_on = "mark"
[[instrument]]
symbol = "AAA"
kind = "linear"
price_tick = "0.1"
mark_tick = "0.01"
lot = "0.001"
[instrument.tiers]
by = "notional"
brackets = [
  { floor = "0", maintenance = "0.005", max_leverage = "100" },
  { floor = "20000", maintenance = "0.02", max_leverage = "20" },
]
[[instrument]]
symbol = "BBB"
kind = "inverse"
settlement = "BTC"
price_tick = "0.5"
mark_tick = "0.01"
lot = "1"
multiplier = "10"
[instrument.tiers]
by = "notional"
brackets = [
  { floor = "0", maintenance = "0.005", max_leverage = "50" },
  { floor = "1", maintenance = "0.02", max_leverage = "20" },
]
"""
#: The same without brackets: rates that grow with size, and with the value in coin.
ROOT = """by = "size_root"
maintenance_base = "0.005"
initial_base = "0.01"
factor = "0.02"
"""
VALUE = """by = "value_slope"
maintenance_base = "0.005"
initial_base = "0.02"
slope = "0.01"
"""
HEAD, FIRST, SECOND = (part.partition("by = ")[0] for part in COINS.split("[[instrument]]"))
GROWING = "[[instrument]]".join((HEAD, FIRST + ROOT, SECOND + VALUE))
LISTED = """
[[instrument]]
symbol = "CCC"
kind = "linear"
price_tick = "0.02"
mark_tick = "0.01"
lot = "0.1"
[instrument.tiers]
by = "size"
brackets = [
  { floor = "0", maintenance = "0.01", max_leverage = "40" },
  { floor = "50", maintenance = "0.05", max_leverage = "10" },
]
"""
BACKSTOP = """
schema = "aivora-liquidation/0"
close = "staged"
share = "0.25"
above = "5000"
cooldown_ms = 4000
fee = "0.01"
adl = "pro_rata"
adl_share = "0.5"
[backstop]
account = "venue"
pool = "backstop"
below = "2/3"
"""
OWN = {"default": None, "backstop": BACKSTOP} | dict(POLICIES)
CARDS = {"linear": LINEAR, "coins": COINS, "growing": GROWING}
CHECKS = ("mark", "block", "700ms")


class Wild:
    """A venue where many things happen that should not, told event by event."""

    def __init__(self, engine: ac.Engine, card: str, seed: int) -> None:
        self.engine, self.card = engine, card
        self.dice = random.Random(seed)  # noqa: S311 - the same events for the same seed
        self.sequence = self.time = 0
        self.symbols, self.assets = ["AAA", "BBB"], list(engine.venue.assets)
        self.marks = {"AAA": 6_000_000, "BBB": 6_000_000 if "BTC" in self.assets else 30_000}
        self.pools = ["venue/backstop", *(f"a{n}/cross" for n in range(12)), "a3/own", "a4/own"]
        self.orders: dict[int, dict[str, Any]] = {}
        self.number = 0

    def tell(self, name: str, **fields: Any) -> None:
        """Tell an event; what is none is refused when it is made, and told to nobody."""
        self.time += self.dice.randrange(500)
        self.sequence += self.dice.choice([1] * 60 + [0, 2])
        try:
            event = self.engine.native.event(name, 1, self.sequence, self.time, fields)
        except ac.AivoraError:
            return
        answer = self.apply(event)
        if name == "order_open" and answer:
            self.orders[fields["order"]] = fields
        for found in answer.outcomes:
            if found["outcome"] == "order_cancelled":
                self.orders.pop(found["order"], None)

    def apply(self, event: Any) -> Any:
        """Apply it."""
        return self.engine.apply(event)

    def run(self, count: int) -> None:
        """Open the venue, and go on for so many events."""
        for pool in self.pools:
            account, name = pool.split("/")
            multi = "BTC" in self.assets and name == "cross" and account != "venue"
            kind = "isolated" if name == "own" else "cross"
            self.tell("pool_open", account=account, pool=name, kind=kind, multi=multi)
        for n, symbol in enumerate(self.symbols):
            if n or self.dice.random() < 0.7:
                self.mark(symbol)
            self.tell("fees", instrument=symbol, taker="0.0005", maker="0.0001", rebate=True)
        while self.engine.events < count:
            getattr(self, self.dice.choices(*zip(*self.KINDS, strict=True))[0])()

    KINDS = (
        ("prices", 22),
        ("money", 12),
        ("order", 22),
        ("change", 6),
        ("fill", 16),
        ("answer", 14),
        ("rest", 12),
    )

    def one(self, *of: Any) -> Any:
        """Draw one of these."""
        return self.dice.choice(of[0] if len(of) == 1 else of)

    def mark(self, symbol: str) -> None:
        """A mark that wanders, and sometimes leaps."""
        most = self.one(3, 3, 3, 3, 3, 15, 15, 90)
        self.marks[symbol] += self.marks[symbol] * self.dice.randint(-most, most) // 1_000
        self.marks[symbol] = min(max(self.marks[symbol], 2_000), 60_000_000)
        self.tell("mark", instrument=symbol, mark_ticks=self.marks[symbol])

    def prices(self) -> None:
        """A mark, the price of an asset, the end of a block, time alone."""
        what = self.one("mark", "mark", "mark", "mark", "asset", "block", "clock")
        if what == "asset":
            ticks = self.marks["AAA"] + self.dice.randint(-9_000, 9_000)
            self.tell("asset_price", asset=self.one(self.assets), price_ticks=ticks)
        elif what == "mark":
            self.mark(self.one(self.symbols))
        else:
            self.tell(what)

    def amount(self) -> dict[str, Any]:
        """An asset and an amount of it."""
        quanta = self.dice.randint(1, 900) * 10 ** self.dice.randint(1, 7)
        return {"asset": self.one(self.assets), "amount_quanta": quanta}

    def money(self) -> None:
        """Money comes, goes, moves within an account, or tops the insurance fund up."""
        name = self.one("deposit", "deposit", "deposit", "withdrawal", "transfer", "insurance")
        if name == "transfer":
            account = self.one("a3", "a4")
            pools = self.dice.sample([f"{account}/own", f"{account}/cross"], 2)
            self.tell(name, **dict(zip(("from", "to"), pools, strict=True)), **self.amount())
        elif name == "insurance":
            self.tell("insurance_top_up", **self.amount())
        else:
            self.tell(name, pool=self.one(self.pools), **self.amount())

    def price(self, symbol: str, off: int) -> int:
        """Price ticks within so many thousandths of the mark."""
        instrument = self.engine.venue[symbol]
        per = int(instrument.price_tick / instrument.mark_tick)
        near = self.marks[symbol] // per
        return max(near + near * self.dice.randint(-off, off) // 1_000, 1)

    def lots(self) -> int:
        """A size, now and then one that nobody can carry."""
        return self.dice.randint(1, self.one(30, 300, 300, 300, 3_000, 40_000))

    def leg(self) -> str:
        """Mostly one-way."""
        return str(self.one(*["net"] * 10, "long", "short"))

    def order(self) -> None:
        """An order is opened."""
        self.number += self.one(*[1] * 30, 0)
        symbol = self.one(self.symbols)
        limit = {"limit_ticks": self.price(symbol, 20)} if self.one(*[1] * 6, 0) else {}
        self.tell(
            "order_open",
            order=self.number,
            pool=self.one(self.pools),
            instrument=symbol,
            leg=self.leg(),
            side=self.one("buy", "sell"),
            lots=self.lots(),
            reduce_only=not self.dice.randrange(6),
            **limit,
        )

    def change(self) -> None:
        """An order is cancelled or amended, also one that is gone."""
        order = self.one([*self.orders, self.number])
        if self.one(0, 1):
            self.tell("order_cancel", order=order)
        else:
            self.tell("order_amend", order=order, lots=self.lots())

    def fill(self) -> None:
        """A trade: of an order with somebody, or between two pools without one."""
        taker, symbol = self.one("buy", "sell"), self.one(self.symbols)
        fields: dict[str, Any] = {"buyer": self.one(self.pools), "seller": self.one(self.pools)}
        lots, price = self.lots(), self.price(symbol, 4)
        if self.orders and self.one(*[1] * 4, 0):
            order, of = self.one([*self.orders.items()])
            own = "buyer" if of["side"] == "buy" else "seller"
            fields |= {own: of["pool"], f"{own}_leg": of["leg"], f"{own}_order": order}
            symbol, lots = of["instrument"], self.dice.randint(1, of["lots"] + of["lots"] // 9)
            price = of.get("limit_ticks", self.price(symbol, 4))
        self.tell("fill", instrument=symbol, price_ticks=price, lots=lots, taker=taker, **fields)

    def answer(self) -> None:
        """A forced order is filled, in part or whole, or nothing more of it is."""
        if not (out := self.engine.forced_orders):
            return self.order()
        order = self.one(out)
        if self.one(0, 0, 1):
            reason = self.one("expired", "timed_out")
            return self.tell("forced_end", order=order["order"], reason=reason)
        own, other = ("buyer", "seller") if order["side"] == "buy" else ("seller", "buyer")
        price = {"price": order["limit"]} if self.one(0, 1) else {}
        fields = {own: order["pool"], f"{own}_leg": order["leg"], f"{own}_order": order["order"]}
        return self.tell(
            "fill",
            instrument=order["instrument"],
            quantity=order["quantity"],
            taker=order["side"],
            **fields | {other: self.one(self.pools)},
            **price or {"price_ticks": self.price(order["instrument"], 3)},
        )

    def rest(self) -> None:
        """What is rarer."""
        pool, symbol = self.one(self.pools), self.one(self.symbols)
        ticks, account = self.price(symbol, 1), self.one("a3", "a4")
        near = [[ticks + 9 * n, self.lots()] for n in range(1, 5)]
        below = [[max(ticks - 9 * n, 1), self.lots()] for n in range(4)]
        grid, lot = (getattr(self.engine.venue[symbol], of) for of in ("price_tick", "lot"))
        asks, bids = ([[str(p * grid), str(q * lot)] for p, q in side] for side in (near, below))
        pools = self.dice.sample([f"{account}/own", f"{account}/cross"], 2)
        maintenance = self.one("0.005", "0.007")
        scope = self.one("tiers", "rules", "haircuts")
        rare: list[tuple[str, dict[str, Any]]] = [
            (
                "funding_rate",
                {"instrument": symbol, "rate": "0.003", "longs_pay": not self.dice.randrange(2)},
            ),
            ("funding_settlement", {"instrument": symbol}),
            ("funding_settlement", {"instrument": symbol, "price_ticks": ticks}),
            (
                "leverage",
                {"pool": pool, "instrument": symbol, "leverage": self.dice.randint(1, 60)},
            ),
            ("leverage", {"pool": pool, "leverage": self.dice.randint(1, 30)}),
            ("leverage", {"pool": pool, "instrument": symbol}),
            ("margin_mode", {"from": pools[0], "to": pools[1], "instrument": symbol}),
            ("throttle", {"pool": pool, "on": not self.dice.randrange(3)}),
            ("session_lost", {"pool": pool}),
            ("account_link", {"pool": pool, "cluster": self.dice.randint(0, 3)}),
            ("halt", {"instrument": symbol} if self.one(0, 1) else {}),
            *[("resume", {"instrument": symbol}), ("resume", {})] * 3,
            ("book_snapshot", {"instrument": symbol, "bids": bids, "asks": asks}),
            ("book_delta", {"instrument": symbol, "bids": bids[:1], "asks": []}),
            ("trade", {"instrument": symbol, "price_ticks": ticks, "lots": 3, "taker": "buy"}),
            ("card", {"scope": scope, "card": self.card.replace("0.005", maintenance, 1)}),
            ("fees", {"instrument": symbol, "taker": "0.0004", "maker": "0.0002"}),
            ("index", {"instrument": symbol, "index_ticks": self.marks[symbol]}),
            ("advice", {"pool": pool, "model": "made-up", "score": 900}),
        ]
        if "CCC" not in self.symbols and not self.dice.randrange(30):
            return self.list_another()
        if not self.dice.randrange(200):
            rare = [("delist", {"instrument": "BBB", "price_ticks": self.marks["BBB"]})]
        name, fields = self.one(rare)
        return self.tell(name, **fields)

    def list_another(self) -> None:
        """A third instrument is listed, while the others trade."""
        card = self.engine.venue.text + LISTED
        self.tell("card", scope="listing", card=card)
        if self.engine.venue.text != card:
            return  # it was not the event's turn
        self.card = card
        self.symbols.append("CCC")
        self.marks["CCC"] = 50_000
        self.mark("CCC")
        self.tell("fees", instrument="CCC", taker="0.0005", maker="0.0001")


def written(root: Path, card: str, policy: str | None, seed: int, count: int) -> ac.Engine:
    """A journal of a wild stream."""
    path = root / "card.toml"
    path.write_text(card, "utf-8")
    with ac.Engine(str(path), policy=policy, journal=root / "journal", fsync="none") as engine:
        Wild(engine, card, seed).run(count)
    return engine

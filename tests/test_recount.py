"""The recount of a journal: a second engine, from the specification alone, agrees with the core.

The streams here are drawn in Python, by other rules than those of the core's own tests, and many
of their events are meant to be refused.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

import aivora_core as ac
from aivora_core import _core
from aivora_core.audit.recount import Mismatch, Recount
from aivora_core.cli import main
from aivora_core.day import day
from aivora_core.liquidation import POLICIES

if TYPE_CHECKING:
    from collections.abc import Callable
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
CARDS = {"linear": LINEAR, "coins": COINS}
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
        answer = self.engine.apply(event)
        if name == "order_open" and answer:
            self.orders[fields["order"]] = fields
        for found in answer.outcomes:
            if found["outcome"] == "order_cancelled":
                self.orders.pop(found["order"], None)

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
        if self.one(*[0] * 60, 1):
            rare = [("delist", {"instrument": "BBB", "price_ticks": self.marks["BBB"]})]
        name, fields = self.one(rare)
        self.tell(name, **fields)


def written(root: Path, card: str, policy: str | None, seed: int, count: int) -> ac.Engine:
    """A journal of a wild stream."""
    path = root / "card.toml"
    path.write_text(card, "utf-8")
    with ac.Engine(str(path), policy=policy, journal=root / "journal", fsync="none") as engine:
        Wild(engine, card, seed).run(count)
    return engine


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
        self.engine = written(root, LINEAR, BACKSTOP, 5, 1_200)
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

"""The watch from Python: the batch check and the oracle after every change, errors, manners."""

from __future__ import annotations

import pickle
import random
import tomllib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import aivora_core as ac
from aivora_core import demo
from aivora_core.audit import oracle

if TYPE_CHECKING:
    from collections.abc import Callable

CARD = """
schema = "aivora-card/0"
name = "watched"
[asset.USD]
quantum = "0.000001"
[asset.BTC]
quantum = "0.00000001"
price_tick = "0.01"
haircuts = [{{ floor = "0", haircut = "{h}" }}, {{ floor = "1", haircut = "0.2" }}]
[rules]
settlement = "USD"
valuation = "USD"
check_on = "{on}"
"""
LINEAR = """
[[instrument]]
symbol = "{s}"
kind = "linear"
price_tick = "0.01"
mark_tick = "0.01"
lot = "0.001"
[instrument.tiers]
by = "notional"
deduction = "{d}"
brackets = [
  {{ floor = "0", maintenance = "0.005", initial = "0.01" }},
  {{ floor = "5000", maintenance = "{m}", initial = "0.04" }},
  {{ floor = "50000", maintenance = "0.05", initial = "0.1" }},
]
"""
INVERSE = """
[[instrument]]
symbol = "INV"
kind = "inverse"
price_tick = "0.01"
mark_tick = "0.01"
lot = "1"
multiplier = "100"
settlement = "BTC"
[instrument.tiers]
by = "notional"
deduction = "derived"
brackets = [
  { floor = "0", maintenance = "0.005", initial = "0.01" },
  { floor = "5", maintenance = "0.02", initial = "0.04" },
]
"""
LINEARS = ("A", "B", "C", "D")
GROWING = {
    "B": 'by = "value_slope"\nslope = "0.0001"',
    "C": 'by = "size_root"\nfactor = "0.02"',
    "D": 'by = "size_slope"\nslope = "0.01"',
    "INV": 'by = "value_slope"\nslope = "0.01"',
}


def card(
    on: str = "mark", haircut: str = "0.05", rate: str = "0.02", *, growing: bool = False
) -> str:
    deductions = ("derived", "derived", "none", "derived")
    parts = [LINEAR.format(s=s, d=d, m=rate) for s, d in zip(LINEARS, deductions, strict=True)]
    parts.append(INVERSE)
    if growing:
        bases = f'maintenance_base = "{rate}"\ninitial_base = "0.04"\n'
        parts = [
            part if tiers is None else f"{part.partition('by = ')[0]}{tiers}\n{bases}"
            for part, tiers in zip(parts, map(GROWING.get, (*LINEARS, "INV")), strict=True)
        ]
    return "".join([CARD.format(h=haircut, on=on), *parts])


def load(text: str) -> ac.Venue:
    return ac._core._venue(text)


class World:
    """A watched portfolio, and the tables that describe it for the oracle."""

    def __init__(
        self, seed: int, pools: int, *, multi: bool, leverage: int = 20, growing: bool = False
    ) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - no secret
        rng = self.rng
        self.text = card(growing=growing)
        self.venue = load(self.text)
        self.marks = {s: rng.randint(2_000, 900_000) for s in LINEARS} | {"INV": 6_400_000}
        self.coin = 6_400_000
        self.positions: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.cash: dict[tuple[str, str], int] = {}
        self.multi = multi
        self.accounts = [f"a{n:04}" for n in range(pools)]
        for account in self.accounts:
            gross = 0
            for symbol in rng.sample(LINEARS, rng.randint(1, 4)):
                lots = rng.randint(1, 40_000_000 // self.marks[symbol])
                pair = rng.random() < 0.3
                sides = [("long", lots), ("short", -lots // 2)] if pair else []
                for leg, size in sides or [("net", lots * rng.choice((-1, 1)))]:
                    self.hold(account, symbol, leg, size, size * self.marks[symbol] * 10)
                gross += lots * self.marks[symbol] * 10
            self.cash[account, "USD"] = gross // leverage * rng.randint(500, 1_500) // 1_000
            if multi:
                self.cash[account, "BTC"] = rng.randint(-1_000_000, 9_000_000)
                if rng.random() < 0.4:
                    lots = rng.choice((-1, 1)) * rng.randint(1, 900)
                    cost = -lots * 10**12 // self.marks["INV"]
                    self.hold(account, "INV", "net", lots, cost)
        self.pf = self.build()
        self.watch = self.pf.watch(self.prices())
        self.known = self.watch.liquidatable
        self.names = [(account, "cross") for account in self.accounts]

    def hold(self, account: str, symbol: str, leg: str, lots: int, cost: int) -> None:
        """Hold so much on a leg, at this cost."""
        key = (account, symbol, leg)
        if lots == 0:
            self.positions.pop(key, None)
            return
        row = {"account": account, "instrument": symbol, "leg": leg}
        quantum = 10**8 if symbol == "INV" else 10**6
        quantity = f"{lots}" if symbol == "INV" else f"{lots / 1000:.3f}"
        self.positions[key] = row | {"quantity": quantity, "cost": exact(cost, quantum)}

    def collateral(self) -> list[dict[str, str]]:
        """The balances as a table."""
        rows = self.cash.items()
        unit = {"USD": 10**6, "BTC": 10**8}
        return [
            {"account": a, "asset": asset, "amount": exact(amount, unit[asset])}
            for (a, asset), amount in rows
            if amount or asset == "USD"
        ]

    def pools(self) -> list[dict[str, str]]:
        """The modes as a table."""
        return [{"account": a, "mode": "multi"} for a in self.accounts] if self.multi else []

    def build(self) -> ac.Portfolio:
        """Build the portfolio from the tables as they stand."""
        rows = list(self.positions.values())
        return ac.Portfolio.from_tables(
            self.venue, positions=rows, collateral=self.collateral(), pools=self.pools()
        )

    def prices(self) -> ac.Prices:
        """Give the prices as they stand."""
        asset = {"BTC": self.coin}
        return ac.Prices(self.venue, mark_ticks=self.marks, asset_ticks=asset)

    def oracle(self, only: set[str] | None = None) -> dict[str, bool]:
        """The verdicts, from the oracle, of all pools or of some accounts."""
        rows = [r for r in self.positions.values() if not only or r["account"] in only]
        own = oracle.Card.from_tree(tomllib.loads(self.text))
        pools = oracle.pools_from_tables(
            own,
            rows,
            [r for r in self.collateral() if not only or r["account"] in only],
            pools=[r for r in self.pools() if not only or r["account"] in only],
        )
        coin = {"BTC": self.coin}
        return {p.account: oracle.assess(own, p, self.marks, coin).liquidatable for p in pools}

    def step(self) -> ac.Changes:
        """Move one price."""
        symbol = self.rng.choice([*self.marks, "coin"] if self.multi else LINEARS)
        part = self.rng.choice((3, 5, 8, 40, 900)) * self.rng.choice((-1, 1))
        if symbol == "coin":
            self.coin = max(self.coin + self.coin * part // 10_000, 100)
            return self.watch.tick_asset("BTC", exact(self.coin, 100))
        self.marks[symbol] = max(self.marks[symbol] + self.marks[symbol] * part // 10_000, 100)
        return self.watch.tick(symbol, mark_ticks=self.marks[symbol])

    def hold_to(self, told: ac.Changes) -> list[str]:
        """What was told is what has changed; whose it is."""
        for keys, verdict in ((told.liquidatable, True), (told.safe, False)):
            assert keys == sorted(keys)
            for key in keys:
                place = self.names.index(key)
                assert self.known[place] != verdict
                self.known[place] = verdict
        assert (self.known == self.watch.liquidatable).all()
        assert (self.known == self.pf.liquidatable(self.watch.prices)).all()
        return [account for account, _ in told.liquidatable + told.safe]


def exact(amount: int, per_unit: int) -> str:
    """An amount in units, with all its digits."""
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    digits = len(str(per_unit)) - 1
    return f"{sign}{size // per_unit}.{size % per_unit:0{digits}}"


@pytest.mark.parametrize("growing", [False, True])
@pytest.mark.parametrize("assets", [1, 2])
def test_the_oracle_on_every_hit(assets: int, *, growing: bool) -> None:
    world = World(assets, 60, multi=assets > 1, growing=growing)
    hits = 0
    for number in range(1_000):
        changed = world.hold_to(world.step())
        if changed:
            hits += len(changed)
            verdicts = world.oracle(set(changed))
            for account in changed:
                assert verdicts[account] == bool(world.known[world.accounts.index(account)])
        if number % 500 == 0:
            verdicts = world.oracle()
            assert [verdicts[account] for account in world.accounts] == world.known.tolist()
    assert hits > 20


def test_the_oracle_on_every_pool_that_is_changed() -> None:
    world = World(3, 40, multi=True)
    rng = world.rng
    told = 0
    for _ in range(800):
        world.hold_to(world.step())
        account = rng.choice(world.accounts)
        if rng.random() < 0.5:
            asset = rng.choice(("USD", "BTC"))
            amount = rng.randint(-(10**6), 10**9 if asset == "USD" else 10**7)
            world.cash[account, asset] = amount
            unit = 10**6 if asset == "USD" else 10**8
            world.pf[account].set_balance(asset, exact(amount, unit))
        else:
            symbol = rng.choice(LINEARS)
            if any((account, symbol, leg) in world.positions for leg in ("long", "short")):
                continue
            lots = rng.choice((0, 1, -1)) * rng.randint(1, 20_000_000 // world.marks[symbol])
            cost = lots * world.marks[symbol] * 10
            world.hold(account, symbol, "net", lots, cost)
            quantity = f"{lots / 1000:.3f}"
            world.pf[account].set_position(symbol, quantity, cost=exact(cost, 10**6))
        told += len(world.hold_to(world.watch.update(account)))
        verdict = bool(world.known[world.accounts.index(account)])
        assert world.oracle({account})[account] == verdict
    assert told > 20
    assert world.pf.digest == world.build().digest


def test_orders_and_leverage_change_no_verdict_here_and_are_those_of_the_tables(
    venue: ac.Venue,
) -> None:
    pf = ac.Portfolio.from_tables(
        venue,
        positions=[
            {"account": "a", "instrument": "BTCUSDT", "quantity": "1", "entry": "60000"},
            {"account": "b", "instrument": "BTCUSDT", "quantity": "1", "entry": "60000"},
        ],
        collateral=[{"account": a, "amount": "9000"} for a in "ab"],
    )
    pf["a"].set_orders("BTCUSDT", bids="2", asks="0.5")
    pf["a"].set_leverage("7")
    pf["b"].set_leverage("12.5", instrument="BTCUSDT")
    orders = [
        {"account": "a", "instrument": "BTCUSDT", "side": side, "quantity": quantity}
        for side, quantity in (("buy", "2"), ("sell", "0.5"))
    ]
    want = ac.Portfolio.from_tables(
        venue,
        positions=[
            {"account": "a", "instrument": "BTCUSDT", "quantity": "1", "entry": "60000"},
            {"account": "b", "instrument": "BTCUSDT", "quantity": "1", "entry": "60000"},
        ],
        collateral=[{"account": a, "amount": "9000"} for a in "ab"],
        orders=orders,
        pools=[
            {"account": "a", "leverage": "7"},
            {"account": "b", "instrument": "BTCUSDT", "leverage": "12.5"},
        ],
    )
    assert pf.digest == want.digest
    prices = ac.Prices(venue, mark={"BTCUSDT": "60000"})
    assert pf.check(prices) == want.check(prices)
    pf["a"].set_orders("BTCUSDT", 0, 0)
    pf["a"].set_leverage(None)
    pf["b"].set_leverage(None, instrument="BTCUSDT")
    initial = pf.check(prices).initial.tolist()
    assert initial[0] == initial[1]


def test_many_ticks_are_as_many_calls() -> None:
    one, many = World(5, 80, multi=False), World(5, 80, multi=False)
    rows, want = [], []
    for number in range(600):
        told = one.step()
        moved = next((s for s in LINEARS if many.marks[s] != one.marks[s]), LINEARS[0])
        many.marks[moved] = one.marks[moved]
        rows.append((moved, one.marks[moved]))
        both = [(a, True) for a, _ in told.liquidatable] + [(a, False) for a, _ in told.safe]
        want += [(number, account, "cross", verdict) for account, verdict in sorted(both)]
    symbols, ticks = [r[0] for r in rows], [r[1] for r in rows]
    hits = many.watch.ticks({"instrument": symbols, "mark": [exact(t, 100) for t in ticks]})
    assert list(hits) == want
    assert len(want) > 10
    # The same from arrays: places in the card, and ticks.
    again = World(5, 80, multi=False)
    places = np.array([LINEARS.index(s) for s in symbols])
    arrays = again.watch.ticks({"instrument": places, "mark_ticks": np.array(ticks)})
    assert list(arrays) == want
    assert arrays.to_dict()["account"] == [row[1] for row in want]
    # And as codes with names.
    coded = World(5, 80, multi=False)
    pair = (places, list(LINEARS))
    assert list(coded.watch.ticks({"instrument": pair, "mark_ticks": ticks})) == want


def test_a_gap_in_all_prices_is_one_check() -> None:
    world = World(6, 300, multi=True)
    for _ in range(30):
        part = world.rng.randint(-700, 700)
        world.marks = {s: max(t + t * part // 10_000, 100) for s, t in world.marks.items()}
        world.hold_to(world.watch.reprice(world.prices()))
        world.watch.settle()
        world.hold_to(world.step())
    assert world.watch.touched < len(world.accounts)


def test_another_card() -> None:
    world = World(7, 120, multi=True)
    changed = 0
    for haircut, rate in (("0.15", "0.02"), ("0.05", "0.03"), ("0", "0.01"), ("0.2", "0.04")):
        world.text = card(haircut=haircut, rate=rate)
        world.venue = load(world.text)
        changed += len(world.hold_to(world.watch.set_card(world.venue)))
        verdicts = world.oracle()
        assert [verdicts[account] for account in world.accounts] == world.known.tolist()
        for _ in range(20):
            world.hold_to(world.step())
    assert changed > 0
    assert world.pf.venue.hash == world.venue.hash
    other = load(card().replace('lot = "0.001"', 'lot = "0.01"'))
    with pytest.raises(ac.CardError) as caught:
        world.watch.set_card(other)
    assert caught.value.code == "bad_card"
    assert world.pf.venue.hash == world.venue.hash
    world.hold_to(world.step())


def test_funding_is_rounded_against_the_account_and_conserved() -> None:
    venue = load(card())
    pf = ac.Portfolio.from_tables(
        venue,
        positions=[
            {"account": "long", "instrument": "A", "quantity": "0.003", "entry": "77.77"},
            {"account": "short", "instrument": "A", "quantity": "-0.003", "entry": "77.77"},
        ],
        collateral=[{"account": a, "amount": "1"} for a in ("long", "short")],
    )
    watch = pf.watch(ac.Prices(venue, mark={"A": "77.77"}))
    # 0.003 x 77.77 x 0.0001 = 0.000023331: 23.331 quanta.
    watch.settle_funding("A", "0.0001")
    assert pf.check(watch.prices).equity.tolist() == [1_000_000 - 24, 1_000_000 + 23]
    watch.settle_funding("A", "-0.0001", price="77.77")
    assert pf.check(watch.prices).equity.tolist() == [999_976 + 23, 1_000_023 - 24]
    watch.settle_funding("A", "0.5", time=1_000)
    assert not watch.advance(999)
    assert pf.check(watch.prices).equity.tolist() == [999_999, 999_999]
    # Half of 233,310 quanta.
    watch.advance(1_000)
    assert pf.check(watch.prices).equity.tolist() == [999_999 - 116_655, 999_999 + 116_655]
    assert watch.now == 1_000


def test_a_card_that_checks_at_times_tells_at_those() -> None:
    text = card(on="100ms")
    venue = load(text)
    assert venue.rules["check_on"] == "100ms"
    pf = ac.Portfolio.from_tables(
        venue,
        positions=[{"account": "a", "instrument": "A", "quantity": "1", "entry": "1000"}],
        collateral=[{"account": "a", "amount": "50"}],
    )
    watch = pf.watch(ac.Prices(venue, mark={"A": "1000"}))
    table = {"instrument": ["A"] * 5, "mark": ["990", "950", "1000", "950", "940"]}
    hits = watch.ticks(table | {"time": [10, 20, 99, 150, 201]})
    # Below the line at 20 and back at 99: nobody knows. Below it at 150: told by the check at 200.
    assert list(hits) == [(4, "a", "cross", True)]
    assert not watch.tick("A", "1000")
    assert watch.check().safe == [("a", "cross")]


def test_a_pool_that_is_taken_over_is_told_of_no_more() -> None:
    world = World(8, 50, multi=False)
    told = ac.Changes()
    while not told.liquidatable:
        told = world.step()
    account, pool = told.liquidatable[0]
    world.watch.hand_over(account)
    for _ in range(200):
        told = world.step()
        assert (account, pool) not in told.liquidatable + told.safe
    pf = world.pf
    place = world.accounts.index(account)
    now = bool(pf.liquidatable(world.watch.prices)[place])
    assert world.watch.liquidatable[place]
    assert world.watch.update(account).safe == ([] if now else [(account, pool)])


def test_what_a_fill_changes_is_told_once_by_whoever_asks_first() -> None:
    world = World(9, 30, multi=False)
    account = world.accounts[int(np.flatnonzero(~world.known)[0])]
    held = world.cash[account, "USD"]
    world.pf[account].set_balance("USD", "-900000000")
    symbol = LINEARS[0]
    told = world.watch.tick(symbol, mark_ticks=world.marks[symbol])
    assert told.liquidatable == [(account, "cross")]
    assert not world.watch.update(account)
    world.pf[account].set_balance("USD", exact(held, 10**6))
    hits = world.watch.ticks({"instrument": [symbol], "mark_ticks": [world.marks[symbol]]})
    assert list(hits) == [(-1, account, "cross", False)]


def test_a_portfolio_has_one_watch_and_goes_on_without(venue: ac.Venue) -> None:
    pf = ac.Portfolio.from_tables(venue, collateral=[{"account": "a", "amount": "5"}])
    prices = ac.Prices(venue)
    digest = pf.digest
    with pf.watch(prices) as watch:
        assert pf.digest == digest
        with pytest.raises(ac.TableError) as caught:
            pf.watch(prices)
        assert caught.value.code == "duplicate_key"
        assert repr(watch) == f"Watch({venue.name}: 1 pools, 0 liquidatable)"
    assert repr(watch) == f"Watch({venue.name}: closed)"
    assert pf.digest == digest
    again = pf.watch(prices)
    with pytest.raises(TypeError, match="handle"):
        pickle.dumps(again)
    del again
    pf.watch(prices)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda w: w.tick("NONE", "1"), "unknown_instrument"),
        (lambda w: w.tick("A", 1.5), "float_given"),
        (lambda w: w.tick("A", "0"), "bad_price"),
        (lambda w: w.tick("A", "0.001"), "off_grid"),
        (lambda w: w.tick("A", mark_ticks=0), "out_of_range"),
        (lambda w: w.tick("A"), "bad_column"),
        (lambda w: w.tick("A", "1", mark_ticks=1), "bad_column"),
        (lambda w: w.tick_asset("USD", "1"), "unknown_asset"),
        (lambda w: w.tick_asset("NONE", "1"), "unknown_asset"),
        (lambda w: w.ticks({"instrument": ["A"]}), "bad_column"),
        (lambda w: w.ticks({"instrument": ["A"], "price": ["1"]}), "bad_column"),
        (lambda w: w.ticks({"instrument": ["A"], "mark": ["1", "2"]}), "length_mismatch"),
        (lambda w: w.ticks({"instrument": ["A"], "mark_ticks": [1.0]}), "float_given"),
        (lambda w: w.ticks({"instrument": ["A"], "mark_ticks": [2**70]}), "overflow"),
        (lambda w: w.ticks({"instrument": ["A"] * 2, "mark_ticks": [5, 0]}), "out_of_range"),
        (
            lambda w: w.ticks({"instrument": np.array([77]), "mark_ticks": [5]}),
            "unknown_instrument",
        ),
        (
            lambda w: w.ticks({"instrument": np.array([-1]), "mark_ticks": [5]}),
            "unknown_instrument",
        ),
        (lambda w: w.ticks({"instrument": ["A", "B"], "mark": ["5", 1.5]}), "float_given"),
        (lambda w: w.update("nobody"), "unknown_account"),
        (lambda w: w.hand_over("nobody"), "unknown_account"),
        (lambda w: w.settle_funding("A", 0.1), "float_given"),
        (lambda w: w.settle_funding("A", "x"), "not_a_number"),
        (lambda w: w.settle_funding("A", "0.1", price="-1"), "bad_price"),
        (lambda w: (w.advance(9), w.advance(8)), "out_of_range"),
        (lambda w: w.portfolio["a0000"].set_leverage("0.5"), "out_of_range"),
        (lambda w: w.portfolio["a0000"].set_orders("A", "-1", 0), "out_of_range"),
        (lambda w: w.portfolio["a0000"].set_orders("NONE", "1", 0), "unknown_instrument"),
        (lambda w: w.reprice(ac.Prices(ac.Venue.load("demo"))), "unknown_venue"),
    ],
)
def test_bad_input_changes_nothing(call: Callable[[ac.Watch], object], code: str) -> None:
    world = World(10, 12, multi=False)
    before = (world.pf.digest, world.watch.prices.digest, world.watch.liquidatable.tolist())
    with pytest.raises(ac.AivoraError) as caught:
        call(world.watch)
    assert caught.value.code == code
    assert caught.value.limit
    assert before == (
        world.pf.digest,
        world.watch.prices.digest,
        world.watch.liquidatable.tolist(),
    )


@pytest.mark.parametrize("on", ["every mark", "0ms", "86400001ms", "ms", "1s"])
def test_a_check_event_that_is_none(on: str) -> None:
    with pytest.raises(ac.CardError) as caught:
        load(card(on=on))
    assert caught.value.field == "rules.check_on"
    with pytest.raises(oracle.OracleError):
        oracle.Card.from_tree(tomllib.loads(card(on=on)))


def test_a_closed_watch_leaves_the_next_alone() -> None:
    made = demo.demo(accounts=50)
    first = made.portfolio.watch(made.prices)
    first.close()
    second = made.portfolio.watch(made.prices)
    del first
    second.tick("BTC", "60000")
    assert second.prices.mark("BTC") == 60_000

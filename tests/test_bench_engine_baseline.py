"""The engine in Python that the core is timed against answers as the core does."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import aivora_core as ac
from baselines.engine import Engine
from engine_peers import Flat
from stream import NONE, SOURCE, Stream, Told, columns, crowd, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

REPLACED = {"forced_order": None}  # the baseline locks who is liquidatable, and closes nothing


@pytest.fixture(scope="module")
def stormy() -> Stream:
    """Marks that move far, and accounts with little: verdicts turn and orders are refused."""
    return Stream(200, 8_000, step=0.01, dollars=1_500, lots=3_000)


def outcomes(engine: ac.Engine, answer: ac.Answer) -> list[tuple[Any, ...]]:
    """What followed, as the baseline tells it."""
    places = {f"account-{place:07}/cross": place for place in range(engine.native.pool_count())}
    symbols = {own.symbol: place for place, own in enumerate(engine.venue.instruments)}
    found: list[tuple[Any, ...]] = []
    for own in answer.outcomes:
        name = own["outcome"]
        pool = places.get(own.get("pool", ""))
        if name == "traded":
            instrument = engine.venue[own["instrument"]]
            lots = Decimal(own["quantity"]) / instrument.lot
            money = [Decimal(own[field]) / instrument.quantum for field in ("realised", "fee")]
            found.append((name, pool, symbols[own["instrument"]], lots, *money))
        elif name == "order_cancelled":
            found.append((name, own["order"], pool, own["why"]))
        elif name not in REPLACED:
            found.append((name, pool))
    return found


def told(stream: Stream) -> Iterable[Told]:
    return chain(stream.start, stream.day)


def money(engine: Engine) -> list[Any]:
    """Balances, reserves, positions and costs of all pools, the funds and open interest."""
    pools = [
        [pool.balance, pool.reserved]
        + [
            each
            for at, leg in sorted(pool.legs.items())
            for each in (at, leg.lots, leg.cost, leg.bids, leg.asks)
        ]
        for pool in engine.pools
    ]
    markets = [[market.long, market.short] for market in engine.markets]
    return [*pools, *markets, list(engine.funds.values())]


def exact(engine: ac.Engine) -> list[Any]:
    """The same of the core."""
    symbols = {own.symbol: place for place, own in enumerate(engine.venue.instruments)}
    pools, interest = [], {place: [0, 0] for place in symbols.values()}
    for place in range(engine.native.pool_count()):
        state = engine.pool(place)
        legs = sorted((symbols[leg["instrument"]], leg) for leg in state["legs"])
        pools.append(
            [state["balances"]["USDT"], state["reserved"]]
            + [
                each
                for at, leg in legs
                for each in (at, leg["lots"], leg["cost"], leg["bids"], leg["asks"])
            ]
        )
        for at, leg in legs:
            interest[at][leg["lots"] < 0] += abs(leg["lots"])
    funds = engine.funds["USDT"]
    held = [funds[name] for name in ("deposits", "insurance", "fees", "dust")]
    return [*pools, *interest.values(), held]


def test_the_stream_is_the_same_each_time_and_of_the_stated_shape(stormy: Stream) -> None:
    again = Stream(200, 8_000, step=0.01, dollars=1_500, lots=3_000)
    assert [own.native for own in told(again)] == [own.native for own in told(stormy)]
    calm = Stream(300, 6_000)
    share = Counter(own.name for own in calm.day)
    # An order that was filled since is not cancelled, and two that do not meet are not filled.
    for name, part in {"order_open": 0.4, "order_cancel": 0.2, "fill": 0.1, "mark": 0.18}.items():
        assert part - 0.02 < share[name] / len(calm.day) < part + 0.06
    assert share["deposit"] > 0.01 * len(calm.day)


def test_with_decimals_it_answers_each_event_as_the_core_does(stormy: Stream) -> None:
    engine = ac.Engine("demo")
    other = Engine(engine.venue, Decimal)
    refused: Counter[str] = Counter()
    followed: Counter[str] = Counter()
    for own, event in zip(told(stormy), plain(told(stormy), Decimal), strict=True):
        answer = engine.apply(own.native)
        why, out = other.apply(event)
        assert why == (answer.refused.code if answer.refused else None), own
        assert out == outcomes(engine, answer), own
        refused[str(why)] += 1
        followed.update(each[0] for each in out)
    assert money(other) == exact(engine)
    assert [pool.liquidatable for pool in other.pools] == engine.liquidatable.tolist()
    assert followed["liquidatable"] > 20
    assert followed["safe"] > 5
    assert refused["insufficient_margin"] > 100
    assert refused["pool_locked"] > 20
    assert {"unknown_order"} <= set(refused)


def test_what_it_certifies_is_what_a_full_look_says(stormy: Stream) -> None:
    other = Engine(ac.Venue.load("demo"), Decimal)
    for place, event in enumerate(plain(told(stormy), Decimal)):
        other.apply(event)
        if place % 50 == 0:
            for pool in other.pools:
                equity, _, maintenance = other.assess(pool)
                assert pool.liquidatable == (maintenance > 0 and equity < maintenance)


def test_with_floats_it_comes_as_close_as_floats_do(stormy: Stream) -> None:
    engine = ac.Engine("demo")
    other = Engine(engine.venue, float)
    differ = 0
    for own, event in zip(told(stormy), plain(told(stormy), float), strict=True):
        answer = engine.apply(own.native)
        why, _ = other.apply(event)
        differ += why != (answer.refused.code if answer.refused else None)
    assert differ == 0, "a refusal may turn on a rounding, but on this stream none does"
    assert [pool.liquidatable for pool in other.pools] == engine.liquidatable.tolist()
    for ours, theirs in zip(exact(engine), money(other), strict=True):
        assert theirs == pytest.approx(ours, rel=1e-6, abs=2)


@pytest.mark.parametrize("number", [float, Decimal])
def test_it_asks_of_an_order_what_the_core_does(stormy: Stream, number: Callable[..., Any]) -> None:
    engine = ac.Engine("demo")
    other = Engine(engine.venue, number)
    engine.apply_all([own.native for own in told(stormy)])
    for event in plain(told(stormy), number):
        other.apply(event)
    source = engine.source(9)
    passed: Counter[bool] = Counter()
    for _ in range(300):
        fields = stormy.order()
        symbol = stormy.symbols[fields["instrument"]]
        native = source.event("order_open", time=0, **(fields | {"instrument": symbol}))
        *_, own = plain([Told(native, "order_open", fields)], number)[0]
        why, reserve, equity, initial = other.check_order(own)
        if engine.pool(fields["pool"])["locked"]:
            assert why == "pool_locked"
            continue
        found = engine.check_order(native)
        passed[found.passes] += 1
        assert (why is None) == found.passes
        expected = [found.reserve, found.equity, found.initial]
        close = {"rel": 1e-6, "abs": 2} if number is float else {"rel": 0, "abs": 0}
        assert [float(each) for each in (reserve, equity, initial)] == pytest.approx(
            expected, **close
        )
    assert min(passed[True], passed[False]) > 10


@pytest.mark.parametrize(
    "fields",
    [
        {"withdrawal": 10**6},
        {"withdrawal": 10**15},
        {"withdrawal": 0},
        {"fill": 1},
        {"fill": 10**6},
    ],
)
def test_what_the_stream_does_not_hold_is_answered_too(fields: dict[str, int]) -> None:
    """Withdrawals, and fills without orders."""
    engine = ac.Engine("demo")
    other = Engine(engine.venue, Decimal)
    stream = Stream(40, 400, dollars=2_000)
    for own, event in zip(told(stream), plain(told(stream), Decimal), strict=True):
        engine.apply(own.native)
        other.apply(event)
    source = engine.source(5)
    refused: Counter[str | None] = Counter()
    for pool in range(40):
        (name, amount), *_ = fields.items()
        if name == "withdrawal":
            row = {"pool": pool, "asset": "USDT", "amount_quanta": amount}
            native = source.event(name, time=10**6, **row)
        else:
            row = {
                "instrument": pool % 12,
                "price_ticks": stream.prices[pool % 12],
                "lots": amount,
                "buyer": pool,
                "buyer_leg": "net",
                "seller": (pool + 1) % 40,
                "seller_leg": "net",
                "taker": "sell",
            }
            symbol = stream.symbols[pool % 12]
            native = source.event(name, time=10**6, **(row | {"instrument": symbol}))
            row |= {"buyer_order": None, "seller_order": None}
        answer = engine.apply(native)
        (event,) = plain([Told(native, name, row)], Decimal)
        why, _ = other.apply(event)
        assert why == (answer.refused.code if answer.refused else None)
        refused[why] += 1
    assert money(other) == exact(engine)
    assert sum(refused.values()) == 40


def skip_number(data: bytes, at: int) -> int:
    """Go past a number of seven bits a byte."""
    while data[at] & 0x80:
        at += 1
    return at + 1


def test_columns_hold_what_the_events_do(stormy: Stream) -> None:
    found = columns(stormy.day)
    assert found["source"] == SOURCE
    same = {"mark": "mark_ticks", "amount": "amount_quanta", "limit": "limit_ticks"}
    same["price"] = "price_ticks"
    words = {"buy": 0, "sell": 1, "net": 0, None: NONE}
    for row, own in enumerate(stormy.day):
        data = own.native.to_bytes()
        tag = data[skip_number(data, skip_number(data, skip_number(data, 0)))]
        assert (tag, own.native.sequence, own.native.time) == (
            found["event"][row],
            found["sequence"][row],
            found["time"][row],
        )
        for name, value in own.native.fields().items():
            if isinstance(value, dict | list | tuple):
                continue  # a side of a fill: its parts have columns of their own
            assert found[same.get(name, name)][row] == words.get(value, value), name


@pytest.mark.parametrize("of", ["crowd", "stream"])
def test_the_compiled_loop_asks_of_orders_what_the_core_does(stormy: Stream, of: str) -> None:
    pytest.importorskip("numba")
    if of == "crowd":
        engine, marks = crowd(200)
        assert all(len(engine.pool(place)["legs"]) >= 2 for place in range(200))
    else:
        engine, marks = ac.Engine("demo"), stormy.marks
        engine.apply_all([own.native for own in told(stormy)])
    source = engine.source(9)
    drawn = [stormy.order() for _ in range(500)]
    drawn = [own for own in drawn if not engine.pool(own["pool"])["locked"]]
    symbols = stormy.symbols
    exact = [
        engine.check_order(
            source.event(
                "order_open", time=10**9, **(own | {"instrument": symbols[own["instrument"]]})
            )
        )
        for own in drawn
    ]
    names = ("pool", "instrument", "side", "lots", "limit_ticks")
    rows = [
        np.array([{"buy": 0, "sell": 1}.get(own[name], own[name]) for own in drawn])
        for name in names
    ]
    passes, *amounts = Flat(engine, marks).check(*rows)
    assert passes.tolist() == [own.passes for own in exact]
    assert of == "crowd" or 0 < sum(passes) < len(passes)
    for name, floats in zip(("free", "reserve", "initial", "equity"), amounts, strict=True):
        np.testing.assert_allclose(
            [getattr(own, name) for own in exact], floats, rtol=1e-9, atol=16
        )

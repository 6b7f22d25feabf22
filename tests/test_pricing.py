"""Index, premium and funding against the oracle, which is written from ``docs/spec/pricing.md``."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aivora_core as ac
from aivora_core import pricing
from aivora_core.audit import pricing as oracle

BTC = ac.Venue.load("demo")["BTC"]

SOURCE = st.builds(
    oracle.Source,
    weight=st.integers(1, 6),
    max_age=st.integers(0, 40),
    frozen_after=st.none() | st.integers(0, 20),
    floor=st.none() | st.integers(-2, 30),
    cap=st.none() | st.integers(31, 200),
)
TOLD = st.lists(st.tuples(st.integers(0, 15), st.integers(-5, 220)), max_size=4)
OUTLIER = st.none() | st.integers(0, 100).map(lambda part: Fraction(part, 100))


def units(ticks: int | None) -> Decimal | None:
    return None if ticks is None else ticks * BTC.mark_tick


@given(
    st.lists(st.tuples(SOURCE, TOLD), min_size=1, max_size=7),
    st.sampled_from(["median", "weighted_median", "weighted_mean"]),
    OUTLIER,
    st.sampled_from(["exclude", "clamp"]),
    st.integers(1, 7),
    st.integers(0, 60),
)
def test_the_index_is_that_of_the_oracle(
    drawn: list[tuple[oracle.Source, list[tuple[int, int]]]],
    blend: str,
    outlier: Fraction | None,
    on_outlier: str,
    least: int,
    later: int,
) -> None:
    least = min(least, len(drawn))
    sources = [
        pricing.Source(
            f"s{place}", of.weight, of.max_age, of.frozen_after, units(of.floor), units(of.cap)
        )
        for place, (of, _) in enumerate(drawn)
    ]
    near = None if outlier is None else f"{outlier.numerator}/{outlier.denominator}"
    index = pricing.Index(
        BTC, sources, blend=blend, outlier=near, on_outlier=on_outlier, min_live=least
    )
    told: list[oracle.Told | None] = []
    for place, (_, prices) in enumerate(drawn):
        time, last = 0, None
        for by, price in prices:
            time += by
            index.observe(f"s{place}", price * BTC.mark_tick, time=time)
            changed = last.changed if last is not None and last.price == price else time
            last = oracle.Told(price, time, changed)
        told.append(last)
    found = index.value(later)
    rules = [of for of, _ in drawn]
    mine = oracle.index(
        rules, told, later, blend=blend, outlier=outlier, on_outlier=on_outlier, min_live=least
    )
    assert found.ticks == mine
    assert list(found.states.values()) == oracle.states(rules, told, later, outlier)
    assert found.price == units(mine)


PREMIUM = st.integers(-(10**12), 10**12)


@given(
    st.lists(PREMIUM, min_size=1, max_size=60),
    st.sampled_from(["mean", "rising"]),
    st.one_of(
        st.fixed_dictionaries({"interest": PREMIUM, "clamp": st.integers(0, 10**12)}),
        st.fixed_dictionaries({"interest": PREMIUM}),
        st.fixed_dictionaries({"dead_band": st.integers(0, 10**12)}),
    ),
    st.none() | st.tuples(st.integers(-(10**12), 0), st.integers(0, 10**12)),
    st.fractions(0, 1, max_denominator=24),
    st.integers(0, 12),
)
def test_the_rate_is_that_of_the_oracle(
    premiums: list[int],
    average: str,
    shape: dict[str, int],
    bounds: tuple[int, int] | None,
    scale: Fraction,
    decimals: int,
) -> None:
    unit = Decimal("1e-12")
    fields: dict[str, Any] = {name: value * unit for name, value in shape.items()}
    if bounds is not None:
        fields["bounds"] = (bounds[0] * unit, bounds[1] * unit)
    found = pricing.funding_rates(
        np.array(premiums, dtype=np.int64),
        len(premiums),
        average=average,
        scale=f"{scale.numerator}/{scale.denominator}",
        decimals=decimals,
        **fields,
    )
    named = {"clamp": "limit"}
    mine = oracle.funding_rate(
        premiums,
        average=average,
        bounds=bounds,
        scale=scale,
        decimals=decimals,
        **{named.get(name, name): value for name, value in shape.items()},
    )
    assert found.tolist() == [mine]


@given(st.integers(1, 10**7), st.integers(0, 10**5), st.integers(1, 10**7))
def test_the_premium_is_that_of_the_oracle(bid: int, more: int, index: int) -> None:
    prices = {"impact_bid": bid, "impact_ask": bid + more, "index": index}
    mine = oracle.premium(*prices.values())
    fields = {name: ticks * BTC.mark_tick for name, ticks in prices.items()}
    if abs(mine) > 100 * 10**12:
        with pytest.raises(ac.AivoraError, match="overflow"):
            pricing.premium(BTC, **fields)
    else:
        assert pricing.premium(BTC, **fields) == mine * Decimal("1e-12")


def test_rows_are_apart() -> None:
    premiums = np.arange(2 * 3 * 10, dtype=np.int64).reshape(2, 3, 10) * 10**6
    found = pricing.funding_rates(premiums, 4)
    assert found.shape == (2, 3, 2)
    for row in np.ndindex(2, 3):
        assert (found[row] == pricing.funding_rates(premiums[row], 4)).all()
    assert pricing.funding_rates(premiums[:, :, :3], 4).shape == (2, 3, 0)
    for threads in (2, 3, 7):
        assert (pricing.funding_rates(premiums, 4, threads=threads) == found).all()
    with pytest.raises(ac.AivoraError, match="threads"):
        pricing.funding_rates(premiums, 4, threads=0)
    premiums[1, 2, 5] = 10**15
    with pytest.raises(ac.AivoraError) as caught:
        pricing.funding_rates(premiums, 4, threads=2)
    assert (caught.value.field, caught.value.row) == ("premium", 5)


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"sources": []}, "out_of_range", "source"),
        ({"sources": [pricing.Source("a", weight=0)]}, "out_of_range", "source[0].weight"),
        ({"sources": [pricing.Source("a")] * 2}, "duplicate_key", "source[1].name"),
        ({"min_live": 2}, "out_of_range", "min_live"),
        ({"blend": "mode"}, "out_of_range", "blend"),
        ({"outlier": "0.1", "on_outlier": "hide"}, "out_of_range", "on_outlier"),
        ({"outlier": "1.5"}, "out_of_range", "outlier"),
        ({"sources": [pricing.Source("a", floor="0.001")]}, "off_grid", "floor"),
        ({"sources": [pricing.Source("a", floor=2, cap=1)]}, "out_of_range", "source[0].floor"),
    ],
)
def test_an_index_that_is_none_is_refused(given: dict[str, Any], code: str, field: str) -> None:
    fields = {"sources": [pricing.Source("a")]} | given
    with pytest.raises(ac.AivoraError) as found:
        pricing.Index(BTC, **fields)
    assert (found.value.code, found.value.field) == (code, field)


def test_a_price_that_cannot_be_changes_nothing() -> None:
    index = pricing.Index(BTC, [pricing.Source("a")])
    index.observe("a", 64_000, time=10)
    before = index.value(10)
    for price, time, code in (
        (64_001, 9, "stale_event"),
        ("64000.001", 11, "off_grid"),
        (64_000.5, 11, "float_given"),
        (10**16, 11, "out_of_range"),
    ):
        with pytest.raises(ac.AivoraError) as found:
            index.observe("a", price, time=time)
        assert found.value.code == code
        assert index.value(10) == before
    with pytest.raises(ac.UnknownNameError, match="must be one of a"):
        index.observe("b", 64_000, time=11)


def test_a_rate_that_is_none_is_refused() -> None:
    flat = np.zeros(4, dtype=np.int64)
    for fields, code in (
        ({"interval": 0}, "out_of_range"),
        ({"average": "falling"}, "out_of_range"),
        ({"decimals": 13}, "out_of_range"),
        ({"interest": 0.1}, "float_given"),
        ({"interest": "0.0000000000001"}, "off_grid"),
        ({"bounds": (1, 0)}, "out_of_range"),
        ({"clamp": -1}, "out_of_range"),
        ({"premiums": np.zeros(4)}, "bad_column"),
        ({"premiums": np.array([10**15])}, "out_of_range"),
    ):
        given = {"premiums": flat, "interval": 1} | fields
        with pytest.raises(ac.AivoraError) as found:
            pricing.funding_rates(given.pop("premiums"), given.pop("interval"), **given)
        assert found.value.code == code, fields


# --- the mark ------------------------------------------------------------------------------------

OF = st.sampled_from(["mid", "impact_mid", "last"])
TERM = st.one_of(
    st.sampled_from(["index", "last", "mid", "impact_mid", "book_median", "outside"]).map(
        lambda rule: {"rule": rule}
    ),
    st.builds(
        lambda interval, step: {"rule": "fair", "interval_ms": interval, "step_ms": step},
        st.integers(1, 60),
        st.integers(1, 7),
    ),
    st.builds(
        lambda of, samples, every: {
            "rule": "basis", "of": of, "samples": samples, "every_ms": every,
        },
        OF, st.integers(1, 6), st.integers(1, 9),
    ),
    st.builds(
        lambda of, window, every: {"rule": "ema", "of": of, "window_ms": window, "every_ms": every},
        OF, st.integers(1, 40), st.integers(1, 9),
    ),
)  # fmt: skip
PRICE = st.integers(1, 900)
PAIR = st.tuples(PRICE, st.integers(0, 40)).map(lambda own: (own[0], own[0] + own[1]))
SEEN = st.one_of(
    *(st.tuples(st.just(kind), st.tuples(PRICE)) for kind in ("index", "last", "outside")),
    *(st.tuples(st.just(kind), PAIR) for kind in ("best", "impact")),
    st.tuples(st.just("funding"), st.tuples(PREMIUM, st.integers(0, 200))),
    st.tuples(st.just("update"), st.just(())),
    st.tuples(st.just("update"), st.just(())),
)
STORY = st.lists(st.tuples(st.sampled_from([0, 0, 1, 2, 5, 11, 60]), SEEN), max_size=25)


@given(
    st.lists(TERM, min_size=1, max_size=4),
    STORY,
    st.integers(1, 4),
    st.none() | st.fractions(Fraction(1, 50), 1, max_denominator=50),
)
def test_the_mark_is_that_of_the_oracle(
    terms: list[dict[str, Any]],
    drawn: list[tuple[int, tuple[str, tuple[int, ...]]]],
    least: int,
    step: Fraction | None,
) -> None:
    least = min(least, len(terms))
    each = None if step is None else f"{step.numerator}/{step.denominator}"
    rule = [pricing.Term(**term) for term in terms]
    mark = pricing.Mark(BTC, rule, min_terms=least, step=each)
    now, story, found = 0, [], []
    for by, (kind, numbers) in drawn:
        now += by
        story.append((now, kind, numbers))
        if kind == "update":
            found.append(mark.update(now))
        elif kind == "funding":
            mark.see(now, funding=(numbers[0] * Decimal("1e-12"), numbers[1]))
        else:
            prices = tuple(ticks * BTC.mark_tick for ticks in numbers)
            seen: dict[str, Any] = {kind: prices if len(prices) == 2 else prices[0]}
            mark.see(now, **seen)
    mine = oracle.marks(terms, story, min_terms=least, step=step)
    assert found == [units(ticks) for ticks in mine]


PATH = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 2, 5, 30]),
        st.one_of(
            st.tuples(st.just("source"), st.tuples(st.integers(0, 2), st.integers(-2, 900))),
            st.tuples(st.sampled_from(["last", "index"]), st.tuples(PRICE, st.just(0))),
            st.tuples(st.sampled_from(["best", "impact"]), PAIR),
            st.tuples(st.just("funding"), st.tuples(PREMIUM, st.integers(0, 200))),
            st.tuples(st.just("clock"), st.just((0, 0))),
        ),
    ),
    max_size=40,
)


@given(st.lists(TERM, min_size=1, max_size=3), PATH)
def test_a_path_is_its_rows_one_by_one(
    terms: list[dict[str, Any]], drawn: list[tuple[int, tuple[str, tuple[int, int]]]]
) -> None:
    def made() -> tuple[pricing.Index, pricing.Mark]:
        sources = [pricing.Source(name, max_age_ms=40, frozen_ms=30) for name in "abc"]
        index = pricing.Index(BTC, sources, outlier="0.1", min_live=2)
        return index, pricing.Mark(BTC, [pricing.Term(**term) for term in terms], min_terms=1)

    times = np.cumsum([by for by, _ in drawn], dtype=np.int64)
    index, mark = made()
    found = []
    for time, (_, (kind, (first, second))) in zip(times.tolist(), drawn, strict=True):
        one, two = first * BTC.mark_tick, second * BTC.mark_tick
        if kind == "source":
            index.observe("abc"[first], two, time=time)
            price = index.value(time).price
            if price is not None:
                mark.see(time, index=price)
        elif kind == "funding":
            mark.see(time, funding=(first * Decimal("1e-12"), second))
        elif kind != "clock":
            seen: dict[str, Any] = {kind: (one, two) if kind in ("best", "impact") else one}
            mark.see(time, **seen)
        found.append(mark.update(time))
    columns = {
        "seen": np.array([kind for _, (kind, _) in drawn]),
        "first": np.array([own[0] for _, (_, own) in drawn], dtype=np.int64),
        "second": np.array([own[1] for _, (_, own) in drawn], dtype=np.int64),
        "time": times,
    }
    index, mark = made()
    assert mark.run(index, columns).tolist() == [
        0 if price is None else int(price / BTC.mark_tick) for price in found
    ]


def test_a_path_that_is_none_is_refused() -> None:
    index = pricing.Index(BTC, [pricing.Source("a")])
    mark = pricing.Mark(BTC, [pricing.Term("last")])
    one: dict[str, Any] = {
        name: np.array([1], dtype=np.int64) for name in ("first", "second", "time")
    }
    for columns, code in (
        ({"seen": ["price"]}, "bad_column"),
        ({"seen": ["last"], "first": np.array([1.5])}, "bad_column"),
        ({"seen": ["last"], "time": np.array([1, 2])}, "bad_column"),
        ({"seen": ["source"]}, "out_of_range"),
        ({"seen": ["last"], "first": np.array([0])}, "out_of_range"),
        ({"seen": np.array([9], dtype=np.uint8)}, "bad_column"),
    ):
        with pytest.raises(ac.AivoraError) as found:
            mark.run(index, one | columns)
        assert found.value.code == code, columns
    assert mark.update(1) is None


def test_the_average_that_forgets_comes_to_what_stays() -> None:
    mark = pricing.Mark(BTC, [pricing.Term("ema", window_ms=150_000, every_ms=1_000)])
    mark.see(0, index=64_000, best=(64_000, 64_000))
    assert mark.update(5_000) == 64_000
    mark.see(5_000, best=(64_100, 64_100))
    # Eleven samples: 100 x (1 - (150/151)^11).
    assert mark.update(16_000) == Decimal("64007.05")
    assert mark.update(10_000_000) == 64_100


def test_the_fair_price_of_a_payload() -> None:
    """BitMEX's XBTUSD at 23:33:19, funding at 04:00: the basis is of whole minutes."""
    mark = pricing.Mark(BTC, [pricing.Term("fair", interval_ms=28_800_000, step_ms=60_000)])
    midnight = 1_732_406_400_000 + 86_400_000
    mark.see(midnight - 1_601_000, index="97843.77", funding=("0.00011", midnight + 14_400_000))
    assert mark.update(midnight - 1_601_000) == Decimal("97849.76")


def test_a_mark_that_steps_moves_by_a_step_at_most() -> None:
    mark = pricing.Mark(BTC, [pricing.Term("last")], step="0.01")
    mark.see(0, last=64_000)
    assert mark.update(0) == 64_000
    mark.see(1, last=90_000)
    assert mark.update(1) == 64_640
    mark.see(2, last=1)
    assert mark.update(2) == Decimal("63993.60")
    assert mark.parts == [Decimal(1)]


@pytest.mark.parametrize(
    ("terms", "fields", "code", "field"),
    [
        ([], {}, "out_of_range", "terms"),
        ([pricing.Term("fair")], {}, "out_of_range", "terms[0].interval_ms"),
        ([pricing.Term("mean")], {}, "out_of_range", "rule"),
        ([pricing.Term("basis", samples=0, every_ms=1)], {}, "out_of_range", "terms[0].samples"),
        ([pricing.Term("basis", "ask", 1, 1)], {}, "out_of_range", "of"),
        ([pricing.Term("ema", every_ms=1)], {}, "out_of_range", "terms[0].window_ms"),
        ([pricing.Term("last")], {"min_terms": 2}, "out_of_range", "min_terms"),
        ([pricing.Term("last")], {"step": 0}, "out_of_range", "step"),
    ],
)
def test_a_mark_that_is_none_is_refused(
    terms: list[pricing.Term], fields: dict[str, Any], code: str, field: str
) -> None:
    with pytest.raises(ac.AivoraError) as found:
        pricing.Mark(BTC, terms, **fields)
    assert (found.value.code, found.value.field) == (code, field)
    mark = pricing.Mark(BTC, [pricing.Term("last")])
    mark.see(5, last=1)
    for seen in ({"best": (2, 1)}, {"last": 0}, {"funding": (101, 0)}):
        with pytest.raises(ac.AivoraError):
            mark.see(6, **seen)
    with pytest.raises(ac.AivoraError, match="stale_event"):
        mark.see(4, last=2)
    assert mark.update(5) == 1


# --- validity ------------------------------------------------------------------------------------

TICKS = st.integers(-3, 60)


@given(
    TICKS,
    st.none() | TICKS,
    st.none() | st.integers(0, 30),
    st.integers(0, 12),
    st.none() | st.integers(0, 5),
    st.none() | st.fractions(1, 6, max_denominator=4),
    st.none() | st.fractions(0, 1, max_denominator=9),
    st.tuples(*(st.none() | st.integers(0, 10) for _ in range(3))),
)
def test_the_class_is_that_of_the_oracle(
    price: int,
    average: int | None,
    confidence: int | None,
    age: int,
    live: int | None,
    volatile: Fraction | None,
    uncertain: Fraction | None,
    whole: tuple[int | None, int | None, int | None],
) -> None:
    rate = None if uncertain is None else f"{uncertain.numerator}/{uncertain.denominator}"
    limits = pricing.Limits(volatile, rate, *whole)
    found = limits.validity(
        BTC,
        units(price) or 0,
        average=units(average),
        confidence=units(confidence),
        age_ms=age,
        live=live,
    )
    quote = {"price": price, "average": average, "confidence": confidence, "age": age, "live": live}
    named = dict(zip(("stale_for_margin", "too_few_sources", "stale"), whole, strict=True))
    assert found == oracle.validity(quote, {"volatile": volatile, "uncertain": uncertain, **named})


@pytest.mark.parametrize("ratio", ["0.9", "much", 2.5, -1, 2**32])
def test_a_ratio_that_is_none_is_refused(ratio: Any) -> None:
    with pytest.raises(ac.AivoraError, match="volatile") as found:
        pricing.Limits(volatile=ratio).validity(BTC, 1, average=1)
    assert found.value.code == "out_of_range"


def test_what_is_allowed_stands_in_the_specification() -> None:
    """The table of ``docs/spec/pricing.md``, typed again."""
    worst = {"non_positive", "too_volatile"}
    refused = {
        "liquidate": worst,
        "trigger": worst,
        "fill": worst | {"too_uncertain"},
        "settle": worst | {"too_uncertain"},
        "funding": worst | {"too_uncertain"},
        "margin": worst | {"too_uncertain", "stale_for_margin"},
        "withdraw": worst | {"too_uncertain", "stale_for_margin", "too_few_sources", "stale"},
        "average": {"non_positive"},
    }
    classes = refused["withdraw"] | {"valid"}
    assert {action: classes - allowed for action, allowed in pricing.PERMITS.items()} == refused


# --- published figures ---------------------------------------------------------------------------


def test_the_example_of_hyperliquid() -> None:
    """Impact bid 10,100, oracle 10,000, interest 0.01%: premium 1%, rate 0.95%."""
    found = pricing.premium(BTC, impact_bid=10_100, impact_ask=10_101, index=10_000)
    assert found == Decimal("0.01")
    one = np.array([int(found * 10**12)])
    rate = pricing.funding_rates(one, 1, average="mean", interest="0.0001", clamp="0.0005")
    assert rate.tolist() == [9_500_000_000]
    hourly = pricing.funding_rates(
        one, 1, average="mean", interest="0.0001", clamp="0.0005", scale="1/8"
    )
    assert hourly.tolist() == [1_187_500_000]


@pytest.mark.parametrize(("premium", "rate"), [("0.0002", 0), ("-0.0002", 0), ("0.001", "0.00075")])
def test_a_dead_band_as_deribit_has_one(premium: str, rate: str | int) -> None:
    one = np.array([int(Decimal(premium) * 10**12)])
    found = pricing.funding_rates(one, 1, dead_band="0.00025")
    assert found.tolist() == [int(Decimal(rate) * 10**12)]

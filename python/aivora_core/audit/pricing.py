"""Index, validity and funding, once more, in exact fractions: ``docs/spec/pricing.md``.

Like the oracle of the margin it imports nothing of the core, and is slow on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "Source",
    "Told",
    "clamp",
    "funding_rate",
    "half_even",
    "index",
    "marks",
    "premium",
    "states",
    "validity",
]

UNIT = 10**12


@dataclass(frozen=True)
class Source:
    """One source of an index: prices in mark ticks, times in milliseconds."""

    weight: int = 1
    max_age: int = 10_000
    frozen_after: int | None = None
    floor: int | None = None
    cap: int | None = None


@dataclass(frozen=True)
class Told:
    """What a source has told: its last price, when, and since when it is that."""

    price: int
    time: int
    changed: int


def half_even(value: Fraction) -> int:
    """Round to the nearest whole number, ties to even."""
    return round(value)


def clamp(value: Fraction, low: Fraction, high: Fraction) -> Fraction:
    """Bring a value between two others."""
    return min(max(value, low), high)


def _median(prices: Sequence[int]) -> Fraction:
    ordered = sorted(prices)
    count = len(ordered)
    return Fraction(ordered[(count - 1) // 2] + ordered[count // 2], 2)


def _state(source: Source, told: Told | None, now: int) -> str:
    if told is None:
        return "missing"
    if told.price <= 0:
        return "non_positive"
    at_floor = source.floor is not None and told.price <= source.floor
    at_cap = source.cap is not None and told.price >= source.cap
    if at_floor or at_cap:
        return "clamped"
    if now - told.time > source.max_age:
        return "stale"
    if source.frozen_after is not None and told.time - told.changed > source.frozen_after:
        return "frozen"
    return "live"


def states(
    sources: Sequence[Source], told: Sequence[Told | None], now: int, outlier: Fraction | None
) -> list[str]:
    """Find the state of each source.

    Parameters
    ----------
    sources : sequence of Source
        What they are.
    told : sequence of Told or None
        What each has told.
    now : int
        The time.
    outlier : Fraction or None
        How far from the median, as a part of it, is too far.

    Returns
    -------
    list of str
        By the names of the specification.
    """
    found = [_state(source, own, now) for source, own in zip(sources, told, strict=True)]
    live = [own.price for own, state in zip(told, found, strict=True) if own and state == "live"]
    if outlier is None or not live:
        return found
    middle = _median(live)
    return [
        "outlier"
        if own is not None and state == "live" and abs(own.price - middle) > outlier * middle
        else state
        for own, state in zip(told, found, strict=True)
    ]


def index(
    sources: Sequence[Source],
    told: Sequence[Told | None],
    now: int,
    *,
    blend: str,
    outlier: Fraction | None,
    on_outlier: str,
    min_live: int,
) -> int | None:
    """Find the index, in mark ticks; None with too few sources."""
    found = states(sources, told, now, outlier)
    counts = {"live", "outlier"} if on_outlier == "clamp" else {"live"}
    used = [
        (own.price, source.weight, state)
        for own, source, state in zip(told, sources, found, strict=True)
        if own is not None and state in counts
    ]
    if len(used) < min_live:
        return None
    near = [own.price for own, state in zip(told, found, strict=True) if own and state in counts]
    if outlier is not None and on_outlier == "clamp":
        middle = _median(near)
        low, high = ceil(middle * (1 - outlier)), floor(middle * (1 + outlier))
        low, high = max(1, min(low, high)), max(1, low, high)
        used = [(min(max(price, low), high), weight, state) for price, weight, state in used]
    return _blended([(price, weight) for price, weight, _ in used], blend)


def _blended(prices: list[tuple[int, int]], blend: str) -> int:
    if blend == "median":
        return half_even(_median([price for price, _ in prices]))
    weights = sum(weight for _, weight in prices)
    if blend == "weighted_mean":
        return half_even(Fraction(sum(price * weight for price, weight in prices), weights))
    # The smallest price at which half of the weight is reached, from below and from above.
    half = Fraction(weights, 2)
    below = min(p for p, _ in prices if sum(w for q, w in prices if q <= p) >= half)
    above = max(p for p, _ in prices if sum(w for q, w in prices if q >= p) >= half)
    return half_even(Fraction(below + above, 2))


def premium(impact_bid: int, impact_ask: int, index_price: int) -> int:
    """Find the premium of a sample, in parts of 10^-12."""
    beyond = max(0, impact_bid - index_price) - max(0, index_price - impact_ask)
    return half_even(Fraction(beyond * UNIT, index_price))


def funding_rate(
    premiums: Sequence[int],
    *,
    average: str,
    interest: int = 0,
    limit: int | None = None,
    dead_band: int | None = None,
    bounds: tuple[int, int] | None = None,
    scale: Fraction = Fraction(1),
    decimals: int = 12,
) -> int:
    """Find the rate of an interval in parts of 10^-12, rounded ``half_even`` to the decimals."""
    weights = range(1, len(premiums) + 1) if average == "rising" else [1] * len(premiums)
    total = sum(weight * own for weight, own in zip(weights, premiums, strict=True))
    mean = Fraction(total, sum(weights))
    if dead_band is not None:
        found = mean - clamp(mean, Fraction(-dead_band), Fraction(dead_band))
    elif limit is not None:
        found = mean + clamp(interest - mean, Fraction(-limit), Fraction(limit))
    else:
        found = mean + interest
    if bounds is not None:
        found = clamp(found, Fraction(bounds[0]), Fraction(bounds[1]))
    step: int = 10 ** (12 - decimals)
    return half_even(found * scale / step) * step


# --- the mark ------------------------------------------------------------------------------------


def _known(story: Sequence[tuple[int, str, tuple[int, ...]]], before: int) -> dict[str, Any]:
    """Give what had been seen before a time, the last of each kind."""
    return {kind: seen for time, kind, seen in story if time < before and kind != "update"}


def _basis(known: Mapping[str, Any], of: str) -> Fraction | None:
    name = {"mid": "best", "impact_mid": "impact", "last": "last"}[of]
    if name not in known or "index" not in known:
        return None
    prices: tuple[int, ...] = known[name]
    index_price: int = known["index"][0]
    return Fraction(sum(prices), len(prices)) - index_price


def _samples(
    story: Sequence[tuple[int, str, tuple[int, ...]]], term: Mapping[str, Any], now: int
) -> list[Fraction]:
    """Give the samples at whole multiples, from the first time that anything was told."""
    every = term["every_ms"]
    first = story[0][0] // every + 1
    found = (_basis(_known(story, n * every), term["of"]) for n in range(first, now // every + 1))
    return [basis for basis in found if basis is not None]


def _average(samples: Sequence[Fraction], term: Mapping[str, Any]) -> Fraction:
    """Give the average that forgets, in whole 2^-21 of a tick."""
    part = Fraction(1, 2**21)
    most = 64 * (term["window_ms"] // term["every_ms"] + 1)
    alpha = Fraction(term["every_ms"], term["window_ms"] + term["every_ms"])
    average, alike, last = samples[0], 0, None
    for basis in samples:
        alike = alike + 1 if basis == last else 1
        last = basis
        if alike > most:
            average = basis
        else:
            average += half_even((basis - average) * alpha / part) * part
    return average


def _term(  # noqa: PLR0911 - a line each
    story: Sequence[tuple[int, str, tuple[int, ...]]],
    known: Mapping[str, Any],
    term: Mapping[str, Any],
    now: int,
) -> Fraction | None:
    """Give a term before it is rounded; None where it is not known."""
    kind = term["rule"]
    direct = {"index": "index", "last": "last", "outside": "outside", "mid": "best"}
    direct["impact_mid"] = "impact"
    if kind in direct:
        own = known.get(direct[kind])
        return None if own is None else Fraction(sum(own), len(own))
    if kind == "book_median":
        if "best" not in known or "last" not in known:
            return None
        return Fraction(sorted((*known["best"], *known["last"]))[1])
    if "index" not in known:
        return None
    price: int = known["index"][0]
    if kind == "fair":
        if "funding" not in known:
            return None
        rate, at = known["funding"]
        left: int = min(max(at - now // term["step_ms"] * term["step_ms"], 0), term["interval_ms"])
        return price * (1 + Fraction(rate, UNIT) * Fraction(left, term["interval_ms"]))
    basis = _basis(known, term["of"])
    samples = _samples(story, term, now)
    if kind == "basis":
        samples = samples[-term["samples"] :]
        mean = Fraction(sum(samples), len(samples)) if samples else basis
    else:
        mean = _average(samples, term) if samples else basis
    return None if mean is None else Fraction(price + half_even(mean))


def marks(
    terms: Sequence[Mapping[str, Any]],
    story: Sequence[tuple[int, str, tuple[int, ...]]],
    *,
    min_terms: int,
    step: Fraction | None,
) -> list[int | None]:
    """Give the mark of each update of a story.

    Parameters
    ----------
    terms : sequence of mapping
        ``rule`` and its parameters, by the names of the specification.
    story : sequence of (time, kind, numbers)
        ``index``, ``best``, ``impact``, ``last``, ``outside`` (mark ticks), ``funding`` (parts of
        10^-12, time) and ``update``, in order of time.
    min_terms : int
        The fewest that must be known.
    step : Fraction or None
        How far the mark may move.

    Returns
    -------
    list of int or None
        In mark ticks.
    """
    found: list[int | None] = []
    last: int | None = None
    for place, (now, kind, _) in enumerate(story):
        if kind != "update":
            continue
        told = story[: place + 1]
        known = _known(told, now + 1)
        all_terms = (_term(told, known, term, now) for term in terms)
        ticks = [half_even(own) for own in all_terms if own is not None]
        ticks = [own for own in ticks if own >= 1]
        if len(ticks) < min_terms:
            found.append(None)
            continue
        mark = half_even(_median(ticks))
        if step is not None and last is not None:
            mark = min(max(mark, ceil(last * (1 - step)), 1), floor(last * (1 + step)))
        found.append(mark)
        last = mark
    return found


def validity(quote: Mapping[str, int | None], limits: Mapping[str, Fraction | int | None]) -> str:
    """Find the class of a price: ``price``, ``average``, ``confidence``, ``age``, ``live``."""
    price, average, confidence = quote["price"], quote["average"], quote["confidence"]
    if price is None or price <= 0:
        return "non_positive"
    most = limits["volatile"]
    if average is not None and most is not None:
        ratio = None if average <= 0 else Fraction(max(price, average), min(price, average))
        if ratio is None or ratio > most:
            return "too_volatile"
    most = limits["uncertain"]
    if confidence is not None and most is not None and Fraction(confidence, price) > most:
        return "too_uncertain"
    for name, figure, worse in (
        ("stale_for_margin", "age", 1),
        ("too_few_sources", "live", -1),
        ("stale", "age", 1),
    ):
        limit, own = limits[name], quote[figure]
        if limit is not None and own is not None and (own - limit) * worse > 0:
            return name
    return "valid"

"""Contests: who does a job, checked for the right answer first, then timed in turn.

A job is a list of contestants; the first is ours. Each prepares its inputs once, answers once, and
that answer is compared with the exact one before anything is timed. Then all run in turn (A B C A B
C ...), so that every round sees the same weather, and each ratio is the median over the rounds of
one round's two times, with the quartiles beside it. See docs/guide/performance.md.
"""

from __future__ import annotations

import gc
import importlib.util
import re
import resource
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_benchmark.fixture import BenchmarkFixture

_BAR = re.compile(r"(at least|at most) (\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Bar:
    """A bound that a row must keep: "at least 7.5", "at most 2.5".

    A ratio with a bar of the first kind is how many times our time the contestant takes; of the
    second, how many times its time we take.
    """

    at_least: float | None = None
    at_most: float | None = None

    @classmethod
    def parse(cls, text: str) -> Bar:
        """Read a bar.

        Raises
        ------
        ValueError
            It is neither "at least NUMBER" nor "at most NUMBER".
        """
        match = _BAR.fullmatch(text)
        if match is None:
            raise ValueError(f"not a bar: {text!r}; write 'at least 7.5' or 'at most 2.5'")
        bound = float(match[2])
        return cls(at_least=bound) if match[1] == "at least" else cls(at_most=bound)

    def met(self, value: float) -> bool:
        """Whether a value keeps it."""
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most

    def __str__(self) -> str:
        """Write it as it is read."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return f"at most {self.at_most:g}"


class Ratio(float):
    """A ratio of medians of rounds, with its quartiles."""

    quartiles: tuple[float, float]

    def __new__(cls, rounds: Sequence[float]) -> Self:
        """Take the median of the rounds' ratios."""
        ratio = super().__new__(cls, statistics.median(rounds))
        cuts = statistics.quantiles(rounds, n=4, method="inclusive") if len(rounds) > 1 else []
        ratio.quartiles = (cuts[0], cuts[2]) if cuts else (float(ratio), float(ratio))
        return ratio


class Seconds(float):
    """The median time of a contestant, and the time of each round.

    Divided by another one's, it gives the `Ratio` of the rounds they shared.
    """

    rounds: tuple[float, ...]

    def __new__(cls, rounds: Sequence[float]) -> Self:
        """Take the median of the rounds."""
        seconds = super().__new__(cls, statistics.median(rounds))
        seconds.rounds = tuple(rounds)
        return seconds

    def __truediv__(self, other: float) -> float:
        """Round by round where both have rounds, else a plain quotient."""
        if not isinstance(other, Seconds):
            return float(self) / other
        pairs = zip(self.rounds, other.rounds, strict=True)
        return Ratio([mine / theirs for mine, theirs in pairs])

    def __mul__(self, factor: float) -> Seconds:
        """Every round's time, scaled."""
        return Seconds([taken * factor for taken in self.rounds])


@dataclass(frozen=True)
class Verdict:
    """How an answer compares with the exact one, in accounts."""

    of: int
    wrong: int = 0  # by more than the contestant's arithmetic can explain
    decisions: int = 0  # the other verdict on who is liquidatable
    digits: int = 0  # another last digit of the initial or maintenance requirement

    def __str__(self) -> str:
        """Say what differs, if anything does."""
        if self.wrong:
            return f"WRONG on {self.wrong:,} of {self.of:,} accounts"
        counts = ((self.decisions, "decisions"), (self.digits, "last digits"))
        said = [f"{count:,} {what}" for count, what in counts if count]
        return f"differs: {' and '.join(said)} of {self.of:,}" if said else ""


@dataclass(frozen=True)
class Difference:
    """How one contestant's answer differs from the exact one on one population."""

    where: str
    contestant: str
    verdict: Verdict


class NotThereError(Exception):
    """What the contestant would call does not exist (yet)."""


@dataclass(frozen=True)
class Contestant:
    """One who does the job.

    `setup` prepares the inputs of a case, untimed, and returns the call that is timed; `read` turns
    its answer into columns, untimed. `most` is the number of accounts above which it is given only
    the first so many, and its time scaled. `needs` names the package it stands on. `on` is a case
    of its own, where the job is not done on the same one.
    """

    name: str
    setup: Callable[[Any], Callable[[], Any]]
    read: Callable[[Any], Mapping[str, Any]]
    bar: Bar | None = None
    needs: str | None = None
    most: int | None = None
    on: Any = None


@dataclass(frozen=True)
class Job:
    """What is to be done; the first contestant is ours, and the ratios are to it."""

    name: str
    contestants: tuple[Contestant, ...]
    judge: Callable[[Any, Mapping[str, Any]], Verdict]
    rounds: int = 11


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    job: str
    contestant: str
    value: float | None = None
    unit: str = "x"
    quartiles: tuple[float, float] | None = None
    bar: str | None = None
    met: bool | None = None  # None: no bar, or not applicable here
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Entrant:
    contestant: Contestant
    call: Callable[[], Any]
    verdict: Verdict
    scale: float


def enter(contestant: Contestant, case: Any, judge: Callable[..., Verdict]) -> _Entrant:
    """Prepare one contestant and judge its answer.

    Raises
    ------
    NotThereError
        It cannot take part, and why.
    """
    if contestant.needs and importlib.util.find_spec(contestant.needs) is None:
        raise NotThereError(f"{contestant.needs} is not installed")
    case = case if contestant.on is None else contestant.on
    count = min(len(case), contestant.most or len(case))
    part = case if count == len(case) else case.first(count)
    call = contestant.setup(part)
    verdict = judge(part, contestant.read(call()))
    return _Entrant(contestant, call, verdict, len(case) / count)


def faults_of(call: Callable[[], Any]) -> int:
    """Return how many pages the system mapped during one call."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    call()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def in_turn(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Seconds]:
    """Time each call once a round, in turn, after one round that warms up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            taken = time.perf_counter() - start
            if number:
                times[name].append(taken)
    return {name: Seconds(taken) for name, taken in times.items()}


def in_turn_by(
    benchmark: BenchmarkFixture, calls: Mapping[str, Callable[[], Any]], rounds: int
) -> dict[str, Seconds]:
    """Do the same with pytest-benchmark's timer; its setup hook hands over the next contestant."""
    order = list(calls)
    turns = iter(order * (rounds + 1))
    benchmark.pedantic(
        lambda call: call(),
        setup=lambda: ((calls[next(turns)],), {}),
        rounds=rounds * len(order),
        warmup_rounds=len(order),
    )
    if benchmark.stats is None:  # --benchmark-disable
        return {}
    taken = benchmark.stats.stats.data
    return {name: Seconds(taken[place :: len(order)]) for place, name in enumerate(order)}


@contextmanager
def young_collections_only() -> Iterator[None]:
    """Spare those who make many Python objects the collector's walks through everyone's inputs."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def hold(
    job: Job,
    case: Any,
    timer: Callable[[Mapping[str, Callable[[], Any]], int], dict[str, Seconds]],
    *,
    at_full_size: bool,
) -> list[Row]:
    """Hold a contest: one row a contestant, ours last to be compared and first to be checked."""
    entrants: dict[str, _Entrant] = {}
    absent: dict[str, str] = {}
    for contestant in job.contestants:
        try:
            entrants[contestant.name] = enter(contestant, case, job.judge)
        except NotThereError as why:
            absent[contestant.name] = str(why)
    ours = job.contestants[0].name
    times: dict[str, Seconds] = {}
    if ours in entrants and len(entrants) > 1:
        with young_collections_only():
            times = timer({name: entrant.call for name, entrant in entrants.items()}, job.rounds)
    return list(_rows(job, entrants, absent, times, at_full_size=at_full_size))


def _rows(
    job: Job,
    entrants: Mapping[str, _Entrant],
    absent: Mapping[str, str],
    times: Mapping[str, Seconds],
    *,
    at_full_size: bool,
) -> Iterator[Row]:
    ours = job.contestants[0].name
    base = times[ours] * entrants[ours].scale if ours in times else None
    for contestant in job.contestants:
        name, bar = contestant.name, contestant.bar
        shown = str(bar) if bar else None
        if name in absent or (name != ours and ours in absent):
            note = absent.get(name) or f"{ours}: {absent[ours]}"
            if name != ours or len(job.contestants) == 1:
                yield Row(job.name, name, bar=shown, note=note)
            continue
        entrant = entrants[name]
        wrong, note = entrant.verdict.wrong, str(entrant.verdict)
        details = _details(entrant, times.get(name))
        if name == ours:
            if wrong:
                yield Row(job.name, name, met=False, note=note, details=details)
            continue
        ratio = None
        if base is not None:
            theirs = times[name] * entrant.scale
            ratio = base / theirs if bar and bar.at_most is not None else theirs / base
        met = None
        if wrong or entrants[ours].verdict.wrong:
            met = False if bar else None
        elif bar and ratio is not None and at_full_size:
            met = bar.met(ratio)
        spread = ratio.quartiles if isinstance(ratio, Ratio) else None
        details |= {"ours": _details(entrants[ours], times.get(ours))}
        value = None if ratio is None else float(ratio)
        yield Row(job.name, name, value, "x", spread, shown, met, note, details)


def _details(entrant: _Entrant, seconds: Seconds | None) -> dict[str, Any]:
    verdict = entrant.verdict
    details: dict[str, Any] = {
        "name": entrant.contestant.name,
        "accounts": verdict.of,
        "wrong": verdict.wrong,
        "decisions": verdict.decisions,
        "digits": verdict.digits,
    }
    if seconds is not None:
        details |= {
            "seconds": float(seconds),
            "ns_per_account": float(seconds) * 1e9 / verdict.of,
            "rounds": len(seconds.rounds),
            "faults": faults_of(entrant.call),
        }
    return details

"""The core in a contest: a population, packed, and the calls that do each job.

This is the only place where the benches of the scan touch the library. A call that is not there yet
raises `NotThereError`, and its rows say so.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

import aivora_core as ac
from contest import NotThereError, Verdict
from population import several_assets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from population import Columns, Population

AMOUNTS = ("equity", "initial", "maintenance")
FLOAT_QUANTA = 8  # a rounding a position, for eight positions
FLOAT_RELATIVE = 1e-9


class Unpacked:
    """A population alone, for those who need no portfolio."""

    def __init__(self, population: Population) -> None:
        self.population = population

    def __len__(self) -> int:
        """Return the number of accounts."""
        return len(self.population)

    def first(self, accounts: int) -> Unpacked:
        """Return the first accounts."""
        return Unpacked(self.population.first(accounts))


class Packed(Unpacked):
    """A population and the portfolio packed from it."""

    def __init__(self, population: Population) -> None:
        super().__init__(population)
        self.venue = ac.Venue.from_toml(population.card())
        prices: dict[str, Any] = {"mark_ticks": population.mark_ticks()}
        if assets := population.asset_prices():
            prices["asset"] = assets
        self.prices = ac.Prices(self.venue, **prices)
        self.tables = population.tables()

    @cached_property
    def portfolio(self) -> ac.Portfolio:
        """The tables, packed."""
        return self.pack()

    def pack(self) -> ac.Portfolio:
        """Pack the tables."""
        tables = self.tables
        return ac.Portfolio.from_tables(
            self.venue,
            positions=tables["positions"],
            collateral=tables["collateral"],
            pools=tables["pools"],
        )


def of_several_assets(packed: Packed) -> Packed:
    """Pack the same accounts with collateral in several assets.

    Raises
    ------
    NotThereError
        The library knows one asset a venue, or no prices of assets.
    """
    try:
        return Packed(several_assets(packed.population))
    except (ac.AivoraError, TypeError) as why:
        raise NotThereError("not there: pools of several assets") from why


def check(case: Packed, threads: int = 1) -> Callable[[], ac.Report]:
    """Return the check with all four outputs."""
    return lambda: case.portfolio.check(case.prices, threads=threads)


def check_again(case: Packed, threads: int = 1) -> Callable[[], ac.Report]:
    """Return the check into the memory of the one before, as who scans at each tick would."""
    report = case.portfolio.check(case.prices, threads=threads)
    return lambda: case.portfolio.check(case.prices, threads=threads, out=report)


def mask(case: Packed) -> Callable[[], Any]:
    """Return the check that tells only who is liquidatable."""
    alone: Any = getattr(case.portfolio, "liquidatable", None)
    if alone is not None:
        return lambda: {"liquidatable": alone(case.prices)}
    run: Any = case.portfolio.check
    try:
        run(case.prices, columns=("liquidatable",))
    except TypeError:
        raise NotThereError("not there: the mask alone") from None
    return lambda: run(case.prices, columns=("liquidatable",))


def wide(case: Packed) -> Callable[[], ac.Report]:
    """Return the check of a population that fits no lane."""
    lanes: Any = getattr(case.portfolio._core, "lane_count", 0)
    if lanes:
        raise NotThereError(f"not there: {lanes:,} accounts are still in the lanes")
    return check(case)


def memory(portfolio: ac.Portfolio) -> int:
    """Bytes that a portfolio holds.

    Raises
    ------
    NotThereError
        It does not say.
    """
    said: Any = getattr(portfolio, "memory", None)
    if callable(said):
        said = said()
    if isinstance(said, dict):
        said = said["total"] if "total" in said else sum(said.values())
    said = getattr(said, "total", said)
    if not isinstance(said, int):
        raise NotThereError("not there: Portfolio.memory")
    return said


def read(report: Any) -> Columns:
    """Columns of the core's answer."""
    if isinstance(report, dict):
        return report
    names = (*AMOUNTS, "status", "liquidatable")
    found = {name: getattr(report, name, None) for name in names}
    return {name: column for name, column in found.items() if column is not None}


def liquidatable(columns: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Who is liquidatable; everyone here holds something, so the bankrupt are."""
    said = columns.get("liquidatable")
    return np.asarray(columns["status"] >= 2) if said is None else np.asarray(said)


def judge(case: Unpacked, answer: Mapping[str, Any]) -> Verdict:
    """Compare an answer with the exact one, account by account.

    Integers must be equal. Floats are wrong where they are further off than their rounding
    explains; where it is only that, other decisions and other last digits are counted.
    """
    return compare(case.population.answer, answer)


def compare(exact: Columns, answer: Mapping[str, Any]) -> Verdict:
    """Compare an answer with the exact one; see `judge`."""
    count = len(exact["equity"])
    wrong = np.zeros(count, dtype=np.bool_)
    digits = np.zeros(count, dtype=np.bool_)
    is_float = any(np.asarray(answer[n]).dtype.kind == "f" for n in AMOUNTS if n in answer)
    room = np.zeros(count)
    if is_float or not set(AMOUNTS) & set(answer):
        largest = np.max([np.abs(exact[name]) for name in AMOUNTS], axis=0)
        room = FLOAT_QUANTA + FLOAT_RELATIVE * largest
    for name in AMOUNTS:
        if name in answer:
            differs = np.asarray(answer[name]) != exact[name]
            if name != "equity":
                digits |= differs
            wrong |= differs & (np.abs(answer[name] - exact[name]) > room)
    decisions = liquidatable(answer) != exact["liquidatable"]
    wrong |= decisions & (np.abs(exact["equity"] - exact["maintenance"]) > room)
    if "status" in answer:
        lines = [exact["initial"], exact["maintenance"], np.zeros(count, dtype=np.int64)]
        near = np.any([np.abs(exact["equity"] - line) <= room for line in lines], axis=0)
        wrong |= (np.asarray(answer["status"]) != exact["status"]) & ~(near & (room > 0))
    if not is_float and set(AMOUNTS) & set(answer):
        wrong |= decisions | digits
    return Verdict(count, int(wrong.sum()), int(decisions.sum()), int(digits.sum()))

"""Where floats decide otherwise or end in another digit, counted; and that the core never does.

Accounts whose equity is their maintenance requirement, or one quantum to either side of it;
population a; and population a a thousand times as large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contest import Difference, NotThereError, enter
from contestants import FOUR_OUTPUTS, TWO_THREADS
from packed import Packed, judge
from population import ON_THE_LINE, SIZE, on_the_line, population, thousandfold

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Recorder
    from population import Population

CONTESTANTS = (FOUR_OUTPUTS[0], TWO_THREADS[0], *FOUR_OUTPUTS[1:])
ACCOUNTS = min(SIZE, ON_THE_LINE)
MADE: dict[str, Callable[[], Population]] = {
    "on the line": lambda: on_the_line(ACCOUNTS, beside=(0,)),
    "one quantum off": lambda: on_the_line(ACCOUNTS, beside=(-1, 1)),
    "population a": lambda: population("a", ACCOUNTS),
    "1000x as large": lambda: thousandfold(population("a", ACCOUNTS)),
}


@pytest.mark.parametrize("where", MADE)
def test_decisions_and_last_digits(where: str, record: Recorder) -> None:
    packed = Packed(MADE[where]())
    differ = 0
    for contestant in CONTESTANTS:
        try:
            verdict = enter(contestant, packed, judge).verdict
        except NotThereError:
            continue
        record.differs(Difference(where, contestant.name, verdict))
        if contestant.name.startswith("core"):
            differ += verdict.wrong + verdict.decisions + verdict.digits
    what = f"decisions and last digits that differ, {where}"
    record(what, "exact answer", differ, at_most=0, unit=f"of {len(packed):,}")
    assert differ == 0

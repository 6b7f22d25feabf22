"""The formulas that a card may have parameters for: `Venue.formula`, `Account.formula`.

What each means stands in ``docs/spec/formulas.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aivora_core import _core
from aivora_core.errors import AivoraError

if TYPE_CHECKING:
    from aivora_core._core import Venue

__all__ = ["FORMULAS", "Formula", "unsaid"]

#: What stands for each kind of input where a formula is only asked whether the card knows it.
_WORDS: Final = {"closes": "long", "liquidity": "taker"}


@dataclass(frozen=True)
class Formula:
    """One formula.

    Attributes
    ----------
    name : str
        Its name.
    floor : str
        The floor that it belongs to.
    says : str
        What it answers.
    needs : tuple of str
        The inputs that it needs.
    may : tuple of str
        Those that it may have, or needs by what the card says.
    parameters : tuple of str
        Parameters of the card that may be given instead.
    """

    name: str
    floor: str
    says: str
    needs: tuple[str, ...]
    may: tuple[str, ...]
    parameters: tuple[str, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """All inputs that it knows."""
        return self.needs + self.may + self.parameters


#: Every formula by name, in order of the floors.
FORMULAS: Final[dict[str, Formula]] = {
    name: Formula(name, floor, says, *map(tuple, inputs))
    for name, floor, says, *inputs in _core._formulas()
}


def unsaid(venue: Venue) -> dict[str, str]:
    """Give the formulas that a card lacks a parameter for: which key is missing, by formula.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core import formulas
    >>> missing = formulas.unsaid(ac.Venue.load("dydx-v4"))
    >>> "limit_price" in missing, missing["liquidator_fee_rate"]
    (False, 'rules.step.liquidator_fee')
    """
    found = {}
    symbol = venue.instruments[0].symbol
    for formula in FORMULAS.values():
        inputs: dict[str, Any] = dict.fromkeys(formula.needs + formula.may, 1)
        inputs |= {key: word for key, word in _WORDS.items() if key in inputs}
        if "instrument" in inputs:
            inputs["instrument"] = symbol
        if "window" in inputs:
            windows = venue.rules.get("outflow", [{"window": "any"}])
            inputs["window"] = windows[0]["window"]
        try:
            venue.formula(formula.name, **inputs)
        except AivoraError as error:
            if error.code == "unsaid":
                found[formula.name] = str(error.field)
    return found

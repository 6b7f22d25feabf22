"""``aivora venues formula``: one figure, by the formula that a card has parameters for."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aivora_core import _core, formulas
from aivora_core.cli.answer import Answer
from aivora_core.render import table

if TYPE_CHECKING:
    import argparse
    from fractions import Fraction

__all__ = ["formula"]

#: Decimals of an answer that has no end as a decimal.
DIGITS = 18


def formula(a: argparse.Namespace) -> Answer:
    """A figure of a venue; without a name all formulas, and what the card lacks for them."""
    venue = _core.Venue.load(a.name)
    if a.formula is None:
        missing = formulas.unsaid(venue)
        rows = [
            (own.floor, own.name, ", ".join(own.needs), missing.get(own.name, ""))
            for own in formulas.FORMULAS.values()
        ]
        found = [
            vars(own) | {"unsaid": missing.get(own.name)} for own in formulas.FORMULAS.values()
        ]
        text = table(rows, ("floor", "formula", "needs", "the card lacks"), left=4)
        return Answer({"venue": venue.name, "formulas": found}, text)
    inputs: dict[str, Any] = {}
    for given in a.inputs:
        key, equals, value = given.partition("=")
        if not equals:
            limit = "must be KEY=VALUE, such as index=64000"
            raise _core._error("bad_input", "input", given, limit, None)
        if key in inputs:
            raise _core._error("duplicate_key", key, value, "is given twice", None)
        inputs[key] = value
    answer = venue.formula(a.formula, **inputs)
    own = formulas.FORMULAS[a.formula]
    shown = ", ".join(f"{key} = {value}" for key, value in inputs.items())
    lines = [
        f"{own.name} of {venue.name}: {own.says}",
        f"  {shown or 'no inputs'}",
        f"  = {_decimal(answer)}" + ("" if _ends(answer) else f"  (exactly {answer})"),
    ]
    data = {
        "venue": venue.name,
        "hash": venue.hash,
        "formula": own.name,
        "inputs": inputs,
        "answer": str(answer),
        "decimal": _decimal(answer),
    }
    return Answer(data, "\n".join(lines))


def _ends(value: Fraction) -> bool:
    """Whether it has an end as a decimal."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def _decimal(value: Fraction) -> str:
    """Write it as a decimal; one without an end is cut."""
    digits = 0
    while digits < DIGITS and (value * 10**digits).denominator != 1:
        digits += 1
    whole = abs(value.numerator) * 10**digits // value.denominator
    sign = "-" if value < 0 else ""
    return sign + f"{Decimal(whole).scaleb(-digits):f}"

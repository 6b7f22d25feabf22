"""Explanations: a pool's row, line by line, with the numbers put in."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aivora_core._core import Instrument, Venue
    from aivora_core.audit import oracle

__all__ = ["STATUSES", "Explanation", "amount", "ratio"]

STATUSES = ("safe", "below_initial", "liquidatable", "bankrupt")
_WIDE = Context(prec=120)
_LEFT = 60


def amount(quanta: int, quantum: Decimal) -> str:
    """Quanta as text in units, exact.

    Examples
    --------
    >>> from decimal import Decimal
    >>> from aivora_core.explain import amount
    >>> amount(-12500000, Decimal("0.000001"))
    '-12.5'
    """
    value = _WIDE.multiply(Decimal(quanta), quantum).normalize(_WIDE)
    return f"{value:f}" if value else "0"


def ratio(num: int, den: int) -> str:
    """A fraction as text: a decimal where it ends, else ``num/den``.

    Examples
    --------
    >>> from aivora_core.explain import ratio
    >>> ratio(5, 1000), ratio(2, 150)
    ('0.005', '1/75')
    """
    value = Fraction(num, den)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    text = _WIDE.divide(Decimal(value.numerator), Decimal(value.denominator))
    return f"{text.normalize(_WIDE):f}"


class Explanation:
    """Why a pool's row is what it is. Made by ``pf["alice"].explain(prices)``.

    Print it for people; ``to_dict()`` for programs; ``verify()`` recomputes it with the shipped
    oracle, which shares no code with the core.

    Attributes
    ----------
    venue : Venue
        The venue whose card the rules come from.

    Examples
    --------
    >>> import aivora_core as ac
    >>> venue = ac.Venue.load("demo")
    >>> pf = ac.Portfolio.from_tables(
    ...     venue,
    ...     positions=[
    ...         {"account": "alice", "instrument": "BTC", "quantity": "1", "entry": "64000"},
    ...     ],
    ...     collateral=[{"account": "alice", "amount": "700"}],
    ... )
    >>> why = pf["alice"].explain(ac.Prices(venue, mark={"BTC": "63500"}))
    >>> print(why.text())
    alice/cross on demo: LIQUIDATABLE, short of maintenance by 67.5 USDT
    <BLANKLINE>
      BTC net +1, cost 64000, at mark 63500
        pnl          1 x 63500 - 64000                           = -500
        maintenance  ceil(63500 x 0.005 - 50) [bracket 2]        = 267.5
        initial      ceil(63500 x 0.01) [bracket 2]              = 635
    <BLANKLINE>
      collateral                                                 = 700
      equity         700 + (-500)                                = 200
      maintenance    267.5                                       = 267.5
    <BLANKLINE>
      equity < maintenance (and maintenance > 0)? yes: the check fires
      requirements are rounded up to whole quanta of 0.000001 USDT
    """

    __slots__ = ("_raw", "venue")

    def __init__(self, venue: Venue, raw: dict[str, Any]) -> None:
        self.venue = venue
        self._raw = raw

    @property
    def raw(self) -> dict[str, Any]:
        """The trace in whole units: quanta, lots, ticks and exact numerators."""
        return self._raw

    @property
    def status(self) -> str:
        """The verdict: safe, below_initial, liquidatable or bankrupt."""
        return str(self._raw["status"])

    @property
    def liquidatable(self) -> bool:
        """Whether the liquidation check fires."""
        return bool(self._raw["liquidatable"])

    def _amount(self, quanta: int, asset: str | None = None) -> str:
        """An amount of an asset, or of the one the pool is checked in."""
        return amount(quanta, self.venue.assets[asset or self._raw["asset"]]["quantum"])

    def to_dict(self) -> dict[str, Any]:
        """The whole trace; amounts, prices and sizes as text in units, rates as exact text."""
        raw = self._raw
        found: dict[str, Any] = {
            "schema": "aivora-explanation/1",
            "venue": self.venue.name,
            "card": raw["card"],
            "prices": raw["prices"],
        }
        found |= {name: raw[name] for name in ("account", "pool", "kind", "mode", "asset")}
        for name in ("equity", "initial", "maintenance", "notional"):
            found[name] = self._amount(raw[name])
        found["buffer"] = self._amount(raw["equity"] - raw["maintenance"])
        for name in ("status", "liquidatable", "ratio_ppm", "distance_ppm"):
            found[name] = raw[name]
        found["trigger"] = self.venue.rules["trigger"]
        found["assets"] = [self._asset(row) for row in raw["assets"]]
        found["legs"] = [self._leg(leg) for leg in raw["legs"]]
        return found

    def _asset(self, row: dict[str, Any]) -> dict[str, Any]:
        asset = row["asset"]
        found: dict[str, Any] = {"asset": asset, "price": None}
        if row["price_ticks"] is not None:
            found["price"] = amount(row["price_ticks"], self.venue.assets[asset]["price_tick"])
        for name in ("balance", "interest", "pnl", "accrued", "equity", "initial", "maintenance"):
            found[name] = self._amount(row[name], asset)
        for name in ("value", "initial_value", "maintenance_value"):
            found[name] = self._amount(row[name])
        return found

    def _leg(self, leg: dict[str, Any]) -> dict[str, Any]:
        instrument = self.venue[leg["instrument"]]
        asset = instrument.settlement
        row: dict[str, Any] = {"instrument": leg["instrument"], "leg": leg["leg"], "asset": asset}
        row["quantity"] = _size(leg["lots"], instrument)
        row["mark"] = amount(leg["mark_ticks"], instrument.mark_tick)
        for name in ("cost", "accrued", "value", "pnl", "notional", "maintenance_value"):
            row[name] = self._amount(leg[name], asset)
        row["bracket"] = leg["bracket"] + 1
        row["maintenance_rate"] = ratio(leg["maintenance_num"], leg["den"])
        row["deduction"] = self._deduction(leg)
        row["fee_rate"] = ratio(leg["fee_num"], leg["den"])
        row["fee"] = self._amount(leg["fee"], asset)
        row["maintenance"] = self._amount(leg["maintenance"], asset)
        for name in ("bids", "asks", "exposure"):
            row[name] = _size(leg[name], instrument)
        row["initial_value"] = self._amount(leg["initial_value"], asset)
        row["initial_bracket"] = leg["initial_bracket"] + 1
        row["initial_rate"] = ratio(leg["initial_num"], leg["initial_den"])
        row["initial_rate_from"] = "leverage" if leg["initial_chosen"] else "tiers"
        row["initial"] = self._amount(leg["initial"], asset)
        return row

    def _deduction(self, leg: dict[str, Any]) -> str:
        quantum = Fraction(self.venue[leg["instrument"]].quantum)
        quanta = Fraction(leg["deduction_num"], leg["den"]) * quantum
        return ratio(quanta.numerator, quanta.denominator)

    def text(self) -> str:
        """The explanation for people, at most 80 columns where the numbers allow it."""
        raw = self.to_dict()
        unit, buffer = raw["asset"], self._raw["equity"] - self._raw["maintenance"]
        verdict = str(raw["status"]).replace("_", " ").upper()
        gap = self._amount(abs(buffer))
        side = "short of maintenance by" if buffer < 0 else "above maintenance by"
        name = f"{raw['account']}/{raw['pool']}"
        lines = [f"{name} on {self.venue.name}: {verdict}, {side} {gap} {unit}", ""]
        for leg in raw["legs"]:
            lines += [*self._leg_lines(leg), ""]
        for asset in raw["assets"]:
            lines += self._asset_lines(asset, raw)
        values = " + ".join(row["value"] for row in raw["assets"]) or "nothing"
        total = " + ".join(row["maintenance_value"] for row in raw["assets"]) or "no legs"
        if raw["mode"] == "multi":
            lines += ["", _line("equity", values, raw["equity"], indent=2)]
        else:
            total = " + ".join(leg["maintenance"] for leg in raw["legs"]) or "no legs"
        lines.append(_line("maintenance", total, raw["maintenance"], indent=2))
        sign = "<" if raw["trigger"] == "strict" else "<="
        fires = "yes: the check fires" if raw["liquidatable"] else "no"
        quantum = self.venue.assets[unit]["quantum"]
        lines += [
            "",
            f"  equity {sign} maintenance (and maintenance > 0)? {fires}",
            f"  requirements are rounded up to whole quanta of {quantum:f} {unit}",
        ]
        return "\n".join(lines)

    def _asset_lines(self, asset: dict[str, Any], raw: dict[str, Any]) -> list[str]:
        """What the pool holds in one asset, and what that counts."""
        legs = [leg for leg in raw["legs"] if leg["asset"] == asset["asset"]]
        terms = [asset["balance"], *(f"({leg['pnl']})" for leg in legs)]
        formula = " + ".join(terms)
        formula += "".join(f" - ({leg['accrued']})" for leg in legs if leg["accrued"] != "0")
        if asset["interest"] != "0":
            formula += f" - {asset['interest']} (interest)"
        if raw["mode"] == "single":
            return [
                _line("collateral", "", asset["balance"], indent=2),
                _line("equity", formula, raw["equity"], indent=2),
            ]
        name = asset["asset"]
        lines = [_line(name, formula, asset["equity"], indent=2)]
        if asset["price"] is None:
            return lines
        debt = asset["equity"].startswith("-")
        counted = "as a debt" if debt else "less its haircut"
        lines.append(_line("counts", f"at {asset['price']}, {counted}, down", asset["value"]))
        if asset["maintenance"] != "0":
            formula = f"ceil({asset['maintenance']} x {asset['price']})"
            lines.append(_line("requires", formula, asset["maintenance_value"]))
        return lines

    def _leg_lines(self, leg: dict[str, Any]) -> list[str]:
        sign = "" if leg["quantity"].startswith("-") else "+"
        head = f"  {leg['instrument']} {leg['leg']} {sign}{leg['quantity']}"
        lines = [f"{head}, cost {leg['cost']}, at mark {leg['mark']}"]
        of = self.venue[leg["instrument"]]
        factor = "" if of.multiplier == 1 else f" x {of.multiplier:f}"
        value = f"{leg['quantity']} x {leg['mark']}{factor}"
        if of.kind == "inverse":
            face = leg["quantity"] + factor
            face = face[1:] if face.startswith("-") else f"-{face}"
            value = f"floor({face} / {leg['mark']})"
        if of.value_rounding == "per_contract":
            value = f"{leg['value']} (by contract)"
        cost = leg["cost"]
        pnl = f"{value} + {cost[1:]}" if cost.startswith("-") else f"{value} - {cost}"
        lines.append(_line("pnl", pnl, leg["pnl"]))
        formula = f"{leg['maintenance_value']} x {leg['maintenance_rate']}"
        if leg["deduction"] != "0":
            formula += f" - {leg['deduction']}"
        if leg["fee_rate"] != "0":
            formula += f" + {leg['notional']} x {leg['fee_rate']} (fee)"
        fee = "" if leg["fee"] == "0" else f" + {leg['fee']} (fee)"
        bracket = f" [bracket {leg['bracket']}]"
        lines.append(_line("maintenance", f"ceil({formula}){fee}{bracket}", leg["maintenance"]))
        source = f" [bracket {leg['initial_bracket']}]"
        if leg["initial_rate_from"] == "leverage":
            source = " [chosen leverage]"
        formula = f"ceil({leg['initial_value']} x {leg['initial_rate']}){fee}{source}"
        lines.append(_line("initial", formula, leg["initial"]))
        if leg["accrued"] != "0":
            lines.append(_line("accrued", "funding and fees owed", leg["accrued"]))
        return lines

    def verify(self) -> bool:
        """Recompute the trace with the shipped oracle; it must agree bit for bit.

        Returns
        -------
        bool
            True.

        Raises
        ------
        InvariantBroken
            Naming the first number that differs: a defect of the core or of the oracle.
        """
        from aivora_core import _core
        from aivora_core.audit import oracle

        raw = self._raw
        card, pool, marks, assets = self.oracle_inputs()
        found = oracle.assess(card, pool, marks, assets)
        rows = {row.asset: row for row in found.assets}
        named = {row["asset"] for row in raw["assets"]}
        checked_in = {card.rules.valuation} if raw["mode"] == "multi" else named or {raw["asset"]}
        pairs: list[tuple[str, Any, Any]] = [("asset", {raw["asset"]}, checked_in)]
        pairs += [(name, raw[name], getattr(found, name)) for name in _SUMS]
        pairs += [("status", raw["status"], STATUSES[found.status]), ("assets", named, set(rows))]
        for mine, leg in zip(raw["legs"], found.legs, strict=True):
            pairs += _leg_pairs(mine, leg, card)
        for mine in raw["assets"]:
            of = rows[mine["asset"]]
            pairs += [(f"{of.asset} {name}", mine[name], getattr(of, name)) for name in _ASSET]
        for name, mine, theirs in pairs:
            if mine != theirs:
                limit = f"the oracle finds {theirs}"
                raise _core._error("invariant_broken", name, str(mine), limit, None)
        return True

    def oracle_inputs(
        self,
    ) -> tuple[oracle.Card, oracle.Pool, dict[str, int], dict[str, int]]:
        """Give what the shipped oracle takes to recompute it: card, pool, marks, prices of assets.

        Returns
        -------
        tuple
            From the trace and the text of the card alone.
        """
        from aivora_core.audit import oracle

        raw = self._raw
        legs = tuple(
            oracle.Leg(
                row["instrument"],
                row["leg"],
                row["lots"],
                row["cost"],
                row["accrued"],
                row["bids"],
                row["asks"],
                None if row["leverage_rate"] is None else 1 / Fraction(*row["leverage_rate"]),
            )
            for row in raw["legs"]
        )
        card = oracle.Card.from_tree(_tree(self.venue.text))
        balances = tuple(
            oracle.Balance(row["asset"], row["balance"], row["interest"]) for row in raw["assets"]
        )
        account, name, kind = raw["account"], raw["pool"], raw["kind"]
        pool = oracle.Pool(account, name, kind, raw["mode"], raw["asset"], balances, legs)
        marks = {row["instrument"]: row["mark_ticks"] for row in raw["legs"]}
        assets = {
            row["asset"]: row["price_ticks"]
            for row in raw["assets"]
            if row["price_ticks"] is not None
        }
        return card, pool, marks, assets

    def _repr_html_(self) -> str:
        """Show the text in a notebook."""
        import html

        return f"<pre>{html.escape(self.text())}</pre>"

    def __str__(self) -> str:
        """Give the text."""
        return self.text()

    def __repr__(self) -> str:
        """Name the pool and the verdict."""
        return f"<Explanation {self._raw['account']}/{self._raw['pool']}: {self.status}>"

    def __eq__(self, other: object) -> bool:
        """Equal where card and trace are."""
        if not isinstance(other, Explanation):
            return NotImplemented
        return self.venue == other.venue and self._raw == other._raw

    def __hash__(self) -> int:
        """Hash the key and the sums."""
        raw = self._raw
        return hash((raw["account"], raw["pool"], raw["equity"], raw["maintenance"], raw["prices"]))

    def __reduce__(self) -> tuple[type[Explanation], tuple[Venue, dict[str, Any]]]:
        """Pickle through the constructor."""
        return Explanation, (self.venue, self._raw)


_SHOWN = ("notional", "ratio_ppm", "distance_ppm")
_SUMS = ("equity", "initial", "maintenance", "liquidatable", *_SHOWN)
_IN_ASSET = ("pnl", "accrued", "equity", "initial", "maintenance", "notional")
_ASSET = (*_IN_ASSET, "value", "initial_value", "maintenance_value", "notional_value")
_REQUIREMENTS = ("maintenance_value", "maintenance", "initial_value", "initial", "fee")
_STEPS = ("value", "pnl", "notional", "exposure", *_REQUIREMENTS)


def _leg_pairs(
    row: dict[str, Any], leg: oracle.LegAssessment, card: oracle.Card
) -> list[tuple[str, Any, Any]]:
    """Each step of a leg: its name, what the trace says and what the oracle finds."""
    at = f"{row['instrument']} {row['leg']}"
    fee: Fraction | int | None = 0
    if card.rules.closing_fee == "mark":
        fee = card.instruments[row["instrument"]].taker_fee
    pairs: list[tuple[str, Any, Any]] = [(name, row[name], getattr(leg, name)) for name in _STEPS]
    den, initial_den = row["den"], row["initial_den"]
    pairs += [
        ("maintenance_rate", Fraction(row["maintenance_num"], den), leg.maintenance_rate),
        ("fee_rate", Fraction(row["fee_num"], den), fee),
        ("deduction", Fraction(row["deduction_num"], den), leg.deduction),
        ("initial_rate", Fraction(row["initial_num"], initial_den), leg.initial_rate),
        ("bracket", row["bracket"], leg.maintenance_bracket or 0),
        ("initial_bracket", row["initial_bracket"], leg.initial_bracket or 0),
    ]
    return [(f"{at} {name}", mine, theirs) for name, mine, theirs in pairs]


def _size(lots: int, instrument: Instrument) -> str:
    return amount(lots, instrument.lot)


def _line(label: str, formula: str, value: str, indent: int = 4) -> str:
    """One step: what it is, how, and what comes out, the last on a line of its own if need be."""
    import textwrap

    left = f"{' ' * indent}{label:<{17 - indent}}{formula}"
    if len(left) <= _LEFT:
        return f"{left:<{_LEFT}} = {value}"
    wrapped = textwrap.wrap(left, 79, initial_indent="", subsequent_indent=" " * 17)
    wrapped[0] = " " * indent + wrapped[0].lstrip()
    return "\n".join([*wrapped, f"{'':<{_LEFT}} = {value}"])


def _tree(text: str) -> dict[str, Any]:
    """The tree of a card's text, TOML or JSON."""
    import json
    import tomllib

    if text.lstrip().startswith("{"):
        tree: dict[str, Any] = json.loads(text)
        return tree
    return tomllib.loads(text, parse_float=Decimal)

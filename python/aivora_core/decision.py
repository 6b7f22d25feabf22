"""Decisions: why something may be done, or may not, and what would turn the answer."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from aivora_core import _core
from aivora_core.explain import Explanation, amount, ratio

if TYPE_CHECKING:
    from decimal import Decimal

    from aivora_core._core import Instrument, Venue
    from aivora_core.audit.deciding import Question

__all__ = ["Decision"]


class Decision:
    """Why something may be done, or may not: an order, money that leaves, a trade, a liquidation.

    Made by `Engine.decide` and `Engine.decide_liquidation`; true where it may be done, or where
    the pool is safe. Print it for people, ``to_dict()`` for programs; ``verify()`` recomputes it
    with the shipped oracle: the pools, the figures, the verdict, and each change that turns it.

    Attributes
    ----------
    venue : Venue
        The card that it was decided by.
    raw : dict
        The record in whole numbers: what was asked, rules with value, limit and slack, the pools
        line by line, what would turn it (``turned``, where the answer is the other one, and
        ``stays`` beside it, where it is not), hashes of card and policy, how many events had been
        taken.

    Examples
    --------
    >>> import aivora_core as ac
    >>> eng = ac.Engine("demo")
    >>> gateway = eng.source(1)
    >>> for event in (gateway.mark("BTC", 64000, time=0), gateway.pool_open("alice", time=0)):
    ...     assert eng.apply(event)
    >>> assert eng.apply(gateway.deposit("alice", "USDT", 700, time=0))
    >>> why = eng.decide(gateway.order_open(1, "alice", "BTC", "buy", 1, limit=64100, time=1))
    >>> print(why.text())
    buy 1 BTC at most 64100 for alice/cross on demo: REFUSED by initial_margin
    <BLANKLINE>
      equity                                                     = 700
      kept for open orders                                       = 0
      kept for this one  64100 - 64000 + ceil(64100 x 0.0005)    = 132.05
      free               700 - 0 - 132.05                        = 567.95
      initial            with the order open                     = 640
    <BLANKLINE>
      free >= initial? no: short of it by 72.05
      it would pass
        with 72.05 more in alice/cross
        with 0.906 at most
        at a mark of BTC of 64072.78 or more
    >>> why.verify()
    True
    """

    __slots__ = ("raw", "venue")

    def __init__(self, venue: Venue, raw: dict[str, Any]) -> None:
        self.venue = venue
        self.raw = raw

    def __bool__(self) -> bool:
        """Whether it may be done."""
        return self.passes

    def __repr__(self) -> str:
        """Name the verdict and what decides."""
        return f"<Decision {self.raw['decision']} {self._verdict()}: {self.binding}>"

    def __str__(self) -> str:
        """Give the text."""
        return self.text()

    @property
    def passes(self) -> bool:
        """Whether it may be done; of a liquidation, whether the pool is safe."""
        return bool(self.raw["passes"])

    @property
    def binding(self) -> str:
        """The rule that decides."""
        return str(self.raw["binding"])

    @property
    def rules(self) -> list[dict[str, Any]]:
        """Every rule that was looked at: value, limit, slack, whether it holds."""
        return list(self.raw["rules"])

    @property
    def turns(self) -> list[dict[str, Any]]:
        """The smallest changes that would turn it, each alone.

        ``change`` is ``lots``, ``amount`` (quanta), ``deposit`` (quanta of the pool's asset),
        ``mark`` (ticks) or ``close`` (lots of a leg), ``of`` what; at ``turned`` the answer is the
        other one, at ``stays`` it is not.
        """
        return list(self.raw["turns"])

    def turn(self, change: str, of: str | None = None) -> list[int]:
        """Give the figures at which a change turns it.

        Parameters
        ----------
        change : str
            As in `turns`.
        of : str, optional
            Only of this instrument or pool.

        Returns
        -------
        list of int
            None, one, or two (a mark below and one above).
        """
        rows = (row for row in self.turns if row["change"] == change)
        return [row["turned"] for row in rows if of is None or row["of"] == of]

    @property
    def explanations(self) -> dict[str, Explanation]:
        """The pools line by line, by what they are here; of an order, with the order open."""
        pools = self.raw["pools"]
        return {row["role"]: Explanation(self.venue, row["explanation"]) for row in pools}

    def to_dict(self) -> dict[str, Any]:
        """The whole record, for ``--json`` and logs."""
        found = self.explanations
        pools = [row | {"explanation": found[row["role"]].to_dict()} for row in self.raw["pools"]]
        return {"schema": "aivora-decision/1"} | self.raw | {"pools": pools}

    # --- text ----------------------------------------------------------------------------------

    def _verdict(self) -> str:
        if self.raw["decision"] == "liquidation":
            return "safe" if self else "LIQUIDATABLE"
        return "passes" if self else "refused"

    def _instrument(self, symbol: str | None = None) -> Instrument:
        return self.venue[symbol or self.raw["asked"]["instrument"]]

    def _amount(self, quanta: int, asset: str | None = None) -> str:
        name = asset or self.raw["pools"][0]["explanation"]["asset"]
        return amount(quanta, self.venue.assets[name]["quantum"])

    def _price(self, mark_ticks: int, symbol: str | None = None) -> str:
        return _units(mark_ticks, self._instrument(symbol).mark_tick)

    def text(self) -> str:
        """Give the record for people: the verdict, the numbers put in, what would turn it.

        Returns
        -------
        str
            Some lines.
        """
        verdict = self._verdict()
        if verdict == "refused":
            verdict = f"REFUSED by {self.binding}"
        head = f"{self._head()} on {self.venue.name}: {verdict}"
        failing = [rule["refused"] for rule in self.rules if rule["refused"]]
        if self.raw["figures"] is None or failing:
            return "\n".join([head, "", *(f"  {why}" for why in failing)])
        rows = self._rows()
        left = [f"  {name:<18} {put}".rstrip() for name, put, _ in rows]
        width = max(60, *map(len, left))
        shown = [f"{text:<{width}} = {row[2]}" for text, row in zip(left, rows, strict=True)]
        return "\n".join([head, "", *shown, *self._rule_lines(), *self._turn_lines()])

    def _head(self) -> str:
        asked, decision = self.raw["asked"], self.raw["decision"]
        if decision == "order_open":
            word = {"buy": "at most", "sell": "at least"}[asked["side"]]
            price = "at market" if asked["limit"] is None else f"{word} {asked['limit']}"
            size = f"{asked['quantity']} {asked['instrument']}"
            return f"{asked['side']} {size} {price} for {asked['pool']}"
        if decision == "fill":
            what = f"{asked['quantity']} {asked['instrument']} at {asked['price']}"
            return f"{asked['buyer']} buys {what} from {asked['seller']}"
        if decision == "liquidation":
            return str(asked["pool"])
        wanted = f"{asked['amount']} {asked['asset']}"
        if decision == "transfer":
            return f"move {wanted} from {asked['from']} to {asked['to']}"
        return f"withdraw {wanted} from {asked['pool']}"

    def _rows(self) -> list[tuple[str, str, str]]:
        """Give name, numbers put in, and result of each line."""
        decision, figures = self.raw["decision"], self.raw["figures"]
        if decision == "order_open":
            return self._order_rows(figures)
        if decision == "fill":
            return [row for at in (0, 1) for row in self._side_rows(at, figures["sides"][at])]
        if decision == "liquidation":
            names = ("equity", "maintenance", "initial")
            return [(name, "", self._amount(figures[name])) for name in names]
        asset, kept = figures["asset"], self._amount(self.raw["pools"][0]["reserved"])
        back = f"kept back by {figures['binding']}"
        return [
            ("balance", "less the interest owed", self._amount(figures["balance"], asset)),
            ("kept for orders", "", kept),
            ("equity", "that counts, less that", self._amount(figures["equity"])),
            ("initial", "must stay covered", self._amount(figures["initial"])),
            ("may leave", back, self._amount(figures["most"], asset)),
        ]

    def _order_rows(self, figures: dict[str, Any]) -> list[tuple[str, str, str]]:
        names = ("equity", "reserved", "reserve", "free", "initial")
        shown = {name: self._amount(figures[name]) for name in names}
        reduces = figures["reduces"]
        kept = "it only takes risk away" if reduces else self._kept(figures)
        free = f"{shown['equity']} - {shown['reserved']} - {shown['reserve']}"
        return [
            ("equity", "", shown["equity"]),
            ("kept for open orders", "", shown["reserved"]),
            ("kept for this one", kept, shown["reserve"]),
            ("free", free, shown["free"]),
            ("initial", "with the order open", shown["initial"]),
        ]

    def _kept(self, figures: dict[str, Any]) -> str:
        """Give the reserve of an order with its numbers put in."""
        fee, lots = ratio(*figures["taker_fee"]), figures["lots"]
        legs = self.raw["pools"][0]["explanation"]["legs"]
        symbol = self.raw["asked"]["instrument"]
        mark = next(leg["mark_ticks"] for leg in legs if leg["instrument"] == symbol)
        size = _units(abs(lots), self._instrument().lot)
        worst, now = self._price(figures["worst_mark_ticks"]), self._price(mark)
        gap = f"{worst} - {now}" if lots > 0 else f"{now} - {worst}"
        of = f"{size} x " if size != "1" else ""
        loss = f"{of}({gap})" if of else gap
        adverse = (Fraction(worst) - Fraction(now)) * lots > 0
        own = loss if adverse else f"max(0, {loss})"
        return f"{own} + ceil({of}{worst} x {fee})"

    def _side_rows(self, at: int, side: dict[str, Any]) -> list[tuple[str, str, str]]:
        pool, role = self.raw["pools"][at], ("buyer", "seller")[at]
        asset, settles = pool["explanation"]["asset"], self._instrument().settlement
        rows = [
            (f"{role}: brings in", "", self._amount(side["realised"], settles)),
            (f"{role}: fee", "", self._amount(side["fee"], settles)),
        ]
        if "after" in side:
            equity, initial, kept, free = (
                self._amount(quanta, asset)
                for quanta in (
                    side["after"]["equity"],
                    side["after"]["initial"],
                    pool["reserved"],
                    side["free"],
                )
            )
            note = "no riskier than before" if side["safer"] else ""
            rows += [
                (f"{role}: free", f"{equity} - {kept}", free),
                (f"{role}: initial", note, initial),
            ]
        return rows

    def _rule_lines(self) -> list[str]:
        found = [""]
        for rule in self.rules:
            if rule["rule"] in _QUESTIONS:
                asset = self.raw["figures"].get("asset")
                if rule["rule"].endswith("_margin") and rule["rule"] != "maintenance_margin":
                    asset = None
                slack = self._amount(abs(rule["slack"]), asset)
                word = (
                    f"yes, with {slack} to spare"
                    if rule["holds"]
                    else f"no: short of it by {slack}"
                )
                found.append(f"  {_QUESTIONS[rule['rule']]}? {word}")
        return found if len(found) > 1 else []

    def _turn_lines(self) -> list[str]:
        if not self.turns:
            return []
        if self.raw["decision"] == "liquidation":
            head = "it would be liquidatable" if self else "it would be safe"
        else:
            head = "it would not pass" if self else "it would pass"
        return [f"  {head}", *(f"    {self._turn_line(turn)}" for turn in self.turns)]

    def _turn_line(self, turn: dict[str, Any]) -> str:
        change, of, turned = turn["change"], turn["of"], turn["turned"]
        up = turned > turn["stays"]
        if change == "mark":
            price = self._price(turned, of)
            return f"at a mark of {of} of {price} or {'more' if up else 'less'}"
        if change == "deposit":
            return f"with {self._amount(abs(turned))} {'more' if turned > 0 else 'less'} in {of}"
        if change == "amount":
            size = self._amount(turned, self.raw["figures"]["asset"])
        else:
            size = _units(turned, self._instrument(of).lot)
        if change == "close":
            return f"with {size} {of} ({turn['leg']}) closed at the mark"
        return f"with {size} {'or more' if up else 'at most'}"

    # --- verification --------------------------------------------------------------------------

    def verify(self) -> bool:
        """Recompute the record with the shipped oracle; it must agree bit for bit.

        Returns
        -------
        bool
            True.

        Raises
        ------
        InvariantBroken
            Naming the first number that differs.
        """
        rules = self.rules
        failing = [rule["rule"] for rule in rules if rule["value"] < rule["limit"]]
        pairs: list[tuple[str, Any, Any]] = [
            ("passes", self.passes, not failing),
            ("binding", self.binding, (failing or [rules[-1]["rule"]])[0]),
        ]
        for explained in self.explanations.values():
            explained.verify()
        if self.raw["figures"] is not None:
            pairs += self._pairs(self._question())
        for name, mine, theirs in pairs:
            if mine != theirs:
                limit = f"the oracle finds {theirs}"
                raise _core._error("invariant_broken", name, str(mine), limit, None)
        return True

    def _question(self) -> Question:
        from aivora_core.audit.deciding import QUESTIONS, Seen

        seen, figures = [], self.raw["figures"]
        for row, explained in zip(self.raw["pools"], self.explanations.values(), strict=True):
            card, pool, marks, assets = explained.oracle_inputs()
            marks, assets = marks | figures.get("marks", {}), assets | figures.get("assets", {})
            seen.append(Seen(row["pool"], pool, row["reserved"], marks, assets))
        return QUESTIONS[self.raw["decision"]](card, self.raw, seen)

    def _pairs(self, question: Question) -> list[tuple[str, Any, Any]]:
        figures = self.raw["figures"]
        pairs = [(name, figures[name], found) for name, found in question.figures().items()]
        # Rules that are no matter of amounts (a halt, a lock) are taken as told.
        amounts = all(rule["holds"] for rule in self.rules if rule["rule"] in _QUESTIONS)
        passes = question.passes()
        pairs.append(("the verdict", amounts, passes))
        for turn in self.turns:
            name, turned, stays = turn["change"], turn["turned"], turn["stays"]
            pairs.append((f"the step of {name}", 1, abs(turned - stays)))
            sides = [question.passes(turn, value) for value in (turned, stays)]
            pairs.append((f"{name} {turned} and {stays}", [not passes, passes], sides))
        return pairs


# Rules about amounts, as questions.
_QUESTIONS = {
    "initial_margin": "free >= initial",
    "withdrawable": "may leave >= asked for",
    "buyer_margin": "buyer: free >= initial",
    "seller_margin": "seller: free >= initial",
    "maintenance_margin": "equity >= what it must be",
}


def _units(count: int, unit: Decimal) -> str:
    return amount(count, unit)

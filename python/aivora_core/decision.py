"""Decisions: why an order may be opened, or may not, and what would turn the answer."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from aivora_core import _core
from aivora_core.explain import Explanation, amount, ratio

if TYPE_CHECKING:
    from decimal import Decimal

    from aivora_core._core import Instrument, Venue
    from aivora_core.audit import oracle

__all__ = ["Decision"]


class Decision:
    """Why an order may be opened, or may not. Made by `Engine.decide`; true where it may.

    Print it for people, ``to_dict()`` for programs; ``verify()`` recomputes it with the shipped
    oracle: the margin, what is kept for the order, the verdict, and each change that turns it.

    Attributes
    ----------
    venue : Venue
        The card that it was decided by.
    raw : dict
        The record in whole numbers: order, rules with value, limit and slack, the pool line by
        line, what would turn it, hashes of card and policy, how many events had been taken.

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
      it would pass with at most 0.906, or with a deposit of 72.05,
      or at a mark of 64072.78 or more
    >>> why.verify()
    True
    """

    __slots__ = ("raw", "venue")

    def __init__(self, venue: Venue, raw: dict[str, Any]) -> None:
        self.venue = venue
        self.raw = raw

    def __bool__(self) -> bool:
        """Whether the order may be opened."""
        return bool(self.raw["passes"])

    def __repr__(self) -> str:
        """Name the verdict and what decides."""
        verdict = "passes" if self else "refused"
        return f"<Decision {verdict}: {self.raw['binding']}>"

    def __str__(self) -> str:
        """Give the text."""
        return self.text()

    @property
    def passes(self) -> bool:
        """Whether the order may be opened."""
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
    def explanation(self) -> Explanation | None:
        """The pool with the order open, line by line; None where it is no order to open."""
        found = self.raw["pool"]
        return None if found is None else Explanation(self.venue, found)

    def to_dict(self) -> dict[str, Any]:
        """The whole record, for ``--json`` and logs."""
        explained = self.explanation
        pool = None if explained is None else explained.to_dict()
        return {"schema": "aivora-decision/0"} | self.raw | {"pool": pool}

    # --- text ----------------------------------------------------------------------------------

    @property
    def _instrument(self) -> Instrument:
        return self.venue[self.raw["order"]["instrument"]]

    def _amount(self, quanta: int) -> str:
        return amount(quanta, self.venue.assets[self.raw["pool"]["asset"]]["quantum"])

    def _price(self, mark_ticks: int) -> str:
        return _units(mark_ticks, self._instrument.mark_tick)

    def text(self) -> str:
        """Give the record for people: the verdict, the numbers put in, what would turn it.

        Returns
        -------
        str
            Some lines.
        """
        order = self.raw["order"]
        word = {"buy": "at most", "sell": "at least"}[order["side"]]
        price = "at market" if order["limit"] is None else f"{word} {order['limit']}"
        name = f"{order['side']} {order['quantity']} {order['instrument']} {price}"
        verdict = "passes" if self else f"REFUSED by {self.binding}"
        lines = [f"{name} for {order['pool']} on {self.venue.name}: {verdict}", ""]
        check = self.raw["check"]
        if check is None:
            failing = [rule for rule in self.rules if not rule["holds"]]
            return "\n".join([*lines, *(f"  {rule['refused']}" for rule in failing)])
        lines += self._margin_lines(check)
        return "\n".join([*lines, *self._turn_lines(check)])

    def _margin_lines(self, check: dict[str, Any]) -> list[str]:
        shown = {name: self._amount(check[name]) for name in _SHOWN}
        if check["reduces"]:
            return ["  it only takes risk away: nothing is required for it"]
        fee = ratio(*self.raw["taker_fee"])
        lots = abs(self.raw["lots"])
        size = _units(lots, self._instrument.lot)
        worst, now = self._price(self.raw["worst_mark_ticks"]), self._price(self._mark)
        gap = f"{worst} - {now}" if self.raw["lots"] > 0 else f"{now} - {worst}"
        of = f"{size} x " if size != "1" else ""
        loss = f"{of}({gap})" if of else gap
        adverse = (Fraction(worst) - Fraction(now)) * self.raw["lots"] > 0
        own = loss if adverse else f"max(0, {loss})"
        kept = f"{own} + ceil({of}{worst} x {fee})"
        rows = [
            ("equity", "", shown["equity"]),
            ("kept for open orders", "", shown["reserved"]),
            ("kept for this one", kept, shown["reserve"]),
            (
                "free",
                f"{shown['equity']} - {shown['reserved']} - {shown['reserve']}",
                shown["free"],
            ),
            ("initial", "with the order open", shown["initial"]),
        ]
        left = [f"  {head:<18} {put}".rstrip() for head, put, _ in rows]
        return [f"{text:<60} = {row[2]}" for text, row in zip(left, rows, strict=True)]

    def _turn_lines(self, check: dict[str, Any]) -> list[str]:
        if check["reduces"] or self.raw["turn_deposit"] is None:
            return []
        slack = self._amount(abs(self.raw["turn_deposit"]))
        word = f"yes, with {slack} to spare" if self else f"no: short of it by {slack}"
        lines = ["", f"  free >= initial? {word}"]
        lots = self.raw["turn_lots"]
        below, above = (None if t is None else self._price(t) for t in self.raw["turn_marks"])
        sizes = None if lots is None else _units(lots, self._instrument.lot)
        marks = [f"{below} or less" if below else "", f"{above} or more" if above else ""]
        at = " and of ".join(mark for mark in marks if mark)
        if self:
            lines += [f"  it would not pass from {sizes} on"] if sizes else []
            lines += [f"  nor at a mark of {at}"] if at else []
            return lines
        with_size = f"with at most {sizes}, or " if sizes else ""
        lines.append(f"  it would pass {with_size}with a deposit of {slack}{',' if at else ''}")
        return lines + ([f"  or at a mark of {at}"] if at else [])

    # --- verification --------------------------------------------------------------------------

    @property
    def _mark(self) -> int:
        symbol = self.raw["order"]["instrument"]
        marks = {leg["instrument"]: int(leg["mark_ticks"]) for leg in self.raw["pool"]["legs"]}
        return marks[symbol]

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
        passes = all(rule["value"] >= rule["limit"] for rule in rules)
        failing = [rule["rule"] for rule in rules if rule["value"] < rule["limit"]]
        pairs = [("passes", self.raw["passes"], passes)]
        pairs.append(("binding", self.binding, (failing or [rules[-1]["rule"]])[0]))
        explained = self.explanation
        if explained is not None:
            explained.verify()
            pairs += self._margin_pairs(explained)
        for name, mine, theirs in pairs:
            if mine != theirs:
                limit = f"the oracle finds {theirs}"
                raise _core._error("invariant_broken", name, str(mine), limit, None)
        return True

    def _margin_pairs(self, explained: Explanation) -> list[tuple[str, Any, Any]]:
        check, raw = self.raw["check"], self.raw
        found = self._ask(explained)
        pairs: list[tuple[str, Any, Any]] = [
            (name, check[name], getattr(found, name)) for name in ("reserve", "initial", "reduces")
        ]
        pairs.append(("free", check["free"], found.free))
        rule = next(rule for rule in self.rules if rule["rule"] == "initial_margin")
        pairs.append(("initial_margin", rule["value"] >= rule["limit"], found.passes))
        if raw["turn_deposit"] is None:
            return pairs
        missing = raw["turn_deposit"]
        pairs.append(("deposit", missing, found.initial - found.free))
        verdict = found.passes
        if raw["turn_lots"] is not None:
            most = raw["turn_lots"] - (1 if verdict else 0)
            sides = [self._ask(explained, lots=lots).passes for lots in (most, most + 1)]
            pairs.append((f"{most} lots and one more", [True, False], sides))
        for ticks, toward in zip(raw["turn_marks"], (1, -1), strict=True):
            if ticks is not None:
                marks = (ticks, ticks + toward)
                sides = [self._ask(explained, mark=mark).passes for mark in marks]
                pairs.append((f"mark {ticks} and the next", [not verdict, verdict], sides))
        return pairs

    def _ask(
        self, explained: Explanation, *, lots: int | None = None, mark: int | None = None
    ) -> oracle.OrderAnswer:
        """Ask the oracle for the order, or for one of other lots, or at another mark."""
        from dataclasses import replace

        from aivora_core.audit import oracle

        card, pool, marks, assets = explained.oracle_inputs()
        symbol, side = self.raw["order"]["instrument"], self.raw["order"]["leg"]
        own = self.raw["lots"]
        signed = own if lots is None else (lots if own > 0 else -lots)
        more = abs(signed) - abs(own)
        legs = tuple(
            leg
            if (leg.instrument, leg.leg) != (symbol, side)
            else replace(
                leg,
                bids=leg.bids + (more if own > 0 else 0),
                asks=leg.asks + (more if own < 0 else 0),
            )
            for leg in pool.legs
        )
        return oracle.check_order(
            card,
            replace(pool, legs=legs),
            marks | ({} if mark is None else {symbol: mark}),
            assets,
            order=(symbol, side, signed),
            worst=self.raw["worst_mark_ticks"] or 1,
            taker_fee=Fraction(*(self.raw["taker_fee"] or (0, 1))),
            reserved=self.raw["check"]["reserved"],
        )


_SHOWN = ("equity", "reserved", "reserve", "free", "initial")


def _units(count: int, unit: Decimal) -> str:
    return amount(count, unit)

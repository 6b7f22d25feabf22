"""What the card of a venue defines, what it leaves unsaid, and what that is worth.

How a reading is priced stands in ``docs/guide/venues.md``.
"""

from __future__ import annotations

import itertools
import json
import tomllib
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from aivora_core import _core
from aivora_core.errors import CardError
from aivora_core.portfolio import Portfolio

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from decimal import Decimal

    from aivora_core._core import Prices, Venue
    from aivora_core.portfolio import Account
    from aivora_core.watch import Changes

    # What is read otherwise, and the liquidation price then.
    _Row = tuple[tuple[str, ...], Decimal | None]

__all__ = [
    "Difference",
    "Reading",
    "Score",
    "Spread",
    "ambiguity",
    "differences",
    "effect",
    "readings",
    "score",
    "tree",
]

#: The most readings, one of each figure, that are tried together.
COMBINED_MAX: Final = 4_096

#: Figures that say what happens when something fails.
FAILURES: Final = (
    "stale_source",
    "halted_index",
    "outage",
    "delisting",
    "insurance",
    "socialised_loss",
)

#: What silence allows where the card itself lists no reading: rules that decide a requirement.
SILENCE: Final[dict[str, tuple[tuple[str, dict[str, str]], ...]]] = {
    "trigger": (
        ("A tie does not liquidate.", {"trigger": "strict"}),
        ("A tie liquidates.", {"trigger": "non_strict"}),
    ),
    "maintenance": (
        ("Maintenance is taken of the mark.", {"maintenance_basis": "mark"}),
        ("Maintenance is taken of the entry.", {"maintenance_basis": "entry"}),
    ),
    "initial": (
        ("Initial margin is taken of the mark.", {"initial_basis": "mark"}),
        ("Initial margin is taken of the entry.", {"initial_basis": "entry"}),
    ),
    "closing_fee": (
        ("No fee stands in the requirement.", {"closing_fee": "none"}),
        ("The taker fee at the mark stands in it.", {"closing_fee": "mark"}),
        ("The taker fee at the bankruptcy price stands in it.", {"closing_fee": "bankruptcy"}),
    ),
}


@dataclass(frozen=True)
class Score:
    """How much of a venue is written down.

    Attributes
    ----------
    venue : Venue
        Which.
    defined, contradictory, unsaid : tuple of str
        Figures, in the order of the floors.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core import scorecard
    >>> scorecard.score(ac.Venue.load("kraken-futures"))
    Score(kraken-futures: 16 defined, 2 contradictory, 12 unsaid)
    """

    venue: Venue
    defined: tuple[str, ...]
    contradictory: tuple[str, ...]
    unsaid: tuple[str, ...]

    @property
    def failures(self) -> dict[str, str | None]:
        """What happens when something fails, by figure: a sentence, or None where it is unsaid."""
        found = self.venue.definitions
        return {name: found[name]["says"] for name in FAILURES if name in found}

    def to_dict(self) -> dict[str, Any]:
        """All of it, for ``--json``."""
        names = ("defined", "contradictory", "unsaid")
        lists = {name: list(getattr(self, name)) for name in names}
        return {
            "venue": self.venue.name,
            "hash": self.venue.hash,
            **lists,
            "failures": self.failures,
        }

    def __repr__(self) -> str:
        """Count them."""
        return (
            f"Score({self.venue.name}: {len(self.defined)} defined,"
            f" {len(self.contradictory)} contradictory, {len(self.unsaid)} unsaid)"
        )


def score(venue: Venue) -> Score:
    """Tell what a card defines, what its sources contradict each other in, and what is unsaid.

    Raises
    ------
    CardError
        ``unsaid`` for a card of version 0, which has no definitions.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core import scorecard
    >>> scorecard.score(ac.Venue.load("reference")).unsaid
    ()
    """
    found = venue.definitions
    if not found:
        limit = 'needs a card with definitions: schema = "aivora-card/1"'
        raise _core._error("unsaid", "definition", venue.name, limit, None)
    by_state: dict[str, list[str]] = {"defined": [], "contradictory": [], "unsaid": []}
    for name, row in found.items():
        by_state[row["state"]].append(name)
    return Score(venue, *(tuple(names) for names in by_state.values()))


@dataclass(frozen=True)
class Reading:
    """One way to read a figure of a card.

    Attributes
    ----------
    figure : str
        Which.
    says : str
        In words.
    source : str, optional
        Who says so; None for what silence allows.
    rules : dict
        What of the card's rules it changes.
    """

    figure: str
    says: str
    source: str | None
    rules: dict[str, Any]


def readings(venue: Venue) -> list[Reading]:
    """Give all other ways to read a card that change what runs.

    Those that the card lists, and where a figure of a requirement is unsaid and none is listed,
    those of `SILENCE` that make a venue.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core import scorecard
    >>> for own in scorecard.readings(ac.Venue.load("kraken-futures")):
    ...     print(own.figure, own.rules)
    trigger {'trigger': 'non_strict'}
    maintenance {'maintenance_basis': 'entry'}
    """
    found = []
    for name, row in venue.definitions.items():
        listed = [own for own in row["readings"] if own["rules"]]
        found += [Reading(name, own["says"], own["source"], own["rules"]) for own in listed]
        if row["state"] == "unsaid" and not row["readings"]:
            for says, rules in SILENCE.get(name, ()):
                if any(venue.rules[key] != value for key, value in rules.items()) and _runs(
                    venue, rules
                ):
                    found.append(Reading(name, says, None, dict(rules)))
    return found


def _runs(venue: Venue, rules: dict[str, Any]) -> bool:
    try:
        venue.read_so(rules)
    except CardError:
        return False
    return True


@dataclass(frozen=True)
class Spread:
    """Where a position is liquidated, over all readings of a card.

    Attributes
    ----------
    account, pool, instrument : str
        Which.
    mark : Decimal
        The mark.
    said : Decimal or None
        The nearest liquidation price as the card's rules have it; None where there is none.
    nearest, farthest : Decimal or None
        The one that is nearest to the mark over all readings, and farthest from it.
    nearest_by, farthest_by : tuple of str
        What is read so for them: figures.
    count : int
        How many readings were tried, alone and together.
    """

    account: str
    pool: str
    instrument: str
    mark: Decimal
    said: Decimal | None
    nearest: Decimal | None
    farthest: Decimal | None
    nearest_by: tuple[str, ...]
    farthest_by: tuple[str, ...]
    count: int

    def leverage(self, price: Decimal | None) -> Fraction | None:
        """The leverage by distance of a liquidation price: mark over how far it is off."""
        if price is None or price == self.mark:
            return None
        return Fraction(self.mark) / abs(Fraction(self.mark) - Fraction(price))

    @property
    def hidden(self) -> Fraction | None:
        """How much more leverage by distance the worst reading means than what is said."""
        said, worst = self.leverage(self.said), self.leverage(self.nearest)
        return None if said is None or worst is None else worst - said

    def to_dict(self) -> dict[str, Any]:
        """All of it, prices as text, leverages rounded for people."""
        row: dict[str, Any] = {
            name: getattr(self, name) for name in ("account", "pool", "instrument", "count")
        }
        for name in ("mark", "said", "nearest", "farthest"):
            price = getattr(self, name)
            row[name] = None if price is None else f"{price:f}"
        row["nearest_by"], row["farthest_by"] = list(self.nearest_by), list(self.farthest_by)
        for name in ("said", "nearest", "farthest"):
            found = self.leverage(getattr(self, name))
            row[f"leverage_{name}"] = None if found is None else round(float(found), 4)
        return row


def _variants(venue: Venue) -> Iterator[tuple[tuple[str, ...], Venue]]:
    """The card as it is read in every way: one reading of each figure, or what is said."""
    by_figure: dict[str, list[Reading]] = {}
    for own in readings(venue):
        if not own.rules.keys() & {"index", "mark", "funding", "validity"}:
            by_figure.setdefault(own.figure, []).append(own)
    choices: list[list[Reading | None]] = [[None, *group] for group in by_figure.values()]
    seen = set()
    for chosen in itertools.islice(itertools.product(*choices), COMBINED_MAX):
        taken = [own for own in chosen if own is not None]
        rules: dict[str, Any] = {}
        for own in taken:
            rules |= own.rules
        key = tuple(sorted((name, str(value)) for name, value in rules.items()))
        if key not in seen and (not rules or _runs(venue, rules)):
            seen.add(key)
            yield tuple(own.figure for own in taken), venue.read_so(rules)


def ambiguity(
    venue: Venue, tables: Mapping[str, Any], marks: Mapping[str, Any], **options: Any
) -> list[Spread]:
    """Price what a card leaves open: liquidation prices over all its readings.

    Parameters
    ----------
    venue : Venue
        With definitions.
    tables : mapping
        ``positions``, ``collateral`` and so on, as `Portfolio.from_tables` takes them.
    marks : mapping of str to price
        By instrument.
    **options
        ``entry_rounding`` of `Portfolio.from_tables`.

    Returns
    -------
    list of Spread
        One a leg, the widest in leverage first.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core import scorecard
    >>> rows = {
    ...     "positions": [{"account": "a", "instrument": "ETH_USDT", "quantity": "10",
    ...                    "entry": "3000"}],
    ...     "collateral": [{"account": "a", "amount": "3000"}],
    ... }
    >>> found = scorecard.ambiguity(ac.Venue.load("gate"), rows, {"ETH_USDT": "3000"})[0]
    >>> str(found.said), str(found.nearest), found.count
    ('2715.26', '2717.02', 4)
    """
    prices: dict[tuple[str, str, str], tuple[Decimal, list[_Row]]] = {}
    for figures, own in _variants(venue):
        state = Portfolio.from_tables(own, **tables, **options)
        given = _core.Prices(own, mark=dict(marks))
        for account in state:
            for symbol in _held(account, given):
                flip = account.liquidation_price(symbol, given)
                key = (account.account, account.pool, symbol)
                row = prices.setdefault(key, (flip.mark, []))[1]
                row.append((figures, None if flip.nearest is None else flip.nearest.mark))
    return sorted(
        (_spread(key, mark, rows) for key, (mark, rows) in prices.items()),
        key=lambda row: -(row.hidden or 0),
    )


def _held(account: Account, prices: Prices) -> list[str]:
    legs = account.explain(prices).to_dict()["legs"]
    return list(dict.fromkeys(leg["instrument"] for leg in legs))


def _spread(
    key: tuple[str, str, str],
    mark: Decimal,
    rows: list[_Row],
) -> Spread:
    def distance(row: _Row) -> Decimal:
        return abs((row[1] or mark) - mark)

    known = [row for row in rows if row[1] is not None]
    near = min(known, key=distance, default=((), None))
    far = max(known, key=distance, default=((), None))
    return Spread(*key, mark, rows[0][1], near[1], far[1], near[0], far[0], len(rows))


@dataclass(frozen=True)
class Difference:
    """One thing that two cards have differently.

    Attributes
    ----------
    where : str
        Its place in a card.
    old, new : object
        What stands there; None for nothing.
    """

    where: str
    old: Any
    new: Any


def tree(venue: Venue) -> dict[str, Any]:
    """Give a card as a tree, its instruments by symbol.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core import scorecard
    >>> list(scorecard.tree(ac.Venue.load("deribit"))["instrument"])
    ['BTC_USDC-PERPETUAL', 'SOL_USDC-PERPETUAL']
    """
    text = venue.text
    read = json.loads if text.lstrip().startswith("{") else tomllib.loads
    card: dict[str, Any] = read(text)
    card["instrument"] = {row["symbol"]: row for row in card["instrument"]}
    return card


def differences(old: Venue, new: Venue) -> list[Difference]:
    """Give what two cards, or two versions of one, have differently, key by key.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core import scorecard
    >>> old = ac.Venue.load("kraken-futures")
    >>> scorecard.differences(old, old.read_so({"maintenance_basis": "entry"}))[0]
    Difference(where='rules.maintenance_basis', old='mark', new='entry')
    """
    found: list[Difference] = []

    def walk(where: str, one: Any, other: Any) -> None:
        if isinstance(one, dict) and isinstance(other, dict):
            for key in [*one, *(key for key in other if key not in one)]:
                walk(f"{where}.{key}" if where else key, one.get(key), other.get(key))
        elif one != other:
            found.append(Difference(where, one, other))

    order = ("rules", "asset", "instrument", "definition")
    trees = (tree(old), tree(new))
    for part in [*order, *(key for key in trees[0] | trees[1] if key not in order)]:
        walk(part, trees[0].get(part), trees[1].get(part))
    return found


def effect(new: Venue, portfolio: Portfolio, prices: Prices) -> Changes:
    """Give whose verdict another card changes: the same holdings, at the same prices.

    The portfolio is of the other card from then on.

    Raises
    ------
    CardError
        ``bad_card`` where instruments, assets or their grids are others.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core import demo, scorecard
    >>> made = demo.demo(accounts=2_000)
    >>> found = scorecard.effect(made.venue.read_so({"closing_fee": "mark"}), *made[1:])
    >>> len(found.liquidatable), len(found.safe)
    (2, 0)
    """
    with portfolio.watch(prices) as watch:
        return watch.set_card(new)

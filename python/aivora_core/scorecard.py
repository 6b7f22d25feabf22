"""What the card of a venue defines, what it leaves unsaid, and what that is worth.

How a reading is priced stands in ``docs/guide/venues.md``.
"""

from __future__ import annotations

import itertools
import json
import tomllib
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from aivora_core import _core
from aivora_core.errors import CardError
from aivora_core.explain import amount
from aivora_core.portfolio import Portfolio

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from aivora_core._core import Prices, Venue
    from aivora_core.portfolio import Account
    from aivora_core.watch import Key

    # What is read otherwise, the liquidation price then, and whether the check fires already.
    _Row = tuple[tuple[str, ...], Decimal | None, bool]

__all__ = [
    "Difference",
    "Effect",
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
    >>> scorecard.score(ac.Venue.load("reference"))
    Score(reference: 30 defined, 0 contradictory, 0 unsaid)
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
    >>> [own.rules for own in scorecard.readings(ac.Venue.load("gate"))][0]
    {'trigger': 'non_strict'}
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
        The one that is nearest to the mark over all readings, and farthest from it; None where no
        price liquidates.
    nearest_by, farthest_by : tuple of str
        What is read so for them: figures.
    fires : bool
        Whether the check fires at the mark already, as the card's rules have it.
    fires_by : tuple of str, optional
        What is read otherwise so that it does: figures, the fewest; None where it never does.
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
    fires: bool
    fires_by: tuple[str, ...] | None
    count: int

    def leverage(self, price: Decimal | None) -> Fraction | None:
        """The leverage by distance of a liquidation price: mark over how far it is off."""
        if price is None or price == self.mark:
            return None
        return Fraction(self.mark) / abs(Fraction(self.mark) - Fraction(price))

    @property
    def hidden(self) -> Fraction | None:
        """How much more leverage by distance the worst reading means than what is said.

        Where no price liquidates, as said, a fall to nothing stands for it: a leverage of 1; and a
        rise without end: 0. None where the check fires at the mark already, as said or as read
        otherwise: no number would be one.
        """
        if self.fires_by is not None:
            return None
        worst = self.leverage(self.nearest)
        if worst is None or self.nearest is None:
            return Fraction()
        said = self.leverage(self.said)
        return worst - (said if said is not None else int(self.nearest < self.mark))

    def to_dict(self) -> dict[str, Any]:
        """All of it, prices as text, leverages rounded for people."""
        row: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("account", "pool", "instrument", "count", "fires")
        }
        for name in ("mark", "said", "nearest", "farthest"):
            price = getattr(self, name)
            row[name] = None if price is None else f"{price:f}"
        row["nearest_by"], row["farthest_by"] = list(self.nearest_by), list(self.farthest_by)
        row["fires_by"] = None if self.fires_by is None else list(self.fires_by)
        for name in ("said", "nearest", "farthest"):
            found = self.leverage(getattr(self, name))
            row[f"leverage_{name}"] = None if found is None else round(float(found), 4)
        row["hidden"] = None if self.hidden is None else round(float(self.hidden), 4)
        return row


def _variants(venue: Venue) -> Iterator[tuple[tuple[str, ...], Venue]]:
    """The card as it is read in every way: one reading of each figure, or what is said."""
    by_figure: dict[str, list[Reading]] = {}
    for own in readings(venue):
        # Tables of rules (a mark, fees of levels, bands) move no liquidation price.
        if any(not isinstance(value, dict) for value in own.rules.values()):
            by_figure.setdefault(own.figure, []).append(own)
    choices: list[list[Reading | None]] = [[None, *group] for group in by_figure.values()]
    ways = prod(len(choice) for choice in choices)
    if ways > COMBINED_MAX:
        limit = f"at most {COMBINED_MAX:,} ways to read a card are tried together"
        raise _core._error("limit_exceeded", "readings", f"{ways:,}", limit, None)
    seen = set()
    for chosen in itertools.product(*choices):
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
        One a leg: those first for which only some readings fire at the mark, then the widest in
        leverage.

    Raises
    ------
    LimitExceeded
        ``limit_exceeded`` for more than `COMBINED_MAX` ways to read a card.

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
    >>> found.said < found.nearest < found.mark
    True
    >>> found.nearest_by
    ('maintenance',)
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
                # Of a pool for which the check fires, a flip is where it would be safe again.
                known = None if flip.liquidatable or flip.nearest is None else flip.nearest.mark
                row.append((figures, known, flip.liquidatable))
    return sorted(
        (_spread(key, mark, rows) for key, (mark, rows) in prices.items()),
        key=lambda row: (row.fires or row.fires_by is None, -(row.hidden or 0)),
    )


def _held(account: Account, prices: Prices) -> list[str]:
    legs = account.explain(prices).to_dict()["legs"]
    return list(dict.fromkeys(leg["instrument"] for leg in legs))


def _spread(key: tuple[str, str, str], mark: Decimal, rows: list[_Row]) -> Spread:
    def near(row: _Row) -> tuple[bool, Decimal, int]:
        """Those with a price first, by distance; of equal ones what reads least otherwise."""
        return row[1] is None, abs((row[1] or mark) - mark), len(row[0])

    def far(row: _Row) -> tuple[bool, Decimal, int]:
        return row[1] is None, abs((row[1] or mark) - mark), -len(row[0])

    firing = [row[0] for row in rows if row[2]]
    safe = [row for row in rows if not row[2]]
    nothing: _Row = ((), None, False)
    nearest, farthest = min(safe, key=near, default=nothing), max(safe, key=far, default=nothing)
    return Spread(
        *key,
        mark,
        rows[0][1],
        nearest[1],
        farthest[1],
        nearest[0],
        farthest[0],
        rows[0][2],
        min(firing, key=len, default=None),
        len(rows),
    )


@dataclass(frozen=True)
class Difference:
    """One thing that two cards have differently.

    Attributes
    ----------
    where : str
        Its place in a card; of a bracket or a slice its floor, of an instrument its symbol.
    old, new : object
        What stands there, or holds by default; None for nothing.
    says : str
        The same as a sentence.
    direction : str, optional
        ``stricter``: it asks less of no account; ``looser``: more of none; None where neither is
        certain.

    Examples
    --------
    >>> from aivora_core.scorecard import Difference
    >>> str(Difference("rules.trigger", "strict", "non_strict", "a tie liquidates", "stricter"))
    'a tie liquidates (stricter)'
    """

    where: str
    old: Any
    new: Any
    says: str = ""
    direction: str | None = None

    def __str__(self) -> str:
        """Give the sentence, with its direction."""
        return self.says + (f" ({self.direction})" if self.direction else "")

    def to_dict(self) -> dict[str, Any]:
        """All of it, for ``--json``."""
        return dict(vars(self))


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
    """Give what two cards, or two versions of one, have differently, each as a sentence.

    What a card leaves out counts as its default; numbers are compared by value, rates by what is
    in force: a maintenance rate that is half the initial one is that rate.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core import scorecard
    >>> old = ac.Venue.load("reference")
    >>> found = scorecard.differences(old, old.read_so({"trigger": "non_strict"}))[0]
    >>> found.where, found.old, found.new
    ('rules.trigger', 'strict', 'non_strict')
    >>> print(found)
    rules.trigger: a tie now liquidates (was: strict) (stricter)
    """
    one, other = tree(old), tree(new)
    found = _rules(one.get("rules", {}), other.get("rules", {}))
    found += _assets(one.get("asset", {}), other.get("asset", {}))
    found += _instruments((old, one["instrument"]), (new, other["instrument"]))
    found += _definitions(one.get("definition"), other.get("definition"))
    for key in ("name", "title", "version", "schema"):
        was, now = one.get(key), other.get(key)
        if was != now:
            says = f"{key}: {was or 'nothing'} -> {now or 'nothing'}"
            found.append(Difference(key, was, now, says))
    was, now = one.get("sources", []), other.get("sources", [])
    found += [
        Difference("sources", s, None, f"sources: no longer {s}") for s in was if s not in now
    ]
    found += [Difference("sources", None, s, f"sources: {s} added") for s in now if s not in was]
    return found


@dataclass(frozen=True)
class _Key:
    """How a key of a card is told: its name, whether it is a rate, and what more of it means.

    ``more`` and ``less`` are what is certain of a larger and of a smaller value: a direction, or
    a remark where neither direction is.
    """

    label: str
    rate: bool = False
    default: str | None = None
    more: str | None = None
    less: str | None = None


def _strict(label: str, *, rate: bool = True, default: str | None = None) -> _Key:
    return _Key(label, rate, default, "stricter", "looser")


#: Keys whose words are told as what they mean.
_MEANS: Final[dict[str, dict[str, str]]] = {
    "trigger": {
        "strict": "a tie no longer liquidates",
        "non_strict": "a tie now liquidates",
    },
    "maintenance_basis": {
        "mark": "maintenance is now taken of the mark",
        "entry": "maintenance is now taken of the entry",
    },
    "initial_basis": {
        "mark": "initial margin is now taken of the mark",
        "entry": "initial margin is now taken of the entry",
    },
    "maintenance_from": {
        "explicit": "maintenance rates are now those of the brackets",
        "half_initial": "maintenance rates are now half the initial ones",
    },
    "closing_fee": {
        "none": "no fee of closing stands in the requirement now",
        "mark": "the taker fee at the mark now stands in the requirement",
        "bankruptcy": "the taker fee at the bankruptcy price now stands in the requirement",
    },
    "bankruptcy_fee": {
        "none": "the bankruptcy price no longer counts the fee of closing",
        "taker": "the bankruptcy price now counts the taker fee of closing",
    },
    "margin_mode": {
        "single": "pools that do not say are now of one asset",
        "multi": "pools that do not say are now of several assets",
    },
}

#: Words of which the second is certainly stricter than the first.
_STRICTER: Final = (
    ("trigger", "strict", "non_strict"),
    ("closing_fee", "none", "mark"),
    ("deduction", "derived", "none"),
)

_RULES: Final[dict[str, _Key]] = {
    "trigger": _Key("trigger", default="strict"),
    "check_on": _Key("the check is made on", default="mark"),
    "maintenance_basis": _Key("maintenance basis", default="mark"),
    "initial_basis": _Key("initial basis", default="mark"),
    "maintenance_from": _Key("maintenance from", default="explicit"),
    "closing_fee": _Key("closing fee", default="none"),
    "bankruptcy_fee": _Key("bankruptcy fee", default="none"),
    "equity_allotment": _Key("equity allotment", default="maintenance_share"),
    "margin_mode": _Key("margin mode", default="single"),
    "withdrawal_profit": _Key("part of profit that backs a withdrawal", rate=True, default="0"),
    "taker_fee": _strict("taker fee"),
}

_TABLES: Final[dict[str, dict[str, _Key]]] = {
    "index": {
        "max_age": _Key("greatest age of a source"),
        "outlier": _Key("distance of an outlier", rate=True),
        "on_outlier": _Key("what becomes of an outlier", default="exclude"),
        "min_live": _Key("fewest live sources", default="1"),
        "frozen": _Key("frozen after"),
    },
    "mark": {
        "min_terms": _Key("fewest terms"),
        "step": _Key(
            "step",
            rate=True,
            more="moves more with an update",
            less="moves less with an update",
        ),
    },
    "funding": {
        "interest": _Key("interest", rate=True, default="0"),
        "clamp": _Key("clamp", rate=True),
        "dead_band": _Key("dead band", rate=True),
        "floor": _Key("floor", rate=True),
        "cap": _Key("cap", rate=True),
        "scale": _Key("scale", default="1"),
        "decimals": _Key("decimals", default="12"),
        "rounding": _Key("rounding", default="half_even"),
        "lag": _Key("lag in intervals", default="0"),
    },
    "liquidation": {"fee": _strict("fee")},
    "validity": {
        "uncertain": _Key("uncertain beyond", rate=True),
        "volatile": _Key("volatile beyond a ratio of"),
        "stale_for_margin": _Key("stale for margin after"),
        "stale": _Key("stale after"),
        "min_live": _Key("fewest live sources"),
    },
}

#: Keys that are rates, in whatever table of rules they stand.
_RATES: Final = {
    name: _Key(name.replace("_", " "), rate=True)
    for name in (
        *("maker", "taker", "fee", "down", "up", "inner", "outer", "outlier", "interest", "clamp"),
        *("dead_band", "uncertain", "liquidator_fee", "liquidator_fee_max", "insurance_fee_max"),
    )
}

#: Of a row of a list: a level of fees, a source, a term.
_ROWS: Final = _RATES | {"maker": _strict("maker fee"), "taker": _strict("taker fee")}

_ASSET: Final[dict[str, _Key]] = {
    "quantum": _Key("quantum"),
    "price_tick": _Key("price tick"),
    "liability_weight": _strict("liability weight", rate=False),
}

_INSTRUMENT: Final[dict[str, _Key]] = {
    "kind": _Key("kind"),
    "settlement": _Key("settles in"),
    "value_rounding": _Key("value is rounded by", default="position"),
    "price_tick": _Key("price tick"),
    "mark_tick": _Key("mark tick"),
    "lot": _Key("lot"),
    "multiplier": _Key("multiplier", default="1"),
    "taker_fee": _strict("taker fee"),
}

_SLOPE: Final[dict[str, _Key]] = {
    "maintenance_base": _strict("maintenance at no size"),
    "initial_base": _strict("initial at no size"),
    "slope": _strict("both rates, for each unit more, by"),
    "factor": _strict("factor of the root", rate=False),
}


def _number(value: Any) -> Fraction | None:
    """The value of a number of a card: text, ``1/75`` too, or a whole number."""
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        try:
            return Fraction(value)
        except (ValueError, ZeroDivisionError):
            return None
    return None


def _plain(value: Fraction) -> str:
    """A number in full, exact: a decimal where it ends, else a fraction."""
    rest, places = value.denominator, 0
    for prime in (2, 5):
        count = 0
        while rest % prime == 0:
            rest, count = rest // prime, count + 1
        places = max(places, count)
    if rest != 1:
        return str(value)
    return amount(int(value * 10**places), Decimal((0, (1,), -places)))


def _grouped(value: Any) -> str:
    """A number with its thousands set apart."""
    whole, dot, part = str(value).partition(".")
    return f"{int(whole):,}{dot}{part}"


def _rate(value: Fraction) -> str:
    """A rate, exact: percent where its decimals end, else a fraction."""
    text = _plain(value * 100)
    return str(value) if "/" in text else f"{text}%"


def _shown(value: Any, key: _Key) -> str:
    number = _number(value)
    if number is not None:
        return _rate(number) if key.rate else _plain(number)
    return "none" if value is None else _words(value)


_PLAIN: Final = _Key("")
_FIRST: Final = ("rule", "name", "of", "samples", "every", "window", "interval", "step", "weight")


def _words(value: Any, keys: Mapping[str, _Key] | None = None) -> str:
    """What stands in a card, in a line; numbers of a table as its keys have them."""
    if isinstance(value, dict):
        # A card may be written in any order of keys: those of a term and of a source come first.
        known = _RATES if keys is None else keys
        names = sorted(value, key=lambda key: (_FIRST.index(key) if key in _FIRST else 99, key))
        return ", ".join(f"{key} {_shown(value[key], known.get(key, _PLAIN))}" for key in names)
    if isinstance(value, list):
        return "; ".join(_words(part) for part in value)
    return str(value)


def _same(old: Any, new: Any) -> bool:
    one, other = _number(old), _number(new)
    return old == new if one is None or other is None else one == other


def _direction(name: str, old: Any, new: Any) -> str | None:
    """The direction of a word."""
    if (name, old, new) in _STRICTER:
        return "stricter"
    return "looser" if (name, new, old) in _STRICTER else None


def _keyed(
    place: str, where: str, keys: Mapping[str, _Key], old: dict[str, Any], new: dict[str, Any]
) -> list[Difference]:
    """What differs of the keys of a table; one that is not known is told by its name."""
    found = []
    for name in dict.fromkeys([*keys, *old, *new]):
        key = keys.get(name) or _Key(name.replace("_", " "))
        was, now = old.get(name, key.default), new.get(name, key.default)
        if _same(was, now):
            continue
        one, other = _number(was), _number(now)
        told = f"{key.label} {_shown(was, key)} -> {_shown(now, key)}"
        sure = None
        if one is not None and other is not None:
            sure = key.more if other > one else key.less
        if sure and sure not in {"stricter", "looser"}:
            told, sure = f"{told} ({sure})", None
        place_of = f"{place}:"
        if name in _MEANS and now in _MEANS[name]:
            place_of, told = f"{where}.{name}:", f"{_MEANS[name][now]} (was: {was})"
        sure = sure or _direction(name, was, now)
        found.append(Difference(f"{where}.{name}", was, now, f"{place_of} {told}", sure))
    return found


def _rules(old: dict[str, Any], new: dict[str, Any]) -> list[Difference]:
    inner = [name for name in dict.fromkeys([*old, *new]) if _holds(old, new, name)]
    flat = ({k: v for k, v in side.items() if k not in inner} for side in (old, new))
    found = _keyed("rules", "rules", _RULES, *flat)
    for name in inner:
        if isinstance(old.get(name, new.get(name)), list):
            found += _listed(f"rules.{name}", old.get(name, []), new.get(name, []))
    tables = [name for name, value in (old | new).items() if isinstance(value, dict)]
    for name in dict.fromkeys([*_TABLES, *tables]):
        keys = _RATES | _TABLES.get(name, {})
        found += _table(f"rules.{name}", keys, old.get(name), new.get(name))
    return found


def _table(
    place: str, keys: Mapping[str, _Key], old: dict[str, Any] | None, new: dict[str, Any] | None
) -> list[Difference]:
    """What differs of a table of rules, of the tables and of the lists of tables in it."""
    if old is None or new is None:
        if old is new:
            return []
        told = "no longer in the card" if new is None else f"now said: {_words(new, keys)}"
        return [Difference(place, old, new, f"{place}: {told}")]
    inner = [name for name in dict.fromkeys([*old, *new]) if _holds(old, new, name)]
    one, other = ({k: v for k, v in t.items() if k not in inner} for t in (old, new))
    found = _keyed(place, place, keys, one, other)
    for name in inner:
        was, now, spot = old.get(name), new.get(name), f"{place}.{name}"
        if isinstance(was or now, dict):
            found += _table(spot, _RATES, was, now)
        else:
            found += _listed(spot, was or [], now or [])
    return found


def _holds(old: dict[str, Any], new: dict[str, Any], name: str) -> bool:
    """Whether a key holds a table or a list of tables, on both sides or on the only one."""
    given = [side[name] for side in (old, new) if name in side]
    return all(isinstance(value, dict) for value in given) or all(
        isinstance(value, list) and all(isinstance(row, dict) for row in value) for value in given
    )


def _listed(place: str, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[Difference]:
    """What differs of two lists of tables: matched by name if names are unlike, else by place."""
    rows = [*old, *new]
    by = next((key for key in ("name", "rule") if all(key in row for row in rows)), "")
    sides = [[str(row.get(by)) for row in side] for side in (old, new)]
    if not by or any(len(set(names)) < len(names) for names in sides):
        sides, by = [[str(number + 1) for number in range(len(side))] for side in (old, new)], ""
    first, second = dict(zip(sides[0], old, strict=True)), dict(zip(sides[1], new, strict=True))
    found = []
    for name in dict.fromkeys([*first, *second]):
        where, spot = f"{place}[{name}]", f"{place}, {name}"
        was, now = first.get(name), second.get(name)
        one, other = ({k: v for k, v in (row or {}).items() if k != by} for row in (was, now))
        if was is None or now is None:
            told = ("added" if was is None else "no longer there", _words(one or other))
            says = f"{spot}: {': '.join(part for part in told if part)}"
            found.append(Difference(where, was, now, says))
        else:
            found += _keyed(spot, where, _ROWS, one, other)
    return found


def _assets(old: dict[str, Any], new: dict[str, Any]) -> list[Difference]:
    found = []
    for name in dict.fromkeys([*old, *new]):
        was, now, where = old.get(name), new.get(name), f"asset.{name}"
        if was is None or now is None:
            told = "no longer in the card" if now is None else f"added: {_words(now)}"
            found.append(Difference(where, was, now, f"asset {name}: {told}"))
            continue
        skipped = {"haircut", "haircuts"}
        one, other = ({k: v for k, v in t.items() if k not in skipped} for t in (was, now))
        for side in (one, other):
            if "price_tick" in side:
                side.setdefault("liability_weight", "1")
        found += _keyed(f"asset {name}", where, _ASSET, one, other)
        place = f"asset {name}, slice"
        found += _steps(place, f"{where}.haircuts", _slices(was), _slices(now))
    return found


#: Rates by the floor from which they hold.
_Steps: TypeAlias = dict[Fraction, dict[str, Fraction]]


def _slices(asset: dict[str, Any]) -> _Steps:
    """The haircuts of an asset by the floor of their slice."""
    rows = asset.get("haircuts") or [{"floor": "0", "haircut": asset.get("haircut")}]
    return {
        Fraction(row["floor"]): {"haircut": Fraction(row["haircut"])}
        for row in rows
        if row["haircut"] is not None
    }


def _brackets(venue: Venue, symbol: str) -> _Steps:
    """The rates in force of an instrument by the floor of their bracket."""
    return {
        Fraction(row["floor"]): {"maintenance": row["maintenance"], "initial": row["initial"]}
        for row in venue[symbol].tiers
    }


def _at(steps: _Steps, floor: Fraction) -> dict[str, Fraction]:
    """What holds at a floor."""
    return steps[max((own for own in steps if own <= floor), default=floor)] if steps else {}


def _turn(name: str, old: Fraction | None, new: Fraction | None) -> str:
    """A rate that changes, in words; the initial one as leverage where both are one over it."""
    known = [rate for rate in (old, new) if rate is not None]
    label, shown = name, [_rate(rate) for rate in known]
    if name == "initial" and all(rate.numerator == 1 for rate in known):
        label, shown = "max leverage", [f"{rate.denominator:,}" for rate in known]
    return f"{label} {shown[0]} as before" if old == new else f"{label} {' -> '.join(shown)}"


def _steps(place: str, where: str, old: _Steps, new: _Steps) -> list[Difference]:
    """What differs of rates that step up at floors: the higher one is the stricter one."""
    found = []
    for floor in sorted(old.keys() | new.keys()):
        was, now = _at(old, floor), _at(new, floor)
        pairs = {name: (was.get(name), now.get(name)) for name in [*was, *now]}
        at, spot = f"{place} from {_grouped(_plain(floor))}", f"{where}[{_plain(floor)}]"
        turns = {
            name: "stricter" if pair[1] > pair[0] else "looser"
            for name, pair in pairs.items()
            if pair[0] is not None and pair[1] is not None and pair[0] != pair[1]
        }
        if floor in old and floor in new:
            for name, sure in turns.items():
                one, other = was[name], now[name]
                says = f"{at}: {_turn(name, one, other)}"
                found.append(Difference(f"{spot}.{name}", _plain(one), _plain(other), says, sure))
            continue
        told = ", ".join(_turn(name, *pair) for name, pair in pairs.items())
        agreed = turns.popitem()[1] if len(set(turns.values())) == 1 else None
        raw = [{n: _plain(rate) for n, rate in row.items()} or None for row in (was, now)]
        says = f"{at} {'added' if floor in new else 'no longer there'}: {told}"
        found.append(Difference(spot, raw[0], raw[1], says, agreed))
    return found


def _instruments(
    old: tuple[Venue, dict[str, Any]], new: tuple[Venue, dict[str, Any]]
) -> list[Difference]:
    found = []
    for symbol in dict.fromkeys([*old[1], *new[1]]):
        was, now, where = old[1].get(symbol), new[1].get(symbol), f"instrument.{symbol}"
        if was is None or now is None:
            told = f"added, {now['kind']}" if now else "no longer in the card"
            found.append(Difference(where, was, now, f"instrument {symbol}: {told}"))
            continue
        one, other = ({k: v for k, v in t.items() if k != "tiers"} for t in (was, now))
        found += _keyed(symbol, where, _INSTRUMENT, one, other)
        found += _tiers(symbol, f"{where}.tiers", (old[0], was["tiers"]), (new[0], now["tiers"]))
    return found


_BY: Final = {
    "notional": "by value",
    "size": "by size",
    "size_slope": "a slope by size",
    "value_slope": "a slope by value",
    "size_root": "a root of the size",
}


def _tiers(
    symbol: str, where: str, old: tuple[Venue, dict[str, Any]], new: tuple[Venue, dict[str, Any]]
) -> list[Difference]:
    was, now = old[1], new[1]
    if was["by"] != now["by"]:
        kinds = [_BY.get(tiers["by"], tiers["by"]) for tiers in (now, was)]
        told = f"tiers are now {kinds[0]} (were: {kinds[1]}): another table"
        return [Difference(where, was, now, f"{symbol}: {told}")]
    if "brackets" not in was:
        return _keyed(symbol, where, _SLOPE, was, now)
    found = []
    one, other = (tiers.get("deduction", "none") for tiers in (was, now))
    if one != other:
        more = "a bracket's rate now holds for the whole position, without deductions"
        less = "a bracket's rate now holds for what is above its floor only, by deductions"
        sure = _direction("deduction", one, other)
        says = f"{symbol}: {less if other == 'derived' else more}"
        found.append(Difference(f"{where}.deduction", one, other, says, sure))
    tables = (_brackets(venue, symbol) for venue in (old[0], new[0]))
    found += _steps(f"{symbol}, bracket", f"{where}.brackets", *tables)
    one, other = (tiers["brackets"][-1].get("cap") for tiers in (was, now))
    if not _same(one, other):
        says = f"{symbol}: the cap of the last bracket, which is only recorded: {one} -> {other}"
        found.append(Difference(f"{where}.cap", one, other, says))
    return found


_TEXTS: Final = {"says": "the sentence", "formula": "the formula", "unsaid": "what was looked for"}
_SOURCE: Final = ("source", "date", "sure")


def _definitions(old: dict[str, Any] | None, new: dict[str, Any] | None) -> list[Difference]:
    if old is None or new is None:
        if old is new:
            return []
        told = "no longer in the card" if new is None else f"now said: {len(new)} figures"
        return [Difference("definition", old, new, f"definitions: {told}")]
    found = []
    for name in dict.fromkeys([*old, *new]):
        place = f"definition.{name}"
        was, now = old.get(name, {"unsaid": ""}), new.get(name, {"unsaid": ""})
        if "unsaid" in was and "unsaid" not in now:
            found.append(Difference(place, was, now, f"{place}: now said: {now['says']}"))
        elif "unsaid" in now and "unsaid" not in was:
            found.append(Difference(place, was, now, f"{place}: no longer said: {was['says']}"))
        else:
            found += _figure(place, was, now)
    return found


def _figure(place: str, old: dict[str, Any], new: dict[str, Any]) -> list[Difference]:
    found = []
    for key, label in _TEXTS.items():
        was, now = old.get(key), new.get(key)
        if was != now:
            told = f"{label} changed: {now or 'nothing'} (was: {was or 'nothing'})"
            found.append(Difference(f"{place}.{key}", was, now, f"{place}: {told}"))
    parameters = (row.get("parameters", {}) for row in (old, new))
    found += _keyed(place, f"{place}.parameters", {}, *parameters)
    was, now = ({key: row.get(key) for key in _SOURCE} for row in (old, new))
    if was != now:
        one, other = (_cited(row) for row in (was, now))
        told = f"the source changed: {one} -> {other}"
        found.append(Difference(f"{place}.source", was, now, f"{place}: {told}"))
    one_by, other_by = (
        {row["says"]: row for row in side.get("reading", [])} for side in (old, new)
    )
    for says in dict.fromkeys([*one_by, *other_by]):
        read, spot = (one_by.get(says), other_by.get(says)), f"{place}.reading"
        if read[0] == read[1]:
            continue
        change = "changed" if all(read) else "added" if read[1] else "no longer listed"
        found.append(Difference(spot, *read, f"{place}: another reading {change}: {says}"))
    return found


def _cited(row: dict[str, Any]) -> str:
    notes = ", ".join(str(row[key]) for key in ("date", "sure") if row[key])
    return f"{row['source'] or 'none'}" + (f" ({notes})" if notes else "")


#: Codes of `Report.status`.
_SAFE, _BELOW_INITIAL = 0, 1


@dataclass(frozen=True)
class Effect:
    """What another card does to the same holdings at the same prices.

    Attributes
    ----------
    pools, accounts : int
        How many there are.
    liquidatable, safe : list of (str, str)
        Account and pool name of those for which the liquidation check fires under the new card
        and did not, and the other way round.
    below_initial : list of (str, str)
        Those that were safe and now have less than initial margin.
    maintenance : dict of str to (Decimal, Decimal)
        By asset the sum of what is required, before and after.
    """

    pools: int
    accounts: int
    liquidatable: list[Key] = field(default_factory=list)
    safe: list[Key] = field(default_factory=list)
    below_initial: list[Key] = field(default_factory=list)
    maintenance: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)

    @property
    def of(self) -> tuple[int, str]:
        """How many of what: accounts where each has one pool, else pools."""
        return (self.accounts, "accounts") if self.accounts == self.pools else (self.pools, "pools")

    def to_dict(self) -> dict[str, Any]:
        """All of it, for ``--json``."""
        names = ("liquidatable", "safe", "below_initial")
        return {
            "pools": self.pools,
            "accounts": self.accounts,
            **{name: [list(key) for key in getattr(self, name)] for name in names},
            "maintenance": {
                asset: {"before": f"{old:f}", "after": f"{new:f}"}
                for asset, (old, new) in self.maintenance.items()
            },
        }


def effect(new: Venue, portfolio: Portfolio, prices: Prices) -> Effect:
    """Give what another card does: the same holdings, at the same prices.

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
    >>> found.of, len(found.liquidatable), len(found.safe), len(found.below_initial)
    ((2000, 'accounts'), 2, 0, 0)
    """
    before = portfolio.check(prices)
    with portfolio.watch(prices) as watch:
        watch.set_card(new)
        after = portfolio.check(watch.prices)
    keys = list(zip(before.account, before.pool, strict=True))

    def those(mask: NDArray[np.bool_]) -> list[Key]:
        return [keys[place] for place in np.flatnonzero(mask).tolist()]

    def shown(total: int, quantum: Decimal) -> Decimal:
        return Decimal(amount(total, quantum))

    sums: dict[str, tuple[int, int]] = {}
    columns = (before.asset, before.maintenance.tolist(), after.maintenance.tolist())
    for asset, old, now in zip(*columns, strict=True):
        total = sums.get(asset, (0, 0))
        sums[asset] = (total[0] + int(old), total[1] + int(now))
    return Effect(
        len(keys),
        len(set(before.account)),
        those(after.liquidatable & ~before.liquidatable),
        those(before.liquidatable & ~after.liquidatable),
        those((after.status == _BELOW_INITIAL) & (before.status == _SAFE)),
        {
            asset: (shown(old, before.quanta[asset]), shown(now, before.quanta[asset]))
            for asset, (old, now) in sums.items()
        },
    )

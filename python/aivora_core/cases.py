"""Case files: one portable JSON file says what is given and which exact numbers must come out.

The format is in ``docs/reference/case-file.md``. The same file runs on the core and on the shipped
oracle, which share no code, and on the Rust API in the crate's own tests.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol

import aivora_core as ac
from aivora_core.audit import formulas as oracle_formulas
from aivora_core.audit import oracle
from aivora_core.formulas import FORMULAS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Step = tuple[str, Callable[[], object]]

__all__ = [
    "Case",
    "CaseError",
    "CaseResult",
    "Expectation",
    "Mismatch",
    "find_cases",
    "load_case",
    "run_case",
]

SCHEMA = "aivora-case/0"
SUFFIX = ".case.json"
CASE_BYTES_MAX = 1_000_000

Value = Fraction | str | bool | None
Answers = dict[str, Value]


class CaseError(ac.AivoraError, ValueError):
    """A case file is not in the format; names the file, the key and what is allowed there."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One expectation that was not met.

    Attributes
    ----------
    what : str
        The question.
    of : dict of str to str
        What it was asked of.
    expected, actual : str, bool or None
        As in the file. The actual is ``refused: CODE`` where the question was refused.
    tolerance : str or None
        The tolerance of the expectation; None where it is exact.
    """

    what: str
    of: Mapping[str, str]
    expected: str | bool | None
    actual: str | bool | None
    tolerance: str | None = None


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What came of a case.

    Attributes
    ----------
    id : str
        The case.
    passed : bool
        Whether every expectation was met.
    failures : tuple of Mismatch
        Those that were not, in the order of the file.
    """

    id: str
    passed: bool
    failures: tuple[Mismatch, ...]


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation, as in the file; ``tolerance`` is None where the value is exact."""

    what: str
    of: Mapping[str, str]
    value: str | bool | None
    tolerance: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A case file, checked; ``given`` is the tree of the file, ``kind`` who published it."""

    id: str
    title: str
    source: str
    note: str
    fitted: tuple[str, ...]
    given: Mapping[str, Any]
    expect: tuple[Expectation, ...]
    kind: str | None = None


def find_cases(*places: str | Path) -> list[Path]:
    """Find case files: a file is taken as it is, a directory is searched, its files sorted.

    Parameters
    ----------
    *places : str or Path
        Files and directories.

    Returns
    -------
    list of Path
        Each file once.

    Raises
    ------
    CaseError
        ``bad_case`` for a place that does not exist.

    Examples
    --------
    >>> from aivora_core.cases import find_cases
    >>> find_cases()
    []
    """
    found: dict[Path, None] = {}
    for place in map(Path, places):
        if place.is_dir():
            found.update(dict.fromkeys(sorted(place.rglob(f"*{SUFFIX}"))))
        elif place.is_file():
            found[place] = None
        else:
            _bad(str(place), "file", str(place), "must be a case file or a directory of them")
    return list(found)


# --- reading ----------------------------------------------------------------------------------

_KINDS = ("payload", "official", "venue_test", "third_party")
_CASE_KEYS = ("schema", "id", "title", "source", "note", "fitted", "given", "when", "expect")
_GIVEN_KEYS = (
    "card",
    "venue",
    "entry_rounding",
    "positions",
    "collateral",
    "orders",
    "pools",
    "prices",
    "books",
)
_LEG_KEYS = ("account", "pool", "instrument", "leg")
_TABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # table: required keys, optional keys
    "positions": (
        ("account", "instrument", "quantity"),
        ("pool", "leg", "entry", "cost", "accrued"),
    ),
    "collateral": (("account", "amount"), ("pool", "asset", "interest")),
    "orders": (("account", "instrument", "side", "quantity"), ("pool", "leg")),
    "pools": (("account",), ("pool", "kind", "mode", "instrument", "leverage")),
}
_WORDS = {
    "leg": ("net", "long", "short"),
    "side": ("buy", "sell"),
    "kind": ("cross", "isolated", "sub_account"),
    "mode": ("single", "multi"),
    "exit": ("books",),
}
_STAGES = ("card", "portfolio", "prices", "check", "book", "formula")
_STATUSES = ("safe", "below_initial", "liquidatable", "bankrupt")
_VERDICTS = ("safe", "liquidatable")
_BINDINGS = ("balance", "initial", "exit_unfilled", "unknown_fee")
_REASONS = ("no_positive_price", "no_finite_price")

_POOL = (
    "asset",
    "equity",
    "initial",
    "maintenance",
    "buffer",
    "status",
    "liquidatable",
    "ratio_ppm",
    "distance_ppm",
)
_LEG = (
    "value",
    "pnl",
    "notional",
    "leg_initial",
    "leg_maintenance",
    "maintenance_rate",
    "deduction",
)
_FLIP = tuple(
    f"liquidation_{kind}_{side}"
    for kind in ("price", "mark", "becomes")
    for side in ("below", "above")
)
_BANKRUPTCY = ("bankruptcy_price", "bankruptcy_reason", "bankruptcy_quote", "allotted")
_ASSET = (
    "asset_pnl",
    "asset_equity",
    "asset_value",
    "asset_initial",
    "asset_maintenance",
    "asset_initial_value",
    "asset_maintenance_value",
)
_WITHDRAWAL = ("withdrawable", "withdrawal_binding", "withdrawal_equity")
_INTEREST = ("open_interest_long", "open_interest_short", "open_interest_imbalance")
_WALK = ("walk_filled", "walk_unfilled", "walk_cost", "walk_fee", "walk_worst", "walk_vwap")
_BOOK = (*_WALK, "max_quantity")
#: What a formula may be asked of beside its inputs: the pool and the leg that give the others.
_FORMULA_OF = ("account", "pool", "leg")
_NULLABLE = {
    *_FLIP,
    "bankruptcy_price",
    "bankruptcy_reason",
    "walk_fee",
    "walk_worst",
    "walk_vwap",
}
_WORD_VALUES = {
    "status": _STATUSES,
    "withdrawal_binding": _BINDINGS,
    "bankruptcy_reason": _REASONS,
    **{what: _VERDICTS for what in _FLIP if "becomes" in what},
}
_WALK_BY = ("quantity", "notional")
_MAX_BY = ("slippage_bps", "cost", "limit")

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?|[+-]?[0-9]+/[1-9][0-9]*")


def _bad(file: str, key: str, value: object, allowed: str) -> NoReturn:
    text = f"[bad_case] {file}: {key}: got {value!r}; {allowed}"
    raise CaseError(text, code="bad_case", field=key, value=repr(value), limit=allowed)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Checks shapes; every refusal names the file and the key."""

    file: str

    def bad(self, key: str, value: object, allowed: str) -> NoReturn:
        _bad(self.file, key, value, allowed)

    def table(
        self, node: object, key: str, required: Iterable[str], optional: Iterable[str] = ()
    ) -> dict[str, Any]:
        required, known = list(required), [*required, *optional]
        if not isinstance(node, dict):
            self.bad(key, node, "must be an object")
        for name in node:
            if name not in known:
                self.bad(f"{key}.{name}", name, f"unknown key; known are {', '.join(known)}")
        for name in required:
            if name not in node:
                self.bad(f"{key}.{name}", None, "this key is required")
        return node

    def named(self, node: object, key: str) -> dict[str, Any]:
        return self.table(node, key, (), node if isinstance(node, dict) else ())

    def items(self, node: object, key: str) -> Iterator[tuple[str, Any]]:
        if not isinstance(node, list):
            self.bad(key, node, "must be a list")
        return ((f"{key}[{place}]", item) for place, item in enumerate(node))

    def text(self, node: object, key: str) -> str:
        if not isinstance(node, str):
            self.bad(key, node, "must be text; numbers are written as text")
        return node

    def word(self, node: object, key: str, words: Sequence[str]) -> str:
        text = self.text(node, key)
        if text not in words:
            self.bad(key, text, f"must be one of {', '.join(words)}")
        return text

    def texts(self, node: Mapping[str, object], key: str) -> dict[str, str]:
        found = {name: self.text(value, f"{key}.{name}") for name, value in node.items()}
        for name in _WORDS.keys() & found.keys():
            self.word(found[name], f"{key}.{name}", _WORDS[name])
        return found

    def number(self, node: object, key: str) -> str:
        text = self.text(node, key)
        if _NUMBER.fullmatch(text) is None:
            self.bad(key, text, "must be an exact number as text, such as 12.5 or 1/75")
        return text

    def one_of(self, node: Mapping[str, object], key: str, names: Sequence[str]) -> None:
        if sum(name in node for name in names) != 1:
            self.bad(key, dict(node), f"must have exactly one of {', '.join(names)}")


def load_case(source: str | Path | Mapping[str, Any]) -> Case:
    """Read a case file and check its shape.

    Parameters
    ----------
    source : str, Path or dict
        The path of a file, or its tree.

    Returns
    -------
    Case
        The case.

    Raises
    ------
    CaseError
        ``bad_case``, naming the file, the key and what is allowed there.

    Examples
    --------
    >>> from aivora_core.cases import load_case
    >>> load_case({"schema": "aivora-case/1"})
    Traceback (most recent call last):
    ...
    aivora_core.cases.CaseError: [bad_case] case: case.id: got None; this key is required
    """
    if isinstance(source, str | Path):
        return _case(_parse(Path(source)), _Reader(str(source)))
    return _case(dict(source), _Reader("case"))


def _parse(path: Path) -> object:
    """Read JSON in which no key stands twice and every number but an integer is text."""

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(items)
        if len(found) != len(items):
            _bad(str(path), "file", [name for name, _ in items], "a key stands twice")
        return found

    def float_given(text: str) -> NoReturn:
        _bad(str(path), "file", text, "numbers are written as text")

    try:
        if path.stat().st_size > CASE_BYTES_MAX:
            _bad(str(path), "file", path.stat().st_size, f"at most {CASE_BYTES_MAX} bytes")
        return json.loads(
            path.read_text("utf-8"),
            object_pairs_hook=pairs,
            parse_float=float_given,
            parse_constant=float_given,
        )
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        _bad(str(path), "file", str(error), "must be readable JSON")


def _case(node: object, read: _Reader) -> Case:
    tree = read.table(node, "case", _CASE_KEYS, ("kind",))
    kind = read.word(tree["kind"], "kind", _KINDS) if "kind" in tree else None
    read.word(tree["schema"], "schema", (SCHEMA,))
    name = read.text(tree["id"], "id")
    if _ID.fullmatch(name) is None:
        read.bad("id", name, "must be letters, digits and . _ + - only")
    fitted = [read.text(item, key) for key, item in read.items(tree["fitted"], "fitted")]
    for key, item in read.items(tree["when"], "when"):
        read.bad(key, item, "must be empty: there are no events in this version")
    given = _given(tree["given"], read)
    expect = [
        _expectation(item, key, read, given) for key, item in read.items(tree["expect"], "expect")
    ]
    if not expect:
        read.bad("expect", [], "must not be empty")
    if len(expect) > 1 and any(one.what == "error" for one in expect):
        read.bad("expect", "error", "an error stands alone")
    title, source, note = (read.text(tree[key], key) for key in ("title", "source", "note"))
    return Case(name, title, source, note, tuple(fitted), given, tuple(expect), kind)


def _given(node: object, read: _Reader) -> dict[str, Any]:
    given = read.table(node, "given", (), _GIVEN_KEYS)
    read.one_of(given, "given", ("card", "venue"))
    if "card" in given and not isinstance(given["card"], dict):
        read.bad("given.card", given["card"], "must be an object")
    if "venue" in given:
        read.text(given["venue"], "given.venue")
    if "entry_rounding" in given:
        read.word(given["entry_rounding"], "given.entry_rounding", ("against_account",))
    _tables(given, read)
    prices = read.table(given.get("prices", {"mark": {}}), "given.prices", ("mark",), ("asset",))
    for kind in prices:
        for name, price in read.named(prices[kind], f"given.prices.{kind}").items():
            read.text(price, f"given.prices.{kind}.{name}")
    for symbol, sides in read.named(given.get("books", {}), "given.books").items():
        _levels(sides, f"given.books.{symbol}", read)
    return given


def _tables(given: Mapping[str, Any], read: _Reader) -> None:
    for table, (required, optional) in _TABLES.items():
        for key, row in read.items(given.get(table, []), f"given.{table}"):
            read.texts(read.table(row, key, required, optional), key)
    bases = ("entry", "cost")
    used: set[str] = set()
    for key, row in read.items(given.get("positions", []), "given.positions"):
        read.one_of(row, key, bases)
        used |= row.keys() & set(bases)
        if len(used) > 1:
            read.bad(key, row, "all rows of a file give entry, or all give cost")


def _levels(node: object, key: str, read: _Reader) -> None:
    sides = read.table(node, key, ("bids", "asks"))
    for side in ("bids", "asks"):
        for place, level in read.items(sides[side], f"{key}.{side}"):
            parts = [read.text(part, name) for name, part in read.items(level, place)]
            if len(parts) != len(("price", "quantity")):
                read.bad(place, level, "must be a pair of price and quantity")


def _expectation(node: object, key: str, read: _Reader, given: Mapping[str, Any]) -> Expectation:
    row = read.table(node, key, ("what", "of", "value"), ("tolerance", "why"))
    checked = (*_POOL, *_LEG, *_FLIP, *_BANKRUPTCY, *_ASSET, *_WITHDRAWAL, *_INTEREST)
    what = read.word(row["what"], f"{key}.what", (*checked, *_BOOK, "formula", "error"))
    of = _of(what, row["of"], f"{key}.of", read)
    is_of_book = what == "error" and of["stage"] == "book" and "instrument" in of
    if what in _BOOK or is_of_book:
        read.word(of["instrument"], f"{key}.of.instrument", list(given.get("books", {})))
    _value(what, row["value"], f"{key}.value", read)
    why = read.text(row["why"], f"{key}.why") if "why" in row else None
    tolerance = None
    if "tolerance" in row:
        tolerance = read.number(row["tolerance"], f"{key}.tolerance")
        if Fraction(tolerance) < 0:
            read.bad(f"{key}.tolerance", tolerance, "must not be negative")
        if not why:
            read.bad(f"{key}.why", why, "a tolerance needs its reason")
        if not isinstance(row["value"], str) or what in {*_WORD_VALUES, "asset", "error"}:
            read.bad(f"{key}.tolerance", tolerance, "only a number has a tolerance")
    return Expectation(what, of, row["value"], tolerance, why)


_ASKED_OF: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    # questions, what they are asked of: required keys, optional keys
    (_POOL, ("account",), ("pool",)),
    ((*_LEG, *_BANKRUPTCY), ("account", "instrument"), ("pool", "leg")),
    (_FLIP, ("account", "instrument"), ("pool",)),
    (_ASSET, ("account", "asset"), ("pool",)),
    (_WITHDRAWAL, ("account", "asset"), ("pool", "exit")),
    (_INTEREST, ("instrument",), ()),
    (_WALK, ("instrument", "side"), (*_WALK_BY, "limit")),
    (("max_quantity",), ("instrument", "side"), _MAX_BY),
    (
        ("error",),
        ("stage",),
        ("account", "pool", "asset", "exit", "instrument", "side", *_WALK_BY, *_MAX_BY),
    ),
)


def _of(what: str, node: object, key: str, read: _Reader) -> dict[str, str]:
    """Check what a question is asked of."""
    if what == "formula" or (isinstance(node, dict) and node.get("stage") == "formula"):
        return _of_formula(node, key, read)
    required, optional = next(
        (required, optional) for names, required, optional in _ASKED_OF if what in names
    )
    of = read.texts(read.table(node, key, required, optional), key)
    if "stage" in of:
        read.word(of["stage"], f"{key}.stage", _STAGES)
    if what in _WALK:
        read.one_of(of, key, _WALK_BY)
    if what == "max_quantity":
        read.one_of(of, key, _MAX_BY)
    if what == "error" and len(of) > 1:
        _refused_question(of, key, read)
    return of


def _of_formula(node: object, key: str, read: _Reader) -> dict[str, str]:
    """Check what a formula is asked of: its inputs, and perhaps whose leg gives the others."""
    of = read.texts(read.named(node, key), key)
    read.table(of, key, ("formula",), of)
    if of.get("stage") is None and of["formula"] not in FORMULAS:
        read.word(of["formula"], f"{key}.formula", list(FORMULAS))
    if "account" in of and "instrument" not in of:
        read.bad(f"{key}.instrument", None, "an account has formulas of one of its legs")
    return of


def _refused_question(of: Mapping[str, str], key: str, read: _Reader) -> None:
    """Check the question that an expected error names: a withdrawal, or one to a book."""
    if "account" in of:
        read.word(of["stage"], f"{key}.stage", ("check",))
        read.table(of, key, ("stage", "account", "asset"), ("pool", "exit"))
    else:
        read.word(of["stage"], f"{key}.stage", ("book",))
        read.table(of, key, ("stage", "instrument", "side"), {*_WALK_BY, *_MAX_BY})
        read.one_of(of, key, (*_WALK_BY, *_MAX_BY))


def _value(what: str, node: object, key: str, read: _Reader) -> None:
    if node is None:
        if what not in _NULLABLE:
            read.bad(key, None, f"{what} always has a value")
    elif what == "liquidatable":
        if not isinstance(node, bool):
            read.bad(key, node, "must be true or false")
    elif what in _WORD_VALUES:
        read.word(node, key, _WORD_VALUES[what])
    elif what in {"asset", "error"}:
        read.text(node, key)
    else:
        read.number(node, key)


# --- running ----------------------------------------------------------------------------------


class _Refused(Exception):  # noqa: N818 - not an error of the run: it may be what is expected
    """An engine refused at a stage, with a code."""

    def __init__(self, stage: str, code: str) -> None:
        super().__init__(f"{stage}: {code}")
        self.stage = stage
        self.code = code


class _Engine(Protocol):
    """What a case is run on; numbers come in units, as fractions."""

    refusals: tuple[type[Exception], ...]

    def __init__(self, given: Mapping[str, Any]) -> None: ...
    def steps(self) -> Sequence[Step]: ...
    def code(self, stage: str, error: Exception) -> str: ...
    def pool(self, of: Mapping[str, str]) -> Answers: ...
    def leg(self, of: Mapping[str, str]) -> Answers: ...
    def flips(self, of: Mapping[str, str]) -> Answers: ...
    def bankruptcy(self, of: Mapping[str, str]) -> Answers: ...
    def asset(self, of: Mapping[str, str]) -> Answers: ...
    def withdrawal(self, of: Mapping[str, str]) -> Answers: ...
    def interest(self, of: Mapping[str, str]) -> Answers: ...
    def walk(self, of: Mapping[str, str]) -> Answers: ...
    def max_quantity(self, of: Mapping[str, str]) -> Answers: ...
    def formula(self, of: Mapping[str, str]) -> Answers: ...


def run_case(source: str | Path | Mapping[str, Any] | Case, *, engine: str = "core") -> CaseResult:
    """Run a case and compare every number.

    Parameters
    ----------
    source : str, Path, dict or Case
        A case file, its tree, or a case that was read before.
    engine : {"core", "oracle"}
        What computes: the core, or the shipped oracle.

    Returns
    -------
    CaseResult
        Whether it passed, and each expectation that was not met.

    Raises
    ------
    CaseError
        ``bad_case`` where the file is not in the format.

    Examples
    --------
    >>> from aivora_core.cases import run_case
    >>> tree = {"schema": "aivora-case/0", "id": "cash", "title": "", "source": "", "note": ""}
    >>> tree |= {"fitted": [], "when": []}
    >>> tree["given"] = {"venue": "demo", "collateral": [{"account": "alice", "amount": "5"}]}
    >>> tree["expect"] = [{"what": "equity", "of": {"account": "alice"}, "value": "5"}]
    >>> run_case(tree)
    CaseResult(id='cash', passed=True, failures=())
    """
    case = source if isinstance(source, Case) else load_case(source)
    engines: dict[str, type[_Engine]] = {"core": _Core, "oracle": _Oracle}
    if engine not in engines:
        _bad(case.id, "engine", engine, f"must be one of {', '.join(engines)}")
    failures = _error_failures if case.expect[0].what == "error" else _failures
    found = tuple(failures(case, engines[engine](case.given)))
    return CaseResult(case.id, not found, found)


def _asked(engine: _Engine, stage: str, question: Callable[[], Answers]) -> Answers:
    """Ask; a refusal of the engine becomes the one that cases speak of."""
    try:
        return question()
    except engine.refusals as error:
        raise _Refused(stage, engine.code(stage, error)) from error


def _prepare(engine: _Engine) -> None:
    """Take every step, in order of the stages."""
    for stage, step in engine.steps():
        try:
            step()
        except engine.refusals as error:
            raise _Refused(stage, engine.code(stage, error)) from error


def _answer(engine: _Engine, what: str, of: Mapping[str, str]) -> Value:
    questions = (
        (_POOL, "check", engine.pool),
        (_LEG, "check", engine.leg),
        (_FLIP, "check", engine.flips),
        (_BANKRUPTCY, "check", engine.bankruptcy),
        (_ASSET, "check", engine.asset),
        (_WITHDRAWAL, "check", engine.withdrawal),
        (_INTEREST, "check", engine.interest),
        (_WALK, "book", engine.walk),
        (_BOOK, "book", engine.max_quantity),
        (("formula",), "formula", engine.formula),
    )
    stage, question = next((stage, ask) for names, stage, ask in questions if what in names)
    return _asked(engine, stage, lambda: question(of))[what]


def _failures(case: Case, engine: _Engine) -> Iterator[Mismatch]:
    try:
        _prepare(engine)
    except _Refused as refused:
        of = {"stage": refused.stage}
        yield Mismatch("error", of, None, refused.code)
        return
    for one in case.expect:
        actual: str | bool | None
        try:
            answer = _answer(engine, one.what, one.of)
        except _Refused as refused:
            met, actual = False, f"refused: {refused.code}"
        else:
            met, actual = _met(one, answer), _shown(answer)
        if not met:
            yield Mismatch(one.what, one.of, one.value, actual, one.tolerance)


def _error_failures(case: Case, engine: _Engine) -> Iterator[Mismatch]:
    (one,) = case.expect
    stage: str | None = None
    code: str | None = None
    try:
        _prepare(engine)
        if one.of["stage"] == "formula":
            _answer(engine, "formula", one.of)
        elif "account" in one.of:
            _answer(engine, "withdrawable", one.of)
        elif one.of.keys() & set(_WALK_BY):
            _answer(engine, "walk_filled", one.of)
        elif len(one.of) > 1:
            _answer(engine, "max_quantity", one.of)
    except _Refused as refused:
        stage, code = refused.stage, refused.code
    if code != one.value:
        yield Mismatch("error", one.of, one.value, code)
    elif stage != one.of["stage"]:
        yield Mismatch("error", one.of, one.of["stage"], stage)


def _met(one: Expectation, answer: Value) -> bool:
    if not isinstance(answer, Fraction):
        return answer is one.value or (isinstance(answer, str) and answer == one.value)
    if not isinstance(one.value, str):
        return False
    return abs(answer - Fraction(one.value)) <= Fraction(one.tolerance or 0)


def _shown(value: Value) -> str | bool | None:
    """Write an answer as a case file would: a decimal where it ends, else a fraction."""
    if not isinstance(value, Fraction):
        return value
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return str(value)
    digits = 0
    while (value * 10**digits).denominator != 1:
        digits += 1
    whole = str(abs(int(value * 10**digits))).rjust(digits + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{whole[:-digits]}.{whole[-digits:]}" if digits else f"{sign}{whole}"


def _exact(value: object) -> Fraction | None:
    """Take a number of the core (an int, a decimal, or text) as it is."""
    return None if value is None else Fraction(str(value))


def _rows(given: Mapping[str, Any]) -> dict[str, Any]:
    return {table: given.get(table, []) for table in _TABLES}


def _prices(given: Mapping[str, Any], kind: str) -> dict[str, str]:
    prices: dict[str, str] = given.get("prices", {}).get(kind, {})
    return prices


def _side(of: Mapping[str, str]) -> Literal["buy", "sell"]:
    return "buy" if of["side"] == "buy" else "sell"


class _Core:
    """The core, through its public Python API."""

    refusals: tuple[type[Exception], ...] = (ac.AivoraError,)

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def steps(self) -> Sequence[Step]:
        return (
            ("card", lambda: self._venue),
            ("portfolio", lambda: self._portfolio),
            ("prices", lambda: self._prices),
            ("check", lambda: self._report),
            ("book", lambda: self._books),
        )

    def code(self, stage: str, error: Exception) -> str:
        del stage
        return str(getattr(error, "code", ""))

    @cached_property
    def _venue(self) -> ac.Venue:
        if "venue" in self._given:
            return ac.Venue.load(self._given["venue"])
        return ac.Venue.from_tree(self._given["card"])

    @cached_property
    def _portfolio(self) -> ac.Portfolio:
        rounding = self._given.get("entry_rounding")
        tables = _rows(self._given)
        return ac.Portfolio.from_tables(self._venue, **tables, entry_rounding=rounding)

    @cached_property
    def _prices(self) -> ac.Prices:
        marks, assets = (_prices(self._given, kind) for kind in ("mark", "asset"))
        return ac.Prices(self._venue, mark=marks, asset=assets)

    @cached_property
    def _report(self) -> ac.Report:
        return self._portfolio.check(self._prices, ratio=True, distance=True)

    @cached_property
    def _books(self) -> dict[str, ac.Book]:
        return {
            symbol: ac.Book(self._venue[symbol], bids=sides["bids"], asks=sides["asks"])
            for symbol, sides in self._given.get("books", {}).items()
        }

    def _account(self, of: Mapping[str, str]) -> ac.Account:
        return self._portfolio[of["account"], of.get("pool", "cross")]

    def pool(self, of: Mapping[str, str]) -> Answers:
        row = self._report.row(of["account"], of.get("pool", "cross"))
        quantum = Fraction(self._venue.assets[row["asset"]]["quantum"])
        answers: Answers = {name: row[name] for name in ("asset", "status", "liquidatable")}
        for name in ("equity", "initial", "maintenance"):
            answers[name] = row[name] * quantum
        for name in ("ratio_ppm", "distance_ppm"):
            answers[name] = Fraction(row[name])
        answers["buffer"] = _exact(self._account(of).explain(self._prices).to_dict()["buffer"])
        return answers

    def leg(self, of: Mapping[str, str]) -> Answers:
        legs = self._account(of).explain(self._prices).to_dict()["legs"]
        wanted = (of["instrument"], of.get("leg", "net"))
        for leg in legs:
            if (leg["instrument"], leg["leg"]) == wanted:
                names = {"leg_initial": "initial", "leg_maintenance": "maintenance"}
                return {name: _exact(leg[names.get(name, name)]) for name in _LEG}
        raise _Refused("check", "unknown_leg")

    def flips(self, of: Mapping[str, str]) -> Answers:
        found = self._account(of).liquidation_price(of["instrument"], self._prices)
        answers: Answers = {}
        for side, flip in (("below", found.below), ("above", found.above)):
            answers[f"liquidation_price_{side}"] = None if flip is None else _exact(flip.price)
            answers[f"liquidation_mark_{side}"] = None if flip is None else _exact(flip.mark)
            answers[f"liquidation_becomes_{side}"] = None if flip is None else str(flip.becomes)
        return answers

    def bankruptcy(self, of: Mapping[str, str]) -> Answers:
        leg = of.get("leg", "net")
        found = self._account(of).bankruptcy_price(of["instrument"], self._prices, leg=leg)
        return {
            "bankruptcy_price": _exact(found.price),
            "bankruptcy_reason": found.reason,
            "bankruptcy_quote": _exact(found.quote),
            "allotted": _exact(found.allotted),
        }

    def asset(self, of: Mapping[str, str]) -> Answers:
        rows = self._account(of).explain(self._prices).to_dict()["assets"]
        for row in rows:
            if row["asset"] == of["asset"]:
                return {name: _exact(row[name.removeprefix("asset_")]) for name in _ASSET}
        raise _Refused("check", "unknown_asset")

    def withdrawal(self, of: Mapping[str, str]) -> Answers:
        books = self._books if "exit" in of else None
        account = self._account(of)
        found = account.withdrawable(of["asset"], self._prices, books=books)
        row = self._report.row(of["account"], of.get("pool", "cross"))
        quantum = Fraction(self._venue.assets[row["asset"]]["quantum"])
        return {
            "withdrawable": _exact(found.amount),
            "withdrawal_binding": found.binding,
            "withdrawal_equity": found.equity_quanta * quantum,
        }

    def interest(self, of: Mapping[str, str]) -> Answers:
        found = self._portfolio.open_interest()
        if of["instrument"] not in found:
            raise _Refused("check", "unknown_instrument")
        row = found[of["instrument"]]
        return {
            "open_interest_long": _exact(row.long),
            "open_interest_short": _exact(row.short),
            "open_interest_imbalance": _exact(row.imbalance),
        }

    def walk(self, of: Mapping[str, str]) -> Answers:
        book, limit, side = self._books[of["instrument"]], of.get("limit"), _side(of)
        if "quantity" in of:
            found = book.walk(side, of["quantity"], limit=limit)
        else:
            found = book.walk_notional(side, of["notional"], limit=limit)
        return {name: _exact(getattr(found, name.removeprefix("walk_"))) for name in _WALK}

    def max_quantity(self, of: Mapping[str, str]) -> Answers:
        bound = {name: of[name] for name in _MAX_BY if name in of}
        found = self._books[of["instrument"]].max_quantity(_side(of), **bound)
        return {"max_quantity": _exact(found)}

    def formula(self, of: Mapping[str, str]) -> Answers:
        name, inputs = of["formula"], _inputs(of)
        if "account" not in of:
            return {"formula": self._venue.formula(name, **inputs)}
        symbol, leg = inputs.pop("instrument"), of.get("leg", "net")
        account = self._account(of)
        return {"formula": account.formula(name, symbol, self._prices, leg=leg, **inputs)}


def _inputs(of: Mapping[str, str]) -> dict[str, str]:
    """Take the inputs of a formula out of what it is asked of."""
    return {k: own for k, own in of.items() if k not in {"formula", "stage", *_FORMULA_OF}}


# The oracle is written from the specification, which names fewer codes than the core has.
_ORACLE_CODES = {
    "bad_number": "not_a_number",
    "bad_pool": "bad_leg",
    "duplicate": "duplicate_key",
    "no_position": "unknown_leg",
}
_ORACLE_SHAPES = {"unknown_key", "missing_key", "bad_value"}
_SHAPE_CODES = {"card": "bad_card", "portfolio": "bad_column"}


class _Oracle:
    """The shipped oracle; what it wants in whole units is converted here, in fractions."""

    refusals: tuple[type[Exception], ...] = (oracle.OracleError,)

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def steps(self) -> Sequence[Step]:
        return (
            ("card", lambda: self._card),
            ("portfolio", lambda: self._pools),
            ("prices", lambda: (self._ticks, self._asset_ticks)),
            ("check", lambda: self._assessments),
            ("book", lambda: self._books),
        )

    def code(self, stage: str, error: Exception) -> str:
        code = str(getattr(error, "code", ""))
        if code in _ORACLE_SHAPES:
            return _SHAPE_CODES.get(stage, code)
        return _ORACLE_CODES.get(code, code)

    @cached_property
    def _card(self) -> oracle.Card:
        if "venue" in self._given:
            return oracle.Card.from_tree(tomllib.loads(ac.Venue.load(self._given["venue"]).text))
        return oracle.Card.from_tree(self._given["card"])

    @cached_property
    def _pools(self) -> dict[tuple[str, str], oracle.Pool]:
        tables = _rows(self._given)
        rounding = self._given.get("entry_rounding")
        pools = oracle.pools_from_tables(self._card, **tables, entry_rounding=rounding)
        return {(pool.account, pool.name): pool for pool in pools}

    def _instrument(self, symbol: str) -> oracle.Instrument:
        if symbol not in self._card.instruments:
            raise oracle.OracleError("unknown_instrument", "instrument", symbol)
        return self._card.instruments[symbol]

    def _whole(self, value: str, grid: Fraction, field: str) -> int:
        count = oracle.number(value, field) / grid
        if count.denominator != 1:
            raise oracle.OracleError("off_grid", field, value)
        return count.numerator

    @cached_property
    def _ticks(self) -> dict[str, int]:
        ticks: dict[str, int] = {}
        for symbol, mark in _prices(self._given, "mark").items():
            tick = self._instrument(symbol).mark_tick
            ticks[symbol] = self._whole(mark, tick, "mark")
            if ticks[symbol] < 1:
                raise oracle.OracleError("bad_price", "mark", mark)
        return ticks

    @cached_property
    def _asset_ticks(self) -> dict[str, int]:
        ticks: dict[str, int] = {}
        for name, price in _prices(self._given, "asset").items():
            tick = self._card.asset(name).price_tick
            if tick is None:
                raise oracle.OracleError("unknown_asset", "asset", name)
            ticks[name] = self._whole(price, tick, "asset")
            if ticks[name] < 1:
                raise oracle.OracleError("bad_price", "asset", price)
        return ticks

    @cached_property
    def _assessments(self) -> dict[tuple[str, str], oracle.Assessment]:
        return {
            key: oracle.assess(self._card, pool, self._ticks, self._asset_ticks)
            for key, pool in self._pools.items()
        }

    @cached_property
    def _books(self) -> dict[str, tuple[oracle.Levels, oracle.Levels]]:
        books: dict[str, tuple[oracle.Levels, oracle.Levels]] = {}
        for symbol, sides in self._given.get("books", {}).items():
            own = self._instrument(symbol)
            bids, asks = (
                [
                    (
                        self._whole(price, own.price_tick, f"{side}.price"),
                        self._whole(quantity, own.lot, f"{side}.quantity"),
                    )
                    for price, quantity in sides[side]
                ]
                for side in ("bids", "asks")
            )
            oracle.check_book(bids, asks)
            books[symbol] = (bids, asks)
        return books

    def _at(self, of: Mapping[str, str]) -> tuple[str, str]:
        key = (of["account"], of.get("pool", "cross"))
        if key not in self._pools:
            raise oracle.OracleError("unknown_account", "account", key)
        return key

    def pool(self, of: Mapping[str, str]) -> Answers:
        found = self._assessments[self._at(of)]
        quantum = self._card.assets[found.asset].quantum
        return {
            "asset": found.asset,
            "equity": found.equity * quantum,
            "initial": found.initial * quantum,
            "maintenance": found.maintenance * quantum,
            "buffer": (found.equity - found.maintenance) * quantum,
            "status": _STATUSES[found.status],
            "liquidatable": found.liquidatable,
            "ratio_ppm": Fraction(found.ratio_ppm),
            "distance_ppm": Fraction(found.distance_ppm),
        }

    def leg(self, of: Mapping[str, str]) -> Answers:
        wanted = (of["instrument"], of.get("leg", "net"))
        quantum = self._instrument(of["instrument"]).quantum
        for found in self._assessments[self._at(of)].legs:
            if (found.leg.instrument, found.leg.leg) == wanted:
                return {
                    "value": found.value * quantum,
                    "pnl": found.pnl * quantum,
                    "notional": found.notional * quantum,
                    "leg_initial": found.initial * quantum,
                    "leg_maintenance": found.maintenance * quantum,
                    "maintenance_rate": found.maintenance_rate,
                    "deduction": found.deduction * quantum,
                }
        raise oracle.OracleError("no_position", "leg", wanted)

    def flips(self, of: Mapping[str, str]) -> Answers:
        symbol = of["instrument"]
        tick = self._instrument(symbol).mark_tick
        pool = self._pools[self._at(of)]
        assets = self._asset_ticks
        found = oracle.liquidation_price(self._card, pool, self._ticks, symbol, assets)
        answers: Answers = {}
        for side, flip in zip(("below", "above"), found, strict=True):
            there = None if isinstance(flip, str) else flip
            answers[f"liquidation_price_{side}"] = None if there is None else there.price * tick
            answers[f"liquidation_mark_{side}"] = None if there is None else there.mark * tick
            answers[f"liquidation_becomes_{side}"] = None if there is None else there.becomes
        return answers

    def bankruptcy(self, of: Mapping[str, str]) -> Answers:
        symbol, leg = of["instrument"], of.get("leg", "net")
        pool = self._pools[self._at(of)]
        assets, own = self._asset_ticks, self._instrument(symbol)
        found = oracle.bankruptcy_price(self._card, pool, self._ticks, symbol, leg, assets)
        tick, quantum = own.price_tick, own.quantum
        return {
            "bankruptcy_price": None if found.price is None else found.price * tick,
            "bankruptcy_reason": found.reason,
            "bankruptcy_quote": found.quote * quantum,
            "allotted": found.allotted * quantum,
        }

    def asset(self, of: Mapping[str, str]) -> Answers:
        key = self._at(of)
        own = self._card.asset(of["asset"]).quantum
        counted = self._card.assets[self._pools[key].asset].quantum
        for row in self._assessments[key].assets:
            if row.asset == of["asset"]:
                names = {name: name.removeprefix("asset_") for name in _ASSET}
                return {
                    name: getattr(row, of_row) * (counted if "value" in name else own)
                    for name, of_row in names.items()
                }
        raise oracle.OracleError("unknown_asset", "asset", of["asset"])

    def withdrawal(self, of: Mapping[str, str]) -> Answers:
        pool = self._pools[self._at(of)]
        books = self._books if "exit" in of else None
        found = oracle.withdrawable(
            self._card, pool, self._ticks, of["asset"], self._asset_ticks, books
        )
        return {
            "withdrawable": found.amount * self._card.assets[of["asset"]].quantum,
            "withdrawal_binding": found.binding,
            "withdrawal_equity": found.equity * self._card.assets[pool.asset].quantum,
        }

    def interest(self, of: Mapping[str, str]) -> Answers:
        own = self._instrument(of["instrument"])
        found = oracle.open_interest(self._card, self._pools.values())[own.symbol]
        return {
            "open_interest_long": found.long * own.lot,
            "open_interest_short": found.short * own.lot,
            "open_interest_imbalance": (found.long - found.short) * own.lot,
        }

    def walk(self, of: Mapping[str, str]) -> Answers:
        own, books = self._instrument(of["instrument"]), self._books[of["instrument"]]
        quantum, side, fee = own.quantum, of["side"], own.taker_fee
        terms = own.fill
        limit = self._whole(of["limit"], own.price_tick, "limit") if "limit" in of else None
        if "quantity" in of:
            size = self._whole(of["quantity"], own.lot, "quantity")
            found = oracle.walk(*books, terms, side, size, limit, fee)
        else:
            size = self._whole(of["notional"], quantum, "notional")
            found = oracle.walk_notional(*books, terms, side, size, limit, fee)
        vwap = None if found.vwap is None else _against(found.vwap * own.price_tick, side)
        return {
            "walk_filled": found.filled * own.lot,
            "walk_unfilled": found.unfilled * own.lot,
            "walk_cost": found.cost * quantum,
            "walk_fee": None if found.fee is None else found.fee * quantum,
            "walk_worst": None if found.worst is None else found.worst * own.price_tick,
            "walk_vwap": vwap,
        }

    def max_quantity(self, of: Mapping[str, str]) -> Answers:
        own, books = self._instrument(of["instrument"]), self._books[of["instrument"]]
        side, terms = of["side"], own.fill
        if "slippage_bps" in of:
            bound = oracle.number(of["slippage_bps"], "slippage_bps")
            lots = oracle.max_quantity_slippage(*books, terms, side, bound)
        elif "cost" in of:
            cost = self._whole(of["cost"], own.quantum, "cost")
            lots = oracle.max_quantity_cost(*books, terms, side, cost)
        else:
            limit = self._whole(of["limit"], own.price_tick, "limit")
            lots = oracle.max_quantity_limit(*books, side, limit)
        return {"max_quantity": lots * own.lot}

    def _of_leg(self, of: Mapping[str, str]) -> dict[str, str]:
        """What a leg and its pool give a formula."""
        pool, leg = self.pool(of), self.leg(of)
        held = self._pools[self._at(of)]
        wanted = (of["instrument"], of.get("leg", "net"))
        own = self._instrument(of["instrument"])
        (lots,) = [row.quantity for row in held.legs if (row.instrument, row.leg) == wanted]
        sign = -1 if lots < 0 else 1
        numbers = {
            "equity": pool["equity"],
            "maintenance": pool["maintenance"],
            "shortage": max(Fraction(0), -Fraction(str(pool["buffer"]))),
            "value": sign * Fraction(str(leg["notional"])),
            "quantity": lots * own.lot,
            "leg_maintenance": leg["leg_maintenance"],
            "rate": leg["maintenance_rate"],
            "price": self._ticks[own.symbol] * own.mark_tick,
        }
        texts = {name: str(number) for name, number in numbers.items()}
        return texts | {"mark": texts["price"]}

    @cached_property
    def _tree(self) -> Mapping[str, Any]:
        if "venue" in self._given:
            return tomllib.loads(ac.Venue.load(self._given["venue"]).text)
        tree: Mapping[str, Any] = self._given["card"]
        return tree

    def formula(self, of: Mapping[str, str]) -> Answers:
        name, inputs = of["formula"], _inputs(of)
        if "account" in of:
            known = self._of_leg(of) | inputs
            takes = FORMULAS[name].inputs
            inputs = {key: known[key] for key in takes if key in known}
        return {"formula": oracle_formulas.formula(self._tree, name, inputs)}


def _against(price: Fraction, side: str) -> Fraction:
    """Round an average price to 12 decimals against the taker: up for a buy, down for a sell."""
    scaled = price * 10**12
    whole = -(-scaled.numerator // scaled.denominator) if side == "buy" else scaled // 1
    return Fraction(whole, 10**12)

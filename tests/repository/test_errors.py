"""Every kind of error of the core arrives in Python as its class, with what it saw."""

from __future__ import annotations

import pickle
import re

import pytest

import aivora_core as ac
from aivora_core import _core

KINDS: list[tuple[str, str]] = list(_core._error_kinds())


def test_codes_are_stable_and_distinct() -> None:
    codes = [code for code, _ in KINDS]
    assert len(codes) > 10
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", code) for code in codes)


@pytest.mark.parametrize(("code", "name"), KINDS)
def test_each_kind_maps_to_its_class(code: str, name: str) -> None:
    with pytest.raises(ac.AivoraError) as caught:
        _core._raise_error(code)
    error = caught.value
    assert type(error).__name__ == name
    assert getattr(ac, name) is type(error)
    assert error.code == code
    for fact in ("field", "value", "limit", "row"):
        assert hasattr(error, fact), fact
    assert error.field
    assert isinstance(error.field, str)
    assert error.row is None or isinstance(error.row, int)
    assert error.field in str(error)


def test_every_class_is_reached_by_a_kind() -> None:
    reached = {name for _, name in KINDS}
    public = {
        name
        for name in ac.__all__
        if isinstance(getattr(ac, name), type) and issubclass(getattr(ac, name), ac.AivoraError)
    }
    bases = {base.__name__ for name in reached for base in getattr(ac, name).__mro__}
    assert public - reached - bases == set()


@pytest.mark.parametrize("code", [code for code, _ in KINDS])
def test_errors_pickle(code: str) -> None:
    with pytest.raises(ac.AivoraError) as caught:
        _core._raise_error(code)
    error = caught.value
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    facts = ("code", "field", "value", "limit", "row")
    assert [getattr(twin, f) for f in facts] == [getattr(error, f) for f in facts]


def test_an_unknown_code_is_refused() -> None:
    with pytest.raises((ac.AivoraError, ValueError)):
        _core._raise_error("no_such_code")

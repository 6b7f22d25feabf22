"""Tables from wherever they come: dicts of columns, lists of rows, data frames, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aivora_core import _core

__all__ = ["columns", "read_table"]

Coded = tuple[np.ndarray[Any, Any], list[Any]]
Column = list[Any] | np.ndarray[Any, Any] | Coded

NAMES = ("account", "pool", "instrument", "leg", "side", "asset", "kind", "mode")


def columns(table: Any, name: str) -> dict[str, Column] | None:
    """Bring any accepted table into a dict of columns.

    Parameters
    ----------
    table : mapping, iterable of mappings, or data frame
        A dict of columns, a list of row dicts (a key missing in a row is absent there), or anything
        with a ``to_dict`` (pandas, polars) or ``to_pydict`` (Arrow) method. A column of names may
        be coded: a pair of codes (whole numbers) and the names at their places, or a categorical
        or dictionary column.
    name : str
        The table's name in errors.

    Returns
    -------
    dict of str to (list, numpy.ndarray or (numpy.ndarray, list)), or None
        Arrays are one-dimensional, contiguous, int64 or float64; a pair is codes and names; all
        else is a list.

    Raises
    ------
    TableError
        ``bad_column`` for what is no table.

    Examples
    --------
    >>> from aivora_core.frames import columns
    >>> columns([{"account": "a", "amount": "1"}, {"account": "b"}], "collateral")
    {'account': ['a', 'b'], 'amount': ['1', None]}
    """
    if table is None:
        return None
    if hasattr(table, "to_pydict"):
        table = {key: table[key] for key in table.schema.names}
    elif hasattr(table, "to_dict"):
        table = {key: table[key] for key in table.columns}
    if hasattr(table, "keys"):
        return {str(key): _column(table[key], name, str(key)) for key in table.keys()}  # noqa: SIM118
    rows = list(table)
    keys: dict[str, None] = {}
    for place, row in enumerate(rows):
        if not hasattr(row, "keys"):
            raise _core._error("bad_column", name, repr(row)[:80], "a row must be a mapping", place)
        keys.update(dict.fromkeys(row))
    return {str(key): [row.get(key) for row in rows] for key in keys}


def _column(values: Any, name: str, key: str) -> Column:
    """A list as it is; an array as contiguous int64 or float64, or as a list; codes with names."""
    if isinstance(values, list):
        return values
    field = f"{name}.{key}"
    if isinstance(values, tuple) and any(isinstance(part, np.ndarray) for part in values):
        return _pair(values, field, key)
    if key in NAMES and (coded := _coded(values)) is not None:
        return coded
    if hasattr(values, "to_pylist"):  # Arrow
        return list(values.to_pylist())
    if hasattr(values, "to_numpy"):  # pandas, polars
        values = values.to_numpy()
    if isinstance(values, np.ndarray):
        return _array(values, field)
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise _core._error("bad_column", field, repr(values)[:80], "must be a column", None)
    return list(values)


def _array(values: np.ndarray[Any, Any], field: str) -> Column:
    if values.ndim != 1:
        shape = "x".join(map(str, values.shape))
        raise _core._error("bad_column", field, shape, "must be one-dimensional", None)
    if values.dtype.kind in "iu" and np.can_cast(values.dtype, np.int64):
        return np.ascontiguousarray(values, dtype=np.int64)
    if values.dtype.kind == "f":
        return np.ascontiguousarray(values, dtype=np.float64)
    return list(values.tolist())


def _pair(pair: tuple[Any, ...], field: str, key: str) -> Coded:
    """Codes and names as they were given, checked."""
    if key not in NAMES:
        limit = "only a column of names may be a pair of codes and names"
        raise _core._error("bad_column", field, "a tuple", limit, None)
    codes, names = pair if len(pair) == 2 else (None, None)  # noqa: PLR2004 - a pair
    if isinstance(codes, np.ndarray):
        codes = _array(codes, field) if codes.dtype.kind in "iu" else None
    if isinstance(names, (np.ndarray, tuple)):
        names = list(names.tolist() if isinstance(names, np.ndarray) else names)
    if not isinstance(codes, np.ndarray) or not isinstance(names, list):
        limit = "must be an array of integer codes (at most int64) and a list of names"
        raise _core._error("bad_column", field, "a tuple", limit, None)
    return codes, names


def _coded(values: Any) -> Coded | None:
    """Codes and names of a categorical or dictionary column; None for any other."""
    values = getattr(values, "values", values) if hasattr(values, "cat") else values
    if hasattr(values, "categories") and hasattr(values, "codes"):  # pandas
        return _filled(np.asarray(values.codes), list(values.categories))
    if hasattr(values, "combine_chunks"):  # an Arrow column: one array
        values = values.combine_chunks()
    if hasattr(values, "indices") and hasattr(values, "dictionary"):  # Arrow
        codes = values.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return _filled(codes, values.dictionary.to_pylist())
    if str(getattr(values, "dtype", "")).startswith(("Categorical", "Enum")):  # polars
        places = values.to_physical().cast(int).fill_null(-1).to_numpy()
        named = values.drop_nulls().unique()
        names: list[Any] = [None] * (int(places.max(initial=-1)) + 1)
        for place, text in zip(
            named.to_physical().to_list(), named.cast(str).to_list(), strict=True
        ):
            names[place] = text
        return _filled(places, names)
    return None


def _filled(codes: np.ndarray[Any, Any], names: list[Any]) -> Coded:
    """The same with what is missing, at code -1, as a name that is None."""
    codes = codes.astype(np.int64)
    codes[codes < 0] = len(names)
    return codes, [*names, None]


def read_table(path: str | Path) -> dict[str, Column]:
    r"""Read a CSV or JSON file as columns of text, numbers unread.

    Parameters
    ----------
    path : str or Path
        ``.csv`` with a header line; ``.json`` holding a list of rows or a dict of columns;
        ``.jsonl`` with a row a line.

    Returns
    -------
    dict of str to list
        Cells as text. JSON numbers keep the digits they were written with.

    Raises
    ------
    BookError
        ``corrupt_line`` naming the line.
    TableError
        ``bad_column`` for a file of another kind.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from aivora_core.frames import read_table
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "collateral.csv"
    >>> _ = path.write_text("account,amount\nalice,12.50\n")
    >>> read_table(path)
    {'account': ['alice'], 'amount': ['12.50']}
    """
    path = Path(path)
    readers = {".csv": _read_csv, ".json": _read_json, ".jsonl": _read_json_lines}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        limit = f"must end in one of {', '.join(readers)}"
        raise _core._error("bad_column", str(path), path.suffix or "no ending", limit, None)
    try:
        found = columns(reader(path), path.name)
    except UnicodeDecodeError as error:
        seen = f"byte {error.object[error.start]:#x} at {error.start}"
        limit = "must be UTF-8 text"
        raise _core._error("corrupt_line", str(path), seen, limit, None) from None
    assert found is not None  # noqa: S101 - a table was given
    return found


def _read_csv(path: Path) -> dict[str, list[str]]:
    import csv

    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows, None)
        if not header:
            raise _core._error("corrupt_line", str(path), "nothing", "must have a header line", 1)
        header = [name.strip() for name in header]
        if len(set(header)) != len(header):
            limit = "every column once"
            raise _core._error("corrupt_line", str(path), ",".join(header), limit, 1)
        table: dict[str, list[str]] = {name: [] for name in header}
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                limit = f"must have {len(header)} cells"
                raise _core._error(
                    "corrupt_line", str(path), f"{len(row)} cells", limit, rows.line_num
                )
            for name, cell in zip(header, row, strict=True):
                table[name].append(cell.strip())
    return table


def _read_json(path: Path) -> Any:
    import json

    try:
        # Numbers keep their digits: 0.1 in a file is the text 0.1, never a float.
        return json.loads(path.read_text(encoding="utf-8"), parse_float=str, parse_int=str)
    except json.JSONDecodeError as error:
        raise _core._error(
            "corrupt_line", str(path), error.msg, "must be JSON", error.lineno
        ) from None


def _read_json_lines(path: Path) -> list[Any]:
    import json

    rows = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                rows.append(json.loads(line, parse_float=str, parse_int=str))
            except json.JSONDecodeError as error:
                raise _core._error(
                    "corrupt_line", str(path), error.msg, "must be JSON", number
                ) from None
    return rows

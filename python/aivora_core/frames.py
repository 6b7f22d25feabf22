"""Tables from wherever they come: dicts of columns, lists of rows, data frames, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aivora_core import _core

__all__ = ["columns", "read_table"]

Column = list[Any] | np.ndarray[Any, Any]


def columns(table: Any, name: str) -> dict[str, Column] | None:
    """Bring any accepted table into a dict of columns.

    Parameters
    ----------
    table : mapping, iterable of mappings, or data frame
        A dict of columns, a list of row dicts (a key missing in a row is absent there), or anything
        with a ``to_dict`` (pandas, polars) or ``to_pydict`` (Arrow) method.
    name : str
        The table's name in errors.

    Returns
    -------
    dict of str to (list or numpy.ndarray), or None
        Arrays are one-dimensional, contiguous, int64 or float64; all else is a list.

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
        table = table.to_pydict()
    elif hasattr(table, "to_dict"):
        table = {key: table[key].to_numpy() for key in table.columns}
    if hasattr(table, "keys"):
        return {str(key): _column(table[key], f"{name}.{key}") for key in table.keys()}  # noqa: SIM118
    rows = list(table)
    keys: dict[str, None] = {}
    for place, row in enumerate(rows):
        if not hasattr(row, "keys"):
            raise _core._error("bad_column", name, repr(row)[:80], "a row must be a mapping", place)
        keys.update(dict.fromkeys(row))
    return {str(key): [row.get(key) for row in rows] for key in keys}


def _column(values: Any, field: str) -> Column:
    """A list as it is; an array as contiguous int64 or float64, or as a list of its values."""
    if isinstance(values, list):
        return values
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            shape = "x".join(map(str, values.shape))
            raise _core._error("bad_column", field, shape, "must be one-dimensional", None)
        if np.can_cast(values.dtype, np.int64) and values.dtype.kind in "iu":
            return np.ascontiguousarray(values, dtype=np.int64)
        if values.dtype.kind == "f":
            return np.ascontiguousarray(values, dtype=np.float64)
        return list(values.tolist())
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise _core._error("bad_column", field, repr(values)[:80], "must be a column", None)
    return list(values)


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

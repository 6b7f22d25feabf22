"""The errors of the core: one tree, each with a stable code, field, value seen and limit."""

from __future__ import annotations

__all__ = [
    "AivoraError",
    "BookError",
    "CardError",
    "FloatGivenError",
    "InvariantBroken",
    "JournalError",
    "LimitExceeded",
    "NumberError",
    "PriceError",
    "Refused",
    "TableError",
    "UnknownNameError",
]


class AivoraError(Exception):
    """The base of every error of this package.

    Attributes
    ----------
    code : str
        What went wrong, stable across versions (``off_grid``, ``missing_price``, ...).
    field : str
        The field, column or place in a card concerned.
    value : str
        The value that was seen.
    limit : str
        What would have been accepted.
    row : int or None
        The row of a table (from 0) or the line of a file (from 1).
    file : str or None
        The card file that it is in.
    """

    code: str
    field: str
    value: str
    limit: str
    row: int | None
    file: str | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        field: str = "",
        value: str = "",
        limit: str = "",
        row: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.value = value
        self.limit = limit
        self.row = row

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with all attributes."""
        return _again, (type(self), str(self), dict(self.__dict__))

    def to_dict(self) -> dict[str, str | int | None]:
        """All that the error carries, for ``--json`` and logs; ``file`` only where it is known."""
        named = {} if self.file is None else {"file": self.file}
        return {
            **named,
            "code": self.code,
            "field": self.field,
            "value": self.value,
            "limit": self.limit,
            "row": self.row,
            "message": str(self),
        }


def _again(kind: type[AivoraError], message: str, state: dict[str, object]) -> AivoraError:
    error = kind(message)
    error.__dict__.update(state)
    return error


class NumberError(AivoraError, ValueError):
    """A number could not be read, is off its grid, or left its range."""


class FloatGivenError(AivoraError, TypeError):
    """A float stands where an exact number is asked."""


class CardError(AivoraError, ValueError):
    """A venue card is wrong."""


class TableError(AivoraError, ValueError):
    """A table of positions, collateral, orders or pools is wrong."""


class UnknownNameError(AivoraError, LookupError):
    """A venue, instrument, account, asset or leg is not known."""


class PriceError(AivoraError, ValueError):
    """A price is missing or wrong."""


class BookError(AivoraError, ValueError):
    """An order book, a message to it, or a line of a feed is wrong."""


class Refused(AivoraError):
    """An engine refuses what it is told, by its rules."""


class JournalError(AivoraError, OSError):
    """A journal is damaged, or cannot be read or written."""


class LimitExceeded(AivoraError):
    """A bound of the core was reached."""


class InvariantBroken(AivoraError, RuntimeError):
    """The core contradicts itself: a defect, please report it."""

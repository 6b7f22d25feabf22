"""Liquidation policies side by side: the same state, the same book, the same shock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aivora_core import _core

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from aivora_core.engine import Engine

__all__ = ["POLICIES", "compare"]

_HEAD = 'schema = "aivora-liquidation/0"\nadl = "profit_leverage"\n'

#: Ways to close, with a fee of half a percent each. No figure is any venue's.
POLICIES = {
    "full": _HEAD + 'close = "full"\nfee = "0.005"\n',
    "staged": _HEAD
    + 'close = "staged"\nshare = "0.2"\nabove = "1000"\ncooldown_ms = 0\nfee = "0.005"\n',
    "minimal": _HEAD + 'close = "minimal"\ntarget = "maintenance"\nfee = "0.005"\n',
    "minimal, initial": _HEAD + 'close = "minimal"\ntarget = "initial"\nfee = "0.005"\n',
    "step down": _HEAD + 'close = "step_down"\nbrackets = 1\nfee = "0.005"\n',
}


def compare(
    engine: Engine,
    marks: Mapping[str, int | str | Decimal],
    counterparty: str,
    *,
    policies: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Tell each policy the same marks in the same state, and let the engine's books answer.

    Parameters
    ----------
    engine : Engine
        In the state before; it is not changed.
    marks : mapping
        The marks that come, by symbol.
    counterparty : str
        The pool that takes the other side of forced orders.
    policies : mapping, optional
        Names and texts; those of `POLICIES` without it.

    Returns
    -------
    list of dict
        For each policy: ``started``, ``finished``, ``orders``, ``deleveraged``, ``taken_over``, and
        in quanta of the settlement asset ``closed`` (at the mark), ``left`` to the pools, ``fees``,
        ``insurance`` paid and ``socialised``.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core.liquidation import compare
    >>> eng = ac.Engine("demo")
    >>> gateway = eng.source(1)
    >>> for event in [
    ...     gateway.mark("BTC", 64000, time=0),
    ...     gateway.fees("BTC", taker=0, maker=0, time=0),
    ...     gateway.pool_open("alice", time=0),
    ...     gateway.pool_open("maker", time=0),
    ...     gateway.event(
    ...         "book_snapshot", time=0, instrument="BTC", bids=[(62240, 2)], asks=[(62260, 2)]
    ...     ),
    ... ]:
    ...     assert eng.apply(event)
    >>> for name, amount in (("alice", 2000), ("maker", 500_000)):
    ...     assert eng.apply(gateway.deposit(name, "USDT", amount, time=0))
    >>> assert eng.apply(
    ...     gateway.fill("BTC", 64000, 1, buyer="alice", seller="maker", taker="buy", time=0)
    ... )
    >>> rows = compare(eng, {"BTC": 62250}, "maker")
    >>> [(row["policy"], row["orders"], row["closed"] // 10**6) for row in rows][:3]
    [('full', 1, 62250), ('staged', 1, 12450), ('minimal', 1, 62250)]
    """
    found = []
    for name, policy in (POLICIES if policies is None else policies).items():
        fork = engine.fork(policy)
        source = fork.source(65_535)
        time = fork.time or 0
        answers = [
            fork.apply(source.mark(symbol, mark, time=time)) for symbol, mark in marks.items()
        ]
        answers += fork.execute(source, counterparty, time=time)
        found.append({"policy": name} | _core._tally(fork.native, answers))
    return found

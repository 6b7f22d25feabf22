"""The command line: ``aivora run|check|walk|explain|venues|liquidate|...``; ``--help`` names all.

Each takes ``--json``. Exit code 0: it did its job; 2: bad input; 1 only from ``case run``, where a
case failed, and from ``verify``, where something is not as it was written.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from aivora_core import __version__
from aivora_core.cli import commands
from aivora_core.errors import AivoraError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["main"]


def _inputs() -> argparse.ArgumentParser:
    """The options that say what to look at; without any, a made-up portfolio."""
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("input (without any: a portfolio made up from a seed)")
    group.add_argument("--venue", help="built-in card (aivora venues list) or path of a TOML card")
    group.add_argument("--positions", metavar="FILE", help="CSV, JSON or JSON lines")
    group.add_argument("--collateral", metavar="FILE", help="CSV, JSON or JSON lines")
    group.add_argument("--orders", metavar="FILE", help="open orders")
    group.add_argument("--pools", metavar="FILE", help="kinds and leverages of pools")
    group.add_argument("--prices", metavar="FILE", help="CSV or JSON with instrument and mark")
    group.add_argument(
        "--mark", action="append", default=[], metavar="SYMBOL=PRICE", help="a mark; repeatable"
    )
    group.add_argument(
        "--entry-rounding",
        choices=["against_account"],
        help="accept average entries that give no whole cost",
    )
    group.add_argument("--accounts", type=int, default=10_000, help="how many to make up")
    group.add_argument("--seed", type=int, default=20251010, help="what to make them up from")
    return parser


def _feed_options(run: argparse.ArgumentParser) -> None:
    """The options of a run on a recorded feed."""
    group = run.add_argument_group("feed (replayed into its book, with forced exits through it)")
    group.add_argument("--feed", metavar="FILE", help="recorded raw messages, plain or gzip")
    group.add_argument("--symbol", help="the feed's instrument; the busiest without it")
    group.add_argument("--instrument", help="what the card (--venue) calls it")
    group.add_argument("--every", default="1", metavar="SECONDS", help="how often to look (1)")
    group.add_argument("--sizes", metavar="Q,Q", help="quantities to exit with")
    group.add_argument("--taker-fee", metavar="RATE", help="a fee rate, where no card says it")
    group.add_argument(
        "--on-gap",
        choices=["resync", "error"],
        default="resync",
        help="where a message was lost: wait for the next snapshot, or stop",
    )
    group.add_argument("--plot", metavar="FILE", help="draw it (.svg, .png, .pdf; extra: plot)")


def _journal_options(run: argparse.ArgumentParser) -> None:
    """The options of a run that writes a journal."""
    group = run.add_argument_group("journal (an engine driven through a day, written down)")
    group.add_argument("--journal", metavar="DIR", help="a directory for a new journal")
    group.add_argument("--events", metavar="FILE", help="JSON lines; a made-up day without it")
    group.add_argument("--count", type=int, default=5_000, help="events to make up (5000)")
    group.add_argument("--policy", metavar="FILE", help="how the venue liquidates (TOML)")
    group.add_argument("--fsync", default="batch:256", help="always, batch:N or none (batch:256)")


def _journal_commands(
    sub: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """The commands that read a journal."""
    from aivora_core.cli import journal
    from aivora_core.day import MAKER

    replay = sub.add_parser("replay", parents=[shared], help="take a journal's events again")
    replay.add_argument("journal", metavar="DIR")
    replay.set_defaults(call=journal.replay)

    verify = sub.add_parser(
        "verify",
        parents=[shared],
        help="check a journal and decide it again with the oracle; exit 1 on a mismatch",
    )
    verify.add_argument("journal", metavar="DIR")
    verify.add_argument("--head", metavar="HEX", help="a head of its chain that was kept elsewhere")
    verify.add_argument("--hashes", action="store_true", help="only bytes and hashes: fast")
    verify.set_defaults(call=journal.verify)

    liquidate = sub.add_parser(
        "liquidate", parents=[shared], help="liquidation policies on one state and book"
    )
    liquidate.add_argument("--compare", action="store_true", help="all of them (the default)")
    liquidate.add_argument("--venue", help="built-in card or path of a TOML card")
    liquidate.add_argument("--policy", action="append", default=[], metavar="FILE", help="one more")
    liquidate.add_argument("--journal", metavar="DIR", help="the state that a journal ends with")
    liquidate.add_argument(
        "--counterparty", default=MAKER, metavar="POOL", help=f"who takes the other side ({MAKER})"
    )
    liquidate.add_argument("--drop", type=int, default=5, help="by how many percent marks fall (5)")
    liquidate.add_argument("--accounts", type=int, default=200)
    liquidate.add_argument("--seed", type=int, default=20251010)
    liquidate.set_defaults(call=journal.liquidate)

    actions = sub.add_parser("journal", help="look into a journal")
    kinds = actions.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = kinds.add_parser("show", parents=[shared], help="its events, and what followed")
    show.add_argument("journal", metavar="DIR")
    show.add_argument("--rows", type=int, default=40, help="how many to show (40)")
    show.add_argument("--start", type=int, default=0, help="from which position on")
    show.add_argument("--outcome", metavar="NAME", help="only events that this followed from")
    show.set_defaults(call=journal.show)
    export = kinds.add_parser("export", parents=[shared], help="write its events to a file")
    export.add_argument("journal", metavar="DIR")
    export.add_argument("--to", required=True, metavar="FILE", help="JSON lines, or .parquet")
    export.set_defaults(call=journal.export)


def _venue_commands(
    sub: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> None:
    """The commands about cards."""
    from aivora_core.cli import formula as formulas
    from aivora_core.cli import venues

    actions = sub.add_parser("venues", help="what venues define, and what they leave unsaid")
    kinds = actions.add_subparsers(dest="action", required=True, metavar="ACTION")
    tables = argparse.ArgumentParser(add_help=False)
    for name in ("positions", "collateral", "orders", "pools"):
        tables.add_argument(f"--{name}", metavar="FILE", help="CSV, JSON or JSON lines")
    tables.add_argument("--mark", action="append", default=[], metavar="SYMBOL=PRICE")

    listed = kinds.add_parser("list", parents=[shared], help="all built-in cards")
    listed.set_defaults(call=venues.listed)

    show = kinds.add_parser("show", parents=[shared], help="a card, figure by figure")
    show.add_argument("name", metavar="VENUE", help="built-in card or path of a TOML card")
    show.add_argument("figure", nargs="?", help="only this one")
    show.set_defaults(call=venues.show)

    ask = kinds.add_parser("formula", parents=[shared], help="one figure, by the card's formula")
    ask.add_argument("name", metavar="VENUE", help="built-in card or path of a TOML card")
    ask.add_argument("formula", nargs="?", help="all of them, and what the card lacks, without it")
    ask.add_argument("inputs", nargs="*", metavar="KEY=VALUE", help="its inputs, exact")
    ask.set_defaults(call=formulas.formula)

    _score_options(
        kinds.add_parser(
            "score", parents=[shared, tables], help="defined, unsaid, contradictory, and its price"
        )
    )

    diff = kinds.add_parser(
        "diff", parents=[shared, tables], help="two cards, in words and in effect"
    )
    diff.add_argument("old", metavar="OLD", help="built-in card or path of a TOML card")
    diff.add_argument("new", metavar="NEW")
    diff.add_argument("--accounts", type=int, default=10_000, help="how many to make up")
    diff.add_argument("--seed", type=int, default=20251010)
    diff.add_argument(
        "--rows", type=int, default=10, help="how many of each kind to print (10); --json has all"
    )
    diff.set_defaults(call=venues.diff)

    _lag_options(
        kinds.add_parser(
            "lag", parents=[shared], help="who is liquidated under which mark rule, and when"
        )
    )


def _score_options(score: argparse.ArgumentParser) -> None:
    from aivora_core.cli import venues

    score.add_argument(
        "name", nargs="?", metavar="VENUE", help="built-in card or path of a TOML card"
    )
    score.add_argument("--all", action="store_true", help="a line for each built-in card")
    score.add_argument("--side", choices=["long", "short"], help="of the position (long)")
    score.add_argument("--notional", type=int, default=venues.NOTIONAL, help="dollars (10000)")
    score.add_argument("--leverage", type=int, default=venues.LEVERAGE, help="of it (10)")
    score.set_defaults(call=venues.scored)


def _lag_options(lag: argparse.ArgumentParser) -> None:
    from aivora_core.cli import venues

    lag.add_argument("--venue", default="reference", help="whose margin rules hold (reference)")
    lag.add_argument("--instrument", help="the first of the card without it")
    lag.add_argument(
        "--rule", action="append", default=[], metavar="VENUE", help="whose mark rule (repeatable)"
    )
    lag.add_argument(
        "--window",
        action="append",
        default=[],
        metavar="TIME",
        help="an average basis over it: 10s, 30min (repeatable); without it and --rule all",
    )
    lag.add_argument("--drop", default="10", metavar="PERCENT", help="how far the index falls (10)")
    lag.add_argument("--fall", type=int, default=60, metavar="SECONDS", help="in what time (60)")
    lag.add_argument("--back", default="40", metavar="PERCENT", help="of the fall, taken back (40)")
    lag.add_argument(
        "--bounce", type=int, default=300, metavar="SECONDS", help="in what time (300)"
    )
    lag.add_argument(
        "--overshoot", default="6", metavar="PERCENT", help="how much further the own book goes (6)"
    )
    lag.add_argument(
        "--close", type=int, default=240, metavar="SECONDS", help="until it is back at the index"
    )
    lag.add_argument("--feed", metavar="FILE", help="a recorded book, instead of a made-up path")
    lag.add_argument("--index-feed", metavar="FILE", help="another, in place of the index")
    lag.add_argument(
        "--scale", metavar="FILE", help="hourly candles (Parquet; extra: arrow), for scale only"
    )
    lag.add_argument("--scale-day", default="2025-10-10", metavar="DAY", help="2025-10-10")
    lag.add_argument("--accounts", type=int, default=2_000)
    lag.add_argument("--seed", type=int, default=20251010)
    lag.add_argument("--plot", metavar="FILE", help="draw it (.svg, .png, .pdf; extra: plot)")
    lag.set_defaults(call=venues.lag)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aivora", description="The risk core of a perpetual-futures venue."
    )
    parser.add_argument("--version", action="version", version=f"aivora {__version__}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print JSON instead of text")
    inputs = _inputs()
    sub = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = sub.add_parser(
        "run",
        parents=[shared, inputs],
        help="the main job: check, explain the worst, walk its exit",
    )
    _feed_options(run)
    _journal_options(run)
    run.set_defaults(call=commands.run)

    _journal_commands(sub, shared)
    _venue_commands(sub, shared)

    check = sub.add_parser("check", parents=[shared, inputs], help="check every pool")
    check.add_argument("--rows", type=int, default=20, help="rows to print, worst first")
    check.add_argument("--threads", type=int, default=1)
    check.set_defaults(call=commands.check)

    walk = sub.add_parser("walk", parents=[shared, inputs], help="walk an order book")
    walk.add_argument("--instrument", default="BTC")
    walk.add_argument("--side", choices=["buy", "sell"], required=True)
    size = walk.add_mutually_exclusive_group(required=True)
    size.add_argument("--quantity")
    size.add_argument("--notional")
    size.add_argument("--slippage-bps", help="the largest size within this slippage")
    walk.add_argument("--limit", help="walk no further than this price")
    source = walk.add_mutually_exclusive_group()
    source.add_argument(
        "--book", metavar="FILE", help='JSON: {"bids": [[price, size]], "asks": ...}'
    )
    source.add_argument("--feed", metavar="FILE", help="recorded snapshots; the last one is walked")
    walk.set_defaults(call=commands.walk)

    explain = sub.add_parser("explain", parents=[shared, inputs], help="explain one pool")
    explain.add_argument("account")
    explain.add_argument("--pool", help="where the account has several")
    explain.set_defaults(call=commands.explain)

    case = sub.add_parser("case", help="portable cases")
    cases = case.add_subparsers(dest="action", required=True, metavar="ACTION")
    case_run = cases.add_parser(
        "run", parents=[shared], help="run case files; exit 1 on a mismatch"
    )
    case_run.add_argument("files", nargs="+", metavar="FILE", help="case files or folders of them")
    case_run.add_argument(
        "--engine", choices=["core", "oracle"], default="core", help="what answers the case"
    )
    case_run.set_defaults(call=commands.case_run)

    bench = sub.add_parser("bench", parents=[shared], help="ratios to pure Python, on this machine")
    bench.add_argument(
        "what", nargs="?", choices=["all", "watch"], default="all", help="watch: ticks alone"
    )
    bench.add_argument("--accounts", type=int, default=200_000)
    bench.add_argument("--seed", type=int, default=20251010)
    bench.set_defaults(call=commands.bench)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process when absent.

    Returns
    -------
    int
        The exit code.

    Examples
    --------
    >>> from aivora_core.cli import main
    >>> main(["explain", "nobody", "--accounts", "3", "--json"])
    2
    """
    arguments = _parser().parse_args(argv)
    try:
        found = arguments.call(arguments)
    except AivoraError as error:
        where = "" if error.file is None else f"{error.file}: "
        return _bad_input(error.to_dict(), f"{where}{error}", as_json=arguments.json)
    except OSError as error:
        report = {"code": "no_such_file", "field": str(error.filename), "message": str(error)}
        return _bad_input(report, str(error), as_json=arguments.json)
    text = json.dumps(found.data, indent=1, default=str) if arguments.json else found.text
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader (head, less) has seen enough; nothing is left to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(found.code)


def _bad_input(report: Mapping[str, object], message: str, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": report}, indent=1), file=sys.stderr)
    else:
        print(f"aivora: {message}", file=sys.stderr)
    return 2

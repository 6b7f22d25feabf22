"""The formats of venues: what a line of a recorded feed says, in one vocabulary.

A format recognises the frames of its venue and turns each into a `FeedMessage`; how the messages
are kept in step is said by its `Rule`. Prices and quantities stay as the venue wrote them.

>>> from aivora_core.adapters.formats import FORMATS
>>> sorted(FORMATS)
['binance_futures', 'bitmex', 'bybit', 'dydx', 'hyperliquid', 'kraken_futures', 'okx']
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aivora_core._core import Book

__all__ = [
    "FORMATS",
    "BinanceFutures",
    "Bitmex",
    "Bybit",
    "Dydx",
    "FeedFormat",
    "FeedMessage",
    "Hyperliquid",
    "KrakenFutures",
    "Level",
    "Okx",
    "Rule",
]

Level = tuple[str, str]
"""A price and a quantity, as the venue wrote them."""

_NUMBER_MAX = 1 << 63
"""Sequence numbers stay below it: columns of int64 hold them."""


@dataclass(frozen=True, slots=True)
class FeedMessage:
    """One message of a feed.

    Attributes
    ----------
    line : int
        Its line in the file, from 1.
    received_ns : int
        When it was received, in nanoseconds since 1970.
    kind : {"snapshot", "delta", "quote", "other"}
        What it says of the book: all of it, what changed, its best prices, or nothing.
    symbol : str
        The instrument, as the venue names it; empty where the message names none.
    bids, asks : tuple of (str, str)
        Price and quantity of each level, best first in a snapshot.
    sequence, previous : int or None
        Its sequence number and that of the message before it, where the venue gives them.
    first : int or None
        The first number that a delta covers, where it covers several.
    venue_ms : int or None
        The venue's own time, in milliseconds since 1970.
    checksum : int or None
        The venue's checksum of the book after this message.
    offsets : tuple of int
        A number for each level, bids before asks, where a snapshot has them.
    missing : str
        What the message shows to have been lost before it; empty when nothing.
    """

    line: int
    received_ns: int
    kind: Literal["snapshot", "delta", "quote", "other"]
    symbol: str
    bids: tuple[Level, ...] = ()
    asks: tuple[Level, ...] = ()
    sequence: int | None = None
    previous: int | None = None
    venue_ms: int | None = None
    first: int | None = None
    checksum: int | None = None
    offsets: tuple[int, ...] = ()
    missing: str = ""

    def apply(self, book: Book) -> bool:
        """Apply the message to a book as it stands, and answer whether it concerned the book.

        This is the book's own rule only; the venue's is `Synchroniser`'s.

        Examples
        --------
        >>> import aivora_core as ac
        >>> from aivora_core.adapters.feeds import FeedMessage
        >>> book = ac.Book(ac.Venue.load("demo")["BTC"])
        >>> FeedMessage(1, 0, "snapshot", "BTC", bids=(("64000", "1"),)).apply(book)
        True
        >>> book.best_bid
        Decimal('64000')
        """
        if self.kind == "snapshot":
            book.snapshot(self.bids, self.asks, self.sequence)
        elif self.kind == "delta":
            book.delta(self.bids, self.asks, self.sequence, self.previous)
        return self.kind in {"snapshot", "delta"}


@dataclass(frozen=True, slots=True)
class Rule:
    """How the deltas of a venue are kept in step with its snapshot.

    Attributes
    ----------
    snapshot : {"inside", "beside"}
        ``inside``: the stream itself sends it, before the deltas that follow it. ``beside``: it is
        asked for while deltas flow; deltas wait for it, those it already holds are dropped, and
        the first one applied must cover its number.
    link : {"previous", "rising", "none"}
        How a delta is tied to the one before it: it names its number; its own number only rises;
        or nothing ties them, and a lost delta cannot be seen.
    checksum : bool
        Each message carries a CRC-32 of the best 25 levels of both sides.
    offsets : bool
        Each level has its own number, an older one never replaces a newer one, and where bids and
        asks cross, the older level goes.
    source : str
        The page that says so.
    """

    snapshot: Literal["inside", "beside"] = "inside"
    link: Literal["previous", "rising", "none"] = "none"
    checksum: bool = False
    offsets: bool = False
    source: str = ""


class FeedFormat(Protocol):
    """What a venue's format has to say; a new one is entered in `FORMATS`.

    One object reads one recording: it may remember what earlier lines said.
    """

    title: ClassVar[str]
    rule: ClassVar[Rule]

    def recognises(self, payload: Any) -> bool:
        """Tell whether a line's JSON is of this format."""
        ...

    def message(self, line: int, received_ns: int, payload: Any) -> FeedMessage:
        """Turn a line's JSON into a message; anything but `FeedMessage` is a corrupt line."""
        ...

    def in_base(self, symbol: str) -> bool:
        """Tell whether the venue counts this instrument in units of the base asset."""
        ...


def _text(value: object) -> str:
    if not isinstance(value, str):
        msg = f"{value!r} is not a string"
        raise TypeError(msg)
    return value


def _number(value: object) -> str:
    """A price or a quantity: text, or a number of the JSON with its digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(value)


def _count(value: object, least: int = 0) -> int:
    """A sequence number or a time, as a number or as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:  # noqa: PLR2004
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < _NUMBER_MAX:
        msg = f"{value!r} is not a number from {least} to 2^63 - 1"
        raise ValueError(msg)
    return value


def _pairs(rows: Iterable[Any]) -> tuple[Level, ...]:
    """Levels given as lists that begin with price and quantity."""
    return tuple([(_number(row[0]), _number(row[1])) for row in rows])


def _named(rows: Iterable[Any], price: str, quantity: str) -> tuple[Level, ...]:
    return tuple([(_number(row[price]), _number(row[quantity])) for row in rows])


def _best_first(levels: Iterable[Level], *, bids: bool) -> tuple[Level, ...]:
    """A snapshot's side in the book's order, for venues that send it in another one."""
    try:
        return tuple(sorted(levels, key=lambda level: Decimal(level[0]), reverse=bids))
    except ArithmeticError as error:  # not a number, or not comparable
        raise ValueError(str(error)) from error


def _is_zero(quantity: str) -> bool:
    return not quantity.strip("0.")


class Hyperliquid:
    """The public websocket of Hyperliquid: ``l2Book`` snapshots, trades and the rest."""

    title: ClassVar[str] = "Hyperliquid"
    rule: ClassVar[Rule] = Rule(
        source="hyperliquid.gitbook.io, API, Websocket: an l2Book is a whole book"
    )
    CHANNELS = frozenset({"l2Book", "trades"})

    def recognises(self, payload: Any) -> bool:
        """Tell whether a line's JSON is of this format."""
        channel = payload.get("channel") if isinstance(payload, dict) else None
        return isinstance(channel, str) and channel in self.CHANNELS

    def message(self, line: int, received_ns: int, payload: Any) -> FeedMessage:
        """Turn a line's JSON into a message."""
        channel, data = payload["channel"], payload["data"]
        if channel != "l2Book":
            symbol = data[0]["coin"] if isinstance(data, list) and data else ""
            return FeedMessage(line, received_ns, "other", _text(symbol))
        bids, asks = (_named(side, "px", "sz") for side in data["levels"])
        symbol, time = _text(data["coin"]), _count(data["time"])
        return FeedMessage(line, received_ns, "snapshot", symbol, bids, asks, venue_ms=time)

    def in_base(self, symbol: str) -> bool:  # noqa: ARG002
        """Tell whether the venue counts this instrument in units of the base asset."""
        return True


class BinanceFutures:
    """Binance USD-M and COIN-M futures: diff depth streams, with REST snapshots beside them."""

    title: ClassVar[str] = "Binance futures"
    rule: ClassVar[Rule] = Rule(
        snapshot="beside",
        link="previous",
        source="developers.binance.com, Derivatives, How to manage a local order book correctly",
    )

    def __init__(self) -> None:
        self._coin_margined: set[str] = set()

    def recognises(self, payload: Any) -> bool:
        """Tell whether a line's JSON is of this format."""
        if not isinstance(payload, dict):
            return False
        data = payload.get("data") if "stream" in payload else payload
        return isinstance(data, dict) and ("lastUpdateId" in data or {"e", "s"} <= data.keys())

    def message(self, line: int, received_ns: int, payload: Any) -> FeedMessage:
        """Turn a line's JSON into a message."""
        data = payload["data"] if "stream" in payload else payload
        if "lastUpdateId" in data:  # a REST answer; that of USD-M names no instrument
            return FeedMessage(
                line,
                received_ns,
                "snapshot",
                _text(data.get("symbol", "")),
                _pairs(data["bids"]),
                _pairs(data["asks"]),
                sequence=_count(data["lastUpdateId"], 1),
                venue_ms=_count(data["E"]) if "E" in data else None,
            )
        event, symbol = data.get("e"), _text(data.get("s", ""))
        if "ps" in data:  # the pair, which only COIN-M has: its contracts are worth dollars
            self._coin_margined.add(symbol)
        if event == "depthUpdate":
            return FeedMessage(
                line,
                received_ns,
                "delta",
                symbol,
                _pairs(data["b"]),
                _pairs(data["a"]),
                sequence=_count(data["u"], 1),
                previous=_count(data["pu"]),
                venue_ms=_count(data["E"]),
                first=_count(data["U"]),
            )
        if event == "bookTicker":
            bid, ask = ((_number(data[p]), _number(data[q])) for p, q in ("bB", "aA"))
            number = _count(data["u"])
            return FeedMessage(line, received_ns, "quote", symbol, (bid,), (ask,), number)
        return FeedMessage(line, received_ns, "other", symbol)

    def in_base(self, symbol: str) -> bool:
        """Tell whether the venue counts this instrument in units of the base asset."""
        return symbol not in self._coin_margined


class Bitmex:
    """BitMEX: ``orderBookL2`` rows by id; only a new row says its price."""

    title: ClassVar[str] = "BitMEX"
    rule: ClassVar[Rule] = Rule(
        source="www.bitmex.com/app/wsAPI: partial, then insert, update and delete by id"
    )
    TABLES = frozenset({"orderBookL2", "orderBookL2_25"})
    SIDES: ClassVar[dict[str, str]] = {"Buy": "bids", "Sell": "asks"}

    def __init__(self) -> None:
        self._rows: dict[str, dict[int, tuple[str, str]]] = {}  # symbol -> id -> side, price

    def recognises(self, payload: Any) -> bool:
        """Tell whether a line's JSON is of this format."""
        return isinstance(payload, dict) and (
            {"table", "action"} <= payload.keys() or "bitmex" in str(payload.get("docs", ""))
        )

    def message(self, line: int, received_ns: int, payload: Any) -> FeedMessage:
        """Turn a line's JSON into a message."""
        action, rows = payload.get("action"), payload.get("data")
        if payload.get("table") not in self.TABLES:
            symbol = rows[0].get("symbol", "") if isinstance(rows, list) and rows else ""
            return FeedMessage(line, received_ns, "other", _text(symbol))
        symbols = {_text(row["symbol"]) for row in rows}
        if action == "partial":
            symbols.add(_text(payload.get("filter", {}).get("symbol") or next(iter(symbols), "")))
        if len(symbols) != 1:
            msg = f"rows of {len(symbols)} instruments"
            raise ValueError(msg)
        symbol = symbols.pop()
        if action == "partial":
            return self._partial(line, received_ns, symbol, rows)
        if action not in {"insert", "update", "delete"}:
            msg = f"action {action!r}"
            raise ValueError(msg)
        known = self._rows.get(symbol)
        if known is None:  # the venue's rule: what comes before the partial is not for us
            return FeedMessage(line, received_ns, "delta", symbol)
        return self._change(line, received_ns, symbol, action, rows)

    def _partial(self, line: int, received_ns: int, symbol: str, rows: list[Any]) -> FeedMessage:
        known: dict[int, tuple[str, str]] = {}
        sides: dict[str, list[Level]] = {"bids": [], "asks": []}
        for row in rows:
            side, price = self.SIDES[row["side"]], _number(row["price"])
            known[_count(row["id"])] = (side, price)
            sides[side].append((price, _number(row["size"])))
        bids, asks = (_best_first(levels, bids=name == "bids") for name, levels in sides.items())
        self._rows[symbol] = known
        return FeedMessage(line, received_ns, "snapshot", symbol, bids, asks)

    def _change(
        self, line: int, received_ns: int, symbol: str, action: str, rows: list[Any]
    ) -> FeedMessage:
        known = self._rows[symbol]
        sides: dict[str, list[Level]] = {"bids": [], "asks": []}
        missing = ""
        for row in rows:
            number, side = _count(row["id"]), self.SIDES[row["side"]]
            was = known.get(number)
            if (was is None) != (action == "insert"):
                missing = f"{action} of id {number}, which is {'new' if was is None else 'known'}"
                continue
            price = _number(row["price"]) if "price" in row else was[1] if was else ""
            size = "0" if action == "delete" else _number(row["size"]) if "size" in row else ""
            if not price or not size:
                msg = f"{action} of id {number} without a price or a size"
                raise ValueError(msg)
            if was and was[0] != side:  # the level has changed hands
                sides[was[0]].append((was[1], "0"))
            sides[side].append((price, size))
            if action == "delete":
                del known[number]
            else:
                known[number] = (side, price)
        bids, asks = (tuple(levels) for levels in sides.values())
        return FeedMessage(line, received_ns, "delta", symbol, bids, asks, missing=missing)

    def in_base(self, symbol: str) -> bool:  # noqa: ARG002
        """Tell whether the venue counts this instrument in units of the base asset."""
        return False


class Bybit:
    """Bybit before version 5: ``orderBookL2`` topics with delete, update and insert lists."""

    title: ClassVar[str] = "Bybit"
    rule: ClassVar[Rule] = Rule(
        link="rising",
        source="bybit-exchange.github.io, docs-legacy, orderBookL2_25: cross_seq rises",
    )

    def recognises(self, payload: Any) -> bool:
        """Tell whether a line's JSON is of this format."""
        if not isinstance(payload, dict):
            return False
        topic = payload.get("topic")
        return {"ret_msg", "conn_id"} <= payload.keys() or (
            isinstance(topic, str) and topic.startswith(("orderBookL2", "orderBook_200", "trade."))
        )

    def message(self, line: int, received_ns: int, payload: Any) -> FeedMessage:
        """Turn a line's JSON into a message."""
        topic = _text(payload.get("topic", ""))
        name, _, symbol = topic.partition(".")
        if not name.startswith("orderBook"):
            return FeedMessage(line, received_ns, "other", symbol)
        data, kind = payload["data"], payload["type"]
        if kind == "snapshot":  # inverse contracts send the list alone
            rows = data if isinstance(data, list) else data["order_book"]
        elif kind == "delta":
            rows = [{**row, "size": "0"} for row in data["delete"]]
            rows += [*data["update"], *data["insert"]]
        else:
            msg = f"type {kind!r}"
            raise ValueError(msg)
        sides: dict[str, list[Level]] = {"Buy": [], "Sell": []}
        for row in rows:
            sides[row["side"]].append((_number(row["price"]), _number(row["size"])))
        bids, asks = tuple(sides["Buy"]), tuple(sides["Sell"])
        if kind == "snapshot":
            bids, asks = _best_first(bids, bids=True), _best_first(asks, bids=False)
        return FeedMessage(
            line,
            received_ns,
            "snapshot" if kind == "snapshot" else "delta",
            symbol,
            bids,
            asks,
            sequence=_count(payload["cross_seq"]),
            venue_ms=_count(payload["timestamp_e6"]) // 1000,
        )

    def in_base(self, symbol: str) -> bool:
        """Tell whether the venue counts this instrument in units of the base asset."""
        return symbol.endswith("USDT")


class Dydx:
    """dYdX version 3: ``v3_orderbook`` with an offset for each level."""

    title: ClassVar[str] = "dYdX v3"
    rule: ClassVar[Rule] = Rule(
        offsets=True,
        source="docs.dydx.exchange, v3_orderbook (offsets) and How to uncross the orderbook",
    )

    def recognises(self, payload: Any) -> bool:
        """Tell whether a line's JSON is of this format."""
        return isinstance(payload, dict) and {"type", "connection_id"} <= payload.keys()

    def message(self, line: int, received_ns: int, payload: Any) -> FeedMessage:
        """Turn a line's JSON into a message."""
        kind, symbol = payload.get("type"), _text(payload.get("id", ""))
        if payload.get("channel") != "v3_orderbook" or kind not in {"subscribed", "channel_data"}:
            return FeedMessage(line, received_ns, "other", symbol)
        said = payload["contents"]
        if kind == "channel_data":
            number = _count(said["offset"])
            bids, asks = _pairs(said["bids"]), _pairs(said["asks"])
            return FeedMessage(line, received_ns, "delta", symbol, bids, asks, sequence=number)
        sides, offsets = [], []
        for name in ("bids", "asks"):
            number_of = {_number(row["price"]): _count(row["offset"]) for row in said[name]}
            levels = [
                level for level in _named(said[name], "price", "size") if not _is_zero(level[1])
            ]
            ordered = _best_first(levels, bids=name == "bids")
            sides.append(ordered)
            offsets += [number_of[price] for price, _ in ordered]
        bids, asks = sides
        return FeedMessage(
            line, received_ns, "snapshot", symbol, bids, asks, offsets=tuple(offsets)
        )

    def in_base(self, symbol: str) -> bool:  # noqa: ARG002
        """Tell whether the venue counts this instrument in units of the base asset."""
        return True


class KrakenFutures:
    """Kraken Futures version 1: ``book_snapshot``, then one level a message."""

    title: ClassVar[str] = "Kraken Futures"
    rule: ClassVar[Rule] = Rule(
        link="previous", source="docs.kraken.com, Futures, Websocket, Book: seq rises by 1"
    )

    def recognises(self, payload: Any) -> bool:
        """Tell whether a line's JSON is of this format."""
        return (
            isinstance(payload, dict)
            and "feed" in payload
            and bool({"product_id", "product_ids"} & payload.keys())
        )

    def message(self, line: int, received_ns: int, payload: Any) -> FeedMessage:
        """Turn a line's JSON into a message."""
        feed, symbol = payload.get("feed"), _text(payload.get("product_id", ""))
        if "event" in payload or feed not in {"book", "book_snapshot"}:
            return FeedMessage(line, received_ns, "other", symbol)
        time = _count(payload["timestamp"])
        if feed == "book_snapshot":
            bids, asks = (
                _best_first(_named(payload[name], "price", "qty"), bids=name == "bids")
                for name in ("bids", "asks")
            )
            number = _count(payload["seq"])
            return FeedMessage(
                line, received_ns, "snapshot", symbol, bids, asks, number, venue_ms=time
            )
        level = ((_number(payload["price"]), _number(payload["qty"])),)
        number = _count(payload["seq"], 1)
        bids, asks = {"buy": (level, ()), "sell": ((), level)}[payload["side"]]
        return FeedMessage(
            line, received_ns, "delta", symbol, bids, asks, number, number - 1, venue_ms=time
        )

    def in_base(self, symbol: str) -> bool:  # noqa: ARG002
        """Tell whether the venue counts this instrument in units of the base asset."""
        return False


class Okx:
    """OKX version 5: ``books`` with a checksum in every message."""

    title: ClassVar[str] = "OKX"
    rule: ClassVar[Rule] = Rule(
        checksum=True, source="www.okx.com/docs-v5, Order book channel, Checksum"
    )
    CHANNELS = frozenset({"books", "books-l2-tbt", "books50-l2-tbt"})

    def recognises(self, payload: Any) -> bool:
        """Tell whether a line's JSON is of this format."""
        arg = payload.get("arg") if isinstance(payload, dict) else None
        return isinstance(arg, dict) and "channel" in arg

    def message(self, line: int, received_ns: int, payload: Any) -> FeedMessage:
        """Turn a line's JSON into a message."""
        arg = payload.get("arg", {})
        symbol = _text(arg.get("instId", ""))
        if "event" in payload or arg.get("channel") not in self.CHANNELS:
            return FeedMessage(line, received_ns, "other", symbol)
        (data,) = payload["data"]
        checksum = data["checksum"]
        if not isinstance(checksum, int) or isinstance(checksum, bool):
            msg = f"checksum {checksum!r}"
            raise TypeError(msg)
        return FeedMessage(
            line,
            received_ns,
            {"snapshot": "snapshot", "update": "delta"}[payload["action"]],  # type: ignore[arg-type]
            symbol,
            _pairs(data["bids"]),
            _pairs(data["asks"]),
            venue_ms=_count(data["ts"]),
            checksum=checksum,
        )

    def in_base(self, symbol: str) -> bool:
        """Tell whether the venue counts this instrument in units of the base asset."""
        return symbol.count("-") == 1  # BTC-USDT is spot; BTC-USDT-SWAP counts contracts


FORMATS: Mapping[str, type[FeedFormat]] = {
    "binance_futures": BinanceFutures,
    "bitmex": Bitmex,
    "bybit": Bybit,
    "dydx": Dydx,
    "hyperliquid": Hyperliquid,
    "kraken_futures": KrakenFutures,
    "okx": Okx,
}
"""The formats of feeds by name."""

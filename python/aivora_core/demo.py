"""A portfolio and order books made up from a seed, so that the first run needs no data.

Everything here is drawn with integers (SplitMix64), so the same seed gives the same tables on
every machine. No figure is any venue's or any person's.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aivora_core import _core
from aivora_core.portfolio import Portfolio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from aivora_core._core import Book, Instrument, Prices, Venue

    Draws = NDArray[np.uint64]

__all__ = ["MARKS", "Demo", "book", "coin_price", "demo", "draws", "marks", "tables"]

#: Marks of the built-in demo venue, made up.
MARKS = {
    "BTC": "64000",
    "ETH": "3200",
    "SOL": "150",
    "BNB": "580",
    "XRP": "0.6",
    "DOGE": "0.12",
    "ADA": "0.45",
    "AVAX": "28",
    "LINK": "14",
    "LTC": "72",
    "TRX": "0.13",
    "PEPE": "0.000012",
}

#: More coins, of other cards.
_COINS = {**MARKS, "SHIB": "0.000018", "DGB": "0.0089"}

SEED = 20251010


def coin_price(name: str) -> Decimal | None:
    """The made-up price of the coin that a symbol or an asset is named after; None where unknown.

    Examples
    --------
    >>> from aivora_core.demo import coin_price
    >>> coin_price("PI_XBTUSD"), coin_price("USDT")
    (Decimal('64000'), None)
    """
    named = name.replace("XBT", "BTC")
    found = max((coin for coin in _COINS if coin in named), key=len, default=None)
    return None if found is None else Decimal(_COINS[found])


def marks(venue: Venue) -> dict[str, Decimal]:
    """Made-up marks of a venue's instruments, those of coins that are known, cut to mark ticks.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core.demo import marks
    >>> {symbol: str(mark) for symbol, mark in marks(ac.Venue.load("bitmex")).items()}
    {'XBTUSD': '64000.00', 'ETHUSD': '3200.00'}
    """
    found = {}
    for instrument in venue.instruments:
        price = coin_price(instrument.symbol)
        if price is not None:
            ticks = max(1, int(price / instrument.mark_tick))
            found[instrument.symbol] = ticks * instrument.mark_tick
    return found


def _scale(venue: Venue) -> int:
    """How many quanta a unit of value is: a dollar, paid in coins where those are what settles."""
    return max(1, int(1 / venue.quantum / (coin_price(venue.settlement) or 1)))


def _unit(instrument: Instrument) -> int:
    """Quanta of a lot at a price of one tick: times the ticks, or over them if it is inverse."""
    worth = instrument.lot * instrument.multiplier / instrument.quantum
    tick = instrument.price_tick
    return int(worth / tick if instrument.kind == "inverse" else worth * tick)


class Demo(NamedTuple):
    """A made-up venue state: what `aivora run` works on."""

    venue: Venue
    portfolio: Portfolio
    prices: Prices


def _mix(x: Draws) -> Draws:
    """SplitMix64's finalizer on whole arrays."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _draw(seed: int, stream: int, *shape: int) -> Draws:
    """Independent 64-bit draws: a hash of seed, stream and place."""
    start = _mix(np.array([seed, stream], dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    places = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64)
    keys = start[0] ^ (start[1] << np.uint64(1))
    return _mix(keys + places * np.uint64(0x9E3779B97F4A7C15)).reshape(shape)


def draws(seed: int, stream: int, count: int) -> list[int]:
    """Give so many 64-bit draws, the same on every machine.

    Examples
    --------
    >>> from aivora_core.demo import draws
    >>> draws(1, 2, 2) == draws(1, 2, 3)[:2]
    True
    """
    return [int(draw) for draw in _draw(seed, stream, count)]


def _below(draws: Draws, bound: int) -> NDArray[np.int64]:
    """Draws as whole numbers from 0 up to, not including, a bound below 2^31."""
    scaled: Draws = ((draws >> np.uint64(33)) * np.uint64(bound)) >> np.uint64(31)
    return scaled.astype(np.int64)


def _bits(draws: Draws, count: int) -> NDArray[np.int64]:
    """How many of the lowest ``count`` bits are set: a binomial draw."""
    places = np.arange(count, dtype=np.uint64)
    bits: Draws = (draws[..., None] >> places) & np.uint64(1)
    counts: NDArray[np.int64] = bits.astype(np.int64).sum(axis=-1, dtype=np.int64)
    return counts


def _holdings(
    seed: int, accounts: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Who holds what, and how much of it: account, place of the instrument, notional in units."""
    held = np.minimum(1 + _bits(_draw(seed, 1, accounts), 7) // 2, count)
    # The smaller the product of a draw and an instrument's rank, the sooner it is held.
    keys = (_draw(seed, 2, accounts, count) >> np.uint64(32)) * np.arange(
        1, count + 1, dtype=np.uint64
    )
    order = np.argsort(keys, axis=1, kind="stable")
    taken = np.arange(count)[None, :] < held[:, None]
    account, place = np.nonzero(taken)
    # Gross notional in whole units: 100 x 2^(0..14), spread within each power of two.
    scale = np.int64(100) << _bits(_draw(seed, 3, accounts), 14)
    gross = scale + (scale * _below(_draw(seed, 4, accounts), 1000)) // 1000
    weight = 1 + _below(_draw(seed, 5, accounts, count), 1000)
    weight = np.where(taken, np.take_along_axis(weight, order, axis=1), 0)
    share = (gross[:, None] * weight) // weight.sum(axis=1, keepdims=True)
    return account, order[account, place], share[account, place]


def tables(
    venue: Venue, mark_ticks: Mapping[str, int], accounts: int = 10_000, seed: int = SEED
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Positions and collateral of made-up accounts at the given marks.

    Parameters
    ----------
    venue : Venue
        The venue; the first instruments are held more often, and only those that settle in its
        settlement asset: a made-up pool holds one asset.
    mark_ticks : mapping of str to int
        Marks in mark ticks for every instrument of the venue.
    accounts : int
        How many accounts.
    seed : int
        The seed.

    Returns
    -------
    tuple of dict
        The tables ``positions`` and ``collateral`` of `Portfolio.from_tables`.

    Examples
    --------
    >>> import aivora_core as ac
    >>> from aivora_core.demo import tables
    >>> btc = ac.Venue.load("hyperliquid")
    >>> positions, collateral = tables(btc, {"BTC": 640_000}, accounts=3)
    >>> len(positions["account"]), collateral["account"]
    (3, ['acct-00000', 'acct-00001', 'acct-00002'])
    """
    listed = [own for own in venue.instruments if own.settlement == venue.settlement]
    width = max(5, len(str(accounts - 1)))
    names = [f"acct-{i:0{width}}" for i in range(accounts)]
    account, picked, share = _holdings(seed, accounts, len(listed))
    scale_quanta = _scale(venue)
    price_unit = np.array([_unit(i) for i in listed], dtype=np.int64)[picked]
    inverse = np.array([i.kind == "inverse" for i in listed])[picked]
    per_price = [int(i.price_tick / i.mark_tick) for i in listed]
    pairs = zip(listed, per_price, strict=True)
    marks = np.array([max(1, mark_ticks[i.symbol] // n) for i, n in pairs])[picked]

    def amounts(lots: NDArray[np.int64], ticks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Value by the signs of the core: who is long of an inverse contract owes coins."""
        return np.where(inverse, -(lots * price_unit // ticks), lots * price_unit * ticks)

    worth = np.abs(amounts(np.ones_like(marks), marks))  # quanta per lot, at the mark
    lots = np.maximum(1, share * scale_quanta // np.maximum(1, worth))
    mostly_long = _below(_draw(seed, 6, accounts), 100) < 60
    follows = _below(_draw(seed, 7, len(account)), 100) < 80
    lots = np.where(mostly_long[account] == follows, lots, -lots)
    entry = marks * (97_000 + _below(_draw(seed, 8, len(account)), 6_001)) // 100_000
    cost = amounts(lots, np.maximum(entry, 1))
    value = amounts(lots, marks)
    # Equity as a part of gross notional: 0.5% x 2^(0..7), spread within each power of two.
    part = np.int64(5_000) << _bits(_draw(seed, 9, accounts), 7)
    part += part * _below(_draw(seed, 10, accounts), 1000) // 1000
    gross_quanta = np.zeros(accounts, dtype=np.int64)
    profit = np.zeros(accounts, dtype=np.int64)
    np.add.at(gross_quanta, account, np.abs(value))
    np.add.at(profit, account, value - cost)
    amount = gross_quanta // 1_000_000 * part - profit
    positions = {
        "account": [names[i] for i in account],
        "instrument": [listed[i].symbol for i in picked],
        "quantity_lots": lots,
        "cost_quanta": cost,
    }
    return positions, {"account": names, "amount_quanta": amount}


def demo(accounts: int = 10_000, seed: int = SEED) -> Demo:
    """The made-up venue with a made-up portfolio at made-up marks.

    Examples
    --------
    >>> from aivora_core.demo import demo
    >>> demo(accounts=100).portfolio
    Portfolio(demo: 100 pools, 396 legs)
    """
    venue = _core.Venue.load("demo")
    prices = _core.Prices(venue, mark=MARKS)
    return with_prices(venue, prices, accounts, seed)


def _ticks(prices: Prices, symbol: str) -> int:
    ticks = prices.mark_ticks(symbol)
    if ticks is None:
        limit = "a made-up portfolio holds every instrument: each needs one"
        raise _core._error("missing_price", "mark", symbol, limit, None)
    return ticks


def with_prices(venue: Venue, prices: Prices, accounts: int, seed: int) -> Demo:
    """A made-up portfolio at given prices; every instrument of the venue needs a mark."""
    held = [own for own in venue.instruments if own.settlement == venue.settlement]
    ticks = {i.symbol: _ticks(prices, i.symbol) for i in held}
    positions, collateral = tables(venue, ticks, accounts, seed)
    portfolio = Portfolio.from_tables(venue, positions=positions, collateral=collateral)
    return Demo(venue, portfolio, prices)


def book(venue: Venue, symbol: str, prices: Prices, levels: int = 200, seed: int = SEED) -> Book:
    """A made-up order book around an instrument's mark: thin at the touch, deeper away from it.

    Examples
    --------
    >>> from aivora_core.demo import book, demo
    >>> made = demo(accounts=1)
    >>> book(made.venue, "BTC", made.prices).best_ask > 64000
    True
    """
    instrument = venue[symbol]
    per_price = int(instrument.price_tick / instrument.mark_tick)
    mark = max(1, _ticks(prices, symbol) // per_price)
    # About 2 bps of the price between levels, and about 20,000 units of value in each.
    step = max(1, mark // 50_000)
    unit = _unit(instrument)
    worth = unit // mark if instrument.kind == "inverse" else unit * mark
    typical = max(1, 20_000 * _scale(venue) // max(1, worth))
    sides = []
    for stream, sign in ((21, -1), (22, 1)):
        gaps = 1 + _below(_draw(seed, stream, levels), 2 * step)
        sizes = 1 + typical * (1 + np.arange(levels)) // 10
        sizes += sizes * _below(_draw(seed, stream + 10, levels), 1000) // 1000
        ticks = mark + sign * np.cumsum(gaps)
        rows = zip(ticks.tolist(), sizes.tolist(), strict=True)
        sides.append([(t * instrument.price_tick, q * instrument.lot) for t, q in rows if t > 0])
    return _core.Book(instrument, bids=sides[0], asks=sides[1])

//! `Book`: the order book of one instrument, and `walk_many` over many of them.

use std::iter::repeat;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, TryLockError};

use aivora::data::grid::{read_price, read_quantity};
use aivora::data::{self, Deltas, Ladder, Level, Side};
use aivora::execution::{self, Amounts, Walks, Within};
use aivora::numbers::{Decimal, Error, ErrorKind, Lots, PriceTicks, Quanta, Result};
use numpy::{IntoPyArray, PyReadonlyArray1, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyDict, PyInt, PyList, PyString, PyTuple};

use crate::convert::{decimal, shown, text, to_decimal_or_overflow};
use crate::errors::raise;
use crate::instrument::Instrument;
use crate::walk::Walk;

/// The order book of one instrument, aggregated by price (L2). It changes in place.
///
/// A message that fails leaves the book as it was. Prices and quantities are exact: an int, a str
/// or a ``Decimal`` that lies on the instrument's grid; a float is refused. See the page *book* of
/// the specification.
///
/// Parameters
/// ----------
/// instrument : Instrument
///     What is traded.
/// bids, asks : iterable of (price, quantity), optional
///     A first snapshot, each side best first. Without them, and without ``sequence``, the book
///     waits for one.
/// sequence : int, optional
///     The sequence number of the snapshot.
///
/// Raises
/// ------
/// BookError
///     ``unsorted_book``, ``crossed_book``.
/// NumberError
///     ``off_grid``, ``not_a_number``, ``not_finite``, ``out_of_range``, ``overflow``.
/// PriceError
///     ``bad_price`` at or below zero.
/// FloatGivenError
///     A float where an exact number is asked.
///
/// Examples
/// --------
/// >>> import aivora_core as ac
/// >>> btc = ac.Venue.load("demo")["BTC"]
/// >>> book = ac.Book(btc, bids=[("64000.5", "1.2")], asks=[("64001", "0.7"), ("64002.5", "2")])
/// >>> book.mid
/// Decimal('64000.75')
/// >>> walk = book.walk("buy", "1.5")
/// >>> walk.cost, walk.worst, walk.levels
/// (Decimal('96002.7'), Decimal('64002.5'), 2)
#[pyclass(frozen, module = "aivora_core._core")]
pub(crate) struct Book {
    pub(crate) instrument: Py<Instrument>,
    shared: Arc<data::Instrument>,
    pub(crate) state: Mutex<data::Book>,
}

/// Levels that are copied and applied at a time: what fits a cache.
const PART: usize = 4096;

/// The error of a book that a panic has left half changed.
#[cold]
pub(crate) fn broken() -> PyErr {
    raise(Error::invariant("book"))
}

/// Runs a step; a panic in it becomes `invariant_broken` instead of passing the border.
pub(crate) fn guarded<T>(step: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|_| Err(broken()))
}

impl Book {
    /// Runs a step on the state. The lock is free in all but threaded programs, so it is tried
    /// before detaching.
    fn with<T>(
        &self,
        py: Python<'_>,
        step: impl FnOnce(&mut data::Book) -> PyResult<T>,
    ) -> PyResult<T> {
        guarded(|| {
            let mut state = match self.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::WouldBlock) => {
                    self.state.lock_py_attached(py).map_err(|_| broken())?
                }
                Err(TryLockError::Poisoned(_)) => return Err(broken()),
            };
            step(&mut state)
        })
    }

    /// A book around a state.
    pub(crate) fn holding(instrument: Py<Instrument>, book: data::Book) -> PyResult<Self> {
        let shared = instrument.get().shared()?;
        Ok(Self { instrument, shared, state: Mutex::new(book) })
    }

    /// The book as it is now.
    pub(crate) fn copy(&self, py: Python<'_>) -> PyResult<data::Book> {
        self.with(py, |book| Ok(book.clone()))
    }

    fn quantity(&self, value: &Bound<'_, PyAny>) -> Result<Lots> {
        exact_quantity(&self.shared, value, "quantity")
    }

    fn limit(&self, value: Option<&Bound<'_, PyAny>>) -> Result<Option<PriceTicks>> {
        value.map(|value| exact_price(&self.shared, value, "limit")).transpose()
    }

    fn amount(&self, value: &Bound<'_, PyAny>, field: &str) -> Result<Quanta> {
        Quanta::new(decimal(value, field)?.whole(self.shared.quantum(), field)?, field)
    }

    fn walked(&self, py: Python<'_>, walk: execution::Walk) -> Walk {
        Walk::new(self.instrument.clone_ref(py), walk)
    }

    fn row<'py>(&self, py: Python<'py>, level: Level) -> PyResult<Row<'py>> {
        let price = self.shared.order_price(level.price.get());
        let quantity = self.shared.size(level.quantity.get());
        let price = to_decimal_or_overflow(py, price, "price")?;
        Ok((price, to_decimal_or_overflow(py, quantity, "quantity")?))
    }

    /// Reads the levels of one side, each error with the side, the part and the row.
    fn levels(&self, side: &Bound<'_, PyAny>, name: &'static str) -> PyResult<Vec<Level>> {
        let rows = side.try_iter().map_err(|_| raise(not_pairs(name, side)))?;
        let mut levels = Vec::with_capacity(side.len().unwrap_or(0).min(1 << 16));
        for (row, pair) in rows.enumerate() {
            let level = self.level(&pair?, name).map_err(|e| raise(e.at_row(row)))?;
            levels.push(level);
        }
        Ok(levels)
    }

    fn level(&self, pair: &Bound<'_, PyAny>, name: &'static str) -> Result<Level> {
        let (price, quantity) = pair_of(pair).ok_or_else(|| not_pairs(name, pair))?;
        let price = exact_price(&self.shared, &price, "price").map_err(|e| e.within(name))?;
        let quantity = exact_quantity(&self.shared, &quantity, "quantity");
        Ok(Level { price, quantity: quantity.map_err(|e| e.within(name))? })
    }
}

type Row<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

#[cold]
fn not_pairs(name: &str, value: &Bound<'_, PyAny>) -> Error {
    let limit = "must be (price, quantity) pairs";
    Error::new(ErrorKind::BadColumn, name, shown(value), limit)
}

fn pair_of<'py>(pair: &Bound<'py, PyAny>) -> Option<Row<'py>> {
    if let Ok(tuple) = pair.cast::<PyTuple>() {
        let two = tuple.len() == 2;
        return two.then(|| Some((tuple.get_item(0).ok()?, tuple.get_item(1).ok()?)))?;
    }
    let two = !pair.is_instance_of::<PyString>() && pair.len().is_ok_and(|n| n == 2);
    two.then(|| Some((pair.get_item(0).ok()?, pair.get_item(1).ok()?)))?
}

/// A side by its name; a literal of the caller's is the interned text itself and needs no look
/// inside.
pub(crate) fn side_of(side: &Bound<'_, PyAny>) -> PyResult<Side> {
    if side.is(intern!(side.py(), "buy")) {
        return Ok(Side::Buy);
    }
    if side.is(intern!(side.py(), "sell")) {
        return Ok(Side::Sell);
    }
    Side::from_name(side.extract()?).map_err(raise)
}

fn exact_price(
    instrument: &data::Instrument,
    value: &Bound<'_, PyAny>,
    field: &str,
) -> Result<PriceTicks> {
    match value.cast_exact::<PyString>() {
        Ok(string) => read_price(instrument, text(string, field)?, field),
        Err(_) => instrument.price(plain(value, field)?, field),
    }
}

fn exact_quantity(
    instrument: &data::Instrument,
    value: &Bound<'_, PyAny>,
    field: &str,
) -> Result<Lots> {
    match value.cast_exact::<PyString>() {
        Ok(string) => read_quantity(instrument, text(string, field)?, field),
        Err(_) => instrument.quantity(plain(value, field)?, field),
    }
}

/// As `decimal`, with a short way for a short int.
fn plain(value: &Bound<'_, PyAny>, field: &str) -> Result<Decimal> {
    match value.cast_exact::<PyInt>().ok().and_then(|int| int.extract::<i64>().ok()) {
        Some(int) => Ok(Decimal::new(int.into(), 0)),
        None => decimal(value, field),
    }
}

#[pymethods]
impl Book {
    #[new]
    #[pyo3(signature = (instrument, bids=None, asks=None, sequence=None))]
    fn new(
        instrument: &Bound<'_, Instrument>,
        bids: Option<&Bound<'_, PyAny>>,
        asks: Option<&Bound<'_, PyAny>>,
        sequence: Option<u64>,
    ) -> PyResult<Self> {
        let shared = instrument.get().shared()?;
        let state = Mutex::new(data::Book::new(Arc::clone(&shared)));
        let book = Self { instrument: instrument.clone().unbind(), shared, state };
        if bids.is_some() || asks.is_some() || sequence.is_some() {
            let empty = PyTuple::empty(instrument.py());
            let (bids, asks) = (bids.unwrap_or(&empty), asks.unwrap_or(&empty));
            book.snapshot(instrument.py(), bids, asks, sequence)?;
        }
        Ok(book)
    }

    /// Replaces both sides.
    ///
    /// Parameters
    /// ----------
    /// bids, asks : iterable of (price, quantity)
    ///     Each side best first; quantities above zero.
    /// sequence : int, optional
    ///     The sequence number of this message. A book with one accepts only deltas that follow it.
    ///
    /// Raises
    /// ------
    /// BookError
    ///     ``unsorted_book``, ``crossed_book``; the book stays as it was.
    /// NumberError
    ///     ``off_grid``, ``out_of_range`` and the others of a number; the row is named.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> book = ac.Book(ac.Venue.load("demo")["BTC"])
    /// >>> book.snapshot([("64000", "1")], [("64001", "1")], sequence=7)
    /// >>> book.sequence
    /// 7
    #[pyo3(signature = (bids, asks, sequence=None))]
    fn snapshot(
        &self,
        py: Python<'_>,
        bids: &Bound<'_, PyAny>,
        asks: &Bound<'_, PyAny>,
        sequence: Option<u64>,
    ) -> PyResult<()> {
        let (bids, asks) = (self.levels(bids, "bids")?, self.levels(asks, "asks")?);
        self.with(py, |book| book.snapshot(&bids, &asks, sequence).map_err(raise))
    }

    /// Sets levels; a quantity of zero deletes one. Of two entries for one price the last counts.
    ///
    /// Parameters
    /// ----------
    /// bids, asks : iterable of (price, quantity), optional
    ///     Levels in any order.
    /// sequence, previous : int, optional
    ///     The number of this message and of the one before it: both, if the book has a sequence
    ///     number, else none.
    ///
    /// Raises
    /// ------
    /// BookError
    ///     ``no_snapshot``, ``sequence_gap``, ``crossed_book``; the book stays as it was.
    /// NumberError
    ///     ``off_grid``, ``out_of_range`` and the others of a number; the row is named.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> book = ac.Book(ac.Venue.load("demo")["BTC"], [("64000", "1")], [("64001", "1")])
    /// >>> book.delta(bids=[("64000", 0), ("63999.5", "2")])
    /// >>> book.best_bid
    /// Decimal('63999.5')
    #[pyo3(signature = (bids=None, asks=None, sequence=None, previous=None))]
    fn delta(
        &self,
        py: Python<'_>,
        bids: Option<&Bound<'_, PyAny>>,
        asks: Option<&Bound<'_, PyAny>>,
        sequence: Option<u64>,
        previous: Option<u64>,
    ) -> PyResult<()> {
        let bids = bids.map_or(Ok(Vec::new()), |bids| self.levels(bids, "bids"))?;
        let asks = asks.map_or(Ok(Vec::new()), |asks| self.levels(asks, "asks"))?;
        self.with(py, |book| book.delta(&bids, &asks, sequence, previous).map_err(raise))
    }

    /// Applies many deltas, given as columns, in one call: each as `delta` would.
    ///
    /// For recordings and other batches: some nanoseconds a level, on top of about as much as some
    /// hundred levels cost. It stops at the first message that fails: the messages before it stay
    /// applied, and the book is as the last of them left it.
    ///
    /// Parameters
    /// ----------
    /// price_ticks : array of int64, shape (levels,)
    ///     Prices in price ticks, of all messages; in a message the bids stand before the asks.
    /// quantity_lots : array of int64, shape (levels,)
    ///     Quantities in lots; 0 deletes.
    /// bid_counts, ask_counts : array of int64, shape (n,)
    ///     How many levels of each message are bids, and how many are asks.
    /// sequence, previous : array of int64, shape (n,), optional
    ///     The number of each message and of the one before it: both, if the book has a sequence
    ///     number, else none.
    ///
    /// Returns
    /// -------
    /// int
    ///     How many messages were applied: n.
    ///
    /// Raises
    /// ------
    /// BookError
    ///     ``no_snapshot``, ``sequence_gap``, ``crossed_book``. The row of every error is the number
    ///     of the message that failed, from 0, which is how many were applied.
    /// NumberError
    ///     ``out_of_range``, ``overflow``; the field names the level: ``asks[3].quantity``.
    /// TableError
    ///     ``length_mismatch``, ``bad_column``; the book stays as it was.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac, numpy as np
    /// >>> book = ac.Book(ac.Venue.load("demo")["BTC"], [("64000", "1")], [("64001", "1")])
    /// >>> columns = [[640000, 639995, 640020], [0, 2000, 5000], [2, 0], [0, 1]]
    /// >>> book.delta_many(*map(np.array, columns))
    /// 2
    /// >>> book.depth()["bids"], book.sequence
    /// ([(Decimal('63999.5'), Decimal('2'))], None)
    #[pyo3(signature = (
        price_ticks, quantity_lots, bid_counts, ask_counts, sequence=None, previous=None
    ))]
    #[allow(clippy::too_many_arguments)] // one argument a column
    fn delta_many(
        &self,
        py: Python<'_>,
        price_ticks: &Bound<'_, PyAny>,
        quantity_lots: &Bound<'_, PyAny>,
        bid_counts: &Bound<'_, PyAny>,
        ask_counts: &Bound<'_, PyAny>,
        sequence: Option<&Bound<'_, PyAny>>,
        previous: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        let column = |value: &Bound<'_, PyAny>, field: &str| int64(value, field).map_err(raise);
        let bid_counts = column(bid_counts, "bid_counts")?;
        let ask_counts = column(ask_counts, "ask_counts")?;
        let numbers = [(sequence, "sequence"), (previous, "previous")];
        let [own, before] =
            numbers.map(|(value, field)| value.map(|value| column(value, field)).transpose());
        let sequences = match (own?, before?) {
            (None, None) => None,
            (own, before) => Some((own.unwrap_or_default(), before.unwrap_or_default())),
        };
        let prices = int64_view(price_ticks, "price_ticks").map_err(raise)?;
        let lots = int64_view(quantity_lots, "quantity_lots").map_err(raise)?;
        let sequences = sequences.as_ref().map(|(own, before)| (&own[..], &before[..]));
        let all = Deltas {
            prices: prices.as_slice()?,
            lots: lots.as_slice()?,
            bid_counts: &bid_counts,
            ask_counts: &ask_counts,
            sequences,
        };
        guarded(|| {
            let parts = all.parts(PART).map_err(raise)?;
            if parts.is_empty() {
                return Ok(0);
            }
            let mut book = self.state.lock_py_attached(py).map_err(|_| broken())?;
            let mut passage = book.passage().map_err(raise)?;
            let (mut prices, mut lots) = (Vec::new(), Vec::new());
            let mut passed = Ok(());
            for part in parts {
                // Copied part by part, so that no other thread can change a level under its
                // checks, and the copy stays in the cache.
                prices.clear();
                prices.extend_from_slice(part.prices);
                lots.clear();
                lots.extend_from_slice(part.lots);
                let copied = Deltas { prices: &prices, lots: &lots, ..part };
                passed = py.detach(|| passage.pass(&copied));
                if passed.is_err() {
                    break;
                }
            }
            let applied = py.detach(|| passage.finish()).map_err(raise)?;
            passed.map(|()| applied).map_err(raise)
        })
    }

    /// What a market order would take, from the best level on; the book is not changed.
    ///
    /// Parameters
    /// ----------
    /// side : {"buy", "sell"}
    ///     A buy walks the asks, a sell the bids.
    /// quantity : int, str or Decimal
    ///     How much, in units of quantity.
    /// limit : int, str or Decimal, optional
    ///     The last price that may be touched.
    ///
    /// Returns
    /// -------
    /// Walk
    ///     What would be filled, at what cost. A side that is too thin leaves a remainder and is
    ///     not an error.
    ///
    /// Raises
    /// ------
    /// NumberError
    ///     ``off_grid`` off the lot or the tick; ``out_of_range`` for a negative quantity or
    ///     another side.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> book = ac.Book(ac.Venue.load("demo")["BTC"], asks=[("64001", "0.7"), ("64002.5", "2")])
    /// >>> book.walk("buy", "1.5", limit=64002).unfilled
    /// Decimal('0.8')
    #[pyo3(signature = (side, quantity, limit=None))]
    fn walk(
        &self,
        py: Python<'_>,
        side: &Bound<'_, PyAny>,
        quantity: &Bound<'_, PyAny>,
        limit: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Walk> {
        let side = side_of(side)?;
        let quantity = self.quantity(quantity).map_err(raise)?;
        let limit = self.limit(limit).map_err(raise)?;
        // As in `with`, but nothing is handed through a guard: that alone costs as much as the
        // walk. Should it ever panic, the lock is poisoned and every later call says so.
        let walk = match self.state.try_lock() {
            Ok(book) => execution::walk(&book, side, quantity, limit),
            Err(TryLockError::WouldBlock) => {
                let book = self.state.lock_py_attached(py).map_err(|_| broken())?;
                execution::walk(&book, side, quantity, limit)
            }
            Err(TryLockError::Poisoned(_)) => return Err(broken()),
        };
        Ok(self.walked(py, walk.map_err(raise)?))
    }

    /// The walk of the largest quantity whose cost is at most ``notional``.
    ///
    /// Parameters
    /// ----------
    /// side : {"buy", "sell"}
    ///     A buy walks the asks, a sell the bids.
    /// notional : int, str or Decimal
    ///     The most it may cost, in units of the settlement asset; the fee is not in it.
    /// limit : int, str or Decimal, optional
    ///     The last price that may be touched.
    ///
    /// Returns
    /// -------
    /// Walk
    ///     Its ``unfilled`` is zero: what was not affordable was not asked for.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> book = ac.Book(ac.Venue.load("demo")["BTC"], asks=[("64001", "0.7"), ("64002.5", "2")])
    /// >>> book.walk_notional("buy", 50_000).filled
    /// Decimal('0.781')
    #[pyo3(signature = (side, notional, limit=None))]
    fn walk_notional(
        &self,
        py: Python<'_>,
        side: &Bound<'_, PyAny>,
        notional: &Bound<'_, PyAny>,
        limit: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Walk> {
        let side = side_of(side)?;
        let notional = self.amount(notional, "notional").map_err(raise)?;
        let limit = self.limit(limit).map_err(raise)?;
        let walk = self
            .with(py, |book| execution::walk_notional(book, side, notional, limit).map_err(raise));
        Ok(self.walked(py, walk?))
    }

    /// The largest quantity whose walk stays within every bound that is given.
    ///
    /// It is exact: one lot more breaks a bound, or is not there.
    ///
    /// Parameters
    /// ----------
    /// side : {"buy", "sell"}
    ///     A buy walks the asks, a sell the bids.
    /// slippage_bps : int, str or Decimal, optional
    ///     The most slippage of the average price against the mid, in basis points.
    /// cost : int, str or Decimal, optional
    ///     The most it may cost, in units of the settlement asset; the fee is not in it.
    /// limit : int, str or Decimal, optional
    ///     The last price that may be touched.
    ///
    /// Returns
    /// -------
    /// Decimal
    ///     In units of quantity.
    ///
    /// Raises
    /// ------
    /// BookError
    ///     ``no_mid`` for a slippage when a side is empty.
    /// NumberError
    ///     ``out_of_range`` for a negative bound, or without any bound.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> book = ac.Book(
    /// ...     ac.Venue.load("demo")["BTC"], [("64000", "1")], [("64001", "0.7"), ("64099", "2")]
    /// ... )
    /// >>> book.max_quantity("buy", slippage_bps="5")
    /// Decimal('1.031')
    /// >>> book.max_quantity("buy", slippage_bps="5", limit="64001")
    /// Decimal('0.7')
    #[pyo3(signature = (side, *, slippage_bps=None, cost=None, limit=None))]
    fn max_quantity<'py>(
        &self,
        py: Python<'py>,
        side: &Bound<'_, PyAny>,
        slippage_bps: Option<&Bound<'_, PyAny>>,
        cost: Option<&Bound<'_, PyAny>>,
        limit: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let side = side_of(side)?;
        let bps = slippage_bps.map(|bps| decimal(bps, "slippage_bps")).transpose();
        let cost = cost.map(|cost| self.amount(cost, "cost")).transpose();
        let bounds = [
            bps.map_err(raise)?.map(Within::SlippageBps),
            cost.map_err(raise)?.map(Within::Cost),
            self.limit(limit).map_err(raise)?.map(Within::Limit),
        ];
        let lots = self.with(py, |book| {
            let one = |within| execution::max_quantity(book, side, within).map_err(raise);
            let answers = bounds.into_iter().flatten().map(one).collect::<PyResult<Vec<_>>>()?;
            answers.into_iter().min().ok_or_else(|| {
                let limit = "give slippage_bps, cost or limit";
                raise(Error::new(ErrorKind::OutOfRange, "bound", "nothing", limit))
            })
        })?;
        to_decimal_or_overflow(py, self.shared.size(lots.get()), "quantity")
    }

    /// How much of a side lies within a distance of the mid, both ends included.
    ///
    /// Parameters
    /// ----------
    /// side : {"buy", "sell"}
    ///     A buy takes the asks, a sell the bids.
    /// bps : int, str or Decimal
    ///     The distance from the mid, in basis points: 0 to 10^6, with at most 9 decimals.
    ///
    /// Returns
    /// -------
    /// Decimal
    ///     In units of quantity.
    ///
    /// Raises
    /// ------
    /// BookError
    ///     ``no_mid`` when a side is empty.
    /// NumberError
    ///     ``out_of_range`` for another distance.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> book = ac.Book(
    /// ...     ac.Venue.load("demo")["BTC"], [("64000", "1")], [("64001", "0.7"), ("64099", "2")]
    /// ... )
    /// >>> book.quantity_within("buy", 5)
    /// Decimal('0.7')
    #[pyo3(signature = (side, bps))]
    fn quantity_within<'py>(
        &self,
        py: Python<'py>,
        side: &Bound<'_, PyAny>,
        bps: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (side, bps) = (side_of(side)?, decimal(bps, "bps").map_err(raise)?);
        let lots = self.with(py, |book| book.quantity_within(side, bps).map_err(raise))?;
        to_decimal_or_overflow(py, self.shared.size(lots.get()), "quantity")
    }

    /// This book walked for many quantities: the same numbers as `walk`, as columns.
    ///
    /// Parameters
    /// ----------
    /// side : {"buy", "sell"}
    ///     A buy walks the asks, a sell the bids.
    /// quantity_lots : array of int64, shape (n,)
    ///     Quantities in whole lots.
    /// limit : int, str or Decimal, optional
    ///     The last price that may be touched.
    /// fee : bool, default False
    ///     Whether the fee of each row is computed too.
    ///
    /// Returns
    /// -------
    /// dict of str to array of int64, shape (n,)
    ///     ``filled_lots`` (the rest is not there), ``cost_quanta``, ``worst_ticks`` (price ticks; 0
    ///     without a fill), ``levels``, and ``fee_quanta`` if asked for (None when the card has no
    ///     fee). An amount column that needs more than 64 bits is a list of int.
    ///
    /// Raises
    /// ------
    /// TableError
    ///     ``bad_column`` for another kind of array.
    /// NumberError
    ///     ``out_of_range`` naming the row.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac, numpy as np
    /// >>> book = ac.Book(ac.Venue.load("demo")["BTC"], asks=[("64001", "0.7"), ("64002.5", "2")])
    /// >>> book.walk_many("buy", np.array([500, 1500]))["levels"]
    /// array([1, 2])
    #[pyo3(signature = (side, quantity_lots, limit=None, *, fee=false))]
    fn walk_many<'py>(
        slf: &Bound<'py, Self>,
        side: &Bound<'_, PyAny>,
        quantity_lots: &Bound<'_, PyAny>,
        limit: Option<&Bound<'_, PyAny>>,
        fee: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (this, py) = (slf.get(), slf.py());
        let side = side_of(side)?;
        let lots = int64(quantity_lots, "quantity_lots").map_err(raise)?;
        let limit = this.limit(limit).map_err(raise)?;
        let walks = py.detach(|| {
            guarded(|| {
                let book = this.state.lock().map_err(|_| broken())?;
                let walks = execution::walk_many(&book, side, lots, limit).map_err(raise)?;
                let fees = fee.then(|| walks.fees(repeat(&*this.shared)));
                Ok((walks, fees))
            })
        });
        columns(py, walks?)
    }

    /// The price of the best bid, or None. `depth` has the quantities.
    #[getter]
    fn best_bid<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let best = self.with(py, |book| Ok(book.bids().best()))?;
        best.map(|level| Ok(self.row(py, level)?.0)).transpose()
    }

    /// The price of the best ask, or None. `depth` has the quantities.
    #[getter]
    fn best_ask<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let best = self.with(py, |book| Ok(book.asks().best()))?;
        best.map(|level| Ok(self.row(py, level)?.0)).transpose()
    }

    /// Half of best bid plus best ask, exact; None unless both sides are there.
    #[getter]
    fn mid<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(halves) = self.with(py, |book| Ok(book.mid_half_ticks()))? else {
            return Ok(None);
        };
        // Half a tick is five tenths of one.
        let tenths = Decimal::of(i128::from(halves) * 5, self.shared.price_tick());
        let mid = tenths.map(|d| Decimal::new(d.mantissa(), d.scale().saturating_add(1)));
        to_decimal_or_overflow(py, mid, "mid").map(Some)
    }

    /// The first levels of each side, best first.
    ///
    /// Parameters
    /// ----------
    /// levels : int, optional
    ///     How many of each side; all without it.
    ///
    /// Returns
    /// -------
    /// dict of str to list of (Decimal, Decimal)
    ///     ``bids`` and ``asks``: price and quantity of each level.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> book = ac.Book(ac.Venue.load("demo")["BTC"], asks=[("64001", "0.7"), ("64002.5", "2")])
    /// >>> book.depth(1)
    /// {'bids': [], 'asks': [(Decimal('64001'), Decimal('0.7'))]}
    #[pyo3(signature = (levels=None))]
    fn depth<'py>(&self, py: Python<'py>, levels: Option<usize>) -> PyResult<Bound<'py, PyDict>> {
        let some = |ladder: &Ladder| -> Vec<Level> {
            ladder.levels().take(levels.unwrap_or(usize::MAX)).collect()
        };
        let (bids, asks) = self.with(py, |book| Ok((some(book.bids()), some(book.asks()))))?;
        let depth = PyDict::new(py);
        for (name, side) in [("bids", bids), ("asks", asks)] {
            let rows = side.into_iter().map(|level| self.row(py, level));
            depth.set_item(name, rows.collect::<PyResult<Vec<_>>>()?)?;
        }
        Ok(depth)
    }

    /// The instrument.
    #[getter]
    fn instrument(&self, py: Python<'_>) -> Py<Instrument> {
        self.instrument.clone_ref(py)
    }

    /// The sequence number of the last message, or None.
    #[getter]
    fn sequence(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        self.with(py, |book| Ok(book.sequence()))
    }

    /// SHA-256 of the instrument, the sequence and all levels, in hex.
    #[getter]
    fn digest(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |book| Ok(book.digest().to_string()))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let (bids, asks, sequence) =
            self.with(py, |book| Ok((book.bids().len(), book.asks().len(), book.sequence())))?;
        let sequence = sequence.map_or(String::new(), |s| format!(", sequence {s}"));
        let symbol = self.shared.symbol();
        Ok(format!("<Book of {symbol}: {bids} bids, {asks} asks{sequence}>"))
    }

    fn __reduce__(&self) -> PyResult<()> {
        let symbol = self.shared.symbol();
        Err(PyTypeError::new_err(format!(
            "cannot pickle 'Book' of {symbol}: it changes with every message, and a copy would \
             not; pickle depth() and sequence, and build a Book from them"
        )))
    }
}

/// Many books walked for one quantity each: the same numbers as `Book.walk`, as columns.
///
/// Parameters
/// ----------
/// books : sequence of Book, length n
///     Books of any instruments.
/// side : {"buy", "sell"}
///     A buy walks the asks, a sell the bids.
/// quantity_lots : array of int64, shape (n,)
///     One quantity a book, in whole lots of its instrument.
/// fee : bool, default False
///     Whether the fee of each row is computed too.
///
/// Returns
/// -------
/// dict of str to array of int64, shape (n,)
///     As `Book.walk_many`. A fee that is not known is -1, and the column None where none is known.
///
/// Raises
/// ------
/// TableError
///     ``length_mismatch``, or ``bad_column`` for another kind of array.
/// NumberError
///     ``out_of_range`` naming the row.
///
/// Examples
/// --------
/// >>> import aivora_core as ac, numpy as np
/// >>> venue = ac.Venue.load("demo")
/// >>> books = [ac.Book(venue[s], asks=[("20", "1"), ("21", "9")]) for s in ("BTC", "ETH")]
/// >>> ac.walk_many(books, "buy", np.array([1000, 5000]))["filled_lots"]
/// array([1000, 5000])
#[pyfunction]
#[pyo3(signature = (books, side, quantity_lots, *, fee=false))]
#[allow(clippy::needless_pass_by_value)] // a call from Python hands over what it extracted
pub(crate) fn walk_many<'py>(
    py: Python<'py>,
    books: Vec<Py<Book>>,
    side: &Bound<'_, PyAny>,
    quantity_lots: &Bound<'_, PyAny>,
    fee: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let side = side_of(side)?;
    let lots = int64(quantity_lots, "quantity_lots").map_err(raise)?;
    if lots.len() != books.len() {
        let limit = format!("must have one quantity for each of {} books", books.len());
        let kind = ErrorKind::LengthMismatch;
        return Err(raise(Error::new(kind, "quantity_lots", lots.len(), limit)));
    }
    let walks = py.detach(|| {
        guarded(|| {
            // One lock at a time: the same book may stand in two rows.
            let walks = books.iter().zip(&lots).map(|(book, lots)| {
                let book = book.get().state.lock().map_err(|_| Error::invariant("book"))?;
                execution::walk(&book, side, execution::many::quantity(*lots)?, None)
            });
            let walks = Walks::collect(walks).map_err(raise)?;
            let fees = fee.then(|| walks.fees(books.iter().map(|book| &*book.get().shared)));
            Ok((walks, fees))
        })
    });
    columns(py, walks?)
}

/// The levels of many deltas as columns for `Book.delta_many`, read once: a list of pairs of sides.
#[pyfunction]
pub(crate) fn _pack_deltas<'py>(
    py: Python<'py>,
    instrument: &Bound<'py, Instrument>,
    messages: &Bound<'py, PyList>,
) -> PyResult<Bound<'py, PyDict>> {
    let book = Book::new(instrument, None, None, None)?;
    let (mut prices, mut lots) = (Vec::new(), Vec::new());
    let mut counts = [Vec::with_capacity(messages.len()), Vec::with_capacity(messages.len())];
    for (row, message) in messages.iter().enumerate() {
        let sides = message.cast::<PyTuple>()?;
        for (place, (name, counts)) in ["bids", "asks"].into_iter().zip(&mut counts).enumerate() {
            let mut count = 0_i64;
            for (at, pair) in sides.get_item(place)?.try_iter()?.enumerate() {
                let level = book
                    .level(&pair?, name)
                    .map_err(|error| raise(error.within(&format!("level {at}")).at_row(row)))?;
                prices.push(level.price.get());
                lots.push(level.quantity.get());
                count += 1;
            }
            counts.push(count);
        }
    }
    let [bid_counts, ask_counts] = counts;
    let columns = PyDict::new(py);
    columns.set_item("price_ticks", prices.into_pyarray(py))?;
    columns.set_item("quantity_lots", lots.into_pyarray(py))?;
    columns.set_item("bid_counts", bid_counts.into_pyarray(py))?;
    columns.set_item("ask_counts", ask_counts.into_pyarray(py))?;
    Ok(columns)
}

/// A column of whole numbers, copied so that no other thread can change it under the walk.
pub(crate) fn int64(value: &Bound<'_, PyAny>, field: &str) -> Result<Vec<i64>> {
    let array = int64_view(value, field)?;
    array.as_slice().map(<[i64]>::to_vec).map_err(|_| Error::invariant("column"))
}

/// A column of whole numbers as it lies in memory.
fn int64_view<'py>(value: &Bound<'py, PyAny>, field: &str) -> Result<PyReadonlyArray1<'py, i64>> {
    let array = value.extract::<PyReadonlyArray1<'py, i64>>().ok();
    if let Some(array) = array.filter(|array| array.as_slice().is_ok()) {
        return Ok(array);
    }
    let limit = "must be a contiguous one-dimensional array of int64";
    match value.cast::<PyUntypedArray>() {
        Ok(array) => {
            let dtype = array.dtype();
            let kind = match dtype.to_string() {
                name if name.starts_with("float") => ErrorKind::FloatGiven,
                _ => ErrorKind::BadColumn,
            };
            let found = format!("an array of {dtype} of shape {:?}", array.shape());
            Err(Error::new(kind, field, found, limit))
        }
        Err(_) => Err(Error::new(ErrorKind::BadColumn, field, value.get_type(), limit)),
    }
}

/// An amount column: int64 where every row fits, a list of int where one does not.
fn amounts(py: Python<'_>, amounts: Amounts) -> PyResult<Bound<'_, PyAny>> {
    match amounts {
        Amounts::Short(rows) => Ok(rows.into_pyarray(py).into_any()),
        Amounts::Wide(rows) => Ok(PyList::new(py, rows)?.into_any()),
    }
}

/// Walks, and the fees where they were asked for.
pub(crate) fn columns(
    py: Python<'_>,
    (walks, fees): (Walks, Option<Amounts>),
) -> PyResult<Bound<'_, PyDict>> {
    let columns = PyDict::new(py);
    columns.set_item("filled_lots", walks.filled_lots.into_pyarray(py))?;
    columns.set_item("cost_quanta", amounts(py, walks.cost_quanta)?)?;
    columns.set_item("worst_ticks", walks.worst_ticks.into_pyarray(py))?;
    columns.set_item("levels", walks.levels.into_pyarray(py))?;
    if let Some(fees) = fees {
        let unknown = !fees.is_empty() && fees.iter().all(|fee| fee < 0);
        let fees = if unknown { None } else { Some(amounts(py, fees)?) };
        columns.set_item("fee_quanta", fees)?;
    }
    Ok(columns)
}

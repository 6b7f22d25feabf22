//! `Portfolio`, the native half: packed once, checked many times. Python's `portfolio.py` gives it its manners.

use std::collections::HashMap;
use std::sync::Arc;

use aivora::data::{self, InstrumentId};
use aivora::execution::withdrawable_after_exits;
use aivora::margin::{
    self, Column, Explanation, Flip, Holdings, LegSide, OpenInterest, PoolId, ReportSlices,
    Withdrawal,
};
use aivora::numbers::{Error, ErrorKind, Quanta, Rounding};
use numpy::{Element, IntoPyArray, PyArray1, PyArrayMethods, PyReadwriteArray1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use crate::book::Book;
use crate::convert::{decimal, rate, to_decimal_or_overflow};
use crate::errors::raise;
use crate::prices::Prices;
use crate::tables::{COLLATERAL, ORDERS, OffGrid, POOLS, POSITIONS, Reader, Table, Tables};
use crate::venue::Venue;
use crate::watch::{Reading, Shared, Watch};

/// Every pool of every account of one venue.
#[pyclass(frozen, module = "aivora_core._core")]
pub(crate) struct Portfolio {
    venue: Arc<data::Venue>,
    inner: Shared,
    off_grid: Vec<OffGrid>,
}

impl Portfolio {
    pub(crate) fn of(venue: &Venue, inner: margin::Portfolio) -> Self {
        Self { venue: Arc::clone(&venue.inner), inner: Shared::new(inner), off_grid: Vec::new() }
    }

    fn read(&self) -> Reading<'_> {
        self.inner.read()
    }

    fn instrument(&self, symbol: &str) -> PyResult<InstrumentId> {
        self.venue.find(symbol).map_err(raise)
    }

    fn pool(&self, index: usize) -> PyResult<PoolId> {
        let mut pools = self.read().pools();
        let id = pools.nth(index);
        id.ok_or_else(|| raise(Error::invariant("pool index")))
    }
}

impl Portfolio {
    /// The display columns that are asked for: ratio and distance.
    fn shown(
        &self,
        py: Python<'_>,
        prices: &aivora::pricing::Prices,
        [ratio, distance]: [bool; 2],
    ) -> PyResult<[Option<Vec<i64>>; 2]> {
        let (mut ratios, mut distances) = (Vec::new(), Vec::new());
        if ratio || distance {
            py.detach(|| {
                let portfolio = self.read();
                for pool in portfolio.pools() {
                    let margin = portfolio.assess(pool, prices)?;
                    ratios.push(margin.ratio_ppm());
                    distances.push(margin.distance_ppm());
                }
                Ok(())
            })
            .map_err(raise)?;
        }
        Ok([ratio.then_some(ratios), distance.then_some(distances)])
    }

    /// Copies of books by instrument, each of this venue.
    fn books(
        &self,
        py: Python<'_>,
        books: &Bound<'_, PyDict>,
    ) -> PyResult<HashMap<InstrumentId, data::Book>> {
        let mut found = HashMap::new();
        for (symbol, book) in books.iter() {
            let id = self.instrument(symbol.cast::<PyString>()?.to_str()?)?;
            let book = book.cast::<Book>()?.get().copy(py)?;
            let own = self.venue.instrument(id).map_err(raise)?;
            if **book.instrument() != *own {
                let limit = format!("must be a book of {} of this venue", own.symbol());
                let value = book.instrument().symbol();
                return Err(raise(Error::new(ErrorKind::UnknownInstrument, "books", value, limit)));
            }
            found.insert(id, book);
        }
        Ok(found)
    }
}

fn named(name: Option<&str>) -> PyResult<Option<Rounding>> {
    name.map(|n| Rounding::from_name(n).map_err(raise)).transpose()
}

/// A column as an int64 array, or as a list of ints where a row needs more.
fn column(py: Python<'_>, column: Column) -> PyResult<Bound<'_, PyAny>> {
    match column.into_narrow() {
        Ok(narrow) => Ok(narrow.into_pyarray(py).into_any()),
        Err(wide) => Ok(PyList::new(py, wide.iter().collect::<Vec<_>>())?.into_any()),
    }
}

type Columns<'py> = (Bound<'py, PyList>, Bound<'py, PyList>, Bound<'py, PyList>);

/// The arrays of a report that is used again.
type OutArrays<'py> = (
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<u8>>,
    Bound<'py, PyArray1<bool>>,
);

fn not_writable(why: impl std::fmt::Display) -> PyErr {
    let limit =
        "must be a report's own contiguous arrays, writable and not used elsewhere meanwhile";
    raise(Error::new(ErrorKind::BadColumn, "out", why, limit))
}

fn writable<'py, T: Element>(
    array: &Bound<'py, PyArray1<T>>,
) -> PyResult<PyReadwriteArray1<'py, T>> {
    array.try_readwrite().map_err(not_writable)
}

fn slice<'a, T: Element>(array: &'a mut PyReadwriteArray1<'_, T>) -> PyResult<&'a mut [T]> {
    array.as_slice_mut().map_err(not_writable)
}

/// An array as it is, or as a list where rows need more than 64 bits.
fn with_wide<'py>(
    py: Python<'py>,
    array: &Bound<'py, PyArray1<i64>>,
    wide: &[(usize, i128)],
) -> PyResult<Bound<'py, PyAny>> {
    if wide.is_empty() {
        return Ok(array.clone().into_any());
    }
    let list = array.call_method0("tolist")?;
    for (row, value) in wide {
        list.set_item(row, value.into_pyobject(py)?)?;
    }
    Ok(list)
}

type FlipRow<'py> = (i64, Bound<'py, PyAny>, i64, Bound<'py, PyAny>, bool);

#[pymethods]
impl Portfolio {
    #[new]
    #[pyo3(signature = (venue, positions, collateral, orders, pools, entry_rounding=None, float_rounding=None))]
    #[allow(clippy::too_many_arguments)] // four tables and two roundings
    fn new(
        venue: &Venue,
        positions: Option<&Bound<'_, PyDict>>,
        collateral: Option<&Bound<'_, PyDict>>,
        orders: Option<&Bound<'_, PyDict>>,
        pools: Option<&Bound<'_, PyDict>>,
        entry_rounding: Option<&str>,
        float_rounding: Option<&str>,
    ) -> PyResult<Self> {
        let entry = named(entry_rounding)?.unwrap_or(Rounding::Exact);
        let reader = Reader::new(&venue.inner, entry, named(float_rounding)?);
        let tables = Tables {
            positions: Table::read("positions", positions, POSITIONS).map_err(raise)?,
            collateral: Table::read("collateral", collateral, COLLATERAL).map_err(raise)?,
            orders: Table::read("orders", orders, ORDERS).map_err(raise)?,
            pools: Table::read("pools", pools, POOLS).map_err(raise)?,
        };
        let (inner, off_grid) = reader.read(&tables)?;
        Ok(Self { venue: venue.inner.clone(), inner: Shared::new(inner), off_grid })
    }

    fn __len__(&self) -> usize {
        self.read().len()
    }

    /// How many legs it holds.
    #[getter]
    fn leg_count(&self) -> usize {
        self.read().leg_count()
    }

    /// SHA-256 of the card's hash and all that is held, in hex.
    fn digest(&self, py: Python<'_>) -> PyResult<String> {
        py.detach(|| self.read().digest()).map(|d| d.to_string()).map_err(raise)
    }

    /// SHA-256 of the columns that `check` gives, with the hashes of what they come from, in hex.
    fn report_digest(&self, py: Python<'_>, prices: &Prices) -> PyResult<String> {
        let prices = prices.snapshot();
        py.detach(|| {
            let portfolio = self.read();
            let report = portfolio.check(&prices, 1)?;
            Ok(report.digest(portfolio.digest()?, prices.digest()).to_string())
        })
        .map_err(raise)
    }

    /// The floats that were off their grid: (table, row, column, value, used).
    fn off_grid(&self) -> Vec<(&'static str, usize, &str, &str, &str)> {
        let row = |o: &'_ OffGrid| (o.table, o.row);
        self.off_grid
            .iter()
            .map(|o| (row(o).0, row(o).1, o.column.as_str(), o.value.as_str(), o.used.as_str()))
            .collect()
    }

    /// Accounts, pool names and the assets that the pools are checked in, in order.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Columns<'py>> {
        let portfolio = self.read();
        let columns = [PyList::empty(py), PyList::empty(py), PyList::empty(py)];
        for pool in portfolio.pools() {
            let (account, name) = portfolio.key(pool).map_err(raise)?;
            let asset = portfolio
                .head(pool)
                .and_then(|head| self.venue.asset(head.asset))
                .map_err(raise)?;
            for (column, text) in columns.iter().zip([account, name, asset.name()]) {
                column.append(text)?;
            }
        }
        Ok(columns.into())
    }

    /// The asset that one pool is checked in.
    fn asset(&self, index: usize) -> PyResult<&str> {
        let pool = self.pool(index)?;
        let asset = self.read().head(pool).map_err(raise)?.asset;
        Ok(self.venue.asset(asset).map_err(raise)?.name())
    }

    #[allow(clippy::type_complexity)] // unpacked at once by the one caller
    /// Of each instrument: long lots, short lots, long legs, short legs.
    fn open_interest(&self, py: Python<'_>) -> PyResult<Vec<(String, i128, i128, u64, u64)>> {
        let found = py.detach(|| self.read().open_interest()).map_err(raise)?;
        let symbols = self.venue.instruments().iter().map(|i| i.symbol().to_owned());
        let row = |(symbol, o): (String, OpenInterest)| {
            (symbol, o.long, o.short, o.long_legs, o.short_legs)
        };
        Ok(symbols.zip(found).map(row).collect())
    }

    /// The key of one pool.
    fn key(&self, index: usize) -> PyResult<(String, String)> {
        let pool = self.pool(index)?;
        let portfolio = self.read();
        let (account, name) = portfolio.key(pool).map_err(raise)?;
        Ok((account.to_owned(), name.to_owned()))
    }

    /// The places of an account's pools.
    fn of_account(&self, account: &str) -> Vec<usize> {
        self.read().of_account(account).map(PoolId::index).collect()
    }

    /// The place of one pool.
    fn find(&self, account: &str, pool: &str) -> PyResult<usize> {
        self.read().find(account, pool).map(PoolId::index).map_err(raise)
    }

    /// Equity, initial, maintenance, status and liquidatable, in the arrays given or in new ones; ratio and distance where
    /// asked.
    #[allow(clippy::type_complexity)] // seven columns, unpacked at once by the one caller
    fn check<'py>(
        &self,
        py: Python<'py>,
        prices: &Prices,
        threads: i64,
        ratio: bool,
        distance: bool,
        out: Option<OutArrays<'py>>,
    ) -> PyResult<(
        [Bound<'py, PyAny>; 3],
        Bound<'py, PyArray1<u8>>,
        Bound<'py, PyArray1<bool>>,
        [Option<Bound<'py, PyArray1<i64>>>; 2],
    )> {
        let prices = prices.snapshot();
        let threads = usize::try_from(threads).unwrap_or(0); // 0 is refused by the core, with its limit
        #[allow(clippy::single_match_else)] // two ways of one length
        let amounts = match out {
            Some((equity, initial, maintenance, status, liquidatable)) => {
                let mut places = (
                    writable(&equity)?,
                    writable(&initial)?,
                    writable(&maintenance)?,
                    writable(&status)?,
                    writable(&liquidatable)?,
                );
                let slices = ReportSlices {
                    equity: slice(&mut places.0)?,
                    initial: slice(&mut places.1)?,
                    maintenance: slice(&mut places.2)?,
                    status: slice(&mut places.3)?,
                    liquidatable: slice(&mut places.4)?,
                };
                let beside = py.detach(|| self.read().check_into(&prices, threads, slices));
                let columns = [&equity, &initial, &maintenance];
                let amounts: Vec<Bound<'py, PyAny>> = columns
                    .into_iter()
                    .zip(beside.map_err(raise)?)
                    .map(|(array, wide)| with_wide(py, array, &wide))
                    .collect::<PyResult<_>>()?;
                (amounts.try_into(), status, liquidatable)
            }
            None => {
                let report = py.detach(|| self.read().check(&prices, threads)).map_err(raise)?;
                let amounts = [report.equity, report.initial, report.maintenance];
                let amounts: PyResult<Vec<_>> =
                    amounts.into_iter().map(|c| column(py, c)).collect();
                let status = report.status.into_pyarray(py);
                (amounts?.try_into(), status, report.liquidatable.into_pyarray(py))
            }
        };
        let shown = self.shown(py, &prices, [ratio, distance])?;
        let (amounts, status, liquidatable) = amounts;
        let amounts = amounts.map_err(|_| raise(Error::invariant("three columns")))?;
        Ok((amounts, status, liquidatable, shown.map(|c| c.map(|c| c.into_pyarray(py)))))
    }

    /// Only whether the liquidation check fires, for every pool.
    fn liquidatable<'py>(
        &self,
        py: Python<'py>,
        prices: &Prices,
        threads: i64,
    ) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let prices = prices.snapshot();
        let threads = usize::try_from(threads).unwrap_or(0);
        let mask = py.detach(|| self.read().liquidatable(&prices, threads)).map_err(raise)?;
        Ok(mask.into_pyarray(py))
    }

    /// Sets what is held on a leg of a pool: quantity and average entry or cost, in units.
    #[allow(clippy::too_many_arguments)] // the columns of the positions table
    fn set_position(
        &self,
        py: Python<'_>,
        index: usize,
        instrument: &str,
        leg: &str,
        quantity: &Bound<'_, PyAny>,
        entry: Option<&Bound<'_, PyAny>>,
        cost: Option<&Bound<'_, PyAny>>,
        accrued: &Bound<'_, PyAny>,
        entry_rounding: Option<&str>,
    ) -> PyResult<()> {
        let (pool, id) = (self.pool(index)?, self.instrument(instrument)?);
        let side = LegSide::from_name(leg).map_err(raise)?;
        let rounding = named(entry_rounding)?.unwrap_or(Rounding::Exact);
        let of = self.venue.instrument(id).map_err(raise)?;
        let whole = |value: &Bound<'_, PyAny>, field: &str| {
            let quanta = decimal(value, field)?.whole(of.quantum(), field)?;
            Quanta::new(quanta, field)
        };
        let read = || {
            let lots = of.quantity(decimal(quantity, "quantity")?, "quantity")?;
            let cost = match (entry, cost) {
                (Some(entry), None) => {
                    let entry = decimal(entry, "entry")?;
                    Quanta::new(of.cost(lots, entry, rounding, "entry")?, "entry")?
                }
                (None, Some(cost)) => whole(cost, "cost")?,
                (None, None) if lots.get() == 0 => Quanta::default(),
                _ => {
                    let limit = "give entry or cost, one of them";
                    return Err(Error::new(ErrorKind::BadColumn, "entry", "both or none", limit));
                }
            };
            Ok(margin::Position { lots, cost, accrued: whole(accrued, "accrued")? })
        };
        let position = read().map_err(raise)?;
        py.detach(|| {
            self.inner.change(
                |alone| alone.set_position(pool, id, side, position),
                |watch| watch.set_position(pool, id, side, position),
            )
        })
        .map_err(raise)
    }

    /// Sets the balance of a pool in an asset and the interest owed on it, in units.
    fn set_balance(
        &self,
        py: Python<'_>,
        index: usize,
        asset: &str,
        amount: &Bound<'_, PyAny>,
        interest: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let (pool, id) = (self.pool(index)?, self.venue.find_asset(asset).map_err(raise)?);
        let quantum = self.venue.asset(id).map_err(raise)?.quantum();
        let whole = |value: &Bound<'_, PyAny>, field: &str| {
            Quanta::new(decimal(value, field)?.whole(quantum, field)?, field)
        };
        let amount = whole(amount, "amount").map_err(raise)?.get();
        let interest = whole(interest, "interest").map_err(raise)?.get();
        let balance = margin::Balance { asset: id, amount, interest };
        py.detach(|| {
            self.inner.change(
                |alone| alone.set_balance(pool, balance),
                |watch| watch.set_balance(pool, balance),
            )
        })
        .map_err(raise)
    }

    /// Sets the open orders of a leg of a pool: all its bids and all its asks, in units.
    fn set_orders(
        &self,
        py: Python<'_>,
        index: usize,
        instrument: &str,
        leg: &str,
        bids: &Bound<'_, PyAny>,
        asks: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let (pool, id) = (self.pool(index)?, self.instrument(instrument)?);
        let side = LegSide::from_name(leg).map_err(raise)?;
        let of = self.venue.instrument(id).map_err(raise)?;
        let lots =
            |value: &Bound<'_, PyAny>, field: &str| of.quantity(decimal(value, field)?, field);
        let orders = lots(bids, "bids").and_then(|bids| Ok([bids, lots(asks, "asks")?]));
        let orders = orders.map_err(raise)?;
        py.detach(|| {
            self.inner.change(
                |alone| alone.set_orders(pool, id, side, orders),
                |watch| watch.set_orders(pool, id, side, orders),
            )
        })
        .map_err(raise)
    }

    /// Chooses a leverage for a pool, or one instrument of it; None takes the choice back.
    fn set_leverage(
        &self,
        py: Python<'_>,
        index: usize,
        leverage: Option<&Bound<'_, PyAny>>,
        instrument: Option<&str>,
    ) -> PyResult<()> {
        let pool = self.pool(index)?;
        let id = instrument.map(|symbol| self.instrument(symbol)).transpose()?;
        let leverage = leverage.map(|value| rate(value, "leverage")).transpose().map_err(raise)?;
        py.detach(|| {
            self.inner.change(
                |alone| alone.set_leverage(pool, id, leverage),
                |watch| watch.set_leverage(pool, id, leverage),
            )
        })
        .map_err(raise)
    }

    /// Watches it from these prices on.
    fn watch(&self, py: Python<'_>, prices: &Prices) -> PyResult<Watch> {
        let prices = prices.snapshot();
        py.detach(|| Watch::new(self.inner.clone(), prices)).map_err(raise)
    }

    /// Bytes held: of names, of pools.
    fn memory(&self) -> (usize, usize) {
        let memory = self.read().memory();
        (memory.names, memory.pools)
    }

    /// How many rows (what a pool holds in one asset) are in the 64-bit lanes, prices aside.
    #[getter]
    fn lane_count(&self) -> usize {
        self.read().lane_count()
    }

    /// One pool's row and everything it was computed from, in whole units.
    fn explain<'py>(
        &self,
        py: Python<'py>,
        index: usize,
        prices: &Prices,
    ) -> PyResult<Bound<'py, PyDict>> {
        let pool = self.pool(index)?;
        let found = self.read().explain(pool, &prices.snapshot()).map_err(raise)?;
        explanation(py, &found)
    }

    /// The nearest flips below and above: (mark ticks, liquidatable now, below, above).
    #[allow(clippy::type_complexity)] // unpacked at once by the one caller
    fn liquidation_price<'py>(
        &self,
        py: Python<'py>,
        index: usize,
        symbol: &str,
        prices: &Prices,
    ) -> PyResult<(i64, bool, Option<FlipRow<'py>>, Option<FlipRow<'py>>)> {
        let (pool, id) = (self.pool(index)?, self.instrument(symbol)?);
        let prices = prices.snapshot();
        let found =
            py.detach(|| self.read().liquidation_price(pool, id, &prices)).map_err(raise)?;
        let instrument = self.venue.instrument(id).map_err(raise)?;
        let price = |ticks| to_decimal_or_overflow(py, instrument.mark_price(ticks), "price");
        let row = |flip: Flip| -> PyResult<FlipRow<'py>> {
            Ok((flip.mark, price(flip.mark)?, flip.price, price(flip.price)?, flip.liquidatable))
        };
        let (below, above) = (found.below.map(row).transpose()?, found.above.map(row).transpose()?);
        Ok((found.mark, found.liquidatable, below, above))
    }

    /// (price ticks, price, quote quanta, allotted quanta, whether a missing price would be past any price).
    #[allow(clippy::type_complexity)] // unpacked at once by the one caller
    fn bankruptcy_price<'py>(
        &self,
        py: Python<'py>,
        index: usize,
        symbol: &str,
        leg: &str,
        prices: &Prices,
    ) -> PyResult<(Option<i64>, Option<Bound<'py, PyAny>>, i128, i128, bool)> {
        let (pool, id) = (self.pool(index)?, self.instrument(symbol)?);
        let side = LegSide::from_name(leg).map_err(raise)?;
        let found =
            self.read().bankruptcy_price(pool, id, side, &prices.snapshot()).map_err(raise)?;
        let instrument = self.venue.instrument(id).map_err(raise)?;
        let shown = |t| to_decimal_or_overflow(py, instrument.order_price(t), "price");
        let price = found.price.map(shown).transpose()?;
        Ok((found.price, price, found.quote, found.allotted, found.unbounded))
    }

    /// (amount, balance, what binds, equity, initial) in quanta: of the asset the first two, of the pool's the others.
    #[allow(clippy::type_complexity)] // unpacked at once by the one caller
    fn withdrawable(
        &self,
        py: Python<'_>,
        index: usize,
        asset: &str,
        prices: &Prices,
        books: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<(i128, i128, &'static str, i128, i128)> {
        let (pool, venue) = (self.pool(index)?, &self.venue);
        let asset = venue.find_asset(asset).map_err(raise)?;
        let prices = prices.snapshot();
        let found = match books {
            None => self.read().withdrawable(pool, asset, &prices, &[]),
            Some(books) => {
                let books = self.books(py, books)?;
                withdrawable_after_exits(&*self.read(), pool, asset, &prices, |id| {
                    books.get(&id).ok_or_else(|| {
                        let symbol = venue.instrument(id).map_or("?", |i| i.symbol());
                        let limit = "the pool has a position in it: its exit needs a book";
                        Error::new(ErrorKind::MissingPrice, "books", symbol, limit)
                    })
                })
            }
        };
        let Withdrawal { amount, balance, binding, equity, initial } = found.map_err(raise)?;
        Ok((amount, balance, binding.name(), equity, initial))
    }

    #[allow(clippy::unused_self)] // a method by protocol
    fn __reduce__(&self) -> PyResult<()> {
        let why = "Portfolio is a handle on packed memory; pickle the tables it was built from";
        Err(PyTypeError::new_err(why))
    }
}

pub(crate) fn explanation<'py>(
    py: Python<'py>,
    found: &Explanation,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("account", &found.account)?;
    dict.set_item("pool", &found.pool)?;
    dict.set_item("kind", found.kind.name())?;
    dict.set_item("mode", if found.multi { "multi" } else { "single" })?;
    dict.set_item("asset", &found.asset)?;
    dict.set_item("equity", found.margin.equity)?;
    dict.set_item("initial", found.margin.initial)?;
    dict.set_item("maintenance", found.margin.maintenance)?;
    dict.set_item("notional", found.margin.notional)?;
    dict.set_item("status", found.margin.status.name())?;
    dict.set_item("liquidatable", found.margin.liquidatable)?;
    dict.set_item("ratio_ppm", found.margin.ratio_ppm())?;
    dict.set_item("distance_ppm", found.margin.distance_ppm())?;
    dict.set_item("card", found.card.to_string())?;
    dict.set_item("prices", found.prices.to_string())?;
    dict.set_item("assets", asset_rows(py, found)?)?;
    let legs = PyList::empty(py);
    for line in &found.legs {
        let (leg, m) = (&line.leg, &line.margin);
        let row = PyDict::new(py);
        row.set_item("instrument", &line.symbol)?;
        row.set_item("leg", leg.side.name())?;
        for (name, value) in [("lots", leg.lots), ("bids", leg.bids), ("asks", leg.asks)] {
            row.set_item(name, value)?;
        }
        row.set_item("mark_ticks", line.mark)?;
        row.set_item("leverage_rate", leg.chosen.map(|r| (r.num(), r.den())))?;
        let numbers = [
            ("cost", leg.cost),
            ("accrued", leg.accrued),
            ("value", m.value),
            ("pnl", m.pnl),
            ("notional", m.notional),
            ("maintenance_value", m.maintenance_value),
            ("maintenance_num", m.terms.maintenance_num),
            ("deduction_num", m.terms.deduction_num),
            ("fee_num", m.terms.fee_num),
            ("den", m.terms.den),
            ("fee", m.fee),
            ("maintenance", m.maintenance),
            ("exposure", m.exposure),
            ("initial_value", m.initial_value),
            ("initial_num", m.initial_num),
            ("initial_den", m.initial_den),
            ("initial", m.initial),
        ];
        for (name, value) in numbers {
            row.set_item(name, value)?;
        }
        row.set_item("bracket", m.terms.bracket)?;
        row.set_item("initial_bracket", m.initial_bracket)?;
        row.set_item("initial_chosen", m.initial_chosen)?;
        legs.append(row)?;
    }
    dict.set_item("legs", legs)?;
    Ok(dict)
}

fn asset_rows<'py>(py: Python<'py>, found: &Explanation) -> PyResult<Bound<'py, PyList>> {
    let assets = PyList::empty(py);
    for (name, a) in &found.assets {
        let row = PyDict::new(py);
        row.set_item("asset", name)?;
        row.set_item("price_ticks", a.price)?;
        let numbers = [
            ("balance", a.balance.amount),
            ("interest", a.balance.interest),
            ("pnl", a.pnl),
            ("accrued", a.accrued),
            ("equity", a.equity),
            ("initial", a.initial),
            ("maintenance", a.maintenance),
            ("notional", a.notional),
            ("value", a.value),
            ("initial_value", a.initial_value),
            ("maintenance_value", a.maintenance_value),
            ("notional_value", a.notional_value),
        ];
        for (name, value) in numbers {
            row.set_item(name, value)?;
        }
        assets.append(row)?;
    }
    Ok(assets)
}

//! `Prices`: the marks in force, packed once, updated in place.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aivora::data::{InstrumentId, Venue};
use aivora::numbers::MarkTicks;
use aivora::pricing;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::convert::{decimal, integer, to_decimal_or_overflow};
use crate::errors::raise;
use crate::venue;

/// The prices in force on one venue. A held instrument without a mark is an error of the check, never a zero.
///
/// Parameters
/// ----------
/// venue : Venue
///     The venue.
/// mark : dict of str to (int, str or Decimal), optional
///     Mark prices in units, each a whole number of mark ticks.
/// mark_ticks : dict of str to int, optional
///     Mark prices in whole mark ticks.
///
/// Raises
/// ------
/// PriceError
///     ``bad_price`` at or below zero.
/// NumberError
///     ``off_grid`` off the mark tick, ``not_finite`` for NaN, ``out_of_range``.
/// FloatGivenError
///     A float where an exact number is asked.
/// UnknownNameError
///     ``unknown_instrument``.
///
/// Examples
/// --------
/// >>> import aivora_core as ac
/// >>> prices = ac.Prices(ac.Venue.load("demo"), mark={"BTC": "64000.5"})
/// >>> prices.mark("BTC"), prices.mark("ETH")
/// (Decimal('64000.5'), None)
#[pyclass(frozen, module = "aivora_core._core")]
pub(crate) struct Prices {
    inner: Mutex<pricing::Prices>,
}

impl Prices {
    /// The prices, as they are now. A poisoned lock holds whole prices all the same: each is set in one step.
    pub(crate) fn lock(&self) -> MutexGuard<'_, pricing::Prices> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn snapshot(&self) -> pricing::Prices {
        self.lock().clone()
    }
}

/// All given marks, read and checked before any is set. Reading can run Python code: no lock is held meanwhile.
fn read(
    venue: &Venue,
    mark: Option<&Bound<'_, PyDict>>,
    mark_ticks: Option<&Bound<'_, PyDict>>,
) -> PyResult<Vec<(InstrumentId, MarkTicks)>> {
    let mut marks = Vec::new();
    for (symbol, price) in mark.into_iter().flat_map(PyDictMethods::iter) {
        let id = venue.find(symbol.cast::<PyString>()?.to_str()?).map_err(raise)?;
        let instrument = venue.instrument(id).map_err(raise)?;
        let price = decimal(&price, "mark").map_err(raise)?;
        marks.push((id, instrument.mark(price, "mark").map_err(raise)?));
    }
    for (symbol, ticks) in mark_ticks.into_iter().flat_map(PyDictMethods::iter) {
        let id = venue.find(symbol.cast::<PyString>()?.to_str()?).map_err(raise)?;
        let ticks = integer(&ticks, "mark_ticks").and_then(|t| MarkTicks::new(t, "mark_ticks"));
        marks.push((id, ticks.map_err(raise)?));
    }
    Ok(marks)
}

fn set(prices: &mut pricing::Prices, marks: Vec<(InstrumentId, MarkTicks)>) -> PyResult<()> {
    marks.into_iter().try_for_each(|(id, mark)| prices.set_mark(id, mark).map_err(raise))
}

#[pymethods]
impl Prices {
    #[new]
    #[pyo3(signature = (venue, mark=None, *, mark_ticks=None))]
    fn new(
        venue: &venue::Venue,
        mark: Option<&Bound<'_, PyDict>>,
        mark_ticks: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let mut prices = pricing::Prices::new(venue.inner.clone());
        set(&mut prices, read(&venue.inner, mark, mark_ticks)?)?;
        Ok(Self { inner: Mutex::new(prices) })
    }

    /// Sets marks in place; one wrong price changes none.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> prices = ac.Prices(ac.Venue.load("demo"))
    /// >>> prices.update(mark={"BTC": 64000})
    /// >>> prices
    /// Prices(demo, mark={'BTC': '64000'})
    #[pyo3(signature = (mark=None, *, mark_ticks=None))]
    fn update(
        &self,
        mark: Option<&Bound<'_, PyDict>>,
        mark_ticks: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let venue = self.lock().venue().clone();
        let marks = read(&venue, mark, mark_ticks)?;
        set(&mut self.lock(), marks)
    }

    /// The mark of an instrument as a ``Decimal``, or None when it has none.
    fn mark<'py>(&self, py: Python<'py>, symbol: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(ticks) = self.mark_ticks(symbol)? else { return Ok(None) };
        let venue = self.lock().venue().clone();
        let price = venue.get(symbol).map_err(raise)?.mark_price(ticks);
        to_decimal_or_overflow(py, price, "mark").map(Some)
    }

    /// The mark of an instrument in mark ticks, or None when it has none.
    fn mark_ticks(&self, symbol: &str) -> PyResult<Option<i64>> {
        let prices = self.lock();
        let id = prices.venue().find(symbol).map_err(raise)?;
        Ok(prices.mark(id).map(MarkTicks::get))
    }

    /// SHA-256 of the card's hash and all marks, in hex.
    #[getter]
    fn digest(&self) -> String {
        self.lock().digest().to_string()
    }

    fn __repr__(&self) -> PyResult<String> {
        let prices = self.lock();
        let venue = prices.venue();
        let mut marks = Vec::new();
        for instrument in venue.instruments() {
            let id = venue.find(instrument.symbol()).map_err(raise)?;
            let price = prices.mark(id).and_then(|ticks| instrument.mark_price(ticks.get()));
            marks.extend(price.map(|p| format!("'{}': '{p}'", instrument.symbol())));
        }
        let more = if marks.len() > 4 { ", …" } else { "" };
        marks.truncate(4);
        Ok(format!("Prices({}, mark={{{}{more}}})", venue.name(), marks.join(", ")))
    }

    #[allow(clippy::unused_self)] // a method by protocol
    fn __reduce__(&self) -> PyResult<()> {
        let why = "Prices is a handle that is updated in place; pickle the marks you set instead";
        Err(PyTypeError::new_err(why))
    }
}

//! `Prices`: the marks in force, packed once, updated in place.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aivora::data::{AssetId, InstrumentId, Venue};
use aivora::numbers::{Decimal, MarkTicks, PriceTicks};
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
/// asset : dict of str to (int, str or Decimal), optional
///     Prices of assets, in units of the card's valuation asset, each a whole number of the asset's price ticks.
/// asset_ticks : dict of str to int, optional
///     The same in whole price ticks.
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
///     ``unknown_instrument``, ``unknown_asset``.
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

    pub(crate) fn of(prices: pricing::Prices) -> Self {
        Self { inner: Mutex::new(prices) }
    }

    pub(crate) fn snapshot(&self) -> pricing::Prices {
        self.lock().clone()
    }
}

/// Prices as they were given, by what they are of.
struct Given<'a, 'py> {
    mark: Option<&'a Bound<'py, PyDict>>,
    mark_ticks: Option<&'a Bound<'py, PyDict>>,
    asset: Option<&'a Bound<'py, PyDict>>,
    asset_ticks: Option<&'a Bound<'py, PyDict>>,
}

/// The same, read and checked.
#[derive(Default)]
struct Update {
    marks: Vec<(InstrumentId, MarkTicks)>,
    assets: Vec<(AssetId, PriceTicks)>,
}

fn items<'py>(
    dict: Option<&Bound<'py, PyDict>>,
) -> impl Iterator<Item = (Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    dict.into_iter().flat_map(PyDictMethods::iter)
}

/// All given prices, read and checked before any is set. Reading can run Python code: no lock is held meanwhile.
fn read(venue: &Venue, given: &Given<'_, '_>) -> PyResult<Update> {
    let mut update = Update::default();
    for (symbol, price) in items(given.mark) {
        let id = venue.find(symbol.cast::<PyString>()?.to_str()?).map_err(raise)?;
        let instrument = venue.instrument(id).map_err(raise)?;
        let price = decimal(&price, "mark").map_err(raise)?;
        update.marks.push((id, instrument.mark(price, "mark").map_err(raise)?));
    }
    for (symbol, ticks) in items(given.mark_ticks) {
        let id = venue.find(symbol.cast::<PyString>()?.to_str()?).map_err(raise)?;
        let ticks = integer(&ticks, "mark_ticks").and_then(|t| MarkTicks::new(t, "mark_ticks"));
        update.marks.push((id, ticks.map_err(raise)?));
    }
    for (name, price) in items(given.asset) {
        let id = venue.find_asset(name.cast::<PyString>()?.to_str()?).map_err(raise)?;
        let price = decimal(&price, "asset").map_err(raise)?;
        let of = venue.asset(id).map_err(raise)?;
        update.assets.push((id, of.price(price, "asset").map_err(raise)?));
    }
    for (name, ticks) in items(given.asset_ticks) {
        let id = venue.find_asset(name.cast::<PyString>()?.to_str()?).map_err(raise)?;
        let tick = venue.asset(id).map_err(raise)?;
        let ticks = integer(&ticks, "asset_ticks");
        let ticks = ticks.and_then(|t| tick.price_ticks(t, "asset_ticks")).map_err(raise)?;
        update.assets.push((id, ticks));
    }
    Ok(update)
}

fn set(prices: &mut pricing::Prices, update: Update) -> PyResult<()> {
    let Update { marks, assets } = update;
    marks.into_iter().try_for_each(|(id, mark)| prices.set_mark(id, mark).map_err(raise))?;
    assets.into_iter().try_for_each(|(id, price)| prices.set_asset(id, price).map_err(raise))
}

#[pymethods]
impl Prices {
    #[new]
    #[pyo3(signature = (venue, mark=None, *, mark_ticks=None, asset=None, asset_ticks=None))]
    fn new(
        venue: &venue::Venue,
        mark: Option<&Bound<'_, PyDict>>,
        mark_ticks: Option<&Bound<'_, PyDict>>,
        asset: Option<&Bound<'_, PyDict>>,
        asset_ticks: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let mut prices = pricing::Prices::new(venue.inner.clone());
        let given = Given { mark, mark_ticks, asset, asset_ticks };
        set(&mut prices, read(&venue.inner, &given)?)?;
        Ok(Self::of(prices))
    }

    /// Sets prices in place; one wrong price changes none.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> prices = ac.Prices(ac.Venue.load("demo"))
    /// >>> prices.update(mark={"BTC": 64000})
    /// >>> prices
    /// Prices(demo, mark={'BTC': '64000'})
    #[pyo3(signature = (mark=None, *, mark_ticks=None, asset=None, asset_ticks=None))]
    fn update(
        &self,
        mark: Option<&Bound<'_, PyDict>>,
        mark_ticks: Option<&Bound<'_, PyDict>>,
        asset: Option<&Bound<'_, PyDict>>,
        asset_ticks: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let venue = self.lock().venue().clone();
        let update = read(&venue, &Given { mark, mark_ticks, asset, asset_ticks })?;
        set(&mut self.lock(), update)
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

    /// The price of an asset as a ``Decimal``, in the valuation asset, or None when it has none.
    fn asset<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(ticks) = self.asset_ticks(name)? else { return Ok(None) };
        let venue = self.lock().venue().clone();
        let id = venue.find_asset(name).map_err(raise)?;
        let tick = venue.asset(id).map_err(raise)?.worth().map(|w| w.price_tick);
        let price = tick.and_then(|tick| Decimal::of(i128::from(ticks), tick));
        to_decimal_or_overflow(py, price, "asset").map(Some)
    }

    /// The price of an asset in its price ticks, or None when it has none.
    fn asset_ticks(&self, name: &str) -> PyResult<Option<i64>> {
        let prices = self.lock();
        let id = prices.venue().find_asset(name).map_err(raise)?;
        Ok(prices.asset(id).map(PriceTicks::get))
    }

    /// SHA-256 of the card's hash and all prices, in hex.
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
        let mut assets = Vec::new();
        for asset in venue.assets() {
            let id = venue.find_asset(asset.name()).map_err(raise)?;
            let tick = asset.worth().map(|worth| worth.price_tick);
            let price = prices.asset(id).zip(tick);
            let price = price.and_then(|(ticks, tick)| Decimal::of(i128::from(ticks.get()), tick));
            assets.extend(price.map(|p| format!("'{}': '{p}'", asset.name())));
        }
        let assets = if assets.is_empty() {
            String::new()
        } else {
            format!(", asset={{{}}}", assets.join(", "))
        };
        Ok(format!("Prices({}, mark={{{}{more}}}{assets})", venue.name(), marks.join(", ")))
    }

    #[allow(clippy::unused_self)] // a method by protocol
    fn __reduce__(&self) -> PyResult<()> {
        let why = "Prices is a handle that is updated in place; pickle the marks you set instead";
        Err(PyTypeError::new_err(why))
    }
}

//! `Instrument`: one instrument of a venue.

use std::sync::{Arc, OnceLock};

use aivora::data::{self, Contract, InstrumentId, ROOT_FACTOR_DEN, ROOT_RATE_DEN, TierBy, Tiers};
use aivora::numbers::{Decimal, Rate};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::convert::{to_decimal, to_decimal_or_overflow, to_fraction};
use crate::errors::raise;

/// One instrument of a venue: its grids and its margin schedule. Made by ``venue["BTC"]``.
///
/// Examples
/// --------
/// >>> import aivora_core as ac
/// >>> btc = ac.Venue.load("demo")["BTC"]
/// >>> btc.lot
/// Decimal('0.001')
#[pyclass(frozen, module = "aivora_core._core")]
pub(crate) struct Instrument {
    pub(crate) venue: Arc<data::Venue>,
    pub(crate) id: InstrumentId,
    text: Arc<str>,
    shared: OnceLock<Arc<data::Instrument>>,
}

impl Instrument {
    pub(crate) fn new(venue: Arc<data::Venue>, id: InstrumentId, text: Arc<str>) -> Self {
        Self { venue, id, text, shared: OnceLock::new() }
    }

    pub(crate) fn inner(&self) -> PyResult<&data::Instrument> {
        self.venue.instrument(self.id).map_err(raise)
    }

    /// The instrument for those that outlive a call: one copy for all books of this object.
    pub(crate) fn shared(&self) -> PyResult<Arc<data::Instrument>> {
        let inner = self.inner()?;
        Ok(Arc::clone(self.shared.get_or_init(|| Arc::new(inner.clone()))))
    }

    /// Whether it is the same instrument of the same card.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.id == other.id && self.venue.digest() == other.venue.digest()
    }
}

pub(crate) fn fraction(py: Python<'_>, rate: Rate) -> PyResult<Bound<'_, PyAny>> {
    to_fraction(py, i128::from(rate.num()), i128::from(rate.den()))
}

#[pymethods]
impl Instrument {
    /// Its symbol.
    #[getter]
    fn symbol(&self) -> PyResult<&str> {
        Ok(self.inner()?.symbol())
    }

    /// How its value follows from its price: ``"linear"``, ``"quanto"`` or ``"inverse"``.
    #[getter]
    fn kind(&self) -> PyResult<&'static str> {
        Ok(self.inner()?.kind().name())
    }

    /// Where the value of a position is rounded: ``"position"`` or ``"per_contract"``.
    #[getter]
    fn value_rounding(&self) -> PyResult<&'static str> {
        Ok(self.inner()?.value_rounding().name())
    }

    /// The asset its profit is paid in.
    #[getter]
    fn settlement(&self) -> PyResult<&str> {
        Ok(self.venue.asset(self.inner()?.settlement()).map_err(raise)?.name())
    }

    /// The step of order prices.
    #[getter]
    fn price_tick<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.inner()?.price_tick())
    }

    /// The step of mark prices.
    #[getter]
    fn mark_tick<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.inner()?.mark_tick())
    }

    /// The step of quantities.
    #[getter]
    fn lot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.inner()?.lot())
    }

    /// Base units per 1.0 of quantity; for an inverse contract quote units, for a quanto settlement units per 1.0 of price.
    #[getter]
    fn multiplier<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.inner()?.multiplier())
    }

    /// The quantum of the settlement asset.
    #[getter]
    fn quantum<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_decimal(py, self.inner()?.quantum())
    }

    /// Quanta of the settlement asset per mark tick and lot; None where a position's value is rounded.
    #[getter]
    fn quanta_per_mark_tick_and_lot(&self) -> PyResult<Option<i64>> {
        match self.inner()?.contract() {
            Contract::Linear { unit } => Ok(Some(unit)),
            _ => Ok(None),
        }
    }

    /// The taker fee as a ``Fraction``, or None when the card has none.
    #[getter]
    fn taker_fee<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.inner()?.taker_fee().map(|rate| fraction(py, rate)).transpose()
    }

    /// The margin schedule: a list of brackets with ``floor`` (``Decimal``; an amount or a quantity, by ``by``),
    /// ``maintenance``, ``initial`` and ``deduction`` (``Fraction``; the deduction in units of the
    /// settlement asset), or one entry with the bases and the slope or factor that they grow by.
    #[getter]
    fn tiers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let instrument = self.inner()?;
        let list = PyList::empty(py);
        match instrument.tiers() {
            Tiers::Brackets { by, den, brackets, .. } => {
                let notional = *by == TierBy::Notional;
                let unit = if notional { instrument.quantum() } else { instrument.lot() };
                for bracket in brackets {
                    let row = PyDict::new(py);
                    row.set_item("by", if notional { "notional" } else { "size" })?;
                    let floor = Decimal::of(bracket.floor, unit);
                    row.set_item("floor", to_decimal_or_overflow(py, floor, "floor")?)?;
                    row.set_item("maintenance", fraction(py, bracket.maintenance)?)?;
                    row.set_item("initial", fraction(py, bracket.initial)?)?;
                    let quanta = to_fraction(py, bracket.deduction_num, i128::from(*den))?;
                    let quantum = to_decimal(py, instrument.quantum())?;
                    let quantum = py.import("fractions")?.getattr("Fraction")?.call1((quantum,))?;
                    row.set_item("deduction", quanta.mul(quantum)?)?;
                    list.append(row)?;
                }
            }
            Tiers::Slope { by, den, maintenance_num, initial_num, slope_num, .. } => {
                let row = PyDict::new(py);
                let over = |num: &i64| to_fraction(py, i128::from(*num), i128::from(*den));
                let (name, slope) = match by {
                    TierBy::Notional => ("value_slope", "slope_per_quantum"),
                    TierBy::Size => ("size_slope", "slope_per_lot"),
                };
                row.set_item("by", name)?;
                row.set_item("maintenance_base", over(maintenance_num)?)?;
                row.set_item("initial_base", over(initial_num)?)?;
                row.set_item(slope, over(slope_num)?)?;
                list.append(row)?;
            }
            Tiers::Root { maintenance, initial, factor, .. } => {
                let row = PyDict::new(py);
                let over = |num: &i64, den: i64| to_fraction(py, i128::from(*num), i128::from(den));
                row.set_item("by", "size_root")?;
                row.set_item("maintenance_base", over(maintenance, ROOT_RATE_DEN)?)?;
                row.set_item("initial_base", over(initial, ROOT_RATE_DEN)?)?;
                row.set_item("factor", over(factor, ROOT_FACTOR_DEN)?)?;
                list.append(row)?;
            }
        }
        Ok(list)
    }

    fn __repr__(&self) -> PyResult<String> {
        let symbol = self.inner()?.symbol();
        Ok(format!("<Instrument {symbol} of venue {}>", self.venue.name()))
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.same(other)
    }

    fn __hash__(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.venue.digest().bytes()[..8]);
        u64::from_be_bytes(bytes) ^ u64::try_from(self.id.index()).unwrap_or(0)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String, String))> {
        let this = slf.get();
        let make = slf.py().import("aivora_core._core")?.getattr("_instrument")?;
        Ok((make, (this.text.to_string(), this.inner()?.symbol().to_owned())))
    }
}

/// An instrument from its card's text: how one is unpickled.
#[pyfunction]
pub(crate) fn _instrument(text: &str, symbol: &str) -> PyResult<Instrument> {
    let venue = Arc::new(data::Venue::from_toml(text).map_err(raise)?);
    let id = venue.find(symbol).map_err(raise)?;
    Ok(Instrument::new(venue, id, text.into()))
}

//! `Walk`: what a market order would take from a book.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use aivora::data::Side;
use aivora::execution::{self, Fraction, WalkFacts};
use aivora::numbers::{Decimal, Lots, PriceTicks, Quanta};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::convert::{to_decimal, to_decimal_or_overflow, to_fraction};
use crate::errors::raise;
use crate::instrument::Instrument;

/// What a market order would take from a book. Made by `Book.walk`.
///
/// Whole numbers are stored; the fee, the average price and the slippage are divided when they are
/// asked for.
///
/// Parameters
/// ----------
/// instrument : Instrument
///     What was walked.
/// side : {"buy", "sell"}
///     Which way.
/// filled_lots, unfilled_lots : int
///     What was there of the quantity, and what was not.
/// cost_quanta : int
///     The cost of what was filled.
/// worst_ticks : int, optional
///     The last price touched, in price ticks.
/// levels : int
///     How many levels were touched.
/// mid_half_ticks : int, optional
///     Best bid plus best ask at the time, in price ticks.
///
/// Raises
/// ------
/// NumberError
///     ``out_of_range`` for facts that no walk could have.
///
/// Examples
/// --------
/// >>> import aivora_core as ac
/// >>> book = ac.Book(
/// ...     ac.Venue.load("demo")["BTC"], [("64000.5", "1.2")], [("64001", "0.7"), ("64002.5", "2")]
/// ... )
/// >>> walk = book.walk("buy", "1.5")
/// >>> walk.filled, walk.cost, walk.fee
/// (Decimal('1.5'), Decimal('96002.7'), Decimal('48.00135'))
/// >>> walk.vwap, walk.slippage_bps
/// (Decimal('64001.8'), Decimal('0.1641'))
#[pyclass(frozen, module = "aivora_core._core")]
pub(crate) struct Walk {
    instrument: Py<Instrument>,
    inner: execution::Walk,
}

type Value<'py> = PyResult<Bound<'py, PyAny>>;
type Maybe<'py> = PyResult<Option<Bound<'py, PyAny>>>;

impl Walk {
    pub(crate) fn new(instrument: Py<Instrument>, inner: execution::Walk) -> Self {
        Self { instrument, inner }
    }

    fn quantity<'py>(&self, py: Python<'py>, lots: Lots) -> Value<'py> {
        let size = self.instrument.get().inner()?.size(lots.get());
        to_decimal_or_overflow(py, size, "quantity")
    }

    fn amount<'py>(&self, py: Python<'py>, quanta: Quanta) -> Value<'py> {
        let quantum = self.instrument.get().inner()?.quantum();
        to_decimal_or_overflow(py, Decimal::of(quanta.get(), quantum), "amount")
    }

    fn tick(&self) -> PyResult<Decimal> {
        Ok(self.instrument.get().inner()?.price_tick())
    }
}

fn fraction(py: Python<'_>, value: Fraction) -> Value<'_> {
    to_fraction(py, value.num(), value.den())
}

#[pymethods]
impl Walk {
    #[new]
    #[pyo3(signature = (
        instrument, side, filled_lots, unfilled_lots, cost_quanta, worst_ticks=None, levels=0,
        mid_half_ticks=None,
    ))]
    #[allow(clippy::too_many_arguments)] // the facts of a walk, one each
    fn restore(
        instrument: &Bound<'_, Instrument>,
        side: &str,
        filled_lots: i128,
        unfilled_lots: i128,
        cost_quanta: i128,
        worst_ticks: Option<i128>,
        levels: u32,
        mid_half_ticks: Option<i64>,
    ) -> PyResult<Self> {
        let facts = || {
            Ok(WalkFacts {
                side: Side::from_name(side)?,
                filled: Lots::new(filled_lots, "filled_lots")?,
                unfilled: Lots::new(unfilled_lots, "unfilled_lots")?,
                cost: Quanta::new(cost_quanta, "cost_quanta")?,
                worst: worst_ticks.map(|t| PriceTicks::new(t, "worst_ticks")).transpose()?,
                levels,
                mid_half_ticks,
            })
        };
        let core = instrument.get().inner()?;
        let walk = facts().and_then(|facts| execution::Walk::restore(core, &facts));
        Ok(Self::new(instrument.clone().unbind(), walk.map_err(raise)?))
    }

    /// What was walked.
    #[getter]
    fn instrument(&self, py: Python<'_>) -> Py<Instrument> {
        self.instrument.clone_ref(py)
    }

    /// ``"buy"`` or ``"sell"``.
    #[getter]
    fn side(&self) -> &'static str {
        self.inner.side().name()
    }

    /// The quantity that would be filled.
    #[getter]
    fn filled<'py>(&self, py: Python<'py>) -> Value<'py> {
        self.quantity(py, self.inner.filled())
    }

    /// The quantity that is not there, or not within the limit.
    #[getter]
    fn unfilled<'py>(&self, py: Python<'py>) -> Value<'py> {
        self.quantity(py, self.inner.unfilled())
    }

    /// The cost of what is filled, in the settlement asset: exact, or of an inverse contract its coins, each level
    /// rounded against the taker.
    #[getter]
    fn cost<'py>(&self, py: Python<'py>) -> Value<'py> {
        self.amount(py, self.inner.cost())
    }

    /// The taker fee of the cost, rounded up to a quantum; None when the card has no fee.
    #[getter]
    fn fee<'py>(&self, py: Python<'py>) -> Maybe<'py> {
        self.inner.fee().map(|fee| self.amount(py, fee)).transpose()
    }

    /// The last price touched; None without a fill.
    #[getter]
    fn worst<'py>(&self, py: Python<'py>) -> Maybe<'py> {
        let Some(worst) = self.inner.worst() else { return Ok(None) };
        let price = self.instrument.get().inner()?.order_price(worst.get());
        to_decimal_or_overflow(py, price, "worst").map(Some)
    }

    /// How many levels are touched.
    #[getter]
    fn levels(&self) -> u32 {
        self.inner.levels()
    }

    /// The average price to 12 decimals, rounded against the taker; None without a cost.
    #[getter]
    fn vwap<'py>(&self, py: Python<'py>) -> Maybe<'py> {
        let vwap = self.inner.vwap(self.tick()?).map_err(raise)?;
        vwap.map(|vwap| to_decimal(py, vwap)).transpose()
    }

    /// The average price as a ``Fraction``: the price at which what is filled is worth its cost; None without a cost.
    #[getter]
    fn vwap_exact<'py>(&self, py: Python<'py>) -> Maybe<'py> {
        let exact = self.inner.vwap_exact(self.tick()?).map_err(raise)?;
        exact.map(|exact| fraction(py, exact)).transpose()
    }

    /// The slippage of the average price against the mid in basis points, rounded up to 4
    /// decimals; None without a mid or a cost.
    #[getter]
    fn slippage_bps<'py>(&self, py: Python<'py>) -> Maybe<'py> {
        let bps = self.inner.slippage_bps().map_err(raise)?;
        bps.map(|bps| to_decimal(py, bps)).transpose()
    }

    /// The slippage in basis points as a ``Fraction``; None without a mid or a cost.
    #[getter]
    fn slippage_bps_exact<'py>(&self, py: Python<'py>) -> Maybe<'py> {
        let Some(slippage) = self.inner.slippage().map_err(raise)? else { return Ok(None) };
        // Python's integers hold the product whatever its size.
        fraction(py, slippage)?.mul(10_000).map(Some)
    }

    /// The filled quantity in lots.
    #[getter]
    fn filled_lots(&self) -> i64 {
        self.inner.filled().get()
    }

    /// The unfilled quantity in lots.
    #[getter]
    fn unfilled_lots(&self) -> i64 {
        self.inner.unfilled().get()
    }

    /// The cost in quanta.
    #[getter]
    fn cost_quanta(&self) -> i128 {
        self.inner.cost().get()
    }

    /// The fee in quanta; None when the card has no fee.
    #[getter]
    fn fee_quanta(&self) -> Option<i128> {
        self.inner.fee().map(Quanta::get)
    }

    /// The last price touched in price ticks; None without a fill.
    #[getter]
    fn worst_ticks(&self) -> Option<i64> {
        self.inner.worst().map(PriceTicks::get)
    }

    /// Best bid plus best ask at the time, in price ticks: the mid in halves; None without both
    /// sides.
    #[getter]
    fn mid_half_ticks(&self) -> Option<i64> {
        self.inner.mid_half_ticks()
    }

    /// SHA-256 of all it says, in hex.
    #[getter]
    fn digest(&self) -> String {
        self.inner.digest().to_string()
    }

    /// All of it by name: ``Decimal`` values, and the whole numbers they come from.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> book = ac.Book(ac.Venue.load("demo")["BTC"], asks=[("64001", "0.7"), ("64002.5", "2")])
    /// >>> found = book.walk("buy", "1.5").to_dict()
    /// >>> found["instrument"], found["cost"], found["cost_quanta"]
    /// ('BTC', Decimal('96002.7'), 96002700000)
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        dict.set_item("instrument", self.instrument.get().inner()?.symbol())?;
        dict.set_item("side", self.side())?;
        dict.set_item("filled", self.filled(py)?)?;
        dict.set_item("unfilled", self.unfilled(py)?)?;
        dict.set_item("cost", self.cost(py)?)?;
        dict.set_item("fee", self.fee(py)?)?;
        dict.set_item("vwap", self.vwap(py)?)?;
        dict.set_item("worst", self.worst(py)?)?;
        dict.set_item("slippage_bps", self.slippage_bps(py)?)?;
        dict.set_item("levels", self.levels())?;
        dict.set_item("filled_lots", self.filled_lots())?;
        dict.set_item("unfilled_lots", self.unfilled_lots())?;
        dict.set_item("cost_quanta", self.cost_quanta())?;
        dict.set_item("fee_quanta", self.fee_quanta())?;
        dict.set_item("worst_ticks", self.worst_ticks())?;
        dict.set_item("mid_half_ticks", self.mid_half_ticks())?;
        Ok(dict)
    }

    fn __repr__(&self) -> PyResult<String> {
        let none = || "None".to_owned();
        Ok(format!(
            "Walk({}, '{}', filled_lots={}, unfilled_lots={}, cost_quanta={}, worst_ticks={}, \
             levels={}, mid_half_ticks={})",
            self.instrument.get().inner()?.symbol(),
            self.side(),
            self.filled_lots(),
            self.unfilled_lots(),
            self.cost_quanta(),
            self.worst_ticks().map_or_else(none, |t| t.to_string()),
            self.levels(),
            self.mid_half_ticks().map_or_else(none, |t| t.to_string()),
        ))
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.inner == other.inner && self.instrument.get().same(other.instrument.get())
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.inner.hash(&mut hasher);
        hasher.finish()
    }

    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (this, py) = (slf.get(), slf.py());
        let facts = this.inner.facts();
        let arguments = (
            this.instrument.clone_ref(py),
            facts.side.name(),
            facts.filled.get(),
            facts.unfilled.get(),
            facts.cost.get(),
            facts.worst.map(PriceTicks::get),
            facts.levels,
            facts.mid_half_ticks,
        );
        Ok((slf.get_type().into_any(), arguments.into_pyobject(py)?))
    }
}

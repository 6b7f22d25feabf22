//! `Watch`, the native half: verdicts that follow prices. Python's `watch.py` gives it its manners.

use std::mem;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use aivora::data;
use aivora::margin::{
    self, Changes, Funding, Holdings, PoolId, Portfolio, PortfolioBuilder, PriceOf, Tick,
};
use aivora::numbers::{Error, ErrorKind, Result};
use aivora::pricing;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::convert::{decimal, rate as rate_of};
use crate::errors::raise;
use crate::prices::Prices;
use crate::venue::Venue;

/// A portfolio, or a watch that has it: a change of what pools hold is a change for the watch at once.
pub(crate) struct Held {
    /// Empty while it is watched.
    alone: Portfolio,
    watch: Option<Watched>,
}

/// A watch, and what changes of holdings have changed and nobody was told yet.
struct Watched {
    watch: margin::Watch,
    untold: Changes,
}

/// A portfolio that a watch may share with its Python object.
#[derive(Clone)]
pub(crate) struct Shared(Arc<RwLock<Held>>);

/// The portfolio while it is read.
pub(crate) struct Reading<'a>(RwLockReadGuard<'a, Held>);

impl Deref for Reading<'_> {
    type Target = Portfolio;

    fn deref(&self) -> &Portfolio {
        self.0.watch.as_ref().map_or(&self.0.alone, |watched| watched.watch.portfolio())
    }
}

fn not_watched() -> Error {
    Error::invariant("watch")
}

impl Shared {
    pub(crate) fn new(alone: Portfolio) -> Self {
        Self(Arc::new(RwLock::new(Held { alone, watch: None })))
    }

    /// As it is. A poisoned lock holds a whole portfolio all the same: each change is made in one step.
    pub(crate) fn read(&self) -> Reading<'_> {
        Reading(self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what pools hold, through the watch if there is one.
    pub(crate) fn change(
        &self,
        alone: impl FnOnce(&mut Portfolio) -> Result<()>,
        watched: impl FnOnce(&mut margin::Watch) -> Result<Changes>,
    ) -> Result<()> {
        let held = &mut *self.write();
        match &mut held.watch {
            None => alone(&mut held.alone),
            Some(Watched { watch, untold }) => {
                untold.then(watched(watch)?);
                Ok(())
            }
        }
    }

    /// Watches it from these prices on.
    fn watch(&self, prices: pricing::Prices) -> Result<()> {
        let held = &mut *self.write();
        if held.watch.is_some() {
            let limit = "this portfolio has a watch already: close that one, or watch a copy";
            return Err(Error::new(ErrorKind::DuplicateKey, "watch", "a second one", limit));
        }
        let watch = margin::Watch::new(held.alone.clone(), prices)?;
        held.alone = PortfolioBuilder::new(Arc::clone(held.alone.venue())).build()?;
        held.watch = Some(Watched { watch, untold: Changes::default() });
        Ok(())
    }

    /// The watch asks or does something; what was not told yet comes first.
    fn with<T>(&self, job: impl FnOnce(&mut margin::Watch) -> Result<T>) -> Result<T> {
        let mut held = self.write();
        job(&mut held.watch.as_mut().ok_or_else(not_watched)?.watch)
    }

    fn told(&self, job: impl FnOnce(&mut margin::Watch) -> Result<Changes>) -> Result<Changes> {
        let mut held = self.write();
        let Watched { watch, untold } = held.watch.as_mut().ok_or_else(not_watched)?;
        let found = job(watch)?;
        if untold.is_empty() {
            return Ok(found);
        }
        let mut all = mem::take(untold);
        all.then(found);
        Ok(all)
    }

    /// Watches it no longer.
    fn close(&self) {
        let held = &mut *self.write();
        if let Some(watched) = held.watch.take() {
            held.alone = watched.watch.into_portfolio();
        }
    }
}

/// Verdicts that follow prices; made by ``Portfolio.watch``.
#[pyclass(frozen, module = "aivora_core._core")]
pub(crate) struct Watch {
    shared: Shared,
    /// Not closed: a closed one leaves the next watch of its portfolio alone.
    open: AtomicBool,
}

type Indices = (Vec<usize>, Vec<usize>);

fn indices(changes: Changes) -> Indices {
    let places = |pools: Vec<PoolId>| pools.into_iter().map(PoolId::index).collect();
    (places(changes.liquidatable), places(changes.safe))
}

impl Watch {
    pub(crate) fn new(shared: Shared, prices: pricing::Prices) -> Result<Self> {
        shared.watch(prices)?;
        Ok(Self { shared, open: AtomicBool::new(true) })
    }

    fn venue(&self) -> Arc<data::Venue> {
        Arc::clone(self.shared.read().venue())
    }

    fn pool(&self, index: usize) -> PyResult<PoolId> {
        let found = self.shared.read().pools().nth(index);
        found.ok_or_else(|| raise(Error::invariant("pool index")))
    }

    /// Whose price a code is: an instrument's place in the card, or past those an asset's.
    fn price_of(venue: &data::Venue, code: i64) -> Result<PriceOf> {
        let count = venue.instruments().len();
        let place = usize::try_from(code).map_err(|_| {
            let limit = format!("must be a place in the card, 0 to {}", count - 1);
            Error::new(ErrorKind::UnknownInstrument, "instrument", code, limit)
        })?;
        if place >= count && place < count + venue.assets().len() {
            return venue.nth_asset(place - count).map(PriceOf::Asset);
        }
        venue.nth(place).map(PriceOf::Mark)
    }

    /// The ticks of a price in units.
    fn ticks_of(venue: &data::Venue, of: PriceOf, price: &Bound<'_, PyAny>) -> Result<i64> {
        match of {
            PriceOf::Mark(id) => {
                Ok(venue.instrument(id)?.mark(decimal(price, "mark")?, "mark")?.get())
            }
            PriceOf::Asset(id) => {
                Ok(venue.asset(id)?.price(decimal(price, "asset")?, "asset")?.get())
            }
        }
    }
}

#[pymethods]
impl Watch {
    /// A new price, in units or, as an int of ticks, as it is.
    fn tick(
        &self,
        py: Python<'_>,
        code: i64,
        price: Option<&Bound<'_, PyAny>>,
        ticks: Option<i64>,
    ) -> PyResult<Indices> {
        let venue = self.venue();
        let of = Self::price_of(&venue, code).map_err(raise)?;
        let ticks = match (price, ticks) {
            (Some(price), _) => Self::ticks_of(&venue, of, price),
            (None, ticks) => Ok(ticks.unwrap_or(0)),
        };
        let ticks = ticks.map_err(raise)?;
        py.detach(|| self.shared.told(|watch| watch.apply(&Tick { of, ticks, time: None })))
            .map(indices)
            .map_err(raise)
    }

    /// Prices in units as ticks, row by row.
    #[allow(clippy::needless_pass_by_value)] // extracted from Python by value
    fn ticks_of_rows<'py>(
        &self,
        py: Python<'py>,
        codes: PyReadonlyArray1<'py, i64>,
        prices: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let venue = self.venue();
        let codes = codes.as_array();
        let row = |(row, (code, price)): (usize, (&i64, &Bound<'py, PyAny>))| {
            let of = Self::price_of(&venue, *code);
            of.and_then(|of| Self::ticks_of(&venue, of, price)).map_err(|e| raise(e.at_row(row)))
        };
        let ticks: PyResult<Vec<i64>> = codes.iter().zip(&prices).enumerate().map(row).collect();
        Ok(ticks?.into_pyarray(py))
    }

    /// Many prices in ticks: rows, pools and verdicts of what they changed.
    #[allow(clippy::type_complexity)] // unpacked at once by the one caller
    #[allow(clippy::needless_pass_by_value)] // extracted from Python by value
    fn ticks<'py>(
        &self,
        py: Python<'py>,
        codes: PyReadonlyArray1<'py, i64>,
        ticks: PyReadonlyArray1<'py, i64>,
        times: Option<PyReadonlyArray1<'py, i64>>,
    ) -> PyResult<(Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<bool>>)>
    {
        let venue = self.venue();
        let (codes, ticks) = (codes.as_array(), ticks.as_array());
        let times = times.as_ref().map(PyReadonlyArray1::as_array);
        let count = i64::try_from(venue.instruments().len() + venue.assets().len()).unwrap_or(0);
        let all: Vec<PriceOf> = (0..count)
            .map(|code| Self::price_of(&venue, code))
            .collect::<Result<_>>()
            .map_err(raise)?;
        let (untold, hits) = py
            .detach(|| {
                // Every row is known before the first is a tick.
                for (row, code) in codes.iter().enumerate() {
                    if !(0..count).contains(code) {
                        let unknown = Self::price_of(&venue, *code).err();
                        return Err(unknown.unwrap_or_else(not_watched).at_row(row));
                    }
                }
                let of =
                    |code: &i64| usize::try_from(*code).ok().and_then(|at| all.get(at)).copied();
                let mut held = self.shared.write();
                let Watched { watch, untold } = held.watch.as_mut().ok_or_else(not_watched)?;
                let rows = codes.iter().zip(ticks.iter()).enumerate();
                let tick = |(row, (code, ticks)): (usize, (&i64, &i64))| {
                    let time = times.as_ref().and_then(|times| times.get(row)).copied();
                    Some(Tick { of: of(code)?, ticks: *ticks, time })
                };
                let hits = watch.ticks(rows.filter_map(tick))?;
                Ok((mem::take(untold), hits))
            })
            .map_err(raise)?;
        let place = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        // What fills and payments changed before the first row is told first.
        let before = |verdict| move |pool: &PoolId| (-1, place(pool.index()), verdict);
        let before = untold
            .liquidatable
            .iter()
            .map(before(true))
            .chain(untold.safe.iter().map(before(false)));
        let hits =
            hits.iter().map(|hit| (place(hit.row), place(hit.pool.index()), hit.liquidatable));
        let (mut rows, mut pools, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
        for (row, pool, verdict) in before.chain(hits) {
            rows.push(row);
            pools.push(pool);
            verdicts.push(verdict);
        }
        Ok((rows.into_pyarray(py), pools.into_pyarray(py), verdicts.into_pyarray(py)))
    }

    /// All prices at once.
    fn reprice(&self, py: Python<'_>, prices: &Prices) -> PyResult<Indices> {
        let prices = prices.snapshot();
        py.detach(|| self.shared.told(|watch| watch.reprice(&prices))).map(indices).map_err(raise)
    }

    /// The check that is due now.
    fn check(&self, py: Python<'_>) -> PyResult<Indices> {
        py.detach(|| self.shared.told(margin::Watch::check)).map(indices).map_err(raise)
    }

    /// Time goes on.
    fn advance(&self, py: Python<'_>, time: i64) -> PyResult<Indices> {
        py.detach(|| self.shared.told(|watch| watch.advance(time))).map(indices).map_err(raise)
    }

    /// One pool again, with what was not told of it yet.
    fn update(&self, py: Python<'_>, index: usize) -> PyResult<Indices> {
        let pool = self.pool(index)?;
        let found = py.detach(|| {
            let mut held = self.shared.write();
            let Watched { watch, untold } = held.watch.as_mut().ok_or_else(not_watched)?;
            let again = watch.recertify(pool)?;
            let mut own = Changes::default();
            for (all, own) in [
                (&mut untold.liquidatable, &mut own.liquidatable),
                (&mut untold.safe, &mut own.safe),
            ] {
                own.extend(all.iter().filter(|other| **other == pool));
                all.retain(|other| *other != pool);
            }
            own.then(again);
            Ok(own)
        });
        found.map(indices).map_err(raise)
    }

    /// The venue takes a pool over.
    fn hand_over(&self, index: usize) -> PyResult<()> {
        let pool = self.pool(index)?;
        self.shared.with(|watch| watch.hand_over(pool)).map_err(raise)
    }

    /// A funding settlement now, or at a time.
    #[pyo3(signature = (code, price, rate, longs_pay, time=None))]
    fn funding(
        &self,
        py: Python<'_>,
        code: i64,
        price: Option<&Bound<'_, PyAny>>,
        rate: &Bound<'_, PyAny>,
        longs_pay: bool,
        time: Option<i64>,
    ) -> PyResult<Indices> {
        let venue = self.venue();
        let read = || {
            let PriceOf::Mark(id) = Self::price_of(&venue, code)? else {
                return Err(Error::invariant("instrument"));
            };
            let instrument = venue.instrument(id)?;
            let price = match price {
                Some(price) => instrument.mark(decimal(price, "price")?, "price")?,
                None => self.shared.with(|watch| {
                    watch.prices().mark(id).ok_or_else(|| {
                        let limit = "has no mark yet: give the price that positions are valued at";
                        Error::new(ErrorKind::MissingPrice, "price", instrument.symbol(), limit)
                    })
                })?,
            };
            Ok((id, Funding { price, rate: rate_of(rate, "rate")?, longs_pay }))
        };
        let (id, funding) = read().map_err(raise)?;
        let found = py.detach(|| match time {
            None => self.shared.told(|watch| watch.settle_funding(id, funding)),
            Some(time) => self
                .shared
                .with(|watch| watch.schedule_funding(time, id, funding))
                .map(|()| Changes::default()),
        });
        found.map(indices).map_err(raise)
    }

    /// Another card comes into force.
    fn set_card(&self, py: Python<'_>, venue: &Venue) -> PyResult<Indices> {
        let venue = Arc::clone(&venue.inner);
        py.detach(|| self.shared.told(|watch| watch.set_card(&venue))).map(indices).map_err(raise)
    }

    /// Makes again the certificates that a scan left.
    fn settle(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.shared.with(margin::Watch::settle)).map_err(raise)
    }

    /// The verdict on every pool.
    fn liquidatable<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let mask = self.shared.with(|watch| Ok(watch.liquidatable().to_vec())).map_err(raise)?;
        Ok(mask.into_pyarray(py))
    }

    /// The prices in force, copied.
    fn prices(&self) -> PyResult<Prices> {
        self.shared.with(|watch| Ok(Prices::of(watch.prices().clone()))).map_err(raise)
    }

    /// Pools that the last check looked at, bytes held beside the portfolio, the time.
    fn state(&self) -> PyResult<(usize, usize, Option<i64>)> {
        let state = |watch: &mut margin::Watch| Ok((watch.touched(), watch.memory(), watch.now()));
        self.shared.with(state).map_err(raise)
    }

    /// Ends it; the portfolio goes on alone.
    fn close(&self) {
        if self.open.swap(false, Ordering::AcqRel) {
            self.shared.close();
        }
    }

    /// Whether it goes on.
    #[getter]
    fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    #[allow(clippy::unused_self)] // a method by protocol
    fn __reduce__(&self) -> PyResult<()> {
        let why = "Watch is a handle on packed memory; watch the portfolio again";
        Err(PyTypeError::new_err(why))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.close();
    }
}

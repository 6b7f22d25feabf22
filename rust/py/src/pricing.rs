//! Indexes and funding rates, in whole ticks and parts of 10^-12: `aivora_core.pricing` gives them units.

use std::sync::{Mutex, PoisonError};

use aivora::data::price_rules::{FundingOrder, PaidOn, PremiumOf, Timing};
use aivora::numbers::{Error, ErrorKind, MarkTicks, Rate, Rounding};
use aivora::pricing::funding::{self, Average, FundingRule, Shape};
use aivora::pricing::index::{self, Blend, IndexRule, OnOutlier, Source};
use aivora::pricing::mark::{self, MarkRule, Of, Seen, Term};
use aivora::pricing::path::{self, Row};
use aivora::pricing::restart;
use aivora::pricing::validity::{Action, Limits, Permits, Quote, Validity};
use numpy::{IntoPyArray, PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::decimal;
use crate::errors::raise;
use crate::venue::Venue;

/// Name, weight, the oldest age, how long unchanged, floor, cap.
type GivenSource = (String, u32, i64, Option<i64>, Option<i64>, Option<i64>);

/// A term: name, what a basis is of, samples, how far apart, window, interval, step.
type TermRow =
    (&'static str, &'static str, Option<usize>, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

/// An index as its sources tell their prices, in mark ticks.
#[pyclass(frozen, name = "_Index", module = "aivora_core._core")]
pub(crate) struct Index {
    inner: Mutex<index::Index>,
}

impl Index {
    fn with<T>(&self, of: impl FnOnce(&mut index::Index) -> T) -> T {
        of(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn unsaid(venue: &Venue, rule: &str) -> PyErr {
    let limit = "the card of the venue gives no such rule";
    raise(Error::new(ErrorKind::Unsaid, format!("rules.{rule}"), venue.inner.name(), limit))
}

fn name_of<T: PartialEq + Copy>(all: &[(&'static str, T)], one: T) -> &'static str {
    all.iter().find(|(_, own)| *own == one).map_or("", |(name, _)| *name)
}

fn one_of<T: Copy>(field: &str, given: &str, all: &[(&str, T)]) -> PyResult<T> {
    let found = all.iter().find(|(name, _)| *name == given).map(|(_, own)| *own);
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        raise(Error::new(
            ErrorKind::OutOfRange,
            field,
            given,
            format!("must be one of {}", names.join(", ")),
        ))
    })
}

#[pymethods]
impl Index {
    #[new]
    fn new(
        sources: Vec<GivenSource>,
        blend: &str,
        outlier: Option<(String, String)>,
        min_live: usize,
    ) -> PyResult<Self> {
        let actions = [("exclude", OnOutlier::Exclude), ("clamp", OnOutlier::Clamp)];
        let outlier = outlier.map(|(rate, action)| {
            let rate = Rate::parse(&rate, "outlier").map_err(raise)?;
            Ok::<_, PyErr>((rate, one_of("on_outlier", &action, &actions)?))
        });
        let source = |(name, weight, max_age, frozen_after, floor, cap): GivenSource| Source {
            name: name.into(),
            weight,
            max_age,
            frozen_after,
            floor,
            cap,
        };
        let rule = IndexRule {
            sources: sources.into_iter().map(source).collect(),
            blend: one_of("blend", blend, Blend::NAMES)?,
            outlier: outlier.transpose()?,
            min_live,
        };
        let inner = Mutex::new(index::Index::new(rule).map_err(raise)?);
        Ok(Self { inner })
    }

    /// The index of a venue, as its card has it; of sources of these names where the card names none.
    #[staticmethod]
    #[allow(clippy::needless_pass_by_value)] // a list of Python becomes one of ours
    fn of(venue: &Venue, names: Vec<String>) -> PyResult<Self> {
        let terms = venue.inner.prices().index.as_ref().ok_or_else(|| unsaid(venue, "index"))?;
        let inner = index::Index::new(terms.of(&names)).map_err(raise)?;
        Ok(Self { inner: Mutex::new(inner) })
    }

    /// Its sources: name, weight, the oldest age, how long unchanged.
    fn sources(&self) -> Vec<(String, u32, i64, Option<i64>)> {
        self.with(|index| {
            let all = index.rule().sources.iter();
            all.map(|of| (of.name.to_string(), of.weight, of.max_age, of.frozen_after)).collect()
        })
    }

    /// A source tells a price.
    fn observe(&self, source: usize, price: i64, time: i64) -> PyResult<()> {
        self.with(|index| index.observe(source, price, time)).map_err(raise)
    }

    /// The index, how many sources count, the time of the oldest price among them.
    fn value(&self, now: i64) -> (Option<i64>, usize, Option<i64>) {
        let found = self.with(|index| index.value(now));
        (found.price.map(MarkTicks::get), found.live, found.oldest)
    }

    /// The state of each source.
    fn states(&self, now: i64) -> Vec<&'static str> {
        let found = self.with(|index| index.states(now));
        found.into_iter().map(index::SourceState::name).collect()
    }

    /// Between what and what the index is, whatever one source tells.
    fn reach(&self, py: Python<'_>, source: usize, now: i64) -> Option<(i64, i64)> {
        let found = py.detach(|| self.with(|index| index.reach(source, now)));
        found.map(|(low, high)| (low.get(), high.get()))
    }
}

/// A mark as its market goes on, in mark ticks.
#[pyclass(frozen, name = "_Mark", module = "aivora_core._core")]
pub(crate) struct Mark {
    inner: Mutex<mark::Mark>,
}

impl Mark {
    fn with<T>(&self, of: impl FnOnce(&mut mark::Mark) -> T) -> T {
        of(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A term from its name, what a basis is of, and two numbers.
fn term((rule, of, first, second): (String, String, i64, i64)) -> PyResult<Term> {
    let of = || one_of("of", &of, Of::NAMES);
    Ok(match one_of("rule", &rule, Term::NAMES)? {
        Term::Fair { .. } => Term::Fair { interval: first, step: second },
        Term::Basis { .. } => {
            let samples = usize::try_from(second).unwrap_or(0);
            Term::Basis { of: of()?, samples, every: first }
        }
        Term::Ema { .. } => Term::Ema { of: of()?, window: second, every: first },
        plain => plain,
    })
}

/// What is seen, by its number: that of `SEEN` in Python.
fn row(kind: u8, first: i64, second: i64) -> Row {
    match kind {
        0 => Row::Source(usize::try_from(first).unwrap_or(usize::MAX), second),
        1 => Row::Seen(Seen::Index(first)),
        2 => Row::Seen(Seen::Last(first)),
        3 => Row::Seen(Seen::Outside(first)),
        4 => Row::Seen(Seen::Best(first, second)),
        5 => Row::Seen(Seen::Impact(first, second)),
        6 => Row::Seen(Seen::Funding(first, second)),
        _ => Row::Clock,
    }
}

#[pymethods]
impl Mark {
    #[new]
    fn new(
        terms: Vec<(String, String, i64, i64)>,
        min_terms: usize,
        step: Option<String>,
    ) -> PyResult<Self> {
        let step = step.map(|step| Rate::parse(&step, "step").map_err(raise)).transpose()?;
        let terms = terms.into_iter().map(term).collect::<PyResult<_>>()?;
        let rule = MarkRule { terms, min_terms, step };
        let inner = Mutex::new(mark::Mark::new(rule).map_err(raise)?);
        Ok(Self { inner })
    }

    /// The mark of a venue, as its card has it.
    #[staticmethod]
    fn of(venue: &Venue) -> PyResult<Self> {
        let rule = venue.inner.prices().mark.as_ref().ok_or_else(|| unsaid(venue, "mark"))?;
        let inner = mark::Mark::new(rule.clone()).map_err(raise)?;
        Ok(Self { inner: Mutex::new(inner) })
    }

    /// Its terms: name, what a basis is of, samples, how far apart, window, interval, step.
    fn rows(&self) -> Vec<TermRow> {
        let row = |term: &Term| match *term {
            Term::Fair { interval, step } => {
                ("fair", "mid", None, None, None, Some(interval), Some(step))
            }
            Term::Basis { of, samples, every } => {
                ("basis", name_of(Of::NAMES, of), Some(samples), Some(every), None, None, None)
            }
            Term::Ema { of, window, every } => {
                ("ema", name_of(Of::NAMES, of), None, Some(every), Some(window), None, None)
            }
            plain => (name_of(Term::NAMES, plain), "mid", None, None, None, None, None),
        };
        self.with(|mark| mark.rule().terms.iter().map(row).collect())
    }

    /// Something is seen: a price, two, or a rate and a time.
    fn see(&self, kind: &str, first: i64, second: i64, time: i64) -> PyResult<()> {
        let kinds = [
            ("index", Seen::Index(first)),
            ("last", Seen::Last(first)),
            ("outside", Seen::Outside(first)),
            ("best", Seen::Best(first, second)),
            ("impact", Seen::Impact(first, second)),
            ("funding", Seen::Funding(first, second)),
        ];
        let seen = one_of("seen", kind, &kinds)?;
        self.with(|mark| mark.see(seen, time)).map_err(raise)
    }

    /// The mark at a time.
    fn update(&self, now: i64) -> PyResult<Option<i64>> {
        self.with(|mark| mark.update(now)).map(|found| found.map(MarkTicks::get)).map_err(raise)
    }

    /// Takes the rows of a path: what is seen, two numbers, a time; the mark after each, 0 where there is none.
    fn run<'py>(
        &self,
        py: Python<'py>,
        index: &Bound<'py, Index>,
        seen: &Bound<'py, PyArray1<u8>>,
        first: &Bound<'py, PyArray1<i64>>,
        second: &Bound<'py, PyArray1<i64>>,
        time: &Bound<'py, PyArray1<i64>>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let (seen, first) = (seen.readonly(), first.readonly());
        let (second, time) = (second.readonly(), time.readonly());
        let (kinds, first) = (seen.as_slice()?, first.as_slice()?);
        let (second, time) = (second.as_slice()?, time.as_slice()?);
        let rows = kinds.iter().zip(first).zip(second).zip(time);
        let rows = rows.map(|(((kind, first), second), time)| (row(*kind, *first, *second), *time));
        let (index, mut out) = (index.get(), Vec::with_capacity(kinds.len()));
        let done = py.detach(|| {
            index.with(|index| self.with(|mark| path::run(index, mark, rows, &mut out)))
        });
        done.map_err(|(place, error)| raise(error.at_row(place)))?;
        Ok(out.into_pyarray(py))
    }

    /// The same, with the premium (the lowest number where there is none) and the place of the class after each row.
    #[allow(clippy::too_many_arguments)] // the columns of a path
    fn trace<'py>(
        &self,
        py: Python<'py>,
        index: &Bound<'py, Index>,
        limits: GivenLimits,
        seen: &Bound<'py, PyArray1<u8>>,
        first: &Bound<'py, PyArray1<i64>>,
        second: &Bound<'py, PyArray1<i64>>,
        time: &Bound<'py, PyArray1<i64>>,
    ) -> PyResult<Trace<'py>> {
        let limits = given_limits(limits)?;
        let (seen, first) = (seen.readonly(), first.readonly());
        let (second, time) = (second.readonly(), time.readonly());
        let (kinds, first) = (seen.as_slice()?, first.as_slice()?);
        let (second, time) = (second.as_slice()?, time.as_slice()?);
        let rows = kinds.iter().zip(first).zip(second).zip(time);
        let rows = rows.map(|(((kind, first), second), time)| (row(*kind, *first, *second), *time));
        let room = kinds.len();
        let mut marks = Vec::with_capacity(room);
        let mut premiums = Vec::with_capacity(room);
        let mut classes = Vec::with_capacity(room);
        let index = index.get();
        let done = py.detach(|| {
            let out = |known: path::Known| {
                marks.push(known.mark.unwrap_or(0));
                premiums.push(known.premium.unwrap_or(i64::MIN));
                classes.push(place_of(known.class));
            };
            index.with(|index| self.with(|mark| path::trace(index, mark, &limits, rows, out)))
        });
        done.map_err(|(place, error)| raise(error.at_row(place)))?;
        let (marks, premiums) = (marks.into_pyarray(py), premiums.into_pyarray(py));
        Ok((marks, premiums, classes.into_pyarray(py)))
    }

    /// What each term is.
    fn terms(&self) -> Vec<Option<i64>> {
        self.with(|mark| mark.terms())
    }
}

/// What is held back after a restart, until every price is fresh.
#[pyclass(frozen, name = "_RestartGate", module = "aivora_core._core")]
pub(crate) struct RestartGate {
    inner: Mutex<restart::RestartGate>,
}

impl RestartGate {
    fn with<T>(&self, of: impl FnOnce(&mut restart::RestartGate) -> T) -> T {
        of(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl RestartGate {
    #[new]
    fn new(prices: usize, fresh: i64) -> PyResult<Self> {
        let inner = Mutex::new(restart::RestartGate::new(prices, fresh).map_err(raise)?);
        Ok(Self { inner })
    }

    /// Trading goes on from this time.
    fn restart(&self, time: i64) -> PyResult<()> {
        self.with(|gate| gate.restart(time)).map_err(raise)
    }

    /// A price is told, by its place.
    fn observe(&self, price: usize, time: i64) -> PyResult<()> {
        self.with(|gate| gate.observe(price, time)).map_err(raise)
    }

    /// The places of the prices that it waits for.
    fn waiting(&self, now: i64) -> Vec<usize> {
        self.with(|gate| gate.waiting(now))
    }

    /// Whether an action may be taken.
    fn permits(&self, action: &str) -> PyResult<bool> {
        let all: Vec<_> = Action::ALL.iter().map(|own| (own.name(), *own)).collect();
        let action = one_of("action", action, &all)?;
        Ok(self.with(|gate| gate.permits(action)))
    }
}

/// A number in whole units of another: an integer, a string or a `Decimal`, exact.
#[pyfunction]
pub(crate) fn _whole(
    value: &Bound<'_, PyAny>,
    unit: &Bound<'_, PyAny>,
    field: &str,
) -> PyResult<i128> {
    let unit = decimal(unit, field).map_err(raise)?;
    decimal(value, field).and_then(|value| value.whole(unit, field)).map_err(raise)
}

/// Funding of a venue, as its card has it: a dict of the parts of its rule, rates in parts of 10^-12.
#[pyfunction]
pub(crate) fn _funding_terms<'py>(py: Python<'py>, venue: &Venue) -> PyResult<Bound<'py, PyDict>> {
    let terms = venue.inner.prices().funding.ok_or_else(|| unsaid(venue, "funding"))?;
    let FundingRule { shape, bounds, scale, decimals, rounding, .. } = terms.rule;
    let (interest, clamp, band) = match shape {
        Shape::Interest { interest, clamp } => (interest, clamp, None),
        Shape::DeadBand(band) => (0, None, Some(band)),
    };
    let dict = PyDict::new(py);
    let sampling = terms.sampling;
    let average = sampling.map(|(average, _)| name_of(Average::NAMES, average));
    dict.set_item("average", average)?;
    dict.set_item("interest", interest)?;
    dict.set_item("clamp", clamp)?;
    dict.set_item("dead_band", band)?;
    dict.set_item("bounds", bounds)?;
    dict.set_item("scale", scale.to_string())?;
    dict.set_item("decimals", decimals)?;
    dict.set_item("rounding", name_of(Rounding::NAMES, rounding))?;
    dict.set_item("interval_ms", terms.interval)?;
    dict.set_item("sample_ms", sampling.map(|(_, sample)| sample))?;
    dict.set_item("lag", terms.lag)?;
    dict.set_item("timing", name_of(Timing::NAMES, terms.timing))?;
    dict.set_item("paid_on", name_of(PaidOn::NAMES, terms.paid_on))?;
    dict.set_item("premium", name_of(PremiumOf::NAMES, terms.premium))?;
    dict.set_item("shaped", terms.shaped)?;
    dict.set_item("quoted_ms", terms.quoted)?;
    dict.set_item("grace_ms", terms.grace)?;
    dict.set_item("order", terms.order.map(|order| name_of(FundingOrder::NAMES, order)))?;
    dict.set_item("cap_factor", terms.cap_factor.map(|rate| rate.to_string()))?;
    dict.set_item("divergence", terms.divergence.map(|rate| rate.to_string()))?;
    Ok(dict)
}

/// The limits of a venue's prices, as its card has them: as `_validity` takes them.
#[pyfunction]
pub(crate) fn _limits(venue: &Venue) -> PyResult<GivenLimits> {
    let of = venue.inner.prices().validity.ok_or_else(|| unsaid(venue, "validity"))?;
    let uncertain = of.uncertain.map(|rate| rate.to_string());
    Ok((of.volatile, uncertain, of.stale_for_margin, of.min_live, of.stale))
}

/// Price, average, confidence, age, sources.
type GivenQuote = (i64, Option<i64>, Option<i64>, i64, Option<usize>);
/// The largest ratio to the average, the widest confidence, the age for margin, the fewest sources, the age.
type GivenLimits = (Option<(u32, u32)>, Option<String>, Option<i64>, Option<usize>, Option<i64>);

/// Marks, premiums and the places of classes.
type Trace<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<u8>>);

/// The place of a class in [`Validity::ALL`].
fn place_of(class: Validity) -> u8 {
    let place = Validity::ALL.iter().position(|own| *own == class);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
}

fn given_limits(limits: GivenLimits) -> PyResult<Limits> {
    let (volatile, uncertain, stale_for_margin, min_live, stale) = limits;
    let uncertain = uncertain.map(|rate| Rate::parse(&rate, "uncertain").map_err(raise));
    Ok(Limits { volatile, uncertain: uncertain.transpose()?, stale_for_margin, min_live, stale })
}

/// The class of a price.
#[pyfunction]
pub(crate) fn _validity(quote: GivenQuote, limits: GivenLimits) -> PyResult<&'static str> {
    let (price, average, confidence, age, live) = quote;
    let limits = given_limits(limits)?;
    Ok(limits.class(&Quote { price, average, confidence, age, live }).name())
}

/// The classes that each action allows: as a card has it, or by default.
#[pyfunction]
pub(crate) fn _permits(venue: Option<&Venue>) -> Vec<(&'static str, Vec<&'static str>)> {
    let permits = venue.map_or_else(Permits::default, |venue| venue.inner.prices().permits);
    let allowed = |action: &Action| {
        let classes = Validity::ALL.iter().filter(|class| permits.allows(*action, **class));
        (action.name(), classes.map(|class| class.name()).collect())
    };
    Action::ALL.iter().map(allowed).collect()
}

/// How old a price may be when trading goes on, as the card has it.
#[pyfunction]
pub(crate) fn _restart_fresh(venue: &Venue) -> PyResult<i64> {
    let fresh = venue.inner.path().failure.restart_fresh;
    fresh.ok_or_else(|| unsaid(venue, "failure.restart_fresh"))
}

/// The premium of one sample, in parts of 10^-12.
#[pyfunction]
pub(crate) fn _premium(impact_bid: i64, impact_ask: i64, index: i64) -> PyResult<i64> {
    let ticks = |field: &str, ticks: i64| MarkTicks::new(ticks.into(), field).map_err(raise);
    let (bid, ask) = (ticks("impact_bid", impact_bid)?, ticks("impact_ask", impact_ask)?);
    funding::premium(bid, ask, ticks("index", index)?).map_err(raise)
}

/// The rates of intervals that follow one another, row by row of so many samples, in parts of 10^-12.
#[pyfunction]
#[allow(clippy::too_many_arguments)] // a rule has so many parts
pub(crate) fn _funding_rates<'py>(
    py: Python<'py>,
    premiums: &Bound<'py, PyArray1<i64>>,
    row: usize,
    interval: u32,
    average: &str,
    interest: Option<(i64, Option<i64>)>,
    dead_band: i64,
    bounds: Option<(i64, i64)>,
    scale: &str,
    decimals: u32,
    rounding: &str,
    threads: usize,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let averages = [("mean", Average::Mean), ("rising", Average::Rising)];
    let shape = interest.map_or(Shape::DeadBand(dead_band), |(interest, clamp)| Shape::Interest {
        interest,
        clamp,
    });
    let rule = FundingRule {
        average: one_of("average", average, &averages)?,
        shape,
        bounds,
        scale: Rate::parse(scale, "scale").map_err(raise)?,
        decimals,
        rounding: Rounding::from_name(rounding).map_err(raise)?,
    };
    let given = premiums.readonly();
    let given = given.as_slice()?;
    let all = || funding::rates_of_rows(&rule, given, row, interval, threads);
    let found = py.detach(all).map_err(raise)?;
    Ok(found.into_pyarray(py))
}

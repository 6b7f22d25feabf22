//! What followed from many events, and many orders at once: columns in, columns out.

use std::sync::Arc;

use aivora::engine::{self, Columns, OrderMargin, Outcome};
use aivora::numbers::{Error, ErrorKind, Result};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::engine::{Answer, Shared};
use crate::errors::{raise, to_exception};

/// One that was refused, or that something followed from.
struct Told {
    row: usize,
    position: u64,
    refused: Option<Error>,
    /// Where its outcomes end among those of all.
    end: usize,
}

/// What followed from many events: the answers of those that were refused, or that something followed from.
///
/// A sequence of ``(row, Answer)``; the others were taken, and nothing followed.
///
/// Examples
/// --------
/// >>> import aivora_core as ac
/// >>> eng = ac.Engine("demo")
/// >>> gateway = eng.source(1)
/// >>> found = eng.apply_all([gateway.pool_open("alice", time=0), gateway.clock(time=1)])
/// >>> found, found.refused, found[0]
/// (Answers(1 of 2 events, 0 refused), 0, (0, Answer(position 0, taken, 1 outcome)))
#[pyclass(frozen, sequence, module = "aivora_core._core")]
pub(crate) struct Answers {
    shared: Shared,
    events: usize,
    refused: usize,
    told: Vec<Told>,
    outcomes: Vec<Outcome>,
}

impl Answers {
    pub(crate) fn of(shared: &Shared) -> Self {
        let shared = Arc::clone(shared);
        Self { shared, events: 0, refused: 0, told: Vec::new(), outcomes: Vec::new() }
    }

    pub(crate) fn push(&mut self, row: usize, answer: engine::Answer<'_>) {
        self.events += 1;
        let engine::Answer { position, refused, outcomes } = answer;
        if refused.is_none() && outcomes.is_empty() {
            return;
        }
        self.refused += usize::from(refused.is_some());
        self.outcomes.extend_from_slice(outcomes);
        self.told.push(Told { row, position, refused, end: self.outcomes.len() });
    }
}

#[pymethods]
impl Answers {
    /// How many events were refused.
    #[getter]
    fn refused(&self) -> usize {
        self.refused
    }

    /// How many events there were.
    #[getter]
    fn events(&self) -> usize {
        self.events
    }

    /// The rows of the events that were refused or that something followed from, ascending.
    #[getter]
    fn rows<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let row = |told: &Told| i64::try_from(told.row).unwrap_or(i64::MAX);
        self.told.iter().map(row).collect::<Vec<_>>().into_pyarray(py)
    }

    fn __len__(&self) -> usize {
        self.told.len()
    }

    fn __getitem__(&self, place: isize) -> PyResult<(usize, Answer)> {
        let place = if place < 0 {
            self.told.len().checked_add_signed(place)
        } else {
            place.try_into().ok()
        };
        let told = place.and_then(|place| Some((place, self.told.get(place)?)));
        let Some((place, told)) = told else {
            return Err(PyIndexError::new_err("no such answer"));
        };
        let start = place.checked_sub(1).and_then(|last| self.told.get(last)).map_or(0, |t| t.end);
        let outcomes = self.outcomes.get(start..told.end).unwrap_or_default().to_vec();
        let (shared, refused) = (Arc::clone(&self.shared), told.refused.clone());
        Ok((told.row, Answer::new(shared, told.position, refused, outcomes)))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let all = (0..self.told.len().cast_signed()).map(|place| self.__getitem__(place));
        let all: Vec<_> = all.collect::<PyResult<_>>()?;
        all.into_pyobject(py)?.try_iter().map(Bound::into_any)
    }

    fn __repr__(&self) -> String {
        format!("Answers({} of {} events, {} refused)", self.told.len(), self.events, self.refused)
    }
}

type Named<'py> = Vec<(String, PyReadonlyArray1<'py, i64>)>;

/// Reads columns that Python has made contiguous.
fn with_columns<T>(
    tags: &PyReadonlyArray1<'_, u8>,
    columns: &Named<'_>,
    orders: bool,
    job: impl FnOnce(Columns<'_>) -> Result<T>,
) -> Result<T> {
    let scattered = |name: &str| {
        Error::new(ErrorKind::BadColumn, name, "a strided array", "must be contiguous")
    };
    let tags = tags.as_slice().map_err(|_| scattered("event"))?;
    let slices = columns
        .iter()
        .map(|(name, column)| Ok((name.as_str(), column.as_slice().map_err(|_| scattered(name))?)));
    let slices = slices.collect::<Result<Vec<_>>>()?;
    job(if orders { Columns::orders(tags, &slices)? } else { Columns::new(tags, &slices)? })
}

/// Takes events in columns.
pub(crate) fn apply_columns(
    py: Python<'_>,
    shared: &Shared,
    tags: &PyReadonlyArray1<'_, u8>,
    columns: &Named<'_>,
) -> PyResult<Answers> {
    let mut answers = Answers::of(shared);
    let found = with_columns(tags, columns, false, |columns| {
        py.detach(|| {
            let mut engine = crate::engine::lock(shared);
            engine.apply_columns(&columns, |row, answer| {
                answers.push(row, answer);
                Ok(())
            })
        })
    });
    found.map(|()| answers).map_err(raise)
}

/// The margins of many orders, as columns.
#[derive(Default)]
struct Margins {
    passes: Vec<bool>,
    reduces: Vec<bool>,
    numbers: [Vec<i64>; 5],
    errors: Vec<(usize, Error)>,
}

const NAMES: [&str; 5] =
    ["equity_quanta", "initial_quanta", "reserved_quanta", "reserve_quanta", "free_quanta"];

impl Margins {
    fn new(rows: usize) -> Self {
        let numbers = [(); 5].map(|()| Vec::with_capacity(rows));
        let (passes, reduces) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        Self { passes, reduces, numbers, errors: Vec::new() }
    }

    fn push(&mut self, row: usize, margin: Result<OrderMargin>) {
        let found = margin.and_then(|margin| Ok((Self::numbers(&margin)?, margin)));
        let (numbers, passes, reduces) = match found {
            Ok((numbers, margin)) => (numbers, margin.passes(), margin.reduces),
            Err(error) => {
                self.errors.push((row, error.at_row(row)));
                ([0; 5], false, false)
            }
        };
        self.passes.push(passes);
        self.reduces.push(reduces);
        for (column, number) in self.numbers.iter_mut().zip(numbers) {
            column.push(number);
        }
    }

    fn numbers(margin: &OrderMargin) -> Result<[i64; 5]> {
        let OrderMargin { equity, initial, reserved, reserve, .. } = *margin;
        let all = [equity, initial, reserved, reserve, margin.free()];
        let mut found = [0; 5];
        for ((into, value), name) in found.iter_mut().zip(all).zip(NAMES) {
            let limit = "does not fit int64: ask for this order by itself";
            *into = i64::try_from(value)
                .map_err(|_| Error::new(ErrorKind::Overflow, name, value, limit))?;
        }
        Ok(found)
    }
}

/// What orders in columns would do, each alone.
pub(crate) fn check_orders<'py>(
    py: Python<'py>,
    shared: &Shared,
    tags: &PyReadonlyArray1<'_, u8>,
    columns: &Named<'_>,
) -> PyResult<Bound<'py, PyDict>> {
    let found = with_columns(tags, columns, true, |columns| {
        py.detach(|| {
            let mut margins = Margins::new(columns.len());
            let engine = crate::engine::lock(shared);
            engine.check_orders(&columns, |row, margin| margins.push(row, margin))?;
            Ok(margins)
        })
    });
    let Margins { passes, reduces, numbers, errors } = found.map_err(raise)?;
    let dict = PyDict::new(py);
    dict.set_item("passes", passes.into_pyarray(py))?;
    dict.set_item("reduces", reduces.into_pyarray(py))?;
    for (name, column) in NAMES.iter().zip(numbers) {
        dict.set_item(name, column.into_pyarray(py))?;
    }
    let refused = PyDict::new(py);
    for (row, error) in &errors {
        refused.set_item(row, to_exception(py, error)?)?;
    }
    dict.set_item("errors", refused)?;
    Ok(dict)
}

/// The kinds of events: their names, their tags, and their columns; none where they do not stand in columns.
#[pyfunction]
pub(crate) fn _kinds() -> Vec<(&'static str, u8, Option<Vec<String>>)> {
    let names = |columns: Vec<(String, Option<i64>)>| columns.into_iter().map(|(n, _)| n).collect();
    let kind = |shape: &engine::event::Shape| (shape.name, shape.tag, shape.columns().map(names));
    engine::What::ALL.iter().map(kind).collect()
}

//! Exact numbers across the border: what counts as one, and what is refused.

use aivora::numbers::{Decimal, Error, ErrorKind, Exact, Rate, Result};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString, PyType};

use crate::errors::raise;

static DECIMAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static FRACTION: PyOnceLock<Py<PyType>> = PyOnceLock::new();

fn decimal_class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    DECIMAL.import(py, "decimal", "Decimal")
}

/// `decimal.Decimal` of an exact decimal.
pub(crate) fn to_decimal(py: Python<'_>, value: Decimal) -> PyResult<Bound<'_, PyAny>> {
    decimal_class(py)?.call1((value.to_string(),))
}

/// `decimal.Decimal` of a decimal that may be missing because it does not fit.
pub(crate) fn to_decimal_or_overflow<'py>(
    py: Python<'py>,
    value: Option<Decimal>,
    field: &'static str,
) -> PyResult<Bound<'py, PyAny>> {
    to_decimal(py, value.ok_or_else(|| raise(Error::overflow(field, "a decimal")))?)
}

/// `fractions.Fraction` of an exact number.
pub(crate) fn to_exact<'py>(py: Python<'py>, value: &Exact) -> PyResult<Bound<'py, PyAny>> {
    FRACTION.import(py, "fractions", "Fraction")?.call1((value.to_string(),))
}

/// An exact number, or a word, as text; a float is refused by name.
pub(crate) fn exact_text(value: &Bound<'_, PyAny>, field: &str) -> Result<String> {
    if let Ok(string) = value.cast::<PyString>() {
        return text(string, field).map(str::to_owned);
    }
    if is_float(value) {
        return Err(float_given(field, value));
    }
    let py = value.py();
    let classes = [decimal_class(py), FRACTION.import(py, "fractions", "Fraction")];
    let known = |class: &PyResult<&Bound<'_, PyType>>| {
        class.as_ref().is_ok_and(|class| value.is_instance(class).unwrap_or(false))
    };
    let is_whole = value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>();
    if is_whole || classes.iter().any(known) {
        return Ok(value.to_string());
    }
    integer(value, field).map(|whole| whole.to_string())
}

/// `fractions.Fraction(num, den)`.
pub(crate) fn to_fraction(py: Python<'_>, num: i128, den: i128) -> PyResult<Bound<'_, PyAny>> {
    FRACTION.import(py, "fractions", "Fraction")?.call1((num, den))
}

#[cold]
fn float_given(field: &str, value: &Bound<'_, PyAny>) -> Error {
    let limit = "a float is not exact; give an int, a str or a Decimal";
    Error::new(ErrorKind::FloatGiven, field, shown(value), limit)
}

#[cold]
fn not_a_number(field: &str, value: &Bound<'_, PyAny>) -> Error {
    Error::new(ErrorKind::NotANumber, field, shown(value), "must be an int, a str or a Decimal")
}

/// The `repr` of a value, for messages.
pub(crate) fn shown(value: &Bound<'_, PyAny>) -> String {
    value.repr().map_or_else(|_| "?".to_owned(), |r| r.to_string())
}

/// Whether a value is a float of Python or numpy.
pub(crate) fn is_float(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyFloat>()
        || value.get_type().name().is_ok_and(|n| n.to_string_lossy().starts_with("float"))
}

/// Text, borrowed.
pub(crate) fn text<'a>(value: &'a Bound<'_, PyString>, field: &str) -> Result<&'a str> {
    value.to_str().map_err(|_| {
        Error::new(ErrorKind::NotANumber, field, "text", "must be well-formed Unicode")
    })
}

/// An exact decimal from an int, a str or a `Decimal`; a float is refused by name.
pub(crate) fn decimal(value: &Bound<'_, PyAny>, field: &str) -> Result<Decimal> {
    if let Ok(string) = value.cast::<PyString>() {
        return Decimal::parse(text(string, field)?, field);
    }
    if is_float(value) {
        return Err(float_given(field, value));
    }
    let class = decimal_class(value.py()).ok();
    if class.is_some_and(|class| value.is_instance(class).unwrap_or(false)) {
        return Decimal::parse(&value.to_string(), field);
    }
    integer(value, field).map(|i| Decimal::new(i, 0))
}

/// A whole number; a float is refused by name.
pub(crate) fn integer(value: &Bound<'_, PyAny>, field: &str) -> Result<i128> {
    if is_float(value) {
        return Err(float_given(field, value));
    }
    let whole = value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>();
    let like = || !value.is_instance_of::<PyBool>() && value.hasattr("__index__").unwrap_or(false);
    if !whole && !like() {
        return Err(not_a_number(field, value));
    }
    // What is only like an int is turned into one first: 128 bits are read by shifting, which it may not know.
    let int = if whole { None } else { value.call_method0("__index__").ok() };
    int.as_ref()
        .unwrap_or(value)
        .extract::<i128>()
        .map_err(|_| Error::new(ErrorKind::Overflow, field, shown(value), "must fit 128 bits"))
}

/// An exact rational from an int, a str (`0.1`, `1/75`), a `Decimal` or a `Fraction`.
pub(crate) fn rate(value: &Bound<'_, PyAny>, field: &str) -> Result<Rate> {
    let class = FRACTION.import(value.py(), "fractions", "Fraction").ok();
    let fraction = class.is_some_and(|class| value.is_instance(class).unwrap_or(false));
    if fraction || value.is_instance_of::<PyString>() {
        return Rate::parse(&value.to_string(), field);
    }
    Rate::parse(&decimal(value, field)?.to_string(), field)
}

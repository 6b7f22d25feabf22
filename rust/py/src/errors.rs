//! The one place where a core error becomes a Python exception.

use aivora::numbers::{Details, Error, ErrorGroup, ErrorKind};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule};

/// The class in `aivora_core.errors` for a family of errors.
pub(crate) fn class_name(group: ErrorGroup) -> &'static str {
    match group {
        ErrorGroup::Number => "NumberError",
        ErrorGroup::Float => "FloatGivenError",
        ErrorGroup::Card => "CardError",
        ErrorGroup::Table => "TableError",
        ErrorGroup::Lookup => "UnknownNameError",
        ErrorGroup::Price => "PriceError",
        ErrorGroup::Book => "BookError",
        ErrorGroup::Refused => "Refused",
        ErrorGroup::Journal => "JournalError",
        ErrorGroup::Limit => "LimitExceeded",
        ErrorGroup::Invariant => "InvariantBroken",
        _ => "AivoraError",
    }
}

fn instance<'py>(py: Python<'py>, details: &Details) -> PyResult<Bound<'py, PyAny>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let load = || PyModule::import(py, "aivora_core.errors").map(Bound::unbind);
    let class =
        MODULE.get_or_try_init(py, load)?.bind(py).getattr(class_name(details.kind.group()))?;
    let named = PyDict::new(py);
    named.set_item("code", details.kind.code())?;
    named.set_item("field", &details.field)?;
    named.set_item("value", &details.value)?;
    named.set_item("limit", &details.limit)?;
    named.set_item("row", details.row)?;
    class.call((details.to_string(),), Some(&named))
}

/// The exception for an error of the core, not raised.
pub(crate) fn to_exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    instance(py, error.details())
}

/// The exception for an error of the core.
#[cold]
#[allow(clippy::needless_pass_by_value)] // the shape that map_err asks for
pub(crate) fn raise(error: Error) -> PyErr {
    Python::attach(|py| match instance(py, error.details()) {
        Ok(instance) => PyErr::from_value(instance),
        Err(failed) => failed,
    })
}

/// Every kind of error: its code and the name of its class.
#[pyfunction]
pub(crate) fn _error_kinds() -> Vec<(&'static str, &'static str)> {
    ErrorKind::ALL.iter().map(|kind| (kind.code(), class_name(kind.group()))).collect()
}

/// An exception instance as the core makes it, for readers written in Python.
#[pyfunction]
#[pyo3(signature = (code, field, value, limit, row=None))]
pub(crate) fn _error<'py>(
    py: Python<'py>,
    code: &str,
    field: String,
    value: String,
    limit: String,
    row: Option<u64>,
) -> PyResult<Bound<'py, PyAny>> {
    instance(py, &Details { kind: kind_of(code)?, field, value, limit, row })
}

fn kind_of(code: &str) -> PyResult<ErrorKind> {
    let kind = ErrorKind::ALL.iter().copied().find(|kind| kind.code() == code);
    kind.ok_or_else(|| raise(Error::invariant("error code")))
}

/// Raises an example of one kind of error.
#[pyfunction]
pub(crate) fn _raise_error(py: Python<'_>, code: &str) -> PyResult<()> {
    let [field, value, limit] = ["field", "value", "limit"].map(str::to_owned);
    let details = Details { kind: kind_of(code)?, field, value, limit, row: Some(7) };
    let example = instance(py, &details)?;
    Err(PyErr::from_value(example))
}

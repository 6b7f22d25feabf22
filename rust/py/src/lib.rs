//! The binding of `aivora` to Python: conversion, and nothing else. One file per Python name.
// Doc comments of what is exported are Python docstrings: another markup, with examples in Python.
#![allow(clippy::doc_markdown, clippy::doc_link_with_quotes)]

mod answers;
mod book;
mod books;
mod convert;
mod decision;
mod engine;
mod errors;
mod instrument;
mod portfolio;
mod prices;
mod pricing;
mod tables;
mod venue;
mod walk;
mod watch;

use pyo3::prelude::*;

/// The native half of `aivora_core`.
#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::answers::{_kinds, Answers};
    #[pymodule_export]
    use crate::book::{_pack_deltas, Book, walk_many};
    #[pymodule_export]
    use crate::books::Books;
    #[pymodule_export]
    use crate::engine::{_event, _journal, _journal_of, _tally, Answer, Engine, Event, OrderCheck};
    #[pymodule_export]
    use crate::errors::{_error, _error_kinds, _raise_error};
    #[pymodule_export]
    use crate::instrument::{_instrument, Instrument};
    #[pymodule_export]
    use crate::portfolio::Portfolio;
    #[pymodule_export]
    use crate::prices::Prices;
    #[pymodule_export]
    use crate::pricing::{
        _funding_rates, _funding_terms, _limits, _permits, _premium, _restart_fresh, _validity,
        _whole, Index, Mark, RestartGate,
    };
    #[pymodule_export]
    use crate::venue::{_formulas, _venue, Venue};
    #[pymodule_export]
    use crate::walk::Walk;
    #[pymodule_export]
    use crate::watch::Watch;

    use super::{Bound, PyAny, PyModule, PyModuleMethods, PyResult, pyfunction};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }

    /// Does nothing with its arguments: what a call into the extension costs.
    #[pyfunction]
    pub(crate) fn _empty(_a: &Bound<'_, PyAny>, _b: &Bound<'_, PyAny>) {}
}

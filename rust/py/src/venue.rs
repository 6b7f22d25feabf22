//! `Venue`: the written definition of a venue's margin rules.

use std::sync::Arc;

use aivora::data::definition::{Statement, Sure};
use aivora::data::{self, Basis, ClosingFee, FORMULAS, InstrumentId};
use aivora::execution::formula;
use aivora::numbers::{Decimal, Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString};
use serde_json::Value;

use crate::convert::{exact_text, to_decimal, to_decimal_or_overflow, to_exact, to_fraction};
use crate::errors::raise;
use crate::instrument::{Instrument, fraction};

/// A venue as its card defines it. Code runs from the card, and no number is computed without one.
///
/// Examples
/// --------
/// >>> import aivora_core as ac
/// >>> venue = ac.Venue.load("demo")
/// >>> len(venue), venue["ETH"].symbol
/// (12, 'ETH')
#[pyclass(frozen, module = "aivora_core._core")]
pub(crate) struct Venue {
    pub(crate) inner: Arc<data::Venue>,
    text: Arc<str>,
}

impl Venue {
    /// The text of its card.
    pub(crate) fn card_text(&self) -> &str {
        &self.text
    }

    /// A venue from its card's text, TOML or JSON.
    pub(crate) fn from_text(text: &str) -> PyResult<Self> {
        let inner = Arc::new(data::Venue::from_text(text).map_err(raise)?);
        Ok(Self { inner, text: text.into() })
    }

    fn instrument(&self, id: InstrumentId) -> Instrument {
        Instrument::new(Arc::clone(&self.inner), id, Arc::clone(&self.text))
    }
}

/// A Python tree as a JSON tree; floats stay floats, so that the reader can refuse them by path.
fn tree(value: &Bound<'_, PyAny>) -> PyResult<Value> {
    if value.is_none() {
        return Ok(Value::Null);
    }
    if value.is_instance_of::<PyBool>() {
        return Ok(Value::Bool(value.extract()?));
    }
    if value.is_instance_of::<PyFloat>() {
        return Ok(Value::from(value.extract::<f64>()?));
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        let pair = |(k, v): (Bound<'_, PyAny>, Bound<'_, PyAny>)| Ok((k.extract()?, tree(&v)?));
        return dict.iter().map(pair).collect::<PyResult<_>>().map(Value::Object);
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<pyo3::types::PyTuple>() {
        let items = value.try_iter()?.map(|item| tree(&item?));
        return items.collect::<PyResult<_>>().map(Value::Array);
    }
    if value.is_instance_of::<PyInt>() {
        return Ok(value
            .extract::<i64>()
            .map_or_else(|_| Value::from(value.to_string()), Value::from));
    }
    Ok(Value::String(value.str()?.to_string()))
}

/// A JSON tree as a Python one.
fn plain<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Null => py.None().into_bound(py),
        Value::Bool(own) => PyBool::new(py, *own).to_owned().into_any(),
        Value::String(text) => PyString::new(py, text).into_any(),
        Value::Number(number) => number.as_i64().into_pyobject(py)?,
        Value::Array(items) => {
            let list = PyList::empty(py);
            items.iter().try_for_each(|item| list.append(plain(py, item)?))?;
            list.into_any()
        }
        Value::Object(table) => {
            let dict = PyDict::new(py);
            table.iter().try_for_each(|(key, item)| dict.set_item(key, plain(py, item)?))?;
            dict.into_any()
        }
    })
}

/// Words and where they were read, into a dict; None for what is not there.
fn statement(row: &Bound<'_, PyDict>, of: &Statement) -> PyResult<()> {
    row.set_item("parameters", plain(row.py(), &of.parameters)?)?;
    let texts = [
        ("says", of.says.as_str()),
        ("formula", of.formula.as_str()),
        ("source", of.source.as_str()),
        ("date", of.date.as_str()),
        ("sure", of.sure.map_or("", Sure::name)),
    ];
    for (key, text) in texts {
        row.set_item(key, (!text.is_empty()).then_some(text))?;
    }
    Ok(())
}

#[pymethods]
impl Venue {
    /// A built-in card by name, or a card file by path.
    ///
    /// Parameters
    /// ----------
    /// name : str or path
    ///     ``"demo"``, ``"hyperliquid"``, or the path of a TOML card.
    ///
    /// Raises
    /// ------
    /// UnknownNameError
    ///     ``unknown_venue`` when there is neither.
    /// CardError
    ///     The card is wrong; the field names the place in it.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> ac.Venue.load("hyperliquid")
    /// Venue.load('hyperliquid')
    #[staticmethod]
    fn load(name: &Bound<'_, PyAny>) -> PyResult<Self> {
        let name = name.str()?.to_string();
        if let Some((_, text)) = data::Venue::BUILTIN.iter().find(|(n, _)| *n == name) {
            return Self::from_toml(text);
        }
        if !std::path::Path::new(&name).is_file() {
            return Err(raise(
                data::Venue::builtin(&name).map_or_else(|e| e, |_| Error::invariant("name")),
            ));
        }
        let text = std::fs::read_to_string(&name).map_err(|e| {
            raise(Error::new(ErrorKind::BadCard, name.clone(), e, "must be readable UTF-8 text"))
        })?;
        Self::from_toml(&text).inspect_err(|e| {
            Python::attach(|py| {
                let value = e.value(py);
                let _ = value.setattr("file", &name);
                let _ = value.call_method1("add_note", (format!("in the card {name}"),));
            });
        })
    }

    /// A card as TOML text.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> ac.Venue.from_toml("schema = 1")
    /// Traceback (most recent call last):
    /// ...
    /// aivora_core.errors.CardError: [bad_card] schema: got 1; must be text
    #[staticmethod]
    fn from_toml(text: &str) -> PyResult<Self> {
        let inner = Arc::new(data::Venue::from_toml(text).map_err(raise)?);
        Ok(Self { inner, text: text.into() })
    }

    /// A card as a tree of dicts and lists, such as ``tomllib`` and ``json`` give.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac, tomllib
    /// >>> ac.Venue.from_tree(tomllib.loads(ac.Venue.load("demo").text)) == ac.Venue.load("demo")
    /// True
    #[staticmethod]
    fn from_tree(tree_: &Bound<'_, PyDict>) -> PyResult<Self> {
        let value = tree(tree_.as_any())?;
        let inner = Arc::new(data::Venue::from_tree(&value).map_err(raise)?);
        Ok(Self { inner, text: value.to_string().into() })
    }

    /// The names of the built-in cards.
    #[staticmethod]
    fn builtin_names() -> Vec<&'static str> {
        data::Venue::BUILTIN.iter().map(|(name, _)| *name).collect()
    }

    /// The short name.
    #[getter]
    fn name(&self) -> &str {
        self.inner.name()
    }

    /// The name for people.
    #[getter]
    fn title(&self) -> &str {
        self.inner.title()
    }

    /// The version of the card.
    #[getter]
    fn version(&self) -> &str {
        self.inner.version()
    }

    /// Where the card's figures come from.
    #[getter]
    fn sources(&self) -> Vec<String> {
        self.inner.sources().to_vec()
    }

    /// The card's text: TOML, or JSON when it was given as a tree.
    #[getter]
    fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of all the card says, in hex; layout and comments do not enter it.
    #[getter]
    fn hash(&self) -> String {
        self.inner.digest().to_string()
    }

    /// The settlement asset.
    #[getter]
    fn settlement(&self) -> &str {
        &self.inner.rules().settlement
    }

    /// The quantum of the settlement asset, as a ``Decimal``.
    #[getter]
    fn quantum<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        crate::convert::to_decimal(py, self.inner.rules().quantum)
    }

    /// All assets by name, each a dict: ``quantum`` and, beside the valuation asset, ``price_tick``, ``haircuts`` (a list
    /// of ``floor`` and ``haircut``) and ``liability_weight``.
    #[getter]
    fn assets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let assets = PyDict::new(py);
        for asset in self.inner.assets() {
            let row = PyDict::new(py);
            row.set_item("quantum", to_decimal(py, asset.quantum())?)?;
            if let Some(worth) = asset.worth() {
                row.set_item("price_tick", to_decimal(py, worth.price_tick)?)?;
                let haircuts = PyList::empty(py);
                for slice in &worth.slices {
                    let floor = Decimal::of(slice.floor, asset.quantum());
                    let cell = PyDict::new(py);
                    cell.set_item("floor", to_decimal_or_overflow(py, floor, "floor")?)?;
                    cell.set_item("haircut", fraction(py, slice.haircut)?)?;
                    haircuts.append(cell)?;
                }
                row.set_item("haircuts", haircuts)?;
                row.set_item("liability_weight", fraction(py, worth.liability)?)?;
            }
            assets.set_item(asset.name(), row)?;
        }
        Ok(assets)
    }

    /// All instruments, in the card's order.
    #[getter]
    fn instruments(&self) -> PyResult<Vec<Instrument>> {
        let ids = self.inner.instruments().iter().map(|i| self.inner.find(i.symbol()));
        ids.map(|id| id.map(|id| self.instrument(id)).map_err(raise)).collect()
    }

    /// The rules in force, by the card's own words.
    #[getter]
    fn rules<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let rules = self.inner.rules();
        let basis = |b: Basis| if b == Basis::Mark { "mark" } else { "entry" };
        let dict = PyDict::new(py);
        dict.set_item("settlement", &rules.settlement)?;
        let valuation =
            rules.valuation.map(|id| self.inner.asset(id)).transpose().map_err(raise)?;
        dict.set_item("valuation", valuation.map(aivora::data::Asset::name))?;
        dict.set_item("margin_mode", if rules.multi { "multi" } else { "single" })?;
        dict.set_item("withdrawal_profit", fraction(py, rules.withdrawal_profit)?)?;
        dict.set_item("check_on", rules.check_on.to_string())?;
        dict.set_item("trigger", if rules.strict { "strict" } else { "non_strict" })?;
        dict.set_item("maintenance_basis", basis(rules.maintenance_basis))?;
        dict.set_item("initial_basis", basis(rules.initial_basis))?;
        let from = if rules.half_initial { "half_initial" } else { "explicit" };
        dict.set_item("maintenance_from", from)?;
        let closing = match rules.closing_fee {
            ClosingFee::None => "none",
            ClosingFee::Mark => "mark",
            ClosingFee::Bankruptcy => "bankruptcy",
        };
        dict.set_item("closing_fee", closing)?;
        dict.set_item("bankruptcy_fee", if rules.bankruptcy_fee { "taker" } else { "none" })?;
        dict.set_item("equity_allotment", "maintenance_share")?;
        let fee =
            rules.taker_fee.map(|f| to_fraction(py, i128::from(f.num()), i128::from(f.den())));
        dict.set_item("taker_fee", fee.transpose()?)?;
        for (key, value) in self.inner.words() {
            dict.set_item(key, plain(py, value)?)?;
        }
        Ok(dict)
    }

    /// What the card says in words: for each figure that a venue has to define a dict of ``floor``, ``asks``, ``state``
    /// (``defined``, ``contradictory`` or ``unsaid``), ``says``, ``formula``, ``parameters``, ``source``, ``date``, ``sure``, ``unsaid`` (what was
    /// looked for) and ``readings``, other answers, each with the ``rules`` that it changes. Empty for a card of version 0.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> mark = ac.Venue.load("reference").definitions["mark"]
    /// >>> mark["state"], mark["sure"]
    /// ('defined', 'own')
    #[getter]
    fn definitions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let all = PyDict::new(py);
        for of in self.inner.definitions() {
            let row = PyDict::new(py);
            row.set_item("floor", of.figure.floor)?;
            row.set_item("asks", of.figure.asks)?;
            row.set_item("state", of.state().name())?;
            let nothing = Statement::default();
            statement(&row, of.statement.as_ref().unwrap_or(&nothing))?;
            row.set_item("unsaid", (!of.unsaid.is_empty()).then_some(&of.unsaid))?;
            let readings = PyList::empty(py);
            for reading in &of.readings {
                let cell = PyDict::new(py);
                statement(&cell, reading)?;
                cell.set_item("rules", plain(py, &reading.rules)?)?;
                readings.append(cell)?;
            }
            row.set_item("readings", readings)?;
            all.set_item(of.figure.name, row)?;
        }
        Ok(all)
    }

    /// The same venue with some of its rules changed, and without readings of its definitions.
    ///
    /// Parameters
    /// ----------
    /// rules : dict
    ///     Keys of ``[rules]`` and what they become.
    ///
    /// Raises
    /// ------
    /// CardError
    ///     Where that is no venue.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> ac.Venue.load("hyperliquid").read_so({"trigger": "non_strict"}).rules["trigger"]
    /// 'non_strict'
    fn read_so(&self, rules: &Bound<'_, PyDict>) -> PyResult<Self> {
        let card = data::tree::from_text(&self.text).map_err(raise)?;
        let card = data::card::read_so(&card, &tree(rules.as_any())?, "venue").map_err(raise)?;
        let inner = Arc::new(data::Venue::from_tree(&card).map_err(raise)?);
        Ok(Self { inner, text: card.to_string().into() })
    }

    /// What a formula of the card's rules answers to inputs: exact.
    ///
    /// Parameters
    /// ----------
    /// name : str
    ///     Of ``docs/spec/formulas.md``; `aivora_core.formulas` lists them.
    /// **inputs : int, str, Decimal or Fraction
    ///     Prices in quote per coin, quantities in units, amounts in the settlement asset, rates as parts of one.
    ///
    /// Returns
    /// -------
    /// Fraction
    ///     Not rounded, unless the formula or the card says so.
    ///
    /// Raises
    /// ------
    /// AivoraError
    ///     ``unknown_formula``; ``bad_input`` for an input that is unknown or missing; ``unsaid`` for a parameter that the card does
    ///     not give; ``float_given``, ``not_a_number``, ``out_of_range``.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> dydx = ac.Venue.load("dydx-v4")
    /// >>> dydx.formula("limit_price", equity=499, maintenance=500, value=5000, leg_maintenance=500, quantity="0.1")
    /// Fraction(49999, 1)
    #[pyo3(signature = (name, **inputs))]
    fn formula<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        inputs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut given = Vec::new();
        for (key, value) in inputs.into_iter().flat_map(PyDictMethods::iter) {
            let key: String = key.extract()?;
            let text = exact_text(&value, &key).map_err(raise)?;
            given.push((key, text));
        }
        let pairs = given.iter().map(|(key, text)| (key.as_str(), text.as_str()));
        to_exact(py, &formula(&self.inner, name, pairs).map_err(raise)?)
    }

    /// How the card liquidates, as the text of a policy; None where it does not say.
    #[getter]
    fn policy(&self) -> Option<String> {
        self.inner.policy_text()
    }

    fn __getitem__(&self, symbol: &Bound<'_, PyAny>) -> PyResult<Instrument> {
        let symbol = symbol.cast::<PyString>()?.to_str()?;
        Ok(self.instrument(self.inner.find(symbol).map_err(raise)?))
    }

    fn __contains__(&self, symbol: &str) -> bool {
        self.inner.find(symbol).is_ok()
    }

    fn __len__(&self) -> usize {
        self.inner.instruments().len()
    }

    fn __repr__(&self) -> String {
        let name = self.inner.name();
        let builtin =
            data::Venue::BUILTIN.iter().any(|(n, text)| *n == name && **text == *self.text);
        if builtin {
            return format!("Venue.load('{name}')");
        }
        format!("<Venue {name}, {} instruments, {}>", self.__len__(), &self.hash()[..12])
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.inner.digest() == other.inner.digest()
    }

    fn __hash__(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.inner.digest().bytes()[..8]);
        u64::from_be_bytes(bytes)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        let make = slf.py().import("aivora_core._core")?.getattr("_venue")?;
        Ok((make, (slf.get().text.to_string(),)))
    }
}

/// A formula: name, floor, what it answers, the inputs that it needs, those that it may have, and parameters of the card.
type FormulaRow = (
    &'static str,
    &'static str,
    &'static str,
    Vec<&'static str>,
    Vec<&'static str>,
    Vec<&'static str>,
);

/// Every formula that a card may have parameters for.
#[pyfunction]
pub(crate) fn _formulas() -> Vec<FormulaRow> {
    let row = |own: &data::Formula| {
        (
            own.name,
            own.floor,
            own.says,
            own.needs.to_vec(),
            own.may.to_vec(),
            own.parameters.to_vec(),
        )
    };
    FORMULAS.iter().map(row).collect()
}

/// A venue from its card's text, TOML or JSON: how one is unpickled.
#[pyfunction]
pub(crate) fn _venue(text: &str) -> PyResult<Venue> {
    Venue::from_text(text)
}

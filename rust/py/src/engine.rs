//! `Engine`, `Event` and `Answer`, the native half: one lock around one state machine. Python's `engine.py` gives them their
//! manners.

// Arguments are extracted from Python by value.
#![allow(clippy::needless_pass_by_value)]

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aivora::data;
use aivora::engine::journal::{FileDisk, Fsync, Options, hex};
use aivora::engine::text::Fields;
use aivora::engine::wire::{Value, Wire};
use aivora::engine::{self, Order, Outcome};
use aivora::margin::{Holdings, PoolId};
use aivora::numbers::{Error, ErrorKind, Result};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyInt, PyList, PyString, PyTuple};

use crate::answers::Answers;
use crate::convert::{is_float, shown};
use crate::decision::decision;
use crate::errors::{raise, to_exception};
use crate::venue::Venue;

/// A value of Python as the core reads fields.
fn to_value(name: &str, value: &Bound<'_, PyAny>) -> Result<Value> {
    if value.is_none() {
        return Ok(Value::None);
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(Value::Bool(flag.is_true()));
    }
    if value.is_instance_of::<PyInt>() {
        return crate::convert::integer(value, name).map(Value::Int);
    }
    if let Ok(text) = value.cast::<PyString>() {
        return crate::convert::text(text, name).map(|text| Value::Text(text.to_owned()));
    }
    if is_float(value) {
        let limit = "a float is not exact; give an int, a str or a Decimal";
        return Err(Error::new(ErrorKind::FloatGiven, name, shown(value), limit));
    }
    let items = value.cast::<PyList>().ok().map(|list| list.iter().collect::<Vec<_>>());
    let items = items.or_else(|| Some(value.cast::<PyTuple>().ok()?.iter().collect()));
    match items {
        Some(items) => {
            let items = items.iter().map(|item| to_value(name, item));
            items.collect::<Result<_>>().map(Value::List)
        }
        // A Decimal or a Fraction.
        None => value.str().map_or_else(
            |_| {
                Err(Error::new(
                    ErrorKind::BadColumn,
                    name,
                    shown(value),
                    "must be text or a number",
                ))
            },
            |text| Ok(Value::Text(text.to_string())),
        ),
    }
}

fn from_value<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::None => py.None().into_bound(py),
        Value::Bool(value) => PyBool::new(py, *value).to_owned().into_any(),
        Value::Int(value) => value.into_pyobject(py)?.into_any(),
        Value::Text(value) => PyString::new(py, value).into_any(),
        Value::List(values) => {
            let items: Vec<_> =
                values.iter().map(|value| from_value(py, value)).collect::<PyResult<_>>()?;
            PyList::new(py, items)?.into_any()
        }
    })
}

fn to_dict<'py>(py: Python<'py>, fields: &Fields) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in fields {
        dict.set_item(name, from_value(py, value)?)?;
    }
    Ok(dict)
}

/// One thing that happened, made by a source of an engine (``Engine.source``).
///
/// It holds whole numbers, checked when it was made: applying it converts nothing.
///
/// Examples
/// --------
/// >>> import aivora_core as ac
/// >>> gateway = ac.Engine("demo").source(1)
/// >>> gateway.mark("BTC", "64000", time=0)
/// Event(mark, source 1, sequence 1, time 0)
#[pyclass(frozen, module = "aivora_core._core", eq)]
#[derive(PartialEq)]
pub(crate) struct Event {
    inner: engine::Event,
}

impl Event {
    /// The order that it opens.
    fn order(&self) -> PyResult<Order> {
        Order::opened_by(&self.inner.what).ok_or_else(|| {
            let name = self.inner.what.name();
            let limit = "must be an order_open event";
            raise(Error::new(ErrorKind::BadColumn, "event", name, limit))
        })
    }
}

#[pymethods]
impl Event {
    /// What happened: ``deposit``, ``order_open``, ...
    #[getter]
    fn name(&self) -> &'static str {
        self.inner.what.name()
    }

    /// Who says so.
    #[getter]
    fn source(&self) -> u16 {
        self.inner.source
    }

    /// Its number there.
    #[getter]
    fn sequence(&self) -> u64 {
        self.inner.sequence
    }

    /// When, in milliseconds.
    #[getter]
    fn time(&self) -> i64 {
        self.inner.time
    }

    /// Its fields as whole numbers (ticks, lots, quanta, places).
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fields = self.inner.what.fields();
        let named = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        to_dict(py, &named)
    }

    /// Its bytes, as the journal holds them.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let mut bytes = Vec::new();
        self.inner.put(&mut bytes);
        PyBytes::new(py, &bytes)
    }

    fn __repr__(&self) -> String {
        let engine::Event { source, sequence, time, what } = &self.inner;
        format!("Event({}, source {source}, sequence {sequence}, time {time})", what.name())
    }

    fn __hash__(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut bytes = Vec::new();
        self.inner.put(&mut bytes);
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        hasher.finish()
    }

    fn __reduce__<'py>(
        slf: &Bound<'py, Self>,
    ) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        let make = slf.py().import("aivora_core._core")?.getattr("_event")?;
        Ok((make, (slf.get().to_bytes(slf.py()),)))
    }
}

/// An event from its bytes: how one is unpickled.
#[pyfunction]
pub(crate) fn _event(data: &[u8]) -> PyResult<Event> {
    engine::Event::from_bytes(data).map(|inner| Event { inner }).map_err(raise)
}

pub(crate) type Shared = Arc<Mutex<engine::Engine>>;

pub(crate) fn lock(shared: &Shared) -> MutexGuard<'_, engine::Engine> {
    // What panicked has poisoned the engine itself, which says so.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What followed from an event: true where it was taken.
///
/// Examples
/// --------
/// >>> import aivora_core as ac
/// >>> eng = ac.Engine("demo")
/// >>> answer = eng.apply(eng.source(1).pool_open("alice", time=0))
/// >>> answer
/// Answer(position 0, taken, 1 outcome)
/// >>> answer.outcomes
/// [{'outcome': 'pool_opened', 'pool': 'alice/cross'}]
#[pyclass(frozen, module = "aivora_core._core")]
pub(crate) struct Answer {
    shared: Shared,
    position: u64,
    refused: Option<Error>,
    outcomes: Vec<Outcome>,
}

impl Answer {
    pub(crate) fn new(
        shared: Shared,
        position: u64,
        refused: Option<Error>,
        outcomes: Vec<Outcome>,
    ) -> Self {
        Self { shared, position, refused, outcomes }
    }
}

#[pymethods]
impl Answer {
    /// How many events were told before it.
    #[getter]
    fn position(&self) -> u64 {
        self.position
    }

    /// Why it was refused, as the error that says so; None where it was taken.
    #[getter]
    fn refused(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let error = self.refused.as_ref().map(|error| to_exception(py, error));
        error.transpose().map(|found| found.map(Bound::unbind))
    }

    /// What followed, in order: the name of each as ``outcome``, and its fields with names and units.
    #[getter]
    fn outcomes<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let engine = lock(&self.shared);
        let found = self.outcomes.iter().map(|outcome| {
            let dict = PyDict::new(py);
            dict.set_item("outcome", outcome.name())?;
            dict.update(to_dict(py, &engine.state().write_outcome(outcome))?.as_mapping())?;
            Ok(dict)
        });
        found.collect()
    }

    /// The names of what followed.
    #[getter]
    fn names(&self) -> Vec<&'static str> {
        self.outcomes.iter().map(Outcome::name).collect()
    }

    fn __bool__(&self) -> bool {
        self.refused.is_none()
    }

    fn __len__(&self) -> usize {
        self.outcomes.len()
    }

    fn __repr__(&self) -> String {
        let taken = match &self.refused {
            None => "taken".to_owned(),
            Some(error) => format!("refused: {}", error.kind().code()),
        };
        let count = self.outcomes.len();
        let plural = if count == 1 { "" } else { "s" };
        format!("Answer(position {}, {taken}, {count} outcome{plural})", self.position)
    }
}

/// What an order would do to its pool; true where it passes. Amounts are in quanta.
///
/// Examples
/// --------
/// >>> import aivora_core as ac
/// >>> eng = ac.Engine("demo")
/// >>> gateway = eng.source(1)
/// >>> for event in (gateway.mark("BTC", 64000, time=0), gateway.pool_open("alice", time=0)):
/// ...     assert eng.apply(event)
/// >>> eng.check_order(gateway.order_open(1, "alice", "BTC", "buy", 1, limit=64000, time=1))
/// OrderCheck(does not pass: free -32000000, initial 640000000)
#[pyclass(frozen, eq, module = "aivora_core._core")]
#[derive(PartialEq)]
pub(crate) struct OrderCheck {
    inner: engine::OrderCheck,
}

#[pymethods]
impl OrderCheck {
    /// Whether it may be opened.
    #[getter]
    fn passes(&self) -> bool {
        self.inner.passes()
    }

    /// It only takes risk away: nothing is required for it.
    #[getter]
    fn reduces(&self) -> bool {
        self.inner.reduces
    }

    /// The pool's equity.
    #[getter]
    fn equity(&self) -> i128 {
        self.inner.margin.equity
    }

    /// The pool's initial requirement with the order open beside those that are.
    #[getter]
    fn initial(&self) -> i128 {
        self.inner.margin.initial
    }

    /// The pool's maintenance requirement.
    #[getter]
    fn maintenance(&self) -> i128 {
        self.inner.margin.maintenance
    }

    /// What is kept back for the orders that are open.
    #[getter]
    fn reserved(&self) -> i128 {
        self.inner.reserved
    }

    /// What is kept back for this one: what its worst fill loses against the mark, and its fee.
    #[getter]
    fn reserve(&self) -> i128 {
        self.inner.reserve
    }

    /// Equity less both: must cover ``initial``.
    #[getter]
    fn free(&self) -> i128 {
        self.inner.free()
    }

    fn __bool__(&self) -> bool {
        self.inner.passes()
    }

    fn __repr__(&self) -> String {
        let verdict = if self.inner.passes() { "passes" } else { "does not pass" };
        let initial = self.inner.margin.initial;
        format!("OrderCheck({verdict}: free {}, initial {initial})", self.inner.free())
    }
}

/// A state machine with its journal; Python's ``Engine`` wraps it.
#[pyclass(frozen, module = "aivora_core._core")]
pub(crate) struct Engine {
    shared: Shared,
    /// It may wait for a disk.
    waits: bool,
}

fn options(fsync: &str, segment_bytes: u64) -> Result<Options> {
    Ok(Options { fsync: Fsync::parse(fsync)?, segment_bytes })
}

fn disk_error(path: &std::path::Path, error: &std::io::Error) -> Error {
    let limit = "must be a directory that only this process writes to";
    Error::new(ErrorKind::JournalIo, path.display().to_string(), error, limit)
}

impl Engine {
    fn lock(&self) -> MutexGuard<'_, engine::Engine> {
        lock(&self.shared)
    }

    fn pool(engine: &engine::Engine, place: usize) -> PyResult<PoolId> {
        let pool = PoolId::at(place);
        engine.state().ledger().pool(pool).map(|_| pool).map_err(raise)
    }
}

#[pymethods]
impl Engine {
    /// A new engine, with a new journal where a directory is given.
    #[new]
    fn new(
        py: Python<'_>,
        venue: &Venue,
        policy: &str,
        journal: Option<PathBuf>,
        fsync: &str,
        segment_bytes: u64,
    ) -> PyResult<Self> {
        let card = venue.card_text().to_owned();
        let options = options(fsync, segment_bytes).map_err(raise)?;
        let waits = journal.is_some();
        let made = py.detach(|| match journal {
            None => engine::Engine::new(&card, policy),
            Some(path) => {
                let disk = FileDisk::writer(&path).map_err(|error| disk_error(&path, &error))?;
                engine::Engine::create(Box::new(disk), &card, policy, options)
            }
        });
        Ok(Self { shared: Arc::new(Mutex::new(made.map_err(raise)?)), waits })
    }

    /// Goes on where a journal ends; what recovery found.
    #[staticmethod]
    #[allow(clippy::type_complexity)] // unpacked at once by the one caller
    fn open(
        py: Python<'_>,
        path: PathBuf,
        fsync: &str,
        segment_bytes: u64,
    ) -> PyResult<(Self, u64, Option<u64>, Option<String>, Vec<String>)> {
        let options = options(fsync, segment_bytes).map_err(raise)?;
        let opened = py.detach(|| {
            let disk = FileDisk::writer(&path).map_err(|error| disk_error(&path, &error))?;
            engine::Engine::open(Box::new(disk), options)
        });
        let (engine, found) = opened.map_err(raise)?;
        let own = Self { shared: Arc::new(Mutex::new(engine)), waits: true };
        let torn = found.torn.map(|torn| torn.to_string());
        Ok((own, found.events, found.snapshot, torn, found.left_out))
    }

    /// An event of this venue, from its name and fields.
    fn event(
        &self,
        name: &str,
        source: u16,
        sequence: u64,
        time: i64,
        fields: &Bound<'_, PyDict>,
    ) -> PyResult<Event> {
        let mut given = Vec::with_capacity(fields.len());
        for (name, value) in fields.iter() {
            let name: String = name.extract()?;
            let value = to_value(&name, &value).map_err(raise)?;
            given.push((name, value));
        }
        let what = self.lock().state().read_event(name, &given).map_err(raise)?;
        Ok(Event { inner: engine::Event { source, sequence, time, what } })
    }

    /// Takes an event.
    fn apply(&self, py: Python<'_>, event: &Event) -> PyResult<Answer> {
        let job = || {
            let mut engine = self.lock();
            let answer = engine.apply(&event.inner)?;
            let outcomes = answer.outcomes.to_vec();
            Ok((answer.position, answer.refused, outcomes))
        };
        // Without a disk to wait for, it is done sooner than others could begin.
        let found = if self.waits { py.detach(job) } else { job() };
        let (position, refused, outcomes) = found.map_err(raise)?;
        Ok(Answer::new(Arc::clone(&self.shared), position, refused, outcomes))
    }

    /// Takes events one after the other.
    fn apply_all(&self, py: Python<'_>, events: Vec<Bound<'_, Event>>) -> PyResult<Answers> {
        let inner: Vec<&engine::Event> = events.iter().map(|event| &event.get().inner).collect();
        let mut answers = Answers::of(&self.shared);
        let job = || {
            self.lock().apply_all(&inner, |row, answer| {
                answers.push(row, answer);
                Ok(())
            })
        };
        py.detach(job).map(|()| answers).map_err(raise)
    }

    /// The same of events in columns.
    fn apply_columns(
        &self,
        py: Python<'_>,
        tags: PyReadonlyArray1<'_, u8>,
        columns: Vec<(String, PyReadonlyArray1<'_, i64>)>,
    ) -> PyResult<Answers> {
        crate::answers::apply_columns(py, &self.shared, &tags, &columns)
    }

    /// What orders in columns would do, each alone.
    fn check_orders<'py>(
        &self,
        py: Python<'py>,
        tags: PyReadonlyArray1<'_, u8>,
        columns: Vec<(String, PyReadonlyArray1<'_, i64>)>,
    ) -> PyResult<Bound<'py, PyDict>> {
        crate::answers::check_orders(py, &self.shared, &tags, &columns)
    }

    /// What an order would do: an event that opens one.
    fn check_order(&self, event: &Event) -> PyResult<OrderCheck> {
        let inner = self.lock().check_order(&event.order()?).map_err(raise)?;
        Ok(OrderCheck { inner })
    }

    /// Whether an event may be done, with every rule, the pools line by line, and what would turn it.
    fn decide<'py>(&self, py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyDict>> {
        let engine = self.lock();
        let found = engine.decide(&event.inner.what).map_err(raise)?;
        let fields = engine.state().write_event(&event.inner);
        let asked = to_dict(py, &fields)?;
        decision(py, engine.state(), (event.inner.what.name(), asked), &found)
    }

    /// The same of the liquidation of a pool.
    fn decide_liquidation<'py>(
        &self,
        py: Python<'py>,
        place: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let engine = self.lock();
        let pool = Self::pool(&engine, place)?;
        let found = engine.decide_liquidation(pool).map_err(raise)?;
        let asked = PyDict::new(py);
        asked.set_item("pool", engine.state().ledger().label(pool))?;
        decision(py, engine.state(), ("liquidation", asked), &found)
    }

    /// The same state under another liquidation policy, without a journal.
    fn fork(&self, py: Python<'_>, policy: &str) -> PyResult<Self> {
        let other = py.detach(|| self.lock().fork(policy)).map_err(raise)?;
        Ok(Self { shared: Arc::new(Mutex::new(other)), waits: false })
    }

    /// What the engine's own book answers to a forced order, as events of a source after a number.
    fn answers(
        &self,
        order: u64,
        counterparty: usize,
        source: u16,
        after: u64,
        time: i64,
    ) -> PyResult<Vec<Event>> {
        let engine = self.lock();
        let pool = Self::pool(&engine, counterparty)?;
        let found = engine.state().answers(order, pool).map_err(raise)?;
        let event =
            |(sequence, what)| Event { inner: engine::Event { source, sequence, time, what } };
        Ok((after + 1..).zip(found).map(event).collect())
    }

    /// The book of an instrument.
    fn book(&self, py: Python<'_>, symbol: &str) -> PyResult<Py<PyDict>> {
        let engine = self.lock();
        let venue = engine.state().venue();
        let id = venue.find(symbol).map_err(raise)?;
        let book = engine.state().book(id).map_err(raise)?;
        let dict = PyDict::new(py);
        for (name, side) in [("bids", book.bids()), ("asks", book.asks())] {
            let levels = side.levels().map(|level| (level.price.get(), level.quantity.get()));
            dict.set_item(name, levels.collect::<Vec<_>>())?;
        }
        Ok(dict.unbind())
    }

    /// The card in force.
    fn venue(&self) -> PyResult<Venue> {
        let card = self.lock().state().card().to_owned();
        Venue::from_text(&card)
    }

    /// How many pools are open.
    fn pool_count(&self) -> usize {
        self.lock().state().ledger().len()
    }

    /// The place of a pool; None where none is open.
    fn find(&self, account: &str, pool: &str) -> Option<usize> {
        self.lock().state().ledger().find(account, pool).map(PoolId::index)
    }

    /// One pool: what it holds, in whole numbers.
    fn pool_state<'py>(&self, py: Python<'py>, place: usize) -> PyResult<Bound<'py, PyDict>> {
        let engine = self.lock();
        let id = Self::pool(&engine, place)?;
        let state = engine.state();
        let (ledger, venue) = (state.ledger(), state.venue());
        let own = ledger.pool(id).map_err(raise)?;
        let (account, name) = ledger.key(id).map_err(raise)?;
        let dict = PyDict::new(py);
        dict.set_item("account", account)?;
        dict.set_item("pool", name)?;
        dict.set_item("kind", own.head().kind.name())?;
        dict.set_item("multi", own.head().multi)?;
        let asset = |id| venue.asset(id).map(data::Asset::name).map_err(raise);
        dict.set_item("asset", asset(own.head().asset)?)?;
        let balances = PyDict::new(py);
        for balance in own.balances() {
            balances.set_item(asset(balance.asset)?, balance.amount)?;
        }
        dict.set_item("balances", balances)?;
        let legs = PyList::empty(py);
        for leg in own.legs() {
            let row = PyDict::new(py);
            row.set_item("instrument", venue.instrument(leg.instrument).map_err(raise)?.symbol())?;
            row.set_item("leg", leg.side.name())?;
            row.set_item("lots", leg.lots)?;
            row.set_item("cost", leg.cost)?;
            row.set_item("bids", leg.bids)?;
            row.set_item("asks", leg.asks)?;
            legs.append(row)?;
        }
        dict.set_item("legs", legs)?;
        dict.set_item("reserved", state.reserved(id))?;
        dict.set_item("locked", state.is_locked(id))?;
        let orders: Vec<u64> = state.orders_of(id).iter().map(|order| order.id).collect();
        dict.set_item("orders", orders)?;
        let margin = ledger.assess(id, state.prices()).ok();
        if let Some(margin) = margin {
            dict.set_item("equity", margin.equity)?;
            dict.set_item("initial", margin.initial)?;
            dict.set_item("maintenance", margin.maintenance)?;
            dict.set_item("status", margin.status.name())?;
        }
        Ok(dict)
    }

    /// What the venue has in each asset, in quanta.
    fn funds<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let engine = self.lock();
        let venue = engine.state().venue();
        let all = PyDict::new(py);
        for (place, asset) in venue.assets().iter().enumerate() {
            let id = venue.nth_asset(place).map_err(raise)?;
            let own = engine.state().funds(id).map_err(raise)?;
            let dict = PyDict::new(py);
            dict.set_item("deposits", own.deposits)?;
            dict.set_item("insurance", own.insurance)?;
            dict.set_item("fees", own.fees)?;
            dict.set_item("dust", own.dust)?;
            dict.set_item("uncovered", own.uncovered)?;
            all.set_item(asset.name(), dict)?;
        }
        Ok(all)
    }

    /// The verdict on each pool at the last check.
    fn liquidatable<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<bool>> {
        self.lock().state().liquidatable().to_vec().into_pyarray(py)
    }

    /// The forced orders that are out.
    fn forced_orders<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let engine = self.lock();
        let state = engine.state();
        let found = state.forced_orders().map(|(order, left)| {
            let dict = to_dict(py, &state.write_outcome(&Outcome::Forced(*order)))?;
            dict.set_item("left_lots", left)?;
            Ok(dict)
        });
        found.collect()
    }

    /// The pools, packed: for scans and explanations.
    fn packed(&self, venue: &Venue) -> PyResult<crate::portfolio::Portfolio> {
        let packed = self.lock().state().ledger().packed().map_err(raise)?;
        Ok(crate::portfolio::Portfolio::of(venue, packed))
    }

    /// The prices in force.
    fn prices(&self) -> crate::prices::Prices {
        crate::prices::Prices::of(self.lock().state().prices().clone())
    }

    /// Time, events told, head of the journal's chain, why it is read-only.
    #[allow(clippy::type_complexity)] // unpacked at once by the one caller
    fn status(&self) -> (Option<i64>, u64, u64, Option<String>, Option<String>) {
        let engine = self.lock();
        let journal = engine.journal();
        let head = journal.map(|journal| hex(&journal.head()));
        let stopped = journal.and_then(|journal| journal.stopped().map(str::to_owned));
        let lasting = journal.map_or(0, engine::journal::Journal::lasting);
        (engine.state().time(), engine.told(), lasting, head, stopped)
    }

    /// The hash of the state.
    fn hash(&self, py: Python<'_>) -> PyResult<String> {
        let hash = py.detach(|| self.lock().hash()).map_err(raise)?;
        Ok(hash.to_string())
    }

    /// Makes everything last that was told.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.lock().flush()).map_err(raise)
    }

    /// Writes the hash of the state into the journal.
    fn mark(&self, py: Python<'_>) -> PyResult<String> {
        let hash = py.detach(|| self.lock().mark()).map_err(raise)?;
        Ok(hash.to_string())
    }

    /// Writes a snapshot beside the journal.
    fn snapshot(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.lock().snapshot()).map_err(raise)
    }

    /// Lets the journal go; the state stays.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.lock().close()).map_err(raise)
    }

    #[allow(clippy::unused_self)] // a method of Python
    fn __reduce__(&self) -> PyResult<()> {
        let why = "an engine is a handle: pickle its events, or open its journal";
        Err(pyo3::exceptions::PyTypeError::new_err(why))
    }
}

/// Sums over answers of one engine, in the card's settlement asset, in quanta.
#[pyfunction]
pub(crate) fn _tally<'py>(
    py: Python<'py>,
    engine: &Bound<'py, Engine>,
    answers: Vec<Bound<'py, Answer>>,
) -> PyResult<Bound<'py, PyDict>> {
    let engine = engine.get().lock();
    let state = engine.state();
    let mut tally = engine::Tally::new(state.venue().rules().settlement_id);
    for answer in &answers {
        tally.add(state, &answer.get().outcomes).map_err(raise)?;
    }
    let dict = PyDict::new(py);
    dict.set_item("started", tally.started)?;
    dict.set_item("finished", tally.finished)?;
    dict.set_item("orders", tally.orders)?;
    dict.set_item("closed", tally.closed)?;
    dict.set_item("left", tally.left)?;
    dict.set_item("fees", tally.fees)?;
    dict.set_item("insurance", tally.insurance)?;
    dict.set_item("deleveraged", tally.deleveraged)?;
    dict.set_item("taken_over", tally.taken_over)?;
    dict.set_item("socialised", tally.socialised)?;
    Ok(dict)
}

/// The card and the policy that a journal is of, as they are written.
#[pyfunction]
pub(crate) fn _journal_of(path: PathBuf) -> PyResult<(String, String)> {
    let disk = FileDisk::reader(&path).map_err(|error| raise(disk_error(&path, &error)))?;
    let (card, policy) = engine::texts(&disk).map_err(raise)?;
    Ok((card.to_string(), policy.to_string()))
}

/// Reads a journal from its start, replays and verifies it; `each`, if given, is called with a dict for each event.
#[pyfunction]
pub(crate) fn _journal<'py>(
    py: Python<'py>,
    path: PathBuf,
    anchor: Option<&str>,
    each: Option<Bound<'py, PyAny>>,
) -> PyResult<(Engine, Bound<'py, PyDict>)> {
    let anchor = anchor.map(digest).transpose().map_err(raise)?;
    let disk = FileDisk::reader(&path).map_err(|error| raise(disk_error(&path, &error)))?;
    let mut raised = None;
    let mut tell =
        |event: &engine::Event, state: &engine::State, answer: &engine::Answer<'_>| -> Result<()> {
            let Some(each) = &each else { return Ok(()) };
            let told = (|| {
                let dict = PyDict::new(py);
                dict.set_item("position", answer.position)?;
                dict.set_item("source", event.source)?;
                dict.set_item("sequence", event.sequence)?;
                dict.set_item("time", event.time)?;
                dict.set_item("event", event.what.name())?;
                dict.set_item("fields", to_dict(py, &state.write_event(event))?)?;
                let refused = answer.refused.as_ref().map(|error| to_exception(py, error));
                dict.set_item("refused", refused.transpose()?)?;
                let outcomes = PyList::empty(py);
                for outcome in answer.outcomes {
                    let own = PyDict::new(py);
                    own.set_item("outcome", outcome.name())?;
                    own.update(to_dict(py, &state.write_outcome(outcome))?.as_mapping())?;
                    outcomes.append(own)?;
                }
                dict.set_item("outcomes", outcomes)?;
                each.call1((dict,)).map(drop)
            })();
            told.map_err(|error: PyErr| {
                raised = Some(error);
                Error::invariant("callback")
            })
        };
    let found = engine::Engine::replay(&disk, anchor.as_ref(), &mut tell);
    if let Some(error) = raised {
        return Err(error);
    }
    let (engine, found) = found.map_err(raise)?;
    let engine = Engine { shared: Arc::new(Mutex::new(engine)), waits: false };
    let dict = PyDict::new(py);
    dict.set_item("events", found.events)?;
    dict.set_item("refused", found.refused)?;
    dict.set_item("head", hex(&found.head))?;
    dict.set_item("roots", found.roots.iter().map(hex).collect::<Vec<_>>())?;
    dict.set_item("states", found.states)?;
    dict.set_item("state", found.state.to_string())?;
    dict.set_item("torn", found.torn.map(|torn| torn.to_string()))?;
    Ok((engine, dict))
}

/// 32 bytes from 64 hexadecimal digits.
fn digest(text: &str) -> Result<[u8; 32]> {
    let bad = || {
        let limit = "must be 64 hexadecimal digits";
        Error::new(ErrorKind::NotANumber, "head", text, limit)
    };
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(bad());
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        let pair = text.get(2 * at..2 * at + 2).ok_or_else(bad)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
    }
    Ok(bytes)
}

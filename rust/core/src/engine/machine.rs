//! The engine: a state, and the journal of what it was told.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::columns::Columns;
use super::decision::Decision;
use super::event::{Event, What};
use super::journal::merkle::Hash;
use super::journal::snapshot::{self, Snapshot};
use super::journal::{self, Disk, Journal, Options, Reading};
use super::orders::Order;
use super::outcome::Outcome;
use super::replay::{Record, replay};
use super::state::State;
use super::trade::{OrderCheck, OrderMargin};
use super::wire::{Reader, Wire};
use crate::margin::PoolId;
use crate::numbers::{Digest, Error, ErrorKind, Result};

/// How many rows of columns are events at a time: they stay in the nearest caches.
const AT_ONCE: usize = 128;

/// What followed from an event.
#[derive(Debug)]
pub struct Answer<'a> {
    /// How many events were told before it.
    pub position: u64,
    /// Why it was refused; it has changed nothing then but the time.
    pub refused: Option<Error>,
    /// What followed, in order.
    pub outcomes: &'a [Outcome],
}

/// What recovery found.
#[derive(Debug)]
pub struct Recovery {
    /// How many events the journal holds.
    pub events: u64,
    /// After how many the snapshot was taken that it went on from, if there was one.
    pub snapshot: Option<u64>,
    /// The end of the journal that was cut, as it was not whole.
    pub torn: Option<journal::Torn>,
    /// Snapshots that are not whole, or not of this journal: they were left out.
    pub left_out: Vec<String>,
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many events the journal holds.
    pub events: u64,
    /// The head of its chain.
    pub head: Hash,
    /// The root of each of its sealed segments.
    pub roots: Vec<Hash>,
    /// How many hashes of the state it holds: each was that of the state that replay came to.
    pub states: u64,
    /// The hash of the state after all of it.
    pub state: Digest,
    /// How many events were refused.
    pub refused: u64,
    /// The end of it that is not whole.
    pub torn: Option<journal::Torn>,
}

/// A deterministic state machine: it is told what happened, and answers what follows.
///
/// An event is in the journal before it changes anything. Two engines that were told the same, with the same card and policy,
/// are in the same state.
#[derive(Debug)]
pub struct Engine {
    state: State,
    journal: Option<Journal>,
    /// How many events it was told.
    told: u64,
    outcomes: Vec<Outcome>,
    bytes: Vec<u8>,
    /// Why nothing more is taken.
    poisoned: Option<String>,
    closed: bool,
}

/// What the journal of an engine is of: a card and a policy.
fn about(card: &str, policy: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    Arc::<str>::from(card).put(&mut bytes);
    Arc::<str>::from(policy).put(&mut bytes);
    bytes
}

/// The card and the policy that a journal is of, as they are written.
///
/// # Errors
/// Those of [`journal::about`].
pub fn texts(disk: &dyn Disk) -> Result<(Arc<str>, Arc<str>)> {
    read_texts(&journal::about(disk)?)
}

fn read_texts(bytes: &[u8]) -> Result<(Arc<str>, Arc<str>)> {
    let mut reader = Reader::new(bytes);
    let texts = (Wire::get(&mut reader)?, Wire::get(&mut reader)?);
    reader.end()?;
    Ok(texts)
}

fn read_about(bytes: &[u8]) -> Result<State> {
    let (card, policy) = read_texts(bytes)?;
    State::new(&card, &policy)
}

impl Engine {
    /// An engine that keeps no journal. The policy is the default one where its text is empty.
    ///
    /// # Errors
    /// Those of [`State::new`].
    pub fn new(card: &str, policy: &str) -> Result<Self> {
        Ok(Self::of(State::new(card, policy)?, None))
    }

    fn of(state: State, journal: Option<Journal>) -> Self {
        let told = journal.as_ref().map_or(0, Journal::events);
        Self {
            state,
            journal,
            told,
            outcomes: Vec::new(),
            bytes: Vec::new(),
            poisoned: None,
            closed: false,
        }
    }

    /// An engine with a new journal.
    ///
    /// # Errors
    /// Those of [`State::new`] and [`Journal::create`].
    pub fn create(disk: Box<dyn Disk>, card: &str, policy: &str, options: Options) -> Result<Self> {
        let state = State::new(card, policy)?;
        let journal = Journal::create(disk, &about(card, policy), options)?;
        Ok(Self::of(state, Some(journal)))
    }

    /// Goes on where a journal ends, from its newest snapshot.
    ///
    /// # Errors
    /// Those of [`Journal::open`]; `journal_corrupt` for events that are none.
    pub fn open(disk: Box<dyn Disk>, options: Options) -> Result<(Self, Recovery)> {
        let (mut state, from, left_out) = start(disk.as_ref())?;
        let mut outcomes = Vec::new();
        let found = replay(disk.as_ref(), |records| {
            for (place, record) in records.iter().enumerate() {
                let Record::Event(event, position, _) = record else { continue };
                if *position < from {
                    continue;
                }
                state.read_ahead(|at| records.get(at).and_then(Record::event), place);
                outcomes.clear();
                take(&mut state, event, &mut outcomes)?;
            }
            Ok(())
        })?;
        let (journal, found) = Journal::resume(disk, options, found)?;
        let snapshot = (from > 0).then_some(from);
        let recovery = Recovery { events: found.events, snapshot, torn: found.torn, left_out };
        Ok((Self::of(state, Some(journal)), recovery))
    }

    /// Takes an event: it is in the journal before it changes anything.
    ///
    /// # Errors
    /// `journal_io` and `read_only` where it could not be written down: it has changed nothing then. `invariant_broken` for a
    /// defect of the engine, which takes nothing more after it. What the engine refuses is no error, but told in the answer.
    pub fn apply(&mut self, event: &Event) -> Result<Answer<'_>> {
        self.may_take()?;
        let position = self.told;
        let refused = self.write_and_take(event).inspect_err(|error| {
            if error.kind() == ErrorKind::InvariantBroken {
                self.poisoned = Some(error.to_string());
            }
        })?;
        Ok(Answer { position, refused, outcomes: &self.outcomes })
    }

    /// Takes events one after the other, as [`Engine::apply`] does; `each` gets the answers with their places.
    ///
    /// # Errors
    /// As there, and those of `each`: the events before have been taken.
    pub fn apply_all(
        &mut self,
        events: &[impl Borrow<Event>],
        mut each: impl FnMut(usize, Answer<'_>) -> Result<()>,
    ) -> Result<()> {
        for (place, event) in events.iter().enumerate() {
            self.state.read_ahead(|at| events.get(at).map(Borrow::borrow), place);
            let answer = self.apply(event.borrow())?;
            each(place, answer)?;
        }
        Ok(())
    }

    /// The same of events in columns: all are read before the first is taken.
    ///
    /// # Errors
    /// Those of [`Columns::event`], and nothing has been taken then; those of [`Engine::apply_all`].
    pub fn apply_columns(
        &mut self,
        columns: &Columns<'_>,
        mut each: impl FnMut(usize, Answer<'_>) -> Result<()>,
    ) -> Result<()> {
        (0..columns.len()).try_for_each(|row| columns.event(row).map(drop))?;
        let mut events = Vec::with_capacity(AT_ONCE);
        for start in (0..columns.len()).step_by(AT_ONCE) {
            events.clear();
            for row in start..columns.len().min(start + AT_ONCE) {
                events.push(columns.event(row)?);
            }
            self.apply_all(&events, |place, answer| each(start + place, answer))?;
        }
        Ok(())
    }

    fn write_and_take(&mut self, event: &Event) -> Result<Option<Error>> {
        let Self { state, journal, bytes, outcomes, told, .. } = self;
        if let Some(journal) = journal {
            bytes.clear();
            event.put(bytes);
            whole(|| journal.append(bytes))?;
        }
        *told += 1;
        outcomes.clear();
        take(state, event, outcomes)
    }

    fn may_take(&self) -> Result<()> {
        if self.closed {
            let limit = "its journal was closed: open it again";
            return Err(Error::new(ErrorKind::ReadOnly, "engine", "closed", limit));
        }
        let Some(why) = &self.poisoned else { return Ok(()) };
        let limit = "nothing more is taken; its journal can be read";
        Err(Error::new(ErrorKind::InvariantBroken, "engine", why, limit))
    }

    /// What an order would do, were it opened now. Nothing is changed, and nothing reserved.
    ///
    /// # Errors
    /// Those of [`State::check_order`].
    pub fn check_order(&self, order: &Order) -> Result<OrderCheck> {
        self.may_take()?;
        self.state.check_order(order)
    }

    /// [`State::order_margin`] of each order in columns ([`Columns::orders`]), each as if it were alone; `each` gets it with its
    /// row.
    ///
    /// # Errors
    /// Those of [`Columns::order`]; `invariant_broken` and `read_only` for an engine that takes nothing more.
    pub fn check_orders(
        &self,
        columns: &Columns<'_>,
        mut each: impl FnMut(usize, Result<OrderMargin>),
    ) -> Result<()> {
        self.may_take()?;
        let mut orders = Vec::with_capacity(AT_ONCE);
        for start in (0..columns.len()).step_by(AT_ONCE) {
            orders.clear();
            for row in start..columns.len().min(start + AT_ONCE) {
                orders.push(columns.order(row)?);
            }
            for (place, margin) in self.state.order_margins(&orders).enumerate() {
                each(start + place, margin);
            }
        }
        Ok(())
    }

    /// [`State::decide`].
    ///
    /// # Errors
    /// As there; `invariant_broken` and `read_only` for an engine that takes nothing more.
    pub fn decide(&self, what: &What) -> Result<Decision> {
        self.may_take()?;
        self.state.decide(what)
    }

    /// [`State::decide_liquidation`].
    ///
    /// # Errors
    /// As [`Engine::decide`].
    pub fn decide_liquidation(&self, pool: PoolId) -> Result<Decision> {
        self.may_take()?;
        self.state.decide_liquidation(pool)
    }

    /// An engine in the same state under another liquidation policy, without a journal: for comparisons.
    ///
    /// # Errors
    /// Those of [`State::under_policy`]; `invariant_broken` and `read_only` for an engine that takes nothing more.
    pub fn fork(&self, policy: &str) -> Result<Self> {
        self.may_take()?;
        let mut other = Self::of(self.state.under_policy(policy)?, None);
        other.told = self.told;
        Ok(other)
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The hash of the state.
    ///
    /// # Errors
    /// `invariant_broken` only.
    pub fn hash(&mut self) -> Result<Digest> {
        self.state.hash()
    }

    /// How many events it was told.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.told
    }

    /// Writes down what is kept back, and lets the journal go: nothing more is taken then.
    ///
    /// # Errors
    /// As [`Engine::flush`].
    pub fn close(&mut self) -> Result<()> {
        let Some(mut journal) = self.journal.take() else { return Ok(()) };
        self.closed = true;
        if journal.stopped().is_some() { Ok(()) } else { journal.flush() }
    }

    /// The journal, if it keeps one.
    #[must_use]
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// Makes everything last that it was told.
    ///
    /// # Errors
    /// `journal_io`, `read_only`.
    pub fn flush(&mut self) -> Result<()> {
        self.journal.as_mut().map_or(Ok(()), Journal::flush)
    }

    /// Writes the hash of the state into the journal: who verifies it comes to the same.
    ///
    /// # Errors
    /// As [`Engine::flush`].
    pub fn mark(&mut self) -> Result<Digest> {
        self.may_take()?;
        let hash = self.state.hash()?;
        if let Some(journal) = &mut self.journal {
            journal.append_state(hash.bytes())?;
            journal.flush()?;
        }
        Ok(hash)
    }

    /// Writes a snapshot beside the journal: the next start goes on from it.
    ///
    /// # Errors
    /// As [`Engine::flush`].
    pub fn snapshot(&mut self) -> Result<()> {
        self.mark()?;
        let state = self.state.to_bytes()?;
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let (events, head) = (journal.events(), journal.head());
        snapshot::write(journal.disk_mut(), &Snapshot { events, head, state })
    }

    /// Reads a journal from its start, takes each event again, and compares every hash that it holds; `each` gets each event
    /// with its answer.
    ///
    /// # Errors
    /// Those of [`journal::read`]; `journal_corrupt` for events that are none, for a hash of a state that replay does not come
    /// to, and for a chain whose head at that many events is not `anchor`; those of `each`.
    pub fn verify(
        disk: &dyn Disk,
        anchor: Option<&Hash>,
        each: &mut dyn FnMut(&Event, &State, &Answer<'_>) -> Result<()>,
    ) -> Result<Verified> {
        Self::replay(disk, anchor, each).map(|(_, found)| found)
    }

    /// The same, and an engine in the state that the journal ends with: one that keeps no journal, to look at.
    ///
    /// # Errors
    /// As [`Engine::verify`].
    pub fn replay(
        disk: &dyn Disk,
        anchor: Option<&Hash>,
        each: &mut dyn FnMut(&Event, &State, &Answer<'_>) -> Result<()>,
    ) -> Result<(Self, Verified)> {
        let about = journal::about(disk)?;
        let mut engine = Self::of(read_about(&about)?, None);
        let Self { state, outcomes, .. } = &mut engine;
        let (mut refused, mut states) = (0, 0);
        let mut anchored = anchor.is_none_or(|own| *own == journal::genesis(&about));
        let found: Reading = replay(disk, |records| {
            for (place, record) in records.iter().enumerate() {
                state.read_ahead(|at| records.get(at).and_then(Record::event), place);
                match record {
                    Record::Event(event, position, head) => {
                        anchored |= anchor == Some(head);
                        outcomes.clear();
                        let why = take(state, event, outcomes)?;
                        refused += u64::from(why.is_some());
                        let answer = Answer { position: *position, refused: why, outcomes };
                        each(event, state, &answer)?;
                    }
                    Record::State(events, hash) => {
                        states += 1;
                        is_same(*events, hash, &state.hash()?)?;
                    }
                }
            }
            Ok(())
        })?;
        if let (Some(anchor), false) = (anchor, anchored) {
            let limit = format!(
                "the chain never has this head; it ends with {}",
                journal::hex(&found.head)
            );
            return Err(Error::new(ErrorKind::JournalCorrupt, "head", journal::hex(anchor), limit));
        }
        let state = state.hash()?;
        let Reading { events, head, roots, torn, .. } = found;
        engine.told = events;
        Ok((engine, Verified { events, head, roots, states, state, refused, torn }))
    }
}

/// Refuses a hash of the state that replay does not come to.
fn is_same(events: u64, hash: &Hash, own: &Digest) -> Result<()> {
    if own.bytes() == hash {
        return Ok(());
    }
    let limit = format!("replay comes to {own}");
    let field = format!("state after {events} events");
    Err(Error::new(ErrorKind::JournalCorrupt, field, journal::hex(hash), limit))
}

/// A step that either ends or is a defect: a panic is one.
fn whole<T>(step: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|_| Err(Error::invariant("engine")))
}

/// Takes an event: why it is refused, if it is. A defect is an error.
fn take(state: &mut State, event: &Event, outcomes: &mut Vec<Outcome>) -> Result<Option<Error>> {
    whole(|| match state.apply(event, outcomes) {
        Err(error) if error.kind() == ErrorKind::InvariantBroken => Err(error),
        other => Ok(other.err()),
    })
}

/// Where a journal is gone on with: the state of its newest snapshot that is of it, after how many events, and those that
/// are not.
fn start(disk: &dyn Disk) -> Result<(State, u64, Vec<String>)> {
    let (snapshots, mut left_out) = snapshot::all(disk)?;
    let about = journal::about(disk)?;
    let mut heads = BTreeMap::from([(0, journal::genesis(&about))]);
    // Who writes a snapshot marks the state in the journal first: a state that was never marked there is none of its.
    let mut marks = BTreeMap::new();
    if !snapshots.is_empty() {
        let taken = |events| snapshots.iter().any(|own| own.events == events);
        let mut note = |event: journal::Event<'_>, head| {
            if taken(event.position + 1) {
                heads.insert(event.position + 1, head);
            }
            Ok(())
        };
        let mut mark = |events, hash| {
            if taken(events) {
                marks.insert(events, hash);
            }
            Ok(())
        };
        journal::read(disk, &mut note, &mut mark)?;
    }
    for own in snapshots {
        let fits = heads.get(&own.events) == Some(&own.head);
        if let (true, Some(mark), Ok(mut state)) =
            (fits, marks.get(&own.events), State::from_bytes(&own.state))
            && state.events() <= own.events
            && state.hash()?.bytes() == mark
        {
            return Ok((state, own.events, left_out));
        }
        left_out.push(format!("after {} events", own.events));
    }
    Ok((read_about(&about)?, 0, left_out))
}

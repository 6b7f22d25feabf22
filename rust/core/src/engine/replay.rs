//! Reading a journal and taking its events again, side by side: one thread checks the bytes and their hashes, and reads the
//! events; the other takes those that were read.

use std::sync::mpsc::{SyncSender, sync_channel};

use super::event::Event;
use super::journal::merkle::Hash;
use super::journal::{self, Disk, Reading};
use crate::numbers::{Error, Result};

/// How many records are handed over at a time, and how often that is done ahead.
const AT_ONCE: usize = 256;
const AHEAD: usize = 8;

/// A record that was read.
#[derive(Debug)]
pub(super) enum Record {
    /// An event, its position, and the head of the chain after it.
    Event(Event, u64, Hash),
    /// The hash of the state after so many events.
    State(u64, Hash),
}

impl Record {
    pub(super) fn event(&self) -> Option<&Event> {
        match self {
            Self::Event(event, ..) => Some(event),
            Self::State(..) => None,
        }
    }
}

/// Records that wait to be handed over.
struct Batch {
    records: Vec<Record>,
    to: SyncSender<Vec<Record>>,
}

impl Batch {
    fn push(&mut self, record: Record) -> Result<()> {
        self.records.push(record);
        if self.records.len() < AT_ONCE {
            return Ok(());
        }
        self.hand_over()
    }

    fn hand_over(&mut self) -> Result<()> {
        let full = std::mem::replace(&mut self.records, Vec::with_capacity(AT_ONCE));
        // Who takes them has found an error of its own, and tells that.
        self.to.send(full).map_err(|_| Error::invariant("replay"))
    }
}

/// Reads a journal; `take` gets what it holds, in order.
///
/// # Errors
/// Those of `take`; of [`journal::read`]; `journal_corrupt` for events that are none.
pub(super) fn replay(
    disk: &dyn Disk,
    mut take: impl FnMut(&[Record]) -> Result<()>,
) -> Result<Reading> {
    std::thread::scope(|scope| {
        let (to, from) = sync_channel(AHEAD);
        let reader = scope.spawn(move || {
            let batch = std::cell::RefCell::new(Batch { records: Vec::new(), to });
            let found = journal::read(
                disk,
                &mut |journal::Event { position, payload }, head| {
                    let event = Event::from_bytes(payload)?;
                    batch.borrow_mut().push(Record::Event(event, position, head))
                },
                &mut |events, hash| batch.borrow_mut().push(Record::State(events, hash)),
            );
            // What came before an error was whole.
            let rest = batch.borrow_mut().hand_over();
            found.and_then(|found| rest.map(|()| found))
        });
        let taken = from.iter().try_for_each(|records| take(&records));
        drop(from);
        let found = reader.join().unwrap_or_else(|_| Err(Error::invariant("replay")));
        taken.and(found)
    })
}

//! Reading a journal: every byte is checked, and what is not whole is refused, or, at the end of the last segment, cut.

use std::fmt;

use super::disk::Disk;
use super::frame::{self, Frame, Head, Kind, MAGIC};
use super::merkle::{Hash, Tree, leaf};
use super::{corrupt, failed, segment_name, segment_number};
use crate::numbers::{Error, ErrorKind, Result};

/// So many times the bytes at the end of a journal are checked, at most, for a record among them.
const SEARCH_ROUNDS: usize = 64;

/// An event as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// How many there are before it.
    pub position: u64,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// What was cut from the end of a journal, or would be: bytes that were never answered for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub segment: String,
    /// Where its whole records end.
    pub at: u64,
    /// How many bytes are after that.
    pub bytes: u64,
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes after byte {} of {}", self.bytes, self.at, self.segment)
    }
}

/// What was found in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What the journal is of.
    pub about: Vec<u8>,
    /// How many events it holds.
    pub events: u64,
    /// The head of the chain.
    pub head: Hash,
    /// The root of each sealed segment.
    pub roots: Vec<Hash>,
    /// The end of the last segment that is not whole.
    pub torn: Option<Torn>,
    /// The segment that is written next, and how many bytes of it there are; none where the last one is sealed.
    pub(super) open: Option<(u64, u64)>,
    /// The tree of the open segment.
    pub(super) tree: Tree,
}

/// What a journal is of, from its first segment.
///
/// # Errors
/// `journal_corrupt`, `journal_version`, `journal_io`.
pub fn about(disk: &dyn Disk) -> Result<Vec<u8>> {
    let name = segment_name(0);
    let bytes = disk.read(&name).map_err(|error| failed("read", &name, &error))?;
    if let Some((head, _)) = Head::get(&bytes) {
        return Ok(head.about);
    }
    Err(other_head(&name, &bytes))
}

/// Why a segment has no head that this version reads.
fn other_head(name: &str, bytes: &[u8]) -> Error {
    if let (Some(known), Some(own)) = (MAGIC.get(..7), bytes.get(..8))
        && own.starts_with(known)
        && own != MAGIC
    {
        let version = String::from_utf8_lossy(own).into_owned();
        let limit = "this version reads AIVORAJ0";
        return Error::new(ErrorKind::JournalVersion, name, version, limit);
    }
    corrupt(name, 0, "a head that is not whole", "must be as it was written")
}

struct Reader<'a> {
    found: Reading,
    each: &'a mut dyn FnMut(Event<'_>, Hash) -> Result<()>,
    states: &'a mut dyn FnMut(u64, Hash) -> Result<()>,
}

/// Reads all of a journal, in order; `each` gets its events and the head of the chain after each, `state` the hashes of the
/// state that were written with them.
///
/// # Errors
/// `journal_corrupt` naming file, byte and what is wrong; `journal_version`; `journal_io`; those of `each` and `state`.
pub fn read(
    disk: &dyn Disk,
    each: &mut dyn FnMut(Event<'_>, Hash) -> Result<()>,
    state: &mut dyn FnMut(u64, Hash) -> Result<()>,
) -> Result<Reading> {
    let names = disk.list().map_err(|error| failed("list", "the journal", &error))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    let Some(last) = numbers.last().copied() else {
        let limit = "no segment is there";
        return Err(Error::new(ErrorKind::JournalCorrupt, "journal", "nothing", limit));
    };
    let found = Reading {
        about: Vec::new(),
        events: 0,
        head: [0; 32],
        roots: Vec::new(),
        torn: None,
        open: None,
        tree: Tree::default(),
    };
    let mut reader = Reader { found, each, states: state };
    for (place, number) in (0..).zip(&numbers) {
        let name = segment_name(*number);
        if place != *number {
            let missing = segment_name(place);
            return Err(corrupt(&missing, 0, "missing", "segments are numbered without gaps"));
        }
        let bytes = disk.read(&name).map_err(|error| failed("read", &name, &error))?;
        reader.segment(*number, &name, &bytes, *number == last)?;
    }
    Ok(reader.found)
}

impl Reader<'_> {
    fn segment(&mut self, number: u64, name: &str, bytes: &[u8], last: bool) -> Result<()> {
        let Some((head, mut at)) = Head::get(bytes) else {
            return self.headless(number, name, bytes, last);
        };
        self.follows(&head, number, name)?;
        self.found.tree.clear();
        loop {
            let rest = bytes.get(at..).unwrap_or(&[]);
            if rest.is_empty() && last {
                self.found.open = Some((number, bytes_of(at)));
                return Ok(());
            }
            let Some((frame, length)) = frame::get(rest) else {
                return self.torn(number, name, bytes, at, last);
            };
            if self.record(&frame, name, at)? {
                let after = at + length;
                if after != bytes.len() {
                    let more = format!("{} bytes after the seal", bytes.len() - after);
                    return Err(corrupt(name, after, more, "a sealed segment ends there"));
                }
                return Ok(());
            }
            at += length;
        }
    }

    /// A segment without a whole head: as a crash leaves the newest, before anything in it was answered for.
    fn headless(&mut self, number: u64, name: &str, bytes: &[u8], last: bool) -> Result<()> {
        if !last || number == 0 || any_record(bytes, 0, self.found.events) {
            return Err(other_head(name, bytes));
        }
        let torn = Torn { segment: name.to_owned(), at: 0, bytes: bytes_of(bytes.len()) };
        self.found.torn = Some(torn);
        self.found.open = None;
        Ok(())
    }

    /// Refuses a segment that does not follow those before it.
    fn follows(&mut self, head: &Head, number: u64, name: &str) -> Result<()> {
        if number == 0 {
            self.found.about.clone_from(&head.about);
            self.found.head = frame::genesis(&head.about);
        }
        let root = self.found.roots.last().copied().unwrap_or([0; 32]);
        for (same, what) in [
            (head.number == number, "number"),
            (head.first == self.found.events, "first position"),
            (head.chain == self.found.head, "head of the chain"),
            (head.root == root, "root of the segment before"),
            (head.about == self.found.about, "text"),
        ] {
            if !same {
                let limit = "must follow from the segment before";
                return Err(corrupt(name, 0, format!("another {what}"), limit));
            }
        }
        Ok(())
    }

    /// Takes a record; whether it ends the segment.
    fn record(&mut self, frame: &Frame<'_>, name: &str, at: usize) -> Result<bool> {
        let Self { found, each, states } = self;
        if frame.position != found.events {
            let limit = format!("must be {}, as records follow one another", found.events);
            return Err(corrupt(name, at, format!("position {}", frame.position), &limit));
        }
        let other =
            |what: &str| Err(corrupt(name, at, what, "must be what the events before it give"));
        match frame.kind {
            Kind::Event => {
                let leaf = leaf(frame.payload);
                found.tree.push(leaf);
                found.head = frame::chained(&found.head, &leaf);
                found.events += 1;
                let event = Event { position: frame.position, payload: frame.payload };
                each(event, found.head)?;
            }
            Kind::Commit if frame.payload != found.head => return other("another head"),
            Kind::Commit => {}
            Kind::State => {
                let hash = frame.payload.try_into();
                states(
                    frame.position,
                    hash.map_err(|_| corrupt(name, at, "a short hash", "32 bytes"))?,
                )?;
            }
            Kind::Seal => {
                if frame.payload != seal(&found.tree, &found.head) {
                    return other("another count, head or root");
                }
                found.roots.push(found.tree.root());
                found.open = None;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The end of the whole records of a segment: torn where nothing after it is whole, and nothing but the end was lost.
    fn torn(&mut self, number: u64, name: &str, bytes: &[u8], at: usize, last: bool) -> Result<()> {
        let rest = bytes.len() - at;
        if !last || any_record(bytes, at + 1, self.found.events) {
            let limit = "only the end of the last segment may be torn";
            return Err(corrupt(name, at, "a record that is not whole", limit));
        }
        let torn = Torn { segment: name.to_owned(), at: bytes_of(at), bytes: bytes_of(rest) };
        self.found.torn = Some(torn);
        self.found.open = Some((number, bytes_of(at)));
        Ok(())
    }
}

/// The payload of a seal.
pub(super) fn seal(tree: &Tree, head: &Hash) -> Vec<u8> {
    let mut all = tree.len().to_le_bytes().to_vec();
    all.extend_from_slice(head);
    all.extend_from_slice(&tree.root());
    all
}

/// Whether a record that is not before `events` by more than there may be starts anywhere from here on. Once the search has
/// checked many times what there is, it takes it that one does: then the journal is refused, which is the safe side.
pub(super) fn any_record(bytes: &[u8], from: usize, events: u64) -> bool {
    let rest = bytes.len().saturating_sub(from);
    let last = events.saturating_add(bytes_of(rest));
    let mut checked = 0;
    for at in from..bytes.len() {
        let Some(tail) = bytes.get(at..) else { break };
        let Some(length) = frame::could_be(tail, last) else { continue };
        if frame::get(tail).is_some() {
            return true;
        }
        checked += length;
        if checked / SEARCH_ROUNDS > rest {
            return true;
        }
    }
    false
}

fn bytes_of(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

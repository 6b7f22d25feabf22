//! The journal: what an engine was told, in a form that nobody can change without being seen. `docs/reference/journal.md`.
//!
//! Records are framed by their length and a checksum, chained by SHA-256, and stand in segments; a segment ends with the root
//! of a Merkle tree over its events. What was written is a prefix of what was told, or it is refused.

pub mod disk;
mod frame;
pub mod merkle;
mod read;
pub mod sim;
pub mod snapshot;
mod write;

use std::fmt;
use std::io;
use std::num::NonZeroU32;

pub use disk::{Disk, FileDisk};
pub use frame::genesis;
pub use read::{Event, Reading, Torn, about, read};
pub use write::Journal;

use crate::numbers::{Error, ErrorKind, Result};
use merkle::Hash;

/// When what was written is made to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fsync {
    /// Before each event is answered.
    Always,
    /// Together with others, once there are so many: a crash of the machine or of the process may lose as many.
    Batch(NonZeroU32),
    /// When the journal is flushed, and where the system does. A crash may lose whatever came after.
    Never,
}

impl Fsync {
    /// The policy that is written so: `always`, `batch:N` or `none`.
    ///
    /// # Errors
    /// `out_of_range` for any other text.
    pub fn parse(text: &str) -> Result<Self> {
        let count = text.strip_prefix("batch:").and_then(|number| number.parse().ok());
        // One way to write each: no sign, no zeros in front.
        let count = count.filter(|count| Self::Batch(*count).to_string() == text);
        match (text, count) {
            ("always", _) => Ok(Self::Always),
            ("none", _) => Ok(Self::Never),
            (_, Some(count)) => Ok(Self::Batch(count)),
            _ => {
                let limit = "must be always, batch:N with N of at least 1, or none";
                Err(Error::new(ErrorKind::OutOfRange, "fsync", text, limit))
            }
        }
    }
}

impl fmt::Display for Fsync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Batch(count) => write!(f, "batch:{count}"),
            Self::Never => f.write_str("none"),
        }
    }
}

/// How a journal is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// When what was written is made to last.
    pub fsync: Fsync,
    /// A segment is sealed once it is larger than this.
    pub segment_bytes: u64,
}

impl Default for Options {
    /// Each event lasts before it is answered; segments of 64 MiB.
    fn default() -> Self {
        Self { fsync: Fsync::Always, segment_bytes: 64 << 20 }
    }
}

/// The name of a segment.
fn segment_name(number: u64) -> String {
    format!("{number:010}.journal")
}

/// The number of a segment that has this name.
fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".journal")?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

fn failed(what: &str, name: &str, error: &io::Error) -> Error {
    let limit = "nothing was taken into the journal";
    Error::new(ErrorKind::JournalIo, format!("{what} {name}"), error, limit)
}

/// After a sync that failed nobody knows what the disk holds.
fn unsynced(name: &str, error: &io::Error) -> Error {
    let limit = "what was written since the last sync may be lost; open the journal again";
    Error::new(ErrorKind::JournalIo, format!("sync {name}"), error, limit)
}

fn corrupt(name: &str, at: usize, what: impl fmt::Display, limit: &str) -> Error {
    let field = format!("{name}, byte {at}");
    Error::new(ErrorKind::JournalCorrupt, field, what, limit)
}

/// A hash as hexadecimal digits.
#[must_use]
pub fn hex(hash: &Hash) -> String {
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        use fmt::Write as _;
        // A string takes whatever is written to it.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

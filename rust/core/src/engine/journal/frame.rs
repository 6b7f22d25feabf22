//! The bytes of a journal: the head of a segment, and its records. `docs/reference/journal.md`.

use sha2::{Digest as _, Sha256};

use super::merkle::Hash;
use crate::numbers::limits::JOURNAL_RECORD_MAX;

/// The first bytes of a segment, with the version of the format.
pub(super) const MAGIC: &[u8; 8] = b"AIVORAJ0";
/// Bytes of a frame before its payload.
pub(super) const FRAME: usize = 17;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An event.
    Event,
    /// The head of the chain, where what was written was made to last.
    Commit,
    /// The hash of the state after the events before it.
    State,
    /// The end of a segment: how many events it has, the head, the root of its tree.
    Seal,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Event, Self::Commit, Self::State, Self::Seal];

    fn code(self) -> u8 {
        match self {
            Self::Event => 1,
            Self::Commit => 2,
            Self::State => 3,
            Self::Seal => 4,
        }
    }
}

/// A record as it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) kind: Kind,
    pub(super) position: u64,
    pub(super) payload: &'a [u8],
}

/// Appends a record.
pub(super) fn put(kind: Kind, position: u64, payload: &[u8], into: &mut Vec<u8>) {
    let start = into.len();
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    into.extend_from_slice(&len.to_le_bytes());
    into.extend_from_slice(&[0; 4]);
    into.push(kind.code());
    into.extend_from_slice(&position.to_le_bytes());
    into.extend_from_slice(payload);
    let crc = into.get(start..).map_or(0, checksum);
    if let Some(slot) = into.get_mut(start + 4..start + 8) {
        slot.copy_from_slice(&crc.to_le_bytes());
    }
}

/// CRC-32C of a frame without its four bytes.
fn checksum(frame: &[u8]) -> u32 {
    let (len, rest) = frame.split_at_checked(4).unwrap_or((&[], &[]));
    crc32c::crc32c_append(crc32c::crc32c(len), rest.get(4..).unwrap_or(&[]))
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// How long the record at the start of some bytes is, by its own account; none where none of this kind, length or position
/// can start there.
pub(super) fn could_be(bytes: &[u8], position_max: u64) -> Option<usize> {
    let len = usize::try_from(u32::from_le_bytes(number(bytes, 0)?)).ok()?;
    let code = *bytes.get(8)?;
    let position = u64::from_le_bytes(number(bytes, 9)?);
    let fits = len <= JOURNAL_RECORD_MAX
        && FRAME + len <= bytes.len()
        && position <= position_max
        && Kind::ALL.into_iter().any(|kind| kind.code() == code);
    fits.then_some(FRAME + len)
}

/// The record at the start of some bytes, and how many it takes; none where there is no whole one.
pub(super) fn get(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let length = could_be(bytes, u64::MAX)?;
    let whole = bytes.get(..length)?;
    let code = *whole.get(8)?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.code() == code)?;
    if checksum(whole) != u32::from_le_bytes(number(bytes, 4)?) {
        return None;
    }
    let position = u64::from_le_bytes(number(bytes, 9)?);
    Some((Frame { kind, position, payload: whole.get(FRAME..)? }, length))
}

/// The head of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) number: u64,
    /// The position of its first event.
    pub(super) first: u64,
    /// The head of the chain, and the root of the segment, before it.
    pub(super) chain: Hash,
    pub(super) root: Hash,
    /// What the journal is of.
    pub(super) about: Vec<u8>,
}

impl Head {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut all = MAGIC.to_vec();
        all.extend_from_slice(&self.number.to_le_bytes());
        all.extend_from_slice(&self.first.to_le_bytes());
        all.extend_from_slice(&self.chain);
        all.extend_from_slice(&self.root);
        let len = u32::try_from(self.about.len()).unwrap_or(u32::MAX);
        all.extend_from_slice(&len.to_le_bytes());
        all.extend_from_slice(&self.about);
        let digest: Hash = Sha256::digest(&all).into();
        all.extend_from_slice(&digest);
        all
    }

    /// The head at the start of some bytes, and how many it takes.
    pub(super) fn get(bytes: &[u8]) -> Option<(Self, usize)> {
        if bytes.get(..8)? != MAGIC {
            return None;
        }
        let len = usize::try_from(u32::from_le_bytes(number(bytes, 88)?)).ok()?;
        let end = 92_usize.checked_add(len).filter(|_| len <= JOURNAL_RECORD_MAX)?;
        let digest: Hash = Sha256::digest(bytes.get(..end)?).into();
        if number::<32>(bytes, end)? != digest {
            return None;
        }
        let head = Self {
            number: u64::from_le_bytes(number(bytes, 8)?),
            first: u64::from_le_bytes(number(bytes, 16)?),
            chain: number(bytes, 24)?,
            root: number(bytes, 56)?,
            about: bytes.get(92..end)?.to_vec(),
        };
        Some((head, end + 32))
    }
}

/// The head of the chain before the first event of a journal of this.
#[must_use]
pub fn genesis(about: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([3]);
    hasher.update(MAGIC);
    hasher.update(about);
    hasher.finalize().into()
}

/// The chain after an event with this leaf.
pub(super) fn chained(before: &Hash, leaf: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([2]);
    hasher.update(before);
    hasher.update(leaf);
    hasher.finalize().into()
}

//! Snapshots of a state beside its journal: where to go on from without all the events before.

use sha2::{Digest as _, Sha256};

use super::disk::Disk;
use super::failed;
use super::merkle::Hash;
use crate::numbers::Result;

/// The first bytes of a snapshot, with the version of the format.
const MAGIC: &[u8; 8] = b"AIVORAS0";

/// A state after so many events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// How many events it comes after.
    pub events: u64,
    /// The head of the chain there.
    pub head: Hash,
    /// The state, as bytes.
    pub state: Vec<u8>,
}

/// How the names of snapshots end.
pub(super) const SUFFIX: &str = ".snapshot";

fn name_of(events: u64) -> String {
    format!("{events:020}{SUFFIX}")
}

/// Writes a snapshot: under its name there is a whole one, or none.
///
/// # Errors
/// `journal_io`.
pub fn write(disk: &mut dyn Disk, snapshot: &Snapshot) -> Result<()> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&snapshot.events.to_le_bytes());
    bytes.extend_from_slice(&snapshot.head);
    bytes.extend_from_slice(&snapshot.state);
    let digest: Hash = Sha256::digest(&bytes).into();
    bytes.extend_from_slice(&digest);
    let (name, new) = (name_of(snapshot.events), format!("{}.new", name_of(snapshot.events)));
    let there = disk.list().map_err(|error| failed("list", "the journal", &error))?;
    if there.contains(&new) {
        disk.remove(&new).map_err(|error| failed("remove", &new, &error))?;
    }
    disk.create(&new)
        .and_then(|()| disk.append(&new, &bytes))
        .and_then(|()| disk.sync(&new))
        .and_then(|()| disk.rename(&new, &name))
        .and_then(|()| disk.sync_names())
        .map_err(|error| failed("write", &name, &error))
}

/// The snapshots that are there, the newest first, and the names of those that are not whole.
///
/// # Errors
/// `journal_io`.
pub fn all(disk: &dyn Disk) -> Result<(Vec<Snapshot>, Vec<String>)> {
    let names = disk.list().map_err(|error| failed("list", "the journal", &error))?;
    let (mut whole, mut broken) = (Vec::new(), Vec::new());
    for name in names.into_iter().rev().filter(|name| name.ends_with(SUFFIX)) {
        let bytes = disk.read(&name).map_err(|error| failed("read", &name, &error))?;
        match parse(&bytes).filter(|found| name_of(found.events) == name) {
            Some(found) => whole.push(found),
            None => broken.push(name),
        }
    }
    Ok((whole, broken))
}

fn parse(bytes: &[u8]) -> Option<Snapshot> {
    let (body, digest) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    let own: Hash = Sha256::digest(body).into();
    if own != digest || body.get(..8)? != MAGIC {
        return None;
    }
    Some(Snapshot {
        events: u64::from_le_bytes(body.get(8..16)?.try_into().ok()?),
        head: body.get(16..48)?.try_into().ok()?,
        state: body.get(48..)?.to_vec(),
    })
}

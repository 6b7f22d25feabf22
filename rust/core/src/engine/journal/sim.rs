//! A disk in memory that forgets what it was not made to keep, and fails when it is told to: for tests.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::Disk;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No space is left; nothing is written.
    Full,
    /// An input or output error; nothing is written.
    Broken,
    /// Half of the bytes are written, and an error.
    Short,
}

#[derive(Debug, Clone, Default)]
struct File {
    bytes: Vec<u8>,
    /// So many of them outlive a crash.
    kept: usize,
    /// Its name outlives a crash.
    named: bool,
    /// What it held before it was cut: until the cut is synced, a crash may bring that back.
    uncut: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<String, File>,
    /// Files that a crash brings back, as their removal was not made to last.
    gone: BTreeMap<String, File>,
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    /// Syncs that only say that they did.
    lies: bool,
}

/// Such a disk. A clone is the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk(Arc<Mutex<Inner>>);

impl SimDisk {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an operation fail: the nth from now on, counted from 0.
    pub fn fail(&self, nth: u64, fault: Fault) {
        let mut inner = self.inner();
        let at = inner.operations + nth;
        inner.faults.insert(at, fault);
    }

    /// Lets no operation fail from now on.
    pub fn heal(&self) {
        self.inner().faults.clear();
    }

    /// Lets syncs do nothing but say that they did.
    pub fn lie(&self) {
        self.inner().lies = true;
    }

    /// How many operations there have been.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.inner().operations
    }

    /// What a crash leaves: of each file what was made to last and any part of what came after, and only names that were.
    pub fn crash(&self, mut seed: u64) {
        let mut draw = move |bound: usize| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap_or(0) % bound.max(1)
        };
        let mut inner = self.inner();
        let mut left = BTreeMap::new();
        let gone = std::mem::take(&mut inner.gone);
        for (name, mut file) in std::mem::take(&mut inner.files) {
            if let Some(uncut) = file.uncut.take()
                && draw(2) == 0
            {
                file.bytes = uncut;
            }
            let keeps = file.kept + draw(file.bytes.len() - file.kept + 1);
            if file.named || draw(2) == 0 {
                file.bytes.truncate(keeps);
                file.kept = file.bytes.len();
                file.named = true;
                left.insert(name, file);
            }
        }
        for (name, file) in gone {
            if draw(2) == 0 {
                left.entry(name).or_insert(file);
            }
        }
        inner.files = left;
        inner.faults.clear();
    }

    /// The bytes of a file, to look at and to damage.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.inner().files.get(name).map(|file| file.bytes.clone())
    }

    /// Puts a file there as if it had always been.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let file = File { kept: bytes.len(), named: true, uncut: None, bytes };
        self.inner().files.insert(name.to_owned(), file);
    }

    /// Takes a file away as if it had never been.
    pub fn forget(&self, name: &str) {
        self.inner().files.remove(name);
    }
}

impl Inner {
    /// Counts an operation; how it fails, if it does.
    fn step(&mut self) -> Option<Fault> {
        self.operations += 1;
        self.faults.remove(&(self.operations - 1))
    }

    fn whole_step(&mut self) -> io::Result<()> {
        match self.step() {
            None => Ok(()),
            Some(fault) => Err(fault.error()),
        }
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        self.files.get_mut(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Fault {
    fn error(self) -> io::Error {
        io::Error::from(match self {
            Self::Full => io::ErrorKind::StorageFull,
            Self::Broken => io::ErrorKind::Other,
            Self::Short => io::ErrorKind::WriteZero,
        })
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.inner().files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.inner().file(name).map(|file| file.bytes.clone())
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.whole_step()?;
        if inner.files.contains_key(name) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        inner.files.insert(name.to_owned(), File::default());
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let fault = inner.step();
        let file = inner.file(name)?;
        let Some(fault) = fault else {
            file.bytes.extend_from_slice(bytes);
            return Ok(());
        };
        if fault == Fault::Short {
            file.bytes.extend_from_slice(bytes.get(..bytes.len() / 2).unwrap_or(&[]));
        }
        Err(fault.error())
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        let mut inner = self.inner();
        inner.whole_step()?;
        let file = inner.file(name)?;
        let uncut = file.bytes.clone();
        file.bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        file.uncut.get_or_insert(uncut);
        file.kept = file.kept.min(file.bytes.len());
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.whole_step()?;
        let lies = inner.lies;
        let file = inner.file(name)?;
        if !lies {
            file.kept = file.bytes.len();
            file.uncut = None;
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.whole_step()?;
        let file = inner.files.remove(from);
        let file = file.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        inner.gone.insert(from.to_owned(), file.clone());
        inner.files.insert(to.to_owned(), File { named: false, ..file });
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.whole_step()?;
        if let Some(file) = inner.files.remove(name)
            && file.named
        {
            inner.gone.insert(name.to_owned(), file);
        }
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.whole_step()?;
        if !inner.lies {
            inner.gone.clear();
            inner.files.values_mut().for_each(|file| file.named = true);
        }
        Ok(())
    }
}

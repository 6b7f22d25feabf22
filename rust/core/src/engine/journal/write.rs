//! Writing a journal.

use super::disk::Disk;
use super::frame::{self, Head, Kind};
use super::merkle::{Hash, Tree, leaf};
use super::read::{Reading, any_record, read, seal};
use super::{Event, Fsync, Options, failed, segment_name, segment_number, snapshot, unsynced};
use crate::numbers::limits::{JOURNAL_RECORD_MAX, JOURNAL_SEGMENT_BYTES_MAX, JOURNAL_SEGMENTS_MAX};
use crate::numbers::{Error, ErrorKind, Result};

/// Bytes that are kept back before they are given to the system, where nothing asks for more.
const BUFFER: usize = 64 << 10;

impl Options {
    fn check(self) -> Result<()> {
        if self.segment_bytes <= JOURNAL_SEGMENT_BYTES_MAX {
            return Ok(());
        }
        let limit = format!("at most {JOURNAL_SEGMENT_BYTES_MAX}");
        Err(Error::new(ErrorKind::OutOfRange, "segment_bytes", self.segment_bytes, limit))
    }
}

/// Refuses what would not be read again.
fn within(bytes: &[u8], what: &str) -> Result<()> {
    if bytes.len() <= JOURNAL_RECORD_MAX {
        return Ok(());
    }
    let limit = format!("at most {JOURNAL_RECORD_MAX} bytes");
    Err(Error::new(ErrorKind::LimitExceeded, what, bytes.len(), limit))
}

/// A journal that is being written.
pub struct Journal {
    disk: Box<dyn Disk>,
    options: Options,
    about: Vec<u8>,
    segment: u64,
    name: String,
    /// How many bytes of the segment the system has.
    written: u64,
    /// What the system does not have yet.
    buffer: Vec<u8>,
    /// How many of the events in it nobody has asked to last.
    waiting: u32,
    /// How many events outlive a crash.
    lasting: u64,
    events: u64,
    head: Hash,
    tree: Tree,
    root: Hash,
    /// Why nothing more is written.
    stopped: Option<String>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("segment", &self.name)
            .field("events", &self.events)
            .field("fsync", &self.options.fsync)
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// A new journal; `about` says what it is of.
    ///
    /// # Errors
    /// `journal_io`; `duplicate_key` where one is there already; `limit_exceeded` for an `about` that is too long; `out_of_range`
    /// for segments that are.
    pub fn create(mut disk: Box<dyn Disk>, about: &[u8], options: Options) -> Result<Self> {
        within(about, "about")?;
        options.check()?;
        let mut names = disk.list().map_err(|error| failed("list", "the journal", &error))?;
        names.retain(|name| segment_number(name).is_some() || name.ends_with(snapshot::SUFFIX));
        for name in names.iter().filter(|name| segment_number(name).is_some()) {
            let bytes = disk.read(name).map_err(|error| failed("read", name, &error))?;
            // A head that never became whole was never answered for.
            if names.len() > 1 || Head::get(&bytes).is_some() || any_record(&bytes, 0, 0) {
                let limit = "a journal is there already: open it, or take another directory";
                return Err(Error::new(ErrorKind::DuplicateKey, "journal", name, limit));
            }
            disk.remove(name).map_err(|error| failed("remove", name, &error))?;
        }
        let mut journal = Self {
            disk,
            options,
            about: about.to_vec(),
            segment: 0,
            name: segment_name(0),
            written: 0,
            buffer: Vec::with_capacity(2 * BUFFER),
            waiting: 0,
            lasting: 0,
            events: 0,
            head: frame::genesis(about),
            tree: Tree::default(),
            root: [0; 32],
            stopped: None,
        };
        journal.begin()?;
        Ok(journal)
    }

    /// Goes on with a journal: what is torn at its end is cut, and told; `each` gets its events.
    ///
    /// # Errors
    /// Those of [`read`]; `journal_io`; `out_of_range` for segments that are too long.
    pub fn open(
        disk: Box<dyn Disk>,
        options: Options,
        each: &mut dyn FnMut(Event<'_>, Hash) -> Result<()>,
        state: &mut dyn FnMut(u64, Hash) -> Result<()>,
    ) -> Result<(Self, Reading)> {
        options.check()?;
        let found = read(disk.as_ref(), each, state)?;
        Self::resume(disk, options, found)
    }

    /// Goes on with a journal that was just read.
    pub(in crate::engine) fn resume(
        disk: Box<dyn Disk>,
        options: Options,
        found: Reading,
    ) -> Result<(Self, Reading)> {
        options.check()?;
        let sealed = u64::try_from(found.roots.len()).unwrap_or(u64::MAX);
        let (segment, written) = found.open.unwrap_or((sealed, 0));
        let mut journal = Self {
            disk,
            options,
            about: found.about.clone(),
            segment,
            name: segment_name(segment),
            written,
            buffer: Vec::with_capacity(2 * BUFFER),
            waiting: 0,
            lasting: found.events,
            events: found.events,
            head: found.head,
            tree: found.tree.clone(),
            root: found.roots.last().copied().unwrap_or([0; 32]),
            stopped: None,
        };
        journal.settle(&found)?;
        if found.open.is_none() {
            journal.tree.clear();
            journal.begin()?;
        }
        Ok((journal, found))
    }

    /// Cuts what is torn, and makes all that was found last: whoever wrote it may have died before its sync.
    fn settle(&mut self, found: &Reading) -> Result<()> {
        let Self { disk, name, segment, .. } = self;
        let end = match (&found.torn, found.open) {
            (Some(torn), Some(_)) => {
                disk.truncate(name, torn.at).map_err(|error| failed("cut", name, &error))?;
                Some(*segment)
            }
            (Some(_), None) => {
                disk.remove(name).map_err(|error| failed("remove", name, &error))?;
                segment.checked_sub(1)
            }
            (None, Some(_)) => Some(*segment),
            (None, None) => segment.checked_sub(1),
        };
        if let Some(end) = end.map(segment_name) {
            disk.sync(&end).map_err(|error| failed("sync", &end, &error))?;
        }
        disk.sync_names().map_err(|error| failed("sync", "the directory", &error))
    }

    /// Starts the segment that is next.
    fn begin(&mut self) -> Result<()> {
        if self.segment >= JOURNAL_SEGMENTS_MAX {
            let limit = format!("at most {JOURNAL_SEGMENTS_MAX} segments");
            let error = Error::new(ErrorKind::LimitExceeded, "journal", self.segment + 1, limit);
            self.stopped = Some(error.to_string());
            return Err(error);
        }
        let head = Head {
            number: self.segment,
            first: self.events,
            chain: self.head,
            root: self.root,
            about: self.about.clone(),
        };
        let bytes = head.bytes();
        let Self { disk, name, .. } = self;
        let made = disk
            .create(name)
            .and_then(|()| disk.append(name, &bytes))
            .and_then(|()| disk.sync(name))
            .and_then(|()| disk.sync_names());
        if let Err(error) = made {
            let error = failed("begin", name, &error);
            self.stopped = Some(error.to_string());
            return Err(error);
        }
        self.written = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// How many events it holds.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many of them outlive a crash of the machine: those may be answered for.
    #[must_use]
    pub fn lasting(&self) -> u64 {
        self.lasting
    }

    /// The head of the chain after all of them.
    #[must_use]
    pub fn head(&self) -> Hash {
        self.head
    }

    /// What it is of.
    #[must_use]
    pub fn about(&self) -> &[u8] {
        &self.about
    }

    /// How it is written.
    #[must_use]
    pub fn options(&self) -> Options {
        self.options
    }

    /// Why nothing more is written, if that is so.
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// Where it is.
    pub fn disk_mut(&mut self) -> &mut dyn Disk {
        self.disk.as_mut()
    }

    fn may_write(&self) -> Result<()> {
        match &self.stopped {
            None => Ok(()),
            Some(why) => {
                let limit = "nothing more is written: open the journal again";
                Err(Error::new(ErrorKind::ReadOnly, "journal", why, limit))
            }
        }
    }

    /// Appends an event; its position. Under [`Fsync::Always`] it lasts when this returns.
    ///
    /// # Errors
    /// `limit_exceeded` for one that is too long; `journal_io`: the event is not in the journal then; `read_only` once a sync, or the cut
    /// after a failed write, has failed.
    pub fn append(&mut self, payload: &[u8]) -> Result<u64> {
        self.may_write()?;
        within(payload, "event")?;
        let before = (self.head, self.buffer.len());
        let leaf = leaf(payload);
        frame::put(Kind::Event, self.events, payload, &mut self.buffer);
        self.head = frame::chained(&self.head, &leaf);
        self.events += 1;
        self.waiting += 1;
        let due = match self.options.fsync {
            Fsync::Always => true,
            Fsync::Batch(count) => self.waiting >= count.get(),
            Fsync::Never => false,
        };
        let done = if due { self.commit() } else { self.spill() };
        if let Err(error) = done {
            // The event is as if it had never been told; those before it stay.
            (self.head, self.events) = (before.0, self.events - 1);
            self.waiting = self.waiting.saturating_sub(1);
            self.buffer.truncate(before.1);
            return Err(error);
        }
        self.tree.push(leaf);
        let position = self.events - 1;
        if self.written + u64::try_from(self.buffer.len()).unwrap_or(0) > self.options.segment_bytes
        {
            self.roll();
        }
        Ok(position)
    }

    /// Appends the hash of the state after the events so far.
    ///
    /// # Errors
    /// `read_only`.
    pub fn append_state(&mut self, hash: &Hash) -> Result<()> {
        self.may_write()?;
        frame::put(Kind::State, self.events, hash, &mut self.buffer);
        Ok(())
    }

    /// Makes everything last that was appended.
    ///
    /// # Errors
    /// `journal_io`, `read_only`.
    pub fn flush(&mut self) -> Result<()> {
        self.may_write()?;
        if self.buffer.is_empty() && self.waiting == 0 {
            return Ok(());
        }
        self.commit()
    }

    /// Gives the system what is kept back, once it is enough.
    fn spill(&mut self) -> Result<()> {
        if self.buffer.len() < BUFFER { Ok(()) } else { self.write() }
    }

    fn commit(&mut self) -> Result<()> {
        let before = self.buffer.len();
        frame::put(Kind::Commit, self.events, &self.head, &mut self.buffer);
        if let Err(error) = self.write() {
            self.buffer.truncate(before);
            return Err(error);
        }
        self.sync()
    }

    fn write(&mut self) -> Result<()> {
        let Self { disk, name, buffer, written, .. } = self;
        if let Err(error) = disk.append(name, buffer) {
            let error = failed("append to", name, &error);
            // The cut must last too: else a crash could bring back what is refused here.
            let cut = disk.truncate(name, *written).and_then(|()| disk.sync(name));
            if let Err(second) = cut {
                self.stopped = Some(format!("{error}; and it could not be cut: {second}"));
            }
            return Err(error);
        }
        *written += u64::try_from(buffer.len()).unwrap_or(0);
        buffer.clear();
        Ok(())
    }

    /// A sync that has failed is not tried again: the system may have dropped what it did not write.
    fn sync(&mut self) -> Result<()> {
        if let Err(error) = self.disk.sync(&self.name) {
            let error = unsynced(&self.name, &error);
            self.stopped = Some(error.to_string());
            return Err(error);
        }
        (self.waiting, self.lasting) = (0, self.events);
        Ok(())
    }

    /// Seals the segment and begins the next. The event that filled it is in the journal whatever comes of this.
    fn roll(&mut self) {
        let sealed = seal(&self.tree, &self.head);
        frame::put(Kind::Seal, self.events, &sealed, &mut self.buffer);
        let done = self.write().and_then(|()| self.sync());
        if let Err(error) = done {
            self.stopped = Some(error.to_string());
            return;
        }
        self.root = self.tree.root();
        self.tree.clear();
        self.segment += 1;
        self.name = segment_name(self.segment);
        // What it says when it fails is kept, and told with the next event.
        let _ = self.begin();
    }
}

impl Drop for Journal {
    /// What was kept back is given to the system, as far as that goes.
    fn drop(&mut self) {
        if self.stopped.is_none() && !self.buffer.is_empty() {
            let _ = self.commit();
        }
    }
}

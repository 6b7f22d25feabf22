//! The journal without an engine: power cuts at any operation, processes that die between two of them, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aivora::engine::journal::sim::{Fault, SimDisk};
use aivora::engine::journal::{Disk, Event, FileDisk, Fsync, Journal, Options, Reading, hex, read};
use aivora::numbers::{Error, ErrorKind, Result};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

const ABOUT: &[u8] = b"a test";
/// Without optimisation fewer: CI runs these tests with it too.
const CUTS: u64 = if cfg!(debug_assertions) { 1_000 } else { 40_000 };
/// So many operations in a row fail once the power is gone.
const NO_POWER: u64 = 64;

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// An event that no other attempt at any position equals.
fn payload(attempt: u64) -> Vec<u8> {
    let length = usize::try_from(Dice(attempt).below(50)).unwrap();
    [attempt.to_le_bytes().to_vec(), vec![7; length]].concat()
}

fn open(disk: &SimDisk, options: Options) -> Result<(Journal, Reading)> {
    Journal::open(Box::new(disk.clone()), options, &mut |_, _| Ok(()), &mut |_, _| Ok(()))
}

fn create(disk: &SimDisk, options: Options) -> Result<Journal> {
    Journal::create(Box::new(disk.clone()), ABOUT, options)
}

fn contents(disk: &SimDisk) -> Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    read(
        disk,
        &mut |event, _| {
            all.push(event.payload.to_vec());
            Ok(())
        },
        &mut |_, _| Ok(()),
    )?;
    Ok(all)
}

fn journal_error(error: &Error) {
    let known = [ErrorKind::JournalIo, ErrorKind::ReadOnly];
    assert!(known.contains(&error.kind()), "{error}");
}

/// What one writer was told and was answered, over several processes.
#[derive(Debug, Default)]
struct Told {
    /// The events that were taken, in order.
    taken: Vec<Vec<u8>>,
    /// The one that was refused last, at the end of those.
    refused: Option<Vec<u8>>,
    /// So many of them were said to outlive a crash.
    lasting: usize,
    attempts: u64,
    /// Whether the journal exists: its creation was answered.
    created: bool,
}

impl Told {
    fn append(&mut self, journal: &mut Journal) {
        let event = payload(self.attempts);
        self.attempts += 1;
        match journal.append(&event) {
            Ok(position) => {
                assert_eq!(position, u64::try_from(self.taken.len()).unwrap());
                self.taken.push(event);
                self.refused = None;
            }
            Err(error) => {
                journal_error(&error);
                // It may be there only if the journal then takes nothing more.
                if error.kind() == ErrorKind::JournalIo && journal.stopped().is_some() {
                    self.refused = Some(event);
                }
            }
        }
        self.lasts(journal);
    }

    fn lasts(&mut self, journal: &Journal) {
        assert_eq!(journal.events(), u64::try_from(self.taken.len()).unwrap());
        let lasting = usize::try_from(journal.lasting()).unwrap();
        assert!(lasting <= self.taken.len());
        self.lasting = self.lasting.max(lasting);
    }

    /// What a disk holds must be a prefix of what was told, with all that was answered for.
    fn holds(&self, found: &[Vec<u8>], least: usize, seed: u64) {
        assert!(found.len() >= least, "{seed}: {} of {least} are left", found.len());
        let all: Vec<_> = self.taken.iter().chain(&self.refused).collect();
        assert!(found.len() <= all.len(), "{seed}: {} of {}", found.len(), all.len());
        for (position, (own, told)) in found.iter().zip(&all).enumerate() {
            assert_eq!(own, *told, "{seed}: other content at {position}");
        }
    }

    /// Another process takes over: with what the disk holds it starts.
    fn take_over(&mut self, disk: &SimDisk, options: Options, seed: u64) -> Option<Journal> {
        match open(disk, options) {
            Ok((journal, found)) => {
                let contents = contents(disk).unwrap();
                assert_eq!(u64::try_from(contents.len()).unwrap(), found.events);
                self.holds(&contents, self.lasting, seed);
                self.taken = contents;
                self.refused = None;
                self.created = true;
                self.lasts(&journal);
                Some(journal)
            }
            Err(error) if error.kind() == ErrorKind::JournalIo => None,
            Err(error) => {
                assert!(!self.created, "{seed}: {error}");
                let journal = create(disk, options);
                journal.ok().inspect(|_| self.created = true)
            }
        }
    }
}

fn drawn(dice: &mut Dice) -> Options {
    let fsync = [Fsync::Always, Fsync::Batch(NonZeroU32::new(3).unwrap()), Fsync::Never];
    let fsync = fsync[usize::try_from(dice.below(3)).unwrap()];
    Options { fsync, segment_bytes: 200 + dice.below(600) }
}

/// Lets every operation fail from some draw on: the process is gone, or the power.
fn dies_at(disk: &SimDisk, dice: &mut Dice) -> u64 {
    let nth = dice.below(60);
    disk.fail(nth, if dice.below(2) == 0 { Fault::Short } else { Fault::Broken });
    (nth + 1..nth + NO_POWER).for_each(|nth| disk.fail(nth, Fault::Broken));
    disk.operations() + nth
}

/// A writer whose processes die within operations; the last of them as the power is cut.
fn until_the_power_is_cut(disk: &SimDisk, seed: u64) -> Told {
    let mut dice = Dice(seed);
    let options = drawn(&mut dice);
    let mut told = Told::default();
    for _ in 0..=dice.below(4) {
        disk.heal();
        let end = dies_at(disk, &mut dice);
        let mut journal = told.take_over(disk, options, seed);
        while let Some(own) = &mut journal
            && disk.operations() <= end
        {
            told.append(own);
            if dice.below(12) == 0 {
                own.flush().unwrap_or_else(|error| journal_error(&error));
                told.lasts(own);
            }
        }
        // As a kill leaves it: nothing is written any more.
        std::mem::forget(journal);
    }
    told
}

#[test]
fn power_cut_within_any_operation_of_any_process() {
    let mut torn = 0;
    for seed in 0..CUTS {
        let disk = SimDisk::new();
        let mut told = until_the_power_is_cut(&disk, seed);
        disk.crash(seed);
        let options = drawn(&mut Dice(seed));
        torn += u64::from(read_torn(&disk));
        let mut journal = told.take_over(&disk, options, seed).unwrap();
        (0..10).for_each(|_| told.append(&mut journal));
        journal.flush().unwrap();
        drop(journal);
        assert_eq!(contents(&disk).unwrap(), told.taken, "{seed}");
    }
    assert!(torn > CUTS / 50, "{torn} were torn");
}

fn read_torn(disk: &SimDisk) -> bool {
    let found = read(disk, &mut |_, _| Ok(()), &mut |_, _| Ok(()));
    found.is_ok_and(|found| found.torn.is_some())
}

#[test]
fn refused_event_does_not_come_back() {
    // A full disk writes the event and not what follows it; then there is room again, and then no power.
    for seed in 0..2_000 {
        for fsync in [Fsync::Always, Fsync::Batch(NonZeroU32::new(3).unwrap())] {
            let disk = SimDisk::new();
            let mut journal = create(&disk, Options { fsync, segment_bytes: 1 << 20 }).unwrap();
            let mut told = Told { created: true, attempts: 10 * seed, ..Told::default() };
            (0..4).for_each(|_| told.append(&mut journal));
            disk.fail(0, Fault::Short);
            (0..=seed % 4).for_each(|_| told.append(&mut journal));
            if seed % 8 > 3 {
                journal.flush().unwrap_or_else(|error| journal_error(&error));
                told.lasts(&journal);
            }
            std::mem::forget(journal);
            disk.crash(seed);
            told.holds(&contents(&disk).unwrap(), told.lasting, seed);
        }
    }
}

#[test]
fn killed_writer_and_then_a_power_cut() {
    // A process is killed before its sync; the next one may say only of what it has synced that it lasts.
    let options = Options { fsync: Fsync::Never, segment_bytes: 1 << 20 };
    for seed in 0..50 {
        let disk = SimDisk::new();
        let mut journal = create(&disk, options).unwrap();
        let mut told = Told { created: true, ..Told::default() };
        // Enough for the journal to give the system some of it unasked.
        (0..2_000).for_each(|_| told.append(&mut journal));
        std::mem::forget(journal);
        let journal = told.take_over(&disk, options, seed).unwrap();
        assert!(journal.lasting() > 500);
        told.lasts(&journal);
        std::mem::forget(journal);
        disk.crash(seed);
        told.holds(&contents(&disk).unwrap(), told.lasting, seed);
    }
}

#[test]
fn what_could_not_be_read_is_not_written() {
    let long = vec![0; aivora::numbers::limits::JOURNAL_RECORD_MAX + 1];
    let disk = SimDisk::new();
    let error = Journal::create(Box::new(disk.clone()), &long, Options::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(disk.list().unwrap().is_empty());
    let options = Options { segment_bytes: u64::MAX, ..Options::default() };
    assert_eq!(create(&disk, options).unwrap_err().kind(), ErrorKind::OutOfRange);
    for text in
        ["", "batch", "batch:0", "batch:+1", "batch:01", "batch:-1", "Always", "batch:4294967296"]
    {
        assert_eq!(Fsync::parse(text).unwrap_err().kind(), ErrorKind::OutOfRange, "{text}");
    }
    let mut journal = create(&disk, Options::default()).unwrap();
    assert_eq!(journal.append(&long).unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert_eq!(journal.append(b"short").unwrap(), 0);
    drop(journal);
    assert_eq!(contents(&disk).unwrap(), [b"short"]);
}

#[test]
fn journal_that_is_there_is_not_overwritten() {
    let disk = SimDisk::new();
    drop(create(&disk, Options::default()).unwrap());
    assert_eq!(create(&disk, Options::default()).unwrap_err().kind(), ErrorKind::DuplicateKey);
    // A head that was never whole is nothing, whatever else lies there.
    let disk = SimDisk::new();
    disk.put("README", b"what this directory is for".to_vec());
    disk.put("0000000000.journal", b"AIVOR".to_vec());
    assert_eq!(create(&disk, Options::default()).unwrap().events(), 0);
}

#[test]
fn damaged_tail_is_judged_in_bounded_time() {
    // Bytes that look like the start of a long record at every place.
    let disk = SimDisk::new();
    let mut journal = create(&disk, Options::default()).unwrap();
    journal.append(b"an event").unwrap();
    drop(journal);
    let name = "0000000000.journal";
    for pattern in [vec![1; 17], b"\0\0\x80\0aaaa\x01\x02\0\0\0\0\0\0\0".to_vec()] {
        let mut bytes = disk.bytes(name).unwrap();
        bytes.extend(pattern.iter().cycle().take(1 << 18));
        let other = SimDisk::new();
        other.put(name, bytes);
        let start = std::time::Instant::now();
        match contents(&other) {
            Ok(found) => assert_eq!(found, [b"an event"]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::JournalCorrupt),
        }
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }
}

#[test]
fn reader_does_not_write() {
    let root = std::env::temp_dir().join(format!("aivora-reader-{}/a/b", std::process::id()));
    assert!(FileDisk::reader(&root).is_err(), "no such directory");
    let disk = Box::new(FileDisk::writer(&root).unwrap());
    drop(Journal::create(disk, ABOUT, Options::default()).unwrap());
    let name = "0000000000.journal";
    let before = std::fs::read(root.join(name)).unwrap();
    let mut disk = FileDisk::reader(&root).unwrap();
    assert_eq!(disk.list().unwrap(), [name]);
    for refused in [
        disk.create("other"),
        disk.append(name, b"bytes"),
        disk.truncate(name, 0),
        disk.rename(name, "other"),
        disk.remove(name),
    ] {
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    }
    let opened =
        Journal::open(Box::new(disk), Options::default(), &mut |_, _| Ok(()), &mut |_, _| Ok(()));
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::JournalIo);
    assert_eq!(std::fs::read(root.join(name)).unwrap(), before);
    std::fs::remove_dir_all(root.parent().unwrap().parent().unwrap()).unwrap();
}

const GOLDEN: [(usize, &str); 3] = [
    (587, "976345cf148c41e64dac4a27e5bee69bdefb3dd7aaea364bb41057cd23cab712"),
    (505, "5690009740c7fc2bd86c43b82a532c217767bd35deb9aaa2765add87f719d626"),
    (130, "eef9eb73680caeaa93d7e3efc9e2c4fa19d62f0e489c1f2f6ebf3b29b57ec615"),
];
const GOLDEN_HEAD: &str = "a2c103e54c4035c344355ed7c65b9dfee2527c3b4433f37ce1d1b9348ca67976";

const KILLED: &str = "AIVORA_TEST_STORAGE";
const POLICIES: [&str; 3] = ["always", "batch:3", "none"];

/// The journal of a directory: that which is there, or a new one where none was ever whole.
fn taken_over(root: &Path, fsync: &str) -> Journal {
    let options = Options { fsync: Fsync::parse(fsync).unwrap(), segment_bytes: 700 };
    let disk = || Box::new(FileDisk::writer(root).unwrap());
    let opened = Journal::open(disk(), options, &mut |_, _| Ok(()), &mut |_, _| Ok(()));
    match opened {
        Ok((journal, _)) => journal,
        Err(_) => Journal::create(disk(), ABOUT, options).unwrap(),
    }
}

/// The process that is killed: it says how many of its events last. Without its directory it does nothing.
#[test]
fn storage_writer_that_is_killed() {
    let Ok(task) = std::env::var(KILLED) else { return };
    let (fsync, root) = task.split_once(' ').unwrap();
    let mut journal = taken_over(root.as_ref(), fsync);
    let mut out = std::io::stdout().lock();
    let mut said = 0;
    for _ in 0..400 {
        journal.append(&payload(journal.events())).unwrap();
        if journal.lasting() > said {
            said = journal.lasting();
            writeln!(out, "lasting {said}").unwrap();
            out.flush().unwrap();
        }
    }
}

fn writer(root: &Path, fsync: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "storage_writer_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(KILLED, format!("{fsync} {}", root.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills a writer after some of its answers, or some time after its start; how many events it said would last.
fn killed(root: &Path, fsync: &str, dice: &mut Dice) -> u64 {
    let start = Instant::now();
    let mut child = writer(root, fsync);
    let mut lines =
        BufReader::new(child.stdout.take().unwrap()).lines().map_while(std::result::Result::ok);
    let mut lasting = 0;
    let mut note = |line: String| {
        let at = line.find("lasting ");
        lasting = at.map_or(lasting, |at| line[at + 8..].parse().unwrap());
        at.is_some()
    };
    if dice.below(2) == 0 {
        let wait = Duration::from_micros(dice.below(5_000));
        std::thread::sleep(wait.saturating_sub(start.elapsed()));
    } else {
        let mut left = dice.below(25);
        while left > 0
            && let Some(line) = lines.next()
        {
            left -= u64::from(note(line));
        }
    }
    child.kill().unwrap();
    // What it had said when it died is still in the pipe; its last line may be cut.
    let rest: Vec<String> = lines.collect();
    for line in rest {
        note(line);
    }
    child.wait().unwrap();
    lasting
}

#[test]
fn two_hundred_killed_writers() {
    let mut dice = Dice(8);
    let mut longest = 0;
    for round in 0..21_usize {
        let fsync = POLICIES[round % 3];
        let root =
            std::env::temp_dir().join(format!("aivora-storage-{}-{round}", std::process::id()));
        let mut before = 0;
        for _ in 0..10 {
            let lasting = killed(&root, fsync, &mut dice).max(before);
            let found = FileDisk::reader(&root).map_err(drop).and_then(|disk| {
                let mut each = |event: Event<'_>, _| {
                    assert_eq!(event.payload, payload(event.position));
                    Ok(())
                };
                read(&disk, &mut each, &mut |_, _| Ok(())).map_err(drop)
            });
            let events = found.map(|found| found.events);
            // Before anything was answered for there may be no journal yet.
            before = events.unwrap_or(0);
            assert!(before >= lasting, "{fsync}: {before} of {lasting}");
            longest = longest.max(before);
        }
        let mut journal = taken_over(&root, fsync);
        assert_eq!(journal.append(&payload(before)).unwrap(), before);
        drop(journal);
        std::fs::remove_dir_all(&root).unwrap();
    }
    assert!(longest > 50, "{longest}");
}

#[test]
fn format_is_pinned() {
    // The digests are of bytes that a program in another language wrote from the page of the format alone.
    let disk = SimDisk::new();
    let options = Options { fsync: Fsync::Always, segment_bytes: 400 };
    let mut journal = create(&disk, options).unwrap();
    for nth in 0..8 {
        journal.append(&vec![nth; usize::from(nth)]).unwrap();
        if nth == 2 {
            journal.append_state(&[9; 32]).unwrap();
            journal.flush().unwrap();
        }
    }
    assert_eq!(hex(&journal.head()), GOLDEN_HEAD);
    drop(journal);
    let names = disk.list().unwrap();
    let digests = names.iter().map(|name| {
        let bytes = disk.bytes(name).unwrap();
        (bytes.len(), hex(&Sha256::digest(&bytes).into()))
    });
    assert!(digests.eq(GOLDEN.map(|(length, digest)| (length, digest.to_owned()))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        lengths in prop::collection::vec(prop_oneof![0..80_usize, 0..9_000_usize], 0..60),
        policy in 0..3_usize,
        segment_bytes in prop_oneof![0..3_000_u64, Just(1 << 20)],
        turns in prop::collection::vec(0..60_usize, 0..6),
    ) {
        let options = Options { fsync: Fsync::parse(POLICIES[policy]).unwrap(), segment_bytes };
        prop_assert_eq!(options.fsync.to_string(), POLICIES[policy]);
        let disk = SimDisk::new();
        let mut journal = create(&disk, options).unwrap();
        let mut told = Vec::new();
        for (nth, length) in lengths.iter().enumerate() {
            if turns.contains(&nth) {
                let (events, head) = (journal.events(), journal.head());
                drop(journal);
                let found;
                (journal, found) = open(&disk, options).unwrap();
                prop_assert_eq!((found.events, found.head, found.torn), (events, head, None));
            }
            told.push(vec![u8::try_from(nth).unwrap(); *length]);
            journal.append(told.last().unwrap()).unwrap();
        }
        let head = journal.head();
        drop(journal);
        prop_assert_eq!(contents(&disk).unwrap(), told);
        prop_assert_eq!(open(&disk, options).unwrap().1.head, head);
    }
}

//! The journal under damage, crashes and kills: what comes back is a prefix of what was told, or a refusal.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod engine_world;

use std::io::{BufRead, BufReader, Write};
use std::num::NonZeroU32;
use std::process::{Command, Stdio};

use aivora::engine::journal::sim::{Fault, SimDisk};
use aivora::engine::journal::{Disk, FileDisk, Fsync, Journal, Options, read, snapshot};
use aivora::engine::{Engine, Event, State};
use aivora::numbers::{Error, ErrorKind};
use engine_world::{Dice, World};
use proptest::prelude::*;

/// The nth event of every journal here.
fn payload(nth: u64) -> Vec<u8> {
    let mut dice = Dice::new(nth);
    (0..dice.below(60)).map(|_| u8::try_from(dice.below(256)).unwrap()).collect()
}

fn options(fsync: Fsync, segment_bytes: u64) -> Options {
    Options { fsync, segment_bytes }
}

const SMALL: u64 = 500;
/// Without optimisation fewer: CI runs these tests with it too.
const CRASHES: u64 = if cfg!(debug_assertions) { 400 } else { 5_000 };
const KILLS: usize = if cfg!(debug_assertions) { 16 } else { 200 };
const BATCH: Fsync = Fsync::Batch(NonZeroU32::new(4).unwrap());

fn create(disk: &SimDisk, options: Options) -> Result<Journal, Error> {
    Journal::create(Box::new(disk.clone()), b"a test", options)
}

/// How many events a journal gives back, all of them as they were told.
fn events(disk: &SimDisk) -> Result<u64, Error> {
    let mut count = 0;
    let found = read(
        disk,
        &mut |event, _| {
            assert_eq!(event.payload, payload(event.position), "other content");
            assert_eq!(event.position, count);
            count += 1;
            Ok(())
        },
        &mut |_, _| Ok(()),
    )?;
    assert_eq!(found.events, count);
    Ok(count)
}

/// Opens it again, goes on, and reads all of it.
fn goes_on(disk: &SimDisk, fsync: Fsync) -> Result<u64, Error> {
    let before = events(disk)?;
    let opened = Journal::open(
        Box::new(disk.clone()),
        options(fsync, SMALL),
        &mut |_, _| Ok(()),
        &mut |_, _| Ok(()),
    );
    let (mut journal, found) = opened?;
    assert_eq!(found.events, before);
    for nth in before..before + 20 {
        assert_eq!(journal.append(&payload(nth)).unwrap(), nth);
    }
    drop(journal);
    assert_eq!(events(disk).unwrap(), before + 20);
    Ok(before)
}

/// A journal of several segments, and its files.
fn written(count: u64, fsync: Fsync) -> (SimDisk, Vec<(String, Vec<u8>)>) {
    let disk = SimDisk::new();
    let mut journal = create(&disk, options(fsync, SMALL)).unwrap();
    for nth in 0..count {
        journal.append(&payload(nth)).unwrap();
    }
    drop(journal);
    let files = disk.list().unwrap().into_iter().map(|name| {
        let bytes = disk.bytes(&name).unwrap();
        (name, bytes)
    });
    let files: Vec<_> = files.collect();
    assert!(files.len() > 2, "several segments");
    (disk, files)
}

fn damaged(files: &[(String, Vec<u8>)]) -> SimDisk {
    let disk = SimDisk::new();
    for (name, bytes) in files {
        disk.put(name, bytes.clone());
    }
    disk
}

fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::JournalCorrupt | ErrorKind::JournalVersion)
        && !error.details().field.is_empty()
}

#[test]
fn what_is_written_is_read_under_every_policy() {
    for fsync in [Fsync::Always, BATCH, Fsync::Never] {
        let (disk, files) = written(80, fsync);
        assert_eq!(goes_on(&disk, fsync).unwrap(), 80);
        // A flush is enough: nothing has to be dropped.
        let disk = damaged(&files);
        let (mut journal, _) = Journal::open(
            Box::new(disk.clone()),
            options(fsync, SMALL),
            &mut |_, _| Ok(()),
            &mut |_, _| Ok(()),
        )
        .unwrap();
        journal.append(&payload(80)).unwrap();
        journal.flush().unwrap();
        assert_eq!(events(&disk).unwrap(), 81);
    }
}

#[test]
fn cut_at_every_byte() {
    let (_, files) = written(60, Fsync::Always);
    let (name, last) = files.last().unwrap();
    let whole: u64 = 60;
    for length in 0..last.len() {
        let disk = damaged(&files);
        disk.put(name, last[..length].to_vec());
        let found = goes_on(&disk, Fsync::Always);
        assert!(found.is_ok_and(|found| found <= whole), "cut to {length}");
    }
    // A segment before the last may not be cut, and none may be missing.
    for (name, bytes) in &files[..files.len() - 1] {
        for length in 0..bytes.len() {
            let disk = damaged(&files);
            disk.put(name, bytes[..length].to_vec());
            assert!(is_refusal(&events(&disk).unwrap_err()), "{name} cut to {length}");
        }
        let disk = damaged(&files);
        disk.forget(name);
        assert!(events(&disk).is_err(), "{name} missing");
    }
}

#[test]
fn every_bit_flipped() {
    let (_, files) = written(24, Fsync::Always);
    let mut prefixes = 0;
    for (at, (name, bytes)) in files.iter().enumerate() {
        for bit in 0..bytes.len() * 8 {
            let disk = damaged(&files);
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            disk.put(name, other);
            match events(&disk) {
                Err(error) => assert!(is_refusal(&error), "{error}"),
                // Only the very last record of all may be taken for torn.
                Ok(found) => {
                    assert!(at == files.len() - 1 && found >= 23, "{name} bit {bit}: {found}");
                    prefixes += 1;
                }
            }
        }
    }
    assert!(prefixes > 0);
}

/// The records of a segment after its head.
fn records(bytes: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let about = u32::from_le_bytes(bytes[88..92].try_into().unwrap());
    let start = 92 + usize::try_from(about).unwrap() + 32;
    let (head, mut rest) = bytes.split_at(start);
    let mut all = Vec::new();
    while !rest.is_empty() {
        let length =
            17 + usize::try_from(u32::from_le_bytes(rest[..4].try_into().unwrap())).unwrap();
        all.push(rest[..length].to_vec());
        rest = &rest[length..];
    }
    (head.to_vec(), all)
}

#[test]
fn records_doubled_dropped_and_exchanged() {
    let (_, files) = written(40, BATCH);
    let (name, bytes) = &files[1];
    let (head, all) = records(bytes);
    let with = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut other = all.clone();
        change(&mut other);
        let disk = damaged(&files);
        disk.put(name, [head.clone(), other.concat()].concat());
        events(&disk)
    };
    assert_eq!(with(&|_| {}).unwrap(), 40);
    for at in 0..all.len() {
        let doubled = with(&|all| all.insert(at, all[at].clone()));
        let is_commit = all[at][8] == 2;
        // A commit says nothing new: twice it is once.
        assert!(is_commit || is_refusal(&doubled.unwrap_err()), "doubled {at}");
        let dropped = with(&|all| drop(all.remove(at)));
        assert!(is_commit || is_refusal(&dropped.unwrap_err()), "dropped {at}");
        for other in 0..at {
            let exchanged = with(&|all| all.swap(at, other));
            assert!(is_refusal(&exchanged.unwrap_err()), "exchanged {at} and {other}");
        }
    }
    for (a, b) in [(0, 1), (1, 2)] {
        let disk = damaged(&files);
        disk.put(&files[a].0, files[b].1.clone());
        disk.put(&files[b].0, files[a].1.clone());
        assert!(is_refusal(&events(&disk).unwrap_err()));
    }
}

/// Events that a crash took though they had been answered for, over many crashes.
fn lost(fsync: Fsync) -> u64 {
    let mut lost = 0;
    for seed in 0..CRASHES {
        let mut dice = Dice::new(seed);
        let disk = SimDisk::new();
        let mut told = 0;
        let mut lasting = 0;
        if let Ok(mut journal) = create(&disk, options(fsync, SMALL)) {
            for nth in 0..dice.below(40) {
                journal.append(&payload(nth)).unwrap();
                told = nth + 1;
                lasting = journal.lasting();
                let behind = match fsync {
                    Fsync::Always => 0,
                    Fsync::Batch(count) => u64::from(count.get()) - 1,
                    Fsync::Never => told,
                };
                assert!(lasting + behind >= told && lasting <= told);
            }
            std::mem::forget(journal);
        }
        disk.crash(seed);
        let found = goes_on(&disk, fsync).unwrap_or_else(|error| panic!("{seed}: {error}"));
        assert!(found <= told);
        lost += lasting.saturating_sub(found);
    }
    lost
}

#[test]
fn a_crash_takes_nothing_that_was_answered_for() {
    assert_eq!(lost(Fsync::Always), 0);
    assert_eq!(lost(BATCH), 0);
    assert_eq!(lost(Fsync::Never), 0);
}

#[test]
fn without_the_sync_a_crash_takes_what_was_answered_for() {
    // What shows that the test above can fail: the same with a disk that only says that it syncs.
    let disk = SimDisk::new();
    let mut journal = create(&disk, options(Fsync::Always, 1 << 20)).unwrap();
    disk.lie();
    for nth in 0..50 {
        journal.append(&payload(nth)).unwrap();
    }
    std::mem::forget(journal);
    disk.crash(3);
    assert!(events(&disk).unwrap() < 50);
}

#[test]
fn every_operation_may_fail() {
    for fsync in [Fsync::Always, BATCH, Fsync::Never] {
        for fault in [Fault::Full, Fault::Broken, Fault::Short] {
            for nth in 0..120 {
                let disk = SimDisk::new();
                let mut journal = create(&disk, options(fsync, SMALL)).unwrap();
                disk.fail(nth, fault);
                let mut told = 0;
                for _ in 0..60 {
                    match journal.append(&payload(told)) {
                        Ok(position) => {
                            assert_eq!(position, told);
                            told += 1;
                        }
                        Err(error) => {
                            let code = error.kind().code();
                            assert!(["journal_io", "read_only"].contains(&code), "{error}");
                        }
                    }
                }
                let kept_back = fsync != Fsync::Always && journal.flush().is_err();
                let stopped = journal.stopped().is_some();
                drop(journal);
                disk.heal();
                let found = goes_on(&disk, fsync).unwrap();
                // An event that was refused may be there all the same, once the journal takes nothing more.
                assert!(found <= told + u64::from(stopped), "{found} of {told}");
                assert!(found >= told || kept_back, "{fsync} {fault:?} {nth}: {found} of {told}");
            }
        }
    }
}

#[test]
fn two_writers_are_one_too_many() {
    let root = std::env::temp_dir().join(format!("aivora-two-{}", std::process::id()));
    let first = FileDisk::writer(&root).unwrap();
    assert_eq!(FileDisk::writer(&root).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    assert!(FileDisk::writer(&root).is_ok());
    std::fs::remove_dir_all(&root).unwrap();
}

const KILLED: &str = "AIVORA_TEST_JOURNAL";

/// The events of the made-up venue, as many as one likes.
fn stream(seed: u64, count: usize) -> (World, Vec<Event>) {
    let mut world = World::new(seed, engine_world::STAGED);
    let mut state = world.state();
    let (mut all, mut out) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let event = world.next(&state);
        out.clear();
        let taken = state.apply(&event, &mut out).is_ok();
        world.learn(&event, taken, &out);
        all.push(event);
    }
    (world, all)
}

/// The process that is killed: an engine that says which events it has answered. Without its directory it does nothing.
#[test]
fn writer_that_is_killed() {
    let Ok(root) = std::env::var(KILLED) else { return };
    let (world, all) = stream(77, 3_000);
    let disk = Box::new(FileDisk::writer(root.as_ref()).unwrap());
    let options = options(Fsync::Always, 8_000);
    let mut engine = if disk.list().unwrap().is_empty() {
        Engine::create(disk, world.card, world.policy, options).unwrap()
    } else {
        Engine::open(disk, options).unwrap().0
    };
    let start = usize::try_from(engine.journal().unwrap().events()).unwrap();
    let mut out = std::io::stdout().lock();
    for (number, event) in all.iter().enumerate().skip(start) {
        let position = engine.apply(event).unwrap().position;
        assert_eq!(position, u64::try_from(number).unwrap());
        if number % 97 == 0 {
            engine.snapshot().unwrap();
        }
        writeln!(out, "told {position}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn killed_again_and_again() {
    let (world, all) = stream(77, 3_000);
    let mut hashes = Vec::new();
    let mut state: State = world.state();
    hashes.push(state.hash().unwrap());
    for event in &all {
        let _ = state.apply(event, &mut Vec::new());
        hashes.push(state.hash().unwrap());
    }
    let program = std::env::current_exe().unwrap();
    let mut dice = Dice::new(5);
    let mut runs = 0;
    let mut longest = 0;
    while runs < KILLS {
        let root = std::env::temp_dir().join(format!("aivora-kill-{}-{runs}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        // The same journal is killed several times over.
        for _ in 0..8 {
            let mut child = Command::new(&program)
                .args(["--exact", "writer_that_is_killed", "--nocapture", "--test-threads=1"])
                .env(KILLED, &root)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut told = None;
            let mut left = dice.below(40);
            for line in lines.map_while(Result::ok) {
                // The harness writes before the first.
                let at = line.find("told ");
                told = at.map(|at| line[at + 5..].parse::<u64>().unwrap()).or(told);
                if at.is_some() {
                    if left == 0 {
                        break;
                    }
                    left -= 1;
                }
            }
            child.kill().unwrap();
            child.wait().unwrap();
            runs += 1;
            let disk = FileDisk::reader(&root).unwrap();
            let done = Engine::verify(&disk, None, &mut |event, _, answer| {
                let position = usize::try_from(answer.position).unwrap();
                assert_eq!(event, &all[position]);
                Ok(())
            })
            .unwrap();
            let told = told.map_or(0, |told| told + 1);
            assert!(done.events >= told, "{} of {told}", done.events);
            assert_eq!(done.state, hashes[usize::try_from(done.events).unwrap()]);
            longest = longest.max(done.events);
        }
        std::fs::remove_dir_all(&root).unwrap();
    }
    assert!(longest > 50, "{longest}");
}

#[test]
fn live_replay_and_snapshot_with_tail_are_one() {
    let (world, all) = stream(31, 2_000);
    let disk = SimDisk::new();
    let options = options(BATCH, 20_000);
    let mut engine =
        Engine::create(Box::new(disk.clone()), world.card, world.policy, options).unwrap();
    for (number, event) in all.iter().enumerate() {
        engine.apply(event).unwrap();
        match number % 400 {
            399 => engine.snapshot().unwrap(),
            200 => {
                engine.mark().unwrap();
            }
            _ => {}
        }
    }
    engine.flush().unwrap();
    let live = engine.hash().unwrap();
    let head = engine.journal().unwrap().head();
    drop(engine);
    let verified = Engine::verify(&disk, Some(&head), &mut |_, _, _| Ok(())).unwrap();
    assert_eq!((verified.state, verified.events), (live, 2_000));
    assert!(verified.states > 8 && verified.roots.len() > 2);
    let other = [7; 32];
    let error = Engine::verify(&disk, Some(&other), &mut |_, _, _| Ok(())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JournalCorrupt);
    let (mut again, found) = Engine::open(Box::new(disk.clone()), options).unwrap();
    assert_eq!((again.hash().unwrap(), found.snapshot), (live, Some(2_000)));
    drop(again);
    // A snapshot of something else is left out, and so is one that is damaged.
    let names: Vec<String> =
        disk.list().unwrap().into_iter().filter(|name| name.ends_with(".snapshot")).collect();
    let mut bytes = disk.bytes(&names[4]).unwrap();
    bytes[100] ^= 1;
    disk.put(&names[4], bytes);
    disk.forget(&names[3]);
    let (mut again, found) = Engine::open(Box::new(disk), options).unwrap();
    assert_eq!((again.hash().unwrap(), found.snapshot), (live, Some(1_200)));
}

#[test]
fn a_snapshot_of_another_state_is_left_out() {
    // Whole, in its place, and with the right head of the chain: only the hash of the state in the journal tells.
    let (world, all) = stream(33, 300);
    let disk = SimDisk::new();
    let options = options(BATCH, 20_000);
    let made = Engine::create(Box::new(disk.clone()), world.card, world.policy, options);
    let mut engine = made.unwrap();
    let mut early = world.state();
    for (number, event) in all.iter().enumerate() {
        engine.apply(event).unwrap();
        if number < 200 {
            let _ = early.apply(event, &mut Vec::new());
        }
    }
    engine.snapshot().unwrap();
    let live = engine.hash().unwrap();
    assert_ne!(early.hash().unwrap(), live);
    let (events, head) = (300, engine.journal().unwrap().head());
    drop(engine);
    let state = early.to_bytes().unwrap();
    let other = snapshot::Snapshot { events, head, state };
    snapshot::write(&mut disk.clone(), &other).unwrap();
    let (mut again, found) = Engine::open(Box::new(disk), options).unwrap();
    assert_eq!(again.hash().unwrap(), live);
    assert_eq!((found.snapshot, found.left_out.len()), (None, 1));
}

/// A disk that panics once it is told to.
struct Panics(SimDisk, std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Disk for Panics {
    fn list(&self) -> std::io::Result<Vec<String>> {
        self.0.list()
    }
    fn read(&self, name: &str) -> std::io::Result<Vec<u8>> {
        self.0.read(name)
    }
    fn create(&mut self, name: &str) -> std::io::Result<()> {
        self.0.create(name)
    }
    fn append(&mut self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        assert!(!self.1.load(std::sync::atomic::Ordering::Relaxed), "a defect");
        self.0.append(name, bytes)
    }
    fn truncate(&mut self, name: &str, len: u64) -> std::io::Result<()> {
        self.0.truncate(name, len)
    }
    fn sync(&mut self, name: &str) -> std::io::Result<()> {
        self.0.sync(name)
    }
    fn rename(&mut self, from: &str, to: &str) -> std::io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&mut self, name: &str) -> std::io::Result<()> {
        self.0.remove(name)
    }
    fn sync_names(&mut self) -> std::io::Result<()> {
        self.0.sync_names()
    }
}

#[test]
fn a_panic_poisons_the_engine_and_nobody_else() {
    let (world, all) = stream(33, 200);
    let disk = SimDisk::new();
    let now = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let panics = Box::new(Panics(disk.clone(), std::sync::Arc::clone(&now)));
    let options = options(Fsync::Always, 1 << 20);
    let mut engine = Engine::create(panics, world.card, world.policy, options).unwrap();
    for event in &all[..100] {
        engine.apply(event).unwrap();
    }
    now.store(true, std::sync::atomic::Ordering::Relaxed);
    let broken = engine.apply(&all[100]).unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::InvariantBroken);
    now.store(false, std::sync::atomic::Ordering::Relaxed);
    let after = engine.apply(&all[101]).unwrap_err();
    assert_eq!(after.kind(), ErrorKind::InvariantBroken, "it takes nothing more");
    std::mem::forget(engine);
    // What it was told before can be read, and gone on with.
    let (mut again, found) = Engine::open(Box::new(disk), options).unwrap();
    assert_eq!(found.events, 100);
    again.apply(&all[100]).unwrap();
}

#[test]
fn a_hash_that_replay_does_not_come_to_is_found() {
    let (world, all) = stream(32, 300);
    let disk = SimDisk::new();
    let options = options(Fsync::Always, 1 << 20);
    let made = Engine::create(Box::new(disk.clone()), world.card, world.policy, options);
    let mut engine = made.unwrap();
    for event in &all {
        engine.apply(event).unwrap();
    }
    drop(engine);
    let (mut journal, _) =
        Journal::open(Box::new(disk.clone()), options, &mut |_, _| Ok(()), &mut |_, _| Ok(()))
            .unwrap();
    journal.append_state(&[1; 32]).unwrap();
    journal.append(&[]).unwrap();
    drop(journal);
    let error = Engine::verify(&disk, None, &mut |_, _, _| Ok(())).unwrap_err();
    assert!(error.to_string().contains("state after 300 events"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_read_or_refused(files in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4)) {
        let disk = SimDisk::new();
        for (number, bytes) in files.iter().enumerate() {
            disk.put(&format!("{number:010}.journal"), bytes.clone());
        }
        prop_assert!(events(&disk).is_err());
        prop_assert!(Engine::open(Box::new(disk), Options::default()).is_err());
    }

    #[test]
    fn any_event_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(event) = Event::from_bytes(&bytes) {
            use aivora::engine::wire::Wire;
            let mut again = Vec::new();
            event.put(&mut again);
            prop_assert_eq!(&again, &bytes, "two encodings of one event");
        }
        prop_assert!(State::from_bytes(&bytes).is_err());
    }
}

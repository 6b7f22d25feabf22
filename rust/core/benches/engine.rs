//! Events a second: a mixed day of a venue, with no journal and with one under each policy. Each figure is one JSON line.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
#![allow(clippy::cast_possible_wrap)]
#![allow(dead_code)] // the population is shared with other benches

mod population;
mod stream;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Instant;

use aivora::engine::journal::{FileDisk, Fsync, Options};
use aivora::engine::{Engine, State};

use stream::{Stream, card};

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Nanoseconds an event of each kind, the clock's own taken off.
fn by_kind(stream: &Stream) -> BTreeMap<&'static str, (usize, f64)> {
    let mut state = State::new(card(), "").unwrap();
    let mut out = Vec::new();
    for event in &stream.start {
        let _ = state.apply(event, &mut out);
    }
    let clock = {
        let start = Instant::now();
        for _ in 0..100_000 {
            black_box(Instant::now());
        }
        start.elapsed().as_nanos() as f64 / 100_000.0
    };
    let mut found: BTreeMap<&'static str, (usize, f64)> = BTreeMap::new();
    for event in &stream.day {
        out.clear();
        let start = Instant::now();
        let answer = black_box(state.apply(event, &mut out));
        let taken = start.elapsed().as_nanos() as f64 - clock;
        let name = if answer.is_ok() { event.what.name() } else { "refused" };
        let slot = found.entry(name).or_default();
        *slot = (slot.0 + 1, slot.1 + taken);
    }
    found
}

fn rate(stream: &Stream, mut engine: Engine, many: bool) -> f64 {
    for event in &stream.start {
        engine.apply(event).unwrap();
    }
    let start = Instant::now();
    if many {
        engine
            .apply_all(&stream.day, |_, answer| {
                black_box(answer);
                Ok(())
            })
            .unwrap();
    } else {
        for event in &stream.day {
            black_box(engine.apply(event).unwrap());
        }
    }
    engine.flush().unwrap();
    start.elapsed().as_nanos() as f64 / stream.day.len() as f64
}

fn main() {
    let (accounts, count) = (env("SIZE", 10_000), env("EVENTS", 200_000) as usize);
    let stream = Stream::new(accounts, count, 20_251_010);
    for (kind, (count, taken)) in by_kind(&stream) {
        println!(
            "{{\"case\":\"{kind}\",\"accounts\":{accounts},\"events\":{count},\"ns\":{:.1}}}",
            taken / count as f64
        );
    }
    let root = std::env::temp_dir().join(format!("aivora-bench-{}", std::process::id()));
    let only = std::env::var("ONLY").ok();
    for policy in ["off", "all", "none", "batch:256", "always"] {
        if only.as_deref().is_some_and(|own| own != policy) {
            continue;
        }
        let count = if policy == "always" { stream.day.len() / 20 } else { stream.day.len() };
        let stream = Stream { start: stream.start.clone(), day: stream.day[..count].to_vec() };
        let engine = if matches!(policy, "off" | "all") {
            Engine::new(card(), "").unwrap()
        } else {
            let _ = std::fs::remove_dir_all(&root);
            let disk = Box::new(FileDisk::writer(&root).unwrap());
            let fsync = match policy {
                "always" => Fsync::Batch(NonZeroU32::MIN),
                other => Fsync::parse(other).unwrap(),
            };
            Engine::create(disk, card(), "", Options { fsync, ..Options::default() }).unwrap()
        };
        let ns = rate(&stream, engine, policy == "all");
        println!(
            "{{\"case\":\"journal {policy}\",\"accounts\":{accounts},\"events\":{count},\"ns\":{ns:.1}}}"
        );
    }
    let _ = std::fs::remove_dir_all(&root);
}

//! The batch check on population a: the packed lanes, the wide path, two threads.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]

#[allow(dead_code)] // the watch's bench uses the rest
mod population;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use aivora::margin::Holdings;
use population::{Held, population, venue};

fn scan(c: &mut Criterion) {
    let accounts = std::env::var("SIZE").ok().and_then(|s| s.parse().ok()).unwrap_or(200_000);
    let venue = venue();
    let (portfolio, prices) = population(&venue, accounts, 4.0, Held::Plain);
    let mut group = c.benchmark_group("check");
    group.sample_size(10).throughput(Throughput::Elements(u64::try_from(accounts).unwrap()));
    group.bench_function("lanes, one thread", |b| b.iter(|| portfolio.check(&prices, 1).unwrap()));
    group.bench_function("lanes, two threads", |b| b.iter(|| portfolio.check(&prices, 2).unwrap()));
    group.bench_function("wide path", |b| {
        b.iter(|| {
            portfolio
                .pools()
                .filter(|p| portfolio.assess(*p, &prices).unwrap().liquidatable)
                .count()
        });
    });
    group.finish();
}

criterion_group!(benches, scan);
criterion_main!(benches);

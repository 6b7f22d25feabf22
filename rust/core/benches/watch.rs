//! One tick of the watch, beside the batch check of all accounts, on populations a (leverage 4) and h (15).
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]

mod population;

use aivora::margin::Watch;
use aivora::numbers::MarkTicks;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

use population::{INSTRUMENTS, Random, population, venue};

/// Ticks that one measurement takes, from the same prices each time.
const TICKS: usize = 2_000;

fn ticks(c: &mut Criterion) {
    let most = std::env::var("SIZE").ok().and_then(|s| s.parse().ok()).unwrap_or(100_000);
    let venue = venue();
    let ids: Vec<_> = (0..INSTRUMENTS).map(|i| venue.find(&format!("I{i}")).unwrap()).collect();
    for (name, leverage) in [("a", 4.0), ("h", 15.0)] {
        for accounts in [most / 10, most] {
            let (portfolio, prices) = population(&venue, accounts, leverage);
            let mut group = c.benchmark_group(format!("{name}, {accounts} accounts"));
            group.sample_size(10);
            group.bench_function("check, mask alone", |b| {
                b.iter(|| portfolio.liquidatable(&prices, 1).unwrap());
            });
            let watch = Watch::new(portfolio, prices.clone()).unwrap();
            println!("{} bytes an account beside the portfolio", watch.memory() / accounts);
            let (mut looked, mut run) = (0, 0);
            group.bench_function(format!("{TICKS} ticks of 3 basis points"), |b| {
                b.iter_batched_ref(
                    || (watch.clone(), Random(11)),
                    |(watch, random)| {
                        for _ in 0..TICKS {
                            let id = ids[random.next() as usize % INSTRUMENTS];
                            let mark = watch.prices().mark(id).unwrap().get();
                            let step = if random.next().is_multiple_of(2) { 3 } else { -3 };
                            let next = (mark + mark * step / 10_000).max(1);
                            let next = MarkTicks::new(i128::from(next), "mark").unwrap();
                            watch.tick(id, next).unwrap();
                            looked += watch.touched();
                            run += 1;
                        }
                    },
                    BatchSize::PerIteration,
                );
            });
            println!("{:.2} pools looked at a tick", looked as f64 / f64::from(run));
            group.finish();
        }
    }
}

criterion_group!(benches, ticks);
criterion_main!(benches);

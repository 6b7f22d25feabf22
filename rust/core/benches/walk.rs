//! Walks of one deep book and of many small ones.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros; a bench has no caller to answer

use std::hint::black_box;
use std::sync::Arc;

use aivora::data::{Book, Books, Instrument, Level, Side, Venue};
use aivora::execution::{Within, max_quantity, walk, walk_books, walk_many, walk_packed};
use aivora::numbers::{Decimal, Lots, PriceTicks, Quanta};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const MID_TICKS: i64 = 640_000;

/// A fixed sequence of numbers, the same on every machine.
fn numbers(seed: u64) -> impl FnMut(i64) -> i64 {
    let mut state = seed;
    move |below| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(state >> 33).unwrap() % below
    }
}

fn levels(count: usize, step: i64, next: &mut impl FnMut(i64) -> i64) -> Vec<Level> {
    let mut price = i128::from(MID_TICKS);
    let mut one = || {
        price += i128::from(step * (1 + next(3)));
        Level {
            price: PriceTicks::new(price, "price").unwrap(),
            quantity: Lots::new(i128::from(1 + next(5_000)), "quantity").unwrap(),
        }
    };
    (0..count).map(|_| one()).collect()
}

fn book(instrument: &Arc<Instrument>, count: usize, seed: u64) -> Book {
    let mut next = numbers(seed);
    let (bids, asks) = (levels(count, -1, &mut next), levels(count, 1, &mut next));
    let mut book = Book::new(Arc::clone(instrument));
    book.snapshot(&bids, &asks, None).unwrap();
    book
}

fn lots(n: i64) -> Lots {
    Lots::new(i128::from(n), "quantity").unwrap()
}

fn one_book(c: &mut Criterion, deep: &Book) {
    let mut group = c.benchmark_group("walk/1000 levels");
    for (name, quantity) in [("touch", 1), ("shallow", 10_000), ("deep", 2_400_000)] {
        group.bench_function(name, |b| {
            b.iter(|| walk(black_box(deep), Side::Buy, black_box(lots(quantity)), None).unwrap());
        });
    }
    group.bench_function("deep with fee", |b| {
        b.iter(|| {
            walk(black_box(deep), Side::Buy, black_box(lots(2_400_000)), None).unwrap().fee()
        });
    });
    let cost = Quanta::new(100_000_000_000, "cost").unwrap();
    for (name, within) in [
        ("within cost", Within::Cost(cost)),
        ("within 5 bps", Within::SlippageBps(Decimal::new(5, 0))),
        ("within limit", Within::Limit(PriceTicks::new(640_500, "limit").unwrap())),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| max_quantity(black_box(deep), Side::Buy, black_box(within)).unwrap());
        });
    }
    group.finish();
}

fn many(c: &mut Criterion, instrument: &Arc<Instrument>, deep: &Book) {
    let mut group = c.benchmark_group("walk/many");
    let mut next = numbers(7);
    let sizes: Vec<i64> = (0..100_000).map(|_| next(2_400_000)).collect();
    group.throughput(Throughput::Elements(100_000));
    group.bench_function("100000 sizes on one book", |b| {
        b.iter_batched(
            || sizes.clone(),
            |sizes| walk_many(black_box(deep), Side::Buy, sizes, None).unwrap(),
            BatchSize::LargeInput,
        );
    });
    let books: Vec<Book> = (0..100_000).map(|seed| book(instrument, 50, seed)).collect();
    let half: Vec<i64> = (0..100_000).map(|_| next(120_000)).collect();
    group.bench_function("100000 books of 50 levels", |b| {
        b.iter(|| walk_books(books.iter().zip(half.iter().copied()), Side::Buy).unwrap());
    });
    let packed = Books::from_books(books.iter().map(Ok)).unwrap();
    for threads in [1, 2] {
        group.bench_function(format!("100000 packed books of 50 levels, {threads} threads"), |b| {
            b.iter_batched(
                || half.clone(),
                |half| walk_packed(&packed, Side::Buy, half, threads).unwrap(),
                BatchSize::LargeInput,
            );
        });
    }
    group.bench_function("pack 100000 books of 50 levels", |b| {
        b.iter(|| Books::from_books(books.iter().map(Ok)).unwrap());
    });
    group.finish();
}

fn updates(c: &mut Criterion, instrument: &Arc<Instrument>, deep: &Book) {
    let mut group = c.benchmark_group("book/1000 levels");
    let mut next = numbers(9);
    let (bids, asks) = (levels(1_000, -1, &mut next), levels(1_000, 1, &mut next));
    group.bench_function("snapshot", |b| {
        let mut book = Book::new(Arc::clone(instrument));
        b.iter(|| book.snapshot(black_box(&bids), black_box(&asks), None).unwrap());
    });
    for (name, depth) in [("delta at depth 3", 3), ("delta at depth 900", 900)] {
        let level = deep.asks().levels().nth(depth).unwrap();
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || deep.clone(),
                |book| book.delta(&[], black_box(&[level]), None, None).unwrap(),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn all(c: &mut Criterion) {
    let instrument = Arc::new(Venue::builtin("demo").unwrap().get("BTC").unwrap().clone());
    let deep = book(&instrument, 1_000, 1);
    one_book(c, &deep);
    many(c, &instrument, &deep);
    updates(c, &instrument, &deep);
}

criterion_group!(benches, all);
criterion_main!(benches);

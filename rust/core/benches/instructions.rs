//! Runs one kernel so many times: `instructions KERNEL TIMES`. `benches/instructions.py` runs it under
//! callgrind and counts instructions; nothing here is timed. Without arguments it lists the kernels.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::format_collect)] // a bench has no caller

use std::hint::black_box;
use std::sync::Arc;

use aivora::data::{Book, Instrument, Level, Side, Venue};
use aivora::execution::{Within, max_quantity, walk, walk_books, walk_many};
use aivora::margin::{Holdings, LegSide, PoolKey, Portfolio, PortfolioBuilder, Watch};
use aivora::numbers::{Lots, MarkTicks, PriceTicks, Quanta};
use aivora::pricing::Prices;

const ACCOUNTS: i64 = 2_000;
const INSTRUMENTS: i64 = 40;
const LEVELS: i64 = 1_000;
const QUERIES: i64 = 1_000;
const SMALL_BOOKS: i64 = 100;
const MID_TICKS: i64 = 640_000;
/// More cash than a 64-bit lane holds.
const PAST_LANES: i64 = 1 << 61;

/// A fixed sequence of numbers below a bound, the same on every machine.
fn numbers(seed: u64) -> impl FnMut(i64) -> i64 {
    let mut state = seed;
    move |below| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(state >> 33).unwrap() % below
    }
}

fn quanta(amount: i64) -> Quanta {
    Quanta::new(i128::from(amount), "amount").unwrap()
}

fn lots(count: i64) -> Lots {
    Lots::new(i128::from(count), "quantity").unwrap()
}

fn card() -> String {
    let head = "schema = \"aivora-card/0\"\nname = \"instructions\"\n[asset.USD]\nquantum = \"0.000001\"\n\
                [rules]\nsettlement = \"USD\"\n";
    let floors = [0, 5, 25, 100, 250, 1_000, 2_500, 5_000, 10_000, 25_000];
    let steps = [4, 5, 8, 10, 20, 40, 50, 60, 100, 200];
    let instrument = |i: i64| {
        let base = [1, 2, 3][usize::try_from(i % 3).unwrap()];
        let rows: String = floors
            .iter()
            .zip(steps)
            .map(|(floor, step)| {
                let (m, i) = (base * step, 2 * base * step);
                format!("{{ floor = \"{floor}000\", maintenance = \"{m}/4000\", initial = \"{i}/4000\" }},")
            })
            .collect();
        format!(
            "[[instrument]]\nsymbol = \"I{i}\"\nkind = \"linear\"\nprice_tick = \"0.001\"\nmark_tick = \"0.001\"\n\
             lot = \"0.001\"\n[instrument.tiers]\nby = \"notional\"\ndeduction = \"derived\"\nbrackets = [{rows}]\n"
        )
    };
    head.to_owned() + &(0..INSTRUMENTS).map(instrument).collect::<String>()
}

/// One to five positions an account; notionals over all brackets. `more` is added to their cash.
fn population(more: i64) -> (Portfolio, Prices) {
    let venue = Arc::new(Venue::from_toml(&card()).unwrap());
    let mut next = numbers(7);
    let mut prices = Prices::new(Arc::clone(&venue));
    let mut builder = PortfolioBuilder::new(Arc::clone(&venue));
    let id = |i: i64| venue.find(&format!("I{i}")).unwrap();
    let marks: Vec<i64> = (0..INSTRUMENTS).map(|_| 20_000 + next(2_000_000)).collect();
    for (i, mark) in (0..).zip(&marks) {
        prices.set_mark(id(i), MarkTicks::new(i128::from(*mark), "mark").unwrap()).unwrap();
    }
    for account in 0..ACCOUNTS {
        let name = format!("{account:07}");
        let pool = builder.pool(PoolKey { account: &name, pool: "cross" }).unwrap();
        let (first, step) = (next(INSTRUMENTS), 1 + 2 * next(3));
        let mut gross = 0;
        for k in 0..=next(5) {
            let i = (first + k * step) % INSTRUMENTS;
            let mark = marks[usize::try_from(i).unwrap()];
            let value = 1_000_000 * (1 + (next(1_000) * next(1_000) * next(1_000)) / 20_000);
            let (sign, size) = (1 - 2 * next(2), 1 + value / mark);
            let cost = sign * size * (mark - mark / 50 + next(mark / 25));
            gross += size * mark;
            let zero = quanta(0);
            builder
                .position(pool, id(i), LegSide::Net, lots(sign * size), quanta(cost), zero)
                .unwrap();
        }
        builder.collateral(pool, quanta(more + next(gross / 5 + 1))).unwrap();
    }
    (builder.build().unwrap(), prices)
}

fn levels(count: i64, step: i64, next: &mut impl FnMut(i64) -> i64) -> Vec<Level> {
    let mut price = i128::from(MID_TICKS);
    let mut one = || {
        price += i128::from(step * (1 + next(3)));
        Level { price: PriceTicks::new(price, "price").unwrap(), quantity: lots(1 + next(5_000)) }
    };
    (0..count).map(|_| one()).collect()
}

fn book(instrument: &Arc<Instrument>, count: i64, seed: u64) -> Book {
    let mut next = numbers(seed);
    let (bids, asks) = (levels(count, -1, &mut next), levels(count, 1, &mut next));
    let mut book = Book::new(Arc::clone(instrument));
    book.snapshot(&bids, &asks, None).unwrap();
    book
}

fn btc() -> Arc<Instrument> {
    Arc::new(Venue::builtin("demo").unwrap().get("BTC").unwrap().clone())
}

fn repeat(times: u64, mut kernel: impl FnMut()) {
    for _ in 0..times {
        kernel();
    }
}

fn check(times: u64, more: i64) {
    let (portfolio, prices) = population(more);
    repeat(times, || drop(black_box(portfolio.check(black_box(&prices), 1).unwrap())));
}

fn mask(times: u64) {
    let (portfolio, prices) = population(0);
    repeat(times, || drop(black_box(portfolio.liquidatable(black_box(&prices), 1).unwrap())));
}

fn walk_one(times: u64) {
    let (deep, mut next) = (book(&btc(), LEVELS, 1), numbers(3));
    let asked: Vec<Lots> = (0..QUERIES).map(|_| lots(1 + next(2_400_000))).collect();
    repeat(times, || {
        for quantity in &asked {
            black_box(walk(black_box(&deep), Side::Buy, *quantity, None).unwrap());
        }
    });
}

fn walk_back(times: u64) {
    let (deep, mut next) = (book(&btc(), LEVELS, 1), numbers(3));
    let asked: Vec<Quanta> = (0..QUERIES).map(|_| quanta(1 + next(1 << 30) * 100_000)).collect();
    repeat(times, || {
        for cost in &asked {
            black_box(max_quantity(black_box(&deep), Side::Buy, Within::Cost(*cost)).unwrap());
        }
    });
}

fn walk_each(times: u64) {
    let (deep, mut next) = (book(&btc(), LEVELS, 1), numbers(3));
    let asked: Vec<i64> = (0..QUERIES).map(|_| 1 + next(2_400_000)).collect();
    repeat(times, || {
        black_box(walk_many(black_box(&deep), Side::Buy, black_box(asked.clone()), None).unwrap());
    });
}

fn walk_small(times: u64) {
    let (instrument, mut next) = (btc(), numbers(5));
    let books: Vec<Book> =
        (0..SMALL_BOOKS).map(|n| book(&instrument, 50, n.unsigned_abs())).collect();
    let asked: Vec<i64> = books.iter().map(|_| 1 + next(120_000)).collect();
    repeat(times, || {
        let rows = black_box(&books).iter().zip(asked.iter().copied());
        black_box(walk_books(rows, Side::Buy).unwrap());
    });
}

fn book_snapshot(times: u64) {
    let mut next = numbers(9);
    let (bids, asks) = (levels(LEVELS, -1, &mut next), levels(LEVELS, 1, &mut next));
    let mut book = Book::new(btc());
    repeat(times, || book.snapshot(black_box(&bids), black_box(&asks), None).unwrap());
}

/// Changes of quantity near the top of the book, as a feed brings them.
fn book_delta(times: u64) {
    let (mut deep, mut next) = (book(&btc(), LEVELS, 1), numbers(11));
    let held: Vec<Level> = deep.asks().levels().take(20).collect();
    let sent: Vec<Level> = (0..QUERIES)
        .map(|_| {
            let level = held[usize::try_from(next(20)).unwrap()];
            Level { price: level.price, quantity: lots(1 + next(5_000)) }
        })
        .collect();
    repeat(times, || {
        for level in &sent {
            deep.delta(&[], black_box(std::slice::from_ref(level)), None, None).unwrap();
        }
    });
}

/// Ticks of a millionth up and down: they concern hardly anybody.
fn tick_calm(times: u64) {
    let (portfolio, prices) = population(0);
    let venue = Arc::clone(portfolio.venue());
    let ids: Vec<_> = (0..INSTRUMENTS).map(|i| venue.find(&format!("I{i}")).unwrap()).collect();
    let mut rows = Vec::new();
    for number in 0..QUERIES {
        let id = ids[usize::try_from(number % INSTRUMENTS).unwrap()];
        let mark = prices.mark(id).unwrap().get();
        let up = number / INSTRUMENTS % 2;
        let mark = MarkTicks::new(i128::from(mark + up * (mark / 1_000_000).max(1)), "mark");
        rows.push((id, mark.unwrap()));
    }
    let mut watch = Watch::new(portfolio, prices).unwrap();
    repeat(times, || {
        for (id, mark) in &rows {
            black_box(watch.tick(*id, *mark).unwrap());
        }
    });
}

/// Every account looked at and certified again.
fn look(times: u64) {
    let (portfolio, prices) = population(0);
    let pools: Vec<_> = portfolio.pools().collect();
    let mut watch = Watch::new(portfolio, prices).unwrap();
    repeat(times, || {
        for pool in &pools {
            black_box(watch.recertify(black_box(*pool)).unwrap());
        }
    });
}

type Kernel = fn(u64);

/// Name, how many things one run handles, and the run.
const KERNELS: [(&str, i64, Kernel); 11] = [
    ("scan", ACCOUNTS, |times| check(times, 0)),
    ("mask", ACCOUNTS, mask),
    ("scan-wide", ACCOUNTS, |times| check(times, PAST_LANES)),
    ("watch-tick", QUERIES, tick_calm),
    ("watch-look", ACCOUNTS, look),
    ("walk", QUERIES, walk_one),
    ("max-quantity", QUERIES, walk_back),
    ("walk-many", QUERIES, walk_each),
    ("walk-books", SMALL_BOOKS, walk_small),
    ("book-snapshot", 2 * LEVELS, book_snapshot),
    ("book-delta", QUERIES, book_delta),
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (name, times) = (arguments.next(), arguments.next());
    let times = times.and_then(|t| t.parse().ok());
    let found = KERNELS.iter().find(|(kernel, _, _)| Some(*kernel) == name.as_deref());
    match (found, times) {
        (Some((_, _, run)), Some(times)) => run(times),
        _ => KERNELS.iter().for_each(|(kernel, units, _)| println!("{kernel} {units}")),
    }
}

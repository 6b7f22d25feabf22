//! One tick of the watch beside an exact delta rescan of the instrument's holders: the same prices, the same answers.
//!
//! Each tick moves one of 200 instruments. Both name the accounts that become liquidatable, and each account that is named
//! is taken over by the venue: neither looks at it again. Rounds are interleaved; each figure is one JSON line.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]

mod population;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use aivora::data::{InstrumentId, Venue};
use aivora::margin::{Holdings, PoolId, Portfolio, Watch};
use aivora::numbers::MarkTicks;
use aivora::pricing::Prices;
use hdrhistogram::Histogram;

use population::{DEN, FLOORS, Held, INSTRUMENTS, Random, population, rates, venue};

/// The exact delta rescan. Each account's gap is kept; a tick moves it by what its one position's value and requirement
/// move. The best of its kind that was found: one stream of holders an instrument, 64 bits, a constant to divide by.
struct Delta {
    holders: Vec<Vec<Holder>>,
    gaps: Vec<i64>,
    /// By instrument: floor, rate and deduction, the last two over [`DEN`].
    brackets: Vec<[(i64, i64, i64); 10]>,
}

#[derive(Clone, Copy)]
struct Holder {
    account: u32,
    /// Quanta per tick.
    amount: i64,
    /// What the position adds to the gap.
    adds: i64,
}

fn brackets(instrument: usize) -> [(i64, i64, i64); 10] {
    let (mut found, mut deduction, mut before) = ([(0, 0, 0); 10], 0, 0);
    for (slot, (floor, rate)) in found.iter_mut().zip(FLOORS.iter().zip(rates(instrument))) {
        let floor = floor * 1_000_000;
        deduction += floor * (rate - before);
        before = rate;
        *slot = (floor, rate, deduction);
    }
    found
}

fn adds(brackets: &[(i64, i64, i64); 10], amount: i64, ticks: i64) -> i64 {
    let value = amount * ticks;
    let notional = value.abs();
    let above: usize = brackets[1..].iter().map(|b| usize::from(b.0 <= notional)).sum();
    let (_, rate, deduction) = brackets[above];
    value - (notional * rate - deduction + DEN - 1) / DEN
}

impl Delta {
    fn new(world: &World, taken: &[bool]) -> Self {
        let portfolio = world.watch.portfolio();
        let brackets: Vec<_> = (0..INSTRUMENTS).map(brackets).collect();
        let mut holders = vec![Vec::new(); INSTRUMENTS];
        let mut gaps = Vec::new();
        for pool in portfolio.pools() {
            let mut gap = portfolio.balances(pool).unwrap()[0].amount as i64;
            for leg in portfolio.legs(pool).unwrap() {
                let of = world.place[leg.instrument.index()];
                let adds = adds(&brackets[of], leg.lots, world.marks[of]);
                gap += adds - leg.cost as i64;
                if !taken[pool.index()] {
                    let account = pool.index() as u32;
                    holders[of].push(Holder { account, amount: leg.lots, adds });
                }
            }
            gaps.push(gap);
        }
        Self { holders, gaps, brackets }
    }

    fn tick(&mut self, of: usize, ticks: i64, found: &mut Vec<usize>) {
        found.clear();
        let brackets = &self.brackets[of];
        for holder in &mut self.holders[of] {
            let adds = adds(brackets, holder.amount, ticks);
            let gap = &mut self.gaps[holder.account as usize];
            let before = *gap;
            *gap += adds - holder.adds;
            holder.adds = adds;
            if *gap < 0 && before >= 0 {
                found.push(holder.account as usize);
            }
        }
    }

    /// Its position counts no more.
    fn take_over(&mut self, account: usize) {
        self.gaps[account] = i64::MIN / 2;
    }
}

/// The watch at its prices.
#[derive(Clone)]
struct World {
    ids: Vec<InstrumentId>,
    /// By the venue's place, the number here.
    place: Vec<usize>,
    marks: Vec<i64>,
    watch: Watch,
    random: u64,
}

impl World {
    fn new(venue: &Arc<Venue>, accounts: usize, leverage: f64, held: Held) -> Self {
        let ids: Vec<_> = (0..INSTRUMENTS).map(|i| venue.find(&format!("I{i}")).unwrap()).collect();
        let mut place = vec![0; INSTRUMENTS];
        ids.iter().enumerate().for_each(|(i, id)| place[id.index()] = i);
        let (portfolio, prices) = population(venue, accounts, leverage, held);
        let marks = ids.iter().map(|id| prices.mark(*id).unwrap().get()).collect();
        let mut watch = Watch::new(portfolio, prices).unwrap();
        let under: Vec<_> = watch.portfolio().pools().collect();
        for pool in under {
            if watch.liquidatable()[pool.index()] {
                watch.hand_over(pool).unwrap();
            }
        }
        Self { ids, place, marks, watch, random: 11 }
    }

    /// The next instrument and its new mark: a step of 3 basis points, and a drift.
    fn next(&mut self, drift: f64) -> (usize, i64) {
        let mut random = Random(self.random);
        let of = random.next() as usize % INSTRUMENTS;
        let step = if random.next().is_multiple_of(2) { 3e-4 } else { -3e-4 };
        self.random = random.0;
        let mark = &mut self.marks[of];
        *mark = ((*mark as f64 * (1.0 + step + drift)).round() as i64).max(1);
        (of, *mark)
    }

    fn tick(&mut self, (of, mark): (usize, i64)) -> Vec<PoolId> {
        let mark = MarkTicks::new(i128::from(mark), "mark").unwrap();
        self.watch.tick(self.ids[of], mark).unwrap().liquidatable
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn say(name: &str, figures: &[(&str, f64)]) {
    let parts: Vec<_> =
        figures.iter().map(|(key, value)| format!("\"{key}\": {value:.4}")).collect();
    println!("{{\"case\": \"{name}\", {}}}", parts.join(", "));
}

/// What ran in a case.
struct Run<'a> {
    name: &'a str,
    rounds: usize,
    ticks: usize,
    drift: f64,
}

/// The same ticks for both, round by round; both must name the same accounts.
fn beside(run: &Run<'_>, world: &mut World, taken: &mut [bool]) -> f64 {
    let mut delta = Delta::new(world, taken);
    let (mut ratios, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut looked, mut named) = (0, 0);
    let mut found = Vec::new();
    for _ in 0..run.rounds {
        let moves: Vec<_> = (0..run.ticks).map(|_| world.next(run.drift)).collect();
        let mut answers: Vec<(usize, Vec<PoolId>)> = Vec::new();
        let began = Instant::now();
        for (number, next) in moves.iter().enumerate() {
            let hit = world.tick(*next);
            looked += world.watch.touched();
            if !hit.is_empty() {
                for pool in &hit {
                    world.watch.hand_over(*pool).unwrap();
                }
                answers.push((number, hit));
            }
        }
        let own = began.elapsed().as_secs_f64() / run.ticks as f64;
        let mut answers = answers.into_iter().peekable();
        let mut spent = 0.0;
        for (number, (of, mark)) in moves.iter().enumerate() {
            let began = Instant::now();
            delta.tick(*of, *mark, &mut found);
            spent += began.elapsed().as_secs_f64();
            found.sort_unstable();
            let told = answers.next_if(|(at, _)| *at == number).map_or(Vec::new(), |(_, hit)| hit);
            let told: Vec<_> = told.into_iter().map(PoolId::index).collect();
            assert_eq!(told, found, "{}: both name the same accounts", run.name);
            for account in told {
                delta.take_over(account);
                taken[account] = true;
                named += 1;
            }
        }
        let other = spent / run.ticks as f64;
        ratios.push(other / own);
        ours.push(own * 1e9);
        theirs.push(other * 1e9);
    }
    let ticks = (run.rounds * run.ticks) as f64;
    let own = median(&mut ours);
    let named = f64::from(named);
    say(
        run.name,
        &[
            ("ratio", median(&mut ratios)),
            ("watch_ns", own),
            ("delta_ns", median(&mut theirs)),
            ("looked", looked as f64 / ticks),
            ("liquidations", named),
            ("looked_each", if named > 0.0 { looked as f64 / named } else { 0.0 }),
        ],
    );
    own
}

/// Ticks of the watch alone.
fn alone(world: &mut World, taken: &mut [bool], ticks: usize) -> (f64, f64) {
    let (mut looked, mut spent) = (0, 0.0);
    for _ in 0..ticks / 1_000 {
        let moves: Vec<_> = (0..1_000).map(|_| world.next(0.0)).collect();
        let began = Instant::now();
        for next in moves {
            let hit = world.tick(next);
            looked += world.watch.touched();
            for pool in hit {
                world.watch.hand_over(pool).unwrap();
                taken[pool.index()] = true;
            }
        }
        spent += began.elapsed().as_secs_f64();
    }
    (spent * 1e9 / ticks as f64, looked as f64 / ticks as f64)
}

fn tails(name: &str, world: &mut World, taken: &mut [bool], ticks: usize) {
    let histogram = || Histogram::<u64>::new_with_bounds(1, 10_000_000_000, 3).unwrap();
    let figures = |of: &Histogram<u64>| {
        [
            of.value_at_quantile(0.5),
            of.value_at_quantile(0.99),
            of.value_at_quantile(0.999),
            of.max(),
        ]
        .map(|ns| ns as f64)
    };
    let (mut ours, mut theirs) = (histogram(), histogram());
    let mut delta = Delta::new(world, taken);
    let mut found = Vec::new();
    let every = (ticks / 5_000).max(1);
    for number in 0..ticks {
        let next = world.next(0.0);
        let began = Instant::now();
        let hit = black_box(world.tick(next));
        ours.saturating_record(began.elapsed().as_nanos() as u64);
        for pool in hit {
            world.watch.hand_over(pool).unwrap();
            taken[pool.index()] = true;
        }
        if number % every == 0 {
            // It follows one tick in so many: its answers mean nothing here, only its time.
            let began = Instant::now();
            delta.tick(next.0, next.1, &mut found);
            theirs.saturating_record(began.elapsed().as_nanos() as u64);
        }
    }
    let clock = (0..1_000).map(|_| Instant::now().elapsed().as_nanos() as f64);
    let [p50, p99, p999, max] = figures(&ours);
    let [d50, d99, d999, dmax] = figures(&theirs);
    say(
        name,
        &[
            ("ticks", ticks as f64),
            ("p50", p50),
            ("p99", p99),
            ("p999", p999),
            ("max", max),
            ("delta_p50", d50),
            ("delta_p99", d99),
            ("delta_p999", d999),
            ("delta_max", dmax),
            ("clock", median(&mut clock.collect::<Vec<_>>())),
        ],
    );
}

/// All prices fall by a twentieth at once.
fn gap(name: &str, world: &World) {
    let (mut answers, mut certified, mut scans, mut masks) = (vec![], vec![], vec![], vec![]);
    let mut named = 0;
    let portfolio: &Portfolio = world.watch.portfolio();
    let mut report = portfolio.check(world.watch.prices(), 1).unwrap();
    let mut prices: Prices = world.watch.prices().clone();
    for (id, mark) in world.ids.iter().zip(&world.marks) {
        let mark = MarkTicks::new(i128::from(mark - mark / 20), "mark").unwrap();
        prices.set_mark(*id, mark).unwrap();
    }
    for _ in 0..5 {
        let mut watch = world.watch.clone();
        let began = Instant::now();
        black_box(portfolio.liquidatable(&prices, 1).unwrap());
        let mask = began.elapsed().as_secs_f64();
        let began = Instant::now();
        report = black_box(portfolio.check(&prices, 1).unwrap());
        let scan = began.elapsed().as_secs_f64();
        let began = Instant::now();
        let changes = watch.reprice(&prices).unwrap();
        let answer = began.elapsed().as_secs_f64();
        watch.settle().unwrap();
        let settled = began.elapsed().as_secs_f64();
        named = changes.liquidatable.len();
        answers.push(answer / scan);
        certified.push(settled / scan);
        scans.push(scan * 1e9);
        masks.push(mask / scan);
    }
    assert_eq!(report.liquidatable.len(), portfolio.len());
    say(
        name,
        &[
            ("answer", median(&mut answers)),
            ("certified", median(&mut certified)),
            ("mask", median(&mut masks)),
            ("scan_ns", median(&mut scans)),
            ("liquidations", named as f64),
        ],
    );
}

/// One account's certificate is made again.
fn recertify(world: &mut World) -> f64 {
    let mut random = Random(5);
    let pools: Vec<_> = world.watch.portfolio().pools().collect();
    let count = 20_000.min(pools.len());
    let mut picked: Vec<_> =
        (0..count).map(|_| pools[random.next() as usize % pools.len()]).collect();
    // Those that were taken over have no certificate.
    picked.retain(|pool| !world.watch.liquidatable()[pool.index()]);
    let began = Instant::now();
    for pool in &picked {
        black_box(world.watch.recertify(*pool).unwrap());
    }
    began.elapsed().as_secs_f64() * 1e9 / picked.len() as f64
}

fn main() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let most: usize = number("SIZE").unwrap_or(1_000_000);
    let ticks = number("TICKS").unwrap_or(10_000_000);
    let wanted: Vec<_> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wants = |case: &str| wanted.is_empty() || wanted.iter().any(|w| case.starts_with(w));
    let venue = venue();
    let warmed = |size: usize, leverage, held| {
        let mut world = World::new(&venue, size, leverage, held);
        let mut taken = world.watch.liquidatable().to_vec();
        alone(&mut world, &mut taken, (size / 25).clamp(1_000, 40_000));
        (world, taken)
    };
    let mut calm = Vec::new();
    for (name, leverage) in [("a", 4.0), ("h", 15.0)] {
        let case = |what: &str| format!("{what} {name}");
        for size in [most / 100, most / 10] {
            if wants(&case("calm")) {
                let (mut world, mut taken) = warmed(size, leverage, Held::Plain);
                let of = format!("{} {size}", case("calm"));
                let run = Run { name: &of, rounds: 7, ticks: 20_000, drift: 0.0 };
                calm.push(beside(&run, &mut world, &mut taken));
            }
        }
        let (mut world, mut taken) = warmed(most, leverage, Held::Plain);
        if wants(&case("calm")) {
            let of = format!("{} {most}", case("calm"));
            let run = Run { name: &of, rounds: 5, ticks: 20_000, drift: 0.0 };
            calm.push(beside(&run, &mut world, &mut taken));
        }
        if wants(&case("alone")) {
            let (ns, looked) = alone(&mut world, &mut taken, 200_000);
            let bytes = world.watch.memory() as f64 / most as f64;
            say(&case("alone"), &[("watch_ns", ns), ("looked", looked), ("bytes", bytes)]);
        }
        if wants(&case("gap")) {
            gap(&case("gap"), &world);
        }
        if wants(&case("recertify")) {
            let ns = recertify(&mut world);
            say(&case("recertify"), &[("watch_ns", ns)]);
        }
        if wants(&case("crash")) {
            let (mut crashed, mut lost) = (world.clone(), taken.clone());
            let of = case("crash");
            // Ten per cent down over the run: a step of each instrument falls so much.
            let run = Run { name: &of, rounds: 20, ticks: 10_000, drift: -1e-4 };
            beside(&run, &mut crashed, &mut lost);
        }
        if wants(&case("tails")) {
            tails(&case("tails"), &mut world, &mut taken, ticks);
        }
    }
    for (name, held) in [
        ("plain", Held::Plain),
        ("hedged", Held::Hedged),
        ("netted", Held::Netted),
        ("assets", Held::Assets),
    ] {
        let of = format!("variant {name}");
        if wants(&of) {
            let (mut world, mut taken) = warmed(most, 4.0, held);
            let (ns, looked) = alone(&mut world, &mut taken, 200_000);
            let bytes = world.watch.memory() as f64 / most as f64;
            say(&of, &[("watch_ns", ns), ("looked", looked), ("bytes", bytes)]);
        }
    }
}

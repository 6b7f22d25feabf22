//! The watch against the batch check, after every price and every change.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap)]

use std::fmt::Write as _;
use std::sync::Arc;

use aivora::data::{AssetId, InstrumentId, Venue};
use aivora::margin::{
    Balance, Changes, Funding, Hit, Holdings, LegSide, PoolKey, PoolPlace, PortfolioBuilder,
    Position, PriceOf, Tick, Watch,
};
use aivora::numbers::{Lots, MarkTicks, PriceTicks, Quanta, Rate};
use aivora::pricing::Prices;

/// `SplitMix64`: the scenarios must not change with a library.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: i64) -> i64 {
        (self.next() >> 1) as i64 % end.max(1)
    }

    fn one_in(&mut self, parts: i64) -> bool {
        self.below(parts) == 0
    }
}

const INSTRUMENTS: usize = 6;

/// What differs between scenarios.
#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools)] // each is a question with two answers
struct Scenario {
    /// Steps of a price, in parts of 10^4, up and down.
    steps: (i64, i64),
    /// One in so many ticks jumps by up to a third.
    jumps: i64,
    /// Notional a pool over its collateral, about.
    leverage: i64,
    hedged: bool,
    multi: bool,
    /// One in so many ticks is followed by a fill or a deposit.
    changes: i64,
    /// One in so many ticks is followed by a funding settlement.
    funding: i64,
    /// One in so many ticks is followed by another card: other brackets, other haircuts.
    cards: i64,
    /// One in so many ticks moves all prices at once.
    gaps: i64,
    /// Requirements that jump at a bracket, not derived deductions.
    jumping: bool,
    /// Rates that grow with size or value instead of brackets, on most instruments.
    growing: bool,
    strict: bool,
    /// All positions are long.
    skewed: bool,
    /// When the card checks.
    check_on: &'static str,
}

const CALM: Scenario = Scenario {
    steps: (3, 3),
    jumps: i64::MAX,
    leverage: 8,
    hedged: false,
    multi: false,
    changes: i64::MAX,
    funding: i64::MAX,
    cards: i64::MAX,
    gaps: i64::MAX,
    jumping: false,
    growing: false,
    strict: true,
    skewed: false,
    check_on: "mark",
};

/// What grows on each instrument, and by how much.
const GROWING: [Option<(&str, &str, &str)>; INSTRUMENTS] = [
    None,
    Some(("value_slope", "slope", "0.00005")),
    Some(("size_root", "factor", "0.02")),
    Some(("size_slope", "slope", "0.01")),
    Some(("value_slope", "slope", "0.002")),
    Some(("size_root", "factor", "0.001")),
];

fn venue(of: Scenario) -> Arc<Venue> {
    card(of, 1)
}

/// A card whose rates and haircuts are so many times those of the first one.
fn card(of: Scenario, times: i64) -> Arc<Venue> {
    let check_on = of.check_on;
    let (deduction, trigger) = (
        if of.jumping { "none" } else { "derived" },
        if of.strict { "strict" } else { "non_strict" },
    );
    let mut card = format!(
        "schema = \"aivora-card/0\"\nname = \"watched\"\n[asset.USD]\nquantum = \"0.000001\"\n\
         [asset.BTC]\nquantum = \"0.00000001\"\nprice_tick = \"0.01\"\nhaircuts = [{{ floor = \"0\", haircut = \"{times}/20\" }}, \
         {{ floor = \"2\", haircut = \"{times}/5\" }}]\n[rules]\nsettlement = \"USD\"\nvaluation = \"USD\"\ntrigger = \"{trigger}\"\n\
         check_on = \"{check_on}\"\n"
    );
    for (i, growing) in GROWING.iter().enumerate() {
        // Two are inverse, and settle in the coin.
        let inverse = i >= 4;
        let (kind, lot, more) = if inverse {
            ("inverse", "1", "multiplier = \"100\"\nsettlement = \"BTC\"\n")
        } else {
            ("linear", "0.001", "")
        };
        write!(
            card,
            "[[instrument]]\nsymbol = \"I{i}\"\nkind = \"{kind}\"\nprice_tick = \"0.01\"\nmark_tick = \"0.01\"\nlot = \"{lot}\"\n{more}\
             [instrument.tiers]\n",
        )
        .unwrap();
        if let Some((by, key, rate)) = growing.filter(|_| of.growing) {
            write!(
                card,
                "by = \"{by}\"\nmaintenance_base = \"{times}/200\"\ninitial_base = \"{times}/100\"\n{key} = \"{rate}\"\n"
            )
            .unwrap();
            continue;
        }
        let floors = if inverse { ["0.5", "5", "50"] } else { ["5000", "50000", "500000"] };
        write!(
            card,
            "by = \"notional\"\ndeduction = \"{deduction}\"\nbrackets = [\n\
             {{ floor = \"0\", maintenance = \"{}/200\", initial = \"{}/100\" }},\n\
             {{ floor = \"{}\", maintenance = \"{}/100\", initial = \"{}/50\" }},\n\
             {{ floor = \"{}\", maintenance = \"{}/40\", initial = \"{}/20\" }},\n\
             {{ floor = \"{}\", maintenance = \"{}/20\", initial = \"{}/10\" }},\n]\n",
            times, times, floors[0], times, times, floors[1], times, times, floors[2], times, times,
        )
        .unwrap();
    }
    Arc::new(Venue::from_toml(&card).unwrap())
}

fn quanta(amount: i128) -> Quanta {
    Quanta::new(amount, "amount").unwrap()
}

/// What a position entered at a mark costs: whole for the contracts here, but for an inverse one rounded down.
fn cost(inverse: bool, lots: i64, mark: i64) -> i128 {
    if inverse {
        // 100 USD × 10^8 quanta over mark / 100 USD.
        (-i128::from(lots) * 1_000_000_000_000).div_euclid(i128::from(mark))
    } else {
        i128::from(lots) * i128::from(mark) * 10
    }
}

/// A venue at its prices, and a watch over it.
struct World {
    of: Scenario,
    random: Random,
    ids: Vec<InstrumentId>,
    marks: Vec<i64>,
    /// The price of the coin, in ticks.
    coin: i64,
    watch: Watch,
    known: Vec<bool>,
    /// How the card in force differs from the first one.
    times: i64,
    time: i64,
}

fn is_inverse(place: usize) -> bool {
    place >= 4
}

fn mark(ticks: i64) -> MarkTicks {
    MarkTicks::new(i128::from(ticks), "mark").unwrap()
}

fn price(ticks: i64) -> PriceTicks {
    PriceTicks::new(i128::from(ticks), "price").unwrap()
}

/// Gives a pool positions and collateral.
fn fill(
    builder: &mut PortfolioBuilder,
    pool: PoolPlace,
    of: Scenario,
    random: &mut Random,
    (ids, marks): (&[InstrumentId], &[i64]),
    (usd, btc): (AssetId, AssetId),
) {
    let coins = !of.multi && random.one_in(4);
    let usable: Vec<usize> =
        (0..INSTRUMENTS).filter(|i| of.multi || is_inverse(*i) == coins).collect();
    let mut gross = 0;
    for i in usable {
        if !random.one_in(2) && gross > 0 {
            continue;
        }
        let size = 1 + random.below(if is_inverse(i) { 3_000 } else { 20_000_000 / marks[i] });
        let pair = of.hedged && random.one_in(2);
        let long = of.skewed || random.one_in(2);
        let sides = [(LegSide::Long, size), (LegSide::Short, -1 - size / 2)];
        let net = [(LegSide::Net, if long { size } else { -size })];
        for (side, lots) in if pair { &sides[..] } else { &net[..] } {
            let entry = quanta(cost(is_inverse(i), *lots, marks[i]));
            let lots = Lots::new(i128::from(*lots), "lots").unwrap();
            builder.position(pool, ids[i], *side, lots, entry, quanta(0)).unwrap();
        }
        let whole = cost(is_inverse(i), size, marks[i]).abs();
        gross += if is_inverse(i) && of.multi { whole * 640 } else { whole };
    }
    let share = i128::from(500 + random.below(1_000));
    let share = gross / i128::from(of.leverage) * share / 1_000;
    let own = if coins { btc } else { usd };
    builder.balance(pool, own, quanta(share), quanta(0)).unwrap();
    if of.multi {
        let held = i128::from(random.below(300_000_000)) - 20_000_000;
        builder.balance(pool, btc, quanta(held), quanta(0)).unwrap();
    }
}

impl World {
    fn new(of: Scenario, seed: u64, pools: usize) -> Self {
        let venue = venue(of);
        let mut random = Random(seed);
        let ids: Vec<_> = (0..INSTRUMENTS).map(|i| venue.find(&format!("I{i}")).unwrap()).collect();
        let mut start = |i| if is_inverse(i) { 6_400_000 } else { 20_000 + random.below(900_000) };
        let marks: Vec<i64> = (0..INSTRUMENTS).map(&mut start).collect();
        let coin = 6_400_000;
        let mut prices = Prices::new(Arc::clone(&venue));
        for (id, ticks) in ids.iter().zip(&marks) {
            prices.set_mark(*id, mark(*ticks)).unwrap();
        }
        let assets = (venue.find_asset("USD").unwrap(), venue.find_asset("BTC").unwrap());
        prices.set_asset(assets.1, price(coin)).unwrap();
        let mut builder = PortfolioBuilder::new(venue);
        for pool in 0..pools {
            let account = format!("{pool:05}");
            let key = builder.pool(PoolKey { account: &account, pool: "cross" }).unwrap();
            if of.multi {
                builder.multi(key, true).unwrap();
            }
            fill(&mut builder, key, of, &mut random, (&ids, &marks), assets);
        }
        let watch = Watch::new(builder.build().unwrap(), prices).unwrap();
        let known = watch.liquidatable().to_vec();
        Self { of, random, ids, marks, coin, watch, known, times: 1, time: 0 }
    }

    /// One price moves.
    fn tick(&mut self) -> Changes {
        let all = INSTRUMENTS as i64 + i64::from(self.of.multi);
        let i = self.random.below(all) as usize;
        let (down, up) = self.of.steps;
        let step = self.random.below(down + up + 1) - down;
        let jump = self.random.below(6_667) - 3_333;
        let parts = if self.random.one_in(self.of.jumps) { jump } else { step };
        let ticks = if i < INSTRUMENTS { &mut self.marks[i] } else { &mut self.coin };
        *ticks = (*ticks + *ticks * parts / 10_000).clamp(100, 10_i64.pow(10));
        if i < INSTRUMENTS {
            self.watch.tick(self.ids[i], mark(*ticks)).unwrap()
        } else {
            let btc = self.watch.portfolio().venue().find_asset("BTC").unwrap();
            self.watch.tick_asset(btc, price(*ticks)).unwrap()
        }
    }

    /// All prices jump at once.
    fn gap(&mut self) -> Changes {
        let parts = self.random.below(1_600) - 800;
        let mut prices = self.watch.prices().clone();
        for (id, ticks) in self.ids.iter().zip(&mut self.marks) {
            *ticks = (*ticks + *ticks * parts / 10_000).clamp(100, 10_i64.pow(10));
            prices.set_mark(*id, mark(*ticks)).unwrap();
        }
        self.coin = (self.coin + self.coin * parts / 10_000).clamp(100, 10_i64.pow(10));
        let btc = self.watch.portfolio().venue().find_asset("BTC").unwrap();
        prices.set_asset(btc, price(self.coin)).unwrap();
        self.watch.reprice(&prices).unwrap()
    }

    /// Longs pay shorts or the other way, up to ten basis points.
    fn fund(&mut self) -> Changes {
        let i = self.random.below(INSTRUMENTS as i64) as usize;
        let rate = Rate::new(i128::from(self.random.below(100)), 100_000, "rate").unwrap();
        let longs_pay = self.random.one_in(2);
        let funding = Funding { price: mark(self.marks[i]), rate, longs_pay };
        let before = self.total();
        let told = self.watch.settle_funding(self.ids[i], funding).unwrap();
        // What longs pay shorts receive, up to the roundings, which are for the venue; here longs and shorts are not level.
        assert!(rate == Rate::ZERO || before != self.total() || self.known.is_empty());
        told
    }

    /// The sum of all balances.
    fn total(&self) -> i128 {
        let portfolio = self.watch.portfolio();
        let of = |pool| portfolio.balances(pool).unwrap().iter().map(|b| b.amount).sum::<i128>();
        portfolio.pools().map(of).sum()
    }

    /// Other brackets and haircuts come into force.
    fn change_card(&mut self) -> Changes {
        self.times = 3 - self.times;
        self.watch.set_card(&card(self.of, self.times)).unwrap()
    }

    /// One pool trades at the mark, pays in or out, places orders or chooses a leverage.
    fn change(&mut self) -> Changes {
        let pools = self.known.len() as i64;
        let at = self.random.below(pools) as usize;
        let pool = self.watch.portfolio().pools().nth(at).unwrap();
        let legs = self.watch.portfolio().legs(pool).unwrap();
        let balance = self.watch.portfolio().balances(pool).unwrap().first().copied();
        let (trades, kind) = (self.random.one_in(2), self.random.below(3));
        let Some(leg) = legs.first().filter(|_| trades) else {
            let amount = i128::from(self.random.below(2_000_000_000)) - 1_000_000_000;
            let Some(balance) = balance else { return Changes::default() };
            let amount = balance.amount + amount;
            return self.watch.set_balance(pool, Balance { amount, ..balance }).unwrap();
        };
        if self.random.one_in(4) {
            let orders =
                [1 + self.random.below(50), 0].map(|l| Lots::new(i128::from(l), "l").unwrap());
            return self.watch.set_orders(pool, leg.instrument, leg.side, orders).unwrap();
        }
        if self.random.one_in(4) {
            let leverage = Rate::new(i128::from(1 + self.random.below(8)), 1, "leverage").unwrap();
            let one = Some(leg.instrument).filter(|_| kind == 0);
            return self.watch.set_leverage(pool, one, Some(leverage)).unwrap();
        }
        let place = self.ids.iter().position(|id| *id == leg.instrument).unwrap();
        if leg.lots == 0 {
            return Changes::default();
        }
        // Half of it is closed, or all, or as much again opened.
        let left = [leg.lots - leg.lots / 2, 0, 2 * leg.lots][kind as usize];
        let paid = match kind {
            2 => leg.cost + cost(is_inverse(place), leg.lots, self.marks[place]),
            _ => leg.cost * i128::from(left) / i128::from(leg.lots),
        };
        let lots = Lots::new(i128::from(left), "lots").unwrap();
        let position = Position { lots, cost: quanta(paid), accrued: quanta(0) };
        self.watch.set_position(pool, leg.instrument, leg.side, position).unwrap()
    }

    /// What was told is what has changed, and the verdicts are the batch check's.
    fn hold(&mut self, told: &Changes) -> usize {
        for (pools, verdict) in [(&told.liquidatable, true), (&told.safe, false)] {
            assert!(pools.is_sorted());
            for pool in pools {
                assert_ne!(self.known[pool.index()], verdict, "{pool:?} has changed");
                self.known[pool.index()] = verdict;
            }
        }
        assert!(self.known == self.watch.liquidatable(), "every change is told");
        let want = self.watch.portfolio().liquidatable(self.watch.prices(), 1).unwrap();
        let wrong = self.known.iter().zip(&want).position(|(known, want)| known != want);
        assert_eq!(wrong, None, "a verdict is not the batch check's");
        told.liquidatable.len() + told.safe.len()
    }
}

/// How many verdicts changed, and how many pools were looked at for a price.
fn run(of: Scenario, seed: u64, pools: usize, ticks: usize) -> (usize, usize) {
    let mut world = World::new(of, seed, pools);
    let (mut changed, mut touched) = (0, 0);
    for _ in 0..ticks {
        let told = if world.random.one_in(of.gaps) { world.gap() } else { world.tick() };
        touched += world.watch.touched();
        changed += world.hold(&told);
        if world.random.one_in(of.changes) {
            let told = world.change();
            changed += world.hold(&told);
        }
        if world.random.one_in(of.funding) {
            let told = world.fund();
            changed += world.hold(&told);
        }
        if world.random.one_in(of.cards) {
            let told = world.change_card();
            changed += world.hold(&told);
        }
    }
    (changed, touched)
}

/// A build without optimisation takes a smaller world.
const POOLS: usize = if cfg!(debug_assertions) { 300 } else { 5_000 };
const TICKS: usize = if cfg!(debug_assertions) { 1_000 } else { 5_000 };

#[test]
fn calm() {
    let (_, touched) = run(CALM, 1, POOLS, TICKS);
    assert!(touched < POOLS * TICKS / 100, "most pools are left alone: {touched}");
}

#[test]
fn all_long() {
    let of = Scenario { skewed: true, leverage: 25, jumps: 200, ..CALM };
    assert!(run(of, 8, POOLS, TICKS).0 > 0);
}

#[test]
fn a_crash_of_high_leverage() {
    let of = Scenario { steps: (40, 25), leverage: 40, ..CALM };
    let (changed, _) = run(of, 2, POOLS, TICKS);
    assert!(changed > POOLS / 4, "{changed}");
}

#[test]
fn wild_jumps_and_jumping_requirements() {
    let of = Scenario { jumps: 10, jumping: true, strict: false, leverage: 20, ..CALM };
    assert!(run(of, 3, POOLS, TICKS).0 > POOLS);
}

#[test]
fn all_prices_at_once() {
    let of = Scenario { gaps: 20, leverage: 20, ..CALM };
    assert!(run(of, 9, POOLS, TICKS).0 > POOLS / 4);
}

#[test]
fn hedged_pools() {
    let of = Scenario { hedged: true, leverage: 30, jumps: 50, ..CALM };
    assert!(run(of, 4, POOLS, TICKS).0 > 0);
}

#[test]
fn hedged_pools_whose_requirements_jump() {
    let of = Scenario { hedged: true, leverage: 30, jumps: 50, jumping: true, ..CALM };
    assert!(run(of, 10, POOLS, TICKS).0 > 0);
}

#[test]
fn rates_that_grow() {
    let of = Scenario { growing: true, jumps: 50, gaps: 200, leverage: 25, ..CALM };
    assert!(run(of, 16, POOLS / 2, TICKS).0 > 0);
    let of = Scenario { steps: (40, 25), hedged: true, strict: false, ..of };
    assert!(run(of, 17, POOLS / 5, TICKS).0 > 0);
}

#[test]
fn rates_that_grow_with_fills_funding_and_cards_in_several_assets() {
    let of = Scenario {
        growing: true,
        changes: 5,
        funding: 40,
        cards: 100,
        jumps: 40,
        leverage: 25,
        ..CALM
    };
    assert!(run(of, 18, POOLS / 5, TICKS).0 > 0);
    let of = Scenario { multi: true, hedged: true, gaps: 100, ..of };
    assert!(run(of, 19, POOLS / 5, TICKS).0 > 0);
}

#[test]
fn several_assets() {
    let of = Scenario { multi: true, jumps: 40, leverage: 30, gaps: 500, ..CALM };
    assert!(run(of, 5, POOLS, TICKS).0 > 0);
}

#[test]
fn fills_deposits_and_funding() {
    let of = Scenario {
        changes: 5,
        funding: 40,
        jumps: 30,
        leverage: 25,
        hedged: true,
        gaps: 100,
        ..CALM
    };
    assert!(run(of, 6, POOLS, TICKS).0 > 0);
}

#[test]
fn fills_deposits_and_funding_of_several_assets() {
    let of = Scenario {
        changes: 5,
        funding: 40,
        jumps: 30,
        leverage: 25,
        multi: true,
        jumping: true,
        gaps: 100,
        ..CALM
    };
    assert!(run(of, 7, POOLS / 5, TICKS).0 > 0);
}

#[test]
fn other_brackets_and_haircuts() {
    let of = Scenario { cards: 100, jumps: 100, leverage: 25, multi: true, ..CALM };
    assert!(run(of, 11, POOLS / 5, TICKS).0 > 0);
    let of = Scenario { cards: 100, funding: 50, jumps: 100, leverage: 25, ..CALM };
    assert!(run(of, 12, POOLS / 5, TICKS).0 > 0);
}

/// Told late, but the same: checks at fixed times, with funding that falls due between them.
#[test]
fn a_card_that_checks_every_so_often() {
    let of = Scenario { check_on: "100ms", jumps: 30, leverage: 30, changes: 9, ..CALM };
    let mut world = World::new(of, 13, POOLS / 2);
    let (mut changed, mut late, mut checks) = (0, 0, 0);
    for step in 0..TICKS {
        assert!(world.tick().is_empty(), "nothing is told before its time");
        if step % 11 == 0 {
            let i = step % INSTRUMENTS;
            let rate = Rate::new(5 + step as i128 % 40, 10_000, "rate").unwrap();
            let funding = Funding { price: mark(world.marks[i]), rate, longs_pay: step % 2 == 0 };
            world.watch.schedule_funding(world.time + 40, world.ids[i], funding).unwrap();
        }
        let scan = world.watch.portfolio().liquidatable(world.watch.prices(), 1).unwrap();
        late += usize::from(scan != world.known);
        world.time += 1 + world.random.below(30);
        let (passed, told) = (world.watch.now(), world.watch.advance(world.time).unwrap());
        let is_due = world.time / 100 > passed.unwrap_or(0) / 100;
        assert!(is_due || told.is_empty(), "nothing is told before its time");
        for (pools, verdict) in [(&told.liquidatable, true), (&told.safe, false)] {
            for pool in pools {
                assert_ne!(world.known[pool.index()], verdict);
                world.known[pool.index()] = verdict;
                changed += 1;
            }
        }
        assert_eq!(world.known, world.watch.liquidatable());
        if is_due {
            // Prices are those of the check; funding may have fallen due since.
            checks += 1;
        }
        if world.random.one_in(20) {
            // The end of a block, or whoever asks, brings all up to date.
            let told = world.watch.check().unwrap();
            changed += world.hold(&told);
        }
    }
    assert!(changed > 0 && late > 0 && checks > TICKS / 20, "{changed} {late} {checks}");
    assert_eq!(world.watch.advance(0).unwrap_err().kind().code(), "out_of_range");
}

/// A pool that was handed over is not told of, until something of it changes.
#[test]
fn a_pool_that_is_taken_over() {
    let of = Scenario { leverage: 30, gaps: 10, funding: 30, jumps: 20, ..CALM };
    let mut world = World::new(of, 14, POOLS / 2);
    let mut over = std::collections::BTreeSet::new();
    for step in 0..TICKS {
        let told = match step % 10 {
            0 => world.gap(),
            1 => world.fund(),
            _ => world.tick(),
        };
        for pool in told.liquidatable.iter().chain(&told.safe) {
            assert!(!over.contains(pool), "it is the venue's now");
            world.known[pool.index()] = !world.known[pool.index()];
        }
        for pool in &told.liquidatable {
            world.watch.hand_over(*pool).unwrap();
            over.insert(*pool);
        }
        let scan = world.watch.portfolio().liquidatable(world.watch.prices(), 1).unwrap();
        for pool in world.watch.portfolio().pools() {
            if !over.contains(&pool) {
                assert_eq!(world.known[pool.index()], scan[pool.index()]);
            }
        }
        if step % 7 == 0
            && let Some(pool) = over.pop_first()
        {
            let told = world.watch.recertify(pool).unwrap();
            assert_eq!(told.safe.contains(&pool), !scan[pool.index()]);
            world.known[pool.index()] = scan[pool.index()];
        }
    }
    assert!(!over.is_empty());
}

/// Many ticks in one call are as many calls; what is refused in the middle takes the others with it.
#[test]
fn ticks_in_bulk() {
    let of = Scenario { leverage: 30, jumps: 30, ..CALM };
    let mut one = World::new(of, 15, POOLS / 2);
    let mut bulk = one.watch.clone();
    let mut rows = Vec::new();
    let mut want = Vec::new();
    for row in 0..TICKS {
        let before = one.marks.clone();
        let told = one.tick();
        let i = (0..INSTRUMENTS).find(|i| before[*i] != one.marks[*i]).unwrap_or(0);
        rows.push(Tick { of: PriceOf::Mark(one.ids[i]), ticks: one.marks[i], time: None });
        let mut own: Vec<Hit> = told
            .liquidatable
            .iter()
            .map(|pool| Hit { row, pool: *pool, liquidatable: true })
            .chain(told.safe.iter().map(|pool| Hit { row, pool: *pool, liquidatable: false }))
            .collect();
        own.sort_by_key(|hit| hit.pool);
        want.extend(own);
    }
    let whole = bulk.clone();
    assert_eq!(bulk.ticks(rows.iter().copied()).unwrap(), want);
    assert!(!want.is_empty());
    assert_eq!(bulk.liquidatable(), one.watch.liquidatable());
    let mut refused = whole.clone();
    rows.push(Tick { of: PriceOf::Mark(one.ids[0]), ticks: 0, time: None });
    let error = refused.ticks(rows.iter().copied()).unwrap_err();
    assert_eq!(error.kind().code(), "out_of_range");
    assert!(error.to_string().contains(&TICKS.to_string()), "{error}");
    assert_eq!(refused.prices(), whole.prices());
    assert_eq!(refused.liquidatable(), whole.liquidatable());
}

#[test]
fn what_is_refused_changes_nothing() {
    let venue = venue(CALM);
    let (id, other) = (venue.find("I0").unwrap(), venue.find("I1").unwrap());
    let mut prices = Prices::new(Arc::clone(&venue));
    prices.set_mark(id, mark(20_000)).unwrap();
    let mut builder = PortfolioBuilder::new(venue);
    let (large, small) = ("large", "small");
    for (account, lots, part) in [(large, 10_i64.pow(18), 2), (small, 1_000, -2)] {
        let pool = builder.pool(PoolKey { account, pool: "cross" }).unwrap();
        let entry = quanta(cost(false, lots, 20_000));
        let zero = quanta(0);
        let held = Lots::new(i128::from(lots), "lots").unwrap();
        builder.position(pool, id, LegSide::Net, held, entry, zero).unwrap();
        // Twice what it cost, or half of it.
        let paid = if part > 0 { entry.get() * part } else { entry.get() / -part };
        builder.collateral(pool, quanta(paid)).unwrap();
    }
    let mut watch = Watch::new(builder.build().unwrap(), prices).unwrap();
    let pool = watch.portfolio().find(small, "cross").unwrap();
    let before = (watch.prices().clone(), watch.portfolio().digest().unwrap());
    let same = |watch: &Watch| {
        assert_eq!((watch.prices().clone(), watch.portfolio().digest().unwrap()), before);
        assert_eq!(watch.liquidatable(), [false, false]);
    };
    // What the large one holds would be worth more than amounts may be.
    let error = watch.tick(id, mark(10_i64.pow(17))).unwrap_err();
    assert_eq!(error.kind().code(), "overflow");
    same(&watch);
    // A position in what has no mark.
    let lots = Lots::new(5, "lots").unwrap();
    let position = Position { lots, cost: quanta(100), accrued: quanta(0) };
    let error = watch.set_position(pool, other, LegSide::Net, position).unwrap_err();
    assert_eq!(error.kind().code(), "missing_price");
    same(&watch);
    // Of one that the venue has taken over too: it is still the venue's.
    let mut taken = watch.clone();
    taken.hand_over(pool).unwrap();
    assert!(taken.set_position(pool, other, LegSide::Net, position).is_err());
    assert!(taken.tick(id, mark(100)).unwrap().is_empty());
    assert_eq!(taken.recertify(pool).unwrap().liquidatable, vec![pool]);
    // The watch goes on: the small one is found far below, and again at the first price.
    let told = watch.tick(id, mark(100)).unwrap();
    assert_eq!((told.liquidatable, told.safe), (vec![pool], vec![]));
    let told = watch.tick(id, mark(20_000)).unwrap();
    assert_eq!((told.liquidatable, told.safe), (vec![], vec![pool]));
    same(&watch);
}

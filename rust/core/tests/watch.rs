//! The watch against the batch check, after every price and every change.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::as_conversions)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap)]

use std::fmt::Write as _;
use std::sync::Arc;

use aivora::data::{AssetId, InstrumentId, Venue};
use aivora::margin::{
    Balance, Changes, LegSide, PoolKey, PoolPlace, PortfolioBuilder, Position, Watch,
};
use aivora::numbers::{Lots, MarkTicks, PriceTicks, Quanta};
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
    /// Requirements that jump at a bracket, not derived deductions.
    jumping: bool,
    strict: bool,
}

const CALM: Scenario = Scenario {
    steps: (3, 3),
    jumps: i64::MAX,
    leverage: 8,
    hedged: false,
    multi: false,
    changes: i64::MAX,
    jumping: false,
    strict: true,
};

fn venue(of: Scenario) -> Arc<Venue> {
    let (deduction, trigger) = (
        if of.jumping { "none" } else { "derived" },
        if of.strict { "strict" } else { "non_strict" },
    );
    let mut card = format!(
        "schema = \"aivora-card/0\"\nname = \"watched\"\n[asset.USD]\nquantum = \"0.000001\"\n\
         [asset.BTC]\nquantum = \"0.00000001\"\nprice_tick = \"0.01\"\nhaircuts = [{{ floor = \"0\", haircut = \"0.05\" }}, \
         {{ floor = \"2\", haircut = \"0.2\" }}]\n[rules]\nsettlement = \"USD\"\nvaluation = \"USD\"\ntrigger = \"{trigger}\"\n"
    );
    for i in 0..INSTRUMENTS {
        // Two are inverse, and settle in the coin.
        let inverse = i >= 4;
        let (kind, lot, more) = if inverse {
            ("inverse", "1", "multiplier = \"100\"\nsettlement = \"BTC\"\n")
        } else {
            ("linear", "0.001", "")
        };
        let floors = if inverse { ["0.5", "5", "50"] } else { ["5000", "50000", "500000"] };
        write!(
            card,
            "[[instrument]]\nsymbol = \"I{i}\"\nkind = \"{kind}\"\nprice_tick = \"0.01\"\nmark_tick = \"0.01\"\nlot = \"{lot}\"\n{more}\
             [instrument.tiers]\nby = \"notional\"\ndeduction = \"{deduction}\"\nbrackets = [\n\
             {{ floor = \"0\", maintenance = \"0.005\", initial = \"0.01\" }},\n\
             {{ floor = \"{}\", maintenance = \"0.01\", initial = \"0.02\" }},\n\
             {{ floor = \"{}\", maintenance = \"0.025\", initial = \"0.05\" }},\n\
             {{ floor = \"{}\", maintenance = \"0.05\", initial = \"0.1\" }},\n]\n",
            floors[0], floors[1], floors[2],
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
        let long = random.one_in(2);
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
        Self { of, random, ids, marks, coin, watch, known }
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

    /// One pool trades at the mark, or pays in or out.
    fn change(&mut self) -> Changes {
        let pools = self.known.len() as i64;
        let at = self.random.below(pools) as usize;
        let pool = self.watch.portfolio().pools().nth(at).unwrap();
        let legs = self.watch.portfolio().legs(pool).unwrap();
        let balance = self.watch.portfolio().balances(pool).unwrap()[0];
        let (trades, kind) = (self.random.one_in(2), self.random.below(3));
        let Some(leg) = legs.first().filter(|_| trades) else {
            let amount =
                balance.amount + i128::from(self.random.below(2_000_000_000)) - 1_000_000_000;
            return self.watch.set_balance(pool, Balance { amount, ..balance }).unwrap();
        };
        let place = self.ids.iter().position(|id| *id == leg.instrument).unwrap();
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
        assert_eq!(self.known, self.watch.liquidatable(), "every change is told");
        let want = self.watch.portfolio().liquidatable(self.watch.prices(), 1).unwrap();
        assert_eq!(self.known, want);
        told.liquidatable.len() + told.safe.len()
    }
}

/// How many verdicts changed, and how many pools were looked at for a price.
fn run(of: Scenario, seed: u64, pools: usize, ticks: usize) -> (usize, usize) {
    let mut world = World::new(of, seed, pools);
    let (mut changed, mut touched) = (0, 0);
    for _ in 0..ticks {
        let told = world.tick();
        touched += world.watch.touched();
        changed += world.hold(&told);
        if world.random.one_in(of.changes) {
            let told = world.change();
            changed += world.hold(&told);
        }
    }
    (changed, touched)
}

const POOLS: usize = 400;
const TICKS: usize = 1_500;

#[test]
fn calm() {
    let (_, touched) = run(CALM, 1, POOLS, TICKS);
    assert!(touched < POOLS * TICKS / 20, "most pools are left alone: {touched}");
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
fn hedged_pools() {
    let of = Scenario { hedged: true, leverage: 30, jumps: 50, ..CALM };
    assert!(run(of, 4, POOLS, TICKS).0 > 0);
}

#[test]
fn several_assets() {
    let of = Scenario { multi: true, jumps: 40, leverage: 30, ..CALM };
    assert!(run(of, 5, POOLS / 4, TICKS).0 > 0);
}

#[test]
fn fills_and_deposits() {
    let of = Scenario { changes: 2, jumps: 30, leverage: 25, hedged: true, ..CALM };
    assert!(run(of, 6, POOLS, TICKS).0 > 0);
}

#[test]
fn fills_and_deposits_of_several_assets() {
    let of = Scenario { changes: 2, jumps: 30, leverage: 25, multi: true, jumping: true, ..CALM };
    assert!(run(of, 7, POOLS / 4, TICKS).0 > 0);
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
    // The watch goes on: the small one is found far below, and again at the first price.
    let told = watch.tick(id, mark(100)).unwrap();
    assert_eq!((told.liquidatable, told.safe), (vec![pool], vec![]));
    let told = watch.tick(id, mark(20_000)).unwrap();
    assert_eq!((told.liquidatable, told.safe), (vec![], vec![pool]));
    same(&watch);
}

//! Population a or h of `benches/population.py`, made in Rust: 200 instruments, one to eight positions an account. Variants:
//! hedged pairs, and collateral in three assets.

use std::fmt::Write as _;
use std::sync::Arc;

use aivora::data::Venue;
use aivora::margin::{LegSide, PoolKey, PoolPlace, Portfolio, PortfolioBuilder};
use aivora::numbers::{Lots, MarkTicks, PriceTicks, Quanta};
use aivora::pricing::Prices;

/// `SplitMix64`: the populations must not change with a library.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

pub(crate) const INSTRUMENTS: usize = 200;
/// Floors of the brackets in dollars, and their maintenance rates as multiples of a third of the first one's.
pub(crate) const FLOORS: [i64; 10] =
    [0, 5_000, 25_000, 100_000, 250_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000];
const STEPS: [i64; 10] = [4, 5, 8, 10, 20, 40, 50, 60, 100, 200];
/// Rates are in these parts, so that the factors 1.25 and 12.5 stay whole.
pub(crate) const DEN: i64 = 4_000;

/// The maintenance rates of an instrument over [`DEN`].
pub(crate) fn rates(instrument: usize) -> [i64; 10] {
    STEPS.map(|step| [4, 5, 10][instrument % 3] * step)
}

/// What a notional in quanta requires.
fn requirement(instrument: usize, notional: i64) -> f64 {
    let ends = FLOORS.iter().skip(1).map(|floor| *floor as f64 * 1e6).chain([f64::INFINITY]);
    let brackets = FLOORS.iter().zip(ends).zip(rates(instrument));
    let part = |((floor, end), rate): ((&i64, f64), i64)| {
        let own = ((notional as f64).min(end) - *floor as f64 * 1e6).max(0.0);
        own * rate as f64 / DEN as f64
    };
    brackets.map(part).sum()
}

/// What pools hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// One leg an instrument, one asset.
    Plain,
    /// A long and a short leg of each instrument, the smaller one a third to all but a tenth of the larger one.
    Hedged,
    /// Of each such pair only what is left of it, with the same gap: the collateral is less by what the pair requires more.
    Netted,
    /// Plain legs; collateral in three assets with haircuts.
    Assets,
}

/// Collateral beside the dollar: prices, and what part of the collateral they are.
const COINS: [(&str, i64); 2] = [("C0", 6_400_000), ("C1", 320_000)];

pub(crate) fn venue() -> Arc<Venue> {
    let mut card = String::from(
        "schema = \"aivora-card/0\"\nname = \"bench\"\n[asset.U]\nquantum = \"0.000001\"\n",
    );
    for (name, _) in COINS {
        write!(card, "[asset.{name}]\nquantum = \"0.00000001\"\nprice_tick = \"0.01\"\nhaircuts = [{{ floor = \"0\", haircut = \"0.05\" }}, {{ floor = \"10\", haircut = \"0.1\" }}]\n").unwrap();
    }
    card.push_str("[rules]\nsettlement = \"U\"\nvaluation = \"U\"\n");
    for i in 0..INSTRUMENTS {
        write!(card, "[[instrument]]\nsymbol = \"I{i}\"\nkind = \"linear\"\nprice_tick = \"0.01\"\nmark_tick = \"0.01\"\nlot = \"0.0001\"\n[instrument.tiers]\nby = \"notional\"\ndeduction = \"derived\"\nbrackets = [\n").unwrap();
        for (floor, maintenance) in FLOORS.iter().zip(rates(i)) {
            let initial = (2 * maintenance).min(DEN);
            writeln!(card, "{{ floor = \"{floor}\", maintenance = \"{maintenance}/{DEN}\", initial = \"{initial}/{DEN}\" }},").unwrap();
        }
        card.push_str("]\n");
    }
    Arc::new(Venue::from_toml(&card).unwrap())
}

fn quanta(amount: i128) -> Quanta {
    Quanta::new(amount, "amount").unwrap()
}

/// Gives a pool its collateral, in one asset or in all.
fn deposit(
    builder: &mut PortfolioBuilder,
    key: PoolPlace,
    collateral: f64,
    random: &mut Random,
    (venue, holding): (&Venue, Held),
) {
    if holding != Held::Assets {
        builder.collateral(key, quanta(collateral as i128)).unwrap();
        return;
    }
    builder.multi(key, true).unwrap();
    let mut left = 1.0;
    for (name, price) in COINS {
        let part = left * random.uniform();
        left -= part;
        // Quanta of the coin: 10^8 a coin, a cent a tick, 10^6 a dollar; the haircut is made up for.
        let amount = (collateral * part / 0.95 * 1e4 / price as f64) as i128;
        let asset = venue.find_asset(name).unwrap();
        builder.balance(key, asset, quanta(amount), quanta(0)).unwrap();
    }
    let asset = venue.find_asset("U").unwrap();
    builder.balance(key, asset, quanta((collateral * left) as i128), quanta(0)).unwrap();
}

/// So many accounts, with this median leverage.
pub(crate) fn population(
    venue: &Arc<Venue>,
    accounts: usize,
    leverage: f64,
    holding: Held,
) -> (Portfolio, Prices) {
    let mut random = Random(7);
    let mut prices = Prices::new(Arc::clone(venue));
    let ids: Vec<_> = (0..INSTRUMENTS).map(|i| venue.find(&format!("I{i}")).unwrap()).collect();
    let marks: Vec<i64> =
        ids.iter().map(|_| (2e4 * 100_f64.powf(random.uniform())) as i64).collect();
    for (id, mark) in ids.iter().zip(&marks) {
        prices.set_mark(*id, MarkTicks::new(i128::from(*mark), "m").unwrap()).unwrap();
    }
    for (name, price) in COINS {
        let price = PriceTicks::new(i128::from(price), "price").unwrap();
        prices.set_asset(venue.find_asset(name).unwrap(), price).unwrap();
    }
    let mut drawn: Vec<f64> = (1..=INSTRUMENTS).map(|r| 1.0 / r as f64).collect();
    let total: f64 = drawn.iter().sum();
    let mut below = 0.0;
    for weight in &mut drawn {
        below += *weight;
        *weight = below;
    }
    let mut builder = PortfolioBuilder::new(Arc::clone(venue));
    for account in 0..accounts {
        let name = format!("{account:07}");
        let key = builder.pool(PoolKey { account: &name, pool: "cross" }).unwrap();
        let count = 1 + (0..7).filter(|_| random.uniform() < 2.0 / 7.0).count();
        let gross = (2_000.0 * (2.0 * random.normal()).exp()).clamp(20.0, 5e7);
        let mut held = Vec::new();
        while held.len() < count {
            let at = random.uniform() * total;
            let pick = drawn.partition_point(|below| *below < at).min(INSTRUMENTS - 1);
            if !held.contains(&pick) {
                held.push(pick);
            }
        }
        let shares: Vec<f64> = held.iter().map(|_| -random.uniform().ln()).collect();
        let sum: f64 = shares.iter().sum();
        let mostly_long = random.uniform() < 0.6;
        let (mut worth, mut spared) = (0.0, 0.0);
        for (pick, share) in held.iter().zip(&shares) {
            let lots = ((gross * share / sum) * 1e6 / marks[*pick] as f64).max(1.0) as i64;
            let long = (random.uniform() < 0.8) == mostly_long;
            let lots = if long { lots } else { -lots };
            let entry = (marks[*pick] as f64 * (0.97 + 0.06 * random.uniform())) as i64;
            let mut open = |side, lots: i64| {
                let cost = quanta(i128::from(lots) * i128::from(entry));
                let lots = Lots::new(i128::from(lots), "q").unwrap();
                builder.position(key, ids[*pick], side, lots, cost, quanta(0)).unwrap();
            };
            let mut net = lots;
            if holding == Held::Hedged || holding == Held::Netted {
                let part = (lots.abs() as f64 * (0.33 + 0.57 * random.uniform())) as i64;
                let other = -lots.signum() * part.max(1);
                net += other;
                if holding == Held::Hedged {
                    let long = |lots: i64| if lots > 0 { LegSide::Long } else { LegSide::Short };
                    open(long(lots), lots);
                    open(long(other), other);
                } else {
                    let required = |lots: i64| requirement(*pick, (lots * marks[*pick]).abs());
                    spared += required(lots) + required(other) - required(net);
                    open(LegSide::Net, net);
                }
            } else {
                open(LegSide::Net, lots);
            }
            worth += ((net * marks[*pick]) as f64).abs();
        }
        let collateral = worth / (leverage * (0.9 * random.normal()).exp()) - spared;
        deposit(&mut builder, key, collateral, &mut random, (venue, holding));
    }
    (builder.build().unwrap(), prices)
}

//! Population a or h of `benches/population.py`, made in Rust: 200 instruments, one to eight positions an account.

use std::fmt::Write as _;
use std::sync::Arc;

use aivora::data::Venue;
use aivora::margin::{LegSide, PoolKey, Portfolio, PortfolioBuilder};
use aivora::numbers::{Lots, MarkTicks, Quanta};
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

pub(crate) fn venue() -> Arc<Venue> {
    let mut card = String::from(
        "schema = \"aivora-card/0\"\nname = \"bench\"\n[asset.U]\nquantum = \"0.000001\"\n[rules]\nsettlement = \"U\"\n",
    );
    let floors = [
        0, 5_000, 25_000, 100_000, 250_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000,
    ];
    let steps = [4, 5, 8, 10, 20, 40, 50, 60, 100, 200];
    for i in 0..INSTRUMENTS {
        let base = [4, 5, 10][i % 3];
        write!(card, "[[instrument]]\nsymbol = \"I{i}\"\nkind = \"linear\"\nprice_tick = \"0.01\"\nmark_tick = \"0.01\"\nlot = \"0.0001\"\n[instrument.tiers]\nby = \"notional\"\ndeduction = \"derived\"\nbrackets = [\n").unwrap();
        for (floor, step) in floors.iter().zip(steps) {
            // Rates in units of 1/4000, so that the factors 1.25 and 12.5 stay whole.
            let maintenance = base * step;
            writeln!(card, "{{ floor = \"{floor}\", maintenance = \"{maintenance}/4000\", initial = \"{}/4000\" }},", (2 * maintenance).min(4000)).unwrap();
        }
        card.push_str("]\n");
    }
    Arc::new(Venue::from_toml(&card).unwrap())
}

/// So many accounts, with this median leverage.
pub(crate) fn population(
    venue: &Arc<Venue>,
    accounts: usize,
    leverage: f64,
) -> (Portfolio, Prices) {
    let mut random = Random(7);
    let mut prices = Prices::new(Arc::clone(venue));
    let ids: Vec<_> = (0..INSTRUMENTS).map(|i| venue.find(&format!("I{i}")).unwrap()).collect();
    let marks: Vec<i64> =
        ids.iter().map(|_| (2e4 * 100_f64.powf(random.uniform())) as i64).collect();
    for (id, mark) in ids.iter().zip(&marks) {
        prices.set_mark(*id, MarkTicks::new(i128::from(*mark), "m").unwrap()).unwrap();
    }
    let total: f64 = (1..=INSTRUMENTS).map(|r| 1.0 / r as f64).sum();
    let mut builder = PortfolioBuilder::new(Arc::clone(venue));
    for account in 0..accounts {
        let name = format!("{account:07}");
        let key = builder.pool(PoolKey { account: &name, pool: "cross" }).unwrap();
        let count = 1 + (0..7).filter(|_| random.uniform() < 2.0 / 7.0).count();
        let gross = (2_000.0 * (2.0 * random.normal()).exp()).clamp(20.0, 5e7);
        let mut held = Vec::new();
        while held.len() < count {
            let mut left = random.uniform() * total;
            let pick = (1..=INSTRUMENTS)
                .position(|r| {
                    left -= 1.0 / r as f64;
                    left <= 0.0
                })
                .unwrap_or(0);
            if !held.contains(&pick) {
                held.push(pick);
            }
        }
        let shares: Vec<f64> = held.iter().map(|_| -random.uniform().ln()).collect();
        let sum: f64 = shares.iter().sum();
        let mostly_long = random.uniform() < 0.6;
        let mut worth = 0.0;
        for (pick, share) in held.iter().zip(&shares) {
            let lots = ((gross * share / sum) * 1e6 / marks[*pick] as f64).max(1.0) as i64;
            let long = (random.uniform() < 0.8) == mostly_long;
            let lots = if long { lots } else { -lots };
            let entry = (marks[*pick] as f64 * (0.97 + 0.06 * random.uniform())) as i64;
            let cost = i128::from(lots) * i128::from(entry);
            worth += ((lots * marks[*pick]) as f64).abs();
            let zero = Quanta::new(0, "a").unwrap();
            builder
                .position(
                    key,
                    ids[*pick],
                    LegSide::Net,
                    Lots::new(i128::from(lots), "q").unwrap(),
                    Quanta::new(cost, "c").unwrap(),
                    zero,
                )
                .unwrap();
        }
        let leverage = leverage * (0.9 * random.normal()).exp();
        builder.collateral(key, Quanta::new((worth / leverage) as i128, "c").unwrap()).unwrap();
    }
    (builder.build().unwrap(), prices)
}

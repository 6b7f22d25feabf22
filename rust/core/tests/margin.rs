//! Lanes against the wide path, liquidation prices against every tick, and verdicts on the line.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::sync::Arc;

use aivora::data::Venue;
use aivora::margin::{
    Holdings, LegSide, PoolKey, PoolKind, PoolPlace, Portfolio, PortfolioBuilder, Status,
};
use aivora::numbers::{ErrorKind, Lots, MarkTicks, Quanta, Rate};
use aivora::pricing::Prices;
use proptest::prelude::*;

fn card(rules: &str, tiers: &str) -> String {
    format!(
        r#"
schema = "aivora-card/0"
name = "t"
[asset.U]
quantum = "1"
[rules]
settlement = "U"
taker_fee = "0.01"
{rules}
[[instrument]]
symbol = "A"
kind = "linear"
price_tick = "5"
mark_tick = "1"
lot = "1"
{tiers}
[[instrument]]
symbol = "B"
kind = "linear"
price_tick = "1"
mark_tick = "1"
lot = "1"
{tiers}
"#
    )
}

const DERIVED: &str = r#"[instrument.tiers]
by = "notional"
deduction = "derived"
brackets = [
  { floor = "0", maintenance = "0.05", max_leverage = "10" },
  { floor = "700", maintenance = "0.1", max_leverage = "6" },
  { floor = "2000", maintenance = "1/3", initial = "0.5" },
]"#;
const JUMP: &str = r#"[instrument.tiers]
by = "notional"
brackets = [
  { floor = "0", maintenance = "0.05", max_leverage = "10" },
  { floor = "700", maintenance = "0.3", max_leverage = "3" },
]"#;
const SIZE: &str = r#"[instrument.tiers]
by = "size"
brackets = [
  { floor = "0", maintenance = "0.05", max_leverage = "10" },
  { floor = "12", maintenance = "0.3", max_leverage = "3" },
]"#;
const SLOPE: &str = r#"[instrument.tiers]
by = "size_slope"
maintenance_base = "0.01"
initial_base = "0.02"
slope = "0.005""#;
const VALUE: &str = r#"[instrument.tiers]
by = "value_slope"
maintenance_base = "0.01"
initial_base = "0.02"
slope = "0.00002""#;
/// From a value of 6,500 on the requirement grows faster than the value.
const STEEP: &str = r#"[instrument.tiers]
by = "value_slope"
maintenance_base = "0.35"
initial_base = "0.4"
slope = "0.00005""#;
const ROOT: &str = r#"[instrument.tiers]
by = "size_root"
maintenance_base = "0.0213"
initial_base = "0.05"
factor = "0.012345""#;

const RULES: [&str; 5] = [
    "",
    "trigger = \"non_strict\"\nclosing_fee = \"mark\"",
    "closing_fee = \"bankruptcy\"",
    "maintenance_basis = \"entry\"\ninitial_basis = \"entry\"\nclosing_fee = \"bankruptcy\"",
    "maintenance_basis = \"entry\"\nclosing_fee = \"mark\"",
];
const TIERS: [&str; 7] = [DERIVED, JUMP, SIZE, SLOPE, VALUE, STEEP, ROOT];

fn venue(rules: usize, tiers: usize) -> Arc<Venue> {
    Arc::new(Venue::from_toml(&card(RULES[rules], TIERS[tiers])).unwrap())
}

fn prices(venue: &Arc<Venue>, a: i64, b: i64) -> Prices {
    let mut prices = Prices::new(Arc::clone(venue));
    for (symbol, mark) in [("A", a), ("B", b)] {
        let id = venue.find(symbol).unwrap();
        prices.set_mark(id, MarkTicks::new(i128::from(mark), "mark").unwrap()).unwrap();
    }
    prices
}

#[derive(Debug, Clone)]
struct Row {
    pool: u8,
    symbol: bool,
    side: LegSide,
    lots: i64,
    entry: i64,
    leverage: Option<u8>,
}

fn place(builder: &mut PortfolioBuilder, name: &str) -> PoolPlace {
    builder.pool(PoolKey { account: name, pool: "cross" }).unwrap()
}

fn build(venue: &Arc<Venue>, rows: &[Row], cash: i128) -> Portfolio {
    let mut builder = PortfolioBuilder::new(Arc::clone(venue));
    for row in rows {
        let name = row.pool.to_string();
        let id = venue.find(if row.symbol { "A" } else { "B" }).unwrap();
        let lots = match row.side {
            LegSide::Net => row.lots,
            LegSide::Long => row.lots.abs(),
            LegSide::Short => -row.lots.abs(),
        };
        let cost = Quanta::new(i128::from(lots) * i128::from(row.entry), "c").unwrap();
        let lots = Lots::new(i128::from(lots), "q").unwrap();
        let zero = Quanta::new(0, "a").unwrap();
        // A leg given twice or mixed with another mode is refused, and changes nothing.
        let at = place(&mut builder, &name);
        let _ = builder.position(at, id, row.side, lots, cost, zero);
        if let Some(leverage) = row.leverage {
            let rate = Rate::new(i128::from(leverage), 1, "l").unwrap();
            let at = place(&mut builder, &name);
            let _ = builder.leverage(at, Some(id), rate);
        }
        let at = place(&mut builder, &name);
        let _ = builder.collateral(at, Quanta::new(cash, "c").unwrap());
    }
    builder.build().unwrap()
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let side = prop_oneof![Just(LegSide::Net), Just(LegSide::Long), Just(LegSide::Short)];
    let lots = prop_oneof![-25_i64..25, Just(11), Just(12), Just(13)];
    let row = (0_u8..4, any::<bool>(), side, lots, 1_i64..120, proptest::option::of(1_u8..20));
    let row = row.prop_map(|(pool, symbol, side, lots, entry, leverage)| Row {
        pool,
        symbol,
        side,
        lots,
        entry,
        leverage,
    });
    proptest::collection::vec(row, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn lanes_equal_the_wide_path_on_any_number_of_threads(
        rules in 0_usize..5, tiers in 0_usize..7, rows in rows(), cash in -500_i128..2_000,
        a in 1_i64..200, b in 1_i64..200,
    ) {
        let venue = venue(rules, tiers);
        let portfolio = build(&venue, &rows, cash);
        let prices = prices(&venue, a, b);
        let report = portfolio.check(&prices, 1).unwrap();
        for threads in [2, 3, 7] {
            prop_assert_eq!(&portfolio.check(&prices, threads).unwrap(), &report);
        }
        for pool in portfolio.pools() {
            let wide = portfolio.assess(pool, &prices).unwrap();
            let row = pool.index();
            prop_assert_eq!(report.equity.get(row), Some(wide.equity));
            prop_assert_eq!(report.initial.get(row), Some(wide.initial));
            prop_assert_eq!(report.maintenance.get(row), Some(wide.maintenance));
            prop_assert_eq!(report.status[row], wide.status.code());
            prop_assert_eq!(report.liquidatable[row], wide.liquidatable);
        }
    }

    #[test]
    fn insertion_order_reaches_no_digest(
        rules in 0_usize..5, rows in rows(), cash in -500_i128..2_000,
    ) {
        // Rows that a builder refuses depend on the order; keep one row a leg, all in net mode.
        let mut kept: Vec<Row> = Vec::new();
        for mut row in rows {
            row.side = LegSide::Net;
            if !kept.iter().any(|k| (k.pool, k.symbol) == (row.pool, row.symbol)) {
                kept.push(row);
            }
        }
        let venue = venue(rules, 0);
        let forward = build(&venue, &kept, cash).digest().unwrap();
        kept.reverse();
        prop_assert_eq!(build(&venue, &kept, cash).digest().unwrap(), forward);
    }

    #[test]
    fn flips_are_the_nearest_of_all_ticks(
        rules in 0_usize..5, tiers in 0_usize..7, rows in rows(), cash in -300_i128..1_500,
        a in 1_i64..200, b in 1_i64..200,
    ) {
        const LAST: i64 = 400;
        let venue = venue(rules, tiers);
        let portfolio = build(&venue, &rows, cash);
        let now = prices(&venue, a, b);
        let id = venue.find("A").unwrap();
        for pool in portfolio.pools() {
            let verdict = |p: i64| portfolio.assess(pool, &prices(&venue, p, b)).unwrap().liquidatable;
            let Ok(found) = portfolio.liquidation_price(pool, id, &now) else {
                prop_assert!(portfolio.legs(pool).unwrap().iter().all(|l| l.instrument != id));
                continue;
            };
            let current = verdict(a);
            let below = (1..a).rev().find(|p| verdict(*p) != current);
            prop_assert_eq!(found.below.map(|f| f.mark), below);
            let above = (a + 1..LAST).find(|p| verdict(*p) != current);
            prop_assert_eq!(found.above.map(|f| f.mark).filter(|m| *m < LAST), above);
            for flip in [found.below, found.above].into_iter().flatten() {
                prop_assert_eq!(flip.liquidatable, !current);
                prop_assert!(!verdict(flip.price), "the price shown is safe");
                let below = flip.mark < a;
                let safe = if flip.liquidatable { flip.mark + if below { 1 } else { -1 } } else { flip.mark };
                let (down, up) = (safe - safe % 5, (safe + 4) / 5 * 5);
                let multiple = if below == flip.liquidatable { up } else { down };
                let usable = if flip.liquidatable {
                    (multiple <= a) == below || multiple == a
                } else {
                    multiple >= 1 && !verdict(multiple)
                };
                prop_assert_eq!(flip.price, if usable && multiple >= 1 { multiple } else { safe });
            }
        }
    }

    #[test]
    fn closing_at_the_bankruptcy_price_loses_at_most_what_is_allotted(
        rules in 0_usize..5, tiers in 0_usize..7, rows in rows(), cash in -300_i128..1_500,
        a in 1_i64..200, b in 1_i64..200,
    ) {
        let venue = venue(rules, tiers);
        let portfolio = build(&venue, &rows, cash);
        let now = prices(&venue, a, b);
        for pool in portfolio.pools() {
            let total = portfolio.assess(pool, &now).unwrap();
            let (mut allotted, mut held) = (0, false);
            for leg in portfolio.legs(pool).unwrap().into_iter().filter(|l| l.lots != 0) {
                let found = portfolio.bankruptcy_price(pool, leg.instrument, leg.side, &now).unwrap();
                (allotted, held) = (allotted + found.allotted, true);
                let unit = i128::from(venue.instrument(leg.instrument).unwrap().price_unit());
                let value = portfolio.leg_margin(pool, &leg, &now).unwrap().value;
                let loss = |x: i64| value - i128::from(leg.lots) * unit * i128::from(x);
                let sign = leg.sign();
                match found.price {
                    Some(x) => {
                        prop_assert!(loss(x) <= found.allotted);
                        prop_assert!(x - sign < 1 || loss(x - sign) > found.allotted);
                    }
                    None if sign > 0 => prop_assert!(value <= found.allotted),
                    None => prop_assert!(loss(1) > found.allotted),
                }
            }
            prop_assert!(!held || allotted <= total.equity);
        }
    }
}

#[test]
fn verdicts_on_the_line() {
    for (trigger, on_the_line) in
        [("strict", Status::BelowInitial), ("non_strict", Status::Liquidatable)]
    {
        let venue = card(&format!("trigger = \"{trigger}\""), DERIVED);
        let venue = Arc::new(Venue::from_toml(&venue).unwrap());
        let row =
            Row { pool: 1, symbol: true, side: LegSide::Net, lots: 10, entry: 50, leverage: None };
        // Notional 500 at 50: maintenance 25, initial 50, profit 0.
        let cases = [(24, Status::Liquidatable), (25, on_the_line), (26, Status::BelowInitial)];
        for (cash, want) in cases.into_iter().chain([
            (49, Status::BelowInitial),
            (50, Status::Safe),
            (-1, Status::Bankrupt),
        ]) {
            let portfolio = build(&venue, std::slice::from_ref(&row), cash);
            let pool = portfolio.find("1", "cross").unwrap();
            let found = portfolio.assess(pool, &prices(&venue, 50, 1)).unwrap();
            assert_eq!(
                (found.status, found.initial, found.maintenance),
                (want, 50, 25),
                "{trigger} {cash}"
            );
        }
    }
}

#[test]
fn bankrupt_without_a_requirement_is_not_liquidatable() {
    let venue = venue(1, 0);
    let mut builder = PortfolioBuilder::new(Arc::clone(&venue));
    let at = place(&mut builder, "x");
    builder.collateral(at, Quanta::new(-1, "c").unwrap()).unwrap();
    let at = place(&mut builder, "y");
    builder.collateral(at, Quanta::new(0, "c").unwrap()).unwrap();
    let portfolio = builder.build().unwrap();
    let report = portfolio.check(&Prices::new(venue), 1).unwrap();
    assert_eq!(report.status, vec![Status::Bankrupt.code(), Status::Safe.code()]);
    assert_eq!(report.liquidatable, vec![false, false]);
}

#[test]
fn a_missing_mark_fails_closed_and_names_the_pool() {
    let venue = venue(0, 0);
    let row = Row { pool: 7, symbol: true, side: LegSide::Net, lots: 1, entry: 5, leverage: None };
    let portfolio = build(&venue, &[row], 10);
    let err = portfolio.check(&Prices::new(venue), 1).unwrap_err();
    assert_eq!(err.kind(), ErrorKind::MissingPrice);
    assert!(err.to_string().contains("pool 7/cross"), "{err}");
}

#[test]
fn amounts_past_the_lanes_take_the_wide_path() {
    let venue = venue(0, 0);
    let row = |lots: i64| Row {
        pool: 1,
        symbol: true,
        side: LegSide::Net,
        lots,
        entry: 100,
        leverage: None,
    };
    let portfolio = build(&venue, &[row(1_000_000_000_000_000_000)], 5);
    let mut prices = prices(&venue, 100_000_000_000_000_000, 1);
    let report = portfolio.check(&prices, 1).unwrap();
    let want = 10_i128.pow(35) - 10_i128.pow(20) + 5;
    assert_eq!(report.equity.get(0), Some(want));
    assert!(report.equity.narrow().is_none());
    assert_eq!(report.equity.iter().next(), Some(want));
    prices.set_mark(venue.find("A").unwrap(), MarkTicks::new(100, "m").unwrap()).unwrap();
    assert_eq!(portfolio.check(&prices, 1).unwrap().equity.get(0), Some(5));
}

#[test]
fn isolated_pools_hold_one_instrument() {
    let venue = venue(0, 0);
    let mut builder = PortfolioBuilder::new(Arc::clone(&venue));
    let (q, zero) = (Lots::new(1, "q").unwrap(), Quanta::new(0, "c").unwrap());
    let at = place(&mut builder, "x");
    builder.kind(at, PoolKind::Isolated).unwrap();
    for symbol in ["A", "B"] {
        let id = venue.find(symbol).unwrap();
        let at = place(&mut builder, "x");
        builder.position(at, id, LegSide::Net, q, zero, zero).unwrap();
    }
    assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::BadLeg);
}

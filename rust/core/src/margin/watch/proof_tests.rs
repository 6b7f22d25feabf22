//! The proof obligations of `docs/spec/watch.md`, each on its own, against the general path.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fmt::Write as _;
use std::sync::Arc;

use proptest::prelude::*;

use crate::data::{InstrumentId, Venue};
use crate::margin::leg::{Leg, LegSide};
use crate::margin::requirement::leg_margin;
use crate::margin::span::Span;
use crate::margin::{Holdings, PoolKey, PortfolioBuilder};
use crate::numbers::{Lots, MarkTicks, PriceTicks, Quanta};
use crate::pricing::Prices;

use super::look::plain_entries;
use super::plain::{Aim, Law, Look, exchanged};
use super::records::{Certificate, SHARED};
use super::slots::{ANY, Slots};
use super::{Changes, PoolId, Watch};

/// Linear with joined and with jumping requirements, inverse, and rounded by contract; closing fees none or at the mark.
fn venue(fee: bool) -> Venue {
    let fee = if fee { "closing_fee = \"mark\"\ntaker_fee = \"0.0007\"\n" } else { "" };
    let mut card = format!(
        "schema = \"aivora-card/0\"\nname = \"proofs\"\n[asset.U]\nquantum = \"0.000001\"\n[asset.C]\nquantum = \"0.00000001\"\n\
         price_tick = \"0.01\"\nliability_weight = \"1.1\"\nhaircuts = [{{ floor = \"0\", haircut = \"0.05\" }}, \
         {{ floor = \"0.5\", haircut = \"0.3\" }}]\n[rules]\nsettlement = \"U\"\nvaluation = \"U\"\n{fee}"
    );
    let kinds = [
        ("JOINED", "linear", "derived", "0.001", ""),
        ("JUMPS", "linear", "none", "0.001", ""),
        ("INVERSE", "inverse", "derived", "1", "multiplier = \"7\"\nsettlement = \"C\"\n"),
        (
            "ROUNDED",
            "inverse",
            "derived",
            "1",
            "settlement = \"C\"\nvalue_rounding = \"per_contract\"\n",
        ),
    ];
    for (symbol, kind, deduction, lot, more) in kinds {
        let floors =
            if kind == "linear" { ["3", "70", "900"] } else { ["0.0004", "0.003", "0.09"] };
        write!(
            card,
            "[[instrument]]\nsymbol = \"{symbol}\"\nkind = \"{kind}\"\nprice_tick = \"0.01\"\nmark_tick = \"0.01\"\nlot = \"{lot}\"\n{more}\
             [instrument.tiers]\nby = \"notional\"\ndeduction = \"{deduction}\"\nbrackets = [\n\
             {{ floor = \"0\", maintenance = \"1/300\", initial = \"0.01\" }},\n\
             {{ floor = \"{}\", maintenance = \"0.02\", initial = \"0.04\" }},\n\
             {{ floor = \"{}\", maintenance = \"0.11\", initial = \"0.2\" }},\n\
             {{ floor = \"{}\", maintenance = \"0.5\", initial = \"1\" }},\n]\n",
            floors[0], floors[1], floors[2]
        )
        .unwrap();
    }
    Venue::from_toml(&card).unwrap()
}

fn leg(instrument: u32, side: LegSide, lots: i64) -> Leg {
    Leg { lots, cost: 0, ..Leg::empty(InstrumentId(instrument), side) }
}

/// One leg, or a long and a short one.
fn legs() -> impl Strategy<Value = Vec<(bool, i64)>> {
    let one = (any::<bool>(), 1..60_000_i64).prop_map(|leg| vec![leg]);
    let two =
        (1..60_000_i64, 1..60_000_i64).prop_map(|(long, short)| vec![(true, long), (false, short)]);
    // Level pairs, and small ones: where roundings are all there is.
    let level = (1..60_000_i64, -1..2_i64)
        .prop_map(|(size, more)| vec![(true, size), (false, (size + more).max(1))]);
    let small = (1..40_i64, 1..40_i64).prop_map(|(long, short)| vec![(true, long), (false, short)]);
    // At 1/300 what 150 a side require grows as fast as one is worth.
    let balanced =
        (140..160_i64, -3..4_i64).prop_map(|(size, more)| vec![(true, size), (false, size + more)]);
    prop_oneof![one, two, level, small, balanced]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_500, ..ProptestConfig::default() })]

    /// 1 to 5: the bounds between two marks hold at every mark between them.
    #[test]
    fn what_lies_between_two_marks(
        (instrument, held, fee) in (0..4_u32, legs(), any::<bool>()),
        (a, b) in (1..4_000_i64, 1..4_000_i64),
        inside in prop::collection::vec(0.0..1.0_f64, 12),
    ) {
        let venue = venue(fee);
        let of = venue.instrument(InstrumentId(instrument)).unwrap();
        let legs: Vec<Leg> = held
            .iter()
            .map(|(long, lots)| match (held.len(), long) {
                (1, _) => leg(instrument, LegSide::Net, if *long { *lots } else { -lots }),
                (_, true) => leg(instrument, LegSide::Long, *lots),
                (_, false) => leg(instrument, LegSide::Short, -lots),
            })
            .collect();
        let span = Span::of(venue.rules(), of, &legs, (a, b)).unwrap();
        #[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        let sampled = inside.iter().map(|part| a + ((b - a) as f64 * part).round() as i64);
        let (low, high) = (a.min(b), a.max(b));
        let beside = (low..high).take(40);
        for at in sampled.chain(beside) {
            let margins: Vec<_> =
                legs.iter().map(|l| leg_margin(venue.rules(), of, l, at).unwrap()).collect();
            let equity: i128 = margins.iter().map(|m| m.pnl).sum();
            let required: i128 = margins.iter().map(|m| m.maintenance).sum();
            let gap = equity - required;
            prop_assert!(span.equity.0 <= equity && equity <= span.equity.1, "{span:?} {equity} at {at}");
            prop_assert!(span.maintenance.0 <= required && required <= span.maintenance.1);
            prop_assert!(span.gap.0 <= gap && gap <= span.gap.1, "{span:?} {gap} at {at}");
        }
    }

    /// A certificate of sums holds at every price of its intervals, and its slack may be paid away on top.
    #[test]
    fn a_certificate_of_sums(
        (first, second, coins) in (legs(), legs(), prop_oneof![Just(0_i64), -40_000_000..90_000_000_i64]),
        (cash, fee) in (prop_oneof![-3_000_000..4_000_000_i64, -3_000_000..400_000_000_i64], any::<bool>()),
        marks in (1..4_000_i64, 1..4_000_i64, 1..9_000_000_i64),
        floor in prop_oneof![Just(0_i64), Just(3_000_000), Just(70_000_000), Just(900_000_000)],
        moves in prop::collection::vec((0.0..1.0_f64, 0.0..1.0_f64, 0.0..1.0_f64), 16),
    ) {
        let venue = Arc::new(venue(fee));
        let mut builder = PortfolioBuilder::new(Arc::clone(&venue));
        let key = builder.pool(PoolKey { account: "a", pool: "cross" }).unwrap();
        builder.multi(key, true).unwrap();
        // Some are a little below the floor of a bracket.
        let second = match floor {
            0 => second,
            floor => second.into_iter().map(|(long, _)| (long, (floor / 10 / marks.1).max(1))).collect(),
        };
        for (instrument, held) in [(0, &first), (1, &second)] {
            for (long, lots) in held {
                let side = match (held.len(), long) {
                    (1, _) => LegSide::Net,
                    (_, true) => LegSide::Long,
                    (_, false) => LegSide::Short,
                };
                let lots = Lots::new(i128::from(if *long { *lots } else { -lots }), "q").unwrap();
                let mark = if instrument == 0 { marks.0 } else { marks.1 };
                let cost = Quanta::new(i128::from(lots.get() * mark * 10), "cost").unwrap();
                let id = InstrumentId(instrument);
                builder.position(key, id, side, lots, cost, Quanta::default()).unwrap();
            }
        }
        let coin = venue.find_asset("C").unwrap();
        let usd = venue.find_asset("U").unwrap();
        let amount = |quanta: i64| Quanta::new(i128::from(quanta), "amount").unwrap();
        builder.balance(key, coin, amount(coins), amount(0)).unwrap();
        builder.balance(key, usd, amount(cash), amount(0)).unwrap();
        let portfolio = builder.build().unwrap();
        let mut prices = Prices::new(Arc::clone(&venue));
        let set = |prices: &mut Prices, (a, b, c): (i64, i64, i64)| {
            prices.set_mark(InstrumentId(0), MarkTicks::trusted(a)).unwrap();
            prices.set_mark(InstrumentId(1), MarkTicks::trusted(b)).unwrap();
            prices.set_asset(coin, PriceTicks::trusted(c)).unwrap();
        };
        set(&mut prices, marks);
        let pool = PoolId(0);
        let of = |i| Law::of_instrument(venue.rules(), i);
        let laws: Vec<Law> = venue.instruments().iter().map(of).chain(venue.assets().iter().map(Law::of_asset)).collect();
        let mut entries = Vec::new();
        let own = plain_entries(&portfolio, &laws, pool, &mut entries).unwrap().unwrap();
        let mut last = None;
        for entry in &mut entries {
            entry.slot = if last == Some(entry.price) { SHARED } else { 0 };
            last = Some(entry.price);
        }
        let (mut look, mut certificate) = (Look::default(), Certificate::default());
        let sums = look.assess(own, &entries, &laws, |at| prices.ticks(at)).unwrap();
        let here = portfolio.assess(pool, &prices).unwrap();
        prop_assert_eq!((i128::from(sums.equity), i128::from(sums.maintenance)), (here.equity, here.maintenance));
        let aim = Aim { liquidatable: here.liquidatable, fires: 0 };
        prop_assert!(look.certify(&laws, sums, aim, &mut certificate).is_some());
        let places: Vec<u32> =
            entries.iter().filter(|e| e.slot != SHARED).map(|e| e.price).collect();
        prop_assert_eq!(places.len(), certificate.intervals.len());
        let interval = |place: usize| {
            let at = places.iter().position(|p| usize::try_from(*p) == Ok(place));
            at.map_or(ANY, |at| certificate.intervals[at])
        };
        let at = |place: usize, part: f64| {
            // Most steps are near the ends.
            let (low, high) = interval(place);
            let (low, high) = (low.max(1), high.min(100_000_000));
            #[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_precision_loss)]
            let inside = low + ((high - low) as f64 * part).round() as i64;
            let here = [marks.0, marks.1, marks.2][place.min(2)];
            #[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_precision_loss)]
            let around = (here as f64 * 4.0_f64.powf(2.0 * part - 1.0)).round() as i64;
            match (part * 10.0).fract() {
                near if near < 0.2 => low,
                near if near < 0.4 => high.max(low),
                near if near < 0.6 => around.clamp(low, high.max(low)),
                near if near < 0.8 => (here + here / 40).clamp(low, high.max(low)),
                _ => inside.clamp(low, high.max(low)),
            }
        };
        let c = prices.place_of(coin);
        for (x, y, z) in moves {
            set(&mut prices, (at(0, x), at(1, y), at(c, z)));
            let there = portfolio.assess(pool, &prices).unwrap();
            prop_assert_eq!(there.liquidatable, here.liquidatable, "{:?} at {:?}", certificate, prices);
            if certificate.slack < i64::MAX {
                // What is left of it may be paid.
                let toward = i128::from(certificate.slack) * if here.liquidatable { 1 } else { -1 };
                let gap = there.equity + toward - there.maintenance;
                prop_assert_eq!(gap < 0, here.liquidatable);
            }
        }
    }

    /// One leg becomes another: whatever else the pool holds, what its old interval left of the gap and the slack is left by the
    /// new one at every price in it.
    #[test]
    fn a_leg_that_is_exchanged(
        (instrument, fee, here) in (0..2_u32, any::<bool>(), 300..4_000_i64),
        (old, new) in (-60_000..60_000_i64, -60_000..60_000_i64),
        (nothing, alike, below, above) in (0..4_u8, any::<bool>(), 0..300_i64, 0..300_i64),
        slack in prop_oneof![0..2_000_000_i64, 0..2_000_000_000_i64],
        inside in prop::collection::vec(0.0..1.0_f64, 24),
    ) {
        let venue = venue(fee);
        let of = venue.instrument(InstrumentId(instrument)).unwrap();
        let law = Law::of_instrument(venue.rules(), of);
        let new = if alike { old.signum() * new.abs().max(1) } else { new };
        let (old, new) = match nothing { 0 => (0, new), 1 => (old, 0), _ => (old, new) };
        let gap = |lots: i64, at: i64| {
            let leg = leg(instrument, LegSide::Net, lots);
            let margin = leg_margin(venue.rules(), of, &leg, at).unwrap();
            i64::try_from(margin.pnl - margin.maintenance).unwrap()
        };
        let held = (here - below, here + above);
        let all = |lots, (low, high): (i64, i64)| (low..=high).map(move |at| gap(lots, at));
        let before = if old == 0 { 0 } else { all(old, held).min().unwrap() };
        // What the others leave at the least, where nothing of the slack is unused.
        let others = slack - before;
        let amounts = [old * 10, new * 10];
        let interval = (old != 0).then_some(held);
        let aim = Aim { liquidatable: false, fires: 0 };
        let Some((left, found)) = exchanged(&law, here, amounts, interval, slack, aim) else {
            return Ok(());
        };
        prop_assert!(left >= 0);
        if new == 0 {
            prop_assert!(others >= left);
            return Ok(());
        }
        let (low, high) = found.unwrap_or(held);
        prop_assert!(low <= here && here <= high, "{low} {here} {high}");
        // The end that takes the pool towards the other verdict, and others.
        let (low, high) = (low.max(1), high.min(1_000_000_000));
        #[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        let sampled = inside.iter().map(|part| low + ((high - low) as f64 * part).round() as i64);
        let near = (low..=high).take(400).chain((low..=high).rev().take(400));
        for at in sampled.chain(near) {
            let all = others + gap(new, at);
            prop_assert!(all >= left, "{all} {left} at {at} of {low} to {high}");
        }
    }

    /// Ends that are kept in 32 bits lose no one: all that are left are found, and few others.
    #[test]
    fn intervals_that_are_kept_coarsely(
        steps in prop::collection::vec((0_i64..1 << 56, 0_i64..1 << 40, 0_i64..1 << 40), 1..80),
        prices in prop::collection::vec(0_usize..80, 1..20),
        off in -3_i64..4,
    ) {
        let mut slots = Slots::default();
        let mut held = Vec::new();
        for (owner, (price, below, above)) in (0..).zip(&steps) {
            let price = price + 1;
            let interval = ((price - below).max(1), price + above);
            let slot = slots.take(owner).unwrap();
            slots.admit(price);
            slots.set(slot, interval);
            held.push((owner, interval));
        }
        for at in prices {
            let (low, high) = held[at % held.len()].1;
            for price in [low + off, high + off, i64::midpoint(low, high)].map(|p| p.max(1)) {
                slots.admit(price);
                let mut found = Vec::new();
                prop_assert!(slots.left_by(price, &mut found, usize::MAX));
                for (owner, (low, high)) in &held {
                    let left = price < *low || price > *high;
                    prop_assert!(!left || found.contains(owner), "{owner} {price} {low} {high}");
                }
            }
        }
    }

    /// Changes one after the other: a verdict that is what it was has not changed.
    #[test]
    fn changes_follow_each_other(flips in prop::collection::vec(prop::collection::btree_set(0_usize..12, 0..6), 1..8)) {
        let (mut now, mut all) = ([false; 12], Changes::default());
        for flipped in flips {
            let mut own = Changes::default();
            for pool in flipped {
                now[pool] = !now[pool];
                own.push(PoolId(pool), now[pool]);
            }
            all.then(own);
        }
        let want: Vec<PoolId> = (0..12).filter(|pool| now[*pool]).map(PoolId).collect();
        prop_assert_eq!(all.liquidatable, want);
        prop_assert!(all.safe.is_empty());
    }
}

#[test]
fn a_price_that_is_set_back_is_no_move() {
    let venue = Arc::new(venue(false));
    let mut prices = Prices::new(Arc::clone(&venue));
    prices.set_mark(InstrumentId(0), MarkTicks::trusted(5)).unwrap();
    let mut watch = Watch::new(PortfolioBuilder::new(venue).build().unwrap(), prices).unwrap();
    for ticks in [6, 5, 7, 5] {
        watch.set_mark(InstrumentId(0), MarkTicks::trusted(ticks)).unwrap();
    }
    assert_eq!(watch.moved.len(), 1, "however often it is set");
    assert!(watch.check().unwrap().is_empty());
    assert!(watch.moved.is_empty());
}

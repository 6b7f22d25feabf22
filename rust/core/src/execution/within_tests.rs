#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::data::{Instrument, Level, Venue};
use crate::execution::{Walk, walk, walk_notional};

/// A card whose coin has so coarse a quantum that rounding shows at every level.
fn instrument(kind: &str, by: &str, lot: &str, multiplier: &str, quantum: &str) -> Arc<Instrument> {
    let card = format!(
        r#"
schema = "aivora-card/0"
name = "t"
[asset.COIN]
quantum = "{quantum}"
[rules]
settlement = "COIN"
taker_fee = "0.0005"
[[instrument]]
symbol = "X"
kind = "{kind}"
value_rounding = "{by}"
price_tick = "0.5"
mark_tick = "0.1"
lot = "{lot}"
multiplier = "{multiplier}"
[instrument.tiers]
by = "notional"
brackets = [{{ floor = "0", maintenance = "0.01", initial = "0.02" }}]
"#
    );
    Arc::new(Venue::from_toml(&card).unwrap().get("X").unwrap().clone())
}

type Levels = Vec<(i64, i64)>;

fn book(instrument: &Arc<Instrument>, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> Book {
    let level = |(price, lots): &(i64, i64)| Level {
        price: PriceTicks::trusted(*price),
        quantity: Lots::trusted(*lots),
    };
    let mut book = Book::new(Arc::clone(instrument));
    let side = |levels: &[(i64, i64)]| levels.iter().map(level).collect::<Vec<_>>();
    book.snapshot(&side(bids), &side(asks), None).unwrap();
    book
}

/// What `lots` at `price` price ticks cost, from docs/spec/book.md in whole numbers: five mark ticks a price tick.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// `k = lot × multiplier / (mark_tick × quantum)`.
    Inverse(i128),
    /// One contract of a lot of three: `num / (5 price)`.
    EachInverse(i128),
    /// One contract of a lot of three: `5 price × num / den`.
    Each(i128, i128),
}

fn nearest(num: i128, den: i128) -> i128 {
    let (floor, twice) = (num / den, 2 * (num % den));
    floor + i128::from(twice > den || (twice == den && floor % 2 == 1))
}

impl Rule {
    fn cost(self, side: Side, price: i64, lots: i64) -> i128 {
        let (p, n) = (5 * i128::from(price), i128::from(lots));
        match (self, side) {
            (Self::Inverse(k), Side::Buy) => n * k / p,
            (Self::Inverse(k), Side::Sell) => (n * k + p - 1) / p,
            (Self::EachInverse(num), _) => 3 * n * nearest(num, p),
            (Self::Each(num, den), _) => 3 * n * nearest(p * num, den),
        }
    }

    /// The average price as a fraction of price ticks.
    fn average(self, lots: i64, cost: i128) -> (i128, i128) {
        let n = i128::from(lots);
        match self {
            Self::Inverse(k) => (n * k, 5 * cost),
            Self::EachInverse(num) => (3 * n * num, 5 * cost),
            Self::Each(num, den) => (cost * den, 15 * n * num),
        }
    }
}

fn three() -> [(Rule, Arc<Instrument>); 3] {
    [
        (Rule::Inverse(3_000), instrument("inverse", "position", "1", "3", "0.01")),
        (Rule::EachInverse(2_000), instrument("inverse", "per_contract", "3", "2", "0.01")),
        (Rule::Each(1, 20), instrument("quanto", "per_contract", "3", "0.005", "0.01")),
    ]
}

fn naive(b: &Book, rule: Rule, side: Side, quantity: i64) -> (i64, i128) {
    let (mut filled, mut cost) = (0, 0);
    for level in b.taken_by(side).levels() {
        let part = level.quantity.get().min(quantity - filled);
        cost += rule.cost(side, level.price.get(), part);
        filled += part;
    }
    (filled, cost)
}

fn walked(b: &Book, side: Side, lots: i64) -> Walk {
    walk(b, side, Lots::trusted(lots), None).unwrap()
}

fn fits(b: &Book, side: Side, lots: i64, bps: i128) -> bool {
    // A walk that costs nothing bought no coins at all, or took contracts that are worth nothing.
    let walk = walked(b, side, lots);
    let Some(slippage) = walk.slippage().unwrap() else {
        return lots == 0 || (side == Side::Buy) != b.instrument().contract().is_inverse();
    };
    slippage.num() * 10_000 <= bps * slippage.den()
}

fn ladder(falling: bool) -> impl Strategy<Value = Levels> {
    prop::collection::vec((1_i64..6, 1_i64..40), 0..9).prop_map(move |steps| {
        let mut price = 100;
        let step = |(gap, lots): (i64, i64)| {
            price += if falling { -gap } else { gap };
            (price, lots)
        };
        steps.into_iter().map(step).collect()
    })
}

fn side() -> impl Strategy<Value = Side> {
    prop::bool::ANY.prop_map(|buy| if buy { Side::Buy } else { Side::Sell })
}

#[test]
fn coins_by_hand() {
    let (_, inverse) = &three()[0];
    let b = book(inverse, &[(100, 10)], &[(101, 4), (103, 10)]);
    // 3000 × 4 / 505 = 23.76 and 3000 × 2 / 515 = 11.65: down for who buys.
    let w = walked(&b, Side::Buy, 6);
    assert_eq!((w.cost().get(), w.fee().unwrap().get(), w.levels()), (34, 1, 2));
    let vwap = w.vwap_ticks().unwrap().unwrap();
    assert_eq!((vwap.num(), vwap.den()), (1_800, 17)); // 6 × 3000 / (5 × 34)
    // 3000 × 7 / 500 = 42, 3000 × 6 / 500 = 36; with 1 lot less than a whole number of coins up.
    assert_eq!(walked(&b, Side::Sell, 7).cost().get(), 42);
    let w = walked(&b, Side::Sell, 5);
    assert_eq!(w.cost().get(), 30);
    assert_eq!(w.slippage_bps().unwrap().unwrap().to_string(), "49.7513"); // 1 / 201
    assert_eq!(walked(&book(inverse, &[(99, 1)], &[]), Side::Sell, 1).cost().get(), 7); // 6.06
    let restored = Walk::restore(inverse, &w.facts()).unwrap();
    assert_eq!(restored, w);
}

#[test]
fn what_rounds_to_nothing_has_no_average() {
    let dust = instrument("inverse", "position", "1", "0.01", "0.01");
    let b = book(&dust, &[(99, 100)], &[(101, 100)]);
    let w = walked(&b, Side::Buy, 50); // 50 × 10 / 505
    assert_eq!((w.cost().get(), w.filled().get()), (0, 50));
    assert_eq!((w.vwap_ticks().unwrap(), w.slippage_bps().unwrap()), (None, None));
    assert_eq!(walked(&b, Side::Sell, 50).cost().get(), 2); // 1.01
    let free = Within::Cost(Quanta::trusted(0));
    assert_eq!(max_quantity(&b, Side::Buy, free).unwrap().get(), 50);
    assert_eq!(max_quantity(&b, Side::Sell, free).unwrap().get(), 0);
}

#[test]
fn a_quanto_is_a_linear_contract_in_another_asset() {
    let quanto = instrument("quanto", "position", "1", "0.2", "0.01");
    let b = book(&quanto, &[], &[(101, 4), (103, 10)]);
    let w = walked(&b, Side::Buy, 6);
    assert_eq!(w.cost().get(), (101 * 4 + 103 * 2) * 10); // 0.5 × 1 × 0.2 / 0.01
    assert_eq!(w.vwap(Decimal::new(5, 1)).unwrap().unwrap().to_string(), "50.833333333334");
}

#[test]
fn a_price_that_no_side_could_sum_is_refused() {
    let big = instrument("quanto", "per_contract", "1000000000000", "1", "0.1");
    let mut b = Book::new(big);
    let level = |price| Level { price: PriceTicks::trusted(price), quantity: Lots::trusted(1) };
    let refused = b.snapshot(&[], &[level(10), level(1_000_000)], None).unwrap_err();
    assert_eq!((refused.kind(), refused.details().row), (ErrorKind::Overflow, Some(1)));
    b.snapshot(&[], &[level(10)], None).unwrap();
    let before = b.digest();
    let refused = b.delta(&[], &[level(11), level(1_000_000)], None, None).unwrap_err();
    assert_eq!(
        (refused.kind(), refused.details().field.as_str()),
        (ErrorKind::Overflow, "asks.price")
    );
    let columns = crate::data::Deltas {
        prices: &[11, 1_000_000],
        lots: &[1, 1],
        bid_counts: &[0],
        ask_counts: &[2],
        sequences: None,
    };
    let refused = b.delta_many(&columns).unwrap_err();
    assert_eq!((refused.kind(), refused.details().row), (ErrorKind::Overflow, Some(0)));
    assert_eq!(b.digest(), before);
}

proptest! {
    #[test]
    fn the_walk_is_the_naive_walk(
        bids in ladder(true), asks in ladder(false), side in side(), quantity in 0_i64..250,
        which in 0_usize..3,
    ) {
        let (rule, instrument) = &three()[which];
        let b = book(instrument, &bids, &asks);
        let (filled, cost) = naive(&b, *rule, side, quantity);
        let w = walked(&b, side, quantity);
        prop_assert_eq!((w.filled().get(), w.cost().get()), (filled, cost));
        prop_assert_eq!(w.fee().unwrap().get(), (cost + 1_999) / 2_000);
        let vwap = w.vwap_ticks().unwrap();
        prop_assert_eq!(vwap.is_none(), cost == 0);
        if let Some(vwap) = vwap {
            let (num, den) = rule.average(filled, cost);
            prop_assert_eq!(vwap.num() * den, num * vwap.den());
        }
        prop_assert_eq!(Walk::restore(instrument, &w.facts()).unwrap(), w);
    }

    #[test]
    fn the_inverse_answers_are_the_largest(
        bids in ladder(true), asks in ladder(false), side in side(), cost in 0_i128..900,
        bps in 0_i128..3_000, which in 0_usize..3,
    ) {
        let (rule, instrument) = &three()[which];
        let b = book(instrument, &bids, &asks);
        let all = b.taken_by(side).totals().0;
        let n = max_quantity(&b, side, Within::Cost(Quanta::trusted(cost))).unwrap().get();
        let best = (0..=all).rev().find(|n| naive(&b, *rule, side, *n).1 <= cost).unwrap();
        prop_assert_eq!(n, best);
        let w = walk_notional(&b, side, Quanta::trusted(cost), None).unwrap();
        prop_assert_eq!(w.filled().get(), n);
        if b.mid_half_ticks().is_some() {
            let n = max_quantity(&b, side, Within::SlippageBps(Decimal::new(bps, 0))).unwrap().get();
            let best = (0..=all).rev().find(|n| fits(&b, side, *n, bps)).unwrap();
            prop_assert_eq!(n, best);
        }
    }

    #[test]
    fn packed_deltas_sum_the_same(
        asks in ladder(false), changed in prop::collection::vec((101_i64..140, 0_i64..40), 1..9), which in 0_usize..3,
    ) {
        let (_, instrument) = &three()[which];
        let (mut one, mut many) = (book(instrument, &[], &asks), book(instrument, &[], &asks));
        let levels: Vec<Level> = changed
            .iter()
            .map(|(p, q)| Level { price: PriceTicks::trusted(*p), quantity: Lots::trusted(*q) })
            .collect();
        one.delta(&[], &levels, None, None).unwrap();
        let (prices, lots): (Vec<i64>, Vec<i64>) = changed.iter().copied().unzip();
        let counts = [i64::try_from(changed.len()).unwrap()];
        let columns = crate::data::Deltas {
            prices: &prices, lots: &lots, bid_counts: &[0], ask_counts: &counts, sequences: None,
        };
        many.delta_many(&columns).unwrap();
        prop_assert_eq!(one, many);
    }
}

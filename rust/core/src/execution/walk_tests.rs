#![allow(clippy::unwrap_used)]

use std::sync::{Arc, OnceLock};

use proptest::prelude::*;

use std::cmp::Ordering;

use super::*;
use crate::data::{Level, Venue};
use crate::execution::fraction::compare;
use crate::execution::{Amounts, walk_books, walk_many};
use crate::numbers::Rate;
use crate::numbers::limits::LOTS_MAX;
use crate::numbers::rounding::div_round;

fn instrument(tick: &str, lot: &str, fee: &str) -> Arc<Instrument> {
    let card = format!(
        r#"
schema = "aivora-card/0"
name = "t"
[asset.USD]
quantum = "0.000001"
[rules]
settlement = "USD"
{fee}
[[instrument]]
symbol = "X"
kind = "linear"
price_tick = "{tick}"
mark_tick = "{tick}"
lot = "{lot}"
[instrument.tiers]
by = "notional"
brackets = [{{ floor = "0", maintenance = "0.01", initial = "0.02" }}]
"#
    );
    Arc::new(Venue::from_toml(&card).unwrap().get("X").unwrap().clone())
}

fn level(price: i64, lots: i64) -> Level {
    Level { price: PriceTicks::trusted(price), quantity: Lots::trusted(lots) }
}

fn book(bids: &[(i64, i64)], asks: &[(i64, i64)]) -> Book {
    static SHARED: OnceLock<Arc<Instrument>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| instrument("0.1", "0.001", "taker_fee = \"0.0005\""));
    let mut book = Book::new(Arc::clone(shared));
    let side =
        |levels: &[(i64, i64)]| levels.iter().map(|(p, q)| level(*p, *q)).collect::<Vec<_>>();
    book.snapshot(&side(bids), &side(asks), None).unwrap();
    book
}

/// Level by level, as the specification says it.
fn naive(
    book: &Book,
    side: Side,
    quantity: i64,
    limit: Option<i64>,
) -> (i64, i128, Option<i64>, u32) {
    let (mut filled, mut value, mut worst, mut levels) = (0, 0_i128, None, 0);
    for l in book.taken_by(side).levels() {
        let price = l.price.get();
        let beyond = limit.is_some_and(|limit| match side {
            Side::Buy => price > limit,
            Side::Sell => price < limit,
        });
        if beyond || filled == quantity {
            break;
        }
        let part = l.quantity.get().min(quantity - filled);
        filled += part;
        value += i128::from(price) * i128::from(part);
        worst = Some(price);
        levels += 1;
    }
    (filled, value, worst, levels)
}

fn lots(n: i64) -> Lots {
    Lots::trusted(n)
}

#[test]
fn a_walk_by_hand() {
    let b = book(&[(99, 5), (98, 10)], &[(101, 2), (103, 4)]);
    let w = walk(&b, Side::Buy, lots(5), None).unwrap();
    let unit = 100; // 0.1 × 0.001 / 0.000001
    assert_eq!(w.cost().get(), (202 + 309) * unit);
    assert_eq!(w.fee().unwrap().get(), 26); // ceil(51,100 × 0.0005 = 25.55)
    assert_eq!((w.filled().get(), w.unfilled().get(), w.levels()), (5, 0, 2));
    assert_eq!(w.worst().unwrap().get(), 103);
    assert_eq!(w.mid_half_ticks(), Some(200));
    let tick = Decimal::new(1, 1);
    assert_eq!(w.vwap(tick).unwrap().unwrap().to_string(), "10.22");
    assert_eq!(w.slippage_bps().unwrap().unwrap().to_string(), "220");
    let w = walk(&b, Side::Sell, lots(7), None).unwrap();
    assert_eq!(w.cost().get(), (495 + 196) * unit);
    assert_eq!(w.vwap(tick).unwrap().unwrap().to_string(), "9.871428571428");
    // 10^4 × (100 - 691/7) / 100 = 128.5714..., up
    assert_eq!(w.slippage_bps().unwrap().unwrap().to_string(), "128.5715");
}

#[test]
fn thin_empty_and_limited() {
    let b = book(&[], &[(101, 2), (103, 4)]);
    let w = walk(&b, Side::Buy, lots(10), None).unwrap();
    assert_eq!((w.filled().get(), w.unfilled().get()), (6, 4));
    assert_eq!((w.mid_half_ticks(), w.slippage_bps().unwrap()), (None, None));
    let w = walk(&b, Side::Sell, lots(10), None).unwrap();
    assert_eq!((w.filled().get(), w.unfilled().get(), w.cost().get()), (0, 10, 0));
    assert_eq!((w.vwap(Decimal::ONE).unwrap(), w.worst()), (None, None));
    assert_eq!(w.fee().unwrap().get(), 0);
    let limit = |p| Some(PriceTicks::trusted(p));
    assert_eq!(walk(&b, Side::Buy, lots(10), limit(102)).unwrap().filled().get(), 2);
    assert_eq!(walk(&b, Side::Buy, lots(10), limit(103)).unwrap().filled().get(), 6);
    assert_eq!(walk(&b, Side::Buy, lots(10), limit(100)).unwrap().filled().get(), 0);
    assert_eq!(walk(&b, Side::Buy, lots(0), None).unwrap().levels(), 0);
    let err = walk(&b, Side::Buy, lots(-1), None).unwrap_err();
    assert_eq!(err.kind(), ErrorKind::OutOfRange);
    let bps = Within::SlippageBps(Decimal::ONE);
    assert_eq!(max_quantity(&b, Side::Buy, bps).unwrap_err().kind(), ErrorKind::NoMid);
}

#[test]
fn an_unknown_fee_is_not_zero() {
    let mut b = Book::new(instrument("0.1", "0.001", ""));
    b.snapshot(&[], &[level(100, 1)], None).unwrap();
    assert_eq!(walk(&b, Side::Buy, lots(1), None).unwrap().fee(), None);
    let walks = walk_many(&b, Side::Buy, vec![1], None).unwrap();
    assert_eq!(walks.fees([&**b.instrument()].into_iter()), Amounts::Short(vec![-1]));
}

#[test]
fn the_largest_book_does_not_overflow() {
    let mut b = Book::new(instrument("1", "0.000001", "taker_fee = \"0.99\""));
    let top = TICKS_MAX;
    b.snapshot(&[level(1, 1)], &[level(top - 1, LOTS_MAX / 2), level(top, LOTS_MAX / 2)], None)
        .unwrap();
    let w = walk(&b, Side::Buy, lots(LOTS_MAX), None).unwrap();
    let cost = i128::from(LOTS_MAX / 2) * i128::from(2 * top - 1);
    assert_eq!(w.cost().get(), cost);
    assert_eq!(w.fee().unwrap().get(), div_round(cost * 99, 100, Rounding::Ceil).unwrap());
    assert!(w.slippage().unwrap().is_some() && w.slippage_bps().unwrap().is_some());
    assert!(w.vwap(Decimal::ONE).unwrap().is_some());
    // The bound on the average is past 128-bit products: the answer is halved to, and still exact.
    let bps = Decimal::new(9_999_999_999_999_999_999, 15);
    let n = max_quantity(&b, Side::Buy, Within::SlippageBps(bps)).unwrap().get();
    assert!(fits_slippage(&b, Side::Buy, n, bps));
    assert!(n == LOTS_MAX || !fits_slippage(&b, Side::Buy, n + 1, bps));
    let err = b.snapshot(&[], &[level(top, LOTS_MAX), level(top + 1, 1)], None).unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Overflow);
}

fn fits_slippage(b: &Book, side: Side, n: i64, bps: Decimal) -> bool {
    let Some(s) = walk(b, side, lots(n), None).unwrap().slippage().unwrap() else { return true };
    let den = pow10(bps.scale() + 4).unwrap();
    compare(s.num(), s.den(), bps.mantissa(), den) != Ordering::Greater
}

#[test]
fn many_name_the_row() {
    let b = book(&[(99, 5)], &[(101, 5)]);
    let err = walk_many(&b, Side::Buy, vec![1, 2, -3], None).unwrap_err();
    assert_eq!((err.kind(), err.details().row), (ErrorKind::OutOfRange, Some(2)));
    let rows = [(&b, 1), (&b, LOTS_MAX), (&b, i64::MAX)];
    let err = walk_books(rows.into_iter(), Side::Sell).unwrap_err();
    assert_eq!((err.kind(), err.details().row), (ErrorKind::OutOfRange, Some(2)));
}

#[test]
fn a_walk_is_restored_from_its_facts() {
    let b = book(&[(99, 5), (98, 10)], &[(101, 2), (103, 4)]);
    for (side, n) in [(Side::Buy, 5), (Side::Sell, 7), (Side::Buy, 0), (Side::Sell, 100)] {
        let w = walk(&b, side, lots(n), None).unwrap();
        assert_eq!(Walk::restore(b.instrument(), &w.facts()).unwrap(), w);
    }
    let good = walk(&b, Side::Buy, lots(5), None).unwrap().facts();
    for bad in [
        WalkFacts { filled: lots(-1), ..good },
        WalkFacts { unfilled: lots(-1), ..good },
        WalkFacts { cost: Quanta::trusted(1), ..good },
        WalkFacts { cost: Quanta::trusted(100), ..good },
        WalkFacts { cost: Quanta::trusted(100 * 516), ..good },
        WalkFacts { worst: None, ..good },
        WalkFacts { levels: 0, ..good },
        WalkFacts { levels: 6, ..good },
        WalkFacts { mid_half_ticks: Some(0), ..good },
    ] {
        let err = Walk::restore(b.instrument(), &bad).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::OutOfRange, "{bad:?}");
    }
}

fn ladder(falling: bool) -> impl Strategy<Value = Vec<(i64, i64)>> {
    prop::collection::vec((1_i64..6, 1_i64..30), 0..12).prop_map(move |steps| {
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

proptest! {
    #[test]
    fn the_walk_is_the_naive_walk(
        bids in ladder(true), asks in ladder(false), side in side(), quantity in 0_i64..200,
        limit in prop::option::of(80_i64..130),
    ) {
        let b = book(&bids, &asks);
        let w = walk(&b, side, lots(quantity), limit.map(PriceTicks::trusted)).unwrap();
        let (filled, value, worst, levels) = naive(&b, side, quantity, limit);
        prop_assert_eq!(w.filled().get(), filled);
        prop_assert_eq!(w.unfilled().get(), quantity - filled);
        prop_assert_eq!(w.cost().get(), value * 100);
        prop_assert_eq!(w.worst().map(PriceTicks::get), worst);
        prop_assert_eq!(w.levels(), levels);
        let fee = Rate::parse("0.0005", "f").unwrap().of_ceil(value * 100).unwrap();
        prop_assert_eq!(w.fee().unwrap().get(), fee);
        if limit.is_none() {
            let walks = walk_many(&b, side, vec![quantity], None).unwrap();
            prop_assert_eq!(&walks, &walk_books([(&b, quantity)].into_iter(), side).unwrap());
            prop_assert_eq!(walks.cost_quanta.iter().collect::<Vec<_>>(), [value * 100]);
        }
    }

    #[test]
    fn the_inverse_answers_are_the_largest(
        bids in ladder(true), asks in ladder(false), side in side(), cost in 0_i128..2_000_000,
        limit in 80_i64..130, bps in 0_i128..200_000, scale in 0_u32..4,
    ) {
        let b = book(&bids, &asks);
        let all = b.taken_by(side).totals().0;
        let cost_of = |n| naive(&b, side, n, None).1 * 100;
        let n = max_quantity(&b, side, Within::Cost(Quanta::trusted(cost))).unwrap().get();
        prop_assert!(cost_of(n) <= cost && (n == all || cost_of(n + 1) > cost));
        let w = walk_notional(&b, side, Quanta::trusted(cost), None).unwrap();
        prop_assert_eq!((w.filled().get(), w.unfilled().get()), (n, 0));
        let n = max_quantity(&b, side, Within::Limit(PriceTicks::trusted(limit))).unwrap().get();
        prop_assert_eq!(n, naive(&b, side, all, Some(limit)).0);
        if b.mid_half_ticks().is_some() {
            let bps = Decimal::new(bps, scale);
            let n = max_quantity(&b, side, Within::SlippageBps(bps)).unwrap().get();
            prop_assert!(fits_slippage(&b, side, n, bps));
            prop_assert!(n == all || !fits_slippage(&b, side, n + 1, bps));
        }
    }
}

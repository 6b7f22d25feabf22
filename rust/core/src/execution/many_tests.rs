#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::data::{Books, Level, Venue};
use crate::execution::walk_packed;

fn level(price: i64, lots: i64) -> Level {
    let price = PriceTicks::new(price.into(), "price").unwrap();
    Level { price, quantity: Lots::new(lots.into(), "quantity").unwrap() }
}

/// Levels from the best on, a gap and a quantity each.
fn ladder(steps: &[(i64, i64)], toward: i64) -> Vec<Level> {
    let mut price = 1_000_000_000;
    let mut next = |(gap, lots): &(i64, i64)| {
        price += toward * gap;
        level(price, *lots)
    };
    steps.iter().map(&mut next).collect()
}

/// The single walks, and their cost as it comes.
fn single(rows: &[(&Book, i64)], side: Side) -> (Vec<i64>, Vec<i128>, Vec<i64>, Vec<i64>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (book, lots) in rows {
        let walk = walk(book, side, quantity(*lots).unwrap(), None).unwrap();
        columns.0.push(walk.filled().get());
        columns.1.push(walk.cost().get());
        columns.2.push(walk.worst().map_or(0, PriceTicks::get));
        columns.3.push(walk.levels().into());
    }
    columns
}

fn columns(walks: Walks) -> (Vec<i64>, Vec<i128>, Vec<i64>, Vec<i64>) {
    (walks.filled_lots, walks.cost_quanta.iter().collect(), walks.worst_ticks, walks.levels)
}

fn book(bids: &[Level], asks: &[Level]) -> Book {
    let instrument = Venue::builtin("demo").unwrap().get("BTC").unwrap().clone();
    let mut book = Book::new(Arc::new(instrument));
    book.snapshot(bids, asks, None).unwrap();
    book
}

fn steps(depth: usize) -> impl Strategy<Value = Vec<(i64, i64)>> {
    let lots = prop_oneof![1..50_i64, 1..5_000_000_000_i64, 1..1_000_000_000_000_000_i64];
    proptest::collection::vec((1..1_000_i64, lots), 0..depth)
}

proptest! {
    #[test]
    fn columns_are_the_single_walks(
        bids in steps(80), asks in steps(80),
        parts in proptest::collection::vec(0..1_050_i64, 1..40),
        threads in 1..4_usize,
    ) {
        let one = book(&ladder(&bids, -1), &ladder(&asks, 1));
        for side in [Side::Buy, Side::Sell] {
            let there = one.taken_by(side).totals().0;
            let sizes: Vec<i64> = parts.iter().map(|part| there / 1_000 * part + part % 3).collect();
            let rows: Vec<_> = sizes.iter().map(|lots| (&one, *lots)).collect();
            let want = single(&rows, side);
            let found = walk_many(&one, side, sizes.clone(), None).unwrap();
            prop_assert_eq!(columns(found), want.clone());
            let packed = Books::from_books(sizes.iter().map(|_| Ok(&one))).unwrap();
            let found = walk_packed(&packed, side, sizes, threads).unwrap();
            prop_assert_eq!(columns(found), want);
            prop_assert_eq!(packed.book(0).unwrap(), one.clone());
        }
    }
}

#[test]
fn a_cost_past_64_bits_is_found_out_before_the_walk() {
    // 64 bits hold the cost of all lots at the first price, and not at the second.
    let price = i64::MAX / 100 / 1_001;
    let narrow = book(&[], &[level(price, 1), level(price + 1, 1_000)]);
    let found = walk_many(&narrow, Side::Buy, vec![1_001; 9], None).unwrap();
    let want = (i128::from(price) * 1_001 + 1_000) * 100;
    assert!(found.cost_quanta.iter().all(|cost| cost == want));
    let past = book(&[], &[level(price, 1), level(price + 1_000, 1_001)]);
    let found = walk_many(&past, Side::Buy, vec![1_002; 9], None).unwrap();
    let want = (i128::from(price) * 1_002 + 1_001_000) * 100;
    assert_eq!(found.cost_quanta, Amounts::Wide(vec![want; 9]));
    let packed = Books::from_books([Ok(&narrow), Ok(&past)].into_iter()).unwrap();
    let found = walk_packed(&packed, Side::Buy, vec![1_002; 2], 1).unwrap();
    assert_eq!(found.cost_quanta.iter().last(), Some(want));
}

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Level, Venue};
use super::*;

fn book(bids: &[(i64, i64)], asks: &[(i64, i64)]) -> Book {
    let mut book = Book::new(Arc::new(Venue::builtin("demo").unwrap().get("BTC").unwrap().clone()));
    let level = |(price, lots): &(i64, i64)| Level {
        price: PriceTicks::trusted(*price),
        quantity: Lots::trusted(*lots),
    };
    let [bids, asks] = [bids, asks].map(|side| side.iter().map(level).collect::<Vec<_>>());
    book.snapshot(&bids, &asks, None).unwrap();
    book
}

fn within(book: &Book, side: Side, bps: &str) -> Result<i64> {
    book.quantity_within(side, Decimal::parse(bps, "bps")?).map(Lots::get)
}

#[test]
fn the_bound_is_inclusive() {
    // Mid 10,000 ticks: a basis point is a tick.
    let book = book(&[(9_999, 1), (9_998, 2), (9_990, 4)], &[(10_001, 8), (10_002, 16)]);
    for (bps, bids, asks) in [
        ("0", 0, 0),
        ("0.999999999", 0, 0),
        ("1", 1, 8),
        ("2", 3, 24),
        ("9.9", 3, 24),
        ("10", 7, 24),
    ] {
        assert_eq!(within(&book, Side::Sell, bps).unwrap(), bids, "{bps}");
        assert_eq!(within(&book, Side::Buy, bps).unwrap(), asks, "{bps}");
    }
    // All bids lie above zero, however far is asked.
    assert_eq!(within(&book, Side::Sell, "1000000").unwrap(), 7);
    assert_eq!(within(&book, Side::Buy, "1000000").unwrap(), 24);
}

#[test]
fn bad_distances_are_refused() {
    let code = |book: &Book, bps: &str| within(book, Side::Buy, bps).unwrap_err().kind().code();
    let whole = book(&[(9, 1)], &[(11, 1)]);
    for bps in ["-1", "1000000.1", "0.0000000001"] {
        assert_eq!(code(&whole, bps), "out_of_range");
    }
    assert_eq!(code(&book(&[], &[(11, 1)]), "1"), "no_mid");
}

proptest! {
    #[test]
    fn it_is_the_sum_of_the_levels(
        spread in 1_i64..40, steps in prop::collection::vec(1_i64..30, 1..30), bps in 0_i128..60_000,
    ) {
        let ladder = |sign: i64| {
            let mut price = 10_000 + sign * spread;
            let next = steps.iter().enumerate().map(|(n, step)| {
                let level = (price, i64::try_from(n).unwrap() + 1);
                price += sign * step;
                level
            });
            next.collect::<Vec<_>>()
        };
        let (bids, asks) = (ladder(-1), ladder(1));
        let book = book(&bids, &asks);
        // Mid is 10,000: `bps` thousandths of a basis point are as many thousandths of a tick.
        let near = |side: &[(i64, i64)]| {
            let inside = |price: i64| i128::from((price - 10_000).abs()) * 1_000 <= bps;
            side.iter().filter(|(price, _)| inside(*price)).map(|(_, lots)| *lots).sum::<i64>()
        };
        let asked = Decimal::new(bps, 3);
        prop_assert_eq!(book.quantity_within(Side::Sell, asked).unwrap().get(), near(&bids));
        prop_assert_eq!(book.quantity_within(Side::Buy, asked).unwrap().get(), near(&asks));
    }
}

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::OnceLock;

use proptest::prelude::*;

use super::super::Venue;
use super::*;

fn empty() -> Book {
    static BTC: OnceLock<Arc<Instrument>> = OnceLock::new();
    let read = || Arc::new(Venue::builtin("demo").unwrap().get("BTC").unwrap().clone());
    Book::new(Arc::clone(BTC.get_or_init(read)))
}

fn levels(side: &[(i64, i64)]) -> Vec<Level> {
    let level = |(price, lots): &(i64, i64)| Level {
        price: PriceTicks::trusted(*price),
        quantity: Lots::trusted(*lots),
    };
    side.iter().map(level).collect()
}

fn snapshot(bids: &[(i64, i64)], asks: &[(i64, i64)], sequence: Option<u64>) -> Book {
    let mut book = empty();
    book.snapshot(&levels(bids), &levels(asks), sequence).unwrap();
    book
}

fn plain(ladder: &Ladder) -> Vec<(i64, i64)> {
    ladder.levels().map(|l| (l.price.get(), l.quantity.get())).collect()
}

/// Requires that a message fails with a code and changes nothing.
fn refused(book: &Book, code: &str, message: impl FnOnce(&mut Book) -> Result<()>) -> Error {
    let mut after = book.clone();
    let error = message(&mut after).unwrap_err();
    assert_eq!(error.kind().code(), code);
    assert_eq!(&after, book);
    assert_eq!(after.digest(), book.digest());
    error
}

#[test]
fn best_mid_and_levels() {
    let book = snapshot(&[(99, 5), (97, 1)], &[(100, 2)], None);
    assert_eq!(book.bids().best().unwrap().price.get(), 99);
    assert_eq!(book.mid_half_ticks(), Some(199));
    assert_eq!(plain(book.bids()), [(99, 5), (97, 1)]);
    assert_eq!(book.bids().totals(), (6, 99 * 5 + 97));
    assert_eq!(snapshot(&[], &[(100, 2)], None).mid_half_ticks(), None);
    assert!(empty().bids().is_empty());
}

#[test]
fn deltas_set_and_delete() {
    let mut book = snapshot(&[(99, 5), (97, 1)], &[(100, 2)], None);
    let bids = levels(&[(98, 4), (99, 0), (96, 0), (98, 7)]);
    book.delta(&bids, &levels(&[(99, 1)]), None, None).unwrap();
    assert_eq!(plain(book.bids()), [(98, 7), (97, 1)]);
    assert_eq!(plain(book.asks()), [(99, 1), (100, 2)]);
}

#[test]
fn bad_snapshots_change_nothing() {
    let book = snapshot(&[(99, 5)], &[(100, 2)], Some(7));
    let snap = |bids: &[(i64, i64)], asks: &[(i64, i64)], code: &str| {
        let (bids, asks) = (levels(bids), levels(asks));
        refused(&book, code, |b| b.snapshot(&bids, &asks, None))
    };
    let error = snap(&[(97, 1), (98, 1)], &[], "unsorted_book");
    assert_eq!((error.details().row, error.details().field.as_str()), (Some(1), "bids.price"));
    snap(&[(97, 1), (97, 1)], &[], "unsorted_book");
    snap(&[], &[(101, 1), (100, 1)], "unsorted_book");
    snap(&[(100, 1)], &[(100, 1)], "crossed_book");
    snap(&[(101, 1)], &[(100, 1)], "crossed_book");
    let error = snap(&[(97, 0)], &[], "out_of_range");
    assert_eq!(error.details().field, "bids.quantity");
    snap(&[], &[(97, -1)], "out_of_range");
    snap(&[], &[(97, LOTS_MAX), (98, 1)], "overflow");
}

#[test]
fn bad_deltas_change_nothing() {
    let book = snapshot(&[(99, 5), (97, 1)], &[(100, 2), (105, 3)], Some(7));
    let delta = |bids: &[(i64, i64)], asks: &[(i64, i64)], s, p, code: &str| {
        let (bids, asks) = (levels(bids), levels(asks));
        refused(&book, code, |b| b.delta(&bids, &asks, s, p));
    };
    delta(&[(98, 1), (99, 0), (101, 2)], &[(100, 0), (101, 9)], Some(8), Some(7), "crossed_book");
    delta(&[(98, 1), (98, 2), (97, 0), (100, 1)], &[], Some(8), Some(7), "crossed_book");
    delta(&[(98, 1)], &[(104, -1)], Some(8), Some(7), "out_of_range");
    delta(&[(98, LOTS_MAX)], &[(104, 1)], Some(8), Some(7), "overflow");
    delta(&[(98, 1)], &[(104, LOTS_MAX)], Some(8), Some(7), "overflow");
    delta(&[(98, 1)], &[], Some(8), Some(6), "sequence_gap");
    delta(&[(98, 1)], &[], Some(7), Some(7), "sequence_gap");
    delta(&[(98, 1)], &[], Some(8), None, "sequence_gap");
    delta(&[(98, 1)], &[], None, Some(7), "sequence_gap");
    delta(&[(98, 1)], &[], None, None, "sequence_gap");
    refused(&empty(), "no_snapshot", |b| b.delta(&[], &[], None, None));
    let bare = snapshot(&[], &[], None);
    refused(&bare, "sequence_gap", |b| b.delta(&[], &[], Some(1), None));
    refused(&bare, "sequence_gap", |b| b.delta(&[], &[], Some(1), Some(0)));
}

#[test]
fn the_sequence_moves_on() {
    let mut book = snapshot(&[], &[], Some(7));
    book.delta(&[], &[], Some(9), Some(7)).unwrap();
    assert_eq!(book.sequence(), Some(9));
    book.snapshot(&[], &[], Some(3)).unwrap();
    assert_eq!(book.sequence(), Some(3));
}

#[test]
fn reading_levels() {
    let book = empty();
    let code = |price: &str, quantity: &str| book.level(price, quantity).unwrap_err().kind().code();
    assert_eq!(book.level("64000.5", "1.2").unwrap(), levels(&[(640_005, 1_200)])[0]);
    assert_eq!(book.level("6.4e4", "1e-3").unwrap(), levels(&[(640_000, 1)])[0]);
    assert_eq!(code("64000.55", "1"), "off_grid");
    assert_eq!(code("1", "0.0001"), "off_grid");
    assert_eq!(code("0", "1"), "bad_price");
    assert_eq!(code("-1", "1"), "bad_price");
    assert_eq!(code("nan", "1"), "not_finite");
    assert_eq!(code("1", "x"), "not_a_number");
    assert_eq!(code("1000000000000000000", "1"), "out_of_range");
}

#[test]
fn the_digest_is_of_the_state() {
    let mut a = snapshot(&[(99, 5)], &[], None);
    let b = snapshot(&[(98, 1), (97, 2)], &[], None);
    assert_ne!(a.digest(), b.digest());
    a.delta(&levels(&[(97, 2), (99, 0), (98, 1)]), &[], None, None).unwrap();
    assert_eq!(a.digest(), b.digest());
    assert_ne!(snapshot(&[], &[], Some(0)).digest(), snapshot(&[], &[], None).digest());
    assert_ne!(snapshot(&[], &[], None).digest(), empty().digest());
}

fn set(side: &mut BTreeMap<i64, i64>, message: &[(i64, i64)]) {
    for (price, lots) in message {
        if *lots == 0 {
            side.remove(price);
        } else {
            side.insert(*price, *lots);
        }
    }
}

fn change() -> impl Strategy<Value = Vec<(i64, i64)>> {
    prop::collection::vec((80_i64..120, prop_oneof![Just(0_i64), 1_i64..50]), 0..8)
}

proptest! {
    #[test]
    fn tail_place_is_the_partition(len in 0_usize..70, at in 0_usize..80) {
        prop_assert_eq!(tail_place(len, |i| i >= at), at.min(len));
    }

    #[test]
    fn a_book_is_two_sorted_maps(messages in prop::collection::vec((change(), change()), 0..30)) {
        let mut book = snapshot(&[], &[], None);
        let (mut bids, mut asks) = (BTreeMap::new(), BTreeMap::new());
        for (new_bids, new_asks) in messages {
            let (mut b, mut a) = (bids.clone(), asks.clone());
            set(&mut b, &new_bids);
            set(&mut a, &new_asks);
            let touch = b.last_key_value().zip(a.first_key_value());
            let crossed = touch.is_some_and(|(bid, ask)| bid.0 >= ask.0);
            let done = book.delta(&levels(&new_bids), &levels(&new_asks), None, None);
            prop_assert_eq!(done.is_err(), crossed);
            if !crossed {
                (bids, asks) = (b, a);
            }
            let want: Vec<_> = bids.iter().rev().map(|(p, q)| (*p, *q)).collect();
            prop_assert_eq!(plain(book.bids()), want.clone());
            let asked: Vec<_> = asks.iter().map(|(p, q)| (*p, *q)).collect();
            prop_assert_eq!(plain(book.asks()), asked.clone());
            prop_assert_eq!(&book, &snapshot(&want, &asked, None));
        }
    }
}

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, OnceLock};

use proptest::prelude::*;

use super::super::{Instrument, Venue};
use super::*;

type Side2 = Vec<(i64, i64)>;

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

/// Messages packed into columns.
#[derive(Default)]
struct Packed {
    prices: Vec<i64>,
    lots: Vec<i64>,
    bid_counts: Vec<i64>,
    ask_counts: Vec<i64>,
    own: Vec<i64>,
    previous: Vec<i64>,
    numbered: bool,
}

impl Packed {
    fn of(messages: &[(Side2, Side2)]) -> Self {
        let mut packed = Self::default();
        for (bids, asks) in messages {
            for (price, lots) in bids.iter().chain(asks) {
                packed.prices.push(*price);
                packed.lots.push(*lots);
            }
            packed.bid_counts.push(i64::try_from(bids.len()).unwrap());
            packed.ask_counts.push(i64::try_from(asks.len()).unwrap());
        }
        packed
    }

    fn deltas(&self) -> Deltas<'_> {
        Deltas {
            prices: &self.prices,
            lots: &self.lots,
            bid_counts: &self.bid_counts,
            ask_counts: &self.ask_counts,
            sequences: self.numbered.then_some((self.own.as_slice(), self.previous.as_slice())),
        }
    }
}

fn numbered(messages: &[(Side2, Side2)], numbers: &[(i64, i64)]) -> Packed {
    let (own, previous) = numbers.iter().copied().unzip();
    Packed { own, previous, numbered: true, ..Packed::of(messages) }
}

/// The same messages one by one, up to the first that fails.
fn one_by_one(book: &mut Book, messages: &[(Side2, Side2)]) -> Option<(usize, &'static str)> {
    messages.iter().enumerate().find_map(|(row, (bids, asks))| {
        let done = book.delta(&levels(bids), &levels(asks), None, None);
        done.err().map(|error| (row, error.kind().code()))
    })
}

fn failed(done: Result<()>) -> Option<(usize, &'static str)> {
    let error = done.err()?;
    Some((error.details().row.unwrap().try_into().unwrap(), error.kind().code()))
}

#[test]
fn it_stops_at_the_message_that_fails() {
    let mut book = empty();
    book.snapshot(&levels(&[(99, 5)]), &levels(&[(101, 5)]), Some(7)).unwrap();
    let messages = [
        (vec![(98, 1)], vec![(101, 0), (102, 3)]),
        (vec![(97, 4), (102, 1)], vec![]),
        (vec![], vec![]),
    ];
    let packed = numbered(&messages, &[(9, 7), (10, 9), (11, 10)]);
    let error = book.delta_many(&packed.deltas()).unwrap_err();
    assert_eq!((error.kind().code(), error.details().row), ("crossed_book", Some(1)));
    assert_eq!(book.sequence(), Some(9));
    let mut want = empty();
    want.snapshot(&levels(&[(99, 5), (98, 1)]), &levels(&[(102, 3)]), Some(9)).unwrap();
    assert_eq!(book, want);

    let gap = numbered(&messages[..1], &[(11, 8)]);
    assert_eq!(failed(book.delta_many(&gap.deltas())), Some((0, "sequence_gap")));
    let none = Packed::of(&messages[..1]);
    assert_eq!(failed(book.delta_many(&none.deltas())), Some((0, "sequence_gap")));
    let negative = numbered(&messages[..1], &[(11, -9)]);
    assert_eq!(failed(book.delta_many(&negative.deltas())), Some((0, "out_of_range")));
    assert_eq!(book, want);
}

#[test]
fn bad_levels_are_named() {
    let mut book = empty();
    book.snapshot(&levels(&[(99, 5)]), &levels(&[(101, 5)]), None).unwrap();
    let before = book.clone();
    for (level, code, field) in [
        ((98, -1), "out_of_range", "bids[1].quantity"),
        ((0, 1), "out_of_range", "bids[1].price"),
        ((TICKS_MAX + 1, 1), "out_of_range", "bids[1].price"),
        ((98, LOTS_MAX + 1), "out_of_range", "bids[1].quantity"),
        ((98, LOTS_MAX), "overflow", "bids"),
    ] {
        let packed = Packed::of(&[(vec![(97, 1), level], vec![])]);
        let error = book.delta_many(&packed.deltas()).unwrap_err();
        let details = error.details();
        assert_eq!((error.kind().code(), details.row), (code, Some(0)), "{level:?}");
        assert!(details.field.starts_with(field), "{details}");
        assert_eq!(book, before);
    }
}

#[test]
fn columns_must_belong_together() {
    let mut book = empty();
    let none = Packed::of(&[(vec![], vec![])]);
    assert_eq!(failed(book.delta_many(&none.deltas())), Some((0, "no_snapshot")));
    book.snapshot(&levels(&[(99, 5)]), &[], None).unwrap();
    let before = book.clone();
    let full = Packed::of(&[(vec![(98, 1)], vec![(101, 1)])]);
    let column = [1];
    let wrong = [
        Deltas { ask_counts: &[], ..full.deltas() },
        Deltas { ask_counts: &[2], ..full.deltas() },
        Deltas { ask_counts: &[0], ..full.deltas() },
        Deltas { lots: &[1], ..full.deltas() },
        Deltas { sequences: Some((&[], &column)), ..full.deltas() },
        Deltas { sequences: Some((&column, &[])), ..full.deltas() },
    ];
    for deltas in wrong {
        let error = book.delta_many(&deltas).unwrap_err();
        assert_eq!(error.kind().code(), "length_mismatch");
    }
    let below = Deltas { bid_counts: &[-1], ..full.deltas() };
    assert_eq!(failed(book.delta_many(&below)), Some((0, "out_of_range")));
    book.delta_many(&Packed::of(&[]).deltas()).unwrap();
    assert_eq!(book, before);
}

#[test]
fn a_value_may_pass_the_bound_inside_a_message() {
    let mut book = empty();
    book.snapshot(&[], &[], None).unwrap();
    let far = |lots| (0..3_000).map(move |n| (TICKS_MAX - n, lots));
    let bids: Side2 = far(LOTS_MAX).chain(far(0)).chain([(5, 1)]).collect();
    let packed = Packed::of(&[(bids.clone(), vec![])]);
    book.delta_many(&packed.deltas()).unwrap();
    let mut want = empty();
    want.snapshot(&levels(&[(5, 1)]), &[], None).unwrap();
    assert_eq!(book, want);
    let mut single = empty();
    single.snapshot(&[], &[], None).unwrap();
    single.delta(&levels(&bids), &[], None, None).unwrap();
    assert_eq!(book, single);
}

/// Prices near the touch, at the ends of the windows of either side, and far from it.
fn price() -> impl Strategy<Value = i64> {
    let ahead = slots_i64() - BEHIND;
    let end = move |end: i64| 100_000 + end - 3..100_000 + end + 3;
    prop_oneof![
        8 => 99_970_i64..100_030,
        2 => end(-BEHIND),
        2 => end(BEHIND),
        2 => end(-ahead),
        2 => end(ahead),
        1 => 1_i64..200_000,
        1 => Just(TICKS_MAX),
    ]
}

fn change() -> impl Strategy<Value = Side2> {
    prop::collection::vec(
        (price(), prop_oneof![2 => Just(0_i64), 2 => 1_i64..50, 1 => Just(LOTS_MAX / 2)]),
        0..6,
    )
}

proptest! {
    #[test]
    fn many_is_one_by_one(
        start in prop::collection::vec(change(), 2),
        messages in prop::collection::vec((change(), change()), 0..40),
        split in 0_usize..40,
    ) {
        let mut plain = empty();
        plain.snapshot(&[], &[], None).unwrap();
        let _ = plain.delta(&levels(&start[0]), &levels(&start[1]), None, None);
        let mut packed = plain.clone();
        // Messages that fail are left out one after the other, so that all are seen.
        let mut rest: &[(Side2, Side2)] = &messages;
        let mut first = split;
        loop {
            let part = &rest[..first.min(rest.len())];
            let columns = Packed::of(part);
            let done = failed(packed.delta_many(&columns.deltas()));
            prop_assert_eq!(done, one_by_one(&mut plain, part));
            prop_assert_eq!(&packed, &plain);
            rest = &rest[done.map_or(part.len(), |(row, _)| row + 1)..];
            if rest.is_empty() {
                break;
            }
            first = rest.len();
        }
    }
}

proptest! {
    #[test]
    fn parts_are_the_whole(
        messages in prop::collection::vec((change(), change()), 0..40), levels in 1_usize..30,
    ) {
        let mut whole = empty();
        whole.snapshot(&[], &[], None).unwrap();
        let mut parted = whole.clone();
        let columns = Packed::of(&messages);
        let want = failed(whole.delta_many(&columns.deltas()));
        let mut passage = parted.passage().unwrap();
        let parts = columns.deltas().parts(levels).unwrap();
        prop_assert_eq!(parts.iter().map(Deltas::len).sum::<usize>(), messages.len());
        let found = parts.iter().find_map(|part| failed(passage.pass(part)));
        prop_assert_eq!(found, want);
        let applied = passage.finish().unwrap();
        prop_assert_eq!(applied, want.map_or(messages.len(), |(row, _)| row));
        prop_assert_eq!(parted, whole);
    }
}

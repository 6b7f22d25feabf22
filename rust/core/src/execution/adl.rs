//! Auto-deleveraging: who of the other side closes against a position that nobody else takes. `docs/spec/liquidation.md`.

use std::cmp::Ordering;

pub use crate::data::policy::AdlRanking;
use crate::numbers::rounding::mul_div_floor;
use crate::numbers::{Error, Result};

/// A position of the other side. Amounts in quanta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counterparty<K> {
    /// Whose; ties are in order of it.
    pub key: K,
    /// Its size in lots, without a sign.
    pub lots: i64,
    /// Its unrealised profit at the mark.
    pub profit: i128,
    /// What it cost, without a sign.
    pub entry: i128,
    /// What it is worth at the mark, without a sign.
    pub value: i128,
    /// The equity that backs it: its value at the mark less that at its bankruptcy price.
    pub backing: i128,
}

/// A whole number of 512 bits, its least word first.
type Wide = [u64; 8];

/// The product of four numbers.
fn product(terms: [u128; 4]) -> Wide {
    let mut all = [1, 0, 0, 0, 0, 0, 0, 0];
    for term in terms {
        let half = |shift: u32| (term >> shift) & u128::from(u64::MAX);
        let mut next = [0_u64; 8];
        for (at, word) in all.iter().enumerate() {
            let mut carry = 0_u128;
            let low = |value: u128| u64::try_from(value & u128::from(u64::MAX)).unwrap_or(0);
            for (by, part) in [half(0), half(64)].into_iter().chain([0; 7]).enumerate() {
                let Some(slot) = next.get_mut(at + by) else { break };
                // At most (2^64 − 1)² + 2 (2^64 − 1) = 2^128 − 1.
                let sum = u128::from(*word) * part + u128::from(*slot) + carry;
                *slot = low(sum);
                carry = sum >> 64;
            }
        }
        all = next;
    }
    all
}

/// How `a1 × a2 / (a3 × a4)` compares with the same of `b`, the lower terms above zero.
fn compare(a: [u128; 4], b: [u128; 4]) -> Ordering {
    let ([a1, a2, a3, a4], [b1, b2, b3, b4]) = (a, b);
    let (left, right) = (product([a1, a2, b3, b4]), product([b1, b2, a3, a4]));
    left.iter().rev().cmp(right.iter().rev())
}

impl<K> Counterparty<K> {
    /// `profit × leverage` or `profit / leverage`, as a quotient of products, without the sign of the profit.
    fn score(&self) -> [u128; 4] {
        let (profit, entry) = (self.profit.unsigned_abs(), self.entry.unsigned_abs().max(1));
        let value = self.value.unsigned_abs().max(1);
        // Who has no backing left is as leveraged as can be.
        let backing = self.backing.max(1).unsigned_abs();
        if self.profit > 0 {
            [profit, value, entry, backing]
        } else {
            [profit, backing, entry, value]
        }
    }

    /// Which of two comes first.
    fn before(&self, other: &Self) -> Ordering {
        let gains = |own: &Self| own.profit > 0;
        match (gains(self), gains(other)) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (true, true) => compare(other.score(), self.score()),
            // The smaller loss first.
            (false, false) => compare(self.score(), other.score()),
        }
    }
}

/// Puts counterparties into the order in which they are asked: a total one, whatever order they come in.
pub fn rank<K: Ord>(ranking: AdlRanking, counterparties: &mut [Counterparty<K>]) {
    counterparties.sort_unstable_by(|a, b| {
        let by = match ranking {
            AdlRanking::ProfitLeverage => a.before(b),
            AdlRanking::Size => b.lots.cmp(&a.lots),
            AdlRanking::ProRata(_) => Ordering::Equal,
        };
        by.then_with(|| a.key.cmp(&b.key))
    });
}

/// How many lots each counterparty closes, in the order of [`rank`], so that together they close `lots`, or as many as they
/// may. Those that close none are left out.
///
/// In proportion, each closes `floor(lots × own / all)`, at most its share, and what roundings leave is closed one lot each,
/// in order.
///
/// # Errors
/// `overflow` where all their lots are past 128 bits.
pub fn deleverage<K: Ord + Copy>(
    ranking: AdlRanking,
    lots: i64,
    counterparties: &mut [Counterparty<K>],
) -> Result<Vec<(K, i64)>> {
    rank(ranking, counterparties);
    let mut rest = lots.max(0);
    let mut found = Vec::new();
    if let AdlRanking::ProRata(most) = ranking {
        let all: i128 = counterparties.iter().map(|own| i128::from(own.lots)).sum();
        let share = |own: &Counterparty<K>| -> Option<(i64, i64)> {
            let most = most.of_floor(i128::from(own.lots))?.min(i128::from(own.lots));
            let part = mul_div_floor(i128::from(own.lots), i128::from(lots), all.max(1))?;
            Some((i64::try_from(part.min(most)).ok()?, i64::try_from(most).ok()?))
        };
        let mut most_of = Vec::new();
        for own in counterparties.iter() {
            let (part, most) = share(own).ok_or_else(|| Error::overflow("adl", own.lots))?;
            rest -= part;
            found.push((own.key, part));
            most_of.push(most);
        }
        for ((_, closed), most) in found.iter_mut().zip(most_of) {
            let more = i64::from(rest > 0 && *closed < most);
            *closed += more;
            rest -= more;
        }
    } else {
        for own in counterparties.iter() {
            let closed = own.lots.min(rest);
            rest -= closed;
            found.push((own.key, closed));
        }
    }
    found.retain(|(_, closed)| *closed > 0);
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::numbers::Rate;
    use proptest::prelude::*;

    fn party(key: u32, lots: i64, profit: i128, entry: i128, backing: i128) -> Counterparty<u32> {
        Counterparty { key, lots, profit, entry, value: entry + profit, backing }
    }

    #[test]
    fn wide_products_are_exact() {
        let most = u128::MAX;
        // (2^128 − 1)^4 = 2^512 − 4 × 2^384 + 6 × 2^256 − 4 × 2^128 + 1
        let want = [1, 0, u64::MAX - 3, u64::MAX, 5, 0, u64::MAX - 3, u64::MAX];
        assert_eq!(product([most; 4]), want);
        assert_eq!(product([3, 5, 7, 11]), [1_155, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            compare([most, most, most, most - 1], [most, most, most, most]),
            Ordering::Greater
        );
        assert_eq!(compare([2, 9, 3, 6], [1, 1, 1, 1]), Ordering::Equal);
    }

    #[test]
    fn profit_counts_more_the_higher_the_leverage_and_a_loss_less() {
        // 10% at 10x against 20% at 2x; −1% at 10x against −1% at 2x.
        let mut all = [
            party(1, 5, -10, 1_000, 495),
            party(2, 5, 200, 1_000, 600),
            party(3, 5, -10, 1_000, 99),
            party(4, 5, 100, 1_000, 110),
        ];
        rank(AdlRanking::ProfitLeverage, &mut all);
        assert_eq!(all.map(|own| own.key), [4, 2, 3, 1]);
        let closed = deleverage(AdlRanking::ProfitLeverage, 12, &mut all).unwrap();
        assert_eq!(closed, [(4, 5), (2, 5), (3, 2)]);
    }

    #[test]
    fn the_proportion_is_kept_up_to_a_lot_and_the_share() {
        let mut all = [party(1, 10, 0, 1, 1), party(2, 30, 0, 1, 1), party(3, 60, 0, 1, 1)];
        let half = AdlRanking::ProRata(Rate::new(1, 2, "share").unwrap());
        // 3.3, 9.9 and 19.8: the lots that are left go to the first two.
        assert_eq!(deleverage(half, 33, &mut all).unwrap(), [(1, 4), (2, 10), (3, 19)]);
        assert_eq!(deleverage(half, 90, &mut all).unwrap(), [(1, 5), (2, 15), (3, 30)]);
        assert_eq!(deleverage(AdlRanking::Size, 70, &mut all).unwrap(), [(3, 60), (2, 10)]);
    }

    /// `BitMEX`, testnet.bitmex.com/app/autoDeleveragingExamples: a short of 20 is closed against six longs by their ranks.
    #[test]
    fn the_queue_of_bitmex() {
        let ranks = [(1, 10, 3), (2, 10, 6), (3, 20, 1), (4, 30, 4), (5, 20, 5), (6, 10, 2)];
        // The page gives ranks only: profits that make them, all else alike.
        let mut queue: Vec<_> =
            ranks.map(|(account, lots, rank)| party(account, lots, rank, 1_000, 100)).to_vec();
        let closed = deleverage(AdlRanking::ProfitLeverage, 20, &mut queue).unwrap();
        assert_eq!(closed, [(2, 10), (5, 10)]);
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_fractions_and_no_more_is_closed_than_asked(
            raw in prop::collection::vec(
                (1_i64..1_000, -1_000_000_i128..1_000_000, 1_i128..5_000_000, 1_i128..1_000_000), 1..9),
            lots in 0_i64..3_000,
            ranking in prop_oneof![
                Just(AdlRanking::ProfitLeverage),
                Just(AdlRanking::Size),
                (1_i128..=4).prop_map(|n| AdlRanking::ProRata(Rate::new(n, 4, "share").unwrap())),
            ],
        ) {
            let make = |(key, (lots, profit, entry, backing)): (u32, &(i64, i128, i128, i128))| {
                let value = (entry + profit).max(1);
                Counterparty { key, lots: *lots, profit: *profit, entry: *entry, value, backing: *backing }
            };
            let mut all: Vec<_> = (0..).zip(&raw).map(make).collect();
            let closed = deleverage(ranking, lots, &mut all).unwrap();
            if ranking == AdlRanking::ProfitLeverage {
                // At this size the score fits 128 bits: the definition itself.
                let score = |c: &Counterparty<u32>| if c.profit > 0 {
                    (c.profit * c.value, c.entry * c.backing)
                } else {
                    (c.profit * c.backing, c.entry * c.value)
                };
                for pair in all.windows(2) {
                    let ((a, b), (c, d)) = (score(&pair[0]), score(&pair[1]));
                    let (x, y) = (a * d, c * b);
                    prop_assert!(x > y || (x == y && pair[0].key < pair[1].key));
                }
            }
            let total: i64 = closed.iter().map(|(_, lots)| lots).sum();
            let may = |own: &Counterparty<u32>| match ranking {
                AdlRanking::ProRata(most) => most.of_floor(own.lots.into()).unwrap().try_into().unwrap(),
                _ => own.lots,
            };
            let most: i64 = all.iter().map(may).sum();
            prop_assert!(total <= lots && total <= most);
            if !matches!(ranking, AdlRanking::ProRata(_)) {
                prop_assert_eq!(total, lots.min(most));
            }
            for (key, lots) in closed {
                let own = all.iter().find(|own| own.key == key).unwrap();
                prop_assert!(lots > 0 && lots <= may(own));
            }
        }
    }
}

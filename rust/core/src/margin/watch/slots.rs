//! Intervals of one price, and who has one that a price is not in: found without looking at the others.
//!
//! Slots stand in a fixed order in blocks of [`FAN`], and blocks in blocks of the next level. Each holds the largest lower
//! end and the smallest upper end below it, so a price inside both is inside all.
//!
//! Ends are kept in 32 bits, as multiples of a power of two ticks, so that a block is two cache lines. They are rounded into
//! the interval: what is kept is never wider than what was given.

/// Slots, or blocks, in one block.
const FAN: usize = 16;
/// A price that is first seen has so many bits, at the most: there is room for it to grow.
const BITS: u32 = 24;
/// Ends are below this, whatever was given.
const MOST: i64 = 1 << 30;

/// An interval of ticks, both ends in it.
pub(super) type Interval = (i64, i64);
/// The interval that every price is in.
pub(super) const ANY: Interval = (i64::MIN, i64::MAX);

/// An interval as it is kept.
type Kept = (i32, i32);
const ALL: Kept = (i32::MIN, i32::MAX);

/// Intervals side by side.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Block([Kept; FAN]);

/// Intervals of one price.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    /// Inside it a price is inside all.
    root: Kept,
    /// Ends are multiples of so many ticks, as a power of two; not known before the first end is.
    shift: Option<u32>,
    owners: Vec<u32>,
    /// The intervals themselves, then their blocks, and so on up to one block.
    levels: Vec<Vec<Block>>,
    free: Vec<u32>,
}

impl Default for Slots {
    fn default() -> Self {
        Self { root: ALL, shift: None, owners: Vec::new(), levels: Vec::new(), free: Vec::new() }
    }
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

fn narrow(end: i64) -> i32 {
    i32::try_from(end.clamp(-MOST, MOST)).unwrap_or(0)
}

fn rounded_up(ticks: i64, shift: u32) -> i64 {
    (ticks >> shift) + i64::from(ticks & ((1 << shift) - 1) != 0)
}

/// An interval within this one.
fn kept((low, high): Interval, shift: u32) -> Kept {
    let low = if low == i64::MIN { i32::MIN } else { narrow(rounded_up(low, shift)) };
    // One past what is kept ends below every price that is.
    let high = if high == i64::MAX { i32::MAX } else { narrow((high >> shift).min(MOST - 1)) };
    (low, high)
}

/// An interval within one that is kept, in multiples of more ticks.
fn coarser((low, high): Kept, by: u32) -> Kept {
    let up = |end: i32| narrow(rounded_up(i64::from(end), by));
    let down = |end: i32| narrow(i64::from(end) >> by);
    (if low == i32::MIN { low } else { up(low) }, if high == i32::MAX { high } else { down(high) })
}

fn meet(a: Kept, b: Kept) -> Kept {
    (a.0.max(b.0), a.1.min(b.1))
}

/// What a block sums to, from what it did before one of its intervals changed: the others matter only where the old one
/// was at an end, and the new one no longer is.
#[inline]
fn summed(before: Kept, (old, new, block): (Kept, Kept, &Block)) -> Kept {
    let lost = (old.0 == before.0 && new.0 < old.0) || (old.1 == before.1 && new.1 > old.1);
    if lost { block.meet() } else { meet(before, new) }
}

impl Block {
    const EMPTY: Self = Self([ALL; FAN]);

    fn meet(&self) -> Kept {
        self.0.iter().copied().fold(ALL, meet)
    }

    /// The places of the intervals that a price is not in, as bits; it is between two multiples, or on one.
    #[inline]
    fn left(&self, (below, above): Kept) -> u32 {
        let out = |(place, (low, high)): (u32, &Kept)| {
            (u32::from(below < *low) | u32::from(above > *high)) << place
        };
        (0..).zip(&self.0).map(out).fold(0, |all, bit| all | bit)
    }
}

impl Slots {
    /// Takes a slot for an owner; its interval is [`ANY`] until it is set. None past 2^32 slots.
    pub(super) fn take(&mut self, owner: u32) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            self.own(slot, owner);
            return Some(slot);
        }
        let slot = u32::try_from(self.owners.len()).ok()?;
        self.owners.push(owner);
        let mut place = index(slot);
        for level in 0.. {
            place /= FAN;
            if self.levels.len() == level {
                // A new top is one block, over the blocks below it.
                let below = level.checked_sub(1).and_then(|below| self.levels.get(below));
                let mut top = Block::EMPTY;
                for (own, block) in top.0.iter_mut().zip(below.into_iter().flatten()) {
                    *own = block.meet();
                }
                self.levels.push(vec![top]);
            }
            let own = self.levels.get_mut(level)?;
            if own.len() <= place {
                own.push(Block::EMPTY);
            }
            if own.len() == 1 {
                break;
            }
        }
        Some(slot)
    }

    /// Gives a slot another owner.
    pub(super) fn own(&mut self, slot: u32, owner: u32) {
        if let Some(own) = self.owners.get_mut(index(slot)) {
            *own = owner;
        }
    }

    /// Gives a slot back.
    pub(super) fn give(&mut self, slot: u32) {
        self.set(slot, ANY);
        self.free.push(slot);
    }

    /// Sets the interval of a slot, or one within it.
    #[inline]
    pub(super) fn set(&mut self, slot: u32, interval: Interval) {
        let new = kept(interval, self.shift.unwrap_or(0));
        let mut place = index(slot);
        let mut below: Option<(Kept, Kept, &Block)> = None;
        for level in &mut self.levels {
            let Some(block) = level.get_mut(place / FAN) else { return };
            let Some(own) = block.0.get_mut(place % FAN) else { return };
            let next = below.map_or(new, |change| summed(*own, change));
            if *own == next {
                return;
            }
            let old = std::mem::replace(own, next);
            below = Some((old, next, block));
            place /= FAN;
        }
        self.root = below.map_or(ALL, |change| summed(self.root, change));
    }

    /// The interval of a slot, as it is kept.
    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<Interval> {
        let place = index(slot);
        let (low, high) = *self.levels.first()?.get(place / FAN)?.0.get(place % FAN)?;
        let shift = self.shift.unwrap_or(0);
        let whole = |end: i32| i64::from(end) << shift;
        Some((
            if low == i32::MIN { i64::MIN } else { whole(low) },
            if high == i32::MAX { i64::MAX } else { whole(high) },
        ))
    }

    /// A price as multiples: the one at or below it, and the one at or above.
    #[inline]
    fn multiples(&self, price: i64) -> Kept {
        let shift = self.shift.unwrap_or(0);
        (narrow(price >> shift), narrow(rounded_up(price, shift)))
    }

    /// Whether a price is in every interval.
    #[inline]
    pub(super) fn all_hold(&self, price: i64) -> bool {
        let (below, above) = self.multiples(price);
        below >= self.root.0 && above <= self.root.1
    }

    /// Makes sure that ends around a price can be kept, coarser than before if need be.
    #[inline]
    pub(super) fn admit(&mut self, price: i64) {
        let shift = self.shift.unwrap_or(0);
        if self.shift.is_none() || price >> shift >= MOST >> 1 {
            self.coarsen(price);
        }
    }

    #[cold]
    fn coarsen(&mut self, price: i64) {
        let bits = 64 - price.leading_zeros();
        let shift = bits.saturating_sub(BITS);
        let by = shift - self.shift.unwrap_or(0).min(shift);
        self.shift = Some(shift);
        for block in self.levels.iter_mut().flatten() {
            for own in &mut block.0 {
                *own = coarser(*own, by);
            }
        }
        self.root = coarser(self.root, by);
    }

    /// The owners of the intervals that a price is not in, in no order that means anything. False, and perhaps not all of
    /// them, once there are more than `most`.
    pub(super) fn left_by(&self, price: i64, found: &mut Vec<u32>, most: usize) -> bool {
        let top = self.levels.len().checked_sub(1);
        let Some(top) = top.filter(|_| !self.all_hold(price)) else { return true };
        self.search(top, 0, self.multiples(price), found, most)
    }

    fn search(
        &self,
        level: usize,
        block: usize,
        price: Kept,
        found: &mut Vec<u32>,
        most: usize,
    ) -> bool {
        let Some(own) = self.levels.get(level).and_then(|level| level.get(block)) else {
            return true;
        };
        let mut left = own.left(price);
        while left != 0 {
            let place = block * FAN + index(left.trailing_zeros());
            left &= left - 1;
            match level.checked_sub(1) {
                Some(below) => {
                    if !self.search(below, place, price, found, most) {
                        return false;
                    }
                }
                None => found.extend(self.owners.get(place)),
            }
        }
        found.len() <= most
    }

    /// Reads ahead a slot.
    #[inline]
    pub(super) fn read_ahead(&self, slot: u32) {
        let place = index(slot);
        let block = self.levels.first().and_then(|level| level.get(place / FAN));
        if let Some(block) = block {
            aivora_simd::read_ahead(&block.0, place % FAN);
        }
    }

    /// Without spare memory.
    pub(super) fn shrink(&mut self) {
        self.owners.shrink_to_fit();
        self.levels.iter_mut().for_each(Vec::shrink_to_fit);
        self.free.shrink_to_fit();
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let levels = self.levels.iter().map(|l| l.capacity() * size_of::<Block>());
        levels.sum::<usize>() + (self.owners.capacity() + self.free.capacity()) * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_new_top_knows_what_is_below_it() {
        let mut slots = Slots::default();
        for owner in 0..5_000 {
            // The one slot that was taken last has no interval yet: the others must be found all the same.
            let slot = slots.take(owner).unwrap();
            let mut found = Vec::new();
            assert!(slots.left_by(-1, &mut found, usize::MAX));
            assert_eq!(found.len(), usize::try_from(owner).unwrap(), "{owner} before it");
            slots.set(slot, (0, 9));
        }
    }

    #[test]
    fn ends_are_still_inside_once_a_price_is_beyond_them() {
        // From multiples of one tick to multiples of 2^33, more than an end has bits.
        let mut slots = Slots::default();
        slots.admit(1_000);
        for (owner, interval) in (0..).zip([(900, 1_100), (i64::MIN, 1_100), (900, i64::MAX)]) {
            let slot = slots.take(owner).unwrap();
            slots.set(slot, interval);
        }
        slots.admit(100_000_000_000_000_000);
        for (price, want) in [(899, [0, 2].as_slice()), (100_000_000_000_000_000, &[0, 1])] {
            let mut found = Vec::new();
            assert!(slots.left_by(price, &mut found, usize::MAX));
            found.sort_unstable();
            assert!(want.iter().all(|owner| found.contains(owner)), "{price}: {found:?}");
        }
        let slot = slots.take(3).unwrap();
        slots.set(slot, (0, i64::MAX));
        let mut found = Vec::new();
        assert!(slots.left_by(100_000_000_000_000_000, &mut found, usize::MAX));
        assert!(!found.contains(&3), "{found:?}");
    }

    proptest! {
        #[test]
        fn all_that_are_left_and_no_others(
            steps in prop::collection::vec((0_usize..600, -50_i64..50, 0_i64..40, any::<bool>()), 1..900),
            prices in prop::collection::vec(-60_i64..60, 1..8),
        ) {
            let mut slots = Slots::default();
            let mut held: Vec<(u32, u32, (i64, i64))> = Vec::new();
            for (owner, (at, low, width, give)) in (0..).zip(steps) {
                if give && !held.is_empty() {
                    let (slot, ..) = held.swap_remove(at % held.len());
                    slots.give(slot);
                } else if at % 3 == 0 && !held.is_empty() {
                    let place = at % held.len();
                    held[place].2 = (low, low + width);
                    slots.set(held[place].0, held[place].2);
                } else {
                    let slot = slots.take(owner).unwrap();
                    held.push((slot, owner, (low, low + width)));
                    slots.set(slot, (low, low + width));
                }
            }
            for price in prices {
                let mut found = Vec::new();
                prop_assert!(slots.left_by(price, &mut found, usize::MAX));
                let inside = held.iter().all(|(_, _, (low, high))| (*low..=*high).contains(&price));
                prop_assert_eq!(slots.all_hold(price), inside);
                found.sort_unstable();
                let out = held.iter().filter(|(_, _, (low, high))| price < *low || price > *high);
                let mut want: Vec<u32> = out.map(|(_, owner, _)| *owner).collect();
                want.sort_unstable();
                prop_assert_eq!(found, want);
            }
        }
    }
}

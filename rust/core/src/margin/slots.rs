//! Intervals of one price, and who has one that a price is not in: found without looking at the others.
//!
//! Slots stand in a fixed order in blocks of [`FAN`], and blocks in blocks of the next level. Each holds the largest lower
//! end and the smallest upper end below it, so a price inside both is inside all.

/// Slots, or blocks, in one block.
const FAN: usize = 16;
/// The interval that every price is in.
pub(super) const ANY: (i64, i64) = (i64::MIN, i64::MAX);

/// Intervals of one price.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots {
    owners: Vec<u32>,
    /// The intervals themselves, then their blocks, and so on up to one block.
    levels: Vec<Vec<(i64, i64)>>,
    free: Vec<u32>,
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

impl Slots {
    /// Takes a slot for an owner; its interval is [`ANY`] until it is set. None past 2^32 slots.
    pub(super) fn take(&mut self, owner: u32) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            *self.owners.get_mut(index(slot))? = owner;
            return Some(slot);
        }
        let slot = u32::try_from(self.owners.len()).ok()?;
        self.owners.push(owner);
        let mut place = index(slot);
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let own = self.levels.get_mut(level)?;
            if own.len() <= place {
                own.push(ANY);
            }
            if own.len() == 1 {
                break;
            }
            place /= FAN;
        }
        // A new top begins with one block, which knows nothing yet of what is below it.
        if self.levels.last().is_some_and(|top| top.first() == Some(&ANY)) {
            self.refresh(0, true);
        }
        Some(slot)
    }

    /// Gives a slot back.
    pub(super) fn give(&mut self, slot: u32) {
        self.set(slot, ANY);
        self.free.push(slot);
    }

    /// Sets the interval of a slot.
    pub(super) fn set(&mut self, slot: u32, interval: (i64, i64)) {
        let place = index(slot);
        if let Some(own) = self.levels.first_mut().and_then(|level| level.get_mut(place)) {
            *own = interval;
        }
        self.refresh(place, false);
    }

    /// Sums up the blocks that a slot is in: up to the first that stays what it was, or all.
    fn refresh(&mut self, mut place: usize, whole: bool) {
        for level in 1..self.levels.len() {
            let (below, own) = self.levels.split_at_mut(level);
            place /= FAN;
            let first = place * FAN;
            let Some(below) = below.last() else { return };
            let items = below.get(first..below.len().min(first + FAN)).unwrap_or(&[]);
            let all = items.iter().fold(ANY, |all, own| (all.0.max(own.0), all.1.min(own.1)));
            let Some(slot) = own.first_mut().and_then(|level| level.get_mut(place)) else { return };
            if *slot == all && !whole {
                return;
            }
            *slot = all;
        }
    }

    /// The owners of the intervals that a price is not in, in no order that means anything.
    pub(super) fn left_by(&self, price: i64, found: &mut Vec<u32>) {
        let Some(top) = self.levels.len().checked_sub(1) else { return };
        self.search(top, 0, price, found);
    }

    fn search(&self, level: usize, block: usize, price: i64, found: &mut Vec<u32>) {
        let Some(items) = self.levels.get(level) else { return };
        let first = block * FAN;
        let own = items.get(first..items.len().min(first + FAN)).unwrap_or(&[]);
        for (place, (low, high)) in (first..).zip(own) {
            if (*low..=*high).contains(&price) {
                continue;
            }
            match level.checked_sub(1) {
                Some(below) => self.search(below, place, price, found),
                None => found.extend(self.owners.get(place)),
            }
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let levels = self.levels.iter().map(|l| l.capacity() * size_of::<(i64, i64)>());
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
            slots.left_by(-1, &mut found);
            assert_eq!(found.len(), usize::try_from(owner).unwrap(), "{owner} before it");
            slots.set(slot, (0, 9));
        }
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
                slots.left_by(price, &mut found);
                found.sort_unstable();
                let out = held.iter().filter(|(_, _, (low, high))| price < *low || price > *high);
                let mut want: Vec<u32> = out.map(|(_, owner, _)| *owner).collect();
                want.sort_unstable();
                prop_assert_eq!(found, want);
            }
        }
    }
}

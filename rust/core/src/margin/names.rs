//! Names, each held once, in one piece of memory.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::numbers::limits::{NAMES_BYTES_MAX, ROWS_MAX};
use crate::numbers::{Error, ErrorKind, Result};

/// Names by the order in which they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    text: String,
    /// Where each name ends.
    ends: Vec<u32>,
    /// The first so many places by their names: names that come in order are found without it, and it follows when it
    /// is needed.
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The place that was found last.
    last: u32,
    /// Some name came after one that it sorts before.
    mixed: bool,
}

fn name_at<'a>(text: &'a str, ends: &[u32], place: u32) -> &'a str {
    let index = usize::try_from(place).unwrap_or(usize::MAX);
    let at = |end: Option<&u32>| end.and_then(|e| usize::try_from(*e).ok()).unwrap_or(0);
    let start = at(index.checked_sub(1).and_then(|i| ends.get(i)));
    text.get(start..at(ends.get(index))).unwrap_or("")
}

impl Names {
    /// The place of a name, which is added when it is new.
    pub(super) fn place(&mut self, name: &str) -> Result<u32> {
        let place = match self.beside(name) {
            Some(place) => place,
            None => match self.find(name) {
                Some(place) => place,
                None => self.add(name)?,
            },
        };
        self.last = place;
        Ok(place)
    }

    /// The place of a name that is the last found, the one after it, or the first: where rows are in order.
    fn beside(&self, name: &str) -> Option<u32> {
        let count = u32::try_from(self.ends.len()).ok()?;
        let beside = [self.last, self.last.saturating_add(1), 0].into_iter();
        beside.filter(|place| *place < count).find(|place| self.name(*place) == name)
    }

    fn find(&mut self, name: &str) -> Option<u32> {
        let count = u32::try_from(self.ends.len()).ok()?;
        if !self.mixed && count.checked_sub(1).is_none_or(|last| self.name(last) < name) {
            return None;
        }
        self.complete();
        self.known(name)
    }

    /// Makes every name be found by [`Names::known`].
    pub(super) fn complete(&mut self) {
        let Self { text, ends, places, hasher, .. } = self;
        let rehash = |place: &u32| hasher.hash_one(name_at(text, ends, *place));
        places.reserve(ends.len() - places.len(), rehash);
        for place in (0..).take(ends.len()).skip(places.len()) {
            places.insert_unique(rehash(&place), place, rehash);
        }
    }

    /// The place of a name among those that were there when it was last completed.
    pub(super) fn known(&self, name: &str) -> Option<u32> {
        let Self { text, ends, places, hasher, .. } = self;
        places.find(hasher.hash_one(name), |place| name_at(text, ends, *place) == name).copied()
    }

    fn add(&mut self, name: &str) -> Result<u32> {
        let too_many = |limit: usize| {
            Error::new(ErrorKind::LimitExceeded, "names", "more", format!("at most {limit}"))
        };
        let place = u32::try_from(self.ends.len()).ok().filter(|_| self.ends.len() < ROWS_MAX);
        let place = place.ok_or_else(|| too_many(ROWS_MAX))?;
        let end = u32::try_from(self.text.len() + name.len());
        let end = end.map_err(|_| too_many(NAMES_BYTES_MAX))?;
        self.mixed |= place.checked_sub(1).is_some_and(|last| name < self.name(last));
        self.ends.push(end);
        self.text.push_str(name);
        Ok(place)
    }

    /// The name at a place.
    pub(super) fn name(&self, place: u32) -> &str {
        name_at(&self.text, &self.ends, place)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The same without what only finding a place needs, and without spare memory.
    pub(super) fn packed(mut self) -> Self {
        self.places = HashTable::new();
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
        self
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.text.capacity()
            + self.ends.capacity() * size_of::<u32>()
            + self.places.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_in_any_order_have_one_place_each() {
        let mut names = Names::default();
        let text = |n: u32| format!("n{n:04}");
        let mut places = std::collections::HashMap::new();
        // Ascending, then again with gaps, then new ones between, and after what is only needed to find them was dropped.
        let ascending = (0..500).map(|n| n * 2);
        let again = (0..300).map(|n| n * 3 % 1_000);
        let scattered = (0..2_000).map(|n| n * 7_919 % 1_500);
        for n in ascending.chain(again).chain(scattered).chain(1_500..1_600) {
            let new = u32::try_from(places.len()).unwrap();
            let place = *places.entry(n).or_insert(new);
            assert_eq!(names.place(&text(n)).unwrap(), place);
        }
        let mut names = names.packed();
        assert_eq!(names.len(), places.len());
        for (n, place) in places {
            assert_eq!(names.name(place), text(n));
            assert_eq!(names.place(&text(n)).unwrap(), place);
        }
    }

    #[test]
    fn each_name_is_held_once() {
        let mut names = Names::default();
        let places: Vec<u32> = ["a", "bc", "", "a", "bc"].map(|n| names.place(n).unwrap()).into();
        assert_eq!(places, [0, 1, 2, 0, 1]);
        assert_eq!([0, 1, 2, 3].map(|p| names.name(p).to_owned()), ["a", "bc", "", ""]);
        let packed = names.packed();
        assert_eq!((packed.name(1), packed.len()), ("bc", 3));
    }
}

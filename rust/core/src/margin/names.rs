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
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
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
        let Self { text, ends, places, hasher } = self;
        let hash = hasher.hash_one(name);
        if let Some(place) = places.find(hash, |place| name_at(text, ends, *place) == name) {
            return Ok(*place);
        }
        let too_many = |limit: usize| {
            Error::new(ErrorKind::LimitExceeded, "names", "more", format!("at most {limit}"))
        };
        let place = u32::try_from(ends.len()).ok().filter(|_| ends.len() < ROWS_MAX);
        let place = place.ok_or_else(|| too_many(ROWS_MAX))?;
        let end = u32::try_from(text.len() + name.len());
        ends.push(end.map_err(|_| too_many(NAMES_BYTES_MAX))?);
        text.push_str(name);
        let rehash = |place: &u32| hasher.hash_one(name_at(text, ends, *place));
        places.insert_unique(hash, place, rehash);
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
    fn each_name_is_held_once() {
        let mut names = Names::default();
        let places: Vec<u32> = ["a", "bc", "", "a", "bc"].map(|n| names.place(n).unwrap()).into();
        assert_eq!(places, [0, 1, 2, 0, 1]);
        assert_eq!([0, 1, 2, 3].map(|p| names.name(p).to_owned()), ["a", "bc", "", ""]);
        let packed = names.packed();
        assert_eq!((packed.name(1), packed.len()), ("bc", 3));
    }
}

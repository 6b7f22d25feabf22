//! What the watch knows of each pool: one stretch of a long list, its head and its entries side by side.

use super::slots::{ANY, Interval};

/// No slot: the entry shares the interval of the one before it.
pub(super) const SHARED: u32 = u32::MAX;
/// Entries that a head takes the place of.
const HEAD: usize = 2;

/// The start of a pool that has no record yet.
const NOWHERE: u32 = u32::MAX;

/// How a pool is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// By its entries alone.
    Plain,
    /// By the general path; its entries only name prices and slots.
    General,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Plain, Self::General];

    fn code(self) -> u32 {
        match self {
            Self::Plain => 0,
            Self::General => 1,
        }
    }
}

/// The head of a pool's record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) pool: u32,
    pub(super) kind: Kind,
    /// What no price moves, in quanta of the asset the pool is checked in.
    pub(super) cash: i64,
    /// What it may still lose before its certificate is void.
    pub(super) slack: i64,
}

/// One leg, or one asset, of a plain pool; one price of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(16))]
pub(super) struct Entry {
    /// Quanta per tick of a leg, signed; quanta of an asset.
    pub(super) amount: i64,
    /// The price: an instrument's place, or past those an asset's.
    pub(super) price: u32,
    /// Its interval, or [`SHARED`].
    pub(super) slot: u32,
}

/// All records. A pool's *start* says where its record is.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    starts: Vec<u32>,
    /// Of each record: cash, how many entries, kind; slack, pool; its entries, sorted by price.
    entries: Vec<Entry>,
    /// Starts of stretches that are free, by their length.
    free: Vec<Vec<u32>>,
}

/// How many entries there is room for where there are so many: one more may come without a move.
fn room(entries: usize) -> usize {
    entries.next_multiple_of(2)
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

impl Records {
    /// For so many pools, with room for so many entries.
    pub(super) fn new(pools: usize, entries: usize) -> Self {
        Self {
            starts: vec![NOWHERE; pools],
            entries: Vec::with_capacity(entries + HEAD * pools),
            free: Vec::new(),
        }
    }

    /// For one more pool.
    pub(super) fn grow(&mut self) {
        self.starts.push(NOWHERE);
    }

    /// Where a pool's record is; none before it has one.
    pub(super) fn start(&self, pool: usize) -> Option<u32> {
        self.starts.get(pool).copied().filter(|start| *start != NOWHERE)
    }

    /// Past every start.
    pub(super) fn end(&self) -> usize {
        self.entries.len()
    }

    /// The head and the entries of a record.
    #[inline]
    pub(super) fn get(&self, start: u32) -> Option<(Head, &[Entry])> {
        let start = index(start);
        let [first, second] = self.entries.get(start..start + HEAD)?.try_into().ok()?;
        let kind = *Kind::ALL.get(index(first.slot))?;
        let head = Head { pool: second.price, kind, cash: first.amount, slack: second.amount };
        let own = start + HEAD;
        Some((head, self.entries.get(own..own + index(first.price))?))
    }

    /// Sets what a pool may still lose.
    #[inline]
    pub(super) fn set_slack(&mut self, start: u32, slack: i64) {
        if let Some(second) = self.entries.get_mut(index(start) + 1) {
            second.amount = slack;
        }
    }

    /// Sets the amount of an entry, by its place among those of its pool.
    #[inline]
    pub(super) fn set_amount(&mut self, start: u32, place: usize, amount: i64) {
        if let Some(entry) = self.entries.get_mut(index(start) + HEAD + place) {
            entry.amount = amount;
        }
    }

    /// Sets a pool's cash, and what it may still lose.
    pub(super) fn set_cash(&mut self, start: u32, cash: i64, slack: i64) {
        if let Some(first) = self.entries.get_mut(index(start)) {
            first.amount = cash;
        }
        self.set_slack(start, slack);
    }

    /// Writes a pool's record; where it is then: none past 2^32 entries.
    pub(super) fn set(
        &mut self,
        pool: u32,
        kind: Kind,
        cash: i64,
        entries: &[Entry],
    ) -> Option<u32> {
        let count = u32::try_from(entries.len()).ok()?;
        let old = self.start(index(pool));
        let len = old.and_then(|old| self.get(old)).map(|(_, entries)| entries.len());
        let start = match old {
            Some(start) if len.map(room) == Some(room(entries.len())) => start,
            _ => {
                if let (Some(old), Some(len)) = (old, len.map(room)) {
                    if self.free.len() <= len {
                        self.free.resize(len + 1, Vec::new());
                    }
                    self.free.get_mut(len)?.push(old);
                }
                self.stretch(room(entries.len()))?
            }
        };
        *self.starts.get_mut(index(pool))? = start;
        let place = index(start);
        let own = self.entries.get_mut(place..place + HEAD + entries.len())?;
        let (head, rest) = own.split_at_mut_checked(HEAD)?;
        head.copy_from_slice(&[
            Entry { amount: cash, price: count, slot: kind.code() },
            Entry { amount: 0, price: pool, slot: SHARED },
        ]);
        rest.copy_from_slice(entries);
        Some(start)
    }

    fn stretch(&mut self, len: usize) -> Option<u32> {
        if let Some(start) = self.free.get_mut(len).and_then(Vec::pop) {
            return Some(start);
        }
        let start = u32::try_from(self.entries.len()).ok()?;
        let nothing = Entry { amount: 0, price: 0, slot: SHARED };
        self.entries.resize(self.entries.len() + HEAD + len, nothing);
        Some(start)
    }

    /// Reads ahead a record.
    #[inline]
    pub(super) fn read_ahead(&self, start: u32) {
        aivora_simd::read_ahead(&self.entries, index(start));
        // Four entries are a cache line.
        aivora_simd::read_ahead(&self.entries, index(start) + 4);
    }

    /// Without spare memory.
    pub(super) fn shrink(&mut self) {
        self.starts.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let free = self.free.iter().map(|list| list.capacity() * size_of::<u32>()).sum::<usize>();
        self.starts.capacity() * size_of::<u32>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.free.capacity() * size_of::<Vec<u32>>()
            + free
    }
}

/// A certificate: an interval for each price, in order of the entries that have slots, and what may be lost beside.
#[derive(Debug, Clone, Default)]
pub(super) struct Certificate {
    pub(super) intervals: Vec<Interval>,
    pub(super) slack: i64,
}

impl Certificate {
    /// Starts anew, for nothing yet.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.intervals.clear();
        self.slack = 0;
    }

    /// Every price will do, for so many.
    pub(super) fn any(&mut self, prices: usize) {
        self.clear();
        self.intervals.resize(prices, ANY);
        self.slack = i64::MAX;
    }
}

//! Many deltas in one call: the rules of [`Book::delta`], message by message, at a few
//! nanoseconds a level.
//!
//! While messages pass, nobody walks: the running sums of a ladder are not needed, only its best
//! price and its totals. So the levels near the touch lie in a window, one slot a tick, where a
//! change is one store; a bit a slot finds the next best. Levels outside it stay in the ladder.
//! At the end the window is poured back, and the sums are made once.

use super::book::{Book, Ladder, bad_quantity, crossed, too_many, too_much};
use super::{FillCost, Level, Side};
use crate::numbers::limits::{LEVELS_MAX, LOTS_MAX, TICKS_MAX};
use crate::numbers::{Error, ErrorKind, Lots, PriceTicks, Result};

/// Ticks of a window; three quarters of it lie behind the touch.
const SLOTS: usize = 1 << 16;
const BEHIND: i64 = 3 << 14;
const WORD: usize = 64;

/// Packed deltas: the levels of all messages in one column each, bids before asks in a message.
#[derive(Debug, Clone, Copy)]
pub struct Deltas<'a> {
    /// Prices in price ticks.
    pub prices: &'a [i64],
    /// Quantities in lots; zero deletes.
    pub lots: &'a [i64],
    /// How many levels of each message are bids.
    pub bid_counts: &'a [i64],
    /// How many levels of each message, behind its bids, are asks.
    pub ask_counts: &'a [i64],
    /// The number of each message and of the one before it, where messages carry them.
    pub sequences: Option<(&'a [i64], &'a [i64])>,
}

impl<'a> Deltas<'a> {
    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bid_counts.len()
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bid_counts.is_empty()
    }

    fn check(&self) -> Result<()> {
        let length = |field: &str, found: usize, want: usize, of: &str| {
            let limit = format!("must have one row for each of {want} {of}");
            if found == want {
                return Ok(());
            }
            Err(Error::new(ErrorKind::LengthMismatch, field, found, limit))
        };
        length("ask_counts", self.ask_counts.len(), self.len(), "messages")?;
        if let Some((sequences, previous)) = self.sequences {
            length("sequence", sequences.len(), self.len(), "messages")?;
            length("previous", previous.len(), self.len(), "messages")?;
        }
        length("lots", self.lots.len(), self.prices.len(), "levels")?;
        let mut levels = 0_usize;
        for (field, counts) in [("bid_counts", self.bid_counts), ("ask_counts", self.ask_counts)] {
            for (row, count) in counts.iter().enumerate() {
                match usize::try_from(*count) {
                    Ok(count) if count <= LEVELS_MAX => levels = levels.saturating_add(count),
                    _ => {
                        let limit = format!("must be 0 to {LEVELS_MAX}");
                        let error = Error::new(ErrorKind::OutOfRange, field, count, limit);
                        return Err(error.at_row(row));
                    }
                }
            }
        }
        length("prices", self.prices.len(), levels, "levels that the counts name")
    }

    /// The same messages in parts of about so many levels each, once the columns are checked.
    ///
    /// # Errors
    /// `length_mismatch` and `out_of_range` for columns that do not belong together.
    pub fn parts(&self, levels: usize) -> Result<Vec<Self>> {
        self.check()?;
        let (mut parts, mut rest) = (Vec::new(), *self);
        let (mut rows, mut held) = (0, 0);
        for (bids, asks) in self.bid_counts.iter().zip(self.ask_counts) {
            rows += 1;
            held += usize::try_from(bids + asks).unwrap_or(0);
            if held >= levels {
                parts.push(rest.take(rows, held).ok_or_else(cut_short)?);
                (rows, held) = (0, 0);
            }
        }
        if rows > 0 {
            parts.push(rest);
        }
        Ok(parts)
    }

    /// Cuts the first messages off.
    fn take(&mut self, rows: usize, levels: usize) -> Option<Self> {
        let cut = |column: &mut &'a [i64], at: usize| {
            let (first, rest) = column.split_at_checked(at)?;
            *column = rest;
            Some(first)
        };
        Some(Self {
            prices: cut(&mut self.prices, levels)?,
            lots: cut(&mut self.lots, levels)?,
            bid_counts: cut(&mut self.bid_counts, rows)?,
            ask_counts: cut(&mut self.ask_counts, rows)?,
            sequences: match &mut self.sequences {
                None => None,
                Some((own, previous)) => Some((cut(own, rows)?, cut(previous, rows)?)),
            },
        })
    }

    fn numbers(&self, row: usize) -> Result<(Option<u64>, Option<u64>)> {
        let number = |field: &str, column: &[i64]| {
            let value = column.get(row).copied().unwrap_or(-1);
            u64::try_from(value).map(Some).map_err(|_| {
                Error::new(ErrorKind::OutOfRange, field, value, "must not be negative")
            })
        };
        match self.sequences {
            None => Ok((None, None)),
            Some((own, previous)) => Ok((number("sequence", own)?, number("previous", previous)?)),
        }
    }

    /// Cuts the levels of the next message's side off the columns.
    fn cut(&mut self, count: i64) -> Option<(&'a [i64], &'a [i64])> {
        let count = usize::try_from(count).ok()?;
        let (prices, prices_left) = self.prices.split_at_checked(count)?;
        let (lots, lots_left) = self.lots.split_at_checked(count)?;
        (self.prices, self.lots) = (prices_left, lots_left);
        Some((prices, lots))
    }
}

/// What a slot or a level held before the message at hand.
struct Undo {
    side: Side,
    price: i64,
    lots: i64,
}

/// One side while messages pass.
struct Passing {
    /// Levels outside the window.
    far: Ladder,
    toward_better: i64,
    /// The price of the first slot; slots go toward better prices.
    origin: i64,
    slots: Vec<i64>,
    held: Vec<u64>,
    /// One past the best slot that holds something; 0 without any.
    top: usize,
    levels: usize,
    lots: i128,
    value: i128,
}

impl Passing {
    fn new(mut far: Ladder, fallback: i64) -> Self {
        let toward_better = far.toward_better();
        let touch = far.prices().last().copied().unwrap_or(fallback);
        let (lots, value) = far.totals();
        // Only price × lots are summed here: no other cost can pass the bound once the lots keep theirs.
        let value = if far.cost() == FillCost::Linear { value } else { 0 };
        let levels = far.len();
        let origin = touch - BEHIND * toward_better;
        let moved = far.take_within(origin, origin + slots_i64() * toward_better);
        let mut side = Self {
            far,
            toward_better,
            origin,
            slots: vec![0; SLOTS],
            held: vec![0; SLOTS / WORD],
            top: 0,
            levels,
            lots: lots.into(),
            value,
        };
        for (price, lots) in moved {
            side.set(price, lots);
        }
        // Moving changed no total.
        (side.levels, side.lots, side.value) = (levels, i128::from(lots), value);
        side
    }

    /// Sets one level, keeps best and totals, and answers what was there.
    fn set(&mut self, price: i64, lots: i64) -> i64 {
        // At most 2 × 10^17 either way.
        let slot = usize::try_from((price - self.origin) * self.toward_better).ok();
        let place = slot.and_then(|slot| Some((slot, self.slots.get_mut(slot)?)));
        let old = if let Some((slot, there)) = place {
            let old = std::mem::replace(there, lots);
            self.mark(slot, old != 0, lots != 0);
            old
        } else {
            self.far.set(price, lots).0
        };
        self.levels = self.levels + usize::from(lots != 0) - usize::from(old != 0);
        let change = i128::from(lots) - i128::from(old);
        self.lots += change;
        // Inside a message it may wrap; at its end, where `check_totals` has found at most 10^18
        // lots, the true value is at most 10^35, and what wrapped has come back.
        self.value = self.value.wrapping_add(i128::from(price) * change);
        old
    }

    /// Keeps the bit of a slot, and the top. What a slot held is known late, for it comes from far
    /// memory: no branch waits for it, so that the next levels need not wait either.
    fn mark(&mut self, slot: usize, held: bool, holds: bool) {
        if let Some(word) = self.held.get_mut(slot / WORD) {
            *word ^= u64::from(held != holds) << (slot % WORD);
        }
        if slot >= self.top {
            self.top = if holds { slot + 1 } else { self.top };
        } else if slot + 1 == self.top && !holds {
            self.top = self.next_top();
        }
    }

    /// One past the best slot that holds something, at most the present top.
    fn next_top(&self) -> usize {
        let words = self.held.get(..self.top.div_ceil(WORD)).unwrap_or_default();
        let held = words.iter().enumerate().rev().find(|(_, word)| **word != 0);
        held.map_or(0, |(place, word)| (place + 1) * WORD - lead(*word))
    }

    /// The best price of the whole side.
    fn best(&self) -> Option<i64> {
        let far = self.far.prices().last().copied();
        let near = self.top.checked_sub(1).and_then(|slot| i64::try_from(slot).ok());
        let near = near.map(|slot| self.origin + slot * self.toward_better);
        match (near, far) {
            (Some(near), Some(far)) if self.far.better(far, near) => Some(far),
            (near, far) => near.or(far),
        }
    }

    fn check_count(&self) -> Result<()> {
        if self.levels > LEVELS_MAX {
            return Err(too_many(self.far.name(), self.levels));
        }
        Ok(())
    }

    fn check_totals(&self) -> Result<()> {
        if self.lots > i128::from(LOTS_MAX) || self.value > self.far.value_max() {
            return Err(too_much(self.far.name(), self.lots));
        }
        Ok(())
    }

    /// The whole side as a ladder again.
    fn settled(mut self) -> Result<Ladder> {
        let mut near = Vec::new();
        for (place, word) in self.held.iter().enumerate() {
            let mut left = *word;
            while left != 0 {
                let slot = place * WORD + trail(left);
                left &= left - 1;
                let price = i64::try_from(slot).unwrap_or(0) * self.toward_better + self.origin;
                near.push((price, self.slots.get(slot).copied().unwrap_or(0)));
            }
        }
        self.far.put_back(&near)?;
        Ok(self.far)
    }
}

fn slots_i64() -> i64 {
    i64::try_from(SLOTS).unwrap_or(0)
}

fn lead(word: u64) -> usize {
    usize::try_from(word.leading_zeros()).unwrap_or(0)
}

fn trail(word: u64) -> usize {
    usize::try_from(word.trailing_zeros()).unwrap_or(0)
}

/// A book while many deltas pass. It has no levels of its own until [`Passage::finish`].
pub struct Passage<'a> {
    book: &'a mut Book,
    bids: Passing,
    asks: Passing,
    undo: Vec<Undo>,
    applied: usize,
}

impl Book {
    /// Applies many deltas, in order, each as [`Book::delta`] would.
    ///
    /// It stops at the first message that fails: the messages before it stay applied, the book is
    /// as the last of them left it, and the error's row is the number of the failing message, from
    /// 0, which is also how many were applied. A batch costs about as much as a few hundred
    /// levels on top of its own: it is for batches larger than that.
    ///
    /// # Errors
    /// As [`Book::delta`]; before any change `length_mismatch` and `out_of_range` for columns that
    /// do not belong together.
    pub fn delta_many(&mut self, deltas: &Deltas<'_>) -> Result<()> {
        deltas.check()?;
        if deltas.is_empty() {
            return Ok(());
        }
        let mut passage = self.passage()?;
        let passed = passage.pass(deltas);
        passage.finish()?;
        passed
    }

    /// Opens the book for many deltas that come in parts; see [`Book::delta_many`].
    ///
    /// # Errors
    /// `no_snapshot`, at row 0.
    pub fn passage(&mut self) -> Result<Passage<'_>> {
        self.check_snapshot().map_err(|error| error.at_row(0))?;
        let (bids, asks) = self.take_sides();
        // A side without levels lies around the other one's touch.
        let touch = bids.prices().last().or(asks.prices().last()).copied().unwrap_or(1);
        let (bids, asks) = (Passing::new(bids, touch), Passing::new(asks, touch));
        Ok(Passage { book: self, bids, asks, undo: Vec::new(), applied: 0 })
    }
}

impl Passage<'_> {
    /// Applies the next part. Rows of errors count from the first message of the first part.
    ///
    /// # Errors
    /// As [`Book::delta_many`].
    pub fn pass(&mut self, deltas: &Deltas<'_>) -> Result<()> {
        deltas.check()?;
        let mut left = *deltas;
        let counts = deltas.bid_counts.iter().zip(deltas.ask_counts);
        for (row, (bid_count, ask_count)) in counts.enumerate() {
            self.undo.clear();
            let done = deltas
                .numbers(row)
                .and_then(|numbers| self.message(numbers, &mut left, *bid_count, *ask_count));
            if let Err(error) = done {
                for Undo { side, price, lots } in self.undo.drain(..).rev() {
                    match side {
                        Side::Sell => self.bids.set(price, lots),
                        Side::Buy => self.asks.set(price, lots),
                    };
                }
                return Err(error.at_row(self.applied));
            }
            self.applied += 1;
        }
        Ok(())
    }

    fn message(
        &mut self,
        (sequence, previous): (Option<u64>, Option<u64>),
        left: &mut Deltas<'_>,
        bid_count: i64,
        ask_count: i64,
    ) -> Result<()> {
        self.book.check_sequence(sequence, previous)?;
        let (bids, asks) = (&mut self.bids, &mut self.asks);
        let (prices, lots) = left.cut(bid_count).ok_or_else(cut_short)?;
        set_all(bids, Side::Sell, prices, lots, &mut self.undo)?;
        let (prices, lots) = left.cut(ask_count).ok_or_else(cut_short)?;
        set_all(asks, Side::Buy, prices, lots, &mut self.undo)?;
        bids.check_count()?;
        asks.check_count()?;
        crossed(bids.best(), asks.best())?;
        bids.check_totals()?;
        asks.check_totals()?;
        self.book.set_sequence(sequence);
        Ok(())
    }

    /// Closes the book again, with its sums, and answers how many messages were applied.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub fn finish(self) -> Result<usize> {
        self.book.put_sides(self.bids.settled()?, self.asks.settled()?);
        Ok(self.applied)
    }
}

#[cold]
fn cut_short() -> Error {
    Error::invariant("packed deltas") // `Deltas::check` has counted the levels
}

fn set_all(
    to: &mut Passing,
    side: Side,
    prices: &[i64],
    lots: &[i64],
    undo: &mut Vec<Undo>,
) -> Result<()> {
    let cost = to.far.cost();
    let per_contract = matches!(cost, FillCost::PerContract { .. });
    for (place, (price, lots)) in prices.iter().zip(lots).enumerate() {
        if !(1..=TICKS_MAX).contains(price) || !(0..=LOTS_MAX).contains(lots) {
            return Err(off_range(to.far.name(), place, *price, *lots));
        }
        if per_contract && *lots > 0 {
            let name = || format!("{}[{place}]", to.far.name());
            cost.check(*price, "price").map_err(|error| error.within(&name()))?;
        }
        let old = to.set(*price, *lots);
        undo.push(Undo { side, price: *price, lots: old });
    }
    Ok(())
}

#[cold]
fn off_range(side: &'static str, place: usize, price: i64, lots: i64) -> Error {
    let name = format!("{side}[{place}]");
    if let Err(error) = PriceTicks::new(price.into(), "price") {
        return error.within(&name);
    }
    match Lots::new(lots.into(), "quantity") {
        Err(error) => error.within(&name),
        Ok(quantity) => {
            let level = Level { price: PriceTicks::trusted(price), quantity };
            bad_quantity(&name, level, place, "must not be negative")
        }
    }
}

#[cfg(test)]
#[path = "deltas_tests.rs"]
mod tests;

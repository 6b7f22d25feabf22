//! The aggregated order book of one instrument. See `docs/spec/book.md`.
//!
//! Each side is a [`Ladder`]: levels with the best last, prices and quantities in arrays of their
//! own, and beside each level the sums from the worst level up to it. A change near the touch
//! moves and sums only the few levels behind it, and every walk is a search in sums that are
//! always there.

use std::sync::Arc;

use super::fill::FillCost;
use super::grid::{read_price, read_quantity};
use super::instrument::Instrument;
use crate::numbers::limits::{LEVELS_MAX, LOTS_MAX, QUANTA_MAX};
use crate::numbers::{Canonical, Digest, Error, ErrorKind, Lots, PriceTicks, Result};

/// Which way an order trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Takes the asks.
    Buy,
    /// Takes the bids.
    Sell,
}

impl Side {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
        }
    }

    /// The side with this name.
    ///
    /// # Errors
    /// `out_of_range` for any other name.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "buy" => Ok(Self::Buy),
            "sell" => Ok(Self::Sell),
            _ => {
                let limit = "must be buy or sell";
                Err(Error::new(ErrorKind::OutOfRange, "side", format!("{name:?}"), limit))
            }
        }
    }
}

/// One level: a price and what is there. In a delta a quantity of zero deletes the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Level {
    /// Its price.
    pub price: PriceTicks,
    /// Its quantity.
    pub quantity: Lots,
}

/// One side of a book, worst level first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    /// +1 where a better price is higher (bids), -1 where it is lower (asks).
    toward_better: i64,
    prices: Vec<i64>,
    lots: Vec<i64>,
    /// Lots of a level and all worse ones.
    lots_sums: Vec<i64>,
    /// What a level and all worse ones cost who takes them whole, in the unit of `cost`.
    value_sums: Vec<i128>,
    /// What is summed.
    cost: FillCost,
    /// The largest sum whose amount stays within its bound.
    value_max: i128,
}

/// The first of `len` places from which on `in_tail` holds, searched from the end: `log` of the
/// tail's length.
pub fn tail_place(len: usize, in_tail: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high, mut width) = (0, len, 1_usize);
    while let Some(probe) = high.checked_sub(width) {
        if !in_tail(probe) {
            low = probe + 1;
            break;
        }
        high = probe;
        width = width.saturating_mul(2);
    }
    while low < high {
        let half = low + (high - low) / 2;
        if in_tail(half) { high = half } else { low = half + 1 }
    }
    low
}

/// Levels in which most walks end; a search looks at them first.
const NEAR: usize = 16;

/// The first place of the tail of `items` for which `in_tail` holds; see [`tail_place`].
///
/// ```
/// assert_eq!(aivora::data::book::tail_start(&[1, 4, 6, 9], |x| *x > 4), 2);
/// ```
pub fn tail_start<T>(items: &[T], in_tail: impl Fn(&T) -> bool) -> usize {
    let near = items.len().saturating_sub(NEAR);
    match items.split_at_checked(near) {
        // One look decides, and both searches behind it run without a branch on what they find.
        Some((far, tail)) if !tail.first().is_some_and(&in_tail) => {
            far.len() + tail.partition_point(|item| !in_tail(item))
        }
        Some((far, _)) => far.partition_point(|item| !in_tail(item)),
        None => items.len(),
    }
}

impl Ladder {
    /// The side that `side` takes.
    fn new(instrument: &Instrument, side: Side) -> Self {
        let price_unit = instrument.price_unit();
        let toward_better = match side {
            Side::Buy => -1,
            Side::Sell => 1,
        };
        Self {
            toward_better,
            prices: Vec::new(),
            lots: Vec::new(),
            lots_sums: Vec::new(),
            value_sums: Vec::new(),
            cost: FillCost::of(instrument, side),
            value_max: QUANTA_MAX / i128::from(price_unit.max(1)),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        if self.toward_better > 0 { "bids" } else { "asks" }
    }

    /// +1 for bids, -1 for asks.
    pub(super) fn toward_better(&self) -> i64 {
        self.toward_better
    }

    /// The most that the cost of all lots of a side may be.
    pub(super) fn value_max(&self) -> i128 {
        self.value_max
    }

    /// Whether `a` is a better price than `b`.
    pub(super) fn better(&self, a: i64, b: i64) -> bool {
        a * self.toward_better > b * self.toward_better
    }

    /// How many levels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prices.len()
    }

    /// Whether there is no level.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prices.is_empty()
    }

    /// Prices in ticks, worst first.
    #[must_use]
    pub fn prices(&self) -> &[i64] {
        &self.prices
    }

    /// Quantities in lots, in the order of the prices.
    #[must_use]
    pub fn lots(&self) -> &[i64] {
        &self.lots
    }

    /// For each level its lots and those of all worse levels.
    #[must_use]
    pub fn lots_sums(&self) -> &[i64] {
        &self.lots_sums
    }

    /// For each level what it and all worse ones cost who takes them whole, in the unit of [`Ladder::cost`].
    #[must_use]
    pub fn value_sums(&self) -> &[i128] {
        &self.value_sums
    }

    /// What filled lots cost here.
    #[must_use]
    pub fn cost(&self) -> FillCost {
        self.cost
    }

    /// All lots of this side, and what they cost.
    #[must_use]
    pub fn totals(&self) -> (i64, i128) {
        let lots = self.lots_sums.last().copied().unwrap_or(0);
        (lots, self.value_sums.last().copied().unwrap_or(0))
    }

    /// The best level.
    #[must_use]
    pub fn best(&self) -> Option<Level> {
        self.levels().next()
    }

    /// All levels, best first.
    #[must_use]
    pub fn levels(&self) -> impl ExactSizeIterator<Item = Level> + '_ {
        self.prices.iter().zip(&self.lots).rev().map(|(price, lots)| Level {
            price: PriceTicks::trusted(*price),
            quantity: Lots::trusted(*lots),
        })
    }

    /// The first place whose price is at `limit` or better.
    #[must_use]
    pub fn within(&self, limit: PriceTicks) -> usize {
        tail_start(&self.prices, |price| !self.better(limit.get(), *price))
    }

    /// Fills an empty ladder from a message, best first.
    fn fill(&mut self, levels: &[Level]) -> Result<()> {
        if levels.len() > LEVELS_MAX {
            return Err(too_many(self.name(), levels.len()));
        }
        let mut previous: Option<i64> = None;
        for (row, level) in levels.iter().enumerate() {
            if level.quantity.get() <= 0 {
                return Err(bad_quantity(self.name(), *level, row, "must be above 0"));
            }
            if previous.is_some_and(|p| !self.better(p, level.price.get())) {
                let limit = match self.toward_better {
                    1 => "prices of bids must fall, the best first",
                    _ => "prices of asks must rise, the best first",
                };
                let field = format!("{}.price", self.name());
                let error = Error::new(ErrorKind::UnsortedBook, field, level.price, limit);
                return Err(error.at_row(row));
            }
            previous = Some(level.price.get());
        }
        check_prices(self.cost, self.name(), levels)?;
        self.prices.extend(levels.iter().rev().map(|l| l.price.get()));
        self.lots.extend(levels.iter().rev().map(|l| l.quantity.get()));
        self.settle(0)
    }

    /// Sets one level; answers what was there and the first place whose sums no longer hold.
    pub(super) fn set(&mut self, price: i64, lots: i64) -> (i64, usize) {
        let place = tail_start(&self.prices, |p| !self.better(price, *p));
        let there = self.prices.get(place) == Some(&price);
        let old = match (there, self.lots.get_mut(place)) {
            (true, Some(slot)) => std::mem::replace(slot, lots),
            _ => 0,
        };
        if there && lots == 0 {
            self.prices.remove(place);
            self.lots.remove(place);
        } else if !there && lots != 0 {
            self.prices.insert(place, price);
            self.lots.insert(place, lots);
        }
        (old, place)
    }

    /// Takes out the levels from the price `worst` on and before `end`, worst first; the sums no
    /// longer hold.
    pub(super) fn take_within(&mut self, worst: i64, end: i64) -> Vec<(i64, i64)> {
        let from = self.prices.partition_point(|price| self.better(worst, *price));
        let to = self.prices.partition_point(|price| self.better(end, *price)).max(from);
        self.prices.drain(from..to).zip(self.lots.drain(from..to)).collect()
    }

    /// Puts levels back, worst first, that lie between two neighbours, and sums anew.
    pub(super) fn put_back(&mut self, levels: &[(i64, i64)]) -> Result<()> {
        if let Some((worst, _)) = levels.first() {
            let at = self.prices.partition_point(|price| self.better(*worst, *price));
            self.prices.splice(at..at, levels.iter().map(|(price, _)| *price));
            self.lots.splice(at..at, levels.iter().map(|(_, lots)| *lots));
        }
        self.settle(0)
    }

    /// Sums anew from a place on.
    fn settle(&mut self, from: usize) -> Result<()> {
        match self.cost {
            // By far the most: a loop of its own.
            FillCost::Linear => self.sum(from, |price, lots| i128::from(price) * i128::from(lots)),
            cost => self.sum(from, |price, lots| cost.of_lots(price, lots)),
        }
    }

    /// Sums anew from a place on, with what lots cost at a price.
    #[inline]
    fn sum(&mut self, from: usize, cost: impl Fn(i64, i64) -> i128) -> Result<()> {
        let count = self.prices.len();
        let from = from.min(count).min(self.lots_sums.len());
        let last = from.checked_sub(1);
        let mut lots = last.and_then(|at| self.lots_sums.get(at)).copied().unwrap_or(0);
        let mut value = last.and_then(|at| self.value_sums.get(at)).copied().unwrap_or(0);
        self.lots_sums.resize(count, 0);
        self.value_sums.resize(count, 0);
        let levels = tail(&self.prices, from).iter().zip(tail(&self.lots, from));
        let lots_sums = self.lots_sums.get_mut(from..).unwrap_or_default();
        let value_sums = self.value_sums.get_mut(from..).unwrap_or_default();
        for ((price, quantity), (lots_sum, value_sum)) in
            levels.zip(lots_sums.iter_mut().zip(value_sums))
        {
            // At most 2 × 10^18, and 2 × 10^36: neither can wrap before it is looked at.
            lots += quantity;
            value += cost(*price, *quantity);
            if lots > LOTS_MAX || value > self.value_max {
                return Err(too_much(self.name(), lots.into()));
            }
            (*lots_sum, *value_sum) = (lots, value);
        }
        Ok(())
    }
}

fn tail(items: &[i64], from: usize) -> &[i64] {
    items.get(from..).unwrap_or_default()
}

#[cold]
pub(super) fn too_much(field: &str, lots: i128) -> Error {
    let limit = "a side must hold at most 10^18 lots and 10^36 quanta";
    Error::new(ErrorKind::Overflow, field, format!("{lots} lots"), limit)
}

#[cold]
pub(super) fn too_many(field: &str, count: usize) -> Error {
    let limit = format!("must be at most {LEVELS_MAX} levels");
    Error::new(ErrorKind::LimitExceeded, field, format!("{count} levels"), limit)
}

#[cold]
pub(super) fn bad_quantity(side: &str, level: Level, row: usize, limit: &str) -> Error {
    let field = format!("{side}.quantity");
    Error::new(ErrorKind::OutOfRange, field, level.quantity, limit).at_row(row)
}

/// One level as it was before a message.
#[derive(Debug, Clone, Copy)]
struct Undo {
    side: Side,
    price: i64,
    lots: i64,
}

/// The first place of each side whose sums no longer hold.
#[derive(Debug, Clone, Copy)]
struct Touched {
    bids: usize,
    asks: usize,
}

/// The order book of one instrument.
///
/// ```
/// use std::sync::Arc;
/// use aivora::data::{Book, Venue};
/// let btc = Arc::new(Venue::builtin("demo")?.get("BTC")?.clone());
/// let mut book = Book::new(btc);
/// let bids = [book.level("64000.5", "1.2")?];
/// let asks = [book.level("64001", "0.7")?];
/// book.snapshot(&bids, &asks, None)?;
/// assert_eq!(book.mid_half_ticks(), Some(640_005 + 640_010));
/// # Ok::<(), aivora::numbers::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book {
    instrument: Arc<Instrument>,
    bids: Ladder,
    asks: Ladder,
    sequence: Option<u64>,
    has_snapshot: bool,
}

impl Book {
    /// A book that has not seen a snapshot yet.
    #[must_use]
    pub fn new(instrument: Arc<Instrument>) -> Self {
        let [bids, asks] = [Side::Sell, Side::Buy].map(|side| Ladder::new(&instrument, side));
        Self { instrument, bids, asks, sequence: None, has_snapshot: false }
    }

    /// The instrument.
    #[must_use]
    pub fn instrument(&self) -> &Arc<Instrument> {
        &self.instrument
    }

    /// The bids.
    #[must_use]
    pub fn bids(&self) -> &Ladder {
        &self.bids
    }

    /// The asks.
    #[must_use]
    pub fn asks(&self) -> &Ladder {
        &self.asks
    }

    /// The side that an order takes: asks for a buy, bids for a sell.
    #[must_use]
    pub fn taken_by(&self, side: Side) -> &Ladder {
        match side {
            Side::Buy => &self.asks,
            Side::Sell => &self.bids,
        }
    }

    /// The sequence number of the last message, if messages carry one.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// Whether a snapshot has been taken.
    #[must_use]
    pub fn has_snapshot(&self) -> bool {
        self.has_snapshot
    }

    /// Best bid + best ask: the mid in half price ticks; `None` unless both are there.
    #[must_use]
    pub fn mid_half_ticks(&self) -> Option<i64> {
        Some(self.bids.prices.last()? + self.asks.prices.last()?)
    }

    /// A level as text.
    ///
    /// # Errors
    /// As [`read_price`] and [`read_quantity`].
    pub fn level(&self, price: &str, quantity: &str) -> Result<Level> {
        let price = read_price(&self.instrument, price, "price")?;
        Ok(Level { price, quantity: read_quantity(&self.instrument, quantity, "quantity")? })
    }

    /// Replaces both sides, each given best first.
    ///
    /// # Errors
    /// `out_of_range` for a quantity of zero or less, `unsorted_book`, `crossed_book`, `overflow`,
    /// `limit_exceeded`; the book stays as it was.
    pub fn snapshot(
        &mut self,
        bids: &[Level],
        asks: &[Level],
        sequence: Option<u64>,
    ) -> Result<()> {
        let [mut new_bids, mut new_asks] = self.empty_sides();
        new_bids.fill(bids)?;
        new_asks.fill(asks)?;
        crossed(new_bids.prices.last().copied(), new_asks.prices.last().copied())?;
        (self.bids, self.asks) = (new_bids, new_asks);
        self.sequence = sequence;
        self.has_snapshot = true;
        Ok(())
    }

    /// Sets levels: zero deletes, and of two entries for one price the last counts.
    ///
    /// `sequence` and `previous` are both given or both absent, as the book's own sequence is.
    ///
    /// # Errors
    /// `no_snapshot`, `sequence_gap`, `out_of_range` for a negative quantity, `crossed_book`,
    /// `overflow`, `limit_exceeded`; the book stays as it was.
    pub fn delta(
        &mut self,
        bids: &[Level],
        asks: &[Level],
        sequence: Option<u64>,
        previous: Option<u64>,
    ) -> Result<()> {
        self.check_snapshot()?;
        self.check_sequence(sequence, previous)?;
        check_entries("bids", bids)?;
        check_entries("asks", asks)?;
        check_prices(self.bids.cost, "bids", bids)?;
        check_prices(self.asks.cost, "asks", asks)?;
        let mut undo = Vec::with_capacity(bids.len() + asks.len());
        let mut touched = Touched { bids: usize::MAX, asks: usize::MAX };
        self.apply(Side::Sell, bids, &mut undo, &mut touched);
        self.apply(Side::Buy, asks, &mut undo, &mut touched);
        if let Err(error) = self.accept(touched) {
            self.restore(&undo)?;
            return Err(error);
        }
        self.sequence = sequence;
        Ok(())
    }

    pub(super) fn check_snapshot(&self) -> Result<()> {
        if self.has_snapshot {
            return Ok(());
        }
        let limit = "a book takes deltas only after a snapshot";
        Err(Error::new(ErrorKind::NoSnapshot, "book", self.instrument.symbol(), limit))
    }

    pub(super) fn check_sequence(
        &self,
        sequence: Option<u64>,
        previous: Option<u64>,
    ) -> Result<()> {
        let gap = |field: &str, value: Option<u64>, limit: String| {
            let value = value.map_or("none".to_owned(), |v| v.to_string());
            Err(Error::new(ErrorKind::SequenceGap, field, value, limit))
        };
        if previous != self.sequence {
            let own = self.sequence.map_or("none".to_owned(), |s| s.to_string());
            return gap("previous", previous, format!("must be the book's sequence: {own}"));
        }
        match (self.sequence, sequence) {
            (None, Some(_)) => gap("sequence", sequence, "this book has none".to_owned()),
            (Some(own), _) if sequence.is_none_or(|s| s <= own) => {
                gap("sequence", sequence, format!("must be above the book's sequence: {own}"))
            }
            _ => Ok(()),
        }
    }

    fn empty_sides(&self) -> [Ladder; 2] {
        [Side::Sell, Side::Buy].map(|side| Ladder::new(&self.instrument, side))
    }

    /// Both sides by value, bids first, for a step that puts them back.
    pub(super) fn take_sides(&mut self) -> (Ladder, Ladder) {
        let [bids, asks] = self.empty_sides();
        (std::mem::replace(&mut self.bids, bids), std::mem::replace(&mut self.asks, asks))
    }

    pub(super) fn put_sides(&mut self, bids: Ladder, asks: Ladder) {
        (self.bids, self.asks) = (bids, asks);
    }

    pub(super) fn set_sequence(&mut self, sequence: Option<u64>) {
        self.sequence = sequence;
    }

    fn taken_by_mut(&mut self, side: Side) -> &mut Ladder {
        match side {
            Side::Buy => &mut self.asks,
            Side::Sell => &mut self.bids,
        }
    }

    fn apply(&mut self, side: Side, levels: &[Level], undo: &mut Vec<Undo>, touched: &mut Touched) {
        let ladder = self.taken_by_mut(side);
        let mut first = usize::MAX;
        for level in levels {
            let price = level.price.get();
            let (lots, place) = ladder.set(price, level.quantity.get());
            undo.push(Undo { side, price, lots });
            first = first.min(place);
        }
        match side {
            Side::Sell => touched.bids = first,
            Side::Buy => touched.asks = first,
        }
    }

    /// The checks of the book after a message.
    fn accept(&mut self, touched: Touched) -> Result<()> {
        for ladder in [&self.bids, &self.asks] {
            if ladder.len() > LEVELS_MAX {
                return Err(too_many(ladder.name(), ladder.len()));
            }
        }
        crossed(self.bids.prices.last().copied(), self.asks.prices.last().copied())?;
        self.bids.settle(touched.bids)?;
        self.asks.settle(touched.asks)
    }

    /// Takes back what a message did, last change first.
    fn restore(&mut self, undo: &[Undo]) -> Result<()> {
        for change in undo.iter().rev() {
            self.taken_by_mut(change.side).set(change.price, change.lots);
        }
        self.bids.settle(0)?;
        self.asks.settle(0)
    }

    /// The digest of the instrument, the sequence and all levels, best first.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut c = Canonical::of("aivora-book/0");
        self.instrument.encode(&mut c);
        c.int(self.has_snapshot).int(self.sequence.map_or(-1, i128::from));
        for ladder in [&self.bids, &self.asks] {
            c.length(ladder.len());
            for level in ladder.levels() {
                c.int(level.price.get()).int(level.quantity.get());
            }
        }
        c.digest()
    }
}

/// Refuses a best bid that is not below the best ask.
pub(super) fn crossed(bid: Option<i64>, ask: Option<i64>) -> Result<()> {
    match (bid, ask) {
        (Some(bid), Some(ask)) if bid >= ask => {
            let value = format!("best bid {bid} and best ask {ask} price ticks");
            let limit = "the best bid must be below the best ask";
            Err(Error::new(ErrorKind::CrossedBook, "book", value, limit))
        }
        _ => Ok(()),
    }
}

/// Refuses levels at prices that no side could sum; see [`FillCost::check`].
#[inline]
fn check_prices(cost: FillCost, side: &str, levels: &[Level]) -> Result<()> {
    match cost {
        FillCost::PerContract { .. } => check_each_price(cost, side, levels),
        FillCost::Linear | FillCost::Inverse { .. } => Ok(()),
    }
}

#[inline(never)]
fn check_each_price(cost: FillCost, side: &str, levels: &[Level]) -> Result<()> {
    let mut rows = levels.iter().enumerate().filter(|(_, level)| level.quantity.get() > 0);
    rows.try_for_each(|(row, level)| {
        let found = cost.check(level.price.get(), "price");
        found.map_err(|error| error.within(side).at_row(row))
    })
}

fn check_entries(side: &str, levels: &[Level]) -> Result<()> {
    if levels.len() > LEVELS_MAX {
        return Err(too_many(side, levels.len()));
    }
    match levels.iter().enumerate().find(|(_, level)| level.quantity.get() < 0) {
        Some((row, level)) => Err(bad_quantity(side, *level, row, "must not be negative")),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;

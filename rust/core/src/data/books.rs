//! Many books packed into columns, for walks of all of them. See `docs/spec/book.md`.
//!
//! A walk of a hundred thousand books waits for memory and for nothing else. So each side is two
//! columns, distances from the best price and lots, best level first, one book behind the other;
//! they are 32 bits wide where every level fits, and a walk reads no further than it fills.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use super::book::{Book, Ladder, Level, Side};
use super::contract::Contract;
use super::instrument::Instrument;
use crate::numbers::limits::{LEVELS_MAX, LOTS_MAX, QUANTA_MAX, ROWS_MAX};
use crate::numbers::{Error, ErrorKind, Lots, PriceTicks, Result};

/// One side of many books as columns: book `n` has the levels from `offsets[n]` to
/// `offsets[n + 1]`, best first.
#[derive(Debug, Clone, Copy)]
pub struct SideColumns<'a> {
    /// One more than there are books: the first 0, the last the number of levels.
    pub offsets: &'a [i64],
    /// Prices in price ticks.
    pub price_ticks: &'a [i64],
    /// Quantities in lots.
    pub quantity_lots: &'a [i64],
}

/// The same, growing.
struct Columns {
    offsets: Vec<i64>,
    price_ticks: Vec<i64>,
    quantity_lots: Vec<i64>,
}

impl Columns {
    fn new() -> Self {
        Self { offsets: vec![0], price_ticks: Vec::new(), quantity_lots: Vec::new() }
    }

    fn push(&mut self, ladder: &Ladder) {
        self.price_ticks.extend(ladder.prices().iter().rev());
        self.quantity_lots.extend(ladder.lots().iter().rev());
        self.offsets.push(i64::try_from(self.price_ticks.len()).unwrap_or(i64::MAX));
    }

    fn side(&self) -> SideColumns<'_> {
        SideColumns {
            offsets: &self.offsets,
            price_ticks: &self.price_ticks,
            quantity_lots: &self.quantity_lots,
        }
    }
}

/// What is known of one side of one book without reading its levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Where its levels begin.
    start: usize,
    /// How many levels it has.
    levels: u32,
    /// How many it has room for.
    room: u32,
    /// The best price in ticks; 0 without a level.
    pub best: i64,
    /// All its lots.
    pub lots: i64,
}

impl Head {
    /// How many levels it has.
    #[must_use]
    pub fn depth(&self) -> i64 {
        self.levels.into()
    }
}

/// The levels of all books, in columns of one width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane<T> {
    gaps: Vec<T>,
    lots: Vec<T>,
}

impl<T: Copy + TryFrom<i64> + Default> Lane<T> {
    /// Distances from the best price in ticks, and lots, of one book, best level first.
    #[must_use]
    pub fn levels(&self, head: &Head) -> (&[T], &[T]) {
        let end = head.start.saturating_add(usize::try_from(head.levels).unwrap_or(0));
        let of = |column| <[T]>::get(column, head.start..end).unwrap_or(&[]);
        (of(&self.gaps), of(&self.lots))
    }

    /// The columns from prices; `None` where a level does not fit.
    fn new(heads: &[Head], prices: &[i64], lots: &[i64]) -> Option<Self> {
        let short = |value: i64| T::try_from(value).ok();
        let mut gaps = Vec::with_capacity(prices.len());
        for head in heads {
            let own = prices.get(head.start..)?.get(..usize::try_from(head.levels).ok()?)?;
            for price in own {
                gaps.push(short((price - head.best).abs())?);
            }
        }
        let lots = lots.iter().map(|lots| short(*lots)).collect::<Option<Vec<T>>>()?;
        Some(Self { gaps, lots })
    }

    /// Writes one book's levels; `false`, and nothing written, where one does not fit.
    fn set(&mut self, head: &Head, levels: &[(i64, i64)]) -> bool {
        let short = |value: i64| T::try_from(value).ok();
        let level = |(gap, lots): &(i64, i64)| Some((short(*gap)?, short(*lots)?));
        let Some(levels) = levels.iter().map(level).collect::<Option<Vec<_>>>() else {
            return false;
        };
        let gaps = self.gaps.iter_mut().skip(head.start);
        let slots = gaps.zip(self.lots.iter_mut().skip(head.start));
        for ((gap, lots), level) in slots.zip(levels) {
            (*gap, *lots) = level;
        }
        true
    }
}

/// The levels of one side of all books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Levels {
    /// Every level fits 32 bits, and every cost and every term of it 64.
    Short(Lane<u32>),
    /// Any levels.
    Wide(Lane<i64>),
}

/// One side of all books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedSide {
    toward_better: i64,
    heads: Vec<Head>,
    levels: Levels,
}

impl PackedSide {
    /// +1 where a better price is higher (bids), -1 where it is lower (asks).
    #[must_use]
    pub fn toward_better(&self) -> i64 {
        self.toward_better
    }

    /// What is known of each book.
    #[must_use]
    pub fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// The levels of all of them.
    #[must_use]
    pub fn levels(&self) -> &Levels {
        &self.levels
    }

    /// One book's levels, best first.
    fn of(&self, head: &Head) -> Vec<Level> {
        let level = |(gap, lots): (i64, i64)| Level {
            price: PriceTicks::trusted(head.best - self.toward_better * gap),
            quantity: Lots::trusted(lots),
        };
        match &self.levels {
            Levels::Short(lane) => {
                let (gaps, lots) = lane.levels(head);
                gaps.iter().zip(lots).map(|(g, l)| level(((*g).into(), (*l).into()))).collect()
            }
            Levels::Wide(lane) => {
                let (gaps, lots) = lane.levels(head);
                gaps.iter().zip(lots).map(|(g, l)| level((*g, *l))).collect()
            }
        }
    }

    /// The same columns, 64 bits wide.
    fn widen(&mut self) {
        if let Levels::Short(lane) = &self.levels {
            let wide = |column: &[u32]| column.iter().map(|value| i64::from(*value)).collect();
            self.levels = Levels::Wide(Lane { gaps: wide(&lane.gaps), lots: wide(&lane.lots) });
        }
    }

    fn set(&mut self, row: usize, book: &Book, short: bool) {
        let side = if self.toward_better > 0 { Side::Sell } else { Side::Buy };
        let ladder = book.taken_by(side);
        let best = ladder.best().map_or(0, |level| level.price.get());
        let gap = |level: Level| ((level.price.get() - best).abs(), level.quantity.get());
        let levels: Vec<_> = ladder.levels().map(gap).collect();
        let Some(head) = self.heads.get_mut(row) else { return };
        head.best = best;
        head.lots = ladder.totals().0;
        head.levels = u32::try_from(levels.len()).unwrap_or(0); // at most the room
        let head = *head;
        let fits = match &mut self.levels {
            Levels::Short(lane) => short && lane.set(&head, &levels),
            Levels::Wide(lane) => lane.set(&head, &levels),
        };
        if !fits {
            self.widen();
            if let Levels::Wide(lane) = &mut self.levels {
                lane.set(&head, &levels);
            }
        }
    }
}

/// Many books, each of any linear instrument, packed for walks of all of them at once.
///
/// ```
/// use std::sync::Arc;
/// use aivora::data::{Books, SideColumns, Side, Venue};
/// use aivora::execution::walk_packed;
/// let btc = Arc::new(Venue::builtin("demo")?.get("BTC")?.clone());
/// let none = SideColumns { offsets: &[0, 0, 0], price_ticks: &[], quantity_lots: &[] };
/// let asks = SideColumns {
///     offsets: &[0, 2, 3],
///     price_ticks: &[640_010, 640_025, 640_011],
///     quantity_lots: &[700, 2_000, 50],
/// };
/// let books = Books::from_columns(&[btc], none, asks)?;
/// let walks = walk_packed(&books, Side::Buy, vec![1_500, 60], 1)?;
/// assert_eq!(walks.levels, [2, 1]);
/// assert_eq!(walks.filled_lots, [1_500, 50]);
/// # Ok::<(), aivora::numbers::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Books {
    instruments: Vec<Arc<Instrument>>,
    /// The instrument of each book.
    of: Vec<u32>,
    bids: PackedSide,
    asks: PackedSide,
}

impl Books {
    /// Books from columns, of one instrument each, or all of one.
    ///
    /// # Errors
    /// As [`Book::snapshot`], naming the book as the row and the level in the field:
    /// `out_of_range`, `bad_price`, `unsorted_book`, `crossed_book`, `overflow`,
    /// `limit_exceeded`; `length_mismatch` and `bad_column` for columns that do not belong
    /// together; `bad_column` for an instrument whose contract is not linear.
    pub fn from_columns(
        instruments: &[Arc<Instrument>],
        bids: SideColumns<'_>,
        asks: SideColumns<'_>,
    ) -> Result<Self> {
        let books = check_offsets("bids", bids)?;
        if check_offsets("asks", asks)? != books {
            let limit = format!("must be {books} books, as in bids");
            return Err(mismatch("asks.offsets", asks.offsets.len().saturating_sub(1), limit));
        }
        if instruments.len() != 1 && instruments.len() != books {
            let limit = format!("must be one instrument, or one for each of {books} books");
            return Err(mismatch("instrument", instruments.len(), limit));
        }
        let (instruments, of) = distinct(instruments, books)?;
        let bids = pack("bids", 1, bids, &instruments, &of)?;
        let asks = pack("asks", -1, asks, &instruments, &of)?;
        for (row, (bid, ask)) in bids.heads.iter().zip(&asks.heads).enumerate() {
            if bid.levels > 0 && ask.levels > 0 && bid.best >= ask.best {
                let value = format!("best bid {} and best ask {} price ticks", bid.best, ask.best);
                let limit = "the best bid must be below the best ask";
                return Err(Error::new(ErrorKind::CrossedBook, "book", value, limit).at_row(row));
            }
        }
        Ok(Self { instruments, of, bids, asks })
    }

    /// The same books, packed; each is read once, and may be handed over as a guard.
    ///
    /// # Errors
    /// `bad_column` naming the row of a book whose contract is not linear; `limit_exceeded`; what
    /// the iterator yields.
    pub fn from_books<B: Deref<Target = Book>>(
        books: impl Iterator<Item = Result<B>>,
    ) -> Result<Self> {
        let mut instruments = Vec::new();
        let [mut bids, mut asks] = [Columns::new(), Columns::new()];
        for book in books {
            let book = book?;
            instruments.push(Arc::clone(book.instrument()));
            bids.push(book.bids());
            asks.push(book.asks());
        }
        Self::from_columns(&instruments, bids.side(), asks.side())
    }

    /// How many books there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The instruments that its books have, each once.
    #[must_use]
    pub fn instruments(&self) -> &[Arc<Instrument>] {
        &self.instruments
    }

    /// Which of [`Books::instruments`] each book is of.
    #[must_use]
    pub fn instrument_of(&self) -> &[u32] {
        &self.of
    }

    /// The side that an order takes: asks for a buy, bids for a sell.
    #[must_use]
    pub fn taken_by(&self, side: Side) -> &PackedSide {
        match side {
            Side::Buy => &self.asks,
            Side::Sell => &self.bids,
        }
    }

    /// The instrument of one book.
    fn instrument(&self, row: usize) -> Result<&Arc<Instrument>> {
        let of = self.of.get(row).and_then(|of| self.instruments.get(usize::try_from(*of).ok()?));
        of.ok_or_else(|| {
            let limit = format!("there are {} books", self.len());
            Error::new(ErrorKind::OutOfRange, "row", row, limit)
        })
    }

    /// One book by itself.
    ///
    /// # Errors
    /// `out_of_range` for a row that is not there.
    pub fn book(&self, row: usize) -> Result<Book> {
        let mut book = Book::new(Arc::clone(self.instrument(row)?));
        let levels =
            |side: &PackedSide| side.heads.get(row).map_or(Vec::new(), |head| side.of(head));
        book.snapshot(&levels(&self.bids), &levels(&self.asks), None)?;
        Ok(book)
    }

    /// Replaces one book's levels by another's, in the room that it has.
    ///
    /// # Errors
    /// `out_of_range` for a row that is not there; `bad_column` for a book of another instrument;
    /// `limit_exceeded` for more levels than there is room for. Nothing is changed then.
    pub fn replace(&mut self, row: usize, book: &Book) -> Result<()> {
        let own = self.instrument(row)?;
        if **own != **book.instrument() {
            let limit = format!("must be a book of {}", own.symbol());
            let kind = ErrorKind::BadColumn;
            return Err(Error::new(kind, "book", book.instrument().symbol(), limit).at_row(row));
        }
        let unit = book.instrument().price_unit();
        for (name, side, packed) in
            [("bids", Side::Sell, &self.bids), ("asks", Side::Buy, &self.asks)]
        {
            let room = packed.heads.get(row).map_or(0, |head| head.room);
            let levels = book.taken_by(side).len();
            if usize::try_from(room).is_ok_and(|room| levels > room) {
                let limit = format!("this row was packed with {room}; for more, pack anew");
                let value = format!("{levels} levels");
                return Err(Error::new(ErrorKind::LimitExceeded, name, value, limit).at_row(row));
            }
        }
        for (side, packed) in [(Side::Sell, &mut self.bids), (Side::Buy, &mut self.asks)] {
            let ladder = book.taken_by(side);
            let ends = ladder.prices().first().max(ladder.prices().last());
            let short = ends.is_none_or(|most| short_cost(*most, ladder.totals().0, unit));
            packed.set(row, book, short);
        }
        Ok(())
    }
}

fn mismatch(field: &str, value: usize, limit: String) -> Error {
    Error::new(ErrorKind::LengthMismatch, field, value, limit)
}

/// Whether 64 bits hold the cost of so many lots at this price.
fn short_cost(price: i64, lots: i64, unit: i64) -> bool {
    price.checked_mul(lots).and_then(|value| value.checked_mul(unit)).is_some()
}

/// How many books there are, by offsets that fit their columns.
fn check_offsets(name: &str, side: SideColumns<'_>) -> Result<usize> {
    let levels = side.price_ticks.len();
    if side.quantity_lots.len() != levels {
        let limit = format!("must be {levels}, as in {name}.price_ticks");
        return Err(mismatch(&format!("{name}.quantity_lots"), side.quantity_lots.len(), limit));
    }
    let bad = |row: usize, value: i64, limit: String| {
        let field = format!("{name}.offsets");
        Err(Error::new(ErrorKind::OutOfRange, field, value, limit).at_row(row))
    };
    let (Some(first), Some(last)) = (side.offsets.first(), side.offsets.last()) else {
        let limit = "must be one more than there are books".to_owned();
        return Err(mismatch(&format!("{name}.offsets"), 0, limit));
    };
    let books = side.offsets.len().saturating_sub(1);
    if books > ROWS_MAX {
        let limit = format!("must be at most {ROWS_MAX}");
        return Err(Error::new(ErrorKind::LimitExceeded, "books", books, limit));
    }
    if *first != 0 {
        return bad(0, *first, "must begin with 0".to_owned());
    }
    for (row, (start, end)) in side.offsets.iter().zip(side.offsets.iter().skip(1)).enumerate() {
        if end < start {
            return bad(row + 1, *end, "must not fall".to_owned());
        }
    }
    if usize::try_from(*last) != Ok(levels) {
        return bad(books, *last, format!("must end with the number of levels: {levels}"));
    }
    Ok(books)
}

/// Each instrument once, and which of them each book is of.
fn distinct(given: &[Arc<Instrument>], books: usize) -> Result<(Vec<Arc<Instrument>>, Vec<u32>)> {
    let (mut instruments, mut places) = (Vec::new(), HashMap::new());
    let mut of = Vec::with_capacity(books);
    for (row, instrument) in given.iter().enumerate() {
        if !matches!(instrument.contract(), Contract::Linear { .. }) {
            let limit = "packed books must be of linear contracts so far; use Book for others";
            let value = format!("{}, {}", instrument.symbol(), instrument.kind().name());
            let error = Error::new(ErrorKind::BadColumn, "instrument", value, limit);
            return Err(error.at_row(row));
        }
        let place = *places.entry(Arc::as_ptr(instrument)).or_insert_with(|| {
            instruments.push(Arc::clone(instrument));
            instruments.len() - 1
        });
        of.push(u32::try_from(place).map_err(|_| Error::invariant("instruments"))?);
    }
    of.resize(books, 0);
    Ok((instruments, of))
}

/// One side of all books, each held to what [`Book::snapshot`] holds it to.
fn pack(
    name: &str,
    toward_better: i64,
    side: SideColumns<'_>,
    instruments: &[Arc<Instrument>],
    of: &[u32],
) -> Result<PackedSide> {
    let units: Vec<i64> = instruments.iter().map(|i| i.price_unit()).collect();
    let mut heads = Vec::with_capacity(of.len());
    let mut short = true;
    let ends = side.offsets.iter().skip(1);
    for (row, ((start, end), of)) in side.offsets.iter().zip(ends).zip(of).enumerate() {
        let place = |offset: &i64| usize::try_from(*offset).unwrap_or(usize::MAX);
        let (start, end) = (place(start), place(end));
        let unit = usize::try_from(*of).ok().and_then(|of| units.get(of)).copied().unwrap_or(1);
        let prices = side.price_ticks.get(start..end).unwrap_or(&[]);
        let lots = side.quantity_lots.get(start..end).unwrap_or(&[]);
        let total = check_levels(name, toward_better, prices, lots, unit);
        let total = total.map_err(|error| error.at_row(row))?;
        let (best, worst) = (prices.first().copied(), prices.last().copied());
        short &= best.max(worst).is_none_or(|most| short_cost(most, total, unit));
        let levels = u32::try_from(prices.len()).map_err(|_| Error::invariant("levels"))?;
        let best = best.unwrap_or(0);
        heads.push(Head { start, levels, room: levels, best, lots: total });
    }
    let wide = || Lane::new(&heads, side.price_ticks, side.quantity_lots).map(Levels::Wide);
    let lane = short.then(|| Lane::new(&heads, side.price_ticks, side.quantity_lots)).flatten();
    let levels = lane.map(Levels::Short).or_else(wide);
    let levels = levels.ok_or_else(|| Error::invariant("packed levels"))?;
    Ok(PackedSide { toward_better, heads, levels })
}

/// Holds one side of one book to the rules of a snapshot; all its lots.
fn check_levels(
    name: &str,
    toward_better: i64,
    prices: &[i64],
    lots: &[i64],
    unit: i64,
) -> Result<i64> {
    if prices.len() > LEVELS_MAX {
        let limit = format!("must be at most {LEVELS_MAX} levels");
        let value = format!("{} levels", prices.len());
        return Err(Error::new(ErrorKind::LimitExceeded, name, value, limit));
    }
    let (mut total, mut value, mut previous) = (0_i64, 0_i128, None::<i64>);
    let value_max = QUANTA_MAX / i128::from(unit.max(1));
    for (level, (price, quantity)) in prices.iter().zip(lots).enumerate() {
        let at = |error: Error| error.within(&format!("{name}[{level}]"));
        let bad =
            |kind, column, value: &i64, limit| Err(at(Error::new(kind, column, value, limit)));
        if *price <= 0 {
            return bad(ErrorKind::BadPrice, "price", price, "must be above 0");
        }
        PriceTicks::new(i128::from(*price), "price").map_err(at)?;
        if *quantity <= 0 {
            return bad(ErrorKind::OutOfRange, "quantity", quantity, "must be above 0");
        }
        Lots::new(i128::from(*quantity), "quantity").map_err(at)?;
        if previous.is_some_and(|previous| (previous - price) * toward_better <= 0) {
            let limit = match toward_better {
                1 => "prices of bids must fall, the best first",
                _ => "prices of asks must rise, the best first",
            };
            return bad(ErrorKind::UnsortedBook, "price", price, limit);
        }
        previous = Some(*price);
        total += quantity;
        value += i128::from(*price) * i128::from(*quantity);
        if total > LOTS_MAX || value > value_max {
            let limit = "a side must hold at most 10^18 lots and 10^36 quanta";
            return Err(Error::new(ErrorKind::Overflow, name, format!("{total} lots"), limit));
        }
    }
    Ok(total)
}

//! Many walks as columns: one book for many quantities, many books for one quantity each.

use super::walk::{Fee, Walk, allowed, negative, walk};
use crate::data::{Book, Contract, Instrument, Ladder, Side};
use crate::numbers::limits::{LOTS_MAX, ROWS_MAX};
use crate::numbers::{Error, ErrorKind, Lots, PriceTicks, Result};

/// A column of amounts in quanta, 64 bits wide where every row is known to fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amounts {
    /// Every row fits.
    Short(Vec<i64>),
    /// Some row may not.
    Wide(Vec<i128>),
}

impl Amounts {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Short(rows) => rows.len(),
            Self::Wide(rows) => rows.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows, each at its full width.
    pub fn iter(&self) -> impl Iterator<Item = i128> + '_ {
        let (short, wide): (&[i64], &[i128]) = match self {
            Self::Short(rows) => (rows, &[]),
            Self::Wide(rows) => (&[], rows),
        };
        short.iter().map(|row| i128::from(*row)).chain(wide.iter().copied())
    }

    /// The same rows, 64 bits wide if they fit.
    #[must_use]
    pub fn shortened(self) -> Self {
        match self {
            Self::Wide(wide) => {
                let rows: std::result::Result<Vec<i64>, _> =
                    wide.iter().map(|row| i64::try_from(*row)).collect();
                rows.map_or(Self::Wide(wide), Self::Short)
            }
            short @ Self::Short(_) => short,
        }
    }
}

/// Walks as columns, one row a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walks {
    /// Lots filled; what was asked for beyond them is not there.
    pub filled_lots: Vec<i64>,
    /// Costs in quanta.
    pub cost_quanta: Amounts,
    /// The last prices touched, in price ticks; 0 where nothing was filled.
    pub worst_ticks: Vec<i64>,
    /// How many levels were touched.
    pub levels: Vec<i64>,
}

impl Walks {
    /// Single walks as columns.
    ///
    /// # Errors
    /// The first error of a walk, with its row; `limit_exceeded`.
    pub fn collect(walks: impl ExactSizeIterator<Item = Result<Walk>>) -> Result<Self> {
        let rows = walks.len();
        check_rows(rows)?;
        let room = || Vec::with_capacity(rows);
        let mut costs = Vec::with_capacity(rows);
        let (mut filled, mut worst, mut levels) = (room(), room(), room());
        for (row, walk) in walks.enumerate() {
            let walk = walk.map_err(|error| error.at_row(row))?;
            filled.push(walk.filled().get());
            costs.push(walk.cost().get());
            worst.push(walk.worst().map_or(0, PriceTicks::get));
            levels.push(walk.levels().into());
        }
        let cost_quanta = Amounts::Wide(costs).shortened();
        Ok(Self { filled_lots: filled, cost_quanta, worst_ticks: worst, levels })
    }

    /// The fee of each row, `ceil(cost × taker fee)` of its instrument; -1 where it is unknown.
    #[must_use]
    pub fn fees<'a>(&self, instruments: impl Iterator<Item = &'a Instrument>) -> Amounts {
        let fee =
            |(cost, instrument): (i128, &Instrument)| Fee::of(instrument).ceil(cost).unwrap_or(-1);
        Amounts::Wide(self.cost_quanta.iter().zip(instruments).map(fee).collect()).shortened()
    }

    /// How many walks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.filled_lots.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filled_lots.is_empty()
    }
}

fn check_rows(rows: usize) -> Result<()> {
    if rows > ROWS_MAX {
        let limit = format!("must be at most {ROWS_MAX}");
        return Err(Error::new(ErrorKind::LimitExceeded, "rows", rows, limit));
    }
    Ok(())
}

/// A quantity from a column.
///
/// # Errors
/// `out_of_range` below 0 or past the bound of a quantity.
pub fn quantity(lots: i64) -> Result<Lots> {
    if lots < 0 {
        return Err(negative("quantity_lots", lots));
    }
    Lots::new(i128::from(lots), "quantity_lots")
}

/// Refuses the first quantity that no walk can have.
pub(super) fn check_quantities(lots: &[i64]) -> Result<()> {
    check_rows(lots.len())?;
    match lots.iter().position(|lots| !(0..=LOTS_MAX).contains(lots)) {
        Some(row) => {
            let bad = lots.get(row).map_or(Ok(()), |lots| quantity(*lots).map(drop));
            bad.map_err(|error| error.at_row(row))
        }
        None => Ok(()),
    }
}

/// What a walk that ends in a level costs: `(base + price × filled) × unit`.
#[derive(Debug, Clone, Copy, Default)]
struct End {
    /// Σ price × lots of the better levels, less what their lots would cost at this price.
    base: i64,
    price: i64,
}

/// One side for many quantities: where each ends is looked up, then searched without a branch.
///
/// Place 0 is the walk that fills nothing, place `n` the walk that ends in the `n`-th level.
struct Index {
    /// Lots up to and with each place; behind the last, places that no search passes.
    sums: Vec<i64>,
    ends: Vec<End>,
    /// The place of the least quantity of each interval of `2^shift` lots.
    first: Vec<u32>,
    shift: u32,
    /// The widest interval spans fewer than `2^steps` places.
    steps: u32,
    there: i64,
    unit: i64,
}

impl Index {
    /// The index of the levels within a limit; `None` where 64 bits may not hold a cost.
    fn new(ladder: &Ladder, limit: Option<PriceTicks>, unit: i64) -> Option<Self> {
        let (beyond, there) = allowed(ladder, limit);
        let levels = ladder.len() - beyond;
        let (mut sums, mut ends) = (vec![0], vec![End::default()]);
        let (mut lots, mut value, mut most) = (0_i64, 0_i64, 0_i64);
        for level in ladder.levels().take(levels) {
            let (price, quantity) = (level.price.get(), level.quantity.get());
            most = most.max(price);
            // Of a size no better level is dearer than `most`: this bounds all that follows.
            most.checked_mul(there)?.checked_mul(unit)?;
            ends.push(End { base: value - price * lots, price });
            lots += quantity;
            value += price * quantity;
            sums.push(lots);
        }
        let bits = |n: u64| u64::BITS - n.leading_zeros();
        let fine = bits(u64::try_from(levels).ok()?) + 1;
        let shift = bits(there.unsigned_abs()).saturating_sub(fine);
        let (mut first, mut place, mut widest) = (Vec::new(), 0_usize, 0_usize);
        for interval in 0..=(there >> shift) {
            let least = interval << shift;
            let before = place;
            place += sums.get(place..)?.iter().take_while(|sum| **sum < least).count();
            widest = widest.max(place - before);
            first.push(u32::try_from(place).ok()?);
        }
        widest = widest.max(levels - place);
        let steps = bits(u64::try_from(widest).ok()?);
        sums.extend(std::iter::repeat_n(i64::MAX, 1_usize.checked_shl(steps)?));
        Some(Self { sums, ends, first, shift, steps, there, unit })
    }

    /// The place in which a walk of so many lots, which are there, ends.
    fn place(&self, filled: i64, steps: u32) -> usize {
        let interval = usize::try_from(filled >> self.shift).unwrap_or(0);
        let first = self.first.get(interval).copied().unwrap_or(0);
        let mut place = usize::try_from(first).unwrap_or(0);
        for step in (0..steps).rev() {
            let width = 1_usize << step;
            let short =
                self.sums.get(place.wrapping_add(width - 1)).is_some_and(|sum| *sum < filled);
            place = place.wrapping_add(if short { width } else { 0 });
        }
        place
    }

    /// Walks each quantity; the column of quantities becomes that of what is filled.
    fn walk(&self, lots: Vec<i64>) -> Walks {
        match self.steps {
            0 => self.walk_in(lots, 0),
            1 => self.walk_in(lots, 1),
            2 => self.walk_in(lots, 2),
            3 => self.walk_in(lots, 3),
            steps => self.walk_in(lots, steps),
        }
    }

    #[inline(always)] // so that the number of steps is a constant
    #[allow(clippy::inline_always)]
    fn walk_in(&self, mut lots: Vec<i64>, steps: u32) -> Walks {
        let rows = lots.len();
        let (mut costs, mut worst, mut levels) = (vec![0; rows], vec![0; rows], vec![0; rows]);
        let amounts = lots.iter_mut().zip(&mut costs);
        for ((lots, cost), (worst, level)) in amounts.zip(worst.iter_mut().zip(&mut levels)) {
            let filled = self.there.min(*lots);
            let place = self.place(filled, steps);
            let end = self.ends.get(place).copied().unwrap_or_default();
            *lots = filled;
            // `new` has found that no term leaves 64 bits.
            let value = end.base.wrapping_add(end.price.wrapping_mul(filled));
            *cost = value.wrapping_mul(self.unit);
            *worst = end.price;
            *level = i64::try_from(place).unwrap_or(0);
        }
        let cost_quanta = Amounts::Short(costs);
        Walks { filled_lots: lots, cost_quanta, worst_ticks: worst, levels }
    }
}

/// One book walked for many quantities: the same numbers as [`walk`], row by row.
///
/// # Errors
/// `out_of_range` naming the row of a quantity that is negative or past its bound;
/// `limit_exceeded`.
pub fn walk_many(
    book: &Book,
    side: Side,
    lots: Vec<i64>,
    limit: Option<PriceTicks>,
) -> Result<Walks> {
    check_quantities(&lots)?;
    let ladder = book.taken_by(side);
    let linear = matches!(book.instrument().contract(), Contract::Linear { .. });
    // An index is worth its making only for so many quantities.
    if linear
        && lots.len() >= ladder.len() / 8
        && let Some(index) = Index::new(ladder, limit, book.instrument().price_unit())
    {
        return Ok(index.walk(lots));
    }
    let single = |lots: &i64| walk(book, side, quantity(*lots)?, limit);
    Walks::collect(lots.iter().map(single))
}

/// Many books walked for one quantity each: the same numbers as [`walk`], row by row.
///
/// # Errors
/// As [`walk_many`].
pub fn walk_books<'a>(
    rows: impl ExactSizeIterator<Item = (&'a Book, i64)>,
    side: Side,
) -> Result<Walks> {
    Walks::collect(rows.map(|(book, lots)| walk(book, side, quantity(lots)?, None)))
}

#[cfg(test)]
#[path = "many_tests.rs"]
mod tests;

//! Many walks at once, as columns.

use super::walk::{negative, walk};
use crate::data::{Book, Side};
use crate::numbers::limits::ROWS_MAX;
use crate::numbers::{Error, ErrorKind, Lots, PriceTicks, Quanta, Result};

/// Walks as columns, one row a walk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Walks {
    /// Lots filled.
    pub filled_lots: Vec<i64>,
    /// Lots asked for and not there.
    pub unfilled_lots: Vec<i64>,
    /// Costs in quanta.
    pub cost_quanta: Vec<i128>,
    /// Fees in quanta; -1 where the fee is unknown.
    pub fee_quanta: Vec<i128>,
    /// The last prices touched, in price ticks; 0 where nothing was filled.
    pub worst_ticks: Vec<i64>,
    /// How many levels were touched.
    pub levels: Vec<i64>,
}

impl Walks {
    /// No walks yet, and room for some.
    ///
    /// # Errors
    /// `limit_exceeded`.
    pub fn with_capacity(rows: usize) -> Result<Self> {
        if rows > ROWS_MAX {
            let limit = format!("must be at most {ROWS_MAX}");
            return Err(Error::new(ErrorKind::LimitExceeded, "rows", rows, limit));
        }
        Ok(Self {
            filled_lots: Vec::with_capacity(rows),
            unfilled_lots: Vec::with_capacity(rows),
            cost_quanta: Vec::with_capacity(rows),
            fee_quanta: Vec::with_capacity(rows),
            worst_ticks: Vec::with_capacity(rows),
            levels: Vec::with_capacity(rows),
        })
    }

    /// Walks one book and appends the row.
    ///
    /// # Errors
    /// `out_of_range` naming the row of a quantity that is negative or past its bound.
    pub fn add(
        &mut self,
        book: &Book,
        side: Side,
        lots: i64,
        limit: Option<PriceTicks>,
    ) -> Result<()> {
        let walk = if lots < 0 {
            Err(negative("quantity_lots", lots))
        } else {
            let quantity = Lots::new(i128::from(lots), "quantity_lots");
            quantity.and_then(|quantity| walk(book, side, quantity, limit))
        };
        let walk = walk.map_err(|error| error.at_row(self.len()))?;
        self.filled_lots.push(walk.filled().get());
        self.unfilled_lots.push(walk.unfilled().get());
        self.cost_quanta.push(walk.cost().get());
        self.fee_quanta.push(walk.fee().map_or(-1, Quanta::get));
        self.worst_ticks.push(walk.worst().map_or(0, PriceTicks::get));
        self.levels.push(walk.levels().into());
        Ok(())
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

/// One book walked for many quantities: the same numbers as [`walk`], row by row.
///
/// # Errors
/// `out_of_range` naming the row of a quantity that is negative or past its bound;
/// `limit_exceeded`.
pub fn walk_many(
    book: &Book,
    side: Side,
    lots: &[i64],
    limit: Option<PriceTicks>,
) -> Result<Walks> {
    let mut walks = Walks::with_capacity(lots.len())?;
    lots.iter().try_for_each(|lots| walks.add(book, side, *lots, limit))?;
    Ok(walks)
}

/// Many books walked for one quantity each: the same numbers as [`walk`], row by row.
///
/// # Errors
/// As [`walk_many`].
pub fn walk_books<'a>(
    mut rows: impl ExactSizeIterator<Item = (&'a Book, i64)>,
    side: Side,
) -> Result<Walks> {
    let mut walks = Walks::with_capacity(rows.len())?;
    rows.try_for_each(|(book, lots)| walks.add(book, side, lots, None))?;
    Ok(walks)
}


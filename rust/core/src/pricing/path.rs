//! A path of prices through an index and a mark, row by row.

use super::index::{Index, Weighed};
use super::mark::{Mark, Seen};
use crate::numbers::{Error, MarkTicks, Result};

/// One row of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// A source of the index, by its place, tells a price.
    Source(usize, i64),
    /// Something else is seen of the market.
    Seen(Seen),
    /// Nothing is: time goes on.
    Clock,
}

/// Takes one row: the index is worked out again where a source has told something, and the mark with every row.
///
/// # Errors
/// Those of [`Index::observe`], [`Mark::see`] and [`Mark::update`].
#[inline]
pub fn step(
    index: &mut Index,
    mark: &mut Mark,
    row: Row,
    time: i64,
    memory: &mut Vec<Weighed>,
) -> Result<Option<MarkTicks>> {
    match row {
        Row::Source(source, price) => {
            index.observe(source, price, time)?;
            if let Some(price) = index.value_in(time, memory).price {
                mark.see(Seen::Index(price.get()), time)?;
            }
        }
        Row::Seen(seen) => mark.see(seen, time)?,
        Row::Clock => {}
    }
    mark.update(time)
}

/// Takes rows, and gives the mark after each in mark ticks, 0 where there is none. Where there is no index, the last stands.
///
/// # Errors
/// Those of [`step`] at the first row that is refused: how many were taken, and why no more.
pub fn run(
    index: &mut Index,
    mark: &mut Mark,
    rows: impl Iterator<Item = (Row, i64)>,
    out: &mut Vec<i64>,
) -> std::result::Result<(), (usize, Error)> {
    let mut memory = Vec::new();
    for (place, (row, time)) in rows.enumerate() {
        let found = step(index, mark, row, time, &mut memory).map_err(|error| (place, error))?;
        out.push(found.map_or(0, MarkTicks::get));
    }
    Ok(())
}

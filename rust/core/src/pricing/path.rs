//! A path of prices through an index and a mark, row by row.

use super::index::{Index, IndexValue, Weighed};
use super::mark::{Mark, Seen};
use super::validity::{Limits, Quote, Validity};
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

/// What is known after a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The mark, in mark ticks.
    pub mark: Option<i64>,
    /// The premium, in parts of [`super::funding::UNIT`].
    pub premium: Option<i64>,
    /// The class of the mark.
    pub class: Validity,
}

/// Takes rows, and gives the mark, the premium and the class of the mark after each. The mark is classed by the sources as they were
/// when the index was made last: how many counted, and how old the oldest is by now; its average is the index.
///
/// # Errors
/// Those of [`step`] and [`Mark::premium`] at the first row that is refused: how many were taken, and why no more.
pub fn trace(
    index: &mut Index,
    mark: &mut Mark,
    limits: &Limits,
    rows: impl Iterator<Item = (Row, i64)>,
    mut out: impl FnMut(Known),
) -> std::result::Result<(), (usize, Error)> {
    let mut memory = Vec::new();
    let mut made: Option<IndexValue> = None;
    for (place, (row, time)) in rows.enumerate() {
        let at = |error| (place, error);
        match row {
            Row::Source(source, price) => {
                index.observe(source, price, time).map_err(at)?;
                let value = index.value_in(time, &mut memory);
                if let Some(price) = value.price {
                    mark.see(Seen::Index(price.get()), time).map_err(at)?;
                }
                made = Some(value);
            }
            Row::Seen(seen) => mark.see(seen, time).map_err(at)?,
            Row::Clock => {}
        }
        let found = mark.update(time).map_err(at)?.map(MarkTicks::get);
        let oldest = made.and_then(|value| value.oldest);
        let quote = Quote {
            price: found.unwrap_or(0),
            average: mark.index(),
            confidence: None,
            age: oldest.map_or(0, |oldest| time.saturating_sub(oldest)),
            live: made.map(|value| value.live),
        };
        let premium = mark.premium().map_err(at)?;
        out(Known { mark: found, premium, class: limits.class(&quote) });
    }
    Ok(())
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

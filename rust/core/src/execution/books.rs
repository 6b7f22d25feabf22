//! Walks of packed books, one quantity each.

use super::many::{Amounts, Walks, check_quantities};
use crate::data::books::{Head, Levels};
use crate::data::{Books, Side};
use crate::margin::check::{check_threads, on_threads};
use crate::numbers::{Error, ErrorKind, Result};

/// Levels that are summed before one look at whether the walk ends among them.
const BLOCK: usize = 8;
/// Books that a thread takes at a time.
const PIECE: usize = 1 << 13;

/// What a walk takes of one side.
#[derive(Debug, Clone, Copy, Default)]
struct Taken<T> {
    /// Σ distance from the best price × lots.
    gaps: T,
    /// Distance of the last level touched.
    worst: i64,
    levels: usize,
}

/// Takes lots that are there. No sum can leave 64 bits: the columns would be wide then.
fn take_short(gaps: &[u32], lots: &[u32], filled: i64) -> Taken<i64> {
    let mut left = filled.unsigned_abs();
    let (mut value, mut before) = (0_u64, 0_usize);
    let (gap_blocks, gap_rest) = gaps.as_chunks::<BLOCK>();
    let (lot_blocks, lot_rest) = lots.as_chunks::<BLOCK>();
    let mut last = (gap_rest, lot_rest);
    for (gaps, lots) in gap_blocks.iter().zip(lot_blocks) {
        let sum = lots.iter().fold(0_u64, |sum, lots| sum.wrapping_add(u64::from(*lots)));
        if sum >= left {
            last = (gaps, lots);
            break;
        }
        left = left.wrapping_sub(sum);
        for (gap, lots) in gaps.iter().zip(lots) {
            value = value.wrapping_add(u64::from(*gap).wrapping_mul(u64::from(*lots)));
        }
        before = before.wrapping_add(BLOCK);
    }
    let (mut worst, mut levels) = (0_u32, before);
    for (gap, lots) in last.0.iter().zip(last.1) {
        let part = left.min(u64::from(*lots));
        value = value.wrapping_add(u64::from(*gap).wrapping_mul(part));
        let touched = left > 0;
        levels = levels.wrapping_add(usize::from(touched));
        worst = if touched { *gap } else { worst };
        left = left.wrapping_sub(part);
    }
    Taken { gaps: i64::try_from(value).unwrap_or(i64::MAX), worst: worst.into(), levels }
}

/// The same for any levels.
fn take_wide(gaps: &[i64], lots: &[i64], filled: i64) -> Taken<i128> {
    let (mut left, mut taken) = (filled, Taken::default());
    for (gap, lots) in gaps.iter().zip(lots) {
        if left == 0 {
            break;
        }
        let part = left.min(*lots);
        taken = Taken {
            gaps: taken.gaps + i128::from(*gap) * i128::from(part),
            worst: *gap,
            levels: taken.levels + 1,
        };
        left -= part;
    }
    taken
}

/// The rows of one piece, filled by one thread. Of `filled`, what was asked for is read first.
struct Piece<'a, T> {
    heads: &'a [Head],
    of: &'a [u32],
    filled: &'a mut [i64],
    costs: &'a mut [T],
    worst: &'a mut [i64],
    levels: &'a mut [i64],
}

impl<T> Piece<'_, T> {
    fn fill(
        self,
        toward_better: i64,
        units: &[i64],
        step: impl Fn(&Head, i64, i64) -> (T, i64, usize),
    ) {
        let inputs = self.heads.iter().zip(self.of);
        let found = self.filled.iter_mut().zip(self.costs).zip(self.worst).zip(self.levels);
        for ((head, of), (((filled, cost), worst), levels)) in inputs.zip(found) {
            let there = head.lots.min(*filled);
            *filled = there;
            let unit = usize::try_from(*of).ok().and_then(|of| units.get(of));
            let (amount, gap, touched) = step(head, there, unit.copied().unwrap_or(1));
            *cost = amount;
            *worst = if touched > 0 { head.best - toward_better * gap } else { 0 };
            *levels = i64::try_from(touched).unwrap_or(0);
        }
    }
}

/// Walks each book for its quantity: the same numbers as [`walk`](super::walk), row by row.
///
/// # Errors
/// `length_mismatch`; `out_of_range` for the threads, or naming the row of a quantity that is
/// negative or past its bound.
pub fn walk_packed(books: &Books, side: Side, lots: Vec<i64>, threads: usize) -> Result<Walks> {
    check_threads(threads)?;
    if lots.len() != books.len() {
        let limit = format!("must have one quantity for each of {} books", books.len());
        return Err(Error::new(ErrorKind::LengthMismatch, "quantity_lots", lots.len(), limit));
    }
    check_quantities(&lots)?;
    let units: Vec<i64> = books.instruments().iter().map(|i| i.price_unit()).collect();
    let packed = books.taken_by(side);
    let toward = packed.toward_better();
    match packed.levels() {
        Levels::Short(lane) => walk_in(books, side, lots, threads, |piece| {
            piece.fill(toward, &units, |head, filled, unit| {
                let (gaps, lots) = lane.levels(head);
                let taken = take_short(gaps, lots, filled);
                let value = head.best.wrapping_mul(filled);
                let value = value.wrapping_sub(toward.wrapping_mul(taken.gaps));
                (value.wrapping_mul(unit), taken.worst, taken.levels)
            });
        })
        .map(|(walks, costs)| Walks { cost_quanta: Amounts::Short(costs), ..walks }),
        Levels::Wide(lane) => walk_in(books, side, lots, threads, |piece| {
            piece.fill(toward, &units, |head, filled, unit| {
                let (gaps, lots) = lane.levels(head);
                let taken = take_wide(gaps, lots, filled);
                let value = i128::from(head.best) * i128::from(filled);
                let value = value - i128::from(toward) * taken.gaps;
                (value * i128::from(unit), taken.worst, taken.levels)
            });
        })
        .map(|(walks, costs)| Walks { cost_quanta: Amounts::Wide(costs).shortened(), ..walks }),
    }
}

fn walk_in<T: Copy + Default + Send>(
    books: &Books,
    side: Side,
    mut filled: Vec<i64>,
    threads: usize,
    job: impl Fn(Piece<'_, T>) + Sync,
) -> Result<(Walks, Vec<T>)> {
    let rows = filled.len();
    let mut costs = vec![T::default(); rows];
    let (mut worst, mut levels) = (vec![0; rows], vec![0; rows]);
    let inputs =
        books.taken_by(side).heads().chunks(PIECE).zip(books.instrument_of().chunks(PIECE));
    let pieces = inputs
        .zip(filled.chunks_mut(PIECE))
        .zip(costs.chunks_mut(PIECE))
        .zip(worst.chunks_mut(PIECE).zip(levels.chunks_mut(PIECE)))
        .map(|((((heads, of), filled), costs), (worst, levels))| Piece {
            heads,
            of,
            filled,
            costs,
            worst,
            levels,
        });
    on_threads(pieces, threads, |piece| {
        job(piece);
        Ok(())
    })?;
    let cost_quanta = Amounts::Short(Vec::new());
    let walks = Walks { filled_lots: filled, cost_quanta, worst_ticks: worst, levels };
    Ok((walks, costs))
}

//! Walks of packed books, one quantity each.

use super::many::{Amounts, Walks, check_quantities};
use crate::data::books::{Head, Levels};
use crate::data::{Books, Side};
use crate::margin::check::{check_threads, on_threads};
use crate::numbers::{Error, ErrorKind, Result};

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
///
/// Level by level, and out at once: where the last one is found is guessed wrong once a walk, and
/// what would go on behind that, or be summed in blocks before it, costs more than it saves.
fn take_short(gaps: &[u32], lots: &[u32], filled: i64) -> Taken<i64> {
    let (mut left, mut value, mut before) = (filled, 0_i64, 0_usize);
    for (gap, lots) in gaps.iter().zip(lots) {
        let (gap, lots) = (i64::from(*gap), i64::from(*lots));
        if left <= lots {
            let gaps = value.wrapping_add(gap.wrapping_mul(left));
            let levels = before.wrapping_add(usize::from(left > 0)); // 0 where nothing is filled
            return Taken { gaps, worst: gap, levels };
        }
        left = left.wrapping_sub(lots);
        value = value.wrapping_add(gap.wrapping_mul(lots));
        before = before.wrapping_add(1);
    }
    Taken::default() // there is no level
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

/// Walks each book for its quantity: the same numbers as [`walk`](super::walk()), row by row.
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

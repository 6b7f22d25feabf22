//! How much lies near the mid.

use super::book::{Book, Side};
use crate::numbers::rounding::{div_ceil, div_floor};
use crate::numbers::{Decimal, Error, ErrorKind, Lots, PriceTicks, Result};

/// Decimals of a distance in basis points.
const DECIMALS_MAX: u32 = 9;
/// The farthest distance that is asked for.
const BPS_MAX: i128 = 1_000_000;

impl Book {
    /// The lots of the side that `side` takes at prices at most `bps` basis points from the mid.
    ///
    /// `|price − mid| ≤ mid × bps / 10^4`, compared exactly.
    ///
    /// # Errors
    /// `no_mid` unless both sides are there; `out_of_range` for a distance below 0, past 10^6, or
    /// with more than 9 decimals.
    pub fn quantity_within(&self, side: Side, bps: Decimal) -> Result<Lots> {
        let mid = self.mid_half_ticks().ok_or_else(|| {
            let limit = "a distance is measured from the mid, which needs both sides";
            Error::new(ErrorKind::NoMid, "bps", self.instrument().symbol(), limit)
        })?;
        let whole = 10_i128.checked_pow(bps.scale()).filter(|_| bps.scale() <= DECIMALS_MAX);
        let whole = whole.filter(|one| (0..=BPS_MAX * one).contains(&bps.mantissa()));
        let one = whole.ok_or_else(|| {
            let limit = format!("must be 0 to {BPS_MAX}, with at most {DECIMALS_MAX} decimals");
            Error::new(ErrorKind::OutOfRange, "bps", bps, limit)
        })?;
        // Half ticks at most 2 × 10^17, the factor at most 10^15 + 10^13: it fits.
        let (mid, all) = (i128::from(mid), 10_000 * one);
        let limit = match side {
            Side::Sell => div_ceil(mid * (all - bps.mantissa()), 2 * all),
            Side::Buy => div_floor(mid * (all + bps.mantissa()), 2 * all),
        };
        let limit = limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(i64::MAX);
        let ladder = self.taken_by(side);
        let first = ladder.within(PriceTicks::trusted(limit));
        let worse = first.checked_sub(1).and_then(|last| ladder.lots_sums().get(last));
        Ok(Lots::trusted(ladder.totals().0 - worse.copied().unwrap_or(0)))
    }
}

#[cfg(test)]
#[path = "depth_tests.rs"]
mod tests;

//! What an asset counts in the lanes: [`super::collateral::Valued`] with 64-bit multiplications.
//!
//! In each slice the value of equity `e` is a straight line, `floor(e a + b)` with rational `a` and `b` over a common
//! denominator `D`. With `A = ceil(a 2^64)` and `B = ceil(b 2^64)`, `e A + B` exceeds `(e a + b) 2^64` by less than `e + 1`, so the whole
//! part is exact while `(e + 1) D <= 2^64`. Requirements and debts are rounded up: with `A = floor(a 2^64)` and
//! `B = 2^64 - 1` the same bound holds, as in the kernels.

use crate::data::Worth;
use crate::numbers::rate::gcd;

/// Largest amount that comes out, so that a pool's sums stay below 2^63.
const VALUE_MAX: u128 = 1 << 54;
const ONE: i128 = 1 << 64;

/// `amount × (whole + part / 2^64) + add / 2^64`.
#[derive(Debug, Clone, Copy)]
struct Line {
    whole: u64,
    part: u64,
    /// Whole and part of what is added.
    base: u64,
    add: u64,
    /// The largest amount it is exact for.
    most: u64,
}

impl Line {
    /// `floor(amount × num / den + base / den)` for a base that is not negative.
    fn down(num: i128, base: i128, den: i128) -> Option<Self> {
        let divisor = gcd(gcd(num, base), den).max(1);
        let (num, base, den) = (num / divisor, base / divisor, den / divisor);
        let up = |rest: i128| scaled(rest, den).map(|(part, exact)| part + u64::from(!exact));
        Some(Self {
            whole: u64::try_from(num / den).ok()?,
            part: up(num % den)?,
            base: u64::try_from(base / den).ok()?,
            add: up(base % den)?,
            most: u64::try_from(ONE / den).unwrap_or(u64::MAX).saturating_sub(1),
        })
    }

    /// `ceil(amount × num / den)`.
    fn up(num: i128, den: i128) -> Option<Self> {
        let divisor = gcd(num, den).max(1);
        let (num, den) = (num / divisor, den / divisor);
        Some(Self {
            whole: u64::try_from(num / den).ok()?,
            part: scaled(num % den, den)?.0,
            base: 0,
            add: u64::MAX,
            most: u64::try_from((ONE - den).max(0) / den).unwrap_or(u64::MAX),
        })
    }

    #[inline]
    fn at(&self, amount: u64) -> Option<i64> {
        if amount > self.most {
            return None;
        }
        let wide = u128::from(amount);
        let part = (wide * u128::from(self.part) + u128::from(self.add)) >> 64;
        let value = wide * u128::from(self.whole) + part + u128::from(self.base);
        if value > VALUE_MAX { None } else { i64::try_from(value).ok() }
    }
}

/// `floor(rest × 2^64 / den)` for `rest < den < 2^63`, and whether nothing was cut; none where that does not fit.
fn scaled(rest: i128, den: i128) -> Option<(u64, bool)> {
    if den >= ONE >> 1 {
        return None;
    }
    let product = rest.checked_mul(ONE)?;
    // The largest `den` is 2^63 − 1, so that the quotient is below 2^64 − 1 and one can be added.
    Some((u64::try_from(product / den).ok()?, product % den == 0))
}

/// What an asset counts at a price.
#[derive(Debug, Clone)]
pub(super) struct LaneValue {
    /// Each slice's floor and line.
    slices: Vec<(u64, Line)>,
    debt: Line,
    requirement: Line,
}

impl LaneValue {
    /// None where the price or the haircuts are past what the lanes hold.
    pub(super) fn at(worth: &Worth, ticks: i64) -> Option<Self> {
        let divisor = gcd(i128::from(worth.num) * i128::from(ticks), i128::from(worth.den)).max(1);
        let num = i128::from(worth.num) * i128::from(ticks) / divisor;
        let den = i128::from(worth.den) / divisor;
        let haircut_den = i128::from(worth.haircut_den);
        let (mut slices, mut base, mut before) =
            (Vec::with_capacity(worth.slices.len()), 0_i128, 0);
        for slice in &worth.slices {
            // Where this slice starts, the line before it and its own give the same.
            let weight = i128::from(slice.weight);
            if !slices.is_empty() {
                base = base.checked_add(slice.floor.checked_mul(before - weight)?)?;
            }
            before = weight;
            let line = Line::down(
                weight.checked_mul(num)?,
                base.checked_mul(num)?,
                haircut_den.checked_mul(den)?,
            )?;
            slices.push((u64::try_from(slice.floor).ok()?, line));
        }
        let (weight, over) = (i128::from(worth.liability.num()), i128::from(worth.liability.den()));
        Some(Self {
            slices,
            debt: Line::up(weight.checked_mul(num)?, over.checked_mul(den)?)?,
            requirement: Line::up(num, den)?,
        })
    }

    /// What equity counts; none where it is past what the lanes hold.
    #[inline]
    pub(super) fn value(&self, equity: i64) -> Option<i64> {
        let size = equity.unsigned_abs();
        if equity < 0 {
            return self.debt.at(size).map(i64::wrapping_neg);
        }
        let reached = self.slices.iter().take_while(|(floor, _)| *floor <= size).count();
        self.slices.get(reached.wrapping_sub(1))?.1.at(size)
    }

    /// A requirement in the valuation asset; none where it is past what the lanes hold.
    #[inline]
    pub(super) fn requirement(&self, amount: i64) -> Option<i64> {
        self.requirement.at(amount.unsigned_abs())
    }
}

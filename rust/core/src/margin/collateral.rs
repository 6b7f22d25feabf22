//! What the assets of a pool count: haircuts, liabilities, and requirements in the valuation asset.
//! `docs/spec/collateral.md`.

use crate::data::{Asset, Worth};
use crate::numbers::limits::QUANTA_MAX;
use crate::numbers::rounding::mul_div_floor;
use crate::numbers::{Error, Result};

/// An asset at a price, as a pool of several assets sees it; the valuation asset itself has no price.
#[derive(Debug, Clone, Copy)]
pub struct Valued<'a> {
    asset: &'a Asset,
    /// None where it counts as it is.
    worth: Option<&'a Worth>,
    /// Quanta of the valuation asset per quantum of this one: numerator and denominator.
    num: i128,
    den: i128,
}

impl<'a> Valued<'a> {
    /// The valuation asset, or the asset of a pool that holds one: counted as it is.
    #[must_use]
    pub fn as_it_is(asset: &'a Asset) -> Self {
        Self { asset, worth: None, num: 1, den: 1 }
    }

    /// An asset at so many ticks.
    ///
    /// # Errors
    /// `invariant_broken` for an asset whose card gives it no worth.
    pub fn at(asset: &'a Asset, ticks: i64) -> Result<Self> {
        let worth = asset.worth().ok_or_else(|| Error::invariant("asset without a worth"))?;
        let num = i128::from(worth.num) * i128::from(ticks); // at most 10^18 × 10^17
        Ok(Self { asset, worth: Some(worth), num, den: i128::from(worth.den) })
    }

    /// Whether it counts as it is.
    #[must_use]
    pub fn is_as_it_is(&self) -> bool {
        self.worth.is_none()
    }

    fn overflow(&self) -> Error {
        Error::overflow("value", self.asset.name())
    }

    fn bounded(&self, value: Option<i128>) -> Result<i128> {
        value
            .filter(|v| v.unsigned_abs() <= QUANTA_MAX.unsigned_abs())
            .ok_or_else(|| self.overflow())
    }

    /// What equity in this asset counts: its slices less their haircuts, or the whole of a debt with its weight;
    /// rounded down.
    ///
    /// # Errors
    /// `overflow`.
    pub fn value(&self, equity: i128) -> Result<i128> {
        let Some(worth) = self.worth else { return self.bounded(Some(equity)) };
        let (weighted, den) = if equity < 0 {
            let weight = worth.liability;
            (equity.checked_mul(i128::from(weight.num())), i128::from(weight.den()))
        } else {
            let ends = worth.slices.iter().skip(1).map(|s| s.floor).chain([i128::MAX]);
            let weighted = worth.slices.iter().zip(ends).try_fold(0_i128, |sum, (slice, end)| {
                let part = equity.min(end).saturating_sub(slice.floor).max(0);
                sum.checked_add(part.checked_mul(i128::from(slice.weight))?)
            });
            (weighted, i128::from(worth.haircut_den))
        };
        // At most 10^18 × 10^9 below the line.
        self.bounded(weighted.and_then(|w| mul_div_floor(w, self.num, self.den.checked_mul(den)?)))
    }

    /// A requirement in this asset as one in the valuation asset, rounded up.
    ///
    /// # Errors
    /// `overflow`.
    pub fn requirement(&self, amount: i128) -> Result<i128> {
        let down = amount.checked_neg().and_then(|a| mul_div_floor(a, self.num, self.den));
        self.bounded(down.and_then(i128::checked_neg))
    }
}

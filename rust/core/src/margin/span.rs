//! What the legs of one instrument can be worth, and require, anywhere between two marks.

use crate::data::{Basis, ClosingFee, Instrument, Rules};
use crate::numbers::Result;

use super::leg::Leg;
use super::requirement::leg_margin;

/// Bounds that hold at every tick between two marks, in quanta of the asset that the instrument settles in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    /// What the legs add to equity, at least and at most.
    pub(super) equity: (i128, i128),
    /// What they require, at least and at most.
    pub(super) maintenance: (i128, i128),
    /// The one less the other, at least and at most: often closer than the two bounds tell.
    pub(super) gap: (i128, i128),
}

/// Roundings of one leg whose value is whole quanta, and of one whose value is rounded: `docs/spec/watch.md`.
const ROUNDINGS: (i128, i128) = (1, 4);

/// What a leg adds to the gap is concave in what a lot is worth, but for rounding.
fn is_concave(rules: &Rules, instrument: &Instrument) -> bool {
    rules.maintenance_basis == Basis::Mark
        && rules.closing_fee != ClosingFee::Bankruptcy
        && instrument.tiers().is_joined()
}

impl Span {
    /// The bounds from `a` to `b`, either way; with `a = b` they are what there is.
    ///
    /// A leg's value is monotone in the mark, and its requirement in its value. All legs are of one instrument, so their
    /// exact values together are one multiple of what a lot is worth; each is rounded down by less than a quantum, so that
    /// their sum strays by one less than there are legs.
    ///
    /// # Errors
    /// Those of [`leg_margin`] at either end.
    pub(super) fn of(
        rules: &Rules,
        instrument: &Instrument,
        legs: &[Leg],
        (a, b): (i64, i64),
    ) -> Result<Self> {
        let mut span = Self::default();
        let (mut ends, mut required) = ((0_i128, 0_i128), (0_i128, 0_i128));
        let mut owed = 0_i128;
        for leg in legs {
            let x = leg_margin(rules, instrument, leg, a)?;
            let y = if a == b { x } else { leg_margin(rules, instrument, leg, b)? };
            let Span { maintenance: (least, most), .. } = &mut span;
            owed = owed.saturating_add(leg.accrued);
            ends = (ends.0.saturating_add(x.pnl), ends.1.saturating_add(y.pnl));
            required = (
                required.0.saturating_add(x.maintenance),
                required.1.saturating_add(y.maintenance),
            );
            let parts = (x.maintenance - x.fee, y.maintenance - y.fee);
            *least = least.saturating_add(parts.0.min(parts.1)).saturating_add(x.fee.min(y.fee));
            *most = most.saturating_add(parts.0.max(parts.1)).saturating_add(x.fee.max(y.fee));
        }
        let count = i128::try_from(legs.len()).unwrap_or(i128::MAX);
        let whole = instrument.contract().is_whole();
        let rounded = if whole || a == b { 0 } else { count.saturating_sub(1) };
        let (low, high) = (ends.0.min(ends.1), ends.0.max(ends.1));
        span.equity.0 = low.saturating_sub(owed).saturating_sub(rounded);
        span.equity.1 = high.saturating_sub(owed).saturating_add(rounded);
        let Span { equity, maintenance, .. } = span;
        span.gap = (equity.0.saturating_sub(maintenance.1), equity.1.saturating_sub(maintenance.0));
        if a != b && is_concave(rules, instrument) {
            // Of a concave curve the least is at an end; a single leg's does not turn, so that the most is too.
            let gap = |end: i128, required| end.saturating_sub(owed).saturating_sub(required);
            let (x, y) = (gap(ends.0, required.0), gap(ends.1, required.1));
            let each = if whole { ROUNDINGS.0 } else { ROUNDINGS.1 };
            let strays = count.saturating_mul(each).saturating_sub(1);
            span.gap.0 = span.gap.0.max(x.min(y).saturating_sub(strays));
            if count == 1 {
                span.gap.1 = span.gap.1.min(x.max(y).saturating_add(strays));
            }
        }
        Ok(span)
    }

    /// Bounds that hold where either of two do.
    pub(super) fn or(self, other: Self) -> Self {
        let both =
            |a: (i128, i128), b: (i128, i128)| -> (i128, i128) { (a.0.min(b.0), a.1.max(b.1)) };
        Self {
            equity: both(self.equity, other.equity),
            maintenance: both(self.maintenance, other.maintenance),
            gap: both(self.gap, other.gap),
        }
    }
}

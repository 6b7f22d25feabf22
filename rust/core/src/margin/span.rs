//! What the legs of one instrument can be worth, and require, anywhere between two marks.

use crate::data::{Instrument, Rules};
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
        let mut ends = (0_i128, 0_i128);
        for leg in legs {
            let x = leg_margin(rules, instrument, leg, a)?;
            let y = if a == b { x } else { leg_margin(rules, instrument, leg, b)? };
            let Span { equity, maintenance: (least, most) } = &mut span;
            *equity = (equity.0.saturating_sub(leg.accrued), equity.1.saturating_sub(leg.accrued));
            ends = (ends.0.saturating_add(x.pnl), ends.1.saturating_add(y.pnl));
            let parts = (x.maintenance - x.fee, y.maintenance - y.fee);
            *least = least.saturating_add(parts.0.min(parts.1)).saturating_add(x.fee.min(y.fee));
            *most = most.saturating_add(parts.0.max(parts.1)).saturating_add(x.fee.max(y.fee));
        }
        let legs = i128::try_from(legs.len()).unwrap_or(i128::MAX);
        let exact = instrument.contract().is_whole() || a == b;
        let rounded = if exact { 0 } else { legs.saturating_sub(1) };
        let (low, high) = (ends.0.min(ends.1), ends.0.max(ends.1));
        span.equity.0 = span.equity.0.saturating_add(low).saturating_sub(rounded);
        span.equity.1 = span.equity.1.saturating_add(high).saturating_add(rounded);
        Ok(span)
    }

    /// Equity less what is required, at the least.
    pub(super) fn lowest_gap(&self) -> i128 {
        self.equity.0.saturating_sub(self.maintenance.1)
    }

    /// The same at the most.
    pub(super) fn highest_gap(&self) -> i128 {
        self.equity.1.saturating_sub(self.maintenance.0)
    }
}

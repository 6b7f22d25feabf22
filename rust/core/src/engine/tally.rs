//! What liquidations came to: sums over outcomes, for comparisons.

use super::outcome::Outcome;
use super::state::{State, sum};
use crate::data::AssetId;
use crate::numbers::Result;

/// Sums over outcomes, in one asset; amounts in quanta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    asset: AssetId,
    /// Liquidations that began.
    pub started: u64,
    /// Those that ended.
    pub finished: u64,
    /// Forced orders that left.
    pub orders: u64,
    /// What legs that were being liquidated have traded, at the mark.
    pub closed: i128,
    /// What pools had left when their liquidation ended.
    pub left: i128,
    /// Liquidation fees.
    pub fees: i128,
    /// What the insurance fund paid.
    pub insurance: i128,
    /// How often somebody was deleveraged.
    pub deleveraged: u64,
    /// Pools that the backstop took over.
    pub taken_over: u64,
    /// Losses that others bore.
    pub socialised: i128,
}

impl Tally {
    /// Of nothing yet.
    #[must_use]
    pub fn new(asset: AssetId) -> Self {
        Self {
            asset,
            started: 0,
            finished: 0,
            orders: 0,
            closed: 0,
            left: 0,
            fees: 0,
            insurance: 0,
            deleveraged: 0,
            taken_over: 0,
            socialised: 0,
        }
    }

    /// Adds what followed from an event.
    ///
    /// # Errors
    /// `overflow`.
    pub fn add(&mut self, state: &State, outcomes: &[Outcome]) -> Result<()> {
        for outcome in outcomes {
            match *outcome {
                Outcome::LiquidationStarted { .. } => self.started += 1,
                Outcome::LiquidationFinished { equity, .. } => {
                    self.finished += 1;
                    self.left = sum(self.left, equity, "left")?;
                }
                Outcome::Forced(_) => self.orders += 1,
                Outcome::Deleveraged { .. } => self.deleveraged += 1,
                Outcome::BackstopTookOver { .. } => self.taken_over += 1,
                Outcome::LiquidationFee { asset, amount, .. } if asset == self.asset => {
                    self.fees = sum(self.fees, amount, "fees")?;
                }
                Outcome::InsurancePaid { asset, amount, .. } if asset == self.asset => {
                    self.insurance = sum(self.insurance, amount, "insurance")?;
                }
                Outcome::Socialised { asset, amount, .. } if asset == self.asset => {
                    self.socialised = sum(self.socialised, amount, "socialised")?;
                }
                Outcome::ForcedFilled { instrument, lots, .. } => {
                    let of = state.venue().instrument(instrument)?;
                    let mark = state.prices().mark(instrument);
                    let worth = mark
                        .and_then(|mark| of.contract().worth(i128::from(lots.get()), mark.get()));
                    if let (Some(worth), true) = (worth, of.settlement() == self.asset) {
                        self.closed = sum(self.closed, worth, "closed")?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

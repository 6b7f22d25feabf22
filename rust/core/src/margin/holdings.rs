//! What may be asked of pools, however they are held.

use std::sync::Arc;

use crate::data::{AssetId, InstrumentId, Venue};
use crate::numbers::{Error, Result};
use crate::pricing::Prices;

use super::assess::{
    AssetMargin, PoolMargin, assess_here, assess_with, check_venue, each_asset, mark_of, valued,
};
use super::explain::Explanation;
use super::funding::{Funding, Payment};
use super::leg::{Leg, LegSide, PoolKind};
use super::portfolio::{Balance, PoolId};
use super::price::{self, BankruptcyPrice, LiquidationPrice};
use super::requirement::{LegMargin, leg_margin};
use super::withdrawal::{self, Withdrawal};

/// What a pool is, beside what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What its collateral stands for.
    pub kind: PoolKind,
    /// It holds several assets, and is checked in the valuation asset.
    pub multi: bool,
    /// What it is checked in.
    pub asset: AssetId,
}

/// Pools of one venue. What a pool is worth and requires, and at which prices that changes, is the same for all who hold
/// them: [`super::Portfolio`], packed for scans, and [`super::Ledger`], for changes.
#[allow(clippy::len_without_is_empty)] // it is there, with a body
pub trait Holdings {
    /// The venue they belong to.
    fn venue(&self) -> &Arc<Venue>;

    /// How many pools there are.
    fn len(&self) -> usize;

    /// How many legs they hold.
    fn leg_count(&self) -> usize;

    /// Account and pool name.
    ///
    /// # Errors
    /// `invariant_broken` for a place of other holdings.
    fn key(&self, pool: PoolId) -> Result<(&str, &str)>;

    /// What a pool is.
    ///
    /// # Errors
    /// `invariant_broken` for a place of other holdings.
    fn head(&self, pool: PoolId) -> Result<Head>;

    /// Calls `row` for each asset of a pool, in order of the assets' names, with the legs that settle in it, sorted by
    /// instrument and side.
    ///
    /// # Errors
    /// Those of `row`; `invariant_broken` for a place of other holdings.
    fn each_row(&self, pool: PoolId, row: impl FnMut(&Balance, &[Leg]) -> Result<()>)
    -> Result<()>;

    /// The verdict on each pool: a scan.
    ///
    /// # Errors
    /// `missing_price`, `overflow`, `limit_exceeded`.
    fn verdicts(&self, prices: &Prices) -> Result<Vec<bool>>;

    /// Equity and maintenance of each pool, for an order in which to look at them.
    ///
    /// # Errors
    /// As [`Holdings::verdicts`].
    fn gaps(&self, prices: &Prices) -> Result<Vec<(i128, i128)>>;

    /// Takes payments, ascending by pool, out of the balances in an asset.
    ///
    /// # Errors
    /// `overflow`. Nothing is changed then.
    fn pay(&mut self, asset: AssetId, payments: &[Payment]) -> Result<()>;

    /// What a funding settlement of an instrument takes from each pool that holds it, by pool; both legs of a hedge pay. The
    /// sum is what roundings leave to the venue, where open interest is level.
    ///
    /// # Errors
    /// `overflow`.
    fn payments(&self, instrument: InstrumentId, funding: Funding) -> Result<Vec<Payment>>
    where
        Self: Sized,
    {
        super::funding::payments(self, instrument, funding)
    }

    /// Moves a funding settlement of an instrument out of the balances of its holders; who paid what, by pool.
    ///
    /// # Errors
    /// `overflow`. Nothing is changed then.
    fn settle_funding(&mut self, instrument: InstrumentId, funding: Funding) -> Result<Vec<Payment>>
    where
        Self: Sized,
    {
        let payments = self.payments(instrument, funding)?;
        let asset = self.venue().instrument(instrument)?.settlement();
        self.pay(asset, &payments)?;
        Ok(payments)
    }

    /// Whether there is no pool.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `account/pool`, for messages.
    fn label(&self, pool: PoolId) -> String {
        let (account, name) = self.key(pool).unwrap_or(("?", "?"));
        format!("{account}/{name}")
    }

    /// The legs of a pool, sorted by instrument and side.
    ///
    /// # Errors
    /// `invariant_broken` for a place of other holdings.
    fn legs(&self, pool: PoolId) -> Result<Vec<Leg>> {
        let mut all = Vec::new();
        self.each_row(pool, |_, legs| {
            all.extend_from_slice(legs);
            Ok(())
        })?;
        all.sort_unstable_by_key(|leg| (leg.instrument, leg.side));
        Ok(all)
    }

    /// The balances of a pool, in order of the assets' names.
    ///
    /// # Errors
    /// `invariant_broken` for a place of other holdings.
    fn balances(&self, pool: PoolId) -> Result<Vec<Balance>> {
        let mut all = Vec::new();
        self.each_row(pool, |balance, _| {
            all.push(*balance);
            Ok(())
        })?;
        Ok(all)
    }

    /// One leg at the prices.
    ///
    /// # Errors
    /// `missing_price`, `overflow`, `limit_exceeded`.
    fn leg_margin(&self, pool: PoolId, leg: &Leg, prices: &Prices) -> Result<LegMargin>
    where
        Self: Sized,
    {
        let mark = mark_of(self, pool, leg.instrument, prices)?;
        leg_margin(self.venue().rules(), self.venue().instrument(leg.instrument)?, leg, mark)
    }

    /// Each asset of a pool at the prices, in order of the assets' names.
    ///
    /// # Errors
    /// `missing_price`, `overflow`, `limit_exceeded`.
    fn assets(&self, pool: PoolId, prices: &Prices) -> Result<Vec<AssetMargin>>
    where
        Self: Sized,
    {
        let mut assets = Vec::new();
        each_asset(self, pool, prices, |asset| {
            assets.push(asset);
            Ok(())
        })?;
        Ok(assets)
    }

    /// One pool at the prices, by the general path.
    ///
    /// # Errors
    /// `missing_price`, `overflow`, `limit_exceeded`; `unknown_venue` for prices of another card.
    fn assess(&self, pool: PoolId, prices: &Prices) -> Result<PoolMargin>
    where
        Self: Sized,
    {
        check_venue(self, prices)?;
        assess_here(self, pool, prices)
    }

    /// One pool at the prices as it would be with one leg another, and more in the asset which that settles in.
    ///
    /// # Errors
    /// As [`Holdings::assess`].
    fn assess_with(
        &self,
        pool: PoolId,
        prices: &Prices,
        leg: &Leg,
        more: i128,
    ) -> Result<PoolMargin>
    where
        Self: Sized,
    {
        check_venue(self, prices)?;
        assess_with(self, pool, prices, leg, more)
    }

    /// An amount of an asset as a requirement in the asset that a pool is checked in: rounded up.
    ///
    /// # Errors
    /// `missing_price`, `overflow`.
    fn required(&self, pool: PoolId, asset: AssetId, amount: i128, prices: &Prices) -> Result<i128>
    where
        Self: Sized,
    {
        valued(self, pool, asset, prices)?.0.requirement(amount)
    }

    /// Explains a pool at the prices. Its sums are those of [`Holdings::assess`], bit for bit.
    ///
    /// # Errors
    /// As there.
    fn explain(&self, pool: PoolId, prices: &Prices) -> Result<Explanation>
    where
        Self: Sized,
    {
        super::explain::explain(self, pool, prices)
    }

    /// The nearest marks of one instrument, below and above, at which the verdict on the pool changes, all
    /// other marks held.
    ///
    /// # Errors
    /// `unknown_leg` when the pool has no position in it; `missing_price`; `overflow`; `limit_exceeded` for a
    /// hedged pair whose rounding would take too many evaluations.
    fn liquidation_price(
        &self,
        pool: PoolId,
        instrument: InstrumentId,
        prices: &Prices,
    ) -> Result<LiquidationPrice>
    where
        Self: Sized,
    {
        price::liquidation_price(self, pool, instrument, prices)
    }

    /// The price at which closing one leg in full, fee included where the card says so, loses at most the equity
    /// allotted to it by its share of the pool's maintenance.
    ///
    /// # Errors
    /// `unknown_leg` when the pool has no such position; `missing_price`; `overflow`.
    fn bankruptcy_price(
        &self,
        pool: PoolId,
        instrument: InstrumentId,
        side: LegSide,
        prices: &Prices,
    ) -> Result<BankruptcyPrice>
    where
        Self: Sized,
    {
        self.closing_price(pool, (instrument, side), prices, 0)
    }

    /// The same where somebody else bears so much of the loss.
    ///
    /// # Errors
    /// As there.
    fn closing_price(
        &self,
        pool: PoolId,
        leg: (InstrumentId, LegSide),
        prices: &Prices,
        borne: i128,
    ) -> Result<BankruptcyPrice>
    where
        Self: Sized,
    {
        price::closing_price(self, pool, leg, prices, borne)
    }

    /// The most of an asset that may leave a pool so that what is left still covers the initial requirement, with
    /// unrealised profit counted as far as the card says, and `exits` (amounts not below 0, by asset) taken off.
    ///
    /// # Errors
    /// `missing_price`, `overflow`, `limit_exceeded`.
    fn withdrawable(
        &self,
        pool: PoolId,
        asset: AssetId,
        prices: &Prices,
        exits: &[(AssetId, i128)],
    ) -> Result<Withdrawal>
    where
        Self: Sized,
    {
        withdrawal::withdrawable(self, pool, asset, prices, exits)
    }
}

pub(super) fn no_such_pool() -> Error {
    Error::invariant("pool place")
}

//! What a pool holds changes, or the card does.

use std::sync::Arc;

use crate::data::{AssetId, CheckOn, InstrumentId, Venue};
use crate::numbers::{Lots, Rate, Result};
use crate::pricing::Prices;

use super::super::assess::assess_here;
use super::super::funding::{Funding, Payment};
use super::super::holdings::Holdings;
use super::super::leg::{Leg, LegSide};
use super::super::portfolio::{Balance, PoolId, Portfolio};
use super::super::update::Position;
use super::records::{Kind, SHARED};
use super::slots::ANY;
use super::{Changes, Watch, broken, index};

impl Watch {
    /// [`Portfolio::set_position`].
    ///
    /// # Errors
    /// As there, and `missing_price` for an instrument without a mark; the position is as it was then.
    pub fn set_position(
        &mut self,
        pool: PoolId,
        instrument: InstrumentId,
        side: LegSide,
        position: Position,
    ) -> Result<Changes> {
        self.settle()?;
        let legs = self.portfolio.legs(pool)?;
        let before = legs.iter().find(|l| (l.instrument, l.side) == (instrument, side)).copied();
        self.portfolio.set_position(pool, instrument, side, position)?;
        self.changed(pool).or_else(|error| {
            let old = before.unwrap_or_else(|| Leg::empty(instrument, side));
            let position = Position::of(&old)?;
            self.portfolio.set_position(pool, instrument, side, position)?;
            self.undone(pool)?;
            Err(error)
        })
    }

    /// [`Portfolio::set_balance`].
    ///
    /// # Errors
    /// As there, and `missing_price` for an asset without a price; the balance is as it was then.
    pub fn set_balance(&mut self, pool: PoolId, balance: Balance) -> Result<Changes> {
        self.settle()?;
        let balances = self.portfolio.balances(pool)?;
        let known = balances.into_iter().find(|b| b.asset == balance.asset);
        let before = known.unwrap_or(Balance { amount: 0, interest: 0, ..balance });
        self.portfolio.set_balance(pool, balance)?;
        self.changed(pool).or_else(|error| {
            self.portfolio.set_balance(pool, before)?;
            self.undone(pool)?;
            Err(error)
        })
    }

    /// [`Portfolio::set_orders`].
    ///
    /// # Errors
    /// As there, and `missing_price`; the orders are as they were then.
    pub fn set_orders(
        &mut self,
        pool: PoolId,
        instrument: InstrumentId,
        side: LegSide,
        orders: [Lots; 2],
    ) -> Result<Changes> {
        self.settle()?;
        let legs = self.portfolio.legs(pool)?;
        let before = legs.iter().find(|l| (l.instrument, l.side) == (instrument, side));
        let before = before.map_or([0, 0], |leg| [leg.bids, leg.asks]);
        self.portfolio.set_orders(pool, instrument, side, orders)?;
        self.changed(pool).or_else(|error| {
            let before = before.map(Lots::trusted);
            self.portfolio.set_orders(pool, instrument, side, before)?;
            self.undone(pool)?;
            Err(error)
        })
    }

    /// [`Portfolio::set_leverage`].
    ///
    /// # Errors
    /// As there; the leverage is as it was then.
    pub fn set_leverage(
        &mut self,
        pool: PoolId,
        instrument: Option<InstrumentId>,
        leverage: Option<Rate>,
    ) -> Result<Changes> {
        self.settle()?;
        let before = self.portfolio.leverage(pool, instrument)?;
        self.portfolio.set_leverage(pool, instrument, leverage)?;
        self.changed(pool).or_else(|error| {
            self.portfolio.set_leverage(pool, instrument, before)?;
            self.undone(pool)?;
            Err(error)
        })
    }

    /// Another card comes into force: other brackets, haircuts, fees or rules for the same instruments and assets. All pools
    /// are packed and certified anew.
    ///
    /// # Errors
    /// Those of [`Portfolio::with_card`] and [`Watch::new`]; the card in force is as it was then.
    pub fn set_card(&mut self, venue: &Arc<Venue>) -> Result<Changes> {
        let portfolio: Portfolio = self.portfolio.with_card(Arc::clone(venue))?;
        self.replace(portfolio, venue)
    }
}

impl<H: Holdings> Watch<H> {
    /// Watches other holdings of the same pools, under another card.
    pub(super) fn replace(&mut self, portfolio: H, venue: &Arc<Venue>) -> Result<Changes> {
        let mut prices = Prices::new(Arc::clone(venue));
        // Instruments may be listed behind those that are; the places of assets follow them.
        let listed = self.portfolio.venue().instruments().len();
        let more = venue.instruments().len().checked_sub(listed).ok_or_else(broken)?;
        for place in 0..self.prices.places() {
            let to = if place < listed { place } else { place + more };
            prices.put(to, self.prices.ticks(place))?;
        }
        let new = Self::new(portfolio, prices)?;
        let mut changes = Changes::default();
        let old = std::mem::replace(self, new);
        self.clock = old.clock;
        for pool in old.handed_over {
            if let Some(verdict) = self.verdicts.get_mut(pool) {
                *verdict = old.verdicts.get(pool).copied().unwrap_or(false);
            }
            self.hand_over(PoolId(pool))?;
        }
        for (pool, (old, new)) in old.verdicts.iter().zip(&self.verdicts).enumerate() {
            if old != new {
                changes.push(PoolId(pool), *new);
            }
        }
        Ok(changes)
    }

    /// A funding settlement of an instrument: [`Holdings::settle_funding`], and whose verdict it changes; where the card does not
    /// check on each price, at the next check. Only pools that pay more than their certificate keeps are looked at.
    ///
    /// # Errors
    /// As there. Nothing is changed then.
    pub fn settle_funding(
        &mut self,
        instrument: InstrumentId,
        funding: Funding,
    ) -> Result<Changes> {
        self.settle()?;
        let settlement = self.portfolio.venue().instrument(instrument)?.settlement();
        let payments = self.portfolio.payments(instrument, funding)?;
        self.charge(settlement, &payments)
    }

    /// Takes payments, ascending by pool, out of the balances in an asset, and whose verdict that changes; where the card
    /// does not check on each price, at the next check.
    ///
    /// # Errors
    /// `overflow`, `limit_exceeded`; `missing_price` for an asset without a price. Nothing is changed then.
    pub fn charge(&mut self, asset: AssetId, payments: &[Payment]) -> Result<Changes> {
        self.settle()?;
        self.portfolio.pay(asset, payments)?;
        let was_pending = self.pending.len();
        for payment in payments {
            self.pay(payment, asset)?;
        }
        let fits = self.fits(payments, was_pending);
        fits.and_then(|()| self.check_if_due()).or_else(|error| {
            let back = |payment: &Payment| Payment { quanta: -payment.quanta, ..*payment };
            let back: Vec<_> = payments.iter().map(back).collect();
            self.portfolio.pay(asset, &back)?;
            if self.portfolio.venue().rules().check_on == CheckOn::Mark {
                self.pending.truncate(was_pending);
                payments.iter().try_for_each(|payment| self.undone(payment.pool))?;
            } else {
                // Prices may have moved since the last check: whom it concerns is told with the next.
                back.iter().try_for_each(|payment| self.pay(payment, asset))?;
            }
            Err(error)
        })
    }

    /// Refuses payments after which a pool that is not looked at now could not be later: in an asset without a price, or out of
    /// all bounds.
    fn fits(&self, payments: &[Payment], was_pending: usize) -> Result<()> {
        let can = |pool| assess_here(&self.portfolio, pool, &self.prices).map(drop);
        if !self.handed_over.is_empty() {
            let theirs =
                payments.iter().filter(|payment| self.handed_over.contains(&payment.pool.0));
            theirs.map(|payment| payment.pool).try_for_each(can)?;
        }
        if self.portfolio.venue().rules().check_on == CheckOn::Mark {
            return Ok(());
        }
        self.pending.iter().skip(was_pending).try_for_each(|pool| can(PoolId(index(*pool))))
    }

    /// A payment leaves a pool's record.
    fn pay(&mut self, payment: &Payment, settlement: AssetId) -> Result<()> {
        let Payment { pool, quanta } = *payment;
        if self.handed_over.contains(&pool.0) {
            return Ok(());
        }
        let start = self.records.start(pool.0).ok_or_else(broken)?;
        let (head, _) = self.records.get(start).ok_or_else(broken)?;
        let liquidatable = *self.verdicts.get(pool.0).ok_or_else(broken)?;
        let asset = self.portfolio.head(pool)?.asset;
        let paid = i64::try_from(quanta).ok().filter(|_| asset == settlement);
        let cash = paid.and_then(|paid| head.cash.checked_sub(paid));
        if let (Kind::Plain, Some(paid), Some(cash)) = (head.kind, paid, cash) {
            // What leaves a safe pool, or comes to one that fires, takes it towards the other verdict.
            let toward = if liquidatable { paid.saturating_neg() } else { paid };
            let slack = head.slack.saturating_sub(toward);
            self.records.set_cash(start, cash, slack);
            if slack < 0 {
                self.pending.push(head.pool);
            }
            return Ok(());
        }
        let number = head.pool;
        self.enrol(pool.0)?;
        self.pending.push(number);
        Ok(())
    }

    /// A pool whose holdings have changed. It is the venue's no longer.
    fn changed(&mut self, pool: PoolId) -> Result<Changes> {
        let start = self.enrol(pool.0)?;
        let found = self.look_at(&[start]).map_err(|(error, _)| error)?;
        self.handed_over.remove(&pool.0);
        Ok(found)
    }

    /// A pool whose holdings are what they were again, as what changed them was refused.
    fn undone(&mut self, pool: PoolId) -> Result<()> {
        let start = self.enrol(pool.0)?;
        if self.handed_over.contains(&pool.0) {
            return self.hand_over(pool);
        }
        let verdict = *self.verdicts.get(pool.0).ok_or_else(broken)?;
        self.looked_before(start, verdict)
    }

    /// Certifies a pool at the prices in force and keeps the verdict on it; where these turn it, the next check looks again.
    pub(super) fn looked_before(&mut self, start: u32, verdict: bool) -> Result<()> {
        let (pool, found) = self.look(start)?;
        *self.verdicts.get_mut(pool).ok_or_else(broken)? = verdict;
        if found != verdict && !self.handed_over.contains(&pool) {
            self.pending.push(u32::try_from(pool).map_err(|_| broken())?);
        }
        Ok(())
    }

    /// Looks at a pool again, also at one that was handed over, and gives it a certificate around the prices in force.
    ///
    /// # Errors
    /// As [`Watch::tick`].
    pub fn recertify(&mut self, pool: PoolId) -> Result<Changes> {
        self.settle()?;
        let start = self.records.start(pool.0).ok_or_else(broken)?;
        let start = if self.handed_over.remove(&pool.0) { self.enrol(pool.0)? } else { start };
        self.look_at(&[start]).map_err(|(error, _)| error)
    }

    /// Stops looking at a pool that the venue liquidates: its verdict stays what it is, and nothing is told of it, until
    /// a change of what it holds is.
    ///
    /// # Errors
    /// `invariant_broken` for a place of another portfolio.
    pub fn hand_over(&mut self, pool: PoolId) -> Result<()> {
        let start = self.records.start(pool.0).ok_or_else(broken)?;
        self.handed_over.insert(pool.0);
        self.pending.retain(|other| index(*other) != pool.0);
        self.behind.pools.retain(|other| index(*other) != pool.0);
        let (_, entries) = self.records.get(start).ok_or_else(broken)?;
        for entry in entries.iter().filter(|e| e.slot != SHARED) {
            self.slots.get_mut(index(entry.price)).ok_or_else(broken)?.set(entry.slot, ANY);
        }
        Ok(())
    }
}

//! A watch over pools that are opened, and changed, one by one.

use std::sync::Arc;

use crate::data::{AssetId, Basis, Contract, Venue};
use crate::numbers::Result;
use crate::pricing::Prices;

use super::super::assess::{PoolMargin, is_liquidatable, status};
use super::super::builder::PoolKey;
use super::super::holdings::Holdings;
use super::super::ledger::Ledger;
use super::super::leg::{Leg, PoolKind};
use super::super::portfolio::PoolId;
use super::plain::Law;
use super::{Changes, Watch, broken, index};

/// What of a watch does not follow from the pools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Prices in ticks: of each instrument, then of each asset.
    pub(crate) now: Vec<Option<i64>>,
    /// The same at the last check.
    pub(crate) at_check: Vec<Option<i64>>,
    /// The verdicts of that check.
    pub(crate) verdicts: Vec<bool>,
    /// The time that was last told.
    pub(crate) time: Option<i64>,
}

impl Watch<Ledger> {
    /// [`Ledger::open`].
    ///
    /// # Errors
    /// As there.
    pub fn open(
        &mut self,
        key: PoolKey<'_>,
        kind: PoolKind,
        multi: bool,
        asset: Option<AssetId>,
    ) -> Result<PoolId> {
        let pool = self.portfolio.open(key, kind, multi, asset)?;
        self.verdicts.push(false);
        self.records.grow();
        let start = self.enrol(pool.0)?;
        self.look(start)?;
        Ok(pool)
    }

    /// What is watched, to be changed: each pool that was is told with [`Watch::refresh`] before a price is set.
    ///
    /// # Errors
    /// `invariant_broken` only.
    pub(crate) fn changing(&mut self) -> Result<&mut Ledger> {
        // What a scan has left is of the holdings as they were.
        self.settle()?;
        Ok(&mut self.portfolio)
    }

    /// What is watched, to note changes of.
    pub(crate) fn notes(&mut self) -> &mut Ledger {
        &mut self.portfolio
    }

    /// Looks at a pool whose holdings have changed: its verdict, if that is another now.
    pub(crate) fn refresh(&mut self, pool: PoolId) -> Result<Option<bool>> {
        let start = self.enrol(pool.0)?;
        let (_, verdict) = self.look(start)?;
        let old = self.verdicts.get_mut(pool.0).ok_or_else(broken)?;
        let changed = (*old != verdict).then_some(verdict);
        *old = verdict;
        Ok(changed)
    }

    /// Looks at a pool whose holdings are what they were again, as what changed them was refused, and keeps the verdict of then:
    /// where prices that have moved since the last check turn it, that is for the next check to tell.
    pub(crate) fn restored(&mut self, pool: PoolId, verdict: bool) -> Result<()> {
        let start = self.enrol(pool.0)?;
        self.looked_before(start, verdict)
    }

    /// [`Holdings::assess_with`] in 64 bits, for pools of one asset with linear contracts; none for any other.
    #[inline]
    pub(crate) fn quick_with(&self, id: PoolId, prices: &Prices, leg: &Leg) -> Option<PoolMargin> {
        let rules = self.portfolio.venue().rules();
        let (mut value, mut initial, mut maintenance, mut notional) = (0_i64, 0_i64, 0_i64, 0_i64);
        let cash = self.each_quick(id, prices, leg, |law, own, each| {
            let quick = law.quick(own, each)?;
            value = value.checked_add(quick.value)?;
            notional = notional.checked_add(quick.value.checked_abs()?)?;
            initial = initial.checked_add(quick.initial)?;
            maintenance = maintenance.checked_add(quick.maintenance)?;
            Some(())
        })?;
        let equity = i128::from(cash.checked_add(value)?);
        let (initial, maintenance) = (i128::from(initial), i128::from(maintenance));
        Some(PoolMargin {
            equity,
            initial,
            maintenance,
            notional: i128::from(notional),
            status: status(equity, initial, maintenance, rules.strict),
            liquidatable: is_liquidatable(equity, maintenance, rules.strict),
        })
    }

    /// Equity and initial requirement of [`Watch::quick_with`].
    #[inline]
    pub(crate) fn quick_initial(
        &self,
        id: PoolId,
        prices: &Prices,
        leg: &Leg,
    ) -> Option<(i64, i64)> {
        let (mut value, mut initial) = (0_i64, 0_i64);
        let cash = self.each_quick(id, prices, leg, |law, own, each| {
            let (own, required) = law.quick_initial(own, each)?;
            value = value.checked_add(own)?;
            initial = initial.checked_add(required)?;
            Some(())
        })?;
        Some((cash.checked_add(value)?, initial))
    }

    /// The law of each leg of a pool with what one lot is worth, this one in place of its own; what no price moves. None for pools
    /// that the general path has to value.
    #[inline]
    fn each_quick(
        &self,
        id: PoolId,
        prices: &Prices,
        leg: &Leg,
        mut of: impl FnMut(&Law, &Leg, i64) -> Option<()>,
    ) -> Option<i64> {
        let (pool, venue) = (self.portfolio.pool(id).ok()?, self.portfolio.venue());
        if pool.head().multi || venue.rules().initial_basis != Basis::Mark {
            return None;
        }
        let [balance] = pool.balances() else { return None };
        // Far from the bounds of floor 0, whose overflows the general path finds.
        let mut cash = i64::try_from(balance.amount.checked_sub(balance.interest)?).ok()?;
        let mut one = |own: &Leg| {
            let place = own.instrument.index();
            let Contract::Linear { unit } = venue.instruments().get(place)?.contract() else {
                return None;
            };
            cash = cash.checked_sub(i64::try_from(own.cost.checked_add(own.accrued)?).ok()?)?;
            of(self.laws.get(place)?, own, unit.checked_mul(prices.ticks(place)?)?)
        };
        for own in pool.legs() {
            if (own.instrument, own.side) != (leg.instrument, leg.side) {
                one(own)?;
            }
        }
        one(leg)?;
        Some(cash)
    }

    /// Reads ahead a pool.
    pub(crate) fn read_ahead_pool(&self, pool: PoolId) {
        self.portfolio.read_ahead_pool(pool);
        if let Some(start) = self.records.start(pool.0) {
            self.records.read_ahead(start);
        }
    }

    /// Reads ahead what a pool holds; the pool itself is here already.
    pub(crate) fn read_ahead_holdings(&self, pool: PoolId) {
        self.portfolio.read_ahead_holdings(pool);
    }

    /// What of it does not follow from the pools: prices now and at the last check, the verdicts of that, and the time.
    pub(crate) fn parts(&self) -> Parts {
        let mut at_check: Vec<Option<i64>> =
            (0..self.prices.places()).map(|place| self.prices.ticks(place)).collect();
        let now = at_check.clone();
        for (place, before) in &self.moved {
            if let Some(ticks) = at_check.get_mut(*place) {
                *ticks = *before;
            }
        }
        Parts { now, at_check, verdicts: self.verdicts.clone(), time: self.clock.now }
    }

    /// A watch from its parts.
    ///
    /// # Errors
    /// `invariant_broken` for parts of other pools; those of [`Watch::new`].
    pub(crate) fn from_parts(ledger: Ledger, parts: &Parts) -> Result<Self> {
        let mut prices = Prices::new(Arc::clone(ledger.venue()));
        if [parts.now.len(), parts.at_check.len()] != [prices.places(); 2]
            || parts.verdicts.len() != ledger.len()
        {
            return Err(broken());
        }
        for (place, ticks) in parts.at_check.iter().enumerate() {
            prices.put(place, *ticks)?;
        }
        let mut watch = Self::new(ledger, prices)?;
        for (place, ticks) in parts.now.iter().enumerate() {
            if let Some(ticks) = ticks {
                watch.set(place, *ticks)?;
            }
        }
        // Who was changed since the last check is looked at by the next.
        for (pool, verdict) in (0..).zip(&parts.verdicts) {
            let own = watch.verdicts.get_mut(index(pool)).ok_or_else(broken)?;
            if std::mem::replace(own, *verdict) != *verdict {
                watch.pending.push(pool);
            }
        }
        watch.clock.now = parts.time;
        Ok(watch)
    }

    /// Another card comes into force, which may list instruments behind those that are.
    ///
    /// # Errors
    /// `bad_card` for a card of other instruments or assets; those of [`Watch::new`]. The card in force is as it was then.
    pub fn set_venue(&mut self, venue: &Arc<Venue>) -> Result<Changes> {
        let ledger = self.portfolio.under(Arc::clone(venue))?;
        self.replace(ledger, venue)
    }
}

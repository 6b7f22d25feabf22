//! Events of accounts: pools, money, leverage, modes, links, throttles, lost sessions.

use super::event::What;
use super::outcome::{Cancelled, Outcome};
use super::state::{Account, Standing, State, lost, positive, sum};
use crate::data::{AssetId, InstrumentId};
use crate::margin::{Holdings, Leg, LegSide, Payment, PoolId, PoolKey, Withdrawal};
use crate::numbers::{Error, ErrorKind, Rate, Result};
use crate::pricing::Prices;

impl State {
    pub(super) fn account_event(&mut self, what: &What, out: &mut Vec<Outcome>) -> Result<()> {
        match what {
            What::PoolOpen { account, pool, kind, multi, asset } => {
                let key = PoolKey { account, pool };
                if let Some(asset) = asset {
                    self.asset_known(*asset)?;
                }
                let id = self.watch.open(key, *kind, *multi, *asset)?;
                self.standings.push(Standing::default());
                let account = self.ledger().account(id)?;
                if self.accounts.len() <= account {
                    self.accounts.resize(account + 1, Account::default());
                }
                let own = self.policy.backstop.as_ref();
                if own.is_some_and(|own| *own.account == *key.account && *own.pool == *key.pool) {
                    self.backstop = Some(id);
                }
                out.push(Outcome::PoolOpened { pool: id });
                Ok(())
            }
            What::Deposit { pool, asset, amount } => {
                self.ledger().pool(*pool)?;
                self.asset_known(*asset)?;
                let amount = positive(*amount)?;
                let deposits = sum(self.funds(*asset)?.deposits, amount, "deposits")?;
                self.charge(*asset, &[Payment { pool: *pool, quanta: -amount }])?;
                self.funds_mut(*asset)?.deposits = deposits;
                Ok(())
            }
            What::Withdrawal { pool, asset, amount } => {
                let amount = positive(*amount)?;
                self.may_leave(*pool, *asset, amount)?;
                let deposits = sum(self.funds(*asset)?.deposits, -amount, "deposits")?;
                self.charge(*asset, &[Payment { pool: *pool, quanta: amount }])?;
                self.funds_mut(*asset)?.deposits = deposits;
                Ok(())
            }
            What::Transfer { from, to, asset, amount } => {
                let amount = positive(*amount)?;
                self.same_account(*from, *to)?;
                self.may_leave(*from, *asset, amount)?;
                let mut both = [
                    Payment { pool: *from, quanta: amount },
                    Payment { pool: *to, quanta: -amount },
                ];
                both.sort_unstable_by_key(|payment| payment.pool);
                self.charge(*asset, &both)
            }
            What::Leverage { pool, instrument, leverage } => {
                self.choose_leverage(*pool, *instrument, *leverage)
            }
            What::MarginMode { from, to, instrument, leg } => {
                self.move_leg(*from, *to, *instrument, *leg)
            }
            What::AccountLink { pool, cluster } => {
                self.account_mut(*pool)?.cluster = Some(*cluster);
                Ok(())
            }
            What::Throttle { pool, on } => {
                self.account_mut(*pool)?.throttled = *on;
                Ok(())
            }
            _ => Err(lost()),
        }
    }

    /// Takes payments out of balances.
    pub(super) fn charge(&mut self, asset: AssetId, payments: &[Payment]) -> Result<()> {
        let changes = self.watch.charge(asset, payments)?;
        self.turn(changes);
        Ok(())
    }

    pub(super) fn same_account(&self, from: PoolId, to: PoolId) -> Result<()> {
        let ledger = self.ledger();
        if from != to && ledger.account(from)? == ledger.account(to)? {
            self.unlocked(to)?;
            return Ok(());
        }
        let limit = format!("must be another pool of the account of {}", ledger.label(from));
        Err(Error::new(ErrorKind::UnknownAccount, "to", ledger.label(to), limit))
    }

    /// Refuses while the venue is halted.
    pub(super) fn money_may_leave(&self) -> Result<()> {
        if !self.halted {
            return Ok(());
        }
        let limit = "is halted: nothing leaves";
        Err(Error::new(ErrorKind::NotTrading, "venue", self.venue.name(), limit))
    }

    /// How much of an asset may leave a pool, at prices.
    pub(super) fn most_leaving(
        &self,
        pool: PoolId,
        asset: AssetId,
        prices: &Prices,
    ) -> Result<Withdrawal> {
        let head = self.ledger().pool(pool)?.head();
        let kept = [(head.asset, self.reserved(pool))];
        self.ledger().withdrawable(pool, asset, prices, &kept)
    }

    /// Refuses to let more leave a pool than its requirements and its open orders allow.
    fn may_leave(&self, pool: PoolId, asset: AssetId, amount: i128) -> Result<()> {
        self.unlocked(pool)?;
        self.asset_known(asset)?;
        self.money_may_leave()?;
        let most = self.most_leaving(pool, asset, self.prices())?;
        if amount <= most.amount {
            return Ok(());
        }
        let limit = format!(
            "at most {} quanta may leave ({}): equity {} less {} kept for orders must cover the initial requirement {}",
            most.amount,
            most.binding.name(),
            most.equity.saturating_add(self.reserved(pool)),
            self.reserved(pool),
            most.initial,
        );
        Err(Error::new(ErrorKind::InsufficientMargin, "amount", amount, limit))
    }

    /// Refuses a pool that does not cover its initial requirement, with what is kept for its orders.
    pub(super) fn covered(&self, pool: PoolId) -> Result<()> {
        let margin = self.ledger().assess(pool, self.prices())?;
        let free = margin.equity.saturating_sub(self.reserved(pool));
        if free >= margin.initial {
            return Ok(());
        }
        let limit = format!("must cover the initial requirement, {}", margin.initial);
        Err(Error::new(ErrorKind::InsufficientMargin, "equity", free, limit))
    }

    fn choose_leverage(
        &mut self,
        pool: PoolId,
        instrument: Option<InstrumentId>,
        leverage: Option<Rate>,
    ) -> Result<()> {
        self.unlocked(pool)?;
        if let Some(id) = instrument {
            self.market(id)?;
        }
        let inverse = |leverage: Rate| {
            if leverage < Rate::ONE {
                let limit = "must be at least 1";
                return Err(Error::new(ErrorKind::OutOfRange, "leverage", leverage, limit));
            }
            leverage.inverse("leverage")
        };
        let rate = leverage.map(inverse).transpose()?;
        let before = self.ledger().assess(pool, self.prices())?;
        self.save([pool; 2])?;
        self.watch.changing()?.set_chosen(pool, instrument, rate)?;
        let after = self.ledger().assess(pool, self.prices());
        let found = after.and_then(|after| {
            // To ask for less is always allowed.
            if after.initial <= before.initial { Ok(()) } else { self.covered(pool) }
        });
        if let Err(error) = found {
            self.put_back([pool; 2])?;
            return Err(error);
        }
        self.refresh([pool; 2])
    }

    /// Moves a leg to another pool of the account, at its cost.
    fn move_leg(
        &mut self,
        from: PoolId,
        to: PoolId,
        instrument: InstrumentId,
        side: LegSide,
    ) -> Result<()> {
        self.trading(instrument)?;
        self.same_account(from, to)?;
        let leg = self.unlocked(from)?.leg(instrument, side).copied();
        let symbol = self.venue.instrument(instrument)?.symbol();
        let refuse = |kind, limit: &str| Err(Error::new(kind, "leg", symbol, limit));
        let Some(leg) = leg else {
            return refuse(ErrorKind::UnknownLeg, "the pool it would leave has no such leg");
        };
        if leg.has_orders() {
            return refuse(ErrorKind::BadLeg, "has open orders: cancel them first");
        }
        if self.ledger().pool(to)?.leg(instrument, side).is_some() {
            return refuse(ErrorKind::BadLeg, "the pool it would move to has such a leg already");
        }
        self.save([from, to])?;
        let ledger = self.watch.changing()?;
        let moved = ledger.set_leg(to, leg).and_then(|()| ledger.set_leg(from, leg.closed()));
        let moved = moved.and_then(|()| self.covered(from)).and_then(|()| self.covered(to));
        if let Err(error) = moved {
            self.put_back([from, to])?;
            return Err(error);
        }
        self.refresh([from, to])
    }

    pub(super) fn session_lost(&mut self, pool: PoolId, out: &mut Vec<Outcome>) -> Result<()> {
        let pools = self.ledger().siblings(pool)?.to_vec();
        for pool in pools {
            self.cancel_all(pool, Cancelled::SessionLost, out)?;
        }
        Ok(())
    }

    /// Cancels all orders of a pool.
    pub(super) fn cancel_all(
        &mut self,
        pool: PoolId,
        why: Cancelled,
        out: &mut Vec<Outcome>,
    ) -> Result<()> {
        for order in self.orders.of_pool(pool) {
            self.drop_order(order.id, why, out)?;
        }
        Ok(())
    }

    /// The leg of a pool, or an empty one.
    pub(super) fn leg_of(&self, pool: PoolId, id: InstrumentId, side: LegSide) -> Result<Leg> {
        let pool = self.ledger().pool(pool)?;
        let empty = || Leg { chosen: pool.chosen(id), ..Leg::empty(id, side) };
        Ok(pool.leg(id, side).copied().unwrap_or_else(empty))
    }
}

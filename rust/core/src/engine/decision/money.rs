//! May money leave a pool?

use super::{About, Change, Decision, Rule, Turn, last};
use crate::data::{AssetId, InstrumentId};
use crate::engine::state::{State, positive};
use crate::margin::{Holdings, PoolId};
use crate::numbers::{Quanta, Result};

impl State {
    pub(super) fn decide_money(
        &self,
        pool: PoolId,
        to: Option<PoolId>,
        asset: AssetId,
        amount: i128,
    ) -> Result<Decision> {
        let mut pools = vec![self.sight(if to.is_some() { "from" } else { "pool" }, pool)?];
        let mut rules = vec![Rule::either(
            "amount",
            Quanta::new(amount, "amount").and_then(positive).map(drop),
        )];
        if let Some(to) = to {
            pools.push(self.sight("to", to)?);
            rules.push(Rule::either("same_account", self.same_account(pool, to)));
        }
        rules.push(Rule::either("unlocked", self.unlocked(pool).map(drop)));
        let taken = to.map_or(Ok(()), |to| self.takes(to, asset, amount));
        rules.push(Rule::either("asset", self.asset_known(asset).and(taken)));
        rules.push(Rule::either("venue", self.money_may_leave()));
        let open = rules.iter().all(Rule::holds);
        let most = if open { Some(self.most_leaving(pool, asset, self.prices())?) } else { None };
        let mut turns = Vec::new();
        if let Some(most) = &most {
            rules.push(Rule::amounts("withdrawable", most.amount, amount));
            let passes = amount <= most.amount;
            let (turned, stays) =
                (most.amount + i128::from(passes), most.amount + i128::from(!passes));
            if turned > 0 {
                turns.push(Turn { change: Change::Amount, turned, stays });
            }
            turns.extend(self.deposit_for(pool, asset, amount, passes)?);
            for instrument in self.instruments_of(pool)? {
                turns.extend(self.mark_turns(instrument, |prices| {
                    let most = self.most_leaving(pool, asset, prices);
                    most.is_ok_and(|most| amount <= most.amount) == passes
                }));
            }
        }
        Ok(self.record(About::Money { asset, amount, most }, rules, pools, turns))
    }

    /// Refuses money that a pool may not hold.
    fn takes(&self, pool: PoolId, asset: AssetId, amount: i128) -> Result<()> {
        let (mut alone, id) = self.alone(pool)?;
        alone.add_balance(id, asset, amount)
    }

    /// The smallest deposit of the asset itself after which the amount may leave.
    fn deposit_for(
        &self,
        pool: PoolId,
        asset: AssetId,
        amount: i128,
        passes: bool,
    ) -> Result<Option<Turn>> {
        let head = self.ledger().pool(pool)?.head();
        if passes || asset != head.asset {
            return Ok(None);
        }
        let (alone, id) = self.alone(pool)?;
        let kept = [(head.asset, self.reserved(pool))];
        let short = |more: i64| {
            let mut other = alone.clone();
            let added = other.add_balance(id, asset, more.into());
            let most = added.and_then(|()| other.withdrawable(id, asset, self.prices(), &kept));
            most.is_ok_and(|most| most.amount < amount)
        };
        let turn = |stays: i64| {
            let stays = i128::from(stays);
            Turn { change: Change::Deposit(pool), turned: stays + 1, stays }
        };
        Ok(last(0, i64::MAX, short).map(turn))
    }

    /// The instruments that a pool has a position in.
    pub(super) fn instruments_of(&self, pool: PoolId) -> Result<Vec<InstrumentId>> {
        let legs = self.ledger().pool(pool)?.legs().iter();
        let mut found: Vec<_> =
            legs.filter(|leg| leg.lots != 0).map(|leg| leg.instrument).collect();
        found.dedup(); // the legs of an instrument follow one another
        Ok(found)
    }
}

//! Is a pool liquidated?

use super::{About, Change, Decision, Rule, Turn, last};
use crate::engine::state::State;
use crate::engine::trade::traded;
use crate::margin::{Holdings, Leg, PoolId, PoolMargin};
use crate::numbers::Result;

impl State {
    /// Decides whether the liquidation check fires for a pool at the prices in force, and says why.
    ///
    /// # Errors
    /// `unknown_account`, `missing_price`, `overflow`.
    pub fn decide_liquidation(&self, pool: PoolId) -> Result<Decision> {
        let pools = vec![self.sight("pool", pool)?];
        let margin = self.ledger().assess(pool, self.prices())?;
        let least = self.least(&margin);
        let rules = vec![Rule::amounts("maintenance_margin", margin.equity, least)];
        let fires = margin.liquidatable;
        let mut turns = Vec::new();
        if margin.maintenance > 0 {
            // Below 0 where it is safe: a quantum more than what could be missing.
            let missing = least.saturating_sub(margin.equity);
            let (turned, stays) =
                if fires { (missing, missing - 1) } else { (missing - 1, missing) };
            turns.push(Turn { change: Change::Deposit(pool), turned, stays });
        }
        for instrument in self.instruments_of(pool)? {
            turns.extend(self.mark_turns(instrument, |prices| {
                let found = self.ledger().assess(pool, prices);
                found.map_or(true, |margin| margin.liquidatable) == fires
            }));
        }
        if fires {
            for leg in self.ledger().pool(pool)?.legs().iter().filter(|leg| leg.lots != 0) {
                let stays = last(0, leg.lots.abs(), |lots| {
                    self.fires_without(pool, leg, lots).unwrap_or(true)
                });
                turns.extend(stays.map(|stays| Turn {
                    change: Change::Close(leg.instrument, leg.side),
                    turned: i128::from(stays) + 1,
                    stays: stays.into(),
                }));
            }
        }
        Ok(self.record(About::Liquidation { margin }, rules, pools, turns))
    }

    /// The least equity with which the check does not fire.
    fn least(&self, margin: &PoolMargin) -> i128 {
        match margin.maintenance {
            0 => margin.equity, // nothing is required
            required => required.saturating_add(i128::from(!self.venue().rules().strict)),
        }
    }

    /// Whether the check fires once so many lots of a leg are closed at the mark, without a fee.
    fn fires_without(&self, pool: PoolId, leg: &Leg, lots: i64) -> Result<bool> {
        let of = self.venue().instrument(leg.instrument)?;
        let missing = || crate::numbers::Error::invariant("decision");
        let mark = self.prices().mark(leg.instrument).ok_or_else(missing)?.get();
        let signed = -lots * leg.lots.signum();
        let paid = of.contract().cost(i128::from(signed), mark).ok_or_else(missing)?;
        let (left, realised) = traded(leg, signed, paid, of.contract(), mark)?;
        Ok(self.ledger().assess_with(pool, self.prices(), &left, realised)?.liquidatable)
    }
}

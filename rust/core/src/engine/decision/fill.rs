//! May two pools trade?

use super::{About, Change, Decision, Rule, Turn, last, size_turn};
use crate::data::Side;
use crate::engine::event::What;
use crate::engine::orders::FIRST_FORCED;
use crate::engine::state::State;
use crate::engine::trade::{Leaf, TradeMargin};
use crate::margin::PoolId;
use crate::numbers::limits::LOTS_MAX;
use crate::numbers::{Error, Rate, Result};
use crate::pricing::Prices;

/// One side of a fill, worked out and not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traded {
    /// Which pool.
    pub pool: PoolId,
    /// Its lots; negative where they are sold.
    pub lots: i64,
    /// What they cost: `paid` of the specification.
    pub paid: i128,
    /// What the trade brings into the balance, fee aside.
    pub realised: i128,
    /// The fee; negative for a rebate.
    pub fee: i128,
    /// The rate of it, and whether it is a rebate; none of a forced order, whose fee the policy sets.
    pub rate: Option<(Rate, bool)>,
    /// The rate that was chosen for its leg: one over the leverage.
    pub chosen: Option<Rate>,
    /// What of it decides; none of a side whose order was checked when it was opened.
    pub margin: Option<TradeMargin>,
}

impl State {
    pub(super) fn decide_fill(&self, what: &What) -> Result<Decision> {
        let What::Fill { instrument, lots, buyer, seller, .. } = what else {
            return Err(Error::invariant("decision"));
        };
        let (instrument, lots) = (*instrument, lots.get());
        let pools = vec![self.sight("buyer", buyer.pool)?, self.sight("seller", seller.pool)?];
        let mut rules = vec![
            Rule::either("trading", self.trading(instrument).map(drop)),
            Rule::either("fill", self.sane_fill(lots, [buyer, seller])),
        ];
        let mut sides = [None; 2];
        for (at, names) in
            [["buyer", "buyer_margin"], ["seller", "seller_margin"]].iter().enumerate()
        {
            let found = self.side_of(what, at, lots, self.prices());
            rules.push(Rule::either(names[0], found.as_ref().map(drop).map_err(Clone::clone)));
            let Ok((leaf, margin)) = found else { continue };
            if let Some(margin) = margin {
                let limit = if margin.is_safer() {
                    margin.free().min(margin.after.initial)
                } else {
                    margin.after.initial
                };
                rules.push(Rule::amounts(names[1], margin.free(), limit));
            }
            let Leaf { pool, lots, paid, realised, fee, leg, .. } = leaf;
            let (rate, chosen) = (self.rate_of(what, at)?, leg.chosen);
            if let Some(side) = sides.get_mut(at) {
                *side = Some(Traded { pool, lots, paid, realised, fee, rate, chosen, margin });
            }
        }
        let turns = self.fill_turns(what, &rules, &sides);
        Ok(self.record(About::Fill { sides: Box::new(sides) }, rules, pools, turns))
    }

    /// One side at other lots and prices, and its margin where that decides.
    fn side_of(
        &self,
        what: &What,
        at: usize,
        lots: i64,
        prices: &Prices,
    ) -> Result<(Leaf, Option<TradeMargin>)> {
        let What::Fill { instrument, price, buyer, seller, taker, .. } = what else {
            return Err(Error::invariant("decision"));
        };
        let (party, signed, own) =
            if at == 0 { (buyer, lots, Side::Buy) } else { (seller, -lots, Side::Sell) };
        let leaf = self.leaf(*instrument, *price, signed, party, (*taker == own, prices))?;
        let (mut alone, id) = self.alone(leaf.pool)?;
        alone.set_leg(id, leaf.leg)?;
        let asset = self.venue().instrument(*instrument)?.settlement();
        alone.add_balance(id, asset, leaf.realised - leaf.fee)?;
        if party.order.is_some() {
            return Ok((leaf, None));
        }
        let margin = self.trade_margin(&leaf, prices)?;
        Ok((leaf, Some(margin)))
    }

    fn rate_of(&self, what: &What, at: usize) -> Result<Option<(Rate, bool)>> {
        let What::Fill { instrument, buyer, seller, taker, .. } = what else { return Ok(None) };
        let (party, own) = if at == 0 { (buyer, Side::Buy) } else { (seller, Side::Sell) };
        let market = self.market(*instrument)?;
        let fee = if *taker == own { market.taker } else { market.maker };
        let usual = party.order.is_none_or(|id| id < FIRST_FORCED);
        Ok(fee.filter(|_| usual).map(|fee| (fee.rate, fee.rebate)))
    }

    fn fits(&self, what: &What, lots: i64, prices: &Prices) -> bool {
        let What::Fill { instrument, buyer, seller, .. } = what else { return false };
        let fine = |at: usize| {
            let found = self.side_of(what, at, lots, prices);
            found.is_ok_and(|(_, margin)| margin.is_none_or(|margin| margin.passes()))
        };
        self.trading(*instrument).is_ok()
            && self.sane_fill(lots, [buyer, seller]).is_ok()
            && fine(0)
            && fine(1)
    }

    fn fill_turns(&self, what: &What, rules: &[Rule], sides: &[Option<Traded>; 2]) -> Vec<Turn> {
        let What::Fill { instrument, lots, buyer, seller, .. } = what else { return Vec::new() };
        if rules.iter().any(|rule| rule.refused.is_some()) {
            return Vec::new();
        }
        let passes = rules.iter().all(Rule::holds);
        let fits = |lots: i64| self.fits(what, lots, self.prices());
        let mut turns = Vec::new();
        // An order has as many lots as it has.
        if sides.iter().flatten().all(|side| side.margin.is_some()) {
            turns.extend(size_turn(Change::Lots, lots.get(), LOTS_MAX, passes, fits));
        }
        for (at, side) in sides.iter().enumerate() {
            let other = sides.get(1 - at).copied().flatten().and_then(|side| side.margin);
            // A deposit of one side turns nothing where the other side is short too.
            if let Some(side) = side
                && let Some(margin) = side.margin
                && (passes || other.is_none_or(|other| other.passes()))
                && buyer.pool != seller.pool
            {
                turns.extend(deposit_turn(side.pool, &margin));
            }
        }
        turns.extend(
            self.mark_turns(*instrument, |prices| self.fits(what, lots.get(), prices) == passes),
        );
        turns
    }
}

/// The smallest deposit that turns the margin of a side, or a quantum more than what it could do without.
fn deposit_turn(pool: PoolId, margin: &TradeMargin) -> Option<Turn> {
    let passes = margin.passes();
    let sign = if passes { -1 } else { 1 };
    let same = |by: i64| margin.with(i128::from(by) * sign).passes() == passes;
    last(0, i64::MAX, same).map(|by| {
        let stays = i128::from(by) * sign;
        Turn { change: Change::Deposit(pool), turned: stays + sign, stays }
    })
}

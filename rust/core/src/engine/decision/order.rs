//! May an order be opened?

use super::{About, Change, Decision, Rule, Sight, Turn, size_turn};
use crate::data::Side;
use crate::engine::orders::Order;
use crate::engine::state::State;
use crate::engine::trade::OrderCheck;
use crate::margin::{Holdings, Ledger, PoolId, PoolKey};
use crate::numbers::limits::LOTS_MAX;
use crate::numbers::{Error, ErrorKind, Rate, Result};

impl State {
    pub(super) fn decide_order(&self, order: &Order) -> Result<Decision> {
        let mut rules = vec![
            Rule::either("trading", self.trading(order.instrument).map(drop)),
            Rule::either("unlocked", self.unlocked(order.pool).map(drop)),
            Rule::either("number", self.new_number(order.id)),
        ];
        let found = self.check_order(order);
        let check = found.as_ref().ok().copied();
        rules.push(Rule::either("order", found.map(drop)));
        // Another number is no matter of margin: what would turn the margin is told all the same.
        let open = rules.iter().all(Rule::holds);
        let (mut pools, mut turns) = (Vec::new(), Vec::new());
        if let Some(check) = check {
            let (value, limit) = (check.free(), check.margin.initial);
            let limit = if check.reduces { limit.min(value) } else { limit };
            rules.push(Rule::amounts("initial_margin", value, limit));
            let (alone, id) = self.with_order(order)?;
            let explanation = alone.explain(id, self.prices())?;
            let (pool, reserved) = (order.pool, check.reserved);
            pools.push(Sight { role: "pool", pool, reserved, explanation });
            if open && !check.reduces {
                turns = self.order_turns(order, &check);
            }
        }
        let about = About::Order { order: *order, check, taker: self.taker_rate(order) };
        Ok(self.record(about, rules, pools, turns))
    }

    fn new_number(&self, id: u64) -> Result<()> {
        if self.order(id).is_none() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::DuplicateKey, "order", id, "is open already"))
    }

    fn taker_rate(&self, order: &Order) -> Option<Rate> {
        self.market(order.instrument).ok()?.taker.map(|fee| fee.rate)
    }

    /// The pool with the order open, alone.
    fn with_order(&self, order: &Order) -> Result<(Ledger, PoolId)> {
        let (mut alone, id) = self.alone(order.pool)?;
        let mut leg = self.leg_of(order.pool, order.instrument, order.leg)?;
        match order.side {
            Side::Buy => leg.bids += order.lots, // was checked
            Side::Sell => leg.asks += order.lots,
        }
        alone.set_leg(id, leg)?;
        Ok((alone, id))
    }

    /// A copy of a pool, alone.
    pub(super) fn alone(&self, pool: PoolId) -> Result<(Ledger, PoolId)> {
        let ledger = self.ledger();
        let own = ledger.pool(pool)?;
        let (account, name) = ledger.key(pool)?;
        let mut alone = Ledger::new(std::sync::Arc::clone(self.venue()));
        let head = own.head();
        let held_in = if head.multi { None } else { Some(head.asset) };
        let id = alone.open(PoolKey { account, pool: name }, head.kind, head.multi, held_in)?;
        alone.adopt(id, &mut own.clone())?;
        Ok((alone, id))
    }

    fn order_turns(&self, order: &Order, check: &OrderCheck) -> Vec<Turn> {
        let passes = check.passes();
        let missing = check.margin.initial.saturating_sub(check.free());
        // Of one that passes: a quantum more than what it could do without.
        let (turned, stays) = if passes { (missing - 1, missing) } else { (missing, missing - 1) };
        let mut turns = vec![Turn { change: Change::Deposit(order.pool), turned, stays }];
        // At another size, or another mark, a market order has another worst price.
        if order.limit.is_some() {
            let fits = |lots: i64| {
                let other = Order { lots, ..*order };
                self.check_order(&other).is_ok_and(|check| check.passes())
            };
            turns.extend(size_turn(Change::Lots, order.lots, LOTS_MAX, passes, fits));
            turns.extend(self.mark_turns(order.instrument, |prices| {
                let found = self.check_order_at(order, prices);
                found.is_ok_and(|check| check.passes()) == passes
            }));
        }
        turns
    }
}

//! Why an order may be opened, or may not: every rule with its slack, and the smallest changes that would turn the answer.

use super::orders::Order;
use super::state::State;
use super::trade::OrderCheck;
use crate::data::Side;
use crate::margin::{Explanation, Holdings, Ledger, PoolKey};
use crate::numbers::limits::{LOTS_MAX, TICKS_MAX};
use crate::numbers::{Digest, Error, ErrorKind, Lots, MarkTicks, Rate, Result};

/// One rule: it holds where the value is at least the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// What was found.
    pub value: i128,
    /// What it must reach.
    pub limit: i128,
    /// Why it does not hold, where it is no matter of amounts.
    pub refused: Option<Error>,
}

impl Rule {
    /// Whether it holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.value >= self.limit
    }

    /// By how much; negative where it does not.
    #[must_use]
    pub fn slack(&self) -> i128 {
        self.value.saturating_sub(self.limit)
    }
}

/// The smallest changes that turn the answer, each alone; none where no such change does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turns {
    /// Of a refused order: the most lots that pass. Of one that passes: the fewest more that do not. Only for orders with a limit.
    pub lots: Option<i64>,
    /// Of a refused order: the smallest deposit in the pool's own asset with which it passes. Of one that passes: the most that
    /// could be missing, negative.
    pub deposit: Option<i128>,
    /// The nearest marks of its instrument, below and above, at which the answer is the other one: each beside one at which it
    /// is not, toward the mark in force. Only for orders with a limit: at another mark a market order has another worst price.
    pub mark: [Option<i64>; 2],
}

/// An answer to "may this order be opened?" with everything it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The order.
    pub order: Order,
    /// Whether it may.
    pub passes: bool,
    /// Every rule that was looked at, in order.
    pub rules: Vec<Rule>,
    /// The rule that decides: the first that does not hold, or of those in amounts the one with the least slack.
    pub binding: &'static str,
    /// The margin of it; none where it is no order that could be opened.
    pub check: Option<OrderCheck>,
    /// The pool with the order open, line by line.
    pub explanation: Option<Explanation>,
    /// In mark ticks, the worst price it may be filled at, and the fee there.
    pub worst: Option<i64>,
    /// The taker fee.
    pub taker: Option<Rate>,
    /// What would turn it.
    pub turns: Turns,
    /// The card and the policy that it was decided by.
    pub card: Digest,
    /// The policy.
    pub policy: Digest,
    /// How many events the engine had taken.
    pub events: u64,
    /// The time.
    pub time: Option<i64>,
}

/// A rule about something that is or is not.
fn either(name: &'static str, found: Result<()>) -> Rule {
    let holds = found.is_ok();
    Rule { name, value: i128::from(holds), limit: 1, refused: found.err() }
}

impl State {
    /// Decides an order without opening it, and says why.
    ///
    /// # Errors
    /// `overflow` and `invariant_broken` only: what keeps an order from being opened is a rule that does not hold.
    pub fn decide_order(&self, order: &Order) -> Result<Decision> {
        let mut rules = vec![
            either("trading", self.trading(order.instrument).map(drop)),
            either("unlocked", self.unlocked(order.pool).map(drop)),
            either("number", self.new_number(order.id)),
        ];
        let found = self.check_order(order);
        let check = found.as_ref().ok().copied();
        rules.push(either("order", found.map(drop)));
        if let Some(check) = check {
            let (value, limit) = (check.free(), check.margin.initial);
            let limit = if check.reduces { limit.min(value) } else { limit };
            rules.push(Rule { name: "initial_margin", value, limit, refused: None });
        }
        let passes = rules.iter().all(Rule::holds);
        let failing = rules.iter().find(|rule| !rule.holds());
        let binding = failing.or(rules.last()).map_or("order", |rule| rule.name);
        // Another number is no matter of margin: what would turn the margin is told all the same.
        let open = rules.iter().filter(|rule| rule.name != "initial_margin").all(Rule::holds);
        let turns = match check {
            Some(check) if open && !check.reduces => self.turns(order, &check),
            _ => Turns::default(),
        };
        Ok(Decision {
            order: *order,
            passes,
            binding,
            rules,
            check,
            explanation: check.map(|_| self.explain_with(order)).transpose()?,
            worst: check.and_then(|check| check.worst),
            taker: check.and_then(|_| self.taker_rate(order)),
            turns,
            card: self.venue().digest(),
            policy: self.policy().digest(),
            events: self.events(),
            time: self.time(),
        })
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
    fn with_order(&self, order: &Order) -> Result<(Ledger, crate::margin::PoolId)> {
        let ledger = self.ledger();
        let own = ledger.pool(order.pool)?;
        let (account, pool) = ledger.key(order.pool)?;
        let mut alone = Ledger::new(std::sync::Arc::clone(self.venue()));
        let head = own.head();
        let held_in = if head.multi { None } else { Some(head.asset) };
        let id = alone.open(PoolKey { account, pool }, head.kind, head.multi, held_in)?;
        let mut copy = own.clone();
        alone.adopt(id, &mut copy)?;
        let mut leg = self.leg_of(order.pool, order.instrument, order.leg)?;
        match order.side {
            Side::Buy => leg.bids += order.lots, // was checked
            Side::Sell => leg.asks += order.lots,
        }
        alone.set_leg(id, leg)?;
        Ok((alone, id))
    }

    fn explain_with(&self, order: &Order) -> Result<Explanation> {
        let (alone, id) = self.with_order(order)?;
        alone.explain(id, self.prices())
    }

    fn turns(&self, order: &Order, check: &OrderCheck) -> Turns {
        let passes = check.passes();
        let missing = check.margin.initial.saturating_sub(check.free());
        let fits = |lots: i64| {
            let other = Order { lots, ..*order };
            self.check_order(&other).is_ok_and(|check| check.passes())
        };
        let lots = if order.limit.is_none() {
            None
        } else if passes {
            last(order.lots, LOTS_MAX, fits).map(|most| most + 1).filter(|lots| *lots <= LOTS_MAX)
        } else {
            last(0, order.lots, |lots| lots == 0 || fits(lots)).filter(|lots| *lots > 0)
        };
        let mut mark = [None; 2];
        let now = self.prices().mark(order.instrument).map(MarkTicks::get);
        if let Some(now) = now.filter(|_| order.limit.is_some()) {
            let stays = |ticks: i64| self.passes_at(order, ticks).ok() == Some(passes);
            // The answer may turn more than once: what is found is a mark beside one where it does not.
            mark = [
                last(0, now - 1, |down| stays(now - down)).map(|down| now - down - 1),
                last(0, TICKS_MAX - now, |up| stays(now + up)).map(|up| now + up + 1),
            ];
            mark = mark.map(|ticks| ticks.filter(|ticks| (1..=TICKS_MAX).contains(ticks)));
        }
        Turns { lots, deposit: Some(missing), mark }
    }

    /// Whether it would pass at another mark of its instrument.
    fn passes_at(&self, order: &Order, ticks: i64) -> Result<bool> {
        let mut prices = self.prices().clone();
        let mark = MarkTicks::new(i128::from(ticks), "mark")?;
        prices.set_mark(order.instrument, mark)?;
        self.check_order_at(order, &prices).map(|check| check.passes())
    }
}

/// The largest number up to `end` with which `holds`, from `start`, with which it does: found in growing steps and halved, so that
/// the next one does not; none where it holds to the end.
fn last(start: i64, end: i64, holds: impl Fn(i64) -> bool) -> Option<i64> {
    let (mut good, mut step) = (start, 1_i64);
    let mut bad = loop {
        let next = good.saturating_add(step).min(end);
        if next == good {
            return None;
        }
        if !holds(next) {
            break next;
        }
        (good, step) = (next, step.saturating_mul(2));
    };
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if holds(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Some(good)
}

impl Decision {
    /// The lots of the order.
    #[must_use]
    pub fn lots(&self) -> Lots {
        Lots::trusted(self.order.lots)
    }
}

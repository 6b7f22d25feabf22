//! Why something may be done, or may not: every rule with its slack, and the smallest changes that would turn the answer.

mod fill;
mod money;
mod order;
mod pool;

use super::event::What;
use super::orders::Order;
use super::state::State;
use super::trade::OrderCheck;
use crate::data::{AssetId, InstrumentId};
use crate::margin::{Explanation, Holdings, LegSide, PoolId, PoolMargin, Withdrawal};
use crate::numbers::limits::TICKS_MAX;
use crate::numbers::{Digest, Error, ErrorKind, MarkTicks, Rate, Result};
use crate::pricing::Prices;

pub use fill::Traded;

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
    /// A rule about something that is or is not.
    fn either(name: &'static str, found: Result<()>) -> Self {
        let holds = found.is_ok();
        Self { name, value: i128::from(holds), limit: 1, refused: found.err() }
    }

    /// A rule about amounts.
    fn amounts(name: &'static str, value: i128, limit: i128) -> Self {
        Self { name, value, limit, refused: None }
    }

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

/// What could be another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The lots that are asked for.
    Lots,
    /// The amount that is asked for, in quanta.
    Amount,
    /// A deposit to a pool, in quanta of the asset that it is checked in; below 0 what could be missing.
    Deposit(PoolId),
    /// The mark of an instrument, in ticks.
    Mark(InstrumentId),
    /// Lots of a leg that are closed at the mark, without a fee.
    Close(InstrumentId, LegSide),
}

/// A smallest change that turns the answer, alone: at `turned` it is the other one, and at `stays`, one beside it toward what is,
/// it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// What changes.
    pub change: Change,
    /// Where the answer is the other one.
    pub turned: i128,
    /// Beside it, where it is not.
    pub stays: i128,
}

/// A pool that is looked at, as it is; for an order with the order open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// What it is here: `pool`, `from`, `to`, `buyer`, `seller`.
    pub role: &'static str,
    /// Which.
    pub pool: PoolId,
    /// What is kept for its open orders.
    pub reserved: i128,
    /// The pool line by line.
    pub explanation: Explanation,
}

/// What was asked, with the figures that are its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// May this order be opened?
    Order {
        /// The order.
        order: Order,
        /// Its margin; none where it is no order that could be opened.
        check: Option<OrderCheck>,
        /// The taker fee.
        taker: Option<Rate>,
    },
    /// May this leave the pool?
    Money {
        /// Of which asset.
        asset: AssetId,
        /// How much.
        amount: i128,
        /// The most that may; none where nothing could be asked for.
        most: Option<Withdrawal>,
    },
    /// May these two trade?
    Fill {
        /// Buyer and seller, as far as there is anything to say of them.
        sides: Box<[Option<Traded>; 2]>,
    },
    /// Is this pool liquidated?
    Liquidation {
        /// Its margin.
        margin: PoolMargin,
    },
}

/// An answer with everything it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What was asked.
    pub about: About,
    /// Every rule that was looked at, in order.
    pub rules: Vec<Rule>,
    /// The pools that it concerns.
    pub pools: Vec<Sight>,
    /// What would turn it.
    pub turns: Vec<Turn>,
    /// The card that it was decided by.
    pub card: Digest,
    /// The policy.
    pub policy: Digest,
    /// How many events the engine had taken.
    pub events: u64,
    /// The time.
    pub time: Option<i64>,
}

impl Decision {
    /// Whether every rule holds.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.rules.iter().all(Rule::holds)
    }

    /// The rule that decides: the first that does not hold, else the last.
    #[must_use]
    pub fn binding(&self) -> &'static str {
        let failing = self.rules.iter().find(|rule| !rule.holds());
        failing.or(self.rules.last()).map_or("none", |rule| rule.name)
    }
}

impl State {
    /// Decides an `order_open`, `withdrawal`, `transfer` or `fill` without doing it, and says why.
    ///
    /// # Errors
    /// `bad_column` for any other; `unknown_account`, `unknown_instrument`, `overflow` and `invariant_broken`: what keeps it
    /// from being done is a rule that does not hold.
    pub fn decide(&self, what: &What) -> Result<Decision> {
        match what {
            What::OrderOpen { .. } => {
                let order = Order::opened_by(what).ok_or_else(|| Error::invariant("decision"))?;
                self.decide_order(&order)
            }
            What::Withdrawal { pool, asset, amount } => {
                self.decide_money(*pool, None, *asset, amount.get())
            }
            What::Transfer { from, to, asset, amount } => {
                self.decide_money(*from, Some(*to), *asset, amount.get())
            }
            What::Fill { .. } => self.decide_fill(what),
            other => {
                let limit = "must be one of order_open, withdrawal, transfer, fill";
                Err(Error::new(ErrorKind::BadColumn, "event", other.name(), limit))
            }
        }
    }

    fn record(
        &self,
        about: About,
        rules: Vec<Rule>,
        pools: Vec<Sight>,
        turns: Vec<Turn>,
    ) -> Decision {
        Decision {
            about,
            rules,
            pools,
            turns,
            card: self.venue().digest(),
            policy: self.policy().digest(),
            events: self.events(),
            time: self.time(),
        }
    }

    fn sight(&self, role: &'static str, pool: PoolId) -> Result<Sight> {
        let explanation = self.ledger().explain(pool, self.prices())?;
        Ok(Sight { role, pool, reserved: self.reserved(pool), explanation })
    }

    /// The nearest marks of an instrument, below and above, at which the answer is the other one. It may turn more than once: what
    /// is found is a mark beside one where it does not.
    fn mark_turns(&self, instrument: InstrumentId, stays: impl Fn(&Prices) -> bool) -> Vec<Turn> {
        let Some(now) = self.prices().mark(instrument).map(MarkTicks::get) else {
            return Vec::new();
        };
        let same = |ticks: i64| {
            let mut prices = self.prices().clone();
            let mark = MarkTicks::new(i128::from(ticks), "mark");
            mark.and_then(|mark| prices.set_mark(instrument, mark)).is_ok() && stays(&prices)
        };
        let down = last(0, now - 1, |by| same(now - by)).map(|by| (now - by - 1, now - by));
        let up = last(0, TICKS_MAX - now, |by| same(now + by)).map(|by| (now + by + 1, now + by));
        let turn = |(turned, stays): (i64, i64)| Turn {
            change: Change::Mark(instrument),
            turned: turned.into(),
            stays: stays.into(),
        };
        down.into_iter().chain(up).map(turn).collect()
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

/// How many, of those asked for, turn the answer: the first more that do not pass, or the most that do.
fn size_turn(
    change: Change,
    asked: i64,
    most: i64,
    passes: bool,
    fits: impl Fn(i64) -> bool,
) -> Option<Turn> {
    let turn =
        |turned: i64, stays: i64| Turn { change, turned: turned.into(), stays: stays.into() };
    if passes {
        return last(asked, most, fits).map(|most| turn(most + 1, most));
    }
    let found = last(0, asked, |size| size == 0 || fits(size)).filter(|size| *size > 0);
    found.map(|size| turn(size, size + 1))
}

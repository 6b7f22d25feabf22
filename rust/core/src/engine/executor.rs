//! The executor that is built in: what the engine's own book answers to a forced order. For simulations; the answers come back
//! as events, by the door that everybody's do.

use std::sync::Arc;

use super::event::{Ended, Party, What};
use super::state::State;
use crate::data::policy::Policy;
use crate::data::{Level, Side};
use crate::margin::{LegSide, PoolId};
use crate::numbers::{Error, ErrorKind, Lots, Result};

impl State {
    /// What the book answers to a forced order: a fill with `counterparty` at each level within its limit, the level taken out
    /// of the book, and the end of the order where something is left of it.
    ///
    /// # Errors
    /// `unknown_order`; `unknown_account`.
    pub fn answers(&self, order: u64, counterparty: PoolId) -> Result<Vec<What>> {
        let Some((forced, left)) = self.forced.get(&order) else {
            let limit = "no such forced order is out";
            return Err(Error::new(ErrorKind::UnknownOrder, "order", order, limit));
        };
        self.ledger().pool(counterparty)?;
        let instrument = forced.instrument;
        let book = self.book(instrument)?;
        let (mut rest, mut found) = (*left, Vec::new());
        let mut sequence = book.sequence();
        let within = |level: &Level| match forced.side {
            Side::Buy => level.price <= forced.limit,
            Side::Sell => level.price >= forced.limit,
        };
        let own = Party { pool: forced.pool, leg: forced.leg, order: Some(order) };
        let other = Party { pool: counterparty, leg: LegSide::Net, order: None };
        for level in book.taken_by(forced.side).levels().take_while(within) {
            let part = rest.min(level.quantity.get());
            if part == 0 {
                break;
            }
            rest -= part;
            let lots = Lots::new(i128::from(part), "lots")?;
            let price = level.price;
            let (buyer, seller) = match forced.side {
                Side::Buy => (own, other),
                Side::Sell => (other, own),
            };
            found.push(What::Fill { instrument, price, lots, buyer, seller, taker: forced.side });
            let quantity = Lots::new(i128::from(level.quantity.get() - part), "lots")?;
            let changed: Arc<[Level]> = [Level { price, quantity }].into();
            let (bids, asks) = match forced.side {
                Side::Buy => ([].into(), changed),
                Side::Sell => (changed, [].into()),
            };
            let previous = sequence;
            sequence = sequence.map(|own| own + 1);
            found.push(What::BookDelta { instrument, update: sequence, previous, bids, asks });
        }
        if rest > 0 {
            found.push(What::ForcedEnd { order, reason: Ended::Expired });
        }
        Ok(found)
    }

    /// The same state under another liquidation policy: for comparisons.
    ///
    /// # Errors
    /// Those of [`Policy::from_toml`].
    pub fn under_policy(&self, policy: &str) -> Result<Self> {
        let mut other = self.clone();
        other.policy = match policy {
            "" => Policy::default(),
            text => Policy::from_toml(text)?,
        };
        other.policy_text = policy.into();
        let own = other.policy.backstop.clone();
        other.backstop = own.and_then(|own| other.ledger().find(&own.account, &own.pool));
        Ok(other)
    }
}

//! Many events at once: what one will need is read ahead while those before it are taken. Nothing is decided here.

use super::event::{Event, What};
use super::state::State;
use crate::margin::PoolId;

/// How many events ahead: first the orders they name, then their pools, then what those hold.
const ORDERS: usize = 9;
pub(super) const POOLS: usize = 6;
pub(super) const HOLDINGS: usize = 3;

impl State {
    /// Reads ahead what events will need of which the next is the one in this place.
    pub(super) fn read_ahead<'e>(&self, event: impl Fn(usize) -> Option<&'e Event>, next: usize) {
        if let Some(event) = event(next + ORDERS) {
            for id in orders(&event.what).into_iter().flatten() {
                self.orders.read_ahead(id);
            }
        }
        if let Some(event) = event(next + POOLS) {
            for pool in self.pools(&event.what).into_iter().flatten() {
                self.read_ahead_pool(pool);
            }
        }
        if let Some(event) = event(next + HOLDINGS) {
            for pool in self.pools(&event.what).into_iter().flatten() {
                self.watch.read_ahead_holdings(pool);
            }
        }
    }

    pub(super) fn read_ahead_pool(&self, pool: PoolId) {
        self.watch.read_ahead_pool(pool);
        aivora_simd::read_ahead(&self.standings, pool.index());
    }

    fn pools(&self, what: &What) -> [Option<PoolId>; 2] {
        match what {
            What::OrderOpen { pool, .. }
            | What::Deposit { pool, .. }
            | What::Withdrawal { pool, .. } => [Some(*pool), None],
            What::OrderCancel { order } | What::OrderAmend { order, .. } => {
                [self.orders.find(*order).map(|order| order.pool), None]
            }
            What::Fill { buyer, seller, .. } => [Some(buyer.pool), Some(seller.pool)],
            _ => [None, None],
        }
    }
}

fn orders(what: &What) -> [Option<u64>; 2] {
    match what {
        What::OrderCancel { order } | What::OrderAmend { order, .. } => [Some(*order), None],
        What::Fill { buyer, seller, .. } => [buyer.order, seller.order],
        _ => [None, None],
    }
}

//! The hash of a state: each pool and each market by itself, so that only what has changed is hashed again.
//!
//! Pools are added up, modulo 2^256, each under its own name: the order in which they were opened does not matter. A sum is
//! not proof against somebody who chooses the states; the chain of the journal is.

use super::orders::Order;
use super::state::{Fee, Funds, Market, State};
use crate::data::Side;
use crate::margin::{Holdings, PoolId};
use crate::numbers::{Canonical, Digest, Error, MarkTicks, PriceTicks, Rate, Result};

/// Digests of the parts.
#[derive(Debug, Clone, Default)]
pub(super) struct Hashes {
    pools: Vec<Sum>,
    all: Sum,
    markets: Vec<Option<Digest>>,
}

/// A number below 2^256, its least word first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sum([u64; 4]);

impl Sum {
    fn of(digest: Digest) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(digest.bytes().chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        }
        Self(words)
    }

    fn add(&mut self, other: Self) {
        let mut carry = false;
        for (own, other) in self.0.iter_mut().zip(other.0) {
            let (sum, first) = own.overflowing_add(other);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*own, carry) = (sum, first || second);
        }
    }

    fn take(&mut self, other: Self) {
        let mut borrow = false;
        for (own, other) in self.0.iter_mut().zip(other.0) {
            let (rest, first) = own.overflowing_sub(other);
            let (rest, second) = rest.overflowing_sub(u64::from(borrow));
            (*own, borrow) = (rest, first || second);
        }
    }
}

impl Hashes {
    /// All markets may have changed.
    pub(super) fn touch_all(&mut self) {
        self.markets.clear();
    }

    /// A market may have changed.
    pub(super) fn touch(&mut self, market: usize) {
        if let Some(known) = self.markets.get_mut(market) {
            *known = None;
        }
    }
}

fn rate(rate: Option<Rate>) -> String {
    rate.map_or(String::new(), |rate| rate.to_string())
}

fn fee(fee: Option<Fee>) -> String {
    fee.map_or(String::new(), |fee| format!("{}{}", if fee.rebate { "-" } else { "" }, fee.rate))
}

fn put_order(c: &mut Canonical, order: &Order) {
    c.int(order.id).int(order.instrument.0).text(order.leg.name()).text(order.side.name());
    c.int(order.lots).int(order.limit.map_or(0, PriceTicks::get)).int(order.reduce_only);
    c.int(order.reserve);
}

impl Market {
    fn digest(&self) -> Digest {
        let mut c = Canonical::of("aivora-market/0");
        c.text(&self.book.digest().to_string()).int(self.index.map_or(0, MarkTicks::get));
        c.int(self.last.map_or(0, PriceTicks::get)).length(self.sources.len());
        for (source, price) in &self.sources {
            c.int(*source).int(price.get());
        }
        c.text(&rate(self.funding.map(|(rate, _)| rate)));
        c.int(self.funding.is_some_and(|(_, longs_pay)| longs_pay));
        c.text(&fee(self.taker)).text(&fee(self.maker)).int(self.halted).int(self.delisted);
        c.int(self.long).int(self.short);
        c.digest()
    }
}

impl State {
    fn pool_digest(&self, pool: PoolId) -> Result<Digest> {
        let ledger = self.ledger();
        let ((account, name), own) = (ledger.key(pool)?, ledger.pool(pool)?);
        let head = own.head();
        let mut c = Canonical::of("aivora-pool/0");
        c.text(account).text(name).text(head.kind.name()).int(head.multi).int(head.asset.0);
        c.length(own.balances().len());
        for balance in own.balances() {
            c.int(balance.asset.0).int(balance.amount).int(balance.interest);
        }
        c.length(own.legs().len());
        for leg in own.legs() {
            c.int(leg.instrument.0).text(leg.side.name()).int(leg.lots).int(leg.cost);
            c.int(leg.accrued).int(leg.bids).int(leg.asks);
        }
        c.text(&rate(own.chosen_rate())).length(own.chosen_for().len());
        for (instrument, chosen) in own.chosen_for() {
            c.int(instrument.0).text(&chosen.to_string());
        }
        let standing = self.standings.get(pool.index()).copied().unwrap_or_default();
        c.int(standing.reserved).int(standing.staged.is_some()).int(standing.staged.unwrap_or(0));
        c.int(self.liquidatable().get(pool.index()).copied().unwrap_or(false));
        let orders = self.orders.of_pool(pool);
        c.length(orders.len());
        for order in &orders {
            put_order(&mut c, order);
        }
        Ok(c.digest())
    }

    /// The hash of all of it. Equal states have equal hashes, however they came about.
    ///
    /// # Errors
    /// `invariant_broken` only.
    pub fn hash(&mut self) -> Result<Digest> {
        let mut hashes = std::mem::take(&mut self.hashes);
        hashes.pools.resize(self.ledger().len(), Sum::default());
        while let Some(pool) = self.watch.notes().next_changed() {
            let new = Sum::of(self.pool_digest(pool)?);
            let old = hashes.pools.get_mut(pool.index()).ok_or_else(|| Error::invariant("hash"))?;
            hashes.all.take(std::mem::replace(old, new));
            hashes.all.add(new);
        }
        hashes.markets.resize(self.markets.len(), None);
        for (known, market) in hashes.markets.iter_mut().zip(&self.markets) {
            *known = Some(known.unwrap_or_else(|| market.digest()));
        }
        let found = self.whole(&hashes);
        self.hashes = hashes;
        found
    }

    fn whole(&self, hashes: &Hashes) -> Result<Digest> {
        let mut c = Canonical::of("aivora-state/0");
        c.text(&self.venue.digest().to_string()).text(&self.policy.digest().to_string());
        c.text(&self.prices().digest().to_string()).length(hashes.pools.len());
        for word in hashes.all.0 {
            c.int(word);
        }
        for digest in hashes.markets.iter().flatten() {
            c.text(&digest.to_string());
        }
        c.int(self.time.is_some()).int(self.time.unwrap_or(0)).int(self.halted);
        c.int(self.events).int(self.forced_count).length(self.sources.len());
        for (source, sequence) in &self.sources {
            c.int(*source).int(*sequence);
        }
        for Funds { deposits, insurance, fees, dust, uncovered } in &self.funds {
            c.int(*deposits).int(*insurance).int(*fees).int(*dust).int(*uncovered);
        }
        self.put_accounts(&mut c)?;
        self.put_liquidations(&mut c)?;
        Ok(c.digest())
    }

    /// What is known of accounts, in order of their names.
    fn put_accounts(&self, c: &mut Canonical) -> Result<()> {
        let ledger = self.ledger();
        let mut known = Vec::new();
        for (account, own) in self.accounts.iter().enumerate() {
            if own.throttled || own.cluster.is_some() {
                known.push((ledger.account_name(account)?, own));
            }
        }
        known.sort_unstable_by_key(|(name, _)| *name);
        c.length(known.len());
        for (name, own) in known {
            c.text(name)
                .int(own.throttled)
                .int(own.cluster.is_some())
                .int(own.cluster.unwrap_or(0));
        }
        Ok(())
    }

    /// Liquidations and forced orders, in order of the pools' names.
    fn put_liquidations(&self, c: &mut Canonical) -> Result<()> {
        let mut all: Vec<_> = self.liquidations.iter().collect();
        self.by_name(&mut all, |(pool, _)| **pool);
        c.length(all.len());
        for (pool, own) in all {
            let (account, name) = self.ledger().key(*pool)?;
            c.text(account).text(name).int(own.order.unwrap_or(0)).int(own.committed);
            let missed = own.missed.map(|(id, side, lots)| (id.0, side.name(), lots));
            let (instrument, side, lots) = missed.unwrap_or((0, "", 0));
            c.int(instrument).text(side).int(lots);
            if let Some((order, left)) = own.order.and_then(|id| self.forced.get(&id)) {
                c.int(order.instrument.0).text(order.leg.name());
                c.int(order.side == Side::Buy).int(order.lots.get()).int(order.limit.get());
                c.int(*left);
            }
        }
        Ok(())
    }
}

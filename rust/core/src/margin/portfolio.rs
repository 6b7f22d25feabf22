//! A portfolio: every pool of every account, packed once, checked many times, changed in place.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::data::{AssetId, InstrumentId, Venue};
use crate::numbers::{Canonical, Digest, Error, ErrorKind, Rate, Result};
use crate::pricing::Prices;

use super::check::Prepared;
use super::funding::Payment;
use super::holdings::{Head, Holdings, no_such_pool};
use super::lanes::Lanes;
use super::leg::Leg;
use super::names::Names;
use super::store::{Block, Context, Holding, POOLS_PER_BLOCK};
use super::wide::Wide;

/// A pool's place in its portfolio: pools are sorted by account and pool name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub(crate) usize);

impl PoolId {
    /// The pool at a place.
    #[must_use]
    pub fn at(place: usize) -> Self {
        Self(place)
    }

    /// The place as an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

/// What a pool is, and what it has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PoolHead {
    pub(super) head: Head,
    /// Place of the pool's chosen initial rate in the portfolio's rates; 0 is none.
    pub(super) chosen: u16,
}

/// One asset of a pool: the balance, and the interest owed on it, in quanta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// The asset.
    pub asset: AssetId,
    /// The balance; negative when it is owed.
    pub amount: i128,
    /// Interest owed on it, not taken yet.
    pub interest: i128,
}

impl From<Holding> for Balance {
    fn from(holding: Holding) -> Self {
        Self { asset: holding.asset, amount: holding.balance, interest: holding.interest }
    }
}

/// How many bytes a portfolio holds, the tables of a scan aside: those do not grow with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// Names, and the keys of the pools.
    pub names: usize,
    /// What the pools hold.
    pub pools: usize,
}

/// What all pools hold of one instrument, in lots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenInterest {
    /// Σ of the long positions.
    pub long: i128,
    /// Σ of the short ones, without their sign.
    pub short: i128,
    /// How many legs are long.
    pub long_legs: u64,
    /// How many are short.
    pub short_legs: u64,
}

/// Every pool of every account of one venue. Built by [`super::PortfolioBuilder`].
#[derive(Debug, Clone)]
pub struct Portfolio {
    pub(super) venue: Arc<Venue>,
    pub(super) accounts: Names,
    pub(super) pool_names: Names,
    /// Account and pool name of each pool, as places of the two lists above.
    pub(super) keys: Vec<(u32, u32)>,
    pub(super) heads: Vec<PoolHead>,
    pub(super) blocks: Vec<Block>,
    /// All initial rates of the schedules and all chosen ones, ascending, after a zero.
    pub(super) rates: Vec<Rate>,
    pub(super) lanes: Lanes,
    pub(super) wide: Wide,
    /// Chosen rates that hold for one instrument of a pool.
    pub(super) chosen_for: BTreeMap<(usize, InstrumentId), Rate>,
    /// The table of the last prices: most scans change few of them.
    pub(super) prepared: Prepared,
}

impl Portfolio {
    /// How many rows (what a pool holds in one asset) are in the 64-bit lanes, prices aside.
    #[must_use]
    pub fn lane_count(&self) -> usize {
        self.blocks.iter().map(Block::lane_count).sum()
    }

    /// Bytes held.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let keys = self.keys.capacity() * size_of::<(u32, u32)>();
        let heads = self.heads.capacity() * size_of::<PoolHead>();
        let blocks = self.blocks.capacity() * size_of::<Block>();
        let held = self.blocks.iter().map(Block::bytes).sum::<usize>();
        Memory {
            names: self.accounts.bytes() + self.pool_names.bytes() + keys,
            pools: held + heads + blocks,
        }
    }

    /// All pools, in order.
    pub fn pools(&self) -> impl Iterator<Item = PoolId> + use<> {
        (0..self.len()).map(PoolId)
    }

    fn key_at(&self, place: usize) -> Option<(&str, &str)> {
        let (account, name) = self.keys.get(place)?;
        Some((self.accounts.name(*account), self.pool_names.name(*name)))
    }

    pub(super) fn pool_head(&self, pool: PoolId) -> Result<PoolHead> {
        self.heads.get(pool.0).copied().ok_or_else(no_such_pool)
    }

    /// The block of a pool, and its number there.
    pub(super) fn block(&self, pool: PoolId) -> Result<(&Block, usize)> {
        let block = self.blocks.get(pool.0 / POOLS_PER_BLOCK);
        Ok((block.ok_or_else(|| Error::invariant("pool place"))?, pool.0 % POOLS_PER_BLOCK))
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context { venue: &self.venue, rates: &self.rates, lanes: &self.lanes }
    }

    /// The pool of an account with this name.
    ///
    /// # Errors
    /// `unknown_account`.
    pub fn find(&self, account: &str, pool: &str) -> Result<PoolId> {
        let place = self.partition(|key| key < (account, pool));
        if self.key_at(place) == Some((account, pool)) {
            return Ok(PoolId(place));
        }
        let names: Vec<_> = self.of_account(account).filter_map(|id| self.key(id).ok()).collect();
        let limit = if names.is_empty() {
            "no row of any table names this account".to_owned()
        } else {
            let names: Vec<_> = names.iter().map(|(_, p)| *p).collect();
            format!("this account has the pools {}", names.join(", "))
        };
        Err(Error::new(ErrorKind::UnknownAccount, "account", format!("{account}/{pool}"), limit))
    }

    fn partition(&self, before: impl Fn((&str, &str)) -> bool) -> usize {
        self.keys.partition_point(|(account, name)| {
            before((self.accounts.name(*account), self.pool_names.name(*name)))
        })
    }

    /// The pools of an account.
    pub fn of_account(&self, account: &str) -> impl Iterator<Item = PoolId> + use<> {
        let start = self.partition(|(a, _)| a.cmp(account) == Ordering::Less);
        let end = self.partition(|(a, _)| a.cmp(account) != Ordering::Greater);
        (start..end).map(PoolId)
    }

    /// The first pool that holds an instrument.
    pub(super) fn first_holder(&self, id: InstrumentId) -> Option<PoolId> {
        let first = |(number, block): (usize, &Block)| {
            let pool = block.first_holder(id, &self.context())?;
            Some(PoolId(number * POOLS_PER_BLOCK + pool))
        };
        self.blocks.iter().enumerate().find_map(first)
    }

    /// The open interest of each instrument, in the venue's order.
    ///
    /// # Errors
    /// `invariant_broken` only.
    pub fn open_interest(&self) -> Result<Vec<OpenInterest>> {
        let mut found = vec![OpenInterest::default(); self.venue.instruments().len()];
        for (instrument, lots) in self.blocks.iter().flat_map(|b| b.positions(&self.lanes)) {
            let slot = found.get_mut(usize::from(instrument));
            let of = slot.ok_or_else(|| Error::invariant("instrument place"))?;
            // At most 2^28 pools of 4,096 legs of 10^18 lots.
            let size = i128::from(lots).abs();
            let (total, count) = match lots.cmp(&0) {
                Ordering::Greater => (&mut of.long, &mut of.long_legs),
                Ordering::Less => (&mut of.short, &mut of.short_legs),
                Ordering::Equal => continue,
            };
            *total += size;
            *count += 1;
        }
        Ok(found)
    }

    /// The digest of the venue's card and everything held.
    ///
    /// # Errors
    /// `invariant_broken` only.
    pub fn digest(&self) -> Result<Digest> {
        let mut c = Canonical::of("aivora-portfolio/1");
        c.text(&self.venue.digest().to_string()).length(self.len());
        for pool in self.pools() {
            let ((account, name), head) = (self.key(pool)?, self.head(pool)?);
            c.text(account).text(name).text(head.kind.name()).int(head.multi).int(head.asset.0);
            let balances = self.balances(pool)?;
            c.length(balances.len());
            for balance in balances {
                c.int(balance.asset.0).int(balance.amount).int(balance.interest);
            }
            let legs = self.legs(pool)?;
            c.length(legs.len());
            for leg in legs {
                c.int(leg.instrument.0).text(leg.side.name()).int(leg.lots).int(leg.cost);
                c.int(leg.accrued).int(leg.bids).int(leg.asks);
                c.text(&leg.chosen.map_or(String::new(), |r| r.to_string()));
            }
        }
        Ok(c.digest())
    }
}

impl Holdings for Portfolio {
    fn venue(&self) -> &Arc<Venue> {
        &self.venue
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    fn leg_count(&self) -> usize {
        self.blocks.iter().map(Block::leg_count).sum()
    }

    fn key(&self, pool: PoolId) -> Result<(&str, &str)> {
        self.key_at(pool.0).ok_or_else(no_such_pool)
    }

    fn head(&self, pool: PoolId) -> Result<Head> {
        Ok(self.pool_head(pool)?.head)
    }

    fn each_row(
        &self,
        pool: PoolId,
        mut row: impl FnMut(&Balance, &[Leg]) -> Result<()>,
    ) -> Result<()> {
        let (block, number) = self.block(pool)?;
        for place in block.rows_of(number) {
            let legs = block.row_legs(place, &self.context())?;
            row(&Balance::from(block.holding(place)?), &legs)?;
        }
        Ok(())
    }

    fn verdicts(&self, prices: &Prices) -> Result<Vec<bool>> {
        self.liquidatable(prices, 1)
    }

    fn pay(&mut self, asset: AssetId, payments: &[Payment]) -> Result<()> {
        self.take(asset, payments)
    }

    fn gaps(&self, prices: &Prices) -> Result<Vec<(i128, i128)>> {
        let report = self.check(prices, 1)?;
        Ok(report.equity.iter().zip(report.maintenance.iter()).collect())
    }
}

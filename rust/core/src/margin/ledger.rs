//! Pools that change with every event: each with its own lists, opened one by one. What an engine runs on; a
//! [`Portfolio`] is packed for scans and holds the same.

use std::collections::HashMap;
use std::sync::Arc;

use crate::data::{AssetId, Instrument, InstrumentId, Venue};
use crate::numbers::limits::{LEGS_MAX, LOTS_MAX, QUANTA_MAX, ROWS_MAX};
use crate::numbers::{Error, ErrorKind, Lots, Quanta, Rate, Result};
use crate::pricing::Prices;

use super::assess::assess_here;
use super::builder::{PoolKey, PortfolioBuilder, check_signs};
use super::funding::Payment;
use super::holdings::{Head, Holdings};
use super::leg::{Leg, LegSide, PoolKind};
use super::names::Names;
use super::portfolio::{Balance, PoolId, Portfolio};
use super::requirement::{RateOf, terms};
use super::update::{Position, same_grids_of};

/// One pool: what it is, and what it holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Pool {
    account: u32,
    name: u32,
    head: Head,
    /// By the asset they settle in, then by instrument and side.
    legs: Vec<Leg>,
    /// By asset; that of a pool of one asset is always there.
    balances: Vec<Balance>,
    chosen: Option<Rate>,
    chosen_for: Vec<(InstrumentId, Rate)>,
}

/// Pools in the order in which they were opened.
#[derive(Debug, Clone)]
pub struct Ledger {
    venue: Arc<Venue>,
    accounts: Names,
    pool_names: Names,
    places: HashMap<(u32, u32), u32>,
    /// The pools of each account, in the order in which they were opened.
    of_account: Vec<Vec<PoolId>>,
    pools: Vec<Pool>,
    /// Pools that may have changed since they were last asked for, and whether each is among them.
    changed: Vec<PoolId>,
    is_changed: Vec<bool>,
}

fn lost() -> Error {
    Error::invariant("pool place")
}

impl Clone for Pool {
    fn clone(&self) -> Self {
        let mut new = Self::nothing();
        new.clone_from(self);
        new
    }

    /// Takes no memory where there is enough.
    fn clone_from(&mut self, other: &Self) {
        (self.account, self.name, self.head) = (other.account, other.name, other.head);
        self.legs.clone_from(&other.legs);
        self.balances.clone_from(&other.balances);
        self.chosen = other.chosen;
        self.chosen_for.clone_from(&other.chosen_for);
    }
}

impl Pool {
    /// Holds nothing: a place to save another into.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            account: 0,
            name: 0,
            head: Head { kind: PoolKind::Cross, multi: false, asset: AssetId(0) },
            legs: Vec::new(),
            balances: Vec::new(),
            chosen: None,
            chosen_for: Vec::new(),
        }
    }

    /// What it is.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Its legs, by the asset they settle in, then by instrument and side.
    #[must_use]
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// Its balances, by asset.
    #[must_use]
    pub fn balances(&self) -> &[Balance] {
        &self.balances
    }

    /// The leg of an instrument and side.
    #[must_use]
    pub fn leg(&self, instrument: InstrumentId, side: LegSide) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.instrument == instrument && leg.side == side)
    }

    /// The balance in an asset, and the interest owed on it.
    #[must_use]
    pub fn balance(&self, asset: AssetId) -> Option<Balance> {
        self.balances.iter().find(|balance| balance.asset == asset).copied()
    }

    /// The rate of the leverage chosen for an instrument.
    #[must_use]
    pub fn chosen(&self, instrument: InstrumentId) -> Option<Rate> {
        let own = self.chosen_for.iter().find(|(id, _)| *id == instrument);
        own.map(|(_, rate)| *rate).or(self.chosen)
    }

    /// The rate chosen for all of it, if one is.
    #[must_use]
    pub fn chosen_rate(&self) -> Option<Rate> {
        self.chosen
    }

    /// The rates chosen for some of its instruments.
    #[must_use]
    pub fn chosen_for(&self) -> &[(InstrumentId, Rate)] {
        &self.chosen_for
    }

    /// Whether it holds no position and has no open order.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.legs.iter().all(Leg::is_empty)
    }
}

impl Ledger {
    /// No pool yet.
    #[must_use]
    pub fn new(venue: Arc<Venue>) -> Self {
        Self {
            venue,
            accounts: Names::default(),
            pool_names: Names::default(),
            places: HashMap::new(),
            of_account: Vec::new(),
            pools: Vec::new(),
            changed: Vec::new(),
            is_changed: Vec::new(),
        }
    }

    /// Opens a pool. One of a single asset holds that of the card where none is named.
    ///
    /// # Errors
    /// `duplicate_key` for one that is there; `bad_collateral` for several assets where the card values none; `limit_exceeded`.
    pub fn open(
        &mut self,
        key: PoolKey<'_>,
        kind: PoolKind,
        multi: bool,
        asset: Option<AssetId>,
    ) -> Result<PoolId> {
        let rules = self.venue.rules();
        let held_in = match (multi, rules.valuation) {
            (false, _) => asset.unwrap_or(rules.settlement_id),
            (true, Some(valuation)) => valuation,
            (true, None) => {
                let limit = "the card names no valuation asset: its pools hold one asset";
                return Err(Error::new(ErrorKind::BadCollateral, "multi", "true", limit));
            }
        };
        self.venue.asset(held_in)?;
        if self.pools.len() >= ROWS_MAX {
            let limit = format!("at most {ROWS_MAX} pools");
            return Err(Error::new(ErrorKind::LimitExceeded, "pools", "more", limit));
        }
        let place = u32::try_from(self.pools.len()).map_err(|_| lost())?;
        let (account, name) = (self.accounts.place(key.account)?, self.pool_names.place(key.pool)?);
        if self.places.contains_key(&(account, name)) {
            let value = format!("{}/{}", key.account, key.pool);
            let limit = "this pool is open already";
            return Err(Error::new(ErrorKind::DuplicateKey, "pool", value, limit));
        }
        self.accounts.complete();
        self.pool_names.complete();
        self.places.insert((account, name), place);
        let id = PoolId(index(place));
        let count = self.accounts.len();
        self.of_account.resize(count, Vec::new());
        self.of_account.get_mut(index(account)).ok_or_else(lost)?.push(id);
        let balances = if multi { Vec::new() } else { vec![nothing_in(held_in)] };
        self.pools.push(Pool {
            account,
            name,
            head: Head { kind, multi, asset: held_in },
            legs: Vec::new(),
            balances,
            chosen: None,
            chosen_for: Vec::new(),
        });
        self.is_changed.push(true);
        self.changed.push(id);
        Ok(id)
    }

    /// A pool.
    ///
    /// # Errors
    /// `unknown_account` for a place where none is open.
    pub fn pool(&self, id: PoolId) -> Result<&Pool> {
        self.pools.get(id.0).ok_or_else(|| {
            let limit = format!("{} pools are open", self.pools.len());
            Error::new(ErrorKind::UnknownAccount, "pool", id.0, limit)
        })
    }

    fn pool_mut(&mut self, id: PoolId) -> Result<&mut Pool> {
        self.touch(id);
        self.pools.get_mut(id.0).ok_or_else(lost)
    }

    /// Notes that something about a pool has changed.
    pub(crate) fn touch(&mut self, id: PoolId) {
        if let Some(is_changed) = self.is_changed.get_mut(id.0)
            && !std::mem::replace(is_changed, true)
        {
            self.changed.push(id);
        }
    }

    /// A pool that may have changed since this was last asked, until there is none.
    pub(crate) fn next_changed(&mut self) -> Option<PoolId> {
        let pool = self.changed.pop()?;
        *self.is_changed.get_mut(pool.0)? = false;
        Some(pool)
    }

    /// Reads ahead a pool.
    pub(crate) fn read_ahead_pool(&self, id: PoolId) {
        aivora_simd::read_ahead(&self.pools, id.0);
        aivora_simd::read_ahead(&self.is_changed, id.0);
    }

    /// Reads ahead what a pool holds; the pool itself is here already.
    pub(crate) fn read_ahead_holdings(&self, id: PoolId) {
        let Some(pool) = self.pools.get(id.0) else { return };
        for leg in 0..pool.legs.len().min(6) {
            aivora_simd::read_ahead(&pool.legs, leg);
        }
        aivora_simd::read_ahead(&pool.balances, 0);
    }

    /// The pool of an account with this name, if it is open.
    #[must_use]
    pub fn find(&self, account: &str, pool: &str) -> Option<PoolId> {
        let place = (self.accounts.known(account)?, self.pool_names.known(pool)?);
        self.places.get(&place).map(|place| PoolId(index(*place)))
    }

    /// The number of the account of a pool, in the order in which accounts were first seen.
    ///
    /// # Errors
    /// As [`Ledger::pool`].
    pub fn account(&self, id: PoolId) -> Result<usize> {
        Ok(index(self.pool(id)?.account))
    }

    /// The name of an account.
    ///
    /// # Errors
    /// `invariant_broken` for a number that no account has.
    pub fn account_name(&self, account: usize) -> Result<&str> {
        let place = u32::try_from(account).ok().filter(|_| account < self.accounts.len());
        place.map(|place| self.accounts.name(place)).ok_or_else(lost)
    }

    /// The pools of the account of a pool, in the order in which they were opened.
    ///
    /// # Errors
    /// As [`Ledger::pool`].
    pub fn siblings(&self, id: PoolId) -> Result<&[PoolId]> {
        let account = self.pool(id)?.account;
        Ok(self.of_account.get(index(account)).ok_or_else(lost)?)
    }

    /// Writes what `into` then holds back with [`Ledger::restore`].
    ///
    /// # Errors
    /// As [`Ledger::pool`].
    pub fn save(&self, id: PoolId, into: &mut Pool) -> Result<()> {
        into.clone_from(self.pool(id)?);
        Ok(())
    }

    /// Gives a pool what another holds, of other holdings of the same venue; its names stay.
    ///
    /// # Errors
    /// As [`Ledger::pool`].
    pub(crate) fn adopt(&mut self, id: PoolId, other: &mut Pool) -> Result<()> {
        let own = self.pool_mut(id)?;
        (other.account, other.name) = (own.account, own.name);
        own.clone_from(other);
        Ok(())
    }

    /// Makes a pool what it was when it was saved.
    ///
    /// # Errors
    /// `invariant_broken` for a place where none is open.
    pub fn restore(&mut self, id: PoolId, with: &Pool) -> Result<()> {
        self.pool_mut(id)?.clone_from(with);
        Ok(())
    }

    /// Sets a leg: it is taken away where nothing is left on it. The leverage is that which the pool has chosen.
    ///
    /// # Errors
    /// `bad_leg`, `bad_collateral`, `limit_exceeded` and `overflow` as [`Portfolio::set_position`]. Nothing is changed then.
    pub fn set_leg(&mut self, id: PoolId, leg: Leg) -> Result<()> {
        let Self { venue, pools, .. } = &mut *self;
        let instrument = venue.instrument(leg.instrument)?;
        let lots = Lots::new(i128::from(leg.lots), "lots")?;
        let cost = Quanta::new(leg.cost, "cost")?;
        check_signs(venue, leg.instrument, leg.side, lots, cost)?;
        if leg.bids.max(leg.asks) > LOTS_MAX || leg.exposure() > i128::from(LOTS_MAX) {
            return Err(Error::overflow("exposure", instrument.symbol()));
        }
        if instrument.tiers().grow_with_size() {
            terms(instrument, RateOf::Initial, 0, leg.exposure())?;
        }
        let pool = pools.get(id.0).ok_or_else(lost)?;
        let multi = pool.head.multi;
        let rank = |leg: &Leg| {
            // In a pool of one asset all settle in it.
            let asset = if multi {
                venue.instrument(leg.instrument).map_or(usize::MAX, |i| i.settlement().index())
            } else {
                0
            };
            (asset, leg.instrument, leg.side)
        };
        let key = rank(&leg);
        let at = pool.legs.partition_point(|other| rank(other) < key);
        let known = pool.legs.get(at).is_some_and(|other| rank(other) == key);
        if !known {
            self.admits(id, &leg)?;
        }
        let pool = self.pool_mut(id)?;
        let leg = Leg { chosen: pool.chosen(leg.instrument), ..leg };
        match (known, leg.is_empty()) {
            (true, true) => drop(pool.legs.remove(at)),
            (true, false) => *pool.legs.get_mut(at).ok_or_else(lost)? = leg,
            (false, true) => {}
            (false, false) => pool.legs.insert(at, leg),
        }
        Ok(())
    }

    /// Adds to the open bids and asks of a leg, in lots: it is there while anything is on it.
    ///
    /// # Errors
    /// As [`Ledger::set_leg`].
    pub(crate) fn add_orders(
        &mut self,
        id: PoolId,
        (instrument, side): (InstrumentId, LegSide),
        [bids, asks]: [i64; 2],
    ) -> Result<()> {
        let pool = self.pool(id)?;
        let found = pool.legs.iter().position(|l| (l.instrument, l.side) == (instrument, side));
        let old = found.and_then(|at| pool.legs.get(at)).copied();
        let old = old.unwrap_or_else(|| Leg::empty(instrument, side));
        let overflow = || Error::overflow("orders", old.bids);
        let bids = old.bids.checked_add(bids).ok_or_else(overflow)?;
        let asks = old.asks.checked_add(asks).ok_or_else(overflow)?;
        let leg = Leg { bids, asks, ..old };
        let grows = self.venue.instrument(instrument)?.tiers().grow_with_size();
        let most = leg.exposure_in_64().map(|exposure| exposure.max(bids).max(asks));
        let fits = most.is_some_and(|most| most <= LOTS_MAX);
        if let Some(at) = found.filter(|_| !grows && fits && !leg.is_empty()) {
            let own = self.pool_mut(id)?.legs.get_mut(at).ok_or_else(lost)?;
            (own.bids, own.asks) = (bids, asks);
            return Ok(());
        }
        self.set_leg(id, leg)
    }

    /// Refuses a new leg that the pool may not have.
    ///
    /// # Errors
    /// `bad_collateral`, `bad_leg`, `limit_exceeded`.
    pub(crate) fn admits(&self, id: PoolId, leg: &Leg) -> Result<()> {
        let pool = self.pool(id)?;
        let instrument = self.venue.instrument(leg.instrument)?;
        let value = || format!("{} {} {}", self.label(id), instrument.symbol(), leg.side.name());
        let refuse = |kind, limit: &str| Err(Error::new(kind, "leg", value(), limit));
        if !pool.head.multi && instrument.settlement() != pool.head.asset {
            return refuse(ErrorKind::BadCollateral, "settles in another asset than the pool's");
        }
        for other in &pool.legs {
            if other.instrument != leg.instrument {
                if pool.head.kind == PoolKind::Isolated {
                    return refuse(ErrorKind::BadLeg, "an isolated pool holds one instrument");
                }
            } else if other.side == LegSide::Net || leg.side == LegSide::Net {
                let limit = "a pool holds either a net leg or long and short legs of an instrument";
                return refuse(ErrorKind::BadLeg, limit);
            }
        }
        if pool.legs.len() >= LEGS_MAX {
            return refuse(ErrorKind::LimitExceeded, "too many legs in one pool");
        }
        Ok(())
    }

    /// Adds to the balance of a pool in an asset; a negative amount takes from it.
    ///
    /// # Errors
    /// `bad_collateral` for another asset than a pool's one; `overflow`. Nothing is changed then.
    pub fn add_balance(&mut self, id: PoolId, asset: AssetId, quanta: i128) -> Result<()> {
        let pool = self.pool(id)?;
        if !pool.head.multi && asset != pool.head.asset {
            let value = format!("{}: {}", self.label(id), self.venue.asset(asset)?.name());
            let own = self.venue.asset(pool.head.asset)?.name();
            let limit = format!("this pool holds {own} alone");
            return Err(Error::new(ErrorKind::BadCollateral, "asset", value, limit));
        }
        let at = pool.balances.partition_point(|balance| balance.asset < asset);
        let known = pool.balances.get(at).filter(|balance| balance.asset == asset).copied();
        let old = known.unwrap_or_else(|| nothing_in(asset));
        let amount = old.amount.checked_add(quanta);
        let amount = amount.filter(|a| a.unsigned_abs() <= QUANTA_MAX.unsigned_abs());
        let name = || self.venue.asset(asset).map_or("?", |asset| asset.name());
        let new =
            Balance { amount: amount.ok_or_else(|| Error::overflow("balance", name()))?, ..old };
        let pool = self.pool_mut(id)?;
        let keep = !pool.head.multi || new.amount != 0 || new.interest != 0;
        match (known, keep) {
            (Some(_), true) => *pool.balances.get_mut(at).ok_or_else(lost)? = new,
            (Some(_), false) => drop(pool.balances.remove(at)),
            (None, true) => pool.balances.insert(at, new),
            (None, false) => {}
        }
        Ok(())
    }

    /// Chooses the rate of a leverage for a pool, or for one instrument of it; none takes the choice back.
    ///
    /// # Errors
    /// As [`Ledger::pool`].
    pub fn set_chosen(
        &mut self,
        id: PoolId,
        instrument: Option<InstrumentId>,
        rate: Option<Rate>,
    ) -> Result<()> {
        self.pool(id)?;
        let pool = self.pool_mut(id)?;
        match instrument {
            None => pool.chosen = rate,
            Some(own) => {
                pool.chosen_for.retain(|(id, _)| *id != own);
                pool.chosen_for.extend(rate.map(|rate| (own, rate)));
                pool.chosen_for.sort_unstable_by_key(|(id, _)| *id);
            }
        }
        for at in 0..pool.legs.len() {
            let rate = pool.legs.get(at).and_then(|leg| pool.chosen(leg.instrument));
            if let Some(leg) = pool.legs.get_mut(at) {
                leg.chosen = rate;
            }
        }
        Ok(())
    }

    /// The same pools under another card of the same instruments and assets, with perhaps more instruments behind them.
    ///
    /// # Errors
    /// `bad_card` for a card of others.
    pub fn under(&self, venue: Arc<Venue>) -> Result<Self> {
        same_grids_of(&self.venue, &venue)?;
        Ok(Self { venue, ..self.clone() })
    }

    /// All of it, packed for scans.
    ///
    /// # Errors
    /// Those of [`PortfolioBuilder`].
    pub fn packed(&self) -> Result<Portfolio> {
        let mut builder = PortfolioBuilder::new(Arc::clone(&self.venue));
        for (at, own) in self.pools.iter().enumerate() {
            let (account, pool) = self.key(PoolId(at))?;
            let place = builder.pool(PoolKey { account, pool })?;
            builder.kind(place, own.head.kind)?;
            builder.multi(place, own.head.multi)?;
            for balance in &own.balances {
                let amount = Quanta::new(balance.amount, "balance")?;
                let interest = Quanta::new(balance.interest, "interest")?;
                builder.balance(place, balance.asset, amount, interest)?;
            }
            for leg in &own.legs {
                let position = Position::of(leg)?;
                let Position { lots, cost, accrued } = position;
                builder.position(place, leg.instrument, leg.side, lots, cost, accrued)?;
                for (buy, lots) in [(true, leg.bids), (false, leg.asks)] {
                    if lots > 0 {
                        let lots = Lots::new(i128::from(lots), "order")?;
                        builder.order(place, leg.instrument, leg.side, buy, lots)?;
                    }
                }
            }
            let chosen = own.chosen.map(|rate| (None, rate)).into_iter();
            for (id, rate) in chosen.chain(own.chosen_for.iter().map(|(id, r)| (Some(*id), *r))) {
                builder.leverage(place, id, rate.inverse("leverage")?)?;
            }
        }
        builder.build()
    }
}

fn nothing_in(asset: AssetId) -> Balance {
    Balance { asset, amount: 0, interest: 0 }
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

impl Holdings for Ledger {
    fn venue(&self) -> &Arc<Venue> {
        &self.venue
    }

    fn len(&self) -> usize {
        self.pools.len()
    }

    fn leg_count(&self) -> usize {
        self.pools.iter().map(|pool| pool.legs.len()).sum()
    }

    fn key(&self, id: PoolId) -> Result<(&str, &str)> {
        let pool = self.pools.get(id.0).ok_or_else(lost)?;
        Ok((self.accounts.name(pool.account), self.pool_names.name(pool.name)))
    }

    fn head(&self, id: PoolId) -> Result<Head> {
        self.pools.get(id.0).map(|pool| pool.head).ok_or_else(lost)
    }

    fn each_row(
        &self,
        id: PoolId,
        mut row: impl FnMut(&Balance, &[Leg]) -> Result<()>,
    ) -> Result<()> {
        let pool = self.pools.get(id.0).ok_or_else(lost)?;
        if !pool.head.multi {
            let balance = pool.balances.first().ok_or_else(lost)?;
            return row(balance, &pool.legs);
        }
        let settles = |leg: &Leg| self.venue.instrument(leg.instrument).map(Instrument::settlement);
        let (mut legs, mut balances) = (pool.legs.as_slice(), pool.balances.iter().peekable());
        loop {
            let of_legs = legs.first().map(settles).transpose()?;
            let asset = match (of_legs, balances.peek()) {
                (Some(asset), Some(balance)) => asset.min(balance.asset),
                (Some(asset), None) => asset,
                (None, Some(balance)) => balance.asset,
                (None, None) => return Ok(()),
            };
            let count = legs.iter().take_while(|leg| settles(leg).ok() == Some(asset)).count();
            let (own, after) = legs.split_at_checked(count).ok_or_else(lost)?;
            legs = after;
            let balance = balances.next_if(|balance| balance.asset == asset);
            row(balance.unwrap_or(&nothing_in(asset)), own)?;
        }
    }

    fn verdicts(&self, prices: &Prices) -> Result<Vec<bool>> {
        (0..self.len()).map(|at| Ok(assess_here(self, PoolId(at), prices)?.liquidatable)).collect()
    }

    fn pay(&mut self, asset: AssetId, payments: &[Payment]) -> Result<()> {
        for (done, payment) in payments.iter().enumerate() {
            let taken = payment.quanta.checked_neg().ok_or_else(lost)?;
            if let Err(error) = self.add_balance(payment.pool, asset, taken) {
                for payment in payments.iter().take(done) {
                    self.add_balance(payment.pool, asset, payment.quanta)?;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn gaps(&self, prices: &Prices) -> Result<Vec<(i128, i128)>> {
        let gap = |at| assess_here(self, PoolId(at), prices).map(|m| (m.equity, m.maintenance));
        (0..self.len()).map(gap).collect()
    }
}

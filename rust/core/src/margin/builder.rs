//! From rows in any order to a packed portfolio.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::data::{AssetId, InstrumentId, Tiers, Venue};
use crate::numbers::limits::{LEGS_MAX, LOTS_MAX, ROWS_MAX};
use crate::numbers::{Error, ErrorKind, Lots, Quanta, Rate, Result};

use super::check::Prepared;
use super::holdings::Head;
use super::lanes::Lanes;
use super::leg::{Leg, LegSide, PoolKind};
use super::names::Names;
use super::portfolio::{PoolHead, Portfolio};
use super::store::{Context, Draft, Holding, POOLS_PER_BLOCK, Packer, rank};
use super::wide::Wide;

/// Which pool a row speaks of.
#[derive(Debug, Clone, Copy)]
pub struct PoolKey<'a> {
    /// The account.
    pub account: &'a str,
    /// The pool's name within the account.
    pub pool: &'a str,
}

/// No further item of a chain.
const NONE: u32 = u32::MAX;

/// What is known of a pool so far; its legs and balances are chains in the builder's lists.
#[derive(Debug, Clone, Copy)]
struct PoolDraft {
    account: u32,
    name: u32,
    /// The next pool of the same account.
    next: u32,
    legs: u32,
    balances: u32,
    leg_count: u32,
    kind: Option<PoolKind>,
    multi: Option<bool>,
    /// The place of its chosen rate.
    chosen: u32,
}

/// A leg so far: what most legs have, and the place of the rest where there is more.
#[derive(Debug, Clone, Copy)]
struct LegDraft {
    lots: i64,
    cost: i64,
    next: u32,
    more: u32,
    instrument: InstrumentId,
    side: LegSide,
    /// A position was given for it, not only orders.
    given: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct More {
    cost: i128,
    accrued: i128,
    bids: i64,
    asks: i64,
}

/// A balance so far; what is past 64 bits, or owes interest, stands apart.
#[derive(Debug, Clone, Copy)]
struct BalanceDraft {
    amount: i64,
    next: u32,
    more: u32,
    asset: AssetId,
}

/// A pool of a builder, found once for many rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolPlace(u32);

/// Collects rows in any order; the portfolio it builds does not depend on the order.
#[derive(Debug)]
pub struct PortfolioBuilder {
    venue: Arc<Venue>,
    accounts: Names,
    pool_names: Names,
    /// The first pool of each account.
    of_account: Vec<u32>,
    pools: Vec<PoolDraft>,
    legs: Vec<LegDraft>,
    more: Vec<More>,
    balances: Vec<BalanceDraft>,
    /// Balance and interest of those that stand apart.
    more_balances: Vec<(i128, i128)>,
    /// Each chosen rate once, and the place of each.
    rates: Vec<Rate>,
    places: HashMap<Rate, u32>,
    chosen_for: HashMap<(u32, InstrumentId), u32>,
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

fn place(length: usize, what: &str) -> Result<u32> {
    u32::try_from(length).ok().filter(|_| length < ROWS_MAX).ok_or_else(|| {
        Error::new(ErrorKind::LimitExceeded, what, "more", format!("at most {ROWS_MAX}"))
    })
}

fn lost() -> Error {
    Error::invariant("draft place")
}

impl PortfolioBuilder {
    /// Nothing yet.
    #[must_use]
    pub fn new(venue: Arc<Venue>) -> Self {
        Self {
            venue,
            accounts: Names::default(),
            pool_names: Names::default(),
            of_account: Vec::new(),
            pools: Vec::new(),
            legs: Vec::new(),
            more: Vec::new(),
            balances: Vec::new(),
            more_balances: Vec::new(),
            rates: Vec::new(),
            places: HashMap::new(),
            chosen_for: HashMap::new(),
        }
    }

    /// Makes room for so many more positions and balances: only time is saved.
    pub fn reserve(&mut self, positions: usize, balances: usize) {
        // No more than may come, whatever is said.
        self.legs.reserve(positions.min(ROWS_MAX - self.legs.len().min(ROWS_MAX)));
        self.balances.reserve(balances.min(ROWS_MAX - self.balances.len().min(ROWS_MAX)));
    }

    /// The place of a pool, which is added when it is new.
    ///
    /// # Errors
    /// `bad_column` for an empty name; `limit_exceeded`.
    pub fn pool(&mut self, key: PoolKey<'_>) -> Result<PoolPlace> {
        for (field, text) in [("account", key.account), ("pool", key.pool)] {
            if text.is_empty() {
                return Err(Error::new(ErrorKind::BadColumn, field, "\"\"", "must not be empty"));
            }
        }
        let account = self.accounts.place(key.account)?;
        // Neighbours are mostly pools of one name.
        let last = self.pools.last().map(|pool| pool.name);
        let name = match last.filter(|last| self.pool_names.name(*last) == key.pool) {
            Some(last) => last,
            None => self.pool_names.place(key.pool)?,
        };
        if self.of_account.len() < self.accounts.len() {
            self.of_account.resize(self.accounts.len(), NONE);
        }
        let first = self.of_account.get_mut(index(account)).ok_or_else(lost)?;
        let mut at = *first;
        while let Some(pool) = self.pools.get(index(at)) {
            if pool.name == name {
                return Ok(PoolPlace(at));
            }
            at = pool.next;
        }
        let added = place(self.pools.len(), "pools")?;
        self.pools.push(PoolDraft {
            account,
            name,
            next: std::mem::replace(first, added),
            legs: NONE,
            balances: NONE,
            leg_count: 0,
            kind: None,
            multi: None,
            chosen: NONE,
        });
        Ok(PoolPlace(added))
    }

    fn draft(&mut self, pool: PoolPlace) -> Result<&mut PoolDraft> {
        self.pools.get_mut(index(pool.0)).ok_or_else(lost)
    }

    fn label(&self, pool: PoolPlace) -> String {
        self.pools.get(index(pool.0)).map_or_else(String::new, |p| {
            format!("{}/{}", self.accounts.name(p.account), self.pool_names.name(p.name))
        })
    }

    fn duplicate(&self, field: &str, pool: PoolPlace, limit: &str) -> Error {
        Error::new(ErrorKind::DuplicateKey, field, self.label(pool), limit)
    }

    /// Declares a pool's kind; saying the same again is allowed.
    ///
    /// # Errors
    /// `duplicate_key` when another kind was declared before.
    pub fn kind(&mut self, pool: PoolPlace, kind: PoolKind) -> Result<()> {
        if *self.draft(pool)?.kind.get_or_insert(kind) == kind {
            return Ok(());
        }
        Err(self.duplicate("pool", pool, "two different kinds are declared"))
    }

    /// Declares that a pool holds several assets, or one; saying the same again is allowed.
    ///
    /// # Errors
    /// `bad_collateral` where the venue has no valuation asset; `duplicate_key` when the other was declared before.
    pub fn multi(&mut self, pool: PoolPlace, multi: bool) -> Result<()> {
        if multi && self.venue.rules().valuation.is_none() {
            let limit = "the card names no valuation asset: its pools hold one asset each";
            return Err(Error::new(ErrorKind::BadCollateral, "mode", "multi", limit));
        }
        if *self.draft(pool)?.multi.get_or_insert(multi) == multi {
            return Ok(());
        }
        Err(self.duplicate("pool", pool, "two different modes are declared"))
    }

    /// Chooses a leverage (at least 1), for one instrument of a pool or for all of it.
    ///
    /// # Errors
    /// `out_of_range` below 1; `duplicate_key` when it was chosen before.
    pub fn leverage(
        &mut self,
        pool: PoolPlace,
        instrument: Option<InstrumentId>,
        leverage: Rate,
    ) -> Result<()> {
        if leverage < Rate::ONE {
            let limit = "must be at least 1";
            return Err(Error::new(ErrorKind::OutOfRange, "leverage", leverage, limit));
        }
        let rate = leverage.inverse("leverage")?;
        let twice = match instrument {
            None => self.draft(pool)?.chosen != NONE,
            Some(id) => self.chosen_for.contains_key(&(pool.0, id)),
        };
        if twice {
            return Err(self.duplicate("leverage", pool, "it is chosen twice"));
        }
        let rate = self.rate(rate)?;
        match instrument {
            None => self.draft(pool)?.chosen = rate,
            Some(id) => drop(self.chosen_for.insert((pool.0, id), rate)),
        }
        Ok(())
    }

    /// The place of a chosen rate, which is added when it is new.
    fn rate(&mut self, rate: Rate) -> Result<u32> {
        if let Some(place) = self.places.get(&rate) {
            return Ok(*place);
        }
        let added = place(self.rates.len(), "leverage")?;
        self.rates.push(rate);
        self.places.insert(rate, added);
        Ok(added)
    }

    /// Sets a pool's balance in an asset, and the interest owed on it.
    ///
    /// # Errors
    /// `duplicate_key` when it was set before; `out_of_range` for negative interest.
    pub fn balance(
        &mut self,
        pool: PoolPlace,
        asset: AssetId,
        amount: Quanta,
        interest: Quanta,
    ) -> Result<()> {
        if interest.get() < 0 {
            let limit = "must not be negative: it is what the account owes";
            return Err(Error::new(ErrorKind::OutOfRange, "interest", interest.get(), limit));
        }
        self.venue.asset(asset)?;
        let added = place(self.balances.len(), "collateral")?;
        let first = self.draft(pool)?.balances;
        let mut at = first;
        while let Some(balance) = self.balances.get(index(at)) {
            if balance.asset == asset {
                let name = self.venue.asset(asset)?.name();
                let limit = format!("this pool's balance in {name} is given twice");
                return Err(self.duplicate("collateral", pool, &limit));
            }
            at = balance.next;
        }
        let narrow = i64::try_from(amount.get());
        let mut more = NONE;
        if narrow.is_err() || interest.get() != 0 {
            more = place(self.more_balances.len(), "collateral")?;
            self.more_balances.push((amount.get(), interest.get()));
        }
        self.balances.push(BalanceDraft { amount: narrow.unwrap_or(0), next: first, more, asset });
        self.draft(pool)?.balances = added;
        Ok(())
    }

    /// Sets a pool's balance in the card's settlement asset, with no interest owed.
    ///
    /// # Errors
    /// `duplicate_key` when it was set before.
    pub fn collateral(&mut self, pool: PoolPlace, amount: Quanta) -> Result<()> {
        self.balance(pool, self.venue.rules().settlement_id, amount, Quanta::default())
    }

    /// The place of a pool's leg, which is added when it is new.
    fn leg(&mut self, pool: PoolPlace, id: InstrumentId, side: LegSide) -> Result<usize> {
        let added = place(self.legs.len(), "legs")?;
        let PoolDraft { legs: first, leg_count, .. } = *self.draft(pool)?;
        let mut at = first;
        while let Some(leg) = self.legs.get(index(at)) {
            if leg.instrument == id && leg.side == side {
                return Ok(index(at));
            }
            if leg.instrument == id && (leg.side == LegSide::Net || side == LegSide::Net) {
                let symbol = self.venue.instrument(id)?.symbol();
                let value = format!("{} {symbol} {}", self.label(pool), side.name());
                let limit = "a pool holds either a net leg or long and short legs of an instrument";
                return Err(Error::new(ErrorKind::BadLeg, "leg", value, limit));
            }
            at = leg.next;
        }
        if index(leg_count) >= LEGS_MAX {
            let limit = format!("at most {LEGS_MAX} legs in one pool");
            return Err(Error::new(ErrorKind::LimitExceeded, "legs", self.label(pool), limit));
        }
        self.legs.push(LegDraft {
            lots: 0,
            cost: 0,
            next: first,
            more: NONE,
            instrument: id,
            side,
            given: false,
        });
        let draft = self.draft(pool)?;
        (draft.legs, draft.leg_count) = (added, leg_count + 1);
        Ok(index(added))
    }

    /// What a leg has beside its lots and a small cost.
    fn more(&mut self, leg: usize) -> Result<&mut More> {
        let draft = self.legs.get_mut(leg).ok_or_else(lost)?;
        if draft.more == NONE {
            draft.more = place(self.more.len(), "legs")?;
            self.more.push(More { cost: i128::from(draft.cost), ..More::default() });
        }
        self.more.get_mut(index(draft.more)).ok_or_else(lost)
    }

    /// Sets the position on a leg: quantity, cost basis (signed like it; against it for an inverse contract) and what
    /// is accrued (positive when owed).
    ///
    /// # Errors
    /// `duplicate_key` for a leg given twice; `bad_leg` for signs or sides that do not fit.
    pub fn position(
        &mut self,
        pool: PoolPlace,
        instrument: InstrumentId,
        side: LegSide,
        lots: Lots,
        cost: Quanta,
        accrued: Quanta,
    ) -> Result<()> {
        check_signs(&self.venue, instrument, side, lots, cost)?;
        let leg = self.leg(pool, instrument, side)?;
        let draft = self.legs.get_mut(leg).ok_or_else(lost)?;
        if std::mem::replace(&mut draft.given, true) {
            return Err(self.duplicate("leg", pool, "this leg is given twice"));
        }
        let narrow = i64::try_from(cost.get());
        (draft.lots, draft.cost) = (lots.get(), narrow.unwrap_or(0));
        if narrow.is_err() || accrued.get() != 0 || draft.more != NONE {
            let more = self.more(leg)?;
            (more.cost, more.accrued) = (cost.get(), accrued.get());
        }
        Ok(())
    }

    /// Adds an open order of `lots` (above 0) to a leg.
    ///
    /// # Errors
    /// `out_of_range` when it is not above 0; `overflow` when the sum of a side passes the bound.
    pub fn order(
        &mut self,
        pool: PoolPlace,
        instrument: InstrumentId,
        side: LegSide,
        buy: bool,
        lots: Lots,
    ) -> Result<()> {
        if lots.get() < 1 {
            let limit = format!("must be 1 to {LOTS_MAX} lots");
            return Err(Error::new(ErrorKind::OutOfRange, "quantity", lots.get(), limit));
        }
        let leg = self.leg(pool, instrument, side)?;
        let more = self.more(leg)?;
        let total = if buy { &mut more.bids } else { &mut more.asks };
        let sum = total.checked_add(lots.get()).filter(|s| *s <= LOTS_MAX);
        *total = sum.ok_or_else(|| {
            let limit = format!("the open orders of a side must sum to at most {LOTS_MAX} lots");
            Error::new(ErrorKind::Overflow, "quantity", lots.get(), limit)
        })?;
        Ok(())
    }

    /// The portfolio, packed.
    ///
    /// # Errors
    /// `bad_leg` for an isolated pool with several instruments; `bad_collateral` for a pool of one asset whose rows
    /// are in several; `overflow` past the bounds of floor 0; `limit_exceeded` for a size at which a growing rate
    /// would pass 1.
    pub fn build(mut self) -> Result<Portfolio> {
        // What only adding rows needs is given back before the columns are made.
        self.of_account = Vec::new();
        self.places = HashMap::new();
        self.accounts = self.accounts.packed();
        self.pool_names = self.pool_names.packed();
        let order = self.order_of_pools();
        let rates = self.rates()?;
        let count = self.pools.len();
        let mut heads = Vec::with_capacity(count);
        let mut keys = Vec::with_capacity(count);
        let mut blocks = Vec::with_capacity(count.div_ceil(POOLS_PER_BLOCK));
        let lanes = Lanes::new(&self.venue, &rates);
        let context = Context { venue: &self.venue, rates: &rates, lanes: &lanes };
        let (mut draft, mut packer) = (Draft::default(), Packer::new(context));
        let ranks = self.rates.iter().map(|rate| rank(&rates, Some(*rate)));
        let mut drafting = Drafting { ranks: ranks.collect::<Result<_>>()?, keys: Vec::new() };
        for at in 0..count {
            let at = match &order {
                Some(order) => *order.get(at).ok_or_else(lost)?,
                None => place(at, "pools")?,
            };
            let pool = self.pools.get(index(at)).ok_or_else(lost)?;
            keys.push((pool.account, pool.name));
            draft.clear();
            heads.push(self.draft_pool(PoolPlace(at), &mut draft, &mut drafting)?);
            packer.push(&draft)?;
            if packer.len() == POOLS_PER_BLOCK {
                blocks.push(packer.finish());
            }
        }
        if packer.len() > 0 {
            blocks.push(packer.finish());
        }
        let wide = Wide::new(&self.venue, &rates);
        let mut chosen_for = BTreeMap::new();
        if !self.chosen_for.is_empty() {
            let sorted = order.iter().flatten().copied().zip(0..);
            let numbers: HashMap<u32, usize> = sorted.collect();
            // Without an order the pools came in theirs.
            let number = |pool: &u32| numbers.get(pool).copied().unwrap_or_else(|| index(*pool));
            for ((pool, id), place) in &self.chosen_for {
                let rate = self.chosen(*place).ok_or_else(lost)?;
                chosen_for.insert((number(pool), *id), rate);
            }
        }
        Ok(Portfolio {
            keys,
            venue: self.venue,
            accounts: self.accounts,
            pool_names: self.pool_names,
            heads,
            blocks,
            prepared: Prepared::default(),
            lanes,
            wide,
            chosen_for,
            rates,
        })
    }

    /// The places of the pools, sorted by account and pool name; none where they came so.
    fn order_of_pools(&self) -> Option<Vec<u32>> {
        let name =
            |pool: &PoolDraft| (self.accounts.name(pool.account), self.pool_names.name(pool.name));
        let count = u32::try_from(self.pools.len()).unwrap_or(NONE);
        if self.pools.is_sorted_by(|p, q| name(p) < name(q)) {
            return None;
        }
        let names = |place: u32| self.pools.get(index(place)).map(name);
        // Most names differ in their first bytes: those are compared first, without a look at the names.
        let first_bytes = |place: u32| {
            let mut bytes = [0_u8; 8];
            let account = names(place).map_or("", |(account, _)| account);
            bytes.iter_mut().zip(account.bytes()).for_each(|(to, from)| *to = from);
            u64::from_be_bytes(bytes)
        };
        let mut keyed: Vec<(u64, u32)> = (0..count).map(|p| (first_bytes(p), p)).collect();
        keyed.sort_unstable_by(|(a, p), (b, q)| a.cmp(b).then_with(|| names(*p).cmp(&names(*q))));
        Some(keyed.into_iter().map(|(_, place)| place).collect())
    }

    /// All initial rates of the schedules and all chosen ones, ascending, after a zero.
    fn rates(&self) -> Result<Vec<Rate>> {
        let mut rates = vec![Rate::ZERO];
        for instrument in self.venue.instruments() {
            if let Tiers::Brackets { brackets, .. } = instrument.tiers() {
                rates.extend(brackets.iter().map(|b| b.initial));
            }
        }
        rates.extend_from_slice(&self.rates);
        tidy(&mut rates)?;
        Ok(rates)
    }

    /// The chosen rate at a place.
    fn chosen(&self, place: u32) -> Option<Rate> {
        self.rates.get(index(place)).copied()
    }

    /// Makes the draft of a pool.
    fn draft_pool(
        &self,
        at: PoolPlace,
        draft: &mut Draft,
        Drafting { ranks, keys }: &mut Drafting,
    ) -> Result<PoolHead> {
        let pool = self.pools.get(index(at.0)).ok_or_else(lost)?;
        let kind = pool.kind.unwrap_or(PoolKind::Cross);
        let of_pool = self.chosen(pool.chosen);
        keys.clear();
        let mut next = pool.legs;
        while let Some(leg) = self.legs.get(index(next)) {
            // By instrument, then by side.
            let side = match leg.side {
                LegSide::Net => 0,
                LegSide::Long => 1,
                LegSide::Short => 2,
            };
            keys.push(u64::from(leg.instrument.0) << 34 | side << 32 | u64::from(next));
            next = leg.next;
        }
        keys.sort_unstable();
        for key in keys.iter() {
            let place = u32::try_from(key & u64::from(u32::MAX)).unwrap_or(NONE);
            let leg = self.legs.get(index(place)).ok_or_else(lost)?;
            let (instrument, side) = (leg.instrument, leg.side);
            let More { cost, accrued, bids, asks } = match self.more.get(index(leg.more)) {
                Some(more) => *more,
                None => More { cost: i128::from(leg.cost), ..More::default() },
            };
            let own = || self.chosen(*self.chosen_for.get(&(at.0, instrument))?);
            let chosen = if self.chosen_for.is_empty() { None } else { own() }.or(of_pool);
            let leg = Leg { instrument, side, lots: leg.lots, cost, accrued, bids, asks, chosen };
            if !leg.is_empty() {
                draft.legs.push(leg);
            }
        }
        let legs = &draft.legs;
        if kind == PoolKind::Isolated && legs.windows(2).any(|w| differ(w, |l| l.instrument)) {
            let limit = "an isolated pool holds one instrument";
            return Err(Error::new(ErrorKind::BadLeg, "instrument", self.label(at), limit));
        }
        let mut next = pool.balances;
        while let Some(balance) = self.balances.get(index(next)) {
            let narrow = (i128::from(balance.amount), 0);
            let more = self.more_balances.get(index(balance.more));
            let (amount, interest) = more.copied().unwrap_or(narrow);
            draft.given.push(Holding { asset: balance.asset, balance: amount, interest });
            next = balance.next;
        }
        let rules = self.venue.rules();
        let multi = pool.multi.unwrap_or(rules.multi);
        let asset = draft.close(&self.venue, multi, || self.label(at))?;
        let chosen = ranks.get(index(pool.chosen)).copied().unwrap_or(0);
        Ok(PoolHead { head: Head { kind, multi, asset }, chosen })
    }
}

/// What drafting a pool needs beside the rows.
struct Drafting {
    /// Of each chosen rate, its place among all rates.
    ranks: Vec<u16>,
    /// Instrument, side and place of each leg of a pool, for sorting.
    keys: Vec<u64>,
}

fn differ<T: PartialEq>(pair: &[Leg], of: impl Fn(&Leg) -> T) -> bool {
    matches!(pair, [a, b] if of(a) != of(b))
}

/// Sorts rates, each once.
pub(super) fn tidy(rates: &mut Vec<Rate>) -> Result<()> {
    rates.sort_unstable();
    rates.dedup();
    if rates.len() > usize::from(u16::MAX) {
        let limit = format!("at most {} different initial rates", u16::MAX);
        return Err(Error::new(ErrorKind::LimitExceeded, "leverage", rates.len(), limit));
    }
    Ok(())
}

/// Refuses a position whose signs do not fit together.
pub(super) fn check_signs(
    venue: &Venue,
    instrument: InstrumentId,
    side: LegSide,
    lots: Lots,
    cost: Quanta,
) -> Result<()> {
    let (q, c) = (lots.get(), cost.get());
    if (side == LegSide::Long && q < 0) || (side == LegSide::Short && q > 0) {
        let limit = format!("a {} leg cannot have this sign", side.name());
        return Err(Error::new(ErrorKind::BadLeg, "quantity", q, limit));
    }
    let inverse = venue.instrument(instrument)?.contract().is_inverse();
    let sign = if inverse { -q.signum() } else { q.signum() };
    if c != 0 && c.signum() != i128::from(sign) {
        let how = if inverse { "against" } else { "like" };
        let limit = format!("must be signed {how} the quantity, {q} lots");
        return Err(Error::new(ErrorKind::BadLeg, "cost", c, limit));
    }
    Ok(())
}

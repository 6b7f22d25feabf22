//! A portfolio: every pool of every account, packed once, checked many times.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use crate::data::{Basis, ClosingFee, InstrumentId, Tiers, Venue};
use crate::numbers::limits::{LEGS_MAX, LOTS_MAX, QUANTA_MAX, ROWS_MAX};
use crate::numbers::{Canonical, Digest, Error, ErrorKind, Lots, Quanta, Rate, Result};

use super::lanes::{LANE_AMOUNT_MAX, LANE_CASH_MAX, LANE_LEGS_MAX, LaneTable};
use super::leg::{Leg, LegSide, PoolKind};

/// A pool's place in its portfolio: pools are sorted by account and pool name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub(crate) usize);

impl PoolId {
    /// The place as an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

/// What a leg has that the packed columns do not hold.
#[derive(Debug, Clone, Copy)]
struct Extra {
    cost: i128,
    accrued: i128,
    bids: i64,
    asks: i64,
}

/// One leg in 24 bytes, as the scan reads it.
#[derive(Debug, Clone, Copy)]
pub(super) struct PackedLeg {
    pub(super) lots: i64,
    pub(super) cost: i64,
    pub(super) instrument: u32,
    /// Place of the chosen initial rate in `rates`; 0 is none.
    pub(super) chosen: u16,
    side: LegSide,
}

/// Every pool of every account of one venue. Built by [`PortfolioBuilder`].
#[derive(Debug, Clone)]
pub struct Portfolio {
    venue: Arc<Venue>,
    keys: Vec<(Box<str>, Box<str>)>,
    kinds: Vec<PoolKind>,
    collateral: Vec<i128>,
    /// Collateral minus all that is accrued.
    pub(super) cash: Vec<i64>,
    /// Pools that the packed lanes can hold; the others take the wide path.
    pub(super) in_lanes: Vec<bool>,
    /// Where each pool's legs start; one more at the end.
    pub(super) offsets: Vec<u32>,
    pub(super) legs: Vec<PackedLeg>,
    /// All initial rates of the schedules and all chosen ones, ascending, after a zero.
    rates: Vec<Rate>,
    extras: BTreeMap<usize, Extra>,
    pub(super) lanes: LaneTable,
}

impl Portfolio {
    /// The venue it belongs to.
    #[must_use]
    pub fn venue(&self) -> &Arc<Venue> {
        &self.venue
    }

    /// How many pools it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it holds no pool.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many legs it holds.
    #[must_use]
    pub fn leg_count(&self) -> usize {
        self.legs.len()
    }

    /// How many pools take the packed lanes (when prices allow it, too).
    #[must_use]
    pub fn lane_count(&self) -> usize {
        self.in_lanes.iter().filter(|lane| **lane).count()
    }

    /// All pools, in order.
    pub fn pools(&self) -> impl Iterator<Item = PoolId> + use<> {
        (0..self.len()).map(PoolId)
    }

    /// Account and pool name.
    ///
    /// # Errors
    /// `invariant_broken` for a place of another portfolio.
    pub fn key(&self, pool: PoolId) -> Result<(&str, &str)> {
        let key = self.keys.get(pool.0).ok_or_else(|| Error::invariant("pool place"))?;
        Ok((&key.0, &key.1))
    }

    /// The pool's kind.
    ///
    /// # Errors
    /// `invariant_broken` for a place of another portfolio.
    pub fn kind(&self, pool: PoolId) -> Result<PoolKind> {
        self.kinds.get(pool.0).copied().ok_or_else(|| Error::invariant("pool place"))
    }

    /// The pool's collateral in quanta.
    ///
    /// # Errors
    /// `invariant_broken` for a place of another portfolio.
    pub fn collateral(&self, pool: PoolId) -> Result<i128> {
        self.collateral.get(pool.0).copied().ok_or_else(|| Error::invariant("pool place"))
    }

    /// The pool of an account with this name.
    ///
    /// # Errors
    /// `unknown_account`.
    pub fn find(&self, account: &str, pool: &str) -> Result<PoolId> {
        let place = self.keys.binary_search_by(|(a, p)| (&**a, &**p).cmp(&(account, pool)));
        place.map(PoolId).map_err(|_| {
            let names: Vec<_> =
                self.of_account(account).filter_map(|id| self.key(id).ok()).collect();
            let limit = if names.is_empty() {
                "no row of any table names this account".to_owned()
            } else {
                let names: Vec<_> = names.iter().map(|(_, p)| *p).collect();
                format!("this account has the pools {}", names.join(", "))
            };
            Error::new(ErrorKind::UnknownAccount, "account", format!("{account}/{pool}"), limit)
        })
    }

    /// The pools of an account.
    pub fn of_account(&self, account: &str) -> impl Iterator<Item = PoolId> + use<> {
        let start = self.keys.partition_point(|(a, _)| &**a < account);
        let end = self.keys.partition_point(|(a, _)| &**a <= account);
        (start..end).map(PoolId)
    }

    pub(super) fn slots(&self, pool: PoolId) -> Range<usize> {
        let at = |i: usize| self.offsets.get(i).and_then(|o| usize::try_from(*o).ok()).unwrap_or(0);
        at(pool.0)..at(pool.0 + 1)
    }

    /// The legs of a pool, sorted by instrument and side.
    ///
    /// # Errors
    /// `invariant_broken` for a place of another portfolio.
    pub fn legs(&self, pool: PoolId) -> Result<Vec<Leg>> {
        let leg = |slot: usize| self.leg(slot).ok_or_else(|| Error::invariant("leg place"));
        self.slots(pool).map(leg).collect()
    }

    pub(super) fn leg(&self, slot: usize) -> Option<Leg> {
        let packed = self.legs.get(slot)?;
        let rank = usize::from(packed.chosen);
        let chosen = if rank == 0 { None } else { self.rates.get(rank).copied() };
        let mut leg = Leg {
            instrument: InstrumentId(packed.instrument),
            side: packed.side,
            lots: packed.lots,
            cost: i128::from(packed.cost),
            accrued: 0,
            bids: 0,
            asks: 0,
            chosen,
        };
        if let Some(extra) = self.extras.get(&slot) {
            (leg.cost, leg.accrued) = (extra.cost, extra.accrued);
            (leg.bids, leg.asks) = (extra.bids, extra.asks);
        }
        Some(leg)
    }

    /// The first pool that holds an instrument.
    pub(super) fn first_holder(&self, id: InstrumentId) -> Option<PoolId> {
        let slot = self.legs.iter().position(|l| l.instrument == id.0)?;
        let slot = u32::try_from(slot).ok()?;
        let pool = self.offsets.partition_point(|offset| *offset <= slot);
        Some(PoolId(pool.checked_sub(1)?))
    }

    /// The digest of the venue's card and everything held.
    ///
    /// # Errors
    /// `invariant_broken` only.
    pub fn digest(&self) -> Result<Digest> {
        let mut c = Canonical::of("aivora-portfolio/0");
        c.text(&self.venue.digest().to_string()).length(self.len());
        for pool in self.pools() {
            let (account, name) = self.key(pool)?;
            c.text(account).text(name).text(self.kind(pool)?.name()).int(self.collateral(pool)?);
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

#[derive(Debug, Default)]
struct Draft {
    account: u32,
    name: u32,
    kind: Option<PoolKind>,
    collateral: Option<i128>,
    chosen: Option<Rate>,
    chosen_for: Vec<(InstrumentId, Rate)>,
    legs: Vec<(Leg, bool)>,
}

/// Names, each held once.
#[derive(Debug, Default)]
struct Names {
    places: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
}

impl Names {
    fn place(&mut self, name: &str) -> Result<u32> {
        if let Some(place) = self.places.get(name) {
            return Ok(*place);
        }
        let place = u32::try_from(self.names.len()).map_err(|_| too_many("names"))?;
        self.places.insert(name.into(), place);
        self.names.push(name.into());
        Ok(place)
    }

    fn name(&self, place: u32) -> &str {
        let index = usize::try_from(place).unwrap_or(usize::MAX);
        self.names.get(index).map_or("", |n| n)
    }
}

fn too_many(what: &str) -> Error {
    Error::new(ErrorKind::LimitExceeded, what, "more", format!("at most {ROWS_MAX}"))
}

/// Which pool a row speaks of.
#[derive(Debug, Clone, Copy)]
pub struct PoolKey<'a> {
    /// The account.
    pub account: &'a str,
    /// The pool's name within the account.
    pub pool: &'a str,
}

/// Collects rows in any order; the portfolio it builds does not depend on the order.
#[derive(Debug)]
pub struct PortfolioBuilder {
    venue: Arc<Venue>,
    accounts: Names,
    pool_names: Names,
    places: HashMap<(u32, u32), usize>,
    drafts: Vec<Draft>,
}

impl PortfolioBuilder {
    /// Nothing yet.
    #[must_use]
    pub fn new(venue: Arc<Venue>) -> Self {
        let (accounts, pool_names) = (Names::default(), Names::default());
        Self { venue, accounts, pool_names, places: HashMap::new(), drafts: Vec::new() }
    }

    fn draft(&mut self, key: PoolKey<'_>) -> Result<&mut Draft> {
        for (field, text) in [("account", key.account), ("pool", key.pool)] {
            if text.is_empty() {
                return Err(Error::new(ErrorKind::BadColumn, field, "\"\"", "must not be empty"));
            }
        }
        let pair = (self.accounts.place(key.account)?, self.pool_names.place(key.pool)?);
        let place = if let Some(place) = self.places.get(&pair) {
            *place
        } else {
            if self.drafts.len() >= ROWS_MAX {
                return Err(too_many("pools"));
            }
            let place = self.drafts.len();
            self.places.insert(pair, place);
            self.drafts.push(Draft { account: pair.0, name: pair.1, ..Draft::default() });
            place
        };
        self.drafts.get_mut(place).ok_or_else(|| Error::invariant("draft place"))
    }

    /// Declares a pool's kind; saying the same again is allowed.
    ///
    /// # Errors
    /// `duplicate_key` when another kind was declared before.
    pub fn kind(&mut self, key: PoolKey<'_>, kind: PoolKind) -> Result<()> {
        let draft = self.draft(key)?;
        if draft.kind.replace(kind).is_some_and(|before| before != kind) {
            return Err(duplicate("pool", key, "two different kinds are declared"));
        }
        Ok(())
    }

    /// Chooses a leverage (at least 1), for one instrument of a pool or for all of it.
    ///
    /// # Errors
    /// `out_of_range` below 1; `duplicate_key` when it was chosen before.
    pub fn leverage(
        &mut self,
        key: PoolKey<'_>,
        instrument: Option<InstrumentId>,
        leverage: Rate,
    ) -> Result<()> {
        if leverage < Rate::ONE {
            let limit = "must be at least 1";
            return Err(Error::new(ErrorKind::OutOfRange, "leverage", leverage, limit));
        }
        let rate = leverage.inverse("leverage")?;
        let draft = self.draft(key)?;
        let twice = match instrument {
            None => draft.chosen.replace(rate).is_some(),
            Some(id) => {
                let twice = draft.chosen_for.iter().any(|(i, _)| *i == id);
                draft.chosen_for.push((id, rate));
                twice
            }
        };
        if twice { Err(duplicate("leverage", key, "it is chosen twice")) } else { Ok(()) }
    }

    /// Sets a pool's collateral.
    ///
    /// # Errors
    /// `duplicate_key` when it was set before.
    pub fn collateral(&mut self, key: PoolKey<'_>, amount: Quanta) -> Result<()> {
        let draft = self.draft(key)?;
        if draft.collateral.replace(amount.get()).is_some() {
            return Err(duplicate("collateral", key, "this pool's collateral is given twice"));
        }
        Ok(())
    }

    fn leg(
        &mut self,
        key: PoolKey<'_>,
        id: InstrumentId,
        side: LegSide,
    ) -> Result<&mut (Leg, bool)> {
        let symbol = self.venue.instrument(id)?.symbol().to_owned();
        let draft = self.draft(key)?;
        let mixed = draft
            .legs
            .iter()
            .any(|(l, _)| l.instrument == id && (l.side == LegSide::Net) != (side == LegSide::Net));
        if mixed {
            let value = format!("{}/{} {symbol} {}", key.account, key.pool, side.name());
            let limit = "a pool holds either a net leg or long and short legs of an instrument";
            return Err(Error::new(ErrorKind::BadLeg, "leg", value, limit));
        }
        let found = draft.legs.iter().position(|(l, _)| l.instrument == id && l.side == side);
        let place = found.unwrap_or(draft.legs.len());
        if found.is_none() {
            if place >= LEGS_MAX {
                let value = format!("{}/{}", key.account, key.pool);
                let limit = format!("at most {LEGS_MAX} legs in one pool");
                return Err(Error::new(ErrorKind::LimitExceeded, "legs", value, limit));
            }
            draft.legs.push((Leg::empty(id, side), false));
        }
        draft.legs.get_mut(place).ok_or_else(|| Error::invariant("leg place"))
    }

    /// Sets the position on a leg: quantity, cost basis (signed like it; against it for an inverse contract) and what is accrued (positive when owed).
    ///
    /// # Errors
    /// `duplicate_key` for a leg given twice; `bad_leg` for signs or sides that do not fit.
    pub fn position(
        &mut self,
        key: PoolKey<'_>,
        instrument: InstrumentId,
        side: LegSide,
        lots: Lots,
        cost: Quanta,
        accrued: Quanta,
    ) -> Result<()> {
        let (q, c) = (lots.get(), cost.get());
        let wrong_side = (side == LegSide::Long && q < 0) || (side == LegSide::Short && q > 0);
        if wrong_side {
            let limit = format!("a {} leg cannot have this sign", side.name());
            return Err(Error::new(ErrorKind::BadLeg, "quantity", q, limit));
        }
        let inverse = self.venue.instrument(instrument)?.contract().is_inverse();
        let sign = if inverse { -q.signum() } else { q.signum() };
        if c != 0 && c.signum() != i128::from(sign) {
            let how = if inverse { "against" } else { "like" };
            let limit = format!("must be signed {how} the quantity, {q} lots");
            return Err(Error::new(ErrorKind::BadLeg, "cost", c, limit));
        }
        let (leg, given) = self.leg(key, instrument, side)?;
        if *given {
            return Err(duplicate("leg", key, "this leg is given twice"));
        }
        *given = true;
        (leg.lots, leg.cost, leg.accrued) = (q, c, accrued.get());
        Ok(())
    }

    /// Adds an open order of `lots` (above 0) to a leg.
    ///
    /// # Errors
    /// `out_of_range` when it is not above 0; `overflow` when the sum of a side passes the bound.
    pub fn order(
        &mut self,
        key: PoolKey<'_>,
        instrument: InstrumentId,
        side: LegSide,
        buy: bool,
        lots: Lots,
    ) -> Result<()> {
        if lots.get() < 1 {
            let limit = format!("must be 1 to {LOTS_MAX} lots");
            return Err(Error::new(ErrorKind::OutOfRange, "quantity", lots.get(), limit));
        }
        let (leg, _) = self.leg(key, instrument, side)?;
        let total = if buy { &mut leg.bids } else { &mut leg.asks };
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
    /// `bad_leg` for an isolated pool with several instruments; `overflow` past the bounds of floor 0;
    /// `limit_exceeded` for a size at which a growing rate would pass 1.
    pub fn build(mut self) -> Result<Portfolio> {
        let mut drafts = std::mem::take(&mut self.drafts);
        drafts.sort_unstable_by_key(|d| {
            (self.accounts.name(d.account), self.pool_names.name(d.name))
        });
        let rates = self.rates(&drafts)?;
        let rank = |rate: Option<Rate>| -> Result<u16> {
            let place = rate.map_or(Ok(0), |r| rates.binary_search(&r));
            place.ok().and_then(|p| u16::try_from(p).ok()).ok_or_else(|| Error::invariant("rate"))
        };
        let pools = drafts.len();
        let legs = drafts.iter().map(|d| d.legs.len()).sum();
        let mut p = Portfolio {
            venue: Arc::clone(&self.venue),
            keys: Vec::with_capacity(pools),
            kinds: Vec::with_capacity(pools),
            collateral: Vec::with_capacity(pools),
            cash: Vec::with_capacity(pools),
            in_lanes: Vec::with_capacity(pools),
            offsets: Vec::with_capacity(pools + 1),
            legs: Vec::with_capacity(legs),
            rates: rates.clone(),
            extras: BTreeMap::new(),
            lanes: LaneTable::new(self.venue.rules(), self.venue.instruments(), &rates),
        };
        p.offsets.push(0);
        for draft in drafts {
            let key = (self.accounts.name(draft.account), self.pool_names.name(draft.name));
            self.pack(draft, key, &rank, &mut p)?;
        }
        Ok(p)
    }

    /// All initial rates of the schedules and all chosen ones, ascending, after a zero.
    fn rates(&self, drafts: &[Draft]) -> Result<Vec<Rate>> {
        let mut rates = vec![Rate::ZERO];
        for instrument in self.venue.instruments() {
            if let Tiers::Brackets { brackets, .. } = instrument.tiers() {
                rates.extend(brackets.iter().map(|b| b.initial));
            }
        }
        for draft in drafts {
            rates.extend(draft.chosen.iter().chain(draft.chosen_for.iter().map(|(_, r)| r)));
        }
        rates.sort_unstable();
        rates.dedup();
        if rates.len() > usize::from(u16::MAX) {
            let limit = format!("at most {} different initial rates", u16::MAX);
            return Err(Error::new(ErrorKind::LimitExceeded, "leverage", rates.len(), limit));
        }
        Ok(rates)
    }

    fn pack(
        &self,
        mut draft: Draft,
        key: (&str, &str),
        rank: &impl Fn(Option<Rate>) -> Result<u16>,
        p: &mut Portfolio,
    ) -> Result<()> {
        let kind = draft.kind.unwrap_or(PoolKind::Cross);
        draft.legs.retain(|(leg, _)| !leg.is_empty());
        draft.legs.sort_unstable_by_key(|(leg, _)| (leg.instrument, leg.side));
        let first = draft.legs.first().map(|(l, _)| l.instrument);
        if kind == PoolKind::Isolated && draft.legs.iter().any(|(l, _)| Some(l.instrument) != first)
        {
            let value = format!("{}/{}", key.0, key.1);
            let limit = "an isolated pool holds one instrument";
            return Err(Error::new(ErrorKind::BadLeg, "instrument", value, limit));
        }
        let collateral = draft.collateral.unwrap_or(0);
        let accrued =
            draft.legs.iter().try_fold(0_i128, |sum, (leg, _)| sum.checked_add(leg.accrued));
        let cash = accrued
            .and_then(|a| collateral.checked_sub(a))
            .filter(|c| c.unsigned_abs() <= QUANTA_MAX.unsigned_abs())
            .ok_or_else(|| {
                Error::overflow("collateral − accrued", format!("{}/{}", key.0, key.1))
            })?;
        let small = i64::try_from(cash).ok().filter(|c| c.unsigned_abs() <= LANE_CASH_MAX);
        let mut lane = small.is_some() && draft.legs.len() <= LANE_LEGS_MAX;
        for (leg, _) in &mut draft.legs {
            let own = draft.chosen_for.iter().find(|(i, _)| *i == leg.instrument);
            leg.chosen = own.map(|(_, r)| *r).or(draft.chosen);
            lane &= self.fits_lane(leg)?;
            push_leg(p, leg, rank(leg.chosen)?);
        }
        p.keys.push((key.0.into(), key.1.into()));
        p.kinds.push(kind);
        p.collateral.push(collateral);
        p.cash.push(small.unwrap_or(0));
        p.in_lanes.push(lane);
        p.offsets.push(u32::try_from(p.legs.len()).map_err(|_| too_many("legs"))?);
        Ok(())
    }

    /// Whether a leg's own numbers fit the packed lanes.
    fn fits_lane(&self, leg: &Leg) -> Result<bool> {
        let instrument = self.venue.instrument(leg.instrument)?;
        let rules = self.venue.rules();
        if matches!(instrument.tiers(), Tiers::Slope { .. }) {
            // Fails here, with the pool's row still known, where a growing rate would pass 1.
            super::requirement::terms(instrument, 0, leg.exposure())?;
            return Ok(false);
        }
        let fee_fits = match rules.closing_fee {
            ClosingFee::None => true,
            ClosingFee::Mark => rules.maintenance_basis == Basis::Mark,
            ClosingFee::Bankruptcy => false,
        };
        Ok(fee_fits && !leg.has_orders() && leg.cost.unsigned_abs() <= LANE_AMOUNT_MAX)
    }
}

fn push_leg(p: &mut Portfolio, leg: &Leg, rank: u16) {
    let narrow = i64::try_from(leg.cost).ok();
    if narrow.is_none() || leg.accrued != 0 || leg.has_orders() {
        let Leg { cost, accrued, bids, asks, .. } = *leg;
        p.extras.insert(p.legs.len(), Extra { cost, accrued, bids, asks });
    }
    p.legs.push(PackedLeg {
        lots: leg.lots,
        cost: narrow.unwrap_or(0),
        instrument: leg.instrument.0,
        chosen: rank,
        side: leg.side,
    });
}

fn duplicate(field: &str, key: PoolKey<'_>, limit: &str) -> Error {
    let value = format!("{}/{}", key.account, key.pool);
    Error::new(ErrorKind::DuplicateKey, field, value, limit)
}

//! The watch: whose verdict a price changes, without looking at the others. `docs/spec/watch.md` proves it.
//!
//! Each pool has a *certificate*: an interval for each price that its verdict hangs on. While every price is inside its
//! interval the verdict stands. The intervals of one price stand under a tree, so that those it leaves are found
//! without the others; their pools are looked at and certified anew.

mod general;
mod plain;
mod records;
mod slots;
mod split;

use hashbrown::HashSet;

use crate::data::{AssetId, Contract, InstrumentId};
use crate::numbers::limits::QUANTA_MAX;
use crate::numbers::{Error, MarkTicks, PriceTicks, Result};
use crate::pricing::Prices;

use super::assess::is_liquidatable;
use super::check::Report;
use super::leg::{Leg, LegSide};
use super::portfolio::{Balance, PoolId, Portfolio};
use super::update::Position;
use general::{Curve, asset_place, places};
use plain::{Aim, Law, Look};
use records::{Certificate, Entry, Kind, Records, SHARED};
use slots::{ANY, Slots};
use split::Moves;

/// A scan finds the verdicts where more than one in so many pools would have to be looked at.
const SCAN_ABOVE: usize = 32;
/// How many looks before its own a pool's record is read.
const AHEAD: usize = 8;

/// Whose verdict became the other one, each ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Pools for which the liquidation check has begun to fire.
    pub liquidatable: Vec<PoolId>,
    /// Pools for which it no longer does.
    pub safe: Vec<PoolId>,
}

impl Changes {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.liquidatable.is_empty() && self.safe.is_empty()
    }

    fn push(&mut self, pool: PoolId, liquidatable: bool) {
        let list = if liquidatable { &mut self.liquidatable } else { &mut self.safe };
        list.push(pool);
    }
}

/// One changed verdict among those of many ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// Which tick changed it.
    pub row: usize,
    /// Whose it is.
    pub pool: PoolId,
    /// Whether the check fires now.
    pub liquidatable: bool,
}

/// Whose price a tick is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PriceOf {
    /// The mark of an instrument.
    Mark(InstrumentId),
    /// The price of an asset, in the valuation asset.
    Asset(AssetId),
}

/// A portfolio whose verdicts are known after every price.
///
/// ```
/// # use aivora::data::Venue;
/// # use aivora::margin::{LegSide, PoolKey, PortfolioBuilder, Watch};
/// # use aivora::numbers::{Lots, MarkTicks, Quanta};
/// # use aivora::pricing::Prices;
/// # use std::sync::Arc;
/// # let venue = Arc::new(Venue::builtin("demo")?);
/// # let btc = venue.find("BTC")?;
/// # let mut builder = PortfolioBuilder::new(Arc::clone(&venue));
/// # let pool = builder.pool(PoolKey { account: "alice", pool: "cross" })?;
/// # let lots = Lots::new(1_000, "quantity")?;
/// # let cost = Quanta::new(64_000_000_000, "cost")?;
/// # let none = Quanta::new(0, "accrued")?;
/// # builder.position(pool, btc, LegSide::Net, lots, cost, none)?;
/// # builder.collateral(pool, Quanta::new(2_000_000_000, "amount")?)?;
/// # let mut prices = Prices::new(venue);
/// prices.set_mark(btc, MarkTicks::new(6_400_000, "mark")?)?;
/// let mut watch = Watch::new(builder.build()?, prices)?;
/// assert!(watch.tick(btc, MarkTicks::new(6_390_000, "mark")?)?.is_empty());
/// assert_eq!(watch.tick(btc, MarkTicks::new(6_200_000, "mark")?)?.liquidatable.len(), 1);
/// # Ok::<(), aivora::numbers::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Watch {
    portfolio: Portfolio,
    prices: Prices,
    verdicts: Vec<bool>,
    records: Records,
    /// By place of the price: an instrument, then an asset.
    slots: Vec<Slots>,
    laws: Vec<Law>,
    /// Prices that were set since the last check, and what they were before.
    moved: Vec<(usize, Option<i64>)>,
    /// Prices whose intervals a scan left as they were.
    behind: Vec<usize>,
    /// Pools that the venue has taken over.
    handed_over: HashSet<usize>,
    /// Pools looked at by the last check.
    touched: usize,
    scratch: Scratch,
}

/// Memory that one look leaves to the next.
#[derive(Debug, Clone, Default)]
struct Scratch {
    look: Look,
    moves: Moves,
    certificate: Certificate,
    left: Vec<u32>,
    entries: Vec<Entry>,
}

fn broken() -> Error {
    Error::invariant("watch")
}

fn index(pool: u32) -> usize {
    usize::try_from(pool).unwrap_or(usize::MAX)
}

impl Watch {
    /// Watches a portfolio from these prices on.
    ///
    /// # Errors
    /// Those of [`Portfolio::check`].
    pub fn new(portfolio: Portfolio, prices: Prices) -> Result<Self> {
        let report = portfolio.check(&prices, 1)?;
        let order = by_nearness(&report);
        let verdicts = report.liquidatable;
        let venue = portfolio.venue();
        let of_instrument = |i| Law::of_instrument(venue.rules(), i);
        let laws = venue.instruments().iter().map(of_instrument);
        let laws = laws.chain(venue.assets().iter().map(Law::of_asset)).collect();
        let records = Records::new(portfolio.len(), portfolio.leg_count());
        let mut watch = Self {
            verdicts,
            records,
            slots: vec![Slots::default(); prices.places()],
            laws,
            moved: Vec::new(),
            behind: Vec::new(),
            handed_over: HashSet::new(),
            touched: 0,
            scratch: Scratch::default(),
            portfolio,
            prices,
        };
        for pool in order {
            let start = watch.enrol(pool)?;
            watch.look(start)?;
        }
        watch.records.shrink();
        watch.slots.iter_mut().for_each(Slots::shrink);
        Ok(watch)
    }

    /// What is watched.
    #[must_use]
    pub fn portfolio(&self) -> &Portfolio {
        &self.portfolio
    }

    /// What was watched.
    #[must_use]
    pub fn into_portfolio(self) -> Portfolio {
        self.portfolio
    }

    /// The prices in force.
    #[must_use]
    pub fn prices(&self) -> &Prices {
        &self.prices
    }

    /// The verdict on each pool at the last check: [`Portfolio::liquidatable`] of the prices then.
    #[must_use]
    pub fn liquidatable(&self) -> &[bool] {
        &self.verdicts
    }

    /// How many pools the last check looked at: all of them where it was a scan.
    #[must_use]
    pub fn touched(&self) -> usize {
        self.touched
    }

    /// Bytes that the watch holds beside the portfolio.
    #[must_use]
    pub fn memory(&self) -> usize {
        let slots = self.slots.iter().map(Slots::bytes).sum::<usize>();
        let left = self.scratch.left.capacity() * size_of::<u32>();
        self.records.bytes() + slots + self.verdicts.capacity() + left
    }

    /// A new mark of an instrument.
    ///
    /// # Errors
    /// `overflow` and `limit_exceeded` for a pool that the mark takes past the bounds. Nothing is changed then.
    #[inline]
    pub fn tick(&mut self, instrument: InstrumentId, mark: MarkTicks) -> Result<Changes> {
        self.set(instrument.index(), mark.get())?;
        self.check()
    }

    /// A new price of an asset.
    ///
    /// # Errors
    /// As [`Watch::tick`].
    #[inline]
    pub fn tick_asset(&mut self, asset: AssetId, price: PriceTicks) -> Result<Changes> {
        self.set(self.prices.place_of(asset), price.get())?;
        self.check()
    }

    /// Sets a price without looking at anybody yet: [`Watch::check`] does.
    ///
    /// # Errors
    /// `invariant_broken` for a place of another venue.
    pub fn set_mark(&mut self, instrument: InstrumentId, mark: MarkTicks) -> Result<()> {
        self.set(instrument.index(), mark.get())
    }

    /// As [`Watch::set_mark`], of an asset.
    ///
    /// # Errors
    /// As there.
    pub fn set_asset(&mut self, asset: AssetId, price: PriceTicks) -> Result<()> {
        self.set(self.prices.place_of(asset), price.get())
    }

    #[inline]
    fn set(&mut self, place: usize, ticks: i64) -> Result<()> {
        let before = self.prices.put(place, Some(ticks)).ok_or_else(broken)?;
        if before != Some(ticks) {
            self.moved.push((place, before));
        }
        Ok(())
    }

    /// Finds whose verdict the prices that were set since the last check have changed, all of them at once.
    ///
    /// # Errors
    /// As [`Watch::tick`]: the prices are those of the last check then.
    #[inline]
    pub fn check(&mut self) -> Result<Changes> {
        if let [(place, _)] = self.moved.as_slice()
            && self.behind.is_empty()
            && let Some(ticks) = self.prices.ticks(*place)
            && self.slots.get(*place).is_some_and(|slots| slots.all_hold(ticks))
        {
            self.moved.clear();
            self.touched = 0;
            return Ok(Changes::default());
        }
        self.check_moved()
    }

    fn check_moved(&mut self) -> Result<Changes> {
        let found = self.settle().and_then(|()| self.find_moved());
        if found.is_err() {
            for (place, before) in std::mem::take(&mut self.moved).into_iter().rev() {
                self.prices.put(place, before);
            }
        }
        self.moved.clear();
        found
    }

    fn find_moved(&mut self) -> Result<Changes> {
        let mut left = std::mem::take(&mut self.scratch.left);
        left.clear();
        let most = self.portfolio.len() / SCAN_ABOVE;
        let few = self.moved.iter().all(|(place, _)| {
            let ticks = self.prices.ticks(*place);
            let slots = self.slots.get(*place);
            ticks.zip(slots).is_some_and(|(ticks, slots)| slots.left_by(ticks, &mut left, most))
        });
        let found = if few {
            left.sort_unstable();
            left.dedup();
            self.look_at(&left)
        } else {
            self.scan()
        };
        self.scratch.left = left;
        found
    }

    /// Finds all verdicts by a scan. Certificates are made again by [`Watch::settle`].
    fn scan(&mut self) -> Result<Changes> {
        let found = self.portfolio.liquidatable(&self.prices, 1)?;
        let mut changes = Changes::default();
        for (pool, (old, new)) in self.verdicts.iter_mut().zip(&found).enumerate() {
            if old != new && !self.handed_over.contains(&pool) {
                *old = *new;
                changes.push(PoolId(pool), *new);
            }
        }
        self.touched = self.portfolio.len();
        self.behind.extend(self.moved.iter().map(|(place, _)| *place));
        Ok(changes)
    }

    /// Makes again the certificates that a scan left behind. The next check or change does it if nobody has before.
    ///
    /// # Errors
    /// `invariant_broken` only.
    pub fn settle(&mut self) -> Result<()> {
        if self.behind.is_empty() {
            return Ok(());
        }
        // The certificates are of the prices before those that were set since.
        let since: Vec<_> = self.moved.iter().rev().copied().collect();
        let mut set = Vec::with_capacity(since.len());
        for (place, before) in since {
            set.push((place, self.prices.put(place, before).ok_or_else(broken)?));
        }
        let mut left = Vec::new();
        self.behind.sort_unstable();
        self.behind.dedup();
        // In order of where they are, each once.
        let mut marked = vec![false; self.records.end()];
        for place in std::mem::take(&mut self.behind) {
            let slots = self.slots.get(place).ok_or_else(broken)?;
            let ticks = self.prices.ticks(place).ok_or_else(broken)?;
            left.clear();
            slots.left_by(ticks, &mut left, usize::MAX);
            for start in &left {
                *marked.get_mut(index(*start)).ok_or_else(broken)? = true;
            }
        }
        for (start, _) in (0..).zip(&marked).filter(|(_, marked)| **marked) {
            let (pool, verdict) = self.look(start)?;
            if self.verdicts.get(pool) != Some(&verdict) {
                return Err(broken());
            }
        }
        for (place, ticks) in set.into_iter().rev() {
            self.prices.put(place, ticks);
        }
        Ok(())
    }

    /// Many prices, one after the other, each with its check; what they changed, in order of rows and pools.
    ///
    /// # Errors
    /// As [`Watch::tick`], with the row. All prices and verdicts are those before the first then.
    pub fn ticks(&mut self, rows: impl IntoIterator<Item = (PriceOf, i64)>) -> Result<Vec<Hit>> {
        let before = self.prices.clone();
        let mut hits = Vec::new();
        for (row, (of, ticks)) in rows.into_iter().enumerate() {
            let changes = match of {
                PriceOf::Mark(id) => {
                    MarkTicks::new(i128::from(ticks), "mark").and_then(|mark| self.tick(id, mark))
                }
                PriceOf::Asset(id) => PriceTicks::new(i128::from(ticks), "asset")
                    .and_then(|price| self.tick_asset(id, price)),
            };
            match changes {
                Ok(changes) if changes.is_empty() => {}
                Ok(changes) => {
                    let hit = |liquidatable| move |pool| Hit { row, pool, liquidatable };
                    let first = hits.len();
                    hits.extend(changes.liquidatable.into_iter().map(hit(true)));
                    hits.extend(changes.safe.into_iter().map(hit(false)));
                    if let Some(own) = hits.get_mut(first..) {
                        own.sort_unstable_by_key(|hit| hit.pool);
                    }
                }
                Err(error) => {
                    self.reprice(&before)?;
                    return Err(error.at_row(row));
                }
            }
        }
        Ok(hits)
    }

    /// All prices at once, those of each instrument and asset that has one, with one check.
    ///
    /// # Errors
    /// As [`Watch::tick`]; `unknown_venue` for prices of another card.
    pub fn reprice(&mut self, prices: &Prices) -> Result<Changes> {
        self.portfolio.check_venue(prices)?;
        for place in 0..prices.places() {
            if let Some(ticks) = prices.ticks(place) {
                self.set(place, ticks)?;
            }
        }
        self.check()
    }

    /// [`Portfolio::set_position`].
    ///
    /// # Errors
    /// As there, and `missing_price` for an instrument without a mark; the position is as it was then.
    pub fn set_position(
        &mut self,
        pool: PoolId,
        instrument: InstrumentId,
        side: LegSide,
        position: Position,
    ) -> Result<Changes> {
        self.settle()?;
        let legs = self.portfolio.legs(pool)?;
        let before = legs.iter().find(|l| (l.instrument, l.side) == (instrument, side)).copied();
        self.portfolio.set_position(pool, instrument, side, position)?;
        self.changed(pool).or_else(|error| {
            let old = before.unwrap_or_else(|| Leg::empty(instrument, side));
            let position = Position::of(&old)?;
            self.portfolio.set_position(pool, instrument, side, position)?;
            self.changed(pool)?;
            Err(error)
        })
    }

    /// [`Portfolio::set_balance`].
    ///
    /// # Errors
    /// As there, and `missing_price` for an asset without a price; the balance is as it was then.
    pub fn set_balance(&mut self, pool: PoolId, balance: Balance) -> Result<Changes> {
        self.settle()?;
        let balances = self.portfolio.balances(pool)?;
        let known = balances.into_iter().find(|b| b.asset == balance.asset);
        let before = known.unwrap_or(Balance { amount: 0, interest: 0, ..balance });
        self.portfolio.set_balance(pool, balance)?;
        self.changed(pool).or_else(|error| {
            self.portfolio.set_balance(pool, before)?;
            self.changed(pool)?;
            Err(error)
        })
    }

    /// A pool whose holdings have changed.
    fn changed(&mut self, pool: PoolId) -> Result<Changes> {
        self.handed_over.remove(&pool.0);
        let start = self.enrol(pool.0)?;
        self.look_at(&[start])
    }

    /// Looks at a pool again, also at one that was handed over, and gives it a certificate around the prices in force.
    ///
    /// # Errors
    /// As [`Watch::tick`].
    pub fn recertify(&mut self, pool: PoolId) -> Result<Changes> {
        self.settle()?;
        let start = self.records.start(pool.0).ok_or_else(broken)?;
        self.handed_over.remove(&pool.0);
        self.look_at(&[start])
    }

    /// Stops looking at a pool that the venue liquidates: its verdict stays what it is, and nothing is told of it, until
    /// a change of what it holds is.
    ///
    /// # Errors
    /// `invariant_broken` for a place of another portfolio.
    pub fn hand_over(&mut self, pool: PoolId) -> Result<()> {
        let start = self.records.start(pool.0).ok_or_else(broken)?;
        self.handed_over.insert(pool.0);
        let (_, entries) = self.records.get(start).ok_or_else(broken)?;
        for entry in entries.iter().filter(|e| e.slot != SHARED) {
            self.slots.get_mut(index(entry.price)).ok_or_else(broken)?.set(entry.slot, ANY);
        }
        Ok(())
    }

    /// Finds the verdicts of some pools anew, by where their records start; after an error those that were found are found
    /// again at the prices before.
    fn look_at(&mut self, starts: &[u32]) -> Result<Changes> {
        let mut changes = Changes::default();
        for start in starts.iter().take(AHEAD) {
            self.records.read_ahead(*start);
        }
        for (done, start) in starts.iter().enumerate() {
            if let Some(start) = starts.get(done + AHEAD) {
                self.records.read_ahead(*start);
            }
            match self.look(*start) {
                Ok((pool, verdict)) => {
                    let old = self.verdicts.get_mut(pool).ok_or_else(broken)?;
                    if *old != verdict {
                        *old = verdict;
                        changes.push(PoolId(pool), verdict);
                    }
                }
                Err(error) => {
                    for (place, before) in std::mem::take(&mut self.moved).into_iter().rev() {
                        self.prices.put(place, before);
                    }
                    for start in starts.get(..done).unwrap_or(&[]) {
                        let (pool, verdict) = self.look(*start)?;
                        *self.verdicts.get_mut(pool).ok_or_else(broken)? = verdict;
                    }
                    return Err(error);
                }
            }
        }
        changes.liquidatable.sort_unstable();
        changes.safe.sort_unstable();
        self.touched = starts.len();
        Ok(changes)
    }

    /// A pool and the verdict on it at the prices in force, and a certificate around them.
    fn look(&mut self, start: u32) -> Result<(usize, bool)> {
        let Self { portfolio, prices, records, slots, laws, scratch, .. } = self;
        let Scratch { look, moves, certificate, .. } = scratch;
        let (head, entries) = records.get(start).ok_or_else(broken)?;
        let pool = index(head.pool);
        for entry in entries {
            // They are written at the end: by then they are here.
            if let Some(slots) = slots.get(index(entry.price)) {
                slots.read_ahead(entry.slot);
            }
        }
        let strict = portfolio.venue().rules().strict;
        let mut verdict = None;
        if head.kind == Kind::Plain
            && let Some(sums) = look.assess(head.cash, entries, laws, |at| prices.ticks(at))
        {
            let (equity, maintenance) = (i128::from(sums.equity), i128::from(sums.maintenance));
            let fires = i64::from(!strict);
            let found = is_liquidatable(equity, maintenance, strict);
            let aim = Aim { liquidatable: found, fires };
            let certified = look.certify(laws, sums, aim, certificate);
            verdict = certified.map(|()| found);
        }
        let verdict = match verdict {
            Some(verdict) => verdict,
            None => {
                let margin = portfolio.assess_here(PoolId(pool), prices)?;
                let of_slots = entries.iter().filter(|entry| entry.slot != SHARED);
                let places: Vec<u32> = of_slots.map(|entry| entry.price).collect();
                let curve = Curve::of(portfolio, prices, PoolId(pool), &places)?;
                curve.certify(&margin, strict, moves, certificate);
                margin.liquidatable
            }
        };
        let own = entries.iter().filter(|entry| entry.slot != SHARED);
        for (entry, interval) in own.zip(&certificate.intervals) {
            let place = index(entry.price);
            let slots = slots.get_mut(place).ok_or_else(broken)?;
            slots.admit(prices.ticks(place).ok_or_else(broken)?);
            slots.set(entry.slot, *interval);
        }
        records.set_slack(start, certificate.slack);
        Ok((pool, verdict))
    }

    /// Writes a pool's record, with a slot for each of its prices; where it is.
    fn enrol(&mut self, pool: usize) -> Result<u32> {
        let mut entries = std::mem::take(&mut self.scratch.entries);
        let id = PoolId(pool);
        entries.clear();
        let plain = plain_entries(&self.portfolio, &self.laws, id, &mut entries)?;
        if plain.is_none() {
            entries.clear();
            let entry = |price| Entry { amount: 0, price, slot: 0 };
            entries.extend(places(&self.portfolio, id)?.into_iter().map(entry));
        }
        let held = match self.records.start(pool) {
            Some(start) => self.records.get(start).ok_or_else(broken)?.1,
            None => &[],
        };
        let mut held: Vec<Entry> = held.iter().filter(|e| e.slot != SHARED).copied().collect();
        let mut last = None;
        for entry in &mut entries {
            if last == Some(entry.price) {
                entry.slot = SHARED;
                continue;
            }
            last = Some(entry.price);
            entry.slot = match held.iter().position(|own| own.price == entry.price) {
                Some(at) => held.swap_remove(at).slot,
                None => {
                    let slots = self.slots.get_mut(index(entry.price)).ok_or_else(broken)?;
                    slots.take(0).ok_or_else(broken)?
                }
            };
        }
        for gone in held {
            self.slots.get_mut(index(gone.price)).ok_or_else(broken)?.give(gone.slot);
        }
        let kind = if plain.is_some() { Kind::Plain } else { Kind::General };
        let owner = u32::try_from(pool).map_err(|_| broken())?;
        let start = self.records.set(owner, kind, plain.unwrap_or(0), &entries);
        let start = start.ok_or_else(broken)?;
        for entry in entries.iter().filter(|entry| entry.slot != SHARED) {
            self.slots.get_mut(index(entry.price)).ok_or_else(broken)?.own(entry.slot, start);
        }
        self.scratch.entries = entries;
        Ok(start)
    }
}

/// All pools, those nearest to the other verdict first. A price leaves intervals of these again and again: side by side, the
/// few that matter stay in the cache.
fn by_nearness(report: &Report) -> Vec<usize> {
    #[allow(clippy::as_conversions, clippy::cast_precision_loss)] // an order, nothing more
    let nearness = |(equity, maintenance): (i128, i128)| {
        let gap = equity.saturating_sub(maintenance) as f64 / (maintenance as f64).max(1.0);
        if maintenance == 0 { f64::INFINITY } else { gap.abs() }
    };
    let gaps: Vec<f64> =
        report.equity.iter().zip(report.maintenance.iter()).map(nearness).collect();
    let mut order: Vec<usize> = (0..gaps.len()).collect();
    order.sort_by(|a, b| {
        let gap = |pool: &usize| gaps.get(*pool).copied().unwrap_or(f64::INFINITY);
        gap(a).total_cmp(&gap(b))
    });
    order
}

/// The entries of a pool whose gap is a sum of lines, sorted by price, and its cash; none for any other.
fn plain_entries(
    portfolio: &Portfolio,
    laws: &[Law],
    pool: PoolId,
    into: &mut Vec<Entry>,
) -> Result<Option<i64>> {
    let (head, venue) = (portfolio.head(pool)?, portfolio.venue());
    let (mut cash, mut most) = (0_i128, 0_i128);
    for (holding, legs) in portfolio.rows(pool)? {
        let balance = holding.balance.saturating_sub(holding.interest);
        if !head.multi || holding.asset == head.asset {
            cash = cash.saturating_add(balance);
        } else if balance != 0 {
            let price = asset_place(portfolio, holding.asset)?;
            let (Ok(amount), Some(Law::Coin(asset))) =
                (i64::try_from(balance), laws.get(index(price)))
            else {
                return Ok(None);
            };
            // At no price may it be past the bounds: the watch would not see it.
            if plain::coin_bound(asset, amount).is_none_or(|bound| bound > QUANTA_MAX / 1_024) {
                return Ok(None);
            }
            into.push(Entry { amount, price, slot: 0 });
        }
        for leg in &legs {
            let instrument = venue.instrument(leg.instrument)?;
            let Contract::Linear { unit } = instrument.contract() else {
                return Ok(None);
            };
            let own = !head.multi || instrument.settlement() == head.asset;
            let line = matches!(laws.get(leg.instrument.index()), Some(Law::Line(_)));
            let Some(amount) = leg.lots.checked_mul(unit).filter(|_| own && line) else {
                return Ok(None);
            };
            most = most.saturating_add(leg.exposure().saturating_mul(i128::from(unit)));
            cash = cash.saturating_sub(leg.cost).saturating_sub(leg.accrued);
            into.push(Entry { amount, price: leg.instrument.0, slot: 0 });
        }
    }
    into.sort_unstable_by_key(|entry| entry.price);
    // Neither may the sums of all legs, with the orders filled.
    let bounded = most <= i128::from(i64::MAX) / 4;
    Ok(i64::try_from(cash).ok().filter(|_| bounded))
}

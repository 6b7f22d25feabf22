//! The watch: whose verdict a price changes, without looking at the others. `docs/spec/watch.md` proves it.
//!
//! Each pool has a *certificate*: an interval for each price that its verdict hangs on. While every price is inside its
//! interval the verdict stands. The intervals of one price stand under a tree, so that those it leaves are found
//! without the others; their pools are looked at and certified anew.

mod clock;
mod general;
mod ledger;
mod look;
mod plain;
#[cfg(test)]
mod proof_tests;
mod records;
mod shift;
mod slots;
mod split;
mod update;

use hashbrown::HashSet;

use crate::data::{AssetId, CheckOn, InstrumentId};
use crate::numbers::{Error, MarkTicks, PriceTicks, Result};
use crate::pricing::Prices;

use super::assess::check_venue;
use super::holdings::Holdings;
use super::portfolio::{PoolId, Portfolio};
use clock::Clock;
pub(crate) use ledger::Parts;
use plain::{Law, Look};
use records::{Certificate, Entry, Records};
use slots::Slots;

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

    /// What both have changed, one after the other: a verdict that is what it was has not changed.
    pub fn then(&mut self, next: Self) {
        if self.is_empty() {
            *self = next;
            return;
        }
        let [back_safe, back] = [&next.safe, &next.liquidatable].map(|l| l.iter().collect());
        let gone = |list: &mut Vec<PoolId>, back: &HashSet<&PoolId>| {
            let was: HashSet<PoolId> = list.iter().copied().collect();
            list.retain(|pool| !back.contains(pool));
            was
        };
        let was = gone(&mut self.liquidatable, &back_safe);
        let was_safe = gone(&mut self.safe, &back);
        self.safe.extend(next.safe.iter().filter(|pool| !was.contains(*pool)));
        self.liquidatable.extend(next.liquidatable.iter().filter(|pool| !was_safe.contains(*pool)));
        self.safe.sort_unstable();
        self.liquidatable.sort_unstable();
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

/// One of many ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Whose price it is.
    pub of: PriceOf,
    /// The price.
    pub ticks: i64,
    /// When, in milliseconds: time goes on to it first.
    pub time: Option<i64>,
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
pub struct Watch<H = Portfolio> {
    portfolio: H,
    prices: Prices,
    verdicts: Vec<bool>,
    records: Records,
    /// By place of the price: an instrument, then an asset.
    slots: Vec<Slots>,
    laws: Vec<Law>,
    /// Prices that were set since the last check, and what they were before.
    moved: Vec<(usize, Option<i64>)>,
    /// Whether a price is among them.
    is_moved: Vec<bool>,
    /// Pools that have paid away what their certificates allow.
    pending: Vec<u32>,
    behind: Behind,
    /// Pools that the venue has taken over.
    handed_over: HashSet<usize>,
    clock: Clock,
    /// Pools looked at by the last check.
    touched: usize,
    scratch: Scratch,
}

/// What a scan left to certify.
#[derive(Debug, Clone, Default)]
struct Behind {
    /// Prices that have left intervals.
    prices: Vec<usize>,
    /// Pools whose certificates were void before.
    pools: Vec<u32>,
}

impl Behind {
    #[inline]
    fn is_empty(&self) -> bool {
        self.prices.is_empty() && self.pools.is_empty()
    }
}

/// Memory that one look leaves to the next.
#[derive(Debug, Clone, Default)]
struct Scratch {
    look: Look,
    certificate: Certificate,
    left: Vec<u32>,
    entries: Vec<Entry>,
    held: Vec<Entry>,
}

fn broken() -> Error {
    Error::invariant("watch")
}

fn index(pool: u32) -> usize {
    usize::try_from(pool).unwrap_or(usize::MAX)
}

impl<H: Holdings> Watch<H> {
    /// Watches a portfolio from these prices on.
    ///
    /// # Errors
    /// Those of [`Holdings::verdicts`]; `unknown_venue` for prices of another card.
    pub fn new(portfolio: H, prices: Prices) -> Result<Self> {
        check_venue(&portfolio, &prices)?;
        let order = by_nearness(&portfolio.gaps(&prices)?);
        let verdicts = portfolio.verdicts(&prices)?;
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
            is_moved: vec![false; prices.places()],
            pending: Vec::new(),
            behind: Behind::default(),
            clock: Clock::default(),
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
    pub fn portfolio(&self) -> &H {
        &self.portfolio
    }

    /// What was watched.
    #[must_use]
    pub fn into_portfolio(self) -> H {
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

    /// The last check's verdict on a pool.
    pub(crate) fn fires(&self, pool: PoolId) -> bool {
        self.verdicts.get(pool.0).copied().unwrap_or(false)
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
        // A place of a hash set is its key and a byte.
        let over = self.handed_over.capacity() * (size_of::<usize>() + 1);
        self.records.bytes() + slots + self.verdicts.capacity() + left + over
    }

    /// A new mark of an instrument; where the card checks on each, whose verdict it changes.
    ///
    /// # Errors
    /// `overflow` and `limit_exceeded` for a pool that the mark takes past the bounds. Nothing is changed then.
    #[inline]
    pub fn tick(&mut self, instrument: InstrumentId, mark: MarkTicks) -> Result<Changes> {
        self.set(instrument.index(), mark.get())?;
        self.check_if_due()
    }

    /// A new price of an asset.
    ///
    /// # Errors
    /// As [`Watch::tick`].
    #[inline]
    pub fn tick_asset(&mut self, asset: AssetId, price: PriceTicks) -> Result<Changes> {
        self.set(self.prices.place_of(asset), price.get())?;
        self.check_if_due()
    }

    /// Checks if the card does on each price.
    #[inline]
    fn check_if_due(&mut self) -> Result<Changes> {
        if self.portfolio.venue().rules().check_on == CheckOn::Mark {
            return self.check();
        }
        Ok(Changes::default())
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
        let before = self.prices.put(place, Some(ticks))?;
        let is_moved = self.is_moved.get_mut(place).ok_or_else(broken)?;
        if !*is_moved && before != Some(ticks) {
            *is_moved = true;
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
            && self.pending.is_empty()
            && let Some(ticks) = self.prices.ticks(*place)
            && self.slots.get(*place).is_some_and(|slots| slots.all_hold(ticks))
        {
            if let Some(is_moved) = self.is_moved.get_mut(*place) {
                *is_moved = false;
            }
            self.moved.clear();
            self.touched = 0;
            return Ok(Changes::default());
        }
        if self.moved.is_empty() && self.behind.is_empty() && self.pending.is_empty() {
            self.touched = 0;
            return Ok(Changes::default());
        }
        self.check_moved()
    }

    fn check_moved(&mut self) -> Result<Changes> {
        let found = self.settle().and_then(|()| self.find_moved());
        if found.is_ok() {
            self.pending.clear();
        } else {
            self.take_back()?;
        }
        for (place, _) in self.moved.drain(..) {
            if let Some(is_moved) = self.is_moved.get_mut(place) {
                *is_moved = false;
            }
        }
        found
    }

    /// Puts the prices back that were set since the last check.
    fn take_back(&mut self) -> Result<()> {
        self.moved.iter().try_for_each(|(place, before)| self.prices.put(*place, *before).map(drop))
    }

    fn find_moved(&mut self) -> Result<Changes> {
        let mut left = std::mem::take(&mut self.scratch.left);
        left.clear();
        left.extend(self.pending.iter().filter_map(|pool| self.records.start(index(*pool))));
        let most = self.portfolio.len() / SCAN_ABOVE;
        let few = left.len() <= most
            && self.moved.iter().all(|(place, _)| {
                let found = self.prices.ticks(*place).zip(self.slots.get(*place));
                found.is_some_and(|(ticks, slots)| slots.left_by(ticks, &mut left, most))
            });
        let found = if few {
            left.sort_unstable();
            left.dedup();
            self.look_at(&left).or_else(|(error, done)| {
                // Those that were looked at are looked at again, at the prices before.
                self.take_back()?;
                for start in left.get(..done).unwrap_or(&[]) {
                    let (pool, verdict) = self.look(*start)?;
                    *self.verdicts.get_mut(pool).ok_or_else(broken)? = verdict;
                }
                Err(error)
            })
        } else {
            self.scan()
        };
        self.scratch.left = left;
        found
    }

    /// Finds all verdicts by a scan. Certificates are made again by [`Watch::settle`].
    fn scan(&mut self) -> Result<Changes> {
        let found = self.portfolio.verdicts(&self.prices)?;
        let mut changes = Changes::default();
        for (pool, (old, new)) in self.verdicts.iter_mut().zip(&found).enumerate() {
            if old != new && !self.handed_over.contains(&pool) {
                *old = *new;
                changes.push(PoolId(pool), *new);
            }
        }
        self.touched = self.portfolio.len();
        self.behind.prices.extend(self.moved.iter().map(|(place, _)| *place));
        self.behind.pools.extend_from_slice(&self.pending);
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
        // The verdicts are of the prices before those that were set since.
        let now: Vec<_> = self.moved.iter().map(|(place, _)| self.prices.ticks(*place)).collect();
        self.take_back()?;
        self.certify_behind()?;
        for ((place, _), ticks) in self.moved.iter().zip(now) {
            self.prices.put(*place, ticks)?;
        }
        Ok(())
    }

    fn certify_behind(&mut self) -> Result<()> {
        let mut left = Vec::new();
        let Behind { prices: mut places, pools } = std::mem::take(&mut self.behind);
        places.sort_unstable();
        places.dedup();
        // In order of where they are, each once.
        let mut marked = vec![false; self.records.end()];
        for place in places {
            let slots = self.slots.get(place).ok_or_else(broken)?;
            let ticks = self.prices.ticks(place).ok_or_else(broken)?;
            slots.left_by(ticks, &mut left, usize::MAX);
            for start in left.drain(..) {
                *marked.get_mut(index(start)).ok_or_else(broken)? = true;
            }
        }
        for pool in pools {
            let start = self.records.start(index(pool)).ok_or_else(broken)?;
            *marked.get_mut(index(start)).ok_or_else(broken)? = true;
        }
        for (start, _) in (0..).zip(&marked).filter(|(_, marked)| **marked) {
            let (pool, verdict) = self.look(start)?;
            if self.verdicts.get(pool) != Some(&verdict) {
                return Err(broken());
            }
        }
        Ok(())
    }

    /// Many prices, one after the other, each with its check; what they changed, in order of rows and pools.
    ///
    /// # Errors
    /// As [`Watch::tick`] and [`Watch::advance`], with the row. All prices and verdicts are those before the first then, but not
    /// what fell due as time went on.
    pub fn ticks(&mut self, rows: impl IntoIterator<Item = Tick>) -> Result<Vec<Hit>> {
        let before = self.prices.clone();
        let mut hits = Vec::new();
        for (row, tick) in rows.into_iter().enumerate() {
            match self.apply(&tick) {
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
                    for place in (0..before.places()).filter(|at| before.ticks(*at).is_none()) {
                        self.prices.put(place, None)?;
                    }
                    return Err(error.at_row(row));
                }
            }
        }
        Ok(hits)
    }

    /// One tick, after time has gone on to its own.
    ///
    /// # Errors
    /// As [`Watch::tick`] and [`Watch::advance`].
    #[inline]
    pub fn apply(&mut self, tick: &Tick) -> Result<Changes> {
        let mut changes = match tick.time {
            Some(time) => self.advance(time)?,
            None => Changes::default(),
        };
        let ticks = i128::from(tick.ticks);
        changes.then(match tick.of {
            PriceOf::Mark(id) => self.tick(id, MarkTicks::new(ticks, "mark")?)?,
            PriceOf::Asset(id) => self.tick_asset(id, PriceTicks::new(ticks, "asset")?)?,
        });
        Ok(changes)
    }

    /// All prices at once, those of each instrument and asset that has one, with one check where the card checks on each.
    ///
    /// # Errors
    /// As [`Watch::tick`]; `unknown_venue` for prices of another card.
    pub fn reprice(&mut self, prices: &Prices) -> Result<Changes> {
        check_venue(&self.portfolio, prices)?;
        for place in 0..prices.places() {
            if let Some(ticks) = prices.ticks(place) {
                self.set(place, ticks)?;
            }
        }
        self.check_if_due()
    }
}

/// All pools, those nearest to the other verdict first. A price leaves intervals of these again and again: side by side, the
/// few that matter stay in the cache.
fn by_nearness(gaps: &[(i128, i128)]) -> Vec<usize> {
    // In parts of 2^20 of what is required; who requires nothing is last.
    let nearness = |&(equity, maintenance): &(i128, i128)| {
        let gap = equity.saturating_sub(maintenance).saturating_abs().saturating_mul(1 << 20);
        u64::try_from(gap.checked_div(maintenance).unwrap_or(i128::MAX)).unwrap_or(u64::MAX)
    };
    let mut order: Vec<(u64, usize)> = gaps.iter().map(nearness).zip(0..).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, pool)| pool).collect()
}

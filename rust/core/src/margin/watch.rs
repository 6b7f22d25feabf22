//! The watch: whose verdict a price changes, without looking at the others. `docs/spec/watch.md` proves it.

use crate::data::{AssetId, Instrument, InstrumentId, Rules};
use crate::numbers::limits::TICKS_MAX;
use crate::numbers::{Error, MarkTicks, PriceTicks, Result};
use crate::pricing::Prices;

use super::assess::PoolMargin;
use super::leg::{Leg, LegSide};
use super::portfolio::{Balance, PoolId, Portfolio};
use super::slots::Slots;
use super::span::Span;
use super::update::Position;

/// Half-widths of intervals are this part of a price, or less, before they are bisected.
const HALVINGS: u32 = 40;
/// How many times as wide an interval is on the side on which the price moves away from the other verdict.
const AWAY: i64 = 8;
/// How often the first half-width that holds is bisected towards the last that did not.
const REFINEMENTS: u32 = 3;

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
}

/// One price that a pool's verdict hangs on, and its interval's slot.
#[derive(Debug, Clone, Copy)]
struct Held {
    price: u32,
    slot: u32,
}

/// A pool at one price that it holds: how its verdict hangs on it.
enum Term<'a> {
    /// What its legs add is counted as it is, whatever the other prices are.
    Own(Own<'a>),
    /// Anything may follow.
    Other { price: u32, ticks: i64 },
}

/// The legs of an instrument that settles in what the pool is checked in.
struct Own<'a> {
    id: InstrumentId,
    instrument: &'a Instrument,
    legs: &'a [Leg],
    mark: i64,
    /// What they add at the mark.
    here: Span,
    /// A rise, not a fall, takes the pool towards the other verdict.
    rising: bool,
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
    /// By instrument, then by asset.
    slots: Vec<Slots>,
    /// By pool.
    held: Vec<Vec<Held>>,
    /// Pools looked at by the last price.
    touched: usize,
}

fn broken() -> Error {
    Error::invariant("watch")
}

impl Watch {
    /// Watches a portfolio from these prices on.
    ///
    /// # Errors
    /// Those of [`Portfolio::check`].
    pub fn new(portfolio: Portfolio, prices: Prices) -> Result<Self> {
        let verdicts = portfolio.liquidatable(&prices, 1)?;
        let venue = portfolio.venue();
        let slots = vec![Slots::default(); venue.instruments().len() + venue.assets().len()];
        let held = vec![Vec::new(); portfolio.len()];
        let mut watch = Self { portfolio, prices, verdicts, slots, held, touched: 0 };
        for pool in watch.portfolio.pools() {
            let margin = watch.portfolio.assess_here(pool, &watch.prices)?;
            watch.certify(pool, &margin)?;
        }
        Ok(watch)
    }

    /// What is watched.
    #[must_use]
    pub fn portfolio(&self) -> &Portfolio {
        &self.portfolio
    }

    /// The prices in force.
    #[must_use]
    pub fn prices(&self) -> &Prices {
        &self.prices
    }

    /// The verdict on each pool at those prices: [`Portfolio::liquidatable`] of them.
    #[must_use]
    pub fn liquidatable(&self) -> &[bool] {
        &self.verdicts
    }

    /// How many pools the last price or change looked at.
    #[must_use]
    pub fn touched(&self) -> usize {
        self.touched
    }

    /// Bytes that the watch holds beside the portfolio.
    #[must_use]
    pub fn memory(&self) -> usize {
        let held = self.held.iter().map(|h| h.capacity() * size_of::<Held>()).sum::<usize>();
        let slots = self.slots.iter().map(Slots::bytes).sum::<usize>();
        held + slots + self.held.capacity() * size_of::<Vec<Held>>() + self.verdicts.capacity()
    }

    /// A new mark of an instrument.
    ///
    /// # Errors
    /// `overflow` and `limit_exceeded` for a pool that the mark takes past the bounds. Nothing is changed then.
    pub fn tick(&mut self, instrument: InstrumentId, mark: MarkTicks) -> Result<Changes> {
        let before = self.prices.mark(instrument);
        self.prices.set_mark(instrument, mark)?;
        let found = self.moved(instrument.index(), mark.get());
        if let (Err(_), Some(before)) = (&found, before) {
            self.prices.set_mark(instrument, before)?;
        }
        found
    }

    /// A new price of an asset.
    ///
    /// # Errors
    /// As [`Watch::tick`].
    pub fn tick_asset(&mut self, asset: AssetId, price: PriceTicks) -> Result<Changes> {
        let before = self.prices.asset(asset);
        self.prices.set_asset(asset, price)?;
        let found = self.moved(self.asset_place(asset), price.get());
        if let (Err(_), Some(before)) = (&found, before) {
            self.prices.set_asset(asset, before)?;
        }
        found
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
        let legs = self.portfolio.legs(pool)?;
        let before = legs.iter().find(|l| (l.instrument, l.side) == (instrument, side)).copied();
        self.portfolio.set_position(pool, instrument, side, position)?;
        self.changed(pool).or_else(|error| {
            let old = before.unwrap_or_else(|| Leg::empty(instrument, side));
            let position = Position::of(&old)?;
            self.portfolio.set_position(pool, instrument, side, position)?;
            Err(error)
        })
    }

    /// [`Portfolio::set_balance`].
    ///
    /// # Errors
    /// As there, and `missing_price` for an asset without a price; the balance is as it was then.
    pub fn set_balance(&mut self, pool: PoolId, balance: Balance) -> Result<Changes> {
        let balances = self.portfolio.balances(pool)?;
        let known = balances.into_iter().find(|b| b.asset == balance.asset);
        let before = known.unwrap_or(Balance { amount: 0, interest: 0, ..balance });
        self.portfolio.set_balance(pool, balance)?;
        self.changed(pool).or_else(|error| {
            self.portfolio.set_balance(pool, before)?;
            Err(error)
        })
    }

    fn asset_place(&self, asset: AssetId) -> usize {
        self.portfolio.venue().instruments().len() + asset.index()
    }

    /// Looks at the pools whose interval a price has left.
    fn moved(&mut self, place: usize, ticks: i64) -> Result<Changes> {
        let mut left = Vec::new();
        self.slots.get(place).ok_or_else(broken)?.left_by(ticks, &mut left);
        left.sort_unstable();
        let pools = left.into_iter().map(|pool| usize::try_from(pool).map(PoolId));
        let pools: Vec<PoolId> =
            pools.collect::<std::result::Result<_, _>>().map_err(|_| broken())?;
        self.look_at(&pools)
    }

    fn changed(&mut self, pool: PoolId) -> Result<Changes> {
        self.look_at(&[pool])
    }

    /// Finds the verdicts of some pools anew, all before any is written.
    fn look_at(&mut self, pools: &[PoolId]) -> Result<Changes> {
        let assess = |pool: &PoolId| self.portfolio.assess_here(*pool, &self.prices);
        let margins: Vec<PoolMargin> = pools.iter().map(assess).collect::<Result<_>>()?;
        let mut changes = Changes::default();
        for (pool, margin) in pools.iter().zip(&margins) {
            let verdict = self.verdicts.get_mut(pool.0).ok_or_else(broken)?;
            if *verdict != margin.liquidatable {
                *verdict = margin.liquidatable;
                let list = if *verdict { &mut changes.liquidatable } else { &mut changes.safe };
                list.push(*pool);
            }
            self.certify(*pool, margin)?;
        }
        self.touched = pools.len();
        Ok(changes)
    }

    /// Gives a pool intervals in which its verdict stays what it is.
    fn certify(&mut self, pool: PoolId, margin: &PoolMargin) -> Result<()> {
        let legs = self.portfolio.legs(pool)?;
        let intervals = {
            let terms = self.terms(pool, &legs, margin.liquidatable)?;
            let rules = self.portfolio.venue().rules();
            let width = Certificate { rules, terms: &terms, margin }.widest();
            let interval = |term: &Term<'_>| (term.price(), term.interval(width));
            terms.iter().map(interval).collect::<Vec<_>>()
        };
        self.settle(pool, &intervals)
    }

    /// The prices that a pool's verdict hangs on.
    fn terms<'a>(
        &'a self,
        pool: PoolId,
        legs: &'a [Leg],
        liquidatable: bool,
    ) -> Result<Vec<Term<'a>>> {
        let venue = self.portfolio.venue();
        let head = self.portfolio.head(pool)?;
        let mut terms = Vec::new();
        for own in legs.chunk_by(|a, b| a.instrument == b.instrument) {
            let Some(id) = own.first().map(|leg| leg.instrument) else { continue };
            let mark = self.prices.mark(id).map(MarkTicks::get).ok_or_else(broken)?;
            let instrument = venue.instrument(id)?;
            terms.push(if !head.multi || instrument.settlement() == head.asset {
                Term::Own(Own::new(venue.rules(), (id, instrument), own, mark, liquidatable)?)
            } else {
                Term::Other { price: id.0, ticks: mark }
            });
        }
        if head.multi {
            for balance in self.portfolio.balances(pool)? {
                if let Some(price) = self.prices.asset(balance.asset)
                    && balance.asset != head.asset
                {
                    let place = u32::try_from(self.asset_place(balance.asset));
                    let place = place.map_err(|_| broken())?;
                    terms.push(Term::Other { price: place, ticks: price.get() });
                }
            }
        }
        Ok(terms)
    }

    /// Writes a pool's intervals, in the slots it has and those it needs.
    fn settle(&mut self, pool: PoolId, intervals: &[(u32, (i64, i64))]) -> Result<()> {
        let owner = u32::try_from(pool.0).map_err(|_| broken())?;
        let held = self.held.get_mut(pool.0).ok_or_else(broken)?;
        let mut kept = std::mem::take(held);
        for (price, interval) in intervals {
            let slots = usize::try_from(*price).ok().and_then(|p| self.slots.get_mut(p));
            let slots = slots.ok_or_else(broken)?;
            let known = kept.iter().position(|h| h.price == *price);
            let own = match known {
                Some(at) => kept.swap_remove(at),
                None => Held { price: *price, slot: slots.take(owner).ok_or_else(broken)? },
            };
            slots.set(own.slot, *interval);
            held.push(own);
        }
        for gone in kept {
            let slots = usize::try_from(gone.price).ok().and_then(|p| self.slots.get_mut(p));
            slots.ok_or_else(broken)?.give(gone.slot);
        }
        Ok(())
    }
}

impl<'a> Own<'a> {
    fn new(
        rules: &Rules,
        (id, instrument): (InstrumentId, &'a Instrument),
        legs: &'a [Leg],
        mark: i64,
        liquidatable: bool,
    ) -> Result<Self> {
        let span = |to| Span::of(rules, instrument, legs, (mark, to));
        let here = span(mark)?;
        // Which way is worse is a guess: it decides how wide the sides are, not whether they hold.
        let (low, high) = (Width { eighths: 8, halvings: 4 }).sides(mark, [1, 1]);
        let rising = match (span(low), span(high)) {
            (Ok(down), Ok(up)) if liquidatable => up.highest_gap() > down.highest_gap(),
            (Ok(down), Ok(up)) => up.lowest_gap() < down.lowest_gap(),
            _ => false,
        };
        Ok(Self { id, instrument, legs, mark, here, rising })
    }

    fn interval(&self, width: Width) -> (i64, i64) {
        width.sides(self.mark, if self.rising { [AWAY, 1] } else { [1, AWAY] })
    }
}

impl Term<'_> {
    /// The place of its price.
    fn price(&self) -> u32 {
        match self {
            Term::Own(own) => own.id.0,
            Term::Other { price, .. } => *price,
        }
    }

    /// The ticks around its price, for a half-width as a part of it.
    fn interval(&self, width: Width) -> (i64, i64) {
        match self {
            Term::Own(own) => own.interval(width),
            Term::Other { ticks, .. } => (*ticks, *ticks),
        }
    }
}

/// Half of an interval as a part of the price: `eighths / 8` of `price / 2^halvings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Width {
    eighths: i64,
    halvings: u32,
}

impl Width {
    /// The price alone.
    const POINT: Self = Self { eighths: 0, halvings: 0 };

    /// The ticks so many times the half-width below and above a price.
    fn sides(self, mark: i64, [below, above]: [i64; 2]) -> (i64, i64) {
        let part = mark >> self.halvings;
        let half = part / 8 * self.eighths + part % 8 * self.eighths / 8; // at most 10^17 × 2
        let low = mark.saturating_sub(half.saturating_mul(below)).max(1);
        (low, mark.saturating_add(half.saturating_mul(above)).min(TICKS_MAX))
    }
}

/// A pool's sums at the prices, and what they hang on.
struct Certificate<'a> {
    rules: &'a Rules,
    terms: &'a [Term<'a>],
    margin: &'a PoolMargin,
}

impl Certificate<'_> {
    /// The widest intervals tried that hold. Wider ones may hold too.
    fn widest(&self) -> Width {
        if !self.terms.iter().any(|term| matches!(term, Term::Own(_))) {
            return Width::POINT;
        }
        for halvings in 0..HALVINGS {
            let part = |eighths| Width { eighths, halvings };
            if !self.holds(part(8)) {
                continue;
            }
            // Between this one and the last, which is twice as wide and did not hold.
            let (mut good, mut bad) = (8, 16);
            for _ in 0..REFINEMENTS {
                let middle = i64::midpoint(good, bad);
                if halvings > 0 && self.holds(part(middle)) {
                    good = middle;
                } else {
                    bad = middle;
                }
            }
            return part(good);
        }
        Width::POINT
    }

    /// Whether the verdict is the same at all prices of the intervals, by the sum of the worst of each.
    fn holds(&self, width: Width) -> bool {
        // Past a bound nothing is known.
        self.stays(width).unwrap_or(false)
    }

    fn stays(&self, width: Width) -> Result<bool> {
        let PoolMargin { equity, maintenance, liquidatable, .. } = *self.margin;
        // The check fires where maintenance is above 0 and the gap, equity − maintenance, below `fires`.
        let fires = i128::from(!self.rules.strict);
        let gap = equity.saturating_sub(maintenance);
        let (mut worst, mut best) = (gap, gap);
        let (mut least, mut most) = (maintenance, maintenance);
        for term in self.terms {
            let Term::Own(own) = term else { continue };
            let (low, high) = own.interval(width);
            let span = |to| Span::of(self.rules, own.instrument, own.legs, (own.mark, to));
            let (down, up) = (span(low)?, span(high)?);
            // What the term may add to each, less what it adds here.
            let (here, required) = (own.here.lowest_gap(), own.here.maintenance.0);
            let low = down.lowest_gap().min(up.lowest_gap());
            let high = down.highest_gap().max(up.highest_gap());
            worst = worst.saturating_add(low.saturating_sub(here));
            best = best.saturating_add(high.saturating_sub(here));
            let less = down.maintenance.0.min(up.maintenance.0).saturating_sub(required);
            let more = down.maintenance.1.max(up.maintenance.1).saturating_sub(required);
            (least, most) = (least.saturating_add(less), most.saturating_add(more));
        }
        Ok(if liquidatable { least > 0 && best < fires } else { most <= 0 || worst >= fires })
    }
}

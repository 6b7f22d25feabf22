//! Certificates of any pool, by the general path: bounds of all it holds over a box of prices, in 128-bit integers.

use crate::data::{Asset, AssetId, Instrument, Rules};
use crate::numbers::Result;
use crate::numbers::limits::TICKS_MAX;
use crate::pricing::Prices;

use super::super::assess::PoolMargin;
use super::super::collateral::Valued;
use super::super::holdings::Holdings;
use super::super::leg::Leg;
use super::super::portfolio::PoolId;
use super::super::span::Span;
use super::broken;
use super::records::Certificate;
use super::slots::Interval;
use super::split::{Reach, Share, Slope, Split};

/// How often the box is made smaller before it is the prices alone.
const TRIES: u32 = 16;
/// On the side that takes a price away from the other verdict an interval is this many times as wide, at first.
const AWAY: i64 = 8;
/// Slopes are taken over this part of a price.
const STEP: i64 = 4_096;

/// The legs of one instrument.
struct Term<'a> {
    /// The place of its price in the box.
    at: usize,
    instrument: &'a Instrument,
    legs: Vec<Leg>,
}

/// What a pool holds in one asset.
struct Row<'a> {
    asset: &'a Asset,
    /// The place of its price, where it has to be valued.
    at: Option<usize>,
    /// Balance less interest; legs bring their own costs.
    balance: i128,
    terms: Vec<Term<'a>>,
}

/// A pool as a function of its prices.
pub(super) struct Curve<'a> {
    rules: &'a Rules,
    ticks: Vec<i64>,
    rows: Vec<Row<'a>>,
}

/// Bounds of a pool's gap and requirement.
#[derive(Debug, Clone, Copy, Default)]
struct Range {
    gap: (i128, i128),
    maintenance: (i128, i128),
}

/// The prices of a pool, ascending by place: instruments, then assets that have to be valued.
pub(super) fn places<H: Holdings>(portfolio: &H, pool: PoolId) -> Result<Vec<u32>> {
    let head = portfolio.head(pool)?;
    let mut found = Vec::new();
    portfolio.each_row(pool, |balance, legs| {
        let before = found.len();
        found.extend(legs.iter().filter(|leg| leg.is_held()).map(|leg| leg.instrument.0));
        let worthless = balance.amount == balance.interest && found.len() == before;
        if head.multi && balance.asset != head.asset && !worthless {
            found.push(asset_place(portfolio, balance.asset)?);
        }
        Ok(())
    })?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The place of an asset's price: after those of all instruments.
pub(super) fn asset_place<H: Holdings>(portfolio: &H, asset: AssetId) -> Result<u32> {
    let place = portfolio.venue().instruments().len() + asset.index();
    u32::try_from(place).map_err(|_| broken())
}

impl<'a> Curve<'a> {
    pub(super) fn of<H: Holdings>(
        portfolio: &'a H,
        prices: &Prices,
        pool: PoolId,
        places: &[u32],
    ) -> Result<Self> {
        let venue = portfolio.venue();
        let head = portfolio.head(pool)?;
        let at = |place: u32| places.binary_search(&place).map_err(|_| broken());
        let mut rows = Vec::new();
        portfolio.each_row(pool, |balance, legs| {
            let term = |legs: &[Leg]| {
                let id = legs.first().map(|leg| leg.instrument).ok_or_else(broken)?;
                let instrument = venue.instrument(id)?;
                Ok(Term { at: at(id.0)?, instrument, legs: legs.to_vec() })
            };
            let counted: Vec<Leg> = legs.iter().filter(|leg| leg.is_held()).copied().collect();
            let terms: Vec<_> = counted
                .chunk_by(|a, b| a.instrument == b.instrument)
                .map(term)
                .collect::<Result<_>>()?;
            let amount = balance.amount.saturating_sub(balance.interest);
            if amount == 0 && terms.is_empty() {
                return Ok(());
            }
            let valued = head.multi && balance.asset != head.asset;
            let place = valued.then(|| at(asset_place(portfolio, balance.asset)?)).transpose()?;
            let asset = venue.asset(balance.asset)?;
            rows.push(Row { asset, at: place, balance: amount, terms });
            Ok(())
        })?;
        let ticks = |place: &u32| prices.ticks(usize::try_from(*place).ok()?);
        let ticks = places.iter().map(ticks).collect::<Option<_>>().ok_or_else(broken)?;
        Ok(Self { rules: venue.rules(), ticks, rows })
    }

    fn ends(&self, within: &[Interval], at: usize) -> Result<(i64, i64, i64)> {
        let here = self.ticks.get(at).ok_or_else(broken)?;
        let (low, high) = within.get(at).ok_or_else(broken)?;
        Ok((*low, *here, *high))
    }

    /// What a term adds over an interval: the bounds of both sides of the price.
    fn span(&self, term: &Term<'_>, within: &[Interval]) -> Result<Span> {
        let (low, here, high) = self.ends(within, term.at)?;
        let rules = self.rules;
        let side = |end| Span::of(rules, term.instrument, &term.legs, (here, end));
        if low == high { side(here) } else { Ok(side(low)?.or(side(high)?)) }
    }

    /// Bounds over a box of prices.
    fn range(&self, within: &[Interval]) -> Result<Range> {
        let mut range = Range::default();
        for row in &self.rows {
            let mut all = Span {
                equity: (row.balance, row.balance),
                maintenance: (0, 0),
                gap: (row.balance, row.balance),
            };
            for term in &row.terms {
                let own = self.span(term, within)?;
                for (sum, part) in [
                    (&mut all.equity, own.equity),
                    (&mut all.maintenance, own.maintenance),
                    (&mut all.gap, own.gap),
                ] {
                    *sum = (sum.0.saturating_add(part.0), sum.1.saturating_add(part.1));
                }
            }
            if let Some(at) = row.at {
                let (low, _, high) = self.ends(within, at)?;
                let (a, b) = (Valued::at(row.asset, low)?, Valued::at(row.asset, high)?);
                // What counts grows with the amount, and goes one way with the price: the worst is in a corner.
                let equity = (
                    a.value(all.equity.0)?.min(b.value(all.equity.0)?),
                    a.value(all.equity.1)?.max(b.value(all.equity.1)?),
                );
                let required =
                    (a.requirement(all.maintenance.0)?, b.requirement(all.maintenance.1)?);
                all.gap =
                    (equity.0.saturating_sub(required.1), equity.1.saturating_sub(required.0));
                all.maintenance = required;
            }
            for (sum, part) in
                [(&mut range.gap, all.gap), (&mut range.maintenance, all.maintenance)]
            {
                *sum = (sum.0.saturating_add(part.0), sum.1.saturating_add(part.1));
            }
        }
        Ok(range)
    }

    /// What the gap gains, about, when each price grows by a whole price.
    fn slopes(&self) -> Result<Vec<Slope>> {
        let mut slopes = vec![Slope::default(); self.ticks.len()];
        let here: Vec<Interval> = self.ticks.iter().map(|ticks| (*ticks, *ticks)).collect();
        for row in &self.rows {
            let mut share = Share::of(1, 1);
            let mut equity = row.balance;
            for term in &row.terms {
                equity = equity.saturating_add(self.span(term, &here)?.equity.0);
            }
            if let Some(at) = row.at {
                let ticks = self.ticks.get(at).copied().ok_or_else(broken)?;
                let value = Valued::at(row.asset, ticks)?.value(equity)?;
                share = Share::of(value, equity);
                slopes.get_mut(at).ok_or_else(broken)?.add(Slope::of(value));
            }
            for term in &row.terms {
                let ticks = self.ticks.get(term.at).copied().ok_or_else(broken)?;
                let step = (ticks / STEP).max(1);
                let rules = self.rules;
                let gap =
                    |at: i64| Ok(Span::of(rules, term.instrument, &term.legs, (at, at))?.gap.0);
                let (low, high) =
                    ((ticks - step).max(1), ticks.saturating_add(step).min(TICKS_MAX));
                let rise = gap(high)?.saturating_sub(gap(low)?);
                let slope = Slope::measured(rise, high - low, ticks, share);
                slopes.get_mut(term.at).ok_or_else(broken)?.add(slope);
            }
        }
        Ok(slopes)
    }

    /// A box in which the verdict stays what it is: that of the prices alone where no wider one that is tried holds.
    pub(super) fn certify(&self, margin: &PoolMargin, strict: bool, into: &mut Certificate) {
        into.clear();
        if self.widest(margin, strict, into).is_ok_and(|held| held.is_some()) {
            return;
        }
        into.clear();
        into.intervals.extend(self.ticks.iter().map(|ticks| (*ticks, *ticks)));
    }

    fn widest(
        &self,
        margin: &PoolMargin,
        strict: bool,
        into: &mut Certificate,
    ) -> Result<Option<()>> {
        let fires = i128::from(!strict);
        let gap = margin.equity.saturating_sub(margin.maintenance);
        let room = if margin.liquidatable { fires - 1 - gap } else { gap - fires };
        if room < 0 && margin.maintenance != 0 {
            return Ok(None);
        }
        let slopes = self.slopes()?;
        let mut split = Split::new();
        let mut reaches: Vec<Reach> = slopes.iter().map(|slope| split.add(*slope)).collect();
        split.share(room.max(0), reaches.iter_mut());
        for attempt in 0..TRIES {
            let away = if attempt < TRIES / 2 { AWAY } else { 1 };
            into.intervals.clear();
            for ((ticks, slope), reach) in self.ticks.iter().zip(&slopes).zip(&reaches) {
                let near = split.ticks(*reach, *ticks);
                let far = near.saturating_mul(away);
                let rising = slope.falls() != margin.liquidatable;
                let (down, up) = if rising { (far, near) } else { (near, far) };
                let (low, high) = (ticks.saturating_sub(down), ticks.saturating_add(up));
                into.intervals.push((low.max(1), high.min(TICKS_MAX)));
            }
            // Past a bound nothing is known.
            if let Ok(range) = self.range(&into.intervals) {
                let left = if margin.liquidatable {
                    fires.saturating_sub(1).saturating_sub(range.gap.1)
                } else {
                    range.gap.0.saturating_sub(fires)
                };
                let holds = if margin.liquidatable {
                    left >= 0 && range.maintenance.0 > 0
                } else {
                    left >= 0 || range.maintenance.1 <= 0
                };
                if holds {
                    return Ok(Some(()));
                }
            }
            split.shrink(None);
        }
        Ok(None)
    }
}

//! Liquidation and bankruptcy prices. `docs/spec/margin.md`.

use crate::data::{Basis, ClosingFee, Contract, Instrument, InstrumentId, Rules, TierBy, Tiers};
use crate::numbers::limits::{EVALUATIONS_MAX, QUANTA_MAX, TICKS_MAX};
use crate::numbers::rate::{gcd, lcm};
use crate::numbers::rounding::{div_ceil, div_floor, mul_div_floor};
use crate::numbers::{Error, ErrorKind, Result};
use crate::pricing::Prices;

use super::assess::{is_liquidatable, mark_of, valued};
use super::collateral::Valued;
use super::holdings::Holdings;
use super::leg::{Leg, LegSide};
use super::portfolio::PoolId;
use super::requirement::{self, RateOf, leg_margin, terms};
use super::span::Span;

/// A mark at which the verdict on a pool becomes the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flip {
    /// The first mark tick with the other verdict.
    pub mark: i64,
    /// The safe tick next to it, on the order grid toward safety, in mark ticks.
    pub price: i64,
    /// The verdict there.
    pub liquidatable: bool,
}

/// The nearest flips below and above the current mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiquidationPrice {
    /// The current mark in ticks.
    pub mark: i64,
    /// The verdict there.
    pub liquidatable: bool,
    /// The nearest flip below; none where no lower price changes the verdict.
    pub below: Option<Flip>,
    /// The nearest flip above; none where no higher price changes the verdict.
    pub above: Option<Flip>,
}

/// The price at which closing a leg in full uses up the equity allotted to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BankruptcyPrice {
    /// In price ticks; none where no price loses just what is allotted.
    pub price: Option<i64>,
    /// Where there is none: it would have to be above any price, not below.
    pub unbounded: bool,
    /// The equity allotted to the leg, in quanta.
    pub allotted: i128,
    /// What closing the leg must bring in (negative: may cost), in quanta.
    pub quote: i128,
}

/// One pool seen as a function of one instrument's mark.
struct Curve<'a> {
    rules: &'a Rules,
    instrument: &'a Instrument,
    legs: Vec<Leg>,
    /// How the asset that the instrument settles in counts.
    valued: Valued<'a>,
    /// Equity and maintenance of everything else in that asset.
    own: (i128, i128),
    /// What the other assets count.
    others: (i128, i128),
    evaluations: std::cell::Cell<u64>,
}

/// `equity − maintenance`, what rounding took from it, and whether the check fires.
#[derive(Clone, Copy)]
struct Point {
    gap: i128,
    /// By how much the requirements were rounded up, over the schedule's denominator.
    rounded_up: i128,
    liquidatable: bool,
}

/// The straight line that the gap follows within one piece, rounding aside.
#[derive(Clone, Copy)]
struct Line {
    /// How it grows per tick, in units of `unit / den`.
    slope: i128,
    den: i128,
    /// After how many ticks the rounding of all requirements repeats; 1 where nothing is rounded.
    period: i128,
}

impl Curve<'_> {
    fn count(&self) -> Result<()> {
        let count = self.evaluations.get() + 1;
        self.evaluations.set(count);
        if count > EVALUATIONS_MAX {
            let limit = format!("at most {EVALUATIONS_MAX} evaluations of the verdict");
            let symbol = self.instrument.symbol();
            return Err(Error::new(ErrorKind::LimitExceeded, "liquidation_price", symbol, limit));
        }
        Ok(())
    }

    /// Equity and maintenance of the pool from those in the asset that the instrument settles in.
    fn counted(&self, equity: i128, maintenance: i128) -> Result<(i128, i128)> {
        let equity = self.valued.value(equity)?.saturating_add(self.others.0);
        let maintenance = self.valued.requirement(maintenance)?.saturating_add(self.others.1);
        if equity.unsigned_abs().max(maintenance.unsigned_abs()) > QUANTA_MAX.unsigned_abs() {
            return Err(Error::overflow("equity", self.instrument.symbol()));
        }
        Ok((equity, maintenance))
    }

    fn at(&self, mark: i64) -> Result<Point> {
        self.count()?;
        let rules = self.rules;
        let (mut equity, mut maintenance) = self.own;
        let mut rounded_up = 0;
        for leg in &self.legs {
            let m = leg_margin(rules, self.instrument, leg, mark)?;
            equity = equity.saturating_add(m.pnl).saturating_sub(leg.accrued);
            maintenance = maintenance.saturating_add(m.maintenance);
            let up = requirement::rounded_up(m.maintenance_value, m.notional, &m.terms);
            rounded_up +=
                up.ok_or_else(|| Error::overflow("rounding", self.instrument.symbol()))?;
        }
        let (equity, maintenance) = self.counted(equity, maintenance)?;
        let liquidatable = is_liquidatable(equity, maintenance, rules.strict);
        Ok(Point { gap: equity - maintenance, rounded_up, liquidatable })
    }

    fn verdict(&self, mark: i64) -> Result<bool> {
        Ok(self.at(mark)?.liquidatable)
    }

    /// The first and the last tick between which no bound is passed; `known` is one that passes none.
    fn ends(&self, known: i64) -> Result<(i64, i64)> {
        let fits = |p: i64| match self.at(p) {
            Ok(_) => Ok(true),
            // So few evaluations that it is a rate that would pass 1.
            Err(e) if matches!(e.kind(), ErrorKind::Overflow | ErrorKind::LimitExceeded) => {
                Ok(false)
            }
            Err(e) => Err(e),
        };
        let end = |far: i64| -> Result<i64> {
            if fits(far)? {
                return Ok(far);
            }
            let (mut good, mut bad) = (known, far);
            while good.abs_diff(bad) > 1 {
                let middle = good + (bad - good) / 2;
                if fits(middle)? {
                    good = middle;
                } else {
                    bad = middle;
                }
            }
            Ok(good)
        };
        Ok((end(1)?, end(TICKS_MAX)?))
    }

    /// The verdict that holds at every tick from `a` to `b`, if bounds show that one does.
    fn verdict_between(&self, a: i64, b: i64) -> Result<Option<bool>> {
        self.count()?;
        let rules = self.rules;
        let span = Span::of(rules, self.instrument, &self.legs, (a, b))?;
        let (worst, best) =
            (self.own.0.saturating_add(span.equity.0), self.own.0.saturating_add(span.equity.1));
        let (least, most) = (
            self.own.1.saturating_add(span.maintenance.0),
            self.own.1.saturating_add(span.maintenance.1),
        );
        let (worst, most) = self.counted(worst, most)?;
        let (best, least) = self.counted(best, least)?;
        Ok(if !is_liquidatable(worst, most, rules.strict) {
            // More equity or less requirement does not make it fire.
            Some(false)
        } else if is_liquidatable(best, least, rules.strict) {
            Some(true)
        } else {
            None
        })
    }

    /// The tick nearest to `near` on the way to `far` whose verdict is not `now`, whatever shape the curve has.
    fn flip_anywhere(&self, near: i64, far: i64, now: bool) -> Result<Option<i64>> {
        let mut open = vec![(near, far)];
        while let Some((a, b)) = open.pop() {
            match self.verdict_between(a, b)? {
                Some(verdict) if verdict == now => {}
                Some(_) => return Ok(Some(a)),
                None => {
                    let middle = a + (b - a) / 2;
                    let past = if b > a { middle + 1 } else { middle - 1 };
                    // Towards zero, the middle of two neighbours is the nearer one.
                    open.push((past, b));
                    open.push((a, middle));
                }
            }
        }
        Ok(None)
    }

    /// Whether equity and requirement are straight lines in the mark but for jumps and rounding.
    fn is_straight(&self) -> bool {
        let bent = matches!(self.instrument.tiers(), Tiers::Slope { by: TierBy::Notional, .. });
        let linear = matches!(self.instrument.contract(), Contract::Linear { .. });
        self.valued.is_as_it_is() && linear && !bent
    }

    /// The first ticks of the pieces in which no leg changes its bracket, ascending from 1.
    fn pieces(&self) -> Vec<i64> {
        let rules = self.rules;
        let on_mark = rules.maintenance_basis == Basis::Mark
            || (rules.initial_basis == Basis::Mark && rules.closing_fee == ClosingFee::Bankruptcy);
        let mut starts = vec![1];
        if let Tiers::Brackets { by: TierBy::Notional, brackets, .. } = self.instrument.tiers()
            && on_mark
        {
            for leg in self.legs.iter().filter(|l| l.lots != 0) {
                let per_tick =
                    i128::from(leg.lots).abs() * i128::from(linear_unit(self.instrument));
                let reached = brackets.iter().filter_map(|b| div_ceil(b.floor, per_tick));
                starts.extend(reached.filter_map(|p| i64::try_from(p).ok()).filter(|p| *p > 1));
            }
        }
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    /// The nearest tick from `near` to `far` (either way) whose verdict is not `now`, within one piece.
    fn flip_in_piece(&self, near: i64, far: i64, now: bool) -> Result<Option<i64>> {
        let held: Vec<&Leg> = self.legs.iter().filter(|l| l.lots != 0).collect();
        match held.as_slice() {
            [] => Ok(None),
            [_] => self.flip_monotone(near, far, now),
            _ => self.flip_hedged(near, far, now),
        }
    }

    /// One leg: equity moves by at least as much as its requirement, so the verdict changes at most once.
    fn flip_monotone(&self, near: i64, far: i64, now: bool) -> Result<Option<i64>> {
        if self.verdict(near)? != now {
            return Ok(Some(near));
        }
        if self.verdict(far)? == now {
            return Ok(None);
        }
        let (mut same, mut other) = (near, far);
        while same.abs_diff(other) > 1 {
            let middle = same + (other - same) / 2;
            if self.verdict(middle)? == now {
                same = middle;
            } else {
                other = middle;
            }
        }
        Ok(Some(other))
    }

    /// Several legs: `gap` follows a straight line within two quanta, so the verdict is certain outside a zone
    /// around the crossing, and looked at tick by tick inside it.
    fn flip_hedged(&self, near: i64, far: i64, now: bool) -> Result<Option<i64>> {
        let (low, high) = (near.min(far), near.max(far));
        let line = self.line(low)?;
        if line.period == 1 {
            return self.flip_monotone(near, far, now); // nothing is rounded: the gap is the line
        }
        let step: i64 = if far >= near { 1 } else { -1 };
        let zone = if line.slope == 0 {
            self.flat_zone(near, far, line.period)?
        } else {
            self.zone(low, high, line)?
        };
        let mut mark = near;
        loop {
            let (zone_low, zone_high) = zone;
            if self.verdict(mark)? != now {
                return Ok(Some(mark));
            }
            // Outside the zone the verdict holds up to its near edge.
            mark = if mark < zone_low {
                if step > 0 { zone_low } else { low - 1 }
            } else if mark > zone_high {
                if step < 0 { zone_high } else { high + 1 }
            } else {
                mark + step
            };
            if mark < low || mark > high {
                return Ok(None);
            }
        }
    }

    /// Where the line is flat, the gap repeats every `period` ticks: one of them from `near` shows all of it.
    fn flat_zone(&self, near: i64, far: i64, period: i128) -> Result<(i64, i64)> {
        let gap = self.at(near)?.gap;
        if !(-2..=2).contains(&gap) {
            return Ok((i64::MAX, i64::MAX));
        }
        let period = i64::try_from(period).unwrap_or(TICKS_MAX);
        Ok(if far >= near {
            (near, near.saturating_add(period).min(far))
        } else {
            (near.saturating_sub(period).max(far), near)
        })
    }

    /// The ticks of a piece at which rounding can decide: where the line is at least 0 and below one quantum a
    /// leg. Below 0 the check fires however it is rounded; from one quantum a leg on it does not.
    fn zone(&self, low: i64, high: i64, line: Line) -> Result<(i64, i64)> {
        let legs = i128::try_from(self.legs.len()).unwrap_or(i128::MAX);
        let rising = line.slope > 0;
        // The first tick from which the line stays at or above (rising) or below (falling) so many quanta.
        let first = |quanta: i128| -> Result<i64> {
            let (mut before, mut after) = (low - 1, high + 1);
            while after - before > 1 {
                let middle = before + (after - before) / 2;
                let point = self.at(middle)?;
                let exact = (point.gap - quanta).saturating_mul(line.den);
                if (exact.saturating_add(point.rounded_up) >= 0) == rising {
                    after = middle;
                } else {
                    before = middle;
                }
            }
            Ok(after)
        };
        Ok(if rising { (first(0)?, first(legs)? - 1) } else { (first(legs)?, first(0)? - 1) })
    }

    /// The straight line that the gap follows in the piece of `mark`.
    fn line(&self, mark: i64) -> Result<Line> {
        let rules = self.rules;
        let unit = i128::from(linear_unit(self.instrument));
        let on_mark = rules.maintenance_basis == Basis::Mark;
        let mut line = Line { slope: 0, den: i128::from(self.instrument.tiers().den()), period: 1 };
        for leg in &self.legs {
            let (lots, size) = (i128::from(leg.lots), i128::from(leg.lots).abs());
            let held = (unit * i128::from(mark)).saturating_mul(size);
            let value = if on_mark { held } else { leg.cost.abs() };
            let t = terms(self.instrument, RateOf::Maintenance, value, size)?;
            let rate = if on_mark { t.maintenance_num + t.fee_num } else { t.fee_num };
            line.slope += lots * line.den - size * rate; // at most 2×10^18 × 10^12
            // What the requirement grows by per tick, as a part of a quantum over `den`; `den` is at most 10^12.
            let part = (size % line.den) * (unit % line.den) % line.den * rate % line.den;
            let own = line.den / gcd(part, line.den);
            line.period = lcm(line.period, own).unwrap_or(i128::MAX);
        }
        Ok(line)
    }

    /// `price` of `docs/spec/margin.md` for a flip at `mark`, seen from `current`.
    fn price(&self, mark: i64, liquidatable: bool, current: i64) -> i64 {
        let below = mark < current;
        let safe = match (liquidatable, below) {
            (true, true) => mark + 1,
            (true, false) => mark - 1,
            (false, _) => mark,
        };
        let step = self.instrument.marks_per_price();
        // Toward the current mark for a flip to liquidatable, away from it for a flip to safe.
        let upward = below == liquidatable;
        let (t, s) = (i128::from(safe), i128::from(step));
        let count = if upward { div_ceil(t, s) } else { div_floor(t, s) };
        let on_grid = count.and_then(|c| c.checked_mul(s)).and_then(|p| i64::try_from(p).ok());
        let Some(on_grid) = on_grid.filter(|p| (1..=TICKS_MAX).contains(p)) else {
            return safe;
        };
        let usable = if liquidatable {
            if below { on_grid <= current } else { on_grid >= current }
        } else {
            matches!(self.verdict(on_grid), Ok(false))
        };
        if usable { on_grid } else { safe }
    }

    fn flip(&self, mark: i64, now: bool, current: i64) -> Flip {
        Flip { mark, price: self.price(mark, !now, current), liquidatable: !now }
    }
}

fn curve<'a, H: Holdings>(
    of: &'a H,
    pool: PoolId,
    id: InstrumentId,
    prices: &Prices,
) -> Result<Curve<'a>> {
    let instrument = of.venue().instrument(id)?;
    let own: Vec<Leg> = of.legs(pool)?.into_iter().filter(|l| l.instrument == id).collect();
    if own.is_empty() {
        return Err(not_held(of, pool, instrument.symbol(), None));
    }
    let settlement = instrument.settlement();
    let (mut others, mut sums) = ((0_i128, 0_i128), (0_i128, 0_i128));
    for asset in of.assets(pool, prices)? {
        if asset.balance.asset == settlement {
            sums = (asset.equity, asset.maintenance);
        } else {
            others.0 = others.0.saturating_add(asset.value);
            others.1 = others.1.saturating_add(asset.maintenance_value);
        }
    }
    for leg in &own {
        let m = of.leg_margin(pool, leg, prices)?;
        sums.0 = sums.0.saturating_sub(m.pnl).saturating_add(leg.accrued);
        sums.1 = sums.1.saturating_sub(m.maintenance);
    }
    let (valued, _) = valued(of, pool, settlement, prices)?;
    let evaluations = std::cell::Cell::new(0);
    Ok(Curve {
        rules: of.venue().rules(),
        instrument,
        legs: own,
        valued,
        own: sums,
        others,
        evaluations,
    })
}

fn not_held<H: Holdings>(of: &H, pool: PoolId, symbol: &str, side: Option<LegSide>) -> Error {
    let leg = side.map_or(String::new(), |s| format!(" {}", s.name()));
    let limit = format!("pool {} has no such position", of.label(pool));
    Error::new(ErrorKind::UnknownLeg, "instrument", format!("{symbol}{leg}"), limit)
}

/// The nearest marks of one instrument, below and above, at which the verdict on the pool changes, all
/// other marks held.
///
/// # Errors
/// `unknown_leg` when the pool has no position in it; `missing_price`; `overflow`; `limit_exceeded` for a
/// hedged pair whose rounding would take too many evaluations.
pub(super) fn liquidation_price<H: Holdings>(
    of: &H,
    pool: PoolId,
    instrument: InstrumentId,
    prices: &Prices,
) -> Result<LiquidationPrice> {
    of.assess(pool, prices)?;
    let curve = curve(of, pool, instrument, prices)?;
    let current = mark_of(of, pool, instrument, prices)?;
    let now = curve.verdict(current)?;
    let (first, last) = curve.ends(current)?;
    if !curve.is_straight() {
        let (low, high) = (current - 1, current + 1);
        let below = if low < first { None } else { curve.flip_anywhere(low, first, now)? };
        let above = if high > last { None } else { curve.flip_anywhere(high, last, now)? };
        let flip = |mark| curve.flip(mark, now, current);
        let (below, above) = (below.map(flip), above.map(flip));
        return Ok(LiquidationPrice { mark: current, liquidatable: now, below, above });
    }
    let starts = curve.pieces();
    let ends = starts.iter().skip(1).map(|s| s - 1).chain(std::iter::once(last));
    let pieces: Vec<(i64, i64)> =
        starts.iter().copied().zip(ends).map(|(a, b)| (a, b.min(last))).collect();
    let mut below = None;
    for (start, end) in pieces.iter().rev() {
        let near = (current - 1).min(*end);
        if near >= *start && below.is_none() {
            below = curve.flip_in_piece(near, *start, now)?;
        }
    }
    let mut above = None;
    for (start, end) in &pieces {
        let near = (current + 1).max(*start);
        if near <= *end && above.is_none() {
            above = curve.flip_in_piece(near, *end, now)?;
        }
    }
    Ok(LiquidationPrice {
        mark: current,
        liquidatable: now,
        below: below.map(|mark| curve.flip(mark, now, current)),
        above: above.map(|mark| curve.flip(mark, now, current)),
    })
}

/// The price at which closing one leg in full, fee included where the card says so, loses at most the equity
/// allotted to it by its share of the pool's maintenance.
///
/// # Errors
/// `unknown_leg` when the pool has no such position; `missing_price`; `overflow`.
pub(super) fn closing_price<H: Holdings>(
    holdings: &H,
    pool: PoolId,
    (instrument, side): (InstrumentId, LegSide),
    prices: &Prices,
    borne: i128,
) -> Result<BankruptcyPrice> {
    let total = holdings.assess(pool, prices)?;
    let of = holdings.venue().instrument(instrument)?;
    let leg =
        holdings.legs(pool)?.into_iter().find(|l| l.instrument == instrument && l.side == side);
    let leg = leg.filter(|l| l.lots != 0);
    let leg = leg.ok_or_else(|| not_held(holdings, pool, of.symbol(), Some(side)))?;
    let margin = holdings.leg_margin(pool, &leg, prices)?;
    let allotted = mul_div_floor(total.equity, margin.maintenance, total.maintenance)
        .ok_or_else(|| Error::overflow("allotted equity", of.symbol()))?;
    let quote = margin.value - allotted - borne;
    let contract = of.contract();
    let fee = match (holdings.venue().rules().bankruptcy_fee, of.taker_fee()) {
        (true, Some(rate)) => rate,
        _ => crate::numbers::Rate::ZERO,
    };
    // What closing at `x` brings in, fee included; none past the bounds.
    let closing = |x: i64| -> Option<i128> {
        let value = contract.value(i128::from(leg.lots), x.checked_mul(of.marks_per_price())?)?;
        value.checked_sub(fee.of_ceil(value.checked_abs()?)?)
    };
    // An order price is a mark price too: the last tick is the last one both grids have.
    let last = TICKS_MAX / of.marks_per_price();
    let enough = |x: i64| closing(x).is_some_and(|v| v >= quote);
    let (price, unbounded) = if leg.lots > 0 {
        // However high the price, a debt in coins is at least one quantum, and its fee; or nothing, contract by contract.
        let best = match contract {
            Contract::Inverse { .. } => -1 - fee.of_ceil(1).unwrap_or(0),
            _ => 0,
        };
        if contract.is_inverse() && quote > best {
            (None, true)
        } else if !contract.is_inverse() && quote <= 0 {
            (None, false)
        } else {
            // Past the bounds a linear value is above any amount, and an inverse one is not reached.
            let past = !contract.is_inverse();
            (Some(first_tick(last, |x| closing(x).map_or(past, |v| v >= quote))), false)
        }
    } else if contract.is_inverse() && quote <= 0 {
        (None, true)
    } else {
        let past = contract.is_inverse();
        let first = first_tick(last, |x| closing(x).map_or(!past, |v| v < quote));
        let affordable = first > last && enough(first);
        (Some(if affordable { first } else { first - 1 }).filter(|x| *x >= 1), false)
    };
    if price.is_some_and(|x| x > last) {
        return Err(Error::overflow("bankruptcy_price", of.symbol()));
    }
    Ok(BankruptcyPrice { price, unbounded, allotted, quote })
}
/// The smallest tick with a property that stays once it holds; one past the last tick where none has it.
fn first_tick(last: i64, holds: impl Fn(i64) -> bool) -> i64 {
    let (mut fails, mut first) = (0, last + 1);
    while first - fails > 1 {
        let middle = fails + (first - fails) / 2;
        if holds(middle) {
            first = middle;
        } else {
            fails = middle;
        }
    }
    first
}

fn linear_unit(instrument: &Instrument) -> i64 {
    match instrument.contract() {
        crate::data::Contract::Linear { unit } => unit,
        _ => 1,
    }
}

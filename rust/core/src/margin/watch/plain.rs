//! Pools whose gap is a sum of lines: linear contracts that settle in the asset the pool is checked in, and balances in
//! other assets. Looked at and certified from their records alone, in 64 bits; what does not fit is left to the general path.

use crate::data::{Asset, Basis, ClosingFee, Contract, Instrument, Rules, TierBy, Tiers};
use crate::margin::leg::Leg;
use crate::numbers::Rate;
use crate::numbers::limits::TICKS_MAX;

use super::super::collateral::Valued;
use super::records::{Certificate, Entry};
use super::slots::{ANY, Interval};
use super::split::{Reach, Share, Slope, Split};

/// Notionals are below this, so that no step of a requirement can leave 64 bits.
const NOTIONAL_MAX: u64 = 1 << 61;
/// How often the moves are made smaller before the intervals are single prices.
const TRIES: u32 = 6;
/// On the side that takes a hedged pair away from the other verdict an interval is this many times as wide.
const AWAY: i64 = 16;
/// Where a price may move by less than one part in so many, a pool's intervals are shared out anew.
const NARROW: i64 = 32;

/// One bracket: what it requires is `ceil((notional × rate − deduction) / den)`.
#[derive(Debug, Clone, Copy)]
struct Bracket {
    floor: u64,
    rate: i64,
    /// The deduction over the denominator, and up to which notional it and the rate fit together.
    deduction: i64,
    short: u64,
    /// Whole quanta of the deduction, and the rest of it over the denominator.
    whole: i64,
    part: i64,
    /// The rate again, to estimate with.
    share: Share,
    /// The initial rate, and its denominator to divide by.
    initial: Rate,
    initial_den: Option<Divisor>,
}

/// The maintenance schedule of a linear instrument.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    den: Divisor,
    /// Requirements join at each floor: they do not jump.
    joined: bool,
    brackets: Vec<Bracket>,
}

/// How the value of an entry follows from its price.
#[derive(Debug, Clone)]
pub(super) enum Law {
    /// Quanta per tick times ticks, and a requirement.
    Line(Schedule),
    /// An amount of this asset, with haircuts.
    Coin(Box<Asset>),
    /// Only the general path knows.
    Other,
}

/// Division by a constant below 2^31.
#[derive(Debug, Clone, Copy)]
struct Divisor {
    by: i64,
    /// `ceil(2^64 / by)`, or 0 for 1.
    inverse: u64,
}

impl Divisor {
    fn new(by: i64) -> Option<Self> {
        let positive = u64::try_from(by).ok().filter(|by| (1..1 << 31).contains(by))?;
        Some(Self { by, inverse: (u64::MAX / positive).wrapping_add(1) })
    }

    /// Quotient and remainder of a number below 2^62.
    #[inline]
    fn split(self, number: i64) -> (i64, i64) {
        if self.by == 1 {
            return (number, 0);
        }
        // The quotient that the inverse gives is right or one too large: it adds number / 2^64 at the most.
        let high = (u128::from(number.cast_unsigned()) * u128::from(self.inverse)) >> 64;
        #[allow(clippy::as_conversions, clippy::cast_possible_truncation)] // below 2^62
        let guess = high as i64;
        let rest = number - guess * self.by;
        if rest < 0 { (guess - 1, rest + self.by) } else { (guess, rest) }
    }
}

impl Law {
    /// How an instrument's legs count.
    pub(super) fn of_instrument(rules: &Rules, instrument: &Instrument) -> Self {
        Schedule::of(rules, instrument).map_or(Self::Other, Self::Line)
    }

    /// How an amount of an asset counts, where it has a price.
    pub(super) fn of_asset(asset: &Asset) -> Self {
        if asset.worth().is_some() { Self::Coin(Box::new(asset.clone())) } else { Self::Other }
    }
}

impl Schedule {
    fn of(rules: &Rules, instrument: &Instrument) -> Option<Self> {
        let Tiers::Brackets { by: TierBy::Notional, den, fee_num, brackets } = instrument.tiers()
        else {
            return None;
        };
        let Contract::Linear { .. } = instrument.contract() else { return None };
        if rules.maintenance_basis != Basis::Mark || rules.closing_fee == ClosingFee::Bankruptcy {
            return None;
        }
        let wide = i128::from(*den);
        let bracket = |bracket: &crate::data::Bracket| {
            let rate = bracket.maintenance_num + fee_num;
            let deduction = i64::try_from(bracket.deduction_num).ok();
            let short =
                deduction.and_then(|_| u64::try_from((1_i64 << 61).checked_div(rate)?).ok());
            Some(Bracket {
                deduction: deduction.unwrap_or(0),
                short: short.unwrap_or(0),
                // A floor past 64 bits is past every notional here.
                floor: u64::try_from(bracket.floor).unwrap_or(u64::MAX),
                rate: Some(rate).filter(|rate| (1..=*den).contains(rate))?,
                share: Share::new(rate, *den),
                initial: bracket.initial,
                initial_den: Divisor::new(bracket.initial.den()),
                whole: i64::try_from(bracket.deduction_num.div_euclid(wide)).unwrap_or(i64::MAX),
                part: i64::try_from(bracket.deduction_num.rem_euclid(wide)).ok()?,
            })
        };
        let steps = brackets.iter().map(bracket).collect::<Option<Vec<_>>>()?;
        let joined = instrument.tiers().is_joined();
        Some(Self { den: Divisor::new(*den)?, joined, brackets: steps })
    }

    /// The place of a notional's bracket.
    #[inline]
    fn bracket(&self, notional: u64) -> usize {
        let floors = self.brackets.get(1..).unwrap_or(&[]);
        floors.iter().take_while(|bracket| bracket.floor <= notional).count()
    }

    /// Where the bracket after this one starts.
    #[inline]
    fn end(&self, bracket: usize) -> u64 {
        self.brackets.get(bracket + 1).map_or(u64::MAX, |next| next.floor)
    }

    /// `requirement::maintenance`, for a notional below [`NOTIONAL_MAX`].
    #[inline]
    fn requirement(&self, of: &Bracket, notional: u64) -> i64 {
        if notional <= of.short {
            let above = notional.cast_signed() * of.rate - of.deduction;
            return if above > 0 { self.den.split(above + self.den.by - 1).0 } else { 0 };
        }
        // Rates are at most 1, den below 2^31: the quotient times the rate is at most the notional, the rest below 2^62.
        let (quotient, rest) = self.den.split(notional.cast_signed());
        let part = rest * of.rate - of.part;
        let up = if part > 0 { self.den.split(part + self.den.by - 1).0 } else { 0 };
        (quotient * of.rate - of.whole + up).max(0)
    }
}

/// A leg at its mark, in quanta: as `leg_margin` finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quick {
    pub(crate) value: i64,
    pub(crate) initial: i64,
    pub(crate) maintenance: i64,
}

/// `ceil(value × rate)`; quicker where the rate's denominator is known.
#[inline]
fn of_ceil(value: u64, rate: Rate, den: Option<Divisor>) -> Option<i64> {
    let num = u64::try_from(rate.num()).ok()?;
    let product = value.checked_mul(num);
    if let (Some(product), Some(den)) = (product.filter(|p| *p < NOTIONAL_MAX), den) {
        return Some(den.split(product.cast_signed() + den.by - 1).0);
    }
    let den = u64::try_from(rate.den()).ok()?;
    let found = match product {
        Some(product) => product.div_ceil(den),
        None => u64::try_from((u128::from(value) * u128::from(num)).div_ceil(den.into())).ok()?,
    };
    i64::try_from(found).ok()
}

impl Law {
    /// Value and initial margin of a leg of a linear contract at its mark, in 64 bits; none where the general path has to say.
    /// Where initial margin is taken of the mark.
    #[inline]
    pub(crate) fn quick_initial(&self, leg: &Leg, each: i64) -> Option<(i64, i64)> {
        let Self::Line(schedule) = self else { return None };
        let value = leg.lots.checked_mul(each)?;
        let exposed = if leg.has_orders() {
            size(leg.exposure_in_64()?.checked_mul(each)?)?
        } else {
            size(value)?
        };
        let bracket = schedule.brackets.get(schedule.bracket(exposed))?;
        let scheduled = bracket.initial;
        let initial = match leg.chosen.filter(|chosen| *chosen > scheduled) {
            None => of_ceil(exposed, scheduled, bracket.initial_den)?,
            Some(chosen) => of_ceil(exposed, chosen, None)?,
        };
        Some((value, initial))
    }

    /// The same with the maintenance requirement.
    #[inline]
    pub(crate) fn quick(&self, leg: &Leg, each: i64) -> Option<Quick> {
        let Self::Line(schedule) = self else { return None };
        let (value, initial) = self.quick_initial(leg, each)?;
        let notional = size(value)?;
        let bracket = schedule.brackets.get(schedule.bracket(notional))?;
        Some(Quick { value, initial, maintenance: schedule.requirement(bracket, notional) })
    }
}

/// A leg or an amount at its price; the first of each price also has what all of that price have together.
#[derive(Debug, Clone, Copy)]
struct Part {
    amount: i64,
    price: u32,
    /// The place of its bracket.
    bracket: usize,
    ticks: i64,
    value: i64,
    requirement: i64,
    /// What the gap gains when the price grows by a whole price, and how far it may move as a part of it: estimates.
    slope: Slope,
    reach: Reach,
}

/// A pool at the prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) equity: i64,
    pub(super) maintenance: i64,
}

/// What a look needs, used again by the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    parts: Vec<Part>,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aim {
    /// The verdict that must stand.
    pub(super) liquidatable: bool,
    /// The check fires where the gap is below this.
    pub(super) fires: i64,
}

fn size(value: i64) -> Option<u64> {
    Some(value.unsigned_abs()).filter(|size| *size < NOTIONAL_MAX)
}

fn coin_value(asset: &Asset, amount: i64, ticks: i64) -> Option<i64> {
    let value = Valued::at(asset, ticks).ok()?.value(i128::from(amount)).ok()?;
    i64::try_from(value).ok()
}

/// The most that an amount can count, either way, at any price.
pub(super) fn coin_bound(asset: &Asset, amount: i64) -> Option<i128> {
    Valued::at(asset, TICKS_MAX).and_then(|v| v.value(i128::from(amount))).ok().map(i128::abs)
}

impl Part {
    #[inline]
    fn at(law: &Law, entry: &Entry, ticks: i64) -> Option<Self> {
        let Entry { amount, price, .. } = *entry;
        let none = Self {
            amount,
            price,
            bracket: 0,
            ticks,
            value: 0,
            requirement: 0,
            slope: Slope::default(),
            reach: Reach::default(),
        };
        match law {
            Law::Line(schedule) => {
                let value = amount.checked_mul(ticks)?;
                let notional = size(value)?;
                let place = schedule.bracket(notional);
                let bracket = schedule.brackets.get(place)?;
                let requirement = schedule.requirement(bracket, notional);
                let slope = Slope::of_leg(value, bracket.share);
                Some(Self { bracket: place, value, requirement, slope, ..none })
            }
            Law::Coin(asset) => {
                let value = coin_value(asset, amount, ticks)?;
                Some(Self { value, slope: Slope::of(i128::from(value)), ..none })
            }
            Law::Other => None,
        }
    }

    /// What it adds to the gap at another price.
    #[inline]
    fn gap_at(&self, law: &Law, ticks: i64) -> Option<i64> {
        match law {
            Law::Line(schedule) => {
                let value = self.amount.checked_mul(ticks)?;
                let notional = size(value)?;
                // Most often it is the same bracket.
                let mut bracket = schedule.brackets.get(self.bracket)?;
                if notional < bracket.floor || notional >= schedule.end(self.bracket) {
                    bracket = schedule.brackets.get(schedule.bracket(notional))?;
                }
                Some(value - schedule.requirement(bracket, notional))
            }
            Law::Coin(asset) => coin_value(asset, self.amount, ticks),
            Law::Other => None,
        }
    }

    /// The ticks at which its bracket is what it is here.
    fn bracket_ends(&self, schedule: &Schedule) -> Option<Interval> {
        let per_tick = self.amount.unsigned_abs();
        if per_tick == 0 {
            return Some((1, TICKS_MAX));
        }
        let floor = schedule.brackets.get(self.bracket)?.floor;
        let low = i64::try_from(floor.div_ceil(per_tick)).ok()?;
        let high = (schedule.end(self.bracket) - 1) / per_tick;
        Some((low.max(1), i64::try_from(high).map_or(TICKS_MAX, |high| high.min(TICKS_MAX))))
    }
}

impl Look {
    /// Equity and requirement at the prices; none where the general path has to say. The parts stay for [`Look::certify`].
    #[inline]
    pub(super) fn assess(
        &mut self,
        cash: i64,
        entries: &[Entry],
        laws: &[Law],
        ticks: impl Fn(usize) -> Option<i64>,
    ) -> Option<Sums> {
        self.parts.clear();
        let (mut equity, mut maintenance) = (cash, 0_i64);
        for entry in entries {
            let place = usize::try_from(entry.price).ok()?;
            let part = Part::at(laws.get(place)?, entry, ticks(place)?)?;
            equity = equity.checked_add(part.value)?;
            maintenance = maintenance.checked_add(part.requirement)?;
            self.parts.push(part);
        }
        Some(Sums { equity, maintenance })
    }

    /// Intervals in which the verdict stays what it is; none where the general path has to give them.
    pub(super) fn certify(
        &mut self,
        laws: &[Law],
        sums: Sums,
        aim: Aim,
        into: &mut Certificate,
    ) -> Option<()> {
        let parts = self.parts.as_mut_slice();
        let gap = sums.equity.checked_sub(sums.maintenance)?;
        if sums.maintenance == 0 {
            // Every position requires something: there is none, and nothing is required at any price.
            let prices = parts.chunk_by(|a, b| a.price == b.price).count();
            into.any(prices);
            return (!aim.liquidatable && parts.iter().all(|part| is_nothing(part, laws)))
                .then_some(());
        }
        // How far the gap may go.
        let room = if aim.liquidatable { aim.fires - 1 - gap } else { gap - aim.fires };
        if room < 0 {
            return None;
        }
        let mut split = Split::new();
        for own in parts.chunk_by_mut(|a, b| a.price == b.price) {
            let (first, rest) = own.split_first_mut()?;
            split.count(first.value);
            for other in rest {
                first.slope.add(other.slope);
                split.count(other.value);
            }
            first.reach = split.add(first.slope);
        }
        let budget = room - split.kept(room);
        split.share(i128::from(budget), parts.iter_mut().map(|part| &mut part.reach));
        for attempt in 0..=TRIES {
            into.clear();
            let mut used = 0_i64;
            let mut fits = true;
            for own in parts.chunk_by(|a, b| a.price == b.price) {
                let first = own.first()?;
                let law = laws.get(usize::try_from(first.price).ok()?)?;
                let reach = (attempt < TRIES).then(|| split.ticks(first.reach, first.ticks));
                if let Some((interval, loss)) = interval(own, law, reach, aim) {
                    used = used.saturating_add(loss);
                    into.intervals.push(interval);
                } else {
                    fits = false;
                    break;
                }
            }
            if fits && used <= budget {
                into.slack = room - used;
                return Some(());
            }
            split.shrink(fits.then_some((used, budget)));
        }
        None
    }
}

/// Whether it is no position, at any price.
fn is_nothing(part: &Part, laws: &[Law]) -> bool {
    let law = usize::try_from(part.price).ok().and_then(|place| laws.get(place));
    part.amount == 0 || matches!(law, Some(Law::Coin(_)))
}

/// An interval for the parts of one price that reaches so many ticks to the side of the other verdict, or none where it may
/// lose nothing, and the most that the gap moves there towards it.
#[inline]
fn interval(own: &[Part], law: &Law, reach: Option<i64>, aim: Aim) -> Option<(Interval, i64)> {
    let first = own.first()?;
    let rising = first.slope.falls() != aim.liquidatable;
    let mut limits = (1, TICKS_MAX);
    let mut beyond = ANY;
    if let Law::Line(schedule) = law
        && !schedule.joined
    {
        // A requirement jumps where the next bracket starts: the interval ends a tick before.
        for part in own {
            let (low, high) = part.bracket_ends(schedule)?;
            limits = (limits.0.max(low), limits.1.min(high));
        }
        beyond = limits;
    }
    let by = reach.unwrap_or(0);
    let toward = if rising { first.ticks.saturating_add(by) } else { first.ticks - by };
    let near = toward.clamp(limits.0, limits.1);
    if own.len() > 1 {
        return pair(own, law, (near, reach, limits), rising, aim);
    }
    // One line: what it adds to the gap does not turn, so that its worst is at this end, whatever the other is.
    let moved = if near == first.ticks {
        0
    } else {
        (first.gap_at(law, near)? - (first.value - first.requirement)).saturating_abs()
    };
    Some((if rising { (beyond.0, near) } else { (near, beyond.1) }, moved))
}

/// The position in one price becomes another, in a pool that is safe: what is left of its slack, to which the cash that moved has
/// been added, and an interval for the price where the one that it has is not kept. None where all intervals are better
/// shared out anew.
pub(super) fn exchanged(
    law: &Law,
    ticks: i64,
    [old, new]: [i64; 2],
    held: Option<Interval>,
    slack: i64,
    aim: Aim,
) -> Option<(i64, Option<Interval>)> {
    let at = |amount| Part::at(law, &Entry { amount, price: 0, slot: 0 }, ticks);
    let Law::Line(schedule) = law else { return None };
    let mut free = slack;
    let mut end = None;
    if let Some((low, high)) = held {
        let part = at(old)?;
        // Any price in the interval will do: what the term takes from the gap there, the certificate has counted.
        let near = if part.slope.falls() { high } else { low }.clamp(1, TICKS_MAX);
        let gap = part.value - part.requirement;
        free = free.checked_add((gap - part.gap_at(law, near)?).max(0))?.checked_sub(gap)?;
        end = Some(near).filter(|_| schedule.joined && (old > 0) == (new > 0));
    }
    if new == 0 {
        return (free >= 0).then_some((free, None));
    }
    let part = at(new)?;
    let gap = part.value - part.requirement;
    free = free.checked_add(gap)?;
    let toward_it = |near: &i64| if part.slope.falls() { *near >= ticks } else { *near <= ticks };
    if let Some(near) = end.filter(toward_it)
        && let Some(at_end) = part.gap_at(law, near)
        && let left = free - (gap - at_end).max(0)
        && left >= 0
    {
        return Some((left, None));
    }
    // A leg loses at most twice its amount a tick: rates are at most 1.
    let reach = (free / 4).checked_div(new.checked_abs()?)?.min(ticks.saturating_mul(AWAY));
    if reach < ticks / NARROW {
        return None;
    }
    let (interval, lost) = interval(&[part], law, Some(reach), aim)?;
    let left = free.checked_sub(lost)?;
    (left >= 0).then_some((left, Some(interval)))
}

/// The same for two legs of one instrument: what they add is concave up to the rounding of each, so that a safe pool's worst
/// is at an end, and a liquidatable one's best is below the tangent.
fn pair(
    own: &[Part],
    law: &Law,
    (near, reach, limits): (i64, Option<i64>, Interval),
    rising: bool,
    aim: Aim,
) -> Option<(Interval, i64)> {
    let Law::Line(schedule) = law else { return None };
    let here = own.first()?.ticks;
    let Some(reach) = reach else { return Some(((here, here), 0)) };
    let rounded = i64::try_from(own.len()).ok()? - 1;
    let within = |far: i64| {
        let far = if rising { here.saturating_sub(far) } else { here.saturating_add(far) };
        far.clamp(limits.0, limits.1)
    };
    if aim.liquidatable {
        let den = i128::from(schedule.den.by);
        let mut tangent = 0_i128;
        for part in own {
            let (amount, bracket) = (i128::from(part.amount), schedule.brackets.get(part.bracket)?);
            tangent += amount * den - amount.abs() * i128::from(bracket.rate);
        }
        let product = tangent.checked_mul(i128::from(near - here))?.checked_add(den - 1)?;
        let gain = i64::try_from(product.div_euclid(den)).ok()?.max(0);
        // The other way the tangent falls, all the way; where it is level, neither is far.
        let far = if gain > 0 { within(TICKS_MAX) } else { here };
        return Some(((near.min(far), near.max(far)), gain + rounded));
    }
    let gap = |end: i64| own.iter().map(|part| part.gap_at(law, end)).sum::<Option<i64>>();
    let now: i64 = own.iter().map(|part| part.value - part.requirement).sum();
    let least = gap(near)?.min(now);
    // The other way the gap grows at first: as far as it is not less than at the near end.
    for far in [here / 2, reach.saturating_mul(AWAY), reach].map(within) {
        if let Some(gap) = gap(far).filter(|gap| *gap >= least) {
            let lost = (now - gap.min(least)).max(0);
            return Some(((near.min(far), near.max(far)), lost + rounded));
        }
    }
    Some(((near.min(here), near.max(here)), now - least + rounded))
}

//! Mark rules. `docs/spec/pricing.md`, "The mark".

use std::collections::VecDeque;

use super::funding::{RATE_MAX, UNIT};
pub use crate::data::price_rules::{MarkRule, Of, SAMPLES_MAX, TERMS_MAX, TIME_MAX, Term};
use crate::numbers::limits::TICKS_MAX;
use crate::numbers::rounding::div_round;
use crate::numbers::{Error, ErrorKind, MarkTicks, Result, Rounding};

/// What is known of a market.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The index, in mark ticks.
    Index(i64),
    /// The best bid and ask.
    Best(i64, i64),
    /// The prices at which the book would fill a given size.
    Impact(i64, i64),
    /// The last trade.
    Last(i64),
    /// The median of marks elsewhere.
    Outside(i64),
    /// The funding rate of the interval, in parts of 10^-12, and when it is paid.
    Funding(i64, i64),
}

/// Parts of half a tick that an average is kept in.
const PARTS: i128 = 1 << 20;

/// A funding rate, and when it is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Paid {
    rate: i64,
    at: i64,
    /// The rate without the tens that it has in common with the unit, and what is left of that.
    short: (i64, i64),
}

impl Paid {
    fn new(rate: i64, at: i64) -> Self {
        let mut short = (rate, UNIT);
        while short.0 % 10 == 0 && short.1 > 1 {
            short = (short.0 / 10, short.1 / 10);
        }
        Self { rate, at, short }
    }
}

/// The samples of one average, or what it has come to. Twice the basis, which is a whole number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Kept {
    samples: VecDeque<i64>,
    sum: i128,
    /// The mean of the samples, in whole ticks.
    mean: Option<i128>,
    /// Before this time no sample falls due.
    next: i64,
    /// The average that forgets, in parts of half a tick.
    ema: Option<i128>,
    /// The last sample of it, and how many before it were the same.
    alike: Option<(i64, i64)>,
}

/// A mark, as its market goes on.
///
/// ```
/// # use aivora::pricing::mark::{Mark, MarkRule, Of, Seen, Term};
/// let basis = Term::Basis { of: Of::Mid, samples: 30, every: 5_000 };
/// let fair = Term::Fair { interval: 28_800_000, step: 1 };
/// let rule = MarkRule { terms: vec![fair, basis, Term::Last], min_terms: 3, step: None };
/// let mut mark = Mark::new(rule)?;
/// for seen in [
///     Seen::Index(6_400_000), Seen::Best(6_400_900, 6_401_100), Seen::Last(6_402_000),
///     Seen::Funding(100_000_000, 28_800_000),
/// ] {
///     mark.see(seen, 0)?;
/// }
/// // 64,000 + 0.01% of it, 64,000 + 10, 64,020: the one in the middle.
/// assert_eq!(mark.update(10_000)?.map(|mark| mark.get()), Some(6_401_000));
/// # Ok::<(), aivora::numbers::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    rule: MarkRule,
    index: Option<i64>,
    best: Option<(i64, i64)>,
    impact: Option<(i64, i64)>,
    last: Option<i64>,
    outside: Option<i64>,
    funding: Option<Paid>,
    /// The premium of the impact prices; none until it is asked for.
    premium: Option<i64>,
    kept: Vec<Kept>,
    time: Option<i64>,
    /// Before this time no sample of any average falls due.
    due: i64,
    /// The last mark.
    set: Option<i64>,
}

impl Mark {
    /// Nothing is known yet.
    ///
    /// # Errors
    /// `out_of_range` for no terms or too many, more that must be known than there are, times that are not above 0, too many samples,
    /// a step of 0 or above 1.
    pub fn new(rule: MarkRule) -> Result<Self> {
        rule.check()?;
        let kept = vec![Kept { next: i64::MIN, ..Kept::default() }; rule.terms.len()];
        Ok(Self {
            rule,
            index: None,
            best: None,
            impact: None,
            last: None,
            outside: None,
            funding: None,
            premium: None,
            kept,
            time: None,
            due: i64::MIN,
            set: None,
        })
    }

    /// How it is made.
    #[must_use]
    pub fn rule(&self) -> &MarkRule {
        &self.rule
    }

    /// Something is seen of the market. Averages are brought to its time first: what they are of until then is what was known before.
    ///
    /// # Errors
    /// `stale_event` for a time before the last; `out_of_range` for a price or rate beyond its bounds, or a bid above its ask. Nothing
    /// is changed then.
    pub fn see(&mut self, seen: Seen, time: i64) -> Result<()> {
        let price =
            |field: &str, ticks: i64| MarkTicks::new(ticks.into(), field).map(MarkTicks::get);
        let pair = |bid: i64, ask: i64| {
            let both = (price("bid", bid)?, price("ask", ask)?);
            if bid <= ask {
                return Ok(both);
            }
            let limit = format!("must not be above the ask, {ask}");
            Err(Error::new(ErrorKind::OutOfRange, "bid", bid, limit))
        };
        let checked = match seen {
            Seen::Index(ticks) => Seen::Index(price("index", ticks)?),
            Seen::Last(ticks) => Seen::Last(price("last", ticks)?),
            Seen::Outside(ticks) => Seen::Outside(price("outside", ticks)?),
            Seen::Best(bid, ask) => pair(bid, ask).map(|(bid, ask)| Seen::Best(bid, ask))?,
            Seen::Impact(bid, ask) => pair(bid, ask).map(|(bid, ask)| Seen::Impact(bid, ask))?,
            Seen::Funding(rate, at) => {
                if rate.unsigned_abs() > RATE_MAX.unsigned_abs() {
                    let limit = format!("must be within {RATE_MAX} parts of {UNIT} either way");
                    return Err(Error::new(ErrorKind::OutOfRange, "rate", rate, limit));
                }
                Seen::Funding(rate, at)
            }
        };
        self.advance(time)?;
        match checked {
            Seen::Index(ticks) if self.index == Some(ticks) => {}
            Seen::Index(ticks) => (self.index, self.premium) = (Some(ticks), None),
            Seen::Last(ticks) => self.last = Some(ticks),
            Seen::Outside(ticks) => self.outside = Some(ticks),
            Seen::Best(bid, ask) => self.best = Some((bid, ask)),
            Seen::Impact(bid, ask) => (self.impact, self.premium) = (Some((bid, ask)), None),
            Seen::Funding(rate, at) => self.funding = Some(Paid::new(rate, at)),
        }
        Ok(())
    }

    /// The mark at a time, from which the next is at most a step away; none where too little is known.
    ///
    /// # Errors
    /// `stale_event` for a time before the last.
    pub fn update(&mut self, now: i64) -> Result<Option<MarkTicks>> {
        self.advance(now)?;
        let (mut known, mut count) = ([0_i64; TERMS_MAX], 0);
        for at in 0..self.rule.terms.len() {
            if let (Some(ticks), Some(slot)) = (self.term(at, now), known.get_mut(count)) {
                (*slot, count) = (ticks, count + 1);
            }
        }
        if count < self.rule.min_terms {
            return Ok(None);
        }
        match known.get_mut(..count) {
            Some([one, other, third]) => {
                let middle = (*one).max(*other).min((*one).min(*other).max(*third));
                *other = middle;
            }
            Some(known) => known.sort_unstable(),
            None => {}
        }
        let (last, half) = (count.saturating_sub(1) / 2, count / 2);
        let (Some(low), Some(high)) = (known.get(last), known.get(half)) else { return Ok(None) };
        let middle =
            if last == half { Some(*high) } else { halved(i128::from(*low) + i128::from(*high)) };
        let mark = middle.map(|middle| self.stepped(middle));
        let mark = mark.and_then(|mark| MarkTicks::new(mark.into(), "mark").ok());
        if let Some(mark) = mark {
            self.set = Some(mark.get());
        }
        Ok(mark)
    }

    /// The index that it has seen last.
    #[must_use]
    pub fn index(&self) -> Option<i64> {
        self.index
    }

    /// The premium of the impact prices over the index as they were seen last, in parts of [`UNIT`]; none where one is not known.
    ///
    /// # Errors
    /// Those of [`super::funding::premium`].
    pub fn premium(&mut self) -> Result<Option<i64>> {
        if self.premium.is_none()
            && let (Some((bid, ask)), Some(index)) = (self.impact, self.index)
        {
            let ticks = |name: &str, ticks: i64| MarkTicks::new(ticks.into(), name);
            let (bid, ask) = (ticks("bid", bid)?, ticks("ask", ask)?);
            self.premium = Some(super::funding::premium(bid, ask, ticks("index", index)?)?);
        }
        Ok(self.premium)
    }

    /// What each term is at the last time, in mark ticks.
    #[must_use]
    pub fn terms(&self) -> Vec<Option<i64>> {
        let now = self.time.unwrap_or(0);
        (0..self.rule.terms.len()).map(|at| self.term(at, now)).collect()
    }

    /// Not further from the last mark than a step.
    fn stepped(&self, price: i64) -> i64 {
        let (Some(step), Some(last)) = (self.rule.step, self.set) else { return price };
        let (num, den, last) = (i128::from(step.num()), i128::from(step.den()), i128::from(last));
        let edge = |part: i128, rounding| {
            let found = div_round(last * part, den, rounding).and_then(|e| i64::try_from(e).ok());
            found.unwrap_or(price)
        };
        let (low, high) = (edge(den - num, Rounding::Ceil), edge(den + num, Rounding::Floor));
        price.clamp(low.max(1), high)
    }

    /// Twice the basis of a price of the own market.
    fn twice_basis(&self, of: Of) -> Option<i64> {
        let twice = match of {
            Of::Mid => self.best.map(|(bid, ask)| bid + ask),
            Of::ImpactMid => self.impact.map(|(bid, ask)| bid + ask),
            Of::Last => self.last.map(|last| 2 * last),
        };
        Some(twice? - 2 * self.index?)
    }

    fn advance(&mut self, now: i64) -> Result<()> {
        if let Some(last) = self.time.filter(|last| now < *last) {
            let limit = format!("time does not go back: it is {last} ms");
            return Err(Error::new(ErrorKind::StaleEvent, "time", now, limit));
        }
        if now >= self.due {
            self.sample(now);
        }
        self.time = Some(now);
        Ok(())
    }

    /// Takes the samples that fall due until a time.
    #[inline(never)]
    fn sample(&mut self, now: i64) {
        self.due = i64::MAX;
        for at in 0..self.rule.terms.len() {
            let (of, every) = match self.rule.terms.get(at) {
                Some(Term::Basis { of, every, .. } | Term::Ema { of, every, .. }) => (*of, *every),
                _ => continue,
            };
            let next = self.kept.get(at).map_or(i64::MIN, |kept| kept.next);
            let Some(time) = self.time.filter(|_| now >= next) else {
                self.due = self.due.min(next);
                continue;
            };
            let due = now.div_euclid(every).saturating_sub(time.div_euclid(every));
            if let Some(kept) = self.kept.get_mut(at) {
                kept.next = now.div_euclid(every).saturating_add(1).saturating_mul(every);
                self.due = self.due.min(kept.next);
            }
            let (Some(basis), 1..) = (self.twice_basis(of), due) else { continue };
            match (self.rule.terms.get(at), self.kept.get_mut(at)) {
                (Some(Term::Basis { samples, .. }), Some(kept)) => {
                    kept.sample(basis, due, *samples);
                }
                (Some(Term::Ema { window, .. }), Some(kept)) => {
                    kept.forget(basis, due, *window, every);
                }
                _ => {}
            }
        }
    }

    /// A term in mark ticks, `half_even`.
    fn term(&self, at: usize, now: i64) -> Option<i64> {
        let index = || self.index.map(i128::from);
        let middle = |both: Option<(i64, i64)>| {
            both.and_then(|(bid, ask)| halved(i128::from(bid) + i128::from(ask)))
        };
        let found = match *self.rule.terms.get(at)? {
            Term::Index => self.index?.into(),
            Term::Last => self.last?.into(),
            Term::Outside => self.outside?.into(),
            Term::Mid => middle(self.best)?.into(),
            Term::ImpactMid => middle(self.impact)?.into(),
            Term::BookMedian => {
                let (bid, ask) = self.best?;
                self.last?.clamp(bid, ask).into()
            }
            Term::Fair { interval, step } => {
                let Paid { rate, at, short } = self.funding?;
                let now = if step == 1 { now } else { now.div_euclid(step) * step };
                let left = (at - now).clamp(0, interval);
                if let Some(fair) = fair(self.index?, short, left, interval) {
                    return Some(fair).filter(|ticks| (1..=TICKS_MAX).contains(ticks));
                }
                let whole = i128::from(UNIT) * i128::from(interval);
                let part = whole + i128::from(rate) * i128::from(left);
                times(index()?, part, whole)?
            }
            Term::Basis { of, .. } => {
                let mean = match self.kept.get(at)?.mean {
                    Some(mean) => mean,
                    // None is due yet.
                    None => div_round(self.twice_basis(of)?.into(), 2, Rounding::HalfEven)?,
                };
                index()? + mean
            }
            Term::Ema { of, .. } => {
                let average = match self.kept.get(at)?.ema {
                    Some(average) => average,
                    None => i128::from(self.twice_basis(of)?) * PARTS,
                };
                index()? + div_round(average, 2 * PARTS, Rounding::HalfEven)?
            }
        };
        i64::try_from(found).ok().filter(|ticks| (1..=TICKS_MAX).contains(ticks))
    }
}

impl Kept {
    /// Takes samples that fell due, of what was known before.
    fn sample(&mut self, basis: i64, due: i64, most: usize) {
        // Those before the last so many are forgotten at once.
        for _ in 0..usize::try_from(due).unwrap_or(most).min(most) {
            if self.samples.len() == most
                && let Some(oldest) = self.samples.pop_front()
            {
                self.sum -= i128::from(oldest);
            }
            self.samples.push_back(basis);
            self.sum += i128::from(basis);
        }
        let count = i128::try_from(self.samples.len()).unwrap_or(1);
        self.mean = div_round(self.sum, 2 * count, Rounding::HalfEven);
    }

    /// Moves the average towards samples that fell due. Where so many were alike it has come to them.
    fn forget(&mut self, basis: i64, due: i64, window: i64, every: i64) {
        let alike = self.alike.filter(|(last, _)| *last == basis).map_or(0, |(_, count)| count);
        let alike = due.saturating_add(alike);
        self.alike = Some((basis, alike));
        let basis = i128::from(basis) * PARTS;
        let mut average = self.ema.unwrap_or(basis);
        if alike > 64 * (window / every + 1) {
            average = basis;
        } else {
            let (every, all) = (i128::from(every), i128::from(window) + i128::from(every));
            for _ in 0..due {
                average +=
                    div_round((basis - average) * every, all, Rounding::HalfEven).unwrap_or(0);
            }
        }
        self.ema = Some(average);
    }
}

/// `index × (1 + rate × left / interval)`, `half_even`, in 64 bits; none where they are not enough. The rate is in parts of a unit:
/// most have few decimals, and what is common to both is gone.
fn fair(index: i64, (rate, unit): (i64, i64), left: i64, interval: i64) -> Option<i64> {
    let product = index.checked_mul(rate)?.checked_mul(left)?;
    let parts = unit.checked_mul(interval)?;
    // One division: what is cut off of a product below 0 is one more.
    let (cut, rest) = (product / parts, product % parts);
    let below = rest < 0;
    let (floor, rest) = (cut - i64::from(below), if below { rest + parts } else { rest });
    let floor = index.checked_add(floor)?;
    let up = rest > parts - rest || (rest == parts - rest && floor % 2 != 0);
    Some(floor + i64::from(up))
}

fn halved(twice: i128) -> Option<i64> {
    div_round(twice, 2, Rounding::HalfEven).and_then(|half| i64::try_from(half).ok())
}

/// `a × b / c`, `half_even`, for `c > 0`; none where a part of it overflows.
fn times(a: i128, b: i128, c: i128) -> Option<i128> {
    let rest = a.checked_mul(b.rem_euclid(c))?;
    let floor = a.checked_mul(b.div_euclid(c))?.checked_add(rest.div_euclid(c))?;
    // What is left is rounded as a part of an even or of an odd number.
    let odd = floor.rem_euclid(2);
    let rounded = div_round(odd * c + rest.rem_euclid(c), c, Rounding::HalfEven)?;
    floor.checked_add(rounded - odd)
}

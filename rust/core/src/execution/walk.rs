//! What a market order would take: the walk of a book, and the questions that turn it around.

use std::cmp::Ordering;

use super::fraction::{Fraction, compare};
use crate::data::book::{tail_place, tail_start};
use crate::data::{Book, Instrument, Ladder, Side};
use crate::numbers::decimal::pow10;
use crate::numbers::limits::TICKS_MAX;
use crate::numbers::rounding::mul_ratio_ceil;
use crate::numbers::{
    Canonical, Decimal, Digest, Error, ErrorKind, Lots, PriceTicks, Quanta, Result, Rounding,
};

/// Decimals of a rounded average price.
const VWAP_DECIMALS: u32 = 12;
/// Decimals of a rounded slippage, in basis points.
const SLIPPAGE_DECIMALS: u32 = 4;
/// Basis points of one, as a power of ten.
const BPS_POWER: u32 = 4;

/// What a market order would take from a book.
///
/// It keeps sums; what has to be divided (fee, average price, slippage) is divided when it is
/// asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Walk {
    /// Σ price ticks × lots.
    value: i128,
    filled: i64,
    unfilled: i64,
    /// Quanta per price tick and lot.
    price_unit: i64,
    fee: Fee,
    /// 0 without a fill.
    worst: i64,
    /// 0 without both sides.
    mid_half_ticks: i64,
    levels: u32,
    side: Side,
}

/// A taker fee in two words: a denominator of 0 is a fee that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fee {
    num: i64,
    den: i64,
}

impl Fee {
    pub(super) fn of(instrument: &Instrument) -> Self {
        let unknown = Self { num: 0, den: 0 };
        instrument.taker_fee().map_or(unknown, |fee| Self { num: fee.num(), den: fee.den() })
    }

    /// `ceil(cost × fee)`.
    pub(super) fn ceil(self, cost: i128) -> Option<i128> {
        let short = i64::try_from(cost).ok().and_then(|cost| cost.checked_mul(self.num));
        match short {
            Some(product) => {
                let (whole, rest) = (product.checked_div(self.den)?, product % self.den);
                Some(i128::from(whole) + i128::from(rest != 0))
            }
            None => mul_ratio_ceil(cost, self.num.into(), self.den.into()),
        }
    }
}

/// The facts of a walk that are not its instrument's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WalkFacts {
    /// Which way it trades.
    pub side: Side,
    /// Lots filled.
    pub filled: Lots,
    /// Lots asked for and not there.
    pub unfilled: Lots,
    /// What was filled costs.
    pub cost: Quanta,
    /// The last price touched.
    pub worst: Option<PriceTicks>,
    /// How many levels were touched.
    pub levels: u32,
    /// Best bid + best ask at the time.
    pub mid_half_ticks: Option<i64>,
}

impl Walk {
    /// A walk from its facts, as they were written down.
    ///
    /// # Errors
    /// `out_of_range` for facts that contradict each other.
    pub fn restore(instrument: &Instrument, facts: &WalkFacts) -> Result<Self> {
        let unit = i128::from(instrument.price_unit());
        check_facts(facts, unit)?;
        Ok(Self {
            value: facts.cost.get() / unit,
            filled: facts.filled.get(),
            unfilled: facts.unfilled.get(),
            price_unit: instrument.price_unit(),
            fee: Fee::of(instrument),
            worst: facts.worst.map_or(0, PriceTicks::get),
            mid_half_ticks: facts.mid_half_ticks.unwrap_or(0),
            levels: facts.levels,
            side: facts.side,
        })
    }

    /// The facts that [`Walk::restore`] takes.
    #[must_use]
    pub fn facts(&self) -> WalkFacts {
        WalkFacts {
            side: self.side,
            filled: self.filled(),
            unfilled: self.unfilled(),
            cost: self.cost(),
            worst: self.worst(),
            levels: self.levels,
            mid_half_ticks: self.mid_half_ticks(),
        }
    }

    /// Which way it trades.
    #[must_use]
    pub fn side(&self) -> Side {
        self.side
    }

    /// Lots filled.
    #[must_use]
    pub fn filled(&self) -> Lots {
        Lots::trusted(self.filled)
    }

    /// Lots asked for and not there.
    #[must_use]
    pub fn unfilled(&self) -> Lots {
        Lots::trusted(self.unfilled)
    }

    /// What was filled costs: exact, and within bounds because the book is.
    #[must_use]
    pub fn cost(&self) -> Quanta {
        Quanta::trusted(self.value.saturating_mul(self.price_unit.into()))
    }

    /// `ceil(cost × taker fee)`; `None` when the fee is unknown.
    #[must_use]
    pub fn fee(&self) -> Option<Quanta> {
        self.fee.ceil(self.cost().get()).map(Quanta::trusted)
    }

    /// The last price touched.
    #[must_use]
    pub fn worst(&self) -> Option<PriceTicks> {
        (self.worst > 0).then(|| PriceTicks::trusted(self.worst))
    }

    /// How many levels were touched.
    #[must_use]
    pub fn levels(&self) -> u32 {
        self.levels
    }

    /// Best bid + best ask at the time: the mid in half price ticks.
    #[must_use]
    pub fn mid_half_ticks(&self) -> Option<i64> {
        (self.mid_half_ticks > 0).then_some(self.mid_half_ticks)
    }

    /// The average price in price ticks, exact; `None` without a fill.
    #[must_use]
    pub fn vwap_ticks(&self) -> Option<Fraction> {
        Fraction::new(self.value, self.filled.into())
    }

    /// The average price, exact; `None` without a fill.
    ///
    /// # Errors
    /// `overflow` when a term leaves 128 bits, which takes a tick of more than some 20 digits.
    pub fn vwap_exact(&self, price_tick: Decimal) -> Result<Option<Fraction>> {
        let Some(ticks) = self.vwap_ticks() else { return Ok(None) };
        let num = ticks.num().checked_mul(price_tick.mantissa());
        let den = pow10(price_tick.scale()).and_then(|p| ticks.den().checked_mul(p));
        let fraction = num.zip(den).and_then(|(num, den)| Fraction::new(num, den));
        fraction.map(Some).ok_or_else(|| Error::overflow("vwap", price_tick))
    }

    /// The average price rounded to 12 decimals against the taker; `None` without a fill.
    ///
    /// # Errors
    /// As [`Walk::vwap_exact`].
    pub fn vwap(&self, price_tick: Decimal) -> Result<Option<Decimal>> {
        let Some(exact) = self.vwap_exact(price_tick)? else { return Ok(None) };
        let rounding = match self.side {
            Side::Buy => Rounding::Ceil,
            Side::Sell => Rounding::Floor,
        };
        let scaled = exact.scaled(VWAP_DECIMALS, rounding);
        let scaled = scaled.ok_or_else(|| Error::overflow("vwap", price_tick))?;
        Ok(Some(Decimal::new(scaled, VWAP_DECIMALS)))
    }

    /// The slippage against the mid as a part of it, exact; `None` without a mid or a fill.
    #[must_use]
    pub fn slippage(&self) -> Option<Fraction> {
        // (value / filled - mid / 2) / (mid / 2); at most 4 × 10^35 in either term.
        let mid = i128::from(self.mid_half_ticks()?);
        let base = i128::from(self.filled) * mid;
        let excess = 2 * self.value - base;
        let num = if self.side == Side::Buy { excess } else { -excess };
        Fraction::new(num, base)
    }

    /// The slippage in basis points, rounded up to 4 decimals; `None` without a mid or a fill.
    #[must_use]
    pub fn slippage_bps(&self) -> Option<Decimal> {
        let scaled = self.slippage()?.scaled(BPS_POWER + SLIPPAGE_DECIMALS, Rounding::Ceil)?;
        Some(Decimal::new(scaled, SLIPPAGE_DECIMALS))
    }

    /// The digest of all it says.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut c = Canonical::of("aivora-walk/0");
        c.text(self.side.name()).int(self.filled).int(self.unfilled).int(self.cost().get());
        c.int(self.fee().map_or(-1, Quanta::get)).int(self.worst);
        c.int(self.levels).int(self.mid_half_ticks);
        c.digest()
    }
}

/// Refuses facts that no walk could have.
fn check_facts(facts: &WalkFacts, unit: i128) -> Result<()> {
    let require = |holds: bool, field: &str, value: i128, limit: &str| {
        if holds { Ok(()) } else { Err(Error::new(ErrorKind::OutOfRange, field, value, limit)) }
    };
    let (filled, cost) = (i128::from(facts.filled.get()), facts.cost.get());
    let unfilled = i128::from(facts.unfilled.get());
    require(filled >= 0, "filled_lots", filled, "must not be negative")?;
    require(unfilled >= 0, "unfilled_lots", unfilled, "must not be negative")?;
    let worst = facts.worst.map_or(0, PriceTicks::get);
    let limit = "a price stands beside lots, and only there";
    require((worst > 0) == (filled > 0), "worst_ticks", worst.into(), limit)?;
    let levels = i128::from(facts.levels);
    let enough = (levels > 0) == (filled > 0) && levels <= filled;
    require(enough, "levels", levels, "must be 1 to the lots filled, or 0 without")?;
    let (best, worst) = match facts.side {
        Side::Buy => (1, i128::from(worst)),
        Side::Sell => (i128::from(TICKS_MAX), i128::from(worst)),
    };
    let whole = cost.rem_euclid(unit) == 0;
    let (low, high) = (filled * best.min(worst), filled * best.max(worst));
    let between = (low..=high).contains(&cost.div_euclid(unit));
    let limit = "must be whole ticks and lots, at prices no worse than the worst";
    require(whole && between, "cost_quanta", cost, limit)?;
    let mid = facts.mid_half_ticks.unwrap_or(3);
    let limit = "must be best bid + best ask";
    require((3..=2 * TICKS_MAX).contains(&mid), "mid_half_ticks", mid.into(), limit)
}

/// The first place a walk may touch, and the lots from there to the best.
pub(super) fn allowed(ladder: &Ladder, limit: Option<PriceTicks>) -> (usize, i64) {
    let (all, _) = ladder.totals();
    let first = limit.map_or(0, |limit| ladder.within(limit));
    let beyond = first.checked_sub(1).and_then(|i| ladder.lots_sums().get(i)).unwrap_or(&0);
    (first, all - beyond)
}

/// The walk of exactly `filled` lots, which are there.
fn take(book: &Book, side: Side, filled: i64, unfilled: i64) -> Walk {
    let ladder = book.taken_by(side);
    let (all, value_all) = ladder.totals();
    let worst = tail_start(ladder.lots_sums(), |sum| *sum > all - filled);
    let mut walk = Walk {
        value: 0,
        filled: 0,
        unfilled: filled.saturating_add(unfilled),
        price_unit: book.instrument().price_unit(),
        fee: Fee::of(book.instrument()),
        worst: 0,
        mid_half_ticks: book.mid_half_ticks().unwrap_or(0),
        levels: 0,
        side,
    };
    let at_worst =
        (ladder.prices().get(worst), ladder.lots_sums().get(worst), ladder.value_sums().get(worst));
    if let (Some(price), Some(lots), Some(value)) = at_worst {
        let partial = filled - (all - lots);
        walk.value = value_all - value + i128::from(*price) * i128::from(partial);
        walk.worst = *price;
        walk.levels = u32::try_from(ladder.len() - worst).unwrap_or(u32::MAX); // at most 2^20
        (walk.filled, walk.unfilled) = (filled, unfilled);
    }
    walk
}

#[cold]
pub(super) fn negative(field: &str, value: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::OutOfRange, field, value, "must not be negative")
}

/// What a market order of `quantity` would take, never past `limit`; the book is not changed.
///
/// An empty or too thin side is not an error: the remainder is unfilled.
///
/// # Errors
/// `out_of_range` for a negative quantity.
///
/// ```
/// # use std::sync::Arc;
/// # use aivora::data::{Book, Side, Venue};
/// use aivora::execution::walk;
/// use aivora::numbers::Lots;
/// # let mut book = Book::new(Arc::new(Venue::builtin("demo")?.get("BTC")?.clone()));
/// let asks = [book.level("64001", "0.7")?, book.level("64002.5", "2")?];
/// book.snapshot(&[], &asks, None)?;
/// let bought = walk(&book, Side::Buy, Lots::new(1_500, "quantity")?, None)?;
/// assert_eq!(bought.cost().get(), (64_001 * 700 + 64_002 * 800 + 400) * 1_000);
/// assert_eq!(bought.levels(), 2);
/// # Ok::<(), aivora::numbers::Error>(())
/// ```
pub fn walk(book: &Book, side: Side, quantity: Lots, limit: Option<PriceTicks>) -> Result<Walk> {
    if quantity.get() < 0 {
        return Err(negative("quantity", quantity));
    }
    let (_, there) = allowed(book.taken_by(side), limit);
    let filled = quantity.get().min(there);
    Ok(take(book, side, filled, quantity.get() - filled))
}

/// The walk of the largest quantity whose cost is at most `notional`, never past `limit`.
///
/// # Errors
/// `out_of_range` for a negative notional.
pub fn walk_notional(
    book: &Book,
    side: Side,
    notional: Quanta,
    limit: Option<PriceTicks>,
) -> Result<Walk> {
    let lots = max_quantity(book, side, Within::Cost(notional))?.get();
    let (_, there) = allowed(book.taken_by(side), limit);
    Ok(take(book, side, lots.min(there), 0))
}

/// What the largest quantity must stay within.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Within {
    /// The slippage of its walk, in basis points of the mid.
    SlippageBps(Decimal),
    /// The cost of its walk, fee not included.
    Cost(Quanta),
    /// The prices its walk touches.
    Limit(PriceTicks),
}

/// The largest quantity whose walk stays within a bound, at most what the book holds.
///
/// It is exact: one lot more does not fit, or is not there.
///
/// # Errors
/// `out_of_range` for a negative bound; `no_mid` for a slippage without both sides; `overflow` for
/// a slippage of more digits than 128 bits compare.
pub fn max_quantity(book: &Book, side: Side, within: Within) -> Result<Lots> {
    let ladder = book.taken_by(side);
    let lots = match within {
        Within::Limit(limit) => allowed(ladder, Some(limit)).1,
        Within::Cost(cost) if cost.get() < 0 => return Err(negative("cost", cost)),
        Within::Cost(cost) => {
            let unit = i128::from(book.instrument().price_unit());
            lots_for_value(ladder, cost.get().div_euclid(unit))
        }
        Within::SlippageBps(bps) => {
            let mid = book.mid_half_ticks().ok_or_else(|| {
                let limit = "slippage is measured against the mid, which needs both sides";
                Error::new(ErrorKind::NoMid, "slippage_bps", book.instrument().symbol(), limit)
            })?;
            lots_for_average(ladder, &Average::at_slippage(side, mid, bps)?)
        }
    };
    Ok(Lots::trusted(lots))
}

/// The level in which a growing quantity ends, with what lies before it.
struct End {
    price: i64,
    lots: i64,
    before: i64,
    value_before: i128,
}

fn end_at(ladder: &Ladder, place: usize) -> Option<End> {
    let (all, value_all) = ladder.totals();
    Some(End {
        price: *ladder.prices().get(place)?,
        lots: *ladder.lots().get(place)?,
        before: all - ladder.lots_sums().get(place)?,
        value_before: value_all - ladder.value_sums().get(place)?,
    })
}

/// The most lots whose Σ price × lots is at most `budget`.
fn lots_for_value(ladder: &Ladder, budget: i128) -> i64 {
    let (_, value_all) = ladder.totals();
    let place = tail_start(ladder.value_sums(), |sum| value_all - sum <= budget);
    let Some(end) = end_at(ladder, place) else { return 0 };
    let rest = budget - end.value_before;
    let part = match i64::try_from(rest) {
        Ok(rest) => rest / end.price,
        Err(_) => i64::try_from(rest / i128::from(end.price)).unwrap_or(i64::MAX),
    };
    end.before + part.min(end.lots)
}

/// A bound on the average price: `num / den` price ticks.
#[derive(Debug, Clone, Copy)]
struct Average {
    side: Side,
    num: i128,
    den: i128,
}

impl Average {
    /// `mid × (1 ± bps / 10^4)`.
    fn at_slippage(side: Side, mid_half_ticks: i64, bps: Decimal) -> Result<Self> {
        if bps.mantissa() < 0 {
            return Err(negative("slippage_bps", bps));
        }
        let wide = || Error::overflow("slippage_bps", bps);
        let one = bps.scale().checked_add(BPS_POWER).and_then(pow10).ok_or_else(wide)?;
        let part = match side {
            Side::Buy => one.checked_add(bps.mantissa()),
            Side::Sell => one.checked_sub(bps.mantissa()),
        };
        let num = part.and_then(|p| p.checked_mul(mid_half_ticks.into())).ok_or_else(wide)?;
        let den = one.checked_mul(2).ok_or_else(wide)?;
        Ok(Self { side, num, den })
    }

    /// Whether an average so ordered against this is no worse.
    fn admits(&self, order: Ordering) -> bool {
        match self.side {
            Side::Buy => order != Ordering::Greater,
            Side::Sell => order != Ordering::Less,
        }
    }

    /// Whether `value / lots` is no worse than this.
    fn holds(&self, value: i128, lots: i64) -> bool {
        lots == 0 || self.admits(compare(value, lots.into(), self.num, self.den))
    }

    /// The first place of a ladder before which all that is better holds.
    fn place_in(&self, ladder: &Ladder) -> usize {
        let (all, value_all) = ladder.totals();
        let (sums, values) = (ladder.lots_sums(), ladder.value_sums());
        let before = |place: usize| -> Option<(i64, i128)> {
            Some((all - sums.get(place)?, value_all - values.get(place)?))
        };
        let short = (i64::try_from(value_all), i64::try_from(self.num), i64::try_from(self.den));
        if let (Ok(_), Ok(num), Ok(den)) = short {
            // No value is above `value_all`: every factor fits 64 bits, and every product 128.
            let (num, den) = (i128::from(num), i128::from(den));
            return tail_place(ladder.len(), |place| {
                let Some((lots, value)) = before(place) else { return false };
                let value = i128::from(i64::try_from(value).unwrap_or(i64::MAX));
                self.admits((value * den).cmp(&(num * i128::from(lots))))
            });
        }
        tail_place(ladder.len(), |place| {
            before(place).is_some_and(|(lots, value)| self.holds(value, lots))
        })
    }

    /// The most lots of the last level for which this holds.
    fn part_of(&self, end: &End) -> i64 {
        let at = |part: i64| {
            let value = end.value_before + i128::from(end.price) * i128::from(part);
            self.holds(value, end.before + part)
        };
        if at(end.lots) {
            return end.lots;
        }
        if let Some(part) = self.solve(end) {
            return part;
        }
        // The closed form left 128 bits: halve the interval, the average only gets worse.
        let (mut fits, mut fails) = (0, end.lots);
        while fails - fits > 1 {
            let half = fits + (fails - fits) / 2;
            if at(half) { fits = half } else { fails = half }
        }
        fits
    }

    /// The part at which the average meets the bound, rounded down; `None` past 128 bits.
    ///
    /// `value + price × part = (num / den) × (before + part)`, solved for `part`.
    fn solve(&self, end: &End) -> Option<i64> {
        let slack = self.num.checked_mul(end.before.into())?;
        let slack = slack.checked_sub(end.value_before.checked_mul(self.den)?)?;
        let excess = i128::from(end.price).checked_mul(self.den)?.checked_sub(self.num)?;
        let part = match (i64::try_from(slack), i64::try_from(excess)) {
            (Ok(slack), Ok(excess)) => slack.checked_div(excess)?,
            _ => i64::try_from(slack.checked_div(excess)?).ok()?,
        };
        Some(part.clamp(0, end.lots))
    }
}

/// The most lots whose average price is no worse than `bound`.
fn lots_for_average(ladder: &Ladder, bound: &Average) -> i64 {
    let end = end_at(ladder, bound.place_in(ladder));
    end.map_or(0, |end| end.before + bound.part_of(&end))
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;

//! What a market order would take: the walk of a book.

use super::fraction::Fraction;
use super::within::{Within, max_quantity};
use crate::data::book::tail_start;
use crate::data::{Book, FillCost, Instrument, Ladder, Side};
use crate::numbers::decimal::pow10;
use crate::numbers::limits::{QUANTA_MAX, TICKS_MAX};
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
    /// What was filled costs, in the unit of `fill`.
    value: i128,
    filled: i64,
    unfilled: i64,
    /// Quanta per price tick and lot; 1 where `fill` is quanta.
    price_unit: i64,
    fill: FillCost,
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
    pub(super) num: i64,
    pub(super) den: i64,
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
        let fill = FillCost::of(instrument, facts.side);
        let unit = i128::from(instrument.price_unit());
        check_facts(facts, fill, unit)?;
        Ok(Self {
            value: facts.cost.get() / unit,
            filled: facts.filled.get(),
            unfilled: facts.unfilled.get(),
            price_unit: instrument.price_unit(),
            fill,
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

    /// What was filled costs: within bounds because the book is; exact where no contract divides.
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

    /// The average price in price ticks, exact: the price at which what was filled is worth what it cost, before any
    /// rounding; `None` without a cost.
    ///
    /// # Errors
    /// `overflow` when a term leaves 128 bits, for contracts that are rounded one by one.
    pub fn vwap_ticks(&self) -> Result<Option<Fraction>> {
        if self.value <= 0 || self.filled <= 0 {
            return Ok(None);
        }
        let (value, filled) = (self.value, i128::from(self.filled));
        let found = match self.fill {
            FillCost::Linear => Fraction::new(value, filled),
            FillCost::Inverse { unit, marks, .. } => {
                Fraction::of_products([filled, unit.into()], [value, marks.into()])
            }
            FillCost::PerContract { inverse, contracts, num, den, marks } => {
                let (contracts, marks) = (i128::from(contracts), i128::from(marks));
                let (num, den) = (i128::from(num), i128::from(den));
                if inverse {
                    Fraction::of_products([filled, contracts, num], [value, den, marks])
                } else {
                    Fraction::of_products([value, den], [filled, contracts, num, marks])
                }
            }
        };
        found.map(Some).ok_or_else(|| Error::overflow("vwap", self.cost()))
    }

    /// The average price, exact; `None` without a cost.
    ///
    /// # Errors
    /// `overflow` when a term leaves 128 bits, which takes a tick of more than some 20 digits.
    pub fn vwap_exact(&self, price_tick: Decimal) -> Result<Option<Fraction>> {
        let Some(ticks) = self.vwap_ticks()? else { return Ok(None) };
        let num = ticks.num().checked_mul(price_tick.mantissa());
        let den = pow10(price_tick.scale()).and_then(|p| ticks.den().checked_mul(p));
        let fraction = num.zip(den).and_then(|(num, den)| Fraction::new(num, den));
        fraction.map(Some).ok_or_else(|| Error::overflow("vwap", price_tick))
    }

    /// The average price rounded to 12 decimals against the taker; `None` without a cost.
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

    /// The slippage of the average price against the mid as a part of it, exact; `None` without a mid or a cost.
    ///
    /// # Errors
    /// `overflow` as [`Walk::vwap_ticks`].
    pub fn slippage(&self) -> Result<Option<Fraction>> {
        let (Some(mid), Some(vwap)) = (self.mid_half_ticks(), self.vwap_ticks()?) else {
            return Ok(None);
        };
        // (vwap - mid / 2) / (mid / 2); of a linear contract at most 4 × 10^35 in either term.
        let mid = i128::from(mid);
        let base = vwap.den().checked_mul(mid);
        let excess =
            vwap.num().checked_mul(2).zip(base).and_then(|(twice, base)| twice.checked_sub(base));
        let num = if self.side == Side::Buy { excess } else { excess.map(|excess| -excess) };
        let found = num.zip(base).and_then(|(num, base)| Fraction::new(num, base));
        found.map(Some).ok_or_else(|| Error::overflow("slippage", self.cost()))
    }

    /// The slippage in basis points, rounded up to 4 decimals; `None` without a mid or a cost.
    ///
    /// # Errors
    /// `overflow` as [`Walk::vwap_ticks`].
    pub fn slippage_bps(&self) -> Result<Option<Decimal>> {
        let Some(slippage) = self.slippage()? else { return Ok(None) };
        let scaled = slippage.scaled(BPS_POWER + SLIPPAGE_DECIMALS, Rounding::Ceil);
        let scaled = scaled.ok_or_else(|| Error::overflow("slippage_bps", self.cost()))?;
        Ok(Some(Decimal::new(scaled, SLIPPAGE_DECIMALS)))
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
fn check_facts(facts: &WalkFacts, fill: FillCost, unit: i128) -> Result<()> {
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
    let best = if facts.side == Side::Buy { 1 } else { TICKS_MAX };
    let whole = cost.rem_euclid(unit) == 0;
    let (low, high) = match fill {
        // 10^18 lots at 10^17 ticks: far below 128 bits.
        FillCost::Linear => (filled * i128::from(best), filled * i128::from(worst)),
        // Each level was rounded by less than one quantum.
        FillCost::Inverse { up, .. } => {
            let at = |price| fill.of_lots(price, facts.filled.get());
            let rounded = levels.max(1) - 1;
            let (down, up) = if up { (0, rounded) } else { (rounded, 0) };
            (at(best.max(worst)) - down, at(best.min(worst).max(1)) + up)
        }
        // Each lot is worth what it is, whatever is filled beside it.
        FillCost::PerContract { .. } => {
            fill.check(worst.max(1), "worst_ticks")?;
            let at = |price| fill.of_lots(price, facts.filled.get());
            // No book holds a price at which a lot is worth more than it may be.
            let best = if fill.check(best, "").is_ok() { at(best) } else { QUANTA_MAX };
            (best, at(worst.max(1)))
        }
    };
    let between = (low.min(high)..=low.max(high)).contains(&cost.div_euclid(unit));
    let limit = "must be what such lots can cost, at prices no worse than the worst";
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
        fill: ladder.cost(),
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
        walk.value = value_all - value + ladder.cost().of_lots(*price, partial);
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

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;

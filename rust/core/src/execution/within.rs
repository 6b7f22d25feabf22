//! The walk turned around: how much may be taken before a bound is passed.

use std::cmp::Ordering;

use super::fraction::{Fraction, compare};
use super::walk::{allowed, negative};
use crate::data::book::{tail_place, tail_start};
use crate::data::{Book, FillCost, Ladder, Side};
use crate::numbers::decimal::pow10;
use crate::numbers::limits::EVALUATIONS_MAX;
use crate::numbers::rounding::{div_ceil, div_floor, mul_div_floor};
use crate::numbers::{Decimal, Error, ErrorKind, Lots, PriceTicks, Quanta, Result};

/// Basis points of one, as a power of ten.
const BPS_POWER: u32 = 4;

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
            lots_for_cost(ladder, cost.get().div_euclid(unit))
        }
        Within::SlippageBps(bps) => {
            let mid = book.mid_half_ticks().ok_or_else(|| {
                let limit = "slippage is measured against the mid, which needs both sides";
                Error::new(ErrorKind::NoMid, "slippage_bps", book.instrument().symbol(), limit)
            })?;
            let bound = Average::at_slippage(side, mid, bps)?;
            match ladder.cost() {
                FillCost::Linear => lots_for_average(ladder, &bound),
                cost => lots_for_worth(ladder, side, &bound, cost, bps)?,
            }
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

/// The most lots that cost at most `budget`, in the unit of the ladder's sums.
fn lots_for_cost(ladder: &Ladder, budget: i128) -> i64 {
    let (_, value_all) = ladder.totals();
    let place = tail_start(ladder.value_sums(), |sum| value_all - sum <= budget);
    let Some(end) = end_at(ladder, place) else { return 0 };
    let rest = budget - end.value_before;
    let part = match ladder.cost() {
        FillCost::Linear => match i64::try_from(rest) {
            Ok(rest) => rest / end.price,
            Err(_) => i64::try_from(rest / i128::from(end.price)).unwrap_or(i64::MAX),
        },
        cost @ (FillCost::Inverse { .. } | FillCost::PerContract { .. })
            if cost.of_lots(end.price, end.lots) <= rest =>
        {
            end.lots
        }
        // The whole level costs more: `rest` is below 10^36, and so is every product with the price.
        FillCost::Inverse { unit, marks, up } => {
            let step = i128::from(end.price) * i128::from(marks);
            // floor(n × unit / step) <= rest as long as n × unit < (rest + 1) × step.
            let most = if up { Some(rest) } else { rest.checked_add(1) };
            let most = most.and_then(|rest| rest.checked_mul(step));
            let most = most.map(|all| (all - i128::from(!up)) / i128::from(unit));
            most.and_then(|lots| i64::try_from(lots).ok()).unwrap_or(i64::MAX)
        }
        cost @ FillCost::PerContract { .. } => {
            let lot = cost.of_lots(end.price, 1); // not 0, or the whole level would cost 0
            rest.checked_div(lot).and_then(|lots| i64::try_from(lots).ok()).unwrap_or(i64::MAX)
        }
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

/// What a lot is worth at the bound on the average price, before rounding: `num / den` quanta.
#[derive(Debug, Clone, Copy)]
struct Worth {
    num: i128,
    den: i128,
    /// Whether a walk fits that costs at most this; else one that costs at least this.
    at_most: bool,
}

impl Worth {
    fn new(side: Side, bound: &Average, cost: FillCost) -> Option<Self> {
        let (price, over) = (bound.num, bound.den);
        let (found, inverse) = match cost {
            FillCost::Linear => (Fraction::new(price, over), false),
            FillCost::Inverse { unit, marks, .. } => {
                (Fraction::of_products([unit.into(), over], [price, marks.into()]), true)
            }
            FillCost::PerContract { inverse, contracts, num, den, marks } => {
                let (contracts, marks) = (i128::from(contracts), i128::from(marks));
                let (num, den) = (i128::from(num), i128::from(den));
                let found = if inverse {
                    Fraction::of_products([contracts, num, over], [den, marks, price])
                } else {
                    Fraction::of_products([contracts, num, marks, price], [den, over])
                };
                (found, inverse)
            }
        };
        let at_most = (side == Side::Buy) != inverse;
        found.map(|worth| Self { num: worth.num(), den: worth.den(), at_most })
    }

    fn fits(&self, value: i128, lots: i64) -> bool {
        let order = || compare(value, lots.into(), self.num, self.den);
        let beyond = if self.at_most { Ordering::Greater } else { Ordering::Less };
        lots == 0 || order() != beyond
    }

    /// Fewer lots than `lots`, which do not fit, such that none between them fits either.
    fn below(&self, ladder: &Ladder, value: i128, lots: i64) -> Option<i64> {
        if self.at_most {
            // Fewer lots may cost no more than these may.
            Some(lots_for_cost(ladder, mul_div_floor(self.num, lots.into(), self.den)?))
        } else {
            // Fewer lots bring no more than these do.
            i64::try_from(mul_div_floor(value, self.den, self.num)?).ok()
        }
    }
}

/// What the best `lots` of a ladder cost.
fn cost_of(ladder: &Ladder, lots: i64) -> i128 {
    let (all, value_all) = ladder.totals();
    let worst = tail_start(ladder.lots_sums(), |sum| *sum > all - lots);
    end_at(ladder, worst).map_or(value_all, |end| {
        end.value_before + ladder.cost().of_lots(end.price, lots - end.before)
    })
}

/// The most lots whose cost is on the right side of what they are worth at the bound.
///
/// Where costs are rounded level by level, whether lots fit may change more than once. But past the prices that keep the
/// bound themselves, each whole level leaves less room than the one before: that finds the level. Inside it, lots that do not
/// fit rule out others below them, down to the answer.
fn lots_for_worth(
    ladder: &Ladder,
    side: Side,
    bound: &Average,
    cost: FillCost,
    bps: Decimal,
) -> Result<i64> {
    let (all, value_all) = ladder.totals();
    if bound.num <= 0 {
        return Ok(all); // every price is better than one below zero
    }
    let wide = || Error::overflow("slippage_bps", bps);
    let worth = Worth::new(side, bound, cost).ok_or_else(wide)?;
    let before = |place: usize| end_at(ladder, place).map(|end| (end.value_before, end.before));
    let limit = match side {
        Side::Buy => div_floor(bound.num, bound.den),
        Side::Sell => div_ceil(bound.num, bound.den),
    };
    let limit = limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(i64::MAX);
    // A contract rounded on its own may keep the bound at a price that does not, and the other way round; but then the
    // average cost only gets worse, and every place may be searched.
    let good = match cost {
        FillCost::PerContract { .. } => ladder.len(),
        _ => ladder.within(PriceTicks::trusted(limit)),
    };
    let (value, lots) = good.checked_sub(1).and_then(before).unwrap_or((value_all, all));
    let mut lots = if good > 0 && worth.fits(value, lots) {
        let fits = |place| before(place).is_some_and(|(value, lots)| worth.fits(value, lots));
        let end = end_at(ladder, tail_place(good, fits));
        end.map_or(all, |end| end.before + most_in(&end, cost, &worth))
    } else {
        lots
    };
    for _ in 0..EVALUATIONS_MAX {
        let value = cost_of(ladder, lots);
        if worth.fits(value, lots) {
            return Ok(lots);
        }
        lots = worth.below(ladder, value, lots).ok_or_else(wide)?;
    }
    let limit = format!("must be found within {EVALUATIONS_MAX} evaluations");
    Err(Error::new(ErrorKind::LimitExceeded, "slippage_bps", bps, limit))
}

/// A bound on the lots of the last level that fit: those that would if what was rounded off were given back.
fn most_in(end: &End, cost: FillCost, worth: &Worth) -> i64 {
    let back = match cost {
        FillCost::Inverse { up, .. } => 1 - 2 * i128::from(up),
        _ => 0,
    };
    let fits = |part: i64| {
        worth.fits(end.value_before + cost.of_lots(end.price, part) + back, end.before + part)
    };
    if fits(end.lots) {
        return end.lots;
    }
    // All that fit without rounding fit here, so wherever this turns, none beyond does.
    let (mut low, mut high) = (0, end.lots);
    while high - low > 1 {
        let half = low + (high - low) / 2;
        if fits(half) { low = half } else { high = half }
    }
    low
}

#[cfg(test)]
#[path = "within_tests.rs"]
mod tests;

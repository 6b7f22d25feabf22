//! What lots filled at a price cost: what a ladder sums, level by level.

use super::book::Side;
use super::contract::Contract;
use super::instrument::Instrument;
use crate::numbers::limits::VALUE_TERM_MAX;
use crate::numbers::rounding::{Rounding, div_round};
use crate::numbers::{Error, ErrorKind, Result};

/// What lots filled at one price cost, in the unit that a ladder sums: quanta, or for a linear contract price × lots,
/// which the price unit makes quanta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FillCost {
    /// `price × lots`.
    Linear,
    /// `lots × unit / (price × marks)` coins: down for who buys, up for who sells, so against the taker.
    Inverse {
        /// Quanta × mark ticks per lot.
        unit: i64,
        /// Mark ticks per price tick.
        marks: i64,
        /// Whether it is rounded up.
        up: bool,
    },
    /// `lots × contracts × half_even(value of one contract)`.
    PerContract {
        /// Whether one contract is worth `num / (den × marks × price)`, not `price × marks × num / den`.
        inverse: bool,
        /// Contracts per lot.
        contracts: i64,
        /// Quanta per contract and mark tick (inverse: quanta × mark ticks), as a fraction: numerator.
        num: i64,
        /// Its denominator.
        den: i64,
        /// Mark ticks per price tick.
        marks: i64,
    },
}

impl FillCost {
    /// That of the orders that trade this way.
    #[must_use]
    pub fn of(instrument: &Instrument, side: Side) -> Self {
        let marks = instrument.marks_per_price();
        match instrument.contract() {
            Contract::Linear { .. } => Self::Linear,
            Contract::Inverse { unit } => Self::Inverse { unit, marks, up: side == Side::Sell },
            Contract::PerContract { inverse, contracts, num, den } => {
                Self::PerContract { inverse, contracts, num, den, marks }
            }
        }
    }

    /// What `lots` cost at `price` ticks; both lie within their bounds, and the price passed [`FillCost::check`].
    #[must_use]
    #[inline]
    pub fn of_lots(self, price: i64, lots: i64) -> i128 {
        match self {
            Self::Linear => i128::from(price) * i128::from(lots),
            Self::Inverse { .. } | Self::PerContract { .. } => self.rounded(price, lots),
        }
    }

    /// The same where it divides: apart, so that its divisions cost a linear contract no register.
    #[inline(never)]
    fn rounded(&self, price: i64, lots: i64) -> i128 {
        match *self {
            Self::Inverse { unit, marks, up } => {
                // At most 10^36 over 10^29.
                let (num, den) =
                    (i128::from(lots) * i128::from(unit), i128::from(price) * i128::from(marks));
                divide(num, den, up)
            }
            cost => cost.per_lot(price).unwrap_or(0) * i128::from(lots),
        }
    }

    /// What one lot costs at `price` ticks where a lot is whole quanta; `None` past 128 bits.
    fn per_lot(self, price: i64) -> Option<i128> {
        let Self::PerContract { inverse, contracts, num, den, marks } = self else { return None };
        let ticks = i128::from(price) * i128::from(marks);
        let (num, den) = (i128::from(num), i128::from(den));
        let one = match (inverse, ticks.checked_mul(den)) {
            (true, Some(step)) => div_round(num, step, Rounding::HalfEven)?,
            (true, None) => 0, // less than 10^18 over more than 10^38
            // Whole denominators first, so that only the result needs to fit.
            (false, _) => {
                let whole = ticks.div_euclid(den).checked_mul(num)?;
                let rest = ticks.rem_euclid(den) * num; // below 10^36
                let tie_up = whole.rem_euclid(2) * den; // an odd whole part turns the parity of a tie
                whole.checked_add(div_round(rest + tie_up, den, Rounding::HalfEven)?)?
                    - whole.rem_euclid(2)
            }
        };
        one.checked_mul(i128::from(contracts))
    }

    /// Refuses a price at which one lot is worth more than a side may sum.
    ///
    /// # Errors
    /// `overflow`, for contracts that are rounded one by one; no other can reach the bound.
    pub fn check(self, price: i64, field: &str) -> Result<()> {
        let Self::PerContract { .. } = self else { return Ok(()) };
        match self.per_lot(price) {
            Some(quanta) if quanta <= i128::from(VALUE_TERM_MAX) => Ok(()),
            _ => {
                let limit = format!("one lot must be worth at most {VALUE_TERM_MAX} quanta");
                let value = format!("{price} price ticks");
                Err(Error::new(ErrorKind::Overflow, field, value, limit))
            }
        }
    }
}

/// `num / den`, down or up, for `num >= 0` and `den > 0`.
fn divide(num: i128, den: i128, up: bool) -> i128 {
    // Half the width divides in a fraction of the time.
    let (whole, rest) = match (u64::try_from(num), u64::try_from(den)) {
        (Ok(num), Ok(den)) if den > 0 => ((num / den).into(), num % den != 0),
        _ => (num.div_euclid(den.max(1)), num.rem_euclid(den.max(1)) != 0),
    };
    whole + i128::from(rest && up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::limits::{LOTS_MAX, TICKS_MAX, UNIT_MAX};

    #[test]
    fn coins_are_rounded_against_the_taker() {
        let buy = FillCost::Inverse { unit: 1_000, marks: 3, up: false };
        let sell = FillCost::Inverse { unit: 1_000, marks: 3, up: true };
        assert_eq!((buy.of_lots(7, 2), sell.of_lots(7, 2)), (95, 96)); // 2000 / 21 = 95.23...
        assert_eq!((buy.of_lots(1, 3), sell.of_lots(1, 3)), (1_000, 1_000));
        let most = FillCost::Inverse { unit: VALUE_TERM_MAX, marks: 1, up: true };
        assert_eq!(most.of_lots(1, LOTS_MAX), 10_i128.pow(36));
        let far = FillCost::Inverse { unit: 1, marks: UNIT_MAX, up: true };
        assert_eq!(far.of_lots(TICKS_MAX, LOTS_MAX), 1);
    }

    #[test]
    fn a_contract_is_rounded_to_the_nearest_even() {
        let of = |inverse, num, den, price| {
            let cost = FillCost::PerContract { inverse, contracts: 1, num, den, marks: 1 };
            cost.of_lots(price, 1)
        };
        // 0.5, 1.5, 2.5 and 3.5 quanta a contract; the whole part odd and even.
        assert_eq!([1, 3, 5, 7].map(|p| of(false, 1, 2, p)), [0, 2, 2, 4]);
        assert_eq!([3, 5].map(|p| of(false, 3, 2, p)), [4, 8]); // 4.5, 7.5
        assert_eq!([2, 4, 8, 3].map(|p| of(true, 10, 1, p)), [5, 2, 1, 3]); // 5, 2.5, 1.25, 3.3...
    }

    #[test]
    fn what_no_side_could_sum_is_refused() {
        let cost = |num| FillCost::PerContract {
            inverse: false,
            contracts: UNIT_MAX,
            num,
            den: 1,
            marks: UNIT_MAX,
        };
        assert!(cost(1).check(1, "price").is_err());
        assert!(cost(VALUE_TERM_MAX).check(TICKS_MAX, "price").is_err());
        let small =
            FillCost::PerContract { inverse: false, contracts: 1, num: 10, den: 1, marks: 1 };
        assert!(small.check(TICKS_MAX, "price").is_ok());
        assert!(small.check(TICKS_MAX + 1, "price").is_err());
        assert!(FillCost::Linear.check(TICKS_MAX, "price").is_ok());
    }
}

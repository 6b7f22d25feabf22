//! What a quantity of a contract is worth at a price. `docs/spec/margin.md`, "The value of a position".

use crate::numbers::rounding::{Rounding, div_ceil, div_floor, div_round};

/// How a contract's value follows from its price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContractKind {
    /// Value = quantity × price × multiplier, in the settlement asset.
    Linear,
    /// The same arithmetic, where the settlement asset is not what the price is quoted in.
    Quanto,
    /// Value = −quantity × multiplier / price, in the coin: who is long owes coins.
    Inverse,
}

impl ContractKind {
    /// Every kind with its name.
    pub const NAMES: &'static [(&'static str, ContractKind)] =
        &[("linear", Self::Linear), ("quanto", Self::Quanto), ("inverse", Self::Inverse)];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Quanto => "quanto",
            Self::Inverse => "inverse",
        }
    }
}

/// Where the value of a position is rounded to whole quanta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueRounding {
    /// The whole position, against the account.
    Position,
    /// One contract, to the nearest (ties to even); the position is a multiple of it.
    PerContract,
}

impl ValueRounding {
    /// Both with their names.
    pub const NAMES: &'static [(&'static str, ValueRounding)] =
        &[("position", Self::Position), ("per_contract", Self::PerContract)];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Position => "position",
            Self::PerContract => "per_contract",
        }
    }
}

/// The arithmetic of one instrument: lots and ticks to quanta of the settlement asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Contract {
    /// `lots × ticks × unit`.
    Linear {
        /// Quanta per tick and lot.
        unit: i64,
    },
    /// `floor(−lots × unit / ticks)`.
    Inverse {
        /// Quanta × ticks per lot.
        unit: i64,
    },
    /// `lots × contracts × half_even(ticks × num / den)`, or of `−num / (ticks × den)`.
    PerContract {
        /// Whether it divides by the price.
        inverse: bool,
        /// Contracts per lot.
        contracts: i64,
        /// Quanta per contract and tick (inverse: quanta × ticks), as a fraction: numerator.
        num: i64,
        /// Its denominator.
        den: i64,
    },
}

/// What one lot is worth, without its sign: `whole + num / den` quanta, `0 <= num < den`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LotValue {
    /// The whole part.
    pub whole: i128,
    /// The numerator of the rest.
    pub num: i128,
    /// Its denominator.
    pub den: i128,
}

impl Contract {
    /// Whether the value of a long is negative, in the coin.
    #[must_use]
    pub const fn is_inverse(self) -> bool {
        matches!(self, Self::Inverse { .. } | Self::PerContract { inverse: true, .. })
    }

    /// Whether the value of any position is whole quanta before any rounding of the position.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        !matches!(self, Self::Inverse { .. })
    }

    /// Quanta of one lot at `ticks`, without its sign; `None` past 128 bits or at no price.
    #[must_use]
    pub fn lot_value(self, ticks: i64) -> Option<LotValue> {
        let p = i128::from(ticks);
        let whole = |whole| LotValue { whole, num: 0, den: 1 };
        match self {
            Self::Linear { unit } => p.checked_mul(i128::from(unit)).map(whole),
            Self::Inverse { unit } => {
                let unit = i128::from(unit);
                Some(LotValue { whole: unit.checked_div(p)?, num: unit.checked_rem(p)?, den: p })
            }
            Self::PerContract { inverse, contracts, num, den } => {
                let (num, den) = (i128::from(num), i128::from(den));
                let one = if inverse {
                    div_round(num, p.checked_mul(den)?, Rounding::HalfEven)?
                } else {
                    div_round(p.checked_mul(num)?, den, Rounding::HalfEven)?
                };
                one.checked_mul(i128::from(contracts)).map(whole)
            }
        }
    }

    /// The value of `lots` (signed) at `ticks`: rounded down, so against the account, where it is not whole.
    #[must_use]
    pub fn value(self, lots: i128, ticks: i64) -> Option<i128> {
        match self {
            // Kept apart: no division where there is nothing to divide.
            Self::Linear { unit } => {
                i128::from(ticks).checked_mul(i128::from(unit))?.checked_mul(lots)
            }
            Self::Inverse { unit } => {
                div_floor(lots.checked_mul(i128::from(unit))?.checked_neg()?, i128::from(ticks))
            }
            Self::PerContract { inverse, .. } => {
                let value = self.lot_value(ticks)?.whole.checked_mul(lots)?;
                if inverse { value.checked_neg() } else { Some(value) }
            }
        }
    }

    /// What `lots` (signed) cost at `ticks`: rounded up, so against the account, where it is not whole.
    #[must_use]
    pub fn cost(self, lots: i128, ticks: i64) -> Option<i128> {
        self.value(lots.checked_neg()?, ticks)?.checked_neg()
    }

    /// The largest whole amount at most what `size` lots (not negative) are worth before rounding: what chooses a
    /// bracket.
    #[must_use]
    pub fn worth(self, size: i128, ticks: i64) -> Option<i128> {
        self.value(size.checked_neg()?, ticks)?.checked_abs()
    }

    /// What `size` lots (not negative) are worth, rounded up.
    #[must_use]
    pub fn worth_up(self, size: i128, ticks: i64) -> Option<i128> {
        match self {
            Self::Inverse { unit } => {
                div_ceil(size.checked_mul(i128::from(unit))?, i128::from(ticks))
            }
            _ => self.worth(size, ticks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inverse_position_is_rounded_against_both_sides() {
        let c = Contract::Inverse { unit: 10 };
        assert_eq!((c.value(1, 3), c.value(-1, 3)), (Some(-4), Some(3)));
        assert_eq!((c.value(3, 3), c.value(-3, 3)), (Some(-10), Some(10)));
        assert_eq!((c.worth(1, 3), c.worth_up(1, 3)), (Some(3), Some(4)));
        assert_eq!(c.lot_value(3), Some(LotValue { whole: 3, num: 1, den: 3 }));
        assert_eq!(c.value(0, 3), Some(0));
        assert_eq!(c.value(1, 0), None);
    }

    #[test]
    fn a_contract_is_rounded_to_the_nearest() {
        // BitMEX, 500 contracts of 1 USD: round(1e8 / 6725) = 14870, round(1e8 / 6726.8) = 14866.
        let c = Contract::PerContract { inverse: true, contracts: 1, num: 1_000_000_000, den: 1 };
        assert_eq!(c.value(-500, 67_250), Some(7_435_000));
        assert_eq!(c.value(-500, 67_268), Some(7_433_000));
        assert_eq!(c.value(500, 67_268), Some(-7_433_000));
        let linear = Contract::PerContract { inverse: false, contracts: 10, num: 1, den: 2 };
        let values = [1, 2, 3, 5].map(|p| linear.value(1, p));
        assert_eq!(values, [Some(0), Some(10), Some(20), Some(20)]); // 0.5, 1, 1.5, 2.5 a contract, ties to even
    }

    #[test]
    fn linear_is_exact() {
        let c = Contract::Linear { unit: 10 };
        assert_eq!(
            (c.value(-3, 7), c.worth(3, 7), c.worth_up(3, 7)),
            (Some(-210), Some(210), Some(210))
        );
        assert_eq!(c.value(i128::MAX, 7), None);
    }
}

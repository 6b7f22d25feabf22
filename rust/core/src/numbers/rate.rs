//! Exact rational rates.

use std::cmp::Ordering;
use std::fmt;

use super::decimal::{Decimal, pow10};
use super::limits::RATE_TERM_MAX;
use super::rounding::{mul_ratio_ceil, mul_ratio_floor};
use super::{Error, ErrorKind, Result};

/// The greatest common divisor of two numbers that are not negative.
#[must_use]
pub const fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The least common multiple of two positive numbers, if it fits.
#[must_use]
pub const fn lcm(a: i128, b: i128) -> Option<i128> {
    (a / gcd(a, b)).checked_mul(b)
}

/// The least common denominator of `rates`, where it is at most `max`.
#[must_use]
pub fn common_denominator(rates: &[Rate], max: i64) -> Option<i64> {
    let den = rates.iter().try_fold(1, |den, rate| lcm(den, i128::from(rate.den)))?;
    i64::try_from(den).ok().filter(|d| *d <= max)
}

/// An exact rational that is not negative, reduced: `num / den`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    num: i64,
    den: i64,
}

impl Rate {
    /// Zero.
    pub const ZERO: Rate = Rate { num: 0, den: 1 };
    /// One.
    pub const ONE: Rate = Rate { num: 1, den: 1 };

    /// `num / den`, reduced.
    ///
    /// # Errors
    /// `out_of_range` when it is negative, or a reduced term is above 10^9.
    pub fn new(num: i128, den: i128, field: &str) -> Result<Self> {
        let shown = || format!("{num}/{den}");
        if num < 0 || den <= 0 {
            return Err(Error::new(ErrorKind::OutOfRange, field, shown(), "must not be negative"));
        }
        let divisor = gcd(num, den);
        let term = |t: i128| i64::try_from(t / divisor).ok().filter(|t| *t <= RATE_TERM_MAX);
        let (Some(num), Some(den)) = (term(num), term(den)) else {
            let limit = "must have a numerator and a denominator of at most 10^9, reduced";
            return Err(Error::new(ErrorKind::OutOfRange, field, shown(), limit));
        };
        Ok(Self { num, den })
    }

    /// Reads `0.004` or `1/75`.
    ///
    /// # Errors
    /// As [`Decimal::parse`] and [`Rate::new`].
    pub fn parse(text: &str, field: &str) -> Result<Self> {
        if let Some((num, den)) = text.split_once('/') {
            let whole = |t| Decimal::parse(t, field)?.whole(Decimal::ONE, field);
            return Self::new(whole(num)?, whole(den)?, field);
        }
        let d = Decimal::parse(text, field)?;
        let den = pow10(d.scale()).ok_or_else(|| {
            Error::new(ErrorKind::OutOfRange, field, text, "must have fewer decimals")
        })?;
        Self::new(d.mantissa(), den, field)
    }

    /// The numerator.
    #[must_use]
    pub const fn num(self) -> i64 {
        self.num
    }

    /// The denominator.
    #[must_use]
    pub const fn den(self) -> i64 {
        self.den
    }

    /// Whether it is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.num == 0
    }

    /// `1 / self`.
    ///
    /// # Errors
    /// `out_of_range` for zero.
    pub fn inverse(self, field: &str) -> Result<Self> {
        Self::new(i128::from(self.den), i128::from(self.num), field)
            .map_err(|_| Error::new(ErrorKind::OutOfRange, field, self, "must be above 0"))
    }

    /// Half of it.
    ///
    /// # Errors
    /// `out_of_range` when the denominator would pass its bound.
    pub fn half(self, field: &str) -> Result<Self> {
        Self::new(i128::from(self.num), i128::from(self.den) * 2, field)
    }

    /// `self + other`.
    ///
    /// # Errors
    /// `out_of_range` when a term would pass its bound.
    pub fn plus(self, other: Self, field: &str) -> Result<Self> {
        let (a, b) = (i128::from(self.num), i128::from(self.den));
        let (c, d) = (i128::from(other.num), i128::from(other.den));
        Self::new(a * d + c * b, b * d, field)
    }

    /// `ceil(amount × rate)`.
    #[must_use]
    pub fn of_ceil(self, amount: i128) -> Option<i128> {
        mul_ratio_ceil(amount, i128::from(self.num), i128::from(self.den))
    }

    /// `floor(amount × rate)`.
    #[must_use]
    pub fn of_floor(self, amount: i128) -> Option<i128> {
        mul_ratio_floor(amount, i128::from(self.num), i128::from(self.den))
    }
}

impl Ord for Rate {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = i128::from(self.num) * i128::from(other.den);
        left.cmp(&(i128::from(other.num) * i128::from(self.den)))
    }
}

impl PartialOrd for Rate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Rate {
    /// As a decimal where it ends, else as a fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let den = i128::from(self.den);
        let decimal = (0..=9).find_map(|n| {
            let power = pow10(n)?;
            (power % den == 0).then(|| Decimal::new(i128::from(self.num) * (power / den), n))
        });
        match decimal {
            Some(d) => write!(f, "{d}"),
            None => write!(f, "{}/{}", self.num, self.den),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_decimals_and_fractions() {
        let r = |t: &str| Rate::parse(t, "r").unwrap();
        assert_eq!(r("0.004").to_string(), "0.004");
        assert_eq!(r("2/150").to_string(), "1/75");
        assert_eq!(r("125").inverse("r").unwrap(), r("0.008"));
        assert_eq!(r("0.025").half("r").unwrap(), r("0.0125"));
        assert!(r("1/75") > r("0.0133") && r("1/75") < r("0.0134"));
        assert_eq!(r("1/3").of_ceil(10), Some(4));
        assert_eq!(r("1/3").of_floor(-10), Some(-4));
        assert_eq!(r("0.1").plus(r("1/3"), "r").unwrap().to_string(), "13/30");
    }

    #[test]
    fn refuses_what_is_out_of_range() {
        for text in ["-0.1", "1/0", "1/-3", "1/2000000001", "0.12345678912"] {
            assert_eq!(Rate::parse(text, "r").unwrap_err().kind(), ErrorKind::OutOfRange, "{text}");
        }
        assert!(Rate::parse("x", "r").is_err());
        assert!(Rate::ZERO.inverse("r").is_err());
    }
}

//! Exact fractions of any size, for figures that are asked one at a time.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Mul, Neg, Sub};

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive, Zero};

use super::decimal::Decimal;
use super::limits::DIGITS_MAX;
use super::{Error, ErrorKind, Rate, Result, Rounding};

/// An exact fraction. No operation on it can overflow; [`Exact::over`] refuses to divide by zero.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exact(BigRational);

impl Exact {
    /// Zero.
    #[must_use]
    pub fn zero() -> Self {
        Self(BigRational::zero())
    }

    /// Reads `-12.5`, `1e-8` or `1/75`.
    ///
    /// # Errors
    /// Those of [`Decimal::parse`]; `out_of_range` for a denominator of zero.
    pub fn parse(text: &str, field: &str) -> Result<Self> {
        if text.len() > DIGITS_MAX {
            let limit = format!("must have at most {DIGITS_MAX} characters");
            return Err(Error::new(ErrorKind::NotANumber, field, text, limit));
        }
        let Some((num, den)) = text.split_once('/') else {
            return Ok(Self::from(Decimal::parse(text, field)?));
        };
        let digits = num.strip_prefix(['-', '+']).unwrap_or(num);
        if [digits, den].iter().any(|part| !part.bytes().all(|byte| byte.is_ascii_digit())) {
            let limit = "must be a fraction of whole numbers such as 1/75";
            return Err(Error::new(ErrorKind::NotANumber, field, format!("{text:?}"), limit));
        }
        let whole = |part: &str| Decimal::parse(part, field)?.whole(Decimal::ONE, field);
        Self::from(whole(num)?).over(&Self::from(whole(den)?), field)
    }

    /// `self / other`.
    ///
    /// # Errors
    /// `out_of_range`, naming the field, where the other is zero.
    pub fn over(&self, other: &Self, field: &str) -> Result<Self> {
        if other.0.is_zero() {
            return Err(Error::new(ErrorKind::OutOfRange, field, 0, "must not be 0"));
        }
        Ok(Self(&self.0 / &other.0))
    }

    /// Without its sign.
    #[must_use]
    pub fn abs(&self) -> Self {
        Self(self.0.abs())
    }

    /// -1, 0 or 1.
    #[must_use]
    pub fn sign(&self) -> i128 {
        match self.cmp(&Self::zero()) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }
    }

    /// The nearest to it from `low` to `high`.
    #[must_use]
    pub fn within(self, low: &Self, high: &Self) -> Self {
        self.max(low.clone()).min(high.clone())
    }

    /// The whole number that it is rounded to.
    fn whole(&self, rounding: Rounding) -> Option<BigInt> {
        let (floor, ceil) = (self.0.floor().to_integer(), self.0.ceil().to_integer());
        Some(match rounding {
            Rounding::Floor => floor,
            Rounding::Ceil => ceil,
            Rounding::TowardZero => self.0.trunc().to_integer(),
            Rounding::AwayFromZero => {
                if self.0.is_negative() {
                    floor
                } else {
                    ceil
                }
            }
            Rounding::HalfEven => {
                let twice = (&self.0 - BigRational::from_integer(floor.clone()))
                    * BigRational::from_integer(2.into());
                let is_odd = (&floor % BigInt::from(2)) != BigInt::zero();
                match twice.cmp(&BigRational::from_integer(1.into())) {
                    Ordering::Less => floor,
                    Ordering::Greater => ceil,
                    Ordering::Equal => {
                        if is_odd {
                            ceil
                        } else {
                            floor
                        }
                    }
                }
            }
            Rounding::Exact => self.0.is_integer().then_some(floor)?,
        })
    }

    /// The whole number of steps next to it, as a number.
    ///
    /// # Errors
    /// `off_grid` where the rounding is `exact` and it is not; `out_of_range` for a step that is not above 0.
    pub fn rounded(&self, step: &Self, rounding: Rounding, field: &str) -> Result<Self> {
        if step.sign() < 1 {
            return Err(Error::new(ErrorKind::OutOfRange, field, step, "must be above 0"));
        }
        let whole = self.over(step, field)?.whole(rounding).ok_or_else(|| {
            let limit = format!("must be a whole number of {step}");
            Error::new(ErrorKind::OffGrid, field, self, limit)
        })?;
        Ok(Self(BigRational::from_integer(whole)) * step)
    }

    /// Cut at the point.
    #[must_use]
    pub fn cut(&self) -> Self {
        Self(self.0.trunc())
    }

    /// The same as a whole number, where it is one of 128 bits.
    #[must_use]
    pub fn to_i128(&self) -> Option<i128> {
        if self.0.is_integer() { self.0.to_integer().to_i128() } else { None }
    }
}

impl From<i128> for Exact {
    fn from(value: i128) -> Self {
        Self(BigRational::from_integer(value.into()))
    }
}

impl From<Decimal> for Exact {
    fn from(value: Decimal) -> Self {
        let ten = BigInt::from(10).pow(value.scale());
        Self(BigRational::new(value.mantissa().into(), ten))
    }
}

impl From<Rate> for Exact {
    fn from(value: Rate) -> Self {
        Self(BigRational::new(value.num().into(), value.den().into()))
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_integer() {
            return write!(f, "{}", self.0.numer());
        }
        write!(f, "{}/{}", self.0.numer(), self.0.denom())
    }
}

macro_rules! operations {
    ($($name:ident $of:ident $op:tt;)+) => {$(
        impl $name for Exact {
            type Output = Self;
            fn $of(self, other: Self) -> Self { Self(self.0 $op other.0) }
        }
        impl $name<&Exact> for Exact {
            type Output = Self;
            fn $of(self, other: &Self) -> Self { Self(self.0 $op &other.0) }
        }
        impl $name<&Exact> for &Exact {
            type Output = Exact;
            fn $of(self, other: &Exact) -> Exact { Exact(&self.0 $op &other.0) }
        }
        impl $name<Exact> for &Exact {
            type Output = Exact;
            fn $of(self, other: Exact) -> Exact { Exact(&self.0 $op other.0) }
        }
    )+};
}

operations! {
    Add add +;
    Sub sub -;
    Mul mul *;
}

impl Neg for Exact {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn exact(text: &str) -> Exact {
        Exact::parse(text, "x").unwrap()
    }

    #[test]
    fn every_rounding_is_that_of_its_name() {
        let one = exact("1");
        for (rounding, wanted) in [
            (Rounding::Floor, ["-3", "-2", "0", "1", "2", "3"]),
            (Rounding::Ceil, ["-2", "-1", "1", "2", "3", "3"]),
            (Rounding::TowardZero, ["-2", "-1", "0", "1", "2", "3"]),
            (Rounding::AwayFromZero, ["-3", "-2", "1", "2", "3", "3"]),
            (Rounding::HalfEven, ["-2", "-2", "0", "2", "2", "3"]),
        ] {
            for (given, wanted) in ["-5/2", "-3/2", "0.5", "1.5", "2.5", "3"].iter().zip(wanted) {
                let found = exact(given).rounded(&one, rounding, "x").unwrap();
                assert_eq!(found, exact(wanted), "{given} {rounding:?}");
            }
        }
        assert_eq!(
            exact("1/2").rounded(&one, Rounding::Exact, "x").unwrap_err().kind(),
            ErrorKind::OffGrid
        );
        assert_eq!(
            exact("1.23").rounded(&exact("0.05"), Rounding::Floor, "x").unwrap(),
            exact("1.2")
        );
    }

    #[test]
    fn nothing_is_divided_by_zero() {
        assert_eq!(Exact::parse("1/0", "x").unwrap_err().kind(), ErrorKind::OutOfRange);
        let step = Exact::zero();
        assert!(exact("1").rounded(&step, Rounding::Floor, "x").is_err());
        assert!(exact("1").over(&step, "x").is_err());
    }
}

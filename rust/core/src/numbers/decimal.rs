//! Exact decimals as read from text, and the grids (ticks, lots, quanta) they must lie on.

use std::fmt;

use super::limits::DIGITS_MAX;
use super::rounding::{Rounding, div_round};
use super::{Error, ErrorKind, Result};

/// An exact decimal: `mantissa × 10^-scale`, without trailing zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    mantissa: i128,
    scale: u32,
}

/// `10^n`, if it fits.
#[must_use]
pub const fn pow10(n: u32) -> Option<i128> {
    10_i128.checked_pow(n)
}

impl Decimal {
    /// Zero.
    pub const ZERO: Decimal = Decimal { mantissa: 0, scale: 0 };
    /// One.
    pub const ONE: Decimal = Decimal { mantissa: 1, scale: 0 };

    /// `mantissa × 10^-scale`.
    #[must_use]
    pub fn new(mantissa: i128, scale: u32) -> Self {
        let (mut mantissa, mut scale) = (mantissa, scale);
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        Self { mantissa, scale }
    }

    /// The digits, without the point.
    #[must_use]
    pub fn mantissa(self) -> i128 {
        self.mantissa
    }

    /// How many of the digits stand after the point.
    #[must_use]
    pub fn scale(self) -> u32 {
        self.scale
    }

    /// Reads a decimal: sign, digits, point, digits, exponent.
    ///
    /// # Errors
    /// `not_finite` for NaN and infinities by any of their usual names; `not_a_number` for any other text;
    /// `overflow` for more digits than 128 bits hold.
    ///
    /// ```
    /// use aivora::numbers::Decimal;
    /// assert_eq!(Decimal::parse("-12.50", "price").unwrap(), Decimal::new(-125, 1));
    /// assert!(Decimal::parse("1_000", "price").is_err());
    /// ```
    pub fn parse(text: &str, field: &str) -> Result<Self> {
        if text.len() > DIGITS_MAX {
            let limit = format!("must have at most {DIGITS_MAX} characters");
            return Err(Error::new(ErrorKind::NotANumber, field, text, limit));
        }
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        if ["nan", "inf", "infinity", "snan"].iter().any(|n| unsigned.eq_ignore_ascii_case(n)) {
            return Err(Error::new(ErrorKind::NotFinite, field, text, "must be finite"));
        }
        let not_a_number = || {
            let limit = "must be a decimal number such as 12.5 or 1e-8";
            Error::new(ErrorKind::NotANumber, field, format!("{text:?}"), limit)
        };
        let (digits, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((digits, exponent)) => {
                (digits, parse_exponent(exponent).ok_or_else(not_a_number)?)
            }
            None => (unsigned, 0),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.len() + part.len() == 0 {
            return Err(not_a_number());
        }
        let too_large = || Error::new(ErrorKind::Overflow, field, text, "must fit 38 digits");
        let mut mantissa: i128 = 0;
        for byte in whole.bytes().chain(part.bytes()) {
            if !byte.is_ascii_digit() {
                return Err(not_a_number());
            }
            let digit = i128::from(byte - b'0');
            mantissa = mantissa
                .checked_mul(10)
                .and_then(|m| m.checked_add(digit))
                .ok_or_else(too_large)?;
        }
        if text.starts_with('-') {
            mantissa = -mantissa;
        }
        let scale = i64::try_from(part.len()).map_err(|_| too_large())? - exponent;
        match u32::try_from(scale) {
            Ok(scale) => Ok(Self::new(mantissa, scale)),
            Err(_) if mantissa == 0 => Ok(Self::ZERO),
            Err(_) => {
                let power = u32::try_from(-scale).ok().and_then(pow10);
                let mantissa = power.and_then(|p| mantissa.checked_mul(p)).ok_or_else(too_large)?;
                Ok(Self::new(mantissa, 0))
            }
        }
    }

    /// The shortest decimal that reads back as this float.
    ///
    /// # Errors
    /// `not_finite` for NaN and infinities; `overflow` past 38 digits.
    pub fn from_float(value: f64, field: &str) -> Result<Self> {
        if value.is_finite() {
            Self::parse(&format!("{value:e}"), field)
        } else {
            Err(Error::new(ErrorKind::NotFinite, field, value, "must be finite"))
        }
    }

    /// Whether it is above zero.
    #[must_use]
    pub fn is_positive(self) -> bool {
        self.mantissa > 0
    }

    /// `self × other`, exact; `None` past 128 bits.
    #[must_use]
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        let mantissa = self.mantissa.checked_mul(other.mantissa)?;
        Some(Self::new(mantissa, self.scale.checked_add(other.scale)?))
    }

    /// `self / unit` as a fraction `(num, den)` with `den > 0`, not reduced; `None` past 128 bits or unless
    /// `unit > 0`.
    #[must_use]
    pub fn ratio(self, unit: Self) -> Option<(i128, i128)> {
        if unit.mantissa <= 0 {
            return None;
        }
        if unit.scale >= self.scale {
            let num = self.mantissa.checked_mul(pow10(unit.scale - self.scale)?)?;
            Some((num, unit.mantissa))
        } else {
            Some((self.mantissa, unit.mantissa.checked_mul(pow10(self.scale - unit.scale)?)?))
        }
    }

    /// How many whole `unit`s this is.
    ///
    /// # Errors
    /// `off_grid` when it is not whole; `overflow` past 128 bits.
    pub fn whole(self, unit: Self, field: &str) -> Result<i128> {
        self.round(unit, Rounding::Exact, field)
    }

    /// How many `unit`s this is, rounded.
    ///
    /// # Errors
    /// `off_grid` for [`Rounding::Exact`] when it is not whole; `overflow` past 128 bits.
    pub fn round(self, unit: Self, rounding: Rounding, field: &str) -> Result<i128> {
        let too_fine = || {
            let limit = format!("must be a whole number of {unit} within 38 digits");
            Error::new(ErrorKind::Overflow, field, self, limit)
        };
        let (num, den) = self.ratio(unit).ok_or_else(too_fine)?;
        div_round(num, den, rounding).ok_or_else(|| {
            let limit = format!("must be a whole number of {unit}");
            Error::new(ErrorKind::OffGrid, field, self, limit)
        })
    }

    /// `count` units of `unit`; `None` past 128 bits.
    #[must_use]
    pub fn of(count: i128, unit: Self) -> Option<Self> {
        Some(Self::new(count.checked_mul(unit.mantissa)?, unit.scale))
    }
}

fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let plain =
        !digits.is_empty() && digits.len() <= 4 && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.mantissa.unsigned_abs().to_string();
        let scale = usize::try_from(self.scale).map_err(|_| fmt::Error)?;
        let sign = if self.mantissa < 0 { "-" } else { "" };
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, part) = padded.split_at(padded.len() - scale);
        write!(f, "{sign}{whole}.{part}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_and_prints() {
        for (text, shown) in [
            ("0", "0"),
            ("-0", "0"),
            ("1", "1"),
            ("+1.50", "1.5"),
            (".5", "0.5"),
            ("5.", "5"),
            ("-12.050", "-12.05"),
            ("1e3", "1000"),
            ("1.5E-3", "0.0015"),
            ("0e9", "0"),
            ("0.00000001", "0.00000001"),
            ("1E+2", "100"),
        ] {
            assert_eq!(Decimal::parse(text, "x").unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_number() {
        for text in [
            "", ".", "-", "1_0", "1,5", " 1", "1 ", "0x1", "1e", "e1", "--1", "1e99999", "٣", "1/3",
        ] {
            let err = Decimal::parse(text, "x").unwrap_err();
            assert_eq!(err.kind(), ErrorKind::NotANumber, "{text}");
        }
        for text in ["nan", "NaN", "-inf", "Infinity"] {
            assert_eq!(Decimal::parse(text, "x").unwrap_err().kind(), ErrorKind::NotFinite);
        }
        let long = "1".repeat(40);
        assert_eq!(Decimal::parse(&long, "x").unwrap_err().kind(), ErrorKind::Overflow);
        assert_eq!(Decimal::parse("1e39", "x").unwrap_err().kind(), ErrorKind::Overflow);
    }

    #[test]
    fn grids() {
        let tick = Decimal::parse("0.25", "tick").unwrap();
        let p = |t: &str| Decimal::parse(t, "p").unwrap();
        assert_eq!(p("10.75").whole(tick, "p").unwrap(), 43);
        let err = p("10.8").whole(tick, "p").unwrap_err();
        assert_eq!(err.kind(), ErrorKind::OffGrid);
        assert_eq!(err.to_string(), "[off_grid] p: got 10.8; must be a whole number of 0.25");
        assert_eq!(p("10.8").round(tick, Rounding::Ceil, "p").unwrap(), 44);
        assert_eq!(p("100").whole(p("25"), "p").unwrap(), 4);
        assert_eq!(Decimal::of(43, tick).unwrap().to_string(), "10.75");
    }

    #[test]
    fn floats_mean_their_shortest_decimal() {
        assert_eq!(Decimal::from_float(0.1, "x").unwrap().to_string(), "0.1");
        assert_eq!(Decimal::from_float(-2.5e-7, "x").unwrap().to_string(), "-0.00000025");
        assert_eq!(Decimal::from_float(f64::NAN, "x").unwrap_err().kind(), ErrorKind::NotFinite);
        assert_eq!(Decimal::from_float(1e300, "x").unwrap_err().kind(), ErrorKind::Overflow);
    }

    proptest::proptest! {
        #[test]
        fn print_then_read(mantissa in proptest::num::i128::ANY, scale in 0_u32..40) {
            let d = Decimal::new(mantissa, scale);
            if d.mantissa() != i128::MIN {
                assert_eq!(Decimal::parse(&d.to_string(), "x").unwrap(), d);
            }
        }
    }
}

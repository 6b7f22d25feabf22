//! The fast way from short text to whole units: the same answers as [`Decimal`], without its width.

use super::instrument::Instrument;
use crate::numbers::limits::{LOTS_MAX, TICKS_MAX};
use crate::numbers::{Decimal, Lots, PriceTicks, Result};

/// Digits of text that surely fit 64 bits.
const SHORT_DIGITS: usize = 18;

/// `text` as a whole number of `unit`s, if it is plain short digits that lie on the grid.
///
/// `None` says nothing about the text: read it with [`Decimal::parse`] and [`Decimal::whole`],
/// which accept all this accepts with the same result, and name what is wrong with the rest.
///
/// ```
/// use aivora::data::grid::read_short;
/// use aivora::numbers::Decimal;
/// assert_eq!(read_short("1.5", Decimal::new(1, 3)), Some(1500));
/// assert_eq!(read_short("1.0005", Decimal::new(1, 3)), None);
/// ```
#[must_use]
pub fn read_short(text: &str, unit: Decimal) -> Option<i64> {
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
    let (mantissa, decimals) = short_digits(digits)?;
    let mantissa = match unit.scale().checked_sub(decimals) {
        Some(up) => mantissa.checked_mul(power(up)?)?,
        None => divide(mantissa, power(decimals - unit.scale())?)?,
    };
    let step = i64::try_from(unit.mantissa()).ok()?;
    let count = if step == 1 { mantissa } else { divide(mantissa, step)? };
    Some(if negative { -count } else { count })
}

/// An order price as text, in ticks.
///
/// # Errors
/// As [`Decimal::parse`] and [`Instrument::price`].
pub fn read_price(instrument: &Instrument, text: &str, field: &str) -> Result<PriceTicks> {
    match read_short(text, instrument.price_tick()) {
        Some(ticks) if (1..=TICKS_MAX).contains(&ticks) => Ok(PriceTicks::trusted(ticks)),
        _ => instrument.price(Decimal::parse(text, field)?, field),
    }
}

/// A quantity as text, in lots.
///
/// # Errors
/// As [`Decimal::parse`] and [`Instrument::quantity`].
pub fn read_quantity(instrument: &Instrument, text: &str, field: &str) -> Result<Lots> {
    match read_short(text, instrument.lot()) {
        Some(lots) if (0..=LOTS_MAX).contains(&lots) => Ok(Lots::trusted(lots)),
        _ => instrument.quantity(Decimal::parse(text, field)?, field),
    }
}

/// Digits with at most one point, as a number below 10^18 and how many of them follow the point.
fn short_digits(digits: &[u8]) -> Option<(i64, u32)> {
    if digits.len() > SHORT_DIGITS {
        return None;
    }
    let (mut mantissa, mut decimals, mut count) = (0_i64, 0_u32, 0_u32);
    let mut point = false;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            mantissa = mantissa * 10 + i64::from(digit);
            decimals += u32::from(point);
            count += 1;
        } else if *byte == b'.' && !point {
            point = true;
        } else {
            return None;
        }
    }
    (count > 0).then_some((mantissa, decimals))
}

/// `10^n`, if it fits 64 bits: looked up, for this is the hot path of every call with text.
fn power(n: u32) -> Option<i64> {
    const POWERS: [i64; 19] = [
        1,
        10,
        100,
        1_000,
        10_000,
        100_000,
        1_000_000,
        10_000_000,
        100_000_000,
        1_000_000_000,
        10_000_000_000,
        100_000_000_000,
        1_000_000_000_000,
        10_000_000_000_000,
        100_000_000_000_000,
        1_000_000_000_000_000,
        10_000_000_000_000_000,
        100_000_000_000_000_000,
        1_000_000_000_000_000_000,
    ];
    POWERS.get(usize::try_from(n).ok()?).copied()
}

/// The quotient, if there is no rest.
fn divide(value: i64, by: i64) -> Option<i64> {
    (value.checked_rem(by)? == 0).then(|| value / by)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slow(text: &str, unit: Decimal) -> Option<i128> {
        Decimal::parse(text, "x").ok()?.whole(unit, "x").ok()
    }

    #[test]
    fn reads_what_is_short_and_whole() {
        let unit = Decimal::new(25, 2);
        for (text, want) in [
            ("10.75", Some(43)),
            ("10.8", None),
            ("-0.25", Some(-1)),
            ("+1", Some(4)),
            ("5.", Some(20)),
            (".5", Some(2)),
            ("0", Some(0)),
            ("-0", Some(0)),
            ("10.7500", Some(43)),
        ] {
            assert_eq!(read_short(text, unit), want, "{text}");
        }
        assert_eq!(read_short("1200", Decimal::new(100, 0)), Some(12));
        for text in ["", ".", "-", "+.", "1_0", "1e3", "nan", "1.2.3", " 1", "٣", "--1"] {
            assert_eq!(read_short(text, unit), None, "{text}");
        }
        assert_eq!(read_short("1", Decimal::new(1, 40)), None);
        assert_eq!(read_short("1", Decimal::ZERO), None);
    }

    proptest! {
        #[test]
        fn what_it_reads_is_what_the_decimal_reads(
            text in "[-+]?[0-9]{0,12}\\.?[0-9]{0,9}[e_ x]?",
            mantissa in prop::sample::select(vec![1_i128, 2, 5, 25, 100, 125]), scale in 0_u32..12,
        ) {
            let unit = Decimal::new(mantissa, scale);
            if let Some(read) = read_short(&text, unit) {
                prop_assert_eq!(Some(i128::from(read)), slow(&text, unit));
            }
        }

        #[test]
        fn plain_numbers_take_the_fast_way(lots in 0_i64..100_000_000, scale in 0_u32..8) {
            let unit = Decimal::new(1, scale);
            let text = Decimal::of(i128::from(lots), unit).unwrap().to_string();
            prop_assert_eq!(read_short(&text, unit), Some(lots));
        }
    }
}

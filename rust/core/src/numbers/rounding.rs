//! Division with a name: no quotient is taken in the core without saying where it rounds to.

use super::{Error, ErrorKind, Result};

/// Where a value that is not whole goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rounding {
    /// The largest whole number at most the value.
    Floor,
    /// The smallest whole number at least the value.
    Ceil,
    /// Cut at the point.
    TowardZero,
    /// To the next whole number away from zero, unless whole.
    AwayFromZero,
    /// The nearest, ties to even.
    HalfEven,
    /// An error unless whole.
    Exact,
}

impl Rounding {
    /// Every rounding with its name.
    pub const NAMES: &'static [(&'static str, Rounding)] = &[
        ("floor", Rounding::Floor),
        ("ceil", Rounding::Ceil),
        ("toward_zero", Rounding::TowardZero),
        ("away_from_zero", Rounding::AwayFromZero),
        ("half_even", Rounding::HalfEven),
        ("exact", Rounding::Exact),
    ];

    /// The rounding with this name.
    ///
    /// # Errors
    /// `out_of_range` for a name that is none.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::NAMES.iter().find(|(n, _)| *n == name).map(|(_, r)| *r).ok_or_else(|| {
            Error::new(
                ErrorKind::OutOfRange,
                "rounding",
                name,
                "must be one of floor, ceil, toward_zero, away_from_zero, half_even, exact",
            )
        })
    }
}

/// `floor(a / b)` for `b > 0`; `None` when `b <= 0`.
#[must_use]
pub const fn div_floor(a: i128, b: i128) -> Option<i128> {
    if b <= 0 { None } else { Some(a.div_euclid(b)) }
}

/// `ceil(a / b)` for `b > 0`; `None` when `b <= 0`.
#[must_use]
pub const fn div_ceil(a: i128, b: i128) -> Option<i128> {
    if b <= 0 {
        return None;
    }
    if let Some(found) = short_ceil(a, b) {
        return Some(found);
    }
    let floor = a.div_euclid(b);
    // The floor is at least -2^127 and, where it is not exact, below 2^127 - 1.
    Some(if a.rem_euclid(b) == 0 { floor } else { floor.saturating_add(1) })
}

/// `a / b` for `b > 0`, rounded by `rounding`; `None` when `b <= 0` or when `exact` is asked and it is not.
#[must_use]
pub const fn div_round(a: i128, b: i128, rounding: Rounding) -> Option<i128> {
    if b <= 0 {
        return None;
    }
    let (floor, rem) = match short_floor(a, b) {
        Some(found) => found,
        None => (a.div_euclid(b), a.rem_euclid(b)),
    };
    if rem == 0 {
        return Some(floor);
    }
    let up = match rounding {
        Rounding::Exact => return None,
        Rounding::Floor => false,
        Rounding::Ceil => true,
        Rounding::TowardZero => a < 0,
        Rounding::AwayFromZero => a > 0,
        // Compare rem with b - rem instead of doubling, which could overflow.
        Rounding::HalfEven => rem > b - rem || (rem == b - rem && floor.rem_euclid(2) == 1),
    };
    Some(if up { floor.saturating_add(1) } else { floor })
}

/// Quotient and remainder, down, for `b > 0`, where 64 bits are enough: a fraction of the time of the wide ones.
#[must_use]
#[allow(clippy::as_conversions, clippy::cast_possible_truncation)] // compared with their bounds
const fn short_floor(a: i128, b: i128) -> Option<(i128, i128)> {
    if a != a as i64 as i128 || b > i64::MAX as i128 {
        return None;
    }
    let (a, b) = (a as i64, b as i64);
    Some((a.div_euclid(b) as i128, a.rem_euclid(b) as i128))
}

/// `ceil(a / b)` for `b > 0`, where the quotient of 64 bits is enough: a fraction of the time of the wide one.
#[must_use]
#[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // compared with their bounds
const fn short_ceil(a: i128, b: i128) -> Option<i128> {
    if a < 0 || a > i64::MAX as i128 || b <= 0 || b > i64::MAX as i128 {
        return None;
    }
    let (a, b) = (a as u64, b as u64);
    Some(a.div_ceil(b) as i128)
}

/// `amount × num / den` rounded up, for `0 <= num`, `0 < den`; splits so that the product cannot overflow
/// while `num <= den`.
#[must_use]
pub const fn mul_ratio_ceil(amount: i128, num: i128, den: i128) -> Option<i128> {
    if den <= 0 || num < 0 {
        return None;
    }
    if let Some(product) = amount.checked_mul(num)
        && let Some(found) = short_ceil(product, den)
    {
        return Some(found);
    }
    let (q, r) = (amount.div_euclid(den), amount.rem_euclid(den));
    let (Some(whole), Some(part)) = (q.checked_mul(num), r.checked_mul(num)) else {
        return None;
    };
    match div_ceil(part, den) {
        Some(up) => whole.checked_add(up),
        None => None,
    }
}

/// `amount × num / den` rounded down; see [`mul_ratio_ceil`].
#[must_use]
pub const fn mul_ratio_floor(amount: i128, num: i128, den: i128) -> Option<i128> {
    if den <= 0 || num < 0 {
        return None;
    }
    let (q, r) = (amount.div_euclid(den), amount.rem_euclid(den));
    let (Some(whole), Some(part)) = (q.checked_mul(num), r.checked_mul(num)) else {
        return None;
    };
    whole.checked_add(part.div_euclid(den))
}

/// `floor(a × b / c)` for `b >= 0`, `c > 0`, exact even where the product needs 256 bits; `None` where the
/// quotient itself does not fit.
#[must_use]
pub fn mul_div_floor(a: i128, b: i128, c: i128) -> Option<i128> {
    if b < 0 || c <= 0 {
        return None;
    }
    if let Some(product) = a.checked_mul(b) {
        return Some(product.div_euclid(c));
    }
    let divisor = super::rate::gcd(b, c).max(1);
    let (b, c) = (b / divisor, c / divisor);
    // Long multiplication by the bits of b from the top; always quotient × c + rest = a × (bits of b so far).
    let (whole, part) = (a.div_euclid(c), a.rem_euclid(c));
    let (mut quotient, mut rest) = (0_i128, 0_i128);
    for bit in (0..128 - b.leading_zeros()).rev() {
        let (add_whole, add_part) = if (b >> bit) & 1 == 1 { (whole, part) } else { (0, 0) };
        rest = rest.checked_mul(2)?.checked_add(add_part)?;
        quotient = quotient.checked_mul(2)?.checked_add(add_whole)?;
        quotient = quotient.checked_add(rest.div_euclid(c))?;
        rest = rest.rem_euclid(c);
    }
    Some(quotient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_past_128_bits_are_exact() {
        assert_eq!(mul_div_floor(7, 1, 2), Some(3));
        assert_eq!(mul_div_floor(-7, 1, 2), Some(-4));
        let e36 = 10_i128.pow(36);
        assert_eq!(mul_div_floor(e36, e36 - 1, e36), Some(e36 - 1));
        assert_eq!(mul_div_floor(-e36, e36 - 1, e36), Some(1 - e36));
        // (10^36 − 1)(10^36 − 3) / (10^36 − 2) = 10^36 − 2 − 1/(10^36 − 2)
        assert_eq!(mul_div_floor(e36 - 1, e36 - 3, e36 - 2), Some(e36 - 3));
        assert_eq!(mul_div_floor(e36, e36, 1), None);
        assert_eq!(mul_div_floor(1, 1, 0), None);
    }

    #[test]
    fn each_rounding_on_both_signs() {
        let table = [
            (7, 2, [Some(3), Some(4), Some(3), Some(4), Some(4), None]),
            (-7, 2, [Some(-4), Some(-3), Some(-3), Some(-4), Some(-4), None]),
            (5, 2, [Some(2), Some(3), Some(2), Some(3), Some(2), None]),
            (-5, 2, [Some(-3), Some(-2), Some(-2), Some(-3), Some(-2), None]),
            (1, 3, [Some(0), Some(1), Some(0), Some(1), Some(0), None]),
            (-1, 3, [Some(-1), Some(0), Some(0), Some(-1), Some(0), None]),
            (6, 3, [Some(2); 6]),
            (-6, 3, [Some(-2); 6]),
        ];
        for (a, b, want) in table {
            let got: Vec<_> = Rounding::NAMES.iter().map(|(_, r)| div_round(a, b, *r)).collect();
            assert_eq!(got, want, "{a}/{b}");
        }
    }

    #[test]
    fn extremes_do_not_wrap() {
        assert_eq!(div_ceil(i128::MAX, 1), Some(i128::MAX));
        assert_eq!(div_floor(i128::MIN, 1), Some(i128::MIN));
        assert_eq!(div_round(i128::MIN, i128::MAX, Rounding::HalfEven), Some(-1));
        assert_eq!(div_floor(1, 0), None);
        assert_eq!(div_ceil(1, -1), None);
    }

    proptest::proptest! {
        #[test]
        fn long_and_short_way_agree(
            a in -1_000_000_000_i128..1_000_000_000, b in 0_i128..1_000_000, c in 1_i128..1_000_000,
        ) {
            // Scaling b and c alike leaves the quotient as it is, and takes the long way.
            let big = 10_i128.pow(30);
            assert_eq!(mul_div_floor(a, b * big, c * big), Some((a * b).div_euclid(c)));
        }

        #[test]
        fn ratio_agrees_with_the_plain_product(
            amount in -1_000_000_000_000_i128..1_000_000_000_000, num in 0_i128..1_000_000, den in 1_i128..1_000_000,
        ) {
            assert_eq!(mul_ratio_ceil(amount, num, den), div_ceil(amount * num, den));
            assert_eq!(mul_ratio_floor(amount, num, den), div_floor(amount * num, den));
        }
    }
}

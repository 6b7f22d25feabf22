//! Exact fractions of 128-bit terms: compared and rounded without leaving 128 bits.

use std::cmp::Ordering;

use crate::numbers::Rounding;
use crate::numbers::rate::gcd;
use crate::numbers::rounding::div_round;

/// A fraction as it comes out of a walk: reduced, its denominator above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fraction {
    num: i128,
    den: i128,
}

impl Fraction {
    /// `num / den`, reduced; `None` unless `den > 0`.
    #[must_use]
    pub const fn new(num: i128, den: i128) -> Option<Self> {
        if den <= 0 || num == i128::MIN {
            return None;
        }
        let divisor = gcd(num.abs(), den);
        Some(Self { num: num / divisor, den: den / divisor })
    }

    /// The product of `nums` over that of `dens`, all above zero; `None` where a reduced term leaves 128 bits.
    #[must_use]
    pub fn of_products<const N: usize, const D: usize>(
        mut nums: [i128; N],
        mut dens: [i128; D],
    ) -> Option<Self> {
        for num in &mut nums {
            for den in &mut dens {
                let divisor = gcd(*num, *den).max(1);
                (*num, *den) = (*num / divisor, *den / divisor);
            }
        }
        let product = |terms: &[i128]| terms.iter().try_fold(1_i128, |all, t| all.checked_mul(*t));
        Self::new(product(&nums)?, product(&dens)?)
    }

    /// The numerator.
    #[must_use]
    pub const fn num(self) -> i128 {
        self.num
    }

    /// The denominator.
    #[must_use]
    pub const fn den(self) -> i128 {
        self.den
    }

    /// `self × 10^digits` as a whole number, down (`Floor`) or up (`Ceil`); `None` past 128 bits.
    ///
    /// One digit is divided out at a time, so that only the result needs to fit.
    #[must_use]
    pub fn scaled(self, digits: u32, rounding: Rounding) -> Option<i128> {
        let mut whole = self.num.div_euclid(self.den);
        let mut rest = self.num.rem_euclid(self.den);
        for _ in 0..digits {
            rest = rest.checked_mul(10)?;
            whole = whole.checked_mul(10)?.checked_add(rest.div_euclid(self.den))?;
            rest = rest.rem_euclid(self.den);
        }
        whole.checked_add(div_round(rest, self.den, rounding)?)
    }
}

/// `a / b` against `c / d`, for `b > 0` and `d > 0`, whatever their size.
#[must_use]
pub fn compare(a: i128, b: i128, c: i128, d: i128) -> Ordering {
    if let (Some(left), Some(right)) = (a.checked_mul(d), c.checked_mul(b)) {
        return left.cmp(&right);
    }
    // Whole parts first; where they agree, the fractions of the rests compare as their inverses do
    // the other way.
    let (mut a, mut b, mut c, mut d) = (a, b, c, d);
    loop {
        let order = a.div_euclid(b).cmp(&c.div_euclid(d));
        let (left, right) = (a.rem_euclid(b), c.rem_euclid(d));
        if order != Ordering::Equal || left == 0 || right == 0 {
            return order.then((left != 0).cmp(&(right != 0)));
        }
        (a, b, c, d) = (d, right, b, left);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn compares_what_no_product_holds() {
        let big = i128::MAX;
        assert_eq!(compare(big, big - 1, big - 1, big - 2), Ordering::Less);
        assert_eq!(compare(big - 1, big - 2, big, big - 1), Ordering::Greater);
        assert_eq!(compare(big, 3, big, 3), Ordering::Equal);
        assert_eq!(compare(-big, 3, big, 2), Ordering::Less);
        assert_eq!(compare(-big, big - 1, -big + 1, big - 2), Ordering::Greater);
        assert_eq!(compare(big - 1, big - 1, big, big), Ordering::Equal);
        assert_eq!(compare(big, 2, (big - 1) / 2, 1), Ordering::Greater);
    }

    #[test]
    fn scales_digit_by_digit() {
        let f = Fraction::new(-2, 6).unwrap();
        assert_eq!((f.num(), f.den()), (-1, 3));
        assert_eq!(f.scaled(4, Rounding::Floor), Some(-3334));
        assert_eq!(f.scaled(4, Rounding::Ceil), Some(-3333));
        assert_eq!(Fraction::new(5, 4).unwrap().scaled(2, Rounding::Ceil), Some(125));
        assert_eq!(Fraction::new(1, 0), None);
        assert_eq!(Fraction::new(i128::MAX, 1).unwrap().scaled(1, Rounding::Ceil), None);
    }

    #[test]
    fn products_are_reduced_before_they_are_made() {
        let big = 10_i128.pow(30);
        let f = Fraction::of_products([big, 6, 7], [9, big, 14]).unwrap();
        assert_eq!((f.num(), f.den()), (1, 3));
        assert_eq!(Fraction::of_products([big, big + 1], [1]), None);
        assert_eq!(Fraction::of_products([1], [0]), None);
    }

    proptest! {
        #[test]
        fn compares_as_the_products_do(
            a in -1_000_000_i128..1_000_000, b in 1_i128..1_000, c in -1_000_000_i128..1_000_000,
            d in 1_i128..1_000, stretch in 0_u32..2,
        ) {
            // Stretched terms overflow a product and take the other way.
            let s = 10_i128.pow(stretch * 30);
            prop_assert_eq!(compare(a * s, b * s, c * s, d * s), (a * d).cmp(&(c * b)));
        }
    }
}

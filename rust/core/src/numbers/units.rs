//! The whole-number units: ticks, lots, quanta. A value of one is never taken for another.

use std::fmt;

use super::limits::{LOTS_MAX, QUANTA_MAX, TICKS_MAX};
use super::{Error, ErrorKind, Result};

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident($inner:ty), $min:expr, $max:expr, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name($inner);

        impl $name {
            #[doc = concat!("A checked number of ", $what, ".")]
            ///
            /// # Errors
            /// `out_of_range` outside the bounds of floor 0.
            pub fn new(value: i128, field: &str) -> Result<Self> {
                match <$inner>::try_from(value) {
                    Ok(v) if ($min..=$max).contains(&v) => Ok(Self(v)),
                    _ => {
                        let limit = format!("must be {} to {} {}", $min, $max, $what);
                        Err(Error::new(ErrorKind::OutOfRange, field, value, limit))
                    }
                }
            }

            #[doc = concat!("A number of ", $what, " that the caller has already checked.")]
            #[allow(dead_code)] // not every unit is made this way
            #[must_use]
            pub(crate) const fn trusted(value: $inner) -> Self {
                Self(value)
            }

            /// The whole number itself.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} {}", self.0, $what)
            }
        }
    };
}

unit!(
    /// A mark or index price.
    MarkTicks(i64), 1, TICKS_MAX, "mark ticks"
);
unit!(
    /// A price of an order, a fill or a book level.
    PriceTicks(i64), 1, TICKS_MAX, "price ticks"
);
unit!(
    /// A quantity; signed for a position.
    Lots(i64), -LOTS_MAX, LOTS_MAX, "lots"
);
unit!(
    /// An amount of an asset.
    Quanta(i128), -QUANTA_MAX, QUANTA_MAX, "quanta"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold() {
        assert!(MarkTicks::new(0, "mark").is_err());
        assert!(MarkTicks::new(i128::from(TICKS_MAX), "mark").is_ok());
        assert!(MarkTicks::new(i128::from(TICKS_MAX) + 1, "mark").is_err());
        assert!(Lots::new(i128::from(-LOTS_MAX), "q").is_ok());
        assert!(Quanta::new(QUANTA_MAX + 1, "a").is_err());
        assert!(Quanta::new(i128::MIN, "a").is_err());
    }
}

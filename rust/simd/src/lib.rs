//! The inner loop of the batch margin scan: legs in, sums of values and requirements out.
//!
//! A *row* is the legs of one pool that settle in one asset. Rows with the same number of legs stand together in a
//! [`Group`], so that no branch depends on how many legs a row has. Of each leg the scan reads eight bytes; all else
//! is in a [`Table`], made for one set of prices:
//!
//! * what one lot is worth, in quanta: a whole number, and for contracts that divide by the price a fraction;
//! * the sizes at which the leg's bracket changes at this price, so that choosing a bracket compares sizes only: twelve
//!   of them, in one cache line with what a lot is worth, and no branch;
//! * for each bracket two rates as fractions of 2^64.
//!
//! # Exactness
//!
//! For a rate `a / b` let `R = floor(a 2^64 / b)`, that is `a 2^64 = b R + e` with `0 <= e < b`. For a notional `N` with
//! `N b <= 2^64 - b`, `ceil(N a / b) = floor((N R + 2^64 - 1) / 2^64)`: where `N a / b` is the whole number `n`, `N R` is
//! `n 2^64 - N e / b`, less than 2^64 below it; where it is `n + f / b` with `1 <= f < b`, `N R` is at least
//! `n 2^64 + (2^64 - N e) / b > n 2^64`. A deduction `D / b` is taken off as `floor(D 2^64 / b)`, which adds an error
//! below 1 upwards, to a whole number: where `(N a - D) / b` is whole the sum stays below the next multiple of 2^64,
//! and where it is not, `2^64 - N e >= b` leaves room for it. So every requirement here is the exact one, rounded up.
//!
//! For a size `s` and a lot worth `w + p / q` quanta, `part = ceil(p 2^64 / q)`: the product `s part` is
//! `s p / q 2^64` and less than `s` more. So where `s p / q` is whole, its low 64 bits are below `s` (or both are 0); where it is
//! not, they are at least `2^64 / q > s` for `s q < 2^64`. Whole part and remainder are exact.
//!
//! All sums wrap modulo 2^64; the caller proves that the true ones fit. A size past what a table is exact for falls into
//! a bracket that adds [`POISON`] to the maintenance sum, and its row is computed in another way.

#![deny(unsafe_op_in_unsafe_fn)]

mod ahead;
mod flags;
mod kernel;
mod path;
mod sums;
mod table;

pub use ahead::read_ahead;
pub use flags::flags;
pub use kernel::{Columns, Group, Held, Leg, OrderLeg};
pub use path::Path;
pub use sums::sums;
pub use table::{BRACKETS, Bracket, Lot, POISON, Rate, Schedule, Table};

//! Floor 0: what is a price, a quantity, an amount, a rate. See `docs/spec/numbers.md`.

pub mod decimal;
pub mod digest;
pub mod error;
pub mod exact;
pub mod limits;
pub mod rate;
pub mod rounding;
pub mod units;

pub use decimal::Decimal;
pub use digest::{Canonical, Digest};
pub use error::{Details, Error, ErrorGroup, ErrorKind, Result};
pub use exact::Exact;
pub use rate::Rate;
pub use rounding::Rounding;
pub use units::{Lots, MarkTicks, PriceTicks, Quanta};

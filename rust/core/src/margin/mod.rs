//! Floor 3: who can pay? Pools, requirements, the batch check, liquidation and bankruptcy prices.
//! See `docs/spec/margin.md`.

pub mod check;
pub mod explain;
mod lanes;
pub mod leg;
pub mod portfolio;
pub mod price;
pub mod requirement;

pub use check::{Column, PoolMargin, Report, Status};
pub use explain::{Explanation, LegLine};
pub use leg::{Leg, LegSide, PoolKind};
pub use portfolio::{PoolId, PoolKey, Portfolio, PortfolioBuilder};
pub use price::{BankruptcyPrice, Flip, LiquidationPrice};

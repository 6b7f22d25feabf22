//! Floor 3: who can pay? Pools, requirements, the batch check, liquidation and bankruptcy prices.
//! See `docs/spec/margin.md`.

pub mod assess;
pub mod builder;
pub mod check;
pub mod collateral;
pub mod explain;
pub(crate) mod formulas;
pub mod funding;
pub mod holdings;
mod lanes;
pub mod ledger;
pub mod leg;
mod names;
pub mod portfolio;
pub mod price;
pub mod requirement;
mod rows;
mod span;
mod store;
pub mod update;
mod valuation;
pub mod watch;
mod wide;
pub mod withdrawal;

pub use assess::{AssetMargin, PoolMargin, Status};
pub use builder::{PoolKey, PoolPlace, PortfolioBuilder};
pub use check::{Column, Report, ReportSlices};
pub use explain::{Explanation, LegLine};
pub use funding::{Funding, Payment};
pub use holdings::{Head, Holdings};
pub use ledger::{Ledger, Pool};
pub use leg::{Leg, LegSide, PoolKind};
pub use portfolio::{Balance, Memory, OpenInterest, PoolId, Portfolio};
pub use price::{BankruptcyPrice, Flip, LiquidationPrice};
pub use update::Position;
pub use watch::{Changes, Hit, PriceOf, Tick, Watch};
pub use withdrawal::{Binding, Withdrawal};

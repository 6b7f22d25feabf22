//! Floor 2: which price counts for what. `docs/spec/pricing.md`.

pub mod funding;
pub mod index;
mod prices;
pub mod validity;

pub use prices::Prices;

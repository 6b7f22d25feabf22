//! Floor 2: which price counts for what. `docs/spec/pricing.md`.

pub(crate) mod formulas;
pub mod funding;
pub mod index;
pub mod mark;
pub mod path;
mod prices;
pub mod restart;
pub mod validity;

pub use prices::Prices;

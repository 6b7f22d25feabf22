//! Floor 1: what came in, and may we believe it? Cards, instruments and the order book.

pub mod card;
pub mod instrument;
pub mod tiers;
pub mod tree;

pub use card::{Basis, ClosingFee, InstrumentId, Rules, Venue};
pub use instrument::{ContractKind, Instrument};
pub use tiers::{Bracket, TierBy, Tiers};

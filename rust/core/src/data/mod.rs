//! Floor 1: what came in, and may we believe it? Cards, instruments and the order book.

pub mod book;
pub mod card;
pub mod grid;
pub mod instrument;
pub mod tiers;
pub mod tree;

pub use book::{Book, Ladder, Level, Side};
pub use card::{Basis, ClosingFee, InstrumentId, Rules, Venue};
pub use instrument::{ContractKind, Instrument};
pub use tiers::{Bracket, TierBy, Tiers};

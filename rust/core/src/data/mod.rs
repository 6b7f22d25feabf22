//! Floor 1: what came in, and may we believe it? Cards, instruments and the order book.

pub mod asset;
pub mod book;
pub mod books;
pub mod card;
pub mod contract;
pub mod definition;
pub mod deltas;
pub mod depth;
pub mod fill;
pub mod formula;
pub mod grid;
pub mod instrument;
pub mod path_rules;
pub mod permits;
pub mod policy;
pub mod price_rules;
pub mod tiers;
pub mod tree;

pub use asset::{Asset, AssetId, Slice, Worth};
pub use book::{Book, Ladder, Level, Side};
pub use books::{Books, SideColumns};
pub use card::{Basis, CheckOn, ClosingFee, InstrumentId, Rules, Venue};
pub use contract::{Contract, ContractKind, LotValue, ValueRounding};
pub use definition::{Definition, FIGURES, Figure};
pub use deltas::Deltas;
pub use fill::FillCost;
pub use formula::{FORMULAS, Formula};
pub use instrument::Instrument;
pub use path_rules::PathRules;
pub use policy::Policy;
pub use price_rules::PriceRules;
pub use tiers::{Bracket, ROOT_FACTOR_DEN, ROOT_RATE_DEN, TierBy, Tiers};

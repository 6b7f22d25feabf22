//! The roof: one state machine over all floors. It is told what happened and answers what follows. `docs/spec/engine.md`.

mod account;
mod ahead;
pub mod columns;
pub mod decision;
pub mod event;
mod executor;
mod hash;
pub mod journal;
mod liquidate;
mod machine;
mod market;
pub mod orders;
pub mod outcome;
mod replay;
mod snapshot;
pub mod state;
mod tally;
pub mod text;
pub mod trade;
pub mod wire;

pub use crate::data::policy::{self, Policy};
pub use columns::Columns;
pub use decision::{About, Change, Decision, Rule, Sight, Traded, Turn};
pub use event::{Ended, Event, Party, Scope, What};
pub use machine::{Answer, Engine, Recovery, Verified, texts};
pub use orders::Order;
pub use outcome::{Cancelled, ForcedOrder, Gate, Outcome};
pub use state::{Funds, State};
pub use tally::Tally;
pub use trade::{OrderCheck, OrderMargin, TradeMargin};

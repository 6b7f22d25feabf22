//! Floor 4: what happens when they cannot pay? The book walk, and what an exit costs. See `docs/spec/book.md`.

pub mod adl;
pub mod books;
pub mod exit;
pub mod formulas;
pub mod fraction;
pub mod many;
pub mod walk;
pub mod within;

pub use adl::{AdlRanking, Counterparty, deleverage};
pub use books::walk_packed;
pub use exit::{Exit, exit, withdrawable_after_exits};
pub use formulas::formula;
pub use fraction::Fraction;
pub use many::{Amounts, Walks, walk_books, walk_many};
pub use walk::{Walk, WalkFacts, walk, walk_notional};
pub use within::{Within, max_quantity};

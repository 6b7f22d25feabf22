//! Floor 4: what happens when they cannot pay? The book walk, and what an exit costs. See `docs/spec/book.md`.

pub mod exit;
pub mod fraction;
pub mod walk;

pub use exit::{Exit, exit, withdrawable_after_exits};
pub use fraction::Fraction;
pub use walk::{
    Walk, WalkFacts, Walks, Within, max_quantity, walk, walk_books, walk_many, walk_notional,
};

//! Floor 4: what happens when they cannot pay? Version 0 holds the book walk. See
//! `docs/spec/book.md`.

pub mod fraction;
pub mod walk;

pub use fraction::Fraction;
pub use walk::{
    Walk, WalkFacts, Walks, Within, max_quantity, walk, walk_books, walk_many, walk_notional,
};

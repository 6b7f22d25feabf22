//! One error for the whole core: a kind with a stable code, and always the field, value and limit.

use std::fmt;

macro_rules! error_kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $group:ident;)+) => {
        /// What went wrong. The code is stable; new kinds may be added.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind { $($(#[$doc])* $name,)+ }

        impl ErrorKind {
            /// Every kind, in order of declaration.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$name,)+];

            /// The stable code of this kind.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(ErrorKind::$name => $code,)+ }
            }

            /// The part of the core whose input this kind is about.
            #[must_use]
            pub const fn group(self) -> ErrorGroup {
                match self { $(ErrorKind::$name => ErrorGroup::$group,)+ }
            }
        }
    };
}

/// The families of errors; a binding maps each to one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorGroup {
    /// A number could not be read or left its range.
    Number,
    /// A float was given where an exact number is asked.
    Float,
    /// A venue card is wrong.
    Card,
    /// A table of accounts, positions, orders or pools is wrong.
    Table,
    /// A name is not known.
    Lookup,
    /// A price is missing or wrong.
    Price,
    /// A book or a message to it is wrong.
    Book,
    /// An engine refuses what it is told, by its rules.
    Refused,
    /// A journal is damaged, or cannot be written.
    Journal,
    /// A bound of the core was reached.
    Limit,
    /// A defect of the core itself.
    Invariant,
}

error_kinds! {
    /// Text that is not a number of the accepted form.
    NotANumber = "not_a_number", Number;
    /// NaN or an infinity.
    NotFinite = "not_finite", Number;
    /// A float where an exact number is asked.
    FloatGiven = "float_given", Float;
    /// A value that is not a whole number of its unit.
    OffGrid = "off_grid", Number;
    /// A value outside its range.
    OutOfRange = "out_of_range", Number;
    /// A product or sum that leaves the bounds of floor 0.
    Overflow = "overflow", Number;
    /// The card is not TOML, or has an unknown, missing or mistyped key.
    BadCard = "bad_card", Card;
    /// Tiers with gaps, overlaps, falling rates or a wrong published amount.
    BadTiers = "bad_tiers", Card;
    /// No built-in card has this name and no file is at this path.
    UnknownVenue = "unknown_venue", Lookup;
    /// The venue has no such instrument.
    UnknownInstrument = "unknown_instrument", Lookup;
    /// The portfolio has no such account or pool.
    UnknownAccount = "unknown_account", Lookup;
    /// The pool does not hold this instrument or leg.
    UnknownLeg = "unknown_leg", Lookup;
    /// The venue has no such asset, or gives it no price.
    UnknownAsset = "unknown_asset", Lookup;
    /// An index has no source of that name.
    UnknownSource = "unknown_source", Lookup;
    /// A key that may stand once stands twice.
    DuplicateKey = "duplicate_key", Table;
    /// Columns of one table have different lengths.
    LengthMismatch = "length_mismatch", Table;
    /// A column is missing, unknown or of the wrong type.
    BadColumn = "bad_column", Table;
    /// A leg's sign, its mix with other legs, or its pool's kind does not allow it.
    BadLeg = "bad_leg", Table;
    /// Rows of one pool that are in several assets, where it holds one.
    BadCollateral = "bad_collateral", Table;
    /// A held instrument has no mark, or a held asset no price.
    MissingPrice = "missing_price", Price;
    /// A price that is zero or negative.
    BadPrice = "bad_price", Price;
    /// A snapshot side that is not strictly sorted.
    UnsortedBook = "unsorted_book", Book;
    /// Best bid at or above best ask.
    CrossedBook = "crossed_book", Book;
    /// A delta that does not follow the book's sequence.
    SequenceGap = "sequence_gap", Book;
    /// A delta before any snapshot.
    NoSnapshot = "no_snapshot", Book;
    /// A question that needs a mid, asked of a book without both sides.
    NoMid = "no_mid", Book;
    /// A line of a feed or file that cannot be read.
    CorruptLine = "corrupt_line", Book;
    /// A venue's checksum that is not that of the book.
    BadChecksum = "bad_checksum", Book;
    /// An optional package is needed and is not installed.
    MissingExtra = "missing_extra", Lookup;
    /// A fee rate is needed and the card has none.
    UnknownFee = "unknown_fee", Card;
    /// A rule that the card does not give.
    Unsaid = "unsaid", Card;
    /// There is no formula of this name.
    UnknownFormula = "unknown_formula", Card;
    /// An input of a formula that is unknown, missing, or not one of its words.
    BadInput = "bad_input", Lookup;
    /// An event that is not after the last one of its source, or whose time is before that of the engine.
    StaleEvent = "stale_event", Refused;
    /// What a pool has does not cover what this would require.
    InsufficientMargin = "insufficient_margin", Refused;
    /// No such order is open.
    UnknownOrder = "unknown_order", Refused;
    /// A fill that does not fit the order it names.
    BadFill = "bad_fill", Refused;
    /// Trading is halted, the instrument delisted, or the account throttled.
    NotTrading = "not_trading", Refused;
    /// The pool is being liquidated.
    PoolLocked = "pool_locked", Refused;
    /// Bytes of a journal that are not what this version writes.
    JournalCorrupt = "journal_corrupt", Journal;
    /// A journal of another version.
    JournalVersion = "journal_version", Journal;
    /// A journal that could not be read or written.
    JournalIo = "journal_io", Journal;
    /// A journal, or the engine that writes it, that takes nothing more.
    ReadOnly = "read_only", Journal;
    /// A bound of `limits` was reached.
    LimitExceeded = "limit_exceeded", Limit;
    /// The core contradicts itself; a defect.
    InvariantBroken = "invariant_broken", Invariant;
}

/// The error of every fallible function here: what, where, which value, which limit, which row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(Box<Details>);

/// What an [`Error`] carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// What went wrong.
    pub kind: ErrorKind,
    /// The field, column or key concerned.
    pub field: String,
    /// The value that was seen.
    pub value: String,
    /// What would have been accepted.
    pub limit: String,
    /// The row or line, counted from 0 in tables and from 1 in files.
    pub row: Option<u64>,
}

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.kind.code(), self.field)?;
        if let Some(row) = self.row {
            write!(f, " (row {row})")?;
        }
        write!(f, ": got {}; {}", self.value, self.limit)
    }
}

/// The result of every fallible function here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind` at `field`, which had `value` where `limit` holds.
    #[cold]
    pub fn new(
        kind: ErrorKind,
        field: impl Into<String>,
        value: impl fmt::Display,
        limit: impl Into<String>,
    ) -> Self {
        Self(Box::new(Details {
            kind,
            field: field.into(),
            value: value.to_string(),
            limit: limit.into(),
            row: None,
        }))
    }

    /// The same error, at a row.
    #[must_use]
    pub fn at_row(mut self, row: usize) -> Self {
        self.0.row = u64::try_from(row).ok();
        self
    }

    /// The same error, its field read as a part of `outer`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.0.field = format!("{outer}.{}", self.0.field);
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// All it carries.
    #[must_use]
    pub fn details(&self) -> &Details {
        &self.0
    }

    /// A broken invariant: a defect of the core.
    #[cold]
    #[must_use]
    pub fn invariant(what: &'static str) -> Self {
        Self::new(ErrorKind::InvariantBroken, what, "a contradiction", "please report it")
    }

    /// A result that left the bounds of floor 0.
    #[cold]
    #[must_use]
    pub fn overflow(field: &'static str, operands: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Overflow, field, operands, "must stay within 10^36 quanta either way")
    }
}

//! Every bound of the core, in one place. Past one of them a typed error, never a wrap or a cut.

/// Largest price in mark ticks (and in price ticks).
pub const TICKS_MAX: i64 = 100_000_000_000_000_000;
/// Largest quantity in lots, either way.
pub const LOTS_MAX: i64 = 1_000_000_000_000_000_000;
/// Largest amount in quanta, either way: 10^36.
pub const QUANTA_MAX: i128 = 1_000_000_000_000_000_000_000_000_000_000_000_000;
/// Largest `quanta per tick and lot` of an instrument.
pub const UNIT_MAX: i64 = 1_000_000_000_000;
/// Largest `quanta × ticks per lot` of an inverse instrument, and largest term of what a quantum is worth per tick.
pub const VALUE_TERM_MAX: i64 = 1_000_000_000_000_000_000;
/// Largest numerator or denominator of a rate, and the largest common denominator of a bracket list.
pub const RATE_TERM_MAX: i64 = 1_000_000_000;
/// Largest common denominator of rates that grow with size, counted per lot.
pub const SLOPE_TERM_MAX: i64 = 1_000_000_000_000;
/// Largest common denominator of rates that grow with value, counted per quantum.
pub const VALUE_SLOPE_TERM_MAX: i64 = 1_000_000_000_000_000_000;
/// Instruments in one venue.
pub const INSTRUMENTS_MAX: usize = 4_096;
/// Assets in one venue.
pub const ASSETS_MAX: usize = 256;
/// Slices of one asset's haircuts.
pub const SLICES_MAX: usize = 16;
/// Brackets in one instrument.
pub const BRACKETS_MAX: usize = 64;
/// Legs in one pool.
pub const LEGS_MAX: usize = 4_096;
/// Rows in one table.
pub const ROWS_MAX: usize = 1 << 28;
/// Bytes of all names of one list.
pub const NAMES_BYTES_MAX: usize = 4_294_967_295;
/// Levels on one side of a book.
pub const LEVELS_MAX: usize = 1 << 20;
/// Evaluations of a verdict that one liquidation price may take.
pub const EVALUATIONS_MAX: u64 = 4_194_304;
/// Bytes of one card.
pub const CARD_BYTES_MAX: usize = 1 << 26;
/// Digits of one decimal number as text.
pub const DIGITS_MAX: usize = 80;
/// Threads of one scan.
pub const THREADS_MAX: usize = 256;
/// Bytes of one record of a journal.
pub const JOURNAL_RECORD_MAX: usize = 1 << 27;
/// Bytes after which a segment of a journal is sealed, at most: a segment is read as a whole.
pub const JOURNAL_SEGMENT_BYTES_MAX: u64 = 1 << 32;
/// Segments of one journal.
pub const JOURNAL_SEGMENTS_MAX: u64 = 1 << 24;

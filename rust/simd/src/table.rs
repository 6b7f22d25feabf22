//! What a scan reads beside the legs, at one set of prices.

use std::sync::Arc;

/// Brackets of one instrument that the table has room for.
pub const BRACKETS: usize = 12;

/// What a leg adds to the maintenance sum where the table does not hold for its size. A row of at most 31 legs whose
/// true sum is below half of this shows by its sum whether it has such a leg.
pub const POISON: u64 = 1 << 58;

/// A rate as a fraction of 2^64, rounded down, and the largest notional it is exact for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// `floor(num 2^64 / den)`.
    pub scaled: u64,
    /// The largest notional `N` with `N den <= 2^64 - den`.
    pub notional_max: u64,
}

const ONE: u128 = 1 << 64;

fn low(value: u128) -> u64 {
    u64::try_from(value & (ONE - 1)).unwrap_or(u64::MAX)
}

impl Rate {
    /// `num / den`, at most one; past one it is exact for no notional.
    #[must_use]
    pub fn new(num: u64, den: u64) -> Self {
        if num > den || den == 0 {
            return Self { scaled: u64::MAX, notional_max: 0 };
        }
        // In lowest terms it is exact for more.
        let divisor = gcd(num, den);
        let (num, den) = (u128::from(num / divisor), u128::from(den / divisor));
        Self { scaled: scaled(num, den), notional_max: low((ONE - den) / den) }
    }
}

/// `floor(num 2^64 / den)`; for one it is the largest 64-bit number, which is exact for the same notionals.
fn scaled(num: u128, den: u128) -> u64 {
    u64::try_from((num << 64) / den).unwrap_or(u64::MAX)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

/// One bracket: its requirements are `floor((N maintenance + add) / 2^64)` and `ceil(N initial / 2^64)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bracket {
    pub(crate) maintenance: u64,
    pub(crate) add_low: u64,
    pub(crate) add_high: u64,
    pub(crate) initial: u64,
}

impl Bracket {
    /// Requires nothing.
    pub const NOTHING: Bracket =
        Bracket { maintenance: 0, add_low: u64::MAX, add_high: 0, initial: 0 };

    /// Marks the row: see [`POISON`].
    pub const TOO_LARGE: Bracket =
        Bracket { maintenance: 0, add_low: 0, add_high: POISON, initial: 0 };

    /// A bracket with maintenance `ceil((N num - deduction) / den)` and an initial rate, and the largest notional it is
    /// exact for. `deduction >= 0`; nowhere in the bracket may `N num` be below it.
    #[must_use]
    pub fn new(num: u64, deduction: u128, den: u64, initial: Rate) -> (Self, u64) {
        let common = u128::from(gcd(
            gcd(num, den),
            u64::try_from(deduction % u128::from(den.max(1))).unwrap_or(1),
        ));
        let shrunk = u64::try_from(common).unwrap_or(1);
        let (num, deduction, den) = (num / shrunk, deduction / common, den / shrunk);
        if num > den || den == 0 || deduction / u128::from(den) >= ONE >> 1 {
            return (Self::TOO_LARGE, 0);
        }
        let b = u128::from(den);
        // floor(deduction 2^64 / den) in two steps: the whole part, and what is left of it.
        let (whole, rest) = (deduction / b, deduction % b);
        let taken = (whole << 64) + (rest << 64) / b;
        let add = (ONE - 1).wrapping_sub(taken);
        let bracket = Self {
            maintenance: scaled(u128::from(num), b),
            add_low: low(add),
            add_high: low(add >> 64),
            initial: initial.scaled,
        };
        (bracket, low((ONE - b) / b).min(initial.notional_max))
    }

    /// The same with no maintenance requirement.
    #[must_use]
    pub fn without_maintenance(self) -> Self {
        Self { initial: self.initial, ..Self::NOTHING }
    }

    /// The same with no initial requirement.
    #[must_use]
    pub fn without_initial(self) -> Self {
        Self { initial: 0, ..self }
    }

    /// `floor((N maintenance + add) / 2^64)`.
    pub(crate) fn maintenance(&self, notional: u64) -> u64 {
        let add = (u128::from(self.add_high) << 64) | u128::from(self.add_low);
        high((u128::from(notional) * u128::from(self.maintenance)).wrapping_add(add))
    }

    /// [`POISON`] where it is [`Bracket::TOO_LARGE`], for a leg whose maintenance is taken of another bracket.
    pub(crate) fn poison(&self) -> u64 {
        // A deduction is below 2^63: what takes it off is 0 here, or above 2^63.
        u64::from(self.add_high == POISON) * POISON
    }

    /// `ceil(N max(initial, chosen) / 2^64)`.
    pub(crate) fn initial(&self, notional: u64, chosen: u64) -> u64 {
        let product = u128::from(notional) * u128::from(self.initial.max(chosen));
        high(product.wrapping_add(ONE - 1))
    }
}

#[inline(always)]
#[allow(clippy::inline_always, clippy::as_conversions, clippy::cast_possible_truncation)]
pub(crate) fn high(value: u128) -> u64 {
    (value >> 64) as u64
}

/// The brackets of a schedule, prices aside: made once, shared by the instruments that have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Arc<Halves>);

/// Brackets in halves of 16 bytes, which an address can scale by itself; those past the last are too large.
#[derive(Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Halves {
    /// Maintenance rate, and the lower half of what is added.
    pub(crate) first: [[u64; 2]; BRACKETS + 1],
    /// The upper half of what is added, and the initial rate.
    pub(crate) second: [[u64; 2]; BRACKETS + 1],
}

impl Schedule {
    /// The first [`BRACKETS`] of these, ascending; what is past them is too large.
    #[must_use]
    pub fn new(brackets: &[Bracket]) -> Self {
        Self(Arc::new(Halves::of(brackets)))
    }
}

impl Halves {
    /// The first of so many brackets, and too large from there on.
    fn of(brackets: &[Bracket]) -> Self {
        let mut halves = Self { first: [[0; 2]; BRACKETS + 1], second: [[0; 2]; BRACKETS + 1] };
        let all = brackets.iter().take(BRACKETS).chain(std::iter::repeat(&Bracket::TOO_LARGE));
        for ((first, second), b) in halves.first.iter_mut().zip(&mut halves.second).zip(all) {
            (*first, *second) = ([b.maintenance, b.add_low], [b.add_high, b.initial]);
        }
        halves
    }

    /// The bracket at a place.
    pub(crate) fn get(&self, place: usize) -> Option<Bracket> {
        let ([maintenance, add_low], [add_high, initial]) =
            (*self.first.get(place)?, *self.second.get(place)?);
        Some(Bracket { maintenance, add_low, add_high, initial })
    }
}

/// What one lot is worth, in quanta: `whole` (negative where a long owes), and a fraction of 2^64 on top of its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lot {
    /// The whole part, signed; not 0 where there is a fraction, which would have no sign.
    pub whole: i64,
    /// `ceil(p 2^64 / q)` for the rest `p / q`; 0 where there is none.
    pub part: u64,
}

/// One instrument at its price, in one cache line: what a lot is worth, which of its brackets a leg is in, and where those are.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(crate) struct Line {
    /// The sizes past which a leg is in the next bracket: ascending, so that the number of them below a size is the place
    /// of its bracket.
    pub(crate) thresholds: [i32; BRACKETS],
    /// The whole part of a lot.
    pub(crate) whole: i64,
    pub(crate) brackets: Arc<Halves>,
}

/// All instruments at one set of prices, and the chosen initial rates.
#[derive(Debug, Clone)]
pub struct Table {
    pub(crate) lines: Vec<Line>,
    /// The fraction of each instrument's lot.
    pub(crate) parts: Vec<u64>,
    pub(crate) rates: Vec<u64>,
    /// How many instruments have a fraction.
    pub(crate) fractions: usize,
    /// 2^64 − 1, where the compiler does not see it: it would turn the carry of an addition into a comparison.
    pub(crate) ones: u64,
}

impl Table {
    /// A table of so many instruments, in which every size is too large, and these chosen rates (scaled; the first is 0).
    #[must_use]
    pub fn new(instruments: usize, rates: Vec<u64>) -> Self {
        let nowhere = Arc::new(Halves::of(&[]));
        let line = Line { thresholds: [0; BRACKETS], whole: 0, brackets: nowhere };
        Self {
            lines: vec![line; instruments],
            parts: vec![0; instruments],
            rates,
            fractions: 0,
            ones: u64::MAX,
        }
    }

    /// How many instruments it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many chosen rates it has.
    #[must_use]
    pub fn rate_count(&self) -> usize {
        self.rates.len()
    }

    /// Sets one instrument at its price: the largest size of each of its brackets, ascending. What is larger than the last
    /// is too large; without any, all is. False, and nothing changed, for more than [`BRACKETS`], another instrument, or a lot
    /// of less than a quantum.
    pub fn set(&mut self, instrument: usize, lot: Lot, of: &Schedule, sizes: &[i32]) -> bool {
        let places = self.lines.get_mut(instrument).zip(self.parts.get_mut(instrument));
        let known = sizes.len() <= BRACKETS && (lot.whole != 0 || lot.part == 0);
        let (Some((line, part)), true) = (places, known) else { return false };
        self.fractions -= usize::from(*part != 0);
        self.fractions += usize::from(lot.part != 0);
        *part = lot.part;
        // Past the last given one each threshold is passed where that one is, and the last place is too large.
        let mut thresholds = [sizes.last().copied().unwrap_or(-1); BRACKETS];
        for (threshold, size) in thresholds.iter_mut().zip(sizes) {
            *threshold = *size;
        }
        *line = Line { thresholds, whole: lot.whole, brackets: Arc::clone(&of.0) };
        true
    }
}

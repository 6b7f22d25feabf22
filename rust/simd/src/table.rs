//! What a scan reads beside the legs, at one set of prices.

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
#[repr(C, align(32))]
pub struct Bracket {
    maintenance: u64,
    add_low: u64,
    add_high: u64,
    initial: u64,
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
    #[inline(always)]
    #[allow(clippy::inline_always)] // the body of every kernel
    pub(crate) fn maintenance(&self, notional: u64) -> u64 {
        let add = (u128::from(self.add_high) << 64) | u128::from(self.add_low);
        high((u128::from(notional) * u128::from(self.maintenance)).wrapping_add(add))
    }

    /// [`POISON`] where it is [`Bracket::TOO_LARGE`], for a leg whose maintenance is taken of another bracket.
    #[inline(always)]
    #[allow(clippy::inline_always)] // the body of every kernel
    pub(crate) fn poison(&self) -> u64 {
        // No other bracket has both at 0: a rate is above 0, and without one `add_low` is not.
        u64::from(self.maintenance | self.add_low == 0) * POISON
    }

    /// `ceil(N max(initial, chosen) / 2^64)`.
    #[inline(always)]
    #[allow(clippy::inline_always)] // the body of every kernel
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

/// What one lot is worth, in quanta: `whole` (negative where a long owes), and a fraction of 2^64 on top of its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C, align(16))]
pub struct Lot {
    /// The whole part, signed.
    pub whole: i64,
    /// `ceil(p 2^64 / q)` for the rest `p / q`; 0 where there is none.
    pub part: u64,
}

/// One instrument at its price, in one cache line: what a leg is worth, and which of its brackets it is in.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Head {
    /// The sizes past which a leg is in the next bracket: ascending, so that the number of them below a size is the place
    /// of its bracket.
    pub(crate) thresholds: [i32; BRACKETS],
    pub(crate) lot: Lot,
}

/// The brackets of one instrument, and past them the one for what is too large.
pub(crate) type Brackets = [Bracket; BRACKETS + 1];

impl Head {
    /// Every size but 0 is too large.
    const EMPTY: Head = Head { thresholds: [0; BRACKETS], lot: Lot { whole: 0, part: 0 } };
}

/// All instruments at one set of prices, and the chosen initial rates.
#[derive(Debug, Clone, Default)]
pub struct Table {
    pub(crate) heads: Vec<Head>,
    pub(crate) brackets: Vec<Brackets>,
    pub(crate) rates: Vec<u64>,
    /// How many instruments have a fraction.
    pub(crate) fractions: usize,
}

impl Table {
    /// A table of so many instruments, in which every size is too large, and these chosen rates (scaled; the first is 0).
    #[must_use]
    pub fn new(instruments: usize, rates: Vec<u64>) -> Self {
        let brackets = vec![[Bracket::TOO_LARGE; BRACKETS + 1]; instruments];
        Self { heads: vec![Head::EMPTY; instruments], brackets, rates, fractions: 0 }
    }

    /// How many instruments it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// How many chosen rates it has.
    #[must_use]
    pub fn rate_count(&self) -> usize {
        self.rates.len()
    }

    /// Sets one instrument at its price: its brackets, each with its largest size, ascending. What is larger than the last
    /// is too large. False, and too large altogether, where there are more than [`BRACKETS`].
    pub fn set(&mut self, instrument: usize, lot: Lot, brackets: &[(i32, Bracket)]) -> bool {
        let places = self.heads.get_mut(instrument).zip(self.brackets.get_mut(instrument));
        let Some((head, slots)) = places else { return false };
        self.fractions -= usize::from(head.lot.part != 0);
        self.fractions += usize::from(lot.part != 0);
        let fits = brackets.len() <= BRACKETS;
        let given = if fits { brackets } else { &[] };
        // Past the last given one each threshold is passed where that one is, and the last place is too large.
        let last = given.last().map_or(0, |(size, _)| *size);
        *head = Head { thresholds: [last; BRACKETS], lot };
        *slots = [Bracket::TOO_LARGE; BRACKETS + 1];
        for ((threshold, slot), (size, bracket)) in
            head.thresholds.iter_mut().zip(slots.iter_mut()).zip(given)
        {
            (*threshold, *slot) = (*size, *bracket);
        }
        fits
    }
}

//! The wide path of the batch check: rows whose sizes or amounts are past the 64-bit lanes, in the same manner on 128 bits.
//!
//! Rates are fractions of 2^128, so that `ceil(N a / b)` is exact for every notional `N` below 2^95 and every denominator
//! up to 10^9 (`N b <= 2^128 - b`, by the proof of the kernels' crate). Rows hold at most 31 legs, so that their sums stay below
//! 2^100. Most legs of such rows are not large themselves: where `N b <= 2^64 - b` and `N` is at most 2^50, the upper halves
//! of the same constants are those of the lanes, one multiplication of 64 bits is exact by the same proof, and 31 of them
//! sum within 64 bits. A size past the table shows in the row's sum, and the row takes the general path, as those do that hold contracts which
//! divide by the price, or open orders.

use std::hint::select_unpredictable;

use crate::data::{Instrument, TierBy, Tiers, Venue};
use crate::numbers::Rate;

use super::lanes::{LEGS_MAX, Shape};
use super::leg::Leg;

/// Brackets of one instrument that the table has room for.
const BRACKETS: usize = 12;
/// Largest notional of one leg.
const AMOUNT_MAX: i128 = 1 << 95;
/// Largest notional, and deduction, of a leg that 64 bits are enough for.
const NARROW_MAX: i128 = 1 << 50;
/// Places for thresholds and brackets: a power of two, so that a masked place is always one of them. Thresholds past the
/// brackets are passed by no size.
const STEPS: usize = 16;
/// Thresholds that every size but 0 passes.
const NOTHING: [i64; STEPS] = {
    let mut thresholds = [i64::MAX; STEPS];
    let mut place = 0;
    while place < BRACKETS {
        #[allow(clippy::indexing_slicing)] // below twelve of sixteen, at compile time
        {
            thresholds[place] = 0;
        }
        place += 1;
    }
    thresholds
};
/// What a leg past the table adds to the maintenance sum.
const POISON: i128 = 1 << 110;

/// One leg as the wide path reads it.
#[derive(Debug, Clone, Copy)]
pub(super) struct WideLeg {
    pub(super) lots: i64,
    pub(super) instrument: u16,
    pub(super) chosen: u16,
}

/// `floor(num 2^128 / den)` for `num <= den < 2^63`; for one the largest 128-bit number, which is exact for the same notionals.
fn scaled(num: u128, den: u128) -> u128 {
    if num >= den {
        return u128::MAX;
    }
    // In two halves: floor(num 2^64 / den), and the same of what that leaves.
    let (high, rest) = ((num << 64) / den, (num << 64) % den);
    (high << 64) + (rest << 64) / den
}

/// One bracket: requirements `floor((N maintenance + add) / 2^128)` and `ceil(N initial / 2^128)`.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct WideBracket {
    maintenance: u128,
    add: u128,
    whole: i128,
    initial: u128,
}

const TOO_LARGE: WideBracket = WideBracket { maintenance: 0, add: 0, whole: POISON, initial: 0 };

/// The upper and the lower half of `notional × rate`, for a notional below 2^96.
#[inline]
fn product(notional: u128, rate: u128) -> (u128, u128) {
    let low = |x: u128| x & u128::from(u64::MAX);
    let (n1, n0, r1, r0) = (notional >> 64, low(notional), rate >> 64, low(rate));
    if n1 == 0 {
        // Most notionals: two multiplications less.
        let bottom = n0 * r0;
        let top = n0 * r1 + (bottom >> 64);
        return (top >> 64, (top << 64) | low(bottom));
    }
    let (bottom, left, right) = (n0 * r0, n0 * r1, n1 * r0);
    let middle = (bottom >> 64) + low(left) + low(right);
    let high = n1 * r1 + (left >> 64) + (right >> 64) + (middle >> 64);
    (high, (middle << 64) | low(bottom))
}

/// The upper half.
#[inline]
#[allow(clippy::as_conversions, clippy::cast_possible_truncation)] // 64 bits are left
fn upper(of: u128) -> u64 {
    (of >> 64) as u64
}

/// The largest notional that the upper half of a rate over `den` is exact for.
fn narrow_max(den: i64) -> i128 {
    let den = i128::from(den.max(1));
    (((1 << 64) - den) / den).min(NARROW_MAX)
}

impl WideBracket {
    /// For notionals up to [`AMOUNT_MAX`] and a denominator of at most 10^9.
    fn new(num: i64, deduction: i128, den: i64, initial: Rate) -> Self {
        let unsigned = |term: i64| u128::from(term.unsigned_abs());
        let den = i128::from(den.max(1));
        let (whole, rest) = (deduction.div_euclid(den), deduction.rem_euclid(den));
        Self {
            maintenance: scaled(unsigned(num), den.unsigned_abs()),
            add: u128::MAX - scaled(rest.unsigned_abs(), den.unsigned_abs()),
            whole: -whole,
            initial: scaled(unsigned(initial.num()), unsigned(initial.den())),
        }
    }

    #[inline]
    fn maintenance(&self, notional: u128) -> i128 {
        let (high, low) = product(notional, self.maintenance);
        let carry = low.overflowing_add(self.add).1;
        // Below 2^95 each, whatever the bits say.
        self.whole.wrapping_add(high.cast_signed()).wrapping_add(i128::from(carry))
    }

    #[inline]
    fn initial(&self, notional: u128, chosen: u128) -> i128 {
        let (high, low) = product(notional, self.initial.max(chosen));
        high.cast_signed().wrapping_add(i128::from(low != 0))
    }

    /// The same where 64 bits are enough.
    #[inline]
    #[allow(clippy::as_conversions, clippy::cast_possible_truncation)] // the lower half is all of it
    fn maintenance_narrow(&self, notional: u64) -> i64 {
        let product = u128::from(notional).wrapping_mul(u128::from(upper(self.maintenance)));
        let high = upper(product.wrapping_add(u128::from(upper(self.add))));
        high.cast_signed().wrapping_add(self.whole as i64)
    }

    /// The same where 64 bits are enough.
    #[inline]
    fn initial_narrow(&self, notional: u64, chosen: u64) -> i64 {
        let product =
            u128::from(notional).wrapping_mul(u128::from(upper(self.initial).max(chosen)));
        upper(product.wrapping_add(u128::from(u64::MAX))).cast_signed()
    }
}

/// One instrument at its price.
#[derive(Debug, Clone, Copy)]
struct WideEntry {
    /// Quanta a lot, signed; 0 where the table does not hold it.
    lot: i64,
    /// Up to this size 64 bits are enough; below 0 where the table does not hold it.
    narrow: i64,
    thresholds: [i64; STEPS],
    brackets: [WideBracket; STEPS],
}

/// A bracket before there is a price.
#[derive(Debug, Clone, Copy)]
struct Step {
    next: Option<i128>,
    bracket: WideBracket,
    /// Up to this notional 64 bits are enough.
    narrow: i128,
}

/// What a table is made from, prices aside.
#[derive(Debug, Clone)]
pub(super) struct Wide {
    steps: Vec<Vec<Step>>,
    rates: Vec<u128>,
    /// Up to this notional 64 bits are enough for all rates.
    narrow: i128,
}

/// All instruments at one set of prices.
#[derive(Debug, Clone)]
pub(super) struct WideTable {
    entries: Vec<WideEntry>,
    rates: Vec<u128>,
}

/// Rows with the same number of legs.
#[derive(Debug, Clone)]
pub(super) struct WideGroup {
    width: usize,
    pub(super) rows: Vec<u32>,
    pub(super) cash: Vec<i128>,
    legs: Vec<WideLeg>,
}

/// Equity, initial and maintenance of one row.
pub(super) type WideSums = [i128; 3];

impl Wide {
    pub(super) fn new(venue: &Venue, rates: &[Rate]) -> Self {
        let scale = |rate: &Rate| {
            scaled(u128::from(rate.num().unsigned_abs()), u128::from(rate.den().unsigned_abs()))
        };
        let mut scaled: Vec<u128> = rates.iter().map(scale).collect();
        if let Some(none) = scaled.first_mut() {
            *none = 0;
        }
        let narrow = rates.iter().map(|rate| narrow_max(rate.den())).min().unwrap_or(NARROW_MAX);
        Self { steps: venue.instruments().iter().map(steps).collect(), rates: scaled, narrow }
    }

    /// Whether it holds a leg, prices aside.
    pub(super) fn knows(shape: Shape, instrument: &Instrument, leg: &Leg) -> bool {
        let whole = instrument.contract().is_whole() && !leg.has_orders();
        whole && !shape.has_fixed() && shape.knows(instrument, leg)
    }

    /// A table without prices: every size is too large.
    pub(super) fn table(&self) -> WideTable {
        let brackets = [TOO_LARGE; STEPS];
        let empty = WideEntry { lot: 0, narrow: -1, thresholds: NOTHING, brackets };
        WideTable { entries: vec![empty; self.steps.len()], rates: self.rates.clone() }
    }

    /// Sets an instrument of a table at its mark.
    pub(super) fn set(&self, table: &mut WideTable, at: usize, of: &Instrument, mark: Option<i64>) {
        let (Some(steps), Some(entry)) = (self.steps.get(at), table.entries.get_mut(at)) else {
            return;
        };
        (entry.lot, entry.narrow, entry.thresholds) = (0, -1, NOTHING);
        entry.brackets = [TOO_LARGE; STEPS];
        let value = mark.and_then(|mark| of.contract().lot_value(mark)).filter(|v| v.num == 0);
        let size = value.and_then(|value| i64::try_from(value.whole).ok()).filter(|size| *size > 0);
        let Some(size) = size else { return };
        entry.lot = if of.contract().is_inverse() { -size } else { size };
        let by_size = matches!(of.tiers(), Tiers::Brackets { by: TierBy::Size, .. });
        let room = AMOUNT_MAX / i128::from(size);
        let narrow = steps.iter().take(BRACKETS).map(|step| step.narrow).min().unwrap_or(-1);
        let narrow = narrow.min(self.narrow).div_euclid(i128::from(size));
        let mut last = 0;
        let slots = entry.thresholds.iter_mut().zip(entry.brackets.iter_mut());
        for ((threshold, slot), step) in slots.zip(steps) {
            let end = match step.next {
                None => i128::from(i64::MAX),
                Some(floor) if by_size => floor - 1,
                Some(floor) => (floor - 1).div_euclid(i128::from(size)),
            };
            last = i64::try_from(end.min(room)).unwrap_or(i64::MAX);
            (*threshold, *slot) = (last, step.bracket);
        }
        let rest = entry.thresholds.iter_mut().take(BRACKETS).skip(steps.len());
        rest.for_each(|threshold| *threshold = last);
        entry.narrow = i64::try_from(narrow).unwrap_or(i64::MAX).min(last);
    }
}

fn steps(instrument: &Instrument) -> Vec<Step> {
    let Tiers::Brackets { den, fee_num, brackets, .. } = instrument.tiers() else {
        return Vec::new();
    };
    let next = brackets.iter().skip(1).map(|b| Some(b.floor)).chain([None]);
    let step = |(b, next): (&crate::data::Bracket, Option<i128>)| {
        let rate = b.maintenance_num + fee_num;
        let small = (0..=NARROW_MAX).contains(&b.deduction_num.div_euclid(i128::from(*den)));
        let exact = narrow_max(*den).min(narrow_max(b.initial.den()));
        let narrow = if small { exact } else { -1 };
        Step { next, bracket: WideBracket::new(rate, b.deduction_num, *den, b.initial), narrow }
    };
    brackets.iter().zip(next).map(step).take(BRACKETS).collect()
}

impl WideEntry {
    /// The bracket of a size: the thresholds below it are counted in four steps, none of which branches.
    #[inline]
    #[allow(clippy::indexing_slicing)] // every place is masked to the sixteen there are
    fn bracket(&self, size: i64) -> &WideBracket {
        let mut place = 0;
        for step in [8, 4, 2, 1] {
            let below = size > self.thresholds[(place + step - 1) % STEPS];
            place = select_unpredictable(below, place + step, place);
        }
        &self.brackets[place % STEPS]
    }
}

impl WideTable {
    /// Adds a leg of any size.
    #[inline(never)]
    fn add_wide(entry: &WideEntry, chosen: u128, lots: i64, sums: &mut WideSums) {
        let bracket = entry.bracket(lots.wrapping_abs());
        let value = i128::from(lots).wrapping_mul(i128::from(entry.lot));
        // Past 2^95 the bracket is the one that does not look at it.
        let notional = value.unsigned_abs() & ((1 << 96) - 1);
        let [equity, initial, maintenance] = sums;
        *equity = equity.wrapping_add(value);
        *initial = initial.wrapping_add(bracket.initial(notional, chosen));
        *maintenance = maintenance.wrapping_add(bracket.maintenance(notional));
    }

    /// Cash and the sums of some legs; none for an instrument or a rate that the table lacks.
    #[inline(always)]
    #[allow(clippy::inline_always)] // once for each number of legs
    fn row(&self, cash: i128, legs: &[WideLeg]) -> Option<WideSums> {
        let mut sums = [cash, 0, 0];
        let (mut equity, mut initial, mut maintenance) = (0_i64, 0_i64, 0_i64);
        for leg in legs {
            let entry = self.entries.get(usize::from(leg.instrument))?;
            let chosen = *self.rates.get(usize::from(leg.chosen))?;
            let size = leg.lots.wrapping_abs();
            if size > entry.narrow {
                Self::add_wide(entry, chosen, leg.lots, &mut sums);
                continue;
            }
            let bracket = entry.bracket(size);
            let value = leg.lots.wrapping_mul(entry.lot);
            let notional = value.unsigned_abs();
            equity = equity.wrapping_add(value);
            initial = initial.wrapping_add(bracket.initial_narrow(notional, upper(chosen)));
            maintenance = maintenance.wrapping_add(bracket.maintenance_narrow(notional));
        }
        for (sum, narrow) in sums.iter_mut().zip([equity, initial, maintenance]) {
            *sum = sum.wrapping_add(i128::from(narrow));
        }
        Some(sums).filter(|sums| sums[2] < POISON / 2)
    }
}

impl WideGroup {
    pub(super) fn new(width: usize) -> Self {
        Self { width, rows: Vec::new(), cash: Vec::new(), legs: Vec::new() }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Adds a row of as many legs as the group's rows have.
    pub(super) fn push(&mut self, row: u32, cash: i128, legs: impl Iterator<Item = WideLeg>) {
        self.rows.push(row);
        self.cash.push(cash);
        self.legs.extend(legs);
    }

    /// The legs of the row at a place of the group.
    pub(super) fn legs(&self, place: usize) -> Option<&[WideLeg]> {
        self.legs.chunks_exact(self.width.max(1)).nth(place)
    }

    /// All legs.
    pub(super) fn all_legs(&self) -> &[WideLeg] {
        &self.legs
    }

    /// Each row and its sums; none where it has a leg that the table does not hold.
    pub(super) fn sums(&self, table: &WideTable, put: impl FnMut(usize, Option<WideSums>)) {
        match self.width {
            1 => self.rows_of::<1>(table, put),
            2 => self.rows_of::<2>(table, put),
            3 => self.rows_of::<3>(table, put),
            4 => self.rows_of::<4>(table, put),
            _ => self.rows_of::<0>(table, put),
        }
    }

    /// Rows of `K` legs; of any number where `K` is 0.
    fn rows_of<const K: usize>(
        &self,
        table: &WideTable,
        mut put: impl FnMut(usize, Option<WideSums>),
    ) {
        let width = if K == 0 { self.width.clamp(1, LEGS_MAX) } else { K };
        let rows = self.rows.iter().zip(&self.cash).zip(self.legs.chunks_exact(width));
        for ((row, cash), legs) in rows {
            put(usize::try_from(*row).unwrap_or(usize::MAX), table.row(*cash, legs));
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<u32>()
            + self.cash.capacity() * size_of::<i128>()
            + self.legs.capacity() * size_of::<WideLeg>()
    }

    /// Without spare memory.
    pub(super) fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        self.cash.shrink_to_fit();
        self.legs.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::numbers::rounding::{mul_div_floor, mul_ratio_ceil};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn requirements_are_exact(
            notional in prop_oneof![0_i128..1 << 95, 0_i128..1 << 66, 0_i128..1 << 50, 0_i128..5_000],
            num in 1_i64..=1_000_000_000, den in prop_oneof![1_i64..=1_000_000_000, 1_i64..5_000],
            deduction in prop_oneof![0_i128..1 << 90, 0_i128..1 << 50],
            chosen in 1_i64..=1_000_000_000,
        ) {
            let (num, chosen) = (num.min(den), chosen.min(den));
            let initial = Rate::new(i128::from(chosen), i128::from(den), "r").unwrap();
            let bracket = WideBracket::new(num, deduction, den, initial);
            let wide = notional.unsigned_abs();
            // ceil((N num − D) / den), in two parts: mul_div_floor has 256 bits, negated it rounds up.
            let (whole, rest) = (deduction / i128::from(den), deduction % i128::from(den));
            let (q, r) = (notional / i128::from(den), notional % i128::from(den));
            let part = r * i128::from(num) - rest;
            let want = q * i128::from(num) - whole - mul_div_floor(-part, 1, i128::from(den)).unwrap();
            prop_assert_eq!(bracket.maintenance(wide), want);
            let first = mul_ratio_ceil(notional, i128::from(initial.num()), i128::from(initial.den()));
            let first = first.unwrap();
            prop_assert_eq!(bracket.initial(wide, 0), first);
            let room = narrow_max(den).min(narrow_max(initial.den()));
            if notional <= room && whole <= NARROW_MAX {
                let small = u64::try_from(notional).unwrap();
                prop_assert_eq!(i128::from(bracket.maintenance_narrow(small)), want);
                prop_assert_eq!(i128::from(bracket.initial_narrow(small, 0)), first);
            }
        }
    }

    #[test]
    fn ties_and_ends_are_exact() {
        for den in [1, 2, 3, 7, 999_999_937, 1_000_000_000_i64] {
            for num in [1, den / 2, den - 1, den].into_iter().filter(|n| *n >= 1) {
                let rate = Rate::new(i128::from(num), i128::from(den), "r").unwrap();
                let bracket = WideBracket::new(num, 0, den, rate);
                let most = narrow_max(den);
                let ks = [0, 1, 2, 1 << 40, (1 << 95) / i128::from(den), most / i128::from(den)];
                for k in ks {
                    for notional in [k * i128::from(den), k * i128::from(den) + 1, most] {
                        if let Some(small) =
                            u64::try_from(notional).ok().filter(|_| notional <= most)
                        {
                            let want = mul_ratio_ceil(notional, i128::from(num), i128::from(den));
                            let found = [
                                bracket.initial_narrow(small, 0),
                                bracket.maintenance_narrow(small),
                            ];
                            assert_eq!(found.map(i128::from), [want.unwrap(); 2]);
                        }
                        let want = mul_ratio_ceil(notional, i128::from(num), i128::from(den));
                        let wide = notional.unsigned_abs();
                        assert_eq!(
                            bracket.initial(wide, 0),
                            want.unwrap(),
                            "{notional} {num}/{den}"
                        );
                        assert_eq!(
                            bracket.maintenance(wide),
                            want.unwrap(),
                            "{notional} {num}/{den}"
                        );
                    }
                }
            }
        }
    }
}

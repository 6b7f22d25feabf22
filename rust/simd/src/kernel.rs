//! The kernels: sums over the legs of each row, by every path, and their safe twins.
#![allow(clippy::needless_bitwise_bool)] // no branches
#![allow(clippy::inline_always)] // a path's code is compiled with its features only where it is inlined

use crate::path::Path;
use crate::table::{Table, high};

/// One leg of a row without open orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Leg {
    /// The position, signed; not the smallest 32-bit number.
    pub lots: i32,
    /// Its place in the table.
    pub instrument: u16,
    /// The place of the chosen initial rate in the table's rates; 0 is none.
    pub chosen: u16,
}

/// One leg of a row that has open orders somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(4))]
pub struct OrderLeg {
    /// What is held.
    pub leg: Leg,
    /// What initial margin is taken of, in lots; not below the size that is held.
    pub exposure: i32,
}

mod sealed {
    /// Kernels trust what a leg says of itself, twice: no other types may.
    pub trait Sealed {}
    impl Sealed for super::Leg {}
    impl Sealed for super::OrderLeg {}
}

/// What a kernel needs to know of a leg.
pub trait Held: Copy + sealed::Sealed {
    /// What is held.
    fn leg(&self) -> &Leg;
    /// What initial margin is taken of, where that is not what is held.
    fn exposure(&self) -> Option<i32>;
}

impl Held for Leg {
    #[inline(always)]
    fn leg(&self) -> &Leg {
        self
    }
    #[inline(always)]
    fn exposure(&self) -> Option<i32> {
        None
    }
}

impl Held for OrderLeg {
    #[inline(always)]
    fn leg(&self) -> &Leg {
        &self.leg
    }
    #[inline(always)]
    fn exposure(&self) -> Option<i32> {
        Some(self.exposure)
    }
}

/// The sums of one row, modulo 2^64.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    equity: i64,
    initial: u64,
    maintenance: u64,
}

/// Where the sums of rows go: one column each, all of one length.
#[derive(Debug)]
pub struct Columns<'a> {
    /// Cash and Σ value.
    pub equity: &'a mut [i64],
    /// Σ initial requirement; left as it is by a scan without it.
    pub initial: &'a mut [i64],
    /// Σ maintenance requirement; at least [`crate::POISON`] / 2 where a leg is too large for the table.
    pub maintenance: &'a mut [i64],
}

impl Columns<'_> {
    /// Rows that all columns have.
    #[must_use]
    pub fn len(&self) -> usize {
        self.equity.len().min(self.initial.len()).min(self.maintenance.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where the sums of a row go.
trait Sink {
    /// How many rows it takes.
    fn len(&self) -> usize;

    /// Takes the sums of a row.
    ///
    /// # Safety
    /// The row is below its length.
    #[allow(unsafe_code)]
    unsafe fn put_unchecked<const INITIAL: bool>(&mut self, row: usize, sums: Sums);

    /// Takes the sums of a row where it has a place for it.
    fn put<const INITIAL: bool>(&mut self, row: usize, sums: Sums) {
        if row < self.len() {
            #[allow(unsafe_code)]
            // SAFETY: just checked.
            unsafe {
                self.put_unchecked::<INITIAL>(row, sums);
            }
        }
    }
}

#[allow(unsafe_code)]
impl Sink for Columns<'_> {
    fn len(&self) -> usize {
        Columns::len(self)
    }

    #[inline(always)]
    unsafe fn put_unchecked<const INITIAL: bool>(&mut self, row: usize, sums: Sums) {
        // SAFETY: the length is that of the shortest column, and the row is below it.
        unsafe {
            *self.equity.get_unchecked_mut(row) = sums.equity;
            *self.maintenance.get_unchecked_mut(row) = sums.maintenance.cast_signed();
            if INITIAL {
                *self.initial.get_unchecked_mut(row) = sums.initial.cast_signed();
            }
        }
    }
}

/// Only whether the check fires.
struct Verdicts<'a> {
    /// 0 where equity must be below the requirement, 1 where a tie is enough.
    slack: i64,
    out: &'a mut [bool],
    all: u64,
}

#[allow(unsafe_code)]
impl Sink for Verdicts<'_> {
    fn len(&self) -> usize {
        self.out.len()
    }

    #[inline(always)]
    unsafe fn put_unchecked<const INITIAL: bool>(&mut self, row: usize, sums: Sums) {
        let required = sums.maintenance.cast_signed();
        // Below zero where equity is below what fires, and where nothing is required: the sums are far from the ends.
        let short = sums.equity.wrapping_sub(required.wrapping_add(self.slack));
        let nothing = required.wrapping_sub(1);
        // SAFETY: the row is below the length.
        unsafe { *self.out.get_unchecked_mut(row) = short & !nothing < 0 };
        self.all |= sums.maintenance;
    }
}

/// Rows with the same number of legs, and where the sums of each go.
#[derive(Debug, Clone)]
pub struct Group<L> {
    width: usize,
    legs: Vec<L>,
    /// Of each row: what its values are added to, and where its sums go.
    cash: Vec<i64>,
    places: Vec<u16>,
    /// One past the largest instrument, chosen rate and place: what makes the kernels' accesses sound.
    instruments: usize,
    rates: usize,
    outputs: usize,
}

impl<L: Held> Group<L> {
    /// No rows yet, of so many legs each (at least one).
    #[must_use]
    pub fn new(width: usize) -> Self {
        let (legs, cash, places) = (Vec::new(), Vec::new(), Vec::new());
        Self { width: width.max(1), legs, cash, places, instruments: 0, rates: 0, outputs: 0 }
    }

    /// Adds a row with this cash whose sums go to `place`; false, and nothing added, where it has another number of legs or a size that is
    /// the smallest 32-bit number.
    pub fn push(&mut self, place: u16, cash: i64, legs: impl IntoIterator<Item = L>) -> bool {
        let before = self.legs.len();
        self.legs.extend(legs);
        let added = self.legs.get(before..).unwrap_or(&[]);
        if added.len() != self.width || added.iter().any(|l| !sound(l)) {
            self.legs.truncate(before);
            return false;
        }
        for held in added {
            let leg = held.leg();
            self.instruments = self.instruments.max(usize::from(leg.instrument) + 1);
            self.rates = self.rates.max(usize::from(leg.chosen) + 1);
        }
        self.cash.push(cash);
        self.places.push(place);
        self.outputs = self.outputs.max(usize::from(place) + 1);
        true
    }

    /// Legs of each row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// The places of the rows, in the order in which they were added.
    #[must_use]
    pub fn places(&self) -> &[u16] {
        &self.places
    }

    /// The cash of each row.
    #[must_use]
    pub fn cash(&self) -> &[i64] {
        &self.cash
    }

    /// The same, to be changed.
    pub fn cash_mut(&mut self) -> &mut [i64] {
        &mut self.cash
    }

    /// The legs, row by row.
    #[must_use]
    pub fn legs(&self) -> &[L] {
        &self.legs
    }

    /// Replaces a leg by one of the same instrument; false, and nothing changed, where it is not, or has a rate or size that
    /// the group has not checked.
    pub fn replace(&mut self, slot: usize, leg: L) -> bool {
        let Some(own) = self.legs.get_mut(slot) else { return false };
        let (old, new) = (own.leg(), leg.leg());
        let known = old.instrument == new.instrument && usize::from(new.chosen) < self.rates;
        if known && sound(&leg) {
            *own = leg;
        }
        known && sound(&leg)
    }

    /// Without spare memory.
    pub fn shrink(&mut self) {
        self.legs.shrink_to_fit();
        self.cash.shrink_to_fit();
        self.places.shrink_to_fit();
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.legs.capacity() * size_of::<L>()
            + self.cash.capacity() * size_of::<i64>()
            + self.places.capacity() * size_of::<u16>()
    }

    /// The sums of every row, each at its place in `out`. False, and nothing written, where the table or `out` is too short
    /// for the group.
    pub fn sums<const INITIAL: bool>(
        &self,
        table: &Table,
        path: Path,
        out: &mut Columns<'_>,
    ) -> bool {
        let fits = self.instruments <= table.len()
            && self.rates <= table.rate_count()
            && self.outputs <= out.len();
        if fits {
            match table.fractions {
                0 => self.by_path::<_, INITIAL, false>(table, path, out),
                _ => self.by_path::<_, INITIAL, true>(table, path, out),
            }
        }
        fits
    }

    /// Whether the check fires for every row, each at its place in `out`: maintenance above 0, and equity
    /// below it (or, not `strict`, equal to it). Gives all maintenance sums or'ed together: from half of [`crate::POISON`] on,
    /// some row has a leg too large for the table, and its verdict means nothing. None, and nothing written, where the table
    /// or `out` is too short for the group.
    pub fn verdicts(
        &self,
        table: &Table,
        path: Path,
        strict: bool,
        out: &mut [bool],
    ) -> Option<u64> {
        let fits = self.instruments <= table.len()
            && self.rates <= table.rate_count()
            && self.outputs <= out.len();
        let mut sink = Verdicts { slack: i64::from(!strict), out, all: 0 };
        if fits {
            match table.fractions {
                0 => self.by_path::<_, false, false>(table, path, &mut sink),
                _ => self.by_path::<_, false, true>(table, path, &mut sink),
            }
        }
        fits.then_some(sink.all)
    }

    #[allow(unsafe_code)]
    fn by_path<S: Sink, const INITIAL: bool, const FRACTION: bool>(
        &self,
        table: &Table,
        path: Path,
        out: &mut S,
    ) {
        #[cfg(target_arch = "x86_64")]
        if path != Path::Scalar && path.is_there() {
            // SAFETY: the processor has the features, and the callers have checked what is asked of the group.
            unsafe { vector::run::<L, S, INITIAL, FRACTION>(self, table, out) };
            return;
        }
        let _ = path;
        self.twin::<S, INITIAL, FRACTION>(table, out);
    }

    /// The safe twin of every kernel.
    fn twin<S: Sink, const INITIAL: bool, const FRACTION: bool>(&self, table: &Table, out: &mut S) {
        let add = |sums: &mut Sums, held: &L| -> Option<()> {
            let leg = held.leg();
            let at = usize::from(leg.instrument);
            let (line, part) = (table.lines.get(at)?, *table.parts.get(at)?);
            let chosen = *table.rates.get(usize::from(leg.chosen))?;
            let bracket = |lots: i32| {
                let size = lots.wrapping_abs();
                let passed = line.thresholds.iter().map(|t| usize::from(size > *t)).sum();
                line.brackets.get(passed)
            };
            let (value, notional) = worth::<FRACTION>(line.whole, part, leg.lots);
            let held_in = bracket(leg.lots)?;
            sums.equity = sums.equity.wrapping_add(value);
            sums.maintenance = sums.maintenance.wrapping_add(held_in.maintenance(notional));
            if INITIAL {
                let (on, notional) = match held.exposure() {
                    Some(exposure) => {
                        let on = bracket(exposure)?;
                        let poison = on.poison() & !held_in.poison(); // once a leg
                        sums.maintenance = sums.maintenance.wrapping_add(poison);
                        (on, worth::<FRACTION>(line.whole, part, exposure).1)
                    }
                    None => (held_in, notional),
                };
                sums.initial = sums.initial.wrapping_add(on.initial(notional, chosen));
            }
            Some(())
        };
        let rows = self.places.iter().zip(&self.cash).zip(self.legs.chunks_exact(self.width));
        for ((place, cash), legs) in rows {
            let mut sums = Sums { equity: *cash, ..Sums::default() };
            for held in legs {
                // Every leg is in the table: the callers have checked.
                let _ = add(&mut sums, held);
            }
            out.put::<INITIAL>(usize::from(*place), sums);
        }
    }
}

/// Whether the sizes of a leg have an absolute value.
fn sound<L: Held>(held: &L) -> bool {
    held.leg().lots != i32::MIN && held.exposure().is_none_or(|exposure| exposure >= 0)
}

/// The value of `lots`, rounded down, and its size.
#[inline(always)]
#[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn worth<const FRACTION: bool>(whole: i64, part: u64, lots: i32) -> (i64, u64) {
    let value = i64::from(lots).wrapping_mul(whole);
    if !FRACTION {
        return (value, value.unsigned_abs());
    }
    let size = u64::from(lots.unsigned_abs());
    let product = u128::from(size).wrapping_mul(u128::from(part));
    // Below the size the low half is what rounding `part` up has added to a whole number.
    let up = u64::from((product as u64) > size);
    let down = value.unsigned_abs().wrapping_add(high(product));
    // Rounded down: away from zero where it is negative.
    let negative = (lots < 0) != (whole < 0);
    let notional = down.wrapping_add(if negative { up } else { 0 });
    let signed = notional.cast_signed();
    (if negative { signed.wrapping_neg() } else { signed }, notional)
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod vector {
    use std::arch::x86_64::{
        __m128i, _MM_HINT_T0, _addcarry_u64, _mm_cmpgt_epi32, _mm_cvtsi32_si128, _mm_load_si128,
        _mm_loadl_epi64, _mm_prefetch, _mm256_broadcastd_epi32, _mm256_castsi256_si128,
        _mm256_cmpgt_epi32, _mm256_load_si256, _mm256_movemask_epi8, _mm256_packs_epi32,
        _mm256_sign_epi32, _mm256_zextsi128_si256,
    };

    use super::{Group, Held, Leg, Sink, Sums, worth};
    use crate::table::{BRACKETS, Halves, Line, POISON, Table, high};

    /// How many bytes of legs ahead of the sums memory is asked for.
    const AHEAD: usize = 1_024;

    /// The two halves of a bracket.
    struct Found {
        maintenance: u64,
        add_low: u64,
        add_high: u64,
        initial: u64,
    }

    /// The bracket of the size in the lowest lane: by the number of thresholds below it, at most twelve of thirteen.
    #[inline]
    #[target_feature(enable = "avx2,bmi2,popcnt")]
    #[allow(clippy::as_conversions, clippy::cast_sign_loss)]
    fn bracket(line: &Line, lots: __m128i) -> Found {
        let all = _mm256_broadcastd_epi32(lots);
        // `vpsignd`, not `vpabsd`: of a broadcast the compiler would make scalar steps of that.
        let size = _mm256_sign_epi32(all, all);
        // SAFETY: the thresholds are the first 48 bytes of a line, which is aligned to 64.
        let (low, last) = unsafe {
            let first = line.thresholds.as_ptr();
            (_mm256_load_si256(first.cast()), _mm_load_si128(first.add(8).cast()))
        };
        let low = _mm256_cmpgt_epi32(size, low);
        let last = _mm_cmpgt_epi32(_mm256_castsi256_si128(size), last);
        // Twelve 16-bit masks in a shuffled order, which does not matter to a count: two bits each.
        let packed = _mm256_packs_epi32(low, _mm256_zextsi128_si256(last));
        let twice = (_mm256_movemask_epi8(packed) as u32).count_ones() as usize;
        let halves: &Halves = &line.brackets;
        let half = |all: &[[u64; 2]; BRACKETS + 1]| -> [u64; 2] {
            // SAFETY: a half is two numbers, and `twice` at most two times twelve.
            unsafe { *all.as_flattened().as_ptr().add(twice).cast() }
        };
        let ([maintenance, add_low], [add_high, initial]) =
            (half(&halves.first), half(&halves.second));
        Found { maintenance, add_low, add_high, initial }
    }

    /// # Safety
    /// The leg's instrument and chosen rate are in the table.
    #[inline]
    #[target_feature(enable = "avx2,bmi2,popcnt")]
    unsafe fn add<L: Held, const INITIAL: bool, const FRACTION: bool>(
        table: &Table,
        held: &L,
        sums: &mut Sums,
    ) {
        let leg = held.leg();
        let place = usize::from(leg.instrument);
        // SAFETY: the instrument is in the table.
        let line = unsafe { table.lines.get_unchecked(place) };
        // SAFETY: as above.
        let part = if FRACTION { unsafe { *table.parts.get_unchecked(place) } } else { 0 };
        // SAFETY: a leg is 8 bytes, the lots first. They are loaded apart from the scalar ones, and so spread in one step.
        let lots = unsafe { _mm_loadl_epi64(std::ptr::from_ref::<Leg>(leg).cast()) };
        let of = bracket(line, lots);
        let (value, notional) = worth::<FRACTION>(line.whole, part, leg.lots);
        sums.equity = sums.equity.wrapping_add(value);
        let product = u128::from(notional) * u128::from(of.maintenance);
        let added = (u128::from(of.add_high) << 64) | u128::from(of.add_low);
        sums.maintenance = sums.maintenance.wrapping_add(high(product.wrapping_add(added)));
        if INITIAL {
            // SAFETY: the chosen rate is in the table.
            let chosen = unsafe { *table.rates.get_unchecked(usize::from(leg.chosen)) };
            let (initial, notional) = match held.exposure() {
                None => (of.initial, notional),
                Some(exposure) => {
                    let on = bracket(line, _mm_cvtsi32_si128(exposure));
                    // As in [`crate::table::Bracket::poison`]; once a leg, so that the most of them do not wrap.
                    let poison = (on.add_high == POISON) & (of.add_high != POISON);
                    let poison = u64::from(poison) * POISON;
                    sums.maintenance = sums.maintenance.wrapping_add(poison);
                    (on.initial, worth::<FRACTION>(line.whole, part, exposure).1)
                }
            };
            let product = u128::from(notional) * u128::from(initial.max(chosen));
            // Rounded up: one more unless the lower half is zero, which is the carry of an addition to it.
            let (_, more) = low(product).overflowing_add(table.ones);
            _addcarry_u64(u8::from(more), sums.initial, high(product), &mut sums.initial);
        }
    }

    #[inline]
    #[allow(clippy::as_conversions, clippy::cast_possible_truncation)]
    fn low(value: u128) -> u64 {
        value as u64
    }

    /// The sums of every row.
    ///
    /// # Safety
    /// The processor has the features; every instrument and chosen rate of the group is in the table, every place in `out`.
    #[target_feature(enable = "avx2,bmi2,popcnt")]
    pub(super) unsafe fn run<L: Held, S: Sink, const INITIAL: bool, const FRACTION: bool>(
        group: &Group<L>,
        table: &Table,
        out: &mut S,
    ) {
        // SAFETY: by the caller.
        unsafe {
            match group.width {
                1 => rows::<L, S, INITIAL, FRACTION, 1>(group, table, out),
                2 => rows::<L, S, INITIAL, FRACTION, 2>(group, table, out),
                3 => rows::<L, S, INITIAL, FRACTION, 3>(group, table, out),
                4 => rows::<L, S, INITIAL, FRACTION, 4>(group, table, out),
                5 => rows::<L, S, INITIAL, FRACTION, 5>(group, table, out),
                6 => rows::<L, S, INITIAL, FRACTION, 6>(group, table, out),
                7 => rows::<L, S, INITIAL, FRACTION, 7>(group, table, out),
                8 => rows::<L, S, INITIAL, FRACTION, 8>(group, table, out),
                _ => rows::<L, S, INITIAL, FRACTION, 0>(group, table, out),
            }
        }
    }

    /// Rows of `K` legs each; of `group.width` where `K` is 0.
    ///
    /// # Safety
    /// Those of [`run`].
    #[inline]
    #[target_feature(enable = "avx2,bmi2,popcnt")]
    unsafe fn rows<L, S, const INITIAL: bool, const FRACTION: bool, const K: usize>(
        group: &Group<L>,
        table: &Table,
        out: &mut S,
    ) where
        L: Held,
        S: Sink,
    {
        let width = if K == 0 { group.width } else { K };
        let rows = group.places.iter().zip(&group.cash).zip(group.legs.chunks_exact(width));
        for ((place, cash), legs) in rows {
            // Some rows ahead: a hint, which no address can fail.
            _mm_prefetch::<_MM_HINT_T0>(legs.as_ptr().cast::<i8>().wrapping_add(AHEAD));
            let mut sums = Sums { equity: *cash, ..Sums::default() };
            for held in legs {
                // SAFETY: by the caller.
                unsafe { add::<L, INITIAL, FRACTION>(table, held, &mut sums) };
            }
            // SAFETY: by the caller.
            unsafe { out.put_unchecked::<INITIAL>(usize::from(*place), sums) };
        }
    }
}

//! The kernels: sums over the legs of each row, by every path, and their safe twins.
#![allow(clippy::needless_bitwise_bool)] // no branches
#![allow(clippy::inline_always)] // a path's code is compiled with its features only where it is inlined

use crate::path::Path;
use crate::table::{Head, Table, high};

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
    fn leg(&self) -> Leg;
    /// What initial margin is taken of, where that is not what is held.
    fn exposure(&self) -> Option<i32>;
}

impl Held for Leg {
    #[inline(always)]
    fn leg(&self) -> Leg {
        *self
    }
    #[inline(always)]
    fn exposure(&self) -> Option<i32> {
        None
    }
}

impl Held for OrderLeg {
    #[inline(always)]
    fn leg(&self) -> Leg {
        self.leg
    }
    #[inline(always)]
    fn exposure(&self) -> Option<i32> {
        Some(self.exposure)
    }
}

/// The sums of one row, modulo 2^64.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    value: i64,
    initial: u64,
    maintenance: u64,
}

/// Where the sums of rows go: one column each, all of one length.
#[derive(Debug)]
pub struct Columns<'a> {
    /// What a row's values are added to: its cash.
    pub cash: &'a [i64],
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
        let outputs = self.equity.len().min(self.initial.len()).min(self.maintenance.len());
        self.cash.len().min(outputs)
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
            let cash = *self.cash.get_unchecked(row);
            *self.equity.get_unchecked_mut(row) = cash.wrapping_add(sums.value);
            *self.maintenance.get_unchecked_mut(row) = sums.maintenance.cast_signed();
            if INITIAL {
                *self.initial.get_unchecked_mut(row) = sums.initial.cast_signed();
            }
        }
    }
}

/// Only whether the check fires.
struct Verdicts<'a> {
    strict: bool,
    cash: &'a [i64],
    out: &'a mut [bool],
    all: u64,
}

#[allow(unsafe_code)]
impl Sink for Verdicts<'_> {
    fn len(&self) -> usize {
        self.cash.len().min(self.out.len())
    }

    #[inline(always)]
    unsafe fn put_unchecked<const INITIAL: bool>(&mut self, row: usize, sums: Sums) {
        // SAFETY: the row is below the length of both.
        let (cash, out) =
            unsafe { (*self.cash.get_unchecked(row), self.out.get_unchecked_mut(row)) };
        let (equity, required) = (cash.wrapping_add(sums.value), sums.maintenance.cast_signed());
        let tie = !self.strict & (equity == required);
        *out = (required > 0) & ((equity < required) | tie);
        self.all |= sums.maintenance;
    }
}

/// Rows with the same number of legs, and where the sums of each go.
#[derive(Debug, Clone)]
pub struct Group<L> {
    width: usize,
    legs: Vec<L>,
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
        let (legs, places) = (Vec::new(), Vec::new());
        Self { width: width.max(1), legs, places, instruments: 0, rates: 0, outputs: 0 }
    }

    /// Adds a row whose sums go to `place`; false, and nothing added, where it has another number of legs or a size that is
    /// the smallest 32-bit number.
    pub fn push(&mut self, place: u16, legs: impl IntoIterator<Item = L>) -> bool {
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
        self.places.shrink_to_fit();
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.legs.capacity() * size_of::<L>() + self.places.capacity() * size_of::<u16>()
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

    /// Whether the check fires for every row, each at its place in `out`: maintenance above 0, and `cash` with the row's
    /// values below it (or, not `strict`, equal to it). Gives all maintenance sums or'ed together: from half of [`crate::POISON`] on, some row has a
    /// leg too large for the table, and its verdict means nothing. None, and nothing written, where the table, `cash` or `out` is too short for the group.
    pub fn verdicts(
        &self,
        table: &Table,
        path: Path,
        strict: bool,
        cash: &[i64],
        out: &mut [bool],
    ) -> Option<u64> {
        let fits = self.instruments <= table.len()
            && self.rates <= table.rate_count()
            && self.outputs <= out.len().min(cash.len());
        let mut sink = Verdicts { strict, cash, out, all: 0 };
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
            // SAFETY: the processor has the features, and `sums` has checked what `vector::run` asks of the group.
            unsafe {
                match path {
                    Path::Avx512 => vector::avx512::<L, S, INITIAL, FRACTION>(self, table, out),
                    _ => vector::avx2::<L, S, INITIAL, FRACTION>(self, table, out),
                }
            }
            return;
        }
        let _ = path;
        self.twin::<S, INITIAL, FRACTION>(table, out);
    }

    /// The safe twin of every kernel.
    fn twin<S: Sink, const INITIAL: bool, const FRACTION: bool>(&self, table: &Table, out: &mut S) {
        let read = |held: &L| -> Option<Sums> {
            let leg = held.leg();
            let at = usize::from(leg.instrument);
            let (Head { lot, thresholds }, brackets) =
                (table.heads.get(at)?, table.brackets.get(at)?);
            let chosen = *table.rates.get(usize::from(leg.chosen))?;
            let reached =
                |size: i32| thresholds.iter().map(|t| usize::from(size > *t)).sum::<usize>();
            let size = leg.lots.wrapping_abs();
            let (value, notional) = worth::<FRACTION>(lot.whole, lot.part, leg.lots);
            let bracket = brackets.get(reached(size))?;
            let mut sums = Sums { value, maintenance: bracket.maintenance(notional), initial: 0 };
            if INITIAL {
                if let Some(exposure) = held.exposure() {
                    let (_, notional) = worth::<FRACTION>(lot.whole, lot.part, exposure);
                    let bracket = brackets.get(reached(exposure))?;
                    sums.initial = bracket.initial(notional, chosen);
                    sums.maintenance = sums.maintenance.wrapping_add(bracket.poison());
                } else {
                    sums.initial = bracket.initial(notional, chosen);
                }
            }
            Some(sums)
        };
        for (place, legs) in self.places.iter().zip(self.legs.chunks_exact(self.width)) {
            let sums = legs.iter().filter_map(read).fold(Sums::default(), Sums::plus);
            out.put::<INITIAL>(usize::from(*place), sums);
        }
    }
}

/// Whether the sizes of a leg have an absolute value.
fn sound<L: Held>(held: &L) -> bool {
    held.leg().lots != i32::MIN && held.exposure().is_none_or(|exposure| exposure >= 0)
}

impl Sums {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self {
            value: self.value.wrapping_add(other.value),
            initial: self.initial.wrapping_add(other.initial),
            maintenance: self.maintenance.wrapping_add(other.maintenance),
        }
    }
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
    // Rounded down: away from zero where it is negative. Where the lot is below one quantum its sign is in `whole` still.
    let negative = (lots < 0) != (whole < 0);
    let notional = down.wrapping_add(if negative { up } else { 0 });
    let signed = notional.cast_signed();
    (if negative { signed.wrapping_neg() } else { signed }, notional)
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod vector {
    use std::arch::x86_64::{
        __m512i, _MM_HINT_T0, _mm_cmpgt_epi32, _mm_cvtsi32_si128, _mm_load_si128, _mm_prefetch,
        _mm_sign_epi32, _mm256_castsi256_si128, _mm256_cmpgt_epi32, _mm256_load_si256,
        _mm256_movemask_epi8, _mm256_packs_epi32, _mm256_set1_epi32, _mm256_sign_epi32,
        _mm256_zextsi128_si256, _mm512_broadcastd_epi32, _mm512_load_si512,
        _mm512_mask_cmpgt_epi32_mask,
    };

    use super::{Group, Held, Sink, Sums, worth};
    use crate::table::{Bracket, Brackets, Head, Table};

    /// How many bytes of legs ahead of the sums memory is asked for.
    const AHEAD: usize = 1_024;

    /// How a path finds the bracket of a size: by the number of thresholds below it, at most twelve of thirteen brackets.
    trait Choose {
        /// # Safety
        /// The processor has the features of the path, and the caller is compiled with them.
        unsafe fn bracket<'a>(head: &Head, brackets: &'a Brackets, lots: i32) -> &'a Bracket;
    }

    struct Avx2;
    struct Avx512;

    impl Choose for Avx2 {
        #[inline(always)]
        #[allow(clippy::as_conversions, clippy::cast_sign_loss)]
        unsafe fn bracket<'a>(head: &Head, brackets: &'a Brackets, lots: i32) -> &'a Bracket {
            // SAFETY: the thresholds are the first 48 bytes of a head, which is aligned to 64.
            unsafe {
                let first = head.thresholds.as_ptr();
                // `vpsignd`, not `vpabsd`: of a broadcast the compiler would make scalar steps of that.
                let lots = _mm256_set1_epi32(lots);
                let size = _mm256_sign_epi32(lots, lots);
                let low = _mm256_cmpgt_epi32(size, _mm256_load_si256(first.cast()));
                let last = _mm_load_si128(first.add(8).cast());
                let high = _mm_cmpgt_epi32(_mm256_castsi256_si128(size), last);
                // Twelve 16-bit masks in a shuffled order, which does not matter to a count: two bits each.
                let packed = _mm256_packs_epi32(low, _mm256_zextsi128_si256(high));
                let count = (_mm256_movemask_epi8(packed) as u32).count_ones() as usize;
                // A bracket is 32 bytes: half of that for each of the two bits.
                &*brackets.as_ptr().byte_add(count * (size_of::<Bracket>() / 2))
            }
        }
    }

    impl Choose for Avx512 {
        #[inline(always)]
        #[allow(clippy::as_conversions)]
        unsafe fn bracket<'a>(head: &Head, brackets: &'a Brackets, lots: i32) -> &'a Bracket {
            // SAFETY: a head is 64 bytes, aligned to 64; its last four numbers are not thresholds, and not counted.
            unsafe {
                let all = _mm512_load_si512(std::ptr::from_ref(head).cast::<__m512i>());
                let lots = _mm_cvtsi32_si128(lots);
                let size = _mm512_broadcastd_epi32(_mm_sign_epi32(lots, lots));
                let mask = _mm512_mask_cmpgt_epi32_mask(0x0FFF, size, all);
                brackets.get_unchecked(u32::from(mask).count_ones() as usize)
            }
        }
    }

    /// Where the columns of a table start.
    #[derive(Clone, Copy)]
    struct Starts {
        heads: *const Head,
        brackets: *const Brackets,
        rates: *const u64,
    }

    /// The sums of one leg.
    ///
    /// # Safety
    /// The leg's instrument and chosen rate are in the columns; those of [`Choose::bracket`].
    #[inline(always)]
    unsafe fn leg<L: Held, C: Choose, const INITIAL: bool, const FRACTION: bool>(
        at: Starts,
        held: &L,
    ) -> Sums {
        let leg = held.leg();
        // SAFETY: by the caller, the instrument and the rate are in the columns.
        unsafe {
            let of = &*at.heads.add(usize::from(leg.instrument));
            let brackets = &*at.brackets.add(usize::from(leg.instrument));
            let (value, notional) = worth::<FRACTION>(of.lot.whole, of.lot.part, leg.lots);
            let bracket = C::bracket(of, brackets, leg.lots);
            let mut sums = Sums { value, maintenance: bracket.maintenance(notional), initial: 0 };
            if INITIAL {
                let chosen = *at.rates.add(usize::from(leg.chosen));
                if let Some(exposure) = held.exposure() {
                    let (_, notional) = worth::<FRACTION>(of.lot.whole, of.lot.part, exposure);
                    let bracket = C::bracket(of, brackets, exposure);
                    sums.initial = bracket.initial(notional, chosen);
                    sums.maintenance = sums.maintenance.wrapping_add(bracket.poison());
                } else {
                    sums.initial = bracket.initial(notional, chosen);
                }
            }
            sums
        }
    }

    /// # Safety
    /// Every instrument and chosen rate of the group is in the table and every place in `out`; those of [`Choose::bracket`].
    #[inline(always)]
    unsafe fn run<L: Held, S: Sink, C: Choose, const INITIAL: bool, const FRACTION: bool>(
        group: &Group<L>,
        table: &Table,
        out: &mut S,
    ) {
        let at = Starts {
            heads: table.heads.as_ptr(),
            brackets: table.brackets.as_ptr(),
            rates: table.rates.as_ptr(),
        };
        // SAFETY: by the caller.
        unsafe {
            match group.width {
                1 => rows::<L, S, C, INITIAL, FRACTION, 1>(group, at, out),
                2 => rows::<L, S, C, INITIAL, FRACTION, 2>(group, at, out),
                3 => rows::<L, S, C, INITIAL, FRACTION, 3>(group, at, out),
                4 => rows::<L, S, C, INITIAL, FRACTION, 4>(group, at, out),
                5 => rows::<L, S, C, INITIAL, FRACTION, 5>(group, at, out),
                6 => rows::<L, S, C, INITIAL, FRACTION, 6>(group, at, out),
                7 => rows::<L, S, C, INITIAL, FRACTION, 7>(group, at, out),
                8 => rows::<L, S, C, INITIAL, FRACTION, 8>(group, at, out),
                _ => rows::<L, S, C, INITIAL, FRACTION, 0>(group, at, out),
            }
        }
    }

    /// Rows of `K` legs each; of `group.width` where `K` is 0.
    ///
    /// # Safety
    /// Those of [`run`].
    #[inline(always)]
    unsafe fn rows<L, S, C, const INITIAL: bool, const FRACTION: bool, const K: usize>(
        group: &Group<L>,
        at: Starts,
        out: &mut S,
    ) where
        L: Held,
        S: Sink,
        C: Choose,
    {
        let width = if K == 0 { group.width } else { K };
        for (place, legs) in group.places.iter().zip(group.legs.chunks_exact(width)) {
            // SAFETY: by the caller.
            unsafe {
                // Some rows ahead: a hint, which no address can fail.
                _mm_prefetch::<_MM_HINT_T0>(legs.as_ptr().cast::<i8>().wrapping_add(AHEAD));
                let mut sums = Sums::default();
                for held in legs {
                    sums = sums.plus(leg::<L, C, INITIAL, FRACTION>(at, held));
                }
                out.put_unchecked::<INITIAL>(usize::from(*place), sums);
            }
        }
    }

    /// # Safety
    /// Those of [`run`].
    #[target_feature(enable = "avx2,bmi2,popcnt")]
    pub(super) unsafe fn avx2<L: Held, S: Sink, const INITIAL: bool, const FRACTION: bool>(
        group: &Group<L>,
        table: &Table,
        out: &mut S,
    ) {
        // SAFETY: by the caller; compiled with the features of the path.
        unsafe { run::<L, S, Avx2, INITIAL, FRACTION>(group, table, out) }
    }

    /// # Safety
    /// Those of [`run`].
    #[target_feature(enable = "avx512f,avx2,bmi2,popcnt")]
    pub(super) unsafe fn avx512<L: Held, S: Sink, const INITIAL: bool, const FRACTION: bool>(
        group: &Group<L>,
        table: &Table,
        out: &mut S,
    ) {
        // SAFETY: by the caller; compiled with the features of the path.
        unsafe { run::<L, S, Avx512, INITIAL, FRACTION>(group, table, out) }
    }
}

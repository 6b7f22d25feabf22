//! The packed lanes of the batch check: 64-bit integers where bounds show that nothing can overflow.
//!
//! A pool is in the lanes when its cash, costs and leg count are within the bounds below (found once, when it is
//! packed) and every position is worth at most [`LANE_AMOUNT_MAX`] at the prices of the scan (found per scan, as a
//! largest size per instrument). Then every intermediate number is below 2^63, for rates are at most 1:
//! values, deductions and requirements of a leg at most 2^56, at most 32 legs, cash at most 2^60.
//! The wide path ([`super::requirement`]) answers the same questions with the same bytes for all other pools.

use std::collections::HashMap;
use std::hint::select_unpredictable;

use crate::data::{Basis, Bracket, Instrument, Rules, TierBy, Tiers};
use crate::numbers::Rate;

use super::portfolio::PackedLeg;

/// Largest value or cost of one leg in the lanes, in quanta.
pub(super) const LANE_AMOUNT_MAX: u128 = 1 << 56;
/// Largest cash of one pool in the lanes, in quanta.
pub(super) const LANE_CASH_MAX: u64 = 1 << 60;
/// Most legs of one pool in the lanes.
pub(super) const LANE_LEGS_MAX: usize = 32;

/// A rate `num / den`, ready for `ceil((value × num − part) / den)` with one wide multiplication.
///
/// `reciprocal` is the largest whole number below `num × 2^64 / den`, so for `value <= 2^56` the estimate
/// `value × reciprocal / 2^64`, rounded down, is `floor(value × num / den)` or one less. What is left of
/// `value × num − estimate × den − part` is then above `−den` and below `2 × den`, so that computing it modulo
/// 2^64 loses nothing, and how many more quanta are needed is 0, 1 or 2.
#[derive(Debug, Clone, Copy)]
struct LaneRate {
    reciprocal: u64,
    num: u32,
    den: u32,
}

impl LaneRate {
    /// `num <= den <= 10^9`.
    fn new(num: i64, den: i64) -> Self {
        let narrow = |term: i64| u32::try_from(term).unwrap_or(u32::MAX);
        let (num, den) = (narrow(num), narrow(den).max(1));
        let scaled = (u128::from(num) << 64).saturating_sub(1) / u128::from(den);
        Self { num, den, reciprocal: u64::try_from(scaled).unwrap_or(u64::MAX) }
    }

    /// `ceil((value × num − part) / den)` for `value <= 2^56`, `0 <= part < den`.
    #[inline]
    #[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    fn ceil(self, value: u64, part: u32) -> u64 {
        let estimate = ((u128::from(value) * u128::from(self.reciprocal)) >> 64) as u64;
        let exact = value.wrapping_mul(u64::from(self.num)).wrapping_sub(u64::from(part));
        let left = exact.wrapping_sub(estimate.wrapping_mul(u64::from(self.den))) as i64;
        let more = u64::from(left > 0).wrapping_add(u64::from(left > i64::from(self.den)));
        estimate.wrapping_add(more)
    }
}

/// One bracket in the lanes, in 32 bytes.
#[derive(Debug, Clone, Copy)]
struct LaneBracket {
    /// Maintenance rate with fee, over the instrument's denominator.
    rate: LaneRate,
    deduction_whole: u64,
    deduction_part: u32,
    /// Place of the initial rate in the portfolio's ascending list.
    initial_rank: u16,
}

/// One instrument at the prices of one scan, in one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct LaneInstrument {
    /// Quanta per mark tick and lot; in a scan, quanta per lot at the mark.
    unit: i64,
    /// Largest size that stays within the lanes; negative where none does.
    lots_max: i64,
    /// Floors of the brackets after the first, up to four; `i64::MAX` where there is none.
    floors: [i64; 4],
    /// Where its brackets start in the table.
    first: u32,
    /// How many floors it has past those four; they stand in the table's list of floors from `more_first` on.
    more: u16,
    /// Its schedule is a list of brackets.
    in_lanes: bool,
    by_size: bool,
    more_first: u32,
}

/// What a scan reads besides the packed legs, prices aside: made once, when a portfolio is packed.
#[derive(Debug, Clone)]
pub(super) struct LaneTable {
    instruments: Vec<LaneInstrument>,
    /// Each different schedule once, however many instruments share it.
    brackets: Vec<LaneBracket>,
    floors: Vec<i64>,
    rates: Vec<LaneRate>,
    maintenance_on_cost: bool,
    initial_on_cost: bool,
}

/// The table at the prices of one scan.
#[derive(Debug)]
pub(super) struct LaneScan<'a> {
    instruments: Vec<LaneInstrument>,
    brackets: &'a [LaneBracket],
    floors: &'a [i64],
    rates: &'a [LaneRate],
    bases: (bool, bool),
}

/// The sums of one pool.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LaneSums {
    pub(super) pnl: i64,
    pub(super) initial: i64,
    pub(super) maintenance: i64,
}

impl LaneBracket {
    fn new(bracket: &Bracket, den: i64, fee_num: i64, rates: &[Rate]) -> Self {
        let rank = rates.binary_search(&bracket.initial).ok().and_then(|r| u16::try_from(r).ok());
        let wide = i128::from(den);
        // A floor past the lanes is never reached in them, so what its bracket holds does not matter there.
        let whole = u64::try_from(bracket.deduction_num.div_euclid(wide)).unwrap_or(0);
        let part = u32::try_from(bracket.deduction_num.rem_euclid(wide)).unwrap_or(0);
        Self {
            rate: LaneRate::new(bracket.maintenance_num + fee_num, den),
            deduction_whole: whole,
            deduction_part: part,
            initial_rank: rank.unwrap_or(u16::MAX),
        }
    }
}

impl LaneTable {
    pub(super) fn new(rules: &Rules, instruments: &[Instrument], rates: &[Rate]) -> Self {
        let mut table = Self {
            instruments: Vec::with_capacity(instruments.len()),
            brackets: Vec::new(),
            floors: Vec::new(),
            rates: rates.iter().map(|r| LaneRate::new(r.num(), r.den())).collect(),
            maintenance_on_cost: rules.maintenance_basis == Basis::Entry,
            initial_on_cost: rules.initial_basis == Basis::Entry,
        };
        let mut known: HashMap<&Tiers, LaneInstrument> = HashMap::new();
        for instrument in instruments {
            let tiers = instrument.tiers();
            let shared = *known.entry(tiers).or_insert_with(|| table.schedule(tiers, rates));
            table.instruments.push(LaneInstrument { unit: linear_unit(instrument), ..shared });
        }
        table
    }

    /// An instrument of this schedule; its unit and its price are filled in later.
    fn schedule(&mut self, tiers: &Tiers, rates: &[Rate]) -> LaneInstrument {
        let place = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let mut lane = LaneInstrument {
            unit: 0,
            lots_max: -1,
            floors: [i64::MAX; 4],
            first: place(self.brackets.len()),
            more: 0,
            in_lanes: false,
            by_size: false,
            more_first: place(self.floors.len()),
        };
        let Tiers::Brackets { by, den, fee_num, brackets } = tiers else { return lane };
        (lane.in_lanes, lane.by_size) = (true, *by == TierBy::Size);
        let mut floors =
            brackets.iter().skip(1).map(|b| i64::try_from(b.floor).unwrap_or(i64::MAX));
        for (slot, floor) in lane.floors.iter_mut().zip(floors.by_ref().take(4)) {
            *slot = floor;
        }
        self.floors.extend(floors);
        lane.more = u16::try_from(brackets.len().saturating_sub(5)).unwrap_or(u16::MAX);
        self.brackets.extend(brackets.iter().map(|b| LaneBracket::new(b, *den, *fee_num, rates)));
        lane
    }

    /// The table at these marks. An instrument without a mark, or whose price does not fit, holds no size.
    pub(super) fn at(&self, mark: impl Fn(usize) -> Option<i64>) -> LaneScan<'_> {
        let price = |(i, lane): (usize, &LaneInstrument)| {
            let per_lot = mark(i).filter(|_| lane.in_lanes).and_then(|m| m.checked_mul(lane.unit));
            let room = |p: i64| LANE_AMOUNT_MAX / u128::from(p.unsigned_abs().max(1));
            let lots_max = per_lot.and_then(|p| i64::try_from(room(p)).ok()).unwrap_or(-1);
            LaneInstrument { unit: per_lot.unwrap_or(0), lots_max, ..*lane }
        };
        let instruments = self.instruments.iter().enumerate().map(price).collect();
        LaneScan {
            instruments,
            brackets: &self.brackets,
            floors: &self.floors,
            rates: &self.rates,
            bases: (self.maintenance_on_cost, self.initial_on_cost),
        }
    }
}

impl LaneScan<'_> {
    /// The bracket of a leg: how many floors it has reached.
    #[inline]
    #[allow(clippy::as_conversions)] // u32 to usize
    fn bracket(&self, lane: &LaneInstrument, key: i64) -> Option<&LaneBracket> {
        let [a, b, c, d] = lane.floors;
        let low = u32::from(key >= a).wrapping_add(u32::from(key >= b));
        let high = u32::from(key >= c).wrapping_add(u32::from(key >= d));
        let mut reached = low.wrapping_add(high);
        if reached == 4 {
            reached = self.reached_past_four(lane, key);
        }
        self.brackets.get(lane.first.wrapping_add(reached) as usize)
    }

    /// How many floors a leg has reached that has reached four.
    #[cold]
    #[inline(never)]
    #[allow(clippy::as_conversions)] // u32 to usize
    fn reached_past_four(&self, lane: &LaneInstrument, key: i64) -> u32 {
        let more = self.floors.iter().skip(lane.more_first as usize).take(usize::from(lane.more));
        more.fold(4, |reached, floor| reached + u32::from(key >= *floor))
    }

    /// Which of the four kernels the rules ask for.
    pub(super) fn bases(&self) -> (bool, bool) {
        self.bases
    }

    /// Adds one leg to a pool's sums; `None` when it does not fit the lanes at these prices. `M` and `I` say
    /// whether maintenance and initial margin are taken of the cost basis.
    ///
    /// Plain wrapping operations: the bounds of this module show that no sum of one pool wraps.
    #[inline(always)]
    #[allow(clippy::as_conversions, clippy::cast_possible_wrap, clippy::cast_sign_loss)]
    #[allow(clippy::inline_always)] // both kernels below are this loop body and nothing else
    fn add<const M: bool, const I: bool>(
        &self,
        sums: &mut LaneSums,
        leg: &PackedLeg,
    ) -> Option<()> {
        let lane = self.instruments.get(leg.instrument as usize)?;
        let size = leg.lots.wrapping_abs();
        if size > lane.lots_max {
            return None;
        }
        let value = leg.lots.wrapping_mul(lane.unit);
        let (notional, paid) = (value.wrapping_abs(), leg.cost.wrapping_abs());
        let on_m = if M { paid } else { notional };
        let on_i = if I { paid } else { notional };
        let bracket = self.bracket(lane, select_unpredictable(lane.by_size, size, on_m))?;
        let ranked = if M == I || lane.by_size { bracket } else { self.bracket(lane, on_i)? };
        let gross = bracket.rate.ceil(on_m as u64, bracket.deduction_part);
        // Which of the two rates is larger is as good as random.
        let own = ranked.initial_rank > leg.chosen;
        let rank = select_unpredictable(own, ranked.initial_rank, leg.chosen);
        let rate = self.rates.get(usize::from(rank))?;
        let maintenance = gross.saturating_sub(bracket.deduction_whole);
        sums.pnl = sums.pnl.wrapping_add(value.wrapping_sub(leg.cost));
        sums.maintenance = sums.maintenance.wrapping_add(maintenance as i64);
        sums.initial = sums.initial.wrapping_add(rate.ceil(on_i as u64, 0) as i64);
        Some(())
    }

    /// The sums of one pool's legs; `None` when they do not fit the lanes at these prices.
    pub(super) fn sums<const M: bool, const I: bool>(
        &self,
        legs: &[PackedLeg],
    ) -> Option<LaneSums> {
        let mut sums = LaneSums::default();
        for leg in legs {
            self.add::<M, I>(&mut sums, leg)?;
        }
        Some(sums)
    }

    /// Running sums over the legs of many pools: `out[i]` after leg `i`. A pool's own sums are the difference of
    /// two of them, modulo 2^64 and therefore exactly, and no branch depends on how many legs a pool has. `None`
    /// when a leg does not fit.
    #[inline(never)]
    pub(super) fn running<const M: bool, const I: bool>(
        &self,
        legs: &[PackedLeg],
        out: &mut [LaneSums],
    ) -> Option<()> {
        let mut sums = LaneSums::default();
        for (leg, slot) in legs.iter().zip(out) {
            self.add::<M, I>(&mut sums, leg)?;
            *slot = sums;
        }
        Some(())
    }
}

impl LaneSums {
    /// What was added between two running sums.
    #[inline]
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            pnl: self.pnl.wrapping_sub(before.pnl),
            initial: self.initial.wrapping_sub(before.initial),
            maintenance: self.maintenance.wrapping_sub(before.maintenance),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plain(value: u64, part: u32, num: i64, den: i64) -> i128 {
        let exact = i128::from(value) * i128::from(num) - i128::from(part);
        crate::numbers::rounding::div_ceil(exact, i128::from(den)).unwrap()
    }

    #[test]
    fn one_multiplication_is_exact_at_the_edges() {
        for den in [1_i64, 2, 3, 7, 75, 125, 4_000, 1_000_000, 999_999_937, 1_000_000_000] {
            for num in [1, 2, den / 3, den - 1, den].into_iter().filter(|n| (1..=den).contains(n)) {
                let d = den.unsigned_abs();
                let multiples = (0..50).map(|s| ((1_u64 << 56) / d * d) >> s);
                let values =
                    multiples.flat_map(|m| [m, m + 1, m.saturating_sub(1)]).chain([0, 1, 1 << 56]);
                for value in values.filter(|v| *v <= 1 << 56) {
                    let edges = [0, 1, d / 2, d - 1].into_iter().filter(|p| *p < d);
                    for part in edges.map(|p| u32::try_from(p).unwrap()) {
                        let want = plain(value, part, num, den);
                        let got = LaneRate::new(num, den).ceil(value, part);
                        assert_eq!(i128::from(got), want, "{value} x {num}/{den} - {part}");
                    }
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn one_multiplication_is_exact_anywhere(
            value in 0_u64..=1 << 56, num in 1_i64..=1_000_000_000, den in 1_i64..=1_000_000_000, part: u64,
        ) {
            let part = u32::try_from(part % den.unsigned_abs()).unwrap();
            let num = num.min(den);
            let got = LaneRate::new(num, den).ceil(value, part);
            assert_eq!(i128::from(got), plain(value, part, num, den));
        }
    }
}

fn linear_unit(instrument: &Instrument) -> i64 {
    match instrument.contract() {
        crate::data::Contract::Linear { unit } => unit,
        _ => 1,
    }
}

//! The packed lanes of the batch check: 64-bit integers where bounds show that nothing can overflow.
//!
//! A pool is in the lanes when its cash, costs and leg count are within the bounds below (found once, when it is
//! packed) and every position is worth at most [`LANE_AMOUNT_MAX`] at the prices of the scan (found per scan, as a
//! largest size per instrument). Then every intermediate number is below 2^63, for rates are at most 1:
//! values, deductions and requirements of a leg at most 2^56, at most 32 legs, cash at most 2^60.
//! The wide path ([`super::requirement`]) answers the same questions with the same bytes for all other pools.

use crate::data::{Basis, Instrument, Rules, TierBy, Tiers};
use crate::numbers::Rate;

/// Largest value or cost of one leg in the lanes, in quanta.
pub(super) const LANE_AMOUNT_MAX: u128 = 1 << 56;
/// Largest cash of one pool in the lanes, in quanta.
pub(super) const LANE_CASH_MAX: u64 = 1 << 60;
/// Most legs of one pool in the lanes.
pub(super) const LANE_LEGS_MAX: usize = 32;

/// Division by a constant as one multiplication: exact for dividends below 2^63 and divisors up to 2^31.
#[derive(Debug, Clone, Copy)]
pub(super) struct Divisor {
    den: u64,
    magic: u64,
    shift: u32,
}

impl Divisor {
    /// `magic = ceil(2^(63 + bits) / den)` with `bits = ceil(log2 den)`; its error `magic × den − 2^(63+bits)`
    /// is below `2^bits`, so that `x × error < 2^(63+bits)` for every `x < 2^63`, and the quotient is exact.
    fn new(den: i64) -> Self {
        let den = den.unsigned_abs().max(1);
        let bits = 64 - (den - 1).leading_zeros();
        let power = 1_u128 << (63 + bits);
        let magic = u64::try_from(power.div_ceil(u128::from(den))).unwrap_or(u64::MAX);
        Self {
            den,
            magic,
            shift: bits + 63,
        }
    }

    /// Quotient and remainder of `x < 2^63`.
    #[inline]
    #[allow(clippy::as_conversions, clippy::cast_possible_truncation)] // the quotient is below 2^63
    fn div_rem(self, x: u64) -> (u64, u64) {
        let q = ((u128::from(x) * u128::from(self.magic)) >> self.shift) as u64;
        (q, x.wrapping_sub(q.wrapping_mul(self.den)))
    }
}

/// An initial rate, ready for `ceil(value × rate)`.
#[derive(Debug, Clone, Copy)]
struct LaneRate {
    num: u64,
    divisor: Divisor,
}

impl LaneRate {
    fn new(rate: Rate) -> Self {
        Self {
            num: rate.num().unsigned_abs(),
            divisor: Divisor::new(rate.den()),
        }
    }

    /// `ceil(value × rate)`: `value` at most 2^56, `num <= den <= 10^9`.
    #[inline]
    fn of_ceil(self, value: u64) -> u64 {
        let (q, r) = self.divisor.div_rem(value);
        let part = r.wrapping_mul(self.num).wrapping_add(self.divisor.den - 1);
        q.wrapping_mul(self.num)
            .wrapping_add(self.divisor.div_rem(part).0)
    }
}

/// One bracket in the lanes.
#[derive(Debug, Clone, Copy)]
struct LaneBracket {
    /// Maintenance rate with fee, over the instrument's denominator.
    num: u64,
    deduction_whole: u64,
    deduction_part: u64,
    /// Place of the initial rate in the portfolio's ascending list.
    initial_rank: u16,
}

/// One instrument at the prices of one scan.
#[derive(Debug, Clone)]
pub(super) struct LaneInstrument {
    /// Quanta per lot at the mark.
    per_lot: i64,
    /// Largest size that stays within the lanes; negative where none does.
    lots_max: i64,
    by_size: bool,
    divisor: Divisor,
    /// Floors from the second bracket on, padded with `i64::MAX` to a multiple of four.
    floors: Vec<i64>,
    brackets: Vec<LaneBracket>,
}

/// All that a scan reads besides the packed columns.
#[derive(Debug)]
pub(super) struct LaneTable {
    instruments: Vec<LaneInstrument>,
    rates: Vec<LaneRate>,
    maintenance_on_cost: bool,
    initial_on_cost: bool,
}

/// The sums of one pool.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LaneSums {
    pub(super) pnl: i64,
    pub(super) initial: i64,
    pub(super) maintenance: i64,
}

impl LaneInstrument {
    fn new(instrument: &Instrument, mark: Option<i64>, rates: &[Rate]) -> Self {
        let never = Self {
            per_lot: 0,
            lots_max: -1,
            by_size: false,
            divisor: Divisor::new(1),
            floors: vec![i64::MAX; 4],
            brackets: Vec::new(),
        };
        let (
            Tiers::Brackets {
                by,
                den,
                fee_num,
                brackets,
            },
            Some(mark),
        ) = (instrument.tiers(), mark)
        else {
            return never;
        };
        let Some(per_lot) = mark.checked_mul(instrument.unit()) else {
            return never;
        };
        let lots_max = i64::try_from(LANE_AMOUNT_MAX / u128::from(per_lot.unsigned_abs().max(1)));
        let mut lane = Self {
            per_lot,
            lots_max: lots_max.unwrap_or(-1),
            divisor: Divisor::new(*den),
            ..never
        };
        lane.by_size = *by == TierBy::Size;
        lane.floors.clear();
        for bracket in brackets {
            let den = i128::from(*den);
            let rank = rates
                .binary_search(&bracket.initial)
                .ok()
                .and_then(|r| u16::try_from(r).ok());
            let floor = i64::try_from(bracket.floor).unwrap_or(i64::MAX);
            // A bracket whose floor is past the lanes is never reached in them: its terms do not matter.
            let whole = u64::try_from(bracket.deduction_num.div_euclid(den)).unwrap_or(0);
            let part = u64::try_from(bracket.deduction_num.rem_euclid(den)).unwrap_or(0);
            lane.brackets.push(LaneBracket {
                num: bracket.maintenance_num.unsigned_abs() + fee_num.unsigned_abs(),
                deduction_whole: whole,
                deduction_part: part,
                initial_rank: rank.unwrap_or(u16::MAX),
            });
            lane.floors.push(floor);
        }
        lane.floors.remove(0);
        lane.floors
            .resize(lane.floors.len().div_ceil(4).max(1) * 4, i64::MAX);
        lane
    }

    /// The bracket of a leg: how many floors it has reached.
    #[inline]
    #[allow(clippy::indexing_slicing)] // chunks_exact(4) yields exactly four
    fn bracket(&self, key: i64) -> Option<&LaneBracket> {
        let mut reached = 0;
        for four in self.floors.chunks_exact(4) {
            let count = usize::from(key >= four[0])
                + usize::from(key >= four[1])
                + usize::from(key >= four[2])
                + usize::from(key >= four[3]);
            reached += count;
            if count < 4 {
                break;
            }
        }
        self.brackets.get(reached)
    }
}

impl LaneTable {
    pub(super) fn new(
        rules: &Rules,
        instruments: &[Instrument],
        rates: &[Rate],
        mark: impl Fn(usize) -> Option<i64>,
    ) -> Self {
        let lane = |(i, instrument)| LaneInstrument::new(instrument, mark(i), rates);
        Self {
            instruments: instruments.iter().enumerate().map(lane).collect(),
            rates: rates.iter().map(|r| LaneRate::new(*r)).collect(),
            maintenance_on_cost: rules.maintenance_basis == Basis::Entry,
            initial_on_cost: rules.initial_basis == Basis::Entry,
        }
    }

    /// Adds one leg to a pool's sums; `None` when it does not fit the lanes at these prices.
    ///
    /// Plain wrapping operations: the bounds of this module show that none of them wraps.
    #[inline]
    #[allow(clippy::as_conversions, clippy::cast_possible_wrap)] // requirements are at most 2^57
    pub(super) fn add(
        &self,
        sums: &mut LaneSums,
        instrument: u32,
        lots: i64,
        cost: i64,
        chosen: u16,
    ) -> Option<()> {
        let lane = self.instruments.get(instrument as usize)?;
        let size = lots.wrapping_abs();
        if size > lane.lots_max {
            return None;
        }
        let value = lots.wrapping_mul(lane.per_lot);
        let (notional, paid) = (value.wrapping_abs(), cost.wrapping_abs());
        let on_m = if self.maintenance_on_cost {
            paid
        } else {
            notional
        };
        let on_i = if self.initial_on_cost { paid } else { notional };
        let bracket = lane.bracket(if lane.by_size { size } else { on_m })?;
        let ranked = if self.initial_on_cost == self.maintenance_on_cost || lane.by_size {
            bracket
        } else {
            lane.bracket(on_i)?
        };
        let (q, r) = lane.divisor.div_rem(on_m.unsigned_abs());
        // r × num <= den² <= 10^18; the deduction's part is below den, so the sum is not negative.
        let part = r.wrapping_mul(bracket.num) + (lane.divisor.den - 1);
        let up = lane
            .divisor
            .div_rem(part.wrapping_sub(bracket.deduction_part))
            .0;
        let gross = q.wrapping_mul(bracket.num).wrapping_add(up);
        let maintenance = gross.saturating_sub(bracket.deduction_whole);
        let rate = self
            .rates
            .get(usize::from(ranked.initial_rank.max(chosen)))?;
        sums.pnl = sums.pnl.wrapping_add(value.wrapping_sub(cost));
        sums.maintenance = sums.maintenance.wrapping_add(maintenance as i64);
        sums.initial = sums
            .initial
            .wrapping_add(rate.of_ceil(on_i.unsigned_abs()) as i64);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn division_by_multiplication_is_exact() {
        let dens = [
            1,
            2,
            3,
            5,
            7,
            75,
            125,
            1 << 20,
            (1 << 20) + 1,
            1_000_000,
            999_999_937,
            1_000_000_000,
        ];
        for den in dens {
            let d = Divisor::new(den);
            let den = den.unsigned_abs();
            let edges = [
                0,
                1,
                den - 1,
                den,
                den + 1,
                (1 << 62) - 1,
                1 << 62,
                (1 << 63) - 1,
            ];
            let multiples = (0..64).map(|s| (((1_u64 << 63) - 1) / den * den) >> s);
            for x in edges.into_iter().chain(multiples) {
                assert_eq!(d.div_rem(x), (x / den, x % den), "{x} / {den}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn division_by_multiplication_anywhere(x in 0_u64..1 << 63, den in 1_i64..1_000_000_001) {
            let d = den.unsigned_abs();
            assert_eq!(Divisor::new(den).div_rem(x), (x / d, x % d));
        }

        #[test]
        fn rates_agree_with_the_wide_path(value in 0_u64..1 << 56, num in 0_i128..1_000_000, den in 1_i128..1_000_000_000) {
            let rate = Rate::new(num.min(den), den, "r").unwrap();
            let want = rate.of_ceil(i128::from(value)).unwrap();
            assert_eq!(i128::from(LaneRate::new(rate).of_ceil(value)), want);
        }
    }
}

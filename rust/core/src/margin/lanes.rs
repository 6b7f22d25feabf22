//! The fast path of the batch check: which rows it can hold, and its table at a set of prices.
//!
//! A row is in the lanes when its cash and sizes are small enough and its rules are those of the kernels (found once, when
//! it is packed). Whether a position is small enough at the prices is found by the scan itself: a size past what the
//! table is exact for shows in the row's sum, and the row takes the general path ([`super::assess`]), which answers the same
//! questions with the same bytes. The bounds: at most 31 legs worth at most 2^52 each, cash at most 2^60; rates are at
//! most 1, so every sum of a row is below 2^57 and its equity below 2^61.

use aivora_simd::{BRACKETS, Bracket, Lot, Rate as Scaled, Schedule, Table};

use crate::data::{Basis, ClosingFee, Instrument, LotValue, Rules, TierBy, Tiers, Venue};
use crate::numbers::Rate;
use crate::numbers::rate::gcd;

use super::leg::Leg;

/// Largest value of one leg in the lanes, in quanta.
const AMOUNT_MAX: u64 = 1 << 52;
/// Largest cash of one row in the lanes, and largest part of its requirements that does not depend on prices.
pub(super) const CASH_MAX: u64 = 1 << 60;
/// Most legs of one row in the lanes.
pub(super) const LEGS_MAX: usize = 31;
/// Chosen rates with a larger denominator than this are exact for smaller amounts only, and stand apart.
const FINE_DEN: i64 = 4_095;

/// How a venue's rules are taken apart for the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a question with two answers
pub(super) struct Shape {
    /// Maintenance does not depend on the price: it is added as a constant.
    pub(super) fixed_maintenance: bool,
    /// Nor does the initial requirement of what is held.
    pub(super) fixed_initial: bool,
    /// Nor does a fee that is part of both requirements.
    fixed_fee: bool,
    /// The kernels do not know these rules.
    foreign: bool,
}

impl Shape {
    pub(super) fn of(rules: &Rules) -> Self {
        let fixed_maintenance = rules.maintenance_basis == Basis::Entry;
        let fixed_initial = rules.initial_basis == Basis::Entry;
        let fixed_fee = rules.closing_fee == ClosingFee::Bankruptcy;
        let foreign = match rules.closing_fee {
            ClosingFee::None => false,
            ClosingFee::Mark => fixed_maintenance,
            ClosingFee::Bankruptcy => !fixed_initial,
        };
        Self { fixed_maintenance, fixed_initial, fixed_fee, foreign }
    }

    /// Whether some part of a requirement is a constant of the row.
    pub(super) fn has_fixed(self) -> bool {
        self.fixed_maintenance || self.fixed_initial || self.fixed_fee
    }

    /// Whether the kernels know the rules for a leg.
    pub(super) fn knows(self, instrument: &Instrument, leg: &Leg) -> bool {
        let brackets = matches!(instrument.tiers(), Tiers::Brackets { .. });
        // Orders are worth their own rounded part of an inverse contract, and add to a cost basis.
        let orders = instrument.contract().is_whole() && !self.fixed_initial;
        !self.foreign && brackets && (!leg.has_orders() || orders)
    }
}

/// Where a bracket ends before there is a price.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// The next bracket's floor, in quanta or lots; none for the last.
    next: Option<i128>,
    notional_max: u64,
}

/// An instrument's brackets before there is a price. Instruments with equal brackets share them.
#[derive(Debug, Clone)]
struct Steps {
    schedule: Schedule,
    ends: Vec<Step>,
}

/// What a table is made from, prices aside; and the table at the last prices.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    steps: Vec<Steps>,
    /// The largest notional that the finest of the chosen rates is exact for, where some rates are fine.
    fine: Option<u64>,
    rates: Vec<u64>,
}

impl Lanes {
    pub(super) fn new(venue: &Venue, rates: &[Rate]) -> Self {
        let shape = Shape::of(venue.rules());
        let mut known: Vec<Schedule> = Vec::new();
        let mut shared = |(brackets, ends): (Vec<Bracket>, Vec<Step>)| {
            let made = Schedule::new(&brackets);
            let schedule = known.iter().find(|one| **one == made).cloned().unwrap_or_else(|| {
                known.push(made.clone());
                made
            });
            Steps { schedule, ends }
        };
        let steps = venue.instruments().iter().map(|i| shared(steps(i, shape))).collect();
        let fine = rates.iter().map(|r| r.den()).max().filter(|den| *den > FINE_DEN);
        let of = |rate: &Rate| Scaled::new(unsigned(rate.num()), unsigned(rate.den()));
        let fine = fine.map(|_| rates.iter().map(|r| of(r).notional_max).min().unwrap_or(0));
        let mut scaled: Vec<u64> = rates.iter().map(|rate| of(rate).scaled).collect();
        // The first is none; and where the initial requirement is a constant of the row, so is every chosen rate.
        let constant = if shape.fixed_initial { scaled.len() } else { 1 };
        scaled.iter_mut().take(constant).for_each(|rate| *rate = 0);
        Self { steps, fine, rates: scaled }
    }

    /// The place in the table of a leg: fine rates have places of their own.
    pub(super) fn place(&self, leg: &Leg) -> Option<u16> {
        let place = usize::try_from(leg.instrument.0).ok()?;
        let fine = leg.chosen.is_some_and(|rate| rate.den() > FINE_DEN);
        u16::try_from(if fine { place + self.steps.len() } else { place }).ok()
    }

    /// The instrument at a place of the table.
    pub(super) fn instrument(&self, place: u16) -> u16 {
        let count = u16::try_from(self.steps.len()).unwrap_or(u16::MAX);
        if place >= count { place - count } else { place }
    }

    /// A table without prices: every size is too large.
    pub(super) fn table(&self) -> Table {
        let places = if self.fine.is_some() { 2 } else { 1 };
        Table::new(self.steps.len() * places, self.rates.clone())
    }

    /// Sets an instrument of a table at its mark.
    pub(super) fn set(&self, table: &mut Table, place: usize, of: &Instrument, mark: Option<i64>) {
        let Some(steps) = self.steps.get(place) else { return };
        let lot = mark.and_then(|mark| LaneLot::of(of, mark));
        let by_size = matches!(of.tiers(), Tiers::Brackets { by: TierBy::Size, .. });
        for (at, most) in [(place, Some(u64::MAX)), (place + self.steps.len(), self.fine)] {
            let Some(most) = most else { continue };
            match &lot {
                Some(lot) => {
                    let sizes = lot.sizes(&steps.ends, by_size, most);
                    table.set(at, lot.lot, &steps.schedule, &sizes)
                }
                None => table.set(at, Lot::default(), &steps.schedule, &[]),
            };
        }
    }
}

fn unsigned(term: i64) -> u64 {
    u64::try_from(term).unwrap_or(0)
}

fn steps(instrument: &Instrument, shape: Shape) -> (Vec<Bracket>, Vec<Step>) {
    let Tiers::Brackets { den, fee_num, brackets, .. } = instrument.tiers() else {
        return (Vec::new(), Vec::new());
    };
    let next = brackets.iter().skip(1).map(|b| Some(b.floor)).chain([None]);
    let step = |(b, next): (&crate::data::Bracket, Option<i128>)| {
        let initial = Scaled::new(unsigned(b.initial.num()), unsigned(b.initial.den()));
        let rate = unsigned(b.maintenance_num + fee_num);
        let deduction = u128::try_from(b.deduction_num).unwrap_or(0);
        let (mut bracket, notional_max) = Bracket::new(rate, deduction, unsigned(*den), initial);
        if shape.fixed_maintenance {
            bracket = bracket.without_maintenance();
        }
        if shape.fixed_initial {
            bracket = bracket.without_initial();
        }
        (bracket, Step { next, notional_max })
    };
    // Positions past the brackets that the kernels' table has room for take the general path.
    brackets.iter().zip(next).map(step).take(BRACKETS).unzip()
}

/// What one lot is worth, as the kernels want it and as fractions for the sizes of the brackets.
struct LaneLot {
    lot: Lot,
    /// `num / den` quanta a lot, `den = 1` where it is whole.
    num: i128,
    den: i128,
}

impl LaneLot {
    fn of(instrument: &Instrument, mark: i64) -> Option<Self> {
        let contract = instrument.contract();
        let LotValue { whole, num, den } = contract.lot_value(mark)?;
        let size = i64::try_from(whole).ok().filter(|w| (1..=1 << 53).contains(w))?;
        let divisor = gcd(num, den).max(1);
        let (num, den) = (num / divisor, den / divisor);
        // ceil(num 2^64 / den), below 2^64: the denominator is at most 10^17.
        let part = crate::numbers::rounding::div_ceil(num.checked_shl(64)?, den)?;
        let whole = if contract.is_inverse() { -size } else { size };
        let lot = Lot { whole, part: u64::try_from(part).ok()? };
        Some(Self { lot, num: i128::from(size) * den + num, den })
    }

    /// The largest size worth at most `amount` quanta.
    fn size_of(&self, amount: u64) -> i128 {
        if self.den == 1 {
            let (amount, lot) = (amount, u64::try_from(self.num).unwrap_or(1).max(1));
            return i128::from(amount / lot);
        }
        (i128::from(amount) * self.den).div_euclid(self.num) // at most 2^64 × 10^17
    }

    /// The largest size of each bracket, up to where the table stops being exact.
    fn sizes(&self, steps: &[Step], by_size: bool, most: u64) -> Vec<i32> {
        // The product of size and fraction stays below 2^64 in the denominator.
        let exact = (i128::from(u64::MAX) / self.den).min(i128::from(i32::MAX));
        let mut sizes = Vec::with_capacity(steps.len());
        for step in steps {
            let last = match step.next {
                None => i128::from(i32::MAX),
                Some(floor) if by_size => floor - 1,
                // Below the floor, before rounding: the largest size worth less than it.
                Some(floor) => match u64::try_from(floor) {
                    Ok(floor) if self.den == 1 => self.size_of(floor.saturating_sub(1)),
                    Ok(floor) => (i128::from(floor) * self.den - 1).div_euclid(self.num),
                    Err(_) => i128::from(i32::MAX),
                },
            };
            let fits = self.size_of(step.notional_max.min(AMOUNT_MAX).min(most)).min(exact);
            // Ascending also where a bracket is exact for less than where it starts.
            let before = sizes.last().copied().unwrap_or(0);
            let size = i32::try_from(last.min(fits)).unwrap_or(i32::MAX).max(before);
            sizes.push(size);
            if fits < last {
                break;
            }
        }
        sizes
    }
}

//! What one leg requires at one mark: the general exact path, on 128-bit integers.
//!
//! `docs/spec/margin.md`, "Requirements". Each step keeps its numbers, so an explanation is these same fields.

use crate::data::{Basis, ClosingFee, Instrument, ROOT_RATE_DEN, Rules, TierBy, Tiers};
use crate::numbers::limits::{LOTS_MAX, QUANTA_MAX};
use crate::numbers::rounding::{div_ceil, mul_div_floor, mul_ratio_ceil};
use crate::numbers::{Error, ErrorKind, Rate, Result};

use super::leg::Leg;

/// The rates in force for a leg, over a common denominator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The bracket's place; 0 for a schedule without brackets.
    pub bracket: usize,
    /// The maintenance rate over `den`.
    pub maintenance_num: i128,
    /// The deduction in quanta, over `den`.
    pub deduction_num: i128,
    /// The fee in the requirement over `den`.
    pub fee_num: i128,
    /// The initial rate: numerator.
    pub initial_num: i128,
    /// The initial rate: denominator.
    pub initial_den: i128,
    /// The common denominator of the first three.
    pub den: i128,
}

/// One leg at one mark, with every intermediate number. Amounts in quanta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegMargin {
    /// What the position is worth at the mark, signed.
    pub value: i128,
    /// `value − cost`.
    pub pnl: i128,
    /// `|value|`.
    pub notional: i128,
    /// What maintenance is taken of.
    pub maintenance_value: i128,
    /// The terms maintenance is taken with.
    pub terms: Terms,
    /// The fee at the bankruptcy price, part of both requirements.
    pub fee: i128,
    /// The maintenance requirement.
    pub maintenance: i128,
    /// The larger of "all bids fill" and "all asks fill", in lots.
    pub exposure: i128,
    /// What initial margin is taken of.
    pub initial_value: i128,
    /// The bracket of the exposure.
    pub initial_bracket: usize,
    /// The initial rate in force: numerator.
    pub initial_num: i128,
    /// The initial rate in force: denominator.
    pub initial_den: i128,
    /// The initial rate is the account's chosen leverage, not the schedule's.
    pub initial_chosen: bool,
    /// The initial requirement.
    pub initial: i128,
}

/// `value` if it is within the bounds of floor 0.
pub(super) fn bounded(value: Option<i128>, what: &'static str, of: &Instrument) -> Result<i128> {
    value
        .filter(|v| v.unsigned_abs() <= QUANTA_MAX.unsigned_abs())
        .ok_or_else(|| Error::overflow(what, of.symbol()))
}

/// Which of the two rates is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateOf {
    /// The maintenance rate.
    Maintenance,
    /// The initial rate.
    Initial,
}

/// The terms for a leg worth `value` whole quanta (by notional) of `lots` (by size). Where a rate grows with the value, that
/// which is not asked for is 0: the two can be taken at different values.
///
/// # Errors
/// `limit_exceeded` where a rate that grows with size or value would pass 1.
pub fn terms(instrument: &Instrument, of: RateOf, value: i128, lots: i128) -> Result<Terms> {
    match instrument.tiers() {
        Tiers::Brackets { by, den, fee_num, brackets } => {
            let key = if *by == TierBy::Notional { value } else { lots };
            let bracket = brackets.partition_point(|b| b.floor <= key).saturating_sub(1);
            let b = brackets.get(bracket).ok_or_else(|| Error::invariant("bracket"))?;
            Ok(Terms {
                bracket,
                maintenance_num: i128::from(b.maintenance_num),
                deduction_num: b.deduction_num,
                fee_num: i128::from(*fee_num),
                initial_num: i128::from(b.initial.num()),
                initial_den: i128::from(b.initial.den()),
                den: i128::from(*den),
            })
        }
        Tiers::Slope { by, den, fee_num, maintenance_num, initial_num, slope_num } => {
            let (what, key) = match by {
                TierBy::Notional => ("value", value),
                TierBy::Size => ("quantity", lots),
            };
            let growth = key.checked_mul(i128::from(*slope_num));
            let grown = |base: i64| growth?.checked_add(i128::from(base));
            let rates = match (by, of) {
                (TierBy::Size, _) => (grown(*maintenance_num), grown(*initial_num)),
                (TierBy::Notional, RateOf::Maintenance) => (grown(*maintenance_num), Some(0)),
                (TierBy::Notional, RateOf::Initial) => (Some(0), grown(*initial_num)),
            };
            grown_terms(instrument, rates, (*fee_num, *den), (what, key))
        }
        Tiers::Root { den, fee_num, maintenance, initial, factor, lot } => {
            let scale = i128::from(*den / ROOT_RATE_DEN);
            let premium = root_premium(*factor, *lot, lots);
            let grown = |base: i64| {
                let base = i128::from(base);
                premium?.checked_add(base - base / 5)?.max(base).checked_mul(scale)
            };
            let rates = (grown(*maintenance), grown(*initial));
            grown_terms(instrument, rates, (*fee_num, *den), ("quantity", lots))
        }
    }
}

/// `floor(isqrt(10 × size + 1) × factor / 10^7)`, the size in 10^-9 of quantity; none past 128 bits, far above any rate.
fn root_premium(factor: i64, lot: i128, lots: i128) -> Option<i128> {
    if factor == 0 {
        return Some(0);
    }
    let root = lots.checked_mul(lot)?.checked_mul(10)?.checked_add(1)?.checked_isqrt()?;
    Some(root.checked_mul(i128::from(factor))? / 10_000_000)
}

/// Terms without brackets: maintenance and initial rate over `den`, none where it is past 128 bits.
fn grown_terms(
    instrument: &Instrument,
    (maintenance, initial): (Option<i128>, Option<i128>),
    (fee, den): (i64, i64),
    (what, key): (&'static str, i128),
) -> Result<Terms> {
    let (fee, den) = (i128::from(fee), i128::from(den));
    let initial = initial.filter(|rate| *rate <= den);
    let maintenance = maintenance.filter(|rate| *rate <= den - fee);
    let (Some(maintenance_num), Some(initial_num)) = (maintenance, initial) else {
        let limit = format!("a rate of {} would pass 1 at this {what}", instrument.symbol());
        return Err(Error::new(ErrorKind::LimitExceeded, what, key, limit));
    };
    Ok(Terms {
        bracket: 0,
        maintenance_num,
        deduction_num: 0,
        fee_num: fee,
        initial_num,
        initial_den: den,
        den,
    })
}

/// `ceil(value × maintenance − deduction + notional × fee)`, at least 0.
///
/// Whole and part of each amount are taken apart first, so that no product can overflow: rates are at most 1.
#[must_use]
pub fn maintenance(value: i128, notional: i128, t: &Terms) -> Option<i128> {
    // One division where the whole product fits; most do.
    let product = value.checked_mul(t.maintenance_num).and_then(|product| {
        product.checked_add(notional.checked_mul(t.fee_num)?)?.checked_sub(t.deduction_num)
    });
    if let Some(product) = product {
        return Some(div_ceil(product, t.den)?.max(0));
    }
    let (vq, vr) = (value.div_euclid(t.den), value.rem_euclid(t.den));
    let (nq, nr) = (notional.div_euclid(t.den), notional.rem_euclid(t.den));
    let (dq, dr) = (t.deduction_num.div_euclid(t.den), t.deduction_num.rem_euclid(t.den));
    let whole = vq.checked_mul(t.maintenance_num)?.checked_add(nq.checked_mul(t.fee_num)?)?;
    let part = vr.checked_mul(t.maintenance_num)?.checked_add(nr.checked_mul(t.fee_num)?)?;
    let up = div_ceil(part.checked_sub(dr)?, t.den)?;
    Some(whole.checked_sub(dq)?.checked_add(up)?.max(0))
}

/// By how much [`maintenance`] rounds up, over `t.den`: 0 or more, below `t.den`.
#[must_use]
pub fn rounded_up(value: i128, notional: i128, t: &Terms) -> Option<i128> {
    let part = value.rem_euclid(t.den).checked_mul(t.maintenance_num)?;
    let fee = notional.rem_euclid(t.den).checked_mul(t.fee_num)?;
    let part = part.checked_add(fee)?.checked_sub(t.deduction_num.rem_euclid(t.den))?;
    Some(part.checked_neg()?.rem_euclid(t.den))
}

/// The larger of the schedule's initial rate and the chosen one; whether it is the chosen one.
fn initial_rate(t: &Terms, chosen: Option<Rate>) -> (i128, i128, bool) {
    match chosen {
        Some(rate)
            if i128::from(rate.num()) * t.initial_den > t.initial_num * i128::from(rate.den()) =>
        {
            (i128::from(rate.num()), i128::from(rate.den()), true)
        }
        _ => (t.initial_num, t.initial_den, false),
    }
}

/// The taker fee at the bankruptcy price that entry and leverage give: `ceil(C × (1 − s × rate) × f)`.
fn bankruptcy_fee(instrument: &Instrument, leg: &Leg, worth: i128) -> Result<i128> {
    let (size, cost) = (i128::from(leg.lots).abs(), leg.cost.abs());
    let t = terms(instrument, RateOf::Initial, worth, size)?;
    let (num, den, _) = initial_rate(&t, leg.chosen);
    let fee = instrument.taker_fee().ok_or_else(|| Error::invariant("taker fee"))?;
    // A long loses as its value falls; in the coin of an inverse contract, as it grows.
    let falls = (leg.lots > 0) != instrument.contract().is_inverse();
    let left = if falls { den - num } else { den + num };
    // (1 − s × rate) × f as one fraction: at most 2×10^27 over 10^27. Down for the amount below zero is up.
    let (num, den) = (left * i128::from(fee.num()), den * i128::from(fee.den()));
    let found = mul_div_floor(-cost, num, den).and_then(i128::checked_neg);
    bounded(found, "closing fee", instrument)
}

/// One leg at `mark`.
///
/// # Errors
/// `overflow` past the bounds of floor 0; `limit_exceeded` as [`terms`].
pub fn leg_margin(
    rules: &Rules,
    instrument: &Instrument,
    leg: &Leg,
    mark: i64,
) -> Result<LegMargin> {
    let contract = instrument.contract();
    let value = bounded(contract.value(i128::from(leg.lots), mark), "notional", instrument)?;
    let pnl = bounded(value.checked_sub(leg.cost), "pnl", instrument)?;
    let (notional, cost) = (value.abs(), leg.cost.abs());
    let size = i128::from(leg.lots).abs();
    // What chooses a bracket is rounded down to a whole amount, what a rate grows with up.
    let grows = matches!(instrument.tiers(), Tiers::Slope { by: TierBy::Notional, .. });
    let worth = if grows { contract.worth_up(size, mark) } else { contract.worth(size, mark) };
    let worth = bounded(worth, "notional", instrument)?;
    let on = |basis: Basis, at_mark: i128| if basis == Basis::Mark { at_mark } else { cost };

    let maintenance_value = on(rules.maintenance_basis, notional);
    let measured = on(rules.maintenance_basis, worth);
    let maintenance_terms = terms(instrument, RateOf::Maintenance, measured, size)?;
    let fee = match rules.closing_fee {
        ClosingFee::Bankruptcy => bankruptcy_fee(instrument, leg, on(rules.initial_basis, worth))?,
        ClosingFee::None | ClosingFee::Mark => 0,
    };
    let required = maintenance(maintenance_value, notional, &maintenance_terms);
    let required = required.and_then(|m| m.checked_add(fee));

    let exposure = leg.exposure();
    if exposure > i128::from(LOTS_MAX) {
        return Err(Error::overflow("exposure", instrument.symbol()));
    }
    let resting = bounded(contract.worth_up(exposure - size, mark), "notional", instrument)?;
    let on_initial = |at_mark| on(rules.initial_basis, at_mark).checked_add(resting);
    let initial_value = bounded(on_initial(notional), "initial value", instrument)?;
    let initial_worth = bounded(on_initial(worth), "initial value", instrument)?;
    let initial_terms = terms(instrument, RateOf::Initial, initial_worth, exposure)?;
    let (num, den, initial_chosen) = initial_rate(&initial_terms, leg.chosen);
    let initial = mul_ratio_ceil(initial_value, num, den).and_then(|i| i.checked_add(fee));
    Ok(LegMargin {
        value,
        pnl,
        notional,
        maintenance_value,
        terms: maintenance_terms,
        fee,
        maintenance: bounded(required, "maintenance", instrument)?,
        exposure,
        initial_value,
        initial_bracket: initial_terms.bracket,
        initial_num: num,
        initial_den: den,
        initial_chosen,
        initial: bounded(initial, "initial", instrument)?,
    })
}

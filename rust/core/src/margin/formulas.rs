//! The formulas of margin. `docs/spec/formulas.md`.

use std::cmp::Ordering;

use crate::data::formula::{Given, first_rates};
use crate::numbers::{Exact, Result, Rounding};

/// The answer of a formula of this floor; none where it is of another.
pub(crate) fn answer(given: &Given<'_>) -> Option<Result<Exact>> {
    Some(match given.name() {
        "scaled_initial_rate" => scaled_initial(given),
        "risk_order" => risk_order(given),
        "may_become" => may_become(given),
        _ => return None,
    })
}

fn scaled_initial(given: &Given<'_>) -> Result<Exact> {
    let instrument = given.instrument()?;
    let open_interest = given.not_negative("open_interest")?;
    let (_, first) = given.said(first_rates(instrument), "tiers")?;
    let base = given.parameter("initial", Some(&first), "tiers")?;
    let scales = &given.venue().path().open_interest;
    let own = scales.iter().find(|own| own.symbol == instrument.symbol());
    let end = |key: &str, of: Option<&'_ Exact>| -> Result<Exact> {
        given.parameter(key, of, &format!("open_interest.{key}"))
    };
    let lower = end("lower", own.map(|own| &own.lower))?;
    let upper = end("upper", own.map(|own| &own.upper))?;
    let one = Exact::from(1);
    if upper.sign() == 0 || open_interest <= &lower {
        return Ok(base);
    }
    if open_interest >= &upper {
        return Ok(one);
    }
    let part = (open_interest - &lower).over(&(upper - &lower), "open_interest")?;
    let step = one.over(&Exact::from(1_000_000), "step")?;
    let more = ((one - &base) * part).rounded(&step, Rounding::Floor, "open_interest")?;
    Ok(base + more)
}

fn flag(is: bool) -> Exact {
    Exact::from(i128::from(is))
}

fn risk_order(given: &Given<'_>) -> Result<Exact> {
    let (equity, maintenance) = (given.number("equity")?, given.not_negative("maintenance")?);
    let other = (given.number("other_equity")?, given.not_negative("other_maintenance")?);
    let found = if maintenance.sign() == 0 && other.1.sign() == 0 {
        other.0.cmp(equity)
    } else {
        let by_ratio = (other.0 * maintenance).cmp(&(equity * other.1));
        by_ratio.then(maintenance.cmp(other.1))
    };
    Ok(match found {
        Ordering::Greater => Exact::from(1),
        Ordering::Equal => Exact::zero(),
        Ordering::Less => Exact::from(-1),
    })
}

fn may_become(given: &Given<'_>) -> Result<Exact> {
    let (equity, maintenance) = (given.number("equity")?, given.not_negative("maintenance")?);
    let next = (given.number("next_equity")?, given.not_negative("next_maintenance")?);
    if maintenance.sign() == 0 || next.1.sign() == 0 {
        let both = maintenance.sign() == 0 && next.1.sign() == 0;
        return Ok(flag(both && next.0 > equity));
    }
    Ok(flag(next.1 <= maintenance && next.0 * maintenance >= equity * next.1))
}

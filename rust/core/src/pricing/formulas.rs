//! The formulas of prices and of funding. `docs/spec/formulas.md`.

use crate::data::Instrument;
use crate::data::formula::{Given, first_rates, value};
use crate::data::path_rules::{Band, BandOf};
use crate::data::price_rules::{FundingTerms, PremiumOf, Shape, Term, Timing, UNIT};
use crate::numbers::{Exact, Result, Rounding};

/// The answer of a formula of this floor; none where it is of another.
pub(crate) fn answer(given: &Given<'_>) -> Option<Result<Exact>> {
    Some(match given.name() {
        "fair_price" => fair_price(given),
        "fair_basis" => fair_price(given).and_then(|fair| Ok(fair - given.number("index")?)),
        "premium" => premium(given),
        "funding_rate" => funding_rate(given),
        "funding_cap" => funding_cap(given),
        "funding_rate_per_year" => rate_per_year(given),
        "funding_payment" => payment(given),
        "funding_index" => index_move(given),
        "funding_settlement" => settlement(given),
        "funding_per_unit" => per_unit(given),
        "funding_divergence" => divergence(given),
        "band_low" => band(given, false),
        "band_high" => band(given, true),
        _ => return None,
    })
}

fn whole(number: i64) -> Exact {
    Exact::from(i128::from(number))
}

fn unit(parts: i64) -> Result<Exact> {
    whole(parts).over(&whole(UNIT), "rate")
}

fn terms(given: &Given<'_>) -> Result<FundingTerms> {
    given.said(given.venue().prices().funding, "funding")
}

fn fair_price(given: &Given<'_>) -> Result<Exact> {
    let rule = given.said(given.venue().prices().mark.as_ref(), "mark")?;
    let fair = rule.terms.iter().find_map(|term| match term {
        Term::Fair { interval, step } => Some((whole(*interval), whole(*step))),
        _ => None,
    });
    let (interval, step) = given.said(fair, "mark.terms.fair")?;
    let (index, rate) = (given.positive("index")?, given.number("rate")?);
    let left = given.number("left_ms")?.rounded(&step, Rounding::Ceil, "left_ms")?;
    let left = left.within(&Exact::zero(), &interval);
    Ok(index + index * rate * left.over(&interval, "interval")?)
}

fn premium(given: &Given<'_>) -> Result<Exact> {
    let of = given.venue().prices().funding.map_or(PremiumOf::Impact, |terms| terms.premium);
    let (index, zero) = (given.positive("index")?, Exact::zero());
    let beyond = match of {
        PremiumOf::Mark => given.positive("mark")? - index,
        PremiumOf::Impact => {
            let (bid, ask) = (given.positive("impact_bid")?, given.positive("impact_ask")?);
            (bid - index).max(zero.clone()) - (index - ask).max(zero)
        }
    };
    beyond.over(index, "index")
}

fn funding_cap(given: &Given<'_>) -> Result<Exact> {
    let terms = given.venue().prices().funding;
    let said = terms.and_then(|terms| terms.cap_factor).map(Exact::from);
    let factor = given.parameter("cap_factor", said.as_ref(), "funding.cap_factor")?;
    let (maintenance, initial) = given.said(first_rates(given.instrument()?), "tiers")?;
    let initial = given.parameter("initial", Some(&initial), "tiers")?;
    let maintenance = given.parameter("maintenance", Some(&maintenance), "tiers")?;
    Ok(factor * (initial - maintenance))
}

fn funding_rate(given: &Given<'_>) -> Result<Exact> {
    let terms = terms(given)?;
    let rule = given.said(terms.shaped.then_some(terms.rule), "funding.interest")?;
    let average = given.number("average")?.clone();
    let shaped = match rule.shape {
        Shape::Interest { interest, clamp: None } => average + unit(interest)?,
        Shape::Interest { interest, clamp: Some(most) } => {
            let (pull, most) = (unit(interest)? - &average, unit(most)?);
            average + pull.within(&-most.clone(), &most)
        }
        Shape::DeadBand(band) => {
            let band = unit(band)?;
            let inside = average.clone().within(&-band.clone(), &band);
            average - inside
        }
    };
    let bound = match rule.bounds {
        Some((low, high)) => shaped.within(&unit(low)?, &unit(high)?),
        None => shaped,
    };
    let capped = match terms.cap_factor {
        Some(_) => {
            let cap = funding_cap(given)?;
            bound.within(&-cap.clone(), &cap)
        }
        None => bound,
    };
    let step = unit(10_i64.pow(12 - rule.decimals.min(12)))?;
    (capped * Exact::from(rule.scale)).rounded(&step, rule.rounding, "rate")
}

fn rate_per_year(given: &Given<'_>) -> Result<Exact> {
    let year = whole(365 * 86_400_000);
    (given.number("rate")? * year).over(&whole(terms(given)?.interval), "interval")
}

fn payment(given: &Given<'_>) -> Result<Exact> {
    let terms = terms(given)?;
    let worth = value(given.instrument()?, given.number("quantity")?, given.positive("price")?)?;
    let whole_payment = -(worth * given.number("rate")?);
    if let Some(opened) = given.perhaps("opened_ms") {
        let (time, grace) = (given.number("time_ms")?, whole(terms.grace));
        let is_late = if terms.grace == 0 { opened > time } else { opened - time >= grace };
        if is_late {
            return Ok(Exact::zero());
        }
    }
    match terms.timing {
        Timing::Discrete => Ok(whole_payment),
        Timing::Continuous => {
            let elapsed = given.not_negative("elapsed_ms")?;
            (whole_payment * elapsed).over(&whole(terms.quoted), "quoted")
        }
    }
}

/// One millionth of a quantum a lot: the unit of a cumulative funding index.
fn millionth() -> Exact {
    Exact::from(1_000_000)
}

fn quanta_of_lot(instrument: &Instrument, price: &Exact) -> Result<Exact> {
    let lot = Exact::from(instrument.lot());
    value(instrument, &lot, price)?.over(&instrument.quantum().into(), "quantum")
}

fn index_move(given: &Given<'_>) -> Result<Exact> {
    let quoted = terms(given)?.quoted;
    let worth = quanta_of_lot(given.instrument()?, given.positive("price")?)?;
    let seconds = given.not_negative("elapsed_ms")?.over(&whole(1_000), "elapsed_ms")?;
    let product = (worth * given.number("rate")? * millionth() * seconds).cut();
    let quoted = whole(quoted).over(&whole(1_000), "quoted")?;
    Ok(product.over(&quoted, "quoted")?.cut())
}

fn settlement(given: &Given<'_>) -> Result<Exact> {
    let instrument = given.instrument()?;
    let lots = given.number("quantity")?.over(&instrument.lot().into(), "lot")?;
    let moved = given.number("index")? - given.number("since")?;
    let quanta = (-(moved * lots)).over(&millionth(), "index")?;
    Ok(quanta * Exact::from(instrument.quantum()))
}

fn divergence(given: &Given<'_>) -> Result<Exact> {
    let part = given.said(terms(given)?.divergence, "funding.divergence")?;
    Ok(given.positive("index_average")? * Exact::from(part))
}

fn per_unit(given: &Given<'_>) -> Result<Exact> {
    let scale = Exact::from(terms(given)?.rule.scale);
    let apart = given.positive("mark_average")? - given.positive("index_average")?;
    let most = divergence(given)?;
    Ok(apart.within(&-most.clone(), &most) * scale)
}

fn band(given: &Given<'_>, is_high: bool) -> Result<Exact> {
    let instrument = given.instrument()?;
    let rule = given.said(given.venue().path().band.as_ref(), "band")?;
    let one = Exact::from(1);
    match rule.of(instrument.symbol()) {
        Band::Fixed { of, down, up } => {
            let price = given.positive(if *of == BandOf::Mark { "mark" } else { "index" })?;
            let tick = Exact::from(instrument.price_tick());
            if is_high {
                (price * (one + up)).rounded(&tick, Rounding::Ceil, "band_high")
            } else {
                (price * (one - down)).rounded(&tick, Rounding::Floor, "band_low")
            }
        }
        Band::Premium { inner, outer } => {
            let (index, premium) = (given.positive("index")?, given.number("premium")?);
            Ok(if is_high {
                let near = (index * (&one + inner) + premium).max(index.clone());
                near.min(index * (one + outer))
            } else {
                let near = (index * (&one - inner) + premium).min(index.clone());
                near.max(index * (one - outer))
            })
        }
    }
}

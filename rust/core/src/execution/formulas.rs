//! The formulas of liquidation, fees and outflow, and the way in to all of them. `docs/spec/formulas.md`.

use crate::data::Venue;
use crate::data::formula::Given;
use crate::data::path_rules::{AdlScore, FeeLevel, StepLimit, StepRule};
use crate::numbers::{Error, ErrorKind, Exact, Result, Rounding};
use crate::{margin, pricing};

/// What a formula of a card's rules answers to inputs, each a name and a text: exact.
///
/// ```
/// # use aivora::{data::Venue, execution::formula};
/// let dydx = Venue::builtin("dydx-v4")?;
/// let inputs = [("equity", "499"), ("maintenance", "500"), ("value", "5000"),
///               ("leg_maintenance", "500"), ("quantity", "0.1")];
/// assert_eq!(formula(&dydx, "limit_price", inputs)?.to_string(), "49999");
/// # Ok::<(), aivora::numbers::Error>(())
/// ```
///
/// # Errors
/// `unknown_formula`, `bad_input`, `unsaid` for a parameter that the card does not give, `out_of_range`, those of [`Exact::parse`].
pub fn formula<'b>(
    venue: &Venue,
    name: &str,
    inputs: impl IntoIterator<Item = (&'b str, &'b str)>,
) -> Result<Exact> {
    let given = Given::read(venue, name, inputs)?;
    let found = pricing::formulas::answer(&given)
        .or_else(|| margin::formulas::answer(&given))
        .or_else(|| answer(&given))
        .ok_or_else(|| Error::invariant("a formula without an answer"))??;
    let rounding = venue.path().rounding.iter().find(|own| own.formula.name == given.name());
    match rounding {
        Some(own) => found.rounded(&own.to, own.mode, name),
        None => Ok(found),
    }
}

fn answer(given: &Given<'_>) -> Option<Result<Exact>> {
    Some(match given.name() {
        "limit_price" => limit_price(given),
        "limit_order" => limit_order(given),
        "bankruptcy_quote" => bankruptcy_quote(given),
        "insurance_delta" => insurance_delta(given),
        "step_value_least" => step_value(given, false),
        "step_value_most" => step_value(given, true),
        "quantity_to_cover" => quantity_to_cover(given),
        "insurance_fee_rate" => insurance_fee_rate(given),
        "liquidator_fee_rate" => liquidator_fee_rate(given),
        "socialised_per_unit" => socialised_per_unit(given),
        "adl_drawdown" => drawdown(given),
        "adl_excess" => excess(given),
        "adl_score" => score(given),
        "fee_rate" => fee_level(given).map(|(_, rate)| rate),
        "fee" => fee(given),
        "outflow_capacity" => outflow_capacity(given),
        _ => return None,
    })
}

fn step<'a>(given: &Given<'a>) -> &'a StepRule {
    &given.venue().path().step
}

/// A parameter of a step: as it is given, or as the card has it.
macro_rules! said {
    ($given:ident, $key:ident) => {{
        let card = step($given).$key.as_ref();
        $given.parameter(stringify!($key), card, concat!("step.", stringify!($key)))?
    }};
}

fn limit_price(given: &Given<'_>) -> Result<Exact> {
    let equity = given.number("equity")?;
    let maintenance = given.positive("maintenance")?;
    let (value, own) = (given.number("value")?, given.not_negative("leg_maintenance")?);
    let one = Exact::from(1);
    let beyond = match given.said(step(given).limit, "step.limit")? {
        StepLimit::Bankruptcy => (equity * own).over(maintenance, "maintenance")?,
        StepLimit::Fillable => {
            let below = &one - equity.over(maintenance, "maintenance")?;
            let adjusted =
                (said!(given, bankruptcy_adjustment) * below).within(&Exact::zero(), &one);
            adjusted * said!(given, spread_to_maintenance) * own
        }
    };
    (value - beyond).over(given.number("quantity")?, "quantity")
}

fn limit_order(given: &Given<'_>) -> Result<Exact> {
    let closes = [("long", Rounding::Ceil), ("short", Rounding::Floor)];
    let tick = Exact::from(given.instrument()?.price_tick());
    let rounding = given.word("closes", &closes)?;
    let price = given.not_negative("price")?;
    Ok(price.rounded(&tick, rounding, "price")?.max(tick))
}

fn bankruptcy_quote(given: &Given<'_>) -> Result<Exact> {
    let quantum = Exact::from(given.instrument()?.quantum());
    let (equity, own) = (given.number("equity")?, given.not_negative("leg_maintenance")?);
    let share = (equity * own).over(given.positive("maintenance")?, "maintenance")?;
    Ok(given.number("value")? - share.rounded(&quantum, Rounding::Floor, "equity")?)
}

fn insurance_delta(given: &Given<'_>) -> Result<Exact> {
    let quantum = Exact::from(given.instrument()?.quantum());
    let value = given.number("value")?;
    let beyond = value - given.number("bankruptcy_quote")?;
    if beyond.sign() <= 0 {
        return Ok(beyond);
    }
    let most = said!(given, insurance_fee_max) * value.abs();
    Ok(beyond.min(most.rounded(&quantum, Rounding::Floor, "value")?))
}

fn step_value(given: &Given<'_>, is_most: bool) -> Result<Exact> {
    let (least, value) = (said!(given, least), given.number("value")?.abs());
    if !is_most {
        return Ok(value.min(least.clone()));
    }
    let part = said!(given, portion) * &value;
    Ok(part.max(least.clone()).min(value))
}

/// The maintenance rate with the buffer, less what the liquidator gets.
fn freed(given: &Given<'_>) -> Result<Exact> {
    let buffer = said!(given, buffer);
    Ok(given.not_negative("rate")? + buffer - said!(given, liquidator_fee))
}

fn quantity_to_cover(given: &Given<'_>) -> Result<Exact> {
    let price = given.positive("price")?;
    let quote = match given.perhaps("quote_price") {
        Some(_) => given.positive("quote_price")?.clone(),
        None => Exact::from(1),
    };
    let fee = given.perhaps("insurance_fee").cloned().unwrap_or_else(Exact::zero);
    let frees = price * quote * freed(given)? - price * fee;
    if frees.sign() <= 0 {
        let limit = "fees take what closing frees: no quantity covers it";
        return Err(Error::new(ErrorKind::OutOfRange, "rate", given.number("rate")?, limit));
    }
    given.not_negative("shortage")?.over(&frees, "price")
}

fn insurance_fee_rate(given: &Given<'_>) -> Result<Exact> {
    let worth = given.number("quantity")?.abs() * given.positive("price")?;
    let short = given.not_negative("shortage")?.over(&worth, "quantity")?;
    let share = said!(given, insurance_share) * (freed(given)? - short);
    Ok(share.within(&Exact::zero(), &said!(given, insurance_fee_max)))
}

fn liquidator_fee_rate(given: &Given<'_>) -> Result<Exact> {
    let (slots, base) = (given.not_negative("slots")?, said!(given, liquidator_fee));
    if *slots <= said!(given, fee_grace_slots) {
        return Ok(base);
    }
    let grown = base + said!(given, fee_ramp) * slots;
    Ok(grown.min(said!(given, liquidator_fee_max)))
}

fn socialised_per_unit(given: &Given<'_>) -> Result<Exact> {
    let open = given.number("long")?.abs() + given.number("short")?.abs();
    given.not_negative("loss")?.over(&open, "long")
}

fn drawdown(given: &Given<'_>) -> Result<Exact> {
    let lost = given.number("pnl")? - given.number("peak_pnl")?;
    lost.over(given.positive("peak_balance")?, "peak_balance")
}

fn excess(given: &Given<'_>) -> Result<Exact> {
    let lost = -drawdown(given)?;
    let card = given.venue().path().adl.trigger.as_ref();
    let beyond = lost - given.parameter("trigger", card, "adl.trigger")?;
    Ok(beyond.max(Exact::zero()) * given.positive("peak_balance")?)
}

fn score(given: &Given<'_>) -> Result<Exact> {
    let value = given.number("value")?;
    match given.said(given.venue().path().adl.score, "adl.score")? {
        AdlScore::MarkOverEntry => {
            let moved = given.positive("mark")?.over(given.positive("entry")?, "entry")?;
            Ok(moved * value.abs().over(given.positive("equity")?, "equity")?)
        }
        AdlScore::ProfitLeverage => {
            let entry = given.number("entry_value")?;
            let profit = (value - entry).over(&entry.abs(), "entry_value")?;
            let backing = (value - given.number("bankruptcy_value")?).abs();
            let leverage = value.abs().over(&backing, "bankruptcy_value")?;
            if profit.sign() > 0 {
                return Ok(profit * leverage);
            }
            profit.over(&leverage, "value")
        }
    }
}

fn fee_level<'a>(given: &Given<'a>) -> Result<(&'a FeeLevel, Exact)> {
    let is_maker = given.word("liquidity", &[("maker", true), ("taker", false)])?;
    let zero = Exact::zero();
    let volume = given.perhaps("volume").unwrap_or(&zero);
    let levels = &given.venue().path().fees;
    let reached = levels.iter().rev().find(|level| level.volume <= *volume);
    let level = given.said(reached.or(levels.first()), "fees.levels")?;
    Ok((level, if is_maker { level.maker.clone() } else { level.taker.clone() }))
}

fn fee(given: &Given<'_>) -> Result<Exact> {
    let quantum = Exact::from(given.instrument()?.quantum());
    let (_, rate) = fee_level(given)?;
    (given.number("value")?.abs() * rate).rounded(&quantum, Rounding::Ceil, "value")
}

fn outflow_capacity(given: &Given<'_>) -> Result<Exact> {
    let name = given.text("window")?;
    let windows = &given.venue().path().outflow;
    let names: Vec<_> = windows.iter().map(|own| (own.window.as_str(), own)).collect();
    given.said(names.first(), "outflow")?;
    let own = given.word("window", &names)?;
    let quantum = Exact::from(given.venue().rules().quantum);
    let floor = |amount: Exact| amount.rounded(&quantum, Rounding::Floor, name);
    let capacity = given.number("capacity")?;
    let total = given.not_negative("total")?;
    let base = floor(&own.share * total)?.max(own.least.clone());
    let pace = (capacity - &base).max(base.clone());
    let every = Exact::from(i128::from(own.every));
    let moved = floor((pace * given.not_negative("elapsed_ms")?).over(&every, "every")?)?;
    Ok(if *capacity <= base { (capacity + moved).min(base) } else { (capacity - moved).max(base) })
}

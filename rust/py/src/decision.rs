//! Decisions as plain records.

use aivora::data::InstrumentId;
use aivora::engine::decision::{About, Change, Decision, Rule, Sight, Traded, Turn};
use aivora::engine::{Order, OrderCheck, State};
use aivora::margin::{Holdings, PoolMargin};
use aivora::numbers::Rate;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::portfolio::explanation;

/// A decision about what was asked: its name, and its fields.
pub(crate) fn decision<'py>(
    py: Python<'py>,
    state: &State,
    (name, asked): (&str, Bound<'py, PyDict>),
    found: &Decision,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("decision", name)?;
    dict.set_item("asked", asked)?;
    dict.set_item("passes", found.passes())?;
    dict.set_item("binding", found.binding())?;
    dict.set_item("rules", list(py, &found.rules, |own| rule(py, own))?)?;
    dict.set_item("figures", figures(py, state, &found.about)?)?;
    dict.set_item("pools", list(py, &found.pools, |own| sight(py, state, own))?)?;
    dict.set_item("turns", list(py, &found.turns, |own| turn(py, state, own))?)?;
    dict.set_item("card", found.card.to_string())?;
    dict.set_item("policy", found.policy.to_string())?;
    dict.set_item("events", found.events)?;
    dict.set_item("time", found.time)?;
    Ok(dict)
}

fn list<'py, T>(
    py: Python<'py>,
    rows: &[T],
    one: impl Fn(&T) -> PyResult<Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyList>> {
    let found = PyList::empty(py);
    for row in rows {
        found.append(one(row)?)?;
    }
    Ok(found)
}

fn rule<'py>(py: Python<'py>, own: &Rule) -> PyResult<Bound<'py, PyDict>> {
    let row = PyDict::new(py);
    row.set_item("rule", own.name)?;
    row.set_item("value", own.value)?;
    row.set_item("limit", own.limit)?;
    row.set_item("slack", own.slack())?;
    row.set_item("holds", own.holds())?;
    row.set_item("refused", own.refused.as_ref().map(ToString::to_string))?;
    Ok(row)
}

fn sight<'py>(py: Python<'py>, state: &State, own: &Sight) -> PyResult<Bound<'py, PyDict>> {
    let row = PyDict::new(py);
    row.set_item("role", own.role)?;
    row.set_item("pool", state.ledger().label(own.pool))?;
    row.set_item("reserved", own.reserved)?;
    row.set_item("explanation", explanation(py, &own.explanation)?)?;
    Ok(row)
}

fn turn<'py>(py: Python<'py>, state: &State, own: &Turn) -> PyResult<Bound<'py, PyDict>> {
    let row = PyDict::new(py);
    let symbol = |id: InstrumentId| state.venue().instrument(id).map_or("?", |of| of.symbol());
    let (change, of, leg) = match own.change {
        Change::Lots => ("lots", None, None),
        Change::Amount => ("amount", None, None),
        Change::Deposit(pool) => ("deposit", Some(state.ledger().label(pool)), None),
        Change::Mark(id) => ("mark", Some(symbol(id).to_owned()), None),
        Change::Close(id, side) => ("close", Some(symbol(id).to_owned()), Some(side.name())),
    };
    row.set_item("change", change)?;
    row.set_item("of", of)?;
    row.set_item("leg", leg)?;
    row.set_item("turned", own.turned)?;
    row.set_item("stays", own.stays)?;
    Ok(row)
}

fn figures<'py>(
    py: Python<'py>,
    state: &State,
    about: &About,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let dict = PyDict::new(py);
    match about {
        About::Order { check: None, .. } | About::Money { most: None, .. } => return Ok(None),
        About::Order { order, check: Some(check), taker } => {
            order_figures(&dict, order, check, *taker)?;
        }
        About::Money { asset, amount, most: Some(most) } => {
            let of = state.venue().nth_asset(asset.index()).and_then(|id| state.venue().asset(id));
            dict.set_item("asset", of.map_or("?", |of| of.name()))?;
            dict.set_item("amount", amount)?;
            dict.set_item("most", most.amount)?;
            dict.set_item("balance", most.balance)?;
            dict.set_item("binding", most.binding.name())?;
            dict.set_item("equity", most.equity)?;
            dict.set_item("initial", most.initial)?;
        }
        About::Fill { sides } => {
            set_prices(&dict, state)?;
            let sides =
                sides.iter().map(|side| side.as_ref().map(|own| traded(py, own)).transpose());
            dict.set_item("sides", sides.collect::<PyResult<Vec<_>>>()?)?;
        }
        About::Liquidation { margin } => {
            return pool_margin(py, margin).map(Some);
        }
    }
    Ok(Some(dict))
}

fn order_figures(
    dict: &Bound<'_, PyDict>,
    order: &Order,
    check: &OrderCheck,
    taker: Option<Rate>,
) -> PyResult<()> {
    dict.set_item("lots", order.signed())?;
    dict.set_item("passes", check.passes())?;
    dict.set_item("reduces", check.reduces)?;
    dict.set_item("equity", check.margin.equity)?;
    dict.set_item("initial", check.margin.initial)?;
    dict.set_item("maintenance", check.margin.maintenance)?;
    dict.set_item("reserved", check.reserved)?;
    dict.set_item("reserve", check.reserve)?;
    dict.set_item("free", check.free())?;
    dict.set_item("worst_mark_ticks", check.worst)?;
    dict.set_item("taker_fee", taker.map(|rate| (rate.num(), rate.den())))
}

/// All prices in force: a pool may come to hold what it does not hold yet.
fn set_prices(dict: &Bound<'_, PyDict>, state: &State) -> PyResult<()> {
    let (venue, prices) = (state.venue(), state.prices());
    let (marks, assets) = (PyDict::new(dict.py()), PyDict::new(dict.py()));
    for (place, of) in venue.instruments().iter().enumerate() {
        if let Some(mark) = venue.nth(place).ok().and_then(|id| prices.mark(id)) {
            marks.set_item(of.symbol(), mark.get())?;
        }
    }
    for (place, of) in venue.assets().iter().enumerate() {
        if let Some(price) = venue.nth_asset(place).ok().and_then(|id| prices.asset(id)) {
            assets.set_item(of.name(), price.get())?;
        }
    }
    dict.set_item("marks", marks)?;
    dict.set_item("assets", assets)
}

fn traded<'py>(py: Python<'py>, own: &Traded) -> PyResult<Bound<'py, PyDict>> {
    let row = PyDict::new(py);
    row.set_item("lots", own.lots)?;
    row.set_item("paid", own.paid)?;
    row.set_item("realised", own.realised)?;
    row.set_item("fee", own.fee)?;
    row.set_item("rate", own.rate.map(|(rate, rebate)| (rate.num(), rate.den(), rebate)))?;
    row.set_item("chosen", own.chosen.map(|rate| (rate.num(), rate.den())))?;
    if let Some(margin) = &own.margin {
        row.set_item("before", pool_margin(py, &margin.before)?)?;
        row.set_item("after", pool_margin(py, &margin.after)?)?;
        row.set_item("free", margin.free())?;
        row.set_item("safer", margin.is_safer())?;
    }
    Ok(row)
}

fn pool_margin<'py>(py: Python<'py>, own: &PoolMargin) -> PyResult<Bound<'py, PyDict>> {
    let row = PyDict::new(py);
    row.set_item("equity", own.equity)?;
    row.set_item("initial", own.initial)?;
    row.set_item("maintenance", own.maintenance)?;
    Ok(row)
}

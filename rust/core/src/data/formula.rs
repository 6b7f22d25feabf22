//! The formulas that a card may have parameters for. What they mean stands in `docs/spec/formulas.md`; they run on their floors.

use super::card::Venue;
use super::instrument::Instrument;
use super::tree::near;
use crate::numbers::{Error, ErrorKind, Exact, Result};

/// A formula: what it is asked with, and what it answers in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Formula {
    /// Its name.
    pub name: &'static str,
    /// The floor that it belongs to.
    pub floor: &'static str,
    /// What it answers.
    pub says: &'static str,
    /// The inputs that it needs.
    pub needs: &'static [&'static str],
    /// Those that it may have, or needs by what the card says.
    pub may: &'static [&'static str],
    /// Parameters of the card that may be given instead.
    pub parameters: &'static [&'static str],
}

impl Formula {
    /// All that it knows.
    pub fn inputs(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.needs.iter().chain(self.may).chain(self.parameters).copied()
    }
}

/// Inputs that are words; all others are numbers.
pub const WORDS: &[&str] = &["instrument", "closes", "liquidity", "window"];

macro_rules! formulas {
    ($($floor:literal {
        $($name:ident($($need:ident),*; $($may:ident),*; $($parameter:ident),*) = $says:literal;)+
    })+) => {
        /// Every formula, in order of the floors.
        pub const FORMULAS: &[Formula] = &[$($(Formula {
            name: stringify!($name),
            floor: $floor,
            says: $says,
            needs: &[$(stringify!($need)),*],
            may: &[$(stringify!($may)),*],
            parameters: &[$(stringify!($parameter)),*],
        }),+),+];
    };
}

formulas! {
    "pricing" {
        fair_price(index, rate, left_ms;;) = "the index moved by the funding rate for the time left";
        fair_basis(index, rate, left_ms;;) = "how far the fair price is from the index";
        premium(index; impact_bid, impact_ask, mark;) = "how far the market is beyond the index, as a part of it";
        funding_rate(average; instrument;) = "the rate that an average premium makes";
        funding_cap(instrument;; cap_factor, initial, maintenance) = "the largest rate either way, by the margin rates";
        funding_rate_per_year(rate;;) = "a payment's rate over 365 days";
        funding_payment(instrument, quantity, price, rate; opened_ms, time_ms, elapsed_ms;) = "what a position gets";
        funding_index(instrument, price, rate, elapsed_ms;;) = "how far the cumulative funding index moves";
        funding_settlement(instrument, quantity, index, since;;) = "what a position gets for a move of that index";
        funding_per_unit(mark_average, index_average;;) = "what a unit pays, of two averages";
        funding_divergence(index_average;;) = "how far apart the averages may count";
        band_low(instrument; mark, index, premium;) = "the lowest price of an order";
        band_high(instrument; mark, index, premium;) = "the highest price of an order";
    }
    "margin" {
        scaled_initial_rate(instrument, open_interest;; initial, lower, upper) = "the initial rate at an open interest";
        risk_order(equity, maintenance, other_equity, other_maintenance;;) = "1 where riskier than the other, -1 where less";
        may_become(equity, maintenance, next_equity, next_maintenance;;) = "1 where a pool below its requirement may change so";
    }
    "execution" {
        limit_price(equity, maintenance, value, leg_maintenance, quantity;; bankruptcy_adjustment, spread_to_maintenance) = "the limit of a liquidation order";
        limit_order(instrument, price, closes;;) = "a limit on the grid of orders";
        bankruptcy_quote(instrument, equity, maintenance, value, leg_maintenance;;) = "what closing a part must bring, or cost";
        insurance_delta(instrument, value, bankruptcy_quote;; insurance_fee_max) = "what the insurance fund gets of a fill, or pays";
        step_value_least(value;; least) = "the least that a step closes";
        step_value_most(value;; least, portion) = "the most that a step closes";
        quantity_to_cover(shortage, price, rate; quote_price, insurance_fee; buffer, liquidator_fee) = "the quantity that covers a shortage";
        insurance_fee_rate(shortage, quantity, price, rate;; buffer, liquidator_fee, insurance_share, insurance_fee_max) = "the insurance fee that leaves the account solvent";
        liquidator_fee_rate(slots;; liquidator_fee, liquidator_fee_max, fee_ramp, fee_grace_slots) = "the liquidator's fee after so many slots without activity";
        socialised_per_unit(loss, long, short;;) = "what a unit of either side pays for a loss";
        adl_drawdown(pnl, peak_pnl, peak_balance;;) = "how much of its peak the insurance pool has lost, below 0";
        adl_excess(pnl, peak_pnl, peak_balance;; trigger) = "what is deleveraged of a drawdown";
        adl_score(value; entry_value, bankruptcy_value, mark, entry, equity;) = "who is deleveraged first: the highest";
        fee_rate(liquidity; volume;) = "the fee rate of a volume; a rebate below 0";
        fee(instrument, value, liquidity; volume;) = "the fee of a fill; a rebate below 0";
        outflow_capacity(window, capacity, total, elapsed_ms;;) = "what may leave after a while";
    }
}

impl Formula {
    /// The formula of this name.
    ///
    /// # Errors
    /// `unknown_formula` naming the nearest.
    pub fn find(name: &str, field: &str) -> Result<&'static Self> {
        FORMULAS.iter().find(|own| own.name == name).ok_or_else(|| {
            let names: Vec<_> = FORMULAS.iter().map(|own| own.name).collect();
            let near = near(name, &names);
            let limit = format!("there is no such formula{near}; there are {}", names.join(", "));
            Error::new(ErrorKind::UnknownFormula, field, name, limit)
        })
    }
}

/// A formula of a venue with its inputs.
#[derive(Debug, Clone)]
pub struct Given<'a> {
    venue: &'a Venue,
    formula: &'static Formula,
    inputs: Vec<(&'static str, Input)>,
}

#[derive(Debug, Clone)]
enum Input {
    Word(String),
    Number(Exact),
}

impl<'a> Given<'a> {
    /// Reads inputs, each a name and a text.
    ///
    /// # Errors
    /// `unknown_formula`; `bad_input` for an input that is unknown or missing, `duplicate_key` for one given twice; those of [`Exact::parse`].
    pub fn read<'b>(
        venue: &'a Venue,
        name: &str,
        inputs: impl IntoIterator<Item = (&'b str, &'b str)>,
    ) -> Result<Self> {
        let formula = Formula::find(name, "formula")?;
        let mut found: Vec<(&'static str, Input)> = Vec::new();
        for (key, text) in inputs {
            let Some(key) = formula.inputs().find(|own| *own == key) else {
                let names: Vec<_> = formula.inputs().collect();
                let near = near(key, &names);
                let limit = format!("is no input of {name}{near}; it has {}", names.join(", "));
                return Err(Error::new(ErrorKind::BadInput, key, text, limit));
            };
            if found.iter().any(|(own, _)| *own == key) {
                return Err(Error::new(ErrorKind::DuplicateKey, key, text, "is given twice"));
            }
            let input = if WORDS.contains(&key) {
                Input::Word(text.to_owned())
            } else {
                Input::Number(Exact::parse(text, key)?)
            };
            found.push((key, input));
        }
        let given = Self { venue, formula, inputs: found };
        formula.needs.iter().try_for_each(|key| given.input(key).map(|_| ()))?;
        Ok(given)
    }

    /// The venue.
    #[must_use]
    pub fn venue(&self) -> &'a Venue {
        self.venue
    }

    /// The name of the formula.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.formula.name
    }

    fn find(&self, key: &str) -> Option<&Input> {
        self.inputs.iter().find(|(own, _)| *own == key).map(|(_, input)| input)
    }

    fn input(&self, key: &str) -> Result<&Input> {
        self.find(key).ok_or_else(|| {
            let limit = format!("{} needs it", self.formula.name);
            Error::new(ErrorKind::BadInput, key, "nothing", limit)
        })
    }

    /// A number that is given.
    ///
    /// # Errors
    /// `bad_input` where it is not.
    pub fn number(&self, key: &str) -> Result<&Exact> {
        match self.input(key)? {
            Input::Number(number) => Ok(number),
            Input::Word(_) => Err(Error::invariant("a word for a number")),
        }
    }

    /// A number that may be given.
    #[must_use]
    pub fn perhaps(&self, key: &str) -> Option<&Exact> {
        self.find(key).and_then(|input| match input {
            Input::Number(number) => Some(number),
            Input::Word(_) => None,
        })
    }

    /// A number that is given and above zero.
    ///
    /// # Errors
    /// `bad_input`; `out_of_range`.
    pub fn positive(&self, key: &str) -> Result<&Exact> {
        let number = self.number(key)?;
        if number.sign() > 0 {
            return Ok(number);
        }
        Err(Error::new(ErrorKind::OutOfRange, key, number, "must be above 0"))
    }

    /// A number that is given and not below zero.
    ///
    /// # Errors
    /// `bad_input`; `out_of_range`.
    pub fn not_negative(&self, key: &str) -> Result<&Exact> {
        let number = self.number(key)?;
        if number.sign() >= 0 {
            return Ok(number);
        }
        Err(Error::new(ErrorKind::OutOfRange, key, number, "must not be below 0"))
    }

    /// A parameter: as it is given, not below 0, or as the card has it.
    ///
    /// # Errors
    /// `out_of_range`; `unsaid`, naming its key.
    pub fn parameter(&self, name: &str, card: Option<&Exact>, key: &str) -> Result<Exact> {
        if self.find(name).is_some() {
            return self.not_negative(name).cloned();
        }
        self.said(card.cloned(), key)
    }

    /// A word that is given, one of several.
    ///
    /// # Errors
    /// `bad_input` where it is not given, or is none of them.
    pub fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<T> {
        let text = self.text(key)?;
        words.iter().find(|(own, _)| *own == text).map(|(_, own)| *own).ok_or_else(|| {
            let names: Vec<_> = words.iter().map(|(own, _)| *own).collect();
            let limit = format!("must be one of {}{}", names.join(", "), near(text, &names));
            Error::new(ErrorKind::BadInput, key, text, limit)
        })
    }

    /// A text that is given.
    ///
    /// # Errors
    /// `bad_input` where it is not.
    pub fn text(&self, key: &str) -> Result<&str> {
        match self.input(key)? {
            Input::Word(word) => Ok(word),
            Input::Number(_) => Err(Error::invariant("a number for a word")),
        }
    }

    /// The instrument that is given.
    ///
    /// # Errors
    /// `bad_input`; `unknown_instrument`.
    pub fn instrument(&self) -> Result<&'a Instrument> {
        self.venue.get(self.text("instrument")?)
    }

    /// A parameter of the card.
    ///
    /// # Errors
    /// `unsaid`, naming its key.
    pub fn said<T>(&self, found: Option<T>, key: &str) -> Result<T> {
        found.ok_or_else(|| {
            let limit = format!("the card does not say it, and {} needs it", self.formula.name);
            Error::new(ErrorKind::Unsaid, format!("rules.{key}"), self.venue.name(), limit)
        })
    }
}

/// What a quantity is worth at a price, in the settlement asset, signed like the quantity.
///
/// # Errors
/// `out_of_range` for an inverse contract at a price of 0.
pub fn value(instrument: &Instrument, quantity: &Exact, price: &Exact) -> Result<Exact> {
    let face = quantity * Exact::from(instrument.multiplier());
    if instrument.kind() == super::contract::ContractKind::Inverse {
        return face.over(price, "price");
    }
    Ok(face * price)
}

/// The maintenance and the initial rate of an instrument's first bracket, or at size zero.
#[must_use]
pub fn first_rates(instrument: &Instrument) -> Option<(Exact, Exact)> {
    instrument.tiers().first_rates()
}

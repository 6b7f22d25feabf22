//! Events and outcomes as people and other programs write them: names and units in the place of numbers.

use std::sync::Arc;

use super::event::{Event, Shape, What};
use super::outcome::{ForcedOrder, Outcome};
use super::state::State;
use super::wire::{Reader, Value, Wire};
use crate::data::{AssetId, InstrumentId, Side};
use crate::margin::{Holdings, LegSide, PoolId, PoolKind};
use crate::numbers::{
    Decimal, Error, ErrorKind, Lots, MarkTicks, PriceTicks, Quanta, Rate, Result,
};

/// Fields by their names.
pub type Fields = Vec<(String, Value)>;

/// The pool of an account that is meant where none is named.
const CROSS: &str = "cross";

fn missing(field: &str) -> Error {
    Error::new(ErrorKind::BadColumn, field, "nothing", "this field is required")
}

fn wrong(field: &str, value: &Value, limit: &str) -> Error {
    Error::new(ErrorKind::BadColumn, field, value, limit)
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("nothing"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
            Self::List(values) => {
                f.write_str("[")?;
                for (at, value) in values.iter().enumerate() {
                    if at > 0 {
                        f.write_str(", ")?;
                    }
                    value.fmt(f)?;
                }
                f.write_str("]")
            }
        }
    }
}

/// Reads the fields of one event, and notes which were read.
struct Writer<'a> {
    state: &'a State,
    given: &'a [(String, Value)],
    used: Vec<bool>,
    instrument: Option<InstrumentId>,
    asset: Option<AssetId>,
    bytes: Vec<u8>,
}

impl Writer<'_> {
    fn find(&mut self, name: &str) -> Option<Value> {
        let at = self.given.iter().position(|(own, _)| own == name)?;
        *self.used.get_mut(at)? = true;
        self.given.get(at).map(|(_, value)| value.clone()).filter(|value| *value != Value::None)
    }

    fn need(&mut self, name: &str) -> Result<Value> {
        self.find(name).ok_or_else(|| missing(name))
    }

    fn text(&mut self, name: &str) -> Result<String> {
        match self.need(name)? {
            Value::Text(text) => Ok(text),
            other => Err(wrong(name, &other, "must be text")),
        }
    }

    fn whole(&mut self, name: &str) -> Result<i128> {
        match self.need(name)? {
            Value::Int(value) => Ok(value),
            Value::Text(text) => Decimal::parse(&text, name)?.whole(Decimal::new(1, 0), name),
            other => Err(wrong(name, &other, "must be a whole number")),
        }
    }

    fn decimal(&mut self, name: &str) -> Result<Decimal> {
        match self.need(name)? {
            Value::Int(value) => Ok(Decimal::new(value, 0)),
            Value::Text(text) => Decimal::parse(&text, name),
            other => Err(wrong(name, &other, "must be a number, as a whole one or as text")),
        }
    }

    fn instrument(&self, name: &str) -> Result<&crate::data::Instrument> {
        let id = self.instrument.ok_or_else(|| missing(name))?;
        self.state.venue().instrument(id)
    }

    fn pool(&mut self, name: &str) -> Result<PoolId> {
        let ledger = self.state.ledger();
        match self.need(name)? {
            Value::Int(place) => {
                let place = usize::try_from(place).unwrap_or(usize::MAX);
                ledger.pool(PoolId::at(place)).map(|_| PoolId::at(place))
            }
            Value::Text(text) => {
                let (account, pool) = text.split_once('/').unwrap_or((&text, CROSS));
                ledger.find(account, pool).ok_or_else(|| {
                    let limit =
                        "no such pool is open: account/pool, or the account of a pool cross";
                    Error::new(ErrorKind::UnknownAccount, name, &text, limit)
                })
            }
            other => Err(wrong(name, &other, "must be account/pool, or a place")),
        }
    }

    /// A number in units, or as it is under the name with the unit, `raw`.
    fn units<T>(
        &mut self,
        raw: &str,
        of_units: impl FnOnce(&mut Self) -> Result<T>,
        of_raw: impl FnOnce(i128, &str) -> Result<T>,
    ) -> Result<T> {
        if let Some(value) = self.find(raw) {
            let Value::Int(value) = value else {
                return Err(wrong(raw, &value, "must be a whole number"));
            };
            return of_raw(value, raw);
        }
        of_units(self)
    }

    fn quantity(&mut self, name: &str) -> Result<Lots> {
        // In units it is a quantity, as it is lots.
        let units = if name == "lots" { "quantity" } else { name };
        self.units(
            "lots",
            |own| {
                let quantity = own.decimal(units)?;
                own.instrument("instrument")?.quantity(quantity, units)
            },
            Lots::new,
        )
    }

    fn mark(&mut self, name: &str) -> Result<MarkTicks> {
        let of_units = |own: &mut Self| {
            let price = own.decimal(name)?;
            own.instrument("instrument")?.mark(price, name)
        };
        self.units(&format!("{name}_ticks"), of_units, MarkTicks::new)
    }

    fn price(&mut self, name: &str) -> Result<PriceTicks> {
        let of_units = |own: &mut Self| {
            let price = own.decimal(name)?;
            match own.asset {
                Some(asset) if own.instrument.is_none() => {
                    own.state.venue().asset(asset)?.price(price, name)
                }
                _ => own.instrument("instrument")?.price(price, name),
            }
        };
        self.units(&format!("{name}_ticks"), of_units, PriceTicks::new)
    }

    fn amount(&mut self, name: &str) -> Result<Quanta> {
        let of_units = |own: &mut Self| {
            let amount = own.decimal(name)?;
            let asset = own.asset.ok_or_else(|| missing("asset"))?;
            let quantum = own.state.venue().asset(asset)?.quantum();
            Quanta::new(amount.whole(quantum, name)?, name)
        };
        self.units(&format!("{name}_quanta"), of_units, Quanta::new)
    }

    fn levels(&mut self, name: &str) -> Result<()> {
        let Some(value) = self.find(name) else {
            0_u64.put(&mut self.bytes);
            return Ok(());
        };
        let Value::List(rows) = value else {
            return Err(wrong(name, &value, "must be a list of [price, quantity]"));
        };
        u64::try_from(rows.len()).unwrap_or(u64::MAX).put(&mut self.bytes);
        for (row, level) in rows.iter().enumerate() {
            let read = |value: &Value| match value {
                Value::Int(value) => Ok(Decimal::new(*value, 0)),
                Value::Text(text) => Decimal::parse(text, name),
                other => Err(wrong(name, other, "must be [price, quantity]")),
            };
            let (price, quantity) = match level {
                Value::List(pair) if pair.len() == 2 => (pair.first(), pair.get(1)),
                other => return Err(wrong(name, other, "must be [price, quantity]").at_row(row)),
            };
            let of = self.instrument("instrument")?;
            let at_row = |error: Error| error.at_row(row);
            let price = read(price.unwrap_or(&Value::None)).and_then(|p| of.price(p, name));
            let quantity =
                read(quantity.unwrap_or(&Value::None)).and_then(|q| of.quantity(q, name));
            let (price, quantity) = (price.map_err(at_row)?, quantity.map_err(at_row)?);
            price.put(&mut self.bytes);
            quantity.put(&mut self.bytes);
        }
        Ok(())
    }

    /// Writes a field of a type, by that type's name.
    fn field(&mut self, name: &str, of: &str) -> Result<()> {
        if let Some(inner) = of.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')) {
            let raw = [format!("{name}_ticks"), format!("{name}_quanta")];
            let there = |own: &(String, Value)| {
                (own.0 == name || raw.contains(&own.0)) && own.1 != Value::None
            };
            let there = self.given.iter().any(there);
            there.put(&mut self.bytes);
            if !there {
                for own in [name, &raw[0], &raw[1]] {
                    self.find(own);
                }
                return Ok(());
            }
            return self.field(name, inner);
        }
        match of {
            "InstrumentId" => {
                let id = match self.need(name)? {
                    Value::Int(place) => {
                        self.state.venue().nth(usize::try_from(place).unwrap_or(usize::MAX))?
                    }
                    Value::Text(symbol) => self.state.venue().find(&symbol)?,
                    other => return Err(wrong(name, &other, "must be a symbol")),
                };
                self.instrument = Some(id);
                id.put(&mut self.bytes);
            }
            "AssetId" => {
                let asset = self.text(name)?;
                let asset = self.state.venue().find_asset(&asset)?;
                self.asset = Some(asset);
                asset.put(&mut self.bytes);
            }
            "PoolId" => self.pool(name)?.put(&mut self.bytes),
            "MarkTicks" => self.mark(name)?.put(&mut self.bytes),
            "PriceTicks" => self.price(name)?.put(&mut self.bytes),
            "Lots" => self.quantity(name)?.put(&mut self.bytes),
            "Quanta" => self.amount(name)?.put(&mut self.bytes),
            "Rate" => {
                let rate = self.need(name)?.to_string();
                Rate::parse(&rate, name)?.put(&mut self.bytes);
            }
            "bool" => match self.find(name) {
                Some(Value::Bool(value)) => value.put(&mut self.bytes),
                None => false.put(&mut self.bytes),
                Some(other) => return Err(wrong(name, &other, "must be true or false")),
            },
            "Arc<str>" => Arc::<str>::from(self.text(name)?).put(&mut self.bytes),
            "Side" => Side::from_name(&self.text(name)?)?.put(&mut self.bytes),
            "LegSide" => self.leg_side(name)?.put(&mut self.bytes),
            "PoolKind" => {
                let kind =
                    self.find(name).map_or(PoolKind::Cross.name().to_owned(), |v| v.to_string());
                PoolKind::from_name(&kind)?.put(&mut self.bytes);
            }
            "Party" => {
                self.pool(name)?.put(&mut self.bytes);
                self.leg_side(&format!("{name}_leg"))?.put(&mut self.bytes);
                self.field(&format!("{name}_order"), "Option<u64>")?;
            }
            "Arc<[Level]>" => self.levels(name)?,
            "Scope" => self.word(name, &["rules", "tiers", "haircuts", "listing"])?,
            "Ended" => self.word(name, &["expired", "timed_out"])?,
            "u16" => self.number::<u16>(name)?.put(&mut self.bytes),
            "u64" => self.number::<u64>(name)?.put(&mut self.bytes),
            "i64" => self.number::<i64>(name)?.put(&mut self.bytes),
            _ => return Err(Error::invariant("field type")),
        }
        Ok(())
    }

    fn leg_side(&mut self, name: &str) -> Result<LegSide> {
        match self.find(name) {
            None => Ok(LegSide::Net),
            Some(value) => LegSide::from_name(&value.to_string()),
        }
    }

    fn word(&mut self, name: &str, words: &[&str]) -> Result<()> {
        let text = self.text(name)?;
        let place = words.iter().position(|word| *word == text).ok_or_else(|| {
            let limit = format!("must be one of {}", words.join(", "));
            Error::new(ErrorKind::OutOfRange, name, &text, limit)
        })?;
        self.bytes.push(u8::try_from(place).unwrap_or(u8::MAX));
        Ok(())
    }

    fn number<T: TryFrom<i128>>(&mut self, name: &str) -> Result<T> {
        let value = self.whole(name)?;
        T::try_from(value).map_err(|_| {
            let limit = format!("must fit {}", std::any::type_name::<T>());
            Error::new(ErrorKind::OutOfRange, name, value, limit)
        })
    }
}

fn shape(name: &str) -> Result<&'static Shape> {
    What::ALL.iter().find(|shape| shape.name == name).ok_or_else(|| {
        let names: Vec<_> = What::ALL.iter().map(|shape| shape.name).collect();
        let limit = format!("must be one of {}", names.join(", "));
        Error::new(ErrorKind::BadColumn, "event", name, limit)
    })
}

impl State {
    /// An event from its name and its fields. Instruments, assets and pools stand by their names (`account/pool`; the account
    /// alone for its pool `cross`) or their places, amounts in units as text or whole numbers, or as they are under names that
    /// end in `_ticks` or `_quanta`, or `lots` for `quantity`.
    ///
    /// # Errors
    /// `bad_column` for a field that is missing, unknown or of another type; what names and numbers refuse.
    pub fn read_event(&self, name: &str, given: &[(String, Value)]) -> Result<What> {
        let shape = shape(name)?;
        let mut writer = Writer {
            state: self,
            given,
            used: vec![false; given.len()],
            instrument: None,
            asset: None,
            bytes: vec![shape.tag],
        };
        if let ("order_amend", Some(Value::Int(id))) =
            (name, given.iter().find(|(own, _)| own == "order").map(|(_, value)| value))
        {
            let order = u64::try_from(*id).ok().and_then(|id| self.order(id));
            writer.instrument = order.map(|order| order.instrument);
        }
        for (field, of) in shape.fields {
            writer.field(field, of)?;
        }
        let Writer { used, bytes, .. } = writer;
        if let Some(((field, value), _)) = given.iter().zip(used).find(|(_, used)| !used) {
            let known: Vec<_> = shape.fields.iter().map(|(field, _)| *field).collect();
            let limit = format!("{name} has the fields {}", known.join(", "));
            return Err(wrong(field, value, &limit));
        }
        let mut reader = Reader::new(&bytes);
        let what = What::get(&mut reader)?;
        reader.end()?;
        Ok(what)
    }

    /// The fields of an event, with names and units, as [`State::read_event`] reads them.
    #[must_use]
    pub fn write_event(&self, event: &Event) -> Fields {
        // An amended order says what it is in.
        let instrument = match event.what {
            What::OrderAmend { order, .. } => self.order(order).map(|order| order.instrument),
            _ => None,
        };
        let mut shown = Shown { state: self, instrument, asset: None, fields: Vec::new() };
        let shape = What::ALL.iter().find(|shape| shape.name == event.what.name());
        let types = shape.map_or(&[][..], |shape| shape.fields);
        for ((name, value), (_, of)) in event.what.fields().into_iter().zip(types) {
            shown.field(name, of.trim_start_matches("Option<").trim_end_matches('>'), value);
        }
        shown.fields
    }

    /// The fields of an outcome, with names and units.
    #[must_use]
    pub fn write_outcome(&self, outcome: &Outcome) -> Fields {
        let mut shown = Shown { state: self, instrument: None, asset: None, fields: Vec::new() };
        shown.outcome(outcome);
        shown.fields
    }
}

/// Fields that are written.
struct Shown<'a> {
    state: &'a State,
    instrument: Option<InstrumentId>,
    asset: Option<AssetId>,
    fields: Fields,
}

fn text(value: Option<Decimal>) -> Value {
    value.map_or(Value::None, |value| Value::Text(value.to_string()))
}

impl Shown<'_> {
    fn put(&mut self, name: &str, value: Value) {
        self.fields.push((name.to_owned(), value));
    }

    fn of(&self) -> Option<&crate::data::Instrument> {
        self.state.venue().instrument(self.instrument?).ok()
    }

    fn pool(&mut self, name: &str, pool: PoolId) {
        self.put(name, Value::Text(self.state.ledger().label(pool)));
    }

    fn instrument(&mut self, id: InstrumentId) {
        self.instrument = Some(id);
        let symbol = self.state.venue().instrument(id).map(|own| own.symbol().to_owned());
        self.put("instrument", symbol.map_or(Value::Int(id.0.into()), Value::Text));
    }

    fn asset(&mut self, asset: AssetId) {
        self.asset = Some(asset);
        let name = self.state.venue().asset(asset).map(|own| own.name().to_owned());
        self.put("asset", name.map_or(Value::Int(asset.0.into()), Value::Text));
    }

    fn amount(&mut self, name: &str, asset: Option<AssetId>, quanta: i128) {
        let venue = self.state.venue();
        self.put(name, text(asset.and_then(|asset| venue.amount(asset, quanta))));
    }

    fn quantity(&mut self, lots: i64) {
        self.put("quantity", text(self.of().and_then(|of| of.size(lots))));
    }

    fn settlement(&self) -> Option<AssetId> {
        self.of().map(crate::data::Instrument::settlement)
    }

    fn field(&mut self, name: &str, of: &str, value: Value) {
        let Value::Int(number) = value else {
            return self.words(name, of, value);
        };
        let ticks = i64::try_from(number).unwrap_or(i64::MAX);
        match of {
            "InstrumentId" => {
                return self.instrument(InstrumentId(u32::try_from(number).unwrap_or(u32::MAX)));
            }
            "AssetId" => return self.asset(AssetId(u8::try_from(number).unwrap_or(u8::MAX))),
            "PoolId" => {
                return self.pool(name, PoolId::at(usize::try_from(number).unwrap_or(usize::MAX)));
            }
            "Lots" => return self.quantity(ticks),
            "Quanta" => return self.amount(name, self.asset, number),
            _ => {}
        }
        let value = match of {
            "MarkTicks" => text(self.of().and_then(|of| of.mark_price(ticks))),
            "PriceTicks" => text(self.price(ticks)),
            _ => Value::Int(number),
        };
        self.put(name, value);
    }

    fn price(&self, ticks: i64) -> Option<Decimal> {
        match (self.of(), self.asset) {
            (Some(of), _) => of.order_price(ticks),
            (None, asset) => {
                let asset = self.state.venue().asset(asset?).ok()?;
                Decimal::of(i128::from(ticks), asset.worth()?.price_tick)
            }
        }
    }

    fn words(&mut self, name: &str, of: &str, value: Value) {
        match (of, value) {
            ("Party", Value::List(parts)) => {
                let names = [name.to_owned(), format!("{name}_leg"), format!("{name}_order")];
                for ((name, of), part) in names.iter().zip(["PoolId", "", ""]).zip(parts) {
                    self.field(name, of, part);
                }
            }
            ("Arc<[Level]>" | "Arc<[Level]", Value::List(levels)) => {
                let level = |level: &Value| {
                    let Value::List(pair) = level else { return Value::None };
                    let number = |at: usize| match pair.get(at) {
                        Some(Value::Int(value)) => i64::try_from(*value).unwrap_or(i64::MAX),
                        _ => 0,
                    };
                    let of = self.of();
                    let price = of.and_then(|of| of.order_price(number(0)));
                    let quantity = of.and_then(|of| of.size(number(1)));
                    Value::List(vec![text(price), text(quantity)])
                };
                let levels = levels.iter().map(level).collect();
                self.put(name, Value::List(levels));
            }
            (_, value) => self.put(name, value),
        }
    }

    fn trade(
        &mut self,
        pool: PoolId,
        (instrument, leg): (InstrumentId, LegSide),
        lots: Lots,
        [realised, fee]: [i128; 2],
    ) {
        self.pool("pool", pool);
        self.instrument(instrument);
        self.put("leg", Value::Text(leg.name().to_owned()));
        self.quantity(lots.get());
        self.amount("realised", self.settlement(), realised);
        self.amount("fee", self.settlement(), fee);
    }

    fn forced(&mut self, order: &ForcedOrder) {
        self.put("order", Value::Int(order.order.into()));
        self.pool("pool", order.pool);
        self.instrument(order.instrument);
        self.put("leg", Value::Text(order.leg.name().to_owned()));
        self.put("side", Value::Text(order.side.name().to_owned()));
        self.quantity(order.lots.get());
        self.put("limit", text(self.price(order.limit.get())));
    }

    fn outcome(&mut self, outcome: &Outcome) {
        match *outcome {
            Outcome::PoolOpened { pool }
            | Outcome::Liquidatable { pool }
            | Outcome::Safe { pool }
            | Outcome::LiquidationStarted { pool } => self.pool("pool", pool),
            Outcome::OrderCancelled { order, pool, why } => {
                self.put("order", Value::Int(order.into()));
                self.pool("pool", pool);
                self.put("why", Value::Text(why.name().to_owned()));
            }
            Outcome::Traded { pool, instrument, leg, lots, realised, fee } => {
                self.trade(pool, (instrument, leg), lots, [realised, fee]);
            }
            Outcome::FundingSettled { instrument, pools, paid } => {
                self.instrument(instrument);
                self.put("pools", Value::Int(pools.into()));
                self.amount("paid", self.settlement(), paid);
            }
            Outcome::Forced(ref order) => self.forced(order),
            Outcome::ForcedFilled { order, pool, instrument, lots } => {
                self.put("order", Value::Int(order.into()));
                self.pool("pool", pool);
                self.instrument(instrument);
                self.quantity(lots.get());
            }
            Outcome::LiquidationHeld { pool, gate } => {
                self.pool("pool", pool);
                self.put("gate", Value::Text(gate.name().to_owned()));
            }
            Outcome::LiquidationFinished { pool, equity } => {
                self.pool("pool", pool);
                let asset = self.state.ledger().head(pool).ok().map(|head| head.asset);
                self.amount("equity", asset, equity);
            }
            Outcome::LiquidationFee { pool, asset, amount }
            | Outcome::InsurancePaid { pool, asset, amount } => {
                self.pool("pool", pool);
                self.asset(asset);
                self.amount("amount", Some(asset), amount);
            }
            Outcome::BackstopTookOver { pool, backstop } => {
                self.pool("pool", pool);
                self.pool("backstop", backstop);
            }
            Outcome::Deleveraged { pool, counterparty, instrument, lots, price } => {
                self.pool("pool", pool);
                self.pool("counterparty", counterparty);
                self.instrument(instrument);
                self.quantity(lots.get());
                self.put("price", text(self.price(price.get())));
            }
            Outcome::Socialised { pool, payer, asset, amount } => {
                self.pool("pool", pool);
                self.pool("payer", payer);
                self.asset(asset);
                self.amount("amount", Some(asset), amount);
            }
            Outcome::Settled { pool, instrument, realised } => {
                self.pool("pool", pool);
                self.instrument(instrument);
                self.amount("realised", self.settlement(), realised);
            }
            Outcome::SequenceGap { source, missing } => {
                self.put("source", Value::Int(source.into()));
                self.put("missing", Value::Int(missing.into()));
            }
        }
    }
}

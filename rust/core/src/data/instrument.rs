//! One instrument: its grids, its contract kind and its margin schedule.

use super::card::{ClosingFee, Rules};
use super::tiers::{TierContext, Tiers};
use super::tree::Node;
use crate::numbers::limits::{QUANTA_MAX, UNIT_MAX};
use crate::numbers::{
    Canonical, Decimal, Error, ErrorKind, Lots, MarkTicks, PriceTicks, Rate, Result, Rounding,
};

/// How a contract's value follows from its price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContractKind {
    /// Value = quantity × price × multiplier, in the settlement asset.
    Linear,
}

/// One instrument of a venue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Instrument {
    symbol: String,
    kind: ContractKind,
    price_tick: Decimal,
    mark_tick: Decimal,
    lot: Decimal,
    multiplier: Decimal,
    quantum: Decimal,
    unit: i64,
    marks_per_price: i64,
    taker_fee: Option<Rate>,
    tiers: Tiers,
}

const KEYS: &[&str] =
    &["symbol", "kind", "price_tick", "mark_tick", "lot", "multiplier", "taker_fee", "tiers"];

impl Instrument {
    pub(super) fn read(node: &Node<'_>, rules: &Rules) -> Result<Self> {
        node.allow(KEYS)?;
        let symbol = node.get("symbol")?.text()?.to_owned();
        if symbol.is_empty() {
            let field = format!("{}.symbol", node.path());
            return Err(Error::new(ErrorKind::BadCard, field, "\"\"", "must not be empty"));
        }
        let kind = node.get("kind")?.word(&[("linear", ContractKind::Linear)])?;
        let price_tick = node.get("price_tick")?.positive()?;
        let mark_tick = node.get("mark_tick")?.positive()?;
        let lot = node.get("lot")?.positive()?;
        let multiplier = node.find("multiplier").map_or(Ok(Decimal::ONE), |n| n.positive())?;
        let taker_fee = node.find("taker_fee").map(|n| n.rate()).transpose()?.or(rules.taker_fee);
        if taker_fee.is_none() && (rules.closing_fee != ClosingFee::None || rules.bankruptcy_fee) {
            let limit = "closing_fee and bankruptcy_fee need a taker_fee";
            let field = format!("{}.taker_fee", node.path());
            return Err(Error::new(ErrorKind::UnknownFee, field, "nothing", limit));
        }
        let marks = price_tick.whole(mark_tick, &format!("{}.price_tick", node.path()))?;
        let unit_field = format!("{}.(mark_tick × lot × multiplier / quantum)", node.path());
        let value = mark_tick.checked_mul(lot).and_then(|v| v.checked_mul(multiplier));
        let value =
            value.ok_or_else(|| Error::overflow("mark_tick × lot × multiplier", &symbol))?;
        let unit = value.whole(rules.quantum, &unit_field)?;
        let in_range = |v: i128, field: &str| match i64::try_from(v) {
            Ok(n) if (1..=UNIT_MAX).contains(&n) => Ok(n),
            _ => {
                let limit = format!("must be 1 to {UNIT_MAX}");
                Err(Error::new(ErrorKind::OutOfRange, field, v, limit))
            }
        };
        let unit = in_range(unit, &unit_field)?;
        let marks_per_price = in_range(marks, &format!("{}.price_tick", node.path()))?;
        in_range(i128::from(unit) * i128::from(marks_per_price), &unit_field)?;
        let context = TierContext { rules, quantum: rules.quantum, lot, taker_fee };
        let tiers = Tiers::read(&node.get("tiers")?, &context)?;
        let quantum = rules.quantum;
        Ok(Self {
            symbol,
            kind,
            price_tick,
            mark_tick,
            lot,
            multiplier,
            quantum,
            unit,
            marks_per_price,
            taker_fee,
            tiers,
        })
    }

    pub(super) fn encode(&self, c: &mut Canonical) {
        let ContractKind::Linear = self.kind;
        c.text(&self.symbol).text("linear");
        for decimal in [self.price_tick, self.mark_tick, self.lot, self.multiplier] {
            c.text(&decimal.to_string());
        }
        c.text(&self.taker_fee.map_or(String::new(), |f| f.to_string()));
        self.tiers.encode(c);
    }

    /// Its symbol.
    #[must_use]
    pub fn symbol(&self) -> &str {
        &self.symbol
    }

    /// How its value follows from its price.
    #[must_use]
    pub fn kind(&self) -> ContractKind {
        self.kind
    }

    /// The step of order prices.
    #[must_use]
    pub fn price_tick(&self) -> Decimal {
        self.price_tick
    }

    /// The step of mark prices.
    #[must_use]
    pub fn mark_tick(&self) -> Decimal {
        self.mark_tick
    }

    /// The step of quantities.
    #[must_use]
    pub fn lot(&self) -> Decimal {
        self.lot
    }

    /// Base units per 1.0 of quantity.
    #[must_use]
    pub fn multiplier(&self) -> Decimal {
        self.multiplier
    }

    /// The quantum of the settlement asset.
    #[must_use]
    pub fn quantum(&self) -> Decimal {
        self.quantum
    }

    /// Quanta per mark tick and lot.
    #[must_use]
    pub fn unit(&self) -> i64 {
        self.unit
    }

    /// Mark ticks per price tick.
    #[must_use]
    pub fn marks_per_price(&self) -> i64 {
        self.marks_per_price
    }

    /// Quanta per price tick and lot.
    #[must_use]
    pub fn price_unit(&self) -> i64 {
        self.unit.saturating_mul(self.marks_per_price) // checked on reading
    }

    /// The taker fee, if the card has one.
    #[must_use]
    pub fn taker_fee(&self) -> Option<Rate> {
        self.taker_fee
    }

    /// The margin schedule.
    #[must_use]
    pub fn tiers(&self) -> &Tiers {
        &self.tiers
    }

    /// A mark price as ticks.
    ///
    /// # Errors
    /// `bad_price` at or below zero, `off_grid` off the mark tick, `out_of_range` past the bound.
    pub fn mark(&self, price: Decimal, field: &str) -> Result<MarkTicks> {
        MarkTicks::new(self.on_grid(price, self.mark_tick, field)?, field)
    }

    /// An order price as ticks.
    ///
    /// # Errors
    /// As [`Instrument::mark`].
    pub fn price(&self, price: Decimal, field: &str) -> Result<PriceTicks> {
        PriceTicks::new(self.on_grid(price, self.price_tick, field)?, field)
    }

    fn on_grid(&self, price: Decimal, tick: Decimal, field: &str) -> Result<i128> {
        if !price.is_positive() {
            let field = format!("{field} {}", self.symbol);
            return Err(Error::new(ErrorKind::BadPrice, field, price, "must be above 0"));
        }
        price.whole(tick, field)
    }

    /// A quantity as lots.
    ///
    /// # Errors
    /// `off_grid` off the lot, `out_of_range` past the bound.
    pub fn quantity(&self, quantity: Decimal, field: &str) -> Result<Lots> {
        Lots::new(quantity.whole(self.lot, field)?, field)
    }

    /// The cost basis of `lots` at an average entry price, in quanta.
    ///
    /// # Errors
    /// `off_grid` when it is not whole quanta and no other rounding is named; `overflow`.
    pub fn cost(
        &self,
        lots: Lots,
        entry: Decimal,
        rounding: Rounding,
        field: &str,
    ) -> Result<i128> {
        if !entry.is_positive() {
            return Err(Error::new(ErrorKind::BadPrice, field, entry, "must be above 0"));
        }
        let quantity = Decimal::of(i128::from(lots.get()), self.lot);
        let cost = quantity
            .and_then(|q| q.checked_mul(self.multiplier))
            .and_then(|q| q.checked_mul(entry))
            .ok_or_else(|| {
                Error::new(ErrorKind::Overflow, field, entry, "cost must fit 38 digits")
            })?;
        let quanta = cost.round(self.quantum, rounding, field)?;
        if quanta.unsigned_abs() <= QUANTA_MAX.unsigned_abs() {
            return Ok(quanta);
        }
        Err(Error::overflow("cost", &self.symbol))
    }

    /// A mark price in units.
    #[must_use]
    pub fn mark_price(&self, ticks: i64) -> Option<Decimal> {
        Decimal::of(i128::from(ticks), self.mark_tick)
    }

    /// An order price in units.
    #[must_use]
    pub fn order_price(&self, ticks: i64) -> Option<Decimal> {
        Decimal::of(i128::from(ticks), self.price_tick)
    }

    /// A quantity in units.
    #[must_use]
    pub fn size(&self, lots: i64) -> Option<Decimal> {
        Decimal::of(i128::from(lots), self.lot)
    }
}

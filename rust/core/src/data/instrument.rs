//! One instrument: its grids, its contract kind and its margin schedule.

use super::asset::{Asset, AssetId};
use super::card::{ClosingFee, Rules};
use super::contract::{Contract, ContractKind, ValueRounding};
use super::tiers::{TierContext, Tiers};
use super::tree::Node;
use crate::numbers::limits::{QUANTA_MAX, UNIT_MAX, VALUE_TERM_MAX};
use crate::numbers::rate::gcd;
use crate::numbers::rounding::{div_ceil, div_round};
use crate::numbers::{
    Canonical, Decimal, Error, ErrorKind, Lots, MarkTicks, PriceTicks, Rate, Result, Rounding,
};

/// One instrument of a venue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Instrument {
    symbol: String,
    kind: ContractKind,
    value_rounding: ValueRounding,
    settlement: AssetId,
    price_tick: Decimal,
    mark_tick: Decimal,
    lot: Decimal,
    multiplier: Decimal,
    quantum: Decimal,
    contract: Contract,
    marks_per_price: i64,
    taker_fee: Option<Rate>,
    tiers: Tiers,
}

const KEYS: &[&str] = &[
    "symbol",
    "kind",
    "settlement",
    "value_rounding",
    "price_tick",
    "mark_tick",
    "lot",
    "multiplier",
    "taker_fee",
    "tiers",
];

impl Instrument {
    pub(super) fn read(node: &Node<'_>, rules: &Rules, assets: &[Asset]) -> Result<Self> {
        node.allow(KEYS)?;
        let symbol = node.get("symbol")?.text()?.to_owned();
        if symbol.is_empty() {
            let field = format!("{}.symbol", node.path());
            return Err(Error::new(ErrorKind::BadCard, field, "\"\"", "must not be empty"));
        }
        let kind = node.get("kind")?.word(ContractKind::NAMES)?;
        let value_rounding = node
            .find("value_rounding")
            .map_or(Ok(ValueRounding::Position), |n| n.word(ValueRounding::NAMES))?;
        let settlement = node
            .find("settlement")
            .map_or(Ok(rules.settlement_id), |n| super::card::asset_named(&n, assets))?;
        let quantum = assets.get(settlement.index()).map(Asset::quantum);
        let quantum = quantum.ok_or_else(|| Error::invariant("asset place"))?;
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
        let marks_per_price = in_range(marks, UNIT_MAX, &format!("{}.price_tick", node.path()))?;
        let grid = Grid { mark_tick, lot, multiplier, quantum, marks_per_price };
        let contract = grid.contract(kind, value_rounding, node)?;
        let context = TierContext { rules, quantum, lot, taker_fee };
        let tiers = Tiers::read(&node.get("tiers")?, &context)?;
        Ok(Self {
            symbol,
            kind,
            value_rounding,
            settlement,
            price_tick,
            mark_tick,
            lot,
            multiplier,
            quantum,
            contract,
            marks_per_price,
            taker_fee,
            tiers,
        })
    }

    pub(super) fn encode(&self, c: &mut Canonical) {
        c.text(&self.symbol).text(self.kind.name()).text(self.value_rounding.name());
        c.int(self.settlement.0);
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

    /// Base units per 1.0 of quantity; for an inverse contract quote units, for a quanto settlement units per 1.0 of
    /// price.
    #[must_use]
    pub fn multiplier(&self) -> Decimal {
        self.multiplier
    }

    /// The quantum of the settlement asset.
    #[must_use]
    pub fn quantum(&self) -> Decimal {
        self.quantum
    }

    /// Where the value of a position is rounded.
    #[must_use]
    pub fn value_rounding(&self) -> ValueRounding {
        self.value_rounding
    }

    /// The asset its profit is paid in.
    #[must_use]
    pub fn settlement(&self) -> AssetId {
        self.settlement
    }

    /// Lots and mark ticks to quanta of the settlement asset.
    #[must_use]
    pub fn contract(&self) -> Contract {
        self.contract
    }

    /// Mark ticks per price tick.
    #[must_use]
    pub fn marks_per_price(&self) -> i64 {
        self.marks_per_price
    }

    /// Quanta per price tick and lot; 1 where the value is not in proportion to the price and the size.
    #[must_use]
    pub fn price_unit(&self) -> i64 {
        match self.contract {
            Contract::Linear { unit } => unit.saturating_mul(self.marks_per_price), // checked on reading
            _ => 1,
        }
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

    /// The cost basis of `lots` at an average entry price, in quanta: the value of a fill there. Contracts that
    /// divide by the price, or round by contract, have a rounding of their own and do not look at `rounding`.
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
        let too_long = || Error::new(ErrorKind::Overflow, field, entry, "cost must fit 38 digits");
        let size = i128::from(lots.get());
        let face = Decimal::of(size, self.lot).and_then(|q| q.checked_mul(self.multiplier));
        let quanta = match self.contract {
            Contract::Linear { .. } => {
                let cost = face.and_then(|f| f.checked_mul(entry)).ok_or_else(too_long)?;
                cost.round(self.quantum, rounding, field)?
            }
            Contract::Inverse { .. } => {
                let paid = entry.checked_mul(self.quantum).and_then(|e| face?.ratio(e));
                let (num, den) = paid.ok_or_else(too_long)?;
                num.checked_neg().and_then(|n| div_ceil(n, den)).ok_or_else(too_long)?
            }
            Contract::PerContract { inverse, contracts, .. } => {
                let one = if inverse {
                    entry.checked_mul(self.quantum).and_then(|e| self.multiplier.ratio(e))
                } else {
                    entry.checked_mul(self.multiplier).and_then(|v| v.ratio(self.quantum))
                };
                let one = one.and_then(|(num, den)| div_round(num, den, Rounding::HalfEven));
                let signed = if inverse { -size } else { size };
                let cost =
                    one.and_then(|v| v.checked_mul(i128::from(contracts))?.checked_mul(signed));
                cost.ok_or_else(too_long)?
            }
        };
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

fn in_range(value: i128, most: i64, field: &str) -> Result<i64> {
    match i64::try_from(value) {
        Ok(n) if (1..=most).contains(&n) => Ok(n),
        _ => {
            let limit = format!("must be 1 to {most}");
            Err(Error::new(ErrorKind::OutOfRange, field, value, limit))
        }
    }
}

/// What the arithmetic of an instrument follows from.
struct Grid {
    mark_tick: Decimal,
    lot: Decimal,
    multiplier: Decimal,
    quantum: Decimal,
    marks_per_price: i64,
}

impl Grid {
    fn contract(&self, kind: ContractKind, by: ValueRounding, node: &Node<'_>) -> Result<Contract> {
        let inverse = kind == ContractKind::Inverse;
        if by == ValueRounding::PerContract {
            let field = format!("{}.lot", node.path());
            let contracts = in_range(self.lot.whole(Decimal::ONE, &field)?, UNIT_MAX, &field)?;
            let (num, den) = self.per_contract(inverse, node)?;
            return Ok(Contract::PerContract { inverse, contracts, num, den });
        }
        let product = |a: Decimal, b: Decimal, what: &str| {
            let found = a.checked_mul(b);
            found.ok_or_else(|| {
                Error::overflow("contract value", format!("{}: {what}", node.path()))
            })
        };
        let face = product(self.lot, self.multiplier, "lot × multiplier")?;
        if inverse {
            let field = format!("{}.(lot × multiplier / (mark_tick × quantum))", node.path());
            let step = product(self.mark_tick, self.quantum, "mark_tick × quantum")?;
            let unit = in_range(face.whole(step, &field)?, VALUE_TERM_MAX, &field)?;
            return Ok(Contract::Inverse { unit });
        }
        let field = format!("{}.(mark_tick × lot × multiplier / quantum)", node.path());
        let value = product(self.mark_tick, face, "mark_tick × lot × multiplier")?;
        let unit = in_range(value.whole(self.quantum, &field)?, UNIT_MAX, &field)?;
        in_range(i128::from(unit) * i128::from(self.marks_per_price), UNIT_MAX, &field)?;
        Ok(Contract::Linear { unit })
    }

    /// Quanta per contract and tick (inverse: quanta × ticks), as a reduced fraction.
    fn per_contract(&self, inverse: bool, node: &Node<'_>) -> Result<(i64, i64)> {
        let terms = if inverse {
            let step = self.mark_tick.checked_mul(self.quantum);
            step.and_then(|step| self.multiplier.ratio(step))
        } else {
            let value = self.mark_tick.checked_mul(self.multiplier);
            value.and_then(|value| value.ratio(self.quantum))
        };
        let field = format!("{}.multiplier", node.path());
        let (num, den) = terms.ok_or_else(|| Error::overflow("contract value", &field))?;
        let divisor = gcd(num, den).max(1);
        Ok((
            in_range(num / divisor, VALUE_TERM_MAX, &field)?,
            in_range(den / divisor, VALUE_TERM_MAX, &field)?,
        ))
    }
}

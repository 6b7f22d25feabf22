//! One pool at the prices, by the general path: every rule, on 128-bit integers.

use crate::data::{AssetId, InstrumentId};
use crate::numbers::limits::QUANTA_MAX;
use crate::numbers::rounding::mul_div_floor;
use crate::numbers::{Error, ErrorKind, MarkTicks, PriceTicks, Result};
use crate::pricing::Prices;

use super::collateral::Valued;
use super::holdings::Holdings;
use super::leg::Leg;
use super::portfolio::{Balance, PoolId, Portfolio};
use super::requirement::LegMargin;

const PPM: i128 = 1_000_000;

/// The verdict on a pool, ordered by severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Equity covers the initial requirement.
    Safe,
    /// Equity covers maintenance, not the initial requirement: nothing new may be opened.
    BelowInitial,
    /// The liquidation check fires.
    Liquidatable,
    /// Equity is below zero.
    Bankrupt,
}

impl Status {
    /// Every status, in order of its code.
    pub const ALL: [Status; 4] =
        [Status::Safe, Status::BelowInitial, Status::Liquidatable, Status::Bankrupt];

    /// Its code in columns.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Status::Safe => 0,
            Status::BelowInitial => 1,
            Status::Liquidatable => 2,
            Status::Bankrupt => 3,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Status::Safe => "safe",
            Status::BelowInitial => "below_initial",
            Status::Liquidatable => "liquidatable",
            Status::Bankrupt => "bankrupt",
        }
    }
}

/// `liquidatable` of `docs/spec/margin.md`.
#[must_use]
pub fn is_liquidatable(equity: i128, maintenance: i128, strict: bool) -> bool {
    maintenance > 0 && (equity < maintenance || (!strict && equity == maintenance))
}

pub(super) fn status(equity: i128, initial: i128, maintenance: i128, strict: bool) -> Status {
    if equity < 0 {
        Status::Bankrupt
    } else if is_liquidatable(equity, maintenance, strict) {
        Status::Liquidatable
    } else if equity < initial {
        Status::BelowInitial
    } else {
        Status::Safe
    }
}

/// One pool's sums, in quanta of the asset it is checked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolMargin {
    /// What the pool is worth.
    pub equity: i128,
    /// What opening requires.
    pub initial: i128,
    /// What staying requires.
    pub maintenance: i128,
    /// Σ |value| of its legs.
    pub notional: i128,
    /// The verdict.
    pub status: Status,
    /// Whether the liquidation check fires.
    pub liquidatable: bool,
}

impl PoolMargin {
    /// `ceil(maintenance × 10^6 / equity)`, saturated; see `docs/spec/margin.md`.
    #[must_use]
    pub fn ratio_ppm(&self) -> i64 {
        if self.maintenance == 0 {
            return 0;
        }
        if self.equity <= 0 {
            return i64::MAX;
        }
        let ceil = mul_div_floor(-self.maintenance, PPM, self.equity).map(|q| -q);
        saturated(ceil, self.maintenance)
    }

    /// `floor((equity − maintenance) × 10^6 / notional)`, saturated; see `docs/spec/margin.md`.
    #[must_use]
    pub fn distance_ppm(&self) -> i64 {
        if self.notional == 0 {
            return i64::MAX;
        }
        let buffer = self.equity - self.maintenance;
        saturated(mul_div_floor(buffer, PPM, self.notional), buffer)
    }
}

/// A quotient in parts per million, saturated to 64 bits; `None` is past 128 bits, on the side of `sign`.
fn saturated(quotient: Option<i128>, sign: i128) -> i64 {
    let end = if sign < 0 { i64::MIN } else { i64::MAX };
    quotient.map_or(end, |q| i64::try_from(q).unwrap_or(end))
}

/// One asset of a pool: what it holds and owes there, and what that counts in the asset the pool is checked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssetMargin {
    /// The balance and the interest owed.
    pub balance: Balance,
    /// Σ pnl of the legs that settle in it.
    pub pnl: i128,
    /// Σ accrued of them.
    pub accrued: i128,
    /// What is held in this asset, all counted.
    pub equity: i128,
    /// Σ initial requirements of those legs.
    pub initial: i128,
    /// Σ maintenance requirements of those legs.
    pub maintenance: i128,
    /// Σ |value| of those legs.
    pub notional: i128,
    /// The asset's price in ticks, where it has to be valued.
    pub price: Option<i64>,
    /// What the equity counts.
    pub value: i128,
    /// The requirements in the pool's asset: initial.
    pub initial_value: i128,
    /// The requirements in the pool's asset: maintenance.
    pub maintenance_value: i128,
    /// Σ |value| in the pool's asset.
    pub notional_value: i128,
}

impl AssetMargin {
    /// The sums in the asset itself, not valued yet.
    fn new(balance: Balance, equity: i128) -> Self {
        Self {
            balance,
            pnl: 0,
            accrued: 0,
            equity,
            initial: 0,
            maintenance: 0,
            notional: 0,
            price: None,
            value: 0,
            initial_value: 0,
            maintenance_value: 0,
            notional_value: 0,
        }
    }

    fn add(&mut self, leg: &Leg, m: &LegMargin) -> Option<()> {
        let plus = |total: i128, part: i128| {
            let sum = total.checked_add(part)?;
            (sum.unsigned_abs() <= QUANTA_MAX.unsigned_abs()).then_some(sum)
        };
        self.pnl = plus(self.pnl, m.pnl)?;
        self.accrued = plus(self.accrued, leg.accrued)?;
        self.equity = plus(self.equity, m.pnl.checked_sub(leg.accrued)?)?;
        self.initial = plus(self.initial, m.initial)?;
        self.maintenance = plus(self.maintenance, m.maintenance)?;
        self.notional = plus(self.notional, m.notional)?;
        Some(())
    }
}

pub(super) fn mark_of<H: Holdings>(
    of: &H,
    pool: PoolId,
    instrument: InstrumentId,
    prices: &Prices,
) -> Result<i64> {
    prices.mark(instrument).map(MarkTicks::get).ok_or_else(|| {
        let symbol = of.venue().instrument(instrument).map_or("?", |i| i.symbol());
        let limit = format!("pool {} holds it: every held instrument needs one", of.label(pool));
        Error::new(ErrorKind::MissingPrice, "mark", symbol, limit)
    })
}

pub(super) fn check_venue<H: Holdings>(of: &H, prices: &Prices) -> Result<()> {
    if prices.venue().digest() == of.venue().digest() {
        return Ok(());
    }
    let limit = format!("the portfolio is of venue {}, with another card", of.venue().name());
    Err(Error::new(ErrorKind::UnknownVenue, "prices", prices.venue().name(), limit))
}

/// An asset as a pool values it at the prices, and its price where it needs one.
pub(super) fn valued<'a, H: Holdings>(
    holdings: &'a H,
    pool: PoolId,
    asset: AssetId,
    prices: &Prices,
) -> Result<(Valued<'a>, Option<i64>)> {
    let (of, head) = (holdings.venue().asset(asset)?, holdings.head(pool)?);
    if !head.multi || asset == head.asset {
        return Ok((Valued::as_it_is(of), None));
    }
    let price = prices.asset(asset).map(PriceTicks::get).ok_or_else(|| {
        let limit = format!("pool {} holds it: every held asset needs one", holdings.label(pool));
        Error::new(ErrorKind::MissingPrice, "asset", of.name(), limit)
    })?;
    Ok((Valued::at(of, price)?, Some(price)))
}

/// What the legs and the equity in an asset count, once all its legs are added.
fn count<H: Holdings>(
    of: &H,
    pool: PoolId,
    prices: &Prices,
    mut own: AssetMargin,
    has_legs: bool,
) -> Result<AssetMargin> {
    if own.equity != 0 || has_legs {
        let (valued, price) = valued(of, pool, own.balance.asset, prices)?;
        own.price = price;
        own.value = valued.value(own.equity)?;
        own.initial_value = valued.requirement(own.initial)?;
        own.maintenance_value = valued.requirement(own.maintenance)?;
        own.notional_value = valued.requirement(own.notional)?;
    }
    Ok(own)
}

/// Calls `found` with each asset of a pool at the prices, in order of the assets' names.
pub(super) fn each_asset<H: Holdings>(
    of: &H,
    pool: PoolId,
    prices: &Prices,
    mut found: impl FnMut(AssetMargin) -> Result<()>,
) -> Result<()> {
    let overflow = |what| Error::overflow(what, of.label(pool));
    of.each_row(pool, |balance, legs| {
        let start = balance.amount.checked_sub(balance.interest);
        let mut own = AssetMargin::new(*balance, start.ok_or_else(|| overflow("equity"))?);
        for leg in legs {
            let m = of.leg_margin(pool, leg, prices)?;
            own.add(leg, &m).ok_or_else(|| overflow("equity"))?;
        }
        found(count(of, pool, prices, own, !legs.is_empty())?)
    })
}

/// A pool at the prices as it would be with one leg another, and more in the asset which that settles in.
pub(super) fn assess_with<H: Holdings>(
    of: &H,
    pool: PoolId,
    prices: &Prices,
    leg: &Leg,
    more: i128,
) -> Result<PoolMargin> {
    let overflow = || Error::overflow("equity", of.label(pool));
    let settlement = of.venue().instrument(leg.instrument)?.settlement();
    let mut totals = Totals::default();
    let mut add = |asset: &AssetMargin| {
        totals.add(asset).map_err(|what| Error::overflow(what, of.label(pool)))
    };
    let mut seen = false;
    of.each_row(pool, |balance, legs| {
        let here = balance.asset == settlement;
        seen |= here;
        let start = balance.amount.checked_sub(balance.interest);
        let start = start.and_then(|s| s.checked_add(if here { more } else { 0 }));
        let mut own = AssetMargin::new(*balance, start.ok_or_else(overflow)?);
        let is_it = |other: &&Leg| (other.instrument, other.side) == (leg.instrument, leg.side);
        let others = legs.iter().filter(|other| !is_it(other));
        for leg in others.chain(here.then_some(leg)) {
            let m = of.leg_margin(pool, leg, prices)?;
            own.add(leg, &m).ok_or_else(overflow)?;
        }
        add(&count(of, pool, prices, own, here || !legs.is_empty())?)
    })?;
    if !seen {
        let balance = Balance { asset: settlement, amount: more, interest: 0 };
        let mut own = AssetMargin::new(balance, more);
        let m = of.leg_margin(pool, leg, prices)?;
        own.add(leg, &m).ok_or_else(overflow)?;
        add(&count(of, pool, prices, own, true)?)?;
    }
    Ok(totals.margin(of.venue().rules().strict))
}

/// The sums of a pool's assets.
#[derive(Debug, Default)]
struct Totals {
    equity: i128,
    initial: i128,
    maintenance: i128,
    notional: i128,
}

impl Totals {
    fn add(&mut self, asset: &AssetMargin) -> std::result::Result<(), &'static str> {
        for (sum, part, what) in [
            (&mut self.equity, asset.value, "equity"),
            (&mut self.initial, asset.initial_value, "initial"),
            (&mut self.maintenance, asset.maintenance_value, "maintenance"),
            (&mut self.notional, asset.notional_value, "notional"),
        ] {
            let found = sum.checked_add(part);
            *sum = found.filter(|s| s.unsigned_abs() <= QUANTA_MAX.unsigned_abs()).ok_or(what)?;
        }
        Ok(())
    }

    /// The sums and the verdict that they give.
    fn margin(&self, strict: bool) -> PoolMargin {
        let Self { equity, initial, maintenance, notional } = *self;
        PoolMargin {
            equity,
            initial,
            maintenance,
            notional,
            status: status(equity, initial, maintenance, strict),
            liquidatable: is_liquidatable(equity, maintenance, strict),
        }
    }
}

/// A pool at prices that are known to be of its venue.
pub(super) fn assess_here<H: Holdings>(
    of: &H,
    pool: PoolId,
    prices: &Prices,
) -> Result<PoolMargin> {
    let mut totals = Totals::default();
    each_asset(of, pool, prices, |asset| {
        totals.add(&asset).map_err(|what| Error::overflow(what, of.label(pool)))
    })?;
    Ok(totals.margin(of.venue().rules().strict))
}

/// The sums and the verdict that a pool's assets give.
pub(super) fn total<H: Holdings>(
    of: &H,
    pool: PoolId,
    assets: &[AssetMargin],
) -> Result<PoolMargin> {
    let mut totals = Totals::default();
    for asset in assets {
        totals.add(asset).map_err(|what| Error::overflow(what, of.label(pool)))?;
    }
    Ok(totals.margin(of.venue().rules().strict))
}

impl Portfolio {
    /// Fails closed where a held instrument has no mark.
    pub(super) fn check_marks(&self, prices: &Prices) -> Result<()> {
        for (i, _) in self.venue().instruments().iter().enumerate() {
            let id = InstrumentId(u32::try_from(i).unwrap_or(u32::MAX));
            if prices.mark(id).is_none()
                && let Some(pool) = self.first_holder(id)
            {
                mark_of(self, pool, id, prices)?;
            }
        }
        Ok(())
    }
}

//! A funding settlement: every holder of an instrument pays, or is paid. `docs/spec/watch.md`, "Funding".

use crate::data::{AssetId, Instrument, InstrumentId};
use crate::numbers::limits::QUANTA_MAX;
use crate::numbers::rounding::mul_div_floor;
use crate::numbers::{Error, MarkTicks, Rate, Result};

use super::holdings::Holdings;
use super::portfolio::{PoolId, Portfolio};
use super::store::{Context, Holding, POOLS_PER_BLOCK};

/// What a settlement pays: this rate of the value of a position at this price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Funding {
    /// The price that positions are valued at.
    pub price: MarkTicks,
    /// The rate of this one interval, without its sign.
    pub rate: Rate,
    /// Longs pay shorts; else shorts pay longs.
    pub longs_pay: bool,
}

/// What one pool pays: negative where it is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    /// The pool.
    pub pool: PoolId,
    /// In quanta of the asset that the instrument settles in.
    pub quanta: i128,
}

impl Funding {
    /// What a leg of so many lots pays: `ceil(lots × value of a lot × rate)`, one rounding, against the account.
    ///
    /// # Errors
    /// `overflow`.
    pub fn payment(&self, instrument: &Instrument, lots: i64) -> Result<i128> {
        let found = || {
            let worth = instrument.contract().lot_value(self.price.get())?;
            let each = worth.whole.checked_mul(worth.den)?.checked_add(worth.num)?;
            let lots = if self.longs_pay { i128::from(lots) } else { -i128::from(lots) };
            let received = each.checked_mul(lots.checked_neg()?)?;
            let den = worth.den.checked_mul(i128::from(self.rate.den()))?;
            let paid = mul_div_floor(received, i128::from(self.rate.num()), den)?.checked_neg()?;
            Some(paid).filter(|paid| paid.unsigned_abs() <= QUANTA_MAX.unsigned_abs())
        };
        found().ok_or_else(|| overflow(instrument.symbol()))
    }
}

pub(super) fn payments<H: Holdings>(
    of: &H,
    id: InstrumentId,
    funding: Funding,
) -> Result<Vec<Payment>> {
    let instrument = of.venue().instrument(id)?;
    let mut payments = Vec::new();
    for pool in (0..of.len()).map(PoolId) {
        let mut paid = 0_i128;
        of.each_row(pool, |_, legs| {
            for leg in legs.iter().filter(|leg| leg.instrument == id) {
                let own = funding.payment(instrument, leg.lots)?;
                paid = paid.checked_add(own).ok_or_else(|| overflow(instrument.symbol()))?;
            }
            Ok(())
        })?;
        if paid != 0 {
            payments.push(Payment { pool, quanta: paid });
        }
    }
    Ok(payments)
}

impl Portfolio {
    /// Takes payments, ascending by pool, out of the balances in an asset. Nothing is changed after an error.
    pub(super) fn take(&mut self, asset: AssetId, payments: &[Payment]) -> Result<()> {
        let context = Context { venue: &self.venue, rates: &self.rates, lanes: &self.lanes };
        let lost = || Error::invariant("pool place");
        let left = |old: &Holding, paid: i128| {
            let name = || self.venue.asset(asset).map_or("?", |asset| asset.name());
            let balance = old.balance.checked_sub(paid).ok_or_else(|| overflow(name()));
            Ok(Holding { balance: balance?, ..*old })
        };
        let mut changed = Vec::new();
        for own in
            payments.chunk_by(|a, b| a.pool.0 / POOLS_PER_BLOCK == b.pool.0 / POOLS_PER_BLOCK)
        {
            let place = own.first().map_or(0, |payment| payment.pool.0 / POOLS_PER_BLOCK);
            let mut block = self.blocks.get(place).ok_or_else(lost)?.clone();
            let mut rest = Vec::new();
            for payment in own {
                let number = payment.pool.0 % POOLS_PER_BLOCK;
                let is_own = |row: &usize| block.holding(*row).is_ok_and(|h| h.asset == asset);
                let row = block.rows_of(number).find(is_own).ok_or_else(lost)?;
                let new = left(&block.holding(row)?, payment.quanta)?;
                if !block.set_holding(row, &new)? {
                    rest.push((number, payment.quanta));
                }
            }
            if !rest.is_empty() {
                let paid = |number| {
                    let found = rest.binary_search_by_key(&number, |(number, _)| *number);
                    found.ok().and_then(|at| rest.get(at)).map(|(_, paid)| *paid)
                };
                block = block.changed(
                    [&context; 2],
                    |number| paid(number).is_some(),
                    |number, draft, mut holdings, mut legs| {
                        for holding in holdings.iter_mut().filter(|h| h.asset == asset) {
                            *holding = left(holding, paid(number).unwrap_or(0))?;
                        }
                        legs.sort_unstable_by_key(|leg| (leg.instrument, leg.side));
                        let pool = PoolId(place * POOLS_PER_BLOCK + number);
                        (draft.legs, draft.given) = (legs, holdings);
                        let multi = self.head(pool)?.multi;
                        draft.close(&self.venue, multi, || self.label(pool)).map(drop)
                    },
                )?;
            }
            changed.push((place, block));
        }
        for (place, block) in changed {
            *self.blocks.get_mut(place).ok_or_else(lost)? = block;
        }
        Ok(())
    }
}

fn overflow(what: &str) -> Error {
    Error::overflow("funding", what)
}

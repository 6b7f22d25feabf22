//! A funding settlement: every holder of an instrument pays, or is paid. `docs/spec/watch.md`, "Funding".

use crate::data::{AssetId, Instrument, InstrumentId};
use crate::numbers::limits::QUANTA_MAX;
use crate::numbers::rounding::mul_div_floor;
use crate::numbers::{Error, MarkTicks, Rate, Result};

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

impl Portfolio {
    /// Moves a funding settlement of an instrument out of the balances of its holders; who paid what, by pool. Both legs of a
    /// hedge pay. The sum is what roundings leave to the venue, where open interest is level.
    ///
    /// # Errors
    /// `overflow`. Nothing is changed then.
    pub fn settle_funding(&mut self, id: InstrumentId, funding: Funding) -> Result<Vec<Payment>> {
        let instrument = self.venue.instrument(id)?;
        let asset = instrument.settlement();
        let mut payments = Vec::new();
        for pool in self.pools() {
            let (block, number) = self.block(pool)?;
            let mut paid = 0_i128;
            for row in block.rows_of(number) {
                for leg in block.row_legs(row, &self.context())? {
                    if leg.instrument == id {
                        let own = funding.payment(instrument, leg.lots)?;
                        paid =
                            paid.checked_add(own).ok_or_else(|| overflow(instrument.symbol()))?;
                    }
                }
            }
            if paid != 0 {
                payments.push(Payment { pool, quanta: paid });
            }
        }
        self.pay(asset, &payments)?;
        Ok(payments)
    }

    /// Takes payments, ascending by pool, out of the balances in an asset. Nothing is changed after an error.
    pub(super) fn pay(&mut self, asset: AssetId, payments: &[Payment]) -> Result<()> {
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

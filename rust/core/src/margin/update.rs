//! Changes to a packed portfolio, in place: one pool at a time. A change that leaves the shape of the pool (which legs, which
//! assets) as it is writes a few numbers; any other packs the pool's block anew, two thousand pools of perhaps millions.

use std::sync::Arc;

use crate::data::InstrumentId;
use crate::numbers::limits::LEGS_MAX;
use crate::numbers::{Error, ErrorKind, Lots, Quanta, Result};

use super::builder::check_signs;
use super::leg::{Leg, LegSide, PoolKind};
use super::portfolio::{Balance, PoolId, Portfolio};
use super::store::{Block, Context, Holding, POOLS_PER_BLOCK};

/// What is held on one leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// In lots, signed.
    pub lots: Lots,
    /// The cost basis in quanta, signed like the lots (against them for an inverse contract).
    pub cost: Quanta,
    /// Funding and fees owed, in quanta.
    pub accrued: Quanta,
}

impl Position {
    /// What is held on a leg.
    ///
    /// # Errors
    /// `invariant_broken` only.
    pub fn of(leg: &Leg) -> Result<Self> {
        Ok(Self {
            lots: Lots::new(i128::from(leg.lots), "lots")?,
            cost: Quanta::new(leg.cost, "cost")?,
            accrued: Quanta::new(leg.accrued, "accrued")?,
        })
    }
}

impl Portfolio {
    /// Sets the position on a leg of a pool; one of zero, with nothing accrued and no orders, takes the leg away. Its open
    /// orders stay. A new leg has the leverage chosen for it when the portfolio was built.
    ///
    /// # Errors
    /// `bad_leg` for signs or sides that do not fit, or a second instrument in an isolated pool; `bad_collateral` for an
    /// instrument that settles in another asset than the pool's one; `overflow`; `limit_exceeded`. Nothing is changed then.
    pub fn set_position(
        &mut self,
        pool: PoolId,
        instrument: InstrumentId,
        side: LegSide,
        position: Position,
    ) -> Result<()> {
        let Position { lots, cost, accrued } = position;
        check_signs(self.venue(), instrument, side, lots, cost)?;
        let settlement = self.venue().instrument(instrument)?.settlement();
        let legs = self.legs(pool)?;
        let known = legs.iter().find(|l| (l.instrument, l.side) == (instrument, side)).copied();
        let mut leg = known.unwrap_or_else(|| Leg::empty(instrument, side));
        let head = self.head(pool)?;
        let own = self.chosen_for.get(&(pool.0, instrument)).copied();
        let of_pool =
            if head.chosen == 0 { None } else { self.rates.get(usize::from(head.chosen)) };
        leg.chosen = own.or(of_pool.copied());
        (leg.lots, leg.cost, leg.accrued) = (lots.get(), cost.get(), accrued.get());
        let (number, block) = self.own_block(pool)?;
        let row = block
            .rows_of(number)
            .find(|row| block.holding(*row).is_ok_and(|holding| holding.asset == settlement));
        let context = Context { venue: &self.venue, rates: &self.rates, lanes: &self.lanes };
        let place = pool.0 / POOLS_PER_BLOCK;
        let block = self.blocks.get_mut(place).ok_or_else(|| Error::invariant("pool place"))?;
        if let Some(row) = row
            && block.set_leg(row, &leg, &context)?
        {
            return Ok(());
        }
        self.change(pool, |_, legs| {
            legs.retain(|l| (l.instrument, l.side) != (instrument, side));
            if !leg.is_empty() {
                legs.push(leg);
            }
            Ok(())
        })
    }

    /// Sets the balance of a pool in an asset, and the interest owed on it.
    ///
    /// # Errors
    /// `out_of_range` for negative interest; `bad_collateral` for another asset than a pool's one; `overflow`. Nothing is
    /// changed then.
    pub fn set_balance(&mut self, pool: PoolId, balance: Balance) -> Result<()> {
        if balance.interest < 0 {
            let limit = "must not be negative: it is what the account owes";
            return Err(Error::new(ErrorKind::OutOfRange, "interest", balance.interest, limit));
        }
        let Balance { asset, amount, interest } = balance;
        self.venue().asset(asset)?;
        let new = Holding { asset, balance: amount, interest };
        let (number, block) = self.own_block(pool)?;
        let mut rows = block.rows_of(number);
        let row = rows.find(|row| block.holding(*row).is_ok_and(|holding| holding.asset == asset));
        let place = pool.0 / POOLS_PER_BLOCK;
        let block = self.blocks.get_mut(place).ok_or_else(|| Error::invariant("pool place"))?;
        if let Some(row) = row
            && block.set_holding(row, &new)?
        {
            return Ok(());
        }
        self.change(pool, |holdings, legs| {
            // The one asset of a pool without legs is that of its balance.
            let empty = legs.is_empty();
            holdings.retain(|h| h.asset != asset && !(empty && h.balance == 0 && h.interest == 0));
            holdings.push(new);
            Ok(())
        })
    }

    fn own_block(&self, pool: PoolId) -> Result<(usize, &Block)> {
        self.block(pool).map(|(block, number)| (number, block))
    }

    /// Changes what a pool holds, and packs its block anew.
    fn change(
        &mut self,
        pool: PoolId,
        edit: impl FnOnce(&mut Vec<Holding>, &mut Vec<Leg>) -> Result<()>,
    ) -> Result<()> {
        let head = self.head(pool)?;
        let venue = Arc::clone(&self.venue);
        let context = Context { venue: &venue, rates: &self.rates, lanes: &self.lanes };
        let (block, number) = self.block(pool)?;
        let label = self.label(pool);
        let mut asset = head.asset;
        let packed = block.changed(&context, number, |draft, mut holdings, mut legs| {
            edit(&mut holdings, &mut legs)?;
            check_shape(&legs, head.kind, &label, &venue)?;
            legs.sort_unstable_by_key(|leg| (leg.instrument, leg.side));
            draft.legs = legs;
            draft.given = holdings;
            asset = draft.close(&venue, head.multi, || label.clone())?;
            Ok(())
        })?;
        let place = pool.0 / POOLS_PER_BLOCK;
        let slot = self.blocks.get_mut(place).zip(self.heads.get_mut(pool.0));
        let (block, head) = slot.ok_or_else(|| Error::invariant("pool place"))?;
        (*block, head.asset) = (packed, asset);
        Ok(())
    }
}

/// Refuses legs that a pool cannot hold together.
fn check_shape(
    legs: &[Leg],
    kind: PoolKind,
    label: &str,
    venue: &crate::data::Venue,
) -> Result<()> {
    if legs.len() > LEGS_MAX {
        let limit = format!("at most {LEGS_MAX} legs in one pool");
        return Err(Error::new(ErrorKind::LimitExceeded, "legs", label, limit));
    }
    for leg in legs {
        for other in legs.iter().filter(|o| o.side != leg.side || o.instrument != leg.instrument) {
            if kind == PoolKind::Isolated && other.instrument != leg.instrument {
                let limit = "an isolated pool holds one instrument";
                return Err(Error::new(ErrorKind::BadLeg, "instrument", label, limit));
            }
            let mixed = other.instrument == leg.instrument
                && (other.side == LegSide::Net || leg.side == LegSide::Net);
            if mixed {
                let symbol = venue.instrument(leg.instrument)?.symbol();
                let limit = "a pool holds either a net leg or long and short legs of an instrument";
                let value = format!("{label} {symbol} {}", leg.side.name());
                return Err(Error::new(ErrorKind::BadLeg, "leg", value, limit));
            }
        }
    }
    Ok(())
}

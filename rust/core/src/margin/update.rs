//! Changes to a packed portfolio, in place: one pool at a time. A change that leaves the shape of the pool (which legs, which
//! assets) as it is writes a few numbers; any other packs the pool's block anew, two thousand pools of perhaps millions.

use std::sync::Arc;

use crate::data::{Asset, Instrument, InstrumentId, Tiers, Venue};
use crate::numbers::limits::LEGS_MAX;
use crate::numbers::{Error, ErrorKind, Lots, Quanta, Rate, Result};

use super::builder::{check_signs, tidy};
use super::check::Prepared;
use super::holdings::{Head, Holdings};
use super::lanes::Lanes;
use super::leg::{Leg, LegSide, PoolKind};
use super::portfolio::{Balance, PoolHead, PoolId, Portfolio};
use super::store::{Block, Context, Holding, POOLS_PER_BLOCK, rank};
use super::wide::Wide;

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
        leg.chosen = self.chosen(pool, instrument)?;
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

    /// Sets the open orders of a leg of a pool, in lots: all its bids, and all its asks.
    ///
    /// # Errors
    /// `out_of_range` below 0; `bad_leg`, `bad_collateral`, `overflow` and `limit_exceeded` as for a position. Nothing is
    /// changed then.
    pub fn set_orders(
        &mut self,
        pool: PoolId,
        instrument: InstrumentId,
        side: LegSide,
        [bids, asks]: [Lots; 2],
    ) -> Result<()> {
        self.venue().instrument(instrument)?;
        for (field, lots) in [("bids", bids), ("asks", asks)] {
            if lots.get() < 0 {
                let limit = "must not be negative: the side says which way";
                return Err(Error::new(ErrorKind::OutOfRange, field, lots.get(), limit));
            }
        }
        let chosen = self.chosen(pool, instrument)?;
        self.change(pool, |_, legs| {
            let known = legs.iter_mut().find(|l| (l.instrument, l.side) == (instrument, side));
            if let Some(leg) = known {
                (leg.bids, leg.asks) = (bids.get(), asks.get());
            } else {
                let empty = Leg::empty(instrument, side);
                legs.push(Leg { bids: bids.get(), asks: asks.get(), chosen, ..empty });
            }
            legs.retain(|leg| !leg.is_empty());
            Ok(())
        })
    }

    /// Chooses a leverage for a pool, or for one instrument of it; none takes the choice back.
    ///
    /// A leverage that nobody has chosen before packs the whole portfolio anew.
    ///
    /// # Errors
    /// `out_of_range` below 1; `limit_exceeded` past 65,535 different rates. Nothing is changed then.
    pub fn set_leverage(
        &mut self,
        pool: PoolId,
        instrument: Option<InstrumentId>,
        leverage: Option<Rate>,
    ) -> Result<()> {
        let head = self.pool_head(pool)?;
        if let Some(id) = instrument {
            self.venue().instrument(id)?;
        }
        let inverse = |leverage: Rate| {
            if leverage < Rate::ONE {
                let limit = "must be at least 1";
                return Err(Error::new(ErrorKind::OutOfRange, "leverage", leverage, limit));
            }
            leverage.inverse("leverage")
        };
        let rate = leverage.map(inverse).transpose()?;
        if let Some(rate) = rate
            && self.rates.binary_search(&rate).is_err()
        {
            let all = self.rates.iter().copied().chain([rate]).collect();
            *self = self.repacked(Arc::clone(&self.venue), all)?;
        }
        let rank = rank(&self.rates, rate)?;
        let before = instrument.map(|id| match rate {
            Some(rate) => self.chosen_for.insert((pool.0, id), rate),
            None => self.chosen_for.remove(&(pool.0, id)),
        });
        if instrument.is_none() {
            self.heads.get_mut(pool.0).ok_or_else(|| Error::invariant("pool place"))?.chosen = rank;
        }
        let legs = self.legs(pool)?;
        let chosen = |leg: &Leg| Ok((leg.instrument, self.chosen(pool, leg.instrument)?));
        let chosen: Vec<_> = legs.iter().map(chosen).collect::<Result<_>>()?;
        let changed = self.change(pool, |_, legs| {
            for leg in legs {
                let own = chosen.iter().find(|(id, _)| *id == leg.instrument);
                leg.chosen = own.and_then(|(_, rate)| *rate);
            }
            Ok(())
        });
        if changed.is_err() {
            if let (Some(id), Some(before)) = (instrument, before) {
                match before {
                    Some(rate) => self.chosen_for.insert((pool.0, id), rate),
                    None => self.chosen_for.remove(&(pool.0, id)),
                };
            }
            if let Some(slot) = self.heads.get_mut(pool.0) {
                slot.chosen = head.chosen;
            }
        }
        changed
    }

    /// The leverage chosen for a pool, or for one instrument of it.
    ///
    /// # Errors
    /// `invariant_broken` for a place of another portfolio.
    pub fn leverage(&self, pool: PoolId, instrument: Option<InstrumentId>) -> Result<Option<Rate>> {
        let rate = match instrument {
            Some(id) => self.chosen_for.get(&(pool.0, id)).copied(),
            None => match usize::from(self.pool_head(pool)?.chosen) {
                0 => None,
                place => self.rates.get(place).copied(),
            },
        };
        rate.map(|rate| rate.inverse("leverage")).transpose()
    }

    /// The leverage in force for an instrument of a pool, as the rate that it gives.
    pub(super) fn chosen(&self, pool: PoolId, instrument: InstrumentId) -> Result<Option<Rate>> {
        let own = self.chosen_for.get(&(pool.0, instrument)).copied();
        let of_pool = usize::from(self.pool_head(pool)?.chosen);
        let of_pool = if of_pool == 0 { None } else { self.rates.get(of_pool).copied() };
        Ok(own.or(of_pool))
    }

    /// The same holdings under another card of the same instruments and assets: other brackets, haircuts, rules or fees.
    ///
    /// # Errors
    /// `bad_card` for a card whose instruments or assets are others; those of packing.
    pub fn with_card(&self, venue: Arc<Venue>) -> Result<Self> {
        same_grids(self.venue(), &venue)?;
        let initial =
            venue.instruments().iter().filter_map(|instrument| match instrument.tiers() {
                Tiers::Brackets { brackets, .. } => Some(brackets.iter().map(|b| b.initial)),
                Tiers::Slope { .. } | Tiers::Root { .. } => None,
            });
        let of_pools = self.heads.iter().filter_map(|h| self.rates.get(usize::from(h.chosen)));
        let chosen = of_pools.chain(self.chosen_for.values()).copied();
        let rates = initial.flatten().chain(chosen).chain([Rate::ZERO]).collect();
        self.repacked(venue, rates)
    }

    /// All of it packed anew, under another card or with other rates to choose from.
    fn repacked(&self, venue: Arc<Venue>, mut rates: Vec<Rate>) -> Result<Self> {
        tidy(&mut rates)?;
        let lanes = Lanes::new(&venue, &rates);
        let to = Context { venue: &venue, rates: &rates, lanes: &lanes };
        let mut heads = self.heads.clone();
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for (block, of_block) in self.blocks.iter().zip(heads.chunks_mut(POOLS_PER_BLOCK)) {
            let first = blocks.len() * POOLS_PER_BLOCK;
            blocks.push(block.changed(
                [&self.context(), &to],
                |_| true,
                |number, draft, holdings, legs| {
                    let lost = || Error::invariant("pool place");
                    let head = of_block.get_mut(number).ok_or_else(lost)?;
                    if head.chosen != 0 {
                        let rate = self.rates.get(usize::from(head.chosen)).copied();
                        head.chosen = rank(&rates, rate)?;
                    }
                    (draft.legs, draft.given) = (legs, holdings);
                    draft.legs.sort_unstable_by_key(|leg| (leg.instrument, leg.side));
                    let label = || self.label(PoolId(first + number));
                    head.head.asset = draft.close(&venue, head.head.multi, label)?;
                    Ok(())
                },
            )?);
        }
        Ok(Self {
            wide: Wide::new(&venue, &rates),
            accounts: self.accounts.clone(),
            pool_names: self.pool_names.clone(),
            keys: self.keys.clone(),
            chosen_for: self.chosen_for.clone(),
            prepared: Prepared::default(),
            heads,
            blocks,
            lanes,
            rates,
            venue,
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
        let head = self.pool_head(pool)?;
        let venue = Arc::clone(&self.venue);
        let context = Context { venue: &venue, rates: &self.rates, lanes: &self.lanes };
        let (block, number) = self.block(pool)?;
        let label = self.label(pool);
        let PoolHead { head: Head { kind, multi, mut asset }, .. } = head;
        let mut edit = Some(edit);
        let packed = block.changed(
            [&context; 2],
            |n| n == number,
            |_, draft, mut holdings, mut legs| {
                let edit = edit.take().ok_or_else(|| Error::invariant("one pool"))?;
                edit(&mut holdings, &mut legs)?;
                check_shape(&legs, kind, &label, &venue)?;
                legs.sort_unstable_by_key(|leg| (leg.instrument, leg.side));
                draft.legs = legs;
                draft.given = holdings;
                asset = draft.close(&venue, multi, || label.clone())?;
                Ok(())
            },
        )?;
        let place = pool.0 / POOLS_PER_BLOCK;
        let slot = self.blocks.get_mut(place).zip(self.heads.get_mut(pool.0));
        let (block, head) = slot.ok_or_else(|| Error::invariant("pool place"))?;
        (*block, head.head.asset) = (packed, asset);
        Ok(())
    }
}

fn other_grids(field: &str, value: &str) -> Error {
    let limit = "must have the instruments and assets of the card in force, with their grids";
    Error::new(ErrorKind::BadCard, field, value, limit)
}

/// Refuses a card under which a lot, a tick or a quantum would be another.
pub(super) fn same_grids(old: &Venue, new: &Venue) -> Result<()> {
    if old.instruments().len() != new.instruments().len() {
        return Err(other_grids("instrument", &new.instruments().len().to_string()));
    }
    same_grids_of(old, new)
}

/// The same of those that the card in force has; the other may list more instruments behind them.
pub(super) fn same_grids_of(old: &Venue, new: &Venue) -> Result<()> {
    let other = |field: &str, value: &str| Err(other_grids(field, value));
    let of = |i: &Instrument| {
        let ticks = (i.price_tick(), i.mark_tick(), i.lot());
        (i.symbol().to_owned(), i.contract(), ticks, i.settlement(), i.quantum())
    };
    if old.instruments().len() > new.instruments().len() {
        return other("instrument", &new.instruments().len().to_string());
    }
    for (a, b) in old.instruments().iter().zip(new.instruments()) {
        if of(a) != of(b) {
            return other("instrument", b.symbol());
        }
    }
    let of = |a: &Asset| {
        let tick = a.worth().map(|worth| worth.price_tick);
        (a.name().to_owned(), a.quantum(), tick)
    };
    if !old.assets().iter().map(of).eq(new.assets().iter().map(of)) {
        return other("asset", new.name());
    }
    if old.rules().valuation != new.rules().valuation {
        return other("rules.valuation", new.name());
    }
    Ok(())
}

/// Refuses legs that a pool cannot hold together.
fn check_shape(legs: &[Leg], kind: PoolKind, label: &str, venue: &Venue) -> Result<()> {
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

//! How pools are held: blocks of neighbours, each with its columns.
//!
//! A *row* is what a pool holds in one asset: a balance, and the legs that settle in it. A pool of one asset has one row,
//! so most portfolios have as many rows as pools.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::data::{AssetId, Instrument, InstrumentId, Tiers, Venue};
use crate::numbers::limits::QUANTA_MAX;
use crate::numbers::{Error, ErrorKind, Rate, Result};

use super::leg::{Leg, LegSide};
use super::requirement::terms;

/// Pools in one block: what a scan works on at a time, and what a change of shape rebuilds.
pub(super) const POOLS_PER_BLOCK: usize = 1_024;

/// What a row has besides its legs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) asset: AssetId,
    pub(super) balance: i128,
    /// Interest owed on it.
    pub(super) interest: i128,
}

/// What a leg has that the packed columns do not hold.
#[derive(Debug, Clone, Copy)]
struct Extra {
    cost: i128,
    accrued: i128,
    bids: i64,
    asks: i64,
}

/// The rows of some pools, laid flat.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// How many rows each pool has.
    pub(super) rows: Vec<u32>,
    /// Each row, and how many legs it has.
    pub(super) holdings: Vec<(Holding, u32)>,
    pub(super) legs: Vec<Leg>,
}

impl Draft {
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.holdings.clear();
        self.legs.clear();
    }

    /// Ends a pool: its legs are those from `first` on, sorted by instrument; `given` are its balances. Splits them into
    /// rows, and says what the pool is checked in.
    pub(super) fn close_pool(
        &mut self,
        venue: &Venue,
        multi: bool,
        first: usize,
        mut given: Vec<Holding>,
        label: impl Fn() -> String,
    ) -> Result<AssetId> {
        let rules = venue.rules();
        let settles = |leg: &Leg| venue.instrument(leg.instrument).map(Instrument::settlement);
        let legs = self.legs.get_mut(first..).ok_or_else(|| Error::invariant("draft"))?;
        given.sort_unstable_by_key(|holding| holding.asset);
        let (asset, assets) = if multi {
            let asset = rules.valuation.ok_or_else(|| Error::invariant("valuation"))?;
            legs.sort_by_key(|leg| settles(leg).ok());
            let mut assets: Vec<AssetId> = legs.iter().map(settles).collect::<Result<_>>()?;
            given.retain(|h| h.balance != 0 || h.interest != 0);
            assets.extend(given.iter().map(|h| h.asset));
            assets.sort_unstable();
            assets.dedup();
            (asset, assets)
        } else {
            let named = given.first().map(|h| h.asset);
            let asset = named.or(legs.first().map(settles).transpose()?);
            let asset = asset.unwrap_or(rules.settlement_id);
            let other = given.iter().map(|h| Ok(h.asset)).chain(legs.iter().map(settles));
            for found in other {
                let found = found?;
                if found != asset {
                    let value = format!("{}: {}", label(), venue.asset(found)?.name());
                    let limit = format!(
                        "a pool of one asset, here {}, holds no other; a pool of several has mode multi",
                        venue.asset(asset)?.name()
                    );
                    return Err(Error::new(ErrorKind::BadCollateral, "asset", value, limit));
                }
            }
            (asset, vec![asset])
        };
        let mut start = first;
        for asset in &assets {
            let rest = self.legs.get(start..).unwrap_or(&[]);
            let count = rest.iter().take_while(|l| settles(l).ok() == Some(*asset)).count();
            let own = rest.get(..count).unwrap_or(&[]);
            let holding = given.iter().find(|h| h.asset == *asset).copied();
            let holding = holding.unwrap_or(Holding { asset: *asset, balance: 0, interest: 0 });
            check_row(venue, &holding, own, &label)?;
            self.holdings.push((holding, place(count)?));
            start += count;
        }
        self.rows.push(place(assets.len())?);
        Ok(asset)
    }
}

/// Refuses a row past the bounds of floor 0, and a size at which a growing rate would pass 1.
fn check_row(
    venue: &Venue,
    holding: &Holding,
    legs: &[Leg],
    label: &impl Fn() -> String,
) -> Result<()> {
    let owed = legs.iter().try_fold(holding.interest, |sum, leg| sum.checked_add(leg.accrued));
    let cash = owed.and_then(|owed| holding.balance.checked_sub(owed));
    if !cash.is_some_and(|c| c.unsigned_abs() <= QUANTA_MAX.unsigned_abs()) {
        return Err(Error::overflow("collateral − accrued", label()));
    }
    for leg in legs {
        let instrument = venue.instrument(leg.instrument)?;
        if matches!(instrument.tiers(), Tiers::Slope { .. }) {
            terms(instrument, 0, leg.exposure())?;
        }
    }
    Ok(())
}

/// A leg as the scan reads it.
#[derive(Debug, Clone, Copy)]
pub(super) struct HotLeg {
    pub(super) lots: i64,
    pub(super) instrument: u16,
    /// Place of the chosen initial rate in the portfolio's rates; 0 is none.
    pub(super) chosen: u16,
}

/// Some neighbouring pools.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    pools: usize,
    /// Where each pool's rows start, and one more; empty where each pool has one row.
    rows: Vec<u32>,
    assets: Vec<AssetId>,
    balances: Vec<i64>,
    /// Rows with a balance past 64 bits, or with interest.
    more: BTreeMap<u32, Holding>,
    /// Where each row's legs start, and one more.
    legs: Vec<u32>,
    pub(super) hot: Vec<HotLeg>,
    costs: Vec<i64>,
    sides: Vec<LegSide>,
    extras: BTreeMap<u32, Extra>,
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

fn place(index: usize) -> Result<u32> {
    u32::try_from(index).map_err(|_| Error::invariant("block place"))
}

impl Block {
    /// The pools of a draft, packed.
    pub(super) fn pack(draft: &Draft, rates: &[Rate], _venue: &Venue) -> Result<Self> {
        let rank = |rate: Option<Rate>| -> Result<u16> {
            let place = rate.map_or(Ok(0), |r| rates.binary_search(&r));
            place.ok().and_then(|p| u16::try_from(p).ok()).ok_or_else(|| Error::invariant("rate"))
        };
        let mut block = Self { pools: draft.rows.len(), ..Self::default() };
        if draft.rows.iter().any(|rows| *rows != 1) {
            block.rows.push(0);
            for rows in &draft.rows {
                block.rows.push(block.rows.last().copied().unwrap_or(0) + rows);
            }
        }
        block.legs.push(0);
        for (row, (holding, legs)) in draft.holdings.iter().enumerate() {
            block.assets.push(holding.asset);
            let narrow = i64::try_from(holding.balance);
            block.balances.push(narrow.unwrap_or(0));
            if narrow.is_err() || holding.interest != 0 {
                block.more.insert(place(row)?, *holding);
            }
            block.legs.push(block.legs.last().copied().unwrap_or(0) + legs);
        }
        for (slot, leg) in draft.legs.iter().enumerate() {
            let narrow = i64::try_from(leg.cost);
            if narrow.is_err() || leg.accrued != 0 || leg.has_orders() {
                let Leg { cost, accrued, bids, asks, .. } = *leg;
                block.extras.insert(place(slot)?, Extra { cost, accrued, bids, asks });
            }
            block.costs.push(narrow.unwrap_or(0));
            block.sides.push(leg.side);
            let instrument = u16::try_from(leg.instrument.0);
            let instrument = instrument.map_err(|_| Error::invariant("instrument place"))?;
            block.hot.push(HotLeg { lots: leg.lots, instrument, chosen: rank(leg.chosen)? });
        }
        block.shrink();
        Ok(block)
    }

    fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        self.assets.shrink_to_fit();
        self.balances.shrink_to_fit();
        self.legs.shrink_to_fit();
        self.hot.shrink_to_fit();
        self.costs.shrink_to_fit();
        self.sides.shrink_to_fit();
    }

    /// What it was packed from.
    pub(super) fn unpack(&self, rates: &[Rate]) -> Result<Draft> {
        let mut draft = Draft::default();
        for pool in 0..self.pools {
            draft.rows.push(place(self.rows_of(pool).len())?);
        }
        for row in 0..self.assets.len() {
            let legs = self.legs_of(row);
            draft.holdings.push((self.holding(row)?, place(legs.len())?));
            for slot in legs {
                draft.legs.push(self.leg(slot, rates)?);
            }
        }
        Ok(draft)
    }

    /// The rows of its pool number `pool`.
    pub(super) fn rows_of(&self, pool: usize) -> Range<usize> {
        match (self.rows.get(pool), self.rows.get(pool + 1)) {
            (Some(start), Some(end)) => index(*start)..index(*end),
            _ => pool..pool + 1,
        }
    }

    /// The slots of a row's legs.
    pub(super) fn legs_of(&self, row: usize) -> Range<usize> {
        let at = |i: usize| self.legs.get(i).copied().map_or(0, index);
        at(row)..at(row + 1)
    }

    pub(super) fn pool_count(&self) -> usize {
        self.pools
    }

    pub(super) fn row_count(&self) -> usize {
        self.assets.len()
    }

    pub(super) fn leg_count(&self) -> usize {
        self.hot.len()
    }

    /// The instrument and the lots of each of its legs, in no order.
    pub(super) fn positions(&self) -> impl Iterator<Item = (u16, i64)> + '_ {
        self.hot.iter().map(|leg| (leg.instrument, leg.lots))
    }

    /// The first of its pools that holds an instrument.
    pub(super) fn first_holder(&self, id: InstrumentId) -> Option<usize> {
        let slot = self.hot.iter().position(|leg| u32::from(leg.instrument) == id.0)?;
        let row = self.legs.partition_point(|start| index(*start) <= slot).checked_sub(1)?;
        (0..self.pools).find(|pool| self.rows_of(*pool).contains(&row))
    }

    pub(super) fn holding(&self, row: usize) -> Result<Holding> {
        if let Some(holding) = u32::try_from(row).ok().and_then(|r| self.more.get(&r)) {
            return Ok(*holding);
        }
        match (self.assets.get(row), self.balances.get(row)) {
            (Some(asset), Some(balance)) => {
                Ok(Holding { asset: *asset, balance: i128::from(*balance), interest: 0 })
            }
            _ => Err(Error::invariant("row place")),
        }
    }

    pub(super) fn leg(&self, slot: usize, rates: &[Rate]) -> Result<Leg> {
        let (Some(hot), Some(cost), Some(side)) =
            (self.hot.get(slot), self.costs.get(slot), self.sides.get(slot))
        else {
            return Err(Error::invariant("leg place"));
        };
        let rank = usize::from(hot.chosen);
        let mut leg = Leg {
            instrument: InstrumentId(u32::from(hot.instrument)),
            side: *side,
            lots: hot.lots,
            cost: i128::from(*cost),
            accrued: 0,
            bids: 0,
            asks: 0,
            chosen: if rank == 0 { None } else { rates.get(rank).copied() },
        };
        if let Some(extra) = u32::try_from(slot).ok().and_then(|s| self.extras.get(&s)) {
            (leg.cost, leg.accrued) = (extra.cost, extra.accrued);
            (leg.bids, leg.asks) = (extra.bids, extra.asks);
        }
        Ok(leg)
    }
}

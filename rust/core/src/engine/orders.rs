//! The orders that are open.

use hashbrown::HashMap;

use super::event::What;
use crate::data::{InstrumentId, Side};
use crate::margin::{LegSide, PoolId};
use crate::numbers::{Error, ErrorKind, PriceTicks, Result};

/// Orders of the engine are numbered from here, those of accounts below.
pub(super) const FIRST_FORCED: u64 = 1 << 63;
/// No slot.
const NONE: u32 = u32::MAX;

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Its number.
    pub id: u64,
    /// Whose pool.
    pub pool: PoolId,
    /// Of this instrument.
    pub instrument: InstrumentId,
    /// Which leg.
    pub leg: LegSide,
    /// Which way it trades.
    pub side: Side,
    /// How much is left of it.
    pub lots: i64,
    /// The worst price it accepts.
    pub limit: Option<PriceTicks>,
    /// It may only reduce the leg.
    pub reduce_only: bool,
    /// What is kept back for it beside the initial requirement, in quanta of the asset its pool is checked in.
    pub reserve: i128,
}

impl Order {
    /// The order that an event opens, with nothing kept back for it yet; none for another event.
    #[must_use]
    pub fn opened_by(what: &What) -> Option<Self> {
        let What::OrderOpen { order, pool, instrument, leg, side, lots, limit, reduce_only } = what
        else {
            return None;
        };
        Some(Self {
            id: *order,
            pool: *pool,
            instrument: *instrument,
            leg: *leg,
            side: *side,
            lots: lots.get(),
            limit: *limit,
            reduce_only: *reduce_only,
            reserve: 0,
        })
    }

    /// How many lots it trades, signed.
    #[must_use]
    pub fn signed(&self) -> i64 {
        match self.side {
            Side::Buy => self.lots,
            Side::Sell => -self.lots,
        }
    }

    /// Whether it accepts a price.
    #[must_use]
    pub fn accepts(&self, price: PriceTicks) -> bool {
        self.limit.is_none_or(|limit| match self.side {
            Side::Buy => price <= limit,
            Side::Sell => price >= limit,
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    order: Order,
    /// The orders of the same pool before and after it.
    before: u32,
    after: u32,
}

/// All of them, by their numbers and by their pools.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    by_id: HashMap<u64, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The first order of each pool.
    first: Vec<u32>,
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

fn lost() -> Error {
    Error::invariant("order place")
}

fn unknown(id: u64) -> Error {
    Error::new(ErrorKind::UnknownOrder, "order", id, "no such order is open")
}

impl Orders {
    /// Where an open order is: good until one is removed.
    pub(super) fn place(&self, id: u64) -> Result<u32> {
        self.by_id.get(&id).copied().ok_or_else(|| unknown(id))
    }

    /// The order at a place.
    pub(super) fn at(&self, place: u32) -> Result<&Order> {
        self.slots.get(index(place)).map(|slot| &slot.order).ok_or_else(lost)
    }

    /// The order at a place, to be changed: its number and its pool stay.
    pub(super) fn at_mut(&mut self, place: u32) -> Result<&mut Order> {
        self.slots.get_mut(index(place)).map(|slot| &mut slot.order).ok_or_else(lost)
    }

    /// Reads ahead an order.
    pub(super) fn read_ahead(&self, id: u64) {
        if let Some(place) = self.by_id.get(&id) {
            aivora_simd::read_ahead(&self.slots, index(*place));
        }
    }

    pub(super) fn find(&self, id: u64) -> Option<&Order> {
        let slot = self.by_id.get(&id)?;
        self.slots.get(index(*slot)).map(|slot| &slot.order)
    }

    /// The order with this number.
    pub(super) fn get(&self, id: u64) -> Result<&Order> {
        self.find(id).ok_or_else(|| unknown(id))
    }

    pub(super) fn insert(&mut self, order: Order) -> Result<()> {
        let pool = order.pool.index();
        if self.first.len() <= pool {
            self.first.resize(pool + 1, NONE);
        }
        let first = self.first.get_mut(pool).ok_or_else(lost)?;
        let new = Slot { order, before: NONE, after: *first };
        let slot = if let Some(slot) = self.free.pop() {
            *self.slots.get_mut(index(slot)).ok_or_else(lost)? = new;
            slot
        } else {
            self.slots.push(new);
            u32::try_from(self.slots.len() - 1).map_err(|_| lost())?
        };
        if let Some(next) = self.slots.get_mut(index(*first)) {
            next.before = slot;
        }
        *first = slot;
        self.by_id.insert(order.id, slot);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: u64) -> Result<Order> {
        let slot = self.by_id.remove(&id).ok_or_else(lost)?;
        let Slot { order, before, after } = *self.slots.get(index(slot)).ok_or_else(lost)?;
        match self.slots.get_mut(index(before)) {
            Some(own) => own.after = after,
            None => *self.first.get_mut(order.pool.index()).ok_or_else(lost)? = after,
        }
        if let Some(own) = self.slots.get_mut(index(after)) {
            own.before = before;
        }
        self.free.push(slot);
        Ok(order)
    }

    /// The orders of a pool, ascending by their numbers.
    pub(super) fn of_pool(&self, pool: PoolId) -> Vec<Order> {
        let mut found = Vec::new();
        let mut at = self.first.get(pool.index()).copied().unwrap_or(NONE);
        while let Some(slot) = self.slots.get(index(at)) {
            found.push(slot.order);
            at = slot.after;
        }
        found.sort_unstable_by_key(|order| order.id);
        found
    }

    /// All orders, ascending by their numbers.
    pub(super) fn all(&self) -> Vec<Order> {
        let mut found: Vec<Order> = self
            .by_id
            .values()
            .filter_map(|slot| self.slots.get(index(*slot)).map(|slot| slot.order))
            .collect();
        found.sort_unstable_by_key(|order| order.id);
        found
    }
}

//! A state as bytes, and back: what it does next is the same, event by event. `docs/reference/journal.md`.

use std::sync::Arc;

use super::orders::{Order, Orders};
use super::outcome::ForcedOrder;
use super::state::{Account, Fee, Funds, Liquidation, Market, Standing, State, lost};
use super::wire::{Reader, Value, Wire, corrupt};
use crate::data::{AssetId, Book, Instrument, InstrumentId, Level, Venue};
use crate::margin::watch::Parts;
use crate::margin::{Holdings, Ledger, Leg, PoolId, PoolKey, PoolKind, Watch};
use crate::numbers::{MarkTicks, Rate, Result};

/// The version of the encoding.
const VERSION: u16 = 0;

/// Gives a structure the encoding of its fields, one after the other.
macro_rules! fields {
    ($($type:ident { $($field:ident),+ })+) => {$(
        impl Wire for $type {
            fn put(&self, into: &mut Vec<u8>) {
                $( self.$field.put(into); )+
            }

            fn get(from: &mut Reader<'_>) -> Result<Self> {
                Ok(Self { $( $field: Wire::get(from)?, )+ })
            }

            fn value(&self) -> Value {
                Value::List(vec![$( self.$field.value() ),+])
            }
        }
    )+};
}

fields! {
    Fee { rate, rebate }
    Funds { deposits, insurance, fees, dust, uncovered }
    Account { cluster, throttled }
    Standing { reserved, reducing, staged }
    Order { id, pool, instrument, leg, side, lots, limit, reduce_only, reserve }
    ForcedOrder { order, pool, instrument, leg, side, lots, limit }
    Leg { instrument, side, lots, cost, accrued, bids, asks, chosen }
}

/// Two or three values, one after the other.
macro_rules! tuples {
    ($(($($name:ident $at:tt),+))+) => {$(
        impl<$($name: Wire),+> Wire for ($($name,)+) {
            fn put(&self, into: &mut Vec<u8>) {
                $( self.$at.put(into); )+
            }

            fn get(from: &mut Reader<'_>) -> Result<Self> {
                Ok(($( $name::get(from)?, )+))
            }

            fn value(&self) -> Value {
                Value::List(vec![$( self.$at.value() ),+])
            }
        }
    )+};
}

tuples! { (A 0, B 1) (A 0, B 1, C 2) }

impl Wire for Liquidation {
    fn put(&self, into: &mut Vec<u8>) {
        self.order.put(into);
        self.committed.put(into);
        self.missed.put(into);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self> {
        let (order, committed) = (Wire::get(from)?, Wire::get(from)?);
        Ok(Self { order, committed, missed: Wire::get(from)? })
    }

    fn value(&self) -> Value {
        Value::List(vec![self.order.value(), self.committed.value(), self.missed.value()])
    }
}

fn put_list<T: Wire>(items: impl ExactSizeIterator<Item = T>, into: &mut Vec<u8>) {
    u64::try_from(items.len()).unwrap_or(u64::MAX).put(into);
    items.for_each(|item| item.put(into));
}

/// So many values; what they hold is read one by one, so that a wrong count ends with the bytes.
fn get_list<T: Wire>(from: &mut Reader<'_>) -> Result<Vec<T>> {
    (0..u64::get(from)?).map(|_| T::get(from)).collect()
}

impl Market {
    fn put(&self, into: &mut Vec<u8>) {
        let levels = |side: &crate::data::Ladder| side.levels().collect::<Arc<[Level]>>();
        self.book.has_snapshot().put(into);
        self.book.sequence().put(into);
        levels(self.book.bids()).put(into);
        levels(self.book.asks()).put(into);
        self.index.put(into);
        self.last.put(into);
        put_list(self.sources.iter().map(|(source, price)| (*source, *price)), into);
        self.funding.put(into);
        self.taker.put(into);
        self.maker.put(into);
        self.halted.put(into);
        self.delisted.put(into);
        self.long.put(into);
        self.short.put(into);
    }

    fn get(from: &mut Reader<'_>, instrument: &Instrument) -> Result<Self> {
        let mut book = Book::new(Arc::new(instrument.clone()));
        let (known, sequence) = (bool::get(from)?, Option::<u64>::get(from)?);
        let (bids, asks) = (Arc::<[Level]>::get(from)?, Arc::<[Level]>::get(from)?);
        if known {
            book.snapshot(&bids, &asks, sequence)?;
        }
        Ok(Self {
            book,
            index: Wire::get(from)?,
            last: Wire::get(from)?,
            sources: get_list::<(u16, MarkTicks)>(from)?.into_iter().collect(),
            funding: Wire::get(from)?,
            taker: Wire::get(from)?,
            maker: Wire::get(from)?,
            halted: Wire::get(from)?,
            delisted: Wire::get(from)?,
            long: Wire::get(from)?,
            short: Wire::get(from)?,
        })
    }
}

/// A pool's name, kind, mode and asset.
type Named = ((Arc<str>, Arc<str>), PoolKind, (bool, AssetId));
/// Its balances, legs and chosen rates.
type Chosen = (Option<Rate>, Arc<[(InstrumentId, Rate)]>);

impl State {
    /// All of it, as bytes.
    ///
    /// # Errors
    /// `invariant_broken` only.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut into = Vec::new();
        VERSION.put(&mut into);
        self.card.put(&mut into);
        self.policy_text.put(&mut into);
        self.time.put(&mut into);
        (self.halted, self.events, self.forced_count).put(&mut into);
        put_list(self.sources.iter().map(|(source, last)| (*source, *last)), &mut into);
        put_list(self.funds.iter().copied(), &mut into);
        self.put_pools(&mut into)?;
        put_list(self.accounts.iter().copied(), &mut into);
        put_list(self.standings.iter().copied(), &mut into);
        put_list(self.orders.all().into_iter(), &mut into);
        self.markets.iter().for_each(|market| market.put(&mut into));
        put_list(self.liquidations.iter().map(|(pool, own)| (*pool, *own)), &mut into);
        put_list(self.forced.values().copied(), &mut into);
        put_watch(&self.watch.parts(), &mut into);
        Ok(into)
    }

    fn put_pools(&self, into: &mut Vec<u8>) -> Result<()> {
        let ledger = self.ledger();
        u64::try_from(ledger.len()).map_err(|_| lost())?.put(into);
        for place in (0..ledger.len()).map(PoolId::at) {
            let ((account, name), own) = (ledger.key(place)?, ledger.pool(place)?);
            let head = own.head();
            let name: (Arc<str>, Arc<str>) = (account.into(), name.into());
            let named: Named = (name, head.kind, (head.multi, head.asset));
            named.put(into);
            let chosen: Chosen = (own.chosen_rate(), own.chosen_for().into());
            chosen.put(into);
            let balance = |b: &crate::margin::Balance| (b.asset, b.amount);
            put_list(own.balances().iter().map(balance), into);
            put_list(own.legs().iter().copied(), into);
        }
        Ok(())
    }

    /// A state from its bytes, all of them.
    ///
    /// # Errors
    /// `journal_corrupt`, and what its parts refuse.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let from = &mut Reader::new(bytes);
        let version = u16::get(from)?;
        if version != VERSION {
            return Err(corrupt("snapshot version", version));
        }
        let (card, policy_text) = (Arc::<str>::get(from)?, Arc::<str>::get(from)?);
        let mut state = Self::new(&card, &policy_text)?;
        state.time = Wire::get(from)?;
        (state.halted, state.events, state.forced_count) = Wire::get(from)?;
        state.sources = get_list::<(u16, u64)>(from)?.into_iter().collect();
        state.funds = get_list(from)?;
        let ledger = get_pools(from, &state.venue)?;
        state.accounts = get_list(from)?;
        state.standings = get_list(from)?;
        let mut orders = Orders::default();
        for order in get_list(from)? {
            orders.insert(order)?;
        }
        state.orders = orders;
        let instruments = state.venue.instruments().iter();
        state.markets = instruments.map(|own| Market::get(from, own)).collect::<Result<_>>()?;
        state.liquidations = get_list::<(PoolId, Liquidation)>(from)?.into_iter().collect();
        let forced = get_list::<(ForcedOrder, i64)>(from)?;
        state.forced = forced.into_iter().map(|own| (own.0.order, own)).collect();
        if let Some(own) = &state.policy.backstop {
            state.backstop = ledger.find(&own.account, &own.pool);
        }
        state.watch = Watch::from_parts(ledger, &get_watch(from)?)?;
        from.end()?;
        state.whole_again()?;
        Ok(state)
    }

    /// Refuses parts that do not belong together.
    fn whole_again(&self) -> Result<()> {
        let pools = self.ledger().len();
        let known = |pool: &PoolId| pool.index() < pools;
        let accounts = (0..pools).map(|at| self.ledger().account(PoolId::at(at)));
        let most = accounts.collect::<Result<Vec<_>>>()?.into_iter().max().map_or(0, |a| a + 1);
        let fits = self.funds.len() == self.venue.assets().len()
            && self.standings.len() == pools
            && self.accounts.len() == most
            && self.liquidations.keys().all(known)
            && self.forced.values().all(|(order, _)| known(&order.pool))
            && self.orders.all().iter().all(|order| known(&order.pool));
        if fits { Ok(()) } else { Err(corrupt("snapshot", "parts that do not fit")) }
    }
}

fn put_watch(parts: &Parts, into: &mut Vec<u8>) {
    put_list(parts.now.iter().copied().zip(parts.at_check.iter().copied()), into);
    put_list(parts.verdicts.iter().copied(), into);
    parts.time.put(into);
}

fn get_watch(from: &mut Reader<'_>) -> Result<Parts> {
    let prices = get_list::<(Option<MarkTicks>, Option<MarkTicks>)>(from)?;
    let ticks = |price: Option<MarkTicks>| price.map(MarkTicks::get);
    let (now, at_check) = prices.into_iter().map(|(a, b)| (ticks(a), ticks(b))).unzip();
    Ok(Parts { now, at_check, verdicts: get_list(from)?, time: Wire::get(from)? })
}

fn get_pools(from: &mut Reader<'_>, venue: &Arc<Venue>) -> Result<Ledger> {
    let mut ledger = Ledger::new(Arc::clone(venue));
    for _ in 0..u64::get(from)? {
        let ((account, pool), kind, (multi, asset)) = Named::get(from)?;
        let held_in = if multi { None } else { Some(asset) };
        let key = PoolKey { account: &account, pool: &pool };
        let id = ledger.open(key, kind, multi, held_in)?;
        let (rate, own) = Chosen::get(from)?;
        ledger.set_chosen(id, None, rate)?;
        for (instrument, rate) in own.iter() {
            venue.instrument(*instrument)?;
            ledger.set_chosen(id, Some(*instrument), Some(*rate))?;
        }
        for (asset, amount) in get_list::<(AssetId, i128)>(from)? {
            venue.asset(asset)?;
            ledger.add_balance(id, asset, amount)?;
        }
        for leg in get_list::<Leg>(from)? {
            ledger.set_leg(id, leg)?;
        }
    }
    Ok(ledger)
}

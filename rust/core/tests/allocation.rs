//! What the engine takes, it takes without asking the system for memory, once it is warm.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::alloc::System;

use aivora::data::{Side, Venue};
use aivora::engine::journal::sim::SimDisk;
use aivora::engine::journal::{Fsync, Options};
use aivora::engine::{Engine, Event, Party, What};
use aivora::margin::{LegSide, PoolId, PoolKind};
use aivora::numbers::{Lots, MarkTicks, PriceTicks, Quanta, Rate};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static SYSTEM: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const POOLS: usize = 16;

struct Teller {
    sequence: u64,
    order: u64,
}

impl Teller {
    fn event(&mut self, what: What) -> Event {
        self.sequence += 1;
        Event { source: 1, sequence: self.sequence, time: 0, what }
    }

    fn open(&mut self, engine: &Engine, pool: usize, side: Side) -> Event {
        self.order += 1;
        let (order, instrument) = (self.order, engine.state().venue().nth(0).unwrap());
        self.event(What::OrderOpen {
            order,
            pool: PoolId::at(pool),
            instrument,
            leg: LegSide::Net,
            side,
            lots: Lots::new(5, "lots").unwrap(),
            limit: Some(PriceTicks::new(640_000, "limit").unwrap()),
            reduce_only: false,
        })
    }

    /// Orders of both sides, a fill, cancels, marks, money: as many events as pools, several times over.
    fn round(&mut self, engine: &Engine) -> Vec<Event> {
        let venue = engine.state().venue().clone();
        let (instrument, asset) = (venue.nth(0).unwrap(), venue.find_asset("USDT").unwrap());
        let mut all = Vec::new();
        for pool in 0..POOLS {
            let other = (pool + 1) % POOLS;
            all.push(self.open(engine, pool, Side::Buy));
            all.push(self.open(engine, other, Side::Sell));
            let party = |pool: usize, order: u64| Party {
                pool: PoolId::at(pool),
                leg: LegSide::Net,
                order: Some(order),
            };
            let (buyer, seller) = (party(pool, self.order - 1), party(other, self.order));
            let price = PriceTicks::new(640_000, "price").unwrap();
            let lots = Lots::new(3, "lots").unwrap();
            all.push(self.event(What::Fill {
                instrument,
                price,
                lots,
                buyer,
                seller,
                taker: Side::Buy,
            }));
            for order in [self.order - 1, self.order] {
                all.push(self.event(What::OrderCancel { order }));
            }
            let ticks = 6_400_000 + i128::try_from(pool).unwrap();
            let mark = MarkTicks::new(ticks, "mark").unwrap();
            all.push(self.event(What::Mark { instrument, mark }));
            let amount = Quanta::new(1_000, "amount").unwrap();
            all.push(self.event(What::Deposit { pool: PoolId::at(pool), asset, amount }));
        }
        all
    }
}

#[test]
fn a_warm_engine_takes_events_without_new_memory() {
    let (_, card) = Venue::BUILTIN.iter().find(|(name, _)| *name == "demo").unwrap();
    let fsync = Fsync::Batch(4_096.try_into().unwrap());
    let options = Options { fsync, ..Options::default() };
    for journal in [false, true] {
        let mut engine = if journal {
            Engine::create(Box::new(SimDisk::new()), card, "", options).unwrap()
        } else {
            Engine::new(card, "").unwrap()
        };
        let mut teller = Teller { sequence: 0, order: 0 };
        let instrument = engine.state().venue().nth(0).unwrap();
        let asset = engine.state().venue().find_asset("USDT").unwrap();
        let rate = Rate::new(1, 10_000, "fee").unwrap();
        let mark = MarkTicks::new(6_400_000, "mark").unwrap();
        let mut opening = vec![
            teller.event(What::Mark { instrument, mark }),
            teller.event(What::Fees { instrument, taker: rate, maker: rate, rebate: false }),
        ];
        for pool in 0..POOLS {
            opening.push(teller.event(What::PoolOpen {
                account: format!("account-{pool}").into(),
                pool: "cross".into(),
                kind: PoolKind::Cross,
                multi: false,
                asset: None,
            }));
            let amount = Quanta::new(1_000_000_000_000, "amount").unwrap();
            let pool = PoolId::at(pool);
            opening.push(teller.event(What::Deposit { pool, asset, amount }));
        }
        for _ in 0..30 {
            opening.extend(teller.round(&engine));
        }
        let measured: Vec<Event> = (0..10).flat_map(|_| teller.round(&engine)).collect();
        for event in &opening {
            let answer = engine.apply(event).unwrap();
            assert!(answer.refused.is_none(), "{:?}", answer.refused);
        }
        let region = Region::new(SYSTEM);
        for event in &measured {
            assert!(engine.apply(event).unwrap().refused.is_none());
        }
        let found = region.change();
        let asked = found.allocations + found.reallocations;
        println!("{} events: {asked} allocations ({found:?})", measured.len());
        // The disk of the test keeps what it is given, and the tree of a segment grows with its logarithm.
        let most = if journal { 8 } else { 0 };
        assert!(asked <= most, "{asked} allocations in {} events", measured.len());
    }
}

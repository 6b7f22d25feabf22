//! A made-up day of a venue as events: accounts that deposit, orders that rest, cancels, fills between resting orders, marks.

use std::collections::HashMap;

use aivora::data::{InstrumentId, Side, Venue};
use aivora::engine::{Event, Outcome, Party, State, What};
use aivora::margin::{LegSide, PoolId, PoolKind};
use aivora::numbers::{Lots, MarkTicks, PriceTicks, Quanta, Rate};

use crate::population::Random;

/// What the stream is of: the demo card.
pub(crate) fn card() -> &'static str {
    Venue::BUILTIN.iter().find(|(name, _)| *name == "demo").unwrap().1
}

struct Resting {
    id: u64,
    pool: PoolId,
    lots: i64,
}

/// Events to start with, and events to measure, all of them taken but a few.
pub(crate) struct Stream {
    pub(crate) start: Vec<Event>,
    pub(crate) day: Vec<Event>,
}

struct Maker {
    random: Random,
    state: State,
    out: Vec<Outcome>,
    events: Vec<Event>,
    time: i64,
    marks: Vec<i64>,
    /// Orders by instrument and side, at one price a side: those that may meet.
    resting: HashMap<(usize, bool), Vec<Resting>>,
    orders: Vec<(u64, usize, bool)>,
    next: u64,
}

impl Maker {
    fn tell(&mut self, what: What) -> bool {
        self.time += 1;
        let sequence = u64::try_from(self.time).unwrap();
        let event = Event { source: 1, sequence, time: self.time, what };
        self.out.clear();
        let taken = self.state.apply(&event, &mut self.out).is_ok();
        self.events.push(event);
        taken
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.next() % bound
    }

    fn id(&self, at: usize) -> InstrumentId {
        self.state.venue().nth(at).unwrap()
    }

    fn mark(&mut self, at: usize) {
        let step = 0.0003 * self.random.normal();
        self.marks[at] = (self.marks[at] as f64 * step.exp()).round() as i64;
        let mark = MarkTicks::new(self.marks[at].into(), "mark").unwrap();
        self.tell(What::Mark { instrument: self.id(at), mark });
    }

    /// Orders of both sides rest at the mark as it was first: any two of them meet.
    fn price(&self, at: usize) -> PriceTicks {
        let instrument = &self.state.venue().instruments()[at];
        let ticks = START[at % START.len()] / instrument.marks_per_price();
        PriceTicks::new(ticks.into(), "price").unwrap()
    }

    fn order(&mut self, accounts: u64) {
        let at = self.below(12) as usize;
        let pool = PoolId::at(self.below(accounts) as usize);
        let buy = self.below(2) == 0;
        let lots = 1 + self.below(40) as i64;
        self.next += 1;
        let (order, limit) = (self.next, Some(self.price(at)));
        let taken = self.tell(What::OrderOpen {
            order,
            pool,
            instrument: self.id(at),
            leg: LegSide::Net,
            side: if buy { Side::Buy } else { Side::Sell },
            lots: Lots::new(lots.into(), "lots").unwrap(),
            limit,
            reduce_only: false,
        });
        if taken {
            self.resting.entry((at, buy)).or_default().push(Resting { id: order, pool, lots });
            self.orders.push((order, at, buy));
        }
    }

    fn cancel(&mut self) {
        if self.orders.is_empty() {
            return;
        }
        let place = self.below(self.orders.len() as u64) as usize;
        let (order, at, buy) = self.orders.swap_remove(place);
        let resting = self.resting.entry((at, buy)).or_default();
        let Some(own) = resting.iter().position(|own| own.id == order) else { return };
        resting.swap_remove(own);
        self.tell(What::OrderCancel { order });
    }

    fn fill(&mut self) {
        let at = self.below(12) as usize;
        let price = self.price(at);
        let pick = |maker: &mut Self, buy| {
            let count = maker.resting.get(&(at, buy)).map_or(0, Vec::len) as u64;
            (count > 0).then(|| maker.below(count) as usize)
        };
        let (Some(b), Some(s)) = (pick(self, true), pick(self, false)) else { return };
        let (buyer, seller) = (&self.resting[&(at, true)][b], &self.resting[&(at, false)][s]);
        if buyer.pool == seller.pool {
            return;
        }
        let lots = buyer.lots.min(seller.lots);
        let party =
            |own: &Resting| Party { pool: own.pool, leg: LegSide::Net, order: Some(own.id) };
        let (buyer, seller) = (party(buyer), party(seller));
        let instrument = self.id(at);
        let size = Lots::new(lots.into(), "lots").unwrap();
        self.tell(What::Fill { instrument, price, lots: size, buyer, seller, taker: Side::Buy });
        for (buy, place) in [(true, b), (false, s)] {
            let resting = self.resting.get_mut(&(at, buy)).unwrap();
            resting[place].lots -= lots;
            if resting[place].lots == 0 {
                resting.swap_remove(place);
            }
        }
    }
}

/// The marks at first, in ticks.
const START: [i64; 12] = [
    6_400_000, 3_000_000, 150_000, 600_000, 60_000, 200_000, 50_000, 400_000, 180_000, 80_000,
    120_000, 1_000_000,
];

impl Stream {
    /// So many accounts, and so many events to measure.
    pub(crate) fn new(accounts: u64, count: usize, seed: u64) -> Self {
        let mut maker = Maker {
            random: Random(seed),
            state: State::new(card(), "").unwrap(),
            out: Vec::new(),
            events: Vec::new(),
            time: 0,
            marks: START.to_vec(),
            resting: HashMap::new(),
            orders: Vec::new(),
            next: 0,
        };
        let rate = |ppm| Rate::new(ppm, 1_000_000, "fee").unwrap();
        for at in 0..12 {
            maker.mark(at);
            let instrument = maker.id(at);
            let (taker, maker_fee) = (rate(500), rate(200));
            maker.tell(What::Fees { instrument, taker, maker: maker_fee, rebate: false });
        }
        for account in 0..accounts {
            maker.tell(What::PoolOpen {
                account: format!("account-{account:07}").into(),
                pool: "cross".into(),
                kind: PoolKind::Cross,
                multi: false,
                asset: None,
            });
            let amount = 1_000_000 * (500 + i128::from(maker.below(100_000)));
            let asset = maker.state.venue().find_asset("USDT").unwrap();
            let amount = Quanta::new(amount, "amount").unwrap();
            let pool = PoolId::at(account as usize);
            maker.tell(What::Deposit { pool, asset, amount });
        }
        for _ in 0..2 * accounts {
            maker.order(accounts);
        }
        for _ in 0..accounts {
            maker.fill();
        }
        let start = std::mem::take(&mut maker.events);
        while maker.events.len() < count {
            match maker.below(100) {
                0..40 => maker.order(accounts),
                40..68 => maker.cancel(),
                68..80 => maker.fill(),
                80..98 => {
                    let at = maker.below(12) as usize;
                    maker.mark(at);
                }
                _ => {
                    let pool = PoolId::at(maker.below(accounts) as usize);
                    let asset = maker.state.venue().find_asset("USDT").unwrap();
                    let amount = Quanta::new(1_000_000, "amount").unwrap();
                    maker.tell(What::Deposit { pool, asset, amount });
                }
            }
        }
        Self { start, day: maker.events }
    }
}

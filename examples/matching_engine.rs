//! A small price-time matching engine that embeds the core, and a generated day on it.
//!
//!     cargo run --release --package aivora-core --example matching_engine
#![allow(clippy::indexing_slicing)] // there are two books, and their places are known

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;

use aivora::data::{InstrumentId, Side, Venue};
use aivora::engine::{Ended, Engine, Event, ForcedOrder, Outcome, Party, What};
use aivora::margin::{Holdings, LegSide, PoolId, PoolKind};
use aivora::numbers::{Lots, MarkTicks, PriceTicks, Quanta, Rate};

type Done<T> = Result<T, Box<dyn Error>>;

const ACCOUNTS: u64 = 60;
const STEPS: usize = 6_000;

/// `SplitMix64`.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        i64::try_from((z ^ (z >> 31)) % u64::try_from(bound).unwrap_or(1)).unwrap_or(0)
    }
}

/// An order in the book.
struct Resting {
    order: u64,
    pool: PoolId,
    lots: i64,
}

/// Orders by price, each price a queue.
struct Book {
    instrument: InstrumentId,
    mark: i64,
    per_price: i64,
    bids: BTreeMap<i64, VecDeque<Resting>>,
    asks: BTreeMap<i64, VecDeque<Resting>>,
}

impl Book {
    /// The side that an order trades against.
    fn against(&mut self, side: Side) -> &mut BTreeMap<i64, VecDeque<Resting>> {
        match side {
            Side::Buy => &mut self.asks,
            Side::Sell => &mut self.bids,
        }
    }

    /// The prices that an order may trade at, the best first.
    fn crossing(&self, side: Side, limit: i64) -> Vec<i64> {
        match side {
            Side::Buy => self.asks.range(..=limit).map(|(price, _)| *price).collect(),
            Side::Sell => self.bids.range(limit..).rev().map(|(price, _)| *price).collect(),
        }
    }

    fn remove(&mut self, order: u64) {
        for side in [&mut self.bids, &mut self.asks] {
            for queue in side.values_mut() {
                queue.retain(|own| own.order != order);
            }
            side.retain(|_, queue| !queue.is_empty());
        }
    }
}

/// Books, and the core that is told everything.
struct Exchange {
    core: Engine,
    dice: Dice,
    sequence: u64,
    time: i64,
    next: u64,
    open: Vec<u64>,
    trades: u64,
    liquidated: u64,
    books: Vec<Book>,
}

impl Exchange {
    fn new(seed: u64) -> Done<Self> {
        let (_, card) =
            Venue::BUILTIN.iter().find(|(name, _)| *name == "demo").ok_or("no demo card")?;
        let core = Engine::new(card, "")?;
        let venue = core.state().venue().clone();
        let book = |symbol: &str, mark: i64| -> Done<Book> {
            let instrument = venue.find(symbol)?;
            let per_price = venue.instrument(instrument)?.marks_per_price();
            Ok(Book { instrument, mark, per_price, bids: BTreeMap::new(), asks: BTreeMap::new() })
        };
        let books = vec![book("BTC", 6_400_000)?, book("ETH", 3_200_000)?];
        Ok(Self {
            core,
            dice: Dice(seed),
            sequence: 0,
            time: 0,
            next: 0,
            open: Vec::new(),
            trades: 0,
            liquidated: 0,
            books,
        })
    }

    /// Tells the core, and follows what comes of it; whether it was taken.
    fn tell(&mut self, what: What) -> Done<bool> {
        self.sequence += 1;
        let event = Event { source: 1, sequence: self.sequence, time: self.time, what };
        let answer = self.core.apply(&event)?;
        let taken = answer.refused.is_none();
        let outcomes = answer.outcomes.to_vec();
        self.follow(&outcomes)?;
        Ok(taken)
    }

    /// Brings the books up to what the core has answered.
    fn follow(&mut self, outcomes: &[Outcome]) -> Done<()> {
        for outcome in outcomes {
            match outcome {
                Outcome::OrderCancelled { order, .. } => {
                    self.books.iter_mut().for_each(|book| book.remove(*order));
                }
                Outcome::Forced(order) => {
                    self.liquidated += 1;
                    self.forced(order)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Matches a forced order at once; what is left of it goes back.
    fn forced(&mut self, order: &ForcedOrder) -> Done<()> {
        let place = self.books.iter().position(|book| book.instrument == order.instrument);
        let (lots, limit) = (order.lots.get(), order.limit.get());
        let place = place.ok_or("no book")?;
        let left = self.take(place, (order.order, order.pool), order.side, lots, limit)?;
        if left > 0 {
            self.tell(What::ForcedEnd { order: order.order, reason: Ended::Expired })?;
        }
        Ok(())
    }

    /// Trades an order against the book; what is left of it.
    fn take(
        &mut self,
        place: usize,
        (order, pool): (u64, PoolId),
        side: Side,
        mut lots: i64,
        limit: i64,
    ) -> Done<i64> {
        for price in self.books[place].crossing(side, limit) {
            while lots > 0 {
                let book = &mut self.books[place];
                let instrument = book.instrument;
                let against = book.against(side);
                let Some(queue) = against.get_mut(&price) else { break };
                let Some(other) = queue.front_mut() else { break };
                if other.pool == pool {
                    return Ok(lots);
                }
                let part = lots.min(other.lots);
                lots -= part;
                other.lots -= part;
                let theirs =
                    Party { pool: other.pool, leg: LegSide::Net, order: Some(other.order) };
                if other.lots == 0 {
                    queue.pop_front();
                    if queue.is_empty() {
                        against.remove(&price);
                    }
                }
                self.trades += 1;
                let own = Party { pool, leg: LegSide::Net, order: Some(order) };
                let (buyer, seller) = if side == Side::Buy { (own, theirs) } else { (theirs, own) };
                let price = PriceTicks::new(price.into(), "price")?;
                let lots = Lots::new(part.into(), "lots")?;
                self.tell(What::Fill { instrument, price, lots, buyer, seller, taker: side })?;
            }
            if lots == 0 {
                break;
            }
        }
        Ok(lots)
    }

    /// Marks, fees, accounts and their money.
    fn opening(&mut self) -> Done<()> {
        for place in 0..self.books.len() {
            self.mark(place)?;
            let instrument = self.books[place].instrument;
            let (taker, maker) = (Rate::new(5, 10_000, "taker")?, Rate::new(2, 10_000, "maker")?);
            self.tell(What::Fees { instrument, taker, maker, rebate: false })?;
        }
        let asset = self.core.state().venue().find_asset("USDT")?;
        for number in 0..ACCOUNTS {
            self.tell(What::PoolOpen {
                account: format!("account-{number:03}").into(),
                pool: "cross".into(),
                kind: PoolKind::Cross,
                multi: false,
                asset: None,
            })?;
            let amount = i128::from(300_000_000 + self.dice.below(3_000_000_000));
            let pool = PoolId::at(usize::try_from(number)?);
            self.tell(What::Deposit { pool, asset, amount: Quanta::new(amount, "amount")? })?;
        }
        Ok(())
    }

    fn mark(&mut self, place: usize) -> Done<()> {
        let Book { instrument, mark, .. } = self.books[place];
        self.tell(What::Mark { instrument, mark: MarkTicks::new(mark.into(), "mark")? })?;
        Ok(())
    }

    /// Opens an order near the mark, and matches it.
    fn on_order(&mut self) -> Done<()> {
        let place = usize::try_from(self.dice.below(2))?;
        let pool = PoolId::at(usize::try_from(self.dice.below(60))?);
        let side = if self.dice.below(2) == 0 { Side::Buy } else { Side::Sell };
        let lots = 1 + self.dice.below(400);
        let near = self.books[place].mark / self.books[place].per_price;
        let limit = near - near / 1_000 + self.dice.below(near / 500);
        self.next += 1;
        let order = self.next;
        let taken = self.tell(What::OrderOpen {
            order,
            pool,
            instrument: self.books[place].instrument,
            leg: LegSide::Net,
            side,
            lots: Lots::new(lots.into(), "lots")?,
            limit: Some(PriceTicks::new(limit.into(), "limit")?),
            reduce_only: false,
        })?;
        if !taken {
            return Ok(());
        }
        let left = self.take(place, (order, pool), side, lots, limit)?;
        if left > 0 && self.core.state().order(order).is_some() {
            let book = &mut self.books[place];
            let own = if side == Side::Buy { &mut book.bids } else { &mut book.asks };
            own.entry(limit).or_default().push_back(Resting { order, pool, lots: left });
            self.open.push(order);
        }
        Ok(())
    }

    /// One thing happens.
    fn step(&mut self) -> Done<()> {
        self.time += 250;
        let draw = self.dice.below(100);
        if draw < 30 {
            let place = usize::try_from(self.dice.below(2))?;
            let step = self.dice.below(61) - 30;
            let book = &mut self.books[place];
            book.mark += (book.mark * step).div_euclid(10_000);
            self.mark(place)
        } else if draw < 40 && !self.open.is_empty() {
            let place = self.dice.below(i64::try_from(self.open.len())?);
            let order = self.open.remove(usize::try_from(place)?);
            self.tell(What::OrderCancel { order }).map(drop)
        } else {
            self.on_order()
        }
    }
}

fn main() -> Done<()> {
    let seed = std::env::args().nth(1).map_or(Ok(7), |text| text.parse())?;
    let mut exchange = Exchange::new(seed)?;
    exchange.opening()?;
    for _ in 0..STEPS {
        exchange.step()?;
    }
    let Exchange { mut core, trades, liquidated, .. } = exchange;
    println!("{} events, {trades} trades, {liquidated} forced orders", core.told());
    println!("{}", core.hash()?);
    // The pools are whole: long and short are level in each book.
    for place in 0..core.state().venue().instruments().len() {
        let [long, short] = core.state().open_interest(core.state().venue().nth(place)?)?;
        assert_eq!(long, short, "open interest");
    }
    assert_eq!(core.state().ledger().len(), usize::try_from(ACCOUNTS)?);
    Ok(())
}

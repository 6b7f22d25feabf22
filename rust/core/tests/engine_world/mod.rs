//! A made-up venue day: pools, orders, fills, prices, and answers to forced orders.
#![allow(dead_code)] // each test takes what it needs

use std::collections::BTreeMap;
use std::sync::Arc;

use aivora::data::{AssetId, CheckOn, InstrumentId, Level, Side};
use aivora::engine::{Ended, Event, ForcedOrder, Outcome, Party, Scope, State, What};
use aivora::margin::{Holdings, LegSide, PoolId, PoolKind};
use aivora::numbers::{Digest, Error, Lots, MarkTicks, PriceTicks, Quanta, Rate};

pub(crate) const STAGED: &str = r#"
schema = "aivora-liquidation/0"
close = "staged"
share = "0.2"
above = "1000"
cooldown_ms = 30000
fee = "0.005"
adl = "size"
[backstop]
account = "venue"
pool = "backstop"
below = "2/3"
"#;
pub(crate) const MINIMAL: &str = r#"
schema = "aivora-liquidation/0"
close = "minimal"
target = "initial"
fee = "0.01"
adl = "pro_rata"
adl_share = "1"
"#;
pub(crate) const STEP_DOWN: &str = r#"
schema = "aivora-liquidation/0"
close = "step_down"
brackets = 1
fee = "0.002"
adl = "profit_leverage"
"#;

const LINEAR: &str = r#"
schema = "aivora-card/0"
name = "made-up"
[asset.USDT]
quantum = "0.000001"
[rules]
settlement = "USDT"
taker_fee = "0.0005"
[[instrument]]
symbol = "BTC"
kind = "linear"
price_tick = "0.1"
mark_tick = "0.01"
lot = "0.001"
[instrument.tiers]
by = "notional"
deduction = "derived"
brackets = [
  { floor = "0", maintenance = "0.004", max_leverage = "100" },
  { floor = "20000", maintenance = "0.01", max_leverage = "50" },
  { floor = "100000", maintenance = "0.05", max_leverage = "10" },
]
[[instrument]]
symbol = "ETH"
kind = "linear"
price_tick = "0.01"
mark_tick = "0.001"
lot = "0.01"
[instrument.tiers]
by = "size"
brackets = [
  { floor = "0", maintenance = "0.005", max_leverage = "50" },
  { floor = "20", maintenance = "0.02", max_leverage = "20" },
]
"#;

const SEVERAL: &str = r#"
schema = "aivora-card/0"
name = "made-up"
[asset.BTC]
quantum = "0.00000001"
price_tick = "0.01"
haircut = "0.05"
liability_weight = "1.1"
[asset.USDT]
quantum = "0.000001"
[rules]
settlement = "USDT"
valuation = "USDT"
margin_mode = "multi"
trigger = "non_strict"
bankruptcy_fee = "taker"
taker_fee = "0.0005"
[[instrument]]
symbol = "BTC"
kind = "linear"
price_tick = "0.1"
mark_tick = "0.01"
lot = "0.001"
[instrument.tiers]
by = "notional"
deduction = "derived"
brackets = [
  { floor = "0", maintenance = "0.004", max_leverage = "100" },
  { floor = "50000", maintenance = "0.02", max_leverage = "25" },
]
[[instrument]]
symbol = "BTC-COIN"
kind = "inverse"
settlement = "BTC"
price_tick = "0.5"
mark_tick = "0.01"
lot = "1"
multiplier = "10"
[instrument.tiers]
by = "notional"
brackets = [
  { floor = "0", maintenance = "0.005", max_leverage = "50" },
  { floor = "1", maintenance = "0.02", max_leverage = "20" },
]
"#;

/// Numbers that are the same on every machine.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        // Sebastiano Vigna's splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + i64::try_from(self.below(u64::try_from(high - low + 1).unwrap())).unwrap()
    }

    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let at = usize::try_from(self.below(u64::try_from(of.len()).unwrap())).unwrap();
        of.get(at).copied()
    }
}

/// What a run has seen.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) events: Vec<Event>,
    pub(crate) hash: Option<Digest>,
    pub(crate) seen: BTreeMap<&'static str, usize>,
    pub(crate) refused: BTreeMap<String, usize>,
}

impl Run {
    pub(crate) fn note(&mut self, event: &Event, error: Option<&Error>, out: &[Outcome]) {
        *self.seen.entry(event.what.name()).or_default() += 1;
        if let Some(error) = error {
            let name = format!("{}: {}", event.what.name(), error.kind().code());
            *self.refused.entry(name).or_default() += 1;
        }
        for outcome in out {
            *self.seen.entry(outcome.name()).or_default() += 1;
        }
    }

    pub(crate) fn must_have(&self, names: &[&str]) {
        for name in names {
            assert!(
                self.seen.contains_key(name),
                "no {name} in {:?} {:?}",
                self.seen,
                self.refused
            );
        }
    }
}

pub(crate) struct World {
    pub(crate) dice: Dice,
    /// What else is drawn does not move the stream.
    pub(crate) other: Dice,
    pub(crate) card: &'static str,
    pub(crate) policy: &'static str,
    accounts: u64,
    opened: u64,
    sequence: u64,
    time: i64,
    orders: Vec<u64>,
    next_order: u64,
    forced: Vec<(ForcedOrder, i64)>,
    marks: Vec<i64>,
    delisted: bool,
}

impl World {
    pub(crate) fn new(seed: u64, policy: &'static str) -> Self {
        Self::of(seed, LINEAR, policy, vec![6_000_000, 3_000_000])
    }

    pub(crate) fn several(seed: u64, policy: &'static str) -> Self {
        Self::of(seed, SEVERAL, policy, vec![6_000_000, 6_000_000])
    }

    /// The first with another event that triggers the check.
    pub(crate) fn checked_on(seed: u64, event: &str, policy: &'static str) -> Self {
        let rules = format!("[rules]\ncheck_on = \"{event}\"");
        let card = LINEAR.replacen("[rules]", &rules, 1);
        Self::of(seed, card.leak(), policy, vec![6_000_000, 3_000_000])
    }

    fn of(seed: u64, card: &'static str, policy: &'static str, marks: Vec<i64>) -> Self {
        Self {
            dice: Dice(seed),
            other: Dice(!seed),
            card,
            policy,
            accounts: 24,
            opened: 0,
            sequence: 0,
            time: 0,
            orders: Vec::new(),
            next_order: 1,
            forced: Vec::new(),
            marks,
            delisted: false,
        }
    }

    pub(crate) fn state(&self) -> State {
        State::new(self.card, self.policy).unwrap()
    }

    fn event(&mut self, what: What) -> Event {
        self.sequence += 1;
        self.time += self.dice.between(0, 900);
        Event { source: 1, sequence: self.sequence, time: self.time, what }
    }

    fn pool(&mut self, state: &State) -> PoolId {
        let count = u64::try_from(state.ledger().len()).unwrap();
        PoolId::at(usize::try_from(self.dice.below(count)).unwrap())
    }

    fn instrument(&mut self, state: &State) -> InstrumentId {
        let count = u64::try_from(state.venue().instruments().len()).unwrap();
        state.venue().nth(usize::try_from(self.dice.below(count)).unwrap()).unwrap()
    }

    fn asset(&mut self, state: &State) -> AssetId {
        let count = u64::try_from(state.venue().assets().len()).unwrap();
        state.venue().nth_asset(usize::try_from(self.dice.below(count)).unwrap()).unwrap()
    }

    /// The next event: most are sensible, some are not.
    pub(crate) fn next(&mut self, state: &State) -> Event {
        let what = self.what(state);
        let mut event = self.event(what);
        if self.dice.below(400) == 0 {
            event.sequence = event.sequence.saturating_sub(2);
        }
        event
    }

    pub(crate) fn learn(&mut self, event: &Event, taken: bool, out: &[Outcome]) {
        self.sequence = self.sequence.max(event.sequence);
        if taken && let What::OrderOpen { order, .. } = &event.what {
            self.orders.push(*order);
        }
        for outcome in out {
            match outcome {
                Outcome::OrderCancelled { order, .. } => self.orders.retain(|id| id != order),
                Outcome::Forced(order) => self.forced.push((*order, order.lots.get())),
                _ => {}
            }
        }
        if self.orders.len() > 400 {
            self.orders.drain(..200);
        }
    }

    fn what(&mut self, state: &State) -> What {
        if self.opened == 0 {
            self.opened = 1;
            return open("venue", "backstop", PoolKind::Cross, false);
        }
        if self.opened <= self.accounts {
            let multi = state.venue().rules().multi;
            let account = format!("account-{}", (self.opened * 7) % (self.accounts + 1));
            self.opened += 1;
            return open(&account, "cross", PoolKind::Cross, multi);
        }
        if self.opened == self.accounts + 1 {
            self.opened += 1;
            return open("account-3", "isolated", PoolKind::Isolated, false);
        }
        let instruments = u64::try_from(state.venue().instruments().len()).unwrap();
        let start = self.accounts + 2;
        if self.opened < start + 2 * instruments {
            let at = self.opened - start;
            let id = state.venue().nth(usize::try_from(at / 2).unwrap()).unwrap();
            self.opened += 1;
            if at.is_multiple_of(2) {
                return self.mark(state, id);
            }
            let rate = |ppm| Rate::new(ppm, 1_000_000, "fee").unwrap();
            return What::Fees { instrument: id, taker: rate(500), maker: rate(100), rebate: true };
        }
        match self.dice.below(100) {
            0..5 if state.venue().rules().check_on == CheckOn::Block => What::Block {},
            0..20 => {
                let id = self.instrument(state);
                self.mark(state, id)
            }
            20..26 => self.asset_price(state),
            26..32 => What::Deposit {
                pool: self.pool(state),
                asset: self.asset(state),
                amount: self.amount(),
            },
            32..36 => What::Withdrawal {
                pool: self.pool(state),
                asset: self.asset(state),
                amount: self.amount(),
            },
            36..58 => self.order(state),
            58..62 => self.order_change(),
            62..80 => self.fill(state),
            80..90 => self.forced_answer(state),
            _ => self.rare(state),
        }
    }

    fn amount(&mut self) -> Quanta {
        let digits = u32::try_from(self.dice.below(6)).unwrap();
        let amount = i128::from(self.dice.between(-2, 900)) * 10_i128.pow(digits + 2);
        Quanta::new(amount, "amount").unwrap()
    }

    fn mark(&mut self, state: &State, id: InstrumentId) -> What {
        let at = id.index();
        let step = match self.dice.below(40) {
            0 => 80,
            1..6 => 20,
            _ => 4,
        };
        let moved = self.marks[at] * self.dice.between(-step, step) / 1_000;
        self.marks[at] = (self.marks[at] + moved).clamp(100_000, 50_000_000);
        let _ = state;
        What::Mark { instrument: id, mark: MarkTicks::new(self.marks[at].into(), "mark").unwrap() }
    }

    fn asset_price(&mut self, state: &State) -> What {
        let asset = self.asset(state);
        let price = self.marks[0] + self.dice.between(-5_000, 5_000);
        What::AssetPrice { asset, price: PriceTicks::new(price.into(), "price").unwrap() }
    }

    /// An order price near the mark.
    fn price(&mut self, state: &State, id: InstrumentId, spread: i64) -> PriceTicks {
        let per = state.venue().instrument(id).unwrap().marks_per_price();
        let near = self.marks[id.index()] / per;
        let price = near + near * self.dice.between(-spread, spread) / 1_000;
        PriceTicks::new(price.max(1).into(), "price").unwrap()
    }

    fn lots(&mut self) -> Lots {
        let lots = match self.dice.below(20) {
            0 => self.dice.between(-1, 0),
            1..4 => self.dice.between(1_000, 20_000),
            _ => self.dice.between(1, 900),
        };
        Lots::new(lots.into(), "lots").unwrap()
    }

    fn side(&mut self) -> Side {
        if self.dice.below(2) == 0 { Side::Buy } else { Side::Sell }
    }

    fn order(&mut self, state: &State) -> What {
        let instrument = self.instrument(state);
        self.next_order += 1;
        let known = self.dice.below(50) == 0;
        let limit = (self.dice.below(8) != 0).then(|| self.price(state, instrument, 20));
        What::OrderOpen {
            order: if known { 1 } else { self.next_order },
            pool: self.pool(state),
            instrument,
            leg: self.leg(),
            side: self.side(),
            lots: self.lots(),
            limit,
            reduce_only: self.dice.below(6) == 0,
        }
    }

    fn leg(&mut self) -> LegSide {
        match self.dice.below(12) {
            0 => LegSide::Long,
            1 => LegSide::Short,
            _ => LegSide::Net,
        }
    }

    fn order_change(&mut self) -> What {
        let order = self.dice.one(&self.orders.clone()).unwrap_or(1);
        if self.dice.below(3) == 0 {
            let lots = self.lots();
            return What::OrderAmend { order, lots, limit: None };
        }
        What::OrderCancel { order }
    }

    /// A fill between two open orders that cross, of one order with somebody, or with no order at all.
    fn fill(&mut self, state: &State) -> What {
        let order = self.dice.one(&self.orders.clone()).and_then(|id| state.order(id).copied());
        let other = self.pool(state);
        let Some(order) = order.filter(|_| self.dice.below(6) != 0) else {
            let instrument = self.instrument(state);
            let (buyer, seller) = (self.pool(state), other);
            let party = |pool| Party { pool, leg: LegSide::Net, order: None };
            return What::Fill {
                instrument,
                price: self.price(state, instrument, 5),
                lots: self.lots(),
                buyer: party(buyer),
                seller: party(seller),
                taker: self.side(),
            };
        };
        let own = Party { pool: order.pool, leg: order.leg, order: Some(order.id) };
        let other = Party { pool: other, leg: LegSide::Net, order: None };
        let lots = self.dice.between(1, order.lots + order.lots / 16);
        let price = order.limit.filter(|_| self.dice.below(4) != 0);
        let price = price.unwrap_or_else(|| self.price(state, order.instrument, 3));
        let (buyer, seller) = if order.side == Side::Buy { (own, other) } else { (other, own) };
        let lots = Lots::new(lots.into(), "lots").unwrap();
        let taker = self.side();
        What::Fill { instrument: order.instrument, price, lots, buyer, seller, taker }
    }

    fn forced_answer(&mut self, state: &State) -> What {
        self.forced
            .retain(|(own, _)| state.forced_orders().any(|(order, _)| order.order == own.order));
        let Some((order, _)) = self.dice.one(&self.forced.clone()) else {
            return self.order(state);
        };
        let left = state.forced_orders().find(|(own, _)| own.order == order.order).unwrap().1;
        if self.dice.below(3) == 0 {
            let reason = if self.dice.below(2) == 0 { Ended::Expired } else { Ended::TimedOut };
            return What::ForcedEnd { order: order.order, reason };
        }
        let own = Party { pool: order.pool, leg: order.leg, order: Some(order.order) };
        let other = Party { pool: self.pool(state), leg: LegSide::Net, order: None };
        let (buyer, seller) = if order.side == Side::Buy { (own, other) } else { (other, own) };
        let lots = if self.dice.below(2) == 0 { left } else { self.dice.between(1, left) };
        let price = match self.dice.below(3) {
            0 => order.limit,
            _ => self.price(state, order.instrument, 3),
        };
        let lots = Lots::new(lots.into(), "lots").unwrap();
        What::Fill { instrument: order.instrument, price, lots, buyer, seller, taker: order.side }
    }

    fn rare(&mut self, state: &State) -> What {
        let (pool, instrument) = (self.pool(state), self.instrument(state));
        match self.dice.below(24) {
            0 if self.dice.below(3) == 0 => What::Halt { instrument: Some(instrument) },
            0..4 => What::Resume { instrument: Some(instrument) },
            4 => What::SessionLost { pool },
            5 => What::Throttle { pool, on: self.dice.below(3) == 0 },
            6 => What::AccountLink { pool, cluster: self.dice.below(4) },
            7..9 => What::FundingRate {
                instrument,
                rate: Rate::new(self.dice.between(0, 3_000).into(), 1_000_000, "rate").unwrap(),
                longs_pay: self.dice.below(2) == 0,
            },
            9..11 => What::FundingSettlement { instrument, price: None },
            11..13 => {
                let leverage = self.dice.between(0, 60);
                let leverage = Rate::new(leverage.into(), 1, "leverage").unwrap();
                What::Leverage { pool, instrument: Some(instrument), leverage: Some(leverage) }
            }
            13 => What::InsuranceTopUp { asset: self.asset(state), amount: self.amount() },
            14..17 => {
                let [from, to] = [("cross", "isolated"), ("isolated", "cross")]
                    [usize::try_from(self.dice.below(2)).unwrap()]
                .into();
                let find = |name| state.ledger().find("account-3", name).unwrap();
                let (from, to) = (find(from), find(to));
                if self.dice.below(3) == 0 {
                    return What::MarginMode { from, to, instrument, leg: LegSide::Net };
                }
                What::Transfer { from, to, asset: self.asset(state), amount: self.amount() }
            }
            17 => {
                let price = self.price(state, instrument, 1);
                let level = |price: i64| Level {
                    price: PriceTicks::new(price.into(), "price").unwrap(),
                    quantity: Lots::new(500, "lots").unwrap(),
                };
                let asks: Arc<[Level]> = (1..5).map(|i| level(price.get() + 10 * i)).collect();
                let bids: Arc<[Level]> =
                    (0..5).map(|i| level((price.get() - 10 * i).max(1))).collect();
                What::BookSnapshot { instrument, update: None, bids, asks }
            }
            18 => {
                let price = self.price(state, instrument, 1);
                let quantity = Lots::new(self.dice.between(0, 300).into(), "lots").unwrap();
                let bids: Arc<[Level]> = [Level { price, quantity }].into();
                What::BookDelta { instrument, update: None, previous: None, bids, asks: [].into() }
            }
            19 if self.opened > self.accounts && self.dice.below(40) == 0 && !self.delisted => {
                self.delisted = true;
                let price = self.marks[1] + self.marks[1] * self.dice.between(-50, 50) / 1_000;
                let price = MarkTicks::new(price.into(), "price").unwrap();
                What::Delist { instrument: state.venue().nth(1).unwrap(), price }
            }
            19 => What::Index { instrument, index: MarkTicks::new(5_000_000, "index").unwrap() },
            20 => What::Card {
                scope: Scope::Tiers,
                card: self
                    .card
                    .replacen("0.004", if self.dice.below(2) == 0 { "0.004" } else { "0.006" }, 1)
                    .into(),
            },
            21 => What::Advice { pool, model: "made-up".into(), score: 900_000 },
            22 => What::Trade {
                instrument,
                price: self.price(state, instrument, 1),
                lots: self.lots(),
                taker: self.side(),
            },
            _ => What::Clock {},
        }
    }
}

fn open(account: &str, pool: &str, kind: PoolKind, multi: bool) -> What {
    What::PoolOpen { account: account.into(), pool: pool.into(), kind, multi, asset: None }
}

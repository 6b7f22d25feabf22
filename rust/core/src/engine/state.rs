//! Everything that events change, and nothing that they do not.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::event::{Event, What};
use super::hash::Hashes;
use super::orders::{Order, Orders};
use super::outcome::{ForcedOrder, Outcome};
use crate::data::policy::Policy;
use crate::data::{AssetId, Book, CheckOn, Instrument, InstrumentId, Venue};
use crate::margin::{Changes, Holdings, Ledger, LegSide, Pool, PoolId, Watch};
use crate::numbers::limits::QUANTA_MAX;
use crate::numbers::{Error, ErrorKind, MarkTicks, PriceTicks, Quanta, Rate, Result};
use crate::pricing::Prices;

/// A fee rate: a part of the value, paid or received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fee {
    pub(super) rate: Rate,
    /// It is paid to the account.
    pub(super) rebate: bool,
}

impl Fee {
    /// What it is of a value (not negative): rounded against the account; negative for a rebate.
    pub(super) fn of(self, value: i128) -> Option<i128> {
        if self.rebate {
            return self.rate.of_floor(value)?.checked_neg();
        }
        self.rate.of_ceil(value)
    }
}

/// One instrument.
#[derive(Debug, Clone)]
pub(super) struct Market {
    pub(super) book: Book,
    pub(super) index: Option<MarkTicks>,
    pub(super) last: Option<PriceTicks>,
    pub(super) sources: BTreeMap<u16, MarkTicks>,
    /// The rate of the next settlement, and whether longs pay it.
    pub(super) funding: Option<(Rate, bool)>,
    pub(super) taker: Option<Fee>,
    pub(super) maker: Option<Fee>,
    pub(super) halted: bool,
    pub(super) delisted: bool,
    /// Σ of the long positions, and of the short ones without their sign, in lots.
    pub(super) long: i128,
    pub(super) short: i128,
}

impl Market {
    /// Nothing is known of it yet.
    pub(super) fn new(instrument: &Instrument) -> Self {
        Self {
            taker: taker_of(instrument),
            book: Book::new(Arc::new(instrument.clone())),
            index: None,
            last: None,
            sources: BTreeMap::new(),
            funding: None,
            maker: None,
            halted: false,
            delisted: false,
            long: 0,
            short: 0,
        }
    }
}

/// What the venue has in one asset, in quanta. What pools have beside it is in their balances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Funds {
    /// What came in from outside, less what left.
    pub deposits: i128,
    /// The insurance fund.
    pub insurance: i128,
    /// Fees that were taken.
    pub fees: i128,
    /// What roundings left: never negative.
    pub dust: i128,
    /// Losses that nobody could be made to bear.
    pub uncovered: i128,
}

/// What is known of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Account {
    pub(super) cluster: Option<u64>,
    pub(super) throttled: bool,
}

/// What is known of a pool beside its holdings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// What is kept back for its open orders.
    pub(super) reserved: i128,
    /// How many of them may only reduce.
    pub(super) reducing: u32,
    /// When a liquidation last closed a share of it.
    pub(super) staged: Option<i64>,
}

/// A liquidation that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Liquidation {
    /// The order that is out.
    pub(super) order: Option<u64>,
    /// What of the insurance fund stands behind it.
    pub(super) committed: i128,
    /// What the book would not take: a leg, and how many lots of it.
    pub(super) missed: Option<(InstrumentId, LegSide, i64)>,
}

/// The state of an engine.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) venue: Arc<Venue>,
    pub(super) policy: Policy,
    pub(super) watch: Watch<Ledger>,
    pub(super) standings: Vec<Standing>,
    pub(super) accounts: Vec<Account>,
    pub(super) markets: Vec<Market>,
    pub(super) funds: Vec<Funds>,
    pub(super) orders: Orders,
    /// The last number of each source.
    pub(super) sources: BTreeMap<u16, u64>,
    pub(super) time: Option<i64>,
    pub(super) halted: bool,
    pub(super) liquidations: BTreeMap<PoolId, Liquidation>,
    pub(super) forced: BTreeMap<u64, (ForcedOrder, i64)>,
    /// How many forced orders there have been.
    pub(super) forced_count: u64,
    pub(super) backstop: Option<PoolId>,
    /// How many events were taken.
    pub(super) events: u64,
    /// Verdicts that have changed, to be followed up.
    pub(super) turned: Vec<(PoolId, bool)>,
    pub(super) saved: [Pool; 2],
    /// The verdicts on them then.
    pub(super) verdicts_saved: [bool; 2],
    pub(super) hashes: Hashes,
    /// The card and the policy as they are written.
    pub(super) card: Arc<str>,
    pub(super) policy_text: Arc<str>,
}

pub(super) fn lost() -> Error {
    Error::invariant("engine")
}

/// A sum within the bounds of floor 0.
pub(super) fn sum(a: i128, b: i128, what: &'static str) -> Result<i128> {
    let found = a.checked_add(b).filter(|s| s.unsigned_abs() <= QUANTA_MAX.unsigned_abs());
    found.ok_or_else(|| Error::overflow(what, a))
}

impl State {
    /// Nothing has happened yet. The policy is the default one where its text is empty.
    ///
    /// # Errors
    /// Those of [`Venue::from_text`] and [`Policy::from_toml`].
    pub fn new(card: &str, policy_text: &str) -> Result<Self> {
        let venue = Arc::new(Venue::from_text(card)?);
        let policy = match policy_text {
            "" => Policy::default(),
            text => Policy::from_toml(text)?,
        };
        let prices = Prices::new(Arc::clone(&venue));
        Ok(Self {
            watch: Watch::new(Ledger::new(Arc::clone(&venue)), prices)?,
            markets: venue.instruments().iter().map(Market::new).collect(),
            funds: vec![Funds::default(); venue.assets().len()],
            policy,
            standings: Vec::new(),
            accounts: Vec::new(),
            orders: Orders::default(),
            sources: BTreeMap::new(),
            time: None,
            halted: false,
            liquidations: BTreeMap::new(),
            forced: BTreeMap::new(),
            forced_count: 0,
            backstop: None,
            events: 0,
            turned: Vec::new(),
            saved: [const { Pool::nothing() }; 2],
            verdicts_saved: [false; 2],
            hashes: Hashes::default(),
            card: card.into(),
            policy_text: policy_text.into(),
            venue,
        })
    }

    /// The venue as its card defines it now.
    #[must_use]
    pub fn venue(&self) -> &Arc<Venue> {
        &self.venue
    }

    /// How it liquidates.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The pools.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        self.watch.portfolio()
    }

    /// Its card, as it is written.
    #[must_use]
    pub fn card(&self) -> &str {
        &self.card
    }

    /// The policy, as it is written; empty for the default one.
    #[must_use]
    pub fn policy_text(&self) -> &str {
        &self.policy_text
    }

    /// The prices in force.
    #[must_use]
    pub fn prices(&self) -> &Prices {
        self.watch.prices()
    }

    /// The verdict on each pool at the last check.
    #[must_use]
    pub fn liquidatable(&self) -> &[bool] {
        self.watch.liquidatable()
    }

    /// The time of the last event, in milliseconds.
    #[must_use]
    pub fn time(&self) -> Option<i64> {
        self.time
    }

    /// How many events were taken, refused ones among them.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// What the venue has in an asset.
    ///
    /// # Errors
    /// `invariant_broken` for an asset of another venue.
    pub fn funds(&self, asset: AssetId) -> Result<&Funds> {
        self.funds.get(asset.index()).ok_or_else(lost)
    }

    /// The book of an instrument.
    ///
    /// # Errors
    /// `unknown_instrument`.
    pub fn book(&self, instrument: InstrumentId) -> Result<&Book> {
        Ok(&self.market(instrument)?.book)
    }

    /// The open interest of an instrument, in lots: long, and short without its sign.
    ///
    /// # Errors
    /// `unknown_instrument`.
    pub fn open_interest(&self, instrument: InstrumentId) -> Result<[i128; 2]> {
        let market = self.market(instrument)?;
        Ok([market.long, market.short])
    }

    /// The last price, the index and the mark of an instrument.
    ///
    /// # Errors
    /// `unknown_instrument`.
    #[allow(clippy::type_complexity)] // taken apart at once
    pub fn prices_of(
        &self,
        instrument: InstrumentId,
    ) -> Result<(Option<PriceTicks>, Option<MarkTicks>, Option<MarkTicks>)> {
        let market = self.market(instrument)?;
        Ok((market.last, market.index, self.prices().mark(instrument)))
    }

    /// An open order.
    #[must_use]
    pub fn order(&self, id: u64) -> Option<&Order> {
        self.orders.find(id)
    }

    /// The open orders of a pool, ascending by their numbers.
    #[must_use]
    pub fn orders_of(&self, pool: PoolId) -> Vec<Order> {
        self.orders.of_pool(pool)
    }

    /// The forced orders that are out, and how much is left of each.
    pub fn forced_orders(&self) -> impl Iterator<Item = (&ForcedOrder, i64)> {
        self.forced.values().map(|(order, left)| (order, *left))
    }

    /// Whether a pool is being liquidated: it is locked then.
    #[must_use]
    pub fn is_locked(&self, pool: PoolId) -> bool {
        self.liquidations.contains_key(&pool)
    }

    /// What is kept back for the open orders of a pool.
    #[must_use]
    pub fn reserved(&self, pool: PoolId) -> i128 {
        self.standings.get(pool.index()).map_or(0, |standing| standing.reserved)
    }

    pub(super) fn market(&self, instrument: InstrumentId) -> Result<&Market> {
        self.markets.get(instrument.index()).ok_or_else(|| unknown(&self.venue, instrument))
    }

    pub(super) fn market_mut(&mut self, instrument: InstrumentId) -> Result<&mut Market> {
        let venue = &self.venue;
        self.hashes.touch(instrument.index());
        self.markets.get_mut(instrument.index()).ok_or_else(|| unknown(venue, instrument))
    }

    /// A market in which trading goes on.
    pub(super) fn trading(&self, instrument: InstrumentId) -> Result<&Market> {
        let market = self.market(instrument)?;
        let why = match (market.delisted, market.halted || self.halted) {
            (true, _) => "is delisted",
            (_, true) => "is halted: only cancels, deposits and prices pass",
            _ => return Ok(market),
        };
        let symbol = market.book.instrument().symbol();
        Err(Error::new(ErrorKind::NotTrading, "instrument", symbol, why))
    }

    /// A pool that is not being liquidated.
    pub(super) fn unlocked(&self, pool: PoolId) -> Result<&Pool> {
        let found = self.ledger().pool(pool)?;
        if self.is_locked(pool) {
            let limit = "is being liquidated";
            return Err(Error::new(
                ErrorKind::PoolLocked,
                "pool",
                self.ledger().label(pool),
                limit,
            ));
        }
        Ok(found)
    }

    pub(super) fn asset_known(&self, asset: AssetId) -> Result<()> {
        if asset.index() < self.venue.assets().len() {
            return Ok(());
        }
        self.venue.nth_asset(asset.index()).map(drop)
    }

    pub(super) fn funds_mut(&mut self, asset: AssetId) -> Result<&mut Funds> {
        self.funds.get_mut(asset.index()).ok_or_else(lost)
    }

    pub(super) fn standing_mut(&mut self, pool: PoolId) -> Result<&mut Standing> {
        self.standings.get_mut(pool.index()).ok_or_else(lost)
    }

    pub(super) fn account(&self, pool: PoolId) -> Result<&Account> {
        self.accounts.get(self.ledger().account(pool)?).ok_or_else(lost)
    }

    pub(super) fn account_mut(&mut self, pool: PoolId) -> Result<&mut Account> {
        let account = self.ledger().account(pool)?;
        self.accounts.get_mut(account).ok_or_else(lost)
    }

    /// Pools in the order of their names: that in which they were opened decides nothing.
    pub(super) fn by_name<T>(&self, pools: &mut [T], of: impl Fn(&T) -> PoolId) {
        let ledger = self.ledger();
        let name = |own: &T| ledger.key(of(own)).unwrap_or(("", ""));
        pools.sort_by(|a, b| name(a).cmp(&name(b)));
    }

    pub(super) fn turn(&mut self, changes: Changes) {
        self.turned.extend(changes.liquidatable.into_iter().map(|pool| (pool, true)));
        self.turned.extend(changes.safe.into_iter().map(|pool| (pool, false)));
    }

    /// Looks at pools whose holdings have changed; after an error they are what they were when they were saved.
    pub(super) fn refresh(&mut self, pools: [PoolId; 2]) -> Result<()> {
        let before = self.turned.len();
        let [first, second] = pools;
        let found = self
            .refresh_one(first)
            .and_then(|()| if first == second { Ok(()) } else { self.refresh_one(second) });
        found.or_else(|error| {
            self.turned.truncate(before);
            self.put_back(pools)?;
            Err(error)
        })
    }

    pub(super) fn refresh_one(&mut self, pool: PoolId) -> Result<()> {
        if let Some(verdict) = self.watch.refresh(pool)? {
            self.turned.push((pool, verdict));
        }
        Ok(())
    }

    /// Saves two pools before they are changed.
    pub(super) fn save(&mut self, pools: [PoolId; 2]) -> Result<()> {
        for (pool, saved) in pools.into_iter().zip(&mut self.saved) {
            self.watch.portfolio().save(pool, saved)?;
        }
        self.verdicts_saved = pools.map(|pool| self.watch.fires(pool));
        Ok(())
    }

    /// Makes two pools what they were when they were saved.
    pub(super) fn put_back(&mut self, pools: [PoolId; 2]) -> Result<()> {
        for (pool, saved) in pools.into_iter().zip(&self.saved) {
            self.watch.changing()?.restore(pool, saved)?;
        }
        for (pool, verdict) in pools.into_iter().zip(self.verdicts_saved) {
            self.watch.restored(pool, verdict)?;
        }
        Ok(())
    }

    /// Takes an event. An event that is stale changes nothing. Any other takes its place among those of its source, and time goes
    /// on to its own, with what falls due; one that is refused changes nothing else.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn apply(&mut self, event: &Event, out: &mut Vec<Outcome>) -> Result<()> {
        let missing = self.is_due(event)?;
        let before = self.turned.len();
        if let CheckOn::Every(_) = self.venue.rules().check_on {
            let changes = self.watch.advance(event.time)?;
            self.turn(changes);
        }
        self.time = Some(event.time);
        self.sources.insert(event.source, event.sequence);
        self.events += 1;
        if missing > 0 {
            out.push(Outcome::SequenceGap { source: event.source, missing });
        }
        if self.turned.len() > before {
            self.follow(out)?;
        }
        let decided = self.take(&event.what, out);
        self.follow(out)?;
        decided
    }

    /// Refuses an event that is not after those before it; how many of its source are missing.
    fn is_due(&self, event: &Event) -> Result<u64> {
        if let Some(time) = self.time.filter(|time| event.time < *time) {
            let limit = format!("time does not go back: it is {time} ms");
            return Err(Error::new(ErrorKind::StaleEvent, "time", event.time, limit));
        }
        let Some(last) = self.sources.get(&event.source) else { return Ok(0) };
        if event.sequence <= *last {
            let limit = format!("must be above the last of source {}: {last}", event.source);
            return Err(Error::new(ErrorKind::StaleEvent, "sequence", event.sequence, limit));
        }
        Ok(event.sequence - last - 1)
    }

    fn take(&mut self, what: &What, out: &mut Vec<Outcome>) -> Result<()> {
        match what {
            What::Mark { .. }
            | What::Index { .. }
            | What::SourcePrice { .. }
            | What::AssetPrice { .. }
            | What::BookSnapshot { .. }
            | What::BookDelta { .. }
            | What::Trade { .. }
            | What::Clock {}
            | What::Block {} => self.market_data(what),
            What::PoolOpen { .. }
            | What::Deposit { .. }
            | What::Withdrawal { .. }
            | What::Transfer { .. }
            | What::Leverage { .. }
            | What::MarginMode { .. }
            | What::AccountLink { .. }
            | What::Throttle { .. } => self.account_event(what, out),
            What::SessionLost { pool } => self.session_lost(*pool, out),
            What::OrderOpen { .. } => {
                let order = Order::opened_by(what).ok_or_else(lost)?;
                self.open_order(order)
            }
            What::OrderAmend { order, lots, limit } => self.amend_order(*order, *lots, *limit),
            What::OrderCancel { order } => self.cancel_order(*order, out),
            What::Fill { instrument, price, lots, buyer, seller, taker } => {
                self.fill(*instrument, *price, lots.get(), [buyer, seller], *taker, out)
            }
            What::ForcedEnd { order, .. } => self.forced_end(*order),
            _ => self.venue_event(what, out),
        }
    }
}

pub(super) fn taker_of(instrument: &Instrument) -> Option<Fee> {
    instrument.taker_fee().map(|rate| Fee { rate, rebate: false })
}

fn unknown(venue: &Venue, instrument: InstrumentId) -> Error {
    venue.nth(instrument.index()).map_or_else(|error| error, |_| lost())
}

/// An amount above 0.
pub(super) fn positive(amount: Quanta) -> Result<i128> {
    if amount.get() > 0 {
        return Ok(amount.get());
    }
    Err(Error::new(ErrorKind::OutOfRange, "amount", amount.get(), "must be above 0"))
}

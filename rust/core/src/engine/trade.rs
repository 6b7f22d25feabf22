//! Orders and fills.

use super::ahead::{HOLDINGS as HOLDINGS_AHEAD, POOLS as POOLS_AHEAD};
use super::event::Party;
use super::orders::{FIRST_FORCED, Order};
use super::outcome::{Cancelled, Outcome};
use super::state::{Fee, State, lost, sum};
use crate::data::{AssetId, Contract, Instrument, InstrumentId, Side};
use crate::margin::{Holdings, Leg, PoolId, PoolMargin};
use crate::numbers::limits::LOTS_MAX;
use crate::numbers::rounding::mul_div_floor;
use crate::numbers::{Error, ErrorKind, Lots, PriceTicks, Result};
use crate::pricing::Prices;

/// What an order would do to its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderCheck {
    /// The pool with the order open beside those that are.
    pub margin: PoolMargin,
    /// What is kept back for the order: what its worst fill loses against the mark, and its fee.
    pub reserve: i128,
    /// What is kept back for those that are open.
    pub reserved: i128,
    /// It only takes risk away, so that nothing is required for it.
    pub reduces: bool,
    /// In mark ticks, the worst price it may be filled at, where that is kept for.
    pub worst: Option<i64>,
}

impl OrderCheck {
    /// What decides.
    #[must_use]
    pub fn decides(&self) -> OrderMargin {
        let Self { margin, reserve, reserved, reduces, .. } = *self;
        OrderMargin { equity: margin.equity, initial: margin.initial, reserved, reserve, reduces }
    }

    /// [`OrderMargin::free`].
    #[must_use]
    pub fn free(&self) -> i128 {
        self.decides().free()
    }

    /// [`OrderMargin::passes`].
    #[must_use]
    pub fn passes(&self) -> bool {
        self.decides().passes()
    }
}

/// The margin of a pool with an order open beside those that are: what decides whether it may be. Amounts in quanta of the
/// asset that the pool is checked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderMargin {
    /// The pool's equity.
    pub equity: i128,
    /// Its initial requirement with the order.
    pub initial: i128,
    /// What is kept back for the orders that are open.
    pub reserved: i128,
    /// What is kept back for this one.
    pub reserve: i128,
    /// It only takes risk away, so that nothing is required for it.
    pub reduces: bool,
}

impl OrderMargin {
    /// Equity less what is kept back, this order's part with it: must cover the initial requirement.
    #[must_use]
    pub fn free(&self) -> i128 {
        self.equity.saturating_sub(self.reserved).saturating_sub(self.reserve)
    }

    /// Whether the order may be opened.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.reduces || self.free() >= self.initial
    }
}

/// A leg after a trade of so many lots, and what the trade brings into the balance. `paid` is what the lots cost.
///
/// What is closed releases its part of the cost, rounded toward zero; the rest of the cost stays, so that equity is not moved
/// by the rounding. Past zero the new position costs what its lots do.
pub(super) fn traded(
    leg: &Leg,
    lots: i64,
    paid: i128,
    contract: Contract,
    ticks: i64,
) -> Result<(Leg, i128)> {
    let overflow = || Error::overflow("cost", leg.lots);
    let (old, new) = (leg.lots, leg.lots.checked_add(lots).ok_or_else(overflow)?);
    let cost = if old == 0 || (old > 0) == (lots > 0) {
        leg.cost.checked_add(paid).ok_or_else(overflow)?
    } else if lots.unsigned_abs() <= old.unsigned_abs() {
        let (part, all) = (i128::from(lots).abs(), i128::from(old).abs());
        let released = mul_div_floor(leg.cost.abs(), part, all).ok_or_else(overflow)?;
        leg.cost - released * leg.cost.signum()
    } else {
        contract.cost(i128::from(new), ticks).ok_or_else(overflow)?
    };
    let realised = cost.checked_sub(leg.cost).and_then(|moved| moved.checked_sub(paid));
    Ok((Leg { lots: new, cost, ..*leg }, realised.ok_or_else(overflow)?))
}

/// An order price in mark ticks.
pub(super) fn mark_ticks(instrument: &Instrument, price: PriceTicks) -> Result<i64> {
    let ticks = price.get().checked_mul(instrument.marks_per_price());
    ticks.ok_or_else(|| Error::overflow("price", price))
}

/// An order as part of its leg.
#[derive(Debug, Clone, Copy)]
struct Asked {
    leg: Leg,
    reduces: bool,
    reserve: i128,
    worst: Option<i64>,
}

/// One side of a fill, worked out before anything is changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf {
    pub(super) pool: PoolId,
    /// The verdict on the pool before.
    fired: bool,
    old: Leg,
    pub(super) leg: Leg,
    pub(super) lots: i64,
    pub(super) realised: i128,
    pub(super) paid: i128,
    pub(super) fee: i128,
    filled: Filled,
}

/// The margin of a pool before and after its side of a trade: what decides whether it may be without an order. Amounts in quanta
/// of the asset that the pool is checked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TradeMargin {
    /// As it is.
    pub before: PoolMargin,
    /// As it would be.
    pub after: PoolMargin,
    /// What is kept back for its open orders.
    pub reserved: i128,
    /// The leg would be no larger.
    pub shrinks: bool,
}

impl TradeMargin {
    /// Equity after the trade less what is kept back: must cover the initial requirement.
    #[must_use]
    pub fn free(&self) -> i128 {
        self.after.equity.saturating_sub(self.reserved)
    }

    /// Whether the pool would be no riskier than it is, with a leg that is no larger.
    #[must_use]
    pub fn is_safer(&self) -> bool {
        self.shrinks && is_safer(&self.before, &self.after)
    }

    /// Whether the trade may be.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.free() >= self.after.initial || self.is_safer()
    }

    /// The same with more money in the pool.
    #[must_use]
    pub fn with(&self, more: i128) -> Self {
        let [mut before, mut after] = [self.before, self.after];
        before.equity = before.equity.saturating_add(more);
        after.equity = after.equity.saturating_add(more);
        Self { before, after, ..*self }
    }
}

/// What a fill is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    /// A trade agreed outside the book.
    Nothing,
    /// The open order at this place.
    Order(u32),
    /// A forced order; its fee goes to the insurance fund.
    Forced(u64),
}

fn refuse(kind: ErrorKind, field: &str, value: impl std::fmt::Display, limit: &str) -> Error {
    Error::new(kind, field, value, limit)
}

impl State {
    /// What an order would do, were it opened now. Nothing is changed.
    ///
    /// # Errors
    /// Why the order is none: `out_of_range`, `bad_leg`, `not_trading`, `pool_locked`, `missing_price`, `unknown_fee`.
    pub fn check_order(&self, order: &Order) -> Result<OrderCheck> {
        self.check_order_at(order, self.prices())
    }

    /// The same at other prices.
    pub(super) fn check_order_at(&self, order: &Order, prices: &Prices) -> Result<OrderCheck> {
        let asked = self.asked(order, prices)?;
        let leg = &asked.leg;
        let margin = match self.watch.quick_with(order.pool, prices, leg) {
            Some(margin) => margin,
            None => self.ledger().assess_with(order.pool, prices, leg, 0)?,
        };
        debug_assert_eq!(Ok(margin), self.ledger().assess_with(order.pool, prices, leg, 0));
        let Asked { reduces, reserve, worst, .. } = asked;
        Ok(OrderCheck { margin, reserve, reserved: self.reserved(order.pool), reduces, worst })
    }

    /// The part of [`State::check_order`] that decides: no maintenance requirement is worked out.
    ///
    /// # Errors
    /// As there.
    pub fn order_margin(&self, order: &Order) -> Result<OrderMargin> {
        let prices = self.prices();
        let Asked { leg, reduces, reserve, .. } = self.asked(order, prices)?;
        let reserved = self.reserved(order.pool);
        let quick = self.watch.quick_initial(order.pool, prices, &leg);
        let (equity, initial) = if let Some((equity, initial)) = quick {
            (i128::from(equity), i128::from(initial))
        } else {
            let margin = self.ledger().assess_with(order.pool, prices, &leg, 0)?;
            (margin.equity, margin.initial)
        };
        Ok(OrderMargin { equity, initial, reserved, reserve, reduces })
    }

    /// The margins of many orders, each as if it were alone.
    pub fn order_margins(&self, orders: &[Order]) -> impl Iterator<Item = Result<OrderMargin>> {
        orders.iter().enumerate().map(|(place, order)| {
            if let Some(order) = orders.get(place + POOLS_AHEAD) {
                self.read_ahead_pool(order.pool);
            }
            if let Some(order) = orders.get(place + HOLDINGS_AHEAD) {
                self.watch.read_ahead_holdings(order.pool);
            }
            self.order_margin(order)
        })
    }

    /// What is kept for an order that passes; for another, why it does not.
    fn passes(&self, order: &Order) -> Result<i128> {
        let margin = self.order_margin(order)?;
        if margin.passes() {
            return Ok(margin.reserve);
        }
        let limit = format!(
            "equity {} less {} kept for open orders and {} for this one must cover the initial requirement {}",
            margin.equity, margin.reserved, margin.reserve, margin.initial,
        );
        Err(Error::new(ErrorKind::InsufficientMargin, "free equity", margin.free(), limit))
    }

    /// An order as part of its leg, and what is kept for it; refused where it is none.
    fn asked(&self, order: &Order, prices: &Prices) -> Result<Asked> {
        if order.lots < 1 {
            let limit = format!("must be 1 to {LOTS_MAX}");
            return Err(Error::new(ErrorKind::OutOfRange, "lots", order.lots, limit));
        }
        let market = self.trading(order.instrument)?;
        let pool = self.unlocked(order.pool)?;
        let of = market.book.instrument();
        let mut leg = if let Some(leg) = pool.leg(order.instrument, order.leg) {
            *leg
        } else {
            let empty = Leg::empty(order.instrument, order.leg);
            self.ledger().admits(order.pool, &empty)?;
            Leg { chosen: pool.chosen(order.instrument), ..empty }
        };
        let opposite = (leg.lots > 0) == (order.side == Side::Sell) && leg.lots != 0;
        let side = if order.side == Side::Buy { &mut leg.bids } else { &mut leg.asks };
        *side = side.checked_add(order.lots).filter(|sum| *sum <= LOTS_MAX).ok_or_else(|| {
            refuse(ErrorKind::Overflow, "lots", order.lots, "too much for one side of a leg")
        })?;
        let reduces = opposite && side.unsigned_abs() <= leg.lots.unsigned_abs();
        if order.reduce_only && !(opposite && order.lots.unsigned_abs() <= leg.lots.unsigned_abs())
        {
            let limit = "a reduce-only order may not trade more than the leg holds, against it";
            return Err(refuse(ErrorKind::BadLeg, "lots", order.lots, limit));
        }
        if reduces {
            return Ok(Asked { leg, reduces, reserve: 0, worst: None });
        }
        if self.account(order.pool)?.throttled {
            let limit = "is throttled: only what reduces risk passes";
            let label = self.ledger().label(order.pool);
            return Err(refuse(ErrorKind::NotTrading, "account", label, limit));
        }
        let (reserve, worst) = self.reserve(order, of, market.taker, prices)?;
        Ok(Asked { leg, reduces, reserve, worst: Some(worst) })
    }

    /// What the worst fill of an order loses against the mark, and its fee there, in the asset that its pool is checked in.
    /// With it the worst price, in mark ticks.
    fn reserve(
        &self,
        order: &Order,
        of: &Instrument,
        taker: Option<Fee>,
        prices: &Prices,
    ) -> Result<(i128, i64)> {
        let taker = taker.ok_or_else(|| {
            let limit = "the card does not know the taker fee: give it with an event";
            refuse(ErrorKind::UnknownFee, "fee", of.symbol(), limit)
        })?;
        let overflow = || Error::overflow("reserve", of.symbol());
        let mark = prices.mark(order.instrument).ok_or_else(|| {
            refuse(ErrorKind::MissingPrice, "mark", of.symbol(), "has no mark yet")
        })?;
        let lots = i128::from(order.signed());
        let value = of.contract().value(lots, mark.get()).ok_or_else(overflow)?;
        let worst = match order.limit {
            Some(limit) => mark_ticks(of, limit)?,
            None => self.worst_in_book(order, mark.get())?,
        };
        let cost = of.contract().cost(lots, worst).ok_or_else(overflow)?;
        let fee = taker.of(cost.abs()).ok_or_else(overflow)?;
        let lost = cost.checked_sub(value).ok_or_else(overflow)?.max(0);
        let own = lost.checked_add(fee.max(0)).ok_or_else(overflow)?;
        Ok((self.in_own_asset(order.pool, of.settlement(), own, prices)?, worst))
    }

    /// The worst price that a market order would get in the book; the mark without one.
    fn worst_in_book(&self, order: &Order, mark: i64) -> Result<i64> {
        let book = &self.market(order.instrument)?.book;
        let lots = Lots::new(i128::from(order.lots), "lots")?;
        let walk = crate::execution::walk(book, order.side, lots, None)?;
        match walk.worst() {
            Some(worst) => {
                let worst = mark_ticks(book.instrument(), worst)?;
                Ok(if order.side == Side::Buy { worst.max(mark) } else { worst.min(mark) })
            }
            None => Ok(mark),
        }
    }

    /// An amount of an asset as a requirement in the asset that a pool is checked in.
    fn in_own_asset(
        &self,
        pool: PoolId,
        asset: AssetId,
        amount: i128,
        prices: &Prices,
    ) -> Result<i128> {
        let head = self.ledger().pool(pool)?.head();
        if head.asset == asset {
            return Ok(amount);
        }
        self.ledger().required(pool, asset, amount, prices)
    }

    pub(super) fn open_order(&mut self, order: Order) -> Result<()> {
        if order.id >= FIRST_FORCED {
            let limit = "must be below 2^63: those above are the engine's";
            return Err(refuse(ErrorKind::OutOfRange, "order", order.id, limit));
        }
        if self.orders.find(order.id).is_some() {
            return Err(refuse(ErrorKind::DuplicateKey, "order", order.id, "is open already"));
        }
        let reserve = self.passes(&order)?;
        self.place(Order { reserve, ..order })
    }

    /// Puts an order that was checked into its leg, and keeps its reserve.
    fn place(&mut self, order: Order) -> Result<()> {
        let reserved = sum(self.reserved(order.pool), order.reserve, "reserved")?;
        self.book_order(&order, order.lots)?;
        self.orders.insert(order)?;
        let standing = self.standing_mut(order.pool)?;
        standing.reserved = reserved;
        standing.reducing += u32::from(order.reduce_only);
        Ok(())
    }

    /// Takes an order out of its leg, and gives its reserve back.
    fn take_out(&mut self, order: &Order) -> Result<()> {
        self.book_order(order, -order.lots)?;
        let standing = self.standing_mut(order.pool)?;
        standing.reserved -= order.reserve;
        standing.reducing -= u32::from(order.reduce_only);
        self.orders.remove(order.id).map(drop)
    }

    /// Adds lots to the side of its leg that an order is on.
    fn book_order(&mut self, order: &Order, lots: i64) -> Result<()> {
        let orders = match order.side {
            Side::Buy => [lots, 0],
            Side::Sell => [0, lots],
        };
        self.watch.changing()?.add_orders(order.pool, (order.instrument, order.leg), orders)
    }

    pub(super) fn amend_order(
        &mut self,
        id: u64,
        lots: Lots,
        limit: Option<PriceTicks>,
    ) -> Result<()> {
        let old = *self.orders.get(id)?;
        self.take_out(&old)?;
        let new = Order { lots: lots.get(), limit, reserve: 0, ..old };
        let checked = self.passes(&new).map(|reserve| Order { reserve, ..new });
        let placed = checked.and_then(|new| self.place(new));
        if placed.is_err() {
            self.place(old)?;
        }
        placed
    }

    pub(super) fn cancel_order(&mut self, id: u64, out: &mut Vec<Outcome>) -> Result<()> {
        self.orders.get(id)?;
        self.drop_order(id, Cancelled::Asked, out)
    }

    pub(super) fn drop_order(
        &mut self,
        id: u64,
        why: Cancelled,
        out: &mut Vec<Outcome>,
    ) -> Result<()> {
        let order = *self.orders.get(id)?;
        self.take_out(&order)?;
        out.push(Outcome::OrderCancelled { order: id, pool: order.pool, why });
        Ok(())
    }

    /// Refuses a fill of nothing, or of a leg with itself.
    pub(super) fn sane_fill(&self, lots: i64, [buyer, seller]: [&Party; 2]) -> Result<()> {
        if lots < 1 {
            return Err(refuse(ErrorKind::OutOfRange, "lots", lots, "must be above 0"));
        }
        if (buyer.pool, buyer.leg) == (seller.pool, seller.leg) {
            let limit = "a leg does not trade with itself";
            let label = self.ledger().label(seller.pool);
            return Err(refuse(ErrorKind::BadFill, "seller", label, limit));
        }
        Ok(())
    }

    pub(super) fn fill(
        &mut self,
        instrument: InstrumentId,
        price: PriceTicks,
        lots: i64,
        [buyer, seller]: [&Party; 2],
        taker: Side,
        out: &mut Vec<Outcome>,
    ) -> Result<()> {
        self.sane_fill(lots, [buyer, seller])?;
        self.trading(instrument)?;
        let side = |lots: i64, party: &Party, takes: bool| {
            let leaf = self.leaf(instrument, price, lots, party, (takes, self.prices()))?;
            if party.order.is_none() {
                self.may_trade(&leaf)?;
            }
            Ok(leaf)
        };
        let bought = side(lots, buyer, taker == Side::Buy)?;
        let sold = side(-lots, seller, taker == Side::Sell)?;
        self.exchange(instrument, [&bought, &sold])?;
        self.market_mut(instrument)?.last = Some(price);
        for leaf in [&bought, &sold] {
            self.filled(leaf, lots, out)?;
            let lots = Lots::new(i128::from(leaf.lots), "lots")?;
            let Leaf { pool, realised, fee, .. } = *leaf;
            out.push(Outcome::Traded { pool, instrument, leg: leaf.leg.side, lots, realised, fee });
        }
        for leaf in [&bought, &sold] {
            self.drop_idle(leaf.pool, &leaf.leg, out)?;
        }
        Ok(())
    }

    /// What a fill would do to one side of it; refused where the order it names does not allow it.
    pub(super) fn leaf(
        &self,
        instrument: InstrumentId,
        price: PriceTicks,
        lots: i64,
        party: &Party,
        (takes, prices): (bool, &Prices),
    ) -> Result<Leaf> {
        let market = self.market(instrument)?;
        let of = market.book.instrument();
        let overflow = || Error::overflow("fill", of.symbol());
        if prices.mark(instrument).is_none() {
            return Err(refuse(ErrorKind::MissingPrice, "mark", of.symbol(), "has no mark yet"));
        }
        let ticks = mark_ticks(of, price)?;
        let paid = of.contract().cost(i128::from(lots), ticks).ok_or_else(overflow)?;
        let old = self.leg_of(party.pool, instrument, party.leg)?;
        let (leg, realised) = traded(&old, lots, paid, of.contract(), ticks)?;
        let mut leaf = Leaf {
            pool: party.pool,
            fired: self.watch.fires(party.pool),
            old,
            leg,
            lots,
            realised,
            paid,
            fee: 0,
            filled: Filled::Nothing,
        };
        if let Some(id) = party.order.filter(|id| *id >= FIRST_FORCED) {
            self.fits_forced(id, &leaf, price, instrument)?;
            leaf.fee = self.forced_fee(&leaf, prices)?;
            leaf.filled = Filled::Forced(id);
            return Ok(leaf);
        }
        let fee = if takes { market.taker } else { market.maker };
        let fee = fee.ok_or_else(|| {
            let limit = "is not known: give maker and taker fees with an event";
            refuse(ErrorKind::UnknownFee, "fee", of.symbol(), limit)
        })?;
        leaf.fee = fee.of(paid.abs()).ok_or_else(overflow)?;
        if let Some(id) = party.order {
            let place = self.orders.place(id)?;
            fits_order(self.orders.at(place)?, &leaf, price, instrument)?;
            leaf.filled = Filled::Order(place);
            let side = if lots > 0 { &mut leaf.leg.bids } else { &mut leaf.leg.asks };
            *side -= lots.abs(); // at most what the order has, which is in there
        }
        Ok(leaf)
    }

    /// The margin of a trade without an order: what decides whether it may be.
    pub(super) fn trade_margin(&self, leaf: &Leaf, prices: &Prices) -> Result<TradeMargin> {
        let after = self.after(leaf, prices)?;
        let reserved = self.reserved(leaf.pool);
        let before = self.ledger().assess(leaf.pool, prices)?;
        let shrinks = leaf.leg.lots.unsigned_abs() <= leaf.old.lots.unsigned_abs();
        Ok(TradeMargin { before, after, reserved, shrinks })
    }

    /// The margin of a pool after its side of a trade.
    fn after(&self, leaf: &Leaf, prices: &Prices) -> Result<PoolMargin> {
        self.unlocked(leaf.pool)?;
        let taken = leaf.realised.checked_sub(leaf.fee).ok_or_else(lost)?;
        self.ledger().assess_with(leaf.pool, prices, &leaf.leg, taken)
    }

    /// Refuses a trade without an order that leaves a pool short of its requirements, unless it is no riskier then.
    fn may_trade(&self, leaf: &Leaf) -> Result<()> {
        let after = self.after(leaf, self.prices())?;
        if after.equity.saturating_sub(self.reserved(leaf.pool)) >= after.initial {
            return Ok(());
        }
        let margin = self.trade_margin(leaf, self.prices())?;
        if margin.passes() {
            return Ok(());
        }
        let limit = format!(
            "must cover the initial requirement, {}, with {} kept for orders, or be no riskier than before",
            margin.after.initial, margin.reserved,
        );
        Err(Error::new(ErrorKind::InsufficientMargin, "equity", margin.after.equity, limit))
    }

    /// Changes both legs and balances, the funds and the open interest: all or nothing.
    fn exchange(&mut self, instrument: InstrumentId, leaves: [&Leaf; 2]) -> Result<()> {
        let asset = self.market(instrument)?.book.instrument().settlement();
        let mut funds = *self.funds(asset)?;
        let market = self.market(instrument)?;
        let (mut long, mut short) = (market.long, market.short);
        for leaf in leaves {
            funds.dust = sum(funds.dust, leaf.paid, "dust")?;
            let forced = matches!(leaf.filled, Filled::Forced(_));
            let fee = if forced { &mut funds.insurance } else { &mut funds.fees };
            *fee = sum(*fee, leaf.fee, "fees")?;
            let old = i128::from(leaf.leg.lots) - i128::from(leaf.lots);
            let new = i128::from(leaf.leg.lots);
            long += new.max(0) - old.max(0);
            short += (-new).max(0) - (-old).max(0);
        }
        for (done, leaf) in leaves.into_iter().enumerate() {
            if let Err(error) = self.trade(leaf, asset) {
                self.undo(leaves.get(..done).unwrap_or_default(), asset)?;
                return Err(error);
            }
        }
        let before = self.turned.len();
        for leaf in leaves {
            let paid = leaf.realised - leaf.fee;
            match self.watch.refresh_leg(leaf.pool, [&leaf.old, &leaf.leg], paid) {
                Ok(verdict) => self.turned.extend(verdict.map(|verdict| (leaf.pool, verdict))),
                Err(error) => {
                    self.turned.truncate(before);
                    self.undo(&leaves, asset)?;
                    return Err(error);
                }
            }
        }
        *self.funds_mut(asset)? = funds;
        let market = self.market_mut(instrument)?;
        (market.long, market.short) = (long, short);
        Ok(())
    }

    /// Changes the leg and the balance of one side of a fill: both or neither.
    fn trade(&mut self, leaf: &Leaf, asset: AssetId) -> Result<()> {
        let ledger = self.watch.changing()?;
        ledger.set_leg(leaf.pool, leaf.leg)?;
        let paid = ledger.add_balance(leaf.pool, asset, leaf.realised - leaf.fee);
        paid.or_else(|error| {
            ledger.set_leg(leaf.pool, leaf.old)?;
            Err(error)
        })
    }

    /// Makes sides of a fill what they were.
    fn undo(&mut self, leaves: &[&Leaf], asset: AssetId) -> Result<()> {
        for leaf in leaves.iter().rev() {
            let ledger = self.watch.changing()?;
            ledger.set_leg(leaf.pool, leaf.old)?;
            ledger.add_balance(leaf.pool, asset, leaf.fee - leaf.realised)?;
        }
        leaves.iter().try_for_each(|leaf| self.watch.restored(leaf.pool, leaf.fired))
    }

    /// A part of an order is filled: its reserve goes with it.
    fn filled(&mut self, leaf: &Leaf, lots: i64, out: &mut Vec<Outcome>) -> Result<()> {
        let place = match leaf.filled {
            Filled::Nothing => return Ok(()),
            Filled::Forced(id) => {
                return self.forced_fill(id, leaf.pool, leaf.leg.instrument, leaf.fee, lots, out);
            }
            Filled::Order(place) => place,
        };
        let order = self.orders.at_mut(place)?;
        let (part, all) = (i128::from(lots), i128::from(order.lots));
        let released = mul_div_floor(order.reserve, part, all).ok_or_else(lost)?;
        order.lots -= lots;
        order.reserve -= released;
        let order = *order;
        let standing = self.standing_mut(order.pool)?;
        standing.reserved -= released;
        if order.lots == 0 {
            standing.reducing -= u32::from(order.reduce_only);
            self.orders.remove(order.id)?;
        }
        Ok(())
    }

    /// Cancels orders that may only reduce a leg where they could do more than that to what is left of it.
    pub(super) fn drop_idle(
        &mut self,
        pool: PoolId,
        leg: &Leg,
        out: &mut Vec<Outcome>,
    ) -> Result<()> {
        if !leg.has_orders() {
            return Ok(());
        }
        if self.standings.get(pool.index()).is_none_or(|own| own.reducing == 0) {
            return Ok(());
        }
        let now = self.leg_of(pool, leg.instrument, leg.side)?;
        for order in self.orders.of_pool(pool) {
            let same = (order.instrument, order.leg) == (leg.instrument, leg.side);
            let idle = order.lots > now.lots.abs() || (now.lots > 0) == (order.side == Side::Buy);
            if same && order.reduce_only && idle {
                self.drop_order(order.id, Cancelled::NothingToReduce, out)?;
            }
        }
        Ok(())
    }

    /// A trade between two pools outside any order, without fees: who is deleveraged.
    pub(super) fn cross(
        &mut self,
        instrument: InstrumentId,
        price: PriceTicks,
        lots: i64,
        [buyer, seller]: [(PoolId, crate::margin::LegSide); 2],
        out: &mut Vec<Outcome>,
    ) -> Result<()> {
        let of = std::sync::Arc::clone(self.market(instrument)?.book.instrument());
        let ticks = mark_ticks(&of, price)?;
        let leaf = |(pool, side): (PoolId, crate::margin::LegSide), lots: i64| {
            let paid = of.contract().cost(i128::from(lots), ticks);
            let paid = paid.ok_or_else(|| Error::overflow("fill", of.symbol()))?;
            let old = self.leg_of(pool, instrument, side)?;
            let (leg, realised) = traded(&old, lots, paid, of.contract(), ticks)?;
            let fired = self.watch.fires(pool);
            let filled = Filled::Nothing;
            Ok(Leaf { pool, fired, old, leg, lots, realised, paid, fee: 0, filled })
        };
        let (bought, sold) = (leaf(buyer, lots)?, leaf(seller, -lots)?);
        self.exchange(instrument, [&bought, &sold])?;
        for leaf in [&bought, &sold] {
            let lots = Lots::new(i128::from(leaf.lots), "lots")?;
            let Leaf { pool, realised, fee, .. } = *leaf;
            out.push(Outcome::Traded { pool, instrument, leg: leaf.leg.side, lots, realised, fee });
        }
        for leaf in [&bought, &sold] {
            self.drop_idle(leaf.pool, &leaf.leg, out)?;
        }
        Ok(())
    }

    fn fits_forced(
        &self,
        id: u64,
        leaf: &Leaf,
        price: PriceTicks,
        instrument: InstrumentId,
    ) -> Result<()> {
        let Some((order, left)) = self.forced.get(&id) else {
            return Err(refuse(
                ErrorKind::UnknownOrder,
                "order",
                id,
                "no such forced order is out",
            ));
        };
        let bad = |limit: &str| Err(refuse(ErrorKind::BadFill, "order", id, limit));
        let same = (order.pool, order.instrument, order.leg)
            == (leaf.pool, instrument, leaf.leg.side)
            && (order.side == Side::Buy) == (leaf.lots > 0);
        if !same {
            return bad("is of another pool, leg, instrument or side");
        }
        if leaf.lots.abs() > *left {
            return bad("has fewer lots left than that");
        }
        let accepts = match order.side {
            Side::Buy => price <= order.limit,
            Side::Sell => price >= order.limit,
        };
        if accepts { Ok(()) } else { bad("does not accept this price") }
    }

    /// The liquidation fee of a forced fill: never more than the equity that is left.
    fn forced_fee(&self, leaf: &Leaf, prices: &Prices) -> Result<i128> {
        let fee = self.policy.fee.of_ceil(leaf.paid.abs()).ok_or_else(lost)?;
        let after = self.ledger().assess_with(leaf.pool, prices, &leaf.leg, leaf.realised)?;
        Ok(fee.min(after.equity).max(0))
    }
}

fn fits_order(
    order: &Order,
    leaf: &Leaf,
    price: PriceTicks,
    instrument: InstrumentId,
) -> Result<()> {
    let bad = |limit: &str| Err(refuse(ErrorKind::BadFill, "order", order.id, limit));
    let same = (order.pool, order.instrument, order.leg) == (leaf.pool, instrument, leaf.leg.side)
        && (order.side == Side::Buy) == (leaf.lots > 0);
    if !same {
        return bad("is of another pool, leg, instrument or side");
    }
    if leaf.lots.abs() > order.lots {
        return bad("has fewer lots left than that");
    }
    if !order.accepts(price) {
        return bad("does not accept this price");
    }
    // After the trade the leg may not have grown, nor be on the other side.
    let before = leaf.leg.lots - leaf.lots;
    if order.reduce_only
        && (before == 0 || leaf.lots.abs() > before.abs() || (before > 0) == (leaf.lots > 0))
    {
        return bad("may only reduce the leg");
    }
    Ok(())
}

/// Whether a pool is no riskier than before: it requires no more, and covers no smaller a part of it. Cross-multiplied, so
/// that nothing is divided (dYdX).
pub(super) fn is_safer(before: &PoolMargin, after: &PoolMargin) -> bool {
    if after.maintenance > before.maintenance {
        return false;
    }
    if before.maintenance == 0 || after.maintenance == 0 {
        return after.equity >= before.equity.min(0);
    }
    let cover = crate::execution::fraction::compare(
        after.equity,
        after.maintenance,
        before.equity,
        before.maintenance,
    );
    cover.is_ge()
}

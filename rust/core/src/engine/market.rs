//! Events of the market and of the venue: prices, books, funding, fees, halts, another card.

use std::sync::Arc;

use super::event::{Scope, What};
use super::outcome::{Cancelled, Outcome};
use super::state::{Fee, Market, State, lost, positive, sum, taker_of};
use crate::data::{Book, CheckOn, Instrument, InstrumentId, Level, Venue};
use crate::margin::{Funding, Holdings, PoolId};
use crate::numbers::{Error, ErrorKind, MarkTicks, Rate, Result};

impl State {
    pub(super) fn market_data(&mut self, what: &What) -> Result<()> {
        match what {
            What::Mark { instrument, mark } => {
                self.listed(*instrument)?;
                let changes = self.watch.tick(*instrument, *mark)?;
                self.turn(changes);
            }
            What::AssetPrice { asset, price } => {
                self.asset_known(*asset)?;
                let worth = self.venue.asset(*asset)?;
                worth.price_ticks(i128::from(price.get()), "price")?;
                let changes = self.watch.tick_asset(*asset, *price)?;
                self.turn(changes);
            }
            What::Index { instrument, index } => {
                self.listed(*instrument)?.index = Some(*index);
            }
            What::SourcePrice { instrument, from, price } => {
                self.listed(*instrument)?.sources.insert(*from, *price);
            }
            What::Trade { instrument, price, .. } => {
                self.listed(*instrument)?.last = Some(*price);
            }
            What::BookSnapshot { instrument, update, bids, asks } => {
                self.listed(*instrument)?.book.snapshot(bids, asks, *update)?;
            }
            What::BookDelta { instrument, update, previous, bids, asks } => {
                self.listed(*instrument)?.book.delta(bids, asks, *update, *previous)?;
            }
            What::Block {} if self.venue.rules().check_on == CheckOn::Block => {
                let changes = self.watch.check()?;
                self.turn(changes);
            }
            _ => {}
        }
        Ok(())
    }

    /// A market that has not been delisted.
    fn listed(&mut self, instrument: InstrumentId) -> Result<&mut super::state::Market> {
        let market = self.market_mut(instrument)?;
        if market.delisted {
            let symbol = market.book.instrument().symbol();
            return Err(Error::new(ErrorKind::NotTrading, "instrument", symbol, "is delisted"));
        }
        Ok(market)
    }

    pub(super) fn venue_event(&mut self, what: &What, out: &mut Vec<Outcome>) -> Result<()> {
        match what {
            What::FundingRate { instrument, rate, longs_pay } => {
                self.listed(*instrument)?.funding = Some((*rate, *longs_pay));
                Ok(())
            }
            What::FundingSettlement { instrument, price } => {
                self.settle_funding(*instrument, *price, out)
            }
            What::Fees { instrument, taker, maker, rebate } => {
                for rate in [taker, maker] {
                    if *rate > Rate::ONE {
                        let limit = "must be at most 1";
                        return Err(Error::new(ErrorKind::OutOfRange, "fee", rate, limit));
                    }
                }
                let market = self.listed(*instrument)?;
                market.taker = Some(Fee { rate: *taker, rebate: false });
                market.maker = Some(Fee { rate: *maker, rebate: *rebate });
                Ok(())
            }
            What::InsuranceTopUp { asset, amount } => {
                self.asset_known(*asset)?;
                let amount = positive(*amount)?;
                let funds = self.funds_mut(*asset)?;
                let deposits = sum(funds.deposits, amount, "deposits")?;
                funds.insurance = sum(funds.insurance, amount, "insurance")?;
                funds.deposits = deposits;
                Ok(())
            }
            What::Halt { instrument } => self.halt(*instrument, true),
            What::Resume { instrument } => self.halt(*instrument, false),
            What::Delist { instrument, price } => self.delist(*instrument, *price, out),
            What::Card { scope, card } => self.new_card(*scope, card),
            What::Advice { pool, .. } => self.ledger().pool(*pool).map(drop),
            _ => Err(lost()),
        }
    }

    fn settle_funding(
        &mut self,
        instrument: InstrumentId,
        price: Option<MarkTicks>,
        out: &mut Vec<Outcome>,
    ) -> Result<()> {
        let market = self.trading(instrument)?;
        let symbol = || market.book.instrument().symbol().to_owned();
        let missing =
            |what: &str, limit: &str| Error::new(ErrorKind::MissingPrice, what, symbol(), limit);
        let (rate, longs_pay) =
            market.funding.ok_or_else(|| missing("funding", "no funding rate is in force yet"))?;
        let price = price.or_else(|| self.prices().mark(instrument));
        let price = price.ok_or_else(|| missing("price", "has no mark yet: give the price"))?;
        let asset = market.book.instrument().settlement();
        let payments = self.ledger().payments(instrument, Funding { price, rate, longs_pay })?;
        let paid = payments.iter().try_fold(0, |all, p| sum(all, p.quanta, "funding"))?;
        let dust = sum(self.funds(asset)?.dust, paid, "dust")?;
        let changes = self.watch.charge(asset, &payments)?;
        self.turn(changes);
        self.funds_mut(asset)?.dust = dust;
        let pools = u64::try_from(payments.len()).map_err(|_| lost())?;
        out.push(Outcome::FundingSettled { instrument, pools, paid });
        Ok(())
    }

    fn halt(&mut self, instrument: Option<InstrumentId>, on: bool) -> Result<()> {
        match instrument {
            None => self.halted = on,
            Some(id) => self.listed(id)?.halted = on,
        }
        Ok(())
    }

    /// Settles all positions of an instrument at a price; it does not trade again.
    fn delist(
        &mut self,
        instrument: InstrumentId,
        price: MarkTicks,
        out: &mut Vec<Outcome>,
    ) -> Result<()> {
        let of = Arc::clone(self.listed(instrument)?.book.instrument());
        let holds = |state: &Self, pool: &PoolId| {
            let legs = state.ledger().pool(*pool).map(crate::margin::Pool::legs);
            legs.is_ok_and(|legs| legs.iter().any(|leg| leg.instrument == instrument))
        };
        let all = (0..self.ledger().len()).map(PoolId::at);
        let mut holders: Vec<PoolId> = all.filter(|pool| holds(self, pool)).collect();
        self.by_name(&mut holders, |pool| *pool);
        // What each leg brings in is known before the first is touched.
        let mut settled = Vec::new();
        let mut dust = self.funds(of.settlement())?.dust;
        for pool in &holders {
            for leg in self.ledger().pool(*pool)?.legs() {
                if leg.instrument != instrument {
                    continue;
                }
                let overflow = || Error::overflow("settlement", of.symbol());
                let value = of.contract().value(i128::from(leg.lots), price.get());
                let value = value.ok_or_else(overflow)?;
                dust = sum(dust, -value, "dust")?;
                let brings = value.checked_sub(leg.cost).and_then(|v| v.checked_sub(leg.accrued));
                settled.push((*pool, *leg, brings.ok_or_else(overflow)?));
            }
        }
        let mut before = Vec::new();
        for pool in &holders {
            before.push((self.ledger().pool(*pool)?.clone(), self.watch.fires(*pool)));
        }
        let done = self.settle_legs(of.settlement(), &settled, &holders);
        if let Err(error) = done {
            for (pool, (saved, verdict)) in holders.iter().zip(&before) {
                self.watch.changing()?.restore(*pool, saved)?;
                self.watch.restored(*pool, *verdict)?;
            }
            self.turned.clear();
            return Err(error);
        }
        for order in self.orders.all().into_iter().filter(|o| o.instrument == instrument) {
            self.drop_order(order.id, Cancelled::Delisted, out)?;
        }
        for (pool, _, realised) in settled {
            out.push(Outcome::Settled { pool, instrument, realised });
        }
        self.funds_mut(of.settlement())?.dust = dust;
        let forced: Vec<u64> = self
            .forced
            .iter()
            .filter(|(_, (order, _))| order.instrument == instrument)
            .map(|(id, _)| *id)
            .collect();
        let market = self.market_mut(instrument)?;
        market.delisted = true;
        (market.long, market.short) = (0, 0);
        for order in forced {
            self.end_forced(order, None)?;
        }
        // Who owes and holds nothing more is settled as at the end of a liquidation.
        for pool in holders {
            let owes = self.ledger().assess(pool, self.prices())?.equity < 0;
            if owes && self.ledger().pool(pool)?.legs().iter().all(|leg| leg.lots == 0) {
                self.liquidations.entry(pool).or_default();
            }
        }
        Ok(())
    }

    fn settle_legs(
        &mut self,
        asset: crate::data::AssetId,
        settled: &[(PoolId, crate::margin::Leg, i128)],
        holders: &[PoolId],
    ) -> Result<()> {
        for (pool, leg, brings) in settled {
            let ledger = self.watch.changing()?;
            ledger.set_leg(*pool, leg.closed())?;
            ledger.add_balance(*pool, asset, *brings)?;
        }
        for pool in holders {
            if let Some(verdict) = self.watch.refresh(*pool)? {
                self.turned.push((*pool, verdict));
            }
        }
        Ok(())
    }

    /// Another card comes into force.
    fn new_card(&mut self, scope: Scope, card: &str) -> Result<()> {
        let venue = Arc::new(Venue::from_text(card)?);
        within_scope(&self.venue, &venue, scope)?;
        let mut books = Vec::new();
        for (market, instrument) in self.markets.iter().zip(venue.instruments()) {
            books.push(rebuilt(&market.book, instrument)?);
        }
        let changes = self.watch.set_venue(&venue)?;
        self.turn(changes);
        for (market, (book, old)) in
            self.markets.iter_mut().zip(books.into_iter().zip(self.venue.instruments()))
        {
            // A fee that an event has set stays in force.
            if market.taker == taker_of(old) {
                market.taker = taker_of(book.instrument());
            }
            market.book = book;
        }
        let listed = venue.instruments().iter().skip(self.markets.len());
        self.markets.extend(listed.map(Market::new));
        self.hashes.touch_all();
        self.card = card.into();
        self.venue = venue;
        Ok(())
    }
}

/// The same levels under another instrument of the same grids.
fn rebuilt(book: &Book, instrument: &Instrument) -> Result<Book> {
    let mut new = Book::new(Arc::new(instrument.clone()));
    if book.has_snapshot() {
        let [bids, asks] =
            [book.bids(), book.asks()].map(|side| side.levels().collect::<Vec<Level>>());
        new.snapshot(&bids, &asks, book.sequence())?;
    }
    Ok(new)
}

/// Refuses a card that changes more than it says.
fn within_scope(old: &Venue, new: &Venue, scope: Scope) -> Result<()> {
    let refuse = |field: &str| {
        let limit = format!("a change of {} may not change it", scope.name());
        Err(Error::new(ErrorKind::BadCard, field, new.name(), limit))
    };
    if old.name() != new.name() {
        let limit = format!("must be a card of {}", old.name());
        return Err(Error::new(ErrorKind::BadCard, "name", new.name(), limit));
    }
    let count = |venue: &Venue| venue.instruments().len();
    if scope != Scope::Listing && count(old) != count(new) {
        return refuse("instrument");
    }
    if scope == Scope::Rules {
        return Ok(());
    }
    if old.rules() != new.rules() {
        return refuse("rules");
    }
    if scope == Scope::Listing {
        let kept = new.instruments().get(..old.instruments().len());
        let as_it_was = kept == Some(old.instruments()) && old.assets() == new.assets();
        return if as_it_was { Ok(()) } else { refuse("instrument") };
    }
    if scope == Scope::Tiers && old.assets() != new.assets() {
        return refuse("asset");
    }
    if scope == Scope::Haircuts && old.instruments() != new.instruments() {
        return refuse("instrument");
    }
    Ok(())
}

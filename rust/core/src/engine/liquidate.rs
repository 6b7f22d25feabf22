//! The liquidation path: cancel, close against the book, backstop, insurance, deleverage, socialise.
//! `docs/spec/liquidation.md`.

use super::orders::FIRST_FORCED;
use super::outcome::{Cancelled, ForcedOrder, Gate, Outcome};
use super::state::{Liquidation, State, lost, sum};
use super::trade::traded;
use crate::data::policy::Close;
use crate::data::{AssetId, Instrument, InstrumentId, Side, TierBy, Tiers};
use crate::execution::{Counterparty, deleverage};
use crate::margin::{Holdings, Leg, LegSide, Payment, PoolId, PoolMargin};
use crate::numbers::limits::TICKS_MAX;
use crate::numbers::rounding::mul_div_floor;
use crate::numbers::{Lots, PriceTicks, Result};

/// Steps of one liquidation that one event may make before it waits for the next.
const STEPS_MAX: usize = 10_000;

/// Into so many parts a leg is cut to look for the fewest lots that cure.
const PARTS: i128 = 64;

/// What a step led to.
enum Step {
    /// Another is needed.
    Again,
    /// It waits.
    Waits,
    /// Nothing is left to do.
    Done,
}

impl State {
    /// Follows up verdicts that have changed, and goes on with liquidations that wait for nothing outside.
    pub(super) fn follow(&mut self, out: &mut Vec<Outcome>) -> Result<()> {
        if self.turned.is_empty() && self.liquidations.is_empty() {
            return Ok(());
        }
        loop {
            let mut turned = std::mem::take(&mut self.turned);
            self.by_name(&mut turned, |(pool, _)| *pool);
            for (pool, verdict) in &turned {
                self.watch.notes().touch(*pool);
                out.push(match verdict {
                    true => Outcome::Liquidatable { pool: *pool },
                    false => Outcome::Safe { pool: *pool },
                });
                if *verdict && !self.is_locked(*pool) && self.backstop != Some(*pool) {
                    self.begin(*pool, out)?;
                }
            }
            // The list is given back, so that its memory is used again.
            if self.turned.is_empty() {
                self.turned = turned;
                self.turned.clear();
            }
            self.go_on(out)?;
            if self.turned.is_empty() {
                return Ok(());
            }
        }
    }

    fn begin(&mut self, pool: PoolId, out: &mut Vec<Outcome>) -> Result<()> {
        out.push(Outcome::LiquidationStarted { pool });
        self.cancel_all(pool, Cancelled::Liquidation, out)?;
        self.liquidations.insert(pool, Liquidation::default());
        Ok(())
    }

    /// Makes the steps that are due, pool by pool.
    fn go_on(&mut self, out: &mut Vec<Outcome>) -> Result<()> {
        if self.liquidations.is_empty() {
            return Ok(());
        }
        let waits = |(_, own): &(&PoolId, &Liquidation)| own.order.is_none();
        let waiting = self.liquidations.iter().filter(waits);
        let mut waiting: Vec<_> =
            waiting.map(|(pool, own)| (*pool, own.missed.is_none())).collect();
        self.by_name(&mut waiting, |(pool, _)| *pool);
        // What a book did not take is deleveraged before others ask it again: a pool with an order out is nobody's counterparty.
        waiting.sort_by_key(|(_, asks)| *asks);
        for (pool, _) in waiting {
            for _ in 0..STEPS_MAX {
                // An order may be out by now, or the liquidation be over.
                if self.liquidations.get(&pool).is_none_or(|own| own.order.is_some()) {
                    break;
                }
                match self.step(pool, out)? {
                    Step::Again => {}
                    Step::Waits => break,
                    Step::Done => {
                        self.finish(pool, out)?;
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, pool: PoolId, out: &mut Vec<Outcome>) -> Result<Step> {
        let margin = self.ledger().assess(pool, self.prices())?;
        let Some(leg) = self.heaviest(pool)? else { return Ok(Step::Done) };
        if !margin.liquidatable && margin.equity >= 0 {
            return Ok(Step::Done);
        }
        let missed = self.liquidations.get(&pool).ok_or_else(lost)?.missed;
        let next = missed.map_or(leg.instrument, |(instrument, ..)| instrument);
        if self.trading(next).is_err() {
            return Ok(held(pool, Gate::Halted, out));
        }
        self.liquidations.get_mut(&pool).ok_or_else(lost)?.missed = None;
        if let Some((instrument, side, lots)) = missed {
            let leg = self.leg_of(pool, instrument, side)?;
            let lots = lots.min(leg.lots.abs());
            if lots > 0 {
                return self.deleverage(pool, &leg, lots, out);
            }
        }
        // Where the backstop may not hold what the pool does, the book is asked.
        if self.backstop_takes(pool, &margin)? && self.take_over(pool, out).is_ok() {
            return Ok(Step::Done);
        }
        self.force(pool, &leg, out)
    }

    /// The leg that requires the most; of equal ones the first.
    fn heaviest(&self, pool: PoolId) -> Result<Option<Leg>> {
        let mut found: Option<(i128, Leg)> = None;
        for leg in self.ledger().legs(pool)?.iter().filter(|leg| leg.lots != 0) {
            let required = self.ledger().leg_margin(pool, leg, self.prices())?.maintenance;
            if found.is_none_or(|(most, _)| required > most) {
                found = Some((required, *leg));
            }
        }
        Ok(found.map(|(_, leg)| leg))
    }

    /// Lets a leg, or a part of it, be closed outside.
    fn force(&mut self, pool: PoolId, leg: &Leg, out: &mut Vec<Outcome>) -> Result<Step> {
        let lots = self.close_size(pool, leg)?;
        let (asset, borne) = self.to_bear(pool, leg)?;
        let key = (leg.instrument, leg.side);
        // Past the last price any is accepted.
        let limit = self.ledger().closing_price(pool, key, self.prices(), borne);
        let of = self.venue.instrument(leg.instrument)?;
        let limit = limit.ok().and_then(|limit| limit.price).unwrap_or_else(|| any_price(leg, of));
        let order = FIRST_FORCED + self.forced_count;
        let order = ForcedOrder {
            order,
            pool,
            instrument: leg.instrument,
            leg: leg.side,
            side: if leg.lots > 0 { Side::Sell } else { Side::Buy },
            lots: Lots::new(i128::from(lots), "lots")?,
            limit: PriceTicks::new(i128::from(limit), "limit")?,
        };
        self.forced_count += 1;
        self.forced.insert(order.order, (order, lots));
        let own = self.liquidations.get_mut(&pool).ok_or_else(lost)?;
        (own.order, own.committed) = (Some(order.order), borne);
        debug_assert_eq!(asset, self.ledger().pool(pool)?.head().asset);
        out.push(Outcome::Forced(order));
        Ok(Step::Waits)
    }

    /// What the insurance fund bears of the loss on a leg of a pool that is worth less than nothing: as much as is free, up to the
    /// loss at the mark and the leg's requirement.
    fn to_bear(&self, pool: PoolId, leg: &Leg) -> Result<(AssetId, i128)> {
        let asset = self.ledger().pool(pool)?.head().asset;
        let key = (leg.instrument, leg.side);
        let Ok(plain) = self.ledger().closing_price(pool, key, self.prices(), 0) else {
            return Ok((asset, 0));
        };
        // Another asset's loss would have to be valued: it is not borne.
        let settles = self.venue.instrument(leg.instrument)?.settlement();
        if plain.allotted >= 0 || settles != asset {
            return Ok((asset, 0));
        }
        let committed = |(other, own): (&PoolId, &Liquidation)| {
            let same = self.ledger().pool(*other).is_ok_and(|pool| pool.head().asset == asset);
            if same { own.committed } else { 0 }
        };
        let committed: i128 = self.liquidations.iter().map(committed).sum();
        let free = (self.funds(asset)?.insurance - committed).max(0);
        let required = self.ledger().leg_margin(pool, leg, self.prices())?.maintenance;
        Ok((asset, free.min(sum(-plain.allotted, required, "loss")?)))
    }

    /// How much of a leg this step closes.
    fn close_size(&mut self, pool: PoolId, leg: &Leg) -> Result<i64> {
        let all = leg.lots.abs();
        match self.policy.close {
            Close::Full => Ok(all),
            Close::Staged { share, above, cooldown } => {
                let asset = self.venue.asset(self.ledger().pool(pool)?.head().asset)?;
                let worth = self.ledger().leg_margin(pool, leg, self.prices())?.notional;
                let now = self.time.unwrap_or(0);
                let recent = |last: i64| now.saturating_sub(last) < cooldown;
                // Worth more than so many quanta: where that is no number, it is not.
                let (num, den) = above.ratio(asset.quantum()).unwrap_or((i128::MAX, 1));
                let large = worth.checked_mul(den).is_none_or(|worth| worth > num);
                if !large || self.standing_mut(pool)?.staged.is_some_and(recent) {
                    return Ok(all);
                }
                self.standing_mut(pool)?.staged = Some(now);
                self.watch.notes().touch(pool);
                let part = share.of_ceil(i128::from(all)).and_then(|p| i64::try_from(p).ok());
                Ok(part.ok_or_else(lost)?.clamp(1, all))
            }
            Close::Minimal { initial } => self.fewest(pool, leg, initial),
            Close::StepDown { brackets } => self.stepped(leg, usize::from(brackets)),
        }
    }

    /// The fewest lots after which the pool is safe at the mark, fee included; all where none are.
    fn fewest(&self, pool: PoolId, leg: &Leg, initial: bool) -> Result<i64> {
        let of = self.venue.instrument(leg.instrument)?;
        let mark = self.prices().mark(leg.instrument).ok_or_else(lost)?.get();
        let enough = |lots: i64| -> Result<bool> {
            let signed = -lots * leg.lots.signum();
            let paid = of.contract().cost(i128::from(signed), mark).ok_or_else(lost)?;
            let (left, realised) = traded(leg, signed, paid, of.contract(), mark)?;
            let fee = self.policy.fee.of_ceil(paid.abs()).ok_or_else(lost)?;
            let after = self.ledger().assess_with(pool, self.prices(), &left, realised - fee)?;
            Ok(if initial {
                after.equity >= after.initial
            } else {
                !after.liquidatable && after.equity >= 0
            })
        };
        // With a fee a part may be enough where all is not: parts are tried from the smallest.
        let all = leg.lots.abs();
        let (mut few, mut many) = (0, None);
        for part in 1..=PARTS {
            let lots = i128::from(all) * part / PARTS;
            let lots = i64::try_from(lots).map_err(|_| lost())?.max(1);
            if enough(lots)? {
                many = Some(lots);
                break;
            }
            few = lots;
        }
        let Some(mut many) = many else { return Ok(all) };
        while many - few > 1 {
            let middle = few + (many - few) / 2;
            if enough(middle)? {
                many = middle;
            } else {
                few = middle;
            }
        }
        Ok(many)
    }

    /// As much as takes a leg so many brackets down.
    fn stepped(&self, leg: &Leg, down: usize) -> Result<i64> {
        let of = self.venue.instrument(leg.instrument)?;
        let all = leg.lots.abs();
        let Tiers::Brackets { by, brackets, .. } = of.tiers() else { return Ok(all) };
        let mark = self.prices().mark(leg.instrument).ok_or_else(lost)?.get();
        let key = |lots: i64| match by {
            TierBy::Size => Some(i128::from(lots)),
            TierBy::Notional => of.contract().worth(i128::from(lots), mark),
        };
        let here = key(all).ok_or_else(lost)?;
        let bracket = brackets.partition_point(|b| b.floor <= here).saturating_sub(1);
        let Some(floor) = (bracket + 1).checked_sub(down).and_then(|at| brackets.get(at)) else {
            return Ok(all);
        };
        if bracket < down {
            return Ok(all);
        }
        // The most that stays below the floor.
        let (mut fits, mut too_many) = (0, all);
        while too_many - fits > 1 {
            let middle = fits + (too_many - fits) / 2;
            if key(middle).is_some_and(|key| key < floor.floor) {
                fits = middle;
            } else {
                too_many = middle;
            }
        }
        Ok(all - fits)
    }

    pub(super) fn forced_fill(
        &mut self,
        id: u64,
        pool: PoolId,
        instrument: InstrumentId,
        fee: i128,
        lots: i64,
        out: &mut Vec<Outcome>,
    ) -> Result<()> {
        let (_, left) = self.forced.get_mut(&id).ok_or_else(lost)?;
        *left -= lots;
        let ended = *left == 0;
        let part = Lots::new(i128::from(lots), "lots")?;
        out.push(Outcome::ForcedFilled { order: id, pool, instrument, lots: part });
        if fee != 0 {
            let asset = self.venue.instrument(instrument)?.settlement();
            out.push(Outcome::LiquidationFee { pool, asset, amount: fee });
        }
        if ended {
            self.end_forced(id, None)?;
        }
        Ok(())
    }

    pub(super) fn forced_end(&mut self, id: u64) -> Result<()> {
        let Some((order, left)) = self.forced.get(&id).copied() else {
            let limit = "no such forced order is out";
            let kind = crate::numbers::ErrorKind::UnknownOrder;
            return Err(crate::numbers::Error::new(kind, "order", id, limit));
        };
        self.end_forced(id, Some((order.instrument, order.leg, left)))
    }

    /// A forced order is out no longer.
    pub(super) fn end_forced(
        &mut self,
        id: u64,
        missed: Option<(InstrumentId, LegSide, i64)>,
    ) -> Result<()> {
        let (order, _) = self.forced.remove(&id).ok_or_else(lost)?;
        let own = self.liquidations.get_mut(&order.pool).ok_or_else(lost)?;
        *own = Liquidation { order: None, committed: 0, missed };
        Ok(())
    }

    /// Closes a part of a leg against the other side, at its bankruptcy price.
    fn deleverage(
        &mut self,
        pool: PoolId,
        leg: &Leg,
        lots: i64,
        out: &mut Vec<Outcome>,
    ) -> Result<Step> {
        let key = (leg.instrument, leg.side);
        let price = self.ledger().closing_price(pool, key, self.prices(), 0);
        let of = self.venue.instrument(leg.instrument)?;
        let price = price.ok().and_then(|price| price.price).unwrap_or_else(|| any_price(leg, of));
        let price = PriceTicks::new(i128::from(price), "price")?;
        let mut others = self.counterparties(pool, leg)?;
        let closed = deleverage(self.policy.adl, lots, &mut others)?;
        let place = |((_, _, side, pool), lots): (_, i64)| ((pool, side), lots);
        let closed: Vec<((PoolId, LegSide), i64)> = closed.into_iter().map(place).collect();
        let mut any = false;
        for ((counterparty, side), lots) in closed {
            let (own, other) = ((pool, leg.side), (counterparty, side));
            let parties = if leg.lots > 0 { [other, own] } else { [own, other] };
            self.cross(leg.instrument, price, lots, parties, out)?;
            any = true;
            let lots = Lots::new(i128::from(lots), "lots")?;
            let instrument = leg.instrument;
            out.push(Outcome::Deleveraged { pool, counterparty, instrument, lots, price });
        }
        if any {
            return Ok(Step::Again);
        }
        // Nobody is there: the book is asked again with the next event.
        Ok(held(pool, Gate::NoCounterparty, out))
    }

    /// The legs of the other side that may be deleveraged: those with no forced order out.
    fn counterparties(&self, pool: PoolId, leg: &Leg) -> Result<Vec<Other<'_>>> {
        let mut found = Vec::new();
        for other in (0..self.ledger().len()).map(PoolId::at).filter(|other| *other != pool) {
            let busy = self.liquidations.get(&other).is_some_and(|own| own.order.is_some());
            let held = self.ledger().pool(other)?.legs().iter();
            let (account, name) = self.ledger().key(other)?;
            let opposite = |own: &&Leg| {
                own.instrument == leg.instrument
                    && (own.lots > 0) != (leg.lots > 0)
                    && own.lots != 0
            };
            for own in held.filter(opposite).filter(|_| !busy) {
                let margin = self.ledger().assess(other, self.prices())?;
                let m = self.ledger().leg_margin(other, own, self.prices())?;
                let backing =
                    mul_div_floor(margin.equity, m.maintenance, margin.maintenance.max(1));
                found.push(Counterparty {
                    key: (account, name, own.side, other),
                    lots: own.lots.abs(),
                    profit: m.pnl,
                    entry: own.cost.abs(),
                    value: m.notional,
                    backing: backing.ok_or_else(lost)?,
                });
            }
        }
        Ok(found)
    }

    fn backstop_takes(&self, pool: PoolId, margin: &PoolMargin) -> Result<bool> {
        let (Some(_), Some(backstop)) = (self.backstop, &self.policy.backstop) else {
            return Ok(false);
        };
        let below = backstop.below.of_floor(margin.maintenance).ok_or_else(lost)?;
        // What is worth less than nothing is not taken over.
        Ok(self.backstop != Some(pool) && margin.equity >= 0 && margin.equity < below)
    }

    /// Moves all that a pool holds to the backstop.
    fn take_over(&mut self, pool: PoolId, out: &mut Vec<Outcome>) -> Result<()> {
        let backstop = self.backstop.ok_or_else(lost)?;
        let pools = [pool, backstop];
        let legs = self.ledger().legs(pool)?;
        self.save(pools)?;
        let funds = self.funds.clone();
        let interest: Vec<_> = self.markets.iter().map(|m| (m.long, m.short)).collect();
        let moved = self.move_all(pool, backstop).and_then(|()| self.refresh(pools));
        if let Err(error) = moved {
            self.put_back(pools)?;
            self.funds = funds;
            for (market, (long, short)) in self.markets.iter_mut().zip(interest) {
                (market.long, market.short) = (long, short);
            }
            return Err(error);
        }
        out.push(Outcome::BackstopTookOver { pool, backstop });
        for leg in legs {
            let own = self.leg_of(backstop, leg.instrument, LegSide::Net)?;
            self.drop_idle(backstop, &own, out)?;
        }
        Ok(())
    }

    fn move_all(&mut self, pool: PoolId, to: PoolId) -> Result<()> {
        for leg in self.ledger().legs(pool)? {
            let of = std::sync::Arc::clone(self.market(leg.instrument)?.book.instrument());
            let mark = self.prices().mark(leg.instrument).ok_or_else(lost)?.get();
            // At its value: the profit or loss stays with the pool, and goes with its balance.
            let paid = of.contract().cost(i128::from(-leg.lots), mark).ok_or_else(lost)?;
            let (left, realised) = traded(&leg, -leg.lots, paid, of.contract(), mark)?;
            let old = self.leg_of(to, leg.instrument, LegSide::Net)?;
            let taken = of.contract().cost(i128::from(leg.lots), mark).ok_or_else(lost)?;
            let (new, gained) = traded(&old, leg.lots, taken, of.contract(), mark)?;
            let asset = of.settlement();
            let dust = sum(self.funds(asset)?.dust, paid + taken, "dust")?;
            let (before, after) = (old.lots, new.lots);
            let ledger = self.watch.changing()?;
            ledger.set_leg(pool, left.closed())?;
            ledger.add_balance(pool, asset, realised - leg.accrued)?;
            ledger.set_leg(to, new)?;
            ledger.add_balance(to, asset, gained)?;
            self.funds_mut(asset)?.dust = dust;
            let market = self.market_mut(leg.instrument)?;
            for (old, new) in [(leg.lots, 0), (before, after)] {
                let (old, new) = (i128::from(old), i128::from(new));
                market.long += new.max(0) - old.max(0);
                market.short += (-new).max(0) - (-old).max(0);
            }
        }
        for balance in self.ledger().balances(pool)? {
            let ledger = self.watch.changing()?;
            ledger.add_balance(pool, balance.asset, -balance.amount)?;
            ledger.add_balance(to, balance.asset, balance.amount)?;
        }
        Ok(())
    }

    /// The end of a liquidation: the insurance fund pays what the pool owes, the rest is socialised.
    fn finish(&mut self, pool: PoolId, out: &mut Vec<Outcome>) -> Result<()> {
        let flat = self.heaviest(pool)?.is_none();
        let margin = self.ledger().assess(pool, self.prices())?;
        if flat && margin.equity < 0 {
            self.cover(pool, -margin.equity, out)?;
        }
        let equity = self.ledger().assess(pool, self.prices())?.equity;
        self.liquidations.remove(&pool);
        out.push(Outcome::LiquidationFinished { pool, equity });
        // Where the card does not check on each price the verdict may be older than this: as after any change of its holdings, the
        // pool is looked at now, so that the next check that fires turns it again.
        if self.liquidatable().get(pool.index()) == Some(&true) {
            self.watch.changing()?;
            self.refresh_one(pool)?;
        }
        Ok(())
    }

    fn cover(&mut self, pool: PoolId, loss: i128, out: &mut Vec<Outcome>) -> Result<()> {
        let asset = self.ledger().pool(pool)?.head().asset;
        let paid = loss.min(self.funds(asset)?.insurance.max(0));
        if paid > 0 {
            self.charge(asset, &[Payment { pool, quanta: -paid }])?;
            self.funds_mut(asset)?.insurance -= paid;
            out.push(Outcome::InsurancePaid { pool, asset, amount: paid });
        }
        self.socialise(pool, asset, loss - paid, out)
    }

    /// Takes a loss from those who have an unrealised profit in the asset, in proportion to it: rounded up, in order of names, and none
    /// more than its profit.
    fn socialise(
        &mut self,
        pool: PoolId,
        asset: AssetId,
        loss: i128,
        out: &mut Vec<Outcome>,
    ) -> Result<()> {
        if loss <= 0 {
            return Ok(());
        }
        let mut profits = Vec::new();
        for other in (0..self.ledger().len()).map(PoolId::at) {
            if other == pool || self.is_locked(other) {
                continue;
            }
            let mut profit = 0_i128;
            for leg in self.ledger().pool(other)?.legs() {
                let settles = self.venue.instrument(leg.instrument)?.settlement();
                if leg.lots != 0 && settles == asset {
                    let m = self.ledger().leg_margin(other, leg, self.prices())?;
                    profit = sum(profit, m.pnl, "profit")?;
                }
            }
            if profit > 0 {
                profits.push((other, profit));
            }
        }
        self.by_name(&mut profits, |(other, _)| *other);
        let all = profits.iter().try_fold(0, |all, (_, p)| sum(all, *p, "profit"))?;
        let mut rest = loss;
        for (payer, profit) in profits {
            let part = mul_div_floor(-profit, loss.min(all), all).map(|part| -part);
            let amount = part.ok_or_else(lost)?.min(rest).min(profit);
            if amount > 0 {
                self.charge(asset, &[Payment { pool: payer, quanta: amount }])?;
                rest -= amount;
                out.push(Outcome::Socialised { pool, payer, asset, amount });
            }
        }
        // What nobody could be made to bear is the venue's: it is written down, not away.
        self.charge(asset, &[Payment { pool, quanta: -loss }])?;
        let funds = self.funds_mut(asset)?;
        funds.uncovered = sum(funds.uncovered, rest, "uncovered")?;
        Ok(())
    }
}

/// A liquidation waits for a gate. It is told once an event.
fn held(pool: PoolId, gate: Gate, out: &mut Vec<Outcome>) -> Step {
    let told = Outcome::LiquidationHeld { pool, gate };
    if !out.contains(&told) {
        out.push(told);
    }
    Step::Waits
}

/// A position of the other side, by the names of its pool.
type Other<'a> = Counterparty<(&'a str, &'a str, LegSide, PoolId)>;

/// The price that accepts any: where no price loses what is allotted, or every price does.
fn any_price(leg: &Leg, of: &Instrument) -> i64 {
    if leg.lots > 0 { 1 } else { TICKS_MAX / of.marks_per_price().max(1) }
}

//! One pool at the prices in force: its verdict, and a certificate around them.

use crate::data::Contract;
use crate::numbers::limits::QUANTA_MAX;
use crate::numbers::{Error, Result};

use super::super::assess::{assess_here, is_liquidatable};
use super::super::holdings::Holdings;
use super::super::portfolio::PoolId;
use super::general::{Curve, asset_place, places};
use super::plain::{Aim, Law, coin_bound};
use super::records::{Entry, Kind, SHARED};
use super::{AHEAD, Changes, Scratch, Watch, broken, index};

/// Quanta per tick of all legs of a plain pool with their orders filled, at the most.
#[allow(clippy::as_conversions)] // wider
pub(super) const PLAIN_MOST: i128 = i64::MAX as i128 / 4;

impl<H: Holdings> Watch<H> {
    /// Finds the verdicts of some pools anew, by where their records start; after an error, how many were found before it.
    pub(super) fn look_at(
        &mut self,
        starts: &[u32],
    ) -> std::result::Result<Changes, (Error, usize)> {
        let mut changes = Changes::default();
        for start in starts.iter().take(AHEAD) {
            self.records.read_ahead(*start);
        }
        for (done, start) in starts.iter().enumerate() {
            if let Some(start) = starts.get(done + AHEAD) {
                self.records.read_ahead(*start);
            }
            let (pool, verdict) = self.look(*start).map_err(|error| (error, done))?;
            if let Some(old) = self.verdicts.get_mut(pool).filter(|old| **old != verdict) {
                *old = verdict;
                changes.push(PoolId(pool), verdict);
            }
        }
        changes.liquidatable.sort_unstable();
        changes.safe.sort_unstable();
        self.touched = starts.len();
        Ok(changes)
    }

    /// A pool and the verdict on it at the prices in force, and a certificate around them.
    pub(super) fn look(&mut self, start: u32) -> Result<(usize, bool)> {
        let Self { portfolio, prices, records, slots, laws, scratch, .. } = self;
        let Scratch { look, certificate, .. } = scratch;
        let (head, entries) = records.get(start).ok_or_else(broken)?;
        let pool = index(head.pool);
        for entry in entries {
            // They are written at the end: by then they are here.
            if let Some(slots) = slots.get(index(entry.price)) {
                slots.read_ahead(entry.slot);
            }
        }
        let strict = portfolio.venue().rules().strict;
        let mut verdict = None;
        if head.kind == Kind::Plain
            && let Some(sums) = look.assess(head.cash, entries, laws, |at| prices.ticks(at))
        {
            let (equity, maintenance) = (i128::from(sums.equity), i128::from(sums.maintenance));
            let fires = i64::from(!strict);
            let found = is_liquidatable(equity, maintenance, strict);
            let aim = Aim { liquidatable: found, fires };
            let certified = look.certify(laws, sums, aim, certificate);
            verdict = certified.map(|()| found);
        }
        let verdict = if let Some(verdict) = verdict {
            verdict
        } else {
            let margin = assess_here(&*portfolio, PoolId(pool), prices)?;
            let of_slots = entries.iter().filter(|entry| entry.slot != SHARED);
            let places: Vec<u32> = of_slots.map(|entry| entry.price).collect();
            let curve = Curve::of(portfolio, prices, PoolId(pool), &places)?;
            curve.certify(&margin, strict, certificate);
            margin.liquidatable
        };
        let own = entries.iter().filter(|entry| entry.slot != SHARED);
        for (entry, interval) in own.zip(&certificate.intervals) {
            let place = index(entry.price);
            let slots = slots.get_mut(place).ok_or_else(broken)?;
            slots.admit(prices.ticks(place).ok_or_else(broken)?);
            slots.set(entry.slot, *interval);
        }
        records.set_slack(start, certificate.slack);
        Ok((pool, verdict))
    }

    /// Writes a pool's record, with a slot for each of its prices; where it is.
    pub(super) fn enrol(&mut self, pool: usize) -> Result<u32> {
        let mut entries = std::mem::take(&mut self.scratch.entries);
        let id = PoolId(pool);
        entries.clear();
        let plain = plain_entries(&self.portfolio, &self.laws, id, &mut entries)?;
        if plain.is_none() {
            entries.clear();
            let entry = |price| Entry { amount: 0, price, slot: 0 };
            entries.extend(places(&self.portfolio, id)?.into_iter().map(entry));
        }
        let mut held = std::mem::take(&mut self.scratch.held);
        held.clear();
        let before = self.records.start(pool);
        if let Some(start) = before {
            let (_, known) = self.records.get(start).ok_or_else(broken)?;
            held.extend(known.iter().filter(|entry| entry.slot != SHARED));
        }
        let (mut last, mut taken) = (None, false);
        for entry in &mut entries {
            if last == Some(entry.price) {
                entry.slot = SHARED;
                continue;
            }
            last = Some(entry.price);
            let known = held.iter().position(|own| own.price == entry.price);
            entry.slot = if let Some(at) = known {
                held.swap_remove(at).slot
            } else {
                let slots = self.slots.get_mut(index(entry.price)).ok_or_else(broken)?;
                taken = true;
                slots.take(0).ok_or_else(broken)?
            };
        }
        for gone in held.drain(..) {
            self.slots.get_mut(index(gone.price)).ok_or_else(broken)?.give(gone.slot);
        }
        let kind = if plain.is_some() { Kind::Plain } else { Kind::General };
        let owner = u32::try_from(pool).map_err(|_| broken())?;
        let start = self.records.set(owner, kind, plain.unwrap_or(0), &entries);
        let start = start.ok_or_else(broken)?;
        if taken || before != Some(start) {
            for entry in entries.iter().filter(|entry| entry.slot != SHARED) {
                self.slots.get_mut(index(entry.price)).ok_or_else(broken)?.own(entry.slot, start);
            }
        }
        (self.scratch.entries, self.scratch.held) = (entries, held);
        Ok(start)
    }
}

/// The entries of a pool whose gap is a sum of lines, sorted by price, and its cash; none for any other.
pub(super) fn plain_entries<H: Holdings>(
    portfolio: &H,
    laws: &[Law],
    pool: PoolId,
    into: &mut Vec<Entry>,
) -> Result<Option<i64>> {
    let (head, venue) = (portfolio.head(pool)?, portfolio.venue());
    let (mut cash, mut most) = (0_i128, 0_i128);
    let mut plain = true;
    portfolio.each_row(pool, |balance, legs| {
        let amount = balance.amount.saturating_sub(balance.interest);
        if !head.multi || balance.asset == head.asset {
            cash = cash.saturating_add(amount);
        } else if amount != 0 {
            let price = asset_place(portfolio, balance.asset)?;
            match (i64::try_from(amount), laws.get(index(price))) {
                // At no price may it be past the bounds: the watch would not see it.
                (Ok(amount), Some(Law::Coin(asset)))
                    if coin_bound(asset, amount).is_some_and(|b| b <= QUANTA_MAX / 1_024) =>
                {
                    into.push(Entry { amount, price, slot: 0 });
                }
                _ => plain = false,
            }
        }
        for leg in legs {
            let instrument = venue.instrument(leg.instrument)?;
            let own = !head.multi || instrument.settlement() == head.asset;
            let line = matches!(laws.get(leg.instrument.index()), Some(Law::Line(_)));
            let Contract::Linear { unit } = instrument.contract() else {
                plain = false;
                break;
            };
            let Some(amount) = leg.lots.checked_mul(unit).filter(|_| own && line) else {
                plain = false;
                break;
            };
            most = most.saturating_add(leg.exposure().saturating_mul(i128::from(unit)));
            if !leg.is_held() {
                continue;
            }
            cash = cash.saturating_sub(leg.cost).saturating_sub(leg.accrued);
            into.push(Entry { amount, price: leg.instrument.0, slot: 0 });
        }
        Ok(())
    })?;
    into.sort_unstable_by_key(|entry| entry.price);
    // Neither may the sums of all legs, with the orders filled.
    Ok(i64::try_from(cash).ok().filter(|_| plain && most <= PLAIN_MOST))
}

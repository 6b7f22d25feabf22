//! One leg of a pool changes: its certificate stands but for that leg's interval, as far as its slack pays for it.

use crate::data::{CheckOn, Contract, Instrument};
use crate::numbers::Result;

use super::super::holdings::Holdings;
use super::super::ledger::{Ledger, Pool};
use super::super::leg::{Leg, LegSide};
use super::super::portfolio::PoolId;
use super::look::PLAIN_MOST;
use super::plain::{Aim, exchanged};
use super::records::{Entry, Kind};
use super::{Watch, index};

impl Watch<Ledger> {
    /// [`Watch::refresh`] of a pool of which one leg has changed, and the balance that it settles in by what was paid in.
    pub(crate) fn refresh_leg(
        &mut self,
        pool: PoolId,
        [before, after]: [&Leg; 2],
        paid: i128,
    ) -> Result<Option<bool>> {
        match self.shift(pool, [before, after], paid) {
            Some(()) => Ok(None),
            None => self.refresh(pool),
        }
    }

    /// Keeps the certificate of a safe pool; none where it has to be looked at.
    fn shift(&mut self, id: PoolId, [before, after]: [&Leg; 2], paid: i128) -> Option<()> {
        let rules = self.portfolio.venue().rules();
        let at_rest = self.moved.is_empty() && self.pending.is_empty() && self.behind.is_empty();
        if !at_rest || rules.check_on != CheckOn::Mark || !self.handed_over.is_empty() {
            return None;
        }
        let pool = self.portfolio.pool(id).ok()?;
        let place = after.instrument.index();
        let instrument = self.portfolio.venue().instruments().get(place)?;
        let Contract::Linear { unit } = instrument.contract() else { return None };
        let odd = |leg: &Leg| leg.side != LegSide::Net || (leg.lots == 0 && leg.is_held());
        if *self.verdicts.get(id.0)?
            || instrument.settlement() != pool.head().asset
            || odd(before)
            || odd(after)
            || !self.is_bounded(pool)
        {
            return None;
        }
        let start = self.records.start(id.0)?;
        let (head, entries) = self.records.get(start)?;
        // A pool without a position has no slack that would mean anything.
        let count = self.portfolio.venue().instruments().len();
        let holds = |entry: &Entry| entry.amount != 0 && index(entry.price) < count;
        if head.kind != Kind::Plain || !entries.iter().any(holds) {
            return None;
        }
        let amounts = [before.lots.checked_mul(unit)?, after.lots.checked_mul(unit)?];
        let owed = |leg: &Leg| leg.cost.checked_add(leg.accrued);
        let gained = paid.checked_add(owed(before)?)?.checked_sub(owed(after)?)?;
        let gained = i64::try_from(gained).ok()?;
        let (cash, slack) = (head.cash.checked_add(gained)?, head.slack.checked_add(gained)?);
        let at = entries.partition_point(|entry| index(entry.price) < place);
        let own = entries.get(at).filter(|entry| index(entry.price) == place);
        let slots = self.slots.get(place)?;
        let interval = own.map(|entry| slots.get(entry.slot));
        let interval = if before.lots == 0 { None } else { Some(interval??) };
        let (law, ticks) = (self.laws.get(place)?, self.prices.ticks(place)?);
        let aim = Aim { liquidatable: false, fires: i64::from(!rules.strict) };
        let (slack, interval) = exchanged(law, ticks, amounts, interval, slack, aim)?;
        let own = own.copied();
        let slot = match own {
            Some(entry) if after.lots != 0 => {
                self.records.set_amount(start, at, amounts[1]);
                entry.slot
            }
            // Only what remains of the pool tells whether a position does.
            Some(_) if entries.iter().filter(|entry| holds(entry)).count() < 2 => return None,
            Some(entry) => {
                self.rewrite(id, start, at, None)?;
                self.slots.get_mut(place)?.give(entry.slot);
                entry.slot
            }
            None => {
                let slot = self.slots.get_mut(place)?.take(start)?;
                let new = Entry { amount: amounts[1], price: after.instrument.0, slot };
                self.rewrite(id, start, at, Some(new))?;
                slot
            }
        };
        self.records.set_cash(self.records.start(id.0)?, cash, slack);
        if let Some(interval) = interval {
            let slots = self.slots.get_mut(place)?;
            slots.admit(ticks);
            slots.set(slot, interval);
        }
        Some(())
    }

    /// Puts an entry into a record, or takes the one at that place out.
    fn rewrite(&mut self, id: PoolId, start: u32, at: usize, new: Option<Entry>) -> Option<()> {
        let Self { records, slots, scratch, .. } = self;
        let (head, known) = records.get(start)?;
        let entries = &mut scratch.entries;
        entries.clear();
        entries.extend_from_slice(known);
        match new {
            Some(entry) => entries.insert(at, entry),
            None => drop(entries.remove(at)),
        }
        let moved = records.set(head.pool, head.kind, head.cash, entries)?;
        debug_assert_eq!(records.start(id.0), Some(moved));
        if moved != start {
            for entry in entries.iter() {
                slots.get_mut(index(entry.price))?.own(entry.slot, moved);
            }
        }
        Some(())
    }

    /// Whether no price can take a pool past the bounds, were all its orders filled.
    fn is_bounded(&self, pool: &Pool) -> bool {
        let instruments = self.portfolio.venue().instruments();
        let mut most = 0_i128;
        pool.legs().iter().all(|leg| {
            let of = instruments.get(leg.instrument.index());
            let Some(Contract::Linear { unit }) = of.map(Instrument::contract) else {
                return false;
            };
            most = most.saturating_add(leg.exposure().saturating_mul(i128::from(unit)));
            most <= PLAIN_MOST
        })
    }
}

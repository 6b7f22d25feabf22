//! What time does to a watch: funding that falls due, and checks that a card makes at fixed times.

use std::collections::BTreeMap;

use crate::data::{CheckOn, InstrumentId};
use crate::numbers::{Error, ErrorKind, Result};

use super::super::funding::Funding;
use super::super::holdings::Holdings;
use super::{Changes, Watch, broken};

/// The time, and what is due.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock {
    /// Milliseconds since any epoch; none before the first is told.
    pub(super) now: Option<i64>,
    /// Settlements by time and instrument.
    due: BTreeMap<(i64, InstrumentId), Funding>,
}

impl<H: Holdings> Watch<H> {
    /// The time that was last told, in milliseconds.
    #[must_use]
    pub fn now(&self) -> Option<i64> {
        self.clock.now
    }

    /// Announces a funding settlement: [`Watch::advance`] makes it when its time has come. One that was announced for the same
    /// instrument and time before is replaced.
    ///
    /// # Errors
    /// `out_of_range` for a time that has passed.
    pub fn schedule_funding(
        &mut self,
        time: i64,
        instrument: InstrumentId,
        funding: Funding,
    ) -> Result<()> {
        self.portfolio().venue().instrument(instrument)?;
        self.not_before(time)?;
        self.clock.due.insert((time, instrument), funding);
        Ok(())
    }

    fn not_before(&self, time: i64) -> Result<()> {
        match self.clock.now {
            Some(now) if time < now => {
                let limit = format!("time does not go back: it is {now} ms");
                Err(Error::new(ErrorKind::OutOfRange, "time", time, limit))
            }
            _ => Ok(()),
        }
    }

    /// Time goes on: funding that is due is settled, in order of time and instrument, and checks that fall in between are made,
    /// each with what was settled by then. Who was told nothing at first may change twice: what is told is the difference.
    ///
    /// # Errors
    /// `out_of_range` for a time that has passed; those of [`Watch::settle_funding`] and [`Watch::check`]. What was due
    /// before has been done then, and the time is that of what could not.
    pub fn advance(&mut self, time: i64) -> Result<Changes> {
        self.not_before(time)?;
        let mut changes = Changes::default();
        while let Some(due) = self.clock.due.first_entry().filter(|due| due.key().0 <= time) {
            let (at, instrument) = *due.key();
            let funding = *due.get();
            changes.then(self.reach(at - 1)?);
            self.clock.now = Some(at.max(self.clock.now.unwrap_or(at)));
            changes.then(self.settle_funding(instrument, funding)?);
            self.clock.due.remove(&(at, instrument));
            // A check of the same time is after it.
            self.clock.now = Some(at - 1);
        }
        changes.then(self.reach(time)?);
        Ok(changes)
    }

    /// Makes the check that falls between the last time and this one, if one does.
    fn reach(&mut self, time: i64) -> Result<Changes> {
        let before = self.clock.now;
        if before.is_some_and(|before| time < before) {
            return Ok(Changes::default());
        }
        let due = match self.portfolio().venue().rules().check_on {
            CheckOn::Every(every) => {
                let passed = |time: i64| time.checked_div_euclid(every).ok_or_else(broken);
                match before {
                    Some(before) => passed(time)? > passed(before)?,
                    None => time.checked_rem_euclid(every) == Some(0),
                }
            }
            CheckOn::Mark | CheckOn::Block => false,
        };
        let changes = if due { self.check()? } else { Changes::default() };
        self.clock.now = Some(time);
        Ok(changes)
    }
}

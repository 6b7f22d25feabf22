//! What is held back after a restart until every price is fresh. `docs/spec/pricing.md`, "Restart".

use super::validity::Action;
use crate::numbers::{Error, ErrorKind, Result};

/// The most prices that a gate waits for.
pub const PRICES_MAX: usize = 1 << 16;

/// Holds actions back after a restart, until every price that is used was told since and is fresh. Times in milliseconds.
///
/// ```
/// # use aivora::pricing::{restart::RestartGate, validity::Action};
/// let mut gate = RestartGate::new(2, 5_000)?;
/// gate.restart(100_000)?;
/// gate.observe(0, 100_200)?;
/// assert!(!gate.permits(Action::Liquidate));   // the other price is of before
/// gate.observe(1, 100_400)?;
/// assert!(gate.permits(Action::Liquidate));
/// # Ok::<(), aivora::numbers::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartGate {
    fresh: i64,
    since: Option<i64>,
    told: Vec<Option<i64>>,
    open: bool,
}

impl RestartGate {
    /// A gate for so many prices, open until the first restart.
    ///
    /// # Errors
    /// `out_of_range` for no price, too many, or an age that is not above 0.
    pub fn new(prices: usize, fresh: i64) -> Result<Self> {
        if !(1..=PRICES_MAX).contains(&prices) {
            let limit = format!("must be 1 to {PRICES_MAX}");
            return Err(Error::new(ErrorKind::OutOfRange, "prices", prices, limit));
        }
        if fresh <= 0 {
            return Err(Error::new(ErrorKind::OutOfRange, "fresh_ms", fresh, "must be above 0"));
        }
        Ok(Self { fresh, since: None, told: vec![None; prices], open: true })
    }

    /// Trading stopped, and goes on from this time: what was told before does not count.
    ///
    /// # Errors
    /// `stale_event` for a time before the last restart.
    pub fn restart(&mut self, time: i64) -> Result<()> {
        if let Some(since) = self.since.filter(|since| time < *since) {
            let limit = format!("time does not go back: the last restart was at {since} ms");
            return Err(Error::new(ErrorKind::StaleEvent, "time", time, limit));
        }
        (self.since, self.open) = (Some(time), false);
        Ok(())
    }

    /// A price is told.
    ///
    /// # Errors
    /// `out_of_range` for a price that there is none of; `stale_event` for a time before its last.
    pub fn observe(&mut self, price: usize, time: i64) -> Result<()> {
        let most = self.told.len();
        let known = self.told.get_mut(price).ok_or_else(|| {
            Error::new(ErrorKind::OutOfRange, "price", price, format!("must be below {most}"))
        })?;
        if let Some(last) = known.filter(|last| time < *last) {
            let limit = format!("time does not go back: its last is of {last} ms");
            return Err(Error::new(ErrorKind::StaleEvent, "time", time, limit));
        }
        *known = Some(time);
        self.open = self.open || self.told.iter().all(|told| self.is_fresh(*told, time));
        Ok(())
    }

    /// Whether a price is told since the restart, and fresh.
    fn is_fresh(&self, told: Option<i64>, now: i64) -> bool {
        told.is_some_and(|time| {
            self.since.is_none_or(|since| time >= since) && now.saturating_sub(time) <= self.fresh
        })
    }

    /// The prices that the gate waits for.
    #[must_use]
    pub fn waiting(&self, now: i64) -> Vec<usize> {
        if self.open {
            return Vec::new();
        }
        let all = self.told.iter().enumerate();
        all.filter(|(_, told)| !self.is_fresh(**told, now)).map(|(place, _)| place).collect()
    }

    /// Whether an action may be taken. The gate opens with the price by which all are fresh at once, and stays open until the next
    /// restart; an average may be taken at any time, as it is what prices become valid by.
    #[must_use]
    pub fn permits(&self, action: Action) -> bool {
        self.open || action == Action::Average
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_gate_opens_when_all_are_fresh_at_once() {
        let mut gate = RestartGate::new(2, 10).unwrap();
        assert!(gate.permits(Action::Fill));
        gate.observe(0, 99).unwrap();
        gate.restart(100).unwrap();
        gate.observe(0, 100).unwrap();
        assert_eq!(gate.waiting(105), [1]);
        gate.observe(1, 111).unwrap();
        assert_eq!(gate.waiting(111), [0]); // the first is stale by now
        assert!(!gate.permits(Action::Withdraw));
        assert!(gate.permits(Action::Average));
        gate.observe(0, 112).unwrap();
        assert!(gate.permits(Action::Liquidate)); // until the next restart
        gate.restart(1_000).unwrap();
        assert!(!gate.permits(Action::Liquidate));
    }

    #[test]
    fn what_cannot_be_is_refused_and_changes_nothing() {
        assert!(RestartGate::new(0, 10).is_err());
        assert!(RestartGate::new(1, 0).is_err());
        let mut gate = RestartGate::new(1, 10).unwrap();
        gate.restart(5).unwrap();
        gate.observe(0, 7).unwrap();
        let before = gate.clone();
        assert_eq!(gate.restart(4).unwrap_err().kind(), ErrorKind::StaleEvent);
        assert_eq!(gate.observe(0, 6).unwrap_err().kind(), ErrorKind::StaleEvent);
        assert_eq!(gate.observe(1, 8).unwrap_err().kind(), ErrorKind::OutOfRange);
        assert_eq!(gate, before);
    }
}

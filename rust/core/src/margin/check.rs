//! The check: who can pay, who cannot, all pools at once.

use crate::numbers::limits::THREADS_MAX;
use crate::numbers::{Canonical, Digest, Error, ErrorKind, Result};
use crate::pricing::Prices;

use super::portfolio::Portfolio;

/// A column of amounts: 64-bit integers, and the few rows that need more beside them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Column {
    lanes: Vec<i64>,
    wide: Vec<(usize, i128)>,
}

impl Column {
    fn push(&mut self, row: usize, value: i128) {
        let narrow = i64::try_from(value);
        self.lanes.push(narrow.unwrap_or(0));
        if narrow.is_err() {
            self.wide.push((row, value));
        }
    }

    /// The amount in a row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<i128> {
        match self.wide.binary_search_by_key(&row, |(r, _)| *r) {
            Ok(place) => self.wide.get(place).map(|(_, v)| *v),
            Err(_) => self.lanes.get(row).copied().map(i128::from),
        }
    }

    /// All rows as 64-bit integers, when they fit.
    #[must_use]
    pub fn narrow(&self) -> Option<&[i64]> {
        self.wide.is_empty().then_some(&self.lanes)
    }

    /// The same, taken out.
    ///
    /// # Errors
    /// The column itself when a row does not fit.
    pub fn into_narrow(self) -> std::result::Result<Vec<i64>, Self> {
        if self.wide.is_empty() { Ok(self.lanes) } else { Err(self) }
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = i128> + '_ {
        let mut wide = self.wide.iter().peekable();
        self.lanes.iter().enumerate().map(move |(row, lane)| match wide.peek() {
            Some((r, value)) if *r == row => {
                wide.next();
                *value
            }
            _ => i128::from(*lane),
        })
    }
}

/// What a batch check found: one row a pool, in the portfolio's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Equity in quanta.
    pub equity: Column,
    /// Initial requirement in quanta.
    pub initial: Column,
    /// Maintenance requirement in quanta.
    pub maintenance: Column,
    /// [`Status`] codes.
    pub status: Vec<u8>,
    /// Whether the liquidation check fires.
    pub liquidatable: Vec<bool>,
}

impl Report {
    /// The digest of all columns, beside those of what they were computed from.
    #[must_use]
    pub fn digest(&self, portfolio: Digest, prices: Digest) -> Digest {
        let mut c = Canonical::of("aivora-report/1");
        c.text(&portfolio.to_string()).text(&prices.to_string()).length(self.status.len());
        for column in [&self.equity, &self.initial, &self.maintenance] {
            for amount in column.iter() {
                c.int(amount);
            }
        }
        for (status, liquidatable) in self.status.iter().zip(&self.liquidatable) {
            c.int(*status).int(*liquidatable);
        }
        c.digest()
    }
}

impl Portfolio {
    /// Every pool at the prices. The result does not depend on the number of threads.
    ///
    /// # Errors
    /// `missing_price` for a held instrument without a mark; `overflow`; `out_of_range` for the threads.
    pub fn check(&self, prices: &Prices, threads: usize) -> Result<Report> {
        self.check_venue(prices)?;
        if threads == 0 || threads > THREADS_MAX {
            let limit = format!("must be 1 to {THREADS_MAX}");
            return Err(Error::new(ErrorKind::OutOfRange, "threads", threads, limit));
        }
        self.check_marks(prices)?;
        let mut columns = [Column::default(), Column::default(), Column::default()];
        let (mut status, mut liquidatable) = (Vec::new(), Vec::new());
        for pool in self.pools() {
            let m = self.assess_here(pool, prices)?;
            for (column, value) in columns.iter_mut().zip([m.equity, m.initial, m.maintenance]) {
                column.push(pool.index(), value);
            }
            status.push(m.status.code());
            liquidatable.push(m.liquidatable);
        }
        let [equity, initial, maintenance] = columns;
        Ok(Report { equity, initial, maintenance, status, liquidatable })
    }
}

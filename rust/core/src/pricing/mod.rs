//! Floor 2: which price counts for what. Version 0 holds the mark of each instrument.

use std::sync::Arc;

use crate::data::{InstrumentId, Venue};
use crate::numbers::{Canonical, Digest, Error, MarkTicks, Result};

/// The prices in force on one venue: a mark for each instrument that has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    venue: Arc<Venue>,
    marks: Vec<Option<MarkTicks>>,
}

impl Prices {
    /// No prices yet.
    #[must_use]
    pub fn new(venue: Arc<Venue>) -> Self {
        let marks = vec![None; venue.instruments().len()];
        Self { venue, marks }
    }

    /// The venue they belong to.
    #[must_use]
    pub fn venue(&self) -> &Arc<Venue> {
        &self.venue
    }

    /// Sets the mark of an instrument.
    ///
    /// # Errors
    /// `invariant_broken` for a place of another venue.
    pub fn set_mark(&mut self, id: InstrumentId, mark: MarkTicks) -> Result<()> {
        let slot = self.marks.get_mut(id.index());
        *slot.ok_or_else(|| Error::invariant("instrument place"))? = Some(mark);
        Ok(())
    }

    /// The mark of an instrument, if it has one.
    #[must_use]
    pub fn mark(&self, id: InstrumentId) -> Option<MarkTicks> {
        self.marks.get(id.index()).copied().flatten()
    }

    /// The digest of the venue's card and all marks (0 where there is none).
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut c = Canonical::of("aivora-prices/0");
        c.text(&self.venue.digest().to_string()).length(self.marks.len());
        for mark in &self.marks {
            c.int(mark.map_or(0, MarkTicks::get));
        }
        c.digest()
    }
}

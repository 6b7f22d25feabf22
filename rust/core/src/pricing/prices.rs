//! Floor 2: which price counts for what. Today: the mark of each instrument, and the price of each asset that a pool
//! of several assets is valued by.

use std::sync::Arc;

use crate::data::{AssetId, InstrumentId, Venue};
use crate::numbers::{Canonical, Digest, Error, MarkTicks, PriceTicks, Result};

/// The prices in force on one venue: a mark for each instrument, and a price for each asset, that has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    venue: Arc<Venue>,
    marks: Vec<Option<MarkTicks>>,
    assets: Vec<Option<PriceTicks>>,
}

impl Prices {
    /// No prices yet.
    #[must_use]
    pub fn new(venue: Arc<Venue>) -> Self {
        let marks = vec![None; venue.instruments().len()];
        let assets = vec![None; venue.assets().len()];
        Self { venue, marks, assets }
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

    /// Sets the price of an asset, in the valuation asset.
    ///
    /// # Errors
    /// `invariant_broken` for a place of another venue.
    pub fn set_asset(&mut self, id: AssetId, price: PriceTicks) -> Result<()> {
        let slot = self.assets.get_mut(id.index());
        *slot.ok_or_else(|| Error::invariant("asset place"))? = Some(price);
        Ok(())
    }

    /// The price of an asset, if it has one.
    #[must_use]
    pub fn asset(&self, id: AssetId) -> Option<PriceTicks> {
        self.assets.get(id.index()).copied().flatten()
    }

    /// How many places there are: one for each instrument, then one for each asset.
    pub(crate) fn places(&self) -> usize {
        self.marks.len() + self.assets.len()
    }

    /// The place of an asset's price.
    pub(crate) fn place_of(&self, asset: AssetId) -> usize {
        self.marks.len() + asset.index()
    }

    /// The ticks at a place.
    #[inline]
    pub(crate) fn ticks(&self, place: usize) -> Option<i64> {
        match self.marks.get(place) {
            Some(mark) => mark.map(MarkTicks::get),
            None => {
                self.assets.get(place - self.marks.len()).copied().flatten().map(PriceTicks::get)
            }
        }
    }

    /// Puts ticks that were checked, or none, at a place; what was there.
    #[inline]
    pub(crate) fn put(&mut self, place: usize, ticks: Option<i64>) -> Result<Option<i64>> {
        let count = self.marks.len();
        if let Some(mark) = self.marks.get_mut(place) {
            return Ok(std::mem::replace(mark, ticks.map(MarkTicks::trusted)).map(MarkTicks::get));
        }
        let slot = place.checked_sub(count).and_then(|asset| self.assets.get_mut(asset));
        let slot = slot.ok_or_else(|| Error::invariant("price place"))?;
        Ok(std::mem::replace(slot, ticks.map(PriceTicks::trusted)).map(PriceTicks::get))
    }

    /// The digest of the venue's card and all prices (0 where there is none).
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut c = Canonical::of("aivora-prices/1");
        c.text(&self.venue.digest().to_string()).length(self.marks.len());
        for mark in &self.marks {
            c.int(mark.map_or(0, MarkTicks::get));
        }
        c.length(self.assets.len());
        for price in &self.assets {
            c.int(price.map_or(0, PriceTicks::get));
        }
        c.digest()
    }
}

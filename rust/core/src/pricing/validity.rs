//! May a price be believed, and for what? `docs/spec/pricing.md`, "Validity".

pub use crate::data::permits::{Action, Permits, Validity};
pub use crate::data::price_rules::Limits;
use crate::numbers::Rate;

/// A price, and what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// In mark ticks.
    pub price: i64,
    /// Its average over a while, in mark ticks.
    pub average: Option<i64>,
    /// How far off it may be, in mark ticks.
    pub confidence: Option<i64>,
    /// How old it is, in milliseconds.
    pub age: i64,
    /// How many sources tell it.
    pub live: Option<usize>,
}

impl Limits {
    /// The class of a price: the first that holds. Nothing is divided.
    #[must_use]
    pub fn class(&self, quote: &Quote) -> Validity {
        let Quote { price, average, confidence, age, live } = *quote;
        if price <= 0 {
            return Validity::NonPositive;
        }
        let volatile = |average: i64, (num, den): (u32, u32)| {
            let (high, low) = (i128::from(price.max(average)), i128::from(price.min(average)));
            average <= 0 || high * i128::from(den) > low * i128::from(num)
        };
        if average.zip(self.volatile).is_some_and(|(average, ratio)| volatile(average, ratio)) {
            return Validity::TooVolatile;
        }
        let uncertain = |confidence: i64, most: Rate| {
            i128::from(confidence) * i128::from(most.den())
                > i128::from(most.num()) * i128::from(price)
        };
        if confidence.zip(self.uncertain).is_some_and(|(own, most)| uncertain(own, most)) {
            return Validity::TooUncertain;
        }
        if self.stale_for_margin.is_some_and(|most| age > most) {
            return Validity::StaleForMargin;
        }
        if live.zip(self.min_live).is_some_and(|(live, least)| live < least) {
            return Validity::TooFewSources;
        }
        if self.stale.is_some_and(|most| age > most) {
            return Validity::Stale;
        }
        Validity::Valid
    }
}

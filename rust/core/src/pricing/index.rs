//! An index of several sources. `docs/spec/pricing.md`, "Sources" and "The index".

pub use crate::data::price_rules::{Blend, IndexRule, OnOutlier, SOURCES_MAX, Source};
use crate::numbers::limits::TICKS_MAX;
use crate::numbers::rounding::div_round;
use crate::numbers::{Error, ErrorKind, MarkTicks, Rate, Result, Rounding};

/// What a source is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceState {
    /// It has told nothing.
    Missing,
    /// Its price is not above 0.
    NonPositive,
    /// It can tell no price beyond this.
    Clamped,
    /// Its price is too old.
    Stale,
    /// Its price does not change.
    Frozen,
    /// It is too far from the others.
    Outlier,
    /// It counts.
    Live,
}

impl SourceState {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::NonPositive => "non_positive",
            Self::Clamped => "clamped",
            Self::Stale => "stale",
            Self::Frozen => "frozen",
            Self::Outlier => "outlier",
            Self::Live => "live",
        }
    }
}

/// What a source has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    price: i64,
    /// When it was told, and when it last was another.
    time: i64,
    changed: i64,
}

/// An index and the sources that it was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexValue {
    /// The index; none with too few live sources.
    pub price: Option<MarkTicks>,
    /// How many sources count.
    pub live: usize,
    /// The time of the oldest price among those that are not away, an outlier's too.
    pub oldest: Option<i64>,
}

/// A price that counts, with its weight.
pub type Weighed = (i64, u32);

/// An index, as its sources tell their prices.
///
/// ```
/// # use aivora::pricing::index::{Blend, Index, IndexRule, Source};
/// let source = |name: &str| Source {
///     name: name.into(), weight: 1, max_age: 10_000, frozen_after: None, floor: None, cap: None,
/// };
/// let rule = IndexRule {
///     sources: vec![source("a"), source("b"), source("c")],
///     blend: Blend::Median, outlier: None, min_live: 2,
/// };
/// let mut index = Index::new(rule)?;
/// for (place, price) in [6_400_000, 6_400_300, 9_000_000].into_iter().enumerate() {
///     index.observe(place, price, 1_000)?;
/// }
/// assert_eq!(index.value(2_000).price.map(|price| price.get()), Some(6_400_300));
/// assert_eq!(index.value(20_000).price, None);
/// # Ok::<(), aivora::numbers::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    rule: IndexRule,
    told: Vec<Option<Told>>,
}

impl Index {
    /// Nothing is told yet.
    ///
    /// # Errors
    /// `out_of_range` for no sources or too many, a weight of 0, an age below 0, bounds that cross, more live sources than there
    /// are; `duplicate_key` for two of a name.
    pub fn new(rule: IndexRule) -> Result<Self> {
        rule.check()?;
        let told = vec![None; rule.sources.len()];
        Ok(Self { rule, told })
    }

    /// How it is made.
    #[must_use]
    pub fn rule(&self) -> &IndexRule {
        &self.rule
    }

    /// A source tells a price, in mark ticks; one that is not above 0 is kept, and its source does not count.
    ///
    /// # Errors
    /// `unknown_name` for a place that is none; `stale_event` for a time before that of its last price; `out_of_range` for a price
    /// beyond the bounds of floor 0. Nothing is changed then.
    pub fn observe(&mut self, source: usize, price: i64, time: i64) -> Result<()> {
        let of = self.rule.sources.len();
        let known = self.told.get_mut(source).ok_or_else(|| {
            let limit = format!("must be 0 to {}", of - 1);
            Error::new(ErrorKind::OutOfRange, "source", source, limit)
        })?;
        if price.unsigned_abs() > TICKS_MAX.unsigned_abs() {
            let limit = format!("at most {TICKS_MAX} mark ticks either way");
            return Err(Error::new(ErrorKind::OutOfRange, "price", price, limit));
        }
        let last = *known;
        if let Some(last) = last.filter(|last| time < last.time) {
            let limit = format!("time does not go back: its last price is of {} ms", last.time);
            return Err(Error::new(ErrorKind::StaleEvent, "time", time, limit));
        }
        let same = last.filter(|last| last.price == price);
        *known = Some(Told { price, time, changed: same.map_or(time, |last| last.changed) });
        Ok(())
    }

    /// The state of each source.
    #[must_use]
    pub fn states(&self, now: i64) -> Vec<SourceState> {
        let all = self.rule.sources.iter().zip(&self.told);
        let state = |(of, told): (&Source, &Option<Told>)| {
            told.map_or(SourceState::Missing, |told| alone(of, told, now))
        };
        let mut found: Vec<_> = all.map(state).collect();
        let band = self.band(now);
        for (state, told) in found.iter_mut().zip(&self.told) {
            let far = told.is_some_and(|told| band.is_some_and(|band| band.is_outside(told.price)));
            if *state == SourceState::Live && far {
                *state = SourceState::Outlier;
            }
        }
        found
    }

    /// The index at a time.
    #[must_use]
    pub fn value(&self, now: i64) -> IndexValue {
        self.value_in(now, &mut Vec::new())
    }

    /// The same, with memory that is used again.
    #[must_use]
    pub fn value_in(&self, now: i64, memory: &mut Vec<Weighed>) -> IndexValue {
        let oldest = self.candidates(now, None, memory);
        self.of(memory, oldest)
    }

    /// Between what and what the index is, whatever one source tells, and where it tells nothing that counts; none where there may
    /// be no index then.
    #[must_use]
    pub fn reach(&self, source: usize, now: i64) -> Option<(MarkTicks, MarkTicks)> {
        let mut others = Vec::new();
        self.candidates(now, Some((source, None)), &mut others);
        let mut found: Option<(MarkTicks, MarkTicks)> = None;
        for price in std::iter::once(None).chain(self.turns(&others).into_iter().map(Some)) {
            let price = self.value_with(now, Some((source, price))).price?;
            let (low, high) = found.unwrap_or((price, price));
            found = Some((low.min(price), high.max(price)));
        }
        found
    }

    /// The prices of one source, beside others, at which the index may turn: where it passes another, where it leaves the band, and
    /// where it takes another out of the band by moving the median. Between two of them the index only rises with it.
    fn turns(&self, others: &[Weighed]) -> Vec<i64> {
        let mut turns = vec![1, TICKS_MAX];
        let mut near = |price: i128| {
            for price in price - 2..=price + 2 {
                turns.extend(i64::try_from(price.clamp(1, TICKS_MAX.into())));
            }
        };
        for (price, _) in others {
            near(i128::from(*price));
        }
        let Some((outlier, _)) = self.rule.outlier else { return turns };
        let (num, den) = (i128::from(outlier.num()), i128::from(outlier.den()));
        let ratio =
            |price: i128, num: i128, den: i128| div_round(price * num, den, Rounding::Floor);
        let prices = || others.iter().map(|(price, _)| i128::from(*price));
        for one in prices() {
            // It is the median, or one of the two beside it.
            let edges = [ratio(one, den, den + num), ratio(one, den, den - num)];
            for median in edges.into_iter().flatten() {
                near(median);
                prices().for_each(|other| near(2 * median - other));
            }
            let own = [ratio(one, den + num, den - num), ratio(one, den - num, den + num)];
            own.into_iter().flatten().for_each(&mut near);
            // The median is of two others.
            for other in prices() {
                for part in [den - num, den + num] {
                    ratio(one + other, part, 2 * den).into_iter().for_each(&mut near);
                }
            }
        }
        turns.sort_unstable();
        turns.dedup();
        turns
    }

    /// The prices that may count, by height, and the oldest time of them; one source may be told to be at another price, or away.
    fn candidates(
        &self,
        now: i64,
        other: Option<(usize, Option<i64>)>,
        found: &mut Vec<Weighed>,
    ) -> Option<i64> {
        found.clear();
        let mut oldest: Option<i64> = None;
        for (place, (of, told)) in self.rule.sources.iter().zip(&self.told).enumerate() {
            if let Some((_, price)) = other.filter(|(source, _)| *source == place) {
                found.extend(price.map(|price| (price, of.weight)));
            } else if let Some(told) = told
                && alone(of, *told, now) == SourceState::Live
            {
                found.push((told.price, of.weight));
                oldest = Some(oldest.map_or(told.time, |oldest| oldest.min(told.time)));
            }
        }
        sort(found);
        oldest
    }

    fn band(&self, now: i64) -> Option<Band> {
        let (outlier, _) = self.rule.outlier?;
        let mut prices = Vec::new();
        self.candidates(now, None, &mut prices);
        Some(Band { twice: twice_median(&prices)?, outlier })
    }

    fn value_with(&self, now: i64, other: Option<(usize, Option<i64>)>) -> IndexValue {
        let mut prices = Vec::new();
        let oldest = self.candidates(now, other, &mut prices);
        self.of(&mut prices, oldest)
    }

    /// The index of prices by height.
    fn of(&self, prices: &mut Vec<Weighed>, oldest: Option<i64>) -> IndexValue {
        if let Some((outlier, action)) = self.rule.outlier
            && let Some(twice) = twice_median(prices)
        {
            let band = Band { twice, outlier };
            // They are in order: where neither end is outside, none is.
            let is_outside = |end: Option<&Weighed>| end.is_some_and(|(p, _)| band.is_outside(*p));
            if is_outside(prices.first()) || is_outside(prices.last()) {
                match action {
                    OnOutlier::Exclude => prices.retain(|(price, _)| !band.is_outside(*price)),
                    OnOutlier::Clamp => {
                        let (low, high) = band.edges();
                        for (price, _) in &mut *prices {
                            *price = (*price).clamp(low, high);
                        }
                    }
                }
            }
        }
        let live = prices.len();
        let enough = live >= self.rule.min_live;
        let found = if enough { blended(prices, self.rule.blend) } else { None };
        let price = found.and_then(|price| MarkTicks::new(price, "index").ok());
        IndexValue { price, live, oldest }
    }
}

/// As many as are put in order by counting those before each.
const RANKED_MAX: usize = 8;

/// By height. They are few.
fn sort(prices: &mut [Weighed]) {
    if prices.len() > RANKED_MAX {
        prices.sort_by_key(|(price, _)| *price);
        return;
    }
    // Each goes to where it belongs, without a guess that could be wrong.
    let mut ranked = [(0_i64, 0_u32); RANKED_MAX];
    for (place, own) in prices.iter().enumerate() {
        let mut rank = 0;
        for (at, other) in prices.iter().enumerate() {
            let tie = usize::from(other.0 == own.0) * usize::from(at < place);
            rank += usize::from(other.0 < own.0) + tie;
        }
        if let Some(slot) = ranked.get_mut(rank) {
            *slot = *own;
        }
    }
    prices.iter_mut().zip(ranked).for_each(|(slot, own)| *slot = own);
}

/// The state of a source that has told something, but for how far it is from the others.
fn alone(of: &Source, told: Told, now: i64) -> SourceState {
    let Told { price, time, changed } = told;
    if price <= 0 {
        SourceState::NonPositive
    } else if of.floor.is_some_and(|floor| price <= floor) || of.cap.is_some_and(|cap| price >= cap)
    {
        SourceState::Clamped
    } else if now.saturating_sub(time) > of.max_age {
        SourceState::Stale
    } else if of.frozen_after.is_some_and(|after| time.saturating_sub(changed) > after) {
        SourceState::Frozen
    } else {
        SourceState::Live
    }
}

/// What is near enough to a median: `|price − m| ≤ outlier × m`, with `2m` whole.
#[derive(Debug, Clone, Copy)]
struct Band {
    twice: i128,
    outlier: Rate,
}

impl Band {
    fn is_outside(self, price: i64) -> bool {
        let off = (2 * i128::from(price) - self.twice).abs();
        off * i128::from(self.outlier.den()) > i128::from(self.outlier.num()) * self.twice
    }

    /// `m × (1 ∓ outlier)`, the last tick inside.
    fn edge(self, up: bool) -> i64 {
        let (num, den) = (i128::from(self.outlier.num()), i128::from(self.outlier.den()));
        let (part, rounding) =
            if up { (den + num, Rounding::Floor) } else { (den - num, Rounding::Ceil) };
        let edge = div_round(self.twice * part, 2 * den, rounding).unwrap_or(0);
        i64::try_from(edge.clamp(1, TICKS_MAX.into())).unwrap_or(TICKS_MAX)
    }

    /// Both edges; where no tick is inside, the ticks on either side.
    fn edges(self) -> (i64, i64) {
        let (low, high) = (self.edge(false), self.edge(true));
        (low.min(high), low.max(high))
    }
}

/// Twice the median of prices by height.
fn twice_median(prices: &[Weighed]) -> Option<i128> {
    let (last, half) = (prices.len().checked_sub(1)?, prices.len() / 2);
    let (low, high) = (prices.get(last / 2)?.0, prices.get(half)?.0);
    Some(i128::from(low) + i128::from(high))
}

fn blended(prices: &[Weighed], blend: Blend) -> Option<i128> {
    // Half even: of a half, the even one of its neighbours.
    let half = |twice: i128| Some((twice >> 1) + (twice & (twice >> 1) & 1));
    match blend {
        Blend::Median => half(twice_median(prices)?),
        Blend::WeightedMedian => {
            let all: u64 = prices.iter().map(|(_, weight)| u64::from(*weight)).sum();
            let mut reached = 0;
            for (place, (price, weight)) in prices.iter().enumerate() {
                reached += u64::from(*weight);
                if 2 * reached == all {
                    let next = prices.get(place + 1)?.0;
                    return half(i128::from(*price) + i128::from(next));
                }
                if 2 * reached > all {
                    return Some(i128::from(*price));
                }
            }
            None
        }
        Blend::WeightedMean => {
            let (mut sum, mut all) = (0_i128, 0_i128);
            for (price, weight) in prices {
                sum += i128::from(*price) * i128::from(*weight);
                all += i128::from(*weight);
            }
            div_round(sum, all, Rounding::HalfEven)
        }
    }
}

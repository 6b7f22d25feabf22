//! The premium of a sample, and the funding rate of an interval. `docs/spec/pricing.md`, "Funding".

use aivora_simd::{Path, sums};

pub use crate::data::price_rules::{Average, FundingRule, RATE_MAX, Shape, UNIT};
use crate::numbers::limits::THREADS_MAX;
use crate::numbers::rounding::div_round;
use crate::numbers::{Error, ErrorKind, MarkTicks, Result, Rounding};

/// The most samples of an interval.
pub const SAMPLES_MAX: u32 = 1 << 20;

impl FundingRule {
    /// The rate of an interval, in parts of [`UNIT`]; none without a sample. Exact until its last division, which rounds to the
    /// decimals.
    ///
    /// # Errors
    /// `overflow`; `off_grid` where the rounding is `exact` and it is not.
    pub fn rate(&self, samples: &Samples) -> Result<Option<i64>> {
        let (sum, weight) = samples.weighed(self.average);
        if weight == 0 {
            return Ok(None);
        }
        if let Some(rate) = self.narrow(sum, weight) {
            return Ok(Some(rate));
        }
        let whole = |rate: i64| i128::from(rate) * weight;
        let shaped = match self.shape {
            Shape::Interest { interest, clamp: None } => sum + whole(interest),
            Shape::Interest { interest, clamp: Some(most) } => {
                sum + (whole(interest) - sum).clamp(-whole(most), whole(most))
            }
            Shape::DeadBand(band) => sum - sum.clamp(-whole(band), whole(band)),
        };
        let bound = self.bounds.map_or(shaped, |(low, high)| shaped.clamp(whole(low), whole(high)));
        let step = 10_i128.pow(12 - self.decimals.min(12));
        let overflow = || Error::overflow("funding rate", bound);
        let scaled = bound.checked_mul(i128::from(self.scale.num())).ok_or_else(overflow)?;
        let parts = weight * i128::from(self.scale.den()) * step;
        let rounded = div_round(scaled, parts, self.rounding).ok_or_else(|| {
            let limit = format!("has more than {} decimals", self.decimals);
            Error::new(ErrorKind::OffGrid, "funding rate", bound, limit)
        })?;
        i64::try_from(rounded * step).map(Some).map_err(|_| overflow())
    }
}

impl FundingRule {
    /// The same in 64 bits, rounded to the nearest; none where a part of it leaves them.
    fn narrow(&self, sum: i128, weight: i128) -> Option<i64> {
        let (sum, weight) = (i64::try_from(sum).ok()?, i64::try_from(weight).ok()?);
        let whole = |rate: i64| rate.checked_mul(weight);
        let shaped = match self.shape {
            Shape::Interest { interest, clamp: None } => sum.checked_add(whole(interest)?)?,
            Shape::Interest { interest, clamp: Some(most) } => {
                let most = whole(most)?;
                sum.checked_add(whole(interest)?.checked_sub(sum)?.clamp(-most, most))?
            }
            Shape::DeadBand(band) => {
                let band = whole(band)?;
                sum.checked_sub(sum.clamp(-band, band))?
            }
        };
        let bound = match self.bounds {
            Some((low, high)) => shaped.clamp(whole(low)?, whole(high)?),
            None => shaped,
        };
        let step = 10_i64.checked_pow(12 - self.decimals.min(12))?;
        let scaled = bound.checked_mul(self.scale.num())?;
        let parts = weight.checked_mul(self.scale.den())?.checked_mul(step)?;
        if self.rounding != Rounding::HalfEven || parts <= 0 {
            return None;
        }
        let (floor, rest) = (scaled.div_euclid(parts), scaled.rem_euclid(parts));
        let up = rest > parts - rest || (rest == parts - rest && floor % 2 != 0);
        floor.checked_add(i64::from(up))?.checked_mul(step)
    }
}

/// The samples of an interval, as far as a rate needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Samples {
    count: u32,
    sum: i128,
    rising: i128,
    weight: i128,
}

impl Samples {
    /// Adds the premium of the n-th sample, from 1: one that is missing leaves its place out.
    ///
    /// # Errors
    /// `out_of_range` for a premium past a hundred times the price, or a place that is none.
    #[inline]
    pub fn add(&mut self, place: u32, premium: i64) -> Result<()> {
        if premium.unsigned_abs() > RATE_MAX.unsigned_abs() || !(1..=SAMPLES_MAX).contains(&place) {
            return Err(refused(place, premium));
        }
        self.count += 1;
        self.sum += i128::from(premium);
        self.rising += i128::from(premium) * i128::from(place);
        self.weight += i128::from(place);
        Ok(())
    }

    /// All samples of an interval, one by one.
    fn wide(premiums: &[i64]) -> Result<Self> {
        let mut samples = Self::default();
        for (place, premium) in (1..).zip(premiums) {
            samples.add(place, *premium)?;
        }
        Ok(samples)
    }

    /// The same in 64 bits, some at a time; none where a sum could leave them.
    fn narrow(path: Path, premiums: &[i64]) -> Option<Self> {
        let count = u32::try_from(premiums.len()).ok().filter(|count| *count <= SAMPLES_MAX)?;
        let weight = u64::from(count) * (u64::from(count) + 1) / 2;
        // Premiums of so many bits either way: no sum of them leaves 62.
        let bits = (weight + 1).leading_zeros().saturating_sub(2).min(46);
        let above = 1_i64 << bits;
        let (sum, rising, seen) = sums(path, above, premiums);
        let fits = (0..2 * above).contains(&seen);
        fits.then(|| Self { count, sum: sum.into(), rising: rising.into(), weight: weight.into() })
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    fn weighed(&self, average: Average) -> (i128, i128) {
        match average {
            Average::Mean => (self.sum, self.count.into()),
            Average::Rising => (self.rising, self.weight),
        }
    }
}

#[cold]
fn refused(place: u32, premium: i64) -> Error {
    if (1..=SAMPLES_MAX).contains(&place) {
        let limit = format!("must be within {RATE_MAX} parts of {UNIT} either way");
        return Error::new(ErrorKind::OutOfRange, "premium", premium, limit);
    }
    Error::new(ErrorKind::OutOfRange, "sample", place, format!("must be 1 to {SAMPLES_MAX}"))
}

/// The premium of one sample: how far the prices at which the book would fill a given size are beyond the index, as a part of it,
/// in parts of [`UNIT`], `half_even`.
///
/// ```
/// # use aivora::numbers::MarkTicks;
/// # use aivora::pricing::funding::premium;
/// let ticks = |ticks| MarkTicks::new(ticks, "price");
/// assert_eq!(premium(ticks(10_010)?, ticks(10_020)?, ticks(10_000)?)?, 1_000_000_000);
/// assert_eq!(premium(ticks(9_990)?, ticks(10_020)?, ticks(10_000)?)?, 0);
/// # Ok::<(), aivora::numbers::Error>(())
/// ```
///
/// # Errors
/// `overflow` for a premium past a hundred times the index.
pub fn premium(impact_bid: MarkTicks, impact_ask: MarkTicks, index: MarkTicks) -> Result<i64> {
    let (bid, ask, index) = (impact_bid.get(), impact_ask.get(), index.get());
    let beyond = (bid - index).max(0) - (index - ask).max(0);
    if beyond == 0 {
        return Ok(0);
    }
    let found = div_round(i128::from(beyond) * i128::from(UNIT), index.into(), Rounding::HalfEven);
    let found = found.and_then(|found| i64::try_from(found).ok());
    let within = found.filter(|found| found.unsigned_abs() <= RATE_MAX.unsigned_abs());
    within.ok_or_else(|| Error::overflow("premium", beyond))
}

/// The rates of intervals of so many samples each, one after the other; a rest that fills none is left out.
///
/// # Errors
/// Those of [`FundingRule::check`], [`FundingRule::rate`] and [`Samples::add`]; `out_of_range` for an interval without samples.
pub fn rates(
    rule: &FundingRule,
    premiums: &[i64],
    interval: u32,
    out: &mut Vec<i64>,
) -> Result<()> {
    rule.check()?;
    let size = usize::try_from(interval).ok().filter(|_| (1..=SAMPLES_MAX).contains(&interval));
    let size = size.ok_or_else(|| refused(interval, 0))?;
    let path = Path::in_use();
    for chunk in premiums.chunks_exact(size) {
        let samples = match Samples::narrow(path, chunk) {
            Some(samples) => samples,
            None => Samples::wide(chunk)?,
        };
        out.extend(rule.rate(&samples)?);
    }
    Ok(())
}

/// The rates of many rows of so many samples, each by itself, in order; rows are shared out over threads.
///
/// # Errors
/// Those of [`rates`], at the first row that is refused; `out_of_range` for more threads than there may be.
pub fn rates_of_rows(
    rule: &FundingRule,
    premiums: &[i64],
    row: usize,
    interval: u32,
    threads: usize,
) -> Result<Vec<i64>> {
    rule.check()?;
    if !(1..=THREADS_MAX).contains(&threads) {
        let limit = format!("must be 1 to {THREADS_MAX}");
        return Err(Error::new(ErrorKind::OutOfRange, "threads", threads, limit));
    }
    let row = row.max(1);
    let share = premiums.len().div_ceil(row).div_ceil(threads).max(1);
    let work = |(part, rows): (usize, &[i64])| {
        let mut out = Vec::new();
        for (place, own) in rows.chunks(row).enumerate() {
            let found = rates(rule, own, interval, &mut out);
            found.map_err(|error| error.at_row(part * share + place))?;
        }
        Ok(out)
    };
    let mut parts = premiums.chunks(share * row).enumerate();
    let Some(first) = parts.next() else { return Ok(Vec::new()) };
    std::thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
        let mut out = work(first)?;
        for other in others {
            out.extend(other.join().map_err(|_| Error::invariant("funding thread"))??);
        }
        Ok(out)
    })
}

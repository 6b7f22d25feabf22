//! The rules by which prices are made, as a card writes them. `docs/spec/pricing.md`; they run on floor 2.

use super::permits::Permits;
use super::tree::Node;
use crate::numbers::{Decimal, Error, ErrorKind, Rate, Result, Rounding};

/// A premium or a rate is a whole number of these parts of one: 10^-12.
pub const UNIT: i64 = 1_000_000_000_000;

/// The largest premium or rate either way: a hundred times the price.
pub const RATE_MAX: i64 = 100 * UNIT;

/// The longest time of a rule: twelve days.
pub const TIME_MAX: i64 = 1 << 30;

/// The most terms of a rule, and the most samples of an average.
pub const TERMS_MAX: usize = 8;
/// See there.
pub const SAMPLES_MAX: usize = 10_000;

/// The most sources that an index may have.
pub const SOURCES_MAX: usize = 64;

/// One source of an index. Prices in mark ticks, times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: Box<str>,
    /// Its weight, at least 1.
    pub weight: u32,
    /// How old its price may be.
    pub max_age: i64,
    /// How long its price may be told without a change.
    pub frozen_after: Option<i64>,
    /// The lowest price that it can tell.
    pub floor: Option<i64>,
    /// The highest.
    pub cap: Option<i64>,
}

/// How the prices of live sources become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blend {
    /// The one in the middle.
    Median,
    /// The one at which half of the weight is reached.
    WeightedMedian,
    /// Their mean by weight.
    WeightedMean,
}

/// What becomes of a source that is too far from the median.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOutlier {
    /// It is left out.
    Exclude,
    /// It counts at the edge of what is near enough.
    Clamp,
}

/// How an index is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRule {
    /// Of what.
    pub sources: Vec<Source>,
    /// How.
    pub blend: Blend,
    /// How far from the median, as a part of it, is too far.
    pub outlier: Option<(Rate, OnOutlier)>,
    /// The fewest live sources.
    pub min_live: usize,
}

impl IndexRule {
    /// Refuses a rule that is none.
    ///
    /// # Errors
    /// `out_of_range`, `duplicate_key`, naming the field.
    pub fn check(&self) -> Result<()> {
        let refuse = |field: String, value: String, limit: &str| {
            Err(Error::new(ErrorKind::OutOfRange, field, value, limit))
        };
        let count = self.sources.len();
        if !(1..=SOURCES_MAX).contains(&count) {
            return refuse("source".to_owned(), count.to_string(), "must be 1 to 64 sources");
        }
        if !(1..=count).contains(&self.min_live) {
            let limit = "must be 1 to the number of sources";
            return refuse("min_live".to_owned(), self.min_live.to_string(), limit);
        }
        if let Some((outlier, _)) = self.outlier.filter(|(outlier, _)| *outlier > Rate::ONE) {
            return refuse("outlier".to_owned(), outlier.to_string(), "must be 0 to 1");
        }
        for (place, of) in self.sources.iter().enumerate() {
            let field = |name: &str| format!("source[{place}].{name}");
            if of.weight == 0 {
                return refuse(field("weight"), "0".to_owned(), "must be at least 1");
            }
            for (name, age) in [("max_age_ms", Some(of.max_age)), ("frozen_ms", of.frozen_after)] {
                if let Some(age) = age.filter(|age| *age < 0) {
                    return refuse(field(name), age.to_string(), "must not be below 0");
                }
            }
            if let (Some(floor), Some(cap)) = (of.floor, of.cap)
                && floor >= cap
            {
                return refuse(field("floor"), floor.to_string(), "must be below its cap");
            }
            if self.sources.iter().take(place).any(|other| other.name == of.name) {
                let limit = "is the name of a source before it";
                return Err(Error::new(ErrorKind::DuplicateKey, field("name"), &of.name, limit));
            }
        }
        Ok(())
    }
}

/// A price of the own market that a basis is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The middle of the best bid and ask.
    Mid,
    /// The middle of the prices at which the book would fill a given size.
    ImpactMid,
    /// The last trade.
    Last,
}

/// One price that a mark may be made of. Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// The index.
    Index,
    /// The last trade.
    Last,
    /// A middle.
    Mid,
    /// The same of the prices at which the book would fill a given size.
    ImpactMid,
    /// The median of best bid, best ask and last trade.
    BookMedian,
    /// The median of marks elsewhere.
    Outside,
    /// `index × (1 + rate × time to funding / interval)`, the time being that of the last whole `step`.
    Fair {
        /// The time between two payments.
        interval: i64,
        /// In what steps time goes.
        step: i64,
    },
    /// `index + mean of the last samples of (price − index)`.
    Basis {
        /// Of which price.
        of: Of,
        /// Of how many samples.
        samples: usize,
        /// How far apart.
        every: i64,
    },
    /// `index + average of (price − index)` that forgets: with each sample it moves by `every / (window + every)` of what it is off.
    Ema {
        /// Of which price.
        of: Of,
        /// How long it remembers.
        window: i64,
        /// How far apart samples are.
        every: i64,
    },
}

/// How a mark is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkRule {
    /// Of what: one price, or the median of several.
    pub terms: Vec<Term>,
    /// The fewest that must be known.
    pub min_terms: usize,
    /// How far it may move with one update, as a part of it.
    pub step: Option<Rate>,
}

impl MarkRule {
    /// Refuses a rule that is none.
    ///
    /// # Errors
    /// `out_of_range`, `duplicate_key`, naming the field.
    pub fn check(&self) -> Result<()> {
        let refuse = |field: String, value: String, limit: String| {
            Err(Error::new(ErrorKind::OutOfRange, field, value, limit))
        };
        let count = self.terms.len();
        if !(1..=TERMS_MAX).contains(&count) {
            let limit = format!("must be 1 to {TERMS_MAX}");
            return refuse("terms".to_owned(), count.to_string(), limit);
        }
        if !(1..=count).contains(&self.min_terms) {
            let limit = "must be 1 to the number of terms".to_owned();
            return refuse("min_terms".to_owned(), self.min_terms.to_string(), limit);
        }
        if let Some(step) = self.step.filter(|step| step.is_zero() || *step > Rate::ONE) {
            let limit = "must be above 0, at most 1".to_owned();
            return refuse("step".to_owned(), step.to_string(), limit);
        }
        for (place, term) in self.terms.iter().enumerate() {
            let times: &[(&str, i64)] = match term {
                Term::Fair { interval, step } => &[("interval_ms", *interval), ("step_ms", *step)],
                Term::Basis { every, .. } => &[("every_ms", *every)],
                Term::Ema { window, every, .. } => &[("window_ms", *window), ("every_ms", *every)],
                _ => &[],
            };
            for (name, time) in times {
                if !(1..=TIME_MAX).contains(time) {
                    let limit = format!("must be 1 to {TIME_MAX} milliseconds");
                    return refuse(format!("terms[{place}].{name}"), time.to_string(), limit);
                }
            }
            // What was not seen is made up for sample by sample: so many at most.
            if let Term::Ema { window, every, .. } = term
                && usize::try_from(window / every).is_ok_and(|samples| samples > SAMPLES_MAX)
            {
                let limit = format!("must be at most {SAMPLES_MAX} samples, {every} ms each");
                return refuse(format!("terms[{place}].window_ms"), window.to_string(), limit);
            }
            if let Term::Basis { samples, .. } = term
                && !(1..=SAMPLES_MAX).contains(samples)
            {
                let limit = format!("must be 1 to {SAMPLES_MAX}");
                return refuse(format!("terms[{place}].samples"), samples.to_string(), limit);
            }
        }
        Ok(())
    }
}

/// How much each sample counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Average {
    /// All alike.
    Mean,
    /// The n-th as much as n of the first.
    Rising,
}

/// What of the average and the interest is the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `average + clamp(interest − average, ±most)`; without a most `average + interest`.
    Interest {
        /// The interest of an interval.
        interest: i64,
        /// The most that it moves the average by.
        clamp: Option<i64>,
    },
    /// What of the average is beyond the band.
    DeadBand(i64),
}

/// How a funding rate is made; rates in parts of [`UNIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FundingRule {
    /// How samples are weighed.
    pub average: Average,
    /// What becomes of the average.
    pub shape: Shape,
    /// The lowest and the highest rate, before it is scaled.
    pub bounds: Option<(i64, i64)>,
    /// What part of it one payment is.
    pub scale: Rate,
    /// How many decimals it has; the others are rounded.
    pub decimals: u32,
    /// How.
    pub rounding: Rounding,
}

impl FundingRule {
    /// Refuses a rule that is none.
    ///
    /// # Errors
    /// `out_of_range` for rates past a hundred times the price, a band or clamp below 0, bounds that cross, more than 12 decimals.
    pub fn check(&self) -> Result<()> {
        let within = |field: &str, value: i64, low: i64| {
            if (low..=RATE_MAX).contains(&value) {
                return Ok(());
            }
            let limit = format!("must be {low} to {RATE_MAX} parts of {UNIT}");
            Err(Error::new(ErrorKind::OutOfRange, field, value, limit))
        };
        match self.shape {
            Shape::Interest { interest, clamp } => {
                within("interest", interest, -RATE_MAX)?;
                within("clamp", clamp.unwrap_or(0), 0)?;
            }
            Shape::DeadBand(band) => within("dead_band", band, 0)?,
        }
        if let Some((floor, cap)) = self.bounds {
            within("floor", floor, -RATE_MAX)?;
            within("cap", cap, floor)?;
        }
        if self.decimals > 12 {
            let limit = "must be 0 to 12";
            return Err(Error::new(ErrorKind::OutOfRange, "decimals", self.decimals, limit));
        }
        Ok(())
    }
}

/// From where on a price is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The largest ratio of a price to its average, or of that to it, as numerator and denominator.
    pub volatile: Option<(u32, u32)>,
    /// The widest confidence, as a part of the price.
    pub uncertain: Option<Rate>,
    /// The age from which no margin is required by it, in milliseconds.
    pub stale_for_margin: Option<i64>,
    /// The fewest sources.
    pub min_live: Option<usize>,
    /// The age from which it is old.
    pub stale: Option<i64>,
}

/// An index as a card writes it: its sources may be left to who makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexTerms {
    /// How it is made; of no sources where the card names none.
    pub rule: IndexRule,
    /// How old the price of a source may be, unless it says otherwise.
    pub max_age: i64,
    /// How long it may be told without a change, unless it says otherwise.
    pub frozen_after: Option<i64>,
}

/// When positions pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// At the end of each interval, who has a position then.
    Discrete,
    /// By the time that they have had it.
    Continuous,
}

/// Which price a payment is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaidOn {
    /// The mark.
    Mark,
    /// The index.
    Index,
}

/// What a premium is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PremiumOf {
    /// The prices at which the book would fill a given size.
    Impact,
    /// The mark.
    Mark,
}

/// What comes first where a payment and a check fall on one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FundingOrder {
    /// The payment.
    BeforeCheck,
    /// The check.
    AfterCheck,
}

/// Funding as a card writes it. Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FundingTerms {
    /// How a rate is made.
    pub rule: FundingRule,
    /// Whether the card says what of the average is the rate: by interest or a band.
    pub shaped: bool,
    /// The time that a rate is made of.
    pub interval: i64,
    /// How samples are weighed and the time between two of them; none where the card does not say both.
    pub sampling: Option<(Average, i64)>,
    /// How many intervals later it is paid: 0 for the one it was made of.
    pub lag: u8,
    /// When positions pay.
    pub timing: Timing,
    /// Of which price.
    pub paid_on: PaidOn,
    /// What a premium is of.
    pub premium: PremiumOf,
    /// The time that a rate is quoted for.
    pub quoted: i64,
    /// How much later than the instant one may open and still pay.
    pub grace: i64,
    /// What comes first at one instant.
    pub order: Option<FundingOrder>,
    /// The largest rate either way, in parts of initial less maintenance rate.
    pub cap_factor: Option<Rate>,
    /// How far apart two averages may count, as a part of the index.
    pub divergence: Option<Rate>,
}

/// How far one broken source can move a mark, as the card states it. `docs/spec/pricing.md`, "The stated bound".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneSource {
    /// How far the other sources are from their median at most, as a part of it.
    pub spread: Rate,
    /// How far it then moves the mark at most, as a part of the highest such median within the longest average.
    pub most: Rate,
}

/// In parts of the spread: what the bound of a mark is at least, of terms that are averages of a basis, and of others.
const AVERAGED: i128 = 5;
/// See there.
const DIRECT: i128 = 3;

impl OneSource {
    fn read(
        rules: &Node<'_>,
        index: Option<&IndexTerms>,
        mark: Option<&MarkRule>,
    ) -> Result<Option<Self>> {
        let (own, other) = (rules.find("mark"), rules.find("index"));
        let Some(node) = own.as_ref().and_then(|mark| mark.find("one_source")) else {
            return Ok(None);
        };
        let refuse = |value: String, limit: String| {
            Err(Error::new(ErrorKind::BadCard, node.path(), value, limit))
        };
        let spread = other.as_ref().and_then(|index| index.find("spread"));
        let (Some(spread), Some(index), Some(mark)) = (spread, index, mark) else {
            return refuse("a bound".to_owned(), "needs rules.index.spread beside it".to_owned());
        };
        let (spread, most) = (spread.rate()?, node.rate()?);
        if index.rule.blend != Blend::Median || index.rule.min_live < 3 {
            let limit = "needs an index that is a median with min_live of at least 3";
            return refuse(most.to_string(), limit.to_owned());
        }
        let (num, den) = (i128::from(spread.num()), i128::from(spread.den()));
        // None of the others may be an outlier: 2 spread / (1 - spread) <= outlier.
        if let Some((outlier, _)) = index.rule.outlier
            && 2 * num * i128::from(outlier.den()) > i128::from(outlier.num()) * (den - num)
        {
            let limit =
                format!("needs an outlier of at least 2 x spread / (1 - spread): {outlier}");
            return refuse(spread.to_string(), limit);
        }
        let is_averaged = |term: &Term| matches!(term, Term::Basis { .. } | Term::Ema { .. });
        let factor = if mark.terms.iter().any(is_averaged) { AVERAGED } else { DIRECT };
        if i128::from(most.num()) * den < factor * num * i128::from(most.den()) {
            return refuse(most.to_string(), format!("must be at least {factor} x spread"));
        }
        Ok(Some(Self { spread, most }))
    }
}

/// How prices are made, as far as the card says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PriceRules {
    /// The index.
    pub index: Option<IndexTerms>,
    /// The mark.
    pub mark: Option<MarkRule>,
    /// Funding.
    pub funding: Option<FundingTerms>,
    /// From where on a price is not believed.
    pub validity: Option<Limits>,
    /// What may be done with a price of which class.
    pub permits: Permits,
    /// How far one broken source can move the mark.
    pub one_source: Option<OneSource>,
}

/// The keys of the rules that are read here.
pub(super) const KEYS: [&str; 4] = ["index", "mark", "funding", "validity"];

impl PriceRules {
    pub(super) fn read(rules: &Node<'_>) -> Result<Self> {
        let index = rules.find("index").map(|node| IndexTerms::read(&node)).transpose()?;
        let mark = rules.find("mark").map(|node| MarkRule::read(&node)).transpose()?;
        Ok(Self {
            one_source: OneSource::read(rules, index.as_ref(), mark.as_ref())?,
            index,
            mark,
            funding: rules.find("funding").map(|node| FundingTerms::read(&node)).transpose()?,
            validity: rules.find("validity").map(|node| Limits::read(&node)).transpose()?,
            permits: rules
                .find("validity")
                .and_then(|node| node.find("refuses"))
                .map_or_else(|| Ok(Permits::default()), |node| Permits::read(&node))?,
        })
    }
}

/// What stands at a key, if it is there.
pub(super) fn optional<'a, T>(
    node: &Node<'a>,
    key: &str,
    of: impl Fn(&Node<'a>) -> Result<T>,
) -> Result<Option<T>> {
    node.find(key).map(|own| of(&own)).transpose()
}

fn count(node: &Node<'_>) -> Result<usize> {
    let whole = node.decimal()?.whole(Decimal::ONE, node.path())?;
    usize::try_from(whole).map_err(|_| {
        Error::new(ErrorKind::OutOfRange, node.path(), whole, "must be a whole number, not below 0")
    })
}

impl IndexTerms {
    fn read(node: &Node<'_>) -> Result<Self> {
        node.allow(&[
            "blend",
            "outlier",
            "on_outlier",
            "min_live",
            "max_age",
            "frozen",
            "sources",
            "spread",
        ])?;
        let (max_age, frozen_after) =
            (node.get("max_age")?.time()?, optional(node, "frozen", Node::time)?);
        let source = |row: &Node<'_>| {
            row.allow(&["name", "weight", "max_age", "frozen"])?;
            let weight = optional(row, "weight", count)?.unwrap_or(1);
            Ok(Source {
                name: row.get("name")?.text()?.into(),
                weight: u32::try_from(weight).unwrap_or(0),
                max_age: optional(row, "max_age", Node::time)?.unwrap_or(max_age),
                frozen_after: optional(row, "frozen", Node::time)?.or(frozen_after),
                floor: None,
                cap: None,
            })
        };
        let rows = node.find("sources").map_or(Ok(Vec::new()), |list| list.items())?;
        let beyond = [("exclude", OnOutlier::Exclude), ("clamp", OnOutlier::Clamp)];
        let beyond = optional(node, "on_outlier", |own| own.word(&beyond))?;
        let blend = node.get("blend")?.word(Blend::NAMES)?;
        let outlier = optional(node, "outlier", Node::rate)?;
        let rule = IndexRule {
            sources: rows.iter().map(source).collect::<Result<_>>()?,
            blend,
            outlier: outlier.map(|rate| (rate, beyond.unwrap_or(OnOutlier::Exclude))),
            min_live: optional(node, "min_live", count)?.unwrap_or(1),
        };
        let terms = Self { rule, max_age, frozen_after };
        let some = (!terms.rule.sources.is_empty()).then(|| terms.rule.clone());
        some.map_or(Ok(()), |rule| rule.check()).map_err(|error| error.within(node.path()))?;
        Ok(terms)
    }

    /// The rule, of the sources of these names where the card names none.
    #[must_use]
    pub fn of(&self, names: &[String]) -> IndexRule {
        let mut rule = self.rule.clone();
        if rule.sources.is_empty() {
            let source = |name: &String| Source {
                name: name.as_str().into(),
                weight: 1,
                max_age: self.max_age,
                frozen_after: self.frozen_after,
                floor: None,
                cap: None,
            };
            rule.sources = names.iter().map(source).collect();
        }
        rule
    }
}

impl MarkRule {
    fn read(node: &Node<'_>) -> Result<Self> {
        node.allow(&["terms", "min_terms", "step", "one_source"])?;
        let rows = node.get("terms")?.items()?;
        let terms = rows.iter().map(Term::read).collect::<Result<Vec<_>>>()?;
        let min_terms = optional(node, "min_terms", count)?.unwrap_or(terms.len());
        let rule = Self { terms, min_terms, step: optional(node, "step", Node::rate)? };
        rule.check().map_err(|error| error.within(node.path()))?;
        Ok(rule)
    }
}

impl Term {
    fn read(node: &Node<'_>) -> Result<Self> {
        let rule = node.get("rule")?;
        let time = |key: &str| node.get(key)?.time();
        let of = || Ok(optional(node, "of", |own| own.word(Of::NAMES))?.unwrap_or(Of::Mid));
        let (keys, term): (&[&str], _) = match rule.word(Self::NAMES)? {
            Self::Fair { .. } => {
                let step = optional(node, "step", Node::time)?.unwrap_or(1);
                (&["interval", "step"], Self::Fair { interval: time("interval")?, step })
            }
            Self::Basis { .. } => {
                let (samples, every) = (count(&node.get("samples")?)?, time("every")?);
                (&["of", "samples", "every"], Self::Basis { of: of()?, samples, every })
            }
            Self::Ema { .. } => {
                let (window, every) = (time("window")?, time("every")?);
                (&["of", "window", "every"], Self::Ema { of: of()?, window, every })
            }
            plain => (&[], plain),
        };
        node.allow(&[&["rule"], keys].concat())?;
        Ok(term)
    }
}

const FUNDING_KEYS: &[&str] = &[
    "average",
    "interest",
    "clamp",
    "dead_band",
    "floor",
    "cap",
    "scale",
    "decimals",
    "rounding",
    "interval",
    "sample",
    "lag",
    "timing",
    "paid_on",
    "premium",
    "quoted",
    "grace",
    "order",
    "cap_factor",
    "divergence",
];

/// A rate in parts of [`UNIT`] at a key, if it is there.
fn parts(node: &Node<'_>, key: &str) -> Result<Option<i64>> {
    optional(node, key, |own| {
        let unit = Decimal::parse("1e-12", "rate")?;
        let parts = own.decimal()?.whole(unit, own.path())?;
        i64::try_from(parts)
            .map_err(|_| Error::new(ErrorKind::OutOfRange, own.path(), parts, "must be a rate"))
    })
}

impl FundingRule {
    fn read(node: &Node<'_>, average: Option<Average>) -> Result<Self> {
        let interest = Shape::Interest {
            interest: parts(node, "interest")?.unwrap_or(0),
            clamp: parts(node, "clamp")?,
        };
        let band = parts(node, "dead_band")?;
        if let Some(band) =
            band.filter(|_| interest != (Shape::Interest { interest: 0, clamp: None }))
        {
            let (path, limit) =
                (format!("{}.dead_band", node.path()), "stands instead of interest");
            return Err(Error::new(ErrorKind::BadCard, path, band, limit));
        }
        let decimals = optional(node, "decimals", count)?.unwrap_or(12);
        let rule = Self {
            average: average.unwrap_or(Average::Mean),
            shape: band.map_or(interest, Shape::DeadBand),
            bounds: match (parts(node, "floor")?, parts(node, "cap")?) {
                (None, None) => None,
                (floor, cap) => Some((floor.unwrap_or(-RATE_MAX), cap.unwrap_or(RATE_MAX))),
            },
            scale: optional(node, "scale", Node::rate)?.unwrap_or(Rate::ONE),
            decimals: u32::try_from(decimals).unwrap_or(u32::MAX),
            rounding: optional(node, "rounding", |own| own.word(Rounding::NAMES))?
                .unwrap_or(Rounding::HalfEven),
        };
        rule.check().map_err(|error| error.within(node.path()))?;
        Ok(rule)
    }
}

impl FundingTerms {
    fn read(node: &Node<'_>) -> Result<Self> {
        node.allow(FUNDING_KEYS)?;
        let refuse = |key: &str, value: String, limit: String| {
            let field = format!("{}.{key}", node.path());
            Err(Error::new(ErrorKind::OutOfRange, field, value, limit))
        };
        let average = optional(node, "average", |own| own.word(Average::NAMES))?;
        let sample = optional(node, "sample", Node::time)?;
        let lag = optional(node, "lag", count)?.unwrap_or(0);
        let Ok(lag) = u8::try_from(lag) else {
            return refuse("lag", lag.to_string(), "must be at most 255 intervals".to_owned());
        };
        let interval = node.get("interval")?.time()?;
        let shape = ["interest", "clamp", "dead_band"];
        let terms = Self {
            rule: FundingRule::read(node, average)?,
            shaped: shape.iter().any(|key| node.find(key).is_some()),
            interval,
            sampling: average.zip(sample),
            lag,
            timing: node.get("timing")?.word(Timing::NAMES)?,
            paid_on: node.get("paid_on")?.word(PaidOn::NAMES)?,
            premium: optional(node, "premium", |own| own.word(PremiumOf::NAMES))?
                .unwrap_or(PremiumOf::Impact),
            quoted: optional(node, "quoted", Node::time)?.unwrap_or(interval),
            grace: optional(node, "grace", Node::time)?.unwrap_or(0),
            order: optional(node, "order", |own| own.word(FundingOrder::NAMES))?,
            cap_factor: optional(node, "cap_factor", Node::ratio)?,
            divergence: optional(node, "divergence", Node::rate)?,
        };
        if terms.quoted == 0 {
            return refuse("quoted", "0".to_owned(), "must be above 0".to_owned());
        }
        let sample = sample.unwrap_or(interval);
        if sample == 0 || interval < sample || interval % sample != 0 {
            let limit = format!("must be a whole number of samples, each {sample} ms");
            return refuse("interval", interval.to_string(), limit);
        }
        Ok(terms)
    }
}

impl Limits {
    fn read(node: &Node<'_>) -> Result<Self> {
        node.allow(&["volatile", "uncertain", "stale_for_margin", "min_live", "stale", "refuses"])?;
        let ratio = |own: &Node<'_>| {
            let found = own.ratio()?;
            let pair = u32::try_from(found.num()).ok().zip(u32::try_from(found.den()).ok());
            pair.filter(|(num, den)| num >= den).ok_or_else(|| {
                Error::new(
                    ErrorKind::OutOfRange,
                    own.path(),
                    found,
                    "must be a ratio of at least 1, terms below 2^32",
                )
            })
        };
        Ok(Self {
            volatile: optional(node, "volatile", ratio)?,
            uncertain: optional(node, "uncertain", Node::rate)?,
            stale_for_margin: optional(node, "stale_for_margin", Node::time)?,
            min_live: optional(node, "min_live", count)?,
            stale: optional(node, "stale", Node::time)?,
        })
    }
}

impl Blend {
    /// Their names.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("median", Self::Median),
        ("weighted_median", Self::WeightedMedian),
        ("weighted_mean", Self::WeightedMean),
    ];
}

impl Of {
    /// Their names.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("mid", Self::Mid), ("impact_mid", Self::ImpactMid), ("last", Self::Last)];
}

impl Average {
    /// Their names.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("mean", Self::Mean), ("rising", Self::Rising)];
}

impl Term {
    /// Their names; those that are made of something with zeros for it.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("index", Self::Index),
        ("last", Self::Last),
        ("mid", Self::Mid),
        ("impact_mid", Self::ImpactMid),
        ("book_median", Self::BookMedian),
        ("outside", Self::Outside),
        ("fair", Self::Fair { interval: 0, step: 0 }),
        ("basis", Self::Basis { of: Of::Mid, samples: 0, every: 0 }),
        ("ema", Self::Ema { of: Of::Mid, window: 0, every: 0 }),
    ];
}

impl Timing {
    /// Their names.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("discrete", Self::Discrete), ("continuous", Self::Continuous)];
}

impl PremiumOf {
    /// Their names.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("impact", Self::Impact), ("mark", Self::Mark)];
}

impl FundingOrder {
    /// Their names.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("before_check", Self::BeforeCheck), ("after_check", Self::AfterCheck)];
}

impl PaidOn {
    /// Their names.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("mark", Self::Mark), ("index", Self::Index)];
}

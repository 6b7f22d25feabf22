//! What a card says of fees, of the liquidation path and of limits, as data. `docs/spec/card.md`, "Rules of the path".

use super::formula::Formula;
use super::policy::Policy;
use super::price_rules::optional;
use super::tree::Node;
use crate::numbers::{Error, ErrorKind, Exact, Result, Rounding};

/// The most rows of one list here.
const ROWS_MAX: usize = 64;

/// What makers and takers pay from a volume on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeeLevel {
    /// Its name.
    pub name: String,
    /// From which volume on.
    pub volume: Exact,
    /// What a maker pays; a rebate below 0.
    pub maker: Exact,
    /// What a taker pays.
    pub taker: Exact,
}

/// What the limit of a liquidation order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepLimit {
    /// The bankruptcy price.
    Bankruptcy,
    /// Between the mark and beyond bankruptcy, by how far the pool is below its requirement (dYdX).
    Fillable,
}

/// One step of a liquidation by the venue's own formulas: those of its parameters that the card gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepRule {
    /// What its limit is.
    pub limit: Option<StepLimit>,
    /// How fast the limit goes from the mark to beyond bankruptcy.
    pub bankruptcy_adjustment: Option<Exact>,
    /// How far beyond, in parts of the maintenance requirement.
    pub spread_to_maintenance: Option<Exact>,
    /// The part of a position that a step closes at most.
    pub portion: Option<Exact>,
    /// What it closes at least, an amount.
    pub least: Option<Exact>,
    /// What is added to the maintenance rate.
    pub buffer: Option<Exact>,
    /// What the liquidator gets.
    pub liquidator_fee: Option<Exact>,
    /// The most that it becomes.
    pub liquidator_fee_max: Option<Exact>,
    /// What each slot without activity adds.
    pub fee_ramp: Option<Exact>,
    /// After how many of them.
    pub fee_grace_slots: Option<Exact>,
    /// The part of what is left that the insurance fund may take.
    pub insurance_share: Option<Exact>,
    /// The most that it takes, as a rate.
    pub insurance_fee_max: Option<Exact>,
}

/// How those who are deleveraged are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdlScore {
    /// By profit and effective leverage (`BitMEX`).
    ProfitLeverage,
    /// By price over entry and effective leverage (Hyperliquid).
    MarkOverEntry,
}

/// When deleveraging begins, and with whom.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdlRule {
    /// The drawdown of the insurance pool from which on.
    pub trigger: Option<Exact>,
    /// That at which it ends.
    pub stop: Option<Exact>,
    /// Over which time the peak is taken, in milliseconds.
    pub window: Option<i64>,
    /// Who comes first.
    pub score: Option<AdlScore>,
}

/// Which price a band is around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BandOf {
    /// The mark.
    Mark,
    /// The index.
    Index,
}

/// How a band is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Band {
    /// A part of a price down and up.
    Fixed {
        /// Which.
        of: BandOf,
        /// Down.
        down: Exact,
        /// Up.
        up: Exact,
    },
    /// The index with the average premium, an inner band around it, within an outer one (OKX).
    Premium {
        /// The inner band.
        inner: Exact,
        /// The outer one.
        outer: Exact,
    },
}

/// Between which prices orders may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BandRule {
    /// Of all instruments.
    pub all: Band,
    /// Of some, by symbol.
    pub own: Vec<(String, Band)>,
}

/// How much of something one may send in a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throttle {
    /// Of what: `orders`, `messages`, `weight`.
    pub what: String,
    /// For whom: `account`, `address`, `instrument`.
    pub by: String,
    /// How many.
    pub most: u64,
    /// In which time, in milliseconds.
    pub every: i64,
}

/// How much may leave in a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outflow {
    /// Its name.
    pub window: String,
    /// The time in which the capacity comes back, in milliseconds.
    pub every: i64,
    /// What may leave at least.
    pub least: Exact,
    /// What part of all there is may.
    pub share: Exact,
}

/// From which open interest on the initial rate grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenInterestScale {
    /// Whose.
    pub symbol: String,
    /// From where.
    pub lower: Exact,
    /// Where it is one.
    pub upper: Exact,
}

/// How the answer of a formula is rounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormulaRounding {
    /// Of which.
    pub formula: &'static Formula,
    /// To a whole number of these.
    pub to: Exact,
    /// How.
    pub mode: Rounding,
}

/// What follows a failure, a word each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailureRule {
    /// What becomes of a source that is late, frozen or far off.
    pub stale_source: Option<String>,
    /// What the mark is without an index.
    pub halted_index: Option<String>,
    /// What is possible after an outage.
    pub outage: Option<String>,
    /// At what open positions are settled when a contract ends.
    pub delisting: Option<String>,
    /// How old a price may be at most when trading goes on, in milliseconds.
    pub restart_fresh: Option<i64>,
}

/// What a card says of fees, of the liquidation path and of limits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathRules {
    /// Fees by volume, in its order.
    pub fees: Vec<FeeLevel>,
    /// How the engine liquidates, unless it is told otherwise.
    pub policy: Option<Policy>,
    /// One step, by the venue's own formulas.
    pub step: StepRule,
    /// Deleveraging.
    pub adl: AdlRule,
    /// The band of orders.
    pub band: Option<BandRule>,
    /// Limits of messages.
    pub throttle: Vec<Throttle>,
    /// Limits of withdrawals.
    pub outflow: Vec<Outflow>,
    /// Initial rates that grow with open interest.
    pub open_interest: Vec<OpenInterestScale>,
    /// Roundings of formulas.
    pub rounding: Vec<FormulaRounding>,
    /// What follows a failure.
    pub failure: FailureRule,
}

/// The keys of the rules that are read here.
pub(super) const KEYS: [&str; 10] = [
    "fees",
    "liquidation",
    "step",
    "adl",
    "band",
    "throttle",
    "outflow",
    "open_interest",
    "rounding",
    "failure",
];

fn out_of_range(node: &Node<'_>, value: impl std::fmt::Display, limit: &str) -> Error {
    Error::new(ErrorKind::OutOfRange, node.path(), value, limit)
}

/// The same at a key of a table.
fn out_of_range_at(node: &Node<'_>, key: &str, value: &Exact, limit: &str) -> Error {
    let field = format!("{}.{key}", node.path());
    Error::new(ErrorKind::OutOfRange, field, value, limit)
}

fn exact(node: &Node<'_>) -> Result<Exact> {
    node.exact()
}

fn part(node: &Node<'_>) -> Result<Exact> {
    node.rate().map(Exact::from)
}

fn amount(node: &Node<'_>) -> Result<Exact> {
    let found = exact(node)?;
    if found.sign() < 0 {
        return Err(out_of_range(node, found, "must not be below 0"));
    }
    Ok(found)
}

fn whole(node: &Node<'_>) -> Result<Exact> {
    let found = amount(node)?;
    if found.to_i128().is_none() {
        return Err(out_of_range(node, found, "must be a whole number"));
    }
    Ok(found)
}

fn words(node: &Node<'_>, names: &[&str]) -> Result<String> {
    let pairs: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
    node.word(&pairs).map(str::to_owned)
}

/// A list, or nothing where the key is absent.
fn rows<'a>(rules: &Node<'a>, key: &str) -> Result<Vec<Node<'a>>> {
    let Some(list) = rules.find(key) else { return Ok(Vec::new()) };
    let items = list.items()?;
    if items.is_empty() || items.len() > ROWS_MAX {
        let limit = format!("must be 1 to {ROWS_MAX} rows");
        return Err(Error::new(ErrorKind::OutOfRange, list.path(), items.len(), limit));
    }
    Ok(items)
}

impl FeeLevel {
    fn read(node: &Node<'_>) -> Result<Self> {
        node.allow(&["name", "volume", "maker", "taker"])?;
        let rate = |key: &str| {
            let own = node.get(key)?;
            let found = exact(&own)?;
            if found.abs() > Exact::from(1) {
                return Err(out_of_range(&own, found, "must be -1 to 1"));
            }
            Ok(found)
        };
        Ok(Self {
            name: node.get("name")?.text()?.to_owned(),
            volume: optional(node, "volume", amount)?.unwrap_or_else(Exact::zero),
            maker: rate("maker")?,
            taker: rate("taker")?,
        })
    }

    /// The levels of a card: volumes rise from 0, no fee rises with volume, and the first taker's fee is the card's own.
    fn read_all(rules: &Node<'_>) -> Result<Vec<Self>> {
        let Some(fees) = rules.find("fees") else { return Ok(Vec::new()) };
        fees.allow(&["levels"])?;
        fees.get("levels")?;
        let nodes = rows(&fees, "levels")?;
        let levels = nodes.iter().map(Self::read).collect::<Result<Vec<_>>>()?;
        let mut last: Option<&Self> = None;
        for (level, node) in levels.iter().zip(&nodes) {
            let rises = last.map_or(level.volume.sign() == 0, |last| last.volume < level.volume);
            if !rises {
                let limit = "volumes must rise from 0, each level above the one before";
                return Err(out_of_range_at(node, "volume", &level.volume, limit));
            }
            last = Some(level);
        }
        let said = optional(rules, "taker_fee", Node::rate)?.map(Exact::from);
        let first = levels.first().map(|level| level.taker.clone());
        if let (Some(said), Some(first)) = (said, first)
            && said != first
        {
            let limit = format!("must be rules.taker_fee, {said}");
            let node = nodes.first().unwrap_or(&fees);
            return Err(out_of_range_at(node, "taker", &first, &limit));
        }
        Ok(levels)
    }
}

impl StepRule {
    fn read(rules: &Node<'_>) -> Result<Self> {
        let Some(node) = rules.find("step") else { return Ok(Self::default()) };
        node.allow(&[
            "limit",
            "bankruptcy_adjustment",
            "spread_to_maintenance",
            "portion",
            "least",
            "buffer",
            "liquidator_fee",
            "liquidator_fee_max",
            "fee_ramp",
            "fee_grace_slots",
            "insurance_share",
            "insurance_fee_max",
        ])?;
        let limits = [("bankruptcy", StepLimit::Bankruptcy), ("fillable", StepLimit::Fillable)];
        Ok(Self {
            limit: optional(&node, "limit", |own| own.word(&limits))?,
            bankruptcy_adjustment: optional(&node, "bankruptcy_adjustment", amount)?,
            spread_to_maintenance: optional(&node, "spread_to_maintenance", part)?,
            portion: optional(&node, "portion", part)?,
            least: optional(&node, "least", amount)?,
            buffer: optional(&node, "buffer", part)?,
            liquidator_fee: optional(&node, "liquidator_fee", part)?,
            liquidator_fee_max: optional(&node, "liquidator_fee_max", part)?,
            fee_ramp: optional(&node, "fee_ramp", part)?,
            fee_grace_slots: optional(&node, "fee_grace_slots", whole)?,
            insurance_share: optional(&node, "insurance_share", part)?,
            insurance_fee_max: optional(&node, "insurance_fee_max", part)?,
        })
    }
}

impl AdlRule {
    fn read(rules: &Node<'_>) -> Result<Self> {
        let Some(node) = rules.find("adl") else { return Ok(Self::default()) };
        node.allow(&["trigger", "stop", "window", "score"])?;
        let scores = [
            ("profit_leverage", AdlScore::ProfitLeverage),
            ("mark_over_entry", AdlScore::MarkOverEntry),
        ];
        let rule = Self {
            trigger: optional(&node, "trigger", part)?,
            stop: optional(&node, "stop", part)?,
            window: optional(&node, "window", Node::time)?,
            score: optional(&node, "score", |own| own.word(&scores))?,
        };
        if let (Some(trigger), Some(stop)) = (&rule.trigger, &rule.stop)
            && stop > trigger
        {
            let limit = format!("must be at most the trigger, {trigger}");
            return Err(out_of_range(&node.get("stop")?, stop, &limit));
        }
        Ok(rule)
    }
}

impl Band {
    fn read(node: &Node<'_>, more: &[&str]) -> Result<Self> {
        let rule = optional(node, "rule", |own| own.word(&[("fixed", false), ("premium", true)]))?;
        if rule == Some(true) {
            node.allow(&[&["rule", "inner", "outer"], more].concat())?;
            let (inner, outer) = (part(&node.get("inner")?)?, part(&node.get("outer")?)?);
            if outer < inner {
                let limit = format!("must be at least the inner band, {inner}");
                return Err(out_of_range(&node.get("outer")?, outer, &limit));
            }
            return Ok(Self::Premium { inner, outer });
        }
        node.allow(&[&["rule", "of", "down", "up"], more].concat())?;
        Ok(Self::Fixed {
            of: node.get("of")?.word(&[("mark", BandOf::Mark), ("index", BandOf::Index)])?,
            down: part(&node.get("down")?)?,
            up: amount(&node.get("up")?)?,
        })
    }
}

impl BandRule {
    fn read(rules: &Node<'_>) -> Result<Option<Self>> {
        let Some(node) = rules.find("band") else { return Ok(None) };
        let all = Band::read(&node, &["instrument"])?;
        let mut own = Vec::new();
        if let Some(table) = node.find("instrument") {
            for (symbol, _) in table.entries()? {
                own.push((symbol.to_owned(), Band::read(&table.get(symbol)?, &[])?));
            }
        }
        Ok(Some(Self { all, own }))
    }

    /// The band of an instrument.
    #[must_use]
    pub fn of(&self, symbol: &str) -> &Band {
        self.own.iter().find(|(own, _)| own == symbol).map_or(&self.all, |(_, band)| band)
    }
}

impl Throttle {
    fn read(node: &Node<'_>) -> Result<Self> {
        node.allow(&["what", "by", "most", "every"])?;
        let most = node.get("most")?;
        let found = whole(&most)?.to_i128().and_then(|found| u64::try_from(found).ok());
        Ok(Self {
            what: words(&node.get("what")?, &["orders", "cancels", "messages", "weight"])?,
            by: words(&node.get("by")?, &["account", "address", "instrument"])?,
            most: found
                .filter(|found| *found > 0)
                .ok_or_else(|| out_of_range(&most, most.value(), "must be at least 1"))?,
            every: span(&node.get("every")?)?,
        })
    }
}

/// A time above zero.
fn span(node: &Node<'_>) -> Result<i64> {
    let time = node.time()?;
    if time > 0 { Ok(time) } else { Err(out_of_range(node, time, "must be above 0")) }
}

impl Outflow {
    fn read(node: &Node<'_>) -> Result<Self> {
        node.allow(&["window", "every", "least", "share"])?;
        Ok(Self {
            window: node.get("window")?.text()?.to_owned(),
            every: span(&node.get("every")?)?,
            least: amount(&node.get("least")?)?,
            share: part(&node.get("share")?)?,
        })
    }
}

impl OpenInterestScale {
    fn read_all(rules: &Node<'_>, symbols: &[&str]) -> Result<Vec<Self>> {
        let Some(table) = rules.find("open_interest") else { return Ok(Vec::new()) };
        table.allow(symbols)?;
        let one = |(symbol, _): (&str, _)| {
            let node = table.get(symbol)?;
            node.allow(&["lower", "upper"])?;
            let (lower, upper) = (amount(&node.get("lower")?)?, amount(&node.get("upper")?)?);
            if upper.sign() > 0 && upper <= lower {
                let limit = format!("must be 0, or above the lower one, {lower}");
                return Err(out_of_range(&node.get("upper")?, upper, &limit));
            }
            Ok(Self { symbol: symbol.to_owned(), lower, upper })
        };
        table.entries()?.map(one).collect()
    }
}

impl FormulaRounding {
    fn read_all(rules: &Node<'_>) -> Result<Vec<Self>> {
        let Some(table) = rules.find("rounding") else { return Ok(Vec::new()) };
        let one = |(name, _): (&'_ str, _)| {
            let node = table.get(name)?;
            let formula = Formula::find(name, node.path())?;
            node.allow(&["to", "mode"])?;
            let to = Exact::from(node.get("to")?.positive()?);
            Ok(Self { formula, to, mode: node.get("mode")?.word(Rounding::NAMES)? })
        };
        table.entries()?.map(one).collect()
    }
}

impl FailureRule {
    fn read(rules: &Node<'_>) -> Result<Self> {
        let Some(node) = rules.find("failure") else { return Ok(Self::default()) };
        node.allow(&["stale_source", "halted_index", "outage", "delisting", "restart_fresh"])?;
        let word = |key: &str, names: &[&str]| optional(&node, key, |own| words(own, names));
        Ok(Self {
            stale_source: word("stale_source", &["exclude", "hold", "halt"])?,
            halted_index: word("halted_index", &["hold", "book", "halt", "settle"])?,
            outage: word("outage", &["cancel_only", "post_only", "auction", "resume"])?,
            delisting: word("delisting", &["index", "index_average", "mark", "last"])?,
            restart_fresh: optional(&node, "restart_fresh", span)?,
        })
    }
}

impl PathRules {
    pub(super) fn read(rules: &Node<'_>, symbols: &[&str]) -> Result<Self> {
        let band = BandRule::read(rules)?;
        for (symbol, _) in band.iter().flat_map(|band| &band.own) {
            if !symbols.contains(&symbol.as_str()) {
                let limit = format!("must be an instrument of the card: {}", symbols.join(", "));
                return Err(Error::new(ErrorKind::BadCard, "rules.band.instrument", symbol, limit));
            }
        }
        Ok(Self {
            fees: FeeLevel::read_all(rules)?,
            policy: optional(rules, "liquidation", Policy::read_within)?,
            step: StepRule::read(rules)?,
            adl: AdlRule::read(rules)?,
            band,
            throttle: rows(rules, "throttle")?.iter().map(Throttle::read).collect::<Result<_>>()?,
            outflow: rows(rules, "outflow")?.iter().map(Outflow::read).collect::<Result<_>>()?,
            open_interest: OpenInterestScale::read_all(rules, symbols)?,
            rounding: FormulaRounding::read_all(rules)?,
            failure: FailureRule::read(rules)?,
        })
    }
}

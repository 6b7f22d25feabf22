//! The venue card: rules, instruments and, from version 1 on, definitions. See `docs/spec/card.md`.

use serde_json::{Map, Value};

use super::asset::{Asset, AssetId};
use super::definition::{self, Definition};
use super::instrument::Instrument;
use super::path_rules::{self, PathRules};
use super::policy::Policy;
use super::price_rules::{self, PriceRules};
use super::tree::{Node, from_text, from_toml};
use crate::numbers::limits::{ASSETS_MAX, INSTRUMENTS_MAX};
use crate::numbers::{Canonical, Decimal, Digest, Error, ErrorKind, Rate, Result};

/// The schema of cards that only run.
pub const SCHEMA: &str = "aivora-card/0";
/// The schema of cards that say in words, and with sources, what they run.
pub const SCHEMA_SAID: &str = "aivora-card/1";

/// What value of a position a requirement is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Basis {
    /// Quantity at the current mark.
    Mark,
    /// The cost basis.
    Entry,
}

/// Where the fee of closing stands in the requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClosingFee {
    /// Not in it.
    None,
    /// Taker fee on the value at the mark.
    Mark,
    /// Taker fee on the value at the bankruptcy price that entry and leverage give.
    Bankruptcy,
}

/// The event on which the liquidation check is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckOn {
    /// Each price.
    Mark,
    /// The end of each block.
    Block,
    /// Each time that is a multiple of so many milliseconds.
    Every(i64),
}

/// The longest time between two checks, in milliseconds: a day.
const CHECK_EVERY_MAX: i64 = 86_400_000;

impl CheckOn {
    fn read(node: &Node<'_>) -> Result<Self> {
        let text = node.text()?;
        let every = text.strip_suffix("ms").and_then(|number| number.parse().ok());
        match (text, every) {
            ("mark", _) => Ok(Self::Mark),
            ("block", _) => Ok(Self::Block),
            (_, Some(every)) if (1..=CHECK_EVERY_MAX).contains(&every) => Ok(Self::Every(every)),
            _ => {
                let limit = format!("must be mark, block, or 1ms to {CHECK_EVERY_MAX}ms");
                Err(Error::new(ErrorKind::BadCard, node.path(), text, limit))
            }
        }
    }
}

impl std::fmt::Display for CheckOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mark => f.write_str("mark"),
            Self::Block => f.write_str("block"),
            Self::Every(ms) => write!(f, "{ms}ms"),
        }
    }
}

/// The rules of a venue that hold for all its instruments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools)] // each is one rule of the card, with two answers
pub struct Rules {
    /// The settlement asset of instruments that do not name theirs.
    pub settlement: String,
    /// Its place.
    pub settlement_id: AssetId,
    /// Its quantum.
    pub quantum: Decimal,
    /// What pools of several assets are valued in, where the venue has such pools.
    pub valuation: Option<AssetId>,
    /// Pools that do not say hold several assets.
    pub multi: bool,
    /// The share of unrealised profit that backs a withdrawal.
    pub withdrawal_profit: Rate,
    /// Liquidatable on `equity < maintenance` (true) or on `<=`.
    pub strict: bool,
    /// The event on which the check is made.
    pub check_on: CheckOn,
    /// What maintenance is taken of.
    pub maintenance_basis: Basis,
    /// What initial margin is taken of.
    pub initial_basis: Basis,
    /// Maintenance rates are half the initial rates.
    pub half_initial: bool,
    /// Where the closing fee stands.
    pub closing_fee: ClosingFee,
    /// The bankruptcy price counts the taker fee.
    pub bankruptcy_fee: bool,
    /// The taker fee of instruments that do not name theirs.
    pub taker_fee: Option<Rate>,
}

/// A venue as its card defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Venue {
    name: String,
    title: String,
    version: String,
    sources: Vec<String>,
    rules: Rules,
    assets: Vec<Asset>,
    instruments: Vec<Instrument>,
    prices: PriceRules,
    path: PathRules,
    words: Map<String, Value>,
    definitions: Vec<Definition>,
    digest: Digest,
}

/// An instrument's place in its venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstrumentId(pub(crate) u32);

impl InstrumentId {
    /// The place as an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const CARD_KEYS: &[&str] = &[
    "schema",
    "name",
    "title",
    "version",
    "sources",
    "asset",
    "rules",
    "instrument",
    "definition",
];
const RULE_KEYS: &[&str] = &[
    "settlement",
    "valuation",
    "margin_mode",
    "withdrawal_profit",
    "trigger",
    "check_on",
    "maintenance_basis",
    "initial_basis",
    "maintenance_from",
    "closing_fee",
    "bankruptcy_fee",
    "equity_allotment",
    "taker_fee",
];

impl Venue {
    /// The built-in cards: name and TOML text.
    pub const BUILTIN: &'static [(&'static str, &'static str)] = &[
        ("demo", include_str!("../../cards/demo.toml")),
        ("reference", include_str!("../../cards/reference.toml")),
        ("binance-usdm", include_str!("../../cards/binance-usdm.toml")),
        ("binance-coinm", include_str!("../../cards/binance-coinm.toml")),
        ("bybit-linear", include_str!("../../cards/bybit-linear.toml")),
        ("bybit-inverse", include_str!("../../cards/bybit-inverse.toml")),
        ("okx-swap", include_str!("../../cards/okx-swap.toml")),
        ("bitmex", include_str!("../../cards/bitmex.toml")),
        ("deribit", include_str!("../../cards/deribit.toml")),
        ("kraken-futures", include_str!("../../cards/kraken-futures.toml")),
        ("gate", include_str!("../../cards/gate.toml")),
        ("bitget", include_str!("../../cards/bitget.toml")),
        ("hyperliquid", include_str!("../../cards/hyperliquid.toml")),
        ("dydx-v4", include_str!("../../cards/dydx-v4.toml")),
        ("drift-v2", include_str!("../../cards/drift-v2.toml")),
    ];

    /// A built-in card by name.
    ///
    /// # Errors
    /// `unknown_venue` naming those there are.
    pub fn builtin(name: &str) -> Result<Self> {
        let found = Self::BUILTIN.iter().find(|(n, _)| *n == name);
        let (_, text) = found.ok_or_else(|| {
            let names: Vec<_> = Self::BUILTIN.iter().map(|(n, _)| *n).collect();
            let limit = format!("built-in cards are {}; or give a path", names.join(", "));
            Error::new(ErrorKind::UnknownVenue, "venue", name, limit)
        })?;
        Self::from_toml(text)
    }

    /// A card as TOML text.
    ///
    /// # Errors
    /// `bad_card`, `bad_tiers`, `float_given`, `off_grid`, `out_of_range`, each naming the path in the card.
    pub fn from_toml(text: &str) -> Result<Self> {
        Self::from_tree(&from_toml(text)?)
    }

    /// A card as text: JSON where it is an object of it, else TOML.
    ///
    /// # Errors
    /// As [`Venue::from_toml`].
    pub fn from_text(text: &str) -> Result<Self> {
        Self::from_tree(&from_text(text)?)
    }

    /// A card as a tree, such as JSON gives.
    ///
    /// # Errors
    /// As [`Venue::from_toml`].
    pub fn from_tree(tree: &Value) -> Result<Self> {
        let root = Node::root(tree)?;
        root.allow(CARD_KEYS)?;
        let schema = root.get("schema")?;
        let is_said = schema.word(&[(SCHEMA, false), (SCHEMA_SAID, true)])?;
        let assets = read_assets(&root)?;
        let rules = Rules::read(&root, &assets)?;
        let rows = root.get("instrument")?.items()?;
        if rows.is_empty() || rows.len() > INSTRUMENTS_MAX {
            let limit = format!("must be 1 to {INSTRUMENTS_MAX}");
            return Err(Error::new(ErrorKind::BadCard, "instrument", rows.len(), limit));
        }
        let mut instruments: Vec<Instrument> = Vec::with_capacity(rows.len());
        for row in &rows {
            let instrument = Instrument::read(row, &rules, &assets)?;
            if instruments.iter().any(|i| i.symbol() == instrument.symbol()) {
                let field = format!("{}.symbol", row.path());
                let limit = "stands twice in the card";
                return Err(Error::new(ErrorKind::DuplicateKey, field, instrument.symbol(), limit));
            }
            instruments.push(instrument);
        }
        let plain = |key: &str| match root.find(key) {
            Some(node) => node.text().map(str::to_owned),
            None => Ok(String::new()),
        };
        let sources = match root.find("sources") {
            Some(list) => {
                list.items()?.iter().map(|s| s.text().map(str::to_owned)).collect::<Result<_>>()?
            }
            None => Vec::new(),
        };
        let (prices, definitions) = if is_said { said(&root)? } else { unsaid(&root)? };
        let symbols: Vec<_> = instruments.iter().map(Instrument::symbol).collect();
        let rule_table = root.get("rules")?;
        let path = PathRules::read(&rule_table, &symbols)?;
        let words = said_keys()
            .filter_map(|key| Some((key.to_owned(), rule_table.find(key)?.value().clone())))
            .collect();
        let mut venue = Self {
            name: read_name(&root)?,
            title: plain("title")?,
            version: plain("version")?,
            sources,
            rules,
            assets,
            instruments,
            prices,
            path,
            words,
            definitions,
            digest: Canonical::default().digest(),
        };
        venue.digest = venue.canonical(tree);
        venue.check_readings(tree)?;
        Ok(venue)
    }

    /// Each reading of a definition is a venue that can be.
    fn check_readings(&self, tree: &Value) -> Result<()> {
        for of in &self.definitions {
            for (place, reading) in of.readings.iter().enumerate() {
                if !reading.rules.is_null() {
                    let path = format!("definition.{}.reading[{place}]", of.figure.name);
                    Self::from_tree(&read_so(tree, &reading.rules, &path)?)
                        .map_err(|error| error.within(&path))?;
                }
            }
        }
        Ok(())
    }

    fn canonical(&self, tree: &Value) -> Digest {
        let is_said = !self.definitions.is_empty();
        let mut c = Canonical::of(if is_said { SCHEMA_SAID } else { SCHEMA });
        c.text(&self.name).text(&self.title).text(&self.version).length(self.sources.len());
        for source in &self.sources {
            c.text(source);
        }
        self.rules.encode(&mut c);
        c.length(self.assets.len());
        for asset in &self.assets {
            asset.encode(&mut c);
        }
        c.length(self.instruments.len());
        for instrument in &self.instruments {
            instrument.encode(&mut c);
        }
        if is_said {
            definition::encode(&Value::Object(self.words.clone()), &mut c);
            definition::encode(tree.get("definition").unwrap_or(&Value::Null), &mut c);
        }
        c.digest()
    }

    /// Its short name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name for people.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The version of the card.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where its figures come from.
    #[must_use]
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// The rules that hold for all its instruments.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How its prices are made.
    #[must_use]
    pub fn prices(&self) -> &PriceRules {
        &self.prices
    }

    /// What it says of fees, of the liquidation path and of limits.
    #[must_use]
    pub fn path(&self) -> &PathRules {
        &self.path
    }

    /// The rules of prices and of the path as the card writes them, those that there are.
    #[must_use]
    pub fn words(&self) -> &Map<String, Value> {
        &self.words
    }

    /// How the card liquidates, as the text that an engine takes; none where it does not say.
    #[must_use]
    pub fn policy_text(&self) -> Option<String> {
        self.words.get("liquidation").and_then(|table| Policy::text(table).ok())
    }

    /// What it says in words, a definition for each of [`definition::FIGURES`]; none in a card of version 0.
    #[must_use]
    pub fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// All instruments, in the order of the card.
    #[must_use]
    pub fn instruments(&self) -> &[Instrument] {
        &self.instruments
    }

    /// The digest of all the card says.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The place of an instrument by its symbol.
    ///
    /// # Errors
    /// `unknown_instrument`.
    pub fn find(&self, symbol: &str) -> Result<InstrumentId> {
        let place = self.instruments.iter().position(|i| i.symbol() == symbol);
        place.and_then(|p| u32::try_from(p).ok()).map(InstrumentId).ok_or_else(|| {
            let some: Vec<_> = self.instruments.iter().take(6).map(Instrument::symbol).collect();
            let more = if self.instruments.len() > 6 { ", …" } else { "" };
            let limit = format!("instruments of {}: {}{more}", self.name, some.join(", "));
            Error::new(ErrorKind::UnknownInstrument, "instrument", symbol, limit)
        })
    }

    /// The instrument that is written so many places after the first one in the card.
    ///
    /// # Errors
    /// `unknown_instrument`.
    pub fn nth(&self, place: usize) -> Result<InstrumentId> {
        let known = self.instruments.get(place).and_then(|_| u32::try_from(place).ok());
        known.map(InstrumentId).ok_or_else(|| {
            let limit = format!("must be a place in the card, 0 to {}", self.instruments.len() - 1);
            Error::new(ErrorKind::UnknownInstrument, "instrument", place, limit)
        })
    }

    /// The asset so many places after the first one, in order of their names.
    ///
    /// # Errors
    /// `unknown_asset`.
    pub fn nth_asset(&self, place: usize) -> Result<AssetId> {
        let known = self.assets.get(place).and_then(|_| u8::try_from(place).ok());
        known.map(AssetId).ok_or_else(|| {
            let limit = format!("must be 0 to {}", self.assets.len() - 1);
            Error::new(ErrorKind::UnknownAsset, "asset", place, limit)
        })
    }

    /// The instrument at a place.
    ///
    /// # Errors
    /// `invariant_broken` for a place of another venue.
    pub fn instrument(&self, id: InstrumentId) -> Result<&Instrument> {
        self.instruments.get(id.index()).ok_or_else(|| Error::invariant("instrument place"))
    }

    /// An instrument by its symbol.
    ///
    /// # Errors
    /// `unknown_instrument`.
    pub fn get(&self, symbol: &str) -> Result<&Instrument> {
        self.instrument(self.find(symbol)?)
    }

    /// All assets, in order of their names.
    #[must_use]
    pub fn assets(&self) -> &[Asset] {
        &self.assets
    }

    /// The asset at a place.
    ///
    /// # Errors
    /// `invariant_broken` for a place of another venue.
    pub fn asset(&self, id: AssetId) -> Result<&Asset> {
        self.assets.get(id.index()).ok_or_else(|| Error::invariant("asset place"))
    }

    /// The place of an asset by its name.
    ///
    /// # Errors
    /// `unknown_asset`.
    pub fn find_asset(&self, name: &str) -> Result<AssetId> {
        place_of(name, &self.assets).ok_or_else(|| {
            let limit = format!("assets of {}: {}", self.name, names_of(&self.assets));
            Error::new(ErrorKind::UnknownAsset, "asset", name, limit)
        })
    }

    /// An amount of an asset as a decimal.
    #[must_use]
    pub fn amount(&self, asset: AssetId, quanta: i128) -> Option<Decimal> {
        Decimal::of(quanta, self.assets.get(asset.index())?.quantum())
    }
}

/// What a card of version 1 says beside its rules: it names the event that makes the liquidation check.
fn said(root: &Node<'_>) -> Result<(PriceRules, Vec<Definition>)> {
    let (rules, definitions) = (root.get("rules")?, root.get("definition")?);
    for key in ["trigger", "check_on"] {
        rules.get(key)?;
    }
    definitions.get("trigger")?;
    Ok((PriceRules::read(&rules)?, Definition::read_all(&definitions)?))
}

/// The keys of rules that only a card of version 1 has.
fn said_keys() -> impl Iterator<Item = &'static str> {
    price_rules::KEYS.into_iter().chain(path_rules::KEYS)
}

/// A card of version 0 has no definitions, and no rules of prices or of the path.
fn unsaid(root: &Node<'_>) -> Result<(PriceRules, Vec<Definition>)> {
    let rules = root.get("rules")?;
    let more = said_keys().find_map(|key| rules.find(key));
    if let Some(node) = more.or_else(|| root.find("definition")) {
        let limit = format!("needs schema = \"{SCHEMA_SAID}\"");
        return Err(Error::new(ErrorKind::BadCard, node.path(), "a table", limit));
    }
    Ok((PriceRules::default(), Vec::new()))
}

/// A card with some of its rules changed, and no readings.
///
/// # Errors
/// `bad_card` for changes that are no table.
pub fn read_so(tree: &Value, changes: &Value, path: &str) -> Result<Value> {
    let table = changes.as_object().ok_or_else(|| {
        Error::new(ErrorKind::BadCard, format!("{path}.rules"), changes, "must be a table of rules")
    })?;
    let mut read = tree.clone();
    if let Some(definitions) = read.get_mut("definition").and_then(Value::as_object_mut) {
        for own in definitions.values_mut().filter_map(Value::as_object_mut) {
            own.remove("reading");
        }
    }
    if let Some(rules) = read.get_mut("rules").and_then(Value::as_object_mut) {
        rules.extend(table.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    Ok(read)
}

fn place_of(name: &str, assets: &[Asset]) -> Option<AssetId> {
    let place = assets.iter().position(|a| a.name() == name)?;
    u8::try_from(place).ok().map(AssetId)
}

fn names_of(assets: &[Asset]) -> String {
    assets.iter().map(Asset::name).collect::<Vec<_>>().join(", ")
}

/// The asset that a key of the card names.
pub(super) fn asset_named(node: &Node<'_>, assets: &[Asset]) -> Result<AssetId> {
    let name = node.text()?;
    place_of(name, assets).ok_or_else(|| {
        let limit = format!("must be an asset of the card: {}", names_of(assets));
        Error::new(ErrorKind::BadCard, node.path(), name, limit)
    })
}

fn read_assets(root: &Node<'_>) -> Result<Vec<Asset>> {
    let table = root.get("asset")?;
    let mut names: Vec<&str> = table.entries()?.map(|(name, _)| name).collect();
    names.sort_unstable();
    if names.is_empty() || names.len() > ASSETS_MAX {
        let limit = format!("must be 1 to {ASSETS_MAX}");
        return Err(Error::new(ErrorKind::BadCard, "asset", names.len(), limit));
    }
    let valuation = root.get("rules")?.find("valuation").map(|n| n.text()).transpose()?;
    let quantum_of = |name| {
        let Some(node) = table.find(name) else {
            let limit = format!("must be an asset of the card: {}", names.join(", "));
            return Err(Error::new(ErrorKind::BadCard, "rules.valuation", name, limit));
        };
        Ok((name, node.get("quantum")?.positive()?))
    };
    let valuation = valuation.map(quantum_of).transpose()?;
    let other = |name| valuation.filter(|(v, _)| *v != name).map(|(_, quantum)| quantum);
    names.iter().map(|name| Asset::read(name, &table.get(name)?, other(*name))).collect()
}

/// The word at `key`, or the default.
fn optional<T: Copy>(node: &Node<'_>, key: &str, words: &[(&str, T)], default: T) -> Result<T> {
    node.find(key).map_or(Ok(default), |node| node.word(words))
}

fn read_name(root: &Node<'_>) -> Result<String> {
    let node = root.get("name")?;
    let name = node.text()?;
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if name.is_empty() || !name.bytes().all(plain) {
        let limit = "must be of a-z, 0-9, _ and -";
        return Err(Error::new(ErrorKind::BadCard, node.path(), name, limit));
    }
    Ok(name.to_owned())
}

impl Rules {
    fn encode(&self, c: &mut Canonical) {
        c.int(self.settlement_id.0).int(self.valuation.map_or(-1, |id| i64::from(id.0)));
        c.int(self.multi).text(&self.withdrawal_profit.to_string());
        c.int(self.strict).int(self.maintenance_basis == Basis::Entry);
        c.int(self.initial_basis == Basis::Entry).int(self.half_initial);
        c.int(match self.closing_fee {
            ClosingFee::None => 0,
            ClosingFee::Mark => 1,
            ClosingFee::Bankruptcy => 2,
        });
        c.int(self.bankruptcy_fee).text(&self.taker_fee.map_or(String::new(), |f| f.to_string()));
        // The digest of a card that does not say is as it was before cards could.
        if self.check_on != CheckOn::Mark {
            c.text(&self.check_on.to_string());
        }
    }

    fn read(root: &Node<'_>, assets: &[Asset]) -> Result<Self> {
        let rules = root.get("rules")?;
        rules.allow(&[RULE_KEYS, &price_rules::KEYS, &path_rules::KEYS].concat())?;
        let settlement = rules.get("settlement")?;
        let settlement_id = asset_named(&settlement, assets)?;
        let quantum = assets.get(settlement_id.index()).map(Asset::quantum);
        let valuation = rules.find("valuation").map(|n| asset_named(&n, assets)).transpose()?;
        let multi = optional(&rules, "margin_mode", &[("single", false), ("multi", true)], false)?;
        if multi && valuation.is_none() {
            let limit = "needs a valuation: the asset that several are valued in";
            return Err(Error::new(ErrorKind::BadCard, "rules.margin_mode", "multi", limit));
        }
        let basis = [("mark", Basis::Mark), ("entry", Basis::Entry)];
        let from = [("explicit", false), ("half_initial", true)];
        let fees = [
            ("none", ClosingFee::None),
            ("mark", ClosingFee::Mark),
            ("bankruptcy", ClosingFee::Bankruptcy),
        ];
        optional(&rules, "equity_allotment", &[("maintenance_share", ())], ())?;
        let trigger = [("strict", true), ("non_strict", false)];
        Ok(Self {
            settlement: settlement.text()?.to_owned(),
            settlement_id,
            quantum: quantum.ok_or_else(|| Error::invariant("asset place"))?,
            valuation,
            multi,
            withdrawal_profit: rules
                .find("withdrawal_profit")
                .map_or(Ok(Rate::ZERO), |n| n.rate())?,
            strict: optional(&rules, "trigger", &trigger, true)?,
            check_on: rules.find("check_on").map_or(Ok(CheckOn::Mark), |n| CheckOn::read(&n))?,
            maintenance_basis: optional(&rules, "maintenance_basis", &basis, Basis::Mark)?,
            initial_basis: optional(&rules, "initial_basis", &basis, Basis::Mark)?,
            half_initial: optional(&rules, "maintenance_from", &from, false)?,
            closing_fee: optional(&rules, "closing_fee", &fees, ClosingFee::None)?,
            bankruptcy_fee: optional(
                &rules,
                "bankruptcy_fee",
                &[("none", false), ("taker", true)],
                false,
            )?,
            taker_fee: rules.find("taker_fee").map(|n| n.rate()).transpose()?,
        })
    }
}

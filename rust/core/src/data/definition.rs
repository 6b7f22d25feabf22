//! What a card says in words: a definition for each figure of a venue, where it was read, and what it leaves unsaid.
//! See `docs/spec/card.md`, "Definitions".

use serde_json::Value;

use super::tree::Node;
use crate::numbers::{Canonical, Error, ErrorKind, Result};

/// Something that a venue has to define.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// Its name in a card.
    pub name: &'static str,
    /// The floor that it belongs to.
    pub floor: &'static str,
    /// What its definition answers.
    pub asks: &'static str,
}

const fn figure(name: &'static str, floor: &'static str, asks: &'static str) -> Figure {
    Figure { name, floor, asks }
}

/// What a venue has to define.
pub const FIGURES: &[Figure] = &[
    figure("contract", "data", "What is one contract worth, in which asset, on which grid?"),
    figure(
        "stale_source",
        "data",
        "What happens when a source of a price is late, frozen or far off?",
    ),
    figure("index", "pricing", "Of which sources is the index made, and how?"),
    figure("mark", "pricing", "How is the mark price made?"),
    figure("last", "pricing", "Which trade is the last price, and what does it decide?"),
    figure("premium", "pricing", "How is it measured how far the book is from the index?"),
    figure("funding_rate", "pricing", "How is the funding rate made of premiums?"),
    figure("funding_payment", "pricing", "When, on which price and by whom is funding paid?"),
    figure(
        "funding_order",
        "pricing",
        "Which comes first at one instant: funding or the liquidation check?",
    ),
    figure("halted_index", "pricing", "What happens when there is no index?"),
    figure(
        "trigger",
        "margin",
        "Which event makes the liquidation check, and does a tie liquidate?",
    ),
    figure("margin_modes", "margin", "Which positions share collateral?"),
    figure("collateral", "margin", "What counts as collateral, and with which haircut?"),
    figure("initial", "margin", "What does opening need, and on which value?"),
    figure("maintenance", "margin", "What does keeping need, and on which value?"),
    figure("tiers", "margin", "How do rates grow with size, and is the requirement continuous?"),
    figure("closing_fee", "margin", "Is a fee for closing part of the requirement?"),
    figure(
        "liquidation_price",
        "margin",
        "Which formula gives the liquidation price that is shown?",
    ),
    figure(
        "bankruptcy_price",
        "margin",
        "At which price is the equity of a position gone, fees counted?",
    ),
    figure("fees", "execution", "What do makers and takers pay?"),
    figure("liquidation", "execution", "In which steps is a position closed?"),
    figure("liquidation_fee", "execution", "What does a liquidation cost, and who gets it?"),
    figure("insurance", "execution", "What does the insurance fund get and pay?"),
    figure("adl", "execution", "Who is deleveraged, in which order, at which price?"),
    figure("socialised_loss", "execution", "What happens to a loss that nothing covers?"),
    figure("delisting", "execution", "How is what is open settled when a contract ends?"),
    figure("price_band", "guard", "Between which prices may orders trade?"),
    figure("throttle", "guard", "How many orders may one send, and what is never held back?"),
    figure("outage", "engine", "What happens to orders, checks and prices after an outage?"),
    figure("rounding", "numbers", "Which way is each figure rounded?"),
];

/// How sure a definition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sure {
    /// A page or a repository of the venue says so.
    Official,
    /// A message of the venue shows it.
    Payload,
    /// Somebody else says so.
    ThirdParty,
    /// It follows from figures that were seen.
    Inferred,
    /// It is our own choice.
    Own,
}

impl Sure {
    /// Their names.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("official", Self::Official),
        ("payload", Self::Payload),
        ("third_party", Self::ThirdParty),
        ("inferred", Self::Inferred),
        ("own", Self::Own),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, own)| *own == self).map_or("", |(name, _)| name)
    }
}

/// Words, and where they were read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statement {
    /// A sentence.
    pub says: String,
    /// The same as a formula; empty where there is none.
    pub formula: String,
    /// What it has of numbers, by name; null where there are none.
    pub parameters: Value,
    /// Where it was read; empty for a reading of what is unsaid.
    pub source: String,
    /// The date of the source, or when it was read.
    pub date: String,
    /// How sure it is.
    pub sure: Option<Sure>,
    /// What of the rules it changes, as a tree; null where the core runs nothing of it.
    pub rules: Value,
}

/// What a card says of one figure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Of which.
    pub figure: Figure,
    /// What it says; none where it is unsaid.
    pub statement: Option<Statement>,
    /// Why it is unsaid: what was looked for.
    pub unsaid: String,
    /// Other answers: of another source, where it has one, or such as the silence allows.
    pub readings: Vec<Statement>,
}

/// What is known of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is defined.
    Defined,
    /// Sources differ.
    Contradictory,
    /// It is not.
    Unsaid,
}

impl State {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Defined => "defined",
            Self::Contradictory => "contradictory",
            Self::Unsaid => "unsaid",
        }
    }
}

impl Definition {
    /// What is known of it.
    #[must_use]
    pub fn state(&self) -> State {
        if self.statement.is_none() {
            return State::Unsaid;
        }
        let other = self.readings.iter().any(|reading| !reading.source.is_empty());
        if other { State::Contradictory } else { State::Defined }
    }
}

fn bad(path: String, value: &str, limit: &str) -> Error {
    Error::new(ErrorKind::BadCard, path, value, limit)
}

fn words(node: &Node<'_>, key: &str) -> Result<String> {
    let Some(own) = node.find(key) else { return Ok(String::new()) };
    let text = own.text()?;
    if text.trim().is_empty() {
        return Err(bad(own.path().to_owned(), "\"\"", "must say something, or be left out"));
    }
    Ok(text.to_owned())
}

fn required(node: &Node<'_>, key: &str) -> Result<String> {
    node.get(key)?;
    words(node, key)
}

impl Statement {
    /// A definition, or a reading: of those one without a source is what the silence allows.
    fn read(node: &Node<'_>, is_reading: bool) -> Result<Self> {
        let says = required(node, "says")?;
        let sourced = !is_reading || node.find("source").is_some();
        let of = |key| if sourced { required(node, key) } else { words(node, key) };
        let sure = node.find("sure").map(|own| own.word(Sure::NAMES)).transpose()?;
        if sourced && sure.is_none() {
            node.get("sure")?;
        }
        let rules = node.find("rules").map(|own| own.value().clone());
        let parameters = node.find("parameters");
        for (key, value) in
            parameters.as_ref().map(Node::entries).transpose()?.into_iter().flatten()
        {
            if !(value.is_string() || value.is_i64()) {
                let path = format!("{}.parameters.{key}", node.path());
                return Err(bad(path, &value.to_string(), "must be text or a whole number"));
            }
        }
        Ok(Self {
            says,
            formula: words(node, "formula")?,
            parameters: parameters.map_or(Value::Null, |own| own.value().clone()),
            source: of("source")?,
            date: of("date")?,
            sure,
            rules: rules.unwrap_or(Value::Null),
        })
    }
}

const KEYS: &[&str] =
    &["says", "formula", "parameters", "source", "date", "sure", "unsaid", "reading"];
const READING: &[&str] = &["says", "formula", "parameters", "source", "date", "sure", "rules"];

impl Definition {
    fn read(figure: Figure, node: &Node<'_>) -> Result<Self> {
        node.allow(KEYS)?;
        let unsaid = words(node, "unsaid")?;
        let statement = if unsaid.is_empty() {
            Some(Statement::read(node, false)?)
        } else {
            let said = KEYS.iter().take(6).find(|key| node.find(key).is_some());
            if let Some(key) = said {
                let path = format!("{}.{key}", node.path());
                return Err(bad(path, "something", "cannot stand beside unsaid"));
            }
            None
        };
        let list = node.find("reading").map_or(Ok(Vec::new()), |list| list.items())?;
        let reading = |row: &Node<'_>| {
            row.allow(READING)?;
            Statement::read(row, true)
        };
        let readings = list.iter().map(reading).collect::<Result<_>>()?;
        Ok(Self { figure, statement, unsaid, readings })
    }

    /// The definitions of a card, one for each figure in their order: of those that it does not name nothing is said.
    pub(super) fn read_all(node: &Node<'_>) -> Result<Vec<Self>> {
        let names: Vec<_> = FIGURES.iter().map(|figure| figure.name).collect();
        node.allow(&names)?;
        let one = |figure: &Figure| match node.find(figure.name) {
            Some(own) => Self::read(*figure, &own),
            None => Ok(Self {
                figure: *figure,
                statement: None,
                unsaid: String::new(),
                readings: Vec::new(),
            }),
        };
        FIGURES.iter().map(one).collect()
    }
}

/// Puts a tree into canonical bytes: keys in their order, numbers as text.
pub(super) fn encode(tree: &Value, c: &mut Canonical) {
    match tree {
        Value::Object(table) => {
            let mut keys: Vec<_> = table.keys().collect();
            keys.sort_unstable();
            c.text("table").length(keys.len());
            for key in keys {
                c.text(key);
                if let Some(own) = table.get(key) {
                    encode(own, c);
                }
            }
        }
        Value::Array(items) => {
            c.text("list").length(items.len());
            for item in items {
                encode(item, c);
            }
        }
        Value::String(text) => {
            c.text("text").text(text);
        }
        other => {
            c.text("text").text(&other.to_string());
        }
    }
}

//! Reading a configuration tree (TOML or JSON) with errors that name the path, the value and what is allowed.

use serde_json::Value;

use super::price_rules::TIME_MAX;
use crate::numbers::limits::CARD_BYTES_MAX;
use crate::numbers::{Decimal, Error, ErrorKind, Exact, Rate, Result};

/// One place in a configuration tree.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    path: String,
    value: &'a Value,
}

fn bad(path: &str, value: impl std::fmt::Display, limit: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadCard, path, value, limit)
}

/// TOML text as a tree.
///
/// # Errors
/// `bad_card` with the parser's words when it is not TOML.
pub fn from_toml(text: &str) -> Result<Value> {
    if text.len() > CARD_BYTES_MAX {
        let limit = format!("must be at most {CARD_BYTES_MAX} bytes");
        return Err(Error::new(ErrorKind::LimitExceeded, "card", text.len(), limit));
    }
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        let message = e.message().to_owned();
        let line =
            e.span().map_or(1, |s| 1 + text.get(..s.start).map_or(0, |t| t.matches('\n').count()));
        bad("card", format!("line {line}: {message}"), "must be TOML")
    })?;
    serde_json::to_value(table)
        .map_err(|e| bad("card", e, "must hold text, integers and tables only"))
}

/// Text as a tree: JSON where it is an object of it, else TOML.
///
/// # Errors
/// As [`from_toml`].
pub fn from_text(text: &str) -> Result<Value> {
    match serde_json::from_str::<Value>(text) {
        Ok(tree) if tree.is_object() && text.len() <= CARD_BYTES_MAX => Ok(tree),
        _ => from_toml(text),
    }
}

impl<'a> Node<'a> {
    /// The root of a tree, after a look at every leaf: floats are refused wherever they stand.
    ///
    /// # Errors
    /// `float_given` naming the path of a float.
    pub fn root(value: &'a Value) -> Result<Self> {
        refuse_floats(value, "")?;
        Ok(Self { path: String::new(), value })
    }

    /// Where this is.
    #[must_use]
    pub fn path(&self) -> &str {
        if self.path.is_empty() { "card" } else { &self.path }
    }

    /// What stands here.
    #[must_use]
    pub fn value(&self) -> &'a Value {
        self.value
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Requires a table with no other keys than these.
    ///
    /// # Errors
    /// `bad_card` naming the unknown key.
    pub fn allow(&self, keys: &[&str]) -> Result<()> {
        for (key, value) in self.entries()? {
            if !keys.contains(&key) {
                let near = near(key, keys);
                let limit = format!("unknown key{near}; allowed are {}", keys.join(", "));
                return Err(bad(&self.path_of(key), value, limit));
            }
        }
        Ok(())
    }

    /// The keys and values of a table.
    ///
    /// # Errors
    /// `bad_card` when it is not a table.
    pub fn entries(&self) -> Result<impl Iterator<Item = (&'a str, &'a Value)> + use<'a>> {
        let table = self.value.as_object();
        let table = table.ok_or_else(|| bad(self.path(), self.value, "must be a table"))?;
        Ok(table.iter().map(|(k, v)| (k.as_str(), v)))
    }

    /// The value at a key, if it is there.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<Node<'a>> {
        self.value.get(key).map(|value| Node { path: self.path_of(key), value })
    }

    /// The value at a key.
    ///
    /// # Errors
    /// `bad_card` when it is missing.
    pub fn get(&self, key: &str) -> Result<Node<'a>> {
        self.find(key).ok_or_else(|| bad(&self.path_of(key), "nothing", "this key is required"))
    }

    /// The items of a list.
    ///
    /// # Errors
    /// `bad_card` when it is not a list.
    pub fn items(&self) -> Result<Vec<Node<'a>>> {
        let list = self.value.as_array();
        let list = list.ok_or_else(|| bad(self.path(), self.value, "must be a list"))?;
        let item = |(i, value)| Node { path: format!("{}[{i}]", self.path), value };
        Ok(list.iter().enumerate().map(item).collect())
    }

    /// Text.
    ///
    /// # Errors
    /// `bad_card` when it is not text.
    pub fn text(&self) -> Result<&'a str> {
        self.value.as_str().ok_or_else(|| bad(self.path(), self.value, "must be text"))
    }

    /// One of several words.
    ///
    /// # Errors
    /// `bad_card` naming the words.
    pub fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T> {
        let text = self.text()?;
        words.iter().find(|(w, _)| *w == text).map(|(_, t)| *t).ok_or_else(|| {
            let all: Vec<_> = words.iter().map(|(w, _)| *w).collect();
            let near = near(text, &all);
            bad(self.path(), text, format!("must be one of {}{near}", all.join(", ")))
        })
    }

    /// A time in milliseconds, from a whole number and its unit.
    ///
    /// # Errors
    /// `bad_card` without a unit; `out_of_range` past 12 days.
    pub fn time(&self) -> Result<i64> {
        let limit = "must be a whole number with a unit: ms, s, min, h or d, such as 5s";
        let Some(text) = self.value.as_str() else {
            return Err(bad(self.path(), self.value, limit));
        };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text.get(digits.len()..) {
            Some("ms") => 1,
            Some("s") => 1_000,
            Some("min") => 60_000,
            Some("h") => 3_600_000,
            Some("d") => 86_400_000,
            _ => return Err(bad(self.path(), text, limit)),
        };
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let number = digits.trim_end().parse::<i64>().ok().filter(|_| plain);
        let number = number.ok_or_else(|| bad(self.path(), text, limit))?;
        number.checked_mul(unit).filter(|time| *time <= TIME_MAX).ok_or_else(|| {
            Error::new(
                ErrorKind::OutOfRange,
                self.path(),
                text,
                format!("must be at most {TIME_MAX} ms"),
            )
        })
    }

    fn number_text(&self) -> Result<String> {
        match self.value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(n) if n.is_i64() || n.is_u64() => Ok(n.to_string()),
            other => Err(bad(self.path(), other, "must be a number written as text")),
        }
    }

    /// An exact decimal, from text or an integer.
    ///
    /// # Errors
    /// As [`Decimal::parse`].
    pub fn decimal(&self) -> Result<Decimal> {
        Decimal::parse(&self.number_text()?, self.path())
    }

    /// An exact decimal above zero.
    ///
    /// # Errors
    /// `out_of_range` at or below zero.
    pub fn positive(&self) -> Result<Decimal> {
        let d = self.decimal()?;
        if d.is_positive() {
            return Ok(d);
        }
        Err(Error::new(ErrorKind::OutOfRange, self.path(), d, "must be above 0"))
    }

    /// An exact fraction of either sign.
    ///
    /// # Errors
    /// As [`Exact::parse`].
    pub fn exact(&self) -> Result<Exact> {
        Exact::parse(&self.number_text()?, self.path())
    }

    /// An exact rate from 0 to 1.
    ///
    /// # Errors
    /// As [`Rate::parse`]; `out_of_range` above 1.
    pub fn rate(&self) -> Result<Rate> {
        let rate = self.ratio()?;
        if rate <= Rate::ONE {
            return Ok(rate);
        }
        Err(Error::new(ErrorKind::OutOfRange, self.path(), rate, "must be at most 1"))
    }

    /// An exact rational that is not negative.
    ///
    /// # Errors
    /// As [`Rate::parse`].
    pub fn ratio(&self) -> Result<Rate> {
        Rate::parse(&self.number_text()?, self.path())
    }
}

/// Which of several names is the nearest to one that is none of them, in words; nothing where none is near.
pub(super) fn near(given: &str, names: &[&str]) -> String {
    let near = names.iter().map(|name| (distance(given, name), name)).min();
    near.filter(|(far, name)| *far <= 1 + name.len() / 3)
        .map_or(String::new(), |(_, name)| format!(" (nearest: {name})"))
}

/// How many letters must be put in, taken out or changed to make one word another.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (place, letter) in one.chars().enumerate() {
        let mut before = place; // the cell above to the left
        let mut left = place + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, same) in row.iter_mut().skip(1).zip(other.chars()) {
            let change = before + usize::from(letter != same);
            before = *cell;
            left = change.min(left + 1).min(*cell + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

fn refuse_floats(value: &Value, path: &str) -> Result<()> {
    match value {
        Value::Number(n) if n.is_f64() => Err(Error::new(
            ErrorKind::FloatGiven,
            path,
            n,
            "a float is not exact; write the number as text",
        )),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(i, item)| refuse_floats(item, &format!("{path}[{i}]"))),
        Value::Object(table) => table.iter().try_for_each(|(key, item)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            refuse_floats(item, &path)
        }),
        _ => Ok(()),
    }
}

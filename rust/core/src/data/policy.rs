//! How a venue liquidates: what a step closes, what it costs, and who takes what nobody else does.

use std::sync::Arc;

use serde_json::Value;

use super::tree::{Node, from_toml, near};
use crate::numbers::{Canonical, Decimal, Digest, Error, ErrorKind, Rate, Result};

/// The schema that this version of the core reads.
const SCHEMA: &str = "aivora-liquidation/0";

/// How much of a leg one step closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Close {
    /// All of it.
    Full,
    /// A share of a leg worth more than `above` in the asset its pool is checked in; all of it where the last such step is less
    /// than `cooldown` ago (Hyperliquid).
    Staged {
        /// The share, rounded up to a lot.
        share: Rate,
        /// In units of the asset.
        above: Decimal,
        /// In milliseconds.
        cooldown: i64,
    },
    /// The fewest lots after which the pool is safe at the mark, fee included; all of it where none are.
    Minimal {
        /// Safe is to cover the initial requirement, not only maintenance.
        initial: bool,
    },
    /// As much as takes the leg so many brackets down; all of it where there are not as many (Binance, OKX).
    StepDown {
        /// Brackets; at least 1.
        brackets: u8,
    },
}

/// A pool that takes over what a liquidated pool has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Backstop {
    /// Its account.
    pub account: Arc<str>,
    /// Its name there.
    pub pool: Arc<str>,
    /// It takes over where equity is below this share of maintenance.
    pub below: Rate,
}

/// Who comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdlRanking {
    /// By `profit × effective leverage` where there is a profit, and `profit / effective leverage` where there is a loss
    /// (the rule of `BitMEX`).
    ProfitLeverage,
    /// By size, the largest first.
    Size,
    /// All at once, in proportion to their size, each at most this share of its own.
    ProRata(Rate),
}

impl AdlRanking {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProfitLeverage => "profit_leverage",
            Self::Size => "size",
            Self::ProRata(_) => "pro_rata",
        }
    }
}

/// The liquidation path of a venue: orders are cancelled, a leg is closed in steps against the book within its bankruptcy
/// price, a backstop takes over, the insurance fund pays, the other side is deleveraged, and what is left is socialised.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Policy {
    /// How much a step closes.
    pub close: Close,
    /// The liquidation fee as a share of what was closed; never more than the equity that is left.
    pub fee: Rate,
    /// Who takes over.
    pub backstop: Option<Backstop>,
    /// Who is deleveraged first.
    pub adl: AdlRanking,
}

impl Default for Policy {
    /// All of a leg at once, no fee, no backstop, and deleveraging by profit and leverage.
    fn default() -> Self {
        Self {
            close: Close::Full,
            fee: Rate::ZERO,
            backstop: None,
            adl: AdlRanking::ProfitLeverage,
        }
    }
}

/// The longest cooldown, in milliseconds: a day.
const COOLDOWN_MAX: i64 = 86_400_000;

impl Close {
    fn read(root: &Node<'_>) -> Result<Self> {
        let node = root.get("close")?;
        let only = |keys: &[&str]| {
            let mut all = vec!["schema", "close", "fee", "adl", "adl_share", "backstop"];
            all.extend(keys);
            root.allow(&all)
        };
        match node.text()? {
            "full" => only(&[]).map(|()| Self::Full),
            "staged" => {
                only(&["share", "above", "cooldown_ms"])?;
                Ok(Self::Staged {
                    share: share(&root.get("share")?)?,
                    above: root.get("above")?.positive()?,
                    cooldown: whole(&root.get("cooldown_ms")?, COOLDOWN_MAX)?,
                })
            }
            "minimal" => {
                only(&["target"])?;
                let words = [("maintenance", false), ("initial", true)];
                Ok(Self::Minimal { initial: root.get("target")?.word(&words)? })
            }
            "step_down" => {
                only(&["brackets"])?;
                let brackets = whole(&root.get("brackets")?, 64)?;
                Ok(Self::StepDown { brackets: u8::try_from(brackets.max(1)).unwrap_or(1) })
            }
            other => {
                let near = near(other, &["full", "staged", "minimal", "step_down"]);
                let limit = format!("must be one of full, staged, minimal, step_down{near}");
                Err(Error::new(ErrorKind::BadCard, node.path(), other, limit))
            }
        }
    }
}

/// A rate above 0 and at most 1.
fn share(node: &Node<'_>) -> Result<Rate> {
    let rate = node.rate()?;
    if rate == Rate::ZERO {
        return Err(Error::new(ErrorKind::OutOfRange, node.path(), rate, "must be above 0"));
    }
    Ok(rate)
}

fn whole(node: &Node<'_>, most: i64) -> Result<i64> {
    let value = node.decimal()?.whole(Decimal::new(1, 0), node.path())?;
    let found = i64::try_from(value).ok().filter(|value| (0..=most).contains(value));
    found.ok_or_else(|| {
        Error::new(ErrorKind::OutOfRange, node.path(), value, format!("must be 0 to {most}"))
    })
}

impl Policy {
    /// A policy as TOML text.
    ///
    /// # Errors
    /// `bad_card`, `float_given`, `out_of_range`, each naming the key.
    pub fn from_toml(text: &str) -> Result<Self> {
        let tree = from_toml(text)?;
        let root = Node::root(&tree)?;
        root.get("schema")?.word(&[(SCHEMA, ())])?;
        Self::read(&root)
    }

    /// The same as a table of a card, which has no schema of its own.
    pub(super) fn read_within(node: &Node<'_>) -> Result<Self> {
        if let Some(schema) = node.find("schema") {
            let limit = "has no place in a card, which has one";
            return Err(Error::new(ErrorKind::BadCard, schema.path(), "a schema", limit));
        }
        Self::read(node)
    }

    fn read(root: &Node<'_>) -> Result<Self> {
        let backstop = |node: &Node<'_>| {
            node.allow(&["account", "pool", "below"])?;
            Ok(Backstop {
                account: node.get("account")?.text()?.into(),
                pool: node.get("pool")?.text()?.into(),
                below: share(&node.get("below")?)?,
            })
        };
        let adl = match root.get("adl")?.text()? {
            "profit_leverage" => AdlRanking::ProfitLeverage,
            "size" => AdlRanking::Size,
            "pro_rata" => AdlRanking::ProRata(share(&root.get("adl_share")?)?),
            other => {
                let near = near(other, &["profit_leverage", "size", "pro_rata"]);
                let limit = format!("must be one of profit_leverage, size, pro_rata{near}");
                let field = root.get("adl")?;
                return Err(Error::new(ErrorKind::BadCard, field.path(), other, limit));
            }
        };
        Ok(Self {
            close: Close::read(root)?,
            fee: root.get("fee")?.rate()?,
            backstop: root.find("backstop").as_ref().map(backstop).transpose()?,
            adl,
        })
    }

    /// A table of a card as a policy by itself.
    ///
    /// # Errors
    /// `bad_card` where it is no table.
    pub fn text(table: &Value) -> Result<String> {
        let own = toml::to_string(table)
            .map_err(|error| Error::new(ErrorKind::BadCard, "liquidation", error, "a table"))?;
        Ok(format!("schema = \"{SCHEMA}\"\n{own}"))
    }

    /// The digest of all it says.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut c = Canonical::of(SCHEMA);
        match self.close {
            Close::Full => c.text("full"),
            Close::Staged { share, above, cooldown } => {
                c.text("staged").text(&share.to_string()).text(&above.to_string()).int(cooldown)
            }
            Close::Minimal { initial } => c.text("minimal").int(initial),
            Close::StepDown { brackets } => c.text("step_down").int(brackets),
        };
        c.text(&self.fee.to_string()).text(self.adl.name());
        if let AdlRanking::ProRata(share) = self.adl {
            c.text(&share.to_string());
        }
        if let Some(Backstop { account, pool, below }) = &self.backstop {
            c.text(account).text(pool).text(&below.to_string());
        }
        c.digest()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_policy_is_what_its_text_says() {
        let text = r#"
            schema = "aivora-liquidation/0"
            close = "staged"
            share = "0.2"
            above = "100000"
            cooldown_ms = 30000
            fee = "0"
            adl = "profit_leverage"
            [backstop]
            account = "liquidator"
            pool = "cross"
            below = "2/3"
        "#;
        let policy = Policy::from_toml(text).unwrap();
        let share = Rate::new(1, 5, "share").unwrap();
        let above = Decimal::new(100_000, 0);
        assert_eq!(policy.close, Close::Staged { share, above, cooldown: 30_000 });
        assert_eq!(policy.backstop.as_ref().unwrap().below, Rate::new(2, 3, "below").unwrap());
        assert_ne!(policy.digest(), Policy::default().digest());
        for (from, to, code) in [
            ("\"0.2\"", "\"0\"", "out_of_range"),
            ("\"0.2\"", "0.2", "float_given"),
            ("cooldown_ms = 30000", "cooldown_ms = -1", "out_of_range"),
            ("close = \"staged\"", "close = \"full\"", "bad_card"),
            ("fee = \"0\"", "", "bad_card"),
            ("\"profit_leverage\"", "\"luck\"", "bad_card"),
        ] {
            let error = Policy::from_toml(&text.replace(from, to)).unwrap_err();
            assert_eq!(error.kind().code(), code, "{to}");
        }
    }
}

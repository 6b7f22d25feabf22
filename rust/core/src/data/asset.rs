//! The assets of a venue: what a balance is counted in, and what it counts. `docs/spec/collateral.md`.

use super::tree::Node;
use crate::numbers::limits::{RATE_TERM_MAX, SLICES_MAX, VALUE_TERM_MAX};
use crate::numbers::rate::{common_denominator, gcd};
use crate::numbers::{Canonical, Decimal, Error, ErrorKind, PriceTicks, Rate, Result};

/// An asset's place in its venue: assets are sorted by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetId(pub(crate) u8);

impl AssetId {
    /// The place as an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One slice of a balance: what lies from its floor to the next slice's floor counts `1 − haircut`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slice {
    /// Where it starts, in quanta of the asset.
    pub floor: i128,
    /// The part that does not count.
    pub haircut: Rate,
    /// What one quantum of the slice counts, over the common denominator of the asset's haircuts.
    pub weight: i64,
}

/// What an asset is worth in the valuation asset.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Worth {
    /// The step of its price, in units of the valuation asset.
    pub price_tick: Decimal,
    /// Quanta of the valuation asset per quantum and tick: numerator.
    pub num: i64,
    /// Its denominator.
    pub den: i64,
    /// At least one; the first floor is zero, haircuts do not fall.
    pub slices: Vec<Slice>,
    /// The common denominator of the haircuts.
    pub haircut_den: i64,
    /// What a negative balance counts: at least 1.
    pub liability: Rate,
}

/// One asset of a venue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asset {
    name: String,
    quantum: Decimal,
    worth: Option<Worth>,
}

const WORTH_KEYS: [&str; 4] = ["price_tick", "haircut", "haircuts", "liability_weight"];

impl Asset {
    /// Reads the asset `name`; `valuation` is the quantum of the valuation asset where this is another one.
    pub(super) fn read(name: &str, node: &Node<'_>, valuation: Option<Decimal>) -> Result<Self> {
        node.allow(&["quantum", "price_tick", "haircut", "haircuts", "liability_weight"])?;
        let quantum = node.get("quantum")?.positive()?;
        if valuation.is_none()
            && let Some(key) = WORTH_KEYS.into_iter().find(|k| node.find(k).is_some())
        {
            let field = format!("{}.{key}", node.path());
            let limit = "only an asset beside the valuation asset of the rules has it";
            return Err(Error::new(ErrorKind::BadCard, field, name, limit));
        }
        let worth = valuation.map(|v| Worth::read(node, quantum, v)).transpose()?;
        Ok(Self { name: name.to_owned(), quantum, worth })
    }

    pub(super) fn encode(&self, c: &mut Canonical) {
        c.text(&self.name).text(&self.quantum.to_string());
        let Some(worth) = &self.worth else {
            c.length(0);
            return;
        };
        c.length(worth.slices.len()).text(&worth.price_tick.to_string());
        for slice in &worth.slices {
            c.int(slice.floor).text(&slice.haircut.to_string());
        }
        c.text(&worth.liability.to_string());
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its quantum.
    #[must_use]
    pub fn quantum(&self) -> Decimal {
        self.quantum
    }

    /// What it is worth in the valuation asset; none for that asset itself, and where the card has none.
    #[must_use]
    pub fn worth(&self) -> Option<&Worth> {
        self.worth.as_ref()
    }

    /// A price of this asset as ticks.
    ///
    /// # Errors
    /// `unknown_asset` where the card gives it no price tick; `bad_price` at or below zero, `off_grid`, `out_of_range`.
    pub fn price(&self, price: Decimal, field: &str) -> Result<PriceTicks> {
        let worth = self.priced(field)?;
        if !price.is_positive() {
            let field = format!("{field} {}", self.name);
            return Err(Error::new(ErrorKind::BadPrice, field, price, "must be above 0"));
        }
        PriceTicks::new(price.whole(worth.price_tick, field)?, field)
    }

    /// A price of this asset that is in ticks already.
    ///
    /// # Errors
    /// `unknown_asset` where the card gives it no price tick; `out_of_range`.
    pub fn price_ticks(&self, ticks: i128, field: &str) -> Result<PriceTicks> {
        self.priced(field)?;
        PriceTicks::new(ticks, field)
    }

    fn priced(&self, field: &str) -> Result<&Worth> {
        self.worth.as_ref().ok_or_else(|| {
            let limit = "the card gives this asset no price_tick: it has no price";
            Error::new(ErrorKind::UnknownAsset, field, &self.name, limit)
        })
    }
}

impl Worth {
    fn read(node: &Node<'_>, quantum: Decimal, valuation: Decimal) -> Result<Self> {
        let price_tick = node.get("price_tick")?.positive()?;
        let value = price_tick.checked_mul(quantum).and_then(|v| v.ratio(valuation));
        let terms = value.and_then(|(num, den)| {
            let divisor = gcd(num, den).max(1);
            let term = |t: i128| i64::try_from(t / divisor).ok().filter(|t| *t <= VALUE_TERM_MAX);
            Some((term(num)?, term(den)?))
        });
        let (num, den) = terms.ok_or_else(|| {
            let field = format!("{}.price_tick", node.path());
            let limit = "price_tick × quantum / quantum of the valuation asset must reduce to terms of at most 10^18";
            Error::new(ErrorKind::OutOfRange, field, price_tick, limit)
        })?;
        let liability =
            node.find("liability_weight").map_or(Ok(Rate::ONE), |weight| {
                match weight.ratio()? {
                    rate if rate >= Rate::ONE => Ok(rate),
                    rate => {
                        let limit = "must be at least 1";
                        Err(Error::new(ErrorKind::OutOfRange, weight.path(), rate, limit))
                    }
                }
            })?;
        let mut slices = read_slices(node, quantum)?;
        let rates: Vec<Rate> = slices.iter().map(|s| s.haircut).collect();
        let haircut_den = common_denominator(&rates, RATE_TERM_MAX).ok_or_else(|| {
            let field = format!("{}.haircuts", node.path());
            let limit = format!("their common denominator must be at most {RATE_TERM_MAX}");
            Error::new(ErrorKind::BadCard, field, "haircuts", limit)
        })?;
        for slice in &mut slices {
            slice.weight = haircut_den - slice.haircut.num() * (haircut_den / slice.haircut.den());
        }
        Ok(Self { price_tick, num, den, slices, haircut_den, liability })
    }
}

fn read_slices(node: &Node<'_>, quantum: Decimal) -> Result<Vec<Slice>> {
    let bad = |path: &str, value: String, limit: &str| {
        Err(Error::new(ErrorKind::BadCard, path, value, limit))
    };
    let list = match (node.find("haircut"), node.find("haircuts")) {
        (Some(flat), None) => {
            return Ok(vec![Slice { floor: 0, haircut: flat.rate()?, weight: 0 }]);
        }
        (None, Some(list)) => list,
        _ => {
            let limit = "give haircut or haircuts, one of them";
            return bad(&format!("{}.haircut", node.path()), "nothing or both".to_owned(), limit);
        }
    };
    let rows = list.items()?;
    if rows.is_empty() || rows.len() > SLICES_MAX {
        return bad(list.path(), rows.len().to_string(), &format!("must be 1 to {SLICES_MAX}"));
    }
    let mut slices: Vec<Slice> = Vec::with_capacity(rows.len());
    for row in &rows {
        row.allow(&["floor", "haircut"])?;
        let floor = row.get("floor")?;
        let at = floor.decimal()?.whole(quantum, floor.path())?;
        let slice = Slice { floor: at, haircut: row.get("haircut")?.rate()?, weight: 0 };
        match slices.last() {
            None if at != 0 => return bad(floor.path(), at.to_string(), "the first must be 0"),
            Some(before) if at <= before.floor => {
                return bad(floor.path(), at.to_string(), "floors must rise");
            }
            Some(before) if slice.haircut < before.haircut => {
                let value = slice.haircut.to_string();
                return bad(row.path(), value, "haircuts must not fall from one slice to the next");
            }
            _ => slices.push(slice),
        }
    }
    Ok(slices)
}

//! The margin schedule of an instrument as the card writes it: brackets, or rates that grow with size or value.

use super::card::Rules;
use super::tree::Node;
use crate::numbers::limits::{BRACKETS_MAX, RATE_TERM_MAX, SLOPE_TERM_MAX, VALUE_SLOPE_TERM_MAX};
use crate::numbers::rate::{common_denominator, gcd, lcm};
use crate::numbers::{Canonical, Decimal, Error, ErrorKind, Exact, Rate, Result};

/// Rates of [`Tiers::Root`] are whole parts of this many.
pub const ROOT_RATE_DEN: i64 = 10_000;
/// Its factor is a whole number of parts of this many.
pub const ROOT_FACTOR_DEN: i64 = 1_000_000;
/// Its size has so many decimals.
const ROOT_SIZE_DIGITS: u32 = 9;

/// What chooses a bracket, or what a rate grows with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TierBy {
    /// The value of the leg; floors are in quanta.
    Notional,
    /// The size of the leg; floors are in lots.
    Size,
}

/// One bracket: holds from its floor, inclusive, to the next floor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bracket {
    /// Quanta or lots, by [`TierBy`].
    pub floor: i128,
    /// The published cap of the last bracket; a cap elsewhere is the next floor.
    pub cap: Option<i128>,
    /// The maintenance rate.
    pub maintenance: Rate,
    /// The initial rate.
    pub initial: Rate,
    /// The maintenance rate over the schedule's common denominator.
    pub maintenance_num: i64,
    /// The deduction in quanta, over the schedule's common denominator.
    pub deduction_num: i128,
}

/// A schedule of margin rates.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Tiers {
    /// A list of brackets.
    Brackets {
        /// What chooses the bracket.
        by: TierBy,
        /// The common denominator of the maintenance rates and the fee in the requirement.
        den: i64,
        /// The fee in the requirement over `den`.
        fee_num: i64,
        /// Sorted by floor; the first floor is zero.
        brackets: Vec<Bracket>,
    },
    /// A rate that grows with the size or the value of the whole position.
    Slope {
        /// What it grows with.
        by: TierBy,
        /// The common denominator of all four.
        den: i64,
        /// The fee in the requirement over `den`.
        fee_num: i64,
        /// The maintenance rate at zero over `den`.
        maintenance_num: i64,
        /// The initial rate at zero over `den`.
        initial_num: i64,
        /// What each lot, or each quantum of value, adds to both rates, over `den`.
        slope_num: i64,
    },
    /// A rate that grows with the square root of the size of the whole position.
    Root {
        /// The common denominator of the rates and the fee in the requirement.
        den: i64,
        /// The fee in the requirement over `den`.
        fee_num: i64,
        /// The maintenance rate of small positions, in parts of [`ROOT_RATE_DEN`].
        maintenance: i64,
        /// Their initial rate, in the same parts.
        initial: i64,
        /// What the root is multiplied by, in parts of [`ROOT_FACTOR_DEN`].
        factor: i64,
        /// One lot in 10^-9 of quantity.
        lot: i128,
    },
}

/// What reading a schedule needs to know of its instrument.
#[derive(Debug, Clone, Copy)]
pub(super) struct TierContext<'a> {
    pub(super) rules: &'a Rules,
    pub(super) quantum: Decimal,
    pub(super) lot: Decimal,
    pub(super) taker_fee: Option<Rate>,
}

fn bad_tiers(path: &str, value: impl std::fmt::Display, limit: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadTiers, path, value, limit)
}

/// `rate` over `den`, where `den` is a multiple of its own.
fn over(rate: Rate, den: i128) -> i128 {
    i128::from(rate.num()) * (den / i128::from(rate.den()))
}

fn common(rates: &[Rate], max: i64, path: &str) -> Result<i64> {
    common_denominator(rates, max).ok_or_else(|| {
        bad_tiers(path, "rates", format!("their common denominator must be at most {max}"))
    })
}

fn narrow(value: i128) -> Result<i64> {
    i64::try_from(value).map_err(|_| Error::overflow("tiers", value))
}

impl Tiers {
    pub(super) fn read(node: &Node<'_>, context: &TierContext<'_>) -> Result<Self> {
        match node.get("by")?.text()? {
            "size_slope" => Self::read_slope(node, context, TierBy::Size),
            "value_slope" => Self::read_slope(node, context, TierBy::Notional),
            "size_root" => Self::read_root(node, context),
            "notional" => Self::read_brackets(node, context, TierBy::Notional),
            "size" => Self::read_brackets(node, context, TierBy::Size),
            other => {
                let limit = "must be one of notional, size, size_slope, value_slope, size_root";
                Err(Error::new(ErrorKind::BadCard, format!("{}.by", node.path()), other, limit))
            }
        }
    }

    fn read_brackets(node: &Node<'_>, context: &TierContext<'_>, by: TierBy) -> Result<Self> {
        node.allow(&["by", "deduction", "brackets"])?;
        let derived = match node.find("deduction") {
            Some(word) => word.word(&[("derived", true), ("none", false)])?,
            None => false,
        };
        if derived && by == TierBy::Size {
            return Err(bad_tiers(node.path(), "deduction = derived", "needs by = notional"));
        }
        let list = node.get("brackets")?;
        let rows = list.items()?;
        if rows.is_empty() || rows.len() > BRACKETS_MAX {
            return Err(bad_tiers(list.path(), rows.len(), format!("must be 1 to {BRACKETS_MAX}")));
        }
        let unit = if by == TierBy::Notional { context.quantum } else { context.lot };
        let mut brackets = Vec::with_capacity(rows.len());
        for row in &rows {
            brackets.push(read_bracket(row, context, unit)?);
        }
        check_order(&rows, &brackets)?;
        for (bracket, row) in brackets.iter().zip(&rows) {
            check_sum(bracket.maintenance, context.taker_fee, row.path())?;
        }
        let fee = context.fee_in_requirement();
        let mut rates: Vec<_> = brackets.iter().map(|b| b.maintenance).collect();
        rates.push(fee);
        let den = common(&rates, RATE_TERM_MAX, list.path())?;
        derive(&mut brackets, den, derived)?;
        for (bracket, row) in brackets.iter().zip(&rows) {
            check_amount(bracket, row, den, context.quantum)?;
        }
        let fee_num = narrow(over(fee, i128::from(den)))?;
        Ok(Self::Brackets { by, den, fee_num, brackets })
    }

    /// Whether the requirement of a value does not jump at any floor: brackets of values whose deductions join them.
    #[must_use]
    pub(crate) fn is_joined(&self) -> bool {
        let Self::Brackets { by: TierBy::Notional, brackets, .. } = self else { return false };
        brackets.iter().zip(brackets.iter().skip(1)).all(|(low, high)| {
            let step = i128::from(high.maintenance_num - low.maintenance_num);
            let rise = high.floor.checked_mul(step);
            rise.is_some() && high.deduction_num.checked_sub(low.deduction_num) == rise
        })
    }

    fn read_slope(node: &Node<'_>, context: &TierContext<'_>, by: TierBy) -> Result<Self> {
        node.allow(&["by", "maintenance_base", "initial_base", "slope"])?;
        let (maintenance, initial) = read_bases(node, context)?;
        let slope = node.get("slope")?.rate()?;
        let (unit, max, each) = match by {
            TierBy::Notional => (context.quantum, VALUE_SLOPE_TERM_MAX, "quantum"),
            TierBy::Size => (context.lot, SLOPE_TERM_MAX, "lot"),
        };
        // slope per 1.0 × unit = slope per lot or quantum, as an exact fraction of 128-bit terms.
        let unit_den = crate::numbers::decimal::pow10(unit.scale());
        let slope_den = unit_den.and_then(|d| d.checked_mul(i128::from(slope.den())));
        let slope_num = unit.mantissa().checked_mul(i128::from(slope.num()));
        let (Some(num), Some(den)) = (slope_num, slope_den) else {
            return Err(Error::overflow("slope", slope));
        };
        let divisor = gcd(num, den).max(1);
        let (num, slope_den) = (num / divisor, den / divisor);
        let fee = context.fee_in_requirement();
        let base = common(&[maintenance, initial, fee], max, node.path())?;
        let den = lcm(i128::from(base), slope_den).filter(|d| *d <= i128::from(max));
        let den = den.ok_or_else(|| {
            let limit = format!("the common denominator per {each} must be at most {max}");
            bad_tiers(node.path(), slope, limit)
        })?;
        Ok(Self::Slope {
            by,
            den: narrow(den)?,
            fee_num: narrow(over(fee, den))?,
            maintenance_num: narrow(over(maintenance, den))?,
            initial_num: narrow(over(initial, den))?,
            slope_num: narrow(num.checked_mul(den / slope_den).unwrap_or(i128::MAX))?,
        })
    }

    fn read_root(node: &Node<'_>, context: &TierContext<'_>) -> Result<Self> {
        node.allow(&["by", "maintenance_base", "initial_base", "factor"])?;
        let (maintenance, initial) = read_bases(node, context)?;
        let factor = node.get("factor")?;
        let part = Rate::new(1, i128::from(ROOT_RATE_DEN), node.path())?;
        let fee = context.fee_in_requirement();
        let den = i128::from(common(&[part, fee], RATE_TERM_MAX, node.path())?);
        let whole = |rate, parts, path: &str| {
            in_parts(rate, parts).ok_or_else(|| {
                bad_tiers(path, rate, format!("must be a whole number of parts of {parts}"))
            })
        };
        let lot = context.lot.ratio(Decimal::new(1, ROOT_SIZE_DIGITS)).map(reduced);
        let Some((lot, 1)) = lot else {
            let limit = format!("the lot must be whole in parts of 10^{ROOT_SIZE_DIGITS}");
            return Err(bad_tiers(node.path(), context.lot, limit));
        };
        Ok(Self::Root {
            den: narrow(den)?,
            fee_num: narrow(over(fee, den))?,
            maintenance: whole(maintenance, ROOT_RATE_DEN, node.path())?,
            initial: whole(initial, ROOT_RATE_DEN, node.path())?,
            factor: whole(factor.rate()?, ROOT_FACTOR_DEN, factor.path())?,
            lot,
        })
    }

    /// Whether a rate grows with the size of the position, and so can pass 1 whatever the price.
    #[must_use]
    pub(crate) const fn grow_with_size(&self) -> bool {
        matches!(self, Self::Slope { by: TierBy::Size, .. } | Self::Root { .. })
    }

    pub(super) fn encode(&self, c: &mut Canonical) {
        match self {
            Self::Brackets { by, den, fee_num, brackets } => {
                c.text(if *by == TierBy::Notional { "notional" } else { "size" });
                c.int(*den).int(*fee_num).length(brackets.len());
                for b in brackets {
                    c.int(b.floor).int(b.cap.unwrap_or(-1));
                    c.text(&b.initial.to_string()).int(b.maintenance_num).int(b.deduction_num);
                }
            }
            Self::Slope { by, den, fee_num, maintenance_num, initial_num, slope_num } => {
                c.text(if *by == TierBy::Size { "size_slope" } else { "value_slope" });
                c.int(*den).int(*fee_num);
                c.int(*maintenance_num).int(*initial_num).int(*slope_num);
            }
            Self::Root { den, fee_num, maintenance, initial, factor, lot } => {
                c.text("size_root").int(*den).int(*fee_num);
                c.int(*maintenance).int(*initial).int(*factor).int(*lot);
            }
        }
    }

    /// The maintenance and the initial rate of the first bracket, or at size or value zero.
    #[must_use]
    pub fn first_rates(&self) -> Option<(Exact, Exact)> {
        match self {
            Self::Brackets { brackets, .. } => {
                let first = brackets.first()?;
                Some((first.maintenance.into(), first.initial.into()))
            }
            Self::Slope { den, maintenance_num, initial_num, .. } => {
                let of =
                    |num: &i64| Exact::from(i128::from(*num)).over(&i128::from(*den).into(), "den");
                Some((of(maintenance_num).ok()?, of(initial_num).ok()?))
            }
            Self::Root { maintenance, initial, .. } => {
                let of = |part: i64| Rate::new(part.into(), ROOT_RATE_DEN.into(), "base").ok();
                Some((of(*maintenance)?.into(), of(*initial)?.into()))
            }
        }
    }

    /// The common denominator of the maintenance rates and the fee in the requirement.
    #[must_use]
    pub fn den(&self) -> i64 {
        match self {
            Self::Brackets { den, .. } | Self::Slope { den, .. } | Self::Root { den, .. } => *den,
        }
    }
}

impl TierContext<'_> {
    fn fee_in_requirement(&self) -> Rate {
        match self.rules.closing_fee {
            super::card::ClosingFee::Mark => self.taker_fee.unwrap_or(Rate::ZERO),
            _ => Rate::ZERO,
        }
    }
}

/// The maintenance and the initial base of rates that grow.
fn read_bases(node: &Node<'_>, context: &TierContext<'_>) -> Result<(Rate, Rate)> {
    if context.rules.half_initial {
        let by = node.get("by")?.text()?;
        return Err(bad_tiers(node.path(), by, "needs maintenance_from = explicit"));
    }
    let maintenance = node.get("maintenance_base")?.rate()?;
    let initial = node.get("initial_base")?.rate()?;
    check_rates(maintenance, initial, node.path())?;
    check_sum(maintenance, context.taker_fee, node.path())?;
    Ok((maintenance, initial))
}

/// How many parts of `parts` a rate is; none where they are not whole.
fn in_parts(rate: Rate, parts: i64) -> Option<i64> {
    // At most 10^9 × 10^6, as the rate is at most 1.
    (parts % rate.den() == 0).then(|| rate.num() * (parts / rate.den()))
}

fn read_bracket(row: &Node<'_>, context: &TierContext<'_>, unit: Decimal) -> Result<Bracket> {
    row.allow(&["floor", "cap", "maintenance", "initial", "max_leverage", "amount"])?;
    let whole = |node: Node<'_>| node.decimal()?.whole(unit, node.path());
    let initial = match (row.find("initial"), row.find("max_leverage")) {
        (Some(rate), None) => rate.rate()?,
        (None, Some(leverage)) => {
            let ratio = leverage.ratio()?;
            if ratio < Rate::ONE {
                let limit = "must be at least 1";
                return Err(Error::new(ErrorKind::OutOfRange, leverage.path(), ratio, limit));
            }
            ratio.inverse(leverage.path())?
        }
        _ => {
            return Err(bad_tiers(row.path(), "initial rate", "give initial or max_leverage, one"));
        }
    };
    let maintenance = match (row.find("maintenance"), context.rules.half_initial) {
        (Some(rate), false) => rate.rate()?,
        (None, true) => initial.half(row.path())?,
        (Some(rate), true) => {
            let limit = "must not stand beside maintenance_from = half_initial";
            return Err(bad_tiers(rate.path(), rate.text().unwrap_or("a rate"), limit));
        }
        (None, false) => row.get("maintenance")?.rate()?,
    };
    check_rates(maintenance, initial, row.path())?;
    Ok(Bracket {
        floor: whole(row.get("floor")?)?,
        cap: row.find("cap").map(whole).transpose()?,
        maintenance,
        initial,
        maintenance_num: 0,
        deduction_num: 0,
    })
}

fn check_rates(maintenance: Rate, initial: Rate, path: &str) -> Result<()> {
    if maintenance.is_zero() || initial.is_zero() {
        return Err(bad_tiers(path, "a rate of 0", "rates must be above 0"));
    }
    if maintenance > initial {
        let limit = format!("must be at most the initial rate {initial}");
        return Err(bad_tiers(path, format!("maintenance rate {maintenance}"), limit));
    }
    Ok(())
}

fn check_sum(maintenance: Rate, fee: Option<Rate>, path: &str) -> Result<()> {
    let (m, f) = (maintenance, fee.unwrap_or(Rate::ZERO));
    // m + f <= 1 in whole numbers; each term is at most 10^9, so nothing here can overflow.
    let (mn, md) = (i128::from(m.num()), i128::from(m.den()));
    let (fnum, fden) = (i128::from(f.num()), i128::from(f.den()));
    if mn * fden + fnum * md > md * fden {
        let limit = "maintenance rate plus taker fee must be at most 1";
        return Err(bad_tiers(path, format!("{m} + {f}"), limit));
    }
    Ok(())
}

fn check_order(rows: &[Node<'_>], brackets: &[Bracket]) -> Result<()> {
    if let (Some(row), Some(first)) = (rows.first(), brackets.first())
        && first.floor != 0
    {
        return Err(bad_tiers(row.path(), format!("floor {}", first.floor), "must be 0 (a gap)"));
    }
    for ((row, low), high) in rows.iter().zip(brackets).zip(brackets.iter().skip(1)) {
        let cap = low.cap.unwrap_or(high.floor);
        let problem = if high.floor <= low.floor {
            Some("floors must rise")
        } else if cap < high.floor {
            Some("cap must equal the next floor (a gap)")
        } else if cap > high.floor {
            Some("cap must equal the next floor (an overlap)")
        } else if high.maintenance < low.maintenance || high.initial < low.initial {
            Some("rates must not fall from one bracket to the next")
        } else {
            None
        };
        if let Some(limit) = problem {
            let value = format!("cap {cap}, next floor {}", high.floor);
            return Err(bad_tiers(row.path(), value, limit));
        }
    }
    if let (Some(row), Some(last)) = (rows.last(), brackets.last())
        && last.cap.is_some_and(|cap| cap <= last.floor)
    {
        return Err(bad_tiers(row.path(), "the last cap", "must be above its floor"));
    }
    Ok(())
}

/// Fills in each bracket's rate and deduction over the common denominator.
fn derive(brackets: &mut [Bracket], den: i64, derived: bool) -> Result<()> {
    let mut deduction: i128 = 0;
    let mut previous: i128 = 0;
    for bracket in brackets {
        let rate = over(bracket.maintenance, i128::from(den));
        if derived {
            let step = bracket.floor.checked_mul(rate - previous);
            let sum = step.and_then(|s| deduction.checked_add(s));
            deduction = sum.ok_or_else(|| Error::overflow("deduction", bracket.floor))?;
        }
        bracket.maintenance_num = narrow(rate)?;
        bracket.deduction_num = deduction;
        previous = rate;
    }
    Ok(())
}

fn check_amount(bracket: &Bracket, row: &Node<'_>, den: i64, quantum: Decimal) -> Result<()> {
    let Some(amount) = row.find("amount") else {
        return Ok(());
    };
    let published = amount.decimal()?;
    // Both sides as fractions of a quantum: the derived one need not be whole either.
    let derived = (bracket.deduction_num, i128::from(den));
    if published.ratio(quantum).is_some_and(|given| reduced(given) == reduced(derived)) {
        return Ok(());
    }
    let derived = Rational(derived.0, derived.1);
    let limit = format!("the derived deduction is {derived} quanta of {quantum}");
    Err(bad_tiers(amount.path(), published, limit))
}

/// A fraction in lowest terms, for `den > 0`.
fn reduced((num, den): (i128, i128)) -> (i128, i128) {
    let divisor = gcd(num.abs(), den).max(1);
    (num / divisor, den / divisor)
}

/// A fraction for messages.
struct Rational(i128, i128);

impl std::fmt::Display for Rational {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match reduced((self.0, self.1)) {
            (num, 1) => write!(f, "{num}"),
            (num, den) => write!(f, "{num}/{den}"),
        }
    }
}

//! Why a pool's row is what it is: the inputs, every step, the verdict.

use std::fmt;

use crate::numbers::{Digest, Result};
use crate::pricing::Prices;

use super::assess::{AssetMargin, PoolMargin, check_venue, mark_of, total};
use super::holdings::Holdings;
use super::leg::{Leg, PoolKind};
use super::portfolio::PoolId;
use super::requirement::LegMargin;

/// One leg's line: what is held, the mark it is seen at, and each step of its requirements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegLine {
    /// The instrument's symbol.
    pub symbol: String,
    /// What is held.
    pub leg: Leg,
    /// The mark in ticks.
    pub mark: i64,
    /// The steps.
    pub margin: LegMargin,
}

/// A pool's row with everything it was computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The account.
    pub account: String,
    /// The pool's name.
    pub pool: String,
    /// The pool's kind.
    pub kind: PoolKind,
    /// Whether it holds several assets, valued in one.
    pub multi: bool,
    /// The asset it is checked in.
    pub asset: String,
    /// Each of its assets, with its name.
    pub assets: Vec<(String, AssetMargin)>,
    /// Each leg, in the portfolio's order.
    pub legs: Vec<LegLine>,
    /// The sums and the verdict.
    pub margin: PoolMargin,
    /// The digest of the card the rules come from.
    pub card: Digest,
    /// The digest of the prices.
    pub prices: Digest,
}

impl fmt::Display for Explanation {
    /// The trace in whole units (quanta, lots, mark ticks), one line a leg and one for the sums.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = &self.margin;
        writeln!(f, "{}/{} ({}): {}", self.account, self.pool, self.kind.name(), m.status.name())?;
        for line in &self.legs {
            let (leg, m) = (&line.leg, &line.margin);
            writeln!(
                f,
                "  {} {} {} lots at mark {}: value {} - cost {} = pnl {}, accrued {}",
                line.symbol,
                leg.side.name(),
                leg.lots,
                line.mark,
                m.value,
                leg.cost,
                m.pnl,
                leg.accrued,
            )?;
            let t = &m.terms;
            writeln!(
                f,
                "    maintenance ceil(({} x {} - {} + {} x {}) / {}) + {} = {}",
                m.maintenance_value,
                t.maintenance_num,
                t.deduction_num,
                m.notional,
                t.fee_num,
                t.den,
                m.fee,
                m.maintenance,
            )?;
            writeln!(
                f,
                "    initial ceil({} x {} / {}) + {} = {}",
                m.initial_value, m.initial_num, m.initial_den, m.fee, m.initial,
            )?;
        }
        for (name, a) in &self.assets {
            writeln!(
                f,
                "  {name}: balance {} - interest {} + pnl {} - accrued {} = {}, counts {} {}",
                a.balance.amount,
                a.balance.interest,
                a.pnl,
                a.accrued,
                a.equity,
                a.value,
                self.asset,
            )?;
        }
        writeln!(
            f,
            "  equity {}, initial {}, maintenance {}, liquidatable {}",
            m.equity, m.initial, m.maintenance, m.liquidatable,
        )
    }
}

pub(super) fn explain<H: Holdings>(of: &H, pool: PoolId, prices: &Prices) -> Result<Explanation> {
    check_venue(of, prices)?;
    let found = of.assets(pool, prices)?;
    let margin = total(of, pool, &found)?;
    let venue = of.venue();
    let named = |a: AssetMargin| Ok((venue.asset(a.balance.asset)?.name().to_owned(), a));
    let (account, name) = of.key(pool)?;
    let head = of.head(pool)?;
    let mut legs = Vec::new();
    for leg in of.legs(pool)? {
        legs.push(LegLine {
            symbol: venue.instrument(leg.instrument)?.symbol().to_owned(),
            leg,
            mark: mark_of(of, pool, leg.instrument, prices)?,
            margin: of.leg_margin(pool, &leg, prices)?,
        });
    }
    Ok(Explanation {
        account: account.to_owned(),
        pool: name.to_owned(),
        kind: head.kind,
        multi: head.multi,
        asset: venue.asset(head.asset)?.name().to_owned(),
        assets: found.into_iter().map(named).collect::<Result<_>>()?,
        legs,
        margin,
        card: venue.digest(),
        prices: prices.digest(),
    })
}

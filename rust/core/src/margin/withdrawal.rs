//! How much of an asset may leave a pool. `docs/spec/collateral.md`, "Withdrawal".

use crate::data::AssetId;
use crate::numbers::{Error, Result};
use crate::pricing::Prices;

use super::assess::{AssetMargin, check_venue, total, valued};
use super::collateral::Valued;
use super::holdings::Holdings;
use super::portfolio::PoolId;

/// What keeps more from leaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binding {
    /// All of the balance may leave.
    Balance,
    /// The initial requirement.
    Initial,
    /// A book is too thin for the exit of a position.
    ExitUnfilled,
    /// The card does not know the fee of an exit.
    UnknownFee,
}

impl Binding {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::Initial => "initial",
            Self::ExitUnfilled => "exit_unfilled",
            Self::UnknownFee => "unknown_fee",
        }
    }
}

/// How much of an asset may leave a pool, and why not more. Amounts in quanta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Withdrawal {
    /// The largest amount of the asset that may leave.
    pub amount: i128,
    /// What there is of it: the balance less the interest owed, at least 0.
    pub balance: i128,
    /// What keeps more from leaving.
    pub binding: Binding,
    /// The equity that counts with nothing withdrawn, in the pool's asset.
    pub equity: i128,
    /// The initial requirement it must cover, in the pool's asset.
    pub initial: i128,
}

/// One asset as the question sees it: how it counts, and what of it counts before anything leaves.
struct Backing<'a> {
    asset: AssetId,
    valued: Valued<'a>,
    equity: i128,
}

pub(super) fn withdrawable<H: Holdings>(
    of: &H,
    pool: PoolId,
    asset: AssetId,
    prices: &Prices,
    exits: &[(AssetId, i128)],
) -> Result<Withdrawal> {
    check_venue(of, prices)?;
    let assets = of.assets(pool, prices)?;
    let initial = total(of, pool, &assets)?.initial;
    let backing: Vec<Backing<'_>> =
        assets.iter().map(|a| backing(of, pool, a, prices, exits)).collect::<Result<_>>()?;
    let left = |x: i128| -> Result<i128> {
        let overflow = || Error::overflow("equity", of.label(pool));
        backing.iter().try_fold(0_i128, |sum, b| {
            let taken = if b.asset == asset { x } else { 0 };
            let value = b.valued.value(b.equity.checked_sub(taken).ok_or_else(overflow)?)?;
            sum.checked_add(value).ok_or_else(overflow)
        })
    };
    let held = assets.iter().find(|a| a.balance.asset == asset);
    let held = held.map_or(0, |a| a.balance.amount.saturating_sub(a.balance.interest).max(0));
    let equity = left(0)?;
    let found = |amount, binding| Withdrawal { amount, balance: held, binding, equity, initial };
    if equity < initial {
        return Ok(found(0, Binding::Initial));
    }
    if left(held)? >= initial {
        return Ok(found(held, Binding::Balance));
    }
    let (mut fits, mut too_much) = (0, held);
    while too_much - fits > 1 {
        let middle = fits + (too_much - fits) / 2;
        if left(middle)? >= initial {
            fits = middle;
        } else {
            too_much = middle;
        }
    }
    Ok(found(fits, Binding::Initial))
}

fn backing<'a, H: Holdings>(
    of: &'a H,
    pool: PoolId,
    own: &AssetMargin,
    prices: &Prices,
    exits: &[(AssetId, i128)],
) -> Result<Backing<'a>> {
    let asset = own.balance.asset;
    let overflow = || Error::overflow("equity", of.label(pool));
    let counts = of.venue().rules().withdrawal_profit;
    // profit − floor(profit × g) = ceil(profit × (1 − g))
    let profit = own.pnl.max(0);
    let barred = counts.of_floor(profit).and_then(|c| profit.checked_sub(c));
    let mut exits = exits.iter().filter(|(a, _)| *a == asset);
    let exit = exits.try_fold(0_i128, |sum, (_, cost)| sum.checked_add(*cost));
    let equity = barred.zip(exit).and_then(|(b, x)| own.equity.checked_sub(b)?.checked_sub(x));
    // An asset with nothing in it needs no price, whatever leaves: nothing can.
    let nothing = own.equity == 0 && own.price.is_none();
    let valued = if nothing {
        Valued::as_it_is(of.venue().asset(asset)?)
    } else {
        valued(of, pool, asset, prices)?.0
    };
    Ok(Backing { asset, valued, equity: equity.ok_or_else(overflow)? })
}

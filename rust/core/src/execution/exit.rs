//! What closing a position against a book costs beside its value at the mark.

use crate::data::{Book, Side};
use crate::margin::withdrawal::{Binding, Withdrawal};
use crate::margin::{Holdings, Leg, PoolId};
use crate::numbers::{Error, Lots, MarkTicks, Result};
use crate::pricing::Prices;

/// What the exit of one leg costs, or why that has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The part of the value at the mark that is lost, and the fee, in quanta.
    Cost(i128),
    /// The book is too thin.
    Unfilled,
    /// The card does not know the fee.
    UnknownFee,
}

/// `max(0, value at the mark − what the exit walk brings in) + fee`.
///
/// # Errors
/// `overflow`, and those of [`super::walk()`].
pub fn exit(leg: &Leg, mark: MarkTicks, book: &Book) -> Result<Exit> {
    let instrument = book.instrument();
    let side = if leg.lots > 0 { Side::Sell } else { Side::Buy };
    let quantity = Lots::new(i128::from(leg.lots).abs(), "quantity")?;
    let walk = super::walk(book, side, quantity, None)?;
    if walk.unfilled().get() > 0 {
        return Ok(Exit::Unfilled);
    }
    let Some(fee) = walk.fee() else { return Ok(Exit::UnknownFee) };
    let contract = instrument.contract();
    // Selling brings in what a linear contract costs; to sell an inverse one is to pay its coins back.
    let brings = (side == Side::Sell) != contract.is_inverse();
    let paid = walk.cost().get();
    let proceeds = if brings { paid } else { -paid };
    let lost = contract
        .value(i128::from(leg.lots), mark.get())
        .and_then(|value| value.checked_sub(proceeds))
        .and_then(|lost| lost.max(0).checked_add(fee.get()));
    lost.map(Exit::Cost).ok_or_else(|| Error::overflow("exit", instrument.symbol()))
}

/// [`Holdings::withdrawable`] after the exit of every position of the pool into its book; `book` gives that of an
/// instrument.
///
/// # Errors
/// Those of [`exit`], of `book` and of [`Holdings::withdrawable`].
pub fn withdrawable_after_exits<'a, H: Holdings>(
    holdings: &H,
    pool: PoolId,
    asset: crate::data::AssetId,
    prices: &Prices,
    book: impl Fn(crate::data::InstrumentId) -> Result<&'a Book>,
) -> Result<Withdrawal> {
    let mut exits = Vec::new();
    let mut barred = None;
    for leg in holdings.legs(pool)?.iter().filter(|leg| leg.lots != 0) {
        let mark = prices.mark(leg.instrument);
        let Some(mark) = mark else { continue }; // refused below, with the pool named
        let settlement = holdings.venue().instrument(leg.instrument)?.settlement();
        match exit(leg, mark, book(leg.instrument)?)? {
            Exit::Cost(cost) => exits.push((settlement, cost)),
            Exit::Unfilled => barred = Some(Binding::ExitUnfilled),
            Exit::UnknownFee => barred = barred.or(Some(Binding::UnknownFee)),
        }
    }
    let found = holdings.withdrawable(pool, asset, prices, &exits)?;
    Ok(match barred {
        Some(binding) => Withdrawal { amount: 0, binding, ..found },
        None => found,
    })
}

//! The keys of the margin floor (pool, leg) and the state of one leg.

use crate::data::InstrumentId;
use crate::numbers::{Error, ErrorKind, Rate, Result};

/// What a pool's collateral stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PoolKind {
    /// Every position of the account that has no pool of its own.
    Cross,
    /// One instrument.
    Isolated,
    /// A cross pool of its own.
    SubAccount,
}

/// Which leg of an instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LegSide {
    /// One-way mode.
    Net,
    /// The long leg in hedge mode.
    Long,
    /// The short leg in hedge mode.
    Short,
}

macro_rules! named {
    ($type:ident, $field:literal, $($variant:ident = $name:literal),+) => {
        impl $type {
            /// All, with their names.
            pub const NAMES: &'static [(&'static str, $type)] = &[$(($name, $type::$variant)),+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name),+ }
            }

            /// The one with this name.
            ///
            /// # Errors
            /// `bad_leg` naming those there are.
            pub fn from_name(name: &str) -> Result<Self> {
                let found = Self::NAMES.iter().find(|(n, _)| *n == name);
                found.map(|(_, v)| *v).ok_or_else(|| {
                    let all: Vec<_> = Self::NAMES.iter().map(|(n, _)| *n).collect();
                    let limit = format!("must be one of {}", all.join(", "));
                    Error::new(ErrorKind::BadLeg, $field, name, limit)
                })
            }
        }
    };
}

named!(PoolKind, "kind", Cross = "cross", Isolated = "isolated", SubAccount = "sub_account");
named!(LegSide, "leg", Net = "net", Long = "long", Short = "short");

/// Everything a pool holds on one leg of one instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leg {
    /// The instrument.
    pub instrument: InstrumentId,
    /// Which leg.
    pub side: LegSide,
    /// The position in lots, signed.
    pub lots: i64,
    /// The cost basis in quanta, signed like the position.
    pub cost: i128,
    /// Funding and fees owed, in quanta; positive when the account owes.
    pub accrued: i128,
    /// Open bids in lots.
    pub bids: i64,
    /// Open asks in lots.
    pub asks: i64,
    /// The initial rate of the chosen leverage, if one is chosen.
    pub chosen: Option<Rate>,
}

impl Leg {
    /// A leg with nothing on it.
    #[must_use]
    pub fn empty(instrument: InstrumentId, side: LegSide) -> Self {
        Self { instrument, side, lots: 0, cost: 0, accrued: 0, bids: 0, asks: 0, chosen: None }
    }

    /// Whether nothing is on it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lots == 0 && self.cost == 0 && self.accrued == 0 && !self.has_orders()
    }

    /// The same leg with no position left on it; its open orders stay.
    #[must_use]
    pub fn closed(&self) -> Self {
        Self { lots: 0, cost: 0, accrued: 0, ..*self }
    }

    /// Whether it counts in equity or maintenance: a leg that has orders alone does not.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.lots != 0 || self.cost != 0 || self.accrued != 0
    }

    /// Whether it has open orders.
    #[must_use]
    pub fn has_orders(&self) -> bool {
        self.bids != 0 || self.asks != 0
    }

    /// The larger of "all bids fill" and "all asks fill", in lots.
    #[must_use]
    pub fn exposure(&self) -> i128 {
        let (q, bids, asks) = (i128::from(self.lots), i128::from(self.bids), i128::from(self.asks));
        match self.side {
            LegSide::Net => (q + bids).abs().max((q - asks).abs()),
            LegSide::Long => q.abs() + bids,
            LegSide::Short => q.abs() + asks,
        }
    }

    /// [`Leg::exposure`], where all of it is below 2^61.
    #[inline]
    pub(crate) fn exposure_in_64(&self) -> Option<i64> {
        let Self { lots, bids, asks, .. } = *self;
        // Bids and asks are not negative.
        if (lots.unsigned_abs() | bids.unsigned_abs() | asks.unsigned_abs()) >> 61 != 0 {
            return None;
        }
        Some(match self.side {
            LegSide::Net => (lots + bids).abs().max((lots - asks).abs()),
            LegSide::Long => lots.abs() + bids,
            LegSide::Short => lots.abs() + asks,
        })
    }

    /// +1 for a long leg, −1 for a short one, 0 without a position.
    #[must_use]
    pub fn sign(&self) -> i64 {
        self.lots.signum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposure_is_the_worse_side() {
        let leg =
            |side, lots, bids, asks| Leg { lots, bids, asks, ..Leg::empty(InstrumentId(0), side) };
        for (own, want) in [
            (leg(LegSide::Net, 10, 5, 30), 20),
            (leg(LegSide::Net, 10, 5, 12), 15),
            (leg(LegSide::Net, -10, 5, 3), 13),
            (leg(LegSide::Net, 0, 2, 3), 3),
            (leg(LegSide::Long, 10, 5, 30), 15),
            (leg(LegSide::Short, -10, 5, 30), 40),
        ] {
            assert_eq!(own.exposure(), want);
            assert_eq!(own.exposure_in_64().map(i128::from), Some(want));
        }
        assert_eq!(leg(LegSide::Net, 1 << 61, 0, 0).exposure_in_64(), None);
    }
}

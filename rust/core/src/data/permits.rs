//! What may be done with a price of which class, as data. `docs/spec/pricing.md`, "Validity".

use super::tree::Node;
use crate::numbers::Result;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $each:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$of])* $each,)+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$each,)+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$each => $text,)+ }
            }
        }
    };
}

named! {
    /// What a price is, the worst first.
    Validity {
        /// It is not above 0.
        NonPositive = "non_positive",
        /// It is too far from its average.
        TooVolatile = "too_volatile",
        /// What is known of it is too wide.
        TooUncertain = "too_uncertain",
        /// It is too old to require margin by.
        StaleForMargin = "stale_for_margin",
        /// Too few sources tell it.
        TooFewSources = "too_few_sources",
        /// It is old.
        Stale = "stale",
        /// None of these.
        Valid = "valid",
    }
}

named! {
    /// What a price is asked for.
    Action {
        /// Is a pool to be liquidated?
        Liquidate = "liquidate",
        /// Has a stop been reached?
        Trigger = "trigger",
        /// May two orders trade?
        Fill = "fill",
        /// What does a pool need?
        Margin = "margin",
        /// What is a profit that is paid?
        Settle = "settle",
        /// What does funding cost?
        Funding = "funding",
        /// May money leave?
        Withdraw = "withdraw",
        /// What is the average?
        Average = "average",
    }
}

/// What may be done with a price of each class: a bit for each class, an action a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permits([u8; 8]);

impl Default for Permits {
    fn default() -> Self {
        use Validity::{NonPositive, StaleForMargin, TooUncertain, TooVolatile};
        let mut table = Self([0; 8]);
        for action in Action::ALL {
            let refused: &[Validity] = match action {
                Action::Liquidate | Action::Trigger => &[NonPositive, TooVolatile],
                Action::Fill | Action::Settle | Action::Funding => {
                    &[NonPositive, TooVolatile, TooUncertain]
                }
                Action::Margin => &[NonPositive, TooVolatile, TooUncertain, StaleForMargin],
                Action::Withdraw => Validity::ALL.split_last().map_or(&[], |(_, rest)| rest),
                Action::Average => &[NonPositive],
            };
            for class in Validity::ALL {
                table.set(*action, *class, !refused.contains(class));
            }
        }
        table
    }
}

impl Permits {
    /// The default table, with the rows that a card writes: of an action the classes that it is refused for.
    pub(super) fn read(node: &Node<'_>) -> Result<Self> {
        let actions: Vec<_> = Action::ALL.iter().map(|action| action.name()).collect();
        node.allow(&actions)?;
        let classes: Vec<_> = Validity::ALL.iter().map(|class| (class.name(), *class)).collect();
        let mut table = Self::default();
        for action in Action::ALL {
            let Some(row) = node.find(action.name()) else { continue };
            let refused =
                row.items()?.iter().map(|own| own.word(&classes)).collect::<Result<Vec<_>>>()?;
            for class in Validity::ALL {
                table.set(*action, *class, !refused.contains(class));
            }
        }
        Ok(table)
    }

    /// Whether a price of this class may be used for this.
    #[must_use]
    pub fn allows(&self, action: Action, class: Validity) -> bool {
        self.0.get(place(Action::ALL, action)).is_some_and(|row| row & bit(class) != 0)
    }

    /// Says whether it may.
    pub fn set(&mut self, action: Action, class: Validity, allowed: bool) {
        if let Some(row) = self.0.get_mut(place(Action::ALL, action)) {
            *row = if allowed { *row | bit(class) } else { *row & !bit(class) };
        }
    }
}

fn place<T: PartialEq + Copy>(all: &[T], one: T) -> usize {
    all.iter().position(|own| *own == one).unwrap_or(0)
}

fn bit(class: Validity) -> u8 {
    1 << place(Validity::ALL, class)
}

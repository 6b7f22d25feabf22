//! What an engine is told: one thing that happened, with its source, its number there, and its time.

use std::sync::Arc;

use super::columns::{Cell, Cells, Column};
use super::wire::{Reader, Value, Wire, words};
use crate::data::{AssetId, InstrumentId, Level, Side};
use crate::margin::{LegSide, PoolId, PoolKind};
use crate::numbers::{Error, ErrorKind, Lots, MarkTicks, PriceTicks, Quanta, Rate, Result};

/// What a change of the card may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Anything but the grids of instruments and assets.
    Rules,
    /// The brackets of instruments.
    Tiers,
    /// Haircuts and liability weights of assets.
    Haircuts,
    /// Nothing of what is there: instruments are listed behind those that are.
    Listing,
}

impl Scope {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Tiers => "tiers",
            Self::Haircuts => "haircuts",
            Self::Listing => "listing",
        }
    }
}

/// Why nothing more will be filled of a forced order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// The book had no more within the limit.
    Expired,
    /// Nobody answered in time.
    TimedOut,
}

impl Ended {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::TimedOut => "timed_out",
        }
    }
}

words! {
    Scope, [Scope::Rules, Scope::Tiers, Scope::Haircuts, Scope::Listing], Scope::name;
    Ended, [Ended::Expired, Ended::TimedOut], Ended::name;
}

/// One side of a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Party {
    /// Whose pool.
    pub pool: PoolId,
    /// Which leg of it.
    pub leg: LegSide,
    /// The order that was filled; none for a trade agreed outside the book.
    pub order: Option<u64>,
}

impl Wire for Party {
    fn put(&self, into: &mut Vec<u8>) {
        self.pool.put(into);
        self.leg.put(into);
        self.order.put(into);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { pool: Wire::get(from)?, leg: Wire::get(from)?, order: Wire::get(from)? })
    }

    fn value(&self) -> Value {
        Value::List(vec![self.pool.value(), self.leg.value(), self.order.value()])
    }
}

/// What a kind of event looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Its name.
    pub name: &'static str,
    /// The byte that stands for it.
    pub tag: u8,
    /// The names of its fields, and the names of their types.
    pub fields: &'static [(&'static str, &'static str)],
}

macro_rules! events {
    ($(
        $(#[$doc:meta])*
        $tag:literal $name:ident = $text:literal {
            $( $(#[$field_doc:meta])* $field:ident: $type:ty, )*
        }
    )+) => {
        /// What happened.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum What {
            $( $(#[$doc])* $name { $( $(#[$field_doc])* $field: $type, )* }, )+
        }

        impl What {
            /// All there are, in order of their tags: names, and the name and type of each field.
            pub const ALL: &'static [Shape] = &[$(
                Shape {
                    name: $text,
                    tag: $tag,
                    fields: &[$( (stringify!($field), stringify!($type)), )*],
                },
            )+];

            /// Its name.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $( Self::$name { .. } => $text, )+ }
            }

            /// Its fields by name.
            #[must_use]
            pub fn fields(&self) -> Vec<(&'static str, Value)> {
                match self {
                    $( Self::$name { $($field,)* } => {
                        vec![$( (stringify!($field), $field.value()), )*]
                    } )+
                }
            }
        }

        impl What {
            /// The columns of the fields of a kind; none where it does not stand in columns.
            pub(super) fn columns(tag: u8) -> Option<Vec<Column>> {
                match tag {
                    $( $tag => {
                        let all: Vec<Option<Vec<Column>>> =
                            vec![$( <$type as Cell>::columns(stringify!($field)), )*];
                        all.into_iter().collect::<Option<Vec<_>>>().map(|all| all.concat())
                    } )+
                    _ => None,
                }
            }

            /// Reads one from the numbers of a row.
            #[inline]
            pub(super) fn from_cells(tag: u8, cells: &mut Cells<'_>) -> Result<Self> {
                match tag {
                    $( $tag => Ok(Self::$name {
                        $( $field: Cell::read(cells, stringify!($field))?, )*
                    }), )+
                    _ => Err(Error::invariant("columns")),
                }
            }
        }

        impl Wire for What {
            fn put(&self, into: &mut Vec<u8>) {
                match self {
                    $( Self::$name { $($field,)* } => {
                        into.push($tag);
                        $( $field.put(into); )*
                    } )+
                }
            }

            fn get(from: &mut Reader<'_>) -> Result<Self> {
                match u8::get(from)? {
                    $( $tag => Ok(Self::$name { $( $field: Wire::get(from)?, )* }), )+
                    other => {
                        let limit = "must be an event that this version knows";
                        Err(Error::new(ErrorKind::JournalCorrupt, "event", other, limit))
                    }
                }
            }

            fn value(&self) -> Value {
                let fields = self.fields().into_iter().map(|(_, value)| value);
                Value::List([Value::Text(self.name().to_owned())].into_iter().chain(fields).collect())
            }
        }
    };
}

events! {
    /// Time goes on, and nothing else.
    1 Clock = "clock" {}
    /// A new mark.
    2 Mark = "mark" {
        /// Of this instrument.
        instrument: InstrumentId,
        /// The mark.
        mark: MarkTicks,
    }
    /// A new index.
    3 Index = "index" {
        /// Of this instrument.
        instrument: InstrumentId,
        /// The index, on the grid of marks.
        index: MarkTicks,
    }
    /// The price of one source that an index is made of.
    4 SourcePrice = "source_price" {
        /// Of this instrument.
        instrument: InstrumentId,
        /// The number of the source.
        from: u16,
        /// Its price, on the grid of marks.
        price: MarkTicks,
    }
    /// A new price of an asset, in the valuation asset.
    5 AssetPrice = "asset_price" {
        /// Of this asset.
        asset: AssetId,
        /// The price.
        price: PriceTicks,
    }
    /// A whole book.
    6 BookSnapshot = "book_snapshot" {
        /// Of this instrument.
        instrument: InstrumentId,
        /// Its number, where the feed has one.
        update: Option<u64>,
        /// The bids, best first.
        bids: Arc<[Level]>,
        /// The asks, best first.
        asks: Arc<[Level]>,
    }
    /// Levels of a book that changed; those of no lots are gone.
    7 BookDelta = "book_delta" {
        /// Of this instrument.
        instrument: InstrumentId,
        /// Its number, where the feed has one.
        update: Option<u64>,
        /// The number of the message before it, where the feed has them.
        previous: Option<u64>,
        /// The bids that changed.
        bids: Arc<[Level]>,
        /// The asks that changed.
        asks: Arc<[Level]>,
    }
    /// A trade in the market: the last price.
    8 Trade = "trade" {
        /// Of this instrument.
        instrument: InstrumentId,
        /// Its price.
        price: PriceTicks,
        /// How much.
        lots: Lots,
        /// Who took.
        taker: Side,
    }
    /// A pool is opened.
    9 PoolOpen = "pool_open" {
        /// The account.
        account: Arc<str>,
        /// The pool's name in it.
        pool: Arc<str>,
        /// What its collateral stands for.
        kind: PoolKind,
        /// It holds several assets.
        multi: bool,
        /// The asset of a pool that holds one; that of the card where none is named.
        asset: Option<AssetId>,
    }
    /// Money comes in.
    10 Deposit = "deposit" {
        /// To this pool.
        pool: PoolId,
        /// In this asset.
        asset: AssetId,
        /// How much; above 0.
        amount: Quanta,
    }
    /// Money leaves.
    11 Withdrawal = "withdrawal" {
        /// From this pool.
        pool: PoolId,
        /// In this asset.
        asset: AssetId,
        /// How much; above 0.
        amount: Quanta,
    }
    /// Money moves between two pools of one account: isolated margin is added or taken out.
    12 Transfer = "transfer" {
        /// From this pool.
        from: PoolId,
        /// To this one.
        to: PoolId,
        /// In this asset.
        asset: AssetId,
        /// How much; above 0.
        amount: Quanta,
    }
    /// A leverage is chosen, or the choice taken back.
    13 Leverage = "leverage" {
        /// For this pool.
        pool: PoolId,
        /// For this instrument of it alone.
        instrument: Option<InstrumentId>,
        /// The leverage; at least 1.
        leverage: Option<Rate>,
    }
    /// A leg moves to another pool of the account: from cross to isolated, or back.
    14 MarginMode = "margin_mode" {
        /// From this pool.
        from: PoolId,
        /// To this one.
        to: PoolId,
        /// Of this instrument.
        instrument: InstrumentId,
        /// Which leg.
        leg: LegSide,
    }
    /// An account is known to belong with others.
    15 AccountLink = "account_link" {
        /// A pool of the account.
        pool: PoolId,
        /// The number that all of the cluster have.
        cluster: u64,
    }
    /// An account is throttled, or no longer: while it is, only what reduces risk passes.
    16 Throttle = "throttle" {
        /// A pool of the account.
        pool: PoolId,
        /// Whether it is from now on.
        on: bool,
    }
    /// The session of an account is lost: its orders are cancelled.
    17 SessionLost = "session_lost" {
        /// A pool of the account.
        pool: PoolId,
    }
    /// An order is opened.
    18 OrderOpen = "order_open" {
        /// Its number; not one that is open.
        order: u64,
        /// Whose pool.
        pool: PoolId,
        /// Of this instrument.
        instrument: InstrumentId,
        /// Which leg.
        leg: LegSide,
        /// Which way it trades.
        side: Side,
        /// How much; above 0.
        lots: Lots,
        /// The worst price it accepts; none for a market order.
        limit: Option<PriceTicks>,
        /// It may only reduce the leg.
        reduce_only: bool,
    }
    /// An open order is changed; it must pass the same checks as a new one.
    19 OrderAmend = "order_amend" {
        /// Its number.
        order: u64,
        /// How much is left of it from now on; above 0.
        lots: Lots,
        /// Its limit from now on.
        limit: Option<PriceTicks>,
    }
    /// An open order is cancelled.
    20 OrderCancel = "order_cancel" {
        /// Its number.
        order: u64,
    }
    /// A trade between two pools.
    21 Fill = "fill" {
        /// Of this instrument.
        instrument: InstrumentId,
        /// Its price.
        price: PriceTicks,
        /// How much; above 0.
        lots: Lots,
        /// Who buys.
        buyer: Party,
        /// Who sells.
        seller: Party,
        /// Which of them took.
        taker: Side,
    }
    /// The funding rate in force from now on.
    22 FundingRate = "funding_rate" {
        /// Of this instrument.
        instrument: InstrumentId,
        /// The rate of one settlement, without its sign.
        rate: Rate,
        /// Longs pay shorts; else shorts pay longs.
        longs_pay: bool,
    }
    /// Funding is settled at the rate in force.
    23 FundingSettlement = "funding_settlement" {
        /// Of this instrument.
        instrument: InstrumentId,
        /// The price that positions are valued at; the mark where none is given.
        price: Option<MarkTicks>,
    }
    /// Fees from now on.
    24 Fees = "fees" {
        /// Of this instrument.
        instrument: InstrumentId,
        /// What a taker pays of the value.
        taker: Rate,
        /// What a maker pays of it, or is paid.
        maker: Rate,
        /// The maker is paid.
        rebate: bool,
    }
    /// The insurance fund gets money.
    25 InsuranceTopUp = "insurance_top_up" {
        /// In this asset.
        asset: AssetId,
        /// How much; above 0.
        amount: Quanta,
    }
    /// Trading halts: nothing is opened, filled or liquidated. Cancels pass.
    26 Halt = "halt" {
        /// In this instrument; in all where none is named.
        instrument: Option<InstrumentId>,
    }
    /// Trading goes on.
    27 Resume = "resume" {
        /// In this instrument; in all where none is named.
        instrument: Option<InstrumentId>,
    }
    /// An instrument is delisted: its positions are settled at a price, and nothing is opened in it again.
    28 Delist = "delist" {
        /// This one.
        instrument: InstrumentId,
        /// The price of settlement.
        price: MarkTicks,
    }
    /// The rules change: another card comes into force, of the same instruments and assets with the same grids; `listing` adds instruments.
    29 Card = "card" {
        /// What it may change.
        scope: Scope,
        /// The card, as TOML or JSON.
        card: Arc<str>,
    }
    /// Nothing more will be filled of a forced order.
    30 ForcedEnd = "forced_end" {
        /// Its number.
        order: u64,
        /// Why.
        reason: Ended,
    }
    /// What a model thinks of a pool. It is recorded, and decides nothing.
    31 Advice = "advice" {
        /// Of this pool.
        pool: PoolId,
        /// Which model.
        model: Arc<str>,
        /// Its score, in parts per million.
        score: i64,
    }
    /// A block ends: a card that checks then checks now.
    32 Block = "block" {}
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Who says so.
    pub source: u16,
    /// Its number there: above that of the event before it from the same source.
    pub sequence: u64,
    /// When, in milliseconds of any epoch. Time does not go back.
    pub time: i64,
    /// What.
    pub what: What,
}

impl Wire for Event {
    fn put(&self, into: &mut Vec<u8>) {
        self.source.put(into);
        self.sequence.put(into);
        self.time.put(into);
        self.what.put(into);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self> {
        let (source, sequence) = (Wire::get(from)?, Wire::get(from)?);
        Ok(Self { source, sequence, time: Wire::get(from)?, what: Wire::get(from)? })
    }

    fn value(&self) -> Value {
        let head = [self.source.value(), self.sequence.value(), self.time.value()];
        Value::List(head.into_iter().chain([self.what.value()]).collect())
    }
}

impl Event {
    /// An event from its bytes, all of them.
    ///
    /// # Errors
    /// `journal_corrupt`, and what its fields refuse.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let event = Self::get(&mut reader)?;
        reader.end()?;
        Ok(event)
    }
}

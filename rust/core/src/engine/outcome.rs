//! What follows from an event.

use crate::data::{AssetId, InstrumentId, Side};
use crate::margin::{LegSide, PoolId};
use crate::numbers::{Lots, PriceTicks};

/// Why an order is no longer open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cancelled {
    /// Its owner says so.
    Asked,
    /// The session of its account was lost.
    SessionLost,
    /// Its pool is being liquidated.
    Liquidation,
    /// Its instrument was delisted.
    Delisted,
    /// It may only reduce its leg, and could do more than that to what is left of it.
    NothingToReduce,
}

impl Cancelled {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::SessionLost => "session_lost",
            Self::Liquidation => "liquidation",
            Self::Delisted => "delisted",
            Self::NothingToReduce => "nothing_to_reduce",
        }
    }
}

/// An order that the engine wants filled outside: the liquidation of a leg, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ForcedOrder {
    /// Its number, above that of any order of an account. A fill names it.
    pub order: u64,
    /// Whose pool; it is locked until the order has ended.
    pub pool: PoolId,
    /// Of this instrument.
    pub instrument: InstrumentId,
    /// Which leg.
    pub leg: LegSide,
    /// Which way it trades.
    pub side: Side,
    /// How much.
    pub lots: Lots,
    /// The worst price it accepts: the bankruptcy price of the whole leg with the equity allotted to it.
    pub limit: PriceTicks,
}

/// Why a liquidation waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gate {
    /// Trading in an instrument it has to close is halted.
    Halted,
    /// The book did not take it, and nobody of the other side may be deleveraged.
    NoCounterparty,
}

impl Gate {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Halted => "halted",
            Self::NoCounterparty => "no_counterparty",
        }
    }
}

/// One thing that followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// A pool was opened.
    PoolOpened {
        /// Its place.
        pool: PoolId,
    },
    /// An order is open no longer, though not filled.
    OrderCancelled {
        /// Its number.
        order: u64,
        /// Whose it was.
        pool: PoolId,
        /// Why.
        why: Cancelled,
    },
    /// A leg has traded.
    Traded {
        /// Whose.
        pool: PoolId,
        /// Of this instrument.
        instrument: InstrumentId,
        /// Which leg.
        leg: LegSide,
        /// How many lots it gained, signed.
        lots: Lots,
        /// What the trade brought into the balance, fee aside, in quanta.
        realised: i128,
        /// The fee; negative where one was paid to the account.
        fee: i128,
    },
    /// Funding was settled.
    FundingSettled {
        /// Of this instrument.
        instrument: InstrumentId,
        /// How many pools paid or were paid.
        pools: u64,
        /// Σ of what was paid.
        paid: i128,
    },
    /// The liquidation check fires for a pool.
    Liquidatable {
        /// This one.
        pool: PoolId,
    },
    /// It fires no longer.
    Safe {
        /// This one.
        pool: PoolId,
    },
    /// A liquidation begins: the pool is locked.
    LiquidationStarted {
        /// Of this pool.
        pool: PoolId,
    },
    /// Something has to be closed outside.
    Forced(ForcedOrder),
    /// A part of a forced order was filled.
    ForcedFilled {
        /// Its number.
        order: u64,
        /// Whose pool.
        pool: PoolId,
        /// Of this instrument.
        instrument: InstrumentId,
        /// How much.
        lots: Lots,
    },
    /// A liquidation waits.
    LiquidationHeld {
        /// Of this pool.
        pool: PoolId,
        /// For this.
        gate: Gate,
    },
    /// A liquidation is over: the pool is unlocked.
    LiquidationFinished {
        /// Of this pool.
        pool: PoolId,
        /// The equity that is left.
        equity: i128,
    },
    /// The fee of a forced fill goes to the insurance fund.
    LiquidationFee {
        /// From this pool.
        pool: PoolId,
        /// In this asset.
        asset: AssetId,
        /// How much.
        amount: i128,
    },
    /// The insurance fund pays what a pool owes.
    InsurancePaid {
        /// To this pool.
        pool: PoolId,
        /// In this asset.
        asset: AssetId,
        /// How much.
        amount: i128,
    },
    /// The backstop takes over what a pool has.
    BackstopTookOver {
        /// From this pool.
        pool: PoolId,
        /// Into this one.
        backstop: PoolId,
    },
    /// A position is closed against one of the other side.
    Deleveraged {
        /// Whose liquidation.
        pool: PoolId,
        /// Whose position closes against it.
        counterparty: PoolId,
        /// Of this instrument.
        instrument: InstrumentId,
        /// How much.
        lots: Lots,
        /// At this price.
        price: PriceTicks,
    },
    /// A loss that nothing covers is taken from others.
    Socialised {
        /// Whose loss.
        pool: PoolId,
        /// From whom.
        payer: PoolId,
        /// In this asset.
        asset: AssetId,
        /// How much.
        amount: i128,
    },
    /// A position is settled as its instrument is delisted.
    Settled {
        /// Whose.
        pool: PoolId,
        /// Of this instrument.
        instrument: InstrumentId,
        /// What it brought into the balance.
        realised: i128,
    },
    /// Events of a source are missing.
    SequenceGap {
        /// The source.
        source: u16,
        /// How many are.
        missing: u64,
    },
}

impl Outcome {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PoolOpened { .. } => "pool_opened",
            Self::OrderCancelled { .. } => "order_cancelled",
            Self::Traded { .. } => "traded",
            Self::FundingSettled { .. } => "funding_settled",
            Self::Liquidatable { .. } => "liquidatable",
            Self::Safe { .. } => "safe",
            Self::LiquidationStarted { .. } => "liquidation_started",
            Self::Forced(_) => "forced_order",
            Self::ForcedFilled { .. } => "forced_filled",
            Self::LiquidationHeld { .. } => "liquidation_held",
            Self::LiquidationFinished { .. } => "liquidation_finished",
            Self::LiquidationFee { .. } => "liquidation_fee",
            Self::InsurancePaid { .. } => "insurance_paid",
            Self::BackstopTookOver { .. } => "backstop_took_over",
            Self::Deleveraged { .. } => "deleveraged",
            Self::Socialised { .. } => "socialised",
            Self::Settled { .. } => "settled",
            Self::SequenceGap { .. } => "sequence_gap",
        }
    }
}

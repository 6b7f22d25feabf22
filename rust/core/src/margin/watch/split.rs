//! How far each price of a pool may go: a proposal in floats, which integers then verify or not. Nothing else here is a float,
//! and no verdict hangs on one.
//!
//! A pool that can lose `B`, and loses `L_i` for a whole price of its price `i`, may be left to lose `L_i r_i` to each for any moves
//! `r_i` with `Σ L_i r_i = B`. A price that walks at random leaves an interval of half-width `r` about `1 / r²` as often; the
//! sum of these is smallest where `r_i` goes with `L_i^(-1/3)`.
#![allow(clippy::as_conversions, clippy::cast_precision_loss, clippy::cast_possible_truncation)]

/// No price is let go further than so many times itself.
const FARTHEST: f64 = 15.0;
/// The part of the notional that is kept for payments, and how many times as much there must be for that.
const KEPT: f64 = 1.0 / 2_048.0;
const KEPT_WITHIN: f64 = 16.0;

/// A rate.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Share(f64);

/// What a gap gains when a price grows by a whole price.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slope(f64);

/// How far a price may move, as a part of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reach(f64);

/// The moves of one pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split {
    gross: f64,
    /// `Σ L_i^(2/3)`.
    total: f64,
    /// By how much all proposals are less, or more, than their weights.
    scale: f64,
    attempt: u32,
}

impl Share {
    pub(super) fn new(num: i64, den: i64) -> Self {
        Self(num as f64 / den as f64)
    }

    /// How much of an amount another one is.
    pub(super) fn of(part: i128, whole: i128) -> Self {
        Self(if whole == 0 { 1.0 } else { part as f64 / whole as f64 })
    }
}

impl Slope {
    /// Of an amount that its price is a factor of.
    #[inline]
    pub(super) fn of(value: i128) -> Self {
        Self(value as f64)
    }

    /// Of a leg that requires a share of its notional.
    #[inline]
    pub(super) fn of_leg(value: i64, share: Share) -> Self {
        let value = value as f64;
        Self(value - share.0 * value.abs())
    }

    /// Of what rises by so much over so many ticks, at a price, and then counts by a share.
    pub(super) fn measured(rise: i128, over: i64, ticks: i64, share: Share) -> Self {
        Self(share.0 * rise as f64 * ticks as f64 / (over as f64).max(1.0))
    }

    #[inline]
    pub(super) fn add(&mut self, other: Self) {
        self.0 += other.0;
    }

    /// Whether the gap falls as the price rises.
    #[inline]
    pub(super) fn falls(self) -> bool {
        self.0 < 0.0
    }
}

/// About `x^(-1/3)`, within a few parts of a hundred.
#[inline]
fn weight(x: f64) -> f64 {
    let narrow = x as f32;
    f64::from(f32::from_bits(0x54A2_1D2A - (narrow.max(f32::MIN_POSITIVE).to_bits() / 3)))
}

impl Split {
    /// Of no prices yet.
    #[inline]
    pub(super) fn new() -> Self {
        Self { gross: 0.0, total: 0.0, scale: 1.0, attempt: 0 }
    }

    /// Counts the value of a position.
    #[inline]
    pub(super) fn count(&mut self, value: i64) {
        self.gross += (value as f64).abs();
    }

    /// The weight of one more price.
    #[inline]
    pub(super) fn add(&mut self, slope: Slope) -> Reach {
        let loss = slope.0.abs();
        let weight = weight(loss);
        self.total += loss * weight;
        Reach(weight)
    }

    /// What is kept of the room for payments: nothing near the line, where each tick counts.
    #[inline]
    pub(super) fn kept(&self, room: i64) -> i64 {
        let kept = self.gross * KEPT;
        if kept * KEPT_WITHIN < room as f64 { kept as i64 } else { 0 }
    }

    /// Shares what may be lost: each weight becomes a move.
    #[inline]
    pub(super) fn share<'a>(&self, budget: i128, reaches: impl Iterator<Item = &'a mut Reach>) {
        let share = budget as f64 / self.total.max(f64::MIN_POSITIVE);
        for reach in reaches {
            reach.0 = (share * reach.0).min(FARTHEST);
        }
    }

    /// A move in ticks from a price. After each attempt that lost too much, a tick less.
    #[inline]
    pub(super) fn ticks(&self, reach: Reach, from: i64) -> i64 {
        ((from as f64 * reach.0 * self.scale) as i64).saturating_sub(i64::from(self.attempt)).max(0)
    }

    /// Makes all moves smaller, as so much was lost and so much may be; none: it could not be said.
    #[inline]
    pub(super) fn shrink(&mut self, lost: Option<(i64, i64)>) {
        // Once the straight way; then faster, as what bends most may be far away.
        let straight = lost.map_or(0.5, |(used, budget)| budget as f64 / used as f64);
        self.scale *= if self.attempt == 0 { straight } else { straight * 0.5 };
        self.attempt += 1;
    }
}

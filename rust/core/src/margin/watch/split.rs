//! How far each price of a pool may go: a proposal in floats, which integers then verify or not.
//!
//! A pool that can lose `B`, and loses `L_i` for a whole price of its price `i`, may be left to lose `L_i r_i` to each for any moves
//! `r_i` with `Σ L_i r_i = B`. A price that walks at random leaves an interval of half-width `r` about `1 / r²` as often; the
//! sum of these is smallest where `r_i` goes with `L_i^(-1/3)`.

/// No price is let go further than so many times itself.
pub(super) const FARTHEST: f64 = 15.0;

/// Moves, as parts of their prices.
#[derive(Debug, Clone, Default)]
pub(super) struct Moves {
    /// Loss for a whole price, and the move.
    moves: Vec<(f64, f64)>,
    /// The moves in ticks that were last proposed.
    last: Vec<i64>,
}

/// About `x^(-1/3)`, within a few parts of a hundred.
#[inline]
#[allow(clippy::as_conversions, clippy::cast_possible_truncation)] // a float of 32 bits is enough
pub(super) fn weight(x: f64) -> f64 {
    let narrow = x as f32;
    f64::from(f32::from_bits(0x54A2_1D2A - (narrow.max(f32::MIN_POSITIVE).to_bits() / 3)))
}

impl Moves {
    pub(super) fn clear(&mut self) {
        self.moves.clear();
        self.last.clear();
    }

    /// One more price, which loses so much for a whole price.
    pub(super) fn push(&mut self, loss: f64) {
        self.moves.push((loss, 0.0));
        self.last.push(i64::MAX);
    }

    /// Shares what may be lost.
    pub(super) fn split(&mut self, budget: f64) {
        if let [(loss, own)] = self.moves.as_mut_slice() {
            *own = (budget / loss.max(f64::MIN_POSITIVE)).min(FARTHEST);
            return;
        }
        let mut total = 0.0;
        for (loss, own) in &mut self.moves {
            *own = weight(*loss);
            total += *loss * *own;
        }
        let share = budget / total.max(f64::MIN_POSITIVE);
        for (_, own) in &mut self.moves {
            *own = (*own * share).min(FARTHEST);
        }
    }

    /// Makes all moves smaller.
    pub(super) fn shrink(&mut self, by: f64) {
        for ((_, own), last) in self.moves.iter_mut().zip(&mut self.last) {
            *own *= by;
            *last = last.saturating_sub(1);
        }
    }

    /// A move in ticks from a price: at most one less than the last that was asked for where it was made smaller since.
    #[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_precision_loss)] // it saturates
    pub(super) fn ticks(&mut self, number: usize, from: i64) -> i64 {
        let (Some((_, own)), Some(last)) = (self.moves.get(number), self.last.get_mut(number))
        else {
            return 0;
        };
        *last = ((from as f64 * own) as i64).min(*last).max(0);
        *last
    }
}

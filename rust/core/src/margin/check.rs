//! The check: who can pay, who cannot. One pool, or all of them.

use crate::data::InstrumentId;
use crate::numbers::limits::{QUANTA_MAX, THREADS_MAX};
use crate::numbers::rounding::mul_div_floor;
use crate::numbers::{Canonical, Digest, Error, ErrorKind, MarkTicks, Result};
use crate::pricing::Prices;

use super::lanes::{LaneScan, LaneSums};
use super::leg::Leg;
use super::portfolio::{PoolId, Portfolio};
use super::requirement::{LegMargin, leg_margin};

const PPM: i128 = 1_000_000;

/// The verdict on a pool, ordered by severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Equity covers the initial requirement.
    Safe,
    /// Equity covers maintenance, not the initial requirement: nothing new may be opened.
    BelowInitial,
    /// The liquidation check fires.
    Liquidatable,
    /// Equity is below zero.
    Bankrupt,
}

impl Status {
    /// Every status, in order of its code.
    pub const ALL: [Status; 4] =
        [Status::Safe, Status::BelowInitial, Status::Liquidatable, Status::Bankrupt];

    /// Its code in columns.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Status::Safe => 0,
            Status::BelowInitial => 1,
            Status::Liquidatable => 2,
            Status::Bankrupt => 3,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Status::Safe => "safe",
            Status::BelowInitial => "below_initial",
            Status::Liquidatable => "liquidatable",
            Status::Bankrupt => "bankrupt",
        }
    }
}

/// `liquidatable` of `docs/spec/margin.md`.
#[must_use]
pub fn is_liquidatable(equity: i128, maintenance: i128, strict: bool) -> bool {
    maintenance > 0 && (equity < maintenance || (!strict && equity == maintenance))
}

fn status_code(equity: i128, initial: i128, maintenance: i128, strict: bool) -> u8 {
    if equity < 0 {
        Status::Bankrupt.code()
    } else if is_liquidatable(equity, maintenance, strict) {
        Status::Liquidatable.code()
    } else if equity < initial {
        Status::BelowInitial.code()
    } else {
        Status::Safe.code()
    }
}

/// The same rules as [`status_code`] and [`is_liquidatable`], on 64-bit integers and without branches.
#[inline]
fn flags(equity: i64, initial: i64, maintenance: i64, strict: bool) -> (u8, bool) {
    let tie = u8::from(!strict) & u8::from(equity == maintenance);
    let fires = u8::from(maintenance > 0) & (u8::from(equity < maintenance) | tie);
    let open = u8::from(equity < initial).max(fires << 1);
    (open.max(u8::from(equity < 0) * 3), fires == 1)
}

/// One pool's sums, in quanta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolMargin {
    /// What the pool is worth.
    pub equity: i128,
    /// What opening requires.
    pub initial: i128,
    /// What staying requires.
    pub maintenance: i128,
    /// Σ |value| of its legs.
    pub notional: i128,
    /// The verdict.
    pub status: Status,
    /// Whether the liquidation check fires.
    pub liquidatable: bool,
}

impl PoolMargin {
    /// `ceil(maintenance × 10^6 / equity)`, saturated; see `docs/spec/margin.md`.
    #[must_use]
    pub fn ratio_ppm(&self) -> i64 {
        if self.maintenance == 0 {
            return 0;
        }
        if self.equity <= 0 {
            return i64::MAX;
        }
        let ceil = mul_div_floor(-self.maintenance, PPM, self.equity).map(|q| -q);
        saturated(ceil, self.maintenance)
    }

    /// `floor((equity − maintenance) × 10^6 / notional)`, saturated; see `docs/spec/margin.md`.
    #[must_use]
    pub fn distance_ppm(&self) -> i64 {
        if self.notional == 0 {
            return i64::MAX;
        }
        let buffer = self.equity - self.maintenance;
        saturated(mul_div_floor(buffer, PPM, self.notional), buffer)
    }
}

/// A quotient in parts per million, saturated to 64 bits; `None` is past 128 bits, on the side of `sign`.
fn saturated(quotient: Option<i128>, sign: i128) -> i64 {
    let end = if sign < 0 { i64::MIN } else { i64::MAX };
    quotient.map_or(end, |q| i64::try_from(q).unwrap_or(end))
}

/// A column of amounts: 64-bit integers, and the few rows that need more beside them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Column {
    lanes: Vec<i64>,
    wide: Vec<(usize, i128)>,
}

impl Column {
    /// The amount in a row.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<i128> {
        match self.wide.binary_search_by_key(&row, |(r, _)| *r) {
            Ok(place) => self.wide.get(place).map(|(_, v)| *v),
            Err(_) => self.lanes.get(row).copied().map(i128::from),
        }
    }

    /// All rows as 64-bit integers, when they fit.
    #[must_use]
    pub fn narrow(&self) -> Option<&[i64]> {
        self.wide.is_empty().then_some(&self.lanes)
    }

    /// The same, taken out.
    ///
    /// # Errors
    /// The column itself when a row does not fit.
    pub fn into_narrow(self) -> std::result::Result<Vec<i64>, Self> {
        if self.wide.is_empty() { Ok(self.lanes) } else { Err(self) }
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = i128> + '_ {
        let mut wide = self.wide.iter().peekable();
        self.lanes.iter().enumerate().map(move |(row, lane)| match wide.peek() {
            Some((r, value)) if *r == row => {
                wide.next();
                *value
            }
            _ => i128::from(*lane),
        })
    }
}

/// What a batch check found: one row a pool, in the portfolio's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Equity in quanta.
    pub equity: Column,
    /// Initial requirement in quanta.
    pub initial: Column,
    /// Maintenance requirement in quanta.
    pub maintenance: Column,
    /// [`Status`] codes.
    pub status: Vec<u8>,
    /// Whether the liquidation check fires.
    pub liquidatable: Vec<bool>,
}

impl Report {
    /// The digest of all columns, beside those of what they were computed from.
    #[must_use]
    pub fn digest(&self, portfolio: Digest, prices: Digest) -> Digest {
        let mut c = Canonical::of("aivora-report/0");
        c.text(&portfolio.to_string()).text(&prices.to_string()).length(self.status.len());
        for column in [&self.equity, &self.initial, &self.maintenance] {
            for amount in column.iter() {
                c.int(amount);
            }
        }
        for (status, liquidatable) in self.status.iter().zip(&self.liquidatable) {
            c.int(*status).int(*liquidatable);
        }
        c.digest()
    }
}

/// One piece of the report, filled by one thread.
struct Piece<'a> {
    first: usize,
    amounts: [&'a mut [i64]; 3],
    status: &'a mut [u8],
    liquidatable: &'a mut [bool],
}

impl<'a> Piece<'a> {
    /// The same in pieces of so many pools, in order.
    fn split(self, size: usize) -> impl Iterator<Item = Piece<'a>> {
        let [equity, initial, maintenance] = self.amounts;
        let flags = self.status.chunks_mut(size).zip(self.liquidatable.chunks_mut(size));
        equity
            .chunks_mut(size)
            .zip(initial.chunks_mut(size))
            .zip(maintenance.chunks_mut(size))
            .zip(flags)
            .zip((self.first..).step_by(size))
            .map(|((((e, n), m), (status, liquidatable)), first)| Piece {
                first,
                amounts: [e, n, m],
                status,
                liquidatable,
            })
    }
}

type Wide = [Vec<(usize, i128)>; 3];

/// Pools whose running sums are found together, and the legs they may have; the sums fit the first cache.
const BLOCK_POOLS: usize = 64;
const BLOCK_LEGS: usize = 512;

impl Portfolio {
    pub(super) fn mark_of(&self, prices: &Prices, leg: &Leg, pool: PoolId) -> Result<i64> {
        prices.mark(leg.instrument).map(MarkTicks::get).ok_or_else(|| {
            let symbol = self.venue().instrument(leg.instrument).map_or("?", |i| i.symbol());
            let key = self.key(pool).unwrap_or(("?", "?"));
            let limit =
                format!("pool {}/{} holds it: every held instrument needs one", key.0, key.1);
            Error::new(ErrorKind::MissingPrice, "mark", symbol, limit)
        })
    }

    fn check_venue(&self, prices: &Prices) -> Result<()> {
        if prices.venue().digest() == self.venue().digest() {
            return Ok(());
        }
        let limit = format!("the portfolio is of venue {}, with another card", self.venue().name());
        Err(Error::new(ErrorKind::UnknownVenue, "prices", prices.venue().name(), limit))
    }

    /// One leg at the prices.
    ///
    /// # Errors
    /// `missing_price`, `overflow`, `limit_exceeded`.
    pub fn leg_margin(&self, pool: PoolId, leg: &Leg, prices: &Prices) -> Result<LegMargin> {
        let mark = self.mark_of(prices, leg, pool)?;
        leg_margin(self.venue().rules(), self.venue().instrument(leg.instrument)?, leg, mark)
    }

    /// One pool at the prices, by the wide path.
    ///
    /// # Errors
    /// `missing_price`, `overflow`, `limit_exceeded`.
    pub fn assess(&self, pool: PoolId, prices: &Prices) -> Result<PoolMargin> {
        self.check_venue(prices)?;
        self.assess_wide(pool, prices)
    }

    fn assess_wide(&self, pool: PoolId, prices: &Prices) -> Result<PoolMargin> {
        let (mut equity, mut initial) = (self.collateral(pool)?, 0_i128);
        let (mut maintenance, mut notional) = (0_i128, 0_i128);
        let overflow = |what| {
            let (account, name) = self.key(pool).unwrap_or(("?", "?"));
            Error::overflow(what, format!("{account}/{name}"))
        };
        let sum = |total: &mut i128, part: i128, what| -> Result<()> {
            let next =
                total.checked_add(part).filter(|s| s.unsigned_abs() <= QUANTA_MAX.unsigned_abs());
            *total = next.ok_or_else(|| overflow(what))?;
            Ok(())
        };
        for slot in self.slots(pool) {
            let leg = self.leg(slot).ok_or_else(|| Error::invariant("leg place"))?;
            let m = self.leg_margin(pool, &leg, prices)?;
            sum(&mut equity, m.pnl - leg.accrued, "equity")?;
            sum(&mut initial, m.initial, "initial")?;
            sum(&mut maintenance, m.maintenance, "maintenance")?;
            sum(&mut notional, m.notional, "notional")?;
        }
        let strict = self.venue().rules().strict;
        let code = status_code(equity, initial, maintenance, strict);
        let status = Status::ALL.into_iter().find(|s| s.code() == code);
        Ok(PoolMargin {
            equity,
            initial,
            maintenance,
            notional,
            status: status.ok_or_else(|| Error::invariant("status code"))?,
            liquidatable: is_liquidatable(equity, maintenance, strict),
        })
    }

    /// Every pool at the prices. The result does not depend on the number of threads.
    ///
    /// # Errors
    /// `missing_price` for a held instrument without a mark; `overflow`; `out_of_range` for the threads.
    pub fn check(&self, prices: &Prices, threads: usize) -> Result<Report> {
        self.check_venue(prices)?;
        if threads == 0 || threads > THREADS_MAX {
            let limit = format!("must be 1 to {THREADS_MAX}");
            return Err(Error::new(ErrorKind::OutOfRange, "threads", threads, limit));
        }
        self.check_marks(prices)?;
        let scan = self
            .lanes
            .at(|i| prices.mark(InstrumentId(u32::try_from(i).ok()?)).map(MarkTicks::get));
        let pools = self.len();
        let mut columns = [vec![0_i64; pools], vec![0_i64; pools], vec![0_i64; pools]];
        let (mut status, mut liquidatable) = (vec![0_u8; pools], vec![false; pools]);
        let size = pools.div_ceil(threads).max(1);
        let [equity, initial, maintenance] = &mut columns;
        let whole = Piece {
            first: 0,
            amounts: [equity, initial, maintenance],
            status: &mut status,
            liquidatable: &mut liquidatable,
        };
        let mut wide = Wide::default();
        for found in self.run(whole.split(size).collect(), &scan, prices) {
            for (all, part) in wide.iter_mut().zip(found?) {
                all.extend(part);
            }
        }
        let [equity, initial, maintenance] = columns;
        let [wide_e, wide_i, wide_m] = wide;
        Ok(Report {
            equity: Column { lanes: equity, wide: wide_e },
            initial: Column { lanes: initial, wide: wide_i },
            maintenance: Column { lanes: maintenance, wide: wide_m },
            status,
            liquidatable,
        })
    }

    /// Fails closed where a held instrument has no mark.
    fn check_marks(&self, prices: &Prices) -> Result<()> {
        for (i, _) in self.venue().instruments().iter().enumerate() {
            let id = InstrumentId(u32::try_from(i).unwrap_or(u32::MAX));
            if prices.mark(id).is_none()
                && let Some(pool) = self.first_holder(id)
            {
                self.mark_of(prices, &Leg::empty(id, super::leg::LegSide::Net), pool)?;
            }
        }
        Ok(())
    }

    /// All pieces, each on a thread of its own when there are several; results in order.
    fn run(
        &self,
        pieces: Vec<Piece<'_>>,
        scan: &LaneScan<'_>,
        prices: &Prices,
    ) -> Vec<Result<Wide>> {
        if pieces.len() < 2 {
            return pieces.into_iter().map(|p| self.fill(p, scan, prices)).collect();
        }
        std::thread::scope(|scope| {
            let spawn = |piece| scope.spawn(move || self.fill(piece, scan, prices));
            let handles: Vec<_> = pieces.into_iter().map(spawn).collect();
            let broken = |_| Err(Error::invariant("scan thread"));
            handles.into_iter().map(|h| h.join().unwrap_or_else(broken)).collect()
        })
    }

    /// One piece of the report, by the kernel that the rules ask for.
    fn fill(&self, piece: Piece<'_>, scan: &LaneScan<'_>, prices: &Prices) -> Result<Wide> {
        match scan.bases() {
            (false, false) => self.fill_by::<false, false>(piece, scan, prices),
            (false, true) => self.fill_by::<false, true>(piece, scan, prices),
            (true, false) => self.fill_by::<true, false>(piece, scan, prices),
            (true, true) => self.fill_by::<true, true>(piece, scan, prices),
        }
    }

    fn fill_by<const M: bool, const I: bool>(
        &self,
        piece: Piece<'_>,
        scan: &LaneScan<'_>,
        prices: &Prices,
    ) -> Result<Wide> {
        let mut wide = Wide::default();
        let mut running = vec![LaneSums::default(); BLOCK_LEGS + 1];
        for block in piece.split(BLOCK_POOLS) {
            let last = PoolId(block.first + block.status.len().saturating_sub(1));
            let legs = self.slots(PoolId(block.first)).start..self.slots(last).end;
            let legs = self.legs.get(legs).ok_or_else(|| Error::invariant("packed columns"))?;
            let sums = running.get_mut(1..=legs.len());
            let found = sums.and_then(|sums| scan.running::<M, I>(legs, sums));
            if found.is_some() && self.all_in_lanes(&block) {
                self.fill_from(block, &running)?;
                continue;
            }
            let sums = |start, end| scan.sums::<M, I>(legs.get(start..end)?);
            self.fill_each(block, sums, prices, &mut wide)?;
        }
        Ok(wide)
    }

    fn all_in_lanes(&self, block: &Piece<'_>) -> bool {
        self.in_lanes.iter().skip(block.first).take(block.status.len()).all(|lane| *lane)
    }

    /// Pools that are all in the lanes, from the running sums over their legs.
    fn fill_from(&self, block: Piece<'_>, running: &[LaneSums]) -> Result<()> {
        let Piece { first, amounts: [equity, initial, maintenance], status, liquidatable } = block;
        let broken = || Error::invariant("packed columns");
        let cash = self.cash.get(first..).ok_or_else(broken)?;
        let ends = self.offsets.get(first + 1..).ok_or_else(broken)?;
        let base = u32::try_from(self.slots(PoolId(first)).start).map_err(|_| broken())?;
        let outputs = equity.iter_mut().zip(initial.iter_mut()).zip(maintenance.iter_mut());
        let mut before = LaneSums::default();
        for ((((e, n), m), cash), end) in outputs.zip(cash).zip(ends) {
            let place = usize::try_from(end.wrapping_sub(base)).map_err(|_| broken())?;
            let after = *running.get(place).ok_or_else(broken)?;
            let own = after.since(before);
            before = after;
            (*e, *n, *m) = (cash.wrapping_add(own.pnl), own.initial, own.maintenance);
        }
        let strict = self.venue().rules().strict;
        let amounts = equity.iter().zip(initial.iter()).zip(maintenance.iter());
        for (((e, n), m), (status, liquidatable)) in
            amounts.zip(status.iter_mut().zip(liquidatable))
        {
            (*status, *liquidatable) = flags(*e, *n, *m, strict);
        }
        Ok(())
    }

    /// Pools one by one: `sums` gives those of a range of the block's legs, where they fit the lanes.
    fn fill_each(
        &self,
        block: Piece<'_>,
        sums: impl Fn(usize, usize) -> Option<LaneSums>,
        prices: &Prices,
        wide: &mut Wide,
    ) -> Result<()> {
        let Piece { first, amounts: [equity, initial, maintenance], status, liquidatable } = block;
        let strict = self.venue().rules().strict;
        let broken = || Error::invariant("packed columns");
        let outputs = equity.iter_mut().zip(initial).zip(maintenance);
        let outputs = outputs.zip(status.iter_mut().zip(liquidatable));
        let inputs = self.in_lanes.get(first..).ok_or_else(broken)?.iter();
        let inputs = inputs.zip(self.cash.get(first..).ok_or_else(broken)?);
        let inputs = inputs.zip(self.offsets.get(first + 1..).ok_or_else(broken)?);
        let base = self.slots(PoolId(first)).start;
        let mut start = 0;
        for ((row, (((e, n), m), (status, liquidatable))), ((in_lanes, cash), end)) in
            (first..).zip(outputs).zip(inputs)
        {
            let end = usize::try_from(*end).map_err(|_| broken())?.wrapping_sub(base);
            let found = if *in_lanes { sums(start, end) } else { None };
            start = end;
            if let Some(found) = found {
                (*e, *n, *m) = (cash.wrapping_add(found.pnl), found.initial, found.maintenance);
                (*status, *liquidatable) = flags(*e, *n, *m, strict);
                continue;
            }
            let found = self.assess_wide(PoolId(row), prices)?;
            *status = found.status.code();
            *liquidatable = found.liquidatable;
            let cells = [(e, found.equity), (n, found.initial), (m, found.maintenance)];
            for ((cell, value), beside) in cells.into_iter().zip(&mut *wide) {
                match i64::try_from(value) {
                    Ok(narrow) => *cell = narrow,
                    Err(_) => beside.push((row, value)),
                }
            }
        }
        Ok(())
    }
}

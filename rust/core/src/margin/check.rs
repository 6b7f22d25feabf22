//! The check: who can pay, who cannot, all pools at once.

use std::sync::{Arc, Mutex, PoisonError};

use aivora_simd::{POISON, Path, Table, flags};

use crate::data::{AssetId, InstrumentId};
use crate::numbers::limits::THREADS_MAX;
use crate::numbers::{Canonical, Digest, Error, ErrorKind, MarkTicks, PriceTicks, Result};
use crate::pricing::Prices;

use super::assess::{assess_here, check_venue, is_liquidatable};
use super::holdings::Holdings;
use super::portfolio::{PoolId, Portfolio};
use super::store::{Block, POOLS_PER_BLOCK};
use super::valuation::LaneValue;
use super::wide::{WideSums, WideTable};

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
    /// [`super::Status`] codes.
    pub status: Vec<u8>,
    /// Whether the liquidation check fires.
    pub liquidatable: Vec<bool>,
}

impl Report {
    /// The digest of all columns, beside those of what they were computed from.
    #[must_use]
    pub fn digest(&self, portfolio: Digest, prices: Digest) -> Digest {
        let mut c = Canonical::of("aivora-report/1");
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

/// The kernels' table at the last prices, and those prices.
#[derive(Debug, Default)]
pub(super) struct Prepared(Mutex<Option<Tables>>);

/// The tables at some marks.
#[derive(Debug, Clone)]
struct Tables {
    marks: Vec<Option<MarkTicks>>,
    lanes: Arc<Table>,
    wide: Arc<WideTable>,
}

impl Clone for Prepared {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

/// Memory for a report: one place a pool in each column.
#[derive(Debug)]
pub struct ReportSlices<'a> {
    /// Equity in quanta.
    pub equity: &'a mut [i64],
    /// Initial requirement in quanta.
    pub initial: &'a mut [i64],
    /// Maintenance requirement in quanta.
    pub maintenance: &'a mut [i64],
    /// [`super::Status`] codes.
    pub status: &'a mut [u8],
    /// Whether the liquidation check fires.
    pub liquidatable: &'a mut [bool],
}

/// What every block of a scan reads.
struct Scan {
    table: Arc<Table>,
    wide: Arc<WideTable>,
    path: Path,
    strict: bool,
    /// By asset: what it counts, where the lanes can hold that.
    values: Vec<Option<LaneValue>>,
}

/// One piece of the report, filled by one thread: whole blocks.
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

fn broken() -> Error {
    Error::invariant("packed columns")
}

/// Runs a job on each piece; results in order. With several threads each takes the next piece when it has done one, so
/// that a thread whose processor is busy holds up no more than its piece; the caller is one of them.
pub(crate) fn on_threads<P: Send, R: Send>(
    pieces: impl Iterator<Item = P> + Send,
    threads: usize,
    job: impl Fn(P) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    if threads == 1 {
        return pieces.map(job).collect();
    }
    let queue = Mutex::new(pieces.enumerate());
    let work = || {
        let mut found = Vec::new();
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((number, piece)) = next else { return found };
            found.push((number, job(piece)));
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut found = work();
        for other in others {
            found.extend(other.join().map_err(|_| Error::invariant("scan thread"))?);
        }
        found.sort_unstable_by_key(|(number, _)| *number);
        found.into_iter().map(|(_, result)| result).collect()
    })
}

/// Pools of one piece: whole blocks, so that no block is shared; all of them for one thread.
fn piece_size(pools: usize, threads: usize) -> usize {
    let blocks = pools.div_ceil(POOLS_PER_BLOCK).max(1);
    let own = if threads == 1 { blocks } else { blocks.div_ceil(threads * 8).max(1) };
    own * POOLS_PER_BLOCK
}

pub(crate) fn check_threads(threads: usize) -> Result<()> {
    if threads == 0 || threads > THREADS_MAX {
        let limit = format!("must be 1 to {THREADS_MAX}");
        return Err(Error::new(ErrorKind::OutOfRange, "threads", threads, limit));
    }
    Ok(())
}

impl Portfolio {
    /// Every pool at the prices. The result does not depend on the number of threads, nor on the instructions used.
    ///
    /// # Errors
    /// `missing_price` for a held instrument without a mark, or an asset to be valued without a price; `overflow`;
    /// `out_of_range` for the threads.
    pub fn check(&self, prices: &Prices, threads: usize) -> Result<Report> {
        let pools = self.len();
        let mut columns = [vec![0_i64; pools], vec![0_i64; pools], vec![0_i64; pools]];
        let (mut status, mut liquidatable) = (vec![0_u8; pools], vec![false; pools]);
        let [equity, initial, maintenance] = &mut columns;
        let out = ReportSlices {
            equity,
            initial,
            maintenance,
            status: &mut status,
            liquidatable: &mut liquidatable,
        };
        let [wide_e, wide_i, wide_m] = self.check_into(prices, threads, out)?;
        let [equity, initial, maintenance] = columns;
        Ok(Report {
            equity: Column { lanes: equity, wide: wide_e },
            initial: Column { lanes: initial, wide: wide_i },
            maintenance: Column { lanes: maintenance, wide: wide_m },
            status,
            liquidatable,
        })
    }

    /// [`Portfolio::check`] into memory that is there already: one place a pool, what was in it does not matter. Gives the
    /// rows of each amount that need more than 64 bits, which are 0 in their column; after an error the columns mean nothing.
    ///
    /// # Errors
    /// As [`Portfolio::check`]; `length_mismatch` for a column of another length.
    pub fn check_into(
        &self,
        prices: &Prices,
        threads: usize,
        out: ReportSlices<'_>,
    ) -> Result<[Vec<(usize, i128)>; 3]> {
        check_threads(threads)?;
        let ReportSlices { equity, initial, maintenance, status, liquidatable } = out;
        let lengths = [equity.len(), initial.len(), maintenance.len(), status.len()];
        for length in lengths.into_iter().chain([liquidatable.len()]) {
            if length != self.len() {
                let limit = format!("must have a place for each of {} pools", self.len());
                return Err(Error::new(ErrorKind::LengthMismatch, "out", length, limit));
            }
        }
        let scan = self.scan(prices)?;
        let amounts = [equity, initial, maintenance];
        let whole = Piece { first: 0, amounts, status, liquidatable };
        let pieces = whole.split(piece_size(self.len(), threads));
        let mut wide = Wide::default();
        for found in on_threads(pieces, threads, |piece| self.fill(piece, &scan, prices))? {
            for (all, part) in wide.iter_mut().zip(found) {
                all.extend(part);
            }
        }
        Ok(wide)
    }

    /// Only the verdict of every pool: [`Report::liquidatable`] of [`Portfolio::check`], for less.
    ///
    /// # Errors
    /// As [`Portfolio::check`].
    pub fn liquidatable(&self, prices: &Prices, threads: usize) -> Result<Vec<bool>> {
        check_threads(threads)?;
        let scan = self.scan(prices)?;
        let mut mask = vec![false; self.len()];
        let size = piece_size(self.len(), threads);
        let pieces = mask.chunks_mut(size).zip((0..).step_by(size));
        on_threads(pieces, threads, |(own, first)| self.fill_mask(own, first, &scan, prices))?;
        Ok(mask)
    }

    /// What all blocks read, at the prices.
    fn scan(&self, prices: &Prices) -> Result<Scan> {
        check_venue(self, prices)?;
        self.check_marks(prices)?;
        let value = |(i, asset): (usize, &crate::data::Asset)| {
            let id = AssetId(u8::try_from(i).ok()?);
            LaneValue::at(asset.worth()?, prices.asset(id).map(PriceTicks::get)?)
        };
        let Tables { lanes: table, wide, .. } = self.tables(prices);
        Ok(Scan {
            table,
            wide,
            path: Path::in_use(),
            strict: self.venue().rules().strict,
            values: self.venue().assets().iter().enumerate().map(value).collect(),
        })
    }

    /// The tables: those of the last scan, with the instruments set anew whose price is another.
    fn tables(&self, prices: &Prices) -> Tables {
        let instruments = self.venue().instruments();
        let mark = |i: usize| u32::try_from(i).ok().and_then(|i| prices.mark(InstrumentId(i)));
        let mut last = self.prepared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tables = last.get_or_insert_with(|| Tables {
            marks: vec![None; instruments.len()],
            lanes: Arc::new(self.lanes.table()),
            wide: Arc::new(self.wide.table()),
        });
        for (i, (instrument, known)) in instruments.iter().zip(&mut tables.marks).enumerate() {
            let now = mark(i);
            if *known != now {
                let ticks = now.map(MarkTicks::get);
                self.lanes.set(Arc::make_mut(&mut tables.lanes), i, instrument, ticks);
                self.wide.set(Arc::make_mut(&mut tables.wide), i, instrument, ticks);
                *known = now;
            }
        }
        tables.clone()
    }

    /// One piece of the report.
    fn fill(&self, piece: Piece<'_>, scan: &Scan, prices: &Prices) -> Result<Wide> {
        let mut wide = Wide::default();
        let mut scratch = Scratch::default();
        for Piece { first, amounts, status, liquidatable } in piece.split(POOLS_PER_BLOCK) {
            let block = self.blocks.get(first / POOLS_PER_BLOCK).ok_or_else(broken)?;
            let [equity, initial, maintenance] = amounts;
            let out = [&mut *equity, &mut *initial, &mut *maintenance];
            let mut slow = scan.lane_sums::<true>(block, out, &mut scratch)?;
            let mut large = Vec::new();
            for group in block.wide() {
                group.sums(&scan.wide, |pool, sums| {
                    let cells = equity.get_mut(pool).zip(initial.get_mut(pool));
                    let (Some(sums), Some(((e, n), m))) =
                        (sums, cells.zip(maintenance.get_mut(pool)))
                    else {
                        return slow.push(pool);
                    };
                    match sums.map(i64::try_from) {
                        [Ok(equity), Ok(initial), Ok(maintenance)] if maintenance < POISONED => {
                            (*e, *n, *m) = (equity, initial, maintenance);
                        }
                        _ => large.push((pool, sums)),
                    }
                });
            }
            let sums = (&*equity, &*initial, &*maintenance);
            let all = flags(scan.path, scan.strict, sums, status, liquidatable);
            if all >= POISONED {
                slow.extend(poisoned(maintenance));
            }
            slow.sort_unstable();
            slow.dedup();
            let mut write = |pool: usize, values: WideSums| -> Result<()> {
                let [e, n, m] = values;
                let flags = status.get_mut(pool).zip(liquidatable.get_mut(pool));
                let (code, fires) = flags.ok_or_else(broken)?;
                *code = super::assess::status(e, n, m, scan.strict).code();
                *fires = is_liquidatable(e, m, scan.strict);
                let columns = [&mut *equity, &mut *initial, &mut *maintenance];
                for ((column, value), beside) in columns.into_iter().zip(values).zip(&mut wide) {
                    let narrow = i64::try_from(value);
                    *column.get_mut(pool).ok_or_else(broken)? = narrow.unwrap_or(0);
                    if narrow.is_err() {
                        beside.push((first + pool, value));
                    }
                }
                Ok(())
            };
            for (row, sums) in large {
                write(row, sums)?;
            }
            for pool in slow {
                let m = assess_here(self, PoolId(first + pool), prices)?;
                write(pool, [m.equity, m.initial, m.maintenance])?;
            }
        }
        for column in &mut wide {
            column.sort_unstable_by_key(|(row, _)| *row);
        }
        Ok(wide)
    }

    /// One piece of the mask.
    fn fill_mask(
        &self,
        mask: &mut [bool],
        first: usize,
        scan: &Scan,
        prices: &Prices,
    ) -> Result<()> {
        let mut scratch = Scratch::default();
        let pieces = mask.chunks_mut(POOLS_PER_BLOCK).zip((first..).step_by(POOLS_PER_BLOCK));
        for (own, first) in pieces {
            let block = self.blocks.get(first / POOLS_PER_BLOCK).ok_or_else(broken)?;
            let mut slow = Vec::new();
            let plain = block.is_plain();
            let all = if plain {
                let all = block.own().verdicts(&scan.table, scan.path, scan.strict, own);
                all.ok_or_else(broken)?
            } else {
                0
            };
            if !plain || all >= POISON >> 1 {
                // The sums themselves are needed: some row has a leg past the table, or is counted with others.
                let mut sums = std::mem::take(&mut scratch.pools);
                sums.resize(block.pools());
                slow = scan.lane_sums::<false>(block, sums.columns(), &mut scratch)?;
                slow.extend(poisoned(&sums.maintenance));
                if !plain {
                    let found = sums.equity.iter().zip(&sums.maintenance);
                    for (fires, (e, m)) in own.iter_mut().zip(found) {
                        *fires = is_liquidatable(i128::from(*e), i128::from(*m), scan.strict);
                    }
                }
                scratch.pools = sums;
            } else {
                slow.extend(block.slow_pools());
            }
            for group in block.wide() {
                group.sums(&scan.wide, |pool, sums| match (own.get_mut(pool), sums) {
                    (Some(fires), Some([e, _, m])) => *fires = is_liquidatable(e, m, scan.strict),
                    _ => slow.push(pool),
                });
            }
            for pool in slow {
                let found = assess_here(self, PoolId(first + pool), prices)?;
                *own.get_mut(pool).ok_or_else(broken)? = found.liquidatable;
            }
        }
        Ok(())
    }
}

impl Scan {
    /// Equity and requirements of a block's pools; those that it names are not in the lanes, and mean nothing.
    fn lane_sums<const INITIAL: bool>(
        &self,
        block: &Block,
        [equity, initial, maintenance]: [&mut [i64]; 3],
        scratch: &mut Scratch,
    ) -> Result<Vec<usize>> {
        let out = [&mut *equity, &mut *initial, &mut *maintenance];
        if !block.sums::<INITIAL>(&self.table, self.path, out) {
            return Err(broken());
        }
        let mut slow: Vec<usize> = block.slow_pools().collect();
        if block.is_plain() {
            return Ok(slow);
        }
        let outputs = initial.iter_mut().zip(&mut *maintenance);
        for ((n, m), fixed) in outputs.zip(block.own().fixed()) {
            (*n, *m) = (n.wrapping_add(fixed[0]), m.wrapping_add(fixed[1]));
        }
        for (asset, rows) in block.others() {
            let Some(counts) = self.values.get(asset.index()).and_then(Option::as_ref) else {
                slow.extend(rows.bare().map(|(pool, _)| pool).chain(rows.with_legs()));
                continue;
            };
            for (pool, cash) in rows.bare() {
                match counts.value(cash) {
                    // At most 256 assets: a pool's own sums are below 2^61, the values of others 2^54 each.
                    Some(value) => add(equity, pool, value)?,
                    None => slow.push(pool),
                }
            }
            let sums = &mut scratch.others;
            sums.resize(block.pools());
            if !rows.sums::<INITIAL>(&self.table, self.path, sums.columns()) {
                return Err(broken());
            }
            for pool in rows.with_legs() {
                let [value, n, m] = sums.at(pool).ok_or_else(broken)?;
                let [fixed_n, fixed_m] = rows.fixed().get(pool).copied().unwrap_or_default();
                let counted = || {
                    let m = counts.requirement(m.checked_add(fixed_m).filter(|_| m < POISONED)?)?;
                    let n = if INITIAL { counts.requirement(n.wrapping_add(fixed_n))? } else { 0 };
                    Some([counts.value(value)?, n, m])
                };
                let Some([value, n, m]) = counted() else {
                    slow.push(pool);
                    continue;
                };
                add(equity, pool, value)?;
                if INITIAL {
                    add(initial, pool, n)?;
                }
                add(maintenance, pool, m)?;
            }
        }
        Ok(slow)
    }
}

/// Adds to a place of a column. What a leg past the table has made of a sum stays at the end.
fn add(column: &mut [i64], place: usize, more: i64) -> Result<()> {
    let slot = column.get_mut(place).ok_or_else(broken)?;
    *slot = slot.saturating_add(more);
    Ok(())
}

/// A maintenance sum from which on a leg of the row was too large.
const POISONED: i64 = POISON.cast_signed() >> 1;

/// The places of such sums.
fn poisoned(maintenance: &[i64]) -> impl Iterator<Item = usize> + '_ {
    maintenance.iter().enumerate().filter(|(_, sum)| **sum >= POISONED).map(|(place, _)| place)
}

/// Memory for the sums of a block, used again for the next one.
#[derive(Default)]
struct Scratch {
    /// Of rows that are counted in another asset, by pool.
    others: Sums,
    /// Of pools, where only their verdict is asked for.
    pools: Sums,
}

#[derive(Default)]
struct Sums {
    equity: Vec<i64>,
    initial: Vec<i64>,
    maintenance: Vec<i64>,
}

impl Sums {
    fn columns(&mut self) -> [&mut [i64]; 3] {
        [&mut self.equity, &mut self.initial, &mut self.maintenance]
    }

    fn resize(&mut self, rows: usize) {
        for column in [&mut self.equity, &mut self.initial, &mut self.maintenance] {
            column.resize(rows, 0);
        }
    }

    fn at(&self, row: usize) -> Option<[i64; 3]> {
        Some([*self.equity.get(row)?, *self.initial.get(row)?, *self.maintenance.get(row)?])
    }
}

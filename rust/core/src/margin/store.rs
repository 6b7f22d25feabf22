//! How pools are held: blocks of neighbours, each with its columns.
//!
//! A *row* is what a pool holds in one asset: a balance, and the legs that settle in it. A pool of one asset has one row,
//! so most portfolios have as many rows as pools.

use std::collections::BTreeMap;
use std::ops::Range;

use aivora_simd::{Leg as LaneLeg, OrderLeg, Path, Table};

use crate::data::{AssetId, Instrument, InstrumentId, Venue};
use crate::numbers::limits::QUANTA_MAX;
use crate::numbers::{Error, ErrorKind, Rate, Result};

use super::lanes::{CASH_MAX, LEGS_MAX, Lanes, Shape};
use super::leg::{Leg, LegSide};
use super::requirement::{RateOf, leg_margin, terms};
use super::rows::{LaneRows, Place};
use super::wide::{Wide, WideGroup, WideLeg};

/// Pools in one block: what a scan works on at a time, and what a change of shape rebuilds.
pub(super) const POOLS_PER_BLOCK: usize = 2_048;

/// What a row has besides its legs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) asset: AssetId,
    pub(super) balance: i128,
    /// Interest owed on it.
    pub(super) interest: i128,
}

/// What a leg has that the packed columns do not hold.
#[derive(Debug, Clone, Copy)]
struct Extra {
    cost: i128,
    accrued: i128,
    bids: i64,
    asks: i64,
}

/// A row of a draft.
#[derive(Debug, Clone, Copy)]
pub(super) struct DraftRow {
    holding: Holding,
    /// How many legs it has.
    legs: u32,
    /// Its pool is checked in another asset.
    valued: bool,
}

/// A pool before it is packed.
#[derive(Debug, Default)]
pub(super) struct Draft {
    rows: Vec<DraftRow>,
    pub(super) legs: Vec<Leg>,
    /// Its balances.
    pub(super) given: Vec<Holding>,
    /// It is checked in the valuation asset.
    multi: bool,
}

impl Draft {
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.legs.clear();
        self.given.clear();
        self.multi = false;
    }

    /// Splits the legs, sorted by instrument, and the balances given into rows, and says what the pool is checked in.
    pub(super) fn close(
        &mut self,
        venue: &Venue,
        multi: bool,
        label: impl Fn() -> String,
    ) -> Result<AssetId> {
        let rules = venue.rules();
        let settles = |leg: &Leg| venue.instrument(leg.instrument).map(Instrument::settlement);
        self.multi = multi;
        let Self { rows, legs, given, .. } = self;
        given.sort_unstable_by_key(|holding| holding.asset);
        if !multi {
            let named = given.first().map(|h| h.asset);
            let asset = named.or(legs.first().map(settles).transpose()?);
            let asset = asset.unwrap_or(rules.settlement_id);
            let other = given.iter().map(|h| Ok(h.asset)).chain(legs.iter().map(settles));
            for found in other {
                let found = found?;
                if found != asset {
                    let value = format!("{}: {}", label(), venue.asset(found)?.name());
                    let limit = format!(
                        "a pool of one asset, here {}, holds no other; a pool of several has mode multi",
                        venue.asset(asset)?.name()
                    );
                    return Err(Error::new(ErrorKind::BadCollateral, "asset", value, limit));
                }
            }
            let holding = given.pop().unwrap_or(Holding { asset, balance: 0, interest: 0 });
            given.clear();
            check_row(venue, &holding, legs, &label)?;
            rows.push(DraftRow { holding, legs: place(legs.len())?, valued: false });
            return Ok(asset);
        }
        let valuation = rules.valuation.ok_or_else(|| Error::invariant("valuation"))?;
        legs.sort_by_key(|leg| settles(leg).ok());
        given.retain(|h| h.balance != 0 || h.interest != 0);
        let mut assets: Vec<AssetId> = legs.iter().map(settles).collect::<Result<_>>()?;
        assets.extend(given.iter().map(|h| h.asset));
        assets.sort_unstable();
        assets.dedup();
        let mut rest: &[Leg] = legs;
        for asset in &assets {
            let count = rest.iter().take_while(|l| settles(l).ok() == Some(*asset)).count();
            let (own, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            rest = after;
            let holding = given.iter().find(|h| h.asset == *asset).copied();
            let holding = holding.unwrap_or(Holding { asset: *asset, balance: 0, interest: 0 });
            check_row(venue, &holding, own, &label)?;
            rows.push(DraftRow { holding, legs: place(count)?, valued: *asset != valuation });
        }
        given.clear();
        Ok(valuation)
    }
}

/// Refuses a row past the bounds of floor 0, and a size at which a growing rate would pass 1.
fn check_row(
    venue: &Venue,
    holding: &Holding,
    legs: &[Leg],
    label: &impl Fn() -> String,
) -> Result<()> {
    let owed = legs.iter().try_fold(holding.interest, |sum, leg| sum.checked_add(leg.accrued));
    let cash = owed.and_then(|owed| holding.balance.checked_sub(owed));
    if cash.is_none_or(|c| c.unsigned_abs() > QUANTA_MAX.unsigned_abs()) {
        return Err(Error::overflow("collateral − accrued", label()));
    }
    for leg in legs {
        let instrument = venue.instrument(leg.instrument)?;
        if instrument.tiers().grow_with_size() {
            terms(instrument, RateOf::Initial, 0, leg.exposure())?;
        }
    }
    Ok(())
}

/// What packing and unpacking look up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) venue: &'a Venue,
    pub(super) rates: &'a [Rate],
    pub(super) lanes: &'a Lanes,
}

/// Some neighbouring pools.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    pools: usize,
    /// Some of its pools are of several assets.
    multi: bool,
    /// Where each pool's rows start, and one more; empty where each pool has one row.
    rows: Vec<u32>,
    assets: Vec<AssetId>,
    /// Whether a row's pool is checked in another asset, up to the last of which that is so.
    valued: Vec<bool>,
    /// Rows with interest, or whose balance is not told by what is held elsewhere.
    more: BTreeMap<u32, Holding>,
    /// Where each row's legs start, and one more.
    legs: Vec<u32>,
    /// Rows in the lanes whose pool is checked in their own asset.
    own: LaneRows,
    /// Rows in the lanes of other assets, by asset.
    others: Vec<(AssetId, LaneRows)>,
    /// Pools without a row among their own, ascending: nothing writes their sums.
    empty: Vec<u16>,
    /// Rows past the lanes, by how many legs they have, each the one row of its pool.
    wide: Vec<WideGroup>,
    /// Rows that only the general path knows, ascending, and their pools.
    slow: Vec<SlowRow>,
    slow_legs: Vec<WideLeg>,
    costs: Vec<i64>,
    /// Of each leg, up to the last that is not net.
    sides: Vec<LegSide>,
    extras: BTreeMap<u32, Extra>,
}

/// A row that only the general path knows.
#[derive(Debug, Clone, Copy)]
struct SlowRow {
    row: u32,
    pool: u16,
    /// Where its legs start.
    start: u32,
    balance: i64,
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

fn place(index: usize) -> Result<u32> {
    u32::try_from(index).map_err(|_| Error::invariant("block place"))
}

/// Packs pools into a block, one after the other.
#[derive(Debug)]
pub(super) struct Packer<'a> {
    context: Context<'a>,
    scratch: Scratch,
    block: Block,
}

impl<'a> Packer<'a> {
    pub(super) fn new(context: Context<'a>) -> Self {
        Self { context, scratch: Scratch::default(), block: Block::default() }
    }

    /// How many pools it has.
    pub(super) fn len(&self) -> usize {
        self.block.pools
    }

    /// Adds a pool.
    pub(super) fn push(&mut self, draft: &Draft) -> Result<()> {
        let Self { context, scratch, block } = self;
        let pool = u16::try_from(block.pools).map_err(|_| Error::invariant("pool place"))?;
        // Alone, a row is its pool.
        let alone = matches!(draft.rows.as_slice(), [row] if !row.valued);
        if draft.rows.len() != 1 && block.rows.is_empty() {
            block.rows.extend((0..=pool).map(u32::from));
        }
        if block.legs.is_empty() {
            block.legs.push(0);
        }
        let mut legs = draft.legs.as_slice();
        let mut written = false;
        for row in &draft.rows {
            let (own, after) = legs.split_at_checked(index(row.legs)).unwrap_or((legs, &[]));
            legs = after;
            written |= block.pack_row(pool, row, own, alone, context, scratch)?;
        }
        if !written {
            block.empty.push(pool);
        }
        block.pools += 1;
        block.multi |= draft.multi;
        if !block.rows.is_empty() {
            block.rows.push(place(block.assets.len())?);
        }
        Ok(())
    }

    /// The block; the next pool is the first of another.
    pub(super) fn finish(&mut self) -> Block {
        let mut block = std::mem::take(&mut self.block);
        block.shrink();
        block
    }
}

impl Block {
    /// Puts a row where the scan finds it, and says whether the lanes write its pool's sums.
    fn pack_row(
        &mut self,
        pool: u16,
        row: &DraftRow,
        legs: &[Leg],
        alone: bool,
        context: &Context<'_>,
        scratch: &mut Scratch,
    ) -> Result<bool> {
        let DraftRow { holding, valued, .. } = row;
        let number = place(self.assets.len())?;
        self.assets.push(holding.asset);
        if *valued {
            self.valued.resize(index(number), false);
            self.valued.push(true);
        }
        if holding.interest != 0 {
            self.more.insert(number, *holding);
        }
        for leg in legs {
            let narrow = i64::try_from(leg.cost);
            if narrow.is_err() || leg.accrued != 0 || leg.has_orders() {
                let Leg { cost, accrued, bids, asks, .. } = *leg;
                self.extras.insert(place(self.costs.len())?, Extra { cost, accrued, bids, asks });
            }
            if leg.side != LegSide::Net {
                self.sides.resize(self.costs.len(), LegSide::Net);
                self.sides.push(leg.side);
            }
            self.costs.push(narrow.unwrap_or(0));
        }
        self.legs.push(place(self.costs.len())?);
        let shape = Shape::of(context.venue.rules());
        if let Some((cash, fixed)) = lane_row(holding, legs, shape, context)?
            && scratch.lane_legs(legs, context)?
        {
            let rows = self.lane_rows_mut(*valued, holding.asset);
            if rows.push(pool, cash, &scratch.found, legs.iter().any(Leg::has_orders)) {
                if shape.has_fixed() {
                    rows.set_fixed(pool, fixed);
                }
                return Ok(!valued);
            }
        }
        let mut packed = Vec::with_capacity(legs.len());
        for leg in legs {
            packed.push(wide_leg(leg, context.rates)?);
        }
        if alone && let Some(cash) = wide_row(holding, legs, shape, context)? {
            let at = self.wide.partition_point(|group| group.width() < legs.len());
            if self.wide.get(at).is_none_or(|group| group.width() != legs.len()) {
                self.wide.insert(at, WideGroup::new(legs.len()));
            }
            let group = self.wide.get_mut(at).ok_or_else(|| Error::invariant("wide group"))?;
            group.push(u32::from(pool), cash, packed.into_iter());
            return Ok(false);
        }
        let narrow = i64::try_from(holding.balance);
        if narrow.is_err() {
            self.more.insert(number, *holding);
        }
        let (start, balance) = (place(self.slow_legs.len())?, narrow.unwrap_or(0));
        self.slow.push(SlowRow { row: number, pool, start, balance });
        self.slow_legs.append(&mut packed);
        Ok(false)
    }

    /// Where rows in the lanes are: those of their pool's own asset, or those of another.
    fn lane_rows_mut(&mut self, valued: bool, asset: AssetId) -> &mut LaneRows {
        if !valued {
            return &mut self.own;
        }
        let at = self.others.partition_point(|(a, _)| *a < asset);
        if self.others.get(at).is_none_or(|(a, _)| *a != asset) {
            self.others.insert(at, (asset, LaneRows::default()));
        }
        #[allow(clippy::indexing_slicing)] // it was there, or is now
        &mut self.others[at].1
    }

    fn lane_rows(&self, row: usize) -> Option<&LaneRows> {
        if !self.is_valued(row) {
            return Some(&self.own);
        }
        let asset = self.assets.get(row)?;
        let at = self.others.binary_search_by_key(asset, |(a, _)| *a).ok()?;
        self.others.get(at).map(|(_, rows)| rows)
    }

    fn is_valued(&self, row: usize) -> bool {
        self.valued.get(row).copied().unwrap_or(false)
    }

    /// Where a row is in the lanes, if it is there.
    fn find(&self, row: usize) -> Option<(&LaneRows, Place)> {
        // A pool has at most one row here: another of the same asset can only be that of a pool checked in it.
        let rows = self.lane_rows(row)?;
        let place = rows.find(self.pool_of(row), self.legs_of(row).len())?;
        Some((rows, place))
    }

    fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        self.assets.shrink_to_fit();
        self.valued.shrink_to_fit();
        self.legs.shrink_to_fit();
        self.costs.shrink_to_fit();
        self.sides.shrink_to_fit();
        self.own.shrink();
        self.others.iter_mut().for_each(|(_, rows)| rows.shrink());
        self.others.shrink_to_fit();
        self.empty.shrink_to_fit();
        self.wide.iter_mut().for_each(WideGroup::shrink);
        self.wide.shrink_to_fit();
        self.slow.shrink_to_fit();
        self.slow_legs.shrink_to_fit();
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        fn of<T>(column: &Vec<T>) -> usize {
            column.capacity() * size_of::<T>()
        }
        // A map of few entries has nodes of eleven, half of them full.
        let maps = self.more.len() * 2 * size_of::<(u32, Holding)>()
            + self.extras.len() * 2 * size_of::<(u32, Extra)>();
        let lanes = self.own.bytes()
            + self.others.iter().map(|(_, rows)| rows.bytes()).sum::<usize>()
            + of(&self.others);
        let wide = self.wide.iter().map(WideGroup::bytes).sum::<usize>() + of(&self.wide);
        let columns = of(&self.rows) + of(&self.assets) + of(&self.valued) + of(&self.legs);
        let slow = of(&self.slow) + of(&self.slow_legs) + of(&self.empty);
        maps + lanes + wide + columns + slow + of(&self.costs) + of(&self.sides)
    }

    /// Cash and the sums of each pool's own row in the lanes; zero for the others. False where a column is too short.
    pub(super) fn sums<const INITIAL: bool>(
        &self,
        table: &Table,
        path: Path,
        [equity, initial, maintenance]: [&mut [i64]; 3],
    ) -> bool {
        let empty = self.empty.iter().map(|pool| (usize::from(*pool), 0));
        for (pool, cash) in self.own.bare().chain(empty) {
            let slots = equity.get_mut(pool).zip(initial.get_mut(pool));
            let Some(((e, n), m)) = slots.zip(maintenance.get_mut(pool)) else { return false };
            (*e, *n, *m) = (cash, 0, 0);
        }
        self.own.sums::<INITIAL>(table, path, [equity, initial, maintenance])
    }

    /// Each pool's own rows in the lanes.
    pub(super) fn own(&self) -> &LaneRows {
        &self.own
    }

    /// The rows in the lanes of assets that their pools are not checked in.
    pub(super) fn others(&self) -> &[(AssetId, LaneRows)] {
        &self.others
    }

    /// The pools that only the general path knows, ascending.
    pub(super) fn slow_pools(&self) -> impl Iterator<Item = usize> + '_ {
        self.slow.iter().map(|slow| usize::from(slow.pool))
    }

    /// Whether each pool in the lanes is its own row, with nothing added to its requirements.
    pub(super) fn is_plain(&self) -> bool {
        self.others.is_empty() && self.own.fixed().is_empty()
    }

    /// Rows past the lanes, by how many legs they have; each is a pool.
    pub(super) fn wide(&self) -> &[WideGroup] {
        &self.wide
    }

    /// The same with one pool changed: `change` makes its draft of its holdings and legs.
    pub(super) fn changed(
        &self,
        [from, to]: [&Context<'_>; 2],
        is_changed: impl Fn(usize) -> bool,
        mut change: impl FnMut(usize, &mut Draft, Vec<Holding>, Vec<Leg>) -> Result<()>,
    ) -> Result<Self> {
        let mut packer = Packer::new(*to);
        let mut draft = Draft::default();
        for number in 0..self.pools {
            draft.clear();
            for row in self.rows_of(number) {
                let own = self.row_legs(row, from)?;
                let (holding, valued) = (self.holding(row)?, self.is_valued(row));
                draft.rows.push(DraftRow { holding, legs: place(own.len())?, valued });
                draft.legs.extend(own);
            }
            if is_changed(number) {
                let Draft { rows, legs, .. } = std::mem::take(&mut draft);
                let holdings = rows.into_iter().map(|row| row.holding).collect();
                change(number, &mut draft, holdings, legs)?;
            }
            packer.push(&draft)?;
        }
        let block = packer.finish();
        Ok(Self { multi: block.multi || self.multi, ..block })
    }

    /// Adds to the cash of a row in the lanes; false, and nothing changed, where it is not there or does not fit.
    fn add_cash(&mut self, row: usize, more: i128) -> bool {
        let Some((rows, at)) = self.find(row) else { return false };
        let moved = rows.cash(at).and_then(|cash| {
            let moved = i64::try_from(i128::from(cash).checked_add(more)?).ok()?;
            Some(moved).filter(|cash| cash.unsigned_abs() <= CASH_MAX)
        });
        let (valued, asset) = (self.is_valued(row), self.assets.get(row).copied());
        let (Some(moved), Some(asset)) = (moved, asset) else { return false };
        let slot = self.lane_rows_mut(valued, asset).cash_mut(at);
        slot.map(|cash| *cash = moved).is_some()
    }

    /// Sets the balance and the interest of a row in the lanes; false, and nothing changed, where its shape would change.
    pub(super) fn set_holding(&mut self, row: usize, new: &Holding) -> Result<bool> {
        let old = self.holding(row)?;
        let known = old.asset == new.asset && old.interest == 0 && new.interest == 0;
        let gone = old.balance == 0 || new.balance == 0;
        if !known || (gone && self.multi) {
            return Ok(false);
        }
        // A balance beside the columns has a row that the lanes do not hold.
        Ok(new.balance.checked_sub(old.balance).is_some_and(|more| self.add_cash(row, more)))
    }

    /// Sets the lots and the cost of a leg in the lanes; false, and nothing changed, where its shape would change.
    pub(super) fn set_leg(&mut self, row: usize, new: &Leg, context: &Context<'_>) -> Result<bool> {
        let slots = self.legs_of(row);
        let legs = self.row_legs(row, context)?;
        let found = legs.iter().position(|l| (l.instrument, l.side) == (new.instrument, new.side));
        let Some(at) = found else { return Ok(false) };
        let old = legs.get(at).ok_or_else(|| Error::invariant("leg place"))?;
        let plain = |leg: &Leg| leg.accrued == 0 && !leg.has_orders() && leg.lots != 0;
        let Ok(cost) = i64::try_from(new.cost) else { return Ok(false) };
        let slot = slots.start + at;
        let beside = u32::try_from(slot).is_ok_and(|slot| self.extras.contains_key(&slot));
        let same = plain(old) && plain(new) && old.chosen == new.chosen && !beside;
        let Some((rows, place)) = self.find(row) else { return Ok(false) };
        if !same || !rows.fixed().is_empty() {
            return Ok(false);
        }
        let (valued, asset) = (self.is_valued(row), self.assets.get(row).copied());
        let asset = asset.ok_or_else(|| Error::invariant("row place"))?;
        if !self.add_cash(row, old.cost - new.cost) {
            return Ok(false);
        }
        if !self.lane_rows_mut(valued, asset).set_lots(place, at, new.lots) {
            self.add_cash(row, new.cost - old.cost);
            return Ok(false);
        }
        *self.costs.get_mut(slot).ok_or_else(|| Error::invariant("row place"))? = cost;
        Ok(true)
    }

    /// The rows of its pool number `pool`.
    pub(super) fn rows_of(&self, pool: usize) -> Range<usize> {
        match (self.rows.get(pool), self.rows.get(pool + 1)) {
            (Some(start), Some(end)) => index(*start)..index(*end),
            _ => pool..pool + 1,
        }
    }

    /// The slots of a row's legs.
    pub(super) fn legs_of(&self, row: usize) -> Range<usize> {
        let at = |i: usize| self.legs.get(i).copied().map_or(0, index);
        at(row)..at(row + 1)
    }

    fn pool_of(&self, row: usize) -> usize {
        if self.rows.is_empty() {
            return row;
        }
        self.rows.partition_point(|start| index(*start) <= row).saturating_sub(1)
    }

    /// How many of its rows are in the lanes, prices aside.
    pub(super) fn lane_count(&self) -> usize {
        self.own.len() + self.others.iter().map(|(_, rows)| rows.len()).sum::<usize>()
    }

    pub(super) fn pools(&self) -> usize {
        self.pools
    }

    pub(super) fn leg_count(&self) -> usize {
        self.costs.len()
    }

    /// The instrument and the lots of each of its legs, in no order.
    pub(super) fn positions<'a>(
        &'a self,
        lanes: &'a Lanes,
    ) -> impl Iterator<Item = (u16, i64)> + 'a {
        let others = self.others.iter().map(|(_, rows)| rows);
        let held = std::iter::once(&self.own).chain(others).flat_map(LaneRows::all_legs);
        let lane = |leg: &LaneLeg| (lanes.instrument(leg.instrument), i64::from(leg.lots));
        let wide = self.wide.iter().flat_map(WideGroup::all_legs).chain(&self.slow_legs);
        held.map(lane).chain(wide.map(|leg| (leg.instrument, leg.lots)))
    }

    /// The first of its pools that holds an instrument.
    pub(super) fn first_holder(&self, id: InstrumentId, context: &Context<'_>) -> Option<usize> {
        let holds = |row: usize| {
            let legs = self.row_legs(row, context);
            legs.is_ok_and(|legs| legs.iter().any(|leg| leg.instrument == id))
        };
        (0..self.pools).find(|pool| self.rows_of(*pool).any(holds))
    }

    pub(super) fn holding(&self, row: usize) -> Result<Holding> {
        let lost = || Error::invariant("row place");
        let number = place(row)?;
        if let Some(holding) = self.more.get(&number) {
            return Ok(*holding);
        }
        let asset = *self.assets.get(row).ok_or_else(lost)?;
        let known = |balance| Holding { asset, balance, interest: 0 };
        if let Ok(at) = self.slow.binary_search_by_key(&number, |slow| slow.row) {
            let slow = self.slow.get(at).ok_or_else(lost)?;
            return Ok(known(i128::from(slow.balance)));
        }
        // Cash is the balance less what the legs cost and owe.
        let cash = match self.find(row) {
            Some((rows, at)) => rows.cash(at).map(i128::from),
            None => self.wide_place(row).map(|(_, cash, _)| cash),
        };
        self.legs_of(row)
            .try_fold(cash.ok_or_else(lost)?, |sum, slot| {
                let extra = u32::try_from(slot).ok().and_then(|slot| self.extras.get(&slot));
                let spent = match extra {
                    Some(extra) => extra.cost.checked_add(extra.accrued),
                    None => self.costs.get(slot).copied().map(i128::from),
                };
                spent.and_then(|spent| sum.checked_add(spent)).ok_or_else(lost)
            })
            .map(known)
    }

    /// The group of a row past the lanes, its cash and its legs.
    fn wide_place(&self, row: usize) -> Option<(&WideGroup, i128, &[WideLeg])> {
        let at = self.wide.binary_search_by_key(&self.legs_of(row).len(), WideGroup::width).ok()?;
        let group = self.wide.get(at)?;
        let pool = u32::try_from(self.pool_of(row)).ok()?;
        let at = group.rows.binary_search(&pool).ok()?;
        Some((group, *group.cash.get(at)?, group.legs(at)?))
    }

    /// The legs of a row.
    pub(super) fn row_legs(&self, row: usize, context: &Context<'_>) -> Result<Vec<Leg>> {
        let slots = self.legs_of(row);
        let hot = self.hot(row, slots.len(), context.lanes)?;
        slots.zip(hot).map(|(slot, hot)| self.leg(slot, hot, context.rates)).collect()
    }

    /// What the scan holds of a row's legs.
    fn hot(&self, row: usize, width: usize, lanes: &Lanes) -> Result<Vec<WideLeg>> {
        let lost = || Error::invariant("row place");
        if width == 0 {
            return Ok(Vec::new());
        }
        if let Some((rows, at)) = self.find(row) {
            let of = |leg: LaneLeg| WideLeg {
                lots: i64::from(leg.lots),
                instrument: lanes.instrument(leg.instrument),
                chosen: leg.chosen,
            };
            return Ok(rows.legs(at).ok_or_else(lost)?.into_iter().map(of).collect());
        }
        if let Some((_, _, legs)) = self.wide_place(row) {
            return Ok(legs.to_vec());
        }
        let row = place(row)?;
        let at = self.slow.binary_search_by_key(&row, |slow| slow.row).map_err(|_| lost())?;
        let start = self.slow.get(at).map_or(0, |slow| index(slow.start));
        Ok(self.slow_legs.get(start..start + width).ok_or_else(lost)?.to_vec())
    }

    fn leg(&self, slot: usize, hot: WideLeg, rates: &[Rate]) -> Result<Leg> {
        let cost = self.costs.get(slot).ok_or_else(|| Error::invariant("leg place"))?;
        let side = self.sides.get(slot).copied().unwrap_or(LegSide::Net);
        let rank = usize::from(hot.chosen);
        let mut leg = Leg {
            instrument: InstrumentId(u32::from(hot.instrument)),
            side,
            lots: hot.lots,
            cost: i128::from(*cost),
            accrued: 0,
            bids: 0,
            asks: 0,
            chosen: if rank == 0 { None } else { rates.get(rank).copied() },
        };
        if let Some(extra) = u32::try_from(slot).ok().and_then(|s| self.extras.get(&s)) {
            (leg.cost, leg.accrued) = (extra.cost, extra.accrued);
            (leg.bids, leg.asks) = (extra.bids, extra.asks);
        }
        Ok(leg)
    }
}

/// What packing a row needs for a while.
#[derive(Debug, Default)]
struct Scratch {
    found: Vec<OrderLeg>,
    /// Chosen rates, and the place of each, by denominator: most pools choose one of few.
    ranks: Vec<Option<(Rate, u16)>>,
}

impl Scratch {
    /// Puts a row's legs as the lanes hold them into `found`; false where a size is too large for them.
    fn lane_legs(&mut self, legs: &[Leg], context: &Context<'_>) -> Result<bool> {
        self.found.clear();
        for leg in legs {
            let lots = i32::try_from(leg.lots).ok().filter(|lots| *lots != i32::MIN);
            let exposure = i32::try_from(leg.exposure()).ok();
            let (Some(lots), Some(exposure), Some(instrument)) =
                (lots, exposure, context.lanes.place(leg))
            else {
                return Ok(false);
            };
            let chosen = self.rank(context.rates, leg.chosen)?;
            self.found.push(OrderLeg { leg: LaneLeg { lots, instrument, chosen }, exposure });
        }
        Ok(true)
    }

    fn rank(&mut self, rates: &[Rate], chosen: Option<Rate>) -> Result<u16> {
        const SLOTS: usize = 61;
        let Some(rate) = chosen else { return Ok(0) };
        let at = usize::try_from(rate.den()).unwrap_or(0) % SLOTS;
        if let Some(Some((known, place))) = self.ranks.get(at)
            && *known == rate
        {
            return Ok(*place);
        }
        let found = rank(rates, chosen)?;
        self.ranks.resize(SLOTS, None);
        if let Some(known) = self.ranks.get_mut(at) {
            *known = Some((rate, found));
        }
        Ok(found)
    }
}

pub(super) fn rank(rates: &[Rate], rate: Option<Rate>) -> Result<u16> {
    let place = rate.map_or(Ok(0), |r| rates.binary_search(&r));
    place.ok().and_then(|p| u16::try_from(p).ok()).ok_or_else(|| Error::invariant("rate"))
}

fn wide_leg(leg: &Leg, rates: &[Rate]) -> Result<WideLeg> {
    let instrument = u16::try_from(leg.instrument.0);
    let instrument = instrument.map_err(|_| Error::invariant("instrument place"))?;
    Ok(WideLeg { lots: leg.lots, instrument, chosen: rank(rates, leg.chosen)? })
}

/// What a row adds to its values on the wide path; none where that does not hold it.
fn wide_row(
    holding: &Holding,
    legs: &[Leg],
    shape: Shape,
    context: &Context<'_>,
) -> Result<Option<i128>> {
    if legs.is_empty() || legs.len() > LEGS_MAX {
        return Ok(None);
    }
    let mut cash = holding.balance.checked_sub(holding.interest);
    for leg in legs {
        if !Wide::knows(shape, context.venue.instrument(leg.instrument)?, leg) {
            return Ok(None);
        }
        cash = cash.and_then(|c| c.checked_sub(leg.cost)?.checked_sub(leg.accrued));
    }
    // Room for the values of 31 legs below the bound of floor 0, so that a sum past it is seen.
    Ok(cash.filter(|c| c.unsigned_abs() <= QUANTA_MAX.unsigned_abs() / 2))
}

/// What a row adds to its sums in the lanes: cash, and the fixed parts of its requirements; none where it does not fit them.
#[allow(clippy::type_complexity)] // taken apart at once
fn lane_row(
    holding: &Holding,
    legs: &[Leg],
    shape: Shape,
    context: &Context<'_>,
) -> Result<Option<(i64, [i64; 2])>> {
    if legs.len() > LEGS_MAX {
        return Ok(None);
    }
    let ordered = legs.iter().any(Leg::has_orders);
    let mut cash = holding.balance.checked_sub(holding.interest);
    let (mut initial, mut maintenance) = (0_i128, 0_i128);
    for leg in legs {
        let instrument = context.venue.instrument(leg.instrument)?;
        // Beside open orders a leg's size and its exposure are rounded apart, which the kernels do not.
        if !shape.knows(instrument, leg) || (ordered && !instrument.contract().is_whole()) {
            return Ok(None);
        }
        cash = cash.and_then(|c| c.checked_sub(leg.cost)?.checked_sub(leg.accrued));
        if shape.has_fixed() {
            // What does not depend on the price is the same at any.
            let Ok(m) = leg_margin(context.venue.rules(), instrument, leg, 1) else {
                return Ok(None);
            };
            initial += if shape.fixed_initial { m.initial } else { m.fee };
            maintenance += if shape.fixed_maintenance { m.maintenance } else { m.fee };
        }
    }
    let narrow = |amount: i128| i64::try_from(amount).ok().filter(|a| a.unsigned_abs() <= CASH_MAX);
    let Some(cash) = cash.and_then(narrow) else { return Ok(None) };
    // Fixed parts are of what honest sums of requirements are: below 2^57, 31 legs of 2^52.
    let small = |amount: i128| narrow(amount).filter(|a| *a < 1 << 57);
    Ok(small(initial).zip(small(maintenance)).map(|(i, m)| (cash, [i, m])))
}

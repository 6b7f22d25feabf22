//! How pools are held: blocks of neighbours, each with its columns.
//!
//! A *row* is what a pool holds in one asset: a balance, and the legs that settle in it. A pool of one asset has one row,
//! so most portfolios have as many rows as pools.

use std::collections::BTreeMap;
use std::ops::Range;

use aivora_simd::{Columns, Group, Leg as LaneLeg, OrderLeg, Path, Table};

use crate::data::{AssetId, Instrument, InstrumentId, Tiers, Venue};
use crate::numbers::limits::QUANTA_MAX;
use crate::numbers::{Error, ErrorKind, Rate, Result};

use super::lanes::{CASH_MAX, LEGS_MAX, Lanes, Shape};
use super::leg::{Leg, LegSide};
use super::requirement::{leg_margin, terms};
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

/// The rows of some pools, laid flat.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// How many rows each pool has.
    pub(super) rows: Vec<u32>,
    /// Each row, and how many legs it has.
    pub(super) holdings: Vec<(Holding, u32)>,
    pub(super) legs: Vec<Leg>,
    /// The balances of the pool that is being added.
    pub(super) given: Vec<Holding>,
    /// Some pools are of several assets.
    pub(super) valued: bool,
}

impl Draft {
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.holdings.clear();
        self.legs.clear();
        self.given.clear();
        self.valued = false;
    }

    /// Ends a pool: its legs are those from `first` on, sorted by instrument; its balances are those given. Splits them
    /// into rows, and says what the pool is checked in.
    pub(super) fn close_pool(
        &mut self,
        venue: &Venue,
        multi: bool,
        first: usize,
        label: impl Fn() -> String,
    ) -> Result<AssetId> {
        let rules = venue.rules();
        let settles = |leg: &Leg| venue.instrument(leg.instrument).map(Instrument::settlement);
        let Self { rows, holdings, legs, given, valued } = self;
        let legs = legs.get_mut(first..).ok_or_else(|| Error::invariant("draft"))?;
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
            holdings.push((holding, place(legs.len())?));
            rows.push(1);
            return Ok(asset);
        }
        *valued = true;
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
            holdings.push((holding, place(count)?));
        }
        given.clear();
        rows.push(place(assets.len())?);
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
        if matches!(instrument.tiers(), Tiers::Slope { .. }) {
            terms(instrument, 0, leg.exposure())?;
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
    valued: bool,
    /// Where each pool's rows start, and one more; empty where each pool has one row.
    rows: Vec<u32>,
    assets: Vec<AssetId>,
    balances: Vec<i64>,
    /// Rows with a balance past 64 bits, or with interest.
    more: BTreeMap<u32, Holding>,
    /// Where each row's legs start, and one more.
    legs: Vec<u32>,
    /// Rows in the lanes, by how many legs they have; those with open orders apart.
    plain: Vec<Group<LaneLeg>>,
    ordered: Vec<Group<OrderLeg>>,
    /// Rows that are not, ascending, each with the place of its first leg.
    slow: Vec<(u32, u32)>,
    slow_legs: Vec<WideLeg>,
    /// Rows past the lanes, by how many legs they have.
    wide: Vec<WideGroup>,
    /// Of each row in the lanes: balance less all that is owed and all cost.
    cash: Vec<i64>,
    /// Rows in the lanes that have no legs.
    bare: Vec<u32>,
    /// Of each row in the lanes: the parts of its initial and its maintenance requirement that do not depend on
    /// prices; empty where no rule has such parts.
    fixed: Vec<[i64; 2]>,
    costs: Vec<i64>,
    /// Of each leg; empty where all are net.
    sides: Vec<LegSide>,
    extras: BTreeMap<u32, Extra>,
}

fn index(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

fn place(index: usize) -> Result<u32> {
    u32::try_from(index).map_err(|_| Error::invariant("block place"))
}

impl Block {
    /// The pools of a draft, packed.
    pub(super) fn pack(draft: &Draft, context: &Context<'_>) -> Result<Self> {
        let mut block = Self { pools: draft.rows.len(), valued: draft.valued, ..Self::default() };
        if draft.rows.iter().any(|rows| *rows != 1) {
            block.rows.push(0);
            for rows in &draft.rows {
                block.rows.push(block.rows.last().copied().unwrap_or(0) + rows);
            }
        }
        let (rows, legs) = (draft.holdings.len(), draft.legs.len());
        block.assets.reserve_exact(rows);
        block.balances.reserve_exact(rows);
        block.cash.reserve_exact(rows);
        block.legs.reserve_exact(rows + 1);
        block.costs.reserve_exact(legs);
        let hedged = draft.legs.iter().any(|leg| leg.side != LegSide::Net);
        block.sides.reserve_exact(if hedged { legs } else { 0 });
        block.legs.push(0);
        let mut scratch = Scratch::default();
        let mut rest = draft.legs.as_slice();
        for (row, (holding, count)) in draft.holdings.iter().enumerate() {
            let (legs, after) = rest.split_at_checked(index(*count)).unwrap_or((rest, &[]));
            rest = after;
            block.assets.push(holding.asset);
            let narrow = i64::try_from(holding.balance);
            block.balances.push(narrow.unwrap_or(0));
            if narrow.is_err() || holding.interest != 0 {
                block.more.insert(place(row)?, *holding);
            }
            for leg in legs {
                let narrow = i64::try_from(leg.cost);
                if narrow.is_err() || leg.accrued != 0 || leg.has_orders() {
                    let Leg { cost, accrued, bids, asks, .. } = *leg;
                    let extra = Extra { cost, accrued, bids, asks };
                    block.extras.insert(place(block.costs.len())?, extra);
                }
                block.costs.push(narrow.unwrap_or(0));
                if hedged {
                    block.sides.push(leg.side);
                }
            }
            block.legs.push(place(block.costs.len())?);
            block.pack_row(row, holding, legs, context, &mut scratch)?;
        }
        block.shrink();
        Ok(block)
    }

    /// Puts a row's legs where the scan finds them.
    fn pack_row(
        &mut self,
        row: usize,
        holding: &Holding,
        legs: &[Leg],
        context: &Context<'_>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let shape = Shape::of(context.venue.rules());
        let number = u16::try_from(row).ok();
        if let Some(number) = number
            && let Some((cash, fixed)) = lane_row(holding, legs, shape, context)?
            && self.push_lanes(number, legs, context, scratch)?
        {
            self.cash.push(cash);
            if legs.is_empty() {
                self.bare.push(place(row)?);
            }
            if shape.has_fixed() {
                self.fixed.push(fixed);
            }
            return Ok(());
        }
        self.cash.push(0);
        if shape.has_fixed() {
            self.fixed.push([0, 0]);
        }
        if let Some(cash) = wide_row(holding, legs, shape, context)? {
            let mut packed = Vec::with_capacity(legs.len());
            for leg in legs {
                packed.push(wide_leg(leg, context.rates)?);
            }
            let at = self.wide.partition_point(|group| group.width() < legs.len());
            if self.wide.get(at).is_none_or(|group| group.width() != legs.len()) {
                self.wide.insert(at, WideGroup::new(legs.len()));
            }
            let group = self.wide.get_mut(at).ok_or_else(|| Error::invariant("wide group"))?;
            group.push(place(row)?, cash, packed.into_iter());
            return Ok(());
        }
        self.slow.push((place(row)?, place(self.slow_legs.len())?));
        for leg in legs {
            self.slow_legs.push(wide_leg(leg, context.rates)?);
        }
        Ok(())
    }

    /// Adds a row to the lanes; false, and nothing added, where a size is too large for them.
    fn push_lanes(
        &mut self,
        row: u16,
        legs: &[Leg],
        context: &Context<'_>,
        scratch: &mut Scratch,
    ) -> Result<bool> {
        if legs.is_empty() {
            return Ok(true);
        }
        scratch.found.clear();
        for leg in legs {
            let lots = i32::try_from(leg.lots).ok().filter(|lots| *lots != i32::MIN);
            let exposure = i32::try_from(leg.exposure()).ok();
            let (Some(lots), Some(exposure), Some(instrument)) =
                (lots, exposure, context.lanes.place(leg))
            else {
                return Ok(false);
            };
            let chosen = scratch.rank(context.rates, leg.chosen)?;
            scratch.found.push(OrderLeg { leg: LaneLeg { lots, instrument, chosen }, exposure });
        }
        let found = &scratch.found;
        let width = found.len();
        Ok(if legs.iter().any(Leg::has_orders) {
            group_of(&mut self.ordered, width).push(row, found.iter().copied())
        } else {
            group_of(&mut self.plain, width).push(row, found.iter().map(|o| o.leg))
        })
    }

    fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        self.assets.shrink_to_fit();
        self.balances.shrink_to_fit();
        self.legs.shrink_to_fit();
        self.plain.iter_mut().for_each(Group::shrink);
        self.plain.shrink_to_fit();
        self.ordered.iter_mut().for_each(Group::shrink);
        self.ordered.shrink_to_fit();
        self.wide.iter_mut().for_each(WideGroup::shrink);
        self.wide.shrink_to_fit();
        self.slow.shrink_to_fit();
        self.slow_legs.shrink_to_fit();
        self.cash.shrink_to_fit();
        self.bare.shrink_to_fit();
        self.fixed.shrink_to_fit();
        self.costs.shrink_to_fit();
        self.sides.shrink_to_fit();
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        fn of<T>(column: &Vec<T>) -> usize {
            column.capacity() * size_of::<T>()
        }
        // A map of few entries has nodes of eleven, half of them full.
        let maps = self.more.len() * 2 * size_of::<(u32, Holding)>()
            + self.extras.len() * 2 * size_of::<(u32, Extra)>();
        let groups = self.plain.iter().map(Group::bytes).sum::<usize>()
            + self.ordered.iter().map(Group::bytes).sum::<usize>()
            + self.wide.iter().map(WideGroup::bytes).sum::<usize>()
            + of(&self.wide)
            + of(&self.plain)
            + of(&self.ordered);
        let columns = of(&self.rows) + of(&self.assets) + of(&self.balances) + of(&self.legs);
        let columns = columns + of(&self.slow) + of(&self.slow_legs) + of(&self.cash);
        columns
            + of(&self.bare)
            + of(&self.fixed)
            + of(&self.costs)
            + of(&self.sides)
            + groups
            + maps
    }

    /// Cash and the sums of all rows in the lanes, each at its row; those of the others are 0.
    pub(super) fn sums<const INITIAL: bool>(
        &self,
        table: &Table,
        path: Path,
        [equity, initial, maintenance]: [&mut [i64]; 3],
    ) -> bool {
        let wide: usize = self.wide.iter().map(|group| group.rows.len()).sum();
        // Rows without legs are what they have; rows that are not in the lanes have no cash there. Many of either are
        // written all at once, with those that the kernels write after.
        if (self.bare.len() + self.slow.len() + wide) * 8 > self.assets.len() {
            if equity.len() != self.cash.len() {
                return false;
            }
            equity.copy_from_slice(&self.cash);
            initial.fill(0);
            maintenance.fill(0);
        } else {
            let wide = self.wide.iter().flat_map(|group| &group.rows);
            let bare = self.bare.iter().chain(wide).copied();
            let bare = bare.chain(self.slow.iter().map(|(row, _)| *row));
            for row in bare.map(index) {
                let slots =
                    equity.get_mut(row).zip(initial.get_mut(row)).zip(maintenance.get_mut(row));
                let (Some(((e, n), m)), Some(cash)) = (slots, self.cash.get(row)) else {
                    return false;
                };
                (*e, *n, *m) = (*cash, 0, 0);
            }
        }
        let mut out = Columns { cash: &self.cash, equity, initial, maintenance };
        self.plain.iter().all(|group| group.sums::<INITIAL>(table, path, &mut out))
            && self.ordered.iter().all(|group| group.sums::<INITIAL>(table, path, &mut out))
    }

    /// Whether the check fires for each row in the lanes, and all maintenance sums or'ed together; of other rows it says
    /// nothing. None where `out` is too short.
    pub(super) fn verdicts(
        &self,
        table: &Table,
        path: Path,
        strict: bool,
        out: &mut [bool],
    ) -> Option<u64> {
        // A row without legs requires nothing.
        for row in &self.bare {
            *out.get_mut(index(*row))? = false;
        }
        let plain = self.plain.iter().map(|g| g.verdicts(table, path, strict, &self.cash, out));
        let all = plain.collect::<Option<Vec<u64>>>()?;
        let ordered = self.ordered.iter().map(|g| g.verdicts(table, path, strict, &self.cash, out));
        let orders = ordered.collect::<Option<Vec<u64>>>()?;
        Some(all.into_iter().chain(orders).fold(0, |all, own| all | own))
    }

    /// Of each row in the lanes, what is added to its initial and maintenance sums; empty where nothing is.
    pub(super) fn fixed(&self) -> &[[i64; 2]] {
        &self.fixed
    }

    /// The rows that are not in the lanes, ascending.
    pub(super) fn slow_rows(&self) -> impl Iterator<Item = usize> + '_ {
        self.slow.iter().map(|(row, _)| index(*row))
    }

    /// Whether each pool is its one row, counted as it is and with nothing added to its requirements.
    pub(super) fn is_plain(&self) -> bool {
        self.rows.is_empty() && !self.valued && self.fixed.is_empty()
    }

    /// Whether a row is not in the lanes.
    pub(super) fn is_slow(&self, row: usize) -> bool {
        let found = |row| {
            self.slow.binary_search_by_key(&row, |(r, _)| *r).is_ok()
                || self.wide.iter().any(|group| group.rows.binary_search(&row).is_ok())
        };
        self.has_slow() && u32::try_from(row).is_ok_and(found)
    }

    /// Rows past the lanes, by how many legs they have.
    pub(super) fn wide(&self) -> &[WideGroup] {
        &self.wide
    }

    /// Whether some rows are not in the lanes.
    pub(super) fn has_slow(&self) -> bool {
        !(self.slow.is_empty() && self.wide.is_empty())
    }

    /// The assets of some rows.
    pub(super) fn assets(&self, rows: Range<usize>) -> Option<&[AssetId]> {
        self.assets.get(rows)
    }

    /// What it was packed from, with one pool changed: `change` has its holdings and legs, and closes it anew.
    pub(super) fn unpack(
        &self,
        context: &Context<'_>,
        pool: usize,
        change: impl FnOnce(&mut Draft, Vec<Holding>, Vec<Leg>) -> Result<()>,
    ) -> Result<Draft> {
        let mut draft = Draft { valued: self.valued, ..Draft::default() };
        let mut change = Some(change);
        for number in 0..self.pools {
            let (mut holdings, mut legs) = (Vec::new(), Vec::new());
            for row in self.rows_of(number) {
                let own = self.row_legs(row, context)?;
                holdings.push((self.holding(row)?, place(own.len())?));
                legs.extend(own);
            }
            if number == pool
                && let Some(change) = change.take()
            {
                change(&mut draft, holdings.into_iter().map(|(h, _)| h).collect(), legs)?;
            } else {
                draft.rows.push(place(holdings.len())?);
                draft.holdings.extend(holdings);
                draft.legs.extend(legs);
            }
        }
        Ok(draft)
    }

    /// Sets the balance and the interest of a row in the lanes; false, and nothing changed, where its shape would change.
    pub(super) fn set_holding(&mut self, row: usize, new: &Holding) -> Result<bool> {
        let old = self.holding(row)?;
        let (Ok(narrow), Ok(number)) = (i64::try_from(new.balance), u32::try_from(row)) else {
            return Ok(false);
        };
        let known = old.asset == new.asset && new.interest == 0 && !self.more.contains_key(&number);
        let gone = old.balance == 0 || new.balance == 0;
        if !known || (gone && self.valued) || self.is_slow(row) {
            return Ok(false);
        }
        let moved = self.cash.get(row).and_then(|cash| {
            let cash = i128::from(*cash) + new.balance - old.balance;
            i64::try_from(cash).ok().filter(|c| c.unsigned_abs() <= CASH_MAX)
        });
        let Some(moved) = moved else { return Ok(false) };
        let places = self.cash.get_mut(row).zip(self.balances.get_mut(row));
        let (cash, balance) = places.ok_or_else(|| Error::invariant("row place"))?;
        (*cash, *balance) = (moved, narrow);
        Ok(true)
    }

    /// Sets the lots and the cost of a leg in the lanes; false, and nothing changed, where its shape would change.
    pub(super) fn set_leg(&mut self, row: usize, new: &Leg, context: &Context<'_>) -> Result<bool> {
        let slots = self.legs_of(row);
        let legs = self.row_legs(row, context)?;
        let found = legs.iter().position(|l| (l.instrument, l.side) == (new.instrument, new.side));
        let (Some(at), Ok(number)) = (found, u16::try_from(row)) else { return Ok(false) };
        let old = legs.get(at).ok_or_else(|| Error::invariant("leg place"))?;
        let plain = |leg: &Leg| leg.accrued == 0 && !leg.has_orders() && leg.lots != 0;
        let (Ok(lots), Ok(cost)) = (i32::try_from(new.lots), i64::try_from(new.cost)) else {
            return Ok(false);
        };
        let slot = slots.start + at;
        let beside = u32::try_from(slot).is_ok_and(|slot| self.extras.contains_key(&slot));
        let same = plain(old) && plain(new) && old.chosen == new.chosen && !beside;
        if !same || !self.fixed.is_empty() {
            return Ok(false);
        }
        let width = slots.len();
        let group = self.plain.iter_mut().find(|group| group.width() == width);
        let Some(group) = group else { return Ok(false) };
        let Ok(place) = group.places().binary_search(&number) else { return Ok(false) };
        let moved = self.cash.get(row).and_then(|cash| {
            let cash = i128::from(*cash) + old.cost - new.cost;
            i64::try_from(cash).ok().filter(|c| c.unsigned_abs() <= CASH_MAX)
        });
        let (Some(moved), Some(leg)) = (moved, group.legs().get(place * width + at).copied())
        else {
            return Ok(false);
        };
        if !group.replace(place * width + at, LaneLeg { lots, ..leg }) {
            return Ok(false);
        }
        let places = self.cash.get_mut(row).zip(self.costs.get_mut(slot));
        let (cash, known) = places.ok_or_else(|| Error::invariant("row place"))?;
        (*cash, *known) = (moved, cost);
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

    /// How many of its rows are in the lanes, prices aside.
    pub(super) fn lane_count(&self) -> usize {
        let wide = self.wide.iter().map(|group| group.rows.len()).sum::<usize>();
        self.assets.len() - self.slow.len() - wide
    }

    pub(super) fn row_count(&self) -> usize {
        self.assets.len()
    }

    pub(super) fn leg_count(&self) -> usize {
        self.costs.len()
    }

    /// The instrument and the lots of each of its legs, in no order.
    pub(super) fn positions<'a>(
        &'a self,
        lanes: &'a Lanes,
    ) -> impl Iterator<Item = (u16, i64)> + 'a {
        let plain = self.plain.iter().flat_map(Group::legs);
        let ordered = self.ordered.iter().flat_map(Group::legs).map(|l| &l.leg);
        let lane = |leg: &LaneLeg| (lanes.instrument(leg.instrument), i64::from(leg.lots));
        let slow = self.slow_legs.iter().map(|leg| (leg.instrument, leg.lots));
        let wide = self.wide.iter().flat_map(WideGroup::all_legs);
        let wide = wide.map(|leg| (leg.instrument, leg.lots));
        plain.chain(ordered).map(lane).chain(slow).chain(wide)
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
        if let Some(holding) = u32::try_from(row).ok().and_then(|r| self.more.get(&r)) {
            return Ok(*holding);
        }
        match (self.assets.get(row), self.balances.get(row)) {
            (Some(asset), Some(balance)) => {
                Ok(Holding { asset: *asset, balance: i128::from(*balance), interest: 0 })
            }
            _ => Err(Error::invariant("row place")),
        }
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
        let row = place(row)?;
        if width == 0 {
            return Ok(Vec::new());
        }
        let of = |leg: &LaneLeg| WideLeg {
            lots: i64::from(leg.lots),
            instrument: lanes.instrument(leg.instrument),
            chosen: leg.chosen,
        };
        if let Some((group, at)) = find_row(&self.plain, width, row) {
            let legs = group.legs().chunks_exact(width).nth(at).ok_or_else(lost)?;
            return Ok(legs.iter().map(of).collect());
        }
        if let Some((group, at)) = find_row(&self.ordered, width, row) {
            let legs = group.legs().chunks_exact(width).nth(at).ok_or_else(lost)?;
            return Ok(legs.iter().map(|l| of(&l.leg)).collect());
        }
        if let Ok(at) = self.wide.binary_search_by_key(&width, WideGroup::width)
            && let Some(group) = self.wide.get(at)
            && let Ok(at) = group.rows.binary_search(&row)
        {
            return Ok(group.legs(at).ok_or_else(lost)?.to_vec());
        }
        let at = self.slow.binary_search_by_key(&row, |(r, _)| *r).map_err(|_| lost())?;
        let start = self.slow.get(at).map_or(0, |(_, start)| index(*start));
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

/// The group of so many legs a row, which is added when there is none.
fn group_of<L: aivora_simd::Held>(groups: &mut Vec<Group<L>>, width: usize) -> &mut Group<L> {
    let at = groups.partition_point(|group| group.width() < width);
    if groups.get(at).is_none_or(|group| group.width() != width) {
        groups.insert(at, Group::new(width));
    }
    #[allow(clippy::indexing_slicing)] // it was there, or is now
    &mut groups[at]
}

/// The group that has a row, and the row's place in it.
fn find_row<L: aivora_simd::Held>(
    groups: &[Group<L>],
    width: usize,
    row: u32,
) -> Option<(&Group<L>, usize)> {
    let row = u16::try_from(row).ok()?;
    let at = groups.binary_search_by_key(&width, Group::width).ok()?;
    let group = groups.get(at)?;
    group.places().binary_search(&row).ok().map(|place| (group, place))
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

//! Rows in the lanes: the legs that a scan reads, and what each row adds to their values.

use aivora_simd::{Columns, Group, Held, Leg as LaneLeg, OrderLeg, Path, Table};

/// Rows of a block in the lanes, at most one a pool.
#[derive(Debug, Clone, Default)]
pub(super) struct LaneRows {
    /// By how many legs they have; those with open orders apart.
    plain: Vec<Group<LaneLeg>>,
    ordered: Vec<Group<OrderLeg>>,
    /// Rows without legs: their pools, ascending, and their cash.
    bare: Vec<u16>,
    bare_cash: Vec<i64>,
    /// Of each pool up to the last that has some: the parts of its initial and its maintenance requirement that do not depend
    /// on prices.
    fixed: Vec<[i64; 2]>,
}

/// Where a row is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// Without legs.
    Bare(usize),
    /// The group, and the row in it.
    Plain(usize, usize),
    /// The same among those with orders.
    Ordered(usize, usize),
}

impl LaneRows {
    /// Adds a row, with its legs as if all had orders; false, and nothing added, where a size is too large.
    pub(super) fn push(&mut self, pool: u16, cash: i64, legs: &[OrderLeg], ordered: bool) -> bool {
        if legs.is_empty() {
            self.bare.push(pool);
            self.bare_cash.push(cash);
            return true;
        }
        if ordered {
            group_of(&mut self.ordered, legs.len()).push(pool, cash, legs.iter().copied())
        } else {
            group_of(&mut self.plain, legs.len()).push(pool, cash, legs.iter().map(|o| o.leg))
        }
    }

    /// Sets what is added to a pool's requirements, past those it is set for; that of the pools between is 0.
    pub(super) fn set_fixed(&mut self, pool: u16, fixed: [i64; 2]) {
        self.fixed.resize(usize::from(pool), [0, 0]);
        self.fixed.push(fixed);
    }

    /// What is added to the requirements of each pool; of those past its end nothing is.
    pub(super) fn fixed(&self) -> &[[i64; 2]] {
        &self.fixed
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        let plain = self.plain.iter().map(|group| group.places().len());
        let ordered = self.ordered.iter().map(|group| group.places().len());
        plain.chain(ordered).sum::<usize>() + self.bare.len()
    }

    /// The pool and the cash of each row without legs.
    pub(super) fn bare(&self) -> impl Iterator<Item = (usize, i64)> + '_ {
        self.bare.iter().map(|pool| usize::from(*pool)).zip(self.bare_cash.iter().copied())
    }

    /// The pools of the rows with legs.
    pub(super) fn with_legs(&self) -> impl Iterator<Item = usize> + '_ {
        let plain = self.plain.iter().flat_map(Group::places);
        plain.chain(self.ordered.iter().flat_map(Group::places)).map(|pool| usize::from(*pool))
    }

    /// Cash and the sums of the rows with legs, each at its pool. False where a column is too short.
    pub(super) fn sums<const INITIAL: bool>(
        &self,
        table: &Table,
        path: Path,
        [equity, initial, maintenance]: [&mut [i64]; 3],
    ) -> bool {
        let mut out = Columns { equity, initial, maintenance };
        self.plain.iter().all(|group| group.sums::<INITIAL>(table, path, &mut out))
            && self.ordered.iter().all(|group| group.sums::<INITIAL>(table, path, &mut out))
    }

    /// Whether the check fires for each row, and all maintenance sums or'ed together. None where `out` is too short.
    pub(super) fn verdicts(
        &self,
        table: &Table,
        path: Path,
        strict: bool,
        out: &mut [bool],
    ) -> Option<u64> {
        // A row without legs requires nothing.
        for pool in &self.bare {
            *out.get_mut(usize::from(*pool))? = false;
        }
        let mut all = 0;
        for group in &self.plain {
            all |= group.verdicts(table, path, strict, out)?;
        }
        for group in &self.ordered {
            all |= group.verdicts(table, path, strict, out)?;
        }
        Some(all)
    }

    /// Where the row of a pool is that has so many legs.
    pub(super) fn find(&self, pool: usize, width: usize) -> Option<Place> {
        let pool = u16::try_from(pool).ok()?;
        if width == 0 {
            return self.bare.binary_search(&pool).ok().map(Place::Bare);
        }
        let plain = find_row(&self.plain, width, pool);
        let ordered = || find_row(&self.ordered, width, pool);
        plain.map(|(g, at)| Place::Plain(g, at)).or_else(|| {
            let (group, at) = ordered()?;
            Some(Place::Ordered(group, at))
        })
    }

    pub(super) fn cash(&self, place: Place) -> Option<i64> {
        match place {
            Place::Bare(at) => self.bare_cash.get(at),
            Place::Plain(group, at) => self.plain.get(group)?.cash().get(at),
            Place::Ordered(group, at) => self.ordered.get(group)?.cash().get(at),
        }
        .copied()
    }

    pub(super) fn cash_mut(&mut self, place: Place) -> Option<&mut i64> {
        match place {
            Place::Bare(at) => self.bare_cash.get_mut(at),
            Place::Plain(group, at) => self.plain.get_mut(group)?.cash_mut().get_mut(at),
            Place::Ordered(group, at) => self.ordered.get_mut(group)?.cash_mut().get_mut(at),
        }
    }

    /// The legs of a row, without their orders.
    pub(super) fn legs(&self, place: Place) -> Option<Vec<LaneLeg>> {
        fn of<L: Held>(groups: &[Group<L>], (group, at): (usize, usize)) -> Option<Vec<LaneLeg>> {
            let group = groups.get(group)?;
            let start = at * group.width();
            let legs = group.legs().get(start..start + group.width())?;
            Some(legs.iter().map(|held| *held.leg()).collect())
        }
        match place {
            Place::Bare(_) => Some(Vec::new()),
            Place::Plain(group, at) => of(&self.plain, (group, at)),
            Place::Ordered(group, at) => of(&self.ordered, (group, at)),
        }
    }

    /// Sets the lots of a row's leg number `leg`; false, and nothing changed, for one with orders, or lots too large.
    pub(super) fn set_lots(&mut self, place: Place, leg: usize, lots: i64) -> bool {
        let (Place::Plain(group, at), Ok(lots)) = (place, i32::try_from(lots)) else {
            return false;
        };
        let Some(group) = self.plain.get_mut(group) else { return false };
        let slot = at * group.width() + leg;
        let Some(old) = group.legs().get(slot).copied() else { return false };
        group.replace(slot, LaneLeg { lots, ..old })
    }

    /// All legs, in no order.
    pub(super) fn all_legs(&self) -> impl Iterator<Item = &LaneLeg> {
        let ordered = self.ordered.iter().flat_map(Group::legs).map(|held| &held.leg);
        self.plain.iter().flat_map(Group::legs).chain(ordered)
    }

    /// Without spare memory.
    pub(super) fn shrink(&mut self) {
        self.plain.iter_mut().for_each(Group::shrink);
        self.plain.shrink_to_fit();
        self.ordered.iter_mut().for_each(Group::shrink);
        self.ordered.shrink_to_fit();
        self.bare.shrink_to_fit();
        self.bare_cash.shrink_to_fit();
        self.fixed.shrink_to_fit();
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.plain.iter().map(Group::bytes).sum::<usize>()
            + self.ordered.iter().map(Group::bytes).sum::<usize>()
            + self.plain.capacity() * size_of::<Group<LaneLeg>>()
            + self.ordered.capacity() * size_of::<Group<OrderLeg>>()
            + self.bare.capacity() * size_of::<u16>()
            + self.bare_cash.capacity() * size_of::<i64>()
            + self.fixed.capacity() * size_of::<[i64; 2]>()
    }
}

/// The group of so many legs a row, which is added when there is none.
fn group_of<L: Held>(groups: &mut Vec<Group<L>>, width: usize) -> &mut Group<L> {
    // Most often each number of legs up to this one has its group.
    let guess = width.saturating_sub(1);
    let at = match groups.get(guess) {
        Some(group) if group.width() == width => guess,
        _ => groups.partition_point(|group| group.width() < width),
    };
    if groups.get(at).is_none_or(|group| group.width() != width) {
        groups.insert(at, Group::new(width));
    }
    #[allow(clippy::indexing_slicing)] // it was there, or is now
    &mut groups[at]
}

/// The group that has a pool's row, and the row's place in it.
fn find_row<L: Held>(groups: &[Group<L>], width: usize, pool: u16) -> Option<(usize, usize)> {
    let at = groups.binary_search_by_key(&width, Group::width).ok()?;
    groups.get(at)?.places().binary_search(&pool).ok().map(|place| (at, place))
}

//! Events as columns of whole numbers: many at once, without an object each.

use std::sync::Arc;

use super::event::{Ended, Event, Party, Scope, Shape, What};
use super::orders::Order;
use super::wire::Value;
use crate::data::{AssetId, InstrumentId, Level, Side};
use crate::margin::{LegSide, PoolId, PoolKind};
use crate::numbers::{Error, ErrorKind, Lots, MarkTicks, PriceTicks, Quanta, Rate, Result};

/// Stands for nothing in a column whose field may be absent.
pub const NOTHING: i64 = i64::MIN;

/// A column that a field is read from: its name, and what a row has without it.
pub type Column = (String, Option<i64>);

/// Where one field finds its numbers.
#[derive(Debug, Clone, Copy)]
enum From<'a> {
    Rows(&'a [i64]),
    Always(i64),
}

/// The numbers of one row, in the order of the fields of its kind.
#[derive(Debug)]
pub(super) struct Cells<'a> {
    left: std::slice::Iter<'a, (String, From<'a>)>,
    row: usize,
}

impl Cells<'_> {
    #[inline]
    fn next(&mut self) -> Result<i64> {
        let missing = || Error::invariant("columns");
        match self.left.next().ok_or_else(missing)?.1 {
            From::Rows(column) => column.get(self.row).copied().ok_or_else(missing),
            From::Always(value) => Ok(value),
        }
    }
}

/// What is read from numbers of a row.
pub(super) trait Cell: Sized {
    /// Columns of a field of this type; none where it does not stand in columns.
    fn columns(field: &str) -> Option<Vec<Column>> {
        Some(vec![(field.to_owned(), None)])
    }

    /// Reads it.
    fn read(cells: &mut Cells<'_>, field: &str) -> Result<Self>;
}

fn wrong(field: &str, value: i64, limit: &str) -> Error {
    Error::new(ErrorKind::BadColumn, field, value, limit)
}

macro_rules! numbers {
    ($($type:ty, $most:literal;)+) => {$(
        impl Cell for $type {
            #[inline]
            fn read(cells: &mut Cells<'_>, field: &str) -> Result<Self> {
                let value = cells.next()?;
                Self::try_from(value).map_err(|_| wrong(field, value, $most))
            }
        }
    )+};
}

numbers! {
    u16, "must be 0 to 65535";
    u64, "must be 0 to 2^63 - 1";
    i64, "must be a whole number";
}

macro_rules! units {
    ($($type:ty, $ending:literal;)+) => {$(
        impl Cell for $type {
            fn columns(field: &str) -> Option<Vec<Column>> {
                Some(vec![(format!("{field}{}", $ending), None)])
            }

            #[inline]
            fn read(cells: &mut Cells<'_>, field: &str) -> Result<Self> {
                Self::new(i128::from(cells.next()?), field)
            }
        }
    )+};
}

units! {
    MarkTicks, "_ticks";
    PriceTicks, "_ticks";
    Lots, "";
    Quanta, "_quanta";
}

macro_rules! words {
    ($($type:ty, $default:expr, $all:expr, $limit:literal;)+) => {$(
        impl Cell for $type {
            fn columns(field: &str) -> Option<Vec<Column>> {
                Some(vec![(field.to_owned(), $default)])
            }

            #[inline]
            fn read(cells: &mut Cells<'_>, field: &str) -> Result<Self> {
                let value = cells.next()?;
                let place = usize::try_from(value).ok();
                let found = place.and_then(|place| $all.get(place).copied());
                found.ok_or_else(|| wrong(field, value, $limit))
            }
        }
    )+};
}

words! {
    bool, Some(0), [false, true], "must be 0 or 1";
    Side, None, [Side::Buy, Side::Sell], "must be 0 (buy) or 1 (sell)";
    LegSide, Some(0), [LegSide::Net, LegSide::Long, LegSide::Short],
        "must be 0 (net), 1 (long) or 2 (short)";
    Ended, None, [Ended::Expired, Ended::TimedOut], "must be 0 (expired) or 1 (timed_out)";
}

macro_rules! places {
    ($($type:ty, $inner:ty;)+) => {$(
        impl Cell for $type {
            #[inline]
            fn read(cells: &mut Cells<'_>, field: &str) -> Result<Self> {
                let value = cells.next()?;
                <$inner>::try_from(value)
                    .map(Self)
                    .map_err(|_| wrong(field, value, "must be a place"))
            }
        }
    )+};
}

places! {
    InstrumentId, u32;
    AssetId, u8;
    PoolId, usize;
}

impl<T: Cell> Cell for Option<T> {
    fn columns(field: &str) -> Option<Vec<Column>> {
        let of = T::columns(field)?;
        Some(of.into_iter().map(|(name, _)| (name, Some(NOTHING))).collect())
    }

    #[inline]
    fn read(cells: &mut Cells<'_>, field: &str) -> Result<Self> {
        let ahead = Cells { left: cells.left.clone(), row: cells.row }.next()?;
        if ahead == NOTHING {
            return cells.next().map(|_| None);
        }
        T::read(cells, field).map(Some)
    }
}

impl Cell for Party {
    fn columns(field: &str) -> Option<Vec<Column>> {
        Some(vec![
            (field.to_owned(), None),
            (format!("{field}_leg"), Some(0)),
            (format!("{field}_order"), Some(NOTHING)),
        ])
    }

    #[inline]
    fn read(cells: &mut Cells<'_>, field: &str) -> Result<Self> {
        Ok(Self {
            pool: Cell::read(cells, field)?,
            leg: Cell::read(cells, field)?,
            order: Cell::read(cells, field)?,
        })
    }
}

/// What is no whole number.
macro_rules! not_in_columns {
    ($($type:ty),+) => {$(
        impl Cell for $type {
            fn columns(_: &str) -> Option<Vec<Column>> {
                None
            }

            fn read(_: &mut Cells<'_>, field: &str) -> Result<Self> {
                Err(wrong(field, 0, "does not stand in columns: make the event by itself"))
            }
        }
    )+};
}

not_in_columns!(Arc<str>, Arc<[Level]>, Rate, PoolKind, Scope);

/// Events as columns, all of one length.
#[derive(Debug)]
pub struct Columns<'a> {
    tags: &'a [u8],
    head: [From<'a>; 3],
    /// Of each kind, by its tag.
    kinds: Vec<Option<Vec<(String, From<'a>)>>>,
}

impl<'a> Columns<'a> {
    /// Events of these kinds, by their tags ([`What::ALL`]), and their columns: `source`, `sequence`, `time`, and one for each
    /// field. Pools, instruments and assets stand by their places.
    ///
    /// # Errors
    /// `bad_column` for a column that is missing, unknown or of another length, and for an event that does not stand in columns.
    pub fn new(tags: &'a [u8], columns: &[(&str, &'a [i64])]) -> Result<Self> {
        Self::with(tags, columns, None)
    }

    /// The same, where a number is there for what only a real event has.
    fn with(tags: &'a [u8], columns: &[(&str, &'a [i64])], instead: Option<i64>) -> Result<Self> {
        let bad = |name: &str, value: Value, limit: &str| {
            Err(Error::new(ErrorKind::BadColumn, name, value, limit))
        };
        let length = |rows: usize| Value::Int(i128::try_from(rows).unwrap_or(i128::MAX));
        for (name, column) in columns {
            if column.len() != tags.len() {
                let limit = format!("must have {} rows, as `event` has", tags.len());
                return bad(name, length(column.len()), &limit);
            }
        }
        let find = |name: &str, default: Option<i64>, of: &str| {
            let found = columns.iter().find(|(own, _)| *own == name);
            match (found, default) {
                (Some((_, column)), _) => Ok(From::Rows(column)),
                (None, Some(value)) => Ok(From::Always(value)),
                (None, None) => Err(Error::new(
                    ErrorKind::BadColumn,
                    name,
                    "nothing",
                    format!("{of} needs this column"),
                )),
            }
        };
        let mut kinds: Vec<Option<Vec<(String, From<'a>)>>> = Vec::new();
        let mut known = vec!["source".to_owned(), "sequence".to_owned(), "time".to_owned()];
        for shape in What::ALL {
            let of = What::columns(shape.tag);
            known.extend(of.iter().flatten().map(|(name, _)| name.clone()));
            let place = usize::from(shape.tag);
            kinds.resize(kinds.len().max(place + 1), None);
            if !tags.contains(&shape.tag) {
                continue;
            }
            let Some(of) = of else {
                let limit = "does not stand in columns: make the event by itself";
                return bad("event", Value::Text(shape.name.to_owned()), limit);
            };
            let own = of.into_iter().map(|(name, default)| {
                let default = default.or(instead.filter(|_| name == "order"));
                let from = find(&name, default, shape.name)?;
                Ok((name, from))
            });
            if let Some(kind) = kinds.get_mut(place) {
                *kind = Some(own.collect::<Result<_>>()?);
            }
        }
        for (name, column) in columns {
            if !known.iter().any(|own| own == name) {
                return bad(name, length(column.len()), "no event has a column of this name");
            }
        }
        let head = ["source", "sequence", "time"].map(|name| find(name, instead, "each event"));
        let [source, sequence, time] = head;
        Ok(Self { tags, head: [source?, sequence?, time?], kinds })
    }

    /// Orders that are asked about, all of them `order_open`: without number, source, sequence and time.
    ///
    /// # Errors
    /// As [`Columns::new`].
    pub fn orders(tags: &'a [u8], columns: &[(&str, &'a [i64])]) -> Result<Self> {
        Self::with(tags, columns, Some(0))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tags.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }

    /// The order that a row opens.
    ///
    /// # Errors
    /// As [`Columns::event`]; `bad_column` for another event.
    pub fn order(&self, row: usize) -> Result<Order> {
        let what = self.event(row)?.what;
        Order::opened_by(&what).ok_or_else(|| wrong("event", 0, "must be order_open").at_row(row))
    }

    /// The event of a row.
    ///
    /// # Errors
    /// `bad_column` and `out_of_range`, with the row.
    pub fn event(&self, row: usize) -> Result<Event> {
        self.read(row).map_err(|error| error.at_row(row))
    }

    #[inline]
    fn read(&self, row: usize) -> Result<Event> {
        let tag = self.tags.get(row).copied().unwrap_or(0);
        let kind =
            self.kinds.get(usize::from(tag)).and_then(Option::as_deref).ok_or_else(|| {
                wrong(
                    "event",
                    i64::from(tag),
                    "must be the tag of an event that this version knows",
                )
            })?;
        let at = |from: From<'_>| match from {
            From::Rows(column) => column.get(row).copied().unwrap_or(NOTHING),
            From::Always(value) => value,
        };
        let [source, sequence, time] = self.head.map(at);
        Ok(Event {
            source: u16::try_from(source)
                .map_err(|_| wrong("source", source, "must be 0 to 65535"))?,
            sequence: u64::try_from(sequence)
                .map_err(|_| wrong("sequence", sequence, "must not be negative"))?,
            time,
            what: What::from_cells(tag, &mut Cells { left: kind.iter(), row })?,
        })
    }
}

impl Shape {
    /// The columns of its fields, and what a row has without one; none where it does not stand in columns.
    #[must_use]
    pub fn columns(&self) -> Option<Vec<Column>> {
        What::columns(self.tag)
    }
}

//! Columns from Python as rows for the core: typed cells, errors with table, column and row.

use std::collections::HashMap;
use std::sync::Arc;

use aivora::data::{Instrument, InstrumentId, Venue};
use aivora::margin::{LegSide, PoolKey, PoolKind, PoolPlace, Portfolio, PortfolioBuilder};
use aivora::numbers::{Decimal, Error, ErrorKind, Lots, Quanta, Rate, Result, Rounding};
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use crate::convert::{self, is_float, shown};
use crate::errors::raise;

/// One column: a list of Python values, or an array of whole numbers or of floats.
enum Cells<'py> {
    List(Bound<'py, PyList>),
    Ints(PyReadonlyArray1<'py, i64>),
    Floats(PyReadonlyArray1<'py, f64>),
}

/// One table: its columns, all of one length.
pub(crate) struct Table<'py> {
    name: &'static str,
    columns: Vec<(String, Cells<'py>)>,
    pub(crate) rows: usize,
}

/// A float that was off its grid, and what was used instead.
pub(crate) struct OffGrid {
    pub(crate) table: &'static str,
    pub(crate) row: usize,
    pub(crate) column: String,
    pub(crate) value: String,
    pub(crate) used: String,
}

fn bad_column(table: &str, column: &str, value: &str, limit: &str) -> Error {
    Error::new(ErrorKind::BadColumn, format!("{table}.{column}"), value, limit)
}

impl<'py> Table<'py> {
    /// Reads a dict of columns; `None` is an empty table.
    pub(crate) fn read(
        name: &'static str,
        table: Option<&Bound<'py, PyDict>>,
        allowed: &[&str],
    ) -> Result<Self> {
        let mut columns = Vec::new();
        let mut rows = None;
        for (key, value) in table.into_iter().flat_map(PyDictMethods::iter) {
            let key = key.to_string();
            if !allowed.contains(&key.as_str()) {
                let limit = format!("unknown column; known are {}", allowed.join(", "));
                return Err(bad_column(name, &key, "a column", &limit));
            }
            let (cells, length) = cells(&value).ok_or_else(|| {
                let limit = "must be a list, or a contiguous array of int64 or float64";
                bad_column(name, &key, &value.get_type().to_string(), limit)
            })?;
            if *rows.get_or_insert(length) != length {
                let limit = format!("all columns of a table must have {} rows", rows.unwrap_or(0));
                let field = format!("{name}.{key}");
                return Err(Error::new(ErrorKind::LengthMismatch, field, length, limit));
            }
            columns.push((key, cells));
        }
        Ok(Self { name, columns, rows: rows.unwrap_or(0) })
    }

    fn find(&self, column: &str) -> Option<&Cells<'py>> {
        self.columns.iter().find(|(name, _)| name == column).map(|(_, cells)| cells)
    }

    fn need(&self, column: &str) -> Result<&Cells<'py>> {
        self.find(column)
            .ok_or_else(|| bad_column(self.name, column, "nothing", "this column is required"))
    }

    /// The one of two columns that is there, and whether it is the first.
    fn one_of(&self, first: &str, second: &str) -> Result<(&Cells<'py>, bool)> {
        match (self.find(first), self.find(second)) {
            (Some(cells), None) => Ok((cells, true)),
            (None, Some(cells)) => Ok((cells, false)),
            (Some(_), Some(_)) => {
                let limit = format!("give {first} or {second}, not both");
                Err(bad_column(self.name, first, "two columns", &limit))
            }
            (None, None) => {
                let limit = format!("give {first} or {second}");
                Err(bad_column(self.name, first, "nothing", &limit))
            }
        }
    }
}

fn cells<'py>(value: &Bound<'py, PyAny>) -> Option<(Cells<'py>, usize)> {
    if let Ok(list) = value.cast::<PyList>() {
        return Some((Cells::List(list.clone()), list.len()));
    }
    if let Ok(ints) = value.extract::<PyReadonlyArray1<'py, i64>>() {
        let length = ints.as_slice().ok()?.len();
        return Some((Cells::Ints(ints), length));
    }
    let floats = value.extract::<PyReadonlyArray1<'py, f64>>().ok()?;
    let length = floats.as_slice().ok()?.len();
    Some((Cells::Floats(floats), length))
}

/// One cell.
enum Cell<'py> {
    Object(Bound<'py, PyAny>),
    Int(i64),
    Float(f64),
}

impl<'py> Cells<'py> {
    fn get(&self, row: usize) -> Option<Cell<'py>> {
        match self {
            Cells::List(list) => list.get_item(row).ok().map(Cell::Object),
            Cells::Ints(ints) => ints.as_slice().ok()?.get(row).copied().map(Cell::Int),
            Cells::Floats(floats) => floats.as_slice().ok()?.get(row).copied().map(Cell::Float),
        }
    }

    fn cell(&self, row: usize, field: &str) -> Result<Cell<'py>> {
        self.get(row).ok_or_else(|| {
            Error::new(
                ErrorKind::BadColumn,
                field,
                "nothing",
                "the column changed while it was read",
            )
        })
    }
}

impl Cell<'_> {
    /// Absent: None, or empty text.
    fn is_absent(&self) -> bool {
        match self {
            Cell::Object(value) => {
                value.is_none()
                    || value.cast::<PyString>().is_ok_and(|s| s.len().is_ok_and(|n| n == 0))
            }
            _ => false,
        }
    }

    /// A name: text, or a whole number as text. Borrowed where it can be.
    fn name<T>(&self, field: &str, read: impl FnOnce(&str) -> Result<T>) -> Result<T> {
        match self {
            Cell::Object(value) => match value.cast::<PyString>() {
                Ok(text) => read(convert::text(text, field)?),
                Err(_) if is_float(value) => Err(not_a_name(field, &shown(value))),
                Err(_) => read(
                    &convert::integer(value, field)
                        .map_err(|_| not_a_name(field, &shown(value)))?
                        .to_string(),
                ),
            },
            Cell::Int(int) => read(&int.to_string()),
            Cell::Float(float) => Err(not_a_name(field, &float.to_string())),
        }
    }

    fn integer(&self, field: &str) -> Result<i128> {
        match self {
            Cell::Object(value) => convert::integer(value, field),
            Cell::Int(int) => Ok(i128::from(*int)),
            Cell::Float(float) => Err(float_refused(field, &float.to_string())),
        }
    }

    fn rate(&self, field: &str) -> Result<Rate> {
        match self {
            Cell::Object(value) => convert::rate(value, field),
            Cell::Int(int) => Rate::new(i128::from(*int), 1, field),
            Cell::Float(float) => Err(float_refused(field, &float.to_string())),
        }
    }
}

fn not_a_name(field: &str, value: &str) -> Error {
    Error::new(ErrorKind::BadColumn, field, value, "must be a str or an int")
}

fn float_refused(field: &str, value: &str) -> Error {
    let limit =
        "a float is not exact; give an int, a str or a Decimal, or use Portfolio.from_floats";
    Error::new(ErrorKind::FloatGiven, field, value, limit)
}

/// Reads four tables into a portfolio.
pub(crate) struct Reader<'v> {
    venue: &'v Arc<Venue>,
    symbols: HashMap<&'v str, InstrumentId>,
    builder: PortfolioBuilder,
    /// How an average entry that gives no whole cost is rounded.
    entry: Rounding,
    /// How floats are rounded; none are accepted without.
    floats: Option<Rounding>,
    off_grid: Vec<OffGrid>,
}

/// The four tables of a portfolio.
pub(crate) struct Tables<'py> {
    pub(crate) positions: Table<'py>,
    pub(crate) collateral: Table<'py>,
    pub(crate) orders: Table<'py>,
    pub(crate) pools: Table<'py>,
}

pub(crate) const POSITIONS: &[&str] = &[
    "account",
    "pool",
    "instrument",
    "leg",
    "quantity",
    "quantity_lots",
    "entry",
    "cost",
    "cost_quanta",
    "accrued",
    "accrued_quanta",
];
pub(crate) const COLLATERAL: &[&str] =
    &["account", "pool", "asset", "amount", "amount_quanta", "interest", "interest_quanta"];
pub(crate) const ORDERS: &[&str] =
    &["account", "pool", "instrument", "leg", "side", "quantity", "quantity_lots"];
pub(crate) const POOLS: &[&str] = &["account", "pool", "kind", "mode", "instrument", "leverage"];

impl<'v> Reader<'v> {
    pub(crate) fn new(venue: &'v Arc<Venue>, entry: Rounding, floats: Option<Rounding>) -> Self {
        let symbols = venue
            .instruments()
            .iter()
            .filter_map(|i| venue.find(i.symbol()).ok().map(|id| (i.symbol(), id)));
        let builder = PortfolioBuilder::new(Arc::clone(venue));
        Self { venue, symbols: symbols.collect(), builder, entry, floats, off_grid: Vec::new() }
    }

    /// The portfolio of all rows, and the floats that were off their grid.
    pub(crate) fn read(mut self, tables: &Tables<'_>) -> PyResult<(Portfolio, Vec<OffGrid>)> {
        let pools = &tables.pools;
        self.rows(pools, Self::pool_row)?;
        self.rows(&tables.collateral, Self::collateral_row)?;
        self.rows(&tables.positions, Self::position_row)?;
        self.rows(&tables.orders, Self::order_row)?;
        Ok((self.builder.build().map_err(raise)?, self.off_grid))
    }

    fn rows<'py>(
        &mut self,
        table: &Table<'py>,
        read: impl Fn(&mut Self, &Table<'py>, usize) -> Result<()>,
    ) -> PyResult<()> {
        for row in 0..table.rows {
            let done = read(self, table, row);
            done.map_err(|e| raise(e.within(table.name).at_row(row)))?;
        }
        Ok(())
    }

    /// The pool that a row speaks of.
    fn pool(&mut self, table: &Table<'_>, row: usize) -> Result<PoolPlace> {
        let account = table.need("account")?.cell(row, "account")?;
        let pool = table.find("pool").map(|c| c.cell(row, "pool")).transpose()?;
        account.name("account", |account| match pool.filter(|p| !p.is_absent()) {
            Some(pool) => pool.name("pool", |pool| self.builder.pool(PoolKey { account, pool })),
            None => self.builder.pool(PoolKey { account, pool: "cross" }),
        })
    }

    fn instrument(&self, table: &Table<'_>, row: usize) -> Result<(InstrumentId, &'v Instrument)> {
        let cell = table.need("instrument")?.cell(row, "instrument")?;
        let id = cell.name("instrument", |symbol| {
            self.symbols.get(symbol).copied().map_or_else(|| self.venue.find(symbol), Ok)
        })?;
        Ok((id, self.venue.instrument(id)?))
    }

    fn side(table: &Table<'_>, row: usize) -> Result<LegSide> {
        match table.find("leg").map(|c| c.cell(row, "leg")).transpose()? {
            Some(cell) if !cell.is_absent() => cell.name("leg", LegSide::from_name),
            _ => Ok(LegSide::Net),
        }
    }

    /// A cell as whole units: exact, or a float rounded as named and recorded.
    fn whole(
        &mut self,
        cell: &Cell<'_>,
        unit: Decimal,
        at: (&Table<'_>, usize, &str),
    ) -> Result<i128> {
        let (table, row, column) = at;
        let float = match cell {
            Cell::Float(float) => Some(*float),
            Cell::Object(value) if is_float(value) => value.extract::<f64>().ok(),
            _ => None,
        };
        let Some(float) = float else {
            let exact = match cell {
                Cell::Object(value) => convert::decimal(value, column)?,
                _ => Decimal::new(cell.integer(column)?, 0),
            };
            return exact.whole(unit, column);
        };
        let Some(rounding) = self.floats else {
            return Err(float_refused(column, &float.to_string()));
        };
        let value = Decimal::from_float(float, column)?;
        let count = value.round(unit, rounding, column)?;
        if value.whole(unit, column).is_err() {
            let used = Decimal::of(count, unit).map_or_else(String::new, |d| d.to_string());
            let (table, column, value) = (table.name, column.to_owned(), value.to_string());
            self.off_grid.push(OffGrid { table, row, column, value, used });
        }
        Ok(count)
    }

    fn lots(&mut self, table: &Table<'_>, row: usize, of: &Instrument) -> Result<Lots> {
        let (cells, in_units) = table.one_of("quantity", "quantity_lots")?;
        if in_units {
            let cell = cells.cell(row, "quantity")?;
            let lots = self.whole(&cell, of.lot(), (table, row, "quantity"))?;
            return Lots::new(lots, "quantity");
        }
        Lots::new(cells.cell(row, "quantity_lots")?.integer("quantity_lots")?, "quantity_lots")
    }

    /// An amount from `column` (units) or `column_quanta` (whole quanta); 0 where neither is there.
    fn amount(
        &mut self,
        table: &Table<'_>,
        row: usize,
        columns: (&str, &str),
        quantum: Decimal,
    ) -> Result<Quanta> {
        if table.find(columns.0).is_none() && table.find(columns.1).is_none() {
            return Quanta::new(0, columns.0);
        }
        let (cells, in_units) = table.one_of(columns.0, columns.1)?;
        if in_units {
            let cell = cells.cell(row, columns.0)?;
            if cell.is_absent() {
                return Quanta::new(0, columns.0);
            }
            return Quanta::new(self.whole(&cell, quantum, (table, row, columns.0))?, columns.0);
        }
        Quanta::new(cells.cell(row, columns.1)?.integer(columns.1)?, columns.1)
    }

    /// The cost basis: given as such, or as an average entry price.
    fn cost(
        &mut self,
        table: &Table<'_>,
        row: usize,
        of: &Instrument,
        lots: Lots,
    ) -> Result<Quanta> {
        let Some(cells) = table.find("entry") else {
            if table.find("cost").is_none() && table.find("cost_quanta").is_none() {
                return Err(bad_column(table.name, "entry", "nothing", "give entry or cost"));
            }
            return self.amount(table, row, ("cost", "cost_quanta"), of.quantum());
        };
        if table.find("cost").is_some() || table.find("cost_quanta").is_some() {
            return Err(bad_column(
                table.name,
                "entry",
                "two columns",
                "give entry or cost, not both",
            ));
        }
        let cell = cells.cell(row, "entry")?;
        if lots.get() == 0 && cell.is_absent() {
            return Quanta::new(0, "entry");
        }
        let float = match &cell {
            Cell::Float(float) => Some(*float),
            Cell::Object(value) if is_float(value) => value.extract::<f64>().ok(),
            _ => None,
        };
        let Some(float) = float else {
            let entry = match &cell {
                Cell::Object(value) => convert::decimal(value, "entry")?,
                _ => Decimal::new(cell.integer("entry")?, 0),
            };
            return Quanta::new(of.cost(lots, entry, self.entry, "entry")?, "entry");
        };
        let Some(rounding) = self.floats else {
            return Err(float_refused("entry", &float.to_string()));
        };
        let entry = Decimal::from_float(float, "entry")?;
        let cost = of.cost(lots, entry, rounding, "entry")?;
        if of.cost(lots, entry, Rounding::Exact, "entry").is_err() {
            let used = self.venue.amount(of.settlement(), cost);
            let used = used.map_or_else(String::new, |d| format!("cost {d}"));
            let (column, value) = ("entry".to_owned(), entry.to_string());
            self.off_grid.push(OffGrid { table: table.name, row, column, value, used });
        }
        Quanta::new(cost, "entry")
    }

    fn position_row(&mut self, table: &Table<'_>, row: usize) -> Result<()> {
        let (id, instrument) = self.instrument(table, row)?;
        let side = Self::side(table, row)?;
        let lots = self.lots(table, row, instrument)?;
        let cost = self.cost(table, row, instrument, lots)?;
        let columns = ("accrued", "accrued_quanta");
        let accrued = self.amount(table, row, columns, instrument.quantum())?;
        let pool = self.pool(table, row)?;
        self.builder.position(pool, id, side, lots, cost, accrued)
    }

    fn collateral_row(&mut self, table: &Table<'_>, row: usize) -> Result<()> {
        let named = table.find("asset").map(|c| c.cell(row, "asset")).transpose()?;
        let asset = match named.filter(|cell| !cell.is_absent()) {
            Some(cell) => cell.name("asset", |asset| self.venue.find_asset(asset))?,
            None => self.venue.rules().settlement_id,
        };
        let quantum = self.venue.asset(asset)?.quantum();
        table.one_of("amount", "amount_quanta")?;
        let amount = self.amount(table, row, ("amount", "amount_quanta"), quantum)?;
        let interest = self.amount(table, row, ("interest", "interest_quanta"), quantum)?;
        let pool = self.pool(table, row)?;
        self.builder.balance(pool, asset, amount, interest)
    }

    fn order_row(&mut self, table: &Table<'_>, row: usize) -> Result<()> {
        let (id, instrument) = self.instrument(table, row)?;
        let side = Self::side(table, row)?;
        let lots = self.lots(table, row, instrument)?;
        let buy = table.need("side")?.cell(row, "side")?.name("side", |side| match side {
            "buy" => Ok(true),
            "sell" => Ok(false),
            _ => Err(Error::new(ErrorKind::OutOfRange, "side", side, "must be buy or sell")),
        })?;
        let pool = self.pool(table, row)?;
        self.builder.order(pool, id, side, buy, lots)
    }

    fn pool_row(&mut self, table: &Table<'_>, row: usize) -> Result<()> {
        let given = |column: &str| -> Result<Option<Cell<'_>>> {
            let cell = table.find(column).map(|c| c.cell(row, column)).transpose()?;
            Ok(cell.filter(|c| !c.is_absent()))
        };
        let kind = given("kind")?.map(|c| c.name("kind", PoolKind::from_name)).transpose()?;
        let leverage = given("leverage")?.map(|c| c.rate("leverage")).transpose()?;
        let id = match given("instrument")? {
            Some(_) => Some(self.instrument(table, row)?.0),
            None => None,
        };
        let modes = |mode: &str| match mode {
            "single" => Ok(false),
            "multi" => Ok(true),
            _ => Err(Error::new(ErrorKind::OutOfRange, "mode", mode, "must be single or multi")),
        };
        let multi = given("mode")?.map(|c| c.name("mode", modes)).transpose()?;
        let pool = self.pool(table, row)?;
        if let Some(kind) = kind {
            self.builder.kind(pool, kind)?;
        }
        if let Some(multi) = multi {
            self.builder.multi(pool, multi)?;
        }
        match leverage {
            Some(leverage) => self.builder.leverage(pool, id, leverage),
            None if kind.is_some() || multi.is_some() => Ok(()),
            None => {
                let limit =
                    "a row of this table declares a kind, a mode, a leverage or several of them";
                Err(Error::new(ErrorKind::BadColumn, "kind", "nothing", limit))
            }
        }
    }
}

//! Columns from Python as rows for the core: typed cells, errors with table, column and row.

use std::collections::HashMap;
use std::sync::Arc;

use aivora::data::{AssetId, Instrument, InstrumentId, Venue};
use aivora::margin::{LegSide, PoolKey, PoolKind, PoolPlace, Portfolio, PortfolioBuilder};
use aivora::numbers::{Decimal, Error, ErrorKind, Lots, Quanta, Rate, Result, Rounding};
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use crate::convert::{self, is_float, shown};
use crate::errors::raise;

/// One column: a list of Python values, an array of whole numbers or of floats, or places in a list of names.
enum Cells<'py> {
    List(Bound<'py, PyList>),
    Ints(PyReadonlyArray1<'py, i64>),
    Floats(PyReadonlyArray1<'py, f64>),
    Coded(PyReadonlyArray1<'py, i64>, Bound<'py, PyList>),
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
    if let Ok(pair) = value.cast::<PyTuple>() {
        let (codes, names) =
            pair.extract::<(PyReadonlyArray1<'py, i64>, Bound<'py, PyList>)>().ok()?;
        let length = codes.as_slice().ok()?.len();
        return Some((Cells::Coded(codes, names), length));
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
            Cells::Coded(codes, names) => {
                let code = usize::try_from(*codes.as_slice().ok()?.get(row)?).ok()?;
                names.get_item(code).ok().map(Cell::Object)
            }
        }
    }

    fn ints(&self) -> Option<&[i64]> {
        match self {
            Cells::Ints(ints) => ints.as_slice().ok(),
            _ => None,
        }
    }

    fn cell(&self, row: usize, field: &str) -> Result<Cell<'py>> {
        self.get(row).ok_or_else(|| {
            if let Cells::Coded(codes, names) = self
                && let Some(code) = codes.as_slice().ok().and_then(|codes| codes.get(row))
            {
                let limit = format!("a code must be a place in its list of {} names", names.len());
                return Error::new(ErrorKind::OutOfRange, field, code, limit);
            }
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

/// What a cell of names is known by, without a look at its text.
enum Token<'py> {
    Absent,
    Code(usize),
    Object(Bound<'py, PyAny>),
}

impl Token<'_> {
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Token::Absent, Token::Absent) => true,
            (Token::Code(a), Token::Code(b)) => a == b,
            (Token::Object(a), Token::Object(b)) => a.is(b),
            _ => false,
        }
    }
}

/// A column that may not be there, by its tokens.
#[derive(Clone, Copy)]
enum Tokens<'t, 'py> {
    Absent,
    Codes(&'t [i64]),
    Objects(&'t Bound<'py, PyList>),
    Other,
}

impl<'t, 'py> Tokens<'t, 'py> {
    fn of(table: &'t Table<'py>, column: &str) -> Self {
        match table.find(column) {
            None => Tokens::Absent,
            Some(Cells::List(list)) => Tokens::Objects(list),
            Some(Cells::Ints(codes) | Cells::Coded(codes, _)) => {
                codes.as_slice().map_or(Tokens::Other, Tokens::Codes)
            }
            Some(Cells::Floats(_)) => Tokens::Other,
        }
    }

    fn at(&self, row: usize) -> Option<Token<'py>> {
        match self {
            Tokens::Absent => Some(Token::Absent),
            Tokens::Codes(codes) => {
                codes.get(row).and_then(|code| usize::try_from(*code).ok()).map(Token::Code)
            }
            Tokens::Objects(list) => list.get_item(row).ok().map(Token::Object),
            Tokens::Other => None,
        }
    }
}

/// Objects and codes that a column remembers.
const OBJECTS: usize = 256;
const CODES: usize = 1 << 16;

/// A column, and what its cells were found to be: each distinct one is read once, as long as they are few.
struct Known<'t, 'py, T> {
    tokens: Tokens<'t, 'py>,
    absent: Option<T>,
    codes: Vec<Option<T>>,
    /// By address; an object that is held keeps its address.
    objects: Vec<Option<(Bound<'py, PyAny>, T)>>,
}

impl<'t, 'py, T: Copy> Known<'t, 'py, T> {
    fn of(table: &'t Table<'py>, column: &str) -> Self {
        let tokens = Tokens::of(table, column);
        Self { tokens, absent: None, codes: Vec::new(), objects: Vec::new() }
    }

    /// What the cell of a row is, which `read` finds out where it is not known yet.
    fn get(&mut self, row: usize, read: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.tokens.at(row) {
            Some(Token::Absent) => match self.absent {
                Some(known) => Ok(known),
                None => Ok(*self.absent.insert(read()?)),
            },
            Some(Token::Code(code)) => {
                if let Some(Some(known)) = self.codes.get(code) {
                    return Ok(*known);
                }
                let found = read()?;
                if code < CODES {
                    if self.codes.len() <= code {
                        self.codes.resize(code + 1, None);
                    }
                    if let Some(known) = self.codes.get_mut(code) {
                        *known = Some(found);
                    }
                }
                Ok(found)
            }
            Some(Token::Object(object)) => {
                let at = (object.as_ptr().addr() >> 4) % OBJECTS;
                if let Some(Some((known, found))) = self.objects.get(at)
                    && known.is(&object)
                {
                    return Ok(*found);
                }
                let found = read()?;
                self.objects.resize_with(OBJECTS, || None);
                if let Some(known) = self.objects.get_mut(at) {
                    *known = Some((object, found));
                }
                Ok(found)
            }
            None => read(),
        }
    }
}

/// The pools of a table's rows, found once for each code of an account, and not again for the account of the row before.
struct Pools<'t, 'py> {
    account: Tokens<'t, 'py>,
    pool: Tokens<'t, 'py>,
    last: Option<(Token<'py>, Token<'py>, PoolPlace)>,
    by_code: Vec<Option<PoolPlace>>,
    by_codes: HashMap<(usize, usize), PoolPlace>,
}

impl<'t, 'py> Pools<'t, 'py> {
    fn of(table: &'t Table<'py>, by_code: Vec<Option<PoolPlace>>) -> Self {
        let tokens = |column| match table.find(column) {
            Some(Cells::Ints(_)) => Tokens::Other,
            _ => Tokens::of(table, column),
        };
        let (account, pool) = (tokens("account"), tokens("pool"));
        Self { account, pool, last: None, by_code, by_codes: HashMap::new() }
    }

    fn known(&self, account: &Token<'py>, pool: &Token<'py>) -> Option<PoolPlace> {
        match (account, pool) {
            (Token::Code(account), Token::Absent) => self.by_code.get(*account).copied().flatten(),
            (Token::Code(account), Token::Code(pool)) => {
                self.by_codes.get(&(*account, *pool)).copied()
            }
            _ => self.last.as_ref().filter(|l| l.0.is(account) && l.1.is(pool)).map(|l| l.2),
        }
    }

    fn get(&mut self, row: usize, read: impl FnOnce() -> Result<PoolPlace>) -> Result<PoolPlace> {
        let (Some(account), Some(pool)) = (self.account.at(row), self.pool.at(row)) else {
            return read();
        };
        if let Some(known) = self.known(&account, &pool) {
            return Ok(known);
        }
        let found = read()?;
        match (&account, &pool) {
            // The code is a place in a list, or it would not have been read.
            (Token::Code(account), Token::Absent) => {
                if self.by_code.len() <= *account {
                    self.by_code.resize(*account + 1, None);
                }
                if let Some(known) = self.by_code.get_mut(*account) {
                    *known = Some(found);
                }
            }
            (Token::Code(account), Token::Code(pool)) => {
                self.by_codes.insert((*account, *pool), found);
            }
            _ => self.last = Some((account, pool, found)),
        }
        Ok(found)
    }
}

/// Where whole numbers come from: what most tables have is read without a look at a cell.
#[derive(Clone, Copy)]
enum Whole<'t> {
    Zero,
    Ints(&'t [i64]),
    Cells,
}

impl<'t> Whole<'t> {
    /// Of `column`, where none of `others` is there.
    fn of(table: &'t Table<'_>, column: &str, others: &[&str]) -> Self {
        let ints = table.find(column).and_then(Cells::ints);
        let alone = others.iter().all(|other| table.find(other).is_none());
        ints.filter(|_| alone).map_or(Whole::Cells, Whole::Ints)
    }

    /// The same, 0 where no column is there.
    fn or_zero(table: &'t Table<'_>, units: &str, quanta: &str) -> Self {
        match (table.find(units), table.find(quanta)) {
            (None, None) => Whole::Zero,
            _ => Whole::of(table, quanta, &[units]),
        }
    }

    fn at(self, row: usize) -> Option<i128> {
        match self {
            Whole::Zero => Some(0),
            Whole::Ints(ints) => ints.get(row).map(|int| i128::from(*int)),
            Whole::Cells => None,
        }
    }
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
    /// The pools by the codes of a list of accounts (its address), which the next table may have too.
    coded: (usize, Vec<Option<PoolPlace>>),
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
        Self {
            venue,
            symbols: symbols.collect(),
            builder,
            entry,
            floats,
            off_grid: Vec::new(),
            coded: (0, Vec::new()),
        }
    }

    /// The portfolio of all rows, and the floats that were off their grid.
    pub(crate) fn read(mut self, tables: &Tables<'_>) -> PyResult<(Portfolio, Vec<OffGrid>)> {
        self.pool_rows(&tables.pools)?;
        self.collateral_rows(&tables.collateral)?;
        self.position_rows(&tables.positions)?;
        self.order_rows(&tables.orders)?;
        let Self { builder, off_grid, coded, .. } = self;
        drop(coded);
        Ok((builder.build().map_err(raise)?, off_grid))
    }

    fn rows<'t, 'py>(
        &mut self,
        table: &'t Table<'py>,
        mut read: impl FnMut(&mut Self, &mut Pools<'t, 'py>, usize) -> Result<()>,
    ) -> PyResult<()> {
        let names = match table.find("account") {
            Some(Cells::Coded(_, names)) => names.as_ptr().addr(),
            _ => 0,
        };
        let (of, coded) = std::mem::take(&mut self.coded);
        let mut pools = Pools::of(table, if of == names { coded } else { Vec::new() });
        for row in 0..table.rows {
            let done = read(self, &mut pools, row);
            done.map_err(|e| raise(e.within(table.name).at_row(row)))?;
        }
        self.coded = (names, pools.by_code);
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

    fn position_rows(&mut self, table: &Table<'_>) -> PyResult<()> {
        let (mut instruments, mut sides) =
            (Known::of(table, "instrument"), Known::of(table, "leg"));
        let lots_of = Whole::of(table, "quantity_lots", &["quantity"]);
        let cost_of = Whole::of(table, "cost_quanta", &["cost", "entry"]);
        let accrued_of = Whole::or_zero(table, "accrued", "accrued_quanta");
        self.builder.reserve(table.rows, 0);
        self.rows(table, |this, pools, row| {
            let (id, instrument) = instruments.get(row, || this.instrument(table, row))?;
            let side = sides.get(row, || Self::side(table, row))?;
            let lots = match lots_of.at(row) {
                Some(lots) => Lots::new(lots, "quantity_lots")?,
                None => this.lots(table, row, instrument)?,
            };
            let cost = match cost_of.at(row) {
                Some(cost) => Quanta::new(cost, "cost_quanta")?,
                None => this.cost(table, row, instrument, lots)?,
            };
            let accrued = if let Some(accrued) = accrued_of.at(row) {
                Quanta::new(accrued, "accrued_quanta")?
            } else {
                let columns = ("accrued", "accrued_quanta");
                this.amount(table, row, columns, instrument.quantum())?
            };
            let pool = pools.get(row, || this.pool(table, row))?;
            this.builder.position(pool, id, side, lots, cost, accrued)
        })
    }

    fn asset(&self, table: &Table<'_>, row: usize) -> Result<AssetId> {
        let named = table.find("asset").map(|c| c.cell(row, "asset")).transpose()?;
        match named.filter(|cell| !cell.is_absent()) {
            Some(cell) => cell.name("asset", |asset| self.venue.find_asset(asset)),
            None => Ok(self.venue.rules().settlement_id),
        }
    }

    fn collateral_rows(&mut self, table: &Table<'_>) -> PyResult<()> {
        let mut assets = Known::of(table, "asset");
        let amount_of = Whole::of(table, "amount_quanta", &["amount"]);
        let interest_of = Whole::or_zero(table, "interest", "interest_quanta");
        self.builder.reserve(0, table.rows);
        self.rows(table, |this, pools, row| {
            let asset = assets.get(row, || this.asset(table, row))?;
            let quantum = this.venue.asset(asset)?.quantum();
            let amount = if let Some(amount) = amount_of.at(row) {
                Quanta::new(amount, "amount_quanta")?
            } else {
                table.one_of("amount", "amount_quanta")?;
                this.amount(table, row, ("amount", "amount_quanta"), quantum)?
            };
            let interest = match interest_of.at(row) {
                Some(interest) => Quanta::new(interest, "interest_quanta")?,
                None => this.amount(table, row, ("interest", "interest_quanta"), quantum)?,
            };
            let pool = pools.get(row, || this.pool(table, row))?;
            this.builder.balance(pool, asset, amount, interest)
        })
    }

    fn order_rows(&mut self, table: &Table<'_>) -> PyResult<()> {
        let (mut instruments, mut sides) =
            (Known::of(table, "instrument"), Known::of(table, "leg"));
        let mut buys = Known::of(table, "side");
        let lots_of = Whole::of(table, "quantity_lots", &["quantity"]);
        let buy = |side: &str| match side {
            "buy" => Ok(true),
            "sell" => Ok(false),
            _ => Err(Error::new(ErrorKind::OutOfRange, "side", side, "must be buy or sell")),
        };
        self.rows(table, |this, pools, row| {
            let (id, instrument) = instruments.get(row, || this.instrument(table, row))?;
            let side = sides.get(row, || Self::side(table, row))?;
            let lots = match lots_of.at(row) {
                Some(lots) => Lots::new(lots, "quantity_lots")?,
                None => this.lots(table, row, instrument)?,
            };
            let read = || table.need("side")?.cell(row, "side")?.name("side", buy);
            let buy = buys.get(row, read)?;
            let pool = pools.get(row, || this.pool(table, row))?;
            this.builder.order(pool, id, side, buy, lots)
        })
    }

    fn pool_rows(&mut self, table: &Table<'_>) -> PyResult<()> {
        let (mut kinds, mut modes) = (Known::of(table, "kind"), Known::of(table, "mode"));
        let (mut instruments, mut leverages) =
            (Known::of(table, "instrument"), Known::of(table, "leverage"));
        let given = |column: &str, row: usize| -> Result<Option<Cell<'_>>> {
            let cell = table.find(column).map(|c| c.cell(row, column)).transpose()?;
            Ok(cell.filter(|c| !c.is_absent()))
        };
        let mode = |mode: &str| match mode {
            "single" => Ok(false),
            "multi" => Ok(true),
            _ => Err(Error::new(ErrorKind::OutOfRange, "mode", mode, "must be single or multi")),
        };
        self.rows(table, |this, pools, row| {
            let kind = kinds.get(row, || {
                given("kind", row)?.map(|c| c.name("kind", PoolKind::from_name)).transpose()
            })?;
            let leverage = leverages
                .get(row, || given("leverage", row)?.map(|c| c.rate("leverage")).transpose())?;
            let id = instruments.get(row, || match given("instrument", row)? {
                Some(_) => Ok(Some(this.instrument(table, row)?.0)),
                None => Ok(None),
            })?;
            let multi = modes
                .get(row, || given("mode", row)?.map(|c| c.name("mode", mode)).transpose())?;
            let pool = pools.get(row, || this.pool(table, row))?;
            if let Some(kind) = kind {
                this.builder.kind(pool, kind)?;
            }
            if let Some(multi) = multi {
                this.builder.multi(pool, multi)?;
            }
            match leverage {
                Some(leverage) => this.builder.leverage(pool, id, leverage),
                None if kind.is_some() || multi.is_some() => Ok(()),
                None => {
                    let limit =
                        "a row of this table declares a kind, a mode, a leverage or several of them";
                    Err(Error::new(ErrorKind::BadColumn, "kind", "nothing", limit))
                }
            }
        })
    }
}

//! `Books`: many books packed into columns, for walks of all of them.

use std::collections::HashMap;
use std::iter::repeat_n;
use std::sync::{Arc, RwLock};

use aivora::data::{self, SideColumns};
use aivora::execution;
use aivora::numbers::{Error, ErrorKind};
use numpy::{IntoPyArray, PyArray1};
use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt};

use crate::book::{Book, broken, columns, guarded, int64, side_of};
use crate::convert::shown;
use crate::errors::raise;
use crate::instrument::Instrument;

/// Many books packed into columns, for walks of all of them at once.
///
/// `Book` is for one market as it changes; `Books` for many at a time: recorded snapshots,
/// scenarios, the books of every market. It holds a copy: a change of a `Book` it was made from
/// changes nothing here, until `replace` says so. All books are of linear contracts.
///
/// Parameters
/// ----------
/// books : sequence of Book
///     Books of any instruments; row ``n`` is the ``n``-th.
///
/// Raises
/// ------
/// TableError
///     ``bad_column`` naming the row of a book whose contract is not linear.
///
/// Examples
/// --------
/// >>> import aivora_core as ac, numpy as np
/// >>> venue = ac.Venue.load("demo")
/// >>> made = [ac.Book(venue[s], asks=[("20", "1"), ("21", "9")]) for s in ("BTC", "ETH")]
/// >>> books = ac.Books(made)
/// >>> len(books)
/// 2
/// >>> books.walk("buy", np.array([1000, 5000]))["filled_lots"]
/// array([1000, 5000])
#[pyclass(frozen, module = "aivora_core._core")]
pub(crate) struct Books {
    /// One for each instrument of the core's table, in its order.
    instruments: Vec<Py<Instrument>>,
    state: RwLock<data::Books>,
}

/// The columns of one side, copied.
#[derive(Default)]
struct Columns {
    offsets: Vec<i64>,
    price_ticks: Vec<i64>,
    quantity_lots: Vec<i64>,
}

impl Columns {
    const NAMES: [&'static str; 3] = ["offsets", "price_ticks", "quantity_lots"];

    fn read(side: &Bound<'_, PyDict>, name: &str) -> PyResult<Self> {
        for key in side.keys() {
            if !key.extract::<&str>().is_ok_and(|key| Self::NAMES.contains(&key)) {
                let limit = format!("known columns are {}", Self::NAMES.join(", "));
                return Err(raise(Error::new(ErrorKind::BadColumn, name, shown(&key), limit)));
            }
        }
        let column = |column: &str| {
            let value = side.get_item(column)?.ok_or_else(|| {
                let field = format!("{name}.{column}");
                raise(Error::new(ErrorKind::BadColumn, field, "nothing", "this column is required"))
            })?;
            int64(&value, column).map_err(|error| raise(error.within(name)))
        };
        let [offsets, price_ticks, quantity_lots] = Self::NAMES.map(column);
        Ok(Self { offsets: offsets?, price_ticks: price_ticks?, quantity_lots: quantity_lots? })
    }

    fn side(&self) -> SideColumns<'_> {
        SideColumns {
            offsets: &self.offsets,
            price_ticks: &self.price_ticks,
            quantity_lots: &self.quantity_lots,
        }
    }
}

impl Books {
    /// Keeps of the instruments given, row by row, one for each that the core keeps.
    fn made(books: data::Books, given: Vec<Py<Instrument>>) -> PyResult<Self> {
        let mut by_pointer = HashMap::new();
        for instrument in given {
            by_pointer.entry(Arc::as_ptr(&instrument.get().shared()?)).or_insert(instrument);
        }
        let own = books.instruments().iter().map(Arc::as_ptr);
        let kept = own.map(|own| by_pointer.remove(&own)).collect::<Option<_>>();
        let kept = kept.ok_or_else(broken)?;
        Ok(Self { instruments: kept, state: RwLock::new(books) })
    }

    fn row(&self, row: isize) -> PyResult<usize> {
        let len = self.__len__()?;
        let place = if row < 0 { row.checked_add_unsigned(len) } else { Some(row) };
        let place = place.and_then(|place| usize::try_from(place).ok()).filter(|p| *p < len);
        place.ok_or_else(|| PyIndexError::new_err(format!("row {row} of {len} books")))
    }
}

#[pymethods]
impl Books {
    #[new]
    #[allow(clippy::needless_pass_by_value)] // a call from Python hands over what it extracted
    fn new(py: Python<'_>, books: Vec<Py<Book>>) -> PyResult<Self> {
        let packed = py.detach(|| {
            guarded(|| {
                // One lock at a time: the same book may stand in two rows.
                let locked = books
                    .iter()
                    .map(|book| book.get().state.lock().map_err(|_| Error::invariant("book")));
                data::Books::from_books(locked).map_err(raise)
            })
        })?;
        let instruments = books.iter().map(|book| book.get().instrument.clone_ref(py)).collect();
        Self::made(packed, instruments)
    }

    /// Books from columns: book ``n`` of a side has the levels from ``offsets[n]`` to
    /// ``offsets[n + 1]``, best first.
    ///
    /// Parameters
    /// ----------
    /// instrument : Instrument or sequence of Instrument, length n
    ///     What is traded: one for all, or one for each book.
    /// bids, asks : dict of str to array of int64, optional
    ///     ``offsets``, shape (n + 1,); ``price_ticks`` and ``quantity_lots``, one row a level, in
    ///     price ticks and lots. A side that is not given is empty in every book.
    ///
    /// Returns
    /// -------
    /// Books
    ///     Held to the same rules as a snapshot of a `Book`.
    ///
    /// Raises
    /// ------
    /// BookError
    ///     ``unsorted_book``, ``crossed_book``; the row is the book, the level stands in the field.
    /// NumberError
    ///     ``out_of_range`` for a quantity or an offset; ``overflow``.
    /// PriceError
    ///     ``bad_price`` at or below zero.
    /// TableError
    ///     ``length_mismatch``, or ``bad_column`` for another kind of array, and for an instrument
    ///     whose contract is not linear.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac, numpy as np
    /// >>> asks = {
    /// ...     "offsets": np.array([0, 2, 3]),
    /// ...     "price_ticks": np.array([640_010, 640_025, 640_011]),
    /// ...     "quantity_lots": np.array([700, 2_000, 50]),
    /// ... }
    /// >>> books = ac.Books.from_columns(ac.Venue.load("demo")["BTC"], asks=asks)
    /// >>> books.walk("buy", 1_500)["levels"]
    /// array([2, 1])
    #[staticmethod]
    #[pyo3(signature = (instrument, bids=None, asks=None))]
    fn from_columns(
        py: Python<'_>,
        instrument: &Bound<'_, PyAny>,
        bids: Option<&Bound<'_, PyDict>>,
        asks: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let instruments = match instrument.extract::<Py<Instrument>>() {
            Ok(one) => vec![one],
            Err(_) => instrument.extract::<Vec<Py<Instrument>>>()?,
        };
        let shared = instruments.iter().map(|i| i.get().shared()).collect::<PyResult<Vec<_>>>()?;
        let read = |side: Option<&Bound<'_, PyDict>>, name: &str| {
            side.map(|side| Columns::read(side, name)).transpose()
        };
        let (bids, asks) = (read(bids, "bids")?, read(asks, "asks")?);
        let given = bids.as_ref().or(asks.as_ref()).map_or(1, |side| side.offsets.len());
        let empty = || Columns { offsets: vec![0; given], ..Columns::default() };
        let (bids, asks) = (bids.unwrap_or_else(empty), asks.unwrap_or_else(empty));
        let books = py.detach(|| {
            guarded(|| data::Books::from_columns(&shared, bids.side(), asks.side()).map_err(raise))
        })?;
        Self::made(books, instruments)
    }

    /// What a market order would take from each book: the same numbers as `Book.walk`, as columns.
    ///
    /// The interpreter is free while it runs.
    ///
    /// Parameters
    /// ----------
    /// side : {"buy", "sell"}
    ///     A buy walks the asks, a sell the bids.
    /// quantity_lots : int or array of int64, shape (n,)
    ///     Whole lots: one quantity for all, or one for each book.
    /// threads : int, default 1
    ///     Threads that share the work, 1 to 256. The result does not depend on it.
    /// fee : bool, default False
    ///     Whether the fee of each row is computed too.
    ///
    /// Returns
    /// -------
    /// dict of str to array of int64, shape (n,)
    ///     As `Book.walk_many`. A fee that is not known is -1, and the column None where none is
    ///     known.
    ///
    /// Raises
    /// ------
    /// TableError
    ///     ``length_mismatch``, or ``bad_column`` for another kind of array.
    /// NumberError
    ///     ``out_of_range`` for the threads, or naming the row.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> book = ac.Book(ac.Venue.load("demo")["BTC"], asks=[("64001", "0.7"), ("64002.5", "2")])
    /// >>> ac.Books([book, book]).walk("buy", 1_500)["cost_quanta"]
    /// array([96002700000, 96002700000])
    #[pyo3(signature = (side, quantity_lots, threads=1, *, fee=false))]
    fn walk<'py>(
        &self,
        py: Python<'py>,
        side: &Bound<'_, PyAny>,
        quantity_lots: &Bound<'_, PyAny>,
        threads: i64,
        fee: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let side = side_of(side)?;
        let lots = if let Ok(int) = quantity_lots.cast::<PyInt>() {
            // Past 64 bits it is past the bound all the same.
            let lots = int.extract::<i64>().unwrap_or(i64::MAX);
            repeat_n(lots, self.__len__()?).collect()
        } else {
            int64(quantity_lots, "quantity_lots").map_err(raise)?
        };
        let threads = usize::try_from(threads).unwrap_or(0); // 0 is refused by the core, with its limit
        let walks = py.detach(|| {
            guarded(|| {
                let books = self.state.read().map_err(|_| broken())?;
                let walks = execution::walk_packed(&books, side, lots, threads).map_err(raise)?;
                let instruments = books.instruments();
                let fees = fee.then(|| {
                    let of = books.instrument_of().iter();
                    let own = |of: &u32| instruments.get(usize::try_from(*of).ok()?);
                    walks.fees(of.filter_map(own).map(|instrument| &**instrument))
                });
                Ok((walks, fees))
            })
        });
        columns(py, walks?)
    }

    /// Replaces one book's levels by those of a `Book`, in the room that the row has.
    ///
    /// A side has room for as many levels as it was packed with.
    ///
    /// Parameters
    /// ----------
    /// row : int
    ///     Which book; from the end below zero.
    /// book : Book
    ///     The new levels; of the same instrument.
    ///
    /// Raises
    /// ------
    /// LimitExceeded
    ///     ``limit_exceeded`` for more levels than there is room for; nothing is changed.
    /// TableError
    ///     ``bad_column`` for a book of another instrument.
    /// IndexError
    ///     There is no such row.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> book = ac.Book(ac.Venue.load("demo")["BTC"], asks=[("64001", "0.7"), ("64002.5", "2")])
    /// >>> books = ac.Books([book, book])
    /// >>> book.delta(asks=[("64001", "0.2")])
    /// >>> books.replace(1, book)
    /// >>> books.walk("buy", 1_500)["filled_lots"], books.walk("buy", 1_500)["levels"]
    /// (array([1500, 1500]), array([2, 2]))
    fn replace(&self, py: Python<'_>, row: isize, book: &Bound<'_, Book>) -> PyResult<()> {
        let row = self.row(row)?;
        let book = book.get().copy(py)?;
        py.detach(|| {
            guarded(|| {
                let mut books = self.state.write().map_err(|_| broken())?;
                books.replace(row, &book).map_err(raise)
            })
        })
    }

    /// How many levels each book has on each side: ``bids`` and ``asks``, arrays of int64.
    ///
    /// Examples
    /// --------
    /// >>> import aivora_core as ac
    /// >>> book = ac.Book(ac.Venue.load("demo")["BTC"], asks=[("64001", "0.7"), ("64002.5", "2")])
    /// >>> ac.Books([book]).depths()
    /// {'bids': array([0]), 'asks': array([2])}
    fn depths<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let books = self.state.read().map_err(|_| broken())?;
        let depths = PyDict::new(py);
        for (name, side) in [("bids", data::Side::Sell), ("asks", data::Side::Buy)] {
            let heads = books.taken_by(side).heads().iter();
            let column: Bound<'_, PyArray1<i64>> =
                heads.map(data::books::Head::depth).collect::<Vec<_>>().into_pyarray(py);
            depths.set_item(name, column)?;
        }
        Ok(depths)
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(self.state.read().map_err(|_| broken())?.len())
    }

    /// One book by itself, as a `Book` of its own.
    fn __getitem__(&self, py: Python<'_>, row: isize) -> PyResult<Book> {
        let row = self.row(row)?;
        let (book, of) = {
            let books = self.state.read().map_err(|_| broken())?;
            let of = books.instrument_of().get(row).copied().unwrap_or(0);
            (books.book(row).map_err(raise)?, usize::try_from(of).unwrap_or(0))
        };
        let instrument = self.instruments.get(of).ok_or_else(broken)?.clone_ref(py);
        Book::holding(instrument, book)
    }

    fn __repr__(&self) -> PyResult<String> {
        let books = self.state.read().map_err(|_| broken())?;
        Ok(format!("<Books: {} of {} instruments>", books.len(), books.instruments().len()))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(format!(
            "cannot pickle 'Books' of {} books: rows are replaced in place, and a copy's would not \
             be; pickle the columns they were made from",
            self.__len__()?
        )))
    }
}

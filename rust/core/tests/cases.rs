//! The case files of `tests/cases`, on the Rust API. `docs/reference/case-file.md` is their format.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aivora::data::{AssetId, Book, FORMULAS, Instrument, Level, Side, Venue};
use aivora::execution::{
    Within, formula, max_quantity, walk, walk_notional, withdrawable_after_exits,
};
use aivora::margin::{
    Flip, LegSide, PoolId, PoolKey, PoolKind, PoolPlace, Portfolio, PortfolioBuilder,
};
use aivora::margin::{Holdings, Report, Status};
use aivora::numbers::{Decimal, Error, ErrorKind, Quanta, Rate, Result, Rounding, decimal, rate};
use aivora::pricing::Prices;
use serde_json::Value;

/// An exact number: `num / den`, reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Number {
    num: i128,
    den: i128,
}

impl Number {
    fn new(num: i128, den: i128) -> Self {
        let divisor = rate::gcd(num.abs(), den).max(1);
        Self { num: num / divisor, den: den / divisor }
    }

    fn parse(text: &str) -> Self {
        if let Some((num, den)) = text.split_once('/') {
            return Self::new(num.parse().unwrap(), den.parse().unwrap());
        }
        Self::from(Decimal::parse(text, "value").unwrap())
    }

    fn plus(self, other: Self) -> Self {
        let num = self.num.checked_mul(other.den).unwrap();
        let num = num.checked_add(other.num.checked_mul(self.den).unwrap()).unwrap();
        Self::new(num, self.den.checked_mul(other.den).unwrap())
    }

    fn is_within(self, tolerance: Self, of: Self) -> bool {
        let distance = self.plus(Self { num: -of.num, den: of.den });
        let left = distance.num.abs().checked_mul(tolerance.den).unwrap();
        left <= tolerance.num.checked_mul(distance.den).unwrap()
    }
}

impl From<Decimal> for Number {
    fn from(value: Decimal) -> Self {
        Self::new(value.mantissa(), decimal::pow10(value.scale()).unwrap())
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self { num: i128::from(value), den: 1 }
    }
}

/// What comes out of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Number(Number),
    Word(String),
    Flag(bool),
    Nothing,
}

impl<T: Into<Number>> From<T> for Answer {
    fn from(value: T) -> Self {
        Self::Number(value.into())
    }
}

fn or_nothing<T: Into<Number>>(value: Option<T>) -> Answer {
    value.map_or(Answer::Nothing, Answer::from)
}

/// Where an input is refused, and with which code.
type Refusal = (&'static str, String);

fn at<T>(stage: &'static str, result: Result<T>) -> std::result::Result<T, Refusal> {
    result.map_err(|error: Error| (stage, error.kind().code().to_owned()))
}

/// All that a case gives, read.
struct World {
    venue: Arc<Venue>,
    portfolio: Portfolio,
    prices: Prices,
    report: Report,
    books: BTreeMap<String, Book>,
}

fn rows<'a>(given: &'a Value, table: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    given[table].as_array().into_iter().flatten()
}

fn place(builder: &mut PortfolioBuilder, row: &Value) -> Result<PoolPlace> {
    builder.pool(key(row))
}

fn key(row: &Value) -> PoolKey<'_> {
    let pool = row["pool"].as_str().unwrap_or("cross");
    PoolKey { account: row["account"].as_str().unwrap(), pool }
}

fn side_of(row: &Value) -> Result<LegSide> {
    LegSide::from_name(row["leg"].as_str().unwrap_or("net"))
}

fn exact(row: &Value, name: &str) -> Result<Decimal> {
    Decimal::parse(row[name].as_str().unwrap_or("0"), name)
}

fn quanta(row: &Value, name: &str, quantum: Decimal) -> Result<Quanta> {
    Quanta::new(exact(row, name)?.whole(quantum, name)?, name)
}

fn read_venue(given: &Value) -> Result<Venue> {
    match given["venue"].as_str() {
        Some(name) => Venue::builtin(name),
        None => Venue::from_tree(&given["card"]),
    }
}

fn read_portfolio(given: &Value, venue: &Arc<Venue>) -> Result<Portfolio> {
    let rounding =
        if given["entry_rounding"].is_string() { Rounding::Ceil } else { Rounding::Exact };
    let mut builder = PortfolioBuilder::new(Arc::clone(venue));
    for row in rows(given, "pools") {
        let pool = place(&mut builder, row)?;
        if let Some(kind) = row["kind"].as_str() {
            builder.kind(pool, PoolKind::from_name(kind)?)?;
        }
        if let Some(mode) = row["mode"].as_str() {
            builder.multi(pool, mode == "multi")?;
        }
        if let Some(leverage) = row["leverage"].as_str() {
            let id = row["instrument"].as_str().map(|symbol| venue.find(symbol)).transpose()?;
            builder.leverage(pool, id, Rate::parse(leverage, "leverage")?)?;
        }
    }
    for row in rows(given, "collateral") {
        let pool = place(&mut builder, row)?;
        let asset = match row["asset"].as_str() {
            Some(name) => venue.find_asset(name)?,
            None => venue.rules().settlement_id,
        };
        let quantum = venue.asset(asset)?.quantum();
        let (amount, interest) =
            (quanta(row, "amount", quantum)?, quanta(row, "interest", quantum)?);
        builder.balance(pool, asset, amount, interest)?;
    }
    for row in rows(given, "positions") {
        let pool = place(&mut builder, row)?;
        let id = venue.find(row["instrument"].as_str().unwrap())?;
        let instrument = venue.instrument(id)?;
        let lots = instrument.quantity(exact(row, "quantity")?, "quantity")?;
        let cost = if row["entry"].is_string() {
            Quanta::new(instrument.cost(lots, exact(row, "entry")?, rounding, "entry")?, "entry")?
        } else {
            quanta(row, "cost", instrument.quantum())?
        };
        let accrued = quanta(row, "accrued", instrument.quantum())?;
        builder.position(pool, id, side_of(row)?, lots, cost, accrued)?;
    }
    for row in rows(given, "orders") {
        let pool = place(&mut builder, row)?;
        let id = venue.find(row["instrument"].as_str().unwrap())?;
        let lots = venue.instrument(id)?.quantity(exact(row, "quantity")?, "quantity")?;
        let buy = Side::from_name(row["side"].as_str().unwrap())? == Side::Buy;
        builder.order(pool, id, side_of(row)?, buy, lots)?;
    }
    builder.build()
}

fn read_prices(given: &Value, venue: &Arc<Venue>) -> Result<Prices> {
    let mut prices = Prices::new(Arc::clone(venue));
    for (symbol, mark) in given["prices"]["mark"].as_object().into_iter().flatten() {
        let id = venue.find(symbol)?;
        let mark = Decimal::parse(mark.as_str().unwrap(), "mark")?;
        prices.set_mark(id, venue.instrument(id)?.mark(mark, "mark")?)?;
    }
    for (name, price) in given["prices"]["asset"].as_object().into_iter().flatten() {
        let id = venue.find_asset(name)?;
        let price = Decimal::parse(price.as_str().unwrap(), "asset")?;
        prices.set_asset(id, venue.asset(id)?.price(price, "asset")?)?;
    }
    Ok(prices)
}

fn read_books(given: &Value, venue: &Venue) -> Result<BTreeMap<String, Book>> {
    let mut books = BTreeMap::new();
    for (symbol, sides) in given["books"].as_object().into_iter().flatten() {
        let mut book = Book::new(Arc::new(venue.get(symbol)?.clone()));
        let instrument = Arc::clone(book.instrument());
        let part = |text: &Value, name| Decimal::parse(text.as_str().unwrap(), name);
        let level = |pair: &Value| -> Result<Level> {
            Ok(Level {
                price: instrument.price(part(&pair[0], "price")?, "price")?,
                quantity: instrument.quantity(part(&pair[1], "quantity")?, "quantity")?,
            })
        };
        let bids = rows(sides, "bids").map(level).collect::<Result<Vec<_>>>()?;
        let asks = rows(sides, "asks").map(level).collect::<Result<Vec<_>>>()?;
        book.snapshot(&bids, &asks, None)?;
        books.insert(symbol.clone(), book);
    }
    Ok(books)
}

impl World {
    fn read(given: &Value) -> std::result::Result<Self, Refusal> {
        let venue = Arc::new(at("card", read_venue(given))?);
        let portfolio = at("portfolio", read_portfolio(given, &venue))?;
        let prices = at("prices", read_prices(given, &venue))?;
        let report = at("check", portfolio.check(&prices, 1))?;
        let books = at("book", read_books(given, &venue))?;
        Ok(Self { venue, portfolio, prices, report, books })
    }

    fn pool_of(&self, of: &Value) -> Result<PoolId> {
        let PoolKey { account, pool } = key(of);
        self.portfolio.find(account, pool)
    }

    fn instrument_of(&self, of: &Value) -> Result<&Instrument> {
        self.venue.get(of["instrument"].as_str().unwrap())
    }

    fn asset_of(&self, of: &Value) -> Result<AssetId> {
        self.venue.find_asset(of["asset"].as_str().unwrap())
    }

    fn amount(&self, asset: AssetId, quanta: i128) -> Answer {
        self.venue.amount(asset, quanta).unwrap().into()
    }

    fn pool(&self, what: &str, of: &Value) -> Result<Answer> {
        let id = self.pool_of(of)?;
        let row = self.portfolio.assess(id, &self.prices)?;
        let place = id.index();
        let packed = (self.report.equity.get(place), self.report.initial.get(place));
        assert_eq!(packed, (Some(row.equity), Some(row.initial)), "the check and one pool differ");
        assert_eq!(self.report.maintenance.get(place), Some(row.maintenance));
        assert_eq!(self.report.liquidatable[place], row.liquidatable);
        let status = Status::ALL[usize::from(self.report.status[place])];
        let asset = self.portfolio.head(id)?.asset;
        Ok(match what {
            "asset" => Answer::Word(self.venue.asset(asset)?.name().to_owned()),
            "equity" => self.amount(asset, row.equity),
            "initial" => self.amount(asset, row.initial),
            "maintenance" => self.amount(asset, row.maintenance),
            "buffer" => self.amount(asset, row.equity - row.maintenance),
            "status" => Answer::Word(status.name().to_owned()),
            "liquidatable" => Answer::Flag(row.liquidatable),
            "ratio_ppm" => row.ratio_ppm().into(),
            "distance_ppm" => row.distance_ppm().into(),
            _ => panic!("unknown question {what}"),
        })
    }

    fn leg(&self, what: &str, of: &Value) -> Result<Answer> {
        let side = side_of(of)?;
        let explained = self.portfolio.explain(self.pool_of(of)?, &self.prices)?;
        let mut lines = explained.legs.iter();
        let line = lines.find(|l| of["instrument"] == l.symbol && l.leg.side == side);
        let m = &line.expect("the leg of a question").margin;
        let instrument = self.instrument_of(of)?;
        let quantum = Number::from(instrument.quantum());
        let deduction = m.terms.deduction_num * quantum.num;
        let asset = instrument.settlement();
        Ok(match what {
            "value" => self.amount(asset, m.value),
            "pnl" => self.amount(asset, m.pnl),
            "notional" => self.amount(asset, m.notional),
            "leg_initial" => self.amount(asset, m.initial),
            "leg_maintenance" => self.amount(asset, m.maintenance),
            "maintenance_rate" => Number::new(m.terms.maintenance_num, m.terms.den).into(),
            _ => Number::new(deduction, m.terms.den * quantum.den).into(),
        })
    }

    fn flip(&self, what: &str, of: &Value) -> Result<Answer> {
        let id = self.venue.find(of["instrument"].as_str().unwrap())?;
        let instrument = self.venue.instrument(id)?;
        let found = self.portfolio.liquidation_price(self.pool_of(of)?, id, &self.prices)?;
        let flip = if what.ends_with("below") { found.below } else { found.above };
        let Some(Flip { mark, price, liquidatable }) = flip else {
            return Ok(Answer::Nothing);
        };
        let becomes = if liquidatable { "liquidatable" } else { "safe" };
        Ok(if what.contains("becomes") {
            Answer::Word(becomes.to_owned())
        } else {
            let ticks = if what.contains("mark") { mark } else { price };
            or_nothing(instrument.mark_price(ticks))
        })
    }

    fn bankruptcy(&self, what: &str, of: &Value) -> Result<Answer> {
        let id = self.venue.find(of["instrument"].as_str().unwrap())?;
        let (pool, side) = (self.pool_of(of)?, side_of(of)?);
        let found = self.portfolio.bankruptcy_price(pool, id, side, &self.prices)?;
        let instrument = self.venue.instrument(id)?;
        let asset = instrument.settlement();
        Ok(match what {
            "allotted" => self.amount(asset, found.allotted),
            "bankruptcy_quote" => self.amount(asset, found.quote),
            "bankruptcy_reason" => match (found.price, found.unbounded) {
                (Some(_), _) => Answer::Nothing,
                (None, true) => Answer::Word("no_finite_price".to_owned()),
                (None, false) => Answer::Word("no_positive_price".to_owned()),
            },
            _ => or_nothing(found.price.and_then(|ticks| instrument.order_price(ticks))),
        })
    }

    fn asset(&self, what: &str, of: &Value) -> Result<Answer> {
        let (pool, own) = (self.pool_of(of)?, self.asset_of(of)?);
        let counted = self.portfolio.head(pool)?.asset;
        let rows = self.portfolio.assets(pool, &self.prices)?;
        let row = rows.iter().find(|row| row.balance.asset == own).expect("an asset of the pool");
        Ok(match what {
            "asset_pnl" => self.amount(own, row.pnl),
            "asset_equity" => self.amount(own, row.equity),
            "asset_initial" => self.amount(own, row.initial),
            "asset_maintenance" => self.amount(own, row.maintenance),
            "asset_value" => self.amount(counted, row.value),
            "asset_initial_value" => self.amount(counted, row.initial_value),
            "asset_maintenance_value" => self.amount(counted, row.maintenance_value),
            _ => panic!("unknown question {what}"),
        })
    }

    fn withdrawal(&self, what: &str, of: &Value) -> Result<Answer> {
        let (pool, asset) = (self.pool_of(of)?, self.asset_of(of)?);
        let (portfolio, prices) = (&self.portfolio, &self.prices);
        let found = if of["exit"].is_string() {
            withdrawable_after_exits(portfolio, pool, asset, prices, |id| {
                let symbol = self.venue.instrument(id)?.symbol();
                let missing = || Error::new(ErrorKind::MissingPrice, "books", symbol, "needed");
                self.books.get(symbol).ok_or_else(missing)
            })?
        } else {
            portfolio.withdrawable(pool, asset, prices, &[])?
        };
        Ok(match what {
            "withdrawable" => self.amount(asset, found.amount),
            "withdrawal_equity" => self.amount(portfolio.head(pool)?.asset, found.equity),
            _ => Answer::Word(found.binding.name().to_owned()),
        })
    }

    fn interest(&self, what: &str, of: &Value) -> Result<Answer> {
        let id = self.venue.find(of["instrument"].as_str().unwrap())?;
        let found = self.portfolio.open_interest()?[id.index()];
        let lots = match what {
            "open_interest_long" => found.long,
            "open_interest_short" => found.short,
            _ => found.long - found.short,
        };
        Ok(or_nothing(self.venue.instrument(id)?.size(i64::try_from(lots).unwrap())))
    }

    fn walk(&self, what: &str, of: &Value) -> Result<Answer> {
        let book = &self.books[of["instrument"].as_str().unwrap()];
        let instrument = book.instrument();
        let side = Side::from_name(of["side"].as_str().unwrap())?;
        let limit = if of["limit"].is_string() {
            Some(instrument.price(exact(of, "limit")?, "limit")?)
        } else {
            None
        };
        let found = if of["quantity"].is_string() {
            walk(book, side, instrument.quantity(exact(of, "quantity")?, "quantity")?, limit)?
        } else {
            let notional = quanta(of, "notional", instrument.quantum())?;
            walk_notional(book, side, notional, limit)?
        };
        let asset = instrument.settlement();
        Ok(match what {
            "walk_filled" => or_nothing(instrument.size(found.filled().get())),
            "walk_unfilled" => or_nothing(instrument.size(found.unfilled().get())),
            "walk_cost" => self.amount(asset, found.cost().get()),
            "walk_fee" => found.fee().map_or(Answer::Nothing, |fee| self.amount(asset, fee.get())),
            "walk_worst" => {
                or_nothing(found.worst().and_then(|worst| instrument.order_price(worst.get())))
            }
            _ => or_nothing(found.vwap(instrument.price_tick())?),
        })
    }

    fn max_quantity(&self, of: &Value) -> Result<Answer> {
        let book = &self.books[of["instrument"].as_str().unwrap()];
        let side = Side::from_name(of["side"].as_str().unwrap())?;
        let within = if of["slippage_bps"].is_string() {
            Within::SlippageBps(exact(of, "slippage_bps")?)
        } else if of["cost"].is_string() {
            Within::Cost(quanta(of, "cost", book.instrument().quantum())?)
        } else {
            Within::Limit(book.instrument().price(exact(of, "limit")?, "limit")?)
        };
        let lots = max_quantity(book, side, within)?;
        Ok(or_nothing(book.instrument().size(lots.get())))
    }

    /// What a leg and its pool give a formula, as texts.
    fn inputs_of_leg(&self, of: &Value) -> Result<BTreeMap<String, String>> {
        let (id, side) = (self.pool_of(of)?, side_of(of)?);
        let explained = self.portfolio.explain(id, &self.prices)?;
        let symbol = of["instrument"].as_str().unwrap();
        let mut lines = explained.legs.iter();
        let line = lines.find(|l| l.symbol == symbol && l.leg.side == side);
        let line = line.ok_or_else(|| Error::new(ErrorKind::UnknownLeg, "leg", symbol, ""))?;
        let instrument = self.venue.get(symbol)?;
        let pool = self.portfolio.assess(id, &self.prices)?;
        let head = self.portfolio.head(id)?.asset;
        let amount = |asset, quanta| self.venue.amount(asset, quanta).unwrap().to_string();
        let own = instrument.settlement();
        let lots = line.leg.lots;
        let value = line.margin.notional * i128::from(lots.signum());
        let terms = &line.margin.terms;
        let mark = self.prices.mark(self.venue.find(symbol)?).unwrap().get();
        let mark = instrument.mark_price(mark).unwrap().to_string();
        let texts = [
            ("instrument", symbol.to_owned()),
            ("equity", amount(head, pool.equity)),
            ("maintenance", amount(head, pool.maintenance)),
            ("shortage", amount(head, (pool.maintenance - pool.equity).max(0))),
            ("value", amount(own, value)),
            ("quantity", instrument.size(lots).unwrap().to_string()),
            ("leg_maintenance", amount(own, line.margin.maintenance)),
            ("rate", format!("{}/{}", terms.maintenance_num, terms.den)),
            ("price", mark.clone()),
            ("mark", mark),
        ];
        Ok(texts.map(|(key, text)| (key.to_owned(), text)).into())
    }

    fn formula(&self, of: &Value) -> Result<Answer> {
        let name = of["formula"].as_str().unwrap();
        let mut inputs = BTreeMap::new();
        if of["account"].is_string() {
            let own = FORMULAS.iter().find(|own| own.name == name).unwrap();
            inputs = self.inputs_of_leg(of)?;
            inputs.retain(|key, _| own.inputs().any(|known| known == key));
        }
        let of_leg = ["formula", "stage", "account", "pool", "leg"];
        for (key, text) in of.as_object().unwrap() {
            let is_known = key == "instrument" && of["account"].is_string();
            if !is_known && !of_leg.contains(&key.as_str()) {
                inputs.insert(key.clone(), text.as_str().unwrap().to_owned());
            }
        }
        let pairs = inputs.iter().map(|(key, text)| (key.as_str(), text.as_str()));
        Ok(Answer::Number(Number::parse(&formula(&self.venue, name, pairs)?.to_string())))
    }

    fn answer(&self, what: &str, of: &Value) -> std::result::Result<Answer, Refusal> {
        if what == "formula" {
            return at("formula", self.formula(of));
        }
        let words: Vec<&str> = what.split('_').collect();
        match words[0] {
            "liquidation" => at("check", self.flip(what, of)),
            "bankruptcy" | "allotted" => at("check", self.bankruptcy(what, of)),
            "value" | "pnl" | "notional" | "leg" | "deduction" => at("check", self.leg(what, of)),
            "withdrawable" | "withdrawal" => at("check", self.withdrawal(what, of)),
            "open" => at("check", self.interest(what, of)),
            "asset" if what != "asset" => at("check", self.asset(what, of)),
            "walk" => at("book", self.walk(what, of)),
            "max" => at("book", self.max_quantity(of)),
            _ if what == "maintenance_rate" => at("check", self.leg(what, of)),
            _ => at("check", self.pool(what, of)),
        }
    }
}

/// Whether an answer is the one that is expected.
fn is_met(expected: &Value, answer: &Answer) -> bool {
    let tolerance = expected["tolerance"].as_str().map_or(Number::from(0), Number::parse);
    match (&expected["value"], answer) {
        (Value::Null, Answer::Nothing) => true,
        (Value::Bool(wanted), Answer::Flag(flag)) => wanted == flag,
        (Value::String(wanted), Answer::Word(word)) => wanted == word,
        (Value::String(wanted), Answer::Number(number)) => {
            number.is_within(tolerance, Number::parse(wanted))
        }
        _ => false,
    }
}

/// The stage and the code with which a case is refused, its question to a book included.
fn refusal(given: &Value, of: &Value) -> Option<Refusal> {
    let world = match World::read(given) {
        Ok(world) => world,
        Err(refused) => return Some(refused),
    };
    if of["stage"] == "formula" {
        return world.answer("formula", of).err();
    }
    if of["account"].is_string() {
        return world.answer("withdrawable", of).err();
    }
    let walked = of["quantity"].is_string() || of["notional"].is_string();
    let what = if walked { "walk_filled" } else { "max_quantity" };
    of["side"].is_string().then(|| world.answer(what, of).err()).flatten()
}

/// Every expectation of a case that is not met.
fn failures(case: &Value) -> Vec<String> {
    let (given, expect) = (&case["given"], case["expect"].as_array().unwrap());
    assert_eq!(case["schema"], "aivora-case/0");
    assert_eq!(case["when"], Value::Array(Vec::new()), "there are no events in this version");
    assert!(!expect.is_empty());
    if let [one] = expect.as_slice()
        && one["what"] == "error"
    {
        let found = refusal(given, &one["of"]);
        let stage = one["of"]["stage"].as_str().unwrap();
        let met = found.as_ref().is_some_and(|(at, code)| *at == stage && one["value"] == *code);
        return if met { Vec::new() } else { vec![format!("{one}: {found:?}")] };
    }
    let world = match World::read(given) {
        Ok(world) => world,
        Err(refused) => return expect.iter().map(|one| format!("{one}: {refused:?}")).collect(),
    };
    let miss = |one: &Value| {
        let found = world.answer(one["what"].as_str().unwrap(), &one["of"]);
        let met = found.as_ref().is_ok_and(|answer| is_met(one, answer));
        (!met).then(|| format!("{one}: {found:?}"))
    };
    expect.iter().filter_map(miss).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.to_string_lossy().ends_with(".case.json") {
            found.push(path);
        }
    }
}

/// The case files; none where the crate stands alone, outside its workspace.
fn cases() -> Vec<(PathBuf, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths = Vec::new();
    if root.join("pyproject.toml").is_file() {
        collect(&root.join("tests/cases"), &mut paths);
        assert!(paths.len() > 100, "the case files are gone");
    }
    paths.sort();
    let read = |path: PathBuf| {
        let tree = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        (path, tree)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn every_case_holds() {
    let missed: Vec<String> = cases()
        .iter()
        .flat_map(|(path, case)| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            failures(case).into_iter().map(move |failure| format!("{name}: {failure}"))
        })
        .collect();
    assert!(missed.is_empty(), "{} not met:\n{}", missed.len(), missed.join("\n"));
}

/// A number that is not this one: the last digit more, or three tolerances more.
fn other(text: &str, tolerance: Option<&str>) -> String {
    let number = Number::parse(text);
    let step = match tolerance.map(Number::parse) {
        Some(Number { num, den }) => Number::new(3 * num, den),
        None => Number { num: 1, den: number.den },
    };
    let Number { num, den } = number.plus(step);
    format!("{num}/{den}")
}

/// The same question with a value that is not the answer.
fn wrong(one: &Value) -> Value {
    let what = one["what"].as_str().unwrap();
    let verdict = what == "status" || what.contains("becomes");
    let other_word = match what {
        "asset" => Some("NONE"),
        "withdrawal_binding" if one["value"] == "balance" => Some("initial"),
        "withdrawal_binding" => Some("balance"),
        "bankruptcy_reason" if one["value"] == "no_finite_price" => Some("no_positive_price"),
        "bankruptcy_reason" => Some("no_finite_price"),
        _ if verdict && one["value"] == "safe" => Some("liquidatable"),
        _ if verdict => Some("safe"),
        _ => None,
    };
    let value: Value = match (&one["value"], other_word) {
        (Value::Bool(flag), _) => (!flag).into(),
        (_, Some(word)) => word.into(),
        (Value::String(code), _) if what == "error" => format!("not_{code}").into(),
        (Value::String(text), _) => other(text, one["tolerance"].as_str()).into(),
        _ => "1".into(),
    };
    let mut twin = one.clone();
    twin["value"] = value;
    twin
}

#[test]
fn every_wrong_expectation_is_found() {
    for (path, mut case) in cases() {
        let twins: Vec<Value> = case["expect"].as_array().unwrap().iter().map(wrong).collect();
        let asked = twins.len();
        case["expect"] = Value::Array(twins);
        assert_eq!(failures(&case).len(), asked, "{}", path.display());
    }
}

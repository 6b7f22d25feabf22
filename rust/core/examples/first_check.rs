//! The first check from Rust: one account, one position, one mark, and why.
//!
//!     cargo run -p aivora-core --example first_check
#![allow(clippy::print_stdout)]

use std::sync::Arc;

use aivora::data::Venue;
use aivora::margin::{Holdings, LegSide, PoolKey, PortfolioBuilder};
use aivora::numbers::{Decimal, Quanta, Result, Rounding};
use aivora::pricing::Prices;

fn main() -> Result<()> {
    let venue = Arc::new(Venue::builtin("demo")?);
    let (id, btc) = (venue.find("BTC")?, venue.get("BTC")?);

    let lots = btc.quantity(Decimal::parse("1", "quantity")?, "quantity")?;
    let entry = Decimal::parse("64000", "entry")?;
    let cost = Quanta::new(btc.cost(lots, entry, Rounding::Exact, "entry")?, "cost")?;
    let cash = Decimal::parse("700", "amount")?.whole(venue.rules().quantum, "amount")?;

    let mut builder = PortfolioBuilder::new(Arc::clone(&venue));
    let alice = builder.pool(PoolKey { account: "alice", pool: "cross" })?;
    builder.collateral(alice, Quanta::new(cash, "amount")?)?;
    builder.position(alice, id, LegSide::Net, lots, cost, Quanta::new(0, "accrued")?)?;
    let portfolio = builder.build()?;

    let mut prices = Prices::new(Arc::clone(&venue));
    prices.set_mark(id, btc.mark(Decimal::parse("63500", "mark")?, "mark")?)?;

    let report = portfolio.check(&prices, 1)?;
    println!("liquidatable: {:?}", report.liquidatable);

    let pool = portfolio.find("alice", "cross")?;
    print!("{}", portfolio.explain(pool, &prices)?);
    let flips = portfolio.liquidation_price(pool, id, &prices)?;
    if let Some(price) = flips.above.and_then(|flip| btc.mark_price(flip.price)) {
        println!("safe again at {price}");
    }
    Ok(())
}

//! The engine under random streams of events: what must hold after each of them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod engine_world;

use aivora::data::{CheckOn, Side};
use aivora::engine::wire::Wire;
use aivora::engine::{Event, Outcome, State, What};
use aivora::margin::{Holdings, PoolId};
use aivora::numbers::ErrorKind;
use engine_world::{Run, World};

/// After every event: money, open interest and orders add up.
fn adds_up(state: &State) {
    let ledger = state.ledger();
    let venue = state.venue();
    let mut held = vec![0_i128; venue.assets().len()];
    let mut interest = vec![[0_i128; 2]; venue.instruments().len()];
    for pool in (0..ledger.len()).map(PoolId::at) {
        let own = ledger.pool(pool).unwrap();
        for balance in own.balances() {
            held[balance.asset.index()] += balance.amount - balance.interest;
        }
        let mut orders = state.orders_of(pool);
        let reserved: i128 = orders.iter().map(|order| order.reserve).sum();
        assert_eq!(reserved, state.reserved(pool), "what is kept for orders");
        for leg in own.legs() {
            let asset = venue.instrument(leg.instrument).unwrap().settlement();
            held[asset.index()] -= leg.cost + leg.accrued;
            let sides = &mut interest[leg.instrument.index()];
            sides[0] += i128::from(leg.lots.max(0));
            sides[1] += i128::from((-leg.lots).max(0));
            let mut open = [0, 0];
            orders.retain(|order| {
                let own = (order.instrument, order.leg) == (leg.instrument, leg.side);
                open[usize::from(order.side == Side::Sell)] += if own { order.lots } else { 0 };
                !own
            });
            assert_eq!(open, [leg.bids, leg.asks], "open orders of a leg");
        }
        assert!(orders.is_empty(), "orders without a leg");
        if state.is_locked(pool) {
            assert!(state.orders_of(pool).is_empty(), "a locked pool has no orders");
        }
    }
    for (at, held) in held.into_iter().enumerate() {
        let funds = state.funds(venue.nth_asset(at).unwrap()).unwrap();
        let all = held + funds.insurance + funds.fees + funds.dust - funds.uncovered;
        assert_eq!(all, funds.deposits, "money of asset {at}: {funds:?}");
        assert!(funds.insurance >= 0 && funds.dust >= 0, "{funds:?}");
    }
    for (at, [long, short]) in interest.into_iter().enumerate() {
        assert_eq!(long, short, "open interest of instrument {at}");
        assert_eq!([long, short], state.open_interest(venue.nth(at).unwrap()).unwrap());
    }
}

/// Who is liquidatable is being liquidated, and who waits for nothing outside is told why.
fn goes_on(state: &State, out: &[Outcome]) {
    let out_for: Vec<PoolId> = state.forced_orders().map(|(order, _)| order.pool).collect();
    for pool in (0..state.ledger().len()).map(PoolId::at) {
        // The backstop is the venue's own.
        let (account, _) = state.ledger().key(pool).unwrap();
        if state.liquidatable()[pool.index()] && account != "venue" {
            assert!(state.is_locked(pool), "nobody liquidates {}", state.ledger().label(pool));
        }
        if state.is_locked(pool) && !out_for.contains(&pool) {
            let held =
                |o: &Outcome| matches!(o, Outcome::LiquidationHeld { pool: p, .. } if *p == pool);
            assert!(out.iter().any(held), "{} waits without a word", state.ledger().label(pool));
        }
    }
}

fn scan_agrees(state: &State) {
    let packed = state.ledger().packed().unwrap();
    let found = packed.liquidatable(state.prices(), 1).unwrap();
    for pool in (0..state.ledger().len()).map(PoolId::at) {
        let (account, name) = state.ledger().key(pool).unwrap();
        let place = packed.find(account, name).unwrap();
        assert_eq!(found[place.index()], state.liquidatable()[pool.index()], "{account}/{name}");
    }
}

/// The bytes of an event with one of them another.
fn damaged(event: &Event, world: &mut World) -> Vec<u8> {
    let mut bytes = Vec::new();
    event.put(&mut bytes);
    let at = usize::try_from(world.other.below(u64::try_from(bytes.len()).unwrap())).unwrap();
    bytes[at] = u8::try_from(world.other.below(256)).unwrap();
    bytes
}

/// Whatever it names: pools, instruments and assets that are not there, amounts past every bound.
fn any_event_is_taken_or_refused(state: &State, event: &Event) {
    let mut copy = state.clone();
    let found = copy.apply(event, &mut Vec::new());
    let kind = found.as_ref().err().map(aivora::numbers::Error::kind);
    assert_ne!(kind, Some(ErrorKind::InvariantBroken), "{event:?}");
    adds_up(&copy);
    assert_eq!(State::from_bytes(&copy.to_bytes().unwrap()).unwrap().hash(), copy.hash());
}

/// From the start, nothing kept.
fn replays(world: &World, run: &Run, state: &mut State) {
    let (mut again, mut out) = (world.state(), Vec::new());
    for event in &run.events {
        let _ = again.apply(event, &mut out);
    }
    assert_eq!(again.hash().unwrap(), state.hash().unwrap(), "replayed");
    println!("{:?} {:?}", run.seen, run.refused);
}

/// Runs a stream and checks everything on the way.
fn holds(mut world: World, events: usize) -> Run {
    let mut state = world.state();
    let mut twin: Option<State> = None;
    let mut run = Run::default();
    let mut out = Vec::new();
    for number in 0..events {
        let event = world.next(&state);
        let copy = (number % 7 == 0).then(|| state.clone());
        out.clear();
        let fields = state.write_event(&event);
        let answer = state.apply(&event, &mut out);
        if answer.is_ok() && number % 3 == 0 {
            let before = copy.as_ref().unwrap_or(&state);
            let opens = matches!(event.what, What::OrderAmend { .. });
            if !opens || copy.is_some() {
                let read = before.read_event(event.what.name(), &fields).unwrap();
                assert_eq!(read, event.what, "{fields:?}");
            }
        }
        run.note(&event, answer.as_ref().err(), &out);
        if answer.is_ok() && event.what == (What::Block {}) {
            scan_agrees(&state);
        }
        world.learn(&event, answer.is_ok(), &out);
        adds_up(&state);
        if let Err(error) = &answer {
            assert_ne!(error.kind().code(), "invariant_broken", "{error} after {event:?}");
        }
        if number % 5 == 0 {
            let bytes = damaged(&event, &mut world);
            if let Ok(other) = Event::from_bytes(&bytes) {
                any_event_is_taken_or_refused(&state, &other);
            }
        }
        let is_stale = answer.as_ref().is_err_and(|error| error.kind().code() == "stale_event");
        if !is_stale {
            goes_on(&state, &out);
        }
        if let (Err(error), Some(mut copy)) = (&answer, copy) {
            // All that a refused event does is that time goes on.
            let clock = Event { what: What::Clock {}, ..event.clone() };
            if !is_stale {
                copy.apply(&clock, &mut Vec::new()).unwrap();
            }
            assert_eq!(copy.hash().unwrap(), state.hash().unwrap(), "{error} after {event:?}");
        }
        if let Some(twin) = &mut twin {
            let mut others = Vec::new();
            let other = twin.apply(&event, &mut others);
            assert_eq!((answer.is_ok(), &out), (other.is_ok(), &others));
        }
        if number % 501 == 500 {
            if state.venue().rules().check_on == CheckOn::Mark {
                scan_agrees(&state);
            }
            let restored = State::from_bytes(&state.to_bytes().unwrap());
            let mut restored = restored.unwrap();
            assert_eq!(restored.to_bytes().unwrap(), state.to_bytes().unwrap());
            assert_eq!(restored.hash().unwrap(), state.hash().unwrap(), "restored");
            twin = Some(restored);
        }
        run.events.push(event);
    }
    if let Some(twin) = &mut twin {
        assert_eq!(twin.hash().unwrap(), state.hash().unwrap());
    }
    replays(&world, &run, &mut state);
    run.hash = Some(state.hash().unwrap());
    run
}

#[test]
fn a_card_that_checks_at_the_end_of_a_block() {
    let run = holds(World::checked_on(6, "block", engine_world::MINIMAL), EVENTS / 2);
    run.must_have(&["liquidation_started", "forced_order", "liquidation_finished"]);
}

#[test]
fn a_card_that_checks_every_two_seconds() {
    let run = holds(World::checked_on(7, "2000ms", engine_world::STAGED), EVENTS / 2);
    run.must_have(&["liquidation_started", "forced_order", "liquidation_finished"]);
}

const EVENTS: usize = if cfg!(debug_assertions) { 6_000 } else { 120_000 };

/// The same event where pools have other places.
fn with_pools(event: &Event, place: impl Fn(PoolId) -> PoolId) -> Event {
    let mut event = event.clone();
    match &mut event.what {
        What::Deposit { pool, .. }
        | What::Withdrawal { pool, .. }
        | What::Leverage { pool, .. }
        | What::AccountLink { pool, .. }
        | What::Throttle { pool, .. }
        | What::SessionLost { pool }
        | What::OrderOpen { pool, .. }
        | What::Advice { pool, .. } => *pool = place(*pool),
        What::Transfer { from, to, .. } | What::MarginMode { from, to, .. } => {
            (*from, *to) = (place(*from), place(*to));
        }
        What::Fill { buyer, seller, .. } => {
            (buyer.pool, seller.pool) = (place(buyer.pool), place(seller.pool));
        }
        _ => {}
    }
    event
}

#[test]
fn the_order_in_which_pools_were_opened_decides_nothing() {
    for (seed, policy) in [(11, engine_world::STAGED), (12, ""), (13, engine_world::MINIMAL)] {
        let run = holds(World::new(seed, policy), EVENTS / 4);
        let opens = run.events.iter().filter(|e| matches!(e.what, What::PoolOpen { .. })).count();
        let mut other = World::new(seed, policy).state();
        let (mut out, mut refused) = (Vec::new(), 0);
        // The last that was opened comes first.
        for (number, event) in run.events.iter().enumerate() {
            let mut event = with_pools(event, |pool| PoolId::at(opens - 1 - pool.index()));
            if number < opens {
                event.what = run.events[opens - 1 - number].what.clone();
            }
            refused += usize::from(other.apply(&event, &mut out).is_err());
        }
        assert_eq!(refused, run.refused.values().sum::<usize>());
        assert_eq!(Some(other.hash().unwrap()), run.hash);
    }
}

#[test]
fn full_closes() {
    let run = holds(World::new(1, ""), EVENTS);
    run.must_have(&[
        "traded",
        "liquidation_started",
        "forced_order",
        "deleveraged",
        "liquidation_finished",
    ]);
}

#[test]
fn staged_closes_with_a_backstop() {
    let run = holds(World::new(2, engine_world::STAGED), EVENTS);
    run.must_have(&["traded", "forced_order", "backstop_took_over", "liquidation_fee"]);
}

#[test]
fn the_fewest_lots() {
    let run = holds(World::new(3, engine_world::MINIMAL), EVENTS);
    run.must_have(&["traded", "forced_order", "liquidation_finished"]);
}

#[test]
fn bracket_by_bracket() {
    let run = holds(World::new(4, engine_world::STEP_DOWN), EVENTS);
    run.must_have(&["traded", "forced_order"]);
}

#[test]
fn several_assets_and_inverse_contracts() {
    let run = holds(World::several(5, engine_world::MINIMAL), EVENTS);
    run.must_have(&["traded", "forced_order", "liquidation_finished"]);
}

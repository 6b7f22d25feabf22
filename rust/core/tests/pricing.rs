//! The index, the validity of prices and the funding rate: what holds of any of them.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use aivora::numbers::{MarkTicks, Rate, Rounding};
use aivora::pricing::funding::{Average, FundingRule, Samples, Shape, UNIT, premium, rates};
use aivora::pricing::index::{Blend, Index, IndexRule, OnOutlier, Source, SourceState};
use aivora::pricing::validity::{Action, Limits, Permits, Quote, Validity};
use proptest::prelude::*;

fn source(name: usize, weight: u32) -> Source {
    let name = format!("source-{name}").into();
    Source { name, weight, max_age: 1_000, frozen_after: None, floor: None, cap: None }
}

fn index(prices: &[(i64, u32)], blend: Blend, outlier: Option<(Rate, OnOutlier)>) -> Index {
    let sources = prices.iter().enumerate().map(|(n, (_, weight))| source(n, *weight)).collect();
    let mut index = Index::new(IndexRule { sources, blend, outlier, min_live: 1 }).unwrap();
    for (place, (price, _)) in prices.iter().enumerate() {
        index.observe(place, *price, 0).unwrap();
    }
    index
}

fn ticks(index: &Index) -> Option<i64> {
    index.value(0).price.map(aivora::numbers::MarkTicks::get)
}

fn blends() -> impl Strategy<Value = Blend> {
    prop_oneof![Just(Blend::Median), Just(Blend::WeightedMedian), Just(Blend::WeightedMean)]
}

fn outliers() -> impl Strategy<Value = Option<(Rate, OnOutlier)>> {
    let rate = (0_i128..=120).prop_map(|part| Rate::new(part.min(100), 100, "outlier").unwrap());
    let action = prop_oneof![Just(OnOutlier::Exclude), Just(OnOutlier::Clamp)];
    prop::option::of((rate, action))
}

fn prices(most: i64) -> impl Strategy<Value = Vec<(i64, u32)>> {
    prop::collection::vec((1..most, 1_u32..5), 1..7)
}

proptest! {
    #[test]
    fn an_index_is_within_its_sources(all in prices(10_000), blend in blends(), outlier in outliers()) {
        let index = index(&all, blend, outlier);
        let states = index.states(0);
        let counts = |place: usize| outlier.is_some_and(|(_, on)| on == OnOutlier::Clamp) || states[place] == SourceState::Live;
        let live = || all.iter().enumerate().filter(|(place, _)| counts(*place)).map(|(_, (price, _))| *price);
        if let Some(price) = ticks(&index) {
            prop_assert!(live().min().unwrap() <= price && price <= live().max().unwrap());
        } else {
            prop_assert_eq!(live().count(), 0);
        }
    }

    #[test]
    fn the_order_of_sources_is_nothing_to_it(all in prices(10_000), blend in blends(), outlier in outliers(), by in 0_usize..6) {
        let mut turned = all.clone();
        turned.rotate_left(by % all.len());
        let mut backwards = all.clone();
        backwards.reverse();
        let found = ticks(&index(&all, blend, outlier));
        prop_assert_eq!(found, ticks(&index(&turned, blend, outlier)));
        prop_assert_eq!(found, ticks(&index(&backwards, blend, outlier)));
    }

    #[test]
    fn no_price_of_one_source_leaves_its_reach(all in prices(60), blend in blends(), outlier in outliers(), which in 0_usize..6) {
        let which = which % all.len();
        let index = index(&all, blend, outlier);
        let mut found: Option<(i64, i64)> = None;
        let mut is_always = all.len() > 1;
        for price in 0..2_000 {
            let mut other = index.clone();
            other.observe(which, if price < 1_999 { price } else { 100_000_000_000_000_000 }, 0).unwrap();
            match ticks(&other) {
                Some(own) => found = Some(found.map_or((own, own), |(low, high)| (low.min(own), high.max(own)))),
                None => is_always = false,
            }
        }
        let reach = index.reach(which, 0).map(|(low, high)| (low.get(), high.get()));
        prop_assert_eq!(reach, found.filter(|_| is_always));
    }
}

#[test]
fn a_median_of_three_is_moved_to_its_neighbours_at_most() {
    let index = index(&[(6_400_000, 1), (6_400_300, 1), (6_401_000, 1)], Blend::Median, None);
    let reach = |place| index.reach(place, 0).map(|(low, high)| (low.get(), high.get()));
    assert_eq!(reach(1), Some((6_400_000, 6_401_000)));
    assert_eq!(reach(0), Some((6_400_300, 6_401_000)));
}

#[test]
fn a_source_that_tells_nothing_new_does_not_count() {
    let of = |name| Source {
        frozen_after: Some(500),
        floor: Some(10),
        cap: Some(900),
        ..source(name, 1)
    };
    let rule = IndexRule {
        sources: (0..5).map(of).collect(),
        blend: Blend::Median,
        outlier: None,
        min_live: 1,
    };
    let mut index = Index::new(rule).unwrap();
    for (place, told) in [[100, 100], [10, 10], [900, 900], [-5, -5], [100, 101]].iter().enumerate()
    {
        index.observe(place, told[0], 0).unwrap();
        index.observe(place, told[1], 600).unwrap();
    }
    let states: Vec<_> = index.states(700).iter().map(|state| state.name()).collect();
    assert_eq!(states, ["frozen", "clamped", "clamped", "non_positive", "live"]);
    assert_eq!(index.states(1_601)[4], SourceState::Stale);
    assert_eq!(index.observe(4, 102, 599).unwrap_err().kind().code(), "stale_event");
    assert_eq!(ticks_at(&index, 700), Some(101));
    assert_eq!(ticks_at(&index, 1_601), None);
}

fn ticks_at(index: &Index, now: i64) -> Option<i64> {
    index.value(now).price.map(aivora::numbers::MarkTicks::get)
}

#[test]
fn what_is_worst_decides_and_nothing_is_divided() {
    let rate = Rate::new(2, 100, "uncertain").unwrap();
    let limits = Limits {
        volatile: Some((5, 1)),
        uncertain: Some(rate),
        stale_for_margin: Some(60_000),
        min_live: Some(3),
        stale: Some(5_000),
    };
    let good =
        Quote { price: 100, average: Some(100), confidence: Some(2), age: 5_000, live: Some(3) };
    let class = |quote: Quote| limits.class(&quote);
    assert_eq!(class(good), Validity::Valid);
    assert_eq!(class(Quote { age: 5_001, ..good }), Validity::Stale);
    let few = Quote { live: Some(2), age: 5_001, ..good };
    assert_eq!(class(few), Validity::TooFewSources);
    let old = Quote { age: 60_001, ..few };
    assert_eq!(class(old), Validity::StaleForMargin);
    let wide = Quote { confidence: Some(3), ..old };
    assert_eq!(class(wide), Validity::TooUncertain);
    assert_eq!(class(Quote { average: Some(501), ..wide }), Validity::TooVolatile);
    assert_eq!(
        class(Quote { average: Some(500), ..good }),
        Validity::Valid,
        "five times is allowed"
    );
    assert_eq!(class(Quote { average: Some(19), ..wide }), Validity::TooVolatile);
    // Where a confidence is divided by the price first, a price of 0 is an error.
    for price in [0, -1, i64::MIN] {
        assert_eq!(class(Quote { price, average: Some(0), ..wide }), Validity::NonPositive);
    }
}

#[test]
fn liquidation_goes_on_where_margin_does_not() {
    let permits = Permits::default();
    for class in [Validity::TooUncertain, Validity::StaleForMargin, Validity::TooFewSources] {
        assert!(permits.allows(Action::Liquidate, class));
        assert!(!permits.allows(Action::Withdraw, class));
    }
    assert!(!permits.allows(Action::Margin, Validity::StaleForMargin));
    assert!(Action::ALL.iter().all(|action| permits.allows(*action, Validity::Valid)));
    assert!(Action::ALL.iter().all(|action| !permits.allows(*action, Validity::NonPositive)));
    let mut own = permits;
    own.set(Action::Funding, Validity::Stale, false);
    assert!(!own.allows(Action::Funding, Validity::Stale) && own != permits);
}

fn rule() -> FundingRule {
    FundingRule {
        average: Average::Rising,
        shape: Shape::Interest { interest: UNIT / 10_000, clamp: Some(UNIT / 2_000) },
        bounds: Some((-UNIT / 100, UNIT / 100)),
        scale: Rate::ONE,
        decimals: 8,
        rounding: Rounding::HalfEven,
    }
}

fn rate(rule: &FundingRule, premiums: &[i64]) -> Option<i64> {
    let mut samples = Samples::default();
    for (place, premium) in (1..).zip(premiums) {
        samples.add(place, *premium).unwrap();
    }
    rule.rate(&samples).unwrap()
}

#[test]
fn the_interest_pulls_by_the_clamp_at_most() {
    let part = UNIT / 1_000_000;
    // Within 0.05% of the interest the rate is the interest.
    assert_eq!(rate(&rule(), &[0; 480]), Some(100 * part));
    assert_eq!(rate(&rule(), &[599 * part; 480]), Some(100 * part));
    assert_eq!(rate(&rule(), &[700 * part; 480]), Some(200 * part));
    assert_eq!(rate(&rule(), &[-500 * part; 480]), Some(0));
    assert_eq!(rate(&rule(), &[UNIT; 480]), Some(UNIT / 100), "the cap");
    assert_eq!(rate(&rule(), &[]), None);
    let eighth = FundingRule { scale: Rate::new(1, 8, "scale").unwrap(), decimals: 6, ..rule() };
    // 0.0001 / 8 is 12.5 millionths: to the even one.
    assert_eq!(rate(&eighth, &[0; 480]), Some(12 * part));
}

#[test]
fn the_last_minute_weighs_most() {
    let plain = FundingRule { shape: Shape::DeadBand(0), decimals: 12, ..rule() };
    let mut premiums = [0; 480];
    premiums[479] = 1_000_000_000;
    // 480 of 480 x 481 / 2.
    assert_eq!(rate(&plain, &premiums), Some(4_158_004));
    let mean = FundingRule { average: Average::Mean, ..plain };
    assert_eq!(rate(&mean, &premiums), Some(2_083_333));
    let band = FundingRule { shape: Shape::DeadBand(2_000_000), ..mean };
    assert_eq!(rate(&band, &premiums), Some(83_333));
    premiums[479] = -premiums[479];
    assert_eq!(rate(&band, &premiums), Some(-83_333));
}

#[test]
fn intervals_follow_one_another() {
    let premiums: Vec<i64> = (0..1_000).map(|n| (n * 7_919 % 1_000 - 500) * 1_000_000).collect();
    let mut found = Vec::new();
    rates(&rule(), &premiums, 480, &mut found).unwrap();
    assert_eq!(
        found,
        [rate(&rule(), &premiums[..480]).unwrap(), rate(&rule(), &premiums[480..960]).unwrap()]
    );
    let code = |found: aivora::numbers::Result<()>| found.unwrap_err().kind().code();
    assert_eq!(code(rates(&rule(), &premiums, 0, &mut found)), "out_of_range");
    assert_eq!(code(rates(&rule(), &[101 * UNIT], 1, &mut found)), "out_of_range");
    assert_eq!(code(FundingRule { decimals: 13, ..rule() }.check()), "out_of_range");
    let exact = FundingRule { rounding: Rounding::Exact, decimals: 2, ..rule() };
    let mut samples = Samples::default();
    samples.add(1, 1).unwrap();
    assert_eq!(exact.rate(&samples).unwrap_err().kind().code(), "off_grid");
}

proptest! {
    #[test]
    fn the_premium_is_of_what_is_beyond_the_index(bid in 1_i128..10_000, more in 0_i128..500, index in 1_i128..10_000) {
        let ticks = |ticks| MarkTicks::new(ticks, "price").unwrap();
        let ask = bid + more;
        let found = premium(ticks(bid), ticks(ask), ticks(index));
        let beyond = (bid - index).max(0) - (index - ask).max(0);
        match found {
            Ok(found) => {
                // Half a part of the unit at most, either way.
                let error = (i128::from(found) * index - beyond * i128::from(UNIT)).abs();
                prop_assert!(2 * error <= index);
            }
            Err(error) => {
                prop_assert_eq!(error.kind().code(), "overflow");
                prop_assert!(beyond.abs() > 99 * index);
            }
        }
    }

    #[test]
    fn many_samples_are_as_one_by_one(all in prop::collection::vec(-UNIT..UNIT, 1..60), by in 0_u32..8, mean: bool) {
        let premiums: Vec<i64> = all.iter().map(|own| own * 100 / 10_i64.pow(by)).collect();
        let average = if mean { Average::Mean } else { Average::Rising };
        let plain = FundingRule { average, shape: Shape::DeadBand(0), bounds: None, ..rule() };
        let mut found = Vec::new();
        rates(&plain, &premiums, u32::try_from(premiums.len()).unwrap(), &mut found).unwrap();
        prop_assert_eq!(found, [rate(&plain, &premiums).unwrap()]);
    }
}

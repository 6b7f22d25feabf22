//! Every path against plain exact arithmetic, written from the definitions and not from the kernels.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use aivora_simd::{
    BRACKETS, Bracket, Columns, Group, Held, Leg, Lot, OrderLeg, POISON, Path, Rate, Schedule,
    Table, flags,
};
use proptest::prelude::*;

/// Most legs of a row for which a poisoned sum is told from a true one.
const LEGS_MAX: usize = 31;
const LEG_MAX: i128 = 1 << 52;
const POISONED: i64 = (POISON / 2).cast_signed();

/// A bracket as a card gives it: rates over `den`, a deduction over `den`.
#[derive(Debug, Clone)]
struct Tier {
    /// In quanta of exact value, inclusive.
    floor: i128,
    den: u64,
    maintenance: u64,
    deduction: u128,
    initial: (u64, u64),
}

#[derive(Debug, Clone)]
struct Instrument {
    /// Quanta a lot is worth: numerator and denominator.
    lot: (i128, i128),
    /// A long owes what a short holds.
    negative: bool,
    tiers: Vec<Tier>,
}

fn floor(num: i128, den: i128) -> i128 {
    num.div_euclid(den)
}

fn ceil(num: i128, den: i128) -> i128 {
    -(-num).div_euclid(den)
}

impl Instrument {
    /// The value of so many lots, rounded down.
    fn value(&self, lots: i32) -> i128 {
        let sign = if self.negative { -1 } else { 1 };
        floor(sign * i128::from(lots) * self.lot.0, self.lot.1)
    }

    /// The bracket of so many lots, by their exact value.
    fn tier(&self, lots: i32) -> &Tier {
        let exact = i128::from(lots).abs() * self.lot.0;
        self.tiers.iter().rfind(|t| t.floor * self.lot.1 <= exact).unwrap()
    }

    fn maintenance(&self, lots: i32) -> i128 {
        let t = self.tier(lots);
        let product = self.value(lots).abs() * i128::from(t.maintenance);
        ceil(product - i128::try_from(t.deduction).unwrap(), i128::from(t.den))
    }

    fn initial(&self, lots: i32, chosen: (u64, u64)) -> i128 {
        let of = |(num, den): (u64, u64)| {
            ceil(self.value(lots).abs() * i128::from(num), i128::from(den))
        };
        of(self.tier(lots).initial).max(of(chosen))
    }

    /// Its brackets, and the largest size of each that the table is exact for.
    fn packed(&self, most: u64) -> (Lot, Schedule, Vec<i32>) {
        let (num, den) = self.lot;
        let whole = i64::try_from(num / den).unwrap();
        let part = u64::try_from(ceil((num % den) << 64, den)).unwrap();
        let lot = Lot { whole: if self.negative { -whole } else { whole }, part };
        let (mut brackets, mut sizes) = (Vec::new(), Vec::new());
        let next = self.tiers.iter().skip(1).map(|t| t.floor).chain([i128::MAX >> 64]);
        for (t, next) in self.tiers.iter().zip(next).take(BRACKETS) {
            let initial = Rate::new(t.initial.0, t.initial.1);
            let (bracket, exact) = Bracket::new(t.maintenance, t.deduction, t.den, initial);
            let most = i128::from(exact.min(most)).min(LEG_MAX);
            // Sizes worth less than the next floor, and those the proofs hold for.
            let last = floor(next * den - 1, num);
            let fits = floor(most * den, num).min(i128::from(u64::MAX) / den);
            brackets.push(bracket);
            let before = sizes.last().copied().unwrap_or(0);
            let size = i32::try_from(last.min(fits)).unwrap_or(i32::MAX).max(before);
            sizes.push(size);
            if fits < last {
                break;
            }
        }
        (lot, Schedule::new(&brackets), sizes)
    }
}

fn table(instruments: &[Instrument], chosen: &[(u64, u64)]) -> (Table, Vec<i32>) {
    let rates: Vec<Rate> = chosen.iter().map(|(num, den)| Rate::new(*num, *den)).collect();
    let scaled = rates.iter().map(|r| r.scaled);
    let most = rates.iter().map(|r| r.notional_max).min().unwrap_or(u64::MAX);
    let mut table = Table::new(instruments.len(), scaled.collect());
    let mut largest = Vec::new();
    for (place, instrument) in instruments.iter().enumerate() {
        let (lot, schedule, sizes) = instrument.packed(most);
        assert!(table.set(place, lot, &schedule, &sizes));
        largest.push(*sizes.last().unwrap());
    }
    (table, largest)
}

fn paths() -> impl Iterator<Item = Path> {
    Path::ALL.into_iter().filter(|path| path.is_there())
}

/// All paths give the exact sums of each row, and say which rows they do not hold: those with a leg past the largest size.
fn hold<L: Held + std::fmt::Debug>(
    instruments: &[Instrument],
    chosen: &[(u64, u64)],
    rows: &[(i64, Vec<L>)],
) {
    let (table, largest) = table(instruments, chosen);
    for width in 1..=LEGS_MAX {
        let of_width: Vec<_> = rows.iter().filter(|(_, legs)| legs.len() == width).collect();
        let mut group = Group::new(width);
        for (place, (cash, legs)) in (0..).zip(&of_width) {
            // Every second place is nobody's.
            assert!(group.push(2 * place + 1, *cash, legs.iter().copied()));
        }
        let size = 2 * of_width.len();
        for path in paths() {
            let mut sums = [vec![-7; size], vec![-7; size], vec![-7; size]];
            let mut bare = sums.clone();
            let [equity, initial, maintenance] = &mut sums;
            let mut out = Columns { equity, initial, maintenance };
            assert!(group.sums::<true>(&table, path, &mut out));
            let [equity, initial, maintenance] = &mut bare;
            let mut out = Columns { equity, initial, maintenance };
            assert!(group.sums::<false>(&table, path, &mut out));
            let verdicts = [true, false].map(|strict| {
                let mut fires = vec![false; size];
                let all = group.verdicts(&table, path, strict, &mut fires).unwrap();
                (fires, all)
            });
            let mut all = 0;
            for (at, (cash, legs)) in of_width.iter().enumerate() {
                let place = 2 * at + 1;
                assert!(sums.iter().all(|column| column[place - 1] == -7), "nobody's place");
                assert_eq!(bare[1][place], -7, "initial was not asked for");
                let past = |lots: i32, of: u16| lots.abs() > largest[usize::from(of)];
                let held = legs.iter().any(|l| past(l.leg().lots, l.leg().instrument));
                let ordered = |l: &L| l.exposure().is_some_and(|e| past(e, l.leg().instrument));
                let poisoned = held || legs.iter().any(ordered);
                assert_eq!(sums[2][place] >= POISONED, poisoned, "{path:?} {legs:?}");
                assert_eq!(bare[2][place] >= POISONED, held, "{path:?} {legs:?}");
                all |= bare[2][place].cast_unsigned();
                if poisoned {
                    continue;
                }
                let (mut e, mut n, mut m) = (i128::from(*cash), 0, 0);
                for held in legs {
                    let leg = held.leg();
                    let of = &instruments[usize::from(leg.instrument)];
                    e += of.value(leg.lots);
                    let exposure = held.exposure().unwrap_or(leg.lots);
                    n += of.initial(exposure, chosen[usize::from(leg.chosen)]);
                    m += of.maintenance(leg.lots);
                }
                let got = sums.each_ref().map(|column| i128::from(column[place]));
                assert_eq!(got, [e, n, m], "{path:?} {cash} {legs:?}");
                assert_eq!([bare[0][place], bare[2][place]], [sums[0][place], sums[2][place]]);
                for (strict, (fires, _)) in [true, false].into_iter().zip(&verdicts) {
                    let want = m > 0 && (e < m || (!strict && e == m));
                    assert_eq!(fires[place], want, "{path:?} {e} {m}");
                }
            }
            assert!(verdicts.iter().all(|(_, found)| *found == all), "{path:?}");
        }
    }
}

fn tiers() -> impl Strategy<Value = Vec<Tier>> {
    let den = prop_oneof![6 => 1_u64..400, 3 => Just(4_000_u64), 1 => 1_u64..1_000_000_000];
    let of = prop_oneof![9 => 1_u64..400, 1 => 1_u64..2_000_000_000];
    let step = (0_u32..50, 0_u64..=1_000, 0_u64..=1_000, any::<u64>());
    (den, of, prop::collection::vec(step, 1..16)).prop_map(|(den, of, steps)| {
        let (mut floor, mut tiers) = (0_i128, Vec::<Tier>::new());
        let mut least = 0;
        for (i, (shift, maintenance, initial, random)) in steps.into_iter().enumerate() {
            if i > 0 {
                floor += 1 + i128::from(random & ((1 << shift) - 1));
            }
            // Rates that do not fall, so that the deductions that join them are not negative.
            least = (maintenance * den / 1_000).max(least);
            let deduction = tiers.last().map_or(0, |last| {
                let more = u128::from(least - last.maintenance);
                last.deduction + floor.unsigned_abs() * more
            });
            tiers.push(Tier {
                floor,
                den,
                maintenance: least,
                deduction: if random % 3 == 0 && i == 0 { 0 } else { deduction },
                initial: (initial * of / 1_000, of),
            });
        }
        tiers
    })
}

fn instrument(fractions: bool) -> impl Strategy<Value = Instrument> {
    let den = if fractions {
        prop_oneof![2_i128..100, 1_i128..10_000_000, 1_i128..1 << 56].boxed()
    } else {
        Just(1_i128).boxed()
    };
    (1_i128..1 << 62, 0_u32..62, den, any::<bool>(), tiers()).prop_map(
        |(num, shift, den, negative, tiers)| {
            let lot = ((num >> shift).max(den), den); // at least a quantum
            Instrument { lot, negative, tiers }
        },
    )
}

fn lots() -> impl Strategy<Value = i32> {
    prop_oneof![
        20 => -20_i32..20,
        20 => -100_000_i32..100_000,
        2 => -i32::MAX..=i32::MAX,
        1 => Just(i32::MAX),
        1 => Just(-i32::MAX),
    ]
}

prop_compose! {
    fn leg()(lots in lots(), instrument in 0_u16..5, chosen in 0_u16..4) -> Leg {
        Leg { lots, instrument, chosen }
    }
}

prop_compose! {
    fn order_leg()(leg in leg(), more in prop_oneof![0_i32..100, 0_i32..1_000_000]) -> OrderLeg {
        OrderLeg { leg, exposure: leg.lots.abs().saturating_add(more) }
    }
}

fn rows<L: Held + std::fmt::Debug>(
    leg: impl Strategy<Value = L>,
) -> impl Strategy<Value = Vec<(i64, Vec<L>)>> {
    let cash = prop_oneof![-1_000_000_i64..1_000_000, -(1_i64 << 60)..1_i64 << 60];
    let few = prop_oneof![4 => 1..6_usize, 1 => 1..LEGS_MAX + 1];
    let row = (cash, few, prop::collection::vec(leg, LEGS_MAX));
    let row = row.prop_map(|(cash, few, legs)| (cash, legs[..few].to_vec()));
    prop::collection::vec(row, 1..20)
}

fn rates() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let rate =
        prop_oneof![9 => (Just(1_u64), 1_u64..200), 1 => (1_u64..1_000_000, Just(1_000_000_u64))];
    prop::collection::vec(rate, 3).prop_map(|mut rates| {
        rates.insert(0, (0, 1));
        rates
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 300 }))]

    #[test]
    fn whole_lots(of in prop::collection::vec(instrument(false), 5), chosen in rates(), rows in rows(leg())) {
        hold(&of, &chosen, &rows);
    }

    #[test]
    fn fractions_of_quanta(of in prop::collection::vec(instrument(true), 5), chosen in rates(), rows in rows(leg())) {
        hold(&of, &chosen, &rows);
    }

    #[test]
    fn open_orders(of in prop::collection::vec(instrument(false), 5), chosen in rates(), rows in rows(order_leg())) {
        hold(&of, &chosen, &rows);
    }

    #[test]
    fn whole_and_not(
        mut of in prop::collection::vec(instrument(false), 3),
        others in prop::collection::vec(instrument(true), 2), chosen in rates(), rows in rows(leg()),
    ) {
        of.extend(others);
        hold(&of, &chosen, &rows);
    }
}

/// Brackets at 0, 1,000 and 10,000 quanta: 1% and 2% of value, 2% less 10 that joins them, 5% without.
fn plain(num: i128, den: i128) -> Instrument {
    let tier = |floor, maintenance, deduction, initial| Tier {
        floor,
        den: 100,
        maintenance,
        deduction,
        initial: (initial, 100),
    };
    let tiers = vec![tier(0, 1, 0, 2), tier(1_000, 2, 1_000, 4), tier(10_000, 5, 0, 10)];
    Instrument { lot: (num, den), negative: false, tiers }
}

fn one(lots: i32) -> Leg {
    Leg { lots, instrument: 0, chosen: 0 }
}

/// Equity, initial and maintenance of rows of one leg.
fn of_one(table: &Table, legs: &[Leg], path: Path) -> [Vec<i64>; 3] {
    let mut group = Group::new(1);
    for (place, leg) in (0..).zip(legs) {
        assert!(group.push(place, 0, [*leg]));
    }
    let mut sums = [(); 3].map(|()| vec![0; legs.len()]);
    let [equity, initial, maintenance] = &mut sums;
    assert!(group.sums::<true>(table, path, &mut Columns { equity, initial, maintenance }));
    sums
}

#[test]
fn a_threshold_belongs_to_the_upper_bracket() {
    // 333 lots of 3 are worth 999, 334 are worth 1,002; 3,333 are worth 9,999, 3,334 are worth 10,002.
    let legs = [333, 334, 3_333, 3_334, -333, -334, 0, 1].map(one);
    let (table, _) = table(&[plain(3, 1)], &[(0, 1)]);
    for path in paths() {
        let [_, initial, maintenance] = of_one(&table, &legs, path);
        // ceil(9.99), ceil(20.04 − 10), ceil(199.98 − 10), ceil(500.1)
        assert_eq!(maintenance, [10, 11, 190, 501, 10, 11, 0, 1]);
        assert_eq!(initial, [20, 41, 400, 1_001, 20, 41, 0, 1]);
    }
}

#[test]
fn inverse_contracts_round_down_on_both_sides() {
    // A contract of 100 USD at 64,000.50: 100 × 10^8 × 100 / 6,400,050 quanta of 10^-8, which is 156,248.779.
    let coin = Instrument { negative: true, ..plain(1_000_000_000_000, 6_400_050) };
    let (table, _) = table(&[coin], &[(0, 1)]);
    for path in paths() {
        // A long one owes them, rounded up; a short one holds them, rounded down.
        let [equity, ..] = of_one(&table, &[1, -1, 0].map(one), path);
        assert_eq!(equity, [-156_249, 156_248, 0]);
    }
}

#[test]
fn an_instrument_without_a_price_poisons_its_rows() {
    let (mut table, _) = table(&[plain(3, 1), plain(7, 1)], &[(0, 1)]);
    let (_, schedule, _) = plain(3, 1).packed(u64::MAX);
    assert!(table.set(0, Lot::default(), &schedule, &[]));
    assert!(!table.set(2, Lot::default(), &schedule, &[]), "there is no such instrument");
    assert!(!table.set(0, Lot::default(), &schedule, &[1; BRACKETS + 1]), "too many sizes");
    assert!(!table.set(1, Lot { whole: 0, part: 1 }, &schedule, &[1]), "it has no sign");
    for path in paths() {
        let legs = [one(0), one(1), Leg { instrument: 1, ..one(2) }];
        let [_, _, maintenance] = of_one(&table, &legs, path);
        assert!(maintenance[0] >= POISONED && maintenance[1] >= POISONED);
        assert_eq!(maintenance[2], 1);
    }
}

fn told<L: Held>(table: &Table, leg: L) {
    let mut group = Group::new(LEGS_MAX);
    assert!(group.push(0, -1, [leg; LEGS_MAX]));
    for path in paths() {
        let mut sums = [[0; 1]; 3];
        let [equity, initial, maintenance] = &mut sums;
        assert!(group.sums::<true>(table, path, &mut Columns { equity, initial, maintenance }));
        assert!(sums[2][0] >= POISONED, "{path:?}");
        assert!(group.verdicts(table, path, true, &mut [false]).unwrap() >= POISON / 2);
    }
}

#[test]
fn most_legs_of_poison_are_still_told() {
    let (table, _) = table(&[plain(1 << 40, 1)], &[(0, 1)]);
    told(&table, one(i32::MAX));
    // Past the table as it is held and as it would be: marked once.
    told(&table, OrderLeg { leg: one(i32::MAX), exposure: i32::MAX });
}

#[test]
fn what_could_read_past_an_end_is_refused() {
    let mut group = Group::new(2);
    assert!(!group.push(0, 0, [one(1)]), "another number of legs");
    assert!(!group.push(0, 0, [one(1), one(i32::MIN)]));
    let leg = Leg { instrument: 1, chosen: 1, ..one(1) };
    assert!(group.push(3, 5, [one(1), leg]));
    assert_eq!((group.legs().len(), group.places(), group.cash()), (2, &[3][..], &[5][..]));
    assert!(!group.replace(0, Leg { instrument: 1, ..one(1) }), "another instrument");
    assert!(!group.replace(0, Leg { chosen: 2, ..one(1) }), "a rate that was not checked");
    assert!(!group.replace(2, one(1)) && !group.replace(0, one(i32::MIN)));
    assert!(group.replace(0, Leg { chosen: 1, ..one(9) }));
    assert_eq!(group.legs()[0].lots, 9);
    let mut ordered = Group::new(1);
    assert!(!ordered.push(0, 0, [OrderLeg { leg: one(1), exposure: -1 }]));
    let whole = Table::new(2, vec![0, 1]);
    for path in paths() {
        let run = |table: &Table, lengths: [usize; 3]| {
            let [mut e, mut n, mut m] = lengths.map(|length| vec![-7; length]);
            let mut out = Columns { equity: &mut e, initial: &mut n, maintenance: &mut m };
            let done = group.sums::<true>(table, path, &mut out);
            assert!(done || [e, n, m].iter().flatten().all(|sum| *sum == -7), "nothing written");
            done
        };
        assert!(run(&whole, [4; 3]));
        assert!(!run(&whole, [3, 4, 4]) && !run(&whole, [4, 3, 4]) && !run(&whole, [4, 4, 3]));
        assert!(!run(&Table::new(1, vec![0, 1]), [4; 3]) && !run(&Table::new(2, vec![0]), [4; 3]));
        assert!(group.verdicts(&whole, path, true, &mut [false; 3]).is_none());
    }
}

#[test]
fn flags_at_every_edge_and_length() {
    let edges = [i64::MIN, -1, 0, 1, 9, 10, 11, POISONED, i64::MAX - 1];
    let mut columns = [const { Vec::new() }; 3];
    for e in edges {
        for n in edges.into_iter().filter(|n| *n >= 0) {
            for m in edges.into_iter().filter(|m| *m >= 0) {
                columns.iter_mut().zip([e, n, m]).for_each(|(column, value)| column.push(value));
            }
        }
    }
    let [equity, initial, maintenance] = &columns;
    for length in (0..70).chain([equity.len()]) {
        for strict in [true, false] {
            let want = (0..length).map(|i| {
                let (e, n, m) = (equity[i], initial[i], maintenance[i]);
                let fires = m > 0 && (e < m || (!strict && e == m));
                let open = if fires { 2 } else { u8::from(e < n) };
                (if e < 0 { 3 } else { open }, fires)
            });
            let want: (Vec<u8>, Vec<bool>) = want.unzip();
            let all = maintenance[..length].iter().fold(0, |all, m| all | m);
            for path in paths() {
                let sums = (&equity[..length], &initial[..length], &maintenance[..length]);
                let (mut status, mut fires) = (vec![9; length], vec![true; length]);
                assert_eq!(flags(path, strict, sums, &mut status, &mut fires), all);
                assert_eq!((status, fires), want, "{path:?} {length}");
            }
        }
    }
}

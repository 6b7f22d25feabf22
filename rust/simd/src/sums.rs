//! Sums of many numbers, and of each times its place.

use crate::path::Path;

/// Numbers that are added at a time: a cache line of them.
const LANES: usize = 8;

/// How far ahead memory is asked for, in numbers: past the end of an interval too, where the next one is.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 256 * LANES;

/// Of numbers `v₁ … v_N`: `Σ vᵢ`, `Σ i × vᵢ`, and all `vᵢ + above` or'ed together. All of it wraps: the caller looks at the last of
/// them and knows whether a sum could.
///
/// Of lane `l` of blocks `0..B`, with `S` the sum until a block and `R` the sum of all `S`, `R = Σ (B − b) × v`: so the sum of `b × v`
/// is `B × S − R`, and nothing is multiplied on the way.
#[must_use]
#[allow(unsafe_code)]
pub fn sums(path: Path, above: i64, values: &[i64]) -> (i64, i64, i64) {
    #[cfg(target_arch = "x86_64")]
    if path != Path::Scalar && path.is_there() {
        // SAFETY: the processor has the features.
        return unsafe { avx2(above, values) };
    }
    let _ = path;
    twin(above, values, |_| ())
}

/// Plain code that the compiler makes vectors of, for each path its own.
#[inline(always)]
#[allow(clippy::inline_always)] // so that it is compiled with the features of its caller
fn twin(above: i64, values: &[i64], ahead: impl Fn(&[i64; LANES])) -> (i64, i64, i64) {
    let (blocks, rest) = values.as_chunks::<LANES>();
    let (mut sums, mut runs, mut seen) = ([0_i64; LANES], [0_i64; LANES], [0_i64; LANES]);
    for block in blocks {
        ahead(block);
        let lanes = sums.iter_mut().zip(&mut runs).zip(&mut seen).zip(block);
        for (((sum, run), seen), value) in lanes {
            *seen |= value.wrapping_add(above);
            *sum = sum.wrapping_add(*value);
            *run = run.wrapping_add(*sum);
        }
    }
    let (mut sum, mut rising, mut all) = (0_i64, 0_i64, 0_i64);
    let (lanes, whole) = (count(LANES), count(blocks.len()));
    for (place, ((own, run), seen)) in (1..).zip(sums.iter().zip(&runs).zip(&seen)) {
        let before = whole.wrapping_mul(*own).wrapping_sub(*run).wrapping_mul(lanes);
        rising = rising.wrapping_add(before).wrapping_add(own.wrapping_mul(place));
        sum = sum.wrapping_add(*own);
        all |= seen;
    }
    for (place, value) in (lanes.wrapping_mul(whole).wrapping_add(1)..).zip(rest) {
        rising = rising.wrapping_add(value.wrapping_mul(place));
        sum = sum.wrapping_add(*value);
        all |= value.wrapping_add(above);
    }
    (sum, rising, all)
}

fn count(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(above: i64, values: &[i64]) -> (i64, i64, i64) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // A prefetch reads nothing, wherever it points.
    twin(above, values, |block| {
        _mm_prefetch::<_MM_HINT_T1>(block.as_ptr().wrapping_add(AHEAD).cast());
    })
}

#[cfg(test)]
mod tests {
    use super::{Path, sums};

    #[test]
    fn every_path_adds_up() {
        for length in 0..70 {
            let of = |n: i64| (n * 7_919 % 1_000 - 500) * 1_000_003;
            let values: Vec<i64> = (0..length).map(of).collect();
            let sum: i64 = values.iter().sum();
            let rising: i64 =
                (1..).zip(&values).map(|(place, value): (i64, &i64)| place * value).sum();
            let seen = values.iter().fold(0, |all, value| all | (value + 1_000_000_000));
            for path in Path::ALL {
                assert_eq!(
                    sums(path, 1_000_000_000, &values),
                    (sum, rising, seen),
                    "{path:?} {length}"
                );
            }
        }
    }
}

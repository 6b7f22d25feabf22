//! From the sums of many rows to their verdicts.

use crate::path::Path;

/// The verdict on each row: the status (0 safe; 1 equity below initial; 2 the check fires; 3 equity below 0; the largest
/// that holds) and whether the check fires: maintenance above 0 and equity below it, or, not `strict`, equal to it. Returns all
/// maintenance sums or'ed together. All slices have the length of `equity`; what is longer is left as it is.
pub fn flags(
    path: Path,
    strict: bool,
    (equity, initial, maintenance): (&[i64], &[i64], &[i64]),
    status: &mut [u8],
    fires: &mut [bool],
) -> i64 {
    let sums = (equity, initial, maintenance);
    if strict {
        by_path::<true>(path, sums, status, fires)
    } else {
        by_path::<false>(path, sums, status, fires)
    }
}

#[allow(unsafe_code)]
fn by_path<const STRICT: bool>(
    path: Path,
    sums: (&[i64], &[i64], &[i64]),
    status: &mut [u8],
    fires: &mut [bool],
) -> i64 {
    #[cfg(target_arch = "x86_64")]
    if path != Path::Scalar && path.is_there() {
        // SAFETY: the processor has the features.
        return unsafe { avx2::<STRICT>(sums, status, fires) };
    }
    let _ = path;
    twin::<STRICT>(sums, status, fires)
}

/// Plain code that the compiler makes vectors of, for each path its own.
#[inline(always)]
#[allow(clippy::inline_always)] // so that it is compiled with the features of its caller
#[allow(clippy::needless_bitwise_bool)] // no branches
fn twin<const STRICT: bool>(
    (equity, initial, maintenance): (&[i64], &[i64], &[i64]),
    status: &mut [u8],
    fires: &mut [bool],
) -> i64 {
    let mut all = 0;
    let sums = equity.iter().zip(initial).zip(maintenance);
    for (((e, n), m), (status, fires)) in sums.zip(status.iter_mut().zip(fires)) {
        let below = if STRICT { e < m } else { e <= m };
        let fire = below & (*m > 0);
        let open = u8::from(e < n).max(u8::from(fire) << 1);
        *status = open.max(u8::from(*e < 0) * 3);
        *fires = fire;
        all |= *m;
    }
    all
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2<const STRICT: bool>(
    sums: (&[i64], &[i64], &[i64]),
    status: &mut [u8],
    fires: &mut [bool],
) -> i64 {
    twin::<STRICT>(sums, status, fires)
}

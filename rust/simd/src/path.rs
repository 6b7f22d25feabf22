//! Which instructions a scan uses.

use std::sync::OnceLock;

/// Which instructions a scan uses. Every path gives the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Path {
    /// Safe Rust, as the compiler makes it for any processor of the family.
    Scalar,
    /// 256-bit comparisons, and multiplications without flags.
    Avx2,
    /// 512-bit comparisons into a mask.
    Avx512,
}

impl Path {
    /// All of them.
    pub const ALL: [Path; 3] = [Path::Scalar, Path::Avx2, Path::Avx512];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Path::Scalar => "scalar",
            Path::Avx2 => "avx2",
            Path::Avx512 => "avx512",
        }
    }

    /// Whether this processor has it.
    #[must_use]
    pub fn is_there(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        let found = match self {
            Path::Scalar => true,
            Path::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("popcnt")
            }
            Path::Avx512 => {
                Path::Avx2.is_there()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        };
        #[cfg(not(target_arch = "x86_64"))]
        let found = self == Path::Scalar;
        found
    }

    /// The one in use: what `AIVORA_SIMD` asks for where the processor has it, else AVX2, else scalar. AVX-512 lost a tenth
    /// to AVX2 where both were measured (the multiplications are scalar in both), so it is only taken when asked for.
    #[must_use]
    pub fn in_use() -> Self {
        static CHOSEN: OnceLock<Path> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let asked = std::env::var("AIVORA_SIMD").ok();
            let asked = Self::ALL.into_iter().find(|p| Some(p.name()) == asked.as_deref());
            let there = |path: &Path| path.is_there();
            let best = || Some(Path::Avx2).filter(there);
            asked.filter(there).or_else(best).unwrap_or(Path::Scalar)
        })
    }
}

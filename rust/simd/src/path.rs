//! Which instructions a scan uses.

use std::sync::OnceLock;

/// Which instructions a scan uses. Every path gives the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Path {
    /// Safe Rust, as the compiler makes it for any processor of the family.
    Scalar,
    /// 256-bit comparisons, and multiplications without flags.
    Avx2,
}

impl Path {
    /// All of them.
    pub const ALL: [Path; 2] = [Path::Scalar, Path::Avx2];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Path::Scalar => "scalar",
            Path::Avx2 => "avx2",
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
        };
        #[cfg(not(target_arch = "x86_64"))]
        let found = self == Path::Scalar;
        found
    }

    /// The one in use: what `AIVORA_SIMD` asks for where the processor has it, else AVX2, else scalar. There is no path for
    /// AVX-512: the multiplications would stay scalar, and where it was measured it lost a tenth to AVX2.
    #[must_use]
    pub fn in_use() -> Self {
        static CHOSEN: OnceLock<Path> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let asked = std::env::var("AIVORA_SIMD").ok();
            let asked = Self::ALL.into_iter().find(|p| Some(p.name()) == asked.as_deref());
            let there = |path: &Path| path.is_there();
            asked.or(Some(Path::Avx2)).filter(there).unwrap_or(Path::Scalar)
        })
    }
}

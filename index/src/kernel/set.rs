//! Which kernels this machine can run, and which of them it does.

use std::sync::OnceLock;

#[cfg(target_arch = "aarch64")]
use super::neon::Neon;
use super::{BLOCK, Sums, Table, scalar};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// The kernels of a set, each done by `$by!(self, kernel(arguments))`; what they do is said in
/// [`super`].
macro_rules! kernels {
    ($set:ident, $by:ident) => {
        impl $set {
            #[inline]
            pub(super) fn dot_codes(self, code: &[i8], query: &[i16]) -> i32 {
                $by!(self, dot_codes(code, query))
            }

            #[inline]
            pub(super) fn heads(
                self,
                blocks: &[u8],
                entries: &[u8],
                least: u16,
                wanted: u64,
                sums: &mut [Sums],
            ) -> u64 {
                $by!(self, heads(blocks, entries, least, wanted, sums))
            }

            #[inline]
            pub(super) fn add(self, groups: &[u8], entries: &[u8], sums: &mut Sums) {
                $by!(self, add(groups, entries, sums));
            }

            #[inline]
            pub(super) fn estimate(
                self,
                sums: &Sums,
                scales: &[f32; BLOCK],
                table: Table<'_>,
                floor: f32,
                estimates: &mut [f32; BLOCK],
            ) -> u32 {
                $by!(self, estimate(sums, scales, table, floor, estimates))
            }
        }
    };
}
pub(super) use kernels;

/// The function of that name in the set's own file, called: it needs what the set is the proof of.
macro_rules! proven {
    ($set:expr, $kernel:ident($($argument:expr),*)) => {{
        let _: Self = $set;
        // SAFETY: the set exists, so its `detect` has seen on this CPU what its kernels need.
        unsafe { $kernel($($argument),*) }
    }};
}
pub(super) use proven;

/// A set of kernels, with the proof that this machine can run it.
#[derive(Clone, Copy)]
pub(super) enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    Scalar,
}

/// The kernel of that name of a set, called.
macro_rules! call {
    ($set:expr, $kernel:ident($($argument:expr),*)) => {
        match $set {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(set) => set.$kernel($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(set) => set.$kernel($($argument),*),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(set) => set.$kernel($($argument),*),
            Self::Scalar => scalar::$kernel($($argument),*),
        }
    };
}

impl Set {
    /// All that this machine can run, the widest first.
    pub(super) fn available() -> impl Iterator<Item = Self> {
        [
            #[cfg(target_arch = "x86_64")]
            Avx512::detect().map(Self::Avx512),
            #[cfg(target_arch = "x86_64")]
            Avx2::detect().map(Self::Avx2),
            #[cfg(target_arch = "aarch64")]
            Neon::detect().map(Self::Neon),
            Some(Self::Scalar),
        ]
        .into_iter()
        .flatten()
    }

    /// The first of them, looked for once.
    #[inline]
    pub(super) fn widest() -> Self {
        static WIDEST: OnceLock<Set> = OnceLock::new();
        *WIDEST.get_or_init(|| Self::available().next().unwrap_or(Self::Scalar))
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
            Self::Scalar => "scalar",
        }
    }
}

kernels!(Set, call);

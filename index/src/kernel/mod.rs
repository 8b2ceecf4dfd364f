//! Arithmetic on vectors and codes. The widest instructions of the machine are chosen once, at run
//! time; every kernel has a scalar twin that gives the same integers, and checks it in tests.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "instructions that only some machines have")]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "instructions that only some machines have")]
mod avx512;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code, reason = "instructions that only some machines have")]
mod neon;
mod scalar;
mod set;

use set::Set;
use simsimd::SpatialSimilarity;

/// Vectors of a block, which are scanned together.
pub(crate) const BLOCK: usize = 32;
/// Values whose signs make a nibble of a sketch.
pub(crate) const NIBBLE: usize = 4;
/// Highest entry of a look-up table: eight of them still fit a byte.
pub(crate) const LUT_MAX: u8 = 31;
/// Dimensions of codes are multiples of this.
pub(crate) const LANES: usize = 64;

/// Rounds to the nearest `f32`; what does not fit becomes infinite.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the one place that rounds, as its name says"
)]
pub(crate) fn round(value: f64) -> f32 {
    value as f32
}

/// Rounds to the nearest integer, ties away from zero; what does not fit becomes the nearest that
/// does, NaN zero.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the one place that rounds to integers, as its name says"
)]
pub(crate) fn nearest(value: f32) -> i32 {
    value.round() as i32
}

/// Dot product of two vectors of the same length.
///
/// Cost: one pass. Agrees with [`dot_scalar`] to rounding, not to the last bit, and the last bits
/// may differ between machines.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    <f32 as SpatialSimilarity>::dot(a, b).map_or_else(|| dot_scalar(a, b), round)
}

/// The same in plain Rust, summed in double precision.
pub(crate) fn dot_scalar(a: &[f32], b: &[f32]) -> f32 {
    round(
        a.iter()
            .zip(b)
            .map(|(x, y)| f64::from(*x) * f64::from(*y))
            .sum(),
    )
}

/// Euclidean length, in double precision: no finite vector overflows it.
pub(crate) fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

/// Dot product of an 8-bit code and a 16-bit query of the same length, a multiple of [`LANES`].
///
/// Exact as long as no partial sum leaves 32 bits, which holds for queries within
/// ±[`crate::code::QUERY_MAX`].
pub(crate) fn dot_codes(code: &[i8], query: &[i16]) -> i32 {
    debug_assert!(code.len() == query.len() && code.len().is_multiple_of(LANES));
    Set::widest().dot_codes(code, query)
}

/// A query as sketches are compared with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    /// 16 for each group of four values, none above [`LUT_MAX`].
    pub(crate) entries: &'a [u8],
    /// From a sum of entries to a dot product with signs: `sum * step + base`.
    pub(crate) step: f32,
    pub(crate) base: f32,
}

/// What a block's vectors must reach to be looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar {
    /// Estimates are above this.
    pub(crate) floor: f32,
    /// The entries of the first [`head`] groups sum to at least this. Where none of a block's vectors
    /// has that, the rest of the block is not read.
    pub(crate) head: u16,
}

impl Bar {
    /// Everybody whose estimate is a number.
    pub(crate) const NONE: Self = Self {
        floor: f32::NEG_INFINITY,
        head: 0,
    };
}

/// Groups of a block that are its head, of so many: five eighths; of few, whose sums say little, all. A
/// multiple of 16.
pub(crate) const fn head(groups: usize) -> usize {
    if groups < HEAD_GROUPS_MIN {
        groups
    } else {
        groups * 5 / 8 / 16 * 16
    }
}

/// Blocks of fewer groups are all head.
const HEAD_GROUPS_MIN: usize = 128;

/// The sums of a block's vectors.
pub(crate) type Sums = [u16; BLOCK];

/// For each of some blocks, the sums of the entries that its vectors' nibbles select. Returns, as a bit
/// mask, those of the `wanted` blocks where a sum is at least `least`: of the others, `sums` holds anything.
///
/// A block is 16 bytes for each group of four values: byte `i` has the nibble of vector `i` in its low
/// half and that of vector `16 + i` in its high half; `entries` is as much of a [`Table`], and a multiple
/// of 16 groups. There are at most 64 blocks, and as many sums.
///
/// After André, Kermarrec, Le Scouarnec: "Cache locality is not enough: High-performance nearest
/// neighbor search with product quantization fast scan", VLDB 2015.
#[inline]
pub(crate) fn heads(
    blocks: &[u8],
    entries: &[u8],
    least: u16,
    wanted: u64,
    sums: &mut [Sums],
) -> u64 {
    debug_assert!(entries.len().is_multiple_of(LANES * 4));
    Set::widest().heads(blocks, entries, least, wanted, sums)
}

/// Adds the entries that the nibbles of a block's other groups select; as [`heads`].
#[inline]
pub(crate) fn add(groups: &[u8], entries: &[u8], sums: &mut Sums) {
    debug_assert!(groups.len() == entries.len() && groups.len().is_multiple_of(LANES * 4));
    Set::widest().add(groups, entries, sums);
}

/// Which of a block's estimates are above `floor`, as a bit mask; those are in `estimates`, where
/// others hold anything. NaN is never above. An estimate is a sum of entries, made a dot product as
/// `table` says, times the vector's scale.
#[inline]
pub(crate) fn estimate(
    sums: &Sums,
    scales: &[f32; BLOCK],
    table: Table<'_>,
    floor: f32,
    estimates: &mut [f32; BLOCK],
) -> u32 {
    Set::widest().estimate(sums, scales, table, floor, estimates)
}

/// Adds `factor * code`, rounded to integers, to `sum`. All of the same length.
pub(crate) fn add_scaled(sum: &mut [i32], code: &[i8], factor: f32) {
    for (sum, code) in sum.iter_mut().zip(code) {
        *sum = sum.wrapping_add(nearest_small(f32::from(*code) * factor));
    }
}

/// As [`nearest`], in instructions that every machine does four or more of at a time: ties go to
/// the even neighbour, and `value` must lie within ±2^22.
pub(crate) fn nearest_small(value: f32) -> i32 {
    // 1.5 * 2^23: adding it leaves the rounded value in the lowest bits of the mantissa.
    const SHIFT: f32 = 12_582_912.0;
    let bits = (value + SHIFT).to_bits().cast_signed();
    // What does not lie within becomes anything.
    bits.wrapping_sub(SHIFT.to_bits().cast_signed())
}

/// Asks for the cache lines of `bytes` before they are needed.
#[inline]
pub(crate) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    avx2::prefetch(bytes);
    #[cfg(target_arch = "aarch64")]
    neon::prefetch(bytes);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = bytes;
}

/// The instructions in use: `avx512`, `avx2`, `neon` or `scalar`.
#[must_use]
pub fn instructions() -> &'static str {
    Set::widest().name()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{prelude::*, test_runner::RngSeed};

    fn fixed() -> ProptestConfig {
        ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }

    proptest! {
        #![proptest_config(fixed())]

        #[test]
        fn simsimd_agrees_with_its_scalar_twin(
            pairs in prop::collection::vec((-1.0f32..1.0, -1.0f32..1.0), 0..700),
            skip in 0usize..9,
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            // Skipping a few values moves the slices off any alignment.
            let skip = skip.min(a.len());
            let (a, b) = (&a[skip..], &b[skip..]);
            let size: f64 = a.iter().zip(b).map(|(x, y)| f64::from((x * y).abs())).sum();
            let difference = f64::from(dot(a, b)) - f64::from(dot_scalar(a, b));
            prop_assert!(difference.abs() <= 1e-5 * size + 1e-7, "{difference} of {size}");
        }

        #[test]
        fn codes_are_multiplied_as_in_the_scalar_twin(
            values in prop::collection::vec((any::<i8>(), -8191i16..=8191), 64 * 9),
            lanes in 0usize..9,
            skip in 0usize..64,
        ) {
            let (code, query): (Vec<i8>, Vec<i16>) = values.into_iter().unzip();
            let range = skip..skip + lanes.min(8) * LANES;
            let (code, query) = (&code[range.clone()], &query[range]);
            let expected = scalar::dot_codes(code, query);
            for set in Set::available() {
                prop_assert_eq!(set.dot_codes(code, query), expected, "{}", set.name());
            }
        }

        #[test]
        fn entries_are_added_as_in_the_scalar_twin(
            bytes in prop::collection::vec((any::<u8>(), 0..=LUT_MAX), 256 * 8 + 7),
            before in prop::collection::vec(0u16..5000, BLOCK),
            length in 0usize..=4,
            blocks in 0usize..=3,
            skip in 0usize..=7,
            least in prop_oneof![Just(0), 1000u16..3000, Just(u16::MAX)],
            wanted in any::<u64>(),
        ) {
            let (groups, entries): (Vec<u8>, Vec<u8>) = bytes.into_iter().unzip();
            let entries = &entries[skip..skip + length * 256];
            let groups = &groups[skip..];
            let before: Sums = before.try_into().unwrap();
            let mut added = before;
            scalar::add(&groups[..entries.len()], entries, &mut added);
            let blocks = &groups[..entries.len() * blocks.min(8 / length.max(1))];
            let mut slow = [[2; BLOCK]; 8];
            let expected = scalar::heads(blocks, entries, least, wanted, &mut slow);
            for set in Set::available() {
                let mut sums = before;
                set.add(&groups[..entries.len()], entries, &mut sums);
                prop_assert_eq!(sums, added, "{}", set.name());

                let mut fast = [[1; BLOCK]; 8];
                let reached = set.heads(blocks, entries, least, wanted, &mut fast);
                prop_assert_eq!(reached, expected, "{}", set.name());
                for block in (0..8).filter(|block| reached >> block & 1 == 1) {
                    prop_assert_eq!(fast[block], slow[block], "{}", set.name());
                }
            }
        }

        #[test]
        fn sums_are_estimated_as_in_the_scalar_twin(
            sums in prop::collection::vec(any::<u16>(), BLOCK),
            factors in (-1.0f32..1.0, -1.0f32..1.0, -1e4f32..1e4),
            scales in prop::collection::vec(prop_oneof![4 => 0.9f32..1.6, 1 => Just(f32::NAN)], BLOCK),
        ) {
            let sums: Sums = sums.try_into().unwrap();
            let scales: [f32; BLOCK] = scales.try_into().unwrap();
            let (step, base, floor) = factors;
            let table = Table { entries: &[], step, base };
            let mut slow = [7.0; BLOCK];
            let expected = scalar::estimate(&sums, &scales, table, floor, &mut slow);
            for set in Set::available() {
                let mut fast = [9.0; BLOCK];
                let above = set.estimate(&sums, &scales, table, floor, &mut fast);
                prop_assert_eq!(above, expected, "{}", set.name());
                for lane in (0..BLOCK).filter(|lane| above >> lane & 1 == 1) {
                    prop_assert_eq!(fast[lane].to_bits(), slow[lane].to_bits(), "{}", set.name());
                }
            }
        }

        #[test]
        fn fast_rounding_rounds(value in -4e6f32..4e6) {
            let difference = f64::from(nearest_small(value)) - f64::from(value);
            prop_assert!(difference.abs() <= 0.5, "{value}");
        }
    }

    #[test]
    fn nothing_times_nothing_is_zero() {
        assert_eq!(dot(&[], &[]), 0.0);
        assert_eq!(dot_scalar(&[], &[]), 0.0);
        assert_eq!(dot_codes(&[], &[]), 0);
    }

    #[test]
    fn nan_is_passed_on_by_both() {
        assert!(dot(&[f32::NAN, 1.0], &[1.0, 1.0]).is_nan());
        assert!(dot_scalar(&[f32::NAN, 1.0], &[1.0, 1.0]).is_nan());
    }

    #[test]
    fn the_widest_instructions_are_in_use() {
        let names: Vec<_> = Set::available().map(Set::name).collect();
        println!("kernels compared: {}", names.join(" "));
        assert_eq!(names.first(), Some(&instructions()));
        assert_eq!(names.last(), Some(&"scalar"));
    }

    /// Largest magnitudes everywhere: no partial sum may overflow.
    #[test]
    fn extremes_do_not_overflow() {
        let (code, query) = (vec![-128i8; 1024], vec![8191i16; 1024]);
        let (groups, entries) = (vec![0xFFu8; 4096], vec![LUT_MAX; 4096]);
        let most = 256 * u16::from(LUT_MAX);
        for set in Set::available() {
            assert_eq!(set.dot_codes(&code, &query), -128 * 8191 * 1024);
            let mut sums = [0; BLOCK];
            set.add(&groups, &entries, &mut sums);
            assert_eq!(sums, [most; BLOCK]);
            let mut all = [[0; BLOCK]; 8];
            assert_eq!(set.heads(&groups, &entries, most, 1, &mut all), 1);
            assert_eq!(all[0], sums);
            assert_eq!(set.heads(&groups, &entries, most + 1, 1, &mut all), 0);
        }
    }
}

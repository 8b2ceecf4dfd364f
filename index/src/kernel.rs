//! Arithmetic on vectors. The dot product is simsimd's, which picks the widest instructions of the
//! machine it runs on; the scalar twin stands in where simsimd declines, and checks it in tests.

use simsimd::SpatialSimilarity;

/// Rounds to the nearest `f32`; what does not fit becomes infinite.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the one place that rounds, as its name says"
)]
pub(crate) fn round(value: f64) -> f32 {
    value as f32
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{prelude::*, test_runner::RngSeed};

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

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
    }

    #[test]
    fn nothing_times_nothing_is_zero() {
        assert_eq!(dot(&[], &[]), 0.0);
        assert_eq!(dot_scalar(&[], &[]), 0.0);
    }

    #[test]
    fn nan_is_passed_on_by_both() {
        assert!(dot(&[f32::NAN, 1.0], &[1.0, 1.0]).is_nan());
        assert!(dot_scalar(&[f32::NAN, 1.0], &[1.0, 1.0]).is_nan());
    }
}

//! Embeddings, and how alike two of them are.

use std::{cmp::Ordering, fmt};

use half::{f16, slice::HalfFloatSliceExt};

use crate::kernel;

/// How far from 1 the length of an [`Embedding`] may lie: what rounding to 16 bits can do to it.
pub(crate) const UNIT_TOLERANCE: f64 = 1e-3;

/// The least weight of an embedding in a mean, so that none counts for nothing.
pub(crate) const WEIGHT_MIN: f32 = 0.01;

/// Bytes of one value in the 16-bit form.
const F16_BYTES: usize = 2;

/// Cosine of the angle between two embeddings: -1 to 1, never NaN, higher is more alike.
///
/// What value means "the same person" depends on the model; its manifest says. Ordered by value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity(f32);

impl Similarity {
    /// The cosine of opposites, -1.
    pub const LEAST: Self = Self(-1.0);

    /// A cosine of `value`; `None` outside -1 to 1, and for NaN.
    #[must_use]
    pub fn new(value: f32) -> Option<Self> {
        (-1.0..=1.0).contains(&value).then(|| Self::from_dot(value))
    }

    /// The cosine, -1 to 1.
    #[must_use]
    pub const fn get(self) -> f32 {
        self.0
    }

    /// Takes the dot product of two unit vectors; rounding beyond ±1 is cut off.
    pub(crate) fn from_dot(dot: f32) -> Self {
        debug_assert!(!dot.is_nan(), "embeddings are finite");
        // Adding zero turns -0 into 0, so that equal cosines tie.
        Self(dot.clamp(-1.0, 1.0) + 0.0)
    }
}

impl Eq for Similarity {}

impl PartialOrd for Similarity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Similarity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Similarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a vector is no embedding.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EmbeddingError {
    /// There are no values at all.
    #[error("the embedding is empty; send as many values as the model's dimension")]
    Empty,
    /// A value is NaN or infinite.
    #[error("value {at} of the embedding is {value}; every value must be finite")]
    NotFinite {
        /// Position of the first such value, from 0.
        at: usize,
        /// The value.
        value: f32,
    },
    /// The vector has no direction.
    #[error("the embedding has length {norm:e}: it has no direction; the face was not embedded")]
    ZeroLength {
        /// Its Euclidean length.
        norm: f64,
    },
    /// Stored values must have length 1, and these have not.
    #[error("the embedding has length {norm}, not 1; normalise it before it is stored")]
    NotUnit {
        /// Its Euclidean length.
        norm: f64,
    },
    /// 16-bit values take two bytes each.
    #[error("{bytes} bytes are no sequence of 16-bit values; the embedding was cut short")]
    OddBytes {
        /// How many bytes there were.
        bytes: usize,
    },
}

/// A face embedding. Invariant: finite values, Euclidean length 1 (to 1e-3), at least one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding(Box<[f32]>);

impl Embedding {
    /// Scales `values` to length 1.
    ///
    /// # Errors
    /// [`EmbeddingError::Empty`], [`EmbeddingError::NotFinite`], or [`EmbeddingError::ZeroLength`]
    /// if the length is below the smallest normal `f32`.
    pub fn normalise(mut values: Vec<f32>) -> Result<Self, EmbeddingError> {
        let norm = checked_norm(&values)?;
        if norm < f64::from(f32::MIN_POSITIVE) {
            return Err(EmbeddingError::ZeroLength { norm });
        }
        for value in &mut values {
            *value = kernel::round(f64::from(*value) / norm);
        }
        Ok(Self(values.into_boxed_slice()))
    }

    /// The values; their squares sum to 1.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// How many values there are, at least 1.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.0.len()
    }

    /// Cosine between the two.
    ///
    /// # Panics
    /// If the dimensions differ: the caller has mixed two models.
    #[must_use]
    pub fn dot(&self, other: &Self) -> Similarity {
        assert_eq!(
            self.dimension(),
            other.dimension(),
            "embeddings of two models are compared"
        );
        Similarity::from_dot(kernel::dot(&self.0, &other.0))
    }

    /// The values as IEEE 754 binary16, little-endian, two bytes each: the form the log keeps.
    #[must_use]
    pub fn to_f16_bytes(&self) -> Vec<u8> {
        self.0
            .iter()
            .flat_map(|value| f16::from_f32(*value).to_le_bytes())
            .collect()
    }

    /// Reads what [`Self::to_f16_bytes`] wrote; writing it again gives the same bytes.
    ///
    /// # Errors
    /// [`EmbeddingError::OddBytes`], [`EmbeddingError::Empty`], [`EmbeddingError::NotFinite`], or
    /// [`EmbeddingError::NotUnit`] if the length is further from 1 than rounding explains.
    pub fn from_f16_bytes(bytes: &[u8]) -> Result<Self, EmbeddingError> {
        let (pairs, rest) = bytes.as_chunks::<F16_BYTES>();
        if !rest.is_empty() {
            return Err(EmbeddingError::OddBytes { bytes: bytes.len() });
        }
        let halves: Vec<f16> = pairs.iter().map(|pair| f16::from_le_bytes(*pair)).collect();
        // As a whole: one value at a time, the processor would be asked what it can for each.
        let mut values = vec![0.0; halves.len()];
        halves.convert_to_f32_slice(&mut values);
        let norm = checked_norm(&values)?;
        if (norm - 1.0).abs() > UNIT_TOLERANCE {
            return Err(EmbeddingError::NotUnit { norm });
        }
        Ok(Self(values.into_boxed_slice()))
    }

    /// The normalised weighted mean. A weight below 0.01 counts as 0.01, as a face's quality does in
    /// its identity's mean.
    ///
    /// `None` if there is nothing to average: no embeddings, a weight that is negative or not
    /// finite, dimensions that differ, or embeddings that cancel each other out.
    #[must_use]
    pub fn mean<'a>(weighted: impl IntoIterator<Item = (&'a Self, f32)>) -> Option<Self> {
        let mut sum: Vec<f64> = Vec::new();
        let mut total = 0.0;
        for (embedding, weight) in weighted {
            if sum.is_empty() {
                sum.resize(embedding.dimension(), 0.0);
            }
            if sum.len() != embedding.dimension() || !weight.is_finite() || weight < 0.0 {
                return None;
            }
            let weight = f64::from(weight.max(WEIGHT_MIN));
            total += weight;
            for (sum, value) in sum.iter_mut().zip(embedding.as_slice()) {
                *sum += f64::from(*value) * weight;
            }
        }
        Self::from_sum(&sum, total)
    }

    /// The direction of a sum of unit vectors whose weights sum to `total`; `None` if they cancel
    /// each other out (to a millionth), so that rounding alone would choose the direction.
    pub(crate) fn from_sum(sum: &[f64], total: f64) -> Option<Self> {
        let norm = kernel::norm(sum.iter().copied());
        if sum.is_empty() || norm <= total * 1e-6 {
            return None;
        }
        Some(Self(
            sum.iter()
                .map(|value| kernel::round(value / norm))
                .collect(),
        ))
    }

    /// The first axis of `dimension` values, at least one.
    pub(crate) fn axis(dimension: usize) -> Self {
        let values = (0..dimension).map(|at| if at == 0 { 1.0 } else { 0.0 });
        Self(values.collect())
    }
}

fn checked_norm(values: &[f32]) -> Result<f64, EmbeddingError> {
    if values.is_empty() {
        return Err(EmbeddingError::Empty);
    }
    if let Some((at, value)) = values
        .iter()
        .enumerate()
        .find(|(_, value)| !value.is_finite())
    {
        return Err(EmbeddingError::NotFinite { at, value: *value });
    }
    Ok(kernel::norm(values.iter().map(|value| f64::from(*value))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{prelude::*, test_runner::RngSeed};

    #[track_caller]
    fn embedding(values: &[f32]) -> Embedding {
        Embedding::normalise(values.to_vec()).unwrap()
    }

    #[test]
    fn what_has_no_direction_is_refused() {
        let refuse = |values: Vec<f32>| Embedding::normalise(values).unwrap_err();
        assert_eq!(refuse(vec![]), EmbeddingError::Empty);
        assert_eq!(
            refuse(vec![0.0; 4]),
            EmbeddingError::ZeroLength { norm: 0.0 }
        );
        assert!(matches!(
            refuse(vec![1e-40; 4]),
            EmbeddingError::ZeroLength { .. }
        ));
        assert!(matches!(
            refuse(vec![1.0, f32::NAN]),
            EmbeddingError::NotFinite { at: 1, .. }
        ));
        let infinite = EmbeddingError::NotFinite {
            at: 0,
            value: f32::INFINITY,
        };
        assert_eq!(refuse(vec![f32::INFINITY]), infinite);
    }

    #[test]
    fn huge_values_keep_their_direction() {
        assert_eq!(embedding(&[f32::MAX, 0.0]).as_slice(), [1.0, 0.0]);
        let diagonal = embedding(&[f32::MAX, f32::MAX]);
        assert!((diagonal.as_slice()[0] - 0.5f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn stored_bytes_are_checked() {
        let refuse = |bytes: &[u8]| Embedding::from_f16_bytes(bytes).unwrap_err();
        assert_eq!(refuse(&[]), EmbeddingError::Empty);
        assert_eq!(refuse(&[0, 60, 0]), EmbeddingError::OddBytes { bytes: 3 });
        assert_eq!(refuse(&[0, 0, 0, 0]), EmbeddingError::NotUnit { norm: 0.0 });
        // 0x7E00 is NaN, 0x7C00 infinity, 0x4000 is 2.
        assert!(matches!(
            refuse(&[0, 0x7E]),
            EmbeddingError::NotFinite { at: 0, .. }
        ));
        assert!(matches!(
            refuse(&[0, 0x7C]),
            EmbeddingError::NotFinite { at: 0, .. }
        ));
        assert_eq!(refuse(&[0, 0x40]), EmbeddingError::NotUnit { norm: 2.0 });
        assert_eq!(
            Embedding::from_f16_bytes(&[0, 0x3C]).unwrap().as_slice(),
            [1.0]
        );
    }

    #[test]
    fn opposite_directions_have_no_mean() {
        let (up, down) = (embedding(&[0.0, 1.0]), embedding(&[0.0, -1.0]));
        assert_eq!(Embedding::mean([(&up, 1.0), (&down, 1.0)]), None);
        assert_eq!(
            Embedding::mean([(&up, 2.0), (&down, 1.0)]),
            Some(up.clone())
        );
        assert_eq!(Embedding::mean([]), None);
        assert_eq!(Embedding::mean([(&up, 0.0)]), Some(up.clone()));
        assert_eq!(Embedding::mean([(&up, -0.1)]), None);
        assert_eq!(Embedding::mean([(&up, f32::NAN)]), None);
        assert_eq!(
            Embedding::mean([(&up, 1.0), (&embedding(&[1.0]), 1.0)]),
            None
        );
    }

    #[test]
    fn negative_zero_ties_with_zero() {
        assert_eq!(
            Similarity::from_dot(-0.0).cmp(&Similarity::from_dot(0.0)),
            Ordering::Equal
        );
        assert_eq!(Similarity::from_dot(1.000_001).get(), 1.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn the_sixteen_bit_form_comes_back_as_it_was(
            values in prop::collection::vec(-1.0f32..1.0, 1..600),
        ) {
            prop_assume!(values.iter().any(|value| value.abs() > 1e-3));
            let embedding = embedding(&values);
            let bytes = embedding.to_f16_bytes();
            prop_assert_eq!(bytes.len(), 2 * values.len());
            let back = Embedding::from_f16_bytes(&bytes).unwrap();
            prop_assert!(back.dot(&embedding).get() > 0.999);
            prop_assert_eq!(back.to_f16_bytes(), bytes);
        }

        #[test]
        fn any_bytes_are_an_embedding_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            if let Ok(embedding) = Embedding::from_f16_bytes(&bytes) {
                let norm = kernel::norm(embedding.as_slice().iter().map(|v| f64::from(*v)));
                prop_assert!((norm - 1.0).abs() <= UNIT_TOLERANCE);
            }
        }
    }
}

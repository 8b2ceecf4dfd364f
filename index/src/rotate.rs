//! A fixed random rotation, so that the values of a vector carry about the same weight each: what
//! 1-bit sketches and 8-bit codes are made for. Dot products and lengths stay.
//!
//! Two rounds of random signs and a Walsh-Hadamard transform, as in Ailon and Chazelle, "The Fast
//! Johnson-Lindenstrauss Transform", SIAM J. Comput. 39(1), 2009. Vectors are padded with zeros to
//! a power of two, at least 64.

use crate::kernel::LANES;

const ROUNDS: u64 = 2;
/// Part of the file format: other signs give other codes.
const SEED: u64 = 0x526F_6C6C_6361_6C6C;

/// The rotation for vectors of one dimension.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    dimension: usize,
    /// For each round, 1 or -1 for each value, times what keeps lengths.
    signs: Vec<f32>,
    padded: usize,
}

impl Rotation {
    pub(crate) fn new(dimension: usize) -> Self {
        let padded = dimension.next_power_of_two().max(LANES);
        #[expect(clippy::cast_precision_loss, reason = "a power of two is exact")]
        let scale = 1.0 / (padded as f32).sqrt();
        let mut state = SEED;
        let mut sign = || {
            // SplitMix64.
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            if (mixed ^ (mixed >> 31)) & 1 == 0 {
                scale
            } else {
                -scale
            }
        };
        let count = usize::try_from(ROUNDS).unwrap_or(2) * padded;
        let signs = std::iter::repeat_with(&mut sign).take(count).collect();
        Self {
            dimension,
            signs,
            padded,
        }
    }

    /// Values of a rotated vector.
    pub(crate) fn padded(&self) -> usize {
        self.padded
    }

    /// `vector`, rotated.
    pub(crate) fn forward(&self, vector: &[f32]) -> Vec<f32> {
        debug_assert_eq!(vector.len(), self.dimension);
        let mut values = vec![0.0; self.padded];
        values[..vector.len()].copy_from_slice(vector);
        for signs in self.signs.chunks_exact(self.padded) {
            for (value, sign) in values.iter_mut().zip(signs) {
                *value *= sign;
            }
            transform(&mut values);
        }
        values
    }

    /// The vector that [`Self::forward`] made `rotated` of.
    pub(crate) fn backward(&self, mut rotated: Vec<f32>) -> Vec<f32> {
        debug_assert_eq!(rotated.len(), self.padded);
        for signs in self.signs.chunks_exact(self.padded).rev() {
            transform(&mut rotated);
            for (value, sign) in rotated.iter_mut().zip(signs) {
                *value *= sign;
            }
        }
        rotated.truncate(self.dimension);
        rotated
    }
}

/// The Walsh-Hadamard transform of a power of two of values, at least [`LANES`], without a factor.
fn transform(values: &mut [f32]) {
    // What lies within eight values, three steps at once: so they stay in registers.
    let (eights, _) = values.as_chunks_mut::<8>();
    for eight in eights {
        *eight = step::<4>(step::<2>(step::<1>(*eight)));
    }
    let mut half = 8;
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (low, high) in low.iter_mut().zip(high) {
                (*low, *high) = (*low + *high, *low - *high);
            }
        }
        half *= 2;
    }
}

/// Sums and differences of values that are `HALF` apart.
#[inline]
fn step<const HALF: usize>(eight: [f32; 8]) -> [f32; 8] {
    std::array::from_fn(|at| {
        let other = eight[at ^ HALF];
        if at & HALF == 0 {
            eight[at] + other
        } else {
            other - eight[at]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel;

    #[test]
    fn products_stay_and_the_way_back_leads_home() {
        for dimension in [1usize, 3, 64, 100, 512] {
            let rotation = Rotation::new(dimension);
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let vector = |seed: usize| -> Vec<f32> {
                let value = |at: usize| ((at * 37 + seed * 101) % 23) as f32 - 11.0;
                (0..dimension).map(value).collect()
            };
            let (a, b) = (vector(1), vector(5));
            let (x, y) = (rotation.forward(&a), rotation.forward(&b));
            assert_eq!(x.len(), rotation.padded());
            let (before, after) = (kernel::dot(&a, &b), kernel::dot(&x, &y));
            assert!((before - after).abs() <= 1e-2, "{before} {after}");
            for (home, value) in rotation.backward(x).iter().zip(&a) {
                assert!((home - value).abs() < 1e-4, "{home} {value}");
            }
        }
    }
}

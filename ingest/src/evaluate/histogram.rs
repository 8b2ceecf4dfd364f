//! How often each cosine was seen.

use crate::number::floor_u32;

/// Bins between a cosine of -1 and one of 1: thresholds are told apart by 0.0001.
pub const BINS: usize = 20_000;
const BINS_PER_COSINE: f32 = 10_000.0;

/// Counts of cosines, by steps of 0.0001. Counts may be weighted, and are then no whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram(Vec<f64>);

impl Default for Histogram {
    fn default() -> Self {
        Self(vec![0.0; BINS + 1])
    }
}

impl Histogram {
    /// Counts a cosine.
    pub fn add(&mut self, cosine: f32, weight: f64) {
        self.0[bin(cosine)] += weight;
    }

    /// Counts what another has counted.
    pub fn merge(&mut self, other: &Self) {
        self.0
            .iter_mut()
            .zip(&other.0)
            .for_each(|(to, from)| *to += from);
    }

    /// Counts each half.
    pub(crate) fn halve(&mut self) {
        self.0.iter_mut().for_each(|count| *count /= 2.0);
    }

    /// All that were counted.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.0.iter().sum()
    }

    /// For each bin, from the lowest, how many cosines are in it or above.
    #[must_use]
    pub fn at_or_above(&self) -> Vec<f64> {
        let mut sum = 0.0;
        let mut sums: Vec<f64> = self
            .0
            .iter()
            .rev()
            .map(|count| {
                sum += count;
                sum
            })
            .collect();
        sums.reverse();
        sums
    }

    /// Mean and standard deviation, to the width of a bin.
    #[must_use]
    pub fn mean_and_sd(&self) -> (f64, f64) {
        let total = self.total().max(f64::MIN_POSITIVE);
        let middle = |bin: usize| threshold(bin) + 0.00005;
        let weighted = |of: &dyn Fn(f64) -> f64| {
            let terms = self.0.iter().enumerate();
            terms
                .map(|(bin, count)| of(middle(bin)) * count)
                .sum::<f64>()
                / total
        };
        let mean = weighted(&|cosine| cosine);
        (mean, weighted(&|cosine| (cosine - mean).powi(2)).sqrt())
    }

    /// The shares in `count` bins of equal width between cosines -1 and 1, for pictures.
    ///
    /// # Panics
    /// Unless `count` divides [`BINS`].
    #[must_use]
    pub fn coarse(&self, count: usize) -> Vec<f64> {
        assert!(BINS.is_multiple_of(count), "bins of one width");
        let total = self.total().max(f64::MIN_POSITIVE);
        let mut shares: Vec<f64> = self.0[..BINS]
            .chunks(BINS / count)
            .map(|bins| bins.iter().sum::<f64>() / total)
            .collect();
        if let Some(last) = shares.last_mut() {
            *last += self.0[BINS] / total;
        }
        shares
    }
}

/// The lowest cosine of a bin.
#[must_use]
pub fn threshold(bin: usize) -> f64 {
    // Divided, not multiplied: 0.4 is then 0.4.
    (bin as f64 - BINS as f64 / 2.0) / f64::from(BINS_PER_COSINE)
}

/// The bin that holds a cosine.
fn bin(cosine: f32) -> usize {
    let bin = floor_u32((cosine + 1.0) * BINS_PER_COSINE);
    usize::try_from(bin).map_or(BINS, |bin| bin.min(BINS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_are_counted_where_they_are() {
        let mut seen = Histogram::default();
        for cosine in [-1.0, -0.5, 0.25, 0.25, 1.0, 1.000_001] {
            seen.add(cosine, 1.0);
        }
        let above = seen.at_or_above();
        assert_eq!(above[0], 6.0);
        assert_eq!(above[bin(0.25)], 4.0);
        assert_eq!(above[bin(0.25) + 1], 2.0);
        assert_eq!(threshold(bin(0.25)), 0.25);
        assert_eq!(threshold(BINS), 1.0);
        let coarse = seen.coarse(4);
        assert_eq!(coarse, [1.0 / 6.0, 1.0 / 6.0, 2.0 / 6.0, 2.0 / 6.0]);
        let (mean, sd) = seen.mean_and_sd();
        assert!(
            (mean - 1.0 / 6.0).abs() < 1e-4 && (sd - 0.731_25).abs() < 1e-3,
            "{mean} {sd}"
        );
    }
}

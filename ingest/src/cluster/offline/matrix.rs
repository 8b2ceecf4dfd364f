//! Vectors in rows, and the products of many with many.

use ndarray::{ArrayView2, ArrayViewMut2, linalg::general_mat_mul};
use rayon::prelude::*;
use simsimd::SpatialSimilarity;

/// Rows that are multiplied at once, on each side.
const TILE: usize = 512;

/// Vectors of one dimension, row after row.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    values: &'a [f32],
    dimension: usize,
}

impl<'a> Rows<'a> {
    /// These values as rows of so many.
    ///
    /// # Panics
    /// If they do not make whole rows.
    #[must_use]
    pub fn new(values: &'a [f32], dimension: usize) -> Self {
        assert!(
            values.is_empty() || dimension > 0 && values.len().is_multiple_of(dimension),
            "whole rows"
        );
        Self { values, dimension }
    }

    /// How many.
    #[must_use]
    pub fn len(self) -> usize {
        self.values.len().checked_div(self.dimension).unwrap_or(0)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.values.is_empty()
    }

    /// Values of a row.
    #[must_use]
    pub fn dimension(self) -> usize {
        self.dimension
    }

    /// One of them.
    ///
    /// # Panics
    /// Beyond the last.
    #[must_use]
    pub fn row(self, at: usize) -> &'a [f32] {
        &self.values[at * self.dimension..][..self.dimension]
    }

    /// The values, row after row.
    #[must_use]
    pub fn values(self) -> &'a [f32] {
        self.values
    }

    /// So many rows from one on.
    #[must_use]
    pub fn part(self, from: usize, count: usize) -> Rows<'a> {
        let values = &self.values[from * self.dimension..][..count * self.dimension];
        Rows { values, ..self }
    }

    /// The rows with these numbers, in this order.
    #[must_use]
    pub fn gather(self, rows: &[u32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(rows.len() * self.dimension);
        rows.iter()
            .for_each(|row| out.extend_from_slice(self.row(*row as usize)));
        out
    }
}

/// The dot product of two vectors of one length.
#[must_use]
pub fn dot(one: &[f32], other: &[f32]) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounded to the nearest")]
    let rounded = <f32 as SpatialSimilarity>::dot(one, other).map(|dot| dot as f32);
    rounded.unwrap_or_else(|| one.iter().zip(other).map(|(a, b)| a * b).sum())
}

/// The length of the difference of two vectors of one length.
#[must_use]
pub fn distance(one: &[f32], other: &[f32]) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounded to the nearest")]
    let rounded = <f32 as SpatialSimilarity>::sqeuclidean(one, other).map(|sum| sum as f32);
    let squared =
        rounded.unwrap_or_else(|| one.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum());
    squared.max(0.0).sqrt()
}

/// Makes each row one of length 1; a row of zeros stays.
pub fn normalise(values: &mut [f32], dimension: usize) {
    values.par_chunks_exact_mut(dimension).for_each(|row| {
        let length = dot(row, row).sqrt();
        if length > 0.0 {
            row.iter_mut().for_each(|value| *value /= length);
        }
    });
}

/// The dot products of each of `ones` (rows) with each of `others` (columns), into `out`.
///
/// # Panics
/// If the dimensions differ or `out` has another size.
pub fn product(ones: Rows<'_>, others: Rows<'_>, out: &mut [f32]) {
    fn view(rows: Rows<'_>) -> ArrayView2<'_, f32> {
        ArrayView2::from_shape((rows.len(), rows.dimension), rows.values).expect("whole rows")
    }
    let mut out =
        ArrayViewMut2::from_shape((ones.len(), others.len()), out).expect("a place a pair");
    general_mat_mul(1.0, &view(ones), &view(others).t(), 0.0, &mut out);
}

/// Calls `each` with the number of each of `ones` and its dot products with so many of `others`, from which on;
/// for one row in ascending order of these. `state` makes what a row of `ones` gathers. The result is in order.
///
/// Cost: all products, on all threads of the pool; scratch of a megabyte a thread.
pub fn scan<T: Send>(
    ones: Rows<'_>,
    others: Rows<'_>,
    state: impl Fn(usize) -> T + Sync,
    each: impl Fn(&mut T, usize, usize, &[f32]) + Sync,
) -> Vec<T> {
    let tiles: Vec<usize> = (0..ones.len()).step_by(TILE).collect();
    let of_tile = |from: &usize| {
        let block = ones.part(*from, TILE.min(ones.len() - from));
        let mut found: Vec<T> = (0..block.len()).map(|at| state(from + at)).collect();
        let mut scratch = vec![0.0; TILE * TILE];
        for other_from in (0..others.len()).step_by(TILE) {
            let beside = others.part(other_from, TILE.min(others.len() - other_from));
            let products = &mut scratch[..block.len() * beside.len()];
            product(block, beside, products);
            let by_row = products.chunks_exact(beside.len()).enumerate();
            for (at, products) in by_row {
                each(&mut found[at], from + at, other_from, products);
            }
        }
        found
    };
    let found: Vec<Vec<T>> = tiles.par_iter().map(of_tile).collect();
    found.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_one_with_one() {
        let values: Vec<f32> = (0..600 * 7)
            .map(|at| ((at * 37 % 101) as f32) / 50.0 - 1.0)
            .collect();
        let rows = Rows::new(&values, 7);
        let all = scan(
            rows,
            rows.part(0, 530),
            |_| Vec::new(),
            |found: &mut Vec<f32>, _, from, products| {
                assert_eq!(found.len(), from);
                found.extend_from_slice(products);
            },
        );
        assert_eq!(all.len(), 600);
        for (at, found) in all.iter().enumerate() {
            assert_eq!(found.len(), 530);
            for (other, product) in found.iter().enumerate() {
                let one: f32 = rows
                    .row(at)
                    .iter()
                    .zip(rows.row(other))
                    .map(|(a, b)| a * b)
                    .sum();
                assert!((product - one).abs() < 1e-4);
                assert!((dot(rows.row(at), rows.row(other)) - one).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn rows_become_as_long_as_one() {
        let mut values = vec![3.0, 4.0, 0.0, 0.0];
        normalise(&mut values, 2);
        assert_eq!(values, [0.6, 0.8, 0.0, 0.0]);
    }
}

//! All cosines of rows with rows, a block at a time.

use ndarray::{ArrayView2, LinalgScalar, linalg::general_mat_mul};
use rayon::prelude::*;

/// Values of a block of products, at most: it should fit a core's share of the cache.
const BLOCK_VALUES: usize = 1 << 20;
/// Rows of a block, at least: fewer waste the packing of the right side.
const BLOCK_ROWS: usize = 64;

/// Rows of one dimension, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) dimension: usize,
}

impl<'a, T> Rows<'a, T> {
    pub(crate) fn new(values: &'a [T], dimension: usize) -> Self {
        assert!(
            dimension > 0 && values.len().is_multiple_of(dimension),
            "whole rows"
        );
        Self { values, dimension }
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len() / self.dimension
    }
}

/// For each row of `left`, in an order that is not told, calls `take` with what `start` made for
/// this part of the work, the row's number, and its products with all rows of `right`. Returns what
/// came of each part, in the order of the rows.
///
/// Cost: `left` times `right` times the dimension multiplications, on all cores.
pub(crate) fn each_row<T, P>(
    left: Rows<'_, T>,
    right: Rows<'_, T>,
    start: impl Fn() -> P + Sync,
    take: impl Fn(&mut P, usize, &mut [T]) + Sync,
) -> Vec<P>
where
    T: LinalgScalar + Send + Sync,
    P: Send,
{
    assert_eq!(left.dimension, right.dimension, "one dimension");
    let (dimension, columns) = (left.dimension, right.len());
    if columns == 0 || left.len() == 0 {
        return Vec::new();
    }
    let b = ArrayView2::from_shape((columns, dimension), right.values).expect("whole rows");
    let rows = (BLOCK_VALUES / columns).clamp(BLOCK_ROWS, 512);
    // Few parts, so that what each gathers is merged seldom; many enough that no core waits long.
    let parts = (rayon::current_num_threads() * 8).max(1);
    let part_rows = left.len().div_ceil(parts).next_multiple_of(rows);
    let parts = left.values.par_chunks(part_rows * dimension).enumerate();
    let parts = parts.map(|(part, values)| {
        let mut state = start();
        let mut products = vec![T::zero(); rows * columns];
        for (block, values) in values.chunks(rows * dimension).enumerate() {
            let here = values.len() / dimension;
            let a = ArrayView2::from_shape((here, dimension), values).expect("whole rows");
            let products = &mut products[..here * columns];
            let mut c = ndarray::ArrayViewMut2::from_shape((here, columns), &mut *products)
                .expect("as many as there are");
            general_mat_mul(T::one(), &a, &b.t(), T::zero(), &mut c);
            for (at, row) in products.chunks_mut(columns).enumerate() {
                take(&mut state, part * part_rows + block * rows + at, row);
            }
        }
        state
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_meets_every_row_once() {
        let left: Vec<f64> = (0..701 * 3).map(|value| f64::from(value % 17)).collect();
        let right: Vec<f64> = (0..53 * 3).map(|value| f64::from(value % 11)).collect();
        let found = each_row(
            Rows::new(&left, 3),
            Rows::new(&right, 3),
            Vec::new,
            |rows: &mut Vec<(usize, Vec<f64>)>, row, products| rows.push((row, products.to_vec())),
        );
        let found: Vec<_> = found.into_iter().flatten().collect();
        assert_eq!(found.len(), 701);
        for (at, (row, products)) in found.iter().enumerate() {
            assert_eq!(at, *row);
            for (column, product) in products.iter().enumerate() {
                let (a, b) = (&left[row * 3..][..3], &right[column * 3..][..3]);
                let expected: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                assert!((product - expected).abs() < 1e-9, "{row} {column}");
            }
        }
    }
}

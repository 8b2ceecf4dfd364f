//! How compact are clusters, and how far apart? Measures that need no truth.
//!
//! - **Silhouette** (Rousseeuw, "Silhouettes", Journal of Computational and Applied Mathematics 20,
//!   1987): for each face (b - a) / max(a, b), with a the mean distance to the others of its cluster
//!   and b that to the nearest other cluster; 0 in a cluster of one.
//! - **Davies-Bouldin** ("A Cluster Separation Measure", IEEE TPAMI 1, 1979): the mean over clusters
//!   of the worst ratio of two clusters' widths to the distance of their centres. Less is better.
//! - **Caliński-Harabasz** ("A dendrite method for cluster analysis", Communications in Statistics 3,
//!   1974): the spread of centres over that of faces around them, each by its degrees of freedom.
//!
//! Vectors have length 1. All three are scikit-learn's.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    EvaluateError,
    interval::{Interval, Z95},
    product::{Rows, each_row},
};
use crate::{faceset::FaceSet, random::Random};

/// Rows times rows up to which distances are computed in double precision.
const EXACT_CELLS: usize = 4_000_000;
/// Rows times rows of Euclidean silhouettes, at most: 30,000 faces with each other.
pub const CELLS_MAX: usize = 900_000_000;
/// Lower bounds of the bins of cluster sizes, as streamface has them.
pub const SIZE_BINS: [usize; 31] = [
    1, 2, 6, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000,
    2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10_000,
];

/// A silhouette.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Silhouette {
    /// The mean over faces.
    pub mean: f64,
    /// Its standard error where not all faces were looked at; 0 where they were.
    pub standard_error: f64,
    /// The 95 % interval that this gives, where not all faces were looked at.
    pub interval: Option<Interval>,
    /// Which faces were looked at, by row.
    #[serde(skip)]
    pub rows: Vec<usize>,
    /// The value of each.
    #[serde(skip)]
    pub values: Vec<f64>,
}

/// What there is to say of clusters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Clusters {
    /// Faces in clusters.
    pub faces: usize,
    /// Faces with a label below 0.
    pub noise: usize,
    /// Faces without a label.
    pub unlabelled: usize,
    /// Clusters.
    pub clusters: usize,
    /// By cosine distance, over all faces.
    pub silhouette_cosine: Silhouette,
    /// By Euclidean distance.
    pub silhouette_euclidean: Silhouette,
    /// Of Euclidean distances; 0 at best.
    pub davies_bouldin: f64,
    /// Of Euclidean distances.
    pub calinski_harabasz: f64,
    /// Labels and sizes, the largest first.
    #[serde(skip)]
    pub sizes: Vec<(i64, usize)>,
    /// For each bin of [`SIZE_BINS`] how many clusters and how many faces are in it.
    pub size_bins: Vec<(usize, usize, usize)>,
}

/// Faces in clusters, in double precision.
struct Clustering {
    rows: Vec<usize>,
    values: Vec<f64>,
    dimension: usize,
    /// The cluster of each, from 0.
    of: Vec<usize>,
    sizes: Vec<usize>,
    labels: Vec<i64>,
    /// The sum of each cluster's vectors.
    sums: Vec<f64>,
}

/// Measures clusters; faces with a label below 0 or none are left out. Euclidean silhouettes are
/// computed of as many faces, chosen by `seed`, as [`CELLS_MAX`] allows, each against all faces.
///
/// Cost: for cosines faces times clusters, for Euclidean distances faces times faces, times the
/// dimension, on all cores.
///
/// # Errors
/// [`EvaluateError::TooFew`] unless there are two clusters and more faces than clusters.
pub fn measure(
    faces: &FaceSet,
    labels: &[Option<i64>],
    seed: u64,
) -> Result<Clusters, EvaluateError> {
    let clustering = Clustering::of(faces, labels);
    let (rows, clusters) = (clustering.rows.len(), clustering.sizes.len());
    if clusters < 2 || rows <= clusters {
        return Err(EvaluateError::TooFew(format!(
            "{rows} faces in {clusters} clusters; two clusters and more faces than clusters are needed"
        )));
    }
    let count =
        |wanted: fn(&Option<i64>) -> bool| labels.iter().filter(|label| wanted(label)).count();
    let mut sizes: Vec<(i64, usize)> = clustering
        .labels
        .iter()
        .copied()
        .zip(clustering.sizes.iter().copied())
        .collect();
    sizes.sort_by_key(|(label, size)| (std::cmp::Reverse(*size), *label));
    let euclidean = if rows * rows <= EXACT_CELLS {
        clustering.euclidean(&clustering.values, seed)
    } else {
        let narrow: Vec<f32> = clustering
            .rows
            .iter()
            .flat_map(|row| faces.embedding(*row))
            .copied()
            .collect();
        clustering.euclidean(&narrow, seed)
    };
    Ok(Clusters {
        faces: rows,
        noise: count(|label| label.is_some_and(|label| label < 0)),
        unlabelled: count(Option::is_none),
        clusters,
        silhouette_cosine: clustering.cosine(),
        silhouette_euclidean: euclidean,
        davies_bouldin: clustering.davies_bouldin(),
        calinski_harabasz: clustering.calinski_harabasz(),
        size_bins: size_bins(&sizes),
        sizes,
    })
}

fn size_bins(sizes: &[(i64, usize)]) -> Vec<(usize, usize, usize)> {
    let mut bins: Vec<(usize, usize, usize)> = SIZE_BINS.iter().map(|from| (*from, 0, 0)).collect();
    for (_, size) in sizes {
        let bin = &mut bins[SIZE_BINS.partition_point(|from| from <= size) - 1];
        bin.1 += 1;
        bin.2 += size;
    }
    bins
}

impl Clustering {
    fn of(faces: &FaceSet, labels: &[Option<i64>]) -> Self {
        let kept = labels.iter().enumerate();
        let kept = kept.filter_map(|(row, label)| Some((row, label.filter(|label| *label >= 0)?)));
        let kept: Vec<(usize, i64)> = kept.collect();
        let mut numbers: BTreeMap<i64, usize> = kept.iter().map(|(_, label)| (*label, 0)).collect();
        numbers
            .values_mut()
            .zip(0..)
            .for_each(|(number, next)| *number = next);
        let dimension = faces.dimension();
        let mut clustering = Self {
            rows: kept.iter().map(|(row, _)| *row).collect(),
            values: kept
                .iter()
                .flat_map(|(row, _)| faces.embedding(*row))
                .map(|value| f64::from(*value))
                .collect(),
            dimension,
            of: kept.iter().map(|(_, label)| numbers[label]).collect(),
            sizes: vec![0; numbers.len()],
            labels: numbers.into_keys().collect(),
            sums: Vec::new(),
        };
        clustering.sums = vec![0.0; clustering.sizes.len() * dimension];
        for (row, cluster) in clustering
            .values
            .chunks_exact(dimension.max(1))
            .zip(&clustering.of)
        {
            clustering.sizes[*cluster] += 1;
            let sum = &mut clustering.sums[cluster * dimension..][..dimension];
            sum.iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += value);
        }
        clustering
    }

    /// The mean cosine distance to a cluster is 1 less the product with its mean, so sums will do.
    fn cosine(&self) -> Silhouette {
        let rows = Rows::new(&self.values, self.dimension);
        let sums = Rows::new(&self.sums, self.dimension);
        let parts = each_row(
            rows,
            sums,
            Vec::new,
            |values: &mut Vec<f64>, row, products| {
                let vector = &self.values[row * self.dimension..][..self.dimension];
                let itself: f64 = vector.iter().map(|value| value * value).sum();
                let mut distances = products.iter().zip(&self.sizes);
                values.push(self.silhouette(self.of[row], |cluster| {
                    let (sum, size) = distances.next().expect("a product a cluster");
                    let size = *size as f64;
                    // Of a vector that is not quite of length 1, to itself 0 all the same.
                    if cluster == self.of[row] {
                        (size - 1.0) - (sum - itself)
                    } else {
                        size - sum
                    }
                }));
            },
        );
        Silhouette::of(
            (0..self.rows.len()).map(|row| self.rows[row]).collect(),
            parts.concat(),
            self.rows.len(),
        )
    }

    fn euclidean<T>(&self, values: &[T], seed: u64) -> Silhouette
    where
        T: ndarray::LinalgScalar + Into<f64> + Send + Sync,
    {
        let rows = self.rows.len();
        let looked_at = Random::new(seed).choose((CELLS_MAX / rows).max(2), rows);
        let dimension = self.dimension;
        let left: Vec<T> = looked_at
            .iter()
            .flat_map(|row| &values[row * dimension..][..dimension])
            .copied()
            .collect();
        let squares: Vec<f64> = values
            .chunks_exact(dimension)
            .map(|row| {
                row.iter()
                    .map(|value| {
                        let value: f64 = (*value).into();
                        value * value
                    })
                    .sum()
            })
            .collect();
        let (left, right) = (Rows::new(&left, dimension), Rows::new(values, dimension));
        let start = || (Vec::new(), vec![0.0; self.sizes.len()]);
        let parts = each_row(left, right, start, |(found, sums), at, products| {
            let row = looked_at[at];
            sums.fill(0.0);
            for (other, product) in products.iter().enumerate() {
                if other != row {
                    let product: f64 = (*product).into();
                    let squared: f64 = squares[row] + squares[other] - 2.0 * product;
                    sums[self.of[other]] += squared.max(0.0).sqrt();
                }
            }
            found.push(self.silhouette(self.of[row], |cluster| sums[cluster]));
        });
        let values = parts.into_iter().flat_map(|(found, _)| found).collect();
        let named = looked_at.iter().map(|row| self.rows[*row]).collect();
        Silhouette::of(named, values, rows)
    }

    /// Of a face in cluster `own`, given the sum of its distances to each cluster, in order.
    fn silhouette(&self, own: usize, mut sum: impl FnMut(usize) -> f64) -> f64 {
        let (mut within, mut nearest) = (0.0, f64::INFINITY);
        for (cluster, size) in self.sizes.iter().enumerate() {
            let (sum, size) = (sum(cluster), *size as f64);
            if cluster == own {
                within = sum / (size - 1.0).max(1.0);
            } else {
                nearest = nearest.min(sum / size);
            }
        }
        let larger = within.max(nearest);
        if self.sizes[own] == 1 || larger <= 0.0 {
            0.0
        } else {
            (nearest - within) / larger
        }
    }

    fn centres(&self) -> Vec<f64> {
        let sums = self.sums.chunks_exact(self.dimension).zip(&self.sizes);
        sums.flat_map(|(sum, size)| sum.iter().map(|value| value / *size as f64))
            .collect()
    }

    fn davies_bouldin(&self) -> f64 {
        let centres = self.centres();
        let mut widths = vec![0.0; self.sizes.len()];
        for (row, cluster) in self.values.chunks_exact(self.dimension).zip(&self.of) {
            let centre = &centres[cluster * self.dimension..][..self.dimension];
            widths[*cluster] += squared_distance(row, centre).sqrt() / self.sizes[*cluster] as f64;
        }
        let squares: Vec<f64> = centres
            .chunks_exact(self.dimension)
            .map(|centre| centre.iter().map(|value| value * value).sum())
            .collect();
        let rows = Rows::new(&centres, self.dimension);
        let worst = each_row(
            rows,
            rows,
            Vec::new,
            |worst: &mut Vec<f64>, one, products| {
                let ratios = products
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != one);
                let ratios = ratios.map(|(other, product)| {
                    let apart = (squares[one] + squares[other] - 2.0 * product)
                        .max(0.0)
                        .sqrt();
                    // As scikit-learn has it: centres in one place count as infinitely far apart.
                    if apart == 0.0 {
                        0.0
                    } else {
                        (widths[one] + widths[other]) / apart
                    }
                });
                worst.push(ratios.fold(0.0, f64::max));
            },
        );
        worst.concat().iter().sum::<f64>() / self.sizes.len() as f64
    }

    fn calinski_harabasz(&self) -> f64 {
        let (rows, clusters) = (self.rows.len() as f64, self.sizes.len() as f64);
        let centres = self.centres();
        let mut mean = vec![0.0; self.dimension];
        for row in self.values.chunks_exact(self.dimension) {
            mean.iter_mut()
                .zip(row)
                .for_each(|(mean, value)| *mean += value / rows);
        }
        let of_centres = centres.chunks_exact(self.dimension).zip(&self.sizes);
        let between: f64 = of_centres
            .map(|(centre, size)| *size as f64 * squared_distance(centre, &mean))
            .sum();
        let of_rows = self.values.chunks_exact(self.dimension).zip(&self.of);
        let within: f64 = of_rows
            .map(|(row, cluster)| {
                squared_distance(row, &centres[cluster * self.dimension..][..self.dimension])
            })
            .sum();
        if within == 0.0 {
            return 1.0;
        }
        between * (rows - clusters) / (within * (clusters - 1.0))
    }
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

impl Silhouette {
    fn of(rows: Vec<usize>, values: Vec<f64>, all: usize) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean).powi(2));
        let sampled = values.len() < all;
        let standard_error = if sampled {
            let unseen = 1.0 - count / all as f64;
            (squares.sum::<f64>() / (count - 1.0) / count * unseen).sqrt()
        } else {
            0.0
        };
        Self {
            mean,
            standard_error,
            interval: sampled.then_some(Interval {
                low: mean - Z95 * standard_error,
                high: mean + Z95 * standard_error,
            }),
            rows,
            values,
        }
    }
}

#[cfg(test)]
mod tests;

//! Trees of clusters: single, average and complete linkage over all pairs, cut where SciPy's `fcluster` cuts them.
//!
//! The chain of nearest neighbours (Benzécri, "Construction d'une classification ascendante hiérarchique par la
//! recherche en chaîne des voisins réciproques", 1982; Müllner, "Modern hierarchical, agglomerative clustering
//! algorithms", arXiv:1109.2378): from any cluster go to the nearest, and on, until two are each other's nearest;
//! these are merged. For the three linkages that gives the same tree as merging the nearest pair of all each time.

use rayon::prelude::*;

use super::matrix::{Rows, distance, dot, product};

/// Rows of a square that are worked on at once.
const TILE: usize = 128;

/// How far two clusters are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// As far as the nearest two of theirs.
    Single,
    /// The mean over all pairs of theirs.
    Average,
    /// As far as the furthest two of theirs.
    Complete,
}

/// How far two vectors are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// 1 - cosine, 0 to 2; 1 if either is zero.
    Cosine,
    /// The length of the difference.
    Euclidean,
}

/// Two clusters became one.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Merge {
    /// A row of the one, and one of the other.
    rows: (u32, u32),
    distance: f32,
}

/// The tree of clusters of some rows.
#[derive(Clone, Debug)]
pub struct Tree {
    rows: usize,
    /// Nearest first.
    merges: Vec<Merge>,
}

impl Tree {
    /// The tree of all rows.
    ///
    /// Cost: a square of distances of four bytes ([`Tree::bytes`]), and about as many steps as it has places.
    #[must_use]
    pub fn of(rows: Rows<'_>, metric: Metric, linkage: Linkage) -> Self {
        let mut square = Square::of(rows, metric);
        let mut merges = square.chain(linkage);
        // Stable: of equal distances the one that was found first.
        merges.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        Self {
            rows: rows.len(),
            merges,
        }
    }

    /// What the distances of so many rows take.
    #[must_use]
    pub fn bytes(rows: usize) -> usize {
        rows.saturating_mul(rows).saturating_mul(size_of::<f32>())
    }

    /// A label a row, numbered by first row: two rows are one cluster if they come together no further apart than
    /// `distance`. As `fcluster(…, criterion="distance")`.
    #[must_use]
    pub fn cut_at(&self, distance: f64) -> Vec<u32> {
        let near = |merge: &Merge| f64::from(merge.distance) <= distance;
        self.cut(self.merges.partition_point(near))
    }

    /// The same with so many clusters, or fewer if some come together at the same distance. As
    /// `fcluster(…, criterion="maxclust")`.
    ///
    /// # Panics
    /// If no cluster is asked for.
    #[must_use]
    pub fn cut_into(&self, clusters: usize) -> Vec<u32> {
        assert!(clusters > 0, "there is a cluster");
        let needed = self.rows.saturating_sub(clusters);
        let last = needed.checked_sub(1).map(|last| self.merges[last].distance);
        let done = last.map_or(0, |last| {
            self.merges.partition_point(|merge| merge.distance <= last)
        });
        self.cut(done)
    }

    fn cut(&self, merges: usize) -> Vec<u32> {
        let pairs = self.merges[..merges].iter().map(|merge| merge.rows);
        components(self.rows, pairs)
    }
}

/// A label a row, numbered by first row: rows that are linked, over others as well, have the same.
#[must_use]
pub fn components(rows: usize, links: impl IntoIterator<Item = (u32, u32)>) -> Vec<u32> {
    let mut parents: Vec<u32> = (0..u32_of(rows)).collect();
    for (one, other) in links {
        let (one, other) = (root(&mut parents, one), root(&mut parents, other));
        // The lower row stays: labels are then in order.
        parents[one.max(other) as usize] = one.min(other);
    }
    let mut labels = vec![0; rows];
    let mut count = 0;
    for row in 0..rows {
        let root = root(&mut parents, u32_of(row)) as usize;
        if root == row {
            labels[row] = count;
            count += 1;
        } else {
            labels[row] = labels[root];
        }
    }
    labels
}

fn root(parents: &mut [u32], row: u32) -> u32 {
    let mut root = row;
    while parents[root as usize] != root {
        let above = parents[root as usize];
        parents[root as usize] = parents[above as usize];
        root = parents[root as usize];
    }
    root
}

/// All distances, those of a row beside one another.
struct Square {
    size: usize,
    distances: Vec<f32>,
}

impl Square {
    fn of(rows: Rows<'_>, metric: Metric) -> Self {
        let size = rows.len();
        let mut distances = vec![0.0; size * size];
        let tiles = distances.par_chunks_mut((TILE * size).max(1)).enumerate();
        tiles.for_each(|(at, tile)| match metric {
            Metric::Cosine => cosines(rows, at * TILE, tile),
            Metric::Euclidean => lengths(rows, at * TILE, tile),
        });
        let mut square = Self { size, distances };
        square.mirror();
        square
    }

    /// Products may differ in the last bit between the two sides: what is above the diagonal counts.
    fn mirror(&mut self) {
        let tiles: Vec<usize> = (0..self.size).step_by(TILE).collect();
        for ones in &tiles {
            for others in tiles.iter().filter(|others| *others >= ones) {
                for one in *ones..(ones + TILE).min(self.size) {
                    for other in (*others).max(one + 1)..(others + TILE).min(self.size) {
                        self.distances[other * self.size + one] = self.at(one, other);
                    }
                }
            }
        }
    }

    fn at(&self, one: usize, other: usize) -> f32 {
        self.distances[one * self.size + other]
    }

    fn chain(&mut self, linkage: Linkage) -> Vec<Merge> {
        let mut alive: Vec<usize> = (0..self.size).collect();
        let mut counts = vec![1_u32; self.size];
        let mut merges = Vec::with_capacity(self.size.saturating_sub(1));
        let mut chain: Vec<usize> = Vec::new();
        while alive.len() > 1 {
            if chain.is_empty() {
                chain.push(alive[0]);
            }
            let top = chain[chain.len() - 1];
            let before = chain.len().checked_sub(2).map(|before| chain[before]);
            let (nearest, distance) = self.nearest(top, before, &alive);
            // It is the one before, or, where means are rounded, one further back.
            let Some(place) = chain.iter().rposition(|one| *one == nearest) else {
                chain.push(nearest);
                continue;
            };
            chain.truncate(place);
            let (stays, goes) = (top.max(nearest), top.min(nearest));
            let place = alive.binary_search(&goes).expect("it is alive");
            alive.remove(place);
            self.update(stays, goes, &alive, &counts, linkage);
            counts[stays] += counts[goes];
            merges.push(Merge {
                rows: (u32_of(goes), u32_of(stays)),
                distance,
            });
        }
        merges
    }

    /// The nearest of those alive; of equally near ones the one before, then the lowest.
    fn nearest(&self, of: usize, before: Option<usize>, alive: &[usize]) -> (usize, f32) {
        let row = &self.distances[of * self.size..][..self.size];
        let mut best = before.map_or((usize::MAX, f32::INFINITY), |before| (before, row[before]));
        for other in alive {
            let distance = row[*other];
            if distance < best.1 && *other != of {
                best = (*other, distance);
            }
        }
        best
    }

    /// The distances of what these two become, in the place of the one that stays.
    fn update(
        &mut self,
        stays: usize,
        goes: usize,
        alive: &[usize],
        counts: &[u32],
        linkage: Linkage,
    ) {
        let (of_stays, of_goes) = (counts[stays] as f32, counts[goes] as f32);
        for other in alive {
            let other = *other;
            if other == stays {
                continue;
            }
            let (one, two) = (self.at(stays, other), self.at(goes, other));
            let distance = match linkage {
                Linkage::Single => one.min(two),
                Linkage::Complete => one.max(two),
                Linkage::Average => (one * of_stays + two * of_goes) / (of_stays + of_goes),
            };
            self.distances[stays * self.size + other] = distance;
            self.distances[other * self.size + stays] = distance;
        }
    }
}

/// 1 - cosine of so many rows, from one on, to all.
fn cosines(rows: Rows<'_>, from: usize, tile: &mut [f32]) {
    let some = rows.part(from, tile.len() / rows.len());
    product(some, rows, tile);
    let lengths: Vec<f32> = (0..rows.len())
        .map(|row| dot(rows.row(row), rows.row(row)).sqrt())
        .collect();
    for (at, products) in tile.chunks_exact_mut(rows.len()).enumerate() {
        for (other, product) in products.iter_mut().enumerate() {
            let of_both = lengths[from + at] * lengths[other];
            let cosine = if of_both > 0.0 {
                *product / of_both
            } else {
                0.0
            };
            *product = (1.0 - cosine).clamp(0.0, 2.0);
        }
    }
}

/// The lengths of the differences between so many rows, from one on, and all. Not from products: who is nearly the
/// same would not be told apart.
fn lengths(rows: Rows<'_>, from: usize, tile: &mut [f32]) {
    for (at, lengths) in tile.chunks_exact_mut(rows.len()).enumerate() {
        for (other, length) in lengths.iter_mut().enumerate().skip(from + at + 1) {
            *length = distance(rows.row(from + at), rows.row(other));
        }
    }
}

/// Rows are numbered in 32 bits.
fn u32_of(row: usize) -> u32 {
    u32::try_from(row).expect("no more than 2^32 rows")
}

#[cfg(test)]
mod tests;

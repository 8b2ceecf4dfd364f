//! Clustering of faces that are all there: nothing is decided while they come in.

pub mod density;
pub mod diff;
pub mod evidence;
pub mod facerec;
pub mod graph;
mod groups;
pub mod linkage;
pub mod matching;
pub mod matrix;
pub mod merging;
pub mod streamface;
pub mod tracks;
pub mod whispers;

/// Why faces cannot be clustered in this way.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The distances do not fit the memory that is allowed.
    #[error(
        "all distances between {rows} vectors take {needed_bytes} bytes, {allowed_bytes} are allowed: allow more, \
         or choose a method that looks at neighbours alone"
    )]
    Memory {
        /// Vectors of which a tree is to be made.
        rows: usize,
        /// What that takes.
        needed_bytes: usize,
        /// What it may take.
        allowed_bytes: usize,
    },
    /// Sizes of clusters that no cluster can have.
    #[error("clusters of {size}, at least {size_min} and at most {size_max}: none can be so")]
    Sizes {
        /// The size aimed at.
        size: usize,
        /// The least.
        size_min: usize,
        /// The most.
        size_max: usize,
    },
}

/// The same clusters, numbered from 0 by size, the largest first; of two that are as large, the one whose first row comes
/// first.
#[must_use]
pub fn by_size(labels: &[u32]) -> Vec<u32> {
    let mut sizes: std::collections::HashMap<u32, (usize, usize)> = Default::default();
    for (row, label) in labels.iter().enumerate() {
        sizes.entry(*label).or_insert((0, row)).0 += 1;
    }
    let mut order: Vec<(u32, (usize, usize))> = sizes.into_iter().collect();
    order.sort_unstable_by(|a, b| b.1.0.cmp(&a.1.0).then(a.1.1.cmp(&b.1.1)));
    let numbers: std::collections::HashMap<u32, u32> =
        order.iter().map(|(label, _)| *label).zip(0u32..).collect();
    labels.iter().map(|label| numbers[label]).collect()
}

#[cfg(test)]
mod tests;

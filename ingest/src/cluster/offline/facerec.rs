//! facerec's clustering of trajectories: so many clusters that each is of a size a person can look through.

use super::{
    OfflineError, by_size,
    linkage::{Linkage, Metric, Tree},
    matrix::Rows,
    streamface::means,
    tracks::Tracks,
};

/// Its settings, in trajectories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FacerecRules {
    /// As many as there are by this are clusters.
    pub size: usize,
    /// Parts of a cluster that was too large are put together up to this.
    pub size_min: usize,
    /// A cluster with more is clustered alone.
    pub size_max: usize,
    /// The distances of a tree may take so many bytes.
    pub memory_bytes: usize,
}

impl Default for FacerecRules {
    fn default() -> Self {
        Self {
            size: 18,
            size_min: 12,
            size_max: 24,
            memory_bytes: 4 << 30,
        }
    }
}

/// A label a row. `tracks` has the trajectory of each.
///
/// The mean of each trajectory's vectors (not normalised); complete linkage by Euclidean distance, cut into one cluster
/// for each `size` trajectories; each with more than `size_max` is clustered alone into as few as will do; of these, who
/// still has too many is split in order, and parts of fewer than `size_min` are put together. Labels by size in
/// trajectories, the largest first. Of fewer than `size` trajectories one cluster is made (the original asks for none
/// and fails).
///
/// Cost: a square of distances of the trajectories.
///
/// # Errors
/// [`OfflineError`]: sizes that make no sense, or too many trajectories for the memory.
pub fn facerec(
    rows: Rows<'_>,
    tracks: &Tracks,
    rules: &FacerecRules,
) -> Result<Vec<u32>, OfflineError> {
    if rules.size == 0 || rules.size_min > rules.size_max || rules.size_max == 0 {
        return Err(OfflineError::Sizes {
            size: rules.size,
            size_min: rules.size_min,
            size_max: rules.size_max,
        });
    }
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let means = means(rows, tracks.of_row());
    let trajectories = Rows::new(&means, rows.dimension());
    let needed_bytes = Tree::bytes(trajectories.len());
    if needed_bytes > rules.memory_bytes {
        return Err(OfflineError::Memory {
            rows: trajectories.len(),
            needed_bytes,
            allowed_bytes: rules.memory_bytes,
        });
    }
    let clusters = (trajectories.len() / rules.size).max(1);
    let all: Vec<u32> = (0u32..).take(trajectories.len()).collect();
    let mut found = Vec::new();
    for cluster in cut(trajectories, &all, clusters) {
        if cluster.len() <= rules.size_max {
            found.push(cluster);
            continue;
        }
        let parts = cut(
            trajectories,
            &cluster,
            cluster.len().div_ceil(rules.size_max),
        );
        found.extend(split_and_merge(parts, rules));
    }
    let mut of_trajectory = vec![0; trajectories.len()];
    for (label, cluster) in (0u32..).zip(&found) {
        for trajectory in cluster {
            of_trajectory[*trajectory as usize] = label;
        }
    }
    let of_trajectory = by_size(&of_trajectory);
    Ok(tracks.labels(&of_trajectory))
}

/// The members of each of so many clusters of these.
fn cut(trajectories: Rows<'_>, of: &[u32], clusters: usize) -> Vec<Vec<u32>> {
    let values = trajectories.gather(of);
    let tree = Tree::of(
        Rows::new(&values, trajectories.dimension()),
        Metric::Euclidean,
        Linkage::Complete,
    );
    let mut found = Vec::new();
    for (trajectory, label) in of.iter().zip(tree.cut_into(clusters)) {
        let label = label as usize;
        if found.len() <= label {
            found.resize_with(label + 1, Vec::new);
        }
        found[label].push(*trajectory);
    }
    found
}

/// Parts of more than `size_max` are split in order, evenly; those of fewer than `size_min` are put together, as many as
/// `size_max` has room for.
fn split_and_merge(parts: Vec<Vec<u32>>, rules: &FacerecRules) -> Vec<Vec<u32>> {
    let (mut found, mut small): (Vec<Vec<u32>>, Vec<u32>) = Default::default();
    for part in parts {
        if part.len() > rules.size_max {
            let pieces = part.len().div_ceil(rules.size_max);
            found.extend(
                part.chunks(part.len().div_ceil(pieces))
                    .map(<[u32]>::to_vec),
            );
        } else if part.len() >= rules.size_min {
            found.push(part);
        } else {
            if small.len() + part.len() > rules.size_max {
                found.push(std::mem::take(&mut small));
            }
            small.extend(part);
        }
    }
    if !small.is_empty() {
        found.push(small);
    }
    found
}

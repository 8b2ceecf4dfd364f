use std::{cmp::Reverse, collections::HashMap, hash::Hash, path::Path};

use serde::{Deserialize, Serialize};

use super::{FacerecError, files::read_json, to_line};
use crate::files::write_whole;

/// `clusters.json`: the cluster of each trajectory, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clusters {
    /// From 0 without gaps; 0 has most trajectories.
    pub clusters: Vec<u64>,
    /// The film.
    pub movie_id: u64,
}

impl Clusters {
    /// Clusters from any labels, one a trajectory: trajectories of one label make a cluster. The largest
    /// comes first; of two of one size the one whose first trajectory is earlier.
    #[must_use]
    pub fn from_labels<L: Copy + Eq + Hash>(labels: &[L], movie_id: u64) -> Self {
        let mut found: HashMap<L, (usize, usize)> = HashMap::new();
        for (at, label) in labels.iter().enumerate() {
            found.entry(*label).or_insert((0, at)).0 += 1;
        }
        let mut order: Vec<_> = found.iter().collect();
        order.sort_by_key(|(_, (size, first))| (Reverse(*size), *first));
        let order = order.into_iter().map(|(label, _)| *label);
        let ids: HashMap<L, u64> = order.zip(0..).collect();
        Self {
            clusters: labels.iter().map(|label| ids[label]).collect(),
            movie_id,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        let last = self.clusters.iter().max();
        last.map_or(0, |last| {
            usize::try_from(*last).map_or(usize::MAX, |last| last + 1)
        })
    }

    /// Reads them for so many trajectories.
    ///
    /// # Errors
    /// [`FacerecError`] if it is no such file, or its clusters are not one a trajectory, without gaps.
    pub fn read(path: &Path, trajectories: usize) -> Result<Self, FacerecError> {
        let read: Self = read_json(path)?;
        let wrong = |why| {
            Err(FacerecError::Clusters {
                path: path.to_owned(),
                why,
            })
        };
        if read.clusters.len() != trajectories {
            let found = read.clusters.len();
            return wrong(format!("{found} clusters for {trajectories} trajectories"));
        }
        let mut ids: Vec<_> = read.clusters.clone();
        ids.sort_unstable();
        ids.dedup();
        if !ids.iter().copied().eq((0..).take(ids.len())) {
            return wrong("clusters are not numbered 0, 1, 2, .. without gaps".to_owned());
        }
        Ok(read)
    }

    /// Writes them, whole or not at all.
    ///
    /// # Errors
    /// [`FacerecError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), FacerecError> {
        write_whole(path, to_line(self).as_bytes()).map_err(FacerecError::io(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_cluster_is_the_first() {
        let check = |labels: &[&str], expected: &[u64]| {
            assert_eq!(
                Clusters::from_labels(labels, 7).clusters,
                expected,
                "{labels:?}"
            );
        };
        check(&["b", "a", "a", "c", "c", "b", "a"], &[1, 0, 0, 2, 2, 1, 0]);
        check(&[], &[]);
        let clusters = Clusters::from_labels(&[9, 9, 4], 7);
        assert_eq!(
            (to_line(&clusters).as_str(), clusters.count()),
            (r#"{"clusters":[0,0,1],"movie_id":7}"#, 2)
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clusters.json");
        let clusters = Clusters::from_labels(&[1, 1, 2], 3);
        clusters.write(&path).unwrap();
        assert_eq!(Clusters::read(&path, 3).unwrap(), clusters);
        assert!(
            Clusters::read(&path, 4)
                .unwrap_err()
                .to_string()
                .contains("3 clusters for 4")
        );
        std::fs::write(&path, r#"{"clusters":[0,2],"movie_id":1}"#).unwrap();
        assert!(
            Clusters::read(&path, 2)
                .unwrap_err()
                .to_string()
                .contains("gaps")
        );
    }
}

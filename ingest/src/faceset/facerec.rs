//! A film's folder as facerec writes it: `features.jsonl`, `trajectories.jsonl`, `clusters.json`.

use std::{collections::HashMap, path::Path};

use rollcall_index::{Embedding, vectors::Known};

use super::{FaceSet, FaceSetError};
use crate::facerec::{Clusters, PixelBox, read_features, read_trajectories};

const FEATURES: &str = "features.jsonl";
const TRAJECTORIES: &str = "trajectories.jsonl";
const CLUSTERS: &str = "clusters.json";

/// Whether the folder looks like one.
pub(super) fn is_one(folder: &Path) -> bool {
    folder.join(FEATURES).is_file()
}

/// Every face that has an embedding, named by its tag. Its trajectory (the one with its box in its frame) is its track, the
/// trajectory's cluster its identity. Where there are trajectories, faces of none are left out: those were too small. Of several
/// embeddings that of `model`.
pub(super) fn read(folder: &Path, model: &str) -> Result<FaceSet, FaceSetError> {
    let mut trajectories = Vec::new();
    if folder.join(TRAJECTORIES).is_file() {
        trajectories = read_trajectories(&folder.join(TRAJECTORIES))?;
    }
    let mut clusters = Vec::new();
    if folder.join(CLUSTERS).is_file() {
        clusters = Clusters::read(&folder.join(CLUSTERS), trajectories.len())?.clusters;
    }
    let mut places: HashMap<(u64, PixelBox), usize> = HashMap::new();
    for (number, trajectory) in trajectories.iter().enumerate() {
        for (frame, face) in (trajectory.start..).zip(&trajectory.bbs) {
            places.entry((frame, *face)).or_insert(number);
        }
    }
    let (mut set, mut names) = (FaceSet::default(), Vec::new());
    read_features(&folder.join(FEATURES), |_, line| {
        let embedding =
            Embedding::normalise(line.vector_of(model)?.to_vec()).map_err(|why| why.to_string())?;
        if set.is_empty() {
            set.dimension = embedding.dimension();
        } else if embedding.dimension() != set.dimension {
            let (found, expected) = (embedding.dimension(), set.dimension);
            return Err(format!("{found} values, the lines before have {expected}"));
        }
        let trajectory = places.get(&(line.frame, line.face)).copied();
        if trajectory.is_none() && !trajectories.is_empty() {
            return Ok(());
        }
        let known = Known {
            track: trajectory.and_then(|number| u64::try_from(number).ok()),
            identity: trajectory.and_then(|number| clusters.get(number).copied()),
            source: line
                .tag
                .split(':')
                .next()
                .and_then(|movie| movie.parse().ok()),
            time_us: None,
        };
        set.push(&embedding, known);
        names.push(line.tag);
        Ok(())
    })?;
    Ok(set.with_names(names))
}

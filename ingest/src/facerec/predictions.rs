//! Who a cluster shows: nearest neighbours among faces of actors.

use std::{collections::HashMap, path::Path};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    ActorFaces, Clusters, FacerecError, PixelBox, Trajectory, features::read_features, to_line,
};
use crate::files::write_whole;

/// How clusters are named.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PredictRules {
    /// Neighbours that vote.
    pub neighbours: usize,
    /// Each actor gets at least so many faces, by repetition.
    pub samples_min: usize,
    /// Fewer actors than this are told apart by nothing: then no cluster is named.
    pub actors_min: usize,
    /// A name less probable is left out.
    pub probability_min: f64,
}

impl Default for PredictRules {
    fn default() -> Self {
        Self {
            neighbours: 10,
            samples_min: 20,
            actors_min: 3,
            probability_min: 0.05,
        }
    }
}

/// `predictions.json`: for each cluster the actors it may show, with probabilities.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// The film.
    pub movie_id: u64,
    /// By cluster; actors in the order of their keys.
    pub clusters: Vec<Vec<(String, f64)>>,
}

impl Serialize for Predictions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("movie_id", &self.movie_id)?;
        map.serialize_entry("predictions", &ByCluster(&self.clusters))?;
        map.end()
    }
}

struct ByCluster<'a>(&'a [Vec<(String, f64)>]);
struct ByActor<'a>(&'a [(String, f64)]);

impl Serialize for ByCluster<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let clusters = self.0.iter().enumerate();
        serializer.collect_map(clusters.map(|(id, actors)| (id.to_string(), ByActor(actors))))
    }
}

impl Serialize for ByActor<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(actor, p)| (actor, p)))
    }
}

impl Predictions {
    /// Writes them, whole or not at all.
    ///
    /// # Errors
    /// [`FacerecError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), FacerecError> {
        write_whole(path, to_line(self).as_bytes()).map_err(FacerecError::io(path))
    }
}

/// Names the clusters of a film after facerec's rule.
///
/// Every actor gets as many faces as the one with fewest has, at least twenty: the first ones, or all over
/// again. The ten nearest of a face (Euclidean) vote; a trajectory has the mean of its faces' votes, a
/// cluster the mean of its trajectories'. A trajectory without any face says nothing.
///
/// # Errors
/// [`FacerecError`], with the line; [`FacerecError::OtherModel`] where actors' faces were embedded by another
/// model.
pub fn predict(
    features: &Path,
    trajectories: &[Trajectory],
    clusters: &Clusters,
    actors: &[ActorFaces],
    rules: &PredictRules,
) -> Result<Predictions, FacerecError> {
    let count = clusters.count();
    let nothing = Predictions {
        movie_id: clusters.movie_id,
        clusters: vec![Vec::new(); count],
    };
    if actors.len() < rules.actors_min.max(1) {
        return Ok(nothing);
    }
    let voters = balanced(actors, rules);
    let owners = owners(trajectories);
    let mut votes = vec![Mean::new(actors.len()); trajectories.len()];
    let expected = voters.first().map_or(0, |(_, vector)| vector.len());
    let mut other = None;
    let read = read_features(features, |_, line| {
        let Some(at) = owners.get(&(line.frame, line.face)) else {
            return Ok(());
        };
        let face = unit(line.vector());
        if face.len() != expected {
            other = Some(face.len());
            return Err("embeddings of another model".to_owned());
        }
        votes[*at].add(&vote(&face, &voters, actors.len(), rules.neighbours));
        Ok(())
    });
    read.map_err(|why| match other {
        Some(found) => FacerecError::OtherModel {
            path: features.to_owned(),
            why: format!("{found} values an embedding, and {expected} of the actors' faces"),
        },
        None => why,
    })?;
    let mut means = vec![Mean::new(actors.len()); count];
    for (votes, cluster) in votes.iter().zip(&clusters.clusters) {
        let cluster = usize::try_from(*cluster)
            .ok()
            .and_then(|at| means.get_mut(at));
        if let (Some(cluster), Some(votes)) = (cluster, votes.get()) {
            cluster.add(&votes);
        }
    }
    let named = |mean: &Mean| {
        let shares = mean.get().unwrap_or_default().into_iter().zip(actors);
        let likely = shares.filter(|(p, _)| *p > rules.probability_min);
        likely
            .map(|(p, actor)| (actor.key.clone(), rounded(p)))
            .collect()
    };
    Ok(Predictions {
        clusters: means.iter().map(named).collect(),
        ..nothing
    })
}

/// To five places, as Python rounds.
fn rounded(p: f64) -> f64 {
    format!("{p:.5}").parse().unwrap_or(p)
}

/// The trajectory of each box.
fn owners(trajectories: &[Trajectory]) -> HashMap<(u64, PixelBox), usize> {
    let mut owners = HashMap::new();
    for (at, trajectory) in trajectories.iter().enumerate() {
        for (frame, face) in (trajectory.start..).zip(&trajectory.bbs) {
            owners.entry((frame, *face)).or_insert(at);
        }
    }
    owners
}

/// The faces of each actor, as many of one as of another.
fn balanced(actors: &[ActorFaces], rules: &PredictRules) -> Vec<(usize, Vec<f32>)> {
    let least = actors.iter().map(|actor| actor.vectors.len()).min();
    let count = least.unwrap_or(0).max(rules.samples_min);
    let each = actors.iter().enumerate().flat_map(|(at, actor)| {
        let faces = actor.vectors.iter().cycle().take(count);
        faces.map(move |face| (at, unit(face)))
    });
    each.collect()
}

/// Shares of the nearest; of faces equally far the earlier.
fn vote(face: &[f32], voters: &[(usize, Vec<f32>)], actors: usize, neighbours: usize) -> Vec<f64> {
    let distance =
        |other: &[f32]| -> f32 { face.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum() };
    let mut near: Vec<_> = voters
        .iter()
        .map(|(at, other)| (distance(other), *at))
        .collect();
    near.sort_by(|a, b| a.0.total_cmp(&b.0));
    near.truncate(neighbours);
    let mut shares = vec![0.0; actors];
    for (_, at) in &near {
        shares[*at] += 1.0 / near.len() as f64;
    }
    shares
}

fn unit(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    let by = if length > 0.0 { 1.0 / length } else { 0.0 };
    vector.iter().map(|v| v * by).collect()
}

#[derive(Clone)]
struct Mean {
    sum: Vec<f64>,
    count: u32,
}

impl Mean {
    fn new(values: usize) -> Self {
        Self {
            sum: vec![0.0; values],
            count: 0,
        }
    }

    fn add(&mut self, values: &[f64]) {
        self.count += 1;
        for (sum, value) in self.sum.iter_mut().zip(values) {
            *sum += value;
        }
    }

    fn get(&self) -> Option<Vec<f64>> {
        let count = f64::from(self.count);
        (self.count > 0).then(|| self.sum.iter().map(|sum| sum / count).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    fn actor(key: &str, faces: &[[f32; 2]]) -> ActorFaces {
        ActorFaces {
            key: key.to_owned(),
            vectors: faces.iter().map(|face| face.to_vec()).collect(),
        }
    }

    fn trajectory(start: u64, x: i64) -> Trajectory {
        Trajectory {
            start,
            len: 2,
            bbs: vec![[x, 0, x + 9, 9]; 2],
            detected: vec![true; 2],
            w: 64,
            h: 36,
            object_type: "face".to_owned(),
            index: None,
            movie_id: None,
        }
    }

    /// What is said of three clusters: somebody like a, somebody between b and c, somebody unseen.
    fn said(actors: &[ActorFaces], rules: &PredictRules) -> Result<String, FacerecError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("features.jsonl");
        let mut text = String::new();
        for (frame, x, vector) in [
            (0, 0, [2.0, 0.0]),
            (1, 0, [1.0, 0.1]),
            (5, 20, [-1.0, 1.0]),
            (7, 7, [1.0, 1.0]),
        ] {
            let end = x + 9;
            writeln!(text, r#"{{"frame":{frame},"tag":"t{frame}","embedding":{vector:?},"box":[{x},0,{end},9]}}"#).unwrap();
        }
        std::fs::write(&path, text).unwrap();
        let trajectories = [trajectory(0, 0), trajectory(5, 20), trajectory(30, 0)];
        let clusters = Clusters::from_labels(&[1, 2, 3], 4);
        predict(&path, &trajectories, &clusters, actors, rules).map(|named| to_line(&named))
    }

    #[test]
    fn clusters_are_named_by_the_nearest_faces() {
        let actors = [
            actor("m:a", &[[1.0, 0.0], [1.0, 0.2]]),
            actor("m:b", &[[-0.17, 0.98]]),
            actor("m:c", &[[-1.0, 0.0], [-1.0, 0.1], [-1.0, 0.9]]),
        ];
        // Of twenty faces of c six are its third, which is nearest; then comes b.
        let expected =
            r#"{"movie_id":4,"predictions":{"0":{"m:a":1.0},"1":{"m:b":0.4,"m:c":0.6},"2":{}}}"#;
        assert_eq!(said(&actors, &PredictRules::default()).unwrap(), expected);
    }

    #[test]
    fn too_few_actors_name_nobody_and_every_cluster_has_its_key() {
        let actors = [actor("m:a", &[[1.0, 0.0]]), actor("m:b", &[[0.0, 1.0]])];
        let nobody = r#"{"movie_id":4,"predictions":{"0":{},"1":{},"2":{}}}"#;
        assert_eq!(said(&actors, &PredictRules::default()).unwrap(), nobody);
        let rules = PredictRules {
            actors_min: 2,
            ..PredictRules::default()
        };
        assert!(
            said(&actors, &rules)
                .unwrap()
                .contains(r#""0":{"m:a":1.0}"#)
        );
    }

    #[test]
    fn faces_of_another_model_are_refused() {
        let long = |key: &str| ActorFaces {
            key: key.to_owned(),
            vectors: vec![vec![1.0, 0.0, 0.0]],
        };
        let why = said(&[long("a"), long("b"), long("c")], &PredictRules::default()).unwrap_err();
        assert!(why.to_string().starts_with("SHARD_OF_OTHER_MODEL"), "{why}");
    }

    #[test]
    fn each_actor_has_as_many_faces() {
        let actors = [actor("a", &[[1.0, 0.0]]), actor("b", &[[0.0, 1.0]; 30])];
        let voters = balanced(&actors, &PredictRules::default());
        assert_eq!(voters.iter().filter(|(at, _)| *at == 0).count(), 20);
        assert_eq!(voters.len(), 40);
    }
}

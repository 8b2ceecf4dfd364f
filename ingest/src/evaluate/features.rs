//! How well do embeddings tell people apart? All pairs of faces are compared.

use std::collections::BTreeMap;

use super::{
    curve::Cosines,
    histogram::Histogram,
    neighbours::{NeighbourReport, NeighbourRules, Neighbours},
    product::{Rows, each_row},
    sample::Sample,
};

/// What all pairs say.
#[derive(Clone, Debug)]
pub struct Features {
    /// Cosines of one person's faces and of two people's; empty if it is not known who they are.
    pub cosines: Cosines,
    /// Distances to the nearest faces.
    pub neighbours: NeighbourReport,
    /// Pairs of one person that were left out because they are of one track.
    pub one_track_pairs: f64,
}

/// What is gathered from some rows.
struct Part<'a> {
    groups: BTreeMap<usize, (Histogram, Histogram)>,
    neighbours: Neighbours<'a>,
    same: f64,
    different: f64,
    one_track: f64,
}

/// Compares all faces of a sample with all others. With `across_tracks`, pairs of one track are no
/// pairs of one person: they are frames of a moment, and easy.
///
/// Cost: the square of the faces times their dimension, in blocks, on all cores.
#[must_use]
pub fn compare_all(sample: &Sample, rules: &NeighbourRules, across_tracks: bool) -> Features {
    let rows = Rows::new(&sample.values, sample.dimension);
    let start = || Part {
        groups: BTreeMap::new(),
        neighbours: Neighbours::new(rules),
        same: 0.0,
        different: 0.0,
        one_track: 0.0,
    };
    let parts = each_row(rows, rows, start, |part, row, cosines| {
        if sample.is_labelled() {
            part.count(sample, row, cosines, across_tracks);
        }
        let last = cosines.len() - 1;
        cosines.swap(row, last);
        part.neighbours.add(&mut cosines[..last]);
    });
    join(parts, sample, rules)
}

impl Part<'_> {
    fn count(&mut self, sample: &Sample, row: usize, cosines: &[f32], across_tracks: bool) {
        let person = sample.people[row];
        let (weight, track) = (sample.weights[row], sample.tracks[row]);
        let pair_weight = sample.pair_weights[person as usize];
        let (same, different) = self.groups.entry(sample.groups[row]).or_default();
        let mut counts = [0_usize; 3];
        for (column, cosine) in cosines.iter().enumerate() {
            if sample.people[column] != person {
                different.add(*cosine, weight * sample.weights[column]);
                counts[1] += 1;
            } else if column == row {
            } else if across_tracks && sample.tracks[column] == track {
                counts[2] += 1;
            } else {
                same.add(*cosine, pair_weight);
                counts[0] += 1;
            }
        }
        let [of_one, of_two, of_track] = counts.map(|count| count as f64);
        self.same += of_one;
        self.different += of_two;
        self.one_track += of_track;
    }
}

fn join<'a>(parts: Vec<Part<'a>>, sample: &Sample, rules: &'a NeighbourRules) -> Features {
    let mut cosines = Cosines {
        groups: vec![<(Histogram, Histogram)>::default(); sample.group_count()],
        ..Cosines::default()
    };
    let mut neighbours = Neighbours::new(rules);
    let mut one_track_pairs = 0.0;
    for part in parts {
        for (group, (same, different)) in part.groups {
            cosines.groups[group].0.merge(&same);
            cosines.groups[group].1.merge(&different);
        }
        neighbours.merge(part.neighbours);
        // Each pair was met from both its faces.
        cosines.same_pairs += part.same / 2.0;
        cosines.different_pairs += part.different / 2.0;
        one_track_pairs += part.one_track / 2.0;
    }
    for (same, different) in &cosines.groups {
        cosines.same.merge(same);
        cosines.different.merge(different);
    }
    cosines.same.halve();
    cosines.different.halve();
    Features {
        cosines,
        neighbours: neighbours.report(),
        one_track_pairs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{evaluate::curve::Curve, faceset::FaceSet, random::Random};
    use rollcall_index::{Embedding, vectors::Known};

    /// People around random directions, two tracks each.
    fn faces(people: u64, each: u64) -> (FaceSet, Vec<Option<i64>>) {
        let mut random = Random::new(5);
        let mut value = move || (random.below(2001) as f32 - 1000.0) / 1000.0;
        let (mut faces, mut labels) = (FaceSet::new(16), Vec::new());
        for person in 0..people {
            let centre: Vec<f32> = (0..16).map(|_| value()).collect();
            for face in 0..each {
                let face_values: Vec<f32> = centre.iter().map(|at| at + 0.6 * value()).collect();
                let known = Known {
                    track: Some(person * 2 + face % 2),
                    ..Known::default()
                };
                faces.push(&Embedding::normalise(face_values).unwrap(), known);
                labels.push(Some(i64::try_from(person).unwrap()));
            }
        }
        (faces, labels)
    }

    fn brute_force(faces: &FaceSet, labels: &[Option<i64>], at: f32) -> (f64, f64) {
        let mut counts = [[0.0; 2]; 2];
        for a in 0..faces.len() {
            for b in 0..a {
                let pair = faces.embedding(a).iter().zip(faces.embedding(b));
                let cosine: f32 = pair.map(|(a, b)| a * b).sum();
                let kind = usize::from(labels[a] == labels[b]);
                counts[kind][0] += 1.0;
                counts[kind][1] += f64::from(u8::from(cosine >= at));
            }
        }
        let share = |kind: usize| counts[kind][1] / counts[kind][0];
        (share(1), share(0))
    }

    #[test]
    fn all_pairs_are_compared_once() {
        let (faces, labels) = faces(30, 8);
        let sample = Sample::of(&faces, &labels, 1000, 1).unwrap();
        let found = compare_all(&sample, &NeighbourRules::default(), false);
        assert_eq!(found.cosines.same_pairs, 30.0 * 28.0);
        assert_eq!(found.cosines.different_pairs, 240.0 * 239.0 / 2.0 - 840.0);
        assert_eq!(found.cosines.same.total(), 840.0);
        let point = Curve::of(&found.cosines).unwrap().at(0.35);
        let (tar, far) = brute_force(&faces, &labels, 0.35);
        assert!(
            (point.tar - tar).abs() < 1e-3 && (point.far - far).abs() < 1e-3,
            "{point:?} {tar} {far}"
        );
        assert!(point.far_grouped.is_some() && point.tar_grouped.is_some());
        let across = compare_all(&sample, &NeighbourRules::default(), true);
        assert_eq!(across.one_track_pairs, 30.0 * 12.0);
        assert_eq!(across.cosines.same_pairs, 30.0 * 16.0);
        assert_eq!(found.neighbours.faces, 240);
    }

    #[test]
    fn a_sample_is_near_the_whole_and_says_how_near() {
        let (faces, labels) = faces(60, 20);
        let (tar, far) = brute_force(&faces, &labels, 0.3);
        let sample = Sample::of(&faces, &labels, 400, 2).unwrap();
        assert!(sample.is_sampled());
        let found = compare_all(&sample, &NeighbourRules::default(), false);
        // What is drawn stands for all there are.
        assert!((found.cosines.same.total() - 60.0 * 190.0).abs() < 1e-6);
        let point = Curve::of(&found.cosines).unwrap().at(0.3);
        let (for_tar, for_far) = (point.tar_grouped.unwrap(), point.far_grouped.unwrap());
        assert!(for_tar.low < tar && tar < for_tar.high, "{tar} {for_tar:?}");
        assert!(for_far.low < far && far < for_far.high, "{far} {for_far:?}");
    }
}

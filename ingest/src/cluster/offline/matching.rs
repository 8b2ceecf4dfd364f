//! Clusters that may be one person: streamface's cluster matching.

use std::collections::{BTreeMap, HashMap, HashSet};

use rayon::prelude::*;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::matrix::{Rows, dot, scan};

/// How far two clusters are apart, by cosine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchMode {
    /// The means of their faces.
    Average,
    /// The nearest two of their faces.
    Single,
    /// The nearest two of the mean and the two faces furthest apart, of each.
    Triplet,
}

/// Which matches are listed.
#[derive(Clone, Debug, PartialEq)]
pub struct MatchRules {
    /// How far two clusters are apart.
    pub mode: MatchMode,
    /// Labels up to this are looked at.
    pub topk: i64,
    /// A cluster is listed if its nearest match is nearer.
    pub min_threshold: f64,
    /// With all its matches up to this.
    pub max_threshold: f64,
    /// Pairs that are not listed.
    pub ignore: HashSet<(i64, i64)>,
}

impl Default for MatchRules {
    fn default() -> Self {
        Self {
            mode: MatchMode::Average,
            topk: 10_000,
            min_threshold: 0.35,
            max_threshold: 0.5,
            ignore: HashSet::new(),
        }
    }
}

/// Two clusters and how far they are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// The label of the one, which is lower unless matches are listed both ways.
    pub one: i64,
    /// The label of the other.
    pub other: i64,
    /// The cosine distance.
    pub distance: f64,
}

/// Matches as streamface writes them: `{"matches": {"0,7": 0.3123, …}}`, in order, rounded to four places.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterEvals(pub Vec<Match>);

impl Serialize for ClusterEvals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut whole = serializer.serialize_map(Some(1))?;
        whole.serialize_entry("matches", &Pairs(&self.0))?;
        whole.end()
    }
}

struct Pairs<'a>(&'a [Match]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs = self.0.iter().map(|pair| {
            let rounded = (pair.distance * 1e4).round() / 1e4;
            (format!("{},{}", pair.one, pair.other), rounded)
        });
        serializer.collect_map(pairs)
    }
}

/// The clusters that may be one person, by their lower labels, each with the nearest first. Labels below 0 are noise. What
/// is at distance 0 is no match. By [`MatchMode::Triplet`] each pair is listed from both sides.
///
/// Cost: of all pairs of clusters for the means; of all pairs of faces for [`MatchMode::Single`]; for
/// [`MatchMode::Triplet`] of all pairs of faces within a cluster.
///
/// # Panics
/// If there is not a label a row.
#[must_use]
pub fn matches(rows: Rows<'_>, labels: &[i64], rules: &MatchRules) -> Vec<Match> {
    assert_eq!(rows.len(), labels.len(), "a label a row");
    let mut members: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for (row, label) in (0u32..).zip(labels) {
        if (0..=rules.topk).contains(label) {
            members.entry(*label).or_default().push(row);
        }
    }
    let names: Vec<i64> = members.keys().copied().collect();
    let members: Vec<Vec<u32>> = members.into_values().collect();
    let points = match rules.mode {
        MatchMode::Average => members.iter().map(|of| mean(rows, of)).collect(),
        MatchMode::Single => members.iter().map(|of| rows.gather(of)).collect(),
        MatchMode::Triplet => members.par_iter().map(|of| triplet(rows, of)).collect(),
    };
    let mut found = nearest(points, rows.dimension(), rules.max_threshold);
    if rules.mode == MatchMode::Triplet {
        let turned: Vec<_> = found
            .iter()
            .map(|(pair, d)| ((pair.1, pair.0), *d))
            .collect();
        found.extend(turned);
    }
    found.sort_unstable_by(|a, b| {
        (a.0.0, a.1)
            .partial_cmp(&(b.0.0, b.1))
            .expect("no NaN")
            .then(a.0.1.cmp(&b.0.1))
    });
    let groups = found.chunk_by(|a, b| a.0.0 == b.0.0);
    let listed = groups
        .filter(|group| group[0].1 < rules.min_threshold)
        .flatten();
    let listed = listed.map(|((one, other), distance)| Match {
        one: names[*one as usize],
        other: names[*other as usize],
        distance: *distance,
    });
    listed
        .filter(|pair| !rules.ignore.contains(&(pair.one, pair.other)))
        .collect()
}

/// For each two clusters the least distance between a point of the one and a point of the other, unless it is 0 or more
/// than `most`; the lower cluster first.
fn nearest(points: Vec<Vec<f32>>, dimension: usize, most: f64) -> Vec<((u32, u32), f64)> {
    let counts = points.iter().map(|of| of.len() / dimension);
    let of_point: Vec<u32> = (0u32..)
        .zip(counts)
        .flat_map(|(cluster, count)| std::iter::repeat_n(cluster, count))
        .collect();
    let mut values = points.concat();
    super::matrix::normalise(&mut values, dimension);
    let points = Rows::new(&values, dimension);
    let found = scan(
        points,
        points,
        |_| HashMap::new(),
        |nearest: &mut HashMap<u32, f32>, at, from, cosines| {
            for (cosine, other) in cosines.iter().zip(&of_point[from..]) {
                let distance = 1.0 - cosine;
                if f64::from(distance) <= most && *other > of_point[at] {
                    let least = nearest.entry(*other).or_insert(f32::INFINITY);
                    *least = least.min(distance);
                }
            }
        },
    );
    let mut pairs: HashMap<(u32, u32), f32> = HashMap::new();
    for (one, nearest) in of_point.iter().zip(found) {
        for (other, distance) in nearest {
            let least = pairs.entry((*one, other)).or_insert(f32::INFINITY);
            *least = least.min(distance);
        }
    }
    let apart = pairs.into_iter().filter(|(_, distance)| *distance > 0.0);
    apart
        .map(|(pair, distance)| (pair, f64::from(distance)))
        .collect()
}

fn mean(rows: Rows<'_>, of: &[u32]) -> Vec<f32> {
    let mut sum = vec![0.0; rows.dimension()];
    for row in of {
        sum.iter_mut()
            .zip(rows.row(*row as usize))
            .for_each(|(sum, value)| *sum += value);
    }
    sum.iter_mut().for_each(|value| *value /= of.len() as f32);
    sum
}

/// The mean and the two that are furthest apart.
fn triplet(rows: Rows<'_>, of: &[u32]) -> Vec<f32> {
    let mut points = mean(rows, of);
    let furthest = of.par_iter().enumerate().map(|(at, one)| {
        let others = of[at + 1..].iter();
        let cosine = |other: &u32| dot(rows.row(*one as usize), rows.row(*other as usize));
        let least = others.map(|other| (cosine(other), *one, *other));
        least.min_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)))
    });
    let furthest = furthest
        .flatten()
        .min_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let (one, other) = furthest.map_or((of[0], of[0]), |(_, one, other)| (one, other));
    points.extend_from_slice(rows.row(one as usize));
    points.extend_from_slice(rows.row(other as usize));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clusters 0 at 0 and 20 degrees, 1 at 40 and 60, 2 at 70, 5 at 180; noise at 41.
    fn check(rules: &MatchRules) -> Vec<(i64, i64, i64)> {
        let degrees = [0.0_f32, 20.0, 40.0, 60.0, 70.0, 180.0, 41.0];
        let values: Vec<f32> = degrees
            .iter()
            .flat_map(|at| [at.to_radians().cos(), at.to_radians().sin()])
            .collect();
        let found = matches(Rows::new(&values, 2), &[0, 0, 1, 1, 2, 5, -1], rules);
        #[expect(clippy::cast_possible_truncation, reason = "whole degrees")]
        let degrees = |found: &Match| (1.0 - found.distance).acos().to_degrees().round() as i64;
        found
            .iter()
            .map(|found| (found.one, found.other, degrees(found)))
            .collect()
    }

    fn rules(mode: MatchMode, min_threshold: f64, max_threshold: f64) -> MatchRules {
        MatchRules {
            mode,
            min_threshold,
            max_threshold,
            ..MatchRules::default()
        }
    }

    #[test]
    fn means_are_matched() {
        // 10, 50, 70, 180 degrees; 1 - cos 40 = 0.234, 1 - cos 20 = 0.060, 1 - cos 60 = 0.5.
        assert_eq!(
            check(&rules(MatchMode::Average, 0.3, 0.45)),
            [(0, 1, 40), (1, 2, 20)]
        );
        assert_eq!(
            check(&rules(MatchMode::Average, 0.3, 0.51)),
            [(0, 1, 40), (0, 2, 60), (1, 2, 20)]
        );
        assert_eq!(
            check(&rules(MatchMode::Average, 0.1, 0.51)),
            [(1, 2, 20)],
            "the nearest is too far"
        );
    }

    #[test]
    fn the_nearest_faces_are_matched() {
        assert_eq!(
            check(&rules(MatchMode::Single, 0.3, 0.2)),
            [(0, 1, 20), (1, 2, 10)]
        );
        assert_eq!(
            check(&rules(MatchMode::Single, 0.3, 0.4)),
            [(0, 1, 20), (0, 2, 50), (1, 2, 10)]
        );
    }

    #[test]
    fn triplets_are_matched_both_ways() {
        let found = check(&rules(MatchMode::Triplet, 0.3, 0.2));
        assert_eq!(found, [(0, 1, 20), (1, 2, 10), (1, 0, 20), (2, 1, 10)]);
    }

    #[test]
    fn labels_beyond_and_pairs_to_ignore_are_left_out() {
        let mut rules = rules(MatchMode::Average, 0.3, 0.51);
        rules.ignore.insert((0, 1));
        assert_eq!(check(&rules), [(0, 2, 60), (1, 2, 20)]);
        rules.topk = 1;
        assert!(check(&rules).is_empty());
    }

    #[test]
    fn the_file_is_streamfaces() {
        let found = ClusterEvals(vec![
            Match {
                one: 3,
                other: 12,
                distance: 0.123_456,
            },
            Match {
                one: 10,
                other: 11,
                distance: 0.5,
            },
        ]);
        assert_eq!(
            serde_json::to_string(&found).unwrap(),
            r#"{"matches":{"3,12":0.1235,"10,11":0.5}}"#
        );
    }
}

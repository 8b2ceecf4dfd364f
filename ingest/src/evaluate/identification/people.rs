//! Faces and whose they are: a gallery, or searches.

use std::collections::BTreeMap;

use crate::{faceset::FaceSet, random::Random};

/// Faces and whose they are; below 0: nobody's in particular.
#[derive(Clone, Debug, Default)]
pub struct People {
    /// Embeddings, row after row.
    pub values: Vec<f32>,
    /// Values of each.
    pub dimension: usize,
    /// Whose each is.
    pub labels: Vec<i64>,
}

/// How faces are divided into a gallery and searches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// The share of people who are left out of the gallery.
    pub unknown: f64,
    /// Of everybody else, the share of tracks that goes into it.
    pub gallery: f64,
    /// What chooses them.
    pub seed: u64,
}

impl Default for Split {
    fn default() -> Self {
        Self {
            unknown: 0.3,
            gallery: 0.5,
            seed: 1,
        }
    }
}

/// The faces with a label, in their order; unless `noise`, only those of somebody.
#[must_use]
pub fn people(faces: &FaceSet, labels: &[Option<i64>], noise: bool) -> People {
    let rows = labels
        .iter()
        .enumerate()
        .filter_map(|(row, label)| Some((row, (*label)?)));
    let rows: Vec<(usize, i64)> = rows.filter(|(_, label)| noise || *label >= 0).collect();
    People::of(faces, &rows)
}

/// Divides faces into a gallery and searches: a share of people is left out of the gallery, of
/// everybody else a share of their tracks goes into it. Whoever has a single track is in the gallery
/// and not searched for.
#[must_use]
pub fn split(faces: &FaceSet, labels: &[Option<i64>], rules: Split) -> (People, People) {
    let tracks = faces.tracks();
    let mut of: BTreeMap<i64, BTreeMap<u64, Vec<usize>>> = BTreeMap::new();
    for (row, label) in labels.iter().enumerate() {
        if let Some(label) = label.filter(|label| *label >= 0) {
            of.entry(label)
                .or_default()
                .entry(tracks[row])
                .or_default()
                .push(row);
        }
    }
    let mut random = Random::new(rules.seed);
    let mut order: Vec<i64> = of.keys().copied().collect();
    random.shuffle(&mut order);
    let (mut gallery, mut searches) = (Vec::new(), Vec::new());
    let known = (1.0 - rules.unknown) * order.len() as f64;
    for (at, label) in order.iter().enumerate() {
        let mut tracks: Vec<&Vec<usize>> = of[label].values().collect();
        random.shuffle(&mut tracks);
        let is_known = (at as f64) < known;
        let share = (tracks.len() as f64 * rules.gallery).max(1.0);
        for (number, rows) in tracks.into_iter().enumerate() {
            let into = if is_known && (number as f64) < share {
                &mut gallery
            } else {
                &mut searches
            };
            into.extend(rows.iter().map(|row| (*row, *label)));
        }
    }
    gallery.sort_unstable();
    searches.sort_unstable();
    (People::of(faces, &gallery), People::of(faces, &searches))
}

impl People {
    fn of(faces: &FaceSet, rows: &[(usize, i64)]) -> Self {
        let values = rows.iter().flat_map(|(row, _)| faces.embedding(*row));
        Self {
            values: values.copied().collect(),
            dimension: faces.dimension(),
            labels: rows.iter().map(|(_, label)| *label).collect(),
        }
    }

    pub(super) fn chosen(&self, rows: &[usize]) -> Self {
        let values = rows
            .iter()
            .flat_map(|row| &self.values[row * self.dimension..][..self.dimension]);
        Self {
            values: values.copied().collect(),
            dimension: self.dimension,
            labels: rows.iter().map(|row| self.labels[*row]).collect(),
        }
    }

    /// The same with each person's faces together.
    pub(super) fn sorted(&self) -> Self {
        let mut rows: Vec<usize> = (0..self.labels.len()).collect();
        rows.sort_by_key(|row| self.labels[*row]);
        self.chosen(&rows)
    }

    /// One row a person: the mean of theirs, made of length 1. Faces of a person are together.
    pub(super) fn means(&self) -> Self {
        let mut means = Self {
            dimension: self.dimension,
            ..Self::default()
        };
        for rows in self.labels.chunk_by(|a, b| a == b).scan(0, |from, group| {
            *from += group.len();
            Some((*from - group.len())..*from)
        }) {
            let mut sum = vec![0.0_f64; self.dimension];
            for row in rows.clone() {
                let values = self.values[row * self.dimension..][..self.dimension].iter();
                sum.iter_mut()
                    .zip(values)
                    .for_each(|(sum, value)| *sum += f64::from(*value));
            }
            let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
            let length = length.max(f64::MIN_POSITIVE);
            means.values.extend(
                sum.iter()
                    .map(|value| crate::number::to_f32(value / length)),
            );
            means.labels.push(self.labels[rows.start]);
        }
        means
    }
}

//! Faces of which it is known whom they show: all of them, or so many as fit.

use std::collections::HashMap;

use super::EvaluateError;
use crate::faceset::FaceSet;
use crate::random::Random;

/// Groups of people at most: estimates of these, taken one by one, show how sure a number is.
pub const GROUPS_MAX: usize = 100;

/// Faces and the people they show, chosen for measuring.
///
/// Where not all faces fit, of each person the same share is drawn, two at least, and each face
/// weighs as many as it stands for. Where even two of each are too many, people are drawn, and each
/// stands for others as well.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Embeddings, row after row.
    pub values: Vec<f32>,
    /// Values of each.
    pub dimension: usize,
    /// Whom each shows, numbered from 0; empty if that is not known.
    pub people: Vec<u32>,
    /// The track each is of.
    pub tracks: Vec<u64>,
    /// The group of people each belongs to, ascending; all faces of a person are in one.
    pub groups: Vec<usize>,
    /// As how many each counts.
    pub weights: Vec<f64>,
    /// As how many a pair of a person's faces counts, person by person.
    pub pair_weights: Vec<f64>,
    /// The label of each person.
    pub labels: Vec<i64>,
    /// People of whom these were drawn.
    pub people_of: usize,
    /// Labelled faces of which these were drawn.
    pub of: usize,
    /// Faces left out because they are noise.
    pub noise: usize,
    /// Faces left out because nothing is said of them.
    pub unlabelled: usize,
}

impl Sample {
    /// Chooses at most `rows_max` faces (two at least), by `seed`.
    ///
    /// # Errors
    /// [`EvaluateError::TooFew`] if fewer than two faces have a label.
    ///
    /// # Panics
    /// Unless there is an entry of `labels` for each face.
    pub fn of(
        faces: &FaceSet,
        labels: &[Option<i64>],
        rows_max: usize,
        seed: u64,
    ) -> Result<Self, EvaluateError> {
        assert_eq!(faces.len(), labels.len(), "an entry a face");
        let mut groups: HashMap<i64, Vec<usize>> = HashMap::new();
        let (mut noise, mut unlabelled) = (0, 0);
        for (row, label) in labels.iter().enumerate() {
            match label {
                Some(label) if *label >= 0 => groups.entry(*label).or_default().push(row),
                Some(_) => noise += 1,
                None => unlabelled += 1,
            }
        }
        let mut groups: Vec<(i64, Vec<usize>)> = groups.into_iter().collect();
        groups.sort_unstable();
        let of: usize = groups.iter().map(|(_, rows)| rows.len()).sum();
        if of < 2 {
            let why = format!("{of} faces with a label; two at least are needed");
            return Err(EvaluateError::TooFew(why));
        }
        let people_of = groups.len();
        let mut random = Random::new(seed);
        draw_people(&mut groups, rows_max.max(2), &mut random);
        let each = people_of as f64 / groups.len() as f64;
        let person_groups = into_groups(groups.len(), seed);
        let sizes: Vec<usize> = groups.iter().map(|(_, rows)| rows.len()).collect();
        let counts = drawn(&sizes, rows_max.max(2));
        let mut rows = Vec::new();
        let mut pair_weights = Vec::new();
        for (person, (_, all)) in groups.iter_mut().enumerate() {
            let full = all.len();
            if counts[person] < full {
                random.shuffle(all);
                all.truncate(counts[person]);
            }
            let person = u32::try_from(person).expect("fewer people than faces in memory");
            let weight = each * full as f64 / all.len() as f64;
            rows.extend(all.iter().map(|row| (*row, person, weight)));
            pair_weights.push(each * pairs(full) / pairs(all.len()).max(1.0));
        }
        let group = |person: u32| person_groups[person as usize];
        rows.sort_unstable_by_key(|(row, person, _)| (group(*person), *row));
        let chosen: Vec<usize> = rows.iter().map(|(row, ..)| *row).collect();
        Ok(Self {
            groups: rows.iter().map(|(_, person, _)| group(*person)).collect(),
            people: rows.iter().map(|(_, person, _)| *person).collect(),
            weights: rows.iter().map(|(.., weight)| *weight).collect(),
            pair_weights,
            labels: groups.iter().map(|(label, _)| *label).collect(),
            people_of,
            of,
            noise,
            unlabelled,
            ..Self::rows(faces, &chosen)
        })
    }

    /// At most `rows_max` faces of whom nothing is known, by `seed`.
    ///
    /// # Errors
    /// [`EvaluateError::TooFew`] if there are fewer than two.
    pub fn unlabelled(faces: &FaceSet, rows_max: usize, seed: u64) -> Result<Self, EvaluateError> {
        if faces.len() < 2 {
            let why = format!("{} faces; two at least are needed", faces.len());
            return Err(EvaluateError::TooFew(why));
        }
        let rows = Random::new(seed).choose(rows_max.max(2), faces.len());
        Ok(Self {
            of: faces.len(),
            unlabelled: faces.len(),
            ..Self::rows(faces, &rows)
        })
    }

    fn rows(faces: &FaceSet, rows: &[usize]) -> Self {
        let tracks = faces.tracks();
        let values = rows.iter().flat_map(|row| faces.embedding(*row));
        Self {
            values: values.copied().collect(),
            dimension: faces.dimension(),
            tracks: rows.iter().map(|row| tracks[*row]).collect(),
            ..Self::default()
        }
    }

    /// Whether it is known whom the faces show.
    #[must_use]
    pub fn is_labelled(&self) -> bool {
        !self.people.is_empty()
    }

    /// How many faces were chosen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tracks.len()
    }

    /// Never: there are two at least.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Whether not all labelled faces are here.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.len() < self.of
    }

    /// Whether not all people are here.
    #[must_use]
    pub fn has_drawn_people(&self) -> bool {
        self.labels.len() < self.people_of
    }

    /// How many groups there are.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.groups.iter().max().map_or(0, |last| last + 1)
    }
}

/// Puts people into groups, of about equally many: the group of each.
fn into_groups(people: usize, seed: u64) -> Vec<usize> {
    let mut groups: Vec<usize> = (0..people).map(|person| person % GROUPS_MAX).collect();
    if people > GROUPS_MAX {
        Random::new(seed).shuffle(&mut groups);
    }
    groups
}

/// Leaves out people, by chance, if two faces of each are more than `rows_max`.
fn draw_people(groups: &mut Vec<(i64, Vec<usize>)>, rows_max: usize, random: &mut Random) {
    let least = |(_, rows): &(i64, Vec<usize>)| rows.len().min(2);
    if groups.iter().map(least).sum::<usize>() <= rows_max {
        return;
    }
    random.shuffle(groups);
    let mut faces = 0;
    let too_many = groups.iter().position(|group| {
        faces += least(group);
        faces > rows_max
    });
    groups.truncate(too_many.unwrap_or(groups.len()));
    groups.sort_unstable();
}

/// How many faces of each person, of whom there are so many: the greatest share of each, rounded, and
/// two if there are two, with which all are `rows_max` at most.
fn drawn(sizes: &[usize], rows_max: usize) -> Vec<usize> {
    let of: usize = sizes.iter().sum();
    if of <= rows_max {
        return sizes.to_vec();
    }
    let counts = |share: usize| {
        let count = move |full: &usize| {
            let wanted = (full * share + of / 2) / of;
            wanted.max(2).min(*full)
        };
        sizes.iter().map(count)
    };
    // The share is `share` of `of`; more faces of one are never fewer of another.
    let (mut fits, mut too_much) = (0, rows_max + 1);
    while too_much - fits > 1 {
        let middle = usize::midpoint(fits, too_much);
        if counts(middle).sum::<usize>() <= rows_max {
            fits = middle;
        } else {
            too_much = middle;
        }
    }
    counts(fits).collect()
}

fn pairs(faces: usize) -> f64 {
    faces as f64 * (faces as f64 - 1.0) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_index::{Embedding, vectors::Known};

    #[test]
    fn a_share_of_each_person_and_what_it_stands_for() {
        let mut faces = FaceSet::new(2);
        let mut labels = Vec::new();
        for row in 0..130_i64 {
            let value = 1.0 + f32::from(u8::try_from(row).unwrap());
            faces.push(
                &Embedding::normalise(vec![1.0, value]).unwrap(),
                Known::default(),
            );
            labels.push(match row {
                0 => None,
                1..=9 => Some(-1),
                10..=12 => Some(77),
                13..=13 => Some(5),
                _ => Some(9),
            });
        }
        let sample = Sample::of(&faces, &labels, 60, 1).unwrap();
        assert_eq!((sample.of, sample.noise, sample.unlabelled), (120, 9, 1));
        assert_eq!(sample.labels, [5, 9, 77]);
        let of = |person| {
            sample
                .people
                .iter()
                .filter(|found| **found == person)
                .count()
        };
        assert_eq!((of(0), of(1), of(2)), (1, 57, 2));
        assert_eq!(sample.people_of, 3);
        let total: f64 = sample.weights.iter().sum();
        assert!((total - 120.0).abs() < 1e-9);
        assert!((sample.pair_weights[2] - 3.0).abs() < 1e-9);
        assert!(sample.is_sampled());
        let all = Sample::of(&faces, &labels, 120, 1).unwrap();
        assert!(!all.is_sampled() && all.weights.iter().all(|weight| *weight == 1.0));
        assert!(matches!(
            Sample::of(&faces, &vec![None; 130], 60, 1),
            Err(EvaluateError::TooFew(_))
        ));
        assert!(all.groups.is_sorted() && all.group_count() == 3);
        assert!(into_groups(1001, 7).iter().all(|group| *group < GROUPS_MAX));
        assert!(matches!(
            Sample::of(&faces, &labels, 0, 1).unwrap().len(),
            1..=2
        ));
        let plain = Sample::unlabelled(&faces, 60, 1).unwrap();
        assert_eq!(
            (plain.len(), plain.of, plain.is_labelled()),
            (60, 130, false)
        );
    }

    #[test]
    fn of_very_many_people_some_are_drawn() {
        // A thousand people: a third has one face, a third two, one of the others very many.
        let mut faces = FaceSet::new(2);
        let mut labels = Vec::new();
        for person in 0..1000_i64 {
            let count = if person == 5 { 5000 } else { 1 + person % 3 };
            for _ in 0..count {
                let embedding = Embedding::normalise(vec![1.0, 2.0]).unwrap();
                faces.push(&embedding, Known::default());
                labels.push(Some(person));
            }
        }
        let sample = |rows_max| Sample::of(&faces, &labels, rows_max, 3).unwrap();
        for rows_max in [100, 1500, 1700, 3000, 6990, 6995, 7000] {
            let found = sample(rows_max);
            let least = if found.has_drawn_people() { 2 } else { 8 };
            assert!(
                (rows_max.min(found.of) - least..=rows_max).contains(&found.len()),
                "{rows_max}: {}",
                found.len()
            );
            assert_eq!((found.of, found.people_of), (6996, 1000));
            assert_eq!(found.has_drawn_people(), rows_max < 1666);
            assert!(found.labels.is_sorted());
        }
        let (found, again) = (sample(100), sample(100));
        assert_eq!(found.labels, again.labels);
        assert!(found.labels.len() < 70 && found.labels.len() >= 50);
        let other = Sample::of(&faces, &labels, 100, 4).unwrap();
        assert_ne!(found.labels, other.labels);
        // Each stands for others as well.
        let each = 1000.0 / found.labels.len() as f64;
        let of_two = found.labels.iter().position(|label| label % 3 == 1);
        let of_two = of_two.unwrap();
        assert!((found.pair_weights[of_two] - each).abs() < 1e-9);
        let row = found.people.iter().position(|one| *one as usize == of_two);
        assert!((found.weights[row.unwrap()] - each).abs() < 1e-9);
    }
}

//! How well do labels agree with the truth, whatever they are called?

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

use super::{EvaluateError, labels::Labels};
use crate::cluster::score::{Scores, score};

/// What a label below 0 means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Noise {
    /// Each such face is a cluster of its own.
    #[default]
    Singletons,
    /// They are one cluster, as in streamface.
    Cluster,
    /// Faces that are noise on either side are left out.
    Drop,
}

/// Labels and the truth, face by face.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aligned {
    /// Whom each shows, or below 0.
    pub truth: Vec<i64>,
    /// What it was taken for, or below 0.
    pub found: Vec<i64>,
    /// Faces of which only the truth is known.
    pub truth_alone: usize,
    /// Faces of which only the label is known.
    pub found_alone: usize,
}

/// How they agree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreements {
    /// Faces that count.
    pub samples: usize,
    /// People.
    pub true_clusters: usize,
    /// Clusters found.
    pub found_clusters: usize,
    /// Faces with a label below 0, in the truth.
    pub true_noise: usize,
    /// Faces with a label below 0, as found.
    pub found_noise: usize,
    /// Faces of which only the truth is known; they do not count.
    pub truth_alone: usize,
    /// Faces of which only the label is known; they do not count.
    pub found_alone: usize,
    /// What labels below 0 were taken for.
    pub noise: Noise,
    /// Of pairs.
    pub pairwise: Measures,
    /// Of faces.
    pub bcubed: Measures,
    /// Normalised mutual information, by the arithmetic mean.
    pub nmi: f64,
    /// The adjusted Rand index.
    pub ari: f64,
    /// Of faces, those of their cluster's main person.
    pub purity: f64,
    /// Of faces, those in their person's main cluster.
    pub inverse_purity: f64,
    /// streamface's accuracy: the share of faces whose label is the true one as a number. It depends
    /// on how clusters are numbered, and says nothing unless both sides number alike.
    pub label_dependent_accuracy: f64,
}

/// Precision, recall and their harmonic mean.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measures {
    /// 0 to 1.
    pub precision: f64,
    /// 0 to 1.
    pub recall: f64,
    /// 0 to 1.
    pub f: f64,
}

/// Puts two files of labels side by side: by row, by track, or by name those of which both speak.
///
/// # Errors
/// [`EvaluateError::Format`] if one speaks of names and the other of rows, if there are not as many
/// rows, or if they have no name in common.
pub fn align(truth: (&Path, &Labels), found: (&Path, &Labels)) -> Result<Aligned, EvaluateError> {
    let bad = |why: String| Err(EvaluateError::format(found.0, why));
    let of = truth.0.display();
    match (truth.1, found.1) {
        (Labels::Rows(is), Labels::Rows(said)) | (Labels::Tracks(is), Labels::Tracks(said)) => {
            if is.len() != said.len() {
                return bad(format!("{} labels; {of} has {}", said.len(), is.len()));
            }
            Ok(Aligned {
                truth: is.clone(),
                found: said.clone(),
                truth_alone: 0,
                found_alone: 0,
            })
        }
        (Labels::Names(is, _), Labels::Names(said, _)) => {
            let aligned = by_name(is, said);
            if aligned.truth.is_empty() {
                return bad(format!("has no face in common with {of}"));
            }
            Ok(aligned)
        }
        _ => bad(format!("is not by name, row or track as {of} is")),
    }
}

fn by_name(truth: &BTreeMap<String, i64>, found: &BTreeMap<String, i64>) -> Aligned {
    let both = truth
        .iter()
        .filter_map(|(name, is)| Some((*is, *found.get(name)?)));
    let (is, said): (Vec<i64>, Vec<i64>) = both.unzip();
    Aligned {
        truth_alone: truth.len() - is.len(),
        found_alone: found.len() - is.len(),
        truth: is,
        found: said,
    }
}

/// Measures how labels agree with the truth.
///
/// # Errors
/// [`EvaluateError::TooFew`] if no face is left.
pub fn compare(aligned: &Aligned, noise: Noise) -> Result<Agreements, EvaluateError> {
    let count = |labels: &[i64]| labels.iter().filter(|label| **label < 0).count();
    let (true_noise, found_noise) = (count(&aligned.truth), count(&aligned.found));
    let pairs = aligned
        .truth
        .iter()
        .copied()
        .zip(aligned.found.iter().copied());
    let kept = pairs.filter(|(is, said)| noise != Noise::Drop || (*is >= 0 && *said >= 0));
    let (is, said): (Vec<i64>, Vec<i64>) = kept.unzip();
    if is.is_empty() {
        return Err(EvaluateError::TooFew(
            "no face that is not noise on either side".into(),
        ));
    }
    let same = is.iter().zip(&said).filter(|(is, said)| is == said).count();
    let (truth, found) = (without_noise(&is, noise), without_noise(&said, noise));
    let scores = score(&truth, &found);
    Ok(Agreements {
        samples: is.len(),
        true_clusters: distinct(&truth),
        found_clusters: distinct(&found),
        true_noise,
        found_noise,
        truth_alone: aligned.truth_alone,
        found_alone: aligned.found_alone,
        noise,
        label_dependent_accuracy: same as f64 / is.len() as f64,
        ..Agreements::from(scores)
    })
}

/// Clusters, where noise is what it is to be taken for.
fn without_noise(labels: &[i64], noise: Noise) -> Vec<(i64, usize)> {
    let labels = labels.iter().enumerate();
    let cluster = |(row, label): (usize, &i64)| match noise {
        Noise::Singletons if *label < 0 => (-1, row + 1),
        Noise::Cluster if *label < 0 => (-1, 0),
        Noise::Singletons | Noise::Cluster | Noise::Drop => (*label, 0),
    };
    labels.map(cluster).collect()
}

fn distinct(labels: &[(i64, usize)]) -> usize {
    labels
        .iter()
        .collect::<std::collections::HashSet<_>>()
        .len()
}

impl From<Scores> for Agreements {
    fn from(scores: Scores) -> Self {
        let measures = |agreement: crate::cluster::score::Agreement| Measures {
            precision: agreement.precision,
            recall: agreement.recall,
            f: agreement.f(),
        };
        Self {
            samples: 0,
            true_clusters: 0,
            found_clusters: 0,
            true_noise: 0,
            found_noise: 0,
            truth_alone: 0,
            found_alone: 0,
            noise: Noise::default(),
            pairwise: measures(scores.pairwise),
            bcubed: measures(scores.bcubed),
            nmi: scores.nmi,
            ari: scores.ari,
            purity: scores.purity,
            inverse_purity: scores.inverse_purity,
            label_dependent_accuracy: 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(truth: &[i64], found: &[i64]) -> Aligned {
        let path = Path::new("x");
        let labels = |of: &[i64]| Labels::Rows(of.to_vec());
        align((path, &labels(truth)), (path, &labels(found))).unwrap()
    }

    #[test]
    fn noise_is_what_it_is_taken_for() {
        let aligned = rows(&[1, 1, 2, 2, -1, -1], &[7, 7, 8, -1, -1, -5]);
        let of = |noise| compare(&aligned, noise).unwrap();
        let singletons = of(Noise::Singletons);
        assert_eq!((singletons.samples, singletons.true_clusters), (6, 4));
        assert_eq!((singletons.true_noise, singletons.found_noise), (2, 3));
        assert!((singletons.pairwise.precision - 1.0).abs() < 1e-12);
        assert!((singletons.pairwise.recall - 0.5).abs() < 1e-12);
        let cluster = of(Noise::Cluster);
        assert_eq!((cluster.true_clusters, cluster.found_clusters), (3, 3));
        assert!((cluster.pairwise.precision - 0.5).abs() < 1e-12);
        let dropped = of(Noise::Drop);
        assert_eq!((dropped.samples, dropped.found_clusters), (3, 2));
        assert!((dropped.nmi - 1.0).abs() < 1e-12);
        assert_eq!(of(Noise::Singletons).label_dependent_accuracy, 1.0 / 6.0);
        assert!(compare(&rows(&[-1], &[1]), Noise::Drop).is_err());
    }

    #[test]
    fn faces_of_both_are_compared() {
        let names = |entries: &[(&str, i64)]| {
            let entries = entries
                .iter()
                .map(|(name, label)| ((*name).to_owned(), *label));
            Labels::Names(entries.collect(), BTreeMap::new())
        };
        let (truth, found) = (
            names(&[("a", 1), ("b", 2)]),
            names(&[("b", 5), ("c", 6), ("d", 6)]),
        );
        let (t, f) = (Path::new("t.csv"), Path::new("f.csv"));
        let aligned = align((t, &truth), (f, &found)).unwrap();
        assert_eq!((aligned.truth, aligned.found), (vec![2], vec![5]));
        assert_eq!((aligned.truth_alone, aligned.found_alone), (1, 2));
        let fails = |found: &Labels, expected: &str| {
            let why = align((t, &truth), (f, found)).unwrap_err().to_string();
            assert_eq!(why, format!("BAD_FORMAT: f.csv: {expected}"));
        };
        fails(&names(&[("z", 1)]), "has no face in common with t.csv");
        fails(
            &Labels::Rows(vec![1]),
            "is not by name, row or track as t.csv is",
        );
        let why = align((t, &Labels::Rows(vec![1, 2])), (f, &Labels::Rows(vec![1])));
        assert_eq!(
            why.unwrap_err().to_string(),
            "BAD_FORMAT: f.csv: 1 labels; t.csv has 2"
        );
    }
}

//! Pairs of faces, or of sets of faces, that somebody has chosen, and the ten-fold protocol in which
//! LFW and YTF are reported: each fold is decided by the threshold that is best on the other nine.

mod file;
mod units;

use std::{collections::BTreeMap, path::Path};

use rayon::prelude::*;
use serde::Serialize;

use super::{
    EvaluateError,
    curve::Cosines,
    labels::{Unknown, read_text},
};
use crate::faceset::FaceSet;
use file::{read_csv, read_lfw};
use units::Units;

/// A pair and how similar its sides are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Cosine.
    pub cosine: f32,
    /// Whether both sides show one person.
    pub same: bool,
    /// The fold it is in, from 0.
    pub fold: usize,
}

/// What a side of a pair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A face, by its name or row.
    Face,
    /// All faces of a track, by its number; or, where faces have names, all whose names begin with
    /// this folder. Their mean stands for them.
    Template,
}

/// A fold, decided by what is best on the others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fold {
    /// Pairs in it.
    pub pairs: usize,
    /// The threshold that decides most pairs of the other folds rightly.
    pub threshold: f64,
    /// The share of this fold's pairs that it decides rightly.
    pub accuracy: f64,
    /// The threshold with the false accept rate wanted, on the other folds.
    pub far_threshold: f64,
    /// This fold's true accept rate there.
    pub tar: f64,
    /// This fold's false accept rate there.
    pub far: f64,
}

/// A mean over folds and how much folds differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OverFolds {
    /// The mean.
    pub mean: f64,
    /// The standard deviation (of the folds themselves, not of a sample: numpy's default).
    pub sd: f64,
}

/// What the protocol reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Protocol {
    /// Pairs of one person.
    pub same: usize,
    /// Pairs of two people.
    pub different: usize,
    /// Right decisions, by the best threshold of the other folds.
    pub accuracy: OverFolds,
    /// The false accept rate at which the next is meant.
    pub far_wanted: f64,
    /// True accepts, by the threshold that has this rate on the other folds.
    pub tar: OverFolds,
    /// False accepts that this gives.
    pub far: OverFolds,
    /// Whether the pairs can show such a rate at all.
    pub note: String,
    /// Fold by fold.
    pub folds: Vec<Fold>,
}

/// Reads pairs and compares their sides. The file is LFW's `pairs.txt`, or a `.csv` with the columns
/// `a`, `b` and `same` (1, 0, true, false) and, if it likes, `fold`. Without folds, pairs are put into
/// `folds` of them in their order.
///
/// # Errors
/// [`EvaluateError::Format`], or [`EvaluateError::UnknownFace`] for a side that is no face's.
pub fn read(
    path: &Path,
    faces: &FaceSet,
    side: Side,
    folds: usize,
) -> Result<Vec<Pair>, EvaluateError> {
    let text = read_text(path)?;
    let is_table = path.extension().is_some_and(|extension| extension == "csv");
    let lines = if is_table {
        read_csv(&text).map_err(|why| EvaluateError::format(path, why.to_string()))
    } else {
        read_lfw(path, &text)
    }?;
    if lines.is_empty() {
        return Err(EvaluateError::format(path, "holds no pairs"));
    }
    let units = Units::of(faces, side);
    let mut unknown = Unknown::default();
    let mut found = Vec::with_capacity(lines.len());
    for line in &lines {
        let sides = [0, 1].map(|side| units.find(&line.sides[side]));
        for (name, unit) in line.sides.iter().zip(sides) {
            if unit.is_none() {
                unknown.note(&format!("{name} (line {})", line.number));
            }
        }
        found.push(sides);
    }
    unknown.check(path, faces.len())?;
    let count = lines.len();
    let in_order = |at: usize| at * folds / count;
    let pairs = lines
        .par_iter()
        .zip(found)
        .enumerate()
        .map(|(at, (line, sides))| Pair {
            cosine: units.cosine(sides[0].unwrap_or(0), sides[1].unwrap_or(0)),
            same: line.same,
            fold: line.fold.unwrap_or_else(|| in_order(at)),
        });
    Ok(pairs.collect())
}

/// All pairs together, for curves.
#[must_use]
pub fn cosines(pairs: &[Pair]) -> Cosines {
    let mut cosines = Cosines::default();
    for pair in pairs {
        if pair.same {
            cosines.same.add(pair.cosine, 1.0);
            cosines.same_pairs += 1.0;
        } else {
            cosines.different.add(pair.cosine, 1.0);
            cosines.different_pairs += 1.0;
        }
    }
    cosines
}

/// Reports pairs fold by fold.
///
/// # Errors
/// [`EvaluateError::TooFew`] unless there are two folds, and pairs of both kinds in each.
pub fn protocol(pairs: &[Pair], far_wanted: f64) -> Result<Protocol, EvaluateError> {
    let mut by_fold: BTreeMap<usize, Vec<Pair>> = BTreeMap::new();
    pairs
        .iter()
        .for_each(|pair| by_fold.entry(pair.fold).or_default().push(*pair));
    let both = |pairs: &Vec<Pair>| {
        pairs.iter().any(|pair| pair.same) && pairs.iter().any(|pair| !pair.same)
    };
    if by_fold.len() < 2 || !by_fold.values().all(both) {
        return Err(EvaluateError::TooFew(format!(
            "{} folds of pairs; two at least are needed, with pairs of one person and of two in each",
            by_fold.len()
        )));
    }
    let folds: Vec<Fold> = by_fold
        .keys()
        .map(|fold| {
            let others = by_fold.iter().filter(|(other, _)| *other != fold);
            let others: Vec<Pair> = others.flat_map(|(_, pairs)| pairs).copied().collect();
            decide(&by_fold[fold], &others, far_wanted)
        })
        .collect();
    let over = |of: fn(&Fold) -> f64| OverFolds::of(&folds.iter().map(of).collect::<Vec<_>>());
    let different = pairs.iter().filter(|pair| !pair.same).count();
    let least = by_fold
        .values()
        .map(|pairs| pairs.iter().filter(|pair| !pair.same).count())
        .min();
    let least = least.unwrap_or(0);
    let note = if (least as f64) * far_wanted < 1.0 {
        format!(
            "a fold has {least} pairs of two people, too few to show a false accept rate of {far_wanted:e}: it is 0 or at least {:.1e} there",
            1.0 / least as f64
        )
    } else {
        String::new()
    };
    Ok(Protocol {
        same: pairs.len() - different,
        different,
        accuracy: over(|fold| fold.accuracy),
        far_wanted,
        tar: over(|fold| fold.tar),
        far: over(|fold| fold.far),
        note,
        folds,
    })
}

fn decide(fold: &[Pair], others: &[Pair], far_wanted: f64) -> Fold {
    let (threshold, far_threshold) = thresholds(others, far_wanted);
    let accepted = |pair: &&Pair, threshold: f64| f64::from(pair.cosine) >= threshold;
    let right = fold
        .iter()
        .filter(|pair| accepted(pair, threshold) == pair.same)
        .count();
    let rate = |same: bool| {
        let of = fold.iter().filter(|pair| pair.same == same);
        let hits = of
            .clone()
            .filter(|pair| accepted(pair, far_threshold))
            .count();
        hits as f64 / of.count() as f64
    };
    Fold {
        pairs: fold.len(),
        threshold,
        accuracy: right as f64 / fold.len() as f64,
        far_threshold,
        tar: rate(true),
        far: rate(false),
    }
}

/// The threshold that decides most pairs rightly (the lowest of several), and the lowest with at most
/// this false accept rate; each half way between two cosines that were seen.
fn thresholds(pairs: &[Pair], far_wanted: f64) -> (f64, f64) {
    let mut sorted: Vec<Pair> = pairs.to_vec();
    sorted.sort_by(|a, b| a.cosine.total_cmp(&b.cosine));
    let different = sorted.iter().filter(|pair| !pair.same).count();
    // Everything is accepted to begin with, then one after the other no longer.
    let mut right = sorted.len() - different;
    let mut wrong = different;
    let mut best = (right, -1.0);
    let mut by_far = (wrong as f64 <= far_wanted * different as f64).then_some(-1.0);
    for (at, pair) in sorted.iter().enumerate() {
        if pair.same {
            right -= 1;
        } else {
            right += 1;
            wrong -= 1;
        }
        let next = sorted
            .get(at + 1)
            .map_or(pair.cosine + 0.0001, |next| next.cosine);
        if next <= pair.cosine {
            continue;
        }
        let between = f64::midpoint(f64::from(pair.cosine), f64::from(next));
        if right > best.0 {
            best = (right, between);
        }
        if by_far.is_none() && wrong as f64 <= far_wanted * different as f64 {
            by_far = Some(between);
        }
    }
    (best.1, by_far.unwrap_or(1.0))
}

impl OverFolds {
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean).powi(2));
        Self {
            mean,
            sd: (squares.sum::<f64>() / count).sqrt(),
        }
    }
}

#[cfg(test)]
mod tests;

//! Pairs of faces, or of sets of faces, that somebody has chosen, and the ten-fold protocol in which
//! LFW and YTF are reported: each fold is decided by the threshold that is best on the other nine.

use std::{collections::BTreeMap, path::Path};

use rayon::prelude::*;
use serde::Serialize;

use super::{
    EvaluateError,
    curve::Cosines,
    labels::{Names, Unknown, csv_fields, read_text, stem},
};
use crate::faceset::FaceSet;

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

/// A line of the file.
struct Line {
    number: usize,
    sides: [String; 2],
    same: bool,
    fold: Option<usize>,
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
        read_csv(path, &text)
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

/// Faces, or sets of faces.
struct Units<'a> {
    faces: &'a FaceSet,
    names: Option<Names>,
    templates: Option<Templates>,
}

/// Sets of faces.
struct Templates {
    by_name: BTreeMap<String, usize>,
    rows: Vec<Vec<usize>>,
}

impl<'a> Units<'a> {
    fn of(faces: &'a FaceSet, side: Side) -> Self {
        let templates = (side == Side::Template).then(|| {
            let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            for row in 0..faces.len() {
                let track = faces.known()[row].track.map(|track| track.to_string());
                let folder = faces.name(row).and_then(|name| name.rsplit_once('/'));
                let folder = folder.map(|(folder, _)| folder.to_owned());
                for name in [track, folder].into_iter().flatten() {
                    by_name.entry(name).or_default().push(row);
                }
            }
            let (names, rows): (Vec<String>, Vec<Vec<usize>>) = by_name.into_iter().unzip();
            Templates {
                by_name: names.into_iter().zip(0..).collect(),
                rows,
            }
        });
        Self {
            faces,
            names: Names::of(faces),
            templates,
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        if let Some(templates) = &self.templates {
            return templates.by_name.get(name).copied();
        }
        let by_name = self.names.as_ref().and_then(|names| names.row(stem(name)));
        let by_row = || name.parse().ok().filter(|row| *row < self.faces.len());
        by_name.or_else(by_row)
    }

    fn cosine(&self, one: usize, other: usize) -> f32 {
        let (one, other) = (self.vector(one), self.vector(other));
        let dot: f64 = one.iter().zip(&other).map(|(a, b)| a * b).sum();
        let length = |of: &[f64]| of.iter().map(|value| value * value).sum::<f64>().sqrt();
        let lengths = length(&one) * length(&other);
        crate::number::to_f32(if lengths > 0.0 { dot / lengths } else { 0.0 })
    }

    /// A face's embedding, or the sum of a template's.
    fn vector(&self, unit: usize) -> Vec<f64> {
        let one = [unit];
        let rows = self
            .templates
            .as_ref()
            .map_or(&one[..], |templates| &templates.rows[unit]);
        let mut sum = vec![0.0; self.faces.dimension()];
        for row in rows {
            let values = self.faces.embedding(*row).iter();
            sum.iter_mut()
                .zip(values)
                .for_each(|(sum, value)| *sum += f64::from(*value));
        }
        sum
    }
}

/// LFW's file: the number of folds and of pairs of each kind in one; then, fold by fold, those of one
/// person (name, picture, picture) and of two (name, picture, name, picture).
fn read_lfw(path: &Path, text: &str) -> Result<Vec<Line>, EvaluateError> {
    let bad = |line: usize, why: &str| EvaluateError::format(path, format!("line {line}: {why}"));
    let mut lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let header = lines.next().map_or("", |(_, line)| line);
    let header: Option<Vec<usize>> = header
        .split_whitespace()
        .map(|word| word.parse().ok())
        .collect();
    let per_fold = match header.as_deref() {
        Some([_, per_fold] | [per_fold]) if *per_fold > 0 => 2 * per_fold,
        _ => {
            return Err(bad(
                1,
                "neither LFW's pairs.txt (`10 300`) nor a .csv of a,b,same",
            ));
        }
    };
    let mut pairs = Vec::new();
    for (at, line) in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let picture = |person: &str, number: &str| -> Option<String> {
            Some(format!("{person}_{:04}", number.parse::<u32>().ok()?))
        };
        let (sides, same) = match words[..] {
            [person, one, other] => ([picture(person, one), picture(person, other)], true),
            [a, one, b, other] => ([picture(a, one), picture(b, other)], false),
            _ => return Err(bad(at + 1, "three fields or four are wanted")),
        };
        let [Some(one), Some(other)] = sides else {
            return Err(bad(at + 1, "a picture's number is none"));
        };
        pairs.push(Line {
            number: at + 1,
            sides: [one, other],
            same,
            fold: Some(pairs.len() / per_fold),
        });
    }
    Ok(pairs)
}

fn read_csv(path: &Path, text: &str) -> Result<Vec<Line>, EvaluateError> {
    let bad = |line: usize, why: &str| EvaluateError::format(path, format!("line {line}: {why}"));
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let header = lines
        .next()
        .and_then(|(_, line)| csv_fields(line))
        .unwrap_or_default();
    let column = |names: &[&str]| {
        let is_one = |field: &String| names.contains(&field.to_ascii_lowercase().as_str());
        header.iter().position(is_one)
    };
    let sides = (
        column(&["a", "first", "first name"]),
        column(&["b", "second", "second name"]),
    );
    let same = column(&["same", "is same", "is same person?", "is_same"]);
    let fold = column(&["fold", "split", "split number"]);
    let ((Some(a), Some(b)), Some(same)) = (sides, same) else {
        return Err(bad(1, "the header must be a,b,same or a,b,same,fold"));
    };
    let mut pairs = Vec::new();
    for (at, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let fields = csv_fields(line).ok_or_else(|| bad(at + 1, "a quote is not closed"))?;
        let field = |column: usize| {
            let field = fields.get(column);
            field.ok_or_else(|| bad(at + 1, "has fewer fields than the header"))
        };
        let same = match field(same)?.to_ascii_lowercase().as_str() {
            "1" | "true" | "same" => true,
            "0" | "false" | "different" => false,
            _ => return Err(bad(at + 1, "same is 1 or 0")),
        };
        let fold = fold.map(|column| {
            let fold = field(column)?.parse::<usize>();
            fold.map_err(|_| bad(at + 1, "fold is a whole number"))
        });
        pairs.push(Line {
            number: at + 1,
            sides: [field(a)?.clone(), field(b)?.clone()],
            same,
            fold: fold.transpose()?,
        });
    }
    Ok(pairs)
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
mod tests {
    use super::*;
    use rollcall_index::{Embedding, vectors::Known};

    /// Faces at these angles, two a track, named after people as LFW and YTF name them.
    fn faces(angles: &[(&str, f32)]) -> FaceSet {
        let mut faces = FaceSet::new(2);
        for (at, (_, angle)) in angles.iter().enumerate() {
            let known = Known {
                track: Some(at as u64 / 2),
                ..Known::default()
            };
            let angle = angle.to_radians();
            faces.push(
                &Embedding::normalise(vec![angle.cos(), angle.sin()]).unwrap(),
                known,
            );
        }
        faces.with_names(angles.iter().map(|(name, _)| (*name).to_owned()).collect())
    }

    fn read_text(name: &str, text: &str, side: Side) -> Result<Vec<Pair>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let faces = faces(&[
            ("v/A/0/A_0001.jpg", 0.0),
            ("v/A/0/A_0002.jpg", 20.0),
            ("v/B/1/B_0001.jpg", 90.0),
            ("v/B/1/B_0003.jpg", 70.0),
        ]);
        read(&path, &faces, side, 10).map_err(|why| why.to_string())
    }

    #[test]
    fn lfw_and_tables_and_templates() {
        let lfw = read_text(
            "pairs.txt",
            "2\t1\nA\t1\t2\nA\t1\tB\t1\nB\t1\t3\nA\t2\tB\t3\n",
            Side::Face,
        )
        .unwrap();
        let expected = [
            (20.0_f32, true, 0),
            (90.0, false, 0),
            (20.0, true, 1),
            (50.0, false, 1),
        ];
        for (pair, (angle, same, fold)) in lfw.iter().zip(expected) {
            assert!((pair.cosine - angle.to_radians().cos()).abs() < 1e-5);
            assert_eq!((pair.same, pair.fold), (same, fold));
        }
        let table = read_text(
            "p.csv",
            "a,b,same,fold\n0,3,false,7\nA_0001,A_0002.jpg,1,8\n",
            Side::Face,
        )
        .unwrap();
        assert!((table[0].cosine - 70_f32.to_radians().cos()).abs() < 1e-5);
        assert_eq!((table[1].same, table[1].fold), (true, 8));
        let of_tracks =
            read_text("p.csv", "a,b,same\n0,1,0\nv/A/0,v/B/1,0\n", Side::Template).unwrap();
        for pair in of_tracks {
            assert!(
                (pair.cosine - 70_f32.to_radians().cos()).abs() < 1e-5,
                "{pair:?}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let fails = |name: &str, text: &str, why: &str| {
            let found = read_text(name, text, Side::Face).unwrap_err();
            assert!(found.contains(why), "{found}");
        };
        fails("pairs.txt", "a b c", "line 1: neither LFW's");
        fails("pairs.txt", "10 300\nA 1\n", "line 2: three fields or four");
        fails("pairs.txt", "10 300\nA 1 9\n", "UNKNOWN_FACE");
        fails("pairs.txt", "10 300\nA 1 x\n", "line 2: a picture's number");
        fails("p.csv", "a,b\n", "line 1: the header");
        fails("p.csv", "a,b,same\n0,1,maybe\n", "line 2: same is 1 or 0");
        fails(
            "p.csv",
            "a,b,same\n0,9,1\n",
            "9 (line 2) is not among the 4 faces",
        );
        fails("p.csv", "a,b,same\n", "holds no pairs");
    }

    #[test]
    fn each_fold_by_the_best_of_the_others() {
        let pair = |fold: usize, cosine: f32, same: bool| Pair { cosine, same, fold };
        let mut pairs = Vec::new();
        for fold in 0..10 {
            pairs.extend([
                pair(fold, 0.8, true),
                pair(fold, 0.1, false),
                pair(fold, 0.2, false),
            ]);
        }
        pairs.push(pair(3, 0.3, true));
        let found = protocol(&pairs, 1e-3).unwrap();
        assert_eq!(
            (found.same, found.different, found.folds.len()),
            (11, 20, 10)
        );
        // Without fold 3 the best threshold is half way from 0.2 to 0.8; with it, from 0.2 to 0.3.
        assert!((found.folds[3].threshold - 0.5).abs() < 1e-6);
        assert!((found.folds[4].threshold - 0.25).abs() < 1e-6);
        assert_eq!(found.folds[3].accuracy, 0.75);
        assert!((found.accuracy.mean - 0.975).abs() < 1e-12);
        assert!((found.accuracy.sd - 0.075).abs() < 1e-12);
        assert!((found.tar.mean - 0.95).abs() < 1e-12 && found.far.mean == 0.0);
        assert!(found.note.contains("a fold has 2 pairs"));
        assert!(protocol(&pairs[..3], 1e-3).is_err());
    }
}

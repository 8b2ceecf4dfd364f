//! Files that say whom faces show.
//!
//! | file | labels |
//! |---|---|
//! | `.npy` of integers | one a row |
//! | `.csv` with the header `name,label` (or `face`, `file`; `identity`, `person`) | by name |
//! | `.json`, `{"labels": {"NAME": {"label": 3}}}`: streamface's `annotations.json` | by name |
//! | `.json`, `{"NAME": 3}` | by name |
//! | `.json`, `{"clusters": [3, ..]}`: facerec's `clusters.json` | by track |
//!
//! A label below 0 is noise: a face that shows nobody in particular. Labels may be words (in a `.csv`
//! or `{"NAME": "label"}`), which get the same numbers in whatever file they are.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::Path,
};

use rollcall_index::vectors::Array;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::EvaluateError;
use crate::{
    faceset::{FaceSet, FaceSetError, MISSING},
    lines::Lines,
    table::{Table, TableError},
};

/// The words that labels are, by their numbers; empty if they are numbers.
pub type Words = BTreeMap<i64, String>;

/// What a file of labels says. Below 0: noise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labels {
    /// One a row.
    Rows(Vec<i64>),
    /// By the face's name, without a picture's ending.
    Names(BTreeMap<String, i64>, Words),
    /// By the face's track.
    Tracks(Vec<i64>),
}

impl Labels {
    /// Reads a file, of the format that its name and content say.
    ///
    /// # Errors
    /// [`EvaluateError::Io`] or [`EvaluateError::Format`].
    pub fn read(path: &Path) -> Result<Self, EvaluateError> {
        if !path.try_exists().map_err(EvaluateError::io(path))? {
            let why = std::io::Error::new(std::io::ErrorKind::NotFound, MISSING);
            return Err(EvaluateError::io(path)(why));
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension {
            Some("npy") => Array::read_integers(path)
                .map(Self::Rows)
                .map_err(|why| FaceSetError::from(why).into()),
            Some("csv") => read_csv(path, &read_text(path)?),
            Some("json") => read_json(path, &read_text(path)?),
            _ => Err(EvaluateError::format(
                path,
                "labels are read from .npy, .csv and .json",
            )),
        }
    }

    /// The label of each face; `None` where the file says nothing of it. `path` is for messages.
    ///
    /// # Errors
    /// [`EvaluateError::UnknownFace`] if the file speaks of a face that does not exist,
    /// [`EvaluateError::NoNames`] if it speaks of names and faces have none.
    pub fn of_faces(
        &self,
        path: &Path,
        faces: &FaceSet,
    ) -> Result<Vec<Option<i64>>, EvaluateError> {
        match self {
            Self::Rows(labels) => of_rows(path, labels, faces),
            Self::Names(labels, _) => of_names(path, labels, faces),
            Self::Tracks(labels) => of_tracks(path, labels, faces),
        }
    }

    /// The words that labels are.
    #[must_use]
    pub fn words(&self) -> Words {
        match self {
            Self::Names(_, words) => words.clone(),
            Self::Rows(_) | Self::Tracks(_) => Words::new(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Rows(labels) | Self::Tracks(labels) => labels.len(),
            Self::Names(labels, _) => labels.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn of_rows(
    path: &Path,
    labels: &[i64],
    faces: &FaceSet,
) -> Result<Vec<Option<i64>>, EvaluateError> {
    if labels.len() > faces.len() {
        return Err(EvaluateError::UnknownFace {
            path: path.to_owned(),
            first: format!("row {}", faces.len()),
            count: labels.len() - faces.len(),
            faces: faces.len(),
        });
    }
    if labels.len() < faces.len() {
        let why = format!("{} labels for {} faces", labels.len(), faces.len());
        return Err(EvaluateError::format(path, why));
    }
    Ok(labels.iter().copied().map(Some).collect())
}

fn of_names(
    path: &Path,
    labels: &BTreeMap<String, i64>,
    faces: &FaceSet,
) -> Result<Vec<Option<i64>>, EvaluateError> {
    let names = Names::of(faces).ok_or_else(|| EvaluateError::NoNames {
        path: path.to_owned(),
    })?;
    let mut found = vec![None; faces.len()];
    let mut unknown = Unknown::default();
    for (name, label) in labels {
        match names.row(name) {
            Some(row) => found[row] = Some(*label),
            None => unknown.note(name),
        }
    }
    unknown.check(path, faces.len())?;
    Ok(found)
}

fn of_tracks(
    path: &Path,
    labels: &[i64],
    faces: &FaceSet,
) -> Result<Vec<Option<i64>>, EvaluateError> {
    let tracks = faces.known().iter().map(|known| known.track);
    let tracks: Option<Vec<u64>> = tracks.collect();
    let tracks = tracks.ok_or_else(|| {
        let why =
            "has a label a track, and it is not known of which track the faces are; give --tracks";
        EvaluateError::format(path, why)
    })?;
    let label = |track: &u64| usize::try_from(*track).ok().and_then(|at| labels.get(at));
    let found: Vec<Option<i64>> = tracks.iter().map(|track| label(track).copied()).collect();
    if let Some(at) = found.iter().position(Option::is_none) {
        let (track, count) = (tracks[at], labels.len());
        let why =
            format!("row {at} is of track {track}, and there are {count} labels, from track 0");
        return Err(EvaluateError::format(path, why));
    }
    Ok(found)
}

/// Names that nobody has.
#[derive(Default)]
pub(crate) struct Unknown {
    first: Option<String>,
    count: usize,
}

impl Unknown {
    pub(crate) fn note(&mut self, name: &str) {
        self.first.get_or_insert_with(|| name.to_owned());
        self.count += 1;
    }

    pub(crate) fn check(self, path: &Path, faces: usize) -> Result<(), EvaluateError> {
        let Some(first) = self.first else {
            return Ok(());
        };
        Err(EvaluateError::UnknownFace {
            path: path.to_owned(),
            first,
            count: self.count,
            faces,
        })
    }
}

/// Finds faces by name: by the whole of it, or by its last part where that says which.
pub(crate) struct Names {
    whole: HashMap<String, usize>,
    last: HashMap<String, Option<usize>>,
}

impl Names {
    /// `None` if the faces have no names.
    pub(crate) fn of(faces: &FaceSet) -> Option<Self> {
        let (mut whole, mut last) = (HashMap::new(), HashMap::new());
        for row in 0..faces.len() {
            let name = stem(faces.name(row)?);
            last.entry(last_part(name).to_owned())
                .and_modify(|row| *row = None)
                .or_insert(Some(row));
            whole.insert(name.to_owned(), row);
        }
        Some(Self { whole, last })
    }

    pub(crate) fn row(&self, name: &str) -> Option<usize> {
        let name = stem(name);
        let by_last = || self.last.get(last_part(name)).copied().flatten();
        self.whole.get(name).copied().or_else(by_last)
    }
}

fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// A name without the ending of a picture.
pub(crate) fn stem(name: &str) -> &str {
    let endings = [".png", ".jpg", ".jpeg", ".webp", ".bmp"];
    let end = endings.into_iter().find(|ending| {
        let from = name.len().checked_sub(ending.len());
        let tail = from.and_then(|from| name.get(from..));
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case(ending))
    });
    &name[..name.len() - end.map_or(0, str::len)]
}

/// Reads one name a line, as many as there are faces.
///
/// # Errors
/// [`EvaluateError`]: not so many, or a name twice.
pub fn read_names(path: &Path, faces: usize) -> Result<Vec<String>, EvaluateError> {
    let text = read_text(path)?;
    let names: Vec<String> = text.lines().map(|name| name.trim().to_owned()).collect();
    if names.len() != faces {
        let why = format!(
            "{} names for {faces} faces; one a line is wanted",
            names.len()
        );
        return Err(EvaluateError::format(path, why));
    }
    let mut seen = HashSet::new();
    if let Some(at) = names.iter().position(|name| !seen.insert(stem(name))) {
        let why = format!("line {}: the name {} is there twice", at + 1, names[at]);
        return Err(EvaluateError::format(path, why));
    }
    Ok(names)
}

/// The names of the faces of a `.jsonl` file, by its field `name` or `tag`; `None` unless each line
/// has one.
///
/// # Errors
/// [`EvaluateError::Io`]; [`EvaluateError::Format`] with the line.
pub fn names_of_jsonl(path: &Path) -> Result<Option<Vec<String>>, EvaluateError> {
    #[derive(serde::Deserialize)]
    struct Line {
        name: Option<Value>,
        tag: Option<Value>,
    }
    let bad = |(line, why)| EvaluateError::format(path, format!("line {line}: {why}"));
    let mut names = Vec::new();
    for line in Lines::open(path).map_err(EvaluateError::io(path))? {
        let (number, text) = line.map_err(bad)?;
        if text.trim().is_empty() {
            continue;
        }
        let line = serde_json::from_str(&text).map_err(|why| bad((number, why.to_string())));
        let Line { name, tag } = line?;
        let Some(Value::String(name)) = name.or(tag) else {
            return Ok(None);
        };
        names.push(name);
    }
    Ok(Some(names))
}

pub(crate) fn read_text(path: &Path) -> Result<String, EvaluateError> {
    fs::read_to_string(path).map_err(EvaluateError::io(path))
}

fn read_csv(path: &Path, text: &str) -> Result<Labels, EvaluateError> {
    let entries = || -> Result<_, TableError> {
        let table = Table::new(text.as_bytes())?;
        let name = table.column(&["name", "face", "file", "filename"])?;
        let label = table.column(&["label", "identity", "person", "class"])?;
        let entries = table.map(|row| {
            let row = row?;
            Ok((row.field(name)?.to_owned(), row.field(label)?.to_owned()))
        });
        entries.collect()
    };
    let entries = entries().map_err(|why| EvaluateError::format(path, why.to_string()))?;
    by_name(path, entries)
}

fn read_json(path: &Path, text: &str) -> Result<Labels, EvaluateError> {
    let bad = |why: String| EvaluateError::format(path, why);
    let value: Value = serde_json::from_str(text).map_err(|why| bad(why.to_string()))?;
    let Value::Object(top) = value else {
        return Err(bad("an object is wanted".into()));
    };
    if let Some(Value::Array(clusters)) = top.get("clusters") {
        let labels = clusters.iter().enumerate().map(|(at, label)| {
            label
                .as_i64()
                .ok_or_else(|| bad(format!("clusters[{at}] is {label}, no whole number")))
        });
        return Ok(Labels::Tracks(labels.collect::<Result<_, _>>()?));
    }
    let labels = match top.get("labels") {
        Some(Value::Object(labels)) => labels,
        _ => &top,
    };
    let entries = labels.iter().map(|(name, entry)| {
        let label = entry.get("label").unwrap_or(entry);
        match label {
            Value::String(label) => Ok((name.clone(), label.clone())),
            Value::Number(label) if label.is_i64() => Ok((name.clone(), label.to_string())),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => Err(bad(format!(
                "{name}: its label is {label}, no whole number"
            ))),
        }
    });
    by_name(path, entries.collect::<Result<_, _>>()?)
}

fn by_name(path: &Path, entries: Vec<(String, String)>) -> Result<Labels, EvaluateError> {
    let (numbers, words) = numbered(entries.iter().map(|(_, label)| label.as_str()));
    let mut labels = BTreeMap::new();
    for ((name, _), label) in entries.iter().zip(numbers) {
        let before = labels.insert(stem(name).to_owned(), label);
        if before.is_some_and(|before| before != label) {
            let why = format!("{name} is there twice, with two labels");
            return Err(EvaluateError::format(path, why));
        }
    }
    if labels.is_empty() {
        return Err(EvaluateError::format(path, "holds no labels"));
    }
    Ok(Labels::Names(labels, words))
}

/// The number of each label, and the words if not all are numbers. A number below 0 stays what it is.
pub(crate) fn numbered<'a>(labels: impl Iterator<Item = &'a str> + Clone) -> (Vec<i64>, Words) {
    let number = |label: &str| label.parse::<i64>().ok();
    if labels.clone().all(|label| number(label).is_some()) {
        return (labels.filter_map(number).collect(), Words::new());
    }
    let mut words = Words::new();
    let numbers = labels.map(|label| match number(label) {
        Some(noise) if noise < 0 => noise,
        _ => {
            let number = number_of_word(label);
            words.insert(number, label.to_owned());
            number
        }
    });
    (numbers.collect(), words)
}

/// A number that follows from the word alone, so that two files agree on it: 62 bits of its SHA-256.
fn number_of_word(word: &str) -> i64 {
    let hash = Sha256::digest(word.as_bytes());
    hash.iter()
        .take(8)
        .fold(0_i64, |number, byte| (number << 8) | i64::from(*byte))
        & (i64::MAX >> 1)
}

#[cfg(test)]
mod tests;

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
//! A label below 0 is noise: a face that shows nobody in particular. Labels that are no numbers
//! (in a `.csv` or `{"NAME": "label"}`) are numbered in the order of their names.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs,
    path::Path,
};

use rollcall_index::vectors::Array;
use serde_json::Value;

use super::EvaluateError;
use crate::faceset::{FaceSet, FaceSetError};

/// What a file of labels says. Below 0: noise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labels {
    /// One a row.
    Rows(Vec<i64>),
    /// By the face's name, without a picture's ending.
    Names(BTreeMap<String, i64>),
    /// By the face's track.
    Tracks(Vec<i64>),
}

impl Labels {
    /// Reads a file, of the format that its name and content say.
    ///
    /// # Errors
    /// [`EvaluateError::Io`] or [`EvaluateError::Format`].
    pub fn read(path: &Path) -> Result<Self, EvaluateError> {
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
            Self::Names(labels) => of_names(path, labels, faces),
            Self::Tracks(labels) => of_tracks(path, labels, faces),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Rows(labels) | Self::Tracks(labels) => labels.len(),
            Self::Names(labels) => labels.len(),
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
/// [`EvaluateError::Io`].
pub fn names_of_jsonl(path: &Path) -> Result<Option<Vec<String>>, EvaluateError> {
    #[derive(serde::Deserialize)]
    struct Line {
        name: Option<String>,
        tag: Option<String>,
    }
    let text = read_text(path)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let names = lines.map(|line| {
        let line: Line = serde_json::from_str(line).ok()?;
        line.name.or(line.tag)
    });
    Ok(names.collect())
}

pub(crate) fn read_text(path: &Path) -> Result<String, EvaluateError> {
    fs::read_to_string(path).map_err(EvaluateError::io(path))
}

/// The fields of a line of a `.csv` file, quotes undone; `None` if a quote is not closed.
pub(crate) fn csv_fields(line: &str) -> Option<Vec<String>> {
    let (mut fields, mut field) = (Vec::new(), String::new());
    let mut chars = line.chars().peekable();
    let mut quoted = false;
    while let Some(char) = chars.next() {
        match (char, quoted) {
            ('"', true) if chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            ('"', _) => quoted = !quoted,
            (',', false) => fields.push(std::mem::take(&mut field).trim().to_owned()),
            (other, _) => field.push(other),
        }
    }
    fields.push(field.trim().to_owned());
    (!quoted).then_some(fields)
}

fn read_csv(path: &Path, text: &str) -> Result<Labels, EvaluateError> {
    let bad = |line: usize, why: &str| EvaluateError::format(path, format!("line {line}: {why}"));
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let header = lines.next().and_then(|(_, line)| csv_fields(line));
    let header = header.unwrap_or_default();
    let column = |names: &[&str]| {
        let is_one = |field: &String| names.contains(&field.to_ascii_lowercase().as_str());
        header.iter().position(is_one)
    };
    let columns = (
        column(&["name", "face", "file", "filename"]),
        column(&["label", "identity", "person", "class"]),
    );
    let (Some(name), Some(label)) = columns else {
        return Err(bad(1, "the header must be name,label"));
    };
    let mut entries = Vec::new();
    for (at, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let fields = csv_fields(line).ok_or_else(|| bad(at + 1, "a quote is not closed"))?;
        let (Some(name), Some(label)) = (fields.get(name), fields.get(label)) else {
            return Err(bad(at + 1, "has fewer fields than the header"));
        };
        entries.push((name.clone(), label.clone()));
    }
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
    let number = |label: &str| label.parse::<i64>().ok();
    let words: BTreeSet<String> = if entries.iter().all(|(_, label)| number(label).is_some()) {
        BTreeSet::new()
    } else {
        entries.iter().map(|(_, label)| label.clone()).collect()
    };
    let numbers: HashMap<&String, i64> = words.iter().zip(0..).collect();
    let mut labels = BTreeMap::new();
    for (name, label) in &entries {
        let label = numbers.get(label).copied().or_else(|| number(label));
        let label = label.expect("either all are numbers or all are numbered");
        let before = labels.insert(stem(name).to_owned(), label);
        if before.is_some_and(|before| before != label) {
            let why = format!("{name} is there twice, with two labels");
            return Err(EvaluateError::format(path, why));
        }
    }
    if labels.is_empty() {
        return Err(EvaluateError::format(path, "holds no labels"));
    }
    Ok(Labels::Names(labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_index::{Embedding, vectors::Known};

    fn read(name: &str, text: &str) -> Result<Labels, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        Labels::read(&path).map_err(|why| why.to_string())
    }

    fn faces(names: &[&str]) -> FaceSet {
        let mut faces = FaceSet::new(2);
        for track in 0..names.len() as u64 {
            let known = Known {
                track: Some(track),
                ..Known::default()
            };
            faces.push(&Embedding::normalise(vec![1.0, 2.0]).unwrap(), known);
        }
        faces.with_names(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[track_caller]
    fn fails(name: &str, text: &str, why: &str) {
        let found = read(name, text).unwrap_err();
        assert!(
            found.starts_with("BAD_FORMAT") && found.contains(why),
            "{found}"
        );
    }

    #[test]
    fn each_format() {
        let expected: BTreeMap<_, _> = [("a".to_owned(), 3), ("b".to_owned(), -1)].into();
        for (name, text) in [
            ("a.csv", "\u{feff}Name,Label\r\na.PNG,3\r\n\"b\",-1\r\n"),
            ("a.json", r#"{"a": 3, "b.jpg": -1}"#),
            (
                "a.json",
                r#"{"labels": {"a": {"label": 3, "mask": 0.5}, "b": {"label": -1}}, "ignore": ["1,2"]}"#,
            ),
        ] {
            assert_eq!(
                read(name, text),
                Ok(Labels::Names(expected.clone())),
                "{text}"
            );
        }
        let clusters = r#"{"clusters":[2,0,1],"movie_id":7}"#;
        assert_eq!(
            read("clusters.json", clusters),
            Ok(Labels::Tracks(vec![2, 0, 1]))
        );
        let words: BTreeMap<_, _> = [("x", 1), ("y", 0), ("z", 1)]
            .map(|(a, b)| (a.to_owned(), b))
            .into();
        let text = "face,person\nx,Zoe\ny,\"Ann, B.\"\nz,Zoe\n";
        assert_eq!(read("w.csv", text), Ok(Labels::Names(words)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        fails(
            "a.csv",
            "a,b\n1,2\n",
            "line 1: the header must be name,label",
        );
        fails("a.csv", "name,label\na\n", "line 2: has fewer fields");
        fails(
            "a.csv",
            "name,label\na,1\na.png,2\n",
            "a.png is there twice",
        );
        fails(
            "a.csv",
            "name,label\n\"a,1\n",
            "line 2: a quote is not closed",
        );
        fails("a.csv", "name,label\n", "holds no labels");
        fails("a.json", "[1]", "an object is wanted");
        fails("a.json", "{\"a\": 1.5}", "a: its label is 1.5");
        fails("a.json", "{\"a\": 1", "EOF");
        fails("a.json", "{\"clusters\": [1, null]}", "clusters[1] is null");
        fails("a.txt", "", "labels are read from");
    }

    #[test]
    fn faces_are_found_by_their_names() {
        let faces = faces(&["day/a.png", "day/b.png", "night/b.png"]);
        let labels = |entries: &[(&str, i64)]| {
            Labels::Names(
                entries
                    .iter()
                    .map(|(name, label)| ((*name).to_owned(), *label))
                    .collect(),
            )
        };
        let path = Path::new("labels.csv");
        let found = labels(&[("a", 1), ("night/b", 2)]).of_faces(path, &faces);
        assert_eq!(found.unwrap(), [Some(1), None, Some(2)]);
        let why = labels(&[("a", 1), ("b", 1), ("gone", 2)])
            .of_faces(path, &faces)
            .unwrap_err();
        let expected =
            "UNKNOWN_FACE: labels.csv: b is not among the 3 faces of the features (2 such)";
        assert!(why.to_string().starts_with(expected), "{why}");
        let found = Labels::Tracks(vec![5, 6, 7]).of_faces(path, &faces);
        assert_eq!(found.unwrap(), [Some(5), Some(6), Some(7)]);
        let why = Labels::Tracks(vec![5]).of_faces(path, &faces).unwrap_err();
        assert!(why.to_string().contains("row 1 is of track 1"), "{why}");
        let why = Labels::Rows(vec![1; 4]).of_faces(path, &faces).unwrap_err();
        assert!(
            why.to_string().contains("row 3 is not among the 3 faces"),
            "{why}"
        );
        let why = Labels::Rows(vec![1; 2]).of_faces(path, &faces).unwrap_err();
        assert!(why.to_string().contains("2 labels for 3 faces"), "{why}");
    }
}

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ChannelError, analysis::pickles, io_error, stem};
use crate::files::write_whole;
use crate::pickle::{Pickle, Value as PickleValue};

/// `metadata/annotations.json`, or `annotations_manual.json`: whom each face shows.
///
/// Faces are in the order of their names, which is that of time. What other programs keep beside it stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Annotations {
    /// By the stem of the face's file.
    pub labels: BTreeMap<String, Annotation>,
    /// Pairs of labels, `x,y`, that were looked at and are two people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Anything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What is said of a face.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Annotation {
    /// Which class; below 0 it is noise.
    pub label: i64,
    /// Anything else: `mask`, `attributes`.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Annotations {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ChannelError::Io`]; [`ChannelError::BadAnnotations`]: which line.
    pub fn read(path: &Path) -> Result<Self, ChannelError> {
        let text = fs::read(path).map_err(io_error(path))?;
        serde_json::from_slice(&text).map_err(|why| ChannelError::BadAnnotations {
            path: path.to_path_buf(),
            why,
        })
    }

    /// What a channel's features say of each face beside whose it is: `mask` (null where nobody has looked) and
    /// `attributes`. All labels are 0.
    ///
    /// # Errors
    /// [`ChannelError`] when a file of features cannot be read.
    pub fn of_features(channel: &Path) -> Result<Self, ChannelError> {
        let mut annotations = Self::default();
        for path in pickles(&channel.join("features"))? {
            let pickle = Pickle::read(&path)?;
            for (name, face) in pickle.root().entries().unwrap_or_default() {
                let Some(name) = name.text() else { continue };
                let annotation = Annotation {
                    label: 0,
                    other: face.items().map(|items| said(&items)).unwrap_or_default(),
                };
                annotations.labels.insert(stem(name).to_owned(), annotation);
            }
        }
        Ok(annotations)
    }

    /// Writes a file, whole or not at all: UTF-8, indented by four spaces, as streamface does.
    ///
    /// # Errors
    /// [`ChannelError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), ChannelError> {
        let mut text = Vec::new();
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut writer = serde_json::Serializer::with_formatter(&mut text, indent);
        // Text and numbers into memory: nothing of it can fail.
        let _ = self.serialize(&mut writer);
        write_whole(path, &text).map_err(io_error(path))
    }
}

/// Of `(embedding, {groups}, {expression}, mask, {pose})`.
fn said(face: &[PickleValue<'_>]) -> Map<String, Value> {
    let [_, groups, expression, mask, pose, ..] = face else {
        return Map::new();
    };
    let mut attributes = Map::new();
    for (group, shares) in groups.entries().unwrap_or_default() {
        // Race is nobody's business here.
        if let Some(group) = group.text().filter(|group| *group != "race") {
            attributes.insert(group.to_owned(), numbers(shares));
        }
    }
    attributes.insert("expression".to_owned(), numbers(*expression));
    attributes.insert("pose".to_owned(), numbers(*pose));
    // Not a number is null.
    let mask = mask.number().map_or(Value::Null, Value::from);
    Map::from_iter([
        ("attributes".to_owned(), Value::Object(attributes)),
        ("mask".to_owned(), mask),
    ])
}

fn numbers(of: PickleValue<'_>) -> Value {
    let entries = of.entries().unwrap_or_default().into_iter();
    entries
        .filter_map(|(key, value)| Some((key.text()?.to_owned(), Value::from(value.number()?))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("annotations_manual.json");
        let text = r#"{
    "labels": {
        "sky_frame_20230525100138412614_face_0": {
            "label": 3,
            "attributes": {
                "gender": {
                    "Male": 0.97
                }
            },
            "mask": 0.02
        },
        "sky_frame_20230525100138412614_face_1": {
            "label": -1
        }
    },
    "ignore": [
        "3,17"
    ],
    "note": "kept"
}"#;
        fs::write(&path, text).unwrap();
        let read = Annotations::read(&path).unwrap();
        assert_eq!(read.ignore, ["3,17"]);
        assert_eq!(
            read.labels["sky_frame_20230525100138412614_face_1"].label,
            -1
        );
        read.write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_cut_file_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("annotations.json");
        fs::write(&path, "{\"labels\": {\n\"a\": {\"label\": 1},\n").unwrap();
        let error = Annotations::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("annotations.json") && error.contains("line 3"),
            "{error}"
        );
    }
}

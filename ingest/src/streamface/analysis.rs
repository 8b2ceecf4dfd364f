use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use super::{ChannelError, ChannelFolder, detections::Detection, io_error, stem};
use crate::{
    align::{AlignedCrop, align},
    attribute::{Classifier, KeptFace, Reading},
    embed::Embedder,
    files::write_whole,
    photo::{self, PhotoLimits},
    pickle::{Pickle, PickleWriter, Value},
};

/// streamface's age groups: the first year of each, and its name.
const AGES: [(f32, &str); 9] = [
    (0.0, "0-2"),
    (2.5, "3-9"),
    (9.5, "10-19"),
    (19.5, "20-29"),
    (29.5, "30-39"),
    (39.5, "40-49"),
    (49.5, "50-59"),
    (59.5, "60-69"),
    (69.5, "70+"),
];
/// Our models' labels, where streamface has other words.
const WORDS: [(&str, &str); 5] = [
    ("female", "Female"),
    ("male", "Male"),
    ("disgusted", "disgust"),
    ("afraid", "fear"),
    ("surprised", "surprise"),
];

/// Embeds the faces of a channel, and reads their attributes: streamface's stage 4.
///
/// Reads `metadata/detections.csv` and `faces/`, writes `features/FIRST.pkl` for each batch: `{file: (embedding, {"age", "gender"}, {expression},
/// mask, {"yaw", "pitch", "roll"})}`, float32, length 1. Race is not read off anybody, and no model for masks is shipped: that number is NaN.
pub struct FaceAnalyser {
    folder: ChannelFolder,
    embedder: Box<dyn Embedder>,
    classifiers: Vec<Box<dyn Classifier>>,
    waiting: Vec<Detection>,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Analysed {
    /// Faces embedded.
    pub faces: usize,
    /// Faces whose picture cannot be read, and why.
    pub unreadable: Vec<String>,
}

/// All that is known of a face.
struct Analysis {
    name: String,
    embedding: rollcall_index::Embedding,
    age: Vec<(&'static str, f64)>,
    gender: Vec<(String, f64)>,
    expression: Vec<(String, f64)>,
    pose: Vec<(String, f64)>,
}

impl FaceAnalyser {
    /// Looks at what is there: faces in `features/*.pkl` are done, unless `restart` is set, which removes those files.
    ///
    /// # Errors
    /// [`ChannelError`] when the table or a file of features cannot be read.
    pub fn open(
        folder: ChannelFolder,
        embedder: Box<dyn Embedder>,
        classifiers: Vec<Box<dyn Classifier>>,
        restart: bool,
    ) -> Result<Self, ChannelError> {
        let features = folder.part("features");
        fs::create_dir_all(&features).map_err(io_error(&features))?;
        let mut waiting = Detection::read_all(&folder.part("metadata/detections.csv"))?;
        let mut done = HashSet::new();
        for path in pickles(&features)? {
            if restart {
                fs::remove_file(&path).map_err(io_error(&path))?;
            } else {
                let pickle = Pickle::read(&path)?;
                let faces = pickle.root().entries().unwrap_or_default();
                let names = faces
                    .iter()
                    .filter_map(|(name, _): &(Value, Value)| name.text());
                done.extend(names.map(str::to_owned));
            }
        }
        waiting.retain(|face| !done.contains(&face.name));
        // The next is at the end.
        waiting.reverse();
        Ok(Self {
            folder,
            embedder,
            classifiers,
            waiting,
        })
    }

    /// Faces that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes the next faces, `most` of them, and writes their file; `None` when none waits.
    ///
    /// # Errors
    /// [`ChannelError`] when something cannot be written or a model fails.
    pub fn next(&mut self, most: usize) -> Result<Option<Analysed>, ChannelError> {
        if self.waiting.is_empty() {
            return Ok(None);
        }
        let from = self.waiting.len().saturating_sub(most.max(1));
        let mut batch = self.waiting.split_off(from);
        batch.reverse();
        let (mut outcome, mut kept, mut crops) = (Analysed::default(), Vec::new(), Vec::new());
        for face in batch {
            let path = self.folder.part("faces").join(&face.name);
            let bytes = fs::read(&path).map_err(|why| why.to_string());
            let decode = |bytes: Vec<u8>| {
                photo::decode(&bytes, &PhotoLimits::default()).map_err(|why| why.to_string())
            };
            match bytes.and_then(decode) {
                Ok(loose) => {
                    let found = face.in_loose(loose.width());
                    crops.push(align(loose.view(), &found.landmarks));
                    kept.push((face.name, KeptFace { loose, face: found }));
                }
                Err(why) => outcome
                    .unreadable
                    .push(format!("{}: {why}", path.display())),
            }
        }
        let analyses = self.analyse(kept, &crops)?;
        outcome.faces = analyses.len();
        if let Some(first) = analyses.first() {
            let stem = stem(&first.name);
            let path = self.folder.part("features").join(format!("{stem}.pkl"));
            write_whole(&path, &pickled(&analyses)).map_err(io_error(&path))?;
        }
        Ok(Some(outcome))
    }

    fn analyse(
        &mut self,
        kept: Vec<(String, KeptFace)>,
        crops: &[AlignedCrop],
    ) -> Result<Vec<Analysis>, ChannelError> {
        let embeddings = self.embedder.embed(crops)?;
        let mut analyses = Vec::with_capacity(kept.len());
        for ((name, face), embedding) in kept.into_iter().zip(embeddings) {
            let mut analysis = Analysis {
                name,
                embedding,
                age: Vec::new(),
                gender: Vec::new(),
                expression: Vec::new(),
                pose: Vec::new(),
            };
            for classifier in &mut self.classifiers {
                let readings = classifier.read(&face)?;
                for (spec, reading) in classifier.attributes().iter().zip(readings) {
                    analysis.add(&spec.name, &spec.labels, reading);
                }
            }
            analyses.push(analysis);
        }
        Ok(analyses)
    }
}

impl Analysis {
    fn add(&mut self, name: &str, labels: &[String], reading: Option<Reading>) {
        match (name, reading) {
            ("age", Some(Reading::Number(years))) => {
                let of = AGES
                    .iter()
                    .rposition(|(from, _)| years >= *from)
                    .unwrap_or(0);
                let share = |(at, (_, group)): (usize, &(f32, &'static str))| {
                    (*group, f64::from(u8::from(at == of)))
                };
                self.age = AGES.iter().enumerate().map(share).collect();
            }
            ("yaw" | "pitch" | "roll", Some(Reading::Number(degrees))) => {
                self.pose.push((name.to_owned(), rounded(degrees)));
            }
            ("gender" | "expression", Some(Reading::Labels(shares))) => {
                let word = |label: &String| {
                    let other = WORDS.iter().find(|(ours, _)| ours == label);
                    other.map_or_else(|| label.clone(), |(_, theirs)| (*theirs).to_owned())
                };
                let all = labels
                    .iter()
                    .map(word)
                    .zip(shares.into_iter().map(rounded))
                    .collect();
                if name == "gender" {
                    self.gender = all;
                } else {
                    self.expression = all;
                }
            }
            _ => {}
        }
    }
}

/// To two decimals, as streamface keeps them.
fn rounded(value: f32) -> f64 {
    (f64::from(value) * 100.0).round() / 100.0
}

fn pickled(analyses: &[Analysis]) -> Vec<u8> {
    let mut pickle = PickleWriter::dictionary();
    for face in analyses {
        pickle.text(&face.name);
        pickle.tuple(|tuple| {
            tuple.array(face.embedding.as_slice());
            tuple.groups([
                ("age", face.age.clone()),
                ("gender", borrowed(&face.gender)),
            ]);
            tuple.numbers(borrowed(&face.expression));
            tuple.number(f64::NAN);
            tuple.numbers(borrowed(&face.pose));
        });
    }
    pickle.finish()
}

fn borrowed(entries: &[(String, f64)]) -> Vec<(&str, f64)> {
    entries
        .iter()
        .map(|(key, value)| (key.as_str(), *value))
        .collect()
}

/// Pickles in a folder, in the order of their names; none if there is no such folder.
pub(crate) fn pickles(folder: &Path) -> Result<Vec<PathBuf>, ChannelError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(io_error(folder))? {
        let path = entry.map_err(io_error(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "pkl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;

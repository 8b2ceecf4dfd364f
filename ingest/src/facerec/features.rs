use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{FacerecError, PixelBox, files::read_lines};

/// Where the parts of a face are, in pixels of the display picture. Left is to the left in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keypoints {
    /// An eye.
    pub left_eye: [i64; 2],
    /// The other one.
    pub right_eye: [i64; 2],
    /// Tip of the nose.
    pub nose: [i64; 2],
    /// A corner of the mouth.
    pub mouth_left: [i64; 2],
    /// The other one.
    pub mouth_right: [i64; 2],
}

/// A line of `features.jsonl`: a face in a frame.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Feature {
    /// The frame.
    pub frame: u64,
    /// `MOVIE:FRAME:X1_Y1_X2_Y2`, also the name of its picture.
    pub tag: String,
    /// Of length 1.
    pub embedding: Vec<f32>,
    /// The trajectory's box in the frame.
    #[serde(rename = "box")]
    pub face: PixelBox,
    /// As the detector found them.
    pub keypoints: Keypoints,
    /// Width of the display picture, in pixels.
    pub w: u32,
    /// Its height.
    pub h: u32,
}

/// What is read of a line of `features.jsonl`, ours or facerec's of any year.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct FeatureLine {
    /// The frame.
    pub frame: u64,
    /// Its name.
    pub tag: String,
    /// The trajectory's box in the frame.
    #[serde(rename = "box")]
    pub face: PixelBox,
    /// Absent in files of 2023, which have several.
    #[serde(default)]
    pub embedding: Vec<f32>,
    /// Embeddings by the name of the model, of 2023.
    #[serde(default)]
    pub embeddings: std::collections::BTreeMap<String, Vec<f32>>,
}

impl FeatureLine {
    /// The embedding; of several the one that facerec clusters by (`20170512-110547`), or the first.
    #[must_use]
    pub fn vector(&self) -> &[f32] {
        if !self.embedding.is_empty() {
            return &self.embedding;
        }
        let usual = self.embeddings.get("20170512-110547");
        let any = usual.or_else(|| self.embeddings.values().next());
        any.map_or(&[], Vec::as_slice)
    }

    /// The embedding of this model; of an unnamed one, that of [`Self::vector`].
    ///
    /// # Errors
    /// Which models there are, if this is not among them.
    pub fn vector_of(&self, model: &str) -> Result<&[f32], String> {
        if model.is_empty() {
            return Ok(self.vector());
        }
        if let Some(vector) = self.embeddings.get(model) {
            return Ok(vector);
        }
        if self.embeddings.is_empty() {
            return Err(format!(
                "one embedding, of no named model; {model} cannot be chosen"
            ));
        }
        let there: Vec<&str> = self.embeddings.keys().map(String::as_str).collect();
        Err(format!(
            "no embedding of model {model}; there are {}",
            there.join(", ")
        ))
    }
}

/// Reads `features.jsonl` and hands each line to `take`, with its text; what it says is reported with the
/// line's number.
///
/// # Errors
/// [`FacerecError`], with the line.
pub fn read_features(
    path: &Path,
    mut take: impl FnMut(&str, FeatureLine) -> Result<(), String>,
) -> Result<(), FacerecError> {
    read_lines(path, |_, text, line| take(text, line))
}

//! What a detector's manifest says beyond what all manifests do.

use std::path::Path;

use serde::{Deserialize, Deserializer};

use super::{
    Channels, Kind, Manifest, ModelError, check_common, check_self_test, in_unit, parse, plain,
    read_with,
};

/// The manifest of a detector.
pub type DetectorManifest = Manifest<DetectorInput, DetectorOutput, DetectorDecision>;

/// How a detector's outputs are read.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Decoder {
    /// Heat, scale, offset and landmarks, of one stride.
    Centerface,
    /// Boxes, scores and landmarks relative to anchors (biubug6's `RetinaFace`).
    Retinaface,
    /// Scores, distances and, if it has them, landmarks of each stride.
    Scrfd,
    /// Scores and boxes, decoded inside the graph; no landmarks (Ultra-Light RFB and slim).
    Ultralight,
    /// Class, object, box and landmarks of each stride (`YuNet` from 2023 on).
    Yunet,
}

/// How a picture is brought to the size a detector takes.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Geometry {
    /// Each side is stretched to it.
    #[default]
    Stretch,
    /// The aspect is kept; what remains at the right and at the bottom is black.
    Letterbox,
}

/// What goes into a detector.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorInput {
    /// The tensor's name.
    pub name: String,
    /// The order of its channels.
    pub channels: Channels,
    /// Subtracted from each channel's 0..=255, in the model's channel order.
    pub mean: [f32; 3],
    /// Divides each channel after that.
    pub std: [f32; 3],
    /// How a picture is fitted in.
    #[serde(default)]
    pub geometry: Geometry,
    /// Both sides must be multiples of this, in pixels.
    #[serde(default = "one")]
    pub multiple: u32,
    /// The only width and height it takes, in pixels; without it, any multiple.
    pub size: Option<[u32; 2]>,
}

/// What comes out of a detector.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorOutput {
    /// How the tensors are read.
    pub decoder: Decoder,
    /// Their names, in the decoder's order; of several strides, first all of one kind.
    pub names: Vec<String>,
    /// Pixels of input a cell of output, the finest first; `stride = 4` is short for one.
    #[serde(default, alias = "stride", deserialize_with = "one_or_many")]
    pub strides: Vec<u32>,
    /// `retinaface`: for each stride the sides of its anchors, in pixels of input.
    #[serde(default)]
    pub anchors: Vec<Vec<f32>>,
    /// `scrfd`: faces that a cell may hold.
    #[serde(default = "one")]
    pub anchors_per_cell: u32,
    /// The id of the model that finds the landmarks, for a detector that does not.
    pub landmarks: Option<String>,
}

/// A detector's default thresholds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorDecision {
    /// Lowest score of a face, 0..=1.
    pub score: f32,
    /// Boxes that overlap a better one by more than this (IoU, 0..=1) are dropped.
    pub nms: f32,
}

const fn one() -> u32 {
    1
}

fn one_or_many<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        One(u32),
        Many(Vec<u32>),
    }
    Ok(match Given::deserialize(value)? {
        Given::One(stride) => vec![stride],
        Given::Many(strides) => strides,
    })
}

impl DetectorOutput {
    /// Whether the network gives five points a face.
    #[must_use]
    pub fn has_landmarks(&self) -> bool {
        match self.decoder {
            Decoder::Centerface | Decoder::Retinaface | Decoder::Yunet => true,
            Decoder::Scrfd => self.names.len() == 3 * self.strides.len(),
            Decoder::Ultralight => false,
        }
    }
}

impl DetectorManifest {
    /// Reads and checks the manifest at `path`.
    ///
    /// # Errors
    /// [`ModelError::Missing`], [`ModelError::Unreadable`], [`ModelError::Manifest`].
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        read_with(path, Self::parse)
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = parse(text)?;
        let (input, output, decision) = (&manifest.input, &manifest.output, &manifest.decision);
        check_common(&manifest.model, Kind::Detector, input.mean, input.std)?;
        check_output(output)?;
        check_input(input, output)?;
        in_unit("decision.score", decision.score)?;
        in_unit("decision.nms", decision.nms)?;
        let test = &manifest.self_test;
        if input
            .size
            .is_some_and(|size| size != [test.width, test.height])
        {
            return Err("self_test: width and height must be input.size".into());
        }
        if !test.width.is_multiple_of(input.multiple) || !test.height.is_multiple_of(input.multiple)
        {
            return Err("self_test: width and height must be multiples of input.multiple".into());
        }
        check_self_test(test, output.names.len())?;
        Ok(manifest)
    }
}

fn check_input(input: &DetectorInput, output: &DetectorOutput) -> Result<(), String> {
    if !(1..=256).contains(&input.multiple) {
        return Err("input.multiple must be 1 to 256".into());
    }
    if let Some(size) = input.size {
        let fits = |side: u32| (8..=2048).contains(&side) && side.is_multiple_of(input.multiple);
        if !size.into_iter().all(fits) {
            return Err("input.size must be 8 to 2048 and multiples of input.multiple".into());
        }
    }
    // RetinaFace rounds the number of cells up.
    let whole = output.decoder != Decoder::Retinaface;
    let sides = input.size.unwrap_or([input.multiple; 2]);
    let divides = |stride: &u32| sides.iter().all(|side| side.is_multiple_of(*stride));
    if whole && !output.strides.iter().all(divides) {
        return Err("input.size, or else input.multiple, must be a multiple of each stride".into());
    }
    Ok(())
}

fn check_output(output: &DetectorOutput) -> Result<(), String> {
    let (names, strides) = (output.names.len(), output.strides.len());
    let wrong = |needs: &str| {
        Err(format!("output: decoder {:?} needs {needs}", output.decoder).to_lowercase())
    };
    match output.decoder {
        Decoder::Centerface if names != 4 || strides != 1 => {
            return wrong("four names (heat, scale, offset, landmarks) and one stride");
        }
        Decoder::Yunet if strides == 0 || names != 4 * strides => {
            return wrong("strides, and as many names each for cls, obj, bbox and kps");
        }
        Decoder::Scrfd if strides == 0 || (names != 2 * strides && names != 3 * strides) => {
            return wrong(
                "strides, and as many names each for scores, boxes and, if any, landmarks",
            );
        }
        Decoder::Retinaface if strides == 0 || names != 3 || output.anchors.len() != strides => {
            return wrong("three names (boxes, scores, landmarks) and anchors for each stride");
        }
        Decoder::Ultralight if names != 2 || strides != 0 => {
            return wrong("two names (scores, boxes) and no strides");
        }
        Decoder::Centerface
        | Decoder::Yunet
        | Decoder::Scrfd
        | Decoder::Retinaface
        | Decoder::Ultralight => {}
    }
    if !output.strides.iter().all(|s| (1..=128).contains(s)) || strides > 8 {
        return Err("output.strides must be at most 8, each 1 to 128".into());
    }
    if output.decoder != Decoder::Retinaface && !output.anchors.is_empty() {
        return Err("output.anchors are for the decoder retinaface only".into());
    }
    let side = |v: &f32| v.is_finite() && *v > 0.0;
    if !output
        .anchors
        .iter()
        .all(|a| (1..=16).contains(&a.len()) && a.iter().all(side))
    {
        return Err("output.anchors: each stride needs 1 to 16 sides, finite and positive".into());
    }
    let per_cell = output.anchors_per_cell;
    if !(1..=16).contains(&per_cell) || (per_cell != 1 && output.decoder != Decoder::Scrfd) {
        return Err("output.anchors_per_cell must be 1 to 16, and 1 for all but scrfd".into());
    }
    match &output.landmarks {
        None if !output.has_landmarks() => Err(
            "output.landmarks is missing: this detector finds no landmarks, and faces are aligned \
             by five; name a model of kind landmarks, such as landmarks-68"
                .into(),
        ),
        Some(_) if output.has_landmarks() => {
            Err("output.landmarks: this detector finds landmarks itself".into())
        }
        Some(id) if !plain(id) => {
            Err("output.landmarks: letters, digits, `-`, `_`, `.` only".into())
        }
        _ => Ok(()),
    }
}

//! Model manifests: the TOML file beside each model that says how to use it.
//!
//! Unknown keys are refused: a misspelt threshold must not silently be the default.

mod detector;
mod landmarks;

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ModelError;
pub use detector::{
    Decoder, DetectorDecision, DetectorInput, DetectorManifest, DetectorOutput, Geometry,
};
pub use landmarks::{LandmarkInput, LandmarkManifest, LandmarkOutput};

/// How many values a self-test may have in all, so that a manifest stays a small file.
const EXPECTED_MAX: usize = 65_536;

/// A manifest; `I`, `O` and `D` are the sections in which the kinds of models differ.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest<I, O, D> {
    /// Which file it is about.
    pub model: ModelSection,
    /// Under which terms it may be used.
    pub licence: Licence,
    /// What goes in.
    pub input: I,
    /// What comes out.
    pub output: O,
    /// Default thresholds.
    pub decision: D,
    /// What a known input must give.
    pub self_test: SelfTest,
}

/// The manifest of an embedder.
pub type EmbedderManifest = Manifest<EmbedderInput, EmbedderOutput, EmbedderDecision>;

/// Which file a manifest is about.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// The model's id, which is also the manifest's file name.
    pub id: String,
    /// What it does.
    pub kind: Kind,
    /// The model's file name, in the manifest's folder.
    pub file: String,
    /// The file's SHA-256, 64 lower-case hex digits.
    pub sha256: String,
    /// The version, part of the contract.
    pub version: String,
    /// Where it comes from.
    pub source: String,
}

/// What a model does.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Finds faces.
    Detector,
    /// Tells faces apart.
    Embedder,
    /// Finds eyes, nose and mouth of a face.
    Landmarks,
    /// Reads attributes off a face.
    Classifier,
}

/// Under which terms a model may be used.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Licence {
    /// The licence's SPDX identifier.
    pub spdx: String,
    /// What is known of the training data.
    pub training_data: String,
    /// What set-up shows.
    pub notice: String,
}

/// The order of colour channels a model wants.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum Channels {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

impl Channels {
    /// The name, as in manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rgb => "RGB",
            Self::Bgr => "BGR",
        }
    }
}

/// How a face is aligned before an embedder sees it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Align {
    /// Five landmarks onto the 112x112 template of `ArcFace`.
    #[serde(rename = "arcface-112")]
    Arcface112,
}

impl Align {
    /// The name, as in manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arcface112 => "arcface-112",
        }
    }
}

/// What goes into an embedder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedderInput {
    /// The tensor's name.
    pub name: String,
    /// The order of its channels.
    pub channels: Channels,
    /// Subtracted from each channel's 0..=255, in the model's channel order.
    pub mean: [f32; 3],
    /// Divides each channel after that.
    pub std: [f32; 3],
    /// Width and height, in pixels.
    pub size: [u32; 2],
    /// How the face is aligned.
    pub align: Align,
}

/// What comes out of an embedder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedderOutput {
    /// The tensor's name.
    pub name: String,
    /// How many values an embedding has.
    pub dim: usize,
}

/// An embedder's default threshold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedderDecision {
    /// Two photos with at least this cosine show one person.
    pub same: f32,
    /// How that was measured.
    pub source: String,
}

/// What a known input must give.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    /// The input.
    pub pattern: Pattern,
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
    /// An output: each so-manyth of its values is kept.
    pub strides: Vec<usize>,
    /// An output: the values kept.
    pub expected: Vec<Vec<f32>>,
    /// The lowest cosine between the values found and expected.
    pub min_cosine: f32,
}

/// A picture made from a formula.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Pattern {
    /// Byte `i` of the packed RGB is the top byte of `i * 2654435761` (32 bits, wrapping).
    #[serde(rename = "lcg-1")]
    Lcg1,
}

impl EmbedderManifest {
    /// Reads and checks the manifest at `path`.
    ///
    /// # Errors
    /// [`ModelError::Missing`], [`ModelError::Unreadable`], [`ModelError::Manifest`].
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        read_with(path, Self::parse)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = parse(text)?;
        let input = &manifest.input;
        check_common(&manifest.model, Kind::Embedder, input.mean, input.std)?;
        if input.size != [112, 112] {
            return Err("input.size: alignment arcface-112 gives [112, 112]".into());
        }
        if !(1..=4096).contains(&manifest.output.dim) {
            return Err("output.dim must be 1 to 4096".into());
        }
        in_unit("decision.same", manifest.decision.same)?;
        let test = &manifest.self_test;
        if [test.width, test.height] != input.size {
            return Err("self_test: width and height must be input.size".into());
        }
        check_self_test(test, 1)?;
        Ok(manifest)
    }
}

pub(super) fn read_text(path: &Path) -> Result<String, ModelError> {
    std::fs::read_to_string(path).map_err(|error| ModelError::of_file(path, &error))
}

/// The manifest at `path`, as `parse` reads and checks it.
pub(super) fn read_with<M>(
    path: &Path,
    parse: impl FnOnce(&str) -> Result<M, String>,
) -> Result<M, ModelError> {
    parse(&read_text(path)?).map_err(|why| ModelError::Manifest {
        path: path.to_path_buf(),
        why,
    })
}

pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| error.to_string().trim().to_owned())
}

pub(super) fn check_common(
    model: &ModelSection,
    kind: Kind,
    mean: [f32; 3],
    std: [f32; 3],
) -> Result<(), String> {
    if model.kind != kind {
        return Err(format!(
            "model.kind is {:?}, {kind:?} is needed",
            model.kind
        ));
    }
    if !plain(&model.id) || !plain(&model.file) {
        return Err("model.id and model.file: letters, digits, `-`, `_`, `.` only".into());
    }
    let hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    if model.sha256.len() != 64 || !model.sha256.chars().all(hex) {
        return Err("model.sha256 must be 64 lower-case hex digits".into());
    }
    if !mean.iter().all(|v| v.is_finite()) || !std.iter().all(|v| v.is_finite() && *v > 0.0) {
        return Err("input.mean must be finite, input.std positive".into());
    }
    Ok(())
}

/// A name that may be part of a file's name, at most 64 bytes.
pub(super) fn plain(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(known)
}

pub(super) fn in_unit(name: &str, value: f32) -> Result<(), String> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(format!("{name} must be 0 to 1"))
    }
}

pub(super) fn check_self_test(test: &SelfTest, outputs: usize) -> Result<(), String> {
    if !(1..=512).contains(&test.width) || !(1..=512).contains(&test.height) {
        return Err("self_test: width and height must be 1 to 512".into());
    }
    if test.strides.len() != outputs || test.expected.len() != outputs {
        return Err(format!(
            "self_test: strides and expected need {outputs} entries"
        ));
    }
    if test.strides.contains(&0) || test.expected.iter().any(Vec::is_empty) {
        return Err("self_test: a stride is 0 or an output has no expected values".into());
    }
    if test.expected.iter().map(Vec::len).sum::<usize>() > EXPECTED_MAX {
        return Err(format!(
            "self_test.expected has more than {EXPECTED_MAX} values"
        ));
    }
    if test.expected.iter().flatten().any(|v| !v.is_finite()) {
        return Err("self_test.expected must be finite".into());
    }
    in_unit("self_test.min_cosine", test.min_cosine)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DETECTOR: &str = include_str!("../../models/centerface.toml");
    const ULTRALIGHT: &str = include_str!("../../models/ultralight-rfb-320.toml");
    const EMBEDDER: &str = include_str!("../../models/mobilefacenet.toml");

    #[test]
    fn the_shipped_manifests_are_read() {
        let detector = DetectorManifest::parse(DETECTOR).unwrap();
        assert_eq!(detector.input.channels, Channels::Rgb);
        let embedder = EmbedderManifest::parse(EMBEDDER).unwrap();
        assert_eq!(embedder.output.dim, 512);
        assert_eq!(embedder.self_test.expected[0].len(), 512);
    }

    #[test]
    fn the_other_detectors_are_read_too() {
        let check = |text: &str, decoder, open: bool| {
            let manifest = DetectorManifest::parse(text).unwrap();
            assert_eq!(manifest.output.decoder, decoder);
            assert_eq!(manifest.input.size.is_none(), open);
        };
        check(DETECTOR, Decoder::Centerface, true);
        check(
            include_str!("../../models/yunet-2023mar.toml"),
            Decoder::Yunet,
            true,
        );
        check(
            include_str!("../../models/retinaface-mnet025.toml"),
            Decoder::Retinaface,
            true,
        );
        check(ULTRALIGHT, Decoder::Ultralight, false);
        let landmarks = include_str!("../../models/landmarks-68.toml");
        assert_eq!(
            LandmarkManifest::parse(landmarks).unwrap().output.points,
            68
        );
    }

    #[test]
    fn a_wrong_detector_manifest_says_what_is_wrong() {
        let check = |whole: &str, from: &str, to: &str, says: &str| {
            assert!(whole.contains(from), "{from}");
            let why = DetectorManifest::parse(&whole.replace(from, to)).unwrap_err();
            assert!(why.contains(says), "{from} -> {to}: {why}");
        };
        check(
            DETECTOR,
            "\"centerface\"\n#",
            "\"scrfd\"\n#",
            "scrfd needs strides",
        );
        check(
            DETECTOR,
            "stride = 4",
            "stride = 5",
            "multiple of each stride",
        );
        check(DETECTOR, "stride = 4", "stride = 0", "1 to 128");
        check(
            DETECTOR,
            "stride = 4",
            "stride = 4\nanchors = [[1.0]]",
            "output.anchors",
        );
        check(
            DETECTOR,
            "stride = 4",
            "stride = 4\nlandmarks = \"x\"",
            "itself",
        );
        check(DETECTOR, "multiple = 32", "multiple = 0", "input.multiple");
        check(DETECTOR, "score = 0.5", "score = 5.0", "decision.score");
        check(
            ULTRALIGHT,
            "landmarks = \"landmarks-68\"",
            "",
            "output.landmarks is missing",
        );
        check(
            ULTRALIGHT,
            "\"landmarks-68\"",
            "\"../x\"",
            "output.landmarks",
        );
        check(
            ULTRALIGHT,
            "size = [320, 240]",
            "size = [320, 200]",
            "self_test",
        );
    }

    #[test]
    fn a_wrong_manifest_says_what_is_wrong() {
        let check = |from: &str, to: &str, says: &str| {
            assert!(EMBEDDER.contains(from), "{from}");
            let why = EmbedderManifest::parse(&EMBEDDER.replace(from, to)).unwrap_err();
            assert!(why.contains(says), "{from} -> {to}: {why}");
        };
        check("same = 0.40", "smae = 0.40", "smae");
        check("same = 0.40", "same = 40.0", "decision.same");
        check("kind = \"embedder\"", "kind = \"detector\"", "model.kind");
        check(
            "file = \"mobilefacenet.onnx\"",
            "file = \"../x.onnx\"",
            "model.file",
        );
        check("dim = 512", "dim = 0", "output.dim");
        check("width = 112", "width = 100", "self_test");
        check("strides = [1]", "strides = [0]", "stride");
        check("channels = \"BGR\"", "channels = \"GBR\"", "GBR");
        check("std = [127.5, ", "std = [0.0, ", "input.std");
        check("size = [112, 112]", "size = [128, 128]", "input.size");
        assert!(EmbedderManifest::parse(DETECTOR).is_err());
        assert!(EmbedderManifest::parse("").is_err());
    }
}

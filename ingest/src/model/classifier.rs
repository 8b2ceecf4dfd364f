//! Manifests of classifiers: models that read an attribute, such as an age, off a face.
//!
//! Whatever fits one of the readings plugs in by its manifest, without code.

use std::path::Path;

use serde::Deserialize;

use super::ModelError;
use super::manifest::{
    Channels, Kind, Manifest, check_common, check_self_test, in_unit, parse, plain, read_with,
};

/// The manifest of a classifier. All its tensors together, one after the other, are the one output
/// of the self-test; thresholds stand with what they judge.
pub type ClassifierManifest = Manifest<ClassifierInput, ClassifierOutput, Option<NoDecision>>;

/// Tensors that SSR-Net gives: three stages of probabilities, of one step's width each, of indices'
/// offsets.
pub(crate) const SSRNET_TENSORS: usize = 9;
/// Attributes that one model may give.
const ATTRIBUTES_MAX: usize = 16;
/// Labels that one attribute may have.
const LABELS_MAX: usize = 64;
/// Parts of a face that one model may look at.
const REGIONS_MAX: usize = 8;

/// A classifier has no section `[decision]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoDecision {}

/// The channels that a classifier wants.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum ClassifierChannels {
    /// Three, red first.
    Rgb,
    /// Three, blue first.
    Bgr,
    /// One: 0.299 red, 0.587 green, 0.114 blue. Mean and std: the first counts.
    Grey,
}

impl ClassifierChannels {
    /// How many there are, 1 or 3.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Grey => 1,
        }
    }

    /// The order of three channels; `None` for grey.
    #[must_use]
    pub const fn order(self) -> Option<Channels> {
        match self {
            Self::Rgb => Some(Channels::Rgb),
            Self::Bgr => Some(Channels::Bgr),
            Self::Grey => None,
        }
    }
}

/// What part of the picture a classifier sees. Beyond the loose crop of the face it is black.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum FaceCrop {
    /// Turned and scaled by the landmarks as for an embedder (`arcface-112`), `margin` times as
    /// wide about the same middle.
    Aligned,
    /// A square as it stands in the picture, `margin` times the longer side of the face's box wide,
    /// about the middle of that.
    Upright,
}

/// What goes into a classifier: one face, or part of it, at a time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierInput {
    /// The tensor's name; its shape is 1 x channels x height x width.
    pub name: String,
    /// Its channels.
    pub channels: ClassifierChannels,
    /// Subtracted from each channel's 0..=255, in the model's channel order.
    pub mean: [f32; 3],
    /// Divides each channel after that.
    pub std: [f32; 3],
    /// Width and height, in pixels: the same.
    pub size: [u32; 2],
    /// What it sees.
    pub crop: FaceCrop,
    /// How much of it, 0.5 to 1.6.
    pub margin: f32,
    /// Parts of the crop that are looked at one by one, in fractions of it (x, y, width, height;
    /// squares), their answers averaged; none: the whole.
    #[serde(default)]
    pub regions: Vec<[f32; 4]>,
}

/// What comes out of a classifier.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierOutput {
    /// By what name the model is asked for: `age`.
    pub task: String,
    /// The attributes it gives.
    pub attributes: Vec<AttributeSpec>,
}

/// How tensors become an attribute.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ReadingKind {
    /// One tensor of a value a label; softmax makes them probabilities.
    Softmax,
    /// One tensor of a probability a label.
    Probabilities,
    /// One tensor of bins: the mean number of a bin after softmax, times `scale`, plus `offset`.
    Expectation,
    /// One tensor of one value, times `scale`, plus `offset`.
    Regression,
    /// The nine tensors of SSR-Net (see [`crate::attribute::ssrnet`]), times `scale`, plus `offset`.
    Ssrnet,
}

/// One attribute: its name, and how it is read.
///
/// It is a label if there are `labels`, else a number. Readings that give one number take two labels: the number is
/// the probability of the second, which is given from `threshold` on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeSpec {
    /// Its name: `age`, `yaw`.
    pub name: String,
    /// The tensors it is read from.
    pub tensors: Vec<String>,
    /// How.
    pub reading: ReadingKind,
    /// Multiplies what is read.
    #[serde(default = "one")]
    pub scale: f32,
    /// Added after that.
    #[serde(default)]
    pub offset: f32,
    /// The least and the largest a number may be; what lies beyond is moved to there.
    pub range: Option<[f32; 2]>,
    /// Of a number: `years`.
    #[serde(default)]
    pub unit: String,
    /// What there is to choose from.
    #[serde(default)]
    pub labels: Vec<String>,
    /// From which probability on the second of two labels is given, 0 to 1.
    pub threshold: Option<f32>,
}

const fn one() -> f32 {
    1.0
}

impl ClassifierManifest {
    /// Reads and checks the manifest at `path`.
    ///
    /// # Errors
    /// [`ModelError::Missing`], [`ModelError::Unreadable`], [`ModelError::Manifest`].
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        read_with(path, Self::parse)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = parse(text)?;
        let (input, output) = (&manifest.input, &manifest.output);
        check_common(&manifest.model, Kind::Classifier, input.mean, input.std)?;
        check_input(input)?;
        if !plain(&output.task) {
            return Err("output.task: letters, digits, `-`, `_`, `.` only".into());
        }
        if !(1..=ATTRIBUTES_MAX).contains(&output.attributes.len()) {
            return Err(format!("output.attributes: 1 to {ATTRIBUTES_MAX} of them"));
        }
        for attribute in &output.attributes {
            attribute
                .check()
                .map_err(|why| format!("output.attributes: {}: {why}", attribute.name))?;
        }
        let test = &manifest.self_test;
        if [test.width, test.height] != input.size {
            return Err("self_test: width and height must be input.size".into());
        }
        check_self_test(test, 1)?;
        Ok(manifest)
    }

    /// All tensors that are read, in the order of the attributes.
    pub(crate) fn tensors(&self) -> Vec<&str> {
        let all = self.output.attributes.iter().flat_map(|a| &a.tensors);
        all.map(String::as_str).collect()
    }
}

fn check_input(input: &ClassifierInput) -> Result<(), String> {
    let [width, height] = input.size;
    if width != height || !(8..=512).contains(&width) {
        return Err("input.size: two equal sides of 8 to 512 pixels".into());
    }
    if !(0.5..=1.6).contains(&input.margin) {
        return Err("input.margin must be 0.5 to 1.6: no more of a face is kept".into());
    }
    let inside = |[x, y, w, h]: &[f32; 4]| {
        let square = *w >= 0.05 && (w - h).abs() < 1e-6;
        square && *x >= 0.0 && *y >= 0.0 && x + w <= 1.0 && y + h <= 1.0
    };
    if input.regions.len() > REGIONS_MAX || !input.regions.iter().all(inside) {
        let what = "squares [x, y, side, side] in fractions of the crop, side 0.05 or more";
        return Err(format!("input.regions: at most {REGIONS_MAX} {what}"));
    }
    Ok(())
}

impl AttributeSpec {
    /// Whether the reading gives a probability for each label, not one number.
    pub(crate) fn is_distribution(&self) -> bool {
        matches!(
            self.reading,
            ReadingKind::Softmax | ReadingKind::Probabilities
        )
    }

    fn check(&self) -> Result<(), String> {
        let tensors = if self.reading == ReadingKind::Ssrnet {
            SSRNET_TENSORS
        } else {
            1
        };
        if !plain(&self.name) || self.labels.iter().any(|label| !plain(label)) {
            return Err("name and labels: letters, digits, `-`, `_`, `.` only".into());
        }
        if self.tensors.len() != tensors {
            return Err(format!("the reading needs {tensors} tensors"));
        }
        if !self.scale.is_finite() || !self.offset.is_finite() || self.unit.len() > 16 {
            return Err("scale and offset must be finite, unit at most 16 bytes".into());
        }
        if self.is_distribution() {
            let plain = self.range.is_none() && self.threshold.is_none() && self.unit.is_empty();
            if !(2..=LABELS_MAX).contains(&self.labels.len()) || !plain {
                return Err(format!(
                    "labels: 2 to {LABELS_MAX}, without range, unit and threshold"
                ));
            }
            return Ok(());
        }
        let Some([least, most]) = self.range else {
            return Err("range is missing: [least, largest]".into());
        };
        if !least.is_finite() || !most.is_finite() || least >= most {
            return Err("range: the least, then the largest".into());
        }
        match (self.labels.len(), self.threshold) {
            (0, None) => Ok(()),
            (2, Some(threshold)) if [least, most] == [0.0, 1.0] => in_unit("threshold", threshold),
            _ => Err("two labels go with a threshold and the range [0.0, 1.0]".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: &str = include_str!("../../models/ssrnet-age.toml");
    const GENDER: &str = include_str!("../../models/ssrnet-gender.toml");
    const EYES: &str = include_str!("../../models/eye-state.toml");

    #[test]
    fn the_shipped_manifests_are_read() {
        let pose = include_str!("../../models/shufflenet-pose.toml");
        let expression = include_str!("../../models/densenet-expression.toml");
        for (text, task, names) in [
            (AGE, "age", vec!["age"]),
            (GENDER, "gender", vec!["gender"]),
            (EYES, "eyes", vec!["eyes"]),
            (pose, "pose", vec!["yaw", "pitch", "roll"]),
            (expression, "expression", vec!["expression"]),
        ] {
            let manifest = ClassifierManifest::parse(text).unwrap();
            let found: Vec<_> = manifest.output.attributes.iter().map(|a| &a.name).collect();
            assert_eq!(
                (manifest.output.task.as_str(), found),
                (
                    task,
                    names
                        .iter()
                        .map(|n| (*n).to_owned())
                        .collect::<Vec<_>>()
                        .iter()
                        .collect()
                )
            );
        }
        assert_eq!(ClassifierManifest::parse(AGE).unwrap().tensors().len(), 9);
    }

    #[test]
    fn a_wrong_manifest_says_what_is_wrong() {
        let check = |text: &str, from: &str, to: &str, says: &str| {
            assert!(text.contains(from), "{from}");
            let why = ClassifierManifest::parse(&text.replace(from, to)).unwrap_err();
            assert!(why.contains(says), "{from} -> {to}: {why}");
        };
        check(AGE, "\"classifier\"", "\"embedder\"", "model.kind");
        check(AGE, "task = \"age\"", "task = \"a ge\"", "output.task");
        check(AGE, "size = [64, 64]", "size = [64, 32]", "input.size");
        check(AGE, "margin = 1.5", "margin = 2.7", "input.margin");
        check(AGE, "crop = \"aligned\"", "crop = \"tight\"", "tight");
        check(AGE, "\"ssrnet\"", "\"regression\"", "1 tensors");
        check(AGE, "\"ssrnet\"", "\"magic\"", "magic");
        check(AGE, "range = [0.0, 101.0]", "", "range is missing");
        check(AGE, "[0.0, 101.0]", "[101.0, 0.0]", "range");
        check(AGE, "scale = 101.0", "scale = inf", "scale");
        check(AGE, "scale = 101.0", "sclae = 101.0", "sclae");
        check(GENDER, "threshold = 0.5", "", "threshold");
        check(GENDER, "threshold = 0.5", "threshold = 5", "threshold");
        check(GENDER, "\"male\"]", "\"male\", \"other\"]", "two labels");
        check(EYES, "labels = [\"closed\", \"open\"]", "", "labels");
        check(EYES, "0.217", "0.9", "input.regions");
        check(EYES, "0.25, 0.25]]", "0.25, 0.5]]", "input.regions");
        check(EYES, "width = 24", "width = 25", "self_test");
        check(
            EYES,
            "[self_test]",
            "[decision]\nsame = 0.4\n[self_test]",
            "same",
        );
    }
}

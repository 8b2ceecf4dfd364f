//! The manifest of a model that finds the landmarks of a face, for detectors that do not.

use std::path::Path;

use serde::Deserialize;

use super::{Kind, Licence, ModelError, ModelSection, SelfTest, check_common, check_self_test};
use super::{parse, read_with};

/// The manifest of a landmark model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LandmarkManifest {
    /// Which file it is about.
    pub model: ModelSection,
    /// Under which terms it may be used.
    pub licence: Licence,
    /// What goes in.
    pub input: LandmarkInput,
    /// What comes out.
    pub output: LandmarkOutput,
    /// What a known input must give.
    pub self_test: SelfTest,
}

/// What goes into a landmark model: the grey (luma, BT.601) of a face's box, stretched to a size.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LandmarkInput {
    /// The tensor's name; its shape is [faces, 1, height, width].
    pub name: String,
    /// Width and height, in pixels.
    pub size: [u32; 2],
    /// Subtracted from the grey 0..=255.
    pub mean: f32,
    /// Divides it after that.
    pub std: f32,
}

/// What comes out of a landmark model: x and y of each point in turn, relative to the box.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LandmarkOutput {
    /// The tensor's name; its shape is [faces, 2 * points].
    pub name: String,
    /// How many points there are.
    pub points: usize,
    /// Which points, counted from 0 and averaged, make eye, eye, nose, mouth corner and mouth
    /// corner; the one to the left in the picture first.
    pub five: [Vec<usize>; 5],
}

impl LandmarkManifest {
    /// Reads and checks the manifest at `path`.
    ///
    /// # Errors
    /// [`ModelError::Missing`], [`ModelError::Unreadable`], [`ModelError::Manifest`].
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        read_with(path, Self::parse)
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = parse(text)?;
        let (input, output, test) = (&manifest.input, &manifest.output, &manifest.self_test);
        check_common(
            &manifest.model,
            Kind::Landmarks,
            [input.mean; 3],
            [input.std; 3],
        )?;
        if !input.size.iter().all(|side| (8..=512).contains(side)) {
            return Err("input.size must be 8 to 512".into());
        }
        if !(1..=1024).contains(&output.points) {
            return Err("output.points must be 1 to 1024".into());
        }
        let known = |points: &Vec<usize>| {
            !points.is_empty() && points.iter().all(|point| *point < output.points)
        };
        if !output.five.iter().all(known) {
            return Err("output.five: each needs points, below output.points".into());
        }
        if [test.width, test.height] != input.size {
            return Err("self_test: width and height must be input.size".into());
        }
        check_self_test(test, 1)?;
        Ok(manifest)
    }
}

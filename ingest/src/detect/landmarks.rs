//! Landmarks for detectors that find none: a second network looks at each box.

use std::sync::Arc;

use super::InferError;
use super::network::describe;
use crate::geometry::{DetectedFace, Point, Rect};
use crate::model::{LandmarkManifest, ModelError};
use crate::number::{floor_u32, round_u32};
use crate::picture::{Picture, PictureRef};
use crate::resize::resize;
use crate::runtime::{Output, Session};

/// Boxes looked at in one run, a bound on memory.
const BATCH_MAX: usize = 32;

/// A landmark model, one a thread.
pub(crate) struct Landmarker {
    session: Session,
    manifest: Arc<LandmarkManifest>,
}

impl Landmarker {
    /// Over `session`, whose input and output must be those of the manifest.
    pub(crate) fn new(
        session: Session,
        manifest: Arc<LandmarkManifest>,
    ) -> Result<Self, ModelError> {
        let [width, height] = manifest.input.size.map(|side| Some(side as usize));
        let (values, input, output) = (
            2 * manifest.output.points,
            &manifest.input.name,
            &manifest.output.name,
        );
        let needed = [
            (session.inputs(), input, vec![None, Some(1), height, width]),
            (session.outputs(), output, vec![None, Some(values)]),
        ];
        for (tensors, name, expected) in needed {
            let found = tensors
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, shape)| shape);
            if found != Some(&expected) {
                return Err(ModelError::WrongShape {
                    model: manifest.model.id.clone(),
                    tensor: name.clone(),
                    expected: describe(Some(&expected)),
                    found: describe(found),
                });
            }
        }
        Ok(Self { session, manifest })
    }

    /// The output for pictures that have the network's size already.
    pub(crate) fn raw(&mut self, pictures: &[Picture]) -> Result<Output, InferError> {
        let (input, output) = (&self.manifest.input, &self.manifest.output);
        let [width, height] = input.size.map(|side| side as usize);
        let mut values = Vec::with_capacity(pictures.len() * width * height);
        for picture in pictures {
            let grey = picture.rgb().chunks_exact(3).map(luma);
            values.extend(grey.map(|grey| (grey - input.mean) / input.std));
        }
        let shape = [pictures.len(), 1, height, width];
        let outputs = self
            .session
            .run(&input.name, shape, &values, &[&output.name])?;
        let found = outputs.into_iter().next();
        let wanted = [pictures.len(), 2 * output.points];
        found
            .filter(|found| found.shape == wanted)
            .ok_or_else(|| InferError::Output {
                model: self.manifest.model.id.clone(),
                why: format!("{} has not shape {wanted:?}", output.name),
            })
    }

    /// Gives each face of `picture` its landmarks; one whose landmarks are no numbers keeps what it
    /// has.
    pub(super) fn mark(
        &mut self,
        picture: PictureRef<'_>,
        faces: &mut [DetectedFace],
    ) -> Result<(), InferError> {
        let [width, height] = self.manifest.input.size;
        for faces in faces.chunks_mut(BATCH_MAX) {
            let boxes: Vec<Picture> = faces.iter().map(|face| cut(picture, &face.rect)).collect();
            let boxes: Vec<Picture> = boxes
                .iter()
                .map(|part| resize(part.view(), width, height))
                .collect();
            let output = self.raw(&boxes)?;
            let rows = output.values.chunks_exact(2 * self.manifest.output.points);
            for (face, row) in faces.iter_mut().zip(rows) {
                let five = self
                    .manifest
                    .output
                    .five
                    .each_ref()
                    .map(|at| middle(row, at, &face.rect));
                if five.iter().all(|p| p.x.is_finite() && p.y.is_finite()) {
                    face.landmarks = five;
                }
            }
        }
        Ok(())
    }
}

/// The mean of the points numbered `at` of `row`, which are relative to `rect`.
fn middle(row: &[f32], at: &[usize], rect: &Rect) -> Point {
    let count = at.len() as f32;
    let mean = |axis: usize| at.iter().map(|point| row[2 * point + axis]).sum::<f32>() / count;
    Point::new(
        rect.x + mean(0) * rect.width,
        rect.y + mean(1) * rect.height,
    )
}

/// BT.601.
fn luma(pixel: &[u8]) -> f32 {
    0.299 * f32::from(pixel[0]) + 0.587 * f32::from(pixel[1]) + 0.114 * f32::from(pixel[2])
}

/// The part of `picture` under `rect` (whole pixels), black where that lies outside; at most as
/// large as twice the picture.
fn cut(picture: PictureRef<'_>, rect: &Rect) -> Picture {
    let side = |length: f32, picture: u32| round_u32(length).clamp(1, 2 * picture);
    let (width, height) = (
        side(rect.width, picture.width()),
        side(rect.height, picture.height()),
    );
    // The corner, whose fraction is dropped.
    let at = |value: f32| i64::from(floor_u32(value)) - i64::from(floor_u32(-value));
    let part = picture.part((at(rect.x), at(rect.y)), (width, height));
    part.unwrap_or_else(|| Picture::filled(1, 1, [0; 3]).expect("a pixel is a picture"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn points_are_averaged_and_relative_to_the_box() {
        let rect = Rect::new(100.0, 50.0, 40.0, 20.0);
        let row = [0.0, 0.0, 0.5, 0.5, 1.0, 0.0];
        assert_eq!(middle(&row, &[1], &rect), Point::new(120.0, 60.0));
        assert_eq!(middle(&row, &[0, 2], &rect), Point::new(120.0, 50.0));
    }

    #[test]
    fn a_box_over_the_edge_is_cut_with_black() {
        let picture = Picture::filled(10, 10, [7; 3]).unwrap();
        let part = cut(picture.view(), &Rect::new(-2.0, 8.0, 4.0, 4.0));
        let lit = |x, y| part.view().pixel(x, y) == Some([7; 3]);
        assert!(lit(2, 0) && lit(3, 1));
        assert!(!lit(1, 0) && !lit(2, 2));
    }

    proptest! {
        #[test]
        fn no_box_is_too_wild_to_cut(
            x in -1e6f32..1e6, y in -1e6f32..1e6, width in 0f32..1e6, height in 0f32..1e6,
        ) {
            let picture = Picture::filled(8, 6, [1; 3]).unwrap();
            let part = cut(picture.view(), &Rect::new(x, y, width, height));
            prop_assert!(part.width() <= 16 && part.height() <= 12);
        }
    }
}

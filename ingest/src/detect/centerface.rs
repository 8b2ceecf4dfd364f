//! `CenterFace`: Xu et al., "`CenterFace`: Joint Face Detection and Alignment Using Face as Point",
//! 2019. No anchors: each cell of a heat map says how likely a face's middle lies in it.

use std::sync::Arc;

use super::{DetectSize, Detector, InferError, suppress};
use crate::geometry::{DetectedFace, Point, Rect};
use crate::model::{DetectorManifest, ModelError};
use crate::number::{round_u32, to_f32};
use crate::picture::PictureRef;
use crate::resize::resize;
use crate::runtime::{Output, Session};
use crate::tensor::{Normalisation, push_planes};

/// How many candidates suppression looks at, best first: a bound on the work a hostile picture can
/// cause.
const CANDIDATES_MAX: usize = 2000;
/// Channels of heat, scale, offset and landmarks.
const CHANNELS: [usize; 4] = [1, 2, 2, 10];

/// A `CenterFace` model, one a thread.
pub(crate) struct CenterFace {
    session: Session,
    manifest: Arc<DetectorManifest>,
    planes: Vec<f32>,
}

impl CenterFace {
    /// A detector over `session`, whose inputs and outputs must be those of the manifest.
    pub(crate) fn new(
        session: Session,
        manifest: Arc<DetectorManifest>,
    ) -> Result<Self, ModelError> {
        let wrong = |tensor: &str, expected: String, found: String| ModelError::WrongShape {
            model: manifest.model.id.clone(),
            tensor: tensor.to_owned(),
            expected,
            found,
        };
        let mut needed = vec![(session.inputs(), &manifest.input.name, 3)];
        for (name, channels) in manifest.output.names.iter().zip(CHANNELS) {
            needed.push((session.outputs(), name, channels));
        }
        for (tensors, name, channels) in needed {
            let found = tensors
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, shape)| shape);
            // Batch and channels may be left open in outputs; width and height must be.
            let fits = found.is_some_and(|s| {
                s.len() == 4
                    && s[0].is_none_or(|batch| batch == 1)
                    && s[1].is_none_or(|c| c == channels)
                    && s[2].is_none()
                    && s[3].is_none()
            });
            if !fits {
                let expected = format!("f32 [1, {channels}, any height, any width]");
                return Err(wrong(name, expected, describe(found)));
            }
        }
        Ok(Self {
            session,
            manifest,
            planes: Vec::new(),
        })
    }

    /// The four outputs for a picture that has the network's size already.
    pub(crate) fn raw(&mut self, picture: PictureRef<'_>) -> Result<Vec<Output>, InferError> {
        let input = &self.manifest.input;
        let how = Normalisation {
            channels: input.channels,
            mean: input.mean,
            std: input.std,
        };
        self.planes.clear();
        push_planes(picture, &how, &mut self.planes);
        let shape = [1, 3, picture.height() as usize, picture.width() as usize];
        let names: Vec<&str> = self
            .manifest
            .output
            .names
            .iter()
            .map(String::as_str)
            .collect();
        let outputs = self.session.run(&input.name, shape, &self.planes, &names)?;
        let stride = self.manifest.output.stride as usize;
        let (rows, columns) = (shape[2] / stride, shape[3] / stride);
        for ((output, channels), name) in outputs.iter().zip(CHANNELS).zip(&names) {
            if output.shape != [1, channels, rows, columns] {
                return Err(InferError::Output {
                    model: self.manifest.model.id.clone(),
                    why: format!(
                        "{name} has shape {:?}, not [1, {channels}, {rows}, {columns}]",
                        output.shape
                    ),
                });
            }
        }
        Ok(outputs)
    }
}

impl Detector for CenterFace {
    fn detect(
        &mut self,
        picture: PictureRef<'_>,
        input: DetectSize,
    ) -> Result<Vec<DetectedFace>, InferError> {
        let multiple = self.manifest.input.multiple;
        let (width, height) = network_size(picture.width(), picture.height(), input, multiple);
        let scaled = resize(picture, width, height);
        let outputs = self.raw(scaled.view())?;
        let decision = &self.manifest.decision;
        let maps = Maps {
            heat: &outputs[0].values,
            scale: &outputs[1].values,
            offset: &outputs[2].values,
            landmarks: &outputs[3].values,
            columns: (width / self.manifest.output.stride) as usize,
            stride: self.manifest.output.stride as f32,
        };
        let faces = suppress(decode(&maps, decision.score), decision.nms);
        let (by_x, by_y) = (
            picture.width() as f32 / width as f32,
            picture.height() as f32 / height as f32,
        );
        Ok(faces
            .into_iter()
            .map(|face| face.mapped(by_x, by_y, 0.0, 0.0))
            .collect())
    }
}

/// The network's input for a picture of `width` x `height` pixels: the longest side as asked, the
/// aspect kept, then each side stretched up to a multiple.
fn network_size(width: u32, height: u32, input: DetectSize, multiple: u32) -> (u32, u32) {
    let factor = input.get() as f32 / width.max(height) as f32;
    let side = |pixels: u32| {
        round_u32(pixels as f32 * factor)
            .max(1)
            .next_multiple_of(multiple)
    };
    (side(width), side(height))
}

/// The network's outputs, each channel a map of rows of `columns` cells.
struct Maps<'a> {
    heat: &'a [f32],
    scale: &'a [f32],
    offset: &'a [f32],
    landmarks: &'a [f32],
    columns: usize,
    stride: f32,
}

/// The faces in cells whose heat is at least `score_min`, in pixels of the network's input, before
/// suppression. Cells whose numbers are no box (infinite, not a number) are passed over.
fn decode(maps: &Maps<'_>, score_min: f32) -> Vec<DetectedFace> {
    let mut cells: Vec<(usize, f32)> = maps
        .heat
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, heat)| *heat >= score_min)
        .collect();
    if cells.len() > CANDIDATES_MAX {
        cells.sort_by(|a, b| b.1.total_cmp(&a.1));
        cells.truncate(CANDIDATES_MAX);
    }
    cells
        .into_iter()
        .filter_map(|(cell, score)| face_at(maps, cell, score))
        .collect()
}

fn face_at(maps: &Maps<'_>, cell: usize, score: f32) -> Option<DetectedFace> {
    let size = maps.heat.len();
    let (row, column) = (cell / maps.columns, cell % maps.columns);
    // In every pair the vertical number comes first.
    let height = maps.scale[cell].exp() * maps.stride;
    let width = maps.scale[size + cell].exp() * maps.stride;
    let y = (row as f32 + maps.offset[cell] + 0.5) * maps.stride - height / 2.0;
    let x = (column as f32 + maps.offset[size + cell] + 0.5) * maps.stride - width / 2.0;
    let mut landmarks = [Point::default(); 5];
    for (j, point) in landmarks.iter_mut().enumerate() {
        point.y = maps.landmarks[2 * j * size + cell] * height + y;
        point.x = maps.landmarks[(2 * j + 1) * size + cell] * width + x;
    }
    let finite = [x, y, width, height].iter().all(|v| v.is_finite())
        && landmarks.iter().all(|p| p.x.is_finite() && p.y.is_finite());
    let score = to_f32(f64::from(score).min(1.0));
    finite.then_some(DetectedFace {
        rect: Rect::new(x, y, width, height),
        landmarks,
        score,
    })
}

fn describe(shape: Option<&Vec<Option<usize>>>) -> String {
    let Some(shape) = shape else {
        return "not there (or not f32)".to_owned();
    };
    let sizes: Vec<String> = shape
        .iter()
        .map(|d| d.map_or("any".to_owned(), |size| size.to_string()))
        .collect();
    format!("f32 [{}]", sizes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::ARCFACE_TEMPLATE;
    use proptest::prelude::*;

    #[test]
    fn sizes_keep_the_aspect_and_are_multiples() {
        let size = |w, h, longest| network_size(w, h, DetectSize::longest_side(longest), 32);
        assert_eq!(size(1920, 1080, 640), (640, 384));
        assert_eq!(size(176, 144, 320), (320, 288));
        assert_eq!(size(360, 640, 640), (384, 640));
        assert_eq!(size(60_000, 1, 640), (640, 32));
        assert_eq!(size(1, 1, 100), (128, 128));
    }

    #[test]
    fn cells_that_are_no_box_are_passed_over() {
        let maps = Maps {
            heat: &[0.9, f32::NAN, 0.8],
            scale: &[200.0, 0.0, f32::NAN, 1.0, 0.0, 1.0],
            offset: &[0.0; 6],
            landmarks: &[0.5; 30],
            columns: 3,
            stride: 4.0,
        };
        assert!(decode(&maps, 0.5).is_empty());
    }

    proptest! {
        /// What the decoder reads from a heat map made of one face is that face.
        #[test]
        fn a_face_written_into_the_maps_is_read_back(
            x in 5f32..100.0, y in 5f32..60.0, width in 8f32..90.0, height in 8f32..90.0,
        ) {
            let (columns, rows, stride) = (64usize, 48usize, 4.0f32);
            let size = columns * rows;
            let rect = Rect::new(x, y, width, height);
            let middle = rect.center();
            let (column, row) = ((middle.x / stride).floor(), (middle.y / stride).floor());
            let cell = round_u32(row) as usize * columns + round_u32(column) as usize;
            let mut heat = vec![0.01; size];
            let (mut scale, mut offset) = (vec![0.0; 2 * size], vec![0.0; 2 * size]);
            let mut landmarks = vec![0.0; 10 * size];
            heat[cell] = 0.97;
            scale[cell] = (height / stride).ln();
            scale[size + cell] = (width / stride).ln();
            offset[cell] = middle.y / stride - row - 0.5;
            offset[size + cell] = middle.x / stride - column - 0.5;
            for (j, p) in ARCFACE_TEMPLATE.iter().enumerate() {
                landmarks[2 * j * size + cell] = p.y / 112.0;
                landmarks[(2 * j + 1) * size + cell] = p.x / 112.0;
            }
            let maps = Maps {
                heat: &heat, scale: &scale, offset: &offset, landmarks: &landmarks, columns, stride,
            };
            let faces = decode(&maps, 0.5);
            prop_assert_eq!(faces.len(), 1);
            let found = faces[0];
            prop_assert!((found.score - 0.97).abs() < 1e-6);
            prop_assert!(found.rect.iou(&rect) > 0.999);
            for (p, t) in found.landmarks.iter().zip(ARCFACE_TEMPLATE) {
                let wanted = Point::new(x + t.x / 112.0 * width, y + t.y / 112.0 * height);
                prop_assert!(p.distance(wanted) < 0.01);
            }
        }
    }
}

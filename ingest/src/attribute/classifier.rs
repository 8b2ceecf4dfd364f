//! A classifier in ONNX Runtime, used as its manifest says.

use std::sync::Arc;

use super::{Classifier, KeptFace, Reading};
use crate::{
    align::{ALIGNED_SIDE, ARCFACE_TEMPLATE, Similarity2, warp},
    detect::InferError,
    geometry::{DetectedFace, Point},
    model::{AttributeSpec, ClassifierInput, ClassifierManifest, FaceCrop, ModelError},
    picture::{Picture, PictureRef},
    runtime::{Output, Session},
    tensor::{Normalisation, push_planes},
};

/// The whole of a crop.
const WHOLE: [f32; 4] = [0.0, 0.0, 1.0, 1.0];

pub(crate) struct OnnxClassifier {
    session: Session,
    manifest: Arc<ClassifierManifest>,
    planes: Vec<f32>,
}

impl OnnxClassifier {
    /// A classifier over `session`, whose input and outputs must be those of the manifest.
    pub(crate) fn new(
        session: Session,
        manifest: Arc<ClassifierManifest>,
    ) -> Result<Self, ModelError> {
        let wrong = |tensor: &str, expected: String, found: Option<&Vec<Option<usize>>>| {
            let none = || "not there (or not f32)".to_owned();
            ModelError::WrongShape {
                model: manifest.model.id.clone(),
                tensor: tensor.to_owned(),
                expected,
                found: found.map_or_else(none, |shape| format!("{shape:?}")),
            }
        };
        let needed = input_shape(&manifest.input);
        let inputs = session.inputs();
        let found = inputs.iter().find(|(name, _)| *name == manifest.input.name);
        let found = found.map(|(_, shape)| shape);
        let fits = |shape: &Vec<Option<usize>>| {
            let same = |(a, b): (&Option<usize>, &usize)| a.is_none_or(|a| a == *b);
            shape.len() == needed.len() && shape.iter().zip(&needed).all(same)
        };
        if !found.is_some_and(fits) {
            let expected = format!("f32 of {needed:?}");
            return Err(wrong(&manifest.input.name, expected, found));
        }
        let outputs = session.outputs();
        for tensor in manifest.tensors() {
            if !outputs.iter().any(|(name, _)| name == tensor) {
                return Err(wrong(tensor, "f32".to_owned(), None));
            }
        }
        Ok(Self {
            session,
            manifest,
            planes: Vec::new(),
        })
    }

    /// The tensors for a picture of the network's size, in the order of the manifest.
    pub(crate) fn raw(&mut self, picture: PictureRef<'_>) -> Result<Vec<Output>, InferError> {
        let input = &self.manifest.input;
        self.planes.clear();
        match input.channels.order() {
            Some(channels) => {
                let (mean, std) = (input.mean, input.std);
                let how = Normalisation {
                    channels,
                    mean,
                    std,
                };
                push_planes(picture, &how, &mut self.planes);
            }
            None => self.planes.extend(picture.rgb().chunks_exact(3).map(|rgb| {
                let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(f32::from);
                (0.299 * r + 0.587 * g + 0.114 * b - input.mean[0]) / input.std[0]
            })),
        }
        let shape = input_shape(input);
        let tensors = self.manifest.tensors();
        self.session.run(&input.name, shape, &self.planes, &tensors)
    }

    /// What the attributes are by these tensors, of which each attribute takes its share.
    fn readings(&self, outputs: &[Output]) -> Vec<Option<Reading>> {
        let mut rest = outputs;
        let mut read = |spec: &AttributeSpec| {
            let (mine, others) = rest.split_at_checked(spec.tensors.len())?;
            rest = others;
            let tensors: Vec<&[f32]> = mine.iter().map(|o| o.values.as_slice()).collect();
            Reading::of(spec, &tensors)
        };
        let all = self.manifest.output.attributes.iter();
        all.map(&mut read).collect()
    }
}

impl Classifier for OnnxClassifier {
    fn attributes(&self) -> &[AttributeSpec] {
        &self.manifest.output.attributes
    }

    fn read(&mut self, face: &KeptFace) -> Result<Vec<Option<Reading>>, InferError> {
        let manifest = Arc::clone(&self.manifest);
        let regions = match manifest.input.regions.as_slice() {
            [] => &[WHOLE][..],
            regions => regions,
        };
        let mut parts = Vec::with_capacity(regions.len());
        for region in regions {
            let Some(part) = cut(face, &manifest.input, region) else {
                return Ok(vec![None; manifest.output.attributes.len()]);
            };
            let outputs = self.raw(part.view())?;
            parts.push(self.readings(&outputs));
        }
        let of = |at: usize| {
            let each: Vec<Option<Reading>> = parts.iter().map(|part| part[at].clone()).collect();
            Reading::mean(&each)
        };
        Ok((0..manifest.output.attributes.len()).map(of).collect())
    }
}

fn input_shape(input: &ClassifierInput) -> [usize; 4] {
    let [width, height] = input.size.map(|side| side as usize);
    [1, input.channels.count(), height, width]
}

/// The part of the face that the model sees, in the network's size; `None` if landmarks or box
/// determine none.
fn cut(face: &KeptFace, input: &ClassifierInput, region: &[f32; 4]) -> Option<Picture> {
    let side = input.size[0];
    let transform = match input.crop {
        FaceCrop::Aligned => aligned(&face.face, input.margin, region, side as f32)?,
        FaceCrop::Upright => upright(&face.face, input.margin, region, side as f32)?,
    };
    let rgb = warp(face.loose.view(), &transform, side);
    Picture::new(side, side, rgb).ok()
}

/// Takes indices of pixel centres of the loose crop to those of the part.
fn aligned(face: &DetectedFace, margin: f32, region: &[f32; 4], side: f32) -> Option<Similarity2> {
    let [x, y, width, _] = *region;
    let whole = ALIGNED_SIDE as f32;
    let target = |at: f32, from: f32| {
        let wide = (at + 0.5 - whole / 2.0) / margin + whole / 2.0;
        (wide - from * whole) * side / (whole * width) - 0.5
    };
    let template = ARCFACE_TEMPLATE.map(|p| Point::new(target(p.x, x), target(p.y, y)));
    let centered = face.landmarks.map(|p| Point::new(p.x - 0.5, p.y - 0.5));
    Similarity2::fit(&centered, &template)
}

fn upright(face: &DetectedFace, margin: f32, region: &[f32; 4], side: f32) -> Option<Similarity2> {
    let [x, y, width, _] = *region;
    let wide = margin * face.rect.width.max(face.rect.height);
    let middle = face.rect.center();
    let scale = side / (wide * width);
    let shift = |middle: f32, from: f32| {
        let start = middle - wide / 2.0 + from * wide;
        scale * (0.5 - start) - 0.5
    };
    let (tx, ty) = (shift(middle.x, x), shift(middle.y, y));
    let sound = [scale, tx, ty].iter().all(|v| v.is_finite()) && scale > 1e-6;
    sound.then_some(Similarity2 {
        a: scale,
        b: 0.0,
        tx,
        ty,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Rect;

    const ALL: [f32; 4] = WHOLE;

    fn face() -> DetectedFace {
        DetectedFace {
            rect: Rect::new(20.0, 10.0, 60.0, 80.0),
            landmarks: ARCFACE_TEMPLATE.map(|p| Point::new(p.x + 0.5, p.y + 0.5)),
            score: 0.9,
        }
    }

    fn check(found: Option<Similarity2>, from: (f32, f32), to: (f32, f32)) {
        let at = found.unwrap().apply(Point::new(from.0, from.1));
        assert!(
            (at.x - to.0).abs() < 1e-3 && (at.y - to.1).abs() < 1e-3,
            "{from:?} went to {at:?}, not {to:?}"
        );
    }

    #[test]
    fn an_aligned_crop_of_margin_one_is_the_embedders() {
        let found = aligned(&face(), 1.0, &ALL, 112.0);
        check(found, (0.0, 0.0), (0.0, 0.0));
        check(found, (111.0, 55.5), (111.0, 55.5));
    }

    #[test]
    fn a_margin_shows_more_about_the_same_middle() {
        let found = aligned(&face(), 1.5, &ALL, 112.0);
        check(found, (55.5, 55.5), (55.5, 55.5));
        // 28 pixels beyond the edge of 112 come to the edge.
        check(found, (-28.5, -28.5), (-0.5, -0.5));
    }

    #[test]
    fn a_region_fills_the_part() {
        let quarter = [0.5, 0.25, 0.25, 0.25];
        let found = aligned(&face(), 1.0, &quarter, 28.0);
        check(found, (56.0, 28.0), (0.0, 0.0));
        // The box's middle is (50, 50), its longer side 80.
        let found = upright(&face(), 1.0, &quarter, 20.0);
        check(found, (49.5, 29.5), (-0.5, -0.5));
        check(found, (69.5, 49.5), (19.5, 19.5));
    }

    #[test]
    fn a_box_without_size_or_landmarks_in_one_place_give_nothing() {
        let flat = DetectedFace {
            rect: Rect::new(5.0, 5.0, 0.0, 0.0),
            landmarks: [Point::new(5.0, 5.0); 5],
            score: 0.5,
        };
        assert_eq!(aligned(&flat, 1.0, &ALL, 64.0), None);
        assert_eq!(upright(&flat, 1.0, &ALL, 64.0), None);
    }
}

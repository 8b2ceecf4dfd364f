//! A detector over any model whose manifest names a decoder.

use std::sync::Arc;

use super::decode::{self, Canvas, Expected, Tensor};
use super::fit::Fit;
use super::landmarks::Landmarker;
use super::{DetectSize, DetectSizes, Detector, InferError, suppress};
use crate::geometry::DetectedFace;
use crate::model::{DetectorManifest, ModelError};
use crate::picture::PictureRef;
use crate::runtime::{Output, Session};
use crate::tensor::{Normalisation, push_planes};

/// How many candidates suppression looks at, best first: a bound on the work a hostile picture can
/// cause.
const CANDIDATES_MAX: usize = 2000;

/// A detector made of a network, one a thread.
pub(crate) struct Network {
    session: Session,
    manifest: Arc<DetectorManifest>,
    landmarker: Option<Landmarker>,
    planes: Vec<f32>,
}

impl Network {
    /// A detector over `session`, whose inputs and outputs must be those of the manifest;
    /// `landmarker` is for networks that find no landmarks.
    pub(crate) fn new(
        session: Session,
        manifest: Arc<DetectorManifest>,
        landmarker: Option<Landmarker>,
    ) -> Result<Self, ModelError> {
        let canvas = manifest
            .input
            .size
            .map(|[width, height]| Canvas { width, height });
        let sides = canvas.map(|c| (c.width as usize, c.height as usize));
        let needed = decode::expected(&manifest.output, canvas);
        let outputs = needed.into_iter().zip(&manifest.output.names);
        let outputs = outputs.map(|(expected, name)| (session.outputs(), name, expected));
        let input = (
            session.inputs(),
            &manifest.input.name,
            Expected::Planes(3, sides),
        );
        for (tensors, name, expected) in std::iter::once(input).chain(outputs) {
            let found = tensors
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, shape)| shape);
            if !found.is_some_and(|shape| expected.fits(shape)) {
                return Err(ModelError::WrongShape {
                    model: manifest.model.id.clone(),
                    tensor: name.clone(),
                    expected: format!("{expected} (decoder {:?})", manifest.output.decoder)
                        .to_lowercase(),
                    found: describe(found),
                });
            }
        }
        Ok(Self {
            session,
            manifest,
            landmarker,
            planes: Vec::new(),
        })
    }

    /// The outputs for a picture that has the network's size already, in the manifest's order.
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
        let names = &self.manifest.output.names;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.session.run(&input.name, shape, &self.planes, &names)
    }

    /// What the network takes for faces, in pixels of `picture`, before suppression.
    fn candidates(
        &mut self,
        picture: PictureRef<'_>,
        size: DetectSize,
    ) -> Result<Vec<DetectedFace>, InferError> {
        let (width, height) = (picture.width(), picture.height());
        let fit = Fit::of(width, height, size, &self.manifest.input);
        let outputs = self.raw(fit.place(picture).view())?;
        let tensors: Vec<Tensor<'_>> = outputs
            .iter()
            .map(|output| Tensor {
                shape: &output.shape,
                values: &output.values,
            })
            .collect();
        let (output, decision) = (&self.manifest.output, &self.manifest.decision);
        let faces = decode::decode(output, fit.canvas, &tensors, decision.score);
        let faces = faces.map_err(|why| InferError::Output {
            model: self.manifest.model.id.clone(),
            why,
        })?;
        Ok(faces
            .into_iter()
            .map(|face| fit.back(face, width, height))
            .collect())
    }

    /// One box a face, each with its landmarks.
    fn finish(
        &mut self,
        picture: PictureRef<'_>,
        mut candidates: Vec<DetectedFace>,
    ) -> Result<Vec<DetectedFace>, InferError> {
        if candidates.len() > CANDIDATES_MAX {
            candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
            candidates.truncate(CANDIDATES_MAX);
        }
        let mut faces = suppress(candidates, self.manifest.decision.nms);
        if let Some(landmarker) = &mut self.landmarker {
            landmarker.mark(picture, &mut faces)?;
        }
        Ok(faces)
    }
}

impl Detector for Network {
    fn detect(
        &mut self,
        picture: PictureRef<'_>,
        input: DetectSize,
    ) -> Result<Vec<DetectedFace>, InferError> {
        let candidates = self.candidates(picture, input)?;
        self.finish(picture, candidates)
    }

    fn detect_at(
        &mut self,
        picture: PictureRef<'_>,
        inputs: &DetectSizes,
    ) -> Result<Vec<DetectedFace>, InferError> {
        // A network of one size would see the same again.
        let looks = if self.takes_any_size() { usize::MAX } else { 1 };
        let mut candidates = Vec::new();
        for size in inputs.iter().take(looks) {
            candidates.extend(self.candidates(picture, size)?);
        }
        self.finish(picture, candidates)
    }

    fn takes_any_size(&self) -> bool {
        self.manifest.input.size.is_none()
    }
}

/// A tensor's shape in words.
pub(super) fn describe(shape: Option<&Vec<Option<usize>>>) -> String {
    let Some(shape) = shape else {
        return "not there (or not f32)".to_owned();
    };
    let sizes: Vec<String> = shape
        .iter()
        .map(|d| d.map_or("any".to_owned(), |size| size.to_string()))
        .collect();
    format!("f32 [{}]", sizes.join(", "))
}

//! Where are the faces? The seam between the pipeline and whatever detector is loaded.

mod decode;
mod fit;
mod landmarks;
mod network;
mod nms;
mod sizes;

pub(crate) use landmarks::Landmarker;
pub(crate) use network::Network;
pub use nms::suppress;
pub use sizes::{DetectSize, DetectSizes, DetectSizesError};

use crate::geometry::DetectedFace;
use crate::picture::PictureRef;

/// Why a model gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// ONNX Runtime refused to run the model.
    #[error("model {model}: ONNX Runtime failed: {why}")]
    Runtime {
        /// The model's id.
        model: String,
        /// What ONNX Runtime says.
        why: String,
    },
    /// The model ran and gave something that is not its documented output.
    #[error("model {model}: unusable output: {why}")]
    Output {
        /// The model's id.
        model: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Faces found at two sizes that overlap by more than this (IoU) are one, unless the detector has a
/// threshold of its own.
const SAME_FACE_IOU: f32 = 0.3;

/// Finds faces in pictures. One belongs to one thread at a time.
pub trait Detector: Send {
    /// The faces in `picture`, best score first, overlapping ones already suppressed, coordinates
    /// in pixels of `picture`.
    ///
    /// The same picture and size give the same faces, to the bit, on one machine.
    ///
    /// # Errors
    /// [`InferError`] when the model cannot be run; a picture without faces is no error.
    fn detect(
        &mut self,
        picture: PictureRef<'_>,
        input: DetectSize,
    ) -> Result<Vec<DetectedFace>, InferError>;

    /// The faces in `picture`, looked at in each of these sizes: all that is found is pooled, and one
    /// non-maximum suppression leaves of each face the box with the best score, as it is.
    ///
    /// # Errors
    /// As [`Detector::detect`].
    fn detect_at(
        &mut self,
        picture: PictureRef<'_>,
        inputs: &DetectSizes,
    ) -> Result<Vec<DetectedFace>, InferError> {
        let mut found = Vec::new();
        for size in inputs.iter() {
            found.extend(self.detect(picture, size)?);
        }
        Ok(suppress(found, SAME_FACE_IOU))
    }

    /// Whether a smaller size costs less: `false` for a network that sees every picture at one size.
    fn takes_any_size(&self) -> bool {
        true
    }
}

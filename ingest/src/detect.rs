//! Where are the faces? The seam between the pipeline and whatever detector is loaded.

mod centerface;
mod nms;

pub(crate) use centerface::CenterFace;
pub use nms::suppress;

use crate::geometry::DetectedFace;
use crate::picture::PictureRef;

/// How large the detector sees the picture: the longest side of its input, in pixels.
///
/// The picture is scaled, up or down, until its longest side is this long. Cost grows with the
/// square; a face should be at least 12 pixels wide at that scale to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DetectSize(u32);

impl DetectSize {
    /// The smallest size, in pixels.
    pub const MIN: u32 = 32;
    /// The largest size, in pixels.
    pub const MAX: u32 = 2048;

    /// A longest side of `pixels`, moved into [`DetectSize::MIN`]..=[`DetectSize::MAX`].
    #[must_use]
    pub const fn longest_side(pixels: u32) -> Self {
        if pixels < Self::MIN {
            Self(Self::MIN)
        } else if pixels > Self::MAX {
            Self(Self::MAX)
        } else {
            Self(pixels)
        }
    }

    /// The longest side, in pixels.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for DetectSize {
    /// 640 pixels.
    fn default() -> Self {
        Self(640)
    }
}

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
}

//! streamface's gates, by its formulas and with its defaults.
//!
//! They are for those who need the frames and faces that streamface would keep. Rollcall's own
//! gates ([`super::frame`], [`super::face`]) are set so as never to cost a person; these drop
//! whole frames for being alike, and so do.

use std::num::NonZeroUsize;

use super::{canny::emptiness, face::FaceRejection, frame::FrameRejection, plane::Plane};
use crate::{geometry::DetectedFace, picture::PictureRef, streamface::PixelFace};

/// The size at which frames are compared, in pixels.
const COMPARED: (NonZeroUsize, NonZeroUsize) = (
    NonZeroUsize::new(1280).expect("not zero"),
    NonZeroUsize::new(720).expect("not zero"),
);
/// Cut off each side before a frame's clarity is measured, in hundredths.
const BORDER_PERCENT: usize = 15;
/// Canny's thresholds.
const EDGES: (i32, i32) = (0, 25);

/// Which frames are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameThresholds {
    /// A frame is empty when a larger part of its pixels are no edges, 0..=1.
    pub empty_max: f64,
    /// A frame is blurred when its [`frame_clarity`] is lower.
    pub clarity_min: f64,
    /// A frame is the same as the last one kept when it is more similar, 0..=1.
    pub similarity_max: f64,
}

impl Default for FrameThresholds {
    fn default() -> Self {
        Self {
            empty_max: 0.95,
            clarity_min: 50.0,
            similarity_max: 0.9,
        }
    }
}

/// What was measured of a frame, in this order, until one refused it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FrameMeasures {
    /// The part of it that is no edge, 0..=1.
    pub emptiness: f64,
    /// Its clarity.
    pub clarity: Option<f64>,
    /// Its similarity to the last frame kept, 0..=1; absent for the first.
    pub similarity: Option<f64>,
}

/// Judges frames, each against the last one kept.
#[derive(Clone, Debug, Default)]
pub struct FrameGate {
    thresholds: FrameThresholds,
    kept: Option<Plane>,
}

impl FrameGate {
    /// A gate that has seen no frame yet.
    #[must_use]
    pub fn new(thresholds: FrameThresholds) -> Self {
        Self {
            thresholds,
            kept: None,
        }
    }

    /// Whether `frame` is refused, and why. One that is not becomes the one later frames are
    /// compared with.
    ///
    /// Cost: Canny over the whole picture, then some passes over 1280x720 pixels of one byte.
    pub fn judge(&mut self, frame: PictureRef<'_>) -> (FrameMeasures, Option<FrameRejection>) {
        let mut measures = FrameMeasures {
            emptiness: frame_emptiness(frame),
            ..FrameMeasures::default()
        };
        if measures.emptiness > self.thresholds.empty_max {
            return (measures, Some(FrameRejection::Empty));
        }
        let compared = compared(frame);
        let clarity = inner_clarity(&compared);
        measures.clarity = Some(clarity);
        if clarity < self.thresholds.clarity_min {
            return (measures, Some(FrameRejection::Blurred));
        }
        measures.similarity = self.kept.as_ref().map(|kept| kept.similarity(&compared));
        let same = |similarity: f64| similarity > self.thresholds.similarity_max;
        if measures.similarity.is_some_and(same) {
            return (measures, Some(FrameRejection::NearIdentical));
        }
        self.kept = Some(compared);
        (measures, None)
    }
}

/// The part of a frame that is no edge (Canny with thresholds 0 and 25), 0..=1.
#[must_use]
pub fn frame_emptiness(frame: PictureRef<'_>) -> f64 {
    emptiness(&Plane::of(frame), EDGES.0, EDGES.1)
}

/// The clarity ([`Plane::clarity`]) of the middle 70 % of a frame at 1280x720.
#[must_use]
pub fn frame_clarity(frame: PictureRef<'_>) -> f64 {
    inner_clarity(&compared(frame))
}

/// A frame as it is compared with others: grey, stretched to 1280x720.
#[must_use]
pub fn compared(frame: PictureRef<'_>) -> Plane {
    Plane::stretched(frame, COMPARED.0, COMPARED.1)
}

fn inner_clarity(compared: &Plane) -> f64 {
    let cut = |side: usize| side * BORDER_PERCENT / 100;
    compared
        .without_border(cut(compared.height()), cut(compared.width()))
        .clarity()
}

/// Which faces are kept. All three must be exceeded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceThresholds {
    /// The detector's score, 0..=1.
    pub score: f32,
    /// The area of the box, as a part of the frame's.
    pub area: f64,
    /// The clarity of the face's aligned crop of 128x128 pixels.
    pub clarity: f64,
}

impl Default for FaceThresholds {
    fn default() -> Self {
        Self {
            score: 0.95,
            area: 0.005,
            clarity: 25.0,
        }
    }
}

impl FaceThresholds {
    /// Whether a face of `frame` is refused, and why.
    #[must_use]
    pub fn judge(&self, frame: PictureRef<'_>, face: &DetectedFace) -> Option<FaceRejection> {
        // Written so that a NaN is a refusal.
        let sure = face.score > self.score;
        if !sure {
            return Some(FaceRejection::LowConfidence);
        }
        let pixels = PixelFace::of(face, frame);
        let area = (pixels.width * pixels.height) as f64;
        let whole = f64::from(frame.width()) * f64::from(frame.height());
        let large = area / whole > self.area;
        if !large {
            return Some(FaceRejection::FaceTooSmall);
        }
        let clarity = pixels
            .aligned(frame)
            .map_or(0.0, |crop| Plane::of(crop.view()).clarity());
        let sharp = clarity > self.clarity;
        (!sharp).then_some(FaceRejection::Blurred)
    }
}

#[cfg(test)]
mod tests;

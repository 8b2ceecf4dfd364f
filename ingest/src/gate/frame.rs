//! Frame gates: pictures that need no detector.
//!
//! The measures are those of streamface (uniformity, variance of the Laplacian, normalised squared
//! difference to the last accepted frame), taken on the small grey copy and with thresholds far on
//! the safe side: a gate saves detector time, it must never cost a person.

use std::sync::Arc;

use crate::source::GreyImage;

/// Why a frame was not given to the detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameRejection {
    /// Nearly one grey value: there is nothing to see.
    Empty,
    /// So blurred that no face could be recognised.
    Blurred,
    /// The same picture as the last one detected: its faces are still there.
    NearIdentical,
    /// The decoder could not make it whole.
    Corrupt,
}

impl FrameRejection {
    /// The reason as counters and the API write it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Empty => "EMPTY",
            Self::Blurred => "BLURRED",
            Self::NearIdentical => "NEAR_IDENTICAL",
            Self::Corrupt => "CORRUPT",
        }
    }
}

/// Thresholds of the frame gates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameGates {
    /// Frames whose grey values deviate less (standard deviation, of 255) are empty.
    pub deviation_min: f32,
    /// Frames whose Laplacian variance, divided by their grey variance, is lower are blurred.
    pub sharpness_min: f32,
    /// Frames less different (mean of 255) from the last detected one may be identical to it...
    pub difference_max: f32,
    /// ... if no 8x8 block differs more than this either: a small face may move alone.
    pub block_difference_max: f32,
}

impl Default for FrameGates {
    fn default() -> Self {
        Self {
            deviation_min: 2.5,
            sharpness_min: 0.0004,
            difference_max: 0.8,
            block_difference_max: 3.0,
        }
    }
}

/// Judges the frames of one shot. Made anew at each cut.
#[derive(Clone, Debug, Default)]
pub struct FrameGate {
    gates: FrameGates,
    last_detected: Option<Arc<GreyImage>>,
}

impl FrameGate {
    /// A gate that has seen no frame yet.
    #[must_use]
    pub fn new(gates: FrameGates) -> Self {
        Self {
            gates,
            last_detected: None,
        }
    }

    /// Whether `frame` needs no detector, and why. A frame that needs it becomes the one that
    /// later frames are compared with.
    pub fn judge(&mut self, frame: &Arc<GreyImage>) -> Option<FrameRejection> {
        let deviation = frame.deviation();
        if deviation < self.gates.deviation_min {
            return Some(FrameRejection::Empty);
        }
        if let Some(last) = &self.last_detected {
            // A drift adds up against the last detected frame, so it cannot slip through.
            let same = last.difference(frame) <= self.gates.difference_max
                && last.block_difference_max(frame) <= self.gates.block_difference_max;
            if same {
                return Some(FrameRejection::NearIdentical);
            }
        }
        if frame.laplacian_variance() < self.gates.sharpness_min * deviation * deviation {
            return Some(FrameRejection::Blurred);
        }
        self.last_detected = Some(Arc::clone(frame));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(gate: &mut FrameGate, at: impl Fn(usize, usize) -> u8) -> Option<FrameRejection> {
        let pixels = (0..160 * 90).map(|i| at(i % 160, i / 160)).collect();
        gate.judge(&Arc::new(GreyImage::new(160, 90, pixels).unwrap()))
    }

    fn texture(x: usize, y: usize) -> u8 {
        u8::try_from((x * 37 + y * 91 + x * y * 7) % 200).unwrap()
    }

    #[test]
    fn the_same_picture_needs_no_second_look_but_a_small_change_does() {
        let mut gate = FrameGate::default();
        assert_eq!(check(&mut gate, texture), None);
        assert_eq!(
            check(&mut gate, texture),
            Some(FrameRejection::NearIdentical)
        );
        let noisy = |x, y| texture(x, y).saturating_add(u8::from((x + y) % 2 == 0));
        assert_eq!(check(&mut gate, noisy), Some(FrameRejection::NearIdentical));
        let moved = |x, y| {
            if x < 8 && y < 8 {
                255 - texture(x, y)
            } else {
                texture(x, y)
            }
        };
        assert_eq!(check(&mut gate, moved), None);
    }

    #[test]
    fn slow_drift_adds_up() {
        let mut gate = FrameGate::default();
        let detected = (0..40u8)
            .filter(|step| check(&mut gate, |x, y| texture(x, y) / 2 + step / 4).is_none())
            .count();
        assert!((5..40).contains(&detected), "{detected}");
    }

    #[test]
    fn uniform_pictures_are_empty_and_smooth_ones_blurred() {
        let mut gate = FrameGate::default();
        assert_eq!(check(&mut gate, |_, _| 7), Some(FrameRejection::Empty));
        assert_eq!(
            check(&mut gate, |x, _| u8::try_from(x).unwrap()),
            Some(FrameRejection::Blurred)
        );
        assert_eq!(check(&mut gate, texture), None);
    }
}

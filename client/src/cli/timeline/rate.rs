//! Frames a second, and which frame a moment belongs to.
use std::time::Duration;

/// What a rate may be, frames a second.
pub(crate) const LEAST: f64 = 1.0;
pub(crate) const MOST: f64 = 1000.0;

/// Where nothing says how many frames a second there are.
const DEFAULT: FrameRate = FrameRate(25.0);
/// Rates that are met with; NTSC's are 1000/1001 of whole ones.
const COMMON: [f64; 16] = [
    10.0,
    12.0,
    12.5,
    15.0,
    20.0,
    24_000.0 / 1001.0,
    24.0,
    25.0,
    30_000.0 / 1001.0,
    30.0,
    48.0,
    50.0,
    60_000.0 / 1001.0,
    60.0,
    100.0,
    120.0,
];
/// Between 24 and 24000/1001 lie a thousandth: a quarter of that tells them apart.
const COMMON_TOLERANCE: f64 = 0.000_25;

/// Frames a second, between [`LEAST`] and [`MOST`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FrameRate(f64);

impl FrameRate {
    pub(crate) fn new(frames_per_second: f64) -> Option<Self> {
        (LEAST..=MOST)
            .contains(&frames_per_second)
            .then_some(Self(frames_per_second))
    }

    /// The common rate at which that frame comes at that time, if there is one; else 25.
    ///
    /// A frame's time is rounded, and the count may begin a frame early or late: nothing is made of the first 100.
    pub(crate) fn guess(frame: i64, at: Duration) -> Self {
        let (frame, seconds) = (frame as f64, at.as_secs_f64());
        if frame < 100.0 || seconds <= 0.0 {
            return DEFAULT;
        }
        let found = frame / seconds;
        let off = |rate: &f64| (found / rate - 1.0).abs();
        let nearest = COMMON
            .iter()
            .copied()
            .min_by(|a, b| off(a).total_cmp(&off(b)));
        let near = nearest.filter(|rate| off(rate) <= COMMON_TOLERANCE);
        near.map_or(DEFAULT, Self)
    }

    pub(crate) fn get(self) -> f64 {
        self.0
    }

    /// Frames of a second as timecodes count them: 30 at 29.97.
    pub(crate) fn timecode_base(self) -> u64 {
        whole(self.0)
    }

    /// How long a frame lasts.
    pub(crate) fn frame(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.0)
    }

    /// The frame that is nearest to a moment, from 0.
    pub(crate) fn frame_at(self, at: Duration) -> u64 {
        whole(at.as_secs_f64() * self.0)
    }
}

/// The nearest whole number.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a float becomes the nearest integer that there is; negative ones are not given"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(frame: i64, milliseconds: u64) -> f64 {
        FrameRate::guess(frame, Duration::from_millis(milliseconds)).get()
    }

    #[test]
    fn rates_are_told_by_a_late_frame() {
        assert_eq!(guess(2500, 100_000), 25.0);
        assert_eq!(guess(10_000, 417_083), 24_000.0 / 1001.0);
        assert_eq!(guess(10_000, 416_667), 24.0);
        assert_eq!(guess(100, 3337), 30_000.0 / 1001.0);
        assert_eq!(guess(2000, 200_000), 10.0);
        for (frame, at) in [(0, 0), (99, 3300), (1700, 100_000), (5, 0), (-1, 1)] {
            assert_eq!(guess(frame, at), 25.0, "{frame} {at}");
        }
    }

    #[test]
    fn moments_have_frames() {
        let ntsc = FrameRate::new(30_000.0 / 1001.0).unwrap();
        assert_eq!(ntsc.timecode_base(), 30);
        for frame in [0, 1, 2, 29, 30, 1799, 107_892] {
            let at = Duration::from_secs_f64(frame as f64 * 1001.0 / 30_000.0);
            assert_eq!(ntsc.frame_at(at), frame);
        }
        assert_eq!(
            FrameRate::new(25.0).unwrap().frame(),
            Duration::from_millis(40)
        );
        for wrong in [0.0, -25.0, f64::NAN, f64::INFINITY, 1000.5] {
            assert_eq!(FrameRate::new(wrong), None);
        }
    }
}

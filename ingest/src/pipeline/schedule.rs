//! Which frames are looked at, and how large the detector sees them.
//!
//! Counted from the first frame of a shot, from what its frames look like and what was found in
//! them: nothing before the shot matters, so that a run that begins with it decides the same.

use std::sync::Arc;

use crate::{
    detect::{DetectSize, DetectSizes},
    exemplar::SeenFace,
    geometry::Rect,
    observe::FrameNo,
    source::GreyImage,
};

use super::PipelineSettings;

/// Looks a second where something goes on.
const LOOKS_A_SECOND: f64 = 5.0;
/// While all stays as it is, steps between two looks grow to so many.
const STEPS_MAX: u64 = 3;
/// A face that overlaps one of the last look so much (IoU) has hardly moved.
const CALM_OVERLAP: f32 = 0.5;
/// Mean difference (of 255) to the frame looked at last from which something goes on.
const RESTLESS_DIFFERENCE: f32 = 12.0;
/// Where nobody was, steps from one look to the next at least, once two looks have said so.
const EMPTY_STEPS: u64 = 2;
/// How wide the smallest face must be for the detector, in pixels of its input.
const FACE_PIXELS: f32 = 32.0;
/// The inputs that looks at known faces choose from: each new one costs memory.
const SMALL_SIZES: [u32; 6] = [192, 256, 320, 384, 448, 512];
/// So many looks at known faces, then one at the whole size: somebody small may have come.
const SMALL_LOOKS_MAX: u32 = 3;

/// Decides frame by frame. With a schedule that the settings give, every n-th frame at one size.
pub(super) struct Schedule {
    adaptive: bool,
    full: DetectSizes,
    step: u64,
    /// The frame looked at last; `None` before the first of a shot.
    seen: Option<FrameNo>,
    /// The frame that came last.
    frame: FrameNo,
    /// Frames from the last look to the next.
    wait: u64,
    last: Option<Arc<GreyImage>>,
    /// Boxes of the last look, in shares of the picture.
    boxes: Vec<Rect>,
    /// Looks at known faces since the last at the whole size.
    small_looks: u32,
    /// The last two looks saw as many faces...
    same_count: bool,
    /// ... and in the same places.
    calm: bool,
    /// Whether the shot was looked at before.
    looked: bool,
}

impl Schedule {
    pub(super) fn new(settings: &PipelineSettings) -> Self {
        let step = settings.detect_every.map_or(5, |n| u64::from(n.get()));
        Self {
            adaptive: settings.detect_every.is_none(),
            full: settings.detect_sizes.clone(),
            step,
            seen: None,
            frame: FrameNo::default(),
            wait: step,
            last: None,
            boxes: Vec::new(),
            small_looks: 0,
            same_count: false,
            calm: false,
            looked: false,
        }
    }

    /// Sets the step to about a fifth of a second, unless the settings give one.
    pub(super) fn set_rate(&mut self, frames_per_second: f64) {
        if self.adaptive {
            let step = crate::number::to_f32(frames_per_second / LOOKS_A_SECOND);
            self.step = u64::from(crate::number::round_u32(step).max(1));
            self.wait = self.step;
        }
    }

    /// Most frames from one look to the next.
    pub(super) fn longest(&self) -> u64 {
        if self.adaptive {
            self.step * STEPS_MAX
        } else {
            self.step
        }
    }

    /// The next frame is the first of a shot.
    pub(super) fn restart(&mut self) {
        self.seen = None;
        self.wait = self.step;
        self.last = None;
        self.boxes.clear();
        self.small_looks = 0;
        self.same_count = false;
        self.calm = false;
        self.looked = false;
    }

    /// Whether the next frame, with this number and grey copy, has its turn.
    pub(super) fn turn(&mut self, frame: FrameNo, grey: &Arc<GreyImage>) -> bool {
        let begins = self.seen.is_none();
        let seen = self.seen.unwrap_or(frame);
        let (before, since) = (self.frame.since(seen), frame.since(seen));
        self.frame = frame;
        let step = self.step_now();
        let restless = self.adaptive
            && since / step > before / step
            && since < self.wait
            && self
                .last
                .as_ref()
                .is_some_and(|last| last.difference(grey) > RESTLESS_DIFFERENCE);
        if !begins && !restless && since < self.wait {
            return false;
        }
        if restless {
            self.same_count = false;
            self.calm = false;
            self.wait = 0;
        }
        self.seen = Some(frame);
        self.last = self.adaptive.then(|| Arc::clone(grey));
        true
    }

    /// How large the detector is to see the frame whose turn it is.
    pub(super) fn sizes(&mut self) -> DetectSizes {
        let smallest = self.boxes.iter().map(|rect| rect.width).fold(1.0, f32::min);
        let fits = |side: &u32| *side as f32 * smallest >= FACE_PIXELS;
        let small = SMALL_SIZES.into_iter().find(fits);
        let small = small.map(DetectSize::longest_side);
        let known = self.same_count && !self.boxes.is_empty() && self.small_looks < SMALL_LOOKS_MAX;
        match small.filter(|size| self.adaptive && known && *size < self.full.largest()) {
            Some(size) => {
                self.small_looks += 1;
                size.into()
            }
            None => {
                self.small_looks = 0;
                self.full.clone()
            }
        }
    }

    /// Frames from one look to the next where something goes on.
    fn step_now(&self) -> u64 {
        let nobody = self.same_count && self.boxes.is_empty();
        self.step * if nobody { EMPTY_STEPS } else { 1 }
    }

    /// Notes what was seen in the frame whose turn it was; `None` if nothing can be said.
    pub(super) fn saw(&mut self, faces: Option<&[SeenFace]>) {
        if !self.adaptive {
            return;
        }
        let boxes: Option<Vec<Rect>> = faces.map(|faces| faces.iter().map(share).collect());
        let first = !std::mem::replace(&mut self.looked, true);
        self.same_count = !first
            && boxes
                .as_ref()
                .is_some_and(|boxes| boxes.len() == self.boxes.len());
        let near = |rect: &Rect| self.boxes.iter().any(|old| old.iou(rect) >= CALM_OVERLAP);
        self.calm = self.same_count && boxes.iter().flatten().all(near);
        let wait = if self.calm { self.wait } else { 0 };
        self.boxes = boxes.unwrap_or_default();
        self.wait = (wait + self.step).clamp(self.step_now(), self.longest());
    }
}

/// The face's box with both axes in units of the picture's longest side.
fn share(face: &SeenFace) -> Rect {
    let by = 1.0 / face.picture.0.max(face.picture.1).max(1) as f32;
    face.face.rect.scaled(by, by)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        geometry::{DetectedFace, Point},
        observe::{MediaTime, WallTime},
        source::FrameStamp,
    };
    use std::num::NonZeroU32;

    fn face(x: f32, width: f32) -> SeenFace {
        SeenFace {
            stamp: FrameStamp {
                number: FrameNo::default(),
                time: MediaTime::ZERO,
                wall: WallTime::from_unix_micros(0),
            },
            rank: 0,
            face: DetectedFace {
                rect: Rect::new(x, 100.0, width, width),
                landmarks: [Point::default(); 5],
                score: 0.9,
            },
            picture: (1280, 720),
            good: None,
        }
    }

    /// Frames looked at, with the size, where frame `i` is as bright and shows the faces as `scene`
    /// says.
    fn looks(
        settings: &PipelineSettings,
        frames: u64,
        scene: impl Fn(u64) -> (u8, Vec<SeenFace>),
    ) -> Vec<(u64, u32)> {
        let mut schedule = Schedule::new(settings);
        schedule.set_rate(25.0);
        let mut looks = Vec::new();
        for i in 0..frames {
            let (level, faces) = scene(i);
            let grey = Arc::new(GreyImage::new(16, 9, vec![level; 144]).unwrap());
            if schedule.turn(FrameNo::new(i), &grey) {
                looks.push((i, schedule.sizes().largest().get()));
                schedule.saw(Some(&faces));
            }
        }
        looks
    }

    #[test]
    fn where_all_stays_as_it_is_looks_are_few_and_small() {
        let settings = PipelineSettings::default();
        let still = |_: u64| (90, vec![face(300.0, 110.0)]);
        let expected = [
            (0, 640),
            (5, 640),
            (15, 384),
            (30, 384),
            (45, 384),
            (60, 640),
        ];
        assert_eq!(looks(&settings, 61, still), expected);
    }

    #[test]
    fn newcomers_and_fast_faces_are_looked_at_closely() {
        let settings = PipelineSettings::default();
        let comes = |i: u64| {
            let mut faces = vec![face(300.0, 110.0)];
            faces.extend((i >= 20).then(|| face(800.0, 60.0)));
            (90, faces)
        };
        let found = looks(&settings, 51, comes);
        // Seen at 30; from then on both are known, of which one is small.
        assert_eq!(found[3..], [(30, 384), (35, 640), (45, 640)], "{found:?}");
        let runs = |i: u64| (90, vec![face(12.0 * i as f32, 80.0)]);
        // Never waited for, and of a size that is known.
        let sizes = [640, 640, 512, 512, 512, 640, 512, 512, 512, 640];
        let every: Vec<_> = (0..).step_by(5).zip(sizes).collect();
        assert_eq!(looks(&settings, 50, runs), every);
    }

    #[test]
    fn a_picture_that_changes_is_looked_at_without_waiting() {
        let settings = PipelineSettings::default();
        let light = |i: u64| (if i < 37 { 90 } else { 140 }, vec![face(300.0, 110.0)]);
        let found = looks(&settings, 46, light);
        assert_eq!(found[3..], [(30, 384), (40, 640), (45, 384)], "{found:?}");
    }

    #[test]
    fn what_moves_in_an_empty_picture_is_looked_at_half_as_often() {
        let settings = PipelineSettings::default();
        let clouds = |i: u64| (u8::try_from(i % 7 * 30).unwrap(), Vec::new());
        let frames: Vec<_> = looks(&settings, 41, clouds).iter().map(|l| l.0).collect();
        assert_eq!(frames, [0, 5, 15, 25, 35]);
    }

    #[test]
    fn frames_that_were_passed_over_count() {
        let mut schedule = Schedule::new(&PipelineSettings::default());
        schedule.set_rate(25.0);
        let grey = Arc::new(GreyImage::new(16, 9, vec![90; 144]).unwrap());
        let mut looks = Vec::new();
        for number in [0, 2, 3, 4, 8, 9, 12, 13, 17] {
            if schedule.turn(FrameNo::new(number), &grey) {
                looks.push(number);
                schedule.saw(None);
            }
        }
        assert_eq!(looks, [0, 8, 13]);
    }

    #[test]
    fn a_schedule_that_was_asked_for_is_kept() {
        let settings = PipelineSettings {
            detect_every: NonZeroU32::new(4),
            ..PipelineSettings::default()
        };
        let still = |_: u64| (90, vec![face(300.0, 110.0)]);
        let every: Vec<_> = (0..5).map(|i| (4 * i, 640)).collect();
        assert_eq!(looks(&settings, 20, still), every);
    }
}

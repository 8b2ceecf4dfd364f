//! facerec's tracker: SORT in every frame, by motion alone.

use super::PixelBox;
use crate::{
    geometry::{DetectedFace, Rect},
    number::round_u32,
    track::{SortMotion, assign},
};

/// When boxes belong together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SortRules {
    /// Least IoU of a foreseen box and a detection.
    pub(super) iou_min: f32,
    /// Detections in a row after which a track is believed.
    pub(super) hits_min: u64,
    /// Frames in a row that it may be missed in.
    pub(super) age_max: u64,
}

/// A face being followed. `F` is what came with its detections.
pub(super) struct Track<F> {
    motion: SortMotion,
    /// Its first frame.
    pub(super) start: u64,
    /// A box a frame.
    pub(super) boxes: Vec<PixelBox>,
    /// Whether each was detected.
    pub(super) detected: Vec<bool>,
    /// Detections before the first miss.
    hits: u64,
    /// It was missed before.
    broken: bool,
    missed: u64,
    /// What is kept of it until it is believed.
    pub(super) kept: Vec<F>,
}

impl<F> Track<F> {
    /// Whether it was detected often enough from its first frame on.
    pub(super) fn is_believed(&self, rules: &SortRules) -> bool {
        self.hits >= rules.hits_min
    }

    /// Leaves out what was foreseen after the last detection.
    fn trim(mut self) -> Self {
        let last = self.detected.iter().rposition(|detected| *detected);
        let frames = last.map_or(0, |last| last + 1);
        self.boxes.truncate(frames);
        self.detected.truncate(frames);
        self
    }
}

/// Follows faces from frame to frame. No frame may be left out.
pub(super) struct SortTracker<F> {
    rules: SortRules,
    tracks: Vec<Track<F>>,
}

impl<F> SortTracker<F> {
    pub(super) fn new(rules: SortRules) -> Self {
        Self {
            rules,
            tracks: Vec::new(),
        }
    }

    /// The shot is over: the tracks that were believed.
    pub(super) fn close_all(&mut self) -> Vec<Track<F>> {
        let rules = self.rules;
        let all = std::mem::take(&mut self.tracks).into_iter();
        all.filter(|track| track.is_believed(&rules))
            .map(Track::trim)
            .collect()
    }

    /// The first frame of the oldest track that is not believed yet.
    pub(super) fn undecided_since(&self) -> Option<u64> {
        let undecided = self
            .tracks
            .iter()
            .filter(|track| !track.is_believed(&self.rules));
        undecided.map(|track| track.start).min()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.tracks.is_empty()
    }

    pub(super) fn tracks_mut(&mut self) -> impl Iterator<Item = &mut Track<F>> {
        self.tracks.iter_mut()
    }

    /// Takes the faces of the next frame, in a picture of this size. Returns the tracks that have ended and
    /// were believed. `keep` makes of each detection, with the track's box, what is kept of it.
    pub(super) fn next(
        &mut self,
        frame: u64,
        faces: &[DetectedFace],
        size: (u32, u32),
        mut keep: impl FnMut(&DetectedFace, PixelBox) -> Option<F>,
    ) -> Vec<Track<F>> {
        for track in &mut self.tracks {
            track.motion.predict();
        }
        let owners = self.pair(faces);
        let mut taken = vec![false; faces.len()];
        for (track, face) in self.tracks.iter_mut().zip(owners) {
            if let Some(face) = face {
                taken[face] = true;
                track.motion.correct(&faces[face].rect);
                track.hits += u64::from(!track.broken);
                track.missed = 0;
            } else {
                track.missed += 1;
                track.broken = true;
            }
            let here = pixels(&track.motion.rect(), size);
            track.boxes.push(here);
            track.detected.push(face.is_some());
            track
                .kept
                .extend(face.and_then(|face| keep(&faces[face], here)));
        }
        for (face, _) in faces.iter().zip(&taken).filter(|(_, taken)| !**taken) {
            let here = pixels(&face.rect, size);
            self.tracks.push(Track {
                motion: SortMotion::new(&face.rect),
                start: frame,
                boxes: vec![here],
                detected: vec![true],
                hits: 1,
                broken: false,
                missed: 0,
                kept: keep(face, here).into_iter().collect(),
            });
        }
        let rules = self.rules;
        let is_over = |track: &mut Track<F>| {
            track.missed > rules.age_max || (track.missed > 0 && !track.is_believed(&rules))
        };
        let over: Vec<_> = self.tracks.extract_if(.., is_over).collect();
        let over = over.into_iter().filter(|track| track.is_believed(&rules));
        over.map(Track::trim).collect()
    }

    /// The face of each track: the pairing with the largest sum of IoUs, where a pair below the least counts
    /// -1 and is undone.
    fn pair(&self, faces: &[DetectedFace]) -> Vec<Option<usize>> {
        let boxes: Vec<Rect> = self
            .tracks
            .iter()
            .map(|track| track.motion.rect())
            .collect();
        assign(boxes.len(), faces.len(), 2.0, |row, column| {
            let iou = boxes[row].iou(&faces[column].rect);
            (iou >= self.rules.iou_min).then_some(1.0 - iou)
        })
    }
}

/// A box in whole pixels, cut off at the picture's edges.
fn pixels(rect: &Rect, (width, height): (u32, u32)) -> PixelBox {
    let clip = |value: f32, side: u32| i64::from(round_u32(value).min(side));
    [
        clip(rect.x, width),
        clip(rect.y, height),
        clip(rect.right(), width),
        clip(rect.bottom(), height),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Point;

    const RULES: SortRules = SortRules {
        iou_min: 0.5,
        hits_min: 3,
        age_max: 5,
    };

    fn face(x: f32) -> DetectedFace {
        DetectedFace {
            rect: Rect::new(x, 40.0, 50.0, 60.0),
            landmarks: [Point::default(); 5],
            score: 0.99,
        }
    }

    /// Start and whether each frame's box was detected, of a film that shows `faces` in each frame.
    fn follow(frames: &[&[f32]]) -> Vec<(u64, Vec<bool>)> {
        let mut tracker = SortTracker::<()>::new(RULES);
        let mut done = Vec::new();
        for (frame, xs) in (0..).zip(frames) {
            let faces: Vec<_> = xs.iter().map(|x| face(*x)).collect();
            done.extend(tracker.next(frame, &faces, (640, 360), |_, _| None));
        }
        done.extend(tracker.close_all());
        done.into_iter()
            .map(|track| (track.start, track.detected))
            .collect()
    }

    #[test]
    fn gaps_are_filled_and_tails_are_not() {
        let there: &[f32] = &[100.0];
        let frames = [there, there, there, &[], &[], there, &[], &[]];
        assert_eq!(
            follow(&frames),
            [(0, vec![true, true, true, false, false, true])]
        );
    }

    #[test]
    fn who_is_missed_too_early_or_too_long_is_given_up() {
        let there: &[f32] = &[100.0];
        assert_eq!(
            follow(&[there, there, &[], there, there, there]),
            [(3, vec![true; 3])]
        );
        let mut frames = vec![there; 4];
        frames.extend([&[] as &[f32]; 6]);
        frames.extend([there; 3]);
        assert_eq!(follow(&frames), [(0, vec![true; 4]), (10, vec![true; 3])]);
    }

    #[test]
    fn two_faces_stay_apart_and_a_jump_begins_a_track() {
        let frames: Vec<Vec<f32>> = (0..6u8)
            .map(|i| vec![100.0 + 2.0 * f32::from(i), 300.0])
            .collect();
        let frames: Vec<&[f32]> = frames.iter().map(Vec::as_slice).collect();
        assert_eq!(follow(&frames), [(0, vec![true; 6]), (0, vec![true; 6])]);
        let jump: [&[f32]; 6] = [&[100.0], &[100.0], &[100.0], &[200.0], &[200.0], &[200.0]];
        assert_eq!(follow(&jump), [(0, vec![true; 3]), (3, vec![true; 3])]);
    }

    #[test]
    fn boxes_are_whole_pixels_inside_the_picture() {
        assert_eq!(
            pixels(&Rect::new(-3.2, 10.6, 50.0, 400.0), (640, 360)),
            [0, 11, 47, 360]
        );
    }
}

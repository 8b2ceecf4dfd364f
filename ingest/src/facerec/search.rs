//! The faces of every frame, found by searching few frames whole.
//!
//! A face moves little in a fifth of a second. So only every n-th frame of a shot, its first and its last are
//! searched whole; in a frame between, each face is looked for in a window around the place where it should be,
//! which is scaled to the detector's smallest inputs and costs a twentieth. What a window leaves in doubt, a
//! search of the whole frame decides, so that trajectories begin and end in the frames in which they would
//! otherwise. (Searching key frames and propagating between them: Zhu et al., "Deep Feature Flow", 2017.)
//!
//! A detector's boxes depend a little on the scale at which it sees a face. Each face is therefore looked for
//! in its window in the whole frames too, and the difference there is taken off the boxes between.

mod window;

use self::window::{Gauge, between, cut};
use crate::{
    detect::{DetectSize, DetectSizes, Detector, InferError},
    geometry::{DetectedFace, Rect},
    picture::Picture,
    track::assign,
};

/// Side of the detector's input for a window, in pixels.
const WINDOW_SIDE: u32 = 96;
/// Side of a window, in longer sides of the face's box.
const WINDOW_BOXES: f32 = 2.0;
/// A window is enlarged at most so many times as much as the whole frame.
const ENLARGED_MAX: f32 = 2.0;
/// A window costs so much more than its share of the whole frame's pixels.
const WINDOW_COST: f32 = 1.5;
/// Least IoU of a face in a window and the place where it should be.
const PLACE_IOU_MIN: f32 = 0.4;
/// Least IoU of a face in two whole frames that is taken for the same.
const SAME_IOU_MIN: f32 = 0.3;
/// The whole frame might not show a face whose score is less.
const SCORE_SURE: f32 = 0.65;
/// Faces that overlap by more are in one place.
const TWICE_IOU: f32 = 0.5;

/// A frame and its faces.
pub(super) struct Searched {
    pub(super) number: u64,
    pub(super) picture: Picture,
    pub(super) faces: Vec<DetectedFace>,
}

/// How often was looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Looks {
    /// Frames searched whole.
    pub(super) whole: u64,
    /// Windows.
    pub(super) windows: u64,
}

/// Finds the faces of a shot, frame by frame.
pub(super) struct Search {
    eye: Eye,
    /// What the last frame shows that was searched whole; none at the start of a shot.
    last: Option<Vec<Seen>>,
    waiting: Vec<Frame>,
}

struct Frame {
    number: u64,
    picture: Picture,
}

/// A face in a frame, and what its window shows otherwise than the whole.
#[derive(Clone, Copy)]
struct Seen {
    face: DetectedFace,
    /// None where it is not to be seen in its window.
    gauge: Option<Gauge>,
}

/// What is in the frames between two.
enum Between {
    Known(Vec<Vec<Seen>>),
    /// This one must be searched whole.
    Doubt(usize),
}

impl Search {
    /// Searches with `detector`, in windows too if `with_windows`.
    pub(super) fn new(detector: Box<dyn Detector>, sizes: DetectSizes, with_windows: bool) -> Self {
        let eye = Eye {
            with_windows: with_windows && detector.takes_any_size(),
            detector,
            sizes,
            looks: Looks::default(),
        };
        Self {
            eye,
            last: None,
            waiting: Vec::new(),
        }
    }

    pub(super) fn looks(&self) -> Looks {
        self.eye.looks
    }

    /// Takes the next frame of a shot, which is to be searched `whole` or may be looked at in windows. Returns
    /// the frames whose faces are known by now, in order: none, or all that wait.
    pub(super) fn next(
        &mut self,
        number: u64,
        picture: Picture,
        whole: bool,
    ) -> Result<Vec<Searched>, InferError> {
        self.waiting.push(Frame { number, picture });
        if whole || self.last.is_none() || !self.eye.with_windows {
            self.search()
        } else {
            Ok(Vec::new())
        }
    }

    /// The shot is over: the frames that wait.
    pub(super) fn end_shot(&mut self) -> Result<Vec<Searched>, InferError> {
        let found = self.search();
        self.last = None;
        found
    }

    /// Searches the last of the frames that wait whole, and then those before it.
    fn search(&mut self) -> Result<Vec<Searched>, InferError> {
        let frames = std::mem::take(&mut self.waiting);
        let Some(frame) = frames.last() else {
            return Ok(Vec::new());
        };
        let now = self.eye.whole(&frame.picture)?;
        let mut seen = match self.last.replace(now.clone()) {
            Some(before) => self.between(&frames[..frames.len() - 1], &before, &now)?,
            None => Vec::new(),
        };
        seen.push(now);
        let searched = frames.into_iter().zip(seen).map(|(frame, seen)| Searched {
            number: frame.number,
            picture: frame.picture,
            faces: seen.into_iter().map(|seen| seen.face).collect(),
        });
        Ok(searched.collect())
    }

    /// The faces of each of `frames`, which lie between two that show `before` and `after`.
    fn between(
        &mut self,
        frames: &[Frame],
        before: &[Seen],
        after: &[Seen],
    ) -> Result<Vec<Vec<Seen>>, InferError> {
        match self.eye.in_windows(frames, before, after)? {
            Between::Known(seen) => Ok(seen),
            Between::Doubt(at) => {
                let here = self.eye.whole(&frames[at].picture)?;
                let mut seen = self.between(&frames[..at], before, &here)?;
                let later = self.between(&frames[at + 1..], &here, after)?;
                seen.push(here);
                seen.extend(later);
                Ok(seen)
            }
        }
    }
}

/// The detector, and how it is used.
struct Eye {
    detector: Box<dyn Detector>,
    sizes: DetectSizes,
    with_windows: bool,
    looks: Looks,
}

impl Eye {
    fn whole(&mut self, picture: &Picture) -> Result<Vec<Seen>, InferError> {
        self.looks.whole += 1;
        let faces = self.detector.detect_at(picture.view(), &self.sizes)?;
        let few = self.are_cheaper(faces.len(), picture);
        let mut seen = Vec::with_capacity(faces.len());
        for face in faces {
            let window = match few {
                true => self.window(picture, &face.rect)?,
                false => None,
            };
            let gauge = window.map(|window| Gauge::of(&window, &face));
            seen.push(Seen { face, gauge });
        }
        Ok(seen)
    }

    /// Whether so many windows cost less than a search of the whole.
    fn are_cheaper(&self, windows: usize, picture: &Picture) -> bool {
        let (width, height) = (picture.width() as f32, picture.height() as f32);
        let shape = width.min(height) / width.max(height);
        let whole: f32 = self
            .sizes
            .iter()
            .map(|size| (size.get() as f32).powi(2) * shape)
            .sum();
        let each = (WINDOW_SIDE * WINDOW_SIDE) as f32 * WINDOW_COST;
        self.with_windows && windows as f32 * each < whole
    }

    /// Looks for all faces before and after in the frames between.
    fn in_windows(
        &mut self,
        frames: &[Frame],
        before: &[Seen],
        after: &[Seen],
    ) -> Result<Between, InferError> {
        let is_seen = |seen: &Seen| seen.gauge.is_some();
        if !frames.is_empty() && !before.iter().chain(after).all(is_seen) {
            return Ok(Between::Doubt(frames.len() / 2));
        }
        let pairs = assign(before.len(), after.len(), 2.0, |row, column| {
            let iou = before[row].face.rect.iou(&after[column].face.rect);
            (iou >= SAME_IOU_MIN).then_some(1.0 - iou)
        });
        let steps = (frames.len() + 1) as f32;
        // Faces that are there before and after, and faces followed from before.
        let (mut found, mut followed) = (
            vec![Vec::new(); frames.len()],
            vec![Vec::new(); frames.len()],
        );
        for (from, to) in before.iter().zip(&pairs) {
            let mut place = *from;
            for (at, frame) in frames.iter().enumerate() {
                if let Some(to) = to {
                    place = from.towards(&after[*to], (at + 1) as f32 / steps);
                }
                match self.look(&frame.picture, &place)? {
                    Some(seen) => place = seen,
                    None => return Ok(Between::Doubt(at)),
                }
                let list = if to.is_some() {
                    &mut found
                } else {
                    &mut followed
                };
                list[at].push(place);
            }
        }
        let is_new = |column: &usize| !pairs.contains(&Some(*column));
        for column in (0..after.len()).filter(is_new) {
            let mut place = after[column];
            for (at, frame) in frames.iter().enumerate().rev() {
                if place.is_at_any(&followed[at]) {
                    // From before it was followed to here.
                    break;
                }
                match self.look(&frame.picture, &place)? {
                    Some(seen) => place = seen,
                    None => return Ok(Between::Doubt(at)),
                }
                found[at].push(place);
            }
        }
        for (all, followed) in found.iter_mut().zip(followed) {
            all.extend(followed);
            all.sort_by(|a: &Seen, b: &Seen| b.face.score.total_cmp(&a.face.score));
        }
        // Two windows may have shown one face of two that are close.
        let is_crowded = |seen: &Vec<Seen>| (1..seen.len()).any(|i| seen[i].is_at_any(&seen[..i]));
        Ok(match found.iter().position(is_crowded) {
            Some(at) => Between::Doubt(at),
            None => Between::Known(found),
        })
    }

    /// The face that should be at this place, as the whole frame would show it.
    fn look(&mut self, picture: &Picture, place: &Seen) -> Result<Option<Seen>, InferError> {
        let Some(gauge) = place.gauge else {
            return Ok(None);
        };
        let found = self.window(picture, &place.face.rect)?;
        let face = found.map(|found| gauge.correct(&found));
        let face = face.filter(|face| face.score >= SCORE_SURE);
        Ok(face.map(|face| Seen {
            face,
            gauge: Some(gauge),
        }))
    }

    /// The face around `place` as a window shows it.
    fn window(
        &mut self,
        picture: &Picture,
        place: &Rect,
    ) -> Result<Option<DetectedFace>, InferError> {
        self.looks.windows += 1;
        let longest = picture.width().max(picture.height()) as f32;
        let largest = self.sizes.largest().get() as f32;
        let side_min = WINDOW_SIDE as f32 * longest / (largest * ENLARGED_MAX);
        let side = place.width.max(place.height) * WINDOW_BOXES;
        let side = side.min(longest).max(side_min);
        let (window, corner) = cut(picture.view(), place.center(), side);
        let size = DetectSize::longest_side(WINDOW_SIDE);
        let faces = self.detector.detect(window.view(), size)?;
        let faces = faces
            .into_iter()
            .map(|face| face.mapped(1.0, 1.0, corner.x, corner.y));
        let near = faces.map(|face| (face.rect.iou(place), face));
        let near = near.filter(|(iou, _)| *iou >= PLACE_IOU_MIN);
        let nearest = near.max_by(|a, b| a.0.total_cmp(&b.0));
        Ok(nearest.map(|(_, face)| face))
    }
}

impl Seen {
    /// Whether it and another are in one place.
    fn is_at_any(&self, others: &[Self]) -> bool {
        let is_at = |other: &Self| self.face.rect.iou(&other.face.rect) > TWICE_IOU;
        others.iter().any(is_at)
    }

    /// A share of the way to where the face is in a later frame.
    fn towards(&self, other: &Self, share: f32) -> Self {
        let (a, b) = (&self.face.rect, &other.face.rect);
        let rect = Rect::new(
            between(a.x, b.x, share),
            between(a.y, b.y, share),
            between(a.width, b.width, share),
            between(a.height, b.height, share),
        );
        let gauges = self.gauge.zip(other.gauge);
        let gauge = gauges.map(|(a, b)| a.towards(&b, share));
        Self {
            face: DetectedFace { rect, ..self.face },
            gauge,
        }
    }
}

#[cfg(test)]
mod tests;

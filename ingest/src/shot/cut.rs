//! Hard cuts: one picture has little to do with the one before it.
//!
//! A frame starts a shot when its difference to the frame before stands out from the differences
//! behind or ahead of it (after Yeo and Liu, "Rapid Scene Analysis on Compressed Video", IEEE CSVT
//! 5(6), 1995), and its relief, in which light does not count, looks like nothing in the picture
//! before, moved a little or not. Looking a few frames ahead tells a cut from a flash, after which
//! the old picture is back.

use std::{collections::VecDeque, sync::Arc};

use super::{FacerecRule, sketch::Sketch};
use crate::source::GreyImage;

/// When a change is a cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CutRules {
    /// Frames looked ahead: the delay of the decision, and the longest flash.
    pub ahead: usize,
    /// Frames looked back.
    pub behind: usize,
    /// Smallest mean difference (of 255) of a cut.
    pub difference_min: f32,
    /// How many times the median of the differences behind or ahead a cut must reach...
    pub outstanding_min: f32,
    /// ... and of both, if it stands alone: else it lies in fast action, or fast action begins.
    pub alone_min: f32,
    /// Where a picture of one colour is cut from or to, it must reach so many times: else
    /// it is a fade.
    pub blank_outstanding_min: f32,
    /// Pictures whose reliefs correlate more show the same scene...
    pub likeness_max: f32,
    /// ... and in fast action those that correlate more, far as they may have moved.
    pub fast_likeness_max: f32,
    /// A relief that correlates more with one before the jump ends a flash.
    pub return_min: f32,
    /// Things move further from one frame to the next where frames between them were passed over:
    /// so many times as far at most.
    pub steps_max: u64,
    /// Instead of all this, facerec's rule decides.
    pub facerec: bool,
}

impl Default for CutRules {
    fn default() -> Self {
        Self {
            ahead: 3,
            behind: 3,
            difference_min: 6.0,
            outstanding_min: 1.3,
            alone_min: 1.5,
            blank_outstanding_min: 3.0,
            likeness_max: 0.6,
            fast_likeness_max: 0.35,
            return_min: 0.6,
            steps_max: 4,
            facerec: false,
        }
    }
}

/// Below this deviation no relief is left of a picture.
const BLANK: f32 = 2.0;
/// How far things move from one frame to the next, in values of a sketch: a tenth of the width.
const NEXT_REACH: usize = 4;
/// How far in fast action: a quarter of the width.
const FAST_REACH: usize = 10;
/// How far at most: half of the width.
const REACH_MAX: usize = 20;
/// How far while a flash lasts, on purpose less: what is left of a picture is still in its place.
const RETURN_REACH: usize = 1;

/// How a frame stands to the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The first frame since the finder was made.
    First,
    /// The first of a new shot.
    Cut,
    /// The shot goes on.
    Inside,
}

/// A frame about which the decision has fallen.
pub struct Released<T> {
    /// What was pushed with it.
    pub item: T,
    /// Its small grey copy.
    pub grey: Arc<GreyImage>,
    /// Whether it begins a shot.
    pub opening: Opening,
}

/// Finds hard cuts in a sequence of frames, with a delay of [`CutRules::ahead`] frames.
///
/// Cost: about 30 microseconds a frame at 160x90.
pub struct CutFinder<T> {
    rules: CutRules,
    waiting: VecDeque<Waiting<T>>,
    newest: Option<(u64, Arc<GreyImage>)>,
    /// Frames released since the shot began, newest last.
    shot: VecDeque<Arc<GreyImage>>,
    /// Differences within the shot, newest last.
    differences: VecDeque<Difference>,
    facerec: FacerecRule,
}

struct Waiting<T> {
    item: T,
    grey: Arc<GreyImage>,
    /// To the frame before.
    difference: Difference,
    forced: bool,
}

/// How unlike two frames are that follow each other.
#[derive(Clone, Copy, Default)]
struct Difference {
    /// Mean, of 255; 0 for the first of all.
    mean: f32,
    /// From one number to the other, 1 to [`CutRules::steps_max`].
    steps: u64,
}

impl Difference {
    /// What it would be over so many steps, if it is motion.
    fn over(self, steps: u64) -> f32 {
        self.mean * (steps.max(self.steps) as f32 / self.steps.max(1) as f32)
    }
}

impl<T> CutFinder<T> {
    /// A finder that has seen nothing.
    #[must_use]
    pub fn new(rules: CutRules) -> Self {
        Self {
            rules,
            waiting: VecDeque::new(),
            newest: None,
            shot: VecDeque::new(),
            differences: VecDeque::new(),
            facerec: FacerecRule::default(),
        }
    }

    /// A finder about to decide about a frame, after these (oldest first, the shot's newest) and
    /// before those it may look ahead to. All differences are those of frames that follow each other.
    pub(super) fn about(
        rules: CutRules,
        window: &[(u64, Arc<GreyImage>)],
        at: usize,
    ) -> CutFinder<()> {
        let mut finder = CutFinder::new(rules);
        for (number, grey) in window {
            finder.push(*number, Arc::clone(grey), (), false);
        }
        for waiting in finder.waiting.drain(..at) {
            if !finder.shot.is_empty() {
                keep(&mut finder.differences, waiting.difference, rules.behind);
            }
            keep(&mut finder.shot, waiting.grey, rules.ahead + 1);
        }
        finder
    }

    /// Whether the frame that is to be decided next begins a shot.
    pub(super) fn cuts_next(&mut self) -> bool {
        self.opening_of_front() == Some(Opening::Cut)
    }

    /// Takes the next frame and its number; `forced` says that it begins a shot whatever it looks
    /// like.
    pub fn push(&mut self, number: u64, grey: Arc<GreyImage>, item: T, forced: bool) {
        let since = |(before, picture): &(u64, Arc<GreyImage>)| Difference {
            mean: picture.difference(&grey),
            steps: number
                .saturating_sub(*before)
                .clamp(1, self.rules.steps_max),
        };
        let difference = self.newest.as_ref().map(since).unwrap_or_default();
        self.newest = Some((number, Arc::clone(&grey)));
        self.waiting.push_back(Waiting {
            item,
            grey,
            difference,
            forced,
        });
    }

    /// The next frame that is decided. With `ended`, frames are decided without looking ahead.
    pub fn pop(&mut self, ended: bool) -> Option<Released<T>> {
        if self.waiting.len() <= self.rules.ahead && !ended {
            return None;
        }
        let opening = self.opening_of_front()?;
        let front = self.waiting.pop_front()?;
        match opening {
            Opening::First | Opening::Cut => {
                self.shot.clear();
                self.differences.clear();
                self.begin_facerec(&front.grey);
            }
            Opening::Inside => keep(&mut self.differences, front.difference, self.rules.behind),
        }
        keep(
            &mut self.shot,
            Arc::clone(&front.grey),
            self.rules.ahead + 1,
        );
        Some(Released {
            item: front.item,
            grey: front.grey,
            opening,
        })
    }

    /// Forgets everything before the frame released last, as if the run had begun with it.
    pub fn restart_at_last(&mut self) {
        self.differences.clear();
        let excess = self.shot.len().saturating_sub(1);
        self.shot.drain(..excess);
        if let Some(last) = self.shot.back().cloned() {
            self.begin_facerec(&last);
        }
    }

    /// facerec's rule knows nothing but the first frame of the shot.
    fn begin_facerec(&mut self, first: &GreyImage) {
        if self.rules.facerec {
            self.facerec = FacerecRule::default();
            self.facerec.push(first);
        }
    }

    fn opening_of_front(&mut self) -> Option<Opening> {
        let front = self.waiting.front()?;
        let Some(before) = self.shot.back() else {
            return Some(Opening::First);
        };
        let cut = if self.rules.facerec {
            self.facerec.push(&front.grey) || front.forced
        } else {
            front.forced || self.is_cut(front, before)
        };
        Some(if cut { Opening::Cut } else { Opening::Inside })
    }

    fn is_cut(&self, front: &Waiting<T>, before: &GreyImage) -> bool {
        let rules = &self.rules;
        let Difference { mean: jump, steps } = front.difference;
        let ahead = self.waiting.iter().skip(1).take(rules.ahead);
        let behind = median(self.differences.iter().map(|d| d.over(steps)));
        let ahead = median(ahead.map(|w| w.difference.over(steps)));
        let reach = |one: usize| {
            let steps = usize::try_from(steps.max(1)).unwrap_or(1);
            one.saturating_mul(steps).min(REACH_MAX)
        };
        if jump < rules.difference_min || jump < rules.outstanding_min * behind.min(ahead) {
            return false;
        }
        let (old, new) = (Sketch::of(before), Sketch::of(&front.grey));
        if !old.same_size(&new) {
            return true;
        }
        let blank = old.deviation().min(new.deviation()) < BLANK;
        let (old, new) = (old.relief(), new.relief());
        let unlike = if blank {
            jump >= rules.blank_outstanding_min * behind.max(ahead)
        } else if jump >= rules.alone_min * behind.max(ahead) {
            old.likeness(&new, reach(NEXT_REACH)) <= rules.likeness_max
        } else {
            old.likeness(&new, reach(NEXT_REACH)) <= rules.fast_likeness_max
                && old.likeness(&new, reach(FAST_REACH)) <= rules.fast_likeness_max
        };
        unlike && !self.is_flash(&old, &new)
    }

    /// Whether the old relief comes back soon, or the new one was there just before.
    fn is_flash(&self, old: &Sketch, new: &Sketch) -> bool {
        let relief = |grey: &GreyImage| Sketch::of(grey).relief();
        let ahead = self.waiting.iter().skip(1).take(self.rules.ahead);
        let mut ahead = ahead.map(|w| old.likeness(&relief(&w.grey), RETURN_REACH));
        let behind = self.shot.iter().rev().skip(1);
        let mut behind = behind.map(|grey| relief(grey).likeness(new, RETURN_REACH));
        let back = self.rules.return_min;
        ahead.any(|likeness| likeness >= back) || behind.any(|likeness| likeness >= back)
    }
}

/// The median, 0 of nothing.
fn median(values: impl Iterator<Item = f32>) -> f32 {
    let mut values: Vec<f32> = values.collect();
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn keep<V>(queue: &mut VecDeque<V>, value: V, most: usize) {
    queue.push_back(value);
    while queue.len() > most {
        queue.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(at: impl Fn(usize, usize) -> f32) -> GreyImage {
        let pixels = (0..160 * 90)
            .map(|i| crate::number::round_u8(at(i % 160, i / 160)))
            .collect();
        GreyImage::new(160, 90, pixels).unwrap()
    }

    /// Smooth texture of a scene, moved by `shift` pixels.
    fn scene(seed: f32, shift: f32) -> GreyImage {
        grey(|x, y| {
            let (x, y) = (x as f32 + shift, y as f32);
            128.0
                + 50.0 * (x * 0.11 * seed + seed).sin()
                + 40.0 * (y * 0.17 + x * 0.05 * seed).cos()
        })
    }

    /// Frames at which a shot starts.
    fn check(frames: usize, scene: &dyn Fn(usize) -> GreyImage) -> Vec<usize> {
        check_with(CutRules::default(), 0..frames, scene)
    }

    fn check_with(
        rules: CutRules,
        frames: impl IntoIterator<Item = usize>,
        scene: &dyn Fn(usize) -> GreyImage,
    ) -> Vec<usize> {
        let mut finder = CutFinder::new(rules);
        let mut starts = Vec::new();
        let mut drain = |finder: &mut CutFinder<usize>, ended| {
            while let Some(released) = finder.pop(ended) {
                if released.opening != Opening::Inside {
                    starts.push(released.item);
                }
            }
        };
        for i in frames {
            finder.push(i as u64, Arc::new(scene(i)), i, false);
            drain(&mut finder, false);
        }
        drain(&mut finder, true);
        starts
    }

    #[test]
    fn cuts_are_found_at_their_frame_even_in_motion() {
        let still = |i: usize| scene(if i < 20 { 1.0 } else { 2.3 }, 0.0);
        assert_eq!(check(40, &still), [0, 20]);
        let moving = |i: usize| scene(if i < 20 { 1.0 } else { 2.3 }, i as f32 * 3.0);
        assert_eq!(check(40, &moving), [0, 20]);
        let quick = |i: usize| scene([1.0, 2.3, 3.1][i / 6], 0.0);
        assert_eq!(check(18, &quick), [0, 6, 12]);
    }

    #[test]
    fn pans_flashes_and_lights_are_no_cuts() {
        assert_eq!(check(60, &|i| scene(1.0, (i * i) as f32 * 0.1)), [0]);
        let flash = |i: usize| {
            if (20..22).contains(&i) {
                grey(|_, _| 250.0)
            } else {
                scene(1.0, 0.0)
            }
        };
        assert_eq!(check(40, &flash), [0]);
        let lights = |i: usize| {
            let light = if i < 20 { 1.0 } else { 0.8 };
            let lit = scene(1.0, 0.0);
            grey(|x, y| f32::from(lit.pixels()[y * 160 + x]) * light)
        };
        assert_eq!(check(40, &lights), [0]);
    }

    #[test]
    fn whip_pans_and_fading_flashes_are_no_cuts() {
        let whip = |i: usize| scene(1.0, 14.0 * i.clamp(20, 28) as f32);
        assert_eq!(check(50, &whip), [0]);
        let flashes = |i: usize| {
            let light = [1.0, 0.5, 0.2].get(i % 15).copied().unwrap_or(0.0);
            let lit = scene(1.0, 0.0);
            grey(|x, y| f32::from(lit.pixels()[y * 160 + x]) * (1.0 + light) + 60.0 * light)
        };
        assert_eq!(check(60, &flashes), [0]);
    }

    #[test]
    fn cuts_and_whip_pans_are_told_apart_where_frames_were_passed_over() {
        let seen = || (0..60).filter(|i| [0, 2, 3].contains(&(i % 5)));
        let check =
            |scene: &dyn Fn(usize) -> GreyImage| check_with(CutRules::default(), seen(), scene);
        let cut = |i: usize| scene(if i < 20 { 1.0 } else { 2.3 }, i as f32 * 3.0);
        assert_eq!(check(&cut), [0, 20]);
        let cut = |i: usize| scene(if i < 24 { 1.0 } else { 2.3 }, i as f32 * 3.0);
        assert_eq!(check(&cut), [0, 25]);
        let whip = |i: usize| scene(1.0, 14.0 * i.clamp(20, 28) as f32);
        assert_eq!(check(&whip), [0]);
    }

    #[test]
    fn a_fade_is_no_cut_and_a_cut_to_black_is_two() {
        let fade = |i: usize| {
            let light = i.abs_diff(20).saturating_sub(3).min(10) as f32 / 10.0;
            let lit = scene(1.0, 0.0);
            grey(|x, y| f32::from(lit.pixels()[y * 160 + x]) * light)
        };
        assert_eq!(check(40, &fade), [0]);
        let black = |i: usize| {
            if (20..30).contains(&i) {
                grey(|_, _| 0.0)
            } else {
                scene(1.0, 0.0)
            }
        };
        assert_eq!(check(50, &black), [0, 20, 30]);
    }

    #[test]
    fn facerec_decides_where_it_is_asked_and_begins_anew_at_each_cut() {
        let rules = CutRules {
            facerec: true,
            ..CutRules::default()
        };
        // The ramp and the two halves that its own test takes for a cut.
        let film = |i: usize| {
            grey(move |x, y| {
                if (i / 10).is_multiple_of(2) {
                    (x % 40) as f32
                } else if y < 45 {
                    140.0
                } else {
                    60.0
                }
            })
        };
        let whole = check_with(rules, 0..30, &film);
        assert_eq!(whole[..2], [0, 10]);
        let rest = check_with(rules, 0..20, &|i| film(i + 10));
        let rest: Vec<usize> = rest.iter().map(|i| i + 10).collect();
        assert_eq!(rest, whole[1..]);
    }

    #[test]
    fn a_run_that_begins_at_a_cut_sees_the_same_cuts() {
        let film = |i: usize| scene([1.0, 2.3, 3.1, 1.7][(i / 25).min(3)], i as f32 * 2.0);
        let whole = check(100, &film);
        assert_eq!(whole, [0, 25, 50, 75]);
        for from in &whole {
            let rest: Vec<usize> = check(100 - from, &|i| film(i + from))
                .into_iter()
                .map(|i| i + from)
                .collect();
            let expected: Vec<usize> = whole.iter().copied().filter(|i| i >= from).collect();
            assert_eq!(rest, expected);
        }
    }
}

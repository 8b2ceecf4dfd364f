//! Hard cuts: one picture has little to do with the one before it.
//!
//! A frame starts a shot when its difference to the frame before stands out from the differences
//! around it (median over a window on both sides, after Yeo and Liu, "Rapid Scene Analysis on
//! Compressed Video", IEEE CSVT 5(6), 1995, who take the second largest), and either structure
//! (correlation) or grey values (histogram) changed as well. Looking a few frames ahead tells a cut
//! from a flash, after which the old picture is back.

use std::{collections::VecDeque, sync::Arc};

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
    /// How many times the median of the differences around it a cut must reach...
    pub outstanding_min: f32,
    /// ... or this many times, if the pictures have nothing in common: in fast action.
    pub unlike_outstanding_min: f32,
    /// Correlation below which pictures have nothing in common.
    pub unlike_max: f32,
    /// A cut has at most this correlation...
    pub correlation_max: f32,
    /// ... or at least this histogram distance...
    pub histogram_min: f32,
    /// ... or stands out this many times, as a cut between two takes of one scene does.
    pub obvious_min: f32,
    /// A frame this near (as a share of the jump) to one before the jump ends a flash.
    pub return_max: f32,
}

impl Default for CutRules {
    fn default() -> Self {
        Self {
            ahead: 3,
            behind: 8,
            difference_min: 6.0,
            outstanding_min: 3.0,
            unlike_outstanding_min: 2.0,
            unlike_max: 0.35,
            correlation_max: 0.6,
            histogram_min: 0.35,
            obvious_min: 8.0,
            return_max: 0.35,
        }
    }
}

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
/// Cost: about 60 microseconds a frame at 160x90.
pub struct CutFinder<T> {
    rules: CutRules,
    waiting: VecDeque<Waiting<T>>,
    newest: Option<Arc<GreyImage>>,
    /// Frames released since the shot began, newest last.
    shot: VecDeque<Arc<GreyImage>>,
    /// Differences within the shot, newest last.
    differences: VecDeque<f32>,
}

struct Waiting<T> {
    item: T,
    grey: Arc<GreyImage>,
    /// To the frame before; 0 for the first of all.
    difference: f32,
    forced: bool,
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
        }
    }

    /// Takes the next frame; `forced` says that it begins a shot whatever it looks like.
    pub fn push(&mut self, grey: Arc<GreyImage>, item: T, forced: bool) {
        let difference = self
            .newest
            .as_ref()
            .map_or(0.0, |before| before.difference(&grey));
        self.newest = Some(Arc::clone(&grey));
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
    }

    fn opening_of_front(&self) -> Option<Opening> {
        let front = self.waiting.front()?;
        let Some(before) = self.shot.back() else {
            return Some(Opening::First);
        };
        let cut = front.forced || self.is_cut(front, before);
        Some(if cut { Opening::Cut } else { Opening::Inside })
    }

    fn is_cut(&self, front: &Waiting<T>, before: &GreyImage) -> bool {
        let rules = &self.rules;
        let jump = front.difference;
        let around = self.median_around();
        if jump < rules.difference_min || jump < rules.unlike_outstanding_min * around {
            return false;
        }
        let correlation = before.correlation(&front.grey);
        if correlation > rules.unlike_max && jump < rules.outstanding_min * around {
            return false;
        }
        let different = correlation <= rules.correlation_max
            || before.histogram_distance(&front.grey) >= rules.histogram_min
            || (jump >= rules.obvious_min * around.max(1.0) && correlation < 0.9);
        different && !self.is_flash(front, before, jump)
    }

    /// Whether the old picture comes back soon, or has just come back.
    fn is_flash(&self, front: &Waiting<T>, before: &GreyImage, jump: f32) -> bool {
        let near = self.rules.return_max * jump;
        let ahead = self.waiting.iter().skip(1).take(self.rules.ahead);
        let comes_back = ahead.map(|w| before.difference(&w.grey)).any(|d| d <= near);
        let came_back = self
            .shot
            .iter()
            .rev()
            .skip(1)
            .any(|old| old.difference(&front.grey) <= near);
        comes_back || came_back
    }

    /// Median of the differences behind and ahead, 0 when there are none.
    fn median_around(&self) -> f32 {
        let ahead = self
            .waiting
            .iter()
            .skip(1)
            .take(self.rules.ahead)
            .map(|w| w.difference);
        let mut around: Vec<f32> = self.differences.iter().copied().chain(ahead).collect();
        around.sort_by(f32::total_cmp);
        around.get(around.len() / 2).copied().unwrap_or(0.0)
    }
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
        let mut finder = CutFinder::new(CutRules::default());
        let mut starts = Vec::new();
        let mut drain = |finder: &mut CutFinder<usize>, ended| {
            while let Some(released) = finder.pop(ended) {
                if released.opening != Opening::Inside {
                    starts.push(released.item);
                }
            }
        };
        for i in 0..frames {
            finder.push(Arc::new(scene(i)), i, false);
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

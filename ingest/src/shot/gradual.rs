//! Gradual transitions: dissolves, and fades from or to one colour.
//!
//! In a dissolve every frame is a mix of the same two pictures, so a frame `h` frames from each of
//! two others lies half way between them, pixel by pixel. A moving camera does not do that: where
//! it moves far enough to change the picture, edges pass. The residual of the mix against the
//! change it explains is smallest at the middle of the transition, and the boundary is put there.
//!
//! Frames are suspected as soon as the half before them looks like a mix, and decided when the half
//! after them has been seen; where nothing is suspected the decision is immediate.

use std::{collections::VecDeque, sync::Arc};

use crate::source::GreyImage;

/// When a change is a transition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradualRules {
    /// Half lengths tried, in seconds, shortest first.
    pub halves_s: [f64; 4],
    /// Smallest mean difference (of 255) over a half that raises suspicion.
    pub suspect_difference_min: f32,
    /// What a half may have more than the residual of a pan, as a share of its difference.
    pub half_slack: f32,
    /// Smallest mean difference over the whole.
    pub difference_min: f32,
    /// Largest residual of the whole, as a share of its difference...
    pub residual_max: f32,
    /// ... and as a share of what a pan between pictures so alike would leave at least.
    pub pan_share_max: f32,
    /// A picture that deviates less is one colour: a fade needs no correlation test.
    pub uniform_max: f32,
}

impl Default for GradualRules {
    fn default() -> Self {
        Self {
            halves_s: [0.12, 0.2, 0.4, 0.6],
            suspect_difference_min: 4.0,
            half_slack: 0.03,
            difference_min: 10.0,
            residual_max: 0.2,
            pan_share_max: 0.75,
            uniform_max: 6.0,
        }
    }
}

/// A transition, in frames counted from the finder's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// About where it begins: pictures from here on are mixed.
    pub first: u64,
    /// The first frame that belongs to the new shot.
    pub middle: u64,
    /// About where it ends.
    pub last: u64,
}

/// Finds gradual transitions within a shot.
///
/// Cost: about 100 microseconds a frame at 160x90, more while something is suspected.
pub struct GradualFinder {
    rules: GradualRules,
    halves: Vec<usize>,
    frames: VecDeque<Arc<GreyImage>>,
    pushed: u64,
    suspects: VecDeque<Suspect>,
    accepted: Vec<Accepted>,
    found: VecDeque<Transition>,
    last_middle: Option<u64>,
}

struct Suspect {
    frame: u64,
    half: usize,
}

struct Accepted {
    frame: u64,
    half: usize,
    weight: f64,
}

/// Accepted frames further apart belong to two transitions.
const GAP: u64 = 3;
/// A run of accepted frames longer than this many of the longest halves is cut off.
const RUN_HALVES_MAX: u64 = 5;

impl GradualFinder {
    /// A finder for pictures that follow each other `frames_per_second` times a second.
    #[must_use]
    pub fn new(rules: GradualRules, frames_per_second: f64) -> Self {
        let mut halves: Vec<usize> = Vec::new();
        for seconds in rules.halves_s {
            let frames =
                crate::number::round_u32(crate::number::to_f32(seconds * frames_per_second));
            let half = (frames as usize).clamp(2, 60);
            if halves.last().is_none_or(|last| *last < half) {
                halves.push(half);
            }
        }
        Self {
            rules,
            halves,
            frames: VecDeque::new(),
            pushed: 0,
            suspects: VecDeque::new(),
            accepted: Vec::new(),
            found: VecDeque::new(),
            last_middle: None,
        }
    }

    /// Forgets everything: the next frame is the first.
    pub fn restart(&mut self) {
        self.frames.clear();
        self.pushed = 0;
        self.suspects.clear();
        self.accepted.clear();
        self.found.clear();
        self.last_middle = None;
    }

    /// Takes the next frame of the shot.
    pub fn push(&mut self, grey: Arc<GreyImage>) {
        let newest = self.pushed;
        self.pushed += 1;
        self.frames.push_back(grey);
        let kept = self.halves.last().map_or(0, |half| 2 * half + 1);
        while self.frames.len() > kept {
            self.frames.pop_front();
        }
        for i in 0..self.halves.len() {
            let half = self.halves[i];
            if self.half_is_mix(newest, half, self.rules.suspect_difference_min) {
                self.suspects.push_back(Suspect {
                    frame: newest,
                    half,
                });
            }
        }
        self.decide_suspects();
        self.close_run(false);
    }

    /// The shot is over: everything is decided.
    pub fn finish(&mut self) {
        self.suspects.clear();
        self.close_run(true);
    }

    /// Frames below this number are decided.
    #[must_use]
    pub fn decided(&self) -> u64 {
        let suspect = self
            .suspects
            .iter()
            .map(|s| s.frame)
            .min()
            .unwrap_or(self.pushed);
        let run = self.accepted.first().map_or(self.pushed, |a| a.frame);
        suspect.min(run)
    }

    /// The next transition whose frames are decided.
    pub fn take(&mut self) -> Option<Transition> {
        self.found.pop_front()
    }

    fn decide_suspects(&mut self) {
        let newest = self.pushed - 1;
        let mut i = 0;
        while i < self.suspects.len() {
            let (frame, half) = (self.suspects[i].frame, self.suspects[i].half);
            if frame + half as u64 > newest {
                i += 1;
                continue;
            }
            self.suspects.remove(i);
            if let Some(weight) = self.is_middle(frame, half) {
                self.accepted.push(Accepted {
                    frame,
                    half,
                    weight,
                });
                self.accepted.sort_by_key(|a| a.frame);
            }
        }
    }

    fn close_run(&mut self, ended: bool) {
        while let (Some(first), Some(last)) = (self.accepted.first(), self.accepted.last()) {
            // The run may have a gap in it while its tail is still being decided.
            let gap = self
                .accepted
                .windows(2)
                .position(|w| w[1].frame > w[0].frame + GAP);
            let end = gap.map_or(last.frame, |at| self.accepted[at].frame);
            let open = self
                .suspects
                .iter()
                .map(|s| s.frame)
                .min()
                .unwrap_or(self.pushed);
            let longest = self.halves.last().copied().unwrap_or(0) as u64;
            let too_long = end - first.frame >= RUN_HALVES_MAX * longest;
            if !ended && !too_long && open <= end + GAP {
                return;
            }
            let count = gap.map_or(self.accepted.len(), |at| at + 1);
            let run: Vec<Accepted> = self.accepted.drain(..count).collect();
            self.report(&run, longest);
        }
    }

    fn report(&mut self, run: &[Accepted], longest: u64) {
        // The longest half that still fits says best how far the mix reaches, and where its middle
        // is: to a shorter one every part of a long transition looks alike.
        let widest = run.iter().map(|a| a.half).max().unwrap_or(0);
        let judges = || run.iter().filter(|a| a.half == widest);
        let total: f64 = judges().map(|a| a.weight).sum();
        let sum: f64 = judges()
            .map(|a| a.weight * (a.frame - run[0].frame) as f64)
            .sum();
        let offset = crate::number::round_u32(crate::number::to_f32(sum / total.max(1e-9)));
        let middle = run[0].frame + u64::from(offset);
        if self.last_middle.is_some_and(|last| middle < last + longest) {
            return;
        }
        self.last_middle = Some(middle);
        let reach = (widest as u64 * 5).div_ceil(4);
        let transition = Transition {
            first: middle.saturating_sub(reach).min(run[0].frame),
            middle,
            last: (middle + reach).max(run[run.len() - 1].frame),
        };
        self.found.push_back(transition);
    }

    fn frame(&self, number: u64) -> Option<&Arc<GreyImage>> {
        let oldest = self.pushed - self.frames.len() as u64;
        self.frames
            .get(usize::try_from(number.checked_sub(oldest)?).ok()?)
    }

    /// Whether the frames from `half` before `end` up to `end` mix from one picture to another.
    fn half_is_mix(&self, end: u64, half: usize, difference_min: f32) -> bool {
        let Some(start) = end.checked_sub(half as u64) else {
            return false;
        };
        let step = half / 2;
        let parts = (
            self.frame(start),
            self.frame(start + step as u64),
            self.frame(end),
        );
        let (Some(from), Some(middle), Some(to)) = parts else {
            return false;
        };
        let difference = from.difference(to);
        if difference < difference_min {
            return false;
        }
        let share = step as f32 / half as f32;
        let residual = from.mix_residual(middle, to, share) / difference;
        residual <= self.pan_residual(from, to) + self.rules.half_slack
    }

    /// The least residual that a camera moving from one picture to the other leaves at half way.
    ///
    /// A moving sine wave leaves least: with a phase of `p` to either side its correlation is
    /// `cos 2p` and its residual `tan(p / 2) / 2` of the difference. Finer detail leaves more.
    /// Where one picture is uniform there is nothing that could have moved.
    fn pan_residual(&self, from: &GreyImage, to: &GreyImage) -> f32 {
        let uniform = self.rules.uniform_max;
        if from.deviation() < uniform || to.deviation() < uniform {
            return 0.5;
        }
        (from.correlation(to).acos() / 4.0).tan() / 2.0
    }

    /// How well `frame` fits as the middle of a transition, above 0; `None` if it does not.
    fn is_middle(&self, frame: u64, half: usize) -> Option<f64> {
        let rules = &self.rules;
        let end = frame + half as u64;
        let from = self.frame(frame.checked_sub(half as u64)?)?;
        let (middle, to) = (self.frame(frame)?, self.frame(end)?);
        let difference = from.difference(to);
        if difference < rules.difference_min {
            return None;
        }
        let residual = from.mix_residual(middle, to, 0.5) / difference;
        let allowed = rules
            .residual_max
            .min(rules.pan_share_max * self.pan_residual(from, to));
        if residual > allowed || !self.half_is_mix(end, half, 0.3 * difference) {
            return None;
        }
        Some(f64::from(allowed - residual) + 1e-3)
    }
}

#[cfg(test)]
mod tests;

//! Gradual transitions: dissolves, and fades from or to one colour.
//!
//! In a dissolve every frame is a mix of the same two pictures, so a frame `h` frames from each of
//! two others lies between them, pixel by pixel, and the frames half as far lie on the same line in
//! order. A moving camera does not do that: where it moves far enough to change the picture, edges
//! pass; and changing light does not bring another picture. So three things make a transition: the
//! mix, with light taken away, explains the middle; the pictures at its ends are not alike, even
//! where one is moved or seen from nearer; or one of them is one colour.
//!
//! Frames are suspected as soon as the half before them looks like a mix, and decided when the half
//! after them has been seen; where nothing is suspected the decision is immediate. All this is done
//! on sketches of 4x4 pixels a value, in which noise and small movements are gone.

use std::collections::VecDeque;

use super::sketch::{Mix, Sketch};
use crate::source::GreyImage;

/// When a change is a transition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradualRules {
    /// Half lengths tried, in seconds, shortest first.
    pub halves_s: [f64; 4],
    /// Smallest distance (of grey values) over a half that raises suspicion.
    pub suspect_distance_min: f32,
    /// Smallest distance of the pictures at both ends.
    pub distance_min: f32,
    /// Largest part of that distance that the mix leaves unexplained.
    pub residual_max: f32,
    /// The middle has at least this share of each picture.
    pub share_min: f32,
    /// Pictures whose reliefs correlate more show the same scene.
    pub likeness_max: f32,
}

impl GradualRules {
    /// Nothing is a transition.
    pub const NEVER: Self = Self {
        suspect_distance_min: f32::INFINITY,
        ..Self::DEFAULT
    };

    const DEFAULT: Self = Self {
        halves_s: [0.12, 0.24, 0.44, 0.8],
        suspect_distance_min: 2.5,
        distance_min: 5.0,
        residual_max: 0.45,
        share_min: 0.25,
        likeness_max: 0.45,
    };
}

impl Default for GradualRules {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A transition, in numbers of frames. Not every one of them need have been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// About where it begins: pictures from here on are mixed.
    pub first: u64,
    /// Frames from here on belong to the new shot.
    pub middle: u64,
    /// About where it ends.
    pub last: u64,
}

/// Finds gradual transitions within a shot.
///
/// Cost: about 170 microseconds a frame at 160x90 where every other second has a transition, most
/// of it there.
pub struct GradualFinder {
    rules: GradualRules,
    halves: Vec<usize>,
    /// With their numbers, oldest first.
    frames: VecDeque<(u64, Sketch)>,
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
    /// How far its share is from one half.
    off: f32,
}

/// Accepted frames further apart belong to two transitions.
const GAP: u64 = 4;
/// Shares this near to each other are the same: a mix that is wider than what is looked at.
const PLATEAU: f32 = 0.02;
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
            suspects: VecDeque::new(),
            accepted: Vec::new(),
            found: VecDeque::new(),
            last_middle: None,
        }
    }

    /// Forgets everything: the next frame is the first.
    pub fn restart(&mut self) {
        self.frames.clear();
        self.suspects.clear();
        self.accepted.clear();
        self.found.clear();
        self.last_middle = None;
    }

    /// Takes the next frame of the shot. Numbers may be left out, and none comes twice.
    pub fn push(&mut self, newest: u64, grey: &GreyImage) {
        self.frames.push_back((newest, Sketch::of(grey)));
        let reach = self.halves.last().map_or(0, |half| 2 * *half as u64);
        // The one before what is needed may be the nearest to it.
        while self
            .frames
            .get(1)
            .is_some_and(|(number, _)| number + reach <= newest)
        {
            self.frames.pop_front();
        }
        for i in 0..self.halves.len() {
            let half = self.halves[i];
            if self.is_suspect(newest, half) {
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
            .unwrap_or(self.end());
        let run = self.accepted.first().map_or(self.end(), |a| a.frame);
        suspect.min(run)
    }

    /// The next transition whose frames are decided.
    pub fn take(&mut self) -> Option<Transition> {
        self.found.pop_front()
    }

    fn decide_suspects(&mut self) {
        let newest = self.end().saturating_sub(1);
        let mut i = 0;
        while i < self.suspects.len() {
            let (frame, half) = (self.suspects[i].frame, self.suspects[i].half);
            if frame + half as u64 > newest {
                i += 1;
                continue;
            }
            self.suspects.remove(i);
            if let Some(off) = self.off_middle(frame, half) {
                self.accepted.push(Accepted { frame, half, off });
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
                .unwrap_or(self.end());
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
        let nearest = judges().map(|a| a.off).fold(f32::INFINITY, f32::min);
        let mut judges = judges().filter(|a| a.off <= nearest + PLATEAU);
        let Some(first) = judges.next().map(|a| a.frame) else {
            return;
        };
        let middle = u64::midpoint(first, judges.next_back().map_or(first, |a| a.frame));
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

    /// The number after the newest frame's.
    fn end(&self) -> u64 {
        self.frames.back().map_or(0, |(number, _)| number + 1)
    }

    /// The frame nearest to `number`, the earlier of two; `None` for one before the first.
    fn frame(&self, number: u64) -> Option<&Sketch> {
        let after = self.frames.partition_point(|(n, _)| *n < number);
        let later = self.frames.get(after);
        if later.is_some_and(|(n, _)| *n == number) {
            return later.map(|(_, sketch)| sketch);
        }
        let earlier = self.frames.get(after.checked_sub(1)?)?;
        let nearer = later.filter(|(n, _)| n - number < number - earlier.0);
        Some(&nearer.unwrap_or(earlier).1)
    }

    /// Whether the frames from `half` before `end` up to `end` mix from one picture to another, or
    /// lose their contrast.
    fn is_suspect(&self, end: u64, half: usize) -> bool {
        let Some(start) = end.checked_sub(half as u64) else {
            return false;
        };
        let parts = (
            self.frame(start),
            self.frame(start + half as u64 / 2),
            self.frame(end),
        );
        let (Some(from), Some(middle), Some(to)) = parts else {
            return false;
        };
        let least = self.rules.suspect_distance_min;
        let contrasts = [from, middle, to].map(Sketch::deviation);
        let fades = contrasts[0] > contrasts[1] && contrasts[1] > contrasts[2];
        if fades && contrasts[0] - contrasts[2] > least.max(0.2 * contrasts[0]) {
            return true;
        }
        let mix = middle.mix(from, to);
        // Early in a transition the frame half as far back may hardly be mixed.
        mix.distance >= least && self.is_inside(mix, self.rules.share_min / 2.5)
    }

    fn is_inside(&self, mix: Mix, share_min: f32) -> bool {
        mix.residual <= self.rules.residual_max
            && (share_min..=1.0 - share_min).contains(&mix.share)
    }

    /// How far from one half the share is that `frame` has of the new picture, if `half` frames
    /// on both sides of it can be a transition.
    fn off_middle(&self, frame: u64, half: usize) -> Option<f32> {
        let rules = &self.rules;
        let (half, quarter) = (half as u64, half as u64 / 2 + half as u64 % 2);
        let from = self.frame(frame.checked_sub(half)?)?;
        let to = self.frame(frame + half)?;
        let mix = self.frame(frame)?.mix(from, to);
        if mix.distance < rules.distance_min || !self.is_inside(mix, rules.share_min) {
            return None;
        }
        let before = self.frame(frame - quarter)?.mix(from, to);
        let after = self.frame(frame + quarter)?.mix(from, to);
        let in_order = before.share < mix.share && mix.share < after.share;
        let worst = before.residual.max(after.residual);
        if !in_order || worst > rules.residual_max {
            return None;
        }
        if !from.is_blank() && !to.is_blank() && from.shows_also(to) > rules.likeness_max {
            return None;
        }
        Some((mix.share - 0.5).abs())
    }
}

#[cfg(test)]
mod tests;

//! Cuts that any run over the material finds, wherever it began: where a film may be divided.

use std::{collections::VecDeque, sync::Arc};

use super::{CutFinder, CutRules, FacerecRule, Opening};
use crate::source::GreyImage;

/// Finds the cuts at which shards may begin, in one pass without looking for faces.
///
/// What a run takes for a cut depends on the frames just before, and where it was started anew (in
/// stretches without faces) it knows fewer of them. So of our own rule's cuts only those are given that
/// are cuts however many of those frames are known: a run that begins anywhere before finds each of
/// them. Of facerec's rule each is given: whoever uses it starts a run anew at cuts alone.
///
/// Cost: as [`CutFinder`], and a little more at each cut.
pub struct CutPlanner<S> {
    rules: CutRules,
    /// Asked in place of `finder`.
    facerec: Option<FacerecRule>,
    finder: CutFinder<S>,
    /// Newest last; as many as can matter to a decision.
    window: VecDeque<(u64, Arc<GreyImage>)>,
    /// Numbers of frames in the window that are still to be decided about, and what came with them.
    waiting: VecDeque<(u64, S)>,
}

impl<S: Copy> CutPlanner<S> {
    /// A planner for runs that begin anew at cuts.
    #[must_use]
    pub fn new(rules: CutRules) -> Self {
        Self {
            rules,
            facerec: None,
            finder: CutFinder::new(rules),
            window: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    /// A planner by facerec's rule as facerec itself uses it: never begun anew, so that it sees a cut
    /// in the frames right after another one too.
    #[must_use]
    pub fn facerec() -> Self {
        let rules = CutRules {
            facerec: true,
            ..CutRules::default()
        };
        Self {
            facerec: Some(FacerecRule::default()),
            ..Self::new(rules)
        }
    }

    /// Takes the next frame; gives what came with a frame that begins a shot for certain, if that is
    /// known now.
    pub fn push(&mut self, number: u64, grey: &Arc<GreyImage>, with: S) -> Option<S> {
        if let Some(rule) = &mut self.facerec {
            return rule.push(grey).then_some(with);
        }
        self.window.push_back((number, Arc::clone(grey)));
        self.waiting.push_back((number, with));
        self.finder.push(number, Arc::clone(grey), with, false);
        let decided = (self.waiting.len() > self.rules.ahead).then(|| self.decide(false));
        // The frames that a decision looks back to, the one decided about, those ahead.
        while self.window.len() > self.history() + 1 + self.rules.ahead {
            self.window.pop_front();
        }
        decided.flatten()
    }

    /// The source is at its end: what came with the last frames that begin shots.
    pub fn end(&mut self) -> Vec<S> {
        let left = self.waiting.len();
        (0..left).filter_map(|_| self.decide(true)).collect()
    }

    fn history(&self) -> usize {
        self.rules.ahead.max(self.rules.behind) + 1
    }

    fn decide(&mut self, ended: bool) -> Option<S> {
        let opening = self.finder.pop(ended)?.opening;
        let (number, with) = self.waiting.pop_front()?;
        // Most frames are no cut even to the finder that knows most: they cost nothing more.
        (opening == Opening::Cut && self.is_certain(number)).then_some(with)
    }

    /// Whether the frame is a cut with any number of the frames before it known.
    fn is_certain(&mut self, number: u64) -> bool {
        if self.rules.facerec {
            return true;
        }
        let history = self.history();
        let window = self.window.make_contiguous();
        let at = window.partition_point(|(other, _)| *other < number);
        let first = at.saturating_sub(history);
        at > 0
            && (first..at).all(|from| {
                let mut finder = CutFinder::<()>::about(self.rules, &window[from..], at - from);
                finder.cuts_next()
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(seed: f32, shift: f32) -> Arc<GreyImage> {
        let at = |i: u16| {
            let (x, y) = (f32::from(i % 160) + shift, f32::from(i / 160));
            let wave =
                50.0 * (x * 0.11 * seed + seed).sin() + 40.0 * (y * 0.17 + x * 0.05 * seed).cos();
            crate::number::round_u8(128.0 + wave)
        };
        Arc::new(GreyImage::new(160, 90, (0..160 * 90).map(at).collect()).unwrap())
    }

    /// Scenes that follow each other after so many frames each.
    fn film(lengths: &[u64]) -> Vec<Arc<GreyImage>> {
        let mut film = Vec::new();
        for (i, length) in (1u8..).zip(lengths) {
            for shift in 0..*length {
                let seed = 1.0 + 0.37 * f32::from(i);
                film.push(scene(seed, f32::from(u8::try_from(shift % 100).unwrap())));
            }
        }
        film
    }

    fn plan(mut planner: CutPlanner<u64>, film: &[Arc<GreyImage>]) -> Vec<u64> {
        let mut cuts = Vec::new();
        for (number, grey) in (0..).zip(film) {
            cuts.extend(planner.push(number, grey, number));
        }
        cuts.extend(planner.end());
        cuts
    }

    #[test]
    fn what_is_planned_is_found_by_a_run_that_was_started_anew_just_before() {
        let film = film(&[12, 9, 30, 3, 2, 25]);
        let cuts = plan(CutPlanner::new(CutRules::default()), &film);
        assert!(
            cuts.contains(&12) && cuts.contains(&21) && cuts.contains(&51),
            "{cuts:?}"
        );
        for cut in cuts {
            for begin in 0..cut {
                let mut finder = CutFinder::new(CutRules::default());
                let mut found = Vec::new();
                for (number, grey) in (0..).zip(&film).skip(usize::try_from(begin).unwrap()) {
                    finder.push(number, Arc::clone(grey), number, false);
                    found.extend(std::iter::from_fn(|| finder.pop(false)));
                }
                found.extend(std::iter::from_fn(|| finder.pop(true)));
                let at = found.iter().find(|f| f.item == cut).unwrap();
                assert_eq!(at.opening, Opening::Cut, "frame {cut} from {begin}");
            }
        }
    }

    #[test]
    fn facerec_is_asked_all_through() {
        let dark = |i: u8| i % 40;
        let grey = |at: &dyn Fn(u8, usize) -> u8| {
            let pixels = (0..160 * 80).map(|i| at(u8::try_from(i % 40).unwrap(), i));
            Arc::new(GreyImage::new(160, 80, pixels.collect()).unwrap())
        };
        let (a, b) = (
            grey(&|x, _| dark(x)),
            grey(&|_, i| if i < 80 * 80 { 140 } else { 60 }),
        );
        let film = [&a, &a, &b, &a, &a].map(Arc::clone);
        assert_eq!(plan(CutPlanner::facerec(), &film), [2, 3]);
        let facerec = CutRules {
            facerec: true,
            ..CutRules::default()
        };
        assert_eq!(plan(CutPlanner::new(facerec), &film), [2]);
    }
}

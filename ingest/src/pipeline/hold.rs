//! What was seen waits here until it is known whether a dissolve is going on.

use std::collections::VecDeque;

use crate::{
    exemplar::SeenFace,
    shot::{GradualFinder, GradualRules, Transition},
    source::{FrameStamp, GreyImage},
};

/// One frame and what was seen in it.
pub(super) struct Event {
    pub(super) stamp: FrameStamp,
    /// Absent when nobody looked.
    pub(super) faces: Option<Vec<SeenFace>>,
}

/// How a frame lies to the transitions around it.
pub(super) enum Place {
    /// Outside of all.
    Clear,
    /// In a transition: faces are mixed.
    Mixed,
    /// At the middle of one: a shot begins. So many frames back and ahead are mixed.
    Boundary {
        /// Back.
        before: u64,
        /// Ahead.
        after: u64,
    },
}

/// A queue of frames in which [`GradualFinder`] looks for transitions.
pub(super) struct Hold {
    finder: GradualFinder,
    waiting: VecDeque<Event>,
    /// Number of the event that was released last, since the last restart.
    last: Option<u64>,
    transitions: VecDeque<Transition>,
}

impl Hold {
    pub(super) fn new(rules: GradualRules, frames_per_second: f64) -> Self {
        Self {
            finder: GradualFinder::new(rules, frames_per_second),
            waiting: VecDeque::new(),
            last: None,
            transitions: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, grey: &GreyImage, event: Event) {
        self.finder.push(event.stamp.number.get(), grey);
        self.waiting.push_back(event);
    }

    /// The shot is over: everything waiting is decided.
    pub(super) fn finish(&mut self) {
        self.finder.finish();
    }

    /// Whether nothing waits and no transition goes on.
    pub(super) fn is_clear(&self) -> bool {
        self.waiting.is_empty() && self.transitions.is_empty()
    }

    /// Whether no face waits.
    pub(super) fn is_faceless(&self) -> bool {
        let faceless = |event: &Event| event.faces.as_ref().is_none_or(Vec::is_empty);
        self.waiting.iter().all(faceless)
    }

    /// Forgets everything; nothing may be waiting.
    pub(super) fn restart(&mut self) {
        debug_assert!(
            self.waiting.is_empty(),
            "events are released before a restart"
        );
        self.finder.restart();
        self.waiting.clear();
        self.transitions.clear();
        self.last = None;
    }

    /// The next frame that is decided.
    pub(super) fn pop(&mut self) -> Option<(Event, Place)> {
        self.transitions
            .extend(std::iter::from_fn(|| self.finder.take()));
        let decided = |event: &Event| event.stamp.number.get() < self.finder.decided();
        self.waiting.front().filter(|event| decided(event))?;
        let event = self.waiting.pop_front()?;
        let number = event.stamp.number.get();
        let last = self.last.replace(number);
        while self.transitions.front().is_some_and(|t| t.last < number) {
            self.transitions.pop_front();
        }
        let place = match self.transitions.front() {
            Some(t) if t.middle <= number && last.is_none_or(|last| last < t.middle) => {
                Place::Boundary {
                    before: number.saturating_sub(t.first),
                    after: t.last.saturating_sub(number),
                }
            }
            Some(t) if (t.first..=t.last).contains(&number) => Place::Mixed,
            Some(_) | None => Place::Clear,
        };
        Some((event, place))
    }
}

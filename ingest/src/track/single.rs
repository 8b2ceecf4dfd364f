use std::{collections::VecDeque, time::Duration};

use rollcall_index::Embedding;

use super::{TrackRules, motion::Motion};
use crate::{
    exemplar::{ExemplarSet, SeenFace},
    geometry::Rect,
    observe::{FrameNo, MediaTime, ObservedFace, TrackKey, TrackObservation},
    source::FrameStamp,
};

/// Good faces kept unembedded, to find the place of a split with.
const UNVERIFIED_MAX: usize = 12;

/// Boxes kept until a track is worth reporting; then every other one is given up.
const BOXES_MAX: usize = 2000;

/// One face followed through one shot.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) key: TrackKey,
    pub(super) motion: Motion,
    pub(super) hits: u32,
    pub(super) missed: u32,
    pub(super) exemplars: ExemplarSet,
    /// The last pairing was by little overlap, or by appearance.
    pub(super) doubtful: bool,
    start: FrameStamp,
    last: FrameStamp,
    last_rect: Rect,
    /// Boxes not reported yet.
    unsent: VecDeque<ObservedFace>,
    /// Good faces since the last verified one, oldest first.
    unverified: VecDeque<SeenFace>,
    /// A face that disagreed with the exemplars.
    doubt: Option<SeenFace>,
    verified: Option<MediaTime>,
    /// Until another face is embedded for the exemplars' sake.
    collect_after: Duration,
    sent: Option<Sent>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    revision: u32,
    at: MediaTime,
    end: (FrameNo, MediaTime),
}

/// What an embedded face says about its track.
pub(super) enum Verdict {
    /// The same person.
    Agrees,
    /// Perhaps not: the next face decides.
    Doubtful,
    /// Somebody else since this face (an index into the faces given to [`Track::split`]).
    Someone,
}

impl Track {
    pub(super) fn new(face: &SeenFace, start: FrameStamp, rules: &TrackRules) -> Self {
        let mut track = Self {
            key: TrackKey::of(face.stamp.number, face.rank),
            motion: Motion::new(face.face.rect, rules.facerec),
            hits: 0,
            missed: 0,
            exemplars: ExemplarSet::new(rules.exemplars),
            doubtful: false,
            start,
            last: face.stamp,
            last_rect: face.face.rect,
            unsent: VecDeque::new(),
            unverified: VecDeque::new(),
            doubt: None,
            verified: None,
            collect_after: rules.collect_every,
            sent: None,
        };
        track.note(face.clone());
        track
    }

    /// Takes in a detection; `overlap` is how sure the pairing is.
    pub(super) fn take(&mut self, face: SeenFace, doubtful: bool) {
        self.motion.correct(&face.face.rect);
        self.doubtful = doubtful;
        self.note(face);
    }

    fn note(&mut self, face: SeenFace) {
        self.hits += 1;
        self.missed = 0;
        self.last = face.stamp;
        self.last_rect = face.face.rect;
        self.unsent.push_back(face.observed());
        if self.unsent.len() > BOXES_MAX {
            // The first and the newest stay: 2001 boxes, every other from the first.
            let mut keep = false;
            self.unsent.retain(|_| {
                keep = !keep;
                keep
            });
        }
        if face.good.is_some() {
            self.unverified.push_back(face);
            while self.unverified.len() > UNVERIFIED_MAX {
                self.unverified.pop_front();
            }
        }
    }

    pub(super) fn last(&self) -> FrameStamp {
        self.last
    }

    /// Where the face was seen last.
    pub(super) fn last_rect(&self) -> Rect {
        self.last_rect
    }

    pub(super) fn first_frame(&self) -> FrameNo {
        self.unsent.front().map_or(self.start.number, |b| b.frame)
    }

    /// Whether it was missed for too long to be found again by its place.
    pub(super) fn is_lost(&self, now: FrameStamp, rules: &TrackRules) -> bool {
        self.missed > rules.missed_max && now.time.since(self.last.time) > rules.lost_after
    }

    /// Goes on as `other`, of which nothing was reported; returns where its unverified face `at` lies
    /// now.
    pub(super) fn absorb(&mut self, other: Self, at: Option<usize>) -> Option<usize> {
        let from_end = at.map(|at| other.unverified.len() - at);
        self.motion = other.motion;
        self.hits += other.hits;
        self.missed = other.missed;
        self.last = other.last;
        self.last_rect = other.last_rect;
        self.doubtful = true;
        self.unsent.extend(other.unsent);
        self.unverified.extend(other.unverified);
        let extra = self.unverified.len().saturating_sub(UNVERIFIED_MAX);
        self.unverified.drain(..extra);
        from_end.and_then(|back| self.unverified.len().checked_sub(back))
    }

    /// The face to embed now, if any: an index into the unverified faces.
    pub(super) fn wants_embedding(&self, now: FrameStamp, rules: &TrackRules) -> Option<usize> {
        if self.hits < rules.hits_min {
            return None;
        }
        if self.exemplars.is_empty() {
            let qualities = self
                .unverified
                .iter()
                .map(|f| f.good.as_ref().map_or(0.0, |g| g.quality));
            let best = qualities
                .enumerate()
                .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
            return best.map(|(at, _)| at);
        }
        let newest = self.unverified.back().filter(|f| f.stamp == now)?;
        let quality = newest.good.as_ref()?.quality;
        let since = self
            .verified
            .map_or(Duration::MAX, |verified| now.time.since(verified));
        let collects = self.exemplars.might_take(quality) && since >= self.collect_after;
        let due = self.doubt.is_some() || self.doubtful || collects || since >= rules.verify_every;
        due.then(|| self.unverified.len() - 1)
    }

    /// An unverified face, by index.
    pub(super) fn unverified_mut(&mut self, at: usize) -> Option<&mut SeenFace> {
        self.unverified.get_mut(at)
    }

    /// Judges the unverified face at `at`, which is embedded by now.
    pub(super) fn judge(&mut self, at: usize, rules: &TrackRules) -> Verdict {
        let Some((face, embedding)) = self
            .unverified
            .get(at)
            .and_then(|face| Some((face.clone(), face.embedding()?.clone())))
        else {
            return Verdict::Agrees;
        };
        let agrees = self
            .exemplars
            .similarity(&embedding)
            .is_none_or(|cosine| cosine >= rules.disagree_below);
        if agrees {
            // Faces that add nothing are a sign of more of the kind.
            self.collect_after = if self.exemplars.offer(&face) {
                rules.collect_every
            } else {
                self.collect_after * 2
            };
            self.verified = Some(face.stamp.time);
            self.doubt = None;
            self.unverified.drain(..=at);
            return Verdict::Agrees;
        }
        let seconded = self
            .doubt
            .as_ref()
            .and_then(SeenFace::embedding)
            .is_some_and(|doubt| doubt.dot(&embedding).get() >= rules.agree_from);
        if seconded {
            return Verdict::Someone;
        }
        self.doubt = Some(face);
        Verdict::Doubtful
    }

    /// Unverified faces without an embedding, to be embedded before [`Track::split`].
    pub(super) fn unembedded(&mut self) -> impl Iterator<Item = &mut SeenFace> {
        self.unverified
            .iter_mut()
            .filter(|f| f.embedding().is_none())
    }

    /// Cuts the track before the first of its newest faces that looks more like the newcomer than
    /// like the exemplars; returns the newcomer's track. All unverified faces are embedded.
    pub(super) fn split(&mut self, rules: &TrackRules) -> Option<Self> {
        let newcomer = self.unverified.back()?.embedding()?.clone();
        let reported = self.sent.map(|sent| sent.end.0);
        let foreign = |face: &SeenFace| {
            let Some(embedding) = face.embedding() else {
                return false;
            };
            let old = self.exemplars.similarity(embedding).unwrap_or(-1.0);
            let late = reported.is_none_or(|end| face.stamp.number > end);
            late && is_foreign(embedding, &newcomer, old, rules)
        };
        let tail = self
            .unverified
            .iter()
            .rev()
            .take_while(|face| foreign(face))
            .count();
        let at = self.unverified.len() - tail;
        let faces: Vec<SeenFace> = self.unverified.drain(at..).collect();
        let first = faces.first()?;
        let mut other = Self::new(first, first.stamp, rules);
        other.motion = self.motion;
        other.last = self.last;
        other.last_rect = self.last_rect;
        let boxes = self
            .unsent
            .iter()
            .position(|b| b.frame >= first.stamp.number);
        other.unsent = self.unsent.split_off(boxes.unwrap_or(self.unsent.len()));
        other.hits = u32::try_from(other.unsent.len()).unwrap_or(u32::MAX);
        other.unverified.clear();
        for face in &faces {
            other.exemplars.offer(face);
            other.verified = Some(face.stamp.time);
        }
        self.doubt = None;
        Some(other)
    }

    /// What to report of the open track at `now`, if anything.
    pub(super) fn grown(
        &mut self,
        now: FrameStamp,
        rules: &TrackRules,
    ) -> Option<TrackObservation> {
        if self.hits < rules.hits_min || self.exemplars.is_empty() {
            return None;
        }
        let settled = self
            .verified
            .unwrap_or(self.start.time)
            .max(now.time - rules.settle);
        let end = self
            .unsent
            .iter()
            .rev()
            .find(|b| b.time <= settled)
            .map(|b| (b.frame, b.time));
        if let Some(sent) = self.sent {
            let changed = end.is_some() || self.exemplars.has_changes();
            if !changed || now.time.since(sent.at) < rules.grow_every {
                return None;
            }
        }
        let end = end.or(self.sent.map(|sent| sent.end))?;
        Some(self.revise(now, end, false))
    }

    /// The last report of the track, which ends at `end`; `None` if it is not worth one.
    pub(super) fn closed(
        &mut self,
        end: Option<FrameStamp>,
        rules: &TrackRules,
    ) -> Result<TrackObservation, Unreported> {
        if self.hits < rules.hits_min {
            return Err(Unreported::TooShort);
        }
        if self.exemplars.is_empty() {
            return Err(Unreported::NoGoodFace);
        }
        let last_box = self.unsent.back().map(|b| (b.frame, b.time));
        let end = end
            .map(|stamp| (stamp.number, stamp.time))
            .or(last_box)
            .or(self.sent.map(|sent| sent.end))
            .unwrap_or((self.last.number, self.last.time));
        let now = self.last;
        Ok(self.revise(now, end, true))
    }

    fn revise(
        &mut self,
        now: FrameStamp,
        end: (FrameNo, MediaTime),
        closed: bool,
    ) -> TrackObservation {
        let revision = self.sent.map_or(1, |sent| sent.revision + 1);
        let count = self.unsent.iter().take_while(|b| b.frame <= end.0).count();
        let faces = self.unsent.drain(..count).collect();
        let (exemplars, dropped_exemplars) = self.exemplars.take_changes();
        self.sent = Some(Sent {
            revision,
            at: now.time,
            end,
        });
        TrackObservation {
            key: self.key,
            revision,
            closed,
            start: self.start.time,
            end: end.1,
            start_frame: self.start.number,
            end_frame: end.0,
            wall_start: self.start.wall,
            faces,
            exemplars,
            dropped_exemplars,
            attributes: Vec::new(),
        }
    }
}

/// Why a closed track is not reported.
pub(super) enum Unreported {
    /// Seen too few times to be believed.
    TooShort,
    /// No face of it was good enough to embed.
    NoGoodFace,
}

fn is_foreign(face: &Embedding, newcomer: &Embedding, old: f32, rules: &TrackRules) -> bool {
    old < rules.disagree_below || face.dot(newcomer).get() > old
}

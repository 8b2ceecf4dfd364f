use std::collections::VecDeque;

use super::{
    TrackRules, embed_all,
    pairing::{looks, pair, within_reach},
    single::{Track, Unreported, Verdict},
};
use crate::{
    detect::InferError,
    embed::Embedder,
    exemplar::SeenFace,
    observe::{FrameNo, TrackObservation},
    source::FrameStamp,
};

/// Follows all faces of a shot. Observations come out in the order of what happened; within one
/// step closed tracks first, then open ones, each in the order in which they began.
pub struct Tracker {
    rules: TrackRules,
    tracks: Vec<Track>,
    last_frame: Option<FrameStamp>,
    last_detection: Option<FrameStamp>,
    soft_start: Option<SoftStart>,
    without_exemplar: u64,
}

/// While a transition is still going on, faces of the new shot that come into view were there from
/// its middle on.
#[derive(Clone, Copy)]
struct SoftStart {
    from: FrameStamp,
    until: FrameNo,
}

impl Tracker {
    /// A tracker that has seen nothing.
    #[must_use]
    pub fn new(rules: TrackRules) -> Self {
        Self {
            rules,
            tracks: Vec::new(),
            last_frame: None,
            last_detection: None,
            soft_start: None,
            without_exemplar: 0,
        }
    }

    /// Whether nobody is being followed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Tracks believed but never reported, because none of their faces could be embedded.
    #[must_use]
    pub fn without_exemplar(&self) -> u64 {
        self.without_exemplar
    }

    /// Notes a frame that was not searched for faces.
    pub fn pass(&mut self, stamp: FrameStamp) {
        self.last_frame = Some(stamp);
    }

    /// Takes in all faces of a frame.
    ///
    /// Cost: an assignment of tracks to faces, and the embedding of the faces it needs.
    ///
    /// # Errors
    /// [`InferError`] when a face cannot be embedded.
    pub fn detect(
        &mut self,
        stamp: FrameStamp,
        faces: Vec<SeenFace>,
        embedder: &mut dyn Embedder,
    ) -> Result<Vec<TrackObservation>, InferError> {
        let elapsed = self
            .last_detection
            .map_or(0.0, |last| stamp.time.since(last.time).as_secs_f32());
        for track in &mut self.tracks {
            track.motion.predict(elapsed);
        }
        self.last_frame = Some(stamp);
        self.last_detection = Some(stamp);
        self.pair(faces, stamp, embedder)?;
        let mut observations = self.verify(stamp, embedder)?;
        observations.extend(self.close_lost(stamp));
        for track in &mut self.tracks {
            observations.extend(track.grown(stamp, &self.rules));
        }
        Ok(observations)
    }

    /// Ends the shot. Tracks seen in its last detection live to its last frame; so do tracks seen at
    /// or after `grace`, from where on faces were hard to see.
    pub fn close_all(&mut self, grace: Option<FrameNo>) -> Vec<TrackObservation> {
        let last_frame = self.last_frame;
        let tracks: Vec<Track> = self.tracks.drain(..).collect();
        self.last_frame = None;
        self.last_detection = None;
        self.soft_start = None;
        let mut observations = Vec::new();
        for mut track in tracks {
            let there = track.missed == 0 || grace.is_some_and(|from| track.last().number >= from);
            let end = if there { last_frame } else { None };
            observations.extend(self.report_closed(&mut track, end));
        }
        observations
    }

    /// Begins a shot in the middle of a transition that goes on until `until`: faces that come into
    /// view meanwhile count from `from` on.
    pub fn begin_softly(&mut self, from: FrameStamp, until: FrameNo) {
        self.soft_start = Some(SoftStart { from, until });
    }

    fn pair(
        &mut self,
        faces: Vec<SeenFace>,
        stamp: FrameStamp,
        embedder: &mut dyn Embedder,
    ) -> Result<(), InferError> {
        let mut faces = faces;
        let pairs = pair(&self.tracks, &mut faces, stamp, &self.rules, embedder)?;
        let mut faces: Vec<Option<SeenFace>> = faces.into_iter().map(Some).collect();
        for (track, found) in self.tracks.iter_mut().zip(pairs) {
            let face = found.and_then(|found| Some((faces[found.face].take()?, found.doubtful)));
            match face {
                Some((face, doubtful)) => track.take(face, doubtful),
                None => track.missed += 1,
            }
        }
        let soft = self.soft_start.filter(|soft| stamp.number <= soft.until);
        let start = soft.map_or(stamp, |soft| soft.from);
        for face in faces.into_iter().flatten() {
            self.tracks.push(Track::new(&face, start, &self.rules));
        }
        Ok(())
    }

    /// Embeds the faces that tracks want to know more about, and cuts tracks that changed hands.
    fn verify(
        &mut self,
        stamp: FrameStamp,
        embedder: &mut dyn Embedder,
    ) -> Result<Vec<TrackObservation>, InferError> {
        let rules = self.rules;
        let wanted: Vec<Option<usize>> = self
            .tracks
            .iter()
            .map(|track| track.wants_embedding(stamp, &rules))
            .collect();
        let faces = self
            .tracks
            .iter_mut()
            .zip(&wanted)
            .filter_map(|(track, at)| track.unverified_mut((*at)?));
        embed_all(faces, embedder)?;
        let wanted = self.rejoin(wanted, stamp);
        let mut observations = Vec::new();
        for (at, face) in wanted.into_iter().enumerate() {
            let Some(face) = face else { continue };
            match self.tracks[at].judge(face, &rules) {
                Verdict::Agrees | Verdict::Doubtful => {}
                Verdict::Someone => {
                    embed_all(self.tracks[at].unembedded(), embedder)?;
                    if let Some(newcomer) = self.tracks[at].split(&rules) {
                        let mut old = std::mem::replace(&mut self.tracks[at], newcomer);
                        observations.extend(self.report_closed(&mut old, None));
                    }
                }
            }
        }
        Ok(observations)
    }

    /// Tracks whose first embedded face is that of a lost track were its continuation: it takes them
    /// over. Nobody has heard of them yet. Returns what is wanted of the tracks that are left.
    fn rejoin(&mut self, wanted: Vec<Option<usize>>, now: FrameStamp) -> Vec<Option<usize>> {
        let mut wanted: VecDeque<Option<usize>> = wanted.into();
        let mut kept: Vec<Track> = Vec::with_capacity(self.tracks.len());
        let mut kept_wanted = Vec::with_capacity(wanted.len());
        for mut track in self.tracks.drain(..) {
            let at = wanted.pop_front().flatten();
            let face = at.filter(|_| track.exemplars.is_empty());
            let face = face.and_then(|at| track.unverified_mut(at)).cloned();
            let old = face.and_then(|face| lost_self(&kept, &track, &face, now, &self.rules));
            match old {
                Some(old) => kept_wanted[old] = kept[old].absorb(track, at),
                None => {
                    kept.push(track);
                    kept_wanted.push(at);
                }
            }
        }
        self.tracks = kept;
        kept_wanted
    }

    fn close_lost(&mut self, now: FrameStamp) -> Vec<TrackObservation> {
        let rules = self.rules;
        let lost = |track: &Track| {
            let unproven = rules.facerec && track.hits < rules.hits_min && track.missed > 0;
            let remembered = rules.uses_appearance()
                && !track.exemplars.is_empty()
                && now.time.since(track.last().time) <= rules.remember;
            unproven || (track.is_lost(now, &rules) && !remembered)
        };
        let (lost, kept): (Vec<Track>, Vec<Track>) = self.tracks.drain(..).partition(lost);
        self.tracks = kept;
        lost.into_iter()
            .filter_map(|mut track| self.report_closed(&mut track, None))
            .collect()
    }

    fn report_closed(
        &mut self,
        track: &mut Track,
        end: Option<FrameStamp>,
    ) -> Option<TrackObservation> {
        match track.closed(end, &self.rules) {
            Ok(observation) => Some(observation),
            Err(Unreported::TooShort) => None,
            Err(Unreported::NoGoodFace) => {
                self.without_exemplar += 1;
                None
            }
        }
    }
}

/// The lost track, of those before `track`, that it goes on with: `face` of it looks like that.
fn lost_self(
    tracks: &[Track],
    track: &Track,
    face: &SeenFace,
    now: FrameStamp,
    rules: &TrackRules,
) -> Option<usize> {
    let alike = tracks.iter().enumerate().filter_map(|(at, old)| {
        let follows = old.missed > 0 && old.last().number < track.first_frame();
        let cosine = looks(old, face).filter(|cosine| *cosine >= rules.appearance_min)?;
        (follows && within_reach(old, face, now, rules)).then_some((at, cosine))
    });
    alike.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests;

use super::{
    TrackRules, assign,
    single::{Track, Unreported, Verdict},
};
use crate::{
    detect::InferError,
    embed::Embedder,
    exemplar::SeenFace,
    geometry::Rect,
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
        observations.extend(self.close_lost());
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
        let mut faces: Vec<Option<SeenFace>> = faces.into_iter().map(Some).collect();
        let predicted: Vec<Rect> = self.tracks.iter().map(|t| t.motion.rect()).collect();
        let overlap = |track: usize, face: usize| {
            faces[face]
                .as_ref()
                .map_or(0.0, |f: &SeenFace| predicted[track].iou(&f.face.rect))
        };
        let pairs = assign(self.tracks.len(), faces.len(), |track, face| {
            let iou = overlap(track, face);
            (iou >= self.rules.overlap_min).then_some(1.0 - iou)
        });
        let sure: Vec<bool> = pairs
            .iter()
            .enumerate()
            .map(|(track, face)| face.is_some_and(|f| overlap(track, f) >= self.rules.overlap_sure))
            .collect();
        let mut lost = Vec::new();
        for (at, face) in pairs.into_iter().enumerate() {
            match face.and_then(|face| faces[face].take()) {
                Some(face) => self.tracks[at].take(face, !sure[at]),
                None => lost.push(at),
            }
        }
        let lost = self.pair_by_appearance(lost, &mut faces, embedder)?;
        for at in lost {
            self.tracks[at].missed += 1;
        }
        let soft = self.soft_start.filter(|soft| stamp.number <= soft.until);
        let start = soft.map_or(stamp, |soft| soft.from);
        for face in faces.into_iter().flatten() {
            self.tracks.push(Track::new(&face, start, &self.rules));
        }
        Ok(())
    }

    /// Pairs tracks and faces that do not overlap but look alike; returns the tracks still lost.
    fn pair_by_appearance(
        &mut self,
        lost: Vec<usize>,
        faces: &mut [Option<SeenFace>],
        embedder: &mut dyn Embedder,
    ) -> Result<Vec<usize>, InferError> {
        let rules = self.rules;
        let within_reach = |track: &Track, face: &SeenFace| {
            let (rect, reach) = (track.motion.rect(), rules.appearance_reach);
            let size = rect.width.max(rect.height);
            rect.center().distance(face.face.rect.center()) <= reach * size
        };
        let lost: Vec<usize> = lost;
        let candidates: Vec<usize> = (0..faces.len())
            .filter(|at| {
                faces[*at].as_ref().is_some_and(|face| {
                    let known = |t: &usize| {
                        let track = &self.tracks[*t];
                        !track.exemplars.is_empty() && within_reach(track, face)
                    };
                    face.good.is_some() && lost.iter().any(known)
                })
            })
            .collect();
        let unembedded = faces.iter_mut().enumerate();
        let wanted = unembedded
            .filter(|(at, _)| candidates.contains(at))
            .filter_map(|(_, f)| f.as_mut());
        embed_all(wanted, embedder)?;
        let pairs = assign(lost.len(), candidates.len(), |row, column| {
            let track = &self.tracks[lost[row]];
            let face = faces[candidates[column]]
                .as_ref()
                .filter(|face| within_reach(track, face))?;
            let cosine = track.exemplars.similarity(face.embedding()?)?;
            (cosine >= rules.appearance_min).then_some((1.0 - cosine).max(0.0))
        });
        let mut still_lost = Vec::new();
        for (row, column) in pairs.into_iter().enumerate() {
            match column.and_then(|column| faces[candidates[column]].take()) {
                Some(face) => self.tracks[lost[row]].take(face, true),
                None => still_lost.push(lost[row]),
            }
        }
        Ok(still_lost)
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

    fn close_lost(&mut self) -> Vec<TrackObservation> {
        let most = self.rules.missed_max;
        let (lost, kept): (Vec<Track>, Vec<Track>) =
            self.tracks.drain(..).partition(|track| track.missed > most);
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

/// Embeds those of `faces` that are good and have no embedding yet, in one batch.
fn embed_all<'a>(
    faces: impl Iterator<Item = &'a mut SeenFace>,
    embedder: &mut dyn Embedder,
) -> Result<(), InferError> {
    let mut wanted: Vec<_> = faces
        .filter_map(|f| f.good.as_mut())
        .filter(|g| g.embedding.is_none())
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let crops: Vec<_> = wanted.iter().map(|good| good.crop.clone()).collect();
    let embeddings = embedder.embed(&crops)?;
    for (good, embedding) in wanted.iter_mut().zip(embeddings) {
        good.embedding = Some(embedding);
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! Tracks: one face followed through one shot.
//!
//! Boxes are predicted with a Kalman filter and paired with detections by nearness; where that leaves
//! doubt, and where a face was lost, by appearance too (in the family of SORT, Bewley et al., 2016, and
//! `DeepSORT`, Wojke et al., 2017; ours runs at the few detections a second of the schedule and keeps
//! time in seconds). Appearance has the last word: a track whose newest good face disagrees with its
//! exemplars is cut there, so that one track never holds two people.

mod assignment;
mod axis;
mod facerec;
mod motion;
mod pairing;
mod single;
mod tracker;

pub use assignment::assign;
pub(crate) use facerec::SortMotion;
pub use motion::BoxMotion;
pub use tracker::Tracker;

use std::time::Duration;

use crate::{
    detect::InferError,
    embed::Embedder,
    exemplar::{ExemplarRules, SeenFace},
};

/// By which rule faces are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TrackerRule {
    /// By motion and, where that leaves doubt, by what faces look like.
    #[default]
    Rollcall,
    /// With facerec's SORT settings, by motion alone. Meant for faces looked for in every frame.
    Facerec,
}

/// How tracks begin, go on and end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackRules {
    /// Smallest nearness (distance-IoU, -1 to 1; facerec: IoU) of a prediction and a detection that
    /// are paired by place.
    pub nearness_min: f32,
    /// Nearness of a second candidate, below that of the first, that leaves doubt.
    pub rival_within: f32,
    /// Overlap below which the pairing is doubtful, and the face is embedded to be sure.
    pub overlap_sure: f32,
    /// Detections after which a track is believed.
    pub hits_min: u32,
    /// Detections in a row that a track may be missed by...
    pub missed_max: u32,
    /// ... and the time that it may be missed for, if that is longer, to be found again by place.
    pub lost_after: Duration,
    /// How long it may be missed for to be found again by its looks.
    pub remember: Duration,
    /// What a cosine counts beside nearness where both are known.
    pub appearance_weight: f32,
    /// Cosine from which a face in another place continues a track...
    pub appearance_min: f32,
    /// ... if it is no further away than this many face sizes, times 1 and twice the seconds since
    /// the track was seen.
    pub appearance_reach: f32,
    /// Cosine to the nearest exemplar below which a face is somebody else's, if the next one
    /// agrees with it.
    pub disagree_below: f32,
    /// Cosine from which two disagreeing faces agree with each other.
    pub agree_from: f32,
    /// While there is room for exemplars, a face is embedded this often...
    pub collect_every: Duration,
    /// ... and later this often, to see that it is still the same person.
    pub verify_every: Duration,
    /// Boxes older than this no longer wait for a verified face to be reported.
    pub settle: Duration,
    /// An open track is reported at most this often.
    pub grow_every: Duration,
    /// Which faces are kept.
    pub exemplars: ExemplarRules,
    /// Motion is foreseen as facerec does, and a track missed before it is believed is given up.
    pub facerec: bool,
}

impl Default for TrackRules {
    fn default() -> Self {
        Self {
            nearness_min: -0.3,
            rival_within: 0.7,
            overlap_sure: 0.4,
            hits_min: 2,
            missed_max: 3,
            lost_after: Duration::from_secs(1),
            remember: Duration::from_secs(2),
            appearance_weight: 1.0,
            appearance_min: 0.5,
            appearance_reach: 3.0,
            disagree_below: 0.25,
            agree_from: 0.35,
            collect_every: Duration::from_millis(400),
            verify_every: Duration::from_secs(1),
            settle: Duration::from_secs(2),
            grow_every: Duration::from_secs(1),
            exemplars: ExemplarRules::default(),
            facerec: false,
        }
    }
}

impl TrackRules {
    /// The rules that `rule` stands for.
    #[must_use]
    pub fn of(rule: TrackerRule) -> Self {
        match rule {
            TrackerRule::Rollcall => Self::default(),
            TrackerRule::Facerec => Self {
                nearness_min: 0.5,
                overlap_sure: 0.5,
                hits_min: 3,
                missed_max: 5,
                lost_after: Duration::ZERO,
                facerec: true,
                ..Self::default().without_appearance()
            },
        }
    }

    /// The same, but what faces look like joins no tracks and cuts none.
    #[must_use]
    pub fn without_appearance(self) -> Self {
        Self {
            appearance_min: f32::INFINITY,
            disagree_below: f32::NEG_INFINITY,
            ..self
        }
    }

    fn uses_appearance(&self) -> bool {
        self.appearance_min.is_finite()
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

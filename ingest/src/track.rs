//! Tracks: one face followed through one shot.
//!
//! Boxes are predicted with a Kalman filter and paired with detections by overlap, what is left
//! over by appearance (in the family of SORT, Bewley et al., 2016, and `DeepSORT`, Wojke et al., 2017;
//! ours runs at the few detections a second of the schedule and keeps time in seconds). Appearance
//! has the last word: a track whose newest good face disagrees with its exemplars is cut there, so
//! that one track never holds two people.

mod assignment;
mod motion;
mod single;
mod tracker;

pub use assignment::assign;
pub use motion::BoxMotion;
pub use tracker::Tracker;

use std::time::Duration;

use crate::exemplar::ExemplarRules;

/// How tracks begin, go on and end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackRules {
    /// Smallest overlap (IoU) of a prediction and a detection that belong together.
    pub overlap_min: f32,
    /// Overlap below which the pairing is doubtful, and the face is embedded to be sure.
    pub overlap_sure: f32,
    /// Detections after which a track is believed.
    pub hits_min: u32,
    /// Detections in a row that a track may be missed by.
    pub missed_max: u32,
    /// Cosine from which a face without overlap continues a track...
    pub appearance_min: f32,
    /// ... if it is no further away than this many face sizes.
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
}

impl Default for TrackRules {
    fn default() -> Self {
        Self {
            overlap_min: 0.2,
            overlap_sure: 0.4,
            hits_min: 2,
            missed_max: 3,
            appearance_min: 0.5,
            appearance_reach: 3.0,
            disagree_below: 0.25,
            agree_from: 0.35,
            collect_every: Duration::from_millis(400),
            verify_every: Duration::from_secs(1),
            settle: Duration::from_secs(2),
            grow_every: Duration::from_secs(1),
            exemplars: ExemplarRules::default(),
        }
    }
}

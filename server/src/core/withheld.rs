//! Tracks that resemble nobody known and have only poor faces: they open no identity.
//!
//! Such a track is not recorded. It waits here, and its next revision is decided on with all its
//! faces: it is recorded, from its first face on, once it resembles somebody or has a better face.
//! If it never does, nobody hears of it. What waits is lost with the run; a run that is repeated
//! reports it again.

use crate::pb;
use std::collections::HashMap;

/// Tracks of a run that wait at a time. One more opens an identity, poor as it is.
const TRACKS_MAX: usize = 256;
/// Faces kept of a track that waits; then every other one is given up.
const FACES_MAX: usize = 2000;

/// The tracks of a run that wait, by key, each as one observation.
#[derive(Debug, Default)]
pub(super) struct Withheld(HashMap<u64, pb::TrackObservation>);

impl Withheld {
    /// Whether another track may wait.
    pub(super) fn has_room(&self) -> bool {
        self.0.len() < TRACKS_MAX
    }

    /// The last revision of the track that waits; 0 if it does not.
    pub(super) fn revision(&self, key: u64) -> u32 {
        self.0.get(&key).map_or(0, |waits| waits.revision)
    }

    /// `next` and all that waited before it, as one observation. Or what is wrong with it.
    pub(super) fn join(
        &mut self,
        mut next: pb::TrackObservation,
    ) -> Result<pb::TrackObservation, String> {
        let Some(mut waits) = self.0.remove(&next.track_key) else {
            return Ok(next);
        };
        if waits.start != next.start {
            return Err("its start has moved".to_owned());
        }
        for number in next.dropped_exemplars.drain(..) {
            let kept = waits.exemplars.len();
            waits.exemplars.retain(|exemplar| exemplar.number != number);
            if waits.exemplars.len() == kept {
                return Err(format!("it has no exemplar {number} to drop"));
            }
        }
        waits.exemplars.append(&mut next.exemplars);
        waits.faces.append(&mut next.faces);
        if waits.faces.len() > FACES_MAX {
            let mut keep = false;
            waits.faces.retain(|_| {
                keep = !keep;
                keep
            });
        }
        Ok(pb::TrackObservation {
            exemplars: waits.exemplars,
            faces: waits.faces,
            ..next
        })
    }

    /// Lets `track` wait for its next revision; one that is closed has none.
    pub(super) fn keep(&mut self, track: pb::TrackObservation) {
        if !track.closed {
            self.0.insert(track.track_key, track);
        }
    }
}

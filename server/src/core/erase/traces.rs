//! What of an erasure's tracks lies in the log: found by going through its records.

use rollcall_log::record::{BlobRef, Body, ErasureBegun, TrackObserved};
use rollcall_log::{LogReader, ReadError};
use std::collections::HashSet;

/// Payloads of tracks that are erased.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traces {
    /// Embeddings and pictures, those that were given up long ago among them. Of records whose keys are destroyed
    /// already nothing can be found any more.
    pub blobs: Vec<BlobRef>,
    /// Faces of which there were embeddings.
    pub faces: u64,
}

/// The payloads of the tracks that an erasure names. Cost: one read of the log's records from the first about any of
/// them on.
///
/// # Errors
/// [`ReadError`]: the log cannot be read.
pub fn traces(log: &LogReader, begun: &ErasureBegun) -> Result<Traces, ReadError> {
    let tracks: HashSet<u64> = begun.track_ids.iter().copied().collect();
    let mut found = Traces::default();
    found.blobs.clone_from(&begun.blobs);
    if tracks.is_empty() {
        return Ok(found);
    }
    for record in log.read_after(first(begun)) {
        let record = record?;
        match &record.body {
            Some(Body::TrackObserved(track)) => found.of_track(track, &tracks),
            Some(Body::Edited(edited)) => {
                let photos = edited.enrolled.iter();
                photos.for_each(|photo| found.of_track(photo, &tracks));
            }
            Some(Body::ExemplarsReembedded(batch)) => {
                let own = batch.exemplars.iter();
                let own = own.filter(|exemplar| tracks.contains(&exemplar.track_id));
                found
                    .blobs
                    .extend(own.filter_map(|it| it.embedding.clone()));
            }
            Some(
                Body::CollectionOpened(_)
                | Body::SourceAdded(_)
                | Body::SourceStateChanged(_)
                | Body::SourceProgress(_)
                | Body::TrackRetracted(_)
                | Body::IdentityRenamed(_)
                | Body::SourceRunStarted(_)
                | Body::AlertRuleChanged(_)
                | Body::AlertRaised(_)
                | Body::AlertDelivered(_)
                | Body::ReviewProposed(_)
                | Body::MigrationStarted(_)
                | Body::MigrationSwitched(_)
                | Body::MigrationEnded(_)
                | Body::ErasureBegun(_)
                | Body::ErasureEnded(_),
            )
            | None => {}
        }
    }
    Ok(found)
}

/// The record before the first about what is erased.
fn first(begun: &ErasureBegun) -> u64 {
    begun.first_sequence.saturating_sub(1)
}

impl Traces {
    fn of_track(&mut self, track: &TrackObserved, tracks: &HashSet<u64>) {
        if !tracks.contains(&track.track_id) {
            return;
        }
        for exemplar in &track.exemplars {
            self.faces += u64::from(exemplar.embedding.is_some());
            let blobs = [&exemplar.embedding, &exemplar.crop, &exemplar.loose_crop];
            self.blobs.extend(blobs.into_iter().flatten().cloned());
        }
    }
}

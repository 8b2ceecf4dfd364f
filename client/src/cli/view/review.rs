//! What waits for people to decide, in JSON.
use rollcall_client::pb;
use serde::Serialize;

use super::Identity;
use crate::cli::format::enum_name;

#[derive(Debug, Serialize)]
pub(crate) struct ReviewItem {
    sequence: u64,
    kind: String,
    identity: Option<Identity>,
    candidates: Vec<Candidate>,
    track_ids: Vec<u64>,
    cosine: Option<f32>,
}

/// Somebody whom it may be.
#[derive(Debug, Serialize)]
struct Candidate {
    identity: Option<Identity>,
    cosine: f32,
}

impl From<&pb::ReviewItem> for ReviewItem {
    fn from(from: &pb::ReviewItem) -> Self {
        let candidates = from.candidates.iter().map(|candidate| Candidate {
            identity: candidate.identity.as_ref().map(Identity::from),
            cosine: candidate.cosine,
        });
        Self {
            sequence: from.sequence,
            kind: enum_name(from.kind().as_str_name(), "REVIEW_KIND_"),
            identity: from.identity.as_ref().map(Identity::from),
            candidates: candidates.collect(),
            track_ids: from.track_ids.clone(),
            cosine: from.cosine,
        }
    }
}

//! An erasure as JSON.
use rollcall_client::pb;
use serde::Serialize;

use super::{id, moment, text};
use crate::cli::format::enum_name;

#[derive(Debug, Serialize)]
pub(crate) struct Erasure {
    id: u64,
    scope: String,
    state: String,
    begun: Option<String>,
    ended: Option<String>,
    end_sequence: Option<u64>,
    author: Option<String>,
    reason: Option<String>,
    identity_ids: Vec<u64>,
    identities: u64,
    tracks: u64,
    source_id: Option<u64>,
    from: Option<String>,
    to: Option<String>,
    faces: u64,
    blobs: u64,
    blob_bytes: u64,
    keys: u64,
    receipt: Option<String>,
}

impl From<&pb::Erasure> for Erasure {
    fn from(from: &pb::Erasure) -> Self {
        Self {
            id: from.id,
            scope: enum_name(from.scope().as_str_name(), "ERASURE_SCOPE_"),
            state: enum_name(from.state().as_str_name(), "ERASURE_STATE_"),
            begun: moment(from.begin_time.as_ref()),
            ended: moment(from.end_time.as_ref()),
            end_sequence: id(from.end_sequence),
            author: text(&from.author),
            reason: text(&from.reason),
            identity_ids: from.identity_ids.clone(),
            identities: from.identity_count,
            tracks: from.track_count,
            source_id: id(from.source_id),
            from: moment(from.from.as_ref()),
            to: moment(from.to.as_ref()),
            faces: from.face_count,
            blobs: from.blob_count,
            blob_bytes: from.blob_bytes,
            keys: from.key_count,
            receipt: text(&from.receipt),
        }
    }
}

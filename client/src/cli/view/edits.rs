//! Edits, facts and explanations in JSON.
use std::collections::BTreeMap;

use rollcall_client::pb;
use serde::Serialize;

use super::{Identity, Sighting, id, moment, sorted, text};
use crate::cli::format::enum_name;

/// What people said about an identity.
#[derive(Debug, Serialize)]
struct Profile {
    name: Option<String>,
    external_id: Option<String>,
    state: String,
    confirmed: bool,
    metadata: BTreeMap<String, String>,
}

impl From<&pb::Profile> for Profile {
    fn from(from: &pb::Profile) -> Self {
        Self {
            name: text(&from.name),
            external_id: text(&from.external_id),
            state: enum_name(from.state().as_str_name(), "IDENTITY_STATE_"),
            confirmed: from.confirmed,
            metadata: sorted(&from.metadata),
        }
    }
}

#[derive(Debug, Serialize)]
struct ProfileChange {
    identity_id: u64,
    created: bool,
    before: Option<Profile>,
    after: Option<Profile>,
}

#[derive(Debug, Serialize)]
struct TrackMove {
    from_identity_id: u64,
    into_identity_id: u64,
    tracks: u64,
    track_ids: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct RedirectChange {
    identity_id: u64,
    before: Option<u64>,
    after: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Edit {
    id: u64,
    time: Option<String>,
    author: String,
    reason: Option<String>,
    kind: String,
    undoes: Option<u64>,
    undone_by: Option<u64>,
    profiles: Vec<ProfileChange>,
    moves: Vec<TrackMove>,
    redirects: Vec<RedirectChange>,
    facts: Vec<FactChange>,
    facts_changed: u64,
    left_track_ids: Vec<u64>,
    left_tracks: u64,
    parts_left: Vec<PartLeft>,
    photos: Vec<PhotosChange>,
}

/// Photos of a person, under the tracks that they are kept as.
#[derive(Debug, Serialize)]
struct PhotosChange {
    identity_id: u64,
    enrolled_track_ids: Vec<u64>,
    withdrawn_track_ids: Vec<u64>,
}

/// What people said about who is who.
#[derive(Debug, Serialize)]
pub(crate) struct Fact {
    id: u64,
    kind: String,
    track_id: Option<u64>,
    identity_id: Option<u64>,
    other_track_id: Option<u64>,
    other_identity_id: Option<u64>,
    edit: Option<u64>,
    current_identity_id: Option<u64>,
    other_current_identity_id: Option<u64>,
}

impl From<&pb::Fact> for Fact {
    fn from(from: &pb::Fact) -> Self {
        Self {
            id: from.id,
            kind: enum_name(from.kind().as_str_name(), "FACT_KIND_"),
            track_id: id(from.track_id),
            identity_id: id(from.identity_id),
            other_track_id: id(from.other_track_id),
            other_identity_id: id(from.other_identity_id),
            edit: id(from.sequence),
            current_identity_id: id(from.current_identity_id),
            other_current_identity_id: id(from.other_current_identity_id),
        }
    }
}

#[derive(Debug, Serialize)]
struct FactChange {
    fact: Option<Fact>,
    holds: bool,
}

/// What an undo left as it was.
#[derive(Debug, Serialize)]
struct PartLeft {
    identity_id: u64,
    part: String,
}

impl From<&pb::Edit> for Edit {
    fn from(from: &pb::Edit) -> Self {
        let profiles = from.profiles.iter().map(|change| ProfileChange {
            identity_id: change.identity_id,
            created: change.created,
            before: change.before.as_ref().map(Profile::from),
            after: change.after.as_ref().map(Profile::from),
        });
        let moves = from.moves.iter().map(|moved| TrackMove {
            from_identity_id: moved.from_identity_id,
            into_identity_id: moved.into_identity_id,
            tracks: moved.track_count,
            track_ids: moved.track_ids.clone(),
        });
        let redirects = from.redirects.iter().map(|change| RedirectChange {
            identity_id: change.identity_id,
            before: id(change.before),
            after: id(change.after),
        });
        Self {
            id: from.sequence,
            time: moment(from.time.as_ref()),
            author: from.author.clone(),
            reason: text(&from.reason),
            kind: enum_name(from.kind().as_str_name(), "EDIT_KIND_"),
            undoes: id(from.undoes),
            undone_by: id(from.undone_by),
            profiles: profiles.collect(),
            moves: moves.collect(),
            redirects: redirects.collect(),
            facts: from.facts.iter().map(fact_change).collect(),
            facts_changed: from.fact_count,
            left_track_ids: from.left_track_ids.clone(),
            left_tracks: from.left_track_count,
            parts_left: from.parts_left.iter().map(part_left).collect(),
            photos: from.photos.iter().map(photos_change).collect(),
        }
    }
}

fn fact_change(from: &pb::FactChange) -> FactChange {
    FactChange {
        fact: from.fact.as_ref().map(Fact::from),
        holds: from.holds,
    }
}

fn photos_change(from: &pb::PhotosChanged) -> PhotosChange {
    PhotosChange {
        identity_id: from.identity_id,
        enrolled_track_ids: from.enrolled_track_ids.clone(),
        withdrawn_track_ids: from.withdrawn_track_ids.clone(),
    }
}

fn part_left(from: &pb::PartLeft) -> PartLeft {
    PartLeft {
        identity_id: from.identity_id,
        part: from.part.clone(),
    }
}

/// Why a track belongs to its identity.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    sighting: Option<Sighting>,
    decisions: Vec<Decision>,
    edits: Vec<Edit>,
    facts: Vec<Fact>,
    cosine: Option<f32>,
    nearest: Vec<Near>,
    sequence: u64,
}

#[derive(Debug, Serialize)]
struct Decision {
    sequence: u64,
    time: Option<String>,
    kind: String,
    identity_id: u64,
    previous_identity_id: Option<u64>,
    cosine: f32,
    runner_up_identity_id: Option<u64>,
    runner_up_cosine: Option<f32>,
    reason: String,
    absorbs_previous: bool,
}

#[derive(Debug, Serialize)]
struct Near {
    identity: Option<Identity>,
    cosine: f32,
    barred: bool,
}

impl From<&pb::TrackExplanation> for Explanation {
    fn from(from: &pb::TrackExplanation) -> Self {
        let decisions = from.decisions.iter().map(|decision| Decision {
            sequence: decision.sequence,
            time: moment(decision.time.as_ref()),
            kind: enum_name(decision.kind().as_str_name(), "DECISION_KIND_"),
            identity_id: decision.identity_id,
            previous_identity_id: id(decision.previous_identity_id),
            cosine: decision.cosine,
            runner_up_identity_id: id(decision.runner_up_identity_id),
            runner_up_cosine: id(decision.runner_up_identity_id).map(|_| decision.runner_up_cosine),
            reason: decision.reason.clone(),
            absorbs_previous: decision.absorbs_previous,
        });
        let nearest = from.nearest.iter().map(|near| Near {
            identity: near.identity.as_ref().map(Identity::from),
            cosine: near.cosine,
            barred: near.barred,
        });
        Self {
            sighting: from.sighting.as_ref().map(Sighting::from),
            decisions: decisions.collect(),
            edits: from.edits.iter().map(Edit::from).collect(),
            facts: from.facts.iter().map(Fact::from).collect(),
            cosine: from.cosine,
            nearest: nearest.collect(),
            sequence: from.sequence,
        }
    }
}

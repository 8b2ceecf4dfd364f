//! Why a track belongs to its identity.

use super::edit::told;
use super::identity::Identities;
use crate::core::{Core, EditPlace, View};
use crate::error::ApiError;
use crate::pb;
use crate::time::timestamp;
use rollcall_index::{Effort, Embedding, Filter, IdentityId, Similarity, TrackId};
use rollcall_log::record::{Body, Edited, Record};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Other identities that are named.
const NEAREST: usize = 5;
/// Edits of one identity that are looked through for the track, newest first.
const EDITS_READ_MAX: u32 = 1000;

impl Identities {
    pub(crate) async fn explain(&self, track: u64) -> Result<pb::TrackExplanation, ApiError> {
        // What is read of the catalog after the view may be newer, never older.
        let view = self.0.core.view();
        let read = move |core: &Core| recorded(core, track);
        let (mut explanation, barred) = self.0.blocking(read).await?;
        explanation.sequence = view.sequence;
        let core = self.0.core.clone();
        let place = self.0.pool.admit()?;
        let measure = move || {
            measured(&core, &view, &mut explanation, &barred)?;
            Ok(explanation)
        };
        let explained = self.0.pool.run(measure).await;
        drop(place);
        explained
    }
}

/// What catalog and log know, and the identities that the track is barred from.
fn recorded(core: &Core, id: u64) -> Result<(pb::TrackExplanation, HashSet<u64>), ApiError> {
    let sighting = core.catalog().track(id)?;
    let sighting = sighting.ok_or(ApiError::TrackNotFound { id })?;
    let (facts, barred) = core.catalog().facts_around(id, sighting.identity_id)?;
    let decisions = decisions(core, id)?;
    let edits = edits(core, id, &decisions, sighting.identity_id)?;
    let explanation = pb::TrackExplanation {
        sighting: Some(sighting),
        decisions,
        edits,
        facts,
        ..pb::TrackExplanation::default()
    };
    Ok((explanation, barred))
}

/// How similar the track is to its identity and to others.
fn measured(
    core: &Core,
    view: &View,
    explanation: &mut pb::TrackExplanation,
    barred: &HashSet<u64>,
) -> Result<(), ApiError> {
    let Some(sighting) = &explanation.sighting else {
        return Ok(());
    };
    let track = TrackId::new(sighting.track_id);
    let own = IdentityId::new(sighting.identity_id);
    let faces = view.index.track_faces(track);
    let faces: Vec<(Embedding, f32)> = faces.map(|face| (face.embedding(), face.quality)).collect();
    if let Some(mean) = Embedding::mean(faces.iter().map(|(face, quality)| (face, *quality))) {
        let cosine = view.index.identity_similarity(&mean, own, Some(track))?;
        explanation.cosine = cosine.map(Similarity::get);
        explanation.nearest = nearest(core, view, &mean, (track, own), barred)?;
    }
    Ok(())
}

/// The decisions that gave the track an identity, oldest first.
fn decisions(core: &Core, track: u64) -> Result<Vec<pb::TrackDecision>, ApiError> {
    let mut told = Vec::new();
    for sequence in core.catalog().decisions(track)? {
        let record = core.log().record(sequence)?;
        told.extend(record.as_ref().and_then(decision));
    }
    Ok(told)
}

fn decision(record: &Record) -> Option<pb::TrackDecision> {
    let Some(Body::TrackObserved(track)) = &record.body else {
        return None;
    };
    let decision = track.decision.clone()?;
    Some(pb::TrackDecision {
        sequence: record.sequence,
        time: Some(timestamp(record.time_us)),
        // The numbers are the same by design.
        kind: decision.kind,
        identity_id: decision.identity_id,
        previous_identity_id: decision.previous_identity_id,
        cosine: decision.similarity,
        runner_up_identity_id: decision.runner_up_identity_id,
        runner_up_cosine: decision.runner_up_similarity,
        reason: decision.reason,
        absorbs_previous: decision.absorbs_previous,
    })
}

/// The edits that moved the track or stated something about it, oldest first: found among those of all
/// identities that it ever had.
fn edits(
    core: &Core,
    track: u64,
    decisions: &[pb::TrackDecision],
    now: u64,
) -> Result<Vec<pb::Edit>, ApiError> {
    let mut found: BTreeMap<u64, EditPlace> = BTreeMap::new();
    let mut seen = HashSet::new();
    let had = decisions.iter().map(|decision| decision.identity_id);
    let mut ahead: BTreeSet<u64> = had.chain([now]).collect();
    while let Some(identity) = ahead.pop_first() {
        if !seen.insert(identity) {
            continue;
        }
        let places = core
            .catalog()
            .edits(Some(identity), u64::MAX, EDITS_READ_MAX)?;
        for place in places {
            let record = core.log().record(place.sequence)?;
            let Some(Body::Edited(edited)) = record.and_then(|record| record.body) else {
                continue;
            };
            let mut moves = edited.moves.iter();
            let moved = moves.find(|moved| moved.track_ids.contains(&track));
            let both = moved.map(|moved| [moved.from_identity_id, moved.into_identity_id]);
            ahead.extend(both.into_iter().flatten());
            if moved.is_some() || states(&edited, track) || enrols(&edited, track) {
                found.insert(place.sequence, place);
            }
        }
    }
    found.into_values().map(|place| told(core, place)).collect()
}

fn states(edited: &Edited, track: u64) -> bool {
    let mut facts = edited.facts.iter().filter_map(|change| change.fact);
    facts.any(|fact| fact.track_id == track || fact.other_track_id == track)
}

/// Whether the track is a photo that the edit enrolled, or took away.
fn enrols(edited: &Edited, track: u64) -> bool {
    let enrolled = edited.enrolled.iter().map(|photo| photo.track_id);
    let retracted = edited.retracted.iter().map(|gone| gone.track_id);
    enrolled.chain(retracted).any(|photo| photo == track)
}

fn nearest(
    core: &Core,
    view: &View,
    mean: &Embedding,
    (track, own): (TrackId, IdentityId),
    barred: &HashSet<u64>,
) -> Result<Vec<pb::NearIdentity>, ApiError> {
    let filter = Filter {
        exclude_track: Some(track),
        ..Filter::default()
    };
    let most = NEAREST + 1;
    let (hits, _) = view
        .index
        .who(mean, most, Similarity::LEAST, &filter, Effort::Normal)?;
    let others = hits.iter().filter(|hit| hit.identity != own).take(NEAREST);
    let mut told = Vec::new();
    for hit in others {
        told.push(pb::NearIdentity {
            identity: core.catalog().identity(hit.identity.get())?,
            cosine: hit.similarity.get(),
            barred: barred.contains(&hit.identity.get()),
        });
    }
    Ok(told)
}

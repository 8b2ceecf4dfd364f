//! Edits in the API's words: as events, and as history.

use crate::pb::{self, watch_event::Event};
use crate::time::timestamp;
use rollcall_log::record::{
    Body, Edited, Fact, FactKind, IdentityState, Profile, ProfileChange, Record,
};
use std::collections::{BTreeMap, HashSet};

/// Tracks that are named one by one at most.
const TRACKS_SHOWN: usize = 1000;
/// Of one move, and facts of one edit: as many as a page of edits has room for.
const DETAILS_SHOWN: usize = 100;

/// The events of an edit, in order: who came into being or is back, what was said, which tracks went where,
/// who was absorbed, which photos were enrolled or withdrawn, which facts hold or no longer do.
pub(crate) fn events(edited: &Edited) -> Vec<Event> {
    let mut events = Vec::new();
    let created = edited.profiles.iter().filter(|change| change.created);
    events.extend(created.map(|change| {
        Event::IdentityCreated(pb::IdentityCreated {
            identity_id: change.identity_id,
            ..pb::IdentityCreated::default()
        })
    }));
    let restored = edited.redirects.iter().filter(|change| change.after == 0);
    events.extend(restored.map(|change| {
        Event::IdentityRestored(pb::IdentityRestored {
            identity_id: change.identity_id,
            from_identity_id: change.before,
        })
    }));
    events.extend(edited.profiles.iter().map(|change| match change.erased {
        // A tombstone: whoever comes so late is to forget.
        true => Event::Erased(pb::Erased {
            identity_ids: vec![change.identity_id],
            ..pb::Erased::default()
        }),
        false => changed(change),
    }));
    events.extend(edited.moves.iter().map(|moved| {
        let tracks = &moved.track_ids;
        Event::TracksMoved(pb::TracksMoved {
            from_identity_id: moved.from_identity_id,
            to_identity_id: moved.into_identity_id,
            track_ids: first(tracks, TRACKS_SHOWN),
            track_count: count(tracks),
        })
    }));
    let absorbed = edited.redirects.iter().filter(|change| change.after != 0);
    events.extend(absorbed.map(|change| {
        Event::IdentityAbsorbed(pb::IdentityAbsorbed {
            identity_id: change.identity_id,
            into_identity_id: change.after,
        })
    }));
    events.extend(photos(edited).into_iter().map(Event::PhotosChanged));
    events.extend(fact_events(edited));
    events
}

/// The photos of an edit, person by person.
fn photos(edited: &Edited) -> Vec<pb::PhotosChanged> {
    let mut people: BTreeMap<u64, pb::PhotosChanged> = BTreeMap::new();
    let mut of = |identity_id: u64, tell: &dyn Fn(&mut pb::PhotosChanged)| {
        let told = people.entry(identity_id).or_insert(pb::PhotosChanged {
            identity_id,
            ..pb::PhotosChanged::default()
        });
        tell(told);
    };
    for photo in &edited.enrolled {
        let identity = photo.decision.as_ref().map_or(0, |it| it.identity_id);
        of(identity, &|told| {
            told.enrolled_track_ids.push(photo.track_id)
        });
    }
    for gone in &edited.retracted {
        let track = gone.track_id;
        of(gone.identity_id, &|told| {
            told.withdrawn_track_ids.push(track)
        });
    }
    people.into_values().collect()
}

/// That a track stays where it is put is part of its move, and no event of its own.
fn fact_events(edited: &Edited) -> impl Iterator<Item = Event> + '_ {
    let moved = edited.moves.iter().flat_map(|moved| &moved.track_ids);
    let moved: HashSet<u64> = match edited.facts.is_empty() {
        true => HashSet::new(),
        false => moved.copied().collect(),
    };
    let changes = edited.facts.iter();
    changes.filter_map(move |change| {
        let changed = change.fact?;
        let told = changed.kind() == FactKind::Placed && moved.contains(&changed.track_id);
        (!told).then(|| {
            Event::FactChanged(pb::FactChanged {
                fact: Some(fact(&changed)),
                holds: change.holds,
            })
        })
    })
}

/// A fact as its record has it.
pub(crate) fn fact(fact: &Fact) -> pb::Fact {
    pb::Fact {
        id: fact.fact_id,
        // The numbers are the same by design.
        kind: fact.kind,
        track_id: fact.track_id,
        identity_id: fact.identity_id,
        other_track_id: fact.other_track_id,
        other_identity_id: fact.other_identity_id,
        ..pb::Fact::default()
    }
}

fn changed(change: &ProfileChange) -> Event {
    let after = change.after.clone().unwrap_or_default();
    Event::IdentityChanged(pb::IdentityChanged {
        identity_id: change.identity_id,
        state: state(after.state()).into(),
        name: after.name,
        external_id: after.external_id,
        confirmed: after.confirmed,
        metadata: after.metadata.into_iter().collect(),
    })
}

/// An edit's record as history tells it; `None` if it is no edit's. `undone_by` is not in the record.
pub(crate) fn edit(record: &Record, undone_by: Option<u64>) -> Option<pb::Edit> {
    let told = pb::Edit {
        sequence: record.sequence,
        time: Some(timestamp(record.time_us)),
        author: record.author.clone(),
        undone_by: undone_by.unwrap_or(0),
        ..pb::Edit::default()
    };
    match record.body.as_ref()? {
        Body::Edited(edited) => Some(effects(edited, told)),
        Body::IdentityRenamed(rename) => Some(pb::Edit {
            kind: pb::EditKind::Update.into(),
            profiles: vec![pb::ProfileChange {
                identity_id: rename.identity_id,
                after: Some(pb::Profile {
                    name: rename.name.clone(),
                    ..pb::Profile::default()
                }),
                ..pb::ProfileChange::default()
            }],
            ..told
        }),
        Body::CollectionOpened(_)
        | Body::SourceAdded(_)
        | Body::SourceStateChanged(_)
        | Body::SourceProgress(_)
        | Body::TrackObserved(_)
        | Body::TrackRetracted(_)
        | Body::SourceRunStarted(_)
        | Body::AlertRuleChanged(_)
        | Body::AlertRaised(_)
        | Body::AlertDelivered(_)
        | Body::ErasureBegun(_)
        | Body::ErasureEnded(_)
        | Body::ReviewProposed(_)
        | Body::MigrationStarted(_)
        | Body::ExemplarsReembedded(_)
        | Body::MigrationSwitched(_)
        | Body::MigrationEnded(_) => None,
    }
}

fn effects(edited: &Edited, told: pb::Edit) -> pb::Edit {
    let profiles = edited.profiles.iter().map(|change| pb::ProfileChange {
        identity_id: change.identity_id,
        created: change.created,
        before: change.before.clone().map(profile),
        after: change.after.clone().map(profile),
    });
    let moves = edited.moves.iter().map(|moved| pb::TrackMove {
        from_identity_id: moved.from_identity_id,
        into_identity_id: moved.into_identity_id,
        track_count: count(&moved.track_ids),
        track_ids: first(&moved.track_ids, DETAILS_SHOWN),
    });
    let facts = edited.facts.iter().take(DETAILS_SHOWN);
    let facts = facts.map(|change| pb::FactChange {
        fact: change.fact.as_ref().map(fact),
        holds: change.holds,
    });
    let parts_left = edited.parts_left.iter().map(|left| pb::PartLeft {
        identity_id: left.identity_id,
        part: left.part.clone(),
    });
    let redirects = edited.redirects.iter().map(|change| pb::RedirectChange {
        identity_id: change.identity_id,
        before: change.before,
        after: change.after,
    });
    let left = &edited.left_track_ids;
    pb::Edit {
        // The numbers are the same by design.
        kind: edited.kind,
        reason: edited.reason.clone(),
        undoes: edited.undoes,
        profiles: profiles.collect(),
        moves: moves.collect(),
        redirects: redirects.collect(),
        left_track_ids: first(left, TRACKS_SHOWN),
        left_track_count: count(left),
        facts: facts.collect(),
        fact_count: count(&edited.facts),
        parts_left: parts_left.collect(),
        photos: photos(edited),
        ..told
    }
}

fn profile(profile: Profile) -> pb::Profile {
    pb::Profile {
        state: state(profile.state()).into(),
        name: profile.name,
        external_id: profile.external_id,
        confirmed: profile.confirmed,
        metadata: profile.metadata.into_iter().collect(),
    }
}

fn state(state: IdentityState) -> pb::IdentityState {
    match state {
        IdentityState::Unspecified | IdentityState::Active => pb::IdentityState::Active,
        IdentityState::Hidden => pb::IdentityState::Hidden,
        IdentityState::Erased => pb::IdentityState::Erased,
    }
}

fn first(tracks: &[u64], most: usize) -> Vec<u64> {
    tracks.iter().copied().take(most).collect()
}

fn count<T>(all: &[T]) -> u64 {
    u64::try_from(all.len()).unwrap_or(u64::MAX)
}

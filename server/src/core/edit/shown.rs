//! Edits in the API's words: as events, and as history.

use crate::pb::{self, watch_event::Event};
use crate::time::timestamp;
use rollcall_log::record::{Body, Edited, IdentityState, Profile, ProfileChange, Record};

/// Tracks that are named one by one at most.
const TRACKS_SHOWN: usize = 1000;

/// The events of an edit, in order: who came into being or is back, what was said, which tracks went where,
/// who was absorbed.
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
    events.extend(edited.profiles.iter().map(changed));
    events.extend(edited.moves.iter().map(|moved| {
        let tracks = &moved.track_ids;
        Event::TracksMoved(pb::TracksMoved {
            from_identity_id: moved.from_identity_id,
            to_identity_id: moved.into_identity_id,
            track_ids: tracks.iter().copied().take(TRACKS_SHOWN).collect(),
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
    events
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
        left_track_ids: left.iter().copied().take(TRACKS_SHOWN).collect(),
        left_track_count: count(left),
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

fn count(tracks: &[u64]) -> u64 {
    u64::try_from(tracks.len()).unwrap_or(u64::MAX)
}

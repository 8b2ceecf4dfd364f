//! What creating, updating and merging come to. Plans are made from the catalog alone.

use super::super::apply::Truth;
use super::super::catalog::{CatalogWriter, etag, name_key};
use super::super::command::WriteError;
use super::super::writer::Refusal;
use super::{METADATA_KEYS_MAX, ProfileUpdate};
use rollcall_log::record::{
    Edited, IdentityState, Profile, ProfileChange, RedirectChange, TracksMoved,
};
use std::collections::BTreeMap;

pub(super) fn create(
    truth: &Truth,
    update: &ProfileUpdate,
    allow_duplicate_name: bool,
) -> Result<Edited, Refusal> {
    let planned = Edited {
        profiles: vec![ProfileChange {
            identity_id: truth.catalog.ids().identity + 1,
            created: true,
            before: None,
            after: Some(updated(&blank(), update)?),
            ..ProfileChange::default()
        }],
        ..Edited::default()
    };
    check_unique(&truth.catalog, &planned, allow_duplicate_name)?;
    Ok(planned)
}

pub(super) fn update(
    truth: &Truth,
    (asked, wanted): (u64, Option<String>),
    update: &ProfileUpdate,
    allow_duplicate_name: bool,
) -> Result<Edited, Refusal> {
    let (id, before) = editable(&truth.catalog, asked, wanted)?;
    let after = updated(&before, update)?;
    let planned = Edited {
        profiles: vec![changed(id, before, after)],
        ..Edited::default()
    };
    check_unique(&truth.catalog, &planned, allow_duplicate_name)?;
    Ok(planned)
}

pub(super) fn merge(
    truth: &Truth,
    (asked_from, from_etag): (u64, Option<String>),
    (asked_into, into_etag): (u64, Option<String>),
) -> Result<Edited, Refusal> {
    let (from, given) = editable(&truth.catalog, asked_from, from_etag)?;
    let (into, before) = editable(&truth.catalog, asked_into, into_etag)?;
    if from == into {
        return Err(WriteError::MergeWithItself {
            from: asked_from,
            into: asked_into,
            id: into,
        }
        .into());
    }
    let mut after = before.clone();
    if after.name.is_empty() {
        after.name = given.name;
    }
    if after.external_id.is_empty() {
        after.external_id = given.external_id;
    }
    for (key, value) in given.metadata {
        after.metadata.entry(key).or_insert(value);
    }
    check_metadata(&after)?;
    let mut profiles = Vec::new();
    if after != before {
        profiles.push(changed(into, before, after));
    }
    Ok(Edited {
        profiles,
        moves: Vec::from_iter(moved(from, into, truth.catalog.tracks_of(from)?, true)),
        redirects: vec![RedirectChange {
            identity_id: from,
            before: 0,
            after: into,
        }],
        ..Edited::default()
    })
}

/// The identity that `asked` resolves to, with what is said about it; if it may be edited, and has the etag.
pub(super) fn editable(
    catalog: &CatalogWriter,
    asked: u64,
    wanted: Option<String>,
) -> Result<(u64, Profile), Refusal> {
    let missing = WriteError::IdentityNotFound { id: asked };
    let facts = catalog.identity(asked)?.ok_or_else(|| missing.clone())?;
    let id = facts.id;
    let profile = catalog.profile(id)?.ok_or(missing)?;
    refuse_erased(id, &profile)?;
    let current = etag(facts.edit_sequence);
    if wanted.is_some_and(|wanted| wanted != current) {
        return Err(WriteError::EtagMismatch { id, current }.into());
    }
    Ok((id, profile))
}

pub(super) fn refuse_erased(id: u64, profile: &Profile) -> Result<(), WriteError> {
    match profile.state() {
        IdentityState::Erased => Err(WriteError::IdentityErased { id }),
        IdentityState::Unspecified | IdentityState::Active | IdentityState::Hidden => Ok(()),
    }
}

/// Tracks that change hands, if there are any; `all`: the first has no others.
pub(super) fn moved(from: u64, into: u64, track_ids: Vec<u64>, all: bool) -> Option<TracksMoved> {
    (!track_ids.is_empty()).then_some(TracksMoved {
        from_identity_id: from,
        into_identity_id: into,
        track_ids,
        all,
    })
}

/// Nothing is said about somebody.
pub(super) fn blank() -> Profile {
    Profile {
        state: IdentityState::Active.into(),
        ..Profile::default()
    }
}

pub(super) fn changed(identity_id: u64, before: Profile, after: Profile) -> ProfileChange {
    ProfileChange {
        identity_id,
        created: false,
        before: Some(before),
        after: Some(after),
        ..ProfileChange::default()
    }
}

fn updated(before: &Profile, update: &ProfileUpdate) -> Result<Profile, WriteError> {
    let mut after = before.clone();
    if let Some(name) = &update.name {
        after.name.clone_from(name);
    }
    if let Some(external_id) = &update.external_id {
        after.external_id.clone_from(external_id);
    }
    if let Some(hidden) = update.hidden {
        after.set_state(if hidden {
            IdentityState::Hidden
        } else {
            IdentityState::Active
        });
    }
    if let Some(confirmed) = update.confirmed {
        after.confirmed = confirmed;
    }
    for key in &update.remove_metadata {
        after.metadata.remove(key);
    }
    after.metadata.extend(update.set_metadata.clone());
    check_metadata(&after)?;
    Ok(after)
}

fn check_metadata(profile: &Profile) -> Result<(), WriteError> {
    let keys = profile.metadata.len();
    if keys <= METADATA_KEYS_MAX {
        return Ok(());
    }
    let what = format!("the identity would have {keys} metadata keys; {METADATA_KEYS_MAX} may be");
    Err(WriteError::EditTooLarge { what })
}

/// What an identity will be, and what of that is new or back again.
struct Given {
    profile: Profile,
    name: bool,
    external_id: bool,
}

/// Refuses an edit after which two identities that are not absorbed would have the same external id, or,
/// unless that is allowed, the same name; if it gives or brings back one of the two.
pub(super) fn check_unique(
    catalog: &CatalogWriter,
    planned: &Edited,
    allow_duplicate_name: bool,
) -> Result<(), Refusal> {
    let given = given(catalog, planned)?;
    // Whoever the edit changes is compared as it will be, anybody else as the catalog has it.
    let other = |id: u64, found: Vec<u64>, same: &dyn Fn(&Profile) -> bool| {
        let beside = given
            .iter()
            .find(|(other, it)| **other != id && same(&it.profile));
        let found = found.into_iter().find(|other| !given.contains_key(other));
        found.or(beside.map(|(other, _)| *other))
    };
    for (id, it) in &given {
        let Profile {
            name, external_id, ..
        } = &it.profile;
        if it.name && !name.is_empty() && !allow_duplicate_name {
            let same = |other: &Profile| name_key(&other.name) == name_key(name);
            if let Some(id) = other(*id, catalog.named(name)?, &same) {
                let name = name.clone();
                return Err(WriteError::NameTaken { name, id }.into());
            }
        }
        if it.external_id && !external_id.is_empty() {
            let same = |other: &Profile| &other.external_id == external_id;
            if let Some(id) = other(*id, catalog.known_as(external_id)?, &same) {
                let external_id = external_id.clone();
                return Err(WriteError::ExternalIdTaken { external_id, id }.into());
            }
        }
    }
    Ok(())
}

/// Everybody whom the edit changes or brings back; whom it has absorbed has no name of its own.
fn given(catalog: &CatalogWriter, planned: &Edited) -> Result<BTreeMap<u64, Given>, Refusal> {
    let mut given = BTreeMap::new();
    for change in &planned.profiles {
        let before = change.before.clone().unwrap_or_default();
        let profile = change.after.clone().unwrap_or_default();
        let (name, external_id) = (
            name_key(&profile.name) != name_key(&before.name),
            profile.external_id != before.external_id,
        );
        let it = Given {
            profile,
            name,
            external_id,
        };
        given.insert(change.identity_id, it);
    }
    for change in &planned.redirects {
        let id = change.identity_id;
        let profile = match given.remove(&id) {
            Some(it) => it.profile,
            None => catalog.profile(id)?.unwrap_or_default(),
        };
        let back = change.after == 0;
        let it = Given {
            profile: if back { profile } else { Profile::default() },
            name: back,
            external_id: back,
        };
        given.insert(id, it);
    }
    Ok(given)
}

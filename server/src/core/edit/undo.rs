//! Taking an edit back. The rule: whatever the edit left must still be as it left it, and becomes what it was
//! before; else the undo is refused, with what stands in the way.

use super::super::apply::{Failure, Truth};
use super::super::command::WriteError;
use super::super::writer::Refusal;
use super::plan::{blank, changed, check_unique, moved, refuse_erased};
use rollcall_log::record::{
    Body, EditKind, Edited, IdentityRenamed, Profile, ProfileChange, RedirectChange, TracksMoved,
};
use std::collections::BTreeSet;

/// Edits in the way that are named at most.
const EDITS_IN_WAY_MAX: usize = 100;

pub(super) fn plan(
    truth: &Truth,
    sequence: u64,
    allow_duplicate_name: bool,
) -> Result<Edited, Refusal> {
    let place = truth.catalog.edit(sequence)?;
    let place = place.ok_or(WriteError::EditNotFound { sequence })?;
    if let Some(by) = place.undone_by {
        return Err(WriteError::AlreadyUndone { sequence, by }.into());
    }
    let edit = as_edited(truth, sequence)?.ok_or(WriteError::EditNotFound { sequence })?;
    let mut undoing = Undoing {
        truth,
        sequence,
        planned: Edited {
            undoes: sequence,
            ..Edited::default()
        },
        way: Vec::new(),
        identities: BTreeSet::new(),
    };
    for change in &edit.profiles {
        undoing.profile(change)?;
    }
    for change in &edit.redirects {
        undoing.redirect(change)?;
    }
    for made in &edit.moves {
        undoing.tracks(made)?;
    }
    let planned = undoing.finish()?;
    check_unique(&truth.catalog, &planned, allow_duplicate_name)?;
    Ok(planned)
}

struct Undoing<'a> {
    truth: &'a Truth,
    /// The edit that is taken back.
    sequence: u64,
    planned: Edited,
    /// What stands in the way, for people.
    way: Vec<String>,
    /// Whose edits since then stand in the way.
    identities: BTreeSet<u64>,
}

impl Undoing<'_> {
    fn blocked(&mut self, identity: u64, what: String) {
        self.way.push(what);
        self.identities.insert(identity);
    }

    fn profile(&mut self, change: &ProfileChange) -> Result<(), Refusal> {
        let (id, catalog) = (change.identity_id, &self.truth.catalog);
        let now = catalog.profile(id)?.unwrap_or_default();
        refuse_erased(id, &now)?;
        let before = change.before.clone().unwrap_or_else(blank);
        let after = change.after.clone().unwrap_or_default();
        if let Some(into) = catalog.absorber(id)? {
            // What was said of it may have become what is said of the other.
            self.blocked(id, part_of(id, into));
            return Ok(());
        }
        if change.created {
            let used = catalog.has_absorbed(id)? || !catalog.tracks_of(id)?.is_empty();
            if used {
                self.blocked(id, format!("identity {id} has been merged since"));
                return Ok(());
            }
        }
        match reverted(&now, &before, &after) {
            Ok(restored) => self.planned.profiles.push(changed(id, now, restored)),
            Err(field) => {
                let what = format!("the {field} of identity {id} has been changed since");
                self.blocked(id, what);
            }
        }
        Ok(())
    }

    fn redirect(&mut self, change: &RedirectChange) -> Result<(), Refusal> {
        let (id, catalog) = (change.identity_id, &self.truth.catalog);
        refuse_erased(id, &catalog.profile(id)?.unwrap_or_default())?;
        let now = catalog.absorber(id)?.unwrap_or(0);
        if now != change.after {
            self.blocked(
                id,
                format!("identity {id} has been merged or restored since"),
            );
            return Ok(());
        }
        // The absorber, old or new, must be somebody still: else its tracks are a third one's by now.
        let absorber = change.before.max(change.after);
        refuse_erased(absorber, &catalog.profile(absorber)?.unwrap_or_default())?;
        if let Some(third) = catalog.absorber(absorber)? {
            self.blocked(absorber, part_of(absorber, third));
            return Ok(());
        }
        if change.before != 0 {
            // Whoever is absorbed again is absorbed whole.
            let track_ids = catalog.tracks_of(id)?;
            let again = moved(id, change.before, track_ids, true);
            self.planned.moves.extend(again);
        }
        self.planned.redirects.push(RedirectChange {
            identity_id: id,
            before: now,
            after: change.before,
        });
        Ok(())
    }

    fn tracks(&mut self, made: &TracksMoved) -> Result<(), Refusal> {
        let (from, into) = (made.from_identity_id, made.into_identity_id);
        let mut redirects = self.planned.redirects.iter();
        if redirects.any(|change| change.identity_id == into && change.after == from) {
            return Ok(());
        }
        let catalog = &self.truth.catalog;
        let here: BTreeSet<u64> = catalog.tracks_of(into)?.into_iter().collect();
        // What the machine has moved on or retracted since is not ours to move.
        let back = made.track_ids.iter().filter(|track| here.contains(track));
        let back: Vec<u64> = back.copied().collect();
        let since = catalog.joined_since(into, self.sequence)?;
        let left = since
            .into_iter()
            .filter(|track| back.binary_search(track).is_err());
        self.planned.left_track_ids.extend(left);
        self.planned.moves.extend(moved(into, from, back, false));
        Ok(())
    }

    fn finish(self) -> Result<Edited, Refusal> {
        if self.way.is_empty() {
            return Ok(self.planned);
        }
        let mut edits = BTreeSet::new();
        for identity in self.identities {
            edits.extend(self.truth.catalog.edits_since(identity, self.sequence)?);
        }
        Err(WriteError::BuiltUpon {
            sequence: self.sequence,
            what: self.way.join("; "),
            edits: edits.into_iter().take(EDITS_IN_WAY_MAX).collect(),
        }
        .into())
    }
}

fn part_of(id: u64, into: u64) -> String {
    format!("identity {id} has become a part of {into} since")
}

/// `now` with everything that differs between `before` and `after` as it was before; or which field is no
/// longer as it was after.
fn reverted(now: &Profile, before: &Profile, after: &Profile) -> Result<Profile, &'static str> {
    let mut restored = now.clone();
    field(&mut restored.name, &before.name, &after.name).ok_or("name")?;
    let (old, new) = (&before.external_id, &after.external_id);
    field(&mut restored.external_id, old, new).ok_or("external id")?;
    field(&mut restored.confirmed, &before.confirmed, &after.confirmed).ok_or("confirmation")?;
    let (old, new) = (before.state(), after.state());
    let mut state = now.state();
    field(&mut state, &old, &new).ok_or("state")?;
    restored.set_state(state);
    for key in before.metadata.keys().chain(after.metadata.keys()) {
        let mut value = now.metadata.get(key).cloned();
        let (old, new) = (before.metadata.get(key), after.metadata.get(key));
        field(&mut value, &old.cloned(), &new.cloned()).ok_or("metadata")?;
        match value {
            Some(value) => restored.metadata.insert(key.clone(), value),
            None => restored.metadata.remove(key),
        };
    }
    Ok(restored)
}

/// Sets a value back, if it was changed; `None` if it was, and is no longer what it was changed to.
fn field<T: PartialEq + Clone>(now: &mut T, before: &T, after: &T) -> Option<()> {
    if before == after {
        return Some(());
    }
    if now != after {
        return None;
    }
    now.clone_from(before);
    Some(())
}

/// The edit at a record: its effects, those of a name given in the words of old told in today's.
fn as_edited(truth: &Truth, sequence: u64) -> Result<Option<Edited>, Failure> {
    let record = truth.record(sequence)?;
    Ok(match record.and_then(|record| record.body) {
        Some(Body::Edited(edited)) => Some(edited),
        Some(Body::IdentityRenamed(rename)) => {
            let before = name_before(truth, rename.identity_id, sequence)?;
            Some(as_update(rename, before))
        }
        Some(
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
            | Body::MigrationEnded(_),
        )
        | None => None,
    })
}

fn as_update(rename: IdentityRenamed, before: String) -> Edited {
    let named = |name| Profile {
        name,
        ..Profile::default()
    };
    Edited {
        kind: EditKind::Update.into(),
        profiles: vec![changed(
            rename.identity_id,
            named(before),
            named(rename.name),
        )],
        ..Edited::default()
    }
}

/// The name that an identity bore before record `sequence`, by the newest edit that said so.
fn name_before(truth: &Truth, identity: u64, sequence: u64) -> Result<String, Failure> {
    for earlier in truth.catalog.edits_before(identity, sequence)? {
        let body = truth.record(earlier)?.and_then(|record| record.body);
        if let Some(Body::IdentityRenamed(rename)) = &body {
            return Ok(rename.name.clone());
        }
        if let Some(Body::Edited(edited)) = &body {
            let mut profiles = edited.profiles.iter().rev();
            if let Some(change) = profiles.find(|change| change.identity_id == identity) {
                return Ok(change.after.clone().unwrap_or_default().name);
            }
        }
    }
    Ok(String::new())
}

//! Tracks that people say are somebody else's.

use super::super::catalog::CatalogWriter;
use super::super::command::WriteError;
use super::super::fact::Side;
use super::super::writer::Refusal;
use super::draft::{Draft, owners};
use super::plan::{check_unique, editable};
use super::{MOVED_MAX, Target};
use rollcall_log::record::{Edited, FactKind};

/// The tracks become the target's, and stay there.
pub(super) fn tracks(
    catalog: &CatalogWriter,
    track_ids: &[u64],
    into: Target,
) -> Result<Edited, Refusal> {
    let owners = owners(catalog, track_ids, (1, MOVED_MAX))?;
    let mut draft = Draft::new(catalog);
    let (into, allow_duplicate_name) = match into {
        Target::Identity { id, etag } => (editable(catalog, id, etag)?.0, false),
        Target::New {
            name,
            allow_duplicate_name,
        } => (draft.open(name), allow_duplicate_name),
    };
    for (track, from) in owners {
        if from == into {
            return Err(WriteError::MoveIntoItself { track, id: into }.into());
        }
        draft.take(track, from, into)?;
        let both = [Side::Track(track), Side::Identity(into)];
        draft.state(FactKind::Placed, both);
    }
    let planned = draft.finish();
    check_unique(catalog, &planned, allow_duplicate_name)?;
    Ok(planned)
}

/// The same with tracks of one identity, into a new one.
pub(super) fn split(
    catalog: &CatalogWriter,
    (asked, wanted): (u64, Option<String>),
    track_ids: &[u64],
    into: Target,
) -> Result<Edited, Refusal> {
    let (id, _) = editable(catalog, asked, wanted)?;
    let owners = owners(catalog, track_ids, (1, MOVED_MAX))?;
    let elsewhere = owners.into_iter().find(|(_, owner)| *owner != id);
    if let Some((track, owner)) = elsewhere {
        return Err(WriteError::TrackElsewhere { track, owner, id }.into());
    }
    tracks(catalog, track_ids, into)
}

//! What an edit changes in the index.

use super::super::marks::mark;
use rollcall_index::{IdentityId, Operation, State, TrackId};
use rollcall_log::record::{Edited, TracksMoved};

/// The operations of an edit on an index that has everything before it. `hidden` says who is hidden after
/// it. The index knows only tracks and identities that have a face, and refuses to hear of others.
pub(crate) fn operations(
    state: &State,
    edited: &Edited,
    hidden: &dyn Fn(u64) -> bool,
) -> Vec<Operation> {
    let changed = edited.profiles.iter().map(|change| change.identity_id);
    let mut all: Vec<Operation> = changed
        .filter(|id| is_here(state, *id))
        .map(|id| mark(id, hidden(id)))
        .collect();
    for moved in &edited.moves {
        let moves = move_tracks(state, moved);
        if !moves.is_empty() {
            all.extend(moves);
            // It may be here since just now, or have taken the other's mark.
            let into = moved.into_identity_id;
            all.push(mark(into, hidden(into)));
        }
    }
    all
}

fn is_here(state: &State, identity: u64) -> bool {
    state.identity_state(IdentityId::new(identity)).is_some()
}

fn move_tracks(state: &State, moved: &TracksMoved) -> Vec<Operation> {
    let identity = IdentityId::new(moved.into_identity_id);
    if moved.all {
        let merge = Operation::Merge {
            from: IdentityId::new(moved.from_identity_id),
            into: identity,
        };
        return Vec::from_iter(is_here(state, moved.from_identity_id).then_some(merge));
    }
    let tracks = moved.track_ids.iter().copied().map(TrackId::new);
    tracks
        .filter(|track| state.track_faces(*track).next().is_some())
        .map(|track| Operation::Assign { track, identity })
        .collect()
}

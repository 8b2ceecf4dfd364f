//! What an edit changes in the index.

use super::super::apply::observed;
use super::super::marks::{Marks, mark};
use rollcall_index::{Embedding, IdentityId, Operation, State, TrackId};
use rollcall_log::record::{Edited, TracksMoved};

/// The operations of an edit on an index that has everything before it. `embeddings` are those of the photos
/// that it enrols, in their order; none, if they are of another contract. `marks` says what an identity's are after it. The
/// index knows only tracks and identities that have a face, and refuses to hear of others.
pub(crate) fn operations(
    state: &State,
    edited: &Edited,
    embeddings: Vec<Embedding>,
    marks: &dyn Fn(u64) -> Marks,
) -> Vec<Operation> {
    let changed = edited.profiles.iter().map(|change| change.identity_id);
    let mut all: Vec<Operation> = changed
        .filter(|id| is_here(state, *id))
        .map(|id| mark(id, marks(id)))
        .collect();
    for moved in &edited.moves {
        let moves = move_tracks(state, moved);
        if !moves.is_empty() {
            all.extend(moves);
            // It may be here since just now, or have taken the other's mark.
            let into = moved.into_identity_id;
            all.push(mark(into, marks(into)));
        }
    }
    for gone in &edited.retracted {
        let faces = state.track_faces(TrackId::new(gone.track_id));
        all.extend(faces.map(|face| Operation::Remove { face: face.face }));
    }
    let mut embeddings = embeddings.into_iter();
    for photo in &edited.enrolled {
        let own = embeddings.by_ref().take(photo.exemplars.len()).collect();
        all.extend(observed(state, photo, own, marks));
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

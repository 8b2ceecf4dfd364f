//! What the index knows of hidden people: a mark on the identity, which is lost with its last face.

use rollcall_index::{IdentityId, IdentityState, IdentityStates, Operation};

/// The mark of a hidden identity; any other has the default one.
const HIDDEN: IdentityState = match IdentityState::new(1) {
    Some(state) => state,
    None => unreachable!(),
};

/// Says of an identity that has a face whether it is hidden.
pub(crate) fn mark(identity: u64, hidden: bool) -> Operation {
    Operation::Mark {
        identity: IdentityId::new(identity),
        state: if hidden {
            HIDDEN
        } else {
            IdentityState::default()
        },
    }
}

/// Everybody who is not hidden.
pub(crate) fn shown() -> IdentityStates {
    let all = (0..IdentityState::COUNT).filter_map(IdentityState::new);
    all.filter(|state| *state != HIDDEN).collect()
}

/// Whether the mark is that of a hidden identity.
pub(crate) fn is_hidden(state: IdentityState) -> bool {
    state == HIDDEN
}

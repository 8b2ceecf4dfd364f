//! What the index knows of what people said of somebody: marks on the identity, which are lost with its last face.

use rollcall_index::{IdentityId, IdentityState, IdentityStates, Operation};
use rollcall_log::record::{self, Profile};

const HIDDEN: u8 = 1;
const NAMED: u8 = 2;

/// The marks of an identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Left out of searches unless asked for.
    pub(crate) hidden: bool,
    /// Bears a name.
    pub(crate) named: bool,
}

impl Marks {
    /// Of an identity of which that is said.
    pub(crate) fn of(profile: &Profile) -> Self {
        Self {
            hidden: profile.state() == record::IdentityState::Hidden,
            named: !profile.name.is_empty(),
        }
    }

    /// As the index has them.
    pub(crate) fn in_index(state: IdentityState) -> Self {
        Self {
            hidden: state.get() & HIDDEN != 0,
            named: state.get() & NAMED != 0,
        }
    }

    fn state(self) -> IdentityState {
        let bits = [(self.hidden, HIDDEN), (self.named, NAMED)];
        let set = bits.into_iter().filter(|(is, _)| *is);
        IdentityState::new(set.map(|(_, bit)| bit).sum()).unwrap_or_default()
    }
}

/// Says of an identity that has a face what its marks are.
pub(crate) fn mark(identity: u64, marks: Marks) -> Operation {
    Operation::Mark {
        identity: IdentityId::new(identity),
        state: marks.state(),
    }
}

/// Those with marks that `taken` takes.
pub(crate) fn states(taken: impl Fn(Marks) -> bool) -> IdentityStates {
    let all = (0..IdentityState::COUNT).filter_map(IdentityState::new);
    all.filter(|state| taken(Marks::in_index(*state))).collect()
}

//! What an identity is to the writer: a small number that the index keeps and filters by.

/// The writer's word for what an identity is (unnamed, named, to be ignored, ...): a number from 0
/// to 7, to which the writer gives meaning. 0, the default, is that of a new identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityState(u8);

impl IdentityState {
    /// States there are.
    pub const COUNT: u8 = 8;

    /// The state with this number, if there is one.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < Self::COUNT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number this state was made from.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// A set of states.
///
/// ```
/// use rollcall_index::{IdentityState, IdentityStates};
///
/// let named = IdentityState::new(1).expect("below 8");
/// let states = IdentityStates::from_iter([named]);
/// assert!(states.contains(named) && !states.contains(IdentityState::default()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdentityStates(u8);

impl IdentityStates {
    /// Whether the state is one of them.
    #[must_use]
    pub const fn contains(self, state: IdentityState) -> bool {
        self.0 & 1 << state.0 != 0
    }
}

impl FromIterator<IdentityState> for IdentityStates {
    fn from_iter<States: IntoIterator<Item = IdentityState>>(states: States) -> Self {
        let bits = states.into_iter().map(|state| 1 << state.0);
        Self(bits.fold(0, |all, bit| all | bit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_states_it_was_made_of() {
        let all: Vec<_> = (0..=u8::MAX).filter_map(IdentityState::new).collect();
        assert_eq!(all.len(), usize::from(IdentityState::COUNT));
        for one in &all {
            let set = IdentityStates::from_iter([*one]);
            assert!(
                all.iter()
                    .all(|other| set.contains(*other) == (other == one))
            );
        }
    }
}

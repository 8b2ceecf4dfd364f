//! Which faces count in a search.

use crate::{
    faces::Face,
    id::{SourceId, TrackId},
    identity_state::IdentityStates,
    people::{Identity, source_bit},
};

/// Which faces count in a search. The default is: all of them.
///
/// A filter by `states` alone costs a look at the identity and none at its faces; one by sources,
/// times or attributes looks at an identity's faces, if what is kept of them as a whole (from when
/// to when they were seen, 64 bits for their sources, the attributes that any of them has) leaves
/// open whether one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only faces seen in one of these sources; an empty list lets nothing through.
    pub sources: Option<Vec<SourceId>>,
    /// Only faces seen at this moment or later, Unix microseconds.
    pub seen_after_us: Option<i64>,
    /// Only faces seen before this moment, Unix microseconds.
    pub seen_before_us: Option<i64>,
    /// Only faces that have all of these attributes.
    pub attributes_all: u16,
    /// Only faces that have none of these attributes.
    pub attributes_none: u16,
    /// Only faces of identities in one of these states; an empty set lets nothing through.
    pub states: Option<IdentityStates>,
    /// As if this track had never been seen: its faces are no hits, and representatives are
    /// computed without them.
    pub exclude_track: Option<TrackId>,
}

/// A filter, prepared for a search.
pub(crate) struct Sieve<'a> {
    filter: &'a Filter,
    /// The bits of the sources that are let through.
    sources: u64,
    /// There may be identities of which no face counts.
    narrows: bool,
}

impl<'a> Sieve<'a> {
    pub(crate) fn new(filter: &'a Filter) -> Self {
        let bits = |sources: &Vec<SourceId>| {
            let bits = sources.iter().map(|source| source_bit(*source));
            bits.fold(0, |all, bit| all | bit)
        };
        Self {
            filter,
            sources: filter.sources.as_ref().map_or(u64::MAX, bits),
            narrows: filter.sources.is_some()
                || filter.seen_after_us.is_some()
                || filter.seen_before_us.is_some()
                || filter.attributes_all | filter.attributes_none != 0
                || filter.states.is_some(),
        }
    }

    /// Whether a face counts, if its identity's state does.
    pub(crate) fn passes(&self, face: &Face) -> bool {
        let filter = self.filter;
        let source = SourceId::new(face.source);
        filter.sources.as_ref().is_none_or(|sources| {
            self.sources & source_bit(source) != 0 && sources.contains(&source)
        }) && filter
            .seen_after_us
            .is_none_or(|after| face.seen_us >= after)
            && filter
                .seen_before_us
                .is_none_or(|before| face.seen_us < before)
            && face.attributes & filter.attributes_all == filter.attributes_all
            && face.attributes & filter.attributes_none == 0
            && filter.exclude_track != Some(TrackId::new(face.track))
    }

    /// Whether an identity's state matters.
    pub(crate) fn by_state(&self) -> bool {
        self.filter.states.is_some()
    }

    /// Whether there may be identities of which no face counts.
    pub(crate) fn narrows(&self) -> bool {
        self.narrows
    }

    /// Whether every face counts.
    pub(crate) fn is_open(&self) -> bool {
        !self.narrows() && self.filter.exclude_track.is_none()
    }

    /// The track that is left out.
    pub(crate) fn excluded_track(&self) -> Option<TrackId> {
        self.filter.exclude_track
    }

    /// Whether the identity's state counts.
    pub(crate) fn takes_state(&self, identity: &Identity) -> bool {
        self.filter
            .states
            .is_none_or(|states| states.contains(identity.state()))
    }

    /// False only if no face of the identity counts, by what is known of them as a whole.
    pub(crate) fn may_pass(&self, identity: &Identity) -> bool {
        let filter = self.filter;
        self.takes_state(identity)
            && self.sources & identity.sources != 0
            && filter
                .seen_after_us
                .is_none_or(|after| identity.seen_last_us >= after)
            && filter
                .seen_before_us
                .is_none_or(|before| identity.seen_first_us < before)
            && identity.attributes & filter.attributes_all == filter.attributes_all
    }

    /// True only if every face of the identity counts, if its state does, but for those of the
    /// excluded track; by what is known of them as a whole.
    pub(crate) fn passes_all(&self, identity: &Identity) -> bool {
        let filter = self.filter;
        filter.sources.is_none()
            && filter
                .seen_after_us
                .is_none_or(|after| identity.seen_first_us >= after)
            && filter
                .seen_before_us
                .is_none_or(|before| identity.seen_last_us < before)
            && filter.attributes_all == 0
            && identity.attributes & filter.attributes_none == 0
    }
}

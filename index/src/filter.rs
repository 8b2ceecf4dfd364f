//! Which faces count in a search.

use crate::{
    faces::Face,
    id::{SourceId, TrackId},
    people::{Identity, source_bit},
};

/// Which faces count in a search. The default is: all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only faces seen in one of these sources; an empty list lets nothing through.
    pub sources: Option<Vec<SourceId>>,
    /// Only faces seen at this moment or later, Unix microseconds.
    pub seen_after_us: Option<i64>,
    /// Only faces seen before this moment, Unix microseconds.
    pub seen_before_us: Option<i64>,
    /// As if this track had never been seen: its faces are no hits, and representatives are
    /// computed without them.
    pub exclude_track: Option<TrackId>,
}

impl Filter {
    /// Whether a face counts.
    pub(crate) fn passes(&self, face: &Face) -> bool {
        self.sources
            .as_ref()
            .is_none_or(|sources| sources.contains(&SourceId::new(face.source)))
            && self.seen_after_us.is_none_or(|after| face.seen_us >= after)
            && self
                .seen_before_us
                .is_none_or(|before| face.seen_us < before)
            && self.exclude_track != Some(TrackId::new(face.track))
    }

    /// Whether faces have to be looked at one by one to know which identities count.
    pub(crate) fn by_face(&self) -> bool {
        self.sources.is_some() || self.seen_after_us.is_some() || self.seen_before_us.is_some()
    }

    /// Whether every face counts.
    pub(crate) fn is_open(&self) -> bool {
        !self.by_face() && self.exclude_track.is_none()
    }

    /// False only if no face of the identity counts, by what is known of them as a whole.
    pub(crate) fn may_pass(&self, identity: &Identity) -> bool {
        let bits =
            |sources: &Vec<SourceId>| sources.iter().map(|s| source_bit(*s)).fold(0, |a, b| a | b);
        let after = self.seen_after_us.unwrap_or(i64::MIN);
        let before = self.seen_before_us;
        identity.may_pass(self.sources.as_ref().map(bits), after, before)
    }
}

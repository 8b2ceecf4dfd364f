//! Facts: what people say about who is who, for ever or until they take it back.
//!
//! A fact is about two sides, each a track or an identity. Of a track, the identity that it has counts; of an
//! identity, the one that it resolves to. So facts are read anew with every merge, move and undo, and none of
//! these has to change them.

use rollcall_log::record::{Fact, FactKind};

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    Track(u64),
    Identity(u64),
}

impl Side {
    fn of(track: u64, identity: u64) -> Self {
        if track == 0 {
            Self::Identity(identity)
        } else {
            Self::Track(track)
        }
    }

    /// The two columns or fields that hold it: track and identity, one of them 0.
    fn parts(self) -> (u64, u64) {
        match self {
            Self::Track(track) => (track, 0),
            Self::Identity(identity) => (0, identity),
        }
    }
}

/// A fact that holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stated {
    pub(crate) fact: Fact,
    /// The record by which it holds; 0 while that is being made.
    pub(crate) sequence: u64,
}

impl Stated {
    /// The fact in words, with its number and its edit.
    pub(crate) fn in_words(&self) -> String {
        let words = in_words(&self.fact);
        match self.sequence {
            0 => words,
            sequence => format!("{words} (fact {}, edit {sequence})", self.fact.fact_id),
        }
    }
}

pub(crate) fn fact(fact_id: u64, kind: FactKind, sides: [Side; 2]) -> Fact {
    let [(track_id, identity_id), (other_track_id, other_identity_id)] = sides.map(Side::parts);
    Fact {
        fact_id,
        kind: kind.into(),
        track_id,
        identity_id,
        other_track_id,
        other_identity_id,
    }
}

pub(crate) fn sides(fact: &Fact) -> [Side; 2] {
    [
        Side::of(fact.track_id, fact.identity_id),
        Side::of(fact.other_track_id, fact.other_identity_id),
    ]
}

/// The side that is not `side`, if the other one is.
pub(crate) fn opposite(fact: &Fact, side: Side) -> Option<Side> {
    let [one, other] = sides(fact);
    match side {
        side if side == one => Some(other),
        side if side == other => Some(one),
        Side::Track(_) | Side::Identity(_) => None,
    }
}

/// Whether a fact of this kind is kept where its sides stand for these identities. A side that is gone keeps any.
pub(crate) fn is_kept(kind: FactKind, one: Option<u64>, other: Option<u64>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return true;
    };
    match kind {
        FactKind::OnePerson | FactKind::Placed => one == other,
        FactKind::TwoPeople => one != other,
        FactKind::Unspecified => true,
    }
}

pub(crate) fn in_words(fact: &Fact) -> String {
    let [one, other] = sides(fact);
    match (fact.kind(), one, other) {
        (FactKind::OnePerson, Side::Track(one), Side::Track(other)) => {
            format!("tracks {one} and {other} are one person's")
        }
        (FactKind::TwoPeople, Side::Identity(one), Side::Identity(other)) => {
            format!("identities {one} and {other} are two people")
        }
        (FactKind::TwoPeople, Side::Track(one), Side::Track(other)) => {
            format!("tracks {one} and {other} are two people's")
        }
        (FactKind::TwoPeople, Side::Track(track), Side::Identity(identity)) => {
            format!("track {track} is not identity {identity}")
        }
        (FactKind::Placed, Side::Track(track), Side::Identity(identity)) => {
            format!("track {track} was put into identity {identity}")
        }
        (
            FactKind::OnePerson | FactKind::TwoPeople | FactKind::Placed | FactKind::Unspecified,
            one,
            other,
        ) => format!("{one:?} and {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_that_is_gone_contradicts_nothing() {
        use FactKind::{OnePerson, Placed, TwoPeople};
        for kind in [OnePerson, Placed, TwoPeople] {
            assert!(is_kept(kind, None, Some(1)) && is_kept(kind, Some(1), None));
        }
        for (kind, same) in [(OnePerson, true), (Placed, true), (TwoPeople, false)] {
            assert_eq!(is_kept(kind, Some(1), Some(1)), same);
            assert_eq!(is_kept(kind, Some(1), Some(2)), !same);
        }
    }

    #[test]
    fn sides_come_back() {
        let both = [Side::Track(3), Side::Identity(4)];
        let said = fact(1, FactKind::TwoPeople, both);
        assert_eq!(sides(&said), both);
        assert_eq!(opposite(&said, both[0]), Some(both[1]));
        assert_eq!(opposite(&said, both[1]), Some(both[0]));
        assert_eq!(opposite(&said, Side::Track(4)), None);
        assert_eq!(in_words(&said), "track 3 is not identity 4");
    }
}

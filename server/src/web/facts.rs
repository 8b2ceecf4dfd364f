//! What people say about who is who, in the words of a page.

use crate::core::{Core, FactQuery};
use crate::error::ApiError;
use crate::pb::{self, FactKind};

/// A fact as a page lists it: who, what, whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FactLine {
    pub(super) id: u64,
    /// The edit by which it holds.
    pub(super) sequence: u64,
    pub(super) one: Link,
    pub(super) between: &'static str,
    pub(super) other: Link,
    pub(super) after: &'static str,
}

/// A track or a person, and the page that tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) to: String,
    pub(super) text: String,
}

impl Link {
    fn of(track: u64, identity: u64) -> Self {
        if track == 0 {
            Self {
                to: format!("/people/{identity}"),
                text: format!("person {identity}"),
            }
        } else {
            Self {
                to: format!("/tracks/{track}"),
                text: format!("track {track}"),
            }
        }
    }
}

impl FactLine {
    pub(super) fn of(fact: &pb::Fact) -> Self {
        let tracks = (fact.track_id != 0, fact.other_track_id != 0);
        let (between, after) = match (fact.kind(), tracks) {
            (FactKind::OnePerson, _) => ("and", " are one person\u{2019}s"),
            (FactKind::TwoPeople, (false, false)) => ("and", " are two people"),
            (FactKind::TwoPeople, (true, true)) => ("and", " are two people\u{2019}s"),
            (FactKind::TwoPeople, (true, false) | (false, true)) => ("is not", ""),
            (FactKind::Placed, _) => ("was put into", ""),
            (FactKind::Unspecified, _) => ("and", ""),
        };
        Self {
            id: fact.id,
            sequence: fact.sequence,
            one: Link::of(fact.track_id, fact.identity_id),
            between,
            other: Link::of(fact.other_track_id, fact.other_identity_id),
            after,
        }
    }
}

/// A fact as a part of a sentence.
pub(super) fn in_words(fact: &pb::Fact) -> String {
    let line = FactLine::of(fact);
    let (one, other) = (line.one.text, line.other.text);
    format!("{one} {} {other}{}", line.between, line.after)
}

/// The fact with this id, if it holds. Blocking.
///
/// # Errors
/// If the catalog cannot be read.
pub(super) fn fact(core: &Core, id: u64) -> Result<Option<FactLine>, ApiError> {
    let query = FactQuery {
        after: id.saturating_sub(1),
        limit: 1,
        ..FactQuery::default()
    };
    let found = core.catalog().facts(&query)?;
    let found = found.iter().find(|fact| fact.id == id);
    Ok(found.map(FactLine::of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_in_words() {
        let check = |kind: FactKind, [track, identity, other_track, other]: [u64; 4], said| {
            let fact = pb::Fact {
                kind: kind.into(),
                track_id: track,
                identity_id: identity,
                other_track_id: other_track,
                other_identity_id: other,
                ..Default::default()
            };
            assert_eq!(in_words(&fact), said);
        };
        let one = "track 1 and track 2 are one person\u{2019}s";
        check(FactKind::OnePerson, [1, 0, 2, 0], one);
        let two = FactKind::TwoPeople;
        check(two, [0, 4, 0, 1], "person 4 and person 1 are two people");
        check(
            two,
            [1, 0, 2, 0],
            "track 1 and track 2 are two people\u{2019}s",
        );
        check(two, [3, 0, 0, 1], "track 3 is not person 1");
        let put = "track 3 was put into person 1";
        check(FactKind::Placed, [3, 0, 0, 1], put);
    }
}

//! Which events a watcher wants.

use crate::access::Caller;
use crate::error::ApiError;
use crate::pb::{self, EventKind, watch_event::Event};
use std::collections::HashSet;

/// Sources or identities of a filter at most.
const FILTER_MAX: usize = 1000;

/// Which events a watcher wants. An empty set lets everything through.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) sources: HashSet<u64>,
    identities: HashSet<u64>,
    kinds: HashSet<EventKind>,
    /// Whether the caller may see these sources alone. What alert rules watch for is not of a source.
    scoped: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passes {
    Yes,
    No,
    IfTrackIsOnSource(u64),
}

/// What an event is about.
#[derive(Debug, Default)]
pub(super) struct About {
    kind: EventKind,
    source: Option<u64>,
    /// A track whose source is not in the event.
    track: Option<u64>,
    identities: [u64; 2],
    /// It concerns every watcher of its kind.
    everybody: bool,
}

impl About {
    pub(super) fn of(event: &Event) -> Self {
        let sighting = |kind, sighting: &Option<pb::Sighting>| Self {
            kind,
            source: sighting.as_ref().map(|sighting| sighting.source_id),
            track: None,
            identities: [
                sighting.as_ref().map_or(0, |sighting| sighting.identity_id),
                0,
            ],
            everybody: false,
        };
        match event {
            Event::Started(_) | Event::Heartbeat(_) | Event::Gap(_) => Self::default(),
            Event::SourceChanged(changed) => Self {
                kind: EventKind::SourceChanged,
                source: Some(changed.source_id),
                ..Self::default()
            },
            Event::IdentityCreated(created) => Self {
                kind: EventKind::IdentityCreated,
                track: Some(created.track_id).filter(|track| *track != 0),
                identities: [created.identity_id, 0],
                ..Self::default()
            },
            Event::IdentityChanged(changed) => Self {
                kind: EventKind::IdentityChanged,
                identities: [changed.identity_id, 0],
                ..Self::default()
            },
            Event::IdentityAbsorbed(absorbed) => Self {
                kind: EventKind::IdentityAbsorbed,
                identities: [absorbed.identity_id, absorbed.into_identity_id],
                ..Self::default()
            },
            Event::IdentityRestored(restored) => Self {
                kind: EventKind::IdentityRestored,
                identities: [restored.identity_id, restored.from_identity_id],
                ..Self::default()
            },
            Event::TracksMoved(moved) => Self {
                kind: EventKind::TracksMoved,
                identities: [moved.from_identity_id, moved.to_identity_id],
                ..Self::default()
            },
            Event::PhotosChanged(changed) => Self {
                kind: EventKind::PhotosChanged,
                identities: [changed.identity_id, 0],
                ..Self::default()
            },
            Event::FactChanged(changed) => {
                let fact = changed.fact.unwrap_or_default();
                Self {
                    kind: EventKind::FactChanged,
                    identities: [fact.identity_id, fact.other_identity_id],
                    ..Self::default()
                }
            }
            Event::AlertRaised(raised) => {
                let alert = raised.alert.clone().unwrap_or_default();
                Self {
                    kind: EventKind::Alert,
                    source: Some(alert.source_id),
                    identities: [alert.identity_id, 0],
                    ..Self::default()
                }
            }
            // Whoever erases says nothing of which source: everybody is to forget.
            Event::Erased(_) => Self {
                kind: EventKind::Erased,
                everybody: true,
                ..Self::default()
            },
            Event::SightingErased(erased) => Self {
                kind: EventKind::Erased,
                source: Some(erased.source_id),
                identities: [erased.identity_id, 0],
                ..Self::default()
            },
            Event::MigrationChanged(_) => Self {
                kind: EventKind::MigrationChanged,
                ..Self::default()
            },
            Event::SightingStarted(e) => sighting(EventKind::SightingStarted, &e.sighting),
            Event::SightingChanged(e) => sighting(EventKind::SightingChanged, &e.sighting),
            Event::SightingEnded(e) => sighting(EventKind::SightingEnded, &e.sighting),
            Event::TrackReassigned(e) => Self {
                identities: [e.from_identity_id, e.to_identity_id],
                ..sighting(EventKind::TrackReassigned, &e.sighting)
            },
            Event::SightingRetracted(retracted) => Self {
                kind: EventKind::SightingRetracted,
                source: Some(retracted.source_id),
                identities: [retracted.identity_id, 0],
                ..Self::default()
            },
        }
    }
}

impl Filter {
    pub(super) fn check(request: &pb::WatchRequest) -> Result<Self, ApiError> {
        let unfit = |field, what: String| Err(ApiError::InvalidField { field, what });
        let too_many = || "has more than 1000 entries".to_owned();
        if request.source_ids.len() > FILTER_MAX {
            return unfit("source_ids", too_many());
        }
        if request.identity_ids.len() > FILTER_MAX {
            return unfit("identity_ids", too_many());
        }
        let mut kinds = HashSet::new();
        for kind in &request.kinds {
            match EventKind::try_from(*kind) {
                Ok(kind) if kind != EventKind::Unspecified => kinds.insert(kind),
                Ok(_) | Err(_) => return unfit("kinds", format!("{kind} is no kind of event")),
            };
        }
        let caller = Caller::current();
        let sources = caller.sources(request.source_ids.clone())?;
        let identities = request.identity_ids.iter().copied().collect();
        Ok(Self {
            sources: sources.into_iter().collect(),
            identities,
            kinds,
            scoped: caller.scope().is_some(),
        })
    }

    pub(super) fn passes(&self, about: &About) -> Passes {
        let kind = self.kinds.is_empty() || self.kinds.contains(&about.kind);
        let identity = self.identities.is_empty()
            || about
                .identities
                .iter()
                .any(|identity| self.identities.contains(identity));
        if kind && about.everybody {
            // It names people and sightings of all sources.
            return if self.scoped { Passes::No } else { Passes::Yes };
        }
        let withheld = self.scoped && about.kind == EventKind::Alert;
        if !kind || !identity || withheld {
            return Passes::No;
        }
        match (about.source, about.track) {
            _ if self.sources.is_empty() => Passes::Yes,
            (Some(source), _) if self.sources.contains(&source) => Passes::Yes,
            (None, Some(track)) => Passes::IfTrackIsOnSource(track),
            (Some(_), _) | (None, None) => Passes::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: pb::WatchRequest, event: &Event, expected: Passes) {
        let filter = Filter::check(&request).unwrap();
        assert_eq!(
            filter.passes(&About::of(event)),
            expected,
            "{request:?} {event:?}"
        );
    }

    #[test]
    fn filters() {
        let sighting = pb::Sighting {
            identity_id: 5,
            source_id: 2,
            ..Default::default()
        };
        let moved = Event::TrackReassigned(pb::TrackReassigned {
            sighting: Some(sighting.clone()),
            from_identity_id: 4,
            to_identity_id: 5,
            reason: String::new(),
        });
        let all = pb::WatchRequest::default();
        check(all.clone(), &moved, Passes::Yes);
        for (identity, expected) in [(4, Passes::Yes), (5, Passes::Yes), (6, Passes::No)] {
            check(
                pb::WatchRequest {
                    identity_ids: vec![identity],
                    ..all.clone()
                },
                &moved,
                expected,
            );
        }
        for (source, expected) in [(2, Passes::Yes), (3, Passes::No)] {
            check(
                pb::WatchRequest {
                    source_ids: vec![source],
                    ..all.clone()
                },
                &moved,
                expected,
            );
        }
        let kinds = vec![EventKind::SightingStarted.into()];
        check(
            pb::WatchRequest {
                kinds: kinds.clone(),
                ..all.clone()
            },
            &moved,
            Passes::No,
        );
        let started = Event::SightingStarted(pb::SightingStarted {
            sighting: Some(sighting),
        });
        check(
            pb::WatchRequest {
                kinds,
                ..all.clone()
            },
            &started,
            Passes::Yes,
        );
        let absorbed = Event::IdentityAbsorbed(pb::IdentityAbsorbed {
            identity_id: 8,
            into_identity_id: 9,
        });
        check(
            pb::WatchRequest {
                identity_ids: vec![9],
                ..all.clone()
            },
            &absorbed,
            Passes::Yes,
        );
        check(
            pb::WatchRequest {
                source_ids: vec![1],
                ..all.clone()
            },
            &absorbed,
            Passes::No,
        );
        let created = Event::IdentityCreated(pb::IdentityCreated {
            track_id: 7,
            ..Default::default()
        });
        check(
            pb::WatchRequest {
                source_ids: vec![1],
                ..all
            },
            &created,
            Passes::IfTrackIsOnSource(7),
        );
    }

    #[test]
    fn unknown_kinds_are_refused() {
        for kind in [0, 99] {
            let request = pb::WatchRequest {
                kinds: vec![kind],
                ..Default::default()
            };
            assert_eq!(
                Filter::check(&request).unwrap_err().reason(),
                "INVALID_ARGUMENT"
            );
        }
    }
}

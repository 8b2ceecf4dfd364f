//! `WatchService`: what happens, as it happens, in the order of the log.

use super::now;
use crate::core::{Core, Cursor};
use crate::edge::{Edge, Subscription};
use crate::error::ApiError;
use crate::feed::{Feed, Item, Place, WHOLE_RECORD};
use crate::pb::{self, EventKind, watch_event::Event};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Sources or identities of a filter at most.
const FILTER_MAX: usize = 1000;

/// What happens, as it happens.
#[derive(Clone, Debug)]
pub(crate) struct Watch(pub Arc<Edge>);

type Reply = Result<pb::WatchEvent, Status>;

#[tonic::async_trait]
impl pb::watch_service_server::WatchService for Watch {
    type WatchStream = ReceiverStream<Reply>;

    async fn watch(
        &self,
        request: Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(start(&self.0, &request.into_inner())?))
    }
}

fn start(edge: &Arc<Edge>, request: &pb::WatchRequest) -> Result<ReceiverStream<Reply>, ApiError> {
    let filter = Filter::check(request)?;
    let place = place(&edge.core, request)?;
    let subscription = edge.subscription()?;
    let feed = match place {
        Some(place) => Feed::after(&edge.core, place),
        None => Feed::from_now(&edge.core),
    };
    let (replies, stream) = mpsc::channel(edge.config.watch.buffer_max);
    let watcher = Watcher {
        edge: Arc::clone(edge),
        filter,
        feed,
        _subscription: subscription,
    };
    tokio::spawn(watcher.run(replies));
    Ok(ReceiverStream::new(stream))
}

/// Where to begin; `None`: from now on.
fn place(core: &Core, request: &pb::WatchRequest) -> Result<Option<Place>, ApiError> {
    if request.from_start {
        let what = "is given together with from_start; leave one out";
        let both = ApiError::InvalidCursor { what };
        return if request.cursor.is_empty() {
            Ok(Some((0, WHOLE_RECORD)))
        } else {
            Err(both)
        };
    }
    if request.cursor.is_empty() {
        return Ok(None);
    }
    let what = "is not one that this server gave";
    let cursor = Cursor::parse(&request.cursor).ok_or(ApiError::InvalidCursor { what })?;
    let log = core.log();
    if cursor.log_id != log.id().to_string() || cursor.epoch != log.epoch() {
        return Err(ApiError::CursorExpired {
            what: "belongs to another log",
        });
    }
    if cursor.sequence > core.view().sequence {
        return Err(ApiError::CursorExpired {
            what: "lies beyond the end of the log",
        });
    }
    Ok(Some((cursor.sequence, cursor.number)))
}

struct Watcher {
    edge: Arc<Edge>,
    filter: Filter,
    feed: Feed,
    _subscription: Subscription,
}

impl Watcher {
    async fn run(mut self, replies: mpsc::Sender<Reply>) {
        let shutdown = self.edge.shutdown.clone();
        let log = self.edge.core.log();
        let started = pb::Started {
            after_sequence: self.feed.place().0,
            log_id: log.id().to_string(),
            epoch: log.epoch(),
        };
        let mut reply = Some(Ok(self.marker(Event::Started(started))));
        let heartbeat = self.edge.config.heartbeat();
        let mut due = tokio::time::Instant::now() + heartbeat;
        loop {
            if let Some(reply) = reply.take() {
                due = tokio::time::Instant::now() + heartbeat;
                let last = reply.is_err();
                let sent = tokio::select! {
                    sent = replies.send(reply) => sent.is_ok(),
                    () = shutdown.wait() => false,
                };
                if last || !sent {
                    return;
                }
            }
            reply = tokio::select! {
                item = self.feed.next() => self.reply(item).await,
                () = tokio::time::sleep_until(due) => {
                    let beat = pb::Heartbeat { sequence: self.feed.place().0, time: Some(now()) };
                    Some(Ok(self.marker(Event::Heartbeat(beat))))
                }
                () = shutdown.wait() => Some(Err(ApiError::ShuttingDown.into())),
                () = replies.closed() => return,
            };
        }
    }

    async fn reply(&self, item: Option<Item>) -> Option<Reply> {
        match item {
            None => Some(Err(ApiError::ShuttingDown.into())),
            Some(Item::Gap { from, to, reason }) => {
                self.edge.metrics.watch_gaps.inc();
                tracing::warn!(from, to, %reason, "events could not be read for a watcher");
                let gap = pb::Gap {
                    from_sequence: from,
                    to_sequence: to,
                    reason,
                };
                Some(Ok(self.marker(Event::Gap(gap))))
            }
            Some(Item::Event(event)) => {
                if !self.passes(&event).await {
                    return None;
                }
                self.edge.metrics.watch_events.inc();
                Some(Ok(*event))
            }
        }
    }

    async fn passes(&self, event: &pb::WatchEvent) -> bool {
        let Some(event) = &event.event else {
            return false;
        };
        let about = About::of(event);
        match self.filter.passes(&about) {
            Passes::Yes => true,
            Passes::No => false,
            // Which source the first track of an identity is on stands in the catalog.
            Passes::IfTrackIsOnSource(track) => {
                let found = self.edge.read(move |catalog| catalog.track(track)).await;
                let source = found.ok().flatten().map(|sighting| sighting.source_id);
                source.is_some_and(|source| self.filter.sources.contains(&source))
            }
        }
    }

    /// An event that is not in the log.
    fn marker(&self, event: Event) -> pb::WatchEvent {
        pb::WatchEvent {
            cursor: self.feed.cursor(),
            sequence: self.feed.place().0,
            time: Some(now()),
            event: Some(event),
        }
    }
}

/// Which events a watcher wants. An empty set lets everything through.
#[derive(Debug)]
struct Filter {
    sources: HashSet<u64>,
    identities: HashSet<u64>,
    kinds: HashSet<EventKind>,
}

#[derive(Debug, PartialEq, Eq)]
enum Passes {
    Yes,
    No,
    IfTrackIsOnSource(u64),
}

/// What an event is about.
#[derive(Debug, Default)]
struct About {
    kind: EventKind,
    source: Option<u64>,
    /// A track whose source is not in the event.
    track: Option<u64>,
    identities: [u64; 2],
}

impl About {
    fn of(event: &Event) -> Self {
        let sighting = |kind, sighting: &Option<pb::Sighting>| Self {
            kind,
            source: sighting.as_ref().map(|sighting| sighting.source_id),
            track: None,
            identities: [
                sighting.as_ref().map_or(0, |sighting| sighting.identity_id),
                0,
            ],
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
                track: Some(created.track_id),
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
                track: None,
                identities: [retracted.identity_id, 0],
            },
        }
    }
}

impl Filter {
    fn check(request: &pb::WatchRequest) -> Result<Self, ApiError> {
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
        let sources = request.source_ids.iter().copied().collect();
        let identities = request.identity_ids.iter().copied().collect();
        Ok(Self {
            sources,
            identities,
            kinds,
        })
    }

    fn passes(&self, about: &About) -> Passes {
        let kind = self.kinds.is_empty() || self.kinds.contains(&about.kind);
        let identity = self.identities.is_empty()
            || about
                .identities
                .iter()
                .any(|identity| self.identities.contains(identity));
        if !kind || !identity {
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

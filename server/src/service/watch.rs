//! `WatchService`: what happens, as it happens, in the order of the log.

use super::now;
use super::watch_filter::{About, Filter, Passes};
use crate::core::{Core, Cursor};
use crate::edge::{Edge, Subscription};
use crate::error::ApiError;
use crate::feed::{Feed, Item, Place, WHOLE_RECORD};
use crate::pb::{self, watch_event::Event};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

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

/// The events that a request asks for, from its cursor on or from now on.
///
/// # Errors
/// Those of `WatchService`.
pub(crate) fn start(
    edge: &Arc<Edge>,
    request: &pb::WatchRequest,
) -> Result<ReceiverStream<Reply>, ApiError> {
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
                    // Sent if there is room: the last word of a stream is said at shutdown.
                    biased;
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

//! Streams: events that survive a broken connection, and the live half of a search.
use std::time::Duration;

use tokio::time::Instant;
use tonic::Streaming;

use crate::client::Client;
use crate::error::Error;
use crate::pb;
use crate::pb::watch_service_client::WatchServiceClient;
use crate::random;

/// Where a [`Watch`] begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WatchFrom {
    /// With what happens from now on.
    #[default]
    Now,
    /// With the first record of the log.
    Start,
    /// After the event that bore this cursor.
    Cursor(String),
}

/// What to watch; [`Default`] is everything from now on, for ever.
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    /// Where to begin.
    pub from: WatchFrom,
    /// Only events of these sources; empty: all.
    pub source_ids: Vec<u64>,
    /// Only events of these identities; empty: all.
    pub identity_ids: Vec<u64>,
    /// Only these kinds; empty: all.
    pub kinds: Vec<pb::EventKind>,
    /// How long to go on trying after the connection broke; `None`: for ever.
    pub give_up_after: Option<Duration>,
}

/// What [`Watch::next`] returns.
#[derive(Debug)]
pub enum WatchItem {
    /// An event, heartbeats and gaps included. The first one of every connection is `Started`.
    Event(Box<pb::WatchEvent>),
    /// The connection broke; the next call waits `pause` and tries again from the last cursor.
    Reconnecting {
        /// What broke it.
        error: Error,
        /// 0 for the first attempt since the last event.
        attempt: u32,
        /// Until then.
        pause: Duration,
    },
}

/// The stream of events. After a broken connection it goes on after the last event it returned:
/// none is lost and none comes twice. (One that had not seen an event yet begins where it was
/// told to.)
#[derive(Debug)]
pub struct Watch {
    client: Client,
    request: pb::WatchRequest,
    give_up_after: Option<Duration>,
    state: State,
    attempt: u32,
    lost_since: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Open(Box<Streaming<pb::WatchEvent>>),
    Pausing(Instant),
}

impl Watch {
    pub(crate) async fn open(client: Client, options: WatchOptions) -> Result<Self, Error> {
        let (cursor, from_start) = match options.from {
            WatchFrom::Now => (String::new(), false),
            WatchFrom::Start => (String::new(), true),
            WatchFrom::Cursor(cursor) => (cursor, false),
        };
        let request = pb::WatchRequest {
            cursor,
            from_start,
            source_ids: options.source_ids,
            identity_ids: options.identity_ids,
            kinds: options.kinds.into_iter().map(i32::from).collect(),
        };
        let stream = connect(&client, request.clone()).await?;
        Ok(Self {
            client,
            request,
            give_up_after: options.give_up_after,
            state: State::Open(Box::new(stream)),
            attempt: 0,
            lost_since: None,
        })
    }

    /// The cursor to go on from, once an event has come.
    pub fn cursor(&self) -> Option<&str> {
        Some(self.request.cursor.as_str()).filter(|cursor| !cursor.is_empty())
    }

    /// Waits for the next event or the news that the connection broke. There is no last one.
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// What the server refuses for good (`CURSOR_EXPIRED` after a restore, say), and the last
    /// transient error once [`WatchOptions::give_up_after`] has passed.
    pub async fn next(&mut self) -> Result<WatchItem, Error> {
        loop {
            let error = match &mut self.state {
                State::Open(stream) => match stream.message().await {
                    Ok(Some(event)) => return Ok(self.received(event)),
                    Ok(None) => Error::StreamEnded {
                        endpoint: self.client.endpoint.clone(),
                    },
                    Err(status) => Error::from_status(&self.client.endpoint, &status),
                },
                State::Pausing(until) => {
                    tokio::time::sleep_until(*until).await;
                    match connect(&self.client, self.request.clone()).await {
                        Ok(stream) => {
                            self.state = State::Open(Box::new(stream));
                            continue;
                        }
                        Err(error) => error,
                    }
                }
            };
            return self.lost(error);
        }
    }

    fn received(&mut self, event: pb::WatchEvent) -> WatchItem {
        if !event.cursor.is_empty() {
            self.request.cursor.clone_from(&event.cursor);
            self.request.from_start = false;
        }
        self.attempt = 0;
        self.lost_since = None;
        WatchItem::Event(Box::new(event))
    }

    fn lost(&mut self, error: Error) -> Result<WatchItem, Error> {
        let since = *self.lost_since.get_or_insert_with(Instant::now);
        let hopeless = self
            .give_up_after
            .is_some_and(|limit| since.elapsed() >= limit);
        let transient = error.is_transient() || matches!(error, Error::Timeout { .. });
        if hopeless || !transient {
            return Err(error);
        }
        let attempt = self.attempt;
        let pause = error
            .retry_after()
            .unwrap_or_else(|| random::pause(attempt));
        self.attempt += 1;
        self.state = State::Pausing(Instant::now() + pause);
        Ok(WatchItem::Reconnecting {
            error,
            attempt,
            pause,
        })
    }
}

async fn connect(
    client: &Client,
    request: pb::WatchRequest,
) -> Result<Streaming<pb::WatchEvent>, Error> {
    let mut service = WatchServiceClient::new(client.channel.clone())
        .max_decoding_message_size(client.options.message_bytes_max);
    client.opened(service.watch(request)).await
}

/// A search that stays open: [`pb::FollowResponse`] with the past first, then live sightings and
/// heartbeats. It does not reconnect, for sightings in between would be lost without a word: open
/// another, whose past holds them.
#[derive(Debug)]
pub struct Follow {
    stream: Streaming<pb::FollowResponse>,
    endpoint: String,
}

impl Follow {
    pub(crate) fn new(stream: Streaming<pb::FollowResponse>, endpoint: String) -> Self {
        Self { stream, endpoint }
    }

    /// Waits for the next message. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Those of a search, [`Error::Unreachable`] or [`Error::StreamEnded`] when the server goes.
    pub async fn next(&mut self) -> Result<pb::FollowResponse, Error> {
        match self.stream.message().await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(Error::StreamEnded {
                endpoint: self.endpoint.clone(),
            }),
            Err(status) => Err(Error::from_status(&self.endpoint, &status)),
        }
    }
}

/// The faces that were seen on a source: [`Client::track_faces`](crate::Client::track_faces).
#[derive(Debug)]
pub struct TrackFaces {
    stream: Streaming<pb::TrackFaces>,
    endpoint: String,
}

impl TrackFaces {
    pub(crate) fn new(stream: Streaming<pb::TrackFaces>, endpoint: String) -> Self {
        Self { stream, endpoint }
    }

    /// Waits for the next faces; `None` behind the last. Dropping the future loses nothing.
    ///
    /// # Errors
    /// What the server met on the way, such as `LOG_DAMAGED`; [`Error::Unreachable`] when it goes.
    pub async fn next(&mut self) -> Result<Option<pb::TrackFaces>, Error> {
        let next = self.stream.message().await;
        next.map_err(|status| Error::from_status(&self.endpoint, &status))
    }
}

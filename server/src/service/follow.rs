//! Following a person: what is known first, then new sightings as they happen.

use super::now;
use super::query::{Options, Query};
use super::scope::narrowed;
use crate::edge::{Edge, Subscription, check_contract};
use crate::error::ApiError;
use crate::feed::{Feed, Item};
use crate::pb::{self, follow_request, follow_response, watch_event::Event};
use crate::time::{duration_us, timestamp_us};
use rollcall_index::{Embedding, TrackId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// A growing sighting is told again at most this often.
const CHANGE_INTERVAL: Duration = Duration::from_secs(1);

type Reply = Result<pb::FollowResponse, Status>;

/// Answers the query and goes on in a task of its own.
pub(super) async fn start(
    edge: &Arc<Edge>,
    request: pb::FollowRequest,
) -> Result<ReceiverStream<Reply>, ApiError> {
    let subscription = edge.subscription()?;
    // The feed begins before the search: what is committed in between comes twice, and is told
    // apart by sequence.
    let feed = Feed::from_now(&edge.core);
    let place = edge.pool.admit()?;
    let missing = ApiError::InvalidField {
        field: "query",
        what: "is missing".to_owned(),
    };
    let query = match request.query.ok_or(missing)? {
        follow_request::Query::Image(image) => Query::of_image(edge, image).await?,
        follow_request::Query::Embedding(embedding) => Query::of_embedding(edge, embedding)?,
    };
    let (embedding, options) = (Arc::clone(&query.embedding), query.options.clone());
    let contract = query.models.collection.contract.clone();
    let past = query.look_up(edge).await?;
    drop(place);
    let (replies, stream) = mpsc::channel(edge.config.watch.buffer_max);
    let follower = Follower {
        edge: Arc::clone(edge),
        embedding,
        contract,
        options,
        seen_up_to: past.sequence,
        told: HashMap::new(),
        _subscription: subscription,
    };
    let first = Ok(response(follow_response::Event::Past(past)));
    tokio::spawn(async move {
        if replies.send(first).await.is_ok() {
            follower.run(feed, replies).await;
        }
    });
    Ok(ReceiverStream::new(stream))
}

fn response(event: follow_response::Event) -> pb::FollowResponse {
    pb::FollowResponse { event: Some(event) }
}

struct Follower {
    edge: Arc<Edge>,
    embedding: Arc<Embedding>,
    /// What the embedding is of.
    contract: String,
    options: Options,
    /// What the past result has seen.
    seen_up_to: u64,
    /// Open tracks that were told, and when last.
    told: HashMap<u64, Instant>,
    _subscription: Subscription,
}

impl Follower {
    async fn run(mut self, mut feed: Feed, replies: mpsc::Sender<Reply>) {
        let heartbeat = self.edge.config.heartbeat();
        let shutdown = self.edge.shutdown.clone();
        let mut due = tokio::time::Instant::now() + heartbeat;
        loop {
            let reply = tokio::select! {
                item = feed.next() => match item {
                    Some(Item::Event(event)) => self.reply(*event).await,
                    // Nothing is lost for good: the caller can search again.
                    Some(Item::Gap { from, to, reason }) => {
                        tracing::warn!(from, to, %reason, "events could not be read for a follower");
                        None
                    }
                    None => Some(Err(ApiError::ShuttingDown.into())),
                },
                () = tokio::time::sleep_until(due) => {
                    let beat = pb::Heartbeat { sequence: feed.place().0, time: Some(now()) };
                    Some(Ok(response(follow_response::Event::Heartbeat(beat))))
                }
                () = shutdown.wait() => Some(Err(ApiError::ShuttingDown.into())),
                () = replies.closed() => return,
            };
            let Some(reply) = reply else { continue };
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
    }

    /// What to tell about an event, if anything.
    async fn reply(&mut self, event: pb::WatchEvent) -> Option<Reply> {
        let sequence = event.sequence;
        let sighting = match event.event? {
            Event::SightingStarted(started) => started.sighting?,
            Event::SightingChanged(changed) => changed.sighting?,
            Event::SightingEnded(ended) => ended.sighting?,
            Event::TrackReassigned(reassigned) => reassigned.sighting?,
            Event::SightingRetracted(retracted) => {
                self.told.remove(&retracted.track_id);
                return None;
            }
            Event::Erased(erased) => {
                for track in &erased.track_ids {
                    self.told.remove(track);
                }
                return None;
            }
            Event::Started(_)
            | Event::SightingErased(_)
            | Event::Heartbeat(_)
            | Event::Gap(_)
            | Event::SourceChanged(_)
            | Event::IdentityCreated(_)
            | Event::IdentityChanged(_)
            | Event::IdentityAbsorbed(_)
            | Event::IdentityRestored(_)
            | Event::TracksMoved(_)
            | Event::FactChanged(_)
            | Event::PhotosChanged(_)
            | Event::AlertRaised(_)
            | Event::MigrationChanged(_) => return None,
        };
        if sequence <= self.seen_up_to || !self.takes(&sighting) {
            return None;
        }
        let (track, open) = (sighting.track_id, sighting.open);
        let fresh = |told: &Instant| told.elapsed() < CHANGE_INTERVAL;
        if open && self.told.get(&track).is_some_and(fresh) {
            return None;
        }
        match self.hit(sighting, sequence).await {
            Ok(Some(hit)) => {
                if open {
                    self.told.insert(track, Instant::now());
                } else {
                    self.told.remove(&track);
                }
                Some(Ok(response(follow_response::Event::Live(hit))))
            }
            Ok(None) => None,
            Err(error) => Some(Err(error.into())),
        }
    }

    fn takes(&self, sighting: &pb::Sighting) -> bool {
        let wall = sighting
            .wall_start
            .as_ref()
            .map(timestamp_us)
            .unwrap_or_default();
        let at = |time: &Option<prost_types::Duration>| time.as_ref().map_or(0, duration_us);
        let length = at(&sighting.end).saturating_sub(at(&sighting.start));
        self.options.takes_source(sighting.source_id)
            && self.options.takes_time(wall, wall.saturating_add(length))
    }

    /// The sighting as a hit, if one of its faces is like the query.
    async fn hit(
        &self,
        sighting: pb::Sighting,
        sequence: u64,
    ) -> Result<Option<pb::FollowHit>, ApiError> {
        let (core, view) = (self.edge.core.clone(), self.edge.core.view());
        check_contract(&self.contract, &view.contract().id)?;
        let (embedding, options) = (Arc::clone(&self.embedding), self.options.clone());
        let job = move || {
            let faces = view.index.track_faces(TrackId::new(sighting.track_id));
            let cosines = faces.map(|face| embedding.dot(&face.embedding()).get());
            let Some(cosine) = cosines
                .max_by(f32::total_cmp)
                .filter(|c| *c >= options.min_cosine)
            else {
                return Ok(None);
            };
            let identity = core.catalog().identity(sighting.identity_id)?;
            if !identity.as_ref().is_none_or(|it| options.takes(it)) {
                return Ok(None);
            }
            let identity = if options.scoped {
                identity.map(|it| narrowed(it, Some(&sighting)))
            } else {
                identity
            };
            Ok(Some(pb::FollowHit {
                sighting: Some(sighting),
                identity,
                cosine,
                sequence,
            }))
        };
        self.edge.pool.run(job).await
    }
}

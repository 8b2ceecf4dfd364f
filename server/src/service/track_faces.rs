//! Every face that was seen on a source, read from the log: the catalog keeps no boxes.

use crate::access::Caller;
use crate::core::{Core, Recorded};
use crate::edge::{Edge, Subscription};
use crate::error::ApiError;
use crate::pb;
use crate::time::{duration, duration_us};
use rollcall_log::record::{Body, FaceBox, TrackObserved};
use std::ops::RangeInclusive;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Faces of a message at most, so that none is too large for a client.
const FACES_MAX: usize = 4096;
/// Messages that wait for the caller at most; the reading waits with them.
const MESSAGES_MAX: usize = 16;

pub(super) type Reply = Result<pb::TrackFaces, Status>;
type Window = RangeInclusive<i64>;

/// The faces that a request asks for, in the order of the log.
///
/// # Errors
/// Those of `ListTrackFaces`; damage that is met later comes last on the stream.
pub(super) async fn start(
    edge: &Arc<Edge>,
    request: &pb::ListTrackFacesRequest,
) -> Result<ReceiverStream<Reply>, ApiError> {
    let (source, window) = (request.source_id, window(request)?);
    Caller::current().check_source(source)?;
    edge.source(source).await?;
    let subscription = edge.subscription()?;
    let (from_us, to_us) = (*window.start(), *window.end());
    let read = move |core: &Core| Ok(core.catalog().recorded(source, from_us, to_us)?);
    let recorded = edge.blocking(read).await?;
    let (found, read) = mpsc::channel(1);
    let core = edge.core.clone();
    tokio::task::spawn_blocking(move || scan(&core, &recorded, &window, &found));
    let (replies, stream) = mpsc::channel(MESSAGES_MAX);
    tokio::spawn(pass_on(Arc::clone(edge), subscription, read, replies));
    Ok(ReceiverStream::new(stream))
}

fn window(request: &pb::ListTrackFacesRequest) -> Result<Window, ApiError> {
    let from_us = request.start.as_ref().map_or(i64::MIN, duration_us);
    let to_us = request.end.as_ref().map_or(i64::MAX, duration_us);
    if from_us > to_us {
        return Err(ApiError::InvalidField {
            field: "end",
            what: "lies before start; exchange the two".to_owned(),
        });
    }
    Ok(from_us..=to_us)
}

/// Reads the log until all faces that the catalog counts have come, or nobody waits for them any more.
fn scan(
    core: &Core,
    recorded: &Recorded,
    window: &Window,
    found: &mpsc::Sender<Result<pb::TrackFaces, ApiError>>,
) {
    let mut left = recorded.faces;
    for record in core.log().read_after(recorded.after) {
        if left == 0 || found.is_closed() {
            return;
        }
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let _ = found.blocking_send(Err(error.into()));
                return;
            }
        };
        if record.sequence > recorded.sequence {
            return;
        }
        let Some(Body::TrackObserved(track)) = &record.body else {
            continue;
        };
        let Some(identity) = recorded.identities.get(&track.track_id) else {
            continue;
        };
        left = left.saturating_sub(u64::try_from(track.boxes.len()).unwrap_or(u64::MAX));
        for message in messages(track, *identity, window) {
            if found.blocking_send(Ok(message)).is_err() {
                return;
            }
        }
    }
}

/// What a record holds of the window.
fn messages(track: &TrackObserved, identity: u64, window: &Window) -> Vec<pb::TrackFaces> {
    let boxes = track.boxes.iter();
    let boxes = boxes.filter(|face| window.contains(&face.time_us));
    let faces: Vec<pb::SeenFace> = boxes.map(seen).collect();
    let part = |faces: &[pb::SeenFace]| pb::TrackFaces {
        track_id: track.track_id,
        identity_id: identity,
        faces: faces.to_vec(),
    };
    faces.chunks(FACES_MAX).map(part).collect()
}

fn seen(face: &FaceBox) -> pb::SeenFace {
    pb::SeenFace {
        frame: face.frame,
        time: Some(duration(face.time_us)),
        r#box: Some(face.into()),
        confidence: face.confidence,
    }
}

/// Hands on what was read until it ends, the caller goes away or the server goes down; dropping `read` ends the
/// reading.
async fn pass_on(
    edge: Arc<Edge>,
    _subscription: Subscription,
    mut read: mpsc::Receiver<Result<pb::TrackFaces, ApiError>>,
    replies: mpsc::Sender<Reply>,
) {
    loop {
        let reply = tokio::select! {
            biased;
            () = edge.shutdown.wait() => Err(ApiError::ShuttingDown.into()),
            () = replies.closed() => return,
            next = read.recv() => match next {
                Some(next) => next.map_err(Status::from),
                None => return,
            },
        };
        let last = reply.is_err();
        let sent = tokio::select! {
            // Sent if there is room: the last word of a stream is said at shutdown.
            biased;
            sent = replies.send(reply) => sent.is_ok(),
            () = edge.shutdown.wait() => false,
        };
        if last || !sent {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_track_comes_in_several_messages_and_the_window_cuts_it() {
        let face = |frame: i64| FaceBox {
            frame,
            time_us: frame * 40_000,
            ..FaceBox::default()
        };
        let track = TrackObserved {
            track_id: 7,
            boxes: (0..10_000).map(face).collect(),
            ..TrackObserved::default()
        };
        let all = messages(&track, 3, &(i64::MIN..=i64::MAX));
        let lengths: Vec<usize> = all.iter().map(|message| message.faces.len()).collect();
        assert_eq!(lengths, [4096, 4096, 1808]);
        assert_eq!((all[2].track_id, all[2].identity_id), (7, 3));
        let frames = all.iter().flat_map(|message| &message.faces);
        assert!(frames.map(|face| face.frame).eq(0..10_000));
        let some = messages(&track, 3, &(40_000..=120_000));
        assert_eq!(some.len(), 1);
        assert!(some[0].faces.iter().map(|face| face.frame).eq(1..=3));
        assert!(messages(&track, 3, &(-2..=-1)).is_empty());
    }
}

//! The boxes of a source, face by face.

use crate::edits::{MERGE, merge};
use crate::support::{Fixture, hello, reason, seconds, track};
use rollcall_server::pb::{self, observe_request::Message};
use tonic::{Code, Status, Streaming};

const FACES: &str = "/rollcall.v1.SightingService/ListTrackFaces";

fn of(source_id: u64) -> pb::ListTrackFacesRequest {
    pb::ListTrackFacesRequest {
        source_id,
        ..Default::default()
    }
}

async fn open(
    fixture: &Fixture,
    request: pb::ListTrackFacesRequest,
) -> Result<Streaming<pb::TrackFaces>, Status> {
    fixture.api.stream(FACES, request).await
}

/// Track, identity and frames of each message.
async fn faces(fixture: &Fixture, request: pb::ListTrackFacesRequest) -> Vec<(u64, u64, Vec<i64>)> {
    let mut stream = open(fixture, request).await.unwrap();
    let mut all = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        let frames = message.faces.iter().map(|face| face.frame).collect();
        all.push((message.track_id, message.identity_id, frames));
    }
    all
}

/// Two sources that are read at the same time: tracks 1 and 3 on the first, 2 on the second, three people.
async fn interleaved() -> (Fixture, [u64; 2]) {
    let fixture = Fixture::start().await;
    let left = fixture.api.add_remote("left").await.id;
    let right = fixture.api.add_remote("right").await.id;
    let (mut a, mut b) = (fixture.api.run(left).await, fixture.api.run(right).await);
    a.track(track(1, 1, 0.0, 0, 1, false)).await;
    b.track(track(1, 1, 120.0, 0, 1, true)).await;
    a.track(track(2, 1, 240.0, 1, 2, true)).await;
    a.track(track(1, 2, 0.0, 0, 3, true)).await;
    a.finish().await;
    b.finish().await;
    (fixture, [left, right])
}

#[tokio::test]
async fn all_boxes_of_a_source_come_in_the_order_of_the_log() {
    let (fixture, [left, right]) = interleaved().await;
    let all = faces(&fixture, of(left)).await;
    assert_eq!(all, [(1, 1, vec![25]), (3, 3, vec![50]), (1, 1, vec![75])]);
    assert_eq!(faces(&fixture, of(right)).await, [(2, 2, vec![25])]);
    let mut stream = open(&fixture, of(right)).await.unwrap();
    let first = stream.message().await.unwrap().unwrap().faces.remove(0);
    assert_eq!((first.time, first.confidence), (seconds(1), 0.9));
    let r#box = first.r#box.unwrap();
    assert_eq!(
        [r#box.x, r#box.y, r#box.width, r#box.height],
        [0.1, 0.1, 0.2, 0.3]
    );
}

#[tokio::test]
async fn a_window_takes_the_faces_within_it() {
    let (fixture, [left, _]) = interleaved().await;
    let within = |start, end| pb::ListTrackFacesRequest {
        start: seconds(start),
        end: seconds(end),
        ..of(left)
    };
    assert_eq!(faces(&fixture, within(2, 2)).await, [(3, 3, vec![50])]);
    assert_eq!(
        faces(&fixture, within(2, 9)).await,
        [(3, 3, vec![50]), (1, 1, vec![75])]
    );
    assert_eq!(faces(&fixture, within(4, 9)).await, []);
    let status = open(&fixture, within(3, 2)).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "INVALID_ARGUMENT")
    );
}

#[tokio::test]
async fn boxes_follow_their_track_to_another_identity() {
    let (fixture, [left, _]) = interleaved().await;
    fixture.made(MERGE, merge(3, 1)).await;
    assert_eq!(
        faces(&fixture, of(left)).await,
        [(1, 1, vec![25]), (3, 1, vec![50]), (1, 1, vec![75])]
    );
}

#[tokio::test]
async fn boxes_of_a_track_that_no_longer_counts_are_left_out() {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("feed").await.id;
    let mut run = fixture.api.run(source).await;
    run.track(track(1, 1, 0.0, 0, 1, true)).await;
    run.record(Message::Checkpoint(pb::Checkpoint {
        complete_up_to: seconds(2),
        complete_up_to_frame: 50,
    }))
    .await;
    run.track(track(2, 1, 120.0, 3, 4, true)).await;
    assert_eq!(
        faces(&fixture, of(source)).await,
        [(1, 1, vec![25]), (2, 2, vec![100])]
    );
    drop(run);
    // What resumes sees with other eyes: the track behind the checkpoint counts no longer.
    let other = pb::Hello {
        pipeline: "p2".to_owned(),
        ..hello(source)
    };
    let mut run = loop {
        let mut run = fixture.api.observe(other.clone()).await;
        match run.reply().await {
            Ok(_) => break run,
            // The run before is being taken down.
            Err(status) => assert_eq!(reason(&status), "SOURCE_BUSY"),
        }
    };
    run.track(track(2, 1, 120.0, 3, 5, true)).await;
    assert_eq!(
        faces(&fixture, of(source)).await,
        [(1, 1, vec![25]), (3, 3, vec![125])]
    );
}

#[tokio::test]
async fn a_source_without_faces_or_without_a_place_in_the_catalog() {
    let fixture = Fixture::start().await;
    let empty = fixture.api.add_remote("empty").await.id;
    assert_eq!(faces(&fixture, of(empty)).await, []);
    for missing in [0, 99] {
        let status = open(&fixture, of(missing)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::NotFound, "SOURCE_NOT_FOUND")
        );
    }
}

#[tokio::test]
async fn reading_takes_a_place_for_watchers() {
    let fixture = Fixture::with(|config| config.watch.subscribers_max = 1).await;
    let source = fixture.api.add_remote("feed").await.id;
    let _watch = fixture.api.watch(pb::WatchRequest::default()).await;
    let status = open(&fixture, of(source)).await.unwrap_err();
    assert_eq!(reason(&status), "OVERLOADED");
}

#[tokio::test]
async fn a_caller_who_reads_no_further_does_not_hold_up_the_servers_end() {
    let fixture = Fixture::with(|config| config.shutdown.deadline_s = 1).await;
    let source = fixture.api.add_remote("feed").await.id;
    let mut run = fixture.api.run(source).await;
    // Far more than the connection and the queue hold.
    for key in 1..=60 {
        let mut long = track(key, 1, 0.0, 0, 1, true);
        long.faces = vec![long.faces[0]; 4000];
        run.track(long).await;
    }
    run.finish().await;
    let mut stream = open(&fixture, of(source)).await.unwrap();
    assert_eq!(stream.message().await.unwrap().unwrap().faces.len(), 4000);
    fixture.server.stop().await;
    let end = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(end.is_err(), "{end:?}");
}

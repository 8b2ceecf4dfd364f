//! Live updates: order, resuming, filters, following; runs that break off.

use crate::support::{Fixture, config, embedding, hello, next_event, reason, track};
use rollcall_server::pb::{self, follow_response, observe_response, watch_event::Event};
use tonic::Streaming;

fn name(event: &pb::WatchEvent) -> &'static str {
    match event.event.as_ref().unwrap() {
        Event::SourceChanged(_) => "source",
        Event::IdentityCreated(_) => "created",
        Event::SightingStarted(_) => "started",
        Event::SightingChanged(_) => "changed",
        Event::SightingEnded(_) => "ended",
        Event::Gap(_) => "gap",
        _ => "other",
    }
}

async fn take(stream: &mut Streaming<pb::WatchEvent>, count: usize) -> Vec<pb::WatchEvent> {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(next_event(stream).await);
    }
    events
}

#[tokio::test]
async fn a_watcher_sees_everything_once_in_order_and_resumes_anywhere() {
    let fixture = Fixture::start().await;
    let mut live = fixture
        .api
        .watch(pb::WatchRequest::default())
        .await
        .unwrap();
    let first = live.message().await.unwrap().unwrap();
    assert!(matches!(first.event, Some(Event::Started(_))), "{first:?}");
    let source = fixture.api.add_remote("feed").await;
    let mut run = fixture.api.run(source.id).await;
    run.track(track(1, 1, 0.0, 0, 1, false)).await;
    run.track(track(1, 2, 0.0, 0, 2, false)).await;
    run.track(track(1, 3, 0.0, 0, 3, true)).await;
    run.finish().await;
    let expected = [
        "source", "source", "created", "started", "changed", "ended", "source",
    ];
    let seen = take(&mut live, expected.len()).await;
    assert_eq!(seen.iter().map(name).collect::<Vec<_>>(), expected);
    assert!(seen.is_sorted_by_key(|event| event.sequence));

    let request = pb::WatchRequest {
        from_start: true,
        ..Default::default()
    };
    let mut again = fixture.api.watch(request).await.unwrap();
    assert_eq!(
        take(&mut again, expected.len()).await,
        seen,
        "the log tells the same"
    );

    // From each event on, also between two events of one record.
    for at in 0..seen.len() - 1 {
        let request = pb::WatchRequest {
            cursor: seen[at].cursor.clone(),
            ..Default::default()
        };
        let mut resumed = fixture.api.watch(request).await.unwrap();
        assert_eq!(
            take(&mut resumed, seen.len() - at - 1).await,
            seen[at + 1..]
        );
    }

    // A resumed watcher goes over to live events without gap or double.
    let cursor = seen[3].cursor.clone();
    let mut resumed = fixture
        .api
        .watch(pb::WatchRequest {
            cursor,
            ..Default::default()
        })
        .await
        .unwrap();
    let second = fixture.api.add_remote("second feed").await;
    let events = take(&mut resumed, seen.len() - 4 + 1).await;
    assert_eq!(events[..events.len() - 1], seen[4..]);
    let Some(Event::SourceChanged(changed)) = &events[events.len() - 1].event else {
        panic!("{events:?}")
    };
    assert_eq!(changed.source_id, second.id);
}

#[tokio::test]
async fn many_commits_reach_a_watcher_that_begins_in_between() {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("feed").await;
    let mut run = fixture.api.run(source.id).await;
    let from_start = pb::WatchRequest {
        from_start: true,
        kinds: vec![pb::EventKind::SightingStarted.into()],
        ..Default::default()
    };
    let mut watchers = Vec::new();
    for key in 1..=60 {
        run.track(track(key, 1, 0.0, 0, 1, true)).await;
        if key % 20 == 10 {
            watchers.push(fixture.api.watch(from_start.clone()).await.unwrap());
        }
    }
    for mut watcher in watchers {
        let events = take(&mut watcher, 60).await;
        let tracks: Vec<u64> = events
            .iter()
            .map(|event| match &event.event {
                Some(Event::SightingStarted(started)) => {
                    started.sighting.as_ref().unwrap().track_id
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(tracks, (1..=60).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn filters_and_bad_cursors() {
    let fixture = Fixture::start().await;
    let (one, two) = (
        fixture.api.add_remote("one").await,
        fixture.api.add_remote("two").await,
    );
    for (source, hue) in [(one.id, 0.0), (two.id, 120.0)] {
        let mut run = fixture.api.run(source).await;
        run.track(track(1, 1, hue, 0, 1, true)).await;
        run.finish().await;
    }
    let request = pb::WatchRequest {
        from_start: true,
        source_ids: vec![two.id],
        kinds: vec![
            pb::EventKind::IdentityCreated.into(),
            pb::EventKind::SightingEnded.into(),
        ],
        ..Default::default()
    };
    let mut stream = fixture.api.watch(request).await.unwrap();
    let events = take(&mut stream, 2).await;
    assert_eq!(
        events.iter().map(name).collect::<Vec<_>>(),
        ["created", "ended"]
    );
    let Some(Event::SightingEnded(ended)) = &events[1].event else {
        panic!("{events:?}")
    };
    assert_eq!(ended.sighting.as_ref().unwrap().source_id, two.id);

    let other = Fixture::start().await;
    let foreign = {
        let mut stream = other.api.watch(pb::WatchRequest::default()).await.unwrap();
        stream.message().await.unwrap().unwrap().cursor
    };
    for (cursor, from_start, expected) in [
        ("nonsense".to_owned(), false, "INVALID_CURSOR"),
        (events[0].cursor.clone(), true, "INVALID_CURSOR"),
        (foreign, false, "CURSOR_EXPIRED"),
    ] {
        let request = pb::WatchRequest {
            cursor,
            from_start,
            ..Default::default()
        };
        let status = fixture.api.watch(request).await.unwrap_err();
        assert_eq!(reason(&status), expected, "{status:?}");
    }
}

#[tokio::test]
async fn heartbeats_and_the_limit_on_watchers() {
    let fixture = Fixture::with(|config| {
        config.watch.heartbeat_ms = 20;
        config.watch.subscribers_max = 1;
    })
    .await;
    let mut stream = fixture
        .api
        .watch(pb::WatchRequest::default())
        .await
        .unwrap();
    let started = stream.message().await.unwrap().unwrap();
    let beat = stream.message().await.unwrap().unwrap();
    assert!(matches!(beat.event, Some(Event::Heartbeat(_))), "{beat:?}");
    assert_eq!(beat.cursor, started.cursor);
    let status = fixture
        .api
        .watch(pb::WatchRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (tonic::Code::ResourceExhausted, "OVERLOADED")
    );
}

#[tokio::test]
async fn following_gives_the_past_then_what_is_new() {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("feed").await;
    let mut run = fixture.api.run(source.id).await;
    run.track(track(1, 1, 0.0, 0, 1, true)).await;
    let query = pb::SearchEmbeddingRequest {
        embedding: embedding(0.0).as_slice().to_vec(),
        ..Default::default()
    };
    let request = pb::FollowRequest {
        query: Some(pb::follow_request::Query::Embedding(query)),
    };
    let method = "/rollcall.v1.SearchService/Follow";
    let mut stream: Streaming<pb::FollowResponse> =
        fixture.api.stream(method, request).await.unwrap();
    let past = stream.message().await.unwrap().unwrap().event;
    let Some(follow_response::Event::Past(past)) = past else {
        panic!("{past:?}")
    };
    assert_eq!(past.verdict(), pb::Verdict::Found);
    run.track(track(2, 1, 120.0, 2, 3, false)).await;
    run.track(track(3, 1, 1.0, 2, 3, false)).await;
    run.track(track(3, 2, 1.0, 2, 4, true)).await;
    for open in [true, false] {
        let live = stream.message().await.unwrap().unwrap().event;
        let Some(follow_response::Event::Live(hit)) = live else {
            panic!("{live:?}")
        };
        let sighting = hit.sighting.unwrap();
        assert_eq!((sighting.start.unwrap().seconds, sighting.open), (2, open));
        assert!(hit.cosine > 0.95);
        assert_eq!(
            hit.identity.unwrap().id,
            past.hits[0].identity.as_ref().unwrap().id
        );
    }
}

#[tokio::test]
async fn a_run_that_broke_off_is_repeated_without_doubles() {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("feed").await;
    let mut run = fixture.api.run(source.id).await;
    run.track(track(1, 1, 0.0, 0, 1, true)).await;
    let checkpoint = pb::Checkpoint {
        complete_up_to: crate::support::seconds(2),
        complete_up_to_frame: 50,
    };
    run.record(pb::observe_request::Message::Checkpoint(checkpoint))
        .await;
    run.track(track(2, 1, 120.0, 3, 4, false)).await;
    drop(run);
    // The server has to notice first.
    let (mut run, welcome) = loop {
        let mut run = fixture.api.observe(hello(source.id)).await;
        match run.reply().await {
            Ok(observe_response::Message::Welcome(welcome)) => break (run, welcome),
            Ok(other) => panic!("{other:?}"),
            Err(status) => assert_eq!(reason(&status), "SOURCE_BUSY"),
        }
    };
    assert_eq!(welcome.resume_from, crate::support::seconds(2));
    assert_eq!(welcome.resume_from_frame, 50);
    run.track(track(2, 1, 120.0, 3, 4, false)).await;
    run.track(track(2, 2, 120.0, 3, 6, true)).await;
    run.finish().await;
    let request = pb::ListSightingsRequest::default();
    let method = "/rollcall.v1.SightingService/ListSightings";
    let list: pb::ListSightingsResponse = fixture.api.call(method, request).await.unwrap();
    let spans: Vec<_> = list
        .sightings
        .iter()
        .map(|s| (s.start.unwrap().seconds, s.end.unwrap().seconds, s.open))
        .collect();
    assert_eq!(spans, [(0, 1, false), (3, 6, false)]);
}

#[tokio::test]
async fn streams_end_and_everything_is_there_after_a_restart() {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("feed").await;
    let mut run = fixture.api.run(source.id).await;
    run.track(track(1, 1, 0.0, 0, 1, false)).await;
    let mut watch = fixture
        .api
        .watch(pb::WatchRequest::default())
        .await
        .unwrap();
    let cursor = watch.message().await.unwrap().unwrap().cursor;
    let Fixture { folder, server, .. } = fixture;
    server.stop().await;
    let status = loop {
        match watch.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&status), "SHUTTING_DOWN");
    assert_eq!(reason(&run.reply().await.unwrap_err()), "SHUTTING_DOWN");

    let settings = config(folder.path());
    let fixture = Fixture::on(folder, settings).await;
    assert_eq!(fixture.api.search(0.0).await.verdict(), pb::Verdict::Found);
    let request = pb::WatchRequest {
        cursor,
        ..Default::default()
    };
    let mut watch = fixture.api.watch(request).await.unwrap();
    let mut run = fixture.api.run(source.id).await;
    run.track(track(1, 1, 0.0, 0, 1, false)).await;
    run.track(track(1, 2, 0.0, 0, 2, true)).await;
    loop {
        let event = next_event(&mut watch).await;
        if name(&event) == "ended" {
            break;
        }
        assert_ne!(name(&event), "started", "the sighting had started before");
    }
}

//! The stream of events, and the live half of a search.

use crate::support::events::{
    assert_in_order, collect_until, ends, is_sighting, next, next_recorded, watch,
};
use crate::support::server::Setup;
use crate::support::truth::Truth;
use crate::support::{in_time, prepared, scratch, turn};
use rollcall_client::pb::{self, watch_event::Event};
use rollcall_client::{Client, Code, WatchFrom, WatchOptions};
use std::path::Path;

async fn add(client: &Client, clip: &Path) -> u64 {
    let uri = clip.to_str().unwrap().to_owned();
    client
        .add_source(pb::AddSourceRequest {
            uri,
            ..Default::default()
        })
        .await
        .unwrap()
        .id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_in_order_while_they_happen_and_again_from_the_log() {
    let _turn = turn().await;
    let folder = scratch();
    let mut server = Setup::new(&folder.path().join("data")).start().await;
    let client = server.client().await;
    let mut live = watch(&client, WatchFrom::Now).await;
    let first = next(&mut live).await;
    let Some(Event::Started(started)) = &first.event else {
        panic!("not Started: {first:?}")
    };
    assert_eq!(
        (started.log_id.len(), started.epoch),
        (32, 1),
        "{started:?}"
    );
    let beat = next(&mut live).await;
    assert!(matches!(beat.event, Some(Event::Heartbeat(_))), "{beat:?}");

    let source = add(&client, &Truth::small().clip).await;
    let seen = collect_until(&mut live, |event| ends(event, source)).await;
    assert_in_order(&seen);
    assert!(
        matches!(&seen[0].event, Some(Event::SourceChanged(added)) if added.source_id == source)
    );
    assert_tells_a_story(&seen);

    // From the log: the same events, wherever one begins.
    let mut replay = watch(&client, WatchFrom::Start).await;
    assert_eq!(
        collect_until(&mut replay, |event| ends(event, source)).await,
        seen
    );
    for from in [0, 1, seen.len() / 3, seen.len() - 2] {
        let mut resumed = watch(&client, WatchFrom::Cursor(seen[from].cursor.clone())).await;
        let rest = collect_until(&mut resumed, |event| ends(event, source)).await;
        assert_eq!(rest, seen[from + 1..], "after event {from}");
    }
    drop((client, live, replay));
    assert_eq!(server.terminate().await, Some(0));

    // And after a restart of the server.
    let server = Setup::new(server.data()).start().await;
    let client = server.client().await;
    let middle = seen.len() / 2;
    let mut resumed = watch(&client, WatchFrom::Cursor(seen[middle].cursor.clone())).await;
    let rest = collect_until(&mut resumed, |event| ends(event, source)).await;
    assert_eq!(rest, seen[middle + 1..]);
}

/// Each sighting starts, changes and ends, in that order; an identity is created before it is seen.
fn assert_tells_a_story(events: &[pb::WatchEvent]) {
    let mut open = std::collections::BTreeSet::new();
    let mut known = std::collections::BTreeSet::new();
    let mut started = 0;
    for event in events {
        match &event.event {
            Some(Event::IdentityCreated(created)) => assert!(known.insert(created.identity_id)),
            Some(Event::SightingStarted(e)) => {
                let sighting = e.sighting.as_ref().unwrap();
                assert!(open.insert(sighting.track_id) && sighting.open, "{event:?}");
                assert!(known.contains(&sighting.identity_id), "{event:?}");
                started += 1;
            }
            Some(Event::SightingChanged(e)) => {
                assert!(
                    open.contains(&e.sighting.as_ref().unwrap().track_id),
                    "{event:?}"
                );
            }
            Some(Event::SightingEnded(e)) => {
                let sighting = e.sighting.as_ref().unwrap();
                assert!(
                    open.remove(&sighting.track_id) && !sighting.open,
                    "{event:?}"
                );
            }
            _ => {}
        }
    }
    assert!(
        started >= 4 && open.is_empty(),
        "{started} sightings, open: {open:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_gets_only_what_it_asked_for() {
    let _turn = turn().await;
    let folder = scratch();
    let data = prepared::collection(folder.path()).await;
    let server = Setup::new(&data).start().await;
    let client = server.client().await;
    let all = {
        let mut all = watch(&client, WatchFrom::Start).await;
        collect_until(&mut all, |event| ends(event, 1)).await
    };
    let started = |event: &&pb::WatchEvent| matches!(event.event, Some(Event::SightingStarted(_)));
    let wanted: Vec<_> = all.iter().filter(started).cloned().collect();
    let options = WatchOptions {
        from: WatchFrom::Start,
        kinds: vec![pb::EventKind::SightingStarted],
        source_ids: vec![1],
        ..WatchOptions::default()
    };
    let mut only = client.watch(options).await.unwrap();
    for wanted in &wanted {
        assert_eq!(next_recorded(&mut only).await, *wanted);
    }
    let quiet = next(&mut only).await;
    assert!(
        matches!(quiet.event, Some(Event::Heartbeat(_))),
        "{quiet:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_of_other_logs_and_garbage_are_refused() {
    let _turn = turn().await;
    let folder = scratch();
    let start = async |name: &str| Setup::new(&folder.path().join(name)).start().await;
    let (here, there) = tokio::join!(start("here"), start("there"));
    let foreign = {
        let client = there.client().await;
        next(&mut watch(&client, WatchFrom::Now).await).await.cursor
    };
    let client = here.client().await;
    let refused = async |cursor: &str, code, reason: &str| {
        let from = WatchFrom::Cursor(cursor.to_owned());
        let opened = client
            .watch(WatchOptions {
                from,
                ..WatchOptions::default()
            })
            .await;
        // A refusal may come with the first message.
        let error = match opened {
            Err(error) => error,
            Ok(mut watch) => in_time("the refusal", watch.next()).await.unwrap_err(),
        };
        assert_eq!(
            (error.code(), error.reason()),
            (code, reason),
            "{cursor}: {error:?}"
        );
    };
    refused(&foreign, Code::OutOfRange, "CURSOR_EXPIRED").await;
    for garbage in [
        "garbage",
        "\u{1f4a5}",
        &foreign[..foreign.len() / 2],
        &"A".repeat(10_000),
    ] {
        refused(garbage, Code::InvalidArgument, "INVALID_CURSOR").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follow_gives_the_past_and_then_what_happens() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let data = prepared::collection(folder.path()).await;
    let server = Setup::new(&data).start().await;
    let client = server.client().await;
    let (person, picture) = &truth.held_out[0];
    let image = std::fs::read(picture).unwrap();
    let request = pb::SearchImageRequest {
        image,
        ..Default::default()
    };
    let query = Some(pb::follow_request::Query::Image(request));
    let mut follow = client.follow(pb::FollowRequest { query }).await.unwrap();
    let past = in_time("the past", follow.next()).await.unwrap().event;
    let Some(pb::follow_response::Event::Past(past)) = past else {
        panic!("not the past: {past:?}")
    };
    assert_eq!(past.verdict(), pb::Verdict::Found);
    let known = past.hits[0].identity.as_ref().unwrap().id;
    assert!(
        past.hits[0]
            .sightings
            .iter()
            .all(|sighting| sighting.source_id == 1)
    );

    // The same clip as another file: the person is seen again.
    let again = folder.path().join("again.mp4");
    std::fs::copy(&truth.clip, &again).unwrap();
    let mut events = watch(&client, WatchFrom::Now).await;
    let source = add(&client, &again).await;
    let seen = collect_until(&mut events, |event| ends(event, source)).await;
    let (mut live, mut beats) = (Vec::new(), 0);
    // The watcher has seen the end; a heartbeat after the last event of the log ends the wait here too.
    let last = seen
        .iter()
        .rfind(|event| is_sighting(event))
        .unwrap()
        .sequence;
    loop {
        match in_time("a hit", follow.next()).await.unwrap().event {
            Some(pb::follow_response::Event::Live(hit)) => live.push(hit),
            Some(pb::follow_response::Event::Heartbeat(beat)) if beat.sequence >= last => break,
            Some(pb::follow_response::Event::Heartbeat(_)) => beats += 1,
            other => panic!("{other:?} after {live:?}, {beats} heartbeats"),
        }
    }
    assert_hits(&live, person, source, known);
}

/// The person is in two shots; each starts and ends.
fn assert_hits(live: &[pb::FollowHit], person: &str, source: u64, known: u64) {
    assert!(live.len() >= 4, "{person}: {live:?}");
    for hit in live {
        let sighting = hit.sighting.as_ref().unwrap();
        assert_eq!(
            (sighting.source_id, sighting.identity_id),
            (source, known),
            "{hit:?}"
        );
        assert!(hit.cosine >= 0.4, "{hit:?}");
    }
    let tracks = |open| {
        let hits = live.iter().filter_map(|hit| hit.sighting.as_ref());
        let ids = hits
            .filter(|sighting| sighting.open == open)
            .map(|sighting| sighting.track_id);
        ids.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(
        (tracks(true).len(), tracks(false).len()),
        (2, 2),
        "{live:?}"
    );
}

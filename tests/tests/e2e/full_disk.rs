//! A disk that is full: writes are refused, searches are answered, and nothing is lost once there is room again.

use crate::support::cli::{arguments, rollcall};
use crate::support::events::{collect_until, ends, is_sighting, next_recorded, watch};
use crate::support::facts::Facts;
use crate::support::server::{ASK_AGAIN, Setup};
use crate::support::truth::Truth;
use crate::support::{prepared, scratch, turn, until};
use rollcall_client::{Client, Code, WatchFrom, pb};
use std::path::Path;

/// No file may be larger: the catalog's journal soon is.
const ROOM_BYTES: u64 = 240 << 10;

async fn rename(client: &Client, name: &str) -> Result<pb::Identity, rollcall_client::Error> {
    let request = pb::RenameIdentityRequest {
        identity_id: 1,
        name: name.into(),
        ..Default::default()
    };
    client.rename_identity(request).await
}

/// Waits until writes are refused for lack of room; returns the reason given.
async fn until_full(client: &Client) -> String {
    until("writes to be refused", async || {
        let state = client.status().await.unwrap().write_state;
        (state != "ok").then_some(state)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_answers_searches_and_loses_nothing() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let undisturbed = Facts::read(&prepared::collection(folder.path()).await.join("log"));
    let data = folder.path().join("full");
    let mut server = Setup::new(&data).file_bytes_max(ROOM_BYTES).start().await;
    let client = server.client().await;
    let mut events = watch(&client, WatchFrom::Start).await;
    let uri = truth.clip.to_str().unwrap().to_owned();
    let source = client
        .add_source(pb::AddSourceRequest {
            uri,
            ..Default::default()
        })
        .await
        .unwrap()
        .id;
    let reason = until_full(&client).await;
    assert!(
        ["LOG_FULL", "LOG_FAILED"].contains(&reason.as_str()),
        "{reason}"
    );

    assert_refused(&client, &reason).await;
    assert_answered(&client, &truth).await;

    // What was acknowledged so far.
    let before = client.status().await.unwrap().durable_sequence;
    let mut acknowledged = Vec::new();
    while let Some(event) = event_before(&mut events, before).await {
        acknowledged.push(event);
    }
    drop((events, client));
    assert_eq!(server.terminate().await, Some(0), "{}", server.logged());

    // With room: the rest is read, and what was there is there once.
    let mut server = Setup::new(&data).start().await;
    let client = server.client().await;
    assert_eq!(client.status().await.unwrap().write_state, "ok");
    let mut events = watch(&client, WatchFrom::Start).await;
    let all = collect_until(&mut events, |event| ends(event, source)).await;
    for (now, then) in all.iter().zip(&acknowledged) {
        assert_eq!(now, then);
    }
    assert!(all.iter().any(is_sighting) && all.len() > acknowledged.len());
    drop((events, client));
    assert_eq!(server.terminate().await, Some(0), "{}", server.logged());
    Facts::read(&data.join("log")).assert_saw_the_same(source, &undisturbed, 1);
}

/// Asks for a write until it is refused with the reason. The server tries again by itself now and then, so it may take
/// some asking.
async fn assert_refused(client: &Client, reason: &str) {
    until("a write to be refused", async || {
        match rename(client, "nobody").await {
            Err(error) if error.reason() == reason => {
                assert_eq!(error.code(), Code::Unavailable, "{error:?}");
                assert!(error.retry_after().is_some(), "{error:?}");
                Some(())
            }
            Err(error) if error.reason() == "IDENTITY_NOT_FOUND" => None,
            Ok(_) => {
                tokio::time::sleep(ASK_AGAIN).await;
                None
            }
            Err(error) => panic!("{error:?}"),
        }
    })
    .await;
}

/// Searches are answered meanwhile.
async fn assert_answered(client: &Client, truth: &Truth) {
    let image = std::fs::read(&truth.held_out[0].1).unwrap();
    let request = pb::SearchImageRequest {
        image,
        ..Default::default()
    };
    let answer = client.search_image(request).await.unwrap();
    assert_eq!(answer.faces.len(), 1);
    let embedding = vec![1.0; 512];
    let request = pb::SearchEmbeddingRequest {
        embedding,
        ..Default::default()
    };
    client.search_embedding(request).await.unwrap();
    assert_eq!(client.status().await.unwrap().sources, 1);
}

/// The next recorded event, unless the one before it was the last up to a sequence.
async fn event_before(
    events: &mut rollcall_client::Watch,
    sequence: u64,
) -> Option<pb::WatchEvent> {
    use pb::watch_event::Event;
    loop {
        let event = crate::support::events::next(events).await;
        match event.event {
            Some(Event::Heartbeat(_)) => return None,
            Some(Event::Started(_)) => {}
            _ if event.sequence > sequence => return None,
            _ => return Some(event),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_disk_gets_room_again_goes_on_by_itself() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let data = prepared::collection(folder.path()).await;
    let undisturbed = Facts::read(&data.join("log"));
    let copy = |name: &str| {
        let clip = folder.path().join(name);
        std::fs::copy(&truth.clip, &clip).unwrap();
        clip
    };
    // Pictures of four sources are there: no room for those of a fifth. The catalog, made anew, is smaller than they are,
    // so that small records have room, and the log opens again and again.
    let mut server = Setup::new(&data).start().await;
    for name in ["second.mp4", "third.mp4", "fourth.mp4"] {
        let added = arguments!["source", "add", &copy(name), "--wait"];
        rollcall(&server, added).await.expect(0);
    }
    assert_eq!(server.terminate().await, Some(0));
    for file in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
        // The last two are there or not.
        let _ = std::fs::remove_file(data.join(file));
    }
    let blobs = largest_file(&data.join("log/blobs"));
    let mut server = Setup::new(&data)
        .file_bytes_max(blobs + (4 << 10))
        .start()
        .await;
    let client = server.client().await;
    let mut events = watch(&client, WatchFrom::Now).await;
    let uri = copy("fifth.mp4").to_str().unwrap().to_owned();
    let add = pb::AddSourceRequest {
        uri,
        ..Default::default()
    };
    let source = client.add_source(add).await.unwrap().id;
    assert_eq!(until_full(&client).await, "LOG_FULL");
    // However often the worker is refused: that is no reason to give the source up.
    until(
        "the worker to have been refused again and again",
        async || {
            let now = client.source(source).await.unwrap();
            assert_ne!(now.state(), pb::SourceState::Failed, "{now:?}");
            (now.worker_restarts >= 6).then_some(())
        },
    )
    .await;
    server.make_room();
    while !ends(&next_recorded(&mut events).await, source) {}
    assert_eq!(client.status().await.unwrap().write_state, "ok");
    drop((events, client));
    assert_eq!(server.terminate().await, Some(0), "{}", server.logged());
    let facts = Facts::read(&data.join("log"));
    for source in [1, 2, source] {
        facts.assert_saw_the_same(source, &undisturbed, 1);
    }
    truth.assert_identified(facts.tracks.values());
}

fn largest_file(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .max()
        .unwrap()
}

//! A server that is asked to leave in the middle of reading goes on where it was.

use crate::support::events::{ends, is_sighting, next, next_recorded, watch};
use crate::support::facts::Facts;
use crate::support::server::Setup;
use crate::support::truth::Truth;
use crate::support::{prepared, scratch, turn};
use rollcall_client::{WatchFrom, pb};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_goes_on_where_it_was_and_sees_the_same() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let undisturbed = Facts::read(&prepared::collection(folder.path()).await.join("log"));
    let setup = Setup::new(&folder.path().join("stopped"));
    let mut server = setup.start().await;
    let client = server.client().await;
    let uri = truth.clip.to_str().unwrap().to_owned();
    let mut events = watch(&client, WatchFrom::Start).await;
    let add = pb::AddSourceRequest {
        uri: uri.clone(),
        ..Default::default()
    };
    let source = client.add_source(add).await.unwrap().id;
    // Twice, once early and once late: after the first sighting, and after the first that ended.
    let mut cursor = String::new();
    for nth in [1, 6] {
        let mut sightings = 0;
        while sightings < nth {
            let event = next_recorded(&mut events).await;
            assert!(
                !ends(&event, source),
                "the source ended before the server was stopped"
            );
            sightings += u32::from(is_sighting(&event));
            cursor.clone_from(&event.cursor);
        }
        let workers = server.workers();
        assert_eq!(server.terminate().await, Some(0), "{}", server.logged());
        for worker in workers {
            assert!(
                !std::fs::exists(format!("/proc/{worker}")).unwrap(),
                "a worker was left behind"
            );
        }
        server = setup.start().await;
        let client = server.client().await;
        let state = client.source(source).await.unwrap().state();
        assert!(
            !matches!(state, pb::SourceState::Stopped | pb::SourceState::Failed),
            "{state:?}"
        );
        events = watch(&client, WatchFrom::Cursor(cursor.clone())).await;
    }
    while !ends(&next_recorded(&mut events).await, source) {}
    assert_eq!(server.terminate().await, Some(0), "{}", server.logged());
    let facts = Facts::read(&server.data().join("log"));
    facts.assert_saw_the_same(source, &undisturbed, 1);
    truth.assert_identified(facts.tracks.values());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_logs_little_stays_until_it_is_told_to_leave() {
    let _turn = turn().await;
    let folder = scratch();
    for filter in ["warn", "off"] {
        let data = folder.path().join(filter);
        let mut server = Setup::new(&data).set("log.filter", filter).start().await;
        // It once waited for the signal inside a log line, and so not at all when that line was left out.
        let client = server.client().await;
        let mut events = watch(&client, WatchFrom::Now).await;
        for _ in 0..3 {
            next(&mut events).await;
        }
        drop((events, client));
        assert_eq!(server.terminate().await, Some(0));
    }
}

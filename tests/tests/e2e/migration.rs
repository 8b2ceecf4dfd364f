//! Going over to another model and back with real ones, the server killed in the middle again and again: everybody stays
//! who they are.

use crate::support::cli::{arguments, rollcall};
use crate::support::damage::assets_copy;
use crate::support::events::{next_recorded, watch};
use crate::support::programs::{bare, program};
use crate::support::server::{Server, Setup};
use crate::support::truth::Truth;
use crate::support::{prepared, scratch, turn};
use rollcall_client::WatchFrom;
use rollcall_client::pb::{MigrationState, watch_event::Event};
use rollcall_index::Embedding;
use rollcall_log::record::{BlobRef, Body};
use rollcall_log::{FileStorage, Log, LogOptions};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

const OTHER: &str = "mobilefacenet-other";

/// The default embedder under another id: another contract, and nothing else.
fn another_model(assets: &Path) {
    let models = assets.join("models");
    let manifest = std::fs::read_to_string(models.join("mobilefacenet.toml")).unwrap();
    let other = manifest.replacen("id = \"mobilefacenet\"", &format!("id = \"{OTHER}\""), 1);
    assert_ne!(other, manifest);
    std::fs::write(models.join(format!("{OTHER}.toml")), other).unwrap();
}

/// Who is found on each picture that was held out: id, name, tracks. A stranger is not.
async fn known(server: &Server, truth: &Truth) -> BTreeMap<String, (u64, Value, u64)> {
    let mut known = BTreeMap::new();
    for (person, picture) in &truth.held_out {
        let found = rollcall(server, arguments!["search", picture])
            .await
            .expect(0);
        let identity = found.json()["hits"][0]["identity"].clone();
        let number = |key: &str| identity[key].as_u64().unwrap();
        let is = (number("id"), identity["name"].clone(), number("tracks"));
        known.insert(person.clone(), is);
    }
    let stranger = rollcall(server, arguments!["search", &truth.stranger]).await;
    stranger.expect(1);
    known
}

/// Kills the server after each event that tells of the migration, until one says that it has come to `state`.
async fn killed_until(setup: &Setup, mut server: Server, state: MigrationState) -> (Server, u32) {
    let (mut cursor, mut kills) = (String::new(), 0);
    loop {
        let client = server.client().await;
        let from = match cursor.as_str() {
            "" => WatchFrom::Start,
            cursor => WatchFrom::Cursor(cursor.to_owned()),
        };
        let mut events = watch(&client, from).await;
        let changed = loop {
            let event = next_recorded(&mut events).await;
            cursor.clone_from(&event.cursor);
            if let Some(Event::MigrationChanged(changed)) = event.event {
                break changed;
            }
        };
        if changed.state() == state {
            return (server, kills);
        }
        server.kill();
        kills += 1;
        server = setup.start().await;
    }
}

/// A file that was read to its end is not read again by another model; and the same weights give nearly the same
/// embedding for the crop that was kept as for the picture it was cut from.
fn assert_nothing_was_read_twice(data: &Path) {
    let storage = Arc::new(FileStorage::open(data.join("log")).unwrap());
    let (log, _) = Log::open(storage, LogOptions::default()).unwrap();
    let reader = log.reader();
    let read = |at: &Option<BlobRef>| {
        let bytes = reader.blob(at.as_ref().unwrap()).unwrap();
        Embedding::from_f16_bytes(&bytes).unwrap()
    };
    let (mut seen, mut cosines) = (HashMap::new(), Vec::new());
    for record in reader.read_after(0) {
        match record.unwrap().body {
            Some(Body::TrackObserved(track)) => {
                let exemplars = track.exemplars.iter();
                seen.extend(exemplars.map(|e| (e.exemplar_id, read(&e.embedding))));
            }
            Some(Body::TrackRetracted(retracted)) => panic!("{retracted:?}"),
            Some(Body::ExemplarsReembedded(batch)) => {
                let exemplars = batch.exemplars.iter();
                cosines
                    .extend(exemplars.map(|e| seen[&e.exemplar_id].dot(&read(&e.embedding)).get()));
            }
            _ => {}
        }
    }
    cosines.sort_by(f32::total_cmp);
    let (least, median) = (cosines[0], cosines[cosines.len() / 2]);
    eprintln!(
        "{} embedded again, least cosine {least}, median {median}",
        cosines.len()
    );
    assert!(least > 0.9 && median > 0.97, "{cosines:?}");
}

async fn migrate(server: &Server, words: &[&str]) -> Value {
    let line = ["admin", "migrate"].iter().chain(words);
    rollcall(server, line).await.expect(0).json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_is_killed_again_and_again_ends_with_the_same_people() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let data = prepared::collection(folder.path()).await;
    let assets = assets_copy(folder.path());
    another_model(&assets);
    // After a batch it rests long enough to be killed.
    let setup = Setup::new(&data)
        .assets(&assets)
        .set("migration.share_percent", "1");
    let server = setup.start().await;
    for (person, (id, ..)) in known(&server, &truth).await {
        let id = id.to_string();
        let rename = ["identity", "rename", &id, &person, "--allow-duplicate-name"];
        rollcall(&server, rename).await.expect(0);
    }
    let before = known(&server, &truth).await;
    let dry = migrate(&server, &["start", OTHER, "--dry-run"]).await;
    assert_eq!(
        (&dry["number"], &dry["identities_lost"]),
        (&Value::Null, &0.into())
    );
    let begun = migrate(&server, &["start", OTHER, "--author", "ada"]).await;
    assert_eq!(
        (&begun["state"], &begun["author"]),
        (&"reembedding".into(), &"ada".into())
    );
    rollcall(&server, ["admin", "migrate", "start", OTHER])
        .await
        .expect_error("MIGRATION_RUNNING");
    let (server, kills) = killed_until(&setup, server, MigrationState::Switched).await;
    assert!(kills > 1, "{kills} kills");
    assert_eq!(known(&server, &truth).await, before);
    let status = rollcall(&server, ["status"]).await.expect(0).json();
    assert_eq!(status["embedder"], format!("{OTHER} 1"));

    // The same clip, read by a worker with the new model: the same people.
    let again = folder.path().join("again.mp4");
    std::fs::copy(&truth.clip, &again).unwrap();
    rollcall(&server, arguments!["source", "add", &again, "--wait"])
        .await
        .expect(0);
    let after = known(&server, &truth).await;
    for (person, (id, name, tracks)) in &before {
        let (id_after, name_after, tracks_after) = &after[person];
        assert_eq!((id_after, name_after), (id, name));
        assert!(
            tracks_after > tracks,
            "{person}: {tracks_after} tracks after {tracks}"
        );
    }

    let back = migrate(&server, &["rollback", "--reason", "for a test"]).await;
    assert_eq!(back["state"], "rolling_back");
    let (mut server, kills) = killed_until(&setup, server, MigrationState::RolledBack).await;
    assert!(kills > 1, "{kills} kills");
    assert_eq!(known(&server, &truth).await, after);
    assert_eq!(server.terminate().await, Some(0), "{}", server.logged());
    assert_nothing_was_read_twice(&data);
    for check in [&["check"][..], &["index", "verify"]] {
        let mut command = bare(program("rollcalld"));
        command.args(check).arg("--data").arg(&data);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

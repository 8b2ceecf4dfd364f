//! Servers that must not start, and say why in one line; and one that must although its log was cut short.

use crate::support::cli::{arguments, rollcall};
use crate::support::damage::{assets_copy, cut, flip, record_segment};
use crate::support::events::{ends, next_recorded, watch};
use crate::support::facts::Facts;
use crate::support::prepared::{self, copy};
use crate::support::programs::{bare, program};
use crate::support::server::Setup;
use crate::support::truth::Truth;
use crate::support::{scratch, turn};
use rollcall_client::WatchFrom;
use rollcall_log::record::BlobRef;
use std::net::TcpListener;
use std::path::Path;

/// Fails the test unless a server refuses to start with exit code 2 and one line that holds all of `words`.
async fn assert_refused(setup: &Setup, words: &[&str]) {
    let (code, said) = setup.start_refused().await;
    assert_eq!(code, 2, "{said}");
    // Log lines may stand before it.
    let last = said.trim_end().lines().next_back().unwrap_or_default();
    assert!(last.starts_with("rollcalld: "), "{said}");
    for word in words {
        assert!(last.contains(word), "`{word}` is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_that_are_missing_or_not_the_ones_meant_stop_the_start() {
    let _turn = turn().await;
    let folder = scratch();
    let data = folder.path().join("data");
    let assets = assets_copy(folder.path());
    let model = assets.join("models/mobilefacenet.onnx");
    let good = model.canonicalize().unwrap();
    std::fs::remove_file(&model).unwrap();
    let setup = Setup::new(&data).assets(&assets);
    assert_refused(
        &setup,
        &["mobilefacenet.onnx", "no such file", "make setup"],
    )
    .await;

    std::fs::copy(&good, &model).unwrap();
    let length = usize::try_from(std::fs::metadata(&model).unwrap().len()).unwrap();
    flip(&model, length / 2);
    assert_refused(&setup, &["mobilefacenet.onnx", "SHA-256", "make setup"]).await;

    std::fs::write(assets.join("models/centerface.onnx.part"), b"left over").unwrap();
    std::fs::copy(&good, &model).unwrap();
    setup.start().await;

    let nowhere = folder.path().join("nowhere");
    assert_refused(
        &Setup::new(&data).assets(&nowhere),
        &["nowhere", "make setup"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_use_stays_with_its_user() {
    let _turn = turn().await;
    let folder = scratch();
    let data = folder.path().join("data");
    let mut first = Setup::new(&data).start().await;
    assert_refused(&Setup::new(&data), &["in use", data.to_str().unwrap()]).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["grpc.listen", "http.listen"] {
        let other = folder.path().join(key);
        let setup = Setup::new(&other).set(key, &address);
        assert_refused(&setup, &["cannot listen", &address, key]).await;
    }
    rollcall(&first, ["status"]).await.expect(0);
    assert_eq!(first.terminate().await, Some(0));

    // Nobody else is let in by mistake.
    let setup = Setup::new(&data).set("grpc.listen", "0.0.0.0:0");
    let said = ["grpc.listen = 0.0.0.0:0", "--set access=anyone"];
    assert_refused(&setup, &said).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_settings_are_refused_with_a_suggestion() {
    let _turn = turn().await;
    let folder = scratch();
    let data = folder.path().join("data");
    let setup = Setup::new(&data);
    assert_refused(
        &setup.clone().set("grpc.lisen", "127.0.0.1:0"),
        &["grpc.lisen", "grpc.listen"],
    )
    .await;
    assert_refused(
        &setup.clone().set("search.threads", "many"),
        &["search.threads", "many"],
    )
    .await;
    let file = folder.path().join("rollcalld.toml");
    std::fs::write(&file, "[watch]\nheartbeat_msec = 5\n").unwrap();
    let path = file.to_str().unwrap();
    let setup = setup.argument("--config").argument(path);
    assert_refused(
        &setup,
        &["watch.heartbeat_msec", "watch.heartbeat_ms", path],
    )
    .await;

    let mut command = bare(program("rollcalld"));
    command
        .args(["config", "show"])
        .env("ROLLCALL_GRPC__LISTN", "127.0.0.1:0");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("ROLLCALL_GRPC__LISTN") && said.contains("did you mean \"grpc.listen\""),
        "{said}"
    );

    // Flag before environment before file before default, and each says where it comes from.
    std::fs::write(
        &file,
        "[watch]\nheartbeat_ms = 1234\n[search]\nqueue_max = 77\n",
    )
    .unwrap();
    let mut command = bare(program("rollcalld"));
    command.args([
        "config",
        "show",
        "--config",
        path,
        "--set",
        "search.queue_max=99",
    ]);
    command
        .env("ROLLCALL_SEARCH__QUEUE_MAX", "88")
        .env("ROLLCALL_SEARCH__TIMEOUT_MS", "555");
    let output = command.output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    for line in ["heartbeat_ms = 1234", "queue_max = 99", "timeout_ms = 555"] {
        assert!(shown.contains(line), "`{line}` is not in:\n{shown}");
    }
}

fn check(data: &Path) -> (Option<i32>, String) {
    let output = bare(program("rollcalld"))
        .arg("check")
        .arg("--data")
        .arg(data)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_with_a_flipped_byte_is_refused_by_name_and_place() {
    let _turn = turn().await;
    let folder = scratch();
    let whole = prepared::collection(folder.path()).await;
    assert_eq!(check(&whole).0, Some(0));
    let length = std::fs::metadata(record_segment(&whole)).unwrap().len();
    for percent in [5, 30, 60, 90] {
        let data = folder.path().join(format!("flipped-{percent}"));
        copy(&whole, &data);
        let (segment, at) = (record_segment(&data), length * percent / 100);
        flip(&segment, usize::try_from(at).unwrap());
        let path = segment.to_str().unwrap();
        let setup = Setup::new(&data);
        assert_refused(
            &setup,
            &[path, "damaged at byte ", "Nothing was changed", "backup"],
        )
        .await;
        let (code, said) = check(&data);
        assert_eq!(code, Some(2), "{said}");
        let offset = said
            .split("damaged at byte ")
            .nth(1)
            .unwrap()
            .split(',')
            .next()
            .unwrap();
        let offset: u64 = offset.parse().unwrap();
        assert!(
            offset <= at && at - offset < 64 << 10,
            "byte {at} was flipped: {said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_or_missing_catalog_is_made_anew() {
    let _turn = turn().await;
    let folder = scratch();
    let data = prepared::collection(folder.path()).await;
    let truth = Truth::small();
    // The catalog is a view: it is made anew from the log.
    for entry in std::fs::read_dir(&data).unwrap().flatten() {
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("catalog.sqlite")
        {
            std::fs::write(entry.path(), b"this is no database").unwrap();
        }
    }
    let mut server = Setup::new(&data).start().await;
    rollcall(&server, arguments!["search", &truth.held_out[0].1])
        .await
        .expect(0);
    assert_eq!(server.terminate().await, Some(0));
    for entry in std::fs::read_dir(&data).unwrap().flatten() {
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("catalog.sqlite")
        {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    let server = Setup::new(&data).start().await;
    rollcall(&server, arguments!["search", &truth.held_out[1].1])
        .await
        .expect(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_picture_is_told_and_a_damaged_embedding_stops_a_rebuild() {
    let _turn = turn().await;
    let folder = scratch();
    let whole = prepared::collection(folder.path()).await;
    let facts = Facts::read(&whole.join("log"));
    let exemplar = facts.kept_exemplar();
    let damaged = |name: &str, blob: &BlobRef| {
        let data = folder.path().join(name);
        copy(&whole, &data);
        let blobs = std::fs::read_dir(data.join("log/blobs")).unwrap();
        let mut blobs: Vec<_> = blobs.map(|entry| entry.unwrap().path()).collect();
        blobs.sort();
        let end = blob.offset + u64::from(blob.length);
        flip(
            &blobs[usize::try_from(blob.segment).unwrap() - 1],
            usize::try_from(end).unwrap() - 1,
        );
        let (code, said) = check(&data);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(".blob is damaged at byte"), "{said}");
        data
    };
    let data = damaged("picture", exemplar.loose_crop.as_ref().unwrap());
    let server = Setup::new(&data).start().await;
    let id = exemplar.exemplar_id.to_string();
    let thumbnail = ["thumbnail", "--exemplar", &id, "-o", "-"];
    rollcall(&server, thumbnail)
        .await
        .expect_error("THUMBNAIL_DAMAGED");
    rollcall(&server, arguments!["search", &Truth::small().held_out[0].1])
        .await
        .expect(0);

    // It is read when the index is made anew, not before.
    let data = damaged("embedding", exemplar.embedding.as_ref().unwrap());
    let mut server = Setup::new(&data).start().await;
    assert_eq!(server.terminate().await, Some(0));
    std::fs::remove_dir_all(data.join("index")).unwrap();
    assert_refused(&Setup::new(&data), &[".blob is damaged at byte", "backup"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_index_is_made_anew() {
    let _turn = turn().await;
    let folder = scratch();
    let data = prepared::collection(folder.path()).await;
    // The first start writes the index, the second finds it damaged.
    let mut server = Setup::new(&data).start().await;
    assert_eq!(server.terminate().await, Some(0));
    let files = std::fs::read_dir(data.join("index")).unwrap();
    let mut files = files.map(|entry| entry.unwrap().path());
    let is_segment = |path: &std::path::PathBuf| path.to_string_lossy().contains("segment-");
    flip(&files.find(is_segment).unwrap(), 1234);
    let mut server = Setup::new(&data).start().await;
    let logged = server.logged();
    assert!(logged.contains("the index is made anew"), "{logged}");
    assert!(logged.contains("damaged at byte"), "{logged}");
    rollcall(&server, arguments!["search", &Truth::small().held_out[0].1])
        .await
        .expect(0);
    assert_eq!(server.terminate().await, Some(0));
    let (code, said) = check(&data);
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_cut_short_at_its_end_goes_on_only_when_told_so_and_is_completed() {
    let _turn = turn().await;
    let folder = scratch();
    let whole = prepared::collection(folder.path()).await;
    let undisturbed = Facts::read(&whole.join("log"));
    let (looked_at, data) = (folder.path().join("looked-at"), folder.path().join("cut"));
    copy(&whole, &data);
    // Into the last record, past any mark behind it: its sound part is an unfinished write.
    let segment = record_segment(&data);
    let whole_records = undisturbed.records.len();
    let mut bytes = 0;
    let torn = loop {
        bytes += 1;
        assert!(bytes < 1000, "no record was torn");
        copy(&whole, &data);
        cut(&segment, bytes);
        copy(&data, &looked_at);
        let facts = Facts::read(&looked_at.join("log"));
        if facts.torn_bytes > 0 && facts.records.len() < whole_records {
            break facts;
        }
    };
    assert_eq!(torn.records.len(), whole_records - 1);
    copy(&whole, &looked_at);
    cut(&record_segment(&looked_at), bytes);
    let (code, said) = check(&looked_at);
    assert_eq!(code, Some(2), "{said}");
    let cut_short = format!("the log ends at record {}", whole_records - 1);
    assert!(said.contains(&cut_short), "{said}");

    // The catalog has seen the record that is gone: nobody goes on without it unless told so.
    let setup = Setup::new(&data);
    assert_refused(&setup, &[&cut_short, "--accept-loss", "backup"]).await;
    let mut accept = bare(program("rollcalld"));
    let accept = accept.args(["check", "--repair", "--accept-loss", "--data"]);
    let accepted = accept.arg(&data).output().unwrap();
    let said = String::from_utf8_lossy(&accepted.stdout);
    assert!(accepted.status.success(), "{accepted:?}");
    let lost = format!("records {whole_records} to {whole_records} are lost for good");
    assert!(said.contains(&lost), "{said}");

    // The record that was lost said that the source had ended: it is read on, and nothing is doubled.
    let mut server = setup.start().await;
    let client = server.client().await;
    let mut events = watch(&client, WatchFrom::Start).await;
    while !ends(&next_recorded(&mut events).await, 1) {}
    assert_eq!(server.terminate().await, Some(0));
    Facts::read(&data.join("log")).assert_saw_the_same(1, &undisturbed, 1);
}

//! `rollcalld index`: the index of a server that does not run.

use crate::support::{Fixture, config, once_free, start, track, vision};
use rollcall_index::{FaceId, IdentityId, Index, MemoryBudget, Operation};
use rollcall_server::offline_index;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A data folder in which three people were seen, one of them twice.
async fn seen() -> (tempfile::TempDir, PathBuf) {
    let Fixture {
        folder,
        server,
        api,
    } = Fixture::start().await;
    let source = api.add_remote("feed").await;
    let mut run = api.run(source.id).await;
    for (key, hue) in [(1, 0.0), (2, 120.0), (3, 240.0), (4, 0.0)] {
        let at = i64::try_from(key).unwrap() * 10;
        run.track(track(key, 1, hue, at, at + 1, true)).await;
    }
    run.finish().await;
    server.stop().await;
    let data = folder.path().join("data");
    (folder, data)
}

/// What a run gave: its exit code, and what it said on standard output and error.
type Ran = (i32, String, String);

fn line(data: &Path, command: &str) -> String {
    let rollcalld = env!("CARGO_BIN_EXE_rollcalld");
    format!("{rollcalld} index {command} --data {}", data.display())
}

fn shell(line: &str) -> Ran {
    let output = Command::new("sh").arg("-c").arg(line).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

/// Runs `rollcalld index ...` in a folder that a server has just left.
async fn run(data: &Path, command: &str) -> Ran {
    once_run(&line(data, command)).await
}

async fn once_run(line: &str) -> Ran {
    let ran = once_free(async || match shell(line) {
        (_, _, errors) if errors.contains("in use by another process") => Err(errors),
        ran => Ok(ran),
    });
    ran.await.unwrap()
}

/// The command fails, prints no result, and says all of these.
async fn refused(data: &Path, command: &str, because: &[&str]) {
    let (code, out, errors) = run(data, command).await;
    assert_eq!((code, out.as_str()), (2, ""), "{errors}");
    for word in because {
        assert!(errors.contains(word), "{word:?} is not in: {errors}");
    }
}

/// The index is sound, and what the log says.
async fn sound(data: &Path) {
    let (code, out, errors) = run(data, "verify").await;
    assert_eq!(code, 0, "{errors}");
    let expected = "sound, and as the log has it: 4 faces in 4 tracks of 3 identities";
    assert!(out.starts_with(expected), "{out}");
}

/// The first file in a folder whose name begins like that.
fn file(folder: &Path, begins: &str) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    let named = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(begins)
    };
    files.into_iter().find(named).unwrap()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn what_is_built_is_what_the_server_made() {
    let (folder, data) = seen().await;
    sound(&data).await;
    fs::remove_dir_all(data.join("index")).unwrap();
    // A budget that is exceeded by whatever there is.
    let budget: MemoryBudget = "1".parse().unwrap();
    let built = once_free(async || {
        let mut steps = Vec::new();
        let mut progress = |done, of| steps.push((done, of));
        let facts = offline_index::build(&data, budget, &mut progress);
        Ok((facts.map_err(|error| error.to_string())?, steps))
    });
    let (facts, steps) = built.await.unwrap();
    assert_eq!((facts.faces, facts.identities, facts.tracks), (4, 3, 4));
    assert_eq!(steps, [(4, 4)]);
    sound(&data).await;
    // And over the one that is there.
    let (code, out, errors) = run(&data, "build --memory 16MiB --threads 1").await;
    assert_eq!(code, 0, "{errors}");
    assert!(out.contains("4 faces in 4 tracks"), "{out}");
    sound(&data).await;
    let (_, out, _) = run(&data, "stats --json").await;
    let stats: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&stats["faces"], &stats["cells"]), (&4.into(), &1.into()));
    assert_eq!(stats["faces_per_identity"], serde_json::json!([1, 1, 2]));
    assert!(
        run(&data, "stats")
            .await
            .1
            .contains("level 2       3 people")
    );

    let server = start(&config(folder.path()), vision()).await.unwrap();
    let api = crate::support::Api::connect(&server).await;
    let hits = api.search(0.0).await.hits;
    assert_eq!(hits.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_running_server_keeps_its_index() {
    let fixture = Fixture::start().await;
    let data = fixture.folder.path().join("data");
    for command in ["build", "verify", "stats"] {
        let (code, out, errors) = shell(&line(&data, command));
        assert_eq!((code, out.as_str()), (2, ""), "{errors}");
        assert!(errors.contains("in use by another process"), "{errors}");
    }
    fixture.server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for data in [folder.path().join("none"), folder.path().to_owned()] {
        for command in ["build", "verify", "stats"] {
            let path = data.to_str().unwrap();
            refused(&data, command, &[path, "no collection here", "--data"]).await;
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let (_folder, data) = seen().await;
    fs::remove_dir_all(data.join("index")).unwrap();
    for command in ["verify", "stats"] {
        let words = ["index: there is no index", "rollcalld index build"];
        refused(&data, command, &words).await;
    }
    fs::create_dir(data.join("index")).unwrap();
    refused(&data, "verify", &["not complete", "rollcalld index build"]).await;
}

#[tokio::test]
async fn what_is_damaged_is_named_with_its_place() {
    let (_folder, data) = seen().await;
    let segment = file(&data.join("index"), "segment-");
    flip(&segment, 100);
    refused(
        &data,
        "verify",
        &[segment.to_str().unwrap(), "rollcalld index build"],
    )
    .await;
    assert_eq!(run(&data, "build").await.0, 0);
    sound(&data).await;

    let records = file(&data.join("log/records"), "0");
    let length = usize::try_from(fs::metadata(&records).unwrap().len()).unwrap();
    flip(&records, length / 2);
    let place = [records.to_str().unwrap(), "damaged at byte"];
    refused(&data, "build", &place).await;
    refused(&data, "verify", &place).await;
    flip(&records, length / 2);
    sound(&data).await;
}

#[tokio::test]
async fn an_index_that_is_not_of_the_log_is_not_sound() {
    let (_folder, data) = seen().await;
    let folder = data.join("index");
    let change = |operation: Operation| {
        let mut index = Index::open_existing(&folder).unwrap();
        let sequence = index.newest().sequence();
        index.apply(sequence, &[operation]).unwrap();
        index.checkpoint().unwrap();
    };
    let face = FaceId::new(1);
    let identity = IdentityId::new(77);
    change(Operation::Move { face, identity });
    refused(
        &data,
        "verify",
        &["face 1 is not in the index as the log has it"],
    )
    .await;
    change(Operation::Remove { face });
    refused(&data, "verify", &["the index has 3 faces, the log 4"]).await;
    assert_eq!(run(&data, "build").await.0, 0);
    sound(&data).await;
}

#[tokio::test]
async fn a_disk_that_takes_no_more_keeps_the_index_that_was_there() {
    let (_folder, data) = seen().await;
    // No file may grow beyond 16 KiB, which is enough for the log, and the signal that says so is ignored.
    let build = line(&data, "build");
    let (code, _, errors) = once_run(&format!("trap '' XFSZ; ulimit -f 32; {build}")).await;
    assert_eq!(code, 2, "{errors}");
    let new = data.join("index.new");
    assert!(errors.contains(new.to_str().unwrap()), "{errors}");
    assert!(errors.contains("nothing was changed"), "{errors}");
    assert!(!new.exists());
    sound(&data).await;
}

//! `rollcall-ingest extract`: observations without a server.

use crate::support::facts::Facts;
use crate::support::programs::{assets, bare, program};
use crate::support::truth::Truth;
use crate::support::{prepared, scratch, turn};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

fn extract(clip: &Path, out: &Path) -> Output {
    let mut command = bare(program("rollcall-ingest"));
    command
        .arg("extract")
        .arg(clip)
        .arg("--out")
        .arg(out)
        .arg("--assets")
        .arg(assets());
    command.output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extract_sees_what_the_server_sees() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let out = folder.path().join("out");
    let done = extract(&truth.clip, &out);
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(done.stdout.is_empty(), "results are files");

    let facts = Facts::read(&out.join("log"));
    truth.assert_found(facts.tracks.values());
    let source = facts.tracks.values().next().unwrap().source;
    let served = Facts::read(&prepared::collection(folder.path()).await.join("log"));
    facts.assert_saw_the_same(source, &served, 1);
    assert_lines_are(&out.join("tracks.jsonl"), &facts);
    let crops = std::fs::read_dir(out.join("crops"))
        .unwrap()
        .map(|crop| crop.unwrap().path());
    let crops: Vec<_> = crops.collect();
    assert!(crops.len() >= facts.tracks.len(), "{crops:?}");
    crops
        .iter()
        .for_each(|crop| drop(image::open(crop).unwrap()));

    assert_builds_what_was_served(&out, folder.path(), &served);

    // What is there is not overwritten, and what cannot be read is no success.
    let again = extract(&truth.clip, &out);
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    let text = folder.path().join("text.mp4");
    std::fs::write(&text, "this is no video").unwrap();
    let failed = extract(&text, &folder.path().join("other"));
    assert_eq!(failed.status.code(), Some(2), "{failed:?}");
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(
        said.contains("NOT_A_VIDEO") && said.contains("text.mp4"),
        "{said}"
    );
}

/// `rollcalld build` makes of it what the server made of the video, and so once only.
fn assert_builds_what_was_served(extracted: &Path, folder: &Path, served: &Facts) {
    let data = folder.join("built");
    let build = || {
        let mut command = bare(program("rollcalld"));
        command.arg("build").arg(extracted).arg("--data").arg(&data);
        command.arg("--assets").arg(assets()).output().unwrap()
    };
    let first = build();
    assert!(first.status.success(), "{first:?}");
    let built = Facts::read(&data.join("log"));
    served.assert_saw_the_same(1, &built, 1);
    let people = |facts: &Facts| {
        facts
            .tracks
            .values()
            .map(|track| track.identity)
            .collect::<BTreeSet<_>>()
            .len()
    };
    assert_eq!(people(&built), people(served));
    let again = build();
    let said = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(
        said.contains("0 sources (1 more were there already)"),
        "{again:?}"
    );
    assert_eq!(
        Facts::read(&data.join("log")).tracks.len(),
        built.tracks.len()
    );
}

fn assert_lines_are(path: &Path, facts: &Facts) {
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), facts.tracks.len());
    for line in &lines {
        let key = line["key"].as_u64().unwrap();
        let (_, track) = facts.tracks.iter().find(|((_, of), _)| *of == key).unwrap();
        let seconds = |us: i64| us as f64 / 1e6;
        assert!(
            (line["start_s"].as_f64().unwrap() - seconds(track.start_us)).abs() < 1e-6,
            "{line}"
        );
        assert!(
            (line["end_s"].as_f64().unwrap() - seconds(track.end_us)).abs() < 1e-6,
            "{line}"
        );
    }
}

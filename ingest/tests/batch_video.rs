//! Videos in parts, by the binary and with the real models; and a film's folder as video-labeler opens it.
//!
//! Needs the assets that `make setup` prepares: `ROLLCALL_ASSETS`, or `.assets` in the repository.
#![cfg(all(feature = "media", feature = "worker"))]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rollcall_ingest::facerec::{Clusters, read_trajectories};
use serde_json::Value;

fn assets() -> PathBuf {
    let folder = std::env::var_os("ROLLCALL_ASSETS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.assets"),
        PathBuf::from,
    );
    assert!(
        folder.join("demo/clip-small.mp4").exists(),
        "run make setup"
    );
    folder
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rollcall-ingest"))
        .args(arguments)
        .env("ROLLCALL_ASSETS", assets())
        .output()
        .unwrap()
}

fn runs(arguments: &[&str]) -> String {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    said
}

fn fails(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Every file of these folders and files in `root`, by its path there.
fn files(root: &Path, names: &[&str]) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for path in names.iter().map(|name| root.join(name)) {
        let paths: Vec<_> = if path.is_dir() {
            fs::read_dir(&path)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect()
        } else {
            vec![path]
        };
        for path in paths {
            let name = path.strip_prefix(root).unwrap().to_owned();
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn three_shards_and_their_merge_are_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let clip = assets().join("demo/clip-small.mp4");
    let clip = clip.to_str().unwrap();
    let (whole, parts, merged) = (at("whole"), at("parts"), at("merged"));
    runs(&["extract", clip, "--out", &whole, "--every", "6"]);
    let extract = |index: &str| {
        runs(&[
            "extract", clip, "--out", &parts, "--every", "6", "--shard", index, "--n", "3",
        ])
    };
    extract("2");
    let missing = fails(&["merge", &parts, "--out", &merged]);
    assert!(
        missing.contains("SHARD_MISSING") && missing.contains(": 0, 1;"),
        "{missing}"
    );
    extract("0");
    extract("1");
    assert!(extract("1").contains("was done before"));
    let other = [
        "extract", clip, "--out", &parts, "--every", "7", "--shard", "1", "--n", "3",
    ];
    assert!(fails(&other).contains("other settings"));
    runs(&["merge", &parts, "--out", &merged]);
    let names = ["tracks.jsonl", "crops"];
    let expected = files(Path::new(&whole), &names);
    assert!(expected.len() > 3, "{}", expected.len());
    assert!(files(Path::new(&merged), &names) == expected);
    assert!(fails(&["merge", &parts, "--out", &merged]).contains("not empty"));

    // The plan is of this video alone.
    let other = assets().join("demo/clip.mp4");
    let other = [
        "extract",
        other.to_str().unwrap(),
        "--out",
        &parts,
        "--every",
        "6",
        "--shard",
        "0",
        "--n",
        "3",
    ];
    assert!(fails(&other).contains("PLAN_OF_OTHER_FILE"));
}

/// Where Slurm is installed and may be started; elsewhere it says why not.
#[test]
fn slurm_runs_the_scripts_and_gives_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let clip = assets().join("demo/clip-small.mp4");
    let (whole, jobs) = (folder.path().join("whole"), folder.path().join("jobs"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python/slurm.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_rollcall-ingest"))
        .args([&clip, &jobs])
        .args(["--every", "12"])
        .env("ROLLCALL_ASSETS", assets())
        .output()
        .unwrap();
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.code() == Some(77) {
        eprintln!("{}", told(&output.stderr));
        return;
    }
    assert!(
        output.status.success(),
        "{}{}",
        told(&output.stdout),
        told(&output.stderr)
    );
    let (clip, out) = (clip.to_str().unwrap(), whole.to_str().unwrap());
    runs(&["extract", clip, "--out", out, "--every", "12"]);
    let names = ["tracks.jsonl", "crops"];
    assert!(files(&jobs.join("merged"), &names) == files(&whole, &names));
}

/// Photos of the clip's people, as actors 11, 12 and 13.
fn gallery(folder: &Path) -> PathBuf {
    let gallery = folder.join("gallery");
    for (id, photo) in [("11", "obama"), ("12", "biden"), ("13", "carphone")] {
        fs::create_dir_all(gallery.join(id)).unwrap();
        let photo = assets().join(format!("demo/query-{photo}.jpg"));
        fs::copy(photo, gallery.join(id).join("photo.jpg")).unwrap();
    }
    gallery
}

/// Who is in the clip at a time, as actors.
fn there(truth: &Value, second: f64) -> Vec<String> {
    let people = truth["people"].as_array().unwrap().iter();
    let is_there = |person: &&Value| {
        let within =
            |i: &Value| i[0].as_f64().unwrap() <= second && second <= i[1].as_f64().unwrap();
        person["intervals"].as_array().unwrap().iter().any(within)
    };
    let id = |person: &Value| match person["name"].as_str().unwrap() {
        "Barack Obama" => "momaf:elonet_henkilo_11",
        "Joe Biden" => "momaf:elonet_henkilo_12",
        _ => "momaf:elonet_henkilo_13",
    };
    people
        .filter(is_there)
        .map(|person| id(person).to_owned())
        .collect()
}

#[test]
fn video_labeler_opens_a_films_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let clip = at("123-clip.mp4");
    fs::copy(assets().join("demo/clip-small.mp4"), &clip).unwrap();
    let (whole, parts) = (at("whole"), at("parts"));
    let common = ["--profile", "facerec", "--detect-size", "320"];
    runs(&[&["extract", &clip, "--out", &whole], &common[..]].concat());
    for index in ["0", "1", "2"] {
        let shard = [
            "extract",
            &clip,
            "--out",
            &parts,
            "--shard-i",
            index,
            "--n-shards",
            "3",
        ];
        runs(&[&shard[..], &common].concat());
    }
    let film = Path::new(&whole).join("123-data");
    for out in [&whole, &parts] {
        let pattern = format!("{out}/*-data");
        runs(&[
            "merge",
            "--profile",
            "facerec",
            "--path",
            &pattern,
            "--min-face-size",
            "20",
        ]);
    }
    let names = [
        "trajectories.jsonl",
        "features.jsonl",
        "scene_changes.json",
        "images",
    ];
    let expected = files(&film, &names);
    assert!(expected.len() > 20, "{}", expected.len());
    assert!(files(&Path::new(&parts).join("123-data"), &names) == expected);

    // Each trajectory a cluster of its own, named by the photos.
    let trajectories = read_trajectories(&film.join("trajectories.jsonl")).unwrap();
    assert!(trajectories.len() >= 4, "{}", trajectories.len());
    let labels: Vec<usize> = (0..trajectories.len()).collect();
    Clusters::from_labels(&labels, 123)
        .write(&film.join("clusters.json"))
        .unwrap();
    let (film_text, gallery) = (film.to_str().unwrap(), gallery(folder.path()));
    runs(&[
        "classify",
        film_text,
        "--gallery",
        gallery.to_str().unwrap(),
    ]);

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python/labeler.py");
    let opened = Command::new("python3")
        .arg(script)
        .arg(&whole)
        .output()
        .unwrap();
    assert!(
        opened.status.success(),
        "{}",
        String::from_utf8_lossy(&opened.stderr)
    );
    let shown: Value = serde_json::from_slice(&opened.stdout).unwrap();
    assert_eq!(
        shown["trajectories"].as_u64().unwrap(),
        trajectories.len() as u64
    );
    let truth = fs::read(assets().join("demo/truth-small.json")).unwrap();
    let truth: Value = serde_json::from_slice(&truth).unwrap();
    for (cluster, trajectory) in trajectories.iter().enumerate() {
        let middle = (trajectory.start + trajectory.len / 2) as f64 / 25.0;
        let named = shown["names"][cluster.to_string()].as_array().unwrap();
        let first = named.first().and_then(Value::as_str).unwrap_or("nobody");
        let there = there(&truth, middle);
        assert!(
            there.iter().any(|actor| actor == first),
            "{first} at {middle} s, and not one of {there:?}"
        );
    }
}

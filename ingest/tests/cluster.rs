//! The commands `cluster`, `match` and `merge-clusters`, as a program.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use npyz::WriterBuilder;
use serde_json::Value;
use tempfile::TempDir;

const DIMENSION: usize = 48;

struct Bench {
    folder: TempDir,
}

impl Bench {
    /// `faces.npy` of five people, each in three tracks of four faces, with `people.npy` and `tracks.npy`.
    fn new() -> Self {
        let bench = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let mut state = 7_u64;
        let mut noise = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        };
        let (mut values, mut people, mut tracks) = (Vec::new(), Vec::new(), Vec::new());
        for person in 0..5 {
            let own: Vec<f32> = (0..DIMENSION).map(|_| noise()).collect();
            for track in 0..3 {
                let here: Vec<f32> = own.iter().map(|value| value + 0.5 * noise()).collect();
                for _ in 0..4 {
                    values.extend(here.iter().map(|value| value + 0.4 * noise()));
                    people.push(100 + person);
                    tracks.push(person * 3 + track);
                }
            }
        }
        write(&bench.path("faces.npy"), &[60, 48], &values);
        write(&bench.path("people.npy"), &[60], &people);
        write(&bench.path("tracks.npy"), &[60], &tracks);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &str) -> Output {
        let program = env!("CARGO_BIN_EXE_rollcall-ingest");
        let arguments = arguments.split_whitespace();
        Command::new(program)
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    /// What it says on standard output.
    fn done(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{arguments}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says when it refuses.
    fn refused(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).unwrap()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn labels(&self, name: &str) -> Vec<i64> {
        rollcall_index::vectors::Array::read_integers(&self.path(name)).unwrap()
    }
}

fn write<T: npyz::AutoSerialize + Copy>(path: &Path, shape: &[u64], values: &[T]) {
    let file = fs::File::create(path).unwrap();
    let options = npyz::WriteOptions::new().default_dtype().shape(shape);
    let mut writer = options.writer(file).begin_nd().unwrap();
    values.iter().for_each(|value| writer.push(value).unwrap());
    writer.finish().unwrap();
}

/// Five people of twelve faces.
fn five() -> Vec<i64> {
    (0..60).map(|row| row / 12).collect()
}

#[test]
fn people_are_clustered_and_labels_written_in_each_format() {
    let bench = Bench::new();
    let said = bench.done("cluster faces.npy --out labels.npy");
    assert!(
        said.starts_with("60 faces in 5 clusters, 0 of one face\nsizes: 5 of 10 to 99\n"),
        "{said}"
    );
    assert!(!said.contains("BCubed"));
    assert_eq!(bench.labels("labels.npy"), five());
    bench.done("cluster faces.npy --out labels.csv");
    assert!(
        bench
            .text("labels.csv")
            .starts_with("row,label\n0,0\n1,0\n")
    );
    bench.done("cluster faces.npy --tracks tracks.npy --threads 2 --out labels.json");
    assert_eq!(
        bench.json("labels.json")["labels"],
        serde_json::to_value(five()).unwrap()
    );
    let left: Vec<String> = fs::read_dir(bench.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left.len(), 6, "nothing else: {left:?}");
}

#[test]
fn every_method_finds_the_five() {
    let bench = Bench::new();
    for method in [
        "evidence --same-cosine 0.45",
        "chinese-whispers --threshold 0.5 --seed 3",
        "density --threshold 0.5 --neighbours 30",
        "streamface --threshold 0.6 --batch 25",
        "streamface --threshold 0.45 --linkage average",
        "facerec --size 3 --min-size 2 --max-size 4",
    ] {
        let said = bench.done(&format!(
            "cluster faces.npy --tracks tracks.npy --identities people.npy --json --method {method}"
        ));
        let report: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(report["clusters"], 5, "{method}: {said}");
        assert_eq!(report["scores"]["bcubed_f"], 1.0, "{method}");
        assert_eq!(report["diff"]["faces_changed"], 0, "{method}");
    }
}

#[test]
fn what_would_change_is_said_and_nothing_is() {
    let bench = Bench::new();
    // The first two are one identity, the last face of the third is the fourth's.
    let mut given: Vec<i64> = five().iter().map(|person| (*person).max(1)).collect();
    given[35] = 3;
    write(&bench.path("given.npy"), &[60], &given);
    let said = bench.done("cluster faces.npy --identities given.npy --diff diff.json");
    assert!(
        said.contains("0 grown, 0 merged, 1 moves") || said.contains("against the 4 identities"),
        "{said}"
    );
    let diff = bench.json("diff.json");
    assert_eq!(diff["counts"]["created"], 1);
    assert_eq!(diff["created"][0]["split_from"], 1);
    assert_eq!(diff["moved"][0]["from"], 3);
    assert_eq!(diff["moved"][0]["to"], 2);
    assert_eq!(diff["moved"][0]["examples"], serde_json::json!([35]));
    // Two with names in one cluster.
    bench.done("cluster faces.npy --identities given.npy --named 2,3 --diff diff.json");
    let diff = bench.json("diff.json");
    assert_eq!(
        diff["conflicts"][0]["named"],
        serde_json::json!([[2, 11], [3, 1]])
    );
    assert_eq!(diff["moved"], serde_json::json!([]));
}

#[test]
fn clusters_that_may_be_one_are_matched_and_merged() {
    let bench = Bench::new();
    // Each track is a cluster.
    let labels: Vec<i64> = (0..60).map(|row| row / 4).collect();
    write(&bench.path("tracks15.npy"), &[60], &labels);
    bench.done("match faces.npy --labels tracks15.npy");
    let evals = bench.json("cluster_evals.json");
    let pairs: Vec<&String> = evals["matches"].as_object().unwrap().keys().collect();
    assert_eq!(pairs.len(), 15, "three of each person: {pairs:?}");
    for pair in pairs {
        let (one, other) = pair.split_once(',').unwrap();
        let (one, other): (i64, i64) = (one.parse().unwrap(), other.parse().unwrap());
        assert!(one < other && one / 3 == other / 3, "{pair}");
    }
    fs::write(bench.path("old.json"), r#"{"ignore": ["0,1", "3,5"]}"#).unwrap();
    bench.done("match faces.npy --labels tracks15.npy --ignore old.json --out evals.json");
    let evals = bench.json("evals.json");
    assert_eq!(evals["matches"].as_object().unwrap().len(), 13);

    fs::write(
        bench.path("decisions.csv"),
        "Old Label,New Label\n1,0\n2,1\n14,-1\n",
    )
    .unwrap();
    bench.done("merge-clusters tracks15.npy --decisions decisions.csv --out merged.npy");
    let merged = bench.labels("merged.npy");
    assert_eq!(
        (merged[0], merged[4], merged[8], merged[12], merged[59]),
        (0, 0, 0, 3, -1)
    );
    bench.done("merge-clusters tracks15.npy --decisions decisions.csv --final --out merged.csv");
    assert!(
        bench
            .text("merged.csv")
            .ends_with("55,11\n56,-1\n57,-1\n58,-1\n59,-1\n")
    );
    fs::write(bench.path("matches.csv"), "Face 1,Face 2\n4,0\n12,0\n").unwrap();
    bench.done(
        "merge-clusters tracks15.npy --matches matches.csv --vectors faces.npy --out merged.npy",
    );
    let merged = bench.labels("merged.npy");
    assert_eq!(
        (merged[0], merged[4], merged[8], merged[12]),
        (0, 0, 2, 3),
        "other people stay apart"
    );
    // A file that was written is read again.
    fs::write(bench.path("more.csv"), "Old Label,New Label\n1.0,0.0\n").unwrap();
    bench.done("merge-clusters merged.csv --decisions more.csv --out again.json");
    assert_eq!(bench.json("again.json")["labels"][59], -1);
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let bench = Bench::new();
    write(&bench.path("short.npy"), &[3], &[1_i64, 2, 3]);
    write(
        &bench.path("nan.npy"),
        &[2, 2],
        &[1.0_f32, 0.0, f32::NAN, 1.0],
    );
    fs::write(
        bench.path("mixed.jsonl"),
        "{\"embedding\":[1,0]}\n{\"embedding\":[1,0,0]}\n",
    )
    .unwrap();
    fs::write(bench.path("empty.jsonl"), "").unwrap();
    fs::write(bench.path("one.jsonl"), "{\"embedding\":[1,0]}\n").unwrap();
    fs::write(bench.path("bad.csv"), "Old Label,New Label\n1,2\n7\n").unwrap();
    fs::write(bench.path("foreign.csv"), "Old Label,New Label\n1,77\n").unwrap();
    fs::write(bench.path("pairs.csv"), "Face 1,Face 2\n1,60\n").unwrap();
    for (arguments, reason) in [
        (
            "cluster faces.npy --tracks short.npy",
            "short.npy: has 3 rows, there are 60 vectors",
        ),
        ("cluster faces.npy --identities nowhere.npy", "nowhere.npy"),
        ("cluster nan.npy", "nan.npy"),
        (
            "cluster mixed.jsonl",
            "mixed.jsonl: row 1: 3 values, the rows before have 2",
        ),
        ("cluster empty.jsonl", "holds no vectors"),
        (
            "cluster faces.npy --out labels.txt",
            "neither .npy, .csv nor .json",
        ),
        (
            "cluster faces.npy --method streamface --threshold 2.5",
            "0 to 2 is possible",
        ),
        (
            "cluster faces.npy --method density --threshold NaN",
            "-1 to 1 is possible",
        ),
        ("cluster faces.npy --threshold 0.5", "see --same-cosine"),
        (
            "cluster faces.npy --same-cosine 1.5",
            "0.05 to 0.95 is possible",
        ),
        (
            "cluster faces.npy --method facerec --min-size 30",
            "none can be so",
        ),
        (
            "cluster faces.npy --memory 0.0001",
            "allow more with --memory",
        ),
        (
            "cluster faces.npy --method streamface --memory 0.0001 --threshold 0",
            "",
        ),
        (
            "cluster faces.npy --method streamface --matches pairs.csv",
            "pairs.csv: line 2: \"60\" is none of the 60 faces",
        ),
        ("cluster faces.npy --diff diff.json", "--identities"),
        (
            "match faces.npy --labels short.npy",
            "short.npy: has 3 rows, there are 60 vectors",
        ),
        (
            "match faces.npy --labels people.npy --max-threshold 3",
            "0 to 2 is possible",
        ),
        (
            "merge-clusters short.npy --decisions bad.csv --out x.npy",
            "bad.csv: line 3: has 1 columns, two are wanted",
        ),
        (
            "merge-clusters short.npy --decisions foreign.csv --out x.npy",
            "foreign.csv: line 2: there is no label 77",
        ),
        ("merge-clusters short.npy --out x.npy", "--decisions"),
    ] {
        if reason.is_empty() {
            bench.done(arguments);
            continue;
        }
        let said = bench.refused(arguments);
        assert!(said.contains(reason), "{arguments}: {said}");
    }
    assert!(
        bench
            .done("cluster one.jsonl")
            .starts_with("1 faces in 1 clusters, 1 of one face\n")
    );
    assert!(!bench.path("x.npy").exists());
}

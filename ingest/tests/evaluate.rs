//! `evaluate` and `calibrate` as they are run: what is written, and what is said of bad input.

#![allow(clippy::unwrap_used, reason = "a test's helpers are tests too")]

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// A folder with twelve people, of ten faces in five tracks each.
struct Corpus {
    folder: tempfile::TempDir,
}

const PEOPLE: usize = 12;
const EACH: usize = 10;

impl Corpus {
    fn new() -> Self {
        let corpus = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let mut lines = String::new();
        for row in 0..PEOPLE * EACH {
            let numbers = vector(row).map(|value| value.to_string()).join(",");
            let (person, track) = (row / EACH, row / 2);
            let _ = writeln!(
                lines,
                "{{\"embedding\":[{numbers}],\"identity\":{person},\"track\":{track},\"name\":\"p{person}/f_{row:04}.png\"}}"
            );
        }
        corpus.put("faces.jsonl", &lines);
        corpus
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    /// Runs in the folder.
    fn run(&self, arguments: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_rollcall-ingest"))
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn json(&self, arguments: &str) -> Value {
        let output = self.run(&format!("{arguments} --json"));
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {why}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Fails with 2, says why, and leaves nothing behind.
    #[track_caller]
    fn fails(&self, arguments: &str, why: &str) {
        let output = self.run(&format!("{arguments} --out out"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {said}");
        assert!(
            said.starts_with("rollcall-ingest: ") && said.contains(why),
            "{arguments}: {said}"
        );
        assert!(!self.at("out").exists(), "{arguments}");
    }
}

/// A face of person `row / EACH`: mostly their own direction, a bit of another that only this face has.
fn vector(row: usize) -> [f32; 32] {
    let person = row / EACH;
    let mut values = [0.0; 32];
    values[person] = 1.0;
    values[PEOPLE + row % 20] = 0.3 + 0.05 * (row % 7) as f32;
    values[(person + 1) % PEOPLE] = 0.1 * (row % 3) as f32;
    values
}

/// NumPy's format, version 1.
fn npy(path: &Path, dtype: &str, shape: &str, bytes: &[u8]) {
    let mut header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
    header.push_str(&" ".repeat(63 - (header.len() + 10) % 64));
    header.push('\n');
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    let all = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), bytes].concat();
    fs::write(path, all).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn features_with_a_report() {
    let corpus = Corpus::new();
    let found = corpus.json("evaluate features faces.jsonl --out out --far 1e-1,1e-2,1e-7");
    let (faces, people) = (&found["faces"], &found["people"]);
    assert_eq!((faces.as_u64(), people.as_u64()), (Some(120), Some(12)));
    let pairs = &found["pairs"];
    assert_eq!(pairs["same"]["pairs"].as_f64(), Some(12.0 * 45.0));
    assert_eq!(
        pairs["different"]["pairs"].as_f64(),
        Some(120.0 * 119.0 / 2.0 - 540.0)
    );
    assert!(pairs["area_under_roc"].as_f64().unwrap() > 0.999);
    assert!(pairs["at_far"][1]["point"]["tar"].as_f64().unwrap() > 0.99);
    assert!(
        pairs["at_far"][2]["point"].is_null(),
        "6600 pairs do not show 1e-7"
    );
    assert!(
        pairs["at_far"][2]["note"]
            .as_str()
            .unwrap()
            .contains("10000000 at least")
    );
    let written = names(&corpus.at("out"));
    let expected = [
        "cosines.csv",
        "nearest.csv",
        "neighbour_distributions.csv",
        "neighbours.csv",
        "pairs.csv",
        "report.html",
        "report.json",
        "roc.csv",
        "tar_at_far.csv",
        "thresholds.csv",
    ];
    assert_eq!(written, expected);
    let report: Value =
        serde_json::from_str(&fs::read_to_string(corpus.at("out/report.json")).unwrap()).unwrap();
    assert_eq!(report, found);
    let page = fs::read_to_string(corpus.at("out/report.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("<script"));
    let roc = fs::read_to_string(corpus.at("out/roc.csv")).unwrap();
    assert!(roc.starts_with("threshold,far,tar,frr\n") && roc.lines().count() > 100);
    // Two of a track are left out: 12 people of 5 tracks of 2.
    let across = corpus.json("evaluate features faces.jsonl --across-tracks");
    assert_eq!(
        across["pairs"]["same"]["pairs"].as_f64(),
        Some(540.0 - 60.0)
    );
    // Fewer are drawn, and it is said.
    let drawn = corpus.run("evaluate features faces.jsonl --max-rows 60");
    let text = String::from_utf8(drawn.stdout).unwrap();
    assert!(
        text.contains("60 of 120 faces of 12 people were drawn"),
        "{text}"
    );
    // Nobody is known: neighbours alone.
    let plain: Vec<u8> = (0..120)
        .flat_map(vector)
        .flat_map(f32::to_le_bytes)
        .collect();
    npy(&corpus.at("plain.npy"), "<f4", "(120, 32)", &plain);
    let found = corpus.json("evaluate features plain.npy --thresholds 0.2,0.1");
    assert!(found["pairs"].is_null());
    assert_eq!(
        found["neighbours"]["thresholds"].as_array().unwrap().len(),
        2
    );
}

#[test]
fn pairs_in_folds() {
    let corpus = Corpus::new();
    let mut table = String::from("a,b,same\n");
    for row in 0..PEOPLE * EACH {
        let same = row % 2 == 0;
        let other = if same {
            row ^ 1
        } else {
            (row + 37) % (PEOPLE * EACH)
        };
        let _ = writeln!(
            table,
            "p{}/f_{row:04},{other},{}",
            row / EACH,
            u8::from(same)
        );
    }
    corpus.put("pairs.csv", &table);
    let found = corpus.json("evaluate features faces.jsonl --pairs pairs.csv --folds 6");
    let protocol = &found["protocol"];
    assert_eq!(protocol["folds"].as_array().unwrap().len(), 6);
    assert_eq!(
        (protocol["same"].as_u64(), protocol["different"].as_u64()),
        (Some(60), Some(60))
    );
    assert!(protocol["accuracy"]["mean"].as_f64().unwrap() > 0.98);
    corpus.put(
        "tracks.csv",
        "a,b,same,fold\n0,1,1,0\n0,9,0,0\n5,6,1,1\np1,p2,0,1\n",
    );
    let found = corpus.json("evaluate features faces.jsonl --pairs tracks.csv --templates");
    assert_eq!(found["protocol"]["accuracy"]["mean"].as_f64(), Some(1.0));
    corpus.fails(
        "evaluate features faces.jsonl --pairs tracks.csv",
        "UNKNOWN_FACE: tracks.csv: p1 (line 5) is not among",
    );
}

#[test]
fn clusters_and_annotations() {
    let corpus = Corpus::new();
    let found = corpus.json("evaluate clusters faces.jsonl --out out");
    assert_eq!(found["clusters"].as_u64(), Some(12));
    assert!(found["silhouette_cosine"]["mean"].as_f64().unwrap() > 0.5);
    let scores = fs::read_to_string(corpus.at("out/cluster_scores.json")).unwrap();
    let scores: Value = serde_json::from_str(&scores).unwrap();
    for key in ["Davies-Bouldin", "Calinski-Harabasz", "Silhouette"] {
        assert!(scores[key].is_f64(), "{key}");
    }
    assert_eq!(scores["Silhouette PS"].as_array().unwrap().len(), 120);
    // By name, as streamface has labels: two people are one, and a face is noise.
    let entries = (0..120).map(|row| {
        let person = row / EACH;
        let label = if row == 7 {
            -1
        } else {
            i64::try_from(person.max(1)).unwrap()
        };
        format!("\"f_{row:04}\":{{\"label\":{label},\"mask\":0.1}}")
    });
    let labels = entries.collect::<Vec<_>>().join(",");
    corpus.put("annotations.json", &format!("{{\"labels\":{{{labels}}}}}"));
    let found = corpus.json("evaluate clusters faces.jsonl --labels annotations.json");
    assert_eq!(
        (found["clusters"].as_u64(), found["noise"].as_u64()),
        (Some(11), Some(1))
    );
    let truth: Vec<String> = (0..120)
        .map(|row| format!("f_{row:04},{}", row / EACH))
        .collect();
    corpus.put("truth.csv", &format!("name,label\n{}\n", truth.join("\n")));
    let found = corpus.json("evaluate annotations truth.csv annotations.json --out annotations");
    assert_eq!(
        found["found_clusters"].as_u64(),
        Some(12),
        "the noise counts as one"
    );
    assert!((found["purity"].as_f64().unwrap() - 111.0 / 120.0).abs() < 1e-9);
    let together = 19.0 * 18.0 + 10.0 * 10.0 * 9.0;
    let right = 9.0 * 8.0 + 10.0 * 9.0 + 900.0;
    assert!((found["pairwise"]["precision"].as_f64().unwrap() - right / together).abs() < 1e-9);
    assert!(names(&corpus.at("annotations")).contains(&"report.html".to_owned()));
    let dropped = corpus.json("evaluate annotations truth.csv annotations.json --noise drop");
    assert_eq!(dropped["samples"].as_u64(), Some(119));
}

#[test]
fn identification_divided_and_with_a_gallery() {
    let corpus = Corpus::new();
    let found = corpus.json("evaluate identification faces.jsonl --out out --fpir 0.1,0.001");
    let (mated, unmated) = (
        found["mated"].as_u64().unwrap(),
        found["unmated"].as_u64().unwrap(),
    );
    // 9 of 12 people are known, each by 3 of 5 tracks.
    assert_eq!(
        (found["gallery_people"].as_u64(), mated, unmated),
        (Some(9), 36, 30)
    );
    for way in ["by_faces", "by_means"] {
        assert_eq!(found[way]["ranks"][0]["share"].as_f64(), Some(1.0));
        assert_eq!(
            found[way]["at_fpir"][0]["point"]["fnir"].as_f64(),
            Some(0.0)
        );
        assert!(
            found[way]["at_fpir"][1]["point"].is_null(),
            "30 searches do not show 0.001"
        );
    }
    assert!(names(&corpus.at("out")).contains(&"det.csv".to_owned()));
    let all = fs::read_to_string(corpus.at("faces.jsonl")).unwrap();
    let gallery: Vec<&str> = all.lines().take(60).collect();
    corpus.put("gallery.jsonl", &gallery.join("\n"));
    let found = corpus.json("evaluate identification faces.jsonl --gallery gallery.jsonl");
    assert_eq!(
        (found["mated"].as_u64(), found["unmated"].as_u64()),
        (Some(60), Some(60))
    );
}

#[test]
fn words_are_the_same_people_in_all_files() {
    let corpus = Corpus::new();
    let all = fs::read_to_string(corpus.at("faces.jsonl")).unwrap();
    let lines: Vec<&str> = all.lines().collect();
    let known = |row: &usize| row / EACH >= 4;
    let gallery: Vec<&str> = (0..120)
        .filter(known)
        .step_by(2)
        .map(|row| lines[row])
        .collect();
    corpus.put("gallery.jsonl", &gallery.join("\n"));
    let label = |row: usize| format!("f_{row:04},person {}\n", row / EACH);
    let of_all: String = (0..120).map(label).collect();
    let of_gallery: String = (0..120).filter(known).step_by(2).map(label).collect();
    corpus.put("all.csv", &format!("name,label\n{of_all}"));
    corpus.put("gallery.csv", &format!("name,label\n{of_gallery}"));
    let found = corpus.json(
        "evaluate identification faces.jsonl --labels all.csv --gallery gallery.jsonl --gallery-labels gallery.csv",
    );
    assert_eq!(
        (found["mated"].as_u64(), found["unmated"].as_u64()),
        (Some(80), Some(40))
    );
    assert_eq!(found["by_faces"]["ranks"][0]["share"].as_f64(), Some(1.0));
    corpus.json("evaluate clusters faces.jsonl --labels all.csv --out out");
    let sizes = fs::read_to_string(corpus.at("out/clusters.csv")).unwrap();
    assert!(sizes.contains("person 11,10\n"), "{sizes}");
}

#[test]
fn a_threshold_goes_into_the_manifest() {
    let corpus = Corpus::new();
    let manifest = include_str!("../models/mobilefacenet.toml");
    corpus.put("m.toml", manifest);
    let found =
        corpus.json("calibrate faces.jsonl --false-match-rate 1e-2 --write m.toml --out out");
    let threshold = found["threshold"].as_f64().unwrap();
    assert!(found["false_match_rate"].as_f64().unwrap() <= 1e-2);
    let (low, high) = (
        &found["false_match_interval"]["low"],
        &found["false_match_interval"]["high"],
    );
    assert!(low.as_f64() < found["false_match_rate"].as_f64() && high.as_f64() > Some(0.01));
    assert!(
        found["interval_method"]
            .as_str()
            .unwrap()
            .contains("bootstrap draws of 12 people")
    );
    let now = fs::read_to_string(corpus.at("m.toml")).unwrap();
    assert!(
        now.contains(&format!("same = {threshold:.4}\n")),
        "{threshold}"
    );
    assert_eq!(now.lines().count(), manifest.lines().count());
    corpus.put("m.toml", manifest);
    corpus.fails_after(
        "calibrate faces.jsonl --false-match-rate 1e-2 --write m.toml --contract rc1-0",
        "is of contract rc1-",
    );
    assert_eq!(fs::read_to_string(corpus.at("m.toml")).unwrap(), manifest);
}

impl Corpus {
    /// As [`Corpus::fails`], without a folder to write to.
    #[track_caller]
    fn fails_after(&self, arguments: &str, why: &str) {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {said}");
        assert!(said.contains(why), "{arguments}: {said}");
    }
}

#[test]
fn bad_input_is_refused_with_a_code() {
    let corpus = Corpus::new();
    corpus.put("gone.csv", "name,label\nf_0001,1\nnobody.png,2\n");
    for command in ["features", "clusters", "identification"] {
        corpus.fails(
            &format!("evaluate {command} faces.jsonl --labels gone.csv"),
            "UNKNOWN_FACE: gone.csv: nobody is not among the 120 faces of the features (1 such)",
        );
    }
    let numbers: Vec<u8> = (0..121_i64).flat_map(i64::to_le_bytes).collect();
    npy(&corpus.at("many.npy"), "<i8", "(121,)", &numbers);
    corpus.fails(
        "evaluate clusters faces.jsonl --labels many.npy",
        "UNKNOWN_FACE: many.npy: row 120 is not among",
    );
    let mut values: Vec<f32> = (0..120).flat_map(vector).collect();
    values[32 * 5 + 3] = f32::NAN;
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    npy(&corpus.at("nan.npy"), "<f4", "(120, 32)", &bytes);
    corpus.fails("evaluate features nan.npy", "BAD_FEATURES: nan.npy: row 5");
    corpus.put(
        "mixed.jsonl",
        "{\"embedding\":[1,2,3]}\n{\"embedding\":[1,2]}\n",
    );
    corpus.fails("evaluate features mixed.jsonl", "BAD_FEATURES: mixed.jsonl");
    corpus.put("other.jsonl", "{\"embedding\":[1,2],\"identity\":1}\n");
    corpus.fails(
        "evaluate identification faces.jsonl --gallery other.jsonl",
        "DIMENSIONS: embeddings of 2 and of 32 values",
    );
    let plain: Vec<u8> = (0..120)
        .flat_map(vector)
        .flat_map(f32::to_le_bytes)
        .collect();
    npy(&corpus.at("plain.npy"), "<f4", "(120, 32)", &plain);
    corpus.fails("evaluate clusters plain.npy", "NO_LABELS");
    corpus.fails(
        "evaluate clusters plain.npy --labels gone.csv",
        "NO_NAMES: gone.csv",
    );
    corpus.fails(
        "calibrate faces.jsonl --false-match-rate 1e-6",
        "UNRESOLVABLE: 6600 pairs of two people cannot show",
    );
    for gone in ["gone.npy", "gone"] {
        corpus.fails(
            &format!("evaluate features {gone}"),
            &format!("BAD_FEATURES: {gone}: there is no such file or folder"),
        );
    }
    corpus.fails(
        "evaluate annotations gone one.csv",
        "FILE: gone: there is no such file or folder",
    );
    corpus.put("one.csv", "name,label\nx,1\n");
    corpus.fails(
        "evaluate annotations gone.csv one.csv",
        "BAD_FORMAT: one.csv: has no face in common with gone.csv",
    );
    corpus.fails(
        "evaluate identification nothing --gallery faces.jsonl",
        "BAD_FEATURES: nothing",
    );
    fs::create_dir_all(corpus.at("photos/ann")).unwrap();
    corpus.fails(
        "evaluate features photos --assets none",
        "(features/, metadata/); nor has it folders of photos, one a person",
    );
    corpus.put("photos/ann/1.jpg", "");
    corpus.fails_after(
        "evaluate features photos --assets none",
        "photos need models",
    );
}

#[test]
fn options_that_would_be_ignored_are_refused() {
    let corpus = Corpus::new();
    corpus.put("pairs.csv", "a,b,same\n0,1,1\n0,10,0\n");
    for option in [
        "--across-tracks",
        "--max-rows 10",
        "--nearest 3",
        "--thresholds 0.2",
        "--seed 2",
    ] {
        corpus.fails_after(
            &format!("evaluate features faces.jsonl --pairs pairs.csv {option}"),
            option.split(' ').next().unwrap(),
        );
    }
    for option in ["--across-tracks", "--max-rows 10", "--seed 2"] {
        corpus.fails_after(
            &format!("calibrate faces.jsonl --pairs pairs.csv {option}"),
            "cannot be used with",
        );
    }
    fs::create_dir_all(corpus.at("photos/ann")).unwrap();
    corpus.put("photos/ann/1.jpg", "");
    let of_photos = [
        "--labels x.csv",
        "--identities x.npy",
        "--tracks x.npy",
        "--names x.txt",
        "--model x",
    ];
    for option in of_photos {
        let name = option.split(' ').next().unwrap();
        let said = format!("{name}: photos is a folder of photos");
        corpus.fails(&format!("evaluate clusters photos {option}"), &said);
    }
    for option in ["--gallery-labels x.csv", "--gallery-names x.txt"] {
        let name = option.split(' ').next().unwrap();
        let said = format!("{name}: photos is a folder of photos");
        let command = "evaluate identification faces.jsonl --gallery photos";
        corpus.fails(&format!("{command} {option}"), &said);
    }
    for option in [
        "--iou-threshold 0.5",
        "--overlap 5",
        "--min-face-size 50",
        "--path x",
    ] {
        let name = option.split(' ').next().unwrap();
        let said = format!("rollcall-ingest: {name} is of --profile facerec");
        corpus.fails_after(&format!("merge parts --out out {option}"), &said);
    }
    corpus.fails_after(
        "merge 7-data --profile facerec --force",
        "cannot be used with",
    );
}

#[test]
fn people_are_drawn_where_two_faces_of_each_are_too_many() {
    let corpus = Corpus::new();
    let counts = |found: &Value| {
        ["faces", "faces_of", "people", "people_of"].map(|name| found[name].as_u64().unwrap())
    };
    let found = corpus.json("evaluate features faces.jsonl --max-rows 10 --out out");
    assert_eq!(counts(&found), [10, 120, 5, 12]);
    let page = fs::read_to_string(corpus.at("out/report.html")).unwrap();
    assert!(page.contains("5 of 12 people and 10 of 120 faces were drawn"));
    let written = fs::read(corpus.at("out/report.json")).unwrap();
    assert_eq!(
        counts(&serde_json::from_slice(&written).unwrap()),
        [10, 120, 5, 12]
    );
    let found = corpus.json("evaluate features faces.jsonl --max-rows 60");
    assert_eq!(counts(&found), [60, 120, 12, 12]);
    let found = corpus.json("calibrate faces.jsonl --max-rows 20 --false-match-rate 1e-1");
    assert_eq!(counts(&found), [20, 120, 10, 12]);
}

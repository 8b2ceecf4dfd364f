//! All questions on a corpus that is small enough for a test.

use std::fs::File;
use std::path::Path;

use npyz::{AutoSerialize, Serialize, WriterBuilder};
use serde_json::Value;

use super::*;

const PEOPLE: usize = 40;
const FACES: usize = 800;
const DIMENSION: usize = 64;
const QUERIES: usize = 25;

fn write<T: AutoSerialize + Serialize + Clone>(
    folder: &Path,
    name: &str,
    width: usize,
    values: &[T],
) {
    let shape = [(values.len() / width) as u64, width as u64];
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(if width == 1 { &shape[..1] } else { &shape })
        .writer(File::create(folder.join(name)).unwrap())
        .begin_nd()
        .unwrap();
    writer.extend(values.iter().cloned()).unwrap();
    writer.finish().unwrap();
}

/// A vector near `person`'s, the same for the same `number`.
fn vector(person: usize, number: usize) -> Vec<f32> {
    let drawn = |of: usize, at: usize| churn::lot((of * DIMENSION + at) as u64, 9) as f32;
    let values: Vec<f32> = (0..DIMENSION)
        .map(|at| (drawn(person, at) + 0.5 * drawn(number + 1000, at)) / u64::MAX as f32 - 0.75)
        .collect();
    let norm = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    values.iter().map(|v| v / norm).collect()
}

fn make_corpus(folder: &Path) {
    let vectors: Vec<Vec<f32>> = (0..FACES)
        .map(|row| vector(row / 4 % PEOPLE, row))
        .collect();
    let queries: Vec<Vec<f32>> = (0..QUERIES).map(|q| vector(q * 2, FACES + q)).collect();
    let mut truth = Vec::new();
    for query in &queries {
        let cosine = |row: &i64| -> f32 {
            let face = &vectors[usize::try_from(*row).unwrap()];
            face.iter().zip(query).map(|(a, b)| a * b).sum()
        };
        let mut rows: Vec<i64> = (0..FACES as i64).collect();
        rows.sort_by(|a, b| cosine(b).total_cmp(&cosine(a)));
        truth.extend_from_slice(&rows[..100]);
    }
    let half: Vec<half::f16> = vectors
        .concat()
        .into_iter()
        .map(half::f16::from_f32)
        .collect();
    let number = |row: usize| row as u64 + 1;
    let meant = |q: usize| if q * 2 < PEOPLE { q as i64 * 2 + 1 } else { -1 };
    write(folder, "vectors.npy", DIMENSION, &half);
    write(folder, "queries.npy", DIMENSION, &queries.concat());
    write(
        folder,
        "query_identities.npy",
        1,
        &(0..QUERIES).map(meant).collect::<Vec<_>>(),
    );
    write(folder, "truth_faces.npy", 100, &truth);
    let rows = || 0..FACES;
    write(
        folder,
        "identities.npy",
        1,
        &rows()
            .map(|row| number(row / 4 % PEOPLE))
            .collect::<Vec<_>>(),
    );
    write(
        folder,
        "tracks.npy",
        1,
        &rows().map(|row| number(row / 4)).collect::<Vec<_>>(),
    );
    write(folder, "sources.npy", 1, &vec![1u32; FACES]);
    write(
        folder,
        "times.npy",
        1,
        &rows().map(|row| row as i64).collect::<Vec<_>>(),
    );
    std::fs::write(folder.join("corpus.json"), r#"{"name": "small"}"#).unwrap();
}

fn ask(folder: &Path, more: &[&str]) -> Vec<Value> {
    let mut given = vec!["index_bench", "--corpus", folder.to_str().unwrap()];
    given.extend(more);
    let mut out = Vec::new();
    run(
        &Arguments::parse_from(given),
        &Cores::given().unwrap(),
        &mut out,
    )
    .unwrap();
    let text = String::from_utf8(out).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_question_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    make_corpus(folder.path());
    let lines = ask(folder.path(), &["--only", "default", "--seconds", "0.3"]);
    let line = |question: &str, setting: &str| {
        let found = |line: &&Value| {
            line["question"] == question && line["setting"].as_str().unwrap().contains(setting)
        };
        lines
            .iter()
            .find(found)
            .unwrap_or_else(|| panic!("{question}: {setting}"))
    };
    assert_eq!(line("build", "identity given")["rank1"], 1.0);
    assert_eq!(line("who", "default")["rank1"], 1.0);
    assert!(line("faces", "default")["recall_at_10"].as_f64().unwrap() > 0.9);
    assert_eq!(
        line("insert", "a track at a time, identity given")["details"]["faces"],
        FACES
    );
    for sought in ["a face at a time, sought", "a track at a time, sought"] {
        let details = &line("insert", sought)["details"];
        assert_eq!(details["faces"], FACES / 10);
        assert!(details["purity"].as_f64().unwrap() > 0.9, "{details}");
    }
    assert!(
        line("readers", "while writing")["details"]["written"]
            .as_u64()
            .unwrap()
            > 0
    );
    for name in ["who normal", "faces normal"] {
        let one = line("batch", &format!("{name}, {QUERIES} queries, one"));
        let all = line(
            "batch",
            &format!("{name}, {QUERIES} queries in one call, threads=1"),
        );
        assert!(one["qps"].is_f64() && all["details"]["ratio"].is_f64());
    }
    assert!(
        line("churn", "changes")["details"]["moved"]
            .as_u64()
            .unwrap()
            > 0
    );
    assert_eq!(line("churn", "who normal, churned")["rank1"], 1.0);
    assert!(line("open", "")["p50_us"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_vectors_themselves_tell_all_faces_apart() {
    let folder = tempfile::tempdir().unwrap();
    make_corpus(folder.path());
    let lines = ask(
        folder.path(),
        &["--questions", "faces", "--only", "float16"],
    );
    assert_eq!(lines.len(), 5);
    for line in lines {
        assert!(line["recall_at_10"].as_f64().unwrap() > 0.9, "{line}");
        assert!(
            line["details"]["embeddings"].as_u64().unwrap() >= 10,
            "{line}"
        );
    }
}

#[test]
fn an_index_that_is_kept_is_not_made_twice() {
    let folder = tempfile::tempdir().unwrap();
    make_corpus(folder.path());
    let kept = folder.path().join("kept");
    let arguments = [
        "--questions",
        "insert,who",
        "--only",
        "default",
        "--index",
        kept.to_str().unwrap(),
    ];
    let given = |lines: &[Value]| lines.iter().filter(|line| line["build_s"].is_f64()).count();
    assert_eq!(given(&ask(folder.path(), &arguments)), 1);
    assert_eq!(given(&ask(folder.path(), &arguments)), 0);
}

#[test]
fn tracks_stay_together_in_the_order_of_their_ends() {
    let folder = tempfile::tempdir().unwrap();
    make_corpus(folder.path());
    let mut corpus = Corpus::read(folder.path(), None).unwrap();
    corpus.tracks = vec![1, 2, 1, 3, 2, 1];
    assert_eq!(corpus.in_tracks((0..6).collect()), [3, 1, 4, 0, 2, 5]);
}

//! All systems on streams that are small enough to know the answer.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use npyz::{AutoSerialize, Serialize, WriterBuilder};
use serde_json::Value;

use super::*;

const DIMENSION: usize = 64;
const KEYS: [&str; 16] = [
    "system",
    "corpus",
    "n",
    "order",
    "pairwise_p",
    "pairwise_r",
    "pairwise_f",
    "bcubed_f",
    "nmi",
    "identities",
    "identities_5plus",
    "true_identities_5plus",
    "fragments_per_person",
    "faces_per_s",
    "wall_s",
    "peak_mb",
];

fn write<T: AutoSerialize + Serialize + Clone>(
    folder: &Path,
    name: &str,
    shape: &[u64],
    values: &[T],
) {
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(shape)
        .writer(File::create(folder.join(name)).unwrap())
        .begin_nd()
        .unwrap();
    writer.extend(values.iter().cloned()).unwrap();
    writer.finish().unwrap();
}

/// A face: whom it shows, its track, its frame, and how much of it is the axis that all share.
type Face = (u64, u64, u32, f32);

fn make_corpus(folder: &Path, faces: &[Face]) {
    let count = faces.len() as u64;
    let vectors = faces.iter().flat_map(|(person, _, _, common)| {
        let mut values = vec![0.0; DIMENSION];
        values[usize::try_from(*person).unwrap()] = (1.0 - common * common).sqrt();
        values[0] = *common;
        values.into_iter().map(half::f16::from_f32)
    });
    let vectors: Vec<half::f16> = vectors.collect();
    write(folder, "vectors.npy", &[count, DIMENSION as u64], &vectors);
    let column = |of: fn(&Face) -> u64| faces.iter().map(of).collect::<Vec<u64>>();
    write(folder, "identities.npy", &[count], &column(|face| face.0));
    write(folder, "tracks.npy", &[count], &column(|face| face.1));
    let frames: Vec<u32> = faces.iter().map(|face| face.2).collect();
    write(folder, "frames.npy", &[count], &frames);
    write(folder, "sources.npy", &[count], &vec![1u32; faces.len()]);
    let times: Vec<i64> = (0..faces.len() as i64).collect();
    write(folder, "times.npy", &[count], &times);
    let order: Vec<u64> = (0..count).rev().collect();
    write(folder, "order.npy", &[count], &order);
    std::fs::write(folder.join("corpus.json"), r#"{"name": "small"}"#).unwrap();
}

fn lines(faces: &[Face], system: System, thresholds: &[f32], shuffled: bool) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    make_corpus(folder.path(), faces);
    let arguments = Arguments {
        corpus: folder.path().to_owned(),
        system,
        thresholds: thresholds.to_vec(),
        shuffled: shuffled.then(|| folder.path().join("order.npy")),
    };
    let mut out = Vec::new();
    run(&arguments, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// Three people, each in two tracks of five faces that run beside those of the others.
fn plain() -> Vec<Face> {
    let at = |round: u64, frame: u32, person: u64| (person, (round - 1) * 3 + person, frame, 0.1);
    let rounds = [(1, 0..5), (2, 10..15)].into_iter();
    rounds
        .flat_map(|(round, frames)| {
            frames.flat_map(move |frame| (1..=3).map(move |person| at(round, frame, person)))
        })
        .collect()
}

#[test]
fn every_system_gets_plain_people_right_in_either_order() {
    for system in System::value_variants() {
        for shuffled in [false, true] {
            let lines = lines(&plain(), *system, &[0.4, 0.5], shuffled);
            assert_eq!(lines.len(), 2, "a line a threshold");
            for line in lines {
                let keys = line.as_object().unwrap().keys().map(String::as_str);
                let keys: BTreeSet<&str> = keys.collect();
                assert_eq!(keys, BTreeSet::from(KEYS));
                assert_eq!(line["bcubed_f"], 1.0);
                assert_eq!(line["identities"], 3);
                assert_eq!(line["identities_5plus"], 3);
                assert_eq!(line["order"], if shuffled { "shuffled" } else { "stream" });
            }
        }
    }
}

#[test]
fn a_distance_of_nothing_leaves_every_face_alone() {
    let face = |n: u64| (1 + n % 3, 1 + n, u32::try_from(n).unwrap(), n as f32 / 10.0);
    let apart: Vec<Face> = (0..6).map(face).collect();
    let nobody = |system| lines(&apart, system, &[1.0], false)[0]["fragments_per_person"].clone();
    assert_eq!(nobody(System::Hri), 2.0);
}

#[test]
fn who_is_seen_together_is_kept_apart_by_us_alone() {
    // 0.64 alike, in the same frames.
    let faces: Vec<Face> = (0..5u32)
        .flat_map(|frame| [(1, 1, frame, 0.8), (2, 2, frame, 0.8)])
        .collect();
    let identities = |system| lines(&faces, system, &[0.4], false)[0]["identities"].clone();
    assert_eq!(identities(System::Rollcall), 2);
    assert_eq!(identities(System::RollcallOnce), 2);
    assert_eq!(identities(System::Hri), 1);
}

#[test]
fn an_order_that_leaves_rows_out_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    make_corpus(folder.path(), &plain());
    write(folder.path(), "order.npy", &[30], &[1u64; 30]);
    let order = folder.path().join("order.npy");
    let error = Stream::read(folder.path(), Some(&order)).err().unwrap();
    assert!(error.to_string().contains("each row once"), "{error}");
}

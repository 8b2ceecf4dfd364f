//! Folders of `rollcall-ingest extract` are kept for years and carried around: one of each version of their log stays here
//! for good and is read as it was.
//!
//! To write the one of the newest version: `cargo test -p rollcall-ingest --test extracted_fixture -- --ignored`.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use rollcall_ingest::extracted::{Extracted, ExtractedError, Told};
use rollcall_log::record::{
    Body, CollectionOpened, Exemplar, FaceBox, Record, SourceAdded, SourceKind, SourceProgress,
    SourceRunStarted, SourceState, SourceStateChanged, TrackObserved,
};
use rollcall_log::{FORMAT_VERSION, FileStorage, Log, LogId, LogOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ID: LogId = LogId::from_bytes(*b"extracted folder");
/// Versions of the log that extracted folders were written with.
const VERSIONS: [u16; 2] = [1, 2];

fn fixture(version: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/extracted-v{version}"))
}

/// What the fixture says of each track: its number, its faces, the bytes of its embeddings and pictures.
fn expected() -> [(u64, usize, Vec<u8>); 2] {
    [
        (
            1,
            3,
            b"first embedding|first picture|second embedding|".to_vec(),
        ),
        (2, 1, b"third embedding|".to_vec()),
    ]
}

fn track(log: &mut Log, id: u64, revision: u32, closed: bool, blobs: [&[u8]; 2]) -> Body {
    let mut put = |bytes: &[u8]| (!bytes.is_empty()).then(|| log.put_blob(bytes).unwrap());
    let exemplar = Exemplar {
        exemplar_id: id * 10 + u64::from(revision),
        number: revision,
        quality: 0.5,
        embedding: put(blobs[0]),
        crop: put(blobs[1]),
        ..Exemplar::default()
    };
    Body::TrackObserved(TrackObserved {
        track_id: id,
        track_key: id,
        source_id: 1,
        revision,
        closed,
        start_us: 0,
        end_us: 1_000_000,
        boxes: vec![FaceBox::default(); if id == 1 && revision == 1 { 2 } else { 1 }],
        exemplars: vec![exemplar],
        ..TrackObserved::default()
    })
}

#[test]
#[ignore = "writes a fixture"]
fn write_the_fixture() {
    let folder = fixture(FORMAT_VERSION);
    assert!(!folder.exists(), "a fixture that is there stays as it is");
    let storage = Arc::new(FileStorage::open(folder.join("log")).unwrap());
    let (mut log, _) = Log::open_or_create_as(storage, LogOptions::default(), ID).unwrap();
    let mut bodies = vec![
        Body::CollectionOpened(CollectionOpened {
            contract: "0123456789abcdef".to_owned(),
            dimension: 8,
        }),
        Body::SourceAdded(SourceAdded {
            source_id: 1,
            uri: "film.mp4".to_owned(),
            name: "film".to_owned(),
            kind: SourceKind::File.into(),
            ..SourceAdded::default()
        }),
        Body::SourceRunStarted(SourceRunStarted {
            source_id: 1,
            run: 1,
            pipeline: "pipeline".to_owned(),
        }),
    ];
    bodies.push(track(
        &mut log,
        1,
        1,
        false,
        [b"first embedding", b"first picture"],
    ));
    bodies.push(track(&mut log, 2, 1, true, [b"third embedding", b""]));
    bodies.push(track(&mut log, 1, 2, true, [b"second embedding", b""]));
    bodies.push(Body::SourceProgress(SourceProgress {
        source_id: 1,
        complete_up_to_us: 1_000_000,
        complete_up_to_frame: 25,
    }));
    bodies.push(Body::SourceStateChanged(SourceStateChanged {
        source_id: 1,
        state: SourceState::Ended.into(),
        ..SourceStateChanged::default()
    }));
    for body in bodies {
        let record = Record {
            time_us: 1_700_000_000_000_000,
            author: "system".to_owned(),
            body: Some(body),
            ..Record::default()
        };
        log.append(record).unwrap();
    }
    log.sync().unwrap();
    drop(log);
    std::fs::remove_file(folder.join("log/LOCK")).unwrap();
    std::fs::write(
        folder.join("tracks.jsonl"),
        "{\"track\":1}\n{\"track\":2}\n",
    )
    .unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

#[test]
fn a_folder_of_every_version_is_read_as_it_was() {
    for version in VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        copy(&fixture(version), folder.path());
        assert!(Extracted::is_one(folder.path()));
        let one = Extracted::open(folder.path()).unwrap();
        let begins = (&*one.uri, &*one.name, &*one.contract, one.dimension);
        assert_eq!(begins, ("film.mp4", "film", "0123456789abcdef", 8));
        assert_eq!(
            (&*one.pipeline, one.ended, one.tracks),
            ("pipeline", true, 2)
        );
        let log = one.log().unwrap();
        let (mut tracks, mut checkpoints) = (Vec::new(), Vec::new());
        let told = log.tell::<ExtractedError>(|told| {
            match told {
                Told::Track(track) => {
                    let mut bytes = Vec::new();
                    for exemplar in track.exemplars.values() {
                        bytes.extend(log.blob(exemplar.embedding.as_ref())?);
                        bytes.push(b'|');
                        bytes.extend(log.blob(exemplar.crop.as_ref())?);
                        bytes.extend(if exemplar.crop.is_some() { "|" } else { "" }.bytes());
                    }
                    tracks.push((track.last.track_id, track.faces.len(), bytes));
                }
                Told::Checkpoint {
                    complete_up_to_us,
                    frame,
                } => checkpoints.push((complete_up_to_us, frame)),
            }
            Ok(true)
        });
        told.unwrap();
        tracks.sort();
        assert_eq!(tracks, expected());
        assert_eq!(checkpoints, [(1_000_000, 25)]);
    }
}

#[test]
fn a_new_version_of_the_log_brings_its_fixture() {
    let newest = VERSIONS[VERSIONS.len() - 1];
    assert_eq!(
        newest, FORMAT_VERSION,
        "write the fixture and add its version here"
    );
    assert!(VERSIONS.iter().all(|version| fixture(*version).is_dir()));
}

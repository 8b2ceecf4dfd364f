//! The format is promised: version 1 stays readable, and is written byte for byte as it was.
//!
//! When a test here fails, the format has changed: that takes a new version, its text in
//! `log/FORMAT.md` and its own fixture beside this one. To write a new fixture:
//! `cargo test -p rollcall-log --test log -- --ignored write_the_fixture`.
// Fields may be added to any record: none is listed in full.
#![allow(clippy::needless_update)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rollcall_log::record::{
    BlobRef, Body, CollectionOpened, Decision, DecisionKind, Exemplar, FaceBox, IdentityRenamed,
    Record, SourceAdded, SourceKind, SourceProgress, SourceRunStarted, SourceSettings, SourceState,
    SourceStateChanged, TrackObserved, TrackRetracted,
};
use rollcall_log::{BlobError, Log, LogId, LogOptions, MemoryStorage};

use super::all;

const OPTIONS: LogOptions = LogOptions {
    segment_bytes_max: 900,
    blob_segment_bytes_max: 700,
};
const PAYLOADS: [&[u8]; 5] = [
    b"first embedding",
    b"first crop",
    &[0xa5; 500],
    b"second embedding",
    b"",
];
/// The blob that was erased.
const ERASED: usize = 1;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

fn files() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for part in ["records", "blobs"] {
        for file in fs::read_dir(folder().join(part)).unwrap() {
            let file = file.unwrap();
            let name = format!("{part}/{}", file.file_name().into_string().unwrap());
            files.insert(name, fs::read(file.path()).unwrap());
        }
    }
    files
}

fn source_records() -> Vec<Body> {
    let contract = "0123456789abcdef".to_owned();
    vec![
        Body::CollectionOpened(CollectionOpened {
            contract,
            dimension: 512,
        }),
        Body::SourceAdded(SourceAdded {
            source_id: 1,
            uri: "clip.mp4".to_owned(),
            name: "clip".to_owned(),
            kind: SourceKind::File.into(),
            settings: Some(SourceSettings { realtime: true }),
        }),
        Body::SourceRunStarted(SourceRunStarted {
            source_id: 1,
            run: 2,
            pipeline: "fedcba9876543210".to_owned(),
            ..SourceRunStarted::default()
        }),
        Body::SourceStateChanged(SourceStateChanged {
            source_id: 1,
            state: SourceState::Ended.into(),
            reason: "TRUNCATED".to_owned(),
            message: "the file ends within a picture".to_owned(),
            position_us: 12_340_000,
        }),
    ]
}

fn face(frame: i64) -> FaceBox {
    let (x, y, width, height) = (0.25, 0.125, 0.5, 0.375);
    FaceBox {
        frame,
        time_us: frame * 40_000,
        x,
        y,
        width,
        height,
        confidence: 0.875,
    }
}

fn track(blobs: &[BlobRef]) -> Body {
    let exemplar = Exemplar {
        exemplar_id: 31,
        face: Some(face(10)),
        landmarks: vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
        quality: 0.75,
        embedding: Some(blobs[0].clone()),
        crop: Some(blobs[1].clone()),
        loose_crop: Some(blobs[2].clone()),
        number: 3,
        ..Exemplar::default()
    };
    Body::TrackObserved(TrackObserved {
        track_id: 21,
        source_id: 1,
        track_key: 77,
        revision: 2,
        closed: true,
        start_us: 400_000,
        end_us: 480_000,
        start_frame: 10,
        end_frame: 12,
        wall_start_us: 1_700_000_000_400_000,
        boxes: vec![face(10), face(12)],
        exemplars: vec![exemplar],
        dropped_exemplar_ids: vec![29, 30],
        decision: Some(Decision {
            identity_id: 41,
            kind: DecisionKind::Join.into(),
            previous_identity_id: 42,
            similarity: 0.625,
            runner_up_identity_id: 43,
            runner_up_similarity: 0.1875,
            reason: "ABOVE_THRESHOLD".to_owned(),
            absorbs_previous: true,
            ..Decision::default()
        }),
        best_exemplar_id: 31,
        exemplar_count: 1,
        joined_similarity: 0.5,
        ..TrackObserved::default()
    })
}

fn record(number: u64, body: Body) -> Record {
    Record {
        sequence: number,
        time_us: 1_700_000_000_000_000 + i64::try_from(number).unwrap(),
        author: if number.is_multiple_of(2) {
            "operator"
        } else {
            "system"
        }
        .to_owned(),
        request_id: format!("request-{number}"),
        body: Some(body),
    }
}

/// Writes the log of the fixture; returns its files, its records and its blobs.
fn write() -> (BTreeMap<String, Vec<u8>>, Vec<Record>, Vec<BlobRef>) {
    let storage = MemoryStorage::new();
    let id = LogId::from_bytes(*b"rollcall log v1.");
    let (mut log, _) = Log::open_or_create_as(Arc::new(storage.clone()), OPTIONS, id).unwrap();
    let mut records = Vec::new();
    let mut append = |log: &mut Log, body| {
        let record = record(log.appended_sequence() + 1, body);
        log.append(record.clone()).unwrap();
        records.push(record);
    };
    for body in source_records() {
        append(&mut log, body);
    }
    log.sync().unwrap();
    let blobs: Vec<BlobRef> = PAYLOADS.iter().map(|p| log.put_blob(p).unwrap()).collect();
    append(&mut log, track(&blobs));
    log.sync().unwrap();
    let progress = SourceProgress {
        source_id: 1,
        complete_up_to_us: 500_000,
        complete_up_to_frame: 13,
    };
    append(&mut log, Body::SourceProgress(progress));
    log.sync().unwrap();
    let retracted = TrackRetracted {
        track_id: 21,
        reason: "NOT_SEEN_AGAIN".to_owned(),
        source_id: 1,
        identity_id: 41,
        ..TrackRetracted::default()
    };
    append(&mut log, Body::TrackRetracted(retracted));
    let renamed = IdentityRenamed {
        identity_id: 41,
        name: "Ada".to_owned(),
    };
    append(&mut log, Body::IdentityRenamed(renamed));
    log.sync().unwrap();
    log.erase_blob(&blobs[ERASED]).unwrap();
    drop(log);
    (storage.contents(), records, blobs)
}

#[test]
fn version_1_is_written_as_it_was() {
    let (written, ..) = write();
    let kept = files();
    assert_eq!(
        written.keys().collect::<Vec<_>>(),
        kept.keys().collect::<Vec<_>>(),
        "the format has changed: see FORMAT.md"
    );
    for (name, bytes) in &written {
        assert!(
            *bytes == kept[name],
            "{name}: the format has changed: see FORMAT.md"
        );
    }
}

#[test]
fn version_1_is_read() {
    let storage = MemoryStorage::new();
    for (name, bytes) in files() {
        storage.plant(&name, Some(bytes));
    }
    let (log, report) = Log::open(Arc::new(storage), OPTIONS).unwrap();
    let (_, records, blobs) = write();
    assert_eq!(
        (report.created, report.torn, report.blob_tail_left),
        (false, None, None)
    );
    assert_eq!(
        (report.records, report.segments, report.blob_segments),
        (8, 2, 2)
    );
    assert_eq!(log.id().to_string(), "726f6c6c63616c6c206c6f672076312e");
    assert_eq!(log.epoch(), 1);
    let reader = log.reader();
    assert_eq!(all(&reader), records);
    for (number, (reference, payload)) in blobs.iter().zip(PAYLOADS).enumerate() {
        match reader.blob(reference) {
            Ok(found) => assert_eq!(found, payload),
            Err(error) => assert!(number == ERASED && matches!(error, BlobError::Erased)),
        }
    }
}

#[test]
#[ignore = "writes the fixture; for a new version only"]
fn write_the_fixture() {
    for (name, bytes) in write().0 {
        let path = folder().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

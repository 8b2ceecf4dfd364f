//! The format is promised: every version stays readable, and the newest is written byte for byte as it was, but
//! for what is sealed, which is never twice the same.
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
    BlobRef, Body, CollectionOpened, Decision, DecisionKind, EditKind, Edited, Exemplar, FaceBox,
    IdentityRenamed, Profile, ProfileChange, Record, SourceAdded, SourceKind, SourceProgress,
    SourceRunStarted, SourceSettings, SourceState, SourceStateChanged, TrackObserved,
    TrackRetracted,
};
use rollcall_log::{
    BlobError, FORMAT_VERSION, FORMAT_VERSION_FIRST, Log, LogId, LogOptions, MemoryStorage,
};

use super::all;

const OPTIONS: LogOptions = LogOptions {
    segment_bytes_max: 900,
    blob_segment_bytes_max: 700,
};
const NEWEST: &str = "v2";
const PAYLOADS: [&[u8]; 5] = [
    b"first embedding",
    b"first crop",
    &[0xa5; 500],
    b"second embedding",
    b"",
];
/// The blob that was erased.
const ERASED: usize = 1;

fn folder(version: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fixtures.join(version)
}

fn files(version: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for part in ["records", "blobs", "keys"] {
        let Ok(entries) = fs::read_dir(folder(version).join(part)) else {
            continue;
        };
        for file in entries {
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

fn track(blobs: &[BlobRef]) -> TrackObserved {
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
    TrackObserved {
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
    }
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
    append(&mut log, Body::TrackObserved(track(&blobs)));
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
    log.erase_blobs(std::slice::from_ref(&blobs[ERASED]))
        .unwrap();
    drop(log);
    (storage.contents(), records, blobs)
}

#[test]
fn the_newest_version_is_written_as_it_was() {
    let (written, ..) = write();
    let kept = files(NEWEST);
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
fn every_version_is_read() {
    for version in FORMAT_VERSION_FIRST..=FORMAT_VERSION {
        is_read(&format!("v{version}"));
    }
}

fn planted(version: &str) -> MemoryStorage {
    let storage = MemoryStorage::new();
    for (name, bytes) in files(version) {
        storage.plant(&name, Some(bytes));
    }
    storage
}

fn is_read(version: &str) {
    let storage = planted(version);
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

/// A log with sealed records and blobs, one of whose two keys was destroyed. Its first record names its blobs.
fn write_sealed() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let id = LogId::from_bytes(*b"rollcall log v2.");
    let (mut log, _) = Log::open_or_create_as(Arc::new(storage.clone()), OPTIONS, id).unwrap();
    for _ in 0..2 {
        let body = sealed_track(&mut log);
        let number = log.appended_sequence() + 1;
        log.append(record(number, body)).unwrap();
        let body = sealed_edit(&mut log);
        log.append(record(number + 1, body)).unwrap();
        log.sync().unwrap();
    }
    log.destroy_keys(&[3, 4]).unwrap();
    storage
}

fn sealed_track(log: &mut Log) -> Body {
    let key = log.new_key().unwrap();
    let blobs = PAYLOADS[..3].iter().map(|bytes| log.put_sealed(key, bytes));
    let blobs: Vec<BlobRef> = blobs.map(Result::unwrap).collect();
    Body::TrackObserved(TrackObserved {
        key,
        ..track(&blobs)
    })
}

fn sealed_edit(log: &mut Log) -> Body {
    let key = log.new_key().unwrap();
    Body::Edited(edit(key))
}

fn edit(key: u64) -> Edited {
    Edited {
        kind: EditKind::Create.into(),
        reason: "as Grace said".to_owned(),
        profiles: vec![ProfileChange {
            identity_id: 41,
            created: true,
            before: None,
            after: Some(Profile {
                name: "Ada".to_owned(),
                external_id: "nm0000001".to_owned(),
                metadata: [("role".to_owned(), "countess".to_owned())].into(),
                ..Profile::default()
            }),
            key,
            ..ProfileChange::default()
        }],
        key,
        ..Edited::default()
    }
}

#[test]
fn version_2_is_read_where_it_is_sealed() {
    let storage = planted("v2-sealed");
    let written = storage.contents();
    for (name, bytes) in written.iter().filter(|(name, _)| !name.starts_with("keys")) {
        for secret in [
            &b"Ada"[..],
            b"Grace",
            b"nm0000001",
            b"first embedding",
            &[0xa5; 50],
        ] {
            assert!(
                !bytes.windows(secret.len()).any(|part| part == secret),
                "{name}"
            );
        }
    }
    let (log, report) = Log::open(Arc::new(storage), OPTIONS).unwrap();
    assert_eq!((report.records, report.torn), (4, None));
    let reader = log.reader();
    let records = all(&reader);
    let tracks: Vec<_> = records.iter().filter_map(observed).collect();
    let blobs: Vec<BlobRef> = tracks[0].exemplars[0].clone().into_blobs();
    assert_eq!(
        tracks[0],
        &TrackObserved {
            key: 1,
            ..track(&blobs)
        }
    );
    for (blob, payload) in blobs.iter().zip(PAYLOADS) {
        assert_eq!(reader.blob(blob).unwrap(), payload);
    }
    assert_eq!(records[1].body, Some(Body::Edited(edit(2))));
    // Of the others, what was not sealed is left.
    let gone = tracks[1];
    assert!(gone.erased && gone.exemplars.is_empty() && gone.boxes.is_empty());
    assert_eq!((gone.track_id, gone.start_us, gone.key), (21, 0, 3));
    assert_eq!(gone.decision.as_ref().unwrap().identity_id, 41);
    let Some(Body::Edited(gone)) = &records[3].body else {
        panic!("{:?}", records[3]);
    };
    let profile = gone.profiles[0].after.as_ref().unwrap();
    assert!(gone.profiles[0].erased && gone.reason.is_empty());
    assert_eq!(
        (profile.name.as_str(), profile.external_id.as_str()),
        ("", "")
    );
    assert!(reader.is_destroyed(3).unwrap() && !reader.is_destroyed(2).unwrap());
}

fn observed(record: &Record) -> Option<&TrackObserved> {
    match &record.body {
        Some(Body::TrackObserved(track)) => Some(track),
        _ => None,
    }
}

trait IntoBlobs {
    fn into_blobs(self) -> Vec<BlobRef>;
}

impl IntoBlobs for Exemplar {
    fn into_blobs(self) -> Vec<BlobRef> {
        let blobs = [self.embedding, self.crop, self.loose_crop];
        blobs.into_iter().flatten().collect()
    }
}

#[test]
fn a_log_of_an_earlier_version_goes_on_in_segments_of_this_one() {
    let storage = planted("v1");
    let before = storage.contents();
    let (mut log, _) = Log::open(Arc::new(storage.clone()), OPTIONS).unwrap();
    let body = sealed_track(&mut log);
    log.append(record(9, body)).unwrap();
    log.sync().unwrap();
    assert_eq!(all(&log.reader()).len(), 9);
    drop(log);
    let after = storage.contents();
    for (name, bytes) in &before {
        assert!(after[name].starts_with(bytes), "{name} was written to");
        assert_eq!(after[name][8], 1);
    }
    assert_eq!(after["records/00000000000000000009.seg"][8], 2);
    assert_eq!(after["blobs/00000000000000000003.blob"][8], 2);
}

#[test]
#[ignore = "writes the fixture; for a new version only"]
fn write_the_fixture() {
    let sealed = write_sealed().contents();
    let sealed = sealed
        .into_iter()
        .map(|(name, bytes)| ("v2-sealed", name, bytes));
    let open = write().0.into_iter();
    let open = open.map(|(name, bytes)| (NEWEST, name, bytes));
    for (version, name, bytes) in open.chain(sealed) {
        let path = folder(version).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

//! What is erased is first found on disk, and not found after it; the views are those that the log gives.

use super::*;
use crate::core::alert::{RuleChange, RuleEdit};
use crate::core::replay::{CATALOG_FILE, LOG_FOLDER};
use crate::core::tests::{
    CONTRACT, closed, exemplar, face, identities, open, options, sightings, track, two_people,
};
use crate::core::{
    Change, CoreMetrics, Edit, FactQuery, NewSource, Observed, Person, Photo, PhotoDigest,
    ProfileUpdate, SightingQuery,
};
use crate::pb;
use crate::pb::watch_event::Event;
use rollcall_log::record::{AlertRule, BlobRef, Exemplar, FaceBox, Record, WatchedPhoto};
use rollcall_log::{FileStorage, Log, LogOptions};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What is said of the person, nowhere else to be found.
const SECRETS: [&str; 5] = [
    "Zaphod Beeblebrox",
    "nm-4242-zaphod",
    "galactic president",
    "his mother told us so",
    "Watch for Zaphod",
];

fn edit(change: Change) -> Edit {
    Edit {
        change,
        author: "tester".to_owned(),
        reason: SECRETS[3].to_owned(),
        request_id: String::new(),
    }
}

fn erasure(what: What) -> Erasure {
    Erasure {
        what,
        author: "tester".to_owned(),
        reason: "asked in writing".to_owned(),
        request_id: String::new(),
    }
}

fn identity(id: u64) -> What {
    What::Identity { id, etag: None }
}

/// A JPEG's first bytes, and others that are nowhere else.
fn picture(number: u8) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe0, number];
    bytes.extend((0..400_u16).map(|at| u8::try_from((at * 31 + 7) % 251).unwrap() ^ number));
    bytes
}

fn photo() -> Photo {
    Photo {
        key: PhotoDigest::of(b"a photo").key(0),
        face: FaceBox::default(),
        landmarks: vec![0.5; 10],
        quality: 0.9,
        embedding: face(0, 0.05).to_f16_bytes(),
        crop: picture(3),
        loose_crop: picture(4),
    }
}

/// Person 1 in tracks 1 and 3 and on a photo, named, merged with, watched for; person 2 in track 2.
async fn person(core: &Core) -> u64 {
    let (source, run) = two_people(core).await;
    let mut own = exemplar(1, 0.8, &face(0, 0.15));
    (own.crop, own.loose_crop) = (picture(1), picture(2));
    let items = vec![closed(track(7, 1, (20, 22), vec![own]))];
    core.observe(source, run.id, items).await.unwrap();
    let update = ProfileUpdate {
        name: Some(SECRETS[0].to_owned()),
        external_id: Some(SECRETS[1].to_owned()),
        set_metadata: [("role".to_owned(), SECRETS[2].to_owned())].into(),
        ..ProfileUpdate::default()
    };
    let change = Change::Update {
        identity_id: 1,
        etag: None,
        update,
        allow_duplicate_name: false,
    };
    core.edit(edit(change)).await.unwrap();
    let photos: Arc<[Photo]> = Arc::new([photo()]);
    let change = Change::Enrol {
        person: Person::Known { id: 1, etag: None },
        contract: CONTRACT.to_owned(),
        photos,
    };
    core.edit(edit(change)).await.unwrap();
    for people in [vec![1], vec![1, 2]] {
        let rule = AlertRule {
            name: SECRETS[4].to_owned(),
            enabled: true,
            identity_ids: people,
            ..AlertRule::default()
        };
        let change = RuleChange::Create {
            rule: Box::new(rule),
            photos: Vec::new(),
        };
        let edit = RuleEdit {
            change,
            author: "tester".to_owned(),
            reason: String::new(),
            request_id: String::new(),
        };
        core.edit_alert_rule(edit).await.unwrap();
    }
    source
}

/// Every file below a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.insert(path.display().to_string(), std::fs::read(&path).unwrap());
        }
    }
    all
}

fn holders(folder: &Path, needle: &[u8]) -> Vec<String> {
    let holds = |bytes: &[u8]| bytes.windows(needle.len()).any(|part| part == needle);
    let all = files(folder).into_iter();
    all.filter(|(_, bytes)| holds(bytes))
        .map(|(name, _)| name)
        .collect()
}

fn copy(from: &Path, to: &Path, but: &str) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if name.to_str() == Some(but) {
            continue;
        }
        if path.is_dir() {
            copy(&path, &to.join(name), but);
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// All rows of all tables, and the index as far as it can be compared.
fn views(core: &Core, folder: &Path) -> String {
    let db = Connection::open(folder.join(CATALOG_FILE)).unwrap();
    let mut tables = db
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        .unwrap();
    let tables: Vec<String> = tables
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut text = String::new();
    for table in tables {
        let mut rows = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = rows.column_count();
        let mut lines: Vec<String> = rows
            .query_map([], |row| {
                let values = (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at));
                let values: Result<Vec<_>, _> = values.collect();
                Ok(format!("{table} {:?}\n", values?))
            })
            .unwrap()
            .map(Result::unwrap)
            .collect();
        lines.sort();
        text.extend(lines);
    }
    let view = core.view();
    for (identity, _) in view.index.identities() {
        let mut faces: Vec<u64> = view
            .index
            .identity_faces(identity)
            .map(|face| face.face.get())
            .collect();
        faces.sort_unstable();
        text.push_str(&format!("index {identity:?} {faces:?}\n"));
    }
    view.index.verify().unwrap();
    text
}

/// The blobs of a track, by the log.
fn blobs(log: &LogReader, track: u64) -> Vec<BlobRef> {
    let of = |exemplar: &Exemplar| {
        let all = [&exemplar.embedding, &exemplar.crop, &exemplar.loose_crop];
        all.map(Clone::clone)
    };
    let tracks = |record: &Record| match &record.body {
        Some(Body::TrackObserved(seen)) => vec![seen.clone()],
        Some(Body::Edited(edited)) => edited.enrolled.clone(),
        _ => Vec::new(),
    };
    let records = log.read_after(0).map(Result::unwrap);
    let tracks = records
        .flat_map(|record| tracks(&record))
        .filter(|it| it.track_id == track);
    let exemplars = tracks.flat_map(|track| track.exemplars);
    exemplars
        .flat_map(|exemplar| of(&exemplar))
        .flatten()
        .collect()
}

/// A payload as it lies on disk, after the header of its blob.
fn sealed(folder: &Path, blob: &BlobRef) -> Vec<u8> {
    let path = folder
        .join(LOG_FOLDER)
        .join(format!("blobs/{:020}.blob", blob.segment));
    let bytes = std::fs::read(path).unwrap();
    let start = usize::try_from(blob.offset).unwrap() + 32;
    bytes[start..][..usize::try_from(blob.length).unwrap()].to_vec()
}

fn reader(folder: &Path) -> (Log, LogReader) {
    let storage = Arc::new(FileStorage::open(folder.join(LOG_FOLDER)).unwrap());
    let (log, _) = Log::open(storage, LogOptions::default()).unwrap();
    let reader = log.reader();
    (log, reader)
}

#[tokio::test]
async fn a_person_is_first_found_on_disk_and_then_not() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    person(&core).await;
    core.close().await;
    drop(core);
    let core = open(folder.path());
    // Names lie in the catalog; the log and the pictures are sealed.
    for secret in &SECRETS[..3] {
        let found = holders(folder.path(), secret.as_bytes());
        assert!(
            !found.is_empty() && found.iter().all(|name| name.contains(CATALOG_FILE)),
            "{found:?}"
        );
    }
    for picture in [
        picture(1),
        picture(2),
        picture(3),
        picture(4),
        face(0, 0.15).to_f16_bytes(),
    ] {
        assert_eq!(holders(folder.path(), &picture), Vec::<String>::new());
    }
    let own = blobs(&core.log(), 4);
    let of_photo = blobs(&core.log(), 5);
    let payloads: Vec<Vec<u8>> = own
        .iter()
        .map(|blob| core.log().blob(blob).unwrap())
        .collect();
    assert_eq!(
        payloads,
        [face(0, 0.15).to_f16_bytes(), picture(1), picture(2)]
    );
    assert_eq!(core.log().blob(&of_photo[1]).unwrap(), picture(3));
    let keys: Vec<u64> = own.iter().chain(&of_photo).map(|blob| blob.key).collect();
    assert!(keys.iter().all(|key| *key > 0));
    // The bytes on disk are found where the log says, and nowhere afterwards.
    let on_disk = sealed(folder.path(), &own[1]);
    assert_eq!(holders(folder.path(), &on_disk).len(), 1);
    // Copies, with the keys and without.
    let copies = tempfile::tempdir().unwrap();
    let (with, without) = (copies.path().join("with"), copies.path().join("without"));
    copy(folder.path(), &with, "");
    copy(folder.path(), &without, "keys");

    let begun = core.erase(erasure(identity(1))).await.unwrap();
    assert_eq!(sightings(&core).len(), 1, "gone at once");
    let ended = core.finish_erasure(begun).await.unwrap();
    assert!(ended > begun && core.finish_erasure(begun).await.unwrap() == ended);
    // The other rule is still called as it was: it watches for somebody else too.
    for secret in &SECRETS[..4] {
        let none: Vec<String> = Vec::new();
        assert_eq!(holders(folder.path(), secret.as_bytes()), none, "{secret}");
    }
    // Nor does the log say any of it to whoever reads it.
    let records: Vec<Record> = core.log().read_after(0).map(Result::unwrap).collect();
    let records = format!("{records:?}");
    for secret in &SECRETS[..4] {
        assert!(!records.contains(secret), "{secret}");
    }
    assert_eq!(holders(folder.path(), &on_disk), Vec::<String>::new());
    for blob in own.iter().chain(&of_photo) {
        assert!(matches!(core.log().blob(blob), Err(BlobError::Erased)));
        assert!(
            core.log().is_overwritten(blob).unwrap() && core.log().is_destroyed(blob.key).unwrap()
        );
    }
    let told = identities(&core);
    assert_eq!(told.iter().filter(|it| it.track_count > 0).count(), 1);
    let rules = core.catalog().alert_rules(0, 10).unwrap();
    assert_eq!(rules.len(), 1, "{rules:?}");
    let again = core.erase(erasure(identity(1))).await;
    assert_eq!(again, Err(WriteError::IdentityErased { id: 1 }));

    // In the copy with the keys it can still be read, in the other it never can again.
    let (_log, log) = reader(&with);
    assert_eq!(log.blob(&own[1]).unwrap(), picture(1));
    let (_log, log) = reader(&without);
    assert!(matches!(log.blob(&own[1]), Err(BlobError::Missing { .. })));
    for secret in &SECRETS[..4] {
        assert_eq!(
            holders(&without.join(LOG_FOLDER), secret.as_bytes()),
            Vec::<String>::new()
        );
    }
    core.close().await;
}

#[tokio::test]
async fn the_views_are_those_that_the_log_gives() {
    for what in [
        identity(1),
        What::Tracks(vec![1, 5]),
        What::Faces(vec![3]),
        What::Source {
            id: 1,
            from_us: i64::MIN,
            to_us: i64::MAX,
        },
        What::Outlived(vec![Outlived {
            source: 0,
            but: vec![],
            named: true,
            before_us: i64::MAX,
        }]),
        What::Outlived(vec![Outlived {
            source: 1,
            but: vec![],
            named: false,
            before_us: i64::MAX,
        }]),
    ] {
        for finishes in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let core = open(folder.path());
            person(&core).await;
            let begun = core.erase(erasure(what.clone())).await.unwrap();
            if finishes {
                core.finish_erasure(begun).await.unwrap();
            }
            let before = views(&core, folder.path());
            core.close().await;
            drop(core);
            for part in [CATALOG_FILE, "index"] {
                let path = folder.path().join(part);
                let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
            }
            let core = open(folder.path());
            assert_eq!(views(&core, folder.path()), before, "{what:?} {finishes}");
            // Cut off, it is gone on with.
            assert_eq!(
                core.catalog().erasures_pending().unwrap().len(),
                usize::from(!finishes)
            );
            core.finish_erasure(begun).await.unwrap();
            assert!(core.catalog().erasures_pending().unwrap().is_empty());
            core.close().await;
        }
    }
}

#[tokio::test]
async fn what_was_erased_stays_away_when_it_is_seen_again() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let (id, run) = two_people(&core).await;
    let open_track = Observed::Track(track(8, 1, (30, 31), vec![exemplar(1, 0.9, &face(3, 0.1))]));
    core.observe(id, run.id, vec![open_track]).await.unwrap();
    let begun = core.erase(erasure(What::Tracks(vec![1, 4]))).await.unwrap();
    core.finish_erasure(begun).await.unwrap();
    let left = || {
        sightings(&core)
            .iter()
            .map(|it| it.track_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(left(), [2, 3]);
    // The worker goes on with its open track, and a second run sees everything again.
    let goes_on = closed(track(8, 2, (30, 32), vec![exemplar(2, 0.9, &face(3, 0.2))]));
    core.observe(id, run.id, vec![goes_on]).await.unwrap();
    assert_eq!(left(), [2, 3]);
    core.end_run(id, run.id).await;
    let again = core.begin_run(id, "p1".into()).await.unwrap();
    let items = vec![
        closed(track(1, 1, (0, 3), vec![exemplar(1, 0.5, &face(0, 0.1))])),
        closed(track(9, 1, (40, 41), vec![exemplar(1, 0.5, &face(0, 0.1))])),
    ];
    core.observe(id, again.id, items).await.unwrap();
    assert_eq!(left(), [2, 3, 5], "the same face elsewhere is seen");
    core.close().await;
}

#[tokio::test]
async fn watchers_are_told_and_find_a_tombstone_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    let begun = core.erase(erasure(identity(1))).await.unwrap();
    core.finish_erasure(begun).await.unwrap();
    let events: Vec<_> = core
        .events_after(0)
        .map(Result::unwrap)
        .filter_map(|it| it.event)
        .collect();
    let erased = events.iter().filter_map(|event| {
        let Event::Erased(erased) = event else {
            return None;
        };
        Some((erased.identity_ids.clone(), erased.track_ids.clone()))
    });
    assert_eq!(
        erased.collect::<Vec<_>>(),
        [(vec![1], vec![]), (vec![], vec![1, 3])]
    );
    let of_person = events.iter().filter_map(|event| {
        let Event::SightingErased(erased) = event else {
            return None;
        };
        Some(erased.track_id)
    });
    assert_eq!(of_person.collect::<Vec<_>>(), [1, 1, 3]);
    for event in &events {
        if let Event::SightingStarted(pb::SightingStarted {
            sighting: Some(seen),
        }) = event
        {
            assert_ne!(seen.identity_id, 1);
        }
    }
    core.close().await;
}

#[tokio::test]
async fn what_cannot_be_erased_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let (source, _) = two_people(&core).await;
    let refused = async |what| core.erase(erasure(what)).await.unwrap_err();
    assert_eq!(
        refused(identity(99)).await,
        WriteError::IdentityNotFound { id: 99 }
    );
    assert_eq!(
        refused(What::Tracks(vec![1, 99])).await,
        WriteError::TrackNotFound { id: 99 }
    );
    assert_eq!(
        refused(What::Faces(vec![99])).await,
        WriteError::FaceNotFound { id: 99 }
    );
    let at = |id, from_us, to_us| What::Source { id, from_us, to_us };
    assert_eq!(
        refused(at(99, 0, 1)).await,
        WriteError::SourceNotFound { id: 99 }
    );
    assert_eq!(refused(at(source, 0, 1)).await, WriteError::NothingToErase);
    let stale = What::Identity {
        id: 1,
        etag: Some("e0".to_owned()),
    };
    assert!(matches!(
        refused(stale).await,
        WriteError::EtagMismatch { .. }
    ));
    assert_eq!(
        core.finish_erasure(3).await.unwrap_err(),
        WriteError::ErasureUnfinished {
            id: 3,
            what: "record 3 begins no erasure".to_owned(),
        }
    );
    assert_eq!(sightings(&core).len(), 3);
    let asked = Erasure {
        request_id: "once".to_owned(),
        ..erasure(What::Tracks(vec![1]))
    };
    let first = core.erase(asked.clone()).await.unwrap();
    assert_eq!(core.erase(asked).await, Ok(first));
    core.close().await;
}

#[tokio::test]
async fn an_undo_does_not_bring_back_what_was_erased() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    person(&core).await;
    let undo = |sequence| {
        edit(Change::Undo {
            sequence,
            allow_duplicate_name: false,
            partial: true,
        })
    };
    let query = |core: &Core| {
        let edits = core.catalog().edits(None, u64::MAX, 10).unwrap();
        edits.iter().map(|place| place.sequence).collect::<Vec<_>>()
    };
    // The photo goes and its enrolment is undone; what undid it is undone.
    let enrolled = query(&core)[0];
    let undone = core.edit(undo(enrolled)).await.unwrap();
    let again = core.edit(undo(undone)).await.unwrap();
    assert!(again > undone);
    let begun = core.erase(erasure(What::Tracks(vec![5]))).await.unwrap();
    core.finish_erasure(begun).await.unwrap();
    for sequence in [again, undone, enrolled] {
        let _ = core.edit(undo(sequence)).await;
        assert!(
            blobs(&core.log(), 5)
                .iter()
                .all(|blob| core.log().blob(blob).is_err())
        );
        let query = SightingQuery {
            limit: 100,
            ..SightingQuery::default()
        };
        let left = core.catalog().sightings(&query).unwrap().0;
        assert!(left.iter().all(|seen| seen.track_id != 5));
        assert_eq!(
            core.view()
                .index
                .track_faces(rollcall_index::TrackId::new(5))
                .count(),
            0
        );
    }
    let facts = core
        .catalog()
        .facts(&FactQuery {
            limit: 10,
            ..FactQuery::default()
        })
        .unwrap();
    assert!(facts.is_empty());
    core.close().await;
}

#[tokio::test]
async fn a_source_of_its_own_time_is_kept_so_long() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    person(&core).await;
    let live = NewSource {
        uri: "rtsp://camera".into(),
        name: "camera".into(),
        kind: pb::SourceKind::Live,
        realtime: false,
        author: "tester".into(),
        request_id: String::new(),
    };
    let live = core.add_source(live).await.unwrap();
    let nothing = What::Outlived(vec![
        Outlived {
            source: live,
            but: vec![],
            named: true,
            before_us: i64::MAX,
        },
        Outlived {
            source: 0,
            but: vec![1],
            named: false,
            before_us: i64::MAX,
        },
    ]);
    assert_eq!(
        core.erase(erasure(nothing)).await,
        Err(WriteError::NothingToErase)
    );
    // Person 2 has no name, and was seen before the time; person 1 has one.
    let unknown = vec![Outlived {
        source: 0,
        but: vec![live],
        named: false,
        before_us: i64::MAX,
    }];
    let begun = core.erase(erasure(What::Outlived(unknown))).await.unwrap();
    core.finish_erasure(begun).await.unwrap();
    assert!(sightings(&core).iter().all(|seen| seen.identity_id == 1));
    assert_eq!(sightings(&core).len(), 3);
    core.close().await;
}

#[tokio::test]
async fn what_was_retracted_is_erased_with_the_person() {
    for what in [
        identity(1),
        What::Source {
            id: 1,
            from_us: i64::MIN,
            to_us: i64::MAX,
        },
    ] {
        let folder = tempfile::tempdir().unwrap();
        let core = open(folder.path());
        let (id, run) = two_people(&core).await;
        core.end_run(id, run.id).await;
        // Another pipeline: what came after the checkpoint counts no longer.
        core.begin_run(id, "p2".into()).await.unwrap();
        assert_eq!(sightings(&core).len(), 2);
        let own = blobs(&core.log(), 3);
        assert_eq!(core.log().blob(&own[1]).unwrap(), [1, 2, 3]);
        let begun = core.erase(erasure(what)).await.unwrap();
        core.finish_erasure(begun).await.unwrap();
        for blob in &own {
            assert!(
                core.log().is_overwritten(blob).unwrap()
                    && core.log().is_destroyed(blob.key).unwrap()
            );
        }
        let before = views(&core, folder.path());
        core.close().await;
        drop(core);
        std::fs::remove_file(folder.path().join(CATALOG_FILE)).unwrap();
        let core = open(folder.path());
        assert_eq!(views(&core, folder.path()), before);
        core.close().await;
    }
}

#[tokio::test]
async fn what_was_said_of_another_by_a_merge_goes_too() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    person(&core).await;
    let merge = Change::Merge {
        from: 1,
        into: 2,
        from_etag: None,
        into_etag: None,
    };
    let merged = core.edit(edit(merge)).await.unwrap();
    let undo = Change::Undo {
        sequence: merged,
        allow_duplicate_name: false,
        partial: false,
    };
    core.edit(edit(undo)).await.unwrap();
    let name = ProfileUpdate {
        name: Some("Ford".to_owned()),
        ..ProfileUpdate::default()
    };
    let change = Change::Update {
        identity_id: 2,
        etag: None,
        update: name,
        allow_duplicate_name: false,
    };
    let named = Edit {
        reason: String::new(),
        ..edit(change)
    };
    let named = core.edit(named).await.unwrap();
    let begun = core.erase(erasure(identity(1))).await.unwrap();
    core.finish_erasure(begun).await.unwrap();
    let records: Vec<Record> = core.log().read_after(0).map(Result::unwrap).collect();
    let records = format!("{records:?}");
    for secret in &SECRETS[..4] {
        assert!(!records.contains(secret), "{secret}");
    }
    // Who stays is called as before, also by the log alone; an edit whose words are gone is not taken back.
    let undo = Change::Undo {
        sequence: named,
        allow_duplicate_name: false,
        partial: false,
    };
    assert!(matches!(
        core.edit(edit(undo)).await,
        Err(WriteError::BuiltUpon { .. })
    ));
    let before = views(&core, folder.path());
    assert!(before.contains("Ford"));
    core.close().await;
    drop(core);
    std::fs::remove_file(folder.path().join(CATALOG_FILE)).unwrap();
    let core = open(folder.path());
    assert_eq!(views(&core, folder.path()), before);
    core.close().await;
}

#[tokio::test]
async fn no_name_of_many_lingers_in_the_catalog() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let (id, _) = two_people(&core).await;
    // In no order, so that pages split and cells move.
    let name = |number: u64| {
        format!(
            "name {:x} of many",
            number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        )
    };
    let mut people = Vec::new();
    for number in 0..400 {
        let update = ProfileUpdate {
            name: Some(name(number)),
            external_id: Some(name(number + 1000)),
            ..ProfileUpdate::default()
        };
        let create = Change::Create {
            update,
            allow_duplicate_name: false,
        };
        let created = Edit {
            reason: String::new(),
            ..edit(create)
        };
        core.edit(created).await.unwrap();
        people.push(3 + number);
    }
    assert!(!holders(folder.path(), b" of many").is_empty());
    let mut begun = Vec::new();
    for person in people {
        begun.push(core.erase(erasure(identity(person))).await.unwrap());
    }
    for begun in begun {
        core.finish_erasure(begun).await.unwrap();
    }
    assert_eq!(holders(folder.path(), b" of many"), Vec::<String>::new());
    assert_eq!(sightings(&core).len(), 3);
    let _ = id;
    core.close().await;
}

#[tokio::test]
async fn the_photos_of_a_rule_go_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    let rule = AlertRule {
        name: "somebody who looks like this".to_owned(),
        enabled: true,
        photo: Some(WatchedPhoto {
            contract: CONTRACT.to_owned(),
            ..WatchedPhoto::default()
        }),
        ..AlertRule::default()
    };
    let change = |change| RuleEdit {
        change,
        author: "tester".to_owned(),
        reason: String::new(),
        request_id: String::new(),
    };
    let created = RuleChange::Create {
        rule: Box::new(rule),
        photos: vec![face(5, 0.1)],
    };
    let id = core.edit_alert_rule(change(created)).await.unwrap();
    let photo = core
        .log()
        .read_after(0)
        .map(Result::unwrap)
        .find_map(|record| match record.body {
            Some(Body::AlertRuleChanged(change)) => change.after?.photo?.embeddings.pop(),
            _ => None,
        });
    let photo = photo.unwrap();
    assert_eq!(
        core.log().blob(&photo).unwrap(),
        face(5, 0.1).to_f16_bytes()
    );
    let deleted = RuleChange::Delete {
        rule_id: id,
        etag: None,
    };
    core.edit_alert_rule(change(deleted)).await.unwrap();
    let pending = core.catalog().erasures_pending().unwrap();
    assert_eq!(pending.len(), 1);
    core.finish_erasure(pending[0].sequence).await.unwrap();
    assert!(
        core.log().is_overwritten(&photo).unwrap() && core.log().is_destroyed(photo.key).unwrap()
    );
    core.close().await;
}

#[tokio::test]
async fn keys_that_are_missing_are_missed() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    core.close().await;
    drop(core);
    std::fs::remove_dir_all(folder.path().join(LOG_FOLDER).join("keys")).unwrap();
    let metrics = CoreMetrics::register(&prometheus::Registry::new()).unwrap();
    let refused = Core::open(options(folder.path()), metrics).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("restore it from the backup of the keys"),
        "{refused}"
    );
}

#[tokio::test]
async fn an_older_copy_with_the_newest_keys_forgets_what_was_erased_since() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    person(&core).await;
    let older = tempfile::tempdir().unwrap();
    copy(
        &folder.path().join(LOG_FOLDER),
        &older.path().join(LOG_FOLDER),
        "keys",
    );
    let begun = core.erase(erasure(identity(1))).await.unwrap();
    core.finish_erasure(begun).await.unwrap();
    core.close().await;
    drop(core);
    let keys = |at: &Path| at.join(LOG_FOLDER).join("keys");
    copy(&keys(folder.path()), &keys(older.path()), "");
    let core = open(older.path());
    assert_eq!(sightings(&core).len(), 4, "without times, faces and names");
    let begun = core.erase(erasure(What::KeysGone)).await.unwrap();
    core.finish_erasure(begun).await.unwrap();
    assert_eq!(
        sightings(&core)
            .iter()
            .map(|it| it.identity_id)
            .collect::<Vec<_>>(),
        [2]
    );
    assert_eq!(
        core.erase(erasure(What::KeysGone)).await,
        Err(WriteError::NothingToErase)
    );
    core.view().index.verify().unwrap();
    core.close().await;
}

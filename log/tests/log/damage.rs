//! Flipped bytes, files cut short or gone: told from torn tails, never passed over in silence.
use std::collections::BTreeMap;

use rollcall_log::record::Record;
use rollcall_log::{BlobError, LogId, MemoryStorage, OpenError};

use super::{all, blobs_of, named, observed, open};

type Files = BTreeMap<String, Vec<u8>>;

/// A log of several segments, the last commit of several records.
fn log() -> (Files, Vec<Record>) {
    let storage = MemoryStorage::new();
    let (mut log, report) = open(&storage).unwrap();
    assert!(report.created);
    for commit in 0..10_u64 {
        for part in 0..3 {
            let payload = format!("{commit}.{part}").repeat(40);
            let blob = log.put_blob(payload.as_bytes()).unwrap();
            log.append(observed(commit * 10 + part, &[blob])).unwrap();
            log.append(named(&payload, 0)).unwrap();
        }
        log.sync().unwrap();
    }
    let records = all(&log.reader());
    drop(log);
    (storage.contents(), records)
}

fn storage(files: &Files) -> MemoryStorage {
    let storage = MemoryStorage::new();
    for (name, bytes) in files {
        storage.plant(name, Some(bytes.clone()));
    }
    storage
}

fn names(files: &Files, folder: &str) -> Vec<String> {
    files
        .keys()
        .filter(|name| name.starts_with(folder))
        .cloned()
        .collect()
}

#[test]
fn any_flipped_byte_of_the_records_is_found() {
    let (files, records) = log();
    let segments = names(&files, "records/");
    assert!(segments.len() > 3);
    for name in &segments {
        let length = files[name].len();
        for at in 0..length {
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap()[at] ^= 0x10;
            let storage = storage(&damaged);
            match open(&storage) {
                Err(OpenError::Corrupt {
                    segment,
                    offset,
                    sequence,
                    ..
                }) => {
                    assert_eq!(&segment, &format!("memory:{name}"));
                    assert!(offset <= at as u64 && sequence <= records.len() as u64 + 1);
                    assert_eq!(storage.contents(), damaged, "nothing may be changed");
                }
                // The one thing that may go: the last mark, which says that all else is durable.
                Ok((log, report)) => {
                    assert!(
                        Some(name) == segments.last() && at >= length - 16,
                        "{name} {at}"
                    );
                    assert_eq!(report.torn.unwrap().bytes, 16);
                    assert_eq!(all(&log.reader()), records);
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_log_cut_short_loses_its_end_alone_and_says_so() {
    let (files, records) = log();
    let segments = names(&files, "records/");
    let last = segments.last().unwrap();
    for length in 64..files[last].len() {
        let mut cut = files.clone();
        cut.get_mut(last).unwrap().truncate(length);
        let (log, report) = open(&storage(&cut)).unwrap();
        let kept = all(&log.reader());
        assert_eq!(kept, records[..kept.len()]);
        if let Some(torn) = report.torn {
            assert_eq!(torn.at + torn.bytes, length as u64);
            assert_eq!(torn.last_sequence, kept.len() as u64);
        }
    }
    // A header is durable before its segment has a name; and other segments have no torn tail.
    for (name, keep) in [
        (last, 63),
        (last, 0),
        (&segments[0], files[&segments[0]].len() - 1),
    ] {
        let mut cut = files.clone();
        cut.get_mut(name).unwrap().truncate(keep);
        let error = open(&storage(&cut)).err().unwrap();
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    }
}

#[test]
fn bytes_taken_out_of_the_middle_are_missed() {
    let (files, _) = log();
    for name in names(&files, "records/") {
        for (from, count) in [(64, 8), (64, 7), (80, 200), (100, 1)] {
            let mut damaged = files.clone();
            damaged.get_mut(&name).unwrap().drain(from..from + count);
            let error = open(&storage(&damaged)).err().unwrap();
            assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
        }
    }
}

#[test]
fn a_missing_segment_is_missed() {
    let (files, _) = log();
    let segments = names(&files, "records/");
    for name in &segments[..segments.len() - 1] {
        let mut damaged = files.clone();
        damaged.remove(name);
        match open(&storage(&damaged)).err().unwrap() {
            OpenError::Corrupt { segment, what, .. } => {
                assert_eq!(segment, format!("memory:{name}"));
                assert!(what.contains("missing"), "{what}");
            }
            other => panic!("{other}"),
        }
    }
    let mut blobs_only = files.clone();
    segments
        .iter()
        .for_each(|name| drop(blobs_only.remove(name)));
    let error = open(&storage(&blobs_only)).err().unwrap();
    assert!(
        matches!(error, OpenError::Corrupt { sequence: 1, .. }),
        "{error}"
    );
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let (files, _) = log();
    let other = MemoryStorage::new();
    let id = LogId::from_bytes([9; 16]);
    let (log, _) =
        rollcall_log::Log::open_or_create_as(std::sync::Arc::new(other.clone()), super::SMALL, id)
            .unwrap();
    drop(log);
    let mut mixed = files.clone();
    let first = names(&files, "records/").remove(0);
    mixed.insert(first.clone(), other.contents()[&first].clone());
    let error = open(&storage(&mixed)).err().unwrap();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
}

#[test]
fn foreign_files_and_leftovers_do_no_harm() {
    let (mut files, records) = log();
    files.insert("records/lost+found".into(), b"x".to_vec());
    files.insert(
        "records/00000000000000000099.seg.tmp".into(),
        b"half".to_vec(),
    );
    let storage = storage(&files);
    let (log, _) = open(&storage).unwrap();
    assert_eq!(all(&log.reader()), records);
    assert!(storage.contents().contains_key("records/lost+found"));
    assert!(
        !storage
            .contents()
            .contains_key("records/00000000000000000099.seg.tmp")
    );
}

#[test]
fn garbage_behind_the_end_is_cut_off() {
    let (files, records) = log();
    let last = names(&files, "records/").pop().unwrap();
    let length = files[&last].len() as u64;
    for tail in [
        vec![0; 5000],
        vec![0xff; 33],
        files[&last][64..].to_vec(),
        vec![1],
    ] {
        let mut longer = files.clone();
        longer.get_mut(&last).unwrap().extend(&tail);
        match open(&storage(&longer)) {
            Ok((log, report)) => {
                assert_eq!(all(&log.reader()), records);
                assert_eq!(report.torn.map(|torn| torn.at), Some(length));
            }
            // Entries that were copied are whole, and out of order: no torn tail looks like that.
            Err(OpenError::Corrupt { offset, .. }) => assert_eq!(offset, length),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn any_flipped_byte_of_a_blob_is_found_when_it_is_read() {
    let (files, records) = log();
    let references: Vec<_> = records.iter().flat_map(blobs_of).collect();
    for name in names(&files, "blobs/") {
        for at in 0..files[&name].len() {
            let mut damaged = files.clone();
            damaged.get_mut(&name).unwrap()[at] ^= 1;
            let (log, _) = open(&storage(&damaged)).unwrap();
            let mut found = 0;
            for (reference, key) in references.iter().zip(0_u64..) {
                match log.reader().blob(reference) {
                    Ok(payload) => {
                        let text = format!("{}.{}", key / 3, key % 3).repeat(40);
                        assert_eq!(payload, text.as_bytes());
                    }
                    Err(BlobError::Corrupt { segment, .. }) => {
                        assert_eq!(segment, format!("memory:{name}"));
                        found += 1;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            // Each payload is 120 bytes long and needs no padding: every byte counts.
            assert!(found > 0, "{name} {at}");
        }
    }
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let (files, _) = log();
    for folder in ["records/", "blobs/"] {
        let name = names(&files, folder).pop().unwrap();
        let mut newer = files.clone();
        let bytes = newer.get_mut(&name).unwrap();
        bytes[8] = 3;
        let checksum = crc32c::crc32c(&bytes[..60]).to_le_bytes();
        bytes[60..64].copy_from_slice(&checksum);
        match open(&storage(&newer)).err().unwrap() {
            OpenError::UnsupportedVersion { found, reads, .. } => {
                assert_eq!((found, reads), (3, 1..=2));
            }
            other => panic!("{other}"),
        }
    }
}

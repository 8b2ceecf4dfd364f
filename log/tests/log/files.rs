//! The log on real files.
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rollcall_log::{FileStorage, Log, OpenError, OpenReport};

use super::{SMALL, all, blobs_of, named, observed};

fn open(folder: &Path) -> Result<(Log, OpenReport), OpenError> {
    Log::open(Arc::new(FileStorage::open(folder)?), SMALL)
}

fn copy(from: &Path, to: &Path) {
    for part in ["records", "blobs"] {
        fs::create_dir_all(to.join(part)).unwrap();
        for file in fs::read_dir(from.join(part)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), to.join(part).join(file.file_name())).unwrap();
        }
    }
}

#[test]
fn killed_at_every_byte_of_the_last_entry() {
    let folder = tempfile::tempdir().unwrap();
    let original = folder.path().join("original");
    let (mut log, _) = open(&original).unwrap();
    for key in 0..12 {
        let blob = log.put_blob(format!("blob {key}").as_bytes()).unwrap();
        log.append(observed(key, &[blob])).unwrap();
        log.sync().unwrap();
    }
    let id = log.id();
    let records = all(&log.reader());
    drop(log);
    let mut segments: Vec<_> = fs::read_dir(original.join("records"))
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    segments.sort();
    assert!(segments.len() > 1);
    let last = segments.last().unwrap();
    let length = fs::metadata(original.join("records").join(last))
        .unwrap()
        .len();
    let entry = 16 + 64_u64.max(prost::Message::encoded_len(records.last().unwrap()) as u64);
    for cut in length - 16 - entry..=length {
        let copied = folder.path().join(cut.to_string());
        copy(&original, &copied);
        let file = fs::OpenOptions::new()
            .write(true)
            .open(copied.join("records").join(last));
        file.unwrap().set_len(cut).unwrap();
        let (mut log, report) = open(&copied).unwrap();
        let kept = all(&log.reader());
        assert!(kept.len() + 2 >= records.len() && kept == records[..kept.len()]);
        assert_eq!(
            kept.len() == records.len(),
            cut >= length - 16,
            "the mark is no record"
        );
        if let Some(torn) = report.torn {
            assert!(torn.segment.ends_with(last.to_str().unwrap()));
            assert_eq!(torn.at + torn.bytes, cut);
        }
        for reference in kept.iter().flat_map(blobs_of) {
            log.reader().blob(&reference).unwrap();
        }
        log.append(named("on", 0)).unwrap();
        assert_eq!(log.sync().unwrap(), kept.len() as u64 + 1);
        drop(log);
        let (log, report) = open(&copied).unwrap();
        assert_eq!((log.id(), report.torn), (id, None));
        assert_eq!(all(&log.reader()).len(), kept.len() + 1);
    }
}

#[test]
fn a_folder_in_use_and_a_damaged_file_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, report) = open(folder.path()).unwrap();
    assert!(report.created);
    let error = open(folder.path()).err().unwrap();
    assert!(
        matches!(&error, OpenError::InUse { path } if path.ends_with("LOCK")),
        "{error}"
    );
    log.append(named("x", 0)).unwrap();
    log.sync().unwrap();
    drop(log);
    let path = folder.path().join("records/00000000000000000001.seg");
    let mut bytes = fs::read(&path).unwrap();
    bytes[90] ^= 4;
    fs::write(&path, bytes).unwrap();
    let text = open(folder.path()).err().unwrap().to_string();
    let path = path.display();
    let start = format!("{path} is damaged at byte 64, where record 1 should be: the checksum");
    assert!(text.starts_with(&start), "{text}");
}

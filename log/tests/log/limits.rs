//! Limits, erasure, and callers' mistakes.
use std::sync::Arc;

use rollcall_log::record::{BlobRef, Record};
use rollcall_log::storage::Fault;
use rollcall_log::{
    AppendError, BLOB_BYTES_MAX, BlobError, EraseError, Log, LogOptions, MemoryStorage, OpenError,
    RECORD_BYTES_MAX, ReadError, Storage,
};

use super::{ID, all, named, open};

#[test]
fn mistakes_change_nothing() {
    let storage = MemoryStorage::new();
    let (mut log, _) = open(&storage).unwrap();
    assert!(matches!(
        log.append(Record::default()),
        Err(AppendError::NoBody)
    ));
    let large = log.append(named("", RECORD_BYTES_MAX)).unwrap_err();
    assert!(
        matches!(large, AppendError::RecordTooLarge { .. }),
        "{large}"
    );
    let large = log.put_blob(&vec![0; BLOB_BYTES_MAX + 1]).unwrap_err();
    assert!(matches!(large, AppendError::BlobTooLarge { .. }), "{large}");
    assert_eq!(log.sync().unwrap(), 0);
    assert_eq!(log.append(named("first", 0)).unwrap(), 1);
    assert_eq!(log.sync().unwrap(), 1);
}

#[test]
fn the_largest_record_and_blob_pass() {
    let storage = MemoryStorage::new();
    let (mut log, _) = open(&storage).unwrap();
    let overhead = prost::Message::encoded_len(&named("", RECORD_BYTES_MAX)) - RECORD_BYTES_MAX + 2;
    let record = named("", RECORD_BYTES_MAX - overhead);
    log.append(record).unwrap();
    let payload = vec![5; BLOB_BYTES_MAX];
    let blob = log.put_blob(&payload).unwrap();
    let empty = log.put_blob(b"").unwrap();
    log.sync().unwrap();
    drop(log);
    let (log, report) = open(&storage).unwrap();
    assert_eq!((report.records, report.torn), (1, None));
    assert_eq!(all(&log.reader()).len(), 1);
    assert!(log.reader().blob(&blob).unwrap() == payload);
    assert_eq!(log.reader().blob(&empty).unwrap(), b"");
}

#[test]
fn a_log_has_one_writer() {
    let storage = MemoryStorage::new();
    let (log, _) = open(&storage).unwrap();
    let error = open(&storage).err().unwrap();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("in use"), "{error}");
    drop(log);
    let (log, report) = open(&storage).unwrap();
    assert!(!report.created);
    assert_eq!((log.id(), log.epoch()), (ID, 1));
}

#[test]
fn an_erased_blob_is_gone_from_the_bytes() {
    let storage = MemoryStorage::new();
    let (mut log, _) = open(&storage).unwrap();
    let (secret, other) = (
        b"a secret that must go".as_slice(),
        b"another that stays".as_slice(),
    );
    let gone = log.put_blob(secret).unwrap();
    let kept = log.put_blob(other).unwrap();
    assert!(matches!(
        log.erase_blobs(std::slice::from_ref(&gone)),
        Err(EraseError::Blob(BlobError::Missing { .. }))
    ));
    log.sync().unwrap();
    assert_eq!(log.reader().blob(&gone).unwrap(), secret);
    let held = |bytes: &[u8]| {
        let holds = |file: &Vec<u8>| file.windows(bytes.len()).any(|window| window == bytes);
        storage.contents().values().any(holds)
    };
    assert!(held(secret));
    for _ in 0..2 {
        log.erase_blobs(std::slice::from_ref(&gone)).unwrap();
        assert!(!held(secret) && held(other));
        assert!(matches!(log.reader().blob(&gone), Err(BlobError::Erased)));
        assert_eq!(log.reader().blob(&kept).unwrap(), other);
    }
    drop(log);
    let (mut log, report) = open(&storage).unwrap();
    assert_eq!(report.blob_tail_left, None, "the segment can be walked on");
    assert!(matches!(log.reader().blob(&gone), Err(BlobError::Erased)));
    let next = log.put_blob(b"next").unwrap();
    assert_eq!(next.segment, kept.segment);
    log.sync().unwrap();
    assert_eq!(log.reader().blob(&next).unwrap(), b"next");
}

#[test]
fn an_erasure_that_fails_can_be_repeated() {
    for at in 0..3 {
        for fault in [Fault::Io, Fault::Full] {
            let storage = MemoryStorage::new();
            let (mut log, _) = open(&storage).unwrap();
            let blob = log.put_blob(b"payload").unwrap();
            log.sync().unwrap();
            storage.fail_after(at, fault);
            if log.erase_blobs(std::slice::from_ref(&blob)).is_ok() {
                assert_eq!(
                    (at, fault),
                    (1, Fault::Full),
                    "a sync needs no room; the rest does"
                );
            }
            storage.clear_fault();
            drop(log);
            let (mut log, _) = open(&storage).unwrap();
            log.erase_blobs(std::slice::from_ref(&blob)).unwrap();
            assert!(matches!(log.reader().blob(&blob), Err(BlobError::Erased)));
        }
    }
}

#[test]
fn references_from_outside_do_no_harm() {
    let storage = MemoryStorage::new();
    let (mut log, _) = open(&storage).unwrap();
    let good = log.put_blob(b"payload").unwrap();
    log.append(named("", 0)).unwrap();
    log.sync().unwrap();
    let check = |change: fn(&mut BlobRef)| {
        let mut reference = good.clone();
        change(&mut reference);
        log.reader().blob(&reference).unwrap_err()
    };
    assert!(matches!(
        check(|r| *r = BlobRef::default()),
        BlobError::BadReference { .. }
    ));
    assert!(matches!(
        check(|r| r.offset = 65),
        BlobError::BadReference { .. }
    ));
    assert!(matches!(
        check(|r| r.offset = u64::MAX - 7),
        BlobError::BadReference { .. }
    ));
    assert!(matches!(
        check(|r| r.length = u32::MAX),
        BlobError::BadReference { .. }
    ));
    assert!(matches!(
        check(|r| r.digest.truncate(15)),
        BlobError::BadReference { .. }
    ));
    assert!(matches!(
        check(|r| r.segment = u64::MAX),
        BlobError::Missing { .. }
    ));
    assert!(matches!(
        check(|r| r.offset = 1 << 40),
        BlobError::Missing { .. }
    ));
    assert!(matches!(
        check(|r| r.length += 1),
        BlobError::Corrupt { .. }
    ));
    assert!(matches!(
        check(|r| r.digest[3] ^= 1),
        BlobError::Corrupt { .. }
    ));
}

#[test]
fn a_reader_stops_at_a_body_it_does_not_know() {
    // Written here by a log that takes any payload: a record with field 99 as its body.
    let storage = MemoryStorage::new();
    let (mut log, _) = open(&storage).unwrap();
    log.append(named("known", 0)).unwrap();
    log.sync().unwrap();
    drop(log);
    let name = "records/00000000000000000001.seg";
    let mut bytes = storage.contents()[name].clone();
    let salt = u32::from_le_bytes(bytes[60..64].try_into().unwrap());
    // sequence = 2, then field 99: an empty message.
    let payload = [0x08, 2, 0x9a, 0x06, 0];
    let mut covered = 5_u32.to_le_bytes().to_vec();
    covered.extend(2_u64.to_le_bytes());
    covered.extend(payload);
    covered.extend([0; 3]);
    let checksum = crc32c::crc32c_append(salt, &covered);
    bytes.extend(5_u32.to_le_bytes());
    bytes.extend(checksum.to_le_bytes());
    bytes.extend(&covered[4..]);
    storage.plant(name, Some(bytes));
    let (log, report) = open(&storage).unwrap();
    assert_eq!(report.records, 2);
    let mut records = log.reader().read_after(0);
    assert_eq!(records.next().unwrap().unwrap().sequence, 1);
    assert!(matches!(
        records.next(),
        Some(Err(ReadError::UnknownBody { sequence: 2 }))
    ));
    assert!(
        records.next().is_none(),
        "an iterator stops at its first error"
    );
}

#[test]
fn large_commits_and_many_small_segments() {
    let options = LogOptions {
        segment_bytes_max: 0,
        blob_segment_bytes_max: 0,
    };
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (mut log, _) = Log::open(Arc::clone(&storage), options).unwrap();
    for commit in 0..5 {
        for _ in 0..3 {
            let blob = log.put_blob(&vec![commit; 3 << 20]).unwrap();
            log.append(super::observed(1, &[blob])).unwrap();
        }
        log.sync().unwrap();
    }
    let before = all(&log.reader());
    let size = log.reader().size();
    drop(log);
    let (log, report) = Log::open(storage, options).unwrap();
    assert_eq!(
        (report.records, report.segments, report.blob_segments),
        (15, 5, 15)
    );
    assert_eq!(all(&log.reader()), before);
    assert_eq!(log.reader().size(), size);
    for (record, commit) in before.iter().zip((0..5).flat_map(|c| [c; 3])) {
        let payload = log.reader().blob(&super::blobs_of(record)[0]).unwrap();
        assert!(payload == vec![commit; 3 << 20]);
    }
}

//! Readers beside the writer.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{io, thread};

use rollcall_log::{
    Access, BlobError, FileStorage, Log, LogOptions, LogReader, MemoryStorage, Storage,
    StorageFile, StorageLock,
};

use super::{SMALL, all, blobs_of, named, observed};

#[test]
fn readers_run_while_the_log_is_written() {
    const RECORDS: u64 = 1500;
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(FileStorage::open(folder.path()).unwrap());
    let options = LogOptions {
        segment_bytes_max: 4000,
        blob_segment_bytes_max: 20_000,
    };
    let (mut log, _) = Log::open(storage, options).unwrap();
    let reader = log.reader();
    thread::scope(|scope| {
        for _ in 0..3 {
            let reader = reader.clone();
            scope.spawn(move || follow(&reader, RECORDS));
        }
        for key in 1..=RECORDS {
            let blob = log.put_blob(format!("blob {key}").as_bytes()).unwrap();
            log.append(observed(key, std::slice::from_ref(&blob)))
                .unwrap();
            if key % (1 + key % 13) == 0 || key == RECORDS {
                log.sync().unwrap();
            }
            if key % 100 == 0 {
                log.sync().unwrap();
                log.erase_blobs(std::slice::from_ref(&blob)).unwrap();
            }
        }
    });
    assert_eq!(
        reader.size().record_bytes,
        size_of(&folder.path().join("records"))
    );
    assert_eq!(
        reader.size().blob_bytes,
        size_of(&folder.path().join("blobs"))
    );
    drop(log);
    assert_eq!(
        all(&reader).len() as u64,
        RECORDS,
        "readers outlive the log"
    );
}

/// Reads on until `until`, from where it stopped, and each record's blob.
fn follow(reader: &LogReader, until: u64) {
    let mut last = 0;
    while last < until {
        for record in reader.read_after(last) {
            let record = record.unwrap();
            assert_eq!(record.sequence, last + 1);
            last = record.sequence;
            for blob in blobs_of(&record) {
                match reader.blob(&blob) {
                    Ok(payload) => assert_eq!(payload, format!("blob {last}").as_bytes()),
                    Err(BlobError::Erased) => assert_eq!(last % 100, 0),
                    Err(other) => panic!("{other}"),
                }
            }
        }
        thread::yield_now();
    }
}

fn size_of(folder: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

#[test]
fn only_what_is_durable_is_seen() {
    let (mut log, _) = Log::open(Arc::new(MemoryStorage::new()), SMALL).unwrap();
    let reader = log.reader();
    let blob = log.put_blob(b"soon").unwrap();
    assert_eq!(
        log.append(observed(1, std::slice::from_ref(&blob)))
            .unwrap(),
        1
    );
    assert_eq!((log.appended_sequence(), log.durable_sequence()), (1, 0));
    assert_eq!(reader.read_after(0).count(), 0);
    assert!(matches!(reader.blob(&blob), Err(BlobError::Missing { .. })));
    assert_eq!(log.sync().unwrap(), 1);
    let before = reader.read_after(0);
    log.append(named("next", 0)).unwrap();
    log.sync().unwrap();
    assert_eq!(
        before.count(),
        1,
        "up to what was durable when it was asked"
    );
    assert_eq!(reader.read_after(0).count(), 2);
    assert_eq!(reader.read_after(2).count(), 0);
    assert_eq!(reader.read_after(u64::MAX).count(), 0);
    assert_eq!(reader.blob(&blob).unwrap(), b"soon");
}

/// Counts the bytes that are read.
struct Counting(MemoryStorage, Arc<AtomicU64>);

struct CountingFile(Arc<dyn StorageFile>, Arc<AtomicU64>);

impl Storage for Counting {
    fn lock(&self) -> io::Result<Option<Box<dyn StorageLock>>> {
        self.0.lock()
    }
    fn locate(&self, name: &str) -> String {
        self.0.locate(name)
    }
    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.0.create_folder(folder)
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.0.list(folder)
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(CountingFile(
            self.0.create(name)?,
            Arc::clone(&self.1),
        )))
    }
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(CountingFile(
            self.0.open(name, access)?,
            Arc::clone(&self.1),
        )))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.0.sync_folder(folder)
    }
}

impl StorageFile for CountingFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read_at(offset, buffer)?;
        self.1.fetch_add(read as u64, Ordering::SeqCst);
        Ok(read)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn erase(&self, ranges: &[(u64, u64)]) -> io::Result<()> {
        self.0.erase(ranges)
    }
}

#[test]
fn reading_the_end_does_not_read_the_log() {
    let read = Arc::new(AtomicU64::new(0));
    let storage = Arc::new(Counting(MemoryStorage::new(), Arc::clone(&read)));
    let options = LogOptions {
        segment_bytes_max: 3 << 20,
        ..LogOptions::default()
    };
    let (mut log, _) = Log::open(Arc::clone(&storage) as Arc<dyn Storage>, options).unwrap();
    for number in 0..8000 {
        log.append(named("", 1000)).unwrap();
        if number % 50 == 0 {
            log.sync().unwrap();
        }
    }
    let last = log.sync().unwrap();
    assert!(log.reader().size().record_bytes > 7 << 20);
    for reopened in [false, true] {
        if reopened {
            drop(log);
            log = Log::open(Arc::clone(&storage) as Arc<dyn Storage>, options)
                .unwrap()
                .0;
        }
        for after in [0, 1, last / 2, last - 1] {
            read.store(0, Ordering::SeqCst);
            let next = log.reader().read_after(after).next().unwrap().unwrap();
            assert_eq!(next.sequence, after + 1);
            let bytes = read.load(Ordering::SeqCst);
            assert!(bytes <= 400 << 10, "{bytes} bytes read for one record");
        }
    }
}

//! A workload on a storage that fails, fills up or loses its power at the n-th operation, for
//! every n.
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rollcall_log::record::BlobRef;
use rollcall_log::record::{Body, Record};
use rollcall_log::storage::{Fault, Survival};
use rollcall_log::{AppendError, BlobError, Log, MemoryStorage};

use super::{all, blobs_of, named, observed, open};

const COMMITS: u64 = 9;

/// What the writer of the log knows.
#[derive(Default)]
struct Known {
    /// What was appended last under each sequence.
    issued: Vec<Record>,
    acknowledged: u64,
    payloads: BTreeMap<(u64, u64), Vec<u8>>,
    attempts: u64,
}

impl Known {
    /// Appends one commit and syncs it.
    fn commit(&mut self, log: &mut Log, commit: u64) -> Result<(), AppendError> {
        self.attempts += 1;
        for part in 0..1 + commit % 3 {
            // Some are sealed.
            let key = if part % 2 == 0 { log.new_key()? } else { 0 };
            let mut blobs = Vec::new();
            for number in 0..(commit + part) % 3 {
                let payload = format!("{}/{commit}/{part}/{number}", self.attempts).repeat(30);
                let reference = log.put_sealed(key, payload.as_bytes())?;
                let place = (reference.segment, reference.offset);
                self.payloads.insert(place, payload.into_bytes());
                blobs.push(reference);
            }
            let mut record = match blobs.is_empty() {
                true => named(&format!("{}/{commit}/{part}", self.attempts), 40),
                false => observed(commit * 10 + part, &blobs),
            };
            if let Some(Body::TrackObserved(track)) = &mut record.body {
                track.key = key;
            }
            // Tells one attempt from the next, should a lost one turn up again.
            record.request_id = self.attempts.to_string();
            record.sequence = log.append(record.clone())?;
            self.issued.truncate(record.sequence as usize - 1);
            self.issued.push(record);
        }
        let durable = log.sync()?;
        assert_eq!(durable, self.issued.len() as u64);
        self.acknowledged = durable;
        Ok(())
    }

    /// Runs all commits, from the start, until one fails.
    fn run(&mut self, storage: &MemoryStorage) -> ControlFlow<()> {
        let Ok((mut log, _)) = open(storage) else {
            return ControlFlow::Break(());
        };
        for commit in 0..COMMITS {
            if self.commit(&mut log, commit).is_err() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Checks that the log holds all that was acknowledged, nothing that was not issued, and
    /// every blob of what it holds.
    fn check(&self, log: &Log) {
        let records = all(&log.reader());
        assert!(
            records.len() as u64 >= self.acknowledged,
            "acknowledged, and lost"
        );
        assert!(records.len() <= self.issued.len(), "never issued");
        assert_eq!(records, self.issued[..records.len()]);
        for reference in records.iter().flat_map(blobs_of) {
            let payload = &self.payloads[&(reference.segment, reference.offset)];
            assert_eq!(&log.reader().blob(&reference).unwrap(), payload);
        }
    }

    /// Opens the log again, checks it, and goes on with it.
    fn check_and_go_on(mut self, storage: &MemoryStorage) {
        let (mut log, _) = open(storage).unwrap();
        self.check(&log);
        self.acknowledged = log.durable_sequence();
        for commit in 1..4 {
            self.commit(&mut log, commit).unwrap();
        }
        self.check(&log);
        drop(log);
        let (log, report) = open(storage).unwrap();
        assert_eq!(report.torn, None);
        assert_eq!(report.records, self.acknowledged);
        self.check(&log);
    }
}

/// Operations that the whole workload takes.
fn operations() -> u64 {
    let storage = MemoryStorage::new();
    let mut known = Known::default();
    assert!(known.run(&storage).is_continue());
    let contents = storage.contents();
    assert!(
        contents
            .keys()
            .filter(|name| name.starts_with("records/"))
            .count()
            > 2
    );
    assert!(
        contents
            .keys()
            .filter(|name| name.starts_with("blobs/"))
            .count()
            > 2
    );
    storage.operations()
}

#[test]
fn power_cut_at_every_operation() {
    let operations = operations();
    for (survival, seeds) in [
        (Survival::Dropped, 1),
        (Survival::Kept, 1),
        (Survival::Torn, 12),
        (Survival::Reordered, 25),
    ] {
        for at in 0..operations {
            for seed in 0..seeds {
                let storage = MemoryStorage::new();
                let mut known = Known::default();
                storage.fail_after(at, Fault::Dead);
                let _ = known.run(&storage);
                storage.cut_power(survival, seed * 1_000_003 + at);
                known.check_and_go_on(&storage);
            }
        }
    }
}

#[test]
fn power_cut_again_while_the_log_is_opened() {
    for at in 0..operations() {
        for again in 0..12 {
            let storage = MemoryStorage::new();
            let mut known = Known::default();
            storage.fail_after(at, Fault::Dead);
            let _ = known.run(&storage);
            storage.cut_power(Survival::Reordered, at * 31 + again);
            storage.fail_after(again, Fault::Dead);
            drop(open(&storage));
            storage.cut_power(Survival::Reordered, at * 37 + again);
            known.check_and_go_on(&storage);
        }
    }
}

#[test]
fn full_disk_at_every_operation() {
    for at in 0..operations() {
        let storage = MemoryStorage::new();
        if drop_unopened(&storage, at, Fault::Full) {
            continue;
        }
        let mut known = Known::default();
        let (mut log, _) = open(&storage).unwrap();
        let mut commit = 0;
        storage.fail_after(at, Fault::Full);
        while commit < COMMITS {
            match known.commit(&mut log, commit) {
                Ok(()) => commit += 1,
                Err(AppendError::Full { durable, path }) => {
                    assert_eq!(durable, known.acknowledged, "{path}");
                    assert_eq!(log.appended_sequence(), durable);
                    known.issued.truncate(durable as usize);
                    known.check(&log);
                    // Still full: refused in the same way, nothing changes.
                    assert!(matches!(
                        known.commit(&mut log, commit),
                        Err(AppendError::Full { .. })
                    ));
                    known.issued.truncate(durable as usize);
                    storage.clear_fault();
                }
                Err(other) => panic!("{other}"),
            }
        }
        known.check(&log);
        drop(log);
        storage.cut_power(Survival::Dropped, 0);
        known.check_and_go_on(&storage);
    }
}

#[test]
fn full_disk_and_a_power_cut_later() {
    for at in 0..operations() {
        for later in [0, 1, 2, 3, 5, 8, 13] {
            let storage = MemoryStorage::new();
            let mut known = Known::default();
            let (mut log, _) = open(&storage).unwrap();
            storage.fail_after(at, Fault::Full);
            for commit in 0..COMMITS {
                match known.commit(&mut log, commit) {
                    Ok(()) => {}
                    Err(AppendError::Full { durable, .. }) => {
                        // What was taken back must never turn up again.
                        known.issued.truncate(durable as usize);
                        storage.fail_after(later, Fault::Dead);
                    }
                    Err(_) => break,
                }
            }
            storage.cut_power(Survival::Reordered, at * 41 + later);
            known.check_and_go_on(&storage);
        }
    }
}

#[test]
fn one_failed_operation_at_every_place() {
    for at in 0..operations() {
        let storage = MemoryStorage::new();
        if drop_unopened(&storage, at, Fault::Io) {
            continue;
        }
        let mut known = Known::default();
        let (mut log, _) = open(&storage).unwrap();
        let mut commit = 0;
        storage.fail_after(at, Fault::Io);
        while commit < COMMITS {
            match known.commit(&mut log, commit) {
                Ok(()) => commit += 1,
                Err(AppendError::Io { durable, .. }) => {
                    assert_eq!(durable, known.acknowledged);
                    known.issued.truncate(durable as usize);
                    known.check(&log);
                }
                Err(AppendError::Poisoned { durable, .. }) => {
                    assert_eq!(durable, known.acknowledged);
                    let again = log.sync().unwrap_err();
                    assert!(matches!(again, AppendError::Poisoned { .. }), "{again}");
                    let refused = log.append(named("no", 1)).unwrap_err();
                    assert!(matches!(refused, AppendError::Poisoned { .. }), "{refused}");
                    assert_eq!(all(&log.reader()).len() as u64, durable, "readers go on");
                    break;
                }
                Err(other) => panic!("{other}"),
            }
        }
        drop(log);
        storage.cut_power(Survival::Torn, at);
        known.check_and_go_on(&storage);
    }
}

/// Opens a log while `fault` strikes at the operation `at`; returns whether that failed. The log
/// then opens the next time.
fn drop_unopened(storage: &MemoryStorage, at: u64, fault: Fault) -> bool {
    let trial = MemoryStorage::new();
    trial.fail_after(at, fault);
    let failed = open(&trial).is_err();
    trial.clear_fault();
    let (log, _) = open(&trial).unwrap();
    assert_eq!(log.durable_sequence(), 0);
    assert!(storage.contents().is_empty());
    failed
}

/// Keys are destroyed while the power is cut at every operation: each is whole or gone, the others are whole, and
/// what was acknowledged as destroyed is.
#[test]
fn a_destroyed_key_stays_destroyed_and_harms_no_other() {
    let blob = |log: &mut Log| {
        let key = log.new_key().unwrap();
        (key, log.put_sealed(key, b"payload").unwrap())
    };
    for survival in [Survival::Dropped, Survival::Torn, Survival::Reordered] {
        for seed in 0..20 {
            for cut in 0..4 {
                let storage = MemoryStorage::new();
                let (mut log, _) = open(&storage).unwrap();
                let blobs: Vec<_> = (0..12).map(|_| blob(&mut log)).collect();
                log.sync().unwrap();
                let gone = [blobs[3].0, blobs[7].0];
                storage.fail_after(cut, Fault::Dead);
                let acknowledged = log.destroy_keys(&gone).is_ok();
                drop(log);
                storage.cut_power(survival, seed);
                let (mut log, _) = open(&storage).unwrap();
                let state = |log: &Log, (key, blob): &(u64, BlobRef)| match log.reader().blob(blob)
                {
                    Ok(bytes) => bytes == b"payload",
                    Err(BlobError::Erased) => gone.contains(key),
                    // Torn in the middle of its state: it is destroyed again.
                    Err(_) => gone.contains(key) && !acknowledged,
                };
                assert!(blobs.iter().all(|it| state(&log, it)));
                if acknowledged {
                    assert!(
                        gone.iter()
                            .all(|key| log.reader().is_destroyed(*key).unwrap())
                    );
                }
                log.destroy_keys(&gone).unwrap();
                for (key, blob) in &blobs {
                    let is_gone = matches!(log.reader().blob(blob), Err(BlobError::Erased));
                    assert_eq!(is_gone, gone.contains(key));
                    assert_eq!(log.reader().is_destroyed(*key).unwrap(), gone.contains(key));
                }
                // What earlier lives made and nobody used is gone too, and what is used next is new.
                log.destroy_unused_keys(12).unwrap();
                assert!(
                    log.reader().is_destroyed(13).unwrap()
                        && !log.reader().is_destroyed(12).unwrap()
                );
                let next = log.new_key().unwrap();
                assert!(next > 1024 && !log.reader().is_destroyed(next).unwrap());
            }
        }
    }
}

/// Linux takes pages for written that it failed to write. A log that is opened again after that, in whatever process,
/// must not take what it reads there for durable.
#[test]
fn what_a_failed_sync_left_unwritten_is_written_again_before_anything_builds_on_it() {
    for at in 0..operations() {
        let storage = MemoryStorage::new();
        if drop_unopened(&storage, at, Fault::LostSync) {
            continue;
        }
        let mut known = Known::default();
        let (mut log, _) = open(&storage).unwrap();
        storage.fail_after(at, Fault::LostSync);
        let mut commit = 0;
        while commit < COMMITS && known.commit(&mut log, commit).is_ok() {
            commit += 1;
        }
        drop(log);
        storage.clear_fault();
        // What it finds it shows to readers: from here on that is durable.
        let (mut log, _) = open(&storage).unwrap();
        known.check(&log);
        known.acknowledged = log.durable_sequence();
        known.commit(&mut log, 1).unwrap();
        drop(log);
        storage.cut_power(Survival::Dropped, at);
        known.check_and_go_on(&storage);
    }
}

//! An erasure on storage that loses its power at each of its writes: what was acknowledged is gone in the end, and
//! nothing else is.

use super::*;
use crate::core::apply::Truth;
use crate::core::contracts::Side;
use crate::core::edit::tests::crash::truth;
use crate::core::fill::survivors;
use crate::core::tests::{CONTRACT, DIMENSION, face, options};
use crate::core::writer::record;
use rollcall_log::MemoryStorage;
use rollcall_log::record::{BlobRef, CollectionOpened, Decision, Exemplar, TrackObserved};
use rollcall_log::storage::{Fault, Survival};

/// Three people, each in a track of their own, all but the last one's sealed.
fn seen() -> (MemoryStorage, Vec<BlobRef>) {
    let storage = MemoryStorage::new();
    let (mut truth, _folder) = truth(&storage);
    let opened = Body::CollectionOpened(CollectionOpened {
        contract: CONTRACT.to_owned(),
        dimension: u32::try_from(DIMENSION).unwrap(),
    });
    truth.write(record("", "", opened), Vec::new()).unwrap();
    let mut blobs = Vec::new();
    for track in 1..=3 {
        let embedding = face(usize::try_from(track).unwrap(), 0.1);
        let key = if track == 3 {
            0
        } else {
            truth.log.new_key().unwrap()
        };
        let blob = truth
            .log
            .put_sealed(key, &embedding.to_f16_bytes())
            .unwrap();
        blobs.push(blob.clone());
        let observed = TrackObserved {
            track_id: track,
            track_key: track,
            source_id: 1,
            revision: 1,
            closed: true,
            exemplars: vec![Exemplar {
                exemplar_id: track,
                quality: 0.5,
                embedding: Some(blob),
                ..Exemplar::default()
            }],
            exemplar_count: 1,
            decision: Some(Decision {
                identity_id: track,
                ..Decision::default()
            }),
            key,
            ..TrackObserved::default()
        };
        let body = Body::TrackObserved(observed);
        truth.write(record("", "", body), vec![embedding]).unwrap();
    }
    truth.log.sync().unwrap();
    (storage, blobs)
}

/// Erases tracks 1 and 3 as far as the storage lets it: the erasure, once it is acknowledged, and whether it is
/// through.
fn erase(truth: &mut Truth) -> (Option<u64>, bool) {
    let asked = Erasure {
        what: What::Tracks(vec![1, 3]),
        author: "tester".to_owned(),
        reason: String::new(),
        request_id: String::new(),
    };
    let Ok(begun) = begin(truth, asked) else {
        return (None, false);
    };
    if truth.log.sync().is_err() || truth.catalog.commit(begun).is_err() {
        return (None, false);
    }
    (Some(begun), go_on(truth, begun))
}

fn go_on(truth: &mut Truth, begun: u64) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let record = begun_at(truth, begun).unwrap().unwrap();
    let found = traces(&truth.log.reader(), &record).unwrap();
    let blobs = to_overwrite(&truth.log.reader(), &found.blobs).unwrap();
    let overwrite = EraseCommand::Overwrite {
        erasure: begun,
        blobs,
    };
    let options = options(folder.path());
    carry_out(truth, &options, overwrite).is_ok()
        && finish(truth, &options, begun, &found).is_ok()
        && truth.log.sync().is_ok()
}

#[test]
fn cut_off_anywhere_it_is_gone_on_with_and_harms_nobody_else() {
    for survival in [
        Survival::Dropped,
        Survival::Torn,
        Survival::Reordered,
        Survival::Kept,
    ] {
        for operations in 0.. {
            let (storage, blobs) = seen();
            let (mut interrupted, _folder) = truth(&storage);
            storage.fail_after(operations, Fault::Dead);
            let (begun, through) = erase(&mut interrupted);
            drop(interrupted);
            storage.cut_power(survival, operations);
            let (mut reopened, _folder) = truth(&storage);
            let pending = reopened.catalog.erasures_pending().unwrap();
            // It may be through although nobody was told so.
            assert!(!through || pending.is_empty(), "{survival:?} {operations}");
            assert!(
                pending
                    .iter()
                    .all(|place| begun.is_none_or(|begun| begun == place.sequence))
            );
            for place in &pending {
                assert!(
                    go_on(&mut reopened, place.sequence),
                    "{survival:?} {operations}"
                );
            }
            let erased = begun.is_some() || !pending.is_empty();
            let reader = reopened.log.reader();
            let left = survivors(&reader, reader.durable_sequence(), Side::InService).unwrap();
            let left: Vec<u64> = left.faces.iter().map(|face| face.face).collect();
            assert_eq!(left, if erased { vec![2] } else { vec![1, 2, 3] });
            for (number, blob) in blobs.iter().enumerate() {
                let gone = erased && number != 1;
                assert_eq!(
                    reader.blob(blob).is_err(),
                    gone,
                    "{survival:?} {operations} {number}"
                );
            }
            // Where its key went first, nobody can find the other one's payload any more, nor read it.
            assert_eq!(reader.is_overwritten(&blobs[2]).unwrap(), erased);
            assert_eq!(reader.is_destroyed(blobs[0].key).unwrap(), erased);
            assert!(!reader.is_destroyed(blobs[1].key).unwrap());
            reopened.index.newest().verify().unwrap();
            assert_eq!(reopened.index.newest().stats().faces, left.len());
            drop(reopened);
            // And again from the log alone.
            let (again, _folder) = truth(&storage);
            assert!(again.catalog.erasures_pending().unwrap().is_empty());
            assert_eq!(again.index.newest().stats().faces, left.len());
            if through {
                break;
            }
        }
    }
}

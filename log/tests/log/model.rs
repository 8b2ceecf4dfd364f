//! Any sequence of operations, beside a plain list of what should be there.
use proptest::prelude::*;
use rollcall_log::record::{BlobRef, Body};
use rollcall_log::record::{
    CollectionOpened, Decision, FaceBox, Record, SourceAdded, SourceProgress, SourceSettings,
    SourceStateChanged, TrackObserved, TrackRetracted,
};
use rollcall_log::storage::{Fault, Survival};
use rollcall_log::{BlobError, MemoryStorage};

use super::{all, open};

#[derive(Clone, Debug)]
enum Step {
    Append(Box<Record>),
    Blob(Vec<u8>),
    Sync,
    Erase(prop::sample::Index),
    Full { after: u64 },
    Reopen { cut: bool, seed: u64 },
}

fn body() -> impl Strategy<Value = Body> {
    let face = (
        any::<i64>(),
        any::<f32>().prop_filter("equal to itself", |x| !x.is_nan()),
    )
        .prop_map(|(frame, x)| FaceBox {
            frame,
            x,
            ..FaceBox::default()
        });
    let track = (
        any::<u64>(),
        any::<u32>(),
        prop::collection::vec(face, 0..5),
        any::<bool>(),
    );
    prop_oneof![
        (".*", any::<u32>()).prop_map(|(contract, dimension)| {
            Body::CollectionOpened(CollectionOpened {
                contract,
                dimension,
            })
        }),
        (any::<u64>(), ".*", any::<bool>()).prop_map(|(source_id, uri, realtime)| {
            let settings = Some(SourceSettings { realtime });
            Body::SourceAdded(SourceAdded {
                source_id,
                uri,
                settings,
                ..SourceAdded::default()
            })
        }),
        (any::<i32>(), ".*").prop_map(|(state, reason)| {
            let changed = SourceStateChanged {
                state,
                reason,
                ..SourceStateChanged::default()
            };
            Body::SourceStateChanged(changed)
        }),
        any::<i64>().prop_map(|complete_up_to_us| {
            let progress = SourceProgress {
                complete_up_to_us,
                ..SourceProgress::default()
            };
            Body::SourceProgress(progress)
        }),
        track.prop_map(|(track_id, revision, boxes, closed)| {
            let decision = Some(Decision {
                identity_id: track_id / 2,
                ..Decision::default()
            });
            let track = TrackObserved {
                track_id,
                revision,
                boxes,
                closed,
                decision,
                ..Default::default()
            };
            Body::TrackObserved(track)
        }),
        (any::<u64>(), ".*").prop_map(|(track_id, reason)| {
            Body::TrackRetracted(TrackRetracted {
                track_id,
                reason,
                ..Default::default()
            })
        }),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    (any::<i64>(), ".*", ".{0,9}", body()).prop_map(|(time_us, author, request_id, body)| Record {
        time_us,
        author,
        request_id,
        body: Some(body),
        ..Record::default()
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => record().prop_map(|record| Step::Append(Box::new(record))),
        3 => prop::collection::vec(any::<u8>(), 0..400).prop_map(Step::Blob),
        4 => Just(Step::Sync),
        1 => any::<prop::sample::Index>().prop_map(Step::Erase),
        1 => (0..6_u64).prop_map(|after| Step::Full { after }),
        1 => (any::<bool>(), any::<u64>()).prop_map(|(cut, seed)| Step::Reopen { cut, seed }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_list(steps in prop::collection::vec(step(), 0..60)) {
        let storage = MemoryStorage::new();
        let (mut log, _) = open(&storage).unwrap();
        // Durable, and waiting.
        let (mut records, mut waiting) = (Vec::<Record>::new(), Vec::<Record>::new());
        let (mut blobs, mut new_blobs) = (Vec::<(BlobRef, Option<Vec<u8>>)>::new(), Vec::new());
        for step in steps {
            let outcome = match step {
                Step::Append(mut record) => log.append((*record).clone()).map(|sequence| {
                    record.sequence = sequence;
                    waiting.push(*record);
                }),
                Step::Blob(payload) => log.put_blob(&payload).map(|reference| {
                    new_blobs.push((reference, Some(payload)));
                }),
                Step::Sync => log.sync().map(|durable| {
                    records.append(&mut waiting);
                    blobs.append(&mut new_blobs);
                    prop_assert_eq!(durable, records.len() as u64);
                    Ok(())
                }).map(|checked| checked.unwrap()),
                Step::Erase(index) => {
                    storage.clear_fault();
                    if !blobs.is_empty() {
                        let at = index.index(blobs.len());
                        let (reference, payload) = &mut blobs[at];
                        log.erase_blobs(std::slice::from_ref(reference)).unwrap();
                        *payload = None;
                    }
                    Ok(())
                }
                Step::Full { after } => {
                    storage.fail_after(after, Fault::Full);
                    Ok(())
                }
                Step::Reopen { cut, seed } => {
                    storage.clear_fault();
                    drop(log);
                    if cut {
                        storage.cut_power(Survival::Reordered, seed);
                    }
                    log = open(&storage).unwrap().0;
                    waiting.clear();
                    new_blobs.clear();
                    Ok(())
                }
            };
            if outcome.is_err() {
                waiting.clear();
                new_blobs.clear();
                storage.clear_fault();
            }
            prop_assert_eq!(log.appended_sequence(), (records.len() + waiting.len()) as u64);
        }
        prop_assert_eq!(all(&log.reader()), records);
        for (reference, payload) in blobs {
            match (log.reader().blob(&reference), payload) {
                (Ok(found), Some(payload)) => prop_assert_eq!(found, payload),
                (Err(BlobError::Erased), None) => {}
                (found, payload) => prop_assert!(false, "{:?} {:?}", found, payload),
            }
        }
    }

    /// Arbitrary bytes where a segment should be: an error, or a log, never a panic.
    #[test]
    fn arbitrary_files_do_no_harm(
        head: bool,
        records: Vec<u8>,
        blobs: Vec<u8>,
        reference in (1..3_u64, 0..200_u64, 0..99_u32),
    ) {
        let storage = MemoryStorage::new();
        let (mut log, _) = open(&storage).unwrap();
        let good = log.put_blob(b"x").unwrap();
        log.sync().unwrap();
        drop(log);
        for (name, bytes) in storage.contents() {
            let tail = if name.starts_with("records") { &records } else { &blobs };
            let kept = if head { bytes.len() } else { 0 };
            let bytes = bytes[..kept].iter().chain(tail).copied().collect();
            storage.plant(&name, Some(bytes));
        }
        if let Ok((log, _)) = open(&storage) {
            let (segment, offset, length) = reference;
            let digest = vec![0; 16];
            let _ = log.reader().blob(&BlobRef { segment, offset: offset * 8, length, digest, key: 0 });
            let _ = log.reader().blob(&good);
            let _ = log.reader().read_after(0).count();
        }
    }
}

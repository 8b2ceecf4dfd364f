//! Snapshots under threads: readers see whole states while the writer goes on, and writes
//! checkpoints that take the place of the files they read.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{
    sync::{Arc, mpsc},
    thread,
};

use rollcall_index::{
    Effort, Embedding, FaceEffort, FaceId, Filter, IdentityId, IdentityState, IdentityStates,
    Index, Operation, Similarity, Snapshot, SourceId, TrackId,
};

const DIMENSION: usize = 16;
const STEPS: u64 = 300;
/// Steps from one checkpoint to the next.
const CHECKPOINT: u64 = 7;

/// A fixed sequence of directions (a linear congruential generator).
fn embedding(seed: u64) -> Embedding {
    let mut state = seed;
    let values = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(state >> 48).unwrap()) / 32_768.0 - 1.0
    });
    Embedding::normalise(values.take(DIMENSION).collect()).unwrap()
}

/// Step n adds face n, moves a track or that face, says what its identity is or merges it with
/// another, and takes away an older face.
fn step(n: u64) -> Vec<Operation> {
    let mut operations = vec![Operation::Insert {
        face: FaceId::new(n),
        identity: IdentityId::new(n % 17),
        track: TrackId::new(n / 3),
        source: SourceId::new(n % 2),
        seen_us: i64::try_from(n).unwrap(),
        quality: 0.5,
        attributes: u16::try_from(n % 4).unwrap(),
        embedding: embedding(n),
    }];
    if n.is_multiple_of(5) {
        let (track, identity) = (TrackId::new(n / 3), IdentityId::new(n % 11));
        operations.push(Operation::Assign { track, identity });
    }
    let (face, identity) = (FaceId::new(n), IdentityId::new(n % 13));
    if n.is_multiple_of(3) {
        let state = IdentityState::new(u8::try_from(n % 8).unwrap()).unwrap();
        operations.push(Operation::Move { face, identity });
        operations.push(Operation::Mark { identity, state });
    }
    if n.is_multiple_of(21) {
        let into = IdentityId::new(n % 19);
        let from = identity;
        operations.push(Operation::Merge { from, into });
    }
    if n > 100 {
        operations.push(Operation::Remove {
            face: FaceId::new(n - 100),
        });
    }
    operations
}

/// One filter that takes all, and one of each kind.
fn filters() -> [Filter; 5] {
    let state = |state| IdentityState::new(state).unwrap();
    [
        Filter::default(),
        Filter {
            exclude_track: Some(TrackId::new(20)),
            ..Filter::default()
        },
        Filter {
            sources: Some(vec![SourceId::new(1)]),
            ..Filter::default()
        },
        Filter {
            seen_after_us: Some(50),
            seen_before_us: Some(250),
            attributes_all: 1,
            ..Filter::default()
        },
        Filter {
            states: Some(IdentityStates::from_iter([state(0), state(3)])),
            ..Filter::default()
        },
    ]
}

/// What a reader can see of a state, in words.
fn digest(snapshot: &Snapshot) -> String {
    let stats = snapshot.verify().unwrap();
    let queries = [12_345, 54_321, 7].map(embedding);
    let mut words = format!("{} {stats:?}", snapshot.sequence());
    for filter in filters() {
        let floor = Similarity::new(0.2).unwrap();
        let people = snapshot.who_batch(&queries, 5, floor, &filter, Effort::Normal);
        let faces = snapshot.faces_batch(&queries, 5, &filter, FaceEffort::NORMAL);
        let alone = snapshot.search_identities(&queries[0], 5, &filter);
        words += &format!(" {:?} {:?} {alone:?}", people.unwrap(), faces.unwrap());
    }
    words
}

#[test]
fn readers_see_whole_states_while_the_writer_goes_on() {
    let mut senders = Vec::new();
    let mut readers = Vec::new();
    for _ in 0..3 {
        let (sender, receiver) = mpsc::channel::<Arc<Snapshot>>();
        senders.push(sender);
        readers.push(thread::spawn(move || {
            // Every snapshot is read as it comes and again when the writer has long moved on.
            let early = receiver
                .into_iter()
                .map(|snapshot| (digest(&snapshot), snapshot));
            let early: Vec<(String, Arc<Snapshot>)> = early.collect();
            for (first, snapshot) in &early {
                assert_eq!(*first, digest(snapshot));
            }
            early
                .into_iter()
                .map(|(first, _)| first)
                .collect::<Vec<String>>()
        }));
    }
    let folder = tempfile::tempdir().unwrap();
    let open = || Index::open(folder.path(), "test-model", DIMENSION).unwrap();
    let mut index = open();
    for n in 1..=STEPS {
        index.apply(n, &step(n)).unwrap();
        if n.is_multiple_of(CHECKPOINT) {
            assert!(index.checkpoint().unwrap().pages > 0);
        }
        if n.is_multiple_of(CHECKPOINT * 10) {
            drop(index);
            index = open();
        }
        let snapshot = index.publish();
        for sender in &senders {
            sender.send(Arc::clone(&snapshot)).unwrap();
        }
    }
    drop(senders);

    let mut alone = Index::new(DIMENSION);
    let expected: Vec<String> = (1..=STEPS)
        .map(|n| {
            alone.apply(n, &step(n)).unwrap();
            digest(&alone.publish())
        })
        .collect();
    for reader in readers {
        assert_eq!(reader.join().unwrap(), expected);
    }
}

/// Replaying the same operations must give the same bits: the log is replayed at every start.
#[test]
fn the_same_operations_give_the_same_bits() {
    let build = || {
        let mut index = Index::new(DIMENSION);
        for n in 1..=STEPS {
            index.apply(n, &step(n)).unwrap();
        }
        index
    };
    let (a, b) = (build(), build());
    for identity in (0..17).map(IdentityId::new) {
        assert_eq!(
            a.newest().representative(identity),
            b.newest().representative(identity)
        );
    }
}

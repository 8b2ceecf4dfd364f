//! Snapshots under threads: readers see whole states while the writer goes on.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{
    sync::{Arc, mpsc},
    thread,
};

use rollcall_index::{
    Embedding, FaceId, Filter, IdentityId, Index, Operation, Snapshot, SourceId, TrackId,
};

const DIMENSION: usize = 16;
const STEPS: u64 = 300;

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

/// Step n adds face n, moves an earlier track, and takes away an older face.
fn step(n: u64) -> Vec<Operation> {
    let mut operations = vec![Operation::Insert {
        face: FaceId::new(n),
        identity: IdentityId::new(n % 17),
        track: TrackId::new(n / 3),
        source: SourceId::new(n % 2),
        seen_us: i64::try_from(n).unwrap(),
        quality: 0.5,
        attributes: 0,
        embedding: embedding(n),
    }];
    if n.is_multiple_of(5) {
        let (track, identity) = (TrackId::new(n / 3), IdentityId::new(n % 11));
        operations.push(Operation::Assign { track, identity });
    }
    if n > 100 {
        operations.push(Operation::Remove {
            face: FaceId::new(n - 100),
        });
    }
    operations
}

/// What a reader can see of a state, in words.
fn digest(snapshot: &Snapshot) -> String {
    let stats = snapshot.verify().unwrap();
    let query = embedding(12_345);
    let filter = Filter {
        exclude_track: Some(TrackId::new(20)),
        ..Filter::default()
    };
    let identities = snapshot.search_identities(&query, 5, &filter).unwrap();
    let faces = snapshot
        .search_faces(&query, 5, &Filter::default())
        .unwrap();
    format!("{} {stats:?} {identities:?} {faces:?}", snapshot.sequence())
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
    let mut index = Index::new(DIMENSION);
    for n in 1..=STEPS {
        index.apply(n, &step(n)).unwrap();
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

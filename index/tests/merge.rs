//! Merging, splitting and marking identities.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{ops::Range, time::Instant};

use rollcall_index::{
    ApplyError, Embedding, FaceId, Filter, IdentityId, IdentityState, Index, Operation, SourceId,
    State, TrackId,
};

const DIMENSION: usize = 8;

/// A fixed sequence of directions (a linear congruential generator), none far from the first axis.
fn embedding(seed: u64) -> Embedding {
    let mut state = seed;
    let mut values: Vec<f32> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(state >> 48).unwrap()) / 65_536.0 - 0.5
    })
    .take(DIMENSION)
    .collect();
    values[0] += 1.0;
    Embedding::normalise(values).unwrap()
}

/// Inserts these faces, four to a track.
fn inserts(faces: Range<u64>, identity: u64) -> impl Iterator<Item = Operation> {
    faces.map(move |face| Operation::Insert {
        face: FaceId::new(face),
        identity: IdentityId::new(identity),
        track: TrackId::new(face / 4),
        source: SourceId::new(face % 3),
        seen_us: i64::try_from(face).unwrap(),
        quality: 0.5,
        attributes: 1 << (face % 16),
        embedding: embedding(face),
    })
}

fn merge(from: u64, into: u64) -> Operation {
    let (from, into) = (IdentityId::new(from), IdentityId::new(into));
    Operation::Merge { from, into }
}

fn mark(identity: u64, state: u8) -> Operation {
    Operation::Mark {
        identity: IdentityId::new(identity),
        state: IdentityState::new(state).unwrap(),
    }
}

fn state_of(state: &State, identity: u64) -> Option<u8> {
    let state = state.identity_state(IdentityId::new(identity));
    state.map(IdentityState::get)
}

/// The numbers of an identity's faces.
fn faces_of(state: &State, identity: u64) -> Vec<u64> {
    let faces = state.identity_faces(IdentityId::new(identity));
    faces.map(|face| face.face.get()).collect()
}

/// What a search says, in words.
fn answers(state: &State) -> String {
    state.verify().unwrap();
    let query = embedding(u64::MAX);
    let filter = Filter {
        exclude_track: Some(TrackId::new(1)),
        ..Filter::default()
    };
    let people = state.search_identities(&query, 10, &filter).unwrap();
    let faces = state.search_faces(&query, 10, &filter).unwrap();
    format!("{people:?} {faces:?}")
}

/// Sizes on either side of whole blocks, and of those whose sums are kept.
const SIZES: [u64; 10] = [1, 2, 16, 31, 32, 33, 63, 64, 65, 130];

#[test]
fn merged_identities_are_as_if_they_had_always_been_one() {
    for first in SIZES {
        for second in SIZES {
            let mut at_once = Index::new(DIMENSION);
            let all = first + second;
            let apart = inserts(0..first, 7).chain(inserts(first..all, 8));
            let apart: Vec<Operation> = apart.collect();
            let merged: Vec<Operation> = apart.iter().cloned().chain([merge(7, 8)]).collect();
            at_once.apply(1, &merged).unwrap();
            let mut later = Index::new(DIMENSION);
            later.apply(1, &apart).unwrap();
            later.apply(2, &[merge(7, 8)]).unwrap();
            let mut always = Index::new(DIMENSION);
            let inserted: Vec<Operation> = inserts(0..all, 8).collect();
            always.apply(1, &inserted).unwrap();
            for index in [&mut at_once, &mut later] {
                assert_eq!(answers(index.newest()), answers(always.newest()));
                assert_eq!(faces_of(index.newest(), 8), (0..all).collect::<Vec<_>>());
                assert_eq!(faces_of(index.newest(), 7), Vec::<u64>::new());
                // Nothing is lost or kept when the faces go.
                for face in (0..all).map(FaceId::new) {
                    index.apply(3, &[Operation::Remove { face }]).unwrap();
                }
                let stats = index.newest().verify().unwrap();
                assert_eq!((stats.faces, stats.identities), (0, 0));
            }
        }
    }
}

#[test]
fn split_and_merged_again_an_identity_is_as_before() {
    for size in SIZES {
        let mut index = Index::new(DIMENSION);
        let other = inserts(1000..1040, 5);
        let operations: Vec<Operation> = inserts(0..size, 1).chain(other).collect();
        index.apply(1, &operations).unwrap();
        let before = answers(index.newest());
        let odd = (0..size).filter(|face| face % 2 == 1).map(FaceId::new);
        let identity = IdentityId::new(2);
        let split: Vec<_> = odd.map(|face| Operation::Move { face, identity }).collect();
        index.apply(2, &split).unwrap();
        assert_eq!(
            faces_of(index.newest(), 2),
            (0..size).filter(|face| face % 2 == 1).collect::<Vec<_>>()
        );
        index.newest().verify().unwrap();
        if size > 1 {
            assert_ne!(answers(index.newest()), before);
            index.apply(3, &[merge(2, 1)]).unwrap();
        }
        assert_eq!(answers(index.newest()), before);
    }
}

#[test]
fn an_identity_merged_into_itself_is_as_before() {
    let mut index = Index::new(DIMENSION);
    let operations: Vec<Operation> = inserts(0..70, 1).chain([mark(1, 3)]).collect();
    index.apply(1, &operations).unwrap();
    let before = answers(index.newest());
    index.apply(2, &[merge(1, 1)]).unwrap();
    assert_eq!(answers(index.newest()), before);
    assert_eq!(state_of(index.newest(), 1), Some(3));
}

#[test]
fn identities_come_and_go_within_a_batch() {
    let mut index = Index::new(DIMENSION);
    let mut operations: Vec<Operation> = Vec::new();
    for identity in 0..20 {
        operations.extend(inserts(identity * 40..identity * 40 + 35, identity));
    }
    // A chain, each step to the next.
    operations.extend((0..19).map(|identity| merge(identity, identity + 1)));
    // The first one comes back, and is renamed to what the second was.
    operations.extend(inserts(5000..5003, 0));
    operations.extend([mark(0, 2), merge(0, 1)]);
    index.apply(1, &operations).unwrap();
    let stats = index.newest().verify().unwrap();
    assert_eq!((stats.faces, stats.identities), (20 * 35 + 3, 2));
    assert_eq!(faces_of(index.newest(), 1), [5000, 5001, 5002]);
    let states = [0, 1, 19].map(|identity| state_of(index.newest(), identity));
    assert_eq!(states, [None, Some(2), Some(0)]);
    // What is gone is gone, for the next operation too.
    let identity = IdentityId::new(1);
    let gone = |last: Operation| {
        let mut operations: Vec<Operation> = (5000..5003)
            .map(|face| Operation::Remove {
                face: FaceId::new(face),
            })
            .collect();
        operations.push(last);
        operations
    };
    let refused = ApplyError::UnknownIdentity { at: 3, identity };
    let before = answers(index.newest());
    for last in [merge(1, 2), mark(1, 1)] {
        assert_eq!(index.apply(2, &gone(last)), Err(refused.clone()));
        assert_eq!(answers(index.newest()), before);
    }
    // Come back in the same batch, it is another: with no state.
    let last = inserts(5000..5001, 1).next().unwrap();
    index.apply(3, &gone(last)).unwrap();
    assert_eq!(state_of(index.newest(), 1), Some(0));
    index.newest().verify().unwrap();
}

#[test]
fn tracks_that_move_take_their_faces_out_of_what_is_merged() {
    let mut index = Index::new(DIMENSION);
    // One track of the first, then all of it is another's; what is left to merge is nothing.
    let operations: Vec<Operation> = inserts(0..4, 1).chain(inserts(4..8, 2)).collect();
    index.apply(1, &operations).unwrap();
    let track = TrackId::new(0);
    let identity = IdentityId::new(2);
    let assign = Operation::Assign { track, identity };
    let identity = IdentityId::new(1);
    let refused = index.apply(2, &[assign.clone(), merge(1, 3)]);
    assert_eq!(
        refused,
        Err(ApplyError::UnknownIdentity { at: 1, identity })
    );
    // Merged and back again.
    index.apply(2, &[merge(1, 3), assign, merge(2, 1)]).unwrap();
    assert_eq!(faces_of(index.newest(), 1), (0..8).collect::<Vec<_>>());
    index.newest().verify().unwrap();
}

#[test]
fn whoever_is_merged_into_keeps_their_state_and_a_new_one_takes_it_over() {
    let mut index = Index::new(DIMENSION);
    // The larger and the smaller way round.
    for (at, (first, second)) in [(40, 3), (3, 40)].into_iter().enumerate() {
        let base = u64::try_from(at).unwrap() * 1000;
        let mut operations: Vec<Operation> = inserts(base..base + first, base + 1).collect();
        operations.extend(inserts(base + 100..base + 100 + second, base + 2));
        operations.extend([mark(base + 1, 4), mark(base + 2, 5)]);
        operations.push(merge(base + 1, base + 2));
        index.apply(1, &operations).unwrap();
        assert_eq!(state_of(index.newest(), base + 2), Some(5));
        index.apply(1, &[merge(base + 2, base + 3)]).unwrap();
        assert_eq!(state_of(index.newest(), base + 2), None);
        assert_eq!(state_of(index.newest(), base + 3), Some(5));
        let everything = index.newest().identity_faces(IdentityId::new(base + 3));
        assert_eq!(everything.count(), usize::try_from(first + second).unwrap());
        index.newest().verify().unwrap();
    }
}

/// Merging must not cost what moving every face would.
#[test]
fn a_hundred_thousand_faces_are_merged_in_no_time() {
    const FACES: u64 = 100_000;
    let mut index = Index::new(DIMENSION);
    let operations: Vec<Operation> = inserts(0..FACES, 1)
        .chain(inserts(FACES..FACES * 2 + 1, 2))
        .chain(inserts(FACES * 3..FACES * 3 + 5, 3))
        .collect();
    let begun = Instant::now();
    index.apply(1, &operations).unwrap();
    let inserting = begun.elapsed();
    let snapshot = index.publish();
    // Into one as large, which has to be handed over; into a small one and a new one, which takes
    // the other's name.
    for (number, operation) in [merge(1, 2), merge(2, 3), merge(3, 4)]
        .into_iter()
        .enumerate()
    {
        let begun = Instant::now();
        index.apply(1, &[operation]).unwrap();
        let took = begun.elapsed();
        assert!(took * 20 < inserting, "{number}: {took:?}, {inserting:?}");
    }
    let stats = index.newest().verify().unwrap();
    assert_eq!(stats.identities, 1);
    let faces = index.newest().identity_faces(IdentityId::new(4));
    assert_eq!(faces.count(), operations.len());
    assert_eq!(snapshot.verify().unwrap().identities, 3);
}

//! What the index promises, case by case.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use rollcall_index::{
    ApplyError, Embedding, FaceId, Filter, IdentityId, IdentityState, Index, Operation,
    SearchError, SourceId, TrackId,
};

const DIMENSION: usize = 4;

fn insert(face: u64, identity: u64, track: u64, values: [f32; DIMENSION]) -> Operation {
    Operation::Insert {
        face: FaceId::new(face),
        identity: IdentityId::new(identity),
        track: TrackId::new(track),
        source: SourceId::new(1),
        seen_us: 0,
        quality: 0.5,
        attributes: 0,
        embedding: Embedding::normalise(values.to_vec()).unwrap(),
    }
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

const EAST: [f32; DIMENSION] = [1.0, 0.0, 0.0, 0.0];
const NORTH: [f32; DIMENSION] = [0.0, 1.0, 0.0, 0.0];
const SOUTH: [f32; DIMENSION] = [0.0, -1.0, 0.0, 0.0];

#[test]
fn what_is_refused_changes_nothing() {
    let mut index = Index::new(DIMENSION);
    index.apply(5, &[insert(1, 1, 1, EAST)]).unwrap();
    let mut refuse = |sequence: u64, last: Operation| {
        // The first operation of the batch is fine and must not stay.
        let error = index
            .apply(sequence, &[insert(2, 2, 2, NORTH), last])
            .unwrap_err();
        let stats = index.newest().verify().unwrap();
        assert_eq!((stats.faces, stats.identities, stats.tracks), (1, 1, 1));
        assert_eq!(index.newest().sequence(), 5);
        error
    };
    let face = FaceId::new(9);
    let remove = Operation::Remove { face };
    assert_eq!(
        refuse(6, remove.clone()),
        ApplyError::UnknownFace { at: 1, face }
    );
    let backwards = ApplyError::SequenceWentBack {
        given: 4,
        newest: 5,
    };
    assert_eq!(refuse(4, remove), backwards);
    let (face, track) = (FaceId::new(1), TrackId::new(9));
    assert_eq!(
        refuse(6, insert(1, 1, 1, EAST)),
        ApplyError::DuplicateFace { at: 1, face }
    );
    let assign = Operation::Assign {
        track,
        identity: IdentityId::new(1),
    };
    assert_eq!(refuse(6, assign), ApplyError::UnknownTrack { at: 1, track });
    let (face, identity) = (FaceId::new(9), IdentityId::new(9));
    assert_eq!(
        refuse(6, Operation::Move { face, identity }),
        ApplyError::UnknownFace { at: 1, face }
    );
    let unknown = ApplyError::UnknownIdentity { at: 1, identity };
    assert_eq!(refuse(6, mark(9, 1)), unknown);
    assert_eq!(refuse(6, merge(9, 9)), unknown);
    assert_eq!(refuse(6, merge(9, 1)), unknown);
    let with = |quality: f32, values: &[f32]| Operation::Insert {
        face: FaceId::new(3),
        identity: IdentityId::new(3),
        track: TrackId::new(3),
        source: SourceId::new(1),
        seen_us: 0,
        quality,
        attributes: 0,
        embedding: Embedding::normalise(values.to_vec()).unwrap(),
    };
    let face = FaceId::new(3);
    let wrong = ApplyError::WrongDimension {
        at: 1,
        face,
        found: 2,
        expected: DIMENSION,
    };
    assert_eq!(refuse(6, with(0.5, &[1.0, 0.0])), wrong);
    for quality in [f32::NAN, f32::INFINITY, -0.1, 1.1] {
        let error = refuse(6, with(quality, &EAST));
        assert!(
            matches!(error, ApplyError::BadQuality { at: 1, .. }),
            "{error}"
        );
    }
}

#[test]
fn an_identity_lives_as_long_as_its_last_face() {
    let mut index = Index::new(DIMENSION);
    index
        .apply(1, &[insert(1, 1, 1, EAST), insert(2, 2, 2, NORTH)])
        .unwrap();
    let (track, identity) = (TrackId::new(1), IdentityId::new(2));
    index
        .apply(2, &[Operation::Assign { track, identity }])
        .unwrap();
    let query = Embedding::normalise(EAST.to_vec()).unwrap();
    let hits = index
        .newest()
        .search_identities(&query, 10, &Filter::default())
        .unwrap();
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].identity, identity);
    let best = index
        .newest()
        .best_face(&query, identity, &Filter::default());
    assert_eq!(best.unwrap().unwrap().0, FaceId::new(1));
    assert!((hits[0].similarity.get() - 0.5f32.sqrt()).abs() < 5e-3);
    assert_eq!(index.newest().representative(IdentityId::new(1)), None);
    let remove = [1, 2].map(|face| Operation::Remove {
        face: FaceId::new(face),
    });
    index.apply(2, &remove).unwrap();
    assert_eq!(
        index
            .newest()
            .search_identities(&query, 10, &Filter::default()),
        Ok(vec![])
    );
    assert_eq!(index.newest().verify().unwrap().identities, 0);
}

#[test]
fn faces_that_cancel_out_are_represented_by_the_best_of_them() {
    let mut index = Index::new(DIMENSION);
    index
        .apply(1, &[insert(7, 1, 1, SOUTH), insert(3, 1, 1, NORTH)])
        .unwrap();
    let representative = index.newest().representative(IdentityId::new(1)).unwrap();
    assert!(representative.as_slice()[1] > 0.999, "{representative:?}");
    index.newest().verify().unwrap();
}

#[test]
fn ties_go_to_the_lower_id() {
    let mut index = Index::new(DIMENSION);
    let same = [9, 4, 6, 2, 8].map(|id| insert(id, id, id, EAST));
    index.apply(1, &same).unwrap();
    let query = Embedding::normalise(EAST.to_vec()).unwrap();
    let hits = index
        .newest()
        .search_identities(&query, 3, &Filter::default())
        .unwrap();
    assert_eq!(
        hits.iter()
            .map(|hit| hit.identity.get())
            .collect::<Vec<_>>(),
        [2, 4, 6]
    );
    let hits = index
        .newest()
        .search_faces(&query, usize::MAX, &Filter::default())
        .unwrap();
    assert_eq!(
        hits.iter().map(|hit| hit.face.get()).collect::<Vec<_>>(),
        [2, 4, 6, 8, 9]
    );
}

#[test]
fn a_query_of_another_model_is_refused() {
    let index = Index::new(DIMENSION);
    let query = Embedding::normalise(vec![1.0; 3]).unwrap();
    let wrong = SearchError::WrongDimension {
        found: 3,
        expected: DIMENSION,
    };
    let state = index.newest();
    assert_eq!(
        state.search_identities(&query, 0, &Filter::default()),
        Err(wrong.clone())
    );
    assert_eq!(
        state.search_faces(&query, 1, &Filter::default()),
        Err(wrong.clone())
    );
    assert_eq!(
        state.identity_similarity(&query, IdentityId::new(1), None),
        Err(wrong.clone())
    );
    let query = Embedding::normalise(EAST.to_vec()).unwrap();
    assert_eq!(
        state.search_identities(&query, 5, &Filter::default()),
        Ok(vec![])
    );
    assert_eq!(
        state.identity_similarity(&query, IdentityId::new(1), None),
        Ok(None)
    );
}

#[test]
fn an_index_of_no_dimension_refuses_every_face_and_is_sound() {
    let mut index = Index::new(0);
    assert!(index.apply(1, &[insert(1, 1, 1, EAST)]).is_err());
    assert_eq!(index.publish().verify().unwrap().faces, 0);
}

#[test]
fn a_cell_that_dissolves_leaves_representatives_as_they_were() {
    const LONG: usize = 64;
    let mut index = Index::new(LONG);
    let mut drawn = 1u64;
    let mut draw = || {
        drawn = drawn
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        f32::from(u8::try_from(drawn >> 56).unwrap()) / 255.0 - 0.5
    };
    // Eight groups of people, so that each has cells of its own.
    for person in 1..=1600u64 {
        let mut values: Vec<f32> = (0..LONG).map(|_| draw()).collect();
        values[usize::try_from(person % 8).unwrap()] += 4.0;
        let insert = Operation::Insert {
            face: FaceId::new(person),
            identity: IdentityId::new(person),
            track: TrackId::new(person),
            source: SourceId::new(1),
            seen_us: 0,
            quality: 1.0,
            attributes: 0,
            embedding: Embedding::normalise(values).unwrap(),
        };
        index.apply(person, &[insert]).unwrap();
    }
    let cells = index.newest().cell_fill().count();
    let group: Vec<Operation> = (8..=1600u64)
        .step_by(8)
        .map(|face| Operation::Remove {
            face: FaceId::new(face),
        })
        .collect();
    for remove in group.chunks(10) {
        index.apply(1600, remove).unwrap();
        index.newest().verify().unwrap();
    }
    assert!(index.newest().cell_fill().count() < cells);
}

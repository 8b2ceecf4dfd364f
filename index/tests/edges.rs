//! What lies at the edges: very many faces of one person, very many people, nothing at all, and
//! vectors that are none.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Instant;

use rand::{Rng, SeedableRng, rngs::SmallRng};
use rollcall_index::{
    ApplyError, Effort, Embedding, EmbeddingError, FaceEffort, FaceId, Filter, IdentityId, Index,
    Operation, SURE, SearchError, Similarity, SourceId, TrackId,
};

const DIMENSION: usize = 64;
/// Operations of a batch.
const BATCH: usize = 10_000;

/// A direction that is the person's own, and `spread` of the face's.
fn embedding(person: u64, face: u64, spread: f32) -> Embedding {
    let (mut own, mut other) = (
        SmallRng::seed_from_u64(person),
        SmallRng::seed_from_u64(!face),
    );
    let value = |_| own.random_range(-1.0f32..1.0) + spread * other.random_range(-1.0f32..1.0);
    Embedding::normalise((0..DIMENSION).map(value).collect()).unwrap()
}

fn insert(face: u64, person: u64, embedding: Embedding) -> Operation {
    Operation::Insert {
        face: FaceId::new(face),
        identity: IdentityId::new(person),
        track: TrackId::new(face / 20),
        source: SourceId::new(face % 3),
        seen_us: i64::try_from(face).unwrap(),
        quality: 0.5,
        attributes: 0,
        embedding,
    }
}

fn apply(index: &mut Index, operations: impl Iterator<Item = Operation>) {
    let operations: Vec<Operation> = operations.collect();
    for batch in operations.chunks(BATCH) {
        let next = index.newest().sequence() + 1;
        index.apply(next, batch).unwrap();
    }
}

#[test]
fn an_identity_may_have_a_hundred_thousand_faces() {
    const FACES: u64 = 100_000;
    let mut index = Index::new(DIMENSION);
    // Some others, among whom it has to be found.
    let others = (FACES..FACES + 50).map(|face| insert(face, face, embedding(face, face, 0.5)));
    let many = (0..FACES).map(|face| insert(face, 1, embedding(1, face, 0.5)));
    apply(&mut index, many.chain(others));
    let (wanted, filter) = (IdentityId::new(1), Filter::default());
    let query = embedding(1, 4321, 0.5);
    for left in [FACES, FACES / 2] {
        let state = index.newest();
        assert_eq!(state.verify().unwrap().faces as u64, left + 50);
        assert_eq!(state.identity_faces(wanted).count() as u64, left);
        for effort in [Effort::Normal, Effort::Certified, Effort::Exact] {
            let (hits, _) = state
                .who(&query, 2, Similarity::LEAST, &filter, effort)
                .unwrap();
            assert_eq!(hits[0].identity, wanted);
            assert!(hits[0].similarity.get() > 0.8);
        }
        for effort in [FaceEffort::NORMAL, FaceEffort::Certified, FaceEffort::Exact] {
            let (hits, _) = state.faces_like(&query, 7, &filter, effort).unwrap();
            assert_eq!(hits.len(), 7);
            assert_eq!(hits[0].face, FaceId::new(4321));
            assert!(hits.is_sorted_by(|a, b| a.similarity >= b.similarity));
        }
        let (face, similarity) = state.best_face(&query, wanted, &filter).unwrap().unwrap();
        assert_eq!(face, FaceId::new(4321));
        assert!(similarity.get() > 0.99);
        // Every second goes, but not the one that is asked for.
        let gone = (0..FACES).filter(|face| face % 2 == 0 && left == FACES);
        let gone = gone.map(|face| Operation::Remove {
            face: FaceId::new(face),
        });
        apply(&mut index, gone);
    }
    let rest = (0..FACES).filter(|face| face % 2 == 1);
    let rest = rest.map(|face| Operation::Remove {
        face: FaceId::new(face),
    });
    apply(&mut index, rest);
    let stats = index.newest().verify().unwrap();
    assert_eq!((stats.identities, stats.faces), (50, 50));
    assert_eq!(
        index.newest().best_face(&query, wanted, &filter).unwrap(),
        None
    );
}

#[test]
fn a_track_may_have_a_hundred_thousand_faces() {
    const FACES: u64 = 100_000;
    let mut index = Index::new(DIMENSION);
    let faces = (0..FACES).map(|face| {
        let mut face = insert(face, 1, embedding(1, face, 0.5));
        if let Operation::Insert { track, .. } = &mut face {
            *track = TrackId::new(7);
        }
        face
    });
    apply(&mut index, faces);
    let state = index.newest();
    // Minutes, if each face were looked for in its track.
    let stats = state.verify().unwrap();
    assert_eq!((stats.faces as u64, stats.tracks), (FACES, 1));
    let faces = state.track_faces(TrackId::new(7)).map(|face| face.face);
    assert!(faces.eq((0..FACES).map(FaceId::new)));
}

/// As many people as this, with one face each.
fn one_face_each(people: u64) {
    let mut index = Index::new(DIMENSION);
    let began = Instant::now();
    for some in (0..people).collect::<Vec<_>>().chunks(BATCH) {
        let some = some
            .iter()
            .map(|id| insert(*id, *id, embedding(*id, *id, 0.0)));
        apply(&mut index, some);
    }
    let inserted = began.elapsed();
    let state = index.publish();
    let stats = state.verify().unwrap();
    assert_eq!(
        (stats.identities as u64, stats.faces as u64),
        (people, people)
    );
    eprintln!("{people} people: inserted in {inserted:?}, {stats:?}");
    let filter = Filter::default();
    for wanted in [0, people / 3, people - 1] {
        let query = embedding(wanted, wanted, 0.0);
        for effort in [Effort::Normal, Effort::Certified, Effort::Exact] {
            let hits = state.who(&query, 3, Similarity::LEAST, &filter, effort);
            let best = hits.unwrap().0[0];
            // Among a million directions of 64 values others are sure by chance.
            let sure = effort == Effort::Normal && best.similarity.get() >= SURE;
            assert!(
                sure || best.identity == IdentityId::new(wanted),
                "{effort:?}"
            );
        }
        let effort = FaceEffort::Certified;
        let (hits, _) = state.faces_like(&query, 3, &filter, effort).unwrap();
        assert_eq!(hits[0].face, FaceId::new(wanted));
        assert!(hits[0].similarity.get() > 0.99);
    }
    let none = state.cell_fill().filter(|count| *count > 256).count();
    assert_eq!(none, 0, "no cell is too full");
}

#[test]
fn many_people_with_one_face_each_are_found() {
    one_face_each(30_000);
}

#[test]
#[ignore = "takes minutes, and longer without optimisation"]
fn a_million_people_with_one_face_each_are_found() {
    one_face_each(1_000_000);
}

#[test]
fn more_hits_than_there_are_and_none_at_all() {
    let (query, filter) = (embedding(1, 1, 0.0), Filter::default());
    for people in [0, 1, 40, 300] {
        let mut index = Index::new(DIMENSION);
        let all = (0..people).map(|id| insert(id, id, embedding(id, id, 0.5)));
        apply(&mut index, all);
        let state = index.newest();
        assert_eq!(state.verify().unwrap().identities as u64, people);
        for k in [0, 1, 40, 1000, usize::MAX] {
            let expected = k.min(usize::try_from(people).unwrap());
            for effort in [
                Effort::Cells(1000),
                Effort::Normal,
                Effort::Certified,
                Effort::Exact,
            ] {
                let (hits, _) = state
                    .who(&query, k, Similarity::LEAST, &filter, effort)
                    .unwrap();
                assert_eq!(
                    hits.len(),
                    expected,
                    "{people} people, {k} asked for, {effort:?}"
                );
            }
            for effort in [FaceEffort::NORMAL, FaceEffort::Certified, FaceEffort::Exact] {
                let (hits, _) = state.faces_like(&query, k, &filter, effort).unwrap();
                assert_eq!(
                    hits.len(),
                    expected,
                    "{people} faces, {k} asked for, {effort:?}"
                );
            }
            let floor = Similarity::LEAST;
            assert_eq!(
                state.faces_above(&query, floor, k, &filter).unwrap().len(),
                expected
            );
        }
    }
}

#[test]
fn an_empty_index_has_an_answer_to_everything() {
    let index = Index::new(DIMENSION);
    let (state, query, filter) = (index.publish(), embedding(1, 1, 0.0), Filter::default());
    let (identity, track, face) = (IdentityId::new(1), TrackId::new(1), FaceId::new(1));
    assert_eq!(state.best_face(&query, identity, &filter).unwrap(), None);
    assert_eq!(
        state
            .identity_similarity(&query, identity, Some(track))
            .unwrap(),
        None
    );
    assert!(state.representative(identity).is_none() && state.face(face).is_none());
    assert_eq!(
        state.identity_faces(identity).count() + state.track_faces(track).count(),
        0
    );
    assert_eq!(
        (state.cell_fill().count(), state.identity_state(identity)),
        (0, None)
    );
    assert_eq!(state.verify().unwrap().faces, 0);
}

#[test]
fn an_id_that_is_there_already_is_refused_with_words() {
    let mut index = Index::new(DIMENSION);
    let one = |face| insert(face, 1, embedding(1, face, 0.5));
    let face = FaceId::new(7);
    let twice = index.apply(1, &[one(7), one(7)]).unwrap_err();
    assert_eq!(twice, ApplyError::DuplicateFace { at: 1, face });
    index.apply(1, &[one(7)]).unwrap();
    let again = index.apply(2, &[one(8), one(7)]).unwrap_err();
    assert_eq!(
        again.to_string(),
        "operation 1: face 7 is already in the index; remove it first"
    );
    let stats = index.newest().verify().unwrap();
    assert_eq!((stats.faces, index.newest().sequence()), (1, 1));
    // Removed, it may come again, in the same batch.
    index
        .apply(2, &[Operation::Remove { face }, one(7)])
        .unwrap();
    assert_eq!(index.newest().verify().unwrap().faces, 1);
}

#[test]
fn what_is_no_vector_is_refused_with_words() {
    let refused = |values: Vec<f32>| Embedding::normalise(values).unwrap_err();
    let mut values = vec![0.5; DIMENSION];
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        values[9] = wrong;
        let error = refused(values.clone());
        assert!(
            matches!(error, EmbeddingError::NotFinite { at: 9, .. }),
            "{error}"
        );
        assert!(
            error.to_string().ends_with("every value must be finite"),
            "{error}"
        );
    }
    for nothing in [0.0, -0.0, f32::MIN_POSITIVE / 1e5] {
        let error = refused(vec![nothing; DIMENSION]);
        assert!(
            matches!(error, EmbeddingError::ZeroLength { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("no direction"), "{error}");
    }
    assert_eq!(refused(Vec::new()), EmbeddingError::Empty);
    // The largest values there are have a direction all the same.
    let large = Embedding::normalise(vec![f32::MAX; DIMENSION]).unwrap();
    assert!(large.as_slice().iter().all(|value| *value == 0.125));
}

#[test]
fn a_vector_of_another_length_is_refused_by_everything() {
    let mut index = Index::new(DIMENSION);
    index
        .apply(1, &[insert(1, 1, embedding(1, 1, 0.0))])
        .unwrap();
    let short = Embedding::normalise(vec![1.0; DIMENSION - 1]).unwrap();
    let error = index.apply(2, &[insert(2, 1, short.clone())]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "operation 0: face 2 has an embedding of 63 values, the index holds 64; embed it with the \
         model that the index was made with"
    );
    let expected = SearchError::WrongDimension {
        found: 63,
        expected: 64,
    };
    let (state, filter, least) = (index.publish(), Filter::default(), Similarity::LEAST);
    let one = IdentityId::new(1);
    let answers = [
        state.who(&short, 0, least, &filter, Effort::Normal).err(),
        state
            .faces_like(&short, 0, &filter, FaceEffort::NORMAL)
            .err(),
        state.faces_above(&short, least, 0, &filter).err(),
        state.best_face(&short, one, &filter).err(),
        state.identity_similarity(&short, one, None).err(),
    ];
    for answer in answers {
        assert_eq!(answer.as_ref(), Some(&expected));
    }
}

//! Identities whose faces look like several people.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use rand::{Rng, SeedableRng, rngs::StdRng};
use rollcall_index::{
    Effort, Embedding, FaceEffort, FaceId, Filter, IdentityId, Index, Operation, Similarity,
    SourceId, State, TrackId,
};

const DIMENSION: usize = 96;
const OPEN: Filter = Filter {
    sources: None,
    seen_after_us: None,
    seen_before_us: None,
    attributes_all: 0,
    attributes_none: 0,
    states: None,
    exclude_track: None,
};

/// Kinds of faces, and noise around them.
struct Faces {
    random: StdRng,
    kinds: Vec<Vec<f32>>,
    next: u64,
}

impl Faces {
    fn new(kinds: usize, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut kind = || {
            (0..DIMENSION)
                .map(|_| random.random_range(-1.0..1.0))
                .collect()
        };
        let kinds = (0..kinds).map(|_| kind()).collect();
        Self {
            random,
            kinds,
            next: 1,
        }
    }

    fn like(&mut self, kind: usize) -> Embedding {
        let noise = |value: &f32| value + self.random.random_range(-0.6..0.6);
        Embedding::normalise(self.kinds[kind].iter().map(noise).collect()).unwrap()
    }

    fn insert(&mut self, kind: usize, identity: u64) -> Operation {
        let face = self.next;
        self.next += 1;
        Operation::Insert {
            face: FaceId::new(face),
            identity: IdentityId::new(identity),
            track: TrackId::new(face / 4),
            source: SourceId::new(1),
            seen_us: 0,
            quality: self.random.random_range(0.3..1.0),
            attributes: 0,
            embedding: self.like(kind),
        }
    }
}

fn cosine(state: &State, query: &Embedding, identity: u64, without: Option<u64>) -> f32 {
    let track = without.map(TrackId::new);
    let found = state.identity_similarity(query, IdentityId::new(identity), track);
    found.unwrap().map_or(-1.0, Similarity::get)
}

/// Every search agrees with the one that looks at everything.
fn check(state: &State, query: &Embedding, exclude_track: Option<TrackId>) {
    state.verify().unwrap();
    let filter = Filter {
        exclude_track,
        ..OPEN
    };
    let who = |effort| {
        state
            .who(query, 4, Similarity::LEAST, &filter, effort)
            .unwrap()
            .0
    };
    let exact = who(Effort::Exact);
    for effort in [Effort::Normal, Effort::Certified, Effort::Cells(99)] {
        assert_eq!(who(effort), exact, "{effort:?}");
    }
    let mut named: Vec<_> = exact.iter().map(|hit| hit.identity).collect();
    named.sort_unstable();
    named.dedup();
    assert_eq!(named.len(), exact.len(), "nobody twice");
    for hit in &exact {
        let alone = state.identity_similarity(query, hit.identity, exclude_track);
        assert_eq!(alone, Ok(Some(hit.similarity)));
    }
    let faces = |effort| state.faces_like(query, 9, &filter, effort).unwrap().0;
    assert_eq!(faces(FaceEffort::Certified), faces(FaceEffort::Exact));
    let open = FaceEffort::Open {
        reach: 1e6,
        deviations: 4.5,
    };
    assert_eq!(faces(open), faces(FaceEffort::Exact));
}

#[test]
fn each_kind_of_face_is_as_similar_as_if_it_were_alone() {
    let mut faces = Faces::new(3, 1);
    let mut index = Index::new(DIMENSION);
    // 1 is of two kinds, 2 and 3 are of one each, and never seen otherwise.
    for round in 0..100u64 {
        let batch = [
            faces.insert(usize::try_from(round % 2).unwrap(), 1),
            faces.insert(2, 2),
            faces.insert(2, 2),
        ];
        index.apply(round, &batch).unwrap();
    }
    let state = index.newest();
    for kind in [0, 1] {
        let query = faces.like(kind);
        let mean = state
            .representative(IdentityId::new(1))
            .unwrap()
            .dot(&query);
        let best = cosine(state, &query, 1, None);
        assert!(best > mean.get() + 0.1 && best > 0.8, "{best} {mean:?}");
        check(state, &query, None);
        check(state, &query, Some(TrackId::new(3)));
        let without = cosine(state, &query, 1, Some(3));
        // Of that track, one face is of the first kind.
        assert!((without - best).abs() < 0.05);
        assert_eq!(without == best, kind == 1);
    }
    let query = faces.like(2);
    let mean = state
        .representative(IdentityId::new(2))
        .unwrap()
        .dot(&query);
    let best = cosine(state, &query, 2, None);
    assert!(
        (best - mean.get()).abs() < 0.01,
        "one kind has one representative"
    );
    // A kind whose faces are gone is gone.
    let gone: Vec<Operation> = state
        .identity_faces(IdentityId::new(1))
        .filter(|face| face.embedding().dot(&query).get() < 2.0)
        .filter(|face| face.face.get() % 2 == 1)
        .map(|face| Operation::Remove { face: face.face })
        .collect();
    for some in gone.chunks(7) {
        index.apply(200, some).unwrap();
        check(index.newest(), &query, None);
    }
}

#[test]
fn whatever_happens_to_faces_modes_are_those_of_their_faces() {
    let folder = tempfile::tempdir().unwrap();
    let mut index = Index::open(folder.path(), "test", DIMENSION).unwrap();
    let mut faces = Faces::new(7, 2);
    for round in 1..=120u64 {
        let batch: Vec<Operation> = (0..20)
            .map(|_| {
                let identity = faces.random.random_range(0..4u64);
                let kinds = usize::try_from(identity).unwrap();
                let kind = kinds + faces.random.random_range(0..=kinds);
                faces.insert(kind, identity)
            })
            .collect();
        index.apply(round, &batch).unwrap();
        let any = |random: &mut StdRng, index: &Index, identity: u64| {
            let all = index.newest().identity_faces(IdentityId::new(identity));
            let all: Vec<FaceId> = all.map(|face| face.face).collect();
            (!all.is_empty()).then(|| all[random.random_range(0..all.len())])
        };
        let identity = faces.random.random_range(0..4u64);
        let operation = match (round % 6, any(&mut faces.random, &index, identity)) {
            (0, _) if round % 36 == 0 => Some(Operation::Merge {
                from: IdentityId::new(identity),
                into: IdentityId::new(7),
            }),
            (1..=3, Some(face)) => Some(Operation::Move {
                face,
                identity: IdentityId::new((identity + 1) % 4),
            }),
            (_, Some(face)) => Some(Operation::Remove { face }),
            (_, None) => None,
        };
        let known = index
            .newest()
            .identity_faces(IdentityId::new(identity))
            .count()
            > 0;
        if let Some(operation) = operation.filter(|_| known) {
            index.apply(round, &[operation]).unwrap();
        }
        if round % 5 == 0 {
            let query = faces.like(usize::try_from(round % 7).unwrap());
            let track = TrackId::new(faces.random.random_range(1..faces.next / 4));
            check(index.newest(), &query, Some(track));
        }
        if round % 40 == 0 {
            index.checkpoint().unwrap();
            drop(index);
            index = Index::open(folder.path(), "test", DIMENSION).unwrap();
        }
    }
    // Whoever loses all faces loses all modes.
    for identity in [0, 1, 2, 3, 7] {
        let all = index.newest().identity_faces(IdentityId::new(identity));
        let all: Vec<Operation> = all
            .map(|face| Operation::Remove { face: face.face })
            .collect();
        for some in all.chunks(100) {
            index.apply(500, some).unwrap();
            index.newest().verify().unwrap();
        }
    }
    assert_eq!(index.newest().stats().faces, 0);
}

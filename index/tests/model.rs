//! The index beside a naive model of it, over random operations.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, test_runner::RngSeed};
use rollcall_index::{
    Effort, Embedding, FaceEffort, FaceId, Filter, IdentityId, IdentityState, IdentityStates,
    Index, Operation, Similarity, Snapshot, SourceId, State, TrackId,
};

const DIMENSION: usize = 4;
/// What 8-bit codes, here of 64 values, may be off by.
const TOLERANCE: f32 = 0.01;
/// Means shorter than this, of vectors of length 1, are too near to nothing to have a direction.
const DIRECTED: f64 = 0.3;

#[derive(Clone)]
struct ModelFace {
    identity: u64,
    track: u64,
    source: u64,
    seen_us: i64,
    quality: f32,
    attributes: u16,
    embedding: Embedding,
}

/// Faces by id, and the states of identities that were marked; everything else is worked out when
/// asked for.
#[derive(Clone, Default)]
struct Model(BTreeMap<u64, ModelFace>, BTreeMap<u64, IdentityState>);

impl Model {
    fn apply(&mut self, operations: &[Operation]) -> bool {
        let mut next = self.clone();
        let done = operations.iter().all(|operation| {
            let done = next.step(operation);
            let Self(faces, states) = &mut next;
            states.retain(|id, _| faces.values().any(|face| face.identity == *id));
            done
        });
        if done {
            *self = next;
        }
        done
    }

    fn step(&mut self, operation: &Operation) -> bool {
        match operation.clone() {
            Operation::Insert {
                face,
                identity,
                track,
                source,
                seen_us,
                quality,
                attributes,
                embedding,
            } => {
                let new = ModelFace {
                    identity: identity.get(),
                    track: track.get(),
                    source: source.get(),
                    seen_us,
                    quality,
                    attributes,
                    embedding,
                };
                self.0.insert(face.get(), new).is_none()
            }
            Operation::Remove { face } => self.0.remove(&face.get()).is_some(),
            Operation::Assign { track, identity } => {
                self.give(identity.get(), |face| face.track == track.get())
            }
            Operation::Move { face, identity } => match self.0.get_mut(&face.get()) {
                Some(face) => {
                    face.identity = identity.get();
                    true
                }
                None => false,
            },
            Operation::Merge { from, into } => {
                let (from, into) = (from.get(), into.get());
                let state = self.state(from);
                if !self.knows(into) {
                    self.1.insert(into, state);
                }
                self.give(into, |face| face.identity == from)
            }
            Operation::Mark { identity, state } => {
                self.1.insert(identity.get(), state);
                self.knows(identity.get())
            }
        }
    }

    fn knows(&self, identity: u64) -> bool {
        self.0.values().any(|face| face.identity == identity)
    }

    fn state(&self, identity: u64) -> IdentityState {
        self.1.get(&identity).copied().unwrap_or_default()
    }

    /// Gives faces to an identity; whether there are any.
    fn give(&mut self, identity: u64, which: impl Fn(&ModelFace) -> bool) -> bool {
        let mut found = false;
        for face in self.0.values_mut().filter(|face| which(face)) {
            face.identity = identity;
            found = true;
        }
        found
    }

    fn passes(&self, face: &ModelFace, filter: &Filter) -> bool {
        filter
            .sources
            .as_ref()
            .is_none_or(|all| all.contains(&SourceId::new(face.source)))
            && filter
                .seen_after_us
                .is_none_or(|after| after <= face.seen_us)
            && filter
                .seen_before_us
                .is_none_or(|before| face.seen_us < before)
            && face.attributes & filter.attributes_all == filter.attributes_all
            && face.attributes & filter.attributes_none == 0
            && filter
                .states
                .is_none_or(|states| states.contains(self.state(face.identity)))
            && filter.exclude_track != Some(TrackId::new(face.track))
    }

    /// Similarity of every identity that counts; `None` where the mean is too close to nothing to
    /// say which way rounding sends it.
    fn identities(&self, query: &Embedding, filter: &Filter) -> BTreeMap<u64, Option<f32>> {
        let ids: BTreeSet<u64> = self.0.values().map(|face| face.identity).collect();
        let counts = |id: &u64| {
            self.0
                .values()
                .any(|face| face.identity == *id && self.passes(face, filter))
        };
        let similarity = |id: u64| {
            let members = self.0.values().filter(|face| {
                face.identity == id && filter.exclude_track != Some(TrackId::new(face.track))
            });
            let mut sum = [0.0f64; DIMENSION];
            let mut total = 0.0;
            for face in members {
                total += f64::from(face.quality.max(0.01));
                for (sum, value) in sum.iter_mut().zip(face.embedding.as_slice()) {
                    *sum += f64::from(*value) * f64::from(face.quality.max(0.01));
                }
            }
            let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
            let dot: f64 = sum
                .iter()
                .zip(query.as_slice())
                .map(|(a, b)| a * f64::from(*b))
                .sum();
            #[expect(clippy::cast_possible_truncation, reason = "compared with a tolerance")]
            let similarity = (dot / norm) as f32;
            (norm > total * DIRECTED).then_some(similarity)
        };
        ids.into_iter()
            .filter(counts)
            .map(|id| (id, similarity(id)))
            .collect()
    }
}

/// Hits must be exactly the `k` best of `truth`, best first, ties to the lower id.
#[track_caller]
fn check_ranking(hits: &[(u64, f32)], truth: &BTreeMap<u64, Option<f32>>, k: usize) {
    assert_eq!(hits.len(), k.min(truth.len()));
    for pair in hits.windows(2) {
        let ordered = pair[0].1 > pair[1].1 || (pair[0].1 == pair[1].1 && pair[0].0 < pair[1].0);
        assert!(ordered, "{pair:?}");
    }
    for (id, similarity) in hits {
        let expected = truth
            .get(id)
            .unwrap_or_else(|| panic!("{id} does not count"));
        if let Some(expected) = expected {
            assert!(
                (similarity - expected).abs() < TOLERANCE,
                "{id}: {similarity}, {expected}"
            );
        }
    }
    let Some(worst) = hits.last() else { return };
    for (id, similarity) in truth {
        let better = similarity.is_some_and(|similarity| similarity > worst.1 + TOLERANCE);
        assert!(
            !better || hits.iter().any(|hit| hit.0 == *id),
            "{id} was left out"
        );
    }
}

#[track_caller]
fn check(state: &State, model: &Model, query: &Embedding, k: usize, filter: &Filter) {
    let stats = state.verify().unwrap();
    let distinct = |of: fn(&ModelFace) -> u64| model.0.values().map(of).collect::<BTreeSet<_>>();
    assert_eq!(stats.faces, model.0.len());
    assert_eq!(stats.identities, distinct(|face| face.identity).len());
    assert_eq!(stats.tracks, distinct(|face| face.track).len());

    let hits = state.search_identities(query, k, filter).unwrap();
    let truth = model.identities(query, filter);
    let ranked: Vec<_> = hits
        .iter()
        .map(|hit| (hit.identity.get(), hit.similarity.get()))
        .collect();
    check_ranking(&ranked, &truth, k);
    for hit in &hits {
        let passing =
            |face: &&ModelFace| face.identity == hit.identity.get() && model.passes(face, filter);
        let best = model
            .0
            .values()
            .filter(passing)
            .map(|face| face.embedding.dot(query).get())
            .fold(-2.0, f32::max);
        let found = state.best_face(query, hit.identity, filter).unwrap();
        let (best_face, found) = found.unwrap();
        let found = found.get();
        assert!((found - best).abs() < TOLERANCE, "{found} {best}");
        let face = &model.0[&best_face.get()];
        let truth = face.embedding.dot(query).get();
        assert!(passing(&face) && (truth - found).abs() < TOLERANCE);
        let alone = state
            .identity_similarity(query, hit.identity, filter.exclude_track)
            .unwrap();
        assert_eq!(alone, Some(hit.similarity));
    }

    let hits = state.search_faces(query, k, filter).unwrap();
    let passing = model
        .0
        .iter()
        .filter(|(_, face)| model.passes(face, filter));
    let truth: BTreeMap<_, _> = passing
        .map(|(id, face)| (*id, Some(face.embedding.dot(query).get())))
        .collect();
    let ranked: Vec<_> = hits
        .iter()
        .map(|hit| (hit.face.get(), hit.similarity.get()))
        .collect();
    check_ranking(&ranked, &truth, k);
    for hit in &hits {
        let face = &model.0[&hit.face.get()];
        let found = (hit.identity.get(), hit.track.get(), hit.source.get());
        assert_eq!(found, (face.identity, face.track, face.source));
        assert_eq!(hit.attributes, face.attributes);
    }

    let floor = Similarity::new(0.5).unwrap();
    let above = state.faces_above(query, floor, usize::MAX, filter).unwrap();
    let found: BTreeSet<u64> = above.iter().map(|hit| hit.face.get()).collect();
    for (id, face) in &model.0 {
        let over = face.embedding.dot(query).get() - 0.5;
        let expected = model.passes(face, filter) && over > 0.0;
        // Within what codes are off by, either is right.
        let close = model.passes(face, filter) && over.abs() < TOLERANCE;
        assert!(close || found.contains(id) == expected, "{id} {over}");
    }
    check_efforts(state, model, query, k, filter);

    for identity in distinct(|face| face.identity) {
        let listed = state
            .identity_faces(IdentityId::new(identity))
            .map(|face| face.face.get());
        let expected = model.0.iter().filter(|(_, face)| face.identity == identity);
        assert!(listed.eq(expected.map(|(id, _)| *id)));
        let kept = state.identity_state(IdentityId::new(identity));
        assert_eq!(kept, Some(model.state(identity)));
    }
    for track in distinct(|face| face.track) {
        let listed = state
            .track_faces(TrackId::new(track))
            .map(|face| face.embedding());
        let expected = model.0.values().filter(|face| face.track == track);
        let pairs: Vec<_> = listed.zip(expected.clone()).collect();
        assert_eq!(pairs.len(), expected.count());
        let near =
            |(listed, face): &(Embedding, &ModelFace)| listed.dot(&face.embedding).get() > 0.999;
        assert!(pairs.iter().all(near));
    }
}

/// Every effort finds what it must: so few vectors, of so few values, are all looked at.
#[track_caller]
fn check_efforts(state: &State, model: &Model, query: &Embedding, k: usize, filter: &Filter) {
    let truth = model.identities(query, filter);
    for effort in [Effort::Normal, Effort::Cells(64), Effort::Exact] {
        let found = state.who(query, k, Similarity::LEAST, filter, effort);
        let hits: Vec<_> = found
            .unwrap()
            .0
            .iter()
            .map(|hit| {
                assert_eq!(hit.state, model.state(hit.identity.get()));
                (hit.identity.get(), hit.similarity.get())
            })
            .collect();
        check_ranking(&hits, &truth, k);
    }
    let faces = model
        .0
        .iter()
        .filter(|(_, face)| model.passes(face, filter));
    let truth = faces
        .map(|(id, face)| (*id, Some(face.embedding.dot(query).get())))
        .collect();
    for reach in [1e6, f32::INFINITY] {
        let effort = FaceEffort::Open {
            reach,
            deviations: 1.0,
        };
        let hits = state.faces_like(query, k, filter, effort).unwrap().0;
        let hits: Vec<_> = hits
            .iter()
            .map(|hit| (hit.face.get(), hit.similarity.get()))
            .collect();
        check_ranking(&hits, &truth, k);
    }
}

/// The same cases each time.
fn fixed() -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(2),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Few directions, so that ties, equal faces and means that cancel out turn up.
fn embeddings() -> impl Strategy<Value = Embedding> {
    let coarse = prop::collection::vec(-1i8..=1, DIMENSION);
    let coarse = coarse.prop_map(|values| values.into_iter().map(f32::from).collect());
    let fine = prop::collection::vec(-1.0f32..1.0, DIMENSION);
    let values = prop_oneof![coarse, fine];
    values.prop_filter_map("a direction", |values: Vec<f32>| {
        let clear = values.iter().any(|value| value.abs() > 0.1);
        clear.then(|| Embedding::normalise(values).ok()).flatten()
    })
}

fn operations() -> impl Strategy<Value = Operation> {
    let ids = (0u64..40, 0u64..8, 0u64..6, 0u64..3);
    let said = (0.0f32..=1.0, 0u16..8);
    let insert = (ids, 0i64..100, said, embeddings());
    let identities = || (0u64..8).prop_map(IdentityId::new);
    let faces = || (0u64..40).prop_map(FaceId::new);
    prop_oneof![
        8 => insert.prop_map(|((face, identity, track, source), seen_us, said, embedding)| {
            let (quality, attributes) = said;
            Operation::Insert {
                face: FaceId::new(face),
                identity: IdentityId::new(identity),
                track: TrackId::new(track),
                source: SourceId::new(source),
                seen_us,
                quality,
                attributes,
                embedding,
            }
        }),
        2 => faces().prop_map(|face| Operation::Remove { face }),
        1 => (0u64..6, identities()).prop_map(|(track, identity)| Operation::Assign {
            track: TrackId::new(track),
            identity,
        }),
        1 => (faces(), identities()).prop_map(|(face, identity)| Operation::Move { face, identity }),
        1 => (identities(), identities()).prop_map(|(from, into)| Operation::Merge { from, into }),
        1 => (identities(), states()).prop_map(|(identity, state)| Operation::Mark { identity, state }),
    ]
}

fn states() -> impl Strategy<Value = IdentityState> {
    (0u8..3).prop_map(|number| IdentityState::new(number).unwrap())
}

fn filters() -> impl Strategy<Value = Filter> {
    let sources = prop::option::of(prop::collection::vec(
        (0u64..3).prop_map(SourceId::new),
        0..3,
    ));
    let times = (prop::option::of(0i64..100), prop::option::of(0i64..100));
    let track = prop::option::of((0u64..7).prop_map(TrackId::new));
    let bits = || prop_oneof![2 => Just(0u16), 1 => 0u16..8];
    let states = prop::option::of(prop::collection::vec(states(), 0..3));
    let states = states.prop_map(|of| of.map(IdentityStates::from_iter));
    (sources, times, (bits(), bits()), states, track).prop_map(
        |(sources, (after, before), (all, none), states, exclude_track)| Filter {
            sources,
            seen_after_us: after,
            seen_before_us: before,
            attributes_all: all,
            attributes_none: none,
            states,
            exclude_track,
        },
    )
}

proptest! {
    #![proptest_config(fixed())]

    #[test]
    fn the_index_does_what_the_model_does(
        batches in prop::collection::vec(prop::collection::vec(operations(), 0..6), 1..40),
        query in embeddings(),
        k in 0usize..12,
        filter in filters(),
        publish_every in 1usize..5,
    ) {
        let mut index = Index::new(DIMENSION);
        let mut model = Model::default();
        let mut kept: Vec<(std::sync::Arc<Snapshot>, Model)> = Vec::new();
        for (at, batch) in batches.iter().enumerate() {
            let before = index.newest().sequence();
            let sequence = u64::try_from(at).unwrap() + 1;
            let applied = index.apply(sequence, batch).is_ok();
            prop_assert_eq!(applied, model.apply(batch), "{:?}", batch);
            prop_assert_eq!(index.newest().sequence(), if applied { sequence } else { before });
            check(index.newest(), &model, &query, k, &filter);
            if at % publish_every == 0 {
                kept.push((index.publish(), model.clone()));
            }
        }
        for (snapshot, model) in kept {
            check(&snapshot, &model, &query, k, &filter);
        }
    }
}

//! Filters of every selectivity, over as many people as it takes for every way of searching.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::HashMap;

use rollcall_index::{
    Effort, Embedding, FaceEffort, FaceHit, FaceId, Filter, IdentityHit, IdentityId, IdentityState,
    IdentityStates, Index, Operation, SURE, Similarity, Snapshot, SourceId, TrackId,
};

const DIMENSION: usize = 64;
/// More than [`Effort::Normal`] looks at at once.
const PEOPLE: u64 = 17_000;
const K: usize = 5;

/// The finaliser of SplitMix64.
fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A person's direction, and some noise.
fn embedding(person: u64, seed: u64) -> Embedding {
    let number = |seed: u64, at: u64| {
        let bits = u16::try_from(mix(seed << 10 | at) >> 48).unwrap();
        f32::from(bits) / 32_768.0 - 1.0
    };
    let values = 0..u64::try_from(DIMENSION).unwrap();
    let values = values.map(|at| number(person + 1, at) + 0.7 * number(!seed, at));
    Embedding::normalise(values.collect()).unwrap()
}

/// 0: one in 5,000; 1: one in 100; 2: about half; 3: the others.
fn class(number: u64) -> u8 {
    match mix(number ^ 0xABCD) {
        n if n.is_multiple_of(5_000) => 0,
        n if n.is_multiple_of(100) => 1,
        n => u8::try_from(2 + n % 2).unwrap(),
    }
}

/// A source for each class. What is kept of an identity as a whole does not tell the first from the
/// third: it has a bit for the remainder modulo 64.
fn source(class: u8) -> SourceId {
    SourceId::new([66, 1, 2, 3][usize::from(class)])
}

/// One face each, of some two or forty. Its source and its attribute say which class a face is of.
fn index() -> Index {
    let mut index = Index::new(DIMENSION);
    let mut face = 0;
    let mut operations = Vec::new();
    for person in 0..PEOPLE {
        let identity = IdentityId::new(person);
        let faces = match person % 1000 {
            0 => 40,
            1..100 => 2,
            _ => 1,
        };
        for _ in 0..faces {
            face += 1;
            operations.push(Operation::Insert {
                face: FaceId::new(face),
                identity,
                track: TrackId::new(face / 2),
                source: source(class(face)),
                seen_us: i64::try_from(face).unwrap(),
                quality: 0.5,
                attributes: 1 << class(face),
                embedding: embedding(person, face),
            });
        }
        operations.push(Operation::Mark {
            identity,
            state: IdentityState::new(class(person << 20)).unwrap(),
        });
    }
    index.apply(1, &operations).unwrap();
    index
}

/// Filters of three selectivities of each kind, and some of several kinds.
fn filters(faces: i64) -> Vec<Filter> {
    let mut all = Vec::new();
    for class in 0..3 {
        let states = IdentityStates::from_iter(IdentityState::new(class));
        let sources = vec![source(class)];
        let share = [faces / 5_000, faces / 100, faces / 2][usize::from(class)];
        let of = |filter: &Filter| filter.clone();
        let by_state = Filter {
            states: Some(states),
            ..Filter::default()
        };
        let by_source = Filter {
            sources: Some(sources),
            ..Filter::default()
        };
        let has = Filter {
            attributes_all: 1 << class,
            ..Filter::default()
        };
        let lacks = Filter {
            attributes_none: !(1 << class),
            ..Filter::default()
        };
        let late = Filter {
            seen_after_us: Some(faces - share),
            ..Filter::default()
        };
        let early = Filter {
            seen_before_us: Some(share),
            ..of(&by_state)
        };
        let without = Filter {
            exclude_track: Some(TrackId::new(8000)),
            ..of(&by_state)
        };
        let both = Filter {
            states: IdentityState::new(2).map(|state| IdentityStates::from_iter([state])),
            ..of(&has)
        };
        all.extend([by_state, by_source, has, lacks, late, early, without, both]);
    }
    all.push(Filter {
        states: Some(IdentityStates::default()),
        ..Filter::default()
    });
    all
}

/// Every face, by its number: what a filter looks at, and the identity's state.
struct Known {
    sources: u64,
    seen_us: i64,
    attributes: u16,
    track: TrackId,
    state: IdentityState,
}

impl Known {
    fn of(snapshot: &Snapshot, face: FaceId) -> Self {
        let entry = snapshot.face(face).unwrap();
        Self {
            sources: entry.source.get(),
            seen_us: entry.seen_us,
            attributes: entry.attributes,
            track: entry.track,
            state: snapshot.identity_state(entry.identity).unwrap(),
        }
    }

    fn passes(&self, filter: &Filter) -> bool {
        let source = SourceId::new(self.sources);
        filter
            .sources
            .as_ref()
            .is_none_or(|of| of.contains(&source))
            && filter.seen_after_us.is_none_or(|at| self.seen_us >= at)
            && filter.seen_before_us.is_none_or(|at| self.seen_us < at)
            && self.attributes & filter.attributes_all == filter.attributes_all
            && self.attributes & filter.attributes_none == 0
            && filter.states.is_none_or(|of| of.contains(self.state))
            && filter.exclude_track != Some(self.track)
    }
}

fn people(hits: &[IdentityHit]) -> Vec<(u64, Similarity)> {
    let pair = |hit: &IdentityHit| (hit.identity.get(), hit.similarity);
    hits.iter().map(pair).collect()
}

fn faces(hits: &[FaceHit]) -> Vec<(u64, Similarity)> {
    let pair = |hit: &FaceHit| (hit.face.get(), hit.similarity);
    hits.iter().map(pair).collect()
}

#[test]
fn every_search_is_right_at_every_selectivity() {
    let index = index();
    let snapshot = index.publish();
    let count = snapshot.stats().faces;
    let known: HashMap<u64, Known> = (1..=u64::try_from(count).unwrap())
        .map(|face| (face, Known::of(&snapshot, FaceId::new(face))))
        .collect();
    let floor = Similarity::new(0.45).unwrap();
    // Somebody with forty faces, somebody with one, and nobody.
    for (person, seed) in [(3_000, 999_991), (4_711, 999_992), (PEOPLE + 5, 999_993)] {
        let query = embedding(person, seed);
        let all = snapshot
            .faces_like(&query, count, &Filter::default(), FaceEffort::Exact)
            .unwrap()
            .0;
        for filter in filters(i64::try_from(count).unwrap()) {
            let truth: Vec<&FaceHit> = all
                .iter()
                .filter(|hit| known[&hit.face.get()].passes(&filter))
                .collect();
            check_faces(&snapshot, &query, &filter, &truth, floor);
            let mut counts: Vec<u64> = truth.iter().map(|hit| hit.identity.get()).collect();
            counts.sort_unstable();
            counts.dedup();
            check_people(&snapshot, &query, &filter, &counts, floor);
        }
    }
}

/// `truth` has all faces that pass, the most similar first.
fn check_faces(
    snapshot: &Snapshot,
    query: &Embedding,
    filter: &Filter,
    truth: &[&FaceHit],
    floor: Similarity,
) {
    let truth: Vec<_> = truth
        .iter()
        .map(|hit| (hit.face.get(), hit.similarity))
        .collect();
    let best = &truth[..K.min(truth.len())];
    for effort in [FaceEffort::Exact, FaceEffort::Certified] {
        let hits = snapshot.faces_like(query, K, filter, effort).unwrap().0;
        assert_eq!(faces(&hits), best, "{filter:?} {effort:?}");
    }
    let normal = snapshot.faces_like(query, K, filter, FaceEffort::NORMAL);
    let normal = faces(&normal.unwrap().0);
    assert_eq!(normal.len(), best.len(), "{filter:?}");
    assert!(normal.iter().all(|hit| truth.contains(hit)), "{filter:?}");
    let above = snapshot.faces_above(query, floor, usize::MAX, filter);
    let over = truth.partition_point(|(_, similarity)| *similarity >= floor);
    assert_eq!(faces(&above.unwrap()), truth[..over], "{filter:?}");
}

/// `counts` has all identities of which a face passes, in order.
fn check_people(
    snapshot: &Snapshot,
    query: &Embedding,
    filter: &Filter,
    counts: &[u64],
    floor: Similarity,
) {
    let who = |k: usize, effort: Effort| {
        let hits = snapshot.who(query, k, floor, filter, effort).unwrap().0;
        assert!(
            hits.iter()
                .all(|hit| counts.binary_search(&hit.identity.get()).is_ok())
        );
        for hit in &hits {
            let truth = snapshot.identity_similarity(query, hit.identity, filter.exclude_track);
            assert_eq!(truth, Ok(Some(hit.similarity)));
        }
        for hit in &hits {
            let face = snapshot.best_face(query, hit.identity, filter).unwrap();
            assert!(face.is_some(), "a face of whoever counts passes");
        }
        people(&hits)
    };
    let exclude_track = filter.exclude_track;
    let similarity = |id: &u64| {
        let similarity = snapshot.identity_similarity(query, IdentityId::new(*id), exclude_track);
        similarity.unwrap().map(|similarity| (*id, similarity))
    };
    let mut truth: Vec<_> = counts.iter().filter_map(similarity).collect();
    truth.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let best = &truth[..K.min(truth.len())];
    assert_eq!(who(K, Effort::Exact), best, "{filter:?}");
    assert_eq!(who(K, Effort::Certified), best, "{filter:?}");
    let normal = who(K, Effort::Normal);
    assert_eq!(normal.is_empty(), best.is_empty(), "{filter:?}");
    // Nobody reaches this: few are ranked, and all of those may turn out not to count.
    let high = Similarity::new(0.95).unwrap();
    let hits = snapshot.who(query, K, high, filter, Effort::Normal);
    assert_eq!(hits.unwrap().0.is_empty(), best.is_empty(), "{filter:?}");
    if best
        .first()
        .is_some_and(|(_, similarity)| *similarity >= floor)
    {
        assert_eq!(normal.first(), best.first(), "{filter:?}");
    }
    if best.iter().all(|(_, similarity)| similarity.get() < SURE) {
        let over = best.partition_point(|(_, similarity)| *similarity >= floor);
        assert_eq!(normal[..over], best[..over], "{filter:?}");
    }
}

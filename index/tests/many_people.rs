//! Who is this, among so many people that a search ends where somebody is sure, and with embeddings
//! so long that the heads of sketches say who is not worth a look.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use rand::{Rng, SeedableRng, rngs::StdRng};
use rollcall_index::{
    Effort, Embedding, FaceEffort, FaceId, Filter, IdentityId, Index, Operation, SURE, Similarity,
    SourceId, State, TrackId,
};

const DIMENSION: usize = 512;
const PEOPLE: u64 = 5_000;
const SOURCES: u64 = 7;
const FLOOR: f32 = 0.4;

fn direction(random: &mut StdRng) -> Vec<f32> {
    (0..DIMENSION)
        .map(|_| random.random_range(-1.0..1.0))
        .collect()
}

/// A face of whoever lies in this direction, about `cosine` similar to it.
fn face(of: &[f32], cosine: f32, random: &mut StdRng) -> Embedding {
    let noise = direction(random);
    let (near, far) = (cosine, (1.0 - cosine * cosine).sqrt());
    let values = of
        .iter()
        .zip(noise)
        .map(|(of, noise)| of * near + noise * far);
    Embedding::normalise(values.collect()).unwrap()
}

/// Two faces each of many people, and queries of each similarity, a fifth of nobody.
fn corpus() -> (Index, Vec<Embedding>) {
    let mut random = StdRng::seed_from_u64(5);
    let people: Vec<_> = (0..PEOPLE).map(|_| direction(&mut random)).collect();
    let mut index = Index::new(DIMENSION);
    let mut faces = Vec::new();
    for (person, of) in (0..).zip(&people) {
        for which in 0..2 {
            faces.push(Operation::Insert {
                face: FaceId::new(person * 2 + which),
                identity: IdentityId::new(person),
                track: TrackId::new(person * 2 + which),
                source: SourceId::new((person + which) % SOURCES),
                seen_us: 0,
                quality: 1.0,
                attributes: 0,
                embedding: face(of, 0.8, &mut random),
            });
        }
    }
    index.apply(1, &faces).unwrap();
    let query = |number: usize| match number % 5 {
        0 => face(&direction(&mut random), 0.8, &mut random),
        kind => {
            let cosine = [0.0, 0.5, 0.56, 0.65, 0.9][kind];
            face(&people[number * 37 % people.len()], cosine, &mut random)
        }
    };
    (index, (0..150).map(query).collect())
}

fn floor() -> Similarity {
    Similarity::new(FLOOR).unwrap()
}

/// Whoever reaches the floor is found, and nobody else is taken for somebody.
fn check(state: &State, query: &Embedding, filter: &Filter) -> bool {
    let ask = |effort| state.who(query, 3, floor(), filter, effort).unwrap().0;
    let (exact, normal) = (ask(Effort::Exact), ask(Effort::Normal));
    let reaches = exact[0].similarity >= floor();
    if reaches {
        assert_eq!(normal[0], exact[0]);
    } else {
        assert!(normal.iter().all(|hit| hit.similarity < floor()));
    }
    reaches
}

#[test]
fn whoever_reaches_the_floor_is_found_among_many() {
    let (index, queries) = corpus();
    let state = index.newest();
    let some = Filter {
        sources: Some(vec![SourceId::new(2), SourceId::new(3)]),
        ..Filter::default()
    };
    let without = Filter {
        // Of the first person who is asked for.
        exclude_track: Some(TrackId::new(37 * 2)),
        ..Filter::default()
    };
    let mut reach = [0; 3];
    for query in &queries {
        for (reach, filter) in reach.iter_mut().zip([&Filter::default(), &some, &without]) {
            *reach += usize::from(check(state, query, filter));
        }
    }
    // The filter leaves three people of seven.
    assert!(reach[0] > 80 && reach[1] > 25 && reach[1] < 70, "{reach:?}");
    assert!(reach[2] > 80, "{reach:?}");
    state.verify().unwrap();
}

#[test]
fn a_search_ends_where_somebody_is_sure_and_reads_heads_where_nobody_is() {
    let (index, queries) = corpus();
    let state = index.newest();
    let (mut sure, mut unsure) = (0, 0);
    for query in &queries {
        let ask = |effort| {
            state
                .who(query, 1, floor(), &Filter::default(), effort)
                .unwrap()
        };
        let ((hits, normal), (_, certified)) = (ask(Effort::Normal), ask(Effort::Certified));
        if hits[0].similarity.get() >= SURE {
            assert!(normal.sketches <= certified.sketches);
            sure += certified.sketches - normal.sketches;
        } else if normal.exhaustive {
            assert_eq!(normal.sketches, certified.sketches);
            assert!(
                normal.bytes < certified.bytes * 3 / 4,
                "{normal:?} {certified:?}"
            );
            unsure += 1;
        }
    }
    assert!(sure > 50 * 1_500 && unsure > 30, "{sure} {unsure}");
}

#[test]
fn nobody_below_the_floor_ends_a_search() {
    let (mut index, _) = corpus();
    let mut random = StdRng::seed_from_u64(6);
    let mut queries = Vec::new();
    // Of each query, many people who are similar and below the floor, and then one above it.
    for query in 0..10 {
        let of = direction(&mut random);
        let cosines = [0.66; 20].into_iter().chain([0.9]);
        for (number, cosine) in (0..).zip(cosines) {
            let id = PEOPLE * 2 + query * 100 + number;
            let insert = Operation::Insert {
                face: FaceId::new(id),
                identity: IdentityId::new(id),
                track: TrackId::new(id),
                source: SourceId::new(1),
                seen_us: 0,
                quality: 1.0,
                attributes: 0,
                embedding: face(&of, cosine, &mut random),
            };
            index.apply(1, &[insert]).unwrap();
        }
        queries.push((face(&of, 1.0, &mut random), PEOPLE * 2 + query * 100 + 20));
    }
    let high = Similarity::new(0.8).unwrap();
    let (state, all) = (index.newest(), Filter::default());
    for (query, person) in queries {
        let (hits, _) = state.who(&query, 1, high, &all, Effort::Normal).unwrap();
        assert_eq!(hits[0].identity, IdentityId::new(person));
    }
}

#[test]
fn what_a_search_for_faces_reads_is_counted() {
    let (index, queries) = corpus();
    let (all, effort) = (Filter::default(), FaceEffort::Certified);
    for query in &queries[..10] {
        let (_, work) = index.newest().faces_like(query, 1, &all, effort).unwrap();
        // Their sketches have no heads: 64 bytes each are read, whatever comes of it.
        let least = work.sketches * DIMENSION / 8 + work.codes * DIMENSION;
        assert!(work.bytes >= least, "{work:?}");
    }
}

#[test]
fn a_batch_among_many_gets_the_answers_that_each_query_gets_alone() {
    let (index, queries) = corpus();
    let state = index.newest();
    let filter = Filter::default();
    let together = state
        .who_batch(&queries, 5, floor(), &filter, Effort::Normal)
        .unwrap();
    for (query, (hits, work)) in queries.iter().zip(together) {
        let (alone, of_one) = state
            .who(query, 5, floor(), &filter, Effort::Normal)
            .unwrap();
        assert_eq!((hits, work), (alone, of_one));
    }
}

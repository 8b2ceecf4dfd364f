//! Many queries at once get the answers that each would get alone.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use rand::{Rng, SeedableRng, rngs::StdRng};
use rollcall_index::{
    Effort, Embedding, FaceEffort, FaceId, Filter, IdentityId, Index, Operation, SearchError,
    Similarity, SourceId, TrackId,
};

const DIMENSION: usize = 96;

fn near(centre: &[f32], spread: f32, random: &mut StdRng) -> Vec<f32> {
    let noise = || random.random_range(-spread..spread);
    centre
        .iter()
        .zip(std::iter::repeat_with(noise))
        .map(|(c, n)| c + n)
        .collect()
}

fn unit(values: Vec<f32>) -> Embedding {
    Embedding::normalise(values).unwrap()
}

/// 3,000 faces of 400 people, and queries of whom a third is unknown.
fn corpus() -> (Index, Vec<Embedding>) {
    let mut random = StdRng::seed_from_u64(11);
    let nobody = vec![0.0; DIMENSION];
    let people: Vec<_> = (0..400).map(|_| near(&nobody, 1.0, &mut random)).collect();
    let mut index = Index::new(DIMENSION);
    let insert = |face: u64| {
        let person = random.random_range(0..people.len());
        Operation::Insert {
            face: FaceId::new(face),
            identity: IdentityId::new(u64::try_from(person).unwrap()),
            track: TrackId::new(face / 3),
            source: SourceId::new(face % 5),
            seen_us: i64::try_from(face).unwrap(),
            quality: 0.8,
            attributes: 0,
            embedding: unit(near(&people[person], 0.7, &mut random)),
        }
    };
    let faces: Vec<Operation> = (0..3000).map(insert).collect();
    index.apply(1, &faces).unwrap();
    let query = |number: usize| {
        let unknown = near(&nobody, 1.0, &mut random);
        let of = if number.is_multiple_of(3) {
            &unknown
        } else {
            &people[number]
        };
        unit(near(of, 0.7, &mut random))
    };
    (index, (0..35).map(query).collect())
}

#[test]
fn a_batch_gets_the_answers_that_each_query_gets_alone() {
    let (index, queries) = corpus();
    let state = index.newest();
    let sources = Some(vec![SourceId::new(1), SourceId::new(4)]);
    let filters = [
        Filter::default(),
        Filter {
            sources,
            ..Filter::default()
        },
        Filter {
            exclude_track: Some(TrackId::new(7)),
            ..Filter::default()
        },
    ];
    let floor = Similarity::new(0.4).unwrap();
    for filter in &filters {
        for effort in [
            Effort::Cells(2),
            Effort::Normal,
            Effort::Certified,
            Effort::Exact,
        ] {
            let alone = |query| state.who(query, 6, floor, filter, effort).unwrap();
            let alone: Vec<_> = queries.iter().map(alone).collect();
            let batch = state.who_batch(&queries, 6, floor, filter, effort);
            assert_eq!(batch.unwrap(), alone, "{effort:?} {filter:?}");
        }
        let few = FaceEffort::Open {
            reach: 0.5,
            deviations: 1.0,
        };
        for effort in [
            few,
            FaceEffort::NORMAL,
            FaceEffort::Certified,
            FaceEffort::Exact,
        ] {
            let alone = |query| state.faces_like(query, 12, filter, effort).unwrap();
            let alone: Vec<_> = queries.iter().map(alone).collect();
            let batch = state.faces_batch(&queries, 12, filter, effort);
            assert_eq!(batch.unwrap(), alone, "{effort:?} {filter:?}");
        }
    }
}

#[test]
fn a_batch_of_nothing_and_one_with_a_wrong_query() {
    let (index, mut queries) = corpus();
    let state = index.newest();
    let (filter, floor) = (Filter::default(), Similarity::LEAST);
    let none = state.who_batch(&[], 3, floor, &filter, Effort::Normal);
    assert_eq!(none.unwrap(), []);
    let none = state.who_batch(&queries, 0, floor, &filter, Effort::Normal);
    assert!(none.unwrap().iter().all(|(hits, _)| hits.is_empty()));
    queries.push(unit(vec![1.0; 7]));
    let wrong = SearchError::WrongDimension {
        found: 7,
        expected: DIMENSION,
    };
    let who = state.who_batch(&queries, 3, floor, &filter, Effort::Normal);
    assert_eq!(who.unwrap_err(), wrong);
    let faces = state.faces_batch(&queries, 3, &filter, FaceEffort::NORMAL);
    assert_eq!(faces.unwrap_err(), wrong);
}

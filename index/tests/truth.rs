//! Searches for faces that the embeddings decide, beside brute force over them.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{collections::BTreeMap, error::Error};

use proptest::{prelude::*, test_runner::RngSeed};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rollcall_index::{
    Embedding, ExactError, FaceEffort, FaceId, Filter, IdentityId, Index, Operation, SearchError,
    Similarity, SourceId, TrackId, Truth,
};

/// Embeddings by face, as they are kept: in 16 bits.
struct Kept(BTreeMap<u64, Vec<u8>>);

impl Truth for Kept {
    fn embedding(&self, face: FaceId) -> Result<Option<Embedding>, Box<dyn Error + Send + Sync>> {
        let bytes = self.0.get(&face.get());
        Ok(bytes.map(|b| Embedding::from_f16_bytes(b)).transpose()?)
    }
}

fn near(centre: &[f32], spread: f32, random: &mut StdRng) -> Vec<f32> {
    let noise = |value: &f32| value + spread * random.random_range(-1.0f32..1.0);
    centre.iter().map(noise).collect()
}

/// Faces of 30 people that are told apart by their last bits alone, and a query for one of them.
/// `halved`: they are rounded to 16 bits before they are inserted.
fn corpus(
    seed: u64,
    dimension: usize,
    faces: u64,
    spread: f32,
    halved: bool,
) -> (Index, Kept, Embedding) {
    let mut random = StdRng::seed_from_u64(seed);
    let nobody = vec![0.0; dimension];
    let people: Vec<_> = (0..30).map(|_| near(&nobody, 1.0, &mut random)).collect();
    let (mut kept, mut operations) = (BTreeMap::new(), Vec::new());
    for face in 0..faces {
        let person = random.random_range(0..people.len());
        let exact = Embedding::normalise(near(&people[person], spread, &mut random)).unwrap();
        // Some faces come twice: ties.
        let bytes = match kept.get(&(face / 2)) {
            Some(bytes) if face % 7 == 0 => Vec::clone(bytes),
            _ => exact.to_f16_bytes(),
        };
        let rounded = Embedding::from_f16_bytes(&bytes).unwrap();
        let same = rounded.dot(&exact).get() > 0.9999;
        operations.push(Operation::Insert {
            face: FaceId::new(face),
            identity: IdentityId::new(u64::try_from(person).unwrap()),
            track: TrackId::new(face / 3),
            source: SourceId::new(face % 5),
            seen_us: 0,
            quality: 0.8,
            attributes: 0,
            embedding: if halved || !same { rounded } else { exact },
        });
        kept.insert(face, bytes);
    }
    let mut index = Index::new(dimension);
    index.apply(1, &operations).unwrap();
    let query = Embedding::normalise(near(&people[0], spread, &mut random)).unwrap();
    (index, Kept(kept), query)
}

/// The `k` faces that brute force finds among those whose source is let through, and their cosines.
fn brute_force(
    kept: &Kept,
    query: &Embedding,
    k: usize,
    source: Option<u64>,
) -> Vec<(u64, Similarity)> {
    let passes = |face: &u64| source.is_none_or(|source| face % 5 == source);
    let faces = kept.0.iter().filter(|(face, _)| passes(face));
    let cosine = |bytes: &Vec<u8>| Embedding::from_f16_bytes(bytes).unwrap().dot(query);
    let mut all: Vec<_> = faces.map(|(face, bytes)| (*face, cosine(bytes))).collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(k);
    all
}

fn found(
    index: &Index,
    kept: &Kept,
    query: &Embedding,
    k: usize,
    source: Option<u64>,
    effort: FaceEffort,
) -> Vec<(u64, Similarity)> {
    let filter = Filter {
        sources: source.map(|source| vec![SourceId::new(source)]),
        ..Filter::default()
    };
    let exactly = index
        .newest()
        .faces_exactly(query, k, &filter, effort, kept);
    let (hits, work) = exactly.unwrap();
    assert!(work.embeddings >= hits.len());
    hits.iter()
        .map(|hit| (hit.face.get(), hit.similarity))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        rng_seed: RngSeed::Fixed(5),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_found_is_what_brute_force_finds(
        seed in any::<u64>(),
        dimension in prop_oneof![Just(3usize), Just(64), Just(100), Just(512)],
        faces in 0u64..400,
        spread in prop_oneof![Just(0.0f32), Just(0.001), Just(0.03), Just(0.6)],
        halved in any::<bool>(),
        k in 0usize..40,
        source in prop::option::of(0u64..5),
    ) {
        let (index, kept, query) = corpus(seed, dimension, faces, spread, halved);
        let expected = brute_force(&kept, &query, k, source);
        let exact = found(&index, &kept, &query, k, source, FaceEffort::Exact);
        prop_assert_eq!(&exact, &expected);
    }
}

#[test]
fn near_duplicates_that_codes_mix_up_are_told_apart() {
    let efforts = [FaceEffort::Certified, FaceEffort::NORMAL];
    let (mut right, mut right_by_code) = ([0, 0], [0, 0]);
    for seed in 0..20 {
        let (index, kept, query) = corpus(seed, 512, 2000, 0.01, true);
        let expected = brute_force(&kept, &query, 10, None);
        for (at, effort) in efforts.into_iter().enumerate() {
            let exact = found(&index, &kept, &query, 10, None, effort);
            right[at] += expected.iter().filter(|hit| exact.contains(hit)).count();
            let all = Filter::default();
            let by_code = index.newest().faces_like(&query, 10, &all, effort);
            let by_code: Vec<u64> = by_code
                .unwrap()
                .0
                .iter()
                .map(|hit| hit.face.get())
                .collect();
            let counts = |hit: &&(u64, Similarity)| by_code.contains(&hit.0);
            right_by_code[at] += expected.iter().filter(counts).count();
        }
    }
    assert_eq!(right[0], 200, "{right:?}, by codes {right_by_code:?}");
    // Sketches alone say who is looked at by code.
    assert!(right[1] >= 180, "{right:?}, by codes {right_by_code:?}");
    assert!(
        right_by_code.iter().all(|found| *found < 100),
        "{right_by_code:?}"
    );
}

#[test]
fn a_face_whose_embedding_is_gone_is_compared_by_its_code() {
    let (index, mut kept, query) = corpus(3, 64, 300, 0.5, true);
    let expected = brute_force(&kept, &query, 5, None);
    let gone = expected[2].0;
    kept.0.remove(&gone);
    let hits = found(&index, &kept, &query, 5, None, FaceEffort::Exact);
    let hit = hits.iter().find(|(face, _)| *face == gone).unwrap();
    assert!((hit.1.get() - expected[2].1.get()).abs() < 5e-3);
    assert!(hits.is_sorted_by(|a, b| a.1 >= b.1));
}

#[test]
fn the_truth_of_another_index_is_refused() {
    let (index, _, query) = corpus(4, 64, 100, 0.5, true);
    let ask = |truth: &dyn Truth, query: &Embedding| {
        let all = Filter::default();
        let asked = index
            .newest()
            .faces_exactly(query, 5, &all, FaceEffort::NORMAL, truth);
        asked.unwrap_err()
    };
    for other in [
        corpus(5, 64, 100, 0.5, true).1,
        corpus(4, 65, 100, 0.5, true).1,
    ] {
        let error = ask(&other, &query);
        assert!(
            matches!(error, ExactError::OtherEmbedding { .. }),
            "{error}"
        );
    }
    let damaged = Kept((0..100).map(|face| (face, vec![0; 128])).collect());
    let error = ask(&damaged, &query);
    assert!(matches!(error, ExactError::Unreadable { .. }), "{error}");
    let short = Embedding::normalise(vec![1.0; 7]).unwrap();
    let expected = SearchError::WrongDimension {
        found: 7,
        expected: 64,
    };
    assert!(matches!(ask(&damaged, &short), ExactError::Search(error) if error == expected));
}

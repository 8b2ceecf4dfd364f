use std::collections::HashSet;

use proptest::prelude::*;

use super::{
    density::{DensityRules, density_peaks},
    evidence::{EvidenceRules, by_evidence},
    facerec::{FacerecRules, facerec},
    graph::{Graph, Search},
    matrix::{Rows, normalise},
    streamface::{StreamfaceRules, merge_matches, streamface},
    tracks::{Tracks, of_tracks},
    whispers::{WhisperRules, chinese_whispers},
    *,
};
use crate::cluster::score::score;

const DIMENSION: usize = 128;

/// Numbers that look random, of mean 0 and spread 1, about.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        let mut sum = 0.0;
        for _ in 0..3 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            sum += (state >> 40) as f32 / (1u32 << 24) as f32 - 0.5;
        }
        sum * 2.0
    }
}

/// Faces of so many people, each in tracks of `faces`; whose each is, and the track of each. People's faces of different
/// tracks have cosines around 0.6, those of a track around 0.8.
fn people(people: u32, tracks: u32, faces: u32, seed: u64) -> (Vec<f32>, Vec<u32>, Vec<u64>) {
    let mut noise = noise(seed);
    let (mut values, mut whose, mut of) = (Vec::new(), Vec::new(), Vec::new());
    for person in 0..people {
        let own: Vec<f32> = (0..DIMENSION).map(|_| noise()).collect();
        for track in 0..tracks {
            let here: Vec<f32> = own.iter().map(|value| value + 0.6 * noise()).collect();
            for _ in 0..faces {
                values.extend(here.iter().map(|value| value + 0.5 * noise()));
                whose.push(person);
                of.push(u64::from(person * tracks + track) * 3 + 7);
            }
        }
    }
    normalise(&mut values, DIMENSION);
    (values, whose, of)
}

fn evidence(values: &[f32], tracks: Option<&[u64]>) -> Vec<u32> {
    let tracks = tracks.map(Tracks::new);
    let rows = Rows::new(values, if values.is_empty() { 1 } else { DIMENSION });
    by_size(&by_evidence(
        rows,
        tracks.as_ref(),
        &EvidenceRules::for_contract(0.40),
        &mut |_| (),
    ))
}

/// Labels from 0 without gaps, the largest cluster first, of two as large the one that begins first.
fn check_labels(labels: &[u32], rows: usize) {
    assert_eq!(labels.len(), rows);
    let count = labels.iter().max().map_or(0, |last| *last as usize + 1);
    let mut sizes = vec![(0, usize::MAX); count];
    for (row, label) in labels.iter().enumerate() {
        let of = &mut sizes[*label as usize];
        *of = (of.0 + 1, of.1.min(row));
    }
    assert!(sizes.iter().all(|(size, _)| *size > 0), "a gap");
    let in_order = |pair: &[(usize, usize)]| {
        pair[0].0 > pair[1].0 || pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1
    };
    assert!(sizes.windows(2).all(in_order), "by size");
}

#[test]
fn people_are_found_with_tracks_and_without() {
    let (values, whose, tracks) = people(40, 5, 4, 1);
    for tracks in [None, Some(&tracks[..])] {
        let labels = evidence(&values, tracks);
        check_labels(&labels, 800);
        let scores = score(&whose, &labels);
        assert_eq!(scores.identities, 40, "{tracks:?}");
        assert!(scores.bcubed.f() > 0.9999, "{tracks:?}");
    }
}

#[test]
fn faces_of_a_track_stay_together() {
    let (values, _, mut tracks) = people(6, 3, 3, 2);
    // A track that runs over two people is taken at its word.
    tracks[53] = tracks[0];
    let labels = evidence(&values, Some(&tracks));
    assert_eq!(labels[53], labels[0]);
}

#[test]
fn labels_are_the_same_on_any_number_of_threads() {
    let (values, whose, _) = people(700, 6, 3, 3);
    assert!(whose.len() > 12_000, "more than are looked at pair by pair");
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let rows = Rows::new(&values, DIMENSION);
            let graph = Graph::of(rows, Search::new(20, 0.4));
            let whispers = chinese_whispers(
                &graph,
                &WhisperRules {
                    similarity: 0.5,
                    ..WhisperRules::default()
                },
            );
            (
                evidence(&values, None),
                whispers,
                density_peaks(&graph, &DensityRules::default()),
            )
        })
    };
    let one = on(1);
    assert_eq!(one, on(3));
    let scores = score(&whose, &one.0);
    assert!(scores.bcubed.f() > 0.98, "{scores:?}");
    for labels in [one.0, one.1, one.2] {
        check_labels(&labels, whose.len());
    }
}

#[test]
fn cells_miss_few_neighbours() {
    let (values, _, _) = people(700, 6, 3, 4);
    let rows = Rows::new(&values, DIMENSION);
    let found = Graph::of(rows, Search::new(10, 0.4));
    let some: Vec<u32> = (0..200).map(|at| at * 60).collect();
    let (mut there, mut missed) = (0, 0);
    for row in some {
        let row = row as usize;
        let cosine = |other: usize| matrix::dot(rows.row(row), rows.row(other));
        let mut others: Vec<usize> = (0..rows.len())
            .filter(|other| *other != row && cosine(*other) >= 0.4)
            .collect();
        others.sort_by(|a, b| cosine(*b).total_cmp(&cosine(*a)));
        for other in others.into_iter().take(10) {
            let near = found
                .of_row(row)
                .iter()
                .any(|near| near.row as usize == other);
            if near { there += 1 } else { missed += 1 }
        }
        let list = found.of_row(row);
        assert!(list.len() <= 10 && list.windows(2).all(|pair| pair[0].cosine >= pair[1].cosine));
        assert!(
            list.iter()
                .all(|near| near.row as usize != row && near.cosine >= 0.4)
        );
    }
    assert!(missed * 20 < there, "{missed} of {there} missed");
}

#[test]
fn the_other_methods_find_people_as_well() {
    let (values, whose, tracks) = people(30, 4, 3, 5);
    let rows = Rows::new(&values, DIMENSION);
    let tracks = Tracks::new(&tracks);
    let whisper = |rows: Rows<'_>| {
        let rules = WhisperRules {
            similarity: 0.45,
            ..WhisperRules::default()
        };
        chinese_whispers(&Graph::of(rows, Search::new(20, rules.similarity)), &rules)
    };
    let dense = |rows: Rows<'_>| {
        let rules = DensityRules { similarity: 0.5 };
        density_peaks(&Graph::of(rows, Search::new(20, rules.similarity)), &rules)
    };
    for known in [None, Some(&tracks)] {
        for labels in [
            of_tracks(rows, known, whisper),
            of_tracks(rows, known, dense),
        ] {
            let scores = score(&whose, &labels);
            assert!(scores.bcubed.f() > 0.9, "{scores:?}");
        }
    }
}

#[test]
fn nothing_and_a_single_face_are_clustered() {
    assert!(evidence(&[], None).is_empty());
    let (values, _, tracks) = people(1, 1, 1, 6);
    assert_eq!(evidence(&values, None), [0]);
    assert_eq!(evidence(&values, Some(&tracks)), [0]);
    let rows = Rows::new(&values, DIMENSION);
    let graph = Graph::of(rows, Search::new(5, 0.4));
    assert_eq!(chinese_whispers(&graph, &WhisperRules::default()), [0]);
    assert_eq!(density_peaks(&graph, &DensityRules::default()), [0]);
    assert_eq!(
        streamface(rows, &[], &StreamfaceRules::default()).unwrap(),
        [0]
    );
    assert_eq!(
        facerec(rows, &Tracks::new(&tracks), &FacerecRules::default()).unwrap(),
        [0]
    );
    assert!(
        streamface(Rows::new(&[], 1), &[], &StreamfaceRules::default())
            .unwrap()
            .is_empty()
    );
    assert!(
        facerec(
            Rows::new(&[], 1),
            &Tracks::new(&[]),
            &FacerecRules::default()
        )
        .unwrap()
        .is_empty()
    );
}

#[test]
fn streamface_puts_batches_together_and_what_follows_each_other() {
    // Three people, each in both batches of six.
    let (values, whose, _) = people(3, 4, 1, 7);
    let order: Vec<usize> = (0..12).map(|at| (at % 3) * 4 + at / 3).collect();
    let rows = Rows::new(&values, DIMENSION);
    let turned: Vec<f32> = order
        .iter()
        .flat_map(|row| rows.row(*row).to_vec())
        .collect();
    let whose: Vec<u32> = order.iter().map(|row| whose[*row]).collect();
    let rows = Rows::new(&turned, DIMENSION);
    let rules = StreamfaceRules {
        threshold: 0.7,
        batch: 6,
        ..StreamfaceRules::default()
    };
    let labels = streamface(rows, &[], &rules).unwrap();
    assert!(score(&whose, &labels).bcubed.f() > 0.9999);
    assert_eq!(labels[..3], [0, 1, 2], "as large: by the first row");
    // Each alone; the first two of a person follow each other.
    let strict = StreamfaceRules {
        threshold: 0.0,
        merge_threshold: 0.9,
        ..rules
    };
    assert_eq!(
        streamface(rows, &[], &strict).unwrap().iter().max(),
        Some(&11)
    );
    let labels = streamface(rows, &[(3, 0)], &strict).unwrap();
    assert_eq!(
        (labels[0], labels[3], labels.iter().max()),
        (0, 0, Some(&10))
    );
    let strict = StreamfaceRules {
        merge_threshold: 0.0,
        ..strict
    };
    assert_eq!(
        streamface(rows, &[(3, 0)], &strict).unwrap().iter().max(),
        Some(&11)
    );
}

#[test]
fn matches_are_merged_by_the_mean_of_all_distances() {
    // Cosines of the first to the others: 0.6, 0.8; 0 to the last.
    let values = [1.0, 0.0, 0.6, 0.8, 0.8, 0.6, 0.0, 1.0];
    let merged = |threshold| {
        merge_matches(
            Rows::new(&values, 2),
            &[0, 1, 1, 2],
            &[(0, 2), (0, 0)],
            threshold,
        )
    };
    assert_eq!(merged(0.31), [0, 0, 0, 1]);
    assert_eq!(merged(0.29), [0, 1, 1, 2]);
}

#[test]
fn facerec_makes_clusters_that_somebody_can_look_through() {
    let (values, _, tracks) = people(9, 20, 2, 8);
    let tracks = Tracks::new(&tracks);
    let labels = facerec(
        Rows::new(&values, DIMENSION),
        &tracks,
        &FacerecRules::default(),
    )
    .unwrap();
    // Faces of a trajectory stay together, and no cluster has more than 24 trajectories.
    assert!(labels.chunks(2).all(|pair| pair[0] == pair[1]));
    let of_tracks: Vec<u32> = labels.iter().step_by(2).copied().collect();
    check_labels(&of_tracks, 180);
    let count = of_tracks.iter().max().unwrap() + 1;
    assert!((8..=20).contains(&count), "{count}");
    for label in 0..count {
        assert!(of_tracks.iter().filter(|of| **of == label).count() <= 24);
    }
    let few = facerec(
        Rows::new(&values[..34 * DIMENSION], DIMENSION),
        &Tracks::new(&[1; 34]),
        &FacerecRules::default(),
    );
    assert_eq!(few.unwrap(), [0; 34], "fewer than 18 trajectories");
}

#[test]
fn what_cannot_be_is_refused() {
    let (values, _, tracks) = people(3, 2, 1, 9);
    let rows = Rows::new(&values, DIMENSION);
    let small = StreamfaceRules {
        memory_bytes: 100,
        ..StreamfaceRules::default()
    };
    let refused = streamface(rows, &[], &small).unwrap_err().to_string();
    assert!(
        refused.contains("6 vectors take 144 bytes, 100 are allowed"),
        "{refused}"
    );
    let tracks = Tracks::new(&tracks);
    let small = FacerecRules {
        memory_bytes: 100,
        ..FacerecRules::default()
    };
    assert!(matches!(
        facerec(rows, &tracks, &small),
        Err(OfflineError::Memory { .. })
    ));
    let sizes = FacerecRules {
        size_min: 30,
        ..FacerecRules::default()
    };
    assert!(matches!(
        facerec(rows, &tracks, &sizes),
        Err(OfflineError::Sizes { .. })
    ));
    let none = FacerecRules {
        size: 0,
        ..FacerecRules::default()
    };
    assert!(facerec(rows, &tracks, &none).is_err());
}

#[test]
fn tracks_are_numbered_without_gaps() {
    let tracks = Tracks::new(&[70, 5, 70, 9]);
    assert_eq!(tracks.of_row(), [2, 0, 2, 1]);
    assert_eq!(tracks.faces().collect::<Vec<u32>>(), [1, 1, 2]);
    assert_eq!(tracks.labels(&[8, 9, 1]), [1, 8, 1, 9]);
    assert_eq!(
        tracks.sums(Rows::new(&[1.0, 2.0, 3.0, 4.0], 1)),
        [2.0, 4.0, 4.0]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_row_gets_a_label_and_nobody_is_torn_apart(
        counts in (1u32..8, 1u32..5, 1u32..4),
        seed in any::<u64>(),
        keep in any::<u64>(),
    ) {
        let (values, _, tracks) = people(counts.0, counts.1, counts.2, seed);
        let rows = Rows::new(&values, DIMENSION);
        let labels = evidence(&values, Some(&tracks));
        check_labels(&labels, rows.len());
        let pairs: HashSet<(u64, u32)> = tracks.iter().copied().zip(labels).collect();
        let all: HashSet<u64> = tracks.iter().copied().collect();
        prop_assert_eq!(pairs.len(), all.len(), "a track in two clusters");
        check_labels(&evidence(&values, None), rows.len());
        check_labels(&streamface(rows, &[], &StreamfaceRules { batch: 1 + (keep % 7) as usize, ..StreamfaceRules::default() }).unwrap(), rows.len());
    }

    #[test]
    fn numbers_by_size_are_the_same_clusters(labels in prop::collection::vec(0u32..9, 0..60)) {
        let numbered = by_size(&labels);
        check_labels(&numbered, labels.len());
        for one in 0..labels.len() {
            for other in 0..labels.len() {
                prop_assert_eq!(labels[one] == labels[other], numbered[one] == numbered[other]);
            }
        }
    }
}

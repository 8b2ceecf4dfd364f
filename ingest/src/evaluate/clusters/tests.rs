use super::*;
use rollcall_index::{Embedding, vectors::Known};

const ROWS: [[f32; 3]; 12] = [
    [5.0, 1.0, 0.0],
    [4.0, 1.0, 1.0],
    [5.0, 2.0, -1.0],
    [0.0, 4.0, 1.0],
    [1.0, 5.0, 1.0],
    [-1.0, 4.0, 2.0],
    [0.0, 5.0, -1.0],
    [1.0, 0.0, 6.0],
    [-1.0, 1.0, 5.0],
    [2.0, 1.0, 4.0],
    [-3.0, -3.0, 1.0],
    [3.0, 3.0, 3.0],
];
const LABELS: [i64; 12] = [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 1];

fn faces() -> FaceSet {
    let mut faces = FaceSet::new(3);
    for row in ROWS {
        faces.push(
            &Embedding::normalise(row.to_vec()).unwrap(),
            Known::default(),
        );
    }
    faces
}

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() < 1e-6 * expected.abs().max(1.0),
        "{found} is not {expected}"
    );
}

/// scikit-learn 1.9.1 on these rows divided by their lengths: `silhouette_samples` (`metric` is
/// `cosine`, then `euclidean`), `silhouette_score`, `davies_bouldin_score`,
/// `calinski_harabasz_score`.
#[test]
fn as_scikit_learn_has_them() {
    let labels = LABELS.map(Some);
    let found = measure(&faces(), &labels, 1).unwrap();
    close(found.silhouette_cosine.mean, 0.655_850_141_582_739_6);
    close(found.silhouette_euclidean.mean, 0.485_752_252_684_681_53);
    close(found.davies_bouldin, 0.483_722_160_613_741_9);
    close(found.calinski_harabasz, 14.892_364_717_061_433);
    let cosine = [
        0.956_625_024_651_014_6,
        0.898_351_986_968_914_8,
        0.896_591_441_033_565_9,
        0.818_779_933_133_152_2,
        0.796_837_001_12,
        0.617_231_478_987_187_8,
        0.674_551_946_170_256_7,
        0.898_103_102_220_766_7,
        0.767_602_431_073_030_8,
        0.737_983_211_874_434,
        0.0,
        -0.192_455_858_239_647_75,
    ];
    let euclidean = [
        0.788_366_381_831_325_1,
        0.687_631_347_102_491_4,
        0.684_851_907_637_425_5,
        0.618_851_505_004_541_1,
        0.577_430_993_698_153_5,
        0.413_980_101_276_731_24,
        0.466_286_461_138_804_1,
        0.675_022_585_985_617_4,
        0.521_982_918_694_727_1,
        0.499_192_028_219_127_2,
        0.0,
        -0.104_569_198_372_765_3,
    ];
    found
        .silhouette_cosine
        .values
        .iter()
        .zip(cosine)
        .for_each(|(found, is)| close(*found, is));
    found
        .silhouette_euclidean
        .values
        .iter()
        .zip(euclidean)
        .for_each(|(found, is)| close(*found, is));
    assert_eq!(found.sizes, [(1, 5), (0, 3), (2, 3), (3, 1)]);
    assert_eq!(found.size_bins[..2], [(1, 1, 1), (2, 3, 11)]);
}

#[test]
fn single_precision_and_samples_come_close() {
    let (faces, labels) = (faces(), LABELS.map(Some));
    let clustering = Clustering::of(&faces, &labels);
    let narrow = clustering.euclidean(faces.embeddings(), 1);
    assert!((narrow.mean - 0.485_752_252).abs() < 1e-5);
    let sampled = Silhouette::of(vec![0, 1, 2], vec![0.1, 0.2, 0.3], 12);
    close(sampled.mean, 0.2);
    close(sampled.standard_error, (0.01 / 3.0 * 0.75_f64).sqrt());
    assert!(sampled.interval.is_some() && narrow.interval.is_none());
}

#[test]
fn noise_is_left_out_and_one_cluster_is_too_few() {
    let mut labels = LABELS.map(Some);
    labels[11] = Some(-1);
    labels[10] = None;
    let found = measure(&faces(), &labels, 1).unwrap();
    assert_eq!(
        (found.faces, found.noise, found.unlabelled, found.clusters),
        (10, 1, 1, 3)
    );
    for labels in [[Some(3); 12], [None; 12], [Some(-1); 12]] {
        assert!(matches!(
            measure(&faces(), &labels, 1),
            Err(EvaluateError::TooFew(_))
        ));
    }
    let alone: Vec<Option<i64>> = (0..12).map(Some).collect();
    assert!(measure(&faces(), &alone, 1).is_err());
}

use proptest::prelude::*;

use super::*;

/// Twelve groups of five, from a rule that the program which made the expected labels follows as well.
pub(crate) fn sixty() -> Vec<f32> {
    let value = |row: u64, column: u64| {
        let near = (row * 7919 + column * 104_729 + (row / 5) * 15_485_863 * (column + 1)) % 1000;
        let group = ((row / 5) * 7349 * (column + 3) + column * 911) % 1000;
        group as f64 / 500.0 - 1.0 + (near as f64 / 1000.0 - 0.5) * 0.8
    };
    let places = (0..60).flat_map(|row| (0..6).map(move |column| (row, column)));
    #[expect(clippy::cast_possible_truncation, reason = "rounded as NumPy does")]
    places
        .map(|(row, column)| value(row, column) as f32)
        .collect()
}

/// A character a row, from `0` on.
fn shown(labels: &[u32]) -> String {
    let shown = |label: &u32| char::from(u8::try_from(label + 48).unwrap());
    labels.iter().map(shown).collect()
}

fn check(metric: Metric, linkage: Linkage, cuts: &[(f64, &str)], seven: &str) {
    let values = sixty();
    let tree = Tree::of(Rows::new(&values, 6), metric, linkage);
    for (distance, labels) in cuts {
        assert_eq!(
            shown(&tree.cut_at(*distance)),
            *labels,
            "{metric:?} {linkage:?} {distance}"
        );
    }
    assert_eq!(shown(&tree.cut_into(7)), seven, "{metric:?} {linkage:?}");
}

/// `fcluster(linkage(x, method, metric), …)` of SciPy 1.17.1, labels numbered by first row.
#[test]
fn partitions_are_scipys() {
    let cosine = |linkage, cuts: [&str; 2], seven| {
        check(
            Metric::Cosine,
            linkage,
            &[(0.1, cuts[0]), (0.3, cuts[1])],
            seven,
        );
    };
    let euclidean = |linkage, cuts: [&str; 2], seven| {
        check(
            Metric::Euclidean,
            linkage,
            &[(0.6, cuts[0]), (1.2, cuts[1])],
            seven,
        );
    };
    cosine(
        Linkage::Single,
        [
            "00011233334445566666788889999:;;;;<===>?@@@@@AABBBCCCCDEEEEF",
            "000000000000000111111111100000222220000011111334445555566666",
        ],
        "000000000000000111111111100000222220000011111334445555566666",
    );
    cosine(
        Linkage::Average,
        [
            "00011233334445566666788889999:;;;;<===>?@@@@@AABBBCCCCDEFFFG",
            "00000111112222233333444445555566666777778888899:::;;;;;<<<<<",
        ],
        "000001111111111222223333300000444440000033333225551111166666",
    );
    cosine(
        Linkage::Complete,
        [
            "0001123333444556666678899::::;<<<<=>>>?@AAAAABBCCCDDDDEFFGGH",
            "00000111112222233333444445555566666777778888899:::;;;;;<<<<<",
        ],
        "000001111111111222223333322222444444444433333005556666644444",
    );
    euclidean(
        Linkage::Single,
        [
            "0112234455666789::::;<<==>>>>?@@@@ABCCDEFFFGHIIJJJKLLLMNOPPQ",
            "000000000000000111110000000000222220000000000000000000000000",
        ],
        "000001111111111222223333300000444440000033333111115555566666",
    );
    euclidean(
        Linkage::Average,
        [
            "0112234455666789::::;<<==>>>>?@@@@ABCCDEFFFGHIIJJJKLLLMNOPPQ",
            "00000111112222233333444445555566666777778888499999:::::;;;;;",
        ],
        "000001111111111222223333300000111110000044443333335555566666",
    );
    euclidean(
        Linkage::Complete,
        [
            "0112234455666789::::;<<==>>>>?@@@@ABCCDEFFFGHIIJJJKLLLMNOPPQ",
            "00000111112222233333444445555566666777778888899:::;;;;;<<<<<",
        ],
        "000001111111111222223333344444444444444433333333335555566666",
    );
}

#[test]
fn few_rows_make_small_trees() {
    let tree =
        |values: &[f32]| Tree::of(Rows::new(values, 1), Metric::Euclidean, Linkage::Complete);
    assert!(tree(&[]).cut_at(1.0).is_empty());
    assert_eq!(tree(&[3.0]).cut_at(1.0), [0]);
    assert_eq!(tree(&[3.0]).cut_into(4), [0]);
    assert_eq!(tree(&[3.0, 3.0, 5.0]).cut_at(0.0), [0, 0, 1]);
    assert_eq!(tree(&[3.0, 3.5, 5.0]).cut_into(2), [0, 0, 1]);
    assert_eq!(
        tree(&[1.0, 1.0, 1.0]).cut_into(2),
        [0, 0, 0],
        "all at one distance"
    );
}

/// The nearest two of all, again and again.
fn naive(values: &[f32], dimension: usize, linkage: Linkage, most: f64) -> Vec<u32> {
    let rows = Rows::new(values, dimension);
    let between = |one: &[u32], other: &[u32]| {
        let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b)));
        let each =
            pairs.map(|(a, b)| f64::from(distance(rows.row(a as usize), rows.row(b as usize))));
        let each: Vec<f64> = each.collect();
        match linkage {
            Linkage::Single => each.iter().copied().fold(f64::INFINITY, f64::min),
            Linkage::Complete => each.iter().copied().fold(0.0, f64::max),
            Linkage::Average => each.iter().sum::<f64>() / each.len() as f64,
        }
    };
    let mut clusters: Vec<Vec<u32>> = (0u32..).take(rows.len()).map(|row| vec![row]).collect();
    loop {
        let mut best = (f64::INFINITY, 0, 0);
        for one in 0..clusters.len() {
            for other in one + 1..clusters.len() {
                let found = between(&clusters[one], &clusters[other]);
                if found < best.0 {
                    best = (found, one, other);
                }
            }
        }
        if best.0 > most || clusters.len() < 2 {
            break;
        }
        let gone = clusters.remove(best.2);
        clusters[best.1].extend(gone);
    }
    let links = clusters
        .iter()
        .flat_map(|of| of.iter().map(|row| (of[0], *row)));
    components(rows.len(), links.collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_chain_finds_what_the_nearest_pair_of_all_does(
        values in prop::collection::vec(-1.0f32..1.0, 3..90),
        most in 0.1f64..1.5,
        linkage in prop::sample::select(vec![Linkage::Single, Linkage::Average, Linkage::Complete]),
    ) {
        let values = &values[..values.len() / 3 * 3];
        let tree = Tree::of(Rows::new(values, 3), Metric::Euclidean, linkage);
        prop_assert_eq!(tree.cut_at(most), naive(values, 3, linkage, most));
    }
}

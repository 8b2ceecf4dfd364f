use proptest::{collection::vec, prelude::*, test_runner::RngSeed};

use super::*;

/// The algorithm in its plainest form: leaves are kept, and every mean is computed from them anew.
enum Plain {
    Leaf(Vec<f64>),
    Endnode(usize, Vec<Plain>),
    Inner(Vec<Plain>),
}

impl Plain {
    fn children(&self) -> &[Plain] {
        match self {
            Self::Leaf(_) => &[],
            Self::Endnode(_, children) | Self::Inner(children) => children,
        }
    }

    fn leaves(&self) -> usize {
        match self {
            Self::Leaf(_) => 1,
            Self::Endnode(..) | Self::Inner(_) => self.children().iter().map(Self::leaves).sum(),
        }
    }

    /// The mean of the children's means, weighted by how many leaves each has.
    fn mean(&self) -> Vec<f64> {
        if let Self::Leaf(vector) = self {
            return vector.clone();
        }
        let all = self.leaves() as f64;
        let children = self.children().iter().map(|child| {
            let share = child.leaves() as f64 / all;
            child.mean().iter().map(|v| v * share).collect::<Vec<_>>()
        });
        let add = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(&b).map(|(a, b)| a + b).collect();
        children.reduce(add).unwrap()
    }
}

struct Tree {
    metric: Metric,
    threshold: f64,
    root: Option<Plain>,
    labels: usize,
    /// How close to a tie the closest of all comparisons was.
    tie: f64,
}

impl Tree {
    fn distance(&self, a: &[f64], b: &[f64]) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        match self.metric {
            Metric::Cosine => 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
            Metric::Euclidean => {
                let apart: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
                dot(&apart, &apart).sqrt()
            }
        }
    }

    fn less(&mut self, a: f64, b: f64) -> bool {
        self.tie = self.tie.min((a - b).abs());
        a < b
    }

    fn insert(&mut self, vector: &[f64]) -> usize {
        let Some(mut root) = self.root.take() else {
            self.root = Some(Plain::Inner(vec![self.founded(vector)]));
            return 0;
        };
        let label = self.insert_below(&mut root, vector);
        self.root = Some(root);
        label
    }

    fn founded(&mut self, vector: &[f64]) -> Plain {
        self.labels += 1;
        Plain::Endnode(self.labels - 1, vec![Plain::Leaf(vector.to_vec())])
    }

    fn insert_below(&mut self, node: &mut Plain, vector: &[f64]) -> usize {
        let Plain::Inner(children) = node else {
            unreachable!()
        };
        let mut nearest = (0, self.distance(vector, &children[0].mean()));
        for (at, child) in children.iter().enumerate().skip(1) {
            let distance = self.distance(vector, &child.mean());
            if self.less(distance, nearest.1) {
                nearest = (at, distance);
            }
        }
        let (at, distance) = nearest;
        if let Plain::Inner(_) = children[at] {
            return self.insert_below(&mut children[at], vector);
        }
        let Plain::Endnode(label, leaves) = &mut children[at] else {
            unreachable!()
        };
        if !self.less(self.threshold, distance) {
            leaves.push(Plain::Leaf(vector.to_vec()));
            return *label;
        }
        let mut closest = None;
        for (other, child) in children.iter().enumerate() {
            if other == at {
                continue;
            }
            let between = self.distance(&children[at].mean(), &child.mean());
            if closest.is_none_or(|closest| between < closest) {
                closest = Some(between);
            }
        }
        let new = self.founded(vector);
        if closest.is_some_and(|closest| self.less(distance, closest)) {
            let sibling = std::mem::replace(&mut children[at], Plain::Inner(Vec::new()));
            children[at] = Plain::Inner(vec![sibling, new]);
        } else {
            children.push(new);
        }
        self.labels - 1
    }
}

#[track_caller]
fn check(metric: Metric, threshold: f64, vectors: &[&[f32]], expected: &[usize]) -> Hri {
    let mut tree = Hri::new(metric, threshold);
    let labels: Vec<usize> = vectors.iter().map(|v| tree.insert(v).0).collect();
    assert_eq!(labels, expected);
    tree
}

#[test]
fn an_empty_tree_knows_nobody_and_the_first_vector_founds() {
    let mut tree = Hri::new(Metric::Cosine, 0.5);
    assert_eq!(tree.search(&[1.0, 0.0]), None);
    assert_eq!(tree.insert(&[1.0, 0.0]), Label(0));
    assert_eq!(tree.search(&[0.0, 2.0]), Some((Label(0), 1.0)));
    assert_eq!((tree.labels(), tree.threshold()), (1, 0.5));
}

#[test]
fn whoever_is_exactly_at_the_threshold_joins() {
    let vectors: [&[f32]; 4] = [&[0.0], &[1.0], &[1.5], &[1.75]];
    // Means: 0, then 0.5; 1.5 is 1 away from it, and 1.75 from the 0.833 that follows less.
    let tree = check(Metric::Euclidean, 1.0, &vectors, &[0, 0, 0, 0]);
    let (label, distance) = tree.search(&[1.0625]).unwrap();
    assert_eq!((label, distance), (Label(0), 0.0));
}

#[test]
fn a_vector_of_no_length_is_at_right_angles_to_all() {
    let vectors: [&[f32]; 3] = [&[1.0, 0.0], &[0.0, 0.0], &[1.0, 0.0]];
    check(Metric::Cosine, 0.5, &vectors, &[0, 1, 0]);
}

#[test]
fn the_way_down_is_greedy_and_may_miss_the_nearest_identity() {
    // 12 is nearer to 10 than 0 is: both go under one node. 14 is as far from 12 as 10 is: it
    // goes beside them, and the three have the mean 12.
    let vectors: [&[f32]; 4] = [&[0.0], &[10.0], &[12.0], &[14.0]];
    let tree = check(Metric::Euclidean, 1.5, &vectors, &[0, 1, 2, 3]);
    assert_eq!(tree.search(&[14.5]), Some((Label(3), 0.5)));
    // 10 is nearer, but 12 is not.
    assert_eq!(tree.search(&[5.5]), Some((Label(0), 5.5)));
}

#[test]
#[should_panic(expected = "vectors are of one length")]
fn another_length_is_refused() {
    let mut tree = Hri::new(Metric::Cosine, 0.5);
    tree.insert(&[1.0, 0.0]);
    tree.insert(&[1.0]);
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(5), ..ProptestConfig::default() })]

    #[test]
    fn labels_are_those_of_the_plain_algorithm(
        pool in vec(vec(-1.0f32..1.0, 11), 1..40),
        order in vec((0usize..40, 0usize..40, 0.0f32..1.0), 1..150),
        cosine: bool,
        threshold in 0.02f64..1.2,
    ) {
        let metric = if cosine { Metric::Cosine } else { Metric::Euclidean };
        let threshold = if cosine { threshold } else { 2.0 * threshold };
        let mut tree = Hri::new(metric, threshold);
        let mut plain = Tree { metric, threshold, root: None, labels: 0, tie: f64::MAX };
        for (a, b, share) in order {
            // Between two of the pool: some lie near one another, some far apart.
            let (a, b) = (&pool[a % pool.len()], &pool[b % pool.len()]);
            let share = share.powi(3);
            let vector: Vec<f32> = a.iter().zip(b).map(|(a, b)| a + (b - a) * share).collect();
            let expected = plain.insert(&vector.iter().copied().map(f64::from).collect::<Vec<_>>());
            if plain.tie < 1e-9 {
                break; // rounding decides from here on
            }
            let found = tree.search(&vector);
            let label = tree.insert(&vector);
            prop_assert_eq!(label.0, expected);
            prop_assert_eq!(tree.labels(), plain.labels);
            if let Some((near, distance)) = found {
                prop_assert_eq!(near == label, distance <= threshold);
            }
        }
    }
}

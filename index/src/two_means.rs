//! k-means for k = 2, on the unit sphere.

use crate::kernel;

/// Rounds at most.
const ROUNDS: usize = 6;

/// Two groups of unit vectors that lie near each other, neither smaller than `least` if there are
/// twice as many, and their centres. True: the second group.
pub(crate) fn two_means(vectors: &[Vec<f32>], least: usize) -> (Vec<bool>, [Vec<f32>; 2]) {
    // Begin with the vector least similar to the first, and the one least similar to that.
    let far = |from: &[f32]| {
        let cosine = |vector: &Vec<f32>| kernel::dot(from, vector);
        vectors
            .iter()
            .min_by(|a, b| cosine(a).total_cmp(&cosine(b)))
    };
    let first = far(&vectors[0]).expect("there are vectors").clone();
    let second = far(&first).expect("there are vectors").clone();
    let mut centres = [first, second];
    let mut sides = Vec::new();
    for _ in 0..ROUNDS {
        let lean =
            |vector: &Vec<f32>| kernel::dot(&centres[1], vector) - kernel::dot(&centres[0], vector);
        let leans: Vec<f32> = vectors.iter().map(lean).collect();
        let mut sorted = leans.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let least = least.min(vectors.len() / 2);
        // The border lies at 0, or where the smaller group is large enough.
        let border = 0.0f32.clamp(sorted[least], sorted[vectors.len() - least]);
        sides = leans.iter().map(|lean| *lean >= border).collect();
        if sides.iter().all(|side| *side == sides[0]) {
            // Equal vectors: any half will do.
            sides = (0..vectors.len()).map(|at| at % 2 == 1).collect();
        }
        let mean = |of: bool| {
            mean(
                vectors
                    .iter()
                    .zip(&sides)
                    .filter(|(_, side)| **side == of)
                    .map(|(v, _)| v),
            )
        };
        centres = [mean(false), mean(true)];
    }
    (sides, centres)
}

/// The direction of the mean.
fn mean<'a>(vectors: impl Iterator<Item = &'a Vec<f32>> + Clone) -> Vec<f32> {
    let mut first = vectors.clone();
    let mut sum = first.next().expect("no group is empty").clone();
    for vector in first {
        for (sum, value) in sum.iter_mut().zip(vector) {
            *sum += value;
        }
    }
    let norm = kernel::round(kernel::norm(sum.iter().map(|v| f64::from(*v))));
    if norm < 1e-6 {
        return vectors.clone().next().expect("no group is empty").clone();
    }
    sum.iter_mut().for_each(|value| *value /= norm);
    sum
}

//! Chinese whispers over the graph of nearest neighbours.

use super::{
    by_size,
    graph::{Graph, Near},
};
use crate::random::Random;

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WhisperRules {
    /// Who is less similar is no neighbour.
    pub similarity: f32,
    /// Rounds at most.
    pub rounds: usize,
    /// Of the order in which rows are asked.
    pub seed: u64,
}

impl Default for WhisperRules {
    fn default() -> Self {
        Self {
            similarity: 0.7,
            rounds: 20,
            seed: 0,
        }
    }
}

/// A label a row: each takes, again and again, the label that weighs most among its neighbours by cosine, until
/// nobody changes. Of equal labels the lowest.
///
/// After Biemann, "Chinese whispers", `TextGraphs` 2006; rows are asked in another order each round, by the seed.
///
/// Cost: a look at each edge a round, on one thread.
#[must_use]
pub fn chinese_whispers(graph: &Graph, rules: &WhisperRules) -> Vec<u32> {
    let mut near = graph.both_ways();
    for list in &mut near {
        list.retain(|near| near.cosine >= rules.similarity);
    }
    let mut labels: Vec<u32> = (0u32..).take(near.len()).collect();
    let mut order = labels.clone();
    let mut random = Random::new(rules.seed);
    let mut weights: Vec<(u32, f32)> = Vec::new();
    for _ in 0..rules.rounds {
        shuffle(&mut order, &mut random);
        let mut changed = false;
        for row in &order {
            let heard = loudest(&near[*row as usize], &labels, &mut weights);
            let label = &mut labels[*row as usize];
            if let Some(heard) = heard.filter(|heard| heard != label) {
                *label = heard;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    by_size(&labels)
}

fn loudest(near: &[Near], labels: &[u32], weights: &mut Vec<(u32, f32)>) -> Option<u32> {
    weights.clear();
    weights.extend(
        near.iter()
            .map(|near| (labels[near.row as usize], near.cosine)),
    );
    weights.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let mut best: Option<(u32, f32)> = None;
    for same in weights.chunk_by(|a, b| a.0 == b.0) {
        let weight = same.iter().map(|(_, cosine)| cosine).sum();
        if best.is_none_or(|(_, most)| weight > most) {
            best = Some((same[0].0, weight));
        }
    }
    best.map(|(label, _)| label)
}

fn shuffle(items: &mut [u32], random: &mut Random) {
    for last in (1..items.len()).rev() {
        let below = last as u64 + 1;
        #[expect(clippy::cast_possible_truncation, reason = "no more than items")]
        items.swap(last, (random.next() % below) as usize);
    }
}

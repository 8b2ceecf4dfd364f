//! Clusters that somebody has said are one, or are none: streamface's manual merging.

use std::collections::BTreeMap;

use super::linkage::components;

/// What faces that are nobody's are labelled.
pub const NOISE: i64 = -1;

/// Somebody's decision about a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The cluster that is no more.
    pub old: i64,
    /// The one it becomes part of; [`NOISE`] if it is nobody.
    pub new: i64,
}

/// Labels after these decisions: clusters that are one, over others as well, have the lowest label among them; if one of
/// them is noise, all are. With `renumber`, labels are then numbered anew by size, without gaps.
#[must_use]
pub fn merge(labels: &[i64], decisions: &[Decision], renumber: bool) -> Vec<i64> {
    let named = labels.iter().copied();
    let named = named.chain(
        decisions
            .iter()
            .flat_map(|decision| [decision.old, decision.new]),
    );
    let mut named: Vec<i64> = named.collect();
    named.sort_unstable();
    named.dedup();
    let number = |label: i64| {
        let at = named.binary_search(&label).expect("it is among them");
        u32::try_from(at).expect("no more than 2^32 labels")
    };
    // Noise is the lowest label: whoever comes together with it becomes it, but does not bring others along over it.
    let noise: Vec<u32> = decisions
        .iter()
        .filter(|one| one.new == NOISE)
        .map(|one| number(one.old))
        .collect();
    let links = decisions.iter().filter(|one| one.new != NOISE);
    let found = components(
        named.len(),
        links
            .map(|one| (number(one.old), number(one.new)))
            .collect::<Vec<_>>(),
    );
    let mut lowest: BTreeMap<u32, i64> = BTreeMap::new();
    for (at, component) in found.iter().enumerate() {
        lowest.entry(*component).or_insert(named[at]);
    }
    for at in noise {
        lowest.insert(found[at as usize], NOISE);
    }
    let merged = labels
        .iter()
        .map(|label| lowest[&found[number(*label) as usize]]);
    let merged: Vec<i64> = merged.collect();
    if renumber { by_size(&merged) } else { merged }
}

/// The same with labels from 0 by size; noise stays.
fn by_size(labels: &[i64]) -> Vec<i64> {
    let mut sizes: BTreeMap<i64, u64> = BTreeMap::new();
    for label in labels.iter().filter(|label| **label >= 0) {
        *sizes.entry(*label).or_default() += 1;
    }
    let mut order: Vec<(i64, u64)> = sizes.into_iter().collect();
    order.sort_by_key(|(label, size)| (std::cmp::Reverse(*size), *label));
    let numbers: BTreeMap<i64, i64> = order.iter().map(|(label, _)| *label).zip(0..).collect();
    labels
        .iter()
        .map(|label| numbers.get(label).copied().unwrap_or(NOISE))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(decisions: &[(i64, i64)], renumber: bool) -> Vec<i64> {
        let decisions = decisions.iter().map(|(old, new)| Decision {
            old: *old,
            new: *new,
        });
        merge(
            &[0, 0, 1, 2, 3, 3, -1, 5],
            &decisions.collect::<Vec<_>>(),
            renumber,
        )
    }

    #[test]
    fn clusters_become_one_over_others_as_well() {
        assert_eq!(check(&[], false), [0, 0, 1, 2, 3, 3, -1, 5]);
        assert_eq!(check(&[(3, 1), (5, 3)], false), [0, 0, 1, 2, 1, 1, -1, 1]);
        assert_eq!(check(&[(3, 1), (5, 3)], true), [1, 1, 0, 2, 0, 0, -1, 0]);
    }

    #[test]
    fn who_comes_together_with_noise_is_noise() {
        assert_eq!(
            check(&[(3, 1), (3, -1)], false),
            [0, 0, -1, 2, -1, -1, -1, 5]
        );
        assert_eq!(
            check(&[(0, -1), (2, -1)], false),
            [-1, -1, 1, -1, 3, 3, -1, 5],
            "not over the noise"
        );
        assert_eq!(check(&[(0, -1)], true), [-1, -1, 1, 2, 0, 0, -1, 3]);
    }
}

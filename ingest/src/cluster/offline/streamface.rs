//! streamface's clustering: batches by complete linkage, then twice the means of what came of it, then those that follow
//! each other in the video.

use super::{
    OfflineError, by_size,
    linkage::{Linkage, Metric, Tree, components},
    matrix::{Rows, dot},
    tracks,
};

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StreamfaceRules {
    /// How far two clusters are apart.
    pub linkage: Linkage,
    /// Up to this cosine distance clusters come together.
    pub threshold: f64,
    /// Faces of which a tree is made at once.
    pub batch: usize,
    /// Below this mean cosine distance two clusters are one if a face of the one follows a face of the other.
    pub merge_threshold: f64,
    /// The distances of a tree may take so many bytes.
    pub memory_bytes: usize,
}

impl Default for StreamfaceRules {
    fn default() -> Self {
        Self {
            linkage: Linkage::Complete,
            threshold: 0.3,
            batch: 20_000,
            merge_threshold: 0.5,
            memory_bytes: 4 << 30,
        }
    }
}

/// How often the means of clusters are clustered.
const MEANS: usize = 2;

/// A label a row; `matches` are pairs of rows, a face and the one before that it follows.
///
/// 1. Rows in their order, in batches, each with a tree of its own that is cut at the threshold.
/// 2. The mean of each cluster (not normalised); a tree of these, cut at the same threshold. Twice.
/// 3. [`merge_matches`].
/// 4. Labels by size, the largest first.
///
/// Cost: for each tree, a square of distances.
///
/// # Errors
/// [`OfflineError::Memory`] if the clusters that come of the batches are too many for one tree.
pub fn streamface(
    rows: Rows<'_>,
    matches: &[(u32, u32)],
    rules: &StreamfaceRules,
) -> Result<Vec<u32>, OfflineError> {
    let cut = |rows: Rows<'_>| -> Result<Vec<u32>, OfflineError> {
        let needed_bytes = Tree::bytes(rows.len());
        if needed_bytes > rules.memory_bytes {
            return Err(OfflineError::Memory {
                rows: rows.len(),
                needed_bytes,
                allowed_bytes: rules.memory_bytes,
            });
        }
        Ok(Tree::of(rows, Metric::Cosine, rules.linkage).cut_at(rules.threshold))
    };
    let mut labels = Vec::with_capacity(rows.len());
    let mut count = 0;
    for from in (0..rows.len()).step_by(rules.batch.max(1)) {
        let batch = rows.part(from, rules.batch.max(1).min(rows.len() - from));
        let found = cut(batch)?;
        labels.extend(found.iter().map(|label| label + count));
        count = labels.iter().max().map_or(0, |last| last + 1);
    }
    for _ in 0..MEANS {
        let means = means(rows, &labels);
        let of_means = cut(Rows::new(&means, rows.dimension()))?;
        labels
            .iter_mut()
            .for_each(|label| *label = of_means[*label as usize]);
    }
    Ok(by_size(&merge_matches(
        rows,
        &labels,
        matches,
        rules.merge_threshold,
    )))
}

/// Labels after clusters were put together of which a face of the one follows a face of the other, if the mean of all
/// cosine distances between the two is below `threshold`; and so on over others.
///
/// # Panics
/// If there is not a label a row, or a match is of a row that there is not.
#[must_use]
pub fn merge_matches(
    rows: Rows<'_>,
    labels: &[u32],
    matches: &[(u32, u32)],
    threshold: f64,
) -> Vec<u32> {
    assert_eq!(rows.len(), labels.len(), "a label a row");
    let (sums, counts) = sums(rows, labels);
    let sums = Rows::new(&sums, rows.dimension());
    let links = matches.iter().filter_map(|(face, earlier)| {
        let (one, other) = (labels[*face as usize], labels[*earlier as usize]);
        if one == other {
            return None;
        }
        let product = f64::from(dot(sums.row(one as usize), sums.row(other as usize)));
        let pairs = f64::from(counts[one as usize]) * f64::from(counts[other as usize]);
        (1.0 - product / pairs < threshold).then_some((one, other))
    });
    let merged = components(counts.len(), links.collect::<Vec<_>>());
    labels.iter().map(|label| merged[*label as usize]).collect()
}

/// The mean of each label's rows, not normalised.
pub(super) fn means(rows: Rows<'_>, labels: &[u32]) -> Vec<f32> {
    let (mut sums, counts) = sums(rows, labels);
    let by_label = sums.chunks_exact_mut(rows.dimension().max(1)).zip(counts);
    for (sum, count) in by_label {
        sum.iter_mut().for_each(|value| *value /= count as f32);
    }
    sums
}

/// The sum of each label's rows, and how many they are.
fn sums(rows: Rows<'_>, labels: &[u32]) -> (Vec<f32>, Vec<u32>) {
    let count = labels.iter().max().map_or(0, |last| *last as usize + 1);
    let mut counts = vec![0; count];
    labels.iter().for_each(|label| counts[*label as usize] += 1);
    (tracks::sums(rows, labels, count), counts)
}

//! Peaks of density: each face follows its nearest neighbour that lies denser than itself.

use rayon::prelude::*;

use super::{by_size, graph::Graph, linkage::components};

/// Its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DensityRules {
    /// Nobody is followed who is less similar.
    pub similarity: f32,
}

impl Default for DensityRules {
    fn default() -> Self {
        Self { similarity: 0.5 }
    }
}

/// A label a row. The density of a row is the sum of its neighbours' cosines; it follows the most similar neighbour with
/// a higher one, if that is similar enough, and has the label of the peak at which that ends.
///
/// After Rodriguez and Laio, "Clustering by fast search and find of density peaks", Science 344, 2014, within the
/// neighbours of a graph. Equal densities: the lower row counts as denser.
///
/// Cost: a look at each edge.
#[must_use]
pub fn density_peaks(graph: &Graph, rules: &DensityRules) -> Vec<u32> {
    let near = graph.both_ways();
    let densities: Vec<f32> = (0..graph.len())
        .into_par_iter()
        .map(|row| graph.of_row(row).iter().map(|near| near.cosine).sum())
        .collect();
    let denser = |one: u32, other: u32| {
        let (of_one, of_other) = (densities[one as usize], densities[other as usize]);
        of_one.total_cmp(&of_other).is_gt() || of_one == of_other && one < other
    };
    let links = (0u32..).zip(&near).filter_map(|(row, near)| {
        let mut near = near
            .iter()
            .take_while(|near| near.cosine >= rules.similarity);
        let followed = near.find(|near| denser(near.row, row))?;
        Some((row, followed.row))
    });
    let links: Vec<(u32, u32)> = links.collect();
    by_size(&components(graph.len(), links))
}

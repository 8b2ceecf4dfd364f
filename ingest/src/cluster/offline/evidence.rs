//! Groups that the evidence makes one: the best method that there is here.
//!
//! 1. Faces of a track are one person, and their mean stands for them. Where tracks are not known, faces that are as
//!    alike as those of a track are put together first ([`EvidenceRules::track_cosine`], average linkage along the graph)
//!    and count as one: near-duplicates are no independent evidence.
//! 2. Everybody's nearest neighbours are found ([`Graph`]).
//! 3. Along these, the two groups for which the evidence is highest become one ([`Likeness`]: what a cosine says depends
//!    on how many tracks and faces both sides rest on, and how like strangers they are), again and again, until it is too
//!    little for any. A group is the sum of its faces, so it is compared exactly, as what it has become.
//! 4. Again from 2 with the groups, which are better known than their faces were, until nothing changes.
//!
//! The evidence needed grows with the logarithm of how many there are to be mistaken for: among ten times as many,
//! chance finds ten times as many who look alike.

use rayon::prelude::*;

use super::{
    graph::{Graph, Search},
    groups::{Groups, Judge, Side, Start},
    matrix::{Rows, dot, normalise},
    tracks::Tracks,
};
use crate::cluster::likeness::Likeness;

/// Rounds at most; in none that was seen were more than five needed.
const ROUNDS: usize = 8;
/// Neighbours of a face among which those of its track are looked for, and how much less similar one of them may be than
/// they are on average.
const NEAR_DUPLICATES: usize = 12;
const BELOW_TRACK: f32 = 0.12;
/// Among so many chance does not count.
const CROWD_FROM: f32 = 200.0;
/// Others whose cosines show how like strangers somebody is, and how few do not.
const COHORT: usize = 128;
const COHORT_MIN: usize = 16;
/// The median of the magnitude of what is normally distributed around 0, by its spread.
const MEDIAN: f32 = 0.674_49;

/// What is believed of faces, and how much is enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvidenceRules {
    /// What a cosine says.
    pub likeness: Likeness,
    /// At least so much evidence for two groups to become one among 200, or fewer.
    pub join_nats: f32,
    /// So many times ln(n / 200) more among n.
    pub crowd: f32,
    /// Nobody becomes one below this cosine.
    pub floor: f32,
    /// From this mean cosine on faces are those of a track, where tracks are not known.
    pub track_cosine: f32,
    /// Neighbours that each group is compared with, at first.
    pub neighbours: usize,
}

impl EvidenceRules {
    /// The rules for a model whose manifest says that faces are the same person's from `same_cosine` on.
    #[must_use]
    pub fn for_contract(same_cosine: f32) -> Self {
        let likeness = Likeness::for_contract(same_cosine);
        Self {
            likeness,
            join_nats: 0.0,
            crowd: 1.0,
            floor: 0.625 * same_cosine,
            track_cosine: likeness.track_mean - 0.08,
            neighbours: 24,
        }
    }

    /// What the method needs beside the vectors themselves, about.
    #[must_use]
    pub fn bytes(&self, rows: usize, dimension: usize) -> usize {
        // The sums of groups, and of those that come of them; lists of neighbours, one-way, both ways and as pairs.
        let sums = 2 * dimension * size_of::<f32>();
        let lists = 64 * self.neighbours + 256;
        rows.saturating_mul(sums + lists)
    }
}

/// What is done at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The neighbours of so many groups are being found.
    Neighbours(usize),
    /// So many groups are being put together.
    Groups(usize),
}

/// A label a row of length 1, in no order; `tracks` has the track of each, if that is known. `on` is told what is done.
///
/// Cost: [`Graph::of`] of the faces, or of the tracks, on all threads; then, on one, about as many products a face as it
/// has neighbours. [`EvidenceRules::bytes`] of memory. The same for any number of threads.
#[must_use]
pub fn by_evidence(
    rows: Rows<'_>,
    tracks: Option<&Tracks>,
    rules: &EvidenceRules,
    on: &mut dyn FnMut(Step),
) -> Vec<u32> {
    let (mut groups, mut labels) = begin(rows, tracks, rules, on);
    for _ in 0..ROUNDS {
        let count = groups.len();
        let means = groups.means();
        let means = Rows::new(&means, rows.dimension());
        on(Step::Neighbours(count));
        groups.connect(&Graph::of(
            means,
            Search::new(rules.neighbours, rules.floor),
        ));
        on(Step::Groups(count));
        let judge = OnePerson::new(rules, means);
        groups.measure(&judge);
        groups.merge_all(&judge);
        let (now, next) = groups.compact(false);
        labels
            .iter_mut()
            .for_each(|label| *label = now[*label as usize]);
        groups = next;
        if groups.len() == count {
            break;
        }
    }
    labels
}

/// The tracks, and which each row is of.
fn begin(
    rows: Rows<'_>,
    tracks: Option<&Tracks>,
    rules: &EvidenceRules,
    on: &mut dyn FnMut(Step),
) -> (Groups, Vec<u32>) {
    if let Some(tracks) = tracks {
        let sums = tracks.sums(rows);
        return (
            Groups::new(sums, rows.dimension(), tracks.faces().map(Start::track)),
            tracks.of_row().to_vec(),
        );
    }
    on(Step::Neighbours(rows.len()));
    let search = Search {
        k: NEAR_DUPLICATES,
        floor: rules.track_cosine - BELOW_TRACK,
        cells: 2,
    };
    let graph = Graph::of(rows, search);
    let single = (0..rows.len()).map(|_| Start::track(1));
    let mut groups = Groups::new(rows.values().to_vec(), rows.dimension(), single);
    groups.connect(&graph);
    drop(graph);
    on(Step::Groups(rows.len()));
    groups.merge_all(&OneTrack {
        mean: rules.track_cosine,
    });
    let (labels, groups) = groups.compact(true);
    (groups, labels)
}

/// Are two groups' faces as alike as those of a track?
struct OneTrack {
    mean: f32,
}

impl Judge for OneTrack {
    fn gain(&self, one: &Side, other: &Side, cosine: f32) -> f32 {
        let pairs = one.basis.faces as f32 * other.basis.faces as f32;
        cosine * one.length * other.length / pairs - self.mean
    }

    fn strangers(&self, _: &[f32], _: f32) -> u32 {
        0
    }
}

/// Are two groups one person?
struct OnePerson<'a> {
    rules: &'a EvidenceRules,
    enough: f32,
    cohort: Vec<f32>,
}

impl<'a> OnePerson<'a> {
    fn new(rules: &'a EvidenceRules, means: Rows<'_>) -> Self {
        let size = COHORT.min(means.len());
        let evenly = (0..size).map(|at| at * means.len() / size);
        let evenly: Vec<u32> = evenly
            .map(|at| u32::try_from(at).expect("numbered in 32 bits"))
            .collect();
        Self {
            rules,
            enough: rules.join_nats + rules.crowd * (means.len() as f32 / CROWD_FROM).max(1.0).ln(),
            cohort: means.gather(&evenly),
        }
    }
}

impl Judge for OnePerson<'_> {
    fn gain(&self, one: &Side, other: &Side, cosine: f32) -> f32 {
        if cosine < self.rules.floor {
            return f32::NEG_INFINITY;
        }
        self.rules.likeness.evidence(cosine, one.basis, other.basis) - self.enough
    }

    // The median, not the mean: who is in the cohort as well, even often, makes little difference.
    fn strangers(&self, sum: &[f32], length: f32) -> u32 {
        let cosines = self
            .cohort
            .chunks_exact(sum.len())
            .map(|other| (dot(sum, other) / length).abs());
        let mut cosines: Vec<f32> = cosines.collect();
        if cosines.len() < COHORT_MIN || length == 0.0 {
            return 0;
        }
        let middle = cosines.len() / 2;
        let (_, median, _) = cosines.select_nth_unstable_by(middle, f32::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "thousandths of what is 0 to 2"
        )]
        let thousandths = (*median / MEDIAN * 1000.0) as u32;
        thousandths
    }
}

impl Groups {
    /// The means of all, of length 1.
    fn means(&self) -> Vec<f32> {
        let mut means = self.sums.clone();
        normalise(&mut means, self.dimension);
        means
    }

    /// How like strangers each is.
    fn measure(&mut self, judge: &impl Judge) {
        let measured: Vec<u32> = (0..self.len())
            .into_par_iter()
            .map(|group| judge.strangers(self.sum(group), self.sides[group].length))
            .collect();
        for (side, strangers) in self.sides.iter_mut().zip(measured) {
            side.basis.strangers = strangers;
        }
    }
}

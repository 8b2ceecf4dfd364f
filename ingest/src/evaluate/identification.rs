//! Who is this, if anybody we know? Open-set identification, as NIST's FRTE measures it.
//!
//! Some searches have a mate in the gallery and some have none. At a threshold, FPIR is the share of
//! searches without a mate that return anybody, FNIR the share of those with a mate that do not
//! return it (Grother, Ngan and Hanaoka, "Face Recognition Vendor Test Part 2: Identification", NISTIR
//! 8271, 2019). Each is measured twice: with a person's score being that of their most similar face,
//! and that of the mean of their faces.

mod people;

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    EvaluateError,
    interval::{Interval, of_groups, wilson},
    product::{Rows, each_row},
};
use crate::random::Random;

pub use people::{People, Split, people, split};

/// Ranks that are reported.
pub const RANKS: [usize; 4] = [1, 5, 10, 20];
/// Faces of the gallery times searches, at most; beyond, searches are drawn.
const CELLS_MAX: usize = 2_000_000_000;

/// What is reported of one way to score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scored {
    /// For each rank the share of searches with a mate that have it there or before.
    pub ranks: Vec<AtRank>,
    /// What can be had at false positive rates.
    pub at_fpir: Vec<AtFpir>,
    /// Thresholds, false positive and false negative rates, from the lowest threshold.
    #[serde(skip)]
    pub det: Vec<(f64, f64, f64)>,
    /// The share at each rank from 1 to 50.
    #[serde(skip)]
    pub cmc: Vec<f64>,
}

/// The share of searches whose mate is found by a rank.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AtRank {
    /// From 1.
    pub rank: usize,
    /// The share.
    pub share: f64,
    /// Its 95 % interval, the wider of that of searches (Wilson) and that of people.
    pub interval: Interval,
}

/// What can be had at a false positive identification rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AtFpir {
    /// The rate that was asked for.
    pub wanted: f64,
    /// What there is to say, unless there are too few searches to tell.
    pub point: Option<FpirPoint>,
    /// What the number of searches says of it, for people.
    pub note: String,
}

/// A threshold and what it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FpirPoint {
    /// Whoever has at least this cosine is returned.
    pub threshold: f64,
    /// The share of searches without a mate that return somebody.
    pub fpir: f64,
    /// Its 95 % interval, the wider of that of searches (Wilson) and that of people.
    pub fpir_interval: Interval,
    /// The share of searches with a mate that do not return it, at whatever rank.
    pub fnir: f64,
    /// Its 95 % interval, likewise.
    pub fnir_interval: Interval,
    /// The share that does not return it first.
    pub fnir_rank_1: f64,
}

/// What is reported.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Identification {
    /// Faces in the gallery.
    pub gallery_faces: usize,
    /// People in the gallery.
    pub gallery_people: usize,
    /// Searches whose person is in the gallery.
    pub mated: usize,
    /// Searches whose person is not.
    pub unmated: usize,
    /// Searches there were to choose from; more than both where they were drawn.
    pub searches_of: usize,
    /// A person's score is that of the most similar face.
    pub by_faces: Scored,
    /// A person's score is that of the mean of the faces.
    pub by_means: Scored,
}

/// A search with a mate.
#[derive(Clone, Copy)]
struct Mated {
    person: i64,
    score: f32,
    rank: usize,
}

#[derive(Default)]
struct Searches {
    mated: Vec<Mated>,
    /// Whose, and the highest score.
    unmated: Vec<(i64, f32)>,
}

/// Searches for each of `searches` in `gallery`. A search for whom the gallery does not have, or
/// whose label is below 0, has no mate.
///
/// # Errors
/// [`EvaluateError::Dimensions`], or [`EvaluateError::TooFew`] if either is empty or no search has a
/// mate.
pub fn identify(
    gallery: &People,
    searches: &People,
    fpirs: &[f64],
    seed: u64,
) -> Result<Identification, EvaluateError> {
    let too_few = |what: &str| Err(EvaluateError::TooFew(what.into()));
    if gallery.labels.is_empty() {
        return too_few("no face in the gallery");
    }
    if searches.labels.is_empty() {
        return too_few("no face to search for");
    }
    if gallery.dimension != searches.dimension {
        return Err(EvaluateError::Dimensions {
            one: gallery.dimension,
            other: searches.dimension,
        });
    }
    let gallery = gallery.sorted();
    let searches_of = searches.labels.len();
    let rows = Random::new(seed).choose((CELLS_MAX / gallery.labels.len()).max(1), searches_of);
    let searches = searches.chosen(&rows);
    let means = gallery.means();
    let by_faces = search(&gallery, &searches);
    let by_means = search(&means, &searches);
    if by_faces.mated.is_empty() {
        return too_few("no search whose person is in the gallery; are both labelled alike?");
    }
    Ok(Identification {
        gallery_faces: gallery.labels.len(),
        gallery_people: means.labels.len(),
        mated: by_faces.mated.len(),
        unmated: by_faces.unmated.len(),
        searches_of,
        by_faces: by_faces.report(fpirs),
        by_means: by_means.report(fpirs),
    })
}

fn search(gallery: &People, searches: &People) -> Searches {
    let mut people: Vec<(i64, usize)> = Vec::new();
    for label in &gallery.labels {
        match people.last_mut() {
            Some((last, count)) if last == label => *count += 1,
            _ => people.push((*label, 1)),
        }
    }
    let (left, right) = (
        Rows::new(&searches.values, searches.dimension),
        Rows::new(&gallery.values, gallery.dimension),
    );
    let start = || (Searches::default(), Vec::with_capacity(people.len()));
    let parts = each_row(left, right, start, |(found, scores), row, cosines| {
        scores.clear();
        let mut rest = &*cosines;
        for (_, count) in &people {
            let (own, others) = rest.split_at(*count);
            scores.push(own.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            rest = others;
        }
        let person = searches.labels[row];
        match people.binary_search_by_key(&person, |(label, _)| *label) {
            Ok(mate) if person >= 0 => {
                let score = scores[mate];
                // Whoever is as similar as the mate comes before it: the worse case.
                let rank = scores.iter().filter(|other| **other >= score).count();
                found.mated.push(Mated {
                    person,
                    score,
                    rank,
                });
            }
            _ => found.unmated.push((
                person,
                scores.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            )),
        }
    });
    let mut all = Searches::default();
    for (part, _) in parts {
        all.mated.extend(part.mated);
        all.unmated.extend(part.unmated);
    }
    all
}

impl Searches {
    fn report(mut self, fpirs: &[f64]) -> Scored {
        self.unmated.sort_by(|a, b| b.1.total_cmp(&a.1));
        let at_rank = |rank: usize| {
            let hits = self
                .mated
                .iter()
                .map(|search| (search.person, search.rank <= rank));
            let (share, interval) = share_of(hits);
            AtRank {
                rank,
                share,
                interval,
            }
        };
        let mut det = Vec::new();
        let steps = self.unmated.len().clamp(1, 500);
        let mut mated: Vec<f32> = self.mated.iter().map(|search| search.score).collect();
        mated.sort_by(f32::total_cmp);
        for step in (0..steps).rev() {
            // Closely at the rare end, where thresholds are set.
            let part = (step as f64 + 1.0) / steps as f64;
            let at = (self.unmated.len() as f64).powf(part) - 1.0;
            let at = (0..self.unmated.len())
                .take_while(|row| (*row as f64) < at)
                .count();
            let Some((_, threshold)) = self.unmated.get(at) else {
                break;
            };
            let missed = mated.partition_point(|score| score < threshold) as f64;
            let above = self
                .unmated
                .partition_point(|(_, score)| score >= threshold) as f64;
            det.push((
                f64::from(*threshold),
                above / self.unmated.len() as f64,
                missed / mated.len() as f64,
            ));
        }
        det.dedup();
        Scored {
            ranks: RANKS.map(at_rank).to_vec(),
            cmc: (1..=50).map(|rank| at_rank(rank).share).collect(),
            at_fpir: fpirs.iter().map(|wanted| self.at_fpir(*wanted)).collect(),
            det,
        }
    }

    fn at_fpir(&self, wanted: f64) -> AtFpir {
        let count = self.unmated.len();
        let expected = wanted * count as f64;
        if expected < 1.0 {
            let note = format!(
                "{count} searches without a mate cannot show a rate of {wanted}: {:.0} at least are needed",
                (1.0 / wanted).ceil()
            );
            return AtFpir {
                wanted,
                point: None,
                note,
            };
        }
        let allowed = (0..count)
            .take_while(|hits| *hits as f64 + 1.0 <= expected + 1e-9)
            .count();
        // Sorted, the most similar first: just above the first that must not be returned.
        let threshold = self
            .unmated
            .get(allowed)
            .map_or(-1.0, |(_, score)| score.next_up());
        let unmated = self
            .unmated
            .iter()
            .map(|(person, score)| (*person, *score >= threshold));
        let (fpir, fpir_interval) = share_of(unmated);
        let missed = self
            .mated
            .iter()
            .map(|search| (search.person, search.score < threshold));
        let (fnir, fnir_interval) = share_of(missed);
        let first = self
            .mated
            .iter()
            .filter(|search| search.score >= threshold && search.rank == 1);
        let note = if expected < 10.0 {
            format!("rests on about {expected:.0} searches: no more than an order of magnitude")
        } else {
            String::new()
        };
        AtFpir {
            wanted,
            point: Some(FpirPoint {
                threshold: f64::from(threshold),
                fpir,
                fpir_interval,
                fnir,
                fnir_interval,
                fnir_rank_1: 1.0 - first.count() as f64 / self.mated.len() as f64,
            }),
            note,
        }
    }
}

/// The share of searches that hit, and its interval.
fn share_of(searches: impl Iterator<Item = (i64, bool)>) -> (f64, Interval) {
    // In the order of people: a sum of floats depends on its order.
    let mut groups: BTreeMap<(i64, usize), (f64, f64)> = BTreeMap::new();
    for (at, (person, hit)) in searches.enumerate() {
        // Of nobody in particular it is not known which are one person: each counts as one.
        let alone = if person < 0 { at } else { 0 };
        let group = groups.entry((person, alone)).or_default();
        group.0 += f64::from(u8::from(hit));
        group.1 += 1.0;
    }
    let groups: Vec<(f64, f64)> = groups.into_values().collect();
    let (hits, all) = groups
        .iter()
        .fold((0.0, 0.0), |sum, group| (sum.0 + group.0, sum.1 + group.1));
    let share = if all > 0.0 { hits / all } else { 0.0 };
    let of_searches = wilson(hits, all);
    let interval =
        of_groups(&groups, share, 1.0).map_or(of_searches, |of_people| of_searches.with(of_people));
    (share, interval)
}

#[cfg(test)]
mod tests;

//! How much would a rate differ, had other people been seen?

use super::{
    interval::Interval,
    product::{Rows, each_row},
    sample::Sample,
};
use crate::random::Random;

/// Times that people are drawn anew.
pub(crate) const REPLICATES: usize = 1000;

/// The rates at a threshold, and within what they lie.
pub(crate) struct Resampled {
    pub(crate) far: Interval,
    pub(crate) tar: Interval,
    /// Groups of people that were drawn; each a person, if there are few.
    pub(crate) groups: usize,
}

/// Accepted pairs and all pairs of two groups of people, and of one person within a group.
struct Table {
    groups: usize,
    different: Vec<(f64, f64)>,
    same: Vec<(f64, f64)>,
}

/// Draws groups of people anew, with replacement, and takes the 2.5th and the 97.5th percentile of
/// the rates (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). A pair of
/// two groups counts as often as both were drawn, one within a group as often as that was.
///
/// `None` if there are fewer than ten groups: their percentiles would mean nothing.
///
/// Cost: all pairs of the sample once more.
pub(crate) fn resample(
    sample: &Sample,
    threshold: f64,
    across_tracks: bool,
    seed: u64,
) -> Option<Resampled> {
    let groups = sample.group_count();
    if groups < 10 {
        return None;
    }
    let table = Table::of(sample, threshold, across_tracks);
    let mut random = Random::new(seed);
    let (mut fars, mut tars) = (Vec::new(), Vec::new());
    for _ in 0..REPLICATES {
        let mut times = vec![0.0_f64; groups];
        (0..groups).for_each(|_| times[random.below(groups)] += 1.0);
        let (far, tar) = table.rates(&times);
        fars.extend(far);
        tars.extend(tar);
    }
    Some(Resampled {
        far: percentiles(fars)?,
        tar: percentiles(tars)?,
        groups,
    })
}

fn percentiles(mut values: Vec<f64>) -> Option<Interval> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = |thousandths: usize| values[(last * thousandths + 500) / 1000];
    Some(Interval {
        low: at(25),
        high: at(975),
    })
}

impl Table {
    fn of(sample: &Sample, threshold: f64, across_tracks: bool) -> Self {
        let groups = sample.group_count();
        let empty = || Self {
            groups,
            different: vec![(0.0, 0.0); groups * groups],
            same: vec![(0.0, 0.0); groups],
        };
        let rows = Rows::new(&sample.values, sample.dimension);
        let parts = each_row(rows, rows, empty, |table: &mut Self, row, cosines| {
            let (person, group) = (sample.people[row], sample.groups[row]);
            for (column, cosine) in cosines.iter().enumerate() {
                let hit = f64::from(u8::from(f64::from(*cosine) >= threshold));
                let (cell, weight) = if sample.people[column] != person {
                    let cell = &mut table.different[group * groups + sample.groups[column]];
                    (cell, sample.weights[row] * sample.weights[column])
                } else if column == row
                    || across_tracks && sample.tracks[column] == sample.tracks[row]
                {
                    continue;
                } else {
                    (&mut table.same[group], sample.pair_weights[person as usize])
                };
                cell.0 += hit * weight;
                cell.1 += weight;
            }
        });
        parts.into_iter().fold(empty(), |mut all, part| {
            let cells = all.different.iter_mut().chain(&mut all.same);
            for (to, from) in cells.zip(part.different.iter().chain(&part.same)) {
                *to = (to.0 + from.0, to.1 + from.1);
            }
            all
        })
    }

    /// Where each group was drawn so many times.
    fn rates(&self, times: &[f64]) -> (Option<f64>, Option<f64>) {
        let share = |(hits, all): (f64, f64)| (all > 0.0).then(|| hits / all);
        let mut different = (0.0, 0.0);
        for one in (0..self.groups).filter(|group| times[*group] > 0.0) {
            for other in 0..self.groups {
                let weight = times[one] * if one == other { 1.0 } else { times[other] };
                let cell = self.different[one * self.groups + other];
                different = (different.0 + weight * cell.0, different.1 + weight * cell.1);
            }
        }
        let same = self
            .same
            .iter()
            .zip(times)
            .fold((0.0, 0.0), |sum, (cell, times)| {
                (sum.0 + times * cell.0, sum.1 + times * cell.1)
            });
        (share(different), share(same))
    }
}

//! What is accepted, rightly and wrongly, at every threshold.

use serde::Serialize;

use super::{
    histogram::{BINS, Histogram, threshold},
    interval::{Interval, clopper_pearson, of_groups, wilson},
};

/// So many false accepts are to be expected of pairs that can show a rate at all.
const RESOLVED_FROM: f64 = 1.0;
/// From so many on, the rate is more than an order of magnitude.
const FIRM_FROM: f64 = 10.0;

/// Cosines of pairs, of one person and of two.
#[derive(Clone, Debug, Default)]
pub struct Cosines {
    /// Of one person.
    pub same: Histogram,
    /// Of two people.
    pub different: Histogram,
    /// Pairs of one person that were compared; more than the histogram's total stands for where
    /// pairs are weighted.
    pub same_pairs: f64,
    /// Pairs of two people that were compared.
    pub different_pairs: f64,
    /// The same for each group of people, counted from each face of the group: a pair of two groups
    /// is in both, and a pair within one twice. Empty if faces were not grouped.
    pub groups: Vec<(Histogram, Histogram)>,
}

/// A threshold and what it comes to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Pairs with at least this cosine are accepted.
    pub threshold: f64,
    /// The share of pairs of two people that is accepted: the false accept (or match) rate.
    pub far: f64,
    /// Its 95 % interval, were pairs independent (Clopper-Pearson).
    pub far_interval: Interval,
    /// Its 95 % interval from groups of people, as pairs share faces and people.
    pub far_grouped: Option<Interval>,
    /// The share of pairs of one person that is accepted: the true accept rate.
    pub tar: f64,
    /// Its 95 % interval, were pairs independent (Wilson).
    pub tar_interval: Interval,
    /// Its 95 % interval from groups of people.
    pub tar_grouped: Option<Interval>,
}

/// What can be had at a wanted false accept rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AtFar {
    /// The rate that was asked for.
    pub wanted: f64,
    /// The lowest threshold at which no more are accepted; `None` if there are too few pairs to
    /// tell.
    pub point: Option<Point>,
    /// What the number of pairs says of it, for people.
    pub note: String,
}

/// What is right most often.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Best {
    /// Pairs with at least this cosine are accepted.
    pub threshold: f64,
    /// The measure there, 0 to 1.
    pub value: f64,
}

/// True and false accept rates at thresholds 0.0001 apart.
#[derive(Clone, Debug)]
pub struct Curve<'a> {
    cosines: &'a Cosines,
    tar: Vec<f64>,
    far: Vec<f64>,
    same: f64,
    different: f64,
}

impl<'a> Curve<'a> {
    /// `None` unless there are pairs of both kinds.
    #[must_use]
    pub fn of(cosines: &'a Cosines) -> Option<Self> {
        let (same, different) = (cosines.same.total(), cosines.different.total());
        if same <= 0.0 || different <= 0.0 {
            return None;
        }
        let shares = |histogram: &Histogram, total: f64| {
            let mut counts = histogram.at_or_above();
            counts.push(0.0);
            counts.iter().map(|count| count / total).collect::<Vec<_>>()
        };
        Some(Self {
            cosines,
            tar: shares(&cosines.same, same),
            far: shares(&cosines.different, different),
            same,
            different,
        })
    }

    /// The false and true accept rates at each threshold, from the lowest.
    pub fn rates(&self) -> impl DoubleEndedIterator<Item = (f64, f64, f64)> {
        (0..self.far.len()).map(|bin| (threshold(bin), self.far[bin], self.tar[bin]))
    }

    /// The area under the curve of true over false accepts: the chance that a pair of one person is
    /// more similar than one of two.
    #[must_use]
    pub fn area(&self) -> f64 {
        let steps = 0..self.far.len() - 1;
        steps
            .map(|at| {
                (self.far[at] - self.far[at + 1]) * f64::midpoint(self.tar[at], self.tar[at + 1])
            })
            .sum()
    }

    /// The rate at which as many are wrongly accepted as wrongly refused, between the thresholds on
    /// either side of it.
    #[must_use]
    pub fn equal_error(&self) -> Best {
        let gap = |at: usize| self.far[at] - (1.0 - self.tar[at]);
        let after = (0..self.far.len()).find(|at| gap(*at) <= 0.0);
        let after = after.unwrap_or(BINS).max(1);
        let (high, low) = (gap(after - 1), gap(after));
        let part = if high > low { high / (high - low) } else { 0.5 };
        let part = part.clamp(0.0, 1.0);
        let between = |a: f64, b: f64| a + part * (b - a);
        Best {
            threshold: between(threshold(after - 1), threshold(after)),
            value: between(self.far[after - 1], self.far[after]),
        }
    }

    /// Where most pairs are decided rightly.
    #[must_use]
    pub fn best_accuracy(&self) -> Best {
        let (same, different) = (self.same, self.different);
        self.best(|tar, far| (tar * same + (1.0 - far) * different) / (same + different))
    }

    /// Where the mean of both kinds' shares of right decisions is highest.
    #[must_use]
    pub fn best_balanced(&self) -> Best {
        self.best(|tar, far| f64::midpoint(tar, 1.0 - far))
    }

    /// Where the harmonic mean of precision and recall of pairs is highest.
    #[must_use]
    pub fn best_f1(&self) -> Best {
        let (same, different) = (self.same, self.different);
        self.best(|tar, far| 2.0 * tar * same / (tar * same + far * different + same))
    }

    fn best(&self, measure: impl Fn(f64, f64) -> f64) -> Best {
        let values = self.rates().map(|(threshold, far, tar)| Best {
            threshold,
            value: measure(tar, far),
        });
        let best = values.reduce(|best, other| {
            if other.value > best.value {
                other
            } else {
                best
            }
        });
        best.expect("there are thresholds")
    }

    /// The rates at the threshold closest to this one.
    #[must_use]
    pub fn at(&self, wanted: f64) -> Point {
        let distance = |bin: &usize| (threshold(*bin) - wanted).abs();
        let bin = (0..self.far.len()).min_by(|a, b| distance(a).total_cmp(&distance(b)));
        self.point(bin.expect("there are thresholds"))
    }

    /// The lowest threshold with at most this false accept rate.
    #[must_use]
    pub fn at_far(&self, wanted: f64) -> AtFar {
        let pairs = self.cosines.different_pairs;
        let expected = wanted * pairs;
        if expected < RESOLVED_FROM {
            let note = format!(
                "{pairs} pairs of two people cannot show a rate of {wanted:e}: {:.0} at least are needed",
                (RESOLVED_FROM / wanted).ceil()
            );
            return AtFar {
                wanted,
                point: None,
                note,
            };
        }
        let bin = (0..self.far.len()).find(|bin| self.far[*bin] <= wanted);
        let note = if expected < FIRM_FROM {
            format!("rests on about {expected:.0} pairs: no more than an order of magnitude")
        } else {
            String::new()
        };
        AtFar {
            wanted,
            point: bin.map(|bin| self.point(bin)),
            note,
        }
    }

    fn point(&self, bin: usize) -> Point {
        let (far, tar) = (self.far[bin], self.tar[bin]);
        let pairs = (self.cosines.different_pairs, self.cosines.same_pairs);
        Point {
            threshold: threshold(bin),
            far,
            far_interval: clopper_pearson((far * pairs.0).round(), pairs.0),
            // A pair of two people concerns two groups.
            far_grouped: self.grouped(bin, far, 2.0, |group| &group.1),
            tar,
            tar_interval: wilson(tar * pairs.1, pairs.1),
            tar_grouped: self.grouped(bin, tar, 1.0, |group| &group.0),
        }
    }

    fn grouped(
        &self,
        bin: usize,
        rate: f64,
        people: f64,
        of: impl Fn(&(Histogram, Histogram)) -> &Histogram,
    ) -> Option<Interval> {
        let groups = self.cosines.groups.iter().map(|group| {
            let counts = of(group).at_or_above();
            (counts.get(bin).copied().unwrap_or(0.0), counts[0])
        });
        of_groups(&groups.collect::<Vec<_>>(), rate, people)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosines(same: &[f32], different: &[f32]) -> Cosines {
        let mut cosines = Cosines::default();
        same.iter()
            .for_each(|cosine| cosines.same.add(*cosine, 1.0));
        different
            .iter()
            .for_each(|cosine| cosines.different.add(*cosine, 1.0));
        cosines.same_pairs = cosines.same.total();
        cosines.different_pairs = cosines.different.total();
        cosines
    }

    #[track_caller]
    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    #[test]
    fn rates_worked_out_by_hand() {
        let cosines = cosines(&[0.9, 0.8, 0.3, 0.6], &[0.1, 0.2, 0.35, -0.2, 0.0]);
        let curve = Curve::of(&cosines).unwrap();
        // Of twenty, one is the wrong way round: 0.35 and 0.3.
        close(curve.area(), 19.0 / 20.0);
        close(curve.best_accuracy().value, 8.0 / 9.0);
        close(curve.best_balanced().value, 0.9);
        close(curve.best_f1().value, 8.0 / 9.0);
        close(curve.at(0.3).tar, 1.0);
        close(curve.at(0.3).far, 0.2);
        let point = curve.at_far(0.2).point.unwrap();
        close(point.far, 0.2);
        assert!(
            point.threshold > 0.2 && point.threshold < 0.2002,
            "{}",
            point.threshold
        );
        let few = curve.at_far(0.1);
        assert!(
            few.point.is_none() && few.note.contains("10 at least"),
            "{}",
            few.note
        );
        assert!(curve.equal_error().value <= 0.25);
        assert!(Curve::of(&super::Cosines::default()).is_none());
    }

    #[test]
    fn groups_that_differ_widen_the_interval() {
        let mut all = cosines(&[0.9; 100], &[0.1; 1000]);
        (0..10).for_each(|_| all.different.add(0.5, 1.0));
        all.different_pairs += 10.0;
        let interval = |uneven: bool, mut all: Cosines| {
            for group in 0..10 {
                let mut of = Histogram::default();
                of.add(0.1, 200.0);
                let hits = if uneven {
                    if group == 0 { 20.0 } else { 0.0 }
                } else {
                    2.0
                };
                of.add(0.5, hits);
                all.groups.push((Histogram::default(), of));
            }
            Curve::of(&all).unwrap().at(0.4).far_grouped.unwrap()
        };
        let even = interval(false, all.clone());
        let uneven = interval(true, all.clone());
        assert!((even.high - even.low).abs() < 1e-9, "{even:?}");
        assert!(uneven.high > 0.02 && uneven.low < 0.005, "{uneven:?}");
        assert!(Curve::of(&all).unwrap().at(0.4).far_grouped.is_none());
    }
}

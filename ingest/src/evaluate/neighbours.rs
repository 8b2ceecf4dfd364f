//! streamface's look at features: how far away are the nearest faces of each, and what lies below and
//! beyond a threshold? It needs no labels.

use serde::Serialize;

/// What is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct NeighbourRules {
    /// So many faces, the nearest ones and the face itself among them, count.
    pub nearest: usize,
    /// Cosine distances, ascending.
    pub thresholds: Vec<f32>,
}

impl Default for NeighbourRules {
    fn default() -> Self {
        Self {
            nearest: 5000,
            thresholds: (0_u8..12)
                .map(|step| 0.1 + 0.025 * f32::from(step))
                .collect(),
        }
    }
}

/// Gathers these distances, row by row.
#[derive(Clone, Debug)]
pub struct Neighbours<'a> {
    rules: &'a NeighbourRules,
    /// Least, mean and greatest, and for each threshold four more; of each row.
    values: Vec<Vec<f32>>,
}

/// How one number differs from face to face.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Over faces.
    pub mean: f64,
    /// Over faces.
    pub sd: f64,
    /// The 5th, 50th and 95th percentile.
    pub percentiles: [f64; 3],
    /// The share of faces in each of 49 bins of equal width, from 0 to `to`.
    pub shares: Vec<f64>,
    /// Where the last bin ends.
    pub to: f64,
}

/// What there is on either side of a threshold. Where nothing is, the threshold stands for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sides {
    /// Cosine distance.
    pub threshold: f32,
    /// The least distance of those up to it.
    pub least_within: Spread,
    /// Their mean.
    pub mean_within: Spread,
    /// The mean distance of those beyond it.
    pub mean_beyond: Spread,
    /// The greatest of them.
    pub greatest_beyond: Spread,
}

/// What [`Neighbours`] has gathered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NeighbourReport {
    /// Faces whose neighbours were looked at.
    pub faces: usize,
    /// Cosine distance to the nearest other face.
    pub least: Spread,
    /// The mean of the nearest.
    pub mean: Spread,
    /// The greatest of these.
    pub greatest: Spread,
    /// For each threshold.
    pub thresholds: Vec<Sides>,
}

impl<'a> Neighbours<'a> {
    pub(crate) fn new(rules: &'a NeighbourRules) -> Self {
        let values = vec![Vec::new(); 3 + 4 * rules.thresholds.len()];
        Self { rules, values }
    }

    /// Takes the cosines of a face to all others, and leaves them in another order.
    pub(crate) fn add(&mut self, cosines: &mut [f32]) {
        let distances = cosines;
        distances
            .iter_mut()
            .for_each(|value| *value = (1.0 - *value).clamp(0.0, 2.0));
        let nearest = self.rules.nearest.saturating_sub(1).max(1);
        let distances = if nearest < distances.len() {
            distances.select_nth_unstable_by(nearest, f32::total_cmp).0
        } else {
            distances
        };
        let thresholds = &self.rules.thresholds;
        // What lies between two thresholds: how many, their sum, the least and the greatest.
        let mut between =
            vec![(0.0_f64, 0.0_f64, f32::INFINITY, f32::NEG_INFINITY); thresholds.len() + 1];
        for distance in distances.iter() {
            let at = thresholds.partition_point(|threshold| threshold < distance);
            let (count, sum, least, greatest) = &mut between[at];
            *count += 1.0;
            *sum += f64::from(*distance);
            *least = least.min(*distance);
            *greatest = greatest.max(*distance);
        }
        let join = |parts: &[(f64, f64, f32, f32)]| {
            parts
                .iter()
                .fold((0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY), |a, b| {
                    (a.0 + b.0, a.1 + b.1, a.2.min(b.2), a.3.max(b.3))
                })
        };
        let mean = |part: (f64, f64, f32, f32)| crate::number::to_f32(part.1 / part.0);
        let all = join(&between);
        let mut put = self.values.iter_mut();
        let mut put = |value: f32| put.next().expect("a list a value").push(value);
        put(all.2);
        put(mean(all));
        put(all.3);
        for (at, threshold) in thresholds.iter().enumerate() {
            let (within, beyond) = (join(&between[..=at]), join(&between[at + 1..]));
            let or = |part: (f64, f64, f32, f32), value: f32| {
                if part.0 > 0.0 { value } else { *threshold }
            };
            put(or(within, within.2));
            put(or(within, mean(within)));
            put(or(beyond, mean(beyond)));
            put(or(beyond, beyond.3));
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (to, from) in self.values.iter_mut().zip(other.values) {
            to.extend(from);
        }
    }

    pub(crate) fn report(self) -> NeighbourReport {
        let rules = self.rules;
        let faces = self.values[0].len();
        let mut values = self.values.into_iter();
        let mut next = |to: f64| Spread::of(values.next().expect("a list a value"), to);
        NeighbourReport {
            faces,
            least: next(2.0),
            mean: next(2.0),
            greatest: next(2.0),
            thresholds: rules
                .thresholds
                .iter()
                .map(|threshold| Sides {
                    threshold: *threshold,
                    least_within: next(1.5),
                    mean_within: next(1.5),
                    mean_beyond: next(1.5),
                    greatest_beyond: next(1.5),
                })
                .collect(),
        }
    }
}

/// Bins of a distribution, as streamface has them.
const SPREAD_BINS: u8 = 49;

impl Spread {
    fn of(mut values: Vec<f32>, to: f64) -> Self {
        values.sort_unstable_by(f32::total_cmp);
        let count = (values.len() as f64).max(1.0);
        let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
        let squares = values
            .iter()
            .map(|value| (f64::from(*value) - mean).powi(2));
        let sd = (squares.sum::<f64>() / count).sqrt();
        let last = values.len().saturating_sub(1);
        let percentile = |hundredths: usize| {
            let value = values.get((last * hundredths + 50) / 100);
            value.map_or(0.0, |value| f64::from(*value))
        };
        let edge = |bin: u8| f64::from(bin) / f64::from(SPREAD_BINS) * to;
        let below = |limit: f64| values.partition_point(|value| f64::from(*value) < limit);
        let shares = (0..SPREAD_BINS).map(|bin| {
            let end = if bin + 1 == SPREAD_BINS {
                values.len()
            } else {
                below(edge(bin + 1))
            };
            (end - below(edge(bin))) as f64 / count
        });
        Self {
            mean,
            sd,
            percentiles: [percentile(5), percentile(50), percentile(95)],
            shares: shares.collect(),
            to,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_worked_out_by_hand() {
        let rules = NeighbourRules {
            nearest: 4,
            thresholds: vec![0.05, 0.3],
        };
        let mut neighbours = Neighbours::new(&rules);
        // Distances 0.2, 0.5, 0.1 and, beyond the nearest three, 0.9.
        neighbours.add(&mut [0.8, 0.1, 0.5, 0.9]);
        let report = neighbours.report();
        let close = |spread: &Spread, expected: f64| {
            assert!(
                (spread.mean - expected).abs() < 1e-6,
                "{} {expected}",
                spread.mean
            );
            assert!((spread.shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        };
        close(&report.least, 0.1);
        close(&report.mean, 0.8 / 3.0);
        close(&report.greatest, 0.5);
        let [low, high] = &report.thresholds[..] else {
            panic!("two thresholds")
        };
        close(&low.least_within, 0.05);
        close(&low.mean_within, 0.05);
        close(&low.mean_beyond, 0.8 / 3.0);
        close(&low.greatest_beyond, 0.5);
        close(&high.least_within, 0.1);
        close(&high.mean_within, 0.15);
        close(&high.mean_beyond, 0.5);
        assert_eq!(NeighbourRules::default().thresholds.len(), 12);
    }
}

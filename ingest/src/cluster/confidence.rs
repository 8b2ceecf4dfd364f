//! What a cosine is worth in this collection: how sure the first hit of a search is, and how often
//! somebody who is in none of the identities would score as high.
//!
//! A threshold that was right for a thousand people lets strangers through at a million: the best of
//! many wrong ones grows with their number. So nothing here is a constant of the model. Searches whose
//! answer is known ([`Trial`]) are made in the collection itself, and two things are fitted to them:
//! - the probability that the first hit is the person, by logistic regression on cosine and margin
//!   (Platt, "Probabilistic Outputs for Support Vector Machines", 1999; with both features, since a rival
//!   close behind says more than the cosine alone), known and unknown people weighing the same;
//! - the share of unknown people who score at least so high: counted, and beyond the highest twentieth by
//!   an exponential tail with the mean excess found there (Pickands, "Statistical inference using
//!   extreme order statistics", Annals of Statistics 3(1), 1975, with shape 0).

mod trials;

use std::fmt;

pub use trials::trials_of;

/// Trials of each sort, known and unknown people, from which on a fit is worth anything.
pub const TRIALS_MIN: usize = 100;
/// A rival further behind than this says no more than one that is not there.
const MARGIN_MAX: f32 = 0.5;
/// The share of unknown people's scores that make the tail.
const TAIL_SHARE: usize = 20;
/// Newton's steps at most; it takes about ten.
const STEPS_MAX: usize = 50;
/// Keeps the weights finite where known and unknown people do not overlap at all; beside a mass of 2.
const RIDGE: f64 = 1e-5;

/// Whom a search whose truth is known was about, and whether it found them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// The person is there, and came first.
    Right,
    /// The person is there, and somebody else came first.
    Wrong,
    /// The person is not there.
    Unknown,
}

/// One search whose truth is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// Of the first hit, -1..=1.
    pub cosine: f32,
    /// How far behind the second one lies; anything large if there is none.
    pub margin: f32,
    /// What it should have said.
    pub truth: Truth,
}

/// Why nothing was fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{known} searches for known people and {unknown} for unknown ones; at least {TRIALS_MIN} of either are needed"
)]
pub struct TooFew {
    /// Of people who are there.
    pub known: usize,
    /// Of people who are not.
    pub unknown: usize,
}

/// How cosines are to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Confidence {
    /// Of one, the cosine and the margin.
    weights: [f64; 3],
    /// The best cosines of unknown people, ascending.
    unknown: Vec<f32>,
    /// Where the tail begins, and the mean excess over that.
    tail: (f32, f32),
}

impl Confidence {
    /// Fits to trials; those that are not finite are left out. Their order makes no difference.
    ///
    /// Cost: sorts the trials, and some ten passes over them.
    ///
    /// # Errors
    /// [`TooFew`].
    pub fn fit(trials: &[Trial]) -> Result<Self, TooFew> {
        let mut trials: Vec<Trial> = trials.to_vec();
        trials.retain(|trial| trial.cosine.is_finite() && !trial.margin.is_nan());
        // Sums of floats depend on their order.
        trials.sort_by(|a, b| {
            let key = |trial: &Trial| (trial.truth as u8, trial.cosine, trial.margin);
            let (a, b) = (key(a), key(b));
            (a.0.cmp(&b.0))
                .then(a.1.total_cmp(&b.1))
                .then(a.2.total_cmp(&b.2))
        });
        let strangers = trials.iter().filter(|trial| trial.truth == Truth::Unknown);
        let unknown: Vec<f32> = strangers.map(|trial| trial.cosine).collect();
        let known = trials.len() - unknown.len();
        if known < TRIALS_MIN || unknown.len() < TRIALS_MIN {
            return Err(TooFew {
                known,
                unknown: unknown.len(),
            });
        }
        Ok(Self {
            weights: regression(&trials, known, unknown.len()),
            tail: tail(&unknown),
            unknown,
        })
    }

    /// The probability that a first hit with this cosine, and a second one `margin` behind, is the
    /// person, 0..=1, where as many unknown people ask as known ones. Never less for a higher cosine or
    /// a wider margin.
    #[must_use]
    pub fn probability(&self, cosine: f32, margin: f32) -> f32 {
        let features = features(cosine, margin);
        let sum: f64 = features.iter().zip(self.weights).map(|(x, w)| x * w).sum();
        narrow(sigmoid(sum))
    }

    /// The share of unknown people whose best hit is at least this similar, 0..=1: the false positive
    /// identification rate (FPIR) of a threshold there. Never more for a higher cosine.
    #[must_use]
    pub fn false_positive_rate(&self, cosine: f32) -> f32 {
        let (from, excess) = self.tail;
        if cosine < from {
            let below = self.unknown.partition_point(|other| *other < cosine);
            return share(self.unknown.len() - below, self.unknown.len());
        }
        let above = self.unknown.len() - self.unknown.partition_point(|other| *other < from);
        share(above, self.unknown.len()) * (-(cosine - from) / excess).exp()
    }

    /// The lowest cosine, to a thousandth, at which at most `rate` of the unknown people are accepted.
    #[must_use]
    pub fn threshold(&self, rate: f32) -> f32 {
        let steps = (-1000_i16..=1000).map(|step| f32::from(step) / 1000.0);
        let mut above = steps.skip_while(|cosine| self.false_positive_rate(*cosine) > rate);
        above.next().unwrap_or(1.0)
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, cosine, margin] = self.weights;
        write!(
            f,
            "logit {one:.2} + {cosine:.2} cosine + {margin:.2} margin; 1 % of unknown people from {:.3} on",
            self.threshold(0.01)
        )
    }
}

fn features(cosine: f32, margin: f32) -> [f64; 3] {
    [1.0, cosine.into(), margin.clamp(0.0, MARGIN_MAX).into()]
}

/// Weights of a logistic regression, by Newton's method; those of cosine and margin are not negative.
fn regression(trials: &[Trial], known: usize, unknown: usize) -> [f64; 3] {
    let mut used = [true, true, true];
    loop {
        let weights = newton(trials, known, unknown, used);
        match (1..3).find(|at| used[*at] && weights[*at] < 0.0) {
            None => return weights,
            Some(negative) => used[negative] = false,
        }
    }
}

fn newton(trials: &[Trial], known: usize, unknown: usize, used: [bool; 3]) -> [f64; 3] {
    let (known, unknown) = (1.0 / wide(known), 1.0 / wide(unknown));
    let mut weights = [0.0; 3];
    for _ in 0..STEPS_MAX {
        let mut slope = weights.map(|weight| -RIDGE * weight);
        let mut bend = [[0.0; 3]; 3];
        for (at, row) in bend.iter_mut().enumerate() {
            row[at] = RIDGE;
        }
        for trial in trials {
            let x = features(trial.cosine, trial.margin);
            let (target, mass) = match trial.truth {
                Truth::Right => (1.0, known),
                Truth::Wrong => (0.0, known),
                Truth::Unknown => (0.0, unknown),
            };
            let sum: f64 = x.iter().zip(weights).map(|(x, w)| x * w).sum();
            let expected = sigmoid(sum);
            for a in 0..3 {
                slope[a] += mass * (target - expected) * x[a];
                for b in 0..3 {
                    bend[a][b] += mass * expected * (1.0 - expected) * x[a] * x[b];
                }
            }
        }
        for at in (0..3).filter(|at| !used[*at]) {
            slope[at] = 0.0;
            for row in &mut bend {
                row[at] = 0.0;
            }
            bend[at] = [0.0; 3];
            bend[at][at] = 1.0;
        }
        let step = solved(bend, slope);
        for (weight, step) in weights.iter_mut().zip(step) {
            *weight += step;
        }
        if step.iter().all(|step| step.abs() < 1e-9) {
            break;
        }
    }
    weights
}

/// The solution of three linear equations whose matrix is symmetric and positive definite.
fn solved(mut matrix: [[f64; 3]; 3], mut right: [f64; 3]) -> [f64; 3] {
    for at in 0..3 {
        for below in at + 1..3 {
            let upper = matrix[at];
            let factor = matrix[below][at] / upper[at];
            for (value, over) in matrix[below].iter_mut().zip(upper).skip(at) {
                *value -= factor * over;
            }
            right[below] -= factor * right[at];
        }
    }
    for at in (0..3).rev() {
        let rest: f64 = (at + 1..3)
            .map(|column| matrix[at][column] * right[column])
            .sum();
        right[at] = (right[at] - rest) / matrix[at][at];
    }
    right
}

/// Where the highest twentieth of ascending values begins, and by how much they exceed that on average.
fn tail(ascending: &[f32]) -> (f32, f32) {
    let from = ascending.len() - ascending.len() / TAIL_SHARE;
    let above = &ascending[from..];
    let from = ascending[from - 1];
    let excess: f64 = above.iter().map(|value| f64::from(value - from)).sum();
    // All the same: a step, as steep as numbers allow.
    (from, narrow((excess / wide(above.len())).max(1e-6)))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn share(part: usize, whole: usize) -> f32 {
    narrow(wide(part) / wide(whole))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of trials are far below 2^53"
)]
fn wide(count: usize) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "rounds to the nearest float; all are small"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests;

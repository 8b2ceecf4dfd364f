//! From which cosine on are two faces one person's? A threshold for a rate of false matches that
//! somebody can live with.

use serde::Serialize;

use super::{
    EvaluateError,
    bootstrap::{REPLICATES, resample},
    curve::{Cosines, Curve},
    features::compare_all,
    interval::Interval,
    neighbours::NeighbourRules,
    pairs::{Pair, cosines},
    sample::Sample,
};

mod manifest;

pub use manifest::{Written, snippet, write_manifest};

/// A threshold and what it comes to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// The false match rate that was asked for.
    pub wanted: f64,
    /// Two faces with at least this cosine are taken for one person's.
    pub threshold: f64,
    /// The false match rate of the labelled pairs there.
    pub false_match_rate: f64,
    /// Its 95 % interval.
    pub false_match_interval: Interval,
    /// The share of one person's pairs that is matched.
    pub true_match_rate: f64,
    /// Its 95 % interval.
    pub true_match_interval: Interval,
    /// How the intervals were made.
    pub interval_method: String,
    /// Pairs of one person that were compared.
    pub same_pairs: f64,
    /// Pairs of two people that were compared.
    pub different_pairs: f64,
    /// What the number of pairs says of it; empty if there are plenty.
    pub note: String,
}

/// From pairs that somebody has chosen. They count as independent.
///
/// # Errors
/// [`EvaluateError::TooFew`] unless there are pairs of both kinds, [`EvaluateError::Unresolvable`]
/// if they cannot show so low a rate.
pub fn from_pairs(pairs: &[Pair], wanted: f64) -> Result<(Calibration, Cosines), EvaluateError> {
    let cosines = cosines(pairs);
    let calibration = calibrate(&cosines, wanted)?;
    Ok((calibration, cosines))
}

/// From all pairs of labelled faces. As these share faces and people, the intervals are those that
/// drawing people anew gives, or those of independent pairs where these are wider.
///
/// Cost: all pairs twice.
///
/// # Errors
/// As [`from_pairs`].
pub fn from_gallery(
    sample: &Sample,
    wanted: f64,
    across_tracks: bool,
    seed: u64,
) -> Result<(Calibration, Cosines), EvaluateError> {
    // Nothing is asked of neighbours here.
    let rules = NeighbourRules {
        nearest: 2,
        thresholds: Vec::new(),
    };
    let features = compare_all(sample, &rules, across_tracks);
    let mut calibration = calibrate(&features.cosines, wanted)?;
    match resample(sample, calibration.threshold, across_tracks, seed) {
        Some(resampled) => {
            let interval = &mut calibration.false_match_interval;
            *interval = interval.with(resampled.far);
            let interval = &mut calibration.true_match_interval;
            *interval = interval.with(resampled.tar);
            let units = if resampled.groups == sample.labels.len() {
                format!("{} people", resampled.groups)
            } else {
                format!(
                    "{} groups of {} people",
                    resampled.groups,
                    sample.labels.len()
                )
            };
            calibration.interval_method = format!(
                "the wider of: {REPLICATES} bootstrap draws of {units}; independent pairs (Clopper-Pearson for false, Wilson for true matches)"
            );
        }
        None => {
            let people = sample.labels.len();
            let why = format!(
                "; {people} people are too few to draw anew, so it is too narrow: pairs share people"
            );
            calibration.interval_method.push_str(&why);
        }
    }
    Ok((calibration, features.cosines))
}

fn calibrate(cosines: &Cosines, wanted: f64) -> Result<Calibration, EvaluateError> {
    let curve = Curve::of(cosines).ok_or_else(|| {
        let why = format!(
            "{} pairs of one person and {} of two; both are needed",
            cosines.same_pairs, cosines.different_pairs
        );
        EvaluateError::TooFew(why)
    })?;
    let found = curve.at_far(wanted);
    let Some(point) = found.point else {
        return Err(EvaluateError::Unresolvable(found.note));
    };
    Ok(Calibration {
        wanted,
        threshold: point.threshold,
        false_match_rate: point.far,
        false_match_interval: point.far_interval,
        true_match_rate: point.tar,
        true_match_interval: point.tar_interval,
        interval_method:
            "independent pairs: Clopper-Pearson for false matches, Wilson for true ones".into(),
        same_pairs: cosines.same_pairs,
        different_pairs: cosines.different_pairs,
        note: found.note,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{faceset::FaceSet, random::Random};
    use rollcall_index::{Embedding, vectors::Known};

    #[test]
    fn a_rate_that_pairs_cannot_show_is_refused() {
        let pair = |cosine: f32, same: bool| Pair {
            cosine,
            same,
            fold: 0,
        };
        let mut pairs: Vec<Pair> = (0_u8..100)
            .map(|at| pair(f32::from(at) / 200.0, false))
            .collect();
        pairs.extend([pair(0.9, true), pair(0.3, true)]);
        let (found, _) = from_pairs(&pairs, 0.02).unwrap();
        assert!((found.threshold - 0.4851).abs() < 2e-4, "{found:?}");
        assert_eq!((found.false_match_rate, found.true_match_rate), (0.02, 0.5));
        assert!(found.false_match_interval.low > 0.0 && found.false_match_interval.high > 0.06);
        assert!(found.note.contains("about 2 pairs"));
        let why = from_pairs(&pairs, 1e-3).unwrap_err().to_string();
        assert!(
            why.starts_with("UNRESOLVABLE: 100 pairs of two people")
                && why.contains("1000 at least"),
            "{why}"
        );
        let why = from_pairs(&pairs[..5], 0.5).unwrap_err().to_string();
        assert!(
            why.starts_with("TOO_FEW: 0 pairs of one person and 5 of two"),
            "{why}"
        );
    }

    #[test]
    fn people_who_share_a_look_widen_the_interval() {
        // Two of forty people look alike, and each is there twenty times.
        let mut random = Random::new(3);
        let mut noise = move || (random.below(2001) as f32 - 1000.0) / 1000.0;
        let (mut faces, mut labels) = (FaceSet::new(48), Vec::new());
        for person in 0_usize..40 {
            for _ in 0..20 {
                let mut values: Vec<f32> = (0..48).map(|_| 0.1 * noise()).collect();
                values[person.max(1)] += 1.0;
                faces.push(&Embedding::normalise(values).unwrap(), Known::default());
                labels.push(Some(i64::try_from(person).unwrap()));
            }
        }
        let sample = Sample::of(&faces, &labels, 10_000, 1).unwrap();
        let (found, _) = from_gallery(&sample, 1e-3, false, 1).unwrap();
        // One pair of people in 780 looks alike.
        assert!(found.false_match_rate <= 1e-3);
        assert!(
            found
                .interval_method
                .contains("bootstrap draws of 40 people")
        );
        let Interval { low, high } = found.false_match_interval;
        assert!(low < 1e-5 && high > 2.0 / 780.0, "{low} {high}");
    }
}

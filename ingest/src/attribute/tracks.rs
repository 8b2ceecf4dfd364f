//! From what exemplars say to what a track says.

use std::collections::{BTreeMap, HashMap};

use super::{Attribute, Classifier, KeptFace, Reading};
use crate::{
    detect::InferError,
    model::AttributeSpec,
    number::to_f32,
    observe::{ObservedExemplar, TrackKey, TrackObservation},
    photo::{self, PhotoLimits},
};

/// Reads attributes off the exemplars of tracks as they are reported, and puts them together.
///
/// An exemplar is read once, from the crop that is kept of it, so attributes are a function of what
/// is reported and of nothing else. Keeps the readings of open tracks: at most as many as these
/// have exemplars.
#[derive(Default)]
pub struct TrackAttributes {
    classifiers: Vec<Box<dyn Classifier>>,
    tracks: HashMap<TrackKey, BTreeMap<u32, FaceReadings>>,
}

/// What one exemplar says: a reading an attribute, those of the first classifier first.
struct FaceReadings {
    quality: f32,
    readings: Vec<Option<Reading>>,
}

impl TrackAttributes {
    /// Nothing is read if there are no `classifiers`.
    #[must_use]
    pub fn new(classifiers: Vec<Box<dyn Classifier>>) -> Self {
        Self {
            classifiers,
            tracks: HashMap::new(),
        }
    }

    /// Whether there are classifiers.
    #[must_use]
    pub fn are_wanted(&self) -> bool {
        !self.classifiers.is_empty()
    }

    /// Fills in `track.attributes` if its exemplars have changed; otherwise they stay empty, which
    /// says that nothing has changed. Observations of a track come in order.
    ///
    /// Cost: what the classifiers take for each new exemplar, and one JPEG decoded.
    ///
    /// # Errors
    /// [`InferError`] when a model cannot be run.
    pub fn fill(&mut self, track: &mut TrackObservation) -> Result<(), InferError> {
        if !self.are_wanted() {
            return Ok(());
        }
        let changed = !track.exemplars.is_empty() || !track.dropped_exemplars.is_empty();
        let mut faces = self.tracks.remove(&track.key).unwrap_or_default();
        for number in &track.dropped_exemplars {
            faces.remove(number);
        }
        for exemplar in &track.exemplars {
            faces.insert(exemplar.number, self.read(exemplar)?);
        }
        if changed {
            track.attributes = self.put_together(&faces);
        }
        if !track.closed {
            self.tracks.insert(track.key, faces);
        }
        Ok(())
    }

    fn read(&mut self, exemplar: &ObservedExemplar) -> Result<FaceReadings, InferError> {
        let mut readings = Vec::new();
        match photo::decode(&exemplar.loose_crop, &PhotoLimits::default()) {
            Ok(loose) => {
                let face = exemplar.in_loose_crop;
                let kept = KeptFace { loose, face };
                for classifier in &mut self.classifiers {
                    readings.extend(classifier.read(&kept)?);
                }
            }
            Err(why) => tracing::debug!(%why, "a crop could not be read for its attributes"),
        }
        let quality = exemplar.quality;
        Ok(FaceReadings { quality, readings })
    }

    fn put_together(&self, faces: &BTreeMap<u32, FaceReadings>) -> Vec<Attribute> {
        let specs = self.classifiers.iter().flat_map(|c| c.attributes());
        let of = |(at, spec): (usize, &AttributeSpec)| {
            let all = faces.values().filter_map(|face| {
                let reading = face.readings.get(at)?.as_ref()?;
                // A face of no quality counts for little, and still counts.
                Some((reading, f64::from(face.quality.max(0.01))))
            });
            summary(spec, &all.collect::<Vec<_>>())
        };
        specs.enumerate().filter_map(of).collect()
    }
}

/// The weighted mean of readings; `None` if there are none.
fn summary(spec: &AttributeSpec, faces: &[(&Reading, f64)]) -> Option<Attribute> {
    let numbers = |pick: &dyn Fn(&Reading) -> Option<f32>| {
        let all = faces
            .iter()
            .map(|(reading, weight)| Some((pick(reading)?, *weight)));
        mean_and_spread(&all.collect::<Option<Vec<_>>>()?)
    };
    let (label, (value, spread)) = if spec.labels.is_empty() {
        let number = |reading: &Reading| match reading {
            Reading::Number(value) => Some(*value),
            Reading::Labels(_) => None,
        };
        (String::new(), numbers(&number)?)
    } else {
        let of_label = |at: usize| {
            numbers(&|reading: &Reading| match reading {
                Reading::Labels(values) => values.get(at).copied(),
                Reading::Number(_) => None,
            })
        };
        let all: Vec<(f32, f32)> = (0..spec.labels.len())
            .map(of_label)
            .collect::<Option<_>>()?;
        let best = match spec.threshold {
            Some(threshold) => usize::from(all.get(1)?.0 >= threshold),
            // The first of equals.
            None => (1..all.len()).fold(0, |b, at| if all[at].0 > all[b].0 { at } else { b }),
        };
        (spec.labels.get(best)?.clone(), *all.get(best)?)
    };
    Some(Attribute {
        name: spec.name.clone(),
        label,
        value,
        spread,
        faces: u32::try_from(faces.len()).unwrap_or(u32::MAX),
        unit: spec.unit.clone(),
    })
}

fn mean_and_spread(values: &[(f32, f64)]) -> Option<(f32, f32)> {
    let weights: f64 = values.iter().map(|(_, weight)| weight).sum();
    if values.is_empty() || weights <= 0.0 {
        return None;
    }
    let sum = values.iter().map(|(v, weight)| f64::from(*v) * weight);
    let mean = sum.sum::<f64>() / weights;
    let squares = values
        .iter()
        .map(|(v, weight)| (f64::from(*v) - mean).powi(2) * weight);
    let spread = (squares.sum::<f64>() / weights).sqrt();
    Some((to_f32(mean), to_f32(spread)))
}

#[cfg(test)]
mod tests;

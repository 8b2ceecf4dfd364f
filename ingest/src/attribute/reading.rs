//! From a model's numbers to what they mean. Pure functions; wild numbers give `None`.

use crate::{
    model::{AttributeSpec, ReadingKind},
    number::to_f32,
};

/// What one face says about one attribute. All values are finite.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A probability for each label, in the order of the labels; their sum is 1 (to 1e-3).
    Labels(Vec<f32>),
    /// A number within the attribute's range.
    Number(f32),
}

impl Reading {
    /// Reads `spec` off its tensors, in their order.
    pub(super) fn of(spec: &AttributeSpec, tensors: &[&[f32]]) -> Option<Self> {
        let first = *tensors.first()?;
        let labels = |values: Vec<f32>| {
            let sum: f32 = values.iter().sum();
            let sound = values.len() == spec.labels.len() && (sum - 1.0).abs() < 1e-3;
            (sound && values.iter().all(|p| *p >= 0.0)).then_some(Self::Labels(values))
        };
        let raw = match spec.reading {
            ReadingKind::Softmax => return labels(softmax(first)?),
            ReadingKind::Probabilities => return labels(first.to_vec()),
            ReadingKind::Expectation => expectation(first)?,
            ReadingKind::Regression => match first {
                [value] => *value,
                _ => return None,
            },
            ReadingKind::Ssrnet => ssrnet(tensors)?,
        };
        let [least, most] = spec.range?;
        let value = raw * spec.scale + spec.offset;
        if !value.is_finite() {
            return None;
        }
        let value = value.clamp(least, most);
        Some(if spec.labels.is_empty() {
            Self::Number(value)
        } else {
            Self::Labels(vec![1.0 - value, value])
        })
    }

    /// The mean of readings off several parts of a face; `None` unless all are there and alike.
    pub(super) fn mean(all: &[Option<Self>]) -> Option<Self> {
        let count = u16::try_from(all.len()).ok().map(f32::from)?;
        let (first, rest) = all.split_first()?;
        let mut sum = first.clone()?;
        for other in rest {
            match (&mut sum, other.as_ref()?) {
                (Self::Number(a), Self::Number(b)) => *a += b,
                (Self::Labels(a), Self::Labels(b)) if a.len() == b.len() => {
                    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
                }
                _ => return None,
            }
        }
        match &mut sum {
            Self::Number(value) => *value /= count,
            Self::Labels(values) => values.iter_mut().for_each(|v| *v /= count),
        }
        Some(sum)
    }
}

/// Probabilities from logits: `exp(v) / sum(exp(v))`. `None` if there are none, or one is not
/// finite.
#[must_use]
pub fn softmax(logits: &[f32]) -> Option<Vec<f32>> {
    if logits.is_empty() || logits.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let raised: Vec<f64> = logits
        .iter()
        .map(|v| (f64::from(*v) - f64::from(most)).exp())
        .collect();
    let sum: f64 = raised.iter().sum();
    Some(raised.iter().map(|v| to_f32(v / sum)).collect())
}

/// The mean number of a bin, counted from 0, after [`softmax`]: how Hopenet reads angles (Ruiz,
/// Chong and Rehg, "Fine-Grained Head Pose Estimation Without Keypoints", CVPR Workshops 2018).
#[must_use]
pub fn expectation(logits: &[f32]) -> Option<f32> {
    let probabilities = softmax(logits)?;
    let weighted = (0u16..).zip(&probabilities);
    Some(to_f32(
        weighted.map(|(i, p)| f64::from(i) * f64::from(*p)).sum(),
    ))
}

/// What the nine tensors of SSR-Net come to, before its scale (Yang et al., "SSR-Net: A Compact
/// Soft Stagewise Regression Network for Age Estimation", IJCAI 2018): for each stage `k` of `s`
/// bins, `sum((i + offset[i]) * p[i]) / prod(s * (1 + delta))`, the product going over the stages
/// up to `k`; stages are summed.
///
/// `tensors`: the three stages' probabilities, their deltas (one value each), their offsets. `None`
/// if sizes do not fit or the outcome is not finite.
#[must_use]
pub fn ssrnet(tensors: &[&[f32]]) -> Option<f32> {
    let [p1, p2, p3, d1, d2, d3, o1, o2, o3] = tensors else {
        return None;
    };
    let (mut total, mut width) = (0.0, 1.0);
    for (bins, delta, offsets) in [(p1, d1, o1), (p2, d2, o2), (p3, d3, o3)] {
        let ([delta], true) = (delta, bins.len() == offsets.len()) else {
            return None;
        };
        let count = u16::try_from(bins.len()).ok()?;
        width *= f64::from(count) * (1.0 + f64::from(*delta));
        let stage = (0..count)
            .zip(bins.iter().zip(*offsets))
            .map(|(i, (p, offset))| (f64::from(i) + f64::from(*offset)) * f64::from(*p));
        total += stage.sum::<f64>() / width;
    }
    let total = to_f32(total);
    total.is_finite().then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClassifierManifest;
    use proptest::prelude::*;

    fn spec(text: &str, at: usize) -> AttributeSpec {
        ClassifierManifest::parse(text).unwrap().output.attributes[at].clone()
    }

    fn near(found: Option<Reading>, expected: &Reading) {
        let values = |reading: &Reading| match reading {
            Reading::Number(value) => vec![*value],
            Reading::Labels(values) => values.clone(),
        };
        let (found, expected) = (values(&found.unwrap()), values(expected));
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-4, "{found:?}, not {expected:?}");
        }
    }

    const AGE: &str = include_str!("../../models/ssrnet-age.toml");
    const GENDER: &str = include_str!("../../models/ssrnet-gender.toml");
    const POSE: &str = include_str!("../../models/shufflenet-pose.toml");
    const EYES: &str = include_str!("../../models/eye-state.toml");

    #[test]
    fn ssrnet_adds_up_its_stages() {
        // Stage 1: (1 + 0.5) * 1 / (3 * 1.2); stage 2: (2 - 0.5) * 0.5 over that times (3 * 0.8);
        // stage 3: 0.
        let (one, half, none) = ([0.0, 1.0, 0.0], [0.0, 0.0, 0.5], [0.0; 3]);
        let tensors: [&[f32]; 9] = [
            &one,
            &half,
            &none,
            &[0.2],
            &[-0.2],
            &[0.0],
            &[0.0, 0.5, 0.0],
            &[0.0, 0.0, -0.5],
            &none,
        ];
        let by_hand = 1.5 / 3.6 + 0.75 / (3.6 * 2.4);
        assert!((ssrnet(&tensors).unwrap() - by_hand).abs() < 1e-6);
        near(
            Reading::of(&spec(AGE, 0), &tensors),
            &Reading::Number(101.0 * by_hand),
        );
        near(
            Reading::of(&spec(GENDER, 0), &tensors),
            &Reading::Labels(vec![1.0 - by_hand, by_hand]),
        );
    }

    #[test]
    fn a_step_of_no_width_is_no_number() {
        let tensors: [&[f32]; 9] = [
            &[1.0; 3],
            &[1.0; 3],
            &[1.0; 3],
            &[-1.0],
            &[0.0],
            &[0.0],
            &[0.0; 3],
            &[0.0; 3],
            &[0.0; 3],
        ];
        assert_eq!(ssrnet(&tensors), None);
    }

    #[test]
    fn bins_give_their_mean() {
        let mut bins = [-1000.0f32; 66];
        bins[30] = 0.0;
        bins[40] = 0.0;
        // (30 + 40) / 2 * 3 - 99
        near(Reading::of(&spec(POSE, 0), &[&bins]), &Reading::Number(6.0));
    }

    #[test]
    fn logits_give_probabilities() {
        // exp(0) and exp(ln 3): a quarter and three quarters.
        let found = Reading::of(&spec(EYES, 0), &[&[0.0, 3f32.ln()]]);
        near(found, &Reading::Labels(vec![0.25, 0.75]));
        assert_eq!(softmax(&[1e30, 0.0]).unwrap(), [1.0, 0.0]);
        assert_eq!(Reading::of(&spec(EYES, 0), &[&[0.0; 3]]), None);
    }

    #[test]
    fn plain_numbers_are_scaled_and_kept_in_range() {
        let regression = AttributeSpec {
            reading: ReadingKind::Regression,
            scale: 10.0,
            offset: 1.0,
            range: Some([0.0, 20.0]),
            ..spec(AGE, 0)
        };
        let read = |values: &[f32]| Reading::of(&regression, &[values]);
        assert_eq!(read(&[0.5]), Some(Reading::Number(6.0)));
        assert_eq!(read(&[99.0]), Some(Reading::Number(20.0)));
        assert_eq!(read(&[0.5, 0.5]), None);
        let given = AttributeSpec {
            reading: ReadingKind::Probabilities,
            ..spec(EYES, 0)
        };
        let read = |values: &[f32]| Reading::of(&given, &[values]);
        assert_eq!(read(&[0.5, 0.5]), Some(Reading::Labels(vec![0.5, 0.5])));
        assert_eq!(read(&[0.5, 0.9]), None);
        assert_eq!(read(&[-0.5, 1.5]), None);
    }

    #[test]
    fn parts_of_a_face_are_averaged() {
        let labels = |a: f32| Some(Reading::Labels(vec![a, 1.0 - a]));
        let mean = Reading::mean(&[labels(0.5), labels(1.0)]);
        near(mean, &Reading::Labels(vec![0.75, 0.25]));
        let numbers = [Some(Reading::Number(1.0)), Some(Reading::Number(4.0))];
        assert_eq!(Reading::mean(&numbers), Some(Reading::Number(2.5)));
        assert_eq!(Reading::mean(&[labels(0.5), None]), None);
        assert_eq!(Reading::mean(&[]), None);
    }

    proptest! {
        #[test]
        fn wild_numbers_never_panic_and_never_come_out(
            values in prop::collection::vec(any::<f32>(), 0..70),
            pieces in 0usize..12,
        ) {
            for spec in [spec(AGE, 0), spec(GENDER, 0), spec(POSE, 0), spec(EYES, 0)] {
                let size = values.len() / pieces.max(1) + 1;
                let tensors: Vec<&[f32]> = values.chunks(size).collect();
                match Reading::of(&spec, &tensors) {
                    None => {}
                    Some(Reading::Number(value)) => {
                        let [least, most] = spec.range.unwrap();
                        prop_assert!((least..=most).contains(&value));
                    }
                    Some(Reading::Labels(values)) => {
                        prop_assert!(values.iter().all(|p| (0.0..=1.0).contains(p)));
                    }
                }
            }
        }
    }
}

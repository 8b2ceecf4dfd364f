//! What is fitted, on trials drawn from laws that are known.

use super::*;
use proptest::prelude::*;
use rollcall_index::{Embedding, FaceId, Filter, IdentityId, SourceId, TrackId};

/// Numbers from 0 to 1 that look random and are the same each time.
fn uniform(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(state >> 48).unwrap()) / 65_536.0
    }
}

/// Nearly normal: a sum of twelve.
fn normal(next: &mut impl FnMut() -> f32, mean: f32, deviation: f32) -> f32 {
    let sum: f32 = (0..12).map(|_| next()).sum();
    mean + deviation * (sum - 6.0)
}

/// Known people score 0.6, one in ten of them wrongly named; unknown ones 0.35.
fn trials(count: usize, seed: u64) -> Vec<Trial> {
    let mut next = uniform(seed);
    let mut all = Vec::new();
    for at in 0..count {
        let wrong = at % 10 == 0;
        all.push(Trial {
            cosine: normal(&mut next, if wrong { 0.4 } else { 0.6 }, 0.1),
            margin: if wrong { 0.02 } else { 0.2 } * next(),
            truth: if wrong { Truth::Wrong } else { Truth::Right },
        });
        all.push(Trial {
            cosine: normal(&mut next, 0.35, 0.05),
            margin: 0.04 * next(),
            truth: Truth::Unknown,
        });
    }
    all
}

#[test]
fn probabilities_are_those_of_the_law() {
    let fitted = Confidence::fit(&trials(2000, 1)).unwrap();
    let unseen = trials(2000, 2);
    let mut bins = [0.0_f32; 10];
    for tenth in 0..10_u8 {
        let from = f32::from(tenth) / 10.0;
        for trial in &unseen {
            let said = fitted.probability(trial.cosine, trial.margin);
            if said >= from && (said < from + 0.1 || tenth == 9) {
                bins[usize::from(tenth)] += said - f32::from(u8::from(trial.truth == Truth::Right));
            }
        }
    }
    let off = bins.iter().map(|bin| bin.abs()).sum::<f32>() / unseen.len() as f32;
    assert!(off < 0.03, "on average {off} off");
    assert!(fitted.probability(0.7, 0.3) > 0.98);
    assert!(fitted.probability(0.3, 0.0) < 0.02);
}

#[test]
fn unknown_people_are_accepted_as_often_as_is_said() {
    let fitted = Confidence::fit(&trials(2000, 3)).unwrap();
    let unseen = trials(20_000, 4);
    let strangers = unseen.iter().filter(|trial| trial.truth == Truth::Unknown);
    let strangers: Vec<f32> = strangers.map(|trial| trial.cosine).collect();
    for (rate, slack) in [(0.5, 0.04), (0.1, 0.02), (0.01, 0.005), (0.001, 0.001)] {
        let threshold = fitted.threshold(rate);
        let accepted = strangers
            .iter()
            .filter(|cosine| **cosine >= threshold)
            .count();
        let accepted = accepted as f32 / strangers.len() as f32;
        assert!(
            (accepted - rate).abs() < slack,
            "{rate}: {accepted} from {threshold} on"
        );
    }
}

#[test]
fn too_few_trials_are_refused_with_their_numbers() {
    let mut few = trials(150, 5);
    few.retain(|trial| trial.truth != Truth::Unknown || trial.cosine > 0.4);
    let error = Confidence::fit(&few).unwrap_err();
    assert_eq!(error.known, 150);
    assert!(error.unknown < TRIALS_MIN);
    assert!(
        error
            .to_string()
            .starts_with("150 searches for known people"),
        "{error}"
    );
}

#[test]
fn people_who_are_worlds_apart_give_finite_numbers() {
    let far = |truth, cosine| Trial {
        cosine,
        margin: 2.0,
        truth,
    };
    let all: Vec<Trial> = (0..200)
        .flat_map(|_| [far(Truth::Right, 0.9), far(Truth::Unknown, 0.1)])
        .collect();
    let fitted = Confidence::fit(&all).unwrap();
    assert!(fitted.probability(0.9, 2.0) > 0.9);
    assert!(fitted.probability(0.1, 2.0) < 0.1);
    assert_eq!(fitted.false_positive_rate(0.05), 1.0);
    assert!(fitted.false_positive_rate(0.2) < 1e-6);
}

proptest! {
    #[test]
    fn more_similar_is_never_less_sure(
        found in prop::collection::vec((-1.0_f32..1.0, 0.0_f32..2.0, 0_u8..3), 0..600),
        a in -1.0_f32..1.0, b in -1.0_f32..1.0, margin in 0.0_f32..1.0,
    ) {
        let truth = |kind| match kind { 0 => Truth::Right, 1 => Truth::Wrong, _ => Truth::Unknown };
        let trials: Vec<Trial> = found.iter()
            .map(|(cosine, margin, kind)| Trial { cosine: *cosine, margin: *margin, truth: truth(*kind) })
            .collect();
        let Ok(fitted) = Confidence::fit(&trials) else { return Ok(()) };
        let (low, high) = (a.min(b), a.max(b));
        prop_assert!(fitted.probability(low, margin) <= fitted.probability(high, margin));
        prop_assert!(fitted.probability(high, 0.0) <= fitted.probability(high, margin));
        prop_assert!(fitted.false_positive_rate(low) >= fitted.false_positive_rate(high));
        for value in [fitted.probability(low, margin), fitted.false_positive_rate(low)] {
            prop_assert!((0.0..=1.0).contains(&value));
        }
        let mut turned = trials;
        turned.reverse();
        prop_assert_eq!(Confidence::fit(&turned).unwrap(), fitted);
    }
}

/// People of four tracks each, around axes of their own.
fn gallery(people: u64) -> rollcall_index::Index {
    let mut index = rollcall_index::Index::new(64);
    let mut next = uniform(7);
    let mut operations = Vec::new();
    for person in 1..=people {
        for track in 0..4 {
            let id = person * 4 + track;
            let mut values: Vec<f32> = (0..64).map(|_| 0.1 * (next() - 0.5)).collect();
            values[usize::try_from(person % 60).unwrap()] += 1.0;
            operations.push(rollcall_index::Operation::Insert {
                face: FaceId::new(id),
                identity: IdentityId::new(person),
                track: TrackId::new(id),
                source: SourceId::new(1),
                seen_us: 0,
                quality: 1.0,
                attributes: 0,
                embedding: Embedding::normalise(values).unwrap(),
            });
        }
    }
    index.apply(1, &operations).unwrap();
    index
}

#[test]
fn an_identity_is_asked_about_with_itself_and_without() {
    let index = gallery(3);
    let trials = trials_of(index.newest(), IdentityId::new(2), &Filter::default()).unwrap();
    let [known, unknown] = trials[..] else {
        panic!("{trials:?}")
    };
    assert_eq!((known.truth, unknown.truth), (Truth::Right, Truth::Unknown));
    assert!(known.cosine > 0.8 && known.margin > 0.5, "{known:?}");
    assert!(unknown.cosine < 0.3, "{unknown:?}");
    let nobody = trials_of(index.newest(), IdentityId::new(9), &Filter::default()).unwrap();
    assert_eq!(nobody, []);
    let alone = trials_of(gallery(1).newest(), IdentityId::new(1), &Filter::default()).unwrap();
    assert_eq!(alone.len(), 1, "there is nobody else: {alone:?}");
}

#[test]
fn somebody_who_is_there_twice_has_a_rival_close_behind() {
    // 1 and 61 lie around the same axis.
    let index = gallery(61);
    for person in [1, 61] {
        let trials =
            trials_of(index.newest(), IdentityId::new(person), &Filter::default()).unwrap();
        let [known, unknown] = trials[..] else {
            panic!("{trials:?}")
        };
        assert!(known.margin < 0.1, "{known:?}");
        assert!(unknown.cosine > 0.8, "{unknown:?}");
    }
}

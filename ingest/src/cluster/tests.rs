//! The rule, case by case and over whatever may be asked of it.

use super::*;
use proptest::prelude::*;

const RULES_FROM: f32 = 0.40;

fn rules() -> AssignRules {
    AssignRules::for_contract(RULES_FROM)
}

fn basis(tracks: u32) -> Basis {
    Basis::new(tracks, 6 * tracks)
}

fn candidate(identity: u64, similarity: f32, tracks: u32) -> Candidate {
    Candidate {
        identity: IdentityId::new(identity),
        similarity,
        basis: basis(tracks),
        here: 0,
        on_screen: false,
        barred: false,
    }
}

fn question(candidates: Vec<Candidate>) -> Question {
    Question {
        track: basis(1),
        poor: false,
        current: None,
        candidates,
        alike: Vec::new(),
        people: 100,
        sources: 4,
    }
}

fn current(identity: u64, similarity: Option<f32>, pinned: bool) -> Option<Current> {
    let rest = |similarity| Rest {
        similarity,
        basis: basis(3),
        here: 0,
    };
    Some(Current {
        identity: IdentityId::new(identity),
        rest: similarity.map(rest),
        pinned,
    })
}

fn joined(verdict: &Verdict) -> Option<u64> {
    match &verdict.choice {
        Choice::Join { identity, .. } => Some(identity.get()),
        Choice::Keep | Choice::New | Choice::Ambiguous { .. } => None,
    }
}

fn decided(question: &Question) -> Verdict {
    decide(question, &rules())
}

#[test]
fn whoever_is_clearly_most_similar_is_joined() {
    let verdict = decided(&question(vec![
        candidate(1, 0.65, 10),
        candidate(2, 0.2, 10),
    ]));
    assert_eq!(joined(&verdict), Some(1));
    assert_eq!(verdict.reason, Reason::AboveThreshold);
    let nobody = decided(&question(vec![candidate(1, 0.2, 10)]));
    assert_eq!(
        (nobody.choice, nobody.reason),
        (Choice::New, Reason::NobodyClose)
    );
}

#[test]
fn parts_of_one_person_are_no_rivals_and_two_people_are() {
    let close = vec![candidate(1, 0.62, 3), candidate(2, 0.60, 3)];
    let verdict = decided(&question(close.clone()));
    let Choice::Ambiguous { between } = &verdict.choice else {
        panic!("{verdict:?}")
    };
    let between: Vec<u64> = between.iter().map(|near| near.identity.get()).collect();
    assert_eq!(between, [1, 2]);
    assert_eq!(verdict.reason, Reason::TooCloseToCall);
    let alike = Alike {
        one: IdentityId::new(2),
        other: IdentityId::new(1),
        similarity: 0.7,
    };
    let told = Question {
        alike: vec![alike],
        ..question(close)
    };
    assert_eq!(joined(&decided(&told)), Some(1));
}

#[test]
fn what_people_say_comes_first() {
    let barred = Candidate {
        barred: true,
        ..candidate(1, 0.9, 10)
    };
    assert_eq!(decided(&question(vec![barred])).choice, Choice::New);
    let pinned = Question {
        current: current(2, None, true),
        ..question(vec![candidate(1, 0.9, 10)])
    };
    assert_eq!(decided(&pinned).choice, Choice::Keep);
    let free = Question {
        current: current(2, None, false),
        ..pinned
    };
    let verdict = decided(&free);
    assert_eq!(
        (joined(&verdict), verdict.absorbs_previous),
        (Some(1), true)
    );
}

#[test]
fn a_track_that_turns_out_unlike_its_identity_leaves_it() {
    let of = |similarity, pinned, poor, candidates| {
        let asked = Question {
            current: current(2, Some(similarity), pinned),
            poor,
            ..question(candidates)
        };
        let verdict = decided(&asked);
        (verdict.choice, verdict.reason)
    };
    let left = (Choice::New, Reason::NoLongerAlike);
    assert_eq!(of(0.05, false, false, Vec::new()), left);
    let kept = (Choice::Keep, Reason::Unchanged);
    assert_eq!(of(0.4, false, false, Vec::new()), kept);
    assert_eq!(of(0.05, true, false, Vec::new()), kept, "somebody said so");
    assert_eq!(of(0.05, false, true, Vec::new()), kept, "poor faces");
    let (choice, _) = of(0.05, false, false, vec![candidate(1, 0.6, 3)]);
    assert!(matches!(choice, Choice::Join { .. }));
}

#[test]
fn whoever_is_on_screen_is_somebody_else_unless_the_same_to_the_eye() {
    let beside = |similarity| Candidate {
        on_screen: true,
        ..candidate(1, similarity, 10)
    };
    let verdict = decided(&question(vec![beside(0.6)]));
    assert_eq!(
        (verdict.choice, verdict.reason),
        (Choice::New, Reason::SameFrame)
    );
    assert_eq!(joined(&decided(&question(vec![beside(0.8)]))), Some(1));
}

#[test]
fn more_is_asked_of_poor_tracks_and_in_a_crowd_and_less_where_somebody_is_at_home() {
    // The least that is enough.
    let needed = |question: &dyn Fn(f32) -> Question| {
        let enough = |step: &u16| joined(&decided(&question(f32::from(*step) / 1000.0))).is_some();
        (0..1000_u16).find(enough).unwrap()
    };
    let plain = needed(&|similarity| question(vec![candidate(1, similarity, 4)]));
    let poor = needed(&|similarity| Question {
        poor: true,
        ..question(vec![candidate(1, similarity, 4)])
    });
    let crowd = needed(&|similarity| Question {
        people: 100_000,
        ..question(vec![candidate(1, similarity, 4)])
    });
    let home = needed(&|similarity| {
        let here = Candidate {
            here: 4,
            ..candidate(1, similarity, 4)
        };
        question(vec![here])
    });
    assert!(
        home <= plain && plain < poor && plain < crowd,
        "{home} {plain} {poor} {crowd}"
    );
    assert!(f32::from(home) / 1000.0 >= rules().floor);
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let one = (
        1..6_u64,
        -1.0_f32..1.0,
        1..40_u32,
        0..3_u32,
        any::<[bool; 2]>(),
    );
    let one = one.prop_map(
        |(id, similarity, tracks, here, [on_screen, barred])| Candidate {
            here,
            on_screen,
            barred,
            ..candidate(id, similarity, tracks)
        },
    );
    prop::collection::vec(one, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_makes_no_difference_and_nobody_barred_or_dissimilar_is_joined(
        candidates in candidates(),
        own in prop::option::of((1..6_u64, prop::option::of(-1.0_f32..1.0), any::<bool>())),
        turn in 0..8_usize,
    ) {
        let asked = Question {
            current: own.and_then(|(id, similarity, pinned)| current(id, similarity, pinned)),
            ..question(candidates)
        };
        let verdict = decided(&asked);
        let mut turned = asked.clone();
        let count = turned.candidates.len().max(1);
        let by = if turned.candidates.is_empty() { 0 } else { turn % count };
        turned.candidates.rotate_left(by);
        turned.candidates.reverse();
        prop_assert_eq!(&decided(&turned), &verdict);
        match &verdict.choice {
            Choice::Join { identity, similarity } => {
                prop_assert!(*similarity >= rules().floor);
                let barred = asked.candidates.iter().any(|it| it.identity == *identity && it.barred);
                prop_assert!(!barred);
                prop_assert!(asked.current.is_none_or(|own| own.identity != *identity && !own.pinned));
            }
            Choice::Keep => prop_assert!(asked.current.is_some()),
            Choice::New | Choice::Ambiguous { .. } => {
                // Only who is unlike what they were in leaves it for something of their own.
                let leaves = |own: Current| !own.pinned && own.rest.is_some_and(|rest| rest.similarity < 0.5);
                prop_assert!(asked.current.is_none_or(leaves));
            }
        }
        if let Choice::Ambiguous { between } = &verdict.choice {
            prop_assert!(between.len() > 1);
        }
        prop_assert!(!verdict.absorbs_previous || asked.current.is_some_and(|own| own.rest.is_none()));
    }
}

#[test]
fn the_manual_names_every_reason_of_a_decision() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let manual = std::fs::read_to_string(root.join("../docs/errors.md")).unwrap();
    // Reasons are the only UPPER_SNAKE literals of that file.
    let literals = include_str!("verdict.rs").split('"').skip(1).step_by(2);
    let reasons = literals.map(|reason| format!("| `{reason}` |"));
    let missing: Vec<String> = reasons.filter(|reason| !manual.contains(reason)).collect();
    assert_eq!(missing, [""; 0]);
}

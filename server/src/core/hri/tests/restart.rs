//! With restarts, decisions are the same as without.

use super::*;
use proptest::prelude::*;
use proptest::sample::Index;

const HRI: Assigner = Assigner::Hri;

#[tokio::test]
async fn a_long_stream_is_decided_by_hri_alike_with_and_without_restarts() {
    let stream = stream(11, 30, 300);
    let mut stage = Stage::new(HRI).await;
    for (at, faces) in stream.iter().enumerate() {
        let down = match at {
            40 | 250 => Some(Down::Closed),
            41 | 171 => Some(Down::Killed),
            100 => Some(Down::WithoutCatalog),
            _ => None,
        };
        if let Some(down) = down {
            stage = stage.reopened(down, HRI).await;
        }
        stage.see(faces).await;
    }
    let decided = stage.decided();
    let found: Vec<u64> = decided.iter().map(|decided| decided.identity).collect();
    let expected: Vec<u64> = plain(&stream).into_iter().map(|(id, _)| id).collect();
    assert_eq!(found, expected);
    stage.core.close().await;
}

/// One thing that happens. Numbers choose among what there is, and beyond.
#[derive(Clone, Debug)]
enum Step {
    /// The next track of the stream is seen.
    See,
    Merge(u64, u64),
    Move(u64, u64),
    MoveIntoNew(u64),
    Enrol(u64, Option<u64>),
    Undo(Index),
    /// What came is retracted.
    Again,
}

fn step() -> impl Strategy<Value = Step> {
    let (identity, track) = (1..10_u64, 1..25_u64);
    prop_oneof![
        12 => Just(Step::See),
        2 => (identity.clone(), identity.clone()).prop_map(|(a, b)| Step::Merge(a, b)),
        2 => (track.clone(), identity.clone()).prop_map(|(a, b)| Step::Move(a, b)),
        1 => track.prop_map(Step::MoveIntoNew),
        2 => (0..6_u64, prop::option::of(identity)).prop_map(|(a, b)| Step::Enrol(a, b)),
        2 => any::<Index>().prop_map(Step::Undo),
        1 => Just(Step::Again),
    ]
}

/// What is decided, with a restart before each step that `downs` has one for.
async fn decided(steps: &[Step], seed: u64, downs: &[Option<Down>]) -> Vec<Decided> {
    let stream = stream(seed, 6, steps.len());
    let mut stream = stream.iter();
    let mut stage = Stage::new(HRI).await;
    let mut edits = Vec::new();
    for (step, down) in steps.iter().zip(downs) {
        if let Some(down) = down {
            stage = stage.reopened(*down, HRI).await;
        }
        let change = match step {
            Step::See => {
                stage.see(stream.next().unwrap()).await;
                continue;
            }
            Step::Again => {
                stage.begin("another").await;
                stage.begin("p").await;
                continue;
            }
            Step::Merge(from, into) => Change::Merge {
                from: *from,
                into: *into,
                from_etag: None,
                into_etag: None,
            },
            Step::Move(track, into) => Change::Move {
                track_ids: vec![*track],
                into: Target::Identity {
                    id: *into,
                    etag: None,
                },
            },
            Step::MoveIntoNew(track) => Change::Move {
                track_ids: vec![*track],
                into: Target::New {
                    name: String::new(),
                    allow_duplicate_name: true,
                },
            },
            Step::Enrol(photo, person) => enrol(*photo, *person),
            Step::Undo(edit) if !edits.is_empty() => Change::Undo {
                sequence: edits[edit.index(edits.len())],
                allow_duplicate_name: true,
                partial: true,
            },
            Step::Undo(_) => continue,
        };
        // A restart adds records: which edit it was is told by its number, not by its sequence.
        edits.extend(stage.edit(change).await.ok());
    }
    stage.core.close().await;
    stage.decided()
}

fn enrol(photo: u64, person: Option<u64>) -> Change {
    let who = usize::try_from(photo).unwrap();
    let person = match person {
        Some(id) => Person::Known { id, etag: None },
        None => Person::New {
            update: ProfileUpdate {
                name: Some(format!("Somebody {who}")),
                ..ProfileUpdate::default()
            },
            allow_duplicate_name: true,
        },
    };
    enrolled(person, photo, &face(who, 0.3))
}

fn down() -> impl Strategy<Value = Option<Down>> {
    prop_oneof![
        4 => Just(None),
        1 => Just(Some(Down::Closed)),
        1 => Just(Some(Down::Killed)),
        1 => Just(Some(Down::WithoutCatalog)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..crate::test_config() })]

    #[test]
    fn hri_decides_alike_with_and_without_restarts_whatever_people_say(
        steps in prop::collection::vec((step(), down()), 1..40),
        seed in 0..1000_u64,
    ) {
        let (steps, downs): (Vec<Step>, Vec<Option<Down>>) = steps.into_iter().unzip();
        let none = vec![None; downs.len()];
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        let (without, with) = runtime.block_on(async {
            (decided(&steps, seed, &none).await, decided(&steps, seed, &downs).await)
        });
        prop_assert_eq!(without, with);
    }
}

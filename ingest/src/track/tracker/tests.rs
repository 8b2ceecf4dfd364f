use std::ops::Range;

use super::*;
use crate::{
    align::AlignedCrop,
    exemplar::GoodFace,
    fake::{FAKE_DIMENSION, embedding_of},
    geometry::{DetectedFace, Point, Rect},
    observe::{MediaTime, WallTime},
    picture::Picture,
};
use rollcall_index::Embedding;

/// Takes the hue of the person from the first byte of the crop.
struct ByteEmbedder {
    calls: usize,
}

impl Embedder for ByteEmbedder {
    fn embed(&mut self, crops: &[AlignedCrop]) -> Result<Vec<Embedding>, InferError> {
        self.calls += crops.len();
        crops
            .iter()
            .map(|crop| embedding_of(f32::from(crop.rgb()[0])))
            .collect()
    }

    fn dimension(&self) -> usize {
        FAKE_DIMENSION
    }
}

/// Frame `number` of a film with five detections a second, 25 frames a second.
fn stamp(number: u64) -> FrameStamp {
    let time = MediaTime::from_micros(i64::try_from(number).unwrap() * 40_000);
    let wall = WallTime::from_unix_micros(time.micros());
    FrameStamp {
        number: FrameNo::new(number),
        time,
        wall,
    }
}

fn face(number: u64, rank: usize, x: f32, person: u8) -> SeenFace {
    let crop = AlignedCrop::from_rgb(vec![person; 112 * 112 * 3]).unwrap();
    let loose = Picture::filled(8, 8, [person; 3]).unwrap();
    SeenFace {
        stamp: stamp(number),
        rank,
        face: DetectedFace {
            rect: Rect::new(x, 40.0, 60.0, 80.0),
            landmarks: [Point::new(x, 50.0); 5],
            score: 0.9,
        },
        picture: (640, 360),
        good: Some(GoodFace {
            quality: 0.8,
            crop,
            loose,
            embedding: None,
        }),
    }
}

/// Every observation of a shot over `frames`, detected in each fifth.
fn run(frames: Range<u64>, scene: &dyn Fn(u64) -> Vec<(f32, u8)>) -> Vec<TrackObservation> {
    let faces = |number: u64| {
        let faces = scene(number).into_iter().enumerate();
        faces
            .map(|(rank, (x, person))| face(number, rank, x, person))
            .collect()
    };
    run_by(TrackRules::default(), frames, 5, &faces)
}

/// The same of any faces, by any rules, detected in every n-th frame.
fn run_by(
    rules: TrackRules,
    frames: Range<u64>,
    every: u64,
    scene: &dyn Fn(u64) -> Vec<SeenFace>,
) -> Vec<TrackObservation> {
    let mut tracker = Tracker::new(rules);
    let mut embedder = ByteEmbedder { calls: 0 };
    let mut observations = Vec::new();
    for number in frames.clone() {
        if (number - frames.start).is_multiple_of(every) {
            let faces = scene(number);
            observations.extend(tracker.detect(stamp(number), faces, &mut embedder).unwrap());
        } else {
            tracker.pass(stamp(number));
        }
    }
    observations.extend(tracker.close_all(None));
    assert!(tracker.is_idle());
    observations
}

/// First and last frame and the person of each closed track.
fn check(
    frames: Range<u64>,
    scene: &dyn Fn(u64) -> Vec<(f32, u8)>,
    expected: &[(u64, u64, u8)],
) -> Vec<TrackObservation> {
    let observations = run(frames, scene);
    let mut tracks = Vec::new();
    for closed in observations.iter().filter(|o| o.closed) {
        let all = observations.iter().filter(|o| o.key == closed.key);
        let revisions: Vec<u32> = all.clone().map(|o| o.revision).collect();
        assert_eq!(revisions, (1..=closed.revision).collect::<Vec<_>>());
        let exemplars: Vec<_> = all.flat_map(|o| &o.exemplars).collect();
        let person = |e: &Embedding| {
            (0..=255u8).find(|p| embedding_of(f32::from(*p)).unwrap().dot(e).get() > 0.999)
        };
        let people: Vec<_> = exemplars
            .iter()
            .filter_map(|e| person(&e.embedding))
            .collect();
        assert!(
            !people.is_empty() && people.iter().all(|p| *p == people[0]),
            "{people:?}"
        );
        tracks.push((closed.start_frame.get(), closed.end_frame.get(), people[0]));
    }
    assert_eq!(tracks, expected);
    observations
}

#[test]
fn a_face_that_stays_is_one_track_to_the_last_frame() {
    let observations = check(100..198, &|_| vec![(100.0, 10)], &[(100, 197, 10)]);
    // Opened at its second detection, 0.2 s after the first.
    assert_eq!(
        (observations[0].revision, observations[0].exemplars.len()),
        (1, 1)
    );
    assert_eq!(
        observations[0].end_frame.get(),
        100,
        "nothing unverified is reported"
    );
    let boxes: Vec<u64> = observations
        .iter()
        .flat_map(|o| &o.faces)
        .map(|f| f.frame.get())
        .collect();
    assert_eq!(
        boxes,
        (100..198).step_by(5).collect::<Vec<_>>(),
        "every box, once, in order"
    );
    let open = observations.iter().filter(|o| !o.closed).count();
    assert!(
        (3..=5).contains(&open),
        "about one report a second, not {open}"
    );
}

#[test]
fn moving_and_crossing_faces_stay_themselves() {
    let scene = |n: u64| {
        let way = n as f32 * 4.0;
        vec![(50.0 + way, 10), (500.0 - way, 130)]
    };
    check(0..110, &scene, &[(0, 109, 10), (0, 109, 130)]);
}

#[test]
fn a_short_miss_is_bridged_and_a_long_one_ends_the_track() {
    let scene = |n: u64| {
        if (20..35).contains(&n) {
            vec![]
        } else {
            vec![(100.0, 10)]
        }
    };
    check(0..60, &scene, &[(0, 59, 10)]);
    let scene = |n: u64| {
        if (20..80).contains(&n) {
            vec![]
        } else {
            vec![(100.0, 10)]
        }
    };
    check(0..100, &scene, &[(0, 15, 10), (80, 99, 10)]);
}

#[test]
fn who_comes_back_after_a_while_is_known_by_their_looks() {
    let scene = |second: u8| {
        move |n: u64| match n {
            0..20 => vec![(100.0, 10)],
            20..55 => vec![],
            _ => vec![(400.0, second)],
        }
    };
    check(0..100, &scene(10), &[(0, 99, 10)]);
    check(0..100, &scene(90), &[(0, 15, 10), (55, 99, 90)]);
}

#[test]
fn somebody_else_in_the_place_of_a_hidden_face_is_somebody_else() {
    let scene = |n: u64| match n {
        0..20 => vec![(100.0, 10)],
        20..35 => vec![],
        _ => vec![(100.0, 90)],
    };
    check(0..60, &scene, &[(0, 15, 10), (35, 59, 90)]);
}

#[test]
fn a_face_that_passes_behind_another_comes_out_as_itself() {
    let scene = |n: u64| {
        let (near, far) = (50.0 + n as f32 * 4.0, 500.0 - n as f32 * 4.0);
        let mut faces = vec![(near, 10)];
        faces.extend(((near - far).abs() > 50.0).then_some((far, 130)));
        faces
    };
    check(0..110, &scene, &[(0, 109, 10), (0, 109, 130)]);
}

#[test]
fn a_face_that_comes_back_too_poor_to_embed_is_joined_when_it_is_better() {
    let scene = |n: u64| match n {
        0..20 => vec![face(n, 0, 100.0, 10)],
        20..30 => vec![],
        30..45 => vec![SeenFace {
            good: None,
            ..face(n, 0, 300.0, 10)
        }],
        _ => vec![face(n, 0, 300.0, 10)],
    };
    let observations = run_by(TrackRules::default(), 0..80, 5, &scene);
    let spans: Vec<_> = observations
        .iter()
        .filter(|o| o.closed)
        .map(|o| (o.start_frame.get(), o.end_frame.get()))
        .collect();
    assert_eq!(spans, [(0, 79)]);
    let boxes = observations.iter().flat_map(|o| &o.faces);
    let boxes: Vec<u64> = boxes.map(|f| f.frame.get()).collect();
    let seen = (0..20).chain(30..80).filter(|n| n % 5 == 0);
    assert_eq!(boxes, seen.collect::<Vec<_>>());
}

#[test]
fn facerec_follows_by_boxes_alone() {
    let spans = |missing: Range<u64>, jump: f32| {
        let scene = move |n: u64| {
            let x = 100.0 + if n < 20 { 0.0 } else { jump };
            let there = !missing.contains(&n);
            let person = if n < 20 { 10 } else { 90 };
            there.then(|| face(n, 0, x, person)).into_iter().collect()
        };
        let rules = TrackRules::of(super::super::TrackerRule::Facerec);
        let observations = run_by(rules, 0..50, 1, &scene);
        let closed = observations.iter().filter(|o| o.closed);
        closed
            .map(|o| (o.start_frame.get(), o.end_frame.get()))
            .collect::<Vec<_>>()
    };
    assert_eq!(spans(20..25, 0.0), [(0, 49)]);
    assert_eq!(spans(20..26, 0.0), [(0, 19), (26, 49)]);
    assert_eq!(spans(0..0, 30.0), [(0, 19), (20, 49)], "an IoU of a third");
    assert_eq!(spans(2..4, 0.0), [(4, 49)], "missed before it was believed");
}

#[test]
fn a_face_that_jumps_is_found_again_by_its_looks() {
    check(
        0..60,
        &|n| vec![(if n < 30 { 100.0 } else { 240.0 }, 10)],
        &[(0, 59, 10)],
    );
    let scene = |n: u64| vec![if n < 30 { (100.0, 10) } else { (240.0, 90) }];
    check(0..60, &scene, &[(0, 25, 10), (30, 59, 90)]);
}

#[test]
fn one_track_never_holds_two_people() {
    // Somebody else in the very same place, without a cut.
    for change in [30, 50, 65, 100] {
        let scene = move |n: u64| vec![(100.0, if n < change { 10 } else { 90 })];
        check(0..150, &scene, &[(0, change - 5, 10), (change, 149, 90)]);
    }
}

#[test]
fn one_odd_face_is_no_other_person() {
    let scene = |n: u64| vec![(100.0, if n == 50 { 90 } else { 10 })];
    check(0..100, &scene, &[(0, 99, 10)]);
}

#[test]
fn what_is_seen_once_is_not_believed() {
    assert!(run(0..50, &|n| if n == 20 { vec![(100.0, 10)] } else { vec![] }).is_empty());
}

#[test]
fn in_a_transition_tracks_reach_its_middle_from_both_sides() {
    let mut tracker = Tracker::new(TrackRules::default());
    let mut embedder = ByteEmbedder { calls: 0 };
    let mut observations = Vec::new();
    for number in 0..60 {
        if number == 33 {
            observations.extend(tracker.close_all(Some(FrameNo::new(20))));
            tracker.begin_softly(stamp(33), FrameNo::new(45));
        }
        // Nobody is recognisable from 25 to 40.
        let faces = match number {
            0..=20 => vec![face(number, 0, 100.0, 10)],
            40.. => vec![face(number, 0, 100.0, 90)],
            _ => Vec::new(),
        };
        if number % 5 == 0 {
            observations.extend(tracker.detect(stamp(number), faces, &mut embedder).unwrap());
        } else {
            tracker.pass(stamp(number));
        }
    }
    observations.extend(tracker.close_all(None));
    let spans: Vec<_> = observations
        .iter()
        .filter(|o| o.closed)
        .map(|o| (o.start_frame.get(), o.end_frame.get()))
        .collect();
    assert_eq!(spans, [(0, 32), (33, 59)]);
}

#[test]
fn embeddings_are_not_wasted() {
    let mut tracker = Tracker::new(TrackRules::default());
    let mut embedder = ByteEmbedder { calls: 0 };
    for number in (0..1500).step_by(5) {
        let faces = vec![face(number, 0, 100.0, 10)];
        tracker.detect(stamp(number), faces, &mut embedder).unwrap();
    }
    assert!(
        (60..=160).contains(&embedder.calls),
        "{} in a minute",
        embedder.calls
    );
}

#[test]
fn faces_too_poor_to_embed_are_counted_not_reported() {
    let mut tracker = Tracker::new(TrackRules::default());
    let mut embedder = ByteEmbedder { calls: 0 };
    for number in (0..50).step_by(5) {
        let poor = SeenFace {
            good: None,
            ..face(number, 0, 100.0, 10)
        };
        assert!(
            tracker
                .detect(stamp(number), vec![poor], &mut embedder)
                .unwrap()
                .is_empty()
        );
    }
    assert!(tracker.close_all(None).is_empty());
    assert_eq!((tracker.without_exemplar(), embedder.calls), (1, 0));
}

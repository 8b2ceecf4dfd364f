use super::*;
use crate::fake::{FakeDetector, paint_face};
use crate::picture::PictureRef;
use proptest::prelude::*;

const WIDTH: u32 = 320;
const HEIGHT: u32 = 180;
const EVERY: u64 = 5;

/// A face: its hue, the frames in which it is there, where it begins, and how far it moves in a frame.
#[derive(Clone, Copy, Debug)]
struct Actor {
    hue: f32,
    first: u64,
    last: u64,
    from: (f32, f32),
    step: (f32, f32),
    side: f32,
}

fn still(hue: f32, first: u64, last: u64, x: f32) -> Actor {
    Actor {
        hue,
        first,
        last,
        from: (x, 60.0),
        step: (0.0, 0.0),
        side: 30.0,
    }
}

fn scene(actors: &[Actor], frame: u64) -> Picture {
    let mut picture = Picture::filled(WIDTH, HEIGHT, [90; 3]).unwrap();
    for actor in actors {
        if (actor.first..=actor.last).contains(&frame) {
            let at = frame as f32;
            let (x, y) = (
                actor.from.0 + actor.step.0 * at,
                actor.from.1 + actor.step.1 * at,
            );
            let rect = Rect::new(x, y, actor.side, actor.side);
            paint_face(&mut picture, rect, actor.hue);
        }
    }
    picture
}

/// The faces of a shot, and how often was looked.
fn search(
    detector: impl Detector + 'static,
    pictures: &[Picture],
    every: u64,
) -> (Vec<Vec<DetectedFace>>, Looks) {
    let mut search = Search::new(Box::new(detector), DetectSizes::default(), every > 1);
    let mut found = Vec::new();
    for (number, picture) in (0..).zip(pictures) {
        let whole = number % every == 0;
        found.extend(search.next(number, picture.clone(), whole).unwrap());
    }
    found.extend(search.end_shot().unwrap());
    let numbers: Vec<_> = found.iter().map(|frame| frame.number).collect();
    let all: Vec<_> = (0..pictures.len() as u64).collect();
    assert_eq!(numbers, all);
    for (frame, picture) in found.iter().zip(pictures) {
        assert!(frame.picture == *picture);
    }
    (
        found.into_iter().map(|frame| frame.faces).collect(),
        search.looks(),
    )
}

/// Searches every fifth frame and all frames; both find the same.
fn check(actors: &[Actor], frames: u64) -> Looks {
    let pictures: Vec<_> = (0..frames).map(|frame| scene(actors, frame)).collect();
    let (all, looks) = search(FakeDetector, &pictures, 1);
    assert_eq!(looks.whole, frames);
    assert_eq!(looks.windows, 0);
    let (found, looks) = search(FakeDetector, &pictures, EVERY);
    for (frame, (found, all)) in found.iter().zip(&all).enumerate() {
        assert_eq!(found.len(), all.len(), "frame {frame}: {found:?} {all:?}");
        for face in all {
            let is_there = |found: &DetectedFace| found.rect.iou(&face.rect) > 0.9;
            assert!(
                found.iter().any(is_there),
                "frame {frame}: {found:?} {all:?}"
            );
        }
    }
    looks
}

#[test]
fn faces_that_stay_need_few_searches() {
    let moving = Actor {
        step: (2.0, 1.0),
        ..still(120.0, 0, 100, 20.0)
    };
    // Frames 0, 5, 10 and 15, and the last; each has its two windows, and so have those between.
    let looks = check(&[moving, still(0.0, 0, 100, 200.0)], 18);
    assert_eq!(
        looks,
        Looks {
            whole: 5,
            windows: 36
        }
    );
    assert_eq!(
        check(&[], 18),
        Looks {
            whole: 5,
            windows: 0
        }
    );
}

#[test]
fn who_comes_or_goes_between_is_found_in_the_very_frame() {
    for at in 5..=11 {
        let looks = check(&[still(0.0, at, 100, 200.0)], 17);
        assert!(looks.whole <= 6, "{at}: {looks:?}");
        let looks = check(&[still(0.0, 0, at, 200.0)], 17);
        assert!(looks.whole <= 6, "{at}: {looks:?}");
        // One goes, another comes elsewhere.
        check(
            &[still(0.0, 0, at, 200.0), still(120.0, at + 2, 100, 50.0)],
            17,
        );
    }
}

#[test]
fn who_is_seen_in_two_chains_is_there_once() {
    // Too fast for its two places, five frames apart, to be taken for one.
    let runner = Actor {
        step: (9.0, 0.0),
        ..still(0.0, 0, 100, 20.0)
    };
    let looks = check(&[runner], 21);
    // Followed from the earlier place to the later.
    assert_eq!(
        looks,
        Looks {
            whole: 5,
            windows: 21
        }
    );
}

#[test]
fn who_passes_before_another_is_searched_for() {
    let passes = Actor {
        step: (6.0, 0.0),
        ..still(0.0, 0, 100, 20.0)
    };
    // Painted later: in front.
    for x in [70.0, 85.0, 100.0] {
        let looks = check(&[still(120.0, 0, 100, x), passes], 26);
        assert!(looks.whole > 6, "{looks:?}");
    }
}

#[test]
fn where_windows_would_cost_more_every_frame_is_searched() {
    let crowd: Vec<_> = (0..14u8)
        .map(|i| Actor {
            from: (2.0 + 22.0 * f32::from(i), 60.0),
            side: 12.0,
            ..still(f32::from(i % 2) * 120.0, 0, 100, 0.0)
        })
        .collect();
    let looks = check(&crowd, 11);
    assert!(looks.whole < 11, "{looks:?}");
    let crowd: Vec<_> = crowd
        .iter()
        .flat_map(|actor| {
            let lower = Actor {
                from: (actor.from.0, 120.0),
                ..*actor
            };
            [*actor, lower]
        })
        .collect();
    assert_eq!(
        check(&crowd, 11),
        Looks {
            whole: 11,
            windows: 0
        }
    );
}

/// Sees every picture at one size.
struct OneSize;

impl Detector for OneSize {
    fn detect(
        &mut self,
        picture: PictureRef<'_>,
        input: DetectSize,
    ) -> Result<Vec<DetectedFace>, InferError> {
        FakeDetector.detect(picture, input)
    }

    fn takes_any_size(&self) -> bool {
        false
    }
}

/// Sees a face only in the whole picture.
struct NoWindows;

impl Detector for NoWindows {
    fn detect(
        &mut self,
        picture: PictureRef<'_>,
        input: DetectSize,
    ) -> Result<Vec<DetectedFace>, InferError> {
        match picture.width() {
            WIDTH => FakeDetector.detect(picture, input),
            _ => Ok(Vec::new()),
        }
    }
}

#[test]
fn a_detector_that_gains_nothing_by_windows_searches_every_frame() {
    let pictures: Vec<_> = (0..11)
        .map(|frame| scene(&[still(0.0, 0, 100, 200.0)], frame))
        .collect();
    let (found, looks) = search(OneSize, &pictures, EVERY);
    assert_eq!(
        looks,
        Looks {
            whole: 11,
            windows: 0
        }
    );
    assert!(found.iter().all(|faces| faces.len() == 1));
    let (found, looks) = search(NoWindows, &pictures, EVERY);
    assert_eq!(looks.whole, 11);
    assert!(found.iter().all(|faces| faces.len() == 1));
}

#[test]
fn shots_are_apart() {
    let mut search = Search::new(Box::new(FakeDetector), DetectSizes::default(), true);
    let first = scene(&[still(0.0, 0, 100, 200.0)], 0);
    let second = scene(&[still(120.0, 0, 100, 20.0)], 0);
    assert_eq!(search.next(0, first.clone(), false).unwrap().len(), 1);
    assert_eq!(search.next(1, first, false).unwrap().len(), 0);
    assert_eq!(search.end_shot().unwrap().len(), 1);
    assert_eq!(search.end_shot().unwrap().len(), 0);
    let found = search.next(2, second, false).unwrap();
    assert_eq!((found[0].number, found[0].faces.len()), (2, 1));
    assert!(found[0].faces[0].rect.x < 30.0);
}

fn actor(lane: u8) -> impl Strategy<Value = Actor> {
    let stays = EVERY..25;
    (0u64..20, stays, 0.0f32..200.0, -4.0f32..4.0).prop_map(move |(first, stays, x, step)| Actor {
        hue: f32::from(lane) * 120.0,
        first,
        last: first + stays,
        // Lanes are apart: faces do not cover each other.
        from: (x + 40.0, 5.0 + 58.0 * f32::from(lane)),
        step: (step, 0.0),
        side: 40.0,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whoever_is_there_for_five_frames_is_found_in_each(
        actors in (actor(0), actor(1), actor(2)),
        frames in 1u64..30,
    ) {
        check(&[actors.0, actors.1, actors.2], frames);
    }
}

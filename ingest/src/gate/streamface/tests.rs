//! Expected values were computed by `OpenCV` 5.0 in Python (`cv2.Canny`, `cv2.GaussianBlur` and
//! `cv2.Laplacian` with `ksize=1`, `cv2.matchTemplate` with `TM_SQDIFF_NORMED`, `cv2.resize` with
//! `INTER_NEAREST`) over the pictures that `noise` and `soft` describe.

use super::*;
use crate::{gate::plane::Plane, geometry::Point, geometry::Rect, picture::Picture};

fn painted(width: u32, height: u32, color: impl Fn(u32, u32) -> [u32; 3]) -> Picture {
    let byte = |value: u32| u8::try_from(value % 256).unwrap();
    let rgb = (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .flat_map(|(x, y)| color(x, y).map(byte))
        .collect();
    Picture::new(width, height, rgb).unwrap()
}

fn noise(width: u32, height: u32, seed: u32) -> Picture {
    painted(width, height, |x, y| {
        let red = x * 7 + y * 13 + seed * 31 + (x * y / 8) * 5;
        let green = x * x / 5 + y * 3 + seed * 17;
        let blue = (x / 9 + y / 7) % 2 * 180 + seed * 5;
        [red, green, blue]
    })
}

fn soft(width: u32, height: u32, seed: u32) -> Picture {
    painted(width, height, |x, y| {
        let wave = ((x * 3 + y * 2 + seed) % 510).abs_diff(255);
        [wave, wave + y, 255 - wave]
    })
}

type Paint = fn(u32, u32, u32) -> Picture;

#[test]
fn emptiness_and_clarity_are_those_of_opencv() {
    let cases: [(Paint, u32, u32, u32, [f64; 3]); 6] = [
        (
            noise,
            64,
            48,
            0,
            [0.6735026041666667, 133.43329701672334, 2735.3724872801045],
        ),
        (
            noise,
            160,
            90,
            1,
            [0.6591666666666667, 553.4610526502267, 5341.104016970486],
        ),
        (
            noise,
            37,
            53,
            2,
            [0.6909739928607853, 98.21803641695512, 2144.0461908802477],
        ),
        (
            soft,
            64,
            48,
            0,
            [0.6878255208333333, 0.6874955711451247, 1.6442285113864477],
        ),
        (
            soft,
            160,
            90,
            1,
            [0.7202777777777778, 34.58628295068027, 388.49375759548604],
        ),
        (
            soft,
            37,
            53,
            2,
            [0.690464048954615, 0.47064447511080443, 1.8388577256501786],
        ),
    ];
    for (paint, width, height, seed, expected) in cases {
        let picture = paint(width, height, seed);
        let measured = [
            frame_emptiness(picture.view()),
            frame_clarity(picture.view()),
            Plane::of(picture.view()).clarity(),
        ];
        for (value, expected) in measured.iter().zip(expected) {
            let off = (value - expected).abs();
            assert!(
                off <= 1e-9 * expected,
                "{width}x{height}: {measured:?}, not {expected}"
            );
        }
    }
}

#[test]
fn similarity_is_that_of_opencv() {
    let first = compared(noise(64, 48, 0).view());
    let black = Picture::filled(64, 48, [0; 3]).unwrap();
    let cases = [
        (noise(64, 48, 1), 0.9016122817993164),
        (noise(160, 90, 0), 0.7187128067016602),
        (soft(64, 48, 0), 0.7075438499450684),
        (black, 0.0),
        (noise(64, 48, 0), 1.0),
    ];
    for (other, expected) in cases {
        let found = first.similarity(&compared(other.view()));
        // OpenCV computes in single precision.
        assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
    }
    assert_eq!(Plane::of(noise(9, 9, 0).view()).similarity(&first), 0.0);
}

#[test]
fn pictures_of_one_pixel_are_measured_too() {
    for (width, height) in [(1, 1), (1, 5), (2, 1)] {
        let picture = Picture::filled(width, height, [9; 3]).unwrap();
        assert_eq!(frame_emptiness(picture.view()), 1.0);
        assert_eq!(Plane::of(picture.view()).clarity(), 0.0);
    }
}

#[test]
fn frames_are_refused_in_order_and_compared_with_the_last_one_kept() {
    let mut gate = FrameGate::default();
    let mut judge = |picture: &Picture| gate.judge(picture.view());
    let grey = Picture::filled(64, 48, [90; 3]).unwrap();
    let (measures, reason) = judge(&grey);
    assert_eq!((measures.emptiness, measures.clarity), (1.0, None));
    assert_eq!(reason, Some(FrameRejection::Empty));
    assert_eq!(judge(&soft(64, 48, 0)).1, Some(FrameRejection::Blurred));
    let (measures, reason) = judge(&noise(64, 48, 0));
    assert_eq!((measures.similarity, reason), (None, None));
    let (measures, reason) = judge(&noise(64, 48, 1));
    assert!(measures.similarity.unwrap() > 0.9);
    assert_eq!(reason, Some(FrameRejection::NearIdentical));
    assert_eq!(judge(&noise(160, 90, 0)).1, None, "0.72 similar");
    assert_eq!(
        judge(&noise(64, 48, 1)).1,
        None,
        "compared with the last kept"
    );
}

#[test]
fn every_threshold_of_faces_must_be_exceeded() {
    let frame = noise(400, 300, 0);
    let smooth = Picture::filled(400, 300, [90; 3]).unwrap();
    let check = |frame: &Picture, score: f32, side: f32| {
        let face = DetectedFace {
            rect: Rect::new(100.0, 80.0, side, side),
            landmarks: [Point::new(120.0, 100.0); 5],
            score,
        };
        FaceThresholds::default().judge(frame.view(), &face)
    };
    assert_eq!(check(&frame, 0.96, 60.0), None);
    assert_eq!(
        check(&frame, 0.95, 60.0),
        Some(FaceRejection::LowConfidence)
    );
    assert_eq!(
        check(&frame, f32::NAN, 60.0),
        Some(FaceRejection::LowConfidence)
    );
    // 600 of 120,000 pixels are 0.005 and not more.
    assert_eq!(check(&frame, 0.96, 24.4), Some(FaceRejection::FaceTooSmall));
    assert_eq!(check(&frame, 0.96, 25.0), None);
    assert_eq!(check(&smooth, 0.96, 60.0), Some(FaceRejection::Blurred));
    assert_eq!(check(&frame, 0.96, 0.0), Some(FaceRejection::FaceTooSmall));
}

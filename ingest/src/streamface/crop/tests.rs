//! Expected values were computed by Pillow 13 (`Image.rotate`, `Image.resize` and
//! `Image.thumbnail` with `LANCZOS`) after padding the frame with zeros by half of its sides: five
//! pixels of each crop, its size and its mean.

use super::*;

/// 400x300 pixels, smooth but for one edge.
fn frame() -> Picture {
    let pixel = |(x, y): (u32, u32)| {
        let wave = ((x * 3 + y * 2 + 3) % 510).abs_diff(255);
        [wave, (wave + y) % 256, 255 - wave].map(|v| u8::try_from(v).unwrap())
    };
    let places = (0..300).flat_map(|y| (0..400).map(move |x| (x, y)));
    Picture::new(400, 300, places.flat_map(pixel).collect()).unwrap()
}

fn face(rect: [i64; 4], left_eye: (i64, i64), right_eye: (i64, i64)) -> PixelFace {
    let [x, y, width, height] = rect;
    PixelFace {
        x,
        y,
        width,
        height,
        landmarks: [left_eye, right_eye, (0, 0), (0, 0), (0, 0)],
    }
}

fn check(crop: Option<Picture>, size: (u32, u32), pixels: [u8; 15], mean: f64) {
    let crop = crop.unwrap();
    let (w, h) = (crop.width(), crop.height());
    assert_eq!((w, h), size);
    let places = [
        (0, 0),
        (w / 2, h / 2),
        (w - 1, h - 1),
        (w / 3, h / 4),
        (w / 5, h - 1 - h / 7),
    ];
    let found: Vec<u8> = places
        .iter()
        .flat_map(|(x, y)| crop.view().pixel(*x, *y).unwrap())
        .collect();
    let near = found.iter().zip(pixels).all(|(a, b)| a.abs_diff(b) <= 1);
    assert!(near, "{found:?}, not {pixels:?}");
    let sum: u64 = crop.rgb().iter().map(|v| u64::from(*v)).sum();
    let off = (sum as f64 / crop.rgb().len() as f64 - mean).abs();
    assert!(off < 0.05, "the mean is off by {off}");
}

#[test]
fn loose_faces_are_twice_the_box_and_never_scaled_up() {
    let frame = frame();
    let loose = |rect| face(rect, (0, 0), (1, 0)).loose(frame.view());
    let pixels = [
        148, 198, 107, 38, 168, 217, 77, 30, 178, 123, 213, 132, 8, 195, 247,
    ];
    check(loose([150, 90, 60, 80]), (160, 160), pixels, 128.5573);
    let pixels = [0, 0, 0, 128, 213, 127, 147, 125, 108, 173, 183, 82, 0, 0, 0];
    check(loose([0, 10, 140, 150]), (256, 256), pixels, 73.9812);
    let pixels = [177, 71, 78, 187, 181, 68, 0, 0, 0, 121, 65, 134, 0, 0, 0];
    check(loose([330, 200, 70, 100]), (200, 200), pixels, 66.9194);
    assert_eq!(loose([10, 10, 0, 0]), None);
}

#[test]
fn aligned_faces_are_turned_until_the_eyes_are_level() {
    let frame = frame();
    let check = |rect, left, right, pixels, mean| {
        let aligned = face(rect, left, right).aligned(frame.view());
        check(aligned, (128, 128), pixels, mean);
    };
    let upright = [150, 90, 60, 80];
    let pixels = [
        107, 190, 148, 36, 166, 219, 178, 98, 77, 19, 128, 236, 1, 152, 254,
    ];
    check(upright, (165, 120), (190, 128), pixels, 136.406);
    let pixels = [
        141, 246, 114, 36, 166, 219, 212, 111, 43, 44, 159, 211, 88, 248, 167,
    ];
    check(upright, (165, 130), (190, 119), pixels, 133.7035);
    let pixels = [
        227, 235, 28, 128, 213, 127, 32, 193, 223, 18, 64, 237, 98, 234, 157,
    ];
    check([0, 10, 140, 150], (40, 70), (100, 72), pixels, 124.2494);
    // Eyes one above the other: not turned.
    let pixels = [
        118, 62, 137, 188, 182, 67, 13, 56, 242, 236, 205, 19, 182, 211, 73,
    ];
    check(
        [330, 200, 70, 100],
        (350, 240),
        (352, 270),
        pixels,
        137.9518,
    );
}

#[test]
fn boxes_are_cut_off_at_the_frame_and_rounded_down() {
    let detected = DetectedFace {
        rect: Rect::new(-3.5, 10.9, 20.0, 30.0),
        landmarks: [Point::new(-1.5, 12.7); 5],
        score: 1.0,
    };
    let pixels = PixelFace::of(&detected, frame().view());
    assert_eq!((pixels.x, pixels.y), (0, 10));
    assert_eq!((pixels.width, pixels.height), (16, 30));
    assert_eq!(pixels.landmarks[0], (-1, 12));
}

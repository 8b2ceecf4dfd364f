use super::*;

fn grey(at: impl Fn(f32, f32) -> f32) -> GreyImage {
    let pixels = (0..160u16 * 90)
        .map(|i| crate::number::round_u8(at(f32::from(i % 160), f32::from(i / 160))))
        .collect();
    GreyImage::new(160, 90, pixels).unwrap()
}

fn texture(seed: f32, x: f32, y: f32) -> f32 {
    128.0 + 50.0 * (x * 0.11 * seed + seed).sin() + 40.0 * (y * 0.17 + x * 0.05 * seed).cos()
}

/// The middles found in `count` frames, and the longest time any frame had to wait.
fn check(count: u64, frame: impl Fn(u64) -> GreyImage) -> (Vec<u64>, u64) {
    check_of(0..count, frame)
}

/// The same where these frames were seen.
fn check_of(
    seen: impl IntoIterator<Item = u64>,
    frame: impl Fn(u64) -> GreyImage,
) -> (Vec<u64>, u64) {
    let mut finder = GradualFinder::new(GradualRules::default(), 25.0);
    let (mut waited, mut count) = (0, 0);
    for i in seen {
        count = i + 1;
        finder.push(i, &frame(i));
        waited = waited.max(i + 1 - finder.decided());
    }
    finder.finish();
    assert_eq!(finder.decided(), count);
    (
        std::iter::from_fn(|| finder.take())
            .map(|t| t.middle)
            .collect(),
        waited,
    )
}

/// Share of the second picture in frame `i` of a transition over `length` frames.
fn share(i: u64, start: u64, length: u64) -> f32 {
    ((i as f32 - start as f32) / length as f32).clamp(0.0, 1.0)
}

#[test]
fn dissolves_of_any_length_are_found_at_their_middle() {
    for length in [8, 12, 25, 40] {
        let (found, waited) = check(150, |i| {
            let b = share(i, 50, length);
            grey(|x, y| texture(1.0, x, y) * (1.0 - b) + texture(2.3, x, y) * b)
        });
        assert_eq!(found.len(), 1, "length {length}: {found:?}");
        assert!(
            found[0].abs_diff(50 + length / 2) <= 1,
            "length {length}: {found:?}"
        );
        assert!(waited <= 75, "length {length} held frames for {waited}");
    }
}

#[test]
fn dissolves_are_found_where_frames_were_passed_over() {
    for length in [12, 25, 40] {
        let (found, _) = check_of((0..150).filter(|i| [0, 2].contains(&(i % 4))), |i| {
            let b = share(i, 50, length);
            grey(|x, y| texture(1.0, x, y) * (1.0 - b) + texture(2.3, x, y) * b)
        });
        assert_eq!(found.len(), 1, "length {length}: {found:?}");
        assert!(
            found[0].abs_diff(50 + length / 2) <= 2,
            "length {length}: {found:?}"
        );
    }
}

#[test]
fn a_dissolve_between_moving_pictures_is_found() {
    let (found, _) = check(120, |i| {
        let (b, shift) = (share(i, 50, 12), i as f32 * 0.4);
        grey(|x, y| texture(1.0, x + shift, y) * (1.0 - b) + texture(2.3, x - shift, y) * b)
    });
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].abs_diff(56) <= 2, "{found:?}");
}

#[test]
fn a_fade_through_black_has_two_boundaries() {
    let (found, _) = check(150, |i| {
        let light = if i < 80 {
            1.0 - share(i, 40, 20)
        } else {
            share(i, 80, 20)
        };
        let seed = if i < 70 { 1.0 } else { 2.3 };
        grey(|x, y| texture(seed, x, y) * light)
    });
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].abs_diff(50) <= 2 && found[1].abs_diff(90) <= 2,
        "{found:?}"
    );
}

#[test]
fn pans_zooms_and_lights_are_no_transitions() {
    for speed in [0.3, 1.0, 2.0, 4.0, 8.0] {
        let pan = check(120, |i| grey(|x, y| texture(1.0, x + i as f32 * speed, y)));
        assert_eq!(pan.0, [0u64; 0], "pan {speed}");
        let zoom = check(120, |i| {
            let scale = 1.0 + i as f32 * 0.005 * speed;
            grey(|x, y| texture(1.0, (x - 80.0) / scale, (y - 45.0) / scale))
        });
        assert_eq!(zoom.0, [0u64; 0], "zoom {speed}");
    }
    let lights = check(120, |i| {
        let light = 1.0 - 0.6 * share(i, 50, 20);
        grey(|x, y| texture(1.0, x, y) * light)
    });
    assert_eq!(lights.0, [0u64; 0]);
    let still = check(60, |_| grey(|x, y| texture(1.0, x, y)));
    assert_eq!(
        (still.0.len(), still.1),
        (0, 1 - 1),
        "nothing is held in a still shot"
    );
}

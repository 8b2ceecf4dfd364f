//! Windows, and what they show otherwise than the whole frame.

use crate::{
    geometry::{DetectedFace, Point},
    number::round_u32,
    picture::{PICTURE_SIDE_MAX, Picture, PictureRef},
};

/// Where and how large a window shows a face, beside what the whole frame shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gauge {
    /// How far its middle is off, in parts of the box.
    dx: f32,
    dy: f32,
    /// How many times as large it is.
    by_x: f32,
    by_y: f32,
    /// How much higher its score is.
    surer: f32,
}

impl Gauge {
    pub(super) fn of(window: &DetectedFace, whole: &DetectedFace) -> Self {
        let surer = window.score - whole.score;
        let (window, whole) = (&window.rect, &whole.rect);
        let (here, there) = (window.center(), whole.center());
        let (width, height) = (whole.width.max(1.0), whole.height.max(1.0));
        Self {
            dx: (here.x - there.x) / width,
            dy: (here.y - there.y) / height,
            by_x: (window.width / width).max(0.1),
            by_y: (window.height / height).max(0.1),
            surer,
        }
    }

    /// A share of the way from this to another.
    pub(super) fn towards(&self, other: &Self, share: f32) -> Self {
        Self {
            dx: between(self.dx, other.dx, share),
            dy: between(self.dy, other.dy, share),
            by_x: between(self.by_x, other.by_x, share),
            by_y: between(self.by_y, other.by_y, share),
            surer: between(self.surer, other.surer, share),
        }
    }

    /// The face of a window as the whole frame would show it.
    pub(super) fn correct(&self, face: &DetectedFace) -> DetectedFace {
        let (rect, middle) = (&face.rect, face.rect.center());
        let (width, height) = (rect.width / self.by_x, rect.height / self.by_y);
        let x = middle.x - self.dx * width - width / 2.0;
        let y = middle.y - self.dy * height - height / 2.0;
        // The corners of the one box go to the corners of the other.
        let (by_x, by_y) = (1.0 / self.by_x, 1.0 / self.by_y);
        let mapped = face.mapped(by_x, by_y, x - rect.x * by_x, y - rect.y * by_y);
        DetectedFace {
            score: mapped.score - self.surer,
            ..mapped
        }
    }
}

/// A share of the way from `a` to `b`.
pub(super) fn between(a: f32, b: f32, share: f32) -> f32 {
    a + (b - a) * share
}

/// A square of this side around `middle`, black outside the picture, and where its corner lies.
pub(super) fn cut(picture: PictureRef<'_>, middle: Point, side: f32) -> (Picture, Point) {
    let side = round_u32(side).clamp(1, PICTURE_SIDE_MAX);
    let half = side as f32 / 2.0;
    let axis = |middle: f32| {
        let (passed, outside) = (round_u32(middle - half), round_u32(half - middle));
        i64::from(passed) - i64::from(outside)
    };
    let (x, y) = (axis(middle.x), axis(middle.y));
    let window = picture.part((x, y), (side, side));
    let window = window.expect("the side is that of a picture");
    (window, Point::new(x as f32, y as f32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Rect;
    use proptest::prelude::*;

    fn face(x: f32, y: f32, width: f32, height: f32, score: f32) -> DetectedFace {
        let rect = Rect::new(x, y, width, height);
        let middle = rect.center();
        DetectedFace {
            rect,
            landmarks: [middle; 5],
            score,
        }
    }

    #[test]
    fn what_the_window_shows_otherwise_is_taken_off() {
        let (window, whole) = (
            face(11.0, 18.0, 44.0, 66.0, 0.9),
            face(10.0, 20.0, 40.0, 60.0, 0.8),
        );
        let gauge = Gauge::of(&window, &whole);
        let back = gauge.correct(&window);
        assert!(back.rect.iou(&whole.rect) > 0.999, "{back:?}");
        assert!((back.score - 0.8).abs() < 1e-6);
        assert!(
            back.landmarks[2].distance(whole.rect.center()) < 1e-3,
            "{back:?}"
        );
        // Twice as large and elsewhere, it is off by as much.
        let (window, whole) = (
            face(122.0, 236.0, 88.0, 132.0, 0.9),
            face(120.0, 240.0, 80.0, 120.0, 0.8),
        );
        assert!(gauge.correct(&window).rect.iou(&whole.rect) > 0.999);
    }

    proptest! {
        #[test]
        fn a_window_holds_the_picture_and_black(
            (width, height) in (1u32..40, 1u32..40),
            (x, y) in (-20.0f32..60.0, -20.0f32..60.0),
            side in 0.0f32..50.0,
        ) {
            let rgb = (0..width * height * 3).map(|i| u8::try_from(i % 255 + 1).unwrap()).collect();
            let picture = Picture::new(width, height, rgb).unwrap();
            let (window, corner) = cut(picture.view(), Point::new(x, y), side);
            prop_assert!((corner.x + window.width() as f32 / 2.0 - x).abs() <= 1.0);
            prop_assert!((corner.y + window.height() as f32 / 2.0 - y).abs() <= 1.0);
            for (row, column) in (0..window.height()).flat_map(|y| (0..window.width()).map(move |x| (y, x))) {
                let (px, py) = (column as f32 + corner.x, row as f32 + corner.y);
                let inside = px >= 0.0 && py >= 0.0;
                let wanted = inside.then(|| picture.view().pixel(round_u32(px), round_u32(py))).flatten();
                prop_assert_eq!(window.view().pixel(column, row), Some(wanted.unwrap_or([0; 3])));
            }
        }
    }
}

//! Points, rectangles and detected faces, in picture pixels.
//!
//! The origin is the top left corner of the picture's top left pixel; x grows to the right, y down.

/// A point, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Point {
    /// Distance from the left edge, in pixels.
    pub x: f32,
    /// Distance from the top edge, in pixels.
    pub y: f32,
}

impl Point {
    /// The point at (`x`, `y`).
    #[must_use]
    pub const fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }

    /// The Euclidean distance to `other`, in pixels.
    #[must_use]
    pub fn distance(self, other: Self) -> f32 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

/// An axis-parallel rectangle, in pixels. It may reach past the picture.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Rect {
    /// Left edge, in pixels.
    pub x: f32,
    /// Top edge, in pixels.
    pub y: f32,
    /// Width, in pixels, not negative.
    pub width: f32,
    /// Height, in pixels, not negative.
    pub height: f32,
}

impl Rect {
    /// The rectangle with its top left corner at (`x`, `y`).
    #[must_use]
    pub const fn new(x: f32, y: f32, width: f32, height: f32) -> Self {
        Self {
            x,
            y,
            width,
            height,
        }
    }

    /// The right edge.
    #[must_use]
    pub fn right(&self) -> f32 {
        self.x + self.width
    }

    /// The bottom edge.
    #[must_use]
    pub fn bottom(&self) -> f32 {
        self.y + self.height
    }

    /// The middle.
    #[must_use]
    pub fn center(&self) -> Point {
        Point::new(self.x + self.width / 2.0, self.y + self.height / 2.0)
    }

    /// Width times height, in square pixels.
    #[must_use]
    pub fn area(&self) -> f32 {
        self.width * self.height
    }

    /// The part that lies in both; empty (zero width and height) when they do not overlap.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let width = self.right().min(other.right()) - x;
        let height = self.bottom().min(other.bottom()) - y;
        if width > 0.0 && height > 0.0 {
            Self {
                x,
                y,
                width,
                height,
            }
        } else {
            Self {
                x,
                y,
                width: 0.0,
                height: 0.0,
            }
        }
    }

    /// Intersection over union, 0..=1; 0 when both are empty.
    #[must_use]
    pub fn iou(&self, other: &Self) -> f32 {
        let shared = self.intersection(other).area();
        let all = self.area() + other.area() - shared;
        if all > 0.0 {
            (shared / all).clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    /// The same rectangle with every coordinate multiplied: x and width by `by_x`, y and height by
    /// `by_y`.
    #[must_use]
    pub fn scaled(&self, by_x: f32, by_y: f32) -> Self {
        Self::new(
            self.x * by_x,
            self.y * by_y,
            self.width * by_x,
            self.height * by_y,
        )
    }

    /// The same rectangle moved by (`dx`, `dy`) pixels.
    #[must_use]
    pub fn moved(&self, dx: f32, dy: f32) -> Self {
        Self {
            x: self.x + dx,
            y: self.y + dy,
            ..*self
        }
    }
}

/// A face found in one picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetectedFace {
    /// The box around the face, in picture pixels; it may reach past the picture.
    pub rect: Rect,
    /// Eye, eye, nose, mouth corner, mouth corner; the one to the left *in the picture* first.
    pub landmarks: [Point; 5],
    /// The detector's confidence, 0..=1.
    pub score: f32,
}

impl DetectedFace {
    /// The same face in a picture scaled by `by_x` and `by_y`, then moved by (`dx`, `dy`) pixels.
    #[must_use]
    pub fn mapped(&self, by_x: f32, by_y: f32, dx: f32, dy: f32) -> Self {
        Self {
            rect: self.rect.scaled(by_x, by_y).moved(dx, dy),
            landmarks: self
                .landmarks
                .map(|p| Point::new(p.x * by_x + dx, p.y * by_y + dy)),
            score: self.score,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn iou_of_known_rectangles() {
        let a = Rect::new(0.0, 0.0, 10.0, 10.0);
        assert_eq!(a.iou(&a), 1.0);
        assert_eq!(a.iou(&Rect::new(10.0, 0.0, 5.0, 5.0)), 0.0);
        assert!((a.iou(&Rect::new(5.0, 0.0, 10.0, 10.0)) - 50.0 / 150.0).abs() < 1e-6);
        assert_eq!(Rect::default().iou(&Rect::default()), 0.0);
    }

    proptest! {
        #[test]
        fn iou_is_symmetric_and_bounded(
            a in (-50f32..50.0, -50f32..50.0, 0f32..80.0, 0f32..80.0),
            b in (-50f32..50.0, -50f32..50.0, 0f32..80.0, 0f32..80.0),
        ) {
            let a = Rect::new(a.0, a.1, a.2, a.3);
            let b = Rect::new(b.0, b.1, b.2, b.3);
            let (ab, ba) = (a.iou(&b), b.iou(&a));
            prop_assert!((ab - ba).abs() < 1e-5);
            prop_assert!((0.0..=1.0).contains(&ab));
        }
    }
}

//! What five landmarks say: whether they are a face's, and how the head is turned.

use crate::geometry::{DetectedFace, Point};

/// How far outside its box a landmark may lie, in sides of the box.
const MARGIN: f32 = 0.25;
/// Smallest distance between the eyes, in longer sides of the box. A frontal face has some 0.4, one
/// turned by 60 degrees half of that.
const EYES_APART: f32 = 0.1;
/// Where the nose may be between the eyes (0) and the mouth (1), in the head's own axis.
const NOSE_PLACE: std::ops::RangeInclusive<f32> = -0.25..=1.25;

/// Whether the landmarks can be a face's: all in the box or near it, the eyes apart and above the
/// mouth, the nose between them, the mouth's corners not exchanged.
#[must_use]
pub(super) fn are_a_face(face: &DetectedFace) -> bool {
    let rect = &face.rect;
    let (dx, dy) = (MARGIN * rect.width, MARGIN * rect.height);
    let inside = |p: &Point| {
        (rect.x - dx..=rect.right() + dx).contains(&p.x)
            && (rect.y - dy..=rect.bottom() + dy).contains(&p.y)
    };
    let Some(axes) = Axes::of(&face.landmarks) else {
        return false;
    };
    let mouth = axes.across(face.landmarks[4]) - axes.across(face.landmarks[3]);
    face.landmarks.iter().all(inside)
        && axes.gap >= EYES_APART * rect.width.max(rect.height)
        && NOSE_PLACE.contains(&axes.nose_place(&face.landmarks))
        && mouth >= -EYES_APART * axes.gap
}

/// How a head is turned, estimated from five landmarks, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pose {
    /// Turn to the side, 0 (frontal) to 90 (profile), either side.
    pub yaw: f32,
    /// Nod, -90..=90: positive when the face looks down, 0 when it looks ahead.
    pub pitch: f32,
    /// Tilt in the picture's plane, -180..=180, 0 when the eyes are level.
    pub roll: f32,
}

impl Pose {
    /// How far the nose stands out before the eyes, in halves of the distance between the eyes.
    const NOSE: f32 = 0.8;
    /// How far the mouth lies below the eyes, in the same unit, and where the nose is on the way,
    /// when a face looks ahead: those of [`crate::align::ARCFACE_TEMPLATE`].
    const MOUTH: f32 = 2.31;
    const NOSE_AHEAD: f32 = 0.495;

    /// The pose; `None` when the landmarks are no face's: not finite, or the mouth not below the
    /// eyes in the head's own axis.
    ///
    /// In the head's axis the nose moves sideways with the sine of the yaw while the eyes close up
    /// with its cosine, so their ratio is its tangent; up and down likewise with the pitch and the
    /// distance from eyes to mouth. Good to about 10 degrees, enough for a gate.
    #[must_use]
    pub fn of(landmarks: &[Point; 5]) -> Option<Self> {
        let axes = Axes::of(landmarks)?;
        let yaw = axes.across(landmarks[2]).abs() / (axes.gap / 2.0) / Self::NOSE;
        let pitch = (axes.nose_place(landmarks) - Self::NOSE_AHEAD) * Self::MOUTH / Self::NOSE;
        Some(Self {
            yaw: yaw.atan().to_degrees(),
            pitch: pitch.atan().to_degrees(),
            roll: axes.right.1.atan2(axes.right.0).to_degrees(),
        })
    }

    /// How much of the face looks at the camera: `cos(yaw) cos(pitch)`, 0..=1.
    #[must_use]
    pub fn facing(self) -> f32 {
        let cos = |degrees: f32| degrees.to_radians().cos().max(0.0);
        cos(self.yaw) * cos(self.pitch)
    }
}

/// A head's own axes, and its measures along them.
struct Axes {
    eyes: Point,
    /// From the viewer's left eye to the right one, length 1.
    right: (f32, f32),
    /// Distance between the eyes.
    gap: f32,
    /// From between the eyes to the middle of the mouth.
    down: (f32, f32),
}

impl Axes {
    fn of(landmarks: &[Point; 5]) -> Option<Self> {
        let [left_eye, right_eye, _, left_mouth, right_mouth] = *landmarks;
        let (dx, dy) = (right_eye.x - left_eye.x, right_eye.y - left_eye.y);
        let eyes = middle(left_eye, right_eye);
        let mouth = middle(left_mouth, right_mouth);
        let down = (mouth.x - eyes.x, mouth.y - eyes.y);
        let (height, gap) = (down.0.hypot(down.1), dx.hypot(dy));
        if !(height > 1e-3 && gap > 1e-3 && (height + gap).is_finite()) {
            return None;
        }
        let below = (down.1 * dx - down.0 * dy) / (gap * height);
        let nose = landmarks[2];
        (below > 0.3 && nose.x.is_finite() && nose.y.is_finite()).then_some(Self {
            eyes,
            right: (dx / gap, dy / gap),
            gap,
            down,
        })
    }

    /// How far to the right of the eyes' middle a point lies.
    fn across(&self, point: Point) -> f32 {
        (point.x - self.eyes.x) * self.right.0 + (point.y - self.eyes.y) * self.right.1
    }

    /// Where the nose is on the way from eyes to mouth.
    fn nose_place(&self, landmarks: &[Point; 5]) -> f32 {
        let nose = landmarks[2];
        let (x, y) = (nose.x - self.eyes.x, nose.y - self.eyes.y);
        // Across the eye line, so that a nose to the side of a slanted mouth moves nothing.
        let below = |(x, y): (f32, f32)| y * self.right.0 - x * self.right.1;
        below((x, y)) / below(self.down)
    }
}

fn middle(a: Point, b: Point) -> Point {
    Point::new((a.x + b.x) / 2.0, (a.y + b.y) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align::ARCFACE_TEMPLATE;
    use crate::geometry::Rect;

    #[test]
    fn pose_of_the_template_is_frontal_and_roll_is_measured() {
        let pose = Pose::of(&ARCFACE_TEMPLATE).unwrap();
        assert!(pose.yaw < 5.0 && pose.roll.abs() < 2.0, "{pose:?}");
        assert!(pose.pitch.abs() < 1.0, "{pose:?}");
        let (sin, cos) = 30f32.to_radians().sin_cos();
        let turned =
            ARCFACE_TEMPLATE.map(|p| Point::new(cos * p.x - sin * p.y, sin * p.x + cos * p.y));
        let pose = Pose::of(&turned).unwrap();
        assert!((pose.roll - 30.0).abs() < 2.0, "{pose:?}");
        assert!(pose.pitch.abs() < 1.0, "{pose:?}");
        assert_eq!(Pose::of(&[Point::new(f32::NAN, 0.0); 5]), None);
    }

    /// A head in space whose nose stands out by [`Pose::NOSE`], turned and seen from afar.
    fn head(yaw: f32, pitch: f32) -> [Point; 5] {
        let points = [
            (-1.0, 0.0, 0.0),
            (1.0, 0.0, 0.0),
            (0.0, Pose::MOUTH * Pose::NOSE_AHEAD, Pose::NOSE),
            (-0.8, Pose::MOUTH, 0.0),
            (0.8, Pose::MOUTH, 0.0),
        ];
        let (yaw, pitch) = (yaw.to_radians(), pitch.to_radians());
        points.map(|(x, y, z)| {
            let (y, z) = (
                y * pitch.cos() + z * pitch.sin(),
                z * pitch.cos() - y * pitch.sin(),
            );
            Point::new(x * yaw.cos() + z * yaw.sin(), y)
        })
    }

    #[test]
    fn a_turned_head_has_the_pose_it_was_turned_by() {
        for angle in [-60.0f32, -30.0, 0.0, 30.0, 60.0] {
            let nod = Pose::of(&head(0.0, angle)).unwrap();
            assert!((nod.pitch - angle).abs() < 1.0 && nod.yaw < 1.0, "{nod:?}");
            let turn = Pose::of(&head(angle, 0.0)).unwrap();
            assert!((turn.yaw - angle.abs()).abs() < 1.0, "{turn:?}");
            assert!(turn.pitch.abs() < 1.0, "{turn:?}");
        }
        assert!((Pose::of(&head(60.0, 0.0)).unwrap().facing() - 0.5).abs() < 0.02);
    }

    #[test]
    fn landmarks_out_of_order_are_no_face() {
        let check = |change: fn(&mut [Point; 5])| {
            let mut landmarks = ARCFACE_TEMPLATE;
            change(&mut landmarks);
            are_a_face(&DetectedFace {
                rect: Rect::new(16.0, 6.0, 80.0, 100.0),
                landmarks,
                score: 0.9,
            })
        };
        assert!(check(|_| ()));
        assert!(!check(|l| l.swap(0, 1)), "the eyes exchanged");
        assert!(!check(|l| l.swap(3, 4)), "the mouth's corners exchanged");
        assert!(
            !check(|l| l[1] = Point::new(l[0].x + 5.0, l[0].y)),
            "one eye"
        );
        assert!(!check(|l| l[2].y = 10.0), "the nose on the forehead");
        assert!(!check(|l| l[2].y = 108.0), "the nose on the chin");
        assert!(!check(|l| l[4].x = 130.0), "a corner beside the face");
        assert!(!check(|l| l[2].x = f32::NAN), "no number");
    }
}

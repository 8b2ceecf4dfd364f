//! Where a face will be: a Kalman filter with constant velocity on each of centre x, centre y,
//! width and height.
//!
//! The four are independent, so the filter is four times two numbers and a 2x2 covariance instead
//! of an 8x8 one (Kalman, "A New Approach to Linear Filtering and Prediction Problems", 1960). All
//! noise is in units of the face's size, so large and small faces behave alike.

use super::{axis::Axis, facerec::SortMotion};
use crate::geometry::Rect;

/// Standard deviation of a detected edge, in face sizes.
const MEASURED: f32 = 0.05;
/// Standard deviation of the first guess of the speed, in face sizes a second.
const FIRST_SPEED: f32 = 1.5;
/// Acceleration of the centre, in face sizes a second squared.
const MOVING: f32 = 4.0;
/// Acceleration of width and height, likewise.
const GROWING: f32 = 1.5;

/// The motion of one face.
#[derive(Clone, Copy, Debug)]
pub struct BoxMotion {
    axes: [Axis; 4],
    size: f32,
}

impl BoxMotion {
    /// A face first seen at `rect`, at rest for all we know.
    #[must_use]
    pub fn new(rect: Rect) -> Self {
        let size = size_of(&rect);
        let (measured, speed) = ((MEASURED * size).powi(2), (FIRST_SPEED * size).powi(2));
        let axes = coordinates(&rect).map(|value| Axis::new(value, measured, speed));
        Self { axes, size }
    }

    /// Moves on by `seconds`.
    pub fn predict(&mut self, seconds: f32) {
        let noise = [MOVING, MOVING, GROWING, GROWING];
        for (axis, acceleration) in self.axes.iter_mut().zip(noise) {
            let q = (acceleration * self.size).powi(2);
            let noise = [
                seconds.powi(4) / 4.0,
                seconds.powi(3) / 2.0,
                seconds * seconds,
            ];
            axis.predict(seconds, noise.map(|part| q * part));
        }
    }

    /// Takes in where the face was found.
    pub fn correct(&mut self, rect: &Rect) {
        self.size = size_of(rect);
        for (axis, measured) in self.axes.iter_mut().zip(coordinates(rect)) {
            axis.correct(measured, (MEASURED * self.size).powi(2));
        }
    }

    /// Where the face is now.
    #[must_use]
    pub fn rect(&self) -> Rect {
        let [x, y, width, height] = self.axes.map(|axis| axis.value);
        let (width, height) = (width.max(1.0), height.max(1.0));
        Rect::new(x - width / 2.0, y - height / 2.0, width, height)
    }
}

/// The motion of a track's face, by the rule of the tracker.
#[derive(Clone, Copy, Debug)]
pub(super) enum Motion {
    Rollcall(BoxMotion),
    Facerec(SortMotion),
}

impl Motion {
    pub(super) fn new(rect: Rect, facerec: bool) -> Self {
        if facerec {
            Self::Facerec(SortMotion::new(&rect))
        } else {
            Self::Rollcall(BoxMotion::new(rect))
        }
    }

    pub(super) fn predict(&mut self, seconds: f32) {
        match self {
            Self::Rollcall(motion) => motion.predict(seconds),
            Self::Facerec(motion) => motion.predict(),
        }
    }

    pub(super) fn correct(&mut self, rect: &Rect) {
        match self {
            Self::Rollcall(motion) => motion.correct(rect),
            Self::Facerec(motion) => motion.correct(rect),
        }
    }

    pub(super) fn rect(&self) -> Rect {
        match self {
            Self::Rollcall(motion) => motion.rect(),
            Self::Facerec(motion) => motion.rect(),
        }
    }
}

fn coordinates(rect: &Rect) -> [f32; 4] {
    let center = rect.center();
    [center.x, center.y, rect.width, rect.height]
}

fn size_of(rect: &Rect) -> f32 {
    rect.area().max(1.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn steady_motion_is_foreseen() {
        let at = |i: u16| Rect::new(10.0 + 12.0 * f32::from(i), 50.0, 60.0, 80.0);
        let mut motion = BoxMotion::new(at(0));
        for i in 1..8 {
            motion.predict(0.2);
            motion.correct(&at(i));
        }
        motion.predict(0.2);
        assert!(motion.rect().iou(&at(8)) > 0.93, "{:?}", motion.rect());
        motion.predict(0.4);
        assert!(motion.rect().iou(&at(10)) > 0.9, "{:?}", motion.rect());
    }

    proptest! {
        #[test]
        fn time_may_be_cut_in_two(first in 0.01f32..1.0, second in 0.01f32..1.0, dx in -30f32..30.0) {
            let mut motion = BoxMotion::new(Rect::new(0.0, 0.0, 50.0, 60.0));
            motion.predict(0.2);
            motion.correct(&Rect::new(dx, 0.0, 50.0, 60.0));
            let (mut once, mut twice) = (motion, motion);
            once.predict(first + second);
            twice.predict(first);
            twice.predict(second);
            prop_assert!((once.rect().x - twice.rect().x).abs() < 0.01);
        }

        #[test]
        fn uncertainty_stays_sane(steps in prop::collection::vec((0.01f32..2.0, -500f32..500.0, 1f32..400.0), 1..40)) {
            let mut motion = BoxMotion::new(Rect::new(0.0, 0.0, 50.0, 60.0));
            for (dt, x, side) in steps {
                motion.predict(dt);
                motion.correct(&Rect::new(x, x, side, side));
                for axis in motion.axes {
                    let [vv, vs, ss] = axis.spread;
                    prop_assert!(vv > 0.0 && ss > 0.0 && vv.is_finite() && ss.is_finite());
                    prop_assert!(vs * vs <= vv * ss * 1.01, "{:?}", axis.spread);
                }
                let rect = motion.rect();
                prop_assert!(rect.width >= 1.0 && rect.height >= 1.0);
            }
        }
    }
}

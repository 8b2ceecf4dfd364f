//! Where a face will be: a Kalman filter with constant velocity on each of centre x, centre y,
//! width and height.
//!
//! The four are independent, so the filter is four times two numbers and a 2x2 covariance instead
//! of an 8x8 one (Kalman, "A New Approach to Linear Filtering and Prediction Problems", 1960). All
//! noise is in units of the face's size, so large and small faces behave alike.

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

#[derive(Clone, Copy, Debug)]
struct Axis {
    value: f32,
    speed: f32,
    /// Variance of the value, covariance, variance of the speed.
    spread: [f32; 3],
}

impl BoxMotion {
    /// A face first seen at `rect`, at rest for all we know.
    #[must_use]
    pub fn new(rect: Rect) -> Self {
        let size = size_of(&rect);
        let axes = coordinates(&rect).map(|value| Axis {
            value,
            speed: 0.0,
            spread: [(MEASURED * size).powi(2), 0.0, (FIRST_SPEED * size).powi(2)],
        });
        Self { axes, size }
    }

    /// Moves on by `seconds`.
    pub fn predict(&mut self, seconds: f32) {
        let noise = [MOVING, MOVING, GROWING, GROWING];
        for (axis, acceleration) in self.axes.iter_mut().zip(noise) {
            axis.predict(seconds, acceleration * self.size);
        }
    }

    /// Takes in where the face was found.
    pub fn correct(&mut self, rect: &Rect) {
        self.size = size_of(rect);
        for (axis, measured) in self.axes.iter_mut().zip(coordinates(rect)) {
            axis.correct(measured, MEASURED * self.size);
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

impl Axis {
    fn predict(&mut self, dt: f32, acceleration: f32) {
        self.value += self.speed * dt;
        let [vv, vs, ss] = self.spread;
        let q = acceleration * acceleration;
        self.spread = [
            vv + 2.0 * dt * vs + dt * dt * ss + q * dt.powi(4) / 4.0,
            vs + dt * ss + q * dt.powi(3) / 2.0,
            ss + q * dt * dt,
        ];
    }

    fn correct(&mut self, measured: f32, deviation: f32) {
        let [vv, vs, ss] = self.spread;
        let total = vv + deviation * deviation;
        let (gain_value, gain_speed) = (vv / total, vs / total);
        let error = measured - self.value;
        self.value += gain_value * error;
        self.speed += gain_speed * error;
        // Rounding must not make a variance negative, or the two more than fully correlated.
        let value = ((1.0 - gain_value) * vv).max(1e-6);
        let speed = (ss - gain_speed * vs).max(1e-6);
        let most = (value * speed).sqrt();
        self.spread = [value, ((1.0 - gain_value) * vs).clamp(-most, most), speed];
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

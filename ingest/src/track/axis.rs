//! One number that changes: a Kalman filter with constant speed.

/// A value, its speed, and how sure they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) value: f32,
    pub(super) speed: f32,
    /// Variance of the value, covariance, variance of the speed.
    pub(super) spread: [f32; 3],
}

impl Axis {
    /// At rest at `value`, for all we know.
    pub(super) fn new(value: f32, variance: f32, speed_variance: f32) -> Self {
        Self {
            value,
            speed: 0.0,
            spread: [variance, 0.0, speed_variance],
        }
    }

    /// Moves on by `dt`, which adds `noise` to the spread.
    pub(super) fn predict(&mut self, dt: f32, noise: [f32; 3]) {
        self.value += self.speed * dt;
        let [vv, vs, ss] = self.spread;
        self.spread = [
            vv + 2.0 * dt * vs + dt * dt * ss + noise[0],
            vs + dt * ss + noise[1],
            ss + noise[2],
        ];
    }

    /// Takes in a measured value.
    pub(super) fn correct(&mut self, measured: f32, variance: f32) {
        let [vv, vs, ss] = self.spread;
        let total = vv + variance;
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

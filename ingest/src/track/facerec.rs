//! facerec's motion model: SORT's, with a ratio that may change too.

use super::axis::Axis;
use crate::geometry::Rect;

/// Variance of a measured centre, in square pixels; of area and ratio it is ten times that.
const MEASURED: [f32; 4] = [1.0, 1.0, 10.0, 10.0];
/// First variance of the values and of their speeds.
const FIRST: (f32, f32) = (10.0, 1e4);
/// What a detection adds to the variance of each speed; to that of each value it adds 1.
const DRIFT: [f32; 4] = [1e-2, 1e-2, 1e-2, 1e-4];
const AREA: usize = 2;

/// Centre x, centre y, area and ratio of the sides, each with a constant speed: eight states.
///
/// Time is counted in detections. All matrices of SORT (Bewley et al., "Simple Online and Realtime
/// Tracking", 2016) are diagonal but for the step, so that its filter is four small ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SortMotion([Axis; 4]);

impl SortMotion {
    pub(crate) fn new(rect: &Rect) -> Self {
        Self(coordinates(rect).map(|value| Axis::new(value, FIRST.0, FIRST.1)))
    }

    /// Moves on to the next detection.
    pub(crate) fn predict(&mut self) {
        let area = &mut self.0[AREA];
        if area.value + area.speed <= 0.0 {
            area.speed = 0.0;
        }
        for (axis, drift) in self.0.iter_mut().zip(DRIFT) {
            axis.predict(1.0, [1.0, 0.0, drift]);
        }
    }

    pub(crate) fn correct(&mut self, rect: &Rect) {
        let measured = coordinates(rect).into_iter().zip(MEASURED);
        for (axis, (value, variance)) in self.0.iter_mut().zip(measured) {
            axis.correct(value, variance);
        }
    }

    pub(crate) fn rect(&self) -> Rect {
        let [x, y, area, ratio] = self.0.map(|axis| axis.value);
        let width = (area.max(1.0) * ratio.max(0.01)).sqrt();
        let height = area.max(1.0) / width;
        Rect::new(x - width / 2.0, y - height / 2.0, width, height)
    }
}

fn coordinates(rect: &Rect) -> [f32; 4] {
    let center = rect.center();
    let ratio = rect.width / rect.height.max(1.0);
    [center.x, center.y, rect.area(), ratio]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_motion_is_foreseen() {
        let at = |i: u16| Rect::new(10.0 + 3.0 * f32::from(i), 50.0, 60.0, 80.0);
        let mut motion = SortMotion::new(&at(0));
        for i in 1..20 {
            motion.predict();
            motion.correct(&at(i));
        }
        motion.predict();
        assert!(motion.rect().iou(&at(20)) > 0.95, "{:?}", motion.rect());
    }

    #[test]
    fn a_shrinking_face_keeps_some_area() {
        let mut motion = SortMotion::new(&Rect::new(0.0, 0.0, 60.0, 80.0));
        for side in [40.0, 20.0, 5.0] {
            motion.predict();
            motion.correct(&Rect::new(0.0, 0.0, side, side));
        }
        for _ in 0..50 {
            motion.predict();
            let rect = motion.rect();
            assert!(rect.width > 0.0 && rect.height > 0.0 && rect.area().is_finite());
        }
    }
}

//! Stream time of a live source, whatever the stream's own clock does.

use std::time::Duration;

use crate::observe::{MediaTime, WallTime};

/// A stream clock that goes further than this at once has begun anew.
const STEP_MAX_US: i64 = 10_000_000;
/// One that goes on by less than this part of a frame's time stands still.
const STEPS_A_FRAME: i64 = 16;
/// One that goes back by no more than this stands still or trembles; further, it has begun anew.
const BACK_MAX_US: i64 = 300_000;
/// A step that leaves pictures out: nothing is followed across it. Slow streams may take five times
/// the time of a frame.
const GAP_US: i64 = 2_000_000;
/// MPEG clocks begin anew after 2^33 ticks of 90 kHz, 26.5 hours.
pub(super) const WRAP_US: i64 = ((1 << 33) * 1_000_000 + 45_000) / 90_000;

/// Turns the times that a stream states into stream time: it begins at zero, never stands still or
/// runs back, follows the stream's clock while that is sane, and goes on as the wall clock does
/// over interruptions.
#[derive(Debug, Default)]
pub(super) struct StreamClock {
    /// Wall clock of the first frame of all.
    begun: Option<WallTime>,
    last: Option<MediaTime>,
    /// What to add to the stream's own clock to get stream time, once known for the connection.
    offset_us: Option<i64>,
    /// Whether this connection has given a frame.
    connected: bool,
    /// How many times further than usual the clock may go at once: some pictures may be left out.
    patience: i64,
}

impl StreamClock {
    /// A clock that may go `patience` times further at once than one of a stream of which every
    /// picture is seen.
    pub(super) fn new(patience: u32) -> Self {
        Self {
            patience: i64::from(patience),
            ..Self::default()
        }
    }

    /// Whether there was a frame already.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// The stream is opened again: its clock may be another.
    pub(super) fn reconnect(&mut self) {
        self.offset_us = None;
        self.connected = false;
    }

    /// Stream time of the next frame, and whether frames before it are missing. `own_us` is what
    /// the stream states, if it does; `frame_time` is the usual time from frame to frame.
    pub(super) fn stamp(
        &mut self,
        own_us: Option<i64>,
        wall: WallTime,
        frame_time: Duration,
    ) -> (MediaTime, bool) {
        let begun = *self.begun.get_or_insert(wall);
        let by_wall = wall.unix_micros().saturating_sub(begun.unix_micros());
        let frame_us = i64::try_from(frame_time.as_micros())
            .unwrap_or(STEP_MAX_US)
            .clamp(1, STEP_MAX_US);
        let reconnected = !std::mem::replace(&mut self.connected, true);
        let Some(last_us) = self.last.map(MediaTime::micros) else {
            return (self.set(by_wall.max(0), own_us), false);
        };
        let next_us = last_us.saturating_add(frame_us);
        if reconnected {
            return (self.set(by_wall.max(next_us), own_us), true);
        }
        let Some(own) = own_us else {
            // Now and then one is missing, or there are none at all: then the wall clock tells.
            let time_us = if self.offset_us.is_some() {
                next_us
            } else {
                by_wall.max(last_us + 1)
            };
            return (self.set(time_us, None), false);
        };
        let Some(offset) = self.offset_us else {
            return (self.set(by_wall.max(last_us + 1), own_us), false);
        };
        let step = own.saturating_add(offset).saturating_sub(last_us);
        let step_min = (frame_us / STEPS_A_FRAME).max(1);
        let steps = [step, step.saturating_add(WRAP_US)];
        if let Some(step) = steps
            .into_iter()
            .find(|step| (step_min..=STEP_MAX_US * self.patience).contains(step))
        {
            let gap = step > (GAP_US * self.patience).max(5 * frame_us);
            return (self.set(last_us.saturating_add(step), own_us), gap);
        }
        if (-BACK_MAX_US..step_min).contains(&step) {
            return (self.set(next_us, own_us), false);
        }
        (self.set(by_wall.max(next_us), own_us), true)
    }

    fn set(&mut self, time_us: i64, own_us: Option<i64>) -> MediaTime {
        if let Some(own) = own_us {
            self.offset_us = Some(time_us.saturating_sub(own));
        }
        let time = MediaTime::from_micros(time_us);
        self.last = Some(time);
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(40);
    const S: i64 = 1_000_000;

    /// Stream times in milliseconds, and where gaps are, of (own, wall) times in milliseconds.
    fn check(frames: &[(Option<i64>, i64)], expected_ms: &[i64], gaps: &[usize]) {
        let mut clock = StreamClock::new(1);
        let seen: Vec<(i64, bool)> = frames
            .iter()
            .map(|(own, wall)| {
                let own = own.map(|ms| ms * 1000);
                let wall = WallTime::from_unix_micros(wall * 1000);
                let (time, gap) = clock.stamp(own, wall, FRAME);
                (time.micros() / 1000, gap)
            })
            .collect();
        let times: Vec<i64> = seen.iter().map(|(ms, _)| *ms).collect();
        assert_eq!(times, expected_ms, "{frames:?}");
        let at: Vec<usize> = (0..seen.len()).filter(|i| seen[*i].1).collect();
        assert_eq!(at, gaps, "{frames:?}");
    }

    #[test]
    fn a_sane_clock_is_followed_whatever_the_wall_clock_does() {
        let own = |ms: i64| Some(900_000 + ms);
        check(
            &[(own(0), 5), (own(40), 500), (own(79), 501), (own(1079), 3)],
            &[0, 40, 79, 1079],
            &[],
        );
    }

    #[test]
    fn what_stands_still_or_trembles_goes_on_frame_by_frame() {
        let own = |ms| Some(ms);
        check(
            &[(own(0), 0), (own(0), 9), (own(0), 9), (own(40), 9)],
            &[0, 40, 80, 120],
            &[],
        );
        check(
            &[(own(0), 0), (own(80), 9), (own(40), 9), (own(120), 9)],
            &[0, 80, 120, 200],
            &[],
        );
    }

    #[test]
    fn jumps_are_gaps_that_the_wall_clock_fills() {
        let own = |ms| Some(ms);
        // Back, with less wall time gone than a frame; on by an hour; on by three seconds.
        check(
            &[(own(50_000), 0), (own(3), 10), (own(43), 50)],
            &[0, 40, 80],
            &[1],
        );
        check(
            &[(own(0), 0), (own(3_600_000), 7000), (own(3_600_040), 7040)],
            &[0, 7000, 7040],
            &[1],
        );
        check(
            &[(own(0), 0), (own(3000), 40), (own(3040), 80)],
            &[0, 3000, 3040],
            &[1],
        );
    }

    #[test]
    fn without_times_the_wall_clock_tells_and_a_lost_one_is_filled_in() {
        check(
            &[(None, 0), (None, 100), (None, 100), (None, 260)],
            &[0, 100, 100, 260],
            &[],
        );
        check(
            &[(Some(0), 0), (None, 700), (Some(80), 900)],
            &[0, 40, 80],
            &[],
        );
    }

    #[test]
    fn a_clock_that_wraps_goes_on() {
        let mut clock = StreamClock::new(1);
        let mut at = |own| clock.stamp(Some(own), WallTime::default(), FRAME);
        assert_eq!(at(WRAP_US - 20_000), (MediaTime::ZERO, false));
        assert_eq!(at(20_000), (MediaTime::from_micros(40_000), false));
        assert_eq!(at(60_000), (MediaTime::from_micros(80_000), false));
        assert_eq!(WRAP_US, 95_443_717_689);
    }

    #[test]
    fn a_new_connection_is_a_gap_and_time_is_that_of_the_wall() {
        let mut clock = StreamClock::new(1);
        let wall = |us| WallTime::from_unix_micros(us);
        clock.stamp(Some(7), wall(100), FRAME);
        clock.reconnect();
        let (time, gap) = clock.stamp(Some(0), wall(100 + 5 * S), FRAME);
        assert_eq!((time.micros(), gap), (5 * S, true));
        clock.reconnect();
        // Streams may have sent more than the wall clock says, and have no times now.
        let (time, gap) = clock.stamp(None, wall(100), FRAME);
        assert_eq!((time.micros(), gap), (5 * S + 40_000, true));
        let (time, gap) = clock.stamp(None, wall(100 + 9 * S), FRAME);
        assert_eq!((time.micros(), gap), (9 * S, false));
    }

    #[test]
    fn extreme_times_stay_in_order() {
        let mut clock = StreamClock::new(1);
        let owns = [i64::MAX, i64::MIN, 0, i64::MAX, i64::MAX, i64::MIN, 5];
        let times: Vec<MediaTime> = owns
            .into_iter()
            .map(|own| clock.stamp(Some(own), WallTime::default(), FRAME).0)
            .collect();
        assert!(times.windows(2).all(|w| w[0] < w[1]), "{times:?}");
    }
}

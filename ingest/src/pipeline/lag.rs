use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::observe::MediaTime;

/// How far behind the present the analysis of a live source is.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// Frames that came and are not analysed yet, and when they came: as many as the search for
    /// cuts holds back.
    waiting: VecDeque<(MediaTime, Instant)>,
    analysed: Option<Instant>,
}

impl Lag {
    /// A frame of stream time `time` came at `now`.
    pub(super) fn came(&mut self, time: MediaTime, now: Instant) {
        self.waiting.push_back((time, now));
    }

    /// How long before `now` the newest frame up to `position` had come; `None` before the first.
    pub(super) fn at(&mut self, position: MediaTime, now: Instant) -> Option<Duration> {
        while let Some((_, came)) = self.waiting.pop_front_if(|(time, _)| *time <= position) {
            self.analysed = Some(came);
        }
        self.analysed
            .map(|came| now.saturating_duration_since(came))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_that_of_the_newest_frame_analysed() {
        let (begun, at) = (Instant::now(), MediaTime::from_micros);
        let later = |ms| begun + Duration::from_millis(ms);
        let mut lag = Lag::default();
        assert_eq!(lag.at(at(0), later(5)), None);
        lag.came(at(0), later(10));
        lag.came(at(40), later(50));
        lag.came(at(80), later(90));
        assert_eq!(lag.at(at(40), later(100)), Some(Duration::from_millis(50)));
        // Nothing comes any more: it grows.
        assert_eq!(lag.at(at(80), later(1090)), Some(Duration::from_secs(1)));
        assert!(lag.waiting.is_empty());
    }
}

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{CaptureStatus, Frame, FrameSource, Next, StopToken};
use crate::observe::{Fault, RunState};

/// What happens when frames come faster than they are analysed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The reader waits. For files: nothing is lost.
    Wait,
    /// Everything but the newest frame is dropped and counted. For live streams: they stay current.
    KeepNewest,
}

/// A bounded queue of frames between the thread that reads and the thread that analyses.
pub struct Feed {
    frames: Mutex<Queue>,
    changed: Condvar,
    capacity: usize,
    overflow: Overflow,
    status: CaptureStatus,
}

struct Queue {
    waiting: VecDeque<Frame>,
    end: Option<Result<Option<Fault>, Fault>>,
    closed: bool,
}

/// What the queue had to give.
pub enum Taken {
    /// The next frame.
    Frame(Frame),
    /// Nothing yet.
    Nothing,
    /// Nothing any more: how the source ended.
    Ended(Result<Option<Fault>, Fault>),
}

impl Feed {
    /// A queue of at most `capacity` (at least 1) frames.
    #[must_use]
    pub fn new(capacity: usize, overflow: Overflow, status: CaptureStatus) -> Self {
        let queue = Queue {
            waiting: VecDeque::new(),
            end: None,
            closed: false,
        };
        Self {
            frames: Mutex::new(queue),
            changed: Condvar::new(),
            capacity: capacity.max(1),
            overflow,
            status,
        }
    }

    /// Reads `source` to its end, or until a stop is requested or the other side has left.
    pub fn fill_from(&self, source: &mut dyn FrameSource, stop: &StopToken) {
        let end = loop {
            if stop.is_requested() {
                break Ok(None);
            }
            match source.next(&self.status) {
                Ok(Next::Frame(frame)) => {
                    if !self.put(frame) {
                        break Ok(None);
                    }
                }
                Ok(Next::Ended(fault)) => break Ok(fault),
                Err(fault) => break Err(fault),
            }
        };
        self.lock().end = Some(end);
        self.changed.notify_all();
    }

    /// The next frame, waiting for it at most `timeout`.
    pub fn take(&self, timeout: Duration) -> Taken {
        let deadline = Instant::now() + timeout;
        let mut queue = self.lock();
        loop {
            if let Some(frame) = queue.waiting.pop_front() {
                self.changed.notify_all();
                return Taken::Frame(frame);
            }
            if let Some(end) = &queue.end {
                return Taken::Ended(end.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Nothing;
            }
            let waited = self.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes no more frames: a reader that waits for room leaves.
    pub fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.waiting.clear();
        self.changed.notify_all();
    }

    fn put(&self, mut frame: Frame) -> bool {
        let mut queue = self.lock();
        if self.overflow == Overflow::KeepNewest && queue.waiting.len() >= self.capacity {
            // What is dropped may have been the first frame after a gap.
            frame.after_gap |= queue.waiting.iter().any(|dropped| dropped.after_gap);
            let dropped = u64::try_from(queue.waiting.len()).unwrap_or(u64::MAX);
            self.status.update(|facts| facts.dropped += dropped);
            queue.waiting.clear();
        }
        while queue.waiting.len() >= self.capacity && !queue.closed {
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if queue.closed {
            return false;
        }
        self.status.update(|facts| {
            facts.state = RunState::Running;
            facts.fault = None;
        });
        queue.waiting.push_back(frame);
        self.changed.notify_all();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::fake::ScriptedSource;

    fn numbers(feed: &Feed) -> Vec<u64> {
        let mut numbers = Vec::new();
        while let Taken::Frame(frame) = feed.take(Duration::ZERO) {
            numbers.push(frame.stamp.number.get());
        }
        numbers
    }

    #[test]
    fn live_sources_keep_the_newest_and_count_the_rest() {
        let status = CaptureStatus::default();
        let feed = Feed::new(4, Overflow::KeepNewest, status.clone());
        feed.fill_from(&mut ScriptedSource::uniform(10), &StopToken::default());
        let kept = numbers(&feed);
        assert!(kept.len() <= 4, "{kept:?}");
        assert_eq!(*kept.last().unwrap(), 9);
        assert_eq!(
            u64::try_from(kept.len()).unwrap() + status.facts().dropped,
            10
        );
        assert!(matches!(feed.take(Duration::ZERO), Taken::Ended(Ok(None))));
    }

    #[test]
    fn files_lose_nothing() {
        let status = CaptureStatus::default();
        let feed = Feed::new(2, Overflow::Wait, status.clone());
        let mut seen = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                feed.fill_from(&mut ScriptedSource::uniform(50), &StopToken::default());
            });
            while let Taken::Frame(frame) = feed.take(Duration::from_secs(60)) {
                seen.push(frame.stamp.number.get());
            }
        });
        assert_eq!(seen, (0..50).collect::<Vec<_>>());
        assert_eq!(status.facts().dropped, 0);
    }

    #[test]
    fn a_closed_feed_lets_the_reader_go() {
        let feed = Feed::new(1, Overflow::Wait, CaptureStatus::default());
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                feed.fill_from(&mut ScriptedSource::uniform(5), &StopToken::default());
            });
            assert!(matches!(
                feed.take(Duration::from_secs(60)),
                Taken::Frame(_)
            ));
            feed.close();
            reader.join().unwrap();
        });
    }
}

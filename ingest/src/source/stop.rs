use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Tells every thread of a run to leave. Clones share one flag, which is never taken back.
#[derive(Clone, Debug, Default)]
pub struct StopToken(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    requested: Mutex<bool>,
    changed: Condvar,
}

impl StopToken {
    /// Asks everybody to leave, and wakes who waits.
    pub fn request(&self) {
        *self
            .0
            .requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }

    /// Whether a stop was requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self
            .0
            .requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `deadline` or a stop, whichever comes first; true for a stop.
    pub fn wait_until(&self, deadline: Instant) -> bool {
        let mut requested = self
            .0
            .requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while !*requested {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let (guard, _) = self
                .0
                .changed
                .wait_timeout(requested, left)
                .unwrap_or_else(PoisonError::into_inner);
            requested = guard;
        }
        true
    }

    /// Waits for `time` or a stop, whichever comes first; true for a stop.
    pub fn wait(&self, time: Duration) -> bool {
        self.wait_until(Instant::now() + time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_flag_and_waiters_wake() {
        let token = StopToken::default();
        assert!(!token.wait(Duration::ZERO));
        let waiter = token.clone();
        let thread = std::thread::spawn(move || waiter.wait(Duration::from_secs(3600)));
        token.request();
        assert!(thread.join().unwrap());
        assert!(token.is_requested());
    }
}

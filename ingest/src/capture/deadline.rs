use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::source::StopToken;

/// Until when FFmpeg may go on. FFmpeg asks it again and again while it waits.
#[derive(Clone)]
pub(super) struct Deadline(Arc<Inner>);

struct Inner {
    base: Instant,
    /// Milliseconds after `base`. Relaxed is enough: it stands for itself, and a late look at it
    /// only means a late end.
    limit_ms: AtomicU64,
    stop: StopToken,
}

impl Deadline {
    pub(super) fn new(stop: StopToken) -> Self {
        let inner = Inner {
            base: Instant::now(),
            limit_ms: AtomicU64::new(u64::MAX),
            stop,
        };
        Self(Arc::new(inner))
    }

    /// What comes next may take so long.
    pub(super) fn arm(&self, time: Duration) {
        let limit = self.0.base.elapsed() + time;
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.0.limit_ms.store(limit, Ordering::Relaxed);
    }

    /// Whether whoever waits must give up.
    pub(super) fn is_over(&self) -> bool {
        let limit = self.0.limit_ms.load(Ordering::Relaxed);
        let now = u64::try_from(self.0.base.elapsed().as_millis()).unwrap_or(u64::MAX);
        now > limit || self.0.stop.is_requested()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.0.stop.is_requested()
    }
}

//! Capture: files and streams through FFmpeg, as frames with stream time, wall clock and number.
//!
//! Sources are untrusted. What may be opened is decided before FFmpeg sees it ([`Location`]) and
//! enforced again inside FFmpeg for everything a playlist or container points at; every open and
//! every read has a deadline; nothing goes through a shell. Pages are handed to a program that the
//! operator named, and what it finds is held to the same rules.

mod access;
mod clock;
mod colour;
mod convert;
mod deadline;
mod decoder;
mod faults;
mod file;
mod live;
mod log;
mod luma;
mod orientation;
mod passed;
mod raw;
mod resolver;
mod session;
mod times;

pub use access::{AccessRules, Location};
pub use file::FileSource;
pub use live::LiveSource;
pub use log::route_logs;

use std::{sync::Arc, time::Duration};

pub use crate::observe::WallClock;
use crate::observe::WallTime;

/// How patient capture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Opening and probing a source may take so long.
    pub open: Duration,
    /// So long may pass without a byte, and on live sources without a picture.
    pub read: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            open: Duration::from_secs(20),
            read: Duration::from_secs(15),
        }
    }
}

/// The system's clock.
#[must_use]
pub fn system_clock() -> WallClock {
    Arc::new(|| {
        let now = std::time::SystemTime::now();
        let since = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        WallTime::from_unix_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    })
}

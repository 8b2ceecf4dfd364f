use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use super::{
    Location, Patience, WallClock,
    clock::StreamClock,
    convert::{DecodedImage, grey},
    deadline::Deadline,
    session::{Decoded, Session},
};
use crate::{
    observe::{Fault, FaultReason, FrameNo, RunState},
    source::{CaptureStatus, DecodeMode, Frame, FrameSource, FrameStamp, Next, StopToken},
};

/// First pause before a stream is opened again; doubled each time, up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_LONGEST: Duration = Duration::from_secs(30);

/// A source without an end: opened again whenever it breaks off, until a stop is requested.
///
/// Stream time goes on over gaps as the wall clock does. Faults that trying again cannot heal (a
/// protocol that is not allowed, a stream without pictures) end it.
pub struct LiveSource {
    location: Location,
    patience: Patience,
    mode: DecodeMode,
    clock: WallClock,
    stop: StopToken,
    deadline: Deadline,
    session: Option<Session>,
    failures: u32,
    next_number: FrameNo,
    times: StreamClock,
}

impl LiveSource {
    /// Follows `location`.
    #[must_use]
    pub fn new(location: Location, patience: Patience, clock: WallClock, stop: StopToken) -> Self {
        let deadline = Deadline::new(stop.clone());
        Self {
            location,
            patience,
            mode: DecodeMode::All,
            clock,
            stop,
            deadline,
            session: None,
            failures: 0,
            next_number: FrameNo::default(),
            times: StreamClock::new(DecodeMode::All.patience_factor()),
        }
    }

    /// The same, decoding what `mode` says.
    #[must_use]
    pub fn with_mode(self, mode: DecodeMode) -> Self {
        let times = StreamClock::new(mode.patience_factor());
        Self {
            mode,
            times,
            ..self
        }
    }

    /// Opens the stream if it is not open.
    fn connect(&mut self) -> Result<(), Fault> {
        if self.session.is_none() {
            let decoding = (self.mode, 1);
            let mut session =
                Session::open(&self.location, self.patience, decoding, &self.deadline)?;
            session.has_no_end();
            self.session = Some(session);
            self.times.reconnect();
        }
        Ok(())
    }

    fn read(&mut self, status: &CaptureStatus) -> Result<Frame, Fault> {
        self.connect()?;
        let Some(session) = &mut self.session else {
            return Err(self.broken("is not open"));
        };
        let decoded = session.next(status)?;
        let (geometry, frame_time) = (*session.geometry(), session.frame_time());
        let refused = session
            .early_end()
            .filter(|fault| !fault.reason.is_transient());
        let Some(decoded) = decoded else {
            return Err(refused.unwrap_or_else(|| self.broken("ended")));
        };
        let small = grey(&decoded.frame, &geometry)?;
        let (stamp, after_gap) = self.stamp(&decoded, frame_time);
        self.failures = 0;
        let image = Box::new(DecodedImage {
            frame: decoded.frame,
            geometry,
        });
        Ok(Frame {
            stamp,
            after_gap,
            grey: small,
            image,
        })
    }

    /// Number and times of a frame, and whether frames before it are missing.
    fn stamp(&mut self, decoded: &Decoded, frame_time: Duration) -> (FrameStamp, bool) {
        let wall = (self.clock)();
        let (time, after_gap) = self.times.stamp(decoded.time_us, wall, frame_time);
        let number = self.next_number;
        self.next_number = number.next();
        (FrameStamp { number, time, wall }, after_gap)
    }

    /// Whether trying again is pointless. A stream that has run before may send an error page now
    /// and pictures later; one that points where it must not is never opened again.
    fn is_final(&self, fault: &Fault) -> bool {
        let seen_before = self.times.has_begun() && fault.reason != FaultReason::ProtocolNotAllowed;
        !fault.reason.is_transient() && !seen_before
    }

    fn broken(&self, what: &str) -> Fault {
        let what = format!("'{}' {what}; it is opened again", self.location.shown);
        Fault::new(FaultReason::ConnectFailed, what)
    }

    /// The pause before the next attempt: doubled each time, a quarter more or less by chance.
    fn pause(&mut self) -> Duration {
        let doubled = PAUSE_FIRST.saturating_mul(1 << self.failures.min(10));
        self.failures += 1;
        let chance = RandomState::new().build_hasher().finish() % 501;
        let share = 0.75 + f64::from(u32::try_from(chance).unwrap_or(0)) / 1000.0;
        doubled.min(PAUSE_LONGEST).mul_f64(share)
    }
}

impl FrameSource for LiveSource {
    fn next(&mut self, status: &CaptureStatus) -> Result<Next, Fault> {
        loop {
            match self.read(status) {
                Ok(frame) => return Ok(Next::Frame(frame)),
                Err(_) if self.stop.is_requested() => return Ok(Next::Ended(None)),
                Err(fault) if self.is_final(&fault) => return Err(fault),
                Err(fault) => {
                    tracing::warn!(%fault, failures = self.failures, "the stream is opened again");
                    self.session = None;
                    let state = if self.times.has_begun() {
                        RunState::Stalled
                    } else {
                        RunState::Connecting
                    };
                    status.update(|facts| {
                        facts.state = state;
                        facts.fault = Some(fault);
                        facts.reconnects += 1;
                    });
                    let pause = self.pause();
                    if self.stop.wait(pause) {
                        return Ok(Next::Ended(None));
                    }
                }
            }
        }
    }
}

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use super::{
    DecodeMode, Location, Patience, WallClock,
    convert::{DecodedImage, grey},
    deadline::Deadline,
    session::{Decoded, Session},
};
use crate::{
    observe::{Fault, FaultReason, FrameNo, MediaInfo, MediaTime, RunState, WallTime},
    source::{CaptureStatus, Frame, FrameSource, FrameStamp, Next, StopToken},
};

/// First pause before a stream is opened again; doubled each time, up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_LONGEST: Duration = Duration::from_secs(30);
/// A stream clock that jumps further than this has begun anew.
const JUMP_MAX_US: i64 = 10_000_000;

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
    /// Wall clock of the first frame of all.
    begun: Option<WallTime>,
    last: Option<MediaTime>,
    /// What to add to the container's clock to get stream time, once known for the session.
    offset_us: Option<i64>,
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
            begun: None,
            last: None,
            offset_us: None,
        }
    }

    /// The same, decoding what `mode` says.
    #[must_use]
    pub fn with_mode(self, mode: DecodeMode) -> Self {
        Self { mode, ..self }
    }

    /// Opens the stream if it is not open.
    fn connect(&mut self, status: &CaptureStatus) -> Result<(), Fault> {
        if self.session.is_some() {
            return Ok(());
        }
        let session = Session::open(&self.location, self.patience, self.mode, &self.deadline)?;
        // A live stream has no duration, whatever its container says.
        let info = MediaInfo {
            duration: None,
            ..session.info().clone()
        };
        status.update(|facts| facts.media = Some(info));
        self.session = Some(session);
        self.offset_us = None;
        Ok(())
    }

    fn read(&mut self, status: &CaptureStatus) -> Result<Frame, Fault> {
        self.connect(status)?;
        let Some(session) = &mut self.session else {
            return Err(self.broken("is not open"));
        };
        let decoded = session.next(status)?;
        let geometry = *session.geometry();
        let refused = session
            .early_end()
            .filter(|fault| !fault.reason.is_transient());
        let Some(decoded) = decoded else {
            return Err(refused.unwrap_or_else(|| self.broken("ended")));
        };
        let small = grey(&decoded.frame, &geometry)?;
        let (stamp, after_gap) = self.stamp(&decoded);
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
    fn stamp(&mut self, decoded: &Decoded) -> (FrameStamp, bool) {
        let wall = (self.clock)();
        let begun = *self.begun.get_or_insert(wall);
        let by_wall = wall.unix_micros() - begun.unix_micros();
        let said = decoded
            .time_us
            .zip(self.offset_us)
            .map(|(us, offset)| us.saturating_add(offset));
        let last = self.last.map(MediaTime::micros);
        let jump_max = JUMP_MAX_US * i64::from(self.mode.patience_factor());
        let follows = |us: &i64| last.is_none_or(|last| *us > last && *us - last <= jump_max);
        let (time_us, after_gap) = match said.filter(follows) {
            Some(us) => (us, false),
            None => {
                let us = by_wall.max(last.map_or(0, |last| last + 1));
                let new_session = self.offset_us.is_none();
                self.offset_us = decoded.time_us.map(|own| us.saturating_sub(own));
                (us, last.is_some() && (new_session || said.is_some()))
            }
        };
        let time = MediaTime::from_micros(time_us);
        let stamp = FrameStamp {
            number: self.next_number,
            time,
            wall,
        };
        self.next_number = self.next_number.next();
        self.last = Some(time);
        (stamp, after_gap)
    }

    /// Whether trying again is pointless. A stream that has run before may send an error page now
    /// and pictures later; one that points where it must not is never opened again.
    fn is_final(&self, fault: &Fault) -> bool {
        let seen_before = self.begun.is_some() && fault.reason != FaultReason::ProtocolNotAllowed;
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
                    let state = if self.begun.is_some() {
                        RunState::Stalled
                    } else {
                        RunState::Connecting
                    };
                    status.update(|facts| {
                        facts.state = state;
                        facts.fault = Some(fault);
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

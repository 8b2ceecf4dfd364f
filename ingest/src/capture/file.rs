use std::time::Instant;

use super::{
    DecodeMode, Location, Patience,
    convert::{DecodedImage, grey},
    deadline::Deadline,
    session::{Decoded, Session},
};
use crate::{
    observe::{Fault, FaultReason, FrameNo, MediaTime, ResumePoint, RunState, WallTime},
    source::{CaptureStatus, Frame, FrameSource, FrameStamp, Next, StopToken},
};

/// Seeking aims so much earlier than the frame wanted: a picture that refers to one before its
/// keyframe is whole by then.
const SEEK_EARLY_US: i64 = 1_000_000;

/// A source with an end: every frame is given, in order.
///
/// Times and numbers are those of the whole file wherever reading begins.
pub struct FileSource {
    location: Location,
    patience: Patience,
    mode: DecodeMode,
    realtime: bool,
    resume: Option<ResumePoint>,
    wall_start: WallTime,
    stop: StopToken,
    deadline: Deadline,
    open: Option<Open>,
}

struct Open {
    session: Session,
    /// The first picture, on the container's clock.
    first_us: i64,
    /// A frame decoded already.
    ahead: Option<Decoded>,
    next_number: FrameNo,
    last: Option<MediaTime>,
    /// When the first frame was given, and its time.
    pace: Option<(Instant, MediaTime)>,
}

impl FileSource {
    /// Reads `location`, from `resume` on if there is one. With `realtime` frames come at the pace
    /// of the file's own clock. Wall clocks are counted as if the file began (or went on) at
    /// `wall_start`.
    #[must_use]
    pub fn new(
        location: Location,
        patience: Patience,
        realtime: bool,
        resume: Option<ResumePoint>,
        wall_start: WallTime,
        stop: StopToken,
    ) -> Self {
        let deadline = Deadline::new(stop.clone());
        Self {
            location,
            patience,
            mode: DecodeMode::All,
            realtime,
            resume,
            wall_start,
            stop,
            deadline,
            open: None,
        }
    }

    /// The same, decoding what `mode` says. A `resume` point must come from the same mode.
    #[must_use]
    pub fn with_mode(self, mode: DecodeMode) -> Self {
        Self { mode, ..self }
    }

    fn open_session(&self) -> Result<Session, Fault> {
        Session::open(&self.location, self.patience, self.mode, &self.deadline)
    }

    fn open(&self, status: &CaptureStatus) -> Result<Option<Open>, Fault> {
        status.update(|facts| facts.state = RunState::Connecting);
        let mut session = self.open_session()?;
        let Some(first) = session.next(status)? else {
            return Ok(None);
        };
        let mut open = Open {
            first_us: first.time_us.unwrap_or(0),
            session,
            ahead: Some(first),
            next_number: FrameNo::default(),
            last: None,
            pace: None,
        };
        if let Some(resume) = self.resume {
            self.skip_to(resume, &mut open, status)?;
        }
        Ok(Some(open))
    }

    /// Goes to the first frame at or after `resume`: by seeking, or by reading everything before.
    fn skip_to(
        &self,
        resume: ResumePoint,
        open: &mut Open,
        status: &CaptureStatus,
    ) -> Result<(), Fault> {
        let target = resume.time.micros().saturating_sub(SEEK_EARLY_US);
        if target > 0
            && open
                .session
                .seek(open.first_us.saturating_add(target))
                .is_ok()
        {
            open.ahead = open.session.next(status)?;
            let landed = open.ahead.as_ref().and_then(|decoded| decoded.time_us);
            let early =
                landed.is_some_and(|us| us.saturating_sub(open.first_us) <= resume.time.micros());
            if !early {
                // The container's index is wrong: read from the start.
                open.session = self.open_session()?;
                open.ahead = open.session.next(status)?;
            }
        }
        while let Some(decoded) = open.ahead.take() {
            let time = open.time_of(&decoded);
            if time >= resume.time {
                open.ahead = Some(decoded);
                break;
            }
            open.last = Some(time);
            open.ahead = open.session.next(status)?;
        }
        open.next_number = resume.frame;
        Ok(())
    }

    fn frame(&mut self, decoded: Decoded, status: &CaptureStatus) -> Result<Option<Frame>, Fault> {
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        let time = open.time_of(&decoded);
        let number = open.next_number;
        open.next_number = number.next();
        open.last = Some(time);
        let (begun, first) = *open.pace.get_or_insert_with(|| (Instant::now(), time));
        let into_run = time.since(first);
        if self.realtime && self.stop.wait_until(begun + into_run) {
            return Ok(None);
        }
        let wall = self.wall_start.plus_micros(time.micros() - first.micros());
        let geometry = *open.session.geometry();
        let shrinking = Instant::now();
        let small = grey(&decoded.frame, &geometry)?;
        let spent = shrinking.elapsed();
        status.update(|facts| facts.shrink += spent);
        let stamp = FrameStamp { number, time, wall };
        let image = Box::new(DecodedImage {
            frame: decoded.frame,
            geometry,
        });
        Ok(Some(Frame {
            stamp,
            after_gap: false,
            grey: small,
            image,
        }))
    }
}

impl Open {
    /// Stream time of a frame. Where the container has none, or time stands still or runs back,
    /// one frame after the last.
    fn time_of(&self, decoded: &Decoded) -> MediaTime {
        let said = decoded
            .time_us
            .map(|us| MediaTime::from_micros(us.saturating_sub(self.first_us)));
        let Some(last) = self.last else {
            return said.unwrap_or(MediaTime::ZERO);
        };
        said.filter(|time| *time > last)
            .unwrap_or_else(|| last + self.session.frame_time())
    }
}

impl FrameSource for FileSource {
    fn next(&mut self, status: &CaptureStatus) -> Result<Next, Fault> {
        if self.open.is_none() {
            self.open = self.open(status)?;
        }
        let Some(open) = &mut self.open else {
            let hint = match self.location.scheme.as_str() {
                "pipe" => "; an MP4 must begin with its index there (-movflags +faststart)",
                _ => "",
            };
            let what = format!(
                "'{}' holds no picture that can be decoded{hint}",
                self.location.shown
            );
            return Err(Fault::new(FaultReason::NotAVideo, what));
        };
        let decoded = match open.ahead.take() {
            Some(decoded) => Some(decoded),
            None => open.session.next(status)?,
        };
        let Some(decoded) = decoded else {
            let early = open
                .session
                .early_end()
                .filter(|_| !self.deadline.is_stopped());
            return Ok(Next::Ended(early));
        };
        Ok(self
            .frame(decoded, status)?
            .map_or(Next::Ended(None), Next::Frame))
    }
}

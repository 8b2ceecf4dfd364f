use std::time::{Duration, Instant};

use super::{
    Location, Patience,
    clock::WRAP_US,
    convert::{DecodedImage, grey},
    deadline::Deadline,
    session::{Decoded, Session},
};
use crate::{
    observe::{Fault, FaultReason, FrameNo, MediaTime, ResumePoint, RunState, WallTime},
    source::{CaptureStatus, DecodeMode, Frame, FrameSource, FrameStamp, Next, StopToken},
};

/// Seeking aims so much earlier than the frame wanted, microseconds, one after the other until it
/// lands before it. The least is not 0: a picture that refers to one before its keyframe is whole
/// by then.
const SEEK_EARLY_US: [i64; 4] = [1_000_000, 10_000_000, 60_000_000, 300_000_000];

/// A clock that is thought to have begun anew may go on by so much at once.
const WRAP_STEP_MAX: Duration = Duration::from_secs(10);

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

/// Threads that decode a file: two, if there are two cores. The cores are wanted for the analysis
/// too, and each thread keeps frames.
fn decoder_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(2))
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
        let decoding = (self.mode, decoder_threads());
        Session::open(&self.location, self.patience, decoding, &self.deadline)
    }

    fn open(&self, status: &CaptureStatus) -> Result<Option<Open>, Fault> {
        status.update(|facts| facts.state = RunState::Connecting);
        let mut session = self.open_session()?;
        let Some(mut first) = session.next(status)? else {
            return Ok(None);
        };
        first.passed = 0;
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
        let near = resume.time.micros() <= SEEK_EARLY_US[0];
        let found =
            (near || self.seek_to(resume, open, status)?) && open.skip_before(resume, status)?;
        if !found {
            // The container's index is wrong, or its times run back somewhere: read from the start.
            open.session = self.open_session()?;
            open.ahead = open.session.next(status)?;
            open.last = None;
            open.skip_before(resume, status)?;
        }
        open.next_number = resume.frame;
        if let Some(ahead) = &mut open.ahead
            && ahead.time_us == Some(open.first_us.saturating_add(resume.time.micros()))
        {
            // The number is that of this frame.
            ahead.passed = 0;
        }
        Ok(())
    }

    /// Seeks to a frame before `resume`, further back until one is there: containers without an
    /// index are entered at any packet, and the next keyframe may come too late. Whether it worked.
    fn seek_to(
        &self,
        resume: ResumePoint,
        open: &mut Open,
        status: &CaptureStatus,
    ) -> Result<bool, Fault> {
        let wanted = resume.time.micros();
        for early_us in SEEK_EARLY_US {
            let target = wanted.saturating_sub(early_us);
            let at = open.first_us.saturating_add(target);
            if target <= 0 || open.session.seek(at).is_err() {
                return Ok(false);
            }
            open.ahead = open.session.next(status)?;
            let landed = open.ahead.as_ref().and_then(|decoded| decoded.time_us);
            let landed = landed.map(|us| us.saturating_sub(open.first_us));
            if landed.is_some_and(|us| (0..=wanted).contains(&us)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn frame(&mut self, decoded: Decoded, status: &CaptureStatus) -> Result<Option<Frame>, Fault> {
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        let time = open.time_of(&decoded);
        let number = open.next_number.plus(decoded.passed);
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
    /// Reads up to the first frame at or after `resume`; false if there is none.
    fn skip_before(&mut self, resume: ResumePoint, status: &CaptureStatus) -> Result<bool, Fault> {
        while let Some(decoded) = self.ahead.take() {
            let time = self.time_of(&decoded);
            if time >= resume.time {
                self.ahead = Some(decoded);
                return Ok(true);
            }
            self.last = Some(time);
            self.ahead = self.session.next(status)?;
        }
        Ok(false)
    }

    /// Stream time of a frame. Where the container has none, or time stands still or runs back,
    /// one frame after the last; an MPEG clock that begins anew goes on.
    fn time_of(&self, decoded: &Decoded) -> MediaTime {
        let said = decoded
            .time_us
            .map(|us| MediaTime::from_micros(us.saturating_sub(self.first_us)));
        let Some(last) = self.last else {
            return said.unwrap_or(MediaTime::ZERO);
        };
        let wrapped =
            said.map(|time| MediaTime::from_micros(time.micros().saturating_add(WRAP_US)));
        let soon = |time: &MediaTime| *time > last && time.since(last) <= WRAP_STEP_MAX;
        said.filter(|time| *time > last)
            .or(wrapped.filter(soon))
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

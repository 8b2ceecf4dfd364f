//! What a run over a source reports: tracks as they open, grow and close, checkpoints, how it is
//! doing, and how it ended.
//!
//! Plain twins of the messages of `ingest.proto`, so that the pipeline knows neither a wire format
//! nor a network. Whoever wants observations implements [`ObservationSink`].

use std::{
    collections::BTreeMap,
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

use rollcall_index::Embedding;

mod fault;

pub use fault::{Fault, FaultReason, mask_credentials};

/// The worker's own name of a track within its source: the same each time the same material is
/// read. Made of the frame of the track's first detection and its rank in that frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackKey(u64);

impl TrackKey {
    /// Faces of one frame that can be told apart.
    pub const RANKS_MAX: u64 = 1000;

    /// The key of the track whose first detection is the `rank`-th (from 0, best score first) of
    /// `frame`. Ranks from [`TrackKey::RANKS_MAX`] on are folded onto the last one.
    #[must_use]
    pub fn of(frame: FrameNo, rank: usize) -> Self {
        let rank = u64::try_from(rank)
            .unwrap_or(u64::MAX)
            .min(Self::RANKS_MAX - 1);
        Self(
            frame
                .get()
                .saturating_mul(Self::RANKS_MAX)
                .saturating_add(rank),
        )
    }

    /// The bare number, as it goes over the wire.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TrackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a picture in its source, 0 for the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameNo(u64);

impl FrameNo {
    /// The frame with this number.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The bare number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The number as the wire carries it; numbers past `i64::MAX` do not occur.
    #[must_use]
    pub fn signed(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// The frame after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Frames from `earlier` to this one, 0 if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for FrameNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Stream time: microseconds since the first picture of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(i64);

impl MediaTime {
    /// The first picture.
    pub const ZERO: Self = Self(0);

    /// So many microseconds after the first picture.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the first picture.
    #[must_use]
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Seconds since the first picture.
    #[must_use]
    pub fn seconds(self) -> f64 {
        // Exact up to 2^53 microseconds, 285 years.
        self.0 as f64 / 1e6
    }

    /// Time from `earlier` to this one, zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for MediaTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub<Duration> for MediaTime {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros))
    }
}

impl fmt::Display for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.seconds())
    }
}

/// Wall clock: Unix time in microseconds, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(i64);

impl WallTime {
    /// So many microseconds after the Unix epoch.
    #[must_use]
    pub fn from_unix_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub fn unix_micros(self) -> i64 {
        self.0
    }

    /// The wall clock `micros` later.
    #[must_use]
    pub fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

/// A place in a source where a run may begin again: everything before it was seen, and no track
/// spans it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumePoint {
    /// Stream time of the first frame to see.
    pub time: MediaTime,
    /// Its number.
    pub frame: FrameNo,
}

/// A box in fractions of the display picture, top left corner first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FractionBox {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

/// A face in one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedFace {
    /// Where in the source.
    pub frame: FrameNo,
    /// When in the source.
    pub time: MediaTime,
    /// Where in the picture.
    pub rect: FractionBox,
    /// The detector's score, 0 to 1.
    pub confidence: f32,
}

/// A face of a track kept with its embedding.
#[derive(Clone, Debug)]
pub struct ObservedExemplar {
    /// 1, 2, 3, ... within the track.
    pub number: u32,
    /// The face.
    pub face: ObservedFace,
    /// Five points, x then y, in fractions of the display picture.
    pub landmarks: [f32; 10],
    /// 0 to 1, higher is better.
    pub quality: f32,
    /// Unit length.
    pub embedding: Embedding,
    /// Aligned 112x112 crop, JPEG.
    pub crop: Vec<u8>,
    /// Looser crop, JPEG.
    pub loose_crop: Vec<u8>,
}

/// A track was opened (revision 1), has grown, or is closed.
#[derive(Clone, Debug)]
pub struct TrackObservation {
    /// The track's name within the source.
    pub key: TrackKey,
    /// 1, 2, 3, ... within the track.
    pub revision: u32,
    /// Nothing will follow.
    pub closed: bool,
    /// When the face came into view.
    pub start: MediaTime,
    /// When it was last there.
    pub end: MediaTime,
    /// Frame of `start`.
    pub start_frame: FrameNo,
    /// Frame of `end`.
    pub end_frame: FrameNo,
    /// Wall clock of `start`.
    pub wall_start: WallTime,
    /// Faces since the last revision, oldest first.
    pub faces: Vec<ObservedFace>,
    /// Exemplars since the last revision, oldest first.
    pub exemplars: Vec<ObservedExemplar>,
    /// Numbers of exemplars of earlier revisions given up for better ones.
    pub dropped_exemplars: Vec<u32>,
}

/// What a run is doing, or how it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunState {
    /// Opening the source.
    #[default]
    Connecting,
    /// Pictures come.
    Running,
    /// No picture for a while; the run keeps trying.
    Stalled,
    /// Read to the end, which may have come early.
    Ended,
    /// Told to leave.
    Stopped,
    /// Given up.
    Failed,
}

/// What kind of video a source carries.
#[derive(Clone, Debug, PartialEq)]
pub struct MediaInfo {
    /// FFmpeg's name of the container.
    pub container: String,
    /// FFmpeg's name of the codec.
    pub codec: String,
    /// Display width in pixels: aspect ratio and rotation applied.
    pub width: u32,
    /// Display height in pixels.
    pub height: u32,
    /// Average frame rate, 0 if unknown.
    pub frames_per_second: f64,
    /// Absent for live streams and where the container does not say.
    pub duration: Option<Duration>,
}

/// What was done since the start of the run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Pictures out of the decoder.
    pub frames_decoded: u64,
    /// Live sources under load: pictures skipped to stay current.
    pub frames_dropped: u64,
    /// Pictures given to the detector.
    pub frames_detected: u64,
    /// Pictures refused, by reason: EMPTY, BLURRED, NEAR_IDENTICAL, CORRUPT.
    pub frames_rejected: BTreeMap<&'static str, u64>,
    /// Shots begun.
    pub shots: u64,
    /// Faces out of the detector.
    pub faces_detected: u64,
    /// Faces refused, by reason: the codes of the face gates.
    pub faces_rejected: BTreeMap<&'static str, u64>,
    /// Faces given to the embedder.
    pub faces_embedded: u64,
    /// Tracks reported.
    pub tracks: u64,
    /// Confirmed tracks never reported, because none of their faces was good enough to embed.
    pub tracks_without_exemplar: u64,
    /// Wall time per stage: decode, gate, shot, detect, track, embed, write.
    pub stages: BTreeMap<&'static str, Duration>,
}

impl Counters {
    /// Counts one refused picture.
    pub fn reject_frame(&mut self, reason: &'static str) {
        *self.frames_rejected.entry(reason).or_default() += 1;
    }

    /// Counts one refused face.
    pub fn reject_face(&mut self, reason: &'static str) {
        *self.faces_rejected.entry(reason).or_default() += 1;
    }

    /// Adds wall time to a stage.
    pub fn spend(&mut self, stage: &'static str, time: Duration) {
        *self.stages.entry(stage).or_default() += time;
    }
}

/// How the run is doing.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What it is doing.
    pub state: RunState,
    /// Absent until the source is open.
    pub media: Option<MediaInfo>,
    /// Stream time analysed so far.
    pub position: MediaTime,
    /// Since the start of the run.
    pub counters: Counters,
    /// The latest trouble, while it lasts.
    pub fault: Option<Fault>,
}

/// How the run ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Ended, stopped or failed.
    pub state: RunState,
    /// What went wrong, if anything did.
    pub fault: Option<Fault>,
    /// Stream time at the end.
    pub position: MediaTime,
}

/// One message of a run.
#[derive(Clone, Debug)]
pub enum Observation {
    /// A track was opened, has grown or is closed.
    Track(TrackObservation),
    /// Everything before this was seen, and no track spans it.
    Checkpoint {
        /// Stream time of the next frame.
        complete_up_to: MediaTime,
        /// Its number.
        frame: FrameNo,
    },
    /// How the run is doing. May be dropped.
    Report(Report),
    /// The last message of a run.
    Finished(Finished),
}

/// Whether the run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Continue,
    /// Close what is open, send [`Observation::Finished`], and leave.
    Stop,
}

/// Why a sink took no observation. The run ends at once, without a last message.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Whoever was listening is gone.
    #[error("the observer is gone: {0}")]
    Gone(String),
    /// It could not be written.
    #[error("the observation could not be written: {0}")]
    Write(String),
}

/// Takes the observations of a run, in order.
pub trait ObservationSink {
    /// Takes one observation. May block: that is how a slow observer slows the run.
    ///
    /// # Errors
    /// [`SinkError`] when there is no point in going on.
    fn observe(&mut self, observation: Observation) -> Result<Flow, SinkError>;
}

/// Keeps every observation, for tests and tools.
#[derive(Debug, Default)]
pub struct Recorder {
    /// What came, in order.
    pub observations: Vec<Observation>,
}

impl ObservationSink for Recorder {
    fn observe(&mut self, observation: Observation) -> Result<Flow, SinkError> {
        self.observations.push(observation);
        Ok(Flow::Continue)
    }
}

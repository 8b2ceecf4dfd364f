//! What a run over a source reports: tracks as they open, grow and close, checkpoints, how it is
//! doing, and how it ended.
//!
//! Plain twins of the messages of `ingest.proto`, so that the pipeline knows neither a wire format
//! nor a network. Whoever wants observations implements [`ObservationSink`].

use rollcall_index::Embedding;

use crate::{attribute::Attribute, geometry::DetectedFace};

mod fault;
mod id;
mod report;

pub use fault::{Fault, FaultReason, mask_credentials};
pub use id::{FrameNo, MediaTime, TrackKey, WallClock, WallTime};
pub use report::{Counters, Finished, MediaInfo, Report, RunState};

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
    /// Box and landmarks, in pixels of the loose crop.
    pub in_loose_crop: DetectedFace,
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
    /// What its exemplars say beside who it is, once they have changed; empty: as before.
    pub attributes: Vec<Attribute>,
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

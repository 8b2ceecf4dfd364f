use std::{collections::BTreeMap, time::Duration};

use super::{Fault, MediaTime};

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
    /// Live sources: how often the stream broke off and was to be opened again.
    pub reconnects: u64,
    /// Wall time per stage: decode, scale, shot, gate, detect, align, track, embed, write.
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
    /// Live sources: how long ago the newest frame that was analysed had come.
    pub lag: Option<Duration>,
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

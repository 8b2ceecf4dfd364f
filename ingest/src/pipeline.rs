//! The way of a face through a run: frames in, observations out.
//!
//! Two threads share the work: one reads and decodes, the caller's one analyses. Everything is
//! started anew at each hard cut, and now and then in stretches without faces; there a checkpoint
//! is reported, and a run that begins at it reports the same observations, to the bit. What is not
//! deterministic (wall clock, reports, counters) shapes no observation but `wall_start`.

mod analysis;
mod hold;
mod lag;
mod look;
mod schedule;

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use crate::{
    attribute::Classifier,
    detect::{DetectSizes, Detector, InferError},
    embed::Embedder,
    gate::{
        face::FaceGates,
        frame::FrameGates,
        streamface::{FaceThresholds, FrameThresholds},
    },
    observe::{
        Fault, FaultReason, Finished, Flow, MediaTime, Observation, ObservationSink, Report,
        ResumePoint, RunState, SinkError,
    },
    shot::{CutRules, GradualRules},
    source::{CaptureStatus, DecodeMode, Feed, FrameSource, Overflow, StopToken, Taken},
    track::{TrackRules, TrackerRule},
};

use analysis::Analysis;
use lag::Lag;

/// A live source without a picture for so long is reported as stalled.
const STALLED_AFTER: Duration = Duration::from_secs(3);

/// Changes whenever the same material would give other observations under the same settings.
const PIPELINE_VERSION: u32 = 4;

/// By which rule shots are told apart.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum ShotRule {
    /// Cuts that stand out from what is around them, dissolves and fades.
    #[default]
    Rollcall,
    /// facerec's pixel rule, for hard cuts alone.
    Facerec,
}

/// By which gates frames and faces are refused.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum GateRule {
    /// Gates that save time and are set so as never to cost a person.
    #[default]
    Rollcall,
    /// streamface's, with its thresholds.
    Streamface,
}

/// streamface's gates in place of our own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StreamfaceGates {
    /// Which frames are searched.
    pub frames: FrameThresholds,
    /// Which faces are embedded.
    pub faces: FaceThresholds,
}

/// What shapes a run.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineSettings {
    /// Faces are looked for in every n-th frame of a shot, counted from its first. `None`: five
    /// times a second where something goes on, less often and smaller where all stays as it is.
    pub detect_every: Option<NonZeroU32>,
    /// Which frames a source with an end is to decode. Streams decode all.
    pub decode: DecodeMode,
    /// How large the detector sees the picture, once or several times; known faces
    /// that are large enough may be looked at smaller.
    pub detect_sizes: DetectSizes,
    /// Longest side of the picture that faces are found in and cut from, in pixels. Larger frames
    /// are scaled down once.
    pub picture_side_max: u32,
    /// Which frames need no detector.
    pub frame_gates: FrameGates,
    /// Which faces are good enough to embed.
    pub face_gates: FaceGates,
    /// streamface's gates, if they are to be used; `frame_gates` is then left out.
    pub streamface: Option<StreamfaceGates>,
    /// What is a hard cut.
    pub cuts: CutRules,
    /// What is a dissolve or a fade.
    pub gradual: GradualRules,
    /// How tracks begin, go on and end.
    pub tracks: TrackRules,
    /// A checkpoint is made after so much stream time without any face.
    pub checkpoint_after: Duration,
    /// Frames that may wait between the two threads.
    pub queue_frames: usize,
    /// How often the run says how it is doing.
    pub report_every: Duration,
}

impl Default for PipelineSettings {
    fn default() -> Self {
        Self {
            detect_every: None,
            decode: DecodeMode::Referenced,
            detect_sizes: DetectSizes::default(),
            picture_side_max: 1280,
            frame_gates: FrameGates::default(),
            face_gates: FaceGates::default(),
            streamface: None,
            cuts: CutRules::default(),
            gradual: GradualRules::default(),
            tracks: TrackRules::default(),
            checkpoint_after: Duration::from_secs(5),
            queue_frames: 8,
            report_every: Duration::from_secs(1),
        }
    }
}

impl PipelineSettings {
    /// The same with the rules for shots that `rule` stands for.
    #[must_use]
    pub fn with_shots(self, rule: ShotRule) -> Self {
        let facerec = rule == ShotRule::Facerec;
        let gradual = if facerec {
            GradualRules::NEVER
        } else {
            GradualRules::default()
        };
        let cuts = CutRules {
            facerec,
            ..CutRules::default()
        };
        Self {
            cuts,
            gradual,
            decode: if facerec {
                DecodeMode::All
            } else {
                self.decode
            },
            ..self
        }
    }

    /// The same with faces looked for in every `nth` frame, for which all are decoded.
    #[must_use]
    pub fn with_every(self, nth: NonZeroU32) -> Self {
        Self {
            detect_every: Some(nth),
            decode: DecodeMode::All,
            ..self
        }
    }

    /// The same for a source that gives key frames alone, some tenths of a second to some seconds
    /// apart. All of them are looked at, and a face is believed at once. Pictures that differ begin
    /// a shot unless their reliefs are alike; dissolves cannot be seen. Since it may be anybody who
    /// sits where another one sat, a face is embedded unless it is nearly where it was.
    #[must_use]
    pub fn for_key_frames(self) -> Self {
        let cuts = CutRules {
            ahead: 0,
            behind: 0,
            steps_max: 1,
            ..CutRules::default()
        };
        let tracks = TrackRules {
            overlap_sure: 0.6,
            hits_min: 1,
            missed_max: 1,
            remember: Duration::from_secs(6),
            collect_every: Duration::from_secs(3),
            verify_every: Duration::from_secs(6),
            ..self.tracks
        };
        Self {
            detect_every: Some(NonZeroU32::MIN),
            decode: DecodeMode::KeyFrames,
            cuts,
            gradual: GradualRules::NEVER,
            tracks,
            ..self
        }
    }

    /// The same with the detector looking at these sizes, and frames kept large enough for the
    /// largest.
    #[must_use]
    pub fn with_detect_sizes(self, sizes: DetectSizes) -> Self {
        Self {
            picture_side_max: self.picture_side_max.max(sizes.largest().get()),
            detect_sizes: sizes,
            ..self
        }
    }

    /// The same with the gates that `rule` stands for. streamface's leave a face to the landmarks'
    /// sanity alone besides.
    #[must_use]
    pub fn with_gates(self, rule: GateRule) -> Self {
        let streamface = (rule == GateRule::Streamface).then(StreamfaceGates::default);
        let face_gates = streamface.map_or_else(FaceGates::default, |_| FaceGates::OPEN);
        Self {
            face_gates,
            streamface,
            ..self
        }
    }

    /// The same with the rules for tracks that `rule` stands for. facerec's want faces to be looked for
    /// in every frame, unless these settings say in which.
    #[must_use]
    pub fn with_tracker(self, rule: TrackerRule) -> Self {
        let ruled = Self {
            tracks: TrackRules::of(rule),
            ..self
        };
        if rule == TrackerRule::Facerec && ruled.detect_every.is_none() {
            ruled.with_every(NonZeroU32::MIN)
        } else {
            ruled
        }
    }

    /// A short hash of everything that shapes observations: these settings, the version of the
    /// pipeline, and `models` (which names the models and their files).
    #[must_use]
    pub fn fingerprint(&self, models: &str) -> String {
        // Queue length and report interval shape nothing.
        let shaping = Self {
            queue_frames: 0,
            report_every: Duration::ZERO,
            ..self.clone()
        };
        let text = format!("{PIPELINE_VERSION}\n{models}\n{shaping:?}");
        let digest = Sha256::digest(text.as_bytes());
        let hex: String = digest
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("rp{PIPELINE_VERSION}-{hex}")
    }
}

/// The models of one run. Each belongs to the thread that analyses.
pub struct Vision {
    /// Finds faces.
    pub detector: Box<dyn Detector>,
    /// Tells them apart.
    pub embedder: Box<dyn Embedder>,
    /// Read attributes off exemplars; may be none.
    pub classifiers: Vec<Box<dyn Classifier>>,
}

/// Why a run was given up without a last message.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Nobody takes the observations.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A model failed.
    #[error(transparent)]
    Infer(#[from] InferError),
}

/// One run over one source.
pub struct Pipeline {
    /// What shapes it.
    pub settings: PipelineSettings,
    /// The models.
    pub vision: Vision,
    /// What happens when frames come faster than they are analysed.
    pub overflow: Overflow,
    /// Ends the run.
    pub stop: StopToken,
}

impl Pipeline {
    /// Reads `source` to its end and reports what is in it, on the caller's thread and one more.
    /// `source` begins at `resume` already; the last observation is [`Observation::Finished`].
    ///
    /// A source that cannot be read is no error but a run that failed: it is reported.
    ///
    /// # Errors
    /// [`RunError`] when the observations find no taker. A model that fails is reported as the
    /// run's fault, and is an error only if that finds no taker either.
    pub fn run(
        self,
        mut source: Box<dyn FrameSource>,
        resume: Option<ResumePoint>,
        sink: &mut dyn ObservationSink,
    ) -> Result<Finished, RunError> {
        let status = CaptureStatus::default();
        let feed = Feed::new(self.settings.queue_frames, self.overflow, status.clone());
        let stop = self.stop.clone();
        std::thread::scope(|scope| {
            let reader = std::thread::Builder::new()
                .name("capture".to_owned())
                .spawn_scoped(scope, || feed.fill_from(source.as_mut(), &stop));
            if let Err(why) = reader {
                let fault = Fault::new(
                    FaultReason::Internal,
                    format!("the capture thread cannot be started: {why}"),
                );
                return finish(sink, RunState::Failed, Some(fault), MediaTime::ZERO);
            }
            let mut run = Run::new(&self.settings, self.vision, status, resume, sink, &stop);
            if self.overflow == Overflow::KeepNewest {
                run.live_frame = Some(Instant::now());
                run.lag = Some(Lag::default());
            }
            let outcome = run.drive(&feed);
            // Whatever happened, the reader must not wait for room or for pictures.
            feed.close();
            if outcome.is_err() {
                stop.request();
            }
            outcome
        })
    }
}

fn finish(
    sink: &mut dyn ObservationSink,
    state: RunState,
    fault: Option<Fault>,
    position: MediaTime,
) -> Result<Finished, RunError> {
    let finished = Finished {
        state,
        fault,
        position,
    };
    sink.observe(Observation::Finished(finished.clone()))?;
    Ok(finished)
}

struct Run<'a> {
    analysis: Analysis<'a>,
    status: CaptureStatus,
    sink: &'a mut dyn ObservationSink,
    stop: &'a StopToken,
    reported: Option<Instant>,
    report_every: Duration,
    /// When the last frame of a live source came.
    live_frame: Option<Instant>,
    /// Of a live source.
    lag: Option<Lag>,
}

impl<'a> Run<'a> {
    fn new(
        settings: &'a PipelineSettings,
        vision: Vision,
        status: CaptureStatus,
        resume: Option<ResumePoint>,
        sink: &'a mut dyn ObservationSink,
        stop: &'a StopToken,
    ) -> Self {
        let position = resume.map_or(MediaTime::ZERO, |point| point.time);
        let analysis = Analysis::new(settings, vision, position);
        let report_every = settings.report_every;
        Self {
            analysis,
            status,
            sink,
            stop,
            reported: None,
            report_every,
            live_frame: None,
            lag: None,
        }
    }

    fn drive(mut self, feed: &Feed) -> Result<Finished, RunError> {
        let (state, fault) = match self.analyse(feed) {
            Ok(end) => end,
            Err(RunError::Infer(why)) => {
                let fault = Fault::new(FaultReason::ModelUnusable, why.to_string());
                self.stop.request();
                (RunState::Failed, Some(fault.at(self.analysis.position())))
            }
            Err(gone @ RunError::Sink(_)) => return Err(gone),
        };
        self.report(Some((state, fault.clone())))?;
        finish(self.sink, state, fault, self.analysis.position())
    }

    /// Until the source ends, for whatever reason; everything is reported but the end itself.
    fn analyse(&mut self, feed: &Feed) -> Result<(RunState, Option<Fault>), RunError> {
        self.report(None)?;
        loop {
            if self.stop.is_requested() {
                self.analysis.stop(self.sink)?;
                return Ok((RunState::Stopped, None));
            }
            match feed.take(self.report_every) {
                Taken::Frame(frame) => {
                    self.live_frame = self.live_frame.map(|_| Instant::now());
                    if let Some(lag) = &mut self.lag {
                        lag.came(frame.stamp.time, Instant::now());
                    }
                    if let Some(media) = self
                        .analysis
                        .wants_media()
                        .then(|| self.status.facts().media)
                    {
                        self.analysis.set_media(media.as_ref());
                    }
                    if self.analysis.push(frame, self.sink)? == Flow::Stop {
                        self.stop.request();
                    }
                }
                Taken::Nothing => {}
                // A reader that was told to stop ends as well.
                Taken::Ended(_) if self.stop.is_requested() => {}
                Taken::Ended(Ok(fault)) => {
                    self.analysis.end(self.sink)?;
                    let fault = fault.map(|f| f.at(self.analysis.position()));
                    return Ok((RunState::Ended, fault));
                }
                Taken::Ended(Err(fault)) => {
                    self.analysis.stop(self.sink)?;
                    return Ok((RunState::Failed, Some(fault.at(self.analysis.position()))));
                }
            }
            if self
                .reported
                .is_none_or(|at| at.elapsed() >= self.report_every)
            {
                self.report(None)?;
            }
        }
    }

    fn report(&mut self, end: Option<(RunState, Option<Fault>)>) -> Result<(), RunError> {
        let facts = self.status.facts();
        let mut counters = self.analysis.counters().clone();
        counters.frames_decoded = facts.decoded;
        counters.frames_dropped = facts.dropped;
        counters.reconnects = facts.reconnects;
        counters.spend("decode", facts.decode);
        counters.spend("scale", facts.shrink);
        if facts.corrupt > 0 {
            *counters.frames_rejected.entry("CORRUPT").or_default() += facts.corrupt;
        }
        let (mut state, fault) = end.unwrap_or((facts.state, facts.fault));
        let silent = self
            .live_frame
            .is_some_and(|at| at.elapsed() > STALLED_AFTER);
        if silent && state == RunState::Running {
            state = RunState::Stalled;
        }
        let position = self.analysis.position();
        let report = Report {
            state,
            media: facts.media,
            position,
            counters,
            fault,
            lag: self
                .lag
                .as_mut()
                .and_then(|lag| lag.at(position, Instant::now())),
        };
        self.reported = Some(Instant::now());
        if self.sink.observe(Observation::Report(report))? == Flow::Stop {
            self.stop.request();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

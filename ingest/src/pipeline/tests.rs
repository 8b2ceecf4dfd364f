use std::sync::Arc;

use super::*;
use crate::{
    fake::{FakeDetector, FakeEmbedder, paint_face},
    geometry::Rect,
    observe::{FrameNo, Recorder, TrackObservation},
    picture::Picture,
    source::fake::ScriptedSource,
};

fn vision() -> Vision {
    Vision {
        detector: Box::new(FakeDetector),
        embedder: Box::new(FakeEmbedder),
        classifiers: Vec::new(),
    }
}

fn pipeline(settings: PipelineSettings) -> Pipeline {
    let (vision, stop) = (vision(), StopToken::default());
    Pipeline {
        settings,
        vision,
        overflow: Overflow::Wait,
        stop,
    }
}

/// A grey background of its own for each scene, with faces (position, hue) painted on.
fn picture(scene: u32, shift: u32, faces: &[(f32, f32)]) -> Arc<Picture> {
    let mut picture = Picture::filled(320, 180, [90; 3]).unwrap();
    for (i, pixel) in (0u32..).zip(picture.rgb_mut().chunks_exact_mut(3)) {
        let (x, y) = ((i % 320 + shift) as f32, (i / 320) as f32);
        let s = scene as f32;
        let wave =
            (x * 0.05 * (1.0 + s) + s * 2.0).sin() * 30.0 + (y * (0.04 + 0.03 * s)).cos() * 40.0;
        pixel.fill(crate::number::round_u8(110.0 + wave));
    }
    for (x, hue) in faces {
        paint_face(&mut picture, Rect::new(*x, 50.0, 60.0, 60.0), *hue);
    }
    Arc::new(picture)
}

/// A film: two people, one person, nobody for ten seconds, the first person again.
fn film() -> Vec<Arc<Picture>> {
    (0..500u16)
        .map(|i| {
            let way = f32::from(i % 60);
            match i {
                0..60 => picture(0, 0, &[(20.0 + way, 0.0), (200.0, 120.0)]),
                60..103 => picture(1, 0, &[(120.0, 240.0)]),
                103..400 => picture(2, u32::from(i) / 4, &[]),
                _ => picture(3, 0, &[(60.0, 0.0)]),
            }
        })
        .collect()
}

fn run(resume: Option<ResumePoint>) -> Vec<Observation> {
    run_with(PipelineSettings::default(), film(), resume)
}

fn run_with(
    settings: PipelineSettings,
    film: Vec<Arc<Picture>>,
    resume: Option<ResumePoint>,
) -> Vec<Observation> {
    let mut recorder = Recorder::default();
    let mut source = ScriptedSource::new(film);
    if let Some(resume) = resume {
        source = source.resumed(resume);
    }
    let finished = pipeline(settings)
        .run(Box::new(source), resume, &mut recorder)
        .unwrap();
    assert_eq!(finished.state, RunState::Ended);
    assert!(matches!(
        recorder.observations.last(),
        Some(Observation::Finished(_))
    ));
    recorder.observations
}

/// What must be the same in every run: tracks and checkpoints, down to the bits.
fn essence(observations: &[Observation]) -> Vec<String> {
    let text = |o: &Observation| match o {
        Observation::Track(_) | Observation::Checkpoint { .. } => Some(format!("{o:?}")),
        Observation::Report(_) | Observation::Finished(_) => None,
    };
    observations.iter().filter_map(text).collect()
}

fn track(observation: &Observation) -> Option<&TrackObservation> {
    let Observation::Track(track) = observation else {
        return None;
    };
    Some(track)
}

fn closed(observations: &[Observation]) -> Vec<&TrackObservation> {
    observations
        .iter()
        .filter_map(track)
        .filter(|t| t.closed)
        .collect()
}

fn checkpoints(observations: &[Observation]) -> Vec<ResumePoint> {
    let point = |o: &Observation| {
        let &Observation::Checkpoint {
            complete_up_to: time,
            frame,
        } = o
        else {
            return None;
        };
        Some(ResumePoint { time, frame })
    };
    observations.iter().filter_map(point).collect()
}

#[test]
fn everybody_is_reported_from_their_first_frame_to_their_last() {
    let observations = run(None);
    let mut spans: Vec<_> = closed(&observations)
        .iter()
        .map(|t| (t.start_frame.get(), t.end_frame.get()))
        .collect();
    spans.sort_unstable();
    assert_eq!(spans, [(0, 59), (0, 59), (60, 102), (400, 499)]);
    assert!(
        closed(&observations)
            .iter()
            .all(|t| t.wall_start.unix_micros() == t.start.micros())
    );
}

#[test]
fn no_track_spans_a_checkpoint_and_the_last_one_is_the_end() {
    let observations = run(None);
    let points = checkpoints(&observations);
    let frames: Vec<u64> = points.iter().map(|p| p.frame.get()).collect();
    assert_eq!(
        (frames[0], frames[1], *frames.last().unwrap()),
        (60, 103, 500)
    );
    // A scene that moves all the time may be a transition for as long: then ten seconds, not five.
    let near = |pair: &[u64]| pair[1] - pair[0] <= 250;
    assert!(
        frames.contains(&400) && frames.windows(2).all(near),
        "{frames:?}"
    );
    for track in closed(&observations) {
        let spanned = |p: &&ResumePoint| p.frame > track.start_frame && p.frame <= track.end_frame;
        assert_eq!(points.iter().find(spanned), None);
    }
}

/// Resumed at each of its checkpoints, a run reports what it reported from there on.
fn check_resuming(settings: &PipelineSettings, film: &[Arc<Picture>]) {
    let whole = run_with(settings.clone(), film.to_vec(), None);
    let all = essence(&whole);
    for point in checkpoints(&whole) {
        let marker = format!(
            "{:?}",
            Observation::Checkpoint {
                complete_up_to: point.time,
                frame: point.frame
            }
        );
        let at = all.iter().position(|line| *line == marker).unwrap();
        let again = essence(&run_with(settings.clone(), film.to_vec(), Some(point)));
        assert_eq!(again, all[at + 1..], "resumed at {point:?}");
    }
}

#[test]
fn a_run_from_any_checkpoint_reports_the_same() {
    check_resuming(&PipelineSettings::default(), &film());
}

/// Key frames: two people who move about, one of them elsewhere alone, somebody else in his place,
/// nobody.
fn key_frames() -> Vec<Arc<Picture>> {
    vec![
        picture(0, 0, &[(20.0, 0.0), (200.0, 120.0)]),
        picture(0, 0, &[(45.0, 0.0), (210.0, 120.0)]),
        picture(0, 0, &[(60.0, 0.0), (205.0, 120.0)]),
        picture(1, 0, &[(60.0, 0.0)]),
        picture(2, 0, &[(60.0, 240.0)]),
        picture(2, 1, &[(64.0, 240.0)]),
        picture(3, 0, &[]),
    ]
}

#[test]
fn key_frames_alone_give_tracks_within_shots() {
    let settings = PipelineSettings::default().for_key_frames();
    let observations = run_with(settings.clone(), key_frames(), None);
    let mut spans: Vec<_> = closed(&observations)
        .iter()
        .map(|t| (t.start_frame.get(), t.end_frame.get()))
        .collect();
    spans.sort_unstable();
    assert_eq!(spans, [(0, 2), (0, 2), (3, 3), (4, 5)]);
    check_resuming(&settings, &key_frames());
}

#[test]
fn counters_tell_what_was_done() {
    let settings = PipelineSettings {
        detect_every: NonZeroU32::new(5),
        ..PipelineSettings::default()
    };
    let observations = run_with(settings, film(), None);
    let last = observations.iter().rev().find_map(|o| {
        let Observation::Report(report) = o else {
            return None;
        };
        Some(report)
    });
    let counters = &last.unwrap().counters;
    assert_eq!(
        (counters.frames_decoded, counters.shots, counters.tracks),
        (500, 4, 4)
    );
    let still = counters.frames_rejected["NEAR_IDENTICAL"];
    assert!(
        still > 15,
        "the still shots were not looked at again: {still}"
    );
    assert_eq!(
        counters.frames_detected + still,
        101,
        "every fifth frame, and the first of each shot"
    );
    assert!(counters.stages.contains_key("detect") && counters.faces_embedded >= 4);
}

#[test]
fn a_broken_end_keeps_what_was_seen() {
    let fault = Fault::new(FaultReason::Truncated, "cut off");
    let source = ScriptedSource::new(film().into_iter().take(40)).ending_in(fault);
    let mut recorder = Recorder::default();
    let finished = pipeline(PipelineSettings::default())
        .run(Box::new(source), None, &mut recorder)
        .unwrap();
    assert_eq!(finished.state, RunState::Ended);
    let fault = finished.fault.unwrap();
    assert_eq!(
        (fault.reason, fault.position.micros()),
        (FaultReason::Truncated, 39 * 40_000)
    );
    assert_eq!(closed(&recorder.observations).len(), 2);
}

/// Says stop at the first track.
struct Impatient(Recorder);

impl ObservationSink for Impatient {
    fn observe(&mut self, observation: Observation) -> Result<Flow, SinkError> {
        let stop = matches!(observation, Observation::Track(_));
        self.0.observe(observation)?;
        Ok(if stop { Flow::Stop } else { Flow::Continue })
    }
}

#[test]
fn told_to_stop_it_closes_what_is_open_and_leaves() {
    let mut sink = Impatient(Recorder::default());
    let run = pipeline(PipelineSettings::default());
    let finished = run
        .run(Box::new(ScriptedSource::new(film())), None, &mut sink)
        .unwrap();
    assert_eq!(finished.state, RunState::Stopped);
    assert!(finished.position.micros() < 60 * 40_000);
    let tracks = closed(&sink.0.observations);
    assert_eq!(tracks.len(), 2);
    assert!(tracks.iter().all(|t| t.end_frame < FrameNo::new(60)));
}

/// Takes nothing.
struct Deaf;

impl ObservationSink for Deaf {
    fn observe(&mut self, _: Observation) -> Result<Flow, SinkError> {
        Err(SinkError::Gone("nobody listens".to_owned()))
    }
}

#[test]
fn without_a_listener_the_run_ends_at_once() {
    let run = pipeline(PipelineSettings::default());
    let outcome = run.run(Box::new(ScriptedSource::new(film())), None, &mut Deaf);
    assert!(matches!(outcome, Err(RunError::Sink(SinkError::Gone(_)))));
}

#[test]
fn the_fingerprint_names_what_shapes_observations() {
    let settings = PipelineSettings::default();
    let other = PipelineSettings {
        queue_frames: 99,
        ..settings.clone()
    };
    assert_eq!(settings.fingerprint("m"), other.fingerprint("m"));
    assert_ne!(settings.fingerprint("m"), settings.fingerprint("n"));
    let every = PipelineSettings {
        detect_every: NonZeroU32::new(3),
        ..settings.clone()
    };
    assert_ne!(settings.fingerprint("m"), every.fingerprint("m"));
}

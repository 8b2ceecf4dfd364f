//! A whole run over a live stream that breaks off: what was seen is closed and reported, and what
//! follows begins anew.
#![cfg(feature = "media")]
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests too")]

mod clips;
mod senders;

use std::{io::Write, time::Duration};

use clips::ffmpeg;
use rollcall_ingest::{
    Picture, Rect,
    fake::{FakeDetector, FakeEmbedder, paint_face},
    observe::{Flow, Observation, ObservationSink, Report, RunState, SinkError, TrackObservation},
    pipeline::{Pipeline, PipelineSettings, Vision},
    source::{Overflow, StopToken},
};
use senders::{HASTY, live, send, send_and_freeze, serve};

/// The least that a stream is waited for before it is opened again.
const PAUSE_MIN: Duration = Duration::from_millis(300);

/// Two seconds of one person as a transport stream.
fn film(hue: f32) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("film.rgb");
    let mut file = std::fs::File::create(&raw).unwrap();
    for i in 0..50u16 {
        let mut picture = Picture::filled(320, 180, [90; 3]).unwrap();
        let place = Rect::new(40.0 + 2.0 * f32::from(i), 50.0, 60.0, 60.0);
        paint_face(&mut picture, place, hue);
        file.write_all(picture.rgb()).unwrap();
    }
    let arguments = format!(
        "-f rawvideo -pix_fmt rgb24 -video_size 320x180 -framerate 25 -i {} -pix_fmt yuv420p \
         -c:v libx264 -qp 10 -g 10 -bf 0",
        raw.display()
    );
    std::fs::read(ffmpeg(&arguments, &folder.path().join("film.ts"))).unwrap()
}

/// Keeps everything, and says stop when `tracks` are closed.
struct Until {
    tracks: usize,
    closed: Vec<TrackObservation>,
    checkpoints: Vec<i64>,
    reports: Vec<Report>,
}

impl ObservationSink for Until {
    fn observe(&mut self, observation: Observation) -> Result<Flow, SinkError> {
        match observation {
            Observation::Track(track) if track.closed => self.closed.push(track),
            Observation::Checkpoint { complete_up_to, .. } => {
                self.checkpoints.push(complete_up_to.micros());
            }
            Observation::Report(report) => self.reports.push(report),
            Observation::Track(_) | Observation::Finished(_) => {}
        }
        let enough = self.closed.len() >= self.tracks;
        Ok(if enough { Flow::Stop } else { Flow::Continue })
    }
}

#[test]
fn tracks_before_a_break_are_closed_and_reported_and_checkpoints_move_on() {
    let (first, second) = (film(0.0), film(120.0));
    let url = serve(vec![
        send_and_freeze(first.clone()),
        send(second),
        send(first),
    ]);
    let stop = StopToken::default();
    let source = live(&url, HASTY, &stop);
    let mut sink = Until {
        tracks: 2,
        closed: Vec::new(),
        checkpoints: Vec::new(),
        reports: Vec::new(),
    };
    let settings = PipelineSettings {
        report_every: Duration::from_millis(50),
        queue_frames: 64,
        ..PipelineSettings::default()
    };
    let pipeline = Pipeline {
        settings,
        vision: Vision {
            detector: Box::new(FakeDetector),
            embedder: Box::new(FakeEmbedder),
            classifiers: Vec::new(),
        },
        overflow: Overflow::KeepNewest,
        stop,
    };
    let finished = pipeline.run(Box::new(source), None, &mut sink).unwrap();
    assert_eq!(finished.state, RunState::Stopped);
    assert_eq!(sink.closed.len(), 2);
    // Different people, the second after the break, nobody across it.
    let [one, two] = &sink.closed[..] else {
        panic!("two tracks")
    };
    assert!(one.end < two.start, "{:?} {:?}", one.end, two.start);
    assert!(one.end.micros() < 2_000_000);
    assert!(!sink.checkpoints.is_empty());
    assert!(sink.checkpoints.windows(2).all(|w| w[0] < w[1]));
    assert!(sink.checkpoints[0] > one.end.micros());

    // What an operator saw meanwhile.
    let states: Vec<RunState> = sink.reports.iter().map(|r| r.state).collect();
    let at = |state| states.iter().position(|s| *s == state);
    let (running, stalled) = (at(RunState::Running), at(RunState::Stalled));
    assert!(running < stalled && running.is_some(), "{states:?}");
    let broken = &sink.reports[stalled.unwrap()];
    let fault = broken.fault.as_ref().unwrap();
    assert!(fault.reason.is_transient(), "{fault}");
    assert_eq!(broken.counters.reconnects, 1);
    let lag = |reports: &[Report]| reports.iter().filter_map(|r| r.lag).max().unwrap();
    let (during, last) = (lag(&sink.reports), sink.reports.last().unwrap());
    assert!(during >= PAUSE_MIN, "{during:?}");
    assert!(last.fault.is_none() && last.lag.unwrap() < during);
}

//! The whole way of a face, with the real models, over the composed clip.
//!
//! Needs the assets that `make setup` prepares: `ROLLCALL_ASSETS`, or `.assets` in the repository.
#![cfg(all(feature = "media", feature = "worker"))]
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use rollcall_index::Embedding;
use rollcall_ingest::{
    Assets, Classifiers, ModelOptions, Models, Subnormals,
    capture::{AccessRules, FileSource, Location, Patience},
    observe::{Observation, Recorder, ResumePoint, WallTime},
    pipeline::{Pipeline, PipelineSettings, Vision},
    source::{Overflow, StopToken},
    streamface::Detection,
};
use rollcall_log::{
    FileStorage, Log, LogOptions, LogReader,
    record::{Body, TrackObserved},
};
use serde_json::Value;

/// Seconds by which an interval may differ from the truth.
const TOLERANCE_S: f64 = 0.25;

fn assets() -> PathBuf {
    let folder = std::env::var_os("ROLLCALL_ASSETS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.assets"),
        PathBuf::from,
    );
    assert!(
        folder.join("demo/clip-small.mp4").exists(),
        "run make setup"
    );
    folder
}

fn extract(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rollcall-ingest"))
        .arg("extract")
        .args(arguments)
        .env("ROLLCALL_ASSETS", assets())
        .output()
        .unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A person in one shot.
#[derive(Debug)]
struct Appearance {
    person: String,
    start: f64,
    end: f64,
}

/// The truth, cut at shot boundaries as tracks are.
fn appearances(truth: &Value) -> Vec<Appearance> {
    let number = |v: &Value| v.as_f64().unwrap();
    let list = |v: &Value| v.as_array().unwrap().clone();
    let mut cuts: Vec<f64> = list(&truth["cuts"]).iter().map(number).collect();
    let middles = list(&truth["dissolves"]);
    cuts.extend(
        middles
            .iter()
            .map(|d| f64::midpoint(number(&d[0]), number(&d[1]))),
    );
    let mut all = Vec::new();
    for person in list(&truth["people"]) {
        for interval in list(&person["intervals"]) {
            let (start, end) = (number(&interval[0]), number(&interval[1]));
            let mut inner: Vec<f64> = cuts
                .iter()
                .copied()
                .filter(|c| *c > start + 0.01 && *c < end - 0.01)
                .collect();
            inner.sort_by(f64::total_cmp);
            let edges: Vec<f64> = [start].into_iter().chain(inner).chain([end]).collect();
            let name = person["name"].as_str().unwrap();
            all.extend(edges.windows(2).map(|w| Appearance {
                person: name.to_owned(),
                start: w[0],
                end: w[1],
            }));
        }
    }
    all
}

struct Track {
    start: f64,
    end: f64,
    embeddings: Vec<Embedding>,
}

/// The tracks of an extracted log, and whether its source ended well.
fn tracks(folder: &Path) -> (Vec<Track>, LogReader) {
    let storage = FileStorage::open(folder.join("log")).unwrap();
    let (log, report) = Log::open(Arc::new(storage), LogOptions::default()).unwrap();
    assert!(report.torn.is_none(), "the log ends cleanly");
    let reader = log.reader();
    let mut tracks = Vec::new();
    for record in reader.read_after(0) {
        let Some(Body::TrackObserved(track)) = record.unwrap().body else {
            continue;
        };
        let TrackObserved {
            track_id,
            start_us,
            end_us,
            exemplars,
            ..
        } = track;
        let at = usize::try_from(track_id).unwrap() - 1;
        if tracks.len() <= at {
            tracks.resize_with(at + 1, || Track {
                start: 0.0,
                end: 0.0,
                embeddings: Vec::new(),
            });
        }
        (tracks[at].start, tracks[at].end) = (start_us as f64 / 1e6, end_us as f64 / 1e6);
        for exemplar in exemplars {
            let bytes = reader.blob(exemplar.embedding.as_ref().unwrap()).unwrap();
            tracks[at]
                .embeddings
                .push(Embedding::from_f16_bytes(&bytes).unwrap());
            let crop = reader.blob(exemplar.crop.as_ref().unwrap()).unwrap();
            assert!(crop.starts_with(&[0xff, 0xd8]), "a crop is a JPEG");
        }
    }
    (tracks, reader)
}

fn alike(a: &Track, b: &Track) -> f32 {
    let all = a
        .embeddings
        .iter()
        .flat_map(|x| b.embeddings.iter().map(|y| x.dot(y).get()));
    all.fold(-1.0, f32::max)
}

/// Every appearance is one track within the tolerance, every track is one appearance, and
/// appearances of one person look alike while those of different people do not.
fn check_against_truth(folder: &Path, truth: &Value) {
    let appearances = appearances(truth);
    let (tracks, _) = tracks(folder);
    let fits = |a: &Appearance, t: &Track| {
        // A track's end is the time of its last frame, an appearance's that of the next one.
        let end = t.end + 1.0 / truth["fps"].as_f64().unwrap();
        (a.start - t.start).abs() <= TOLERANCE_S && (a.end - end).abs() <= TOLERANCE_S
    };
    let spans: Vec<_> = tracks.iter().map(|t| (t.start, t.end)).collect();
    for appearance in &appearances {
        assert!(
            tracks.iter().any(|t| fits(appearance, t)),
            "{appearance:?} in {spans:?}"
        );
    }
    for track in &tracks {
        let fitting = appearances.iter().any(|a| fits(a, track));
        assert!(fitting, "{:.2} to {:.2} is nobody", track.start, track.end);
    }
    assert_eq!(tracks.len(), appearances.len(), "{spans:?}");

    // People seen alone tell who is who where two are seen together.
    let alone = |a: &&Appearance| {
        appearances
            .iter()
            .filter(|b| (b.start - a.start).abs() < 0.01)
            .count()
            == 1
    };
    for known in appearances.iter().filter(alone) {
        let face = tracks.iter().find(|t| fits(known, t)).unwrap();
        for other in &appearances {
            let candidates = tracks.iter().filter(|t| fits(other, t));
            let scores: Vec<f32> = candidates.map(|t| alike(face, t)).collect();
            let best = scores.iter().copied().fold(-1.0, f32::max);
            let alone = scores.len() == 1;
            if known.person == other.person {
                assert!(best > 0.4, "{known:?} and {other:?}: {scores:?}");
            } else if alone {
                assert!(best < 0.4, "{known:?} and {other:?}: {scores:?}");
            }
        }
    }
}

#[test]
fn the_small_clip_is_found_as_composed() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("out");
    let clip = assets().join("demo/clip-small.mp4");
    let (clip, path) = (clip.to_str().unwrap(), folder.to_str().unwrap());
    let output = extract(&[clip, "--out", path, "--timings"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(output.stdout.is_empty());
    assert!(
        told.contains("times real time") && told.contains("detect"),
        "{told}"
    );
    check_against_truth(&folder, &json(&assets().join("demo/truth-small.json")));

    let lines = std::fs::read_to_string(folder.join("tracks.jsonl")).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let crops = std::fs::read_dir(folder.join("crops")).unwrap().count();
    let exemplars: usize = lines
        .iter()
        .map(|l| l["exemplars"].as_array().unwrap().len())
        .sum();
    assert_eq!(exemplars, crops);
    assert!(lines.iter().all(|l| l["boxes"].as_u64().unwrap() >= 2));

    // The video says how large its frames are.
    let channel = out.path().join("channel");
    let mut export = Command::new(env!("CARGO_BIN_EXE_rollcall-ingest"));
    export.arg("export").args([&folder, &channel]);
    let done = export.args(["--as", "streamface"]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let faces = Detection::read_all(&channel.join("metadata/detections.csv")).unwrap();
    assert_eq!(faces.len(), exemplars);
    for face in &faces {
        let [height, width] = face.frame_size.unwrap();
        assert_eq!((height, width), (faces[0].frame_size.unwrap()[0], width));
        assert!(face.face.x + face.face.width <= width, "{face:?}");
        assert!(face.face.y + face.face.height <= height, "{face:?}");
    }

    let again = extract(&[clip, "--out", path]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force"));
}

#[test]
fn a_run_from_any_checkpoint_of_the_small_clip_reports_the_same() {
    let found = Assets::locate(Some(&assets())).unwrap();
    let models = Models::open(&found, &ModelOptions::default()).unwrap();
    let names = ["age", "gender", "eyes"].map(str::to_owned);
    let classifiers = Classifiers::open(&found, &names, Subnormals::default()).unwrap();
    let clip = assets().join("demo/clip-small.mp4");
    let run = |resume: Option<ResumePoint>| -> Vec<String> {
        let location = Location::check(clip.to_str().unwrap(), &AccessRules::default()).unwrap();
        let stop = StopToken::default();
        let wall = WallTime::from_unix_micros(resume.map_or(0, |r| r.time.micros()));
        let source = FileSource::new(
            location,
            Patience::default(),
            false,
            resume,
            wall,
            stop.clone(),
        );
        let vision = Vision {
            detector: models.detector().unwrap(),
            embedder: models.embedder().unwrap(),
            classifiers: classifiers.readers().unwrap(),
        };
        let settings = PipelineSettings::default();
        let mut recorder = Recorder::default();
        let pipeline = Pipeline {
            settings,
            vision,
            overflow: Overflow::Wait,
            stop,
        };
        pipeline
            .run(Box::new(source), resume, &mut recorder)
            .unwrap();
        let text = |o: &Observation| match o {
            Observation::Track(_) | Observation::Checkpoint { .. } => Some(format!("{o:?}")),
            Observation::Report(_) | Observation::Finished(_) => None,
        };
        let points = recorder.observations.iter().filter_map(text).collect();
        POINTS.with_borrow_mut(|p| {
            *p = recorder
                .observations
                .iter()
                .filter_map(resume_point)
                .collect();
        });
        points
    };
    let whole = run(None);
    let points = POINTS.with_borrow(Clone::clone);
    assert!(
        points.len() >= 5,
        "a checkpoint at each cut and at the end: {points:?}"
    );
    let mut at = 0;
    for point in points {
        while !whole[at].starts_with("Checkpoint") {
            at += 1;
        }
        at += 1;
        assert!(run(Some(point)) == whole[at..], "resumed at {point:?}");
    }
}

thread_local! {
    static POINTS: std::cell::RefCell<Vec<ResumePoint>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn resume_point(observation: &Observation) -> Option<ResumePoint> {
    match observation {
        Observation::Checkpoint {
            complete_up_to,
            frame,
        } => Some(ResumePoint {
            time: *complete_up_to,
            frame: *frame,
        }),
        Observation::Track(_) | Observation::Report(_) | Observation::Finished(_) => None,
    }
}

#[test]
fn what_cannot_be_extracted_is_an_error_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let text = folder.path().join("text.mp4");
    std::fs::write(&text, "Call me Ishmael. ".repeat(100)).unwrap();
    let check = |arguments: &[&str], word: &str| {
        let output = extract(arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(word), "{told}");
    };
    let (out, text) = (out.to_str().unwrap(), text.to_str().unwrap());
    check(&["/no/such/file.mp4", "--out", out], "FILE_NOT_FOUND");
    check(&[text, "--out", out], "NOT_A_VIDEO");
    check(&["concat:a|b", "--out", out], "PROTOCOL_NOT_ALLOWED");
    check(
        &[text, "--out", out, "--assets", "/no/such/folder"],
        "setup",
    );
}

#[test]
fn a_worker_without_an_order_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_rollcall-ingest"))
        .arg("run")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no order"));
}

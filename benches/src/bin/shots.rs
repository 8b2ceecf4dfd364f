//! Where does a video change its shot?
//!
//! `cargo run --release -p rollcall-benches --bin shots -- [--shots facerec] FILE` prints one JSON
//! object: `frames`; `seconds`, from opening the file to the last decision, decoding and scaling
//! included; `cuts`, the first frame of each shot but the first; `gradual`, a list of [first frame,
//! first of the new shot, last frame]. The rules are those of `rollcall-ingest extract`, without
//! the restarts that it makes in stretches without faces.
#![allow(clippy::print_stdout, reason = "the result of this program")]

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::Parser;
use rollcall_ingest::{
    capture::{AccessRules, FileSource, Location, Patience, system_clock},
    pipeline::{PipelineSettings, ShotRule},
    shot::{CutFinder, GradualFinder, Opening},
    source::{CaptureStatus, Feed, Overflow, StopToken, Taken},
};
use serde_json::json;

/// Finds the shots of a video.
#[derive(Parser)]
struct Arguments {
    /// A video file.
    file: String,
    /// The rule.
    #[arg(long, value_enum, default_value_t)]
    shots: ShotRule,
}

/// Assumed where the container does not say.
const RATE_DEFAULT: f64 = 25.0;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let begun = Instant::now();
    let location = Location::check(&arguments.file, &AccessRules::default())?;
    let (stop, status) = (StopToken::default(), CaptureStatus::default());
    let wall = system_clock()();
    let settings = PipelineSettings::default().with_shots(arguments.shots);
    let source = FileSource::new(
        location,
        Patience::default(),
        false,
        None,
        wall,
        stop.clone(),
    );
    let mut source = source.with_mode(settings.decode);
    let feed = Feed::new(8, Overflow::Wait, status.clone());
    let shots = std::thread::scope(|scope| {
        scope.spawn(|| feed.fill_from(&mut source, &stop));
        let found = Shots::find(&settings, &feed, &status);
        feed.close();
        found
    })?;
    let result = json!({
        "frames": shots.frames, "seconds": begun.elapsed().as_secs_f64(),
        "cuts": shots.cuts, "gradual": shots.gradual,
    });
    println!("{result}");
    Ok(())
}

#[derive(Default)]
struct Shots {
    frames: u64,
    cuts: Vec<u64>,
    gradual: Vec<[u64; 3]>,
}

impl Shots {
    fn find(settings: &PipelineSettings, feed: &Feed, status: &CaptureStatus) -> Result<Self> {
        let mut shots = Self::default();
        let mut cuts = CutFinder::new(settings.cuts);
        let mut gradual = None;
        let mut ended = false;
        while !ended {
            match feed.take(Duration::from_secs(60)) {
                Taken::Frame(frame) => {
                    let number = frame.stamp.number.get();
                    cuts.push(number, frame.grey, number, frame.after_gap);
                }
                Taken::Nothing => continue,
                Taken::Ended(end) => {
                    end.map_err(|fault| anyhow!("{fault}"))?;
                    ended = true;
                }
            }
            let gradual = gradual.get_or_insert_with(|| {
                let media = status.facts().media;
                let rate = media.map_or(0.0, |m| m.frames_per_second);
                let rate = if rate >= 1.0 { rate } else { RATE_DEFAULT };
                GradualFinder::new(settings.gradual, rate)
            });
            while let Some(released) = cuts.pop(ended) {
                if released.opening == Opening::Cut {
                    shots.close(gradual);
                    shots.cuts.push(released.item);
                }
                gradual.push(released.item, &released.grey);
                shots.frames = released.item + 1;
            }
            if ended {
                shots.close(gradual);
            }
        }
        Ok(shots)
    }

    /// Ends a shot; the finder begins anew.
    fn close(&mut self, finder: &mut GradualFinder) {
        finder.finish();
        let found = std::iter::from_fn(|| finder.take());
        self.gradual
            .extend(found.map(|t| [t.first, t.middle, t.last]));
        finder.restart();
    }
}

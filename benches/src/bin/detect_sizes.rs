//! Which faces does a detector find at which size, and what does it cost on one core?
//!
//! `cargo run --release -p rollcall-benches --no-default-features --features models --bin
//! detect_sizes -- --frames FOLDER` prints one JSON line for each choice of sizes: faces a frame, how
//! many of them are below 24, 32 and 48 pixels, the smallest, and the median time of a frame. FOLDER holds the
//! frames as pictures, such as `ffmpeg -i FILM -vf fps=5 FOLDER/%03d.png` writes them. The sizes
//! take turns frame by frame, so that what else the machine does strikes all of them alike.
#![allow(clippy::print_stdout, reason = "the result of this program")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rollcall_ingest::photo::{self, PhotoLimits};
use rollcall_ingest::{Assets, DetectSizes, Detector, ModelOptions, Models, Picture};
use serde_json::json;

/// Measures a detector at several sizes on one core.
#[derive(Parser)]
struct Arguments {
    /// The assets folder.
    #[arg(long, env = "ROLLCALL_ASSETS")]
    assets: Option<PathBuf>,
    /// A folder of pictures.
    #[arg(long)]
    frames: PathBuf,
    /// The detector's id.
    #[arg(long, default_value_t = ModelOptions::default().detector)]
    detector: String,
    /// Sizes to compare, each as for `rollcall-ingest extract --detect-size`.
    #[arg(long, num_args = 1.., default_values = ["640", "960", "1280", "1920", "640,1280"])]
    sizes: Vec<DetectSizes>,
}

/// What one choice of sizes found and cost.
#[derive(Default)]
struct Found {
    /// The shorter side of each face, in pixels of the frame.
    sides: Vec<f32>,
    /// By the clock, a frame, in milliseconds.
    wall: Vec<f64>,
    /// On the core, a frame, in milliseconds.
    cpu: Vec<f64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let assets = Assets::locate(arguments.assets.as_deref())?;
    let options = ModelOptions {
        detector: arguments.detector.clone(),
        ..ModelOptions::default()
    };
    let mut detector = Models::open(&assets, &options)?.detector()?;
    let paths = pictures(&arguments.frames)?;
    let mut all: Vec<Found> = arguments.sizes.iter().map(|_| Found::default()).collect();
    for (at, path) in paths.iter().enumerate() {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        let frame = photo::decode(&bytes, &PhotoLimits::default())?;
        for (sizes, found) in arguments.sizes.iter().zip(&mut all) {
            if at == 0 {
                detector.detect_at(frame.view(), sizes)?;
            }
            look(detector.as_mut(), &frame, sizes, found)?;
        }
    }
    for (sizes, mut found) in arguments.sizes.iter().zip(all) {
        found.sides.sort_by(f32::total_cmp);
        let below = |side: f32| found.sides.iter().filter(|s| **s < side).count();
        let sizes: Vec<u32> = sizes.iter().map(rollcall_ingest::DetectSize::get).collect();
        let line = json!({
            "what": "detect_sizes",
            "model": arguments.detector,
            "sizes": sizes,
            "frames": paths.len(),
            "faces_per_frame": found.sides.len() as f64 / paths.len() as f64,
            "below_24_px": below(24.0),
            "below_32_px": below(32.0),
            "below_48_px": below(48.0),
            "smallest_side_px": found.sides.first(),
            "p50_ms": median(&mut found.wall),
            "p50_cpu_ms": median(&mut found.cpu),
        });
        println!("{line}");
    }
    Ok(())
}

/// The files of `folder`, by name.
fn pictures(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    ensure!(!paths.is_empty(), "{}: no pictures", folder.display());
    Ok(paths)
}

fn look(
    detector: &mut dyn Detector,
    frame: &Picture,
    sizes: &DetectSizes,
    found: &mut Found,
) -> Result<()> {
    let (before, start) = (cpu_ms(), Instant::now());
    let faces = detector.detect_at(frame.view(), sizes)?;
    found.wall.push(start.elapsed().as_secs_f64() * 1e3);
    found
        .cpu
        .extend(cpu_ms().zip(before).map(|(after, before)| after - before));
    let side = |rect: &rollcall_ingest::Rect| rect.width.min(rect.height);
    found
        .sides
        .extend(faces.iter().map(|face| side(&face.rect)));
    Ok(())
}

/// How long this thread has had a core so far, in milliseconds.
fn cpu_ms() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = text.split(' ').next()?.parse().ok()?;
    Some(nanoseconds / 1e6)
}

/// `None` where nothing was measured.
fn median(times: &mut [f64]) -> Option<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

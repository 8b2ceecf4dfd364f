//! What do the models cost on one core, and is flushing subnormals worth it?
//!
//! `cargo run --release -p rollcall-benches --bin inference [-- --assets DIR --runs N]` prints one
//! JSON line a measurement: p50 and p99 in milliseconds, with flush-to-zero and, as the peer it is
//! compared with, without; beside each speed the cosine between the two answers. `cpu_ms` is the
//! mean time this thread had the core (Linux), which other programs disturb less than the clock.
#![allow(clippy::print_stdout, reason = "the result of this program")]

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rollcall_ingest::attribute::KeptFace;
use rollcall_ingest::photo::{self, PhotoLimits};
use rollcall_ingest::{
    AlignedCrop, Assets, Classifiers, DetectSize, ModelOptions, Models, PhotoReader, Picture,
    Subnormals, align,
};
use serde_json::json;

/// Measures the models on one core.
#[derive(Parser)]
struct Arguments {
    /// The assets folder.
    #[arg(long, env = "ROLLCALL_ASSETS")]
    assets: Option<PathBuf>,
    /// Runs a measurement, after three that do not count.
    #[arg(long, default_value_t = 100)]
    runs: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.runs > 0, "--runs must be at least 1");
    let assets = Assets::locate(arguments.assets.as_deref())?;
    let open = |subnormals| {
        Models::open(
            &assets,
            &ModelOptions {
                subnormals,
                ..ModelOptions::default()
            },
        )
    };
    let (flushed, kept) = (open(Subnormals::Flush)?, open(Subnormals::Keep)?);
    let path = assets.fixtures().join("obama.jpg");
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let photo = photo::decode(&bytes, &PhotoLimits::default())?;
    let crop = first_face(&flushed, &photo)?;
    for batch in [1, 8] {
        measure_embedder(&flushed, &kept, &crop, batch, arguments.runs)?;
    }
    // A picture of the network's proportions, so that the name tells the area exactly.
    let picture = cut(&photo, 640, 384)?;
    for (size, name) in [(640, "640x384"), (320, "320x192")] {
        let size = DetectSize::longest_side(size);
        measure_detector(&flushed, &kept, &picture, size, name, arguments.runs)?;
    }
    measure_classifiers(&assets, &flushed, &photo, arguments.runs)
}

/// What each classifier costs a kept face, its crop included.
fn measure_classifiers(
    assets: &Assets,
    models: &Models,
    photo: &Picture,
    runs: usize,
) -> Result<()> {
    let faces = PhotoReader::open(models)?.read(photo)?;
    let face = faces.first().context("no face in the fixture")?.face;
    let kept = KeptFace {
        loose: align::loose_crop(photo.view(), &face.rect),
        face: align::in_loose_crop((photo.width(), photo.height()), &face),
    };
    let open = |subnormals| Classifiers::open(assets, &["all".to_owned()], subnormals);
    let (ours, peers) = (open(Subnormals::Flush)?, open(Subnormals::Keep)?);
    let ids = ours.manifests().map(|manifest| manifest.model.id.clone());
    let readers = ours.readers()?.into_iter().zip(peers.readers()?);
    for (id, (mut fast, mut slow)) in ids.zip(readers) {
        let reading = format!("{:?}", fast.read(&kept)?);
        for (mode, reader) in [("flush", &mut fast), ("keep", &mut slow)] {
            let times = time(runs, || reader.read(&kept).map(drop))?;
            print(json!({
                "what": "classify",
                "model": id,
                "subnormals": mode,
                "p50_ms_per_face": at(&times, 50),
                "p99_ms_per_face": at(&times, 99),
                "cpu_ms_per_face": times.cpu,
                "runs": runs,
                "reading": reading,
            }));
        }
    }
    Ok(())
}

fn first_face(models: &Models, photo: &Picture) -> Result<AlignedCrop> {
    let mut reader = PhotoReader::open(models)?;
    let faces = reader.read(photo)?;
    let face = faces
        .iter()
        .find(|face| face.quality.is_ok())
        .context("no face in the fixture")?;
    Ok(align::align(photo.view(), &face.face.landmarks))
}

/// The top middle of `photo` with the proportions of `width` x `height`.
fn cut(photo: &Picture, width: u32, height: u32) -> Result<Picture> {
    let rows = photo.height().min(photo.width() * height / width);
    let columns = rows * width / height;
    let left = (photo.width() - columns) / 2;
    let line = |y: u32| {
        let start = (y * photo.width() + left) as usize * 3;
        photo.rgb()[start..start + columns as usize * 3]
            .iter()
            .copied()
    };
    Ok(Picture::new(
        columns,
        rows,
        (0..rows).flat_map(line).collect(),
    )?)
}

fn measure_embedder(
    flushed: &Models,
    kept: &Models,
    crop: &AlignedCrop,
    batch: usize,
    runs: usize,
) -> Result<()> {
    let crops = vec![crop.clone(); batch];
    let (mut ours, mut peer) = (flushed.embedder()?, kept.embedder()?);
    let cosine = ours.embed(&crops)?[0].dot(&peer.embed(&crops)?[0]).get();
    let fast = time(runs, || ours.embed(&crops).map(drop))?;
    let slow = time(runs, || peer.embed(&crops).map(drop))?;
    for (mode, times) in [("flush", &fast), ("keep", &slow)] {
        print(json!({
            "what": "embed",
            "model": flushed.embedder_manifest().model.id,
            "batch": batch,
            "subnormals": mode,
            "p50_ms_per_face": at(times, 50) / batch as f64,
            "p99_ms_per_face": at(times, 99) / batch as f64,
            "cpu_ms_per_face": times.cpu.map(|cpu| cpu / batch as f64),
            "runs": runs,
            "cosine_flush_to_keep": cosine,
        }));
    }
    Ok(())
}

fn measure_detector(
    flushed: &Models,
    kept: &Models,
    picture: &Picture,
    size: DetectSize,
    name: &str,
    runs: usize,
) -> Result<()> {
    let (mut ours, mut peer) = (flushed.detector()?, kept.detector()?);
    let (mine, theirs) = (
        ours.detect(picture.view(), size)?,
        peer.detect(picture.view(), size)?,
    );
    ensure!(
        !mine.is_empty() && mine.len() == theirs.len(),
        "the two modes disagree on faces"
    );
    let overlap = mine[0].rect.iou(&theirs[0].rect);
    let fast = time(runs, || ours.detect(picture.view(), size).map(drop))?;
    let slow = time(runs, || peer.detect(picture.view(), size).map(drop))?;
    for (mode, times) in [("flush", &fast), ("keep", &slow)] {
        print(json!({
            "what": "detect",
            "model": flushed.detector_manifest().model.id,
            "input": name,
            "subnormals": mode,
            "p50_ms": at(times, 50),
            "p99_ms": at(times, 99),
            "cpu_ms": times.cpu,
            "runs": runs,
            "faces": mine.len(),
            "iou_flush_to_keep": overlap,
        }));
    }
    Ok(())
}

/// What `runs` runs took, in milliseconds.
struct Times {
    /// By the clock, sorted.
    wall: Vec<f64>,
    /// On the core, mean; `None` where the system does not say.
    cpu: Option<f64>,
}

fn time<E: std::error::Error + Send + Sync + 'static>(
    runs: usize,
    mut run: impl FnMut() -> Result<(), E>,
) -> Result<Times> {
    for _ in 0..3 {
        run()?;
    }
    let mut wall = Vec::with_capacity(runs);
    let cpu_before = cpu_ms();
    for _ in 0..runs {
        let start = Instant::now();
        run()?;
        wall.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let cpu = cpu_ms()
        .zip(cpu_before)
        .map(|(after, before)| (after - before) / runs as f64);
    wall.sort_by(f64::total_cmp);
    Ok(Times { wall, cpu })
}

/// How long this thread has had a core so far, in milliseconds.
fn cpu_ms() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = text.split(' ').next()?.parse().ok()?;
    Some(nanoseconds / 1e6)
}

/// The value below which `percent` of the wall times lie, in milliseconds.
fn at(times: &Times, percent: usize) -> f64 {
    times.wall[(times.wall.len() * percent / 100).min(times.wall.len() - 1)]
}

fn print(line: serde_json::Value) {
    println!("{line}");
}

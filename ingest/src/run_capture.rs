//! The commands `capture` and `faces`: streamface's first two stages.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, anyhow, bail};
use clap::Args;

use rollcall_ingest::{
    Assets, DetectSize, Detector, ModelOptions, Models,
    capture::{AccessRules, FileSource, LiveSource, Location, Patience, system_clock},
    gate::streamface::{FaceThresholds, FrameThresholds},
    observe::{Fault, WallTime},
    picture::PICTURE_SIDE_MAX,
    source::{CaptureStatus, DecodeMode, FrameSource, Next, StopToken},
    streamface::{
        Channel, ChannelFolder, FaceCounts, FaceExtractor, FaceRules, FrameCounts, FrameWriter,
        Level, MatchRules, RunLog, parse_utc,
    },
};

use crate::run_extract::stop_on_interrupt;

/// A line about how it goes is written after so many frames.
const LOG_EVERY: u64 = 100;

/// Options of `capture`.
#[derive(Args)]
pub(crate) struct Capture {
    /// A video file, or the URL of a stream.
    source: String,
    /// The channel's name, with which the names of files begin.
    #[arg(long, value_name = "CHANNEL")]
    name: Channel,
    /// The channel's folder: gets `frames/` and `logs/`, with --faces `faces/`, `aligned_faces/` and `metadata/` too.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Find the faces in the frames as well.
    #[arg(long)]
    faces: bool,
    /// The URL has an end: stop there instead of opening it again.
    #[arg(long)]
    once: bool,
    /// When the file began, as in 2026-01-31T12:00:00Z (default: when it was last changed).
    #[arg(long, value_name = "TIME", value_parser = utc)]
    start: Option<WallTime>,
    /// Frames of which a larger part is no edge are empty.
    #[arg(long, value_name = "PART", default_value_t = 0.95)]
    empty_max: f64,
    /// Frames with less clarity (variance of the Laplacian) are blurred.
    #[arg(long, value_name = "CLARITY", default_value_t = 50.0)]
    clarity_min: f64,
    /// Frames more similar to the last one kept are the same.
    #[arg(long, value_name = "SIMILARITY", default_value_t = 0.9)]
    similarity_max: f64,
    #[command(flatten)]
    rules: Rules,
}

/// Options of `faces`.
#[derive(Args)]
pub(crate) struct Faces {
    /// The channel's folder, with frames in `frames/`.
    folder: PathBuf,
    /// Look for new frames again after so many seconds, until Ctrl-C.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    poll: Option<u64>,
    /// Begin anew: remove both tables and search every frame again.
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    rules: Rules,
}

/// Which faces are kept, and which are paired.
#[derive(Args)]
struct Rules {
    /// Folder with models and ONNX Runtime, as `make setup` fills it.
    #[arg(long, env = "ROLLCALL_ASSETS", value_name = "FOLDER")]
    assets: Option<PathBuf>,
    /// The detector, by its manifest's name.
    #[arg(long, value_name = "ID", default_value = "centerface")]
    detector: String,
    /// Longest side of the picture the detector sees, in pixels.
    #[arg(long, value_name = "PIXELS", default_value_t = 640, value_parser = clap::value_parser!(u32).range(32..=2048))]
    detect_size: u32,
    /// Faces must have a higher score of the detector.
    #[arg(long, value_name = "SCORE", default_value_t = 0.95)]
    score_min: f32,
    /// Faces must take up a larger part of the frame.
    #[arg(long, value_name = "PART", default_value_t = 0.005)]
    area_min: f64,
    /// Aligned faces must have more clarity.
    #[arg(long, value_name = "CLARITY", default_value_t = 25.0)]
    face_clarity_min: f64,
    /// Frames must be more similar for their faces to be paired.
    #[arg(long, value_name = "SIMILARITY", default_value_t = 0.75)]
    match_similarity: f64,
    /// Boxes must overlap more, on average, to be paired.
    #[arg(long, value_name = "IOU", default_value_t = 0.75)]
    match_iou: f64,
}

impl Rules {
    fn detector(&self) -> anyhow::Result<Box<dyn Detector>> {
        let assets = Assets::locate(self.assets.as_deref())?;
        let options = ModelOptions {
            detector: self.detector.clone(),
            ..ModelOptions::default()
        };
        Ok(Models::open(&assets, &options)?.detector()?)
    }

    fn rules(&self) -> FaceRules {
        FaceRules {
            thresholds: FaceThresholds {
                score: self.score_min,
                area: self.area_min,
                clarity: self.face_clarity_min,
            },
            matches: MatchRules {
                similarity: self.match_similarity,
                iou: self.match_iou,
            },
            detect_size: DetectSize::longest_side(self.detect_size),
        }
    }
}

fn utc(text: &str) -> Result<WallTime, String> {
    parse_utc(text).ok_or_else(|| "write it as 2026-01-31T12:00:00Z, in UTC".to_owned())
}

pub(crate) fn capture(options: &Capture) -> anyhow::Result<()> {
    let stop = StopToken::default();
    let (mut source, shown) = open(options, stop.clone())?;
    let folder = ChannelFolder::open(&options.out)?;
    let thresholds = FrameThresholds {
        empty_max: options.empty_max,
        clarity_min: options.clarity_min,
        similarity_max: options.similarity_max,
    };
    let mut writer = FrameWriter::open(folder.clone(), options.name.clone(), thresholds)?;
    let mut faces = match options.faces {
        true => Some(FaceExtractor::open(
            folder.clone(),
            options.rules.detector()?,
            options.rules.rules(),
            false,
        )?),
        false => None,
    };
    let mut log = Log(RunLog::create(
        &folder,
        &options.name,
        "stream_capture",
        system_clock(),
    )?);
    stop_on_interrupt(stop)?;
    log.write(Level::System, &format!("capturing {shown}"));
    let end = follow(source.as_mut(), &mut writer, faces.as_mut(), &mut log);
    log.write(Level::System, &frame_line(writer.counts()));
    if let Some(faces) = &faces {
        log.write(Level::System, &face_line(faces.counts()));
    }
    match end? {
        Some(fault) => log.write(Level::Error, &fault.to_string()),
        None => log.write(Level::System, "ended"),
    }
    Ok(())
}

/// Takes frames until there are no more; gives the fault if the end came early.
fn follow(
    source: &mut dyn FrameSource,
    writer: &mut FrameWriter,
    mut faces: Option<&mut FaceExtractor>,
    log: &mut Log,
) -> anyhow::Result<Option<Fault>> {
    let status = CaptureStatus::default();
    loop {
        let next = source.next(&status).map_err(|fault| anyhow!("{fault}"))?;
        if let Some(fault) = status.facts().fault {
            // It healed, or there would be no next.
            log.write(Level::Error, &fault.to_string());
            status.update(|facts| facts.fault = None);
        }
        let frame = match next {
            Next::Frame(frame) => frame,
            Next::Ended(fault) => return Ok(fault),
        };
        match frame.image.to_picture(PICTURE_SIDE_MAX) {
            Ok(picture) => {
                let kept = writer.offer(frame.stamp, picture.view())?;
                if let Some((name, faces)) = kept.zip(faces.as_mut()) {
                    faces.search(&name, picture.view())?;
                }
            }
            Err(fault) => log.write(Level::Error, &fault.to_string()),
        }
        if writer.counts().seen.is_multiple_of(LOG_EVERY) {
            log.write(Level::Info, &frame_line(writer.counts()));
        }
    }
}

fn open(options: &Capture, stop: StopToken) -> anyhow::Result<(Box<dyn FrameSource>, String)> {
    let location = Location::check(&options.source, &AccessRules::default())?;
    let shown = location.shown().to_owned();
    let (patience, clock) = (Patience::default(), system_clock());
    if !location.is_file() && !options.once {
        if options.start.is_some() {
            bail!("--start is for files and --once: frames of a stream carry the time they came");
        }
        let source = LiveSource::new(location, patience, clock, stop);
        return Ok((Box::new(source.with_mode(DecodeMode::KeyFrames)), shown));
    }
    let start = match options.start {
        Some(start) => start,
        None if location.is_file() => changed(&shown)?,
        None => clock(),
    };
    let source = FileSource::new(location, patience, false, None, start, stop);
    Ok((Box::new(source.with_mode(DecodeMode::KeyFrames)), shown))
}

/// When a file was last changed.
fn changed(path: &str) -> anyhow::Result<WallTime> {
    let changed = fs::metadata(path).and_then(|facts| facts.modified());
    let changed = changed.with_context(|| format!("{path}: no time of its own; give --start"))?;
    let since = changed
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Ok(WallTime::from_unix_micros(i64::try_from(
        since.as_micros(),
    )?))
}

pub(crate) fn faces(options: &Faces) -> anyhow::Result<()> {
    let frames = options.folder.join("frames");
    if !frames.is_dir() {
        bail!(
            "{} has no folder frames; `rollcall-ingest capture` fills one",
            options.folder.display()
        );
    }
    let folder = ChannelFolder::open(&options.folder)?;
    let (detector, rules) = (options.rules.detector()?, options.rules.rules());
    let mut extractor = FaceExtractor::open(folder.clone(), detector, rules, options.restart)?;
    let waiting = extractor.waiting()?;
    let channel = waiting
        .first()
        .and_then(|name| name.split_once("_frame_")?.0.parse().ok());
    let channel = match channel {
        Some(channel) => channel,
        None => "frames".parse()?,
    };
    let log = RunLog::create(&folder, &channel, "face_extraction", system_clock())?;
    let mut log = Log(log);
    let stop = StopToken::default();
    stop_on_interrupt(stop.clone())?;
    log.write(Level::System, &format!("{} frames wait", waiting.len()));
    loop {
        for name in extractor.waiting()? {
            if stop.is_requested() {
                break;
            }
            if let Some(why) = extractor.search_file(&name)? {
                log.write(Level::Error, &why);
            }
            if extractor.counts().frames.is_multiple_of(LOG_EVERY) {
                log.write(Level::Info, &face_line(extractor.counts()));
            }
        }
        let poll = options.poll.map(Duration::from_secs);
        if poll.is_none_or(|pause| stop.wait(pause)) {
            break;
        }
    }
    log.write(Level::System, &face_line(extractor.counts()));
    if stop.is_requested() {
        log.write(Level::System, "stopped; the next run goes on from here");
    }
    Ok(())
}

fn frame_line(counts: &FrameCounts) -> String {
    format!(
        "{} key frames, {} kept{}",
        counts.seen,
        counts.kept,
        reasons(&counts.rejected)
    )
}

fn face_line(counts: &FaceCounts) -> String {
    format!(
        "{} frames searched ({} unreadable), {} faces, {} kept, {} pairs{}",
        counts.frames,
        counts.unreadable,
        counts.found,
        counts.kept,
        counts.matches,
        reasons(&counts.rejected)
    )
}

fn reasons(counts: &std::collections::BTreeMap<&str, u64>) -> String {
    counts
        .iter()
        .map(|(reason, count)| format!(", {reason} {count}"))
        .collect()
}

/// A run's log, repeated on standard error.
struct Log(RunLog);

impl Log {
    fn write(&mut self, level: Level, message: &str) {
        eprintln!("{}", self.0.line(level, message));
    }
}

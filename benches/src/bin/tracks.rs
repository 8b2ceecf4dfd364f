//! What does the tracker make of a video's faces?
//!
//! `tracks detect FILE --out NAME` looks for faces in every frame, as `rollcall-ingest extract` does
//! without gates for frames, and writes `NAME.json`: `width`, `height` (of the picture that faces are
//! found in), `fps`, `frames`; `cuts`, the first frame of each shot but the first; `faces`, a list of
//! [frame, x, y, width, height, score, quality], in pixels, quality null where the gates refuse the
//! face; and `NAME.npy`, float32, the embedding of each face that has a quality, in their order.
//!
//! `tracks follow NAME --every N [--tracker facerec] [--without-appearance]` replays that to the
//! tracker, every n-th frame of a shot, and prints a line `frame,track,x,y,width,height,score` a box
//! (frames and tracks from 0 and 1), then to standard error a JSON object: `seconds` spent in the
//! tracker and `embedded`, the faces that it wanted embedded.
#![allow(clippy::print_stdout, reason = "the result of this program")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, Parser};
use npyz::WriterBuilder as _;
use rollcall_index::Embedding;
use rollcall_ingest::{
    AlignedCrop, Assets, DetectSize, DetectedFace, Detector, Embedder, FaceGates, InferError,
    ModelOptions, Models, Picture, Point, Rect, align,
    capture::{AccessRules, FileSource, Location, Patience, system_clock},
    exemplar::{GoodFace, SeenFace},
    gate::face::judge,
    observe::{FrameNo, MediaTime, TrackObservation, WallTime},
    pipeline::PipelineSettings,
    shot::{CutFinder, Opening},
    source::{CaptureStatus, Feed, FrameImage, FrameStamp, Overflow, StopToken, Taken},
    track::{Tracker, TrackerRule},
};
use serde_json::{Value, json};

/// Finds faces and follows them.
#[derive(Parser)]
enum Command {
    /// Looks for faces in every frame of a video.
    Detect(Detect),
    /// Follows faces found earlier.
    Follow(Follow),
}

#[derive(Args)]
struct Detect {
    /// A video file.
    file: String,
    /// Names of the result, without `.json` and `.npy`.
    #[arg(long)]
    out: PathBuf,
    /// The assets folder.
    #[arg(long, env = "ROLLCALL_ASSETS")]
    assets: Option<PathBuf>,
}

#[derive(Args)]
struct Follow {
    /// Names of what was detected, without `.json` and `.npy`.
    name: PathBuf,
    /// Frames from one look to the next.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// The rule.
    #[arg(long, value_enum, default_value_t)]
    tracker: TrackerRule,
    /// Tells the tracker nothing of what faces look like.
    #[arg(long)]
    without_appearance: bool,
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Detect(options) => detect(&options),
        Command::Follow(options) => follow(&options),
    }
}

/// What was found in a video.
struct Found {
    picture: (u32, u32),
    fps: f64,
    frames: u64,
    cuts: Vec<u64>,
    /// Frame, face and, where the gates take it, quality.
    faces: Vec<(u64, DetectedFace, Option<f32>)>,
    /// One for each face with a quality.
    embeddings: Vec<Embedding>,
}

/// Finds faces as the pipeline does.
struct Looker {
    detector: Box<dyn Detector>,
    embedder: Box<dyn Embedder>,
    found: Found,
}

fn detect(options: &Detect) -> Result<()> {
    let models = Models::open(
        &Assets::locate(options.assets.as_deref())?,
        &ModelOptions::default(),
    )?;
    let location = Location::check(&options.file, &AccessRules::default())?;
    let (stop, status) = (StopToken::default(), CaptureStatus::default());
    let (wall, patience) = (system_clock()(), Patience::default());
    let mut source = FileSource::new(location, patience, false, None, wall, stop.clone());
    let feed = Feed::new(8, Overflow::Wait, status.clone());
    let mut looker = Looker {
        detector: models.detector()?,
        embedder: models.embedder()?,
        found: Found {
            picture: (0, 0),
            fps: 0.0,
            frames: 0,
            cuts: Vec::new(),
            faces: Vec::new(),
            embeddings: Vec::new(),
        },
    };
    let found = std::thread::scope(|scope| {
        scope.spawn(|| feed.fill_from(&mut source, &stop));
        let found = looker.look_through(&feed, &status);
        feed.close();
        found
    });
    found?;
    looker.found.write(&options.out)
}

impl Looker {
    fn look_through(&mut self, feed: &Feed, status: &CaptureStatus) -> Result<()> {
        let mut cuts: CutFinder<Box<dyn FrameImage>> =
            CutFinder::new(PipelineSettings::default().cuts);
        let mut ended = false;
        while !ended {
            match feed.take(Duration::from_secs(60)) {
                Taken::Frame(frame) => {
                    let number = frame.stamp.number.get();
                    cuts.push(number, frame.grey, frame.image, frame.after_gap);
                }
                Taken::Nothing => continue,
                Taken::Ended(end) => {
                    end.map_err(|fault| anyhow!("{fault}"))?;
                    ended = true;
                }
            }
            while let Some(released) = cuts.pop(ended) {
                if released.opening == Opening::Cut {
                    self.found.cuts.push(self.found.frames);
                }
                self.look(released.item.as_ref())?;
                self.found.frames += 1;
            }
        }
        let media = status.facts().media.context("no media")?;
        self.found.fps = media.frames_per_second;
        Ok(())
    }

    fn look(&mut self, image: &dyn FrameImage) -> Result<()> {
        let side = PipelineSettings::default().picture_side_max;
        let picture = image.to_picture(side).map_err(|fault| anyhow!("{fault}"))?;
        let view = picture.view();
        self.found.picture = (view.width(), view.height());
        let mut crops = Vec::new();
        for face in self.detector.detect(view, DetectSize::default())? {
            let crop = align::align(view, &face.landmarks);
            let quality = judge(view, &face, &crop, &FaceGates::default()).ok();
            let quality = quality.map(|quality| quality.get());
            self.found.faces.push((self.found.frames, face, quality));
            crops.extend(quality.is_some().then_some(crop));
        }
        if !crops.is_empty() {
            self.found.embeddings.extend(self.embedder.embed(&crops)?);
        }
        Ok(())
    }
}

impl Found {
    fn write(&self, name: &Path) -> Result<()> {
        let faces: Vec<Value> = self
            .faces
            .iter()
            .map(|(frame, face, quality)| {
                let r = face.rect;
                json!([frame, r.x, r.y, r.width, r.height, face.score, quality])
            })
            .collect();
        let found = json!({
            "width": self.picture.0, "height": self.picture.1, "fps": self.fps,
            "frames": self.frames, "cuts": self.cuts, "faces": faces,
        });
        std::fs::write(name.with_extension("json"), found.to_string())?;
        let values = || self.embeddings.iter().map(Embedding::as_slice);
        let width = values().next().map_or(0, <[f32]>::len);
        let shape = [u64::try_from(self.embeddings.len())?, u64::try_from(width)?];
        let file = BufWriter::new(File::create(name.with_extension("npy"))?);
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .shape(&shape)
            .writer(file)
            .begin_nd()?;
        writer.extend(values().flatten().copied())?;
        writer.finish()?;
        Ok(())
    }

    fn read(name: &Path) -> Result<Self> {
        let path = name.with_extension("json");
        let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let value: Value = serde_json::from_slice(&text)?;
        let number = |key: &str| value[key].as_u64().with_context(|| key.to_owned());
        let list = |key: &str| value[key].as_array().with_context(|| key.to_owned());
        let cuts = list("cuts")?.iter().filter_map(Value::as_u64).collect();
        let faces = list("faces")?.iter().map(face_of);
        let faces: Vec<_> = faces.collect::<Option<_>>().context("faces")?;
        let file = BufReader::new(File::open(name.with_extension("npy"))?);
        let npy = npyz::NpyFile::new(file)?;
        let width = usize::try_from(npy.shape().get(1).copied().unwrap_or(0))?.max(1);
        let rows: Vec<f32> = npy.into_vec()?;
        let embeddings = rows
            .chunks(width)
            .map(|row| Embedding::normalise(row.to_vec()));
        let embeddings = embeddings.collect::<Result<Vec<_>, _>>()?;
        let good = faces.iter().filter(|(_, _, quality)| quality.is_some());
        ensure!(
            good.count() == embeddings.len(),
            "not as many embeddings as good faces"
        );
        Ok(Self {
            picture: (
                u32::try_from(number("width")?)?,
                u32::try_from(number("height")?)?,
            ),
            fps: value["fps"].as_f64().context("fps")?,
            frames: number("frames")?,
            cuts,
            faces,
            embeddings,
        })
    }

    fn stamp(&self, frame: u64) -> FrameStamp {
        let seconds = Duration::from_secs_f64(frame as f64 / self.fps);
        let micros = i64::try_from(seconds.as_micros()).unwrap_or(i64::MAX);
        FrameStamp {
            number: FrameNo::new(frame),
            time: MediaTime::from_micros(micros),
            wall: WallTime::from_unix_micros(micros),
        }
    }
}

fn face_of(row: &Value) -> Option<(u64, DetectedFace, Option<f32>)> {
    let row = row.as_array().filter(|row| row.len() == 7)?;
    let number = |at: usize| serde_json::from_value::<f32>(row[at].clone()).ok();
    let rect = Rect::new(number(1)?, number(2)?, number(3)?, number(4)?);
    let face = DetectedFace {
        rect,
        // The tracker looks at none.
        landmarks: [Point::default(); 5],
        score: number(5)?,
    };
    Some((row[0].as_u64()?, face, number(6)))
}

/// Knows the embedding of a crop by the number that is written into its first bytes.
struct Replay {
    embeddings: Vec<Embedding>,
    calls: u64,
}

impl Embedder for Replay {
    fn embed(&mut self, crops: &[AlignedCrop]) -> Result<Vec<Embedding>, InferError> {
        self.calls += crops.len() as u64;
        let number = |crop: &AlignedCrop| {
            let bytes = crop.rgb()[..4].try_into().expect("a crop has four bytes");
            u32::from_le_bytes(bytes) as usize
        };
        let embeddings = crops
            .iter()
            .map(|crop| self.embeddings[number(crop)].clone());
        Ok(embeddings.collect())
    }

    fn dimension(&self) -> usize {
        self.embeddings.first().map_or(0, |e| e.as_slice().len())
    }
}

fn follow(options: &Follow) -> Result<()> {
    let mut found = Found::read(&options.name)?;
    let mut rules = PipelineSettings::default()
        .with_tracker(options.tracker)
        .tracks;
    if options.without_appearance {
        rules = rules.without_appearance();
    }
    let mut embedder = Replay {
        embeddings: std::mem::take(&mut found.embeddings),
        calls: 0,
    };
    let mut by_frame: BTreeMap<u64, Vec<SeenFace>> = BTreeMap::new();
    let mut number = 0u32;
    for (frame, face, quality) in &found.faces {
        let seen = by_frame.entry(*frame).or_default();
        let good = quality
            .map(|quality| good_face(quality, number))
            .transpose()?;
        number += u32::from(good.is_some());
        seen.push(SeenFace {
            stamp: found.stamp(*frame),
            rank: seen.len(),
            face: *face,
            picture: found.picture,
            good,
        });
    }
    let mut tracker = Tracker::new(rules);
    let mut observations = Vec::new();
    let (mut first, mut spent) = (0, Duration::ZERO);
    for frame in 0..found.frames {
        let begun = Instant::now();
        if found.cuts.contains(&frame) {
            observations.extend(tracker.close_all(None));
            first = frame;
        }
        let stamp = found.stamp(frame);
        if (frame - first).is_multiple_of(options.every) {
            let faces = by_frame.remove(&frame).unwrap_or_default();
            observations.extend(tracker.detect(stamp, faces, &mut embedder)?);
        } else {
            tracker.pass(stamp);
        }
        spent += begun.elapsed();
    }
    observations.extend(tracker.close_all(None));
    print_tracks(&observations, found.picture);
    let cost = json!({"seconds": spent.as_secs_f64(), "embedded": embedder.calls});
    writeln!(std::io::stderr(), "{cost}")?;
    Ok(())
}

fn good_face(quality: f32, number: u32) -> Result<GoodFace> {
    let mut bytes = vec![0; 112 * 112 * 3];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    Ok(GoodFace {
        quality,
        crop: AlignedCrop::from_rgb(bytes)?,
        loose: Picture::filled(8, 8, [0; 3])?,
        embedding: None,
    })
}

fn print_tracks(observations: &[TrackObservation], picture: (u32, u32)) {
    let (width, height) = (f64::from(picture.0), f64::from(picture.1));
    let mut ids = BTreeMap::new();
    for observation in observations {
        let next = ids.len() + 1;
        let id = *ids.entry(observation.key).or_insert(next);
        for face in &observation.faces {
            let r = face.rect;
            println!(
                "{},{id},{:.2},{:.2},{:.2},{:.2},{:.4}",
                face.frame.get(),
                f64::from(r.x) * width,
                f64::from(r.y) * height,
                f64::from(r.width) * width,
                f64::from(r.height) * height,
                face.confidence
            );
        }
    }
}

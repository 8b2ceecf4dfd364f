//! Clips made by the `ffmpeg` program, and what capture reads from them.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rollcall_ingest::{
    Picture,
    capture::{AccessRules, FileSource, Location, Patience},
    observe::{Fault, FaultReason, MediaInfo, ResumePoint, WallTime},
    source::{CaptureStatus, DecodeMode, FrameSource, FrameStamp, Next, StopToken},
};

/// Runs the `ffmpeg` program; `output` comes last.
pub fn ffmpeg(arguments: &str, output: &Path) -> PathBuf {
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-nostdin"])
        .args(arguments.split_whitespace())
        .arg(output)
        .status()
        .expect("the ffmpeg program is installed: run make setup");
    assert!(status.success(), "ffmpeg {arguments}");
    output.to_path_buf()
}

/// Two seconds of a test picture, 50 frames, 160x120, a keyframe every ten.
pub const CLIP: &str =
    "-f lavfi -i testsrc=size=160x120:rate=25:duration=2 -pix_fmt yuv420p -c:v libx264 -g 10 -bf 2";

pub struct Seen {
    pub stamps: Vec<FrameStamp>,
    pub pictures: Vec<Picture>,
    pub end: Result<Option<FaultReason>, FaultReason>,
    pub message: String,
    pub media: Option<MediaInfo>,
    pub corrupt: u64,
}

impl Seen {
    pub fn frames(&self) -> usize {
        self.stamps.len()
    }
}

fn source(uri: &str, resume: Option<ResumePoint>) -> Result<FileSource, Fault> {
    let location = Location::check(uri, &AccessRules::default())?;
    let patience = Patience {
        open: Duration::from_secs(30),
        read: Duration::from_secs(30),
    };
    let wall = WallTime::from_unix_micros(1_000_000);
    Ok(FileSource::new(
        location,
        patience,
        false,
        resume,
        wall,
        StopToken::default(),
    ))
}

pub fn read_from(uri: &str, resume: Option<ResumePoint>) -> Seen {
    read_all(source(uri, resume))
}

pub fn read_mode(path: &Path, mode: DecodeMode, resume: Option<ResumePoint>) -> Seen {
    let uri = path.to_str().expect("test paths are UTF-8");
    read_all(source(uri, resume).map(|source| source.with_mode(mode)))
}

fn read_all(source: Result<FileSource, Fault>) -> Seen {
    let status = CaptureStatus::default();
    let mut seen = Seen {
        stamps: Vec::new(),
        pictures: Vec::new(),
        end: Ok(None),
        message: String::new(),
        media: None,
        corrupt: 0,
    };
    let outcome = source.and_then(|mut source| {
        loop {
            match source.next(&status)? {
                Next::Frame(frame) => {
                    seen.stamps.push(frame.stamp);
                    seen.pictures.push(frame.image.to_picture(1280)?);
                }
                Next::Ended(fault) => return Ok(fault),
            }
        }
    });
    let fault = outcome.as_ref().map_or_else(Some, Option::as_ref);
    seen.message = fault.map_or_else(String::new, |f| f.message.clone());
    seen.end = outcome
        .map(|fault| fault.map(|f| f.reason))
        .map_err(|f| f.reason);
    let facts = status.facts();
    (seen.media, seen.corrupt) = (facts.media, facts.corrupt);
    seen
}

pub fn read(path: &Path) -> Seen {
    read_from(path.to_str().expect("test paths are UTF-8"), None)
}

/// The folder that `make setup` prepares.
pub fn assets() -> PathBuf {
    std::env::var_os("ROLLCALL_ASSETS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.assets"),
        PathBuf::from,
    )
}

/// Mean difference of the bytes of two pictures of one size.
pub fn difference(a: &Picture, b: &Picture) -> f64 {
    assert_eq!((a.width(), a.height()), (b.width(), b.height()));
    let pairs = a.rgb().iter().zip(b.rgb());
    let sum: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.rgb().len() as f64
}

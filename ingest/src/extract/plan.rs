//! Where a video is divided: `cuts.json`.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::BatchError;
use crate::{
    files::write_whole,
    observe::{Fault, FaultReason, FrameNo, MediaTime, ResumePoint},
    pipeline::PipelineSettings,
    shot::CutPlanner,
    source::{CaptureStatus, FrameSource, Next},
};

/// The name under which a plan lies beside the shards.
pub const PLAN_FILE: &str = "cuts.json";
const FORMAT: &str = "rollcall-cuts-1";
/// Pieces of a file that are hashed, spread evenly, and their length in bytes.
const PIECES: u64 = 16;
const PIECE_BYTES: u64 = 65_536;

/// Tells one file from another: its length, and a hash of sixteen pieces of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFingerprint {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of 16 pieces of 64 KiB, from the first to the last; of all of it where it is shorter.
    pub sha256: String,
}

impl FileFingerprint {
    /// That of the file at `path`. Cost: a read of at most a megabyte.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut hash = Sha256::new();
        let whole = bytes <= PIECES * PIECE_BYTES;
        let pieces = if whole { 1 } else { PIECES };
        for piece in 0..pieces {
            let length = if whole { bytes } else { PIECE_BYTES };
            let gaps = (pieces - 1).max(1);
            let rest = bytes - length;
            let at = rest / gaps * piece + rest % gaps * piece / gaps;
            file.seek(SeekFrom::Start(at))?;
            io::copy(&mut (&file).take(length), &mut HashWriter(&mut hash))?;
        }
        let hex = |byte: &u8| format!("{byte:02x}");
        let sha256 = hash.finalize().iter().map(hex).collect();
        Ok(Self { bytes, sha256 })
    }
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A frame that begins a shot for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedCut {
    /// Its number in the source.
    pub frame: u64,
    /// Its stream time, in microseconds.
    pub time_us: i64,
}

/// What a pre-pass over a video found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutPlan {
    format: String,
    /// The video.
    pub file: FileFingerprint,
    /// By which rules cuts were told, as [`CutPlan::rules_of`] says.
    pub rules: String,
    /// Frames of the source, those included that need not be decoded.
    pub frames: u64,
    /// Stream time of the last frame, in microseconds.
    pub last_us: i64,
    /// Where shards may begin, in order.
    pub cuts: Vec<PlannedCut>,
}

/// The part of a source that a shard covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardSpan {
    /// Its first frame.
    pub begin: FrameNo,
    /// The frame after its last.
    pub end: FrameNo,
    /// Where reading begins; `None` for the start of the source.
    pub resume: Option<ResumePoint>,
    /// Whether it ends where the source does.
    pub is_last: bool,
}

impl ShardSpan {
    /// Whether no frame is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.begin == self.end
    }
}

impl CutPlan {
    /// Reads `source` to its end and asks `planner` about each frame; no face is looked for.
    ///
    /// # Errors
    /// The [`Fault`] by which the source cannot be read. One that ends early is divided as far as it goes.
    pub fn make(
        source: &mut dyn FrameSource,
        mut planner: CutPlanner<PlannedCut>,
        file: FileFingerprint,
        rules: String,
    ) -> Result<Self, Fault> {
        let status = CaptureStatus::default();
        let (mut cuts, mut last) = (Vec::new(), None);
        while let Next::Frame(frame) = source.next(&status)? {
            let here = PlannedCut {
                frame: frame.stamp.number.get(),
                time_us: frame.stamp.time.micros(),
            };
            cuts.extend(planner.push(here.frame, &frame.grey, here));
            last = Some(here);
        }
        cuts.extend(planner.end());
        let last = last.ok_or_else(|| Fault::new(FaultReason::NotAVideo, "there is no picture"))?;
        Ok(Self {
            format: FORMAT.to_owned(),
            file,
            rules,
            frames: last.frame + 1,
            last_us: last.time_us,
            cuts,
        })
    }

    /// Whether the frame begins a shot.
    #[must_use]
    pub fn has_cut(&self, frame: u64) -> bool {
        self.cuts
            .binary_search_by_key(&frame, |cut| cut.frame)
            .is_ok()
    }

    /// A name for everything in `settings` that shapes a plan.
    #[must_use]
    pub fn rules_of(settings: &PipelineSettings) -> String {
        let text = format!("{FORMAT}\n{:?}\n{:?}", settings.decode, settings.cuts);
        let hash = Sha256::digest(text.as_bytes());
        hash.iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Where shard `index` (from 0) of `n` lies: from the first cut at or after its share of the
    /// frames to the first at or after that of the next. Where a shot is longer than a share, shards
    /// in it are empty.
    #[must_use]
    pub fn span(&self, index: u32, n: u32) -> ShardSpan {
        let ((begin, resume), (end, _)) = (self.boundary(index, n), self.boundary(index + 1, n));
        ShardSpan {
            begin,
            end,
            resume,
            is_last: end.get() >= self.frames && begin != end,
        }
    }

    fn boundary(&self, index: u32, n: u32) -> (FrameNo, Option<ResumePoint>) {
        if index == 0 {
            return (FrameNo::default(), None);
        }
        let share = u128::from(self.frames) * u128::from(index);
        let share = u64::try_from(share.div_ceil(u128::from(n.max(1)))).unwrap_or(u64::MAX);
        let at = self.cuts.partition_point(|cut| cut.frame < share);
        match self.cuts.get(at) {
            Some(cut) if index < n => {
                let (time, frame) = (MediaTime::from_micros(cut.time_us), FrameNo::new(cut.frame));
                (frame, Some(ResumePoint { time, frame }))
            }
            _ => (FrameNo::new(self.frames), None),
        }
    }

    /// Reads a plan that is of this file and these rules.
    ///
    /// # Errors
    /// [`BatchError::Damaged`], [`BatchError::OtherPlan`], [`BatchError::Io`].
    pub fn read(path: &Path, file: &FileFingerprint, rules: &str) -> Result<Self, BatchError> {
        let bytes = fs::read(path).map_err(BatchError::io(path))?;
        let plan: Self = serde_json::from_slice(&bytes).map_err(|why| BatchError::Damaged {
            path: path.to_owned(),
            line: why.line(),
            why: why.to_string(),
        })?;
        let increasing = plan
            .cuts
            .windows(2)
            .all(|pair| pair[0].frame < pair[1].frame && pair[0].time_us < pair[1].time_us);
        let inside = plan
            .cuts
            .iter()
            .all(|cut| (1..plan.frames).contains(&cut.frame));
        if plan.format != FORMAT || !increasing || !inside {
            return Err(BatchError::Damaged {
                path: path.to_owned(),
                line: 1,
                why: format!("not {FORMAT}, or its cuts are in no order"),
            });
        }
        let other = |what, why: &str| BatchError::OtherPlan {
            path: path.to_owned(),
            what,
            why: why.to_owned(),
        };
        if plan.file != *file {
            return Err(other(
                "FILE",
                "was made of another video, or of this one before it changed",
            ));
        }
        if plan.rules != rules {
            let why = "was made with other --shots, --every or --profile, or by another version";
            return Err(other("SETTINGS", why));
        }
        Ok(plan)
    }

    /// Writes the plan to `path`, whole or not at all.
    ///
    /// # Errors
    /// [`BatchError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), BatchError> {
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        write_whole(path, text.as_bytes()).map_err(BatchError::io(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(frames: u64, cuts: &[u64]) -> CutPlan {
        let cut = |frame: &u64| PlannedCut {
            frame: *frame,
            time_us: i64::try_from(*frame).unwrap() * 40_000,
        };
        CutPlan {
            format: FORMAT.to_owned(),
            file: FileFingerprint {
                bytes: 7,
                sha256: "ab".to_owned(),
            },
            rules: "r".to_owned(),
            frames,
            last_us: 0,
            cuts: cuts.iter().map(cut).collect(),
        }
    }

    #[test]
    fn shards_cover_the_source_without_gap_or_overlap() {
        let plan = plan(100, &[10, 24, 25, 60, 99]);
        for n in 1..=16 {
            let spans: Vec<_> = (0..n).map(|i| plan.span(i, n)).collect();
            assert_eq!((spans[0].begin.get(), spans[0].resume), (0, None));
            assert!(spans.windows(2).all(|pair| pair[0].end == pair[1].begin));
            assert_eq!(spans.last().unwrap().end.get(), 100);
            assert_eq!(spans.iter().filter(|span| span.is_last).count(), 1);
            let begins = spans.iter().filter(|s| !s.is_empty()).skip(1);
            assert!(begins.clone().all(|s| s.resume.unwrap().frame == s.begin));
        }
        let ends: Vec<_> = (0..4).map(|i| plan.span(i, 4).end.get()).collect();
        assert_eq!(ends, [25, 60, 99, 100]);
    }

    #[test]
    fn a_plan_of_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, plan) = (folder.path().join(PLAN_FILE), plan(100, &[10, 24]));
        plan.write(&path).unwrap();
        assert_eq!(CutPlan::read(&path, &plan.file, "r").unwrap(), plan);
        let said = |file: &FileFingerprint, rules| {
            CutPlan::read(&path, file, rules).unwrap_err().to_string()
        };
        let other = FileFingerprint {
            bytes: 8,
            ..plan.file.clone()
        };
        assert!(said(&other, "r").starts_with("PLAN_OF_OTHER_FILE"));
        assert!(said(&plan.file, "s").starts_with("PLAN_OF_OTHER_SETTINGS"));
        fs::write(&path, &fs::read(&path).unwrap()[..60]).unwrap();
        assert!(said(&plan.file, "r").starts_with("BATCH_DAMAGED"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn files_are_told_apart_by_length_and_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let print = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            FileFingerprint::of(&path).unwrap()
        };
        let mut large = vec![1u8; 3_000_000];
        let first = print(&large);
        assert_eq!(print(&large), first);
        *large.last_mut().unwrap() = 2;
        assert_ne!(print(&large), first);
        assert_ne!(print(b"a"), print(b"b"));
        assert_eq!(print(b"").bytes, 0);
    }
}

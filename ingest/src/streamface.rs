//! streamface's folders: key frames that passed its gates, and the faces in them.
//!
//! One folder a channel, in which the names of files are the database:
//!
//! - `frames/CHANNEL_frame_YYYYMMDDhhmmssffffff.png`, and `frames/manifest.jsonl` about them;
//! - `faces/FRAME_face_I.png`, loose crops, and `aligned_faces/FRAME_face_I.png`, 128x128;
//! - `metadata/detections.csv` and `metadata/matches.csv`;
//! - `frames/processed.txt` and `metadata/processed_frames.txt`: which frames were searched;
//! - `features/*.pkl`: embeddings and attributes, in pickles;
//! - `logs/`.
//!
//! [`FrameWriter`] fills the first, [`FaceExtractor`] the faces and tables, [`FaceAnalyser`] the features. Times are UTC.

mod analysis;
mod annotations;
mod crop;
mod detections;
mod done;
mod faces;
mod frames;
mod matching;
mod names;
mod run_log;
mod table;

pub(crate) use analysis::pickles;
pub use analysis::{Analysed, FaceAnalyser};
pub use annotations::{Annotation, Annotations};
pub use crop::{ALIGNED_FACE_SIDE, FACE_SIDE_MAX, PixelFace};
pub use detections::Detection;
pub use done::FramesDone;
pub use faces::{DETECTION_COLUMNS, FaceCounts, FaceExtractor, FaceRules};
pub use frames::{FrameCounts, FrameWriter};
pub use matching::{MatchRules, Matcher, Seen, mean_iou};
pub use names::{Channel, FrameTimes, NameError, frame_stem, parse_utc, stem, time_of, timestamp};
pub use run_log::{Level, RunLog};

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    crop::to_png, detect::InferError, pickle::PickleFileError, picture::PictureRef,
    table::TableError,
};

/// Why a channel's folder cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The system refused.
    #[error("{path}: {why}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// A table has other columns.
    #[error(
        "{path} does not begin with the columns {columns}; move it away to begin a new one",
        path = path.display()
    )]
    ForeignTable {
        /// The table.
        path: PathBuf,
        /// The first line it should have.
        columns: &'static str,
    },
    /// A row of a table is not what it should be.
    #[error(
        "{path}: line {line}: no detection; NAME,CONFIDENCE,\"[X, Y, W, H]\" and five \"(x, y)\" are wanted",
        path = path.display()
    )]
    BadRow {
        /// The table.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// A table cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A file of annotations is none.
    #[error("{path}: {why}", path = path.display())]
    BadAnnotations {
        /// The file.
        path: PathBuf,
        /// What is wrong where.
        why: serde_json::Error,
    },
    /// A file of features cannot be read.
    #[error(transparent)]
    Features(#[from] PickleFileError),
    /// A model failed.
    #[error(transparent)]
    Infer(#[from] InferError),
}

/// A channel's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelFolder(PathBuf);

impl ChannelFolder {
    /// The folder at `path`; parts of it that are missing are made.
    ///
    /// # Errors
    /// [`ChannelError::Io`] when they cannot be made.
    pub fn open(path: &Path) -> Result<Self, ChannelError> {
        let folder = Self(path.to_path_buf());
        for part in ["frames", "faces", "aligned_faces", "metadata", "logs"] {
            let part = folder.part(part);
            fs::create_dir_all(&part).map_err(io_error(&part))?;
        }
        Ok(folder)
    }

    /// A file or folder in it.
    #[must_use]
    pub fn part(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ChannelError + use<> {
    let path = path.to_path_buf();
    move |why| ChannelError::Io { path, why }
}

/// Writes a picture as PNG under a temporary name first: whoever reads the folder meanwhile never
/// sees half a file.
fn write_png(path: &Path, picture: PictureRef<'_>) -> Result<(), ChannelError> {
    let part = path.with_extension("part");
    fs::write(&part, to_png(picture)).map_err(io_error(&part))?;
    fs::rename(&part, path).map_err(io_error(path))
}

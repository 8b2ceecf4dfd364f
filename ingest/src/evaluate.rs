//! How good are embeddings, clusterings and decisions? Measures from labelled faces, with their
//! uncertainty, and the reports that show them.
//!
//! Everything is computed exactly where it fits, and on a seeded sample where it does not; a result
//! says which. `docs/evaluation.md` gives each number's formula and where it comes from.

pub mod annotations;
mod bootstrap;
pub mod calibrate;
pub mod clusters;
pub mod curve;
pub mod features;
pub mod histogram;
pub mod identification;
pub mod interval;
pub mod labels;
pub mod neighbours;
pub mod pairs;
pub mod photos;
mod product;
pub mod report;
pub mod sample;

use std::path::{Path, PathBuf};

use crate::faceset::FaceSetError;

/// Why nothing can be evaluated. Each begins with a code that programs can look at.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The file of embeddings: NaN, mixed dimensions, cut short.
    #[error("BAD_FEATURES: {0}")]
    Features(#[from] FaceSetError),
    /// A file cannot be read or written.
    #[error("FILE: {path}: {why}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// A file of labels, names or pairs is of no known format, or damaged.
    #[error("BAD_FORMAT: {path}: {why}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where, what is wrong, and what is read.
        why: String,
    },
    /// A file speaks of faces that are not among the features.
    #[error(
        "UNKNOWN_FACE: {path}: {first} is not among the {faces} faces of the features ({count} such); \
         give the file that belongs to them",
        path = path.display()
    )]
    UnknownFace {
        /// The file.
        path: PathBuf,
        /// The first such name, row or track.
        first: String,
        /// How many there are.
        count: usize,
        /// How many faces there are.
        faces: usize,
    },
    /// Faces have no names, and a file speaks of names.
    #[error(
        "NO_NAMES: {path} speaks of faces by name, and the features have none; give --names, one name a line",
        path = path.display()
    )]
    NoNames {
        /// The file.
        path: PathBuf,
    },
    /// Two files of embeddings cannot be compared.
    #[error(
        "DIMENSIONS: embeddings of {one} and of {other} values are not compared; give those of one model"
    )]
    Dimensions {
        /// Of the one.
        one: usize,
        /// Of the other.
        other: usize,
    },
    /// It is not known whom the faces show.
    #[error("NO_LABELS: it is not known whom the faces show; give --labels or --identities")]
    NoLabels,
    /// There is too little to measure anything.
    #[error("TOO_FEW: {0}")]
    TooFew(String),
    /// The data cannot show what was asked for.
    #[error("UNRESOLVABLE: {0}")]
    Unresolvable(String),
    /// A photo of the gallery shows no face, or several.
    #[error(
        "{code}: {photo}: shows {faces} faces, and a photo of a gallery must show one; take it out or cut it",
        code = if *faces == 0 { "NO_FACE_FOUND" } else { "SEVERAL_FACES" }
    )]
    Photo {
        /// The photo.
        photo: String,
        /// How many faces it shows.
        faces: usize,
    },
    /// The configuration cannot be changed as asked.
    #[error("BAD_CONFIGURATION: {path}: {why}", path = path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
}

impl EvaluateError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |why| Self::Io { path, why }
    }

    pub(crate) fn format(path: &Path, why: impl Into<String>) -> Self {
        Self::Format {
            path: path.to_owned(),
            why: why.into(),
        }
    }
}

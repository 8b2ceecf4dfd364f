//! Why a collection cannot be built.

use crate::core::{CatalogError, OpenError, WriteError};
use rollcall_ingest::extracted::ExtractedError;
use rollcall_ingest::faceset::FaceSetError;
use rollcall_ingest::table::TableError;
use rollcall_log::ReadError;
use std::io;
use std::path::PathBuf;

/// Why a collection cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// It is nothing that can be built from.
    #[error(
        "{path}: neither an extracted folder (with log/ and tracks.jsonl), a folder of those, nor a file of vectors (.npy, .jsonl, .parquet)"
    )]
    Unknown {
        /// The path.
        path: PathBuf,
    },
    /// A folder cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Vectors cannot be read.
    #[error(transparent)]
    Vectors(#[from] FaceSetError),
    /// An extraction cannot be read, or did not come to its end.
    #[error(transparent)]
    Extracted(#[from] ExtractedError),
    /// It is of another model.
    #[error(
        "{path}: its embeddings are of contract {found}, the collection's is {expected}; extract it again with the collection's models"
    )]
    OtherContract {
        /// The folder or file.
        path: PathBuf,
        /// Its contract.
        found: String,
        /// The collection's.
        expected: String,
    },
    /// An observation is refused.
    #[error("{path}: {what}")]
    Refused {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with which observation.
        what: String,
    },
    /// Nobody says which model made the vectors.
    #[error(
        "{path}: name the contract of its embeddings with --contract, or the models that made them with --assets ({why})"
    )]
    NoContract {
        /// The file.
        path: PathBuf,
        /// Why there are no models.
        why: String,
    },
    /// The models of the contract are not at hand.
    #[error(
        "no models of contract {contract} are at hand ({why}): name their folder with --assets, or the cosine from which two faces are one person's with --same-cosine"
    )]
    NoModels {
        /// The contract.
        contract: String,
        /// Which are, or why none.
        why: String,
    },
    /// The collection cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Our own mistake.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// Another source has its name.
    #[error(
        "{path}: {uri} is source {id} of the collection already, and that was made of something else; leave this out"
    )]
    Taken {
        /// The folder or file.
        path: PathBuf,
        /// Its name.
        uri: String,
        /// Who has it.
        id: u64,
    },
    /// A table of names cannot be read.
    #[error(transparent)]
    Names(#[from] TableError),
    /// Names of nobody.
    #[error(
        "{path}: names are of given identities, and {vectors} has none; give them with --identities"
    )]
    NamesOfNobody {
        /// The table.
        path: PathBuf,
        /// The file of vectors.
        vectors: PathBuf,
    },
    /// Identities of what has none.
    #[error(
        "{path}: --identities and --names go with a file of vectors, not with a folder; give it without them"
    )]
    NotVectors {
        /// The folder.
        path: PathBuf,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The writer refuses.
    #[error("{path}: {source}")]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: WriteError,
    },
}

use std::{io, path::PathBuf};

use crate::observe::Fault;

/// Why a video cannot be divided, or its parts not be put together. Each begins with a code that stays
/// the same.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// A file or folder cannot be read or written.
    #[error("BATCH_IO: {path}: {why}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// A file is cut off, or is not what its name says.
    #[error("BATCH_DAMAGED: {path}, line {line}: {why}; make this part again")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        why: String,
    },
    /// A log does not hold what its tracks say.
    #[error("BATCH_DAMAGED: {path}: {why}; make this part again")]
    Log {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Parts are not there.
    #[error("SHARD_MISSING: of {n} shards, {} not there: {}{}",
        if missing.len() == 1 { "one is" } else { "some are" },
        list(missing),
        hint(begun))]
    Missing {
        /// How many there should be.
        n: u32,
        /// Which, from 0.
        missing: Vec<u32>,
        /// Folders of parts that were begun.
        begun: Vec<PathBuf>,
    },
    /// No part is there.
    #[error(
        "SHARD_MISSING: {path} holds no shard; `extract FILE --out {path} --shard I --n N` makes them"
    )]
    None {
        /// The folder.
        path: PathBuf,
    },
    /// A part is there twice.
    #[error("SHARD_DOUBLED: {first} and {second} are both {what}; leave one of them out")]
    Doubled {
        /// One.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// Which part.
        what: String,
    },
    /// A part was begun and not finished.
    #[error("SHARD_INCOMPLETE: {path}: {why}; make this part again")]
    Incomplete {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// Parts do not belong together.
    #[error("{code}: {} and {} differ in {what}: '{}' and '{}'; remove one of them, or make it again",
        parts.0.display(), parts.1.display(), values.0, values.1)]
    Mixed {
        /// `SHARD_OF_OTHER_MODEL`, `.._FILE`, `.._SETTINGS` or `.._NUMBER`.
        code: &'static str,
        /// In what they differ.
        what: &'static str,
        /// Two of them.
        parts: Box<(PathBuf, PathBuf)>,
        /// What each says.
        values: Box<(String, String)>,
    },
    /// A list of cuts is of other material or made by other rules.
    #[error("PLAN_OF_OTHER_{what}: {path} {why}; remove it, or choose another with --plan")]
    OtherPlan {
        /// The list.
        path: PathBuf,
        /// `FILE` or `SETTINGS`.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] Fault),
}

fn list(numbers: &[u32]) -> String {
    let texts: Vec<_> = numbers.iter().map(u32::to_string).collect();
    texts.join(", ")
}

fn hint(begun: &[PathBuf]) -> String {
    let names: Vec<_> = begun
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    if names.is_empty() {
        String::from("; run `extract --shard I` for each")
    } else {
        format!(
            " (begun and not finished: {}); run `extract --shard I` for each",
            names.join(", ")
        )
    }
}

impl BatchError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |why| Self::Io { path, why }
    }
}

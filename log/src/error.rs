//! What can go wrong, one enum per family of operations.
use std::io;
use std::ops::RangeInclusive;

use crate::format::FormatError;

/// Why a log could not be opened. Nothing was changed in any of these cases.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another `Log` of this one, holds the log.
    #[error("{path} is in use by another process: stop it, or choose another data folder")]
    InUse {
        /// The lock file.
        path: String,
    },
    /// Records that were once durable are damaged or gone. Never repaired by guessing.
    #[error(
        "{segment} is damaged at byte {offset}, where record {sequence} should be: {what}. \
         Nothing was changed. Restore this file from a backup, or, if there is none, move the \
         whole log folder away and ingest the sources again"
    )]
    Corrupt {
        /// The segment file.
        segment: String,
        /// Where in the file, in bytes from its start.
        offset: u64,
        /// The sequence number of the first record that cannot be read.
        sequence: u64,
        /// What is wrong there.
        what: String,
    },
    /// A segment was written by a newer build.
    #[error(
        "{segment}: format v{found}; this build reads v{} to v{}: use the build that wrote it, \
         or a newer one",
        .reads.start(), .reads.end()
    )]
    UnsupportedVersion {
        /// The segment file.
        segment: String,
        /// The version it carries.
        found: u16,
        /// The versions that this build reads.
        reads: RangeInclusive<u16>,
    },
    /// The storage failed.
    #[error("{path}: could not {action}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a record or a blob could not be appended, or made durable.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// No room is left. The log stands at its last durable record; whatever was appended after
    /// it is gone and must be appended again once there is room.
    #[error("{path}: no space left: free some, then send again what followed record {durable}")]
    Full {
        /// The file that could not grow.
        path: String,
        /// The last durable sequence.
        durable: u64,
    },
    /// The storage failed while writing. As after `Full`, the log stands at its last durable
    /// record and may be used on.
    #[error("{path}: could not {action}: {source}; the log stands at record {durable}")]
    Io {
        /// The file or folder.
        path: String,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
        /// The last durable sequence.
        durable: u64,
    },
    /// A sync, or the way back after a failed write, failed. What the disk holds past the last
    /// durable record is unknown, so nothing is written until the log is opened again.
    #[error(
        "the log takes no more records ({what}): check the disk, then start again; \
         everything up to record {durable} is safe"
    )]
    Poisoned {
        /// The failure that did it.
        what: String,
        /// The last durable sequence.
        durable: u64,
    },
    /// The encoded record is larger than [`RECORD_BYTES_MAX`](crate::RECORD_BYTES_MAX).
    /// Nothing changed.
    #[error("a record of {bytes} bytes; at most {max} are allowed: split it")]
    RecordTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The blob is larger than [`BLOB_BYTES_MAX`](crate::BLOB_BYTES_MAX). Nothing changed.
    #[error("a blob of {bytes} bytes; at most {max} are allowed")]
    BlobTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A key cannot be had: it was destroyed, is missing, or damaged. Nothing changed.
    #[error("{what}; the log stands at record {durable}")]
    Key {
        /// Which key, and what is wrong with it.
        what: String,
        /// The last durable sequence.
        durable: u64,
    },
    /// The record says nothing. Nothing changed.
    #[error("a record without a body")]
    NoBody,
    /// More than [`PENDING_RECORD_BYTES_MAX`](crate::PENDING_RECORD_BYTES_MAX) wait for a sync.
    /// Nothing changed.
    #[error("{bytes} bytes of records wait for a sync: call sync first")]
    Backlog {
        /// Bytes that wait.
        bytes: usize,
    },
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes changed since the log was opened.
    #[error(
        "{segment} is damaged at byte {offset}, where record {sequence} should be: {what}. \
         Restore this file from a backup"
    )]
    Corrupt {
        /// The segment file.
        segment: String,
        /// Where in the file, in bytes from its start.
        offset: u64,
        /// The sequence number of the record that cannot be read.
        sequence: u64,
        /// What is wrong there.
        what: String,
    },
    /// A newer build wrote a kind of record that this one does not know.
    #[error("record {sequence} is of a kind that this build does not know: use a newer build")]
    UnknownBody {
        /// Its sequence number.
        sequence: u64,
    },
    /// The storage failed.
    #[error("{path}: could not {action}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a blob could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It was erased on purpose, for ever.
    #[error("the blob was erased")]
    Erased,
    /// The segment that should hold it is not there, or ends before it.
    #[error("{segment}: no blob at byte {offset}")]
    Missing {
        /// The segment file.
        segment: String,
        /// Where the blob should begin.
        offset: u64,
    },
    /// What lies there is not what was written.
    #[error("{segment} is damaged at byte {offset}: {what}. Restore this file from a backup")]
    Corrupt {
        /// The segment file.
        segment: String,
        /// Where the blob begins.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The reference itself is impossible (digest of the wrong length, unaligned offset, ...).
    #[error("not a blob reference: {what}")]
    BadReference {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The storage failed.
    #[error("{path}: could not {action}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a blob could not be erased. Erasing again is always allowed.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// There is no such blob.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The storage failed, or the log is poisoned; the blob may or may not still be readable.
    #[error("not erased: {0}")]
    Append(#[from] AppendError),
}

/// A failure of the storage while writing, before the log has decided what follows from it.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) path: String,
    pub(crate) action: &'static str,
    pub(crate) source: io::Error,
    /// What the disk holds is unknown from here on.
    pub(crate) fatal: bool,
}

impl Trouble {
    /// Returns a closure that wraps an error of the storage; for `map_err`.
    pub(crate) fn at(path: String, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            path,
            action,
            source,
            fatal: false,
        }
    }

    /// As [`Trouble::at`], for a failed sync.
    pub(crate) fn fatal(path: String, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            path,
            action,
            source,
            fatal: true,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }
}

impl From<Trouble> for OpenError {
    fn from(trouble: Trouble) -> Self {
        Self::Io {
            path: trouble.path,
            action: trouble.action,
            source: trouble.source,
        }
    }
}

/// Why the entries of a segment could not be walked on.
#[derive(Debug)]
pub(crate) enum WalkError {
    Io(io::Error),
    Damaged { offset: u64, what: FormatError },
}

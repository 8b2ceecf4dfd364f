//! `rollcalld check`: reads everything that is stored and says whether it is whole.

use crate::core::{Core, CoreMetrics, CoreOptions, OpenError};
use rollcall_index::VerifyError;
use rollcall_log::record::{BlobRef, Body, Record};
use rollcall_log::{BlobError, FileStorage, Log, LogOptions, LogReader, ReadError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Records of the log.
    pub records: u64,
    /// Pictures and embeddings read and compared with their digests.
    pub blobs: u64,
    /// Those that were erased on purpose.
    pub erased: u64,
    /// Bytes of an unfinished write at the end, cut off when the log was opened.
    pub torn_bytes: u64,
    /// Identities of the index.
    pub identities: u64,
    /// Faces of the index.
    pub faces: u64,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is nothing to check.
    #[error("{path}: there is no collection here; name its folder with --data", path = path.display())]
    NoCollection {
        /// The data folder.
        path: PathBuf,
    },
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] rollcall_log::OpenError),
    /// A record is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A payload is damaged.
    #[error("record {sequence}: {source}")]
    Blob {
        /// The record that refers to it.
        sequence: u64,
        /// What is wrong.
        source: BlobError,
    },
    /// The log does not say which contract it has.
    #[error("the log does not begin with the collection's contract")]
    NoContract,
    /// The views cannot be made from the log.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The index is inconsistent.
    #[error("index: {0}")]
    Index(#[from] VerifyError),
    /// Our own mistake.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Reads every record and payload, makes the index and verifies it. Takes the folder's lock;
/// changes nothing but an unfinished write at the end of the log, which is cut off, and catalog and
/// index, which are brought up to it if they are behind.
///
/// # Errors
/// [`CheckError`]: the first damage found.
pub fn check(data: &Path) -> Result<CheckReport, CheckError> {
    let folder = data.join("log");
    if !folder.is_dir() {
        return Err(CheckError::NoCollection {
            path: data.to_owned(),
        });
    }
    let mut report = CheckReport::default();
    let (contract, dimension) = {
        let storage = Arc::new(FileStorage::open(folder)?);
        let (log, opened) = Log::open(storage, LogOptions::default())?;
        report.torn_bytes = opened.torn.map_or(0, |torn| torn.bytes);
        read_all(&log.reader(), &mut report)?
    };
    let options = CoreOptions {
        data: data.to_owned(),
        contract,
        dimension,
        // Nothing is decided here.
        same_cosine: 1.0,
        writer_queue: 1,
    };
    let core = Core::open(
        options,
        CoreMetrics::register(&prometheus::Registry::new())?,
    )?;
    let stats = core.view().index.verify()?;
    report.identities = u64::try_from(stats.identities).unwrap_or(u64::MAX);
    report.faces = u64::try_from(stats.faces).unwrap_or(u64::MAX);
    Ok(report)
}

fn read_all(log: &LogReader, report: &mut CheckReport) -> Result<(String, usize), CheckError> {
    let mut contract = None;
    for record in log.read_after(0) {
        let record = record?;
        report.records += 1;
        if let Some(Body::CollectionOpened(opened)) = &record.body {
            let dimension = usize::try_from(opened.dimension).unwrap_or(usize::MAX);
            contract.get_or_insert((opened.contract.clone(), dimension));
        }
        for reference in references(&record) {
            match log.blob(reference) {
                Ok(_) => report.blobs += 1,
                Err(BlobError::Erased) => report.erased += 1,
                Err(source) => {
                    return Err(CheckError::Blob {
                        sequence: record.sequence,
                        source,
                    });
                }
            }
        }
    }
    contract.ok_or(CheckError::NoContract)
}

fn references(record: &Record) -> impl Iterator<Item = &BlobRef> {
    let track = match &record.body {
        Some(Body::TrackObserved(track)) => Some(track),
        Some(_) | None => None,
    };
    let exemplars = track.into_iter().flat_map(|track| &track.exemplars);
    exemplars
        .flat_map(|e| [&e.embedding, &e.crop, &e.loose_crop])
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_folder_is_no_collection_and_stays_empty() {
        let folder = tempfile::tempdir().unwrap();
        let error = check(folder.path()).unwrap_err();
        assert!(matches!(error, CheckError::NoCollection { .. }), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

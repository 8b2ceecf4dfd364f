//! `rollcalld check`: reads everything that is stored and says whether it is whole.

use crate::config::Assigner;
use crate::core::{Contract, Core, CoreMetrics, CoreOptions, LOG_FOLDER, OpenError, contracts_of};
use rollcall_index::VerifyError;
use rollcall_log::record::{BlobRef, Body, Record, TrackObserved};
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
    let opened = OpenedLog::of(data)?;
    let mut report = CheckReport {
        torn_bytes: opened.torn_bytes,
        ..CheckReport::default()
    };
    read_all(&opened.log.reader(), &mut report)?;
    // The core opens it again.
    drop(opened.log);
    let core = open_core(data, opened.contract)?;
    let stats = core.view().index.verify()?;
    report.identities = u64::try_from(stats.identities).unwrap_or(u64::MAX);
    report.faces = u64::try_from(stats.faces).unwrap_or(u64::MAX);
    Ok(report)
}

/// The collection of a data folder whose server does not run, to be read.
pub(crate) fn open_core(data: &Path, contract: Contract) -> Result<Core, CheckError> {
    let options = CoreOptions {
        data: data.to_owned(),
        contract: contract.id,
        dimension: contract.dimension,
        // Nothing is decided here.
        same_cosine: 1.0,
        assigner: Assigner::Evidence,
        writer_queue: 1,
    };
    let metrics = CoreMetrics::register(&prometheus::Registry::new())?;
    Ok(Core::open(options, metrics)?)
}

/// The log of a data folder whose server does not run, and what it says of itself.
pub(crate) struct OpenedLog {
    pub(crate) log: Log,
    /// In service.
    pub(crate) contract: Contract,
    torn_bytes: u64,
}

impl OpenedLog {
    /// Opens it, which takes its lock and cuts off an unfinished write at its end.
    pub(crate) fn of(data: &Path) -> Result<Self, CheckError> {
        let folder = data.join(LOG_FOLDER);
        if !folder.is_dir() {
            return Err(CheckError::NoCollection {
                path: data.to_owned(),
            });
        }
        let storage = Arc::new(FileStorage::open(folder)?);
        let (log, report) = Log::open(storage, LogOptions::default())?;
        let contract = contracts_of(&log.reader(), u64::MAX)?.in_service().clone();
        if contract.id.is_empty() {
            return Err(CheckError::NoContract);
        }
        Ok(Self {
            log,
            contract,
            torn_bytes: report.torn.map_or(0, |torn| torn.bytes),
        })
    }
}

fn read_all(log: &LogReader, report: &mut CheckReport) -> Result<(), CheckError> {
    for record in log.read_after(0) {
        let record = record?;
        report.records += 1;
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
    Ok(())
}

fn of_track(track: &TrackObserved) -> impl Iterator<Item = &BlobRef> {
    let exemplars = track.exemplars.iter();
    let blobs = exemplars.flat_map(|e| [&e.embedding, &e.crop, &e.loose_crop]);
    blobs.flatten()
}

fn references(record: &Record) -> Vec<&BlobRef> {
    match &record.body {
        Some(Body::TrackObserved(track)) => of_track(track).collect(),
        Some(Body::Edited(edited)) => edited.enrolled.iter().flat_map(of_track).collect(),
        // What a rule was before is in the record that made it so.
        Some(Body::AlertRuleChanged(change)) => {
            let rule = change.after.as_ref();
            let photo = rule.and_then(|rule| rule.photo.as_ref());
            photo
                .into_iter()
                .flat_map(|photo| &photo.embeddings)
                .collect()
        }
        Some(Body::ExemplarsReembedded(batch)) => {
            let exemplars = batch.exemplars.iter();
            exemplars.filter_map(|e| e.embedding.as_ref()).collect()
        }
        Some(
            Body::CollectionOpened(_)
            | Body::SourceAdded(_)
            | Body::SourceStateChanged(_)
            | Body::SourceProgress(_)
            | Body::TrackRetracted(_)
            | Body::IdentityRenamed(_)
            | Body::SourceRunStarted(_)
            | Body::AlertRaised(_)
            | Body::AlertDelivered(_)
            | Body::ErasureBegun(_)
            | Body::ErasureEnded(_)
            | Body::ReviewProposed(_)
            | Body::MigrationStarted(_)
            | Body::MigrationSwitched(_)
            | Body::MigrationEnded(_),
        )
        | None => Vec::new(),
    }
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

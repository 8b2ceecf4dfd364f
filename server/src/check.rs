//! `rollcalld check`: reads everything that is stored and says whether it is whole. What follows from the log can be
//! made anew; what is damaged of the log itself is named, with what is lost by it, and never guessed.

use crate::config::Assigner;
use crate::core::{
    CatalogError, Contract, CoreOptions, LOG_FOLDER, OpenError, Opening, contracts_of,
    delete_views, views_differ,
};
use rollcall_log::record::{BlobRef, Body, Record, TrackObserved};
use rollcall_log::{BlobError, FileStorage, Log, LogOptions, LogReader, ReadError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Damaged pictures and embeddings that are told one by one.
pub const DAMAGED_SHOWN_MAX: usize = 100;

/// What may be done about what is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Make views that differ from the log anew.
    pub repair: bool,
    /// Go on with a log whose end is gone, as other files in the data folder prove.
    pub accept_loss: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Records of the log.
    pub records: u64,
    /// Pictures and embeddings read and compared with their digests.
    pub blobs: u64,
    /// Those that were erased on purpose.
    pub erased: u64,
    /// Pictures and embeddings that cannot be read, and what is lost by it.
    pub damaged: u64,
    /// The first [`DAMAGED_SHOWN_MAX`] of them.
    pub damaged_shown: Vec<DamagedBlob>,
    /// Bytes of an unfinished write at the end, cut off when the log was opened.
    pub torn_bytes: u64,
    /// Identities of the index.
    pub identities: u64,
    /// Faces of the index.
    pub faces: u64,
    /// What was wrong with catalog and indexes, and is well again.
    pub made_anew: Vec<String>,
    /// Why catalog and indexes could not be looked at, where that is for want of a payload.
    pub unmade: Option<String>,
    /// Records at the log's end that are gone for good, by their sequences: the first and the last.
    pub lost: Option<(u64, u64)>,
}

/// A picture or an embedding that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedBlob {
    /// The record that refers to it.
    pub sequence: u64,
    /// The track that it is of; 0: of none.
    pub track_id: u64,
    /// What it is, as in "the embedding of exemplar 7".
    pub what: String,
    /// The file, the place, and what is wrong there.
    pub why: String,
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
    /// The log does not say which contract it has.
    #[error("the log does not begin with the collection's contract")]
    NoContract,
    /// The views cannot be made from the log.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A view is not what the log says.
    #[error("{what}; run `rollcalld check --repair` to have it made anew from the log")]
    Differs {
        /// Which one, and where.
        what: String,
    },
}

/// Reads every record and payload, brings catalog and indexes up to the log, and compares them with it. Takes the
/// folder's lock; changes nothing but an unfinished write at the end of the log, which is cut off, and catalog and
/// indexes, which are views: brought up to the log if they are behind, made anew if they cannot be read.
///
/// Cost: one read of the data folder, and the catalog once more in a temporary file beside it.
///
/// # Errors
/// [`CheckError`]. A payload that cannot be read is none: it is in the report.
pub fn check(data: &Path, asked: CheckOptions) -> Result<CheckReport, CheckError> {
    let opened = OpenedLog::of(data)?;
    let mut report = CheckReport {
        torn_bytes: opened.torn_bytes,
        ..CheckReport::default()
    };
    read_all(&opened.log.reader(), &mut report)?;
    // It is opened again with the views.
    drop(opened.log);
    let options = view_options(data, opened.contract);
    let found = look_at_views(data, &options, &mut report);
    match found {
        Err(CheckError::Differs { what }) if asked.repair => report.made_anew.push(what),
        Err(CheckError::Open(error)) if asked.repair && asked.accept_loss => {
            let Some((durable, known)) = cut_short(&error) else {
                return Err(error.into());
            };
            report.lost = Some((durable + 1, known));
        }
        // What is missing is told one by one.
        Err(CheckError::Open(error @ (OpenError::Blob { .. } | OpenError::Embedding { .. })))
            if report.damaged > 0 =>
        {
            report.unmade = Some(error.to_string());
            return Ok(report);
        }
        outcome => return outcome.map(|()| report),
    }
    delete_views(data);
    look_at_views(data, &options, &mut report)?;
    Ok(report)
}

/// How a collection is opened to be looked at.
pub(crate) fn view_options(data: &Path, contract: Contract) -> CoreOptions {
    CoreOptions {
        data: data.to_owned(),
        contract: contract.id,
        dimension: contract.dimension,
        // Nothing is decided here.
        same_cosine: 1.0,
        assigner: Assigner::Evidence,
        writer_queue: 1,
    }
}

/// Opens catalog and indexes, which mends what cannot be read, and holds them against the log.
fn look_at_views(
    data: &Path,
    options: &CoreOptions,
    report: &mut CheckReport,
) -> Result<(), CheckError> {
    let opening = Opening::of(data)?;
    let catalog = opening.catalog_made_anew();
    let catalog = catalog.map(|why| format!("the catalog: {why}"));
    let indexes = opening.indexes_of_no_use();
    let indexes = indexes
        .into_iter()
        .map(|(folder, why)| format!("the index in {folder}: {why}"));
    let found: Vec<String> = catalog.into_iter().chain(indexes).collect();
    let mut truth = opening.finish(options)?;
    if let Some(what) = views_differ(&truth, data)? {
        return Err(CheckError::Differs { what });
    }
    let stats = truth.index.newest().stats();
    report.identities = u64::try_from(stats.identities).unwrap_or(u64::MAX);
    report.faces = u64::try_from(stats.faces).unwrap_or(u64::MAX);
    report.made_anew.extend(found);
    truth.end(data);
    Ok(())
}

/// Where the log ends, and where it once did, if that is what is wrong.
fn cut_short(error: &OpenError) -> Option<(u64, u64)> {
    match error {
        OpenError::Catalog(CatalogError::AheadOfLog { applied, durable }) => {
            Some((*durable, *applied))
        }
        OpenError::AheadOfLog { sequence, durable } => Some((*durable, *sequence)),
        OpenError::Log(_)
        | OpenError::ContractMismatch { .. }
        | OpenError::Catalog(_)
        | OpenError::Read(_)
        | OpenError::Blob { .. }
        | OpenError::Embedding { .. }
        | OpenError::Index(_)
        | OpenError::Build(_)
        | OpenError::Write { .. }
        | OpenError::Folder { .. }
        | OpenError::Thread { .. } => None,
    }
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
                Err(why) => {
                    report.damaged += 1;
                    if report.damaged_shown.len() < DAMAGED_SHOWN_MAX {
                        let damaged = damaged(&record, reference, why.to_string());
                        report.damaged_shown.push(damaged);
                    }
                }
            }
        }
    }
    Ok(())
}

/// What is lost with a payload.
fn damaged(record: &Record, reference: &BlobRef, why: String) -> DamagedBlob {
    let sequence = record.sequence;
    let told = |track_id, what| DamagedBlob {
        sequence,
        track_id,
        what,
        why: why.clone(),
    };
    let tracks: &[TrackObserved] = match &record.body {
        Some(Body::TrackObserved(track)) => std::slice::from_ref(track),
        Some(Body::Edited(edited)) => &edited.enrolled,
        Some(Body::ExemplarsReembedded(batch)) => {
            let mut exemplars = batch.exemplars.iter();
            let found = exemplars.find(|it| it.embedding.as_ref() == Some(reference));
            return found.map_or_else(
                || told(0, "an embedding".to_owned()),
                |it| {
                    let what = format!("the second embedding of exemplar {}", it.exemplar_id);
                    told(it.track_id, what)
                },
            );
        }
        Some(
            Body::CollectionOpened(_)
            | Body::SourceAdded(_)
            | Body::SourceStateChanged(_)
            | Body::SourceProgress(_)
            | Body::TrackRetracted(_)
            | Body::IdentityRenamed(_)
            | Body::SourceRunStarted(_)
            | Body::AlertRuleChanged(_)
            | Body::AlertRaised(_)
            | Body::AlertDelivered(_)
            | Body::ReviewProposed(_)
            | Body::MigrationStarted(_)
            | Body::MigrationSwitched(_)
            | Body::MigrationEnded(_)
            | Body::ErasureBegun(_)
            | Body::ErasureEnded(_),
        )
        | None => &[],
    };
    for track in tracks {
        for exemplar in &track.exemplars {
            let parts = [
                ("embedding", &exemplar.embedding),
                ("picture", &exemplar.crop),
                ("larger picture", &exemplar.loose_crop),
            ];
            let mut parts = parts.into_iter();
            if let Some((name, _)) = parts.find(|(_, part)| part.as_ref() == Some(reference)) {
                let what = format!("the {name} of exemplar {}", exemplar.exemplar_id);
                return told(track.track_id, what);
            }
        }
    }
    told(0, "the embedding of an alert rule's photo".to_owned())
}

fn of_track(track: &TrackObserved) -> impl Iterator<Item = &BlobRef> {
    let exemplars = track.exemplars.iter();
    let blobs = exemplars.flat_map(|e| [&e.embedding, &e.crop, &e.loose_crop]);
    blobs.flatten()
}

/// The payloads that a record refers to.
pub(crate) fn references(record: &Record) -> Vec<&BlobRef> {
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
        let error = check(folder.path(), CheckOptions::default()).unwrap_err();
        assert!(matches!(error, CheckError::NoCollection { .. }), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

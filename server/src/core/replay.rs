//! Opening: the log first, then its views brought up to it.

use super::CoreOptions;
use super::apply::{Failure, Truth, seen_us};
use super::catalog::{CatalogError, CatalogWriter};
use super::index_folder::open_index;
use crate::time::now_us;
use rollcall_index::{
    ApplyError, Embedding, FaceId, IdentityId, Index, Operation, SourceId, TrackId,
};
use rollcall_log::record::{BlobRef, Body, CollectionOpened, Record};
use rollcall_log::{BlobError, FileStorage, Log, LogOptions, LogReader, ReadError};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

/// The catalog's file in the data folder.
pub(crate) const CATALOG_FILE: &str = "catalog.sqlite";
const LOG_FOLDER: &str = "log";
/// Faces given to the index at once while it is rebuilt.
const REBUILD_FACES: usize = 1024;

/// Why a collection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log refused: in use, damaged, of a newer version.
    #[error("{0}")]
    Log(#[from] rollcall_log::OpenError),
    /// The collection was made with another model.
    #[error(
        "{path}: this collection was made under contract {found}, the models loaded now give {expected}: \
         load the models it was made with, or start with another data folder"
    )]
    ContractMismatch {
        /// The data folder.
        path: PathBuf,
        /// What the log says.
        found: String,
        /// What the models say.
        expected: String,
    },
    /// The catalog could be neither read nor made anew.
    #[error("{0}")]
    Catalog(#[from] CatalogError),
    /// A record cannot be read back.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// An exemplar's embedding cannot be read back.
    #[error("exemplar {exemplar}: its embedding cannot be read: {source}")]
    Blob {
        /// Which exemplar.
        exemplar: u64,
        /// Why.
        source: BlobError,
    },
    /// An exemplar's embedding is not one.
    #[error("exemplar {exemplar}: {source}")]
    Embedding {
        /// Which exemplar.
        exemplar: u64,
        /// Why.
        source: rollcall_index::EmbeddingError,
    },
    /// What the log holds does not make an index.
    #[error("the index cannot be made from the log: {0}")]
    Index(#[from] ApplyError),
    /// The first record could not be written.
    #[error("{path}: {what}")]
    Write {
        /// The data folder.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// The data folder cannot be made.
    #[error("{path}: {source}; make the folder, or give another one with --data")]
    Folder {
        /// The data folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The writer's thread could not be started.
    #[error("the writer's thread could not be started: {source}")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
}

/// Opens the log and brings index and catalog up to it.
pub(crate) fn open(options: &CoreOptions) -> Result<Truth, OpenError> {
    std::fs::create_dir_all(&options.data).map_err(|source| OpenError::Folder {
        path: options.data.clone(),
        source,
    })?;
    let storage = FileStorage::open(options.data.join(LOG_FOLDER))?;
    let (mut log, report) = Log::open(Arc::new(storage), LogOptions::default())?;
    tracing::info!(id = %log.id(), durable = log.durable_sequence(), ?report, "log opened");
    open_collection(&mut log, options)?;
    let index = open_index(&log, options)?;
    let catalog = catch_up(&log, options)?;
    Ok(Truth {
        log,
        index,
        catalog,
        uncommitted: Vec::new(),
    })
}

/// Writes the first record, or checks that it is of our contract.
fn open_collection(log: &mut Log, options: &CoreOptions) -> Result<(), OpenError> {
    let first = log.reader().read_after(0).next().transpose()?;
    if let Some(record) = first {
        let Some(Body::CollectionOpened(opened)) = record.body else {
            return Err(OpenError::Write {
                path: options.data.clone(),
                what: "this log was not made by a server: its first record opens no collection"
                    .to_owned(),
            });
        };
        if opened.contract != options.contract {
            return Err(OpenError::ContractMismatch {
                path: options.data.clone(),
                found: opened.contract,
                expected: options.contract.clone(),
            });
        }
        return Ok(());
    }
    let record = Record {
        time_us: now_us(),
        author: "system".to_owned(),
        body: Some(Body::CollectionOpened(CollectionOpened {
            contract: options.contract.clone(),
            dimension: u32::try_from(options.dimension).unwrap_or(u32::MAX),
        })),
        ..Record::default()
    };
    let written = log.append(record).and_then(|_| log.sync());
    written.map(|_| ()).map_err(|error| OpenError::Write {
        path: options.data.clone(),
        what: error.to_string(),
    })
}

fn catch_up(log: &Log, options: &CoreOptions) -> Result<CatalogWriter, OpenError> {
    let path = options.data.join(CATALOG_FILE);
    let durable = log.durable_sequence();
    let (mut catalog, applied) =
        CatalogWriter::open(&path, &log.id().to_string(), log.epoch(), durable)?;
    for record in log.reader().read_after(applied) {
        catalog.apply(&record?)?;
    }
    catalog.commit(durable)?;
    Ok(catalog)
}

/// A face that is still there at the end of the log.
struct Survivor {
    track: u64,
    source: u64,
    seen_us: i64,
    quality: f32,
    embedding: BlobRef,
}

/// Fills an empty index from the log alone: first who is still there and to whom each track belongs,
/// then one read an embedding.
pub(crate) fn fill_index(index: &mut Index, log: &LogReader) -> Result<(), OpenError> {
    let mut faces: BTreeMap<u64, Survivor> = BTreeMap::new();
    let mut tracks: HashMap<u64, (u64, Vec<u64>)> = HashMap::new();
    for record in log.read_after(0) {
        match record?.body {
            Some(Body::TrackObserved(track)) => {
                for dropped in &track.dropped_exemplar_ids {
                    faces.remove(dropped);
                }
                let entry = tracks.entry(track.track_id).or_default();
                entry.0 = track.decision.as_ref().map_or(entry.0, |d| d.identity_id);
                for exemplar in &track.exemplars {
                    let Some(embedding) = exemplar.embedding.clone() else {
                        continue;
                    };
                    let time_us = exemplar.face.map_or(track.start_us, |f| f.time_us);
                    entry.1.push(exemplar.exemplar_id);
                    faces.insert(
                        exemplar.exemplar_id,
                        Survivor {
                            track: track.track_id,
                            source: track.source_id,
                            seen_us: seen_us(&track, time_us),
                            quality: exemplar.quality,
                            embedding,
                        },
                    );
                }
            }
            Some(Body::TrackRetracted(track)) => {
                for face in tracks.remove(&track.track_id).unwrap_or_default().1 {
                    faces.remove(&face);
                }
            }
            _ => {}
        }
    }
    let sequence = log.durable_sequence();
    let mut waiting = Vec::new();
    for (face, survivor) in faces {
        let identity = tracks.get(&survivor.track).map_or(0, |t| t.0);
        waiting.push(insert(log, face, identity, survivor)?);
        if waiting.len() == REBUILD_FACES {
            index.apply(sequence, &waiting)?;
            waiting.clear();
        }
    }
    index.apply(sequence, &waiting)?;
    Ok(())
}

fn insert(
    log: &LogReader,
    face: u64,
    identity: u64,
    survivor: Survivor,
) -> Result<Operation, OpenError> {
    let embedding = embedding_of(log, face, &survivor.embedding)?;
    Ok(Operation::Insert {
        face: FaceId::new(face),
        identity: IdentityId::new(identity),
        track: TrackId::new(survivor.track),
        source: SourceId::new(survivor.source),
        seen_us: survivor.seen_us,
        quality: survivor.quality,
        attributes: 0,
        embedding,
    })
}

/// The embedding of an exemplar.
pub(crate) fn embedding_of(
    log: &LogReader,
    exemplar: u64,
    reference: &BlobRef,
) -> Result<Embedding, OpenError> {
    let bytes = log
        .blob(reference)
        .map_err(|source| OpenError::Blob { exemplar, source })?;
    Embedding::from_f16_bytes(&bytes).map_err(|source| OpenError::Embedding { exemplar, source })
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Log(error) => Self::Write {
                path: PathBuf::from(LOG_FOLDER),
                what: error.to_string(),
            },
            Failure::Catalog(error) => Self::Catalog(error),
            Failure::Index(error) => Self::Index(error),
        }
    }
}

//! Opening: the log first, then its views brought up to it.

use super::CoreOptions;
use super::alert::Watchlist;
use super::apply::{Failure, Truth};
use super::catalog::{CatalogError, CatalogWriter};
use super::index_folder::open_index;
use crate::time::now_us;
use rollcall_index::{ApplyError, BuildError, Embedding};
use rollcall_log::record::{BlobRef, Body, CollectionOpened, Record};
use rollcall_log::{BlobError, FileStorage, Log, LogOptions, LogReader, ReadError};
use std::path::PathBuf;
use std::sync::Arc;

/// The catalog's file in the data folder.
pub(crate) const CATALOG_FILE: &str = "catalog.sqlite";
pub(crate) const LOG_FOLDER: &str = "log";

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
    /// The index could not be made from the log, or not be written.
    #[error("the index cannot be made from the log: {0}")]
    Build(#[from] BuildError),
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
    let catalog = catch_up(&log, options)?;
    let index = open_index(&log, options, &|identity| catalog.is_hidden(identity))?;
    let alerts = Watchlist::load(&catalog, &log.reader())?;
    Ok(Truth {
        log,
        index,
        catalog,
        alerts,
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
            Failure::Read(error) => Self::Read(error),
            Failure::Catalog(error) => Self::Catalog(error),
            Failure::Index(error) => Self::Index(error),
        }
    }
}

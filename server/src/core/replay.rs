//! Opening: the log first, then its views brought up to it.

use super::CoreOptions;
use super::alert::Watchlist;
use super::apply::{Failure, Truth};
use super::catalog::{CatalogError, CatalogWriter};
use super::compare::TEMPORARY_FOLDER;
use super::contracts::{Contract, Contracts, Side};
use super::hri::Tree;
use super::index_folder::{delete, open_index, sweep};
use crate::time::now_us;
use rollcall_index::{ApplyError, BuildError, Embedding, Index};
use rollcall_log::record::{BlobRef, Body, CollectionOpened, Record};
use rollcall_log::{BlobError, FileStorage, Log, LogOptions, LogReader, ReadError, Storage};
use std::collections::HashMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
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
    /// The index has seen records that the log does not have.
    #[error(
        "the log ends at record {durable}, but the index has seen record {sequence}: what came last was lost or \
         taken away. Restore the log's folder from a backup; to go on without these records, run `rollcalld check \
         --repair --accept-loss`"
    )]
    AheadOfLog {
        /// The last record that it has seen.
        sequence: u64,
        /// The last one that there is.
        durable: u64,
    },
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

/// Where the log lies, and how large its files get.
#[derive(Clone)]
pub(super) struct LogPlace {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) options: LogOptions,
}

impl LogPlace {
    /// The folder of the log in a data folder, which is made if it is missing.
    fn of(data: &Path) -> Result<Self, OpenError> {
        // Names, pictures and the keys of webhooks: nobody else's to read.
        let mut private = std::fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(data).map_err(|source| OpenError::Folder {
            path: data.to_owned(),
            source,
        })?;
        let storage = FileStorage::open(data.join(LOG_FOLDER))?;
        Ok(Self {
            storage: Arc::new(storage),
            options: LogOptions::default(),
        })
    }
}

/// A log with its catalog, before anything is known of models: it says which ones are needed.
pub struct Opening {
    data: PathBuf,
    place: LogPlace,
    log: Log,
    catalog: CatalogWriter,
}

impl Opening {
    /// Opens the log in the data folder `data`, or makes one, and brings the catalog up to it. Blocking.
    ///
    /// # Errors
    /// [`OpenError`]: the folder is in use, the log is damaged, it was not made by a server.
    pub fn of(data: &Path) -> Result<Self, OpenError> {
        Self::on(LogPlace::of(data)?, data)
    }

    /// As [`Opening::of`], with the log somewhere else.
    pub(super) fn on(place: LogPlace, data: &Path) -> Result<Self, OpenError> {
        let (mut log, report) = Log::open(Arc::clone(&place.storage), place.options)?;
        tracing::info!(id = %log.id(), durable = log.durable_sequence(), ?report, "log opened");
        let (catalog, gone) = catch_up(&log, data)?;
        // Whoever put older keys back has not brought back what was erased since.
        log.destroy_keys(&gone).map_err(Failure::Log)?;
        log.destroy_unused_keys(catalog.ids().key)
            .map_err(Failure::Log)?;
        if log.durable_sequence() > 0 && catalog.contracts().in_service().id.is_empty() {
            return Err(OpenError::Write {
                path: data.to_owned(),
                what: "this log was not made by a server: its first record opens no collection"
                    .to_owned(),
            });
        }
        Ok(Self {
            data: data.to_owned(),
            place,
            log,
            catalog,
        })
    }

    /// Where its log lies.
    pub(super) fn place(&self) -> LogPlace {
        self.place.clone()
    }

    /// The contract in service; `None` if the collection is to be made yet.
    pub fn contract(&self) -> Option<&Contract> {
        let contract = self.catalog.contracts().in_service();
        (!contract.id.is_empty()).then_some(contract)
    }

    /// The contracts, by the log.
    pub(crate) fn contracts(&self) -> &Contracts {
        self.catalog.contracts()
    }

    /// Why the catalog that was there is of no use, if it was not.
    pub(crate) fn catalog_made_anew(&self) -> Option<&str> {
        self.catalog.made_anew.as_deref()
    }

    /// The folders of indexes that cannot be used as they are, though something is in them, and why.
    pub(crate) fn indexes_of_no_use(&self) -> Vec<(String, String)> {
        let sides = [Side::InService, Side::Other].into_iter();
        let there = sides.filter(|side| {
            let contract = self.contracts().side(*side);
            contract.is_some_and(|contract| self.data.join(&contract.folder).exists())
        });
        let of_no_use = there.filter_map(|side| {
            let why = self.index_found(side).0?.err()?;
            Some((self.contracts().side(side)?.folder.clone(), why))
        });
        of_no_use.collect()
    }

    /// The index on `side` as its folder has it, brought up to the log; and the log.
    pub(super) fn index_found(&self, side: Side) -> (Option<Result<Index, String>>, LogReader) {
        let found = super::index_folder::as_found(&self.log, &self.data, &self.catalog, side);
        (found, self.log.reader())
    }

    /// Writes the first record, or checks that what is in service is of our contract; opens the indexes.
    pub(crate) fn finish(mut self, options: &CoreOptions) -> Result<Truth, OpenError> {
        match self.contract().map(|contract| contract.id.clone()) {
            None => self.begin(options)?,
            Some(found) if found == options.contract => {}
            Some(found) => {
                return Err(OpenError::ContractMismatch {
                    path: self.data,
                    found,
                    expected: options.contract.clone(),
                });
            }
        }
        let Self {
            data, log, catalog, ..
        } = self;
        if let Err(what) = sweep(&data, catalog.contracts()) {
            tracing::warn!(what, "an index that is not needed stays");
        }
        // A check that was broken off.
        delete(&data.join(TEMPORARY_FOLDER));
        let open = |side| open_index(&log, &data, &catalog, side);
        let (index, other) = (open(Side::InService)?, open(Side::Other)?);
        let alerts = Watchlist::load(&catalog, &log.reader())?;
        let hri = Tree::of(&log.reader(), options)?;
        Ok(Truth {
            index: index.expect("a contract is in service, by its record"),
            other,
            log,
            catalog,
            alerts,
            hri,
            uncommitted: Vec::new(),
        })
    }

    fn begin(&mut self, options: &CoreOptions) -> Result<(), OpenError> {
        let mut record = Record {
            time_us: now_us(),
            author: "system".to_owned(),
            body: Some(Body::CollectionOpened(CollectionOpened {
                contract: options.contract.clone(),
                dimension: u32::try_from(options.dimension).unwrap_or(u32::MAX),
            })),
            ..Record::default()
        };
        let written = self.log.append(record.clone()).and_then(|sequence| {
            self.log.sync()?;
            Ok(sequence)
        });
        record.sequence = written.map_err(|error| OpenError::Write {
            path: self.data.clone(),
            what: error.to_string(),
        })?;
        self.catalog.apply(&record)?;
        self.catalog.commit(record.sequence)?;
        Ok(())
    }
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opening")
            .field("data", &self.data)
            .field("contract", &self.contract())
            .finish_non_exhaustive()
    }
}

/// The catalog, brought up to the log; and keys of erasures that came on the way, are through, and are there all the same.
fn catch_up(log: &Log, data: &Path) -> Result<(CatalogWriter, Vec<u64>), OpenError> {
    let path = data.join(CATALOG_FILE);
    let durable = log.durable_sequence();
    let (mut catalog, applied) =
        CatalogWriter::open(&path, &log.id().to_string(), log.epoch(), durable)?;
    let reader = log.reader();
    let (mut begun, mut gone) = (HashMap::new(), Vec::new());
    for record in reader.read_after(applied) {
        let record = record?;
        catalog.apply(&record)?;
        match record.body {
            Some(Body::ErasureBegun(erasure)) => {
                begun.insert(record.sequence, erasure.keys);
            }
            Some(Body::ErasureEnded(ended)) => {
                gone.extend(begun.remove(&ended.erasure).unwrap_or_default());
            }
            Some(_) | None => {}
        }
    }
    catalog.commit(durable)?;
    gone.retain(|key| matches!(reader.is_destroyed(*key), Ok(false)));
    Ok((catalog, gone))
}

/// The contracts of a log after record `sequence`, by its records alone. Cost: all up to there are read.
pub(crate) fn contracts_of(log: &LogReader, sequence: u64) -> Result<Contracts, ReadError> {
    let mut contracts = Contracts::default();
    for record in log.read_after(0) {
        let record = record?;
        if record.sequence > sequence {
            break;
        }
        contracts.apply(&record);
    }
    Ok(contracts)
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

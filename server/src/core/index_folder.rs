//! The index in its folder: opened and brought up to the log, or made anew from it.

use super::apply::index_operations;
use super::catalog::CatalogWriter;
use super::contracts::{Contract, Contracts, LATER_FOLDERS, Side};
use super::fill::fill_index;
use super::replay::{OpenError, embedding_of};
use rollcall_index::{BuildError, Embedding, Index, MemoryBudget};
use rollcall_log::record::{BlobRef, Body, Exemplar, Record};
use rollcall_log::{Log, LogReader};
use std::path::{Path, PathBuf};

/// The folder of the index of a collection's first contract, in the data folder.
pub(crate) const INDEX_FOLDER: &str = "index";

/// Where `rollcalld index build` makes a new one; what is left of one that was broken off is of no use.
pub(crate) const NEW_FOLDER: &str = "index.new";

/// Which marks identities have in it: raised whenever there are others, so that older ones are made anew.
const MARKS: u32 = 2;

/// What an index is made for. Sequences of another log, or of this one before it was rebuilt, mean
/// other records.
pub(crate) fn made_for(log: &Log, contract: &str) -> String {
    format!(
        "{contract}, log {} epoch {}, marks {MARKS}",
        log.id(),
        log.epoch()
    )
}

/// The index of the contract on `side`, which there is, as of the last durable record. One that cannot be
/// used, for whatever reason, is made anew; one whose folder cannot be written lives in memory alone.
pub(crate) fn open_index(
    log: &Log,
    data: &Path,
    catalog: &CatalogWriter,
    side: Side,
) -> Result<Option<Index>, OpenError> {
    let Some(contract) = catalog.contracts().side(side) else {
        return Ok(None);
    };
    let folder = data.join(&contract.folder);
    match open_and_catch_up(log, &folder, contract, catalog) {
        Ok(index) => return Ok(Some(index)),
        Err(Unusable::AheadOfLog { sequence }) => {
            let durable = log.durable_sequence();
            return Err(OpenError::AheadOfLog { sequence, durable });
        }
        Err(Unusable::Empty) => {}
        Err(Unusable::Why(why)) => {
            tracing::warn!(
                why,
                folder = contract.folder,
                "the index is made anew from the log"
            );
        }
    }
    let reader = log.reader();
    let fill = |index| {
        let budget = MemoryBudget::default();
        fill_index(index, (&reader, side), budget, &mut |_, _| {})
    };
    match empty(log, data, contract)
        .map_err(OpenError::Build)
        .and_then(fill)
    {
        Err(OpenError::Build(error @ (BuildError::Store(_) | BuildError::NotEmpty { .. }))) => {
            in_memory(&folder, &error);
            fill(Index::new(contract.dimension)).map(Some)
        }
        index => index.map(Some),
    }
}

/// What [`open_index`] finds in the folder, without mending it.
pub(super) fn as_found(
    log: &Log,
    data: &Path,
    catalog: &CatalogWriter,
    side: Side,
) -> Option<Result<Index, String>> {
    let contract = catalog.contracts().side(side)?;
    let found = open_and_catch_up(log, &data.join(&contract.folder), contract, catalog);
    Some(found.map_err(|why| match why {
        Unusable::Empty => "it is empty".to_owned(),
        Unusable::AheadOfLog { sequence } => format!("it has seen record {sequence}"),
        Unusable::Why(why) => why,
    }))
}

/// An index with nothing in it, for a contract that comes into being with record `sequence`.
pub(crate) fn begin_index(log: &Log, data: &Path, contract: &Contract, sequence: u64) -> Index {
    let begun = empty(log, data, contract).and_then(|mut index| {
        index.apply(sequence, &[])?;
        index.checkpoint()?;
        Ok(index)
    });
    begun.unwrap_or_else(|error| {
        in_memory(&data.join(&contract.folder), &error);
        Index::new(contract.dimension)
    })
}

/// The folders of indexes of contracts that the collection no longer has.
pub(crate) fn unneeded(data: &Path, contracts: &Contracts) -> Vec<PathBuf> {
    let kept = [Side::InService, Side::Other];
    let kept = kept.map(|side| {
        contracts
            .side(side)
            .map(|contract| data.join(&contract.folder))
    });
    let mut folders = index_folders(data);
    folders.retain(|folder| !kept.iter().flatten().any(|kept| kept == folder));
    folders
}

/// All folders of indexes.
pub(crate) fn index_folders(data: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(data) else {
        return Vec::new();
    };
    let mut folders = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let number = name.strip_prefix(LATER_FOLDERS).map(str::parse::<u64>);
        if name == INDEX_FOLDER || number.is_some_and(|number| number.is_ok()) {
            folders.push(entry.path());
        }
    }
    folders
}

/// An empty index in the contract's folder, whatever was there.
fn empty(log: &Log, data: &Path, contract: &Contract) -> Result<Index, BuildError> {
    let folder = data.join(&contract.folder);
    delete(&folder);
    let made_for = made_for(log, &contract.id);
    Ok(Index::open(&folder, &made_for, contract.dimension)?)
}

fn in_memory(folder: &Path, error: &BuildError) {
    tracing::warn!(%error, "the index lives in memory alone");
    // What is left of it takes room that the log may need.
    delete(folder);
}

/// Deletes the indexes that the data folder does not need, half-made ones among them, or says which one cannot be.
pub(crate) fn sweep(data: &Path, contracts: &Contracts) -> Result<(), String> {
    let mut folders = unneeded(data, contracts);
    folders.push(data.join(NEW_FOLDER));
    for folder in folders {
        delete(&folder);
        if folder.exists() {
            return Err(format!("{} cannot be deleted", folder.display()));
        }
    }
    Ok(())
}

pub(crate) fn delete(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, folder = %folder.display(), "the index's folder cannot be deleted");
    }
}

/// Writes the index's changes into its folder. That may fail: the log has everything.
pub(crate) fn checkpoint(index: &mut Index) {
    match index.checkpoint() {
        Ok(done) => {
            tracing::debug!(
                pages = done.pages,
                bytes = done.bytes,
                segments = done.segments,
                "index checkpointed"
            );
        }
        Err(error) => tracing::warn!(%error, "the index cannot be written; the log has everything"),
    }
}

/// Why the folder is of no use.
enum Unusable {
    /// There is nothing in it.
    Empty,
    /// It has seen records that the log does not have.
    AheadOfLog {
        sequence: u64,
    },
    Why(String),
}

impl<E: std::error::Error> From<E> for Unusable {
    fn from(error: E) -> Self {
        Self::Why(error.to_string())
    }
}

fn open_and_catch_up(
    log: &Log,
    folder: &Path,
    contract: &Contract,
    catalog: &CatalogWriter,
) -> Result<Index, Unusable> {
    let mut index = Index::open(folder, &made_for(log, &contract.id), contract.dimension)?;
    let (sequence, durable) = (index.newest().sequence(), log.durable_sequence());
    if sequence == 0 {
        return Err(Unusable::Empty);
    }
    index
        .check()
        .map_err(|damage| Unusable::Why(damage.to_string()))?;
    if sequence > durable {
        return Err(Unusable::AheadOfLog { sequence });
    }
    let reader = log.reader();
    let mut contracts = catalog.contracts_after(sequence);
    for record in reader.read_after(sequence) {
        let record: Record = record?;
        let embeddings = embeddings_for(&contract.id, &reader, &record, &contracts)?;
        let marks = |identity| catalog.marks(identity);
        let operations = index_operations(&index, &record, embeddings, &marks);
        index.apply(record.sequence, &operations)?;
        contracts.apply(&record);
    }
    Ok(index)
}

/// The embeddings of a record, if they are of that contract; `contracts` is what there was before it.
fn embeddings_for(
    contract: &str,
    log: &LogReader,
    record: &Record,
    contracts: &Contracts,
) -> Result<Vec<Embedding>, Unusable> {
    let of = |side| contracts.side(side).is_some_and(|of| of.id == contract);
    let read = |exemplar: u64, reference: &BlobRef| embedding_of(log, exemplar, reference);
    let own = |exemplar: &Exemplar| {
        let id = exemplar.exemplar_id;
        let missing = || Unusable::Why(format!("exemplar {id} has no embedding"));
        Ok(read(id, exemplar.embedding.as_ref().ok_or_else(missing)?)?)
    };
    match &record.body {
        Some(Body::TrackObserved(track)) if of(Side::InService) => {
            track.exemplars.iter().map(own).collect()
        }
        Some(Body::Edited(edited)) if of(Side::InService) => {
            let photos = edited.enrolled.iter();
            photos.flat_map(|it| &it.exemplars).map(own).collect()
        }
        Some(Body::ExemplarsReembedded(batch)) if of(Side::Other) => {
            let exemplars = batch.exemplars.iter();
            let found = exemplars.filter_map(|e| Some((e.exemplar_id, e.embedding.as_ref()?)));
            found.map(|(id, at)| Ok(read(id, at)?)).collect()
        }
        Some(_) | None => Ok(Vec::new()),
    }
}

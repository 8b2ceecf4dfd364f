//! The index in its folder: opened and brought up to the log, or made anew from it.

use super::CoreOptions;
use super::apply::index_operations;
use super::fill::fill_index;
use super::replay::{OpenError, embedding_of};
use rollcall_index::{BuildError, Index, MemoryBudget};
use rollcall_log::Log;
use rollcall_log::record::{Body, Record};
use std::path::Path;

/// The index's folder in the data folder.
pub(crate) const INDEX_FOLDER: &str = "index";

/// What the index is made for. Sequences of another log, or of this one before it was rebuilt, mean
/// other records.
pub(crate) fn made_for(log: &Log, contract: &str) -> String {
    format!("{contract}, log {} epoch {}", log.id(), log.epoch())
}

/// The index as of the last durable record. One that cannot be used, for whatever reason, is made
/// anew; one whose folder cannot be written lives in memory alone. `hidden` says who is hidden in the end.
pub(crate) fn open_index(
    log: &Log,
    options: &CoreOptions,
    hidden: &dyn Fn(u64) -> bool,
) -> Result<Index, OpenError> {
    let folder = options.data.join(INDEX_FOLDER);
    let contract = made_for(log, &options.contract);
    match open_and_catch_up(log, &folder, (&contract, options.dimension), hidden) {
        Ok(index) => return Ok(index),
        Err(Unusable::Empty) => {}
        Err(Unusable::Why(why)) => {
            tracing::warn!(why, "the index is made anew from the log");
        }
    }
    delete(&folder);
    let reader = log.reader();
    let fill = |index| fill_index(index, &reader, MemoryBudget::default(), &mut |_, _| {});
    let opened = Index::open(&folder, &contract, options.dimension).map_err(BuildError::Store);
    match opened.map_err(OpenError::Build).and_then(fill) {
        Err(OpenError::Build(error @ (BuildError::Store(_) | BuildError::NotEmpty { .. }))) => {
            tracing::warn!(%error, "the index lives in memory alone");
            // What is left of it takes room that the log may need.
            delete(&folder);
            fill(Index::new(options.dimension))
        }
        index => index,
    }
}

fn delete(folder: &Path) {
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
    (contract, dimension): (&str, usize),
    hidden: &dyn Fn(u64) -> bool,
) -> Result<Index, Unusable> {
    let mut index = Index::open(folder, contract, dimension)?;
    let (sequence, durable) = (index.newest().sequence(), log.durable_sequence());
    if sequence == 0 {
        return Err(Unusable::Empty);
    }
    if sequence > durable {
        return Err(Unusable::Why(format!(
            "it is at sequence {sequence}, the log ends at {durable}"
        )));
    }
    index
        .check()
        .map_err(|damage| Unusable::Why(damage.to_string()))?;
    let reader = log.reader();
    for record in reader.read_after(sequence) {
        let record: Record = record?;
        let mut embeddings = Vec::new();
        if let Some(Body::TrackObserved(track)) = &record.body {
            for exemplar in &track.exemplars {
                let reference = exemplar.embedding.as_ref();
                let reference = reference.ok_or_else(|| {
                    Unusable::Why(format!(
                        "exemplar {} has no embedding",
                        exemplar.exemplar_id
                    ))
                })?;
                embeddings.push(embedding_of(&reader, exemplar.exemplar_id, reference)?);
            }
        }
        let operations = index_operations(&index, &record, embeddings, hidden);
        index.apply(record.sequence, &operations)?;
    }
    Ok(index)
}

//! The index in its folder: opened and brought up to the log, or made anew from it.

use super::CoreOptions;
use super::apply::index_operations;
use super::replay::{OpenError, embedding_of, fill_index};
use rollcall_index::Index;
use rollcall_log::Log;
use rollcall_log::record::{Body, Record};
use std::path::Path;

const FOLDER: &str = "index";

/// The index as of the last durable record. One that cannot be used, for whatever reason, is made
/// anew; one whose folder cannot be written lives in memory alone.
pub(crate) fn open_index(log: &Log, options: &CoreOptions) -> Result<Index, OpenError> {
    let folder = options.data.join(FOLDER);
    // Sequences of another log, or of this one before it was rebuilt, mean other records.
    let contract = format!(
        "{}, log {} epoch {}",
        options.contract,
        log.id(),
        log.epoch()
    );
    match open_and_catch_up(log, &folder, &contract, options.dimension) {
        Ok(index) => return Ok(index),
        Err(Unusable::Empty) => {}
        Err(Unusable::Why(why)) => {
            tracing::warn!(why, "the index is made anew from the log");
        }
    }
    if let Err(error) = std::fs::remove_dir_all(&folder)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, folder = %folder.display(), "the index's folder cannot be deleted");
    }
    let index = Index::open(&folder, &contract, options.dimension);
    let mut index = index.unwrap_or_else(|error| {
        tracing::warn!(%error, "the index lives in memory alone");
        Index::new(options.dimension)
    });
    fill_index(&mut index, &log.reader())?;
    checkpoint(&mut index);
    Ok(index)
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
    contract: &str,
    dimension: usize,
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
        let operations = index_operations(&index, &record, embeddings);
        index.apply(record.sequence, &operations)?;
    }
    Ok(index)
}

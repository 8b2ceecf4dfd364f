//! The writer's state: log, index and catalog, changed by records and nothing else.

use super::catalog::{CatalogError, CatalogWriter};
use rollcall_index::{
    ApplyError, Embedding, FaceId, IdentityId, Index, Operation, SourceId, TrackId,
};
use rollcall_log::record::{Body, Record, TrackObserved};
use rollcall_log::{AppendError, Log};

/// Why a record could not be written or applied. The writer goes back to the last commit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Log(#[from] AppendError),
    #[error("{0}")]
    Catalog(#[from] CatalogError),
    #[error("the index refused what the log holds: {0}")]
    Index(#[from] ApplyError),
}

/// Log, index and catalog in the state of the last record appended, durable or not.
pub(crate) struct Truth {
    pub(crate) log: Log,
    pub(crate) index: Index,
    pub(crate) catalog: CatalogWriter,
    /// Records since the last commit.
    pub(crate) uncommitted: Vec<Record>,
}

impl Truth {
    /// Appends one record and applies it. `embeddings` belong to the record's exemplars, in their order.
    pub(crate) fn write(
        &mut self,
        mut record: Record,
        embeddings: Vec<Embedding>,
    ) -> Result<u64, Failure> {
        let sequence = self.log.append(record.clone())?;
        record.sequence = sequence;
        self.catalog.apply(&record)?;
        let operations = index_operations(&self.index, &record, embeddings);
        self.index.apply(sequence, &operations)?;
        self.uncommitted.push(record);
        Ok(sequence)
    }
}

/// What a record changes in an index that has everything before it. `embeddings` belong to the
/// record's exemplars, in their order.
pub(crate) fn index_operations(
    index: &Index,
    record: &Record,
    embeddings: Vec<Embedding>,
) -> Vec<Operation> {
    let track = match &record.body {
        Some(Body::TrackObserved(track)) => track,
        Some(Body::TrackRetracted(track)) => {
            let faces = index.newest().track_faces(TrackId::new(track.track_id));
            return faces
                .map(|face| Operation::Remove { face: face.face })
                .collect();
        }
        _ => return Vec::new(),
    };
    let decision = track.decision.clone().unwrap_or_default();
    let identity = IdentityId::new(decision.identity_id);
    let id = TrackId::new(track.track_id);
    let mut all: Vec<Operation> = Vec::new();
    let moved =
        decision.previous_identity_id != 0 && decision.previous_identity_id != decision.identity_id;
    if moved {
        all.push(Operation::Assign {
            track: id,
            identity,
        });
    }
    let drop = |dropped: &u64| Operation::Remove {
        face: FaceId::new(*dropped),
    };
    all.extend(track.dropped_exemplar_ids.iter().map(drop));
    all.extend(
        track
            .exemplars
            .iter()
            .zip(embeddings)
            .map(|(exemplar, embedding)| Operation::Insert {
                face: FaceId::new(exemplar.exemplar_id),
                identity,
                track: id,
                source: SourceId::new(track.source_id),
                seen_us: seen_us(track, exemplar.face.map_or(track.start_us, |f| f.time_us)),
                quality: exemplar.quality,
                attributes: 0,
                embedding,
            }),
    );
    all
}

/// Wall clock of a moment of a track.
pub(crate) fn seen_us(track: &TrackObserved, time_us: i64) -> i64 {
    track
        .wall_start_us
        .saturating_add(time_us.saturating_sub(track.start_us))
}

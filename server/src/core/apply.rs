//! The writer's state: log, index and catalog, changed by records and nothing else.

use super::catalog::{CatalogError, CatalogWriter};
use super::erase::assign_keys;
use super::index_folder::checkpoint;
use super::marks::{Marks, mark};
use super::replay::CATALOG_FILE;
use super::{View, alert, edit, hri};
use rollcall_index::{
    ApplyError, Embedding, FaceId, IdentityId, Index, Operation, SourceId, State, TrackId,
};
use rollcall_log::record::{Body, ExemplarsReembedded, MigrationOutcome, Record, TrackObserved};
use rollcall_log::{AppendError, Log, ReadError};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Why a record could not be written or applied. The writer goes back to the last commit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Log(#[from] AppendError),
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error("{0}")]
    Catalog(#[from] CatalogError),
    #[error("the index refused what the log holds: {0}")]
    Index(#[from] ApplyError),
}

/// Log, index and catalog in the state of the last record appended, durable or not.
pub(crate) struct Truth {
    pub(crate) log: Log,
    /// Of the contract in service.
    pub(crate) index: Index,
    /// Of the other contract, while there is one; what is dropped stays until it is cleared away.
    pub(crate) other: Option<Index>,
    pub(crate) catalog: CatalogWriter,
    /// The alert rules in force.
    pub(crate) alerts: alert::Watchlist,
    /// In HRI mode: who tracks are.
    pub(crate) hri: Option<hri::Tree>,
    /// Records since the last commit.
    pub(crate) uncommitted: Vec<Record>,
}

impl Truth {
    /// Appends one record and applies it, and behind it the alerts that it raises. Returns its own sequence.
    /// `embeddings` belong to the record's exemplars, or to its alert rule's photos, in their order.
    pub(crate) fn write(
        &mut self,
        mut record: Record,
        embeddings: Vec<Embedding>,
    ) -> Result<u64, Failure> {
        assign_keys(self, &mut record)?;
        let sequence = self.log.append(record.clone())?;
        record.sequence = sequence;
        self.catalog.apply(&record)?;
        let of_other = matches!(record.body, Some(Body::ExemplarsReembedded(_)));
        let (ours, others) = if of_other {
            (Vec::new(), embeddings)
        } else {
            (embeddings, Vec::new())
        };
        self.alerts.follow(&record, &ours, &self.catalog)?;
        if let Some(tree) = &mut self.hri {
            tree.follow(&record, &ours);
        }
        let marks = |identity| self.catalog.marks(identity);
        let operations = index_operations(&self.index, &record, ours, &marks);
        self.index.apply(sequence, &operations)?;
        let raised = alert::raised_by(self, &record)?;
        let both = self.catalog.contracts().other().is_some();
        if let Some(other) = self.other.as_mut().filter(|_| both) {
            let operations = index_operations(other, &record, others, &marks);
            other.apply(sequence, &operations)?;
        }
        self.turn(&record);
        self.uncommitted.push(record);
        alert::append(self, raised)?;
        Ok(sequence)
    }

    /// The indexes after a record that puts the other contract in service.
    fn turn(&mut self, record: &Record) {
        let swaps = match &record.body {
            Some(Body::MigrationSwitched(_)) => true,
            Some(Body::MigrationEnded(ended)) => ended.outcome() == MigrationOutcome::RolledBack,
            Some(
                Body::CollectionOpened(_)
                | Body::SourceAdded(_)
                | Body::SourceStateChanged(_)
                | Body::SourceProgress(_)
                | Body::TrackObserved(_)
                | Body::TrackRetracted(_)
                | Body::IdentityRenamed(_)
                | Body::SourceRunStarted(_)
                | Body::Edited(_)
                | Body::AlertRuleChanged(_)
                | Body::AlertRaised(_)
                | Body::AlertDelivered(_)
                | Body::ErasureBegun(_)
                | Body::ErasureEnded(_)
                | Body::ReviewProposed(_)
                | Body::MigrationStarted(_)
                | Body::ExemplarsReembedded(_),
            )
            | None => false,
        };
        if let Some(other) = self.other.as_mut().filter(|_| swaps) {
            std::mem::swap(&mut self.index, other);
        }
    }

    /// Leaves the views so that the next start has nothing to catch up with, and can tell that they are whole.
    /// Nothing may be written after it.
    pub(crate) fn end(&mut self, data: &Path) {
        self.checkpoint();
        if let Err(error) = self.catalog.seal(&data.join(CATALOG_FILE)) {
            tracing::warn!(%error, "the catalog is left without a seal");
        }
    }

    /// Writes what is new in the indexes to their folders.
    pub(crate) fn checkpoint(&mut self) {
        for index in std::iter::once(&mut self.index).chain(&mut self.other) {
            checkpoint(index);
        }
    }

    /// The record of that sequence, durable or not; `None` if there is none.
    pub(crate) fn record(&self, sequence: u64) -> Result<Option<Record>, ReadError> {
        let mut fresh = self.uncommitted.iter();
        if let Some(record) = fresh.find(|record| record.sequence == sequence) {
            return Ok(Some(record.clone()));
        }
        self.log.reader().record(sequence)
    }

    /// What readers may see: everything that is durable.
    pub(crate) fn view(&self) -> View {
        View {
            sequence: self.log.durable_sequence(),
            index: self.index.publish(),
            any_hidden: self.catalog.any_hidden(),
            contracts: Arc::clone(self.catalog.contracts()),
            progress: self.catalog.progress(),
        }
    }
}

/// What a record changes in an index that has everything before it. `embeddings` belong to the
/// record's exemplars, in their order; there are none if they are of another contract than the index.
/// `marks` says what an identity's are after it, or in the end.
pub(crate) fn index_operations(
    index: &Index,
    record: &Record,
    embeddings: Vec<Embedding>,
    marks: &dyn Fn(u64) -> Marks,
) -> Vec<Operation> {
    let track = match &record.body {
        Some(Body::TrackObserved(track)) => track,
        Some(Body::TrackRetracted(track)) => {
            let faces = index.newest().track_faces(TrackId::new(track.track_id));
            return faces
                .map(|face| Operation::Remove { face: face.face })
                .collect();
        }
        Some(Body::Edited(edited)) => {
            return edit::operations(index.newest(), edited, embeddings, marks);
        }
        Some(Body::ExemplarsReembedded(batch)) => return reembedded(batch, embeddings, marks),
        Some(Body::ErasureBegun(begun)) => {
            let tracks = begun.track_ids.iter();
            let faces = tracks.flat_map(|id| index.newest().track_faces(TrackId::new(*id)));
            return faces
                .map(|face| Operation::Remove { face: face.face })
                .collect();
        }
        Some(
            Body::CollectionOpened(_)
            | Body::SourceAdded(_)
            | Body::SourceStateChanged(_)
            | Body::SourceProgress(_)
            | Body::IdentityRenamed(_)
            | Body::SourceRunStarted(_)
            | Body::AlertRuleChanged(_)
            | Body::AlertRaised(_)
            | Body::AlertDelivered(_)
            | Body::ErasureEnded(_)
            | Body::ReviewProposed(_)
            | Body::MigrationStarted(_)
            | Body::MigrationSwitched(_)
            | Body::MigrationEnded(_),
        )
        | None => return Vec::new(),
    };
    observed(index.newest(), track, embeddings, marks)
}

fn reembedded(
    batch: &ExemplarsReembedded,
    embeddings: Vec<Embedding>,
    marks: &dyn Fn(u64) -> Marks,
) -> Vec<Operation> {
    let found = batch.exemplars.iter().filter(|e| e.embedding.is_some());
    let mut identities = BTreeSet::new();
    let mut all: Vec<Operation> = Vec::with_capacity(embeddings.len());
    for (exemplar, embedding) in found.zip(embeddings) {
        identities.insert(exemplar.identity_id);
        all.push(Operation::Insert {
            face: FaceId::new(exemplar.exemplar_id),
            identity: IdentityId::new(exemplar.identity_id),
            track: TrackId::new(exemplar.track_id),
            source: SourceId::new(exemplar.source_id),
            seen_us: exemplar.seen_us,
            quality: exemplar.quality,
            attributes: 0,
            embedding,
        });
    }
    all.extend(
        identities
            .into_iter()
            .filter_map(|identity| marked(identity, marks)),
    );
    all
}

/// What a track's record changes.
pub(crate) fn observed(
    state: &State,
    track: &TrackObserved,
    embeddings: Vec<Embedding>,
    marks: &dyn Fn(u64) -> Marks,
) -> Vec<Operation> {
    let decision = track.decision.clone().unwrap_or_default();
    let identity = IdentityId::new(decision.identity_id);
    let id = TrackId::new(track.track_id);
    // An identity that gets its first face is new to the index, whatever was said of it before.
    let marked = marked(identity.get(), marks);
    let mut all: Vec<Operation> = Vec::new();
    let moved =
        decision.previous_identity_id != 0 && decision.previous_identity_id != decision.identity_id;
    if moved && state.track_faces(id).next().is_some() {
        all.push(Operation::Assign {
            track: id,
            identity,
        });
        all.extend(marked.clone());
    }
    // One that could not be embedded again is not here.
    let dropped = track.dropped_exemplar_ids.iter().copied().map(FaceId::new);
    let here = dropped.filter(|face| state.face(*face).is_some());
    all.extend(here.map(|face| Operation::Remove { face }));
    let before = all.len();
    let inserts = track.exemplars.iter().zip(embeddings);
    all.extend(inserts.map(|(exemplar, embedding)| Operation::Insert {
        face: FaceId::new(exemplar.exemplar_id),
        identity,
        track: id,
        source: SourceId::new(track.source_id),
        seen_us: seen_us(track, exemplar.face.map_or(track.start_us, |f| f.time_us)),
        quality: exemplar.quality,
        attributes: 0,
        embedding,
    }));
    if all.len() > before {
        all.extend(marked);
    }
    all
}

/// The marks of an identity that is new to the index, if it has any.
fn marked(identity: u64, marks: &dyn Fn(u64) -> Marks) -> Option<Operation> {
    let marks = marks(identity);
    (marks != Marks::default()).then(|| mark(identity, marks))
}

/// Wall clock of a moment of a track.
pub(crate) fn seen_us(track: &TrackObserved, time_us: i64) -> i64 {
    track
        .wall_start_us
        .saturating_add(time_us.saturating_sub(track.start_us))
}

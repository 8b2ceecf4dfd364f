//! What was promised, and whether it is kept.

use super::Counts;
use super::life::Life;
use crate::check::references;
use crate::core::catalog::CatalogWriter;
use crate::core::contracts::Side;
use crate::core::fill::survivors;
use crate::core::marks::Marks;
use rollcall_index::{FaceId, TrackId};
use rollcall_log::record::{Body, DecisionKind, EditKind, Record};
use rollcall_log::{BlobError, LogReader};
use std::collections::{BTreeMap, BTreeSet};

/// All that was ever given to the disk, and what of it is known to be durable.
#[derive(Default)]
pub(super) struct Audit {
    /// By sequence: a commit that failed may be followed by another under the same one.
    issued: BTreeMap<u64, Vec<Record>>,
    /// From the first record on; those that a reader has seen are among them.
    acknowledged: Vec<Record>,
    /// A catalog that sees each record once and is never opened again.
    beside: Option<CatalogWriter>,
    /// Records that it has seen.
    applied: usize,
}

impl Audit {
    pub(super) fn issued(&mut self, records: &[Record]) {
        for record in records {
            self.issued
                .entry(record.sequence)
                .or_default()
                .push(record.clone());
        }
    }

    pub(super) fn acknowledged(&mut self, records: Vec<Record>) {
        self.acknowledged.extend(records);
    }

    /// Fails the test unless log, catalog and index are what they should be.
    pub(super) fn audit(&mut self, life: &Life) {
        let log = life.core.log();
        let records: Vec<Record> = log.read_after(0).map(Result::unwrap).collect();
        self.hold_against(&records);
        let view = life.core.view();
        assert_eq!(view.sequence, records.len() as u64, "what is shown");
        assert_blobs(&log, &records);
        assert_ids(&records);
        self.assert_catalog(life, &records);
        for side in [Side::InService, Side::Other] {
            assert_index(life, &log, side);
        }
        assert_retracted(life, &records);
        // A reader sees it from here on.
        self.acknowledged = records;
    }

    /// Acknowledged ⊆ recovered ⊆ issued, by content and in order.
    fn hold_against(&self, recovered: &[Record]) {
        let kept = recovered.get(..self.acknowledged.len());
        let kept = kept.unwrap_or_else(|| {
            panic!(
                "{} records acknowledged, {} left",
                self.acknowledged.len(),
                recovered.len()
            )
        });
        for (is, was) in kept.iter().zip(&self.acknowledged) {
            assert_eq!(is, was, "acknowledged as another one");
        }
        for (record, sequence) in recovered.iter().zip(1..) {
            assert_eq!(record.sequence, sequence);
            // The first record is made by opening, not by a command.
            let first = matches!(record.body, Some(Body::CollectionOpened(_))) && sequence == 1;
            let issued = self
                .issued
                .get(&sequence)
                .is_some_and(|all| all.contains(record));
            assert!(
                first || issued,
                "never issued: {record:?}; but {:?}",
                self.issued.get(&sequence)
            );
        }
    }

    /// The catalog is, to the last value, what the log makes of an empty one.
    fn assert_catalog(&mut self, life: &Life, records: &[Record]) {
        let truth = life.writer.truth.as_ref().unwrap();
        let (id, epoch) = (truth.log.id().to_string(), truth.log.epoch());
        let beside = self
            .beside
            .get_or_insert_with(|| CatalogWriter::made_anew(None, &id, epoch).unwrap());
        for record in &records[self.applied..] {
            beside.apply(record).unwrap();
        }
        self.applied = records.len();
        beside.commit(records.len() as u64).unwrap();
        let difference = truth.catalog.difference(beside).unwrap();
        assert_eq!(difference, None, "catalog and log");
        assert_eq!(truth.catalog.ids(), beside.ids());
        assert_eq!(truth.catalog.progress(), beside.progress());
    }

    pub(super) fn count(&self, counts: &mut Counts) {
        counts.records = self.acknowledged.len() as u64;
        for record in &self.acknowledged {
            match &record.body {
                Some(Body::Edited(edited)) => {
                    counts.edits += 1;
                    counts.undone += u64::from(edited.kind() == EditKind::Undo);
                }
                Some(Body::AlertRaised(_)) => counts.alerts += 1,
                Some(Body::TrackRetracted(_)) => counts.retracted += 1,
                Some(Body::MigrationSwitched(_)) => counts.migrations_switched += 1,
                _ => {}
            }
        }
    }
}

/// Whatever a record refers to can be read.
fn assert_blobs(log: &LogReader, records: &[Record]) {
    for record in records {
        for reference in references(record) {
            match log.blob(reference) {
                Ok(_) | Err(BlobError::Erased) => {}
                Err(error) => panic!("record {}: {error}", record.sequence),
            }
        }
    }
}

/// Ids are given once. An identity that a decision opens was never there before.
fn assert_ids(records: &[Record]) {
    let (mut identities, mut tracks) = (BTreeSet::new(), BTreeMap::new());
    for record in records {
        match &record.body {
            Some(Body::TrackObserved(track)) => {
                let key = (track.source_id, track.track_key);
                let of = tracks.entry(track.track_id).or_insert(key);
                assert_eq!(*of, key, "track {} is two", track.track_id);
                let decision = track.decision.clone().unwrap_or_default();
                if decision.kind() == DecisionKind::New {
                    let id = decision.identity_id;
                    assert!(identities.insert(id), "identity {id} was opened twice");
                } else {
                    identities.insert(decision.identity_id);
                }
            }
            Some(Body::Edited(edited)) => {
                identities.extend(edited.profiles.iter().map(|it| it.identity_id));
                let moves = edited.moves.iter();
                identities.extend(moves.map(|it| it.into_identity_id));
            }
            _ => {}
        }
    }
}

/// Who is in the index, and whose they are, is what a replay of its own makes of the log.
fn assert_index(life: &Life, log: &LogReader, side: Side) {
    let truth = life.writer.truth.as_ref().unwrap();
    let contracts = truth.catalog.contracts();
    let Some(contract) = contracts.side(side) else {
        return;
    };
    let index = match side {
        Side::InService => &truth.index,
        Side::Other => truth.other.as_ref().unwrap(),
    };
    let state = index.newest();
    state.verify().unwrap();
    assert_eq!(state.dimension(), contract.dimension);
    let expected = survivors(log, truth.log.durable_sequence(), side).unwrap();
    assert_eq!(state.stats().faces, expected.faces.len(), "{side:?}");
    for face in &expected.faces {
        let entry = state.face(FaceId::new(face.face)).unwrap();
        assert_eq!(entry.identity.get(), face.identity, "face {}", face.face);
        let marks = state.identity_state(entry.identity).map(Marks::in_index);
        let said = expected.marks.get(&face.identity).copied();
        assert_eq!(marks, Some(said.unwrap_or_default()), "{side:?}");
    }
}

/// What was taken back stays away.
fn assert_retracted(life: &Life, records: &[Record]) {
    let view = life.core.view();
    for record in records {
        if let Some(Body::TrackRetracted(track)) = &record.body {
            let faces = view.index.track_faces(TrackId::new(track.track_id));
            assert_eq!(faces.count(), 0, "track {} was retracted", track.track_id);
            let row = life.core.catalog().track(track.track_id).unwrap();
            assert_eq!(row.map(|row| row.track_id), None);
        }
    }
}

//! The index, made from the log alone.

use super::apply::seen_us;
use super::contracts::Side;
use super::marks::{Marks, mark};
use super::replay::{OpenError, embedding_of};
use rayon::prelude::*;
use rollcall_index::{
    Builder, FaceId, IdentityId, Index, MemoryBudget, Operation, SourceId, TrackId,
};
use rollcall_log::record::{
    BlobRef, Body, Edited, ExemplarsReembedded, MigrationOutcome, Record, TrackObserved,
};
use rollcall_log::{LogReader, ReadError};
use std::collections::{BTreeMap, HashMap};

/// Faces given to the index at once: enough for all threads to encode them.
pub(crate) const FACES_AT_ONCE: usize = 8192;

/// A face that is still there.
pub(crate) struct Survivor {
    pub(crate) face: u64,
    pub(crate) identity: u64,
    track: u64,
    source: u64,
    seen_us: i64,
    quality: f32,
    embedding: BlobRef,
}

impl Survivor {
    /// What inserts it into an index. Cost: its embedding is read.
    pub(crate) fn insert(&self, log: &LogReader) -> Result<Operation, OpenError> {
        Ok(Operation::Insert {
            face: FaceId::new(self.face),
            identity: IdentityId::new(self.identity),
            track: TrackId::new(self.track),
            source: SourceId::new(self.source),
            seen_us: self.seen_us,
            quality: self.quality,
            attributes: 0,
            embedding: embedding_of(log, self.face, &self.embedding)?,
        })
    }
}

/// What is still there after a record, in the eyes of one contract.
pub(crate) struct Survivors {
    /// By identity, then by id.
    pub(crate) faces: Vec<Survivor>,
    /// Of identities that have any, with or without faces.
    pub(crate) marks: BTreeMap<u64, Marks>,
}

/// What is still there after record `sequence`: faces that have an embedding of the contract on `side`. A
/// replay of its own, which shares nothing with that of records as they come: each is a check of the other.
pub(crate) fn survivors(
    log: &LogReader,
    sequence: u64,
    side: Side,
) -> Result<Survivors, ReadError> {
    let mut replay = Replay::default();
    for record in log.read_after(0) {
        let record = record?;
        if record.sequence > sequence {
            break;
        }
        replay.apply(record);
    }
    Ok(replay.finish(side))
}

/// A face that is still there; in a survivor's place until it is known whose it is, and under which
/// contract.
struct Known {
    track: u64,
    source: u64,
    seen_us: i64,
    quality: f32,
    /// Of the two contracts that there can be.
    embeddings: [Option<BlobRef>; 2],
}

#[derive(Default)]
struct Replay {
    faces: BTreeMap<u64, Known>,
    /// Which of the two embeddings is of the contract in service.
    in_service: usize,
    /// Whose a track is, and the faces it ever had.
    tracks: HashMap<u64, (u64, Vec<u64>)>,
    marks: BTreeMap<u64, Marks>,
}

impl Replay {
    fn apply(&mut self, record: Record) {
        match record.body {
            Some(Body::TrackObserved(track)) => self.observed(&track),
            Some(Body::TrackRetracted(track)) => self.retracted(track.track_id),
            Some(Body::Edited(edited)) => self.edited(&edited),
            Some(Body::IdentityRenamed(rename)) => {
                let before = self.marks.get(&rename.identity_id).copied();
                let named = !rename.name.is_empty();
                let marks = Marks {
                    named,
                    ..before.unwrap_or_default()
                };
                self.mark(rename.identity_id, marks);
            }
            Some(Body::ExemplarsReembedded(batch)) => self.reembedded(batch),
            Some(Body::ErasureBegun(begun)) => {
                begun
                    .track_ids
                    .iter()
                    .for_each(|track| self.retracted(*track));
                for identity in &begun.identity_ids {
                    self.marks.remove(identity);
                }
            }
            Some(Body::MigrationSwitched(_)) => self.in_service = 1 - self.in_service,
            Some(Body::MigrationEnded(ended)) => {
                if ended.outcome() == MigrationOutcome::RolledBack {
                    self.in_service = 1 - self.in_service;
                }
                let other = 1 - self.in_service;
                for face in self.faces.values_mut() {
                    face.embeddings[other] = None;
                }
            }
            Some(
                Body::CollectionOpened(_)
                | Body::SourceAdded(_)
                | Body::SourceStateChanged(_)
                | Body::SourceProgress(_)
                | Body::SourceRunStarted(_)
                | Body::AlertRuleChanged(_)
                | Body::AlertRaised(_)
                | Body::AlertDelivered(_)
                | Body::ErasureEnded(_)
                | Body::ReviewProposed(_)
                | Body::MigrationStarted(_),
            )
            | None => {}
        }
    }

    fn retracted(&mut self, track: u64) {
        for face in self.tracks.remove(&track).unwrap_or_default().1 {
            self.faces.remove(&face);
        }
    }

    fn reembedded(&mut self, batch: ExemplarsReembedded) {
        let other = 1 - self.in_service;
        for done in batch.exemplars {
            if let Some(face) = self.faces.get_mut(&done.exemplar_id) {
                face.embeddings[other] = done.embedding;
            }
        }
    }

    fn observed(&mut self, track: &TrackObserved) {
        for dropped in &track.dropped_exemplar_ids {
            self.faces.remove(dropped);
        }
        let entry = self.tracks.entry(track.track_id).or_default();
        entry.0 = track.decision.as_ref().map_or(entry.0, |d| d.identity_id);
        for exemplar in &track.exemplars {
            let Some(embedding) = exemplar.embedding.clone() else {
                continue;
            };
            let time_us = exemplar.face.map_or(track.start_us, |f| f.time_us);
            entry.1.push(exemplar.exemplar_id);
            let mut embeddings = [None, None];
            embeddings[self.in_service] = Some(embedding);
            let known = Known {
                track: track.track_id,
                source: track.source_id,
                seen_us: seen_us(track, time_us),
                quality: exemplar.quality,
                embeddings,
            };
            self.faces.insert(exemplar.exemplar_id, known);
        }
    }

    fn mark(&mut self, identity: u64, marks: Marks) {
        if marks == Marks::default() {
            self.marks.remove(&identity);
        } else {
            self.marks.insert(identity, marks);
        }
    }

    fn edited(&mut self, edited: &Edited) {
        for change in &edited.profiles {
            let marks = change.after.as_ref().map(Marks::of);
            self.mark(change.identity_id, marks.unwrap_or_default());
        }
        for moved in &edited.moves {
            for track in &moved.track_ids {
                if let Some(entry) = self.tracks.get_mut(track) {
                    entry.0 = moved.into_identity_id;
                }
            }
        }
        for gone in &edited.retracted {
            self.retracted(gone.track_id);
        }
        for photo in &edited.enrolled {
            self.observed(photo);
        }
    }

    fn finish(self, side: Side) -> Survivors {
        let which = match side {
            Side::InService => self.in_service,
            Side::Other => 1 - self.in_service,
        };
        let tracks = &self.tracks;
        let survivor = |(face, mut known): (u64, Known)| {
            Some(Survivor {
                face,
                // Whose a track is may have changed since a face of it was seen.
                identity: tracks.get(&known.track).map_or(0, |track| track.0),
                track: known.track,
                source: known.source,
                seen_us: known.seen_us,
                quality: known.quality,
                embedding: known.embeddings[which].take()?,
            })
        };
        let mut faces: Vec<Survivor> = self.faces.into_iter().filter_map(survivor).collect();
        faces.sort_unstable_by_key(|face| (face.identity, face.face));
        Survivors {
            faces,
            marks: self.marks,
        }
    }
}

/// Fills an empty index of the contract on `side` from the log, and makes it durable: first who is still there
/// and whose each track is, then one read an embedding. `progress` gets how many faces are done, and of how
/// many.
pub(crate) fn fill_index(
    index: Index,
    (log, side): (&LogReader, Side),
    budget: MemoryBudget,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Index, OpenError> {
    let sequence = log.durable_sequence();
    let Survivors { faces, marks } = survivors(log, sequence, side)?;
    let mut builder = Builder::new(index, budget.bytes())?;
    let mut done = 0;
    // An identity's faces together: they then lie together, and are summed up once.
    for some in faces.chunks(FACES_AT_ONCE) {
        let inserts: Result<Vec<_>, _> = some.par_iter().map(|face| face.insert(log)).collect();
        builder.add(&inserts?)?;
        done += some.len();
        progress(done, faces.len());
    }
    let here = |identity: &u64| {
        let found = faces.binary_search_by_key(identity, |face| face.identity);
        found.is_ok()
    };
    let marks = marks.iter().filter(|(identity, _)| here(identity));
    let marks: Vec<_> = marks.map(|(id, marks)| mark(*id, *marks)).collect();
    builder.add(&marks)?;
    Ok(builder.finish(sequence)?)
}
